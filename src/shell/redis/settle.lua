-- Ends a turn: once, however often it is told.
--
-- KEYS  1 done  2 places  3 conversation revoked  4 conversations of the user that are live  5… quotas
--       then, where a token was presented that is good once: token used
-- ARGV  1 holder  2 ending: whole, cut, left, failed  3 how long to remember that, ms  4 whether a token is good once
--       5 hash of its input  6 how long a used token is remembered, ms  7 whether a conversation began
--       8 model tokens  9 history bytes  10 upstream ms  11 live conversations, 0 without a limit
--       12 the conversation's hash  13 how long a revocation is remembered, ms  14 what keys of revoked conversations begin with
--       15… seven for each quota: period, s; its number when the turn began, -1 unknown; whether it limits turns,
--       conversations, model tokens, history bytes, upstream ms
-- Gives the first error of a part, or an empty text. Parts do not wait for each other: a key of the wrong type must not
-- let a used token go.

local function int(number)
  return string.format('%.0f', number)
end

-- Fails as a whole, or not at all: a store that takes no writes is told again later.
if not redis.call('SET', KEYS[1], '1', 'NX', 'PX', ARGV[3]) then
  return ''
end

local time = redis.call('TIME')
local second = tonumber(time[1])
local micros = second * 1000000 + tonumber(time[2])
local millis = math.floor(micros / 1000)
local holder, failed = ARGV[1], ARGV[2] == 'failed'
-- Who left before anything was shown has had a turn, and may try the token again.
local unspent = failed or ARGV[2] == 'left'
local quotas = (#ARGV - 14) / 7
local fault = ''

local function try(...)
  local outcome = redis.pcall(...)
  if type(outcome) == 'table' and outcome.err then
    if fault == '' then
      fault = outcome.err
    end
    return nil
  end
  return outcome
end

local held = try('ZREM', KEYS[2], holder) == 1

if ARGV[4] == '1' then
  local use = KEYS[5 + quotas]
  local found = try('HMGET', use, 'holder', 'spent')
  if found then
    local ours, spent = found[1] == holder, found[2]
    if ours then
      try('HDEL', use, 'holder', 'until')
    end
    if unspent then
      -- What was spent before this try stays spent.
      if ours and not spent then
        try('DEL', use)
      end
    else
      try('HSETNX', use, 'input', ARGV[5])
      try('HSETNX', use, 'spent', int(millis))
      try('PEXPIRE', use, ARGV[6])
    end
  end
end

local used = {false, false, tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])}
local fields = {'turns', 'conversations', 'model_tokens', 'history_bytes', 'upstream_millis'}
for number = 1, quotas do
  local key, at = KEYS[4 + number], 14 + (number - 1) * 7
  local period, began = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local index = math.floor(second / period)
  local kept = try('HGET', key, 'period')
  -- What counted in a period that is over is gone with it.
  if failed then
    if held and kept == int(index) and (began == index or began < 0) then
      for place = 1, 2 do
        local limits = ARGV[at + 2 + place] == '1' and (place == 1 or ARGV[7] == '1')
        if limits and (tonumber(try('HGET', key, fields[place]) or 0) or 0) > 0 then
          try('HINCRBY', key, fields[place], -1)
        end
      end
    end
  elseif began == index then
    local writes = false
    for place = 3, 5 do
      if ARGV[at + 2 + place] == '1' and used[place] > 0 then
        if kept ~= int(index) then
          try('DEL', key)
          try('HSET', key, 'period', int(index))
          kept = int(index)
        end
        try('HINCRBY', key, fields[place], int(used[place]))
        writes = true
      end
    end
    if writes then
      try('PEXPIREAT', key, int((index + 1) * period * 1000))
    end
  end
end

local limit = tonumber(ARGV[11])
if not unspent and limit > 0 and try('EXISTS', KEYS[3]) == 0 then
  local live, conversation, memory, prefix = KEYS[4], ARGV[12], ARGV[13], ARGV[14]
  try('ZREMRANGEBYSCORE', live, '-inf', int(micros - tonumber(memory) * 1000))
  try('ZREM', live, conversation)
  local others = try('ZRANGE', live, 0, -1)
  if others then
    if #others >= limit then
      -- Those that were revoked otherwise take no place.
      local still = {}
      for _, other in ipairs(others) do
        if try('EXISTS', prefix .. other) == 1 then
          try('ZREM', live, other)
        else
          still[#still + 1] = other
        end
      end
      for number = 1, #still - limit + 1 do
        try('SET', prefix .. still[number], '1', 'PX', memory)
        try('ZREM', live, still[number])
      end
    end
    try('ZADD', live, int(micros), conversation)
    try('PEXPIRE', live, memory)
  end
end
return fault

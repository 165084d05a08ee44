-- Ends a turn. Only the first call for a turn has an effect, so it is safe to repeat.
--
-- KEYS  1 end of this turn; 2 turns in flight; 3 revoked conversation; 4 live conversations of the
--       user; 5… quotas; then, if the turn uses a single-use token: used token
-- ARGV  1 holder id
--       2 end: whole, cut, left, failed
--       3 how long to remember the end, ms
--       4 1 if the turn uses a single-use token
--       5 keyed hash of the turn's request
--       6 how long to remember a spent token, ms
--       7 1 for a turn, 0 for a count of model tokens
--       8 1 if the turn started a conversation
--       9 model tokens; 10 history bytes; 11 upstream ms
--       12 maximum of live conversations; 0 without a limit
--       13 hash of the conversation
--       14 how long to remember a revocation, ms
--       15 prefix of the keys of revoked conversations
--       16… seven for each quota: length of the period, s; number of the period of admission, -1 if
--       unknown; 1 or 0 for a limit of turns, conversations, model tokens, history bytes, upstream ms
-- Returns the first error of a part, or an empty text. The parts are independent: a key of the wrong
-- type must not leave a used token unspent.

local function int(number)
  return string.format('%.0f', number)
end

-- If this write fails, the whole script fails before it has an effect, and is repeated later.
if not redis.call('SET', KEYS[1], '1', 'NX', 'PX', ARGV[3]) then
  return ''
end

local time = redis.call('TIME')
local second = tonumber(time[1])
local micros = second * 1000000 + tonumber(time[2])
local millis = math.floor(micros / 1000)
local holder, failed = ARGV[1], ARGV[2] == 'failed'
-- If the client left before any output, the turn counts, but the token stays valid.
local unspent = failed or ARGV[2] == 'left'
local quotas = (#ARGV - 15) / 7
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
      -- A token that was spent before this turn stays spent.
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

local started = {ARGV[7] == '1', ARGV[8] == '1'}
local used = {false, false, tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])}
local fields = {'turns', 'conversations', 'model_tokens', 'history_bytes', 'upstream_millis'}
for number = 1, quotas do
  local key, at = KEYS[4 + number], 15 + (number - 1) * 7
  local period, admitted_in = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local index = math.floor(second / period)
  local kept = try('HGET', key, 'period')
  -- Counts of a period that is over are gone.
  if failed and held and kept == int(index) and (admitted_in == index or admitted_in < 0) then
    for column = 1, 2 do
      local limits = ARGV[at + 2 + column] == '1' and started[column]
      if limits and (tonumber(try('HGET', key, fields[column]) or 0) or 0) > 0 then
        try('HINCRBY', key, fields[column], -1)
      end
    end
  end
  -- What the turn cost counts, however it ended.
  if admitted_in == index then
    local writes = false
    for column = 3, 5 do
      if ARGV[at + 2 + column] == '1' and used[column] > 0 then
        if kept ~= int(index) then
          try('DEL', key)
          try('HSET', key, 'period', int(index))
          kept = int(index)
        end
        try('HINCRBY', key, fields[column], int(used[column]))
        writes = true
      end
    end
    if writes then
      try('PEXPIREAT', key, int((index + 1) * period * 1000))
    end
  end
end

local limit = tonumber(ARGV[12])
if not unspent and limit > 0 and try('EXISTS', KEYS[3]) == 0 then
  local live, conversation, memory, prefix = KEYS[4], ARGV[13], ARGV[14], ARGV[15]
  try('ZREMRANGEBYSCORE', live, '-inf', int(micros - tonumber(memory) * 1000))
  try('ZREM', live, conversation)
  local others = try('ZRANGE', live, 0, -1)
  if others then
    if #others >= limit then
      -- Conversations that were revoked in another way do not count.
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

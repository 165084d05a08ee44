-- Admits a turn, or says why not. All that can fail comes first: nothing is taken unless everything is.
--
-- KEYS  1 birth  2 done  3 places  4 rate  5 user revoked  6 conversation revoked  7… quotas
--       then, where a token was presented: token revoked, token used
-- ARGV  1 purpose  2 holder  3 lease, ms  4 whether birth counts  5 whether revocations count
--       6 when the token was issued, s; empty without one  7 whether it is good once  8 hash of its input
--       9 places  10 microseconds a turn, 0 without a rate  11 burst  12 whether a conversation begins
--       13… six for each quota: period, s; turns, conversations, model tokens, history bytes, upstream ms; -1 is no limit
-- Gives {verdict, {a, b, debt of the rate in µs, then for each quota: period's number, s left, the five counts}}.

local function int(number)
  return string.format('%.0f', number)
end

-- What others may have written in place of a number counts for nothing.
local function count_of(value)
  return tonumber(value or 0) or 0
end

local time = redis.call('TIME')
local micros = tonumber(time[1]) * 1000000 + tonumber(time[2])
local millis = math.floor(micros / 1000)
local purpose, holder, lease = ARGV[1], ARGV[2], tonumber(ARGV[3])
local issued = tonumber(ARGV[6])
local quotas = (#ARGV - 12) / 6
local fields = {'turns', 'conversations', 'model_tokens', 'history_bytes', 'upstream_millis'}

local debt, counts = 0, {}

local function answer(verdict, a, b)
  local numbers = {a or 0, b or 0, math.ceil(debt)}
  for number = 1, quotas do
    for place = 1, 7 do
      numbers[#numbers + 1] = counts[number] and counts[number][place] or 0
    end
  end
  return {verdict, numbers}
end

-- A store that knows nothing of itself was born just now.
redis.call('SET', KEYS[1], time[1], 'NX')
local birth = tonumber(redis.call('GET', KEYS[1]))
if issued and ARGV[4] == '1' and issued < birth then
  return answer('older', birth)
end

if issued and ARGV[5] == '1' then
  -- What is no number has revoked everything.
  local until_second = tonumber(redis.call('GET', KEYS[5]) or -1) or math.huge
  if issued <= until_second or redis.call('EXISTS', KEYS[6], KEYS[7 + quotas]) > 0 then
    return answer('revoked')
  end
end
if purpose == 'read' then
  return answer('ok')
end

-- The caller gave up before this arrived, and what it would have taken was given back.
if redis.call('EXISTS', KEYS[2]) == 1 then
  return answer('stale')
end

local once = purpose == 'turn' and issued and ARGV[7] == '1'
local use = KEYS[8 + quotas]
if once then
  local input, held_until, spent = unpack(redis.call('HMGET', use, 'input', 'until', 'spent'))
  local same = input == ARGV[8]
  if held_until and millis < count_of(held_until) then
    return answer('used', same and 1 or 0)
  end
  if spent and not (same and millis < count_of(spent) + 600000) then
    return answer('used', 0)
  end
end

-- The generic cell rate algorithm (ITU-T I.371), with its theoretical arrival time as the one thing kept.
local interval, fast = tonumber(ARGV[10]), nil
if interval > 0 then
  local room = interval * tonumber(ARGV[11])
  debt = math.max(count_of(redis.call('GET', KEYS[4])) - micros, 0)
  if debt > room then
    -- Written by another rate, or by a clock that ran ahead: from here on it goes down.
    debt = room
    redis.call('SET', KEYS[4], int(micros + debt), 'PX', int(math.ceil(debt / 1000) + 1))
  end
  local wait = debt + interval - room
  if wait > 0 then
    fast = wait
  end
end

-- Read for all, to be told; only turns are held to them.
local short
for number = 1, quotas do
  local at = 12 + (number - 1) * 6
  local period = tonumber(ARGV[at + 1])
  local index = math.floor(tonumber(time[1]) / period)
  local row = {index, (index + 1) * period - tonumber(time[1])}
  local kept = redis.call('HMGET', KEYS[6 + number], 'period', unpack(fields))
  for place = 1, 5 do
    local count = kept[1] == int(index) and count_of(kept[place + 1]) or 0
    local limit = tonumber(ARGV[at + 1 + place])
    row[place + 2] = count
    local counts_here = purpose == 'turn' and limit >= 0 and (place ~= 2 or ARGV[12] == '1')
    if counts_here and count >= limit and (not short or row[2] > short[3]) then
      short = {number, place, row[2]}
    end
  end
  counts[number] = row
end
-- The longest wait is told: what comes before it would be refused again.
if fast and not (short and short[3] * 1000000 > fast) then
  return answer('fast', math.ceil(fast))
end
if short then
  return answer('short', short[1], short[2])
end

-- Last, so that a wait which is told is one for everything that is counted by time.
if redis.call('ZCOUNT', KEYS[3], '(' .. int(millis), '+inf') >= tonumber(ARGV[9]) then
  return answer('busy')
end

-- From here on everything is taken.
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', int(millis))
redis.call('ZADD', KEYS[3], int(millis + lease), holder)
if redis.call('PTTL', KEYS[3]) < lease then
  redis.call('PEXPIRE', KEYS[3], int(lease))
end
if once then
  redis.call('HSET', use, 'input', ARGV[8], 'holder', holder, 'until', int(millis + lease))
  -- One that was spent is remembered for longer.
  if redis.call('HEXISTS', use, 'spent') == 0 then
    redis.call('PEXPIRE', use, int(lease))
  end
end
if interval > 0 then
  debt = debt + interval
  redis.call('SET', KEYS[4], int(micros + debt), 'PX', int(math.ceil(debt / 1000) + 1))
end
for number, row in ipairs(counts) do
  local key, at = KEYS[6 + number], 12 + (number - 1) * 6
  local turns, conversations = tonumber(ARGV[at + 2]) >= 0, tonumber(ARGV[at + 3]) >= 0 and ARGV[12] == '1'
  if purpose == 'turn' and (turns or conversations) then
    if redis.call('HGET', key, 'period') ~= int(row[1]) then
      redis.call('DEL', key)
      redis.call('HSET', key, 'period', int(row[1]))
    end
    if turns then
      row[3] = row[3] + 1
      redis.call('HSET', key, 'turns', int(row[3]))
    end
    if conversations then
      row[4] = row[4] + 1
      redis.call('HSET', key, 'conversations', int(row[4]))
    end
    redis.call('PEXPIREAT', key, int((row[1] + 1) * tonumber(ARGV[at + 1]) * 1000))
  end
end
return answer('ok')

-- Admits or refuses a turn or a read. Every check comes before the first write: if a check refuses the turn,
-- nothing is consumed.
--
-- KEYS  1 birth; 2 end of this turn; 3 turns and reads in flight; 4 rate of turns or of reads;
--       5 revoked user; 6 revoked conversation; 7… quotas; then, if a token was presented: revoked
--       token, used token
-- ARGV  1 purpose: turn, read
--       2 holder id
--       3 lease, ms
--       4 1 if the birth is checked
--       5 1 if revocations are checked
--       6 second in which the token was issued; empty without a token
--       7 1 if the token can continue only one turn
--       8 keyed hash of the turn's request
--       9 maximum of concurrent turns and reads
--       10 cost under the rate, microseconds; 0 without a rate
--       11 burst
--       12 1 if the turn starts a conversation
--       13… six for each quota: length of the period, s; limits of turns, conversations,
--       model tokens, history bytes, upstream ms; -1 without a limit
-- Returns {verdict, {a, b, debt of the rate in microseconds, then seven numbers for each quota:
-- number of the period, seconds left, and the five counts}}.
-- Verdicts: ok; older (a: birth); revoked; stale: the turn has ended already; used (a: 1 if a turn
-- with the same request is in flight); fast: rate exceeded (a: wait in microseconds); short: quota
-- exceeded (a: quota, b: count, from 1); busy: too many concurrent turns.

local function int(number)
  return string.format('%.0f', number)
end

-- Another client may have written a value that is not a number. It counts as 0.
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
    for column = 1, 7 do
      numbers[#numbers + 1] = counts[number] and counts[number][column] or 0
    end
  end
  return {verdict, numbers}
end

-- An empty store is born now.
redis.call('SET', KEYS[1], time[1], 'NX')
local birth = tonumber(redis.call('GET', KEYS[1]))
if issued and ARGV[4] == '1' and issued < birth then
  return answer('older', birth)
end

if issued and ARGV[5] == '1' then
  -- A value that is not a number revokes all tokens of the user.
  local until_second = tonumber(redis.call('GET', KEYS[5]) or -1) or math.huge
  if issued <= until_second or redis.call('EXISTS', KEYS[6], KEYS[7 + quotas]) > 0 then
    return answer('revoked')
  end
end
-- The guard reported the end of this turn before this call arrived.
if redis.call('EXISTS', KEYS[2]) == 1 then
  return answer('stale')
end

local single_use = purpose == 'turn' and issued and ARGV[7] == '1'
local use = KEYS[8 + quotas]
if single_use then
  local input, held_until, spent = unpack(redis.call('HMGET', use, 'input', 'until', 'spent'))
  local same = input == ARGV[8]
  if held_until and millis < count_of(held_until) then
    return answer('used', same and 1 or 0)
  end
  if spent and not (same and millis < count_of(spent) + 600000) then
    return answer('used', 0)
  end
end

-- The generic cell rate algorithm (ITU-T I.371). The key holds its theoretical arrival time.
local interval, fast = tonumber(ARGV[10]), nil
if interval > 0 then
  local burst = interval * tonumber(ARGV[11])
  debt = math.max(count_of(redis.call('GET', KEYS[4])) - micros, 0)
  if debt > burst then
    -- Another rate, or a clock that was ahead, wrote a larger debt. It decreases from here on.
    debt = burst
    redis.call('SET', KEYS[4], int(micros + debt), 'PX', int(math.ceil(debt / 1000) + 1))
  end
  local wait = debt + interval - burst
  if wait > 0 then
    fast = wait
  end
end

-- Every purpose reports the quotas, but only turns are checked against them.
local short
for number = 1, quotas do
  local at = 12 + (number - 1) * 6
  local period = tonumber(ARGV[at + 1])
  local index = math.floor(tonumber(time[1]) / period)
  local row = {index, (index + 1) * period - tonumber(time[1])}
  local kept = redis.call('HMGET', KEYS[6 + number], 'period', unpack(fields))
  for column = 1, 5 do
    local count = kept[1] == int(index) and count_of(kept[column + 1]) or 0
    local limit = tonumber(ARGV[at + 1 + column])
    row[column + 2] = count
    local applies = purpose == 'turn' and limit >= 0 and (column ~= 2 or ARGV[12] == '1')
    if applies and count >= limit and (not short or row[2] > short[3]) then
      short = {number, column, row[2]}
    end
  end
  counts[number] = row
end
-- Report the longest wait: a turn before that would be refused again.
if fast and not (short and short[3] * 1000000 > fast) then
  return answer('fast', math.ceil(fast))
end
if short then
  return answer('short', short[1], short[2])
end

-- Concurrent turns come last: this check has no wait, so the waits above are reported first.
if redis.call('ZCOUNT', KEYS[3], '(' .. int(millis), '+inf') >= tonumber(ARGV[9]) then
  return answer('busy')
end

-- All checks have passed. From here on, the turn is charged.
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', int(millis))
redis.call('ZADD', KEYS[3], int(millis + lease), holder)
if redis.call('PTTL', KEYS[3]) < lease then
  redis.call('PEXPIRE', KEYS[3], int(lease))
end
if single_use then
  redis.call('HSET', use, 'input', ARGV[8], 'holder', holder, 'until', int(millis + lease))
  -- A spent token keeps its longer expiry.
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

-- Reads the counts of a caller. Changes nothing.
--
-- KEYS  1 rate of turns; 2 rate of reads; 3… quotas
-- ARGV  length of the period of each quota, s
-- Returns the debt of the rate of reads in microseconds, that of the rate of turns, then seven
-- numbers for each quota: number of the period, seconds left, and the five counts.

local function count_of(value)
  return tonumber(value or 0) or 0
end

local time = redis.call('TIME')
local second = tonumber(time[1])
local micros = second * 1000000 + tonumber(time[2])
local function debt(key)
  return math.max(count_of(redis.call('GET', key)) - micros, 0)
end

local numbers = {debt(KEYS[2]), debt(KEYS[1])}
for number, period in ipairs(ARGV) do
  local index = math.floor(second / tonumber(period))
  local kept = redis.call('HMGET', KEYS[2 + number], 'period', 'turns', 'conversations', 'model_tokens',
    'history_bytes', 'upstream_millis')
  numbers[#numbers + 1] = index
  numbers[#numbers + 1] = (index + 1) * tonumber(period) - second
  for column = 1, 5 do
    numbers[#numbers + 1] = kept[1] == string.format('%.0f', index) and count_of(kept[column + 1]) or 0
  end
end
return numbers

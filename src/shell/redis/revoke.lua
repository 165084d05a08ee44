-- Revokes a token, a conversation, or all tokens of a user until now.
--
-- KEYS  1 revoked token, conversation or user; 2 for a user: live conversations
-- ARGV  1 how long to remember the revocation, ms
--       2 1 if live conversations are counted
--       3 prefix of the keys of revoked conversations
-- Returns, for a user, the last second whose tokens are revoked by the store's clock, and the number
-- of live conversations, -1 if it is not known; otherwise 0, -1, and 1 if it was revoked before.

local function int(number)
  return string.format('%.0f', number)
end

local time, memory = redis.call('TIME'), tonumber(ARGV[1])
local second = tonumber(time[1])
if #KEYS < 2 then
  local before = redis.call('EXISTS', KEYS[1])
  redis.call('SET', KEYS[1], '1', 'PX', int(memory))
  return {0, -1, before}
end
-- If the clock was set back, the later second counts: revoked tokens stay revoked.
local last = math.max(second, tonumber(redis.call('GET', KEYS[1]) or 0) or 0)
local ahead = (last - second) * 1000
local live = -1
if ARGV[2] == '1' or redis.call('EXISTS', KEYS[2]) == 1 then
  live = 0
  local oldest = second * 1000000 + tonumber(time[2]) - memory * 1000
  -- Conversations that were revoked before do not count.
  for _, conversation in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], int(oldest), '+inf')) do
    live = live + 1 - redis.call('EXISTS', ARGV[3] .. conversation)
  end
end
redis.call('SET', KEYS[1], int(last), 'PX', int(memory + ahead))
redis.call('DEL', KEYS[2])
return {last, live, 0}

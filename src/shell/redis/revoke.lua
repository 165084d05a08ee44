-- Revokes a token, a conversation, or all tokens of a user until now.
--
-- KEYS  1 revoked token, conversation or user; 2 for a user: live conversations
-- ARGV  1 how long to remember the revocation, ms
-- Returns the last second whose tokens are revoked, by the store's clock, for a user; otherwise 0.

local second, memory = tonumber(redis.call('TIME')[1]), tonumber(ARGV[1])
if #KEYS < 2 then
  redis.call('SET', KEYS[1], '1', 'PX', string.format('%.0f', memory))
  return 0
end
-- If the clock was set back, the later second counts: revoked tokens stay revoked.
local last = math.max(second, tonumber(redis.call('GET', KEYS[1]) or 0) or 0)
local ahead = (last - second) * 1000
redis.call('SET', KEYS[1], string.format('%.0f', last), 'PX', string.format('%.0f', memory + ahead))
redis.call('DEL', KEYS[2])
return last

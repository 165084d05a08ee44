-- Revokes a token, a conversation, or what a user has.
--
-- KEYS  1 what is revoked  2 for a user, the conversations that are live
-- ARGV  1 how long to remember it, ms
-- Gives the second until which a user's tokens are revoked, by the store's own clock; 0 otherwise.

local second, memory = tonumber(redis.call('TIME')[1]), tonumber(ARGV[1])
if #KEYS < 2 then
  redis.call('SET', KEYS[1], '1', 'PX', string.format('%.0f', memory))
  return 0
end
-- Never goes back: what was revoked stays so.
local last = math.max(second, tonumber(redis.call('GET', KEYS[1]) or 0) or 0)
local ahead = (last - second) * 1000
redis.call('SET', KEYS[1], string.format('%.0f', last), 'PX', string.format('%.0f', memory + ahead))
redis.call('DEL', KEYS[2])
return last

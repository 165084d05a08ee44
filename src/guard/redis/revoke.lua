-- Revokes a token, a conversation, or what a user has.
--
-- KEYS  1 birth  2 what is revoked  3 for a user, the conversations that are live
-- ARGV  1 how long to remember it, ms  2 for a user, the last second whose tokens are revoked
-- Gives the second until which a user's tokens are revoked, 0 otherwise.

local time = redis.call('TIME')
redis.call('SET', KEYS[1], time[1], 'NX')
local memory = tonumber(ARGV[1])
if #KEYS < 3 then
  redis.call('SET', KEYS[2], '1', 'PX', string.format('%.0f', memory))
  return 0
end
-- Never goes back: what was revoked stays so.
local last = math.max(tonumber(ARGV[2]), tonumber(redis.call('GET', KEYS[2]) or 0))
local ahead = math.max(last - tonumber(time[1]), 0) * 1000
redis.call('SET', KEYS[2], string.format('%.0f', last), 'PX', string.format('%.0f', memory + ahead))
redis.call('DEL', KEYS[3])
return last

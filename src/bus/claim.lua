-- Ends an absence that has lasted: who gets 1 tells the webhooks of it, nobody else does.
--
-- KEYS  1 absences
-- ARGV  1 user, or "" for the place  2 the node that holds it

local value = redis.call('HGET', KEYS[1], ARGV[1])
if not value or string.match(value, '^%d+') ~= ARGV[2] then return 0 end
return redis.call('HDEL', KEYS[1], ARGV[1])

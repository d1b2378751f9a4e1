-- Renews the lease of a node and looks at those of the others, by the clock of Redis.
--
-- KEYS  1 nodes, by the millisecond their lease ends
-- ARGV  1 node  2 length of the lease in milliseconds; 0 gives it up
-- Gives  1 = the node had a lease until now, nodes with a lease, nodes whose lease is over (16 at most)

local now = redis.call('TIME')
now = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
local ends = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or '0')
local length = tonumber(ARGV[2])
redis.call('ZADD', KEYS[1], length > 0 and now + length or 0, ARGV[1])
redis.call('PEXPIRE', KEYS[1], 86400000)
return {ends > now and 1 or 0, redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf'),
  redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 16)}

-- Renews the lease of a node and looks at those of the others, by the clock of Redis.
--
-- KEYS  1 nodes, by the millisecond their lease ends  2 nodes that have not said yet all they hold
-- ARGV  1 node  2 length of the lease in milliseconds; 0 gives it up  3 "1" = it should have one: it is not given another
--       4 "1" = it has not said yet all it holds
-- Gives  1 = the node had a lease until now, nodes with a lease, nodes whose lease is over (16 at most), nodes with a lease
--        that have not said yet all they hold

local node, length = ARGV[1], tonumber(ARGV[2])
local now = redis.call('TIME')
now = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
local kept = tonumber(redis.call('ZSCORE', KEYS[1], node) or '0') > now
if kept or ARGV[3] ~= '1' or length == 0 then
  redis.call('ZADD', KEYS[1], length > 0 and now + length or 0, node)
  redis.call(ARGV[4] == '1' and 'SADD' or 'SREM', KEYS[2], node)
end
redis.call('PEXPIRE', KEYS[1], 86400000)
redis.call('PEXPIRE', KEYS[2], 86400000)
local live, unsettled = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf'), {}
for _, other in ipairs(live) do
  if redis.call('SISMEMBER', KEYS[2], other) == 1 then unsettled[#unsettled + 1] = other end
end
return {kept and 1 or 0, live, redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 16), unsettled}

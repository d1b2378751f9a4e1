-- Makes an event the last one of a cache channel, and sends it to all who listen there.
--
-- KEYS  1 version  2 cached event
-- ARGV  1 envelope  2 milliseconds it is replayed for  3 "1" = only if there is none, and without sending it
--       4 PUBLISH or SPUBLISH  5 the place
-- Gives  its version, or 0 when there was one

place.command, place.name = ARGV[4], ARGV[5]
local restore = ARGV[3] == '1'
if restore and redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
local version = place.next_version()
redis.call('HSET', KEYS[2], 'v', version, 'e', ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
redis.call('PEXPIRE', KEYS[1], place.VERSION_LIFE_MS)
if not restore then place.publish('e ' .. version .. ' ' .. ARGV[1]) end
return tonumber(version)

-- One transition of one node in one place, and the news of it to all who listen there.
--
-- KEYS  1 version  2 subscriptions by node  3 members  4 absences
-- ARGV  1 node  2 its subscriptions here  3 "join", "leave" or ""  4 user  5 info  6 most members
--       7 "1" = absences are held for webhooks  8 "1" = the number is news  9 PUBLISH or SPUBLISH  10 the place
-- Gives  full (0, 1), version, subscriptions in the cluster before and after, members gained (-1, 0, 1),
--        1 = the member comes back from an absence, 1 = the place does, the place's birth before the change

local node, count, what, user, info = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5]
place.hold, place.tell, place.command, place.name = ARGV[7] == '1', ARGV[8] == '1', ARGV[9], ARGV[10]
local birth = place.birth()

if what == 'join' and redis.call('HEXISTS', KEYS[3], user) == 0
    and redis.call('HLEN', KEYS[3]) >= tonumber(ARGV[6]) then
  local total = place.total()
  return {1, place.version(), total, total, 0, 0, 0, birth}
end
local gained, returned = 0, 0
if what == 'join' then
  gained, returned = place.join(node, user, info)
elseif what == 'leave' then
  gained = place.leave(node, user, node)
end
local before, after, reoccupied = place.count(node, count, node)
place.keep()
return {0, place.version(), before, after, gained, returned, reoccupied, birth}

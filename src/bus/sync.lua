-- Makes what one node holds in a place what it says here, and gives the place as it then is. Also reads a place (a node that
-- holds nothing), and takes a dead node out of it (with an heir, who gets its absences).
--
-- KEYS  1 version  2 subscriptions by node  3 members  4 absences  5 cached event
-- ARGV  1 node  2 its subscriptions here  3 heir or ""  4 "1" = absences are held for webhooks  5 "1" = the number is news
--       6 PUBLISH or SPUBLISH  7 the place; then for each user: user, info, "held" or "asked" (under way: left as it is)
-- Gives  1 = the place was known before, version, subscriptions in the cluster before and after, 1 = the place comes back
--        from an absence, users new in the cluster that do not, users gone from it, adopted absences, all members
--        (user, value, ...), subscriptions by node (node, number, ...), the cached event (version, envelope) or nothing

local node, count, heir = ARGV[1], tonumber(ARGV[2]), ARGV[3]
place.hold, place.tell, place.command, place.name = ARGV[4] == '1', ARGV[5] == '1', ARGV[6], ARGV[7]
local holder = heir ~= '' and heir or node
local known = redis.call('EXISTS', KEYS[1])

local wanted, added, removed, adopted = {}, {}, {}, {}
for at = 8, #ARGV, 3 do
  local user = ARGV[at]
  wanted[user] = true
  if ARGV[at + 2] == 'held' then
    local gained, returned = place.join(node, user, ARGV[at + 1])
    if gained == 1 and returned == 0 then added[#added + 1] = user end
  end
end
local mark = ',' .. node .. ','
local members = redis.call('HGETALL', KEYS[3])
for at = 1, #members, 2 do
  local user, value = members[at], members[at + 1]
  local nodes = string.sub(value, 1, string.find(value, '\n', 1, true) - 1)
  if not wanted[user] and string.find(nodes, mark, 1, true) and place.leave(node, user, holder) == -1 then
    removed[#removed + 1] = user
  end
end
local before, after, reoccupied = place.count(node, count, holder)
if heir ~= '' then
  local absences = redis.call('HGETALL', KEYS[4])
  for at = 1, #absences, 2 do
    if absences[at + 1] == node then
      redis.call('HSET', KEYS[4], absences[at], heir)
      adopted[#adopted + 1] = absences[at]
    end
  end
end
place.keep()
return {known, place.version(), before, after, reoccupied, added, removed, adopted,
  redis.call('HGETALL', KEYS[3]), redis.call('HGETALL', KEYS[2]), redis.call('HMGET', KEYS[5], 'v', 'e')}

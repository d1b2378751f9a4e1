-- Makes what one node holds in a place what it says here, and gives the place as it then is. Also reads a place (a node that
-- holds nothing), and takes a dead node out of it (with an heir, who gets its absences).
--
-- KEYS  1 version  2 subscriptions by node  3 members  4 absences  5 cached event
-- ARGV  1 node  2 its subscriptions here  3 heir or ""  4 "1" = absences are held for webhooks  5 "1" = the number is news
--       6 PUBLISH or SPUBLISH  7 the place; then for each user: user, info, "held" or "asked" (under way: left as it is)
-- Gives  the place's birth before this, 0 = it was not known, and after it; version, subscriptions in the cluster before and after,
--        1 = the place comes back from an absence, users new in the cluster that do not, users gone from it, absences
--        that the node (or the heir) now holds, all members (user, value, ...), subscriptions by node (node, number, ...),
--        the cached event (version, envelope, milliseconds left) or nothing

local node, count, heir = ARGV[1], tonumber(ARGV[2]), ARGV[3]
place.hold, place.tell, place.command, place.name = ARGV[4] == '1', ARGV[5] == '1', ARGV[6], ARGV[7]
local holder = heir ~= '' and heir or node
local birth = place.birth()

local wanted, added, removed, held = {}, {}, {}, {}
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
  if not wanted[user] then
    for other in string.gmatch(nodes, '%d+') do
      -- With an heir just that name is dead; else no name of this node has the user.
      local is_gone = other == node or heir == '' and place.same_node(other, node)
      if is_gone and place.leave(other, user, holder) == -1 then removed[#removed + 1] = user end
    end
  end
end
local before, after, reoccupied
if heir == '' then
  before, after, reoccupied = place.count(node, count, holder)
else
  before, reoccupied = place.total(), 0
  if redis.call('HEXISTS', KEYS[2], node) == 1 then place.set_count(node, 0) end
  after = place.total()
  if before > 0 and after == 0 then place.hold_absence('', holder) end
end
local absences = redis.call('HGETALL', KEYS[4])
for at = 1, #absences, 2 do
  local by, began = string.match(absences[at + 1], '^(%d+)( %d+)$')
  if by == node and heir ~= '' then
    redis.call('HSET', KEYS[4], absences[at], heir .. began)
    by = heir
  end
  if by == holder then held[#held + 1] = absences[at] end
end
place.keep()
local cached = redis.call('HMGET', KEYS[5], 'v', 'e')
cached[3] = redis.call('PTTL', KEYS[5])
return {birth, place.birth(), place.version(), before, after, reoccupied, added, removed, held,
  redis.call('HGETALL', KEYS[3]), redis.call('HGETALL', KEYS[2]), cached}

-- What the scripts about a place share; it stands before each of them.
--
-- KEYS[1] has the version `v` and the place's birth `b`. A member's value in KEYS[3] is ",node,node,", a line feed, the
-- info; an absence in KEYS[4] is the node that holds it, a space, and the millisecond it began.

local place = {}

-- Absences and contributions outlive whoever forgets them by ten minutes; a version lives an hour longer than its place,
-- so that a place that is made anew goes on counting.
place.LIFE_MS, place.VERSION_LIFE_MS = 600000, 3600000

-- An absence that is older has been told, or will never be: the webhooks' grace is 3 s.
place.ABSENCE_MS = 15000

local now = redis.call('TIME')
place.now_ms = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)

function place.version()
  return tonumber(redis.call('HGET', KEYS[1], 'v') or '0')
end

-- When the place came to be known, in microseconds; 0 = it is not.
function place.birth()
  return tonumber(redis.call('HGET', KEYS[1], 'b') or '0')
end

-- A new place begins at the time in microseconds: above whatever it was before Redis lost it.
function place.next_version()
  if redis.call('EXISTS', KEYS[1]) == 0 then
    local birth = now[1] .. string.format('%06d', now[2])
    redis.call('HSET', KEYS[1], 'v', birth, 'b', birth)
  end
  return string.format('%.0f', redis.call('HINCRBY', KEYS[1], 'v', 1))
end

function place.publish(news)
  redis.call(place.command, place.name, news)
end

function place.publish_member(user, nodes, info)
  place.publish('m ' .. place.next_version() .. ' ' .. #user .. ' ' .. user .. nodes .. '\n' .. info)
end

function place.total()
  local sum = 0
  for _, count in ipairs(redis.call('HVALS', KEYS[2])) do sum = sum + tonumber(count) end
  return sum
end

-- Whether two names are of one node: they differ in the lower sixteen bits only.
function place.same_node(one, other)
  return math.floor(tonumber(one) / 65536) == math.floor(tonumber(other) / 65536)
end

function place.nodes_and_info(user)
  local value = redis.call('HGET', KEYS[3], user)
  if not value then return nil end
  local line = string.find(value, '\n', 1, true)
  return string.sub(value, 1, line - 1), string.sub(value, line + 1)
end

function place.hold_absence(field, holder)
  if place.hold then
    redis.call('HSET', KEYS[4], field, holder .. ' ' .. string.format('%.0f', place.now_ms))
  end
end

-- Gives 1 when somebody comes back from an absence that is held.
function place.end_absence(field)
  local value = redis.call('HGET', KEYS[4], field)
  if not value then return 0 end
  redis.call('HDEL', KEYS[4], field)
  local began = tonumber(string.match(value, ' (%d+)$') or '0')
  return place.now_ms - began < place.ABSENCE_MS and 1 or 0
end

-- Gives 1 when the user is new in the cluster, and 1 when that ends an absence.
function place.join(node, user, info)
  local nodes, known = place.nodes_and_info(user)
  if not nodes then
    nodes = ',' .. node .. ','
    redis.call('HSET', KEYS[3], user, nodes .. '\n' .. info)
    place.publish_member(user, nodes, info)
    return 1, place.end_absence(user)
  end
  -- Earlier names of this node speak for nobody any more.
  local kept, is_here = ',', false
  for other in string.gmatch(nodes, '%d+') do
    if other == node then is_here = true end
    if other == node or not place.same_node(other, node) then kept = kept .. other .. ',' end
  end
  if not is_here then kept = kept .. node .. ',' end
  if kept ~= nodes then
    redis.call('HSET', KEYS[3], user, kept .. '\n' .. known)
    place.publish_member(user, kept, known)
  end
  return 0, 0
end

-- Gives -1 when nobody in the cluster has the user any more; the absence is then held by `holder`.
function place.leave(node, user, holder)
  local nodes, known = place.nodes_and_info(user)
  local start = nodes and string.find(nodes, ',' .. node .. ',', 1, true)
  if not start then return 0 end
  nodes = string.sub(nodes, 1, start) .. string.sub(nodes, start + #node + 2)
  if nodes ~= ',' then
    redis.call('HSET', KEYS[3], user, nodes .. '\n' .. known)
    place.publish_member(user, nodes, known)
    return 0
  end
  redis.call('HDEL', KEYS[3], user)
  place.publish_member(user, '', '')
  place.hold_absence(user, holder)
  return -1
end

function place.set_count(node, count)
  if count == 0 then
    redis.call('HDEL', KEYS[2], node)
  else
    redis.call('HSET', KEYS[2], node, count)
  end
  if place.tell then
    place.publish('n ' .. place.next_version() .. ' ' .. node .. ' ' .. string.format('%.0f', count))
  end
end

-- Gives the subscriptions in the cluster before and after, and 1 when that ends an absence of all.
function place.count(node, count, holder)
  local before, after, old = 0, 0, 0
  local counts = redis.call('HGETALL', KEYS[2])
  for at = 1, #counts, 2 do
    local other, number = counts[at], tonumber(counts[at + 1])
    before = before + number
    if other == node then
      old = number
    elseif place.same_node(other, node) then
      -- An earlier name of this node.
      place.set_count(other, 0)
    else
      after = after + number
    end
  end
  if old ~= count then place.set_count(node, count) end
  after = after + count
  if before == 0 and after > 0 then return before, after, place.end_absence('') end
  if before > 0 and after == 0 then place.hold_absence('', holder) end
  return before, after, 0
end

-- Where webhooks are told, a place that has anything has a version, and so a birth.
function place.keep()
  if place.hold and redis.call('EXISTS', KEYS[1]) == 0 and redis.call('EXISTS', KEYS[2], KEYS[3]) > 0 then
    place.next_version()
  end
  redis.call('PEXPIRE', KEYS[1], place.VERSION_LIFE_MS)
  for key = 2, 4 do redis.call('PEXPIRE', KEYS[key], place.LIFE_MS) end
end

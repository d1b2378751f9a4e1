-- What the scripts about a place share; it stands before each of them. A member's value is ",node,node,", a line feed, the info.

local place = {}

-- Absences and contributions outlive whoever forgets them by ten minutes; a version lives an hour longer than its place,
-- so that a place that is made anew goes on counting.
place.LIFE_MS, place.VERSION_LIFE_MS = 600000, 3600000

function place.version()
  return tonumber(redis.call('GET', KEYS[1]) or '0')
end

-- A new place begins at the time in microseconds: above whatever it was before Redis lost it.
function place.next_version()
  if redis.call('EXISTS', KEYS[1]) == 0 then
    local now = redis.call('TIME')
    redis.call('SET', KEYS[1], now[1] .. string.format('%06d', now[2]))
  end
  return string.format('%.0f', redis.call('INCR', KEYS[1]))
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

function place.nodes_and_info(user)
  local value = redis.call('HGET', KEYS[3], user)
  if not value then return nil end
  local line = string.find(value, '\n', 1, true)
  return string.sub(value, 1, line - 1), string.sub(value, line + 1)
end

-- Gives 1 when the user is new in the cluster, and 1 when that ends an absence.
function place.join(node, user, info)
  local nodes, known = place.nodes_and_info(user)
  if not nodes then
    local nodes = ',' .. node .. ','
    redis.call('HSET', KEYS[3], user, nodes .. '\n' .. info)
    place.publish_member(user, nodes, info)
    return 1, redis.call('HDEL', KEYS[4], user)
  end
  if not string.find(nodes, ',' .. node .. ',', 1, true) then
    nodes = nodes .. node .. ','
    redis.call('HSET', KEYS[3], user, nodes .. '\n' .. known)
    place.publish_member(user, nodes, known)
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
  if place.hold then redis.call('HSET', KEYS[4], user, holder) end
  return -1
end

-- Gives the subscriptions in the cluster before and after, and 1 when that ends an absence of all.
function place.count(node, count, holder)
  local before = place.total()
  local old = tonumber(redis.call('HGET', KEYS[2], node) or '0')
  if old == count then return before, before, 0 end
  if count == 0 then
    redis.call('HDEL', KEYS[2], node)
  else
    redis.call('HSET', KEYS[2], node, count)
  end
  local after = before - old + count
  if place.tell then
    place.publish('n ' .. place.next_version() .. ' ' .. node .. ' ' .. string.format('%.0f', count))
  end
  if before == 0 then return before, after, redis.call('HDEL', KEYS[4], '') end
  if after == 0 and place.hold then redis.call('HSET', KEYS[4], '', holder) end
  return before, after, 0
end

function place.keep()
  redis.call('PEXPIRE', KEYS[1], place.VERSION_LIFE_MS)
  for key = 2, 4 do redis.call('PEXPIRE', KEYS[key], place.LIFE_MS) end
end

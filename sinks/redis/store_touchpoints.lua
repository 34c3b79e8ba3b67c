-- ARGV[1]  {identifier, expires at (s), count, id and digest, content, ..., identifier, ...}: a flat list, which is
--          unpacked faster than a nested one
local result, concerned = {}, {}
local position = 1
while position <= #facts do
    local identifier, expires_at, count = facts[position], facts[position + 1], facts[position + 2]
    local key, stored = prefix .. 't:' .. identifier, 0
    for i = position + 3, position + 2 * count + 1, 2 do
        stored = stored + redis.call('HSETNX', key, facts[i], facts[i + 1])
    end
    if stored > 0 then
        keep_until(key, expires_at)
    end
    for _, reference in ipairs(redis.call('SMEMBERS', prefix .. 'c:' .. identifier)) do
        concerned[reference] = true
    end
    position = position + 3 + 2 * count
end
for reference in pairs(concerned) do
    local found = held(reference)
    if #found[2] > 0 then
        result[#result + 1] = found
    end
end
return result

-- ARGV[1]  {identifier, expires at (s), count, id and digest, content, ..., identifier, ...}: a flat list, which is
--          unpacked faster than a nested one
local result, asked = {}, {}
local position = 1
while position <= #facts do
    local identifier, expires_at, count = facts[position], facts[position + 1], facts[position + 2]
    local key, stored = prefix .. 't:' .. identifier, 0
    for i = position + 3, position + 2 * count + 1, 2 do
        stored = stored + call('HSETNX', key, facts[i], facts[i + 1])
    end
    if stored > 0 then
        keep_until(key, expires_at)
    end
    asked[#asked + 1] = prefix .. 'c:' .. identifier
    position = position + 3 + 2 * count
end
for _, reference in ipairs(members_of_any(asked)) do
    local found = held(reference)
    if #found[2] > 0 then
        result[#result + 1] = found
    end
end
return result

-- ARGV[1]  {{reference, digest, msgpack {identifiers, content}, expires at (s), identifiers}, ...}
local result, concerned = {}, {}
for _, fact in ipairs(facts) do
    local reference, digest, stored, expires_at = fact[1], fact[2], fact[3], fact[4]
    local key = prefix .. 'k:' .. reference
    if redis.call('HSETNX', key, digest, stored) == 1 then
        keep_until(key, expires_at)
    end
    for _, identifier in ipairs(fact[5]) do
        local known_by = prefix .. 'c:' .. identifier
        redis.call('SADD', known_by, reference)
        keep_until(known_by, expires_at)
    end
    concerned[reference] = true
end
for reference in pairs(concerned) do
    local found = held(reference)
    if #found[2] > 0 then -- else it expired on arrival
        result[#result + 1] = found
    end
end
return result

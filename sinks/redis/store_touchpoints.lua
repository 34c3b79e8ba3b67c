-- ARGV[1]  {{id and digest, content, expires at (s), identifiers}, ...}
local result, concerned = {}, {}
for _, fact in ipairs(facts) do
    local field, content, expires_at = fact[1], fact[2], fact[3]
    for _, identifier in ipairs(fact[4]) do
        local key = prefix .. 't:' .. identifier
        if redis.call('HSETNX', key, field, content) == 1 then
            keep_until(key, expires_at)
        end
        for _, reference in ipairs(redis.call('SMEMBERS', prefix .. 'c:' .. identifier)) do
            concerned[reference] = true
        end
    end
end
for reference in pairs(concerned) do
    local found = held(reference)
    if #found[2] > 0 then
        result[#result + 1] = found
    end
end
return result

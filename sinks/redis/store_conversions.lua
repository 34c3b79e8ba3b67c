-- ARGV[2]  {limit of entries, {{tenant, id, content, expires at (s), due to be settled (ms) or false}, ...},
--           {{tenant, bucket, expires at (s), identifiers, ids}, ...}}
local limit, facts, groups = unpack(cmsgpack.unpack(ARGV[2]))
for _, fact in ipairs(facts) do
    local tenant, id, content, expires_at, due_ms = unpack(fact)
    local key = prefix .. 'k:' .. tenant .. ':' .. id
    if call('SADD', key, content) == 1 then
        keep_until(key, expires_at)
        if due_ms then
            call('ZADD', prefix .. 'd', due_ms, tenant .. ':' .. id)
        end
    end
end
for _, group in ipairs(groups) do
    local tenant, bucket, expires_at, identifiers, ids = unpack(group)
    add_entries(prefix .. 'c:' .. tenant .. ':' .. bucket, expires_at, limit, SHORTEST_ID, identifiers, ids)
end
move_fence()
for _, fact in ipairs(facts) do
    ask_conversion(fact[1], fact[2])
end
return answer(limit)

-- ARGV[2]  {limit of entries, {{tenant, id, content, expires at (s), bucket, when that expires (s), identifiers}, ...}}
local limit, facts = unpack(cmsgpack.unpack(ARGV[2]))
for _, fact in ipairs(facts) do
    local tenant, id, content, expires_at, bucket, bucket_expires_at, identifiers = unpack(fact)
    local key, ids = prefix .. 'k:' .. tenant .. ':' .. id, {}
    if call('SADD', key, content) == 1 then
        keep_until(key, expires_at)
    end
    for i in ipairs(identifiers) do
        ids[i] = id
    end
    add_entries(prefix .. 'c:' .. tenant .. ':' .. bucket, bucket_expires_at, limit, identifiers, ids)
end
move_fence()
for _, fact in ipairs(facts) do
    read_conversion(fact[1], fact[2])
end
return {conversions, touchpoints}

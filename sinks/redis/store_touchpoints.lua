-- ARGV[2]  {limit of conversions, {{letter of the key, limit of entries, shortest entry, tenant, bucket, expires at (s),
--           buckets of conversions, identifiers, contents}, ...}}
local limit, groups = unpack(cmsgpack.unpack(ARGV[2]))
for _, group in ipairs(groups) do
    local letter, most, shortest, tenant, bucket, expires_at, _, identifiers, contents = unpack(group)
    add_entries(prefix .. letter .. ':' .. tenant .. ':' .. bucket, expires_at, most, shortest, identifiers, contents)
end
move_fence()
for _, group in ipairs(groups) do
    local _, _, _, tenant, _, _, buckets, identifiers = unpack(group)
    for _, bucket in ipairs(buckets) do
        local key = prefix .. 'c:' .. tenant .. ':' .. bucket
        if call('EXISTS', key) == 1 then
            for start = 1, #identifiers, SLICE do
                local stop = math.min(start + SLICE - 1, #identifiers)
                for _, list in pairs(call('HMGET', key, unpack(identifiers, start, stop))) do
                    if list and list ~= MANY then
                        for id in entries(list) do
                            ask_conversion(tenant, id)
                        end
                    end
                end
            end
        end
    end
end
return answer(limit)

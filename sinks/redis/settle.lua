-- Takes conversions that are due, so that nobody else does for a while, and answers what is held for them.
--
-- ARGV[1]  msgpack {limit of entries, due until (ms), how many at most, due again at (ms)}
-- Each gets a mark among its contents before anything is read: what is read later, knows of it, and is a later version.
local limit, until_ms, most, again_ms = unpack(cmsgpack.unpack(ARGV[1]))
local due = prefix .. 'd'
for _, member in ipairs(call('ZRANGEBYSCORE', due, '-inf', until_ms, 'LIMIT', 0, most)) do
    local digits = string.match(member, '^%d+')
    local length = #digits + 1 + tonumber(digits)
    local tenant, id = string.sub(member, 1, length), string.sub(member, length + 2)
    local key = prefix .. 'k:' .. tenant .. ':' .. id
    local count = call('SCARD', key)
    if count == 0 then
        call('ZREM', due, member)
    else
        call('SADD', key, cmsgpack.pack(count))
        call('ZADD', due, again_ms, member)
        ask_conversion(tenant, id)
    end
end
return answer(limit)

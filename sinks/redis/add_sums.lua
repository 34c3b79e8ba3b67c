-- After fence.lua. What lies below the fence is in the sums already and is clipped.
--
-- ARGV[2]  {{offset, contribution, major, minor version, expires at (s), {{sum, field, amount}, ...}}, ...}
-- Keys     <prefix>s:<role>:<sum>            hash: field -> integer
--          <prefix>n:<role>:<contribution>   msgpack {major, minor, amounts}: what is in the sums of one thing
-- Returns  {how many contributed, how many were clipped, how many were of an older version than is in the sums}
-- Amounts travel as decimal strings: Lua's own numbers are exact to 53 bits only.
local contributed, clipped, outdated = 0, 0, 0

local function add(amounts, sign)
    for _, amount in ipairs(amounts) do
        local key, field, value = prefix .. 's:' .. role .. ':' .. amount[1], amount[2], amount[3]
        if sign < 0 and value ~= '0' then
            value = string.sub(value, 1, 1) == '-' and string.sub(value, 2) or '-' .. value
        end
        call('HINCRBY', key, field, value)
    end
end

for _, row in ipairs(cmsgpack.unpack(ARGV[2])) do
    local offset, id, major, minor, expires_at, amounts = unpack(row)
    if offset <= fence then
        clipped = clipped + 1
    else
        local key = prefix .. 'n:' .. role .. ':' .. id
        local before = call('GET', key)
        local held = before and cmsgpack.unpack(before)
        if held and (held[1] > major or (held[1] == major and held[2] >= minor)) then
            outdated = outdated + 1
        else
            if held then
                add(held[3], -1)
            end
            add(amounts, 1)
            call('SET', key, cmsgpack.pack({major, minor, amounts}), 'EXAT', expires_at)
            contributed = contributed + 1
        end
    end
end
move_fence()
return {contributed, clipped, outdated}

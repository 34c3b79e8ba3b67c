-- Shared by both scripts of attribution_store.py, which put their own part after it.
--
-- KEYS[1]  prefix of every key: 'sl:1:{s0}:<namespace>'
-- ARGV[1]  msgpack: the facts to store, see each script
-- Keys     <prefix>t:<identifier>    hash: id and digest -> content, of the touchpoints
--          <prefix>c:<identifier>    set: references of the conversions
--          <prefix>k:<reference>     hash: digest -> msgpack {identifiers, content}, of a conversion
-- Returns  for each conversion concerned {reference, contents, touchpoints, facts held}, the middle two as
--          HGETALL gives them.
local prefix = KEYS[1]
local facts = cmsgpack.unpack(ARGV[1])
local call = redis.call

local function keep_until(key, expires_at)
    -- NX for a key without an expiry, which GT would leave alone: to GT, none counts as infinite.
    if call('EXPIREAT', key, expires_at, 'NX') == 0 then
        call('EXPIREAT', key, expires_at, 'GT')
    end
end

local function held(reference)
    local contents = call('HGETALL', prefix .. 'k:' .. reference)
    local count, touchpoints, seen = #contents / 2, {}, {}
    for i = 2, #contents, 2 do
        local stored = cmsgpack.unpack(contents[i])
        for _, identifier in ipairs(stored[1]) do
            if not seen[identifier] then
                seen[identifier] = true
                local found = call('HGETALL', prefix .. 't:' .. identifier)
                count = count + #found / 2
                for j = 1, #found do
                    touchpoints[#touchpoints + 1] = found[j]
                end
            end
        end
    end
    return {reference, contents, touchpoints, count}
end

local function members_of_any(keys)
    -- In few calls, since most keys are not there; the arguments of one have to fit Lua's stack.
    local members, seen = {}, {}
    for start = 1, #keys, 1000 do
        local last = math.min(start + 999, #keys)
        for _, member in ipairs(call('SUNION', unpack(keys, start, last))) do
            if not seen[member] then
                seen[member] = true
                members[#members + 1] = member
            end
        end
    end
    return members
end

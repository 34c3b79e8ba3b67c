-- Shared by both scripts of attribution_store.py, after fence.lua and before their own part.
--
-- A bucket is a hash of a tenant and a span of event time; what is held for an identifier is one field of it, a
-- list of entries, each with its length (2 bytes) in front. Writing many fields is one command, which costs the
-- server a third of a key for each identifier, and an expiry is set for the bucket.
--
-- Keys     <prefix>t:<tenant>:<bucket>   identifier -> contents of touchpoints
--          <prefix>c:<tenant>:<bucket>   identifier -> ids of conversions
--          <prefix>k:<tenant>:<id>       set: msgpack {identifiers, touchpoint buckets, content} of a conversion
-- A tenant is written with its length in front, so that no two keys are the same.
local MANY = '\0\0' -- stands for more entries than identify anybody; it is never taken back
local SLICE = 2000 -- of the arguments that fit Lua's stack
local SHORTEST_ENTRY = 3

local function keep_until(key, expires_at)
    -- NX for a key without an expiry, which GT would leave alone: to GT, none counts as infinite.
    if call('EXPIREAT', key, expires_at, 'NX') == 0 then
        call('EXPIREAT', key, expires_at, 'GT')
    end
end

local function entries(list)
    local position = 1
    return function()
        if position < #list then
            local length = struct.unpack('>I2', list, position)
            position = position + 2 + length
            return string.sub(list, position - length, position - 1)
        end
    end
end

local function holds(list, entry)
    for other in entries(list) do
        if other == entry then
            return true
        end
    end
    return false
end

local function with_entry(list, entry, limit)
    -- The list with the entry in it. Nothing is searched for but where the bytes are there at all.
    if list == MANY then
        return list
    end
    local framed = struct.pack('>I2', #entry) .. entry
    if string.find(list, framed, 1, true) and holds(list, entry) then
        return list
    end
    if #list >= limit * SHORTEST_ENTRY then
        local count = 0
        for _ in entries(list) do
            count = count + 1
        end
        if count >= limit then
            return MANY
        end
    end
    return list .. framed
end

local function add_entries(key, expires_at, limit, identifiers, contents)
    local lists, changed = {}, {}
    for start = 1, #identifiers, SLICE do
        local stop = math.min(start + SLICE - 1, #identifiers)
        local found = call('HMGET', key, unpack(identifiers, start, stop))
        for i = start, stop do
            lists[identifiers[i]] = found[i - start + 1] or ''
        end
    end
    for i, identifier in ipairs(identifiers) do
        local before = lists[identifier]
        local after = with_entry(before, contents[i], limit)
        if after ~= before then
            lists[identifier], changed[identifier] = after, true
        end
    end
    local arguments, count = {}, 0
    for identifier in pairs(changed) do
        arguments[count + 1], arguments[count + 2] = identifier, lists[identifier]
        count = count + 2
    end
    for start = 1, count, 2 * SLICE do
        call('HSET', key, unpack(arguments, start, math.min(start + 2 * SLICE - 1, count)))
    end
    if count > 0 then
        keep_until(key, expires_at)
    end
end

-- What is returned: {conversions, touchpoints}, where conversions is a flat list of tenant, id and contents, and
-- touchpoints one of tenant, identifier, bucket and list, each once.
local conversions, touchpoints = {}, {}
local read, asked = {}, {}

local function read_conversion(tenant, id)
    local key = prefix .. 'k:' .. tenant .. ':' .. id
    if read[key] then
        return
    end
    read[key] = true
    local contents = call('SMEMBERS', key)
    if #contents == 0 then
        return -- it expired, perhaps on arrival
    end
    for _, content in ipairs(contents) do
        local identifiers, buckets = unpack(cmsgpack.unpack(content))
        local of_tenant = asked[tenant] or {}
        asked[tenant] = of_tenant
        for _, bucket in ipairs(buckets) do
            local of_bucket = of_tenant[bucket] or {}
            of_tenant[bucket] = of_bucket
            for _, identifier in ipairs(identifiers) do
                of_bucket[identifier] = true
            end
        end
    end
    local n = #conversions
    conversions[n + 1], conversions[n + 2], conversions[n + 3] = tenant, id, contents
end

local function read_touchpoints()
    -- Of all conversions together: what they ask of one bucket is one command.
    for tenant, of_tenant in pairs(asked) do
        for bucket, of_bucket in pairs(of_tenant) do
            local key, identifiers = prefix .. 't:' .. tenant .. ':' .. bucket, {}
            for identifier in pairs(of_bucket) do
                identifiers[#identifiers + 1] = identifier
            end
            for start = 1, #identifiers, SLICE do
                local stop = math.min(start + SLICE - 1, #identifiers)
                local lists = call('HMGET', key, unpack(identifiers, start, stop))
                for i = start, stop do
                    local list = lists[i - start + 1]
                    if list then
                        local n = #touchpoints
                        touchpoints[n + 1], touchpoints[n + 2] = tenant, identifiers[i]
                        touchpoints[n + 3], touchpoints[n + 4] = bucket, list
                    end
                end
            end
        end
    end
end

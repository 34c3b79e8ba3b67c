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

local function framed(entry)
    return struct.pack('>I2', #entry) .. entry
end

local function holds(list, entry)
    for other in entries(list) do
        if other == entry then
            return true
        end
    end
    return false
end

local function count_of(list)
    local count = 0
    for _ in entries(list) do
        count = count + 1
    end
    return count
end

local function with_entry(list, entry, limit)
    if list == MANY then
        return list
    end
    local bytes = framed(entry)
    -- Nothing is searched for but where the bytes are there at all.
    if string.find(list, bytes, 1, true) and holds(list, entry) then
        return list
    end
    if #list >= limit * SHORTEST_ENTRY and count_of(list) >= limit then
        return MANY
    end
    return list .. bytes
end

local function with_entries(list, new, limit)
    -- The list is gone through and copied once, however many there are.
    if list == MANY then
        return list
    end
    local known, count, parts = {}, 0, {list}
    for entry in entries(list) do
        known[entry], count = true, count + 1
    end
    for _, entry in ipairs(new) do
        if not known[entry] then
            if count >= limit then
                return MANY
            end
            known[entry], count = true, count + 1
            parts[#parts + 1] = framed(entry)
        end
    end
    return table.concat(parts)
end

local function add_entries(key, expires_at, limit, identifiers, contents)
    local first, more, distinct = {}, {}, {}
    for i, identifier in ipairs(identifiers) do
        if not first[identifier] then
            first[identifier] = contents[i]
            distinct[#distinct + 1] = identifier
        elseif more[identifier] then
            table.insert(more[identifier], contents[i])
        else
            more[identifier] = {first[identifier], contents[i]}
        end
    end
    local arguments, count = {}, 0
    for start = 1, #distinct, SLICE do
        local stop = math.min(start + SLICE - 1, #distinct)
        local lists = call('HMGET', key, unpack(distinct, start, stop))
        for i = start, stop do
            local identifier, before, after = distinct[i], lists[i - start + 1] or '', nil
            if more[identifier] then
                after = with_entries(before, more[identifier], limit)
            else
                after = with_entry(before, first[identifier], limit)
            end
            if after ~= before then
                arguments[count + 1], arguments[count + 2] = identifier, after
                count = count + 2
            end
        end
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

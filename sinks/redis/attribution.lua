-- Shared by both scripts of attribution_store.py, after fence.lua and before their own part.
--
-- A bucket is a hash of a tenant and a span of event time; what is held for an identifier is one field of it, a
-- list of entries, each with its length (2 bytes) in front. Writing many fields is one command, which costs the
-- server a third of a key for each identifier, and an expiry is set for the bucket.
--
-- Keys     <prefix>t:<tenant>:<bucket>   identifier -> contents of touchpoints
--          <prefix>g:<tenant>:<bucket>   identifier -> its links: event and ingest time (4 bytes each), is removed (1), the other
--          <prefix>e:<tenant>:<bucket>   key of a lookup -> traces of clicks, all of one length
--          <prefix>c:<tenant>:<bucket>   identifier -> ids of conversions
--          <prefix>k:<tenant>:<id>       set: msgpack {identifiers, touchpoint buckets, link buckets, own bucket, its
--                                        expiry, content} of a conversion, or of what was heard of a deal, whose id
--                                        begins with 0xff; and a number each time it was settled
--          <prefix>d                     sorted set: conversions to be settled, by when
-- A tenant is written with its length in front, so that no two keys are the same.
local MANY = '\0\0' -- stands for more entries than identify anybody; it is never taken back
local SLICE = 2000 -- of the arguments that fit Lua's stack
local LONG_LIST = 16384 -- bytes: a shorter one is searched faster than it is taken apart
local SHORTEST_ID = 3 -- of a conversion in a list, with its length
local LINK_HEAD = 9
local MOST_STEPS = 8 -- from a conversion's own identifiers, link by link
local MOST_REACHED = 200 -- identifiers of one conversion: more are not a person's

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

local FRAMES = {} -- by length: most entries are of a few
local function framed(entry)
    local length = #entry
    local frame = FRAMES[length]
    if not frame then
        frame = struct.pack('>I2', length)
        FRAMES[length] = frame
    end
    return frame .. entry
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
    local position, count = 1, 0
    while position < #list do
        position = position + 2 + struct.unpack('>I2', list, position)
        count = count + 1
    end
    return count
end

local function set_of(list)
    local known = {}
    for entry in entries(list) do
        known[entry] = true
    end
    return known
end

local function with_entry(list, entry, limit, shortest)
    -- Of one entry, as most lists get, no tables are made.
    local bytes = framed(entry)
    if list == '' then
        return bytes
    end
    if list == MANY or (string.find(list, bytes, 1, true) and holds(list, entry)) then
        return list
    end
    if #list / shortest + 1 > limit and count_of(list) + 1 > limit then
        return MANY
    end
    return list .. bytes
end

local function with_entries(list, new, limit, shortest)
    -- The list is copied once, however many there are, and a long one is gone through once.
    if list == MANY then
        return list
    end
    local known, is_long, parts = {}, #list > LONG_LIST, {list}
    if is_long then
        known = set_of(list)
    end
    for _, entry in ipairs(new) do
        if not known[entry] then
            known[entry] = true
            local bytes = framed(entry)
            -- Nothing is searched for but where the bytes are there at all.
            if is_long or not (string.find(list, bytes, 1, true) and holds(list, entry)) then
                parts[#parts + 1] = bytes
            end
        end
    end
    local added = #parts - 1
    if added > 0 and #list / shortest + added > limit and count_of(list) + added > limit then
        return MANY
    end
    return table.concat(parts)
end

local function add_entries(key, expires_at, limit, shortest, identifiers, contents)
    -- A list with more than `limit` entries is MANY; none takes fewer than `shortest` bytes, its length included.
    local new, distinct = {}, {}
    for i = 1, #identifiers do
        local identifier, content = identifiers[i], contents[i]
        local before = new[identifier]
        if not before then
            new[identifier] = content
            distinct[#distinct + 1] = identifier
        elseif type(before) == 'table' then
            before[#before + 1] = content
        else
            new[identifier] = {before, content}
        end
    end
    local arguments, count = {}, 0
    for start = 1, #distinct, SLICE do
        local stop = math.min(start + SLICE - 1, #distinct)
        local lists = call('HMGET', key, unpack(distinct, start, stop))
        for i = start, stop do
            local identifier, before = distinct[i], lists[i - start + 1] or ''
            local some = new[identifier]
            local grow = type(some) == 'table' and with_entries or with_entry
            local after = grow(before, some, limit, shortest)
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

local function varint(content, position)
    -- An Avro number that is not negative, and the position after it.
    local value, unit = 0, 1
    repeat
        local byte = string.byte(content, position)
        value, unit, position = value + byte % 128 * unit, unit * 128, position + 1
    until byte < 128
    return value / 2, position
end

local function known_as(touchpoint)
    -- The identifiers of who clicked: the first fields of its content, after the click_id.
    local length, position = varint(touchpoint, 1)
    position = position + length
    local found = {}
    for _, kind in ipairs({'v', 'x', 'e', 'p'}) do
        local is_given
        is_given, position = varint(touchpoint, position)
        if is_given == 1 then
            length, position = varint(touchpoint, position)
            found[#found + 1] = kind .. string.sub(touchpoint, position, position + length - 1)
            position = position + length
        end
    end
    return found
end

-- Hashes of touchpoints or links that there are: the lists read from each, false for none, and those to be read next.
local places = {}

local function place(letter, tenant, bucket)
    local key = prefix .. letter .. ':' .. tenant .. ':' .. bucket
    local found = places[key]
    if found == nil then
        found = call('EXISTS', key) == 1 and {key = key, bucket = bucket, lists = {}, wanted = {}, is_told = {}}
        places[key] = found
    end
    return found
end

local function want(where, identifier)
    if where.lists[identifier] == nil then
        where.lists[identifier] = false
        where.wanted[#where.wanted + 1] = identifier
    end
end

local function read_wanted()
    -- What is asked of one bucket is one command.
    for _, where in pairs(places) do
        if where and #where.wanted > 0 then
            local names, lists = where.wanted, where.lists
            for start = 1, #names, SLICE do
                local stop = math.min(start + SLICE - 1, #names)
                local found = call('HMGET', where.key, unpack(names, start, stop))
                for i = start, stop do
                    lists[names[i]] = found[i - start + 1]
                end
            end
            where.wanted = {}
        end
    end
end

-- Conversions that are asked for, with what is reached from each.
local asked, is_asked = {}, {}

local function add_places(found, seen, letter, tenant, buckets)
    for _, bucket in ipairs(buckets) do
        local where = place(letter, tenant, bucket)
        if where and not seen[where] then
            seen[where] = true
            found[#found + 1] = where
        end
    end
end

local function ask_conversion(tenant, id)
    local key = prefix .. 'k:' .. tenant .. ':' .. id
    if is_asked[key] then
        return
    end
    is_asked[key] = true
    local contents = call('SMEMBERS', key)
    if #contents == 0 then
        return -- it expired, perhaps on arrival
    end
    local case = {tenant = tenant, id = id, contents = contents, reached = {}, order = {}, next = {}, cut = 0}
    case.touchpoints, case.links, case.own = {}, {}, {}
    local seen = {}
    for _, content in ipairs(contents) do
        local fact = cmsgpack.unpack(content)
        if type(fact) == 'table' then
            local identifiers, touchpoints, links, bucket, expires_at = unpack(fact)
            for _, identifier in ipairs(identifiers) do
                if not case.reached[identifier] then
                    case.reached[identifier] = true
                    case.next[#case.next + 1] = identifier
                end
            end
            add_places(case.touchpoints, seen, 't', tenant, touchpoints)
            add_places(case.links, seen, 'g', tenant, links)
            case.own[bucket] = math.max(case.own[bucket] or 0, expires_at)
        end
    end
    asked[#asked + 1] = case
end

local function is_of_click(identifier)
    local kind = string.byte(identifier)
    return kind == 107 or kind == 102 -- k, f
end

local function want_next(case)
    for _, identifier in ipairs(case.next) do
        case.order[#case.order + 1] = identifier
        for _, where in ipairs(case.links) do
            want(where, identifier)
        end
        if is_of_click(identifier) then
            for _, where in ipairs(case.touchpoints) do
                want(where, identifier)
            end
        end
    end
end

local function step(case, number)
    -- One link further from everything that is reached.
    local found = {}
    local function reach(identifier)
        if not case.reached[identifier] then
            case.reached[identifier] = true
            found[#found + 1] = identifier
        end
    end
    for _, identifier in ipairs(case.next) do
        for _, where in ipairs(case.links) do
            local list = where.lists[identifier]
            if list and list ~= MANY then
                for entry in entries(list) do
                    reach(string.sub(entry, LINK_HEAD + 1))
                end
            end
        end
        if is_of_click(identifier) then
            for _, where in ipairs(case.touchpoints) do
                local list = where.lists[identifier]
                if list and list ~= MANY then
                    for entry in entries(list) do
                        for _, other in ipairs(known_as(entry)) do
                            reach(other)
                        end
                    end
                end
            end
        end
    end
    if #case.order + #found > MOST_REACHED then
        found = {} -- the whole step or nothing of it: which identifiers came first must not matter
        case.cut = MOST_STEPS + 1 - number
    end
    case.next = found
end

local function index_reached(limit)
    -- Before anything is read under them: of a touchpoint and this, the one stored second finds the other.
    local groups = {}
    for _, case in ipairs(asked) do
        for bucket, expires_at in pairs(case.own) do
            if #case.next > 0 then
                local key = prefix .. 'c:' .. case.tenant .. ':' .. bucket
                local group = groups[key] or {0, {}, {}}
                groups[key] = group
                group[1] = math.max(group[1], expires_at)
                for _, identifier in ipairs(case.next) do
                    group[2][#group[2] + 1], group[3][#group[3] + 1] = identifier, case.id
                end
            end
        end
    end
    for key, group in pairs(groups) do
        add_entries(key, group[1], limit, SHORTEST_ID, group[2], group[3])
    end
end

local function tell(found, case, all)
    for _, where in ipairs(all) do
        for _, identifier in ipairs(case.order) do
            local list = where.lists[identifier]
            if list and not where.is_told[identifier] then
                where.is_told[identifier] = true
                local n = #found
                found[n + 1], found[n + 2], found[n + 3], found[n + 4] = case.tenant, identifier, where.bucket, list
            end
        end
    end
end

local function answer(limit)
    -- {conversions, touchpoints, links}: flat lists of tenant, id, contents, what is reached, and how many steps were
    -- not gone; and, each once, of tenant, identifier, bucket and list.
    for number = 1, MOST_STEPS do
        local is_over = true
        for _, case in ipairs(asked) do
            want_next(case)
        end
        read_wanted()
        for _, case in ipairs(asked) do
            step(case, number)
            is_over = is_over and #case.next == 0
        end
        if is_over then
            break
        end
        index_reached(limit)
    end
    for _, case in ipairs(asked) do
        for _, where in ipairs(case.touchpoints) do
            for _, identifier in ipairs(case.order) do
                want(where, identifier)
            end
        end
    end
    read_wanted()
    local conversions, touchpoints, links = {}, {}, {}
    for _, case in ipairs(asked) do
        local n = #conversions
        conversions[n + 1], conversions[n + 2], conversions[n + 3] = case.tenant, case.id, case.contents
        conversions[n + 4], conversions[n + 5] = case.order, case.cut
        tell(touchpoints, case, case.touchpoints)
        tell(links, case, case.links)
    end
    return {conversions, touchpoints, links}
end

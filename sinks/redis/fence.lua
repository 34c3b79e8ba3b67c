-- In front of every script that changes a role's state. See fences.py.
--
-- KEYS[1]  prefix of every key: 'sl:2:{s0}:<namespace>'
-- ARGV[1]  msgpack: {role, field of the partition, first offset, last offset, whether the fence moves}
-- ARGV[2]  msgpack: what the script stores
-- Keys     <prefix>f:<role>   hash: topic id/partition -> the last offset whose effects are in the state
local call = redis.call
local prefix = KEYS[1]
local role, partition, first, last, is_end = unpack(cmsgpack.unpack(ARGV[1]))
local fences = prefix .. 'f:' .. role

local fence = tonumber(call('HGET', fences, partition) or nil)
if not fence then
    return redis.error_reply('NOFENCE ' .. partition)
end
if first > fence + 1 then
    return redis.error_reply('GAP ' .. partition)
end

local function move_fence()
    if is_end and last > fence then
        call('HSET', fences, partition, string.format('%.0f', last))
    end
end

-- Gives up conversions that were taken to be settled, unless something has made them due meanwhile.
--
-- ARGV[1]  msgpack {due again at (ms), as it was set when they were taken, {{member, due once more at (ms) or false}, ...}}
local again_ms, members = unpack(cmsgpack.unpack(ARGV[1]))
local due = prefix .. 'd'
for _, item in ipairs(members) do
    local member, due_ms = unpack(item)
    -- Another time is somebody else's: of a chunk that left a correction for later, or of who took them over.
    if tonumber(call('ZSCORE', due, member) or nil) == again_ms then
        if due_ms then
            call('ZADD', due, due_ms, member)
        else
            call('ZREM', due, member)
        end
    end
end
return 0

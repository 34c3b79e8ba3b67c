-- In front of a script that stores nothing of a topic's records, which is why it moves no fence.
--
-- KEYS[1]  prefix of every key: 'sl:2:{s0}:<namespace>'
local call = redis.call
local prefix = KEYS[1]


-- A hundred thousand processes, all alive at once; every one answers once.
--   luactor examples/hundred_thousand.lua [number]
local actor = require "luactor"
local V = actor.var

local n = tonumber((...)) or 100000

local function member(id)
  local from = actor.receive { "who", V.from }
  from:send { "me", id }
end

local members = {}
for id = 1, n do
  members[id] = actor.spawn(member, id)
end
print(("%d processes wait"):format(#members))

local me = actor.self()
for _, pid in ipairs(members) do
  pid:send { "who", me }
end

local sum = 0
local collect = actor.receiver(actor.on({ "me", V.id }, function(id)
  sum = sum + id
end))
for _ = 1, n do collect() end
print(("all have answered, sum of their numbers %d"):format(sum))

-- A token goes round a ring of processes: luactor examples/ring.lua [size [laps]]
local actor = require "luactor"
local V = actor.var

local size, laps = tonumber((...)) or 1000, tonumber((select(2, ...))) or 10

-- Each node knows its successor alone.
local function node(successor)
  while true do
    local hops = actor.receive { "token", V.hops }
    successor:send { "token", hops + 1 }
  end
end

-- The main process is the last node of the ring. Nodes are linked to it, so
-- they end with it when it says so.
local successor = actor.self()
for _ = 2, size do
  successor = actor.spawn_link(node, successor)
end

local hops = 0
for _ = 1, laps do
  successor:send { "token", hops + 1 }
  hops = actor.receive { "token", V.hops }
end
print(("%d processes, %d laps, %d hops"):format(size, laps, hops))
actor.exit "shutdown"

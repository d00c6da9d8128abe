-- A process that never waits hogs nobody, not even with one scheduler thread:
--   luactor --schedulers 1 examples/spinner.lua
local actor = require "luactor"
local V = actor.var

local function spin()
  while true do pcall(function() while true do end end) end
end

local spinner, ref = actor.spawn_monitor(spin)

for i = 1, 5 do
  actor.sleep(10)
  print("tick " .. i)
end

local info = actor.info(spinner)
print("the spinner has used processor time: " .. tostring(info.reductions > 0))

-- No pcall and no loop keeps it alive.
actor.exit(spinner, "kill")
print("spinner ended: " .. actor.receive { "DOWN", ref, "process", spinner, V.reason })

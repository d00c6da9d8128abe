-- Two processes throw a ball: patterns, captures and a receiver built once.
local actor = require "luactor"
local on, V = actor.on, actor.var

local ROUNDS = 1000

local function ponger()
  local serve = actor.receiver(
    on({ "ping", V.from "pid", V.n "integer" }, function(from, n)
      from:send { "pong", n }
      return true
    end),
    on("stop", function() return false end))
  while serve() do end
end

local pong, ref = actor.spawn_monitor(ponger)
local me = actor.self()
local sum = 0
for n = 1, ROUNDS do
  pong:send { "ping", me, n }
  sum = sum + actor.receive { "pong", V.n }
end
print(ROUNDS .. " rounds, sum of the answers " .. sum)

pong:send "stop"
print("ponger ended: " .. actor.receive { "DOWN", ref, "process", pong, V.reason })

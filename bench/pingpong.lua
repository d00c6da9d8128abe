-- How long does a round trip of two small messages take?
--
-- Two processes exchange {"ping", i} and {"pong", i}; the pinger receives
-- selectively on the number it just sent. op = round trip.
--
-- pp_spin4: how many round trips are completed in 3 s while four other
-- processes loop without end?
local actor = require "luactor"
local harness = require "harness"

local V, on, post = actor.var, actor.on, actor.post

local function pong(pinger)
  local serve = actor.receiver(
    on({ "ping", V.i }, function(i)
      post(pinger, "pong", i)
      return true
    end),
    on("stop", function() return false end))
  while serve() do end
end

-- A function that makes round trip number i.
local function pinger()
  local ponger = actor.spawn(pong, actor.self())
  return function(i)
    post(ponger, "ping", i)
    return actor.receive { "pong", i }
  end, ponger
end

local function round_trips(n)
  local trip, ponger = pinger()
  for i = n, 1, -1 do trip(i) end
  actor.send(ponger, "stop")
  harness.check(actor.flush(V._) == 0, "a pong too many")
end

local function beside_spinners(case)
  local spinners = {}
  for i = 1, 4 do
    spinners[i] = actor.spawn(function() while true do end end)
  end
  local trip, ponger = pinger()
  for i = -100, -1 do trip(i) end
  local n, t0 = 0, harness.now_ns()
  local stop = t0 + 3e9
  repeat
    trip(n)
    n = n + 1
  until n % 16 == 0 and harness.now_ns() >= stop
  harness.emit(case, n, harness.now_ns() - t0)
  actor.send(ponger, "stop")
  for _, pid in ipairs(spinners) do actor.exit(pid, "kill") end
end

harness.main {
  pingpong = function(case) harness.simple(case, 1000000, round_trips) end,
  pp_spin4 = beside_spinners,
}

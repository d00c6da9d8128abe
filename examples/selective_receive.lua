-- Selective receive: `b` floods `a` with messages that `a` does not want now,
-- waits, and then sends the one that it wants. What is not wanted stays in
-- the mailbox, in order. A controller introduces the two to each other.
local actor = require "luactor"
local V = actor.var

local FLOOD, PATIENCE = 5000, 3

local function a()
  local b, controller = actor.receive { "meet", V.b, V.controller }
  b:send "ready"
  -- The controller hears of every timeout; the last wait has none.
  local n = 0
  while n < PATIENCE do
    local got, why = actor.receive({ "wanted", V.what }, 20)
    if got then error("too early: " .. got) end
    n = n + 1
    controller:send { "report", "a: " .. why .. " " .. n }
    if n == 1 then
      -- From the first timeout on, wait beside a full mailbox.
      b:send "flood"
      actor.receive "flooded"
    end
  end
  b:send "now"
  local what = actor.receive { "wanted", V.what }
  controller:send { "report", "a: got " .. what }

  -- The others are all still there, oldest first.
  for i = 1, FLOOD do
    local got = actor.receive { "noise", V.i }
    assert(got == i, "order lost")
  end
  assert(actor.receive(V._, 0) == nil, "more than was sent")
  controller:send { "report", "a: then all the noise, in order" }
  controller:send "done"
end

local function b()
  local peer = actor.receive { "meet", V.a, V._ }
  actor.receive "ready"
  actor.receive "flood"
  for i = 1, FLOOD do
    peer:send { "noise", i }
  end
  peer:send "flooded"
  actor.receive "now"
  peer:send { "wanted", "the wanted message" }
end

local pid_a, pid_b = actor.spawn_link(a), actor.spawn_link(b)
local controller = actor.self()
pid_a:send { "meet", pid_b, controller }
pid_b:send { "meet", pid_a, controller }

local report = actor.receiver(
  actor.on({ "report", V.text }, function(text)
    print(text)
    return true
  end),
  actor.on("done", function() return false end))
while report() do end

-- What does a message cost when nobody waits for an answer?
--
-- fan_in: ten producers send 100,000 messages each to one counter, as fast as
-- they can; fan_out: one producer sends in turn to ten counters. op = message.
local actor = require "luactor"
local harness = require "harness"

local V, on, post = actor.var, actor.on, actor.post

local function count(n, parent)
  local take = actor.receiver(on({ "msg", V._ }, function() end))
  for _ = 1, n do take() end
  harness.check(actor.receive(V._, 0) == nil, "a message too many")
  actor.send(parent, "done")
end

local function produce(counters, n)
  for i = n, 1, -1 do
    for k = 1, #counters do post(counters[k], "msg", i) end
  end
end

local function fan_in(n)
  local counter = actor.spawn(count, n, actor.self())
  for _ = 1, 10 do actor.spawn(produce, { counter }, n // 10) end
  actor.receive "done"
end

local function fan_out(n)
  local counters = {}
  for k = 1, 10 do counters[k] = actor.spawn(count, n // 10, actor.self()) end
  actor.spawn(produce, counters, n // 10)
  for _ = 1, 10 do actor.receive "done" end
end

harness.main {
  fan_in = function(case) harness.simple(case, 1000000, fan_in) end,
  fan_out = function(case) harness.simple(case, 1000000, fan_out) end,
}

-- How long does a token need from one process to the next?
--
-- A ring of processes passes one token, counted down at each hop. Building the
-- ring is not timed. op = hop. The larger rings show what the memory of a
-- process costs once the caches are too small for all of them.
local actor = require "luactor"
local harness = require "harness"

local V, on, post = actor.var, actor.on, actor.post

local function node(to)
  local serve = actor.receiver(
    on({ "token", 0, V.main }, function(main) actor.send(main, "ring done") end),
    on({ "token", V.k, V.main }, function(k, main)
      post(to, "token", k - 1, main)
    end))
  while true do serve() end
end

local function build(n)
  local first = actor.spawn(function()
    node((actor.receive { "next", V.to }))
  end)
  local last = first
  for _ = 2, n do last = actor.spawn(node, last) end
  post(first, "next", last)
  return first
end

local function ring(size, hops)
  return function(case)
    local first = build(size)
    harness.simple(case, hops, function(n)
      post(first, "token", n, actor.self())
      actor.receive "ring done"
    end)
    actor.halt(0)
  end
end

harness.main {
  ring = ring(1000, 1000000),
  ring10k = ring(10000, 1000000),
  ring100k = ring(100000, 1000000),
}

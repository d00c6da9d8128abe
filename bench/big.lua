-- How do many processes do that all talk to all (the "Big" of the Savina
-- suite)?
--
-- 200 processes. Each keeps one ping outstanding to a random other, 2,000 in
-- all, and answers everyone's pings meanwhile. The generator is seeded with
-- the number of the process, so that the walk is the same in every language.
-- Done when all have had their last pong. op = ping and pong.
local actor = require "luactor"
local harness = require "harness"

local V, on, post, send = actor.var, actor.on, actor.post, actor.send

local function worker(me, pings, sink)
  local all = actor.receive { "go", V.all "table" }
  local self, others = actor.self(), #all - 1
  local state, left = me, pings

  local function ping()
    if left == 0 then return send(sink, "finished") end
    state = (state * 1664525 + 1013904223) & 0xffffffff
    local k = (state >> 16) % others + 1
    post(all[k >= me and k + 1 or k], "ping", self)
  end

  local serve = actor.receiver(
    on({ "ping", V.from }, function(from)
      send(from, "pong")
      return true
    end),
    on("pong", function()
      left = left - 1
      ping()
      return true
    end),
    on("stop", function() return false end))
  ping()
  while serve() do end
  assert(left == 0, "a ping without its pong")
end

local function big(actors, pings)
  local all = {}
  for i = 1, actors do all[i] = actor.spawn(worker, i, pings, actor.self()) end
  for _, pid in ipairs(all) do send(pid, { "go", all }) end
  for _ = 1, actors do actor.receive "finished" end
  for _, pid in ipairs(all) do send(pid, "stop") end
end

harness.main {
  big = function(case)
    harness.simple(case, 400000, function(n) big(200, n // 200) end)
  end,
}

-- What does a process cost that says one word and ends?
--
-- spawn_exit: one parent spawns all, then collects their words;
-- spawn_exit_wave: it spawns 1000, collects 1000, and again. op = process.
local actor = require "luactor"
local harness = require "harness"

local function collect(n)
  local parent = actor.self()
  local function body() actor.send(parent, "done") end
  for _ = 1, n do actor.spawn(body) end
  local take = actor.receiver(actor.on("done", function() end))
  for _ = 1, n do take() end
  harness.check(actor.flush(actor._) == 0, "a word too many")
end

harness.main {
  spawn_exit = function(case) harness.simple(case, 100000, collect) end,
  spawn_exit_wave = function(case)
    harness.simple(case, 100000, function(n)
      for _ = 1, n // 1000 do collect(1000) end
    end)
  end,
}

-- What does a call of a server cost? op = call.
local actor = require "luactor"
local harness = require "harness"

local function server()
  local serve = actor.receiver(
    actor.on(actor.request(actor.var.from, "hello"), function(from)
      actor.reply(from, "ok")
    end))
  while true do serve() end
end

harness.main {
  gen_call = function(case)
    local pid = actor.spawn(server)
    harness.simple(case, 500000, function(n)
      for _ = 1, n do
        harness.check(actor.call(pid, "hello") == "ok", "reply")
      end
    end)
    actor.exit(pid, "kill")
  end,
}

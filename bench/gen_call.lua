-- What does a call of a server cost, and starting one? op = call, or start and stop.
--   gen_call          a bare call to a loop around a receiver
--   gen_call_add      the same with a request of two elements
--   gen_server_call   a method of a gen_server
--   gen_server_start  start_link of a gen_server and its end
local actor = require "luactor"
local gen_server = require "luactor.gen_server"
local harness = require "harness"

local Server = gen_server.define "bench"

function Server.call:add(k) return k + 1 end

local function server()
  local V = actor.var
  local serve = actor.receiver(
    actor.on(actor.request(V.from, "hello"), function(from)
      actor.reply(from, "ok")
    end),
    actor.on(actor.request(V.from, { "add", V.k }), function(from, k)
      actor.reply(from, k + 1)
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
  gen_call_add = function(case)
    local pid = actor.spawn(server)
    harness.simple(case, 500000, function(n)
      for i = 1, n do
        harness.check(actor.call(pid, { "add", i }) == i + 1, "reply")
      end
    end)
    actor.exit(pid, "kill")
  end,
  gen_server_call = function(case)
    local s = Server:start_link()
    harness.simple(case, 500000, function(n)
      for i = 1, n do
        harness.check(s:add(i) == i + 1, "reply")
      end
    end)
    gen_server.stop(s)
  end,
  gen_server_start = function(case)
    harness.simple(case, 20000, function(n)
      for i = 1, n do
        local s = Server:start_link()
        harness.check(s:add(i) == i + 1, "reply")
        gen_server.stop(s)
      end
    end)
  end,
}

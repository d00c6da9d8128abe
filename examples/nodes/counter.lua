-- A server for Erlang and Elixir: it counts.
--
--   luactor --name counter@127.0.0.1 --cookie-file cookie --listen 0 examples/nodes/counter.lua
--
-- and, with the same cookie,
--
--   erl -name e@127.0.0.1 -setcookie "$(cat cookie)"
--   1> gen_server:call({counter, 'counter@127.0.0.1'}, {add, 5}).
--   5
--   2> gen_server:cast({counter, 'counter@127.0.0.1'}, reset).
--   ok
--   3> gen_server:call({counter, 'counter@127.0.0.1'}, get).
--   0
--
-- or GenServer.call({:counter, :"counter@127.0.0.1"}, {:add, 5}).
local actor = require "luactor"
local on, V = actor.on, actor.var

actor.register "counter"

local n = 0
local serve = actor.receiver(
  -- A string in a pattern is also an atom, a sequence also a tuple.
  on(actor.request(V.from, { "add", V.k "integer" }), function(from, k)
    n = n + k
    actor.reply(from, n)
  end),
  on(actor.request(V.from, "get"), function(from) actor.reply(from, n) end),
  on({ "$gen_cast", "reset" }, function() n = 0 end),
  on(actor.request(V.from, V.what), function(from, what)
    actor.reply(from, actor.tuple { actor.atom "error", actor.tuple { actor.atom "unknown", what } })
  end),
  on(actor._, function() end))
while true do serve() end

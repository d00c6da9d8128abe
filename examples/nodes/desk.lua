-- Terminal one of two: a process that answers, and a log that any node may send to.
--
--   luactor --name desk@127.0.0.1 --cookie-file cookie --listen 0 examples/nodes/desk.lua
--
-- It runs until it is stopped. Terminal two is visitor.lua.
local actor = require "luactor"
local node = require "luactor.node"
local on, V = actor.on, actor.var

-- Prints what it is sent, in the order of its arrival, whoever sends it.
local function log()
  local serve = actor.receiver(
    on({ "log", V.who, V.text "string" }, function(who, text)
      print(("%s: %s"):format(who, text))
      io.stdout:flush()
    end),
    on(actor._, function() end)) -- from another node anything may come
  while true do serve() end
end

actor.spawn_opt({ name = "log" }, log)
actor.register "desk"
actor.send("log", { "log", node.name(), "open" })

local visits = 0
local serve = actor.receiver(
  on(actor.request(V.from, { "greet", V.name "string" }), function(from, name)
    visits = visits + 1
    actor.reply(from, ("good day, %s, you are number %d"):format(name, visits))
  end),
  on(actor.request(V.from, V.other), function(from, _)
    actor.reply(from, "we do not do that here")
  end),
  on(actor._, function() end))
while true do serve() end

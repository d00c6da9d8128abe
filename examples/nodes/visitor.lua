-- Terminal two of two: asks the desk (desk.lua), and writes into its log.
--
--   luactor --name ann@127.0.0.1 --cookie-file cookie --listen 0 examples/nodes/visitor.lua Ann
local actor = require "luactor"
local node = require "luactor.node"

local name, where = arg[1] or "somebody", arg[2] or "desk@127.0.0.1"
local desk, log = { "desk", where }, { "log", where }

if node.ping(where) == "pang" then
  io.stderr:write("no answer from ", where, "\n")
  os.exit(1)
end

print(actor.call(desk, { "greet", name }))
print(actor.call(desk, "coffee"))
actor.send(log, { "log", node.name(), name .. " was here" })

-- What is not there is said in time.
print(actor.try_call({ "kitchen", where }, "coffee"))

-- The end of the desk would be told, too.
local ref = actor.monitor(desk)
print(actor.receive({ "DOWN", ref, actor._, actor._, actor.var.why }, 100))
actor.halt(0)

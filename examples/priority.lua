-- Priority messages come before all ordinary ones; order is kept among each.
local actor = require "luactor"

local function clerk(boss)
  actor.receive "open"
  for _ = 1, 6 do
    boss:send { "served", (actor.receive()) }
  end
end

local pid = actor.spawn_link(clerk, actor.self())
for i = 1, 4 do
  actor.send(pid, "letter " .. i)
end
actor.send(pid, "telegram 1", { priority = true })
actor.send(pid, "telegram 2", { priority = true })
actor.send(pid, "open")

for _ = 1, 6 do
  print((actor.receive { "served", actor.var.what }))
end

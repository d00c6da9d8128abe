-- The smallest conversation: a process sends, another one receives.
local actor = require "luactor"

local main = actor.self()

-- `main` travels into the new process by value; nothing is shared.
actor.spawn(function()
  actor.send(main, "hello from another process")
end)

print(actor.receive())

-- A crash is an event for others, not the end of the program. The crash report of
-- the worker goes to standard error.
local actor = require "luactor"
local V = actor.var

local function worker(n)
  if n == 0 then
    error("cannot divide by zero", 0)
  elseif n < 0 then
    actor.exit { "negative", n }
  end
  return 100 // n
end

for _, n in ipairs { 7, 0, -3 } do
  local pid, ref = actor.spawn_monitor(worker, n)
  local reason = actor.receive { "DOWN", ref, "process", pid, V.reason }
  if type(reason) == "table" then
    print(("worker(%d) ended: %s: %s"):format(n, reason[1], reason[2]))
  else
    print(("worker(%d) ended: %s"):format(n, reason))
  end
end

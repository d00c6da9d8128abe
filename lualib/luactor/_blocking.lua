-- actor.blocking(f, ...): run a function that blocks its thread (a C module that waits, a
-- long computation in C) on a thread of its own.

local actor = require "luactor"

local M = {}

-- The body of the other process: travels by name. Its error is a result, not a crash.
function M.run(alias, f, ...)
  actor.send(alias, { alias, table.pack(pcall(f, ...)) })
end

local function results(packed)
  if packed[1] then return table.unpack(packed, 2, packed.n) end
  error(packed[2], 0)
end

---Run `f(...)` in a fresh process on a thread of its own and return its results; raises its error. Suspends.
---@param f function|string
function M.blocking(f, ...)
  if type(f) ~= "function" then
    error(("bad argument #1 to 'blocking' (function expected, got %s)"):format(type(f)), 2)
  end
  local alias = actor.alias()
  local V = actor.var
  local pid, ref = actor.spawn_opt({ thread = "own", monitor = true, link = true, label = "blocking" },
    M.run, alias, f, ...)
  local packed, reason = actor.receive(
    actor.on({ alias, V.packed }, function(p) return p end),
    actor.on({ "DOWN", ref, "process", pid, V.reason }, function(r) return nil, r end))
  actor.unalias(alias)
  actor.demonitor(ref, { flush = true })
  if packed then return results(packed) end
  error(reason, 0)
end

return M

-- actor.blocking(f, ...): run a function that blocks its thread (a C module that waits, a
-- long computation in C) on a thread of its own.

local actor = require "luactor"
local core = require "luactor._core"

local V, on = actor.var, actor.on

local M = {}

local function resolve(f)
  if type(f) ~= "string" then return f end
  local module, name = f:match "^(.+)%.([^.]+)$"
  return require(module)[name]
end

-- The body of the other process: travels by name. Its error is a result, not a crash; so is a
-- result that cannot travel.
function M.run(alias, f, ...)
  local packed = table.pack(pcall(resolve(f), ...))
  local sent, why = pcall(actor.send, alias, { alias, packed })
  if sent then return end
  if packed[1] then
    why = tostring(why):gsub("^[^\n]-:%d+: ", ""):gsub("message%[2%]", "results", 1)
  else
    why = tostring(packed[2])
  end
  actor.send(alias, { alias, { false, why } })
end

local function results(packed)
  if packed[1] then return table.unpack(packed, 2, packed.n) end
  error(packed[2], 0)
end

---Run `f(...)` in a fresh process on a thread of its own and return its results; raises its error. Suspends. The
---process ends with the caller.
---@param f function|string  a function, or "module.function"
function M.blocking(f, ...)
  if type(f) ~= "function" and not (type(f) == "string" and f:find "^.+%.[^.]+$") then
    error(("bad argument #1 to 'blocking' (function or 'module.function' expected, got %s)"):format(
      type(f) == "string" and ("'%s'"):format(f) or type(f)), 2)
  end
  local alias = actor.alias()
  local pid, ref = core.spawn_tied("one_way", nil, { thread = "own", label = "blocking" },
    M.run, alias, f, ...)
  -- The wait may be left by an error of a scope.
  local _ <close> = setmetatable({}, { __close = function()
    actor.unalias(alias)
    actor.demonitor(ref, { flush = true })
    actor.exit(pid, "kill")
  end })
  local packed, reason = actor.receive(
    on({ alias, V.packed }, function(p) return p end),
    on({ "DOWN", ref, "process", pid, V.reason }, function(r) return nil, r end))
  if packed then return results(packed) end
  error(reason, 0)
end

return M

-- Functions of other nodes, called.
--
--   local rpc = require "luactor.rpc"
--   print(rpc.call("b@127.0.0.1", "stock.count", { "apples" }))
--   print(rpc.call("e@127.0.0.1", "erlang.node"))
--
-- Each call runs in a process of its own over there. What a luactor node runs for others is
-- said by node.export; an Erlang node runs anything.

local actor = require "luactor"
local core = require "luactor._node"
local tied = require "luactor._core".spawn_tied
local node = require "luactor.node"

local M = {}

local V = actor.var
local atom = actor.atom

---@class luactor.RpcError
---@field reason any    "timeout", "noconnection", "undef", { "error", e, trace }, { "throw", value }, or the reason
---of the exit
---@field node string
---@field call string  "module.function"
local Failed = {}
Failed.__index = Failed

local function word(reason)
  if type(reason) == "table" and (reason[1] == "error" or reason[1] == "throw") then
    return ("%s: %s"):format(reason[1], tostring(reason[2]))
  end
  return tostring(reason)
end

function Failed:__tostring()
  return ("call of %s on %s failed: %s"):format(self.call, self.node, word(self.reason))
end

local function bad(n, name, expected, value)
  error(("bad argument #%d to '%s' (%s expected, got %s)"):format(n, name, expected,
    type(value) == "string" and ("'%s'"):format(value) or type(value)), 4)
end

-- Module and function as Erlang's, and the arguments as a plain list.
local function check(name, there, f, args, ms)
  if type(there) ~= "string" or not there:find "^[^@]+@[^@]+$" then
    bad(1, name, "name@host", there)
  end
  local module, func = (type(f) == "string" and f or ""):match "^(.+)%.([^.]+)$"
  if not module then bad(2, name, "'module.function'", f) end
  if args ~= nil and type(args) ~= "table" then bad(3, name, "table of arguments", args) end
  if ms ~= nil and type(ms) ~= "number" then bad(4, name, "milliseconds", ms) end
  local list = {}
  for i = 1, args and (args.n or #args) or 0 do
    list[i] = args[i] == nil and actor.null or args[i]
  end
  return atom(module), atom(func), list
end

-- What the exit reason of the process says of its call.
local function outcome(reference, reason)
  if type(reason) ~= "table" or reason[1] ~= reference then return false, reason end
  local kind, value, trace = tostring(reason[2]), reason[3], reason[4]
  if kind == "return" then return true, value end
  if kind == "values" then return true, table.unpack(value, 1, #value) end
  if kind == "exit" then return false, value end
  if kind ~= "error" then return false, { kind, value } end
  if value == atom "undef" and #trace == 1 then return false, "undef" end
  local info = type(trace) == "table" and trace[1] and trace[1][4]
  local first = type(info) == "table" and info[1]
  if type(first) == "table" and tostring(first[1]) == "traceback" then trace = first[2] end
  return false, { "error", value, trace }
end

M._outcome = outcome -- for luactor.task

local function start(there, ms, ...)
  if there == node.name() then
    return actor.spawn_monitor("luactor._remote.execute_here", ...)
  end
  return core.spawn(there, ms, "erpc.execute_call", ...)
end

local function try(there, module, func, args, ms)
  local reference = actor.ref()
  local ends = actor.now() + ms
  local pid, ref = start(there, ms, reference, module, func, args)
  if not pid then return false, ref end
  local reason, why = actor.receive({ "DOWN", ref, "process", V._, V.reason:of(actor._) },
    math.max(ends - actor.now(), 0))
  if why == "timeout" and reason == nil then
    actor.demonitor(ref, { flush = true })
    return false, "timeout"
  end
  return outcome(reference, reason)
end

---Call `f` of another node. Suspends. What runs there goes on when the time is over or the caller ends.
---@param there string  name@host; this node too
---@param f string      "module.function"; the module is what stands before the last dot
---@param args? any[]   with field `n` when there are nils among them
---@param ms? number    5000; connecting counts
---@return boolean ok
---@return any ...      the results; or the reason as in luactor.RpcError
function M.try_call(there, f, args, ms)
  local module, func, list = check("try_call", there, f, args, ms)
  return try(there, module, func, list, ms or 5000)
end

---As try_call, but returns the results alone and raises a luactor.RpcError.
---@param there string
---@param f string
---@param args? any[]
---@param ms? number
---@return any ...
function M.call(there, f, args, ms)
  local module, func, list = check("call", there, f, args, ms)
  local results = table.pack(try(there, module, func, list, ms or 5000))
  if results[1] then return table.unpack(results, 2, results.n) end
  error(setmetatable({ reason = results[2], node = there, call = f }, Failed))
end

---Have `f` run on another node, whatever comes of it. Suspends until that node has begun, or cannot be reached.
---@param there string
---@param f string
---@param args? any[]
---@return true
function M.cast(there, f, args)
  local module, func, list = check("cast", there, f, args)
  if there == node.name() then
    actor.spawn("luactor._remote.execute_cast", there, true, module, func, list, true)
  else
    local _, ref = core.spawn(there, nil, "erpc.execute_cast", module, func, list)
    if type(ref) ~= "string" then actor.demonitor(ref, { flush = true }) end
  end
  return true
end

---The body of one call of many, which travels by name. Not for programs.
function M._one(there, module, func, args, ms)
  local results = table.pack(try(there, module, func, args, ms))
  results[1] = results[1] and "ok" or "error"
  actor.exit(results)
end

local function forget(refs)
  for _, ref in ipairs(refs) do actor.demonitor(ref, { flush = true }) end
end

---Call `f` on several nodes at once.
---@param nodes string[]
---@param f string
---@param args? any[]
---@param ms? number
---@return any[][]  for each node, in their order, { "ok", results... } (with field `n`) or { "error", reason }
function M.multicall(nodes, f, args, ms)
  if type(nodes) ~= "table" then bad(1, "multicall", "table of names", nodes) end
  local calls = {}
  for i, there in ipairs(nodes) do
    calls[i] = table.pack(there, check("multicall", there, f, args, ms))
  end
  local refs <close> = setmetatable({}, { __close = forget })
  for i, call in ipairs(calls) do
    call[5] = ms or 5000
    refs[i] = select(2, tied("one_way", nil, { label = "rpc" }, M._one, table.unpack(call, 1, 5)))
  end
  local results = {}
  for i, ref in ipairs(refs) do
    local reason = actor.receive { "DOWN", ref, "process", V._, V.reason }
    results[i] = type(reason) == "table" and reason.n and reason or { "error", reason, n = 2 }
  end
  return results
end

return M

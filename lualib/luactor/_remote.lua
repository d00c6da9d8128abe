-- What runs here for other nodes: the bodies of processes that host/src/dist/spawn.c and the
-- node's services start. Every function gets the name of the asking node and whether it is a
-- luactor first. Who may run what: host/src/dist/policy.h.

local actor = require "luactor"
local core = require "luactor._node"
local home = require("luactor._core").home

local atom, tuple = actor.atom, actor.tuple

local M = {}

-- Modules of Lua and of luactor are not the application's, wherever a file of their name is.
local function is_foreign(module)
  return package.preload[module] ~= nil or module == "_G" or module == "package"
    or module == "luactor" or module:find "^luactor%." ~= nil
    or _G[module] ~= nil and package.loaded[module] == _G[module]
end

-- Is it a module of the application: a Lua file in the program's directory, or where LUA_PATH
-- says, defaults excluded?
local function is_of_application(module)
  if is_foreign(module) then return false end
  for part in (module .. "."):gmatch "(.-)%." do
    if not part:find "^[%w_-]+$" then return false end
  end
  return package.searchpath(module, core.app_path()) ~= nil
end

-- The function, or nil and why not.
local function find(trust, module, name)
  if not trust then return nil, "not exported to it" end
  if trust == "source" and not is_of_application(module) then
    return nil, "not exported, and no module of the application"
  end
  -- A module that is there and does not load raises: that is what its caller should see.
  local known = package.loaded[module] or package.preload[module]
    or package.searchpath(module, package.path) or package.searchpath(module, package.cpath)
    or module:find "^luactor%f[%.\0]"
  local loaded = known and require(module)
  local f = type(loaded) == "table" and loaded[name]
  if type(f) ~= "function" then return nil, "no such function" end
  if trust == "source" and debug.getinfo(f, "S").what == "C" then
    return nil, "not exported, and a C function"
  end
  return f
end

local function refuse(node, module, name, arity, why)
  core.refused(node, ("%s.%s/%d: %s"):format(module, name, arity, why))
end

---May "module.function" run here for a process? Always for one of this host; else as if its node had
---asked for a process of its own to run it, and a refusal is a line in the log. What is no text travels
---from this host alone.
---@param pid luactor.Pid?  who asks; nil when that is not known
---@param f any
---@return boolean
function M.allows(pid, f)
  local node = home(pid)
  if node == true or type(f) ~= "string" then return true end
  local module, name = f:match "^(.+)%.([^.]+)$"
  if not module then return false end
  node = node or "nonode@nohost"
  local _, is_luactor = core.is_up(node)
  local fn, why = find(core.trust(is_luactor, module, name), module, name)
  if not fn then refuse(node, module, name, 0, why) end
  return fn ~= nil
end

-- Erlang's nil in a list is a value; as an argument it is none.
local function arguments(list, n)
  for i = 1, n do
    if list[i] == actor.null then list[i] = nil end
  end
  return table.unpack(list, 1, n)
end

local function undef(module, name, args)
  return atom "undef", { tuple { atom(module), atom(name), args, {} } }
end

---A process of another node's: spawn_opt{ node = }, erlang:spawn and the like.
function M.run(node, _, trusted, module, name, ...)
  local f, why = find(trusted and "exported" or "source", module, name)
  local n = select("#", ...)
  if not f then
    refuse(node, module, name, n, why)
    actor.exit(tuple { undef(module, name, { ... }) })
  end
  return f(arguments({ ... }, n))
end

-- The error and where it was raised, without what is below the function called.
local function on_error(e)
  return { e, (debug.traceback(nil, 2):gsub("\n\t%[C%]: in function 'xpcall'.*", "")) }
end

-- Towards Erlang: no result is nil, several are a tuple.
local function as_one(results)
  if results.n <= 2 then return results[2] end
  return tuple { n = results.n - 1, table.unpack(results, 2, results.n) }
end

-- The outcome of a call, as erpc:execute_call puts it behind its reference.
local function outcome(node, is_luactor, m, f, args, is_ours)
  local module, name = tostring(m), tostring(f)
  if type(args) ~= "table" then return atom "error", atom "badarg", {} end
  local n = #args
  local trust = is_ours and "exported" or core.trust(is_luactor, module, name)
  local found, fn, why = xpcall(find, on_error, trust, module, name)
  if found and not fn then
    if not is_ours then refuse(node, module, name, n, why) end
    return atom "error", undef(module, name, args)
  end
  local results = found and table.pack(xpcall(fn, on_error, arguments(args, n)))
    or { false, fn, n = 2 }
  if results[1] then
    local value = as_one(results)
    if is_luactor then value = tuple { n = results.n - 1, table.unpack(results, 2, results.n) } end
    why = not is_ours and core.unfit(is_luactor, value)
    if not why then return atom(is_luactor and "values" or "return"), value end
    results[2] = { why, "" }
  end
  local e, trace = results[2][1], results[2][2]
  if core.unfit(is_luactor, e) then e = tostring(e) end
  return atom "error", e, { tuple { atom(module), atom(name), n, { tuple { atom "traceback", trace } } } }
end

---erpc:execute_call(Reference, Module, Function, Arguments): the outcome is the exit reason.
function M.execute_call(node, is_luactor, reference, m, f, args)
  actor.exit(tuple(table.pack(reference, outcome(node, is_luactor, m, f, args))))
end

---The same for a call of this node's own.
function M.execute_here(reference, m, f, args)
  actor.exit(tuple(table.pack(reference, outcome(nil, true, m, f, args, true))))
end

---erpc:execute_cast(Module, Function, Arguments). What it raises is a crash of this process.
function M.execute_cast(node, is_luactor, m, f, args, is_ours)
  local module, name = tostring(m), tostring(f)
  local n = type(args) == "table" and #args or 0
  local fn, why = find(is_ours and "exported" or core.trust(is_luactor, module, name), module, name)
  if fn then
    fn(arguments(args, n))
  else
    refuse(node, module, name, n, why)
  end
end

---{call, Module, Function, Arguments, GroupLeader} to `rex`: the outcome as rpc:call gives it.
function M.rex_call(node, from, m, f, args)
  local kind, value, trace = outcome(node, false, m, f, args)
  if tostring(kind) == "error" then
    value = tuple { atom "badrpc", tuple { atom "EXIT", tuple { value, trace } } }
  end
  actor.reply(from, value)
end

return M

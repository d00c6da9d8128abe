-- actor.scope: children that cannot outlive the block that started them.
--
--   actor.scope(function(s)
--     local page = s:async(fetch, url)
--     s:spawn(watch, url)
--     print(page:await())
--   end)
--
-- The children are tied to the process by links of their own kind (host/src/proc): a crash
-- of one is raised in the body by the core; the end of the process, whatever the cause,
-- ends them.

local actor = require "luactor"
local core = require "luactor._core"

local M = {}

---@class luactor.Scope
---@field private _id userdata      the scope's reference
---@field private _exits function[]  what to do at the end, newest last
---@field private _results userdata?  the mailbox of its tasks' results
---@field private _tasks table<userdata, luactor.ScopeTask>  by tag, whose results are not here
local Scope = {}
Scope.__index = Scope

---@class luactor.ScopeTask
---@field private _mailbox userdata  the scope's mailbox of results
---@field private _tag userdata      names the task's result in it
---@field private _packed table?     the results, once they are here
---@field private _over boolean?      the scope has ended, and they never came
local Task = {}
Task.__index = Task
Task.__name = "luactor.ScopeTask"

function Task.__tostring()
  return "of a scope"
end

---Start a child process. Does not suspend. Its crash ends the scope's other children and is raised in the body.
---@param f function|string
---@return userdata pid
function Scope:spawn(f, ...)
  return core.scope_spawn(self._id, f, ...)
end

---The body of an async child: travels by name.
function M.run_task(mailbox, tag, f, ...)
  actor.send(mailbox, { tag, table.pack(f(...)) })
end

---Start a child process and return a task for its results. Does not suspend.
---@param f function|string
---@return luactor.ScopeTask
function Scope:async(f, ...)
  if not self._results then self._results = actor.mailbox() end
  local task = setmetatable({ _mailbox = self._results, _tag = actor.ref() }, Task)
  self._tasks[task._tag] = task
  if type(f) == "string" then
    local module, name = f:match("^(.*)%.([^.]+)$")
    if not module then error("bad argument #1 to 'async' ('module.function' expected)", 2) end
    core.scope_spawn(self._id, M.run_named, task._mailbox, task._tag, module, name, ...)
  else
    core.scope_spawn(self._id, M.run_task, task._mailbox, task._tag, f, ...)
  end
  return task
end

function M.run_named(mailbox, tag, module, name, ...)
  M.run_task(mailbox, tag, require(module)[name], ...)
end

---Wait for the results of the task; it may be asked for them again. Suspends. Raises the error of a child of the scope that crashed.
---@param ms number?  default: no limit; then nil, "timeout"
function Task:await(ms)
  if self._over then error("the task has no results: its scope has ended", 2) end
  if not self._packed then
    local packed = self._mailbox:receive({ self._tag, actor.var.packed }, ms)
    if not packed then return nil, "timeout" end
    self._packed = packed
  end
  return table.unpack(self._packed, 1, self._packed.n)
end

---Call `f` when the scope ends, after its children; the last one deferred first.
---@param f function
function Scope:defer(f)
  if type(f) ~= "function" then
    error(("bad argument #1 to 'defer' (function expected, got %s)"):format(type(f)), 2)
  end
  self._exits[#self._exits + 1] = f
end

---Close `obj` (its __close, or else its method close) when the scope ends. Returns it.
function Scope:close_later(obj)
  local meta = getmetatable(obj)
  local close = type(meta) == "table" and meta.__close
  if not close and not (type(obj) == "table" or type(obj) == "userdata") then
    error(("bad argument #1 to 'close_later' (an object that can be closed expected, got %s)"):format(type(obj)), 2)
  end
  self:defer(function()
    if close then close(obj, nil) else obj:close() end
  end)
  return obj
end

-- Run what was deferred; all of it, whatever fails. Returns the first error.
local function run_exits(scope)
  local exits = scope._exits
  local failed, err = false, nil
  while #exits > 0 do
    local ok, e = pcall(table.remove(exits))
    if not ok and not failed then failed, err = true, e end
  end
  return failed, err
end

-- End the children and wait for their end; further crashes are part of it.
local function end_children(id)
  core.scope_kill(id)
  while not core.scope_wait(id) do core.scope_fault() end
end

-- Wait for the children; false and the error when one of them crashed.
local function await_children(id)
  if core.scope_wait(id) then return true end
  local _, err = core.scope_fault()
  return false, err
end

-- The tasks keep their results when the scope is over.
local function close_results(scope)
  local box = scope._results
  if not box then return end
  while true do
    local tag, packed = box:receive({ actor.var.tag, actor.var.packed }, 0)
    if not tag then break end
    scope._tasks[tag]._packed = packed
  end
  box:close()
  for _, task in pairs(scope._tasks) do task._over = not task._packed end
end

local function finish(scope, ok, ...)
  local err = ...
  if ok then
    local fine, fault = await_children(scope._id)
    if not fine then ok, err = false, fault end
  end
  if not ok then end_children(scope._id) end
  close_results(scope)
  local failed, exit_err = run_exits(scope)
  if not ok then error(err, 0) end
  if failed then error(exit_err, 0) end
  return ...
end

---Run `body(scope)`. Returns its results when all children have ended. Suspends.
---@param body fun(scope: luactor.Scope): ...
function M.scope(body)
  if type(body) ~= "function" then
    error(("bad argument #1 to 'scope' (function expected, got %s)"):format(type(body)), 2)
  end
  local scope = setmetatable({ _id = core.scope_new(), _exits = {}, _tasks = {} }, Scope)
  -- When the process is ended inside the scope, what was deferred still runs.
  local _ <close> = setmetatable({}, { __close = function() run_exits(scope) end })
  return finish(scope, pcall(body, scope))
end

return M

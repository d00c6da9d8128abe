-- A supervisor of tasks: those it starts end with it, and it waits for their end.
--
--   local task = require "luactor.task"
local home = require("luactor._core").home
--   local sup = task.supervisor.start_link { name = "jobs" }
--   local t = task.supervisor.async_nolink("jobs", work, 1)
--   print(task.await(t))
--
-- Its tasks are temporary children: one that ends, however, is not started again. Also known as
-- task.supervisor.

local actor = require "luactor"
local gen_server = require "luactor.gen_server"
local task = require "luactor.task"

local V, on = actor.var, actor.on

local M = {}

------------------------------------------------------------------ the supervisor

---@class luactor.TaskSupervisorServer
---@field private children table<luactor.Pid, boolean>
---@field private count integer
---@field private max integer       of children
---@field private shutdown number   ms that a child has for its end; 0: it is killed
local Server = gen_server.define "task_supervisor"
M._server = Server -- so that it travels by name

function Server:init(max, shutdown)
  actor.trap_exit(true)
  self.children, self.count, self.max, self.shutdown = {}, 0, max, shutdown
end

---The body of a supervised task: travels by name. It waits until its owner has tied it.
---@private
function M.run(owner, box, f, args)
  if owner then
    local ref = actor.monitor(owner)
    actor.receive(
      on({ "$task_go", owner }, function() end),
      on({ "DOWN", ref, "process", owner, V._ }, function() actor.exit "normal" end))
    actor.demonitor(ref, { flush = true })
  end
  task.run(box, f, table.unpack(args, 1, args.n))
end

function Server.call:start(owner, box, f, args)
  local who = gen_server.from()[1]
  if home(who) ~= true and not (type(f) == "string" and require("luactor._remote").allows(who, f)) then
    return "not_allowed"
  end
  if self.count >= self.max then return false end
  local pid = actor.spawn_opt({ link = true, label = "task" }, M.run, owner, box, f, args)
  self.children[pid] = true
  self.count = self.count + 1
  return pid
end

local function drop(self, pid)
  if self.children[pid] then
    self.children[pid] = nil
    self.count = self.count - 1
  end
end

function Server:handle_info(message)
  if type(message) == "table" and message[1] == "EXIT" then drop(self, message[2]) end
end

function Server.call:children()
  local list = {}
  for pid in pairs(self.children) do
    if actor.is_alive(pid) then list[#list + 1] = pid end
  end
  return list
end

-- End processes together; those that are not gone in time are killed.
local function finish(self, refs)
  local limit = actor.now() + self.shutdown
  for pid in pairs(refs) do actor.exit(pid, self.shutdown > 0 and "shutdown" or "kill") end
  while next(refs) do
    local left = limit - actor.now()
    local pid = actor.receive({ "DOWN", V._, "process", V.pid, V._ },
      limit < math.huge and (left > 0 and left or 0) or nil)
    if pid then
      refs[pid] = nil
    else
      for late in pairs(refs) do actor.exit(late, "kill") end
      limit = math.huge
    end
  end
end

function Server.call:terminate_child(pid)
  if not self.children[pid] or not actor.is_alive(pid) then return false end
  finish(self, { [pid] = actor.monitor(pid) })
  drop(self, pid)
  return true
end

function Server:terminate()
  local refs = {}
  for pid in pairs(self.children) do refs[pid] = actor.monitor(pid) end
  finish(self, refs)
end

------------------------------------------------------------------ the clients

local function shown(value)
  if type(value) == "string" then return ("'%s'"):format(value) end
  return type(value) == "table" and "table" or tostring(value)
end

local OPTIONS <const> = { name = true, max_children = true, shutdown = true }

local function check_options(opts)
  if type(opts) ~= "table" then
    error(("luactor.task_supervisor: table of options expected, got %s"):format(shown(opts)), 4)
  end
  for key, value in pairs(opts) do
    if not OPTIONS[key] then
      error(("luactor.task_supervisor: unknown option %s (value %s)"):format(shown(key),
        shown(value)), 4)
    end
  end
  local max, shutdown = opts.max_children, opts.shutdown
  if max ~= nil and (math.type(max) ~= "integer" or max < 1) then
    error(("luactor.task_supervisor: bad option 'max_children' (positive integer expected, got %s)")
      :format(shown(max)), 4)
  end
  if shutdown == "brutal_kill" then shutdown = 0 elseif shutdown == nil then shutdown = 5000 end
  if type(shutdown) ~= "number" or shutdown ~= shutdown or shutdown < 0 then
    error(("luactor.task_supervisor: bad option 'shutdown' (milliseconds or 'brutal_kill' expected, got %s)")
      :format(shown(shutdown)), 4)
  end
  return max or math.maxinteger, shutdown
end

local function start(opts, link)
  opts = opts == nil and {} or opts
  local max, shutdown = check_options(opts)
  return gen_server.start_opt(Server, { name = opts.name, link = link }, max, shutdown)
end

---Start a supervisor of tasks, linked to the caller. Raises a luactor.StartError when the name is taken.
---@param opts { name: string?, max_children: integer?, shutdown: number|"brutal_kill"|nil }?  shutdown: default 5000
---@return luactor.Server
function M.start_link(opts)
  return start(opts, true)
end

---As start_link, without the link.
---@param opts { name: string?, max_children: integer?, shutdown: number|"brutal_kill"|nil }?
---@return luactor.Server
function M.start(opts)
  return start(opts, false)
end

local function dest(sup, name)
  if type(sup) == "table" and sup.pid then return sup.pid end
  if type(sup) == "string" or type(sup) == "userdata" then return sup end
  if type(sup) == "table" and type(sup[1]) == "string" and type(sup[2]) == "string" then return sup end
  error(("bad argument #1 to 'luactor.task_supervisor.%s' (supervisor, pid, name or {name, node} expected, got %s)")
    :format(name, shown(sup)), 3)
end

local function is_far(sup)
  return type(sup) == "table" or type(sup) == "userdata" and home(sup) ~= true
end

local function start_child(sup, owner, box, f, ...)
  local pid = actor.call(sup, { "start", owner, box, f, table.pack(...) })
  if not pid then error("luactor.task_supervisor: max_children are running", 3) end
  if pid == "not_allowed" then
    error(("luactor.task_supervisor: '%s' is not exported to this node"):format(f), 3)
  end
  return pid
end

local function async(sup, linked, f, ...)
  local pid = start_child(sup, actor.self(), task.mailbox(), f, ...)
  local t = task.adopt(pid, linked)
  actor.send(pid, { "$task_go", actor.self() })
  return t
end

---A task under the supervisor, linked to the caller too, as one from task.async. Suspends until it is started.
---@param sup luactor.Server|luactor.Dest
---@param f function|string
---@return luactor.Task
function M.async(sup, f, ...)
  local to = dest(sup, "async")
  task.check_function(f, 2, "supervisor.async")
  if is_far(to) then return task.start_under(true, to, f, ...) end
  return async(to, true, f, ...)
end

---A task under the supervisor alone: its crash is nothing to the caller, nor the caller's end to it.
---@param sup luactor.Server|luactor.Dest
---@param f function|string
---@return luactor.Task
function M.async_nolink(sup, f, ...)
  local to = dest(sup, "async_nolink")
  task.check_function(f, 2, "supervisor.async_nolink")
  if is_far(to) then return task.start_under(false, to, f, ...) end
  return async(to, false, f, ...)
end

---Run `f(...)` under the supervisor; nobody awaits it.
---@param sup luactor.Server|luactor.Dest
---@param f function|string
---@return luactor.Pid
function M.start_child(sup, f, ...)
  local to = dest(sup, "start_child")
  task.check_function(f, 2, "supervisor.start_child")
  return start_child(to, false, false, f, ...)
end

---The tasks that run, in no order.
---@param sup luactor.Server|luactor.Dest
---@return luactor.Pid[]
function M.children(sup)
  return actor.call(dest(sup, "children"), { "children" })
end

---End a task with exit signal "shutdown", and "kill" where that is not enough. Suspends until it is gone. nil, "not_found" when it is no
---task of the supervisor.
---@param sup luactor.Server|luactor.Dest
---@param pid luactor.Pid
---@return true?, "not_found"?
function M.terminate_child(sup, pid)
  if actor.call(dest(sup, "terminate_child"), { "terminate_child", pid }, math.huge) then
    return true
  end
  return nil, "not_found"
end

return M

-- Tasks: functions that run beside the caller and whose results are asked for later.
--
--   local task = require "luactor.task"
--   local page = task.async(fetch, url)
--   local user = task.async(load_user, id)
--   print(task.await(page), task.await(user))
--
--   for r in task.async_stream(urls, fetch, { max_concurrency = 4 }) do
--     print(r[1], r[2])            -- "ok", result  or  "exit", reason
--   end
--
-- A task is a process, linked to the one that asked for it, its owner: when the owner
-- crashes, so does the task; when the task crashes, so does the owner, unless it is
-- awaiting the task: then `await` raises. The two cannot miss each other: a crash takes effect
-- when the owner waits for something else than tasks (host/src/proc/proc.h, la_tie_t).
--
-- Results and DOWN messages go to a further mailbox of the owner, so its own stays clean.

local actor = require "luactor"
local core = require "luactor._core"

local V = actor.var

local M = {}

local DEFAULT_MS <const> = 5000

-- A stream holds at most this many results per running task that wait for an earlier one.
local AHEAD <const> = 16

---@class luactor.Task
---@field pid luactor.Pid     the process that runs the function
---@field owner luactor.Pid   the only one that may await it
---@field private _ref luactor.Ref?  its monitor
---@field private _linked boolean?
---@field private _done boolean?     the result has come
---@field private _value any
---@field private _down boolean?     it ended without a result
---@field private _reason any
---@field private _over boolean?     its result has been taken or given up
local Task = {}
Task.__index = Task
Task.__name = "luactor.Task"

function Task:__tostring()
  return ("task %s"):format(self.pid)
end

-- Only its owner can await a task, but it may be handed about, as a name for the work.
function Task:__transfer()
  return "luactor.task", self.pid, self.owner
end

---A task that came in a message.
---@private
function M.receive(pid, owner)
  return setmetatable({ pid = pid, owner = owner }, Task)
end

---What `await` raises: `reason` is that of the task's end, or "timeout".
---@class luactor.TaskError
---@field reason any
---@field pid luactor.Pid
local TaskError = {}
TaskError.__name = "luactor.TaskError"

function TaskError:__tostring()
  local reason = self.reason
  if type(reason) == "table" and reason[1] == "error" then
    reason = reason[2]
  elseif type(reason) == "table" and reason[1] ~= nil then
    reason = reason[2] == nil and reason[1]
      or ("%s: %s"):format(tostring(reason[1]), tostring(reason[2]))
  end
  return ("task %s failed: %s"):format(self.pid, tostring(reason))
end

local function raise(task, reason)
  error(setmetatable({ reason = reason, pid = task.pid }, TaskError), 0)
end

--------------------------------------------------------------------- arguments

local function bad(level, n, name, what)
  error(("bad argument #%d to 'luactor.task.%s' (%s)"):format(n, name, what), level + 1)
end

local function shown(value)
  if type(value) == "string" then return ("'%s'"):format(value) end
  if type(value) == "table" or type(value) == "function" then return type(value) end
  return tostring(value)
end

local function check_function(f, n, name, level)
  level = level or 3
  if type(f) == "function" then return end
  if type(f) ~= "string" then
    bad(level, n, name, ("function or 'module.function' expected, got %s"):format(shown(f)))
  end
  if not f:match "^.+%.[^.]+$" then
    bad(level, n, name, ("'module.function' expected, got %s"):format(shown(f)))
  end
end
M.check_function = check_function -- for luactor.task_supervisor

-- On another node there are no functions of this one.
local function check_name(f, n, name)
  if type(f) ~= "string" then
    bad(4, n, name, ("'module.function' expected for another node, got %s"):format(shown(f)))
  end
  check_function(f, n, name, 5)
end

-- The absolute time at which a wait ends.
local function deadline(ms, n, name)
  if ms == nil then ms = DEFAULT_MS end
  if type(ms) ~= "number" or ms ~= ms or ms < 0 then
    bad(3, n, name, ("milliseconds expected, got %s"):format(shown(ms)))
  end
  return actor.now() + ms
end

local function check_task(task, name, n)
  if type(task) ~= "table" or task.pid == nil or task.owner == nil then
    bad(3, n or 1, name, ("task expected, got %s"):format(shown(task)))
  end
  if task.owner ~= actor.self() then
    error(("luactor.task.%s: task %s belongs to %s; %s cannot wait for it")
      :format(name, task.pid, task.owner, actor.self()), 3)
  end
  if task._over then
    error(("luactor.task.%s: the result of task %s has been taken or given up already")
      :format(name, task.pid), 3)
  end
end

--------------------------------------------------------------------- the child

local function resolve(f)
  if type(f) ~= "string" then return f end
  local module, name = f:match "^(.+)%.([^.]+)$"
  local found = require(module)[name]
  if found == nil then
    error(("module '%s' has no function '%s'"):format(module, name), 0)
  end
  return found
end

---The body of a task: travels by name. Its result is known by its sender. Without a mailbox it is nobody's.
---@private
function M.run(box, f, ...)
  local value = resolve(f)(...)
  if box then actor.send(box, { "done", value }) end
end

---------------------------------------------------------------- on other nodes
--
-- A task on another node is a process here that is the task, tied to its owner as any, and one
-- over there that runs the function. The two are linked: so a task that is killed, is late or has
-- lost its owner ends over there too; and a lost connection ends both, "noconnection" here.

-- The value of the process over there; its end otherwise is ours. The owner's end, which comes as a
-- message since we trap exits to see the other's, is ours too.
local function follow(pid, ref, outcome)
  while true do
    local what, value = actor.receive(
      actor.on({ "done", V.value:of(actor._) }, function(v) return "done", v end),
      actor.on({ "DOWN", ref, "process", V._, V.reason }, function(r) return "down", r end),
      actor.on({ "EXIT", V.who, V.reason }, function(who, r)
        if who ~= pid then return "exit", r end
      end))
    if what == "done" then return value end
    if what == "exit" then actor.exit(value) end
    if what == "down" then
      local ok, result = outcome(value)
      if ok then return result end
      actor.exit(result)
    end
  end
end

---The body of a task on another node: travels by name.
---@private
function M.far(there, f, ...)
  if there == require("luactor.node").name() then return resolve(f)(...) end
  actor.trap_exit(true)
  local reference = actor.ref()
  local module, name = f:match "^(.+)%.([^.]+)$"
  local args = table.pack(...)
  for i = 1, args.n do
    if args[i] == nil then args[i] = actor.null end
  end
  args.n = nil
  local pid, ref = actor.spawn_opt({ node = there, link = true, monitor = true }, "erpc.execute_call",
    reference, actor.atom(module), actor.atom(name), args)
  return follow(pid, ref, function(reason) return require("luactor.rpc")._outcome(reference, reason) end)
end

---The same of one that a supervisor over there starts.
---@private
function M.under(sup, f, ...)
  actor.trap_exit(true)
  local pid = actor.call(sup, { "start", actor.self(), actor.self(), f, table.pack(...) })
  if not pid then error("luactor.task_supervisor: max_children are running", 0) end
  if pid == "not_allowed" then error(("luactor.task_supervisor: '%s' is not exported to this node"):format(f), 0) end
  actor.link(pid)
  local ref = actor.monitor(pid)
  actor.send(pid, { "$task_go", actor.self() })
  return follow(pid, ref, function(reason) return false, reason end)
end

------------------------------------------------------------------ the mailbox

-- Of this process: made for its first task.
local box, take

-- pid -> task, of those whose result is wanted still.
local tasks = setmetatable({}, { __mode = "v" })

local function taker(mailbox)
  return actor.receiver(mailbox:on(actor._, function(message) return message end))
end

local function mailbox()
  if not box then
    box = core.task_mailbox()
    take = taker(box)
  end
  return box
end

-- Note what the next message says; returns the task it settles, if any. False when none
-- comes in time.
local function note_one(ms)
  local message = take(ms)
  if not message then return false end
  local is_down = message[1] == "DOWN"
  local task = tasks[is_down and message[4] or actor.sender()]
  if not task or task._done then return nil end
  if is_down then
    task._down, task._reason = true, message[5]
  else
    task._done, task._value = true, message[2]
  end
  return task
end

local function is_settled(task)
  return task._done or task._down
end

-- Wait until the task has ended; false when `limit` passes first.
local function settle(task, limit)
  while not is_settled(task) do
    local left = limit - actor.now()
    if note_one(left > 0 and left or 0) == false then return false end
  end
  return true
end

-- The task ends, has ended, or is let go, without any effect on us.
local function untie(task)
  if not task._linked then return end
  actor.unlink(task.pid)
  if core.traps_exit() then actor.flush { "EXIT", task.pid, actor._ } end
end

-- Nobody asks for the task again.
local function forget(task)
  tasks[task.pid] = nil
  task._over = true
  actor.demonitor(task._ref)
end

-- Take the result of a settled task.
local function finish(task)
  forget(task)
  if task._down or core.traps_exit() then untie(task) end
end

-- Nobody will see its result: a task that is tied to us ends.
local function abandon(task)
  forget(task)
  if task._linked then
    untie(task)
    actor.exit(task.pid, "kill")
  end
end

local function outcome(task)
  finish(task)
  if task._done then return { "ok", task._value } end
  return { "exit", task._reason }
end

M.mailbox = mailbox -- for luactor.task_supervisor

--------------------------------------------------------------------- one task

local function own(pid, ref, linked)
  local task = setmetatable({ pid = pid, owner = actor.self(), _ref = ref, _linked = linked },
    Task)
  tasks[pid] = task
  return task
end

local function start(tie, f, ...)
  local pid, ref = core.spawn_tied(tie, mailbox(), nil, M.run, box, f, ...)
  return own(pid, ref, tie == "sparing")
end

---The task of a process that another has started for us. For luactor.task_supervisor.
---@private
function M.adopt(pid, linked)
  return own(pid, core.tie(mailbox(), pid, linked), linked)
end

-- { node = "name@host" } before the function.
local function is_place(value)
  return type(value) == "table" and getmetatable(value) == nil
end

local function start_at(tie, name, place, f, ...)
  local there = place.node
  for key in pairs(place) do
    if key ~= "node" then
      error(("luactor.task.%s: unknown option %s"):format(name, shown(key)), 3)
    end
  end
  if type(there) ~= "string" or not there:find "^[^@]+@[^@]+$" then
    error(("luactor.task.%s: bad option 'node' (name@host expected, got %s)"):format(name, shown(there)), 3)
  end
  check_name(f, 2, name)
  return start(tie, M.far, there, f, ...)
end

---A task whose function a supervisor on another node runs. For luactor.task_supervisor.
---@private
function M.start_under(linked, sup, f, ...)
  check_name(f, 2, "supervisor.async")
  return start(linked and "sparing" or "none", M.under, sup, f, ...)
end

---Run `f(...)` in a process linked to the caller. Does not suspend. A crash of it ends the caller at its next wait, unless that
---is for the task itself: then it raises there.
---With { node = "name@host" } before it, `f` is "module.function" and runs there.
---@param f function|string|{ node: string }  a function, which travels with its upvalues, or "module.function"
---@return luactor.Task
function M.async(f, ...)
  if is_place(f) then return start_at("sparing", "async", f, ...) end
  check_function(f, 1, "async")
  return start("sparing", f, ...)
end

---As async, without the link: neither end takes the other along.
---@param f function|string|{ node: string }
---@return luactor.Task
function M.async_nolink(f, ...)
  if is_place(f) then return start_at("none", "async_nolink", f, ...) end
  check_function(f, 1, "async_nolink")
  return start("none", f, ...)
end

-- A task of a scope (s:async): it knows how to wait, and when to raise.
local function await_scoped(task, limit)
  local ms = limit - actor.now()
  local value, why = task:await(ms > 0 and ms or 0)
  if why == "timeout" and not task._packed then raise({ pid = task }, "timeout") end
  return value
end

local function is_scoped(task)
  return type(task) == "table" and task._mailbox ~= nil and task.await ~= nil
end

---Wait for the result: one value, nil and false included. Suspends. Raises a luactor.TaskError when the task ended
---otherwise, or with reason "timeout"; a linked task is killed then.
---@param task luactor.Task|luactor.ScopeTask
---@param ms number?  default 5000; math.huge: no limit
---@return any
function M.await(task, ms)
  if is_scoped(task) then return await_scoped(task, deadline(ms, 2, "await")) end
  check_task(task, "await")
  local limit = deadline(ms, 2, "await")
  if not settle(task, limit) then
    abandon(task)
    raise(task, "timeout")
  end
  finish(task)
  if task._down then raise(task, task._reason) end
  return task._value
end

local function check_list(list, name)
  if type(list) ~= "table" then
    bad(3, 1, name, ("list of tasks expected, got %s"):format(shown(list)))
  end
  if is_scoped(list[1]) then return end
  local seen = {}
  for i = 1, #list do
    local task = list[i]
    if type(task) ~= "table" or task.pid == nil or task.owner == nil then
      bad(3, 1, name, ("task expected at [%d], got %s"):format(i, shown(task)))
    end
    if seen[task.pid] then
      bad(3, 1, name, ("task %s is in the list twice"):format(task.pid))
    end
    seen[task.pid] = true
  end
end

-- Await the tasks of the set `left`, `n` of them. Returns the first that fails, and why.
local function settle_all(left, n, limit)
  while n > 0 do
    local ms = limit - actor.now()
    local task = note_one(ms > 0 and ms or 0)
    if task == false then return next(left), "timeout" end
    if task and left[task] then
      if task._down then return task, task._reason end
      left[task] = nil
      n = n - 1
    end
  end
  return nil
end

---Wait for the results of all tasks, in their order. Suspends. Raises as await does, as soon as one of them has crashed or the time
---is over; the others that are linked are killed then.
---@param list luactor.Task[]
---@param ms number?  default 5000, for all together
---@return any[]
function M.await_all(list, ms)
  check_list(list, "await_all")
  local limit = deadline(ms, 2, "await_all")
  if is_scoped(list[1]) then
    local values = {}
    for i = 1, #list do values[i] = await_scoped(list[i], limit) end
    return values
  end
  for i = 1, #list do check_task(list[i], "await_all") end
  local left, n = {}, 0
  local failed, reason
  for _, task in ipairs(list) do
    if task._down then
      failed, reason = task, task._reason
    elseif not task._done then
      left[task] = true
      n = n + 1
    end
  end
  if not failed then failed, reason = settle_all(left, n, limit) end
  local results = {}
  for i, task in ipairs(list) do
    if failed and not is_settled(task) then
      abandon(task)
    else
      finish(task)
    end
    results[i] = task._value
  end
  if failed then raise(failed, reason) end
  return results
end

---Wait for the task for a while. Suspends. Returns { "ok", result } or { "exit", reason }, or nil when it runs still: then it may be
---asked for again.
---@param task luactor.Task
---@param ms number?  default 5000
---@return { [1]: "ok"|"exit", [2]: any }?
function M.yield(task, ms)
  check_task(task, "yield")
  if settle(task, deadline(ms, 2, "yield")) then return outcome(task) end
  return nil
end

local function shutdown_time(how)
  if how == "brutal_kill" then return 0 end
  if type(how) == "string" then
    bad(3, 2, "shutdown", ("milliseconds or 'brutal_kill' expected, got %s"):format(shown(how)))
  end
  return deadline(how, 2, "shutdown")
end

---End the task, with exit signal "shutdown" and after `ms` with "kill". Suspends until it is gone. Returns { "ok", result } when it had
---finished meanwhile, { "exit", reason } when it ended for a reason of its own, else nil.
---@param task luactor.Task
---@param how number|"brutal_kill"|nil  default 5000
---@return { [1]: "ok"|"exit", [2]: any }?
function M.shutdown(task, how)
  check_task(task, "shutdown")
  local limit = shutdown_time(how)
  if settle(task, 0) then return outcome(task) end
  untie(task)
  local brutal = how == "brutal_kill"
  actor.exit(task.pid, brutal and "kill" or "shutdown")
  if not settle(task, limit) then
    brutal = true
    actor.exit(task.pid, "kill")
    settle(task, math.huge)
  end
  local result = outcome(task)
  if task._down and (task._reason == "shutdown" or brutal and task._reason == "killed") then
    return nil
  end
  return result
end

---Let the task go: it runs on, unlinked, and its result is nobody's. Returns what yield(task, 0) would.
---@param task luactor.Task
---@return { [1]: "ok"|"exit", [2]: any }?
function M.ignore(task)
  check_task(task, "ignore")
  if settle(task, 0) then return outcome(task) end
  untie(task)
  forget(task)
  return nil
end

------------------------------------------------------------------------ streams

---@class luactor.StreamOptions
---@field max_concurrency integer?  tasks that run at once; default: the number of scheduler threads
---@field timeout number?           for each task, in milliseconds; default 5000, math.huge: none
---@field on_timeout "kill_task"|"exit"|nil  a late task gives { "exit", "timeout" } (default), or it raises
---@field ordered boolean?          results in the order of the items (default), or as they come
---@field nodes string[]?           where the tasks run, in turn; `f` is "module.function" then

local STREAM_OPTIONS <const> = { max_concurrency = true, timeout = true, on_timeout = true,
  ordered = true, nodes = true }

local function bad_option(name, value, what)
  error(("luactor.task.async_stream: bad option '%s' (%s, got %s)")
    :format(name, what, shown(value)), 4)
end

local function stream_options(opts)
  if opts == nil then opts = {} end
  if type(opts) ~= "table" then
    bad(3, 3, "async_stream", ("table of options expected, got %s"):format(shown(opts)))
  end
  for name, value in pairs(opts) do
    if not STREAM_OPTIONS[name] then
      error(("luactor.task.async_stream: unknown option %s (value %s)")
        :format(shown(name), shown(value)), 3)
    end
  end
  local max, timeout = opts.max_concurrency, opts.timeout
  if max == nil then max = core.schedulers() end
  if math.type(max) ~= "integer" or max < 1 then
    bad_option("max_concurrency", max, "positive integer expected")
  end
  if timeout == nil then timeout = DEFAULT_MS end
  if type(timeout) ~= "number" or timeout ~= timeout or timeout < 0 then
    bad_option("timeout", timeout, "milliseconds expected")
  end
  local late = opts.on_timeout
  if late ~= nil and late ~= "kill_task" and late ~= "exit" then
    bad_option("on_timeout", late, "'kill_task' or 'exit' expected")
  end
  local ordered = opts.ordered
  if ordered ~= nil and type(ordered) ~= "boolean" then
    bad_option("ordered", ordered, "boolean expected")
  end
  local nodes = opts.nodes
  if nodes ~= nil and (type(nodes) ~= "table" or type(nodes[1]) ~= "string") then
    bad_option("nodes", nodes, "list of names of nodes expected")
  end
  return max, timeout, late == "exit", ordered ~= false, nodes
end

-- A function that gives the arguments of the next task, packed, or nil at the end.
local function source(list)
  local meta = getmetatable(list)
  if type(list) == "function" or type(meta) == "table" and meta.__call then
    return function()
      local packed = table.pack(list())
      return packed[1] ~= nil and packed or nil
    end
  end
  if type(list) ~= "table" then
    bad(3, 1, "async_stream", ("list or iterator expected, got %s"):format(shown(list)))
  end
  local i = 0
  return function()
    i = i + 1
    local item = list[i]
    return item ~= nil and { item, n = 1 } or nil
  end
end

-- A stream's tasks are tied one way: they end with the owner, and their crash is a result.
---@class luactor.Stream
---@field private _pull fun(): table?  nil once the items are at an end
---@field private _f function|string
---@field private _box luactor.Mailbox
---@field private _take function
---@field private _jobs table<luactor.Pid, table>  of processes that live: { index =, limit =, over = }
---@field private _alive integer    how many these are
---@field private _running integer  those whose result is not known
---@field private _started integer
---@field private _given integer    results that the loop has had
---@field private _ready table      results by index, or, not ordered, in a row
---@field private _nready integer
local Stream = {}
Stream.__index = Stream

function Stream:_start(args)
  local nodes, pid = self._nodes
  if nodes then
    pid = core.spawn_tied("one_way", self._box, nil, M.run, self._box, M.far,
      nodes[self._started % #nodes + 1], self._f, table.unpack(args, 1, args.n))
  else
    pid = core.spawn_tied("one_way", self._box, nil, M.run, self._box, self._f,
      table.unpack(args, 1, args.n))
  end
  self._started = self._started + 1
  self._jobs[pid] = { index = self._started, limit = actor.now() + self._timeout }
  self._alive, self._running = self._alive + 1, self._running + 1
end

-- Start what may run now.
function Stream:_fill()
  local ahead = self._max * AHEAD
  while self._pull and self._running < self._max and self._started - self._given < ahead do
    local args = self._pull()
    if not args then
      self._pull = nil
    else
      self:_start(args)
    end
  end
end

function Stream:_settle(job, result)
  job.over = true
  self._nready = self._nready + 1
  self._ready[self._ordered and job.index or self._given + self._nready] = result
  self._running = self._running - 1
end

-- A task whose time is over has its result at once, but counts as running until it is gone.
function Stream:_expire()
  local now = actor.now()
  for pid, job in pairs(self._jobs) do
    if not job.over and not job.late and job.limit <= now then
      if self._raises then
        self:close()
        raise({ pid = pid }, "timeout")
      end
      actor.exit(pid, "kill")
      job.late = true
    end
  end
end

function Stream:_next_limit()
  local limit = math.huge
  for _, job in pairs(self._jobs) do
    if not job.over and not job.late and job.limit < limit then limit = job.limit end
  end
  return limit
end

-- Take one message of the tasks, or see to those that are late.
function Stream:_wait()
  local limit = self._timeout < math.huge and self:_next_limit() or math.huge
  local ms = limit - actor.now()
  local message = self._take(ms > 0 and ms or 0)
  if not message then return self:_expire() end
  local is_down = message[1] == "DOWN"
  local pid = is_down and message[4] or actor.sender()
  local job = self._jobs[pid]
  if is_down then
    self._jobs[pid] = nil
    self._alive = self._alive - 1
    if not job.over then
      self:_settle(job, { "exit", job.late and "timeout" or message[5] })
    end
  elseif not job.late then
    self:_settle(job, { "ok", message[2] })
  end
end

function Stream:_next()
  if self._closed then return nil end
  self:_fill()
  local index = self._given + 1
  while self._ready[index] == nil do
    if self._running == 0 then
      self:close()
      return nil
    end
    self:_wait()
    self:_fill()
  end
  local result = self._ready[index]
  self._ready[index] = nil
  self._given, self._nready = index, self._nready - 1
  return result
end

-- End the tasks that run still, and wait for their end where the process can wait.
function Stream:close()
  if self._closed then return end
  self._closed = true
  for pid, job in pairs(self._jobs) do
    if not job.over then actor.exit(pid, "kill") end
  end
  while self._alive > 0 do
    local ok, message = pcall(self._take)
    if not ok then return end -- the process ends, and the tasks with it
    if message[1] == "DOWN" then self._alive = self._alive - 1 end
  end
  self._box:close()
end

Stream.__close = Stream.close

---An iterator for the generic `for`: runs `f(item)` in a task for each item, some of them at once, and gives { "ok", result } or
---{ "exit", reason } for each. Items are taken from the list or iterator as tasks start; leaving the loop ends the tasks that run.
---Suspends in the loop.
---@param list any[]|fun(): ...  all that the iterator returns are arguments of `f`
---@param f function|string
---@param opts luactor.StreamOptions?
function M.async_stream(list, f, opts)
  local pull = source(list)
  check_function(f, 2, "async_stream")
  local max, timeout, raises, ordered, nodes = stream_options(opts)
  if nodes then check_name(f, 2, "async_stream") end
  local own = actor.mailbox()
  local stream = setmetatable({ _pull = pull, _f = f, _box = own, _take = taker(own),
    _nodes = nodes, _max = max, _timeout = timeout, _raises = raises, _ordered = ordered, _jobs = {},
    _alive = 0, _running = 0, _started = 0, _given = 0, _ready = {}, _nready = 0 }, Stream)
  return function() return stream:_next() end, nil, nil, stream
end

-- task.supervisor is luactor.task_supervisor, loaded by its first use.
setmetatable(M, { __index = function(_, key)
  if key ~= "supervisor" then return nil end
  M.supervisor = require "luactor.task_supervisor"
  return M.supervisor
end })

Task.await, Task.yield, Task.shutdown, Task.ignore = M.await, M.yield, M.shutdown, M.ignore

return M

-- What the supervisors share: child specs, starting and stopping a child, the limit of restarts,
-- reports, and the way a client asks. Not for programs.

local actor = require "luactor"
local B = require "luactor._behaviour"
local log = require "luactor.log"

local home = require("luactor._core").home

local V = actor.var

local C = {}

-- How long a child on another node may take to be killed. When that node hangs, nothing comes
-- of it before its connection is given up.
local FAR_MS <const> = 5000
C.FAR_MS = FAR_MS

-- Specs -----------------------------------------------------------------------------

---What a child is to its supervisor.
---@class luactor.ChildSpec
---@field id string|number|boolean|userdata   names the child; unique
---@field start table|function|string         { "module.fn" or fn, args... }: runs in the supervisor, returns a pid or a server
---@field restart "permanent"|"transient"|"temporary"|nil  when it has ended: always restarted (default), after errors, never
---@field shutdown number|"brutal_kill"|"infinity"|nil     ms to end when asked; default 5000, of a supervisor "infinity"
---@field type "worker"|"supervisor"|nil      default "worker"
---@field significant boolean?                its own end counts for auto_shutdown

local function show(value)
  if type(value) == "string" then return ("'%s'"):format(value) end
  return type(value) == "table" and "a table" or tostring(value)
end

---Raise the error of a field: names the module, the field and the value.
function C.bad(where, field, expected, value, level)
  error(("%s: bad field '%s' (%s expected, got %s)"):format(where, field, expected, show(value)), level + 1)
end
local bad = C.bad

---Is the value one of the list's? Raises otherwise.
function C.one_of(where, field, list, value, level)
  for _, allowed in ipairs(list) do
    if value == allowed then return value end
  end
  bad(where, field, "'" .. table.concat(list, "', '") .. "'", value, level + 1)
end
local one_of = C.one_of

---A number of at least 0, an integer if asked.
function C.count(where, field, value, level, is_integer)
  local ok = type(value) == "number" and value >= 0 and value == value
  if not ok or is_integer and math.type(value) ~= "integer" and value ~= math.huge then
    bad(where, field, is_integer and "integer from 0" or "milliseconds", value, level + 1)
  end
  return value
end

---Raise for fields that are not among the keys of `known`.
function C.known(where, t, known, level)
  for field in pairs(t) do
    if not known[field] then
      error(("%s: unknown field %s"):format(where, show(field)), level + 1)
    end
  end
end

local function check_start(where, start, level)
  local f = start
  if type(start) == "table" then f = start[1] end
  local is_name = type(f) == "string" and f:find "^[^.].*%.[^.]+$"
  if type(f) ~= "function" and not is_name then
    bad(where, "start", "{ 'module.function' or function, arguments... }", f == nil and start or f, level + 1)
  end
  if type(start) == "table" then return start end
  return { start }
end

local KNOWN <const> = { id = true, start = true, restart = true, shutdown = true, type = true, significant = true }
local ID_TYPES <const> = { string = true, number = true, boolean = true, userdata = true }

---The spec with all its defaults; raises for what is no spec. `has_id`: it must have one.
function C.check(where, spec, has_id, level)
  level = level + 1
  if type(spec) ~= "table" then
    error(("%s: bad child spec (table expected, got %s)"):format(where, show(spec)), level)
  end
  if has_id and not ID_TYPES[type(spec.id)] then bad(where .. ": child spec", "id", "string or number", spec.id, level) end
  if has_id then where = ("%s: child %s"):format(where, show(spec.id)) end
  C.known(where, spec, KNOWN, level)
  local kind = one_of(where, "type", { "worker", "supervisor" }, spec.type or "worker", level)
  local shutdown = spec.shutdown
  if shutdown == nil then shutdown = kind == "worker" and 5000 or "infinity" end
  if shutdown ~= "brutal_kill" and shutdown ~= "infinity"
    and not (type(shutdown) == "number" and shutdown >= 0) then
    bad(where, "shutdown", "milliseconds, 'brutal_kill' or 'infinity'", shutdown, level)
  end
  if spec.significant ~= nil and type(spec.significant) ~= "boolean" then
    bad(where, "significant", "boolean", spec.significant, level)
  end
  local restart = one_of(where, "restart", { "permanent", "transient", "temporary" }, spec.restart or "permanent", level)
  if spec.significant and restart == "permanent" then
    error(("%s: bad field 'significant' (true does not go with restart = 'permanent')"):format(where), level)
  end
  return {
    id = spec.id, start = check_start(where, spec.start, level), type = kind, shutdown = shutdown,
    restart = restart, significant = spec.significant or false,
  }
end

-- Restarts --------------------------------------------------------------------------

---The last `intensity` restarts, as a ring: the one that is written over tells whether there were too many.
---@class luactor.Limiter
local Limiter = {}
Limiter.__index = Limiter

function C.limiter(intensity, period, before)
  local limiter = setmetatable({ intensity = intensity, period = period, times = {}, at = 0, total = 0 }, Limiter)
  for _, time in ipairs(before and before:recent() or {}) do limiter:note(time) end
  return limiter
end

---A restart at `now`. False: more than the limit within the period.
function Limiter:note(now)
  self.total = self.total + 1
  if self.intensity == 0 then return false end
  if self.intensity == math.huge then return true end
  local at = self.at + 1
  if at > self.intensity then at = 1 end
  self.at = at
  local oldest = self.times[at]
  self.times[at] = now
  return not oldest or oldest < now - self.period
end

-- The restarts of the last period, oldest first. Only for reports: it walks.
function Limiter:recent()
  local list, times, at = {}, self.times, self.at
  local since = actor.now() - self.period
  while times[at] and times[at] >= since and #list < #times do
    list[#list + 1] = times[at]
    at = at > 1 and at - 1 or #times
  end
  for i = 1, #list // 2 do list[i], list[#list + 1 - i] = list[#list + 1 - i], list[i] end
  return list
end

-- Reports ---------------------------------------------------------------------------

local TEXTS <const> = {
  child_terminated = "child ended", start_error = "child did not start", shutdown_error = "child ended badly",
  shutdown = "too many restarts",
}

---Report what became of a child, unless there were too many such reports.
---@param sup { name: string, limiter: luactor.Limiter }
function C.report(sup, what, child, reason, pid)
  local message = TEXTS[what]
  local cause = child.cause
  if not cause then
    cause = sup.name .. "/" .. tostring(child.id)
    child.cause = cause
  end
  if not log.admits("error", "supervisor", message, cause .. what) then return end
  local limiter = sup.limiter
  log.event_of("error", "supervisor", message, {
    supervisor = sup.name, child = child.id == nil and "undefined" or child.id, child_pid = pid, reason = reason,
    error = what, restarts = #limiter:recent(), intensity = limiter.intensity, period = limiter.period,
  })
end

-- A child ---------------------------------------------------------------------------

-- An error value that goes into an exit reason.
local function sendable(e)
  local kind = type(e)
  if kind ~= "table" and kind ~= "userdata" or pcall(actor.pack, e) then return e end
  return tostring(e)
end

local function on_error(e)
  local meta = getmetatable(e)
  if type(meta) == "table" and meta.__name == "luactor.start_error" then return e end
  return { reason = { "error", sendable(e), debug and debug.traceback(nil, 2) or "" } }
end

local pool_process = require("luactor._core").pool_process

-- The pid in what a start function returned, linked; then the server object, if it was one, and what
-- it returned besides.
local function adopt(result, reason)
  local pid, object = result, nil
  if type(result) == "table" then pid, object = result.pid, result end
  if type(pid) == "userdata" then
    actor.link(pid)
    local process = pool_process(pid)
    if process ~= pid then return process, pid, reason end -- the address of a pool
    return pid, object, reason
  end
  if result == "ignore" or result == nil and reason == "ignore" then return nil, "ignore" end
  if not result and reason ~= nil then return nil, sendable(reason) end
  return nil, { "bad_return_value", sendable(result) }
end

local unpack, require = table.unpack, require

local function function_of(f)
  if type(f) ~= "string" then return f end
  local module, name = f:match "^(.*)%.([^.]+)$"
  local found = require(module)
  found = type(found) == "table" and found[name]
  if type(found) ~= "function" then error(("no function '%s' in module '%s'"):format(name, module), 0) end
  return found
end

C.function_of = function_of

local function run(start, ...)
  return adopt(function_of(start[1])(...))
end

local function outcome(ok, pid, ...)
  if ok then return pid, ... end
  return nil, pid.reason
end

---Start a child: its pid, linked, the server object if it was one, and the second result of the function; or nil and
---the reason, "ignore" among them.
---@param start table  of the spec, and further arguments
function C.start(start)
  return outcome(xpcall(run, on_error, start, unpack(start, 2, start.n or #start)))
end

---The start of a template with arguments before and behind those of the spec.
function C.with_arguments(before, start, ...)
  local list = { start[1] }
  local n = 1
  local function add(t, from, to)
    table.move(t, from, to, n + 1, list)
    n = n + to - from + 1
  end
  add(before, 1, before.n or #before)
  add(start, 2, start.n or #start)
  add({ ... }, 1, select("#", ...))
  list.n = n
  return list
end

-- The link is off, and what it had brought is gone: that is the reason then.
local function unlink(pid, reason)
  actor.unlink(pid)
  local early, timeout = actor.receive({ "EXIT", pid, V.reason }, 0)
  if timeout == nil then return early end
  return reason
end

---Is this the end that was asked for? If not, it is reported.
function C.is_asked_end(child, reason)
  if reason == (child.shutdown == "brutal_kill" and "killed" or "shutdown") then return true end
  return child.restart ~= "permanent" and B.is_quiet(reason)
end

---End a running child as its spec says, and wait for its end.
function C.stop(sup, child)
  local pid, how = child.pid, child.shutdown
  local ref = actor.monitor(pid)
  actor.exit(pid, how == "brutal_kill" and "kill" or "shutdown")
  if how == "brutal_kill" and C.is_far(pid) then how = FAR_MS end
  local reason, timeout = actor.receive({ "DOWN", ref, "process", pid, V.reason }, type(how) == "number" and how or nil)
  if timeout == "timeout" and reason == nil then
    actor.exit(pid, "kill")
    reason, timeout = actor.receive({ "DOWN", ref, "process", pid, V.reason }, C.is_far(pid) and FAR_MS or nil)
    if timeout == "timeout" and reason == nil then
      actor.demonitor(ref, { flush = true })
      reason = "timeout"
    end
  end
  reason = unlink(pid, reason)
  if not C.is_asked_end(child, reason) then C.report(sup, "shutdown_error", child, reason, pid) end
end

---Is it a process of another node?
function C.is_far(pid)
  return home(pid) ~= true
end

---Is it a request of another node to start what it may not have run here?
function C.is_refused(from, request)
  local spec = type(request) == "table" and request[1] == "start_child" and request[2]
  return spec and home(from[1]) ~= true and not (type(spec) == "table" and type(spec.start) == "table"
    and type(spec.start[1]) == "string" and require("luactor._remote").allows(from[1], spec.start[1]))
end

-- Clients ---------------------------------------------------------------------------

---Where to send: what start_link returned, a pid, a name.
function C.dest(where, sup, level)
  local dest = sup
  if type(sup) == "table" and sup.pid then dest = sup.pid end
  local kind = type(dest)
  if kind ~= "userdata" and kind ~= "string" and not (kind == "table" and type(dest[1]) == "string") then
    error(("bad argument #1 to '%s' (supervisor, pid or name expected, got %s)"):format(where, show(sup)), level + 1)
  end
  return dest
end

-- { "ok", ... }, { "error", reason }, or { "bad", message } for the caller's mistake.
local function result(level, answer)
  if answer[1] == "ok" then
    return unpack(answer, 2, answer.n or #answer)
  elseif answer[1] == "error" then
    return nil, answer[2]
  end
  error(answer[2], level + 1)
end

---Ask a supervisor, however long it takes.
function C.ask(where, sup, level, request)
  return result(level + 1, actor.call(C.dest(where, sup, level + 1), request, math.huge))
end

---@class luactor.Child
---@field id any
---@field pid luactor.Pid?  while it runs
---@field status "running"|"stopped"|"restarting"
---@field type "worker"|"supervisor"

---An element of which_children: by names, and in OTP's order.
function C.entry(child)
  local pid = child.pid
  return {
    child.id, pid or child.restarting and "restarting" or "undefined", child.type,
    id = child.id, pid = pid, type = child.type,
    status = pid and "running" or child.restarting and "restarting" or "stopped",
  }
end

---What start_link returns.
---@class luactor.Supervisor
---@field pid luactor.Pid
function C.class(module, methods)
  local class = { __name = "luactor.supervisor_object" }
  class.__index = methods
  function class.__tostring(s) return "supervisor " .. tostring(s.pid) end
  function class.__eq(a, b) return rawequal(getmetatable(a), getmetatable(b)) and a.pid == b.pid end
  function class.__transfer(s) return module, s.pid end
  return function(pid) return setmetatable({ pid = pid }, class) end
end

return C

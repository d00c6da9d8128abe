-- A supervisor of many children that come and go: of one spec, or each of its own.
--
--   local dynamic = require "luactor.dynamic_supervisor"
--   local sessions = dynamic.start_link{
--     child = { start = { "app.session.start_link" }, restart = "temporary" },
--     max_children = 10000,
--   }
--   local pid = dynamic.start_child(sessions, socket)       -- session.start_link(socket)
--
-- This is OTP's simple_one_for_one: children have no ids and no order, a child that ended is
-- restarted alone, with the arguments that it was started with, and all are stopped at the same time.

local actor = require "luactor"
local B = require "luactor._behaviour"
local C = require "luactor._children"

local V, on = actor.var, actor.on

local M = {}

-- Settings --------------------------------------------------------------------------

---@class luactor.DynamicSupervisorSpec
---@field child luactor.ChildSpec?     of all children, without an id; without it, each start_child names its own
---@field children luactor.ChildSpec[]?  a list of one spec, as in OTP, instead of `child`
---@field strategy "one_for_one"?      the only one there is
---@field intensity integer?           as luactor.supervisor: 3
---@field period number?               5000
---@field max_children integer?        start_child fails with "max_children" beyond; default: no limit
---@field extra_arguments table?       come before those of the spec in every start
---@field name string?

local WHERE <const> = "dynamic_supervisor"
local KNOWN <const> = { child = true, children = true, strategy = true, intensity = true, period = true,
  max_children = true, extra_arguments = true, name = true }

-- The spec of all children, or nil.
local function template_of(spec, level)
  local child = spec.child
  if spec.children ~= nil then
    if type(spec.children) ~= "table" or #spec.children ~= 1 or child ~= nil then
      C.bad(WHERE, "children", "list of one child spec, without the field 'child'", spec.children, level + 1)
    end
    child = spec.children[1]
  end
  return child ~= nil and C.check(WHERE, child, false, level + 1) or nil
end

local function refuse_significant(child, level)
  if child and child.significant then
    error("dynamic_supervisor: bad field 'significant' (false expected, got true)", level + 1)
  end
  return child
end

local function check(spec, level)
  level = level + 1
  if type(spec) ~= "table" then
    error(("dynamic_supervisor: bad argument #1 (table expected, got %s)"):format(type(spec)), level)
  end
  C.known(WHERE, spec, KNOWN, level)
  local strategy = spec.strategy
  if strategy ~= "simple_one_for_one" then
    C.one_of(WHERE, "strategy", { "one_for_one" }, strategy or "one_for_one", level)
  end
  if spec.name ~= nil and type(spec.name) ~= "string" then C.bad(WHERE, "name", "string", spec.name, level) end
  if spec.extra_arguments ~= nil and type(spec.extra_arguments) ~= "table" then
    C.bad(WHERE, "extra_arguments", "list", spec.extra_arguments, level)
  end
  return {
    name = spec.name,
    child = refuse_significant(template_of(spec, level), level),
    intensity = C.count(WHERE, "intensity", spec.intensity or 3, level, true),
    period = C.count(WHERE, "period", spec.period or 5000, level),
    max_children = C.count(WHERE, "max_children", spec.max_children or math.huge, level, true),
    extra_arguments = spec.extra_arguments or {},
  }
end

-- The process -----------------------------------------------------------------------

local me
local sup        -- { name, limiter }
local settings   -- what check made
local by_pid     -- pid -> { spec, start, pid }
local restarting -- child -> the pid that it had
local count      -- of all these

local function start(child)
  local pid, more = C.start(child.start)
  if pid then
    child.pid = pid
    by_pid[pid] = child
  end
  return pid, more
end

local function gone()
  count = count - 1
end

-- The restart of a child is tried again behind what else waits in the mailbox.
local function try_again(child, old, reason)
  C.report(sup, "start_error", child, reason)
  restarting[old] = child
  actor.cast(actor.self(), { "$try_again", old })
end

local function restart(child, old, reason)
  local may = sup.limiter:note(actor.now())
  if reason ~= nil then C.report(sup, "child_terminated", child, reason, old) end
  if not may then
    C.report(sup, "shutdown", child, "reached_max_restart_intensity")
    actor.exit "shutdown"
  end
  local pid, why = start(child)
  if pid then return end
  if why == "ignore" then return gone() end
  try_again(child, old, why)
end

local function on_exit(pid, reason)
  if pid == me.parent then actor.exit(reason) end
  local child = by_pid[pid]
  if not child then return end
  by_pid[pid] = nil
  child.pid = nil
  local kind, quiet = child.restart, B.is_quiet(reason)
  if kind == "permanent" or kind == "transient" and not quiet then
    return restart(child, pid, reason)
  end
  if not quiet then C.report(sup, "child_terminated", child, reason, pid) end
  gone()
end

local function on_try_again(old)
  local child = restarting[old]
  if not child then return end
  restarting[old] = nil
  restart(child, old)
end

-- The end of all ----------------------------------------------------------------------

-- What a child that lives at the deadline is told; the deadlines of all run together.
local function ask_to_end(refs, deadlines)
  local n = 0
  for pid, child in pairs(by_pid) do
    n = n + 1
    refs[actor.monitor(pid)] = child
    local how = child.shutdown
    actor.exit(pid, how == "brutal_kill" and "kill" or "shutdown")
    if type(how) == "number" and not deadlines[how] then
      deadlines[how] = true
      deadlines[#deadlines + 1] = how
    end
  end
  table.sort(deadlines)
  return n
end

local function kill_overdue(refs, how)
  for _, child in pairs(refs) do
    if child.shutdown == how then
      actor.exit(child.pid, "kill")
      child.killed = true
    end
  end
end

-- Children on other nodes that were killed in vain: nobody waits for a node that hangs.
local function give_up_far(refs)
  local n = 0
  for ref, child in pairs(refs) do
    if (child.killed or child.shutdown == "brutal_kill") and C.is_far(child.pid) then
      actor.demonitor(ref, { flush = true })
      C.report(sup, "shutdown_error", child, "timeout", child.pid)
      refs[ref] = nil
      n = n + 1
    end
  end
  return n
end

local function terminate()
  local refs, deadlines = {}, {}
  local t0 = actor.now()
  local left = ask_to_end(refs, deadlines)
  local next_deadline, given_up = 1, false
  -- A child that was dead already tells why by its EXIT message alone.
  local reasons = {}
  local serve = actor.receiver(
    on({ "DOWN", V.ref, "process", V.pid, V.reason }, function(ref, pid, reason)
      local child = refs[ref]
      if not child then return end
      refs[ref] = nil
      left = left - 1
      reason = reason == "noproc" and reasons[pid] or reason
      if not C.is_asked_end(child, reason) then C.report(sup, "shutdown_error", child, reason, pid) end
    end),
    on({ "EXIT", V.pid, V.reason }, function(pid, reason) reasons[pid] = reason end))
  while left > 0 do
    local how = deadlines[next_deadline]
    if how then
      local _, timeout = serve(math.max(t0 + how - actor.now(), 0))
      if timeout == "timeout" then
        kill_overdue(refs, how)
        next_deadline = next_deadline + 1
      end
    else
      local _, timeout = serve(not given_up and C.FAR_MS or nil)
      if timeout == "timeout" then
        left = left - give_up_far(refs)
        given_up = true
      end
    end
  end
end

-- Requests ----------------------------------------------------------------------------

local requests = {}

local function own_spec(spec)
  return refuse_significant(C.check(WHERE, spec, false, -1), -1)
end

function requests.start_child(...)
  local spec = ...
  if count >= settings.max_children then return { "error", "max_children" } end
  local child
  if settings.child then
    child = { start = C.with_arguments(settings.extra_arguments, settings.child.start, ...) }
    spec = settings.child
  else
    local ok, checked = pcall(own_spec, spec)
    if not ok then return { "bad", checked } end
    spec = checked
    child = { id = spec.id, start = C.with_arguments(settings.extra_arguments, spec.start) }
  end
  child.restart, child.shutdown, child.type = spec.restart, spec.shutdown, spec.type
  child.cause = sup.name .. "/" -- one cause for the reports of all children
  local pid, more = start(child)
  if not pid then return { "error", more } end
  count = count + 1
  if child.restart == "temporary" then child.start = nil end -- never again
  return { "ok", pid, more }
end

function requests.terminate_child(pid)
  local child = by_pid[pid]
  if not child then
    if not restarting[pid] then return { "error", "not_found" } end
    restarting[pid] = nil
  else
    C.stop(sup, child)
    by_pid[pid] = nil
  end
  gone()
  return { "ok", true }
end

function requests.which_children()
  local list = {}
  for _, child in pairs(by_pid) do list[#list + 1] = C.entry(child) end
  for _, child in pairs(restarting) do
    child.restarting = true
    list[#list + 1] = C.entry(child)
    child.restarting = nil
  end
  for _, entry in ipairs(list) do
    if entry.id == nil then entry.id, entry[1] = "undefined", "undefined" end
  end
  return { "ok", list }
end

function requests.count_children()
  local active, supervisors = 0, 0
  for _, child in pairs(by_pid) do
    active = active + 1
    if child.type == "supervisor" then supervisors = supervisors + 1 end
  end
  for _, child in pairs(restarting) do
    if child.type == "supervisor" then supervisors = supervisors + 1 end
  end
  return { "ok", { specs = settings.child and 1 or count, active = active, supervisors = supervisors,
    workers = count - supervisors } }
end

local function same(pid) return pid end

local function on_call(from, request)
  if B.is_theirs(request) then
    return actor.reply(from, require("luactor._otp").supervisor(request, requests, same, settings.child ~= nil))
  end
  if not settings.child and C.is_refused(from, request) then
    return actor.reply(from, { "error", "not_allowed" })
  end
  local f = type(request) == "table" and requests[request[1]]
  actor.reply(from, f and f(table.unpack(request, 2, request["$n"] or #request)) or { "error", { "badcall", request } })
end

local function on_other(msg)
  require("luactor.log").error("supervisor %s: a message that it does not expect: %s", sup.name,
    require("luactor._system").show(msg))
end

-- System ------------------------------------------------------------------------------

local function use(spec)
  settings = spec
  sup.limiter = C.limiter(spec.intensity, spec.period, sup.limiter)
end

local function state()
  return { name = sup.name, strategy = "one_for_one", intensity = settings.intensity, period = settings.period,
    max_children = settings.max_children, children = count, restarts = sup.limiter.total }
end

-- The children that run keep what they were started with until they end, but take the new ways to
-- be restarted and stopped.
local function change(new, _, extra)
  if type(new) == "string" then
    package.loaded[new] = nil
    new = require(new)
  end
  if type(new) == "table" and type(new.init) == "function" then new = new.init(extra) end
  local spec = check(new, 0)
  use(spec)
  if spec.child then
    for _, child in pairs(by_pid) do
      child.shutdown, child.type = spec.child.shutdown, spec.child.type
      if child.start then child.restart = spec.child.restart end
    end
  end
end

-- Made when the module is loaded, so that the image of such processes holds it.
local serve = actor.receiver(
  on({ "EXIT", V.pid "pid", V.reason }, on_exit),
  on({ "$gen_call", V.from "table", V.request }, on_call),
  on({ "$gen_cast", { "$try_again", V.old } }, on_try_again),
  on({ "EXIT", "host", V.reason }, actor.exit), -- the host stops, and the parent is gone
  B.clauses(on_exit, on(actor._, on_other)))

---What the process of a dynamic supervisor runs. Not to be called.
function M.enter(handshake, spec)
  me = {
    behaviour = "dynamic_supervisor",
    name = spec.name or "dynamic_supervisor",
    get = state,
    set = function() end, -- of processes: it cannot be replaced
    terminate = terminate,
    change = change,
  }
  B.begin(handshake, me)
  actor.trap_exit(true)
  sup = { name = spec.name or tostring(actor.self()) }
  by_pid, restarting, count = {}, {}, 0
  use(spec)
  B.ready()
  while true do serve() end
end

-- Clients ------------------------------------------------------------------------------

local object = C.class("luactor.dynamic_supervisor", M)

---The supervisor that lives at a pid, on this side. Not for programs.
M.receive = object

---Start a supervisor without children, linked to the caller. Suspends. Raises for a bad spec.
---@param spec luactor.DynamicSupervisorSpec
---@return luactor.Supervisor
function M.start_link(spec)
  local checked = check(spec, 2)
  local name = checked.name or "dynamic_supervisor"
  return object((require("luactor._start").start("dynamic_supervisor", name, { link = true, name = checked.name }, checked)))
end

---Start a child. Of the common spec: the arguments go behind those of the spec. Without one, the argument is the child's
---spec. Suspends until it has started.
---@param s luactor.Supervisor|luactor.Dest
---@param ... any
---@return luactor.Pid? pid, any  the server object if `start` gave one; nil, reason: "max_children", "ignore", or what the
---start failed with
function M.start_child(s, ...)
  local request = { "start_child", ... }
  request["$n"] = select("#", ...) + 1
  return C.ask("start_child", s, 2, request)
end

---Stop a child. It is not restarted.
---@param pid luactor.Pid
---@return true?, "not_found"?
function M.terminate_child(s, pid)
  if type(pid) == "table" and pid.pid then pid = pid.pid end
  if type(pid) ~= "userdata" then
    error(("bad argument #2 to 'terminate_child' (pid expected, got %s)"):format(type(pid)), 2)
  end
  return C.ask("terminate_child", s, 2, { "terminate_child", pid })
end

---The children, in no order: as luactor.supervisor's; id is "undefined" for those of the common spec.
---@return luactor.Child[]
function M.which_children(s)
  return C.ask("which_children", s, 2, { "which_children" })
end

---specs: 1 with a common spec, else as many as children.
---@return { specs: integer, active: integer, supervisors: integer, workers: integer }
function M.count_children(s)
  return C.ask("count_children", s, 2, { "count_children" })
end

return M

-- A supervisor: a process that starts others, and starts them again when they fail.
--
--   local supervisor = require "luactor.supervisor"
--   local s = supervisor.start_link{
--     strategy = "one_for_one", intensity = 3, period = 5000,
--     children = {
--       { id = "store", start = { "app.store.start_link", "data" } },
--       { id = "server", start = { "app.server.start_link", 8080 }, restart = "transient" },
--     },
--   }
--
-- Meaning and order of all that happens are those of OTP's supervisor. Children start from left
-- to right and are stopped from right to left. The supervisor ends with its parent.

local actor = require "luactor"
local B = require "luactor._behaviour"
local C = require "luactor._children"

local V, on = actor.var, actor.on

local M = {}

-- Settings --------------------------------------------------------------------------

---@class luactor.SupervisorSpec
---@field strategy "one_for_one"|"one_for_all"|"rest_for_one"|nil  whom a failure restarts with it; default "one_for_one"
---@field intensity integer?  most restarts ...                    default 3
---@field period number?      ... within so many ms                default 5000
---@field auto_shutdown "never"|"any_significant"|"all_significant"|nil  end when significant children have; default "never"
---@field children luactor.ChildSpec[]?
---@field name string?        to be registered

local WHERE <const> = "supervisor"
local KNOWN <const> = { strategy = true, intensity = true, period = true, auto_shutdown = true, children = true, name = true }

local function check_significant(auto_shutdown, child, level)
  if child.significant and auto_shutdown == "never" then
    error(("supervisor: child '%s': bad field 'significant' (true does not go with auto_shutdown = 'never')"):format(
      tostring(child.id)), level + 1)
  end
end

local function check(spec, level)
  level = level + 1
  if type(spec) ~= "table" then
    error(("supervisor: bad argument #1 (table expected, got %s)"):format(type(spec)), level)
  end
  C.known(WHERE, spec, KNOWN, level)
  if spec.strategy == "simple_one_for_one" then
    C.bad(WHERE, "strategy", "'one_for_one', 'one_for_all', 'rest_for_one', or luactor.dynamic_supervisor", spec.strategy, level)
  end
  if spec.name ~= nil and type(spec.name) ~= "string" then C.bad(WHERE, "name", "string", spec.name, level) end
  if spec.children ~= nil and type(spec.children) ~= "table" then
    C.bad(WHERE, "children", "list of child specs", spec.children, level)
  end
  local all = {
    name = spec.name,
    strategy = C.one_of(WHERE, "strategy", { "one_for_one", "one_for_all", "rest_for_one" },
      spec.strategy or "one_for_one", level),
    auto_shutdown = C.one_of(WHERE, "auto_shutdown", { "never", "any_significant", "all_significant" },
      spec.auto_shutdown or "never", level),
    intensity = C.count(WHERE, "intensity", spec.intensity or 3, level, true),
    period = C.count(WHERE, "period", spec.period or 5000, level),
    children = {},
  }
  local seen = {}
  for i, child in ipairs(spec.children or {}) do
    child = C.check(WHERE, child, true, level)
    if seen[child.id] then
      error(("supervisor: bad field 'children' (duplicate id '%s')"):format(tostring(child.id)), level)
    end
    seen[child.id] = true
    check_significant(all.auto_shutdown, child, level)
    all.children[i] = child
  end
  return all
end

-- The process -----------------------------------------------------------------------

local me
local sup        -- { name, strategy, auto_shutdown, limiter }
local children   -- in the order of their starts
local by_id, by_pid

local function start(child)
  local pid, more = C.start(child.start)
  if pid then
    child.pid, child.restarting = pid, nil
    by_pid[pid] = child
  end
  return pid, more
end

local function position(child)
  for i, c in ipairs(children) do
    if c == child then return i end
  end
end

local function remove(child)
  by_id[child.id] = nil
  table.remove(children, position(child))
end

local function append(child)
  children[#children + 1] = child
  by_id[child.id] = child
end

-- Take the child for ended, whatever comes of it.
local function forget_pid(child)
  if child.pid then by_pid[child.pid] = nil end
  child.pid, child.restarting = nil, nil
end

local function stop(child)
  if child.pid then C.stop(sup, child) end
  forget_pid(child)
end

-- Stop the children from the last one to that at `first`. Temporary ones are gone then.
local function stop_down_to(first)
  for i = #children, first, -1 do
    local child = children[i]
    stop(child)
    if child.restart == "temporary" then
      table.remove(children, i)
      by_id[child.id] = nil
    end
  end
end

-- Start the children from `first` on; the one that does not, and the reason.
local function start_from(first)
  local i = first
  while children[i] do
    local child = children[i]
    local pid, reason = start(child)
    if not pid and reason ~= "ignore" then return child, reason end
    if not pid and child.restart == "temporary" then
      remove(child)
    else
      i = i + 1
    end
  end
end

-- Whose restart failed is restarted again, behind what else waits in the mailbox.
local function try_again(child, reason)
  C.report(sup, "start_error", child, reason)
  child.pid, child.restarting = nil, true
  actor.cast(actor.self(), { "$try_again", child.id })
end

local restarts = {}

function restarts.one_for_one(child)
  local pid, reason = start(child)
  if pid then return end
  if reason == "ignore" then
    child.restarting = nil
  else
    try_again(child, reason)
  end
end

local function restart_from(first)
  stop_down_to(first)
  local failed, reason = start_from(first)
  if failed then try_again(failed, reason) end
end

function restarts.rest_for_one(child)
  restart_from(position(child))
end

function restarts.one_for_all()
  restart_from(1)
end

-- `reason` and `pid`: of the end that has to be reported.
local function restart(child, reason, pid)
  local may = sup.limiter:note(actor.now())
  if pid then C.report(sup, "child_terminated", child, reason, pid) end
  if may then return restarts[sup.strategy](child) end
  C.report(sup, "shutdown", child, "reached_max_restart_intensity")
  child.restarting = nil
  actor.exit "shutdown"
end

local function has_significant()
  for _, child in ipairs(children) do
    if child.significant and (child.pid or child.restarting) then return true end
  end
end

-- A child has ended, and is not restarted.
local function settle(child)
  child.restarting = nil
  if child.restart == "temporary" then remove(child) end
  if child.significant and (sup.auto_shutdown == "any_significant"
      or sup.auto_shutdown == "all_significant" and not has_significant()) then
    actor.exit "shutdown"
  end
end

local function on_exit(pid, reason)
  if pid == me.parent then actor.exit(reason) end
  local child = by_pid[pid]
  if not child then return end
  by_pid[pid] = nil
  child.pid = nil
  local kind = child.restart
  if kind == "permanent" or kind == "transient" and not B.is_quiet(reason) then
    return restart(child, reason, pid)
  end
  if not B.is_quiet(reason) then C.report(sup, "child_terminated", child, reason, pid) end
  settle(child)
end

local function on_try_again(id)
  local child = by_id[id]
  if child and child.restarting then restart(child) end
end

-- Requests ----------------------------------------------------------------------------

local requests = {}

local function started(pid, more)
  if pid then return { "ok", pid, more } end
  return { "error", more }
end

function requests.start_child(spec)
  local there = by_id[spec.id]
  if there then
    return { "error", there.pid and { "already_started", there.pid } or "already_present" }
  end
  local ok, message = pcall(check_significant, sup.auto_shutdown, spec, 0)
  if not ok then return { "bad", message } end
  local pid, more = start(spec)
  if pid or more == "ignore" and spec.restart ~= "temporary" then append(spec) end
  return started(pid, more)
end

function requests.terminate_child(id)
  local child = by_id[id]
  if not child then return { "error", "not_found" } end
  stop(child)
  if child.restart == "temporary" then remove(child) end
  return { "ok", true }
end

-- A child that does not run, for what asks for one; or the answer.
local function stopped(id)
  local child = by_id[id]
  if not child then return nil, { "error", "not_found" } end
  if child.pid then return nil, { "error", "running" } end
  if child.restarting then return nil, { "error", "restarting" } end
  return child
end

function requests.restart_child(id)
  local child, answer = stopped(id)
  return answer or started(start(child))
end

function requests.delete_child(id)
  local child, answer = stopped(id)
  if answer then return answer end
  remove(child)
  return { "ok", true }
end

function requests.which_children()
  local list = {}
  for i = #children, 1, -1 do list[#list + 1] = C.entry(children[i]) end
  return { "ok", list }
end

function requests.count_children()
  local active, supervisors = 0, 0
  for _, child in ipairs(children) do
    if child.pid then active = active + 1 end
    if child.type == "supervisor" then supervisors = supervisors + 1 end
  end
  return { "ok", { specs = #children, active = active, supervisors = supervisors, workers = #children - supervisors } }
end

function requests.get_childspec(id)
  local child = by_id[id]
  if not child then return { "error", "not_found" } end
  return { "ok", { id = child.id, start = child.start, restart = child.restart, shutdown = child.shutdown,
    type = child.type, significant = child.significant } }
end

local function id_of(given)
  if by_id[given] == nil and type(given) == "userdata" and by_id[tostring(given)] then return tostring(given) end
  return given
end

local function on_call(from, request)
  if B.is_theirs(request) then
    return actor.reply(from, require("luactor._otp").supervisor(request, requests, id_of))
  end
  if C.is_refused(from, request) then return actor.reply(from, { "error", "not_allowed" }) end
  local f = type(request) == "table" and requests[request[1]]
  actor.reply(from, f and f(request[2]) or { "error", { "badcall", request } })
end

local function on_other(msg)
  require("luactor.log").error("supervisor %s: a message that it does not expect: %s", sup.name,
    require("luactor._system").show(msg))
end

-- System ------------------------------------------------------------------------------

local function state()
  local list = {}
  for i, child in ipairs(children) do list[i] = C.entry(child) end
  return { name = sup.name, strategy = sup.strategy, intensity = sup.limiter.intensity, period = sup.limiter.period,
    auto_shutdown = sup.auto_shutdown, children = list, restarts = sup.limiter.total }
end

local function use(spec)
  sup.strategy, sup.auto_shutdown = spec.strategy, spec.auto_shutdown
  sup.limiter = C.limiter(spec.intensity, spec.period, sup.limiter)
end

-- New specs take the place of the old ones with the same ids, whose processes go on; nobody is
-- started or stopped. Children without a new spec stay, behind the others.
local function change(new, _, extra)
  if type(new) == "string" then
    package.loaded[new] = nil
    new = require(new)
  end
  if type(new) == "table" and type(new.init) == "function" then new = new.init(extra) end
  local spec = check(new, 0)
  local list = {}
  for i, child in ipairs(spec.children) do
    local old = by_id[child.id]
    if old then
      child.pid, child.restarting = old.pid, old.restarting
      if old.pid then by_pid[old.pid] = child end
    end
    by_id[child.id] = child
    list[i] = child
  end
  for _, child in ipairs(children) do
    if by_id[child.id] == child then list[#list + 1] = child end
  end
  children = list
  use(spec)
end

-- Made when the module is loaded, so that the image of such processes holds it.
local serve = actor.receiver(
  on({ "EXIT", V.pid "pid", V.reason }, on_exit),
  on({ "$gen_call", V.from "table", V.request }, on_call),
  on({ "$gen_cast", { "$try_again", V.id } }, on_try_again),
  on({ "EXIT", "host", V.reason }, actor.exit), -- the host stops, and the parent is gone
  B.clauses(on_exit, on(actor._, on_other)))

---What the process of a supervisor runs. Not to be called.
function M.enter(handshake, spec)
  me = {
    behaviour = "supervisor",
    name = spec.name or "supervisor",
    get = state,
    set = function() end, -- of children and processes: it cannot be replaced
    terminate = function() stop_down_to(1) end,
    change = change,
  }
  B.begin(handshake, me)
  actor.trap_exit(true)
  sup = { name = spec.name or tostring(actor.self()) }
  children, by_id, by_pid = spec.children, {}, {}
  for _, child in ipairs(children) do by_id[child.id] = child end
  use(spec)
  local failed, reason = start_from(1)
  if failed then
    C.report(sup, "start_error", failed, reason)
    stop_down_to(1)
    actor.exit { "shutdown", { "failed_to_start_child", failed.id, reason } }
  end
  B.ready()
  while true do serve() end
end

-- Clients ------------------------------------------------------------------------------

local object = C.class("luactor.supervisor", M)

---The supervisor that lives at a pid, on this side. Not for programs.
M.receive = object

---Start a supervisor, linked to the caller, with its children. Suspends until all have started. Raises for a bad spec
---before anything is started. When a child does not start, those before it are stopped in reverse, and this raises a
---luactor.StartError with reason { "shutdown", { "failed_to_start_child", id, reason } }.
---@param spec luactor.SupervisorSpec
---@return luactor.Supervisor
function M.start_link(spec)
  local checked = check(spec, 2)
  local name = checked.name or "supervisor"
  return object((require("luactor._start").start("supervisor", name, { link = true, name = checked.name }, checked)))
end

---Start a further child, the last in the order. Suspends until it has started.
---@param s luactor.Supervisor|luactor.Dest
---@param spec luactor.ChildSpec
---@return luactor.Pid? pid, any  the server object if `start` gave one; nil, reason: "already_present", { "already_started",
---pid }, "ignore", or what the start failed with
function M.start_child(s, spec)
  return C.ask("start_child", s, 2, { "start_child", C.check(WHERE, spec, true, 2) })
end

---Stop a child; its spec stays, unless it is temporary.
---@param id any
---@return true?, "not_found"?
function M.terminate_child(s, id)
  return C.ask("terminate_child", s, 2, { "terminate_child", id })
end

---Start a child that was stopped.
---@param id any
---@return luactor.Pid?, any  nil, "not_found", "running", "restarting", or what the start failed with
function M.restart_child(s, id)
  return C.ask("restart_child", s, 2, { "restart_child", id })
end

---Take away the spec of a child that does not run.
---@param id any
---@return true?, "not_found"|"running"|"restarting"|nil
function M.delete_child(s, id)
  return C.ask("delete_child", s, 2, { "delete_child", id })
end

---The children, the last started first: { id =, pid =, type =, status = }, also as [1] id, [2] pid, "undefined" or
---"restarting", [3] type.
---@return luactor.Child[]
function M.which_children(s)
  return C.ask("which_children", s, 2, { "which_children" })
end

---@return { specs: integer, active: integer, supervisors: integer, workers: integer }
function M.count_children(s)
  return C.ask("count_children", s, 2, { "count_children" })
end

---The spec of a child, with all defaults.
---@param id any
---@return luactor.ChildSpec?, "not_found"?
function M.get_childspec(s, id)
  return C.ask("get_childspec", s, 2, { "get_childspec", id })
end

return M

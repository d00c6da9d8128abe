-- Look into a process of any behaviour, stop it for a while, change its code: as OTP's sys.
--
--   local sys = require "luactor.sys"
--   print(sys.get_state(c).n)
--   sys.trace(c, actor.self())        -- { "trace", pid, { "in", msg } } and so on
--
-- `server` is a server object, a pid or a name. Each function suspends, `ms` at most (default 5000); it raises a
-- table with the fields reason, dest and request, readable by tostring.

local actor = require "luactor"

local V, on = actor.var, actor.on

local M = {}

---@class luactor.SysError
---@field reason any
---@field dest any
---@field request any
local SysError = { __name = "luactor.sys_error" }
SysError.__index = SysError

function SysError:__tostring()
  return ("system message to %s failed: %s"):format(tostring(self.dest),
    require("luactor._start").reason_text(self.reason))
end

local function fail(reason, dest, request)
  error(setmetatable({ reason = reason, dest = dest, request = request }, SysError), 0)
end

local function dest_of(server)
  return type(server) == "table" and (server._to or server.pid) or server
end

-- A process that asks itself would wait for its own answer.
local function check_other(dest, request)
  local pid = type(dest) == "string" and actor.whereis(dest) or dest
  if pid == actor.self() then fail("calling_self", dest, request) end
end

-- Send a request and wait for its answer.
local function ask(server, request, ms)
  local dest = dest_of(server)
  if type(dest) ~= "userdata" and type(dest) ~= "string" and type(dest) ~= "table" then
    error(("luactor.sys: server, pid or name expected, got %s"):format(type(dest)), 3)
  end
  check_other(dest, request)
  local tag = actor.alias()
  local mon = actor.monitor(dest)
  actor.try_send(dest, { "system", { actor.self(), tag }, request })
  local what, value = actor.receive(
    on({ tag, V.value }, function(v) return "reply", v end),
    on({ "DOWN", mon, "process", V._, V.reason }, function(r) return "down", r end),
    ms or 5000)
  actor.unalias(tag)
  actor.demonitor(mon, { flush = true })
  if what == "reply" then return value end
  actor.flush { tag, V._ }
  fail(what == "down" and value or "timeout", dest, request)
end

-- The value of an answer { "ok", value }.
local function checked(server, request, ms)
  local answer = ask(server, request, ms)
  if type(answer) == "table" then
    if answer[1] == "ok" then return answer[2] end
    if answer[1] == "error" then fail(answer[2], dest_of(server), request) end
  end
  return answer
end

---The state of a server: a copy.
---@return any
function M.get_state(server, ms)
  return checked(server, "get_state", ms)
end

---Put `f(state)` in the place of the state; returns the new one. `f` travels, and runs in the server; when it
---fails, the state stays and this raises.
---@param f fun(state: any): any
---@return any
function M.replace_state(server, f, ms)
  if type(f) ~= "function" then
    error(("bad argument #2 to 'replace_state' (function expected, got %s)"):format(type(f)), 2)
  end
  return checked(server, { "replace_state", f }, ms)
end

---A table with pid, behaviour, class, status ("running", "suspended"), parent, name, log, state (as format_status
---shows it).
---@return table
function M.get_status(server, ms)
  return ask(server, "get_status", ms)
end

---Serve nothing but system messages until resume.
function M.suspend(server, ms)
  checked(server, "suspend", ms)
  return true
end

---Go on after suspend.
function M.resume(server, ms)
  checked(server, "resume", ms)
  return true
end

---End the server: its terminate runs. Returns before it is gone.
function M.terminate(server, reason, ms)
  checked(server, { "terminate", reason }, ms)
  return true
end

---End the server and wait until it is gone. Raises when it is not there, when it ends with another reason, or on
---"timeout".
---@param reason any   default "normal"
---@param ms number?   default: no limit
function M.stop(server, reason, ms)
  if reason == nil then reason = "normal" end
  local dest = dest_of(server)
  local request = { "terminate", reason }
  check_other(dest, request)
  -- An address that is off: the answer is of no use, the end is what counts.
  local nowhere = actor.alias()
  actor.unalias(nowhere)
  local mon = actor.monitor(dest)
  actor.try_send(dest, { "system", { actor.self(), nowhere }, request })
  local why, timed_out = actor.receive({ "DOWN", mon, "process", V._, V.reason }, ms)
  if timed_out then
    actor.demonitor(mon, { flush = true })
    fail("timeout", dest, request)
  end
  if not M.same(why, reason) then fail(why, dest, request) end
  return true
end

---Are two reasons equal, element by element?
---@private
function M.same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  for k, v in pairs(a) do
    if not M.same(v, b[k]) then return false end
  end
  for k in pairs(b) do
    if a[k] == nil then return false end
  end
  return true
end

---Take new code while suspended. The class that `module` names is loaded anew in the server's process (nil: as it
---is; a class: this one), then its code_change(self, old_version, extra) runs; what it returns, if anything, is the
---new state. The server must be suspended.
---@param module string|table|nil
---@param old any
---@param extra any
function M.change_code(server, module, old, extra, ms)
  checked(server, { "change_code", module, old, extra }, ms)
  return true
end

---Write events to the log (true), send them as { "trace", pid, event } to a pid, or stop (false). Events are
---{ "in", message }, { "out", reply, to, state }, { "noreply", state }.
---@param how boolean|luactor.Pid
function M.trace(server, how, ms)
  checked(server, { "debug", { "trace", how } }, ms)
  return true
end

---Keep the last `n` (10) events (true), stop (false), "get" them, or "print" them to the log.
---@param what boolean|"get"|"print"
---@param n integer?
function M.log(server, what, n, ms)
  local answer = checked(server, { "debug", { "log", n and { what, n } or what } }, ms)
  return what == "get" and answer or true
end

---Count (true), stop (false), or "get" a table with start_time, current_time, reductions, messages_in, messages_out.
---@param what boolean|"get"
function M.statistics(server, what, ms)
  local answer = checked(server, { "debug", { "statistics", what } }, ms)
  return what == "get" and answer or true
end

---Run `f(state, event, name)` in the server for each event; it returns its new state, or "done" to be removed.
---@param id any       two with one id are one
---@param f function
---@param state any
function M.install(server, id, f, state, ms)
  if type(f) ~= "function" then
    error(("bad argument #3 to 'install' (function expected, got %s)"):format(type(f)), 2)
  end
  checked(server, { "debug", { "install", { id, f, state } } }, ms)
  return true
end

---@param id any
function M.remove(server, id, ms)
  checked(server, { "debug", { "remove", id } }, ms)
  return true
end

---No trace, log, statistics or installed functions any more.
function M.no_debug(server, ms)
  checked(server, { "debug", "no_debug" }, ms)
  return true
end

return M

-- What all behaviours share: the process of one, what it answers to luactor.sys, how it ends.
-- Not for programs.
--
-- The starter:  luactor._start spawns the entry function with a handshake, and waits until init is
--               through, or the process gone.
-- The process:  B.begin(handshake, me) says what runs here; after init B.ready() answers the
--               starter; then the behaviour's own loop receives with B.clauses(...) among its
--               clauses.
-- The end:      always by an error or by actor.exit(reason); B's last function (see core.last) then
--               calls me.terminate(reason) on a fresh stack. So no message is paid for with
--               a pcall, and an error keeps its traceback.
--
-- A process runs one behaviour, so what describes it is in locals of this module. Every process of
-- a behaviour holds this module, so what only the starter needs, or only few processes, is in
-- others: luactor._start, luactor._system.

local actor = require "luactor"
local core = require "luactor._core"

local V, on = actor.var, actor.on
-- Found now, once for the image that the processes start from.
local parent, post, unlink, exit, reply = actor.parent, actor.post, actor.unlink, actor.exit, actor.reply
local set_last, report = core.last, core.report

local B = {}

---A class again, in the process that runs it: see travel in luactor._start.
function B.arrive(where)
  if type(where) == "string" then return require(where) end
  if #where == 2 and type(where[1]) == "string" then return require(where[1])[where[2]] end
  return where
end

---What a class is called, in the process that runs it: by itself, else after where it was found.
function B.name_of(class, where, behaviour)
  if class._name then return tostring(class._name) end
  if type(where) == "string" then return where end
  return where == class and behaviour or where[1] .. "." .. where[2]
end

---What runs in this process. The behaviour fills it in.
---@class luactor.Running
---@field behaviour string
---@field name string                      of the class
---@field class table
---@field get fun(): any                   the state as sys.get_state shows it
---@field set fun(state: any)              for sys.replace_state
---@field terminate fun(reason: any)       calls the callback
---@field change fun(class: table?, old: any, extra: any)  calls code_change
---@field format (fun(how: string): any)?  what sys.get_status shows for the state
---@field parent userdata?                 who is linked to this process as its parent
---@field debug luactor.Debug?             what sys.trace, log and the like have asked for
local me

local starter, tag

-- Reasons that are no crash.
local function is_quiet(reason)
  return reason == "normal" or reason == "shutdown"
    or type(reason) == "table" and #reason == 2
      and (reason[1] == "shutdown" or tostring(reason[1]) == "shutdown") -- Erlang's
end
B.is_quiet = is_quiet

-- The state as a crash report shows it; nil when it cannot be had.
local function state_shown()
  local ok, value = pcall(me.format or me.get, "terminate")
  return ok and value or nil
end

-- The process has failed, or ended itself.
local function last(reason)
  local quiet = is_quiet(reason)
  if tag then
    -- Init: the starter learns it from the DOWN message, not from the link.
    if starter then unlink(starter) end
    if not quiet then report() end
    return
  end
  -- A state that cannot travel cannot be shown.
  if not quiet and not pcall(report, state_shown()) then report() end
  me.terminate(reason)
end

-- The name is a key of a registry; or the starter learns who has it.
local function claim(reg, key)
  local ok, why = require("luactor.registry").register(reg, key)
  if ok then return end
  unlink(starter)
  post(starter, tag, why[1] == "already_registered" and { "already_started", why[2] } or why)
  exit "normal"
end

---First act of a behaviour's process.
---@param handshake table
---@param running luactor.Running
function B.begin(handshake, running)
  me = running
  starter, tag = parent(), handshake[1]
  if handshake[2] then me.parent = starter end
  if handshake[4] then require("luactor._system").begin(me, handshake[4]) end
  set_last(last)
  if handshake[3] then claim(handshake[3][1], handshake[3][2]) end
end

---Init is through: the starter goes on.
function B.ready()
  local t = tag
  tag = nil
  post(starter, t, "ok")
end

---Init does not want a process: the starter gets nil, "ignore".
function B.ignore()
  if starter then
    unlink(starter)
    post(starter, tag, "ignore")
  end
  exit "normal"
end

-- System messages -------------------------------------------------------------------

local serve_suspended

-- luactor._system has the rest: most processes never need it.
-- In Erlang's words: an atom or a tuple? luactor's own are strings and plain tables.
local function is_theirs(request)
  local kind = type(request)
  return kind == "userdata" or kind == "table" and getmetatable(request) ~= nil
end
B.is_theirs = is_theirs

local function system(from, request)
  local shape
  if is_theirs(request) then
    request, shape = require("luactor._otp").system(me, request)
  end
  if type(request) == "table" and request[1] == "terminate" then
    reply(from, shape and shape "ok" or "ok")
    exit(request[2])
  end
  local answer = require("luactor._system").handle(me, request, from)
  local ok, err = pcall(reply, from, shape and shape(answer) or answer)
  if not ok then
    answer = { "error", { "cannot_send", err } }
    reply(from, shape and shape(answer) or answer)
  end
  if request == "suspend" and not serve_suspended then
    serve_suspended = actor.receiver(
      on({ "system", V.from, V.request }, system),
      on({ "EXIT", me.parent or "nobody", V.reason }, function(why) exit(why) end))
    me.suspended = true
    while me.suspended do serve_suspended() end
    serve_suspended = nil
  end
end

---The clauses that every behaviour's receive has, with `...` behind them. `other(pid, reason)` gets the exit signals (as
---messages) of those that are not the parent. They depend on nothing, so that a behaviour can make its receiver when it
---is loaded, which is then part of the image that its processes start from.
function B.clauses(other, ...)
  return on({ "system", V.from, V.request }, system),
    on({ "EXIT", V.pid "pid", V.reason }, function(pid, reason)
      if pid == me.parent then exit(reason) end
      return other(pid, reason)
    end), ...
end

return B

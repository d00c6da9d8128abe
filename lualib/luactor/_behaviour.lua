-- What all behaviours share: how a process of one is started and what it answers to
-- luactor.sys, how it ends. Not for programs.
--
-- The starter:  B.start(...) spawns the entry function with a handshake, and waits until init is
--               through, or the process gone.
-- The process:  B.begin(handshake, me) says what runs here; after init B.ready() answers the
--               starter; then the behaviour's own loop receives with B.clauses() among its
--               clauses.
-- The end:      always by an error or by actor.exit(reason); B's last function (see core.last) then
--               calls me.terminate(reason) on a fresh stack. So no message is paid for with
--               a pcall, and an error keeps its traceback.
--
-- A process runs one behaviour, so what describes it is in locals of this module.

local actor = require "luactor"
local core = require "luactor._core"

local V, on = actor.var, actor.on

local B = {}

-- The starter ---------------------------------------------------------------------

---What start_link raises: the reason's elements, and fields.
---@class luactor.StartError
---@field reason any        why the process did not start
---@field behaviour string  "gen_server" and the like
---@field name string       the class's name
local StartError = {}
StartError.__index = StartError
StartError.__name = "luactor.start_error"

local function reason_text(reason)
  if type(reason) ~= "table" then return tostring(reason) end
  if reason[1] == "error" and #reason >= 2 then return tostring(reason[2]) end
  local parts = {}
  for i, v in ipairs(reason) do
    parts[i] = type(v) == "table" and reason_text(v) or tostring(v)
  end
  return table.concat(parts, ", ")
end
B.reason_text = reason_text

function StartError:__tostring()
  return ("%s '%s' did not start: %s"):format(self.behaviour, self.name, reason_text(self.reason))
end

-- Raised again in another process it is the same error.
function StartError:__transfer()
  return "luactor._behaviour", self.behaviour, self.name, self.reason
end

function B.start_error(behaviour, name, reason)
  local e = { reason = reason, behaviour = behaviour, name = name }
  if type(reason) == "table" then
    for i, v in ipairs(reason) do e[i] = v end
  else
    e[1] = reason
  end
  return setmetatable(e, StartError)
end

B.receive = B.start_error

-- Wait for the end of a process that failed to start; nothing of it stays in the mailbox.
local function bury(tag, mon)
  actor.receive { "DOWN", mon, "process", V._, V._ }
  actor.flush { tag, V._ }
end

local function copy(t)
  local out = {}
  for k, v in pairs(t) do out[k] = v end
  return out
end

-- "lualib/x.lua:12: bad option ..." without the place, which is not the caller's.
local function bare(err)
  return type(err) == "string" and err:gsub("^[^\n]-:%d+: ", "") or err
end

---Start a process of a behaviour and wait for the end of its init. Suspends. Returns the pid (and the
---reference, with opts.monitor), or nil, "ignore"; raises a luactor.StartError.
---@param behaviour string  for messages, and "luactor.<behaviour>.enter" is what the process runs
---@param name string       the class's name: label of the process
---@param opts table        of spawn_opt, and timeout
---@param level integer     of the caller, for errors in opts
---@return userdata? pid, any ref
function B.start(behaviour, name, opts, level, ...)
  local timeout = opts.timeout
  if timeout == "infinity" then timeout = nil end
  if timeout ~= nil and type(timeout) ~= "number" then
    error(("%s.start_opt: bad option 'timeout' (number expected, got %s)"):format(
      behaviour, type(timeout)), level + 1)
  end
  opts = copy(opts)
  opts.timeout = nil
  local keep_monitor = opts.monitor
  opts.monitor = true
  if opts.label == nil then opts.label = name end
  local given = opts.name
  if type(given) == "string" then
    local there = actor.whereis(given)
    if there then error(B.start_error(behaviour, name, { "already_started", there }), level) end
  end
  local tag = actor.ref()
  local ok, pid, mon = pcall(actor.spawn_opt, opts, "luactor." .. behaviour .. ".enter",
    { tag, opts.link and true or false }, ...)
  if not ok then
    local there = type(given) == "string" and actor.whereis(given)
    if there then error(B.start_error(behaviour, name, { "already_started", there }), level) end
    error(("%s '%s': %s"):format(behaviour, name, bare(pid)), level + 1)
  end
  local what, reason = actor.receive(
    on({ tag, V.what }, function(w) return w end),
    on({ "DOWN", mon, "process", pid, V.reason }, function(r) return "down", r end),
    timeout)
  if what == "ok" then
    if keep_monitor then return pid, mon end
    actor.demonitor(mon, { flush = true })
    return pid
  end
  if what == "down" then
    actor.unlink(pid)
  elseif what == "ignore" then
    bury(tag, mon)
    return nil, "ignore"
  else
    actor.unlink(pid)
    actor.exit(pid, "kill")
    bury(tag, mon)
    reason = "timeout"
  end
  error(B.start_error(behaviour, name, reason), level)
end

-- Classes -------------------------------------------------------------------------

-- Where a class was found: class -> name, or { module, field }.
local found = setmetatable({}, { __mode = "k" })
-- Not to be looked for again while as many modules are loaded.
local missed = setmetatable({}, { __mode = "k" })

local function holds(where, class)
  if type(where) == "string" then return package.loaded[where] == class end
  local m = package.loaded[where[1]]
  return type(m) == "table" and rawget(m, where[2]) == class
end

local function search(class)
  for name, m in pairs(package.loaded) do
    if rawequal(m, class) then return name end
  end
  for name, m in pairs(package.loaded) do
    if type(m) == "table" and m ~= _G then
      for field, value in next, m do
        if type(field) == "string" and rawequal(value, class) then return { name, field } end
      end
    end
  end
end

local function count_loaded()
  local n = 0
  for _ in next, package.loaded do n = n + 1 end
  return n
end

---How a class travels to the process that runs it: by name when a loaded module is it or holds it, else as
---it is, its functions with their upvalues.
function B.travel(class)
  local where = found[class]
  if where and holds(where, class) then return where end
  local n = count_loaded()
  if missed[class] == n then return class end
  where = search(class)
  found[class] = where
  if not where then missed[class] = n end
  return where or class
end

---The class again, in the process that runs it.
function B.arrive(where)
  if type(where) == "string" then return require(where) end
  if #where == 2 and type(where[1]) == "string" then return require(where[1])[where[2]] end
  return where
end

-- The process ----------------------------------------------------------------------

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
    or type(reason) == "table" and reason[1] == "shutdown" and #reason == 2
end
B.is_quiet = is_quiet

-- The process has failed, or ended itself.
local function last(reason)
  if tag then
    -- Init: the starter learns it from the DOWN message, not from the link.
    if starter then actor.unlink(starter) end
  else
    me.terminate(reason)
  end
  if not is_quiet(reason) then core.report() end
end

---First act of a behaviour's process.
---@param handshake table
---@param running luactor.Running
function B.begin(handshake, running)
  me = running
  starter, tag = actor.parent(), handshake[1]
  if handshake[2] then me.parent = starter end
  core.last(last)
end

---Init is through: the starter goes on.
function B.ready()
  local t = tag
  tag = nil
  actor.send(starter, { t, "ok" })
end

---Init does not want a process: the starter gets nil, "ignore".
function B.ignore()
  if starter then
    actor.unlink(starter)
    actor.send(starter, { tag, "ignore" })
  end
  actor.exit "normal"
end

-- System messages -------------------------------------------------------------------

local serve_suspended

-- luactor._system has the rest: most processes never need it.
local function system(from, request)
  local answer, stop = require("luactor._system").handle(me, request)
  local ok, err = pcall(actor.reply, from, answer)
  if not ok then actor.reply(from, { "error", { "cannot_send", err } }) end
  if stop then actor.exit(stop.reason) end
  if request == "suspend" and not serve_suspended then
    serve_suspended = actor.receiver(B.clauses())
    me.suspended = true
    while me.suspended do serve_suspended() end
    serve_suspended = nil
  end
end

local function parent_ended(reason)
  actor.exit(reason)
end

---The clauses that every behaviour's receive has, with `...` behind them.
function B.clauses(...)
  if me.parent then
    return on({ "system", V.from, V.request }, system),
      on({ "EXIT", me.parent, V.reason }, parent_ended), ...
  end
  return on({ "system", V.from, V.request }, system), ...
end

return B

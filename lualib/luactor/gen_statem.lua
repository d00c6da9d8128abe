-- A state machine: a process that is in one of several states, and treats events as the state says.
--
--   local gen_statem = require "luactor.gen_statem"
--   local next_state, state_timeout = gen_statem.next_state, gen_statem.state_timeout
--
--   local Door = gen_statem.define "door"
--   function Door:init(code)
--     self.code = code
--     return "locked"
--   end
--   function Door.state.locked.call:unlock(code)
--     if code ~= self.code then return "wrong" end
--     return "welcome", next_state "open"
--   end
--   function Door.state.open:enter() state_timeout(5000, "lock") end
--   function Door.state.open:state_timeout() next_state "locked" end
--
--   local d = Door:start_link "1234"
--   print(d:unlock "1234")
--
-- Actions (next_state, postpone, timeouts and so on) are functions that note what shall be done once the callback has
-- returned; so they may be called anywhere in it, or in its return. Order and meaning are those of OTP's gen_statem.
--
-- The queue. Events come from three places, served in this order:
--   queue    inserted by next_event, and postponed events that are tried again: a stack, next one on top
--   zeros    timeouts of zero milliseconds, oldest first
--   mailbox  calls, casts, other messages, timeouts; system messages only here
-- Postponed events wait in their order until the state changes.

local actor = require "luactor"
local core = require "luactor._core"
local B = require "luactor._behaviour"

local V, on = actor.var, actor.on
local unpack, type = table.unpack, type

local M = {}

local me        -- see luactor.Running
local class     -- what define made
local data      -- the 'self' of the callbacks
local state     -- the present state
local handlers  -- what class.state has for it: a function, a table or nil
local ending    -- { state } that terminate shall see, when it is another
local current   -- 'from' of the call whose method runs

-- What the running callback has asked for.
local phase     -- "init", "event", "enter"; nil: no callback runs
local next_name -- { state }
local repeating, postponing, collect
local stop      -- { reason, has_reply, reply }
local inserted  -- events of next_event
local wanted    -- timeouts to start: { key, ms, content, ... }

-- Pending events: { kind, content, extra }; extra is 'from' of a call, the name of a timeout.
local queue, queued = {}, 0
local postponed = {}
local zeros = {}   -- keys of timeouts of zero milliseconds
local timers = {}  -- key -> { content, name, id, timer }; without timer: of zero
local running = {} -- id -> key
local last_id = 0

local EVENT <const>, STATE <const> = "timeout", "state_timeout" -- keys; those of names are { name } in:
local names = {}

-- Actions ---------------------------------------------------------------------------

---What a call returns that will be answered later, by gen_statem.reply. All actions return it.
function M.noreply()
  return M.noreply
end
local noreply = M.noreply

---What init returns when there shall be no process: start_link returns nil, "ignore".
function M.ignore()
  return M.ignore
end

local function show(value)
  return require("luactor._system").show(value)
end

local function where()
  if state == nil then return me.name end
  return ("%s: state %s"):format(me.name, show(state))
end

local function demand(what, enter, init)
  if phase == "event" or phase == "enter" and enter or phase == "init" and init then return end
  if phase then
    error(("%s: '%s' is no action for %s"):format(where(), what, phase == "init" and "init" or "an enter call"), 3)
  end
  error(("gen_statem.%s: no callback of a state machine runs"):format(what), 3)
end

---Go to another state. Going to the present one is no change of state.
---@param name any
function M.next_state(name)
  demand("next_state")
  if name == nil then error("bad argument #1 to 'next_state' (state expected, got nil)", 2) end
  next_name = { name }
  return noreply
end

---Stay. For readers only: what a callback does that says nothing. May be returned without calling it.
function M.keep_state()
  return noreply
end

---Enter the present state once more: its enter call runs. May be returned without calling it.
function M.repeat_state()
  demand("repeat_state", true)
  repeating = true
  return noreply
end

---Put the event aside until the state has changed. May be returned without calling it.
function M.postpone()
  demand "postpone"
  postponing = true
  return noreply
end

---Insert an event, to be served before all that wait; several in the order of the calls.
---@param kind "internal"|"call"|"cast"|"info"|"timeout"|"state_timeout"
---@param content any
---@param extra any   `from` for a call
function M.next_event(kind, content, extra)
  demand("next_event", false, true)
  if type(kind) ~= "string" then
    error(("bad argument #1 to 'next_event' (kind of event expected, got %s)"):format(type(kind)), 2)
  end
  if kind == "call" and type(extra) ~= "table" then
    error(("bad argument #3 to 'next_event' ('from' of a call expected, got %s)"):format(type(extra)), 2)
  end
  inserted = inserted or {}
  inserted[#inserted + 1] = { kind, content, extra }
  return noreply
end

local function want(what, key, ms, content)
  demand(what, true, true)
  if ms ~= "infinity" and ms ~= "cancel" and ms ~= "update" and not (type(ms) == "number" and ms >= 0) then
    error(("bad argument #1 to '%s' (milliseconds, 'infinity', 'cancel' or 'update' expected, got %s)"):format(
      what, tostring(ms)), 2) -- it is called by a tail call
  end
  wanted = wanted or {}
  wanted[#wanted + 1] = { key, ms, content }
  return noreply
end

---Have the event "state_timeout" after `ms`, unless the state has changed before. "cancel" takes it back, "update"
---changes its content.
---@param ms number|"infinity"|"cancel"|"update"
---@param content any
function M.state_timeout(ms, content)
  return want("state_timeout", STATE, ms, content)
end

---Have the event "timeout" after `ms`, unless another event comes before; with a name, whatever happens meanwhile: a
---timeout of its own for each name.
---@param ms number|"infinity"|"cancel"|"update"
---@param content any
---@param name any
function M.timeout(ms, content, name)
  if name == nil then return want("timeout", EVENT, ms, content) end
  local key = names[name]
  if not key then
    key = { name }
    names[name] = key
  end
  return want("timeout", key, ms, content)
end

---End after this callback. In a call, `value` (if given) is its reply, sent before terminate.
---@param reason any
---@param ... any
function M.stop_with(reason, ...)
  demand("stop_with", true, true)
  stop = { reason = reason, has_reply = select("#", ...) > 0, reply = (...) }
  return noreply
end

---The garbage is collected before the machine waits for its next event.
function M.hibernate()
  demand("hibernate", true, true)
  collect = true
  return noreply
end

---Answer a call, from any process, once. (At once: not when the callback returns.)
---@param from table
---@param value any
function M.reply(from, value)
  core.reply_once(from, value)
  if me and me.debug then M.event("out", value, from[1]) end
  return noreply
end

---Who made the call whose method runs.
---@return table?
function M.from()
  return current
end

---The present state.
function M.current()
  return state
end

-- Actions may be returned without calling them. (No table: its keys would be functions, whose addresses differ in the
-- copies of an image.)
local function is_action(value)
  return value == noreply or value == M.postpone or value == M.keep_state or value == M.repeat_state
end

---@private
function M.event(...)
  require("luactor._system").event(me, { ... })
end
local event = M.event

-- Timeouts --------------------------------------------------------------------------

local function cancel(key)
  local entry = timers[key]
  if not entry then return end
  timers[key] = nil
  if entry.timer then
    running[entry.id] = nil
    actor.cancel(entry.timer)
    return
  end
  for i, k in ipairs(zeros) do
    if k == key then
      table.remove(zeros, i)
      break
    end
  end
end

local function start_timer(key, ms, content)
  local entry = timers[key]
  if ms == "update" then
    if entry then
      entry.content = content
      return
    end
    ms = 0
  end
  if entry then cancel(key) end
  if ms == "cancel" or ms == "infinity" then return end
  entry = { content = content }
  timers[key] = entry
  if ms == 0 then
    zeros[#zeros + 1] = key
    return
  end
  last_id = last_id + 1
  entry.id = last_id
  running[last_id] = key
  entry.timer = actor.send_after(ms, actor.self(), { "$statem_timeout", last_id })
  if me.debug then event("start_timer", { key, ms, content }, state) end
end

-- The event of a timeout whose time has come.
local function take_timeout(key)
  local content = timers[key].content
  timers[key] = nil
  if type(key) == "table" then return { "timeout", content, key[1] } end
  return { key, content }
end

-- Callbacks ------------------------------------------------------------------------------

local function set_state(name)
  state = name
  local h = class.state and class.state[name]
  if type(h) == "table" and next(h.call or {}) == nil and next(h.cast or {}) == nil then
    -- Tables that nobody filled are those of a misspelled name.
    local empty = true
    for field in pairs(h) do empty = empty and (field == "call" or field == "cast") end
    if empty then h = nil end
  end
  handlers = h
end

local function check_state(name)
  set_state(name)
  if handlers == nil and not class.handle_event then
    error(("%s: state %s is not defined"):format(me.name, show(name)), 0)
  end
end

-- What a callback has returned: actions that have run, or may run without arguments.
local function obey(...)
  for i = 1, select("#", ...) do
    local value = select(i, ...)
    if value ~= nil and value ~= noreply then
      if not is_action(value) then
        error(("%s: bad action %s (%s)"):format(where(), show(value), type(value)), 0)
      end
      value()
    end
  end
end

-- The method of a call has returned: its reply, and actions.
local function obey_call(from, value, ...)
  current = nil
  if type(value) == "function" and is_action(value) then
    obey(value, ...)
  else
    obey(...)
    if value ~= nil or not (postponing or stop) then M.reply(from, value) end
  end
end

local function run_method(f, request)
  local n = request["$n"] or #request
  if n <= 1 then
    return f(data)
  elseif n == 2 then
    return f(data, request[2])
  end
  return f(data, unpack(request, 2, n))
end

local function method_of(h, kind, content)
  local methods = h[kind]
  return type(methods) == "table" and type(content) == "table" and methods[content[1]] or nil
end

-- Nothing handles the event.
local function unhandled(kind, content, extra)
  if kind == "call" then
    M.reply(extra, { "badcall", content })
  elseif kind ~= "enter" then
    require("luactor.log").warn("%s: event %s that nothing handles: %s", where(), kind, show(content))
  end
end

local function dispatch(kind, content, extra)
  local h = handlers
  if type(h) == "function" then return obey(h(data, kind, content, extra)) end
  local f
  if kind == "call" or kind == "cast" then
    f = h and method_of(h, kind, content)
    if not f and not (h and h.event) then f = method_of(class, kind, content) end
    if f and kind == "call" then
      current = extra
      return obey_call(extra, run_method(f, content))
    elseif f then
      return obey(run_method(f, content))
    end
  elseif h and type(h[kind]) == "function" then
    return obey(h[kind](data, content, extra))
  end
  if h and h.event then return obey(h.event(data, kind, content, extra)) end
  if class.handle_event then return obey(class.handle_event(data, kind, content, state, extra)) end
  unhandled(kind, content, extra)
end

-- Does the present state want an enter call?
local function wants_enter()
  if type(handlers) == "table" and handlers.enter then return true end
  return class.state_enter and (type(handlers) == "function" or class.handle_event
    or type(handlers) == "table" and handlers.event)
end

local function same(a, b)
  return a == b or type(a) == "table" and type(b) == "table" and require("luactor.sys").same(a, b)
end

local function leave(from)
  if stop.has_reply then
    if not from then
      error(("%s: stop_with has a reply, but no call to answer"):format(where()), 0)
    end
    M.reply(from, stop.reply)
  end
  actor.exit(stop.reason)
end

-- A state was entered, or is entered again.
local function enter(old)
  phase = "enter"
  repeat
    repeating = false
    if me.debug then event("enter", state) end
    ending = { old } -- a crash is one of the old state
    if wants_enter() then dispatch("enter", old) end
    ending = nil
    if stop then leave() end
  until not repeating
end

local function push(e)
  queued = queued + 1
  queue[queued] = e
end

-- What actions have asked for, but for the state.
local function settle()
  if inserted then
    for i = #inserted, 1, -1 do push(inserted[i]) end
    inserted = nil
  end
  if wanted then
    local list = wanted
    wanted = nil
    for i = 1, #list do start_timer(list[i][1], list[i][2], list[i][3]) end
  end
end

local function process(e)
  if me.debug then event("in", e, state) end
  phase = "event"
  dispatch(e[1], e[2], e[3])
  if stop then leave(e[1] == "call" and e[3]) end
  local old, changed = state, false
  if next_name then
    local name = next_name[1]
    next_name = nil
    changed = not same(name, old)
    if changed then check_state(name) end
  end
  if me.debug then event(postponing and "postpone" or "consume", e, old, state) end
  if postponing then
    postponing = false
    postponed[#postponed + 1] = e
  end
  if changed or repeating then enter(old) end
  phase = nil
  if changed then
    for i = #postponed, 1, -1 do
      push(postponed[i])
      postponed[i] = nil
    end
    cancel(STATE)
  end
  cancel(EVENT)
  settle()
end

-- The process ---------------------------------------------------------------------------------

local function on_timeout(id)
  local key = running[id]
  if key then
    running[id] = nil
    process(take_timeout(key))
  end
end

local function on_info(msg)
  process { "info", msg }
end

local serve = actor.receiver(
  on({ "$gen_call", V.from "table", V.request }, function(from, request)
    process { "call", request, from }
  end),
  on({ "$gen_cast", V.msg }, function(msg) process { "cast", msg } end),
  on({ "$statem_timeout", V.id "integer" }, on_timeout),
  B.clauses(
    function(pid, reason) on_info { "EXIT", pid, reason } end,
    on({ "$gen_call", V.from "table", actor.is "nil" }, function(from) process { "call", nil, from } end),
    on({ "$gen_cast", actor.is "nil" }, function() process { "cast" } end),
    on(actor._, on_info)))

local function loop()
  while true do
    if queued > 0 then
      local e = queue[queued]
      queue[queued] = nil
      queued = queued - 1
      process(e)
    elseif #zeros > 0 then
      process(take_timeout(table.remove(zeros, 1)))
    else
      if collect then
        collect = nil
        collectgarbage()
      end
      serve()
    end
  end
end

local function use(new)
  class = new
  if type(data) == "table" then setmetatable(data, { __index = new }) end
end

local function change(new, old, extra)
  new = require("luactor._system").new_code(class, me.where, new)
  require("luactor._server").check_statem(new)
  local result
  if new.code_change then result = new.code_change(data, old, extra, state) end
  use(new)
  if result ~= nil then state = result end
  check_state(state)
end

---What the process of a state machine runs. Not to be called.
function M.enter(handshake, from, ...)
  local new = B.arrive(from)
  me = {
    behaviour = "gen_statem",
    name = B.name_of(new, from, "gen_statem"),
    where = from,
    get = function() return { state, data } end,
    set = function(value)
      data = value[2]
      use(class)
      check_state(value[1])
    end,
    terminate = function(reason)
      phase = nil
      if class.terminate then
        local seen = state
        if ending then seen = ending[1] end
        class.terminate(data, reason, seen)
      end
    end,
    change = change,
  }
  if new.format_status then
    me.format = function(how) return class.format_status(data, how, state) end
  end
  B.begin(handshake, me)
  data = {}
  use(new)
  phase = "init"
  local first = (function(name, ...)
    obey(...)
    return name
  end)(new.init(data, ...))
  if first == M.ignore then B.ignore() end
  if stop then actor.exit(stop.reason) end
  if first == nil or first == noreply then
    error(("%s: init returned no state"):format(me.name), 0)
  end
  check_state(first)
  B.ready()
  enter(state)
  phase = nil
  settle()
  loop()
end

-- Clients ------------------------------------------------------------------------------------------

local clients

local function client()
  clients = clients or require "luactor._server"
  return clients
end

---Start a state machine that is linked to the caller; returns when its init is through (before the enter call of the first
---state). Suspends. Raises a luactor.StartError when init does; returns nil, "ignore" when init returns gen_statem.ignore.
---@param machine table
---@param ... any  for init
---@return luactor.Server
function M.start_link(machine, ...)
  return client().start("gen_statem", machine, { link = true }, ...)
end

---As start_link, without the link.
---@param machine table
---@param ... any  for init
---@return luactor.Server
function M.start(machine, ...)
  return client().start("gen_statem", machine, {}, ...)
end

---As start, with options: those of actor.spawn_opt; timeout (ms) for init; debug, as in gen_server.start_opt.
---@param machine table
---@param opts table
---@param ... any  for init
---@return luactor.Server, luactor.Ref?
function M.start_opt(machine, opts, ...)
  return client().start("gen_statem", machine, opts, ...)
end

---The server object of the machine at a pid, name or { name, node }.
---@param machine table
---@param dest luactor.Dest
---@return luactor.Server
function M.at(machine, dest)
  return client().at(machine, dest)
end

-- A state is made when it is first named.
local States = { __index = function(states, name)
  local s = { call = {}, cast = {} }
  states[name] = s
  return s
end }

---What a state does. Each may be left out.
---@class luactor.MachineState
---@field call table<string, fun(self: table, ...): any>  calls by name: the reply, then actions
---@field cast table<string, fun(self: table, ...)>       casts by name
---@field enter fun(self: table, old: any)?
---@field info fun(self: table, msg: any)?
---@field internal fun(self: table, content: any)?
---@field timeout fun(self: table, content: any, name: any)?
---@field state_timeout fun(self: table, content: any)?
---@field event fun(self: table, kind: string, content: any, extra: any)?  what none of the others takes

---What define makes: a plain table, to be filled with callbacks. `self` is the data of the machine.
---@class luactor.MachineClass
---@field state table<any, luactor.MachineState|fun(self: table, kind: string, content: any, extra: any)>
---@field call table<string, fun(self: table, ...): any>  methods of all states
---@field cast table<string, fun(self: table, ...)>
---@field state_enter boolean?  states that are functions, and handle_event, get "enter" too
---@field init fun(self: table, ...): any  the first state
---@field handle_event fun(self: table, kind: string, content: any, state: any, extra: any)?
---@field terminate fun(self: table, reason: any, state: any)?
---@field code_change (fun(self: table, old: any, extra: any, state: any): any)?
---@field format_status (fun(self: table, how: "normal"|"terminate", state: any): any)?
---@field start fun(class: luactor.MachineClass, ...): luactor.Server
---@field start_link fun(class: luactor.MachineClass, ...): luactor.Server
---@field start_opt fun(class: luactor.MachineClass, opts: table, ...): luactor.Server, luactor.Ref?
---@field at fun(class: luactor.MachineClass, dest: luactor.Dest): luactor.Server

---A new class. `name` is used in reports.
---@param name string
---@return luactor.MachineClass
function M.define(name)
  if type(name) ~= "string" then
    error(("bad argument #1 to 'define' (string expected, got %s)"):format(type(name)), 2)
  end
  return {
    _name = name, state = setmetatable({}, States), call = {}, cast = {},
    start = M.start, start_link = M.start_link, start_opt = M.start_opt, at = M.at,
  }
end

---Call a machine.
---@param server luactor.Server|luactor.Dest
---@param request any
---@param ms number?  default 5000
---@return any
function M.call(server, request, ms)
  return actor.call(type(server) == "table" and server._to or server, request, ms)
end

---@param server luactor.Server|luactor.Dest
---@param msg any
function M.cast(server, msg)
  return actor.cast(type(server) == "table" and server._to or server, msg)
end

---End a machine in order: its terminate runs with `reason` ("normal"). Suspends until it is gone. Raises when it is not
---there, ends with another reason, or "timeout".
---@param server luactor.Server|luactor.Dest
---@param reason any
---@param ms number?  default: no limit
function M.stop(server, reason, ms)
  return require("luactor.sys").stop(server, reason, ms)
end

return M

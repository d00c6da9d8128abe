-- An event manager: a process that hands each event to a list of handlers.
--
--   local gen_event = require "luactor.gen_event"
--   local Counter = gen_event.define "counter"
--   function Counter:init() self.n = 0 end
--   function Counter:handle_event(event) self.n = self.n + 1 end
--   function Counter:handle_call(request) return self.n end
--
--   local events = gen_event.start_link { name = "events" }
--   gen_event.add_handler(events, Counter)
--   gen_event.notify(events, "something happened")
--   print(gen_event.call(events, Counter, "how many"))      --> 1
--
-- A handler is a class, as for gen_server a plain table of functions, or the name of a module that
-- is one; `{ class, id }` where one class serves several times. The newest handler is the first to
-- get an event. A handler that fails is taken out alone, and the log says so.

local actor = require "luactor"
local B = require "luactor._behaviour"
local home = require("luactor._core").home

local V, on = actor.var, actor.on

local M = {}

---------------------------------------------------------------- directives

---What handle_event, handle_info or handle_call returns to have its handler removed. (A function, since functions are compared
---without metamethods.)
function M.remove_handler()
  error("gen_event.remove_handler is a value to return, not to call", 2)
end

local Directive = { __name = "luactor.gen_event.directive" }

---What handle_call returns to answer and have its handler removed.
---@param reply any
function M.remove_with(reply)
  return setmetatable({ remove = true, reply = reply }, Directive)
end

---What a callback returns to have its handler replaced: terminate(args1) gives a result, then init(args2, result) of the other
---handler runs, which takes the place. `reply`: of handle_call.
---@param args1 any
---@param handler luactor.Handler
---@param args2 any
---@param reply any
function M.swap(args1, handler, args2, reply)
  return setmetatable({ args1 = args1, key = M.key(handler, 2, "swap"), args2 = args2,
    reply = reply }, Directive)
end

---------------------------------------------------------------- naming handlers

---@alias luactor.Handler table|string|{ [1]: table|string, [2]: any }

local function shown(value)
  if type(value) == "string" then return ("'%s'"):format(value) end
  return type(value) == "table" and "table" or tostring(value)
end

-- Classes that neither have a name nor are found in a module: known to this process alone.
local anonymous = setmetatable({}, { __mode = "k" })

local function name_of(class, where)
  if type(class._name) == "string" then return class._name end
  if type(where) == "string" then return where end
  if where ~= class then return where[1] .. "." .. where[2] end
  anonymous[class] = anonymous[class] or tostring(actor.ref())
  return anonymous[class]
end

local CALLBACKS <const> = { "init", "handle_event", "handle_call", "handle_info", "terminate",
  "code_change" }

local function check_class(class, name, level)
  for _, field in ipairs(CALLBACKS) do
    local f = class[field]
    if f ~= nil and type(f) ~= "function" then
      error(("gen_event handler '%s': %s: function expected, got %s"):format(name, field, shown(f)),
        level + 1)
    end
  end
  if class.handle_event == nil then
    error(("gen_event handler '%s': callback 'handle_event' is missing"):format(name), level + 1)
  end
end

local function is_pair(handler)
  return type(handler) == "table" and handler[1] ~= nil and handler.handle_event == nil
end

---How a handler is named on its way: { name =, id =, where = }. Not for programs.
---@private
function M.key(handler, n, what)
  local id
  local given = handler
  if is_pair(handler) then handler, id = handler[1], handler[2] end
  if type(handler) == "string" then return { name = handler, id = id, where = handler } end
  if type(handler) ~= "table" then
    error(("bad argument #%d to 'luactor.gen_event.%s' (handler expected, got %s)"):format(n, what,
      shown(given)), 3)
  end
  local where = require("luactor._start").travel(handler)
  local name = name_of(handler, where)
  check_class(handler, name, 3)
  return { name = name, id = id, where = where }
end

---------------------------------------------------------------- the manager

-- A handler: { class =, name =, where =, id =, state =, sup = } (who supervises it).
local handlers = {}   -- newest first
local me              -- see luactor.Running

-- As which_handlers and messages name it.
local function label(h)
  if h.id == nil then return h.name end
  return { h.name, h.id }
end

local function label_text(h)
  return h.id == nil and h.name or ("%s/%s"):format(h.name, tostring(h.id))
end

local function is_equal(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  return require("luactor.sys").same(a, b)
end

-- A name given as the name of a module stands for the class it is.
local function find(key)
  for i, h in ipairs(handlers) do
    if (h.name == key.name or h.where == key.name) and is_equal(h.id, key.id) then return h, i end
  end
end

local function error_reason(e)
  return { "error", e, debug and debug.traceback("", 2):sub(2) or "" }
end

-- Run a callback: true and its result, or false and { "error", e, traceback }.
local function run(h, callback, ...)
  return xpcall(h.class[callback], error_reason, h.state, ...)
end

local function report(h, what, reason)
  local log = require "luactor.log"
  local show = require("luactor._system").show
  log.report("error", "gen_event",
    ("handler %s of %s failed in %s and was removed: %s"):format(label_text(h), me.name, what,
      type(reason[2]) == "table" and show(reason[2]) or tostring(reason[2])),
    { handler = label_text(h), traceback = reason[3] }, h.name .. what)
end

-- Its terminate: what that returns, or nil. It is out of the list already.
local function terminate(h, why)
  if not h.class.terminate then return true, nil end
  local ok, result = run(h, "terminate", why)
  if not ok then report(h, "terminate", result) end
  return ok, result
end

-- A value for another process, as text if it cannot travel otherwise.
local function send_or_text(to, make, value)
  if not pcall(actor.send, to, make(value)) then
    actor.send(to, make(type(value) == "table" and { value[1], tostring(value[2]) } or tostring(value)))
  end
end

local function tell_supervisor(h, reason)
  if not h.sup then return end
  send_or_text(h.sup, function(value) return { "gen_event_EXIT", label(h), value } end, reason)
  for _, other in ipairs(handlers) do
    if other.sup == h.sup then return end -- still linked for that one
  end
  if h.sup ~= me.parent then actor.unlink(h.sup) end
end

local function take_out(h)
  for i, other in ipairs(handlers) do
    if rawequal(other, h) then
      table.remove(handlers, i)
      return i
    end
  end
end

local function remove(h, why, told)
  take_out(h)
  local ok, result = terminate(h, why)
  tell_supervisor(h, told)
  return ok, result
end

local function fail(h, callback, reason)
  take_out(h)
  report(h, callback, reason)
  terminate(h, { "error", { "EXIT", reason } })
  tell_supervisor(h, { "EXIT", reason })
end

-- Make a handler and run its init. Nil and the reason when that fails.
local function make(key, sup, ...)
  local ok, class = pcall(B.arrive, key.where)
  if ok and type(class) ~= "table" then
    ok, class = false, ("module '%s' is no handler"):format(key.name)
  end
  local name = ok and class._name or key.name
  if ok then
    local fine, e = pcall(check_class, class, name, 0)
    if not fine then ok, class = false, e end
  end
  if not ok then return nil, { "error", class, "" } end
  local h = { class = class, name = name, where = key.where, id = key.id, sup = sup,
    state = setmetatable({}, { __index = class }) }
  if class.init then
    local fine, reason = run(h, "init", ...)
    if not fine then return nil, reason end
  end
  return h
end

local function supervise(h)
  if h.sup then actor.link(h.sup) end
end

-- Replace h, if there is one. The new handler goes to `place`, or else takes h's. Nil and the
-- reason when its init fails.
local function swap(h, args1, key, args2, place, sup)
  local term = "error"
  if h then
    local _
    sup = sup or h.sup
    local at = take_out(h)
    place = place or at
    _, term = terminate(h, args1)
    tell_supervisor(h, { "swapped", label(key), sup })
  end
  local new, reason = make(key, sup, args2, term)
  if not new then return nil, reason end
  table.insert(handlers, place, new)
  supervise(new)
  return new
end

-- What a callback has returned: is the handler still there?
local function obey(h, result)
  if result == M.remove_handler then
    remove(h, "remove_handler", "normal")
  elseif getmetatable(result) == Directive then
    if result.remove then
      remove(h, "remove_handler", "normal")
    else
      local new, reason = swap(h, result.args1, result.key, result.args2)
      if not new then report(result.key, "init", reason) end
    end
  end
end

-- Run a callback of all handlers. The list may change meanwhile.
local function run_all(callback, event)
  local list = { table.unpack(handlers) }
  for _, h in ipairs(list) do
    if h.class[callback] then
      local ok, result = run(h, callback, event)
      if not ok then
        fail(h, callback, result)
      else
        obey(h, result)
      end
    end
  end
end

local function trace(event)
  if me.debug then require("luactor._system").event(me, { "in", event }) end
end

local function on_notify(event)
  trace(event)
  run_all("handle_event", event)
end

local function on_info(message)
  trace(message)
  run_all("handle_info", message)
end

-- A process is linked: the supervisor of handlers.
local function on_exit(pid, reason)
  for _, h in ipairs { table.unpack(handlers) } do
    if h.sup == pid then
      take_out(h)
      terminate(h, { "stop", reason })
    end
  end
end

---------------------------------------------------------------- requests

local function made(new, reason)
  if new then return { true } end
  return { false, reason }
end

local requests = {}

-- Another node may name handlers that it could have run in a process of its own.
local function is_allowed(from, key)
  return type(key) == "table" and (home(from[1]) == true
    or type(key.where) == "string" and require("luactor._remote").allows(from[1], key.where .. ".handle_event"))
end

function requests.add(from, key, supervised, args)
  if not is_allowed(from, key) then return { false, "not_allowed" } end
  local h, reason = make(key, supervised and from[1] or nil, table.unpack(args, 1, args.n))
  if h then
    table.insert(handlers, 1, h)
    supervise(h)
  end
  return made(h, reason)
end

function requests.delete(_, key, args)
  local h = find(key)
  if not h then return { nil, "module_not_found" } end
  local ok, result = remove(h, args, "normal")
  return { ok, result }
end

function requests.swap(from, key1, args1, key2, args2, supervised)
  if not is_allowed(from, key2) then return { false, "not_allowed" } end
  local h = find(key1)
  return made(swap(h, args1, key2, args2, 1, supervised and from[1] or nil))
end

function requests.which()
  local list = {}
  for i, h in ipairs(handlers) do list[i] = label(h) end
  return list
end

function requests.sync_notify(_, event)
  on_notify(event)
  return true
end

function requests.call(from, key, request)
  local h = find(key)
  if not h then return { false, "bad_module" } end
  if not h.class.handle_call then
    return { false, { "error", ("handler '%s' has no handle_call"):format(h.name), "" } }
  end
  trace { "$gen_call", from, request }
  local ok, result = run(h, "handle_call", request, from)
  if not ok then
    fail(h, "handle_call", result)
    return { false, result }
  end
  obey(h, result)
  if result == M.remove_handler then return { true } end
  if getmetatable(result) == Directive then return { true, result.reply } end
  return { true, result }
end

-- What takes the place of an answer that cannot travel: an error that is no text, or a result.
local function unsent(reply, why)
  if reply[1] then return { "error", "what the handler returned: " .. tostring(why), "" } end
  return { "error", tostring(reply[2][2]), reply[2][3] }
end

local function on_call(from, request)
  local answer = requests[request[1]]
  local reply
  if answer then
    reply = answer(from, table.unpack(request, 2, request.n))
  else
    reply = { false, { "badcall", request } }
  end
  local ok, why = pcall(actor.reply, from, reply)
  if not ok then actor.reply(from, { false, unsent(reply, why) }) end
end

-- gen_event's functions of Erlang send { Pid, From, Request }.
local function is_erlang_call(_, from, request)
  return B.is_theirs(from) and B.is_theirs(request)
end

local function on_erlang_call(_, from, request)
  if require("luactor._otp").event(from, request, requests) then actor.exit "normal" end
end

local function terminate_all()
  local list = handlers
  handlers = {}
  for _, h in ipairs(list) do
    terminate(h, "stop")
    tell_supervisor(h, "shutdown")
  end
end

---------------------------------------------------------------- system messages

-- { { name, id, state }, ... }, as OTP's.
local function get_states()
  local list = {}
  for i, h in ipairs(handlers) do
    list[i] = { h.name, h.id == nil and false or h.id, h.state }
  end
  return list
end

local function set_states(list)
  for i, h in ipairs(handlers) do
    if list[i] and type(list[i][3]) == "table" then
      h.state = setmetatable(list[i][3], { __index = h.class })
    end
  end
end

-- New code for the handlers of one module.
local function change(module, old, extra)
  local class
  if type(module) == "string" then
    package.loaded[module] = nil
    class = require(module)
  end
  for _, h in ipairs(handlers) do
    if module == nil or h.where == module or h.name == module then
      local new = class or h.class
      check_class(new, h.name, 0)
      local state
      if new.code_change then state = new.code_change(h.state, old, extra) end
      h.class = new
      h.state = setmetatable(state == nil and h.state or state, { __index = new })
    end
  end
end

local serve = actor.receiver(
  on({ "notify", V.event }, on_notify),
  on({ "$gen_call", V.from "table", V.request "table" }, on_call),
  B.clauses(on_exit,
    on({ V.caller "pid", V.from "table", V.request }, is_erlang_call, on_erlang_call),
    on(actor._, on_info)))

---What the process of a manager runs. Not to be called.
---@private
function M.enter(handshake, name)
  actor.trap_exit(true)
  me = { behaviour = "gen_event", name = name, get = get_states, set = set_states,
    terminate = terminate_all, change = change }
  B.begin(handshake, me)
  B.ready()
  while true do serve() end
end

---------------------------------------------------------------- clients

---@class luactor.EventManager  its methods are the functions of the module
---@field pid luactor.Pid
---@field name string?
local Manager = { __name = "luactor.EventManager" }
Manager.__index = Manager

function Manager:__tostring()
  return ("event manager %s"):format(self.name or tostring(self.pid))
end

function Manager:__transfer()
  return "luactor.gen_event", self.pid, self.name
end

---A manager that came in a message.
---@private
function M.receive(pid, name)
  return setmetatable({ pid = pid, name = name }, Manager)
end

---What a request to a handler raises.
---@class luactor.HandlerError
---@field reason any      "bad_module": there is no such handler; { "error", e, traceback }: it failed
---@field handler string
local HandlerError = { __name = "luactor.HandlerError" }

function HandlerError:__tostring()
  local reason = self.reason
  if type(reason) == "table" then reason = reason[2] end
  return ("gen_event handler '%s' failed: %s"):format(self.handler, tostring(reason))
end

local function raise(key, reason)
  error(setmetatable({ reason = reason, handler = key.name }, HandlerError), 0)
end

local function start(opts, link)
  if opts == nil then opts = {} end
  if type(opts) == "string" then opts = { name = opts } end
  if type(opts) ~= "table" then
    error(("bad argument #1 to 'luactor.gen_event.start' (name or table of options expected, got %s)")
      :format(shown(opts)), 3)
  end
  local all = {}
  for k, v in pairs(opts) do all[k] = v end
  all.link = link
  local name = type(opts.name) == "string" and opts.name or "gen_event"
  local pid, ref = require("luactor._start").start("gen_event", name, all, name)
  return M.receive(pid, opts.name), ref
end

---Start a manager that is linked to the caller. Suspends until it runs.
---@param opts string|table|nil  its name, or options: those of actor.spawn_opt
---@return luactor.EventManager
function M.start_link(opts)
  return start(opts, true)
end

---As start_link, without the link.
---@param opts string|table|nil
---@return luactor.EventManager, luactor.Ref?
function M.start(opts)
  return start(opts, nil)
end

local function dest(manager, what)
  if type(manager) == "table" and manager.pid then return manager.pid end
  if type(manager) == "string" or type(manager) == "userdata" or type(manager) == "table" then
    return manager
  end
  error(("bad argument #1 to 'luactor.gen_event.%s' (manager, pid or name expected, got %s)")
    :format(what, shown(manager)), 3)
end

local function ask(to, ms, ...)
  return actor.call(to, table.pack(...), ms)
end

-- A key to find a handler by, without its class.
local function lookup(handler, n, what)
  local key = M.key(handler, n, what)
  key.where = nil
  return key
end

local function add(what, manager, handler, supervised, ...)
  local to, key = dest(manager, what), M.key(handler, 2, what)
  local answer = ask(to, math.huge, "add", key, supervised, table.pack(...))
  if not answer[1] then raise(key, answer[2]) end
  return true
end

---Add a handler, as the first to get events. Suspends until its init(...) is through. Raises a luactor.HandlerError when that
---does.
---@param manager luactor.EventManager|luactor.Dest
---@param handler luactor.Handler
---@param ... any  for init
---@return true
function M.add_handler(manager, handler, ...)
  return add("add_handler", manager, handler, false, ...)
end

---As add_handler, supervised by the caller: the two are linked; when the caller ends, the handler's terminate gets
---{ "stop", reason } and it is removed; when the handler is removed, the caller gets { "gen_event_EXIT", handler, reason }, with
---reason "normal", "shutdown", { "swapped", new, pid } or { "EXIT", why }.
---@param manager luactor.EventManager|luactor.Dest
---@param handler luactor.Handler
---@param ... any
---@return true
function M.add_sup_handler(manager, handler, ...)
  return add("add_sup_handler", manager, handler, true, ...)
end

---Remove a handler: its terminate(args) runs. Returns what that returns; nil, "module_not_found" when there is no such handler.
---@param manager luactor.EventManager|luactor.Dest
---@param handler luactor.Handler
---@param args any
---@return any
function M.delete_handler(manager, handler, args)
  local to, key = dest(manager, "delete_handler"), lookup(handler, 2, "delete_handler")
  local answer = ask(to, math.huge, "delete", key, args)
  if answer[1] == nil then return nil, answer[2] end
  if not answer[1] then raise(key, answer[2]) end
  return answer[2]
end

local function swap_handler(what, supervised, manager, old, args1, new, args2)
  local to = dest(manager, what)
  local key1, key2 = lookup(old, 2, what), M.key(new, 4, what)
  local answer = ask(to, math.huge, "swap", key1, args1, key2, args2, supervised)
  if not answer[1] then raise(key2, answer[2]) end
  return true
end

---Replace a handler: its terminate(args1) gives a result, then init(args2, result) of the new one runs; with "error" for the result when
---the old one is not there. Supervision passes on.
---@param manager luactor.EventManager|luactor.Dest
---@param old luactor.Handler
---@param args1 any
---@param new luactor.Handler
---@param args2 any
---@return true
function M.swap_handler(manager, old, args1, new, args2)
  return swap_handler("swap_handler", false, manager, old, args1, new, args2)
end

---As swap_handler; the new handler is supervised by the caller.
---@param manager luactor.EventManager|luactor.Dest
---@return true
function M.swap_sup_handler(manager, old, args1, new, args2)
  return swap_handler("swap_sup_handler", true, manager, old, args1, new, args2)
end

local function check_event(event, what)
  if event == nil then
    error(("bad argument #2 to 'luactor.gen_event.%s' (event expected, got nil)"):format(what), 3)
  end
end

---Hand an event to all handlers. Does not wait for them.
---@param manager luactor.EventManager|luactor.Dest
---@param event any
---@return true
function M.notify(manager, event)
  check_event(event, "notify")
  return actor.send(dest(manager, "notify"), { "notify", event })
end

---As notify; suspends until all handlers have had it.
---@param manager luactor.EventManager|luactor.Dest
---@param event any
---@param ms number?  default: no limit
---@return true
function M.sync_notify(manager, event, ms)
  check_event(event, "sync_notify")
  return ask(dest(manager, "sync_notify"), ms or math.huge, "sync_notify", event)
end

---Ask one handler: what its handle_call(request, from) returns. Suspends. Raises a luactor.HandlerError when it fails or is not
---there.
---@param manager luactor.EventManager|luactor.Dest
---@param handler luactor.Handler
---@param request any
---@param ms number?  default 5000
---@return any
function M.call(manager, handler, request, ms)
  local to, key = dest(manager, "call"), lookup(handler, 2, "call")
  local answer = ask(to, ms, "call", key, request)
  if not answer[1] then raise(key, answer[2]) end
  return answer[2]
end

---The handlers, in the order in which they get events: names, or { name, id }.
---@param manager luactor.EventManager|luactor.Dest
---@return any[]
function M.which_handlers(manager)
  return ask(dest(manager, "which_handlers"), nil, "which")
end

---End a manager in order: each handler's terminate("stop") runs. Suspends until it is gone.
---@param manager luactor.EventManager|luactor.Dest
---@param reason any   default "normal"
---@param ms number?   default: no limit
---@return true
function M.stop(manager, reason, ms)
  return require("luactor.sys").stop(dest(manager, "stop"), reason, ms)
end

---A new class of handlers. `name` is how it is found and reported.
---@param name string
---@return table
function M.define(name)
  if type(name) ~= "string" then
    error(("bad argument #1 to 'luactor.gen_event.define' (string expected, got %s)"):format(shown(name)), 2)
  end
  return { _name = name }
end

for _, name in ipairs { "add_handler", "add_sup_handler", "delete_handler", "swap_handler",
    "swap_sup_handler", "notify", "sync_notify", "call", "which_handlers", "stop" } do
  Manager[name] = M[name]
end

return M

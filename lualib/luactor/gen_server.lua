-- A server: a process with a state, which answers calls one after the other.
--
--   local gen_server = require "luactor.gen_server"
--   local Counter = gen_server.define "counter"
--   function Counter:init(start) self.n = start or 0 end
--   function Counter.call:add(k) self.n = self.n + k; return self.n end
--   function Counter.cast:reset() self.n = 0 end
--
--   local c = Counter:start_link(10)
--   print(c:add(5))                  --> 15
--   c.cast:reset()
--
-- The class is a plain table without a metatable, so that it may travel to the server's process as
-- any value; a class that a loaded module holds travels by name.

local actor = require "luactor"
local core = require "luactor._core"
local B = require "luactor._behaviour"

local V, on, exact = actor.var, actor.on, actor.exact
local reply = core.reply_once
local unpack, type, exit = table.unpack, type, actor.exit

local M = {}

-- Directives -----------------------------------------------------------------------

---What a call returns that will be answered later, by gen_server.reply. (A function, since functions are compared
---without metamethods.)
function M.noreply()
  return M.noreply
end
local noreply = M.noreply

---What init returns when there shall be no process: start_link returns nil, "ignore".
function M.ignore()
  return M.ignore
end

local Stop = { __name = "luactor.gen_server.stop" }
Stop.__index = Stop

-- What the callback that runs has asked for. 'asked' is true when any of them is set.
local asked = false
local stop       -- the object of stop_with
local next_arg   -- { arg } of continue
local collect    -- hibernate
local wait_ms    -- of timeout: until the next message

---To be returned by a callback: the server ends with this reason, after terminate. In a call, `value` (if given, nil
---too) is the reply; without it the caller gets the reason.
---@param reason any
---@param ... any
function M.stop_with(reason, ...)
  stop = setmetatable({ reason = reason, has_reply = select("#", ...) > 0, reply = (...) }, Stop)
  asked = true
  return stop
end

---If no message comes for `ms` after this callback, handle_info gets "timeout". Returns noreply.
---@param ms number|"infinity"
function M.timeout(ms)
  if ms == "infinity" then
    wait_ms = nil
  elseif type(ms) == "number" and ms >= 0 then
    wait_ms = ms
  else
    error(("bad argument #1 to 'timeout' (milliseconds expected, got %s)"):format(tostring(ms)), 2)
  end
  return noreply
end

---handle_continue(arg) runs after this callback, before any message. Returns noreply.
---@param arg any
function M.continue(arg)
  next_arg = { arg }
  asked = true
  return noreply
end

---The garbage is collected before the next message is waited for. Returns noreply.
function M.hibernate()
  collect = true
  asked = true
  return noreply
end

-- The server ------------------------------------------------------------------------

local me        -- see luactor.Running
local class     -- what define made
local state     -- the 'self' of the callbacks
local calls, casts
local current   -- 'from' of the call that runs
local final     -- { from, value }: to be answered after terminate

---Who made the call that runs: for gen_server.reply.
---@return table?
function M.from()
  return current
end

local function event(...)
  require("luactor._system").event(me, { ... })
end

local function missing(callback)
  error(("%s: callback '%s' is missing"):format(me.name, callback), 0)
end

local function run_continue()
  while next_arg do
    local arg = next_arg[1]
    next_arg = nil
    if not class.handle_continue then missing "handle_continue" end
    local result = class.handle_continue(state, arg)
    if stop and rawequal(result, stop) then exit(stop.reason) end
    stop = nil
    if me.debug then event("noreply", me.get()) end
  end
end

-- The callback has asked for something beside its result. 'from': of a call.
local function settle(result, from)
  asked = false
  if stop then
    if rawequal(result, stop) then
      if from and stop.has_reply then final = { from, stop.reply } end
      exit(stop.reason)
    end
    stop = nil
  end
  if from and result ~= noreply then
    reply(from, result)
    if me.debug then event("out", result, from[1], me.get()) end
  end
  run_continue()
  asked = false
  if collect then
    collect = nil
    collectgarbage()
  end
end

local function run_call(f, request)
  local n = request["$n"] or #request
  if n == 1 then
    return f(state)
  elseif n == 2 then
    return f(state, request[2])
  elseif n == 3 then
    return f(state, request[2], request[3])
  end
  return f(state, unpack(request, 2, n))
end

-- A callback of a call has returned.
local function answer(from, result)
  current = nil
  if asked then
    settle(result, from)
  elseif result ~= noreply then
    reply(from, result)
    if me.debug then event("out", result, from[1], me.get()) end
  elseif me.debug then
    event("noreply", me.get())
  end
end

local function on_call(from, request)
  if me.debug then event("in", { "$gen_call", from, request }) end
  wait_ms = nil
  current = from
  local f = type(request) == "table" and calls[request[1]]
  if f then
    answer(from, run_call(f, request))
  elseif class.handle_call then
    answer(from, (class.handle_call(state, request, from)))
  else
    reply(from, { "badcall", request })
  end
end

-- The usual requests, for which no table is made: { name } and { name, a }.
local function on_call_0(from, name)
  local f = calls[name]
  if not f or me.debug then return on_call(from, { name }) end
  wait_ms = nil
  current = from
  local result = f(state)
  if asked or result == noreply then return answer(from, result) end
  current = nil
  reply(from, result)
end

local function on_call_1(from, name, a)
  local f = calls[name]
  if not f or me.debug then return on_call(from, { name, a }) end
  wait_ms = nil
  current = from
  local result = f(state, a)
  if asked or result == noreply then return answer(from, result) end
  current = nil
  reply(from, result)
end

local function on_nil_call(from)
  on_call(from, nil)
end

local function warn(what, msg)
  require("luactor.log").warn("%s: %s that nothing handles: %s", me.name, what,
    require("luactor._system").show(msg))
end

local function on_cast(msg)
  if me.debug then event("in", { "$gen_cast", msg }) end
  wait_ms = nil
  local result
  local f = type(msg) == "table" and casts[msg[1]]
  if f then
    result = run_call(f, msg)
  elseif class.handle_cast then
    result = class.handle_cast(state, msg)
  else
    warn("a cast", msg)
  end
  if asked then settle(result) end
  if me.debug then event("noreply", me.get()) end
end

local function on_nil_cast()
  on_cast(nil)
end

local function on_info(msg)
  if me.debug then event("in", msg) end
  wait_ms = nil
  if class.handle_info then
    local result = class.handle_info(state, msg)
    if asked then settle(result) end
  elseif msg ~= "timeout" then
    warn("a message", msg)
  end
  if me.debug then event("noreply", me.get()) end
end

local serve = actor.receiver(
  on({ "$gen_call", V.from "table", exact { V.name "string", V.a } }, on_call_1),
  on({ "$gen_call", V.from "table", exact { V.name "string" } }, on_call_0),
  on({ "$gen_call", V.from "table", V.request }, on_call),
  on({ "$gen_cast", V.msg }, on_cast),
  B.clauses(
    function(pid, reason) on_info { "EXIT", pid, reason } end,
    on({ "$gen_call", V.from "table", actor.is "nil" }, on_nil_call),
    on({ "$gen_cast", actor.is "nil" }, on_nil_cast),
    on(actor._, on_info)))

local function loop()
  while true do
    if wait_ms then
      local _, why = serve(wait_ms)
      if why == "timeout" then on_info "timeout" end
    else
      serve()
    end
  end
end

local function use(new)
  class = new
  calls, casts = new.call or {}, new.cast or {}
  if type(state) == "table" then setmetatable(state, { __index = new }) end
end

local function terminate(reason)
  if not final then
    if class.terminate then class.terminate(state, reason) end
    return
  end
  -- The last call is answered after terminate, even when that fails.
  local _ <close> = setmetatable({}, { __close = function()
    reply(final[1], final[2])
    if me.debug then event("out", final[2], final[1][1], me.get()) end
  end })
  if class.terminate then class.terminate(state, reason) end
end

local function change(new, old, extra)
  new = require("luactor._system").new_code(class, me.where, new)
  require("luactor._server").check_server(new)
  local result
  if new.code_change then result = new.code_change(state, old, extra) end
  if result ~= nil then state = result end
  use(new)
end

---What the process of a server runs. Not to be called.
function M.enter(handshake, where, ...)
  local new = B.arrive(where)
  me = {
    behaviour = "gen_server",
    name = B.name_of(new, where, "gen_server"),
    where = where,
    get = function() return state end,
    set = function(value)
      state = value
      use(class)
    end,
    terminate = terminate,
    change = change,
  }
  if new.format_status then
    me.format = function(how) return class.format_status(state, how) end
  end
  B.begin(handshake, me)
  state = {}
  use(new)
  local result
  if class.init then result = class.init(state, ...) end
  if result == M.ignore then B.ignore() end
  if stop then
    if rawequal(result, stop) then exit(stop.reason) end
    stop = nil
  end
  B.ready()
  if asked then settle() end
  loop()
end

-- Clients --------------------------------------------------------------------------
--
-- What starts servers and talks to them is in luactor._server, which a process that only is a
-- server never loads.

local clients

local function client()
  clients = clients or require "luactor._server"
  return clients
end

---Start a server that is linked to the caller; returns when its init is through. Suspends. Raises a
---luactor.StartError when init does; returns nil, "ignore" when init returns gen_server.ignore.
---@param class table
---@param ... any  for init
---@return luactor.Server
function M.start_link(class, ...)
  return client().start("gen_server", class, { link = true }, ...)
end

---As start_link, without the link.
---@param class table
---@param ... any  for init
---@return luactor.Server
function M.start(class, ...)
  return client().start("gen_server", class, {}, ...)
end

---As start, with options: those of actor.spawn_opt; timeout (ms) for init; debug, a list such as { { "trace", true },
---{ "log", { true, 20 } }, { "statistics", true } }.
---@param class table
---@param opts table
---@param ... any  for init
---@return luactor.Server, luactor.Ref?
function M.start_opt(class, opts, ...)
  return client().start("gen_server", class, opts, ...)
end

---The server object of the server at a pid, name or { name, node }.
---@param class table
---@param dest luactor.Dest
---@return luactor.Server
function M.at(class, dest)
  return client().at(class, dest)
end

---What define makes: a plain table, to be filled with callbacks. `self` is the state of the server.
---@class luactor.ServerClass
---@field call table<string, fun(self: table, ...): any>  methods that are called: they return the reply
---@field cast table<string, fun(self: table, ...)>       methods that are cast
---@field init (fun(self: table, ...): any)?
---@field handle_call (fun(self: table, request: any, from: table): any)?
---@field handle_cast (fun(self: table, msg: any): any)?
---@field handle_info (fun(self: table, msg: any): any)?
---@field handle_continue (fun(self: table, arg: any): any)?
---@field terminate fun(self: table, reason: any)?
---@field code_change (fun(self: table, old: any, extra: any): table?)?
---@field format_status (fun(self: table, how: "normal"|"terminate"): any)?
---@field start fun(class: luactor.ServerClass, ...): luactor.Server
---@field start_link fun(class: luactor.ServerClass, ...): luactor.Server
---@field start_opt fun(class: luactor.ServerClass, opts: table, ...): luactor.Server, luactor.Ref?
---@field at fun(class: luactor.ServerClass, dest: luactor.Dest): luactor.Server

---A new class. `name` is used in reports.
---@param name string
---@return luactor.ServerClass
function M.define(name)
  if type(name) ~= "string" then
    error(("bad argument #1 to 'define' (string expected, got %s)"):format(type(name)), 2)
  end
  return {
    _name = name, _enter = M.enter, call = {}, cast = {},
    start = M.start, start_link = M.start_link, start_opt = M.start_opt, at = M.at,
  }
end

---Call a server.
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

---Answer a call whose method returned gen_server.noreply; from any process, once.
---@param from table
---@param value any
function M.reply(from, value)
  return reply(from, value)
end

---End a server in order: its terminate runs with `reason` ("normal"). Suspends until it is gone. Raises when it
---is not there, ends with another reason, or "timeout".
---@param server luactor.Server|luactor.Dest
---@param reason any
---@param ms number?  default: no limit
function M.stop(server, reason, ms)
  return require("luactor.sys").stop(server, reason, ms)
end

---Cast to several servers.
---@param servers (luactor.Server|luactor.Dest)[]
---@param msg any
function M.abcast(servers, msg)
  return client().abcast(servers, msg)
end

---Call several servers at once. Returns the replies, as { { server, reply }, ... }, and those that did not answer.
---@param servers (luactor.Server|luactor.Dest)[]
---@param request any
---@param ms number?  for all together; default 5000
---@return table replies, table failed
function M.multi_call(servers, request, ms)
  return client().multi_call(servers, request, ms)
end

---A server object comes with a message: see __transfer in luactor._server.
function M.receive(to, from)
  if from and from ~= core.node_name() then to = { to, from } end
  return client().object(to)
end

return M

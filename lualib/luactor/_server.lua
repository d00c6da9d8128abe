-- Servers as their clients see them: starting one, server objects, calls of many. Not for
-- programs: luactor.gen_server.

local actor = require "luactor"
local core = require "luactor._core"
local S = require "luactor._start"

local V, raise = actor.var, S.raise
local node_name = core.node_name

local M = {}

-- Server objects ---------------------------------------------------------------------

---A server as its clients hold it: `s:name(...)` is a call, `s.cast:name(...)` a cast.
---@class luactor.Server
---@field pid luactor.Pid?  nil when nobody has the name now
---@field cast table
---@field private _to luactor.Dest

-- { name, ... }; a nil among the arguments needs the number.
local function pack_request(name, ...)
  local n = select("#", ...)
  local request = { name, ... }
  for i = 2, n do
    if request[i] == nil then
      request["$n"] = n + 1
      break
    end
  end
  return request
end

-- name -> the function that calls or casts it, for servers of all classes.
local callers = setmetatable({}, {
  __index = function(t, name)
    if type(name) ~= "string" then return nil end
    t[name] = core.caller(name)
    return t[name]
  end,
})

-- The same for casts; what `cast` of a server object holds.
local Casts = { __name = "luactor.server.casts", __index = setmetatable({}, {
  __index = function(t, name)
    local function f(casts_of, ...)
      return actor.cast(casts_of._to, pack_request(name, ...))
    end
    t[name] = f
    return f
  end,
}) }

local function server_text(self)
  local to = self._to
  return "server " .. (type(to) == "table" and tostring(to[1]) .. "@" .. tostring(to[2]) or tostring(to))
end

local function same_server(a, b)
  return a._to == b._to
end

-- A name is one of this node: elsewhere it is { name, node }.
local function transfer_server(self)
  local to = self._to
  return "luactor.gen_server", to, type(to) == "string" and node_name() or nil
end

-- What lives at a pid; and what is behind a name, whose pid is looked up each time.
local Server = { __index = callers }
local Named = { __index = function(self, key)
  if key ~= "pid" then return callers[key] end
  return type(self._to) == "string" and actor.whereis(self._to) or nil
end }
for _, mt in ipairs { Server, Named } do
  mt.__name = "luactor.server"
  mt.__tostring, mt.__eq, mt.__transfer = server_text, same_server, transfer_server
end

---The server that lives at a pid or name, on this side. Not for programs: see Class:at.
function M.object(to)
  local casts_of = setmetatable({ _to = to }, Casts)
  if type(to) == "userdata" then
    return setmetatable({ _to = to, pid = to, cast = casts_of }, Server)
  elseif type(to) == "table" then
    return setmetatable({ to[1], to[2], _to = to, cast = casts_of }, Named)
  end
  return setmetatable({ _to = to, cast = casts_of }, Named)
end
local object = M.object

-- Classes ------------------------------------------------------------------------------

local function fail_field(name, field, expected, value)
  raise(("%s.%s: %s expected, got %s (%s)"):format(name, field, expected, type(value), tostring(value)))
end

local function check_methods(name, field, t)
  if t == nil then return end
  if type(t) ~= "table" then fail_field(name, field, "table of functions", t) end
  for key, f in next, t do
    if type(f) ~= "function" then fail_field(name, field .. "." .. tostring(key), "function", f) end
  end
end

-- The class is a table, its callbacks are functions, 'call' and 'cast' tables of functions.
local function check_class(behaviour, class, callbacks)
  if type(class) ~= "table" then
    raise(("%s: class expected, got %s (%s)"):format(behaviour, type(class), tostring(class)))
  end
  local name = tostring(class._name or behaviour)
  for i = 1, #callbacks do
    local field = callbacks[i]
    local f = class[field]
    if f ~= nil and type(f) ~= "function" then fail_field(name, field, "function", f) end
  end
  check_methods(name, "call", class.call)
  check_methods(name, "cast", class.cast)
  return name
end

local SERVER <const> = { "init", "handle_call", "handle_cast", "handle_info", "handle_continue", "terminate",
  "code_change", "format_status" }

---Raise unless `class` can be a server's class; its name.
function M.check_server(class)
  return check_class("gen_server", class, SERVER)
end

local MACHINE <const> = { "init", "handle_event", "terminate", "code_change", "format_status" }
local STATE_FIELDS <const> = { enter = true, info = true, internal = true, timeout = true, state_timeout = true,
  event = true, call = "methods", cast = "methods" }

local function check_state(name, state)
  for field, value in pairs(state) do
    local kind = STATE_FIELDS[field]
    if not kind then
      raise(("%s: unknown callback '%s'"):format(name, tostring(field)))
    elseif kind == "methods" then
      check_methods(name, field, value)
    elseif type(value) ~= "function" then
      fail_field(name, field, "function", value)
    end
  end
end

---Raise unless `class` can be a state machine's class; its name.
function M.check_statem(class)
  local name = check_class("gen_statem", class, MACHINE)
  if class.init == nil then raise(("%s: callback 'init' is missing"):format(name)) end
  if class.state ~= nil and type(class.state) ~= "table" then
    fail_field(name, "state", "table of states", class.state)
  end
  for key, state in pairs(class.state or {}) do
    local field = "state." .. tostring(key)
    if type(state) == "table" then
      check_state(name .. "." .. field, state)
    elseif type(state) ~= "function" then
      fail_field(name, field, "function or table of callbacks", state)
    end
  end
  return name
end

local CHECKS <const> = { gen_server = M.check_server, gen_statem = M.check_statem }

---Start a process of a behaviour: see gen_server.start_opt.
function M.start(behaviour, class, opts, ...)
  if type(opts) ~= "table" then
    raise(("bad argument #2 to 'start_opt' (table of options expected, got %s)"):format(type(opts)))
  end
  local name = CHECKS[behaviour](class)
  local where = S.travel(class)
  if where == class and getmetatable(class) ~= nil then
    raise(("%s: the class has a metatable, which does not travel; keep the class in a module"):format(name))
  end
  if not class._name and type(where) == "string" then name = where end
  local pid, ref = S.start(behaviour, name, opts, where, ...)
  if not pid then return nil, ref end
  return object(pid), ref
end

---The server object of the server at a pid, name or { name, node }.
---@param dest luactor.Dest
---@return luactor.Server
function M.at(_, dest)
  if type(dest) == "table" and dest.pid then dest = dest.pid end
  if type(dest) ~= "userdata" and type(dest) ~= "string"
    and not (type(dest) == "table" and type(dest[1]) == "string" and type(dest[2]) == "string") then
    raise(("bad argument #2 to 'at' (pid, name or {name, node} expected, got %s)"):format(type(dest)), 2)
  end
  return object(dest)
end

-- Clients --------------------------------------------------------------------------------

-- The destination that actor.call and the like understand.
local function dest_of(server)
  return type(server) == "table" and server._to or server
end

---Cast to several servers.
---@param servers (luactor.Server|luactor.Dest)[]
---@param msg any
function M.abcast(servers, msg)
  for _, server in ipairs(servers) do
    local dest = dest_of(server)
    if type(dest) ~= "string" or actor.whereis(dest) then actor.cast(dest, msg) end
  end
  return "abcast"
end

---Call several servers at once. Returns the replies, as { { server, reply }, ... }, and those that did not answer.
---@param servers (luactor.Server|luactor.Dest)[]
---@param request any
---@param ms number?  for all together; default 5000
---@return table replies, table failed
function M.multi_call(servers, request, ms)
  local box = actor.mailbox()
  local _ <close> = setmetatable({}, { __close = function() box:close() end })
  for i, server in ipairs(servers) do
    actor.spawn_link(M.call_for, box, i, dest_of(server), request, ms or 5000)
  end
  local answers, replies, failed = {}, {}, {}
  for _ = 1, #servers do
    local i, ok, value = box:receive { V.i, V.ok, V.value "..." }
    answers[i] = { ok, value[1] }
  end
  for i, server in ipairs(servers) do
    if answers[i][1] then
      replies[#replies + 1] = { server, answers[i][2] }
    else
      failed[#failed + 1] = server
    end
  end
  return replies, failed
end

---One call of multi_call, in a process of its own.
function M.call_for(box, i, dest, request, ms)
  local ok, value = actor.try_call(dest, request, ms)
  actor.send(box, { i, ok, value })
end

return M

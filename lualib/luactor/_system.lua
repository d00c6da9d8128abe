-- What a process of a behaviour does with the requests of luactor.sys. Loaded by the first one.
-- Requests and answers are those of OTP's sys, so that the same tools serve both.

local actor = require "luactor"

local M = {}

---@class luactor.Debug
---@field trace boolean|userdata|nil   write events to the log, or send them to a pid
---@field log table?                   the last events; log.max says how many
---@field stats table?
---@field funcs { [1]: any, [2]: function, [3]: any }[]  installed functions

local function show(value, depth)
  depth = depth or 0
  if type(value) == "string" then return ("%q"):format(value) end
  if type(value) ~= "table" then return tostring(value) end
  if depth > 3 then return "..." end
  local parts, n = {}, #value
  for i = 1, n do parts[i] = show(value[i], depth + 1) end
  local keys = {}
  for k in pairs(value) do
    if not (math.type(k) == "integer" and k >= 1 and k <= n) then keys[#keys + 1] = k end
  end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  for _, k in ipairs(keys) do
    local key = type(k) == "string" and k or "[" .. show(k, depth + 1) .. "]"
    parts[#parts + 1] = key .. " = " .. show(value[k], depth + 1)
  end
  return "{" .. table.concat(parts, ", ") .. "}"
end
M.show = show

-- One line for an event, as the trace writes it.
local function event_text(event)
  local kind, a, b, c = event[1], event[2], event[3], event[4]
  if kind == "in" then
    if type(a) == "table" and a[1] == "$gen_call" then
      return ("got call %s from %s"):format(show(a[3]), tostring(a[2][1]))
    elseif type(a) == "table" and a[1] == "$gen_cast" then
      return "got cast " .. show(a[2])
    end
    return "got " .. show(a)
  elseif kind == "out" then
    return ("sent %s to %s, new state %s"):format(show(a), tostring(b), show(c))
  elseif kind == "noreply" then
    return "new state " .. show(a)
  end
  return show(event)
end

local function write(me, event)
  require("luactor.log").info("*DBG* %s %s", me.name, event_text(event))
end

---Called by the behaviours for each event, when me.debug is set.
function M.event(me, event)
  local d = me.debug
  if d.trace == true then
    write(me, event)
  elseif d.trace then
    actor.send(d.trace, { "trace", actor.self(), event })
  end
  if d.log then
    table.insert(d.log, event)
    if #d.log > d.log.max then table.remove(d.log, 1) end
  end
  if d.stats then
    local key = event[1] == "in" and "messages_in" or event[1] == "out" and "messages_out"
    if key then d.stats[key] = d.stats[key] + 1 end
  end
  for i = #d.funcs, 1, -1 do
    local entry = d.funcs[i]
    local ok, state = pcall(entry[2], entry[3], event, me.name)
    if not ok or state == "done" then
      table.remove(d.funcs, i)
    else
      entry[3] = state
    end
  end
end

local function debug_of(me)
  me.debug = me.debug or { funcs = {} }
  return me.debug
end

-- Nothing asked for any more: the behaviours stop telling.
local function tidy(me)
  local d = me.debug
  if d and not d.trace and not d.log and not d.stats and #d.funcs == 0 then me.debug = nil end
end

local debugs = {}

function debugs.trace(me, on)
  debug_of(me).trace = on or nil
  return "ok"
end

function debugs.log(me, what)
  local d = debug_of(me)
  local n
  if type(what) == "table" then what, n = what[1], what[2] end
  if what == "get" then
    local events = { table.unpack(d.log or {}) }
    return { "ok", events }
  elseif what == "print" then
    for _, event in ipairs(d.log or {}) do write(me, event) end
  elseif what == true then
    d.log = d.log or {}
    d.log.max = n or 10
    while #d.log > d.log.max do table.remove(d.log, 1) end
  else
    d.log = nil
  end
  return "ok"
end

function debugs.statistics(me, what)
  local d = debug_of(me)
  if what == "get" then
    if not d.stats then return { "ok", "no_statistics" } end
    return { "ok", {
      start_time = d.stats.start_time,
      current_time = actor.now(),
      reductions = actor.info(actor.self(), "reductions") - d.stats.reductions,
      messages_in = d.stats.messages_in,
      messages_out = d.stats.messages_out,
    } }
  elseif what == true then
    d.stats = { start_time = actor.now(), messages_in = 0, messages_out = 0,
      reductions = actor.info(actor.self(), "reductions") }
  else
    d.stats = nil
  end
  return "ok"
end

function debugs.install(me, what)
  local id, f, state = what[1], what[2], what[3]
  local funcs = debug_of(me).funcs
  for _, entry in ipairs(funcs) do
    if entry[1] == id then return "ok" end
  end
  table.insert(funcs, 1, { id, f, state })
  return "ok"
end

function debugs.remove(me, id)
  local funcs = debug_of(me).funcs
  for i, entry in ipairs(funcs) do
    if rawequal(entry[1], id) then
      table.remove(funcs, i)
      break
    end
  end
  return "ok"
end

function debugs.no_debug(me)
  me.debug = nil
  return "ok"
end

local function handle_debug(me, what)
  local name, arg
  if type(what) == "table" then name, arg = what[1], what[2] else name = what end
  local f = debugs[name]
  if not f then return { "error", { "unknown_debug", what } } end
  local answer = f(me, arg)
  tidy(me)
  return answer
end

-- What cannot be shown, or fails when asked for, is shown as its text.
local function formatted(me)
  if me.format then
    local ok, value = pcall(me.format, "normal")
    if ok then return value end
  end
  return me.get()
end

local function status(me)
  return {
    pid = actor.self(),
    behaviour = me.behaviour,
    class = me.name,
    status = me.suspended and "suspended" or "running",
    parent = me.parent,
    name = actor.info(actor.self(), "registered_name"),
    log = me.debug and me.debug.log and { table.unpack(me.debug.log) } or {},
    state = formatted(me),
  }
end

local function error_of(err, trace)
  return { "error", err, trace }
end

-- Replace the state by what f makes of it; the state stays when f fails.
local function replace(me, f)
  local ok, new = pcall(f, me.get())
  if not ok then return { "error", { "callback_failed", { me.behaviour, "replace_state" }, error_of(new) } } end
  me.set(new)
  return { "ok", me.get() }
end

-- Another node may have a process take the new code of its own module, and name no other.
local function change_code(me, module, old, extra, from)
  if module ~= nil and require("luactor._core").home(from[1]) ~= true then
    local own = type(me.where) == "table" and me.where[1] or me.where
    if module ~= own then return { "error", "not_allowed" } end
  end
  local ok, err = pcall(me.change, module, old, extra)
  if not ok then return { "error", error_of(err) } end
  return "ok"
end

---The option debug of the start.
function M.begin(me, list)
  for _, what in ipairs(list) do handle_debug(me, what) end
end

---The class after sys.change_code(server, new): nil is the old one; the name of a module loads it anew.
function M.new_code(class, where, new)
  if new == nil then return class end
  if type(new) ~= "string" then return new end
  package.loaded[new] = nil
  local m = require(new)
  if type(where) == "table" and where[1] == new then return m[where[2]] end
  return m
end

---The answer to a request. (luactor._behaviour treats "terminate" and waits after "suspend".)
function M.handle(me, request, from)
  local name, a, b, c
  if type(request) == "table" then
    name, a, b, c = request[1], request[2], request[3], request[4]
  else
    name = request
  end
  if name == "get_state" then
    return { "ok", me.get() }
  elseif name == "replace_state" then
    return replace(me, a)
  elseif name == "get_status" then
    return status(me)
  elseif name == "suspend" then
    return "ok"
  elseif name == "resume" then
    me.suspended = false
    return "ok"
  elseif name == "debug" then
    return handle_debug(me, a)
  elseif name == "change_code" and me.suspended then
    return change_code(me, a, b, c, from)
  end
  return { "error", { "unknown_system_msg", request } }
end

return M

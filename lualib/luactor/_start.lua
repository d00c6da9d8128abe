-- How a process of a behaviour is started, as its starter sees it. Not for programs; the other side is
-- luactor._behaviour.

local actor = require "luactor"
local core = require "luactor._core"

local V, on = actor.var, actor.on

local S = {}

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
S.reason_text = reason_text

function StartError:__tostring()
  return ("%s '%s' did not start: %s"):format(self.behaviour, self.name, reason_text(self.reason))
end

-- Raised again in another process it is the same error.
function StartError:__transfer()
  return "luactor._start", self.behaviour, self.name, self.reason
end

function S.start_error(behaviour, name, reason)
  local e = { reason = reason, behaviour = behaviour, name = name }
  if type(reason) == "table" then
    for i, v in ipairs(reason) do e[i] = v end
  else
    e[1] = reason
  end
  return setmetatable(e, StartError)
end

S.receive = S.start_error

-- Wait for the end of a process that failed to start; nothing of it stays in the mailbox.
local function bury(tag, mon)
  actor.receive { "DOWN", mon, "process", V._, V._ }
  actor.flush { tag, V._ }
end

local function copy(t)
  local out = {}
  for k, v in next, t do out[k] = v end
  return out
end

local FLUSH <const> = { flush = true }

---Raise a mistake of the program's at the line of the program that led here, over all functions of lualib.
---@param text string
function S.raise(text)
  if not debug then error(text, 0) end -- in a sandbox
  -- What the chunk names of lualib's modules begin with.
  local own = debug.getinfo(1, "S").source:match "^(.*)_start" or "=luactor."
  local level = 2
  local info = debug.getinfo(level, "Sl")
  while info and (info.source == "=[C]" or info.source:sub(1, #own) == own) do
    level = level + 1
    info = debug.getinfo(level, "Sl")
  end
  if info and info.currentline > 0 then
    text = ("%s:%d: %s"):format(info.short_src, info.currentline, text)
  end
  error(text, 0)
end
local raise = S.raise

-- "lualib/x.lua:12: bad option ..." without the place, which is not the caller's.
local function bare(err)
  return type(err) == "string" and err:gsub("^[^\n]-:%d+: ", "") or err
end

-- Names of modules that there are images of; they stay.
local imaged = {}

-- What the process runs. A class that is a preloaded module is entered by that module's name: so the process begins
-- with it, and need not load it into the image of all servers.
local function entry_of(behaviour, where, node)
  if node then
    -- Over there a module's name is all that can be told.
    local class = type(where) == "string" and package.loaded[where]
    if type(class) ~= "table" or not rawget(class, "_enter") then
      raise(("%s.start_opt: option 'node' needs a class that is a module of its own"):format(behaviour))
    end
    return where .. "._enter"
  end
  if type(where) == "string" then
    local class = package.loaded[where]
    if type(class) == "table" and rawget(class, "_enter") and (imaged[where] or core.has_image(where)) then
      imaged[where] = true
      return where .. "._enter"
    end
  end
  return "luactor." .. behaviour .. ".enter"
end

-- Made once, not for each start.
local WHAT <const>, REASON <const> = V.what, V.reason

local function is_told(what) return what end

local function is_down(reason) return "down", reason end

---Start a process of a behaviour and wait for the end of its init. Suspends. Returns the pid (and the
---reference, with opts.monitor), or nil, "ignore"; raises a luactor.StartError.
---@param behaviour string  for messages, and "luactor.<behaviour>.enter" is what the process runs
---@param name string       the class's name: label of the process
---@param opts table        of spawn_opt, timeout, and debug: a list of requests as luactor.sys sends them
---@return userdata? pid, any ref
function S.start(behaviour, name, opts, ...)
  local timeout = opts.timeout
  if timeout == "infinity" then timeout = nil end
  if timeout ~= nil and type(timeout) ~= "number" then
    raise(("%s.start_opt: bad option 'timeout' (number expected, got %s)"):format(
      behaviour, type(timeout)))
  end
  local debugs = opts.debug
  if debugs ~= nil and type(debugs) ~= "table" then
    raise(("%s.start_opt: bad option 'debug' (table expected, got %s)"):format(behaviour, type(debugs)))
  end
  opts = copy(opts)
  opts.timeout, opts.debug = nil, nil
  local keep_monitor = opts.monitor
  opts.monitor = true
  if opts.label == nil then opts.label = name end
  local given, via = opts.name, nil
  if type(given) == "table" and given[1] == "via" then
    via, opts.name = { given[2], given[3] }, nil -- see registry.via
  end
  if type(given) == "string" and not opts.node then
    local there = actor.whereis(given)
    if there then error(S.start_error(behaviour, name, { "already_started", there }), 0) end
  end
  local tag = actor.ref()
  local ok, pid, mon = pcall(actor.spawn_opt, opts, entry_of(behaviour, (...), opts.node),
    { tag, opts.link and true or false, via or false, debugs }, ...)
  if not ok then
    local there = type(given) == "string" and not opts.node and actor.whereis(given)
    if there then error(S.start_error(behaviour, name, { "already_started", there }), 0) end
    raise(("%s '%s': %s"):format(behaviour, name, bare(pid)))
  end
  local what, reason = actor.receive(
    on({ tag, WHAT }, is_told),
    on({ "DOWN", mon, "process", pid, REASON }, is_down),
    timeout)
  if what == "ok" then
    if keep_monitor then return pid, mon end
    actor.demonitor(mon, FLUSH)
    return pid
  end
  if what == "down" then
    actor.unlink(pid)
  elseif what == "ignore" then
    bury(tag, mon)
    return nil, "ignore"
  elseif type(what) == "table" then
    bury(tag, mon)
    reason = what
  else
    actor.unlink(pid)
    actor.exit(pid, "kill")
    bury(tag, mon)
    reason = "timeout"
  end
  error(S.start_error(behaviour, name, reason), 0)
end

-- Classes -------------------------------------------------------------------------

-- Where a class was found: class -> name, or { module, field }.
local found = setmetatable({}, { __mode = "k" })
-- How often one was started that no module had: it is looked for again ever more seldom.
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

---How a class travels to the process that runs it: by name when a loaded module is it or holds it, else as
---it is, its functions with their upvalues.
function S.travel(class)
  if not package then return class end -- in a sandbox
  local where = found[class]
  if where and holds(where, class) then return where end
  local n = (missed[class] or 0) + 1
  missed[class] = n
  if n & (n - 1) ~= 0 then return class end
  where = search(class)
  found[class] = where
  return where or class
end

return S

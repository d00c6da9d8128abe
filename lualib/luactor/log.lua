-- Events for the log of the host: one whole line for each.
--
--   local log = require "luactor.log"
--   log.info("listening on %s", port)
--   log.warn{ "slow query", table = "users", ms = 812 }
--
-- An event is text with fields, which go to the host's handlers: standard error for the
-- `luactor` command, files, functions and processes. Values are bounded, and those of keys
-- that hold "password", "token" and the like are not shown. host/src/proc/log.c writes the
-- lines, since the reports of crashed processes have no Lua state to be written in.

local actor = require "luactor"
local core = require "luactor._core"

local M = {}

local NUMBERS <const> = { none = 0, error = 1, warn = 2, info = 3, debug = 4 }
local NAMES <const> = { [0] = "none", "error", "warn", "info", "debug" }
local MAX_WAITING <const> = 10000 -- events in the mailbox of a handler that is a function

local own_level -- of this process; nil: the host's

---@alias luactor.LogLevel "error"|"warn"|"info"|"debug"

local function bad(arg, name, expected, value)
  local text = type(value) == "string" and ("'%s'"):format(value) or tostring(value)
  error(("bad argument #%d to 'log.%s' (%s expected, got %s)"):format(arg, name, expected, text), 3)
end

local function number_of(name, arg, where)
  local number = NUMBERS[name]
  if not number then
    error(("bad argument #%d to 'log.%s' (unknown level '%s')"):format(arg, where, tostring(name)), 3)
  end
  return number
end

-- A value that cannot travel, made of parts that can.
local function plain(value, depth)
  local kind = type(value)
  if kind == "table" and depth < 8 then
    local copy = {}
    for k, v in next, value do
      if type(k) ~= "string" and type(k) ~= "number" then k = tostring(k) end
      copy[k] = plain(v, depth + 1)
    end
    return copy
  elseif kind == "nil" or kind == "boolean" or kind == "number" or kind == "string"
      or kind == "userdata" and pcall(actor.pack, value) then
    return value
  end
  return tostring(value)
end

local function write(number, kind, message, fields, cause)
  local ok = core.log_event(number, kind, message, fields, cause)
  if not ok then core.log_event(number, kind, message, plain(fields, 0), cause) end
end

-- log.info{ "text", key = value } has the message at 1 or as the field `message`.
local function write_table(number, event)
  local fields, message = {}, event.message or event[1] or ""
  for k, v in next, event do
    if type(k) == "string" and k ~= "message" then fields[k] = v end
  end
  write(number, "log", tostring(message), next(fields) and fields or nil)
end

local function is_wanted(number)
  return number <= (own_level or core.log_level())
end

for name, number in pairs(NUMBERS) do
  if number > 0 then
    M[name] = function(fmt, ...)
      if not is_wanted(number) then return end
      if type(fmt) == "table" and not getmetatable(fmt) then
        write_table(number, fmt)
      else
        write(number, "log", select("#", ...) > 0 and fmt:format(...) or tostring(fmt))
      end
    end
  end
end

---Log an event with fields. Does not suspend.
---@param level luactor.LogLevel
---@param message string
---@param fields table<string, any>?
function M.event(level, message, fields)
  local number = number_of(level, 1, "event")
  if type(message) ~= "string" then bad(2, "event", "string", message) end
  if fields ~= nil and type(fields) ~= "table" then bad(3, "event", "table", fields) end
  if is_wanted(number) then write(number, "log", message, fields) end
end

---Log a report: an event of a kind of its own that may come in storms. Reports of one kind and cause (numbers in it left
---out) beyond `burst` in a `window` are held back; a line tells how many.
---@param level luactor.LogLevel
---@param kind string    "supervisor" and the like
---@param message string
---@param fields table<string, any>?
---@param cause string   what similar reports have in common
function M.report(level, kind, message, fields, cause)
  local number = number_of(level, 1, "report")
  if is_wanted(number) then write(number, kind, message, fields, cause) end
end

---May such a report be written now? When not, it has been counted. For who would rather not make what is not written.
---@return boolean
function M.admits(level, kind, message, cause)
  local number = number_of(level, 1, "admits")
  return is_wanted(number) and core.log_admit(number, kind, message, cause)
end

---Write a report that M.admits has let through.
function M.event_of(level, kind, message, fields)
  write(number_of(level, 1, "event_of"), kind, message, fields)
end

---The level of this process: only events of it and above are logged. "default": the host's, as at first. Returns what held
---before.
---@param name luactor.LogLevel|"none"|"default"|nil
---@return luactor.LogLevel|"none"
function M.level(name)
  local old = NAMES[own_level or core.log_level()]
  if name == "default" then
    own_level = nil
  elseif name ~= nil then
    own_level = number_of(name, 1, "level")
  end
  return old
end

-- Settings of the host ------------------------------------------------------------

---@class luactor.LogSettings
---@field level luactor.LogLevel|"none"|nil  for processes that have none of their own, and for reports of crashes
---@field format "text"|"json"|nil           of lines
---@field time boolean?     text lines begin with the time
---@field redact string[]?  values of keys that hold one of these words, in any case, are not shown
---@field depth integer?    tables deeper than this are shown as {...}; 8
---@field size integer?     bytes of one value in a line; 4096
---@field burst integer?    similar reports in a window before the others are held back; 10
---@field window integer?   ms; 1000

local function check_integer(settings, key, least, most)
  local value = settings[key]
  if value ~= nil and (math.type(value) ~= "integer" or value < least or value > most) then
    error(("log.configure: bad %s (integer from %d to %d expected, got %s)"):format(
      key, least, most, tostring(value)), 3)
  end
end

local function check_settings(settings)
  local known <const> = { level = 1, format = 1, time = 1, redact = 1, depth = 1, size = 1, burst = 1, window = 1 }
  for key in pairs(settings) do
    if not known[key] then error(("log.configure: unknown setting '%s'"):format(tostring(key)), 3) end
  end
  check_integer(settings, "depth", 1, 64)
  check_integer(settings, "size", 64, 1 << 20)
  check_integer(settings, "burst", 1, 1 << 30)
  check_integer(settings, "window", 1, 1 << 30)
  if settings.level ~= nil and not NUMBERS[settings.level] then
    error(("log.configure: unknown level '%s'"):format(tostring(settings.level)), 3)
  end
  if settings.format ~= nil and settings.format ~= "text" and settings.format ~= "json" then
    error(("log.configure: bad format ('text' or 'json' expected, got '%s')"):format(tostring(settings.format)), 3)
  end
  if settings.time ~= nil and type(settings.time) ~= "boolean" then
    error(("log.configure: bad time (boolean expected, got %s)"):format(type(settings.time)), 3)
  end
end

local function words_of(list)
  if list == nil then return nil end
  local ok = type(list) == "table"
  for _, word in ipairs(ok and list or {}) do
    ok = ok and type(word) == "string" and word ~= "" and not word:find "[\n%z]"
  end
  if not ok then error("log.configure: bad redact (list of strings expected)", 3) end
  return #list > 0 and table.concat(list, "\n"):lower() .. "\n" or ""
end

---Change settings of the host's log, for all processes.
---@param settings luactor.LogSettings
function M.configure(settings)
  if type(settings) ~= "table" then bad(1, "configure", "table", settings) end
  check_settings(settings)
  local changes = {}
  for k, v in pairs(settings) do changes[k] = v end
  changes.redact = words_of(settings.redact)
  core.log_set(changes)
  if settings.level then core.log_level(settings.level) end
end

---The present settings of the host's log.
---@return luactor.LogSettings
function M.settings()
  local settings = core.log_settings()
  settings.level = NAMES[core.log_level()]
  local words = {}
  for word in settings.redact:gmatch "[^\n]+" do words[#words + 1] = word end
  settings.redact = words
  return settings
end

-- Handlers -------------------------------------------------------------------------

---@class luactor.LogEvent
---@field level luactor.LogLevel
---@field event string     "log", "crash", "supervisor", "host", "suppressed" and others
---@field message string
---@field text string      the whole line, in the format of the host
---@field time integer     ms since 1970
---@field pid luactor.Pid?  of the process it is about
---@field name string?
---@field label string?
---@field fields table<string, any>  flat values as they are, others as bounded text

---The body of a handler that is a function: travels by name.
---@private
function M.serve(f)
  local is_on = true
  local serve = actor.receiver(
    actor.on({ "log", actor.var.event }, f),
    actor.on("$log_end", function() is_on = false end))
  while is_on do serve() end
end

local function start_handler(name, f)
  return actor.spawn_opt({ label = "log handler " .. name, mailbox = { limit = MAX_WAITING, overflow = "error" } },
    M.serve, f)
end

---Have events go to a function `f(event)`, which runs in a process of its own; to a process, which gets the messages
---{ "log", event }; to a file (a path: lines are appended); or to the host's own place ("host"), where "default" sends them at
---first. Nobody waits for a handler: what it has no room for is dropped and counted. Raises when the name is in use.
---@param name string
---@param target function|luactor.Pid|string|{ file: string }
---@param level luactor.LogLevel?  events of it and above; default: all
function M.add_handler(name, target, level)
  if type(name) ~= "string" or name == "" or #name > 63 then bad(1, "add_handler", "string of 1 to 63 bytes", name) end
  local number = level == nil and NUMBERS.debug or number_of(level, 3, "add_handler")
  local pid, dest
  if type(target) == "function" then
    pid = start_handler(name, target)
    dest = pid
  elseif type(target) == "userdata" and pcall(actor.is_alive, target) then
    dest = target
  elseif type(target) == "table" and type(target.file) == "string" then
    dest = target.file
  elseif type(target) == "string" then
    dest = target ~= "host" and target or nil
  else
    bad(2, "add_handler", "function, pid or path", target)
  end
  local ok, why = core.log_add(name, number, dest, pid ~= nil)
  if not ok then
    if pid then actor.exit(pid, "kill") end
    error(("log.add_handler: cannot add '%s' (%s)"):format(name, why), 2)
  end
end

---Take a handler away; its process, when it was a function, works off what has come and ends.
---@param name string
---@return boolean was_there
function M.remove_handler(name)
  if type(name) ~= "string" then bad(1, "remove_handler", "string", name) end
  local was, pid = core.log_remove(name)
  if pid then actor.try_send(pid, "$log_end") end
  return was
end

---@return { name: string, kind: "host"|"file"|"process", level: string, dropped: integer, pid: luactor.Pid? }[]
function M.handlers()
  return core.log_handlers()
end

return M

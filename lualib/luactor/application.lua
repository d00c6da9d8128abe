-- Applications: parts of a program that are started, configured and stopped as one, in the order in which they
-- need each other.
--
--   local application = require "luactor.application"
--   local shop = application.define{
--     name = "shop", applications = { "store" },
--     start = function() return supervisor.start_link{ ... } end,
--     env = { port = 8080 },
--   }
--   application.ensure_all_started(shop, "permanent")
--   application.get_env("shop", "port")
--
-- What `define` makes is a value; applications are known to the host when they are loaded, which starting does.

local actor = require "luactor"
local core = require "luactor._core"

local M = {}

local CONTROLLER <const> = "luactor.application"

---@class luactor.Application
---@field name string
---@field applications (string|luactor.Application)[]?  must run before; names or what define made
---@field start function|string|table?  gives a supervisor, as the start of a child, and a state; nil: a library
---@field stop fun(state: any)?         after its end
---@field prep_stop (fun(state: any): any)?  before it is told to end; returns the state
---@field env table<string, any>?
---@field description string?
---@field version string?

---@alias luactor.RestartType "permanent"|"transient"|"temporary"

-- What this process has defined, by name.
local defined = {}

local App = { __name = "luactor.application" }
App.__index = App

function App:__tostring() return "application " .. self.name end

local function show(value)
  if type(value) == "string" then return ("'%s'"):format(value) end
  return type(value) == "table" and "a table" or tostring(value)
end

local function bad(field, expected, value, level)
  error(("application: bad field '%s' (%s expected, got %s)"):format(field, expected, show(value)), level + 1)
end

local TYPES <const> = { prep_stop = "function", stop = "function", env = "table", description = "string", version = "string" }
local KNOWN <const> = { name = 1, applications = 1, start = 1, stop = 1, prep_stop = 1, env = 1, description = 1, version = 1 }

local function check_start(start, level)
  local f = start
  if type(start) == "table" then f = start[1] end
  if type(f) ~= "function" and not (type(f) == "string" and f:find "^[^.].*%.[^.]+$") then
    bad("start", "function, 'module.function' or { function, arguments... }", start, level + 1)
  end
  return type(start) == "table" and start or { start }
end

local function is_application(value)
  return type(value) == "table" and getmetatable(value) == App
end

local function check_list(list, level)
  if list == nil then return {} end
  local copy = {}
  for i, needed in ipairs(type(list) == "table" and list or { false }) do
    if type(needed) ~= "string" and not is_application(needed) then
      bad("applications", "list of names or applications", type(list) == "table" and needed or list, level + 1)
    end
    copy[i] = needed
  end
  return copy
end

---Describe an application. Nothing is started; raises for a bad field.
---@param spec luactor.Application
---@return luactor.Application
function M.define(spec)
  if type(spec) ~= "table" then
    error(("bad argument #1 to 'define' (table expected, got %s)"):format(type(spec)), 2)
  end
  for field in pairs(spec) do
    if not KNOWN[field] then error(("application: unknown field %s"):format(show(field)), 2) end
  end
  if type(spec.name) ~= "string" or spec.name == "" then bad("name", "string", spec.name, 2) end
  for field, expected in pairs(TYPES) do
    if spec[field] ~= nil and type(spec[field]) ~= expected then bad(field, expected, spec[field], 2) end
  end
  local app = setmetatable({
    name = spec.name, description = spec.description, version = spec.version, env = spec.env or {},
    applications = check_list(spec.applications, 2), stop = spec.stop, prep_stop = spec.prep_stop,
    start = spec.start ~= nil and check_start(spec.start, 2) or nil,
  }, App)
  defined[app.name] = app
  return app
end

-- The controller --------------------------------------------------------------------------

-- Several may find no controller at once: the name decides who has started it.
local function start_controller()
  local ok, e = pcall(core.spawn_root, { name = CONTROLLER, trap_exit = true, label = "applications" },
    "luactor._application.enter")
  if not ok and not actor.whereis(CONTROLLER) then error(e, 0) end
end

local function ask(...)
  if not actor.whereis(CONTROLLER) then start_controller() end
  return actor.call(CONTROLLER, { ... }, math.huge)
end

-- Expected failures come as nil and the reason.
local function request(...)
  local answer = ask(...)
  if answer[1] == "ok" then return answer[2] end
  return nil, answer[2]
end

-- Finding applications ----------------------------------------------------------------------

-- The application of a name that this process has defined, or that the module of that name is.
local function find(name)
  if defined[name] then return defined[name] end
  local ok, found = pcall(require, name)
  if ok and is_application(found) and found.name == name then return found end
end

local function name_of(app, where, level)
  if is_application(app) then return app.name end
  if type(app) ~= "string" then
    error(("bad argument #1 to '%s' (application or name expected, got %s)"):format(where, show(app)), level + 1)
  end
  return app
end

-- What travels: needed applications by name.
local function sendable(app)
  local copy = {}
  for k, v in pairs(app) do copy[k] = v end
  copy.applications = {}
  for i, needed in ipairs(app.applications) do
    copy.applications[i] = type(needed) == "table" and needed.name or needed
  end
  return copy
end

-- The names in the order in which they must start: what is needed comes first. Loads what is not.
-- Raises for a circle; nil and the reason for what nobody knows.
local function order_of(first, level)
  local known = request "needs"
  local list, state, path = {}, {}, {}
  local failed
  local function visit(app)
    local name = type(app) == "table" and app.name or app
    if state[name] == "done" or failed then return end
    path[#path + 1] = name
    if state[name] then
      local from = 1
      while path[from] ~= name do from = from + 1 end
      error(("application: '%s' needs itself: %s"):format(name, table.concat(path, " -> ", from)), level + 1)
    end
    state[name] = "open"
    local needs = known[name]
    if not needs then
      local found = type(app) == "table" and app or find(name)
      if not found then
        failed = { "not_found", name }
        return
      end
      needs = found
      list.load = list.load or {}
      table.insert(list.load, found)
    end
    for _, needed in ipairs(needs.applications) do visit(needed) end
    state[name] = "done"
    path[#path] = nil
    list[#list + 1] = name
  end
  visit(first)
  if failed then return nil, failed end
  for _, app in ipairs(list.load or {}) do request("load", sendable(app)) end
  return list
end

local function check_type(kind, level)
  if kind == nil then return "temporary" end
  if kind ~= "permanent" and kind ~= "transient" and kind ~= "temporary" then
    error(("application: bad type ('permanent', 'transient' or 'temporary' expected, got %s)"):format(show(kind)), level + 1)
  end
  return kind
end

-- Starting and stopping -----------------------------------------------------------------------

---Make an application known to the host, without starting it: its env can be read and set.
---@param app luactor.Application|string
---@return true?, any  nil, { "already_loaded", name } or { "not_found", name }
function M.load(app)
  local name = name_of(app, "load", 2)
  local found = is_application(app) and app or find(name)
  if not found then return nil, { "not_found", name } end
  return request("load", sendable(found))
end

---Forget an application that does not run.
---@param app luactor.Application|string
---@return true?, any  nil, { "not_loaded", name } or { "running", name }
function M.unload(app)
  return request("unload", name_of(app, "unload", 2))
end

---Start an application; those that it needs must run. Suspends until its start function is through. What its end means: of
---a permanent one the host stops; of a transient one too, unless the reason is "normal"; of a temporary one nothing.
---@param app luactor.Application|string  what define made, or the name of one that is loaded, defined here, or a module
---@param kind luactor.RestartType?       default "temporary"
---@return true?, any  nil, { "not_started", name } of a needed one, { "already_started", name }, { "not_found", name }, or
---what the start failed with
function M.start(app, kind)
  local name = name_of(app, "start", 2)
  kind = check_type(kind, 2)
  local list, why = order_of(app, 2)
  if not list then return nil, why end
  return request("start", name, kind)
end

---As start, and true when it runs already.
---@param app luactor.Application|string
---@param kind luactor.RestartType?
---@return true?, any
function M.ensure_started(app, kind)
  local name = name_of(app, "ensure_started", 2)
  kind = check_type(kind, 2)
  local list, why = order_of(app, 2)
  if not list then return nil, why end
  local ok, reason = request("start", name, kind)
  if not ok and type(reason) == "table" and reason[1] == "already_started" and reason[2] == name then return true end
  return ok, reason
end

---Start an application and before it all that it needs, each once. When one fails, those that this call has started
---are stopped again. Raises when applications need each other in a circle.
---@param app luactor.Application|string
---@param kind luactor.RestartType?
---@return string[]? started, any  names in the order of their starts; nil, { name, reason }
function M.ensure_all_started(app, kind)
  name_of(app, "ensure_all_started", 2)
  kind = check_type(kind, 2)
  local list, why = order_of(app, 2)
  if not list then return nil, { why[2], why } end
  local started = {}
  for _, name in ipairs(list) do
    local ok, reason = request("start", name, kind)
    if ok then
      started[#started + 1] = name
    elseif not (type(reason) == "table" and reason[1] == "already_started" and reason[2] == name) then
      for i = #started, 1, -1 do request("stop", started[i]) end
      return nil, { name, reason }
    end
  end
  return started
end

---Stop an application: prep_stop, its processes, stop. Suspends until that is done. Those that need it are not stopped.
---@param app luactor.Application|string
---@return true?, any  nil, { "not_started", name }
function M.stop(app)
  return request("stop", name_of(app, "stop", 2))
end

---Those that run, the last started first: { name =, description =, version =, type = }.
---@return { name: string, description: string?, version: string?, type: luactor.RestartType }[]
function M.which_applications()
  return request "which_applications"
end

---Those that are loaded, by name.
---@return { name: string, description: string?, version: string? }[]
function M.loaded_applications()
  return request "loaded_applications"
end

---The name of the application that a process belongs to: whose start function, or a descendant of it, has spawned it.
---@param pid luactor.Pid?  default: the caller
---@return string?
function M.get_application(pid)
  return request("get_application", pid or actor.self())
end

-- Settings -------------------------------------------------------------------------------------

local function check_key(key, where, level)
  if type(key) ~= "string" then
    error(("bad argument #2 to '%s' (string expected, got %s)"):format(where, show(key)), level + 1)
  end
end

---A setting of an application, or `default` when there is none.
---@param app luactor.Application|string
---@param key string
---@param default any
---@return any
function M.get_env(app, key, default)
  local name = name_of(app, "get_env", 2)
  check_key(key, "get_env", 2)
  local value = request("get_env", name, key)
  if value == nil then return default end
  return value
end

---All settings of an application.
---@param app luactor.Application|string
---@return table<string, any>
function M.get_all_env(app)
  return request("get_all_env", name_of(app, "get_all_env", 2))
end

---Change a setting; nil takes it away. Of an application that is not loaded yet it is kept until then.
---@param app luactor.Application|string
---@param key string
---@param value any
function M.set_env(app, key, value)
  local name = name_of(app, "set_env", 2)
  check_key(key, "set_env", 2)
  return request("set_env", name, key, value)
end

-- A path to what is no plain value, or nil.
local function find_strange(value, path, seen)
  local kind = type(value)
  if kind == "table" and not seen[value] then
    seen[value] = true
    for k, v in pairs(value) do
      local found = find_strange(k, path .. " (a key)", seen)
        or find_strange(v, path .. (type(k) == "string" and "." .. k or "[" .. tostring(k) .. "]"), seen)
      if found then return found end
    end
  elseif kind == "function" or kind == "thread" or kind == "userdata" then
    return ("%s (%s)"):format(path, kind)
  end
end

local function check_config(settings, where, level)
  if type(settings) ~= "table" then
    error(("%s: a table of tables expected, got %s"):format(where, show(settings)), level + 1)
  end
  for name, env in pairs(settings) do
    if type(name) ~= "string" or type(env) ~= "table" then
      error(("%s: bad field '%s' (table of settings expected, got %s)"):format(where, tostring(name), show(env)), level + 1)
    end
  end
  local strange = find_strange(settings, "config", {})
  if strange then error(("%s: %s is no plain value"):format(where, strange), level + 1) end
end

---Settings of applications, loaded or to be loaded: { name = { key = value } }. They come before what their
---definitions say.
---@param settings table<string, table<string, any>>
function M.config(settings)
  check_config(settings, "application.config", 2)
  return request("config", settings)
end

---Read settings from a file: a Lua table, with `return` before it or not, in which no globals are seen. Raises, with the
---place, for a file that is none.
---@param path string
function M.load_config(path)
  if type(path) ~= "string" then
    error(("bad argument #1 to 'load_config' (path expected, got %s)"):format(show(path)), 2)
  end
  local file, why = io.open(path)
  if not file then error("application.load_config: " .. why, 2) end
  local text = file:read "a"
  file:close()
  local chunk = load("return " .. text, "@" .. path, "t", {})
  local err
  if not chunk then chunk, err = load(text, "@" .. path, "t", {}) end
  if not chunk then error("application.load_config: " .. err, 2) end
  local ok, settings = pcall(chunk)
  if not ok then error("application.load_config: " .. tostring(settings), 2) end
  check_config(settings, "application.load_config: " .. path, 2)
  return request("config", settings)
end

return M

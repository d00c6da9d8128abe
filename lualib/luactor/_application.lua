-- The process that knows the applications of the host, and the process that each of them runs in. Not for
-- programs: luactor.application.
--
--   controller  one, named luactor.application, started by the first use. A process without a parent, so that an
--               orderly stop of the host asks it among the first, and it ends the applications in
--               the reverse order of their starts while all their processes are there.
--   master      one for each application that runs, linked to the controller. It calls `start`, is the parent of
--               the supervisor that comes of it, and calls `stop` when that has ended.
--
-- The controller never waits for a master while the host goes on: a request that must is answered
-- when the master tells.

local actor = require "luactor"
local B = require "luactor._behaviour"
local C = require "luactor._children"
local log = require "luactor.log"

local V, on = actor.var, actor.on

local M = {}

-- The master ----------------------------------------------------------------------------

local function callback(name, what, f, state)
  if not f then return state end
  local ok, result = xpcall(f, debug.traceback, state)
  if not ok then log.error("application %s: %s failed: %s", name, what, tostring(result)) end
  return result
end

-- End the supervisor and wait for its end, however long that takes.
local function end_supervisor(pid)
  local ref = actor.monitor(pid)
  actor.unlink(pid)
  actor.exit(pid, "shutdown")
  actor.receive { "DOWN", ref, "process", pid, V._ }
end

---What a master runs. Not to be called.
function M.run(controller, app)
  actor.trap_exit(true)
  local pid, object, state = C.start(app.start)
  if not pid then
    actor.send(controller, { "$failed", app.name, object })
    return
  end
  actor.send(controller, { "$started", app.name, pid })
  local reason = actor.receive(
    on("$stop", function() end),
    on({ "EXIT", controller, V._ }, function() end),
    on({ "EXIT", "host", V._ }, function() end),
    on({ "EXIT", pid, V.reason }, function(r) return r end))
  if reason == nil then
    if app.prep_stop then state = callback(app.name, "prep_stop", app.prep_stop, state) end
    end_supervisor(pid)
  end
  callback(app.name, "stop", app.stop, state)
  actor.send(controller, { "$ended", app.name, reason == nil and "stopped" or reason })
end

-- The controller ------------------------------------------------------------------------

---@class luactor.LoadedApplication
---@field name string
---@field spec table
---@field env table<string, any>
---@field status "loaded"|"starting"|"running"|"stopping"
---@field type string?
---@field master luactor.Pid?
---@field waiting table[]  who asked for what goes on now

local apps     -- name -> luactor.LoadedApplication
local running  -- names, in the order of their starts
local config   -- name -> settings of load_config
local me

local function remove(list, value)
  for i, v in ipairs(list) do
    if v == value then return table.remove(list, i) end
  end
end

local function ok(...) return { "ok", ... } end

local function fail(reason) return { "error", reason } end

local function answer_all(app, answer)
  for _, from in ipairs(app.waiting) do actor.reply(from, answer) end
  app.waiting = {}
end

local function report(level, text, app, reason)
  if log.admits(level, "application", text, app.name .. text) then
    log.event_of(level, "application", text, { application = app.name, type = app.type, reason = reason })
  end
end

-- Tell a master to stop, and wait for its end. For the end of all.
local function stop_now(app)
  if app.master then
    local ref = actor.monitor(app.master)
    actor.send(app.master, "$stop")
    actor.receive { "DOWN", ref, "process", app.master, V._ }
  end
  app.status, app.master = "loaded", nil
  report("debug", "application stopped", app, "stopped")
end

local function stop_all()
  for _, app in pairs(apps) do
    if app.status == "starting" then
      actor.unlink(app.master)
      actor.exit(app.master, "kill")
    end
  end
  while #running > 0 do stop_now(apps[table.remove(running)]) end
end

local function halt(app, reason)
  stop_all()
  report("error", "the host stops: a " .. app.type .. " application has ended", app, reason)
  actor.halt(reason == "normal" and 0 or 1)
end

-- An application is over; `reason` "stopped": it was asked to be.
local function ended(app, reason)
  remove(running, app.name)
  app.status, app.master = "loaded", nil
  answer_all(app, ok(true))
  local asked = reason == "stopped"
  report((asked or B.is_quiet(reason)) and "debug" or "error", "application ended", app, reason)
  if not asked and (app.type == "permanent" or app.type == "transient" and reason ~= "normal") then
    halt(app, reason)
  end
end

local function on_started(name)
  local app = apps[name]
  if app.status == "stopping" then return end
  app.status = "running"
  running[#running + 1] = name
  answer_all(app, ok(true))
  report("debug", "application started", app)
end

local function on_failed(name, reason)
  local app = apps[name]
  app.status, app.master = "loaded", nil
  answer_all(app, fail(reason))
  report("error", "application did not start", app, reason)
end

local function on_ended(name, reason)
  ended(apps[name], reason)
end

-- A master ends after it has told why, or is killed.
local function on_exit(pid, reason)
  for _, app in pairs(apps) do
    if app.master == pid then
      if app.status == "starting" then return on_failed(app.name, reason) end
      return ended(app, app.status == "stopping" and "stopped" or reason)
    end
  end
end

-- Requests --------------------------------------------------------------------------------

local requests = {}

local function copy_into(t, more)
  for k, v in pairs(more or {}) do t[k] = v end
  return t
end

function requests.load(_, spec)
  if apps[spec.name] then return fail { "already_loaded", spec.name } end
  local env = copy_into(copy_into({}, spec.env), config[spec.name])
  apps[spec.name] = { name = spec.name, spec = spec, env = env, status = "loaded", waiting = {} }
  return ok(true)
end

function requests.unload(_, name)
  local app = apps[name]
  if not app then return fail { "not_loaded", name } end
  if app.status ~= "loaded" then return fail { "running", name } end
  apps[name] = nil
  return ok(true)
end

-- Which applications are loaded, and what they need: for who finds the order of starts.
function requests.needs()
  local list = {}
  for name, app in pairs(apps) do
    list[name] = { applications = app.spec.applications, status = app.status }
  end
  return ok(list)
end

function requests.start(from, name, kind)
  local app = apps[name]
  if not app then return fail { "not_loaded", name } end
  if app.status == "starting" then
    app.waiting[#app.waiting + 1] = from
    return nil
  elseif app.status ~= "loaded" then
    return fail { "already_started", name }
  end
  for _, needed in ipairs(app.spec.applications) do
    local other = apps[needed]
    if not other or other.status ~= "running" then return fail { "not_started", needed } end
  end
  app.type = kind
  if not app.spec.start then -- a library: it has nothing to run
    on_started(name)
    return ok(true)
  end
  app.status = "starting"
  app.waiting = { from }
  app.master = actor.spawn_opt({ link = true, trap_exit = true, label = "application " .. name }, M.run,
    actor.self(), app.spec)
  return nil
end

function requests.stop(from, name)
  local app = apps[name]
  if not app or app.status == "loaded" then return fail { "not_started", name } end
  if app.status == "running" and not app.master then
    ended(app, "stopped")
    return ok(true)
  end
  if app.status == "running" then
    actor.send(app.master, "$stop")
  elseif app.status == "starting" then
    answer_all(app, fail "stopped")
    actor.exit(app.master, "kill")
  end
  app.status = "stopping"
  app.waiting[#app.waiting + 1] = from
  return nil
end

local function describe(app)
  return { name = app.name, description = app.spec.description, version = app.spec.version, type = app.type }
end

function requests.which_applications()
  local list = {}
  for i = #running, 1, -1 do list[#list + 1] = describe(apps[running[i]]) end
  return ok(list)
end

function requests.loaded_applications()
  local list = {}
  for _, app in pairs(apps) do list[#list + 1] = describe(app) end
  table.sort(list, function(a, b) return a.name < b.name end)
  return ok(list)
end

function requests.get_env(_, name, key)
  local app = apps[name]
  if not app then return ok(config[name] and config[name][key]) end
  return ok(app.env[key])
end

function requests.get_all_env(_, name)
  local app = apps[name]
  return ok(app and app.env or config[name] or {})
end

-- For an application that is not loaded yet the setting is kept until it is.
function requests.set_env(_, name, key, value)
  local app = apps[name]
  local env = app and app.env or config[name] or {}
  if not app then config[name] = env end
  env[key] = value
  return ok(true)
end

function requests.config(_, settings)
  for name, env in pairs(settings) do
    config[name] = copy_into(config[name] or {}, env)
    if apps[name] then copy_into(apps[name].env, env) end
  end
  return ok(true)
end

-- The application whose master is an ancestor of the process.
function requests.get_application(_, pid)
  while pid do
    for name, app in pairs(apps) do
      if app.master == pid then return ok(name) end
    end
    pid = actor.info(pid, "parent")
  end
  return ok(nil)
end

local function on_call(from, request)
  local f = type(request) == "table" and requests[request[1]]
  local answer = fail { "badcall", request }
  if f then answer = f(from, table.unpack(request, 2, 4)) end
  if answer then actor.reply(from, answer) end
end

---What the controller runs. Not to be called.
function M.enter()
  actor.trap_exit(true)
  apps, running, config = {}, {}, {}
  me = {
    behaviour = "application",
    name = "luactor.application",
    get = function()
      local list = {}
      for name, app in pairs(apps) do list[name] = { status = app.status, type = app.type, env = app.env } end
      return { applications = list, running = running }
    end,
    set = function() end,
    terminate = stop_all,
    change = function() end,
  }
  B.begin({ nil, false }, me)
  local serve = actor.receiver(
    on({ "$gen_call", V.from "table", V.request }, on_call),
    on({ "$started", V.name, V._ }, on_started),
    on({ "$failed", V.name, V.reason }, on_failed),
    on({ "$ended", V.name, V.reason }, on_ended),
    on({ "EXIT", V.pid "pid", V.reason }, on_exit),
    on({ "EXIT", "host", V.reason }, actor.exit),
    B.clauses(on_exit, on(actor._, function() end)))
  while true do serve() end
end

return M

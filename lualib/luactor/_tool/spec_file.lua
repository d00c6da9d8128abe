-- One spec file, run by busted in a process of its own. What busted tells of the tests goes
-- to the process that runs `luactor test`.
--
-- busted is used through its runner, as bin/busted does; three of its modules are replaced:
--   the command line       has been read by our parent, which hands on the result
--   the output library     (unless the user names one) sends messages
--   the environment        busted gives spec files an environment of their own; a
--                          function that travels to another process would take it along. Here it
--                          is the real _G, which finds busted's functions through its metatable

local actor = require "luactor"

local M = {}

-- busted's contexts hold the functions that a block may use; the innermost one first.
local function real_environment(context)
  setmetatable(_G, { __index = function(_, key)
    local block = context.get()
    while block do
      local value = block.env and block.env[key]
      if value ~= nil then return value end
      block = context.parent(block)
    end
  end })
  local environment = {}
  function environment.set(key, value)
    local block = context.get()
    block.env = block.env or {}
    block.env[key] = value
    if rawget(_G, key) ~= nil then rawset(_G, key, value) end -- assert
  end
  function environment.wrap() end
  return environment
end

local function replace_modules(settings)
  package.loaded["busted.modules.cli"] = function()
    local cli = {}
    function cli:set_name() end
    function cli:parse() return settings end
    return cli
  end
  package.loaded["busted.environment"] = real_environment
end

local function text_of(message)
  if type(message) == "string" or message == nil then return message or "nil error" end
  return require "pl.pretty".write(message)
end

-- Tells `parent` of each test, and of errors outside of tests.
local function tell(busted, handler, parent)
  local problems = {}
  local function note(element, _, message, trace)
    local formatted = handler.format(element, nil, message, trace)
    local where = element.trace or trace
    problems[element] = {
      name = formatted.name,
      where = where and where.short_src and ("%s:%d"):format(where.short_src, where.currentline),
      message = text_of(message),
      traceback = trace and trace.traceback,
    }
    if element.descriptor ~= "it" then
      actor.send(parent, { "test", "error", problems[element] })
    end
    return nil, true
  end
  busted.subscribe({ "failure" }, note)
  busted.subscribe({ "error" }, note)
  busted.subscribe({ "pending" }, function(element, _, message)
    problems[element] = { message = type(message) == "string" and message or nil }
    return nil, true
  end)
  busted.subscribe({ "test", "end" }, function(element, _, status)
    local details = problems[element] or {}
    details.name = handler.getFullName(element)
    details.ms = (element.duration or 0) * 1000
    actor.send(parent, { "test", status, details })
    return nil, true
  end, { predicate = handler.cancelOnPending })
end

-- A library with busted's interface that shows nothing. It stands beside the one that the user
-- names, or alone.
local function install_output(settings, parent)
  local chosen = settings.output
  package.loaded["busted.outputHandlers.luactor"] = function(options)
    local busted = require "busted"
    local handler = require "busted.outputHandlers.base"()
    handler.options = options
    tell(busted, handler, parent)
    if chosen == "luactor" then return handler end
    local ok, other = pcall(require, "busted.outputHandlers." .. chosen)
    if not ok then other = chosen:find "%.lua$" and dofile(chosen) or require(chosen) end
    return other(options)
  end
  settings.output = "luactor"
end

---The body of the process; travels by name.
---@param parent luactor.Pid
---@param settings table  what busted's command line gave, ROOT being this file
---@param words table<integer, string>  `arg` of the command; what came behind "test" is gone
function M.run(parent, settings, words)
  replace_modules(settings)
  install_output(settings, parent)
  -- The runner ends by os.exit, as a spec may: that is the end of this file alone.
  local is_done = false
  os.exit = function(status) -- luacheck: ignore 122
    io.stdout:flush()
    if is_done then actor.exit "normal" end
    actor.exit { "os.exit", status == nil or status }
  end
  arg = words -- luacheck: ignore 111
  local run = require "busted.runner"
  local execute = require "busted.execute"
  package.loaded["busted.execute"] = function(busted)
    local go = execute(busted)
    return function(...)
      go(...)
      is_done = true
    end
  end
  run { standalone = false, output = "luactor" }
end

return M

-- An agent: a process that keeps a value for others.
--
--   local agent = require "luactor.agent"
--   local seen = agent.start_link {}
--   agent.update(seen, function(set) set.lua = true return set end)
--   print(agent.get(seen, function(set) return set.lua end))     --> true
--
-- The functions run in the agent, one at a time; they travel there with their upvalues by value. Each may be given as
-- "module.function" too. One that raises ends the agent.
--
-- An agent is a gen_server: what starts one returns a server object, whose pid or name serves as well.

local actor = require "luactor"
local gen_server = require "luactor.gen_server"

local M = {}

local Agent = gen_server.define "agent"
M._class = Agent -- so that it travels by name

local function resolve(f)
  if type(f) ~= "string" then return f end
  local module, name = f:match "^(.*)%.([^.]+)$"
  return require(module)[name]
end

function Agent:init(is_function, value)
  if is_function then self.value = resolve(value)() else self.value = value end
end

-- What another node names must be its to run; the agent lives on if it is not.
local function refused(f, who)
  if type(f) ~= "string" or require("luactor._remote").allows(who, f) then return nil end
  return { ["$refused"] = f }
end

local function asker()
  return gen_server.from()[1]
end

function Agent.call:get(f)
  local no = refused(f, asker())
  if no then return no end
  return resolve(f)(self.value)
end

function Agent.call:update(f)
  local no = refused(f, asker())
  if no then return no end
  self.value = resolve(f)(self.value)
  return true
end

function Agent.call:get_and_update(f)
  local no = refused(f, asker())
  if no then return no end
  local reply, value = resolve(f)(self.value)
  self.value = value
  return reply
end

function Agent.cast:update(f)
  if not refused(f, actor.sender()) then self.value = resolve(f)(self.value) end
end

local function check_function(f, what, n, level)
  if type(f) == "function" or type(f) == "string" and f:find "^.+%.[^.]+$" then return end
  error(("bad argument #%d to '%s' (function or 'module.function' expected, got %s)"):format(n, what,
    type(f) == "string" and f or type(f)), level + 1)
end

local function ask(agent, request, ms)
  local result = gen_server.call(agent, request, ms)
  if type(result) == "table" and rawget(result, "$refused") then
    error(("agent: '%s' is not exported to this node"):format(result["$refused"]), 3)
  end
  return result
end

local function start(opts, link, value)
  local o = { link = link }
  if opts ~= nil then
    if type(opts) ~= "table" then
      require("luactor._start").raise(("bad argument #2 to 'start' (table of options expected, got %s)"):format(
        type(opts)))
    end
    for k, v in pairs(opts) do o[k] = v end
  end
  return gen_server.start_opt(Agent, o, type(value) == "function", value)
end

---Start an agent that is linked to the caller. Suspends until it has its value; raises a luactor.StartError when the
---function does.
---@param value any    a function, which is called in the agent for the first value; or that value itself
---@param opts table?  of gen_server.start_opt: name, timeout and others
---@return luactor.Server
function M.start_link(value, opts)
  return start(opts, true, value)
end

---As start_link, without the link.
---@param value any
---@param opts table?
---@return luactor.Server
function M.start(value, opts)
  return start(opts, nil, value)
end

---What `f(value)` returns. Suspends.
---@param agent luactor.Server|luactor.Dest
---@param f fun(value: any): any
---@param ms number?  default 5000
---@return any
function M.get(agent, f, ms)
  check_function(f, "get", 2, 2)
  return ask(agent, { "get", f }, ms)
end

---Replace the value by what `f(value)` returns. Suspends until that is done.
---@param agent luactor.Server|luactor.Dest
---@param f fun(value: any): any
---@param ms number?  default 5000
---@return true
function M.update(agent, f, ms)
  check_function(f, "update", 2, 2)
  return ask(agent, { "update", f }, ms)
end

---`f(value)` returns two values: the result of this call, and the new value. Suspends.
---@param agent luactor.Server|luactor.Dest
---@param f fun(value: any): any, any
---@param ms number?  default 5000
---@return any
function M.get_and_update(agent, f, ms)
  check_function(f, "get_and_update", 2, 2)
  return ask(agent, { "get_and_update", f }, ms)
end

---As update, without waiting for it.
---@param agent luactor.Server|luactor.Dest
---@param f fun(value: any): any
function M.cast(agent, f)
  check_function(f, "cast", 2, 2)
  return gen_server.cast(agent, { "update", f })
end

---End the agent. Suspends until it is gone.
---@param agent luactor.Server|luactor.Dest
---@param reason any   default "normal"
---@param ms number?   default: no limit
function M.stop(agent, reason, ms)
  return gen_server.stop(agent, reason, ms)
end

return M

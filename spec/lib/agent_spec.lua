local actor = require "luactor"
local agent = require "luactor.agent"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- functions that travel take the real globals along

describe("agent", function()
  local a

  local function failure(f, ...)
    local ok, e = pcall(f, ...)
    assert(not ok, "the function did not raise")
    return e
  end

  local function value(v) return v end

  before_each(function()
    helper.mark()
    a = agent.start(1)
  end)

  after_each(function()
    helper.kill(a.pid)
    helper.check()
  end)

  it("keeps a value", function()
    agent.update(a, function(n) return n + 1 end)
    assert.equal(2, (agent.get(a, value)))
  end)

  it("begins with what a function returns", function()
    local b = agent.start(function() return { me = actor.self() } end)
    local pid = agent.get(b, function(t) return t.me end)
    agent.stop(b)
    assert.equal(b.pid, pid)
  end)

  it("may keep nil and false", function()
    agent.update(a, function() return false end)
    assert.is_false((agent.get(a, value)))
    agent.update(a, function() end)
    assert.is_nil((agent.get(a, value)))
  end)

  it("gets and updates in one step", function()
    assert.equal("old 1", (agent.get_and_update(a, function(n) return "old " .. n, n + 10 end)))
    assert.equal(11, (agent.get(a, value)))
  end)

  it("updates without waiting with cast", function()
    agent.cast(a, function(n) return n * 5 end)
    assert.equal(5, (agent.get(a, value)))
  end)

  it("runs functions with their upvalues", function()
    local k = 7
    agent.update(a, function(n) return n + k end)
    assert.equal(8, (agent.get(a, value)))
  end)

  it("runs functions by name", function()
    agent.update(a, function() return { 3, 1, 2 } end)
    assert.equal("3,1,2", (agent.get(a, function(t) return table.concat(t, ",") end)))
    assert.equal("3 1 2", (agent.get(a, "spec.fixture.words.join")))
  end)

  it("has a name when asked for", function()
    local b = agent.start_link({}, { name = "agent_spec" })
    assert.same({}, (agent.get("agent_spec", value)))
    agent.stop "agent_spec"
    assert.is_nil(actor.whereis "agent_spec")
    assert.is_false(actor.is_alive(b.pid))
  end)

  it("is a server: its functions are methods too", function()
    assert.equal(1, (a:get(value)))
  end)

  it("ends with a function that raises", function()
    local mon = actor.monitor(a)
    local e = failure(agent.get, a, function() error("no", 0) end)
    assert.equal("no", e.reason[2])
    assert.equal("no", helper.down(mon)[2])
  end)

  it("does not start when its function raises", function()
    assert.equal("no", failure(agent.start_link, function() error("no", 0) end).reason[2])
  end)

  it("names the argument that is no function", function()
    assert.matches("bad argument #2 to 'get' %(function or 'module.function' expected, got number%)",
      failure(agent.get, a, 5))
    assert.matches("bad argument #2 to 'update' %(function or 'module.function' expected, got word%)",
      failure(agent.update, a, "word"))
  end)

  it("gives up after the time given", function()
    local e = failure(agent.get, a, function() actor.sleep(1e9) end, 5)
    assert.equal("timeout", e.reason)
  end)
end)

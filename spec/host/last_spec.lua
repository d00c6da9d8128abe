-- luactor._core.last: a function for when the process has ended itself.
local actor = require "luactor"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- functions that travel take the real globals along
local V = actor.var

-- Runs body(me) in a process whose last function tells the reason, then runs
-- `more`; returns the reasons of the function and of the process.
local function run(body, more)
  local me = actor.self()
  local pid, mon = actor.spawn_monitor(function()
    require("luactor._core").last(function(reason)
      actor.send(me, { "last", type(reason) == "table" and reason[2] or reason })
      if more then more() end
    end)
    body(me)
  end)
  local reason = helper.down(mon)
  local told = actor.receive({ "last", V.reason }, 0)
  assert(not actor.is_alive(pid))
  return told, type(reason) == "table" and reason[2] or reason
end

describe("the last function", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("runs after an error, and the reason stays", function()
    assert.same({ "bang", "bang" }, { run(function() error("bang", 0) end) })
  end)

  it("runs after exit(reason)", function()
    assert.same({ "why", "why" }, { run(function() actor.exit "why" end) })
  end)

  it("runs after exit(reason) inside pcall, coroutines and C functions", function()
    assert.same({ "why", "why" }, { run(function()
      pcall(coroutine.wrap(function()
        table.sort({ 1, 2 }, function() actor.exit "why" end)
      end))
    end) })
    assert.same({ "why", "why" }, { run(function()
      string.gsub("a", "a", function() actor.exit "why" end)
    end) })
  end)

  it("runs behind pending <close> variables", function()
    local me = actor.self()
    run(function()
      local _ <close> = setmetatable({}, { __close = function()
        actor.send(me, "closed")
      end })
      actor.exit "why"
    end, function() actor.send(me, "last done") end)
    assert.same({ "closed", "last done" }, { actor.receive(), (actor.receive()) })
  end)

  it("may wait, call and be preempted", function()
    local echo = helper.spawn_echo()
    local me = actor.self()
    run(function() actor.exit "why" end, function()
      actor.sleep(1)
      for _ = 1, 100000 do end
      actor.send(echo, { actor.self(), "hello" })
      actor.send(me, { "echoed", (select(2, actor.receive { V.from, V.text })) })
    end)
    assert.equal("hello", (helper.receive { "echoed", V.text }))
    helper.kill(echo)
  end)

  it("changes the reason by another exit", function()
    assert.same({ "one", "two" },
      { run(function() actor.exit "one" end, function() actor.exit "two" end) })
  end)

  it("changes the reason by an error", function()
    assert.same({ "one", "two" },
      { run(function() actor.exit "one" end, function() error("two", 0) end) })
  end)

  it("ends with a kill", function()
    assert.same({ "one", "killed" }, { run(function() actor.exit "one" end,
      function() actor.exit(actor.self(), "kill") end) })
  end)

  it("does not run for an exit signal, a return, or when taken back", function()
    assert.same({ nil, "signal" },
      { run(function() actor.exit(actor.self(), "signal") end) })
    assert.same({ nil, "normal" }, { run(function() end) })
    assert.same({ nil, "why" }, { run(function()
      require("luactor._core").last(nil)
      actor.exit "why"
    end) })
  end)

  it("does not run past the heap limit", function()
    local me = actor.self()
    local _, mon = actor.spawn_opt({ monitor = true, max_heap = 1 << 20 }, function()
      require("luactor._core").last(function() actor.send(me, "last") end)
      local t = {}
      while true do t[#t + 1] = ("x"):rep(1000) .. #t end
    end)
    assert.same({ "heap_limit", 1 << 20 }, (helper.down(mon)))
    assert.same({ nil, "timeout" }, { actor.receive("last", 0) })
  end)
end)

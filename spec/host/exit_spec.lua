local actor = require "luactor"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- functions that travel take the real globals along
local V = actor.var

local function guard(me, text)
  return setmetatable({}, { __close = function() actor.send(me, text) end })
end

describe("the end of a process", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("is normal when its function returns", function()
    assert.equal("normal", helper.reason(function() return "ignored" end))
  end)

  it("carries the text of an uncaught error, with its position", function()
    local reason = helper.reason(function() error("no luck") end)
    assert.matches("exit_spec%.lua:%d+: no luck", reason[2])
  end)

  it("carries the tag error and a traceback", function()
    local function deep() error("no luck") end
    local reason = helper.reason(function()
      deep()
      return 1
    end)
    assert.same({ "error", true },
      { reason[1], reason[3]:find("traceback", 1, true) ~= nil })
  end)

  it("carries a table that was raised", function()
    local reason = helper.reason(function() error({ code = 7 }) end)
    assert.same({ code = 7 }, reason[2])
  end)

  it("carries text for an error value that cannot travel", function()
    local reason = helper.reason(function() error(coroutine.create(print)) end)
    assert.equal("string", type(reason[2]))
  end)

  it("comes with an error of the runtime too", function()
    local reason = helper.reason(function() return nil + 1 end)
    assert.matches("arithmetic on a nil value", reason[2])
  end)

  it("runs pending close variables after an error", function()
    local me = actor.self()
    helper.reason(function()
      local g <close> = guard(me, "closed")
      error "x"
    end)
    assert.equal("closed", (helper.receive "closed"))
  end)

  it("frees its name before its monitors fire", function()
    local _, mon = actor.spawn_opt({ name = "exit_spec_name", monitor = true },
      function() end)
    helper.down(mon)
    assert.is_nil(actor.whereis "exit_spec_name")
  end)

  it("stops its timers", function()
    local me = actor.self()
    helper.run(function()
      actor.send_every(1, me, "tick")
      actor.receive("never", 5)
    end)
    actor.flush "tick"
    assert.same({ nil, "timeout" }, { actor.receive("tick", 20) })
  end)

  it("is reported once on stderr when it is a crash", function()
    local _, err = helper.cli { code = [[
      local actor = require "luactor"
      local _, mon = actor.spawn_opt({ monitor = true, label = "lbl-7" }, function()
        error("unexpected-problem")
      end)
      actor.receive { "DOWN", mon, "process", actor._, actor._ }
    ]] }
    local _, count = err:gsub("unexpected%-problem", "")
    local _, labels = err:gsub("lbl%-7", "")
    assert.same({ true, true }, { count >= 1, labels == 1 })
  end)

  it("is not reported when it is normal", function()
    local _, err = helper.cli { code = [[
      local actor = require "luactor"
      local _, mon = actor.spawn_monitor(function() end)
      actor.receive { "DOWN", mon, "process", actor._, actor._ }
    ]] }
    assert.equal("", err)
  end)

  it("is reported with pid, traceback and the line of the error", function()
    local out, err = helper.cli { code = [[
      local actor = require "luactor"
      local function innermost() error("bad-line") end
      local pid, mon = actor.spawn_monitor(function() innermost() return 1 end)
      actor.receive { "DOWN", mon, "process", actor._, actor._ }
      print(pid)
    ]] }
    assert.same({ true, true, true }, {
      err:find(out:match "%S+", 1, true) ~= nil,
      err:find("traceback", 1, true) ~= nil,
      err:find("%.lua:2: bad%-line") ~= nil })
  end)
end)

describe("actor.exit(reason)", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("ends the caller with any value as the reason", function()
    local reasons = { "bye", 7, { "error", "my own" }, false, { a = { 1 } } }
    for _, reason in ipairs(reasons) do
      assert.same(reason, helper.reason(function() actor.exit(reason) end))
    end
  end)

  it("ends the caller inside pcall", function()
    local me = actor.self()
    local reason = helper.reason(function()
      pcall(actor.exit, "bye")
      actor.send(me, "survived")
    end)
    assert.same({ "bye", nil, "timeout" }, { reason, actor.receive("survived", 0) })
  end)

  it("ends the caller inside a coroutine", function()
    assert.equal("bye", helper.reason(function()
      coroutine.wrap(function() actor.exit "bye" end)()
      return "survived"
    end))
  end)

  it("runs pending close variables, innermost first", function()
    local me = actor.self()
    helper.reason(function()
      local a <close> = guard(me, { "closed", "a" })
      local b <close> = guard(me, { "closed", "b" })
      actor.exit "bye"
    end)
    assert.same({ "b", "a" }, {
      (helper.receive { "closed", V.x }), (helper.receive { "closed", V.x }) })
  end)

  it("runs pending close variables of a coroutine", function()
    local me = actor.self()
    helper.reason(function()
      coroutine.wrap(function()
        local a <close> = guard(me, "closed in coroutine")
        actor.exit "bye"
      end)()
    end)
    assert.equal("closed in coroutine", (helper.receive "closed in coroutine"))
  end)

  it("keeps the reason when a close variable raises", function()
    assert.equal("bye", helper.reason(function()
      local a <close> = setmetatable({}, { __close = function() error "late" end })
      actor.exit "bye"
    end))
  end)
end)

describe("actor.exit(pid, reason)", function()
  before_each(helper.mark)
  after_each(helper.check)

  local function victim(body)
    local me = actor.self()
    local pid, mon = actor.spawn_monitor(function()
      actor.send(me, "ready")
      body()
    end)
    helper.receive "ready"
    return pid, mon
  end

  it("ends a process that waits", function()
    local pid, mon = victim(function() actor.receive("never") end)
    actor.exit(pid, "enough")
    assert.equal("enough", (helper.down(mon)))
  end)

  it("ends a process that sleeps", function()
    local pid, mon = victim(function() actor.sleep(600000) end)
    actor.exit(pid, "enough")
    assert.equal("enough", (helper.down(mon)))
  end)

  it("ends a process that loops", function()
    local pid, mon = victim(function() while true do end end)
    actor.exit(pid, "enough")
    assert.equal("enough", (helper.down(mon)))
  end)

  it("carries any value", function()
    local pid, mon = victim(function() actor.receive("never") end)
    actor.exit(pid, { code = { 1, 2 } })
    assert.same({ code = { 1, 2 } }, (helper.down(mon)))
  end)

  it("with normal leaves the process alone", function()
    local pid, mon = victim(function()
      helper.receive "go"
      actor.exit "went on"
    end)
    actor.exit(pid, "normal")
    actor.send(pid, "go")
    assert.equal("went on", (helper.down(mon)))
  end)

  it("becomes a message to a process that traps exits", function()
    local me = actor.self()
    local pid, mon = victim(function()
      actor.trap_exit(true)
      actor.send(me, "trapping")
      local from, reason = helper.receive { "EXIT", V.from, V.reason }
      actor.exit { from, reason }
    end)
    helper.receive "trapping"
    actor.exit(pid, "please")
    assert.same({ me, "please" }, (helper.down(mon)))
  end)

  it("with normal becomes a message to a process that traps exits", function()
    local me = actor.self()
    local pid, mon = victim(function()
      actor.trap_exit(true)
      actor.send(me, "trapping")
      actor.exit { (helper.receive { "EXIT", me, V.reason }) }
    end)
    helper.receive "trapping"
    actor.exit(pid, "normal")
    assert.same({ "normal" }, (helper.down(mon)))
  end)

  it("with kill ends a process that traps exits, as killed", function()
    local me = actor.self()
    local pid, mon = victim(function()
      actor.trap_exit(true)
      actor.send(me, "trapping")
      while true do actor.receive() end
    end)
    helper.receive "trapping"
    actor.exit(pid, "kill")
    assert.equal("killed", (helper.down(mon)))
  end)

  it("with kill runs pending close variables", function()
    local me = actor.self()
    local pid, mon = victim(function()
      local a <close> = guard(me, "closed by kill")
      actor.receive("never")
    end)
    actor.exit(pid, "kill")
    helper.down(mon)
    assert.equal("closed by kill", (helper.receive "closed by kill"))
  end)

  it("with kill runs pending close variables of a running loop", function()
    local me = actor.self()
    local pid, mon = victim(function()
      local a <close> = guard(me, "closed by kill")
      while true do end
    end)
    actor.exit(pid, "kill")
    helper.down(mon)
    assert.equal("closed by kill", (helper.receive "closed by kill"))
  end)

  it("ends a process whose close variable never returns", function()
    local pid, mon = victim(function()
      local a <close> = setmetatable({}, { __close = function()
        while true do end
      end })
      actor.receive("never")
    end)
    actor.exit(pid, "kill")
    assert.equal("killed", (helper.down(mon)))
  end)

  it("ends a process whose close variable waits for a message", function()
    local pid, mon = victim(function()
      local a <close> = setmetatable({}, { __close = function()
        actor.receive("never")
      end })
      actor.receive("never")
    end)
    actor.exit(pid, "kill")
    assert.equal("killed", (helper.down(mon)))
  end)

  it("is not seen by pcall", function()
    local me = actor.self()
    local pid, mon = victim(function()
      pcall(actor.receive, "never")
      actor.send(me, "survived")
    end)
    actor.exit(pid, "enough")
    local reason = helper.down(mon)
    assert.same({ "enough", nil, "timeout" },
      { reason, actor.receive("survived", 0) })
  end)

  it("does nothing to a process that has ended", function()
    assert.has_no_error(function() actor.exit(helper.dead_pid(), "late") end)
  end)

  it("arrives after the messages sent before it", function()
    local me = actor.self()
    local pid, mon = victim(function()
      actor.trap_exit(true)
      actor.send(me, "trapping")
      local order = {}
      for i = 1, 3 do
        order[i] = actor.receive(
          actor.on({ "EXIT", me, V.reason }, function(reason) return reason end),
          actor.on(V.x, function(x) return x end))
      end
      actor.exit(order)
    end)
    helper.receive "trapping"
    actor.send(pid, "one")
    actor.exit(pid, "two")
    actor.send(pid, "three")
    assert.same({ "one", "two", "three" }, (helper.down(mon)))
  end)
end)

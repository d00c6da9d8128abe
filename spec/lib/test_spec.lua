-- luactor.test: what specs wait with.
local actor = require "luactor"
local test = require "luactor.test"
local helper = require "spec.helper"
local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G

local V = actor.var

-- The message of the error that f raises, without its position.
local function complaint(f, ...)
  local ok, message = pcall(f, ...)
  assert.is_false(ok)
  return (message:gsub("^[%w_./]+:%d+: ", ""))
end

describe("luactor.test", function()
  before_each(helper.mark)
  after_each(helper.check)

  describe("receive", function()
    it("returns the captures", function()
      actor.send(actor.self(), { "pair", 1, "x" })
      local n, text = test.receive { "pair", V.n, V.text }
      assert.equal(1, n)
      assert.equal("x", text)
    end)

    it("waits for what is to come", function()
      actor.send_after(5, actor.self(), "late")
      assert.equal("late", test.receive "late")
    end)

    it("raises with the messages that wait, and takes them", function()
      actor.send(actor.self(), { "other", key = 2 })
      assert.equal('no message matched within 1 ms; the mailbox holds\n  { "other", key = 2 }',
        complaint(test.receive, "wanted", 1))
      assert.equal("no message matched within 0 ms; the mailbox is empty",
        complaint(test.receive, "wanted", 0))
    end)
  end)

  describe("refute", function()
    it("is content when nothing matches, and leaves the rest", function()
      actor.send(actor.self(), "other")
      test.refute("unwanted", 1)
      assert.equal("other", actor.receive())
    end)

    it("raises with what matched", function()
      actor.send(actor.self(), { "unwanted", 7 })
      assert.equal("a message matched: 7", complaint(test.refute, { "unwanted", V.n }))
    end)
  end)

  describe("wait", function()
    it("returns what the condition gave", function()
      local n = 0
      assert.equal(3, test.wait(function()
        n = n + 1
        return n == 3 and n
      end))
    end)

    it("raises after the deadline", function()
      assert.equal("the condition did not come true within 2 ms; it gave false",
        complaint(test.wait, function() return false end, 2))
    end)
  end)

  describe("reason", function()
    it("is that of a function's process", function()
      assert.equal("normal", test.reason(function() end))
      assert.same({ "bye", 1 }, test.reason(actor.exit, { "bye", 1 }))
    end)

    it("is that of a process which ends later", function()
      local pid = helper.spawn_idle()
      actor.send_after(1, actor.self(), "now")
      actor.receive "now"
      actor.exit(pid, "shutdown")
      assert.is_true(({ shutdown = true, noproc = true })[test.reason(pid)])
    end)

    it("is noproc for one that has ended", function()
      assert.equal("noproc", test.reason(helper.dead_pid()))
    end)

    it("says where a process stands that does not end", function()
      local old <close> = setmetatable({ test.patience }, { __close = function(t) test.patience = t[1] end })
      test.patience = 20
      local text = complaint(test.reason, function() actor.receive "never" end)
      assert.matches("^the process did not end within 20 ms; it was at spec/lib/test_spec.lua:%d+$", text)
      assert.equal(5000, old[1])
    end)
  end)

  it("down gives reason and pid of a monitor", function()
    local pid, ref = actor.spawn_monitor(function() actor.exit "tired" end)
    assert.same({ "tired", pid }, { test.down(ref) })
    assert.matches("^no process ended within 1 ms", complaint(test.down, actor.ref(), 1))
  end)

  it("exited gives reason and pid of a linked process", function()
    actor.trap_exit(true)
    local pid = actor.spawn_link(function() actor.exit "tired" end)
    assert.same({ "tired", pid }, { test.exited(pid) })
    assert.matches("^no exit signal came within 1 ms", complaint(test.exited, nil, 1))
    actor.trap_exit(false)
  end)

  describe("logs", function()
    it("gives the events of a function, and its results", function()
      local events, a, b = test.logs(function(x)
        require "luactor.log".warn("careful: %s", x)
        return 1, 2
      end, "hot")
      assert.equal(1, #events)
      assert.equal("warn", events[1].level)
      assert.equal("careful: hot", events[1].message)
      assert.same({ 1, 2 }, { a, b })
    end)

    it("has the crash reports of processes that ended meanwhile", function()
      local events = test.logs(function()
        test.reason(function() error("boom 1", 0) end)
      end)
      local event = assert(test.find_event(events, "boom 1"))
      assert.equal("crash", event.event)
      assert.is_nil(test.find_event(events, "boom 2"))
    end)

    it("raises the function's error, and the log is as before", function()
      local log = require "luactor.log"
      local before = log.handlers()
      assert.equal("oops", complaint(test.logs, function() error("oops", 0) end))
      assert.same(#before, #log.handlers())
      assert.equal(before[1].name, log.handlers()[1].name)
    end)
  end)
end)

local actor = require "luactor"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- functions that travel take the real globals along

local function contains(list, x)
  for _, y in ipairs(list) do
    if x == y then return true end
  end
  return false
end

describe("actor.info", function()
  local pid, mon

  before_each(function()
    helper.mark()
    pid, mon = actor.spawn_opt({ name = "info_spec", label = "idler",
      priority = "high", monitor = true }, function() actor.receive("never") end)
    helper.wait(function() return actor.info(pid, "status") == "waiting" end)
  end)

  after_each(function()
    actor.exit(pid, "kill")
    actor.demonitor(mon, { flush = true })
    helper.check()
  end)

  it("knows every documented key of a live process", function()
    local missing = {}
    for _, key in ipairs { "status", "registered_name", "label", "initial_call",
        "current_line", "heap_bytes", "mailbox_length", "reductions", "links",
        "monitors", "monitored_by", "trap_exit", "priority", "parent",
        "uptime_ms" } do
      if actor.info(pid, key) == nil then missing[#missing + 1] = key end
    end
    assert.same({}, missing)
  end)

  it("returns a table of all of them without a key", function()
    local info = actor.info(pid)
    assert.same({ "idler", "high", "info_spec", false },
      { info.label, info.priority, info.registered_name, info.trap_exit })
  end)

  it("is nil for a dead process", function()
    assert.is_nil(actor.info(helper.dead_pid()))
  end)

  it("is nil for a key of a dead process", function()
    assert.is_nil(actor.info(helper.dead_pid(), "label"))
  end)

  it("raises for an unknown key", function()
    assert.has_error(function() actor.info(pid, "shoe_size") end)
  end)

  it("works on the caller", function()
    assert.equal("string", type(actor.info(actor.self(), "status")))
  end)

  it("shows the parent", function()
    assert.equal(actor.self(), actor.info(pid, "parent"))
  end)

  it("shows links", function()
    assert.is_true((helper.run(function()
      local child = actor.spawn_link(function() actor.receive "end" end)
      local found = contains(actor.info(actor.self(), "links"), child)
      actor.send(child, "end")
      return found
    end)))
  end)

  it("shows links of the other side too", function()
    assert.is_true((helper.run(function()
      local child = actor.spawn_link(function() actor.receive "end" end)
      local found = contains(actor.info(child, "links"), actor.self())
      actor.send(child, "end")
      return found
    end)))
  end)

  it("shows whom it monitors", function()
    assert.is_true(contains(actor.info(actor.self(), "monitors"), pid))
  end)

  it("shows by whom it is monitored", function()
    assert.is_true(contains(actor.info(pid, "monitored_by"), actor.self()))
  end)

  it("counts the messages that wait", function()
    for i = 1, 5 do actor.send(pid, i) end
    assert.equal(5, actor.info(pid, "mailbox_length"))
  end)

  it("counts memory in bytes", function()
    assert.is_true(actor.info(pid, "heap_bytes") > 0)
  end)

  it("shows memory that grows with what is kept", function()
    local me = actor.self()
    local other = actor.spawn(function()
      local keep = ("x"):rep(1000000)
      actor.send(me, "ready")
      actor.receive("end")
      return keep
    end)
    helper.receive "ready"
    local bytes = actor.info(other, "heap_bytes")
    actor.send(other, "end")
    assert.is_true(bytes >= 1000000)
  end)

  it("never shows 0 reductions for a process that ran", function()
    assert.is_true(actor.info(pid, "reductions") > 0)
  end)

  it("shows how long the process exists, as a number", function()
    assert.is_true(actor.info(pid, "uptime_ms") >= 0)
  end)

  it("shows the line that waits", function()
    assert.matches("^.*info_spec%.lua:%d+$", actor.info(pid, "current_line"))
  end)

  it("shows trap_exit", function()
    assert.is_true((helper.run(function()
      actor.trap_exit(true)
      return actor.info(actor.self(), "trap_exit")
    end)))
  end)

  describe("of a process that never yields", function()
    local spinner

    before_each(function()
      local me = actor.self()
      spinner = actor.spawn_opt({ label = "spinner" }, function()
        actor.send(me, "spinning")
        while true do end
      end)
      helper.receive "spinning"
    end)

    after_each(function() helper.kill(spinner) end)

    it("answers", function()
      assert.equal("spinner", actor.info(spinner, "label"))
    end)

    it("shows a line of the loop", function()
      assert.matches("info_spec%.lua:%d+", actor.info(spinner, "current_line"))
    end)

    it("shows reductions that grow", function()
      local first = actor.info(spinner, "reductions")
      assert.is_true(helper.wait(function()
        return actor.info(spinner, "reductions") > first
      end))
    end)

    it("counts the messages that it does not take", function()
      for i = 1, 3 do actor.send(spinner, i) end
      assert.equal(3, actor.info(spinner, "mailbox_length"))
    end)
  end)
end)

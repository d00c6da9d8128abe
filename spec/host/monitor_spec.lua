local actor = require "luactor"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- functions that travel take the real globals along
local V = actor.var

describe("actor.monitor", function()
  before_each(helper.mark)
  after_each(helper.check)

  local function count_down(ref)
    return actor.flush { "DOWN", ref, "process", V._, V._ }
  end

  it("reports a normal end", function()
    local pid = actor.spawn(function() actor.receive "end" end)
    local mon = actor.monitor(pid)
    actor.send(pid, "end")
    assert.equal("normal", (helper.down(mon)))
  end)

  it("reports the pid", function()
    local pid, mon = actor.spawn_monitor(function() end)
    local _, who = helper.down(mon)
    assert.equal(pid, who)
  end)

  it("reports an error with its reason", function()
    local _, mon = actor.spawn_monitor(function() error({ code = 3 }) end)
    assert.same({ code = 3 }, (helper.down(mon))[2])
  end)

  it("reports killed", function()
    local pid = helper.spawn_idle()
    assert.equal("killed", (helper.kill(pid)))
  end)

  it("reports noproc for a process that has ended", function()
    local dead = helper.dead_pid()
    local reason, who = helper.down(actor.monitor(dead))
    assert.same({ "noproc", dead }, { reason, who })
  end)

  it("reports noproc for a name that is not registered", function()
    local reason, who = helper.down(actor.monitor "monitor_spec_nobody")
    assert.same({ "noproc", "monitor_spec_nobody" }, { reason, who })
  end)

  it("reports the name by which the process was monitored", function()
    local pid = helper.spawn_idle { name = "monitor_spec_name" }
    local mon = actor.monitor "monitor_spec_name"
    actor.exit(pid, "kill")
    local reason, who = helper.down(mon)
    assert.same({ "killed", "monitor_spec_name" }, { reason, who })
  end)

  it("makes a new ref each time", function()
    local pid = helper.spawn_idle()
    local a, b = actor.monitor(pid), actor.monitor(pid)
    actor.exit(pid, "kill")
    helper.down(a)
    helper.down(b)
    assert.not_equal(a, b)
  end)

  it("fires once for each monitor", function()
    local pid = helper.spawn_idle()
    local refs, counts = {}, {}
    for i = 1, 10 do refs[i] = actor.monitor(pid) end
    helper.kill(pid)
    for i = 1, 10 do
      helper.wait(function()
        counts[i] = (counts[i] or 0) + count_down(refs[i])
        return counts[i] > 0
      end)
    end
    for i = 1, 10 do counts[i] = counts[i] + count_down(refs[i]) end
    assert.same({ 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 }, counts)
  end)

  it("fires after the messages that the process sent", function()
    local me = actor.self()
    local _, mon = actor.spawn_monitor(function()
      for i = 1, 100 do actor.send(me, { "n", i }) end
    end)
    helper.down(mon)
    assert.equal(100, actor.flush { "n", V._ })
  end)

  it("fires in each of several watching processes", function()
    local me = actor.self()
    local pid = helper.spawn_idle()
    for i = 1, 10 do
      actor.spawn(function()
        local mon = actor.monitor(pid)
        actor.send(me, "watching")
        actor.send(me, { "saw", i, (helper.down(mon)) })
      end)
    end
    for _ = 1, 10 do helper.receive "watching" end
    actor.exit(pid, "kill")
    local saw = 0
    for i = 1, 10 do
      helper.receive { "saw", i, "killed" }
      saw = saw + 1
    end
    assert.equal(10, saw)
  end)

  it("does not end the watcher", function()
    local _, mon = actor.spawn_monitor(function() actor.exit "fatal" end)
    helper.down(mon)
    assert.is_true(actor.is_alive(actor.self()))
  end)

  it("raises for what is no destination", function()
    assert.has_error(function() actor.monitor(42) end)
  end)
end)

describe("actor.demonitor", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("stops the monitor", function()
    local pid = helper.spawn_idle()
    local mon = actor.monitor(pid)
    actor.demonitor(mon)
    helper.kill(pid)
    assert.same({ nil, "timeout" },
      { actor.receive({ "DOWN", mon, V._, V._, V.reason }, 0) })
  end)

  it("leaves the others alone", function()
    local pid = helper.spawn_idle()
    local stopped, kept = actor.monitor(pid), actor.monitor(pid)
    actor.demonitor(stopped)
    actor.exit(pid, "kill")
    assert.equal("killed", (helper.down(kept)))
  end)

  it("leaves a message that has arrived", function()
    local pid, mon = actor.spawn_monitor(function() end)
    helper.wait(function() return not actor.is_alive(pid) end)
    helper.down(actor.monitor(pid))
    actor.demonitor(mon)
    assert.equal("normal", (actor.receive({ "DOWN", mon, "process", pid, V.reason }, 0)))
  end)

  it("with flush takes away a message that has arrived", function()
    local pid, mon = actor.spawn_monitor(function() end)
    helper.wait(function() return not actor.is_alive(pid) end)
    helper.down(actor.monitor(pid))
    actor.demonitor(mon, { flush = true })
    assert.same({ nil, "timeout" },
      { actor.receive({ "DOWN", mon, V._, V._, V.reason }, 0) })
  end)

  it("with flush lets nothing through while the process ends", function()
    local pids = {}
    for i = 1, 200 do
      local pid, mon = actor.spawn_monitor(function() end)
      actor.demonitor(mon, { flush = true })
      pids[i] = pid
    end
    for _, pid in ipairs(pids) do
      helper.wait(function() return not actor.is_alive(pid) end)
    end
    assert.same({ nil, "timeout" },
      { actor.receive({ "DOWN", V.ref, V._, V._, V._ }, 5) })
  end)

  it("may be repeated", function()
    local pid = helper.spawn_idle()
    local mon = actor.monitor(pid)
    actor.demonitor(mon)
    assert.has_no_error(function() actor.demonitor(mon) end)
    helper.kill(pid)
  end)
end)

local actor = require "luactor"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- functions that travel take the real globals along
local V = actor.var

-- Two linked processes that trap nothing; both monitored.
local function linked_pair()
  local me = actor.self()
  local a, mon_a = actor.spawn_monitor(function()
    local b = actor.spawn_link(function()
      actor.exit((actor.receive { "end", V.reason }))
    end)
    actor.send(me, { "pair", b })
    actor.exit((actor.receive { "end", V.reason }))
  end)
  local b = helper.receive { "pair", V.b "pid" }
  return a, b, mon_a, actor.monitor(b)
end

describe("a link", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("takes the second down with the first", function()
    local a, _, mon_a, mon_b = linked_pair()
    actor.send(a, { "end", "broken" })
    helper.down(mon_a)
    assert.equal("broken", (helper.down(mon_b)))
  end)

  it("takes the first down with the second", function()
    local _, b, mon_a, mon_b = linked_pair()
    actor.send(b, { "end", "broken" })
    helper.down(mon_b)
    assert.equal("broken", (helper.down(mon_a)))
  end)

  it("hands killed on when one side is killed", function()
    local a, _, mon_a, mon_b = linked_pair()
    actor.exit(a, "kill")
    helper.down(mon_a)
    assert.equal("killed", (helper.down(mon_b)))
  end)

  it("leaves the other alone when one ends normally", function()
    local a, b, mon_a, mon_b = linked_pair()
    actor.send(a, { "end", "normal" })
    helper.down(mon_a)
    actor.send(b, { "end", "later" })
    assert.equal("later", (helper.down(mon_b)))
  end)

  it("hands a crash on with its whole reason", function()
    local got = helper.run(function()
      actor.trap_exit(true)
      actor.spawn_link(function() error({ code = 5 }) end)
      return (helper.receive { "EXIT", V._, V.reason })
    end)
    assert.same({ "error", { code = 5 } }, { got[1], got[2] })
  end)

  it("passes a crash along a chain", function()
    local me = actor.self()
    local function chain(n)
      if n > 0 then
        actor.spawn_link(chain, n - 1)
        actor.receive("never")
      end
      actor.send(me, { "last", actor.self() })
      actor.receive("go")
      actor.exit("chain broke")
    end
    local _, mon = actor.spawn_monitor(chain, 20)
    actor.send(helper.receive { "last", V.pid "pid" }, "go")
    assert.equal("chain broke", (helper.down(mon)))
  end)

  it("becomes a message in a process that traps exits, normal too", function()
    assert.equal("normal", (helper.run(function()
      actor.trap_exit(true)
      local pid = actor.spawn_link(function() end)
      return (helper.receive { "EXIT", pid, V.reason })
    end)))
  end)

  it("fires once, however often it was made", function()
    local reason, again = helper.run(function()
      actor.trap_exit(true)
      local pid = actor.spawn_link(function() actor.receive "end" end)
      actor.link(pid)
      actor.link(pid)
      actor.send(pid, "end")
      local reason = helper.receive { "EXIT", pid, V.reason }
      return reason, (select(2, actor.receive({ "EXIT", pid, V._ }, 0)))
    end)
    assert.same({ "normal", "timeout" }, { reason, again })
  end)
end)

describe("actor.link", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("links two processes that run already", function()
    local pid, mon = actor.spawn_monitor(function()
      actor.exit((actor.receive { "end", V.reason }))
    end)
    local me = actor.self()
    local _, other = actor.spawn_monitor(function()
      actor.link(pid)
      actor.send(me, "linked")
      actor.receive("never")
    end)
    helper.receive "linked"
    actor.send(pid, { "end", "together" })
    helper.down(mon)
    assert.equal("together", (helper.down(other)))
  end)

  it("to a dead process gives noproc to one that traps exits", function()
    local dead = helper.dead_pid()
    assert.equal("noproc", (helper.run(function()
      actor.trap_exit(true)
      actor.link(dead)
      return (helper.receive { "EXIT", dead, V.reason })
    end)))
  end)

  it("to a dead process does not go unnoticed by one that does not", function()
    local dead = helper.dead_pid()
    assert.not_equal("normal", helper.reason(function()
      actor.link(dead)
      actor.receive("never", 1000)
    end))
  end)

  it("to oneself is harmless", function()
    assert.equal("normal", helper.reason(function() actor.link(actor.self()) end))
  end)

  it("raises for what is no pid", function()
    assert.has_error(function() actor.link({}) end)
  end)
end)

describe("actor.unlink", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("separates the two", function()
    assert.equal("survived", (helper.run(function()
      local pid, mon = actor.spawn_opt({ link = true, monitor = true }, function()
        actor.receive("end")
        actor.exit("alone")
      end)
      actor.unlink(pid)
      actor.send(pid, "end")
      helper.down(mon)
      return "survived"
    end)))
  end)

  it("separates the two for the other side as well", function()
    local me = actor.self()
    local a, mon_a = actor.spawn_monitor(function()
      local b = actor.spawn_link(function()
        actor.receive("end")
      end)
      actor.unlink(b)
      actor.send(me, { "b", b })
      actor.receive("never")
    end)
    local b = helper.receive { "b", V.b }
    actor.exit(a, "alone")
    helper.down(mon_a)
    local mon_b = actor.monitor(b)
    actor.send(b, "end")
    assert.equal("normal", (helper.down(mon_b)))
  end)

  it("undoes any number of links", function()
    assert.equal("survived", (helper.run(function()
      local pid, mon = actor.spawn_opt({ link = true, monitor = true }, function()
        actor.receive("end")
        actor.exit("alone")
      end)
      actor.link(pid)
      actor.unlink(pid)
      actor.send(pid, "end")
      helper.down(mon)
      return "survived"
    end)))
  end)

  it("without a link does nothing", function()
    assert.has_no_error(function() actor.unlink(helper.dead_pid()) end)
  end)

  it("lets no signal of that link arrive afterwards", function()
    -- The other side crashes while it is being unlinked.
    assert.equal("clean", (helper.run(function()
      actor.trap_exit(true)
      for _ = 1, 200 do
        local pid, mon = actor.spawn_opt({ link = true, monitor = true },
          function() actor.exit "racing" end)
        actor.unlink(pid)
        actor.flush { "EXIT", pid, V._ }
        helper.down(mon)
        if actor.receive({ "EXIT", pid, V.reason }, 0) then return "late" end
      end
      return "clean"
    end)))
  end)
end)

describe("actor.trap_exit", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("returns the old setting", function()
    assert.same({ false, true, true, false }, { helper.run(function()
      return actor.trap_exit(true), actor.trap_exit(true),
        actor.trap_exit(false), actor.trap_exit(false)
    end) })
  end)

  it("ends a process by signals again when switched off", function()
    assert.equal("fatal", helper.reason(function()
      actor.trap_exit(true)
      actor.trap_exit(false)
      actor.spawn_link(function() actor.exit "fatal" end)
      actor.receive("never")
    end))
  end)
end)

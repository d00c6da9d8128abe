local actor = require "luactor"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- functions that travel take the real globals along
local V = actor.var

local function alive(pids)
  local n = 0
  for _, pid in ipairs(pids) do
    if actor.is_alive(pid) then n = n + 1 end
  end
  return n
end

describe("actor.scope", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("returns when its body has returned and there are no children", function()
    assert.equal("after", (helper.run(function()
      actor.scope(function() end)
      return "after"
    end)))
  end)

  it("returns when all of its children have ended", function()
    assert.equal(0, (helper.run(function()
      local pids = {}
      actor.scope(function(s)
        for i = 1, 10 do
          pids[i] = s:spawn(function() actor.sleep(i) end)
        end
      end)
      return alive(pids)
    end)))
  end)

  it("gives a child its arguments", function()
    local me = actor.self()
    helper.run(function()
      actor.scope(function(s)
        s:spawn(function(...) actor.send(me, { "args", ... }) end, 1, 2)
      end)
    end)
    assert.same({ 1, 2 }, { helper.receive { "args", V.a, V.b } })
  end)

  it("returns the pid of a child", function()
    assert.is_true((helper.run(function()
      local equal
      actor.scope(function(s)
        local me = actor.self()
        local pid = s:spawn(function() actor.send(me, { "pid", actor.self() }) end)
        equal = pid == helper.receive { "pid", V.pid }
      end)
      return equal
    end)))
  end)

  it("runs asynchronous functions to their end", function()
    local me = actor.self()
    helper.run(function()
      actor.scope(function(s)
        for i = 1, 5 do
          s:async(function(x) actor.send(me, { "async", x }) end, i)
        end
      end)
    end)
    assert.equal(5, actor.flush { "async", V._ })
  end)

  it("hands out a task for an asynchronous function", function()
    assert.is_true((helper.run(function()
      local task
      actor.scope(function(s) task = s:async(function() return 1 end) end)
      return task ~= nil
    end)))
  end)

  it("keeps results of its tasks when it is over", function()
    assert.same({ 1, 2, 1 }, { helper.run(function()
      local task
      actor.scope(function(s) task = s:async(function() return 1, 2 end) end)
      local a, b = task:await()
      return a, b, (task:await())
    end) })
  end)

  it("says so when a task has no results", function()
    assert.matches("its scope has ended", (helper.run(function()
      local task
      pcall(actor.scope, function(s)
        task = s:async(function() actor.receive "never" end)
        error "out"
      end)
      return select(2, pcall(task.await, task))
    end)))
  end)

  it("leaves no message behind", function()
    assert.equal(0, (helper.run(function()
      actor.scope(function(s)
        for _ = 1, 5 do s:spawn(function() end) end
        for _ = 1, 5 do s:async(function() return 1 end) end
      end)
      return actor.flush(actor._)
    end)))
  end)

  it("may be nested", function()
    assert.equal(0, (helper.run(function()
      local pids = {}
      actor.scope(function(outer)
        pids[1] = outer:spawn(function() actor.sleep(5) end)
        actor.scope(function(inner)
          pids[2] = inner:spawn(function() actor.sleep(2) end)
        end)
      end)
      return alive(pids)
    end)))
  end)

  describe("whose child crashes", function()
    it("raises in the body at its next receive", function()
      assert.same({ false, false }, { helper.run(function()
        local went_on = false
        local ok = pcall(actor.scope, function(s)
          s:spawn(function() error "child broke" end)
          actor.receive("never")
          went_on = true
        end)
        return ok, went_on
      end) })
    end)

    it("raises in the body at its next sleep", function()
      assert.is_false((helper.run(function()
        return (pcall(actor.scope, function(s)
          s:spawn(function() error "child broke" end)
          actor.sleep(600000)
        end))
      end)))
    end)

    it("raises in the body at its next call", function()
      local server = helper.spawn_idle()
      local ok, e = helper.run(function()
        local ok, e = pcall(actor.scope, function(s)
          s:spawn(function() error "child broke" end)
          actor.call(server, "never answered", 600000)
        end)
        return ok, helper.show(e)
      end)
      helper.kill(server)
      assert.same({ false, "child broke" }, { ok, e:match "child broke" })
    end)

    it("raises in the body at its next yield", function()
      assert.is_false((helper.run(function()
        return (pcall(actor.scope, function(s)
          s:spawn(function() error "child broke" end)
          while true do actor.yield() end
        end))
      end)))
    end)

    it("raises when the body ends", function()
      assert.is_false((helper.run(function()
        return (pcall(actor.scope, function(s)
          s:spawn(function() error "child broke" end)
        end))
      end)))
    end)

    it("raises what tells of the child's error", function()
      assert.matches("child broke", (helper.run(function()
        local _, e = pcall(actor.scope, function(s)
          s:spawn(function() error "child broke" end)
        end)
        return type(e) == "string" and e or helper.show(e)
      end)))
    end)

    it("ends the other children", function()
      assert.equal(0, (helper.run(function()
        local pids = {}
        pcall(actor.scope, function(s)
          for i = 1, 5 do
            pids[i] = s:spawn(function() actor.receive("never") end)
          end
          s:spawn(function() error "child broke" end)
          actor.receive("never")
        end)
        return alive(pids)
      end)))
    end)

    it("ends children that loop", function()
      assert.equal(0, (helper.run(function()
        local pids = {}
        pcall(actor.scope, function(s)
          pids[1] = s:spawn(function() while true do end end)
          s:spawn(function() error "child broke" end)
        end)
        return alive(pids)
      end)))
    end)

    it("does so for an asynchronous function too", function()
      assert.is_false((helper.run(function()
        return (pcall(actor.scope, function(s)
          s:async(function() error "child broke" end)
          actor.receive("never")
        end))
      end)))
    end)

    it("leaves no message behind", function()
      assert.equal(0, (helper.run(function()
        pcall(actor.scope, function(s)
          for _ = 1, 5 do s:spawn(function() error "child broke" end) end
          actor.receive("never")
        end)
        return actor.flush(actor._)
      end)))
    end)
  end)

  describe("left by an error", function()
    it("raises that error", function()
      assert.same({ code = 9 }, (helper.run(function()
        local _, e = pcall(actor.scope, function() error({ code = 9 }) end)
        return e
      end)))
    end)

    it("ends the children first", function()
      assert.equal(0, (helper.run(function()
        local pids = {}
        pcall(actor.scope, function(s)
          for i = 1, 5 do
            pids[i] = s:spawn(function() actor.receive("never") end)
          end
          error "mine"
        end)
        return alive(pids)
      end)))
    end)
  end)

  describe("of a process that ends", function()
    local function end_owner(how)
      local me = actor.self()
      local owner, mon = actor.spawn_monitor(function()
        actor.scope(function(s)
          for _ = 1, 3 do
            s:spawn(function()
              actor.trap_exit(true)
              actor.send(me, { "child", actor.self() })
              while true do actor.receive() end
            end)
          end
          actor.receive("go")
          actor.exit("by itself")
        end)
      end)
      local mons = {}
      for i = 1, 3 do
        mons[i] = actor.monitor((helper.receive { "child", V.pid }))
      end
      how(owner)
      helper.down(mon)
      for i = 1, 3 do helper.down(mons[i]) end
      return "all ended"
    end

    it("ends its children when the process is killed", function()
      assert.equal("all ended",
        end_owner(function(pid) actor.exit(pid, "kill") end))
    end)

    it("ends its children when the process exits", function()
      assert.equal("all ended",
        end_owner(function(pid) actor.send(pid, "go") end))
    end)

    it("ends its children when the process gets an exit signal", function()
      assert.equal("all ended",
        end_owner(function(pid) actor.exit(pid, "enough") end))
    end)
  end)

  describe("with deferred functions", function()
    it("runs them when the body has returned", function()
      assert.same({ "body", "deferred" }, (helper.run(function()
        local order = {}
        actor.scope(function(s)
          s:defer(function() order[#order + 1] = "deferred" end)
          order[#order + 1] = "body"
        end)
        return order
      end)))
    end)

    it("runs them when the body raises", function()
      assert.is_true((helper.run(function()
        local ran = false
        pcall(actor.scope, function(s)
          s:defer(function() ran = true end)
          error "x"
        end)
        return ran
      end)))
    end)

    it("runs the last one first", function()
      assert.same({ 3, 2, 1 }, (helper.run(function()
        local order = {}
        actor.scope(function(s)
          for i = 1, 3 do s:defer(function() order[#order + 1] = i end) end
        end)
        return order
      end)))
    end)

    it("closes objects", function()
      assert.is_true((helper.run(function()
        local closed = false
        actor.scope(function(s)
          s:close_later(setmetatable({}, { __close = function() closed = true end }))
        end)
        return closed
      end)))
    end)

    it("closes objects when the process is killed", function()
      local me = actor.self()
      local pid, mon = actor.spawn_monitor(function()
        actor.scope(function(s)
          s:close_later(setmetatable({}, { __close = function()
            actor.send(me, "closed")
          end }))
          actor.send(me, "ready")
          actor.receive("never")
        end)
      end)
      helper.receive "ready"
      actor.exit(pid, "kill")
      helper.down(mon)
      assert.equal("closed", (helper.receive "closed"))
    end)
  end)
end)

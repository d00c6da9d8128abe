local actor = require "luactor"
local pg = require "luactor.pg"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- functions that travel take the real globals along
local V = actor.var

local function message(f, ...)
  local ok, e = pcall(f, ...)
  assert(not ok, "no error was raised")
  return tostring(e)
end

local function stop_default()
  local pid = actor.whereis "pg"
  if pid then helper.kill(pid) end
end

local function event(ref)
  return { helper.receive { ref, V.what, V.group, V.pids } }
end

describe("pg", function()
  before_each(helper.mark)
  after_each(function()
    stop_default()
    helper.check()
  end)

  it("lets the caller join a group", function()
    assert.is_true(pg.join "g")
    assert.same({ actor.self() }, pg.members "g")
    assert.same({ actor.self() }, pg.local_members "g")
  end)

  it("lets other processes join, one or several", function()
    local a, b = helper.spawn_idle(), helper.spawn_idle()
    pg.join("g", a)
    pg.join("g", { b, { pid = a } })
    assert.same({ a, b, a }, pg.members "g")
    helper.kill(a)
    assert.same({ b }, pg.members "g")
    helper.kill(b)
    assert.same({}, pg.members "g")
  end)

  it("has no members in a group that nobody joined", function()
    assert.same({}, pg.members "none")
    assert.same({}, pg.which_groups())
  end)

  it("holds a process as often as it joined", function()
    pg.join "g"
    pg.join "g"
    assert.same({ actor.self(), actor.self() }, pg.members "g")
    assert.is_true(pg.leave "g")
    assert.same({ actor.self() }, pg.members "g")
    assert.is_true(pg.leave "g")
    assert.same({ nil, "not_joined" }, { pg.leave "g" })
  end)

  it("names the groups that have members", function()
    pg.join "a"
    pg.join { "room", 1 }
    pg.join(7)
    pg.leave(7)
    local found = {}
    for _, group in ipairs(pg.which_groups()) do
      found[type(group) == "table" and group[1] .. group[2] or group] = true
    end
    assert.same({ a = true, room1 = true }, found)
  end)

  it("compares groups by value", function()
    pg.join { "room", 1 }
    assert.equal(1, #pg.members { "room", 1 })
    assert.equal(0, #pg.members { "room", 2 })
  end)

  it("forgets a process that has ended as soon as anybody can know", function()
    for _ = 1, 50 do
      local pid, ref = actor.spawn_monitor(function() actor.receive "end" end)
      pg.join("g", pid)
      actor.exit(pid, "kill")
      helper.down(ref)
      assert.same({}, pg.members "g")
    end
  end)

  it("does not take a process that has ended", function()
    assert.is_true(pg.join("g", helper.dead_pid()))
    assert.same({}, pg.which_groups())
  end)

  it("watches no process that has left", function()
    pg.join "g"
    pg.leave "g"
    pg.members "g"
    assert.same({}, actor.info(actor.whereis "pg", "monitors"))
  end)

  it("starts its default scope once, however many begin with it", function()
    local me = actor.self()
    for _ = 1, 3 do
      local pids = {}
      for i = 1, 40 do
        pids[i] = actor.spawn_link(function()
          actor.receive "go"
          pg.join "g"
          actor.send(me, "joined")
          actor.receive "end"
        end)
      end
      for _, pid in ipairs(pids) do actor.send(pid, "go") end
      for _ = 1, 40 do helper.receive "joined" end
      assert.equal(40, #pg.members "g")
      for _, pid in ipairs(pids) do helper.kill(pid) end
      stop_default()
    end
  end)

  it("keeps the default scope when its starter ends", function()
    local other = helper.spawn_idle()
    helper.run(function() pg.join("g", other) end)
    assert.same({ other }, pg.members "g")
    helper.kill(other)
  end)

  describe("monitor", function()
    it("gives the members and tells of changes", function()
      pg.join "g"
      local ref, members = pg.monitor "g"
      assert.same({ actor.self() }, members)
      local other = helper.spawn_idle()
      pg.join("g", other)
      pg.join("h", other)
      assert.same({ "join", "g", { other } }, event(ref))
      pg.leave "g"
      assert.same({ "leave", "g", { actor.self() } }, event(ref))
      helper.kill(other)
      assert.same({ "leave", "g", { other } }, event(ref))
      assert.is_true(pg.demonitor(ref))
      assert.is_false(pg.demonitor(ref))
    end)

    it("tells once of a process that was in twice", function()
      local other = helper.spawn_idle()
      pg.join("g", { other, other })
      local ref = pg.monitor "g"
      helper.kill(other)
      assert.same({ "leave", "g", { other, other } }, event(ref))
    end)

    it("watches a whole scope", function()
      pg.join "a"
      local ref, list = pg.monitor_scope()
      assert.same({ { "a", { actor.self() } } }, list)
      pg.join "b"
      assert.same({ "join", "b", { actor.self() } }, event(ref))
    end)

    it("drops events that have come when it is off", function()
      local ref = pg.monitor "g"
      pg.join "g"
      pg.demonitor(ref)
      assert.equal(0, actor.flush(actor._))
    end)

    it("ends with its process", function()
      helper.run(function() pg.monitor "g" end)
      helper.wait(function() return #actor.info(actor.whereis "pg", "monitors") == 0 end)
    end)
  end)

  describe("scopes", function()
    it("are apart", function()
      local scope = pg.start_link "spec_scope"
      pg.join("g", nil, "spec_scope")
      assert.equal(1, #pg.members("g", scope))
      assert.equal(0, #pg.members "g")
      assert.same({ "g" }, pg.which_groups(scope.pid))
      assert.is_true(pg.leave("g", nil, scope))
      helper.kill(scope.pid)
    end)

    it("have names of their own", function()
      local scope = pg.start_link "spec_scope"
      local _, e = pcall(pg.start_link, "spec_scope")
      assert.same({ "already_started", scope.pid }, e.reason)
      helper.kill(scope.pid)
    end)

    it("must run", function()
      assert.matches("luactor.pg.join: scope 'nowhere' is not running",
        message(pg.join, "g", nil, "nowhere"), 1, true)
    end)
  end)

  it("names what it was given", function()
    assert.matches("bad argument #1 to 'luactor.pg.join'", message(pg.join), 1, true)
    assert.matches("bad argument #2 to 'luactor.pg.join' (pid or list of pids expected, got 'x')",
      message(pg.join, "g", "x"), 1, true)
    assert.matches("(pid at [2] expected, got 5)", message(pg.join, "g", { actor.self(), 5 }), 1, true)
    assert.matches("bad argument #2 to 'luactor.pg.members' (scope expected, got 5)",
      message(pg.members, "g", 5), 1, true)
    assert.matches("bad argument #1 to 'luactor.pg.demonitor' (ref expected, got 5)",
      message(pg.demonitor, 5), 1, true)
  end)
end)

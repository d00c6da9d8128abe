local actor = require "luactor"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- functions that travel take the real globals along
local V = actor.var

describe("actor.spawn", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("returns the pid that the new process sees as its own", function()
    local me = actor.self()
    local pid = actor.spawn(function() actor.send(me, { "self", actor.self() }) end)
    assert.equal(pid, (helper.receive { "self", V.pid "pid" }))
  end)

  it("passes the arguments", function()
    assert.same({ 1, "two", { three = 3 } }, { helper.run(function(...)
      return ...
    end, 1, "two", { three = 3 }) })
  end)

  it("passes nil among the arguments", function()
    local n, a, b, c = helper.run(function(...)
      return select("#", ...), ...
    end, nil, "b", nil)
    assert.same({ 3, nil, "b", nil }, { n, a, b, c })
  end)

  it("runs a function named by its module", function()
    actor.spawn("spec.helper.tell", actor.self(), "hello", 7)
    assert.same({ "hello", 7, n = 2 }, (helper.receive { "hello", 7 }))
  end)

  it("returns a pid even when the named module does not exist", function()
    local _, mon = actor.spawn_monitor("no.such.module.start")
    assert.equal("error", helper.down(mon)[1])
  end)

  it("returns a pid even when the module has no such function", function()
    local _, mon = actor.spawn_monitor("spec.helper.no_such_function")
    assert.equal("error", helper.down(mon)[1])
  end)

  it("does not raise when the new process fails at once", function()
    local _, mon = actor.spawn_monitor(function() error("broken") end)
    assert.equal("error", helper.down(mon)[1])
  end)

  it("raises when its argument is no function", function()
    assert.has_error(function() actor.spawn(42) end)
  end)

  it("gives every process globals of its own", function()
    actor_spec_global = "parent"
    local seen = helper.run(function()
      local before = actor_spec_global
      actor_spec_global = "child"
      return before == nil
    end)
    local mine = actor_spec_global
    actor_spec_global = nil
    assert.same({ true, "parent" }, { seen, mine })
  end)

  it("gives every process loaded modules of its own", function()
    helper.run(function()
      require "spec.fixture.point".marked = true
    end)
    assert.is_nil(helper.run(function()
      return require "spec.fixture.point".marked
    end))
  end)

  it("gives every process a string metatable of its own", function()
    helper.run(function() string.spec_shout = string.upper end)
    assert.is_nil(("x").spec_shout)
  end)

  it("names the spawner as the parent", function()
    assert.equal(actor.self(), (helper.run(actor.parent)))
  end)

  it("leaves the first process without a parent", function()
    assert.is_nil(actor.parent())
  end)

  it("raises system_limit past --max-processes", function()
    local out = helper.cli {
      options = { "--max-processes", 20 },
      code = [[
        local actor = require "luactor"
        local made, ok, e = 0, true
        while ok and made < 100 do
          ok, e = pcall(actor.spawn, function() actor.receive "never" end)
          if ok then made = made + 1 end
        end
        print(made < 21, tostring(e):match "system_limit")
        actor.halt(0)
      ]],
    }
    assert.equal("true\tsystem_limit\n", out)
  end)

  it("works again when processes have ended below --max-processes", function()
    local out = helper.cli {
      options = { "--max-processes", 20 },
      code = [[
        local actor = require "luactor"
        for i = 1, 200 do
          local _, mon = actor.spawn_monitor(function() end)
          actor.receive { "DOWN", mon, "process", actor._, actor._ }
        end
        print "all"
      ]],
    }
    assert.equal("all\n", out)
  end)
end)

describe("actor.spawn_link", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("hands a crash that happens at once to the parent", function()
    local from, reason, pid = helper.run(function()
      actor.trap_exit(true)
      local child = actor.spawn_link(function() actor.exit("gone") end)
      local from, reason = helper.receive { "EXIT", V.from, V.reason }
      return from, reason, child
    end)
    assert.same({ pid, "gone" }, { from, reason })
  end)

  it("ends the child with the parent", function()
    local me = actor.self()
    actor.spawn(function()
      local child = actor.spawn_link(function() actor.receive("never") end)
      actor.send(me, { "child", child })
      actor.receive("crash")
      actor.exit("parent gone")
    end)
    local child = helper.receive { "child", V.pid "pid" }
    local mon = actor.monitor(child)
    actor.send(actor.info(child, "parent"), "crash")
    assert.equal("parent gone", (helper.down(mon)))
  end)
end)

describe("actor.spawn_monitor", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("returns the pid and a ref", function()
    local pid, ref = actor.spawn_monitor(function() end)
    local reason, who = helper.down(ref)
    assert.same({ "normal", pid }, { reason, who })
  end)

  it("never misses an early end", function()
    local reasons = {}
    for i = 1, 100 do
      local _, mon = actor.spawn_monitor(function(n) actor.exit(n) end, i)
      reasons[i] = helper.down(mon)
    end
    local expected = {}
    for i = 1, 100 do expected[i] = i end
    assert.same(expected, reasons)
  end)
end)

describe("actor.spawn_opt", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("returns only the pid without monitor", function()
    assert.equal(1, select("#", actor.spawn_opt({}, function() end)))
  end)

  it("monitors", function()
    local pid, mon = actor.spawn_opt({ monitor = true }, function() actor.exit "x" end)
    local reason, who = helper.down(mon)
    assert.same({ "x", pid }, { reason, who })
  end)

  it("links", function()
    assert.equal("linked", helper.reason(function()
      actor.spawn_opt({ link = true }, function() actor.exit "linked" end)
      actor.receive("never")
    end))
  end)

  it("links and monitors at once", function()
    local exit, down = helper.run(function()
      actor.trap_exit(true)
      local pid, mon = actor.spawn_opt({ link = true, monitor = true },
        function() actor.exit "both" end)
      local exit = helper.receive { "EXIT", pid, V.reason }
      return exit, (helper.down(mon))
    end)
    assert.same({ "both", "both" }, { exit, down })
  end)

  it("registers a name before the process runs", function()
    local me = actor.self()
    local pid = actor.spawn_opt({ name = "spawn_spec_name" }, function()
      actor.send(me, { "name", actor.whereis("spawn_spec_name") })
    end)
    assert.equal(pid, (helper.receive { "name", V.pid }))
  end)

  it("raises when the name is in use", function()
    local pid = helper.spawn_idle { name = "spawn_spec_taken" }
    local ok = pcall(helper.spawn_idle, { name = "spawn_spec_taken" })
    helper.kill(pid)
    assert.is_false(ok)
  end)

  it("sets the priority", function()
    for _, priority in ipairs { "low", "normal", "high", "max" } do
      local pid = helper.spawn_idle { priority = priority }
      local got = actor.info(pid, "priority")
      helper.kill(pid)
      assert.equal(priority, got)
    end
  end)

  it("raises for an unknown priority", function()
    assert.has_error(function() helper.spawn_idle { priority = "urgent" } end)
  end)

  it("makes the process trap exits", function()
    local pid = helper.spawn_idle { trap_exit = true }
    local got = actor.info(pid, "trap_exit")
    helper.kill(pid)
    assert.is_true(got)
  end)

  it("sets the label", function()
    local pid = helper.spawn_idle { label = "worker 7" }
    local got = actor.info(pid, "label")
    helper.kill(pid)
    assert.equal("worker 7", got)
  end)

  it("adds globals", function()
    local me = actor.self()
    actor.spawn_opt({ env = { answer = 42, config = { deep = { 1 } } } }, function()
      actor.send(me, { "env", answer, config.deep[1], print ~= nil })
    end)
    assert.same({ 42, 1, true },
      { helper.receive { "env", V.answer, V.deep, V.standard } })
  end)

  local function gc_mode(opts)
    local me = actor.self()
    actor.spawn_opt(opts, function()
      local running = collectgarbage("isrunning")
      actor.send(me, { "gc", collectgarbage("incremental"), running })
    end)
    return { helper.receive { "gc", V.mode, V.running } }
  end

  it("collects generationally on request", function()
    assert.same({ "generational", true }, gc_mode { gc = "generational" })
  end)

  it("collects incrementally on request", function()
    assert.same({ "incremental", true }, gc_mode { gc = "incremental" })
  end)

  it("switches the collector off on request", function()
    assert.is_false(gc_mode({ gc = "off" })[2])
  end)

  it("runs on a scheduler thread of choice", function()
    local _, mon = actor.spawn_opt({ thread = 1, monitor = true }, function()
      for _ = 1, 3 do actor.yield() end
      actor.exit "done"
    end)
    assert.equal("done", (helper.down(mon)))
  end)

  it("runs on a thread of its own", function()
    local me = actor.self()
    local pid = actor.spawn_opt({ thread = "own" }, function()
      local from, x = actor.receive { V.from "pid", V.x }
      actor.send(from, { "own", x })
    end)
    actor.send(pid, { me, 5 })
    assert.equal(5, (helper.receive { "own", V.x }))
  end)

  it("does not let a process on a thread of its own hold up another", function()
    local out = helper.cli {
      options = { "--schedulers", 1 },
      code = [[
        local actor = require "luactor"
        actor.spawn_opt({ thread = "own" }, function() os.execute "sleep 60" end)
        actor.sleep(1)
        print "on"
        actor.halt(0)
      ]],
      seconds = 20,
    }
    assert.equal("on\n", out)
  end)
end)

describe("actor.label", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("sets the text that info shows", function()
    assert.equal("indexer", (helper.run(function()
      actor.label("indexer")
      return actor.info(actor.self(), "label")
    end)))
  end)
end)

describe("actor.is_alive", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("is true for a process that waits", function()
    local pid = helper.spawn_idle()
    local alive = actor.is_alive(pid)
    helper.kill(pid)
    assert.is_true(alive)
  end)

  it("is false for a process that has ended", function()
    assert.is_false(actor.is_alive(helper.dead_pid()))
  end)

  it("is true for the caller", function()
    assert.is_true(actor.is_alive(actor.self()))
  end)
end)

describe("actor.processes", function()
  before_each(helper.mark)
  after_each(helper.check)

  local function contains(list, x)
    for _, y in ipairs(list) do
      if x == y then return true end
    end
    return false
  end

  it("lists live processes", function()
    local pid = helper.spawn_idle()
    local found = contains(actor.processes(), pid)
    helper.kill(pid)
    assert.is_true(found)
  end)

  it("leaves out those that have ended", function()
    assert.is_false(contains(actor.processes(), helper.dead_pid()))
  end)
end)

local actor = require "luactor"
local gen_server = require "luactor.gen_server"
local task = require "luactor.task"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- functions that travel take the real globals along
local V = actor.var

local function forever()
  actor.receive "never"
end

local function crash()
  error("x", 0)
end

-- Error value of a failing call, as text.
local function message(f, ...)
  local ok, e = pcall(f, ...)
  assert(not ok, "no error was raised")
  return tostring(e)
end

describe("task.async and await", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("give the result of the function", function()
    assert.equal(5, task.await(task.async(function(a, b) return a + b end, 2, 3)))
  end)

  it("take the name of a function", function()
    assert.equal(4.0, task.await(task.async("math.sqrt", 16)))
  end)

  it("give one value, nil and false included", function()
    assert.is_nil(task.await(task.async(function() end)))
    assert.is_false(task.await(task.async(function() return false end)))
    assert.equal(1, select("#", task.await(task.async(function() return 1, 2 end))))
  end)

  it("run beside the caller", function()
    local me = actor.self()
    local t = task.async(function() return actor.receive { "go", V.n } end)
    actor.send(t.pid, { "go", 7 })
    assert.not_equal(me, t.pid)
    assert.equal(7, t:await())
  end)

  it("may be awaited in another order than they end in", function()
    local a = task.async(function() actor.receive "go" return "a" end)
    local b = task.async(function() return "b" end)
    assert.equal("b", task.await(b))
    actor.send(a.pid, "go")
    assert.equal("a", task.await(a))
  end)

  it("leave nothing in the mailbox", function()
    assert.same({ nil, "timeout" }, { helper.run(function()
      task.await(task.async(function() return 1 end))
      pcall(task.await, task.async(crash))
      task.async(function() return 2 end)
      actor.sleep(1)
      return actor.receive(nil, 0)
    end) })
  end)

  it("leave nothing in the mailbox of a process that traps exits", function()
    actor.trap_exit(true)
    local t = task.async(function() return 1 end)
    local ref = actor.monitor(t.pid)
    task.await(t)
    local failing = task.async(crash)
    local ref2 = actor.monitor(failing.pid)
    pcall(task.await, failing)
    helper.down(ref)
    helper.down(ref2)
    actor.trap_exit(false)
    assert.equal(0, actor.flush(actor._))
  end)

  it("raise the reason of a crash", function()
    local ok, e = pcall(task.await, task.async(function() error { code = 9 } end))
    assert.is_false(ok)
    assert.equal("error", e.reason[1])
    assert.same({ code = 9 }, e.reason[2])
  end)

  it("raise what can be read", function()
    local t = task.async(function() error("boom", 0) end)
    assert.equal(("task %s failed: boom"):format(t.pid), message(task.await, t))
  end)

  it("raise the reason of an exit", function()
    local _, e = pcall(task.await, task.async(function() actor.exit "enough" end))
    assert.equal("enough", e.reason)
  end)

  it("raise for a task that ended well without a result", function()
    local _, e = pcall(task.await, task.async(function() actor.exit "normal" end))
    assert.equal("normal", e.reason)
  end)

  it("raise when the task crashed before it was awaited", function()
    assert.same({ false, "x" }, { helper.run(function()
      local t = task.async(crash)
      while actor.is_alive(t.pid) do end
      local ok, e = pcall(task.await, t)
      return ok, e.reason[2]
    end) })
  end)

  it("raise when the task crashed while another was awaited", function()
    assert.same({ "fine", false }, { helper.run(function()
      local slow = task.async(function() return actor.receive { V.x } end)
      local bad = task.async(crash)
      actor.send(slow.pid, { "fine" })
      return task.await(slow), (pcall(task.await, bad))
    end) })
  end)

  it("let the owner live on after a crash that it caught", function()
    assert.equal("alive", helper.run(function()
      pcall(task.await, task.async(crash))
      actor.sleep(1)
      return "alive"
    end))
  end)

  it("raise when the time is over, and kill the task", function()
    local t = task.async(forever)
    local ref = actor.monitor(t.pid)
    local _, e = pcall(task.await, t, 0)
    assert.equal("timeout", e.reason)
    assert.equal("killed", (helper.down(ref)))
  end)

  it("are for the owner alone", function()
    local t = task.async(function() return 1 end)
    local text = helper.run(function(theirs)
      return tostring(select(2, pcall(task.await, theirs)))
    end, t)
    assert.matches("luactor.task.await: task " .. tostring(t.pid) .. " belongs to "
      .. tostring(actor.self()), text, 1, true)
    assert.equal(1, task.await(t))
  end)

  it("give a result once", function()
    local t = task.async(function() return 1 end)
    task.await(t)
    assert.matches("has been taken or given up already", message(task.await, t), 1, true)
  end)

  it("say what cannot travel back", function()
    local _, e = pcall(task.await, task.async(function() return coroutine.create(print) end))
    assert.matches("cannot send", tostring(e), 1, true)
  end)

  it("name what they were given", function()
    assert.matches("bad argument #1 to 'luactor.task.async' (function or 'module.function' expected, got 7)",
      message(task.async, 7), 1, true)
    assert.matches("'module.function' expected, got 'sqrt'", message(task.async, "sqrt"), 1, true)
    assert.matches("bad argument #1 to 'luactor.task.await' (task expected, got 7)",
      message(task.await, 7), 1, true)
    local t = task.async(function() end)
    assert.matches("bad argument #2 to 'luactor.task.await' (milliseconds expected, got 'soon')",
      message(task.await, t, "soon"), 1, true)
    task.await(t)
  end)

  it("wait for tasks of a scope too", function()
    assert.same({ 1, 2, 3, "timeout" }, { helper.run(function()
      local one, list, late
      actor.scope(function(s)
        one = task.await(s:async(function() return 1 end))
        list = task.await_all { s:async(function() return 2 end), s:async(function() return 3 end) }
        local t = s:async(function() actor.receive "go" end)
        late = select(2, pcall(task.await, t, 0)).reason
        for _, pid in ipairs(actor.info(actor.self(), "links")) do actor.send(pid, "go") end
      end)
      return one, list[1], list[2], late
    end) })
  end)

  it("say at whose line", function()
    assert.matches("task_spec.lua:%d+: bad argument", message(function() task.async(7) end))
  end)
end)

describe("a task's link", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("ends the owner that does not await it", function()
    local reason = helper.reason(function()
      task.async(crash)
      actor.receive "never"
    end)
    assert.equal("x", reason[2])
  end)

  it("ends the owner that sleeps, calls or awaits another process's answer", function()
    for _, wait in ipairs {
      function() actor.sleep(600000) end,
      function() actor.call(actor.spawn_link(function() actor.receive "never" end), 1, 600000) end,
      function() while true do actor.yield() end end,
    } do
      local reason = helper.reason(function()
        task.async(crash)
        wait()
      end)
      assert.equal("x", reason[2])
    end
  end)

  it("ends the owner though messages wait for it", function()
    local reason = helper.reason(function()
      local t = task.async(crash)
      while actor.is_alive(t.pid) do end
      actor.yield()
      for _ = 1, 3 do actor.send(actor.self(), "m") end
      for _ = 1, 3 do actor.receive "m" end
      return "lived on"
    end)
    assert.equal("x", reason[2])
  end)

  it("tells an owner that traps exits", function()
    actor.trap_exit(true)
    local t = task.async(crash)
    assert.equal("x", (helper.receive { "EXIT", t.pid, V.reason })[2])
    actor.trap_exit(false)
    assert.is_false((pcall(task.await, t)))
  end)

  it("ends the task with its owner", function()
    local me = actor.self()
    local owner, down = actor.spawn_monitor(function()
      actor.send(me, { "task", task.async(forever).pid })
      forever()
    end)
    local ref = actor.monitor((helper.receive { "task", V.pid }))
    actor.exit(owner, "enough")
    assert.equal("enough", (helper.down(ref)))
    helper.down(down)
  end)

  it("is gone after unlink, crash or not", function()
    assert.equal("alive", helper.run(function()
      local t = task.async(crash)
      while actor.is_alive(t.pid) do end
      actor.unlink(t.pid)
      actor.sleep(1)
      return "alive"
    end))
  end)
end)

describe("task.async_nolink", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("gives a result", function()
    assert.equal(3, task.await(task.async_nolink(function() return 3 end)))
  end)

  it("leaves the owner alone when it crashes", function()
    assert.same({ "alive", "x" }, { helper.run(function()
      local t = task.async_nolink(crash)
      while actor.is_alive(t.pid) do actor.sleep(1) end
      local _, e = pcall(task.await, t)
      return "alive", e.reason[2]
    end) })
  end)

  it("runs on when the owner ends, or waits no longer", function()
    local pid = helper.run(function()
      local t = task.async_nolink(forever)
      pcall(task.await, t, 0)
      return t.pid
    end)
    assert.is_true(actor.is_alive(pid))
    helper.kill(pid)
  end)
end)

describe("task.await_all", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("gives the results in order", function()
    local list = {}
    for i = 1, 20 do
      list[i] = task.async(function() actor.sleep((20 - i) % 3) return i * i end)
    end
    local want = {}
    for i = 1, 20 do want[i] = i * i end
    assert.same(want, task.await_all(list))
  end)

  it("gives nothing for nothing", function()
    assert.same({}, task.await_all {})
  end)

  it("raises for the first that crashes, and ends the others", function()
    assert.same({ "x", 0 }, { helper.run(function()
      local list = { task.async(forever), task.async(crash), task.async(forever) }
      local refs = {}
      for i, t in ipairs(list) do refs[i] = actor.monitor(t.pid) end
      local _, e = pcall(task.await_all, list)
      for _, ref in ipairs(refs) do actor.receive { "DOWN", ref, "process", V._, V._ } end
      return e.reason[2], actor.flush(actor._)
    end) })
  end)

  it("outlives several crashes that it caught", function()
    assert.equal("alive", helper.run(function()
      local list = {}
      for i = 1, 5 do list[i] = task.async(crash) end
      for _, t in ipairs(list) do while actor.is_alive(t.pid) do end end
      pcall(task.await_all, list)
      actor.sleep(1)
      return "alive"
    end))
  end)

  it("raises when the time is over", function()
    local _, e = pcall(task.await_all, { task.async(forever), task.async(forever) }, 0)
    assert.equal("timeout", e.reason)
  end)

  it("names what is wrong with the list", function()
    assert.matches("task expected at [1], got 'x'", message(task.await_all, { "x" }), 1, true)
    local t = task.async(function() end)
    assert.matches("is in the list twice", message(task.await_all, { t, t }), 1, true)
    task.await(t)
  end)
end)

describe("task.yield", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("gives a result", function()
    assert.same({ "ok", 1 }, task.yield(task.async(function() return 1 end)))
  end)

  it("gives the reason of a crash, and the owner lives", function()
    local r = helper.run(function()
      local r = task.yield(task.async(crash))
      actor.sleep(1)
      return r
    end)
    assert.same({ "exit", "x" }, { r[1], r[2][2] })
  end)

  it("gives nothing when the time is over, and may be repeated", function()
    local t = task.async(function() return actor.receive { V.x } end)
    assert.is_nil(task.yield(t, 0))
    actor.send(t.pid, { 5 })
    assert.same({ "ok", 5 }, task.yield(t))
  end)
end)

describe("task.shutdown", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("ends the task and waits for it", function()
    local t = task.async(forever)
    assert.is_nil(task.shutdown(t))
    assert.is_false(actor.is_alive(t.pid))
  end)

  it("kills a task that traps exits after the time given", function()
    local me = actor.self()
    local t = task.async(function()
      actor.trap_exit(true)
      actor.send(me, "ready")
      while true do actor.receive() end
    end)
    helper.receive "ready"
    assert.is_nil(task.shutdown(t, 1))
    assert.is_false(actor.is_alive(t.pid))
  end)

  it("kills at once", function()
    local t = task.async(function() while true do end end)
    assert.is_nil(task.shutdown(t, "brutal_kill"))
    assert.is_false(actor.is_alive(t.pid))
  end)

  it("gives the result of a task that was done", function()
    local t = task.async(function() return 1 end)
    while actor.is_alive(t.pid) do end
    assert.same({ "ok", 1 }, task.shutdown(t))
  end)

  it("gives the reason of a task that ended by itself", function()
    local t = task.async_nolink(function()
      actor.trap_exit(true)
      actor.receive { "EXIT", V._, "shutdown" }
      actor.exit "my own"
    end)
    helper.wait(function() return actor.info(t.pid, "trap_exit") end)
    assert.same({ "exit", "my own" }, task.shutdown(t))
  end)

  it("names a bad time", function()
    local t = task.async(forever)
    assert.matches("milliseconds or 'brutal_kill' expected, got 'now'",
      message(task.shutdown, t, "now"), 1, true)
    task.shutdown(t)
  end)
end)

describe("task.ignore", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("lets the task run on, unlinked", function()
    local t = task.async(forever)
    local pid = t.pid
    assert.is_nil(task.ignore(t))
    assert.is_true(actor.is_alive(pid))
    helper.kill(pid)
  end)

  it("gives what is there", function()
    local t = task.async(function() return 1 end)
    while actor.is_alive(t.pid) do end
    assert.same({ "ok", 1 }, task.ignore(t))
  end)
end)

describe("task.async_stream", function()
  before_each(helper.mark)
  after_each(helper.check)

  local function collect(...)
    local got = {}
    for r in task.async_stream(...) do got[#got + 1] = r end
    return got
  end

  local function values(...)
    local got = collect(...)
    for i, r in ipairs(got) do got[i] = r[2] end
    return got
  end

  it("gives results in the order of the list", function()
    assert.same({ { "ok", 9 }, { "ok", 1 }, { "ok", 4 } },
      collect({ 3, 1, 2 }, function(x) actor.sleep(x) return x * x end))
  end)

  it("takes the name of a function", function()
    assert.same({ 2.0, 3.0 }, values({ 4, 9 }, "math.sqrt"))
  end)

  it("gives nothing for an empty list", function()
    assert.same({}, collect({}, print))
  end)

  it("gives a crash as a result", function()
    local got = collect({ 1, 2, 3 }, function(x)
      if x == 2 then error("two", 0) end
      return x
    end)
    assert.same({ "ok", "exit", "ok" }, { got[1][1], got[2][1], got[3][1] })
    assert.equal("two", got[2][2][2])
  end)

  it("gives nil and false as results", function()
    local got = collect({ 1, 2 }, function(x) if x == 1 then return false end end)
    assert.same({ { "ok", false }, { "ok" } }, got)
  end)

  it("gives results as they come", function()
    local gate = actor.spawn_link(function()
      local from = actor.receive { "wait", V.from }
      actor.receive "open"
      actor.send(from, "go")
    end)
    local got = {}
    for r in task.async_stream({ "slow", "fast" }, function(x)
      if x == "slow" then
        actor.send(gate, { "wait", actor.self() })
        actor.receive "go"
      end
      return x
    end, { max_concurrency = 2, ordered = false }) do
      got[#got + 1] = r[2]
      if r[2] == "fast" then actor.send(gate, "open") end
    end
    assert.same({ "fast", "slow" }, got)
  end)

  it("runs no more tasks at once than allowed", function()
    local most, now = 0, 0
    local counter = actor.mailbox()
    local n = 0
    for _ in task.async_stream((function()
      local i = 0
      return function() i = i + 1 return i <= 30 and i or nil end
    end)(), function()
      actor.send(counter, 1)
      actor.sleep(1)
      actor.send(counter, -1)
    end, { max_concurrency = 3 }) do
      n = n + 1
    end
    for _ = 1, 60 do
      now = now + counter:receive(V.d)
      most = math.max(most, now)
    end
    counter:close()
    assert.equal(30, n)
    assert.is_true(most <= 3 and most >= 1)
  end)

  it("pulls from an iterator no faster than tasks start", function()
    local pulled, most = 0, 0
    for r in task.async_stream(function() pulled = pulled + 1 return pulled end,
        function(x) return x end, { max_concurrency = 2 }) do
      most = math.max(most, pulled - r[2])
      if r[2] == 50 then break end
    end
    assert.is_true(most <= 2 * 17)
  end)

  it("gives all values of an iterator to the function", function()
    local line = ("a=1 b=2"):gmatch "(%w)=(%d)"
    assert.same({ "a1", "b2" }, values(line, function(k, v) return k .. v end))
  end)

  it("leaves no task alive when the loop is left", function()
    local me = actor.self()
    for r in task.async_stream({ 1, 2, 3, 4 }, function(x)
      actor.send(me, { "started", actor.self() })
      if x > 1 then actor.receive "never" end
      return x
    end, { max_concurrency = 4 }) do
      if r[2] == 1 then break end
    end
    local alive = 0
    actor.receive(actor.on({ "none" }, function() end), actor.after(0, function() end))
    while true do
      local pid = actor.receive({ "started", V.pid }, 0)
      if not pid then break end
      if actor.is_alive(pid) then alive = alive + 1 end
    end
    assert.equal(0, alive)
  end)

  it("leaves no task alive when the body raises", function()
    local me = actor.self()
    assert.is_false((pcall(function()
      for _ in task.async_stream({ 1, 2 }, function(x)
        actor.send(me, { "started", actor.self() })
        if x == 2 then actor.receive "never" end
      end, { max_concurrency = 2 }) do
        error "out"
      end
    end)))
    local pids = {}
    for _ = 1, 2 do
      local pid = actor.receive({ "started", V.pid }, 0)
      if pid then pids[#pids + 1] = actor.is_alive(pid) end
    end
    for _, lives in ipairs(pids) do assert.is_false(lives) end
  end)

  it("ends its tasks with the owner, however it ends", function()
    for _, how in ipairs { "kill", "normal" } do
      local me = actor.self()
      local owner, down = actor.spawn_monitor(function()
        local step = task.async_stream({ 1, 2 }, function(x)
          actor.send(me, { "started", actor.self() })
          if x == 2 then actor.receive "never" end
        end, { max_concurrency = 2 })
        step()
        actor.receive "end"
      end)
      local refs = {}
      for i = 1, 2 do refs[i] = actor.monitor((helper.receive { "started", V.pid })) end
      if how == "kill" then actor.exit(owner, "kill") else actor.send(owner, "end") end
      for i = 1, 2 do helper.down(refs[i]) end
      helper.down(down)
    end
  end)

  it("gives a late task as a result", function()
    local got = collect({ "late", "fine" }, function(x)
      if x == "late" then actor.receive "never" end
      return x
    end, { timeout = 50, max_concurrency = 2 })
    assert.same({ "exit", "timeout" }, got[1])
  end)

  it("raises for a late task when told so", function()
    local _, e = pcall(collect, { 1 }, forever, { timeout = 0, on_timeout = "exit" })
    assert.equal("timeout", e.reason)
  end)

  it("leaves the caller alone when a task crashes while it does other things", function()
    assert.equal(3, helper.run(function()
      local n = 0
      for _ in task.async_stream({ 1, 2, 3 }, function() error "x" end,
          { max_concurrency = 3 }) do
        n = n + 1
        actor.sleep(1)
      end
      return n
    end))
  end)

  it("may be nested", function()
    local got = {}
    for r in task.async_stream({ 1, 2 }, function(x)
      local sum = 0
      for s in task.async_stream({ x, x }, function(y) return y end) do sum = sum + s[2] end
      return sum
    end) do
      got[#got + 1] = r[2]
    end
    assert.same({ 2, 4 }, got)
  end)

  it("names a bad option with its value", function()
    local function with(opts) return message(task.async_stream, {}, print, opts) end
    assert.matches("luactor.task.async_stream: bad option 'max_concurrency' (positive integer expected, got 0)",
      with { max_concurrency = 0 }, 1, true)
    assert.matches("bad option 'timeout' (milliseconds expected, got 'x')", with { timeout = "x" }, 1, true)
    assert.matches("bad option 'on_timeout' ('kill_task' or 'exit' expected, got 'y')",
      with { on_timeout = "y" }, 1, true)
    assert.matches("bad option 'ordered' (boolean expected, got 1)", with { ordered = 1 }, 1, true)
    assert.matches("unknown option 'max' (value 2)", with { max = 2 }, 1, true)
    assert.matches("list or iterator expected, got 7", message(task.async_stream, 7, print), 1, true)
    assert.matches("bad argument #2 to 'luactor.task.async_stream'",
      message(task.async_stream, {}), 1, true)
  end)
end)

describe("task.supervisor", function()
  local supervisor = task.supervisor
  local sup

  before_each(function()
    helper.mark()
    sup = supervisor.start { name = "spec_tasks", shutdown = 5000 }
  end)
  after_each(function()
    if actor.is_alive(sup.pid) then helper.kill(sup.pid) end
    helper.check()
  end)

  it("gives results", function()
    assert.equal(5, task.await(supervisor.async(sup, function(a, b) return a + b end, 2, 3)))
    assert.equal(4.0, task.await(supervisor.async_nolink("spec_tasks", "math.sqrt", 16)))
    assert.is_nil(task.await(supervisor.async(sup.pid, function() end)))
  end)

  it("lists its tasks", function()
    local t = supervisor.async(sup, forever)
    assert.same({ t.pid }, supervisor.children(sup))
    task.shutdown(t)
    assert.same({}, supervisor.children(sup))
  end)

  it("raises the reason of a crash in await", function()
    for _, async in ipairs { supervisor.async, supervisor.async_nolink } do
      local _, e = pcall(task.await, async(sup, crash))
      assert.equal("x", e.reason[2])
    end
    assert.is_true(actor.is_alive(sup.pid))
  end)

  it("links a task to its owner, or does not", function()
    local reason = helper.reason(function()
      supervisor.async("spec_tasks", crash)
      forever()
    end)
    assert.equal("x", reason[2])
    assert.equal("alive", helper.run(function()
      local t = supervisor.async_nolink("spec_tasks", crash)
      while actor.is_alive(t.pid) do actor.sleep(1) end
      return "alive"
    end))
  end)

  it("ends its tasks when it ends", function()
    local refs = {}
    for i = 1, 5 do refs[i] = actor.monitor(supervisor.start_child(sup, forever)) end
    gen_server.stop(sup)
    for i = 1, 5 do assert.equal("shutdown", (helper.down(refs[i]))) end
  end)

  it("ends its tasks when it is killed", function()
    local ref = actor.monitor(supervisor.start_child(sup, forever))
    helper.kill(sup.pid)
    assert.equal("killed", (helper.down(ref)))
  end)

  it("kills a task that takes too long to end", function()
    helper.kill(sup.pid)
    sup = supervisor.start { shutdown = 1 }
    local me = actor.self()
    local pid = supervisor.start_child(sup, function()
      actor.trap_exit(true)
      actor.send(me, "ready")
      while true do actor.receive() end
    end)
    helper.receive "ready"
    assert.is_true(supervisor.terminate_child(sup, pid))
    assert.is_false(actor.is_alive(pid))
    assert.same({ nil, "not_found" }, { supervisor.terminate_child(sup, pid) })
  end)

  it("starts no more than max_children", function()
    helper.kill(sup.pid)
    sup = supervisor.start { max_children = 1 }
    local pid = supervisor.start_child(sup, forever)
    assert.matches("max_children are running", message(supervisor.start_child, sup, forever), 1, true)
    supervisor.terminate_child(sup, pid)
    assert.equal(1, task.await(supervisor.async(sup, function() return 1 end)))
  end)

  it("names what it was given", function()
    assert.matches("luactor.task_supervisor: bad option 'max_children' (positive integer expected, got 0)",
      message(supervisor.start, { max_children = 0 }), 1, true)
    assert.matches("bad option 'shutdown' (milliseconds or 'brutal_kill' expected, got 'x')",
      message(supervisor.start, { shutdown = "x" }), 1, true)
    assert.matches("unknown option 'size' (value 1)", message(supervisor.start, { size = 1 }), 1, true)
    assert.matches("bad argument #1 to 'luactor.task_supervisor.async'", message(supervisor.async, 7, print), 1, true)
    assert.matches("bad argument #2 to 'luactor.task.supervisor.async'", message(supervisor.async, sup, 7), 1, true)
  end)
end)

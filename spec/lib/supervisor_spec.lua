local actor = require "luactor"
local gen_server = require "luactor.gen_server"
local log = require "luactor.log"
local supervisor = require "luactor.supervisor"
local sys = require "luactor.sys"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- functions that travel take the real globals along
local V = actor.var

-- A child that tells `to` of its start and of the reason that it is told to end with. `how`: what
-- it does with "shutdown": ends with that reason (default), "ignore", or another reason.
local function body(to, id, how)
  while true do
    local m = actor.receive()
    if m == "crash" then error("crash of " .. tostring(id), 0) end
    if type(m) == "table" and m[1] == "exit" then actor.exit(m[2]) end
    if type(m) == "table" and m[1] == "EXIT" and how ~= "ignore" then
      actor.send(to, { "down", id, m[3] })
      actor.exit(how == "trap" and m[3] or how)
    end
  end
end

-- Told from here, since children may begin in any order.
local function start_worker(to, id, how)
  local pid = actor.spawn_opt({ link = true, trap_exit = how ~= nil }, body, to, id, how)
  actor.send(to, { "up", id, pid })
  return pid
end

local function worker(id, more)
  local spec = { id = id, start = { start_worker, actor.self(), id, "trap" } }
  for k, v in pairs(more or {}) do spec[k] = v end
  return spec
end

-- The next n events of the children as text: "+a" started, "-a" asked to end.
local function events(n)
  local list = {}
  for i = 1, n do
    local kind, id = helper.receive { V.kind, V.id, V._ }
    list[i] = (kind == "up" and "+" or "-") .. tostring(id)
  end
  return table.concat(list, " ")
end

local function is_silent()
  return actor.receive({ V.kind, V.id, V._ }, 0) == nil
end

local function child(s, id)
  for _, c in ipairs(supervisor.which_children(s)) do
    if c.id == id then return c end
  end
end

local function tell(s, id, msg)
  local pid = child(s, id).pid
  actor.send(pid, msg)
  return pid
end

-- Run body(start) where start(spec) is start_link, and end the supervisor then.
local function with(spec, f)
  local trap = actor.trap_exit(true)
  local s = supervisor.start_link(spec)
  f(s)
  local ref = actor.monitor(s.pid)
  actor.exit(s.pid, "shutdown")
  helper.down(ref)
  actor.receive({ "EXIT", s.pid, V._ }, 0)
  actor.flush { V._, V._, V._ }
  actor.trap_exit(trap)
end

-- The reason of a supervisor that ends by itself.
local function ends(s)
  return (helper.receive { "EXIT", s.pid, V.reason })
end

local function quiet()
  helper.mark()
  log.configure{ level = "none" }
end

local function loud()
  log.configure{ level = "info" }
  helper.check()
end

local describe_quietly = function(name, f)
  describe(name, function()
    before_each(quiet)
    after_each(loud)
    f()
  end)
end

describe_quietly("supervisor.start_link", function()
  it("starts children from left to right and stops them from right to left", function()
    local trap = actor.trap_exit(true)
    local s = supervisor.start_link{ children = { worker "a", worker "b", worker "c" } }
    assert.equal("+a +b +c", events(3))
    actor.exit(s.pid, "shutdown")
    assert.equal("-c -b -a", events(3))
    assert.equal("shutdown", ends(s))
    actor.trap_exit(trap)
  end)

  it("returns when all children are up", function()
    with({ children = { worker "a" } }, function(s)
      assert.equal("a", (actor.receive({ "up", V.id, V._ }, 0)))
      assert.equal("userdata", type(s.pid))
      assert.equal("supervisor " .. tostring(s.pid), tostring(s))
    end)
  end)

  it("stops what had started when a child does not start", function()
    local ok, e = pcall(supervisor.start_link, { children = { worker "a", worker "b",
      { id = "bad", start = { function() return nil, "no luck" end } }, worker "c" } })
    assert.is_false(ok)
    assert.same({ "shutdown", { "failed_to_start_child", "bad", "no luck" } }, e.reason)
    assert.equal("shutdown", e[1])
    assert.equal("+a +b -b -a", events(4))
    assert.is_true(is_silent())
  end)

  it("tells why a start raised", function()
    local _, e = pcall(supervisor.start_link, { children = {
      { id = "bad", start = { function() error("boom", 0) end } } } })
    local reason = e.reason[2][3]
    assert.equal("error", reason[1])
    assert.equal("boom", reason[2])
  end)

  it("tells why the init of a server failed", function()
    local _, e = pcall(supervisor.start_link, { children = {
      { id = "bad", start = { function()
        local Bad = gen_server.define "bad"
        function Bad:init() actor.exit "no init" end
        return Bad:start_link()
      end } } } })
    assert.same({ "failed_to_start_child", "bad", "no init" }, e.reason[2])
  end)

  it("refuses what is no pid", function()
    local _, e = pcall(supervisor.start_link, { children = { { id = "bad", start = { function() return 17 end } } } })
    assert.same({ "bad_return_value", 17 }, e.reason[2][3])
  end)

  it("takes functions by name, with arguments, nil among them", function()
    package.loaded["spec.sup_named"] = nil
    with({ children = { { id = "a", start = { "spec.fixture.child.start_link", actor.self(), nil, 3, n = 4 } } } }, function()
      assert.same({ "named", 3 }, { helper.receive { V.text, "nil", V.n } })
    end)
  end)

  it("takes servers, and links what is not linked", function()
    with({ children = {
      { id = "a", start = { function() return actor.spawn(body, nil, "a") end } },
    } }, function(s)
      local e = child(s, "a")
      assert.equal("running", e.status)
    end)
  end)

  it("keeps a child that is ignored, unless it is temporary", function()
    local function ignored() return nil, "ignore" end
    with({ children = { { id = "a", start = { ignored } }, { id = "b", start = { ignored }, restart = "temporary" } } },
      function(s)
        assert.same({ "a", "undefined", "worker", id = "a", type = "worker", status = "stopped" },
          supervisor.which_children(s)[1])
        assert.same({ specs = 1, active = 0, supervisors = 0, workers = 1 }, supervisor.count_children(s))
      end)
  end)

  it("registers a name, which serves as well", function()
    with({ name = "spec_sup", children = { worker "a" } }, function(s)
      assert.equal(s.pid, actor.whereis "spec_sup")
      for _, address in ipairs { s, s.pid, "spec_sup" } do
        assert.equal(1, supervisor.count_children(address).active)
      end
      local _, e = pcall(supervisor.start_link, { name = "spec_sup" })
      assert.same({ "already_started", s.pid }, e.reason)
    end)
  end)

  it("has its functions as methods", function()
    with({}, function(s)
      assert.equal("userdata", type((s:start_child(worker "a"))))
      assert.equal(1, s:count_children().workers)
      assert.is_true(s:terminate_child "a")
    end)
  end)

  it("stops the children when its parent ends, and ends with that reason", function()
    local main = actor.self()
    local pid, ref = actor.spawn_monitor(function()
      local s = supervisor.start_link{ children = {
        { id = "a", start = { start_worker, main, "a", "trap" } },
        { id = "b", start = { start_worker, main, "b", "trap" } } } }
      actor.send(main, { "sup", 0, s.pid })
      actor.receive "end"
      actor.exit "over"
    end)
    local sup = helper.receive { "sup", 0, V.pid }
    assert.equal("+a +b", events(2))
    local sup_ref = actor.monitor(sup)
    actor.send(pid, "end")
    assert.equal("-b -a", events(2))
    assert.equal("over", (helper.down(ref)))
    assert.equal("over", (helper.down(sup_ref)))
  end)
end)

describe("a bad spec", function()
  local function complaint(spec)
    local ok, e = pcall(function() return (supervisor.start_link(spec)) end)
    assert.is_false(ok)
    assert.matches("supervisor_spec.lua", e, 1, true)
    return (e:gsub("^.-:%d+: ", ""))
  end
  local function f() end
  local A <const> = { id = "a", start = { f } }

  for text, spec in pairs {
    ["supervisor: bad field 'strategy' ('one_for_one', 'one_for_all', 'rest_for_one' expected, got 'x')"] = { strategy = "x" },
    ["supervisor: bad field 'strategy' ('one_for_one', 'one_for_all', 'rest_for_one', or luactor.dynamic_supervisor expected,"
      .. " got 'simple_one_for_one')"] =
      { strategy = "simple_one_for_one" },
    ["supervisor: bad field 'intensity' (integer from 0 expected, got -1)"] = { intensity = -1 },
    ["supervisor: bad field 'intensity' (integer from 0 expected, got 1.5)"] = { intensity = 1.5 },
    ["supervisor: bad field 'period' (milliseconds expected, got 'x')"] = { period = "x" },
    ["supervisor: bad field 'auto_shutdown' ('never', 'any_significant', 'all_significant' expected, got true)"] =
      { auto_shutdown = true },
    ["supervisor: bad field 'children' (list of child specs expected, got 3)"] = { children = 3 },
    ["supervisor: unknown field 'childs'"] = { childs = {} },
    ["supervisor: bad field 'name' (string expected, got 3)"] = { name = 3 },
    ["supervisor: bad child spec (table expected, got 'a')"] = { children = { "a" } },
    ["supervisor: child spec: bad field 'id' (string or number expected, got nil)"] = { children = { { start = { f } } } },
    ["supervisor: child 'a': bad field 'start' ({ 'module.function' or function, arguments... } expected, got nil)"] =
      { children = { { id = "a" } } },
    ["supervisor: child 'a': bad field 'start' ({ 'module.function' or function, arguments... } expected, got 'print')"] =
      { children = { { id = "a", start = { "print" } } } },
    ["supervisor: child 'a': bad field 'restart' ('permanent', 'transient', 'temporary' expected, got 'often')"] =
      { children = { { id = "a", start = { f }, restart = "often" } } },
    ["supervisor: child 'a': bad field 'shutdown' (milliseconds, 'brutal_kill' or 'infinity' expected, got 'soon')"] =
      { children = { { id = "a", start = { f }, shutdown = "soon" } } },
    ["supervisor: child 'a': bad field 'type' ('worker', 'supervisor' expected, got 'boss')"] =
      { children = { { id = "a", start = { f }, type = "boss" } } },
    ["supervisor: child 'a': unknown field 'restrat'"] = { children = { { id = "a", start = { f }, restrat = 1 } } },
    ["supervisor: bad field 'children' (duplicate id 'a')"] = { children = { A, A } },
    ["supervisor: child 'a': bad field 'significant' (true does not go with restart = 'permanent')"] =
      { auto_shutdown = "any_significant", children = { { id = "a", start = { f }, significant = true } } },
    ["supervisor: child 'a': bad field 'significant' (true does not go with auto_shutdown = 'never')"] =
      { children = { { id = "a", start = { f }, restart = "transient", significant = true } } },
  } do
    it("is named: " .. text, function()
      assert.equal(text, complaint(spec))
    end)
  end

  it("of start_child is named as well", function()
    local s = supervisor.start_link{}
    local _, e = pcall(supervisor.start_child, s, { id = "a" })
    assert.matches("supervisor: child 'a': bad field 'start'", e, 1, true)
    _, e = pcall(supervisor.start_child, s, { id = "a", start = { f }, restart = "temporary", significant = true })
    assert.matches("supervisor: child 'a': bad field 'significant'", e, 1, true)
    _, e = pcall(supervisor.count_children, 17)
    assert.matches("bad argument #1 to 'count_children' (supervisor, pid or name expected, got 17)", e, 1, true)
    actor.unlink(s.pid)
    local ref = actor.monitor(s.pid)
    actor.exit(s.pid, "kill")
    helper.down(ref)
  end)
end)

describe_quietly("a child that ends", function()
  local function three(strategy, more)
    local spec = { strategy = strategy, children = { worker "a", worker "b", worker "c" } }
    for k, v in pairs(more or {}) do spec[k] = v end
    return spec
  end

  it("is restarted alone by one_for_one", function()
    with(three "one_for_one", function(s)
      events(3)
      local old = tell(s, "b", "crash")
      assert.equal("+b", events(1))
      assert.is_false(child(s, "b").pid == old)
      assert.is_true(is_silent())
    end)
  end)

  it("takes those behind it along by rest_for_one", function()
    with(three "rest_for_one", function(s)
      events(3)
      tell(s, "b", "crash")
      assert.equal("-c +b +c", events(3))
    end)
  end)

  it("takes all along by one_for_all", function()
    with(three "one_for_all", function(s)
      events(3)
      tell(s, "b", "crash")
      assert.equal("-c -a +a +b +c", events(5))
    end)
  end)

  it("is not looked for among those that were stopped", function()
    with({ strategy = "one_for_all", children = { worker "a", worker("t", { restart = "temporary" }), worker "b" } }, function(s)
      events(3)
      tell(s, "a", "crash")
      assert.equal("-b -t +a +b", events(4))
      assert.equal(2, supervisor.count_children(s).specs)
    end)
  end)

  for _, case in ipairs {
    { "permanent", { "exit", "normal" }, true }, { "permanent", { "exit", "shutdown" }, true }, { "permanent", "crash", true },
    { "transient", { "exit", "normal" }, false }, { "transient", { "exit", "shutdown" }, false },
    { "transient", { "exit", { "shutdown", 1 } }, false }, { "transient", "crash", true }, { "transient", { "exit", "killed" }, true },
    { "temporary", { "exit", "normal" }, false }, { "temporary", "crash", false },
  } do
    local restart, message, again = table.unpack(case)
    local reason = type(message) == "table" and helper.show(message[2]) or message
    it(("as %s by %s is %s"):format(restart, reason, again and "restarted" or "left"), function()
      with({ children = { worker("a", { restart = restart }) } }, function(s)
        events(1)
        local pid = tell(s, "a", message)
        local ref = actor.monitor(pid)
        helper.down(ref)
        if again then
          assert.equal("+a", events(1))
          assert.is_false(child(s, "a").pid == pid)
        else
          local c = child(s, "a")
          assert.equal(restart ~= "temporary" and "stopped" or nil, c and c.status)
          assert.is_true(is_silent())
        end
      end)
    end)
  end

  it("more often than the intensity ends the supervisor, children from right to left", function()
    local trap = actor.trap_exit(true)
    local s = supervisor.start_link(three("one_for_one", { intensity = 2, period = 60000 }))
    events(3)
    for _ = 1, 2 do
      tell(s, "b", "crash")
      assert.equal("+b", events(1))
    end
    tell(s, "b", "crash")
    assert.equal("-c -a", events(2))
    assert.equal("shutdown", ends(s))
    actor.trap_exit(trap)
  end)

  it("is counted for the period only", function()
    with({ intensity = 1, period = 1, children = { worker "a" } }, function(s)
      events(1)
      for _ = 1, 5 do
        tell(s, "a", "crash")
        assert.equal("+a", events(1))
        local until_ms = actor.now() + 2
        helper.wait(function() return actor.now() > until_ms end)
      end
    end)
  end)

  it("ends the supervisor at once with intensity 0", function()
    local trap = actor.trap_exit(true)
    local s = supervisor.start_link{ intensity = 0, children = { worker "a" } }
    events(1)
    tell(s, "a", "crash")
    assert.equal("shutdown", ends(s))
    actor.trap_exit(trap)
  end)

  -- A child whose starts fail after the first, until `fails` are over.
  local function shaky(to, id, counter, fails)
    local n = actor.call(counter, "next")
    if n > 1 and n <= 1 + fails then
      actor.send(to, { "fail", id, n })
      return nil, "shaky"
    end
    return start_worker(to, id, "trap")
  end

  local function counter()
    return actor.spawn_link(function()
      local n = 0
      local serve = actor.receiver(actor.on(actor.request(V.from, "next"), function(from)
        n = n + 1
        actor.reply(from, n)
      end))
      while true do serve() end
    end)
  end

  it("and whose restart fails is tried again, and counted", function()
    local c = counter()
    with({ intensity = 4, period = 60000, children = {
      { id = "a", start = { shaky, actor.self(), "a", c, 3 } } } }, function(s)
      events(1)
      tell(s, "a", "crash")
      local tries = {}
      for i = 1, 4 do tries[i] = helper.receive { V.kind, "a", V._ } end
      assert.same({ "fail", "fail", "fail", "up" }, tries)
    end)
    helper.kill(c)
  end)

  it("and whose restart fails too often ends the supervisor", function()
    local trap = actor.trap_exit(true)
    local c = counter()
    local s = supervisor.start_link{ intensity = 2, period = 60000, children = {
      { id = "a", start = { shaky, actor.self(), "a", c, 99 } } } }
    events(1)
    tell(s, "a", "crash")
    assert.equal("shutdown", ends(s))
    assert.equal(2, actor.flush { "fail", V._, V._ })
    actor.trap_exit(trap)
    actor.unlink(c)
    helper.kill(c)
  end)

  it("with rest_for_one goes on where a restart failed", function()
    local c = counter()
    with({ strategy = "rest_for_one", intensity = 4, period = 60000, children = { worker "a",
      { id = "b", start = { shaky, actor.self(), "b", c, 1 } }, worker "c" } }, function(s)
      events(3)
      tell(s, "a", "crash")
      local list = {}
      for i = 1, 6 do
        local kind, id = helper.receive { V.kind, V.id, V._ }
        list[i] = kind .. " " .. id
      end
      assert.same({ "down c", "down b", "up a", "fail b", "up b", "up c" }, list)
    end)
    helper.kill(c)
  end)
end)

describe_quietly("significant children", function()
  local function significant(id, more)
    local spec = worker(id, { restart = "transient", significant = true })
    for k, v in pairs(more or {}) do spec[k] = v end
    return spec
  end

  it("end the supervisor when any has ended", function()
    local trap = actor.trap_exit(true)
    local s = supervisor.start_link{ auto_shutdown = "any_significant", children = {
      worker "x", significant "a", significant "b" } }
    events(3)
    tell(s, "a", { "exit", "normal" })
    assert.equal("-b -x", events(2))
    assert.equal("shutdown", ends(s))
    actor.trap_exit(trap)
  end)

  it("end the supervisor when all have ended", function()
    local trap = actor.trap_exit(true)
    local s = supervisor.start_link{ auto_shutdown = "all_significant", children = {
      worker "x", significant "a", significant("b", { restart = "temporary" }) } }
    events(3)
    tell(s, "b", "crash")
    assert.equal("running", helper.wait(function() return not child(s, "b") and child(s, "a").status end))
    tell(s, "a", { "exit", "shutdown" })
    assert.equal("-x", events(1))
    assert.equal("shutdown", ends(s))
    actor.trap_exit(trap)
  end)

  it("are restarted when they crash", function()
    with({ auto_shutdown = "any_significant", children = { significant "a" } }, function(s)
      events(1)
      tell(s, "a", "crash")
      assert.equal("+a", events(1))
    end)
  end)

  it("may be stopped by hand", function()
    with({ auto_shutdown = "any_significant", children = { significant "a" } }, function(s)
      events(1)
      assert.is_true(supervisor.terminate_child(s, "a"))
      assert.equal("stopped", child(s, "a").status)
    end)
  end)
end)

describe_quietly("children by hand", function()
  it("are started behind the others", function()
    with({ children = { worker "a" } }, function(s)
      local pid, server = supervisor.start_child(s, worker "b")
      assert.equal("+a +b", events(2))
      assert.equal(pid, child(s, "b").pid)
      assert.is_nil(server)
      assert.same({ nil, { "already_started", pid } }, { supervisor.start_child(s, worker "b") })
      supervisor.terminate_child(s, "b")
      assert.same({ nil, "already_present" }, { supervisor.start_child(s, worker "b") })
      assert.same({ nil, "oops" }, { supervisor.start_child(s, { id = "c", start = { function() return nil, "oops" end } }) })
      assert.is_nil(child(s, "c"))
      assert.same({ nil, "ignore" }, { supervisor.start_child(s, { id = "c", start = { function() return "ignore" end } }) })
      assert.equal("stopped", child(s, "c").status)
    end)
  end)

  it("that are servers come as servers", function()
    with({}, function(s)
      local pid, server = supervisor.start_child(s, { id = "a", start = { function()
        local Echo = gen_server.define "echo"
        function Echo.call:echo(x) return x end
        return Echo:start_link()
      end } })
      assert.equal(7, server:echo(7))
      assert.equal(pid, server.pid)
    end)
  end)

  it("are stopped, started again, and deleted", function()
    with({ children = { worker "a", worker("t", { restart = "temporary" }) } }, function(s)
      events(2)
      assert.same({ nil, "not_found" }, { supervisor.terminate_child(s, "x") })
      assert.same({ nil, "running" }, { supervisor.restart_child(s, "a") })
      assert.same({ nil, "running" }, { supervisor.delete_child(s, "a") })
      assert.same({ nil, "not_found" }, { supervisor.restart_child(s, "x") })
      assert.same({ nil, "not_found" }, { supervisor.delete_child(s, "x") })
      assert.is_true(supervisor.terminate_child(s, "a"))
      assert.is_true(supervisor.terminate_child(s, "a"))
      assert.equal("-a", events(1))
      local pid = supervisor.restart_child(s, "a")
      assert.equal(pid, child(s, "a").pid)
      assert.equal("+a", events(1))
      supervisor.terminate_child(s, "a")
      assert.is_true(supervisor.delete_child(s, "a"))
      assert.is_nil(child(s, "a"))
      assert.is_true(supervisor.terminate_child(s, "t"))
      assert.is_nil(child(s, "t"))
    end)
  end)

  it("are listed last first, and counted", function()
    with({ children = { worker "a", worker("b", { type = "supervisor" }) } }, function(s)
      supervisor.start_child(s, worker(3))
      supervisor.terminate_child(s, "a")
      local list = supervisor.which_children(s)
      assert.same({ 3, "b", "a" }, { list[1].id, list[2][1], list[3].id })
      assert.same({ "undefined", "worker", "stopped" }, { list[3][2], list[3][3], list[3].status })
      assert.equal("supervisor", list[2].type)
      assert.same({ specs = 3, active = 2, supervisors = 1, workers = 2 }, supervisor.count_children(s))
      local spec = supervisor.get_childspec(s, "b")
      assert.same({ "permanent", "infinity", "supervisor", false },
        { spec.restart, spec.shutdown, spec.type, spec.significant })
      assert.same({ nil, "not_found" }, { supervisor.get_childspec(s, "x") })
    end)
  end)
end)

describe_quietly("the shutdown of a child", function()
  -- Stops child "a" of this spec; the reason it ends with.
  local function stopped(more, how)
    local reason
    with({ children = { { id = "a", start = { start_worker, actor.self(), "a", how },
        shutdown = more } } }, function(s)
      events(1)
      local ref = actor.monitor(child(s, "a").pid)
      assert.is_true(supervisor.terminate_child(s, "a"))
      reason = actor.receive({ "DOWN", ref, "process", V._, V.reason }, 0)
    end)
    return reason
  end

  it("waits for it", function() assert.equal("shutdown", stopped(nil, "trap")) end)
  it("waits for ever with infinity", function() assert.equal("shutdown", stopped("infinity", "trap")) end)
  it("kills it after the time", function() assert.equal("killed", stopped(5, "ignore")) end)
  it("kills it at once with 0", function() assert.equal("killed", stopped(0, "ignore")) end)
  it("kills it at once with brutal_kill", function() assert.equal("killed", stopped("brutal_kill", "trap")) end)
  it("takes any reason", function() assert.equal("other", stopped(nil, "other")) end)
end)

describe_quietly("a supervisor as a process", function()
  it("answers system messages", function()
    with({ name = "spec_sys", strategy = "one_for_all", children = { worker "a" } }, function(s)
      local state = sys.get_state(s)
      assert.equal("one_for_all", state.strategy)
      assert.equal("a", state.children[1].id)
      assert.equal("supervisor", sys.get_status(s).behaviour)
      sys.suspend(s)
      assert.equal("suspended", sys.get_status(s).status)
      sys.resume(s)
      tell(s, "a", "crash")
      assert.equal("+a +a", events(2))
    end)
  end)

  it("takes new specs while suspended: processes go on", function()
    with({ children = { worker "a", worker "b", worker "c" } }, function(s)
      events(3)
      local a = child(s, "a").pid
      sys.suspend(s)
      sys.change_code(s, { strategy = "one_for_all", intensity = 7, children = {
        worker("c", { shutdown = 1 }), worker("a", { restart = "transient" }), worker "new" } }, nil, nil)
      sys.resume(s)
      assert.is_true(is_silent())
      local ids = {}
      for i, c in ipairs(supervisor.which_children(s)) do ids[i] = c.id .. " " .. c.status end
      assert.same({ "b running", "new stopped", "a running", "c running" }, ids)
      assert.equal(a, child(s, "a").pid)
      assert.equal("transient", supervisor.get_childspec(s, "a").restart)
      assert.equal(7, sys.get_state(s).intensity)
      tell(s, "c", "crash")
      assert.equal("-b -a +c +a +new +b", events(6))
    end)
  end)

  it("refuses bad new specs", function()
    with({ children = { worker "a" } }, function(s)
      sys.suspend(s)
      local ok, e = pcall(sys.change_code, s, { strategy = "x" })
      assert.is_false(ok)
      assert.matches("bad field 'strategy'", tostring(e), 1, true)
      sys.resume(s)
      assert.equal("running", child(s, "a").status)
    end)
  end)

  it("does not mind other messages and exits", function()
    with({ children = { worker "a" } }, function(s)
      actor.send(s.pid, "hello")
      local pid = actor.spawn(function() actor.link(s.pid) actor.exit "odd" end)
      helper.down(actor.monitor(pid))
      assert.equal("running", child(s, "a").status)
    end)
  end)

  it("is a child of another", function()
    local main = actor.self()
    with({ strategy = "one_for_all", children = {
      { id = "inner", type = "supervisor", start = { function()
        return supervisor.start_link{ intensity = 0, children = {
          { id = "x", start = { start_worker, main, "x", "trap" } }, { id = "y", start = { start_worker, main, "y", "trap" } } } }
      end } }, worker "z" } }, function(s)
      assert.equal("+x +y +z", events(3))
      tell(child(s, "inner").pid, "x", "crash")
      assert.equal("-y -z +x +y +z", events(5))
    end)
  end)
end)

describe("reports", function()
  -- The log events of kind "supervisor" while f runs.
  local function reports(spec, f)
    helper.mark()
    log.add_handler("spec", actor.self(), "error")
    log.remove_handler "default"
    local list = {}
    with(spec, function(s)
      f(s)
      while true do
        local event = actor.receive({ "log", V.event }, 0)
        if not event then break end
        if event.event == "supervisor" then list[#list + 1] = event end
      end
    end)
    log.add_handler("default", "host")
    log.remove_handler "spec"
    actor.flush { "log", V._ }
    helper.check()
    return list
  end

  it("name the child, the reason, and the restarts", function()
    local list = reports({ name = "spec_rep", intensity = 5, children = { worker "a" } }, function(s)
      events(1)
      tell(s, "a", { "exit", { "odd", password = "p" } })
      events(1)
    end)
    assert.equal(1, #list)
    local e = list[1]
    assert.equal("child ended", e.message)
    assert.same({ "spec_rep", "a", "{'odd', password = <redacted>}", 1, 5, 5000, "child_terminated" }, {
      e.fields.supervisor, e.fields.child, e.fields.reason, e.fields.restarts, e.fields.intensity, e.fields.period, e.fields.error })
    assert.equal("userdata", type(e.fields.child_pid))
  end)

  it("tell of a child that does not end as asked", function()
    local list = reports({ children = { { id = "a", start = { start_worker, actor.self(), "a", "ignore" }, shutdown = 1 } } },
      function(s) supervisor.terminate_child(s, "a") end)
    assert.same({ "child ended badly", "killed" }, { list[1].message, list[1].fields.reason:match "%w+" })
  end)
end)

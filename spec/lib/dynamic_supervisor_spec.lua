local actor = require "luactor"
local dynamic = require "luactor.dynamic_supervisor"
local log = require "luactor.log"
local sys = require "luactor.sys"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- functions that travel take the real globals along
local V = actor.var

local function body(_, _, how)
  while true do
    local m = actor.receive()
    if m == "crash" then error("crash", 0) end
    if type(m) == "table" and m[1] == "exit" then actor.exit(m[2]) end
    if type(m) == "table" and m[1] == "EXIT" and how ~= "ignore" then actor.exit(m[3]) end
  end
end

local function start_worker(to, id, how)
  local pid = actor.spawn_opt({ link = true, trap_exit = how ~= nil }, body, to, id, how)
  actor.send(to, { "up", id, pid })
  return pid
end

-- A template whose children tell this process of their starts.
local function template(more)
  local spec = { start = { start_worker, actor.self() } }
  for k, v in pairs(more or {}) do spec[k] = v end
  return spec
end

local function with(spec, f)
  local trap = actor.trap_exit(true)
  local s = dynamic.start_link(spec)
  f(s)
  local ref = actor.monitor(s.pid)
  actor.exit(s.pid, "shutdown")
  helper.down(ref)
  actor.receive({ "EXIT", s.pid, V._ }, 0)
  actor.flush { "up", V._, V._ }
  actor.trap_exit(trap)
end

local function up()
  return helper.receive { "up", V.id, V.pid }
end

describe("luactor.dynamic_supervisor", function()
  before_each(function()
    helper.mark()
    log.configure{ level = "none" }
  end)
  after_each(function()
    log.configure{ level = "info" }
    helper.check()
  end)

  it("starts children of one spec with further arguments", function()
    with({ child = template() }, function(s)
      local pid = dynamic.start_child(s, "a")
      assert.same({ "a", pid }, { up() })
      local other = s:start_child "b"
      assert.same({ "b", other }, { up() })
      assert.same({ specs = 1, active = 2, supervisors = 0, workers = 2 }, dynamic.count_children(s))
    end)
  end)

  it("takes the spec as OTP does", function()
    with({ strategy = "simple_one_for_one", children = { template() } }, function(s)
      assert.equal("userdata", type(dynamic.start_child(s, "a")))
    end)
  end)

  it("starts children of specs of their own", function()
    with({ extra_arguments = { actor.self() } }, function(s)
      local pid = dynamic.start_child(s, { id = "x", start = { start_worker, "a" }, type = "supervisor" })
      assert.same({ "a", pid }, { up() })
      local e = dynamic.which_children(s)[1]
      assert.same({ "x", pid, "supervisor", "running" }, { e.id, e.pid, e.type, e.status })
      assert.same({ specs = 1, active = 1, supervisors = 1, workers = 0 }, dynamic.count_children(s))
      local ok, message = pcall(dynamic.start_child, s, { start = "x" })
      assert.is_false(ok)
      assert.matches("dynamic_supervisor: bad field 'start'", message, 1, true)
    end)
  end)

  it("puts extra arguments first", function()
    local function start(to, a, b, c)
      actor.send(to, { "args", a or "nil", b, c })
      return nil, "ignore"
    end
    with({ child = { start = { start, nil, 2, n = 3 } }, extra_arguments = { actor.self() } }, function(s)
      assert.same({ nil, "ignore" }, { dynamic.start_child(s, 3) })
      assert.same({ "nil", 2, 3 }, { helper.receive { "args", V.a, V.b, V.c } })
      assert.equal(0, dynamic.count_children(s).workers)
    end)
  end)

  it("has room for max_children", function()
    with({ child = template(), max_children = 2 }, function(s)
      local a = dynamic.start_child(s, "a")
      dynamic.start_child(s, "b")
      assert.same({ nil, "max_children" }, { dynamic.start_child(s, "c") })
      assert.is_true(dynamic.terminate_child(s, a))
      assert.equal("userdata", type(dynamic.start_child(s, "c")))
    end)
  end)

  it("tells why a child does not start", function()
    with({ child = { start = { function(why) return nil, why end } } }, function(s)
      assert.same({ nil, "no luck" }, { dynamic.start_child(s, "no luck") })
      assert.equal(0, dynamic.count_children(s).workers)
    end)
  end)

  it("restarts a child with its arguments", function()
    with({ child = template() }, function(s)
      dynamic.start_child(s, "a")
      dynamic.start_child(s, "b")
      local _, pid = up()
      up()
      actor.send(pid, "crash")
      local id, new = up()
      assert.equal("a", id)
      assert.is_false(pid == new)
      assert.equal(2, dynamic.count_children(s).active)
    end)
  end)

  it("lets temporary and transient children go", function()
    for restart, reason in pairs { temporary = "odd", transient = "normal" } do
      with({ child = template { restart = restart } }, function(s)
        local pid = dynamic.start_child(s, "a")
        up()
        local ref = actor.monitor(pid)
        actor.send(pid, { "exit", reason })
        helper.down(ref)
        assert.equal(0, dynamic.count_children(s).workers)
        assert.same({ nil, "not_found" }, { dynamic.terminate_child(s, pid) })
      end)
    end
  end)

  it("ends after too many restarts", function()
    local trap = actor.trap_exit(true)
    local s = dynamic.start_link{ child = template(), intensity = 1, period = 60000 }
    dynamic.start_child(s, "a")
    dynamic.start_child(s, "b")
    local _, a = up()
    local _, b = up()
    actor.send(a, "crash")
    up()
    actor.send(b, "crash")
    assert.equal("shutdown", (helper.receive { "EXIT", s.pid, V.reason }))
    actor.trap_exit(trap)
  end)

  it("tries again a child whose restart fails", function()
    local main = actor.self()
    local n = actor.spawn_link(function()
      local n = 0
      local serve = actor.receiver(actor.on(actor.request(V.from, "next"), function(from)
        n = n + 1
        actor.reply(from, n)
      end))
      while true do serve() end
    end)
    local function start()
      local k = actor.call(n, "next")
      if k == 2 or k == 3 then return nil, "shaky" end
      return start_worker(main, k)
    end
    with({ child = { start = { start } } }, function(s)
      actor.send(dynamic.start_child(s), "crash")
      assert.equal(1, (up()))
      assert.equal(4, (up()))
    end)
    helper.kill(n)
  end)

  it("stops a child", function()
    with({ child = template() }, function(s)
      local pid = dynamic.start_child(s, "a")
      local ref = actor.monitor(pid)
      assert.is_true(dynamic.terminate_child(s, pid))
      assert.equal("shutdown", actor.receive({ "DOWN", ref, "process", V._, V.reason }, 0))
      assert.same({}, dynamic.which_children(s))
    end)
  end)

  it("stops all children at the same time, their times counted together", function()
    local trap = actor.trap_exit(true)
    local many = math.max(20, math.floor(200 * helper.scale))
    local s = dynamic.start_link{}
    local function start(how) return actor.spawn_opt({ link = true, trap_exit = true }, body, nil, nil, how) end
    local refs = {}
    for i = 1, many do
      local how = i % 2 == 0 and "trap" or "ignore"
      local pid = dynamic.start_child(s, { start = { start, how }, shutdown = i % 3 == 0 and 150 or 100 })
      refs[actor.monitor(pid)] = how
    end
    actor.exit(s.pid, "shutdown")
    -- All that end by themselves do so while the others are waited for.
    for i = 1, many do
      local ref, reason = helper.receive { "DOWN", V.ref, "process", V._, V.reason }
      assert.equal(refs[ref] == "trap" and "shutdown" or "killed", reason)
      assert.equal(i <= many // 2 and "trap" or "ignore", refs[ref])
    end
    assert.equal("shutdown", (helper.receive { "EXIT", s.pid, V.reason }))
    actor.trap_exit(trap)
  end)

  it("answers system messages and takes a new spec", function()
    with({ child = template(), max_children = 1 }, function(s)
      local pid = dynamic.start_child(s, "a")
      up()
      assert.equal(1, sys.get_state(s).children)
      sys.suspend(s)
      sys.change_code(s, { child = template { restart = "temporary" }, max_children = 5, intensity = 0 })
      sys.resume(s)
      assert.equal(5, sys.get_state(s).max_children)
      local ref = actor.monitor(pid)
      actor.send(pid, "crash")
      helper.down(ref)
      assert.equal(0, dynamic.count_children(s).workers)
    end)
  end)

  it("refuses bad settings", function()
    local function f() end
    for text, spec in pairs {
      ["dynamic_supervisor: bad field 'strategy' ('one_for_one' expected, got 'one_for_all')"] = { strategy = "one_for_all" },
      ["dynamic_supervisor: bad field 'max_children' (integer from 0 expected, got 'x')"] = { max_children = "x" },
      ["dynamic_supervisor: bad field 'extra_arguments' (list expected, got 1)"] = { extra_arguments = 1 },
      ["dynamic_supervisor: unknown field 'kids'"] = { kids = 1 },
      ["dynamic_supervisor: bad field 'start'"] = { child = {} },
      ["dynamic_supervisor: bad field 'children'"] = { children = {} },
      ["dynamic_supervisor: bad field 'significant'"] = { child = { start = f, restart = "temporary", significant = true } },
      ["dynamic_supervisor: bad argument #1 (table expected, got nil)"] = false,
    } do
      local ok, e = pcall(dynamic.start_link, spec or nil)
      assert.is_false(ok)
      assert.matches(text, e, 1, true)
    end
  end)
end)

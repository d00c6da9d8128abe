local actor = require "luactor"
local gen_server = require "luactor.gen_server"
local sys = require "luactor.sys"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- functions that travel take the real globals along
local V = actor.var

local Counter = gen_server.define "counter"

function Counter:init(n) self.n = n or 0 end
function Counter.call:add(k) self.n = self.n + k; return self.n end
function Counter.cast:reset() self.n = 0 end
function Counter:helper() return "helped" end
function Counter.call:help() return self:helper() end
function Counter.call:hide() self.file = io.stdout end
function Counter:code_change(old, extra)
  self.n = self.n * extra
  self.old = old
end

-- The same with other methods, and shown otherwise.
local Better = gen_server.define "better"
function Better.call:add(k) self.n = self.n + 10 * k; return self.n end
function Better:format_status(how) return { how = how, n = self.n } end
function Better:code_change() return { n = self.n + 0.5 } end

local Failing = gen_server.define "failing"
function Failing:code_change() error("no way", 0) end

describe("sys", function()
  local c

  local function failure(f, ...)
    local ok, e = pcall(f, ...)
    assert(not ok, "the function did not raise")
    return e
  end

  before_each(function()
    helper.mark()
    c = Counter:start(5)
  end)

  after_each(function()
    helper.kill(c.pid)
    helper.check()
  end)

  it("gets a copy of the state", function()
    local state = sys.get_state(c)
    state.n = 100
    assert.equal(6, (c:add(1)))
  end)

  it("serves pids and names as well", function()
    actor.register("sys_spec", c.pid)
    assert.same({ 5, 5 }, { sys.get_state(c.pid).n, sys.get_state("sys_spec").n })
  end)

  it("replaces the state, whose methods stay", function()
    local new = sys.replace_state(c, function(state) return { n = state.n + 1 } end)
    assert.equal(6, new.n)
    assert.same({ 7, "helped" }, { c:add(1), (c:help()) })
  end)

  it("keeps the state when the function fails", function()
    local e = failure(sys.replace_state, c, function() error("no", 0) end)
    assert.equal("callback_failed", e.reason[1])
    assert.equal(5, (c:add(0)))
  end)

  it("says when the state cannot travel", function()
    c:hide()
    local e = failure(sys.get_state, c)
    assert.equal("cannot_send", e.reason[1])
    assert.matches("FILE%*", tostring(e))
    assert.equal(5, (c:add(0)))
  end)

  it("gets the status", function()
    local status = sys.get_status(c)
    assert.same({ c.pid, "gen_server", "counter", "running", 5 },
      { status.pid, status.behaviour, status.class, status.status, status.state.n })
  end)

  it("shows the state in the status as format_status says", function()
    local b = Better:start()
    sys.replace_state(b, function() return { n = 1, secret = "x" } end)
    local status = sys.get_status(b)
    helper.kill(b.pid)
    assert.same({ how = "normal", n = 1 }, status.state)
  end)

  it("raises noproc for nobody", function()
    assert.equal("noproc", failure(sys.get_state, helper.dead_pid()).reason)
    assert.equal("noproc", failure(sys.get_state, "sys_spec_nobody").reason)
  end)

  it("raises timeout when there is no answer, and leaves nothing", function()
    local idle = helper.spawn_idle()
    local e = failure(sys.get_state, idle, 5)
    helper.kill(idle)
    assert.equal("timeout", e.reason)
    assert.matches("system message to <.*> failed: timeout", tostring(e))
  end)

  it("refuses what is no server", function()
    assert.matches("server, pid or name expected, got nil", failure(sys.get_state, nil))
  end)

  it("cannot ask the own process", function()
    assert.equal("calling_self", failure(sys.get_state, actor.self()).reason)
    assert.equal("calling_self", failure(sys.stop, actor.self()).reason)
  end)

  describe("suspend", function()
    it("holds all messages but system messages until resume", function()
      sys.suspend(c)
      c.cast:reset()
      local ok, reason = actor.try_call(c, { "add", 1 }, 5)
      assert.same({ false, "timeout" }, { ok, reason })
      assert.same({ "suspended", 5 }, { sys.get_status(c).status, sys.get_state(c).n })
      sys.resume(c)
      assert.same({ 2, "running" }, { c:add(2), sys.get_status(c).status })
    end)

    it("twice is as once", function()
      sys.suspend(c)
      sys.suspend(c)
      sys.resume(c)
      assert.equal(6, (c:add(1)))
    end)

    it("lets the server be stopped", function()
      local mon = actor.monitor(c)
      sys.suspend(c)
      gen_server.stop(c, "shutdown")
      assert.equal("shutdown", (helper.down(mon)))
    end)

    it("lets the server follow its parent", function()
      local me = actor.self()
      local parent, mon = actor.spawn_monitor(function()
        local s = Counter:start_link()
        sys.replace_state(s, function(state)
          actor.trap_exit(true)
          return state
        end)
        sys.suspend(s)
        actor.send(me, { "server", s.pid })
        actor.receive "go"
        actor.exit "parent"
      end)
      local mon2 = actor.monitor((helper.receive { "server", V.pid }))
      actor.send(parent, "go")
      helper.down(mon)
      assert.equal("parent", (helper.down(mon2)))
    end)
  end)

  describe("change_code", function()
    it("runs code_change of the class", function()
      sys.suspend(c)
      sys.change_code(c, nil, "v1", 3)
      sys.resume(c)
      assert.same({ n = 15, old = "v1" }, sys.get_state(c))
    end)

    it("takes another class along", function()
      sys.suspend(c)
      sys.change_code(c, Better, "v1")
      sys.resume(c)
      assert.equal(15.5, (c:add(1)))
    end)

    it("loads the module of the class anew", function()
      local s = require("spec.fixture.tally"):start(4)
      sys.suspend(s)
      sys.change_code(s, "spec.fixture.tally")
      sys.resume(s)
      assert.equal(4, (s:value()))
      helper.kill(s.pid)
    end)

    it("wants the server suspended", function()
      assert.equal("unknown_system_msg", failure(sys.change_code, c, nil, 1).reason[1])
    end)

    it("that fails leaves state and code", function()
      sys.suspend(c)
      local e = failure(sys.change_code, c, Failing)
      sys.resume(c)
      assert.equal("no way", e.reason[2])
      assert.equal(6, (c:add(1)))
    end)
  end)

  describe("debugging", function()
    it("sends the events to a pid", function()
      sys.trace(c, actor.self())
      c:add(2)
      c.cast:reset()
      actor.send(c, "hello")
      local got = {}
      for i = 1, 6 do got[i] = helper.receive { "trace", c.pid, V.event } end
      sys.trace(c, false)
      c:add(1)
      assert.same({ "$gen_call", { "add", 2 } }, { got[1][2][1], got[1][2][3] })
      assert.same({ "out", 7, actor.self(), { n = 7 } }, got[2])
      assert.same({ "in", { "$gen_cast", { "reset" } } }, got[3])
      assert.same({ "noreply", { n = 0 } }, got[4])
      assert.same({ "in", "hello" }, got[5])
      assert.same({ "noreply", { n = 0 } }, got[6])
    end)

    it("keeps the last events", function()
      sys.log(c, true, 2)
      for i = 1, 5 do c:add(i) end
      local events = sys.log(c, "get")
      sys.log(c, false)
      assert.same({ 2, "in", "out", 20 }, { #events, events[1][1], events[2][1], events[2][2] })
      assert.same({}, sys.log(c, "get"))
    end)

    it("counts messages", function()
      sys.statistics(c, true)
      c:add(1)
      c.cast:reset()
      local s = sys.statistics(c, "get")
      assert.same({ 2, 1 }, { s.messages_in, s.messages_out })
      assert.is_true(s.current_time >= s.start_time and s.reductions > 0)
      sys.statistics(c, false)
      assert.equal("no_statistics", (sys.statistics(c, "get")))
    end)

    it("runs an installed function with its state for each event", function()
      local me = actor.self()
      local function f(n, event, name)
        actor.send(me, { "event", n, event[1], name })
        if n == 2 then return "done" end
        return n + 1
      end
      sys.install(c, "spec", f, 1)
      sys.install(c, "spec", f, 1)
      c:add(1)
      c:add(1)
      assert.same({ 1, "in", "counter" }, { helper.receive { "event", V.n, V.kind, V.name } })
      assert.same({ 2, "out", "counter" }, { helper.receive { "event", V.n, V.kind, V.name } })
    end)

    it("removes an installed function", function()
      sys.install(c, "spec", function(me) actor.send(me, "event") return me end, actor.self())
      sys.remove(c, "spec")
      c:add(1)
      assert.same({ nil, "timeout" }, { actor.receive("event", 0) })
    end)

    it("may be asked for at the start", function()
      local s = Counter:start_opt { debug = { { "trace", actor.self() }, { "statistics", true } } }
      s:add(1)
      assert.equal("in", helper.receive({ "trace", s.pid, V.event })[1])
      assert.equal(1, sys.statistics(s, "get").messages_in)
      sys.stop(s)
      actor.flush { "trace", V._, V._ }
      assert.matches("gen_server.start_opt: bad option 'debug' %(table expected, got boolean%)",
        failure(Counter.start_opt, Counter, { debug = true }))
    end)

    it("is over with no_debug", function()
      sys.trace(c, actor.self())
      sys.no_debug(c)
      c:add(1)
      assert.same({ nil, "timeout" }, { actor.receive({ "trace", V._, V.x }, 0) })
    end)

    it("is written to the log", function()
      local _, err = helper.cli { code = [[
        local gen_server = require "luactor.gen_server"
        local sys = require "luactor.sys"
        local C = gen_server.define "counter"
        function C:init() self.n = 1 end
        function C.call:add(k) self.n = self.n + k; return self.n end
        function C.cast:reset() self.n = 0 end
        local c = C:start_link()
        sys.trace(c, true)
        c:add(2)
        c.cast:reset()
        sys.log(c, true)
        c:add(5)
        sys.trace(c, false)
        sys.log(c, "print")
        gen_server.stop(c)
      ]] }
      local lines = {}
      for line in err:gmatch "%*DBG%* ([^\n]*)" do lines[#lines + 1] = line:gsub("<[^>]*>", "PID") end
      assert.same({
        'counter got call {"add", 2} from PID',
        "counter sent 3 to PID, new state {n = 3}",
        'counter got cast {"reset"}',
        "counter new state {n = 0}",
        'counter got call {"add", 5} from PID',
        "counter sent 5 to PID, new state {n = 5}",
        'counter got call {"add", 5} from PID',
        "counter sent 5 to PID, new state {n = 5}",
      }, lines)
    end)
  end)

  it("terminates with a reason", function()
    local mon = actor.monitor(c)
    sys.terminate(c, { "my", "reason" })
    assert.same({ "my", "reason" }, (helper.down(mon)))
  end)

  it("stops in order", function()
    local mon = actor.monitor(c)
    sys.stop(c)
    assert.equal("normal", (helper.down(mon)))
  end)

  it("raises timeout when stop takes too long", function()
    local Slow = gen_server.define "slow"
    function Slow:terminate() actor.receive "never" end
    local s = Slow:start()
    local e = failure(sys.stop, s, "normal", 5)
    helper.kill(s.pid)
    assert.equal("timeout", e.reason)
  end)
end)

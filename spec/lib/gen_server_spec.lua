local actor = require "luactor"
local gen_server = require "luactor.gen_server"
local sys = require "luactor.sys"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- functions that travel take the real globals along
local V = actor.var

-- A server that tells what its callbacks are called with.
local Probe = gen_server.define "probe"

function Probe:init(opts)
  opts = opts or {}
  self.n, self.tell = opts.n or 0, opts.tell
  if opts.trap then actor.trap_exit(true) end
  if opts.raise then error(opts.raise, 0) end
  if opts.exit then actor.exit(opts.exit) end
  if opts.wait then actor.receive "never" end
  if opts.stop then return gen_server.stop_with(opts.stop) end
  if opts.ignore then return gen_server.ignore end
  if opts.timeout then return gen_server.timeout(opts.timeout) end
  if opts.continue then return gen_server.continue(opts.continue) end
end

function Probe:note(...)
  if self.tell then actor.send(self.tell, { "note", ... }) end
end

function Probe.call:add(k)
  self.n = self.n + k
  return self.n
end

function Probe.call:echo(...) return table.pack(...) end
function Probe.call:nothing() end
function Probe.call:no() return false end
function Probe.call:sum(a, b, c, d) return (a or 0) + (b or 0) + (c or 0) + (d or 0) end
function Probe.call:me() return actor.self() end
function Probe.call:run(f, ...) return f(self, ...) end
function Probe.call:stop(reason) return gen_server.stop_with(reason) end
function Probe.call:stop_reply(reason, reply) return gen_server.stop_with(reason, reply) end
function Probe.call:crash(e) error(e, 0) end
function Probe.call:leave(reason) actor.exit(reason) end

function Probe.call:later()
  local from = gen_server.from()
  actor.spawn(function() gen_server.reply(from, "later") end)
  return gen_server.noreply
end

function Probe.call:twice()
  actor.reply(gen_server.from(), 1)
  return 2
end

function Probe.call:continue(arg)
  gen_server.continue(arg)
  return "replied"
end

function Probe.cast:reset() self.n = 0 end
function Probe.cast:stop(reason) return gen_server.stop_with(reason) end
function Probe.cast:wait(ms) return gen_server.timeout(ms) end
function Probe.cast:pid(to) actor.send(to, { "pid", actor.self() }) end

function Probe:handle_info(msg)
  self:note("info", msg)
  if msg == "stop" then return gen_server.stop_with "told" end
end

function Probe:handle_continue(arg) self:note("continue", arg) end

function Probe:terminate(reason)
  self:note("terminate", type(reason) == "table" and reason[2] or reason)
end

-- The OTP form.
local Plain = gen_server.define "plain"

function Plain:handle_call(request, from)
  if request == "from" then return from[1] end
  return { "call", request }
end

function Plain:handle_cast(msg)
  if type(msg) == "table" and msg.to then actor.send(msg.to, { "cast", msg.text }) end
end

local function note(...)
  return helper.receive { "note", ... }
end

describe("gen_server", function()
  local servers

  local function start(opts, class)
    local s = (class or Probe):start(opts)
    servers[#servers + 1] = s
    return s
  end

  local function failure(f, ...)
    local ok, e = pcall(f, ...)
    assert(not ok, "the function did not raise")
    return e
  end

  before_each(function()
    helper.mark()
    servers = {}
  end)

  after_each(function()
    for _, s in ipairs(servers) do
      if actor.is_alive(s.pid) then helper.kill(s.pid) end
    end
    actor.flush { "note", V._ "..." }
    helper.check()
  end)

  describe("a call", function()
    it("returns what the method returns", function()
      local s = start { n = 10 }
      assert.same({ 15, 16 }, { s:add(5), s:add(1) })
    end)

    it("returns exactly one value for nil and for false", function()
      local s = start()
      assert.same({ n = 1 }, table.pack(s:nothing()))
      assert.same({ false, n = 1 }, table.pack(s:no()))
    end)

    it("passes any number of arguments, nil among them", function()
      local s = start()
      assert.same({ n = 0 }, s:echo())
      assert.same({ 1, n = 1 }, s:echo(1))
      assert.same({ 1, nil, 3, n = 3 }, s:echo(1, nil, 3))
      assert.same({ 1, 2, 3, 4, 5, n = 5 }, s:echo(1, 2, 3, 4, 5))
    end)

    it("is actor.call with { name, ... }", function()
      assert.equal(7, (actor.call(start { n = 5 }.pid, { "add", 2 })))
    end)

    it("takes the server object as destination", function()
      assert.equal(3, (actor.call(start(), { "add", 3 })))
    end)

    it("of a name that is no method gives badcall, and the server lives", function()
      local s = start()
      assert.same({ "badcall", { "nosuch", 1 } }, s:nosuch(1))
      assert.same({ "badcall", "text" }, actor.call(s, "text"))
      assert.equal(1, (s:add(1)))
    end)

    it("of nil gives badcall", function()
      assert.same({ "badcall" }, actor.call(start(), nil))
    end)

    it("may be answered later, by another process", function()
      assert.equal("later", (start():later()))
    end)

    it("raises the reason when the method crashes", function()
      local s = start()
      assert.same({ "error", "bang" }, { table.unpack(failure(s.crash, s, "bang").reason, 1, 2) })
    end)

    it("raises the reason that the method exits with", function()
      local s = start { tell = actor.self() }
      assert.equal("why", failure(s.leave, s, "why").reason)
      assert.equal("why", (note("terminate", V.r)))
    end)

    it("raises the reason of stop_with without a reply", function()
      local s = start()
      assert.equal("enough", failure(s.stop, s, "enough").reason)
    end)

    it("gets the reply of stop_with after terminate", function()
      local s = start { tell = actor.self() }
      local mon = actor.monitor(s.pid)
      assert.equal("bye", (s:stop_reply("done", "bye")))
      assert.equal("done", (actor.receive({ "note", "terminate", V.r }, 0)))
      assert.equal("done", (helper.down(mon)))
    end)

    it("gets the reply nil of stop_with", function()
      assert.same({ n = 1 }, table.pack(start():stop_reply("normal", nil)))
    end)

    it("answered twice is an error of the server", function()
      local s = start()
      local mon = actor.monitor(s.pid)
      assert.equal(1, (s:twice()))
      local reason = helper.down(mon)
      assert.matches("answered already", reason[2])
    end)

    it("may go on with handle_continue after the reply", function()
      local s = start { tell = actor.self() }
      assert.equal("replied", (s:continue("more")))
      assert.equal("more", (note("continue", V.x)))
    end)

    it("has no 'from' outside of the call", function()
      local s = start()
      s:later()
      local Other = gen_server.define "other"
      function Other:handle_info(to) actor.send(to, { "from", tostring(gen_server.from()) }) end
      local o = start(nil, Other)
      actor.send(o, actor.self())
      assert.equal("nil", (helper.receive { "from", V.x }))
    end)
  end)

  describe("the OTP form", function()
    it("gets requests that are no methods", function()
      local s = start(nil, Plain)
      assert.same({ "call", "text" }, (gen_server.call(s, "text")))
      assert.same({ "call", { "x", 1 } }, s:x(1))
      assert.equal(actor.self(), (gen_server.call(s, "from")))
    end)

    it("gets casts that are no methods", function()
      local s = start(nil, Plain)
      gen_server.cast(s, { to = actor.self(), text = "hi" })
      assert.equal("hi", (helper.receive { "cast", V.x }))
    end)
  end)

  describe("a cast", function()
    it("runs its method", function()
      local s = start { n = 5 }
      s.cast:reset()
      assert.equal(1, (s:add(1)))
    end)

    it("that nothing handles leaves the server alive", function()
      local s = start()
      s.cast:nosuch()
      assert.equal(1, (s:add(1)))
    end)

    it("may stop the server", function()
      local s = start { tell = actor.self() }
      local mon = actor.monitor(s.pid)
      s.cast:stop "over"
      assert.same({ "over", "over" }, { (helper.down(mon)), (note("terminate", V.r)) })
    end)
  end)

  describe("another message", function()
    it("goes to handle_info", function()
      actor.send(start { tell = actor.self() }, { 1, 2 })
      assert.same({ 1, 2 }, note("info", V.m))
    end)

    it("may stop the server", function()
      local s = start()
      local mon = actor.monitor(s.pid)
      actor.send(s, "stop")
      assert.equal("told", (helper.down(mon)))
    end)

    it("is dropped without handle_info", function()
      local s = start(nil, Plain)
      actor.send(s, "noise")
      assert.same({ "call", 1 }, gen_server.call(s, 1))
    end)
  end)

  it("hibernates and goes on", function()
    local S = gen_server.define "s"
    function S.call:use() self.t = ("x"):rep(1e6) .. "y" self.t = nil return gen_server.from() end
    function S.call:kb() return collectgarbage "count" end
    function S.cast:sleep() return gen_server.hibernate() end
    local s = start(nil, S)
    s:use()
    local before = s:kb()
    s.cast:sleep()
    assert.is_true(s:kb() < before - 900)
  end)

  describe("timeout", function()
    it("sends handle_info 'timeout' when no message comes", function()
      start({ tell = actor.self(), timeout = 1 })
      assert.equal("timeout", (note("info", V.m)))
    end)

    it("is over with the next message", function()
      local s = start { tell = actor.self() }
      s.cast:wait(60000)
      s:add(1)
      assert.equal("stopped", (function()
        gen_server.stop(s)
        return "stopped"
      end)())
      assert.equal("normal", (note("terminate", V.r)))
    end)

    it("refuses what is no time", function()
      assert.matches("bad argument #1 to 'timeout' %(milliseconds expected, got soon%)",
        failure(gen_server.timeout, "soon"))
    end)
  end)

  describe("start", function()
    it("runs handle_continue of init before any message", function()
      local s = start { tell = actor.self(), continue = "first" }
      actor.send(s, "second")
      assert.equal("first", (note("continue", V.x)))
    end)

    it("makes start_link's link", function()
      local s = Probe:start_link()
      local linked = false
      for _, pid in ipairs(actor.info(actor.self(), "links")) do linked = linked or pid == s.pid end
      gen_server.stop(s)
      assert.is_true(linked)
    end)

    it("gives pid and reference with opts.monitor", function()
      local s, ref = Probe:start_opt { monitor = true, name = "gen_server_spec" }
      gen_server.stop("gen_server_spec", "shutdown")
      assert.equal("shutdown", (helper.down(ref)))
      assert.is_false(actor.is_alive(s.pid))
    end)

    it("gives nil, 'ignore' when init wants no process", function()
      local s, why = Probe:start_opt({ link = true, name = "gen_server_spec" }, { ignore = true })
      assert.same({ nil, "ignore" }, { s, why })
      assert.is_nil(actor.whereis "gen_server_spec")
    end)

    it("takes its class from a module by name", function()
      local s = start(1, require "spec.fixture.tally")
      assert.equal(1, (s:value()))
    end)

    it("takes its class from a field of a module by name", function()
      local s = start(1, require("spec.fixture.tally").Other)
      assert.equal("other", (s:value()))
    end)

    it("takes any table as class, also one with a metatable in a module", function()
      local s = gen_server.start(require "spec.fixture.bare", 3)
      servers[1] = Probe:at(s)
      assert.same({ 6, "spec.fixture.bare", 3 }, { s:double(), sys.get_status(s).class, (s:inherited()) })
      local e = failure(gen_server.start, setmetatable({}, { __index = Probe }))
      assert.matches("probe: the class has a metatable, which does not travel; keep the class in a module", e)
    end)

    it("takes classes of other servers along as upvalues", function()
      local Nest = gen_server.define "nest"
      function Nest:init() self.inner = Probe:start_link { n = 4 } end
      function Nest.call:inner() return self.inner end
      local inner = start(nil, Nest):inner()
      assert.equal(5, (inner:add(1)))
      helper.kill(inner.pid)
    end)
  end)

  describe("a start that fails", function()
    -- What start_link raises in a process that traps no exits.
    local function start_link(opts)
      return helper.run(function(o)
        local ok, e = pcall(Probe.start_link, Probe, o)
        assert(not ok, "start_link did not raise")
        actor.sleep(0)
        assert(#actor.info(actor.self(), "links") == 0, "a link is left")
        assert(#actor.info(actor.self(), "monitors") == 0, "a monitor is left")
        return e.reason, tostring(e)
      end, opts)
    end

    it("raises what init raises", function()
      local reason, text = start_link { raise = "no luck" }
      assert.same({ "error", "no luck" }, { reason[1], reason[2] })
      assert.equal("gen_server 'probe' did not start: no luck", text)
    end)

    it("raises the reason that init exits with", function()
      assert.equal("bye", (start_link { exit = "bye" }))
    end)

    it("raises the reason of stop_with", function()
      assert.same({ "my", "reason" }, (start_link { stop = { "my", "reason" } }))
    end)

    it("leaves no name", function()
      pcall(Probe.start_opt, Probe, { name = "gen_server_spec" }, { raise = "x" })
      assert.is_nil(actor.whereis "gen_server_spec")
    end)

    it("has killed the process after a timeout", function()
      local e = failure(Probe.start_opt, Probe, { timeout = 5, name = "gen_server_spec", link = true }, { wait = true })
      assert.equal("timeout", e.reason)
      assert.is_nil(actor.whereis "gen_server_spec")
    end)

    it("leaves the caller's messages in order", function()
      actor.send(actor.self(), "a")
      actor.send(actor.self(), "b")
      pcall(Probe.start_link, Probe, { raise = "x" })
      gen_server.stop(Probe:start_link())
      assert.same({ "a", "b" }, { actor.receive(), (actor.receive()) })
    end)

    it("says who has the name already", function()
      local s = Probe:start_opt { name = "gen_server_spec" }
      servers[1] = s
      local e = failure(Probe.start_opt, Probe, { name = "gen_server_spec" })
      assert.same({ "already_started", s.pid }, { e[1], e[2] })
      assert.same({ "already_started", s.pid }, e.reason)
      assert.matches("already_started, <0%.", tostring(e))
    end)

    it("ends the process when the caller dies during init", function()
      local me = actor.self()
      local caller = actor.spawn(function()
        local Slow = gen_server.define "slow"
        function Slow:init()
          actor.send(me, { "in init", actor.self() })
          actor.receive "never"
        end
        Slow:start_link()
      end)
      local pid = helper.receive { "in init", V.pid }
      local mon = actor.monitor(pid)
      helper.kill(caller)
      assert.equal("killed", (helper.down(mon)))
    end)
  end)

  describe("the end", function()
    it("runs terminate for stop, with the reason", function()
      local s = start { tell = actor.self() }
      gen_server.stop(s, "shutdown")
      assert.equal("shutdown", (note("terminate", V.r)))
    end)

    it("runs terminate after a crash", function()
      local s = start { tell = actor.self() }
      pcall(s.crash, s, "bang")
      assert.equal("bang", (note("terminate", V.r)))
    end)

    it("does not run terminate for a kill", function()
      local s = start { tell = actor.self() }
      helper.kill(s.pid)
      assert.same({ nil, "timeout" }, { actor.receive({ "note", V.x }, 0) })
    end)

    it("does not run terminate for an exit signal that is not trapped", function()
      local s = start { tell = actor.self() }
      local mon = actor.monitor(s.pid)
      actor.exit(s.pid, "signal")
      assert.equal("signal", (helper.down(mon)))
      assert.same({ nil, "timeout" }, { actor.receive({ "note", V.x, V.y }, 0) })
    end)

    it("gives the reason of an error in terminate", function()
      local Bad = gen_server.define "bad"
      function Bad:terminate() error("in terminate", 0) end
      function Bad.call:stop() return gen_server.stop_with("normal", "replied") end
      local s = start(nil, Bad)
      local mon = actor.monitor(s.pid)
      assert.equal("replied", (s:stop()))
      assert.equal("in terminate", helper.down(mon)[2])
    end)

    it("follows the parent's when the server traps exits, through terminate", function()
      local me = actor.self()
      local parent, mon = actor.spawn_monitor(function()
        local s = Probe:start_link { trap = true, tell = me }
        actor.send(me, { "started", s.pid })
        actor.receive "go"
        actor.exit "parent's reason"
      end)
      local pid = helper.receive { "started", V.pid }
      local mon2 = actor.monitor(pid)
      actor.send(parent, "go")
      helper.down(mon)
      assert.equal("parent's reason", (helper.down(mon2)))
      assert.equal("parent's reason", (note("terminate", V.r)))
    end)

    it("of another linked process is a message when exits are trapped", function()
      local s = start { trap = true, tell = actor.self() }
      s:run(function() actor.spawn_link(function() actor.exit "other" end) end)
      local msg = note("info", V.m)
      assert.same({ "EXIT", "other" }, { msg[1], msg[3] })
    end)

    it("raises in stop when the reason is another", function()
      local Bad = gen_server.define "bad"
      function Bad:terminate() actor.exit "changed" end
      local s = start(nil, Bad)
      assert.equal("changed", failure(gen_server.stop, s).reason)
    end)

    it("raises noproc in stop of nobody", function()
      assert.equal("noproc", failure(gen_server.stop, helper.dead_pid()).reason)
    end)
  end)

  describe("a server object", function()
    it("travels in a message", function()
      local s = start { n = 1 }
      actor.send(actor.self(), { "server", s })
      local got = helper.receive { "server", V.s }
      assert.equal(2, (got:add(1)))
      assert.is_true(got == s)
    end)

    it("of a name finds the server of the moment", function()
      local at = Probe:at "gen_server_spec"
      assert.is_nil(at.pid)
      assert.equal("noproc", failure(at.add, at, 1).reason)
      local s = Probe:start_opt({ name = "gen_server_spec" }, { n = 1 })
      servers[1] = s
      assert.equal(3, (at:add(2)))
      at.cast:reset()
      assert.same({ 1, s.pid }, { (actor.call(at, { "add", 1 })), at.pid })
    end)

    it("is made of a pid or another object", function()
      local s = start()
      assert.equal(1, (Probe:at(s.pid):add(1)))
      assert.equal(2, (Probe:at(s):add(1)))
    end)

    it("serves as destination of send, monitor and link", function()
      local s = start { tell = actor.self() }
      actor.send(s, "hello")
      assert.equal("hello", (note("info", V.m)))
      local mon = actor.monitor(s)
      gen_server.stop(s)
      assert.equal("normal", (helper.down(mon)))
    end)
  end)

  describe("bad input", function()
    it("is reported at the line of the program", function()
      local lines = {}
      local function at(f)
        local e = failure(f)
        lines[#lines + 1] = tonumber(e:match "gen_server_spec%.lua:(%d+): ")
          - debug.getinfo(f, "S").linedefined
      end
      local Bad = gen_server.define "bad"
      at(function() return (Bad:start_opt(5)) end)
      at(function() return (Bad:start_opt { nosuch = 1 }) end)
      at(function() return (Bad:start_opt { timeout = "soon" }) end)
      at(function() return (Bad:at(5)) end)
      at(function()
        Bad.call = 5
        return (Bad:start_link())
      end)
      at(function() return (gen_server.define()) end)
      at(function() return (gen_server.timeout(-1)) end)
      assert.same({ 0, 0, 0, 0, 2, 0, 0 }, lines)
    end)

    it("names the callback that is no function", function()
      local Bad = gen_server.define "bad"
      Bad.handle_info = 5
      assert.matches("bad%.handle_info: function expected, got number %(5%)", failure(Bad.start, Bad))
    end)

    it("names the method that is no function", function()
      local Bad = gen_server.define "bad"
      Bad.call.x = "text"
      assert.matches("bad%.call%.x: function expected, got string %(text%)", failure(Bad.start, Bad))
    end)

    it("names an option that does not exist", function()
      local e = failure(Probe.start_opt, Probe, { nam = "x" })
      assert.matches("gen_server_spec", e)
      assert.matches("'probe': unknown option 'nam'", e)
    end)

    it("names a timeout that is no number", function()
      assert.matches("gen_server.start_opt: bad option 'timeout' %(number expected, got string%)",
        failure(Probe.start_opt, Probe, { timeout = "x" }))
    end)

    it("names the missing handle_continue", function()
      local Bad = gen_server.define "bad"
      function Bad:init() return gen_server.continue(1) end
      local s, ref = Bad:start_opt { monitor = true }
      assert.matches("bad: callback 'handle_continue' is missing", helper.down(ref)[2])
      assert.is_not_nil(s)
    end)
  end)

  describe("the crash report", function()
    -- Runs a server whose method f() is called; what is on stderr.
    local function report(f)
      local _, err = helper.cli { env = "LUACTOR_LOG=notime", code = [[
        local gen_server = require "luactor.gen_server"
        local S = gen_server.define "shop"
        function S:init() self.open, self.password, self.n = true, "1234", { 1, 2 } end
        ]] .. f .. [[
        local s = S:start()
        pcall(s.go, s)
      ]] }
      return err
    end

    it("shows the state, without secrets", function()
      local err = report 'function S.call:go() error("bang", 0) end'
      assert.matches("error process <0%.%d+> %[shop%] crashed: bang\n  mailbox: 0 messages\n  state: {", err)
      assert.matches("n = {1, 2}", err)
      assert.matches("password = ", err)
      assert.is_nil((err:find "1234"))
      assert.matches("in function 'error'", err)
    end)

    it("shows what format_status says", function()
      local err = report [[
        function S.call:go() error("bang", 0) end
        function S:format_status(how) return "state for " .. how end
      ]]
      assert.matches("  state: 'state for terminate'\n", err)
    end)

    it("does without a state that cannot travel", function()
      local err = report 'function S.call:go() self.file = io.stdout error("bang", 0) end'
      assert.matches("crashed: bang\n  mailbox: 0 messages\nstack traceback", err)
    end)

    it("is written once, of other exit reasons too", function()
      local err = report 'function S.call:go() return gen_server.stop_with "why" end'
      local _, n = err:gsub("crashed", "")
      assert.same({ 1, true }, { n, err:find("crashed: 'why'", 1, true) ~= nil })
    end)

    it("is not written for orderly ends", function()
      for _, reason in ipairs { '"normal"', '"shutdown"', '{ "shutdown", 1 }' } do
        assert.equal("", report("function S.call:go() return gen_server.stop_with(" .. reason .. ") end"))
      end
    end)

    it("is not written when terminate makes an orderly end of it", function()
      assert.equal("", report [[
        function S.call:go() error "bang" end
        function S:terminate() require("luactor").exit "normal" end
      ]])
    end)
  end)

  it("casts to several servers with abcast", function()
    local a, b = start(), start()
    for _, s in ipairs { a, b } do s:add(5) end
    gen_server.abcast({ a, b.pid, "gen_server_spec_nobody" }, { "reset" })
    assert.same({ 1, 2 }, { a:add(1), (b:add(2)) })
  end)

  it("calls several servers at once with multi_call", function()
    local a, b, dead = start { n = 1 }, start { n = 2 }, helper.dead_pid()
    local replies, failed = gen_server.multi_call({ a, dead, b }, { "add", 1 })
    assert.same({ { a, 2 }, { b, 3 } }, replies)
    assert.same({ dead }, failed)
  end)
end)

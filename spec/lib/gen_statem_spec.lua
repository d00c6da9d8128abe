local actor = require "luactor"
local gen_statem = require "luactor.gen_statem"
local sys = require "luactor.sys"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- functions that travel take the real globals along
local V = actor.var
local next_state, postpone, next_event = gen_statem.next_state, gen_statem.postpone, gen_statem.next_event
local state_timeout, timeout, reply = gen_statem.state_timeout, gen_statem.timeout, gen_statem.reply

-- A machine that tells each event as "kind content state"; a call or cast { "run", f } runs f(self, from).
local Probe = gen_statem.define "probe"
Probe.state_enter = true

function Probe:init(opts)
  self.tell = opts.tell
  self.enter = opts.enter or {}
  if opts.trap then actor.trap_exit(true) end
  if opts.init then opts.init(self) end
  return opts.state or "a"
end

function Probe:note(text) actor.send(self.tell, { "note", text }) end

function Probe:handle_event(kind, event, state, extra)
  if kind == "enter" then
    self:note(("enter %s %s"):format(event, state))
    if self.enter[state] then return self.enter[state](self) end
    return
  end
  local name = kind == "timeout" and extra and "timeout:" .. tostring(extra) or kind
  local run = type(event) == "table" and event[1] == "run"
  self:note(("%s %s %s"):format(name, run and "run" or tostring(event), tostring(state)))
  if run then
    if kind == "call" then reply(extra, "ok") end
    return event[2](self, extra)
  end
  if kind == "cast" and event == "put aside" and state == "a" then return postpone end
  if kind == "call" then reply(extra, event) end
end

function Probe:terminate(reason, state)
  self:note(("terminate %s %s"):format(type(reason) == "table" and reason[2] or tostring(reason), state))
end

describe("gen_statem", function()
  local m, machines

  local function start(class, ...)
    local s = (class or Probe):start(...)
    machines[#machines + 1] = s
    return s
  end

  -- The notes of a machine so far: those that come before the note of a last call.
  local function notes(machine)
    if actor.is_alive(machine.pid) then gen_statem.call(machine, "the last") end
    local list = {}
    while true do
      local text = actor.receive({ "note", V.text }, 0)
      if not text or text:find "^call the last" then return list end
      list[#list + 1] = text
    end
  end

  local function run(f) return gen_statem.call(m, { "run", f }) end

  local function failure(f, ...)
    local ok, e = pcall(f, ...)
    assert(not ok, "the function did not raise")
    return e
  end

  -- Wait until the machine has told this; the notes up to then.
  local function notes_until(text)
    local list = {}
    repeat
      list[#list + 1] = helper.receive { "note", V.text }
    until list[#list] == text
    return list
  end

  local function probe(opts)
    opts = opts or {}
    opts.tell = actor.self()
    m = start(Probe, opts)
    helper.receive { "note", "enter a a" }
    return m
  end

  before_each(function()
    helper.mark()
    machines = {}
  end)

  after_each(function()
    for _, s in ipairs(machines) do
      if actor.is_alive(s.pid) then helper.kill(s.pid) end
    end
    actor.flush { "note", V._ }
    helper.check()
  end)

  -- The same scenarios as in Erlang, with the logs that OTP 25 writes.
  describe("serves events in OTP's order:", function()
    it("timeouts of zero, the last of a kind in its place", function()
      probe()
      run(function()
        state_timeout(0, "a")
        timeout(0, "b", "n")
        state_timeout(0, "c")
      end)
      assert.same({ "call run a", "timeout:n b a", "state_timeout c a" }, notes(m))
    end)

    it("an event timeout of zero comes only when it is the first", function()
      probe()
      run(function()
        timeout(0, "e")
        state_timeout(0, "a")
        timeout(0, "b", "n")
      end)
      assert.same({ "call run a", "timeout e a", "state_timeout a a", "timeout:n b a" }, notes(m))
      run(function()
        timeout(0, "b", "n")
        timeout(0, "e")
        state_timeout(0, "a")
      end)
      assert.same({ "call run a", "timeout:n b a", "state_timeout a a" }, notes(m))
    end)

    it("inserted events before timeouts of zero", function()
      probe()
      run(function()
        timeout(0, "e")
        state_timeout(0, "a")
        next_event("internal", "i1")
        next_event("internal", "i2")
      end)
      assert.same({ "call run a", "internal i1 a", "internal i2 a", "state_timeout a a" }, notes(m))
    end)

    it("enter before inserted events before the state's timeout", function()
      probe()
      run(function()
        state_timeout(0, "x")
        next_event("internal", "i")
        return next_state "b"
      end)
      assert.same({ "call run a", "enter a b", "internal i b", "state_timeout x b" }, notes(m))
    end)

    it("timeouts of the enter call behind those of the callback", function()
      probe { enter = { b = function() state_timeout(0, "from enter") end } }
      run(function()
        next_state "b"
        state_timeout(0, "from callback")
        timeout(0, "from callback", "q")
      end)
      assert.same({ "call run a", "enter a b", "timeout:q from callback b", "state_timeout from enter b" },
        notes(m))
    end)

    it("inserted, then postponed events in their order, then timeouts of zero", function()
      probe()
      gen_statem.cast(m, "put aside")
      gen_statem.cast(m, "put aside")
      run(function()
        next_state "b"
        next_event("internal", "first")
        state_timeout(0, "z")
      end)
      assert.same({ "cast put aside a", "cast put aside a", "call run a", "enter a b", "internal first b",
        "cast put aside b", "cast put aside b", "state_timeout z b" }, notes(m))
    end)

    it("postponed events stay while the state stays, repeated or not", function()
      probe()
      gen_statem.cast(m, "put aside")
      run(function() return next_state "a", next_event("internal", "first") end)
      gen_statem.cast(m, { "run", function() return gen_statem.repeat_state end })
      run(function() next_state "b" end)
      assert.same({ "cast put aside a", "call run a", "internal first a", "cast run a", "enter a a",
        "call run a", "enter a b", "cast put aside b" }, notes(m))
    end)

    it("an event postponed with a change of state is tried again at once, behind inserted ones", function()
      probe()
      gen_statem.cast(m, { "run", function(self)
        if self.once then return end
        self.once = true
        return next_state "b", postpone(), next_event("cast", "inserted")
      end })
      assert.same({ "cast run a", "enter a b", "cast inserted b", "cast run b" }, notes(m))
    end)

    it("a queued message comes behind a timeout of zero", function()
      probe()
      gen_statem.cast(m, { "run", function() actor.receive({ "$gen_cast", "go on" }) end })
      gen_statem.cast(m, { "run", function() state_timeout(0, "zero") end })
      gen_statem.cast(m, "queued")
      gen_statem.cast(m, "go on")
      assert.same({ "cast run a", "cast run a", "state_timeout zero a", "cast queued a" }, notes(m))
    end)

    it("init's events and timeouts behind the first enter call", function()
      m = start(Probe, { tell = actor.self(), init = function()
        next_event("internal", "i")
        state_timeout(0, "s")
      end })
      assert.same({ "enter a a", "internal i a", "state_timeout s a" }, notes(m))
    end)
  end)

  describe("a timeout", function()
    it("of the state comes after its time", function()
      probe()
      run(function() state_timeout(1, "x") end)
      assert.same({ "call run a", "state_timeout x a" }, notes_until "state_timeout x a")
    end)

    it("of the state is gone with the state, and stays while it stays", function()
      probe()
      run(function() state_timeout(20, "x") end)
      run(function() return next_state "a" end)
      run(function() return gen_statem.repeat_state() end)
      assert.same({ "call run a", "call run a", "call run a", "enter a a", "state_timeout x a" },
        notes_until "state_timeout x a")
      run(function() state_timeout(1, "y") end)
      run(function() next_state "b" end)
      actor.sleep(5)
      assert.same({ "call run a", "call run a", "enter a b" }, notes(m))
    end)

    it("of the event is gone with any event", function()
      probe()
      run(function() timeout(1, "gone") end)
      run(function() end)
      run(function() timeout(1, "comes") end)
      assert.same({ "call run a", "call run a", "call run a", "timeout comes a" }, notes_until "timeout comes a")
    end)

    it("with a name outlives events and states", function()
      probe()
      run(function() timeout(5, 1, "one") timeout(1, 2, "two") end)
      run(function() next_state "b" end)
      assert.same({ "call run a", "call run a", "enter a b", "timeout:two 2 b", "timeout:one 1 b" },
        notes_until "timeout:one 1 b")
    end)

    it("is cancelled by 'cancel' and 'infinity'", function()
      probe()
      run(function() state_timeout(1, "x") timeout(1, "x", "n") end)
      run(function() state_timeout "cancel" timeout("infinity", "x", "n") end)
      run(function() timeout(0, "x", "n") timeout("cancel", nil, "n") end)
      actor.sleep(5)
      assert.same({ "call run a", "call run a", "call run a" }, notes(m))
    end)

    it("gets other content by 'update', and starts with zero when there is none", function()
      probe()
      run(function() state_timeout(5, "old") end)
      run(function() state_timeout("update", "new") timeout("update", "zero", "none") end)
      assert.same({ "call run a", "call run a", "timeout:none zero a", "state_timeout new a" },
        notes_until "state_timeout new a")
    end)

    it("refuses what is no time", function()
      probe()
      local mon = actor.monitor(m)
      run(function() state_timeout "soon" end)
      assert.matches("'state_timeout' %(milliseconds, 'infinity', 'cancel' or 'update' expected, got soon%)",
        helper.down(mon)[2])
    end)
  end)

  describe("the end", function()
    it("sends the reply of stop_with before terminate", function()
      local S = gen_statem.define "s"
      function S:init(to) self.to = to return "on" end
      function S.state.on.call:stop() return gen_statem.stop_with("done", "bye") end
      function S:terminate(reason) actor.send(self.to, { "terminate", reason, actor.receive("never", 0) }) end
      local s = start(S, actor.self())
      local mon = actor.monitor(s)
      assert.equal("bye", (s:stop()))
      assert.equal("done", (helper.down(mon)))
      assert.equal("done", (helper.receive { "terminate", V.r }))
    end)

    it("gives callers the reason, of postponed calls too", function()
      local S = gen_statem.define "s"
      function S:init(to) self.to = to return "on" end
      function S.state.on.call:wait()
        actor.send(self.to, "postponed")
        return postpone
      end
      function S.state.on.cast:stop() gen_statem.stop_with "why" end
      local me = actor.self()
      local s = start(S, me)
      actor.spawn(function()
        local _, reason = actor.try_call(s, { "wait" })
        actor.send(me, { "failed", reason })
      end)
      helper.receive "postponed"
      s.cast:stop()
      assert.equal("why", (helper.receive { "failed", V.r }))
    end)

    it("runs terminate with state and reason after a crash", function()
      probe()
      local mon = actor.monitor(m)
      gen_statem.cast(m, { "run", function() error("bang", 0) end })
      assert.equal("bang", helper.down(mon)[2])
      assert.same({ "cast run a", "terminate bang a" }, notes(m))
    end)

    it("by a crash in an enter call is one of the old state", function()
      probe { enter = { b = function() error("bang", 0) end } }
      local mon = actor.monitor(m)
      assert.equal("ok", (run(function() next_state "b" end)))
      helper.down(mon)
      assert.same({ "call run a", "enter a b", "terminate bang a" }, notes(m))
    end)

    it("by stop_with in an enter call is one of the new state", function()
      probe { enter = { b = function() gen_statem.stop_with "over" end } }
      local mon = actor.monitor(m)
      run(function() next_state "b" end)
      assert.equal("over", (helper.down(mon)))
      assert.same({ "call run a", "enter a b", "terminate over b" }, notes(m))
    end)

    it("by a crash in the first enter call comes after the start", function()
      m = start(Probe, { tell = actor.self(), enter = { a = function() error("bang", 0) end } })
      helper.down(actor.monitor(m))
      assert.same({ "enter a a", "terminate bang a" }, notes(m))
    end)

    it("follows the parent's when exits are trapped", function()
      local me = actor.self()
      local parent, mon = actor.spawn_monitor(function()
        local s = Probe:start_link { tell = me, trap = true }
        actor.send(me, { "started", s.pid })
        actor.receive "go"
        actor.exit "parent's reason"
      end)
      local mon2 = actor.monitor((helper.receive { "started", V.pid }))
      actor.send(parent, "go")
      helper.down(mon)
      assert.equal("parent's reason", (helper.down(mon2)))
      assert.same({ "enter a a", "terminate parent's reason a" }, notes_until "terminate parent's reason a")
    end)
  end)

  it("repeats the enter call as long as it asks for it", function()
    probe { enter = { b = function(self)
      self.n = (self.n or 0) + 1
      if self.n < 3 then return gen_statem.repeat_state end
    end } }
    run(function() next_state "b" end)
    assert.same({ "call run a", "enter a b", "enter a b", "enter a b" }, notes(m))
  end)

  describe("states of methods", function()
    local Door = gen_statem.define "door"

    function Door:init(code)
      self.code, self.log = code, {}
      return "locked"
    end

    function Door.state.locked.call:unlock(code, ...)
      if code ~= self.code then return "wrong" end
      self.more = select("#", ...)
      return "welcome", next_state "open", next_event("internal", "opened")
    end

    function Door.state.locked.call:push(to)
      actor.send(to, "postponed")
      return postpone
    end

    function Door.state.locked.cast:knock() postpone() end
    function Door.state.locked:info(msg) self.log[#self.log + 1] = { "info", msg } end
    function Door.state.open:enter(old) self.log[#self.log + 1] = { "enter", old } end
    function Door.state.open.call:push() return "pushed" end
    function Door.state.open.call:later() self.from = gen_statem.from() return gen_statem.noreply end
    function Door.state.open.cast:now() reply(self.from, "now") end
    function Door.state.open.cast:knock() self.log[#self.log + 1] = "knock" end
    function Door.state.open:internal(event) self.log[#self.log + 1] = { "internal", event } end
    function Door.state.open:timeout(content, name) self.log[#self.log + 1] = { "timeout", content, name } end
    function Door.state.open.cast:time() timeout(0, 1) timeout(0, 2, "two") end
    function Door.call:state() return gen_statem.current() end
    function Door.call:log() return self.log end
    function Door.cast:reset() self.log = {} return next_state "locked" end

    local door

    before_each(function() door = start(Door, "1234") end)

    it("treat calls by name, and reply with what the method returns", function()
      assert.same({ "wrong", "locked" }, { door:unlock "1", (door:state()) })
      assert.same({ "welcome", "open" }, { door:unlock("1234", nil, 3), (door:state()) })
    end)

    it("run enter, then inserted events, then postponed ones", function()
      door.cast:knock()
      door:unlock "1234"
      assert.same({ { "enter", "locked" }, { "internal", "opened" }, "knock" }, (door:log()))
    end)

    it("answer a postponed call in another state", function()
      local me = actor.self()
      actor.spawn(function() actor.send(me, { "got", (door:push(me)) }) end)
      helper.receive "postponed"
      door:unlock "1234"
      assert.equal("pushed", (helper.receive { "got", V.x }))
    end)

    it("answer later with noreply", function()
      door:unlock "1234"
      local me = actor.self()
      actor.spawn(function() actor.send(me, { "got", (door:later()) }) end)
      helper.wait(function() return sys.get_state(door)[2].from end)
      door.cast:now()
      assert.equal("now", (helper.receive { "got", V.x }))
    end)

    it("have methods of all states behind their own", function()
      door:unlock "1234"
      door.cast:reset()
      assert.same({ "locked", {} }, { door:state(), (door:log()) })
    end)

    it("get other messages and timeouts", function()
      actor.send(door, "hello")
      door:unlock "1234"
      door.cast:time()
      assert.same({ { "info", "hello" }, { "enter", "locked" }, { "internal", "opened" }, { "timeout", 1 },
        { "timeout", 2, "two" } }, (door:log()))
    end)

    it("give badcall for a call that nothing handles", function()
      assert.same({ "badcall", { "dance", 1 } }, door:dance(1))
      assert.equal("locked", (door:state()))
    end)

    it("show state and data to sys", function()
      local got = sys.get_state(door)
      assert.same({ "locked", "1234" }, { got[1], got[2].code })
      sys.replace_state(door, function(s) return { "open", s[2] } end)
      assert.equal("pushed", (door:push()))
    end)

    it("are held by suspend", function()
      sys.suspend(door)
      assert.same({ false, "timeout" }, { actor.try_call(door, { "push" }, 5) })
      sys.resume(door)
      assert.equal("locked", (door:state()))
    end)
  end)

  it("takes functions as states", function()
    local S = gen_statem.define "toggle"
    function S:init() return "off" end
    function S.state.off(_, kind, event, from)
      if kind == "call" and event == "flip" then return next_state "on", reply(from, "on") end
    end
    function S.state.on(_, kind, event, from)
      if kind == "call" and event == "flip" then return next_state "off", reply(from, "off") end
    end
    local s = start(S)
    assert.same({ "on", "off", "on" },
      { gen_statem.call(s, "flip"), gen_statem.call(s, "flip"), (gen_statem.call(s, "flip")) })
  end)

  it("takes tables as states, equal by content", function()
    local S = gen_statem.define "tables"
    function S:init() return { "count", 0 } end
    function S:handle_event(kind, event, state, from)
      if kind ~= "call" then return end
      reply(from, self.kept or 0)
      if event == "same" then return next_state { "count", state[2] } end
      if event == "put aside" then
        self.kept = (self.kept or 0) + 1
        return
      end
      return next_state { "count", state[2] + 1 }
    end
    local s = start(S)
    gen_statem.call(s, "same")
    gen_statem.call(s, "up")
    assert.same({ "count", 1 }, sys.get_state(s)[1])
  end)

  it("changes code with state and data", function()
    local Old = gen_statem.define "old"
    function Old:init() self.n = 1 return "on" end
    function Old.state.on.call:get() return self.n end
    local New = gen_statem.define "new"
    function New:init() return "on" end
    function New.state.off.call:get() return "off " .. self.n end
    function New:code_change(old, extra, state) self.n = old .. extra .. state return "off" end
    local s = start(Old)
    sys.suspend(s)
    sys.change_code(s, New, "v1", "x")
    sys.resume(s)
    assert.equal("off v1xon", (s:get()))
  end)

  it("tells events to a tracer", function()
    local S = gen_statem.define "s"
    function S:init() return "on" end
    function S.state.on.call:go() return "gone", next_state "off" end
    function S.state.off.call:go() return postpone end
    local s = start(S)
    sys.trace(s, actor.self())
    s:go()
    actor.try_call(s, { "go" }, 5)
    sys.trace(s, false)
    local kinds = {}
    for i = 1, 6 do
      local e = helper.receive { "trace", s.pid, V.event }
      kinds[i] = e[1] .. " " .. tostring(e[1] == "out" and e[2] or e[3] or e[2])
    end
    assert.same({ "in on", "out gone", "consume on", "enter off", "in off", "postpone off" }, kinds)
  end)

  describe("bad input", function()
    it("names the missing init", function()
      local S = gen_statem.define "s"
      assert.matches("s: callback 'init' is missing", failure(S.start, S))
    end)

    it("names a callback that a state cannot have", function()
      local S = gen_statem.define "s"
      function S:init() return "on" end
      function S.state.on.state_timeuot() end
      assert.matches("s%.state%.on: unknown callback 'state_timeuot'", failure(S.start, S))
    end)

    it("names a state that is no function or table", function()
      local S = gen_statem.define "s"
      function S:init() return "on" end
      S.state.on = 5
      assert.matches("s%.state%.on: function or table of callbacks expected, got number %(5%)", failure(S.start, S))
    end)

    it("names a state that is not defined", function()
      local S = gen_statem.define "s"
      function S:init(first) return first end
      function S.state.on.call:go() return "ok", next_state "of" end
      assert.matches('s: state "nowhere" is not defined', failure(S.start, S, "nowhere").reason[2])
      local s = start(S, "on")
      local mon = actor.monitor(s)
      s:go()
      assert.matches('s: state "of" is not defined', helper.down(mon)[2])
    end)

    it("names an init without a state", function()
      local S = gen_statem.define "s"
      function S:init() end
      assert.matches("s: init returned no state", failure(S.start, S).reason[2])
    end)

    it("names what is no action", function()
      local S = gen_statem.define "s"
      function S:init() return "on" end
      function S.state.on.call:go() return "ok", "next_state" end
      local s = start(S)
      assert.matches('s: state "on": bad action "next_state" %(string%)', failure(s.go, s).reason[2])
    end)

    it("names actions that an enter call cannot have", function()
      for name, f in pairs { next_state = function() next_state "b" end, postpone = postpone,
        next_event = function() next_event("cast", 1) end } do
        probe { enter = { b = f } }
        local mon = actor.monitor(m)
        run(function() next_state "b" end)
        assert.matches(("'%s' is no action for an enter call"):format(name), helper.down(mon)[2])
      end
    end)

    it("names actions outside of a callback", function()
      assert.matches("gen_statem.next_state: no callback of a state machine runs", failure(next_state, "x"))
    end)
  end)

  it("starts as gen_servers do", function()
    local e = failure(Probe.start_link, Probe, { tell = actor.self(), init = function() error("no luck", 0) end })
    assert.equal("gen_statem 'probe' did not start: no luck", tostring(e))
    local S = gen_statem.define "s"
    function S:init(what)
      if what == "ignore" then return gen_statem.ignore end
      gen_statem.stop_with "not now"
    end
    assert.same({ nil, "ignore" }, { S:start "ignore" })
    assert.equal("not now", failure(S.start, S).reason)
  end)
end)

local actor = require "luactor"
local gen_event = require "luactor.gen_event"
local sys = require "luactor.sys"
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

-- Tells `to` of all that is done with it.
local H = gen_event.define "h"
function H:init(to, id, term)
  if type(to) == "table" then to, id, term = to[1], to[2], id end
  self.to, self.id = to, id
  actor.send(to, { "init", id, term })
end
function H:handle_event(event)
  if event == "crash" then error("boom", 0) end
  actor.send(self.to, { "event", self.id, event })
  if event == "remove" then return gen_event.remove_handler end
  if event == "swap " .. self.id then
    return gen_event.swap("away", { H, "z" }, { self.to, "z" })
  end
end
function H:handle_call(request)
  if request == "crash" then error("boom", 0) end
  if request == "remove" then return gen_event.remove_with "removed" end
  if request == "coroutine" then return coroutine.create(print) end
  return { self.id, request }
end
function H:handle_info(info) actor.send(self.to, { "info", self.id, info }) end
function H:terminate(why)
  actor.send(self.to, { "term", self.id, why })
  return { "terminated", self.id }
end

describe("gen_event", function()
  local ev, me

  before_each(function()
    helper.mark()
    me = actor.self()
    ev = gen_event.start()
  end)
  after_each(function()
    if actor.is_alive(ev.pid) then helper.kill(ev.pid) end
    actor.flush { "term", V._, V._ }
    helper.check()
  end)

  -- All that has come until now.
  local function told()
    gen_event.which_handlers(ev)
    local list = {}
    while true do
      local what = actor.receive(actor.on(actor._, function(m) return m end),
        actor.after(0, function() end))
      if not what then return list end
      list[#list + 1] = what
    end
  end

  local function add(...)
    for _, id in ipairs { ... } do gen_event.add_handler(ev, { H, id }, me, id) end
    told()
  end

  it("adds handlers, the newest first", function()
    assert.is_true(gen_event.add_handler(ev, { H, "a" }, me, "a"))
    assert.is_true(gen_event.add_handler(ev, { H, "b" }, me, "b"))
    assert.same({ { "h", "b" }, { "h", "a" } }, gen_event.which_handlers(ev))
    assert.same({ { "init", "a" }, { "init", "b" } }, told())
  end)

  it("hands events to all handlers in this order", function()
    add("a", "b")
    gen_event.notify(ev, "one")
    assert.is_true(gen_event.sync_notify(ev, { "two" }))
    assert.same({ { "event", "b", "one" }, { "event", "a", "one" },
      { "event", "b", { "two" } }, { "event", "a", { "two" } } }, told())
  end)

  it("waits for the handlers in sync_notify", function()
    add "a"
    gen_event.sync_notify(ev, "x")
    assert.equal(1, actor.flush { "event", "a", "x" })
  end)

  it("hands other messages to handle_info", function()
    add("a", "b")
    actor.send(ev.pid, "hello")
    assert.same({ { "info", "b", "hello" }, { "info", "a", "hello" } }, told())
  end)

  it("asks one handler", function()
    add("a", "b")
    assert.same({ "a", 1 }, gen_event.call(ev, { H, "a" }, 1))
    assert.same({ "b", 2 }, gen_event.call(ev, { "h", "b" }, 2))
  end)

  it("deletes a handler and gives what its terminate returns", function()
    add("a", "b")
    assert.same({ "terminated", "a" }, gen_event.delete_handler(ev, { H, "a" }, "args"))
    assert.same({ { "term", "a", "args" } }, told())
    assert.same({ { "h", "b" } }, gen_event.which_handlers(ev))
    assert.same({ nil, "module_not_found" }, { gen_event.delete_handler(ev, { H, "a" }) })
  end)

  it("deletes the newest of two that are named alike", function()
    gen_event.add_handler(ev, { H, "a" }, me, "first")
    gen_event.add_handler(ev, { H, "a" }, me, "second")
    assert.same({ "terminated", "second" }, gen_event.delete_handler(ev, { H, "a" }))
    assert.same({ { "h", "a" } }, gen_event.which_handlers(ev))
    told()
  end)

  it("takes out a handler that says so", function()
    add("a")
    gen_event.sync_notify(ev, "remove")
    assert.same({ { "event", "a", "remove" }, { "term", "a", "remove_handler" } }, told())
    add("b")
    assert.equal("removed", gen_event.call(ev, { H, "b" }, "remove"))
    assert.same({}, gen_event.which_handlers(ev))
    told()
  end)

  describe("swapping", function()
    it("gives the result of the old handler to the new one, which comes first", function()
      add("a", "b")
      assert.is_true(gen_event.swap_handler(ev, { H, "a" }, "away", { H, "c" }, { me, "c" }))
      assert.same({ { "term", "a", "away" }, { "init", "c", { "terminated", "a" } } }, told())
      assert.same({ { "h", "c" }, { "h", "b" } }, gen_event.which_handlers(ev))
    end)

    it("adds a handler when the old one is not there", function()
      gen_event.swap_handler(ev, { H, "none" }, "away", { H, "d" }, { me, "d" })
      assert.same({ { "init", "d", "error" } }, told())
    end)

    it("by the handler itself keeps its place", function()
      add("b", "a", "e")
      gen_event.sync_notify(ev, "swap a")
      assert.same({ { "event", "e", "swap a" }, { "event", "a", "swap a" }, { "term", "a", "away" },
        { "init", "z", { "terminated", "a" } }, { "event", "b", "swap a" } }, told())
      assert.same({ { "h", "e" }, { "h", "z" }, { "h", "b" } }, gen_event.which_handlers(ev))
    end)

    it("raises when the new one fails; the old one is gone", function()
      add "a"
      assert.matches("gen_event handler 'h' failed", message(gen_event.swap_handler, ev, { H, "a" },
        "away", { H, "c" }, "no pid"))
      assert.same({}, gen_event.which_handlers(ev))
      told()
    end)
  end)

  describe("a handler that fails", function()
    it("is removed alone", function()
      local Bad = gen_event.define "bad"
      function Bad.handle_event() error("boom", 0) end
      add "a"
      gen_event.add_handler(ev, Bad)
      add "b"
      gen_event.sync_notify(ev, "x")
      assert.same({ { "event", "b", "x" }, { "event", "a", "x" } }, told())
      assert.same({ { "h", "b" }, { "h", "a" } }, gen_event.which_handlers(ev))
    end)

    it("is told so in terminate", function()
      add "a"
      gen_event.sync_notify(ev, "crash")
      local term = told()[1]
      assert.same({ "term", "a" }, { term[1], term[2] })
      assert.equal("error", term[3][1])
      assert.equal("EXIT", term[3][2][1])
      assert.same({ "error", "boom" }, { term[3][2][2][1], term[3][2][2][2] })
    end)

    it("in a call raises in the caller", function()
      add "a"
      local _, e = pcall(gen_event.call, ev, { H, "a" }, "crash")
      assert.same({ "error", "boom" }, { e.reason[1], e.reason[2] })
      assert.equal("gen_event handler 'h' failed: boom", tostring(e))
      assert.same({}, gen_event.which_handlers(ev))
      told()
    end)

    it("in init is not added, and add_handler raises", function()
      assert.matches("gen_event handler 'h' failed", message(gen_event.add_handler, ev, H, "no pid"))
      assert.same({}, gen_event.which_handlers(ev))
    end)

    it("in terminate is gone all the same", function()
      local Bad = gen_event.define "bad"
      function Bad.handle_event() end
      function Bad.terminate() error("boom", 0) end
      gen_event.add_handler(ev, Bad)
      assert.matches("failed: boom", message(gen_event.delete_handler, ev, Bad))
      assert.same({}, gen_event.which_handlers(ev))
    end)

    it("may answer what cannot travel, and stays", function()
      add "a"
      assert.matches("cannot send", message(gen_event.call, ev, { H, "a" }, "coroutine"), 1, true)
      assert.equal(1, #gen_event.which_handlers(ev))
    end)
  end)

  describe("a supervised handler", function()
    it("tells its supervisor of its end", function()
      gen_event.add_sup_handler(ev, { H, "s" }, me, "s")
      told()
      gen_event.delete_handler(ev, { H, "s" }, "bye")
      assert.same({ { "term", "s", "bye" }, { "gen_event_EXIT", { "h", "s" }, "normal" } }, told())
      assert.same({}, actor.info(ev.pid, "links"))
    end)

    it("tells its supervisor of a crash", function()
      gen_event.add_sup_handler(ev, { H, "s" }, me, "s")
      told()
      gen_event.sync_notify(ev, "crash")
      local reason = helper.receive { "gen_event_EXIT", { "h", "s" }, V.reason }
      assert.same({ "EXIT", "error", "boom" }, { reason[1], reason[2][1], reason[2][2] })
    end)

    it("tells its supervisor of a swap, which passes it on", function()
      gen_event.add_sup_handler(ev, { H, "s" }, me, "s")
      told()
      gen_event.swap_handler(ev, { H, "s" }, "away", { H, "t" }, { me, "t" })
      assert.same({ { "term", "s", "away" }, { "gen_event_EXIT", { "h", "s" }, { "swapped", { "h", "t" }, me } },
        { "init", "t", { "terminated", "s" } } }, told())
      gen_event.delete_handler(ev, { H, "t" }, "bye")
      assert.same({ { "term", "t", "bye" }, { "gen_event_EXIT", { "h", "t" }, "normal" } }, told())
    end)

    it("goes with its supervisor", function()
      local pid = actor.spawn(function()
        gen_event.add_sup_handler(ev, { H, "x" }, me, "x")
        actor.receive "die"
        actor.exit "hmm"
      end)
      helper.receive { "init", "x" }
      actor.send(pid, "die")
      assert.same({ "stop", "hmm" }, (helper.receive { "term", "x", V.why }))
      assert.same({}, gen_event.which_handlers(ev))
    end)
  end)

  describe("stop", function()
    it("ends the handlers, the newest first, and tells supervisors", function()
      gen_event.add_sup_handler(ev, { H, "s" }, me, "s")
      add "y"
      local ref = actor.monitor(ev.pid)
      assert.is_true(gen_event.stop(ev))
      assert.equal("normal", (helper.down(ref)))
      local list = {}
      for i = 1, 3 do list[i] = helper.receive(V.m) end
      assert.same({ { "term", "y", "stop" }, { "term", "s", "stop" },
        { "gen_event_EXIT", { "h", "s" }, "shutdown" } }, list)
    end)

    it("happens when the parent ends", function()
      local parent = actor.spawn(function()
        local mine = gen_event.start_link()
        gen_event.add_handler(mine, { H, "p" }, me, "p")
        actor.receive "end"
      end)
      helper.receive { "init", "p" }
      actor.exit(parent, "shutdown")
      assert.equal("stop", (helper.receive { "term", "p", V.why }))
    end)
  end)

  describe("start_link", function()
    it("takes a name, and raises when it is taken", function()
      local named = gen_event.start { name = "spec_events" }
      assert.equal(named.pid, actor.whereis "spec_events")
      local _, e = pcall(gen_event.start, "spec_events")
      assert.same({ "already_started", named.pid }, e.reason)
      gen_event.notify("spec_events", "x")
      helper.kill(named.pid)
    end)

    it("returns an object whose methods are the functions, and that travels", function()
      local class = { handle_event = function(self, event) actor.send(self.to, event) end,
        init = function(self, to) self.to = to end }
      ev:add_handler(class, me)
      helper.run(function() ev:sync_notify "from afar" end)
      assert.equal("from afar", (helper.receive "from afar"))
      assert.is_nil((ev:delete_handler(class)))
    end)
  end)

  describe("handlers that are modules", function()
    local name = "spec.fixture.event_handler"

    it("are named by them", function()
      gen_event.add_handler(ev, name, 5)
      assert.same({ name }, gen_event.which_handlers(ev))
      gen_event.notify(ev, "x")
      assert.equal(6, gen_event.call(ev, name, "n"))
      assert.equal(6, gen_event.call(ev, require(name), "n"))
    end)

    it("may be given as the table", function()
      gen_event.add_handler(ev, require(name), 1)
      assert.same({ name }, gen_event.which_handlers(ev))
    end)

    it("take new code", function()
      gen_event.add_handler(ev, name, 5)
      sys.suspend(ev)
      sys.change_code(ev, name, nil, 100)
      sys.resume(ev)
      assert.equal(105, gen_event.call(ev, name, "n"))
    end)
  end)

  it("answers system messages", function()
    gen_event.add_handler(ev, { "spec.fixture.event_handler", 1 }, 7)
    assert.same({ { "spec.fixture.event_handler", 1, { n = 7 } } }, sys.get_state(ev))
    sys.replace_state(ev, function(states)
      states[1][3].n = 8
      return states
    end)
    assert.equal(8, gen_event.call(ev, { "spec.fixture.event_handler", 1 }, "n"))
    assert.equal("gen_event", sys.get_status(ev).behaviour)
    sys.trace(ev, me)
    gen_event.notify(ev, "traced")
    assert.same({ "in", "traced" }, (helper.receive { "trace", ev.pid, V.event }))
    sys.no_debug(ev)
    actor.flush(actor._)
  end)

  it("names what it was given", function()
    assert.matches("bad argument #1 to 'luactor.gen_event.notify' (manager, pid or name expected, got 7)",
      message(gen_event.notify, 7, "x"), 1, true)
    assert.matches("bad argument #2 to 'luactor.gen_event.notify' (event expected, got nil)",
      message(gen_event.notify, ev), 1, true)
    assert.matches("bad argument #2 to 'luactor.gen_event.add_handler' (handler expected, got 7)",
      message(gen_event.add_handler, ev, 7), 1, true)
    assert.matches("gen_event handler 'x': callback 'handle_event' is missing",
      message(gen_event.add_handler, ev, gen_event.define "x"), 1, true)
    local odd = gen_event.define "x"
    odd.handle_event, odd.init = print, 5
    assert.matches("gen_event handler 'x': init: function expected, got 5",
      message(gen_event.add_handler, ev, odd), 1, true)
    assert.matches("module 'no.such.module' not found", message(gen_event.add_handler, ev, "no.such.module"), 1, true)
    local _, e = pcall(gen_event.call, ev, "nobody", 1)
    assert.equal("bad_module", e.reason)
  end)
end)

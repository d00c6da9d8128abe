local actor = require "luactor"
local gen_server = require "luactor.gen_server"
local registry = require "luactor.registry"
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

-- A process that registers itself and waits.
local function spawn_registered(reg, key, value)
  local me = actor.self()
  local pid = actor.spawn_link(function()
    actor.send(me, { "registered", (registry.register(reg, key, value)) or false })
    actor.receive "end"
  end)
  assert.is_true((helper.receive { "registered", V.ok }))
  return pid
end

local function pids(entries)
  local list = {}
  for i, entry in ipairs(entries) do list[i] = entry[1] end
  return list
end

describe("registry", function()
  local reg

  before_each(helper.mark)
  after_each(function()
    if reg then helper.kill(reg.pid) end
    reg = nil
    helper.check()
  end)

  describe("with unique keys", function()
    before_each(function() reg = registry.start_link { name = "spec_reg", keys = "unique" } end)

    it("finds the process that registered, and its value", function()
      assert.is_true(registry.register(reg, "k", { n = 1 }))
      assert.same({ { actor.self(), { n = 1 } } }, registry.lookup(reg, "k"))
    end)

    it("takes the object, its pid and its name", function()
      registry.register("spec_reg", "k", 1)
      assert.equal(1, #registry.lookup(reg.pid, "k"))
      assert.equal(1, #reg:lookup "k")
    end)

    it("has methods that travel", function()
      reg:register("k", 7)
      assert.equal(7, helper.run(function() return reg:lookup("k")[1][2] end))
    end)

    it("finds nothing under a key that nobody has", function()
      assert.same({}, registry.lookup(reg, "none"))
      assert.is_nil(registry.whereis(reg, "none"))
    end)

    it("refuses a key that is taken", function()
      registry.register(reg, "k", 1)
      local ok, why = helper.run(function()
        return registry.register("spec_reg", "k", 2)
      end)
      assert.is_nil(ok)
      assert.same({ "already_registered", actor.self() }, why)
      assert.equal(1, registry.lookup(reg, "k")[1][2])
    end)

    it("refuses a key that the process has itself", function()
      registry.register(reg, "k")
      assert.same({ nil, { "already_registered", actor.self() } },
        { registry.register(reg, "k") })
    end)

    it("may hold nil and false as values", function()
      registry.register(reg, "a")
      registry.register(reg, "b", false)
      assert.same({ { actor.self() } }, registry.lookup(reg, "a"))
      assert.same({ { actor.self(), false } }, registry.lookup(reg, "b"))
    end)

    it("compares keys by value", function()
      registry.register(reg, { "user", 5, at = actor.self() }, "x")
      assert.equal("x", registry.lookup(reg, { "user", 5, at = actor.self() })[1][2])
      assert.same({}, registry.lookup(reg, { "user", "5", at = actor.self() }))
      registry.register(reg, 1, "one")
      assert.equal("one", registry.lookup(reg, 1.0)[1][2])
    end)

    it("forgets a process that has ended as soon as anybody can know", function()
      for _ = 1, 50 do
        local pid, ref = actor.spawn_monitor(function()
          registry.register(reg, "k")
          actor.receive "end"
        end)
        helper.wait(function() return registry.whereis(reg, "k") == pid end)
        actor.exit(pid, "kill")
        helper.down(ref)
        assert.same({}, registry.lookup(reg, "k"))
      end
    end)

    it("gives the key of a process that has ended to the next", function()
      local pid, ref = actor.spawn_monitor(function() registry.register("spec_reg", "k") end)
      helper.down(ref)
      assert.is_true(registry.register(reg, "k"))
      assert.is_false(actor.is_alive(pid))
    end)

    it("forgets what is unregistered", function()
      registry.register(reg, "a")
      registry.register(reg, "b")
      assert.is_true(registry.unregister(reg, "a"))
      assert.same({ "b" }, registry.keys(reg))
      assert.equal(1, registry.count(reg))
    end)

    it("unregisters only what the caller has", function()
      registry.register(reg, "k")
      helper.run(function() registry.unregister("spec_reg", "k") end)
      assert.equal(actor.self(), registry.whereis(reg, "k"))
    end)

    it("watches a process no longer than it holds it", function()
      registry.register(reg, "k")
      registry.unregister(reg, "k")
      registry.count(reg)
      assert.same({}, actor.info(reg.pid, "monitors"))
    end)

    it("lists the keys of a process in order", function()
      for i = 1, 5 do registry.register(reg, i) end
      registry.unregister(reg, 3)
      assert.same({ 1, 2, 4, 5 }, registry.keys(reg))
      assert.same({}, registry.keys(reg, helper.dead_pid()))
    end)

    it("changes the value of the caller", function()
      registry.register(reg, "k", 1)
      assert.same({ 2, 1 }, { registry.update_value(reg, "k", function(n) return n + 1 end) })
      assert.equal(2, registry.lookup(reg, "k")[1][2])
    end)

    it("changes no value of another process", function()
      local pid = spawn_registered(reg, "k", 1)
      assert.same({ nil, "not_registered" },
        { registry.update_value(reg, "k", function() return 9 end) })
      assert.same({ { pid, 1 } }, registry.lookup(reg, "k"))
      helper.kill(pid)
    end)

    it("is an address book for send, call and cast", function()
      registry.register(reg, "me")
      registry.send(reg, "me", "hello")
      assert.equal("hello", (helper.receive "hello"))
      registry.cast(reg, "me", 3)
      assert.equal(3, (helper.receive { "$gen_cast", V.n }))
      local server = actor.spawn_link(function()
        registry.register("spec_reg", "server")
        actor.receive(actor.on(actor.request(V.from, V.x), function(from, x)
          actor.reply(from, x * 2)
        end))
      end)
      helper.wait(function() return registry.whereis(reg, "server") end)
      assert.equal(8, registry.call(reg, "server", 4))
      assert.is_true(server ~= nil)
    end)

    it("gives names to servers", function()
      local Server = gen_server.define "named"
      function Server:init() self.found = registry.whereis("spec_reg", "server") end
      function Server.call:found_itself() return self.found == actor.self() end
      local server = Server:start_opt { name = registry.via(reg, "server") }
      assert.equal(server.pid, registry.whereis(reg, "server"))
      assert.is_true(registry.call(reg, "server", { "found_itself" }))
      local _, e = pcall(Server.start_opt, Server, { link = true, name = reg:via "server" })
      assert.same({ "already_started", server.pid }, e.reason)
      assert.equal(0, actor.flush(actor._))
      helper.kill(server.pid)
    end)

    it("raises for a key that nobody has", function()
      assert.matches("luactor.registry.send: nobody is registered under 'x'",
        message(registry.send, reg, "x", 1), 1, true)
    end)

    it("survives what its processes do", function()
      for _ = 1, 50 do
        actor.spawn(function()
          for i = 1, 10 do registry.register("spec_reg", { "k", i }, i) end
          error "x"
        end)
      end
      helper.wait(function() return registry.count(reg) == 0 end)
      assert.is_true(actor.is_alive(reg.pid))
    end)
  end)

  describe("with duplicate keys", function()
    before_each(function() reg = registry.start_link { keys = "duplicate" } end)

    it("holds any number under a key, oldest first", function()
      local a = spawn_registered(reg, "k", 1)
      local b = spawn_registered(reg, "k", 2)
      registry.register(reg, "k", 3)
      registry.register(reg, "k", 4)
      assert.same({ { a, 1 }, { b, 2 }, { actor.self(), 3 }, { actor.self(), 4 } },
        registry.lookup(reg, "k"))
      assert.same({ "k", "k" }, registry.keys(reg))
      helper.kill(a)
      assert.same({ b, actor.self(), actor.self() }, pids(registry.lookup(reg, "k")))
      helper.kill(b)
    end)

    it("unregisters all that the caller has under a key", function()
      local other = spawn_registered(reg, "k", 1)
      for i = 1, 20 do registry.register(reg, "k", i) end
      registry.unregister(reg, "k")
      assert.same({ other }, pids(registry.lookup(reg, "k")))
      helper.kill(other)
    end)

    it("counts, in all and under a key", function()
      for i = 1, 4 do registry.register(reg, i % 2, i) end
      assert.equal(4, registry.count(reg))
      assert.equal(2, registry.count(reg, 1))
      assert.equal(0, registry.count(reg, 7))
    end)

    it("dispatches to the entries", function()
      for i = 1, 3 do registry.register(reg, "topic", i) end
      assert.is_true(registry.dispatch(reg, "topic", function(entries)
        for _, entry in ipairs(entries) do actor.send(entry[1], { "event", entry[2] }) end
      end))
      assert.equal(3, actor.flush { "event", V._ })
      assert.is_false(registry.dispatch(reg, "none", function() error "called" end))
    end)

    it("filters values by a pattern and a guard", function()
      for i = 1, 4 do registry.register(reg, "k", { kind = i % 2 == 0 and "even" or "odd", n = i }) end
      local found = registry.match(reg, "k", { kind = "even", n = V.n }, "n > 2")
      assert.same({ { actor.self(), { kind = "even", n = 4 } } }, found)
      assert.equal(4, #registry.match(reg, "k", actor._))
    end)

    it("selects from all entries", function()
      registry.register(reg, "a", 1)
      registry.register(reg, "b", 2)
      assert.same({ { "b", actor.self(), 2 } }, registry.select(reg, { V.key, V.pid, 2 }))
    end)

    it("has no single process for a key", function()
      assert.matches("luactor.registry.whereis: the keys of registry", message(registry.whereis, reg, "k"), 1, true)
      assert.matches("are not unique", message(registry.update_value, reg, "k", print), 1, true)
    end)

    it("loses many entries of one key quickly", function()
      local pid, ref = actor.spawn_monitor(function()
        for i = 1, 2000 do registry.register(reg, "k", i) end
      end)
      registry.register(reg, "k", "mine")
      helper.down(ref)
      assert.same({ { actor.self(), "mine" } }, registry.lookup(reg, "k"))
      assert.is_false(actor.is_alive(pid))
    end)
  end)

  describe("with partitions", function()
    it("does what one without does", function()
      for _, keys in ipairs { "unique", "duplicate" } do
        reg = registry.start { name = "spec_reg", keys = keys, partitions = 4 }
        local all = { 1, 2.5, true, "k", "other key", actor.self(), { "room", 7 }, 3, 4, 5 }
        for i, key in ipairs(all) do
          assert.is_true(registry.register("spec_reg", key, i))
          assert.same({ { actor.self(), i } }, registry.lookup(reg, key))
        end
        assert.equal(#all, registry.count(reg))
        assert.equal(1, registry.count(reg, { "room", 7 }))
        assert.equal(#all, #registry.keys("spec_reg"))
        assert.equal(#all, #registry.select(reg.pid, actor._))
        assert.same({ 7, {} }, { helper.run(function()
          local found = registry.lookup("spec_reg", { "room", 7 })[1][2]
          registry.register("spec_reg", "mine")
          return found, registry.lookup("spec_reg", "none")
        end) })
        assert.same({}, registry.lookup(reg, "mine"))
        registry.unregister(reg, { "room", 7 })
        assert.same({}, registry.lookup(reg, { "room", 7 }))
        if keys == "unique" then
          assert.same({ 20, 10 }, { registry.update_value(reg, 5, function(n) return n * 2 end) })
          assert.equal(actor.self(), registry.whereis(reg, "k"))
          assert.same({ nil, { "already_registered", actor.self() } }, { registry.register(reg, "k") })
        end
        helper.kill(reg.pid)
      end
      reg = nil
    end)

    it("stops as one", function()
      reg = registry.start { partitions = 3 }
      local refs = {}
      for i, pid in ipairs(actor.info(reg.pid, "links")) do refs[i] = actor.monitor(pid) end
      gen_server.stop(reg.pid)
      assert.equal(2, #refs)
      for _, ref in ipairs(refs) do assert.equal("shutdown", (helper.down(ref))) end
      reg = nil
    end)

    it("fails as one", function()
      reg = registry.start { partitions = 4 }
      local parts = actor.info(reg.pid, "links")
      assert.equal(3, #parts)
      local refs = {}
      for i, pid in ipairs(parts) do refs[i] = actor.monitor(pid) end
      helper.kill(parts[1])
      for _, ref in ipairs(refs) do helper.down(ref) end
      helper.wait(function() return not actor.is_alive(reg.pid) end)
      reg = nil
    end)
  end)

  describe("start_link", function()
    it("links the registry to its starter", function()
      local me = actor.self()
      local owner = actor.spawn(function()
        actor.send(me, { "reg", registry.start_link({}).pid })
        actor.receive "never"
      end)
      local ref = actor.monitor((helper.receive { "reg", V.pid }))
      actor.exit(owner, "enough")
      assert.equal("enough", (helper.down(ref)))
    end)

    it("raises when the name is taken", function()
      reg = registry.start_link { name = "spec_reg" }
      local _, e = pcall(registry.start_link, { name = "spec_reg" })
      assert.same({ "already_started", reg.pid }, e.reason)
    end)

    it("names a bad option with its value", function()
      assert.matches("luactor.registry: bad option 'keys' ('unique' or 'duplicate' expected, got 'many')",
        message(registry.start_link, { keys = "many" }), 1, true)
      assert.matches("luactor.registry: bad option 'name' (string expected, got 7)",
        message(registry.start_link, { name = 7 }), 1, true)
      assert.matches("luactor.registry: bad option 'partitions' (positive integer expected, got 0)",
        message(registry.start_link, { partitions = 0 }), 1, true)
      assert.matches("luactor.registry: unknown option 'size' (value 3)",
        message(registry.start_link, { size = 3 }), 1, true)
    end)
  end)

  it("names what it was given", function()
    assert.matches("bad argument #1 to 'luactor.registry.lookup' (registry, pid or name expected, got 7)",
      message(registry.lookup, 7, "k"), 1, true)
    assert.matches("bad argument #2 to 'luactor.registry.register' .* got nil",
      message(registry.register, "r"))
    assert.matches("got function", message(registry.register, "r", { print }), 1, true)
    assert.matches("got NaN", message(registry.register, "r", 0 / 0), 1, true)
    local deep = {}
    for _ = 1, 50 do deep = { deep } end
    assert.matches("nested too deeply", message(registry.register, "r", deep), 1, true)
  end)
end)

-- Servers, children, tasks, agents and pools on other nodes.
local helper = require "spec.helper"
local peers = require "spec.peers"

local describe, it, assert = describe, it, assert
local setup, teardown, before_each = setup, teardown, before_each
local _ENV = _G

local PRELUDE <const> = [[local actor, node = require "luactor", require "luactor.node"
  local V, Counter = actor.var, require "far_counter"
  local supervisor, task = require "luactor.supervisor", require "luactor.task" ]]

local function run(peer, code, ...)
  return peer:eval(PRELUDE .. code, ...)
end

local function luactor(name)
  local peer = peers.luactor { name = name .. "@127.0.0.1" }
  peer:eval("node.start{ name = %q, cookie = 'c', listen = 0 } return 1", peer.name)
  return peer
end

describe("over nodes", function()
  local a, b, c
  setup(function()
    peers.open { epmd = true }
    a, b, c = luactor "a", luactor "b", luactor "c"
  end)
  teardown(peers.close)
  before_each(function()
    for _, peer in ipairs { b, c } do
      assert.equal("true", a:eval("return (node.connect %q)", peer.name))
    end
  end)

  describe("a gen_server", function()
    it("is started there, called, and ends with its starter", function()
      assert.equal("12 b@127.0.0.1", run(a, [[
        local s = Counter:start_opt({ node = "b@127.0.0.1", link = true, name = "counter" }, 5)
        return s:add(7) .. " " .. node.of(s.pid)]]))
      assert.equal("noproc", run(a, [[
        local pid = actor.spawn(function()
          local s = Counter:start_opt({ node = "b@127.0.0.1", link = true }, 5)
          actor.register("keeper")
          actor.receive(actor.on({ "who", V.from }, function(from) actor.send(from, s.pid) end))
          actor.exit "boom"
        end)
        while not actor.whereis "keeper" do actor.sleep(1) end
        actor.send(pid, { "who", actor.self() })
        local ref = actor.monitor(actor.receive(actor.is "pid"))
        local reason = actor.receive { "DOWN", ref, "process", V._, V.reason }
        return reason == "boom" and "noproc" or reason]]))
    end)

    it("says why it does not start", function()
      assert.equal("no number", run(a, [[local ok, e = pcall(Counter.start_opt, Counter, { node = "b@127.0.0.1" }, "no")
        return e.reason[2] ]]))
      assert.equal("noconnection", run(a, [[local ok, e = pcall(Counter.start_opt, Counter, { node = "z@127.0.0.1" }, 1)
        return e.reason]]))
      assert.matches("option 'node' needs a class that is a module of its own", run(a, [[
        local S = require "luactor.gen_server".define "s"
        return select(2, pcall(S.start_opt, S, { node = "b@127.0.0.1" }))]]), 1, true)
    end)
  end)

  describe("a supervisor", function()
    local function start(peer, more)
      run(peer, [[local s = supervisor.start_link { name = "sup", intensity = 5, %s }
        actor.unlink(s.pid)]], more)
    end

    local CHILD <const> = [[{ id = %q, start = { Counter.start_on, { "b@127.0.0.1", "c@127.0.0.1" }, %s, %s }, shutdown = %s }]]

    local function child_node(peer, id)
      return run(peer, [[for _, child in ipairs(supervisor.which_children "sup") do
          if child.id == %q then return child.pid and node.of(child.pid) or child.status end
        end]], id)
    end

    local function stop(peer)
      run(peer, "require 'luactor.sys'.stop('sup', 'shutdown')")
    end

    it("restarts a child there when it crashes, elsewhere when the node is lost", function()
      start(a, "children = { " .. CHILD:format("x", "1", "nil", "1000") .. " }")
      assert.equal("b@127.0.0.1", child_node(a, "x"))
      run(a, [[local old = supervisor.which_children("sup")[1].pid
        pcall(actor.call, old, { "crash" })
        while supervisor.which_children("sup")[1].pid == old do actor.sleep(1) end]])
      assert.equal("b@127.0.0.1", child_node(a, "x"))
      run(a, "node.disconnect 'b@127.0.0.1'")
      helper.wait(function() return child_node(a, "x") == "c@127.0.0.1" end)
      stop(a)
    end)

    it("loses and ends a child with the connection: both ends get 'noconnection'", function()
      run(b, [[actor.spawn_opt({ name = "witness" }, function()
        local reason = actor.receive { "terminated", V.reason, V._ }
        actor.receive(actor.on({ "ask", V.who }, function(who) actor.send(who, reason) end))
      end)]])
      run(a, [[local s = supervisor.start_link { name = "sup", intensity = 5, children = {
        { id = "x", restart = "temporary", start = { Counter.start_on, { "b@127.0.0.1" }, 1, { "witness", "b@127.0.0.1" } } } } }
        actor.unlink(s.pid)]])
      run(a, "node.disconnect 'b@127.0.0.1'")
      assert.equal("noconnection", run(b, [[actor.send("witness", { "ask", actor.self() })
        return actor.receive(actor.is "string", 30000)]]))
      stop(a)
    end)

    it("stops children in reverse, each with its deadline", function()
      local id = run(a, [[
        local order = {}
        local me = actor.self()
        local box = actor.alias()
        local s = supervisor.start_link { name = "sup", children = {
          { id = 1, start = { Counter.start_on, { "b@127.0.0.1" }, 1, me } },
          { id = 2, start = { Counter.start_on, { "c@127.0.0.1" }, 99, me }, shutdown = 50 },
          { id = 3, start = { Counter.start_on, { "b@127.0.0.1" }, 3, me } } } }
        actor.trap_exit(true)
        actor.exit(s.pid, "shutdown")
        for i = 1, 3 do order[i] = actor.receive { "terminated", "shutdown", V.n } end
        local reason = actor.receive { "EXIT", s.pid, V.reason }
        return table.concat(order, " ") .. " " .. reason]])
      assert.equal("3 99 1 shutdown", id)
    end)

    it("takes no function of another node that is not for it", function()
      run(a, "actor.unlink(supervisor.start_link { name = 'sup' }.pid)")
      assert.equal("nil not_allowed", run(b, [[local pid, why = supervisor.start_child({ "sup", "a@127.0.0.1" },
        { id = "x", start = { "os.execute", "true" } }) return tostring(pid) .. " " .. why]]))
      assert.equal("a@127.0.0.1", run(b, [[local pid = supervisor.start_child({ "sup", "a@127.0.0.1" },
        { id = "x", start = { "far_counter.start_here", 3 } })
        return node.of(pid)]]))
      stop(a)
    end)
  end)

  describe("tasks", function()
    it("run there, and give their results", function()
      assert.equal("42", run(a, "return task.await(task.async({ node = 'b@127.0.0.1' }, 'far_counter.twice', 21))"))
      assert.equal("42", run(a, "return task.await(task.async({ node = 'a@127.0.0.1' }, 'far_counter.twice', 21))"))
      assert.equal("2 4 6 8 10", run(a, [[local list = {}
        for r in task.async_stream({ 1, 2, 3, 4, 5 }, "far_counter.twice", { nodes = { "b@127.0.0.1", "c@127.0.0.1" } }) do
          list[#list + 1] = r[2]
        end
        return table.concat(list, " ")]]))
      assert.equal("b@127.0.0.1 c@127.0.0.1 b@127.0.0.1", run(a, [[local list = {}
        for r in task.async_stream({ 1, 2, 3 }, "far.node", { nodes = { "b@127.0.0.1", "c@127.0.0.1" } }) do
          list[#list + 1] = r[2]
        end
        return table.concat(list, " ")]]))
    end)

    it("raise with the reason of their end", function()
      local function reason(code)
        return run(a, "local ok, e = pcall(task.await, %s) e = e.reason return type(e) == 'table' and e[2] or e", code)
      end
      assert.equal("oops", reason "task.async_nolink({ node = 'b@127.0.0.1' }, 'far.crash', 'oops')")
      assert.equal("gone", reason "task.async_nolink({ node = 'b@127.0.0.1' }, 'far.leave', 'gone')")
      assert.equal("undef", reason "task.async_nolink({ node = 'b@127.0.0.1' }, 'os.execute', 'true')")
      assert.equal("noconnection", reason "task.async_nolink({ node = 'z@127.0.0.1' }, 'far.add', 1, 2)")
      assert.equal("timeout", reason "task.async({ node = 'b@127.0.0.1' }, 'far.wait'), 50")
    end)

    it("end over there when they are given up", function()
      run(b, "before = #actor.processes()")
      local count = "return #require 'luactor'.processes()"
      local before = b:eval(count)
      run(a, [[local t = task.async({ node = "b@127.0.0.1" }, "far.wait")
        pcall(task.await, t, 20)
        local u = task.async_nolink({ node = "b@127.0.0.1" }, "far.wait")
        task.shutdown(u, "brutal_kill")]])
      helper.wait(function() return b:eval(count) == before end)
    end)

    it("need a function's name", function()
      assert.matches("'module.function' expected for another node, got function", run(a, [[
        return select(2, pcall(task.async, { node = "b@127.0.0.1" }, function() end))]]), 1, true)
      assert.matches("bad option 'node' (name@host expected, got 'b')", run(a, [[
        return select(2, pcall(task.async, { node = "b" }, "far.add"))]]), 1, true)
    end)

    it("run under a supervisor over there", function()
      run(b, "actor.unlink(task.supervisor.start_link { name = 'jobs', max_children = 2 }.pid)")
      assert.equal("42", run(a, [[return task.await(task.supervisor.async({ "jobs", "b@127.0.0.1" }, "far_counter.twice", 21))]]))
      assert.equal("oops", run(a, [[local t = task.supervisor.async_nolink({ "jobs", "b@127.0.0.1" }, "far.crash", "oops")
        return task.yield(t)[2][2] ]]))
      assert.matches("not exported", run(a, [[local t = task.supervisor.async_nolink({ "jobs", "b@127.0.0.1" }, "os.execute", "true")
        return task.yield(t)[2][2] ]]), 1, true)
      assert.equal("1 0", run(a, [[local sup = { "jobs", "b@127.0.0.1" }
        local t = task.supervisor.async_nolink(sup, "far.wait")
        local n = 0
        while n == 0 do n = #task.supervisor.children(sup) end
        local pid = task.supervisor.children(sup)[1]
        task.shutdown(t)
        while #task.supervisor.children(sup) > 0 do actor.sleep(1) end
        return n .. " " .. #task.supervisor.children(sup)]]))
      run(b, "actor.exit(actor.whereis 'jobs', 'kill')")
    end)
  end)

  it("a server object keeps meaning its server, by name too", function()
    run(b, [[Counter:start_opt({ name = "named" }, 40)
      actor.spawn_opt({ name = "clerk" }, function()
        local proxy = require "luactor.proxy"
        local file = proxy.new(function() return io.tmpfile() end)
        local serve = actor.receiver(
          actor.on(actor.request(V.from, "server"), function(from) actor.reply(from, Counter:at "named") end),
          actor.on(actor.request(V.from, "file"), function(from) actor.reply(from, file) end))
        while true do serve() end
      end)]])
    assert.equal("42 b@127.0.0.1", run(a, [[local s = actor.call({ "clerk", "b@127.0.0.1" }, "server")
      return s:add(2) .. " " .. s[2] ]]))
  end)

  it("a proxy stands for an object there", function()
    assert.equal("hello", run(a, [[local file = actor.call({ "clerk", "b@127.0.0.1" }, "file")
      file:write "hello"
      file:seek "set"
      return file:read "a"]]))
    assert.matches("the object has no method 'nosuch'", run(a, [[
      local file = actor.call({ "clerk", "b@127.0.0.1" }, "file")
      return select(2, pcall(file.nosuch, file))]]), 1, true)
    assert.equal("noconnection", run(a, [[local file = actor.call({ "clerk", "b@127.0.0.1" }, "file")
      node.disconnect "b@127.0.0.1"
      node.place("b@127.0.0.1", "127.0.0.1:1")
      while #node.list() > 1 do actor.sleep(1) end
      local reason = select(2, pcall(file.read, file, "a")).reason
      node.place("b@127.0.0.1", nil)
      return reason]]))
  end)

  it("a registry of another node is asked by { name, node }", function()
    run(b, [[local registry = require "luactor.registry"
      registry.start { name = "shelf" }
      local up = actor.alias()
      actor.spawn(function() registry.register("shelf", "k", 7) actor.send(up, "up") actor.receive "never" end)
      actor.receive "up"]])
    assert.equal("7", run(a, [[return require "luactor.registry".lookup({ "shelf", "b@127.0.0.1" }, "k")[1][2] ]]))
  end)

  it("an agent takes names of functions that its node gives away", function()
    run(b, "require 'luactor.agent'.start(4, { name = 'value' })")
    assert.equal("8", run(a, [[return require "luactor.agent".get({ "value", "b@127.0.0.1" }, "far_counter.twice")]]))
    assert.matches("cannot send", run(a, [[return select(2, pcall(require "luactor.agent".get, { "value", "b@127.0.0.1" },
      function(x) return x end))]]), 1, true)
    assert.matches("agent: 'os.exit' is not exported to this node", run(a, [[
      return tostring(select(2, pcall(require "luactor.agent".get, { "value", "b@127.0.0.1" }, "os.exit")))]]), 1, true)
  end)

  it("an event manager takes no handler of another node that is not for it", function()
    run(b, "require 'luactor.gen_event'.start { name = 'events' }")
    assert.equal("not_allowed", run(a, [[
      local ok, e = pcall(require "luactor.gen_event".add_handler, { "events", "b@127.0.0.1" }, "luactor.log")
      return e.reason]]))
  end)

  describe("a pool", function()
    setup(function()
      run(b, [[actor.spawn(function()
        local pool = require "luactor.pool"
        local function work()
          local serve = actor.receiver(
            actor.on(actor.request(V.from, { "add", V.x, V.y }), function(from, x, y) actor.reply(from, x + y) end),
            actor.on(actor.request(V.from, "crash"), function() actor.exit "boom" end),
            actor.on(actor.request(V.from, "hang"), function() actor.receive "go on" end),
            actor.on({ "echo", V.from, V.x }, function(from, x) actor.send(from, x) end))
          while true do serve() end
        end
        local p = pool.start_link { name = "pool", size = 2, start = work, mailbox = { limit = 3, overflow = "error" } }
        actor.spawn_opt({ name = "desk" }, function()
          while true do
            actor.receive(actor.on(actor.request(V.from, "pool"), function(from) actor.reply(from, p) end),
              actor.on(actor.request(V.from, { "same", V.x }), function(from, x) actor.reply(from, x == p) end))
          end
        end)
        actor.receive "never"
      end)]])
      helper.wait(function() return b:eval "return require 'luactor'.whereis 'desk'" ~= "nil" end)
    end)

    it("is fed from another node by name and by address", function()
      assert.equal("5", run(a, "return actor.call({ 'pool', 'b@127.0.0.1' }, { 'add', 2, 3 })"))
      assert.equal("5 x", run(a, [[local p = actor.call({ "desk", "b@127.0.0.1" }, "pool")
        actor.send(p, { "echo", actor.self(), "x" })
        return actor.call(p, { "add", 2, 3 }) .. " " .. actor.receive(actor.is "string", 30000)]]))
    end)

    it("gives the reason of a member's crash to who called it", function()
      assert.equal("boom", run(a, "return (select(2, actor.try_call({ 'pool', 'b@127.0.0.1' }, 'crash')))"))
      assert.equal("boom", run(a, [[local p = actor.call({ "desk", "b@127.0.0.1" }, "pool")
        return (select(2, actor.try_call(p, "crash")))]]))
      assert.equal("5", run(a, "return actor.call({ 'pool', 'b@127.0.0.1' }, { 'add', 2, 3 })"))
    end)

    it("is a pid elsewhere, and itself again at home", function()
      assert.equal("pid true", run(a, [[local p = actor.call({ "desk", "b@127.0.0.1" }, "pool")
        local same = actor.call({ "desk", "b@127.0.0.1" }, { "same", p })
        return (require "luactor._core".home(p) == "b@127.0.0.1" and "pid" or "other") .. " " .. tostring(same)]]))
    end)

    it("refuses what is over its limit, and takes more when there is room", function()
      local id = a:tell(PRELUDE .. [[local p = actor.call({ "desk", "b@127.0.0.1" }, "pool")
        local box = actor.mailbox()
        for i = 1, 2 do
          actor.spawn(function() box:send { i, select(2, actor.try_call(p, "hang", 30000)) } end)
        end
        return "asked"]])
      assert.equal("asked", a:result(id))
      helper.wait(function() return run(b, "return require 'luactor.pool'.info('pool').busy") == "2" end)
      run(a, [[local p = actor.call({ "desk", "b@127.0.0.1" }, "pool")
        for i = 1, 5 do actor.send(p, { "echo", actor.self(), i }) end]])
      helper.wait(function() return run(b, "return require 'luactor.pool'.info('pool').queue") == "3" end)
      assert.equal("full", run(a, "return (select(2, actor.try_call({ 'pool', 'b@127.0.0.1' }, { 'add', 2, 3 })))"))
      run(b, "for _, p in ipairs(actor.processes()) do if actor.info(p, 'label') == 'pool member' then actor.send(p, 'go on') end end")
      helper.wait(function() return run(b, "return require 'luactor.pool'.info('pool').queue") == "0" end)
      assert.equal("5", run(a, "return actor.call({ 'pool', 'b@127.0.0.1' }, { 'add', 2, 3 })"))
    end)

    it("answers in time when its members are busy", function()
      assert.equal("timeout", run(a, "return (select(2, actor.try_call({ 'pool', 'b@127.0.0.1' }, 'hang', 30)))"))
    end)
  end)
end)

-- Processes started on other nodes, and for them.
local actor = require "luactor"
local node = require "luactor.node"
local helper = require "spec.helper"
local peers = require "spec.peers"
local describe, it, assert, pending = describe, it, assert, pending
local before_each, after_each = before_each, after_each
local setup, teardown = setup, teardown
local _ENV = _G

local V = actor.var
local COOKIE <const> = peers.COOKIE
local ME, PEER, ERL <const> = peers.ME, peers.PEER, "erl@127.0.0.1"

local peer

local function meet(exports)
  peer = peers.meet { exports = exports }
end

local function leave()
  peers.leave()
  actor.trap_exit(false)
end

local function hello(opts, ...)
  opts.node = opts.node or PEER
  local pid, ref = actor.spawn_opt(opts, "far.hello", actor.self(), ...)
  local who, parent, args = helper.receive { "hello", V.who, V.parent, V.args }
  assert.equal(pid, who)
  return pid, ref, parent, args
end

local function down(ref)
  local who, reason = helper.receive { "DOWN", ref, "process", V.who, V.reason }
  return who, reason
end

-- The reason that an undefined function gives.
local function is_undef(reason, module, name)
  assert.equal(actor.atom "undef", reason[1])
  assert.equal(actor.atom(module), reason[2][1][1])
  assert.equal(actor.atom(name), reason[2][1][2])
end

describe("spawn_opt{ node = }", function()
  setup(meet)
  teardown(leave)
  before_each(helper.mark)
  after_each(helper.check)

  it("starts a function of a module there", function()
    local pid, ref, parent, args = hello({ monitor = true }, 1, nil, "x", { k = { 2 } }, nil)
    assert.equal(PEER, node.of(pid))
    assert.equal(actor.self(), parent)
    assert.equal(5, #args)
    assert.same({ 1, "x", { k = { 2 } } }, { args[1], args[3], args[4] })
    assert.is_nil(args[2])
    pid:send { "end", "normal" }
    local who, reason = down(ref)
    assert.equal(pid, who)
    assert.equal("normal", reason)
  end)

  it("gives a pid alone without a monitor", function()
    assert.equal(1, select("#", actor.spawn_opt({ node = PEER }, "far.none")))
  end)

  it("shows the parent", function()
    local pid = hello {}
    assert.equal(tostring(actor.self()):match "%.(%d+)>",
      peer:eval([[return actor.info(actor.pid "<0.%s>", "parent")]],
        tostring(pid):match "%.(%d+)>"):match "%.(%d+)>")
    pid:send { "end", "normal" }
  end)

  it("obeys the other options", function()
    actor.spawn_opt({ node = PEER, name = "named", label = "labelled", priority = "high",
      trap_exit = true }, "far.options", actor.self())
    local info, traps = table.unpack(helper.receive())
    assert.equal("named", info.registered_name)
    assert.equal("labelled", info.label)
    assert.equal("high", info.priority)
    assert.equal("far.options", info.initial_call)
    assert.equal(true, traps)
  end)

  it("raises for a name that is taken there", function()
    local ok, why = pcall(actor.spawn_opt, { node = PEER, name = "net_kernel" }, "far.wait")
    assert.is_false(ok)
    assert.equal("cannot spawn on peer@127.0.0.1 (already_registered)", why)
  end)

  it("raises for what is of this host alone", function()
    for option, value in pairs { env = {}, thread = 1, limits = { memory = 1 << 20 } } do
      local ok, why = pcall(actor.spawn_opt, { node = PEER, [option] = value }, "far.wait")
      assert.is_false(ok)
      assert.equal(("option '%s' cannot be used with 'node'"):format(option), why)
    end
    local ok, why = pcall(actor.spawn_opt, { node = PEER }, function() end)
    assert.is_false(ok)
    assert.matches("'module.function' expected, got function", why, 1, true)
    ok, why = pcall(actor.spawn_opt, { node = "peer" }, "far.wait")
    assert.is_false(ok)
    assert.matches("name@host expected", why, 1, true)
  end)

  it("raises for an argument that cannot travel", function()
    local ok, why = pcall(actor.spawn_opt, { node = PEER, monitor = true }, "far.wait", 1,
      { f = function() end })
    assert.is_false(ok)
    assert.equal("cannot send arguments[2].f (function) to another node", why)
    assert.same({}, actor.info(actor.self(), "monitors"))
  end)

  it("links at once", function()
    actor.trap_exit(true)
    for _ = 1, 50 do
      local pid = actor.spawn_opt({ node = PEER, link = true }, "far.leave", "gone")
      assert.equal("gone", (helper.receive { "EXIT", pid, V.reason }))
    end
    assert.same({}, actor.info(actor.self(), "links"))
    actor.trap_exit(false)
  end)

  it("monitors at once", function()
    for _ = 1, 50 do
      local pid, ref = actor.spawn_opt({ node = PEER, monitor = true }, "far.crash", "boom")
      local who, reason = down(ref)
      assert.equal(pid, who)
      assert.equal("error", reason[1])
      assert.equal("boom", reason[2])
    end
    assert.same({}, actor.info(actor.self(), "monitors"))
  end)

  it("ends the child with its parent when they are linked", function()
    local me = actor.self()
    local parent, ref = actor.spawn_monitor(function()
      local pid = actor.spawn_opt({ node = PEER, link = true }, "far.wait")
      actor.send(me, { "child", pid })
      actor.receive "die"
      actor.exit "parent"
    end)
    local child = helper.receive { "child", V.pid }
    local watch = actor.monitor(child)
    parent:send "die"
    down(ref)
    assert.equal("parent", select(2, down(watch)))
  end)

  it("leaves nothing of a parent that is killed while it waits", function()
    for _ = 1, 30 do
      local pid = actor.spawn(function()
        while true do actor.spawn_opt({ node = PEER, link = true, monitor = true }, "far.wait") end
      end)
      actor.sleep(1)
      helper.kill(pid)
    end
    helper.wait(function()
      return peer:eval [[local n = 0
        for _, p in ipairs(actor.processes()) do
          if actor.info(p, "initial_call") == "far.wait" then n = n + 1 end
        end
        return n]] == "0"
    end)
  end)

  it("takes a monitor off", function()
    local pid, ref = hello { monitor = true }
    assert.is_true(actor.demonitor(ref))
    pid:send { "end", "normal" }
    local watch = actor.monitor(pid)
    down(watch)
    assert.equal(0, actor.flush(actor._))
  end)

  it("gives a process that has ended when the node cannot be reached", function()
    local pid, ref = actor.spawn_opt({ node = "none@127.0.0.1", monitor = true }, "far.wait")
    local who, reason = down(ref)
    assert.equal(pid, who)
    assert.equal("noconnection", reason)
    actor.trap_exit(true)
    pid = actor.spawn_opt({ node = "none@127.0.0.1", link = true, name = "x" }, "far.wait")
    assert.equal("noconnection", (helper.receive { "EXIT", pid, V.reason }))
    actor.trap_exit(false)
  end)

  it("is an ordinary spawn for this node", function()
    local pid, ref = actor.spawn_opt({ node = ME, monitor = true }, "spec.fixture.far.leave", "x")
    assert.equal(ME, node.of(pid))
    assert.equal("x", select(2, down(ref)))
  end)

  it("starts functions of the application's modules alone", function()
    for _, call in ipairs { "os.execute", "luactor.node.stop", "string.rep", "busted.core.x",
      "luactor._core.spawn_root", "far.execute", "far.word", "far.nothing", "../far.wait",
      "lpeg.match", "package.loadlib" } do
      local _, ref = actor.spawn_opt({ node = PEER, monitor = true }, call, "true")
      is_undef(select(2, down(ref)), call:match "^(.+)%.([^.]+)$")
    end
    assert.matches("node spec@127.0.0.1: os.execute/1: not exported, and no module of the application",
      peer:log(), 1, true)
  end)

  it("waits in a coroutine too", function()
    local co = coroutine.wrap(function() return actor.spawn_opt({ node = PEER }, "far.none") end)
    assert.equal(PEER, node.of(co()))
  end)
end)

describe("spawn_opt{ node = }", function()
  after_each(leave)

  it("hears once of a connection that is lost", function()
    meet()
    actor.trap_exit(true)
    local pid, ref = actor.spawn_opt({ node = PEER, link = true, monitor = true }, "far.wait")
    peer:signal "KILL"
    assert.equal("noconnection", select(2, down(ref)))
    assert.equal("noconnection", (helper.receive { "EXIT", pid, V.reason }))
    assert.equal(0, actor.flush(actor._))
  end)

  it("hears of a connection that is lost while it waits", function()
    meet()
    peer:signal "STOP"
    local me = actor.self()
    actor.spawn(function()
      local pid, ref = actor.spawn_opt({ node = PEER, monitor = true }, "far.wait")
      local who, reason = helper.receive { "DOWN", ref, "process", V.who, V.reason }
      actor.send(me, { pid == who, reason })
    end)
    helper.wait(function() return #actor.processes() > 1 end)
    node.disconnect(PEER)
    assert.same({ true, "noconnection" }, helper.receive())
  end)
end)

describe("node.export", function()
  after_each(leave)

  local function try(call)
    local _, ref = actor.spawn_opt({ node = PEER, monitor = true }, call, "x")
    return select(2, down(ref))
  end

  it("lists all that may be run, functions and whole modules", function()
    meet()
    assert.equal("nil", peer:eval [[return tostring(node.exports())]])
    peer:eval [[node.export "far.leave" node.export { "string.rep", "math" }]]
    assert.equal("far.leave math string.rep", peer:eval [[return table.concat(node.exports(), " ")]])
    assert.equal("x", try "far.leave")
    is_undef(try "far.wait", "far", "wait")
    assert.equal("error", try "math.floor"[1]) -- it runs, and wants a number
    local _, ref = actor.spawn_opt({ node = PEER, monitor = true }, "string.rep", "x", 3)
    assert.equal("normal", select(2, down(ref)))
    is_undef(try "string.dump", "string", "dump")
  end)

  it("of nothing refuses all, with a line in the log", function()
    meet()
    peer:eval [[node.export {}]]
    is_undef(try "far.leave", "far", "leave")
    helper.wait(function()
      return peer:log():find("node spec@127.0.0.1: far.leave/1 is not exported to it", 1, true)
    end)
  end)

  it("is an option of node.start, which begins anew", function()
    meet { "spec.fixture.far.leave" }
    assert.same({ "spec.fixture.far.leave" }, node.exports())
    assert.equal("y", peer:eval([[
      local _, ref = actor.spawn_opt({ node = %q, monitor = true }, "spec.fixture.far.leave", "y")
      return (actor.receive { "DOWN", ref, V._, V._, V.reason })]], ME))
    node.stop()
    node.start { name = ME, cookie = COOKIE, exports = {} }
    assert.same({}, node.exports())
  end)

  it("names what is wrong", function()
    local function refused(why, ...)
      local ok, text = pcall(...)
      assert.is_false(ok)
      assert.matches(why, text, 1, true)
    end
    peers.open()
    refused("node.export: 'module' or 'module.function' expected, got 'x.'", node.export, "x.")
    refused("node.export: 'module' or 'module.function' expected, got nil", node.export)
    refused("node.start: 'module' or 'module.function' expected, got number", node.start,
      { name = ME, cookie = "c", exports = { 1 } })
    refused("node.start: exports: unknown field 'x'", node.start,
      { name = ME, cookie = "c", exports = { x = true } })
  end)
end)

describe("an Erlang node", function()
  if not peers.has "erl" then
    pending "is not installed here"
    return
  end

  local e

  setup(function()
    peers.open { epmd = true }
    e = peers.erl { name = ERL, cookie = COOKIE, hidden = true }
    node.start { name = ME, cookie = COOKIE, listen = 0, epmd = false,
      exports = { "spec.fixture.far" } }
    e:eval("driver:register(\"spec\", %d)", node.port())
    assert.equal("pong", e:eval("net_adm:ping('%s')", ME))
  end)
  teardown(leave)
  before_each(helper.mark)
  after_each(helper.check)

  it("is asked for processes", function()
    local pid, ref = actor.spawn_opt({ node = ERL, monitor = true }, "erlang.exit", actor.atom "why")
    local who, reason = down(ref)
    assert.equal(ERL, node.of(pid))
    assert.equal(pid, who)
    assert.equal(actor.atom "why", reason)
    actor.trap_exit(true)
    pid = actor.spawn_opt({ node = ERL, link = true, priority = "high" }, "timer.sleep",
      actor.atom "infinity")
    actor.exit(pid, "kill")
    assert.equal("killed", (helper.receive { "EXIT", pid, V.reason }))
    actor.trap_exit(false)
  end)

  it("says what it does not know", function()
    local ok, why = pcall(actor.spawn_opt, { node = ERL, label = "x" }, "timer.sleep", 1)
    assert.is_false(ok)
    assert.equal("cannot spawn on erl@127.0.0.1 (badopt)", why)
    local _, ref = actor.spawn_opt({ node = ERL, monitor = true }, "no.such")
    is_undef(select(2, down(ref)), "no", "such")
  end)

  it("writes to this node's output, and reads nothing", function()
    local me = actor.self()
    actor.spawn_opt({ node = ERL }, "erlang.apply", actor.atom "io", actor.atom "format", {
      { ("~n"):byte(1, -1) }, {} })
    local _, ref = actor.spawn_opt({ node = ERL, monitor = true }, "io.get_line", "?")
    assert.equal("normal", select(2, down(ref)))
    assert.equal(me, actor.self())
  end)

  it("spawns exported functions here", function()
    assert.equal("{true,normal}", e:eval([[
      {Pid, Ref} = spawn_monitor('%s', 'spec.fixture.far', hello, [self(), 1]),
      Same = receive [<<"hello">>, P, Parent, {1}] -> P =:= Pid andalso Parent =:= self() end,
      Pid ! ['end', normal],
      {Same, receive {'DOWN', Ref, process, Pid, Why} -> Why end}]], ME))
    assert.equal("bye", e:eval([[
      process_flag(trap_exit, true),
      Pid = spawn_link('%s', 'spec.fixture.far', leave, [bye]),
      receive {'EXIT', Pid, Why} -> Why end]], ME))
    assert.equal("{ok,{boom,<<\"e\">>}}", e:eval([[
      R = spawn_request('%s', 'spec.fixture.far', crash, [<<"e">>], [monitor]),
      Ok = receive {spawn_reply, R, Status, _} -> Status end,
      {Ok, receive {'DOWN', R, process, _, {error, Msg, _}} -> {boom, Msg} end}]], ME))
  end)

  it("gets undef for anything else", function()
    assert.equal('{undef,[{os,execute,[<<"true">>],[]}]}', e:eval([[
      {Pid, Ref} = spawn_monitor('%s', os, execute, [<<"true">>]),
      receive {'DOWN', Ref, process, Pid, Why} -> Why end]], ME))
  end)
end)

-- Functions called on other nodes, and here for them; which names are reached.
local actor = require "luactor"
local node = require "luactor.node"
local rpc = require "luactor.rpc"
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

local function meet(more, mine)
  peer = peers.meet(mine, more)
end

local leave = peers.leave

-- Calls whose time is over go on, so the spec ends them.
local function quiet()
  assert.same({}, actor.info(actor.self(), "monitors"))
  for _, pid in ipairs(actor.processes()) do
    local call = actor.info(pid, "initial_call")
    if call == "luactor._remote.execute_here" or call == "erpc.execute_call" then helper.kill(pid) end
  end
  helper.check()
end

describe("luactor.rpc", function()
  setup(meet)
  teardown(leave)
  before_each(helper.mark)
  after_each(quiet)

  it("returns all results", function()
    assert.equal(3, rpc.call(PEER, "far.add", { 1, 2 }))
    assert.same({ 1, nil, "x", n = 3 }, table.pack(rpc.call(PEER, "far.many")))
    assert.equal(0, select("#", rpc.call(PEER, "far.none")))
    assert.same({ true, 5, n = 2 }, table.pack(rpc.try_call(PEER, "far.add", { 2, 3 }, 1000)))
    assert.equal(PEER, rpc.call(PEER, "far.node"))
    assert.equal(ME, rpc.call(ME, "spec.fixture.far.node"))
  end)

  it("passes nils", function()
    local ok, why = rpc.try_call(PEER, "far.add", { nil, 2, n = 2 })
    assert.is_false(ok)
    assert.matches("attempt to perform arithmetic on a nil value (local 'a')", why[2], 1, true)
  end)

  it("raises what went wrong", function()
    local ok, e = pcall(rpc.call, PEER, "far.crash", { { code = 7 } })
    assert.is_false(ok)
    assert.equal(PEER, e.node)
    assert.equal("far.crash", e.call)
    assert.equal("error", e.reason[1])
    assert.same({ code = 7 }, e.reason[2])
    assert.matches("in function 'far.crash'", e.reason[3], 1, true)
    assert.is_nil(e.reason[3]:find("_remote", 1, true))
    ok, e = pcall(rpc.call, PEER, "far.crash", { "boom" })
    assert.is_false(ok)
    assert.equal("call of far.crash on peer@127.0.0.1 failed: error: boom", tostring(e))
  end)

  it("gives the reason of the end", function()
    assert.same({ false, "gone" }, { rpc.try_call(PEER, "far.leave", { "gone" }) })
    assert.same({ false, "killed" }, { rpc.try_call(PEER, "far.leave", { "killed" }) })
    assert.same({ false, { "a", 1 } }, { rpc.try_call(PEER, "far.leave", { { "a", 1 } }) })
  end)

  it("finds what is not there, or not for others, undefined", function()
    for _, call in ipairs { "far.nothing", "nowhere.f", "os.execute", "far.execute" } do
      assert.same({ false, "undef" }, { rpc.try_call(PEER, call, { "true" }) })
    end
    assert.same({ false, "undef" }, { rpc.try_call(ME, "nowhere.f") })
  end)

  it("says that a result cannot travel", function()
    local ok, why = rpc.try_call(PEER, "far.give")
    assert.is_false(ok)
    assert.same({ "error", "cannot send result[1] (function) to another node" }, { why[1], why[2] })
  end)

  it("returns in time", function()
    assert.same({ false, "timeout" }, { rpc.try_call(PEER, "far.wait", {}, 20) })
    assert.same({ false, "timeout" }, { rpc.try_call(ME, "spec.fixture.far.wait", {}, 20) })
    peer:signal "STOP"
    local stopped = { rpc.try_call(PEER, "far.none", {}, 20) }
    peer:signal "CONT"
    assert.same({ false, "timeout" }, stopped)
    assert.equal(3, rpc.call(PEER, "far.add", { 1, 2 }))
    assert.same({ false, "noconnection" }, { rpc.try_call("none@127.0.0.1", "far.none") })
  end)

  it("casts", function()
    assert.is_true(rpc.cast(PEER, "far.hello", { actor.self(), 1 }))
    local who = helper.receive { "hello", V.who, V._, V._ }
    assert.equal(PEER, node.of(who))
    who:send { "end", "normal" }
    assert.is_true(rpc.cast(ME, "spec.fixture.far.hello", { actor.self(), 1 }))
    who = helper.receive { "hello", V.who, V._, V._ }
    who:send { "end", "normal" }
    assert.is_true(rpc.cast(PEER, "far.nothing"))
    assert.is_true(rpc.cast("none@127.0.0.1", "far.nothing"))
  end)

  it("calls on several nodes at once", function()
    assert.same({
      { "ok", 3, n = 2 }, { "error", "noconnection", n = 2 }, { "error", "undef", n = 2 },
    }, rpc.multicall({ PEER, "none@127.0.0.1", ME }, "far.add", { 1, 2 }))
    assert.same({ { "error", "timeout", n = 2 }, { "error", "timeout", n = 2 } },
      rpc.multicall({ PEER, PEER }, "far.wait", {}, 20))
    assert.same({}, rpc.multicall({}, "far.wait"))
  end)

  it("names what is wrong with its arguments", function()
    local function refused(why, f, ...)
      local ok, text = pcall(f, ...)
      assert.is_false(ok)
      assert.matches(why, text, 1, true)
    end
    refused("bad argument #1 to 'call' (name@host expected, got 'peer')", rpc.call, "peer", "a.b")
    refused("bad argument #2 to 'call' ('module.function' expected, got 'ab')", rpc.call, PEER, "ab")
    refused("bad argument #3 to 'cast' (table of arguments expected, got 'x')", rpc.cast, PEER, "a.b", "x")
    refused("bad argument #4 to 'try_call' (milliseconds expected, got 'x')", rpc.try_call, PEER,
      "a.b", {}, "x")
    refused("cannot send", rpc.call, PEER, "far.add", { function() end })
  end)
end)

describe("the names of a node", function()
  after_each(leave)

  local function logged(text)
    helper.wait(function() return peer:log():find(text, 1, true) end)
  end

  it("are all reached without rules", function()
    meet()
    actor.spawn_opt({ node = PEER, name = "any" }, "far.hello", actor.self())
    local who = helper.receive { "hello", V.who, V._, V._ }
    local ref = actor.monitor { "any", PEER }
    actor.send({ "any", PEER }, { "end", "told" })
    assert.equal("told", (helper.receive { "DOWN", ref, V._, V._, V.reason }))
    assert.equal(PEER, node.of(who))
  end)

  it("are reached as the rules say", function()
    meet [[names = { "open", ["other@127.0.0.1"] = true }]]
    actor.spawn_opt({ node = PEER, name = "open" }, "far.hello", actor.self())
    helper.receive { "hello", V._, V._, V._ }
    local watch = actor.monitor { "open", PEER }
    actor.send({ "open", PEER }, { "end", "told" })
    assert.equal("told", (helper.receive { "DOWN", watch, V._, V._, V.reason }))
    peer:tell [[actor.register "shut" actor.sleep(100000)]]
    helper.wait(function()
      return peer:eval [[return tostring(actor.whereis "shut" ~= nil)]] == "true"
    end)
    assert.same({ false, "noproc" }, { actor.try_call({ "shut", PEER }, "x") })
    logged "node spec@127.0.0.1: not allowed to reach 'shut'"
    local ref = actor.monitor { "shut", PEER }
    assert.equal("noproc", (helper.receive { "DOWN", ref, V._, V._, V.reason }))
    actor.send({ "shut", PEER }, "x")
    assert.equal("pong", node.ping(PEER)) -- and the other services are there
    local ok, why = pcall(actor.spawn_opt, { node = PEER, name = "mine" }, "far.wait")
    assert.is_false(ok)
    assert.equal("cannot spawn on peer@127.0.0.1 (not_allowed)", why)
    assert.equal("0", peer:eval [[return actor.info(actor.whereis "shut", "mailbox_length")]])
  end)

  it("are reached by those that have a rule of their own", function()
    meet(([[names = { [%q] = { "mine" } }]]):format(ME))
    local ok = pcall(actor.spawn_opt, { node = PEER, name = "mine" }, "far.wait")
    assert.is_true(ok)
    ok = pcall(actor.spawn_opt, { node = PEER, name = "other" }, "far.wait")
    assert.is_false(ok)
  end)

  it("must be given as lists", function()
    peers.open()
    local function refused(why, names)
      local ok, text = pcall(node.start, { name = ME, cookie = "c", names = names })
      assert.is_false(ok)
      assert.matches(why, text, 1, true)
    end
    refused("node.start: names: bad value of 'a@b' (list of names or true expected)", { ["a@b"] = 7 })
    refused("node.start: names: a name is a string", { 7 })
  end)
end)

describe("Erlang", function()
  if not peers.has "erl" then
    pending "is not installed here"
    return
  end

  local e

  setup(function()
    peers.open { epmd = true }
    e = peers.erl { name = ERL, cookie = COOKIE, hidden = true }
    node.start { name = ME, cookie = COOKIE, listen = 0, epmd = false,
      exports = { "spec.fixture.far", "string.rep" } }
    e:eval("driver:register(\"spec\", %d)", node.port())
    assert.equal("pong", e:eval("net_adm:ping('%s')", ME))
  end)
  teardown(leave)
  before_each(helper.mark)
  after_each(quiet)

  local function try(f, args, ms) return rpc.try_call(ERL, f, args, ms) end

  it("is called", function()
    assert.same({ 3, 2, 1 }, rpc.call(ERL, "lists.reverse", { { 1, 2, 3 } }))
    assert.equal(actor.atom(ERL), rpc.call(ERL, "erlang.node"))
    assert.equal("AB", rpc.call(ERL, "string.uppercase", { "ab" }))
    assert.same({ false, "undef" }, { try("no.such", { 1 }) })
    assert.same({ false, "timeout" }, { try("timer.sleep", { 100000 }, 30) })
    local ok, why = try("erlang.throw", { "x" })
    assert.same({ false, { "throw", "x" } }, { ok, why })
    ok, why = try("erlang.exit", { "x" })
    assert.same({ false, "x" }, { ok, why })
    ok, why = try("erlang.error", { "x" })
    assert.same({ false, "error", "x" }, { ok, why[1], why[2] })
    assert.same({ { "ok", actor.atom(ERL), n = 2 } }, rpc.multicall({ ERL }, "erlang.node"))
  end)

  it("runs casts", function()
    rpc.cast(ERL, "erlang.send", { actor.self(), "here" })
    assert.equal("here", helper.receive())
  end)

  it("calls exported functions by rpc", function()
    local function answers(expected, call) assert.equal(expected, e:eval(call, ME)) end
    answers("3", "rpc:call('%s', 'spec.fixture.far', add, [1, 2])")
    answers('<<"xxx">>', 'rpc:call(\'%s\', string, rep, [<<"x">>, 3])')
    answers("nil", "rpc:call('%s', 'spec.fixture.far', none, [])")
    answers('{1,nil,<<"x">>}', "rpc:call('%s', 'spec.fixture.far', many, [])")
    answers("{badrpc,{'EXIT',{undef,[{os,cmd,[\"ls\"],[]}]}}}", "rpc:call('%s', os, cmd, [\"ls\"])")
    answers("{badrpc,{'EXIT',bye}}", "rpc:call('%s', 'spec.fixture.far', leave, [bye])")
    answers("{boom,'spec.fixture.far',crash,1}", [[
      {badrpc, {'EXIT', {<<"e">>, [{M, F, A, _}]}}} = rpc:call('%s', 'spec.fixture.far', crash, [<<"e">>]),
      {boom, M, F, A}]])
    answers("{badrpc,timeout}", "rpc:call('%s', 'spec.fixture.far', wait, [], 30)")
    answers("3", "rpc:yield(rpc:async_call('%s', 'spec.fixture.far', add, [1, 2]))")
    answers("{[3],[]}", "rpc:multicall(['%s'], 'spec.fixture.far', add, [1, 2])")
    answers("hello", [[rpc:cast('%s', 'spec.fixture.far', hello, [self()]),
      receive [<<"hello">>, Pid, _, _] -> Pid ! ['end', normal], hello after 5000 -> none end]])
  end)

  it("calls them by erpc", function()
    local function answers(expected, call) assert.equal(expected, e:eval(call, ME)) end
    answers("3", "erpc:call('%s', 'spec.fixture.far', add, [1, 2])")
    answers("{exception,undef,[{os,cmd,[\"ls\"],[]}]}",
      "try erpc:call('%s', os, cmd, [\"ls\"]) catch error:E -> E end")
    answers("{signal,bye}", "try erpc:call('%s', 'spec.fixture.far', leave, [bye]) catch exit:E -> E end")
    answers("{erpc,timeout}", "try erpc:call('%s', 'spec.fixture.far', wait, [], 30) catch error:E -> E end")
    answers("[{ok,3}]", "erpc:multicall(['%s'], 'spec.fixture.far', add, [1, 2])")
    answers("hello", [[erpc:cast('%s', 'spec.fixture.far', hello, [self()]),
      receive [<<"hello">>, Pid, _, _] -> Pid ! ['end', normal], hello after 5000 -> none end]])
  end)

  it("calls them through rex", function()
    local function answers(expected, request)
      assert.equal(expected, e:eval("gen_server:call({rex, '%s'}, " .. request .. ")", ME))
    end
    answers("3", "{call, 'spec.fixture.far', add, [1, 2], group_leader()}")
    answers("{badrpc,{'EXIT',{undef,[{os,cmd,[],[]}]}}}", "{call, os, cmd, [], group_leader()}")
    answers("{badrpc,{'EXIT',bye}}", "{call, 'spec.fixture.far', leave, [bye], group_leader()}")
    answers("{badrpc,{'EXIT',{badarg,[nonsense]}}}", "nonsense")
  end)
end)

-- A registry over nodes: unique keys are agreed on, splits end in one state.
local helper = require "spec.helper"
local peers = require "spec.peers"

local describe, it, assert = describe, it, assert
local setup, teardown, before_each, after_each = setup, teardown, before_each, after_each
local _ENV = _G

local COOKIE <const> = "c"

local PRELUDE <const> = [[local actor, registry = require "luactor", require "luactor.registry"
  local V = actor.var ]]

local function run(peer, code, ...)
  return peer:eval(PRELUDE .. code, ...)
end

local function luactor(name)
  local peer = peers.luactor { name = name .. "@127.0.0.1" }
  peer:eval("node.start{ name = %q, cookie = %q, listen = 0 } return 1", peer.name, COOKIE)
  return peer
end

local function connect(a, b)
  assert.equal("true", a:eval("return (node.connect %q)", b.name))
end

-- How many registries of the name this one knows of.
local function wait_peers(peer, n)
  helper.wait(function()
    return run(peer, [[return require "luactor.sys".get_status "reg".state.peers]]) == tostring(n)
  end)
end

local function start(peer, options)
  run(peer, [[registry.start { name = "reg", scope = "cluster", %s }]], options or "")
end

-- A process of the peer under a local name that registers a key; what it was answered.
local function register(peer, name, key, value)
  return run(peer, [[local done = actor.alias()
    actor.spawn(function()
      actor.register %q
      local ok, why = registry.register("reg", %s, %s)
      actor.send(done, ok and "true" or tostring(why[1]) .. " " .. require "luactor.node".of(why[2]))
      if not ok then return end
      actor.send("told", { "told", (actor.receive { "name_conflict", V.key, V._ }) })
      actor.receive "never"
    end)
    return actor.receive(actor.is "string", 30000)]], name, key, value or "1")
end

-- Who is under a key: "node=value node=value".
local function lookup(peer, key)
  return run(peer, [[local list = {}
    for i, entry in ipairs(registry.lookup("reg", %s)) do
      list[i] = require "luactor.node".of(entry[1]):match "^[^@]*" .. "=" .. tostring(entry[2])
    end
    table.sort(list)
    return table.concat(list, " ")]], key)
end

local function sees(peer, key, expected)
  local last
  local ok, why = pcall(helper.wait, function()
    last = lookup(peer, key)
    return last == expected
  end, 20000)
  if not ok then assert.equal(expected, last or tostring(why)) end
end

local function all_see(list, key, expected)
  for _, peer in ipairs(list) do sees(peer, key, expected) end
end

local function kill(peer, name)
  run(peer, "actor.exit(actor.whereis %q, 'kill')", name)
end

local function alive(peer, name)
  return run(peer, "return actor.whereis %q ~= nil", name) == "true"
end

describe("a registry over nodes", function()
  local a, b, c, all
  setup(function()
    peers.open { epmd = true }
    a, b, c = luactor "a", luactor "b", luactor "c"
    all = { a, b, c }
  end)
  teardown(peers.close)
  before_each(function()
    connect(a, b)
    connect(a, c)
    connect(b, c)
  end)
  after_each(function()
    for _, peer in ipairs(all) do
      run(peer, [[for _, name in ipairs(actor.registered()) do
          if name ~= "net_kernel" then actor.exit(actor.whereis(name), "kill") end
        end
        for _, name in ipairs(require "luactor.node".list()) do require "luactor.node".disconnect(name) end]])
      helper.wait(function()
        return run(peer, [[return #require "luactor.node".list()]]) == "0"
          and not alive(peer, "reg")
      end)
    end
  end)

  local function start_all(options)
    for _, peer in ipairs(all) do start(peer, options) end
    for _, peer in ipairs(all) do wait_peers(peer, 2) end
  end

  local function split(peer)
    for _, other in ipairs(all) do
      if other ~= peer then run(peer, [[require "luactor.node".disconnect %q]], other.name) end
    end
    wait_peers(peer, 0)
    for _, other in ipairs(all) do
      if other ~= peer then wait_peers(other, 1) end
    end
  end

  local function merge(peer)
    for _, other in ipairs(all) do
      if other ~= peer then connect(peer, other) end
    end
    for _, other in ipairs(all) do wait_peers(other, 2) end
  end

  it("shows every node what is registered at any", function()
    start_all()
    assert.equal("true", register(b, "p1", "'k1'", "'v'"))
    assert.equal("true", register(c, "p2", "{ 'room', 7 }"))
    all_see(all, "'k1'", "b=v")
    all_see(all, "{ 'room', 7 }", "c=1")
    assert.equal("2", run(a, "return registry.count 'reg'"))
    kill(b, "p1")
    all_see(all, "'k1'", "")
  end)

  it("lets one process have a unique key, wherever it is asked", function()
    start_all()
    assert.equal("true", register(c, "p1", "'k'"))
    assert.equal("already_registered c@127.0.0.1", register(a, "p2", "'k'"))
    assert.equal("already_registered c@127.0.0.1", register(b, "p2", "'k'"))
    assert.equal("already_registered c@127.0.0.1", register(c, "p2", "'k'"))
    kill(c, "p1")
    all_see(all, "'k'", "")
    assert.equal("true", register(b, "p1", "'k'"))
  end)

  it("lets one of many that ask at the same time have it", function()
    start_all()
    local code = PRELUDE .. [[local won, n = 0, 40
      local box = actor.mailbox()
      for i = 1, n do
        actor.spawn(function()
          local ok = registry.register("reg", %d)
          actor.send(box, ok and 1 or 0)
          if ok then actor.receive "never" end
        end)
      end
      for i = 1, n do won = won + box:receive(actor.is "integer") end
      return won]]
    for key = 1, 5 do
      local ids = {}
      for i, peer in ipairs(all) do ids[i] = peer:tell(code:format(key)) end
      local won = 0
      for i, peer in ipairs(all) do won = won + tonumber(peer:result(ids[i])) end
      assert.equal(1, won)
    end
    for _, peer in ipairs(all) do
      helper.wait(function() return run(peer, "return registry.count 'reg'") == "5" end)
    end
  end)

  it("finds, calls and starts processes by key over nodes", function()
    start_all()
    run(b, [[local gen_server = require "luactor.gen_server"
      local S = gen_server.define "s"
      function S.call:add(x) return x + 1 end
      S:start_opt { name = registry.via("reg", "adder") }]])
    sees(a, "'adder'", "b=nil")
    assert.equal("8", run(a, [[return registry.call("reg", "adder", { "add", 7 })]]))
    assert.equal("b@127.0.0.1", run(a, [[
      local S = require "luactor.gen_server".define "s"
      local ok, e = pcall(S.start_opt, S, { name = registry.via("reg", "adder") })
      return e.reason[1] == "already_started" and require "luactor.node".of(e.reason[2])]]))
    run(b, [[actor.exit(registry.whereis("reg", "adder"), "kill")]])
    sees(a, "'adder'", "")
  end)

  it("keeps values, and tells of new ones", function()
    start_all()
    run(b, [[local done = actor.alias()
      actor.spawn(function()
        actor.register "p1"
        registry.register("reg", "k", { 1 })
        registry.update_value("reg", "k", function(v) return { v[1] + 1 } end)
        actor.send(done, "done")
        actor.receive "never"
      end) actor.receive "done"]])
    helper.wait(function()
      return run(a, [[return (registry.lookup("reg", "k")[1] or { 1, { 0 } })[2][1] ]]) == "2"
    end)
    assert.matches("cannot send", run(a, [[local ok, why = pcall(registry.register, "reg", "f", print)
      local _, again = pcall(registry.register, "reg", "f", io.stdout) return again]]), 1, true)
  end)

  it("shows the union of duplicate keys", function()
    start_all "keys = 'duplicate'"
    register(a, "p1", "'topic'", 1)
    register(b, "p1", "'topic'", 2)
    register(c, "p1", "'topic'", 3)
    all_see(all, "'topic'", "a=1 b=2 c=3")
    split(c)
    sees(a, "'topic'", "a=1 b=2")
    sees(c, "'topic'", "c=3")
    register(c, "p2", "'topic'", 4)
    merge(c)
    all_see(all, "'topic'", "a=1 b=2 c=3 c=4")
  end)

  it("goes on with either side in a split", function()
    start_all()
    register(a, "p1", "'k'")
    all_see(all, "'k'", "a=1")
    split(a)
    all_see({ b, c }, "'k'", "")
    assert.equal("true", register(b, "p2", "'l'"))
    assert.equal("true", register(a, "p2", "'m'"))
    merge(a)
    all_see(all, "'k'", "a=1")
    all_see(all, "'l'", "b=1")
    all_see(all, "'m'", "a=1")
  end)

  it("ends the later one of two that hold a key after a merge", function()
    start_all()
    split(a)
    assert.equal("true", register(b, "p1", "'k'", "'older'"))
    sees(c, "'k'", "b=older")
    local second = os.time() -- what decides counts seconds
    helper.wait(function() return os.time() > second end)
    assert.equal("true", register(a, "p1", "'k'", "'newer'"))
    run(a, [[local up = actor.alias()
      actor.spawn(function()
        actor.register "witness"
        local ref = actor.monitor "p1"
        actor.send(up, "up")
        local reason = actor.receive { "DOWN", ref, "process", V._, V.reason }
        actor.receive(actor.on({ "ask", V.who }, function(who) actor.send(who, reason) end))
      end) actor.receive "up"]])
    merge(a)
    all_see(all, "'k'", "b=older")
    assert.equal("name_conflict k b@127.0.0.1", run(a, [[actor.send("witness", { "ask", actor.self() })
      local r = actor.receive(actor.is "table", 30000)
      return r[1] .. " " .. r[2] .. " " .. require "luactor.node".of(r[3])]]))
    assert.is_true(alive(b, "p1"))
  end)

  it("tells the loser, if asked to, and lets the program choose the winner", function()
    start_all [[conflict = "message", resolve = function(key, x, y)
      return x.value > y.value and x.pid or y.pid end]]
    split(c)
    for _, peer in ipairs { a, c } do
      run(peer, [[local up = actor.alias()
        actor.spawn(function()
          actor.register "told"
          actor.send(up, "up")
          local key = actor.receive { "told", V.key }
          actor.receive(actor.on({ "ask", V.who }, function(who) actor.send(who, key) end))
        end) actor.receive "up"]])
    end
    assert.equal("true", register(a, "p1", "'k'", 1))
    assert.equal("true", register(c, "p1", "'k'", 2))
    sees(b, "'k'", "a=1")
    merge(c)
    all_see(all, "'k'", "c=2")
    assert.equal("k", run(a, [[actor.send("told", { "ask", actor.self() })
      return actor.receive(actor.is "string", 30000)]]))
    assert.is_true(alive(a, "p1"))
    assert.is_true(alive(c, "p1"))
  end)

  it("decides without the node that decided, when that is gone", function()
    start_all()
    register(b, "p1", "'k'")
    run(a, "actor.exit(actor.whereis 'reg', 'kill')")
    wait_peers(b, 1)
    wait_peers(c, 1)
    assert.equal("already_registered b@127.0.0.1", register(c, "p1", "'k'"))
    assert.equal("true", register(c, "p2", "'l'"))
    start(a)
    for _, peer in ipairs(all) do wait_peers(peer, 2) end
    all_see(all, "'l'", "c=1")
    assert.equal("already_registered c@127.0.0.1", register(a, "p1", "'l'"))
  end)

  it("says when the node that decides does not answer", function()
    start_all()
    a:signal "STOP"
    local id = b:tell(PRELUDE .. [[local ok, why = registry.register("reg", "k")
      return tostring(ok) .. " " .. why[1] .. " " .. why[2] ]])
    local answer = b:result(id)
    a:signal "CONT"
    assert.equal("nil timeout a@127.0.0.1", answer)
    -- The claim was taken back: another may have the key.
    helper.wait(function() return register(c, "p1", "'k'") == "true" end)
    all_see(all, "'k'", "c=1")
  end)

  it("leaves registries with other keys alone", function()
    start(a)
    start(b, "keys = 'duplicate'")
    wait_peers(a, 0)
    register(b, "p1", "'k'")
    assert.equal("", lookup(a, "'k'"))
  end)

  it("stays up whatever comes as a registry's message", function()
    start_all()
    register(b, "p1", "'k'")
    run(b, [[local me = actor.whereis "reg"
      local to = { "reg", "a@127.0.0.1" }
      for _, m in ipairs { { "$registry" }, { "$registry", "put", me }, { "$registry", "put", me, { id = 1 } },
          { "$registry", "put", me, { id = 9, key = {}, pid = 3, time = 1 } }, { "$registry", "drop", me, 5 },
          { "$registry", "drop", me, { {}, "x" } }, { "$registry", "claim", me, 7 }, { "$registry", "granted", me, 7 },
          { "$registry", "all", me, true, 5 }, { "$registry", "none", me }, { "$registry", "refused", me, 1, 2 },
          { "$registry", "hello", 5 }, { "nodeup" }, { "$claim_timeout", 77 }, { "DOWN" }, 7, "x" } do
        actor.send(to, m)
      end]])
    assert.equal("b=1", lookup(a, "'k'"))
    assert.equal("true", register(a, "p1", "'l'"))
    sees(b, "'l'", "a=1")
  end)
end)

describe("registry.start with scope = 'cluster'", function()
  local registry = require "luactor.registry"
  before_each(helper.mark)
  after_each(helper.check)

  local function refused(opts, why)
    local ok, text = pcall(registry.start, opts)
    assert.is_false(ok)
    assert.matches(why, text, 1, true)
  end

  it("names what is wrong", function()
    refused({ scope = "global" }, "bad option 'scope' ('local' or 'cluster' expected, got 'global')")
    refused({ scope = "cluster" }, "bad option 'name' (string, with scope = 'cluster', expected, got nil)")
    refused({ scope = "cluster", name = "r", partitions = 2 }, "bad option 'partitions'")
    refused({ scope = "cluster", name = "r", conflict = "kill" }, "bad option 'conflict'")
    refused({ scope = "cluster", name = "r", resolve = 1 }, "bad option 'resolve' (function expected, got 1)")
    refused({ resolve = print }, "option 'resolve' goes with scope = 'cluster'")
  end)

  it("is as a local one where there are no other nodes", function()
    local reg = registry.start_link { name = "spec_reg", scope = "cluster" }
    assert.is_true(registry.register(reg, "k", 1))
    assert.equal(1, registry.lookup(reg, "k")[1][2])
    registry.unregister(reg, "k")
    assert.same({}, registry.lookup(reg, "k"))
    helper.kill(reg.pid)
  end)
end)

-- Process groups over nodes: luactor with luactor, and with Erlang's pg.
local helper = require "spec.helper"
local peers = require "spec.peers"

local describe, it, assert, pending = describe, it, assert, pending
local setup, teardown, after_each = setup, teardown, after_each
local _ENV = _G

local COOKIE <const> = "c"

local function luactor(name)
  local peer = peers.luactor { name = name .. "@127.0.0.1" }
  peer:eval("node.start{ name = %q, cookie = %q, listen = 0 } return 1", peer.name, COOKIE)
  return peer
end

local function connect(a, b)
  assert.equal("true", a:eval("return (node.connect %q)", b.name))
end

-- The code of each line runs with `pg`, `at` (what the code before has kept) and so on.
local function run(peer, code, ...)
  return peer:eval("local pg, actor = require 'luactor.pg', require 'luactor' local V = actor.var " .. code, ...)
end

-- A process of the peer that joins a group and stays until it is killed under its name.
local function join(peer, name, group)
  run(peer, [[local done = actor.alias()
    actor.spawn(function()
      actor.register %q
      pg.join(%s)
      actor.send(done, "joined")
      actor.receive "never"
    end)
    return actor.receive("joined", 30000)]], name, group)
end

local function kill(peer, name)
  run(peer, "actor.exit(actor.whereis %q, 'kill')", name)
end

-- The members as the peer sees them, by node: "a b b".
local function members(peer, group)
  return run(peer, [[local list = {}
    for i, pid in ipairs(pg.members(%s)) do list[i] = node.of(pid):match "^[^@]*" end
    table.sort(list)
    return table.concat(list, " ")]], group)
end

local function sees(peer, group, expected)
  local last
  local ok, why = pcall(helper.wait, function()
    last = members(peer, group)
    return last == expected
  end, 20000)
  if not ok then assert.equal(expected, last or tostring(why)) end
end

describe("pg over nodes", function()
  local a, b, c
  setup(function()
    peers.open { epmd = true }
    a, b, c = luactor "a", luactor "b", luactor "c"
  end)
  teardown(peers.close)
  after_each(function()
    for _, peer in ipairs { a, b, c } do
      run(peer, [[for _, pid in ipairs(pg.local_members 'g') do actor.exit(pid, 'kill') end
        for _, name in ipairs(node.list()) do node.disconnect(name) end]])
      helper.wait(function() return run(peer, "return #node.list() + #pg.members 'g'") == "0" end)
    end
  end)

  it("shows members of connected nodes, those from before too", function()
    join(a, "m1", "'g'")
    join(b, "m1", "'g'")
    join(b, "m2", "'g'")
    connect(a, b)
    sees(a, "'g'", "a b b")
    sees(b, "'g'", "a b b")
    assert.equal("1", run(a, "return #pg.local_members 'g'"))
    join(a, "m2", "'g'")
    sees(b, "'g'", "a a b b")
    kill(b, "m2")
    sees(a, "'g'", "a a b")
  end)

  it("finds members by pids that can be sent to", function()
    connect(a, b)
    run(b, [[local up = actor.alias()
      actor.spawn(function()
        pg.join "g"
        actor.send(up, "up")
        local from = actor.receive { "hello", V.from }
        actor.send(from, "answer")
        actor.receive "never"
      end) actor.receive "up"]])
    sees(a, "'g'", "b")
    assert.equal("answer", run(a, [[actor.send(pg.members("g")[1], { "hello", actor.self() })
      return actor.receive("answer", 30000)]]))
  end)

  it("compares groups by value", function()
    connect(a, b)
    join(a, "m1", "{ 'room', 7, x = { true } }")
    sees(b, "{ 'room', 7, x = { true } }", "a")
    assert.equal("", members(b, "{ 'room', 8, x = { true } }"))
    join(a, "m2", "actor.tuple { 'room', 7 }")
    sees(b, "actor.tuple { 'room', 7 }", "a")
    assert.equal("", members(b, "{ 'room', 7 }"))
    kill(a, "m1")
    kill(a, "m2")
    sees(b, "actor.tuple { 'room', 7 }", "")
  end)

  it("holds a process as often as it joined", function()
    connect(a, b)
    run(a, [[local up = actor.alias()
      actor.spawn(function()
        actor.register "twice"
        pg.join "g" pg.join "g"
        actor.send(up, "up")
        actor.receive "leave"
        pg.leave "g"
        actor.receive "never"
      end) actor.receive "up"]])
    sees(b, "'g'", "a a")
    run(a, "actor.send('twice', 'leave')")
    sees(b, "'g'", "a")
  end)

  it("tells who watches a group of joins and leaves on other nodes", function()
    connect(a, b)
    local id = a:tell [[local pg, heard = require "luactor.pg", {}
      local ref = pg.monitor "g"
      actor.register "listener"
      while #heard < 2 do
        local what, pids = actor.receive { ref, V.what, "g", V.pids }
        heard[#heard + 1] = what .. " " .. #pids .. " " .. node.of(pids[1])
      end
      return table.concat(heard, ", ")]]
    helper.wait(function() return a:eval "return actor.whereis 'listener'" ~= "nil" end)
    join(b, "m1", "'g'")
    kill(b, "m1")
    assert.equal("join 1 b@127.0.0.1, leave 1 b@127.0.0.1", a:result(id))
  end)

  it("has none of a node whose connection is lost, and all again when it is back", function()
    connect(a, b)
    join(a, "m1", "'g'")
    join(b, "m1", "'g'")
    sees(a, "'g'", "a b")
    sees(b, "'g'", "a b")
    run(a, "node.disconnect %q", b.name)
    sees(a, "'g'", "a")
    sees(b, "'g'", "b")
    join(b, "m2", "'g'")
    kill(b, "m1")
    connect(b, a)
    sees(a, "'g'", "a b")
    sees(b, "'g'", "a b")
  end)

  it("has none of a scope that ends, and meets the next", function()
    connect(a, b)
    join(b, "m1", "'g'")
    sees(a, "'g'", "b")
    run(b, "actor.exit(actor.whereis 'pg', 'kill')")
    sees(a, "'g'", "")
    join(b, "m2", "'g'")
    sees(a, "'g'", "b")
    kill(b, "m1")
  end)

  it("copies only what its own node owns: three nodes in a row", function()
    connect(a, b)
    connect(b, c)
    join(a, "m1", "'g'")
    sees(b, "'g'", "a")
    join(c, "m1", "'g'")
    sees(b, "'g'", "a c")
    assert.equal("a", members(a, "'g'"))
    connect(a, c)
    sees(a, "'g'", "a c")
    sees(c, "'g'", "a c")
  end)

  it("takes members of its own node alone", function()
    connect(a, b)
    join(b, "m1", "'g'")
    sees(a, "'g'", "b")
    assert.matches("pid of this node expected, got <b@127.0.0.1", run(a, [[
      local ok, why = pcall(pg.join, "h", pg.members("g")[1]) return why]]), 1, true)
  end)

  it("stays up whatever comes as a scope's message", function()
    connect(a, b)
    join(b, "m1", "'g'")
    sees(a, "'g'", "b")
    run(b, [[local t, at = actor.tuple, actor.atom
      local to = { "pg", "a@127.0.0.1" }
      local me = actor.whereis "pg"
      for _, m in ipairs { t { at "join" }, t { at "join", me, "g", 7 }, t { at "join", me, {}, { me, 1 } },
          t { at "leave", me, me }, t { at "leave", 1, 2, 3 }, t { at "discover", 5 }, {}, "x", 7,
          t { at "join", me, "h", { actor.atom "x", t { me } } }, t { at "leave", me, me, { "none" } },
          t { at "$gen_cast", t { at "sync", 1, 2 } }, t { at "$gen_cast", t { at "sync", me, { 1, { 2 } } } },
          t { at "$gen_cast", t { at "sync", me, { t { "g", { actor.whereis "m1" } } } } } } do
        actor.send(to, m)
      end]])
    sees(a, "'g'", "b")
    assert.equal("0", run(a, "return #pg.members 'h'"))
  end)

  describe("and Erlang's pg", function()
    local erl
    if not os.getenv "PATH" or not peers.has "erl" then
      return pending "needs erl"
    end
    setup(function()
      erl = peers.erl { name = "e@127.0.0.1", cookie = COOKIE }
    end)
    after_each(function()
      erl:eval "catch exit(whereis(pg), kill)"
      erl:eval "[exit(whereis(N), kill) || N <- [m1, m2, m3], whereis(N) =/= undefined]"
    end)

    local function start_pg() erl:eval "{ok, _} = pg:start(pg), 1" end

    local function erl_join(name, group)
      erl:eval("P = spawn(fun() -> receive never -> 1 end end), register(%s, P), ok = pg:join(%s, P)",
        name, group)
    end

    local function erl_sees(group, expected)
      local last
      local ok, why = pcall(helper.wait, function()
        last = erl:eval("lists:sort([node(P) || P <- pg:get_members(%s)])", group)
        return last == expected
      end, 20000)
      if not ok then assert.equal(expected, last or tostring(why)) end
    end

    it("see each other's members", function()
      start_pg()
      erl_join("m1", "<<\"g\">>")
      join(a, "m1", "'g'")
      connect(a, erl)
      sees(a, "'g'", "a e")
      erl_sees("<<\"g\">>", "['a@127.0.0.1','e@127.0.0.1']")
      join(a, "m2", "'g'")
      erl_join("m2", "<<\"g\">>")
      erl_sees("<<\"g\">>", "['a@127.0.0.1','a@127.0.0.1','e@127.0.0.1','e@127.0.0.1']")
      sees(a, "'g'", "a a e e")
      kill(a, "m2")
      erl_sees("<<\"g\">>", "['a@127.0.0.1','e@127.0.0.1','e@127.0.0.1']")
      erl:eval "exit(whereis(m1), kill)"
      sees(a, "'g'", "a e")
      erl:eval "pg:leave(<<\"g\">>, whereis(m2))"
      sees(a, "'g'", "a")
    end)

    it("keep the types of group names", function()
      start_pg()
      connect(a, erl)
      erl_join("m1", "workers")
      sees(a, "actor.atom 'workers'", "e")
      assert.equal("", members(a, "'workers'"))
      erl_join("m2", "{room, 7}")
      sees(a, "actor.tuple { actor.atom 'room', 7 }", "e")
      join(a, "m1", "{ 'room', 7 }")
      erl_sees("[<<\"room\">>, 7]", "['a@127.0.0.1']")
      join(a, "m2", "1 / 0") -- Erlang has no such number: it stays here
      join(a, "m3", "actor.tuple { actor.atom 'room', 7 }")
      erl_sees("{room, 7}", "['a@127.0.0.1','e@127.0.0.1']")
      for _, name in ipairs { "m1", "m2", "m3" } do kill(a, name) end
    end)

    it("meet when Erlang's scope starts after the connection", function()
      join(a, "m1", "'g'")
      connect(a, erl)
      start_pg()
      erl_join("m1", "<<\"g\">>")
      erl_sees("<<\"g\">>", "['a@127.0.0.1','e@127.0.0.1']")
      sees(a, "'g'", "a e")
      erl:eval "exit(whereis(pg), kill)"
      sees(a, "'g'", "a")
    end)

    it("part with the connection, and meet again", function()
      start_pg()
      erl_join("m1", "<<\"g\">>")
      join(a, "m1", "'g'")
      connect(a, erl)
      sees(a, "'g'", "a e")
      erl_sees("<<\"g\">>", "['a@127.0.0.1','e@127.0.0.1']")
      run(a, "node.disconnect %q", erl.name)
      sees(a, "'g'", "a")
      erl_sees("<<\"g\">>", "['e@127.0.0.1']")
      join(a, "m2", "'g'")
      connect(a, erl)
      sees(a, "'g'", "a a e")
      erl_sees("<<\"g\">>", "['a@127.0.0.1','a@127.0.0.1','e@127.0.0.1']")
    end)

    it("tell Erlang's monitors of members here", function()
      start_pg()
      connect(a, erl)
      local id = erl:tell [[{R, []} = pg:monitor(<<"g">>),
        register(listener, self()),
        receive {R, join, <<"g">>, [P]} -> ok end,
        receive {R, leave, <<"g">>, [P]} -> node(P) end]]
      helper.wait(function() return erl:eval "whereis(listener)" ~= "undefined" end)
      join(a, "m1", "'g'")
      kill(a, "m1")
      assert.equal("'a@127.0.0.1'", erl:result(id))
    end)
  end)
end)

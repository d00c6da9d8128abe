-- Networks that stop to deliver, without a word to anybody: half-open connections, a
-- split of three nodes and its end. In network namespaces, where these can be made.
local actor = require "luactor"
local helper = require "spec.helper"
local peers = require "spec.peers"
local describe, it, assert, pending = describe, it, assert, pending
local setup, teardown = setup, teardown
local _ENV = _G

local TICK <const> = 0.8 -- seconds

local possible, why = peers.can_have_spaces()
if not possible then
  describe("a network that stops to deliver", function()
    it("is noticed", function() pending("no network namespaces here: " .. tostring(why)) end)
  end)
  return
end

local HAS_ERL <const> = peers.has "erl" and peers.has "erlc"

-- What each luactor node runs: it keeps what it is told of the others.
local WATCHER <const> = [[
  actor.spawn_opt({ name = "watcher" }, function()
    local seen, watched = {}, {}
    actor.trap_exit(true)
    local function note(...) seen[#seen + 1] = table.concat({ ... }, " ") end
    local serve = actor.receiver(
      on(actor.request(V.from, { "watch", V.name }), function(from, name)
        node.monitor(name, true)
        actor.reply(from, true)
      end),
      on(actor.request(V.from, { "tie", V.pid "pid" }), function(from, pid)
        actor.link(pid)
        watched[actor.monitor(pid)] = true
        actor.reply(from, true)
      end),
      on(actor.request(V.from, "pid"), function(from) actor.reply(from, actor.self()) end),
      on(actor.request(V.from, "seen"), function(from)
        actor.reply(from, table.concat(seen, ", "))
      end),
      on({ "EXIT", V._, V.why }, function(reason) note("EXIT", tostring(reason)) end),
      on({ "DOWN", V._, "process", V._, V.why }, function(reason) note("DOWN", tostring(reason)) end),
      on({ "nodedown", V.name }, function(name) note("down", name) end),
      on({ "nodeup", V.name }, function(name) note("up", name) end))
    while true do serve() end
  end)]]

local spaces, nodes

-- A luactor node in each namespace; all know where the others are.
local function start_luactor(i, more)
  local where = {}
  for j, space in ipairs(spaces) do
    where[j] = ("['n%d@%s'] = '%s:9100'"):format(j, space.address, space.address)
  end
  local peer = peers.luactor { space = spaces[i].name, name = "n" .. i }
  peer:eval([[node.start{ name = 'n%d@%s', cookie = "c", listen = 9100, address = %q, epmd = false,
    insecure = true, ticktime = %s, nodes = { %s } } %s]], i, spaces[i].address, spaces[i].address,
    TICK, table.concat(where, ", "), more or "")
  peer:eval(WATCHER)
  peer.node = ("n%d@%s"):format(i, spaces[i].address)
  return peer
end

local function start_all()
  for i = 1, 3 do nodes[i] = start_luactor(i) end
  for i = 1, 3 do
    for j = 1, 3 do
      if i ~= j then
        assert.equal("pong", nodes[i]:eval("return node.ping %q", nodes[j].node))
        nodes[i]:eval("return actor.call('watcher', { 'watch', %q })", nodes[j].node)
      end
    end
  end
end

local function seen(peer) return peer:eval "return actor.call('watcher', 'seen')" end

local function wait_seen(peer, text)
  local last
  local ok = pcall(helper.wait, function()
    last = seen(peer)
    return last == text
  end, 20000)
  if not ok then assert.equal(text, last) end
end

local function listed(peer)
  return peer:eval "local l = node.list() table.sort(l) return table.concat(l, ' ')"
end

describe("three nodes", function()
  setup(function()
    peers.open()
    spaces, nodes = peers.spaces(3), {}
    start_all()
  end)
  teardown(peers.close)

  local n

  it("stay connected over idle tick times", function()
    n = nodes
    -- Five tick times of nothing but ticks; a connection that is not ticked ends in 1.25.
    n[1]:eval("actor.sleep(%d)", TICK * 5000)
    for i = 1, 3 do assert.equal("", seen(n[i])) end
  end)

  it("notice the loss of one that is cut off, and it of them, once", function()
    n[1]:eval("actor.call('watcher', { 'tie', actor.call({ 'watcher', %q }, 'pid') })", n[3].node)
    local id = n[1]:tell(("local ok, why = actor.try_call({ 'watcher', %q }, 'no answer to this', 60000) "
      .. "return tostring(why)"):format(n[3].node))
    helper.wait(function() return n[1]:eval "return node.list()[2]" ~= "nil" end)
    peers.cut(spaces[3])
    assert.equal("noconnection", n[1]:result(id))
    helper.wait(function() return #seen(n[1]) > 40 and #seen(n[2]) > 0 and #seen(n[3]) > 30 end)
    local first = seen(n[1])
    for _, event in ipairs { "EXIT noconnection", "DOWN noconnection", "down " .. n[3].node } do
      local _, times = first:gsub(event:gsub("%p", "%%%0"), "")
      assert.equal(1, times, first)
    end
    wait_seen(n[2], "down " .. n[3].node)
    local third = {}
    for event in (seen(n[3]) .. ", "):gmatch "(.-), " do third[#third + 1] = event end
    table.sort(third)
    assert.same({ "EXIT noconnection", "down " .. n[1].node, "down " .. n[2].node }, third)
    assert.equal(n[2].node, listed(n[1]))
    assert.equal(n[1].node, listed(n[2]))
    assert.equal("", listed(n[3]))
  end)

  it("fail in time to reach it", function()
    local started = actor.now()
    assert.equal("timeout", n[1]:eval(
      "return select(2, actor.try_call({ 'watcher', %q }, 'seen', 200))", n[3].node))
    assert.is_true(actor.now() - started < 10000)
    assert.equal("noconnection", n[2]:eval([[local ref = actor.monitor { 'watcher', %q }
      return (actor.receive({ "DOWN", ref, V._, V._, V.why }, 30000))]], n[3].node))
  end)

  it("meet again when the network is whole", function()
    peers.mend(spaces[3])
    helper.wait(function()
      return n[3]:eval("return node.ping %q", n[1].node) == "pong"
    end)
    assert.equal("pong", n[2]:eval("return node.ping %q", n[3].node))
    for i = 1, 3 do
      local others = {}
      for j = 1, 3 do if i ~= j then others[#others + 1] = n[j].node end end
      helper.wait(function() return listed(n[i]) == table.concat(others, " ") end)
    end
    assert.matches("up " .. n[3].node:gsub("%p", "%%%0"), seen(n[1]))
    assert.equal("true", n[1]:eval(
      "return tostring((actor.try_call({ 'watcher', %q }, 'seen')))", n[3].node))
  end)

  it("hold back senders to one that does not answer, and let them go", function()
    -- Stopped: its system takes bytes until its buffers are full, it reads none.
    n[2]:signal "STOP"
    local id = n[1]:tell(([[
      node.monitor(%q, true)
      local blob, me = ("x"):rep(100000), actor.self()
      actor.spawn(function()
        for i = 1, 2000 do
          actor.send({ "watcher", %q }, { "blob", blob })
          me:send { "sent", i }
        end
      end)
      actor.receive { "nodedown", %q }
      -- The one message that waited has been given up, and more are taken for a new attempt.
      local n = 0
      while actor.receive({ "sent", V.i }, 0) do n = n + 1 end
      actor.receive { "sent", n + 2 }
      for line in io.lines "/proc/self/status" do
        local kb = line:match "VmHWM:%%s*(%%d+)"
        if kb then return kb end
      end]]):format(n[2].node, n[2].node, n[2].node))
    -- 200 MB were to be sent; a megabyte waits here and a few in the system.
    assert.is_true(tonumber(n[1]:result(id)) < 60000)
    n[2]:signal "CONT"
    helper.wait(function() return n[1]:eval("return node.ping %q", n[2].node) == "pong" end)
  end)
end)

describe("a cluster with Erlang", function()
  if not HAS_ERL then
    it("survives a split", function() pending "no erl here: apt-get install erlang-base" end)
    return
  end
  setup(function()
    peers.open()
    spaces, nodes = peers.spaces(3), {}
  end)
  teardown(peers.close)

  it("notices a split, and meets again", function()
    -- A port mapper in each namespace; Erlang ticks each second.
    for i = 2, 3 do
      peers.start { command = "epmd -port 4369", space = spaces[i].name }
      nodes[i] = peers.erl { space = spaces[i].name, name = ("n%d@%s"):format(i, spaces[i].address),
        cookie = "c", interface = "{0,0,0,0}", epmd_port = 4369,
        more = "-kernel net_ticktime 4 -kernel inet_dist_listen_min 9100 -kernel inet_dist_listen_max 9100" }
      nodes[i].node = ("n%d@%s"):format(i, spaces[i].address)
    end
    local l = peers.luactor { space = spaces[1].name, name = "n1" }
    l:eval([[node.start{ name = 'n1@%s', cookie = "c", address = %q, listen = 9100, epmd = false,
      insecure = true, ticktime = 4, nodes = { ['n2@%s'] = '%s:9100', ['n3@%s'] = '%s:9100' } }]],
      spaces[1].address, spaces[1].address, spaces[2].address, spaces[2].address,
      spaces[3].address, spaces[3].address)
    l:eval(WATCHER)
    local e2, e3 = nodes[2], nodes[3]
    for i = 2, 3 do
      helper.wait(function() return l:eval("return node.ping %q", nodes[i].node) == "pong" end)
      l:eval("actor.call('watcher', { 'watch', %q })", nodes[i].node)
    end
    assert.equal("pong", e2:eval("net_adm:ping('%s')", e3.node))
    local down = ("monitor_node('n1@%s', true), receive {nodedown, N} -> N end"):format(
      spaces[1].address)
    local id2, id3 = e2:tell(down), e3:tell(down)
    peers.cut(spaces[1])
    assert.equal(("'n1@%s'"):format(spaces[1].address), e2:result(id2))
    assert.equal(("'n1@%s'"):format(spaces[1].address), e3:result(id3))
    helper.wait(function() return listed(l) == "" end)
    local events = seen(l)
    assert.is_true(events == ("down %s, down %s"):format(e2.node, e3.node)
      or events == ("down %s, down %s"):format(e3.node, e2.node), events)
    -- The Erlang nodes have not lost one another.
    assert.equal(("['%s']"):format(e3.node), e2:eval "nodes()")
    peers.mend(spaces[1])
    for i = 2, 3 do
      helper.wait(function() return l:eval("return node.ping %q", nodes[i].node) == "pong" end)
    end
    helper.wait(function() return e2:eval "nodes(hidden)" ~= "[]" end)
    assert.equal(("['%s']"):format(e3.node), e2:eval "nodes()")
    assert.equal(("['%s']"):format(e2.node), e3:eval "nodes()")
    for i = 2, 3 do
      assert.is_nil(nodes[i]:log():find("overlapping", 1, true), nodes[i]:log())
    end
  end)
end)

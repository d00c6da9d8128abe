-- What passes between nodes when there is much of it, or when the other side is slow: order,
-- long messages in pieces, senders that wait. The peer is stopped and let go on
-- by the system's signals, so nothing here depends on how fast it is.
local actor = require "luactor"
local node = require "luactor.node"
local helper = require "spec.helper"
local peers = require "spec.peers"
local describe, it, assert = describe, it, assert
local setup, teardown = setup, teardown
local before_each, after_each = before_each, after_each
local _ENV = _G

local V = actor.var
local ME, PEER <const> = "spec@127.0.0.1", "peer@127.0.0.1"
local MB <const> = 1 << 20
-- More than what the system takes for a connection on its own account.
local COUNT <const>, SIZE <const> = 3000, 20000

-- Notes what comes and in which order; says it when asked.
local SINK <const> = [[
actor.spawn_opt({ name = "sink" }, function()
  local actor = require "luactor"
  local V, on = actor.var, actor.on
  local seen = {}
  while true do
    actor.receive(
      on({ "note", V.what, V.rest }, function(what, rest)
        seen[#seen + 1] = what .. " " .. (type(rest) == "string" and #rest or tostring(rest))
      end),
      on({ "other", V._ }, function() end),
      on(actor.request(V.from, "seen"), function(from) actor.reply(from, seen) end),
      on(actor.request(V.from, "forget"), function(from)
        seen = {}
        actor.reply(from, true)
      end),
      on(actor.request(V.from, "victim"), function(from)
        actor.reply(from, actor.spawn(function() actor.receive "never" end))
      end))
  end
end)
]]

local peer

local function meet(more, tls)
  local options = ("{ name = %q, cookie = 'c', listen = 0, epmd = false %s }"):format(PEER,
    more or "")
  node.start { name = ME, cookie = "c", listen = 0, epmd = false, tls = tls }
  peer = peers.luactor { name = PEER }
  local port = peer:eval("node.start(%s) %s return node.port()", options, SINK)
  node.place(PEER, "127.0.0.1:" .. port)
  assert(node.connect(PEER))
end

local function part()
  node.stop()
  peer:kill()
  actor.flush(actor._)
end

local there = { "sink", PEER }

-- What the peer has noted, when it is `n` things.
local function seen(n)
  local list
  helper.wait(function()
    list = actor.call(there, "seen", helper.patience)
    return #list >= n
  end)
  assert.equal(n, #list)
  actor.call(there, "forget")
  return list
end

-- A sender waits for nothing else.
local function waits_for_room(pid) return actor.info(pid, "status") == "blocked" end

-- The peer reads nothing until `with` is over.
local function stopped(with)
  peer:signal "STOP"
  local ok, why = pcall(with)
  peer:signal "CONT"
  if not ok then error(why, 0) end
end

-- Sends `count` strings of `size` bytes.
local function sender(count, size)
  return actor.spawn_monitor(function()
    local rest = ("x"):rep(size)
    for i = 1, count do actor.send({ "sink", "peer@127.0.0.1" }, { "note", tostring(i), rest }) end
  end)
end

local function ends(ref)
  return (helper.receive { "DOWN", ref, V._, V._, V.reason })
end

local function slow_peer()
  it("lets small messages pass the long one of another process", function()
    stopped(function()
      local _, ref = sender(1, 50 * MB)
      assert.equal("normal", ends(ref))
      assert.is_true(actor.try_send(there, { "note", "small", 1 }))
    end)
    assert.same({ "small 1", "1 " .. 50 * MB }, seen(2))
  end)

  it("keeps the order of each sender", function()
    local refs = {}
    stopped(function()
      for i = 1, 3 do
        local _
        _, refs[i] = actor.spawn_monitor(function()
          local to = { "sink", "peer@127.0.0.1" }
          actor.send(to, { "note", i .. "a", i })
          actor.send(to, { "note", i .. "b", ("x"):rep(500000) })
          actor.send(to, { "note", i .. "c", i })
          actor.send(to, { "note", i .. "d", ("x"):rep(100000 * i) })
          actor.send(to, { "note", i .. "e", i })
        end)
      end
      actor.sleep(5)
    end)
    for i = 1, 3 do assert.equal("normal", ends(refs[i])) end
    local order = { "", "", "" }
    for _, text in ipairs(seen(15)) do
      local who, what = text:match "^(%d)(%a)"
      order[tonumber(who)] = order[tonumber(who)] .. what
    end
    assert.same({ "abcde", "abcde", "abcde" }, order)
  end)

  it("makes senders wait, and loses nothing", function()
    local pid, ref
    stopped(function()
      pid, ref = sender(COUNT, SIZE)
      helper.wait(function() return waits_for_room(pid) end)
      -- Others may fill what is left of the queue.
      local n = 0
      repeat
        n = n + 1
        local ok = actor.try_send(there, { "other", n })
      until not ok or n > 1000000
      assert.equal("full", select(2, actor.try_send(there, { "other", 0 })))
    end)
    assert.equal("normal", ends(ref))
    local list = seen(COUNT)
    for i = 1, COUNT do assert.equal(i .. " " .. SIZE, list[i]) end
  end)

  it("makes the sender of long messages wait", function()
    local pid, ref
    stopped(function()
      pid, ref = sender(30, 2 * MB)
      helper.wait(function() return waits_for_room(pid) end)
      assert.is_true(actor.try_send(there, { "note", "small", 1 }))
    end)
    assert.equal("normal", ends(ref))
    assert.equal(31, #seen(31))
  end)

  it("does not stop what is not a message", function()
    local victim = actor.call(there, "victim")
    local sent, waiting, ref
    stopped(function()
      waiting, sent = sender(COUNT, SIZE)
      helper.wait(function() return waits_for_room(waiting) end)
      ref = actor.monitor(victim)
      assert.is_true(actor.exit(victim, "kill"))
      assert.equal("pong", node.ping(ME))
      -- A sender that waits can be killed.
      local other, down = actor.spawn_monitor(function()
        while true do actor.send({ "sink", "peer@127.0.0.1" }, { "other", ("x"):rep(20000) }) end
      end)
      helper.wait(function() return waits_for_room(other) end)
      actor.exit(other, "kill")
      assert.equal("killed", ends(down))
    end)
    assert.equal("killed", ends(ref))
    assert.equal("normal", ends(sent))
    seen(COUNT)
  end)

  it("lets who waits go on when the connection ends", function()
    local pid, ref
    stopped(function()
      pid, ref = sender(COUNT, SIZE)
      helper.wait(function() return waits_for_room(pid) end)
      node.disconnect(PEER)
      -- The next message begins a connection, which the peer does not take either.
      helper.wait(function() return #node.list() == 0 end)
      assert.is_true(actor.is_alive(pid))
    end)
    assert.equal("normal", ends(ref))
    helper.wait(function() return node.connect(PEER) end)
    helper.wait(function()
      local list = actor.call(there, "seen", helper.patience)
      return list[#list] == COUNT .. " " .. SIZE
    end)
    actor.call(there, "forget")
  end)
end

describe("a peer that reads slowly", function()
  setup(function() peers.open() meet() end)
  teardown(function() part() peers.close() end)
  before_each(helper.mark)
  after_each(helper.check)
  slow_peer()
end)

describe("a peer that reads slowly, under TLS", function()
  local has_openssl
  setup(function()
    peers.open()
    has_openssl = peers.has "openssl"
    if not has_openssl then return end
    local tls = peers.certificate("node", { "127.0.0.1" })
    meet((", tls = { cert = %q, key = %q, ca = %q }"):format(tls.cert, tls.key, tls.ca), tls)
  end)
  teardown(function()
    if has_openssl then part() end
    peers.close()
  end)
  before_each(helper.mark)
  after_each(helper.check)
  slow_peer()
end)

describe("a message that is too long for the peer", function()
  setup(function()
    peers.open()
    meet ", max_message = 200000"
  end)
  teardown(function() part() peers.close() end)

  it("is dropped there, with a line in the log, and the connection stays", function()
    for _, size in ipairs { 199000, 201000, 5 * MB, 150000 } do
      actor.send(there, { "note", "n", ("x"):rep(size) })
    end
    assert.same({ "n 199000", "n 150000" }, seen(2))
    assert.matches("node spec@127.0.0.1: message dropped: a message in pieces that is too long",
      peer:log(), 1, true)
  end)
end)

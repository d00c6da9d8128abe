-- A port mapper of our own: nodes of this machine find each other without Erlang's
-- epmd, and register again when the mapper goes away. Discovery, which asks it.
local actor = require "luactor"
local helper = require "spec.helper"
local peers = require "spec.peers"
local describe, it, assert, pending = describe, it, assert, pending
local before_each, after_each = before_each, after_each
local _ENV = _G

local port

local function luactor(name, more)
  local peer = peers.luactor { name = name, epmd_port = port }
  peer:eval("return node.start{ name = '%s@127.0.0.1', cookie = 'c', listen = 0 %s }", name,
    more or "")
  return peer
end

local function pings(peer, name)
  return peer:eval("return node.ping '%s@127.0.0.1'", name) == "pong"
end

local function names(peer)
  return peer:eval [[
    local list = node.names "127.0.0.1" or {}
    table.sort(list)
    return table.concat(list, " ")]]
end

describe("a port mapper of our own", function()
  before_each(function()
    peers.open()
    local file = assert(io.open("/dev/urandom", "rb"))
    port = 32000 + string.unpack("<I2", file:read(2)) % 700
    file:close()
  end)
  after_each(function() peers.close() end)

  it("is served by the first node, for all others", function()
    local a, b = luactor "a", luactor "b"
    assert.equal("a@127.0.0.1 b@127.0.0.1", names(b))
    assert.is_true(pings(b, "a"))
    assert.is_true(pings(a, "b"))
    assert.matches("serves as the port mapper at " .. port, a:log(), 1, true)
    assert.is_nil(b:log():find("serves as", 1, true))
  end)

  it("refuses a name that is taken", function()
    luactor "a"
    local ok, why = pcall(luactor, "a")
    assert.is_false(ok)
    assert.matches("the name is taken", why, 1, true)
  end)

  it("is taken over when its node ends, by one of the others", function()
    local a, b, c = luactor "a", luactor "b", luactor "c"
    a:kill()
    helper.wait(function() return names(b) == "b@127.0.0.1 c@127.0.0.1" end)
    assert.is_true(pings(c, "b"))
    -- The node that ended comes back under its name.
    local again = luactor "a"
    assert.equal("a@127.0.0.1 b@127.0.0.1 c@127.0.0.1", names(c))
    assert.is_true(pings(again, "c"))
  end)

  it("is given up with node.stop", function()
    local a, b = luactor "a", luactor "b"
    a:eval "return node.stop()"
    helper.wait(function() return names(b) == "b@127.0.0.1" end)
    a:eval "return node.start{ name = 'a@127.0.0.1', cookie = 'c', listen = 0 }"
    assert.is_true(pings(b, "a"))
  end)

  it("serves Erlang", function()
    if not peers.has "erl" then return pending "no erl here" end
    local a = luactor "a"
    local e = peers.erl { name = "e@127.0.0.1", cookie = "c", epmd_port = port }
    assert.equal("a@127.0.0.1 e@127.0.0.1", names(a))
    assert.equal("pong", e:eval "net_adm:ping('a@127.0.0.1')")
    assert.is_true(pings(a, "e"))
    e:kill()
    helper.wait(function() return names(a) == "a@127.0.0.1" end)
  end)

  it("is not served when Erlang's runs, and takes its place when that ends", function()
    if not peers.has "epmd" then return pending "no epmd here" end
    local mapper = peers.start { command = ("epmd -port %d -address 127.0.0.1"):format(port) }
    helper.wait(function() return (peers.sh(("epmd -port %d -names"):format(port))) end)
    local a, b = luactor "a", luactor "b"
    assert.equal("a@127.0.0.1 b@127.0.0.1", names(a))
    assert.is_nil((a:log() .. b:log()):find("serves as", 1, true))
    mapper:kill()
    helper.wait(function() return names(a) == "a@127.0.0.1 b@127.0.0.1" end)
    assert.matches("serves as", a:log() .. b:log(), 1, true)
  end)
end)

describe("discovery", function()
  before_each(function()
    peers.open()
    local file = assert(io.open("/dev/urandom", "rb"))
    port = 31000 + string.unpack("<I2", file:read(2)) % 900
    file:close()
  end)
  after_each(function() peers.close() end)

  local function connected(peer, expected)
    helper.wait(function()
      return peer:eval [[local l = node.list() table.sort(l) return table.concat(l, " ")]]
        == expected
    end)
  end

  it("connects to a list of nodes, also when they come later", function()
    local a = luactor("a", ", discover = { nodes = { 'b@127.0.0.1' }, every = 0.05 }")
    luactor("b"):eval "return true"
    connected(a, "b@127.0.0.1")
  end)

  it("connects again when a node has gone and come back", function()
    local b = luactor "b"
    local a = luactor("a", ", discover = { nodes = { 'b@127.0.0.1' }, every = 0.05 }")
    connected(a, "b@127.0.0.1")
    b:kill()
    connected(a, "")
    luactor "b"
    connected(a, "b@127.0.0.1")
  end)

  it("asks the mappers of hosts", function()
    luactor "app1"
    luactor "app2"
    luactor "other"
    local a = luactor("a", ", discover = { hosts = { '127.0.0.1' }, match = '^app', every = 0.05 }")
    connected(a, "app1@127.0.0.1 app2@127.0.0.1")
  end)

  it("tries each address of a name", function()
    luactor "app"
    local a = luactor("a", ", discover = { dns = 'localhost', name = 'app', every = 0.05 }")
    connected(a, "app@127.0.0.1")
  end)

  it("asks a function instead of the system", function()
    luactor "app"
    local a = luactor("a", [[, discover = { dns = "x.internal", name = "app", every = 0.05,
      resolve = function(name) if name == "x.internal" then return { "127.0.0.1" } end end }]])
    connected(a, "app@127.0.0.1")
  end)

  it("says once what does not work, and goes on", function()
    luactor "b"
    local a = luactor("a", [[, discover = { dns = "x.internal", nodes = { "b@127.0.0.1" }, every = 0.02,
      resolve = function() error("no such name", 0) end }]])
    connected(a, "b@127.0.0.1")
    actor.sleep(100)
    local _, count = a:log():gsub("discover: x.internal: no such name", "")
    assert.equal(1, count)
  end)

  it("names what is wrong with its options", function()
    local node = require "luactor.node"
    local function refused(discover, why)
      local ok, text = pcall(node.start, { name = "a@127.0.0.1", cookie = "c", discover = discover })
      assert.is_false(ok)
      assert.matches(why, text, 1, true)
    end
    refused({}, "bad field 'discover' (one of nodes, hosts and dns expected)")
    refused({ colour = 1 }, "unknown field 'discover.colour'")
    refused({ nodes = "b@x" }, "bad field 'discover.nodes' (list of names expected, got 'b@x')")
    refused({ nodes = { "b" } }, "bad field 'discover.nodes' (list of names expected")
    refused({ hosts = { 1 } }, "bad field 'discover.hosts' (list of hosts expected")
    refused({ dns = "x", every = 0 }, "bad field 'discover.every' (seconds above 0 expected, got 0)")
    refused({ hosts = { "x" }, match = "[" }, "bad field 'discover.match' (pattern expected, got '[')")
    refused({ dns = "x", resolve = 1 }, "bad field 'discover.resolve' (function expected, got 1)")
    refused({ dns = "x", name = "a@b" }, "bad field 'discover.name' (name expected, got 'a@b')")
  end)
end)

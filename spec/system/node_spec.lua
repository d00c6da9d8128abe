-- Nodes: this process as one, another luactor as its peer, and Erlang.
--
-- A peer is an operating system process of its own, which writes a file when it
-- is ready and ends by itself after a while.
local actor = require "luactor"
local node = require "luactor.node"
local helper = require "spec.helper"
local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local setup, teardown = setup, teardown
local _ENV = _G

local V = actor.var
local ME, PEER <const> = "spec@127.0.0.1", "peer@127.0.0.1"
local COOKIE <const> = "the-cookie"

local function shell(command) return actor.blocking(os.execute, command) end

local function slurp(path)
  local file = io.open(path)
  local text = file and file:read "a"
  if file then file:close() end
  return text
end

-- What a peer runs: an echo server that also does what it is told.
local PROGRAM <const> = [[
local actor = require "luactor"
local node = require "luactor.node"
local V, on = actor.var, actor.on
local ready, options = arg[1], load("return " .. arg[2])()
node.start(options)
actor.register "echo"
local file = io.open(ready .. ".new", "w")
file:write(node.port(), " ", io.open "/proc/self/stat":read "n")
file:close()
os.rename(ready .. ".new", ready)
local serve = actor.receiver(
  on(actor.request(V.from, { "add", V.x, V.y }), function(from, x, y)
    actor.reply(from, x + y)
  end),
  on(actor.request(V.from, "crash"), function() actor.exit "boom" end),
  on(actor.request(V.from, "hang"), function() end),
  on(actor.request(V.from, "pid"), function(from) actor.reply(from, actor.self()) end),
  on(actor.request(V.from, "victim"), function(from)
    actor.reply(from, actor.spawn(function() actor.receive "never" end))
  end),
  on(actor.request(V.from, { "link", V.pid }), function(from, pid)
    actor.reply(from, actor.spawn(function()
      actor.link(pid)
      actor.receive "die"
      actor.exit "of_peer"
    end))
  end),
  on(actor.request(V.from, { "alive", V.pid }), function(from, pid)
    actor.reply(from, actor.is_alive(pid))
  end),
  on({ "echo", V.from "pid", V.x }, function(from, x)
    actor.send(from, { "echo", x })
  end))
local stop = actor.now() + 120000
while actor.now() < stop do serve(10000) end
]]

local peers = {}

-- Start a peer; returns its port and its number at the system.
local function start_peer(options, binary)
  local base = os.tmpname()
  os.remove(base)
  local file = assert(io.open(base .. ".lua", "w"))
  file:write(PROGRAM)
  file:close()
  shell(("%s %s.lua %s %q >%s.log 2>&1 &"):format(binary or helper.binary, base, base,
    options, base))
  helper.wait(function() return slurp(base) end)
  local port, pid = slurp(base):match "(%d+) (%d+)"
  peers[#peers + 1] = { pid = pid, base = base }
  return tonumber(port), pid
end

local function end_peers()
  for _, peer in ipairs(peers) do
    shell(("kill -9 %s 2>/dev/null; rm -f %s*"):format(peer.pid, peer.base))
  end
  peers = {}
end

local function peer_options(more)
  return ("{ name = %q, cookie = %q, listen = 0, epmd = false %s }"):format(PEER, COOKIE,
    more or "")
end

local function start_me(more)
  local opts = { name = ME, cookie = COOKIE, listen = 0, epmd = false }
  for k, v in pairs(more or {}) do opts[k] = v end
  node.start(opts)
end

local function meet()
  start_me()
  local port, pid = start_peer(peer_options())
  node.place(PEER, "127.0.0.1:" .. port)
  assert(node.connect(PEER))
  return pid
end

local function echo(x)
  actor.send({ "echo", PEER }, { "echo", actor.self(), x })
  return (helper.receive { "echo", V.x })
end

local function leave()
  node.stop()
  end_peers()
  actor.flush(actor._)
  actor.trap_exit(false)
end

describe("node.start", function()
  before_each(helper.mark)
  after_each(function() node.stop() helper.check() end)

  local function refused(opts, why)
    local ok, text = pcall(node.start, opts)
    assert.is_false(ok)
    assert.matches(why, text, 1, true)
    assert.equal("nonode@nohost", node.name())
  end

  it("names what is wrong", function()
    refused({}, "node.start: bad field 'name' (string expected, got nil)")
    refused({ name = "x", cookie = "c" }, "'x' is not a name of the form name@host")
    refused({ name = ME }, "a cookie is needed")
    refused({ name = ME, cookie = "c", colour = 1 }, "unknown field 'colour'")
    refused({ name = ME, cookie = 7 }, "bad field 'cookie' (string expected, got 7)")
    refused({ name = ME, cookie = "c", listen = 70000 }, "bad field 'listen'")
    refused({ name = ME, cookie = "c", tls = { cert = "/no" } }, "TLS needs cert, key and ca")
    refused({ name = ME, cookie = "c", tls = { cert = "/no", key = "/no", ca = "/no" } },
      "certificate /no: ")
    refused({ name = ME, cookie = "c", listen = 0, address = "0.0.0.0" }, "without TLS")
    refused({ name = ME, cookie_file = "/no/such" }, "cookie_file: /no/such")
  end)

  it("refuses a port that is taken", function()
    start_me()
    local port = node.port()
    node.stop()
    local other = start_peer(peer_options(", address = '127.0.0.1'"))
    refused({ name = ME, cookie = "c", listen = other, epmd = false }, "address already in use")
    end_peers()
    assert.is_number(port)
  end)

  it("makes this host a node, once", function()
    start_me()
    assert.equal(ME, node.name())
    assert.equal(ME, node.of(actor.self()))
    assert.same({}, node.list())
    local ok, why = pcall(start_me)
    assert.is_false(ok)
    assert.matches("this host is a node already", why, 1, true)
  end)
end)

describe("two nodes", function()
  local number
  setup(function() number = meet() end)
  teardown(leave)
  before_each(helper.mark)
  after_each(helper.check)

  it("know each other", function()
    assert.same({ PEER }, node.list())
    assert.equal("pong", node.ping(PEER))
    assert.equal("pang", node.ping "nobody@127.0.0.1")
    assert.is_true(tonumber(number) > 0)
  end)

  it("send by name and by pid", function()
    assert.equal("hi", echo "hi")
    local pid = actor.call({ "echo", PEER }, "pid")
    assert.equal(PEER, node.of(pid))
    pid:send { "echo", actor.self(), 1 }
    assert.equal(1, helper.receive { "echo", V.x })
    actor.post(pid, "echo", actor.self(), 2)
    assert.equal(2, helper.receive { "echo", V.x })
    assert.is_true(actor.try_send({ "echo", PEER }, { "echo", actor.self(), 3 }))
    assert.equal(3, helper.receive { "echo", V.x })
    actor.send_after(1, pid, { "echo", actor.self(), 4 })
    assert.equal(4, helper.receive { "echo", V.x })
  end)

  it("give pids that are equal wherever they come from", function()
    local pid = actor.call({ "echo", PEER }, "pid")
    assert.equal(pid, actor.call(pid, "pid"))
    assert.equal(pid, echo(pid))
    assert.equal(actor.self(), echo(actor.self()))
    assert.is_true(rawequal(pid, echo { k = pid }.k))
  end)

  it("keep values as they are", function()
    local shared = { 1 }
    local cycle = {}
    cycle.self = cycle
    local nan = echo(0 / 0)
    assert.is_true(nan ~= nan)
    assert.equal(1 / 0, echo(1 / 0))
    assert.equal("float", math.type(echo(1.0)))
    assert.equal(math.mininteger, echo(math.mininteger))
    assert.same({ 1, 2, x = { true, "s" } }, echo { 1, 2, x = { true, "s" } })
    local pair = echo { shared, shared }
    assert.is_true(rawequal(pair[1], pair[2]))
    local back = echo(cycle)
    assert.is_true(rawequal(back, back.self))
    assert.same({}, echo {})
    local long = ("x"):rep(3000000)
    assert.is_true(long == echo(long))
    assert.is_true(echo { a = long, b = long }.b == long)
    assert.equal(actor.atom "a", echo(actor.atom "a"))
    assert.equal(2, #echo(actor.tuple { 1, 2 }))
  end)

  it("keep the order of messages", function()
    for i = 1, 2000 do actor.post({ "echo", PEER }, "echo", actor.self(), i) end
    for i = 1, 2000 do assert.equal(i, helper.receive { "echo", V.x }) end
  end)

  it("say in send what cannot go", function()
    local ok, why = pcall(actor.send, { "echo", PEER }, { cfg = { f = function() end } })
    assert.is_false(ok)
    assert.matches("cannot send message.cfg.f (function)", why, 1, true)
    assert.equal("still", echo "still")
  end)

  it("call", function()
    assert.equal(5, actor.call({ "echo", PEER }, { "add", 2, 3 }))
    local pid = actor.call({ "echo", PEER }, "pid")
    assert.equal(5, actor.call(pid, { "add", 2, 3 }))
    assert.same({ false, "noproc" }, { actor.try_call({ "nobody", PEER }, "x") })
    assert.same({ false, "timeout" }, { actor.try_call(pid, "hang", 30) })
    assert.same({ false, "noconnection" }, { actor.try_call({ "x", "none@127.0.0.1" }, "x") })
  end)

  it("monitor", function()
    local victim = actor.call({ "echo", PEER }, "victim")
    local ref = actor.monitor(victim)
    actor.exit(victim, "gone")
    local who, reason = helper.receive { "DOWN", ref, "process", V.who, V.reason }
    assert.equal(victim, who)
    assert.equal("gone", reason)
    ref = actor.monitor(victim)
    assert.equal("noproc", (helper.receive { "DOWN", ref, "process", victim, V.reason }))
    ref = actor.monitor { "nobody", PEER }
    who, reason = helper.receive { "DOWN", ref, "process", V.who, V.reason }
    assert.same({ "nobody", PEER }, who)
    assert.equal("noproc", reason)
    ref = actor.monitor { "x", "none@127.0.0.1" }
    assert.equal("noconnection", (helper.receive { "DOWN", ref, V._, V._, V.reason }))
  end)

  it("stop to monitor", function()
    local victim = actor.call({ "echo", PEER }, "victim")
    local ref = actor.monitor(victim)
    assert.is_true(actor.demonitor(ref))
    actor.exit(victim, "kill")
    helper.wait(function() return not actor.call({ "echo", PEER }, { "alive", victim }) end)
    assert.equal(0, actor.flush { "DOWN", ref, V._, V._, V._ })
  end)

  it("link, from either side", function()
    actor.trap_exit(true)
    local victim = actor.call({ "echo", PEER }, "victim")
    actor.link(victim)
    assert.same({ victim }, actor.info(actor.self(), "links"))
    actor.exit(victim, "kill")
    assert.equal("killed", (helper.receive { "EXIT", victim, V.reason }))
    local linked = actor.call({ "echo", PEER }, { "link", actor.self() })
    helper.wait(function() return #actor.info(actor.self(), "links") == 1 end)
    linked:send "die"
    assert.equal("of_peer", (helper.receive { "EXIT", linked, V.reason }))
    actor.trap_exit(false)
  end)

  it("end the other side of a link", function()
    local pid = actor.call({ "echo", PEER }, "victim")
    local ref = actor.monitor(pid)
    local mine = actor.spawn(function()
      actor.link(pid)
      actor.exit "mine"
    end)
    assert.equal("mine", (helper.receive { "DOWN", ref, V._, V._, V.reason }))
    assert.is_false(actor.is_alive(mine))
  end)

  it("unlink", function()
    actor.trap_exit(true)
    local victim = actor.call({ "echo", PEER }, "victim")
    actor.link(victim)
    actor.unlink(victim)
    local ref = actor.monitor(victim)
    actor.exit(victim, "kill")
    helper.receive { "DOWN", ref, V._, V._, V._ }
    assert.equal(0, actor.flush { "EXIT", V._, V._ })
    actor.trap_exit(false)
  end)

  it("answer a call to a process that crashes", function()
    local pid = actor.call({ "echo", PEER }, "pid")
    local ok, why = actor.try_call(pid, "crash")
    assert.is_false(ok)
    assert.equal("boom", why)
  end)
end)

describe("node.monitor_nodes", function()
  after_each(leave)

  it("tells of all nodes, asked before this host is one", function()
    node.monitor_nodes(true)
    meet()
    assert.equal(PEER, (helper.receive { "nodeup", V.name }))
    node.disconnect(PEER)
    assert.equal(PEER, (helper.receive { "nodedown", V.name }))
    node.stop()
    meet()
    assert.equal(PEER, (helper.receive { "nodeup", V.name }))
    node.monitor_nodes(false)
    node.disconnect(PEER)
    helper.wait(function() return #node.list() == 0 end)
    assert.equal(0, actor.flush { "nodedown", V._ })
  end)
end)

describe("a peer that dies", function()
  after_each(leave)

  it("is noticed once by everybody", function()
    local number = meet()
    local pid = actor.call({ "echo", PEER }, "pid")
    actor.trap_exit(true)
    node.monitor(PEER, true)
    actor.link(pid)
    local ref = actor.monitor(pid)
    local me = actor.self()
    actor.spawn(function()
      me:send { "called", actor.try_call(pid, "hang", 20000) }
    end)
    actor.sleep(20)
    shell("kill -9 " .. number)
    assert.equal("noconnection", (helper.receive { "EXIT", pid, V.reason }))
    assert.equal("noconnection", (helper.receive { "DOWN", ref, V._, pid, V.reason }))
    assert.same({ "called", false, "noconnection" }, helper.receive { "called", V._, V._ }
      and { "called", false, "noconnection" })
    assert.equal(PEER, (helper.receive { "nodedown", V.name }))
    assert.same({}, node.list())
    assert.equal(0, actor.flush(actor._))
    assert.same({ false, "noconnection" }, { actor.try_call(pid, "x", 5000) })
  end)

  it("and comes back is another one", function()
    meet()
    local old = actor.call({ "echo", PEER }, "pid")
    end_peers()
    helper.wait(function() return #node.list() == 0 end)
    local port = start_peer(peer_options())
    node.place(PEER, "127.0.0.1:" .. port)
    assert.is_true(node.connect(PEER))
    assert.is_false(actor.call({ "echo", PEER }, "pid") == old)
    actor.send(old, "vanishes")
    local ref = actor.monitor(old)
    assert.equal("noproc", (helper.receive { "DOWN", ref, V._, V._, V.reason }))
  end)
end)

describe("a connection", function()
  after_each(leave)

  it("needs the same cookie", function()
    start_me { cookie = "another" }
    local port = start_peer(peer_options())
    node.place(PEER, "127.0.0.1:" .. port)
    assert.is_nil((node.connect(PEER)))
    assert.equal("pang", node.ping(PEER))
  end)

  it("is not made by a message that must not make one", function()
    meet()
    local to = { "echo", PEER }
    assert.is_true(actor.try_send(to, { "echo", actor.self(), 1 }, { connect = false }))
    assert.equal(1, helper.receive { "echo", V.x })
    node.disconnect(PEER)
    helper.wait(function() return #node.list() == 0 end)
    assert.same({ nil, "noconnection" }, { actor.try_send(to, "x", { connect = false }) })
    assert.is_true(actor.send(to, "x", { connect = false }))
    assert.same({}, node.list())
    assert.is_true(actor.try_send(to, "x", { connect = true }))
    helper.wait(function() return #node.list() == 1 end)
    local ok, why = pcall(actor.send, actor.self(), "x", { colour = 1 })
    assert.is_false(ok)
    assert.matches("unknown option 'colour'", why, 1, true)
  end)

  it("ends with disconnect, and with the node", function()
    meet()
    local pid = actor.call({ "echo", PEER }, "pid")
    local ref = actor.monitor(pid)
    assert.is_true(node.disconnect(PEER))
    assert.equal("noconnection", (helper.receive { "DOWN", ref, V._, V._, V.reason }))
    assert.is_true(node.connect(PEER))
    ref = actor.monitor(pid)
    node.stop()
    assert.equal("noconnection", (helper.receive { "DOWN", ref, V._, V._, V.reason }))
    assert.equal("nonode@nohost", node.name())
    assert.same({ false, "noconnection" }, { actor.try_call(pid, "x") })
  end)

  it("is made a hundred times", function()
    meet()
    for _ = 1, 100 do
      node.disconnect(PEER)
      helper.wait(function() return #node.list() == 0 end)
      assert.is_true(node.connect(PEER))
    end
    assert.equal("hi", echo "hi")
  end)

  it("may be under TLS", function()
    local _, has_openssl = shell "command -v openssl >/dev/null"
    if not has_openssl then return end
    local dir = os.tmpname()
    os.remove(dir)
    local function openssl(text) return shell(("cd %s && openssl %s 2>/dev/null"):format(dir, text)) end
    shell("mkdir " .. dir)
    openssl "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=ca"
    openssl "req -newkey rsa:2048 -nodes -keyout key.pem -out node.csr -subj /CN=node"
    local ext = assert(io.open(dir .. "/ext", "w"))
    ext:write "subjectAltName=IP:127.0.0.1,DNS:127.0.0.1\n"
    ext:close()
    openssl "x509 -req -in node.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out cert.pem"
    local tls = { cert = dir .. "/cert.pem", key = dir .. "/key.pem", ca = dir .. "/ca.pem" }
    start_me { tls = tls }
    local port = start_peer(peer_options((", tls = { cert = %q, key = %q, ca = %q }"):format(
      tls.cert, tls.key, tls.ca)))
    node.place(PEER, "127.0.0.1:" .. port)
    assert.is_true(node.connect(PEER))
    local long = ("x"):rep(2000000)
    assert.is_true(echo(long) == long)
    node.stop()
    start_me()
    node.place(PEER, "127.0.0.1:" .. port)
    assert.is_nil((node.connect(PEER)))
    shell("rm -rf " .. dir)
  end)
end)

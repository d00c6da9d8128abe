-- What a message from another node brings along, and where it waits.
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

local function meet()
  peer = peers.meet()
end

local leave = peers.leave

local function ask(call, ...)
  actor.spawn_opt({ node = PEER }, "far." .. call, ...)
end

describe("actor.sender()", function()
  setup(meet)
  teardown(leave)
  before_each(helper.mark)
  after_each(helper.check)

  it("is the pid on the other node", function()
    actor.register "reached"
    ask("hello", actor.self())
    local who = helper.receive { "hello", V.who, V._, V._ }
    assert.equal(who, actor.sender())
    who:send { "end", "normal" }
    ask("hello", actor.tuple and { "reached", ME })
    who = helper.receive { "hello", V.who, V._, V._ }
    assert.equal(who, actor.sender())
    who:send { "end", "normal" }
    actor.self():send "x"
    helper.receive()
    assert.equal(actor.self(), actor.sender())
    actor.unregister "reached"
  end)

  it("is known for large messages and by aliases", function()
    local alias = actor.alias()
    ask("hello", alias, ("x"):rep(100000))
    local who, args = helper.receive { "hello", V.who, V._, V.args }
    assert.equal(100000, #args[1])
    assert.equal(who, actor.sender())
    who:send { "end", "normal" }
    actor.unalias(alias)
  end)

  it("is the process that has ended", function()
    local pid, ref = actor.spawn_opt({ node = PEER, monitor = true }, "far.wait")
    actor.exit(pid, "kill")
    helper.receive { "DOWN", ref, V._, V._, V._ }
    assert.equal(pid, actor.sender())
  end)

  it("is nobody for what no process sent", function()
    ask("later", actor.self(), "late")
    assert.equal("late", helper.receive())
  end)

  it("is the caller in a server", function()
    local pid = actor.spawn_opt({ node = PEER }, "far.serve")
    assert.equal(tostring(actor.self()):match "%.(%d+)>",
      tostring(actor.call(pid, "sender")):match "%.(%d+)>")
    actor.exit(pid, "kill")
  end)
end)

describe("a message with priority", function()
  setup(meet)
  teardown(leave)
  before_each(helper.mark)
  after_each(helper.check)

  it("comes before the others", function()
    ask("urge", actor.self())
    helper.receive "done"
    assert.equal("urgent", helper.receive())
    assert.equal("ordinary", helper.receive())
  end)
end)

describe("an alias on another node", function()
  setup(meet)
  teardown(leave)
  before_each(helper.mark)
  after_each(helper.check)

  it("is reached until it is turned off", function()
    ask("aliased", actor.self())
    local alias, pid = helper.receive { "alias", V.alias, V.pid }
    assert.equal(PEER, node.of(alias))
    actor.send(alias, 1)
    assert.equal(1, helper.receive { "got", V.x })
    pid:send "off"
    helper.receive "is off"
    actor.send(alias, 2)
    pid:send "end"
    assert.equal("nothing", helper.receive())
  end)
end)

describe("a full mailbox", function()
  after_each(leave)

  -- A process here that takes nothing until it is told, then gives back all.
  local function receiver(overflow)
    local me = actor.self()
    local pid = actor.spawn_opt({ mailbox = { limit = 5, overflow = overflow } }, function()
      local control = actor.mailbox()
      actor.send(me, { "control", control })
      control:receive()
      local all = {}
      while true do
        local m = actor.receive()
        if m == "end" then break end
        all[#all + 1] = m
      end
      actor.send(me, { "all", all })
    end)
    return pid, helper.receive { "control", V.control }
  end

  it("lets messages wait, in order", function()
    meet()
    local pid, control = receiver "block"
    local other = actor.self()
    ask("count", pid, 500, other)
    helper.receive { "counted", 500 }
    ask("count", other, 3, other) -- nobody else is held up
    for i = 1, 3 do assert.equal(i, helper.receive(V.i "integer")) end
    helper.receive { "counted", 3 }
    assert.equal(5, actor.info(pid, "mailbox_length"))
    actor.send(control, "go")
    ask("say", pid, "end")
    local all = helper.receive { "all", V.all }
    assert.equal(500, #all)
    for i = 1, 500 do assert.equal(i, all[i]) end
  end)

  it("lets messages to an alias wait, too", function()
    meet()
    local me = actor.self()
    local pid = actor.spawn_opt({ mailbox = { limit = 1, overflow = "block" } }, function()
      local control = actor.mailbox()
      actor.send(me, { "alias", actor.alias(), control })
      control:receive()
      for _ = 1, 20 do actor.send(me, { "got", (actor.receive()) }) end
    end)
    local alias, control = helper.receive { "alias", V.alias, V.control }
    ask("count", alias, 20, actor.self())
    helper.receive { "counted", 20 }
    actor.send(control, "go")
    for i = 1, 20 do assert.equal(i, helper.receive { "got", V.i }) end
    helper.wait(function() return not actor.is_alive(pid) end)
  end)

  it("drops what is too much, and says so", function()
    peers.open { epmd = true }
    peer = peers.luactor { name = PEER }
    local port = peer:eval(([[node.start { name = %q, cookie = %q, listen = 0, epmd = false }
      return node.port()]]):format(PEER, COOKIE))
    node.start { name = ME, cookie = COOKIE, listen = 0, epmd = false, nodes = { [PEER] = "127.0.0.1:" .. port } }
    local pid = actor.spawn_opt({ node = PEER, mailbox = { limit = 5 } }, "far.stuck", actor.self(), 1029)
    helper.receive "stuck"
    for i = 1, 3000 do actor.send(pid, i) end
    helper.wait(function()
      return peer:log():find("node spec@127.0.0.1: message to <0.%d+> dropped: its mailbox is full, and as many")
    end)
    actor.exit(pid, "free")
    assert.equal(0, helper.receive { "left", V.n })
  end)

  it("refuses with a line in the log when it is to", function()
    meet()
    local pid = actor.spawn_opt({ node = PEER, mailbox = { limit = 1, overflow = "error" } }, "far.wait")
    for i = 1, 3 do actor.send(pid, i) end
    helper.wait(function()
      return peer:log():find("node spec@127.0.0.1: message to <0.%d+> dropped: its mailbox is full\n")
    end)
  end)

  it("forgets what waits with its process", function()
    meet()
    local pid = receiver "block"
    ask("count", pid, 50, actor.self())
    helper.receive { "counted", 50 }
    helper.kill(pid)
    ask("say", actor.self(), "still")
    assert.equal("still", helper.receive())
  end)

  it("gets what waits when the node is left", function()
    meet()
    local pid, control = receiver "block"
    ask("count", pid, 50, actor.self())
    helper.receive { "counted", 50 }
    node.stop()
    actor.send(control, "go")
    actor.send(pid, "end")
    assert.equal(50, #helper.receive { "all", V.all })
  end)
end)

describe("Erlang's messages", function()
  if not peers.has "erl" then
    pending "is not installed here"
    return
  end

  it("tell their sender", function()
    peers.open { epmd = true }
    local e = peers.erl { name = ERL, cookie = COOKIE, hidden = true }
    node.start { name = ME, cookie = COOKIE, listen = 0, epmd = false }
    e:eval("driver:register(\"spec\", %d)", node.port())
    actor.register "reached"
    e:tell(("{reached, '%s'} ! self(), receive X -> X end"):format(ME))
    local pid = helper.receive()
    assert.equal(pid, actor.sender())
    actor.unregister "reached"
    leave()
  end)
end)

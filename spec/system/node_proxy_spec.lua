-- What a host keeps for processes of other nodes is given back.
local actor = require "luactor"
local core = require "luactor._node"
local node = require "luactor.node"
local helper = require "spec.helper"
local peers = require "spec.peers"
local describe, it, assert = describe, it, assert
local setup, teardown = setup, teardown
local before_each, after_each = before_each, after_each
local _ENV = _G

local V = actor.var
local ME, PEER, NOBODY <const> = "spec@127.0.0.1", "peer@127.0.0.1", "none@127.0.0.1"

describe("what stands for a process of another node", function()
  setup(function()
    peers.open()
    node.start { name = ME, cookie = "c", listen = 0, epmd = false }
    local peer = peers.luactor { name = PEER }
    local port = peer:eval([[
      node.start{ name = %q, cookie = "c", listen = 0, epmd = false }
      actor.spawn_opt({ name = "echo" }, function()
        local actor = require "luactor"
        local V, on = actor.var, actor.on
        while true do actor.receive(on(actor.request(V.from, V.x), actor.reply)) end
      end)
      return node.port()]], PEER)
    node.place(PEER, "127.0.0.1:" .. port)
    assert(node.connect(PEER))
  end)
  teardown(function()
    node.stop()
    peers.close()
  end)
  before_each(helper.mark)
  after_each(helper.check)

  -- The first process holds the last one it has looked up.
  local function kept()
    pcall(actor.send, { "last", NOBODY }, coroutine.create(print))
    return core.kept()
  end

  it("is kept for the last one only when an argument cannot be encoded", function()
    local before = kept()
    local thread = coroutine.create(print)
    local function check(f)
      for i = 1, 50 do assert.is_false((pcall(f, i))) end
      assert.equal(before, kept())
    end
    check(function(i) actor.send({ "n" .. i, PEER }, thread) end)
    check(function(i) actor.send({ "n" .. i, PEER }, function() end) end)
    check(function(i) actor.post({ "n" .. i, PEER }, thread) end)
    check(function(i) actor.cast({ "n" .. i, PEER }, thread) end)
    check(function(i) actor.try_send({ "n" .. i, PEER }, thread) end)
    check(function(i) actor.call({ "n" .. i, PEER }, thread) end)
    check(function(i) actor.call({ "n" .. i, PEER }, function() end) end)
    check(function(i) actor.send_after(1, { "n" .. i, PEER }, thread) end)
    check(function(i) actor.send({ "n" .. i, PEER }) end)
  end)

  it("is given back after every use", function()
    local before = kept()
    for i = 1, 20 do
      local to = { "n" .. i, PEER }
      actor.send(to, i)
      actor.post(to, i)
      actor.try_send(to, i)
      actor.try_call(to, i)
      local ref = actor.monitor(to)
      helper.receive { "DOWN", ref, V._, V._, V._ }
      actor.demonitor(actor.monitor { "echo", PEER }, { flush = true })
      assert.equal(i, actor.call({ "echo", PEER }, i))
    end
    assert.equal(before, kept())
  end)

  it("is held by timers as long as they run", function()
    local before = kept()
    local timers = {}
    for i = 1, 20 do
      timers[i] = actor.send_after(60000, { "n" .. i, PEER }, i)
      timers[20 + i] = actor.send_every(60000, { "n" .. i, PEER }, i)
    end
    assert.equal(before + 20, kept())
    for _, timer in ipairs(timers) do actor.cancel(timer) end
    assert.equal(before, kept())
    for i = 1, 20 do actor.send_after(0, { "n" .. i, PEER }, i) end
    helper.wait(function() return kept() == before end)
  end)

  it("is given back when its process ends", function()
    local before = kept()
    for i = 1, 20 do
      helper.run(function()
        actor.send({ "n" .. i, PEER }, i)
        actor.send_after(60000, { "m" .. i, PEER }, i)
        actor.monitor { "echo", PEER }
      end)
    end
    helper.wait(function() return kept() == before end)
  end)

end)

describe("what stands for a process of another node", function()
  after_each(function() node.stop() end)

  it("leads nowhere in a later life of this node", function()
    node.start { name = ME, cookie = "c", epmd = false }
    local timer = actor.send_every(60000, { "x", NOBODY }, 1)
    node.stop()
    node.start { name = ME, cookie = "c", epmd = false }
    pcall(actor.send, { "y", NOBODY }, coroutine.create(print))
    actor.cancel(timer)
    assert.equal(1, core.kept())
  end)
end)

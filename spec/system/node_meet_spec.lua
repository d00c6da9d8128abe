-- Two nodes that connect to each other at the same moment, again and again: one
-- connection stands, and what was sent meanwhile arrives, once.
local actor = require "luactor"
local node = require "luactor.node"
local helper = require "spec.helper"
local peers = require "spec.peers"
local describe, it, assert = describe, it, assert
local setup, teardown = setup, teardown
local before_each, after_each = before_each, after_each
local _ENV = _G

local V = actor.var
local ROUNDS <const> = math.max(20, math.floor(300 * helper.scale))

-- Sends to the other when told, and tells us what comes.
local RUNNER <const> = [[
actor.spawn_opt({ name = "runner" }, function()
  local actor, node = require "luactor", require "luactor.node"
  local V, on = actor.var, actor.on
  while true do
    actor.receive(
      on({ "go", V.boss "pid", V.other, V.i }, function(boss, other, i)
        actor.send({ "runner", other }, { "hello", boss, i, 1 })
        actor.send({ "runner", other }, { "hello", boss, i, ("x"):rep(i % 3 * 50000) })
        actor.send({ "runner", other }, { "hello", boss, i, 3 })
      end),
      on({ "hello", V.boss "pid", V.i, V.x }, function(boss, i, x)
        actor.send(boss, { "got", node.name(), i, type(x) == "string" and 2 or x })
      end),
      on(actor.request(V.from, { "is_connected", V.other }), function(from, other)
        local n = 0
        for _, name in ipairs(node.list()) do n = n + (name == other and 1 or 0) end
        actor.reply(from, n)
      end),
      on(actor.request(V.from, { "disconnect", V.other }), function(from, other)
        actor.reply(from, node.disconnect(other))
      end))
  end
end)
]]

describe("two attempts at once", function()
  local names = { "a@127.0.0.1", "b@127.0.0.1" }
  setup(function()
    peers.open()
    node.start { name = "spec@127.0.0.1", cookie = "c", epmd = false }
    local list, ports = {}, {}
    for i, name in ipairs(names) do
      list[i] = peers.luactor { name = name }
      ports[i] = list[i]:eval("node.start{ name = %q, cookie = 'c', listen = 0, epmd = false } %s return node.port()",
        name, RUNNER)
    end
    for i, name in ipairs(names) do
      node.place(name, "127.0.0.1:" .. ports[i])
      assert(node.connect(name))
      list[3 - i]:eval("return node.place(%q, '127.0.0.1:%s')", name, ports[i])
    end
  end)
  teardown(function() node.stop() peers.close() end)
  before_each(helper.mark)
  after_each(helper.check)

  local function runner(i) return { "runner", names[i] } end

  local function are_connected(n)
    return actor.call(runner(1), { "is_connected", names[2] }) == n
      and actor.call(runner(2), { "is_connected", names[1] }) == n
  end

  it("give one connection, over which everything arrives once", function()
    local me = actor.self()
    for i = 1, ROUNDS do
      local first = 1 + i % 2
      actor.send(runner(first), { "go", me, names[3 - first], i })
      actor.send(runner(3 - first), { "go", me, names[first], i })
      for _, name in ipairs(names) do
        for x = 1, 3 do assert.equal(x, helper.receive { "got", name, i, V.x }) end
      end
      helper.wait(function() return are_connected(1) end)
      assert.equal(0, actor.flush { "got", V._, V._, V._ })
      actor.call(runner(1 + i // 2 % 2), { "disconnect", names[2 - i // 2 % 2] })
      helper.wait(function() return are_connected(0) end)
    end
  end)

  it("are made by everybody who wants to talk, and serve all of them", function()
    local me = actor.self()
    for i = 1, 20 do
      for j = 1, 2 do
        for k = 1, 10 do actor.send(runner(j), { "go", me, names[3 - j], i * 100 + k }) end
      end
      for _, name in ipairs(names) do
        for k = 1, 10 do
          for x = 1, 3 do assert.equal(x, helper.receive { "got", name, i * 100 + k, V.x }) end
        end
      end
      assert.is_true(are_connected(1))
      actor.call(runner(1), { "disconnect", names[2] })
      helper.wait(function() return are_connected(0) end)
    end
  end)
end)

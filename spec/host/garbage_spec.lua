-- What the message path leaves to the garbage collector: nothing, as long as
-- messages and captures are plain values.
local actor = require "luactor"
local helper = require "spec.helper"
local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G

local V, on, post = actor.var, actor.on, actor.post

-- Bytes that `n` rounds of `round` leave behind, after a few to warm up. Runs in
-- a fresh process.
local function garbage_of(n, round)
  collectgarbage "stop"
  for i = 1, 100 do round(i) end
  local before = collectgarbage "count"
  for i = 1, n do round(i) end
  local after = collectgarbage "count"
  collectgarbage "restart"
  return (after - before) * 1024
end

describe("garbage", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("is not made by posts of plain values", function()
    assert.equal(0, (helper.run(function()
      local me, ref = actor.self(), actor.ref()
      return garbage_of(10000, function(i)
        post(me, "n", i, -i, i + 0.5, true, me, ref)
      end)
    end)))
  end)

  it("is not made by sends of one plain value", function()
    assert.equal(0, (helper.run(function()
      local me = actor.self()
      return garbage_of(10000, function(i) actor.send(me, i) end)
    end)))
  end)

  it("is not made by receivers beyond the captures", function()
    assert.equal(0, (helper.run(function()
      local me, sum = actor.self(), 0
      local serve = actor.receiver(
        on("stop", function() return false end),
        on({ "n", V.i "integer", V.x "number", V.s, V.p }, "i > 0",
          function(i, x) sum = sum + i + x return true end))
      return garbage_of(10000, function(i)
        post(me, "n", i, i / 2, "text", me)
        assert(serve())
      end)
    end)))
  end)

  it("is not made by a receiver that waits", function()
    assert.equal(0, (helper.run(function()
      local me = actor.self()
      local echo = actor.spawn_link(function()
        local serve = actor.receiver(
          on({ "ping", V.i }, function(i) post(me, "pong", i) return true end))
        while serve() do end
      end)
      local take = actor.receiver(on({ "pong", V.i }, function(i) return i end))
      local bytes = garbage_of(10000, function(i)
        post(echo, "ping", i)
        assert(take(60000) == i)
      end)
      actor.unlink(echo)
      actor.exit(echo, "kill")
      return bytes
    end)))
  end)

  it("is not made by the process that answers", function()
    assert.equal(0, (helper.run(function()
      local me = actor.self()
      local echo = actor.spawn_link(function()
        local serve
        serve = actor.receiver(
          on({ "ping", V.i }, function(i) post(me, "pong", i) end),
          on({ "measure", V.n }, function(n)
            local _
            actor.send(me, garbage_of(n - 100, function() serve() end))
          end))
        while true do serve() end
      end)
      post(echo, "measure", 10000)
      for i = 1, 10000 do
        post(echo, "ping", i)
        actor.receive { "pong", i }
      end
      local bytes = actor.receive(V.bytes "number")
      actor.unlink(echo)
      actor.exit(echo, "kill")
      return bytes
    end)))
  end)

  it("is not made by a process that calls", function()
    assert.equal(0, (helper.run(function()
      local server = actor.spawn_link(function()
        local serve = actor.receiver(
          on(actor.request(V.from, V.n), function(from, n)
            actor.reply(from, n + 1)
          end))
        while true do serve() end
      end)
      local bytes = garbage_of(1000, function(i)
        assert(actor.call(server, i) == i + 1)
      end)
      actor.unlink(server)
      actor.exit(server, "kill")
      return bytes
    end)))
  end)

  it("is not made by a pattern written inline beyond its table", function()
    local used, table_alone = helper.run(function()
      local me = actor.self()
      local keep
      local table_alone = garbage_of(1000, function(i) keep = { "n", i, V.x } end)
      local used = garbage_of(1000, function(i)
        post(me, "n", i, i)
        keep = { "n", i, V.x }
        assert(actor.receive(keep) == i)
      end)
      return used, table_alone
    end)
    assert.equal(table_alone, used)
  end)
end)

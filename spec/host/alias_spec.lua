local actor = require "luactor"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- functions that travel take the real globals along
local V = actor.var

describe("actor.alias", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("leads to the process that made it", function()
    local a = actor.alias()
    actor.send(a, "by alias")
    assert.equal("by alias", (helper.receive "by alias"))
    actor.unalias(a)
  end)

  it("is a new address each time", function()
    local a, b = actor.alias(), actor.alias()
    actor.unalias(a)
    actor.unalias(b)
    assert.not_equal(a, b)
  end)

  it("is not the pid", function()
    local a = actor.alias()
    actor.unalias(a)
    assert.not_equal(actor.self(), a)
  end)

  it("travels in messages", function()
    local a = actor.alias()
    actor.spawn(function(to) actor.send(to, "from afar") end, a)
    assert.equal("from afar", (helper.receive "from afar"))
    actor.unalias(a)
  end)

  it("comes back equal from another process", function()
    local a = actor.alias()
    local back = helper.round_trip(a)
    actor.unalias(a)
    assert.is_true(rawequal(a, back))
  end)

  it("is a table key", function()
    local a = actor.alias()
    local t = { [a] = "found" }
    local back = helper.round_trip(a)
    actor.unalias(a)
    assert.equal("found", t[back])
  end)

  it("keeps the order with messages sent to the pid", function()
    local me, a = actor.self(), actor.alias()
    helper.run(function()
      for i = 1, 10 do actor.send(i % 2 == 0 and a or me, { "n", i }) end
    end)
    local order = {}
    for i = 1, 10 do order[i] = helper.receive { "n", V.i } end
    actor.unalias(a)
    assert.same({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, order)
  end)

  it("dies with its process, without an error for the sender", function()
    local a = helper.run(function() return actor.alias() end)
    assert.is_true(actor.send(a, "late"))
  end)
end)

describe("actor.unalias", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("makes later messages vanish", function()
    local a = actor.alias()
    actor.unalias(a)
    actor.send(a, "late")
    assert.same({ nil, "timeout" }, { actor.receive("late", 0) })
  end)

  it("does not make send raise", function()
    local a = actor.alias()
    actor.unalias(a)
    assert.is_true(actor.send(a, "late"))
  end)

  it("leaves messages that have arrived", function()
    local a = actor.alias()
    actor.send(a, "early")
    actor.unalias(a)
    assert.equal("early", (actor.receive("early", 0)))
  end)

  it("leaves other aliases on", function()
    local a, b = actor.alias(), actor.alias()
    actor.unalias(a)
    actor.send(b, "through b")
    assert.equal("through b", (actor.receive("through b", 0)))
    actor.unalias(b)
  end)
end)

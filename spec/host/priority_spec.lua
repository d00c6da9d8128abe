local actor = require "luactor"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- functions that travel take the real globals along
local V = actor.var

describe("a message of priority", function()
  before_each(helper.mark)
  after_each(helper.check)

  local URGENT = { priority = true }

  local function take_all()
    local got = {}
    while true do
      local x = actor.receive(V.x, 0)
      if x == nil then return got end
      got[#got + 1] = x
    end
  end

  it("comes before ordinary messages", function()
    actor.send(actor.self(), "a")
    actor.send(actor.self(), "b")
    actor.send(actor.self(), "urgent", URGENT)
    assert.same({ "urgent", "a", "b" }, take_all())
  end)

  it("comes behind earlier messages of priority", function()
    actor.send(actor.self(), "a")
    for i = 1, 3 do actor.send(actor.self(), i, URGENT) end
    assert.same({ 1, 2, 3, "a" }, take_all())
  end)

  it("comes first from another process too", function()
    local me = actor.self()
    helper.run(function()
      actor.send(me, "a")
      actor.send(me, "urgent", URGENT)
    end)
    assert.same({ "urgent", "a" }, take_all())
  end)

  it("comes before what an earlier wait left", function()
    actor.send(actor.self(), "a")
    actor.receive("nothing", 0)
    actor.send(actor.self(), "urgent", URGENT)
    assert.same({ "urgent", "a" }, take_all())
  end)

  it("is received selectively", function()
    actor.send(actor.self(), "a")
    actor.send(actor.self(), "urgent", URGENT)
    local first = actor.receive("a", 0)
    assert.same({ "a", "urgent" }, { first, take_all()[1] })
  end)

  it("is sent with a false option as an ordinary message", function()
    actor.send(actor.self(), "a")
    actor.send(actor.self(), "b", { priority = false })
    assert.same({ "a", "b" }, take_all())
  end)
end)

describe("a process of priority", function()
  before_each(helper.mark)
  after_each(helper.check)

  -- One scheduler, on which spinners of one priority run; a process of a
  -- higher one must be served all the same.
  it("runs although processes of lower priority loop", function()
    local out = helper.cli {
      options = { "--schedulers", 1 },
      seconds = 30,
      code = [[
        local actor = require "luactor"
        local me = actor.self()
        for _ = 1, 4 do
          actor.spawn_opt({ priority = "low" }, function() while true do end end)
        end
        actor.spawn_opt({ priority = "high" }, function()
          for i = 1, 20 do actor.sleep(1) end
          actor.send(me, "served")
        end)
        print((actor.receive "served"))
        actor.halt(0)
      ]],
    }
    assert.equal("served\n", out)
  end)

  it("does not starve for ever beside loops of normal priority", function()
    local out = helper.cli {
      options = { "--schedulers", 1 },
      seconds = 30,
      code = [[
        local actor = require "luactor"
        local me = actor.self()
        for _ = 1, 4 do actor.spawn(function() while true do end end) end
        actor.spawn_opt({ priority = "low" }, function() actor.send(me, "ran") end)
        print((actor.receive "ran"))
        actor.halt(0)
      ]],
    }
    assert.equal("ran\n", out)
  end)
end)

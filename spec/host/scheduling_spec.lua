-- Who runs when. In count mode with one scheduler this does not depend on the
-- machine, unless it is so busy that a thread is taken for one that hangs: the bounds
-- are wide.
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local _ENV = _G

local function counted(code)
  local out, err = helper.cli {
    options = { "--schedulers", 1, "--preempt", "count" },
    code = code,
  }
  assert.equal("", err)
  return out
end

describe("a pair that wakes each other beside endless loops", function()
  -- Prints how many slices of 4,000 instructions three loops had while the pair
  -- made 3,200 round trips.
  local code = [[
    local actor = require "luactor"
    local loops = {}
    for i = 1, 3 do
      loops[i] = actor.spawn(function() while true do end end)
    end
    local function used()
      local n = 0
      for i = 1, 3 do n = n + actor.info(loops[i], "reductions") end
      return n
    end
    local echo = actor.spawn(function(parent)
      while true do actor.send(parent, actor.receive()) end
    end, actor.self())
    local before = used()
    for i = 1, 3200 do
      actor.send(echo, i)
      actor.receive(i)
    end
    print((used() - before) // 4000)
    actor.halt(0)
  ]]

  it("has its turn after each slice of them", function()
    assert.is_true(tonumber(counted(code)) < 250)
  end)

  it("leaves them theirs", function()
    assert.is_true(tonumber(counted(code)) > 50)
  end)
end)

describe("a process that cannot keep up", function()
  it("slows down those who send to it", function()
    local out = counted [[
      local actor = require "luactor"
      local V = actor.var
      local N <const>, EACH <const> = 10, 20000
      local me, most = actor.self(), 0
      for _ = 1, N do
        actor.spawn(function()
          for i = 1, EACH do actor.post(me, "n", i) end
        end)
      end
      for i = 1, N * EACH do
        actor.receive { "n", V.i }
        if i % 1000 == 0 then
          most = math.max(most, actor.info(me, "mailbox_length"))
        end
      end
      print(most < N * EACH * 0.7, most)
      actor.halt(0)
    ]]
    assert.matches("^true", out)
  end)

  it("gets the messages of each sender in order", function()
    local out = counted [[
      local actor = require "luactor"
      local V = actor.var
      local me, last = actor.self(), { 0, 0, 0 }
      for k = 1, 3 do
        actor.spawn(function()
          for i = 1, 5000 do actor.post(me, k, i) end
        end)
      end
      local ordered = true
      for _ = 1, 15000 do
        local k, i = actor.receive { V.k, V.i }
        ordered = ordered and i == last[k] + 1
        last[k] = i
      end
      print(ordered)
      actor.halt(0)
    ]]
    assert.equal("true\n", out)
  end)
end)

local actor = require "luactor"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- functions that travel take the real globals along
local V = actor.var

describe("actor.send_after", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("delivers the message", function()
    actor.send_after(1, actor.self(), { "due", 1 })
    assert.equal(1, (helper.receive { "due", V.x }))
  end)

  it("does not deliver early", function()
    local t0 = actor.now()
    actor.send_after(20, actor.self(), "due")
    helper.receive "due"
    assert.is_true(actor.now() - t0 >= 20)
  end)

  it("takes a time of 0", function()
    actor.send_after(0, actor.self(), "due")
    assert.equal("due", (helper.receive "due"))
  end)

  it("takes a fraction of a millisecond", function()
    actor.send_after(0.25, actor.self(), "due")
    assert.equal("due", (helper.receive "due"))
  end)

  it("copies the message when it is called", function()
    local message = { "due", "before" }
    actor.send_after(5, actor.self(), message)
    message[2] = "after"
    assert.equal("before", (helper.receive { "due", V.x }))
  end)

  it("delivers in the order of due times", function()
    for _, ms in ipairs { 40, 10, 30, 20 } do
      actor.send_after(ms, actor.self(), { "due", ms })
    end
    local order = {}
    for i = 1, 4 do order[i] = helper.receive { "due", V.ms } end
    assert.same({ 10, 20, 30, 40 }, order)
  end)

  it("delivers to another process", function()
    local me = actor.self()
    local pid = actor.spawn(function()
      helper.receive "due"
      actor.send(me, "passed on")
    end)
    actor.send_after(1, pid, "due")
    assert.equal("passed on", (helper.receive "passed on"))
  end)

  it("delivers to whoever has the name then", function()
    local me = actor.self()
    actor.send_after(30, "timer_spec_name", "due")
    actor.spawn_opt({ name = "timer_spec_name" }, function()
      helper.receive "due"
      actor.send(me, "passed on")
    end)
    assert.equal("passed on", (helper.receive "passed on"))
  end)

  it("harms nobody when the destination is dead", function()
    actor.send_after(1, helper.dead_pid(), "due")
    actor.send_after(5, actor.self(), "after")
    assert.equal("after", (helper.receive "after"))
  end)

  it("works for many timers at once", function()
    local n = 2000
    for i = 1, n do
      actor.send_after((i * 7919) % 50, actor.self(), { "due", i })
    end
    local seen, count = {}, 0
    for _ = 1, n do
      local i = helper.receive { "due", V.i }
      if not seen[i] then count = count + 1 end
      seen[i] = true
    end
    assert.equal(n, count)
  end)

  it("wakes a waiting process while another loops", function()
    local spinner = actor.spawn(function() while true do end end)
    actor.send_after(5, actor.self(), "due")
    local got = helper.receive "due"
    helper.kill(spinner)
    assert.equal("due", got)
  end)

  it("raises for a time that is no number", function()
    assert.has_error(function() actor.send_after("soon", actor.self(), 1) end)
  end)

  it("raises for a message that cannot travel", function()
    assert.has_error(function()
      actor.send_after(1, actor.self(), coroutine.create(print))
    end)
  end)
end)

describe("actor.send_every", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("delivers again and again", function()
    local timer = actor.send_every(1, actor.self(), "tick")
    for _ = 1, 10 do helper.receive "tick" end
    actor.cancel(timer)
    actor.flush "tick"
  end)

  it("ends when it is cancelled", function()
    local timer = actor.send_every(1, actor.self(), "tick")
    helper.receive "tick"
    actor.cancel(timer)
    actor.flush "tick"
    assert.same({ nil, "timeout" }, { actor.receive("tick", 20) })
  end)
end)

describe("actor.cancel", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("returns the time left", function()
    local left = actor.cancel(actor.send_after(60000, actor.self(), "due"))
    assert.is_true(left > 0 and left <= 60000)
  end)

  it("returns false when the timer has fired", function()
    local timer = actor.send_after(0, actor.self(), "due")
    helper.receive "due"
    assert.is_false(actor.cancel(timer))
  end)

  it("returns false the second time", function()
    local timer = actor.send_after(60000, actor.self(), "due")
    actor.cancel(timer)
    assert.is_false(actor.cancel(timer))
  end)

  it("lets nothing through", function()
    local timer = actor.send_after(10, actor.self(), "due")
    actor.cancel(timer)
    assert.same({ nil, "timeout" }, { actor.receive("due", 30) })
  end)

  it("works from another process", function()
    local timer = actor.send_after(60000, actor.self(), "due")
    assert.equal("number", type((helper.run(actor.cancel, timer))))
  end)

  it("leaves other timers alone", function()
    local kept = { "kept" }
    for i = 1, 50 do
      local timer = actor.send_after(5, actor.self(), { "dropped", i })
      actor.send_after(5, actor.self(), kept)
      actor.cancel(timer)
    end
    for _ = 1, 50 do helper.receive { "kept" } end
    assert.equal(0, actor.flush { "dropped", V._ })
  end)
end)

describe("actor.sleep", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("does not return early", function()
    local t0 = actor.now()
    actor.sleep(20)
    assert.is_true(actor.now() - t0 >= 20)
  end)

  it("leaves messages in the mailbox", function()
    actor.send(actor.self(), "kept")
    actor.sleep(1)
    assert.equal("kept", (actor.receive("kept", 0)))
  end)

  it("works inside a coroutine", function()
    local co = coroutine.wrap(function()
      actor.sleep(1)
      return "slept"
    end)
    assert.equal("slept", co())
  end)

  it("lets others run meanwhile", function()
    local me = actor.self()
    local pid = actor.spawn(function()
      for i = 1, 5 do
        actor.sleep(1)
        actor.send(me, { "n", i })
      end
    end)
    for i = 1, 5 do helper.receive { "n", i } end
    helper.wait(function() return not actor.is_alive(pid) end)
  end)
end)

describe("actor.now", function()
  it("is a float", function()
    assert.equal("float", math.type(actor.now()))
  end)

  it("never goes back", function()
    local last, ok = actor.now(), true
    for _ = 1, 10000 do
      local now = actor.now()
      ok = ok and now >= last
      last = now
    end
    assert.is_true(ok)
  end)

  it("is one clock for all processes", function()
    local before = actor.now()
    local there = helper.run(actor.now)
    assert.is_true(before <= there and there <= actor.now())
  end)
end)

describe("actor.yield", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("returns", function()
    assert.equal("back", (helper.run(function()
      for _ = 1, 100 do actor.yield() end
      return "back"
    end)))
  end)

  it("lets another process of the same scheduler run", function()
    local out = helper.cli {
      options = { "--schedulers", 1 },
      code = [[
        local actor = require "luactor"
        local me, ran = actor.self(), nil
        actor.spawn(function() actor.send(me, "ran") end)
        repeat
          actor.yield()
          ran = actor.receive("ran", 0)
        until ran
        print(ran)
      ]],
      seconds = 20,
    }
    assert.equal("ran\n", out)
  end)
end)

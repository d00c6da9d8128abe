local actor = require "luactor"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- functions that travel take the real globals along
local V, on, after = actor.var, actor.on, actor.after

describe("actor.mailbox", function()
  local mb

  before_each(function()
    helper.mark()
    mb = actor.mailbox()
  end)

  after_each(function()
    mb:close()
    helper.check()
  end)

  it("receives what is sent to it", function()
    actor.send(mb, "x")
    assert.equal("x", (mb:receive("x", 0)))
  end)

  it("is an address of its own each time", function()
    local other = actor.mailbox()
    local equal = other == mb
    other:close()
    assert.is_false(equal)
  end)

  it("keeps its messages out of the process's own mailbox", function()
    actor.send(mb, "x")
    assert.same({ nil, "timeout" }, { actor.receive("x", 0) })
  end)

  it("does not see messages of the process's own mailbox", function()
    actor.send(actor.self(), "x")
    local got = { mb:receive("x", 0) }
    actor.receive("x", 0)
    assert.same({ nil, "timeout" }, got)
  end)

  it("keeps the order of its messages", function()
    for i = 1, 5 do actor.send(mb, i) end
    local got = {}
    for i = 1, 5 do got[i] = mb:receive(V.x, 0) end
    assert.same({ 1, 2, 3, 4, 5 }, got)
  end)

  it("receives selectively", function()
    for _, x in ipairs { "a", "b", "c" } do actor.send(mb, x) end
    local got = { (mb:receive("b", 0)) }
    got[2], got[3] = mb:receive(V.x, 0), mb:receive(V.x, 0)
    assert.same({ "b", "a", "c" }, got)
  end)

  it("returns captures", function()
    actor.send(mb, { "t", 1, 2 })
    assert.same({ 1, 2 }, { mb:receive({ "t", V.a, V.b }, 0) })
  end)

  it("returns the oldest message without a pattern", function()
    actor.send(mb, "first")
    actor.send(mb, "second")
    local first = mb:receive()
    mb:receive()
    assert.equal("first", first)
  end)

  it("returns nil and timeout", function()
    assert.same({ nil, "timeout" }, { mb:receive(V.x, 1) })
  end)

  it("wakes its process", function()
    actor.send_after(2, mb, "later")
    assert.equal("later", (mb:receive("later", helper.patience)))
  end)

  it("travels in messages", function()
    actor.spawn(function(to) actor.send(to, "from afar") end, mb)
    assert.equal("from afar", (mb:receive("from afar", helper.patience)))
  end)

  it("comes back equal from another process", function()
    assert.is_true(rawequal(mb, helper.round_trip(mb)))
  end)

  it("takes posts and try_send", function()
    actor.post(mb, "p", 1)
    actor.try_send(mb, "t")
    assert.same({ 1, "t" }, { (mb:receive({ "p", V.x }, 0)), (mb:receive("t", 0)) })
  end)

  it("takes nothing any more once it is closed", function()
    mb:close()
    assert.same({ true, nil, "noproc" },
      { actor.send(mb, "late"), actor.try_send(mb, "late") })
  end)

  it("may be closed twice", function()
    mb:close()
    assert.has_no_error(function() mb:close() end)
  end)

  it("dies with its process", function()
    local orphan = helper.run(function() return actor.mailbox() end)
    assert.is_true(actor.send(orphan, "late"))
  end)

  it("knows the sender", function()
    local pid = actor.spawn(function(to) actor.send(to, "x") end, mb)
    mb:receive("x", helper.patience)
    assert.equal(pid, actor.sender())
  end)

  describe("with a limit", function()
    local function limited(overflow)
      local box = actor.mailbox { limit = 2, overflow = overflow }
      local results = {}
      for i = 1, 4 do results[i] = pcall(actor.send, box, i) end
      local got = {}
      while true do
        local x = box:receive(V.x, 0)
        if x == nil then break end
        got[#got + 1] = x
      end
      box:close()
      return got, results
    end

    it("drops new messages with drop_new", function()
      assert.same({ 1, 2 }, (limited "drop_new"))
    end)

    it("drops old messages with drop_old", function()
      assert.same({ 3, 4 }, (limited "drop_old"))
    end)

    it("raises full with error", function()
      local _, results = limited "error"
      assert.same({ true, true, false, false }, results)
    end)

    it("does not limit the process's own mailbox", function()
      local box = actor.mailbox { limit = 1, overflow = "error" }
      for i = 1, 5 do actor.send(actor.self(), i) end
      box:close()
      assert.equal(5, actor.flush(V.x))
    end)

    it("suspends another sender with block", function()
      local box = actor.mailbox { limit = 2, overflow = "block" }
      actor.spawn(function()
        for i = 1, 50 do actor.send(box, i) end
      end)
      local got, expected = {}, {}
      for i = 1, 50 do
        got[i], expected[i] = box:receive(V.x, helper.patience), i
      end
      box:close()
      assert.same(expected, got)
    end)
  end)

  describe("in clauses", function()
    it("is received from beside the process's own mailbox", function()
      local serve = actor.receiver(
        mb:on(V.x, function(x) return "mailbox", x end),
        on(V.x, function(x) return "own", x end))
      actor.send(actor.self(), 1)
      actor.send(mb, 2)
      local got = { { serve() }, { serve() } }
      table.sort(got, function(a, b) return a[2] < b[2] end)
      assert.same({ { "own", 1 }, { "mailbox", 2 } }, got)
    end)

    it("comes first when it is named first", function()
      actor.send(actor.self(), "own")
      actor.send(mb, "further")
      local function name(x) return x end
      local first = actor.receive(mb:on(V.x, name), on(V.x, name))
      actor.flush(V._)
      mb:receive(V._, 0)
      assert.equal("further", first)
    end)

    it("comes second when it is named second", function()
      actor.send(mb, "further")
      actor.send(actor.self(), "own")
      local function name(x) return x end
      local first = actor.receive(on(V.x, name), mb:on(V.x, name))
      actor.flush(V._)
      mb:receive(V._, 0)
      assert.equal("own", first)
    end)

    it("wakes a wait on several mailboxes", function()
      local other = actor.mailbox()
      actor.send_after(2, other, "woke")
      local got = actor.receive(
        mb:on(V.x, function() return "wrong" end),
        other:on(V.x, function(x) return x end),
        after(helper.patience, function() return "late" end))
      other:close()
      assert.equal("woke", got)
    end)

    it("takes a guard", function()
      actor.send(mb, 1)
      actor.send(mb, 10)
      local got = actor.receive(mb:on(V.n, "n > 5", function(n) return n end),
        after(0, function() return "none" end))
      mb:receive(V._, 0)
      assert.equal(10, got)
    end)

    it("times out", function()
      assert.equal("late", (actor.receive(
        mb:on("never", function() end), after(1, function() return "late" end))))
    end)

    it("does not match what comes to the process's own mailbox", function()
      actor.send(actor.self(), "x")
      local got = actor.receive(mb:on("x", function() return "wrong" end),
        after(0, function() return "none" end))
      actor.receive("x", 0)
      assert.equal("none", got)
    end)
  end)
end)

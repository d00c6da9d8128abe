local actor = require "luactor"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- functions that travel take the real globals along
local V = actor.var

-- A process with a limited mailbox that takes nothing until its gate is
-- opened, and then tells what it finds. The gate is a further mailbox, so
-- that it does not fill the one under test.
local function gated(mailbox)
  local me = actor.self()
  local pid, mon = actor.spawn_opt({ mailbox = mailbox, monitor = true }, function()
    local gate = actor.mailbox()
    actor.send(me, { "gate", gate })
    local want = gate:receive()
    local got = {}
    while true do
      local x = actor.receive(V.x, want > #got and helper.patience or 0)
      if x == nil then break end
      got[#got + 1] = x
    end
    actor.send(me, { "got", actor.self(), got })
  end)
  local gate = helper.receive { "gate", V.gate }
  return {
    pid = pid, mon = mon,
    -- Let it take at least `want` messages and return all that it took.
    open = function(want)
      actor.send(gate, want or 0)
      local got = helper.receive { "got", pid, V.got "table" }
      helper.down(mon)
      return got
    end,
  }
end

local function send_numbers(pid, n)
  for i = 1, n do actor.send(pid, i) end
end

describe("a limited mailbox", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("takes as many messages as its limit", function()
    local box = gated { limit = 3, overflow = "error" }
    send_numbers(box.pid, 3)
    assert.same({ 1, 2, 3 }, box.open())
  end)

  it("makes try_send return full", function()
    local box = gated { limit = 2, overflow = "error" }
    send_numbers(box.pid, 2)
    local ok, why = actor.try_send(box.pid, 3)
    box.open()
    assert.same({ nil, "full" }, { ok, why })
  end)

  it("makes room when messages are taken", function()
    local me = actor.self()
    local pid = actor.spawn_opt({ mailbox = { limit = 1, overflow = "error" } },
      function()
        for _ = 1, 10 do actor.send(me, { "took", (actor.receive()) }) end
      end)
    for i = 1, 10 do
      actor.send(pid, i)
      helper.receive { "took", i }
    end
    helper.wait(function() return not actor.is_alive(pid) end)
  end)

  it("raises for an unknown policy", function()
    assert.has_error(function()
      helper.spawn_idle { mailbox = { limit = 1, overflow = "explode" } }
    end)
  end)

  describe("with drop_new", function()
    it("keeps the first messages", function()
      local box = gated { limit = 3, overflow = "drop_new" }
      send_numbers(box.pid, 6)
      assert.same({ 1, 2, 3 }, box.open())
    end)

    it("does not make send raise", function()
      local box = gated { limit = 1, overflow = "drop_new" }
      send_numbers(box.pid, 1)
      local sent = actor.send(box.pid, 2)
      box.open()
      assert.is_true(sent)
    end)
  end)

  describe("with drop_old", function()
    it("keeps the last messages", function()
      local box = gated { limit = 3, overflow = "drop_old" }
      send_numbers(box.pid, 6)
      assert.same({ 4, 5, 6 }, box.open())
    end)
  end)

  describe("with error", function()
    it("makes send raise full", function()
      local box = gated { limit = 2, overflow = "error" }
      send_numbers(box.pid, 2)
      local ok, e = pcall(actor.send, box.pid, 3)
      box.open()
      assert.same({ false, "full" }, { ok, tostring(e):match "full" })
    end)

    it("makes post raise full", function()
      local box = gated { limit = 1, overflow = "error" }
      send_numbers(box.pid, 1)
      local ok = pcall(actor.post, box.pid, "n", 3)
      box.open()
      assert.is_false(ok)
    end)

    it("does not queue what it refuses", function()
      local box = gated { limit = 2, overflow = "error" }
      send_numbers(box.pid, 2)
      pcall(actor.send, box.pid, 3)
      assert.same({ 1, 2 }, box.open())
    end)
  end)

  describe("with kill", function()
    it("ends its process with mailbox_limit", function()
      local box = gated { limit = 2, overflow = "kill" }
      send_numbers(box.pid, 3)
      assert.equal("mailbox_limit", (helper.down(box.mon)))
    end)

    it("ends a process that loops", function()
      local pid, mon = actor.spawn_opt(
        { mailbox = { limit = 2, overflow = "kill" }, monitor = true },
        function() while true do end end)
      send_numbers(pid, 3)
      assert.equal("mailbox_limit", (helper.down(mon)))
    end)

    it("cannot be trapped", function()
      local me = actor.self()
      local pid, mon = actor.spawn_opt({ trap_exit = true, monitor = true,
        mailbox = { limit = 2, overflow = "kill" } },
        function()
          actor.send(me, "ready")
          while true do pcall(actor.receive, "never") end
        end)
      helper.receive "ready"
      send_numbers(pid, 3)
      assert.equal("mailbox_limit", (helper.down(mon)))
    end)
  end)

  describe("with block", function()
    -- A process that sends 1..n to `pid` and then "sent" to the test.
    local function sender(pid, n)
      local me = actor.self()
      return actor.spawn_monitor(function()
        send_numbers(pid, n)
        actor.send(me, "sent")
      end)
    end

    local function wait_until_full(pid, limit)
      helper.wait(function()
        return actor.info(pid, "mailbox_length") == limit
      end)
    end

    it("suspends the sender while it is full", function()
      local box = gated { limit = 3, overflow = "block" }
      local _, mon = sender(box.pid, 10)
      wait_until_full(box.pid, 3)
      local early = actor.receive("sent", 20)
      box.open(10)
      helper.receive "sent"
      helper.down(mon)
      assert.is_nil(early)
    end)

    it("never holds more than its limit", function()
      local box = gated { limit = 3, overflow = "block" }
      local _, a = sender(box.pid, 10)
      local _, b = sender(box.pid, 10)
      wait_until_full(box.pid, 3)
      actor.receive("sent", 5)
      local length = actor.info(box.pid, "mailbox_length")
      box.open(20)
      helper.down(a)
      helper.down(b)
      actor.flush "sent"
      assert.equal(3, length)
    end)

    it("loses nothing and keeps the order", function()
      local box = gated { limit = 3, overflow = "block" }
      local _, mon = sender(box.pid, 100)
      local got = box.open(100)
      helper.receive "sent"
      helper.down(mon)
      local expected = {}
      for i = 1, 100 do expected[i] = i end
      assert.same(expected, got)
    end)

    it("lets a suspended sender be killed", function()
      local box = gated { limit = 1, overflow = "block" }
      local pid, mon = sender(box.pid, 10)
      wait_until_full(box.pid, 1)
      actor.exit(pid, "kill")
      local reason = helper.down(mon)
      box.open(1)
      assert.equal("killed", reason)
    end)

    it("lets a suspended sender go when the receiver dies", function()
      local box = gated { limit = 1, overflow = "block" }
      local _, mon = sender(box.pid, 10)
      wait_until_full(box.pid, 1)
      actor.exit(box.pid, "kill")
      helper.down(box.mon)
      helper.receive "sent"
      assert.equal("normal", (helper.down(mon)))
    end)

    it("suspends a sender inside a coroutine", function()
      local box = gated { limit = 1, overflow = "block" }
      local me = actor.self()
      local _, mon = actor.spawn_monitor(function()
        coroutine.wrap(send_numbers)(box.pid, 5)
        actor.send(me, "sent")
      end)
      local got = box.open(5)
      helper.receive "sent"
      helper.down(mon)
      assert.same({ 1, 2, 3, 4, 5 }, got)
    end)

    it("makes try_send return full at once", function()
      local box = gated { limit = 1, overflow = "block" }
      send_numbers(box.pid, 1)
      local ok, why = actor.try_send(box.pid, 2)
      box.open()
      assert.same({ nil, "full" }, { ok, why })
    end)

    it("refuses a message of the process to itself", function()
      local _, mon = actor.spawn_opt(
        { mailbox = { limit = 1, overflow = "block" }, monitor = true },
        function()
          actor.send(actor.self(), 1)
          local ok, e = pcall(actor.send, actor.self(), 2)
          actor.exit { ok, tostring(e):match "full" }
        end)
      assert.same({ false, "full" }, (helper.down(mon)))
    end)

    it("refuses a message from a __close that runs at the end", function()
      local me = actor.self()
      local box = gated { limit = 1, overflow = "block" }
      send_numbers(box.pid, 1)
      helper.reason(function()
        local c <close> = setmetatable({}, { __close = function()
          local ok, e = pcall(actor.send, box.pid, 2)
          actor.send(me, { "closed", ok, tostring(e):match "full" })
        end })
        actor.exit "x"
      end)
      local got = { helper.receive { "closed", V.ok, V.why } }
      box.open()
      assert.same({ false, "full" }, got)
    end)

    it("refuses a message from a timer", function()
      local box = gated { limit = 1, overflow = "block" }
      send_numbers(box.pid, 1)
      actor.send_after(0, box.pid, "from the timer")
      actor.send_after(1, actor.self(), "due")
      helper.receive "due"
      assert.same({ 1 }, box.open())
    end)
  end)
end)

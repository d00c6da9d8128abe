local actor = require "luactor"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- functions that travel take the real globals along

local V = actor.var
local MB = 1024 * 1024

-- The reason with which a process ends that runs `fn` and heads a group.
local function limited(limits, fn, ...)
  local _, mon = actor.spawn_opt({ limits = limits, monitor = true }, fn, ...)
  return (helper.down(mon))
end

local function wait_for_ever() actor.receive("never") end

describe("limits", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("end a group whose processes together use too much memory", function()
    local reason = limited({ memory = 8 * MB }, function()
      local function eat()
        local t = {}
        for i = 1, 50000 do t[i] = {} end
        actor.receive("never")
      end
      for _ = 1, 100 do actor.spawn(eat) end
      actor.receive("never")
    end)
    assert.same({ "group_limit", "memory", 8 * MB }, reason)
  end)

  it("end it for one string, too", function()
    local reason = limited({ memory = MB }, function()
      return ("x"):rep(100 * MB)
    end)
    assert.same({ "group_limit", "memory", MB }, reason)
  end)

  it("cannot be caught", function()
    local reason = limited({ memory = MB }, function()
      local t = {}
      while true do
        pcall(function() while true do t[#t + 1] = {} end end)
      end
    end)
    assert.same({ "group_limit", "memory", MB }, reason)
  end)

  it("leave the heap limit of a process its own reason", function()
    local _, mon = actor.spawn_opt(
      { limits = { memory = 8 * MB }, max_heap = MB, monitor = true },
      function()
        local t = {}
        while true do t[#t + 1] = {} end
      end)
    assert.same({ "heap_limit", MB }, (helper.down(mon)))
  end)

  it("give memory back that is not used any more", function()
    local reason = limited({ memory = 8 * MB }, function()
      for _ = 1, 50 do
        local pid, mon = actor.spawn_monitor(function()
          local s = ("x"):rep(2 * MB)
          return #s
        end)
        assert(actor.receive({ "DOWN", mon, "process", pid, V.why }) == "normal")
        local s = ("x"):rep(2 * MB)
        s = nil
        collectgarbage()
        actor.yield()
      end
    end)
    assert.equal("normal", reason)
  end)

  it("count messages that wait as memory", function()
    local reason = limited({ memory = MB }, function()
      local child = actor.spawn(wait_for_ever)
      while true do actor.send(child, ("x"):rep(1000)) end
    end)
    assert.same({ "group_limit", "memory", MB }, reason)
  end)

  it("end a group with too many waiting messages", function()
    local reason = limited({ messages = 1000 }, function()
      local children = {}
      for i = 1, 10 do children[i] = actor.spawn(wait_for_ever) end
      for i = 1, math.huge do actor.send(children[i % 10 + 1], i) end
    end)
    assert.same({ "group_limit", "messages", 1000 }, reason)
  end)

  it("make spawn raise past the processes", function()
    local reason = limited({ processes = 10 }, function()
      for _ = 1, 9 do actor.spawn(wait_for_ever) end
      local ok, why = pcall(actor.spawn, wait_for_ever)
      actor.exit({ ok, why })
    end)
    assert.same({ false, "system_limit" }, reason)
  end)

  it("let others spawn when a process has ended", function()
    local reason = limited({ processes = 2 }, function()
      for _ = 1, 100 do
        local _, mon = actor.spawn_monitor(function() end)
        actor.receive({ "DOWN", mon, "process", V._, V._ })
      end
    end)
    assert.equal("normal", reason)
  end)

  it("refuse a file too many, and take one that was closed", function()
    local name = os.tmpname()
    local reason = limited({ handles = 3 }, function()
      local open = {}
      for i = 1, 3 do open[i] = assert(io.open(name)) end
      local none, why, code = io.open(name)
      local ok, why2 = pcall(io.lines, name)
      open[1]:close()
      local again = io.open(name)
      actor.exit({ none == nil, why, code, ok, why2, again ~= nil,
        actor.info(actor.self(), "group").handles })
    end)
    os.remove(name)
    assert.same({ true, "too many open handles", 24, false,
      "too many open handles", true, 3 }, reason)
  end)

  it("count a file until the collector has closed it", function()
    local name = os.tmpname()
    local reason = limited({ handles = 3 }, function()
      for _ = 1, 100 do
        if not io.open(name) then
          collectgarbage()
          assert(io.open(name))
        end
      end
    end)
    os.remove(name)
    assert.equal("normal", reason)
  end)

  it("count threads as handles", function()
    local reason = limited({ handles = 1 }, function()
      local one = actor.spawn_opt({ thread = "own" }, wait_for_ever)
      local ok, why = pcall(actor.spawn_opt, { thread = "own" }, print)
      assert(actor.is_alive(one))
      actor.exit({ ok, why })
    end)
    assert.same({ false, "system_limit" }, reason)
  end)

  for _, case in ipairs {
    { "timers", function()
      while true do actor.send_after(1e9, actor.self(), "never") end
    end },
    { "aliases", function() while true do actor.alias() end end },
    { "monitors", function()
      local me = actor.self()
      while true do actor.monitor(me) end
    end },
    { "mailboxes", function() while true do actor.mailbox() end end },
    { "a label", function() actor.label(("x"):rep(700000)) end },
  } do
    it("count " .. case[1] .. ", which are no Lua memory", function()
      assert.same({ "group_limit", "memory", MB },
        limited({ memory = MB }, case[2]))
      local _, mon = actor.spawn_opt({ max_heap = MB, monitor = true }, case[2])
      assert.same({ "heap_limit", MB }, (helper.down(mon)))
    end)
  end

  it("count what a process is given that has not begun", function()
    local reason = limited({ memory = 8 * MB }, function()
      local text, n = ("x"):rep(500000), 0
      while pcall(actor.spawn_opt, { priority = "low" },
        function(_) actor.receive("never") end, text) do
        n = n + 1
      end
      actor.exit(n)
    end)
    assert.is_true(reason > 3 and reason < 20, reason)
  end)

  it("forget timers that have fired or were cancelled", function()
    local reason = limited({ memory = MB }, function()
      for i = 1, 20000 do
        actor.cancel(actor.send_after(1e9, actor.self(), i))
      end
      for i = 1, 20000 do
        actor.send_after(0, actor.self(), i)
        assert(actor.receive(V.n "integer") == i)
      end
    end)
    assert.equal("normal", reason)
  end)

  it("hold for children of children, and for groups within", function()
    local reason = limited({ processes = 10 }, function()
      local me = actor.self()
      actor.spawn_opt({ limits = { processes = 1000 } }, function()
        local n = 0
        while pcall(actor.spawn, wait_for_ever) do n = n + 1 end
        actor.send(me, n)
        actor.receive("never")
      end)
      actor.exit(actor.receive(V.n))
    end)
    assert.equal(8, reason)
  end)

  it("end a group within alone", function()
    local reason = limited({ memory = 64 * MB }, function()
      local _, mon = actor.spawn_opt(
        { limits = { memory = MB }, monitor = true }, function()
          return ("x"):rep(10 * MB)
        end)
      actor.exit(actor.receive({ "DOWN", mon, "process", V._, V.why }))
    end)
    assert.same({ "group_limit", "memory", MB }, reason)
  end)

  it("end a group with the process that heads it", function()
    local me = actor.self()
    local head = actor.spawn_opt({ limits = { processes = 10 } }, function()
      actor.spawn(function()
        actor.trap_exit(true)
        actor.spawn(function() while true do end end)
        actor.send(me, actor.self())
        while true do pcall(actor.receive) end
      end)
      actor.receive("never")
    end)
    local mon = actor.monitor(helper.receive(V.child "pid"))
    actor.exit(head, "kill")
    assert.equal("group_end", (helper.down(mon)))
  end)

  it("tell what is used", function()
    local pid = actor.spawn_opt(
      { limits = { memory = 8 * MB, cpu = 0.5 } }, function()
        actor.spawn(wait_for_ever)
        actor.receive("never")
      end)
    local g = helper.wait(function()
      local info = actor.info(pid, "group")
      return info.processes == 2 and info
    end)
    assert.equal(8 * MB, g.memory_limit)
    assert.is_nil(g.processes_limit)
    assert.equal(0.5, g.cpu_limit)
    assert.is_true(g.memory > 2 * 2048 and g.memory < 100000)
    assert.equal("integer", math.type(g.cpu_ms))
    assert.is_nil(actor.info(actor.self(), "group"))
    actor.exit(pid, "kill")
  end)

  it("throttle a group, and let it end at once", function()
    local pid = actor.spawn_opt({ limits = { cpu = 0.01 } }, function()
      for _ = 1, 20 do actor.spawn(function() while true do end end) end
      while true do end
    end)
    -- A hundredth of a scheduler: all of them together, over what time ever.
    local from = actor.now()
    helper.wait(function()
      local g = actor.info(pid, "group")
      return g.cpu_ms >= 10 and g.processes == 21
    end)
    assert.is_true(actor.info(pid, "group").cpu_ms <=
      0.01 * (actor.now() - from) + 200)
    local mon = actor.monitor(pid)
    actor.exit(pid, "kill")
    assert.equal("killed", (helper.down(mon)))
  end)

  it("let a throttled group go on", function()
    local me = actor.self()
    local pid = actor.spawn_opt({ limits = { cpu = 0.2 } }, function()
      for i = 1, 5 do
        for _ = 1, 200000 do end
        actor.send(me, { "lap", i })
      end
    end)
    for i = 1, 5 do helper.receive({ "lap", i }) end
    helper.wait(function() return not actor.is_alive(pid) end)
  end)

  it("deliver messages to a throttled process, and count them", function()
    local pid, mon = actor.spawn_opt(
      { limits = { cpu = 0.001, messages = 5000 }, monitor = true },
      function() while true do end end)
    repeat
      for i = 1, 100 do actor.send(pid, i) end
      local why = actor.receive({ "DOWN", mon, "process", pid, V.why }, 0)
    until why
    assert.is_false(actor.is_alive(pid))
  end)

  it("are checked", function()
    for _, case in ipairs {
      { { limits = 1 }, "bad option 'limits' (table expected, got number)" },
      { { limits = { memory = 0 } },
        "bad option 'limits.memory' (positive integer expected, got 0)" },
      { { limits = { threads = 1 } }, "unknown option 'limits.threads'" },
      { { limits = { cpu = 0 } }, "bad option 'limits.cpu' (share of a " ..
        "scheduler, 0.001 or more, expected, got 0)" },
    } do
      local ok, why = pcall(actor.spawn_opt, case[1], print)
      assert.is_false(ok)
      assert.is_truthy(why:find(case[2], 1, true), why)
    end
  end)

  it("refuse to nest without end", function()
    local function nest(to, depth)
      local ok, why = pcall(actor.spawn_opt,
        { limits = { memory = 8 * MB }, link = true }, nest, to, depth + 1)
      if not ok then actor.send(to, { depth, why }) end
      actor.receive("never")
    end
    local top = actor.spawn_opt({ limits = { processes = 100 } },
      nest, actor.self(), 1)
    local depth, why = helper.receive({ V.depth "integer", V.why })
    assert.equal(16, depth)
    assert.equal("system_limit", why)
    actor.exit(top, "kill")
  end)
end)

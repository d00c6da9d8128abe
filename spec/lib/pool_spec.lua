local actor = require "luactor"
local gen_server = require "luactor.gen_server"
local pool = require "luactor.pool"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- functions that travel take the real globals along
local on, V = actor.on, actor.var

-- What the members of most pools here do.
local function worker(report)
  local serve = actor.receiver(
    on({ "job", V.n }, function(n) actor.post(report, "done", n, actor.self()) end),
    on({ "hold", V.n }, function(n)
      actor.post(report, "held", n, actor.self())
      actor.receive "go"
      actor.post(report, "done", n, actor.self())
    end),
    on({ "crash", V.n }, function(n)
      actor.post(report, "crashing", n)
      actor.exit "crashed on purpose"
    end),
    on("return", function() return "return" end),
    on(actor.request(V.from, { "add", V.a, V.b }), function(from, a, b) actor.reply(from, a + b) end),
    on(actor.request(V._, "crash"), function() actor.exit "crashed in a call" end),
    on({ "$gen_cast", V.what }, function(what) actor.post(report, "cast", what) end))
  while serve() ~= "return" do end
end

local function start(size, more)
  local spec = { size = size, start = { worker, actor.self() } }
  for k, v in pairs(more or {}) do spec[k] = v end
  return pool.start_link(spec)
end

local function fails(text, f, ...)
  local ok, e = pcall(f, ...)
  assert.is_false(ok)
  assert.truthy(tostring(e):find(text, 1, true), tostring(e))
end

local function idle(p, n)
  helper.wait(function()
    local i = pool.info(p)
    return i.members == n and i.idle == n and i.queue == 0
  end)
end

-- The pool's process ends and is unlinked.
local function stop(p)
  p:stop()
end


describe("pool", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("gives one address for many members", function()
    local p = start(3)
    assert.equal("userdata", type(p))
    assert.truthy(tostring(p):find "^#pool<0%.%d+>$")
    for n = 1, 50 do actor.send(p, { "job", n }) end
    local seen = {}
    for _ = 1, 50 do
      local n = helper.receive { "done", V.n, V._ }
      assert.is_nil(seen[n])
      seen[n] = true
    end
    actor.post(p, "job", 51)
    helper.receive { "done", 51, V._ }
    assert.is_true(actor.try_send(p, { "job", 52 }))
    helper.receive { "done", 52, V._ }
    p:send { "job", 53 }
    helper.receive { "done", 53, V._ }
    actor.send_after(0, p, { "job", 54 })
    helper.receive { "done", 54, V._ }
    stop(p)
  end)

  it("answers calls and takes casts", function()
    local p = start(2)
    assert.equal(3, actor.call(p, { "add", 1, 2 }))
    actor.cast(p, "x")
    helper.receive { "cast", "x" }
    stop(p)
  end)

  it("travels in messages and is matched as a pool", function()
    local p = start(1)
    actor.spawn(function(to)
      local got = actor.receive { "use", V.p "pool" }
      actor.send(got, { "job", "travelled" })
      actor.send(to, { "same", got })
    end, actor.self()):send { "use", p }
    assert.equal(p, helper.receive { "same", V.p })
    helper.receive { "done", "travelled", V._ }
    stop(p)
  end)

  it("leaves work in the queue while no member is free, and no longer", function()
    local p = start(2)
    actor.send(p, { "hold", 1 })
    actor.send(p, { "hold", 2 })
    local _, a = helper.receive { "held", V.n, V.pid }
    local _, b = helper.receive { "held", V.n, V.pid }
    assert.not_equal(a, b)
    for n = 3, 6 do actor.send(p, { "job", n }) end
    assert.equal(4, p:info().queue)
    assert.equal(2, p:info().busy)
    actor.send(a, "go") -- one member does it all
    helper.receive { "done", V._, a }
    for n = 3, 6 do assert.equal(a, select(2, helper.receive { "done", V.n:of(n), V.pid })) end
    actor.send(b, "go")
    helper.receive { "done", V._, b }
    idle(p, 2)
    assert.equal(6, p:info().taken)
    stop(p)
  end)

  it("starts no job later than it must", function()
    local total = math.max(40, math.floor(1000 * helper.scale))
    local p = pool.start_link { size = 4, start = { function(report)
      local serve = actor.receiver(on({ "job", V.n "integer" }, function(n)
        for _ = 1, n % 7 * 300 do local _ = n * n end
        if n % 11 == 0 then actor.yield() end
        actor.post(report, n, actor.self())
      end))
      while true do serve() end
    end, actor.self() } }
    for n = 1, total do actor.post(p, "job", n) end
    local sum, by = 0, {}
    for _ = 1, total do
      local n, pid = helper.receive { V.n "integer", V.pid "pid" }
      sum = sum + n
      by[pid] = (by[pid] or 0) + 1
      local i = p:info()
      -- Whoever is idle while there is work is on its way to it.
      assert.truthy(i.queue + i.taken <= total)
    end
    assert.equal(total * (total + 1) // 2, sum)
    idle(p, 4)
    assert.equal(total, p:info().taken)
    stop(p)
  end)

  it("gives nothing to a member that waits for something else", function()
    local p = pool.start_link { size = 1, start = { function(report)
      local server = actor.parent()
      while true do
        local n = actor.receive { "job", V.n }
        actor.post(report, "asking", n, actor.self())
        local answer = actor.receive { "answer", V.x }
        actor.post(report, "answered", n, answer, server ~= nil)
      end
    end, actor.self() } }
    actor.post(p, "job", 1)
    local _, member = helper.receive { "asking", V.n, V.pid }
    actor.post(p, "job", 2)
    actor.post(p, "job", 3)
    assert.equal(2, p:info().queue)
    actor.post(member, "answer", "x")
    helper.receive { "answered", 1, "x", true }
    helper.receive { "asking", 2, V._ }
    assert.equal(1, p:info().queue)
    actor.post(member, "answer", "y")
    helper.receive { "answered", 2, "y", true }
    helper.receive { "asking", 3, V._ }
    stop(p)
  end)

  it("wakes another member when the first does not want the message", function()
    local p = pool.start_link { size = 4, start = { function(report)
      local what = actor.receive(on({ "be", V.what }, function(w) return w end))
      actor.post(report, "is", what)
      while true do
        local n = actor.receive { what, V.n }
        actor.post(report, "took", what, n)
      end
    end, actor.self() } }
    for _, what in ipairs { "a", "b", "c", "d" } do actor.post(p, "be", what) end
    for _ = 1, 4 do helper.receive { "is", V._ } end
    for round = 1, 20 do
      for _, what in ipairs { "d", "a", "c", "b" } do actor.post(p, what, round) end
      for _, what in ipairs { "a", "b", "c", "d" } do helper.receive { "took", what, round } end
    end
    stop(p)
  end)

  it("runs guard functions without losing or doubling a message", function()
    local p = pool.start_link { size = 3, start = { function(report)
      local serve = actor.receiver(on({ "n", V.n "integer" }, function(n)
        local sum = 0
        for i = 1, n * 100 do sum = sum + i end
        return sum > 0 and n % 2 == 0
      end,
        function(n) actor.post(report, "even", n) end))
      while true do serve() end
    end, actor.self() } }
    for n = 1, 40 do actor.post(p, "n", n) end
    local sum = 0
    for _ = 1, 20 do sum = sum + helper.receive { "even", V.n } end
    assert.equal(420, sum)
    helper.wait(function() return p:info().queue == 20 and p:info().idle == 3 end)
    stop(p)
  end)

  it("loses the running message of a member that crashes, and no other", function()
    local p = start(2)
    for n = 1, 5 do actor.post(p, "job", n) end
    actor.post(p, "crash", 0)
    for n = 6, 10 do actor.post(p, "job", n) end
    local sum = 0
    for _ = 1, 10 do sum = sum + helper.receive { "done", V.n, V._ } end
    assert.equal(55, sum)
    idle(p, 2)
    assert.equal(1, p:info().crashed)
    helper.receive { "crashing", 0 }
    local ok, reason = actor.try_call(p, "crash")
    assert.is_false(ok)
    assert.equal("crashed in a call", reason)
    assert.equal(5, actor.call(p, { "add", 2, 3 }))
    stop(p)
  end)

  it("replaces a member that ends, and members that are killed", function()
    local p = start(2, { intensity = 1 })
    for n = 1, 10 do -- more than the limit, but there was work for each
      actor.send(p, "return")
      helper.wait(function() return p:info().taken == n end)
    end
    idle(p, 2)
    actor.post(p, "hold", 1)
    local _, pid = helper.receive { "held", V.n, V.pid }
    actor.exit(pid, "kill")
    idle(p, 2)
    actor.post(p, "job", 1)
    helper.receive { "done", 1, V._ }
    stop(p)
  end)

  it("ends when members crash too often", function()
    actor.trap_exit(true)
    local p = start(2, { intensity = 1, period = 60000 })
    local ref = actor.monitor(p)
    actor.post(p, "crash", 1)
    actor.post(p, "crash", 2)
    local _, who, reason = nil, actor.receive({ "DOWN", ref, "process", V.who, V.reason }, helper.patience)
    assert.equal(p, who)
    assert.equal("shutdown", reason)
    helper.receive { "EXIT", V._, "shutdown" }
    actor.trap_exit(false)
    actor.flush { "crashing", V._ }
    assert.is_nil(p:info())
    fails("no such", actor.register, "x", p)
  end)

  it("grows and shrinks while its members are busy", function()
    local p = start(3)
    for n = 1, 3 do actor.post(p, "hold", n) end
    local held = {}
    for n = 1, 3 do
      local m, pid = helper.receive { "held", V.m, V.pid }
      held[n] = { m, pid }
    end
    assert.is_true(p:resize(1))
    assert.equal(3, p:info().members) -- they work
    assert.equal(1, p:info().size)
    for n = 1, 3 do
      local ref = actor.monitor(held[n][2])
      actor.send(held[n][2], "go")
      helper.receive { "done", held[n][1], V._ }
      if n < 3 then assert.equal("shutdown", (helper.down(ref))) else actor.demonitor(ref) end
    end
    idle(p, 1)
    assert.is_true(pool.resize(p, 5))
    idle(p, 5)
    p:resize(2) -- all are idle
    idle(p, 2)
    p:resize(0)
    idle(p, 0)
    actor.post(p, "job", 1)
    assert.equal(1, p:info().queue)
    p:resize(1)
    helper.receive { "done", 1, V._ }
    stop(p)
  end)

  it("keeps its limit by each policy", function()
    local function full(overflow)
      local p = start(1, { mailbox = { limit = 2, overflow = overflow } })
      actor.post(p, "hold", 0)
      local _, member = helper.receive { "held", V.n, V.pid }
      actor.post(p, "job", 1)
      actor.post(p, "job", 2)
      return p, member
    end
    local function numbers(member, n)
      actor.send(member, "go")
      helper.receive { "done", 0, V._ }
      local list = {}
      for i = 1, n do list[i] = helper.receive { "done", V.n, V._ } end
      return list
    end
    local p, member = full "error"
    fails("full", actor.send, p, { "job", 3 })
    assert.same({ nil, "full" }, { actor.try_send(p, { "job", 3 }) })
    local ok, reason = actor.try_call(p, { "add", 1, 1 })
    assert.same({ false, "full" }, { ok, reason })
    assert.same({ 1, 2 }, numbers(member, 2))
    stop(p)
    p, member = full "drop_new"
    actor.post(p, "job", 3)
    assert.same({ 1, 2 }, numbers(member, 2))
    stop(p)
    p, member = full "drop_old"
    actor.post(p, "job", 3)
    assert.same({ 2, 3 }, numbers(member, 2))
    stop(p)
    p, member = full "block"
    local sender = actor.spawn_link(function(to, report)
      actor.post(to, "job", 3)
      actor.post(report, "sent")
      actor.post(report, "sum", actor.call(to, { "add", 1, 2 }))
    end, p, actor.self())
    helper.wait(function() return actor.info(sender, "status") == "blocked" end)
    assert.same({ 1, 2, 3 }, numbers(member, 3))
    helper.receive { "sent" }
    helper.receive { "sum", 3 }
    stop(p)
    actor.trap_exit(true)
    p = full "kill"
    actor.post(p, "job", 3)
    helper.receive { "EXIT", V._, "mailbox_limit" }
    actor.trap_exit(false)
    helper.wait(function() return p:info() == nil end)
    actor.flush { "done", V._, V._ }
  end)

  it("lets all blocked senders in, in turn", function()
    local p = start(2, { mailbox = { limit = 1, overflow = "block" } })
    for i = 1, 10 do
      actor.spawn_link(function(to)
        for n = 1, 10 do actor.post(to, "job", i * 100 + n) end
      end, p)
    end
    local sum = 0
    for _ = 1, 100 do sum = sum + helper.receive { "done", V.n, V._ } end
    assert.equal(55 * 10 * 100 // 1 + 55 * 10, sum)
    stop(p)
  end)

  it("takes messages of priority first", function()
    local p = start(1)
    actor.post(p, "hold", 0)
    local _, member = helper.receive { "held", V.n, V.pid }
    for n = 1, 3 do actor.post(p, "job", n) end
    actor.send(p, { "job", "first" }, { priority = true })
    actor.send(member, "go")
    helper.receive { "done", 0, V._ }
    assert.equal("first", (actor.receive({ "done", V.n, V._ }, helper.patience)))
    for n = 1, 3 do assert.equal(n, (actor.receive({ "done", V.n, V._ }, helper.patience))) end
    stop(p)
  end)

  it("drops calls whose callers have given up", function()
    local p = start(1)
    actor.post(p, "hold", 0)
    local _, member = helper.receive { "held", V.n, V.pid }
    local ok, reason = actor.try_call(p, { "add", 1, 2 }, 1)
    assert.same({ false, "timeout" }, { ok, reason })
    assert.equal(1, p:info().queue)
    actor.send(member, "go")
    helper.receive { "done", 0, V._ }
    idle(p, 1)
    assert.equal(1, p:info().taken)
    stop(p)
  end)

  it("has gen_servers as members", function()
    local me = actor.self()
    local p = pool.start_link { size = 2, start = { function(report)
      local Class = gen_server.define "adder"
      function Class:init() self.n = 0 actor.trap_exit(true) end
      function Class.call:add(a, b) return a + b end
      function Class.call:crash() error "in a call" end
      function Class.cast:note(what) actor.post(report, "noted", what) end
      function Class:handle_info(msg) actor.post(report, "info", msg) end
      function Class:terminate(reason) actor.post(report, "terminated", reason) end
      return Class:start_link()
    end, me } }
    idle(p, 2)
    assert.equal(7, actor.call(p, { "add", 3, 4 }))
    actor.cast(p, { "note", "it" })
    helper.receive { "noted", "it" }
    actor.send(p, "hello")
    helper.receive { "info", "hello" }
    p:resize(1)
    helper.receive { "terminated", "shutdown" }
    idle(p, 1)
    assert.is_false((actor.try_call(p, { "crash" })))
    helper.receive { "terminated", V._ }
    idle(p, 1)
    assert.equal(9, actor.call(p, { "add", 4, 5 }))
    stop(p)
    helper.receive { "terminated", "shutdown" }
  end)

  it("lets members call", function()
    local other = start(1)
    local p = pool.start_link { size = 2, start = { function(to)
      while true do
        actor.receive(on(actor.request(V.from, V.n "integer"), function(from, n)
          actor.reply(from, actor.call(to, { "add", n, n }))
        end))
      end
    end, other } }
    for n = 1, 20 do assert.equal(2 * n, actor.call(p, n)) end
    stop(p)
    stop(other)
  end)

  it("has a name if it wants one", function()
    local p = start(1, { name = "spec_pool" })
    assert.equal(p, actor.whereis "spec_pool")
    actor.post("spec_pool", "job", 1)
    helper.receive { "done", 1, V._ }
    assert.equal(1, pool.info("spec_pool").size)
    fails("already_started", start, 1, { name = "spec_pool" })
    stop(p)
    assert.is_nil(actor.whereis "spec_pool")
  end)

  it("ends: waiting calls get noproc, running ones the reason", function()
    local p = start(1)
    actor.post(p, "hold", 0)
    helper.receive { "held", 0, V._ }
    local caller = actor.spawn_link(function(to, report)
      local _, reason = actor.try_call(to, { "add", 1, 2 })
      actor.post(report, "reason", reason)
    end, p, actor.self())
    assert.is_userdata(caller)
    helper.wait(function() return p:info().queue == 1 end)
    assert.is_true(actor.is_alive(p))
    stop(p)
    helper.receive { "reason", "noproc" }
    assert.is_false(actor.is_alive(p))
    assert.is_nil(p:info())
    assert.same({ nil, "noproc" }, { actor.try_send(p, 1) })
    assert.is_true(actor.send(p, 1))
    fails("noproc", actor.call, p, 1)
    local ref = actor.monitor(p)
    assert.equal("noproc", (helper.down(ref)))
  end)

  it("ends with the process that started it", function()
    local me = actor.self()
    local creator = actor.spawn(function()
      local p = pool.start_link { size = 2, start = { worker, me } }
      actor.post(me, "pool", p)
      actor.receive()
    end)
    local p = helper.receive { "pool", V.p }
    local ref = actor.monitor(p)
    actor.exit(creator, "shutdown")
    assert.equal("shutdown", (helper.down(ref)))
    assert.is_nil(p:info())
  end)

  it("says what is wrong with its options", function()
    fails("pool: bad argument #1 (table expected, got nil)", pool.start_link)
    fails("pool: bad field 'size' (integer from 0 expected, got -1)", pool.start_link, { size = -1, start = { worker } })
    fails("pool: bad field 'start'", pool.start_link, { size = 1 })
    fails("pool: unknown field 'sise'", pool.start_link, { sise = 1 })
    fails("pool: mailbox: bad field 'limit'", start, 1, { mailbox = { limit = 0 } })
    fails("pool: mailbox: bad field 'overflow'", start, 1, { mailbox = { limit = 1, overflow = "x" } })
    fails("no function 'gone' in module 'luactor.pool'", pool.start_link, { size = 1, start = { "luactor.pool.gone" } })
    fails("pool expected", pool.info, actor.self())
    fails("pool expected", pool.resize, "nobody", 1)
    local p = start(1)
    fails("pool.resize: bad field 'size'", pool.resize, p, "x")
    stop(p)
  end)
end)

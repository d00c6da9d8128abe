local actor = require "luactor"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- functions that travel take the real globals along
local V, on = actor.var, actor.on

-- A server of sums: { "add", x, y }, { "value", v }, { "exit", reason },
-- "ignore" and { "run", f }, which answers with what f() returns.
local function server()
  return actor.spawn(function()
    local serve = actor.receiver(
      on(actor.request(V.from, { "add", V.x, V.y }), function(from, x, y)
        actor.reply(from, x + y)
      end),
      on(actor.request(V.from, "nil please"), function(from)
        actor.reply(from, nil)
      end),
      on(actor.request(V.from, { "value", V.v }), function(from, v)
        actor.reply(from, v)
      end),
      on(actor.request(V._, { "exit", V.reason }), function(reason)
        actor.exit(reason)
      end),
      on(actor.request(V._, "crash"), function() error "server broke" end),
      on(actor.request(V._, "ignore"), function() end),
      on(actor.request(V.from, { "run", V.f }), function(from, f)
        actor.reply(from, f())
      end),
      on("stop", function() actor.exit("normal") end))
    while true do serve() end
  end)
end

describe("actor.call", function()
  local s

  before_each(function()
    helper.mark()
    s = server()
  end)

  after_each(function()
    actor.send(s, "stop")
    helper.check()
  end)

  it("returns the reply", function()
    assert.equal(3, (actor.call(s, { "add", 1, 2 })))
  end)

  it("returns replies of every kind", function()
    for _, v in ipairs { true, false, "text", 1.5, { 1, a = 2 }, s } do
      assert.same(v, (actor.call(s, { "value", v })))
    end
  end)

  it("returns exactly one value for a reply of nil", function()
    assert.same({ n = 1 }, table.pack(actor.call(s, "nil please")))
  end)

  it("returns exactly one value for a reply of false", function()
    assert.same({ false, n = 1 }, table.pack(actor.call(s, { "value", false })))
  end)

  it("reaches a server by name", function()
    actor.register("call_spec_server", s)
    assert.equal(5, (actor.call("call_spec_server", { "add", 2, 3 })))
  end)

  it("leaves other messages in the mailbox, in order", function()
    actor.send(actor.self(), "a")
    actor.send(actor.self(), "b")
    actor.call(s, { "add", 1, 1 })
    assert.same({ "a", "b" }, { actor.receive(), (actor.receive()) })
  end)

  it("works behind ten thousand other messages", function()
    for i = 1, 10000 do actor.send(actor.self(), { "junk", i }) end
    local sum = 0
    for _ = 1, 100 do sum = sum + actor.call(s, { "value", 1 }) end
    local flushed = actor.flush { "junk", V._ }
    assert.same({ 100, 10000 }, { sum, flushed })
  end)

  it("works in a coroutine", function()
    assert.equal(7, (coroutine.wrap(function()
      return actor.call(s, { "add", 3, 4 })
    end)()))
  end)

  it("works in a sort comparator", function()
    local t = { 3, 1, 2 }
    table.sort(t, function(a, b)
      return actor.call(s, { "add", a, 0 }) < actor.call(s, { "add", b, 0 })
    end)
    assert.same({ 1, 2, 3 }, t)
  end)

  it("serves many callers at once", function()
    local me = actor.self()
    for i = 1, 50 do
      actor.spawn(function()
        actor.send(me, { "sum", actor.call(s, { "add", i, i }, helper.patience) })
      end)
    end
    local total = 0
    for _ = 1, 50 do total = total + helper.receive { "sum", V.x } end
    assert.equal(2550, total)
  end)

  describe("that fails", function()
    local function failure(...)
      local ok, e = pcall(actor.call, ...)
      assert(not ok, "the call did not fail")
      return e
    end

    it("raises timeout", function()
      assert.equal("timeout", failure(s, "ignore", 5).reason)
    end)

    it("raises noproc for a dead process", function()
      assert.equal("noproc", failure(helper.dead_pid(), "x").reason)
    end)

    it("raises noproc for a name that nobody has", function()
      assert.equal("noproc", failure("call_spec_nobody", "x").reason)
    end)

    it("raises the reason for which the server exits", function()
      assert.same({ "my", { "reason" } },
        failure(s, { "exit", { "my", { "reason" } } }).reason)
    end)

    it("raises the reason for which the server crashes", function()
      assert.matches("server broke", failure(s, "crash").reason[2])
    end)

    it("raises killed when the server is killed", function()
      local me = actor.self()
      local holder = actor.spawn(function()
        actor.receive(actor.request(V._, "hold"))
        actor.send(me, "held")
        actor.receive("never")
      end)
      actor.spawn(function()
        local _, reason = actor.try_call(holder, "hold", helper.patience)
        actor.send(me, { "failed", reason })
      end)
      helper.receive "held"
      actor.exit(holder, "kill")
      assert.equal("killed", (helper.receive { "failed", V.reason }))
    end)

    it("names the server and the request", function()
      local e = failure(s, "ignore", 1)
      assert.same({ s, "ignore" }, { e.dest, e.request })
    end)

    it("reads as a text with the reason", function()
      assert.matches("timeout", tostring(failure(s, "ignore", 1)))
    end)

    it("leaves nothing in the mailbox", function()
      failure(s, "ignore", 1)
      failure(helper.dead_pid(), "x")
      assert.same({ nil, "timeout" }, { actor.receive(actor._, 5) })
    end)
  end)

  it("never shows a reply that comes too late", function()
    local gate = actor.self()
    local late = actor.spawn(function()
      local from = actor.receive(actor.request(V.from, "slow"))
      actor.send(gate, "taken")
      actor.receive("answer now")
      actor.reply(from, "too late")
      actor.send(gate, "answered")
    end)
    pcall(actor.call, late, "slow", 1)
    -- The server may not have taken the request before its caller gave up;
    -- then it never will.
    if actor.receive("taken", 50) then
      actor.send(late, "answer now")
      helper.receive "answered"
    else
      helper.kill(late)
    end
    assert.same({ nil, "timeout" }, { actor.receive(actor._, 5) })
  end)

  it("sends a message of the documented form", function()
    local me = actor.self()
    local raw = actor.spawn(function()
      local m = actor.receive()
      actor.send(me, { "shape", m[1], type(m[2]), #m[2], m[2][1], m[3], #m })
      actor.send(m[2][1], { m[2][2], "by hand" })
    end)
    local reply = actor.call(raw, { "q", 1 })
    assert.same({ "by hand", "$gen_call", "table", 2, me, { "q", 1 }, 3 },
      { reply, helper.receive { "shape", V.a, V.b, V.c, V.d, V.e, V.f } })
  end)
end)

describe("actor.try_call", function()
  local s

  before_each(function()
    helper.mark()
    s = server()
  end)

  after_each(function()
    actor.send(s, "stop")
    helper.check()
  end)

  it("returns true and the reply", function()
    assert.same({ true, 3 }, { actor.try_call(s, { "add", 1, 2 }) })
  end)

  it("returns true and nil for a reply of nil", function()
    assert.same({ true, nil, n = 2 }, table.pack(actor.try_call(s, "nil please")))
  end)

  it("returns false and timeout", function()
    assert.same({ false, "timeout" }, { actor.try_call(s, "ignore", 1) })
  end)

  it("returns false and noproc", function()
    assert.same({ false, "noproc" }, { actor.try_call(helper.dead_pid(), "x") })
  end)

  it("returns false and the exit reason of the server", function()
    assert.same({ false, "gone" }, { actor.try_call(s, { "exit", "gone" }) })
  end)
end)

describe("actor.cast", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("sends a message of the documented form", function()
    actor.cast(actor.self(), { "note", 1 })
    assert.same({ "$gen_cast", { "note", 1 } }, (actor.receive()))
  end)

  it("does not fail for a process that has ended", function()
    assert.has_no_error(function() actor.cast(helper.dead_pid(), "x") end)
  end)
end)

describe("actor.reply", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("may come from another process", function()
    local front = actor.spawn(function()
      local from, x = actor.receive(actor.request(V.from, { "work", V.x }))
      actor.spawn(function() actor.reply(from, x * 2) end)
      actor.receive("stop")
    end)
    local reply = actor.call(front, { "work", 21 })
    actor.send(front, "stop")
    assert.equal(42, reply)
  end)

  it("counts once", function()
    local me = actor.self()
    local twice = actor.spawn(function()
      local from = actor.receive(actor.request(V.from, "q"))
      actor.reply(from, 1)
      actor.reply(from, 2)
      actor.send(me, "replied twice")
    end)
    local first = actor.call(twice, "q")
    helper.receive "replied twice"
    assert.same({ 1, nil, "timeout" }, { first, actor.receive(actor._, 5) })
  end)

  it("does not fail when the caller has ended", function()
    local me = actor.self()
    local slow = actor.spawn(function()
      local from = actor.receive(actor.request(V.from, "q"))
      actor.send(me, "taken")
      actor.receive("go")
      actor.reply(from, 1)
      actor.exit("fine")
    end)
    local mon = actor.monitor(slow)
    local caller = actor.spawn(function() actor.call(slow, "q", helper.patience) end)
    helper.receive "taken"
    helper.kill(caller)
    actor.send(slow, "go")
    assert.equal("fine", (helper.down(mon)))
  end)
end)

describe("actor.request", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("does not match other messages", function()
    actor.send(actor.self(), { "add", 1, 2 })
    local got = { actor.receive(actor.request(V.from, V.x), 0) }
    actor.flush(V._)
    assert.same({ nil, "timeout" }, got)
  end)

  it("does not match a cast", function()
    actor.cast(actor.self(), "x")
    local got = { actor.receive(actor.request(V.from, V.x), 0) }
    actor.flush(V._)
    assert.same({ nil, "timeout" }, got)
  end)
end)

describe("a chain of calls", function()
  before_each(helper.mark)
  after_each(helper.check)

  -- A process that answers { "call", next, ... } by calling `next` with the
  -- rest of the chain, and { "call" } with "end"; a failed call is answered
  -- with the fields of its error.
  local function link()
    return actor.spawn(function()
      local serve = actor.receiver(
        on(actor.request(V.from, { "call", V.chain "..." }), function(from, chain)
          if #chain == 0 then return actor.reply(from, "end") end
          local ok, got, ring = actor.try_call(chain[1],
            { "call", table.unpack(chain, 2) }, helper.patience)
          actor.reply(from, ok and got or { "failed", got, ring or false })
        end),
        on("stop", function() actor.exit "normal" end))
      while true do serve() end
    end)
  end

  local function stop(...)
    for _, pid in ipairs { ... } do actor.send(pid, "stop") end
  end

  local function is_ring(ring, ...)
    local members = {}
    for _, pid in ipairs { ... } do members[pid] = true end
    for _, pid in ipairs(ring) do
      if not members[pid] then return false end
      members[pid] = nil
    end
    return next(members) == nil
  end

  it("that does not come back is answered", function()
    local a, b, c = link(), link(), link()
    local got = actor.call(a, { "call", b, c })
    stop(a, b, c)
    assert.equal("end", got)
  end)

  it("that comes back to a waiting process fails with deadlock", function()
    local a, b = link(), link()
    local got = actor.call(a, { "call", b, a })
    stop(a, b)
    assert.same({ "failed", "deadlock" }, { got[1], got[2] })
  end)

  it("names the ring", function()
    local a, b = link(), link()
    local got = actor.call(a, { "call", b, a })
    stop(a, b)
    assert.is_true(is_ring(got[3], a, b))
  end)

  it("finds a ring of three", function()
    local a, b, c = link(), link(), link()
    local got = actor.call(a, { "call", b, c, a })
    stop(a, b, c)
    assert.is_true(got[2] == "deadlock" and is_ring(got[3], a, b, c))
  end)

  it("finds a ring that includes the first caller", function()
    local a = link()
    local got = actor.call(a, { "call", actor.self() })
    stop(a)
    assert.is_true(got[2] == "deadlock" and is_ring(got[3], a, actor.self()))
  end)

  it("finds a ring by registered names", function()
    local a, b = link(), link()
    actor.register("call_spec_a", a)
    local got = actor.call("call_spec_a", { "call", b, "call_spec_a" })
    stop(a, b)
    assert.equal("deadlock", got[2])
  end)

  it("raises a table with the field ring", function()
    local a = link()
    local me = actor.self()
    local b = actor.spawn(function()
      local from = actor.receive(actor.request(V.from, "begin"))
      local _, e = pcall(actor.call, me, "back", helper.patience)
      actor.reply(from, { e.reason, e.ring })
    end)
    local got = actor.call(b, "begin")
    stop(a)
    assert.is_true(got[1] == "deadlock" and is_ring(got[2], b, me))
  end)

  it("is no deadlock when the request has been answered", function()
    local me = actor.self()
    local b = actor.spawn(function()
      local from = actor.receive(actor.request(V.from, "begin"))
      actor.reply(from, "begun")
      actor.send(me, { "later", (actor.call(me, "back", helper.patience)) })
    end)
    actor.call(b, "begin")
    local from = helper.receive(actor.request(V.from, "back"))
    actor.reply(from, "fine")
    assert.equal("fine", (helper.receive { "later", V.x }))
  end)

  it("is no deadlock when two clients call one server", function()
    local a, b, c = link(), link(), link()
    local me = actor.self()
    for _, first in ipairs { a, b } do
      actor.spawn(function()
        actor.send(me, { "got", (actor.call(first, { "call", c }, helper.patience)) })
      end)
    end
    local got = { helper.receive { "got", V.x }, (helper.receive { "got", V.x }) }
    stop(a, b, c)
    assert.same({ "end", "end" }, got)
  end)
end)

describe("the deadline of a call", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("ends the calls that are made to answer it", function()
    -- The nested call allows an hour; its caller allowed less.
    local me = actor.self()
    local silent = helper.spawn_idle()
    local middle = actor.spawn(function()
      actor.receive(actor.request(V.from, "q"))
      local ok, reason = actor.try_call(silent, "x", 3600000)
      actor.send(me, { "nested", ok, reason })
    end)
    pcall(actor.call, middle, "q", 300)
    local ok, reason = helper.receive { "nested", V.ok, V.reason }
    helper.kill(silent)
    assert.same({ false, "timeout" }, { ok, reason })
  end)

  it("does not end calls made after the answer", function()
    local me = actor.self()
    local slow = actor.spawn(function()
      local from = actor.receive(actor.request(V.from, "x"))
      actor.receive("go")
      actor.reply(from, "answered")
    end)
    local middle = actor.spawn(function()
      local from = actor.receive(actor.request(V.from, "q"))
      actor.reply(from, "first")
      local ok, got = actor.try_call(slow, "x", helper.patience)
      actor.send(me, { "second", ok, got })
    end)
    actor.call(middle, "q", 50)
    actor.send_after(100, slow, "go")
    assert.same({ true, "answered" }, { helper.receive { "second", V.ok, V.got } })
  end)

  it("keeps a server from starting work whose caller has given up", function()
    local me = actor.self()
    local busy = actor.spawn(function()
      actor.receive("open")
      local serve = actor.receiver(
        on(actor.request(V.from, V.what), function(from, what)
          actor.send(me, { "did", what })
          actor.reply(from, "done")
          return true
        end),
        on("stop", function() return false end))
      while serve() do end
    end)
    pcall(actor.call, busy, "abandoned", 5)
    actor.send(busy, "open")
    actor.call(busy, "wanted")
    actor.send(busy, "stop")
    local did = {}
    while true do
      local what = actor.receive({ "did", V.what }, 0)
      if not what then break end
      did[#did + 1] = what
    end
    assert.same({ "wanted" }, did)
  end)
end)

local actor = require "luactor"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- functions that travel take the real globals along
local V, on, after = actor.var, actor.on, actor.after

-- Send `message` to oneself and poll with `pattern`: packed results.
local function poll(message, pattern)
  actor.send(actor.self(), message)
  local got = table.pack(actor.receive(pattern, 0))
  actor.flush(actor._)
  return got
end

local TIMEOUT = { nil, "timeout", n = 2 }

describe("actor.receive", function()
  before_each(helper.mark)
  after_each(helper.check)

  describe("without arguments", function()
    it("returns the oldest message", function()
      actor.send(actor.self(), "first")
      actor.send(actor.self(), "second")
      local a, b = actor.receive(), actor.receive()
      assert.same({ "first", "second" }, { a, b })
    end)

    it("waits for a message", function()
      actor.send_after(5, actor.self(), "later")
      assert.equal("later", (actor.receive()))
    end)

    it("takes nil and false", function()
      actor.send(actor.self(), nil)
      actor.send(actor.self(), false)
      local a, b = table.pack(actor.receive()), table.pack(actor.receive())
      assert.same({ { n = 1 }, { false, n = 1 } }, { a, b })
    end)
  end)

  describe("with a pattern", function()
    it("returns the captures in order of first appearance", function()
      assert.same({ 1, 2, 3, n = 3 },
        poll({ "t", 1, { 2, { 3 } } }, { "t", V.a, { V.b, { V.c } } }))
    end)

    it("returns the whole message when there are no captures", function()
      assert.same({ { "t", 1 }, n = 1 }, poll({ "t", 1 }, { "t", 1 }))
    end)

    it("returns a capture that is false", function()
      assert.same({ false, n = 1 }, poll({ "t", false }, { "t", V.x }))
    end)

    it("returns nil and timeout when nothing matches", function()
      assert.same(TIMEOUT, poll("other", "wanted"))
    end)

    it("leaves what does not match, in order", function()
      for _, x in ipairs { "a", "b", "wanted", "c" } do
        actor.send(actor.self(), x)
      end
      local got = { (actor.receive("wanted", 0)) }
      for i = 2, 4 do got[i] = actor.receive() end
      assert.same({ "wanted", "a", "b", "c" }, got)
    end)

    it("takes the oldest of several that match", function()
      actor.send(actor.self(), { "n", 1 })
      actor.send(actor.self(), { "n", 2 })
      local got = actor.receive({ "n", V.x }, 0)
      actor.flush(actor._)
      assert.equal(1, got)
    end)

    it("skips older messages while it waits", function()
      actor.send(actor.self(), "old")
      actor.send_after(5, actor.self(), "wanted")
      local got = helper.receive "wanted"
      local rest = actor.receive()
      assert.same({ "wanted", "old" }, { got, rest })
    end)

    it("skips messages that arrive while it waits", function()
      local timer = actor.send_every(1, actor.self(), "noise")
      actor.send_after(20, actor.self(), "wanted")
      local got = helper.receive "wanted"
      actor.cancel(timer)
      actor.flush "noise"
      assert.equal("wanted", got)
    end)

    it("looks again at what an earlier wait left", function()
      actor.send(actor.self(), "left")
      actor.receive("other", 0)
      actor.receive("another", 1)
      assert.equal("left", (actor.receive("left", 0)))
    end)

    it("finds a message behind ten thousand others", function()
      for i = 1, 10000 do actor.send(actor.self(), { "junk", i }) end
      actor.send(actor.self(), { "wanted", 1 })
      local got = actor.receive({ "wanted", V.x }, 0)
      local flushed = actor.flush { "junk", V._ }
      assert.same({ 1, 10000 }, { got, flushed })
    end)

    it("waits on a fresh ref", function()
      local echo = helper.spawn_echo()
      local order = {}
      for i = 1, 50 do
        local ref = actor.ref()
        actor.send(actor.self(), { "junk", i })
        actor.send(echo, { actor.self(), ref })
        order[i] = helper.receive { echo, ref } ~= nil
      end
      local flushed = actor.flush { "junk", V._ }
      actor.unlink(echo)
      helper.kill(echo)
      assert.equal(50, flushed)
    end)

    it("finds an old message by a ref made before it", function()
      local ref = actor.ref()
      actor.send(actor.self(), { ref, "early" })
      actor.receive("nothing", 0)
      assert.equal("early", (actor.receive({ ref, V.x }, 0)))
    end)
  end)

  describe("with a timeout", function()
    it("returns nil and timeout", function()
      assert.same({ nil, "timeout" }, { actor.receive(V.x, 1) })
    end)

    it("does not return early", function()
      local t0 = actor.now()
      actor.receive("never", 20)
      assert.is_true(actor.now() - t0 >= 20)
    end)

    it("polls with 0", function()
      actor.send(actor.self(), "there")
      assert.equal("there", (actor.receive("there", 0)))
    end)

    it("takes a message rather than time out", function()
      actor.send_after(1, actor.self(), "soon")
      assert.equal("soon", (actor.receive("soon", helper.patience)))
    end)

    it("counts from the start of the wait, whatever arrives", function()
      local timer = actor.send_every(1, actor.self(), "noise")
      local got = { actor.receive("wanted", 30) }
      actor.cancel(timer)
      actor.flush "noise"
      assert.same({ nil, "timeout" }, got)
    end)

    it("may be a float", function()
      assert.same({ nil, "timeout" }, { actor.receive("never", 1.5) })
    end)

    it("does not disturb a later wait", function()
      actor.receive("never", 1)
      actor.send_after(10, actor.self(), "later")
      assert.equal("later", (helper.receive "later"))
    end)
  end)

  describe("with clauses", function()
    it("returns the results of the handler", function()
      actor.send(actor.self(), { "add", 1, 2 })
      assert.same({ 3, "sum", n = 2 }, table.pack(actor.receive(
        on({ "add", V.x, V.y }, function(x, y) return x + y, "sum" end))))
    end)

    it("returns nothing when the handler does", function()
      actor.send(actor.self(), "x")
      assert.equal(0, select("#", actor.receive(on("x", function() end))))
    end)

    it("returns nil results", function()
      actor.send(actor.self(), "x")
      assert.same({ n = 3 }, table.pack(actor.receive(
        on("x", function() return nil, nil, nil end))))
    end)

    it("gives a handler the captures", function()
      actor.send(actor.self(), { "t", 1, 2 })
      assert.same({ 1, 2, n = 2 }, actor.receive(
        on({ "t", V.a, V.b }, function(...) return table.pack(...) end)))
    end)

    it("gives a handler the message when there are no captures", function()
      actor.send(actor.self(), { "t", 1 })
      assert.same({ { "t", 1 }, n = 1 }, actor.receive(
        on({ "t", 1 }, function(...) return table.pack(...) end)))
    end)

    it("tries them in order for each message", function()
      actor.send(actor.self(), 1)
      assert.equal("first", (actor.receive(
        on(V.x "integer", function() return "first" end),
        on(V.x "number", function() return "second" end))))
    end)

    it("tries all of them on a message before the next message", function()
      actor.send(actor.self(), "b")
      actor.send(actor.self(), "a")
      local function name(x) return x end
      local one = actor.receive(on("a", name), on("b", name))
      local two = actor.receive(on("a", name), on("b", name))
      assert.same({ "b", "a" }, { one, two })
    end)

    it("leaves what no clause matches", function()
      actor.send(actor.self(), "other")
      actor.send(actor.self(), "a")
      actor.receive(on("a", function() end), on("b", function() end))
      assert.equal("other", (actor.receive()))
    end)

    it("runs the handler of after when the time is over", function()
      assert.same({ "late", 2, n = 2 }, table.pack(actor.receive(
        on("never", function() end),
        after(1, function() return "late", 2 end))))
    end)

    it("polls with after 0", function()
      actor.send(actor.self(), "there")
      assert.equal("there", (actor.receive(
        on("there", function(x) return x end),
        after(0, function() return "empty" end))))
    end)

    it("may consist of after alone", function()
      assert.equal("late", (actor.receive(after(1, function() return "late" end))))
    end)

    it("lets a handler receive", function()
      actor.send(actor.self(), "outer")
      actor.send(actor.self(), "inner")
      assert.equal("inner", (actor.receive(
        on("outer", function() return (actor.receive()) end))))
    end)

    it("lets a handler send to the own process", function()
      actor.send(actor.self(), 3)
      local sum = 0
      local serve = actor.receiver(on(V.n "integer", "n > 0", function(n)
        sum = sum + n
        actor.send(actor.self(), n - 1)
        return true
      end), on(0, function() return false end))
      while serve() do end
      assert.equal(6, sum)
    end)

    it("lets an error of a handler out, the message taken", function()
      actor.send(actor.self(), "x")
      local ok = pcall(actor.receive, on("x", function() error "mine" end))
      assert.same({ false, nil, "timeout" }, { ok, actor.receive("x", 0) })
    end)

    it("may be used again and again", function()
      local clause = on({ "n", V.x }, function(x) return x * 2 end)
      local sum = 0
      for i = 1, 10 do
        actor.send(actor.self(), { "n", i })
        sum = sum + actor.receive(clause)
      end
      assert.equal(110, sum)
    end)
  end)

  describe("where Lua calls back from C", function()
    local function soon(x)
      actor.send_after(2, actor.self(), x)
    end

    it("works in a coroutine", function()
      soon("co")
      assert.equal("co", (coroutine.wrap(function() return helper.receive "co" end)()))
    end)

    it("works in nested coroutines", function()
      soon("deep")
      assert.equal("deep", (coroutine.wrap(function()
        return coroutine.wrap(function() return helper.receive "deep" end)()
      end)()))
    end)

    it("works in a generator, between its yields", function()
      local sum = 0
      for i = 1, 3 do actor.send_after(i, actor.self(), { "gen", i }) end
      for x in coroutine.wrap(function()
        for _ = 1, 3 do coroutine.yield((helper.receive { "gen", V.x })) end
      end) do sum = sum + x end
      assert.equal(6, sum)
    end)

    it("works in pcall", function()
      soon("p")
      assert.same({ true, "p" }, { pcall(helper.receive, "p") })
    end)

    it("works in xpcall", function()
      soon("xp")
      assert.same({ true, "xp" }, { xpcall(helper.receive, print, "xp") })
    end)

    it("works in a metamethod", function()
      soon("index")
      local t = setmetatable({}, { __index = function(_, k)
        return (helper.receive(k))
      end })
      assert.equal("index", t.index)
    end)

    it("works in an iterator", function()
      soon("iter")
      local got
      for x in function() return got == nil and helper.receive "iter" or nil end do
        got = x
      end
      assert.equal("iter", got)
    end)

    it("works in a sort comparator", function()
      soon("sort")
      local got
      table.sort({ 2, 1 }, function(a, b)
        got = got or helper.receive "sort"
        return a < b
      end)
      assert.equal("sort", got)
    end)

    it("works in a gsub callback", function()
      soon("gsub")
      assert.equal("<gsub>", (("x"):gsub("x", function()
        return "<" .. helper.receive "gsub" .. ">"
      end)))
    end)

    it("works in the body of a required module", function()
      package.preload["spec.made_up"] = function() return helper.receive "req" end
      soon("req")
      local got = require "spec.made_up"
      package.preload["spec.made_up"], package.loaded["spec.made_up"] = nil, nil
      assert.equal("req", got)
    end)

    it("works in a load reader", function()
      soon("return 5")
      local done = false
      local f = load(function()
        if done then return nil end
        done = true
        return (helper.receive "return 5")
      end)
      assert.equal(5, f())
    end)

    it("works in __tostring", function()
      soon("str")
      local x = setmetatable({}, { __tostring = function()
        return (helper.receive "str")
      end })
      assert.equal("str", tostring(x))
    end)

    it("works in __close of a block that is left", function()
      soon("close")
      local got
      do
        local c <close> = setmetatable({}, { __close = function()
          got = helper.receive "close"
        end })
      end
      assert.equal("close", got)
    end)
  end)
end)

describe("actor.receiver", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("takes one message for each call", function()
    local serve = actor.receiver(on(V.x "integer", function(x) return x end))
    actor.send(actor.self(), 1)
    actor.send(actor.self(), 2)
    assert.same({ 1, 2 }, { serve(), (serve()) })
  end)

  it("waits", function()
    local serve = actor.receiver(on("go", function() return "went" end))
    actor.send_after(2, actor.self(), "go")
    assert.equal("went", (serve()))
  end)

  it("returns nil and timeout past the time of the call", function()
    local serve = actor.receiver(on("never", function() end))
    assert.same({ nil, "timeout" }, { serve(1) })
  end)

  it("polls with 0", function()
    local serve = actor.receiver(on("x", function() return "got" end))
    actor.send(actor.self(), "x")
    assert.equal("got", (serve(0)))
  end)

  it("runs its after clause", function()
    local serve = actor.receiver(on("never", function() end),
      after(1, function() return "late" end))
    assert.equal("late", (serve()))
  end)

  it("prefers the time of the call to that of its after clause", function()
    local serve = actor.receiver(on("never", function() return "never" end),
      after(3600000, function() return "late" end))
    assert.not_equal("never", (serve(1)))
  end)

  it("serves a loop until its handler says no", function()
    local total = 0
    local serve = actor.receiver(
      on({ "add", V.x "number" }, function(x) total = total + x return true end),
      on("stop", function() return false end))
    for i = 1, 100 do actor.send(actor.self(), { "add", i }) end
    actor.send(actor.self(), "stop")
    while serve() do end
    assert.equal(5050, total)
  end)

  it("keeps handlers' upvalues up to date", function()
    local factor = 1
    local serve = actor.receiver(on(V.x "integer", function(x) return factor * x end))
    actor.send(actor.self(), 5)
    factor = 10
    assert.equal(50, (serve()))
  end)

  it("may be used by nested calls of itself", function()
    local serve
    serve = actor.receiver(
      on({ "outer", V.x }, function(x) return x + serve() end),
      on({ "inner", V.x }, function(x) return x end))
    actor.send(actor.self(), { "outer", 1 })
    actor.send(actor.self(), { "inner", 2 })
    assert.equal(3, (serve()))
  end)

  it("reports a mistake when it is built", function()
    assert.has_error(function() actor.receiver("no clause at all", 42) end)
  end)
end)

describe("actor.on", function()
  it("raises without a handler that can be called", function()
    assert.has_error(function() on("x", nil, 42) end)
  end)
end)

describe("actor.flush", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("drops all that match and counts them", function()
    for i = 1, 5 do actor.send(actor.self(), { "drop", i }) end
    assert.equal(5, actor.flush { "drop", V._ })
  end)

  it("leaves the others in order", function()
    for i = 1, 6 do actor.send(actor.self(), i) end
    actor.flush(actor.oneof(2, 4))
    local rest = {}
    for i = 1, 4 do rest[i] = actor.receive() end
    assert.same({ 1, 3, 5, 6 }, rest)
  end)

  it("returns 0 when nothing matches", function()
    assert.equal(0, actor.flush "nothing")
  end)

  it("does not wait", function()
    actor.send_after(50, actor.self(), "late")
    local flushed = actor.flush "late"
    helper.receive "late"
    assert.equal(0, flushed)
  end)
end)

describe("a receive from a long mailbox", function()
  local me = actor.self()
  local function junk(n)
    for i = 1, n do actor.post(me, "junk", i) end
  end

  after_each(function() actor.flush(actor._) end)

  it("takes the oldest across its clauses", function()
    local got = {}
    local serve = actor.receiver(
      actor.on({ "b", V.x }, function(x) got[#got + 1] = "b" .. x end),
      actor.on({ "a", V.x }, function(x) got[#got + 1] = "a" .. x end))
    junk(100)
    for i = 1, 3 do
      actor.post(me, "a", i)
      junk(100)
      actor.post(me, "b", i)
    end
    for _ = 1, 6 do serve(0) end
    assert.equal("a1 b1 a2 b2 a3 b3", table.concat(got, " "))
    assert.equal("timeout", select(2, serve(0)))
  end)

  it("asks the clauses in order for each message", function()
    junk(200)
    actor.post(me, "n", 7)
    local got = actor.receive(
      actor.on({ "n", 8 }, function() return "eight" end),
      actor.on({ "m", V._ }, function() return "m" end),
      actor.on({ "n", V.x }, function(x) return x end))
    assert.equal(7, got)
  end)

  it("takes priority messages first", function()
    junk(200)
    actor.post(me, "n", 1)
    junk(200)
    actor.send(me, { "n", 2 }, { priority = true })
    local first, second = actor.receive({ "n", V.x }, 0),
      actor.receive({ "n", V.x }, 0)
    assert.same({ 2, 1 }, { first, second })
  end)

  it("waits for a message of its tag", function()
    junk(500)
    actor.receive({ "n", V.x }, 0)
    actor.send_after(2, me, { "junk", 0 })
    actor.send_after(5, me, { "n", 1 })
    assert.equal(1, (helper.receive { "n", V.x }))
  end)

  it("goes on behind a message that a guard function refuses", function()
    junk(200)
    for i = 1, 200 do actor.post(me, "n", i) end
    local got = actor.receive(
      actor.on({ "n", V.x }, function(x) return x == 150 end,
        function(x) return x end))
    assert.equal(150, got)
    assert.equal(1, (actor.receive({ "n", V.x }, 0)))
  end)

  it("finds again what a wait without a tag has left", function()
    junk(200)
    actor.post(me, "n", 1)
    actor.receive({ "other", V._ }, 0)
    assert.equal("junk", (actor.receive { V.tag, 5 }))
    assert.equal("junk", actor.receive()[1])
    assert.equal(1, (actor.receive({ "n", V.x }, 0)))
    assert.equal(198, actor.flush { "junk", V._ })
  end)

  it("works in a further mailbox", function()
    local mb <const> = actor.mailbox()
    for i = 1, 300 do actor.send(mb, { "junk", i }) end
    actor.send(mb, { "n", 1 })
    actor.post(me, "n", 2)
    assert.equal(1, (mb:receive({ "n", V.x }, 0)))
    assert.equal("timeout", select(2, mb:receive({ "n", V.x }, 0)))
    mb:close()
  end)

  it("keeps to the heap limit of the process", function()
    local pid, ref = actor.spawn_opt({ monitor = true, max_heap = 600000 },
      function(parent)
        local self = actor.self()
        local n = 0
        repeat
          n = n + 1
          actor.post(self, "junk", n)
          if n % 100 == 0 then actor.receive({ "no", n }, 0) end
        until actor.info(self, "heap_bytes") > 500000
        actor.receive({ "no", 0 }, 0)
        actor.post(self, "yes", n)
        actor.send(parent, { "took", actor.receive({ "yes", V.n }, 0) == n })
      end, me)
    assert.is_true((helper.receive { "took", V.ok }))
    assert.equal("normal", (helper.down(ref)))
    assert.is_false(actor.is_alive(pid))
  end)
end)

describe("a receive that fails", function()
  before_each(helper.mark)
  after_each(helper.check)

  -- Only C code that is not luactor's own cannot be suspended.
  local function receive_inside_lpeg()
    local lpeg = require "lpeg"
    local ok, err
    lpeg.P(lpeg.Cmt(1, function()
      ok, err = pcall(actor.receive, "never")
      return true
    end)):match "x"
    return ok, err
  end

  it("says that it cannot wait there", function()
    local ok, err = receive_inside_lpeg()
    assert.is_false(ok)
    assert.matches("across a C%-call boundary", err)
  end)

  it("leaves the process running", function()
    assert.equal("done", helper.run(function()
      receive_inside_lpeg()
      -- Longer than a slice: it is preempted and must come back.
      local till = actor.now() + 50
      while actor.now() < till do end
      return "done"
    end))
  end)

  it("leaves a message alone that is being turned into values", function()
    local got = helper.run(function()
      package.loaded.nested_receive = {
        receive = function(text)
          return { text, (actor.receive("inner", 0)) }
        end,
      }
      local object = setmetatable({}, {
        __transfer = function() return "nested_receive", "payload" end,
      })
      actor.send(actor.self(), { object, ("z"):rep(20000) })
      actor.send(actor.self(), "inner")
      local message = actor.receive()
      return { message[1][1], message[1][2], #message[2] }
    end)
    assert.same({ "payload", "inner", 20000 }, got)
  end)
end)

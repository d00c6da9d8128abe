local actor = require "luactor"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- functions that travel take the real globals along
local V = actor.var

describe("a message", function()
  before_each(helper.mark)
  after_each(helper.check)

  local plain = {
    ["true"] = true,
    ["false"] = false,
    ["zero"] = 0,
    ["a small integer"] = 42,
    ["a negative integer"] = -1,
    ["an integer of 32 bits"] = 0x7fffffff,
    ["an integer beyond 32 bits"] = 0x100000000,
    ["the greatest integer"] = math.maxinteger,
    ["the least integer"] = math.mininteger,
    ["an integer beyond what a float holds"] = 9007199254740993,
    ["a float"] = 0.1,
    ["a whole float"] = 1.0,
    ["minus zero"] = -0.0,
    ["infinity"] = math.huge,
    ["minus infinity"] = -math.huge,
    ["the least float"] = 5e-324,
    ["the empty string"] = "",
    ["a string"] = "hello",
    ["a string with a zero byte"] = "a\0b",
    ["a string that is no UTF-8"] = "\xff\xfe\x80",
    ["a string of 40 bytes"] = ("0123456789"):rep(4),
    ["a string of 255 bytes"] = ("x"):rep(255),
    ["a string of 256 bytes"] = ("x"):rep(256),
    ["a string of 65536 bytes"] = ("x"):rep(65536),
    ["a string of 1 MB"] = ("0123456789abcdef"):rep(65536),
    ["an empty table"] = {},
    ["a sequence"] = { 1, "two", 3.5, true, false },
    ["a record"] = { name = "x", size = 3, nested = { a = 1 } },
    ["a table of both"] = { 1, 2, 3, kind = "list", [100] = "far", [0] = "zero" },
    ["a sequence with a hole"] = { 1, nil, 3 },
    ["negative keys"] = { [-1] = "a", [-2] = "b" },
    ["float keys"] = { [0.5] = "half", [1e100] = "big" },
    ["boolean keys"] = { [true] = 1, [false] = 0 },
  }

  local function every_byte()
    local bytes = {}
    for i = 0, 255 do bytes[#bytes + 1] = string.char(i) end
    return table.concat(bytes)
  end
  plain["a string of every byte"] = every_byte()

  local function numbers(n, make)
    local list = {}
    for i = 1, n do list[i] = make(i) end
    return list
  end
  plain["a list of one"] = { 7 }
  plain["70,000 integers"] = numbers(70000, function(i) return i * 3 end)
  plain["integers of all sizes"] = numbers(126, function(i)
    return i % 2 == 0 and 1 << i // 2 or -1 << i // 2
  end)
  plain["integers and floats in turn"] = numbers(50, function(i)
    return i % 2 == 0 and i or i + 0.0
  end)
  plain["lists of lists"] = numbers(20, function(i)
    return numbers(i % 7, function(k) return k % 5 == 0 and { k } or k end)
  end)
  plain["records in a list"] = numbers(30, function(i)
    return { id = i, name = "n" .. i, at = { x = i, y = -i } }
  end)
  local shrunk = { 1, 2, 3, 4 }
  shrunk[4] = nil
  plain["a list that was longer"] = shrunk
  plain["keys 1 to 3 set backwards"] = (function()
    local t = {}
    for i = 3, 1, -1 do t[i] = i end
    return t
  end)()

  for name, value in pairs(plain) do
    it("carries " .. name, function()
      local back = helper.round_trip(value)
      assert.same({ value, math.type(value) }, { back, math.type(back) })
    end)
  end

  it("carries nil", function()
    assert.same({ n = 1 }, table.pack(helper.round_trip(nil)))
  end)

  it("carries NaN", function()
    local x = helper.round_trip(0 / 0)
    assert.is_true(x ~= x)
  end)

  it("keeps the sign of minus zero", function()
    assert.equal(-math.huge, 1 / helper.round_trip(-0.0))
  end)

  it("carries a table of 10,000 elements", function()
    local t = {}
    for i = 1, 10000 do t[i] = i * i end
    assert.same(t, helper.round_trip(t))
  end)

  it("carries a table of 10,000 keys", function()
    local t = {}
    for i = 1, 10000 do t["key" .. i] = { i } end
    assert.same(t, helper.round_trip(t))
  end)

  it("is a copy", function()
    local t = { "before" }
    actor.send(actor.self(), { "copy", t })
    t[1] = "after"
    assert.same({ "before" }, (helper.receive { "copy", V.t }))
  end)

  it("keeps a table shared within it", function()
    local shared = { 1 }
    local back = helper.round_trip { a = shared, b = { shared } }
    assert.is_true(rawequal(back.a, back.b[1]))
  end)

  it("keeps apart tables that are equal but not the same", function()
    local back = helper.round_trip { { 1 }, { 1 } }
    assert.is_false(rawequal(back[1], back[2]))
  end)

  it("keeps a cycle", function()
    local t = { name = "loop" }
    t.self = t
    local back = helper.round_trip(t)
    assert.is_true(rawequal(back, back.self))
  end)

  it("keeps a cycle through several tables", function()
    local a, b, c = {}, {}, {}
    a.next, b.next, c.next = b, c, a
    local back = helper.round_trip(a)
    assert.is_true(rawequal(back, back.next.next.next))
  end)

  it("keeps a table that is a key and a value", function()
    local key = { "k" }
    local back = helper.round_trip { [key] = "v", key = key }
    assert.equal("v", back[back.key])
  end)

  it("drops a metatable", function()
    local back = helper.round_trip(setmetatable({ 1 }, { __index = { x = 2 } }))
    assert.is_nil(getmetatable(back))
  end)

  it("takes raw values from a table with metamethods", function()
    local t = setmetatable({ 1 }, {
      __index = function() return "made up" end,
      __pairs = function() return function() end end,
      __len = function() return 100 end,
    })
    assert.same({ 1 }, helper.round_trip(t))
  end)

  it("carries functions with their upvalues", function()
    local k = 10
    assert.equal(15, helper.round_trip(function(x) return x + k end)(5))
  end)

  it("carries pids, refs, aliases and mailboxes", function()
    local alias, box = actor.alias(), actor.mailbox()
    local ids = { actor.self(), actor.ref(), alias, box }
    local back = helper.round_trip(ids)
    local equal = {}
    for i, id in ipairs(ids) do equal[i] = id == back[i] end
    actor.unalias(alias)
    box:close()
    assert.same({ true, true, true, true }, equal)
  end)

  it("carries an object with __transfer by its own rule", function()
    local point = require "spec.fixture.point".new(3, 4)
    assert.equal(7, (helper.run(function(p) return p:sum() end, point)))
  end)

  it("carries objects with __transfer inside tables", function()
    local new = require "spec.fixture.point".new
    assert.equal(10, (helper.run(function(list)
      return list[1]:sum() + list.last:sum()
    end, { new(1, 2), last = new(3, 4) })))
  end)

  it("may be nested 200 levels", function()
    local t = "bottom"
    for _ = 1, 199 do t = { t } end
    actor.send(actor.self(), { t })
    local back, depth = helper.receive { V.t }, 1
    while type(back) == "table" do back, depth = back[1], depth + 1 end
    assert.same({ "bottom", 200 }, { back, depth })
  end)

  it("may not be nested deeper", function()
    local t = "bottom"
    for _ = 1, 201 do t = { t } end
    local ok, e = pcall(actor.send, actor.self(), t)
    assert.same({ false, "string" }, { ok, type(e) })
  end)

  it("may be a long list of tables", function()
    -- Long, not deep: the depth limit counts nesting alone.
    local t = {}
    for i = 1, 5000 do t[i] = { { i } } end
    assert.same(t, helper.round_trip(t))
  end)

  describe("that cannot travel", function()
    local function refusal(message)
      local ok, e = pcall(actor.send, actor.self(), message)
      assert(not ok, "the message was not refused")
      return tostring(e)
    end

    it("is refused with the kind of value", function()
      assert.matches("cannot send message", refusal(io.stdout), 1, true)
    end)

    it("is refused with the path of fields", function()
      assert.matches("cannot send message.cfg.out (userdata FILE*)",
        refusal { cfg = { out = io.stdout } }, 1, true)
    end)

    it("is refused for a coroutine", function()
      assert.matches("cannot send message.co",
        refusal { co = coroutine.create(print) }, 1, true)
    end)

    it("is refused for a C function that no module names", function()
      assert.matches("cannot send message.iter (C function)",
        refusal { iter = ("x"):gmatch(".") }, 1, true)
    end)

    it("is refused for an upvalue of a function in it", function()
      local out = io.stdout
      assert.matches("upvalue 'out'",
        refusal { f = function() return out end }, 1, true)
    end)

    it("leaves nothing in the mailbox", function()
      refusal { 1, 2, io.stdout }
      assert.same({ nil, "timeout" }, { actor.receive(V.x, 0) })
    end)

    it("names itself in a spawn as an argument", function()
      local ok, e = pcall(actor.spawn, print, 1, { io.stdout })
      assert.same({ false, "cannot send" },
        { ok, tostring(e):match "cannot send" })
    end)
  end)
end)

describe("actor.send", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("returns true", function()
    local sent = actor.send(actor.self(), "x")
    actor.flush "x"
    assert.is_true(sent)
  end)

  it("returns true for a process that has ended", function()
    assert.is_true(actor.send(helper.dead_pid(), "x"))
  end)

  it("raises for an unregistered name", function()
    assert.has_error(function() actor.send("message_spec_nobody", "x") end)
  end)

  it("raises for what is no destination", function()
    assert.has_error(function() actor.send(nil, "x") end)
  end)

  it("keeps the order of messages of one sender", function()
    local me = actor.self()
    actor.spawn(function()
      for i = 1, 2000 do actor.send(me, { "n", i }) end
    end)
    local ok = true
    for i = 1, 2000 do ok = helper.receive { "n", V.i } == i and ok end
    assert.is_true(ok)
  end)

  it("keeps the order of messages of each of several senders", function()
    local me = actor.self()
    for s = 1, 8 do
      actor.spawn(function()
        for i = 1, 500 do actor.send(me, { "n", s, i }) end
      end)
    end
    local last, ok = {}, true
    for _ = 1, 8 * 500 do
      local s, i = helper.receive { "n", V.s, V.i }
      ok = ok and i == (last[s] or 0) + 1
      last[s] = i
    end
    assert.is_true(ok)
  end)

  it("reaches the sender itself", function()
    actor.send(actor.self(), { "to me", 1 })
    assert.equal(1, (actor.receive({ "to me", V.x }, 0)))
  end)
end)

describe("pid:send", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("sends", function()
    actor.self():send { "by method", 2 }
    assert.equal(2, (actor.receive({ "by method", V.x }, 0)))
  end)
end)

describe("actor.try_send", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("returns true when the message is queued", function()
    local sent = actor.try_send(actor.self(), "x")
    actor.flush "x"
    assert.is_true(sent)
  end)

  it("returns noproc for a process that has ended", function()
    assert.same({ nil, "noproc" }, { actor.try_send(helper.dead_pid(), "x") })
  end)
end)

describe("actor.post", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("sends its arguments as a sequence", function()
    actor.post(actor.self(), "a", 1, { 2 })
    assert.same({ "a", 1, { 2 } }, (actor.receive(V.m, 0)))
  end)

  it("sends an empty table without arguments", function()
    actor.post(actor.self())
    assert.same({}, (actor.receive(V.m, 0)))
  end)

  it("returns true", function()
    local sent = actor.post(actor.self(), 1)
    actor.flush(V._)
    assert.is_true(sent)
  end)

  it("raises for nil", function()
    assert.has_error(function() actor.post(actor.self(), 1, nil, 3) end)
  end)

  it("raises for nil at the end", function()
    assert.has_error(function() actor.post(actor.self(), 1, nil) end)
  end)

  it("keeps a table shared among its arguments", function()
    local t = {}
    actor.post(actor.self(), t, t)
    local a, b = actor.receive({ V.a, V.b }, 0)
    assert.is_true(rawequal(a, b))
  end)

  it("reaches a name", function()
    local me = actor.self()
    actor.spawn_opt({ name = "message_spec_post" }, function()
      actor.send(me, { "got", (actor.receive { "posted", V.x }) })
    end)
    actor.post("message_spec_post", "posted", 9)
    assert.equal(9, (helper.receive { "got", V.x }))
  end)
end)

describe("actor.sender", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("is the process that sent the message last received", function()
    local me = actor.self()
    local pid = actor.spawn(function() actor.send(me, "who?") end)
    helper.receive "who?"
    assert.equal(pid, actor.sender())
  end)

  it("changes with each message", function()
    local me = actor.self()
    local a = actor.spawn(function() actor.send(me, "from a") end)
    local b = actor.spawn(function() actor.send(me, "from b") end)
    helper.receive "from b"
    local second = actor.sender()
    helper.receive "from a"
    assert.same({ b, a }, { second, actor.sender() })
  end)

  it("is the caller for a message to itself", function()
    actor.send(actor.self(), "mine")
    helper.receive "mine"
    assert.equal(actor.self(), actor.sender())
  end)

  it("is known inside a handler", function()
    local me = actor.self()
    local pid = actor.spawn(function() actor.send(me, "handled") end)
    assert.equal(pid, (actor.receive(actor.on("handled", actor.sender))))
  end)
end)

describe("an identity", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("of a local process prints as <0.n>", function()
    assert.matches("^<0%.%d+>$", tostring(actor.self()))
  end)

  it("is parsed back from its text", function()
    assert.is_true(rawequal(actor.self(), actor.pid(tostring(actor.self()))))
  end)

  it("leads to the process when parsed back", function()
    actor.send(actor.pid(tostring(actor.self())), "parsed")
    assert.equal("parsed", (actor.receive("parsed", 0)))
  end)

  it("is not parsed from other text", function()
    local ok, pid = pcall(actor.pid, "no pid")
    assert.is_true(not ok or pid == nil)
  end)

  it("is rawequal after a journey", function()
    assert.is_true(rawequal(actor.self(), helper.round_trip(actor.self())))
  end)

  it("is a table key", function()
    local t = { [actor.self()] = "me" }
    assert.equal("me", t[helper.round_trip(actor.self())])
  end)

  it("differs from every earlier one", function()
    local seen, repeated = {}, false
    for _ = 1, 300 do
      local pid = helper.dead_pid()
      if seen[pid] then repeated = true end
      seen[pid] = true
    end
    assert.is_false(repeated)
  end)

  it("never leads to a later process", function()
    local stale = helper.dead_pid()
    local later = {}
    for i = 1, 50 do later[i] = helper.spawn_idle() end
    actor.send(stale, "for the dead")
    local lengths = 0
    for _, pid in ipairs(later) do
      lengths = lengths + actor.info(pid, "mailbox_length")
      helper.kill(pid)
    end
    assert.equal(0, lengths)
  end)
end)

describe("tables of messages", function()
  local code = [[
    local actor = require "luactor"
    local V = actor.var
    local function text(v)
      if type(v) ~= "table" then return (math.type(v) or "") .. tostring(v) end
      local keys, out = {}, {}
      for k in pairs(v) do keys[#keys + 1] = k end
      table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
      for i, k in ipairs(keys) do out[i] = tostring(k) .. "=" .. text(v[k]) end
      return "{" .. table.concat(out, ",") .. "}"
    end
    local function make(i)
      local long = {}
      for k = 1, 70000, 7 do long[#long + 1] = k * i end
      return {
        ints = { i, 255, 256, -i, 2 ^ 31 | 0, math.mininteger, math.maxinteger },
        floats = { 1.0, i / 4, -0.0, 1 / 0 }, mixed = { 1, 2.0, "x", true, 3 },
        one = { i }, holes = { 1, nil, 3, nil }, keys = { [0] = 0, [i + 9] = 1 },
        shrunk = (function() local t = { 1, 2, 3, 4 } t[4] = nil return t end)(),
        record = { name = "n" .. i, id = i, tags = { "a", "b" } },
        [i] = i, last = #long, long = i == 3 and long or nil,
      }
    end
    local echo = actor.spawn(function(parent)
      while true do actor.post(parent, actor.receive()) end
    end, actor.self())
    for i = 1, 9 do
      actor.send(echo, make(i))
      local back = actor.receive({ V.x })
      assert(text(back) == text(make(i)))
      back.long = nil
      print(text(back), text(actor.unpack(actor.pack(back))))
    end
    actor.exit(echo, "kill")
  ]]

  it("are the same whether Lua's memory or its API is used", function()
    local with, err, status = helper.cli { code = code }
    assert.same({ "", 0 }, { err, status })
    local without = helper.cli { code = code, env = "LUACTOR_DIRECT=0" }
    assert.equal(without, with)
  end)
end)

describe("actor.ref", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("is fresh each time", function()
    local seen, repeated = {}, false
    for _ = 1, 1000 do
      local ref = actor.ref()
      if seen[ref] then repeated = true end
      seen[ref] = true
    end
    assert.is_false(repeated)
  end)

  it("is unique among processes", function()
    local seen, repeated = {}, false
    for _ = 1, 10 do
      for _, ref in ipairs(helper.run(function()
        local refs = {}
        for i = 1, 100 do refs[i] = actor.ref() end
        return refs
      end)) do
        if seen[ref] then repeated = true end
        seen[ref] = true
      end
    end
    assert.is_false(repeated)
  end)
end)

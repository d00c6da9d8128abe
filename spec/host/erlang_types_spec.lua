-- Erlang's types as Lua values: atoms, tuples, maps, improper lists, and what is only
-- passed on.
local actor = require "luactor"
local helper = require "spec.helper"
local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G

local V = actor.var
local atom, tuple = actor.atom, actor.tuple

local function there_and_back(v)
  actor.send(actor.self(), v)
  return (actor.receive())
end

local function matches(pattern, message)
  actor.send(actor.self(), message)
  local hit = actor.flush(pattern) == 1
  actor.flush(actor._)
  return hit
end

-- What term_to_binary makes.
local A_TUPLE = "\131h\2w\2okm\0\0\0\2hi"          -- {ok, <<"hi">>}
local A_MAP = "\131t\0\0\0\1w\1ka\5"               -- #{k => 5}
local IMPROPER = "\131l\0\0\0\1w\1aw\1b"           -- [a | b]
local A_PID = "\131Xw\3a@b\0\0\0\9\0\0\0\1\0\0\0\5" -- <a@b.268435465>
local A_REF = "\131Z\0\1w\3a@b\0\0\0\5\0\0\0\7"

describe("an atom", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("is one value for one text", function()
    assert.is_true(rawequal(atom "ok", atom "ok"))
    assert.is_false(atom "ok" == atom "no")
    assert.equal("ok", tostring(atom "ok"))
    assert.equal(7, ({ [atom "ok"] = 7 })[atom "ok"])
  end)

  it("stays one on its way", function()
    assert.is_true(rawequal(atom "ok", there_and_back(atom "ok")))
    assert.is_true(rawequal(atom "ok", there_and_back({ atom "ok" })[1]))
    assert.is_true(rawequal(atom "ok", actor.unpack(actor.pack(atom "ok"))))
    local me = actor.self()
    actor.spawn(function(a) me:send { tostring(a), a == require "luactor".atom "ok" } end,
      atom "ok")
    assert.same({ "ok", true }, actor.receive())
  end)

  it("is forgotten when nobody holds it", function()
    collectgarbage()
    local before = collectgarbage "count"
    for i = 1, 10000 do atom("atom" .. i) end
    collectgarbage()
    assert.is_true(collectgarbage "count" - before < 1000)
  end)

  it("is UTF-8 of at most 255 characters", function()
    assert.equal(("å"):rep(255), tostring(atom(("å"):rep(255))))
    for _, text in ipairs { "\xff", ("a"):rep(256) } do
      local ok, why = pcall(atom, text)
      assert.is_false(ok)
      assert.matches("an atom is UTF%-8 text of at most 255 characters", why)
    end
  end)
end)

describe("the atom nil", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("is nil as a whole and in tuples, null in lists and maps", function()
    assert.is_nil(actor.unpack "\131w\3nil")
    assert.equal(actor.null, actor.unpack("\131l\0\0\0\1w\3nilj")[1])
    assert.equal(actor.null, actor.unpack("\131t\0\0\0\1w\1kw\3nil").k)
    local t = actor.unpack "\131h\2w\3nila\5"
    assert.is_nil(t[1])
    assert.equal(5, t[2])
    assert.equal(2, #t)
    assert.equal(actor.null, there_and_back { actor.null }[1])
  end)
end)

describe("a tuple", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("is a table that stays a tuple", function()
    local t = actor.unpack(A_TUPLE)
    assert.equal(2, #t)
    assert.equal(atom "ok", t[1])
    assert.equal("hi", t[2])
    assert.equal(A_TUPLE, actor.pack(t))
    assert.equal(A_TUPLE, actor.pack(there_and_back(t)))
    assert.equal(A_TUPLE, actor.pack(tuple { atom "ok", "hi" }))
  end)

  it("may hold nil", function()
    local t = there_and_back(tuple { nil, 1, nil, n = 3 })
    assert.equal(3, #t)
    assert.same({ nil, 1, nil }, { t[1], t[2], t[3] })
  end)

  it("nests", function()
    local t = there_and_back(tuple { { tuple { 1 } } })
    assert.equal("\131h\1a\1", actor.pack(t[1][1]))
  end)

  it("is made of a plain table", function()
    assert.has_error(function() tuple(setmetatable({}, {})) end,
      "bad argument #1 to 'tuple' (a table without a metatable expected)")
    assert.has_error(function() tuple { n = "x" } end,
      "bad argument #1 to 'tuple' (field n is no size)")
  end)

  it("that cannot travel says where", function()
    local ok, why = pcall(actor.send, actor.self(),
      { x = tuple { 1, coroutine.create(print) } })
    assert.is_false(ok)
    assert.matches("cannot send message%.x%[2%]", why)
  end)
end)

describe("a map", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("with atom keys has strings here", function()
    local m = actor.unpack(A_MAP)
    assert.equal(5, m.k)
    assert.equal(A_MAP, actor.pack(m))
    assert.equal(A_MAP, actor.pack(there_and_back(m)))
    assert.equal(A_MAP, actor.pack(actor.atomkeys { k = 5 }))
  end)

  it("that could be a list, or is empty, stays a map", function()
    for _, bytes in ipairs { "\131t\0\0\0\0", "\131t\0\0\0\1a\1a\2" } do
      assert.equal(bytes, actor.pack(actor.unpack(bytes)))
      assert.equal(bytes, actor.pack(there_and_back(actor.unpack(bytes))))
    end
    assert.equal("\131t\0\0\0\1a\1a\2", actor.pack(actor.map { 2 }))
    assert.equal("\131t\0\0\0\0", actor.pack(actor.map {}))
    assert.equal("\131j", actor.pack {})
  end)
end)

describe("an improper list", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("has its tail in a field", function()
    local c = actor.unpack(IMPROPER)
    assert.equal(atom "a", c[1])
    assert.equal(atom "b", c.tail)
    assert.equal(IMPROPER, actor.pack(c))
    assert.equal(IMPROPER, actor.pack(there_and_back(c)))
    assert.equal(IMPROPER, actor.pack(actor.cons({ atom "a" }, atom "b")))
    local inner = { actor.cons({ 1, 2 }, 3), 4, actor.cons({ 5 }, "end"), 6 }
    local back = actor.unpack(actor.pack(inner))
    assert.same({ 3, 4, "end", 6 },
      { back[1].tail, back[2], back[3].tail, back[4] })
    assert.has_error(function() actor.cons({}, 1) end,
      "bad argument #1 to 'cons' (at least one element expected)")
    assert.has_error(function() actor.cons({ 1 }, { 2 }) end,
      "bad argument #2 to 'cons' (the tail of an improper list is no list)")
  end)
end)

describe("an identity of another node", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("is one value wherever it comes from", function()
    local p = actor.unpack(A_PID)
    assert.is_true(rawequal(p, actor.unpack(A_PID)))
    assert.is_true(rawequal(p, there_and_back(p)))
    assert.is_true(rawequal(p, there_and_back({ k = { p } }).k[1]))
    assert.equal(1, ({ [p] = 1 })[actor.unpack(A_PID)])
    assert.equal("<a@b.268435465>", tostring(p))
    assert.equal(A_PID, actor.pack(p))
    assert.equal(A_REF, actor.pack(there_and_back(actor.unpack(A_REF))))
  end)

  it("is a pid, or a ref, in patterns", function()
    local p, r = actor.unpack(A_PID), actor.unpack(A_REF)
    assert.is_true(matches({ "x", V.from "pid" }, { "x", p }))
    assert.is_false(matches({ "x", V.from "pid" }, { "x", r }))
    assert.is_true(matches({ "x", V.from "ref" }, { "x", r }))
    assert.is_true(matches({ "x", p }, { "x", p }))
    assert.is_false(matches({ "x", p }, { "x", r }))
    assert.is_false(matches({ "x", p }, { "x", actor.self() }))
    assert.is_true(matches({ V.a, V.a }, { p, p }))
    assert.is_false(matches({ V.a, V.a }, { p, r }))
  end)
end)

describe("in a pattern,", function()
  before_each(helper.mark)
  after_each(helper.check)
  local hello = tuple { atom "hello", 1 }

  it("a string matches an atom and a sequence a tuple", function()
    assert.is_true(matches({ "hello", V.x }, hello))
    assert.is_true(matches({ "hello", 1 }, { atom "hello", 1 }))
    assert.is_true(matches({ k = "v" }, actor.atomkeys { k = atom "v" }))
  end)

  it("an atom matches only atoms, bin only strings", function()
    assert.is_true(matches({ atom "hello", 1 }, hello))
    assert.is_false(matches({ atom "hello", 1 }, { "hello", 1 }))
    assert.is_false(matches({ actor.bin "hello", 1 }, hello))
    assert.is_true(matches({ actor.bin "hello", 1 }, { "hello", 1 }))
  end)

  it("a tuple matches only tuples", function()
    assert.is_true(matches(tuple { "hello", V.x }, hello))
    assert.is_false(matches(tuple { "hello", V.x }, { "hello", 1 }))
    assert.is_true(matches({ V.t "tuple", V.a "atom" }, { hello, atom "x" }))
    assert.is_false(matches({ V.t "tuple" }, { { 1 } }))
    assert.is_false(matches({ V.a "atom" }, { "x" }))
  end)

  it("an improper list is refused", function()
    local ok, why = pcall(actor.receive, { actor.cons({ 1 }, 2) }, 0)
    assert.is_false(ok)
    assert.matches("an improper list cannot be matched", why)
  end)
end)

describe("a fun of Erlang", function()
  it("can be named and passed on", function()
    local f = there_and_back(actor.export("lists", "map", 2))
    assert.same({ "lists", "map", 2 }, { f.module, f.fn, f.arity })
    assert.matches("^opaque fun", tostring(f))
  end)
end)

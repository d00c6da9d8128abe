local actor = require "luactor"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- functions that travel take the real globals along
local V, is, exact, oneof = actor.var, actor.is, actor.exact, actor.oneof


-- What receive makes of one message: packed results.
local function poll(pattern, message)
  actor.send(actor.self(), message)
  local got = table.pack(actor.receive(pattern, 0))
  actor.flush(actor._)
  return got
end

-- Does the pattern match? Says so even when what it returns is nil.
local function matches(pattern, message)
  actor.send(actor.self(), message)
  local yes = actor.receive(
    actor.on(pattern, function() return true end),
    actor.after(0, function() return false end))
  actor.flush(actor._)
  return yes
end

describe("a plain value as a pattern", function()
  before_each(helper.mark)
  after_each(helper.check)

  local a_pid, a_ref = actor.self(), actor.ref()
  local rows = {
    { "a string", "x", "x", true },
    { "another string", "x", "y", false },
    { "a longer string", "x", "xx", false },
    { "a number for a string", "1", 1, false },
    { "a string for a number", 1, "1", false },
    { "an integer", 1, 1, true },
    { "an equal float", 1, 1.0, true },
    { "an equal integer for a float", 1.0, 1, true },
    { "another float", 1, 1.5, false },
    { "a great integer", math.maxinteger, math.maxinteger, true },
    { "a float near a great integer", math.maxinteger, 2.0 ^ 63, false },
    { "minus zero", 0, -0.0, true },
    { "true", true, true, true },
    { "false for true", true, false, false },
    { "1 for true", true, 1, false },
    { "false", false, false, true },
    { "nil for false", false, nil, false },
    { "a long string", ("x"):rep(20000), ("x"):rep(20000), true },
    { "a long string that differs at the end", ("x"):rep(20000),
      ("x"):rep(19999) .. "y", false },
    { "a pid", a_pid, a_pid, true },
    { "a ref for a pid", a_pid, a_ref, false },
    { "a ref", a_ref, a_ref, true },
    { "another ref", a_ref, actor.ref(), false },
    { "a table for a string", "x", { "x" }, false },
  }
  for _, row in ipairs(rows) do
    local verb = row[4] and "matches " or "does not match "
    it(verb .. row[1], function()
      assert.equal(row[4], matches(row[2], row[3]))
    end)
  end
end)

describe("a table as a pattern", function()
  before_each(helper.mark)
  after_each(helper.check)

  local rows = {
    { "the same elements", { "a", 1 }, { "a", 1 }, true },
    { "fewer elements", { "a", 1 }, { "a" }, false },
    { "more elements", { "a", 1 }, { "a", 1, 2 }, false },
    { "other elements", { "a", 1 }, { "b", 1 }, false },
    { "no table", { "a" }, "a", false },
    { "other keys besides its elements", { "a" }, { "a", x = 1 }, true },
    { "the keys it names", { x = 1 }, { x = 1 }, true },
    { "the keys it names and others", { x = 1 }, { x = 1, y = 2 }, true },
    { "a table without a key it names", { x = 1 }, { y = 2 }, false },
    { "a key with another value", { x = 1 }, { x = 2 }, false },
    { "elements and keys together", { "a", x = 1 }, { "a", x = 1, y = 2 }, true },
    { "elements without the key", { "a", x = 1 }, { "a" }, false },
    { "the key without the elements", { "a", x = 1 }, { x = 1 }, false },
    { "any sequence when it names keys alone", { x = 1 }, { 1, 2, x = 1 }, true },
    { "an empty table when it is empty", {}, {}, true },
    { "any sequence when it is empty", {}, { 1, 2 }, true },
    { "any record when it is empty", {}, { a = 1 }, true },
    { "no string when it is empty", {}, "", false },
    { "nested tables", { "a", { "b", { c = { 1 } } } },
      { "a", { "b", { c = { 1 } } } }, true },
    { "nested tables that differ", { "a", { "b", { c = { 1 } } } },
      { "a", { "b", { c = { 2 } } } }, false },
    { "integer keys beyond its sequence", { [10] = "x" }, { [10] = "x" }, true },
    { "a boolean key", { [true] = "x" }, { [true] = "x" }, true },
    { "a key whose value is false", { x = false }, { x = false }, true },
    { "false for an absent key", { x = false }, {}, false },
    { "the elements of a long sequence", { 1, 2, 3, 4, 5, 6, 7, 8, 9 },
      { 1, 2, 3, 4, 5, 6, 7, 8, 9 }, true },
    { "integers where it has equal floats", { 1.0, 2.0 }, { 1, 2 }, true },
  }
  for _, row in ipairs(rows) do
    local verb = row[4] and "matches " or "does not match "
    it(verb .. row[1], function()
      assert.equal(row[4], matches(row[2], row[3]))
    end)
  end

  it("matches a cyclic message", function()
    local message = { "loop" }
    message.self = message
    assert.is_true(matches({ "loop" }, message))
  end)

  it("captures from a table that stands twice in the message", function()
    local shared = { 5 }
    local got = poll({ { V.x }, { V.y } }, { shared, shared })
    assert.same({ 5, 5, n = 2 }, got)
  end)

  it("captures a shared table twice as the same table", function()
    local shared = {}
    local got = poll({ V.a, V.b }, { shared, shared })
    assert.is_true(rawequal(got[1], got[2]))
  end)
end)

describe("actor.exact", function()
  before_each(helper.mark)
  after_each(helper.check)

  local rows = {
    { "the same elements", exact { "a", 1 }, { "a", 1 }, true },
    { "more elements", exact { "a" }, { "a", 1 }, false },
    { "other keys", exact { "a" }, { "a", x = 1 }, false },
    { "the same keys", exact { x = 1 }, { x = 1 }, true },
    { "the same keys and others", exact { x = 1 }, { x = 1, y = 2 }, false },
    { "a sequence besides its keys", exact { x = 1 }, { 5, x = 1 }, false },
    { "an empty table when it is empty", exact {}, {}, true },
    { "a sequence when it is empty", exact {}, { 1 }, false },
    { "a record when it is empty", exact {}, { a = 1 }, false },
    { "elements and keys", exact { "a", x = 1 }, { "a", x = 1 }, true },
  }
  for _, row in ipairs(rows) do
    local verb = row[4] and "matches " or "does not match "
    it(verb .. row[1], function()
      assert.equal(row[4], matches(row[2], row[3]))
    end)
  end

  it("leaves tables inside it open", function()
    assert.is_true(matches(exact { { "a" } }, { { "a", x = 1 } }))
  end)

  it("stands inside an open table", function()
    assert.is_false(matches({ exact { "a" } }, { { "a", x = 1 }, y = 2 }))
  end)
end)

describe("a variable", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("captures a value of each kind", function()
    for _, x in ipairs { true, false, 1, 1.5, "s", { 1, a = 2 }, actor.self() } do
      assert.same({ x, n = 1 }, poll({ "v", V.x }, { "v", x }))
    end
  end)

  it("captures a function", function()
    local got = poll({ "v", V.f }, { "v", function() return 7 end })
    assert.equal(7, got[1]())
  end)

  it("captures the whole message", function()
    assert.same({ { 1, 2 }, n = 1 }, poll(V.m, { 1, 2 }))
  end)

  it("does not match nil", function()
    assert.is_false(matches(V.x, nil))
  end)

  it("does not match an absent key", function()
    assert.is_false(matches({ key = V.x }, {}))
  end)

  it("captures the value of a key", function()
    assert.same({ 5, n = 1 }, poll({ "t", key = V.x }, { "t", key = 5 }))
  end)

  it("demands equal values where its name stands twice", function()
    assert.same({ true, false },
      { matches({ V.x, V.x }, { 1, 1 }), matches({ V.x, V.x }, { 1, 2 }) })
  end)

  it("takes 1 and 1.0 for equal", function()
    assert.is_true(matches({ V.x, V.x }, { 1, 1.0 }))
  end)

  it("does not take 1 and '1' for equal", function()
    assert.is_false(matches({ V.x, V.x }, { 1, "1" }))
  end)

  it("compares tables by structure", function()
    assert.same({ true, false }, {
      matches({ V.x, V.x }, { { 1, a = { 2 } }, { 1, a = { 2 } } }),
      matches({ V.x, V.x }, { { 1, a = { 2 } }, { 1, a = { 3 } } }) })
  end)

  it("compares tables whatever the order of their keys", function()
    local a, b = {}, {}
    for i = 1, 20 do a["k" .. i] = i end
    for i = 20, 1, -1 do b["k" .. i] = i end
    assert.is_true(matches({ V.x, V.x }, { a, b }))
  end)

  it("does not equal itself when it is NaN", function()
    assert.is_false(matches({ V.x, V.x }, { 0 / 0, 0 / 0 }))
  end)

  it("is captured once where its name stands twice", function()
    assert.same({ 4, n = 1 }, poll({ V.x, V.x }, { 4, 4 }))
  end)

  it("named _ is not captured", function()
    assert.same({ 2, n = 1 }, poll({ V._, V.x, V._ }, { 1, 2, 3 }))
  end)

  it("named _ may stand for different values", function()
    assert.is_true(matches({ V._, V._ }, { 1, 2 }))
  end)

  it("named _ matches nil", function()
    assert.same({ true, true }, { matches(V._, nil), matches(actor._, nil) })
  end)

  it("named _ matches false and tables", function()
    assert.same({ true, true },
      { matches({ actor._ }, { false }), matches({ V._ }, { {} }) })
  end)

  it("may have any name", function()
    assert.same({ 1, 2, n = 2 }, poll({ V.on, V.send }, { 1, 2 }))
  end)
end)

describe("a type", function()
  before_each(helper.mark)
  after_each(helper.check)

  local values = {
    ["nil"] = { nil },
    boolean = { true, false },
    integer = { 0, -5, math.maxinteger },
    float = { 0.5, 1.0, math.huge, -0.0 },
    string = { "", "text", ("x"):rep(10000) },
    table = { {}, { 1 }, { a = 1 } },
    ["function"] = { function() end },
    pid = { actor.self() },
    ref = { actor.ref() },
  }
  -- The kinds of value for which a type name stands.
  local covers = {
    ["nil"] = { "nil" }, boolean = { "boolean" }, integer = { "integer" },
    float = { "float" }, number = { "integer", "float" }, string = { "string" },
    table = { "table" }, ["function"] = { "function" }, pid = { "pid" },
    ref = { "ref" },
  }

  for name, kinds in pairs(covers) do
    local wanted = {}
    for _, kind in ipairs(kinds) do wanted[kind] = true end

    it("'" .. name .. "' matches its own values and no others", function()
      local wrong = {}
      for kind, list in pairs(values) do
        for i = 1, kind == "nil" and 1 or #list do
          if matches(is(name), list[i]) ~= (wanted[kind] or false) then
            wrong[#wrong + 1] = kind .. " " .. tostring(list[i])
          end
        end
      end
      assert.same({}, wrong)
    end)
  end

  it("on a variable matches only its values", function()
    assert.same({ true, false }, {
      matches({ V.n "integer" }, { 1 }), matches({ V.n "integer" }, { "1" }) })
  end)

  it("on a variable captures", function()
    assert.same({ 1.5, n = 1 }, poll({ V.n "float" }, { 1.5 }))
  end)

  it("alone does not capture", function()
    assert.same({ { 1 }, n = 1 }, poll({ is "integer" }, { 1 }))
  end)

  it("raises at once when it is unknown", function()
    assert.has_error(function() return V.n "intger" end)
  end)

  it("raises at once when actor.is does not know it", function()
    assert.has_error(function() return is "thing" end)
  end)
end)

describe("a rest", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("captures what is left of the sequence", function()
    assert.same({ { 1, 2, 3 }, n = 1 },
      poll({ "args", V.rest "..." }, { "args", 1, 2, 3 }))
  end)

  it("may be empty", function()
    assert.same({ {}, n = 1 }, poll({ "args", V.rest "..." }, { "args" }))
  end)

  it("may be the whole sequence", function()
    assert.same({ { 1, 2 }, n = 1 }, poll({ V.rest "..." }, { 1, 2 }))
  end)

  it("follows other captures", function()
    assert.same({ 1, { 2, 3 }, n = 2 },
      poll({ V.first, V.rest "..." }, { 1, 2, 3 }))
  end)

  it("demands the elements before it", function()
    assert.is_false(matches({ "a", "b", V.rest "..." }, { "a" }))
  end)

  it("holds tables", function()
    assert.same({ { { 1 }, { x = 2 } }, n = 1 },
      poll({ "t", V.rest "..." }, { "t", { 1 }, { x = 2 } }))
  end)

  it("leaves keys out", function()
    assert.same({ { 1 }, n = 1 }, poll({ V.rest "..." }, { 1, key = 2 }))
  end)

  it("raises at once when it is not last", function()
    assert.has_error(function()
      return actor.on({ V.rest "...", "end" }, function() end)
    end)
  end)
end)

describe("V.name:of", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("captures whole what its pattern matches", function()
    assert.same({ { "p", 1, x = 2 }, n = 1 },
      poll({ "m", V.whole:of { "p", 1 } }, { "m", { "p", 1, x = 2 } }))
  end)

  it("comes before the captures inside it", function()
    assert.same({ { 1, 2 }, 1, 2, n = 3 },
      poll(V.whole:of { V.a, V.b }, { 1, 2 }))
  end)

  it("does not match what its pattern does not", function()
    assert.is_false(matches(V.whole:of { "p" }, { "q" }))
  end)

  it("takes a choice", function()
    assert.same({ "stop", n = 1 },
      poll({ V.word:of(oneof("stop", "quit")) }, { "stop" }))
  end)
end)

describe("a choice", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("matches each alternative", function()
    local p = oneof("stop", 1, { "quit" })
    assert.same({ true, true, true, false },
      { matches(p, "stop"), matches(p, 1), matches(p, { "quit" }),
        matches(p, "other") })
  end)

  it("is written with + as well", function()
    local p = is "integer" + is "string"
    assert.same({ true, true, false },
      { matches(p, 1), matches(p, "x"), matches(p, true) })
  end)

  it("takes a plain value beside a pattern object with +", function()
    local p = is "integer" + "none"
    assert.same({ true, true, false },
      { matches(p, 1), matches(p, "none"), matches(p, "x") })
  end)

  it("binds the names of the alternative that matched", function()
    local p = oneof({ "a", V.x }, { "b", { V.x } })
    assert.same({ { 1, n = 1 }, { 2, n = 1 } },
      { poll(p, { "a", 1 }), poll(p, { "b", { 2 } }) })
  end)

  it("is ordered", function()
    local p = oneof({ V.x, V._ }, { V._, V.x })
    assert.same({ 1, n = 1 }, poll(p, { 1, 2 }))
  end)

  it("tries the next alternative when the rest of the pattern fails in one",
    function()
      local p = { oneof({ V.x, "a" }, { V.x, "b" }), V.x }
      assert.same({ 5, n = 1 }, poll(p, { { 5, "b" }, 5 }))
    end)

  it("keeps nothing of an alternative that failed", function()
    local p = oneof({ V.x, V.y "string" }, { V.y, V.x })
    assert.same(2, #poll(p, { 1, 2 }))
  end)

  it("raises at once when the alternatives bind different names", function()
    assert.has_error(function()
      return actor.on(oneof({ V.x }, { V.y }), function() end)
    end)
  end)

  it("stands inside a table", function()
    local p = { "set", oneof("on", "off"), key = oneof(1, 2) }
    assert.same({ true, false }, {
      matches(p, { "set", "off", key = 2 }), matches(p, { "set", "off", key = 3 }) })
  end)
end)

describe("an LPeg pattern", function()
  local lpeg = require "lpeg"
  local R, C, Ct = lpeg.R, lpeg.C, lpeg.Ct
  local digits = R "09" ^ 1

  before_each(helper.mark)
  after_each(helper.check)

  it("matches a string to its end", function()
    assert.same({ true, false, false },
      { matches(digits, "123"), matches(digits, "123x"), matches(digits, "x") })
  end)

  it("does not match other kinds of value", function()
    assert.same({ false, false }, { matches(digits, 123), matches(digits, {}) })
  end)

  it("returns its captures", function()
    assert.same({ "12", "34", n = 2 },
      poll(C(digits) * ":" * C(digits), "12:34"))
  end)

  it("returns captures of any kind", function()
    assert.same({ 12, { "3" }, n = 2 },
      poll(C(digits) / tonumber * ":" * Ct(C(digits)), "12:3"))
  end)

  it("returns the message when it has no captures", function()
    assert.same({ "55", n = 1 }, poll(digits, "55"))
  end)

  it("stands inside a table among variables", function()
    assert.same({ "k", "7", true, n = 3 },
      poll({ V.key, C(digits), V.flag }, { "k", "7", true }))
  end)

  it("leaves a message that it does not match", function()
    actor.send(actor.self(), "no digits")
    actor.send(actor.self(), "42")
    local got = actor.receive(C(digits), 0)
    local rest = actor.receive()
    assert.same({ "42", "no digits" }, { got, rest })
  end)
end)

describe("a mistake in a pattern", function()
  it("raises at once for a function", function()
    assert.has_error(function() return actor.on(print, function() end) end)
  end)

  it("raises at once for a foreign userdata", function()
    assert.has_error(function() return actor.on({ io.stdout }, function() end) end)
  end)

  it("says where it is", function()
    local ok, e = pcall(actor.on, { "a", { key = io.stdout } }, function() end)
    assert.same({ false, "key" }, { ok, tostring(e):match "key" })
  end)
end)

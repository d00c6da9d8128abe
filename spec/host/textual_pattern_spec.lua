local actor = require "luactor"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- functions that travel take the real globals along
local match = actor.match

local function poll(pattern, message)
  actor.send(actor.self(), message)
  local got = table.pack(actor.receive(pattern, 0))
  actor.flush(actor._)
  return got
end

local function matches(pattern, message)
  actor.send(actor.self(), message)
  local yes = actor.receive(
    actor.on(pattern, function() return true end),
    actor.after(0, function() return false end))
  actor.flush(actor._)
  return yes
end

describe("actor.match", function()
  before_each(helper.mark)
  after_each(helper.check)

  local rows = {
    { "'stop'", "stop", true },
    { "'stop'", "go", false },
    { '"stop"', "stop", true },
    { "42", 42, true },
    { "42", 42.0, true },
    { "-1.5", -1.5, true },
    { "42", "42", false },
    { "true", true, true },
    { "true", "true", false },
    { "false", false, true },
    { "_", "anything", true },
    { "_", nil, true },
    { "x", "anything", true },
    { "x", nil, false },
    { "'stop' | 'quit'", "stop", true },
    { "'stop' | 'quit'", "quit", true },
    { "'stop' | 'quit'", "go", false },
    { "{ 'add', x, y }", { "add", 1, 2 }, true },
    { "{ 'add', x, y }", { "add", 1 }, false },
    { "{ 'add', x: integer }", { "add", 1 }, true },
    { "{ 'add', x: integer }", { "add", 1.5 }, false },
    { "{ 'add', x: number }", { "add", 1.5 }, true },
    { "{ 'add', x: string }", { "add", "s" }, true },
    { "{ key = 'v' }", { key = "v", other = 1 }, true },
    { "{ key = 'v' }", { key = "w" }, false },
    { "{ 'add', key = _ }", { "add", key = 3 }, true },
    { "{}", { 1, 2, 3 }, true },
    { "{ {1}, { 'two' } }", { { 1 }, { "two" } }, true },
    { "{ 'a' | 'b', x }", { "b", 1 }, true },
    { "{ x, x }", { 1, 1 }, true },
    { "{ x, x }", { 1, 2 }, false },
    { "x when x > 3", 4, true },
    { "x when x > 3", 3, false },
    { "{ x, y } when x > y and x < 10", { 9, 1 }, true },
    { "{ x, y } when x > y and x < 10", { 11, 1 }, false },
  }
  for _, row in ipairs(rows) do
    local verb = row[3] and "matches " or "does not match "
    it(verb .. helper.show(row[2]) .. " with " .. row[1], function()
      assert.equal(row[3], matches(match(row[1]), row[2]))
    end)
  end

  it("captures bare names in order of first appearance", function()
    assert.same({ 1, 2, n = 2 }, poll(match "{ 'p', a, { b } }", { "p", 1, { 2 } }))
  end)

  it("does not capture _", function()
    assert.same({ 2, n = 1 }, poll(match "{ _, x }", { 1, 2 }))
  end)

  it("captures with a type", function()
    assert.same({ 5, n = 1 }, poll(match "{ 'n', x: integer }", { "n", 5 }))
  end)

  it("captures the rest of a sequence", function()
    assert.same({ { 1, 2 }, n = 1 },
      poll(match "{ 'rest', ...args }", { "rest", 1, 2 }))
  end)

  it("captures an empty rest", function()
    assert.same({ {}, n = 1 }, poll(match "{ 'rest', ...args }", { "rest" }))
  end)

  it("takes the whole example of the manual", function()
    local p = match "{ 'add', x: integer, y: number, key = _ } when x > y and x < 10"
    assert.same({ 5, 2.5, n = 2 }, poll(p, { "add", 5, 2.5, key = true }))
  end)

  it("inserts a given value", function()
    local ref = actor.ref()
    local p = match("{ ^ref, x }", { ref = ref })
    assert.same({ 7, n = 1 }, poll(p, { ref, 7 }))
  end)

  it("does not match another value than the given one", function()
    assert.is_false(matches(match("^name", { name = "a" }), "b"))
  end)

  it("inserts a given pattern object or table", function()
    local p = match("{ 'at', ^where }", { where = { "x", 1 } })
    assert.is_true(matches(p, { "at", { "x", 1 } }))
  end)

  it("spans lines", function()
    assert.is_true(matches(match "{\n  'a',\n  b\n}", { "a", 1 }))
  end)

  it("serves a clause", function()
    actor.send(actor.self(), { "mul", 3, 4 })
    assert.equal(12, (actor.receive(
      actor.on(match "{ 'mul', x, y }", function(x, y) return x * y end))))
  end)

  it("serves inside another pattern", function()
    assert.same({ 3, n = 1 },
      poll({ "wrapped", match "{ 'in', x }" }, { "wrapped", { "in", 3 } }))
  end)

  it("may be built once and used often", function()
    local p = match "{ 'n', x }"
    local sum = 0
    for i = 1, 10 do sum = sum + poll(p, { "n", i })[1] end
    assert.equal(55, sum)
  end)

  for _, bad in ipairs { "", "{", "{ 'a'", "{ 'a' 'b' }", "'open", "{ x: }",
      "x when", "x when x >", "{ ...a, b }", "| 'a'", "'a' |", "{ x: intger }",
      "x y", "^" } do
    it("refuses " .. helper.show(bad) .. " when it is built", function()
      assert.has_error(function() match(bad) end)
    end)
  end

  it("names the position of a mistake", function()
    local _, e = pcall(match, "{ 'add', x: integer, % }")
    assert.matches("22", tostring(e))
  end)

  it("refuses a value that was not given", function()
    assert.has_error(function() match("^missing", {}) end)
  end)

  it("refuses a guard over names that the pattern does not bind", function()
    assert.has_error(function() match "{ x } when y > 1" end)
  end)
end)

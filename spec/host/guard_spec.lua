local actor = require "luactor"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- functions that travel take the real globals along
local V, on, after = actor.var, actor.on, actor.after

-- Does `guard` hold for a message { x, y }?
local function holds(guard, x, y)
  actor.send(actor.self(), { x, y })
  local yes = actor.receive(
    on({ V.x, V.y }, guard, function() return true end),
    after(0, function() return false end))
  actor.flush(actor._)
  return yes
end

describe("a guard of text", function()
  before_each(helper.mark)
  after_each(helper.check)

  local rows = {
    { "x > y", 2, 1, true }, { "x > y", 1, 2, false }, { "x > y", 1, 1, false },
    { "x >= y", 1, 1, true }, { "x < y", 1, 2, true }, { "x <= y", 2, 1, false },
    { "x == y", 1, 1.0, true }, { "x == y", 1, "1", false },
    { "x ~= y", 1, 2, true }, { "x ~= y", "a", "a", false },
    { "x < y", "a", "b", true }, { "x < y", "b", "a", false },
    { "x == y", { 1, a = 2 }, { 1, a = 2 }, true },
    { "x + y == 3", 1, 2, true }, { "x - y == 3", 5, 2, true },
    { "x * y == 10", 5, 2, true }, { "x / y == 2.5", 5, 2, true },
    { "x // y == 2", 5, 2, true }, { "x % y == 1", 5, 2, true },
    { "x % y == 1", -5, 2, true }, { "x // y == -3", -5, 2, true },
    { "-x == y", 1, -1, true }, { "x + y * 2 == 7", 3, 2, true },
    { "(x + y) * 2 == 10", 3, 2, true }, { "x - y - 1 == 0", 3, 2, true },
    { "x > 0 and y > 0", 1, 1, true }, { "x > 0 and y > 0", 1, -1, false },
    { "x > 0 or y > 0", -1, 1, true }, { "x > 0 or y > 0", -1, -1, false },
    { "not (x > y)", 1, 2, true }, { "not x", false, 1, true },
    { "not x", 1, 1, false },
    { "x > 0 or x < 0 and y > 5", 1, 0, true },
    { "#x == 3", "abc", 0, true }, { "#x == y", { 1, 2 }, 2, true },
    { "#x > 3", "abc", 0, false },
    { "x == 'text'", "text", 0, true }, { 'x == "text"', "other", 0, false },
    { "x == true", true, 0, true }, { "x == nil", 1, 0, false },
    { "x == 0x10", 16, 0, true }, { "x == 1e3", 1000, 0, true },
    { "type(x) == 'string'", "s", 0, true },
    { "type(x) == 'number'", 1.5, 0, true },
    { "type(x) == 'table' and #x > 0", { 1 }, 0, true },
    { "type(x) == type(y)", 1, 2.5, true },
    { "x", true, 0, true }, { "x", false, 0, false }, { "x", 0, 0, true },
    { "true", 1, 1, true }, { "false", 1, 1, false },
    { "x < y", math.maxinteger, math.huge, true },
    { "x + 1 < x", math.maxinteger, 0, true },
  }
  for _, row in ipairs(rows) do
    local guard, x, y, expected = row[1], row[2], row[3], row[4]
    it(("'%s' is %s for %s and %s"):format(guard, expected, helper.show(x),
      helper.show(y)), function()
        assert.equal(expected, holds(guard, x, y))
      end)
  end

  for _, row in ipairs { { "x > y", 1, "a" }, { "x > y", {}, 1 },
      { "x + y > 0", "a", 1 }, { "#x > 0", 5, 0 }, { "x // y == 0", 1, 0 },
      { "x % y == 0", 1, 0 }, { "x < y", true, false } } do
    it(("'%s' is false when it would raise, for %s and %s"):format(row[1],
      helper.show(row[2]), helper.show(row[3])), function()
        assert.is_false(holds(row[1], row[2], row[3]))
      end)
  end

  it("is false as a whole when a part of it would raise", function()
    assert.is_false(holds("not (x > y)", 1, "a"))
  end)

  it("does not look at what a short circuit skips", function()
    assert.is_true(holds("x == 1 or x > y", 1, "a"))
  end)

  for _, bad in ipairs { "", "x >", "x > > y", "(x", "x y", "z > 1", "print(x)",
      "x = y", "'open", "x > 1 end", "os.exit()" } do
    it("refuses '" .. bad .. "' when the clause is built", function()
      assert.has_error(function()
        return on({ V.x, V.y }, bad, function() end)
      end)
    end)
  end

  it("names the position of a mistake", function()
    local _, e = pcall(on, { V.x }, "x > 1 and %", function() end)
    assert.matches("11", tostring(e))
  end)

  it("names an unknown name", function()
    local _, e = pcall(on, { V.x }, "x > limit", function() end)
    assert.matches("limit", tostring(e))
  end)
end)

describe("a guard that is a function", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("gets the captures", function()
    assert.same({ true, false }, {
      holds(function(x, y) return x > y end, 2, 1),
      holds(function(x, y) return x > y end, 1, 2) })
  end)

  it("may use its upvalues", function()
    local allowed = { a = true }
    assert.same({ true, false }, {
      holds(function(x) return allowed[x] end, "a", 0),
      holds(function(x) return allowed[x] end, "b", 0) })
  end)

  it("counts any value but nil and false as true", function()
    assert.is_true(holds(function() return 0 end, 1, 1))
  end)

  it("is false when it returns nothing", function()
    assert.is_false(holds(function() end, 1, 1))
  end)

  it("is false when it raises", function()
    assert.is_false(holds(function() error "no" end, 1, 1))
  end)
end)

describe("a clause with a guard", function()
  before_each(helper.mark)
  after_each(helper.check)

  for kind, guard in pairs { text = "n > 10",
      ["function"] = function(n) return n > 10 end } do
    describe("of kind " .. kind, function()
      it("lets later clauses try the message when it is false", function()
        actor.send(actor.self(), 5)
        assert.equal("small", (actor.receive(
          on(V.n "integer", guard, function() return "great" end),
          on(V.n "integer", function() return "small" end))))
      end)

      it("leaves the message when no clause takes it", function()
        actor.send(actor.self(), 5)
        actor.send(actor.self(), 50)
        local got = actor.receive(on(V.n, guard, function(n) return n end))
        assert.same({ 50, 5 }, { got, (actor.receive()) })
      end)
    end)
  end
end)

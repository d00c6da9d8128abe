local actor = require "luactor"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- functions that travel take the real globals along
local V = actor.var

describe("a function that travels", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("brings its upvalues by value", function()
    local n, list = 5, { 1, 2 }
    assert.same({ 5, { 1, 2 } }, { helper.run(function() return n, list end) })
  end)

  it("does not write back to the sender's upvalues", function()
    local n, list = 1, { "old" }
    helper.run(function()
      n = 2
      list[1] = "new"
    end)
    assert.same({ 1, { "old" } }, { n, list })
  end)

  it("takes the values that upvalues had at the spawn", function()
    local n = 1
    local me = actor.self()
    actor.spawn(function()
      actor.receive({ "go" }, 0)
      actor.send(me, { "n", n })
    end)
    n = 2
    assert.equal(1, (helper.receive { "n", V.n }))
  end)

  it("keeps an upvalue shared among the functions of one spawn", function()
    local count = 0
    local function add() count = count + 1 end
    local function get() return count end
    assert.equal(2, (helper.run(function()
      add()
      add()
      return get()
    end)))
  end)

  it("keeps an upvalue shared among the functions of one message", function()
    local count = 10
    local message = {
      add = function() count = count + 1 end,
      get = function() return count end,
    }
    assert.equal(12, (helper.run(function(m)
      m.add()
      m.add()
      return m.get()
    end, message)))
  end)

  it("gives two spawns upvalues of their own", function()
    local count = 0
    local function bump() count = count + 1 return count end
    helper.run(bump)
    assert.equal(1, (helper.run(bump)))
  end)

  it("may be recursive through its own upvalue", function()
    local function factorial(n) return n < 2 and 1 or n * factorial(n - 1) end
    assert.equal(3628800, (helper.run(function() return factorial(10) end)))
  end)

  it("finds the receiver's globals", function()
    local got = helper.run(function()
      transfer_spec_global = "set by the child"
      return (function() return transfer_spec_global end)()
    end)
    assert.same({ "set by the child", nil }, { got, transfer_spec_global })
  end)

  it("turns an upvalue that is the table of globals into the receiver's", function()
    local globals = _G
    assert.is_true((helper.run(function() return globals == _G end)))
  end)

  it("finds loaded modules by name", function()
    local text = string
    assert.is_true((helper.run(function() return text == string end)))
  end)

  it("finds modules of the user by name", function()
    local point = require "spec.fixture.point"
    assert.is_true((helper.run(function()
      return point == require "spec.fixture.point"
    end)))
  end)

  it("finds functions of loaded modules by name", function()
    local format, new = string.format, require "spec.fixture.point".new
    assert.same({ true, true }, { helper.run(function()
      return format == string.format, new == require "spec.fixture.point".new
    end) })
  end)

  it("finds global functions by name", function()
    local show = tostring
    assert.is_true((helper.run(function() return show == tostring end)))
  end)

  it("copies a table that a module holds", function()
    local point = require "spec.fixture.point"
    point.settings = { "mine" }
    local settings = point.settings
    local got, own = helper.run(function()
      return settings, require "spec.fixture.point".settings
    end)
    point.settings = nil
    assert.same({ { "mine" }, nil }, { got, own })
  end)

  it("keeps identity of tables among its upvalues", function()
    local a = {}
    local b = { a }
    assert.is_true((helper.run(function() return b[1] == a end)))
  end)

  it("rebuilds a pattern", function()
    local add = { "add", V.x "integer" }
    assert.equal(3, (helper.run(function()
      actor.send(actor.self(), { "add", 3 })
      return actor.receive(add, 0)
    end)))
  end)

  it("rebuilds a clause", function()
    local clause = actor.on({ "double", V.x }, function(x) return 2 * x end)
    assert.equal(8, (helper.run(function()
      actor.send(actor.self(), { "double", 4 })
      return actor.receive(clause)
    end)))
  end)

  it("rebuilds a receiver", function()
    local serve = actor.receiver(
      actor.on({ "half", V.x }, "x > 0", function(x) return x // 2 end),
      actor.after(0, function() return "empty" end))
    assert.same({ 4, "empty" }, { helper.run(function()
      actor.send(actor.self(), { "half", 8 })
      return serve(), (serve())
    end) })
  end)

  it("rebuilds a receiver that its handler calls", function()
    local serve
    serve = actor.receiver(
      actor.on({ "n", V.x }, function(x) return x, (serve()) end),
      actor.on("end", function() return "end" end))
    assert.same({ 1, "end" }, { helper.run(function()
      actor.post(actor.self(), "n", 1)
      actor.send(actor.self(), "end")
      return serve()
    end) })
  end)

  it("rebuilds a receiver that a module holds, and one object from two", function()
    package.loaded.holds_a_receiver = {
      serve = actor.receiver(actor.on(V.x, function(x) return x + 1 end)) }
    local serve = package.loaded.holds_a_receiver.serve
    local twice = { serve, serve }
    local got = { helper.run(function()
      actor.send(actor.self(), 1)
      return serve(), rawequal(twice[1], twice[2])
    end) }
    package.loaded.holds_a_receiver = nil
    assert.same({ 2, true }, got)
  end)

  it("may be a function that travelled before", function()
    local me = actor.self()
    local k = 3
    local function triple(x) return k * x end
    actor.spawn(function()
      actor.spawn(function() actor.send(me, { "result", triple(5) }) end)
    end)
    assert.equal(15, (helper.receive { "result", V.x }))
  end)

  it("keeps line numbers for its errors", function()
    local line = debug.getinfo(1, "l").currentline + 1
    local function broken() error("here") end
    local reason = helper.reason(broken)
    assert.matches("function_transfer_spec%.lua:" .. line .. ": here", reason[2])
  end)

  local function refusal(...)
    local ok, e = pcall(actor.spawn, ...)
    assert(not ok, "the spawn was not refused")
    return tostring(e)
  end

  it("raises in the spawner when an upvalue is a foreign userdata", function()
    local log = io.stderr
    assert.matches("cannot send upvalue 'log' (userdata FILE*)",
      refusal(function() log:write "x" end), 1, true)
  end)

  it("raises in the spawner when an upvalue is a coroutine", function()
    local co = coroutine.create(print)
    assert.matches("cannot send upvalue 'co'",
      refusal(function() return co end), 1, true)
  end)

  it("names the path below the upvalue", function()
    local config = { log = { file = io.stderr } }
    assert.matches("cannot send upvalue 'config'.log.file",
      refusal(function() return config end), 1, true)
  end)

  it("refuses an unknown C function and names its path", function()
    local message = { cfg = { handler = ("x"):gmatch(".") } }
    local ok, e = pcall(actor.send, actor.self(), message)
    assert(not ok)
    assert.matches("cannot send message.cfg.handler (C function)",
      tostring(e), 1, true)
  end)

  it("refuses an LPeg pattern", function()
    local word = require "lpeg".R "az"
    assert.matches("cannot send upvalue 'word'",
      refusal(function() return word end), 1, true)
  end)

  it("starts nothing when it is refused", function()
    local before = #actor.processes()
    local co = coroutine.create(print)
    refusal(function() return co end)
    assert.equal(before, #actor.processes())
  end)
end)

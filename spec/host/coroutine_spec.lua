local actor = require "luactor"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- functions that travel take the real globals along
-- The coroutine library keeps its meaning inside a process.
describe("coroutine", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("passes values in and out", function()
    local co = coroutine.create(function(a, b)
      local c, d = coroutine.yield(a + b)
      return c * d
    end)
    local r = { coroutine.resume(co, 1, 2) }
    local s = { coroutine.resume(co, 3, 4) }
    assert.same({ { true, 3 }, { true, 12 } }, { r, s })
  end)

  it("passes nil and no values", function()
    local co = coroutine.wrap(function(...)
      local n = select("#", ...)
      local m = select("#", coroutine.yield(n))
      return m, nil, nil
    end)
    assert.same({ 2, { 0, nil, nil, n = 3 } },
      { co(nil, nil), table.pack(co()) })
  end)

  it("tells the status", function()
    local seen = {}
    local co
    co = coroutine.create(function()
      seen[1] = coroutine.status(co)
      coroutine.wrap(function() seen[2] = coroutine.status(co) end)()
      coroutine.yield()
    end)
    coroutine.resume(co)
    seen[3] = coroutine.status(co)
    coroutine.resume(co)
    seen[4] = coroutine.status(co)
    assert.same({ "running", "normal", "suspended", "dead" }, seen)
  end)

  it("is suspended, not dead, after waiting for a message inside", function()
    local status
    local co = coroutine.create(function()
      actor.sleep(1)
      coroutine.yield()
    end)
    coroutine.resume(co)
    status = coroutine.status(co)
    assert.equal("suspended", status)
  end)

  it("returns errors of resume", function()
    local co = coroutine.create(function() error { code = 1 } end)
    assert.same({ false, { code = 1 } }, { coroutine.resume(co) })
  end)

  it("raises errors through wrap, with the position", function()
    local ok, e = pcall(coroutine.wrap(function() error "inside" end))
    assert.same({ false, true },
      { ok, e:find("coroutine_spec%.lua:%d+: inside") ~= nil })
  end)

  it("refuses to resume a dead coroutine", function()
    local co = coroutine.create(function() end)
    coroutine.resume(co)
    assert.same({ false, "cannot resume dead coroutine" }, { coroutine.resume(co) })
  end)

  it("refuses to resume itself", function()
    local co
    co = coroutine.create(function() return coroutine.resume(co) end)
    assert.same({ true, false, "cannot resume non-suspended coroutine" },
      { coroutine.resume(co) })
  end)

  it("names the main coroutine", function()
    assert.same({ true, false }, { helper.run(function()
      local _, main = coroutine.running()
      local inner = coroutine.wrap(function()
        return select(2, coroutine.running())
      end)()
      return main, inner
    end) })
  end)

  it("can yield inside a coroutine", function()
    assert.is_true((coroutine.wrap(coroutine.isyieldable)()))
  end)

  it("refuses a yield outside any coroutine", function()
    assert.matches("outside a coroutine", (helper.run(function()
      return select(2, pcall(coroutine.yield))
    end)))
  end)

  it("closes a suspended coroutine and its variables", function()
    local closed = false
    local co = coroutine.create(function()
      local c <close> = setmetatable({}, { __close = function() closed = true end })
      coroutine.yield()
    end)
    coroutine.resume(co)
    local ok = coroutine.close(co)
    assert.same({ true, true, "dead" }, { ok, closed, coroutine.status(co) })
  end)

  it("returns the error of a close", function()
    local co = coroutine.create(function()
      local c <close> = setmetatable({}, { __close = function() error "late" end })
      coroutine.yield()
    end)
    coroutine.resume(co)
    local ok, e = coroutine.close(co)
    assert.same({ false, true }, { ok, tostring(e):find "late" ~= nil })
  end)

  it("yields across pcall", function()
    local co = coroutine.wrap(function()
      local ok, x = pcall(function() return coroutine.yield(1) end)
      return ok, x
    end)
    assert.same({ 1, { true, "in" } }, { co(), { co "in" } })
  end)

  it("yields across a metamethod", function()
    local t = setmetatable({}, { __index = function(_, k)
      return coroutine.yield(k)
    end })
    local co = coroutine.wrap(function() return t.field end)
    assert.same({ "field", 5 }, { co(), (co(5)) })
  end)

  it("yields across an iterator", function()
    local co = coroutine.wrap(function()
      for x in function() return coroutine.yield() end do return x end
    end)
    co()
    assert.equal(9, (co(9)))
  end)

  it("drives several generators in turn", function()
    local function count(n)
      return coroutine.wrap(function()
        for i = 1, n do coroutine.yield(i) end
      end)
    end
    local a, b, out = count(3), count(3), {}
    for i = 1, 3 do
      out[2 * i - 1] = a()
      out[2 * i] = b()
    end
    assert.same({ 1, 1, 2, 2, 3, 3 }, out)
  end)

  it("is refused to a message", function()
    assert.has_error(function()
      actor.send(actor.self(), coroutine.create(print))
    end)
  end)

  it("does not move to another coroutine when it waits", function()
    local order = {}
    local a = coroutine.create(function()
      actor.sleep(2)
      order[#order + 1] = "a"
    end)
    coroutine.resume(a)
    order[#order + 1] = "main"
    assert.same({ "a", "main" }, order)
  end)
end)

local actor = require "luactor"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- functions that travel take the real globals along
describe("actor.blocking", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("returns the results", function()
    assert.same({ 3, "x", n = 2 },
      table.pack(actor.blocking(function(a, b) return a + b, "x" end, 1, 2)))
  end)

  it("returns no results", function()
    assert.equal(0, select("#", actor.blocking(function() end)))
  end)

  it("returns nil results", function()
    assert.same({ nil, 2, nil, n = 3 },
      table.pack(actor.blocking(function() return nil, 2, nil end)))
  end)

  it("passes nil arguments", function()
    assert.equal(3, (actor.blocking(function(...)
      return select("#", ...)
    end, nil, 1, nil)))
  end)

  it("raises the error", function()
    local ok, e = pcall(actor.blocking, function() error "inside" end)
    assert.same({ false, true }, { ok, tostring(e):find "inside" ~= nil })
  end)

  it("raises an error that is a table", function()
    local _, e = pcall(actor.blocking, function() error { code = 4 } end)
    assert.same({ code = 4 }, e)
  end)

  it("takes the name of a function", function()
    assert.equal(3.0, (actor.blocking("math.sqrt", 9)))
    assert.matches("bad argument #1 to 'blocking' (function or 'module.function' expected, got 'sqrt')",
      select(2, pcall(actor.blocking, "sqrt", 9)), 1, true)
  end)

  it("raises when a result cannot travel", function()
    local _, e = pcall(actor.blocking, function() return 1, coroutine.create(print) end)
    assert.matches("cannot send results", e, 1, true)
  end)

  it("raises an error that cannot travel as its text", function()
    local _, e = pcall(actor.blocking, function() error(coroutine.create(print)) end)
    assert.matches("^thread: ", e)
  end)

  it("raises the reason when its process is killed", function()
    local _, e = pcall(actor.blocking, function() actor.exit(actor.self(), "kill") end)
    assert.equal("killed", e)
  end)

  it("leaves no process behind when a scope is left meanwhile", function()
    local me = actor.self()
    pcall(actor.scope, function(s)
      local child = s:spawn(function()
        actor.receive "go"
        error "child broke"
      end)
      actor.blocking(function()
        actor.send(me, { "blocking", actor.self() })
        actor.send(child, "go")
        actor.receive "never"
      end)
    end)
    local ref = actor.monitor((helper.receive { "blocking", actor.var.pid }))
    helper.down(ref)
  end)

  it("runs in another process", function()
    assert.not_equal(actor.self(), (actor.blocking(actor.self)))
  end)

  it("runs in a fresh process each time", function()
    local function visit()
      local before = blocking_spec_visited
      blocking_spec_visited = true
      return before == nil
    end
    local first = actor.blocking(visit)
    assert.same({ true, true }, { first, (actor.blocking(visit)) })
  end)

  it("takes a C function", function()
    assert.equal("xxx", (actor.blocking(string.rep, "x", 3)))
  end)

  it("leaves other messages in the mailbox", function()
    actor.send(actor.self(), "kept")
    actor.blocking(function() end)
    assert.equal("kept", (actor.receive("kept", 0)))
  end)

  it("does not stop the other processes", function()
    local out = helper.cli {
      options = { "--schedulers", 1 },
      code = [[
        local actor = require "luactor"
        local me = actor.self()
        actor.spawn(function()
          actor.blocking(os.execute, "sleep 60")
        end)
        for _ = 1, 20 do actor.sleep(1) end
        print "went on"
        actor.halt(0)
      ]],
      seconds = 20,
    }
    assert.equal("went on\n", out)
  end)

  it("is no reason for a report of a blocked scheduler", function()
    local _, err = helper.cli {
      options = { "--schedulers", 1 },
      code = [[
        local actor = require "luactor"
        actor.blocking(os.execute, "sleep 0.4")
      ]],
    }
    assert.equal("", err)
  end)

  it("runs more functions at once than there are schedulers", function()
    -- Each waits for a file that the next one makes.
    local out = helper.cli {
      options = { "--schedulers", 1 },
      seconds = 30,
      code = [[
        local actor = require "luactor"
        local me, base = actor.self(), os.tmpname()
        for i = 1, 4 do
          actor.spawn(function()
            actor.blocking(function(mine, other)
              io.open(mine, "w"):close()
              os.execute("while [ ! -e " .. other .. " ]; do sleep 0.01; done")
            end, base .. i, base .. i % 4 + 1)
            actor.send(me, "done")
          end)
        end
        for _ = 1, 4 do actor.receive "done" end
        for i = 1, 4 do os.remove(base .. i) end
        os.remove(base)
        print "all"
      ]],
    }
    assert.equal("all\n", out)
  end)

  it("works inside a coroutine and pcall", function()
    assert.same({ true, 5 }, { coroutine.wrap(function()
      return pcall(actor.blocking, function() return 5 end)
    end)() })
  end)
end)

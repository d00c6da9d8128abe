local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- functions that travel take the real globals along
-- How many lines of `out` are not what the process of their first letter
-- writes, and how many there are.
local function torn(out, line_of)
  local bad, lines = 0, 0
  for line in out:gmatch "[^\n]*" do
    lines = lines + 1
    if line ~= line_of(line:sub(1, 1)) then bad = bad + 1 end
  end
  return bad, lines
end

describe("print", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("writes as lua5.4 does", function()
    assert.equal("1\t2.0\tnil\ttrue\tx\n\n", (helper.cli {
      code = "print(1, 2.0, nil, true, 'x') print()" }))
  end)

  it("calls __tostring and __name", function()
    assert.equal("shown\n", (helper.cli { code = [[
      print(setmetatable({}, { __tostring = function() return "shown" end }))
    ]] }))
  end)

  it("writes a line whole, whatever other processes write", function()
    local out = helper.cli { code = [[
      local actor = require "luactor"
      local me = actor.self()
      for i = 1, 20 do
        actor.spawn(function()
          local letter = string.char(64 + i)
          for _ = 1, 200 do print(letter:rep(30), letter:rep(300), letter) end
          actor.send(me, "done")
        end)
      end
      for _ = 1, 20 do actor.receive "done" end
    ]] }
    assert.same({ 0, 4000 }, { torn(out:sub(1, -2), function(c)
      return c:rep(30) .. "\t" .. c:rep(300) .. "\t" .. c
    end) })
  end)

  it("keeps the order of one process's lines", function()
    local out = helper.cli { code = "for i = 1, 1000 do print(i) end" }
    local expected = {}
    for i = 1, 1000 do expected[i] = i .. "\n" end
    assert.equal(table.concat(expected), out)
  end)
end)

describe("io.write", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("writes the arguments of one call whole", function()
    local out = helper.cli { code = [[
      local actor = require "luactor"
      local me = actor.self()
      for i = 1, 20 do
        actor.spawn(function()
          local c = string.char(64 + i)
          for _ = 1, 200 do io.write(c, c:rep(50), c:rep(500), "\n") end
          actor.send(me, "done")
        end)
      end
      for _ = 1, 20 do actor.receive "done" end
    ]] }
    assert.same({ 0, 4000 }, { torn(out:sub(1, -2), function(c)
      return c:rep(551)
    end) })
  end)

  it("keeps the order with print", function()
    local out = helper.cli { code = [[
      for i = 1, 100 do io.write(i, " ") print(i) end
    ]] }
    local expected = {}
    for i = 1, 100 do expected[i] = i .. " " .. i .. "\n" end
    assert.equal(table.concat(expected), out)
  end)

  it("returns the file", function()
    assert.equal("ab", (helper.cli { code = "io.write('a'):write('b')" }))
  end)
end)

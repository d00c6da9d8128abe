local actor = require "luactor"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- functions that travel take the real globals along
local LIMIT = 4 * 1024 * 1024

-- The reason with which a process of limited memory ends that runs `fn`.
local function limited(fn)
  local _, mon = actor.spawn_opt({ max_heap = LIMIT, monitor = true }, fn)
  return (helper.down(mon))
end

local eaters = {
  ["a table that grows"] = function()
    local t = {}
    while true do t[#t + 1] = { #t } end
  end,
  ["a string that grows"] = function()
    local s = "x"
    while true do s = s .. s end
  end,
  ["string.rep"] = function() return ("x"):rep(LIMIT * 4) end,
  ["table.concat"] = function()
    local t = {}
    for i = 1, 100 do t[i] = ("x"):rep(1000) end
    while true do t[#t + 1] = table.concat(t) end
  end,
  ["pcall around it"] = function()
    local t = {}
    while true do
      pcall(function() while true do t[#t + 1] = { #t } end end)
    end
  end,
  ["xpcall around it"] = function()
    local t = {}
    while true do
      xpcall(function() while true do t[#t + 1] = { #t } end end,
        function() return "handled" end)
    end
  end,
  ["a coroutine"] = function()
    local t = {}
    coroutine.wrap(function() while true do t[#t + 1] = { #t } end end)()
  end,
  ["many coroutines"] = function()
    local t = {}
    while true do t[#t + 1] = coroutine.create(print) end
  end,
  ["a sort comparator"] = function()
    local keep = {}
    table.sort({ 3, 2, 1, 5, 4 }, function(a, b)
      while true do keep[#keep + 1] = { a, b } end
    end)
  end,
  ["a gsub callback"] = function()
    local keep = {}
    ("abc"):gsub(".", function(c)
      while true do keep[#keep + 1] = { c } end
    end)
  end,
  ["a metamethod"] = function()
    local keep = {}
    local t = setmetatable({}, { __index = function()
      while true do keep[#keep + 1] = {} end
    end })
    return t.x
  end,
  ["infinite recursion"] = function()
    local function f() return 1 + f() end
    while true do pcall(f) end
  end,
}

describe("max_heap", function()
  before_each(helper.mark)
  after_each(helper.check)

  for name, eater in pairs(eaters) do
    it("ends a process that exceeds it by " .. name, function()
      assert.equal("heap_limit", limited(eater)[1])
    end)
  end

  it("gives the number of bytes in the reason", function()
    assert.equal("integer",
      math.type(limited(eaters["a table that grows"])[2]))
  end)

  it("lets a process that stays below it live", function()
    assert.equal("normal", limited(function()
      for _ = 1, 200 do
        local t = {}
        for i = 1, 2000 do t[i] = { i } end
      end
    end))
  end)

  it("does not let a limited process trap its end", function()
    assert.equal("heap_limit", limited(function()
      actor.trap_exit(true)
      eaters["pcall around it"]()
    end)[1])
  end)

  it("leaves other processes alone", function()
    local echo = helper.spawn_echo()
    limited(eaters["a table that grows"])
    actor.send(echo, { actor.self(), "still here" })
    local answer = helper.receive { echo, "still here" }
    actor.unlink(echo)
    helper.kill(echo)
    assert.same({ echo, "still here" }, answer)
  end)

  it("runs pending close variables", function()
    local me = actor.self()
    limited(function()
      local c <close> = setmetatable({}, { __close = function()
        actor.send(me, "closed at the limit")
      end })
      eaters["a table that grows"]()
    end)
    assert.equal("closed at the limit", (helper.receive "closed at the limit"))
  end)

  it("reaches linked processes as the reason", function()
    assert.equal("heap_limit", helper.reason(function()
      actor.spawn_opt({ max_heap = LIMIT, link = true },
        eaters["a table that grows"])
      actor.receive("never")
    end)[1])
  end)
end)

describe("--max-heap", function()
  it("limits every process of the host", function()
    local out = helper.cli {
      options = { "--max-heap", 8000000 },
      code = [[
        local actor = require "luactor"
        local _, mon = actor.spawn_monitor(function()
          local t = {}
          while true do t[#t + 1] = { #t } end
        end)
        local reason = actor.receive { "DOWN", mon, "process", actor._,
          actor.var.reason }
        print(reason[1])
      ]],
    }
    assert.equal("heap_limit\n", out)
  end)

  it("fails the command when the first process exceeds it", function()
    local _, _, status = helper.cli {
      options = { "--max-heap", 8000000 },
      code = "local t = {} while true do t[#t + 1] = { #t } end",
    }
    assert.equal(1, status)
  end)
end)

-- Processes that begin as copies of a template, and those that do not, must be
-- the same to a program.
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert

local code = [[
  local actor = require "luactor"
  local me = actor.self()

  local function answer(body)
    actor.spawn(function() actor.send(me, { body() }) end)
    return table.unpack((actor.receive()))
  end
  answer(function() end) -- the process after this is a copy

  -- The libraries are there, stock's and ours; the module is loaded on demand.
  print(answer(function()
    local names = {}
    for name in pairs(_G) do names[#names + 1] = name end
    table.sort(names)
    return table.concat(names, " ")
  end))
  print(answer(function()
    local before = package.loaded.luactor
    local first = require "luactor"
    package.loaded.luactor = nil
    local second = require "luactor"
    return before == nil, first == require "luactor", first == second,
      first.self() == second.self()
  end))

  -- Every process has random numbers of its own.
  local seen, twice = {}, 0
  for _ = 1, 50 do
    local n = answer(function() return math.random(0) end)
    twice = twice + (seen[n] and 1 or 0)
    seen[n] = true
  end
  print(twice)
  print(answer(function()
    math.randomseed(42)
    return math.random(1000000), math.random(1000000)
  end))

  -- What one process changes no other sees.
  print(answer(function()
    string.upper, print, _G.mine = nil, nil, 1
    getmetatable("").__index = nil
    return "changed"
  end))
  print(answer(function() return ("x"):upper(), tostring(mine), type(print) end))

  -- Collectors, limits, finalizers.
  for _, gc in ipairs { "incremental", "generational" } do
    print(answer(function()
      collectgarbage(gc)
      local weak = setmetatable({}, { __mode = "v" })
      for i = 1, 20000 do weak[i] = { tostring(i) } end
      collectgarbage()
      return next(weak)
    end))
  end
  print(answer(function()
    local ran = 0
    do setmetatable({}, { __gc = function() ran = ran + 1 end }) end
    collectgarbage()
    return ran
  end))
  local _, mon = actor.spawn_opt({ max_heap = 4000, monitor = true },
    function() end)
  actor.receive { "DOWN", mon, actor._, actor._, { "heap_limit", actor._ } }
  print "limited"
]]

describe("a process", function()
  it("is the same with and without images", function()
    local with, crash, status = helper.cli { code = code }
    assert.equal(0, status)
    assert.truthy(crash:find("^%S+ error process [^\n]+heap_limit[^\n]+\n[^\n]+\n$"))
    local without = helper.cli { code = code, env = "LUACTOR_IMAGES=0" }
    assert.equal(without, with)
    assert.truthy(with:find("X\tnil\tfunction", 1, true))
    assert.truthy(with:find "limited\n$")
  end)
end)

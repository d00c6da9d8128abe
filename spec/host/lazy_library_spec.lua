-- The tables of the libraries are filled when they are touched. Nothing a program
-- can do may tell them from stock's.
local actor = require "luactor"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local _ENV = _G

-- Each case in a state of its own.
local stock = [[
  n=$(lua5.4 -e 'print(#dofile("spec/fixture/lazy_cases.lua").cases)')
  for i in $(seq $n); do
    lua5.4 -e "local m = dofile 'spec/fixture/lazy_cases.lua'
      print($i, m.run(m.cases[$i]))"
  done]]

local ours = [[
  local actor = require "luactor"
  local me = actor.self()
  for i = 1, #dofile("spec/fixture/lazy_cases.lua").cases do
    actor.spawn(function()
      local m = dofile "spec/fixture/lazy_cases.lua"
      local send = actor.send
      send(me, m.run(m.cases[i]))
    end)
    print(i, (actor.receive()))
  end]]

local function stock_results()
  return actor.blocking(function(command)
    local pipe <close> = assert(io.popen(command))
    return pipe:read "a"
  end, stock)
end

local function compare(want, got)
  local w, g = want:gmatch "[^\n]+", got:gmatch "[^\n]+"
  for line in w do assert.equal(line, g()) end
  assert.equal(want, got)
end

describe("a library", function()
  local want = stock_results()

  it("is as in stock Lua to whoever touches it first", function()
    local got, err, status = helper.cli { code = ours }
    assert.equal("", err)
    assert.equal(0, status)
    compare(want, got)
  end)

  it("is so without images, too", function()
    local got = helper.cli { code = ours, env = "LUACTOR_IMAGES=0" }
    compare(want, got)
  end)

  it("is so in the process that began the host", function()
    local code = [[
      local m = dofile "spec/fixture/lazy_cases.lua"
      print(m.run(m.cases[tonumber((...))]))]]
    for i = 1, 20, 3 do
      local got = helper.cli { code = code, args = { tostring(i) } }
      assert.truthy(want:find(i .. "\t" .. got, 1, true))
    end
  end)
end)

describe("the module luactor", function()
  it("is whole to pairs, and has no metatable", function()
    helper.run(function()
      local me = actor.self()
      actor.spawn(function()
        local n = 0
        for name, value in pairs(actor) do
          n = n + (type(name) == "string" and value ~= nil and 1 or 0)
        end
        actor.send(me, { n, n == #(function()
          local list = {}
          for k in next, actor do list[#list + 1] = k end
          return list
        end)(), getmetatable(actor) == nil, debug.getmetatable(actor) == nil })
      end)
      local got = actor.receive()
      assert.is_true(got[1] > 50)
      assert.same({ true, true, true }, { table.unpack(got, 2) })
    end)
  end)

  it("keeps what is taken away or put in", function()
    helper.run(function()
      local me = actor.self()
      actor.spawn(function()
        local send = actor.send
        actor.post, actor.send, actor.mine = nil, nil, 1
        send(me, { tostring(actor.post), tostring(actor.send), actor.mine,
          require "luactor" == actor, rawget(actor, "post") == nil })
      end)
      assert.same({ "nil", "nil", 1, true, true }, (actor.receive()))
    end)
  end)

  it("is made anew when it is loaded again", function()
    helper.run(function()
      local me = actor.self()
      actor.spawn(function()
        actor.mine = 1
        package.loaded.luactor = nil
        local again = require "luactor"
        again.send(me, { again ~= actor, tostring(again.mine),
          again.send == actor.send, type(again.var), again.var._ ~= nil,
          again._ == again.var._ })
      end)
      assert.same({ true, "nil", true, "table", true, true },
        (actor.receive()))
    end)
  end)

  it("is not in package.loaded before it is used", function()
    local got = helper.cli { code = [[
      print(package.loaded.luactor)
      local actor = require "luactor"
      print(package.loaded.luactor == actor)
      local me = actor.self()
      actor.spawn(function() me:send(package.loaded.luactor == nil) end)
      print(actor.receive())
      actor.spawn(function()
        actor.send(me, package.loaded.luactor == actor)
      end)
      print(actor.receive())]] }
    assert.equal("nil\ntrue\ntrue\ntrue\n", got)
  end)
end)

describe("what travels by name", function()
  it("is found whether it was touched or not", function()
    helper.run(function()
      local me = actor.self()
      local upper, lib, first = string.upper, math, (pairs {})
      actor.spawn(function()
        actor.send(me, { upper == string.upper, lib == math, first == next,
          upper "x", lib.floor(1.5) })
      end)
      assert.same({ true, true, true, "X", 1 }, (actor.receive()))
    end)
  end)

  it("is found when only the function was had", function()
    local got = helper.cli { code = [[
      local actor = require "luactor"
      local me = actor.self()
      local step = (pairs {})
      actor.spawn(function() actor.send(me, step == next) end)
      print(actor.receive())]] }
    assert.equal("true\n", got)
  end)

  it("as a value takes the whole library along", function()
    helper.run(function()
      local me = actor.self()
      actor.spawn(function()
        actor.send(me, { lib = utf8 })
      end)
      local lib = actor.receive().lib
      assert.equal(utf8.char, lib.char)
      assert.equal(utf8.charpattern, lib.charpattern)
    end)
  end)
end)

describe("random numbers", function()
  it("differ from process to process, whoever asks first", function()
    helper.run(function()
      local me = actor.self()
      local random = function() actor.send(me, math.random(0)) end
      local seen = {}
      for _ = 1, 300 do -- the later ones start from an image of the function
        actor.spawn(random)
        local n = actor.receive()
        assert.is_nil(seen[n])
        seen[n] = true
      end
    end)
  end)
end)

describe("a process that does nothing", function()
  it("holds less than 7,500 bytes", function()
    helper.run(function()
      local me = actor.self()
      local function idle()
        actor.send(me, "up")
        actor.receive "never"
      end
      local pids = {}
      for i = 1, 120 do
        pids[i] = actor.spawn(idle)
        actor.receive "up"
      end
      assert.is_true(actor.info(pids[#pids], "heap_bytes") < 7500)
      for _, pid in ipairs(pids) do actor.exit(pid, "kill") end
    end)
  end)
end)

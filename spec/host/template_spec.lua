-- A function that is spawned often, and a module, get images of their own: to
-- a program nothing may change by that, at the hundredth start or later.
local actor = require "luactor"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local _ENV = _G -- functions that travel take the real globals along

-- The same function again and again, and a new one each time; upvalues that
-- stay, that change, that are shared, that lead back to the function.
local functions = [[
  local actor = require "luactor"
  local V = actor.var
  local me = actor.self()
  local k, name, list = 5, "n", { 1, 2 }
  local function make(i)
    local n = 0
    local function add(x) n = n + x return n end
    local function body(x)
      list[#list + 1] = add(x)
      actor.send(me, { i, n, #list, k, name, math.type(i),
        string.format("%d", i), _G == _ENV, type(body), add(1), n })
      if x == 3 then error("boom " .. i, 0) end
    end
    return body
  end
  local function start(f, i, x)
    local pid, ref = actor.spawn_monitor(f, x)
    local got = actor.receive { i, V.rest "..." }
    local reason = actor.receive { "DOWN", ref, "process", pid, V.reason }
    for j = 1, #got do got[j] = tostring(got[j]) end
    print(i, table.concat(got, " "),
      type(reason) == "table" and reason[2] or reason)
  end
  for i = 1, 260 do
    k = i > 200 and "changed" or 5
    start(make(i), i, i % 50 == 0 and 3 or 2)
  end
  local same = make(0)
  for i = 1, 260 do
    name = "n" .. i % 3
    if i == 150 then list = "no list" debug.setupvalue(same, 1, { 7 }) end
    start(same, 0, 2)
  end
]]

describe("a function that is spawned often", function()
  it("runs as at first", function()
    local with, crashes, status = helper.cli {
      code = functions, env = "LUACTOR_IMAGES=1" }
    local without, others = helper.cli {
      code = functions, env = "LUACTOR_IMAGES=0" }
    assert.equal(0, status)
    assert.equal(without, with)
    local function reports(text)
      local list = {}
      for what in text:gmatch "crashed: [^\n]+" do list[#list + 1] = what end
      return table.concat(list, "\n")
    end
    assert.equal(reports(others), reports(crashes))
    assert.truthy(with:find("\n260\t261 ", 1, true) or
      with:find("\n260\t", 1, true))
  end)

  it("is not seen in the registry or the globals", function()
    local code = [[
      local actor = require "luactor"
      local me = actor.self()
      local function body()
        local weak = setmetatable({ body = debug.getinfo(1, "f").func },
          { __mode = "v" })
        actor.send(me, package.loaded.lpeg == nil)
        return (function()
          collectgarbage()
          actor.send(me, weak.body == nil)
        end)()
      end
      local names = {}
      for i = 1, 150 do
        actor.spawn(body)
        names[tostring(actor.receive()) .. tostring(actor.receive())] = true
      end
      print(next(names), next(names, (next(names))))
    ]]
    local with = helper.cli { code = code, env = "LUACTOR_IMAGES=1" }
    local without = helper.cli { code = code, env = "LUACTOR_IMAGES=0" }
    assert.equal(without, with)
    assert.equal("truetrue\tnil\n", with)
  end)

  it("gets what changes, not what was", function()
    helper.run(function()
      local me = actor.self()
      local n = 0
      local function body() actor.send(me, n) end
      for i = 1, 300 do
        n = i
        actor.spawn(body)
        assert.equal(i, actor.receive(i, 5000))
      end
    end)
  end)
end)

describe("a module of luactor's that processes start from", function()
  it("serves them as at first", function()
    local code = [[
      local actor = require "luactor"
      local gen_server = require "luactor.gen_server"
      local Counter = gen_server.define "counter"
      function Counter:init(n) self.n = n end
      function Counter.call:add(k) self.n = self.n + k return self.n end
      for i = 1, 150 do
        local c = Counter:start(i)
        print(c:add(i), c:add(1))
        gen_server.stop(c)
      end
    ]]
    local with, _, status = helper.cli {
      code = code, env = "LUACTOR_IMAGES=1" }
    assert.equal(0, status)
    assert.equal(helper.cli { code = code, env = "LUACTOR_IMAGES=0" }, with)
  end)
end)

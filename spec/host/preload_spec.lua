-- actor.preload: modules that processes find loaded; and files that are
-- compiled once.
local actor = require "luactor"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- functions that travel take the real globals along

local dir

local function write(name, text)
  local f = assert(io.open(dir .. "/" .. name .. ".lua", "w"))
  f:write(text)
  f:close()
end

-- Run code in a host of its own that finds the modules.
local function run(code, options)
  options = options or {}
  options.code = ("package.path = %q .. package.path\n%s"):format(
    dir .. "/?.lua;", code)
  options.env = ("LUA_PATH='%s/?.lua;;' %s"):format(dir, options.env or "LUACTOR_IMAGES=1")
  return helper.cli(options)
end

before_each(function()
  dir = os.tmpname()
  os.remove(dir)
  assert(os.execute("mkdir " .. dir))
end)

after_each(function()
  os.execute("rm -r " .. dir)
end)

local pure = [[
  local actor = require "luactor"
  local M = { n = 0, words = { "a", "b" } }
  local take = actor.receiver(actor.on({ "add", actor.var.k }, function(k)
    M.n = M.n + k
    return M.n
  end))
  function M.serve(to)
    M.n = M.n + 1
    actor.send(to, { M.n, #M.words, package.loaded.pure == M, take() })
  end
  return M
]]

-- Two hundred processes of the module, each asked once.
local serve = [[
  local actor = require "luactor"
  print(actor.preload "pure")
  for i = 1, 200 do
    local pid = actor.spawn("pure.serve", actor.self())
    actor.send(pid, { "add", i })
    local m = actor.receive()
    print(table.unpack(m))
  end
]]

describe("preload", function()
  it("gives processes of a module a state with it loaded", function()
    write("pure", pure)
    local with, err, status = run(serve)
    assert.equal("", err)
    assert.equal(0, status)
    assert.truthy(with:find "^true\n1\t2\ttrue\t2\n1\t2\ttrue\t3\n")
    local without = run(serve, { env = "LUACTOR_IMAGES=0" })
    assert.truthy(without:find "^false\tpure: there are no images")
    assert.equal(without:gsub("^[^\n]+\n", ""), (with:gsub("^[^\n]+\n", "")))
  end)

  it("serves functions that have the module as an upvalue", function()
    write("pure", pure)
    local out = run [[
      local actor = require "luactor"
      local pure = require "pure"
      assert(actor.preload "pure")
      local me = actor.self()
      local function body()
        pure.n = pure.n + 1
        actor.send(me, pure.n)
      end
      local sum = 0
      for _ = 1, 200 do
        actor.spawn(body)
        sum = sum + actor.receive()
      end
      print(sum)
    ]]
    assert.equal("200\n", out)
  end)

  it("takes several modules, and luactor's own", function()
    write("one", "return { f = function() end }")
    write("two", "local one = require 'one' return { one = one }")
    assert.equal("true\ntrue\n", (run [[
      local actor = require "luactor"
      print(actor.preload("one", "two"))
      print(actor.preload "luactor.gen_server")
    ]]))
  end)

  it("refuses a module that does more than make values", function()
    write("talks", "print 'loading' return { f = function() end }")
    write("hides", "pcall(os.time) return {}")
    write("spawns", "require 'luactor'.spawn(function() end) return {}")
    write("rolls", "return { n = math.random(6) }")
    write("keyed", "local t = {} for i = 1, 9 do t[{}] = i end return t")


    write("finishes", "return setmetatable({}, { __gc = function() end })")
    local out, _, status = run [[
      local actor = require "luactor"
      for _, name in ipairs { "talks", "hides", "spawns", "rolls", "keyed",
          "finishes" } do
        local ok, why = actor.preload(name)
        print(ok, why)
        print(actor.preload(name))
      end
    ]]
    assert.equal(0, status)
    local seen = {}
    for line in out:gmatch "[^\n]+" do seen[#seen + 1] = line end
    local function has(i, text)
      assert.truthy(seen[i]:find(text, 1, true), seen[i])
    end
    has(1, "loading")
    has(2, "false\ttalks: ")
    has(2, "cannot call 'print' while an image is built")
    has(3, "false\ttalks: it was refused before")
    has(4, "cannot call")
    has(6, "cannot call 'spawn' while an image is built")
    has(8, "while an image is built")
    has(10, "neither a constant nor a pointer")
    has(12, "finalizer")
  end)

  it("leaves a refused module to each process", function()
    write("talks", "io.write 'loading;' return { f = function(to) "
      .. "require 'luactor'.send(to, 'ran') end }")
    local out = run [[
      local actor = require "luactor"
      assert(not actor.preload "talks")
      for _ = 1, 3 do
        actor.spawn("talks.f", actor.self())
        actor.receive "ran"
      end
    ]]
    assert.equal(("loading;"):rep(4), out)
  end)

  it("raises what loading raises", function()
    write("broken", "error 'not today'")
    helper.run(function()
      local ok, err = pcall(actor.preload, "no.such.module")
      assert.falsy(ok)
      assert.truthy(err:find("module 'no.such.module' not found", 1, true))
    end)
    local out = run [[
      print(pcall(require "luactor".preload, "broken"))
    ]]
    assert.truthy(out:find "^false\t.*not today")
  end)

  it("wants names", function()
    assert.has_error(function() actor.preload() end)
    assert.has_error(function() actor.preload("string", 1) end)
  end)
end)

describe("a file that several processes require", function()
  it("is compiled again when it changes", function()
    write("version", "return 1")
    local out = run(([[
      local actor = require "luactor"
      local me = actor.self()
      local function ask()
        actor.spawn(function() actor.send(me, (require "version")) end)
        return actor.receive()
      end
      local function write(text)
        local f = assert(io.open(%q, "w"))
        f:write(text)
        f:close()
      end
      print(ask(), ask())
      write "return 22"
      print(ask(), ask())
      write "return return"
      actor.spawn(function()
        actor.send(me, (select(2, pcall(require, "version"))))
      end)
      print(actor.receive())
    ]]):format(dir .. "/version.lua"))
    assert.truthy(out:find "^1\t1\n22\t22\nerror loading module 'version'")
    assert.truthy(out:find("version.lua:1: ", 1, true))
  end)

  it("keeps its name and its lines", function()
    write("lines", "local M = {}\nfunction M.f()\n  error 'here'\nend\nreturn M")
    local out = run [[
      local actor = require "luactor"
      local me = actor.self()
      for _ = 1, 3 do
        actor.spawn(function()
          local lines = require "lines"
          actor.send(me, { select(2, pcall(lines.f)),
            debug.getinfo(lines.f, "S").source })
        end)
        print(table.unpack(actor.receive()))
      end
    ]]
    assert.equal((dir .. "/lines.lua:3: here\t@" .. dir .. "/lines.lua\n")
      :rep(3), out)
  end)
end)

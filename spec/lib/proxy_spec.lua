local actor = require "luactor"
local proxy = require "luactor.proxy"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- functions that travel take the real globals along
local V = actor.var

local function message(f, ...)
  local ok, e = pcall(f, ...)
  assert(not ok, "no error was raised")
  return tostring(e)
end

local function slurp(path)
  local file = assert(io.open(path))
  local text = file:read "a"
  file:close()
  return text
end

-- A table that cannot travel as it is: a coroutine is in it.
local function counter()
  local n = 0
  local object = { co = coroutine.create(print) }
  function object:add(k) n = n + k return n end
  function object:self() return self, 1, self end
  function object:none() end
  function object:nils() return nil, 2, nil end
  function object:fail(e) error(e, 0) end
  function object:co_of() return self.co end
  function object.plain(a, b) return a, b end
  function object:where() return actor.self() end
  return object
end

describe("proxy", function()
  local p

  before_each(helper.mark)
  after_each(function()
    if p then proxy.close(p) end
    p = nil
    helper.check()
  end)

  it("keeps a file that several processes write", function()
    local path = os.tmpname()
    p = proxy.new(function() return io.open(path, "w") end)
    p:write("one\n")
    helper.run(function() p:write("two\n") end)
    p:close()
    assert.equal("one\ntwo\n", slurp(path))
    os.remove(path)
  end)

  it("gives results of methods", function()
    p = proxy.new(counter)
    assert.equal(5, p:add(5))
    assert.equal(7, p:add(2))
    assert.same({ n = 3, nil, 2, nil }, table.pack(p:nils()))
    assert.equal(0, select("#", p:none()))
  end)

  it("stands for the object where a method returns it", function()
    p = proxy.new(counter)
    local a, one, b = p:self()
    assert.is_true(rawequal(a, p) and rawequal(b, p))
    assert.equal(1, one)
    assert.equal(3, p:self():add(3))
  end)

  it("runs methods in one other process", function()
    p = proxy.new(counter)
    assert.equal(p.pid, p:where())
    assert.equal(p.pid, helper.run(function() return p:where() end))
    assert.not_equal(actor.self(), p.pid)
  end)

  it("travels in messages and stays equal", function()
    p = proxy.new(counter)
    local echo = helper.spawn_echo()
    actor.send(echo, { actor.self(), { p } })
    local back = helper.receive { echo, V.value }
    assert.is_true(back[1] == p)
    assert.equal(1, back[1]:add(1))
    helper.kill(echo)
  end)

  it("calls plain functions of a module", function()
    p = proxy.new(function() return math end)
    assert.equal(4.0, p.sqrt(16))
    assert.equal("ab", select(1, proxy.apply(p, function() return "ab" end)))
  end)

  it("calls an object that is a function", function()
    p = proxy.new(function()
      local n = 0
      return function(k) n = n + k return n end
    end)
    p(2)
    assert.equal(5, p(3))
  end)

  it("applies a function to the object", function()
    p = proxy.new(counter)
    assert.same({ "thread", 9 }, { proxy.apply(p, function(object, x)
      return type(object.co), x
    end, 9) })
  end)

  it("takes the name of a function", function()
    p = proxy.new "io.tmpfile"
    p:write "abc"
    p:seek "set"
    assert.equal("abc", p:read "a")
  end)

  it("raises what a method raises", function()
    p = proxy.new(counter)
    assert.equal("text", message(p.fail, p, "text"))
    local _, e = pcall(p.fail, p, { code = 4 })
    assert.same({ code = 4 }, e)
    assert.matches("thread: ", message(p.fail, p, "thread: "))
    assert.equal(1, p:add(1))
  end)

  it("names the method in complaints about arguments", function()
    p = proxy.new(io.tmpfile)
    assert.matches("proxy_spec.lua:%d+: bad argument #1 to 'read' %(invalid format%)",
      message(function() local _ = p:read "bogus" end))
    local q = proxy.new(function() return math end)
    assert.matches("bad argument #1 to 'sqrt' (number expected", message(function() q.sqrt "x" end), 1, true)
    proxy.close(q)
  end)

  it("raises an error that cannot travel as its text", function()
    p = proxy.new(function()
      return { fail = function() error(coroutine.create(print)) end }
    end)
    assert.matches("^thread: ", message(p.fail, p))
  end)

  it("says which result cannot travel", function()
    p = proxy.new(counter)
    assert.equal("what method 'co_of' returned cannot leave its process: cannot send results[1] (coroutine)",
      message(p.co_of, p))
    assert.equal(1, p:add(1))
  end)

  it("says which argument cannot travel", function()
    p = proxy.new(counter)
    assert.matches("cannot send", message(p.add, p, coroutine.create(print)), 1, true)
  end)

  it("names a method that the object has not", function()
    p = proxy.new(counter)
    assert.equal("the object has no method 'nothing'", message(p.nothing, p))
  end)

  it("has no fields to set", function()
    p = proxy.new(counter)
    assert.matches("cannot set field 'x'", message(function() p.x = 1 end), 1, true)
  end)

  it("raises what the maker raises", function()
    assert.equal("no luck", message(proxy.new, function() error("no luck", 0) end))
    assert.matches("No such file", message(proxy.new, function() return io.open "/no/such/file" end))
    assert.equal("the function returned no object", message(proxy.new, function() end))
  end)

  it("does not answer after it is closed", function()
    p = proxy.new(counter)
    assert.is_true(proxy.close(p))
    assert.is_false(actor.is_alive(p.pid))
    local _, e = pcall(p.add, p, 1)
    assert.equal("noproc", e.reason)
    assert.equal("add", e.method)
    assert.equal(("proxy %s: method 'add' failed: noproc"):format(p.pid), tostring(e))
    assert.is_true(proxy.close(p))
  end)

  it("closes the object when it is closed", function()
    local me = actor.self()
    p = proxy.new(function()
      return setmetatable({}, { __close = function() actor.send(me, "closed") end })
    end)
    proxy.close(p)
    assert.equal("closed", (helper.receive "closed"))
  end)

  it("may be a to-be-closed variable", function()
    local pid
    do
      local q <close> = proxy.new(counter)
      pid = q.pid
    end
    assert.is_false(actor.is_alive(pid))
  end)

  it("is killed when it does not close in time", function()
    local q = proxy.new(function()
      return { hang = function() while true do end end }
    end)
    actor.spawn(function() pcall(q.hang, q) end)
    helper.wait(function() return actor.info(q.pid, "status") ~= "waiting" end)
    proxy.close(q, 1)
    assert.is_false(actor.is_alive(q.pid))
  end)

  it("raises when a method takes too long", function()
    local q = proxy.new(function()
      return { wait = function() actor.receive "never" end }
    end, { timeout = 0 })
    local _, e = pcall(q.wait, q)
    assert.equal("timeout", e.reason)
    helper.kill(q.pid)
  end)

  it("ends with its owner, however that ends", function()
    for _, how in ipairs { "return", "error", "kill" } do
      local me = actor.self()
      local owner = actor.spawn(function()
        actor.send(me, { "proxy", proxy.new(counter) })
        actor.receive "go"
        if how == "error" then error "the owner fails" end
      end)
      local theirs = helper.receive { "proxy", V.p }
      assert.equal(1, theirs:add(1))
      local ref = actor.monitor(theirs.pid)
      if how == "kill" then actor.exit(owner, "kill") else actor.send(owner, "go") end
      assert.equal("killed", (helper.down(ref)))
    end
  end)

  it("does not end its owner with it", function()
    assert.equal("alive", helper.run(function()
      local q = proxy.new(counter)
      local ref = actor.monitor(q.pid)
      actor.exit(q.pid, "kill")
      actor.receive { "DOWN", ref, "process", V._, V._ }
      return "alive"
    end))
  end)

  it("leaves no message behind", function()
    p = proxy.new(counter)
    p:add(1)
    assert.equal(0, actor.flush(actor._))
  end)

  it("takes options of spawn_opt", function()
    p = proxy.new(counter, { name = "spec_proxy", thread = "own", label = "mine" })
    assert.equal(p.pid, actor.whereis "spec_proxy")
    assert.equal("mine", actor.info(p.pid, "label"))
  end)

  it("names what it was given", function()
    assert.matches("bad argument #1 to 'luactor.proxy.new' (function or 'module.function' expected, got 7)",
      message(proxy.new, 7), 1, true)
    assert.matches("bad option 'timeout' (milliseconds expected, got 'x')",
      message(proxy.new, counter, { timeout = "x" }), 1, true)
    assert.matches("unknown option 'link' (value true)",
      message(proxy.new, counter, { link = true }), 1, true)
    assert.matches("unknown option 'colour'", message(proxy.new, counter, { colour = 1 }), 1, true)
    assert.matches("bad argument #1 to 'luactor.proxy.close' (proxy expected, got 7)",
      message(proxy.close, 7), 1, true)
  end)
end)

local actor = require "luactor"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local _ENV = _G -- functions that travel take the real globals along
describe("require 'luactor'", function()
  it("gives the same table each time", function()
    assert.equal(actor, require "luactor")
  end)

  for _, name in ipairs { "spawn", "spawn_link", "spawn_monitor", "spawn_opt",
      "self", "parent", "label", "exit", "link", "unlink", "monitor",
      "demonitor", "trap_exit", "register", "unregister", "whereis",
      "registered", "is_alive", "processes", "info", "yield", "sleep", "now",
      "halt", "send", "try_send", "post", "send_after", "send_every", "cancel",
      "sender", "pid", "ref", "alias", "unalias", "pack", "unpack", "receive",
      "receiver", "on", "after", "is", "exact", "oneof", "match", "request",
      "flush", "mailbox", "scope", "call", "try_call", "cast", "reply",
      "blocking" } do
    it("has the function " .. name, function()
      assert.equal("function", type(actor[name]))
    end)
  end

  it("has the variables var and _", function()
    assert.is_truthy(actor.var and actor._)
  end)

  it("reads no other field", function()
    assert.is_nil(actor.no_such_function)
  end)

  it("adds no globals", function()
    local before = {}
    for name in pairs(_G) do before[name] = true end
    package.loaded.luactor = nil
    require "luactor"
    package.loaded.luactor = actor
    local added = {}
    for name in pairs(_G) do
      if not before[name] then added[#added + 1] = name end
    end
    assert.same({}, added)
  end)

  it("is bound to a process, not to a coroutine", function()
    assert.equal(actor.self(), (coroutine.wrap(actor.self)()))
  end)

  it("loads C modules in a process", function()
    assert.equal("function", (helper.run(function()
      return type(require "lpeg".P)
    end)))
  end)

  it("names the function and the argument in its complaints", function()
    local _, e = pcall(function()
      actor.send_after("soon", actor.self(), 1)
    end)
    assert.matches("bad argument #1 to 'send_after'", e, 1, true)
  end)
end)

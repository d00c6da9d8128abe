local actor = require "luactor"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- functions that travel take the real globals along
local V = actor.var

describe("actor.register", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("names the caller", function()
    assert.is_true((helper.run(function()
      actor.register "names_spec_a"
      return actor.whereis "names_spec_a" == actor.self()
    end)))
  end)

  it("names another process", function()
    local pid = helper.spawn_idle()
    actor.register("names_spec_b", pid)
    local found = actor.whereis "names_spec_b"
    helper.kill(pid)
    assert.equal(pid, found)
  end)

  it("raises for a name in use", function()
    local a, b = helper.spawn_idle(), helper.spawn_idle()
    actor.register("names_spec_c", a)
    local ok = pcall(actor.register, "names_spec_c", b)
    helper.kill(a)
    helper.kill(b)
    assert.is_false(ok)
  end)

  it("leaves the first owner in place when it raises", function()
    local a, b = helper.spawn_idle(), helper.spawn_idle()
    actor.register("names_spec_d", a)
    pcall(actor.register, "names_spec_d", b)
    local owner = actor.whereis "names_spec_d"
    helper.kill(a)
    helper.kill(b)
    assert.equal(a, owner)
  end)

  it("gives a name to one of many that want it", function()
    local me = actor.self()
    for _ = 1, 50 do
      actor.spawn(function()
        local won = pcall(actor.register, "names_spec_race")
        actor.send(me, { "result", won })
        if won then helper.receive "end" end
      end)
    end
    local winners = 0
    for _ = 1, 50 do
      if helper.receive { "result", V.won } then winners = winners + 1 end
    end
    actor.send("names_spec_race", "end")
    helper.wait(function() return not actor.whereis "names_spec_race" end)
    assert.equal(1, winners)
  end)

  it("takes a name again when its owner has died", function()
    helper.kill(helper.spawn_idle { name = "names_spec_e" })
    local pid = helper.spawn_idle()
    actor.register("names_spec_e", pid)
    local found = actor.whereis "names_spec_e"
    helper.kill(pid)
    assert.equal(pid, found)
  end)

  it("raises when the name is no string", function()
    assert.has_error(function() actor.register({}) end)
  end)
end)

describe("actor.unregister", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("frees the name", function()
    local pid = helper.spawn_idle { name = "names_spec_f" }
    actor.unregister "names_spec_f"
    local found = actor.whereis "names_spec_f"
    helper.kill(pid)
    assert.is_nil(found)
  end)

  it("leaves the process alive", function()
    local pid = helper.spawn_idle { name = "names_spec_g" }
    actor.unregister "names_spec_g"
    local alive = actor.is_alive(pid)
    helper.kill(pid)
    assert.is_true(alive)
  end)
end)

describe("actor.whereis", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("is nil for a name that nobody has", function()
    assert.is_nil(actor.whereis "names_spec_nobody")
  end)

  it("is nil once the process is dead", function()
    helper.kill(helper.spawn_idle { name = "names_spec_h" })
    assert.is_nil(actor.whereis "names_spec_h")
  end)
end)

describe("actor.registered", function()
  before_each(helper.mark)
  after_each(helper.check)

  local function is_listed(name)
    for _, n in ipairs(actor.registered()) do
      if n == name then return true end
    end
    return false
  end

  it("lists a name in use", function()
    local pid = helper.spawn_idle { name = "names_spec_i" }
    local listed = is_listed "names_spec_i"
    helper.kill(pid)
    assert.is_true(listed)
  end)

  it("does not list the name of a dead process", function()
    helper.kill(helper.spawn_idle { name = "names_spec_j" })
    assert.is_false(is_listed "names_spec_j")
  end)
end)

describe("a name as a destination", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("receives what is sent to it", function()
    local me = actor.self()
    actor.spawn_opt({ name = "names_spec_k" }, function()
      actor.send(me, { "got", (actor.receive()) })
    end)
    actor.send("names_spec_k", "hello")
    assert.equal("hello", (helper.receive { "got", V.x }))
  end)

  it("makes send raise when nobody has it", function()
    assert.has_error(function() actor.send("names_spec_nobody", 1) end)
  end)

  it("makes try_send return noproc when nobody has it", function()
    assert.same({ nil, "noproc" }, { actor.try_send("names_spec_nobody", 1) })
  end)

  it("leads to its next owner", function()
    helper.kill(helper.spawn_idle { name = "names_spec_l" })
    local me = actor.self()
    actor.spawn_opt({ name = "names_spec_l" }, function()
      actor.send(me, { "second got", (actor.receive()) })
    end)
    actor.send("names_spec_l", 5)
    assert.equal(5, (helper.receive { "second got", V.x }))
  end)
end)

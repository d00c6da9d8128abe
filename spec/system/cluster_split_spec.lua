-- Groups, registries and a remote child of three nodes in network namespaces: what each side
-- has during a split, and what all have after the merge.
local helper = require "spec.helper"
local peers = require "spec.peers"
local describe, it, assert, pending = describe, it, assert, pending
local setup, teardown = setup, teardown
local _ENV = _G

local TICK <const> = 0.8 -- seconds

local possible, why = peers.can_have_spaces()
if not possible then
  describe("a cluster that splits", function()
    it("has one state after the merge", function()
      pending("no network namespaces here: " .. tostring(why))
    end)
  end)
  return
end

local PRELUDE <const> = [[local actor, node, registry, pg = require "luactor", require "luactor.node",
    require "luactor.registry", require "luactor.pg"
  local V = actor.var ]]

local spaces, n

local function run(i, code, ...)
  return n[i]:eval(PRELUDE .. code, ...)
end

local function start(i)
  local where = {}
  for j, space in ipairs(spaces) do
    where[j] = ("['n%d@%s'] = '%s:9100'"):format(j, space.address, space.address)
  end
  n[i] = peers.luactor { space = spaces[i].name, name = "n" .. i }
  n[i].node = ("n%d@%s"):format(i, spaces[i].address)
  run(i, [[node.start{ name = %q, cookie = "c", listen = 9100, address = %q, epmd = false,
      insecure = true, ticktime = %s, nodes = { %s } }
    registry.start { name = "reg", scope = "cluster" }
    registry.start { name = "tags", scope = "cluster", keys = "duplicate" } ]], n[i].node,
    spaces[i].address, TICK, table.concat(where, ", "))
end

-- A process that joins a group, takes a tag and a name, and stays. "true" when it has the name.
local function member(i, name, value)
  return run(i, [[local done = actor.alias()
    actor.spawn(function()
      actor.register(%q)
      pg.join "g"
      registry.register("tags", "all", %q)
      local ok = registry.register("reg", %q, %q)
      actor.send(done, tostring(ok))
      actor.receive "never"
    end)
    return actor.receive(actor.is "string", 30000)]], name .. i, value, name, value)
end

local VIEW <const> = [[
  local function names(list, f)
    for i, x in ipairs(list) do list[i] = f(x) end
    table.sort(list)
    return table.concat(list, " ")
  end
  return names(pg.members "g", function(pid) return node.of(pid):match "^n%d" end)
    .. " / " .. names(registry.lookup("tags", "all"), function(e) return e[2] end)
    .. " / " .. names(registry.select("reg", V._), function(e) return e[1] .. "=" .. e[3] end)]]

-- What the nodes see: members of the group / values under the tag / names and their values.
local function all_see(list, expected)
  for _, i in ipairs(list) do
    local last
    local ok = pcall(helper.wait, function()
      last = run(i, VIEW)
      return last == expected
    end, 20000)
    if not ok then assert.equal(("n%d: %s"):format(i, expected), ("n%d: %s"):format(i, last)) end
  end
end

local function meet()
  for i = 1, 3 do
    for j = 1, 3 do
      if i ~= j then
        helper.wait(function() return n[i]:eval("return node.ping %q", n[j].node) == "pong" end)
      end
    end
  end
end

describe("a cluster that splits", function()
  setup(function()
    peers.open()
    spaces, n = peers.spaces(3), {}
    for i = 1, 3 do start(i) end
    meet()
  end)
  teardown(peers.close)

  it("has on each side what is there, and one state after the merge", function()
    assert.equal("true", member(1, "x", "x1"))
    assert.equal("true", member(3, "y", "y3"))
    all_see({ 1, 2, 3 }, "n1 n3 / x1 y3 / x=x1 y=y3")
    assert.equal("nil", member(2, "x", "x2")) -- taken
    all_see({ 1, 2, 3 }, "n1 n2 n3 / x1 x2 y3 / x=x1 y=y3")

    local second = os.time() -- what decides counts seconds
    helper.wait(function() return os.time() > second end)

    peers.cut(spaces[3])
    all_see({ 1, 2 }, "n1 n2 / x1 x2 / x=x1")
    all_see({ 3 }, "n3 / y3 / y=y3")
    -- Each side goes on: a name that is free there, and one that both take.
    assert.equal("true", member(2, "y", "y2"))
    assert.equal("true", member(3, "x", "x3"))
    assert.equal("true", member(3, "z", "z3"))
    all_see({ 1, 2 }, "n1 n2 n2 / x1 x2 y2 / x=x1 y=y2")
    all_see({ 3 }, "n3 n3 n3 / x3 y3 z3 / x=x3 y=y3 z=z3")

    peers.mend(spaces[3])
    meet()
    -- The older one of two with a name has it; the other has ended.
    all_see({ 1, 2, 3 }, "n1 n2 n3 n3 / x1 x2 y3 z3 / x=x1 y=y3 z=z3")
    assert.equal("false true", run(2, "return tostring(actor.whereis 'y2' ~= nil) .. ' ' .. tostring(actor.whereis 'x2' ~= nil)"))
    assert.equal("nil", run(3, "return tostring(actor.whereis 'x3')"))
  end)

  it("ends a remote child on both sides, and starts it where it can", function()
    run(1, [[local Counter = require "far_counter"
      local s = require "luactor.supervisor".start_link { name = "sup", intensity = 20, children = {
        { id = "c", start = { Counter.start_on, { %q, %q }, 1 } } } }
      actor.unlink(s.pid)]], n[3].node, n[2].node)
    local function at()
      return run(1, [[local child = require "luactor.supervisor".which_children("sup")[1]
        return child.pid and node.of(child.pid) or child.status]])
    end
    assert.equal(n[3].node, at())
    local before = run(3, "return #actor.processes()")
    peers.cut(spaces[3])
    helper.wait(function() return at() == n[2].node end)
    helper.wait(function() return tonumber(run(3, "return #actor.processes()")) == before - 1 end)
    peers.mend(spaces[3])
    meet()
    assert.equal(n[2].node, at())
  end)
end)

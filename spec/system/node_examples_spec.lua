-- The programs of examples/nodes, started as their headers and the guide say, each by a
-- command of its own with one cookie file.
local helper = require "spec.helper"
local peers = require "spec.peers"
local describe, it, assert, pending = describe, it, assert, pending
local setup, teardown = setup, teardown
local _ENV = _G

local cookie

local function command(name, rest)
  return ("%s --name %s@127.0.0.1 --cookie-file %s --listen 0 %s"):format(helper.binary, name,
    cookie, rest)
end

local function env() return ("ERL_EPMD_PORT=%d"):format(peers.epmd_port) end

-- Start one that stays; wait until the mapper knows it.
local function start(name, rest)
  local peer = peers.start { command = command(name, rest), env = env(), name = name }
  helper.wait(function()
    local _, names = peers.sh(("epmd -port %d -names"):format(peers.epmd_port))
    return names:find("name " .. name .. " at", 1, true)
  end)
  return peer
end

local function run(name, rest)
  local _, out = peers.sh(("%s timeout 60 %s 2>/dev/null"):format(env(), command(name, rest)))
  return out
end

-- The block of the guide in which such a command stands, as what it prints.
local function shown(name)
  local guide = peers.slurp "docs/guide/nodes.md"
  local block = guide:match("\n    %$ luactor %-%-name " .. name .. "@[^\n]*\n(.-)\n\n")
  assert(block, "the guide does not show " .. name)
  local lines = {}
  for line in (block .. "\n"):gmatch "    ([^\n]*)\n" do
    if line:match "^%$" then break end
    lines[#lines + 1] = line
  end
  return table.concat(lines, "\n") .. "\n"
end

describe("of the examples of nodes", function()
  if not peers.has "epmd" then
    it("all run", function() pending "no epmd here: apt-get install erlang-base" end)
    return
  end
  setup(function()
    peers.open { epmd = true }
    cookie = peers.dir() .. "/cookie"
    assert(peers.sh("head -c 20 /dev/urandom | od -An -tx1 | tr -d ' \\n' >" .. cookie
      .. " && chmod 600 " .. cookie))
  end)
  teardown(peers.close)

  it("the desk answers visitors and logs what they say", function()
    local desk = start("desk", "examples/nodes/desk.lua")
    assert.equal(shown "ann", run("ann", "examples/nodes/visitor.lua Ann"))
    assert.equal("good day, Bob, you are number 2\n", run("bob", "examples/nodes/visitor.lua Bob")
      :match "^[^\n]*\n")
    helper.wait(function() return desk:log():find("Bob was here", 1, true) end)
    local lines = {}
    for line in desk:log():gmatch "[^\n]+" do
      if line:match "^%a+@" then lines[#lines + 1] = line end
    end
    assert.same({ "desk@127.0.0.1: open", "ann@127.0.0.1: Ann was here",
      "bob@127.0.0.1: Bob was here" }, lines)
    assert.equal(shown "desk", lines[1] .. "\n" .. lines[2] .. "\n")
    desk:kill()
  end)

  it("a visitor without a desk says so", function()
    local ok = peers.sh(("%s timeout 60 %s"):format(env(), command("ann",
      "examples/nodes/visitor.lua Ann nowhere@127.0.0.1")))
    assert.is_false(ok)
  end)

  it("the counter counts for Erlang", function()
    if not peers.has "erl" then return pending "no erl here" end
    local counter = start("counter", "examples/nodes/counter.lua")
    local text = peers.slurp(cookie)
    -- The shell of erl is given what the header of the program shows.
    local header = peers.slurp "examples/nodes/counter.lua"
    local expected = {}
    local input = {}
    for question, answer in header:gmatch "%-%-   %d> ([^\n]*)\n%-%-   ([^\n]*)\n" do
      input[#input + 1] = question
      expected[#expected + 1] = answer
    end
    assert.equal(3, #input)
    input[#input + 1] = "gen_server:call({counter, 'counter@127.0.0.1'}, {what, 1})."
    expected[#expected + 1] = "{error,{unknown,{what,1}}}"
    peers.spill(peers.dir() .. "/input", table.concat(input, "\n") .. "\nhalt().\n")
    local _, out = peers.sh(("%s HOME=%s timeout 60 erl -start_epmd false -name e@127.0.0.1 -setcookie %s <%s/input")
      :format(env(), peers.dir(), text, peers.dir()))
    local answers = {}
    for line in out:gmatch "[^\n]+" do
      local answer = line:match "^%(?[%w@.]*%)?%d*>? *(%S.*)$"
      for _, want in ipairs(expected) do
        if answer == want then answers[#answers + 1] = answer break end
      end
    end
    assert.same(expected, answers, out)
    counter:kill()
  end)

  it("words are counted on three nodes", function()
    local w1, w2 = start("w1", "examples/nodes/words.lua"), start("w2", "examples/nodes/words.lua")
    assert.equal(shown "w3", run("w3", "examples/nodes/words.lua w1@127.0.0.1 w2@127.0.0.1"))
    w1:kill()
    w2:kill()
  end)
end)

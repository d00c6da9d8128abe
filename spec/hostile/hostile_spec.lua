-- What hostile scripts can do in a sandbox with limits: nothing to others. Beside each
-- a pair of processes plays ping-pong, and must get on; nothing is left over afterwards.
local actor = require "luactor"
local helper = require "spec.helper"
local scripts = require "spec.hostile.scripts"

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- functions that travel take the real globals along

local V = actor.var
local MB = 1024 * 1024
local ROUNDS = 300 -- of the neighbours, beside each script

local OPTS = {
  sandbox = { "string", "table", "math", "coroutine", "utf8" },
  max_heap = 8 * MB, mailbox = { limit = 1000 }, monitor = true,
  limits = { memory = 32 * MB, processes = 50, cpu = 0.5 },
}

local function has_limit(reason)
  return type(reason) == "table" and
    (reason[1] == "group_limit" or reason[1] == "heap_limit")
end

local function is_refusal(reason)
  return reason == "normal" or reason == "system_limit" or
    type(reason) == "table" and reason[1] == "error"
end

-- Does the reason show what it must? 'killed': it was we who ended it.
local function fits(kind, reason, killed)
  if kind == "limit" then return has_limit(reason) end
  if kind == "error" then return is_refusal(reason) end
  if kind == "lives" then return killed and reason == "killed" end
  return has_limit(reason) or is_refusal(reason) or reason == "mailbox_limit"
    or reason == "killed" and killed
end

-- A process of the host that listens to the script, slowly, with a limit.
local function listen()
  while true do actor.receive() end
end

-- Ping-pong of two processes of the host, which answer { "rounds", n } once n are done.
local function neighbours()
  return actor.spawn_link(function()
    local echo = actor.spawn_link(function()
      while true do
        local from, n = actor.receive({ V.from "pid", V.n "integer" })
        actor.send(from, n)
      end
    end)
    while true do
      local from, n = actor.receive({ "rounds", V.from, V.n })
      for i = 1, n do
        actor.send(echo, { actor.self(), i })
        actor.receive(i)
      end
      actor.send(from, { "played", n })
    end
  end)
end

-- A whole program: while the sandboxed process that runs `body` does so, two others play and
-- then end the host. Returns its status and what it wrote to stdout.
local function program(body, options)
  local out, _, status = helper.cli { options = options, code = ([[
    local actor = require "luactor"
    local V = actor.var
    actor.spawn_opt({ sandbox = { "string" }, max_heap = 1000000,
      mailbox = { limit = 10 }, limits = { cpu = 0.2 } }, function() %s end)
    local echo = actor.spawn(function()
      while true do
        local from, n = actor.receive { V.from "pid", V.n "integer" }
        actor.send(from, n)
      end
    end)
    for i = 1, 2000 do
      actor.send(echo, { actor.self(), i })
      actor.receive(i)
      if i %% 100 == 0 then actor.sleep(1) end
    end
    actor.halt(7)
  ]]):format(body) }
  return status, out
end

local names = {}
for name in pairs(scripts) do names[#names + 1] = name end
table.sort(names)

describe("beside a hostile script", function()
  local players, target, before

  before_each(function()
    helper.mark()
    players = neighbours()
    target = actor.spawn_opt(
      { mailbox = { limit = 100, overflow = "drop_new" }, max_heap = 64 * MB },
      listen)
    actor.send(players, { "rounds", actor.self(), 1 })
    helper.receive({ "played", 1 })
    before = #actor.processes()
  end)
  after_each(function()
    helper.kill(target)
    helper.kill(players)
    helper.check()
  end)

  it("neighbours get on while it prints", function()
    local status, out = program [[while true do print(("x"):rep(100)) end]]
    assert.equal(7, status)
    assert.is_truthy(out:find("^x+\n"))
  end)

  it("neighbours get on while its children fill the log", function()
    local status = program [[
      while true do
        pcall(actor.spawn, function() error(("x"):rep(1000)) end)
      end]]
    assert.equal(7, status)
  end)

  for _, name in ipairs(names) do
    it("neighbours get on, and it ends: " .. name, function()
      local kind, script = scripts[name][1], scripts[name][2]
      local pid, mon = actor.spawn_opt(OPTS, script, target)
      for _ = 1, 2 do
        actor.send(players, { "rounds", actor.self(), ROUNDS })
        helper.receive({ "played", ROUNDS })
      end
      -- What must end by itself is waited for; what may go on is ended.
      local killed = kind == "lives" or kind == "any"
      if killed then actor.exit(pid, "kill") end
      local reason = helper.down(mon)
      assert.is_true(fits(kind, reason, killed), helper.show(reason))
      assert.is_true(actor.is_alive(target))
      -- All that it brought forth is gone, too.
      helper.wait(function() return #actor.processes() <= before end)
    end)
  end
end)

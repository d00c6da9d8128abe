-- A million messages among a thousand processes, some of which are killed
-- meanwhile. Checked is conservation: between two processes that live to the
-- end nothing is lost, doubled or reordered; what comes from one that is
-- killed is a gapless beginning; every monitor fires exactly once; and the
-- host is as empty afterwards as before.
--
-- LUACTOR_SPEC_SCALE scales the number of processes and of messages.
local actor = require "luactor"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local _ENV = _G -- functions that travel take the real globals along
local V, on = actor.var, actor.on

local root = math.sqrt(math.min(helper.scale, 1))
local FULL = math.max(40, math.floor(1000 * root))
local MONITORS_EACH = 8                 -- of mortals, by each steady process
local PATIENCE = 300000

-- A generator of its own for each process: which process sends where does not
-- depend on the schedule.
local function generator(seed)
  local state = (seed * 2654435761 + 1013904223) & 0xffffffff
  return function(n)
    state = (state * 1664525 + 1013904223) & 0xffffffff
    return (state >> 8) % n + 1
  end
end

-- A run of `size` processes with as many messages each; the first fifth of
-- them are mortals.
local function mortals_of(size) return size // 5 end

-- The life of a process: link and monitor mortals, send its messages to
-- random others while taking what comes, and then serve the questions of the
-- test.
local function worker(me, size, test)
  local random = generator(me)
  local mortals = mortals_of(size)
  local pids = actor.receive({ "pids", V.pids "table" })
  local steady = me > mortals
  local sent, last, received, problems = {}, {}, 0, {}
  local downs, monitors, cancelled = {}, {}, {}

  local function problem(text, ...)
    problems[#problems + 1] = text:format(...)
  end

  if steady then
    for i = 1, MONITORS_EACH do
      local ref = actor.monitor(pids[random(mortals)])
      monitors[i], downs[ref] = ref, 0
    end
    for _ = 1, MONITORS_EACH do
      local ref = actor.monitor(pids[random(mortals)])
      actor.demonitor(ref, { flush = true })
      cancelled[ref] = true
    end
  elseif me % 2 == 0 then
    actor.link(pids[me - 1])
    actor.link(pids[random(mortals)])
  end
  actor.send(test, { "ready", me }) -- nobody is killed before all are

  local finished = false
  local answers
  local serve = actor.receiver(
    on({ "m", V.from, V.seq }, function(from, seq)
      local expected = (last[from] or 0) + 1
      if seq ~= expected then
        problem("%d got %d of %d, expected %d", me, seq, from, expected)
      end
      last[from] = seq
      received = received + 1
      return true
    end),
    on({ "DOWN", V.ref, "process", V._, V.reason }, function(ref, reason)
      if cancelled[ref] then problem("a cancelled monitor fired") end
      if not downs[ref] then problem("an unknown monitor fired") end
      if reason ~= "killed" then
        problem("DOWN with %s", helper.show(reason))
      end
      downs[ref] = (downs[ref] or 0) + 1
      return true
    end),
    on({ "question", V.name }, function(name)
      answers[name]()
      return true
    end),
    on("end", function()
      finished = true
      return true
    end))

  answers = {
    sent = function() actor.send(test, { "sent", me, sent }) end,
    received = function()
      actor.send(test, { "received", me, last, received })
    end,
    downs = function()
      local counts = {}
      for i, ref in ipairs(monitors) do counts[i] = downs[ref] end
      actor.send(test, { "downs", me, counts })
    end,
    problems = function() actor.send(test, { "problems", me, problems }) end,
  }

  for i = 1, size do
    local to = random(size)
    sent[to] = (sent[to] or 0) + 1
    actor.send(pids[to], { "m", me, sent[to] })
    if i % 4 == 0 then while serve(0) do end end
  end
  if steady then actor.send(test, { "done", me }) end
  while not finished do serve() end
end

local function resident_kb()
  for line in io.lines("/proc/self/status") do
    local kb = line:match "VmRSS:%s*(%d+)"
    if kb then return tonumber(kb) end
  end
  return 0
end

-- Ask every steady process and return the answers by number.
local function ask(pids, name)
  local first = mortals_of(#pids) + 1
  for i = first, #pids do actor.send(pids[i], { "question", name }) end
  local all = {}
  for _ = first, #pids do
    local i, answer = actor.receive({ name, V.i, V.answer, V._ "..." }, PATIENCE)
    assert(i, "no answer")
    all[i] = answer
  end
  return all
end

local function conserved(pids)
  local wrong, mortals = {}, mortals_of(#pids)
  local sent = ask(pids, "sent")
  -- What one process sent another arrived before it answered, but let the
  -- check not rely on that.
  local received
  helper.wait(function()
    received = ask(pids, "received")
    for from, counts in pairs(sent) do
      for to, n in pairs(counts) do
        if to > mortals and (received[to][from] or 0) < n then return false end
      end
    end
    return true
  end, PATIENCE)
  for from, counts in pairs(sent) do
    for to, n in pairs(counts) do
      if to > mortals and received[to][from] ~= n then
        wrong[#wrong + 1] = ("%d -> %d: sent %d, received %s"):format(from, to,
          n, tostring(received[to][from]))
      end
    end
  end
  return wrong
end

-- One run; returns what went wrong.
local function run(size)
  local test, mortals = actor.self(), mortals_of(size)
  local pids, wrong = {}, {}
  for i = 1, size do pids[i] = actor.spawn(worker, i, size, test) end
  local mons = {}
  for i = 1, size do mons[i] = actor.monitor(pids[i]) end
  for i = 1, size do actor.send(pids[i], { "pids", pids }) end
  for _ = 1, size do
    assert(actor.receive({ "ready", V.i }, PATIENCE), "a process did not start")
  end

  local random = generator(size + 1)
  local done, left = 0, mortals
  local order = {}
  for i = 1, mortals do order[i] = i end
  while done < size - mortals do
    assert(actor.receive({ "done", V.i }, PATIENCE), "a process is stuck")
    done = done + 1
    if left > 0 and done % 2 == 0 then
      local k = random(left)
      actor.exit(pids[order[k]], "kill")
      order[k], left = order[left], left - 1
    end
  end
  for k = 1, left do actor.exit(pids[order[k]], "kill") end

  for i = 1, mortals do
    local reason = actor.receive(
      { "DOWN", mons[i], "process", V._, V.reason }, PATIENCE)
    if reason ~= "killed" then
      wrong[#wrong + 1] = "a mortal ended with " .. helper.show(reason)
    end
  end

  for _, text in ipairs(conserved(pids)) do wrong[#wrong + 1] = text end
  helper.wait(function()
    for _, counts in pairs(ask(pids, "downs")) do
      for i = 1, MONITORS_EACH do
        if counts[i] == 0 then return false end
      end
    end
    return true
  end, PATIENCE)
  for i, counts in pairs(ask(pids, "downs")) do
    for k = 1, MONITORS_EACH do
      if counts[k] ~= 1 then
        wrong[#wrong + 1] = ("a monitor of %d fired %d times"):format(i, counts[k])
      end
    end
  end
  for _, list in pairs(ask(pids, "problems")) do
    for _, text in ipairs(list) do wrong[#wrong + 1] = text end
  end

  for i = mortals + 1, size do actor.send(pids[i], "end") end
  for i = mortals + 1, size do
    local reason = actor.receive(
      { "DOWN", mons[i], "process", V._, V.reason }, PATIENCE)
    if reason ~= "normal" then
      wrong[#wrong + 1] = "a process ended with " .. helper.show(reason)
    end
  end
  return wrong
end

describe("a thousand processes under fire", function()
  local processes_before

  it("lose, double and reorder nothing", function()
    helper.mark()
    processes_before = #actor.processes()
    assert.same({}, run(FULL))
  end)

  it("leave no process behind", function()
    helper.wait(function() return #actor.processes() == processes_before end)
    assert.equal(processes_before, #actor.processes())
  end)

  it("leave no message or name behind", function()
    assert.has_no_error(helper.check)
  end)

  -- Smaller runs, in the room that the great one has made: what they leave
  -- behind adds up, how full the allocator's blocks are does not.
  it("need no more memory when it is repeated", function()
    local small, first, last = math.max(40, FULL // 5), nil, nil
    for round = 1, 13 do
      run(small)
      collectgarbage()
      last = resident_kb()
      if round == 3 then first = last end
    end
    assert.is_true(last < first * 1.1 + 4096,
      ("%d KB after the third run, %d KB after the last"):format(first, last))
  end)
end)

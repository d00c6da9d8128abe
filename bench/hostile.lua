-- How much later do neighbours get their answers because of a hostile script?
--
-- A process of the host wakes every millisecond, asks another one and notes how long after
-- the millisecond it has the answer, first alone and then beside each kind of sandboxed script,
-- which is started anew whenever a limit has ended it. A line for each kind: p50 and p99
-- of that, their ratios to those alone, measured just before, and how often the script was
-- started. (A ping-pong without pauses would hardly see the others: it holds its processor,
-- and what is late is one in a thousand.)
--
--   hostile         the script may have half of a scheduler
--   hostile_uncapped  it may have all it gets
local actor = require "luactor"
local harness = require "harness"

local V = actor.var
local SECONDS = tonumber(os.getenv "BENCH_SECONDS" or nil) or 1

local function idle() actor.receive("never") end

local scripts = {
  { "loop", function() while true do end end },
  { "loops", function()
    for _ = 1, 8 do actor.spawn(function() while true do end end) end
    while true do end
  end },
  { "pattern", function()
    return ("a"):rep(200):find(("a*"):rep(60) .. "b")
  end },
  { "collector", function()
    local t = {}
    for i = 1, 10000 do t[i] = {} end
    while true do collectgarbage() end
  end },
  { "memory", function()
    local t = {}
    while true do t[#t + 1] = { t } end
  end },
  { "string", function() return ("x"):rep(1 << 28) end },
  { "fork", function() while true do pcall(actor.spawn, idle) end end },
  { "crashes", function()
    while true do pcall(actor.spawn, error) end
  end },
  { "own_flood", function()
    local me = actor.self()
    while true do actor.send(me, "x") end
  end },
  { "flood", function(target)
    while true do actor.send(target, { "x", { 1, 2, 3 } }) end
  end },
  { "large", function(target)
    local t = {}
    for i = 1, 20000 do t[i] = i end
    while true do actor.send(target, t) end
  end },
  { "timers", function()
    while true do actor.send_after(1, actor.self(), "x") end
  end },
}

local function start(script, capped, target)
  local pid, mon = actor.spawn_opt({
    sandbox = { "string", "table" }, max_heap = 8 << 20,
    mailbox = { limit = 1000, overflow = "drop_new" }, monitor = true,
    limits = { processes = 50, cpu = capped and 0.5 or nil } }, script, target)
  return { pid = pid, mon = mon }
end

-- Keeps the script running until told to stop; answers how often it was started.
local function keep(boss, script, capped)
  local target = actor.spawn_opt(
    { mailbox = { limit = 1000, overflow = "drop_new" } }, function()
      while true do actor.receive() end
    end)
  local run, n = start(script, capped, target), 1
  while true do
    local again = actor.receive(
      actor.on({ "DOWN", run.mon, "process", V._, V._ },
        function() return true end),
      actor.on("stop", function() return false end))
    if not again then break end
    run, n = start(script, capped, target), n + 1
  end
  actor.exit(run.pid, "kill")
  actor.exit(target, "kill")
  actor.receive { "DOWN", run.mon, "process", V._, V._ }
  actor.send(boss, { "started", n })
end

local function pong()
  while true do
    local from, i = actor.receive { V.from "pid", V.i "integer" }
    actor.post(from, i)
  end
end

-- Microseconds from each due time to its answer, for so many seconds, sorted.
local function play(seconds)
  local ponger, me, times = actor.spawn(pong), actor.self(), {}
  local now = harness.now_ns()
  local stop = now + seconds * 1e9
  repeat
    local i = #times + 1
    local due = now + 1e6
    actor.sleep(1)
    actor.post(ponger, me, i)
    actor.receive { i }
    now = harness.now_ns()
    times[i] = (now - due) / 1000
  until now >= stop
  actor.exit(ponger, "kill")
  table.sort(times)
  return times
end

local function at(times, q) return times[math.ceil(q * #times)] end

local function measure(case, capped)
  play(0.2)
  for _, script in ipairs(scripts) do
    local alone = play(SECONDS)
    local keeper = actor.spawn(keep, actor.self(), script[2], capped)
    actor.sleep(50)
    local beside = play(SECONDS)
    actor.send(keeper, "stop")
    local n = actor.receive { "started", V.n }
    local sum = 0
    for _, us in ipairs(beside) do sum = sum + us end
    harness.emit(case .. "_" .. script[1], #beside, sum * 1000, {
      { "alone_p50_us", at(alone, 0.5) }, { "alone_p99_us", at(alone, 0.99) },
      { "p50_us", at(beside, 0.5) }, { "p99_us", at(beside, 0.99) },
      { "p50_ratio", at(beside, 0.5) / at(alone, 0.5) },
      { "p99_ratio", at(beside, 0.99) / at(alone, 0.99) },
      { "started", n } })
  end
end

harness.main {
  hostile = function(case) measure(case, true) end,
  hostile_uncapped = function(case) measure(case, false) end,
}

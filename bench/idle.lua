-- What do a hundred thousand processes cost that only wait?
--
-- spawn_idle: spawn them, until the last has said that it is up, and their
-- share of the resident memory; idle_kill: kill them, until the table of
-- processes is as short as before. op = process.
--
-- idle_cpu: processor time of the host during 3 s in which all of them, and
-- the test, wait. op = second.
local actor = require "luactor"
local harness = require "harness"

local N = 100000

local function start(n)
  local parent = actor.self()
  local function body()
    actor.send(parent, "up")
    actor.receive "never"
  end
  local pids = {}
  for i = 1, n do pids[i] = actor.spawn(body) end
  local take = actor.receiver(actor.on("up", function() end))
  for _ = 1, n do take() end
  return pids
end

local function until_count(base)
  while #actor.processes() > base do actor.yield() end
end

local function stop(pids, base)
  for _, pid in ipairs(pids) do actor.exit(pid, "kill") end
  until_count(base)
end

local function spawn_idle()
  local base = #actor.processes()
  stop(start(100), base)
  collectgarbage()
  local rss0 = harness.rss()
  local t0 = harness.now_ns()
  local pids = start(N)
  local t1 = harness.now_ns()
  collectgarbage()
  local rss1 = harness.rss()
  local heap = actor.info(pids[N // 2], "heap_bytes")
  local t2 = harness.now_ns()
  stop(pids, base)
  local t3 = harness.now_ns()
  harness.emit("spawn_idle", N, t1 - t0, {
    { "rss_bytes_each", (rss1 - rss0) / N }, { "vm_bytes_each", heap / 1 } })
  harness.emit("idle_kill", N, t3 - t2)
end

local function idle_cpu(case)
  local base = #actor.processes()
  local pids = start(N)
  actor.sleep(500)
  local cpu0, t0 = harness.cpu_ms(), harness.now_ns()
  actor.sleep(3000)
  local cpu, ns = harness.cpu_ms() - cpu0, harness.now_ns() - t0
  harness.emit(case, 3, cpu * 1e6, {
    { "cpu_ms", cpu }, { "cpu_percent", 100 * cpu * 1e6 / ns } })
  stop(pids, base)
end

harness.main { spawn_idle = spawn_idle, idle_cpu = idle_cpu }

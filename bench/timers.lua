-- What does a timer cost, and how late does it fire?
--
-- One process starts 100,000 timers, the i-th due after 1 + (i * 7919) % 1000
-- ms, all to another process, which takes every message. Lateness is against
-- the due time. op = timer.
local actor = require "luactor"
local harness = require "harness"

local V, now = actor.var, actor.now

local function take(n, parent)
  local late = {}
  local serve = actor.receiver(actor.on({ "due", V.at }, function(at)
    late[#late + 1] = (now() - at) * 1000 // 1
  end))
  for _ = 1, n do serve() end
  actor.send(parent, { "late", late })
end

local function run(n)
  local taker = actor.spawn(take, n, actor.self())
  local t0 = harness.now_ns()
  for i = 1, n do
    local ms = 1 + (i * 7919) % 1000
    actor.send_after(ms, taker, { "due", now() + ms })
  end
  local started = harness.now_ns() - t0
  local late = actor.receive { "late", V.list "table" }
  harness.check(#late == n, "timers that never fired")
  return late, started
end

harness.main {
  timers = function(case)
    local n = 100000
    run(1000)
    local cpu0, t0 = harness.cpu_ms(), harness.now_ns()
    local late, started = run(n)
    local ns, cpu = harness.now_ns() - t0, harness.cpu_ms() - cpu0
    local extra = harness.quantiles(late)
    table.insert(extra, 1, { "start_ns_each", started / n })
    table.insert(extra, 2, { "cpu_ms", cpu })
    harness.emit(case, n, ns, extra)
  end,
}

-- How late is a process served that wants the processor only now and then?
--
-- tick_idle: for 5 s, sleep 1 ms and note by how much the sleep overran;
-- tick_spin: the same beside one endless loop per scheduler; tick_spin8:
-- beside eight. op = tick.
--
-- spinners: for 3 s, round trips between two processes beside a thousand
-- endless loops; the quantiles are those of a round trip. op = round trip.
local actor = require "luactor"
local harness = require "harness"

local now_ns, sleep, post, V = harness.now_ns, actor.sleep, actor.post, actor.var

local function spin(n)
  local pids = {}
  for i = 1, n do
    pids[i] = actor.spawn(function() while true do end end)
  end
  return pids
end

local function kill_all(pids)
  for _, pid in ipairs(pids) do actor.exit(pid, "kill") end
end

local function tick_until(stop)
  local late = {}
  repeat
    local t0 = now_ns()
    sleep(1)
    local t1 = now_ns()
    late[#late + 1] = (t1 - t0) // 1000 - 1000
  until t1 >= stop
  return late
end

local function ticks(spinners)
  return function(case)
    local pids = spin(spinners())
    tick_until(now_ns() + 0.2e9)
    local t0 = now_ns()
    local late = tick_until(t0 + 5e9)
    harness.emit(case, #late, now_ns() - t0, harness.quantiles(late))
    kill_all(pids)
  end
end

local function echo()
  local serve = actor.receiver(actor.on({ "ping", V.from, V.n },
    function(from, n) post(from, "pong", n) end))
  while true do serve() end
end

local function spinners(case)
  local pid, me = actor.spawn(echo), actor.self()
  local function trip(n)
    local t0 = now_ns()
    post(pid, "ping", me, n)
    actor.receive { "pong", n }
    return (now_ns() - t0) / 1000
  end
  for i = -10, -1 do trip(i) end
  local pids = spin(1000)
  sleep(200)
  local late, t0 = {}, now_ns()
  repeat late[#late + 1] = trip(#late) until now_ns() - t0 >= 3e9
  local took = now_ns() - t0
  kill_all(pids) -- sorting beside them would take its share of the processor
  harness.emit(case, #late, took, harness.quantiles(late))
  actor.exit(pid, "kill")
end

harness.main {
  tick_idle = ticks(function() return 0 end),
  tick_spin = ticks(harness.schedulers),
  tick_spin8 = ticks(function() return 8 end),
  spinners = spinners,
}

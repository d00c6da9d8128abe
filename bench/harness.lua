-- What the benchmark programs share: the clock, the size of the operating
-- system's process, and the line of JSON that each case prints:
--
--   {"peer":"luactor","case":..., "ops":..., "seconds":..., "ns_per_op":...,
--    ..., "hwm_kb":...}
--
-- A program is started as `luactor bench/pingpong.lua CASE`. The clock starts
-- after a warm-up run of the same code, about a tenth of the size, and stops
-- when the last effect that can be observed has happened. "hwm_kb" is the peak
-- resident size of the whole process up to then, so that it means something
-- when one case is run at a time, as `bench/run` does.
--
-- The module also serves plain lua5.4, for the cases that only compute.
local is_host, actor = pcall(require, "luactor")

local M = {}

---Nanoseconds from a monotonic clock.
function M.now_ns()
  if is_host then return actor.now() * 1e6 end
  return os.clock() * 1e9
end

---Fail the program unless `condition` holds: a benchmark that computes the
---wrong answer has no speed.
function M.check(condition, text)
  if not condition then error("wrong answer: " .. text, 2) end
end

local function proc_field(file, name)
  for line in io.lines(file) do
    local value = line:match("^" .. name .. ":%s*(%d+)")
    if value then return tonumber(value) end
  end
  return 0
end

---Peak resident size in KB.
function M.hwm_kb() return proc_field("/proc/self/status", "VmHWM") end

---Resident size in bytes.
function M.rss()
  for line in io.lines("/proc/self/statm") do
    return tonumber(line:match "%d+ (%d+)") * 4096
  end
end

---Processor time of the whole operating system process in ms, to 10 ms.
function M.cpu_ms()
  for line in io.lines("/proc/self/stat") do
    local fields = {}
    for word in line:match("%)%s+(.*)"):gmatch "%S+" do
      fields[#fields + 1] = word
    end
    return (tonumber(fields[12]) + tonumber(fields[13])) * 10
  end
end

---Scheduler threads of the host: BENCH_SCHEDULERS, which the runner sets, or
---the number of processors.
function M.schedulers()
  local given = tonumber(os.getenv "BENCH_SCHEDULERS" or nil)
  if given then return given end
  local count = 0
  for line in io.lines("/proc/cpuinfo") do
    if line:match "^processor%s*:" then count = count + 1 end
  end
  return math.max(count, 1)
end

---Median, 99th percentile and maximum of microseconds, as extra fields.
function M.quantiles(list)
  table.sort(list)
  local function at(q)
    return list[math.max(1, math.ceil(q * #list))]
  end
  return { { "late_p50_us", at(0.5) }, { "late_p99_us", at(0.99) },
    { "late_max_us", at(1) } }
end

local function number(x)
  if math.type(x) == "integer" then return tostring(x) end
  return ("%.2f"):format(x)
end

---Print the line of a case. `extra` is a list of { name, value }.
function M.emit(case, ops, ns, extra)
  local parts = {}
  for _, field in ipairs(extra or {}) do
    parts[#parts + 1] = (',"%s":%s'):format(field[1], number(field[2]))
  end
  io.write(('{"peer":"%s","case":"%s","ops":%d,"seconds":%.6f,"ns_per_op":%.2f%s,"hwm_kb":%d}\n')
    :format(is_host and "luactor" or "lua", case, ops, ns / 1e9, ns / ops,
      table.concat(parts), M.hwm_kb()))
end

---Run `run(ops / 10)`, then `run(ops)` under the clock, and print the line.
function M.simple(case, ops, run)
  run(ops // 10)
  collectgarbage()
  local t0 = M.now_ns()
  run(ops)
  M.emit(case, ops, M.now_ns() - t0)
end

---Run the cases named on the command line, all without any. `cases` maps a
---name to a function of that name.
function M.main(cases)
  local names = { table.unpack(arg) }
  if #names == 0 then
    for name in pairs(cases) do names[#names + 1] = name end
    table.sort(names)
  end
  for _, name in ipairs(names) do
    if not cases[name] then
      io.stderr:write("no such case here: ", name, "\n")
      os.exit(2)
    end
    cases[name](name)
  end
end

return M

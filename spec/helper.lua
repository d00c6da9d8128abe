-- Tools for the specs, which run inside the host:
--
--   luactor /usr/bin/busted --ignore-lua -o plainTerminal spec/host
--
-- The bodies of `it` run in the first process and may receive. A spec file
-- begins with
--
--   local helper = require "spec.helper"
--   local describe, it, assert = describe, it, assert
--   local before_each, after_each = before_each, after_each
--   local _ENV = _G
--
-- The last line matters: busted gives a spec file an environment of its own,
-- and a function that travels to another process would take a copy of that
-- along. With the real table of globals it finds the receiver's.
local actor = require "luactor"

local V = actor.var
local M = {}

-- How long a spec waits for what must happen; long enough for a sanitizer on
-- a busy machine, since only a failing spec ever waits this long.
M.patience = tonumber(os.getenv "LUACTOR_SPEC_PATIENCE") or 30000

-- Specs with a size multiply it by this: LUACTOR_SPEC_SCALE=0.05 for
-- sanitizers.
M.scale = tonumber(os.getenv "LUACTOR_SPEC_SCALE") or 1

---Wait until `cond` is true. The only place that sleeps to wait for something.
---@param cond fun(): any
---@param ms number?  deadline, default `patience`
---@return any  what cond returned; raises when the deadline has passed
function M.wait(cond, ms)
  local deadline = actor.now() + (ms or M.patience)
  while true do
    local got = cond()
    if got then return got end
    if actor.now() > deadline then
      error("condition did not come true in time", 2)
    end
    actor.sleep(1)
  end
end

---Receive with the patience of a spec: captures, or an error instead of a
---timeout.
function M.receive(pattern)
  local got = table.pack(actor.receive(pattern, M.patience))
  if got.n == 2 and got[1] == nil and got[2] == "timeout" then
    error("the expected message did not arrive", 2)
  end
  return table.unpack(got, 1, got.n)
end

---Wait for the DOWN message of a monitor.
---@return any reason, any who
function M.down(ref)
  local who, reason = actor.receive(
    { "DOWN", ref, "process", V.who, V.reason }, M.patience)
  if who == nil then error("no DOWN message arrived", 2) end
  return reason, who
end

local function run_and_tell(parent, tag, fn, ...)
  actor.send(parent, { tag, table.pack(fn(...)) })
end

local function finish(fn, ...)
  local tag = actor.ref()
  local pid, mon = actor.spawn_monitor(run_and_tell, actor.self(), tag, fn, ...)
  local who, reason = actor.receive(
    { "DOWN", mon, "process", V.who, V.reason }, M.patience)
  if who == nil then
    actor.demonitor(mon, { flush = true })
    actor.exit(pid, "kill")
    error("the process did not end in time", 3)
  end
  return reason, actor.receive({ tag, V.results "table" }, 0)
end

---Run `fn(...)` in a fresh process and return its results. Raises when the
---process ends in another way than by returning.
function M.run(fn, ...)
  local reason, results = finish(fn, ...)
  if reason ~= "normal" or results == nil then
    error("the process ended with " .. M.show(reason), 2)
  end
  return table.unpack(results, 1, results.n)
end

---Run `fn(...)` in a fresh process and return the reason it ended with.
function M.reason(fn, ...)
  local reason = finish(fn, ...)
  return reason
end

---A value as text, for messages of failed specs.
function M.show(value, depth)
  depth = depth or 0
  if type(value) == "string" then return ("%q"):format(value) end
  if type(value) ~= "table" or depth > 3 then return tostring(value) end
  local parts = {}
  for k, v in pairs(value) do
    local key = math.type(k) == "integer" and "" or M.show(k, depth + 1) .. "="
    parts[#parts + 1] = key .. M.show(v, depth + 1)
  end
  return "{" .. table.concat(parts, ", ") .. "}"
end

---A fresh process that answers each `{ from, value }` with `{ self, value }`
---until told to "stop". Ends with the test process.
function M.spawn_echo()
  return actor.spawn_link(function()
    while true do
      local from, value = actor.receive({ V.from "pid", V.value })
      actor.send(from, { actor.self(), value })
    end
  end)
end

---Send `value` to a fresh process and back; returns what came back.
function M.round_trip(value)
  return M.run(function(v) return v end, value)
end

---A pid whose process has ended.
function M.dead_pid()
  local pid, mon = actor.spawn_monitor(function() end)
  M.down(mon)
  return pid
end

---A process that waits for ever, to be ended with `M.kill`.
function M.spawn_idle(opts)
  return (actor.spawn_opt(opts or {}, function() actor.receive("never") end))
end

---Kill a process and wait until it is gone.
function M.kill(pid)
  local mon = actor.monitor(pid)
  actor.unlink(pid)
  actor.exit(pid, "kill")
  return M.down(mon)
end

---Entry point of processes started by name: sends its arguments to `pid`.
function M.tell(pid, ...)
  actor.send(pid, table.pack(...))
end

---------------------------------------------------------------- leak check

local mark

local function set_of(list)
  local set = {}
  for _, x in ipairs(list) do set[x] = true end
  return set
end

---Remember which processes and names exist; for before_each.
function M.mark()
  mark = { processes = set_of(actor.processes()),
           names = set_of(actor.registered()) }
end

local function strangers()
  local found = {}
  for _, pid in ipairs(actor.processes()) do
    if not mark.processes[pid] and actor.is_alive(pid) then
      found[#found + 1] = pid
    end
  end
  return found
end

---Raise if the spec left a process, a name or a message behind, or traps
---exits still; for after_each. Cleans up what it finds.
function M.check()
  local leaks = {}
  if actor.trap_exit(false) then leaks[1] = "still traps exits" end
  local deadline = actor.now() + 5000
  while #strangers() > 0 and actor.now() < deadline do actor.sleep(1) end
  for _, pid in ipairs(strangers()) do
    leaks[#leaks + 1] = "process " .. tostring(pid) .. " at "
      .. tostring(actor.info(pid, "current_line"))
    actor.unlink(pid)
    M.kill(pid)
  end
  for _, name in ipairs(actor.registered()) do
    if not mark.names[name] then
      leaks[#leaks + 1] = "name " .. name
      actor.unregister(name)
    end
  end
  while true do
    local n, message = actor.receive(
      actor.on(actor._, function(m) return 1, m end),
      actor.after(0, function() end))
    if not n then break end
    leaks[#leaks + 1] = "message " .. M.show(message)
  end
  if #leaks > 0 then error("left behind: " .. table.concat(leaks, "; "), 0) end
end

------------------------------------------------------------ fresh commands

local function this_binary()
  if not arg then return nil end
  local i = 0
  while arg[i - 1] do i = i - 1 end
  return i < 0 and arg[i] or nil
end

-- Nil in a child process, which has no use for it.
M.binary = this_binary()

local function write_file(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

local function take_file(path)
  local file = assert(io.open(path))
  local text = file:read "a"
  file:close()
  os.remove(path)
  return text
end

local function quote(word)
  return "'" .. tostring(word):gsub("'", "'\\''") .. "'"
end

local function quote_all(words)
  local out = {}
  for i, word in ipairs(words or {}) do out[i] = quote(word) end
  return table.concat(out, " ")
end

---Run a fresh luactor command and wait for its end.
---  code     text of the script; without it, `options` say what to run
---  options  words before the script, such as { "--schedulers", 1 }
---  args     words behind the script
---  stdin    text for its standard input
---  env      text of shell assignments
---  seconds  time limit (60)
---@return string stdout, string stderr, integer status, string script
function M.cli(t)
  local base = os.tmpname()
  local script = base .. ".lua"
  local words = { quote_all(t.options) }
  if t.code then
    write_file(script, t.code)
    words[#words + 1] = quote(script)
  end
  words[#words + 1] = quote_all(t.args)
  write_file(base .. ".in", t.stdin or "")
  local command = ("timeout -k 5 %d env %s %s %s <%s.in >%s.out 2>%s.err")
    :format(t.seconds or 60, t.env or "", quote(M.binary),
      table.concat(words, " "), base, base, base)
  local _, how, status = actor.blocking(os.execute, command)
  os.remove(base)
  os.remove(base .. ".in")
  if t.code then os.remove(script) end
  local stdout, stderr = take_file(base .. ".out"), take_file(base .. ".err")
  if how == "signal" then status = 128 + status end
  return stdout, stderr, status, script
end

return M

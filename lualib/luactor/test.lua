-- Waiting in specs: for a message, a condition, the end of a process, lines of the log; each
-- with a deadline, after which it raises an error that says what there was instead.
--
--   local test = require "luactor.test"
--   local pid = actor.spawn(server)
--   pid:send { "get", actor.self() }
--   assert.equal(5, test.receive({ "value", actor.var.n }))
--   actor.exit(pid, "shutdown")
--   assert.equal("shutdown", test.reason(pid))

local actor = require "luactor"

local V = actor.var
local M = {}

---How long the functions wait when they are not told, in ms. Only a failing spec waits so long.
---@type number
M.patience = 5000

local MAX_SHOWN <const> = 20

local function key_text(k, show, depth)
  if type(k) == "string" and k:find "^[%a_][%w_]*$" then return k .. " = " end
  return "[" .. show(k, depth) .. "] = "
end

---A value as text, as the messages of this module show it.
---@param value any
---@return string
function M.show(value, depth)
  depth = depth or 0
  if type(value) == "string" then return ("%q"):format(value) end
  if type(value) ~= "table" or depth > 4 then return tostring(value) end
  local parts = {}
  for i, v in ipairs(value) do parts[i] = M.show(v, depth + 1) end
  local named = {}
  for k, v in pairs(value) do
    if not (math.type(k) == "integer" and k >= 1 and k <= #parts) then
      named[#named + 1] = key_text(k, M.show, depth + 1) .. M.show(v, depth + 1)
    end
  end
  table.sort(named)
  table.move(named, 1, #named, #parts + 1, parts)
  return #parts == 0 and "{}" or "{ " .. table.concat(parts, ", ") .. " }"
end

-- Takes the messages out: the spec has failed, and what follows it is not to find them.
local function mailbox_text()
  local texts, n = {}, 0
  while true do
    local got, message = actor.receive(
      actor.on(actor._, function(m) return true, m end), actor.after(0, function() end))
    if not got then break end
    n = n + 1
    if n <= MAX_SHOWN then texts[n] = "\n  " .. M.show(message) end
  end
  if n == 0 then return "; the mailbox is empty" end
  if n > MAX_SHOWN then texts[#texts + 1] = ("\n  and %d more"):format(n - MAX_SHOWN) end
  return "; the mailbox holds" .. table.concat(texts)
end

---Receive what matches. Suspends at most `ms`, then raises with the messages that waited instead.
---@param pattern any
---@param ms number?  default: patience
---@return any ...  the captures, or the message when there are none
function M.receive(pattern, ms)
  ms = ms or M.patience
  local got = table.pack(actor.receive(pattern, ms))
  if got.n == 2 and got[1] == nil and got[2] == "timeout" then
    error(("no message matched within %g ms%s"):format(ms, mailbox_text()), 2)
  end
  return table.unpack(got, 1, got.n)
end

---Raise if a message that matches is there, or comes within `ms`. Other messages stay.
---@param pattern any
---@param ms number?  default 0: only what is there now
function M.refute(pattern, ms)
  local got = table.pack(actor.receive(pattern, ms or 0))
  if got.n == 2 and got[1] == nil and got[2] == "timeout" then return end
  local texts = {}
  for i = 1, got.n do texts[i] = M.show(got[i]) end
  error("a message matched: " .. table.concat(texts, ", "), 2)
end

---Wait until `condition()` is true and return what it gave. Suspends; looks every millisecond. Its errors pass through.
---@generic T
---@param condition fun(): T?
---@param ms number?  default: patience
---@return T
function M.wait(condition, ms)
  ms = ms or M.patience
  local deadline = actor.now() + ms
  while true do
    local got = condition()
    if got then return got end
    if actor.now() >= deadline then
      error(("the condition did not come true within %g ms; it gave %s"):format(ms, M.show(got)), 2)
    end
    actor.sleep(1)
  end
end

local function await_down(ref, ms, level)
  local who, reason = actor.receive({ "DOWN", ref, "process", V.who, V.reason }, ms)
  if who == nil then
    actor.demonitor(ref, { flush = true })
    error(("no process ended within %g ms%s"):format(ms, mailbox_text()), level + 1)
  end
  return reason, who
end

---Wait for the message of a monitor.
---@param ref luactor.Ref
---@param ms number?  default: patience
---@return any reason, luactor.Dest who
function M.down(ref, ms)
  return await_down(ref, ms or M.patience, 2)
end

---The reason a process ends with: of a pid or a name ("noproc" when it has ended before), or of a fresh process that runs
---a function. Suspends; a process that was made here and does not end in time is killed.
---@param what luactor.Dest|function
---@param ... any  arguments of the function; or ms for a process, default: patience
---@return any reason
function M.reason(what, ...)
  if type(what) ~= "function" then
    return (await_down(actor.monitor(what), ... or M.patience, 2))
  end
  local pid, ref = actor.spawn_monitor(what, ...)
  local ok, reason = pcall(await_down, ref, M.patience, 0)
  if ok then return reason end
  local where = actor.info(pid, "current_line")
  actor.exit(pid, "kill")
  error(("the process did not end within %g ms; it was at %s"):format(M.patience, tostring(where)), 2)
end

---Wait for the exit signal of a linked process, while this one traps exits.
---@param pid luactor.Pid?  nil: any
---@param ms number?  default: patience
---@return any reason, luactor.Pid pid
function M.exited(pid, ms)
  ms = ms or M.patience
  local who, reason = actor.receive({ "EXIT", pid and V.pid:of(pid) or V.pid, V.reason }, ms)
  if who == nil then
    error(("no exit signal came within %g ms%s"):format(ms, mailbox_text()), 2)
  end
  return reason, who
end

-- The log -----------------------------------------------------------------------------------

---The body of the handler: keeps events until asked for them. Travels by name.
---@private
function M.keep_log()
  local events = {}
  local asked
  local serve = actor.receiver(
    actor.on({ "log", V.event }, function(event) events[#events + 1] = event end),
    actor.on(actor.request(V.from, "events"), function(from)
      actor.reply(from, events)
      asked = true
    end))
  repeat serve() until asked
end

local NAME <const> = "luactor.test"

-- The host's own place, which shows nothing meanwhile.
local function mute(log)
  for _, handler in ipairs(log.handlers()) do
    if handler.kind == "host" then
      log.remove_handler(handler.name)
      return handler
    end
  end
end

---Run `f(...)` and return the log events of the whole host meanwhile, crash reports of processes that ended before f
---returned among them. They are not shown elsewhere than in handlers that the program has set up. Suspends. An error of
---f is raised when the log is as before.
---@param f function
---@param ... any
---@return luactor.LogEvent[] events, any ...  and the results of f
function M.logs(f, ...)
  local log = require "luactor.log"
  local keeper = actor.spawn_link(M.keep_log)
  log.add_handler(NAME, keeper)
  local muted = mute(log)
  local results = table.pack(pcall(f, ...))
  if muted then log.add_handler(muted.name, "host", muted.level) end
  log.remove_handler(NAME)
  local events = actor.call(keeper, "events")
  if not results[1] then error(results[2], 0) end
  return events, table.unpack(results, 2, results.n)
end

---The first of the events whose text has what `text` says.
---@param events luactor.LogEvent[]  from M.logs
---@param text string      plain, no Lua pattern
---@return luactor.LogEvent?
function M.find_event(events, text)
  for _, event in ipairs(events) do
    if event.text:find(text, 1, true) then return event end
  end
end

return M

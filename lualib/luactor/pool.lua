-- A pool: processes that share one queue behind one address.
--
--   local pool = require "luactor.pool"
--   local workers = pool.start_link{ size = 4, start = { "app.worker.run", "config" } }
--   actor.send(workers, { "job", 1 })       -- taken by whoever is free first
--   local answer = actor.call(workers, { "price", "tea" })
--
-- The queue is the host's own: a message stays in it until a member waits for one that it matches, so
-- that no member holds work while another is idle. A member gets it as if it had been sent to it: by
-- actor.receive, by a receiver, in the loop of a gen_server. A member that waits for something else in
-- the middle of its work, for the answer of a call say, gets nothing.
--
-- The pool has a process of its own, which starts the members, replaces those that end, and ends with
-- the process that started the pool.

local actor = require "luactor"
local B = require "luactor._behaviour"
local C = require "luactor._children"
local core = require "luactor._core"

local V, on = actor.var, actor.on

local M = {}

-- Settings --------------------------------------------------------------------------

---@class luactor.PoolSpec
---@field size integer         how many members
---@field start table|function|string  { "module.fn" or fn, args... }: what a member runs; or what starts one and returns a
---pid or a server object, as gen_server's start_link does
---@field mailbox luactor.MailboxOptions?  limit and overflow of the queue
---@field name string?         to be registered
---@field intensity integer?   most restarts ...  default 10 for each member
---@field period number?       ... within so many ms; default 5000

local WHERE <const> = "pool"
local MOST <const> = 1 << 24
local KNOWN <const> = { size = true, start = true, mailbox = true, name = true, intensity = true, period = true }
local OVERFLOWS <const> = { "block", "drop_new", "drop_old", "error", "kill" }

local function check_size(where, size, level)
  if math.type(size) ~= "integer" or size < 0 or size > MOST then
    C.bad(where, "size", "integer from 0", size, level + 1)
  end
  return size
end

local function check_mailbox(mailbox, level)
  if mailbox == nil then return nil end
  level = level + 1
  if type(mailbox) ~= "table" then C.bad(WHERE, "mailbox", "table", mailbox, level) end
  C.known("pool: mailbox", mailbox, { limit = true, overflow = true }, level)
  local limit = mailbox.limit
  if limit ~= nil and (math.type(limit) ~= "integer" or limit < 1 or limit > MOST) then
    C.bad("pool: mailbox", "limit", "integer from 1", limit, level)
  end
  C.one_of("pool: mailbox", "overflow", OVERFLOWS, mailbox.overflow or "block", level)
  return { limit = limit, overflow = mailbox.overflow }
end

local function check(spec, level)
  level = level + 1
  if type(spec) ~= "table" then
    error(("pool: bad argument #1 (table expected, got %s)"):format(type(spec)), level)
  end
  C.known(WHERE, spec, KNOWN, level)
  if spec.name ~= nil and (type(spec.name) ~= "string" or #spec.name == 0) then
    C.bad(WHERE, "name", "string", spec.name, level)
  end
  local size = check_size(WHERE, spec.size, level)
  return {
    size = size,
    start = C.check(WHERE, { start = spec.start }, false, level).start,
    mailbox = check_mailbox(spec.mailbox, level),
    name = spec.name,
    intensity = C.count(WHERE, "intensity", spec.intensity or 10 * math.max(size, 1), level, true),
    period = C.count(WHERE, "period", spec.period or 5000, level),
  }
end

-- A member --------------------------------------------------------------------------

-- The function has started a process, which is the member then. This one stays as its parent.
local function keep(pid, pool)
  local parent = actor.parent()
  core.pool_quit()
  actor.trap_exit(true)
  actor.link(pid)
  core.pool_join(pid, pool)
  while true do
    actor.receive(
      on({ "EXIT", pid, V.reason }, actor.exit),
      on({ "EXIT", parent, V.reason }, function(reason) actor.exit(pid, reason) end),
      on(actor._, function() end))
  end
end

-- While it waits for another process to start, a member is not one: that process may be the member.
local function step_aside(pool)
  local S = require "luactor._start"
  local start = S.start
  local function back(...)
    core.pool_join(actor.self(), pool)
    return ...
  end
  function S.start(...)
    core.pool_quit()
    return back(start(...))
  end
end

---What a member's process runs. Not to be called.
function M.member(pool, start)
  core.pool_join(actor.self(), pool)
  step_aside(pool)
  actor.post(actor.parent(), "$joined")
  local result = C.function_of(start[1])(table.unpack(start, 2, start.n or #start))
  local pid = type(result) == "table" and result.pid or result
  if type(pid) == "userdata" and actor.is_alive(pid) and pid ~= actor.self() then keep(pid, pool) end
end

-- The pool's process ----------------------------------------------------------------

local me
local sup        -- { name, limiter }
local pool       -- the address
local settings
local members    -- pid -> { id, shutdown }, for reports
local count      -- of these
local target
local replaced   -- members that ended in order, for whose work there was some

local function start_member()
  local pid = actor.spawn_opt({ link = true, label = sup.name .. " member" }, "luactor.pool.member", pool, settings.start)
  members[pid] = { id = "member" }
  count = count + 1
end

local function fill()
  while count < target do start_member() end
end

-- A member that ended in order after some work is replaced for nothing: each message that was taken
-- pays for one.
local function is_free(quiet)
  if not quiet or replaced >= core.pool_info(pool).taken then return false end
  replaced = replaced + 1
  return true
end

local function on_exit(pid, reason)
  if pid == me.parent then actor.exit(reason) end
  local child = members[pid]
  if not child then return end
  members[pid] = nil
  count = count - 1
  local quiet = B.is_quiet(reason)
  local may = count >= target or is_free(quiet) or sup.limiter:note(actor.now())
  if not quiet then
    core.pool_crashed()
    C.report(sup, "child_terminated", child, reason, pid)
  end
  if not may then
    C.report(sup, "shutdown", child, "reached_max_restart_intensity")
    actor.exit "shutdown"
  end
  fill()
end

local SHUTDOWN_MS <const> = 5000

-- The address is gone first: what waits in the queue is nobody's work any more.
local function terminate()
  core.pool_close()
  local refs, left = {}, 0
  for pid in pairs(members) do
    refs[actor.monitor(pid)] = pid
    left = left + 1
    actor.exit(pid, "shutdown")
  end
  local deadline = actor.now() + SHUTDOWN_MS
  local serve = actor.receiver(on({ "DOWN", V.ref, "process", V._, V._ }, function(ref)
    if refs[ref] then refs[ref], left = nil, left - 1 end
  end))
  while left > 0 do
    local _, timeout = serve(deadline and math.max(deadline - actor.now(), 0))
    if timeout == "timeout" then
      deadline = nil
      for _, pid in pairs(refs) do actor.exit(pid, "kill") end
    end
  end
end

local requests = {}

function requests.address() return pool end

function requests.resize(size)
  target = size
  core.pool_target(size)
  fill()
  return true
end

local function on_call(from, request)
  local f = type(request) == "table" and requests[request[1]]
  if f then return actor.reply(from, f(request[2])) end
  actor.reply(from, { "error", { "badcall", request } })
end

local function on_other(msg)
  require("luactor.log").error("pool %s: a message that it does not expect: %s", sup.name,
    require("luactor._system").show(msg))
end

local function state()
  local info = core.pool_info(pool) or {}
  info.name = sup.name
  return info
end

-- Made when the module is loaded, so that the image of such processes holds it.
local serve = actor.receiver(
  on({ "EXIT", V.pid "pid", V.reason }, on_exit),
  on({ "$gen_call", V.from "table", V.request }, on_call),
  on({ "$joined" }, function() end),
  on({ "EXIT", "host", V.reason }, actor.exit), -- the host stops, and the parent is gone
  B.clauses(on_exit, on(actor._, on_other)))

---What the process of a pool runs. Not to be called.
function M.enter(handshake, spec)
  me = {
    behaviour = "pool",
    name = spec.name or "pool",
    get = state,
    set = function() end, -- of a queue and processes: it cannot be replaced
    terminate = terminate,
    change = function() end,
  }
  members, count, target, replaced = {}, 0, spec.size, 0
  B.begin(handshake, me)
  actor.trap_exit(true)
  settings = spec
  C.function_of(spec.start[1])
  pool = core.pool_open(spec.mailbox, spec.name)
  if not pool then actor.exit { "already_started", actor.whereis(spec.name) or "nobody" } end
  sup = { name = spec.name or tostring(pool), limiter = C.limiter(spec.intensity, spec.period) }
  core.pool_target(target)
  fill()
  for _ = 1, target do actor.receive { "$joined" } end
  B.ready()
  while true do serve() end
end

-- Clients ---------------------------------------------------------------------------

local function process_of(where, p, level)
  if type(p) == "string" then p = actor.whereis(p) or p end
  local process = type(p) == "userdata" and core.pool_process(p)
  if not process or process == p then
    error(("bad argument #1 to '%s' (pool expected, got %s)"):format(where, type(p) == "string" and ("'%s'"):format(p)
      or type(p) == "userdata" and tostring(p) or type(p)), level + 1)
  end
  return process
end

---Start a pool, linked to the caller. Suspends. Raises for a bad spec. Returns its address: what is sent to it is taken by
---the first member that is free.
---@param spec luactor.PoolSpec
---@return luactor.Pool
function M.start_link(spec)
  local checked = check(spec, 2)
  local name = checked.name or "pool"
  local start = require "luactor._start"
  local there = checked.name and actor.whereis(checked.name)
  if there then error(start.start_error("pool", name, { "already_started", there }), 2) end
  local pid = start.start("pool", name, { link = true }, checked)
  return actor.call(pid, { "address" }, math.huge)
end

---Have so many members from now on. New ones are started at once; those that are too many leave when they are done with
---the message they work on.
---@param p luactor.Pool|string
---@param size integer
---@return true
function M.resize(p, size)
  check_size("pool.resize", size, 2)
  return actor.call(process_of("resize", p, 2), { "resize", size }, math.huge)
end

---What there is in a pool; nil when it has ended. Never suspends.
---@param p luactor.Pool|string
---@return luactor.PoolInfo?
function M.info(p)
  process_of("info", p, 2)
  return core.pool_info(p)
end

---End a pool: calls that wait in its queue get "noproc", members the exit signal "shutdown". Waits for its end.
---@param p luactor.Pool|string
---@param reason any      default "normal"
---@param ms number?      how long to wait; default for ever
---@return true
function M.stop(p, reason, ms)
  local process = process_of("stop", p, 2)
  require("luactor.sys").stop(process, reason, ms)
  return true
end

return M

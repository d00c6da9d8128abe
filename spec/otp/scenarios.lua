-- The scenarios of scenarios.erl, on luactor: what happens must be the same, event
-- by event. See there.
local actor = require "luactor"
local gen_server = require "luactor.gen_server"
local supervisor = require "luactor.supervisor"
local gen_statem = require "luactor.gen_statem"
local sys = require "luactor.sys"
local log = require "luactor.log"

local V = actor.var
local M = {}

---------------------------------------------------------------- what is said

local top -- the scenario's process: whom the others tell

local function show(x)
  if type(x) == "table" then
    if x[1] == "error" and #x == 3 then return "error " .. show(x[2]) end
    local parts = {}
    for i, v in ipairs(x) do parts[i] = show(v) end
    return "{" .. table.concat(parts, ",") .. "}"
  elseif type(x) == "userdata" then
    return actor.info(x, "registered_name") or "pid"
  end
  return tostring(x)
end

local function format(text, ...)
  local args, at = { ... }, 0
  return (text:gsub("~s", function()
    at = at + 1
    return (show(args[at]))
  end))
end

local function say(...) print(format(...)) end

local function tell(to, ...) actor.post(to, "said", format(...)) end

local function told(...) tell(top, ...) end

local function heard(last)
  while true do
    local text = actor.receive({ "said", V.text }, last and 5000 or 0)
    if not text then
      if last then print("nothing said: " .. last) end
      return
    end
    print(text)
    if text == last then return end
  end
end

local function ended(server)
  local pid = type(server) == "table" and server.pid or server
  local reason = actor.receive({ "EXIT", pid, V.reason }, 5000)
  say("exit ~s", reason)
end

-- The outcome of f as the other side writes it. An error of a call has a
-- field reason.
local function attempt(f, ...)
  local ok, value = pcall(f, ...)
  if ok then return { "value", value } end
  local reason = type(value) == "table" and value.reason or value
  return { "exit", reason }
end

local function ok(value) return value and "ok" or value end

---------------------------------------------------------------- the worker

local Worker = gen_server.define "worker"

local function option(options, name)
  return options and options[name]
end

function Worker:init(up, name, options)
  if type(up) == "function" then return up() end
  top = up
  actor.trap_exit(option(options, "trap") or false)
  if option(options, "named") then actor.register(name) end
  if option(options, "init") then options.init() end
  told("~s starts", name)
  self.top, self.name, self.n = up, name, 0
  self.last = option(options, "terminate")
end

local function counted(self, what, message)
  told("~s ~s ~s", self.name, what, message)
  self.n = self.n + 1
  return { message, self.n - 1 }
end

local function is_order(x) return type(x) == "table" and x[1] == "do" end

function Worker:handle_call(request, from)
  if is_order(request) then return request[2](self, from) end
  return counted(self, "call", request)
end

function Worker:handle_cast(request)
  if is_order(request) then return request[2](self) end
  counted(self, "cast", request)
end

function Worker:handle_info(message) counted(self, "info", message) end

function Worker:handle_continue(term) counted(self, "continue", term) end

function Worker:terminate(reason)
  told("~s terminate ~s", self.name, reason)
  if self.last then self.last() end
end

local function server(name, options)
  local s = Worker:start_link(actor.self(), name, options)
  heard(name .. " starts")
  return s
end

local function start(f)
  local fine, why = pcall(Worker.start_link, Worker, f)
  actor.receive({ "EXIT", V._, V._ }, 0)
  return fine and why or why.reason
end

---------------------------------------------------------------- gen_server

function M.server_calls()
  local s = server "a"
  actor.cast(s.pid, "one")
  s.pid:send "two"
  say("reply ~s", actor.call(s.pid, "three"))
  heard "a call three"
  say("state ~s", sys.get_state(s).n)
end

function M.server_init_exits()
  say("start ~s", start(function() actor.exit "boom" end))
  say("start ~s", start(function() return gen_server.stop_with "bad_config" end))
end

function M.server_init_ignores()
  local _, why = Worker:start_link(function() return gen_server.ignore end)
  say("start ~s", why)
end

function M.server_call_crashes()
  local s = server "a"
  say("call ~s", attempt(actor.call, s.pid, { "do", function() actor.exit "boom" end }))
  heard "a terminate boom"
  ended(s)
end

function M.server_cast_crashes()
  local s = server "a"
  actor.cast(s.pid, { "do", function() actor.exit "boom" end })
  heard "a terminate boom"
  ended(s)
end

function M.server_stop_with_reply()
  local s = server "a"
  say("call ~s", attempt(actor.call, s.pid, { "do", function()
    return require "luactor.gen_server".stop_with("normal", "bye")
  end }))
  heard "a terminate normal"
  ended(s)
end

function M.server_stopped()
  local s = server "a"
  gen_server.stop(s, "shutdown", 1000)
  say("stop ok")
  heard "a terminate shutdown"
  ended(s)
  say("stop ~s", attempt(gen_server.stop, s))
end

local function parent_dies(options)
  local me = actor.self()
  local p = actor.spawn(function()
    local s = Worker:start_link(me, "a", options)
    actor.post(me, "server", s.pid)
    actor.receive "die"
    actor.exit "gone"
  end)
  local s = actor.receive { "server", V.pid }
  local m = actor.monitor(s)
  heard "a starts"
  p:send "die"
  local reason = actor.receive { "DOWN", m, V._, V._, V.reason }
  heard()
  say("down ~s", reason)
end

function M.server_parent_dies_trapping() parent_dies { trap = true } end

function M.server_parent_dies() parent_dies() end

function M.server_link_trapped()
  local s = server("a", { trap = true })
  local pid = s.pid
  local p = actor.spawn(function()
    actor.link(pid)
    actor.exit "boom"
  end)
  local m = actor.monitor(p)
  actor.receive { "DOWN", m, V._, V._, V._ }
  heard "a info {EXIT,pid,boom}"
end

function M.server_replies_later()
  local s = server "a"
  say("call ~s", attempt(actor.call, s.pid, { "do", function(_, from)
    actor.spawn(function() actor.reply(from, "later") end)
    return require "luactor.gen_server".noreply
  end }))
end

local function wait_for(ms)
  return { "do", function() return require "luactor.gen_server".timeout(ms) end }
end

function M.server_timeout()
  local s = server "a"
  actor.cast(s.pid, wait_for(0))
  heard "a info timeout"
  say("call ~s", actor.call(s.pid, "still"))
end

function M.server_timeout_cancelled()
  local s = server "a"
  actor.cast(s.pid, wait_for(100))
  actor.cast(s.pid, "other")
  actor.sleep(150)
  actor.call(s.pid, "last")
  heard "a call last"
end

function M.server_continue()
  local s = server "a"
  actor.cast(s.pid, { "do", function()
    actor.send(actor.self(), "info")
    return require "luactor.gen_server".continue "more"
  end })
  heard "a info info"
end

function M.server_terminate_crashes()
  local s = server("a", { terminate = function() actor.exit "worse" end })
  actor.cast(s.pid, { "do", function() actor.exit "boom" end })
  heard "a terminate boom"
  ended(s)
end

function M.server_state_by_sys()
  local s = server "a"
  sys.replace_state(s, function(state)
    state.n = 41
    return state
  end)
  say("call ~s", actor.call(s.pid, "now"))
  say("state ~s", sys.get_state(s).n)
end

function M.server_suspended()
  local s = server "a"
  sys.suspend(s)
  actor.cast(s.pid, "early")
  say("state ~s", sys.get_state(s).n)
  heard()
  sys.resume(s)
  say("call ~s", actor.call(s.pid, "late"))
  heard "a call late"
end

function M.server_call_to_none()
  local s = server "a"
  gen_server.stop(s)
  say("call ~s", attempt(actor.call, s.pid, "x"))
  say("call ~s", attempt(actor.call, "nobody", "x"))
  say("cast ~s", ok(actor.cast(s.pid, "x")))
end

function M.server_name_taken()
  local opts = { link = true, name = "taken" }
  local s = Worker:start_opt(opts, actor.self(), "a")
  local _, why = pcall(Worker.start_opt, Worker, opts, actor.self(), "b")
  say("same ~s", why.reason[1] == "already_started" and why.reason[2] == s.pid)
  heard()
  gen_server.stop(s)
end

---------------------------------------------------------------- supervisors

local function child(id, restart, options, fields)
  local all = { trap = true, named = true }
  for k, v in pairs(options or {}) do all[k] = v end
  local spec = {
    id = id, restart = restart or "permanent",
    start = { function(...) return Worker:start_link(...) end, top, id, all },
  }
  for k, v in pairs(fields or {}) do spec[k] = v end
  return spec
end

local function start_sup(strategy, children, flags)
  local spec = { strategy = strategy, intensity = 10, period = 60000, children = children }
  for k, v in pairs(flags or {}) do spec[k] = v end
  return supervisor.start_link(spec)
end

local function sup(...)
  local s = start_sup(...)
  heard()
  return s
end

local function crash(name)
  actor.cast(name, { "do", function() actor.exit "boom" end })
end

local function finish(name)
  actor.cast(name, { "do", function()
    return require "luactor.gen_server".stop_with "normal"
  end })
end

local function settle(s)
  actor.sleep(50)
  supervisor.which_children(s)
end

local function stop(s)
  local m = actor.monitor(s.pid)
  actor.exit(s.pid, "shutdown")
  local reason = actor.receive { "DOWN", m, V._, V._, V.reason }
  heard()
  actor.receive { "EXIT", s.pid, V._ }
  say("supervisor ~s", reason)
end

local function listed(s)
  local children = supervisor.which_children(s)
  for i = #children, 1, -1 do
    local c = children[i]
    local pid = type(c[2]) == "string" and c[2] or "alive"
    say("child ~s ~s ~s", c.id, pid, c.type)
  end
  local n = supervisor.count_children(s)
  say("specs ~s active ~s supervisors ~s workers ~s",
    n.specs, n.active, n.supervisors, n.workers)
end

-- The outcome of a call to a supervisor, as the other side writes it.
local function outcome(value, why)
  if value then return "ok" end
  if type(why) == "table" then return why[1] end
  return { "error", why }
end

function M.one_for_one()
  local s = sup("one_for_one", { child "a", child "b", child "c" })
  crash "b"
  heard "b starts"
  crash "a"
  heard "a starts"
  stop(s)
end

function M.one_for_all()
  local s = sup("one_for_all", { child "a", child "b", child "c" })
  crash "b"
  heard "c starts"
  stop(s)
end

function M.rest_for_one()
  local s = sup("rest_for_one", { child "a", child "b", child "c" })
  crash "b"
  heard "c starts"
  crash "c"
  heard "c starts"
  stop(s)
end

function M.restart_kinds()
  local s = sup("one_for_one",
    { child("p", "permanent"), child("t", "transient"), child("m", "temporary") })
  finish "p"
  heard "p starts"
  crash "t"
  heard "t starts"
  finish "t"
  heard "t terminate normal"
  crash "m"
  heard "m terminate boom"
  settle(s)
  listed(s)
  stop(s)
end

function M.intensity()
  local s = sup("one_for_one", { child "a", child "b" }, { intensity = 2 })
  crash "a"
  heard "a starts"
  crash "a"
  heard "a starts"
  crash "a"
  heard "b terminate shutdown"
  ended(s)
end

function M.intensity_all()
  local s = sup("one_for_all", { child "a", child "b", child "c" }, { intensity = 1 })
  crash "b"
  heard "c starts"
  crash "a"
  heard "b terminate shutdown"
  ended(s)
end

function M.stop_order()
  stop(sup("one_for_one", { child "a", child "b", child "c" }))
end

function M.brutal_kill()
  stop(sup("one_for_one",
    { child "a", child("b", nil, nil, { shutdown = "brutal_kill" }), child "c" }))
end

function M.late_child()
  stop(sup("one_for_one", { child "a",
    child("b", nil, { terminate = function() actor.sleep(60000) end },
      { shutdown = 20 }) }))
end

function M.failed_start()
  local _, why = pcall(start_sup, "one_for_one", { child "a", child "b",
    child("c", nil, { init = function() actor.exit "no_disk" end }), child "d" })
  heard "a terminate shutdown"
  local reason = why.reason
  assert(reason[1] == "shutdown" and reason[2][1] == "failed_to_start_child")
  say("failed ~s ~s", reason[2][2], reason[2][3])
  -- Here no exit signal reaches the caller: the error is all there is.
  say("exit ~s", reason[1])
end

function M.failed_restart()
  local counter = actor.spawn_link(function()
    local n = 0
    while true do
      local from = actor.receive { "next", V.from }
      n = n + 1
      from:send { "count", n }
    end
  end)
  local up = actor.self()
  local init = function()
    counter:send { "next", actor.self() }
    if actor.receive { "count", V.n } > 1 then
      actor.post(up, "said", "b fails")
      actor.exit "no_disk"
    end
  end
  local s = sup("one_for_one", { child "a", child("b", nil, { init = init }) },
    { intensity = 2 })
  crash "b"
  heard "a terminate shutdown"
  ended(s)
end

function M.child_calls()
  local s = sup("one_for_one", { child "a" })
  say("start ~s", outcome(supervisor.start_child(s, child "b")))
  heard "b starts"
  say("again ~s", outcome(supervisor.start_child(s, child "b")))
  say("delete ~s", outcome(supervisor.delete_child(s, "b")))
  say("restart ~s", outcome(supervisor.restart_child(s, "b")))
  say("terminate ~s", outcome(supervisor.terminate_child(s, "b")))
  heard "b terminate shutdown"
  say("terminate ~s", outcome(supervisor.terminate_child(s, "b")))
  listed(s)
  say("present ~s", outcome(supervisor.start_child(s, child "b")))
  say("restart ~s", outcome(supervisor.restart_child(s, "b")))
  heard "b starts"
  say("terminate ~s", outcome(supervisor.terminate_child(s, "b")))
  say("delete ~s", outcome(supervisor.delete_child(s, "b")))
  say("delete ~s", outcome(supervisor.delete_child(s, "b")))
  say("terminate ~s", outcome(supervisor.terminate_child(s, "none")))
  say("restart ~s", outcome(supervisor.restart_child(s, "none")))
  heard()
  stop(s)
end

function M.children_listed()
  local s = sup("one_for_one", { child "a",
    child("b", nil, nil, { type = "supervisor" }), child("c", "temporary") })
  listed(s)
  crash "c"
  heard "c terminate boom"
  settle(s)
  listed(s)
  stop(s)
end

function M.nested()
  local inner = {
    id = "inner", type = "supervisor", shutdown = "infinity",
    start = { function(x, y)
      return supervisor.start_link {
        strategy = "one_for_all", intensity = 10, period = 60000, children = { x, y },
      }
    end, child "x", child "y" },
  }
  local s = sup("one_for_one", { child "a", inner, child "b" })
  crash "y"
  heard "y starts"
  stop(s)
end

local function significant(id)
  return child(id, "transient", nil, { significant = true })
end

function M.any_significant()
  local s = sup("one_for_one", { child "a", significant "b", significant "c" },
    { auto_shutdown = "any_significant" })
  finish "b"
  heard "a terminate shutdown"
  ended(s)
end

function M.all_significant()
  local s = sup("one_for_one", { child "a", significant "b", significant "c" },
    { auto_shutdown = "all_significant" })
  finish "c"
  heard "c terminate normal"
  settle(s)
  finish "b"
  heard "a terminate shutdown"
  ended(s)
end

function M.temporary_in_one_for_all()
  local s = sup("one_for_all", { child "a", child("m", "temporary"), child "b" })
  crash "b"
  heard "b starts"
  listed(s)
  stop(s)
end

function M.supervisor_parent_dies()
  local a, b = child "a", child "b"
  local p = actor.spawn(function()
    start_sup("one_for_one", { a, b })
    actor.receive "die"
    actor.exit "gone"
  end)
  heard "b starts"
  p:send "die"
  heard "a terminate shutdown"
end

---------------------------------------------------------------- gen_statem

local next_state, state_timeout = gen_statem.next_state, gen_statem.state_timeout
local next_event, timeout = gen_statem.next_event, gen_statem.timeout
local postpone = gen_statem.postpone

-- Its states are functions of (kind, content, extra) in a table.
local function machine(enters)
  local Machine = gen_statem.define "machine"
  Machine.state_enter = enters
  function Machine:init(up, states, first)
    top = up
    self.states = states
    self.n = 0
    return first
  end
  function Machine:handle_event(kind, content, state, extra)
    return self.states[state](kind, content, extra, self)
  end
  function Machine.terminate(_, reason, state)
    told("terminate ~s ~s", reason, state)
  end
  return Machine
end

local function statem(states, first, enters)
  return machine(enters):start_link(actor.self(), states, first).pid
end

function M.statem_states()
  local s = statem({
    off = function(kind, event, from, data)
      if kind == "cast" then
        data.n = data.n + 1
        next_state "on"
      else
        gen_statem.reply(from, data.n)
      end
    end,
    on = function(kind, event, from, data)
      if kind == "cast" then
        next_state "off"
      else
        gen_statem.reply(from, data.n)
        data.n = data.n + 10
      end
    end,
  }, "off")
  actor.cast(s, "push")
  say("get ~s", actor.call(s, "get"))
  actor.cast(s, "push")
  say("get ~s", actor.call(s, "get"))
end

function M.statem_postpone()
  local s = statem({
    busy = function(_, event)
      if event == "done" then return next_state "idle" end
      told("busy postpones ~s", event)
      return postpone
    end,
    idle = function(_, event) told("idle ~s", event) end,
  }, "busy")
  for _, event in ipairs { "one", "two", "done", "three" } do actor.cast(s, event) end
  heard "idle three"
end

function M.statem_postpone_order()
  local s = statem({
    a = function(_, event)
      if event == "next" then return next_state "b" end
      told("a ~s", event)
      postpone()
    end,
    b = function(_, event)
      if event == "next" then return next_state "c" end
      told("b ~s", event)
      if event == "one" then return next_state "c" end
      postpone()
    end,
    c = function(_, event) told("c ~s", event) end,
  }, "a")
  for _, event in ipairs { "one", "two", "next", "three", "last" } do
    actor.cast(s, event)
  end
  heard "c last"
end

function M.statem_next_event()
  local s = statem({
    a = function(kind, event)
      if kind == "cast" and event == "go" then
        told "go"
        next_state "b"
        next_event("internal", "first")
        next_event("internal", "second")
      else
        told("a ~s", event)
      end
    end,
    b = function(kind, event) told("b ~s ~s", kind, event) end,
  }, "a")
  actor.cast(s, "go")
  actor.cast(s, "third")
  heard "b cast third"
end

function M.statem_state_timeout()
  local s = statem({
    a = function(kind, event)
      if event == "go" then
        next_state "b"
        return state_timeout(20, "in_b")
      end
      told("a ~s ~s", kind, event)
    end,
    b = function(kind, event)
      if kind == "state_timeout" then told("b timeout ~s", event) end
      next_state "a"
    end,
  }, "a")
  actor.cast(s, "go")
  heard "b timeout in_b"
  actor.cast(s, "go")
  actor.cast(s, "back")
  actor.sleep(60)
  actor.cast(s, "last")
  heard "a cast last"
end

function M.statem_keep_state_timeout()
  local s = statem({
    a = function(kind, event)
      if event == "go" then return state_timeout(30, "late") end
      told("a ~s ~s", kind, event)
    end,
  }, "a")
  actor.cast(s, "go")
  actor.cast(s, "other")
  heard "a state_timeout late"
end

function M.statem_event_timeout()
  local s = statem({
    a = function(kind, event)
      if event == "wait" then return timeout(20, "idle") end
      if event == "wait_long" then return timeout(60, "never") end
      told("a ~s ~s", kind, event)
    end,
  }, "a")
  actor.cast(s, "wait")
  heard "a timeout idle"
  actor.cast(s, "wait_long")
  actor.cast(s, "other")
  actor.sleep(120)
  actor.cast(s, "last")
  heard "a cast last"
end

function M.statem_named_timeout()
  local s = statem({
    a = function(kind, event, extra)
      if event == "start" then
        next_state "b"
        timeout(20, "x", "tick")
        return timeout(5000, "y", "tock")
      end
      told("a ~s ~s", { kind, extra }, event)
    end,
    b = function(_, event)
      if event == "change" then next_state "a" end
    end,
  }, "a")
  actor.cast(s, "start")
  actor.cast(s, "change")
  heard "a {timeout,tick} x"
end

function M.statem_enter()
  local s = statem({
    a = function(kind, event)
      if kind == "enter" then return told("enter a from ~s", event) end
      told(event)
      if event == "go" then
        next_state "b"
        next_event("internal", "inserted")
      else
        next_state "a"
      end
    end,
    b = function(kind, event)
      if kind == "enter" then
        told("enter b from ~s", event)
        state_timeout(20, "up")
      elseif kind == "state_timeout" then
        told "up"
        next_state "a"
      else
        told("b ~s ~s", kind, event)
      end
    end,
  }, "a", true)
  heard "enter a from a"
  actor.cast(s, "stay")
  actor.cast(s, "go")
  heard "enter a from b"
end

function M.statem_repeat_state()
  local s = statem({
    a = function(kind, event)
      if kind == "enter" then return told("enter a from ~s", event) end
      if event == "again" then return gen_statem.repeat_state() end
      told("a ~s", event)
    end,
  }, "a", true)
  heard "enter a from a"
  actor.cast(s, "again")
  actor.cast(s, "x")
  heard "a x"
end

function M.statem_stop_and_reply()
  local s = statem({
    a = function(_, _, from)
      gen_statem.reply(from, "farewell")
      return gen_statem.stop_with "normal"
    end,
  }, "a")
  say("call ~s", actor.call(s, "bye"))
  heard "terminate normal a"
  ended(s)
end

function M.statem_crash()
  local s = statem({ a = function() actor.exit "boom" end }, "a")
  actor.cast(s, "crash")
  heard "terminate boom a"
  ended(s)
end

function M.statem_zero_timeout()
  local s = statem({
    a = function()
      actor.send(actor.self(), "external")
      next_state "b"
      state_timeout(0, "zero")
      next_event("internal", "inner")
    end,
    b = function(kind, event) told("b ~s ~s", kind, event) end,
  }, "a")
  actor.cast(s, "go")
  actor.cast(s, "last")
  heard "b cast last"
end

---------------------------------------------------------------- running

-- In the order of the other file.
local names = {
  "server_calls", "server_init_exits", "server_init_ignores", "server_call_crashes",
  "server_cast_crashes", "server_stop_with_reply", "server_stopped",
  "server_parent_dies_trapping", "server_parent_dies", "server_link_trapped",
  "server_replies_later", "server_timeout", "server_timeout_cancelled",
  "server_continue", "server_terminate_crashes", "server_state_by_sys",
  "server_suspended", "server_call_to_none", "server_name_taken",
  "one_for_one", "one_for_all", "rest_for_one", "restart_kinds", "intensity",
  "intensity_all", "stop_order", "brutal_kill", "late_child", "failed_start",
  "failed_restart", "child_calls", "children_listed", "nested", "any_significant",
  "all_significant", "temporary_in_one_for_all", "supervisor_parent_dies",
  "statem_states", "statem_postpone", "statem_next_event", "statem_state_timeout",
  "statem_event_timeout", "statem_named_timeout", "statem_enter",
  "statem_repeat_state", "statem_stop_and_reply", "statem_keep_state_timeout",
  "statem_crash", "statem_postpone_order", "statem_zero_timeout",
}

for _, name in ipairs(names) do
  local _, ref = actor.spawn_monitor(function(f)
    log.level "error"
    actor.trap_exit(true)
    top = actor.self()
    print("== " .. name)
    f()
  end, M[name])
  local reason = actor.receive { "DOWN", ref, "process", V._, V.reason }
  say("end ~s", reason)
end

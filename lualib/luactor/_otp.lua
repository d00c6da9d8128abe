-- Requests of Erlang's tools to processes of behaviours: in what words they come (atoms and
-- tuples), and the shapes of OTP's answers. luactor's own tools ask with strings and plain tables.
-- Loaded by the first such request. Not for programs.
--
--   sys:get_state, get_status, suspend, resume, statistics, log, trace, terminate, change_code
--   supervisor:which_children, count_children, terminate_child, restart_child, delete_child,
--   get_childspec; start_child of a dynamic supervisor whose children have one spec
--   gen_event:sync_notify, call, which_handlers, stop
--
-- What would need an Erlang function to run here (sys:replace_state, sys:install), or names one of
-- ours to be run (supervisor:start_child, gen_event:add_handler), is refused.

local actor = require "luactor"

local atom, tuple = actor.atom, actor.tuple
local TUPLE <const> = getmetatable(tuple {})

local M = {}

local function is_atom(value)
  return type(value) == "userdata" and getmetatable(value) == getmetatable(atom "ok")
end

-- Atoms as strings, tuples as lists.
local function plain(value)
  if is_atom(value) then return tostring(value) end
  if type(value) ~= "table" or getmetatable(value) ~= TUPLE then return value end
  local list = {}
  for i, v in ipairs(value) do list[i] = plain(v) end
  return list
end

-- A word of ours as an atom; anything else as it is.
local function word(value)
  if type(value) == "string" and value:find "^[%l_]+$" then return atom(value) end
  if type(value) == "table" and getmetatable(value) == nil and type(value[1]) == "string" then
    local t = {}
    for i, v in ipairs(value) do t[i] = word(v) end
    return tuple(t)
  end
  return value
end

local function error_of(reason)
  return tuple { atom "error", word(reason) }
end

-- Characters, as Erlang writes text.
local function chars(text)
  return { text:byte(1, -1) }
end

------------------------------------------------------------------------- sys

local shapes = {}

-- How a state is shown; that of a machine is a pair there.
local function state_of(me, value)
  if me.behaviour == "gen_statem" and type(value) == "table" then
    return tuple { value[1] == nil and atom "nil" or value[1], value[2] == nil and atom "nil" or value[2] }
  end
  return value
end

function shapes.get_state(me, answer)
  return state_of(me, answer[2])
end

function shapes.get_status(me, status)
  local running = atom(status.status)
  local parent = status.parent or actor.self()
  local title = ("Status for %s %s"):format(status.behaviour, status.name or status.class)
  local misc = {
    tuple { atom "header", chars(title) },
    tuple { atom "data", {
      tuple { chars "Status", running }, tuple { chars "Parent", parent },
      tuple { chars "Logged events", status.log },
    } },
    tuple { atom "data", { tuple { chars "State", state_of(me, status.state) } } },
  }
  return tuple { atom "status", actor.self(), tuple { atom "module", atom(status.behaviour) },
    { {}, running, parent, {}, misc } }
end

local function date_of(ms)
  local d = os.date("*t", os.time() - math.floor((actor.now() - ms) / 1000))
  return tuple { tuple { d.year, d.month, d.day }, tuple { d.hour, d.min, d.sec } }
end

local function statistics(stats)
  local list = {}
  for i, name in ipairs { "start_time", "current_time", "reductions", "messages_in", "messages_out" } do
    local value = stats[name]
    list[i] = tuple { atom(name), i <= 2 and date_of(value) or value }
  end
  return list
end

function shapes.debug(_, answer)
  if type(answer) ~= "table" then return word(answer) end
  if answer[1] == "error" then return atom "unknown_debug" end
  local value = answer[2]
  if type(value) == "table" and value.start_time then value = statistics(value) end
  return tuple { atom "ok", word(value) }
end

local function other(_, answer)
  if type(answer) == "table" and answer[1] == "error" then return error_of(answer[2]) end
  return word(answer)
end

-- The reasons that are strings here.
local ENDS <const> = { normal = true, shutdown = true, kill = true, killed = true }

---A request to any behaviour: in our words, and the function that shapes the answer.
---@return any request, fun(answer: any): any
function M.system(me, theirs)
  local request = plain(theirs)
  local name = type(request) == "table" and request[1] or request
  if name == "terminate" then
    local reason = theirs[2]
    request = { "terminate", ENDS[tostring(reason)] and tostring(reason) or reason }
  elseif name == "replace_state" or name == "debug" and type(request[2]) == "table" and request[2][1] == "install" then
    request = "get_state" -- an Erlang function runs nowhere here
  end
  return request, function(answer)
    if request == "get_state" and name ~= request then
      return error_of { "callback_failed", { me.behaviour, "system_replace_state" },
        { "error", "badfun" } }
    end
    if type(answer) == "table" and answer[1] == "error" and name ~= "debug" then
      if type(answer[2]) == "table" and answer[2][1] == "unknown_system_msg" then
        return tuple { atom "error", tuple { atom "unknown_system_msg", theirs } }
      end
      return error_of(answer[2])
    end
    return (shapes[name] or other)(me, answer)
  end
end

------------------------------------------------------------------ supervisors

local function which(list)
  local children = {}
  for i, child in ipairs(list) do
    children[i] = tuple { word(child[1]), child.pid or word(child[2]), atom(child.type), {} }
  end
  return children
end

local function count(n)
  return { tuple { atom "specs", n.specs }, tuple { atom "active", n.active },
    tuple { atom "supervisors", n.supervisors }, tuple { atom "workers", n.workers } }
end

-- { "ok", ... } or { "error", reason } of a request.
local function done(answer)
  if answer[1] ~= "ok" then return error_of(answer[2]) end
  if answer[2] == true then return atom "ok" end
  return tuple { atom "ok", answer[2] }
end

local BY_ID <const> = { terminate_child = true, restart_child = true, delete_child = true }

local function spec_of(answer)
  if answer[1] ~= "ok" then return error_of(answer[2]) end
  local spec = answer[2]
  return tuple { atom "ok", actor.atomkeys { id = spec.id, restart = atom(spec.restart),
    shutdown = word(spec.shutdown), type = atom(spec.type), significant = spec.significant } }
end

---A request to a supervisor. `requests`: what it answers; `id_of`: the id or pid that is meant;
---`has_template`: its children are started with arguments alone.
function M.supervisor(request, requests, id_of, has_template)
  local name = tostring(is_atom(request) and request or request[1])
  local arg = type(request) == "table" and request[2]
  if name == "which_children" then return which(requests.which_children()[2]) end
  if name == "count_children" then return count(requests.count_children()[2]) end
  if name == "get_childspec" and requests.get_childspec then
    return spec_of(requests.get_childspec(id_of(arg)))
  end
  if BY_ID[name] and requests[name] then return done(requests[name](id_of(arg))) end
  if name == "start_child" then
    if not has_template or type(arg) ~= "table" then return error_of "not_allowed" end
    return done(requests.start_child(table.unpack(arg)))
  end
  return tuple { atom "error", tuple { atom "badcall", request } }
end

------------------------------------------------------------------- gen_event

---A request to an event manager. Answers it, unless it is `stop`: then returns true.
function M.event(from, request, requests)
  local name = tostring(is_atom(request) and request or request[1])
  local answer
  if name == "sync_notify" then
    requests.sync_notify(from, request[2])
    answer = atom "ok"
  elseif name == "which_handlers" then
    answer = requests.which()
    for i, label in ipairs(answer) do
      answer[i] = type(label) == "table" and tuple { word(label[1]), label[2] } or word(label)
    end
  elseif name == "call" and #request == 3 then
    local handler = plain(request[2])
    local key = type(handler) == "table" and { name = handler[1], id = handler[2] }
      or { name = handler }
    local reply = requests.call(from, key, request[3])
    answer = reply[1] and reply[2]
    if not reply[1] then answer = error_of(reply[2]) end
    if reply[1] and answer == nil then answer = atom "nil" end
  elseif name == "stop" then
    actor.reply(from, atom "ok")
    return true
  else
    answer = error_of "not_allowed"
  end
  local ok, why = pcall(actor.reply, from, answer)
  if not ok then actor.reply(from, error_of { "cannot_send", tostring(why) }) end
  return false
end

return M

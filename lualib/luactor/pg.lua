-- Process groups: any process may join any number of groups, any number of times, until it ends.
--
--   local pg = require "luactor.pg"
--   pg.join "workers"                        -- the calling process
--   for _, pid in ipairs(pg.members "workers") do actor.send(pid, "job") end
--
-- Groups belong to a scope, which is a process with the scope's name. The default scope, "pg", is
-- started by its first use and by nobody's child: it stays until the host ends. Every function
-- suspends for a call to the scope. No function shows a process that has ended.

local actor = require "luactor"
local gen_server = require "luactor.gen_server"
local index = require "luactor._index"

local M = {}

local DEFAULT <const> = "pg"

-------------------------------------------------------------------- the server

---@class luactor.PgServer
---@field private groups table<any, luactor.Bag>         index of the group -> entries
---@field private pids table<luactor.Pid, luactor.Bag>   entries of a process
---@field private refs table<luactor.Ref, luactor.Pid|table>  what is watched: a member or a listener
---@field private watch table<luactor.Pid, luactor.Ref>  the monitor of a member
---@field private listeners luactor.Bag                  { pid =, ref =, index =, mon = }; index nil: all groups
-- An entry: { pid =, group =, index =, in_group =, in_pid = }; one for each join.
local Server = gen_server.define "pg"
M._server = Server -- so that it travels by name

function Server:init()
  self.groups, self.pids, self.refs, self.watch = {}, {}, {}, {}
  self.listeners = index.bag "at"
end

local function notify(self, what, group, at, pids)
  for _, l in self.listeners:each() do
    if l.index == nil or l.index == at then actor.send(l.pid, { l.ref, what, group, pids }) end
  end
end

local function remove_from_group(self, entry)
  local bag = self.groups[entry.index]
  bag:remove(entry)
  if bag.count == 0 then self.groups[entry.index] = nil end
end

local function unwatch(self, pid)
  local ref = self.watch[pid]
  actor.demonitor(ref, { flush = true })
  self.refs[ref], self.watch[pid], self.pids[pid] = nil, nil, nil
end

-- A member has ended: it leaves all groups, one event for each.
local function bury(self, pid)
  local bag = self.pids[pid]
  if not bag then return end
  local left, order = {}, {}
  for _, entry in bag:each() do
    remove_from_group(self, entry)
    local l = left[entry.index]
    if not l then
      l = { entry = entry, pids = {} }
      left[entry.index], order[#order + 1] = l, l
    end
    l.pids[#l.pids + 1] = pid
  end
  unwatch(self, pid)
  for _, l in ipairs(order) do notify(self, "leave", l.entry.group, l.entry.index, l.pids) end
end

local function join_one(self, group, at, pid)
  local entry = { pid = pid, group = group, index = at }
  if not self.groups[at] then self.groups[at] = index.bag "in_group" end
  if not self.pids[pid] then
    self.pids[pid] = index.bag "in_pid"
    self.watch[pid] = actor.monitor(pid)
    self.refs[self.watch[pid]] = pid
  end
  self.groups[at]:add(entry)
  self.pids[pid]:add(entry)
end

function Server.call:join(group, pids)
  local at, joined = index.index(group), {}
  for _, pid in ipairs(pids) do
    if actor.is_alive(pid) then
      join_one(self, group, at, pid)
      joined[#joined + 1] = pid
    end
  end
  if #joined > 0 then notify(self, "join", group, at, joined) end
end

local function leave_one(self, at, pid)
  local bag = self.pids[pid]
  if not bag then return false end
  for _, entry in bag:each() do
    if entry.index == at then
      remove_from_group(self, entry)
      bag:remove(entry)
      if bag.count == 0 then unwatch(self, pid) end
      return true
    end
  end
  return false
end

function Server.call:leave(group, pids)
  local at, left = index.index(group), {}
  for _, pid in ipairs(pids) do
    if leave_one(self, at, pid) then left[#left + 1] = pid end
  end
  if #left > 0 then notify(self, "leave", group, at, left) end
  return #left > 0
end

local function living(self, at)
  local bag = self.groups[at]
  local list = bag and bag:list() or {}
  local n = 0
  for _, entry in ipairs(list) do
    if actor.is_alive(entry.pid) then
      n = n + 1
      list[n] = entry.pid
    else
      bury(self, entry.pid)
    end
  end
  for i = #list, n + 1, -1 do list[i] = nil end
  return list
end

function Server.call:members(group)
  return living(self, index.index(group))
end

-- { { group, pids }, ... }
local function all(self)
  local indices, list = {}, {}
  for at, bag in pairs(self.groups) do
    local _, entry = bag:each()(bag, 0)
    indices[#indices + 1] = { at, entry.group }
  end
  for _, pair in ipairs(indices) do
    local pids = living(self, pair[1])
    if #pids > 0 then list[#list + 1] = { pair[2], pids } end
  end
  return list
end

function Server.call:groups()
  local list = all(self)
  for i, pair in ipairs(list) do list[i] = pair[1] end
  return list
end

local function listen(self, ref, at)
  local pid = gen_server.from()[1]
  local l = { pid = pid, ref = ref, index = at, mon = actor.monitor(pid) }
  self.refs[l.mon] = l
  self.listeners:add(l)
end

function Server.call:monitor(ref, group)
  local at = index.index(group)
  local members = living(self, at)
  listen(self, ref, at)
  return members
end

function Server.call:monitor_scope(ref)
  local list = all(self)
  listen(self, ref, nil)
  return list
end

local function hush(self, l)
  actor.demonitor(l.mon, { flush = true })
  self.refs[l.mon] = nil
  self.listeners:remove(l)
end

function Server.call:demonitor(ref)
  for _, l in self.listeners:each() do
    if l.ref == ref then
      hush(self, l)
      return true
    end
  end
  return false
end

function Server:handle_info(message)
  if type(message) ~= "table" or message[1] ~= "DOWN" then return end
  local who = self.refs[message[2]]
  if type(who) == "table" then
    hush(self, who)
  elseif who then
    bury(self, who)
  end
end

-------------------------------------------------------------------- the clients

local function shown(value)
  if type(value) == "string" then return ("'%s'"):format(value) end
  return type(value) == "table" and "table" or tostring(value)
end

local function bad(n, name, what, value, level)
  error(("bad argument #%d to 'luactor.pg.%s' (%s expected, got %s)"):format(n, name, what,
    shown(value)), level + 1)
end

-- Several may find nobody and start it at once: the name decides, the others find the winner's.
local function start_default()
  for _ = 1, 100 do
    local ok, e = pcall(gen_server.start_opt, Server, { name = DEFAULT })
    if ok or actor.whereis(DEFAULT) then return end
    if not (type(e) == "table" and e[1] == "already_started") then error(e, 0) end
  end
end

-- The scope's process, as a destination.
local function find(scope, n, name)
  if scope == nil then
    if not actor.whereis(DEFAULT) then start_default() end
    return DEFAULT
  end
  if type(scope) == "table" and scope.pid then return scope.pid end
  if type(scope) == "userdata" then return scope end
  if type(scope) ~= "string" then bad(n, name, "scope", scope, 3) end
  if not actor.whereis(scope) then
    if scope == DEFAULT then
      start_default()
    else
      error(("luactor.pg.%s: scope '%s' is not running"):format(name, scope), 3)
    end
  end
  return scope
end

local function check_group(group, name)
  index.check(group, 1, "luactor.pg." .. name, 3)
end

local function one_pid(pid)
  if type(pid) == "table" then pid = pid.pid end
  return type(pid) == "userdata" and pcall(actor.is_alive, pid) and pid or nil
end

-- A pid, an object with one, or a list of these.
local function pid_list(pids, name)
  if pids == nil then return { actor.self() } end
  local single = one_pid(pids)
  if single then return { single } end
  if type(pids) ~= "table" or pids.pid then bad(2, name, "pid or list of pids", pids, 3) end
  local list = {}
  for i, pid in ipairs(pids) do
    list[i] = one_pid(pid) or bad(2, name, ("pid at [%d]"):format(i), pid, 3)
  end
  return list
end

---A scope, to be given where functions take one.
---@class luactor.PgScope
---@field pid luactor.Pid
---@field name string

local function start(scope, link, name)
  if scope == nil then scope = DEFAULT end
  if type(scope) ~= "string" then bad(1, name, "name", scope, 3) end
  local server = gen_server.start_opt(Server, { name = scope, link = link })
  return { pid = server.pid, name = scope }
end

---Start a scope that is linked to the caller. Raises a luactor.StartError when the name is taken.
---@param scope string?  its name; default: the default scope
---@return luactor.PgScope
function M.start_link(scope)
  return start(scope, true, "start_link")
end

---As start_link, without the link.
---@param scope string?
---@return luactor.PgScope
function M.start(scope)
  return start(scope, false, "start")
end

---Join a group. A process that joins twice is in it twice. One that has ended does not join.
---@param group any  a string, number, boolean, pid, ref, or a table of such, compared by value
---@param pids luactor.Pid|luactor.Pid[]|nil  default: the caller
---@param scope string|luactor.PgScope|nil
---@return true
function M.join(group, pids, scope)
  check_group(group, "join")
  pids = pid_list(pids, "join")
  actor.call(find(scope, 3, "join"), { "join", group, pids })
  return true
end

---Leave a group, once. nil, "not_joined" when no process of the list was in it.
---@param group any
---@param pids luactor.Pid|luactor.Pid[]|nil  default: the caller
---@param scope string|luactor.PgScope|nil
---@return true?, "not_joined"?
function M.leave(group, pids, scope)
  check_group(group, "leave")
  pids = pid_list(pids, "leave")
  if actor.call(find(scope, 3, "leave"), { "leave", group, pids }) then return true end
  return nil, "not_joined"
end

---The processes of a group, in the order in which they joined.
---@param group any
---@param scope string|luactor.PgScope|nil
---@return luactor.Pid[]
function M.members(group, scope)
  check_group(group, "members")
  return actor.call(find(scope, 2, "members"), { "members", group })
end

---Those that run on this host.
---@param group any
---@param scope string|luactor.PgScope|nil
---@return luactor.Pid[]
function M.local_members(group, scope)
  check_group(group, "local_members")
  return actor.call(find(scope, 2, "local_members"), { "members", group })
end

---The groups that have members, in no order.
---@param scope string|luactor.PgScope|nil
---@return any[]
function M.which_groups(scope)
  return actor.call(find(scope, 1, "which_groups"), { "groups" })
end

---Watch a group: from now on the caller gets { ref, "join" or "leave", group, pids }. Returns the reference and the members.
---@param group any
---@param scope string|luactor.PgScope|nil
---@return luactor.Ref, luactor.Pid[]
function M.monitor(group, scope)
  check_group(group, "monitor")
  local to, ref = find(scope, 2, "monitor"), actor.ref()
  return ref, actor.call(to, { "monitor", ref, group })
end

---Watch all groups of a scope. Returns the reference and a list of { group, pids }.
---@param scope string|luactor.PgScope|nil
---@return luactor.Ref, { [1]: any, [2]: luactor.Pid[] }[]
function M.monitor_scope(scope)
  local to, ref = find(scope, 1, "monitor_scope"), actor.ref()
  return ref, actor.call(to, { "monitor_scope", ref })
end

---Watch no longer; events that have come are dropped.
---@param ref luactor.Ref
---@param scope string|luactor.PgScope|nil
---@return boolean was_on
function M.demonitor(ref, scope)
  if type(ref) ~= "userdata" then bad(1, "demonitor", "ref", ref, 2) end
  local was_on = actor.call(find(scope, 2, "demonitor"), { "demonitor", ref })
  actor.flush { ref, actor._, actor._, actor._ }
  return was_on
end

return M

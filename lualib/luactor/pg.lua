-- Process groups: any process may join any number of groups, any number of times, until it ends.
--
--   local pg = require "luactor.pg"
--   pg.join "workers"                        -- the calling process
--   for _, pid in ipairs(pg.members "workers") do actor.send(pid, "job") end
--
-- Groups belong to a scope, which is a process with the scope's name. The default scope, "pg", is
-- started by its first use and by nobody's child: it stays until the host ends. Every function
-- suspends for a call to the scope. No function shows a process of this host that has ended.
--
-- Scopes of one name on connected nodes show each other's members (luactor._cluster says how). They
-- speak as those of Erlang's pg do, so that scopes there are among them:
--
--   {discover, Scope}                          hello
--   {'$gen_cast', {sync, Scope, [{Group, Pids}]}}   all that the scope's own node has in groups
--   {join, Scope, Group, Pid | Pids}           a pid is there as often as it joined
--   {leave, Scope, Pid | Pids, [Group]}        each pid, once, out of each group of the list
--
-- A group's name keeps its type on the way: a string here is a binary there, a sequence a list;
-- Erlang's `workers` is actor.atom "workers".

local actor = require "luactor"
local gen_server = require "luactor.gen_server"
local index = require "luactor._index"
local cluster = require "luactor._cluster"
local home = require("luactor._core").home

local M = {}

local DEFAULT <const> = "pg"

-------------------------------------------------------------------- the server

---@class luactor.PgServer
---@field private groups table<any, luactor.Bag>         index of the group -> entries
---@field private pids table<luactor.Pid, luactor.Bag>   entries of a process
---@field private refs table<luactor.Ref, luactor.Pid|table>  what is watched: a member of this host or a listener
---@field private watch table<luactor.Pid, luactor.Ref>  the monitor of a member of this host
---@field private listeners luactor.Bag                  { pid =, ref =, index =, mon = }; index nil: all groups
---@field private cluster luactor.Cluster                its peers have a field `pids`: the set of their members
-- An entry: { pid =, group =, index =, peer =, in_group =, in_pid = }; one for each join. `peer`: the
-- scope on another node that has it.
local Server = gen_server.define "pg"
M._server = Server -- so that it travels by name

local tuple = actor.tuple
local DISCOVER <const>, SYNC <const> = actor.atom "discover", actor.atom "sync"
local JOIN <const>, LEAVE <const> = actor.atom "join", actor.atom "leave"
local GEN_CAST <const> = actor.atom "$gen_cast"

-- All that processes of this host have joined, for a peer.
local function everything(self)
  local list = {}
  for _, bag in pairs(self.groups) do
    local pids, group = {}, nil
    for _, entry in bag:each() do
      if not entry.peer then
        group = entry.group
        pids[#pids + 1] = entry.pid
      end
    end
    if pids[1] and index.is_finite(group) then list[#list + 1] = tuple { group, pids } end
  end
  return tuple { GEN_CAST, tuple { SYNC, actor.self(), list } }
end

function Server:init(name)
  self.groups, self.pids, self.refs, self.watch = {}, {}, {}, {}
  self.listeners = index.bag "at"
  self.cluster = cluster.new(name, tuple { DISCOVER, actor.self() },
    function() return everything(self) end)
end

local function notify(self, what, group, at, pids)
  for _, l in self.listeners:each() do
    if l.index == nil or l.index == at then actor.send(l.pid, { l.ref, what, group, pids }) end
  end
end

local function one_or_list(pids)
  return pids[2] == nil and pids[1] or pids
end

-- Erlang knows no infinity: a group with such a name stays on this host.
local function tell_join(self, group, pids)
  if next(self.cluster.peers) and index.is_finite(group) then
    self.cluster:tell(tuple { JOIN, actor.self(), group, one_or_list(pids) })
  end
end

local function tell_leave(self, pids, groups)
  if not next(self.cluster.peers) then return end
  local finite = {}
  for _, group in ipairs(groups) do
    if index.is_finite(group) then finite[#finite + 1] = group end
  end
  self.cluster:tell(tuple { LEAVE, actor.self(), one_or_list(pids), finite })
end

local function unwatch(self, pid)
  local ref = self.watch[pid]
  if not ref then return end
  actor.demonitor(ref, { flush = true })
  self.refs[ref], self.watch[pid] = nil, nil
end

local function add(self, group, at, pid, peer)
  local entry = { pid = pid, group = group, index = at, peer = peer }
  if not self.groups[at] then self.groups[at] = index.bag "in_group" end
  if not self.pids[pid] then self.pids[pid] = index.bag "in_pid" end
  if peer then
    peer.pids[pid] = true
  elseif not self.watch[pid] then
    self.watch[pid] = actor.monitor(pid)
    self.refs[self.watch[pid]] = pid
  end
  self.groups[at]:add(entry)
  self.pids[pid]:add(entry)
end

local function remove(self, entry)
  local bag, pids = self.groups[entry.index], self.pids[entry.pid]
  bag:remove(entry)
  if bag.count == 0 then self.groups[entry.index] = nil end
  pids:remove(entry)
  if pids.count == 0 then self.pids[entry.pid] = nil end
end

-- The process is in no group any more, as far as `peer` says.
local function forget_pid(self, pid, peer)
  if peer then peer.pids[pid] = nil else unwatch(self, pid) end
end

-- The entries of a process that are `peer`'s (nil: ours). A scope that has taken the place of
-- another on its node may speak of the same processes before the end of that one is known.
local function entries_of(self, pid, peer)
  local list = {}
  if self.pids[pid] then
    for _, entry in self.pids[pid]:each() do
      if entry.peer == peer then list[#list + 1] = entry end
    end
  end
  return list
end

-- Take a process out of a group, once. `peer` is who has it. False: it was not in.
local function take_out(self, at, pid, peer)
  local list = entries_of(self, pid, peer)
  for _, entry in ipairs(list) do
    if entry.index == at then
      remove(self, entry)
      if #list == 1 then forget_pid(self, pid, peer) end
      return true
    end
  end
  return false
end

-- Take a process out of all groups, one event for each. Returns the groups, each as often as it was in.
local function take_out_all(self, pid, peer)
  local left, order, groups = {}, {}, {}
  for _, entry in ipairs(entries_of(self, pid, peer)) do
    remove(self, entry)
    groups[#groups + 1] = entry.group
    local l = left[entry.index]
    if not l then
      l = { entry = entry, pids = {} }
      left[entry.index], order[#order + 1] = l, l
    end
    l.pids[#l.pids + 1] = pid
  end
  forget_pid(self, pid, peer)
  for _, l in ipairs(order) do notify(self, "leave", l.entry.group, l.entry.index, l.pids) end
  return groups
end

-- A member of this host has ended.
local function bury(self, pid)
  if self.watch[pid] then tell_leave(self, { pid }, take_out_all(self, pid)) end
end

function Server.call:join(group, pids)
  local at, joined = index.index(group), {}
  for _, pid in ipairs(pids) do
    if actor.is_alive(pid) then
      add(self, group, at, pid)
      joined[#joined + 1] = pid
    end
  end
  if #joined == 0 then return end
  notify(self, "join", group, at, joined)
  tell_join(self, group, joined)
end

function Server.call:leave(group, pids)
  local at, left = index.index(group), {}
  for _, pid in ipairs(pids) do
    if take_out(self, at, pid) then left[#left + 1] = pid end
  end
  if #left > 0 then
    notify(self, "leave", group, at, left)
    tell_leave(self, left, { group })
  end
  return #left > 0
end

-- The members of a group. The list of entries becomes one of pids.
local function living(self, at, only_local)
  local bag = self.groups[at]
  local list = bag and bag:list() or {}
  local n = 0
  for _, entry in ipairs(list) do
    local peer, pid = entry.peer, entry.pid
    if peer or actor.is_alive(pid) then
      if not (peer and only_local) then
        n = n + 1
        list[n] = pid
      end
    else
      bury(self, pid)
    end
  end
  for i = #list, n + 1, -1 do list[i] = nil end
  return list
end

function Server.call:members(group)
  return living(self, index.index(group))
end

function Server.call:local_members(group)
  return living(self, index.index(group), true)
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

--------------------------------------------------------------- other nodes' scopes

-- The pids that a peer speaks of: one or a list. It may speak only of those of its own node.
local function pids_of(peer, pids)
  if type(pids) ~= "table" then pids = { pids } end
  local list = {}
  for _, pid in ipairs(pids) do
    if home(pid) == peer.node then list[#list + 1] = pid end
  end
  return list
end

local function add_all(self, peer, group, pids)
  if not pids[1] then return end
  local at = index.index(group)
  for _, pid in ipairs(pids) do add(self, group, at, pid, peer) end
  notify(self, "join", group, at, pids)
end

local function drop_all(self, peer, group, at, pids)
  local left = {}
  for _, pid in ipairs(pids) do
    if take_out(self, at, pid, peer) then left[#left + 1] = pid end
  end
  if left[1] then notify(self, "leave", group, at, left) end
end

-- What we have of a peer: index -> { group =, pids = { [pid] = how often } }.
local function known_of(self, peer)
  local known = {}
  for pid in pairs(peer.pids) do
    for _, entry in ipairs(entries_of(self, pid, peer)) do
      local k = known[entry.index]
      if not k then
        k = { group = entry.group, pids = {} }
        known[entry.index] = k
      end
      k.pids[pid] = (k.pids[pid] or 0) + 1
    end
  end
  return known
end

-- All that the peer has, in the place of what we knew. Listeners hear of the differences alone.
local function replace(self, peer, list)
  local known = known_of(self, peer)
  for _, pair in ipairs(list) do
    local group = type(pair) == "table" and pair[1]
    if index.is_key(group) then
      local k, new = known[index.index(group)], {}
      for _, pid in ipairs(pids_of(peer, pair[2])) do
        local n = k and k.pids[pid] or 0
        if n > 0 then k.pids[pid] = n - 1 else new[#new + 1] = pid end
      end
      add_all(self, peer, group, new)
    end
  end
  for at, k in pairs(known) do
    local old = {}
    for pid, n in pairs(k.pids) do
      for _ = 1, n do old[#old + 1] = pid end
    end
    drop_all(self, peer, k.group, at, old)
  end
end

local events = {}

function events.discover(self, pid)
  self.cluster:discovered(pid)
end

function events.join(self, pid, group, pids)
  local peer = self.cluster.peers[pid]
  if peer and peer.pids and index.is_key(group) then
    add_all(self, peer, group, pids_of(peer, pids))
  end
end

function events.leave(self, pid, pids, groups)
  local peer = self.cluster.peers[pid]
  if not peer or not peer.pids or type(groups) ~= "table" then return end
  pids = pids_of(peer, pids)
  for _, group in ipairs(groups) do
    if index.is_key(group) then drop_all(self, peer, group, index.index(group), pids) end
  end
end

function Server:handle_cast(message)
  if type(message) ~= "table" or message[1] ~= SYNC or type(message[3]) ~= "table" then return end
  local peer = self.cluster:synced(message[2])
  if not peer then return end
  peer.pids = peer.pids or {}
  replace(self, peer, message[3])
end

local function on_down(self, ref)
  local peer = self.cluster:down(ref)
  if peer then
    for pid in pairs(peer.pids or {}) do take_out_all(self, pid, peer) end
    return
  end
  local who = self.refs[ref]
  if type(who) == "table" then
    hush(self, who)
  elseif who then
    bury(self, who)
  end
end

function Server:handle_info(message)
  if type(message) ~= "table" then return end
  if message[1] == "DOWN" then return on_down(self, message[2]) end
  if self.cluster:handle(message) then return end
  local event = events[tostring(message[1])]
  if event then event(self, message[2], message[3], message[4]) end
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
    local ok, e = pcall(gen_server.start_opt, Server, { name = DEFAULT }, DEFAULT)
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
  return home(pid) == true and pid or nil
end

-- A pid, an object with one, or a list of these.
local function pid_list(pids, name)
  if pids == nil then return { actor.self() } end
  local single = one_pid(pids)
  if single then return { single } end
  if home(pids) then bad(2, name, "pid of this node", pids, 3) end
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
  local server = gen_server.start_opt(Server, { name = scope, link = link }, scope)
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
  return actor.call(find(scope, 2, "local_members"), { "local_members", group })
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

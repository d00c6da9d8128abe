-- Registries of one name on several nodes as one: what luactor.registry does for scope = "cluster".
-- Not for programs.
--
-- Each registry owns the entries that were made at it, and holds copies of the others', as
-- luactor._cluster describes; so a lookup never leaves the node. Duplicate keys need no more: what
-- is under a key is the union.
--
-- A unique key must be agreed on. Among connected registries the one on the node whose name is the
-- lowest is the *judge*. Who wants a key that its own copy shows free claims it there; the judge
-- notes the claimant at once, as if it had the entry's announcement already, and grants, or it
-- refuses and names the holder. A judge that has a claim of its own under way, at a judge still
-- lower (its connections may be newer than the claimant's), decides when that is decided: waiting
-- always goes to a lower name, so nobody waits in a ring. When the judge is lost the claim goes to
-- the next one. One that does not answer in time (it hangs, and its connection is not given up yet)
-- costs the claimant a timeout, and the claim is taken back.
--
-- So two processes can hold one key only when their registries did not know of each other: in a
-- netsplit, where each side goes on with what it has, or in the moments of a merge. Then both
-- entries are known to all after the merge, and every node, without asking, orders them in the same
-- way: the entry that was made first (seconds of its node's clock), then the one of the lower node
-- name. The first is what lookups show. The owner of the other takes it back and tells its process;
-- so the state of all nodes becomes the same, whatever the order in which they learn of each other.
-- Where the program gave a function to decide, the two owners call it, and it must give both
-- the same answer.
--
-- Messages, from registry to registry, all { "$registry", what, Registry, ... }:
--
--   hello                       as luactor._cluster
--   all, unique, entries        all that the sender owns
--   put, entry                  one more, or a new value
--   drop, ids                   no longer
--   claim, entry                to the judge
--   granted, id / refused, id, holder
--
-- An entry is { id =, key =, pid =, value =, time = }; the id is its owner's.

local actor = require "luactor"
local cluster = require "luactor._cluster"
local core = require "luactor._node"
local home = require("luactor._core").home
local gen_server = require "luactor.gen_server"
local index = require "luactor._index"

local M = {}

-- Less than the time that a call waits, so that the caller is told.
local CLAIM_MS <const> = 4500

---@class luactor.RegistryNet
---@field private reg table            the server's state
---@field private cluster luactor.Cluster  its peers have `entries`: by id
---@field private claims table<any, table> index of a key -> claim under way
---@field private by_id table<integer, table>  the same claims
---@field private last_id integer
---@field private resolve function?
---@field private how "exit"|"message"   who loses a key is told
---@field private own table<integer, table>  the entries made here
local Net = {}
Net.__index = Net

-- Functions of luactor.registry: add, drop, living, is_living.
local ops

local function mine()
  return core.name() or ""
end

local function node_of(entry)
  return entry.peer and entry.peer.node or mine()
end

-- The order of entries under one key, the same on all nodes.
local function is_before(a, b)
  if a.time ~= b.time then return a.time < b.time end
  return node_of(a) < node_of(b)
end

local function packed(entry)
  return { id = entry.id, key = entry.key, pid = entry.pid, value = entry.value, time = entry.time }
end

---@param reg table   state of the registry's server
---@param functions table
---@param opts { name: string, resolve: function?, conflict: "exit"|"message"|nil }
---@return luactor.RegistryNet
function M.new(reg, functions, opts)
  ops = functions
  local self = setmetatable({ reg = reg, claims = {}, by_id = {}, last_id = 0, own = {},
    resolve = opts.resolve, how = opts.conflict or "exit" }, Net)
  self.cluster = cluster.new(opts.name, { "$registry", "hello", actor.self() }, function()
    local list = {}
    for _, entry in pairs(self.own) do list[#list + 1] = packed(entry) end
    return { "$registry", "all", actor.self(), reg.unique, list }
  end, true)
  return self
end

----------------------------------------------------------------- own entries

function Net:new_id()
  self.last_id = self.last_id + 1
  return self.last_id
end

---An entry has been made here, or has a new value.
function Net:put(entry)
  self.own[entry.id] = entry
  self.cluster:tell { "$registry", "put", actor.self(), packed(entry) }
end

---Entries of ours are gone.
function Net:dropped(entries)
  local ids = {}
  for _, entry in ipairs(entries) do
    if not entry.peer then
      self.own[entry.id] = nil
      ids[#ids + 1] = entry.id
    end
  end
  if ids[1] then self.cluster:tell { "$registry", "drop", actor.self(), ids } end
end

------------------------------------------------------------------- conflicts

---The entry that lookups show, of several under a unique key.
function M.first(list)
  local first = list[1]
  for i = 2, #list do
    if is_before(list[i], first) then first = list[i] end
  end
  return first
end

local function shown_to_resolver(entry)
  return { pid = entry.pid, value = entry.value, node = node_of(entry), time = entry.time }
end

-- Which of two entries holds the key.
local function winner(self, a, b)
  if is_before(b, a) then a, b = b, a end
  if not self.resolve then return a end
  local ok, pid = pcall(self.resolve, a.key, shown_to_resolver(a), shown_to_resolver(b))
  if ok and pid == a.pid then return a end
  if ok and pid == b.pid then return b end
  require("luactor.log").error("registry: resolve gave %s, neither of the two pids; the first stays",
    tostring(pid))
  return a
end

-- A process that has registered at two nodes is in no conflict with itself.
local function tell_loser(self, own, other)
  if own.pid == other.pid then return end
  local news = { "name_conflict", own.key, other.pid }
  if self.how == "exit" then
    actor.exit(own.pid, news)
  else
    actor.try_send(own.pid, news)
  end
end

-- Each owner takes its own back that does not win, and tells the process.
local function settle(self, at)
  local bag = self.reg.keys[at]
  if not self.reg.unique or not bag or bag.count < 2 then return end
  local list = bag:list()
  for _, own in ipairs(list) do
    for _, other in ipairs(list) do
      if not own.peer and other ~= own and winner(self, own, other) == other then
        ops.drop(self.reg, own)
        self:dropped { own }
        tell_loser(self, own, other)
        return settle(self, at)
      end
    end
  end
end

----------------------------------------------------------------- claims, here

-- The peer that decides; nil: we do.
local function judge_of(self)
  local judge, lowest = nil, mine()
  for _, peer in pairs(self.cluster.peers) do
    if peer.entries and peer.node < lowest then judge, lowest = peer, peer.node end
  end
  return judge
end

local function finish(self, claim)
  self.claims[claim.at], self.by_id[claim.id] = nil, nil
  if claim.timer then actor.cancel(claim.timer) end
  for _, waiting in ipairs(claim.queue) do waiting() end
end

local function refuse(self, claim, why)
  gen_server.reply(claim.from, why)
  finish(self, claim)
end

local function win(self, claim)
  -- Its process may have ended meanwhile.
  if ops.is_living(claim.pid) then
    local entry = ops.add(self.reg, claim.pid, claim.key, claim.value, claim.id, claim.time)
    self:put(entry)
    gen_server.reply(claim.from, { "ok" })
    finish(self, claim)
    settle(self, claim.at)
  else
    self.cluster:tell { "$registry", "drop", actor.self(), { claim.id } }
    finish(self, claim)
  end
end

-- Ask whoever decides now.
local function pursue(self, claim)
  local holder = ops.living(self.reg, claim.key)[1]
  if holder then return refuse(self, claim, { "already_registered", holder.pid }) end
  claim.judge = judge_of(self)
  if not claim.judge then return win(self, claim) end
  cluster.tell_surely(claim.judge, { "$registry", "claim", actor.self(), packed(claim) })
end

---A process wants a key that is free as far as we know. Answers the call later.
function Net:claim(from, pid, key, value)
  local at = index.index(key)
  local under_way = self.claims[at]
  if under_way then
    table.insert(under_way.queue, function()
      -- Who has the place now may be another that waited.
      local holder = ops.living(self.reg, key)[1]
      if holder then return gen_server.reply(from, { "already_registered", holder.pid }) end
      self:claim(from, pid, key, value)
    end)
    return
  end
  local claim = { from = from, pid = pid, key = key, value = value, at = at, queue = {},
    id = self:new_id(), time = os.time() }
  self.claims[at], self.by_id[claim.id] = claim, claim
  pursue(self, claim)
  if self.by_id[claim.id] then
    claim.timer = actor.send_after(CLAIM_MS, actor.self(), { "$claim_timeout", claim.id })
  end
end

local function expire(self, id)
  local claim = self.by_id[id]
  if not claim then return end
  claim.timer = nil
  cluster.tell_surely(claim.judge, { "$registry", "drop", actor.self(), { id } })
  refuse(self, claim, { "timeout", claim.judge.node })
end

----------------------------------------------------------- others' entries

local function is_entry(e)
  return type(e) == "table" and math.type(e.id) == "integer" and math.type(e.time) == "integer"
    and index.is_key(e.key) and home(e.pid) ~= nil
end

local function take(self, peer, e)
  local there = peer.entries[e.id]
  if there then
    there.value = e.value
    return
  end
  local entry = ops.add(self.reg, e.pid, e.key, e.value, e.id, e.time, peer)
  peer.entries[e.id] = entry
  settle(self, entry.index)
end

local function lose(self, peer, id)
  local entry = peer.entries[id]
  if not entry then return end
  peer.entries[id] = nil
  ops.drop(self.reg, entry)
end

local on_message = {}

function on_message.hello(self, pid)
  self.cluster:discovered(pid)
end

function on_message.all(self, pid, unique, list)
  local peer = self.cluster:synced(pid)
  if not peer or type(list) ~= "table" then return end
  if unique ~= self.reg.unique then
    require("luactor.log").error("registry: that on %s has %s keys; it is left alone", peer.node,
      unique and "unique" or "duplicate")
    return
  end
  peer.entries = peer.entries or {}
  local kept = {}
  for _, e in ipairs(list) do
    if is_entry(e) then kept[e.id] = e end
  end
  for id in pairs(peer.entries) do
    if not kept[id] then lose(self, peer, id) end
  end
  for _, e in pairs(kept) do take(self, peer, e) end
end

-- A peer whose entries we have; nil for others.
local function known(self, pid)
  local peer = self.cluster.peers[pid]
  return peer and peer.entries and peer
end

function on_message.put(self, pid, e)
  local peer = known(self, pid)
  if peer and is_entry(e) then take(self, peer, e) end
end

function on_message.drop(self, pid, ids)
  local peer = known(self, pid)
  for _, id in ipairs(peer and type(ids) == "table" and ids or {}) do lose(self, peer, id) end
end

-- We are the judge.
function on_message.claim(self, pid, e)
  local peer = known(self, pid)
  if not peer or not is_entry(e) or not self.reg.unique then return end
  local own = self.claims[index.index(e.key)]
  if own then
    table.insert(own.queue, function() on_message.claim(self, pid, e) end)
    return
  end
  local holder = ops.living(self.reg, e.key)[1]
  if holder and holder ~= peer.entries[e.id] then
    cluster.tell_surely(peer, { "$registry", "refused", actor.self(), e.id, holder.pid })
    return
  end
  take(self, peer, e)
  cluster.tell_surely(peer, { "$registry", "granted", actor.self(), e.id })
end

function on_message.granted(self, pid, id)
  local claim = self.by_id[id]
  if claim and claim.judge and claim.judge.pid == pid then return win(self, claim) end
  -- Given up: the judge must not go on taking it for an entry.
  local peer = known(self, pid)
  if peer and not claim and not self.own[id] then
    cluster.tell_surely(peer, { "$registry", "drop", actor.self(), { id } })
  end
end

function on_message.refused(self, pid, id, holder)
  local claim = self.by_id[id]
  if claim and claim.judge and claim.judge.pid == pid then
    refuse(self, claim, { "already_registered", holder })
  end
end

---How many other registries it is one with.
---@return integer
function Net:count_peers()
  local n = 0
  for _, peer in pairs(self.cluster.peers) do
    if peer.entries then n = n + 1 end
  end
  return n
end

---Is the message one of ours? Then it is dealt with.
---@return boolean
function Net:handle(message)
  if message[1] == "$registry" then
    local f = on_message[message[2]]
    if f and home(message[3]) then f(self, message[3], message[4], message[5]) end
    return true
  elseif message[1] == "$claim_timeout" then
    expire(self, message[2])
    return true
  end
  return self.cluster:handle(message)
end

---A monitor fired. False: it was no peer's.
---@return boolean
function Net:down(ref)
  local peer = self.cluster:down(ref)
  if not peer then return false end
  for id in pairs(peer.entries or {}) do lose(self, peer, id) end
  local again = {}
  for _, claim in pairs(self.claims) do
    if claim.judge == peer then again[#again + 1] = claim end
  end
  for _, claim in ipairs(again) do pursue(self, claim) end
  return true
end

return M

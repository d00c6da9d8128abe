-- Processes of one registered name on several nodes, which keep one another informed: what
-- luactor.pg and luactor.registry share. Not for programs.
--
-- Every node has such a process, the *peers* of each other. Each owns what was given to it on its
-- own node and nobody else changes that; each has a copy of what the others own. There is no
-- leader and no history, so there is nothing to repair after a netsplit but to copy again:
--
--   nodeup       say hello ({discover, Pid}) to the name on that node
--   hello        answer with all that we own (a sync); who says hello and is not known yet is a
--                peer from now on: watched, told of every change, and said hello to in turn
--   a sync       takes the place of all that the peer was known to own
--   a change     in the order in which the peer made it: one connection keeps the order
--   DOWN         of a peer, "noconnection" too: what it owns is gone here
--
-- A hello to a node where nobody has the name yet gets lost. Who starts later says hello to all
-- connected nodes, but Erlang's pg only to those that it sees, and hidden ones it does not see.
-- So a hello is said again, ever more seldom, until somebody answers.
--
-- A peer that takes its messages too slowly is not waited for: it misses changes, is marked, and
-- gets a sync as soon as there is room on the way to it.

local actor = require "luactor"
local core = require "luactor._node"
local home = require("luactor._core").home

local M = {}

local AGAIN_MS <const>, MOST_AGAIN_MS <const> = 1000, 30000
local ROOM_MS <const> = 200
local STAY <const> = { connect = false }

---@class luactor.ClusterPeer
---@field pid luactor.Pid
---@field node string
---@field ref luactor.Ref       its monitor
---@field missed boolean?       a change did not reach it: it needs a sync
---@field private last any      what failed to be sent is reported once

---@class luactor.Cluster
---@field peers table<luactor.Pid, luactor.ClusterPeer>
---@field private name string
---@field private hello any              the message
---@field private all fun(peer: luactor.ClusterPeer): any  the message that says all that we own
---@field private only_luactor boolean?
---@field private refs table<luactor.Ref, luactor.ClusterPeer>
---@field private waiting table<string, { ms: number, timer: any }>  nodes that have not answered a hello
local Cluster = {}
Cluster.__index = Cluster

---@param name string     of these processes
---@param hello any       what they say to begin with
---@param all fun(peer: luactor.ClusterPeer): any
---@param only_luactor boolean?  Erlang has none of them
---@return luactor.Cluster
function M.new(name, hello, all, only_luactor)
  local self = setmetatable({ name = name, hello = hello, all = all, only_luactor = only_luactor,
    peers = {}, refs = {}, waiting = {} }, Cluster)
  core.watch("", true)
  for _, node in ipairs(core.list()) do self:nodeup(node) end
  return self
end

local function warn(peer, why)
  local text = tostring(why)
  if peer.last == text then return end
  peer.last = text
  require("luactor.log").warn("a message to %s cannot be sent: %s", tostring(peer.pid), text)
end

-- Never connects, never waits. False: there is no room on the way.
local function push(peer, message)
  local ok, sent, why = pcall(actor.try_send, peer.pid, message, STAY)
  if not ok then
    warn(peer, sent)
    return true
  end
  return sent or why ~= "full"
end

local function sync(self, peer)
  peer.missed = not push(peer, self.all(peer))
  if peer.missed then actor.send_after(ROOM_MS, actor.self(), { "$room", peer.pid }) end
end

---Tell all peers of a change.
function Cluster:tell(message)
  for _, peer in pairs(self.peers) do
    if not peer.missed and not push(peer, message) then sync(self, peer) end
  end
end

---Tell one what no sync repeats: when there is no room a process of its own waits for it.
function M.tell_surely(peer, message)
  if not push(peer, message) then
    actor.spawn("luactor._cluster.deliver", peer.pid, message)
  end
end

---What that process runs.
function M.deliver(pid, message)
  actor.send(pid, message)
end

local function stop_waiting(self, node)
  local w = self.waiting[node]
  if not w then return end
  actor.cancel(w.timer)
  self.waiting[node] = nil
end

local function say_hello(self, node, ms)
  stop_waiting(self, node)
  local up, is_luactor = core.is_up(node)
  if not up or self.only_luactor and not is_luactor then return end
  pcall(actor.try_send, { self.name, node }, self.hello, STAY)
  self.waiting[node] = { ms = ms,
    timer = actor.send_after(ms, actor.self(), { "$hello", node }) }
end

function Cluster:nodeup(node)
  say_hello(self, node, AGAIN_MS)
end

-- A peer, by its pid: known, or from now on. Nil: it is no pid of another node.
local function meet(self, pid)
  local peer = self.peers[pid]
  if peer then return peer end
  local node = home(pid)
  -- A monitor would connect again. When the node is back, it says hello again.
  if type(node) ~= "string" or not core.is_up(node) then return nil end
  stop_waiting(self, node)
  peer = { pid = pid, node = node, ref = actor.monitor(pid) }
  self.peers[pid], self.refs[peer.ref] = peer, peer
  return peer, true
end

---A process has said hello: it gets all that we own.
function Cluster:discovered(pid)
  local peer, is_new = meet(self, pid)
  if not peer then return end
  sync(self, peer)
  if is_new then push(peer, self.hello) end
end

---Who has sent a sync.
---@return luactor.ClusterPeer?
function Cluster:synced(pid)
  return (meet(self, pid))
end

---The peer has ended, or its node: no more of it. Nil: it was no peer's monitor.
---@return luactor.ClusterPeer?
function Cluster:down(ref)
  local peer = self.refs[ref]
  if not peer then return nil end
  self.refs[ref], self.peers[peer.pid] = nil, nil
  -- It may be started again on a node that is still there.
  say_hello(self, peer.node, AGAIN_MS)
  return peer
end

---Is the message one of ours? Then it is dealt with.
---@return boolean
function Cluster:handle(message)
  local what, about = message[1], message[2]
  if what == "nodeup" then
    if type(about) == "string" then self:nodeup(about) end
  elseif what == "nodedown" then
    stop_waiting(self, about)
  elseif what == "$hello" then
    local w = self.waiting[about]
    if w then say_hello(self, about, math.min(2 * w.ms, MOST_AGAIN_MS)) end
  elseif what == "$room" then
    local peer = self.peers[about]
    if peer and peer.missed then sync(self, peer) end
  else
    return false
  end
  return true
end

return M

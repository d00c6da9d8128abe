-- A chat server's core, without a network: rooms are servers under a dynamic
-- supervisor and are found through a registry; a room that crashes comes back
-- empty and its members join again. Users are processes.
local actor = require "luactor"
local gen_server = require "luactor.gen_server"
local dynamic_supervisor = require "luactor.dynamic_supervisor"
local registry = require "luactor.registry"
local on, V = actor.on, actor.var

---------------------------------------------------------------- rooms

local Room = gen_server.define "room"

function Room:init(name)
  registry.register("rooms", name, true)
  self.name, self.members = name, {}
end

-- A member is watched: who ends leaves the room.
function Room.call:join(pid, nick)
  self.members[pid] = { nick = nick, ref = actor.monitor(pid) }
  self:tell(pid, ("* %s joins %s"):format(nick, self.name))
  return true
end

function Room.call:say(pid, text)
  local member = self.members[pid]
  if not member then return false, "not a member" end
  self:tell(nil, ("<%s> %s"):format(member.nick, text))
  return true
end

function Room.call:crash() error "a bug in the room" end

function Room:tell(except, line)
  for pid in pairs(self.members) do
    if pid ~= except then actor.post(pid, "line", self.name, line) end
  end
end

function Room:handle_info(msg)
  if msg[1] ~= "DOWN" then return end
  local member = self.members[msg[4]]
  self.members[msg[4]] = nil
  self:tell(nil, ("* %s leaves"):format(member.nick))
end

---------------------------------------------------------------- users

local function room(name)
  local found = registry.lookup("rooms", name)[1]
  return found and Room:at(found[1])
end

-- A user prints nothing: it keeps what it has heard and tells when asked.
local function user(nick)
  local heard = {}
  local serve = actor.receiver(
    on({ "line", V._, V.text "string" }, function(text)
      heard[#heard + 1] = text
      return true
    end),
    on({ "say", V.from, V.room, V.text }, function(from, name, text)
      from:send { "said", room(name):say(actor.self(), text) }
      return true
    end),
    on({ "join", V.from, V.room }, function(from, name)
      from:send { "joined", room(name):join(actor.self(), nick) }
      return true
    end),
    on({ "heard", V.from }, function(from)
      from:send { "heard", heard }
      heard = {}
      return true
    end),
    on("quit", function() return false end))
  while serve() do end
end

local function ask(pid, ...)
  actor.post(pid, ...)
  return actor.receive({ V._, V.answer }, 5000)
end

local function show(nick, pid)
  for _, line in ipairs(ask(pid, "heard", actor.self())) do
    print(("%-6s %s"):format(nick, line))
  end
end

---------------------------------------------------------------- an evening

registry.start_link { name = "rooms", keys = "unique" }
local rooms = dynamic_supervisor.start_link { strategy = "one_for_one" }
dynamic_supervisor.start_child(rooms, {
  id = "lobby", restart = "permanent",
  start = { function() return Room:start_link "lobby" end },
})

local me = actor.self()
local ann, bob = actor.spawn(user, "ann"), actor.spawn(user, "bob")
ask(ann, "join", me, "lobby")
ask(bob, "join", me, "lobby")
ask(ann, "say", me, "lobby", "hello")
ask(bob, "say", me, "lobby", "hi, ann")
show("ann", ann)
show("bob", bob)

-- The room crashes; its supervisor starts it again, under the same key.
local old = registry.lookup("rooms", "lobby")[1][1]
local ref = actor.monitor(old)
actor.try_call(old, { "crash" })
actor.receive { "DOWN", ref, "process", V._, V._ }
local again
repeat
  actor.yield()
  again = registry.lookup("rooms", "lobby")[1]
until again and again[1] ~= old
print("the room is back, and empty")

ask(ann, "join", me, "lobby")
ask(bob, "join", me, "lobby")
local gone = actor.monitor(bob)
bob:send "quit"
actor.receive { "DOWN", gone, "process", V._, V._ }
ask(ann, "say", me, "lobby", "anyone?")
show("ann", ann)

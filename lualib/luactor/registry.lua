-- A registry: processes under keys, each with a value.
--
--   local registry = require "luactor.registry"
--   local rooms = registry.start_link { name = "rooms", keys = "unique" }
--   registry.register(rooms, "lobby", { topic = "all" })      -- the calling process
--   for _, entry in ipairs(registry.lookup("rooms", "lobby")) do
--     print(entry[1], entry[2].topic)                         -- pid, value
--   end
--
-- A registry is a process; `reg` below is what start_link returned, its pid or its name. Every
-- function suspends for a call to it. It watches the processes that it holds; besides, it never
-- shows a process that has ended: whoever has seen its end sees no entry of it.
--
-- A registry with partitions is several such processes, each with a share of the keys. The first
-- is the one that has the name; asked for a key of another, it answers { ["$moved"] = all of
-- them }, and the client remembers.
--
-- With scope = "cluster" registries of one name on connected nodes are as one; how they agree is
-- written in luactor._registry_net.

local actor = require "luactor"
local gen_server = require "luactor.gen_server"
local index = require "luactor._index"
local home = require("luactor._core").home

local M = {}

local net -- luactor._registry_net, in a registry that needs it

------------------------------------------------------------------- the server

---@class luactor.RegistryServer
---@field private unique boolean
---@field private keys table<any, luactor.Bag>          index of the key -> entries
---@field private pids table<luactor.Pid, luactor.Bag>  entries of a process
---@field private refs table<luactor.Pid, luactor.Ref>  the monitors of those that have registered here
---@field private count integer
---@field private parts luactor.Pid[]?   of the first one: all partitions
---@field private net luactor.RegistryNet?  with scope = "cluster"
-- An entry: { pid =, key =, index =, value =, in_key =, in_pid = } (its places); in a cluster also
-- { id =, time =, peer = }: peer is the registry on another node that has it.
local Server = gen_server.define "registry"
M._server = Server -- so that it travels by name

-- A process of another node is taken to live until its DOWN comes.
local function is_living(pid)
  return home(pid) ~= true or actor.is_alive(pid)
end

-- Which of n partitions has a key.
local function slot(key, n)
  local at = index.index(key)
  local number = math.tointeger(at)
  if not number then
    local text = tostring(at)
    number = #text
    for i = 1, math.min(#text, 64) do number = number * 31 + text:byte(i) end
  end
  return number % n + 1
end

-- The answer for a key of another partition.
local function elsewhere(self, key)
  if not self.parts or slot(key, #self.parts) == 1 then return nil end
  return { ["$moved"] = self.parts }
end

-- What the other partitions answer.
local function others(self, request)
  local answers = {}
  for i = 2, self.parts and #self.parts or 0 do
    answers[i - 1] = actor.call(self.parts[i], request)
  end
  return answers
end

local function append(list, more)
  table.move(more, 1, #more, #list + 1, list)
end

-- The last three: in a cluster.
local function add(self, pid, key, value, id, time, peer)
  local at = index.index(key)
  local entry = { pid = pid, key = key, index = at, value = value, id = id, time = time, peer = peer }
  if not self.keys[at] then self.keys[at] = index.bag "in_key" end
  if not self.pids[pid] then self.pids[pid] = index.bag "in_pid" end
  if not peer and not self.refs[pid] then self.refs[pid] = actor.monitor(pid) end
  self.keys[at]:add(entry)
  self.pids[pid]:add(entry)
  self.count = self.count + 1
  return entry
end

local function has_own(bag)
  for _, entry in bag:each() do
    if not entry.peer then return true end
  end
end

local function drop(self, entry)
  local bag = self.keys[entry.index]
  bag:remove(entry)
  if bag.count == 0 then self.keys[entry.index] = nil end
  self.count = self.count - 1
  local pid = entry.pid
  bag = self.pids[pid]
  bag:remove(entry)
  if bag.count == 0 then self.pids[pid] = nil end
  if self.refs[pid] and not has_own(bag) then
    actor.demonitor(self.refs[pid], { flush = true })
    self.refs[pid] = nil
  end
end

-- Entries that were made here go.
local function drop_all(self, entries)
  for _, entry in ipairs(entries) do drop(self, entry) end
  if self.net then self.net:dropped(entries) end
end

-- The process has ended.
local function forget_pid(self, pid)
  local own = {}
  for _, entry in ipairs(self.pids[pid] and self.pids[pid]:list() or {}) do
    if not entry.peer then own[#own + 1] = entry end
  end
  drop_all(self, own)
end

-- The entries under a key, of processes that live.
local function living(self, key)
  local bag = self.keys[index.index(key)]
  if not bag then return {} end
  local list = bag:list()
  local n = 0
  for _, entry in ipairs(list) do
    if is_living(entry.pid) then
      n = n + 1
      list[n] = entry
    else
      forget_pid(self, entry.pid)
    end
  end
  for i = #list, n + 1, -1 do list[i] = nil end
  if n > 1 and self.unique then return { net.first(list) } end
  return list
end

function Server:init(unique, partitions, cluster)
  self.unique = unique
  if partitions > 1 then
    self.parts = { actor.self() }
    for i = 2, partitions do self.parts[i] = gen_server.start_link(Server, unique, 1).pid end
  end
  self.keys, self.pids, self.refs, self.count = {}, {}, {}, 0
  if cluster then
    net = require "luactor._registry_net"
    self.net = net.new(self, { add = add, drop = drop, living = living, is_living = is_living }, cluster)
  end
end

local function caller()
  return gen_server.from()[1]
end

-- What another node could not be told must not be promised.
local function unfit(self, key, value)
  if not self.net then return nil end
  local ok, why = pcall(actor.pack, { key = key, value = value })
  return not ok and { "bad", why } or nil
end

function Server.call:register(key, value)
  local answer = elsewhere(self, key) or unfit(self, key, value)
  if answer then return answer end
  local pid = caller()
  if not is_living(pid) then return { "ok" } end
  if self.unique then
    local holder = living(self, key)[1]
    if holder then return { "already_registered", holder.pid } end
    if self.net then
      self.net:claim(gen_server.from(), pid, key, value)
      return gen_server.noreply
    end
  end
  if self.net then
    self.net:put(add(self, pid, key, value, self.net:new_id(), os.time()))
  else
    add(self, pid, key, value)
  end
  return { "ok" }
end

function Server.call:unregister(key)
  local moved = elsewhere(self, key)
  if moved then return moved end
  local bag, at = self.pids[caller()], index.index(key)
  local gone = {}
  for _, entry in ipairs(bag and bag:list() or {}) do
    if entry.index == at and not entry.peer then gone[#gone + 1] = entry end
  end
  drop_all(self, gone)
end

function Server.call:lookup(key)
  local moved = elsewhere(self, key)
  if moved then return moved end
  local list = living(self, key)
  for i, entry in ipairs(list) do list[i] = { entry.pid, entry.value } end
  return list
end

function Server.call:whereis(key)
  if not self.unique then return "not unique" end
  local moved = elsewhere(self, key)
  if moved then return moved end
  local entry = living(self, key)[1]
  return entry and entry.pid
end

function Server.call:keys(pid)
  local list = {}
  if self.pids[pid] and is_living(pid) then
    for _, entry in self.pids[pid]:each() do list[#list + 1] = entry.key end
  end
  for _, more in ipairs(others(self, { "keys", pid })) do append(list, more) end
  return list
end

-- The caller's own entry under a key: { value }.
function Server.call:own(key)
  if not self.unique then return "not unique" end
  local moved = elsewhere(self, key)
  if moved then return moved end
  local entry = living(self, key)[1]
  return entry and not entry.peer and entry.pid == caller() and { entry.value } or nil
end

function Server.call:set(key, value)
  local answer = elsewhere(self, key) or unfit(self, key, value)
  if answer then return answer end
  local entry = living(self, key)[1]
  if not entry or entry.peer or entry.pid ~= caller() then return end
  entry.value = value
  if self.net then self.net:put(entry) end
end

function Server.call:count()
  for pid in pairs(self.pids) do
    if not is_living(pid) then forget_pid(self, pid) end
  end
  local count = self.count
  for _, more in ipairs(others(self, { "count" })) do count = count + more end
  return count
end

function Server.call:all()
  local list = {}
  for pid, bag in pairs(self.pids) do
    if is_living(pid) then
      for _, entry in bag:each() do
        list[#list + 1] = { entry.key, entry.pid, entry.value }
      end
    end
  end
  for _, more in ipairs(others(self, { "all" })) do append(list, more) end
  return list
end

function Server:handle_info(message)
  if type(message) ~= "table" then return end
  if message[1] == "DOWN" then
    if self.net and self.net:down(message[2]) then return end
    forget_pid(self, message[4])
  elseif self.net then
    self.net:handle(message)
  end
end

-- What luactor.sys shows; of the rest there may be very much.
function Server:format_status()
  return { unique = self.unique, entries = self.count, partitions = self.parts and #self.parts or 1,
    peers = self.net and self.net:count_peers() }
end

-- The links do not take the partitions along when the reason is "normal".
function Server:terminate()
  for i = 2, self.parts and #self.parts or 0 do
    actor.unlink(self.parts[i])
    actor.exit(self.parts[i], "shutdown")
  end
end

------------------------------------------------------------------- the clients

---@class luactor.Registry  its methods are the functions of the module
---@field pid luactor.Pid
---@field name string?
local Registry = { __name = "luactor.Registry" }
Registry.__index = Registry

function Registry:__tostring()
  return ("registry %s"):format(self.name or tostring(self.pid))
end

function Registry:__transfer()
  return "luactor.registry", self.pid, self.name
end

---A registry that came in a message.
---@private
function M.receive(pid, name)
  return setmetatable({ pid = pid, name = name }, Registry)
end

local function shown(value)
  if type(value) == "string" then return ("'%s'"):format(value) end
  return type(value) == "table" and "table" or tostring(value)
end

local function dest(reg, name)
  if type(reg) == "table" and reg.pid then return reg.pid end
  if type(reg) == "string" or type(reg) == "userdata" then return reg end
  if type(reg) == "table" and type(reg[1]) == "string" and type(reg[2]) == "string" then return reg end
  error(("bad argument #1 to 'luactor.registry.%s' (registry, pid or name expected, got %s)")
    :format(name, shown(reg)), 3)
end

local function check_key(key, name)
  index.check(key, 2, "luactor.registry." .. name, 3)
end

local function check_function(f, n, name)
  if type(f) ~= "function" then
    error(("bad argument #%d to 'luactor.registry.%s' (function expected, got %s)")
      :format(n, name, shown(f)), 3)
  end
end

-- pid of a registry -> its partitions, as far as this process has met them.
local known = {}

-- A call about one key, to the partition that has it.
local function ask(to, key, request)
  local pid = type(to) == "string" and next(known) and actor.whereis(to) or to
  local parts = known[pid]
  local answer = actor.call(parts and parts[slot(key, #parts)] or to, request)
  if type(answer) ~= "table" then return answer end
  parts = answer["$moved"]
  if not parts then return answer end
  known[parts[1]] = parts
  return actor.call(parts[slot(key, #parts)], request)
end

local OPTIONS <const> = { name = true, keys = true, partitions = true, scope = true, conflict = true,
  resolve = true }

local function bad_option(name, expected, value, level)
  error(("luactor.registry: bad option '%s' (%s expected, got %s)"):format(name, expected, shown(value)),
    level + 1)
end

-- What concerns other nodes: nil for a registry of this host alone.
local function cluster_options(opts, level)
  level = level + 1
  local scope = opts.scope
  if scope == nil or scope == "local" then
    for _, name in ipairs { "conflict", "resolve" } do
      if opts[name] ~= nil then
        error(("luactor.registry: option '%s' goes with scope = 'cluster'"):format(name), level)
      end
    end
    return nil
  end
  if scope ~= "cluster" then bad_option("scope", "'local' or 'cluster'", scope, level) end
  if opts.name == nil then bad_option("name", "string, with scope = 'cluster',", nil, level) end
  if opts.partitions ~= nil and opts.partitions ~= 1 then
    bad_option("partitions", "1, with scope = 'cluster',", opts.partitions, level)
  end
  local conflict = opts.conflict
  if conflict ~= nil and conflict ~= "exit" and conflict ~= "message" then
    bad_option("conflict", "'exit' or 'message'", conflict, level)
  end
  if opts.resolve ~= nil and type(opts.resolve) ~= "function" then
    bad_option("resolve", "function", opts.resolve, level)
  end
  return { name = opts.name, conflict = conflict, resolve = opts.resolve }
end

local function start(opts, link, level)
  if type(opts) ~= "table" then
    error(("luactor.registry: table of options expected, got %s"):format(shown(opts)), level + 1)
  end
  for key, value in pairs(opts) do
    if not OPTIONS[key] then
      error(("luactor.registry: unknown option %s (value %s)"):format(shown(key), shown(value)),
        level + 1)
    end
  end
  if opts.name ~= nil and type(opts.name) ~= "string" then
    bad_option("name", "string", opts.name, level + 1)
  end
  local keys = opts.keys
  if keys == nil then keys = "unique" end
  if keys ~= "unique" and keys ~= "duplicate" then
    bad_option("keys", "'unique' or 'duplicate'", keys, level + 1)
  end
  local partitions = opts.partitions
  if partitions == nil then partitions = 1 end
  if math.type(partitions) ~= "integer" or partitions < 1 then
    bad_option("partitions", "positive integer", partitions, level + 1)
  end
  local server = gen_server.start_opt(Server, { name = opts.name, link = link }, keys == "unique",
    partitions, cluster_options(opts, level + 1))
  return M.receive(server.pid, opts.name)
end

---@class luactor.RegistryOptions
---@field name string?
---@field keys "unique"|"duplicate"|nil  one process for a key (default), or any number
---@field partitions integer?            processes that share the keys; default 1
---@field scope "local"|"cluster"|nil    "cluster": one with those of its name on connected nodes
---@field conflict "exit"|"message"|nil  what becomes of a process whose unique key another holds after a merge: it gets the exit
---signal (default) or the message { "name_conflict", key, winner }
---@field resolve (fun(key: any, a: luactor.RegistryClaim, b: luactor.RegistryClaim): luactor.Pid)?  which of the two holds the key
---then; called on both nodes, and must give the same pid on both. Default: `a`

---@class luactor.RegistryClaim  `a` was made before `b`, or in the same second on the node with the lower name
---@field pid luactor.Pid
---@field value any
---@field node string
---@field time integer           seconds, by that node's clock

---Start a registry that is linked to the caller. Raises a luactor.StartError when the name is taken.
---@param opts luactor.RegistryOptions
---@return luactor.Registry
function M.start_link(opts)
  return start(opts, true, 2)
end

---As start_link, without the link.
---@param opts luactor.RegistryOptions
---@return luactor.Registry
function M.start(opts)
  return start(opts, false, 2)
end

-- { "bad", why }: it cannot travel to other nodes.
local function raise_unfit(answer, name)
  if type(answer) ~= "table" or answer[1] ~= "bad" then return end
  error(("luactor.registry.%s: %s"):format(name, answer[2]:gsub("^[^\n]-:%d+: ", "")), 3)
end

---Put the calling process under `key`, with a value, until it ends or unregisters. Where keys are unique and another entry holds
---the key: nil and { "already_registered", pid }. In a cluster also nil and { "timeout", node }: the node that decides does not answer.
---@param reg luactor.Registry|luactor.Dest
---@param key any    a string, number, boolean, pid, ref, or a table of such, compared by value
---@param value any  must be able to travel
---@return true?, table?
function M.register(reg, key, value)
  local to = dest(reg, "register")
  check_key(key, "register")
  local answer = ask(to, key, { "register", key, value })
  if answer[1] == "ok" then return true end
  raise_unfit(answer, "register")
  return nil, answer
end

---Take the entries of the calling process under `key` away.
---@param reg luactor.Registry|luactor.Dest
---@param key any
---@return true
function M.unregister(reg, key)
  local to = dest(reg, "unregister")
  check_key(key, "unregister")
  ask(to, key, { "unregister", key })
  return true
end

---The entries under `key`: a list of { pid, value }, oldest first.
---@param reg luactor.Registry|luactor.Dest
---@param key any
---@return { [1]: luactor.Pid, [2]: any }[]
function M.lookup(reg, key)
  local to = dest(reg, "lookup")
  check_key(key, "lookup")
  return ask(to, key, { "lookup", key })
end

---The keys of a process, in the order of registration; one that it holds twice is there twice.
---@param reg luactor.Registry|luactor.Dest
---@param pid luactor.Pid?  default: the caller
---@return any[]
function M.keys(reg, pid)
  return actor.call(dest(reg, "keys"), { "keys", pid == nil and actor.self() or pid })
end

---How many entries there are, in all or under a key.
---@param reg luactor.Registry|luactor.Dest
---@param key any?
---@return integer
function M.count(reg, key)
  local to = dest(reg, "count")
  if key == nil then return actor.call(to, { "count" }) end
  check_key(key, "count")
  return #ask(to, key, { "lookup", key })
end

local function raise_not_unique(reg, name)
  error(("luactor.registry.%s: the keys of registry %s are not unique"):format(name,
    shown(type(reg) == "table" and (reg.name or tostring(reg.pid)) or reg)), 3)
end

---Put `f(value)` in the place of the value that the calling process has under a unique key. `f` runs in the caller. Returns the new
---and the old value; nil, "not_registered" when the key is not the caller's.
---@param reg luactor.Registry|luactor.Dest
---@param key any
---@param f fun(value: any): any
---@return any new, any old
function M.update_value(reg, key, f)
  local to = dest(reg, "update_value")
  check_key(key, "update_value")
  check_function(f, 3, "update_value")
  -- No other process can change the entry between the two calls.
  local own = ask(to, key, { "own", key })
  if own == "not unique" then raise_not_unique(reg, "update_value") end
  if not own then return nil, "not_registered" end
  local new = f(own[1])
  raise_unfit(ask(to, key, { "set", key, new }), "update_value")
  return new, own[1]
end

---Call `f` with the entries under `key`, as lookup gives them, unless there are none. `f` runs in the caller.
---@param reg luactor.Registry|luactor.Dest
---@param key any
---@param f fun(entries: table[])
---@return boolean called
function M.dispatch(reg, key, f)
  local to = dest(reg, "dispatch")
  check_key(key, "dispatch")
  check_function(f, 3, "dispatch")
  local entries = ask(to, key, { "lookup", key })
  if #entries == 0 then return false end
  f(entries)
  return true
end

-- A test of values by a receive pattern: they pass through a mailbox of this process.
local function matcher(pattern, guard)
  local box = actor.mailbox()
  local function yes() return true end
  local function no() return false end
  local clause = guard == nil and box:on(pattern, yes) or box:on(pattern, guard, yes)
  local serve = actor.receiver(clause, box:on(actor._, no))
  return function(value)
    actor.send(box, value)
    return serve()
  end, box
end

-- The entries whose part, as `part` gives it, the pattern matches.
local function filter(entries, part, pattern, guard)
  local matches, box = matcher(pattern, guard)
  local list = {}
  for _, entry in ipairs(entries) do
    if matches(part(entry)) then list[#list + 1] = entry end
  end
  box:close()
  return list
end

---The entries under `key` whose value a receive pattern (and guard) matches, as lookup gives them.
---@param reg luactor.Registry|luactor.Dest
---@param key any
---@param pattern any
---@param guard string|function|nil
---@return { [1]: luactor.Pid, [2]: any }[]
function M.match(reg, key, pattern, guard)
  local to = dest(reg, "match")
  check_key(key, "match")
  return filter(ask(to, key, { "lookup", key }), function(entry) return entry[2] end,
    pattern, guard)
end

---All entries { key, pid, value } that a receive pattern (and guard) matches.
---@param reg luactor.Registry|luactor.Dest
---@param pattern any
---@param guard string|function|nil
---@return { [1]: any, [2]: luactor.Pid, [3]: any }[]
function M.select(reg, pattern, guard)
  return filter(actor.call(dest(reg, "select"), { "all" }), function(entry) return entry end,
    pattern, guard)
end

---A name for start_opt of a behaviour: the process is registered under `key` before its init runs, and does not start when the
---key is taken.
---@param reg luactor.Registry|luactor.Dest
---@param key any
---@return table
function M.via(reg, key)
  dest(reg, "via")
  check_key(key, "via")
  return { "via", reg, key }
end

---The process under a unique key, or nil.
---@param reg luactor.Registry|luactor.Dest
---@param key any
---@return luactor.Pid?
function M.whereis(reg, key)
  local to = dest(reg, "whereis")
  check_key(key, "whereis")
  local pid = ask(to, key, { "whereis", key })
  if pid == "not unique" then raise_not_unique(reg, "whereis") end
  return pid
end

local function must_find(reg, key, name)
  local pid = M.whereis(reg, key)
  if pid then return pid end
  error(("luactor.registry.%s: nobody is registered under %s"):format(name, shown(key)), 3)
end

---Send to the process under a unique key. Raises when there is none.
---@param reg luactor.Registry|luactor.Dest
---@param key any
---@param msg any
function M.send(reg, key, msg)
  return actor.send(must_find(reg, key, "send"), msg)
end

---Call the process under a unique key. Raises when there is none, and as actor.call does.
---@param reg luactor.Registry|luactor.Dest
---@param key any
---@param request any
---@param ms number?
---@return any
function M.call(reg, key, request, ms)
  return actor.call(must_find(reg, key, "call"), request, ms)
end

---Cast to the process under a unique key. Raises when there is none.
---@param reg luactor.Registry|luactor.Dest
---@param key any
---@param msg any
function M.cast(reg, key, msg)
  return actor.cast(must_find(reg, key, "cast"), msg)
end

for _, name in ipairs { "register", "unregister", "lookup", "keys", "count", "update_value",
    "dispatch", "match", "select", "via", "whereis", "send", "call", "cast" } do
  Registry[name] = M[name]
end

return M

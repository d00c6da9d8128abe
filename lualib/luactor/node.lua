-- Nodes: hosts that talk to one another, and to Erlang and Elixir, over the network.
--
--   local node = require "luactor.node"
--   node.start{ name = "a@127.0.0.1", cookie = "secret", listen = 9001 }
--   node.connect "b@127.0.0.1"
--   actor.send({ "logger", "b@127.0.0.1" }, "hello")
--
-- Nodes speak the Erlang distribution protocol. Without node.start nothing listens.

local actor = require "luactor"
local core = require "luactor._node"
local discover = require "luactor._discover"

local M = {}

local KNOWN <const> = {
  name = "string", cookie = "string", cookie_file = "string", listen = "number", address = "string",
  tls = "table", epmd = "boolean", hidden = "boolean", insecure = "boolean", nodes = "table",
  ticktime = "number", max_message = "number",
  exports = "table", names = "table", discover = "table",
}

local function bad(field, expected, value)
  error(("node.start: bad field '%s' (%s expected, got %s)"):format(field, expected,
    type(value) == "string" and ("'%s'"):format(value) or tostring(value)), 3)
end

-- A cookie file must be the owner's alone.
local function read_cookie(path)
  local text, why = core.read_secret(path)
  if not text then error("node.start: cookie_file: " .. why, 3) end
  local cookie = text:match "^%s*(%S+)%s*$"
  if not cookie then error(("node.start: cookie_file: %s holds no cookie"):format(path), 3) end
  return cookie
end

-- "module" or "module.function".
local function check_export(func, word, level)
  if type(word) ~= "string" or not word:find "^[^.%z]+[^%z]*$" or word:find "%.$" then
    error(("node.%s: 'module' or 'module.function' expected, got %s"):format(func,
      type(word) == "string" and ("'%s'"):format(word) or type(word)), level + 1)
  end
  return word
end

local function check_exports(func, list)
  for k, word in pairs(list) do
    if math.type(k) ~= "integer" then
      error(("node.%s: exports: unknown field '%s'"):format(func, tostring(k)), 3)
    end
    check_export(func, word, 3)
  end
  return list
end

-- The rules as { peer, name } pairs; peer "" is all others.
local function check_names(names)
  local rules = {}
  local function rule(peer, list)
    if list == true then
      rules[#rules + 1] = { peer, true }
      return
    end
    if type(list) ~= "table" then
      error(("node.start: names: bad value of '%s' (list of names or true expected)"):format(peer), 4)
    end
    rules[#rules + 1] = { peer }
    for _, name in ipairs(list) do
      if type(name) ~= "string" then error("node.start: names: a name is a string", 4) end
      rules[#rules + 1] = { peer, name }
    end
  end
  rule("", names)
  for peer, list in pairs(names) do
    if type(peer) == "string" then rule(peer, list) end
  end
  return rules
end

local function obey_names(rules)
  core.names()
  for _, rule in ipairs(rules or {}) do core.names(table.unpack(rule)) end
end

local function obey_exports(exports)
  if not exports then return end
  core.forget_exports()
  core.export()
  for _, word in ipairs(exports) do core.export(word) end
end

---Become a node. Suspends until it is decided.
---  name      name@host
---  cookie    the secret that all nodes share; or cookie_file, a file that holds it
---  listen    port to listen on; 0: any; nil: connect only
---  address   to listen on (127.0.0.1); another one needs tls, or insecure = true
---  tls       { cert =, key =, ca = }: PEM files
---  epmd      find nodes through, and register at, the port mapper (true)
---  hidden    as Erlang's -hidden (true)
---  ticktime  seconds of silence after which a connection is given up, about (60); the same on all
---            nodes, as Erlang's net_ticktime
---  exports   { "module.function", "module", ... }: what other nodes may run; see M.export
---  names     { "name", ..., ["peer@host"] = { "name", ... } or true }: the registered names that
---            other nodes reach; all when it is not given
---  discover  { nodes = { "b@host" }, hosts = { "host" }, match = "^app", dns = "app.internal", name = "app",
---            every = 5, resolve = function(dns) return { "10.0.0.1" } end }: nodes to connect to, and to
---            try again every so many seconds: by name, by the port mappers of hosts, by addresses
---  nodes     { ["name@host"] = "address:port", ... } for nodes that no mapper knows
---  max_message  bytes; a longer message from a peer is dropped, with a line in the log (64 MiB)
---Raises when it cannot be.
---@param opts table
---@return true
function M.start(opts)
  if type(opts) ~= "table" then
    error(("bad argument #1 to 'start' (table expected, got %s)"):format(type(opts)), 2)
  end
  for field, value in pairs(opts) do
    local kind = KNOWN[field]
    if not kind then error(("node.start: unknown field '%s'"):format(tostring(field)), 2) end
    if type(value) ~= kind then bad(field, kind, value) end
  end
  if not opts.name then bad("name", "string", nil) end
  local listen = opts.listen
  if listen and (math.type(listen) ~= "integer" or listen < 0 or listen > 65535) then
    bad("listen", "port from 0 to 65535", listen)
  end
  local ticktime = opts.ticktime
  if ticktime and not (ticktime >= 0.4 and ticktime <= 86400) then
    bad("ticktime", "seconds from 0.4 to 86400", ticktime)
  end
  local max = opts.max_message
  if max and (math.type(max) ~= "integer" or max < 65536 or max > 1 << 30) then
    bad("max_message", "bytes from 65536 to 1073741824", max)
  end
  local tls = opts.tls or {}
  for field, value in pairs(tls) do
    if field ~= "cert" and field ~= "key" and field ~= "ca" then
      error(("node.start: unknown field 'tls.%s'"):format(tostring(field)), 2)
    end
    if type(value) ~= "string" then bad("tls." .. field, "string", value) end
  end
  local wrong = opts.discover and discover.check(opts.discover)
  if wrong then error("node.start: " .. wrong, 2) end
  local exports = opts.exports and check_exports("start", opts.exports)
  local names = opts.names and check_names(opts.names)
  local cookie = opts.cookie or opts.cookie_file and read_cookie(opts.cookie_file)
  if core.name() then error("node.start: this host is a node already: " .. core.name(), 2) end
  obey_exports(exports)
  obey_names(names)
  local ok, why = core.start(opts.name, cookie, opts.address, listen, opts.epmd ~= false,
    opts.hidden ~= false, opts.insecure == true, tls.cert, tls.key, tls.ca,
    ticktime and math.ceil(ticktime * 1000), max)
  if not ok then
    core.stop()
    error("node.start: " .. why, 2)
  end
  for name, place in pairs(opts.nodes or {}) do M.place(name, place) end
  M.serve()
  if opts.discover then
    actor.spawn_opt({ name = "luactor.discover", label = "discover" }, "luactor._discover.run",
      opts.discover)
  end
  return true
end

---Start what other nodes expect of one. Not for programs.
function M.serve()
  for _, name in ipairs { "net_kernel", "rex" } do
    if not actor.whereis(name) then
      actor.spawn_opt({ name = name, label = name }, "luactor._services." .. name)
    end
  end
  core.leader(actor.spawn_opt({ label = "group_leader" }, "luactor._services.leader"))
end

---Leave: whatever goes over a connection ends with "noconnection".
function M.stop()
  local pids = { core.leader() }
  for _, name in ipairs { "net_kernel", "rex", "luactor.discover" } do
    pids[#pids + 1] = actor.whereis(name)
  end
  core.stop()
  for _, pid in ipairs(pids) do actor.exit(pid, "kill") end
end

---Let other nodes run functions here, by spawn_opt{ node = } and luactor.rpc, and by spawn and rpc of
---Erlang. Until the first export, luactor nodes may run functions of the application's own modules (Lua
---files beside the program or where LUA_PATH says), and Erlang nodes nothing; from then on all nodes what is
---exported, and nothing else. May be called before node.start.
---@param what string|string[]  "module.function", "module" for all of its functions, or a list of such; {} for nothing
---@return true
function M.export(what)
  if type(what) == "table" then
    check_exports("export", what)
    core.export()
    for _, word in ipairs(what) do core.export(word) end
  else
    core.export(check_export("export", what, 2))
  end
  return true
end

---What has been exported; nil before the first export.
---@return string[]?
function M.exports()
  return core.exports()
end

---The name of this node; "nonode@nohost" before node.start.
---@return string
function M.name()
  return core.name() or "nonode@nohost"
end

---The port it listens on, or nil.
---@return integer?
function M.port()
  return core.port()
end

---Connect. Suspends. (A message, link or monitor does so by itself.)
---@param name string
---@return true?, string?  nil and why not
function M.connect(name)
  return core.connect(name)
end

---@param name string
---@return boolean  whether there was a connection
function M.disconnect(name)
  return core.disconnect(name)
end

---The connected nodes.
---@return string[]
function M.list()
  return core.list()
end

---Ask for { "nodeup", name } and { "nodedown", name }, or no more. Asking twice gives each twice.
---@param name string
---@param on boolean
function M.monitor(name, on)
  core.watch(name, on)
  return true
end

---Ask for { "nodeup", name } and { "nodedown", name } of all nodes, or no more. May be asked before node.start.
---@param on boolean
function M.monitor_nodes(on)
  core.watch("", on)
  return true
end

---Where a node listens, for those that no port mapper knows: "address:port"; nil forgets it.
---@param name string
---@param place string?
function M.place(name, place)
  if place == nil then return core.place(name) end
  local address, port = tostring(place):match "^(.+):(%d+)$"
  if not address then
    error(("bad argument #2 to 'place' (address:port expected, got '%s')"):format(tostring(place)), 2)
  end
  core.place(name, address, tonumber(port))
end

---The names of the nodes that the port mapper of a host knows. Suspends.
---@param host string
---@return string[]?, string?  nil and why not
function M.names(host)
  if type(host) ~= "string" then
    error(("bad argument #1 to 'names' (string expected, got %s)"):format(type(host)), 2)
  end
  return discover.names(host)
end

---The node of a pid, alias or reference.
---@return string
function M.of(pid)
  return core.of(pid)
end

---@param name string
---@return "pong"|"pang"
function M.ping(name)
  if name == M.name() then return "pong" end
  local ok = core.connect(name)
  if not ok then return "pang" end
  local answered, reply = actor.try_call({ "net_kernel", name },
    actor.tuple { actor.atom "is_auth", actor.atom(M.name()) }, 5000)
  return answered and tostring(reply) == "yes" and "pong" or "pang"
end

return M

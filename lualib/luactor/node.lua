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

local M = {}

local KNOWN <const> = {
  name = "string", cookie = "string", cookie_file = "string", listen = "number", address = "string",
  tls = "table", epmd = "boolean", hidden = "boolean", insecure = "boolean", nodes = "table",
  ticktime = "number",
}

local function bad(field, expected, value)
  error(("node.start: bad field '%s' (%s expected, got %s)"):format(field, expected,
    type(value) == "string" and ("'%s'"):format(value) or tostring(value)), 3)
end

-- A cookie file must be the owner's alone.
local function read_cookie(path)
  local file, why = io.open(path)
  if not file then error("node.start: cookie_file: " .. why, 3) end
  local text = file:read "a"
  file:close()
  local cookie = text:match "^%s*(%S+)%s*$"
  if not cookie then error(("node.start: cookie_file: %s holds no cookie"):format(path), 3) end
  return cookie
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
---  nodes     { ["name@host"] = "address:port", ... } for nodes that no mapper knows
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
  local tls = opts.tls or {}
  for field, value in pairs(tls) do
    if field ~= "cert" and field ~= "key" and field ~= "ca" then
      error(("node.start: unknown field 'tls.%s'"):format(tostring(field)), 2)
    end
    if type(value) ~= "string" then bad("tls." .. field, "string", value) end
  end
  local cookie = opts.cookie or opts.cookie_file and read_cookie(opts.cookie_file)
  local ok, why = core.start(opts.name, cookie, opts.address, listen, opts.epmd ~= false,
    opts.hidden ~= false, opts.insecure == true, tls.cert, tls.key, tls.ca,
    ticktime and math.ceil(ticktime * 1000))
  if not ok then
    core.stop()
    error("node.start: " .. why, 2)
  end
  for name, place in pairs(opts.nodes or {}) do M.place(name, place) end
  M.serve()
  return true
end

-- net_kernel answers net_adm:ping, as every node must.
local function net_kernel()
  local V, on = actor.var, actor.on
  local serve = actor.receiver(
    on({ "$gen_call", V.from, { "is_auth", V._ } }, function(from)
      actor.reply(from, require "luactor".atom "yes")
    end),
    on({ "$gen_call", V.from, V.request }, function(from, request)
      actor.reply(from, actor.tuple { actor.atom "badcall", request })
    end),
    on(actor._, function() end))
  while true do serve() end
end

---Start what other nodes expect of one. Not for programs.
function M.serve()
  if actor.whereis "net_kernel" then return end
  actor.spawn_opt({ name = "net_kernel", label = "net_kernel" }, "luactor.node._net_kernel")
end
M._net_kernel = net_kernel

---Leave: whatever goes over a connection ends with "noconnection".
function M.stop()
  local pid = actor.whereis "net_kernel"
  if pid then actor.exit(pid, "kill") end
  core.stop()
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

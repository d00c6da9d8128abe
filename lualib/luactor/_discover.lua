-- Finding other nodes: the field `discover` of node.start. A process goes round: it makes a list of
-- candidates, connects to those that are not connected, and waits. What it finds is never forgotten
-- by it: a node that goes away is tried again in the next round.
--
--   nodes   names                      as they are
--   hosts   hosts with a port mapper   the names that it knows and `match` fits
--   dns     a name with addresses      name@address for each of them

local actor = require "luactor"
local core = require "luactor._node"
local log = require "luactor.log"

local V = actor.var
local M = {}

local KNOWN <const> = {
  nodes = "list of names", hosts = "list of hosts", match = "pattern", dns = "host name",
  name = "name", every = "seconds above 0", resolve = "function",
}

local function is_list(value)
  if type(value) ~= "table" then return false end
  local n = 0
  for _ in pairs(value) do n = n + 1 end
  for i = 1, n do
    if type(value[i]) ~= "string" then return false end
  end
  return true
end

local function is_name(text) return text:find "^[^@%s]+@[^@%s]+$" ~= nil end

local CHECKS <const> = {
  nodes = function(v)
    if not is_list(v) then return false end
    for _, name in ipairs(v) do
      if not is_name(name) then return false end
    end
    return true
  end,
  hosts = is_list,
  match = function(v) return type(v) == "string" and (pcall(string.find, "", v)) end,
  dns = function(v) return type(v) == "string" and v ~= "" end,
  name = function(v) return type(v) == "string" and v:find "^[^@%s]+$" ~= nil end,
  every = function(v) return type(v) == "number" and v > 0 and v < 1e6 end,
  resolve = function(v) return type(v) == "function" end,
}

---What is wrong with the options; nil: nothing.
---@param opts table
---@return string?
function M.check(opts)
  for field, value in pairs(opts) do
    local expected = KNOWN[field]
    if not expected then return ("unknown field 'discover.%s'"):format(tostring(field)) end
    if not CHECKS[field](value) then
      return ("bad field 'discover.%s' (%s expected, got %s)"):format(field, expected,
        type(value) == "string" and ("'%s'"):format(value) or
        type(value) == "table" and "another table" or tostring(value))
    end
  end
  if not (opts.nodes or opts.hosts or opts.dns) then
    return "bad field 'discover' (one of nodes, hosts and dns expected)"
  end
end

---The addresses of a host name; blocks its thread.
---@param host string
---@return string[]?, string?
function M.lookup(host)
  local text, why = core.resolve(host)
  if not text then return nil, why end
  local list, seen = {}, {}
  for address in text:gmatch "%S+" do
    if not seen[address] then list[#list + 1] = address end
    seen[address] = true
  end
  return list
end

---The names that the port mapper of a host knows.
---@param host string
---@return string[]?, string?
function M.names(host)
  local text, why = core.mapped(host)
  if not text then return nil, why end
  local list = {}
  for name in text:gmatch "name (%S+) at port %d+\n" do list[#list + 1] = name .. "@" .. host end
  return list
end

-- Each trouble is told once, and again when it was over meanwhile.
local function tell(told, what, why)
  if why and told[what] ~= why then log.warn(("node: discover: %s: %s"):format(what, why)) end
  told[what] = why
end

-- Names to try, each once.
local function candidates(opts, told)
  local list, seen = {}, { [core.name() or ""] = true }
  local function add(name)
    if not seen[name] then list[#list + 1] = name end
    seen[name] = true
  end
  for _, name in ipairs(opts.nodes or {}) do add(name) end
  for _, host in ipairs(opts.hosts or {}) do
    local names, why = M.names(host)
    tell(told, host, why)
    for _, name in ipairs(names or {}) do
      if not opts.match or name:find(opts.match) then add(name) end
    end
  end
  if opts.dns then
    local ok, addresses, why
    if opts.resolve then
      ok, addresses, why = pcall(opts.resolve, opts.dns)
      if not ok then addresses, why = nil, tostring(addresses) end
    else
      addresses, why = actor.blocking("luactor._discover.lookup", opts.dns)
    end
    tell(told, opts.dns, not addresses and (why or "no address") or nil)
    local base = opts.name or (core.name() or ""):match "^[^@]*"
    for _, address in ipairs(addresses or {}) do add(base .. "@" .. address) end
  end
  return list
end

local function connect(name) core.connect(name) end

-- All at once: one that does not answer holds up nobody but the round.
local function round(opts, told)
  local connected, refs = {}, {}
  local list = candidates(opts, told)
  for _, name in ipairs(core.list()) do connected[name] = true end
  for _, name in ipairs(list) do
    if not connected[name] then
      local _, ref = actor.spawn_monitor(connect, name)
      refs[#refs + 1] = ref
    end
  end
  for _, ref in ipairs(refs) do actor.receive { "DOWN", ref, V._, V._, V._ } end
end

---The process of node.start.
function M.run(opts)
  local told = {}
  while core.name() do
    round(opts, told)
    actor.sleep((opts.every or 5) * 1000)
  end
end

return M

-- What luactor.registry and luactor.pg share: keys that are compared by value, and lists that
-- keep their order while anything may leave them. Not for programs.

local M = {}

---------------------------------------------------------------------------- keys

local MAX_DEPTH <const>, MAX_PARTS <const> = 20, 10000

local PLAIN <const> = { string = true, number = true, boolean = true, userdata = true }

-- The parts of a table key as text, in an order of their own.
local function flat(key, depth)
  if type(key) ~= "table" then
    return ("%s:%q"):format(math.type(key) or type(key),
      type(key) == "userdata" and tostring(key) or key)
  end
  local parts = {}
  for k, v in pairs(key) do
    parts[#parts + 1] = flat(k, depth + 1) .. "=" .. flat(v, depth + 1)
  end
  table.sort(parts)
  local meta = getmetatable(key) -- of a tuple, say
  return (meta and meta.__name or "") .. "{" .. table.concat(parts, ",") .. "}"
end

---What stands for a key in a table: the key itself, or for a table a text that equal tables have in common.
---@param key any  one that `check` has seen
---@return any
function M.index(key)
  return type(key) == "table" and "\0" .. flat(key, 0) or key
end

-- `left` counts the parts: a small table can hold another very many times.
local function flaw(key, depth, left)
  if depth > MAX_DEPTH then return "a table nested too deeply" end
  left[1] = left[1] - 1
  if left[1] < 0 then return "a table of too many parts" end
  if type(key) == "table" then
    for k, v in pairs(key) do
      local found = flaw(k, depth + 1, left) or flaw(v, depth + 1, left)
      if found then return found end
    end
    return nil
  end
  if key ~= key then return "NaN" end
  return not PLAIN[type(key)] and type(key) or nil
end

---May this be a key? For what has come from elsewhere.
---@return boolean
function M.is_key(key)
  return key ~= nil and not flaw(key, 0, { MAX_PARTS })
end

---Has a key no infinity in it? Erlang has none.
---@return boolean
function M.is_finite(key)
  if type(key) == "number" then return key - key == 0 end
  if type(key) == "table" then
    for k, v in pairs(key) do
      if not M.is_finite(k) or not M.is_finite(v) then return false end
    end
  end
  return true
end

---Raise unless `key` may be one: a string, number, boolean, pid, ref, or a table of such.
---@param key any
---@param n integer      which argument it is
---@param name string    of the function
---@param level integer  of the caller to blame
function M.check(key, n, name, level)
  local found = flaw(key, 0, { MAX_PARTS })
  if found then
    error(("bad argument #%d to '%s' (string, number, boolean, pid, ref or table of these expected, got %s)")
      :format(n, name, found), level + 1)
  end
end

---------------------------------------------------------------------------- bags

---A list of entries (tables), in the order in which they came. Entries leave in constant time: their place stays
---empty until half of all places are.
---@class luactor.Bag
---@field count integer       entries
---@field private at string   the field in which an entry knows its place
---@field private last integer
local Bag = {}
Bag.__index = Bag

---@param at string
---@return luactor.Bag
function M.bag(at)
  return setmetatable({ count = 0, at = at, last = 0 }, Bag)
end

function Bag:add(entry)
  self.last = self.last + 1
  self.count = self.count + 1
  self[self.last] = entry
  entry[self.at] = self.last
end

local function compact(bag)
  local n = 0
  for i = 1, bag.last do
    local entry = bag[i]
    bag[i] = nil
    if entry then
      n = n + 1
      bag[n] = entry
      entry[bag.at] = n
    end
  end
  bag.last = n
end

function Bag:remove(entry)
  self[entry[self.at]] = false
  self.count = self.count - 1
  if self.last > 2 * self.count + 8 then compact(self) end
end

-- The next entry behind place i.
local function step(bag, i)
  for at = i + 1, bag.last do
    if bag[at] then return at, bag[at] end
  end
end

---For the generic `for`: place, entry. The bag must not lose entries meanwhile.
function Bag:each()
  return step, self, 0
end

---The entries, as a list of their own.
---@return table[]
function Bag:list()
  local list = {}
  for _, entry in self:each() do list[#list + 1] = entry end
  return list
end

return M

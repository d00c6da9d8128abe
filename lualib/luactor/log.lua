-- Log lines of processes: one whole line for each event, on the host's log (standard error
-- for the `luactor` command).
--
--   local log = require "luactor.log"
--   log.info("listening on %s", port)
--
-- A process shows the events of its own level and above; the level is "info" at first.

local actor = require "luactor"
local core = require "luactor._core"

local M = {}

local NUMBERS <const> = { error = 1, warn = 2, info = 3, debug = 4 }
local level = NUMBERS.info

local function write(name, fmt, ...)
  local number = NUMBERS[name]
  if number > level then return end
  local text = select("#", ...) > 0 and fmt:format(...) or tostring(fmt)
  core.log(number, ("%s %s %s"):format(name, tostring(actor.self()), text))
end

---Set the level of this process: "error", "warn", "info" or "debug". Returns the old one.
---@param name string?
---@return string
function M.level(name)
  local old
  for k, n in pairs(NUMBERS) do
    if n == level then old = k end
  end
  if name ~= nil then
    if not NUMBERS[name] then
      error(("bad argument #1 to 'level' (unknown level '%s')"):format(tostring(name)), 2)
    end
    level = NUMBERS[name]
  end
  return old
end

for name in pairs(NUMBERS) do
  M[name] = function(fmt, ...) write(name, fmt, ...) end
end

return M

-- A directory of a spec's own, and shell scripts that run in it, "$L" being the command.
local actor = require "luactor"
local helper = require "spec.helper"

local Scratch = {}
Scratch.__index = Scratch

-- The path of the command must hold in other directories.
local function absolute(path)
  if path:sub(1, 1) == "/" or not path:find("/", 1, true) then return path end
  return os.getenv "PWD" .. "/" .. path
end

---A new directory.
local function open()
  local dir = os.tmpname()
  os.remove(dir)
  assert(os.execute("mkdir " .. dir))
  local self = setmetatable({ dir = dir }, Scratch)
  self:write("job.in", "")
  return self
end

function Scratch:close()
  os.execute("rm -rf " .. self.dir)
end

---@return string path
function Scratch:write(name, text)
  local path = self.dir .. "/" .. name
  local file <close> = assert(io.open(path, "w"))
  file:write(text)
  return path
end

function Scratch:slurp(name)
  local file <close> = assert(io.open(self.dir .. "/" .. name))
  return file:read "a"
end

---Run a shell script; its input is job.in.
---@return string stdout, string stderr, integer status
function Scratch:sh(script, seconds)
  self:write("job.sh", script)
  local command = ("cd '%s' && L='%s' timeout -k 5 %d bash job.sh <job.in >job.out 2>job.err")
    :format(self.dir, absolute(helper.binary), seconds or 60)
  local _, how, status = actor.blocking(os.execute, command)
  if how == "signal" then status = 128 + status end
  return self:slurp "job.out", self:slurp "job.err", status
end

return { open = open }

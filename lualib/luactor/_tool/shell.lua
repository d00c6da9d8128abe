-- What the tools of the command need from the system's shell. Waiting for a program suspends
-- the caller only.

local actor = require "luactor"

local M = {}

---A word that the shell takes as it is.
function M.quote(word)
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

-- What travels to the thread that waits.
local function read(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read "a"
  local _, how, status = pipe:close()
  return text, how == "exit" and status or 128 + status
end

---Run a command line; returns its standard output and exit status.
---@return string output, integer status
function M.read(command)
  return actor.blocking(read, command)
end

---Run a command line on our own standard streams; returns its exit status.
---@return integer status
function M.run(command)
  io.stdout:flush()
  local _, how, status = actor.blocking(os.execute, command)
  return how == "exit" and status or 128 + status
end

---Is there a program of this name?
function M.has(program)
  local _, status = M.read("command -v " .. M.quote(program))
  return status == 0
end

---@return "file"|"dir"|nil
function M.kind(path)
  local word = M.quote(path)
  local text = M.read(("if [ -d %s ]; then echo dir; elif [ -e %s ]; then echo file; fi"):format(word, word))
  return text:match "%a+"
end

---Tell the user why nothing is done, and end the host with status 1.
function M.fail(tool, format, ...)
  io.stderr:write("luactor ", tool, ": ", format:format(...), "\n")
  os.exit(1)
end

return M

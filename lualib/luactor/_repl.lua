-- The lines of `luactor -i`, all run in the process that calls run().
--
--   > x = 6          a statement
--   > x * 7          an expression: its values are printed
--   42
--   > for i = 1, 2 do      what is not complete goes on in the next line
--   >> print(i) end
--
-- Works as the interactive mode of `lua`. Waiting for a line suspends only this process.

local core = require "luactor._core"

-- The lines may change every global; of those, only print is meant for us.
local debug, getmetatable, globals, io, load, pcall, select, tostring, type,
  xpcall = debug, getmetatable, _G, io, load, pcall, select, tostring, type,
  xpcall

local M = {}

local EOF_MARK = "<eof>"

local function prompt(name, default)
  local value = globals[name]
  return value == nil and default or tostring(value)
end

local function is_incomplete(message)
  return message:sub(-#EOF_MARK) == EOF_MARK
end

-- The next statement as a function. At the end of input nil; for a syntax
-- error false and the message.
local function read_chunk()
  local line = core.readline(prompt("_PROMPT", "> "))
  if not line then return nil end
  line = line:gsub("^=", "return ")
  local chunk = load("return " .. line, "=stdin", "t")
  if chunk then return chunk end
  local message
  chunk, message = load(line, "=stdin", "t")
  while not chunk and is_incomplete(message) do
    local more = core.readline(prompt("_PROMPT2", ">> "))
    if not more then break end
    line = line .. "\n" .. more
    chunk, message = load(line, "=stdin", "t")
  end
  return chunk or false, message
end

local function error_text(value)
  if type(value) == "string" or type(value) == "number" then
    return tostring(value), true
  end
  local meta = getmetatable(value)
  if type(meta) == "table" and meta.__tostring then return tostring(value) end
  return ("(error object is a %s value)"):format(type(value)), true
end

local function complain(text)
  io.stderr:write(text, "\n")
end

-- How many lines of a traceback belong to the loop that calls this, and to
-- what is below it.
local function lines_below()
  local _, newlines = debug.traceback("", 2):gsub("\n", "")
  return newlines - 1 -- that of "stack traceback:"
end

-- A handler for xpcall that leaves the last `hidden` lines out.
local function handler(hidden)
  return function(value)
    local text, wants_trace = error_text(value)
    if not wants_trace then return text end
    local trace = debug.traceback(text, 2)
    for _ = 1, hidden do trace = trace:gsub("\n[^\n]*$", "") end
    return trace .. "\n\t[C]: in ?"
  end
end

local function report(ok, ...)
  if not ok then return complain((...)) end
  if select("#", ...) == 0 then return end
  local printed, message = pcall(print, ...)
  if not printed then
    complain(("error calling 'print' (%s)"):format(tostring(message)))
  end
end

---Read, run and print until the end of input. Suspends while it waits for a line.
function M.run()
  local on_error = handler(lines_below() + 1) -- and xpcall's own line
  while true do
    local chunk, message = read_chunk()
    if chunk == nil then break end
    if chunk then
      report(xpcall(chunk, on_error))
    else
      complain(message)
    end
  end
  io.stdout:write("\n")
end

return M

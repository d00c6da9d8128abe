-- luactor new DIR: a project that runs, and whose test passes, at once.

local shell = require "luactor._tool.shell"

local M = {}

local HELP <const> = [[
usage: luactor new DIR
Make a project in DIR, which must be new or empty: app.lua (the program),
greeter.lua (a server), tree.lua (its supervisor), a spec, a README, and settings
for editors with the Lua language server. Then:
  cd DIR && luactor app.lua && luactor test
]]

local FILES <const> = {
  { "app.lua", [[
-- The program: starts the tree of processes and asks one of them.
--   luactor app.lua [name...]
local actor = require "luactor"
local greeter = require "greeter"
local tree = require "tree"

local sup = tree.start_link()

local names = #arg > 0 and arg or { "world" }
for _, name in ipairs(names) do
  print(greeter.Greeter:at("greeter"):greet(name))
end
print("greetings: " .. greeter.Greeter:at("greeter"):count())

-- A service would wait here instead: actor.receive()
actor.trap_exit(true)
actor.exit(sup.pid, "shutdown")
actor.receive { "EXIT", sup.pid, actor._ }
]] },
  { "greeter.lua", [[
-- A server: a process that owns its state and answers calls one by one.
local gen_server = require "luactor.gen_server"

local M = {}

local Greeter = gen_server.define "greeter"
M.Greeter = Greeter

function Greeter:init(word)
  self.word = word
  self.n = 0
end

-- Answered calls: server:greet("you")
function Greeter.call:greet(name)
  if name == "" then error "a name expected" end
  self.n = self.n + 1
  return self.word .. ", " .. name
end

function Greeter.call:count()
  return self.n
end

---For a supervisor: the server under the name "greeter", linked to the caller.
function M.start_link(word)
  return Greeter:start_opt({ name = "greeter", link = true }, word)
end

return M
]] },
  { "tree.lua", [[
-- The supervisor: starts the servers in order and starts again what crashes.
local supervisor = require "luactor.supervisor"

local M = {}

---Linked to the caller; a table with the field pid.
function M.start_link()
  return supervisor.start_link {
    strategy = "one_for_one",
    intensity = 3, -- restarts in
    period = 5000, -- so many ms; beyond that the tree ends
    children = {
      { id = "greeter", start = { "greeter.start_link", "hello" } },
    },
  }
end

return M
]] },
  { "spec/greeter_spec.lua", [[
-- Run by: luactor test
local actor = require "luactor"
local greeter = require "greeter"
local test = require "luactor.test"
local tree = require "tree"

describe("the greeter", function()
  it("greets and counts", function()
    local server = greeter.Greeter:start_link("hi")
    assert.equal("hi, you", server:greet("you"))
    assert.equal(1, server:count())
  end)

  it("is started again by its supervisor", function()
    local sup = tree.start_link()
    local pid = actor.whereis "greeter"
    test.logs(function() -- the crash is reported; not on our screen
      assert.has_error(function() greeter.Greeter:at("greeter"):greet("") end)
      test.wait(function()
        local new = actor.whereis "greeter"
        return new and new ~= pid
      end)
    end)
    assert.equal("hello, again", greeter.Greeter:at("greeter"):greet("again"))
    actor.unlink(sup.pid)
    actor.exit(sup.pid, "shutdown")
    test.reason(sup.pid)
  end)
end)
]] },
  { "README.md", [[
# @NAME@

    luactor app.lua one two     run the program
    luactor test                run the specs (needs lua-busted)
    luactor check               look for mistakes (better with luacheck)

- `app.lua`: the program, which is the first process
- `tree.lua`: the supervisor
- `greeter.lua`: a server
- `spec/`: tests
]] },
  { ".luarc.json", [[
{
  "runtime": { "version": "Lua 5.4" },
  "workspace": { "library": ["@STUBS@"], "checkThirdParty": false }
}
]] },
  { ".luacheckrc", [[
std = "lua54"
files["spec"] = { std = "+busted" }
]] },
}

-- Where the stubs for editors are, seen from the command: installed, in a rock, or in the tree that it
-- was built in.
local PLACES <const> = {
  "/../share/luactor/meta",
  "/../lib/luarocks/rocks-5.4/luactor/scm-1/share/luactor/meta",
  "/../../lualib/meta",
}

local function stubs()
  local exe = shell.read("readlink /proc/$PPID/exe"):match "[^\n]+" or ""
  local dir = exe:match "^(.*)/[^/]*$"
  for _, rest in ipairs(PLACES) do
    local found = dir and shell.read(("cd %s 2>/dev/null && pwd"):format(shell.quote(dir .. rest)))
    if found and found ~= "" then return (found:gsub("\n$", "")) end
  end
  return "/usr/share/luactor/meta"
end

local function json_text(text)
  return (text:gsub('[\\"]', "\\%0"))
end

local function write(path, text)
  local file, why = io.open(path, "w")
  if not file then shell.fail("new", "%s", why) end
  file:write(text)
  file:close()
end

local function check_target(dir)
  local kind = shell.kind(dir)
  if kind == "file" then shell.fail("new", "'%s' is there and is no directory", dir) end
  if kind == "dir" and shell.read("ls -A " .. shell.quote(dir)) ~= "" then
    shell.fail("new", "'%s' is not empty", dir)
  end
end

---@param ... string  words of the command line
function M.main(...)
  local dir, more = ...
  if dir == "--help" or dir == "-h" then
    io.write(HELP)
    return
  end
  if not dir or dir == "" or more or dir:find "^%-" then
    io.stderr:write(HELP)
    os.exit(1)
  end
  check_target(dir)
  if shell.run("mkdir -p " .. shell.quote(dir .. "/spec")) ~= 0 then os.exit(1) end
  local name = dir:match "([^/]+)/*$" or dir
  local marks = { NAME = name, STUBS = json_text(stubs()) }
  for _, file in ipairs(FILES) do
    write(dir .. "/" .. file[1], (file[2]:gsub("@(%u+)@", marks)))
  end
  print(("made %s; try: cd %s && luactor app.lua && luactor test"):format(dir, dir))
end

return M

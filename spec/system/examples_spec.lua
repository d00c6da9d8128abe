-- Every program of examples/ prints what examples/expected says.
local actor = require "luactor"
local helper = require "spec.helper"
local describe, it, assert = describe, it, assert
local _ENV = _G

local function slurp(path)
  local file = assert(io.open(path))
  local text = file:read "a"
  file:close()
  return text
end

local function names()
  local list = {}
  local pipe = assert(io.popen "ls examples/*.lua")
  for path in pipe:lines() do
    list[#list + 1] = path:match "([%w_]+)%.lua$"
  end
  pipe:close()
  return list
end

-- Its standard output and exit status.
local function run(name)
  local out = os.tmpname()
  local _, how, status = actor.blocking(os.execute,
    ("timeout -k 5 120 '%s' examples/%s.lua >%s 2>%s.err"):format(
      helper.binary, name, out, out))
  local text, errors = slurp(out), slurp(out .. ".err")
  os.remove(out)
  os.remove(out .. ".err")
  return text, how == "exit" and status or how, errors
end

describe("the example", function()
  for _, name in ipairs(names()) do
    it(name .. " prints what is expected", function()
      local out, status, errors = run(name)
      assert.equal(slurp("examples/expected/" .. name .. ".txt"), out)
      assert.equal(0, status, errors)
    end)
  end
end)

describe("the first steps", function()
  it("show programs that run one after the other", function()
    local text = slurp "docs/guide/first-steps.md"
    local programs = {}
    for program in text:gmatch "```lua\n(.-)```" do
      programs[#programs + 1] = program
    end
    local out, _, status = helper.cli { code = table.concat(programs) }
    assert.equal("hello from another process\n120\nerror\tno luck\n", out)
    assert.equal(0, status)
  end)
end)

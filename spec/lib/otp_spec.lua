-- The behaviours do what OTP's do: spec/otp holds the same scenarios for both,
-- and what they print must be equal.
local actor = require "luactor"
local helper = require "spec.helper"
local describe, it, assert, pending = describe, it, assert, pending
local setup = setup
local _ENV = _G

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "a"
  file:close()
  return text
end

local function command(text)
  local out = os.tmpname()
  local ok = actor.blocking(os.execute, text .. " >" .. out .. " 2>&1")
  local said = read(out)
  os.remove(out)
  return said, ok
end

-- name -> what was printed; and the names in order.
local function by_scenario(text)
  local found, names = {}, {}
  for name, lines in text:gmatch "== (%S+)\n(.-\nend [^\n]*\n)" do
    found[name] = lines
    names[#names + 1] = name
  end
  return found, names
end

local function erlang()
  local dir = command("mktemp -d"):gsub("%s", "")
  local said, ok = command(("erlc -o %s spec/otp/*.erl && cd %s && " ..
    "timeout 60 erl -noshell -s scenarios main"):format(dir, dir))
  command("rm -rf " .. dir)
  assert(ok, said)
  return by_scenario(said)
end

local function names_in(path)
  local names = {}
  for name in read(path):gmatch "scenario%((%l[%w_]*)%) %->" do
    names[#names + 1] = name
  end
  return names
end

describe("as in OTP:", function()
  local _, has_erl = command "(command -v erl && command -v erlc)"
  if not has_erl then
    pending "Erlang is not installed: the scenarios are not compared"
    return
  end
  local theirs, ours, said
  setup(function()
    theirs = erlang()
    said = helper.cli { options = { "spec/otp/scenarios.lua" } }
    ours = by_scenario(said)
  end)
  for _, name in ipairs(names_in "spec/otp/scenarios.erl") do
    it((name:gsub("_", " ")), function()
      assert(theirs[name], "it did not run on Erlang")
      assert.equal(theirs[name], ours[name], said)
    end)
  end
end)

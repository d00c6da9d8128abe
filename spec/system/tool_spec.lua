-- luactor test, new and check, as a user runs them in a directory of his own.
local scratch = require "spec.scratch"
local describe, it, assert = describe, it, assert
local setup, teardown = setup, teardown
local _ENV = _G

local here, dir -- the scratch directory of this run

local function write(name, text) here:write(name, text) end

---@return string stdout, integer status, string stderr
local function sh(script)
  local out, err, status = here:sh(script, 120)
  return out, status, err
end

-- Times vary.
local function steady(text)
  return (text:gsub("%(%d+ ms%)", "(N ms)"):gsub("%(%d+%.%d+ s%)", "(N s)"))
end

local function run_spec(text, options)
  write("one_spec.lua", text)
  local out, status, err = sh('"$L" test one_spec.lua ' .. (options or ""))
  return steady(out), status, err
end

setup(function()
  here = scratch.open()
  dir = here.dir
end)

teardown(function() here:close() end)

describe("luactor test", function()
  it("runs a spec and says what passed", function()
    local out, status, err = run_spec [[
      describe("sum", function()
        it("adds", function() assert.equal(2, 1 + 1) end)
        pending "subtracts"
      end)]]
    assert.equal("ok     one_spec.lua: 1 test, 1 pending (N ms)\npending sum subtracts\n"
      .. "1 passed, 0 failed, 1 pending in 1 file (N s)\n", out)
    assert.equal(0, status)
    assert.equal("", err)
  end)

  it("shows what failed, with its place, and ends with 1", function()
    local out, status = run_spec [[
it("is equal", function()
  assert.equal(1, 2)
end)
it("has no error", function() error "oops" end)]]
    assert.matches("FAILED is equal %(one_spec.lua:1%)\n  one_spec.lua:2: Expected", out)
    assert.matches("ERROR has no error %(one_spec.lua:4%)\n  one_spec.lua:4: oops\n", out)
    assert.matches("\n0 passed, 2 failed, 0 pending in 1 file", out)
    assert.equal(1, status)
  end)

  it("lets specs receive, and spawn functions without ado", function()
    local out = run_spec [[
      local actor = require "luactor"
      it("talks", function()
        local me = actor.self()
        actor.spawn(function()
          assert(type(describe) == "nil" and type(assert) == "function")
          me:send "hello"
        end)
        assert.equal("hello", actor.receive(nil, 5000))
      end)]]
    assert.matches("\n1 passed, 0 failed", out)
  end)

  it("goes on after a file that crashes, exits or hangs", function()
    sh "mkdir -p many"
    write("many/a_spec.lua", "it('exits', function() os.exit(0) end)")
    write("many/b_spec.lua", [[
      local actor = require "luactor"
      it('is killed', function() actor.exit(actor.self(), "kill") actor.receive() end)]])
    write("many/c_spec.lua", "it('hangs', function() while true do pcall(error) end end)")
    write("many/d_spec.lua", "this is not Lua")
    write("many/e_spec.lua", [[
      local actor = require "luactor"
      it('dies of its child', function()
        actor.spawn_link(function() error("child", 0) end)
        actor.receive()
      end)]])
    write("many/f_spec.lua", "it('is well', function() end)")
    write("many/helper.lua", "error 'no spec'")
    local out, status = sh '"$L" test --timeout 0.5 many'
    out = steady(out)
    assert.matches("CRASHED many/a_spec.lua\n  ended the program: os.exit%(0%)\n", out)
    assert.matches("CRASHED many/b_spec.lua\n  ended with the reason killed\n", out)
    assert.matches("CRASHED many/c_spec.lua\n  did not end within 0.5 s; it was at many/c_spec.lua:1\n", out)
    assert.matches("ERROR many/d_spec.lua\n  many/d_spec.lua:1: syntax error", out)
    assert.matches("CRASHED many/e_spec.lua\n  child\n", out)
    assert.matches("ok     many/f_spec.lua: 1 test %(N ms%)\n1 passed, 5 failed, 0 pending in 6 files", out)
    assert.equal(1, status)
  end)

  it("ends what a file leaves behind", function()
    sh "mkdir -p left"
    write("left/a_spec.lua", [[
      local actor = require "luactor"
      it("leaves", function()
        x = 1
        actor.register("left", actor.spawn(function() actor.receive() end))
      end)]])
    write("left/b_spec.lua", [[
      local actor = require "luactor"
      it("finds nothing", function()
        assert.is_nil(x)
        assert.is_nil(actor.whereis "left")
      end)]])
    assert.matches("\n2 passed, 0 failed", (sh '"$L" test left'))
  end)

  it("hands busted its options and reads .busted", function()
    sh "mkdir -p conf/tests"
    write("conf/.busted", 'return { _all = { ROOT = { "tests" }, pattern = "_check", lua = "/bin/false" } }')
    write("conf/tests/a_check.lua", "it('one #slow', function() end) it('two', function() end)")
    assert.matches("\n2 passed, 0 failed", (sh 'cd conf && "$L" test'))
    assert.matches("\n1 passed, 0 failed", (sh 'cd conf && "$L" test --exclude-tags=slow'))
    assert.matches("\n1 passed, 0 failed", (sh '"$L" test -C conf --filter two'))
    assert.equal("one #slow\ntwo\n", (sh '"$L" test -C conf --list'))
  end)

  it("shows what another output library writes, and its own line on stderr", function()
    local out, status, err = run_spec("it('one', function() end)", "-o TAP")
    assert.matches("^ok 1 %- one\n1%.%.1\n$", out)
    assert.matches("^1 passed, 0 failed, 0 pending in 1 file", err)
    assert.equal(0, status)
  end)

  it("stops at the first failing file when told so", function()
    sh "mkdir -p stop"
    write("stop/a_spec.lua", "it('fails', function() error 'x' end)")
    write("stop/b_spec.lua", "it('passes', function() end)")
    assert.matches("\n0 passed, 1 failed, 0 pending in 1 file ", (sh '"$L" test --no-keep-going stop'))
  end)

  it("says what is wrong with its words", function()
    local cases = {
      ["nowhere"] = "Cannot find file or directory: nowhere",
      ["--timeout x"] = "--timeout: a number of seconds expected, got 'x'",
      ["--wrong"] = "unknown/bad flag: --wrong; re-run with --help for usage.",
      ["--coverage"] = "--coverage: every file runs in a process of its own, which luacov does not follow",
    }
    for words, text in pairs(cases) do
      local _, status, err = sh('"$L" test ' .. words)
      assert.equal("luactor test: " .. text .. "\n", err)
      assert.equal(1, status)
    end
  end)

  it("has help of its own", function()
    local out, status = sh '"$L" test --help'
    assert.matches("^usage: luactor test .*%-%-timeout SECONDS.*%-%-filter=PATTERN", out)
    assert.equal(0, status)
  end)
end)

describe("luactor new", function()
  it("makes a project that runs, passes its test and is clean", function()
    local out, status, err = sh [[
      set -e
      "$L" new "my app" >/dev/null; cd "my app"
      "$L" app.lua one two; "$L" test; "$L" check; head -n 1 README.md]]
    assert.equal("", err)
    assert.equal(0, status)
    assert.matches("^hello, one\nhello, two\ngreetings: 2\n", out)
    assert.matches("\n2 passed, 0 failed, 0 pending in 1 file ", out)
    assert.matches("\n4 files checked, 0 with syntax errors\n", out)
    assert.matches("# my app\n$", out)
  end)

  it("names the stubs of this luactor in .luarc.json", function()
    local out = sh [["$L" new stubs >/dev/null; cat stubs/.luarc.json]]
    local stubs = assert(out:match '"workspace": { "library": %["([^"]+)"%]')
    assert.is_true((os.execute("test -e " .. stubs .. "/luactor.lua")))
  end)

  it("takes an empty directory, and refuses another", function()
    assert.equal(0, (select(2, sh 'mkdir empty && "$L" new empty')))
    local _, status, err = sh '"$L" new empty'
    assert.equal("luactor new: 'empty' is not empty\n", err)
    assert.equal(1, status)
    _, status, err = sh 'touch plain; "$L" new plain'
    assert.equal("luactor new: 'plain' is there and is no directory\n", err)
    assert.equal(1, status)
  end)

  it("shows its usage when there is no directory", function()
    local _, status, err = sh '"$L" new'
    assert.matches("^usage: luactor new DIR\n", err)
    assert.equal(1, status)
    assert.matches("^usage: luactor new DIR\n", (sh '"$L" new --help'))
  end)
end)

describe("luactor check", function()
  it("finds syntax errors in files and directories", function()
    sh "mkdir -p src/deep src/.hidden"
    write("src/good.lua", "#!/usr/bin/env luactor\nprint 'never run'\n")
    write("src/deep/bad.lua", "local x =\n")
    write("src/.hidden/bad.lua", "local x =\n")
    local out, status = sh '"$L" check src'
    assert.matches("src/deep/bad.lua:2: unexpected symbol near <eof>\n", out)
    assert.matches("2 files checked, 1 with syntax errors\n$", out)
    assert.equal(1, status)
  end)

  it("runs luacheck on what compiles, with its options", function()
    write("fake.lua", "x = 1\n")
    local out, status = sh [[
      mkdir -p bin; printf '#!/bin/sh\necho "luacheck $*"; exit 2\n' >bin/luacheck; chmod +x bin/luacheck
      PATH="$PWD/bin:$PATH" "$L" check fake.lua --std=lua54]]
    assert.equal("luacheck --std=lua54 -- fake.lua\n1 file checked, 0 with syntax errors\n", out)
    assert.equal(1, status)
  end)

  it("says so when luacheck is not installed", function()
    write("fine.lua", "local x <const> = 1 return x\n")
    local out, status = sh [[
      mkdir -p few; for p in sh find sort env; do ln -sf "$(command -v $p)" few/; done
      PATH="$PWD/few" "$L" check fine.lua]]
    assert.equal("luacheck is not installed: only the syntax was checked\n"
      .. "1 file checked, 0 with syntax errors\n", out)
    assert.equal(0, status)
  end)

  it("names what it cannot find", function()
    local _, status, err = sh '"$L" check nothing.lua'
    assert.equal("luactor check: cannot find 'nothing.lua'\n", err)
    assert.equal(1, status)
  end)
end)

describe("a script with the name of a tool", function()
  it("runs by its path, or behind --", function()
    write("test", "print('a script', ...)")
    assert.equal("a script\tx\n", (sh '"$L" ./test x'))
    assert.equal("a script\ty\n", (sh '"$L" -- test y'))
  end)
end)

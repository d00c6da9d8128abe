-- The `luactor` command as a user meets it: section by section what the
-- manual page promises. Every case runs a fresh command.
local scratch = require "spec.scratch"
local describe, it, assert = describe, it, assert
local setup, teardown = setup, teardown
local _ENV = _G

local here, dir -- the scratch directory of this run

local function write(name, text) return here:write(name, text) end
local function sh(script, seconds) return here:sh(script, seconds) end

---Run a command line of luactor.
local function luactor(line, input)
  write("job.in", input or "")
  return sh('exec "$L" ' .. line)
end

---Run a script named app.lua; `words` stand behind it, `options` before it.
local function app(code, words, options)
  write("app.lua", code)
  return luactor((options or "") .. " app.lua " .. (words or ""))
end

setup(function()
  here = scratch.open()
  dir = here.dir
end)

teardown(function() here:close() end)

describe("the script", function()
  it("runs as the first process", function()
    local out, err, status = app [[
      local actor = require "luactor"
      print(actor.self() == actor.processes()[1], #actor.processes())
      print(actor.parent())]]
    assert.equal("true\t1\nnil\n", out)
    assert.equal("", err)
    assert.equal(0, status)
  end)

  it("gets its arguments as varargs and in arg", function()
    local out = app("print(#arg, ...) print(arg[0], arg[1], arg[2])", "x -y")
    assert.equal("2\tx\t-y\napp.lua\tx\t-y\n", out)
  end)

  it("finds the command and its options at negative indices", function()
    local out = app("print(arg[-2], arg[-1], arg[-3] ~= nil, arg[-4])", "",
      "--schedulers 1")
    assert.equal("--schedulers\t1\ttrue\tnil\n", out)
  end)

  it("may begin with a #! line", function()
    write("sheb.lua", "#!/usr/bin/env luactor\nprint 'ran' error 'line 2'")
    local out, err = luactor "sheb.lua"
    assert.equal("ran\n", out)
    assert.matches("^luactor: sheb.lua:2: line 2\n", err)
  end)

  it("can be executed through its #! line", function()
    write("exe", "#!/usr/bin/env luactor\nprint('as a program', ...)")
    write("job.in", "")
    local out = sh [[
      mkdir -p bin && ln -sf "$L" bin/luactor && chmod +x exe
      PATH="$PWD/bin:$PATH" ./exe one two]]
    assert.equal("as a program\tone\ttwo\n", out)
  end)

  it("may follow --", function()
    write("-odd.lua", "print 'odd'")
    assert.equal("odd\n", (luactor "-- -odd.lua"))
  end)

  it("has the stack levels that it has under lua", function()
    local code = "print(debug.traceback('t')) print(debug.getinfo(3))"
    local want = "t\nstack traceback:\n\tapp.lua:1: in main chunk\n\t"
      .. "[C]: in ?\nnil\n"
    assert.equal(want, (app(code)))
  end)
end)

describe("-e", function()
  it("runs a chunk", function()
    assert.equal("7\n", (luactor [[-e 'print(3+4)']]))
  end)

  it("may be joined with its code and be repeated", function()
    assert.equal("1\n2\n", (luactor [[-e'x = 1 print(x)' -e 'print(x + 1)']]))
  end)

  it("runs before the script, in the same process", function()
    write("app.lua", "print('script', x)")
    assert.equal("script\t5\n", (luactor [[-e 'x = 5' app.lua]]))
  end)

  it("stops at the first error", function()
    local out, err, status = luactor [[-e 'error "one"' -e 'print "two"']]
    assert.equal("", out)
    assert.equal([[
luactor: (command line):1: one
stack traceback:
	[C]: in function 'error'
	(command line):1: in main chunk
	[C]: in ?
]], err)
    assert.equal(1, status)
  end)

  it("reports a syntax error without a traceback", function()
    local _, err, status = luactor [[-e 'x =']]
    assert.equal("luactor: (command line):1: unexpected symbol near <eof>\n",
      err)
    assert.equal(1, status)
  end)

  it("may receive", function()
    local out = luactor [[-e '
      local actor = require "luactor"
      local me = actor.self()
      actor.spawn(function() actor.send(me, "hi") end)
      print(actor.receive())']]
    assert.equal("hi\n", out)
  end)
end)

describe("the arg table", function()
  it("is what the script gets its arguments from", function()
    local out = luactor([[-e 'arg[1] = 100; arg[2] = nil' - a b]],
      "print(...)")
    assert.equal("100\n", out)
  end)

  it("must still be a table", function()
    local out, err, status = luactor("-e 'arg = 1' -", "print 'ran'")
    assert.equal("", out)
    assert.equal("luactor: 'arg' is not a table\n", err)
    assert.equal(1, status)
  end)
end)

describe("standard input", function()
  it("is run for -", function()
    assert.equal("3\n", (luactor("-", "print(1 + 2)")))
  end)

  it("is run without a script", function()
    assert.equal("3\n", (luactor("", "print(1 + 2)")))
  end)

  it("is named stdin and may begin with a #! line", function()
    local _, err, status = luactor("-", "#!x\nerror 'e'")
    assert.equal([[
luactor: stdin:2: e
stack traceback:
	[C]: in function 'error'
	stdin:2: in main chunk
	[C]: in ?
]], err)
    assert.equal(1, status)
  end)

  it("gets arguments behind -", function()
    assert.equal("-\ta\tb\n", (luactor("- a b", "print(arg[0], ...)")))
  end)

  it("runs behind -e and -l", function()
    assert.equal("9\n", (luactor("-e 'x = 9' -l string -", "print(x)")))
  end)
end)

describe("-i", function()
  it("prints the values of expressions", function()
    local out, _, status = luactor("-i", "1 + 1\n= 'a', nil\nx = 4\nx\n")
    local version, rest = out:match "^(luactor [^\n]*)\n(.*)$"
    assert.truthy(version)
    assert.equal("> 2\n> a\tnil\n> > 4\n> \n", rest)
    assert.equal(0, status)
  end)

  it("reads on while a statement is not complete", function()
    local out = luactor("-i", "for i = 1, 2 do\nprint(i)\nend\n")
    assert.matches("> >> >> 1\n2\n> \n$", out)
  end)

  it("shows an error with its traceback and goes on", function()
    local out, err, status = luactor("-i",
      "error 'first'\nx = = 1\nerror {}\nprint 'on'\n")
    assert.matches("on\n> \n$", out)
    assert.equal([[
stdin:1: first
stack traceback:
	[C]: in function 'error'
	stdin:1: in main chunk
	[C]: in ?
stdin:1: unexpected symbol near '='
(error object is a table value)
stack traceback:
	[C]: in function 'error'
	stdin:1: in main chunk
	[C]: in ?
]], err)
    assert.equal(0, status)
  end)

  it("lives on when its lines take the globals away", function()
    local _, err, status = luactor("-i",
      "local g = _G for k in pairs(g) do g[k] = nil end\n10\nx = (\n1)\nx\n")
    local complaint = "error calling 'print' (attempt to call a nil value)\n"
    assert.equal(complaint:rep(2), err)
    assert.equal(0, status)
  end)

  it("uses _PROMPT and _PROMPT2", function()
    local out = luactor("-i", "_PROMPT = 'a ' _PROMPT2 = 'b '\nreturn (\n1)\n")
    assert.matches("> a b 1\na \n$", out)
  end)

  it("runs all lines in one process", function()
    local out = luactor("-i", [[
actor = require 'luactor'
me = actor.self()
local a, me = actor, me; a.spawn(function() a.send(me, 'from outside') end)
actor.receive()
me == actor.self()
]])
    assert.matches("> from outside\n> true\n> \n$", out)
  end)

  it("leaves the schedulers free while it waits for a line", function()
    write("job.in", "")
    local out = sh [[
      { echo "local actor = require 'luactor' actor.spawn(function()"
        echo "actor.sleep(50) print 'ticked' end)"
        sleep 1
        echo "'last'"; } | "$L" --schedulers 1 -i]]
    assert.matches("> >> > ticked\nlast\n", out)
  end)

  it("follows the script, in the same process", function()
    write("app.lua", "y = 11")
    assert.matches("> 11\n", (luactor("-i app.lua", "y\n")))
  end)

  it("ends when its process ends", function()
    local _, _, status = luactor("-i", "require 'luactor'.exit 'normal'\n")
    assert.equal(0, status)
    _, _, status = luactor("-i", "os.exit(5)\n")
    assert.equal(5, status)
  end)
end)

describe("-l", function()
  it("requires a module into a global", function()
    write("mymod.lua", "return { v = 'loaded' }")
    assert.equal("loaded\n", (luactor [[-l mymod -e 'print(mymod.v)']]))
    assert.equal("loaded\n", (luactor [[-lmymod -e 'print(mymod.v)']]))
  end)

  it("takes a name for the global", function()
    assert.equal("loaded\tnil\n",
      (luactor [[-l m=mymod -e 'print(m.v, mymod)']]))
  end)

  it("reports a module that is missing", function()
    local _, err, status = luactor [[-l no_such_module -e 'print(1)']]
    assert.matches("^luactor: module 'no_such_module' not found:\n", err)
    assert.matches("\nstack traceback:\n\t%[C%]: in function 'require'\n"
      .. "\t%[C%]: in %?\n$", err)
    assert.equal(1, status)
  end)
end)

describe("-W and -E", function()
  it("turns warnings on", function()
    local _, err = luactor [[-W -e 'warn("careful")']]
    assert.equal("Lua warning: careful\n", err)
    _, err = luactor [[-e 'warn("careful")']]
    assert.equal("", err)
  end)

  it("ignores LUA_PATH and LUA_INIT under -E", function()
    write("job.in", "")
    local out = sh [[
      export LUA_INIT='print "init"' LUA_PATH="/nowhere/?.lua"
      code='print(package.path:find("nowhere", 1, true) ~= nil)'
      "$L" -e "$code"; "$L" -E -e "$code"]]
    assert.equal("init\ntrue\nfalse\n", out)
  end)
end)

describe("LUA_INIT", function()
  it("is run first, as code or as @file", function()
    write("init.lua", "print 'from file'")
    write("job.in", "")
    local out = sh [[
      LUA_INIT='x = "code"' "$L" -e 'print(x)'
      LUA_INIT=@init.lua "$L" -e 'print "then"'
      LUA_INIT='print "no"' LUA_INIT_5_4='print "yes"' "$L" -e '']]
    assert.equal("code\nfrom file\nthen\nyes\n", out)
  end)

  it("ends the command when it fails", function()
    write("job.in", "")
    local out, err, status = sh [[LUA_INIT='error "bad"' "$L" -e 'print(1)']]
    assert.equal("", out)
    assert.matches("^luactor: LUA_INIT:1: bad\n", err)
    assert.equal(1, status)
  end)
end)

describe("help and version", function()
  it("go to standard output with status 0", function()
    for _, option in ipairs { "--version", "-v" } do
      local out, err, status = luactor(option)
      assert.matches("^luactor %d+%.%d+%.%d+ %(Lua 5%.4%.%d+%)\n$", out)
      assert.equal("", err)
      assert.equal(0, status)
    end
    for _, option in ipairs { "--help", "-h" } do
      local out, err, status = luactor(option)
      assert.matches("^usage: luactor ", out)
      assert.matches("%-%-schedulers N", out)
      assert.equal("", err)
      assert.equal(0, status)
    end
  end)
end)

describe("a bad command line", function()
  local cases = {
    { "-x", "unrecognized option '-x'" },
    { "--no-such", "unrecognized option '--no-such'" },
    { "-ve", "unrecognized option '-ve'" },
    { "-e", "'-e' needs argument" },
    { "-e -v", "'-e' needs argument" },
    { "--schedulers", "--schedulers needs an argument" },
    { "--schedulers 0", "--schedulers: a number from 1 to 64 expected, got '0'" },
    { "--schedulers=x", "--schedulers: a number from 1 to 64 expected, got 'x'" },
    { "--schedulers 65", "--schedulers: a number from 1 to 64 expected, got '65'" },
    { "--preempt never", "--preempt: tick, count or count:N expected, got 'never'" },
    { "--preempt count:0", "--preempt: tick, count or count:N expected, got 'count:0'" },
    { "--max-heap 1X", "--max-heap: a number of bytes expected, got '1X'" },
    { "--max-processes -1", "--max-processes: a number from 1 to 16777215 expected, got '-1'" },
    { "--listen x", "--listen: a port from 0 to 65535 expected, got 'x'" },
    { "--name", "--name needs an argument" },
    { "--listen 0", "--listen needs --name" },
    { "--tls-ca ca.pem", "--tls-ca needs --name" },
    { "--name a", "cannot start the node: 'a' is not a name of the form name@host" },
    { "--name a@127.0.0.1", "cannot start the node: a cookie is needed" },
    { "--name a@127.0.0.1 --cookie-file none", "cannot start the node: cookie_file: none: No such file or directory" },
    { "--name a@127.0.0.1 --cookie c --tls none --tls-key none --tls-ca none",
      "cannot start the node: certificate none: No such file or directory" },
  }
  for _, case in ipairs(cases) do
    it("is refused: " .. case[1], function()
      write("app.lua", "print 'must not run'")
      local is_last = case[2]:find "argument$"
      local out, err, status = luactor(case[1] .. (is_last and "" or " app.lua"))
      assert.equal("", out)
      assert.equal("luactor: " .. case[2] .. "\n", err)
      assert.equal(1, status)
    end)
  end
end)

describe("host options", function()
  it("take the number of schedulers", function()
    local out, _, status = app("print 'one'", "", "--schedulers=1")
    assert.equal("one\n", out)
    assert.equal(0, status)
  end)

  local modes = { "count", "count:1000" }
  -- The thread sanitizer delays signals, and so the tick: cmake/Flags.cmake.
  if os.getenv "LUACTOR_SANITIZE" ~= "thread" then modes[3] = "tick" end

  for _, mode in ipairs(modes) do
    it("preempt by " .. mode, function()
      local out, _, status = app([[
        local actor = require "luactor"
        local spinner = actor.spawn(function() while true do end end)
        for _ = 1, 3 do actor.sleep(5) end
        actor.exit(spinner, "kill")
        print "not hogged"]], "", "--schedulers 1 --preempt " .. mode)
      assert.equal("not hogged\n", out)
      assert.equal(0, status)
    end)
  end

  it("limit the heap of every process", function()
    local out, _, status = app([[
      local actor = require "luactor"
      local pid, ref = actor.spawn_monitor(function()
        local t = {}
        while true do t[#t + 1] = ("x"):rep(1000) .. #t end
      end)
      local _, reason = actor.receive { "DOWN", ref, "process",
        actor.var.pid, actor.var.reason }
      print(reason[1], reason[2] > 1500000)]], "", "--max-heap 2M")
    assert.equal("heap_limit\ttrue\n", out)
    assert.equal(0, status)
  end)

  it("limit the number of processes", function()
    local out = app([[
      local actor = require "luactor"
      local n, ok, why = 0, true, nil
      while ok do
        ok, why = pcall(actor.spawn, function() actor.receive "never" end)
        if ok then n = n + 1 end
      end
      print(n, tostring(why):find("system_limit", 1, true) ~= nil)
      os.exit(0)]], "", "--max-processes 10")
    assert.equal("9\ttrue\n", out)
  end)
end)

describe("the exit status", function()
  local ends = {
    { "0 when the script returns", "return 3", 0 },
    { "0 for exit 'normal'", "require 'luactor'.exit 'normal'", 0 },
    { "0 for exit 'shutdown'", "require 'luactor'.exit 'shutdown'", 0 },
    { "1 for another reason", "require 'luactor'.exit 'boom'", 1 },
    { "1 for an error", "error 'x'", 1 },
    { "of os.exit", "os.exit(7)", 7 },
    { "0 for os.exit(true)", "os.exit(true)", 0 },
    { "1 for os.exit(false)", "os.exit(false)", 1 },
    { "of os.exit with a close", "os.exit(8, true)", 8 },
    { "0 for os.exit()", "os.exit()", 0 },
    { "of actor.halt", "require 'luactor'.halt(9)", 9 },
    { "0 for actor.halt()", "require 'luactor'.halt()", 0 },
  }
  for _, case in ipairs(ends) do
    it("is " .. case[1], function()
      local _, _, status = app(case[2])
      assert.equal(case[3], status)
    end)
  end

  it("is that of actor.halt though the first process has failed", function()
    local _, err, status = app [[
      local actor = require "luactor"
      actor.spawn(function()
        local ref = actor.monitor(actor.parent())
        actor.receive { "DOWN", ref, actor._, actor._, actor._ }
        actor.halt(0)
      end)
      error "first"
    ]]
    assert.matches("first", err, 1, true)
    assert.equal(0, status)
  end)

  it("is 0 whatever became of the others", function()
    local out, err, status = app [[
      local actor = require "luactor"
      local _, ref = actor.spawn_monitor(function() error "other" end)
      actor.receive { "DOWN", ref, actor._, actor._, actor._ }
      print "fine"]]
    assert.equal("fine\n", out)
    assert.matches("other", err)
    assert.equal(0, status)
  end)

  it("is 1 although others ended well later", function()
    local out, err, status = app [[
      local actor = require "luactor"
      actor.spawn(function() actor.sleep(50) print "later" end)
      error "first"]]
    assert.equal("later\n", out)
    assert.matches("^luactor: app.lua:3: first\n", err)
    assert.equal(1, status)
  end)

  it("is that of os.exit in any process, at once", function()
    local out, _, status = app [[
      local actor = require "luactor"
      actor.spawn(function() while true do end end)
      actor.spawn(function() actor.sleep(20) os.exit(6) end)
      io.write "not lost"
      actor.receive()]]
    assert.equal("not lost", out)
    assert.equal(6, status)
  end)
end)

describe("an error of the first process", function()
  it("is put in words two levels above the one that raised it", function()
    local _, err = app [[
      local value = setmetatable({}, { __tostring = function()
        return "raised at " .. debug.getinfo(4, "l").currentline
      end })
      error(value)]]
    assert.equal("luactor: raised at 4\n", err)
  end)

  it("is printed once, with a traceback", function()
    local out, err, status = app "local function f()\n  error 'deep'\nend\nf()"
    assert.equal("", out)
    assert.equal([[
luactor: app.lua:2: deep
stack traceback:
	[C]: in function 'error'
	app.lua:2: in local 'f'
	app.lua:4: in main chunk
	[C]: in ?
]], err)
    assert.equal(1, status)
  end)

  it("is printed by its __tostring", function()
    local _, err, status = app [[
      error(setmetatable({}, { __tostring = function() return "mine" end }))]]
    assert.equal("luactor: mine\n", err)
    assert.equal(1, status)
  end)

  it("may be a value without text", function()
    local _, err = app "error({})"
    assert.matches("^luactor: %(error object is a table value%)\n", err)
    _, err = app "error()"
    assert.matches("^luactor: %(error object is a nil value%)\n", err)
  end)

  it("of its exit reason is printed as such", function()
    local _, err = app "require 'luactor'.exit 'boom'"
    assert.equal("luactor: exit reason: boom\n", err)
  end)
end)

describe("os.exit", function()
  local closing = [[
    local variable <close> = setmetatable({}, {
      __close = function() print "closed" end,
    })
    setmetatable({}, { __gc = function() print "collected" end })
    coroutine.wrap(function()
      local inner <close> = setmetatable({}, {
        __close = function() print "inner" end,
      })
      pcall(os.exit, 7, true)
      print "not reached"
    end)()
    print "not reached"]]

  it("closes the process when it is asked to", function()
    for _, mode in ipairs { "tick", "count", "count:1" } do
      local out, err, status = app(closing, nil, "--preempt " .. mode)
      local lines = {}
      for line in out:gmatch "%a+" do lines[line] = true end
      assert.same({ inner = true, closed = true, collected = true }, lines)
      assert.equal("", err)
      assert.equal(7, status)
    end
  end)

  it("leaves pending variables alone otherwise", function()
    local out, _, status = app [[
      local variable <close> = setmetatable({}, {
        __close = function() print "closed" end,
      })
      os.exit(7)]]
    assert.equal("", out)
    assert.equal(7, status)
  end)

  it("ends the host from any process, whatever the others do", function()
    local _, _, status = app [[
      local actor = require "luactor"
      actor.spawn(function() os.exit(9, true) end)
      while true do end]]
    assert.equal(9, status)
  end)

  it("is not held up by what never ends", function()
    local _, _, status = app [[
      local variable <close> = setmetatable({}, {
        __close = function() while true do end end,
      })
      os.exit(4, true)]]
    assert.equal(4, status)
  end)
end)

describe("a script that cannot be run", function()
  it("is reported when it is missing", function()
    local out, err, status = luactor "nosuch.lua"
    assert.equal("", out)
    assert.equal("luactor: cannot open nosuch.lua: No such file or directory\n",
      err)
    assert.equal(1, status)
  end)

  it("is reported with the line of a syntax error", function()
    local _, err, status = app "x = 1\ny ="
    assert.equal("luactor: app.lua:2: unexpected symbol near <eof>\n", err)
    assert.equal(1, status)
  end)

  it("is reported in the same way behind -e", function()
    write("app.lua", "y =")
    local _, err = luactor [[-e 'x = 1' app.lua]]
    assert.equal("luactor: app.lua:1: unexpected symbol near <eof>\n", err)
    _, err = luactor [[-e 'x = 1' nosuch.lua]]
    assert.equal("luactor: cannot open nosuch.lua: No such file or directory\n",
      err)
  end)
end)

describe("the life of the host", function()
  it("goes on while a process can run", function()
    local out, _, status = app [[
      local actor = require "luactor"
      actor.spawn(function()
        for i = 1, 3 do actor.sleep(10) print(i) end
      end)
      print "first done"]]
    assert.equal("first done\n1\n2\n3\n", out)
    assert.equal(0, status)
  end)

  it("ends with 0 when the rest waits for ever", function()
    local _, err, status = app [[
      local actor = require "luactor"
      actor.spawn(function() actor.receive() end)
      actor.spawn(function() actor.receive "never" end)]]
    assert.equal("", err)
    assert.equal(0, status)
  end)

  it("waits for no timeout of a wait that is over", function()
    local out, err, status = app [[
      local actor = require "luactor"
      local V, hour = actor.var, 3600000
      local function serve(behind)
        while true do
          actor.receive(actor.on(actor.request(V.from, V.x), function(from, x)
            actor.reply(from, behind and actor.call(behind, x, hour) or x)
          end))
        end
      end
      local server = actor.spawn(serve, actor.spawn(serve))
      print(actor.call(server, "answered", hour))]]
    assert.equal("answered\n", out)
    assert.equal("", err)
    assert.equal(0, status)
  end)

  it("ends with 1 then when the first process had failed", function()
    local _, err, status = app [[
      local actor = require "luactor"
      actor.spawn(function() actor.receive() end)
      error "x"]]
    assert.is_nil(err:find("deadlock", 1, true))
    assert.equal(1, status)
  end)

  it("reports a deadlock of the first process", function()
    local _, err, status = app [[
local actor = require "luactor"
local function wait()
  actor.receive "never"
end
actor.register("the_waiter", actor.spawn(wait))
actor.receive()]]
    local lines = {}
    for line in err:gmatch "[^\n]+" do lines[#lines + 1] = line end
    assert.equal("luactor: deadlock: every process is waiting", lines[1])
    assert.equal(3, #lines)
    table.sort(lines)
    local first, second = lines[1], lines[2]
    if first:find "the_waiter" then first, second = second, first end
    assert.matches("<0%.%d+>.*app%.lua:6", first)
    assert.matches("<0%.%d+>.*the_waiter.*app%.lua:3", second)
    assert.equal(1, status)
  end)

  it("is no deadlock while a timer runs", function()
    local out, err, status = app [[
      local actor = require "luactor"
      actor.send_after(100, actor.self(), "woken")
      print(actor.receive())]]
    assert.equal("woken\n", out)
    assert.equal("", err)
    assert.equal(0, status)
  end)
end)

describe("a signal", function()
  -- Starts the script, waits for its word "ready", then runs the shell text
  -- with $p as its pid. `set -m` keeps SIGINT alive in background jobs.
  local function signalled(code, shell, seconds)
    write("app.lua", code)
    write("job.in", "")
    return sh([[
      set -m
      rm -f fifo; mkfifo fifo
      "$L" app.lua >fifo & p=$!
      exec 3<fifo
      read -r word <&3
      ]] .. shell .. [[

      wait $p; echo "status $?"
      cat <&3]], seconds)
  end

  -- One process that waits, and one that says goodbye. The sleep of the first
  -- one keeps the host from being stuck.
  local polite = [[
    local actor = require "luactor"
    actor.spawn(function()
      actor.trap_exit(true)
      print "ready" io.stdout:flush()
      local tag, _, reason = table.unpack(actor.receive())
      print(tag, reason)
    end)
    actor.sleep(60000)]]

  it("SIGTERM stops in order, status 0", function()
    local out, err = signalled(
      polite:gsub("actor%.spawn%(", "actor.spawn_link("), "kill -TERM $p")
    assert.equal("status 0\nEXIT\tshutdown\n", out)
    assert.equal("", err)
  end)

  it("SIGINT stops in order, then the command dies by it", function()
    local out = signalled(
      polite:gsub("actor%.spawn%(", "actor.spawn_link("), "kill -INT $p")
    assert.equal("status 130\nEXIT\tshutdown\n", out)
  end)

  it("reaches processes that have a parent when those without are gone",
    function()
      local out = signalled(polite, "kill -TERM $p")
      assert.equal("status 0\nEXIT\tshutdown\n", out)
    end)

  it("ends loops that never wait", function()
    local out = signalled([[
      print "ready" io.stdout:flush()
      while true do pcall(function() while true do end end) end]],
      "kill -TERM $p")
    assert.equal("status 0\n", out)
  end)

  local stubborn = [[
    local actor = require "luactor"
    actor.trap_exit(true)
    print "ready" io.stdout:flush()
    actor.receive(actor._, 60000)
    print "asked" io.stdout:flush()
    while true do actor.sleep(1000) end]]

  it("comes again: the command ends at once", function()
    local out = signalled(stubborn, [[
      kill -TERM $p; read -r word <&3; echo "$word"
      SECONDS=0; kill -TERM $p]], 20)
    assert.equal("asked\nstatus 143\n", out)
    out = signalled(stubborn, [[
      kill -INT $p; read -r word <&3; echo "$word"
      kill -INT $p]], 20)
    assert.equal("asked\nstatus 130\n", out)
  end)

  it("is obeyed after 5 seconds at the latest", function()
    local out = signalled(stubborn .. " --", [[
      SECONDS=0; kill -TERM $p; wait $p
      (( SECONDS >= 4 && SECONDS <= 8 )) && echo "in time"]], 30)
    assert.equal("in time\nstatus 0\nasked\n", out)
  end)
end)

describe("modules", function()
  it("are found beside the script from another directory", function()
    write("job.in", "")
    local out = sh [[
      mkdir -p prog/sub elsewhere
      echo 'return "beside"' >prog/near.lua
      echo 'return "in a package"' >prog/sub/init.lua
      echo 'print((require "near"), (require "sub"))' >prog/main.lua
      cd elsewhere && "$L" ../prog/main.lua]]
    assert.equal("beside\tin a package\n", out)
  end)

  it("are found by other processes too", function()
    write("job.in", "")
    local out = sh [[
      cat >prog/other.lua <<'END'
local actor = require "luactor"
local me = actor.self()
actor.spawn(function() actor.send(me, (require "near")) end)
print(actor.receive())
END
      cd elsewhere && "$L" ../prog/other.lua]]
    assert.equal("beside\n", out)
  end)

  it("are found beside the script that a link leads to", function()
    write("job.in", "")
    local out = sh [[
      ln -sf "$PWD/prog/link.lua" elsewhere/run
      echo 'print((require "near"))' >prog/link.lua
      "$L" elsewhere/run]]
    assert.equal("beside\n", out)
  end)

  it("beside the script come before LUA_PATH", function()
    write("job.in", "")
    local out = sh [[
      mkdir -p path
      echo 'return "from LUA_PATH"' >path/near.lua
      echo 'return "far"' >path/far.lua
      echo 'print((require "near"), (require "far"))' >prog/order.lua
      LUA_PATH="$PWD/path/?.lua" "$L" prog/order.lua]]
    assert.equal("beside\tfar\n", out)
  end)

  it("in LUA_PATH come before ours, whose default ;; adds", function()
    write("job.in", "")
    local out = sh [[
      mkdir -p path/luactor
      echo 'return "theirs"' >path/luactor/gen_server.lua
      LUA_PATH="$PWD/path/?.lua;;" "$L" -e 'print((require "luactor.gen_server"))
        print(package.path:find("./?.lua", 1, true) ~= nil)']]
    assert.equal("theirs\ntrue\n", out)
  end)

  it("in C are loaded: lpeg and cjson", function()
    local out = app [[
      local lpeg, cjson = require "lpeg", require "cjson"
      print(lpeg.match(lpeg.C(lpeg.P "a" ^ 1), "aab"))
      print(cjson.encode { 1, 2, "x" })]]
    assert.equal('aa\n[1,2,"x"]\n', out)
  end)

  it("of a C library may be used by many processes", function()
    local out = app [[
      local actor = require "luactor"
      local me = actor.self()
      for i = 1, 20 do
        actor.spawn(function()
          local lpeg = require "lpeg"
          actor.send(me, lpeg.match(lpeg.P "ab" * lpeg.Cp(), "abc") + i)
        end)
      end
      local sum = 0
      for _ = 1, 20 do sum = sum + actor.receive() end
      print(sum)]]
    assert.equal("270\n", out)
  end)
end)

describe("output", function()
  it("of one call comes out whole", function()
    local out = app [[
      local actor = require "luactor"
      for p = 1, 16 do
        actor.spawn(function()
          local part = string.char(64 + p):rep(60)
          for _ = 1, 100 do
            print(part, part, part)
            io.write(part, "-", part, "\n")
          end
        end)
      end]]
    local prints, writes = 0, 0
    for line in out:gmatch "[^\n]+" do
      local c = line:sub(1, 1)
      local part = c:rep(60)
      if line == part .. "\t" .. part .. "\t" .. part then
        prints = prints + 1
      elseif line == part .. "-" .. part then
        writes = writes + 1
      end
    end
    assert.equal(1600, prints)
    assert.equal(1600, writes)
  end)

  it("is flushed at the end, whatever the end", function()
    for _, last in ipairs { "", "error 'x'", "os.exit(2)",
                            "require 'luactor'.halt(0)" } do
      assert.equal("buffered", (app("io.write 'buffered' " .. last)))
    end
  end)
end)

describe("busted", function()
  it("runs inside the host", function()
    write("some_spec.lua", [[
      local actor = require "luactor"
      it("receives", function()
        actor.send(actor.self(), 1)
        assert.equal(1, actor.receive())
      end)]])
    local out, _, status = luactor
      "/usr/bin/busted --ignore-lua -o plainTerminal some_spec.lua"
    assert.matches("1 success / 0 failures / 0 errors / 0 pending", out)
    assert.equal(0, status)
  end)
end)

local log = require "luactor.log"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local _ENV = _G

-- The lines that a command with this code logs; its standard output.
local function logged(code, env)
  local out, errors = helper.cli {
    code = 'local actor = require "luactor"\nlocal log = require "luactor.log"\n' .. code,
    env = env,
  }
  local lines = {}
  for line in errors:gmatch "[^\n]+" do lines[#lines + 1] = line end
  return lines, out
end

-- Without the time.
local function texts(code, env)
  return logged('log.configure{ time = false }\n' .. code, env)
end

local function last(lines) return lines[#lines] end

describe("luactor.log", function()
  it("writes a line with time, level and pid", function()
    local lines = logged 'log.info("listening on %d", 80)'
    assert.equal(1, #lines)
    assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ info <0%.%d+> listening on 80$", lines[1])
  end)

  it("writes text without arguments as it is", function()
    assert.matches("info <0%.%d+> 100%% %%d$", last(logged 'log.info("100% %d")'))
  end)

  it("writes fields in the order of their names", function()
    assert.matches("warn <0%.%d+> slow ms=3 ok=true on='db 1'$", last(logged 'log.warn{ "slow", ok = true, ms = 3, on = "db 1" }'))
    assert.matches("warn <0%.%d+> slow ms=3$", last(logged 'log.warn{ message = "slow", ms = 3 }'))
    assert.matches("error <0%.%d+> slow ms=3$", last(logged 'log.event("error", "slow", { ms = 3 })'))
  end)

  it("names the process", function()
    assert.matches("info <0%.%d+> main %[the first%] hi$",
      last(logged 'actor.register "main" actor.label "the first" log.info "hi"'))
  end)

  it("does not show what stands under a secret key, at any depth", function()
    local line = last(logged 'log.info{ "in", Password = "p", user = { auth_token = 1, name = "x", list = { { secret = "s" } } } }')
    assert.matches("Password=<redacted> user={auth_token = <redacted>, list = {{secret = <redacted>}}, name = 'x'}", line, 1, true)
  end)

  it("takes other words for secret keys", function()
    local line = last(texts 'log.configure{ redact = { "PIN" } } log.info{ "in", pin = 1, password = "p" }')
    assert.matches("in password='p' pin=<redacted>", line, 1, true)
  end)

  it("bounds values in depth and size", function()
    local line = last(texts [[
      log.configure{ depth = 2, size = 64 }
      local deep = { { { { 1 } } } }
      local long = {}
      for i = 1, 100 do long[i] = "word" end
      log.info{ "b", deep = deep, long = long }]])
    assert.matches("deep={{{...}}}", line, 1, true)
    assert.is_true(#line < 150, line)
    assert.matches("%.%.%.$", line)
  end)

  it("shows what cannot travel as text", function()
    assert.matches("f='thread: ", last(logged 'log.info{ "t", f = coroutine.create(print) }'), 1, true)
  end)

  it("refuses bad arguments", function()
    local function complains(text, f, ...)
      local ok, e = pcall(f, ...)
      assert.is_false(ok)
      assert.matches(text, e, 1, true)
    end
    complains("bad argument #1 to 'log.level' (unknown level 'loud')", log.level, "loud")
    complains("bad argument #1 to 'log.event' (unknown level 'loud')", log.event, "loud", "x")
    complains("bad argument #2 to 'log.event' (string expected, got 3)", log.event, "info", 3)
    complains("bad argument #3 to 'log.event' (table expected, got 'x')", log.event, "info", "x", "x")
    complains("log.configure: unknown setting 'colour'", log.configure, { colour = true })
    complains("log.configure: bad depth (integer from 1 to 64 expected, got 0)", log.configure, { depth = 0 })
    complains("log.configure: bad format ('text' or 'json' expected, got 'xml')", log.configure, { format = "xml" })
    complains("log.configure: unknown level 'x'", log.configure, { level = "x" })
    complains("log.configure: bad redact", log.configure, { redact = { 1 } })
    complains("bad argument #2 to 'log.add_handler'", log.add_handler, "x", 3)
    complains("log.add_handler: cannot add 'default' (already_exists)", log.add_handler, "default", "host")
    complains("log.add_handler: cannot add 'x' (/no/such/place: ", log.add_handler, "x", "/no/such/place")
  end)
end)

describe("log levels", function()
  it("hide what is below", function()
    local lines = texts 'log.debug "a" log.level "warn" log.info "b" log.warn "c"'
    assert.equal(1, #lines)
    assert.matches("warn <0%.%d+> c$", lines[1])
  end)

  it("are the process's own, or the host's", function()
    local lines = texts [[
      log.configure{ level = "error" }
      log.warn "a"
      local pid, ref = actor.spawn_monitor(function()
        assert(log.level() == "error")
        assert(log.level "debug" == "error")
        log.debug "b"
        assert(log.level "default" == "debug")
        log.debug "c"
      end)
      actor.receive { "DOWN", ref, "process", actor._, actor._ }]]
    assert.equal(1, #lines)
    assert.matches("debug <0%.%d+> b$", lines[1])
  end)

  it("come from the environment", function()
    assert.same({}, (texts('log.error "a"', "LUACTOR_LOG=none")))
    assert.matches("^debug", last(logged('log.debug "a"', "LUACTOR_LOG=debug,notime")))
    local lines = logged('log.info "a"', "LUACTOR_LOG=loud")
    assert.matches("warn LUACTOR_LOG has an unknown word 'loud'$", lines[1])
  end)
end)

describe("JSON lines", function()
  local function decoded(code)
    local lines = logged(code, "LUACTOR_LOG=json")
    local ok, cjson = pcall(require, "cjson")
    if not ok then return pending "lua-cjson is missing" end
    return cjson.decode(last(lines)), #lines
  end

  it("hold all that is known", function()
    local e = decoded [[actor.register "main" actor.label "first"
      log.warn{ "slow", n = 1.5, who = { "a", password = "p" }, list = { 1, { 2 } }, text = "\"\\\n\255é", yes = true } ]]
    assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ$", e.time)
    e.time = nil
    assert.matches("^<0%.%d+>$", e.pid)
    e.pid = nil
    assert.same({ level = "warn", event = "log", name = "main", label = "first", message = "slow", fields = {
      n = 1.5, who = { ["1"] = "a", password = "<redacted>" }, list = { 1, { 2 } }, yes = true, text = "\"\\\n\u{FFFD}é" } }, e)
  end)

  it("stay well-formed when values are cut", function()
    local e = decoded [[
      log.configure{ size = 64 }
      local t = { list = {} }
      for i = 1, 1000 do t["key" .. i] = { i, { ("x"):rep(100) } } t.list[i] = t end
      log.warn{ "big", big = t }]]
    assert.equal("table", type(e.fields.big))
  end)

  it("are one line for a crash", function()
    local e, n = decoded [[
      local _, ref = actor.spawn_monitor(function() error { token = "t", code = 7 } end)
      actor.receive { "DOWN", ref, "process", actor._, actor._ }]]
    assert.equal(1, n)
    assert.equal("crash", e.event)
    assert.equal("{code = 7, token = <redacted>}", e.fields.reason)
    assert.equal(0, e.fields.mailbox)
    assert.matches("^stack traceback:\n", e.fields.traceback)
  end)
end)

describe("crash reports", function()
  it("hide secret keys of the reason", function()
    local lines = texts [[
      local _, ref = actor.spawn_monitor(function() error { password = "p", code = 7 } end)
      actor.receive { "DOWN", ref, "process", actor._, actor._ }]]
    assert.matches("^error process <0%.%d+> crashed: {code = 7, password = <redacted>}$", lines[1])
  end)

  it("of one cause are held back in a storm, and counted", function()
    local lines = texts [[
      log.configure{ burst = 3, window = 60000 }
      for i = 1, 50 do
        local _, ref = actor.spawn_monitor(function() error("job " .. i .. " failed", 0) end)
        actor.receive { "DOWN", ref, "process", actor._, actor._ }
      end]]
    local reports = 0
    for _, line in ipairs(lines) do
      if line:find "^error .* crashed: job " then reports = reports + 1 end
    end
    assert.equal(3, reports)
    assert.equal("warn 47 similar suppressed: process crashed: job 4 failed", last(lines))
  end)

  it("that were held back are told of when the window is over", function()
    local _, out = texts [[
      log.configure{ burst = 1, window = 10 }
      local main = actor.self()
      log.add_handler("main", main)
      actor.spawn(function() log.report("error", "x", "again 1", nil, "again") log.report("error", "x", "again 2", nil, "again") end)
      local event = actor.receive({ "log", actor.exact{ event = "suppressed", level = "warn", message = actor.var.m,
        text = actor._, time = actor._, fields = { count = 1 } } })
      print(event)]]
    assert.equal("1 similar suppressed: again 2\n", out)
  end)
end)

describe("log handlers", function()
  it("get events as tables of bounded values", function()
    local _, out = texts [[
      log.remove_handler "default"
      log.add_handler("main", actor.self(), "warn")
      local pid, ref = actor.spawn_opt({ monitor = true, label = "worker", name = "w" }, function()
        log.info "not this"
        log.warn{ "this", n = 1, t = { 1, token = 2 }, key = "k", pin = true, password = 1 }
      end)
      local e = actor.receive { "log", actor.var.e }
      print(e.level, e.event, e.message, e.name, e.label, e.pid == pid, math.type(e.time))
      print(e.fields.n, e.fields.t, e.fields.key, e.fields.pin, e.fields.password)
      print((e.text:gsub("<0%.%d+>", "PID")), nil)]]
    assert.equal([[
warn	log	this	w	worker	true	integer
1	{1, token = <redacted>}	k	true	<redacted>
warn PID w [worker] this key='k' n=1 password=<redacted> pin=true t={1, token = <redacted>}	nil
]], out)
  end)

  it("may be functions, which run elsewhere", function()
    local _, out = texts [[
      local main = actor.self()
      log.add_handler("f", function(e) actor.send(main, { e.message, actor.self() ~= main }) end)
      log.error "x"
      local message, elsewhere = actor.receive { actor.var.message, actor.var.elsewhere }
      print(message, elsewhere)
      local list = log.handlers()
      print(#list, list[2].name, list[2].kind, list[2].level)
      local ref = actor.monitor(list[2].pid)
      print(log.remove_handler "f", log.remove_handler "f")
      print((actor.receive { "DOWN", ref, "process", actor._, actor.var.reason }))]]
    assert.equal("x\ttrue\n2\tf\tprocess\tdebug\ntrue\tfalse\nnormal\n", out)
  end)

  it("may be files", function()
    local path = os.tmpname()
    texts(("log.add_handler('f', %q, 'warn') log.warn 'a' log.info 'b' log.error 'c'"):format(path))
    local file = assert(io.open(path))
    local text = file:read "a"
    file:close()
    os.remove(path)
    assert.matches("^warn <0%.%d+> a\nerror <0%.%d+> c\n$", text)
  end)

  it("that are gone leave the host's own", function()
    local lines = texts [[
      log.add_handler("f", function() error("bad handler", 0) end)
      log.remove_handler "default"
      local ref = actor.monitor(log.handlers()[1].pid)
      log.info "a"
      actor.receive { "DOWN", ref, "process", actor._, actor._ }
      log.info "b"]]
    assert.equal(2, #lines, table.concat(lines, "\n"))
    assert.equal("warn log handler 'f' is gone", lines[1])
    assert.matches("info <0%.%d+> b$", lines[2])
  end)

  it("hold nobody up: what they have no room for is counted", function()
    local _, out = texts [[
      log.remove_handler "default"
      local pid = actor.spawn_opt({ mailbox = { limit = 5, overflow = "block" } }, function()
        actor.receive "never"
      end)
      log.add_handler("slow", pid)
      for i = 1, 20 do log.info("x") end
      print(log.handlers()[1].dropped)
      actor.exit(pid, "kill")]]
    assert.equal("15\n", out)
  end)

  it("hold up no crash: a file that nobody reads is given up", function()
    local _, out = texts [[
      local path = os.tmpname()
      os.remove(path)
      os.execute("mkfifo " .. path)
      -- Opened for both ways: a pipe with a reader that reads nothing.
      local keeper = assert(io.open(path, "r+"))
      log.remove_handler "default"
      log.add_handler("f", path)
      local text = ("x"):rep(4000)
      for i = 1, 40 do log.info(text) end
      print(log.handlers()[1].dropped > 0)
      keeper:close()
      os.remove(path)]]
    assert.equal("true\n", out)
  end)
end)

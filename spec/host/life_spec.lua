local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- functions that travel take the real globals along
describe("the exit status", function()
  before_each(helper.mark)
  after_each(helper.check)

  local function status(t)
    if type(t) == "string" then t = { code = t } end
    t.seconds = t.seconds or 20
    return (select(3, helper.cli(t)))
  end

  local rows = {
    { "0 when the first process returns", "", 0 },
    { "0 when the first process exits with normal",
      "require 'luactor'.exit 'normal'", 0 },
    { "0 when the first process exits with shutdown",
      "require 'luactor'.exit 'shutdown'", 0 },
    { "1 when the first process exits with another reason",
      "require 'luactor'.exit 'bye'", 1 },
    { "1 when the first process fails", "error 'x'", 1 },
    { "1 when the first process is killed", [[
      local actor = require 'luactor'
      actor.exit(actor.self(), "kill")
      actor.receive("never")]], 1 },
    { "1 when the first process is taken down by a link", [[
      local actor = require 'luactor'
      actor.spawn_link(function() actor.exit "linked" end)
      actor.receive("never")]], 1 },
    { "0 when another process fails", [[
      local actor = require 'luactor'
      local _, mon = actor.spawn_monitor(function() error "x" end)
      actor.receive { "DOWN", mon, "process", actor._, actor._ }]], 0 },
    { "that of actor.halt", "require 'luactor'.halt(7)", 7 },
    { "0 for actor.halt without one", "require 'luactor'.halt()", 0 },
    { "that of os.exit", "os.exit(9)", 9 },
    { "0 for os.exit(true)", "os.exit(true)", 0 },
    { "1 for os.exit(false)", "os.exit(false)", 1 },
    { "that of os.exit with close", "os.exit(4, true)", 4 },
    { "that of actor.halt in another process", [[
      local actor = require 'luactor'
      actor.spawn(function() actor.halt(5) end)
      while true do end]], 5 },
    { "1 for a syntax error", "this is not Lua", 1 },
  }
  for _, row in ipairs(rows) do
    it("is " .. row[1], function()
      assert.equal(row[3], status(row[2]))
    end)
  end

  it("is 1 for a missing script", function()
    assert.equal(1, status { options = { "/nonexistent/app.lua" } })
  end)

  it("is 1 for a bad option", function()
    assert.equal(1, status { options = { "--no-such-option" }, code = "" })
  end)

  it("is 1 for a bad value of an option", function()
    assert.equal(1, status { options = { "--schedulers", "many" }, code = "" })
  end)

  it("is 0 after an orderly stop by SIGTERM", function()
    assert.equal(0, status [[
      local actor = require "luactor"
      os.execute "kill -TERM $PPID"
      actor.receive("never", 60000)]])
  end)

  it("is that of a death by SIGINT after an orderly stop", function()
    assert.equal(130, status [[
      local actor = require "luactor"
      io.popen("kill -INT $PPID"):close() -- os.execute would ignore it here
      actor.receive("never", 60000)]])
  end)
end)

describe("the report of a failed first process", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("reads as that of lua5.4", function()
    local _, err, _, script = helper.cli { code = "\nerror 'my message'" }
    assert.equal("luactor: " .. script .. ":2: my message",
      err:match "^[^\n]*")
  end)

  it("has a traceback", function()
    local _, err = helper.cli { code = "\nerror 'my message'" }
    assert.matches("\nstack traceback:\n", err)
  end)

  it("is printed once", function()
    local _, err = helper.cli { code = "\nerror 'my message'" }
    assert.equal(1, (select(2, err:gsub("my message", ""))))
  end)

  it("names a script that is missing", function()
    local _, err = helper.cli { options = { "/nonexistent/app.lua" } }
    assert.matches("/nonexistent/app%.lua", err)
  end)
end)

describe("the host", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("stays up while a process can run", function()
    assert.equal("second\n", (helper.cli { code = [[
      local actor = require "luactor"
      actor.spawn(function()
        actor.sleep(20)
        print "second"
      end)
    ]] }))
  end)

  it("stays up for a timer that will wake a process", function()
    assert.equal("woken\n", (helper.cli { code = [[
      local actor = require "luactor"
      local pid = actor.spawn(function()
        actor.receive "due"
        print "woken"
      end)
      actor.spawn(function()
        actor.send_after(20, pid, "due")
        actor.receive("never", 40)
      end)
    ]] }))
  end)

  it("stays up for a process that blocks a thread", function()
    assert.equal("blocked\n", (helper.cli { code = [[
      local actor = require "luactor"
      actor.spawn(function()
        actor.blocking(os.execute, "sleep 0.2")
        print "blocked"
      end)
    ]] }))
  end)

  it("ends with 0 when those left can never wake", function()
    local _, _, status = helper.cli { seconds = 20, code = [[
      local actor = require "luactor"
      for _ = 1, 10 do
        actor.spawn(function() actor.receive("never") end)
      end
    ]] }
    assert.equal(0, status)
  end)

  describe("whose first process can never wake", function()
    local function deadlock()
      return helper.cli { seconds = 20, code = [[
        local actor = require "luactor"
        actor.spawn_opt({ name = "sleeper" }, function() actor.receive("never") end)
        print(actor.self())
        actor.receive("never")
      ]] }
    end

    it("ends with 1", function()
      assert.equal(1, (select(3, deadlock())))
    end)

    it("says so", function()
      local _, err = deadlock()
      assert.matches("deadlock: every process is waiting", err, 1, true)
    end)

    it("lists the processes with their pids", function()
      local out, err = deadlock()
      assert.is_truthy(err:find(out:match "%S+", 1, true))
    end)

    it("lists the processes with their names", function()
      local _, err = deadlock()
      assert.matches("sleeper", err)
    end)

    it("lists the processes with their lines", function()
      local _, err = deadlock()
      assert.matches("%.lua:4", err)
    end)

    it("finds calls in a ring of waits too", function()
      local _, err, status = helper.cli { seconds = 20, code = [[
        local actor = require "luactor"
        local a = actor.spawn(function() actor.receive("never") end)
        actor.monitor(a)
        actor.receive(actor.on("x", print))
      ]] }
      assert.same({ 1, true }, { status, err:find "deadlock" ~= nil })
    end)
  end)

  it("ends at actor.halt although others run", function()
    local out, _, status = helper.cli { seconds = 20, code = [[
      local actor = require "luactor"
      for _ = 1, 10 do actor.spawn(function() while true do end end) end
      print "halting"
      actor.halt(3)
    ]] }
    assert.same({ "halting\n", 3 }, { out, status })
  end)

  it("flushes what was printed before actor.halt", function()
    assert.equal(100000, #(helper.cli { code = [[
      io.write(("x"):rep(100000))
      require "luactor".halt(0)
    ]] }))
  end)
end)

describe("SIGTERM", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("sends shutdown to the processes without a parent", function()
    local out = helper.cli { seconds = 20, code = [[
      local actor = require "luactor"
      actor.trap_exit(true)
      os.execute "kill -TERM $PPID"
      print((actor.receive({ "EXIT", actor._, actor.var.reason }, 60000)))
    ]] }
    assert.equal("shutdown\n", out)
  end)

  it("then sends it to every process that is left", function()
    local out = helper.cli { seconds = 20, code = [[
      local actor = require "luactor"
      local me = actor.self()
      actor.spawn(function()
        actor.trap_exit(true)
        actor.send(me, "ready")
        print("child", (actor.receive { "EXIT", actor._, actor.var.reason }))
      end)
      actor.receive "ready"
      os.execute "kill -TERM $PPID"
      actor.receive("never", 60000)
    ]] }
    assert.equal("child\tshutdown\n", out)
  end)

  it("ends processes that loop", function()
    local _, _, status = helper.cli { seconds = 20, code = [[
      local actor = require "luactor"
      for _ = 1, 5 do actor.spawn(function() while true do end end) end
      os.execute "kill -TERM $PPID"
      while true do end
    ]] }
    assert.equal(0, status)
  end)

  it("runs pending close variables", function()
    local out = helper.cli { seconds = 20, code = [[
      local actor = require "luactor"
      local c <close> = setmetatable({}, { __close = function() print "closed" end })
      os.execute "kill -TERM $PPID"
      actor.receive("never", 60000)
    ]] }
    assert.equal("closed\n", out)
  end)

  it("ends a host whose processes ignore it, after a while", function()
    local _, _, status = helper.cli { seconds = 30, code = [[
      local actor = require "luactor"
      actor.trap_exit(true)
      os.execute "kill -TERM $PPID"
      while true do actor.receive("never", 60000) end
    ]] }
    assert.not_equal(124, status)
  end)

  it("ends the host at once when it comes twice", function()
    local _, _, status = helper.cli { seconds = 20, code = [[
      local actor = require "luactor"
      actor.trap_exit(true)
      os.execute "kill -TERM $PPID"
      actor.receive({ "EXIT", actor._, actor._ }, 60000)
      os.execute "kill -TERM $PPID"
      while true do actor.receive("never", 60000) end
    ]] }
    assert.not_equal(124, status)
  end)
end)

describe("a chunk", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("comes from -e", function()
    assert.equal("6\n", (helper.cli { options = { "-e", "print(2 * 3)" } }))
  end)

  it("comes from standard input with -", function()
    assert.equal("from stdin\n",
      (helper.cli { options = { "-" }, stdin = "print 'from stdin'" }))
  end)

  it("gets its arguments in arg and ...", function()
    assert.equal("a\tb\t2\ta\n", (helper.cli {
      code = "print(arg[1], arg[2], select('#', ...), (...))",
      args = { "a", "b" } }))
  end)

  it("finds its own name in arg[0]", function()
    local out, _, _, script = helper.cli { code = "print(arg[0])" }
    assert.equal(script .. "\n", out)
  end)

  it("may begin with a line for the shell", function()
    assert.equal("ran\n", (helper.cli { code = "#!/usr/bin/env luactor\nprint 'ran'" }))
  end)

  it("follows the modules of -l", function()
    assert.equal("function\n", (helper.cli {
      options = { "-l", "lpeg" }, code = "print(type(lpeg.P))" }))
  end)
end)

describe("the command", function()
  before_each(helper.mark)
  after_each(helper.check)

  for _, option in ipairs { "--version", "-v", "--help", "-h" } do
    it("prints for " .. option .. " and succeeds", function()
      local out, _, status = helper.cli { options = { option } }
      assert.same({ true, 0 }, { #out > 0, status })
    end)
  end
end)

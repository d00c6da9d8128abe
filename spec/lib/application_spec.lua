local application = require "luactor.application"
local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local _ENV = _G -- functions that travel take the real globals along

-- What a command prints that runs this code; its status and standard error.
local PRELUDE <const> = [[
local actor = require "luactor"
local application = require "luactor.application"
local supervisor = require "luactor.supervisor"
require "luactor.log".configure{ level = "none" }

-- An application with one worker, which tells of its life.
local function worker(name)
  print("+" .. name)
  return actor.spawn_opt({ link = true, trap_exit = true, name = name .. "_worker" }, function()
    local message = actor.receive()
    print("-" .. name)
    actor.exit(message[3] or message[1])
  end)
end
local function app(name, needs, more)
  local spec = { name = name, applications = needs, start = { function(n)
    return supervisor.start_link{ intensity = 0, children = { { id = "w", start = { worker, n } } } }
  end, name } }
  for k, v in pairs(more or {}) do spec[k] = v end
  return application.define(spec)
end
local function names(list)
  local out = {}
  for i, a in ipairs(list) do out[i] = a.name end
  return table.concat(out, " ")
end
local function show(...)
  local out = table.pack(...)
  for i = 1, out.n do
    local v = out[i]
    out[i] = type(v) == "table" and "{" .. table.concat(v, " ") .. "}" or tostring(v)
  end
  print(table.concat(out, " "))
end
]]

local function run(code)
  local out, errors, status = helper.cli { code = PRELUDE .. code }
  return out, status, errors
end

local function prints(expected, code, wanted_status)
  local out, status, errors = run(code)
  assert.equal(expected, out, errors)
  assert.equal(wanted_status or 0, status, errors)
end

describe("application.start", function()
  it("starts and stops, in order", function()
    prints("+a\ntrue\na\n-a\ntrue\n\nnil {not_started a}\n", [[
      app "a"
      show(application.start "a")
      print(names(application.which_applications()))
      show(application.stop "a")
      print(names(application.which_applications()))
      show(application.stop "a")]])
  end)

  it("wants what is needed to run", function()
    prints("nil {not_started a}\n+a\ntrue\n+b\ntrue\nnil {already_started b}\ntrue\nb a\n-b\n-a\n", [[
      app "a" app("b", { "a" })
      show(application.start "b")
      show(application.start "a")
      show(application.start "b")
      show(application.start "b")
      show(application.ensure_started "b")
      print(names(application.which_applications()))
      application.stop "b" application.stop "a"]])
  end)

  it("tells why it failed", function()
    prints("nil no luck\nnil {not_found no_such_app}\nnil {bad_return_value 3}\n", [[
      application.define{ name = "a", start = function() return nil, "no luck" end }
      show(application.start "a")
      show(application.start "no_such_app")
      application.define{ name = "b", start = function() return 3 end }
      show(application.start "b")]])
  end)

  it("finds an application by its value and as a module", function()
    prints("true\ntrue\n", [[
      package.preload.lib_app = function() return application.define{ name = "lib_app" } end
      show(application.start "lib_app")
      show(application.start(application.define{ name = "x" }))
      application.stop "x" application.stop "lib_app"]])
  end)
end)

describe("application.ensure_all_started", function()
  it("starts what is needed first, each once", function()
    prints("+a\n+b\n+c\n+d\n{a b c d}\n{}\nd c b a\n", [[
      app "a" app("b", { "a" }) app("c", { "a", "b" })
      local d = app("d", { "b", "c" })
      show(application.ensure_all_started(d))
      show(application.ensure_all_started "d")
      print(names(application.which_applications()))
      actor.halt(0)]])
  end)

  it("stops what it has started when one fails", function()
    prints("+a\n+b\n-b\nc bad\na\n", [[
      app "a" app("b", { "a" })
      application.define{ name = "c", applications = { "b" }, start = function() return nil, "bad" end }
      application.start "a"
      local _, why = application.ensure_all_started "c"
      show(why[1], why[2])
      print(names(application.which_applications()))
      actor.halt(0)]])
  end)

  it("names a circle", function()
    prints("true\n", [[
      app("a", { "b" }) app("b", { "c" }) app("c", { "b" })
      local ok, e = pcall(application.ensure_all_started, "a")
      print(e:find("application: 'b' needs itself: b -> c -> b", 1, true) ~= nil)]])
  end)

  it("names what nobody knows", function()
    prints("b not_found b\n", [[
      app("a", { "b" })
      local _, why = application.ensure_all_started "a"
      show(why[1], why[2][1], why[2][2])]])
  end)
end)

describe("an application's callbacks", function()
  it("get the state that start gave", function()
    prints("prep s\n-a\nstop s2\n", [[
      local a = application.define{ name = "a",
        start = function()
          return supervisor.start_link{ children = { { id = "w", start = { function()
            return actor.spawn_opt({ link = true, trap_exit = true }, function() actor.receive() print "-a" end)
          end } } } }, "s"
        end,
        prep_stop = function(s) print("prep " .. s) return "s2" end,
        stop = function(s) print("stop " .. s) end }
      application.start(a)
      application.stop(a)]])
  end)
end)

describe("the end of an application", function()
  local CODE <const> = [[
    app("a", {}, { stop = function() print "stop a" end }) app "b"
    application.start "b"
    application.start("a", %q)
    actor.send("a_worker", { %q })
    while actor.whereis "a_worker" do actor.sleep(1) end
    while #application.which_applications() > 1 do actor.sleep(1) end
    print(names(application.which_applications()))
    actor.halt(7)]]

  it("stops the host when it is permanent, the others in order", function()
    prints("+b\n+a\n-a\nstop a\n-b\n", CODE:format("permanent", "crash"), 1)
  end)

  it("stops the host when it is transient and fails", function()
    prints("+b\n+a\n-a\nstop a\n-b\n", CODE:format("transient", "crash"), 1)
  end)

  it("is reported when it is temporary", function()
    prints("+b\n+a\n-a\nstop a\nb\n", CODE:format("temporary", "crash"), 7)
  end)
end)

describe("an orderly stop of the host", function()
  it("stops applications in reverse order", function()
    prints("+a\n+b\n+c\n-c\nstop c\n-b\nstop b\n-a\nstop a\n", [[
      local function more(n) return { stop = function() print("stop " .. n) end } end
      app("a", {}, more "a") app("b", { "a" }, more "b") app("c", { "b" }, more "c")
      application.ensure_all_started "c"
      io.stdout:flush()
      local pid = io.open("/proc/self/stat"):read "n"
      os.execute("kill -TERM " .. pid)
      actor.receive "never"]])
  end)
end)

describe("settings", function()
  it("come from the definition, the configuration, and set_env", function()
    prints("80\nnil\ndefault\n81\n82\nx 82\nnil\n", [[
      app("a", {}, { env = { port = 80 } })
      application.load "a"
      show(application.get_env("a", "port"))
      show(application.get_env("a", "host"))
      show(application.get_env("a", "host", "default"))
      application.config{ a = { port = 81, host = "x" } }
      show(application.get_env("a", "port"))
      application.set_env("a", "port", 82)
      show(application.get_env("a", "port"))
      local all = application.get_all_env "a"
      show(all.host, all.port)
      application.set_env("a", "port", nil)
      show(application.get_env("a", "port"))]])
  end)

  it("of an application that is not loaded wait for it", function()
    prints("81\n81\n9\n", [[
      application.config{ a = { port = 81 } }
      application.set_env("a", "n", 9)
      show(application.get_env("a", "port"))
      app("a", {}, { env = { port = 80, n = 1 } })
      application.load "a"
      show(application.get_env("a", "port"))
      show(application.get_env("a", "n"))]])
  end)

  it("are seen by start, which knows its application", function()
    prints("a 80\nnil\n", [[
      local a = application.define{ name = "a", env = { port = 80 }, start = function()
        local name = application.get_application()
        show(name, application.get_env(name, "port"))
        return supervisor.start_link{}
      end }
      application.start(a)
      show(application.get_application())
      application.stop(a)]])
  end)

  local function config_file(text)
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(text)
    file:close()
    return path
  end

  it("come from a file without globals", function()
    for _, text in ipairs { "{ a = { port = 90 } }", "-- comment\nreturn { a = { port = 90 } }" } do
      local path = config_file(text)
      prints("90\n", ([[application.load_config(%q) show(application.get_env("a", "port"))]]):format(path))
      os.remove(path)
    end
  end)

  it("of a file that is none are refused with the place", function()
    local cases = {
      ["{ a = os.time() }"] = "attempt to index a nil value (global 'os')",
      ["{ a = "] = ":1:",
      ["{ a = 3 }"] = "bad field 'a' (table of settings expected, got 3)",
      ["{ a = { f = function() end } }"] = "config.a.f (function) is no plain value",
      ["17"] = "a table of tables expected, got 17",
    }
    for text, expected in pairs(cases) do
      local path = config_file(text)
      local ok, e = pcall(application.load_config, path)
      os.remove(path)
      assert.is_false(ok)
      assert.matches(expected, e, 1, true)
    end
    local _, e = pcall(application.load_config, "/no/such/file")
    assert.matches("/no/such/file", e, 1, true)
  end)
end)

describe("bad input to luactor.application", function()
  for text, f in pairs {
    ["application: bad field 'name' (string expected, got nil)"] = function() application.define{} end,
    ["application: bad field 'start' (function, 'module.function' or { function, arguments... } expected, got 3)"] =
      function() application.define{ name = "a", start = 3 } end,
    ["application: bad field 'stop' (function expected, got 'x')"] = function() application.define{ name = "a", stop = "x" } end,
    ["application: bad field 'env' (table expected, got 1)"] = function() application.define{ name = "a", env = 1 } end,
    ["application: bad field 'applications' (list of names or applications expected, got 7)"] =
      function() application.define{ name = "a", applications = { 7 } } end,
    ["application: unknown field 'starts'"] = function() application.define{ name = "a", starts = 1 } end,
    ["bad argument #1 to 'define' (table expected, got nil)"] = function() application.define() end,
    ["bad argument #1 to 'start' (application or name expected, got 7)"] = function() application.start(7) end,
    ["application: bad type ('permanent', 'transient' or 'temporary' expected, got 'often')"] =
      function() application.start("a", "often") end,
    ["bad argument #2 to 'get_env' (string expected, got 3)"] = function() application.get_env("a", 3) end,
    ["application.config: bad field 'a' (table of settings expected, got 1)"] = function() application.config{ a = 1 } end,
  } do
    it("is named: " .. text, function()
      local ok, e = pcall(f)
      assert.is_false(ok)
      assert.matches(text, e, 1, true)
    end)
  end
end)

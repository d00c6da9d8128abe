local actor = require "luactor"
local helper = require "spec.helper"
local child = require "spec.fixture.child"
local words = require "spec.fixture.words"

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- functions that travel take the real globals along

local V = actor.var
local LIBRARIES = { "string", "table", "math", "coroutine", "utf8" }
local HEAP = 4 * 1024 * 1024

local function opts(names, more)
  local o = { sandbox = names or LIBRARIES, max_heap = HEAP,
    mailbox = { limit = 100 }, monitor = true }
  for k, v in pairs(more or {}) do o[k] = v end
  return o
end

-- Run `fn` in a sandbox with the libraries `names`; its reason to end.
local function boxed(names, fn, ...)
  local _, mon = actor.spawn_opt(opts(names), fn, ...)
  return (helper.down(mon))
end

-- The same; what it gives to actor.exit is the result.
local function result(fn, ...) return boxed(nil, fn, ...) end

-- The text of the error with which a function ends in a sandbox.
local function error_of(fn, ...)
  local why = boxed(nil, fn, ...)
  assert.equal("error", why[1])
  return why[2]
end

describe("a sandbox", function()
  before_each(helper.mark)
  after_each(helper.check)

  it("has the named libraries and what gives no rights, nothing else",
    function()
      local names = boxed({ "string", "table" }, function()
        local t = {}
        for k in pairs(_G) do t[#t + 1] = k end
        table.sort(t)
        actor.exit(t)
      end)
      assert.same({ "_G", "_VERSION", "assert", "collectgarbage", "error",
        "getmetatable", "ipairs", "load", "next", "pairs", "pcall", "print",
        "rawequal", "rawget", "rawlen", "rawset", "require", "select",
        "setmetatable", "string", "table", "tonumber", "tostring", "type",
        "xpcall" }, names)
    end)

  it("has the core calls that reach nobody else", function()
    local calls, inner = table.unpack(boxed({ "table" }, function()
      local function names(m)
        local t = {}
        for k in pairs(m) do t[#t + 1] = k end
        table.sort(t)
        return table.concat(t, " ")
      end
      actor.exit({ names(actor), names(require "luactor._core") })
    end))
    assert.equal("_ after alias atom atomkeys bin call cancel cast cons " ..
      "demonitor exact exit export flush info is is_alive label link mailbox " ..
      "map match monitor now null on oneof pack parent post processes " ..
      "receive receiver ref reply request scope self send send_after " ..
      "send_every sender sleep spawn spawn_link spawn_monitor spawn_opt " ..
      "trap_exit try_call try_send tuple unalias unlink unpack var yield",
      calls)
    assert.equal("caller has_image home last node_name pool_close pool_crashed pool_info " ..
      "pool_join pool_open pool_process pool_quit pool_target reply_once " ..
      "report schedulers scope_fault scope_kill scope_new scope_spawn " ..
      "scope_wait spawn_root spawn_tied task_mailbox tie traps_exit",
      (inner:gsub("fail_after ", "")))
  end)

  it("sends no function and no system message out of it", function()
    local agent = require "luactor.agent"
    local a = agent.start_link(function() return 1 end)
    local got = boxed({ "string", "table" }, function(server)
      local f, sys = function() return io end, require "luactor.sys"
      local t = {}
      for _, try in ipairs {
        function() actor.send(server, { "$gen_call", {}, f }) end,
        function() actor.call(server, { "get", string.rep }) end,
        function() actor.cast(server, { "update", { deep = { f } } }) end,
        function() actor.send_after(0, server, { f }) end,
        function() actor.send(server, { "system", { actor.self(), 1 }, "x" }) end,
        function() actor.post(server, "system", 1, "x") end,
        function() actor.send(server, actor.tuple { actor.atom "system", 1 }) end,
        function() actor.try_send(server, { "system", 1, x = 2 }) end,
        function() actor.send_after(0, server, { "system" }) end,
        function() sys.suspend(server) end,
      } do
        t[#t + 1] = tostring(select(2, pcall(try)))
      end
      -- Inside it may.
      local me = actor.self()
      actor.send(me, { "do", function() return 5 end })
      t[#t + 1] = actor.receive({ "do", V.f })()
      actor.exit(t)
    end, a.pid or a)
    for i = 1, 4 do
      assert.is_truthy(got[i]:find("cannot send a function out", 1, true), got[i])
    end
    for i = 5, 10 do
      assert.is_truthy(got[i]:find("cannot send a system message out", 1, true),
        i .. got[i])
    end
    assert.equal(5, got[11])
    agent.stop(a)
  end)

  it("has no methods of strings without their library", function()
    local got = boxed({ "table" }, function()
      actor.exit({ pcall(function() return ("x"):rep(3) end) })
    end)
    assert.is_false(got[1])
    assert.is_truthy(got[2]:find "index a string value")
  end)

  it("has of os only the time", function()
    local got = boxed({ "os", "table" }, function()
      local t = {}
      for k in pairs(os) do t[#t + 1] = k end
      table.sort(t)
      actor.exit(t)
    end)
    assert.same({ "clock", "date", "difftime", "time" }, got)
  end)

  it("has no bytecode", function()
    local code = string.dump(function() return "run" end)
    local got = result(function()
      local pieces = { code }
      actor.exit({ tostring(string.dump), tostring(("").dump),
        tostring(load(code)), tostring(load(code, "x", "b")),
        tostring(load(code, "x", "bt", {})),
        tostring(load(function() return table.remove(pieces) end)),
        tostring(load("return 1", "x", "b")), load("return 1 + 1")(),
        load("return x", "x", "bt", { x = 3 })() })
    end)
    assert.same({ "nil", "nil", "nil", "nil", "nil", "nil", "nil", 2, 3 }, got)
  end)

  it("requires only what is named", function()
    local got = result(function()
      local t = { require "string" == string, require "luactor" == actor }
      for _, name in ipairs { "io", "os", "debug", "package", "lpeg",
        "luactor.node", "luactor._node", "luactor.log", "spec.helper",
        "cjson" } do
        t[#t + 1] = select(2, pcall(require, name))
      end
      actor.exit(t)
    end)
    assert.is_true(got[1])
    assert.is_true(got[2])
    for i = 3, #got do
      assert.is_truthy(got[i]:find("is not in the sandbox", 1, true), got[i])
    end
    assert.equal(12, #got)
  end)

  it("may be given Lua modules by name, which have its rights", function()
    local got = boxed({ "string", "table", "spec.fixture.words", "lpeg" },
      function()
        local lpeg = require "lpeg"
        actor.exit({ type(require "spec.fixture.words"),
          lpeg.match(lpeg.P "x", "x"), type(words) })
      end)
    assert.same({ type(words), 2, type(words) }, got)
  end)

  it("takes no module along that is not named", function()
    local lib, open = io, io.open
    assert.is_truthy(error_of(function() return lib end)
      :find("module 'io' is not in the sandbox", 1, true))
    assert.is_truthy(error_of(function() return open end)
      :find("module 'io' is not in the sandbox", 1, true))
    assert.is_truthy(error_of(function() return child end)
      :find("module 'spec.fixture.child' is not in the sandbox", 1, true))
    assert.is_truthy(boxed(nil, "spec.helper.tell")[2]
      :find("module 'spec.helper' is not in the sandbox", 1, true))
  end)

  it("gets none in a message", function()
    local pid, mon = actor.spawn_opt(opts(), function()
      local got = { pcall(actor.receive, { "take", V.f }) }
      actor.exit({ got[1], tostring(got[2]) })
    end)
    actor.send(pid, { "take", io.open })
    local got = helper.down(mon)
    assert.is_false(got[1])
    assert.is_truthy(got[2]:find("not in the sandbox", 1, true))
  end)

  it("gives its rights to all that it spawns, and no more", function()
    local got = result(function()
      local me = actor.self()
      local function look(tag)
        actor.send(me, { tag, tostring(io) .. tostring(os) ..
          tostring(string.dump) .. tostring(actor.halt) })
      end
      actor.spawn(look, "spawn")
      actor.spawn_link(look, "link")
      actor.spawn_opt({ label = "x" }, look, "opt")
      actor.spawn_opt(
        { sandbox = { "string" }, max_heap = 100000, mailbox = { limit = 9 } },
        look, "within")
      actor.scope(function(s) s:spawn(look, "scope") end)
      local task = require "luactor.task"
      task.await(task.async(look, "task"))
      require("luactor._core").spawn_root({}, look, "root")
      local t = {}
      for i, tag in ipairs { "spawn", "link", "opt", "within", "scope", "task",
        "root" } do
        t[i] = actor.receive({ tag, V.what })
      end
      actor.exit(t)
    end)
    for i = 1, 7 do assert.equal("nilnilnilnil", got[i]) end
  end)

  it("cannot be widened from inside", function()
    local got = result(function()
      local function try(o)
        return select(2, pcall(actor.spawn_opt, o, print))
      end
      local box = { limit = 10 }
      actor.exit({
        try { sandbox = { "os" }, max_heap = 1000, mailbox = box },
        try { sandbox = { "lpeg" }, max_heap = 1000, mailbox = box },
        try { max_heap = 1 << 40 },
        try { mailbox = { limit = 1000 } },
        try { name = "squatter" },
        try { thread = "own" },
        try { priority = "max" },
        select(2, pcall(actor.mailbox, { limit = 1000 })),
      })
    end)
    for i, text in ipairs {
      "'os' is not in the sandbox of the parent",
      "'lpeg' is not in the sandbox of the parent",
      "bad option 'max_heap' (at most 4194304 in this sandbox)",
      "bad option 'mailbox.limit' (at most 100 in this sandbox)",
      "option 'name' is not available in a sandbox",
      "option 'thread' is not available in a sandbox",
      "bad option 'priority' (at most 'normal' in a sandbox)",
      "bad option 'mailbox.limit' (at most 100 in this sandbox)",
    } do
      assert.is_truthy(got[i]:find(text, 1, true), got[i])
    end
  end)

  it("cannot name processes, nor be named", function()
    actor.register("sandbox_target")
    local got = result(function()
      local t = { tostring(actor.register), tostring(actor.whereis),
        tostring(actor.registered), tostring(actor.pid) }
      for _, f in ipairs {
        function() actor.send("sandbox_target", 1) end,
        function() actor.call("sandbox_target", 1) end,
        function() actor.cast({ "sandbox_target", "nonode@nohost" }, 1) end,
        function() actor.monitor("sandbox_target") end,
        function() actor.send_after(0, "sandbox_target", 1) end,
        function() actor.try_send("sandbox_target", 1) end,
      } do
        t[#t + 1] = select(2, pcall(f))
      end
      actor.exit(t)
    end)
    actor.unregister "sandbox_target"
    assert.same({ "nil", "nil", "nil", "nil" }, { table.unpack(got, 1, 4) })
    for i = 5, 10 do
      assert.is_truthy(got[i]:find "is no destination in a sandbox", got[i])
    end
  end)

  it("cannot make up a pid", function()
    local bytes = actor.pack(actor.self())
    local got = result(function()
      actor.exit({ pcall(actor.unpack, bytes) })
    end)
    assert.is_false(got[1])
    assert.is_truthy(got[2]:find "identity in a sandbox")
  end)

  it("sees its own processes only", function()
    local idle = helper.spawn_idle()
    local got = result(function()
      for _ = 1, 3 do actor.spawn(function() actor.receive("never") end) end
      actor.exit(#actor.processes())
    end)
    assert.equal(4, got)
    helper.kill(idle)
  end)

  it("may send to, call and monitor who it was given, and nothing more",
    function()
      local echo = helper.spawn_echo()
      local got = result(function()
        actor.send(echo, { actor.self(), "hello" })
        local back = actor.receive({ echo, V.value })
        actor.exit({ back, actor.is_alive(echo),
          actor.demonitor(actor.monitor(echo)),
          select(2, pcall(actor.exit, echo, "kill")),
          select(2, pcall(actor.link, echo)),
          select(2, pcall(actor.info, echo)) })
      end)
      assert.same({ "hello", true, true }, { table.unpack(got, 1, 3) })
      for i = 4, 6 do
        assert.is_truthy(got[i]:find("process is outside the sandbox", 1, true))
      end
      assert.is_true(actor.is_alive(echo))
      helper.kill(echo)
    end)

  it("rules its own", function()
    local got = result(function()
      local pid, mon = actor.spawn_monitor(function() actor.receive("x") end)
      local known = actor.info(pid).links[1] == nil
      actor.link(pid)
      actor.unlink(pid)
      actor.exit(pid, "enough")
      actor.exit({ known, actor.receive({ "DOWN", mon, "process", pid, V.r }) })
    end)
    assert.same({ true, "enough" }, got)
  end)

  it("does not learn who watches it", function()
    local pid, mon = actor.spawn_opt(opts(nil, { link = true }), function()
      actor.receive("go")
      local i = actor.info(actor.self())
      actor.unlink(actor.parent())
      actor.exit({ #i.links, #i.monitored_by })
    end)
    actor.trap_exit(true)
    actor.send(pid, "go")
    assert.same({ 0, 0 }, (helper.down(mon)))
    actor.trap_exit(false)
    actor.flush({ "EXIT", actor._, actor._ })
  end)

  it("makes nobody load a module", function()
    local got = result(function()
      local bad = setmetatable({}, { __transfer = function()
        return "spec.fixture.words", 1
      end })
      actor.exit({ pcall(actor.send, actor.parent(), bad) })
    end)
    assert.is_false(got[1])
    assert.is_truthy(got[2]:find "a module outside the sandbox", got[2])
  end)

  it("limits its processes together", function()
    local _, mon = actor.spawn_opt(opts(), function()
      while true do
        pcall(actor.spawn, function()
          local t = {}
          for i = 1, 40000 do t[i] = {} end
          actor.receive("never")
        end)
      end
    end)
    assert.same({ "group_limit", "memory", 16 * HEAP }, (helper.down(mon)))
    local got = result(function()
      local n = 0
      while pcall(actor.spawn, function() actor.receive("never") end) do
        n = n + 1
      end
      actor.exit(n)
    end)
    assert.equal(99, got)
  end)

  it("runs servers and tasks", function()
    local got = result(function()
      local gen_server = require "luactor.gen_server"
      local Counter = gen_server.define "counter"
      function Counter:init(n) self.n = n end
      function Counter.call:add(k)
        self.n = self.n + k
        return self.n
      end
      local c = Counter:start_link(1)
      actor.exit({ c:add(2), c:add(3) })
    end)
    assert.same({ 3, 6 }, got)
  end)

  it("needs its limits, and known names", function()
    for _, case in ipairs {
      { { sandbox = {} }, "option 'max_heap' is required with 'sandbox'" },
      { { sandbox = {}, max_heap = 1 },
        "option 'mailbox.limit' is required with 'sandbox'" },
      { opts(1), "bad option 'sandbox' (list of names expected, got number)" },
      { opts { "strnig" }, "bad option 'sandbox' (unknown name 'strnig')" },
      { opts { "io" }, "bad option 'sandbox' ('io' is not for a sandbox)" },
      { opts { "luactor.node" },
        "bad option 'sandbox' (unknown name 'luactor.node')" },
      { opts { 5 }, "bad option 'sandbox' (name expected at 1, got 5)" },
    } do
      local ok, why = pcall(actor.spawn_opt, case[1], print)
      assert.is_false(ok)
      assert.is_truthy(why:find(case[2], 1, true), why)
    end
  end)
end)

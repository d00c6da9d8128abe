local helper = require "spec.helper"

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- functions that travel take the real globals along
-- Every offender runs in a fresh host with one scheduler, beside a process
-- that must still be able to answer, and is then killed.
local offenders = {
  -- plain loops
  ["an endless while"] = "while true do end",
  ["an endless repeat"] = "repeat until false",
  ["an endless goto"] = "::again:: goto again",
  ["a numeric for without end"] = "for i = 1, math.huge do end",
  ["a loop that calls C functions"] =
    "while true do local x = ('x'):rep(100) .. tostring(1) end",
  ["endless tail calls"] = "local function f() return f() end f()",
  ["a deep recursion that takes for ever"] =
    "local function fib(n) return n < 2 and n or fib(n-1) + fib(n-2) end fib(200)",
  ["a loop of messages to itself"] = [[
    while true do actor.send(actor.self(), 1) actor.receive() end]],
  ["a loop of polls"] = "while true do actor.receive('never', 0) end",
  ["a loop of yields"] = "while true do actor.yield() end",

  -- errors
  ["a loop inside pcall"] = "pcall(function() while true do end end)",
  ["a loop of failing pcalls"] = "while true do pcall(error, 'x') end",
  ["a pcall that is started again and again"] =
    "while true do pcall(function() while true do end end) end",
  ["pcalls within pcalls"] = [[
    local function nest(n)
      while true do pcall(n > 0 and nest or error, n - 1) end
    end
    nest(20)]],
  ["a loop inside an xpcall handler"] =
    "xpcall(error, function() while true do end end, 'x')",
  ["an xpcall handler in a loop of xpcalls"] = [[
    while true do
      xpcall(function() while true do end end, function() while true do end end)
    end]],
  ["a loop of stack overflows"] = [[
    local function deep() return 1 + deep() end
    while true do pcall(deep) end]],

  -- coroutines
  ["a loop inside a coroutine"] =
    "coroutine.wrap(function() while true do end end)()",
  ["a loop inside nested coroutines"] = [[
    local function nest(n)
      if n == 0 then while true do end end
      coroutine.wrap(nest)(n - 1)
    end
    nest(20)]],
  ["a loop of short coroutines"] =
    "while true do coroutine.wrap(function() end)() end",
  ["a loop of resumes"] = [[
    local co = coroutine.wrap(function() while true do coroutine.yield() end end)
    while true do co() end]],
  ["two coroutines that wake each other"] = [[
    local function turn() while true do coroutine.yield() end end
    local a, b = coroutine.wrap(turn), coroutine.wrap(turn)
    while true do a() b() end]],
  ["a coroutine whose pcall never ends"] = [[
    coroutine.wrap(function()
      while true do pcall(function() while true do end end) end
    end)()]],
  ["a coroutine whose __close never ends"] = [[
    local co = coroutine.create(function()
      local c <close> = setmetatable({}, { __close = function()
        while true do end
      end })
      coroutine.yield()
    end)
    coroutine.resume(co)
    coroutine.close(co)]],

  -- library functions that call back
  ["a sort comparator that loops"] =
    "table.sort({ 3, 2, 1 }, function() while true do end end)",
  ["a sort of a great table"] = [[
    local t = {}
    for i = 1, 200000 do t[i] = (i * 7919) % 200003 end
    while true do table.sort(t, function(a, b) return a < b end)
      table.sort(t, function(a, b) return a > b end) end]],
  ["a loop of sorts without a comparator"] = [[
    local t = {}
    for i = 1, 100000 do t[i] = (i * 7919) % 100003 end
    while true do
      local u = table.move(t, 1, #t, 1, {})
      table.sort(u)
    end]],
  ["a gsub callback that loops"] =
    "('abc'):gsub('.', function() while true do end end)",
  ["a gsub table whose __index loops"] = [[
    ('abc'):gsub('.', setmetatable({}, { __index = function()
      while true do end
    end }))]],
  ["a gsub over an endless supply of matches"] =
    "while true do ('x'):rep(100000):gsub('x', '%0%0') end",
  ["a load reader that loops"] = "load(function() while true do end end)",
  ["a load reader that never ends"] = "load(function() return ' ' end)",
  ["loaded code that loops"] = "load('while true do end')()",
  ["a required module that loops"] = [[
    package.preload.looping = function() while true do end end
    require 'looping']],
  ["a package searcher that loops"] = [[
    table.insert(package.searchers, 1, function() while true do end end)
    require 'nothing']],
  ["a __tostring that loops"] = [[
    tostring(setmetatable({}, { __tostring = function() while true do end end }))]],
  ["a __tostring that print calls"] = [[
    print(setmetatable({}, { __tostring = function() while true do end end }))]],
  ["a __tostring that string.format calls"] = [[
    string.format('%s', setmetatable({}, { __tostring = function()
      while true do end
    end }))]],
  ["an ipairs without end"] = [[
    for _ in ipairs(setmetatable({}, { __index = function(_, i) return i end })) do
    end]],
  ["a __pairs iterator without end"] = [[
    for _ in pairs(setmetatable({}, { __pairs = function()
      return function() return 1 end
    end })) do end]],
  ["a table.concat whose __index loops"] = [[
    table.concat(setmetatable({}, { __len = function() return 10 end,
      __index = function() while true do end end }))]],
  ["a table.unpack whose __index loops"] = [[
    table.unpack(setmetatable({}, { __index = function()
      while true do end
    end }), 1, 10)]],
  ["a table.insert whose __newindex loops"] = [[
    table.insert(setmetatable({}, { __newindex = function()
      while true do end
    end }), 1)]],
  ["a table.move over a great range"] = [[
    table.move(setmetatable({}, { __index = function() return nil end,
      __newindex = function() end }), 1, math.maxinteger - 1, 2)]],

  -- metamethods
  ["an __index that loops"] = [[
    local x = setmetatable({}, { __index = function() while true do end end }).x]],
  ["a __newindex that loops"] = [[
    setmetatable({}, { __newindex = function() while true do end end }).x = 1]],
  ["an __add that loops"] = [[
    local x = 1 + setmetatable({}, { __add = function() while true do end end })]],
  ["an __eq that loops"] = [[
    local mt = { __eq = function() while true do end end }
    local x = setmetatable({}, mt) == setmetatable({}, mt)]],
  ["an __lt that loops"] = [[
    local mt = { __lt = function() while true do end end }
    local x = setmetatable({}, mt) < setmetatable({}, mt)]],
  ["a __concat that loops"] = [[
    local x = 'a' .. setmetatable({}, { __concat = function() while true do end end })]],
  ["a __len that loops"] = [[
    local x = #setmetatable({}, { __len = function() while true do end end })]],
  ["a __call that loops"] = [[
    setmetatable({}, { __call = function() while true do end end })()]],
  ["a __close that loops"] = [[
    do
      local c <close> = setmetatable({}, { __close = function()
        while true do end
      end })
    end]],
  ["a __gc that loops"] = [[
    setmetatable({}, { __gc = function() while true do end end })
    collectgarbage()
    while true do local t = {} end]],
  ["a __gc that makes its successor"] = [[
    local mt = {}
    mt.__gc = function() setmetatable({}, mt) end
    setmetatable({}, mt)
    while true do collectgarbage() end]],
  ["a loop of full collections"] = "while true do collectgarbage() end",

  -- patterns that take exponential time
  ["a bad pattern in string.find"] =
    "string.find(('a'):rep(40000), ('.-'):rep(30) .. 'b')",
  ["a bad pattern in string.match"] =
    "string.match(('a'):rep(40000), ('a*'):rep(30) .. 'b')",
  ["a bad pattern in string.gmatch"] =
    "for _ in string.gmatch(('a'):rep(40000), ('.-'):rep(30) .. 'b') do end",
  ["a bad pattern in string.gsub"] =
    "string.gsub(('a'):rep(40000), ('.-'):rep(30) .. 'b', '')",

  -- our own callbacks
  ["a handler that loops"] = [[
    actor.send(actor.self(), 1)
    actor.receive(actor.on(1, function() while true do end end))]],
  ["a guard that loops"] = [[
    actor.send(actor.self(), 1)
    actor.receive(actor.on(actor.var.x, function() while true do end end,
      function() end))]],
  ["an after handler that loops"] = [[
    actor.receive(actor.after(0, function() while true do end end))]],
  ["a __transfer that loops"] = [[
    actor.send(actor.self(), setmetatable({}, { __transfer = function()
      while true do end
    end }))]],

  -- attempts to escape
  ["a loop behind debug.sethook"] = "debug.sethook() while true do end",
  ["a loop behind debug.sethook of a coroutine"] = [[
    local co = coroutine.create(function() while true do end end)
    debug.sethook(co)
    coroutine.resume(co)]],
  ["a loop of debug.sethook"] = "while true do debug.sethook() end",
}

local names = {}
for name in pairs(offenders) do names[#names + 1] = name end
table.sort(names)

local program = [[
local actor = require "luactor"
local V = actor.var
local me = actor.self()

local echo = actor.spawn(function()
  while true do
    local from, n = actor.receive { V.from "pid", V.n }
    actor.send(from, { "echo", n })
  end
end)

local function round_trips(n)
  for i = 1, n do
    actor.send(echo, { me, i })
    if not actor.receive({ "echo", i }, 30000) then return "no answer" end
  end
  return "answered"
end

local pid, mon = actor.spawn_monitor(function()
  actor.send(me, "started");
  OFFENDER
end)
actor.receive "started"
io.write(round_trips(20), " ")
actor.sleep(3)
io.write(round_trips(5), " ")
actor.exit(pid, "kill")
print((actor.receive({ "DOWN", mon, "process", pid, V.reason }, 30000)))
actor.halt(0)
]]

for _, mode in ipairs { "tick", "count" } do
  describe("--preempt " .. mode, function()
    before_each(helper.mark)
    after_each(helper.check)

    for _, name in ipairs(names) do
      it("interrupts and kills " .. name, function()
        local out, err = helper.cli {
          options = { "--schedulers", 1, "--preempt", mode },
          code = (program:gsub("OFFENDER", function() return offenders[name] end)),
        }
        assert.equal("answered answered killed\n", out, err)
      end)
    end
  end)
end

describe("preemption", function()
  before_each(helper.mark)
  after_each(helper.check)

  -- Runs `code` while another process keeps the only scheduler busy, so that
  -- every slice of it ends by preemption.
  local function under_pressure(mode, code)
    return (helper.cli {
      options = { "--schedulers", 1, "--preempt", mode },
      code = [[
        local actor = require "luactor"
        actor.spawn(function() while true do end end)
        ]] .. code .. [[
        actor.halt(0)
      ]],
    })
  end

  local sound = {
    ["sums"] = { [[
      local sum = 0
      for i = 1, 20000000 do sum = sum + i end
      print(sum)]], "200000010000000\n" },
    ["values that pass through coroutines"] = { [[
      local sum = 0
      for x in coroutine.wrap(function()
        for i = 1, 300000 do
          for _ = 1, 20 do end
          coroutine.yield(i)
        end
      end) do sum = sum + x end
      print(sum)]], "45000150000\n" },
    ["values that pass through nested coroutines"] = { [[
      local function gen(depth)
        return coroutine.wrap(function()
          if depth == 0 then
            for i = 1, 30000 do coroutine.yield(i) end
          else
            for x in gen(depth - 1) do coroutine.yield(x) end
          end
        end)
      end
      local sum = 0
      for x in gen(10) do sum = sum + x end
      print(sum)]], "450015000\n" },
    ["the order that a sort makes"] = { [[
      local t = {}
      for i = 1, 100000 do t[i] = (i * 7919) % 100003 end
      table.sort(t, function(a, b) return a < b end)
      for i = 2, #t do assert(t[i - 1] <= t[i]) end
      print(#t)]], "100000\n" },
    ["what gsub makes with a callback"] = { [[
      local n = 0
      local s = ("ab"):rep(100000):gsub("a", function(c)
        for _ = 1, 20 do end
        n = n + 1
        return c:upper()
      end)
      print(n, #s, s:sub(1, 4))]], "100000\t200000\tAbAb\n" },
    ["errors and their messages"] = { [[
      local n = 0
      for i = 1, 100000 do
        local ok, e = pcall(error, i)
        if not ok and e == i then n = n + 1 end
      end
      print(n)]], "100000\n" },
    ["the results of xpcall handlers"] = { [[
      local n = 0
      for i = 1, 50000 do
        local ok, e = xpcall(error, function(e) return e + 1 end, i)
        if not ok and e == i + 1 then n = n + 1 end
      end
      print(n)]], "50000\n" },
    ["what metamethods return"] = { [[
      local mt = {}
      mt.__add = function(a, b)
        for _ = 1, 20 do end
        return setmetatable({ v = a.v + b.v }, mt)
      end
      local sum, one = setmetatable({ v = 0 }, mt), setmetatable({ v = 1 }, mt)
      for _ = 1, 200000 do sum = sum + one end
      print(sum.v)]], "200000\n" },
    ["varargs"] = { [[
      local function count(...) for _ = 1, 20 do end return select("#", ...) end
      local n = 0
      for _ = 1, 200000 do n = n + count(1, nil, 3, nil) end
      print(n)]], "800000\n" },
    ["loaded pieces of code"] = { [[
      local i = 0
      local f = load(function()
        i = i + 1
        for _ = 1, 1000 do end
        if i == 1 then return "local n = 0 " end
        if i < 3000 then return "n = n + 1 " end
        if i == 3000 then return "return n" end
      end)
      print(f())]], "2998\n" },
    ["messages and captures"] = { [[
      local V, me = actor.var, actor.self()
      local pid = actor.spawn(function()
        for i = 1, 20000 do actor.send(me, { "n", i, { i } }) end
      end)
      local sum = 0
      for _ = 1, 20000 do
        local a, b = actor.receive { "n", V.a, { V.b } }
        assert(a == b)
        sum = sum + a
      end
      print(sum)]], "200010000\n" },
  }

  for _, mode in ipairs { "tick", "count" } do
    for what, case in pairs(sound) do
      it("leaves alone " .. what .. " (" .. mode .. ")", function()
        assert.equal(case[2], under_pressure(mode, case[1]))
      end)
    end
  end

  it("is exact and repeatable in count mode", function()
    local function reductions()
      return (helper.cli {
        options = { "--schedulers", 1, "--preempt", "count" },
        code = [[
          local actor = require "luactor"
          local me = actor.self()
          actor.spawn(function()
            for _ = 1, 300000 do end
            actor.send(me, actor.info(actor.self(), "reductions"))
          end)
          print((actor.receive()))
        ]],
      })
    end
    assert.equal(reductions(), reductions())
  end)

  it("keeps a script's own count hook working", function()
    assert.equal("hooked\n", (helper.cli {
      options = { "--schedulers", 1 },
      code = [[
        local n = 0
        debug.sethook(function() n = n + 1 end, "", 1000)
        for _ = 1, 100000 do end
        debug.sethook()
        print(n > 10 and "hooked" or n)
      ]],
    }))
  end)

  it("lets a script see its own hook", function()
    assert.is_true((helper.run(function()
      local function hook() end
      debug.sethook(hook, "l")
      local seen = debug.gethook() == hook
      debug.sethook()
      return seen and debug.gethook() == nil
    end)))
  end)
end)

describe("a C function that does not return", function()
  before_each(helper.mark)
  after_each(helper.check)

  local blocked = [[
    local actor = require "luactor"
    local V, me = actor.var, actor.self()
    local blocker = actor.spawn(function()
      actor.send(me, "blocking")
      os.execute "sleep 2"
      actor.send(me, "returned")
    end)
    actor.receive "blocking"
    local n = 0
    repeat
      actor.sleep(10)
      n = n + 1
    until n == 20
    print(actor.receive("returned", 0) and "waited" or "went on", blocker)
    actor.halt(0)
  ]]

  it("does not stop the other processes", function()
    local out = helper.cli { options = { "--schedulers", 1 }, code = blocked }
    assert.matches("^went on", out)
  end)

  it("is reported with its process", function()
    local out, err = helper.cli { options = { "--schedulers", 1 }, code = blocked }
    local pid = out:match "<0%.%d+>"
    assert.is_truthy(pid and err:find(pid, 1, true))
  end)

  it("is reported with its function", function()
    local _, err = helper.cli { options = { "--schedulers", 1 }, code = blocked }
    assert.matches("execute", err)
  end)

  it("lets its process go on afterwards", function()
    local out = helper.cli {
      options = { "--schedulers", 1 },
      code = [[
        os.execute "sleep 0.4"
        print "afterwards"
      ]],
    }
    assert.equal("afterwards\n", out)
  end)

  it("ends before a kill takes effect, and the process then", function()
    local out = helper.cli {
      options = { "--schedulers", 1 },
      code = [[
        local actor = require "luactor"
        local me = actor.self()
        local pid, mon = actor.spawn_monitor(function()
          actor.send(me, "blocking")
          os.execute "sleep 0.3"
          actor.send(me, "survived")
        end)
        actor.receive "blocking"
        actor.exit(pid, "kill")
        print((actor.receive { "DOWN", mon, "process", pid, actor.var.r }),
          (select(2, actor.receive("survived", 0))))
      ]],
    }
    assert.equal("killed\ttimeout\n", out)
  end)
end)

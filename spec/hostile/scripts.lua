-- Scripts that want to harm, by name: { what must become of it, function }. They run in a
-- sandbox with limits; their argument is a pid of the host's.
--
--   "limit"   ends by a limit of heap or group
--   "error"   ends by an error or normally: what it tried was refused
--   "lives"   goes on for ever, as far as it is let, until it is killed
--   "any"     how it ends depends on the timing, but it does or can be ended
local actor = require "luactor"

local M = {}

-- Time ------------------------------------------------------------------------

M["an endless loop"] = { "lives", function() while true do end end }

M["an endless loop in pcall in a loop"] = { "lives", function()
  while true do
    pcall(function() while true do pcall(error) end end)
  end
end }

M["an endless error handler"] = { "lives", function()
  xpcall(error, function() while true do end end)
end }

M["an error handler that fails"] = { "lives", function()
  local function handler(e) error(e) end
  while true do xpcall(error, handler, "x") end
end }

M["a pattern that backtracks for ever"] = { "lives", function()
  local s = ("a"):rep(200)
  return s:find(("a*"):rep(60) .. "b")
end }

M["a pattern over a long string, over and over"] = { "lives", function()
  local s = ("a"):rep(1000000)
  while true do pcall(s.gsub, s, "a*b", "") end
end }

M["nested captures and balances"] = { "lives", function()
  local s = ("("):rep(100000)
  while true do pcall(s.find, s, "%b()%b()(.-)%1x") end
end }

M["sort with a comparator that lies"] = { "lives", function()
  local t = {}
  for i = 1, 1000 do t[i] = i end
  while true do
    pcall(table.sort, t, function() return math.random() < 0.5 end)
  end
end }

M["sort with a comparator that never returns"] = { "lives", function()
  table.sort({ 3, 1, 2 }, function() while true do end end)
end }

M["a reader that never ends"] = { "any", function()
  load(function() return "local x = 1 " end)
end }

M["metamethods that never return"] = { "lives", function()
  local mt = {}
  for _, name in ipairs { "index", "add", "concat", "eq", "lt", "le", "call",
    "len", "unm", "idiv", "tostring" } do
    mt["__" .. name] = function() while true do end end
  end
  local a = setmetatable({}, mt)
  return tostring(a)
end }

M["a coroutine that yields to itself"] = { "lives", function()
  while true do
    local co
    co = coroutine.wrap(function()
      while true do coroutine.yield(pcall(co)) end
    end)
    for _ = 1, 100 do co() end
  end
end }

M["the collector, all the time"] = { "lives", function()
  local t = {}
  for i = 1, 10000 do t[i] = {} end
  while true do collectgarbage() end
end }

M["switching the collector's mode"] = { "lives", function()
  while true do
    collectgarbage "generational"
    collectgarbage "incremental"
    collectgarbage("step", 1000)
  end
end }

M["packing for ever"] = { "lives", function()
  local t = {}
  for i = 1, 10000 do t[i] = i end
  while true do actor.unpack(actor.pack(t)) end
end }

M["concat of a table that is never shorter"] = { "any", function()
  local t = setmetatable({}, { __len = function() return 1 << 40 end,
    __index = function() return "x" end })
  return table.concat(t)
end }

M["unpack of a table without end"] = { "any", function()
  while true do pcall(table.unpack, {}, 1, 1 << 30) end
end }

M["table.move over the whole range"] = { "any", function()
  table.move({}, 1, 1 << 60, 2, {})
end }

M["insert at the front of a long table"] = { "any", function()
  local t = {}
  for i = 1, 100000 do t[i] = i end
  while true do
    table.insert(t, 1, 0)
    table.remove(t, 1)
  end
end }

M["polling"] = { "lives", function()
  while true do actor.receive(actor._, 0) end
end }

M["yielding"] = { "lives", function() while true do actor.yield() end end }

-- Memory ----------------------------------------------------------------------

M["string.rep"] = { "limit", function() return ("x"):rep(1 << 30) end }

M["string.rep in pcall"] = { "limit", function()
  while true do pcall(string.rep, "x", 1 << 28, ",") end
end }

M["a string that doubles"] = { "limit", function()
  local s = "x"
  while true do s = s .. s end
end }

M["strings that are kept"] = { "limit", function()
  local t = {}
  for i = 1, math.huge do t[i] = ("x"):rep(100) .. i end
end }

M["string.rep past all bounds"] = { "error", function()
  return ("x"):rep(1 << 40)
end }

M["gsub that grows"] = { "limit", function()
  local s = "aa"
  while true do s = s:gsub("a", "%0%0%0%0") end
end }

M["format with width"] = { "error", function()
  return ("%99999999999d"):format(1)
end }

M["a table that grows"] = { "limit", function()
  local t = {}
  while true do t[#t + 1] = t end
end }

M["a table with a hole"] = { "limit", function()
  local t = {}
  for i = 1, 60 do t[1 << i] = i end
  for i = 1, math.huge do t[i * 1.5] = {} end
end }

M["tables in tables"] = { "limit", function()
  local t = {}
  while true do t = { t, {} } end
end }

M["closures"] = { "limit", function()
  local f = function() end
  while true do
    local g = f
    f = function() return g, f end
  end
end }

M["coroutines that wait"] = { "limit", function()
  local t = {}
  while true do
    local co = coroutine.create(function() coroutine.yield() end)
    coroutine.resume(co)
    t[#t + 1] = co
  end
end }

M["coroutines in coroutines"] = { "any", function()
  local function nest() return coroutine.wrap(nest)() end
  while true do pcall(nest) end
end }

M["without the collector"] = { "lives", function()
  collectgarbage "stop" -- but for the full one before the limit
  while true do local _ = {} end
end }

M["recursion"] = { "any", function()
  local function f() return 1 + f() end
  while true do pcall(f) end
end }

M["recursion through C"] = { "any", function()
  local function f(s) return (s:gsub(".", f)) end
  local t = setmetatable({}, {})
  getmetatable(t).__index = function(_, k) return t[k .. "x"] end
  while true do
    pcall(f, "x")
    pcall(function() return t.x end)
    pcall(table.sort, { 1, 2, 3 }, function(a, b) return f(a) < f(b) end)
  end
end }

M["__index that is itself"] = { "error", function()
  local t = {}
  for _ = 1, 1000 do t = setmetatable({}, { __index = t }) end
  local loop = {}
  setmetatable(loop, { __index = loop })
  return loop.x
end }

M["deep nesting for the parser"] = { "error", function()
  assert(not load(("("):rep(1000000)))
  assert(not load("return " .. ("{"):rep(1000000)))
  assert(not load(("a."):rep(100):rep(1000) .. "b = = 1"))
  assert(not load("x = " .. ("'a' .. "):rep(100000)))
end }

M["a large program"] = { "any", function()
  local t = { "local t = {" }
  for i = 1, 50000 do t[#t + 1] = "{" .. i .. ", 'x" .. i .. "'}," end
  t[#t + 1] = "}"
  local s = table.concat(t)
  while true do load(s) end
end }

-- The end ---------------------------------------------------------------------

M["__gc that never ends"] = { "lives", function()
  local mt = { __gc = function() while true do end end }
  while true do setmetatable({}, mt) end
end }

M["__gc that makes more of itself"] = { "any", function()
  local mt = {}
  mt.__gc = function() setmetatable({}, mt) setmetatable({}, mt) end
  setmetatable({}, mt)
  while true do collectgarbage() end
end }

M["__gc that brings back the dead"] = { "limit", function()
  keep = {}
  local mt = {}
  mt.__gc = function(o)
    keep[#keep + 1] = { o, ("x"):rep(1000) .. #keep }
    setmetatable(o, mt)
  end
  while true do
    setmetatable({}, mt)
    collectgarbage()
  end
end }

M["__gc at the end that loops and eats"] = { "error", function()
  for i = 1, 100 do
    setmetatable({}, { __gc = function()
      local t = {}
      while true do t[#t + 1] = ("x"):rep(i * 100000) end
    end })
  end
end }

M["__close that never ends"] = { "any", function()
  local a <close> = setmetatable({}, { __close = function()
    while true do end
  end })
  local b <close> = setmetatable({}, { __close = function()
    while true do pcall(error) end
  end })
  error "now"
end }

M["__close that spawns and eats at a kill"] = { "lives", function()
  local a <close> = setmetatable({}, { __close = function()
    local t = {}
    for i = 1, math.huge do
      pcall(actor.spawn, function() while true do end end)
      t[i] = ("x"):rep(1000000)
    end
  end })
  while true do end
end }

M["an error object that never becomes text"] = { "lives", function()
  error(setmetatable({}, { __tostring = function() while true do end end }))
end }

M["an error object that becomes a long text"] = { "any", function()
  error(setmetatable({}, { __tostring = function()
    return ("x"):rep(1000000)
  end }))
end }

M["an error object that becomes no text"] = { "error", function()
  error(setmetatable({}, { __tostring = function() return {} end,
    __name = ("x"):rep(100000), __index = function() error "no" end }))
end }

M["an error object that never travels"] = { "lives", function()
  error(setmetatable({}, { __transfer = function() while true do end end }))
end }

M["a message that never travels"] = { "lives", function(host)
  local bad = setmetatable({}, { __transfer = function()
    while true do end
  end })
  while true do pcall(actor.send, host, bad) end
end }

M["an error object that is deep"] = { "error", function()
  local t = {}
  for _ = 1, 10000 do t = { t } end
  error(t)
end }

-- Processes -------------------------------------------------------------------

local function wait() actor.receive("never") end

M["a fork bomb"] = { "any", function()
  local function bomb()
    while true do pcall(actor.spawn, bomb) end
  end
  bomb()
end }

M["a fork bomb that sleeps"] = { "lives", function()
  while true do pcall(actor.spawn, wait) end
end }

M["a chain of spawns"] = { "lives", function()
  local function link()
    actor.spawn(link)
  end
  actor.spawn(link)
  wait()
end }

M["children that crash"] = { "lives", function()
  while true do
    pcall(actor.spawn, function() error(("x"):rep(10000)) end)
    actor.yield()
  end
end }

M["children that eat"] = { "limit", function()
  local function eat()
    local t = {}
    for i = 1, 100000 do t[i] = {} end
    wait()
  end
  while true do pcall(actor.spawn, eat) end
end }

M["groups in groups"] = { "lives", function()
  local function nest()
    pcall(actor.spawn_opt, { limits = { processes = 1000000 } }, nest)
    wait()
  end
  nest()
end }

M["links in a ring"] = { "any", function()
  local first
  for _ = 1, 20 do
    local pid = actor.spawn(function()
      actor.trap_exit(true)
      while true do actor.receive() end
    end)
    if first then actor.link(pid) end
    first = first or pid
  end
  error "now"
end }

M["names"] = { "error", function()
  for i = 1, 1000 do actor.register("name" .. i) end
end }

-- Messages --------------------------------------------------------------------

M["a flood into its own mailbox"] = { "any", function()
  local me = actor.self()
  while true do pcall(actor.send, me, "x") end
end }

M["a flood of large messages into its own mailbox"] = { "limit", function()
  local me, s = actor.self(), ("x"):rep(100000)
  for i = 1, math.huge do
    pcall(actor.send, me, s .. i)
    actor.yield()
  end
end }

M["a flood into a sibling that does not listen"] = { "any", function()
  local deaf = actor.spawn(function() while true do end end)
  while true do actor.send(deaf, { "x", { 1, 2, 3 } }) end
end }

M["a flood into a process of the host"] = { "lives", function(host)
  while true do pcall(actor.send, host, "flood") end
end }

M["large messages into a process of the host"] = { "any", function(host)
  local t = {}
  for i = 1, 50000 do t[i] = { i } end
  while true do pcall(actor.send, host, t) end
end }

M["deep messages"] = { "error", function(host)
  local t = {}
  for _ = 1, 100000 do t = { t } end
  assert(not pcall(actor.send, host, t))
end }

M["messages with themselves inside"] = { "lives", function(host)
  local t = {}
  t[1], t[t] = t, t
  while true do pcall(actor.send, host, t) end
end }

M["calls to nobody"] = { "lives", function()
  local deaf = actor.spawn(wait)
  while true do actor.try_call(deaf, ("x"):rep(1000), 0) end
end }

M["monitors of a process of the host"] = { "limit", function(host)
  while true do actor.monitor(host) end
end }

M["monitors on and off"] = { "lives", function(host)
  while true do actor.demonitor(actor.monitor(host), { flush = true }) end
end }

M["timers"] = { "limit", function()
  while true do actor.send_after(1e9, actor.self(), "x") end
end }

M["timers to a process of the host"] = { "limit", function(host)
  while true do actor.send_every(1000, host, "flood") end
end }

M["timers that fire at once"] = { "any", function(host)
  while true do actor.send_after(0, host, "flood") end
end }

M["aliases"] = { "limit", function() while true do actor.alias() end end }

M["references"] = { "lives", function() while true do actor.ref() end end }

M["mailboxes"] = { "limit", function() while true do actor.mailbox() end end }

M["scopes"] = { "any", function()
  local function nest()
    actor.scope(function(s)
      s:spawn(wait)
      nest()
    end)
  end
  nest()
end }

M["a label"] = { "limit", function()
  while true do actor.label(("x"):rep(9000000)) end
end }

M["patterns without end"] = { "any", function()
  local p = actor.var.x
  for _ = 1, 100000 do p = { p } end
  actor.receive(p, 0)
end }

M["choices without end"] = { "any", function()
  local p = actor.oneof(1, 2)
  while true do p = p + actor.oneof(p, p) end
end }

M["guards"] = { "any", function()
  for n = 1, math.huge do
    pcall(actor.on, actor.var.x, ("("):rep(n * 1000) .. "x", print)
    pcall(actor.on, actor.var.x, "x" .. (" + x"):rep(n * 1000) .. " > 1",
      print)
  end
end }

M["a guard that never returns"] = { "lives", function()
  actor.send(actor.self(), 1)
  actor.receive(actor.on(actor.var.x, function() while true do end end,
    function() end))
end }

M["bytes that lie"] = { "error", function()
  for i = 0, 255 do
    for _, tail in ipairs { "\255\255\255\255", "\0\0\0\1", "",
      ("\108\0\0\0\1"):rep(300), ("\131"):rep(100) } do
      pcall(actor.unpack, "\131" .. string.char(i) .. tail)
    end
  end
end }

-- What is not there -------------------------------------------------------------

M["the string metatable"] = { "lives", function()
  local mt = getmetatable ""
  mt.__index = function() while true do end end
  mt.__add = mt.__index
  return ("x").y
end }

M["globals turned against the library"] = { "any", function()
  require = function() return setmetatable({}, { __index = function()
    while true do end
  end }) end
  setmetatable(_G, { __index = function() error "gone" end })
  pairs, ipairs, type, error, pcall, tostring = nil, nil, nil, nil, nil, nil
  actor.scope(function() end)
end }

M["fields of actor turned against it"] = { "any", function()
  for k in pairs(actor) do actor[k] = function() while true do end end end
  error "now"
end }

return M

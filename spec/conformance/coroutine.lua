-- Coroutines: results, messages and corner cases.

local function gen(n)
  return coroutine.wrap(function()
    for i = 1, n do coroutine.yield(i) end
  end)
end

local sum = 0
for i in gen(500) do sum = sum + i end
print("generator", sum)

local function nest(depth)
  if depth == 0 then
    local t = 0
    for i = 1, 1000 do t = t + i end
    return t
  end
  return coroutine.wrap(nest)(depth - 1)
end
print("nested", nest(12))

local co
co = coroutine.create(function(a, b)
  print(a, b, coroutine.status(co), coroutine.running() == co)
  local c = coroutine.yield(a + b)
  print(coroutine.isyieldable(), c)
  error("stop " .. c)
end)
print(coroutine.resume(co, 1, 2))
print(coroutine.status(co))
print(coroutine.resume(co, "x"))
print(coroutine.status(co), coroutine.resume(co))
print(coroutine.close(co))
print(coroutine.close(co))

-- wrap: positions, closing, error objects
print(pcall(coroutine.wrap(function() error("in wrap") end)))
print(pcall(coroutine.wrap(function() error("no position", 0) end)))
local object = {}
print(select(2, pcall(coroutine.wrap(function() error(object) end))) == object)
local function closing(name, raise)
  return setmetatable({}, { __close = function(_, e)
    print("close", name, e)
    if raise then error(raise, 0) end
  end })
end
print(pcall(coroutine.wrap(function()
  local a <close> = closing "a"
  local b <close> = closing("b", "from b")
  error("first", 0)
end)))
local dead = coroutine.wrap(function() return 1 end)
print(dead())
print(pcall(dead))

-- close
co = coroutine.create(function()
  local a <close> = closing "outer"
  local b <close> = closing("inner", "boom")
  coroutine.yield(1)
end)
print(coroutine.resume(co))
print(coroutine.close(co))
print(coroutine.status(co), coroutine.resume(co))
co = coroutine.create(print)
print(coroutine.close(co), coroutine.status(co))
print(pcall(coroutine.close, (coroutine.running())))
coroutine.wrap(function()
  local outer = coroutine.running()
  coroutine.wrap(function()
    print(coroutine.status(outer), pcall(coroutine.close, outer))
    print(coroutine.resume(outer))
  end)()
end)()

-- the main thread
local main, ismain = coroutine.running()
print(type(main), ismain, coroutine.isyieldable(), coroutine.isyieldable(main))
print(pcall(coroutine.yield, 1))
print(coroutine.status(main), coroutine.resume(main))
print(coroutine.wrap(function()
  return coroutine.status(main), select("#", coroutine.resume(main)),
      coroutine.resume(main)
end)())
print(coroutine.wrap(function() return coroutine.resume(coroutine.running()) end)())

-- yields across what may not be crossed
print(coroutine.wrap(function()
  print(pcall(table.sort, { 1, 2, 3 }, coroutine.yield))
  print(pcall(table.sort, { 1, 2, 3 }, function() return coroutine.isyieldable() and error "y" end))
  print(pcall(string.gsub, "abc", ".", coroutine.yield))
  print(pcall(string.gsub, "abc", ".", setmetatable({}, { __index = coroutine.yield })))
  print(load(coroutine.yield))
  print(pcall(tostring, setmetatable({}, { __tostring = coroutine.yield })))
  print(pcall(table.concat, setmetatable({}, { __len = coroutine.yield })))
  print(pcall(ipairs(setmetatable({}, { __index = coroutine.yield })), {}, 1))
  print(coroutine.isyieldable())
  coroutine.yield("fine")
  return "unreached"
end)())

-- and across what may
local t = setmetatable({}, {
  __index = function(_, k) return coroutine.yield(k) end,
  __lt = function() return coroutine.yield "lt" end,
  __add = function(a, b) return coroutine.yield "add" end,
  __call = function(_, ...) return coroutine.yield(...) end,
  __concat = function() return coroutine.yield "concat" end,
  __close = function() coroutine.yield "close" end,
  __pairs = function() coroutine.yield "pairs" return next, {}, nil end,
})
co = coroutine.wrap(function()
  local c <close> = t
  local r = { t.x, t < t, t + 1, t("call"), t .. "x" }
  for _ in pairs(t) do end
  print(pcall(pcall, function() return coroutine.yield "pcall" end))
  print(xpcall(function(...) error(coroutine.yield(...)) end, function(m) return m .. "!" end, "xp"))
  return table.unpack(r)
end)
local v = co()
for i = 1, 20 do
  io.write(tostring(v), " ")
  local r = table.pack(co(i))
  v = r[1]
  if r.n ~= 1 then print() print(table.unpack(r, 1, r.n)) break end
end

-- arguments
print(pcall(coroutine.resume, 1))
print(pcall(coroutine.create, 1))
print(pcall(coroutine.wrap))
print(pcall(coroutine.status))
print(pcall(coroutine.close, {}))
print(pcall(coroutine.isyieldable, {}))
print(coroutine.isyieldable(coroutine.create(print)))
local big = coroutine.wrap(function() return table.unpack({}, 1, 200) end)
print(select("#", big()))

-- the same again inside a coroutine, with results through many levels
local function relay(n, ...)
  if n == 0 then return coroutine.yield(...) end
  return relay(n - 1, ...)
end
co = coroutine.create(function(...)
  local args = table.pack(...)
  for _ = 1, 3 do args = table.pack(relay(50, table.unpack(args, 1, args.n))) end
  return "end", args.n
end)
print(coroutine.resume(co, 1, nil, 3))
print(coroutine.resume(co, nil))
print(coroutine.resume(co))
print(coroutine.resume(co, nil, nil))
print(coroutine.resume(co))

-- producers and filters
local function filter(p, source)
  return coroutine.wrap(function()
    for n in source do if n % p ~= 0 then coroutine.yield(n) end end
  end)
end
local source = coroutine.wrap(function() for i = 2, 200 do coroutine.yield(i) end end)
local primes = {}
while true do
  local n = source()
  if not n then break end
  primes[#primes + 1] = n
  source = filter(n, source)
end
print(#primes, primes[#primes])

-- debug.sethook and gethook beside preemption.
local function try(f, ...) print(pcall(f, ...)) end
local events
local function trace(f, mask, count)
  events = {}
  debug.sethook(function(event, line)
    local info = debug.getinfo(2, "nS")
    events[#events + 1] = event .. (line and ":" .. line or "") .. (info.what == "C" and "C" or "")
  end, mask, count)
  f()
  debug.sethook()
  print(mask, count, #events, table.concat(events, " "))
end
local function leaf(x) return x end
local function vararg(...)
  local n = select("#", ...)
  return n
end
local function tail(x) return leaf(x) end
local function work()
  local s = 0
  for i = 1, 3 do
    s = s + leaf(i)
  end
  vararg(1, 2)
  tail(s)
  return s
end
trace(work, "l") trace(work, "c") trace(work, "r") trace(work, "cr") trace(work, "crl")
trace(function() for i = 1, 100 do end end, "", 1)
trace(work, "c", 1) trace(work, "l", 1) trace(work, "crl", 1)
trace(function() for i = 1, 3 do
  local x = i end end, "l")
trace(function() while true do break end repeat local x = 1 until x end, "l")
trace(function() coroutine.wrap(work)() end, "cl")
trace(function() pcall(error, "x") end, "cr")
trace(function() table.sort({ 2, 1 }, function(a, b) return a < b end) end, "l")
-- gethook
local function h() end
print(debug.gethook())
debug.sethook(h, "crl", 5) local f, m, c = debug.gethook() print(f == h, m, c)
debug.sethook(h, "l") f, m, c = debug.gethook() print(f == h, m, c)
debug.sethook(h, "", 100) f, m, c = debug.gethook() print(f == h, m, c)
debug.sethook(h, "") print(debug.gethook())
debug.sethook(h, "c") debug.sethook(nil) print(debug.gethook())
debug.sethook(h, "c") debug.sethook() print(debug.gethook())
try(debug.sethook, 1, "c") try(debug.sethook, h) try(debug.sethook, h, {}) try(debug.sethook, h, "c", "x") try(debug.sethook, coroutine.create(h), 1, "c")
-- other coroutines
local co = coroutine.create(function()
  local a = 1
  coroutine.yield(a)
  a = 2
  return a
end)
local lines = {}
debug.sethook(co, function(e, l) lines[#lines + 1] = l end, "l")
f, m, c = debug.gethook(co) print(type(f), m, c, debug.gethook())
print(coroutine.resume(co)) print(coroutine.resume(co)) print(#lines, lines[2] - lines[1], lines[3] - lines[2])
debug.sethook(co) print(debug.gethook(co))
-- a hook that raises
local function guarded(limit, body)
  debug.sethook(function() error("too long", 0) end, "", limit)
  local r = table.pack(pcall(body))
  debug.sethook()
  return table.unpack(r, 1, r.n)
end
print(guarded(1000, function() while true do end end))
print(guarded(100000, function() local s = 0 for i = 1, 100 do s = s + i end return s end))
print(guarded(500, function() return (("x"):rep(100):gsub(".", function(ch) for i = 1, 100 do end return ch end)) end))
local seen = 0
debug.sethook(function(e, l) seen = seen + 1 if seen == 50 then error("line " .. type(l), 0) end end, "l")
print(pcall(function()
  while true do
    local x = 1
  end
end))
debug.sethook() print(seen >= 50)
-- The hook function's own four instructions count, too; multiples of them, and
-- 1, give the same number of events wherever the process is preempted.
local function count_events(n, body) local k = 0 debug.sethook(function() k = k + 1 end, "", n) body() debug.sethook() return k end
local function body() local t = {} for i = 1, 500 do t[i] = leaf(i) end return #t end
print(count_events(1, body), count_events(2, body), count_events(4, body), count_events(100000, body))
-- changing the hook from within
local n = 0
debug.sethook(function() n = n + 1 if n == 3 then debug.sethook() end end, "l")
for i = 1, 10 do
  local x = i
end
print(n, debug.gethook())
-- levels and locals seen from a hook
debug.sethook(function(e)
  local info = debug.getinfo(2, "nSl")
  local name, value = debug.getlocal(2, 1)
  local own = debug.getinfo(1, "n")
  if info.name == "leaf" then print(e, info.what, name, value, own.namewhat, own.name) end
end, "cr")
leaf(7) tail(8)
debug.sethook()
local thread_hook = coroutine.wrap(function()
  debug.sethook(function(e) coroutine.isyieldable() end, "l")
  for i = 1, 5 do
    coroutine.yield(i)
  end
end)
print(thread_hook(), thread_hook(), debug.gethook(), thread_hook())
print(pcall(debug.getinfo)) print(pcall(debug.getinfo, 1, ">")) print(pcall(debug.getinfo, 1, "?")) print(debug.getinfo(100)) print(pcall(debug.getinfo, "x"))
print(debug.getinfo(1, "l").currentline, debug.getinfo(print).what, debug.getinfo(leaf, "S").linedefined)
-- the hooks are found in the registry
debug.sethook(h, "c") debug.sethook()
print(type(debug.getregistry()._HOOKKEY), getmetatable(debug.getregistry()._HOOKKEY).__mode)

-- Finalizers, setmetatable, collectgarbage.
collectgarbage "incremental"
local function try(f, ...) print(pcall(f, ...)) end
local log = {}
local function note(s) log[#log + 1] = s end
local function flush() print(table.concat(log, " ")) log = {} end
local mt = { __gc = function(o) note(o.name) end }
local function new(name) return setmetatable({ name = name }, mt) end
do
  local keep = {}
  for i = 1, 5 do keep[i] = new("o" .. i) end
end
collectgarbage() flush()
print(rawget(mt, "__gc") == mt.__gc, type(mt.__gc), getmetatable(new "x") == mt)
collectgarbage() flush()
-- the finalizer is looked up late
local late = { __gc = true }
setmetatable({ name = "late" }, late)
late.__gc = function(o) note(o.name) end
collectgarbage() flush()
local gone = { __gc = function() note "never" end }
setmetatable({}, gone)
gone.__gc = nil
collectgarbage() flush()
local notmarked = setmetatable({}, {})
getmetatable(notmarked).__gc = function() note "not marked" end
notmarked = nil
collectgarbage() flush()
-- resurrection and marking again
local saved
local again = {}
again.__gc = function(o) saved = o note("dying" .. o.n) o.n = o.n + 1 if o.n < 3 then setmetatable(o, again) end end
setmetatable({ n = 1 }, again)
collectgarbage() print(saved.n) saved = nil collectgarbage() print(saved.n) saved = nil collectgarbage() print(saved) flush()
-- changing the metatable afterwards
local o = setmetatable({ name = "first" }, mt)
setmetatable(o, { __gc = function() note "second" end })
o = nil collectgarbage() flush()
o = setmetatable({ name = "first" }, mt)
setmetatable(o, nil)
o = nil collectgarbage() flush()
-- weak tables
local values, keys = setmetatable({}, { __mode = "v" }), setmetatable({}, { __mode = "k" })
local wm = { __gc = function(x) note(tostring(values[1]) .. "/" .. tostring(keys[x])) end }
o = setmetatable({}, wm) values[1] = o keys[o] = "key" o = nil
collectgarbage() flush() print(next(values), next(keys)) collectgarbage() print(next(keys))
-- cycles and order
local a, b = new "a", new "b" a.other, b.other = b, a a, b = nil, nil
collectgarbage() flush()
local parent = new "parent" parent.child = new "child" parent = nil
collectgarbage() flush()
-- what a finalizer may do
setmetatable({}, { __gc = function()
  note(tostring(collectgarbage()) .. tostring(collectgarbage "count") .. tostring(collectgarbage "step"))
  note(tostring(select(2, pcall(collectgarbage, "bad"))))
  note(tostring(coroutine.isyieldable()) .. tostring(select(2, coroutine.running())) .. select(2, pcall(coroutine.yield)))
  local info = debug.getinfo(1, "n")
  note(tostring(info.name) .. tostring(info.namewhat))
  local n = 0
  for i = 1, 5000 do n = n + i end
  local co = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end)
  note(n .. co() .. co())
  local list = { 3, 1, 2 } table.sort(list, function(x, y) return x < y end)
  note(table.concat(list))
  setmetatable({}, { __gc = function() note "made in a finalizer" end })
end })
collectgarbage() flush() collectgarbage() flush()
coroutine.wrap(function()
  setmetatable({}, { __gc = function() note(tostring(coroutine.isyieldable()) .. select(2, pcall(coroutine.yield))) end })
  collectgarbage() flush()
  print(coroutine.isyieldable())
end)()
-- a finalizer is on the coroutine it interrupted, which it cannot touch
local function about_running()
  local co = coroutine.running()
  note(coroutine.status(co))
  note(tostring(select(2, coroutine.resume(co))))
  note(tostring(select(2, pcall(coroutine.close, co))))
  note(coroutine.wrap(function() return coroutine.status(co) end)())
end
setmetatable({}, { __gc = about_running })
collectgarbage() flush()
coroutine.wrap(function()
  setmetatable({}, { __gc = about_running })
  collectgarbage() flush()
end)()
-- errors are warnings: nothing reaches the script
setmetatable({}, { __gc = function() note "before error" error "oops" end })
setmetatable({}, { __gc = function() note "second" error({}) end })
setmetatable({}, { __gc = 5 }) setmetatable({}, { __gc = setmetatable({}, { __call = function(_, x) note(type(x)) end }) })
collectgarbage() flush()
-- without an explicit collection
local done = false
setmetatable({}, { __gc = function() done = true end })
local n = 0
repeat local junk = {} n = n + 1 until done
print(done, n > 0)
-- inside calls that cannot be left
table.sort({ 3, 2, 1 }, function(x, y) new "in sort" collectgarbage() return x < y end) print(#log) log = {}
print(xpcall(function() error "x" end, function() new "handler" collectgarbage() return #log end)) flush()
do local c <close> = setmetatable({}, { __close = function() new "closing" collectgarbage() end }) end flush()
-- setmetatable
try(setmetatable) try(setmetatable, 1, {}) try(setmetatable, {}) try(setmetatable, {}, 1) try(setmetatable, setmetatable({}, { __metatable = 1 }), {})
try(setmetatable, setmetatable({}, { __metatable = false }), nil)
print(getmetatable(setmetatable({}, { __metatable = "locked" })), getmetatable(setmetatable({}, nil)))
local t = {} print(setmetatable(t, {}) == t, select("#", setmetatable({}, {}, 1, 2)))
print(debug.setmetatable(10, { __index = { x = 5 } }), (10).x) debug.setmetatable(10, nil)
try(debug.setmetatable, 1) try(debug.setmetatable, 1, 2)
local dbg = debug.setmetatable({ name = "via debug" }, mt) dbg = nil collectgarbage() flush()
-- collectgarbage
print(collectgarbage(), collectgarbage "collect", type(collectgarbage "count"), collectgarbage "isrunning", collectgarbage "stop", collectgarbage "isrunning", collectgarbage "restart")
try(collectgarbage, "nothing") try(collectgarbage, {}) print(collectgarbage("setpause", 200), collectgarbage("setstepmul", 100), collectgarbage "generational", collectgarbage "incremental")
print(type(collectgarbage("step", 0)), collectgarbage("incremental", 200, 100, 13))
local order = {}
for i = 1, 30 do setmetatable({ i }, { __gc = function(x) order[#order + 1] = x[1] end }) end
collectgarbage() print(table.concat(order, " "))
collectgarbage "generational"
for i = 1, 2000 do setmetatable({ i }, { __gc = function() n = n + 1 end }) end
collectgarbage() collectgarbage "incremental"
-- at the end: newest first, marks do nothing any more
for i = 1, 3 do _G["last" .. i] = setmetatable({}, { __gc = function() print("end", i) setmetatable({}, { __gc = function() print "not reached" end }) end }) end

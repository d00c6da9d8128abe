-- table.*, ipairs: plain tables, metamethods, limits and messages.
local unpack = table.unpack
local maxI, minI = math.maxinteger, math.mininteger
local function try(f, ...) print(pcall(f, ...)) end
local function show(t) print(#t, table.concat(t, ",")) end

-- insert and remove
local t = {}
for i = 1, 10 do table.insert(t, i) end
table.insert(t, 1, 0) table.insert(t, 12, 11) table.insert(t, 6, "x")
show(t)
print(table.remove(t), table.remove(t, 1), table.remove(t, 5), #t)
show(t)
print(table.remove({}), table.remove({}, 0), table.remove({ 1 }, 2), table.remove({ [0] = "z" }, 0))
try(table.insert, {}, 2, 3, 4) try(table.insert, {}) try(table.insert, { 1 }, 0, 2)
try(table.insert, { 1 }, 3, 2) try(table.insert, { 1 }, -1, 2) try(table.insert, 1, 2)
try(table.insert, nil, 2) try(table.insert, { 1 }, "a", 2) try(table.insert, { 1 }, 1.5, 2)
try(table.remove, { 1 }, 5) try(table.remove, {}, 2) try(table.remove, { 1, 2, 3 }, -1)
try(table.remove, "x") try(table.insert, { 1 }, "1", 2)

-- a proxy that tells what is done to it
local function proxy(list)
  local log = {}
  return setmetatable({}, {
    __index = function(_, k) log[#log + 1] = "get " .. tostring(k) return list[k] end,
    __newindex = function(_, k, v)
      log[#log + 1] = "set " .. tostring(k) .. "=" .. tostring(v)
      list[k] = v
    end,
    __len = function() log[#log + 1] = "len" return #list end,
  }), log, list
end
local function through(name, f, list, ...)
  local p, log = proxy(list)
  print(name, pcall(f, p, ...))
  print(table.concat(log, "; "))
  print(unpack(list))
end
through("insert", table.insert, { 1, 2, 3 }, 4)
through("insert", table.insert, { 1, 2, 3 }, 2, "x")
through("insert", table.insert, { 1, 2, 3 }, 9, "x")
through("insert", table.insert, { 1, 2, 3 })
through("remove", table.remove, { 1, 2, 3 })
through("remove", table.remove, { 1, 2, 3 }, 1)
through("remove", table.remove, { 1, 2, 3 }, 7)
through("remove", table.remove, {})
through("concat", table.concat, { 1, 2.5, "c" })
through("concat", table.concat, { 1, 2, "c" }, "-", 2)
through("concat", table.concat, { 1, 2, "c" }, ", ", 2, 3)
through("concat", table.concat, { 1, {}, "c" }, ", ")
through("concat", table.concat, { 1 }, {})
through("concat", table.concat, { 1 }, "", "x")
through("concat", table.concat, { 1, 2 }, "", 1, 3)
through("unpack", unpack, { 1, 2, 3 })
through("unpack", unpack, { 1, 2, 3 }, 2)
through("unpack", unpack, { 1, 2, 3 }, 2, 4)
through("unpack", unpack, { 1, 2, 3 }, 2, 1)
through("unpack", unpack, { 1, 2, 3 }, "q")
through("unpack", unpack, { 1, 2, 3 }, 1, "q")
through("unpack", unpack, { 1, 2, 3 }, 1, 1e8)
through("sort", table.sort, { 3, 1, 2 })
through("sort", table.sort, { 5, 2, 4, 1, 3 }, function(a, b) return a > b end)
through("sort", table.sort, { 1, 2, 3, 4 }, function() return true end)
through("sort", table.sort, { 1, 2 }, 5)
through("sort", table.sort, { 1 }, 5)
through("sort", table.sort, { 1, "x" })
do
  local to, log = proxy {}
  table.move({ 1, 2, 3 }, 1, 3, 2, to)
  print(table.concat(log, "; "))
  local from, log2 = proxy { 1, 2, 3 }
  print(table.move(from, 1, 3, 2) == from, table.concat(log2, "; "))
  local other = setmetatable({}, { __eq = function() print "eq" return true end })
  local a = setmetatable({ 1, 2, 3 }, getmetatable(other))
  table.move(a, 1, 3, 2, other)
  print(rawlen(other), other[2], other[4])
end

-- lengths
local function len(n) return setmetatable({}, { __len = function() return n end }) end
try(table.insert, len "abc", 1) try(table.insert, len(2.5), 1) try(unpack, len "2") try(table.sort, len(-1), error)
try(table.sort, len(maxI)) try(table.concat, len(2)) try(table.concat, len(0)) try(table.remove, len(0))
try(table.unpack, len(maxI)) try(unpack, {}, 1, 1e7) try(unpack, {}, minI, maxI) try(unpack, {}, 0, maxI)
try(unpack, {}, maxI, minI) try(unpack, "abc", 1, 2) try(unpack, nil) try(unpack, {}, maxI, maxI)
try(table.concat, 5) try(table.concat) try(table.sort) try(table.sort, {}, 1) try(table.sort, { 1, 2 }, 1)
try(table.unpack, setmetatable({}, { __index = function(_, i) return i * 2 end }), maxI - 1, maxI)

-- move
local function mv(...) show(table.move(...)) end
mv({ 10, 20, 30 }, 1, 3, 2) mv({ 10, 20, 30 }, 1, 3, 3) mv({ 10, 20, 30, 40 }, 2, 4, 1)
mv({ 10, 20, 30 }, 1, 3, 1, {}) mv({ 10, 20, 30 }, 1, 0, 3, {}) mv({ 1, 2 }, "1", "2", "2")
try(table.move, {}, 0, maxI, 1) try(table.move, {}, -1, maxI - 1, 1) try(table.move, {}, minI, -1, 1)
try(table.move, {}, 1, maxI, 2) try(table.move, {}, 1, 2, maxI) try(table.move, {}, minI, -2, 2)
try(table.move, 1, 2, 3, 4) try(table.move, {}, 2, 3, 4, 5) try(table.move, {}, 1, 2) try(table.move, {}, "x", 2, 3)
local moved = table.move({ [maxI - 2] = 1, [maxI - 1] = 2, [maxI] = 3 }, maxI - 2, maxI, -10, {})
print(moved[-10], moved[-9], moved[-8])
moved = table.move({ [minI] = 100 }, minI, minI, maxI)
print(moved[minI], moved[maxI])
local long = {}
for i = 1, 20000 do long[i] = i end
table.move(long, 1, 20000, 5)
print(#long, long[5], long[20004], long[4])
table.move(long, 5, 20004, 1)
print(#long, long[1], long[20000], long[20004])

-- classes: a metatable that does not matter
local Class = { size = 3 }
Class.__index = Class
local object = setmetatable({}, Class)
for i = 1, 5 do table.insert(object, 6 - i) end
table.sort(object)
show(object)
print(table.remove(object, 1), unpack(object))
local Sub = setmetatable({}, { __index = function(_, k) return k == 4 and "inherited" or nil end })
Sub.__index = Sub
print(table.concat(setmetatable({ 1, 2, 3 }, Sub), ",", 1, 4))

-- ipairs
local function walk(x) for i, v in ipairs(x) do io.write(i, "=", tostring(v), " ") end print() end
walk { 1, 2, nil, 4 }
walk(setmetatable({ 1 }, { __index = function(_, i) if i < 5 then return i * 10 end end }))
walk(setmetatable({ 1 }, { __index = { [2] = "b", [3] = "c" } }))
walk((proxy { 7, 8 }))
walk "text"
try(ipairs) try(function() for _ in ipairs(nil) do end end) try(function() for _ in ipairs(5) do end end)
try(ipairs {}, {}, "x")
local f, s, i = ipairs { 1 }
print(type(f), type(s), i, f == ipairs {}, f({ "a", "b" }, 1))
try(f, setmetatable({}, { __index = function() error("idx", 0) end }), 0)

-- table.sort: order (also where it is not stable), calls, messages.
local seed = 42
local function random(n) seed = (seed * 1103515245 + 12345) % 2147483648 return seed // 65536 % n end
local function fill(n, m) local t = {} for i = 1, n do t[i] = random(m) end return t end
local function digest(t)
  local h = 17
  for i = 1, #t do h = (h * 31 + t[i]) % 1000000007 end
  return h
end
for _, n in ipairs { 0, 1, 2, 3, 4, 5, 10, 50, 99, 100, 101, 102, 150, 500, 2000 } do
  local t = fill(n, n + 1)
  table.sort(t)
  for i = 2, n do assert(t[i - 1] <= t[i]) end
  local u, calls, trace = fill(n, 10), 0, 7
  table.sort(u, function(a, b)
    calls = calls + 1
    trace = (trace * 33 + a * 11 + b) % 1000000007
    return a > b
  end)
  print(n, digest(t), digest(u), calls, trace)
end
-- unstable order of equal keys
for _, n in ipairs { 5, 20, 120, 700 } do
  local t = {}
  for i = 1, n do t[i] = { key = random(4), id = i } end
  table.sort(t, function(a, b) return a.key < b.key end)
  local h = 1
  for i = 1, n do h = (h * 37 + t[i].id) % 1000000007 end
  local mt = { __lt = function(a, b) return a.key < b.key end }
  local u = {}
  for i = 1, n do u[i] = setmetatable({ key = random(6), id = i }, mt) end
  table.sort(u)
  local g = 1
  for i = 1, n do g = (g * 37 + u[i].id) % 1000000007 end
  print(n, h, g)
end
-- every permutation of five
local function perm(s, n, out)
  if n == 1 then
    local t = { table.unpack(s) }
    table.sort(t)
    out[#out + 1] = table.concat(t)
  else
    for i = 1, n do
      s[i], s[n] = s[n], s[i]
      perm(s, n - 1, out)
      s[i], s[n] = s[n], s[i]
    end
  end
end
local all = {}
perm({ 1, 2, 2, 4, 5 }, 5, all)
for i = 1, #all do assert(all[i] == "12245") end
print(#all)
-- patterns of order
local sorted, reversed, saw = {}, {}, {}
for i = 1, 1000 do sorted[i], reversed[i], saw[i] = i, 1000 - i, i % 10 end
table.sort(sorted) table.sort(reversed) table.sort(saw)
print(digest(sorted), digest(reversed), digest(saw))
local words = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "\0first", "then", "45", "and", "" }
table.sort(words)
print(#words, table.concat(words, ";", 3))
-- errors
local function try(...) print(pcall(...)) end
try(table.sort, { 1, 2, 3, 4 }, function() return true end)
try(table.sort, { 1, 2, 3, 4, 5 }, function() return true end)
try(table.sort, { 1, 2, 3, 4, 5, 6 }, function(a, b) assert(a and b) return true end)
try(table.sort, { 1, 2 }, function() return true end)
try(table.sort, { 1, "a" }) try(table.sort, { {}, {} }) try(table.sort, { 1, 2, nil, 4 })
try(table.sort, { 3, 2, 1 }, function() error("from compare", 0) end)
try(table.sort, { true, false })
try(table.sort, setmetatable({ 3, 2, 1 }, { __index = function() return 0 end, __len = function() return 5 end }))
print(pcall(function() table.sort({ 1, 2, 3 }, function() return nil + 1 end) end))
-- sorting inside a comparison, and collecting
local outer = { 5, 3, 9, 1 }
table.sort(outer, function(a, b)
  local inner = { b, a, 4 }
  table.sort(inner)
  collectgarbage("step")
  return a < b
end)
print(table.concat(outer, " "))
-- a table that changes while it is sorted
local changing = { 4, 3, 2, 1 }
print(pcall(table.sort, changing, function(a, b)
  changing[5] = 0
  return a < b
end), #changing)

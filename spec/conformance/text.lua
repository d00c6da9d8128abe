-- tostring, print, string.format, string.rep, arithmetic on strings.
local function try(f, ...) print(pcall(f, ...)) end
local function obj(s) return setmetatable({}, { __tostring = function() return s end }) end
local named = setmetatable({}, { __name = "Named" })
local function hide(s) return (string.gsub(s, "0x%x+", "PTR")) end
print(obj "text", obj "", tostring(obj "x"))
print(1, 1.0, -0.0, 1e15, 1e100, nil, true, "s", 2^53, 1/0, -1/0, math.mininteger)
print(hide(tostring(named)), hide(tostring({})), hide(tostring(print)))
print() print(nil) print(nil, nil)
try(tostring) try(tostring, obj(1)) try(tostring, obj {}) try(tostring, obj(nil)) try(print, obj {}) try(print, 1, obj(5), 2)
try(tostring, setmetatable({}, { __tostring = function() error("ts", 0) end }))
try(print, setmetatable({}, { __tostring = function() error { } end }) and 1)
try(tostring, setmetatable({}, { __tostring = 5 }))
print(hide(tostring(setmetatable({}, { __name = 5 }))))
local slow = setmetatable({}, { __tostring = function()
  local s = 0
  for i = 1, 3000 do s = s + i end
  return "slow " .. s
end })
print(slow, slow)
print(tostring(slow))
-- format
try(string.format, "%s %s", obj "a", obj "b") try(string.format, "%d %s %5s|%-5s|%.2s", 1, obj "abc", obj "d", obj "e", obj "fgh")
try(string.format, "%s%%%s", obj "a", 1) try(string.format, "%s") try(string.format, "%s %d", obj "x", "y") try(string.format, "%d", obj "1")
try(string.format, "%s", obj {}) try(string.format, "%y", obj "x") try(string.format, "%", obj "x") try(string.format, obj "x")
try(string.format, "%q", obj "x") try(string.format, "%s %s %s", nil, true, 1.5) try(string.format, "%10.4s|", obj "abcdefgh")
try(string.format, "%s", slow) try(string.format, "%5.2f %i %x %c %g %a", 3.14159, 42, 255, 65, 1e20, 1) try(string.format, "%q", "a\n\0b\"\\")
try(string.format, "%s %s", obj "only one") try(string.format) try(string.format, "%0100d", 1) try(string.format, "%-+ #0.10d", 1, obj "z")
try(string.format, "%s", setmetatable({}, { __tostring = function() return 42 end }))
try(string.format, "%d %d %s", 1, 2, obj "third") try(string.format, "%s", "a\0b") try(string.format, "%1$s", obj "x")
try(string.format, hide(string.format("%s", named))) try(string.format, "%.20s", obj(("x"):rep(50))) try(string.format, "%s|%s", obj("%s"), "y")
try(string.format, "%p", 1)
-- rep
print(("x"):rep(3), ("x"):rep(0), ("x"):rep(-1), ("x"):rep(3, ","), (""):rep(10), (""):rep(3, "-"), ("ab"):rep(1, "sep"))
try(string.rep, "x", 1 << 60) try(string.rep, "x", 1 << 60, "yy") try(string.rep, "x") try(string.rep, {}, 1) try(string.rep, "x", "3") try(string.rep, "x", 1.5)
print(#("abc"):rep(10000))
-- arithmetic of strings
print("10" + 5, "3" * "4", 10 - "2", -"2", "10" / 2, "7" // 2, "7" % 4, "2" ^ 3, "0x10" + 0, " 5 " + 1)
local num = setmetatable({}, {
  __add = function(a, b) return "add" .. type(a) .. type(b) end, __sub = function() return "sub" end,
  __mul = function() return "mul" end, __mod = function() return "mod" end, __pow = function() return "pow" end,
  __div = function() return "div" end, __idiv = function() return "idiv" end, __unm = function() return "unm" end,
})
print("x" + num, num + "x", "1" + num, "x" - num, "x" * num, "x" % num, "x" ^ num, "x" / num, "x" // num, -num)
for _, v in ipairs { "abc", {}, true } do
  try(function() return "x" + v end) try(function() return v + "x" end) try(function() return "5" // v end)
end
try(function() return -"x" end) try(function() return "x" + 1 end) try(function() return 1 + "x" end) try(function() return "10" + nil end)
try(function() return "a" + setmetatable({}, { __add = function() error("in add", 0) end }) end)
print("a" + setmetatable({}, { __add = function() local n = 0 for i = 1, 2000 do n = n + i end return n end }))
print(pcall(getmetatable("").__add, 1), pcall(getmetatable("").__add, "2", 3))
print(os.time { year = 2020, month = 1, day = 1, hour = 12 } == os.time(setmetatable({}, { __index = { year = 2020, month = 1, day = 1, hour = 12 } })))
local asked = {}
local when = os.time(setmetatable({}, { __index = function(_, k) asked[#asked + 1] = k return ({ year = 2021, month = 14, day = 3, hour = 1, min = 2, sec = 3 })[k] end }))
print(when == os.time { year = 2022, month = 2, day = 3, hour = 1, min = 2, sec = 3 }, table.concat(asked, " "))
try(os.time, setmetatable({}, { __index = function() end })) try(os.time, {}) try(os.time, 5)
local date = setmetatable({ year = 2021, month = 14, day = 3 }, { __newindex = function(t, k, v) rawset(t, k, v) end })
os.time(date)
print(date.year, date.month, date.day, date.hour, date.yday, date.wday, date.isdst)

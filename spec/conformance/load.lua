-- load with strings and readers, require and its searchers.
local function try(f, ...) print(pcall(f, ...)) end
local function pieces(list) local i = 0 return function() i = i + 1 return list[i] end end
local function by_char(s) local i = 0 return function() i = i + 1 if i <= #s then return s:sub(i, i) end end end
print(load("return 1")()) print(load("x =")) print(load("return ...", "=name")(5)) print(load("error 'x'", "@file"))
print(pcall(load("error 'x'", "@file"))) print(pcall(load("error 'x'", "=text"))) print(pcall(load("error 'x'")))
print(load(pieces { "return ", "1 ", "+ 2" })()) print(load(pieces { "return ", "", "oops" })) print(load(pieces {})) print(load(pieces { "" }))
print(load(pieces { nil, "return 3" })()) print(load(by_char "local a = 10; return a * 2, 'text', [[long]]")())
print(load(pieces { "x x", "never" })) print(load(pieces { "return 'unfinished" })) print(load(pieces { "return ", 5 })()) try(load, pieces { "return ", {} })
try(load, function() return {} end) try(load, function() error("reader", 0) end) try(load, function() error() end) try(load, function() return true end)
print(load(pieces { "return 1" }, "=chunk", "t")()) print(load(pieces { "return 1" }, "=chunk", "b")) print(load("return 1", "c", "b")) print(load(pieces { "ok =" }, "@f.lua"))
local bytes = string.dump(function(a) return a, 1 end)
print(load(bytes, "b", "b")(7)) print(load(bytes, "=b", "t")) print(load(by_char(bytes), "=b")(8)) print(load(pieces { bytes:sub(1, 10), bytes:sub(11) }, "=b", "bt")(9))
print(load(pieces { bytes:sub(1, 20) }, "=b")) print(load(by_char(bytes), "=b", "t"))
local env = { y = 5 }
print(load("return y", "e", "t", env)(), load(pieces { "return ", "y" }, "e", "t", env)(), load("y = 6", "e", "t", env)(), env.y)
print(pcall(load("return y", "e", "t", nil))) print(pcall(load(pieces { "return y" }, "e", "t", nil)))
try(load) try(load, 5) try(load, {}) try(load, nil) try(load, "x", {}) try(load, print, "n", 5) try(load, pieces {}, {})
print(load(5)) print(load(pieces { "--", " comment\n", "return 'c'" })()) print(load(pieces { "#!shebang" }))
local calls = 0
print(load(function() calls = calls + 1 if calls < 4 then return "x = " .. calls .. " " end end) ~= nil, calls, x)
calls = 0
print(load(function() calls = calls + 1 return "= " end), calls)
local many = {}
for i = 1, 300 do many[i] = "local a" .. i % 100 .. " = " .. i .. "; " if i % 100 == 0 then many[i] = many[i] .. "do end " end end
many = { "local t = 0; ", }
for i = 1, 400 do many[#many + 1] = "t = t + " .. i .. ";" end
many[#many + 1] = " return t"
print(load(pieces(many))())
print(load(function() local n = 0 for i = 1, 500 do n = n + 1 end calls = calls + 1 return calls < 5 and "-- c\n" or nil end) ~= nil)
print(pcall(function() return load(function() return nil .. "x" end) end))
print(coroutine.wrap(function() return load(function() return coroutine.isyieldable() and "y" or nil end) end)() ~= nil)

-- require
package.preload.one = function(...) print("loading", ...) return { name = "one" } end
print(require("one").name, select(2, require "one"), package.loaded.one == require "one")
package.preload.two = function() end
print(require "two", package.loaded.two)
package.preload.three = function(name) package.loaded[name] = "set by module" end
print(require "three")
package.preload.four = function() return false end
print(require "four", package.loaded.four)
package.preload.bad = function() error("module failed", 0) end
try(require, "bad") print(package.loaded.bad)
package.preload.worse = function() error({ code = 1 }) end
print(select(2, pcall(require, "worse")).code)
package.preload.slow = function() local n = 0 for i = 1, 5000 do n = n + i end return n end
print(require "slow")
package.preload.outer = function() return require("slow") + require("one").name:len() end
print(require "outer")
local path, cpath = package.path, package.cpath
package.path, package.cpath = "./?.nothing;./?/init.nothing", "./?.none"
try(require, "no.such.module") try(require) try(require, {}) print(package.searchpath("no.x", package.path)) print(package.searchpath("a", "?;b?", "", ""))
print(pcall(function() require "missing" end))
print(select("#", require "one"))
local searchers = package.searchers
table.insert(searchers, 1, function(name) print("searching", name) return nil end)
table.insert(searchers, 2, function(name) if name == "made" then return function(...) return table.concat({ ... }, "+") end, "data" end return "\n\tcustom says no" end)
print(require "made") try(require, "unmade")
table.remove(searchers, 1) table.remove(searchers, 1)
package.searchers = nil try(require, "another") package.searchers = {} try(require, "another") package.searchers = { function() error("in searcher", 0) end } try(require, "another")
package.searchers = { function() return 5 end } try(require, "another") package.searchers = { function() return print end, nil } try(require, "yet")
package.searchers = searchers
local name = os.tmpname()
local f = assert(io.open(name, "w"))
f:write("local n, file = ...\nlocal s = 0\nfor i = 1, 100 do s = s + i end\nreturn { n, file == '", name, "', s }") f:close()
package.path = name
local m, extra = require "from.file"
print(m[1], m[2], m[3], extra == name)
print(dofile(name)[3], loadfile(name)("a")[1], loadfile "/no/such/file")
f = assert(io.open(name, "w")) f:write("x = = 1") f:close()
print((select(2, pcall(require, "broken")):gsub(name:gsub("%p", "%%%0"), "FILE")))
f = assert(io.open(name, "w")) f:write("local n = 0 for i = 1, 3000 do n = n + i end error('deep', 0)") f:close()
print(pcall(require, "raising")) print(pcall(dofile, name))
os.remove(name)
package.path, package.cpath = path, cpath

-- string.find, match, gmatch, gsub.
local function try(f, ...) print(pcall(f, ...)) end
for _, c in ipairs {
  { "alo", "" }, { "alo", "", 4 }, { "alo", "", 5 }, { "alo", "", 10 }, { "", "" }, { "", "", 2 }, { "aloALO", "%l*" },
  { "a\0o a\0o a\0o", "a", 1 }, { "a\0o a\0o a\0o", "a\0o", 2 }, { "a\0a\0a\0a\0\0ab", "\0ab", 2 }, { "a\0a\0a\0a\0\0ab", "b\0" },
  { "\0\0a", "%z+" }, { "alo123alo", "12" }, { "alo123alo", "^12" }, { "aaab", ".*b" }, { "aaa", ".*a" }, { "b", ".*b" },
  { "aaab", ".+b" }, { "aaa", ".+a" }, { "b", ".+b" }, { "aaab", ".?b" }, { "aaa", ".?a" }, { "b", ".?b" }, { "aaa", "ab*a" },
  { "aba", "ab*a" }, { "aaab", "a+" }, { "aaab", "^.+$" }, { "aaa", "b+" }, { "aaa", "ab+a" }, { "aba", "ab+a" }, { "a$a", ".$" },
  { "a$a", ".%$" }, { "a$a", ".$." }, { "a$a", "$$" }, { "a$b", "a$" }, { "a$a", "$" }, { "", "b*" }, { "aaa", "bb*" },
  { "aaab", "a-" }, { "aaa", "^.-$" }, { "aabaaabaaabaaaba", "b.*b" }, { "aabaaabaaabaaaba", "b.-b" }, { "alo xo", ".o$" },
  { " \n isto é assim", "%S%S*" }, { "um caracter ? extra", "[^%sa-z]" }, { "áéí", "[a-z]+" }, { "0alo alo", "%x*" },
  { "alo alo", "%C+" }, { "(álo)", "%(á" }, { "x ]y", "[]]" }, { "a-b", "[a-]" }, { "a-b", "[%a-]+" }, { "]]]", "[^]]" },
  { "THE (quick) fox", "%((%a+)%)" }, { "key = value", "^(%w+)%s*=%s*(%w+)$" }, { "2024-01-31", "(%d+)-(%d+)-(%d+)" },
  { "hello", "()ll()" }, { "hello", "(h)(.)%2?(l)" }, { "aXXb", "(X)%1" }, { "abcabc", "(abc)%1" }, { "f(a(b)c)d", "%b()" },
  { "f(a(b c)d", "%b()" }, { "THE (quick) fox", "%f[%a]%a+%f[%A]", 5 }, { "[[]]", "%f[[]." }, { "alo aalo allo", "%f[%S].-%f[%s].-%f[%S]" },
  { "aba", "%f[a]" }, { "aba", "%f[\0]" }, { "abc\0efg", "%\0" }, { "abc", "[a-%%]" }, { "abc", "[%a-z]" }, { "a^b", "a^" }, { "^b", "%^b" },
  { "x=1, y=2", "(%w)=(%w), (%w)=(%w)" }, { "alo", "al", -2 }, { "alo", "l", -2 }, { "alo", "l", -100 }, { "alo", "a", 0 },
  { "aaaaab", "a-b" }, { "0123456789", "(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)" }, { "a.b", ".", 1, true }, { "a.b", "", 10, true },
  { "a.b", "", 4, true }, { "a+b", "+", nil, true }, { ("x"):rep(50), "x?x?x?x?y" }, { 123, 2 }, { "abc", "b", "2" },
} do
  local s, p, init, plain = table.unpack(c, 1, 4)
  print(s, p, init, pcall(string.find, s, p, init, plain))
  print(pcall(string.match, s, p, init))
  print(pcall(string.gsub, s, p, "<%0>"))
  local all = {}
  local ok, e = pcall(function()
    for a, b, d in string.gmatch(s, p) do all[#all + 1] = tostring(a) .. "|" .. tostring(b) .. "|" .. tostring(d) end
  end)
  print(ok, e, #all, table.concat(all, " "))
end

-- malformed patterns, each in each function
for _, p in ipairs { "%", "a%", "(", ")", "(()", "a)", "[", "[a", "[]", "[^]", "[a%]", "[a%", "%b", "%ba", "%f", "%fa",
  "%1", "()%2", "(%1)", "(a)%0", "%9", ("("):rep(33), ("()"):rep(33), "((a)", "[^", "[%", "%f[", "[a-", "[a-]" } do
  for _, f in ipairs { string.find, string.match, string.gsub } do print(p, pcall(f, "alo a", p, "x")) end
  print(pcall(function() for _ in ("alo a"):gmatch(p) do end end))
end
-- limits
local function complex(n) return ("a"):rep(n), (".?"):rep(n) end
for _, n in ipairs { 10, 80, 197, 198, 199, 200, 201, 2000 } do
  local s, p = complex(n)
  local ok, r = pcall(string.match, s, p)
  print(n, ok, ok and #r or r)
  print(n, pcall(string.find, s, ("a-"):rep(n)))
  print(n, pcall(string.find, ("a"):rep(3), ("b*"):rep(n)))
end
print(#("x"):rep(32), pcall(string.find, ("x"):rep(40), ("(x)"):rep(32)))
print(pcall(string.find, ("x"):rep(40), ("(x)"):rep(33)))
print(select("#", string.find(("x"):rep(40), ("()"):rep(32))))

-- gsub
try(string.gsub, "hello world", "o", { o = "0" }) try(string.gsub, "hello", "l", { l = 5 }) try(string.gsub, "hello", "l", { l = false })
try(string.gsub, "hello", "l", { l = {} }) try(string.gsub, "hello", "(l)(.)", "%2%1") try(string.gsub, "hello", "", "-")
try(string.gsub, "hello", "()", "%1") try(string.gsub, "abc", "%w", "%1") try(string.gsub, "abc", "%w", "%2") try(string.gsub, "abc", "%w", "%x")
try(string.gsub, "abc", "%w", "%") try(string.gsub, "abc", "%w", "%%%0") try(string.gsub, "abc", "%w", "") try(string.gsub, "abc def", "%w+", "%0 %0", 1)
try(string.gsub, "abc", "b", "x", 0) try(string.gsub, "abc", "b", "x", -1) try(string.gsub, "abc", "b", true) try(string.gsub, "abc", "b")
try(string.gsub, "abc", "b", 5) try(string.gsub, "abc", "b", 1.5) try(string.gsub, {}, "b", "") try(string.gsub, "abc", {}, "")
try(string.gsub, "abc", "b", "x", {}) try(string.gsub, "um (dois) tres (quatro)", "(%(%w+%))", string.upper)
try(string.gsub, "abc", "^a", "x") try(string.gsub, "aaa", "^a", "x") try(string.gsub, "aaa", "^", "x") try(string.gsub, "aaa", "$", "x")
try(string.gsub, "abc d", "%s*", "_") try(string.gsub, "a b c", "%s", function() end) try(string.gsub, "abc", ".", function(c) return c == "b" and 7 end)
try(string.gsub, "abc", ".", function() return {} end) try(string.gsub, "abc", ".", function() error("cb", 0) end)
try(string.gsub, "abc", "(.)(.)", function(...) return select("#", ...) end) try(string.gsub, "$name is $age", "%$(%w+)", { name = "Lua", age = 30 })
try(string.gsub, "a b", "%w", setmetatable({}, { __index = function(_, k) return k .. k end }))
try(string.gsub, "a b", "%w", setmetatable({ a = 1 }, { __index = { b = "B" } }))
try(string.gsub, "a b", "()", setmetatable({}, { __index = function(_, k) return k % 2 == 0 and "e" or nil end }))
try(string.gsub, "a b", "%w", setmetatable({}, { __index = function() error("idx", 0) end }))
try(string.gsub, "\0a\0b", "%z", "[0]") try(string.gsub, ("x"):rep(300), "x", ("%0"):rep(3)) try(string.gsub, "first second", "%w+", "%0 %0", 1)
local rev = {}
string.gsub("a b c d", "%w", function(c) rev[#rev + 1] = c rev[#rev + 1] = (string.gsub("xy", "x", c)) end)
print(table.concat(rev, ","))
print(#string.gsub(("abc"):rep(3000), "b", ("q"):rep(10)))
print((string.gsub("one two", "(%w+) (%w+)", "%2 %1")))
local anchored = 0
print(string.gsub("aaa", "^a", function() anchored = anchored + 1 return "b" end), anchored)
print(pcall(function()
  return string.gsub("abc", "b", function(c) local x = nil; return x.y end)
end))

-- gmatch
local function collect(...) local r = {} for a, b in string.gmatch(...) do r[#r + 1] = tostring(a) .. ":" .. tostring(b) end print(table.concat(r, " ")) end
collect("one two three", "%a+") collect("k=v, a=b", "(%w+)=(%w+)") collect("abc", "") collect("abc", "()") collect("xuxx uu ppar r", "()(.)%2")
collect("abc abc", "^abc") collect("10 20 30", "%d+", 4) collect("10 20 30", "%d+", -2) collect("10 20 30", "%d+", 100) collect("abc", "", 4) collect("abc", "", 5)
try(string.gmatch, "x") try(string.gmatch) try(string.gmatch, {}, "x") try(string.gmatch, "x", "x", {})
local it = ("a,b"):gmatch("[^,]+")
print(it(), it(), it(), it())
-- heavy work
print(("a"):rep(200):find(".-.-.-b"))
print(("a"):rep(200):find("a*a*b"), #("a"):rep(5000):match(".-a*"))
print(#(("x "):rep(2000):gsub("%s", "")))
local count = 0
for w in ("word "):rep(1000):gmatch("%a+") do count = count + #w end
print(count)
print(("b"):rep(1000):match("^(b-)$") == ("b"):rep(1000), (("("):rep(500) .. (")"):rep(500)):match("%b()") ~= nil)

-- pcall, xpcall, error objects, to-be-closed variables.
print(pcall(pcall))
print(pcall(xpcall))
print(pcall(xpcall, print))
print(pcall(xpcall, print, 1))
print(pcall(error))
print(pcall(error, nil))
print(select("#", pcall(function() return nil, nil end)))
print(pcall(pcall, pcall, error, "x"))
print(xpcall(function(...) return select("#", ...), ... end, print, 1, nil, 3))
print(xpcall(function() local x = nil; x() end, function(m) return "H:" .. m end))
print(xpcall(error, function(m) return type(m) end, nil))
print(xpcall(function() error({ 1 }) end, function(m) return m[1] end))
print(xpcall(function() error("a") end, function(m) error(m .. "b", 0) end))
print(xpcall(function() error("a") end, coroutine.wrap(function(m) return m end)))
print((xpcall(function() local function f() return f() + 1 end return f() end,
  function(m) return m end)))
print(xpcall(function() for i = 1, 100 do end error("late", 0) end, function(m)
  local n = 0
  for i = 1, 5000 do n = n + 1 end
  return m .. n
end))
print(pcall(setmetatable({}, { __call = function(_, x) return x end }), 7))
do
  local function res(name)
    return setmetatable({}, { __close = function(_, e) print("close", name, e) end })
  end
  print(pcall(function()
    local a <close> = res "a"
    for i = 1, 3 do
      local b <close> = res("b" .. i)
      if i == 2 then error("in loop", 0) end
    end
  end))
  print(pcall(function()
    local a <close> = setmetatable({}, { __close = function() error("e1", 0) end })
    local b <close> = setmetatable({}, { __close = function(_, e) error(tostring(e) .. "+e2", 0) end })
    error("e0", 0)
  end))
  for i, x in (function()
    return next, { 1 }, nil, res "for"
  end)() do print(i, x) end
end
local depth = 0
local function deep() depth = depth + 1 return depth < 150 and pcall(deep) end
print(deep() ~= nil, depth)
print(pcall(string.rep))
print(pcall(("x").rep, "x", {}))
print(pcall(function() return ("x"):bad() end))
print(pcall(function() local t = setmetatable({}, { __index = function(t, k) error(k, 0) end }) return t.key end))
print(select(2, pcall(error, setmetatable({}, { __tostring = function() return "obj" end }))))

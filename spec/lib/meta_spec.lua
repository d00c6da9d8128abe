-- The stubs for editors name what the module has, no more and no less.
local actor = require "luactor"

local describe, it, assert = describe, it, assert

local function stubbed()
  local names = {}
  for line in io.lines "lualib/meta/luactor.lua" do
    local name = line:match "^function actor%.([%w_]+)" or line:match "^%-%-%-@field ([%w_]+) luactor%.[VPA]"
    if name and not names[name] then names[name] = true end
  end
  return names
end

describe("lualib/meta/luactor.lua", function()
  it("names every function of the module", function()
    local missing, names = {}, stubbed()
    for name in pairs(actor) do
      if not names[name] then missing[#missing + 1] = name end
    end
    assert.same({}, missing)
  end)

  it("names nothing that the module lacks", function()
    local extra = {}
    for name in pairs(stubbed()) do
      if actor[name] == nil then extra[#extra + 1] = name end
    end
    assert.same({}, extra)
  end)
end)

-- The modules written in Lua carry their own annotations.
describe("the modules of lualib", function()
  local function unannotated()
    local list = {}
    local pipe = assert(io.popen "find lualib/luactor -name '*.lua' ! -name '_*'")
    for path in pipe:lines() do
      local before = ""
      for line in io.lines(path) do
        local name = line:match "^function M[.:]([%w_]+)"
        if name and not before:find "^%-%-%-" then list[#list + 1] = path .. ": " .. name end
        before = line
      end
    end
    pipe:close()
    return list
  end

  it("annotate every public function", function()
    assert.same({}, unannotated())
  end)
end)

-- The guide shows the programs of examples/embed as they are. (That they print what is
-- expected of them is a test of its own, example/*; the guide's copies are run, too.)
local describe, it, assert = describe, it, assert
local _ENV = _G

local function slurp(path)
  local file <close> = assert(io.open(path))
  return file:read "a"
end

describe("the guide of embedding", function()
  local guide = slurp "docs/guide/embedding.md"

  for _, name in ipairs { "values", "mailbox", "native", "suspend" } do
    it("shows examples/embed/" .. name .. ".c and its output", function()
      local block = "```c\n" .. slurp("examples/embed/" .. name .. ".c")
        .. "```\n\n```\n" .. slurp("examples/embed/expected/" .. name .. ".txt") .. "```\n"
      assert.is_truthy(guide:find(block, 1, true))
    end)
  end
end)

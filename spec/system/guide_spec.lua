-- The programs of the guide print what the guide says.
--
-- In a page of docs/guide a block marked `lua` that is followed by a block
-- without a mark is a whole program and its standard output. Every other `lua`
-- block must at least compile. A page may keep `<!-- prelude -->` before a block
-- that the programs after it need first.
local helper = require "spec.helper"
local describe, it, assert = describe, it, assert
local _ENV = _G

local function slurp(path)
  local file = assert(io.open(path))
  local text = file:read "a"
  file:close()
  return text
end

local function pages()
  local list = {}
  local pipe = assert(io.popen "ls docs/guide/*.md")
  for path in pipe:lines() do list[#list + 1] = path end
  pipe:close()
  return list
end

-- Blocks in order: { mark, text, line, gap }, where gap is the text between
-- the end of the block before and this one.
local function blocks(text)
  local list, block, gap, n = {}, nil, {}, 0
  for line in (text .. "\n"):gmatch "(.-)\n" do
    n = n + 1
    local mark = line:match "^```(%w*)%s*$"
    if block and mark == "" then
      block.text = table.concat(block, "\n") .. "\n"
      list[#list + 1], block, gap = block, nil, {}
    elseif block then
      block[#block + 1] = line
    elseif mark then
      block = { mark = mark, line = n, gap = table.concat(gap, "\n") }
    else
      gap[#gap + 1] = line
    end
  end
  assert(not block, "a block that is not closed")
  return list
end

-- The pages that first-steps' own spec runs as one program.
local JOINED <const> = { ["docs/guide/first-steps.md"] = true }

for _, path in ipairs(pages()) do
  describe(path, function()
    local list = blocks(slurp(path))
    local prelude = ""
    for i, block in ipairs(list) do
      local following = list[i + 1]
      if block.mark ~= "lua" then
        goto continue
      elseif block.gap:find("<!-- prelude -->", 1, true) then
        prelude = block.text
      elseif following and following.mark == "" and not JOINED[path] then
        local program = prelude .. block.text
        it(("line %d prints what follows it"):format(block.line), function()
          local out, errors, status = helper.cli { code = program }
          assert.equal(following.text, out, errors)
          assert.equal(0, status, errors)
        end)
      end
      it(("line %d compiles"):format(block.line), function()
        assert(load(block.text, "=" .. path, "t"))
      end)
      ::continue::
    end
  end)
end

describe("a page of the guide", function()
  it("is found", function()
    assert.is_true(#pages() > 0)
  end)
end)

-- What README and the guide show is so: their programs print what stands behind them.
--
--   ```lua     a whole program when a block without a mark follows, which is its standard
--              output. Otherwise it must compile.
--   ```sh      run by bash, in order, in one scratch directory a page, with the command
--              in PATH; a block without a mark behind it is its standard output
--   ```c       compiled against this build and run; followed by its output as above
--
-- Before a block may stand
--   <!-- prelude -->       the programs behind it need it first
--   <!-- file: name -->    it is a file of the scratch directory
--   <!-- setup -->, <!-- test -->    the whole check (.ci/run) runs it
local actor = require "luactor"
local helper = require "spec.helper"
local describe, it, assert = describe, it, assert
local setup, teardown = setup, teardown
local _ENV = _G

local ROOT <const> = os.getenv "PWD"

local function slurp(path)
  local file = assert(io.open(path))
  local text = file:read "a"
  file:close()
  return text
end

local function pages()
  local list = { "README.md" }
  local pipe = assert(io.popen "ls docs/guide/*.md docs/*.md")
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

-- The page whose own spec runs it as one program.
local JOINED <const> = { ["docs/guide/first-steps.md"] = true }

local function has(block, comment)
  return block.gap:find("<!-- " .. comment .. " -->", 1, true)
end

-- Times and addresses differ from run to run.
local function steady(text)
  return (text:gsub("%(%d+ ms%)", "(N ms)"):gsub("%(%d+%.%d+ s%)", "(N s)"):gsub("table: 0x%x+", "table: 0x..."))
end

-- The output that the page shows for a block, if any.
local function shown(list, i)
  local following = list[i + 1]
  return following and following.mark == "" and following.text or nil
end

-- Run a shell script in the directory; what was printed, and the status.
local function sh(dir, script)
  local file = assert(io.open(dir .. "/.job", "w"))
  file:write(script)
  file:close()
  local command = ("cd '%s' && PATH='%s/.bin':$PATH timeout -k 5 300 bash -euo pipefail .job >.out 2>.err </dev/null")
    :format(dir, dir)
  local _, _, status = actor.blocking(os.execute, command)
  return slurp(dir .. "/.out"), status, slurp(dir .. "/.err")
end

local function absolute(path)
  return path:sub(1, 1) == "/" and path or ROOT .. "/" .. path
end

-- pkg-config knows what the libraries of the system need.
local function build_c(name)
  local build = absolute(helper.binary):match "^(.*)/"
  return ([[
    ${CC:-cc} -std=c11 -Wall -Wextra -Werror %s.c -o %s -I'%s/host/include' -L'%s' -lluactor -Wl,-rpath,'%s' \
      $(pkg-config --cflags --libs lua5.4 libuv) $LUACTOR_CFLAGS -pthread]]):format(name, name, ROOT, build, build)
end

-- C against a sanitized library needs the same flag.
local SANITIZE <const> = os.getenv "LUACTOR_SANITIZE" or ""

for _, path in ipairs(pages()) do
  describe(path, function()
    local list = blocks(slurp(path))
    local prelude, dir = "", nil

    setup(function()
      dir = os.tmpname()
      os.remove(dir)
      assert(os.execute(("mkdir -p %s/.bin && ln -s '%s' %s/.bin/luactor"):format(dir, absolute(helper.binary), dir)))
    end)
    teardown(function() os.execute("rm -rf " .. dir) end)

    local run = {}

    function run.lua(block, i)
      local output = shown(list, i)
      if has(block, "prelude") then
        prelude = block.text
      elseif output and not JOINED[path] then
        local program = prelude .. block.text
        it(("line %d prints what follows it"):format(block.line), function()
          local out, errors, status = helper.cli { code = program }
          assert.equal(output, steady(out), errors)
          assert.equal(0, status, errors)
        end)
      end
      it(("line %d compiles"):format(block.line), function()
        assert(load(block.text, "=" .. path, "t"))
      end)
    end

    local place = "" -- where the last shell block left us
    function run.sh(block, i)
      if has(block, "setup") or has(block, "test") then return end
      it(("line %d runs"):format(block.line), function()
        local out, status, errors = sh(dir, ("cd ./%s\n%s\npwd >'%s/.pwd'\n"):format(place, block.text, dir))
        assert.equal(0, status, errors)
        if shown(list, i) then assert.equal(steady(shown(list, i)), steady(out)) end
        place = slurp(dir .. "/.pwd"):sub(#dir + 2, -2)
      end)
    end

    function run.c(block, i)
      it(("line %d builds and runs"):format(block.line), function()
        local file = assert(io.open(dir .. "/program.c", "w"))
        file:write(block.text)
        file:close()
        local flags = SANITIZE ~= "" and "-fsanitize=" .. SANITIZE or ""
        local out, status, errors = sh(dir, ("LUACTOR_CFLAGS='%s'\n%s\n./program\n"):format(flags, build_c "program"))
        assert.equal(0, status, errors)
        if shown(list, i) then assert.equal(shown(list, i), steady(out)) end
      end)
    end

    local function write(block, name)
      it(("line %d is the file %s"):format(block.line, name), function()
        local where = dir .. "/" .. place .. "/" .. name
        assert(os.execute(("mkdir -p '%s'"):format(where:match "^(.*)/")))
        local file = assert(io.open(where, "w"))
        file:write(block.text)
        file:close()
        if block.mark == "lua" then assert(loadfile(where, "t")) end
      end)
    end

    for i, block in ipairs(list) do
      local name = block.gap:match "<!%-%- file: (%S+) %-%->"
      if name then
        write(block, name)
      elseif run[block.mark] then
        run[block.mark](block, i)
      end
    end
  end)
end

describe("a page of the guide", function()
  it("is found", function()
    assert.is_true(#pages() > 10)
  end)

  it("is reached from the README", function()
    local readme, missing = slurp "README.md", {}
    for _, path in ipairs(pages()) do
      if path ~= "README.md" and not readme:find("(" .. path .. ")", 1, true) then
        missing[#missing + 1] = path
      end
    end
    assert.same({}, missing)
  end)
end)

-- The anchors that a page's headings have, as GitHub makes them.
local function anchors(text)
  local set, in_code = {}, false
  for line in text:gmatch "[^\n]+" do
    if line:find "^```" then in_code = not in_code end
    local heading = not in_code and line:match "^#+%s+(.-)%s*$"
    if heading then set[heading:lower():gsub("[^%w%s_-]", ""):gsub(" ", "-")] = true end
  end
  return set
end

-- What the links of a page lead to, but for those to the web.
local function links(text)
  local list, in_code = {}, false
  for line in text:gmatch "[^\n]+" do
    if line:find "^```" then in_code = not in_code end
    if not in_code and not line:find "^    " then
      for link in line:gsub("`[^`]*`", ""):gmatch "%]%(([^)%s]+)%)" do
        if not link:find "^%a+:" then list[#list + 1] = link end
      end
    end
  end
  return list
end

describe("every link", function()
  it("leads to a file, and to a heading in it", function()
    local wrong, count = {}, 0
    local pipe = assert(io.popen "find *.md docs -name '*.md'")
    for page in pipe:lines() do
      local text = slurp(page)
      for _, link in ipairs(links(text)) do
        local path, anchor = link:match "^([^#]*)#?(.*)$"
        path = path == "" and page or (page:match "^.*/" or "") .. path
        local file = io.open(path)
        count = count + 1
        if not file or anchor ~= "" and not anchors(slurp(path))[anchor] then
          wrong[#wrong + 1] = page .. ": " .. link
        end
        if file then file:close() end
      end
    end
    pipe:close()
    assert.same({}, wrong)
    assert.is_true(count > 50)
  end)
end)

-- luactor check [files|dirs]: does every file compile, and what does luacheck say?

local shell = require "luactor._tool.shell"

local M = {}

local HELP <const> = [[
usage: luactor check [files|dirs] [luacheck options]
Compile every file, and every *.lua of a directory (default: the one you are
in), without running it. When luacheck is installed it is run on the files that
compile, with its options and the project's .luacheckrc. Status 0: nothing found.
]]

-- Names that begin with a dot are left out, as `luactor test` does.
local function files_of(dir)
  local list = {}
  local text = shell.read(("find %s -name '.?*' -prune -o -type f -name '*.lua' -print | LC_ALL=C sort")
    :format(shell.quote(dir:find "^%-" and "./" .. dir or dir)))
  for path in text:gmatch "[^\n]+" do list[#list + 1] = (path:gsub("^%./", "")) end
  return list
end

local function collect(words)
  local files = {}
  for _, word in ipairs(words) do
    local kind = shell.kind(word)
    if not kind then shell.fail("check", "cannot find '%s'", word) end
    if kind == "dir" then
      table.move(files_of(word), 1, 1 << 20, #files + 1, files)
    else
      files[#files + 1] = word
    end
  end
  return files
end

-- The files that compile; mistakes are printed.
local function compile(files)
  local good = {}
  for _, path in ipairs(files) do
    local f, message = loadfile(path, "t")
    if f then
      good[#good + 1] = path
    else
      print(message)
    end
  end
  return good
end

local function run_luacheck(files, options)
  if #files == 0 then return 0 end
  if not shell.has "luacheck" then
    print "luacheck is not installed: only the syntax was checked"
    return 0
  end
  local words = { "luacheck" }
  if #options == 0 then words[2] = "-q --no-color" end
  for _, list in ipairs { options, { "--" }, files } do
    for _, word in ipairs(list) do words[#words + 1] = shell.quote(word) end
  end
  return shell.run(table.concat(words, " "))
end

---@param ... string  words of the command line
function M.main(...)
  local words, options = {}, {}
  for _, word in ipairs { ... } do
    if word == "--help" or word == "-h" then
      io.write(HELP)
      return
    end
    local list = word:find "^%-." and options or words
    list[#list + 1] = word
  end
  local files = collect(#words > 0 and words or { "." })
  if #files == 0 then shell.fail("check", "no Lua files in '%s'", table.concat(words, "', '")) end
  local good = compile(files)
  local status = run_luacheck(good, options)
  local bad = #files - #good
  print(("%d file%s checked, %d with syntax errors"):format(#files, #files == 1 and "" or "s", bad))
  os.exit(bad == 0 and status == 0 and 0 or 1)
end

return M

-- The pages of this folder, made from what stands in the code: the annotations of lualib, and
-- the comments of luactor.h.
--
--   lua5.4 docs/reference/generate.lua           write them
--   lua5.4 docs/reference/generate.lua --check   only say which are stale; status 1 if any is
--
-- To be run in the project's directory.

local FOLDER <const> = "docs/reference/"
local NOTE <const> = "<!-- Made by docs/reference/generate.lua; do not edit. -->\n\n"

local function slurp(path)
  local file = io.open(path)
  if not file then return nil end
  local text = file:read "a"
  file:close()
  return text
end

local function lines_of(text)
  local list = {}
  for line in (text:gsub("\n?$", "\n")):gmatch "(.-)\n" do list[#list + 1] = line end
  return list
end

-- A page: what is added to it in order.
local function new_page()
  local page = {}
  function page:add(format, ...)
    self[#self + 1] = select("#", ...) > 0 and format:format(...) or format
  end
  function page:text() return NOTE .. table.concat(self, "\n"):gsub("\n\n\n+", "\n\n"):gsub("\n*$", "\n") end
  return page
end

-- In prose, what Markdown would take for a mark of its own; code between `` stays.
local function plain(text)
  return (("`" .. text .. "`"):gsub("`([^`]*)`", function(prose)
    return "`" .. prose:gsub("[<*]", "\\%0") .. "`"
  end):sub(2, -2))
end

local function code(text) return "`" .. text .. "`" end

-- In a cell of a table a bar ends it.
local function cell(text) return (text:gsub("|", "\\|")) end

-- Lua ------------------------------------------------------------------------------------

-- "name? type  text", the type ending at two blanks.
local function split_field(rest)
  local name, spec = rest:match "^(%S+)%s+(.*)$"
  if not name then return rest, "", "" end
  local kind, text = spec:match "^(.-)%s%s+(.*)$"
  if not kind then kind, text = spec, "" end
  return name, kind, text
end

local function split_return(rest)
  local spec, text = rest:match "^(.-)%s%s+(.*)$"
  return spec or rest, text or ""
end

-- The comment above a function or class, read tag by tag.
local function read_doc(block)
  local doc = { text = {}, params = {}, returns = {}, fields = {} }
  local last -- what an untagged line goes on with
  for _, line in ipairs(block) do
    local tag, rest = line:match "^@(%l+)%s*(.*)$"
    if tag == "param" then
      local name, kind, text = split_field(rest)
      last = { name = name, kind = kind, text = text }
      doc.params[#doc.params + 1] = last
    elseif tag == "field" then
      local name, kind, text = split_field(rest)
      last = { name = name, kind = kind, text = text }
      if name ~= "private" then doc.fields[#doc.fields + 1] = last end
    elseif tag == "return" then
      local kind, text = split_return(rest)
      last = { kind = kind, text = text }
      doc.returns[#doc.returns + 1] = last
    elseif tag == "class" or tag == "alias" then
      local head, text = split_return(rest)
      doc.type = head
      doc.text[#doc.text + 1] = text ~= "" and text or nil
    elseif tag == "private" then
      doc.private = true
    elseif not tag then
      if last then
        last.text = last.text .. " " .. line
      else
        doc.text[#doc.text + 1] = line
      end
    end
  end
  return doc
end

-- What a file has: its introduction, and the documented things in order.
local function read_lua(path)
  local items, intro, block = {}, {}, {}
  local is_intro = true
  for _, line in ipairs(lines_of(assert(slurp(path)))) do
    local comment = line:match "^%-%-%-%s?(.*)$"
    if comment then
      block[#block + 1] = comment
      is_intro = false
    else
      local name, args = line:match "^function ([%w_.:]+)(%b())"
      local section = line:match "^%-%- (.-) %-%-%-%-%-+$"
      if #block > 0 then
        local doc = read_doc(block)
        doc.name, doc.args = name, args
        if (name or doc.type) and not doc.private then items[#items + 1] = doc end
        if not name and not doc.type and #items == 0 and #intro == 0 then intro = block end
      elseif section then
        items[#items + 1] = { section = section }
      end
      if is_intro and line:find "^%-%-" then
        intro[#intro + 1] = line:match "^%-%-%s?(.*)$"
      elseif line ~= "" or #intro > 0 then
        is_intro = false
      end
      block = {}
    end
  end
  return intro, items
end

-- Code in an introduction is set off by two blanks and empty lines.
local function add_intro(page, intro)
  local was_code = false
  for _, line in ipairs(intro) do
    local sample = line:match "^  (.*)$"
    if sample and not was_code then page:add "```lua" end
    if was_code and not sample and line ~= "" then
      if page[#page] == "" then page[#page] = nil end
      page:add "```\n"
      was_code = false
    end
    if sample then was_code = true end
    page:add(sample or (was_code and line or plain(line)))
  end
  if was_code then page:add "```" end
  page:add ""
end

local function add_list(page, list)
  for i, p in ipairs(list) do
    if i == 1 then page:add "" end
    page:add("- %s%s", code(p.name and p.name .. ": " .. p.kind or "returns " .. p.kind),
      p.text ~= "" and "  " .. plain(p.text) or "")
  end
end

local function add_fields(page, fields)
  if #fields == 0 then return end
  page:add "\n| field | type | |\n|---|---|---|"
  for _, f in ipairs(fields) do
    page:add("| %s | %s | %s |", code(f.name), cell(code(f.kind)), cell(plain(f.text)))
  end
end

-- Functions of `M` are shown under the name that a program gives the module.
local function shown_name(name, module)
  local short = module:match "[^.]+$"
  return (name:gsub("^M([.:])", short .. "%1"))
end

local function is_private(name)
  return name:find "^_" or name:find "[.:]_"
end

local function add_items(page, items, module)
  local section
  for _, item in ipairs(items) do
    if item.section then
      section = item.section
    elseif not (item.name and is_private(item.name)) then
      if section and module == "luactor" then page:add("## %s\n", section) end
      section = nil
      if item.name then
        page:add("### %s\n", code(shown_name(item.name, module) .. item.args))
      else
        page:add("### %s\n", code(item.type))
      end
      page:add(plain(table.concat(item.text, "\n")))
      add_list(page, table.move(item.returns, 1, #item.returns, #item.params + 1, item.params))
      add_fields(page, item.fields)
      page:add ""
    end
  end
end

local function lua_page(module, path, extra)
  local intro, items = read_lua(path)
  local page = new_page()
  page:add("# %s\n", module)
  if extra then page:add(extra .. "\n") else add_intro(page, intro) end
  add_items(page, items, module)
  local first = {}
  for i, line in ipairs(intro) do
    if line == "" then break end
    first[i] = line
  end
  local summary = table.concat(first, " ")
  return page:text(), summary:match "^(.-)%.%s" or (summary:gsub("%.$", ""))
end

-- C ----------------------------------------------------------------------------------------

-- The text of a comment without its marks.
local function unwrap(comment)
  local text = comment:gsub("^/%*[ \t]?", ""):gsub("%s*%*/$", "")
  return (text:gsub("\n[ \t]*%*[ \t]?", "\n"))
end

-- Paragraphs as they are; the contract in brackets at the end on a line of its own.
local function add_comment(page, text)
  local body, contract = text:match "^(.-)%s*%[([^%[%]]*·[^%[%]]*)%](.*)$"
  if not body then
    page:add(plain(text) .. "\n")
    return
  end
  local behind = text:match "%[[^%[%]]*·[^%[%]]*%]%s*(.*)$"
  if body ~= "" then page:add(plain(body) .. "\n") end
  if behind ~= "" then page:add(plain(behind) .. "\n") end
  page:add("*%s*\n", plain((contract:gsub("\n", " "))))
end

-- The next piece of a header from `at`: a comment, or lines of code up to an empty line or a comment
-- at the beginning of a line.
local function next_piece(text, at)
  at = text:find("%S", at)
  if not at then return nil end
  if text:sub(at, at + 1) == "/*" then
    local _, last = text:find("*/", at, true)
    return "comment", text:sub(at, last), last + 1
  end
  local depth, from = 0, at
  while true do
    local line, last = text:match("^([^\n]*)()", from)
    local bare = line:gsub("/%*.-%*/", "")
    depth = depth + select(2, bare:gsub("[{(]", "")) - select(2, bare:gsub("[})]", ""))
    local following = text:match("^\n([^\n]*)", last)
    if line:find '^extern "C"' then return "code", line, last end -- has its end elsewhere
    local goes_on = depth > 0 or line:find "\\$"
    if not following or not goes_on and (following:find "^%s*$" or following:find "^/%*") then
      return "code", text:sub(at, last - 1), last
    end
    from = last + 1
  end
end

local function names_of(piece)
  local names = {}
  for name in piece:gmatch "(luactor_[%w_]+)%(" do names[#names + 1] = code(name) end
  if #names == 0 then
    local name = piece:match "^enum [%w_]+" or piece:match "}%s*([%w_]+);" or piece:match "([%w_]+);"
      or piece:match "#define ([%w_]+)"
    names[1] = name and code(name)
  end
  return table.concat(names, ", ")
end

-- Guards, includes and the like are of no use to a reader.
local function is_boring(piece)
  return piece:find "^#ifndef" or piece:find "^#include" or piece:find "^#ifdef" or piece:find "^extern"
    or piece:find "^#if " or piece:find "^#endif" or piece:find "^struct [%w_]+;$"
end

-- The list that the header turns into an enum.
local function add_errors(page, piece)
  page:add "### `enum luactor_error`\n\n| code | | |\n|---|---|---|"
  for symbol, number, text in piece:gmatch 'X%(([%w_]+), (%-?%d+), "(.-)"%)' do
    page:add("| `LUACTOR_%s` | %s | %s |", symbol, number, text)
  end
  page:add ""
end

local function c_page()
  local text = assert(slurp "host/include/luactor.h")
  local page = new_page()
  page:add "# luactor.h\n"
  local at, is_first, comment = 1, true, nil
  while true do
    local kind, piece, behind = next_piece(text, at)
    if not kind then break end
    at = behind
    local section, rest = piece:match "^/%* %-%-%-%-+ (.-) %-%-%-%-+(.*)$"
    if section then
      page:add("## %s\n", (section:gsub("^%l", string.upper)))
      rest = unwrap("/*" .. rest):gsub("^%s+", "")
      if rest ~= "" then page:add(plain(rest) .. "\n") end
      comment = nil
    elseif kind == "comment" then
      if is_first then
        add_comment(page, (unwrap(piece):gsub("^luactor: (.)", string.upper)))
      else
        comment = not piece:find "^/%* X%(" and unwrap(piece) or nil
      end
    elseif not is_boring(piece) then
      if piece:find "^#define LUACTOR_ERRORS" then
        add_errors(page, piece)
      elseif not piece:find "^enum luactor_error " then
        page:add("### %s\n\n```c\n%s\n```\n", names_of(piece), piece)
      end
      if comment then add_comment(page, comment) end
      comment = nil
    end
    is_first = false
  end
  return page:text()
end

-- All pages ----------------------------------------------------------------------------------

local function modules()
  local list = {}
  local pipe = assert(io.popen "LC_ALL=C ls lualib/luactor/*.lua")
  for path in pipe:lines() do
    local name = path:match "/([^/_][^/]*)%.lua$"
    if name and name ~= "init" then list[#list + 1] = { "luactor." .. name, path } end
  end
  pipe:close()
  return list
end

local CORE <const> = [[
The core: `local actor = require "luactor"`. Times are milliseconds. A destination is a pid, an alias, a
mailbox, a pool, a registered name, or `{ name, node }`.]]

local function all_pages()
  local pages = { ["luactor.h.md"] = c_page() }
  local index = new_page()
  index:add "# Reference\n"
  index:add "- [luactor](luactor.md): processes, messages, patterns, failure"
  pages["luactor.md"] = lua_page("luactor", "lualib/meta/luactor.lua", CORE)
  for _, module in ipairs(modules()) do
    local text, summary = lua_page(module[1], module[2])
    pages[module[1] .. ".md"] = text
    index:add("- [%s](%s.md): %s", module[1], module[1], plain((summary:gsub("^%u", string.lower, 1))))
  end
  index:add "- [luactor.h](luactor.h.md): embedding in C"
  pages["README.md"] = index:text()
  return pages
end

local function strangers(pages)
  local list = {}
  local pipe = assert(io.popen("ls " .. FOLDER .. "*.md 2>/dev/null"))
  for path in pipe:lines() do
    if not pages[path:sub(#FOLDER + 1)] then list[#list + 1] = path end
  end
  pipe:close()
  return list
end

local function main(is_check)
  local pages, stale = all_pages(), {}
  for name, text in pairs(pages) do
    if slurp(FOLDER .. name) ~= text then
      stale[#stale + 1] = FOLDER .. name
      if not is_check then
        local file = assert(io.open(FOLDER .. name, "w"))
        file:write(text)
        file:close()
      end
    end
  end
  for _, path in ipairs(strangers(pages)) do
    stale[#stale + 1] = path
    if not is_check then os.remove(path) end
  end
  if is_check and #stale > 0 then
    table.sort(stale)
    io.stderr:write("stale: ", table.concat(stale, " "), "\nlua5.4 docs/reference/generate.lua writes them anew\n")
    os.exit(1)
  end
end

main(arg[1] == "--check")

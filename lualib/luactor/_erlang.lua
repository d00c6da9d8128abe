-- Erlang's way of writing: characters as the I/O protocol sends them, and io_lib:format as far
-- as the output of Erlang processes needs it. No line breaking: ~p writes on one line.

local M = {}

local MOST <const> = 1 << 20 -- bytes of one text
local DEPTH <const> = 100

-- Collects pieces, up to MOST bytes.
local function collector()
  local parts, size = {}, 0
  return function(s)
    size = size + #s
    if size > MOST then error "the text is too long" end
    parts[#parts + 1] = s
  end, function() return table.concat(parts) end
end

local function kind_of(value)
  local meta = getmetatable(value)
  return type(meta) == "table" and rawget(meta, "__name") or type(value)
end

-- Nested lists of characters and binaries.
local function put_chars(add, chars, depth)
  if type(chars) == "string" then return add(chars) end
  if math.type(chars) == "integer" then return add(utf8.char(chars)) end
  if kind_of(chars) == "atom" then return add(tostring(chars)) end
  if type(chars) ~= "table" or depth > DEPTH then error "no characters" end
  for _, part in ipairs(chars) do put_chars(add, part, depth + 1) end
  if chars.tail then put_chars(add, chars.tail, depth + 1) end
end

---The text of an iolist or a list of characters; nil when it is none.
---@param chars any
---@return string?
function M.text(chars)
  local add, all = collector()
  return pcall(put_chars, add, chars, 0) and all() or nil
end

local function atom_text(text)
  if text:find "^[a-z][%w_@]*$" then return text end
  return "'" .. text:gsub("[\\']", "\\%0"):gsub("\n", "\\n") .. "'"
end

local function float_text(x)
  for digits = 1, 17 do
    local text = ("%." .. digits .. "g"):format(x)
    if tonumber(text) == x then
      if not text:find "[.eE]" then return text .. ".0" end
      return (text:gsub("^(-?%d+)e", "%1.0e"))
    end
  end
  return tostring(x)
end

local ESCAPES <const> = { ["\n"] = "\\n", ["\t"] = "\\t", ["\r"] = "\\r", ['"'] = '\\"', ["\\"] = "\\\\" }

local function is_printable(text) return not text:find "[^\t\n\r -~\128-\255]" end

local function quoted(text) return '"' .. text:gsub('[\n\t\r"\\]', ESCAPES) .. '"' end

local function binary(text, pretty)
  if pretty and is_printable(text) and utf8.len(text) then
    return "<<" .. quoted(text) .. (text:find "[\128-\255]" and "/utf8>>" or ">>")
  end
  return "<<" .. table.concat({ text:byte(1, math.min(#text, 10000)) }, ",") .. ">>"
end

-- A list of printable characters, as text.
local function as_string(list)
  if #list == 0 or list.tail then return nil end
  for _, c in ipairs(list) do
    if math.type(c) ~= "integer" or c < 9 or c > 126 or c > 13 and c < 32 then return nil end
  end
  return utf8.char(table.unpack(list, 1, math.min(#list, 10000)))
end

local put

local function put_all(add, list, n, pretty, depth)
  for i = 1, n do
    if i > 1 then add "," end
    put(add, list[i], pretty, depth + 1)
  end
end

local function put_table(add, t, pretty, depth)
  local kind = kind_of(t)
  if kind == "tuple" then
    add "{"
    put_all(add, t, #t, pretty, depth)
    return add "}"
  elseif kind == "cons" or kind ~= "map" and kind ~= "atomkeys" and (#t > 0 or next(t) == nil) then
    local text = pretty and as_string(t)
    if text then return add(quoted(text)) end
    add "["
    put_all(add, t, #t, pretty, depth)
    if kind == "cons" then
      add "|"
      put(add, t.tail, pretty, depth + 1)
    end
    return add "]"
  end
  local comma = ""
  add "#{"
  for k, v in pairs(t) do
    add(comma)
    if kind == "atomkeys" then add(atom_text(tostring(k))) else put(add, k, pretty, depth + 1) end
    add(pretty and " => " or "=>")
    put(add, v, pretty, depth + 1)
    comma = ","
  end
  add "}"
end

function put(add, value, pretty, depth)
  local kind = type(value)
  if depth > DEPTH then
    add "..."
  elseif kind == "table" then
    put_table(add, value, pretty, depth)
  elseif kind == "string" then
    add(binary(value, pretty))
  elseif math.type(value) == "float" then
    add(float_text(value))
  elseif kind_of(value) == "atom" then
    add(atom_text(tostring(value)))
  else
    add(tostring(value))
  end
end

---A term as ~w writes it, or ~p.
---@param value any
---@param pretty? boolean
---@return string
function M.term(value, pretty)
  local add, all = collector()
  put(add, value, pretty, 0)
  return all()
end

local function in_base(n, base, letters)
  if base < 2 or base > 36 then error "base" end
  local digits, sign = {}, n < 0 and "-" or ""
  repeat
    local d = math.abs(math.fmod(n, base))
    table.insert(digits, 1, letters:sub(d + 1, d + 1))
    n = n // base + ((n < 0 and n % base ~= 0) and 1 or 0)
  until n == 0
  return sign .. table.concat(digits)
end

local LOWER <const> = "0123456789abcdefghijklmnopqrstuvwxyz"
local UPPER <const> = LOWER:upper()

local function pad(text, width, char)
  local n = math.abs(width or 0) - (utf8.len(text) or #text)
  if n <= 0 then return text end
  if width < 0 then return text .. char:rep(n) end
  return char:rep(n) .. text
end

-- How each directive writes; `take` gives the next argument.
local DIRECTIVES <const> = {
  ["~"] = function() return "~" end,
  n = function(_, width) return ("\n"):rep(width or 1) end,
  c = function(take, width, precision)
    return utf8.char(take()):rep(precision or math.abs(width or 1))
  end,
  s = function(take, width, precision)
    local text = M.text(take()) or error "no characters"
    local most = precision or width and math.abs(width)
    if most and (utf8.len(text) or #text) > most then
      text = text:sub(1, (utf8.offset(text, most + 1) or most + 1) - 1)
    end
    return text
  end,
  w = function(take) return M.term(take()) end,
  p = function(take) return M.term(take(), true) end,
  W = function(take) return M.term(take()), take() end,
  P = function(take) return M.term(take(), true), take() end,
  f = function(take, _, precision) return ("%.*f"):gsub("%*", precision or 6):format(take()) end,
  e = function(take, _, precision) return ("%.*e"):gsub("%*", (precision or 6) - 1):format(take()) end,
  g = function(take, _, precision) return ("%.*g"):gsub("%*", precision or 6):format(take()) end,
  b = function(take, _, precision) return in_base(take(), precision or 10, LOWER) end,
  B = function(take, _, precision) return in_base(take(), precision or 10, UPPER) end,
  x = function(take, _, precision)
    local n = take()
    local prefix = M.text(take())
    return prefix .. in_base(n, precision or 10, LOWER)
  end,
  ["+"] = function(take, _, precision)
    return ("%d#%s"):format(precision or 10, in_base(take(), precision or 10, LOWER))
  end,
  i = function(take) take() return "" end,
}
DIRECTIVES.X = function(take, _, precision)
  local n = take()
  return M.text(take()) .. in_base(n, precision or 10, UPPER)
end
DIRECTIVES["#"] = function(take, _, precision)
  return ("%d#%s"):format(precision or 10, in_base(take(), precision or 10, UPPER))
end

---io_lib:format(Format, Arguments); raises when they do not fit.
---@param format any  characters
---@param args any[]
---@return string
function M.format(format, args)
  local text = M.text(format) or error "no format"
  local add, all = collector()
  local at, i = 1, 0
  local function take()
    i = i + 1
    if i > #args then error "too few arguments" end
    return args[i]
  end
  while true do
    local tilde = text:find("~", at, true)
    if not tilde then break end
    add(text:sub(at, tilde - 1))
    local width, dot, precision, char, rest =
      text:match("^(%-?[%d*]*)(%.?)([%d*]*)%.?([^%a~#+]?)[tlkK]*()", tilde + 1)
    if dot == "" then char = "" end
    local function number(s) if s == "*" then return take() end return math.tointeger(tonumber(s)) end
    width, precision = number(width), number(precision)
    local letter = text:sub(rest, rest)
    local write = DIRECTIVES[letter] or error("no directive ~" .. letter)
    add(pad((write(take, width, precision)), letter ~= "n" and width or nil, char ~= "" and char or " "))
    at = rest + 1
  end
  if i < #args then error "too many arguments" end
  add(text:sub(at))
  return all()
end

return M

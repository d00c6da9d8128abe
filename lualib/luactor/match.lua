--- The textual form of receive patterns, for `actor.match`.
--
--     local p = actor.match "{ 'add', x: integer, y: number } when x > y"
--     actor.receive(actor.on(p, function(x, y) ... end))
--
-- A text is parsed with LPeg into the pattern objects that the other functions
-- of luactor make; what they mean is decided there. The module is loaded by
-- the first `actor.match` of a process.
--
--     text    = pattern [ 'when' guard ]
--     pattern = single { '|' single }
--     single  = string | number | true | false | nil | '(' pattern ')'
--             | '^' name                      a value given to actor.match
--             | name [ ':' typed { '|' typed } ]     a capture; _ is none
--             | '{' [ item { ',' item } ] '}'
--     typed   = type | single
--     item    = pattern | ( name | '[' constant ']' ) '=' pattern
--             | '...' [ name ]                the rest of the sequence

local lpeg = require "lpeg"

local P, R, S = lpeg.P, lpeg.R, lpeg.S
local C, Cc, Cmt, Cp, Ct = lpeg.C, lpeg.Cc, lpeg.Cmt, lpeg.Cp, lpeg.Ct
local Carg, V = lpeg.Carg, lpeg.V

local M = {}

---Where an error is: raised inside the grammar, made a message by `parse`.
local function fail(pos, what)
  error({ pos = pos, what = what }, 0)
end

---What is found at `pos`, for "expected near ...".
local function near(text, pos)
  local found = text:match("^%s*([%w_]+)", pos) or text:match("^%s*(%S)", pos)
  return found and (" near '%s'"):format(found) or " at the end"
end

---`patt`, which must match here.
local function expect(patt, what)
  return patt + Cmt(Cc(what), function(text, pos, wanted)
    fail(pos, wanted .. " expected" .. near(text, pos))
  end)
end

local space = S " \t\r\n\v\f" ^ 0
local letter = R("az", "AZ") + "_"
local word = letter * (letter + R "09") ^ 0

local function token(patt)
  return patt * space
end

local function keyword(text)
  return token(P(text) * -(letter + R "09"))
end

local reserved = (P "when" + "true" + "false" + "nil") * -(letter + R "09")
local name = token(C(word - reserved))

---------------------------------------------------------------------------
-- Constants

local escapes = { a = "\a", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", v = "\v" }

local escape = P "\\" * (
  C(S "abfnrtv") / escapes
  + C(S "\\'\"")
  + P "x" * (C(R("09", "af", "AF") * R("09", "af", "AF")) / function(digits)
    return string.char(tonumber(digits, 16))
  end)
  + Cmt(C(R "09" * R "09" ^ -2), function(_, pos, digits)
    local n = tonumber(digits)
    return n < 256 and pos, string.char(n % 256)
  end)
  + Cmt(true, function(_, pos) fail(pos - 1, "bad escape in a string") end)) / 1

local function quoted(quote)
  local body = lpeg.Cs((escape + (1 - S("\\\n" .. quote))) ^ 0)
  return P(quote) * body * (P(quote) + Cmt(true, function(_, pos)
    fail(pos, "unfinished string")
  end))
end

local str = token(quoted "'" + quoted '"')

local digits = R "09" ^ 1
local exponent = (S "eE" * S "+-" ^ -1 * digits) ^ -1
local decimal = (digits * ("." * R "09" ^ 0) ^ -1 + "." * digits) * exponent
local hex = P "0" * S "xX" * R("09", "af", "AF") ^ 1
local number = token(C(P "-" ^ -1 * (hex + decimal)) * -letter / tonumber)

local boolean = keyword "true" * Cc(true) + keyword "false" * Cc(false)

---------------------------------------------------------------------------
-- Making the objects. The first argument of each is what `parse` was given.

local function any_type(ctx, pos, type_name)
  local ok, object = pcall(ctx.actor.is, type_name)
  if not ok then
    fail(pos, ("unknown type '%s'"):format(type_name))
  end
  return object
end

---name, name: pattern
local function variable(ctx, var, what)
  local v = ctx.actor.var[var]
  return what == nil and v or v:of(what)
end

local function given(ctx, pos, key)
  local value = ctx.values[key]
  if value == nil then
    fail(pos, ("no value '%s' was given"):format(key))
  end
  return value
end

local function choice(ctx, first, ...)
  if select("#", ...) == 0 then
    return first
  end
  return ctx.actor.oneof(first, ...)
end

local function add_key(t, order, item)
  if t[item.key] ~= nil then
    fail(item.pos, ("key '%s' is given twice"):format(tostring(item.key)))
  end
  t[item.key] = item.value
  order[#order + 1] = item.key
end

local function table_of(ctx, items)
  local t, order, rest = {}, {}, nil
  for _, item in ipairs(items) do
    if item.key == nil then
      if rest then
        fail(rest, "'...' must be the last of the sequence")
      end
      rest = item.rest and item.pos
      t[#t + 1] = item.value
    end
  end
  for _, item in ipairs(items) do
    if item.key ~= nil then
      add_key(t, order, item)
    end
  end
  return ctx.make.table(t, order)
end

local function rest_of(ctx, pos, var)
  return { rest = true, pos = pos, value = ctx.actor.var[var or "_"]("...") }
end

local function pair_of(_, pos, key, value)
  return { key = key, pos = pos, value = value }
end

local function element_of(_, pos, value)
  return { pos = pos, value = value }
end

---------------------------------------------------------------------------
-- The grammar

local ctx = Carg(1)

local function sym(text)
  return token(P(text))
end

local function close(text)
  return expect(sym(text), ("'%s'"):format(text))
end

local key = (name + sym "[" * expect(str + number + boolean, "constant") * close "]")
  * sym "="

local typed = expect(V "typed", "type or pattern")

local grammar = P {
  "text",
  text = space * V "pattern" * Cp() * (keyword "when" * Cp() + expect(-P(1), "end of the pattern")),
  pattern = ctx * expect(V "single", "pattern") * (sym "|" * expect(V "single", "pattern")) ^ 0 / choice,
  single = V "table"
    + sym "(" * V "pattern" * close ")"
    + str + number + boolean
    + ctx * Cp() * (keyword "nil" / "nil") / any_type
    + ctx * sym "^" * Cp() * expect(name, "name of a value") / given
    + ctx * name * (sym ":" * V "types") ^ -1 / variable,
  types = ctx * typed * (sym "|" * typed) ^ 0 / choice,
  typed = ctx * Cp() * name * -P ":" / any_type + V "single",
  table = ctx * sym "{" * Ct((V "item" * (sym "," * V "item") ^ 0 * sym "," ^ -1) ^ -1)
    * expect(sym "}", "',' or '}'") / table_of,
  item = (ctx * Cp() * sym "..." * name ^ -1) / rest_of
    + (ctx * Cp() * key * V "pattern") / pair_of
    + -P "}" * (ctx * Cp() * V "pattern") / element_of,
}

-- LPeg compiles at the first match, and takes a grammar whose compilation failed for
-- want of memory for compiled at the next. So this is the first; no text is a
-- mistake, which is raised as a table.
do
  local ok, err = pcall(lpeg.match, grammar, "")
  if not ok and type(err) ~= "table" then error(err, 0) end
end

---------------------------------------------------------------------------

local function message(text, pos, what)
  local line, start = 1, 1
  for at in text:sub(1, pos - 1):gmatch "()\n" do
    line, start = line + 1, at + 1
  end
  return ("pattern:%d:%d: %s"):format(line, pos - start + 1, what)
end

---Parse a textual pattern.
---@param text string
---@param values? table  values for `^name`
---@param make table  constructors of lib_match.c
---@return any pattern  or nil and a message with the position
function M.parse(text, values, make)
  local context = { actor = require "luactor", values = values or {}, make = make }
  local ok, pattern, _, guard = pcall(lpeg.match, grammar, text, 1, context)
  if not ok then
    if type(pattern) == "table" and pattern.pos then
      return nil, message(text, pattern.pos, pattern.what)
    end
    error(pattern, 0)
  end
  if guard then
    -- Blank out what is before the guard, so that positions in it are right.
    local blank = text:sub(1, guard - 1):gsub("[^\n]", " ")
    return make.when(pattern, blank .. text:sub(guard))
  end
  return pattern
end

return M

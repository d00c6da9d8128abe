/* Helpers in Lua for operations that may call metamethods. */
#include "lib/lib_slow.h"

static const char chunk[] =
    "local slow = {}\n"
    "function slow.index(t, k) return t[k] end\n"
    "function slow.len(t) return #t end\n"
    "function slow.less(a, b) return a < b end\n"
    "function slow.equal(a, b) return a == b end\n"
    "function slow.insert(t, size, pos, value)\n"
    "  while size > pos do\n"
    "    t[size] = t[size - 1]\n"
    "    size = size - 1\n"
    "  end\n"
    "  t[pos] = value\n"
    "end\n"
    "function slow.remove(t, size, pos)\n"
    "  local value = t[pos]\n"
    "  while pos < size do\n"
    "    t[pos] = t[pos + 1]\n"
    "    pos = pos + 1\n"
    "  end\n"
    "  t[pos] = nil\n"
    "  return value\n"
    "end\n"
    "function slow.copy(t, first, last)\n"
    "  local list = {}\n"
    "  for i = first, last do list[i - first + 1] = t[i] end\n"
    "  return list\n"
    "end\n"
    /* Up to the first value that is no string. */
    "function slow.strings(t, first, last, mathtype, type)\n"
    "  local list, n = {}, 0\n"
    "  for i = first, last do\n"
    "    local value = t[i]\n"
    "    n = n + 1\n"
    "    list[n] = value\n"
    "    if type(value) ~= 'string' and not mathtype(value) then\n"
    "      return list, n, i, type(value)\n"
    "    end\n"
    "  end\n"
    "  return list, n\n"
    "end\n"
    "function slow.move(from, first, last, at, to, same)\n"
    "  if at > last or at <= first or not same and from ~= to then\n"
    "    for i = 0, last - first do to[at + i] = from[first + i] end\n"
    "  else\n"
    "    for i = last - first, 0, -1 do to[at + i] = from[first + i] end\n"
    "  end\n"
    "end\n"
    /* The algorithm is the one of lib_table.c. False: the order is invalid. */
    "local function sort(t, lo, up, less)\n"
    "  while lo < up do\n"
    "    local a, b = t[lo], t[up]\n"
    "    if less(b, a) then t[lo] = b; t[up] = a end\n"
    "    if up - lo == 1 then break end\n"
    "    local mid = (lo + up) // 2\n"
    "    a, b = t[mid], t[lo]\n"
    "    if less(a, b) then\n"
    "      t[mid] = b; t[lo] = a\n"
    "    else\n"
    "      b = t[up]\n"
    "      if less(b, a) then t[mid] = b; t[up] = a end\n"
    "    end\n"
    "    if up - lo == 2 then break end\n"
    "    local pivot = t[mid]\n"
    "    t[mid] = t[up - 1]; t[up - 1] = pivot\n"
    "    local i, j = lo, up - 1\n"
    "    local left\n"
    "    while true do\n"
    "      i = i + 1\n"
    "      left = t[i]\n"
    "      while less(left, pivot) do\n"
    "        if i == up - 1 then return false end\n"
    "        i = i + 1\n"
    "        left = t[i]\n"
    "      end\n"
    "      j = j - 1\n"
    "      local right = t[j]\n"
    "      while less(pivot, right) do\n"
    "        if j < i then return false end\n"
    "        j = j - 1\n"
    "        right = t[j]\n"
    "      end\n"
    "      if j < i then break end\n"
    "      t[i] = right; t[j] = left\n"
    "    end\n"
    "    t[up - 1] = left; t[i] = pivot\n"
    "    if i - lo < up - i then\n"
    "      if not sort(t, lo, i - 1, less) then return false end\n"
    "      lo = i + 1\n"
    "    else\n"
    "      if not sort(t, i + 1, up, less) then return false end\n"
    "      up = i - 1\n"
    "    end\n"
    "  end\n"
    "  return true\n"
    "end\n"
    "function slow.sort(t, n, less) return sort(t, 1, n, less) end\n"
    /* os.time reads the fields of a date and writes them back normalized. */
    "local fields = { 'year', 'month', 'day', 'hour', 'min', 'sec', 'isdst',\n"
    "  'yday', 'wday' }\n"
    "function slow.read_date(t)\n"
    "  local date = {}\n"
    "  for i = 1, 7 do date[fields[i]] = t[fields[i]] end\n"
    "  return date\n"
    "end\n"
    "function slow.write_date(t, date)\n"
    "  for i = 1, #fields do t[fields[i]] = date[fields[i]] end\n"
    "end\n"
    "return slow\n";

static const char key; /* its address: the helpers in the registry */

void la_slow_push(lua_State *L, const char *name) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &key) != LUA_TTABLE) {
    lua_pop(L, 1);
    if (luaL_loadbufferx(L, chunk, sizeof chunk - 1, "=luactor", "t") !=
        LUA_OK) {
      lua_error(L);
    }
    lua_call(L, 0, 1);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
  }
  lua_pushstring(L, name);
  lua_rawget(L, -2);
  lua_remove(L, -2);
}

int la_slow_call(lua_State *L, int narg, int nres, lua_KContext ctx,
                 lua_KFunction k) {
  la_exec_enter(L);
  lua_callk(L, narg, nres, ctx, k);
  return k(L, LUA_OK, ctx);
}

bool la_slow_has(lua_State *L, int idx, const char *name) {
  if (luaL_getmetafield(L, idx, name) == LUA_TNIL) {
    return false;
  }
  lua_pop(L, 1);
  return true;
}

bool la_slow_is_plain(lua_State *L, int idx) {
  if (!lua_istable(L, idx)) {
    return false;
  }
  if (!lua_getmetatable(L, idx)) {
    return true;
  }
  lua_pop(L, 1);
  if (la_lazy_settle(L, idx)) {
    return true;
  }
  if (la_slow_has(L, idx, "__newindex") || la_slow_has(L, idx, "__len")) {
    return false;
  }
  int type = luaL_getmetafield(L, idx, "__index");
  bool plain = type == LUA_TNIL;
  if (type == LUA_TTABLE) { /* a class without a parent */
    plain = !lua_getmetatable(L, -1);
    lua_pop(L, plain ? 1 : 2);
  } else if (!plain) {
    lua_pop(L, 1);
  }
  return plain;
}

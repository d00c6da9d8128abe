/* The pattern compiler: textual patterns, guards, and structures of pattern
 * objects, each then tried on a few messages. The first byte chooses. */
#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

#include "match/match.h"
#include "term/term.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static la_scratch_t *scratch;
static lua_State *L;
static unsigned runs;

static void check(bool ok) {
  if (!ok) {
    abort();
  }
}

/* try(msg, p): does it match? */
static int try(lua_State *S) {
  const la_matcher_t *m = la_matcher_make(S, 2, 2);
  const int ud = lua_gettop(S);
  la_encoder_t *e = la_encoder_begin(scratch, LA_TERM_LOCAL);
  check(e != NULL);
  if (!la_encode(e, S, 1, "message")) {
    return lua_error(S);
  }
  la_msgview_t v;
  la_encoder_term(e, &v.term);
  v.tag = la_term_tag(v.term.bytes, v.term.size);
  la_caps_t caps;
  if (la_matcher_try(m, &v, LA_NO_ID, 0, &caps) == 0) {
    const int n = la_matcher_push(S, ud, m, 0, &v, &caps);
    check(n < 0 || lua_gettop(S) == ud + n);
  }
  la_encoder_end(e);
  return 0;
}

static int unpack(lua_State *S) {
  size_t n;
  const char *s = luaL_checklstring(S, 1, &n);
  const la_term_t t = {(const uint8_t *)s, n, NULL, 0};
  return la_decode(S, &t, LA_TERM_PACKED) ? 1 : lua_error(S);
}

static const char driver[] =
    "local try, unpack = ...\n"
    "local a = require 'luactor'\n"
    "local V, on, h = a.var, a.on, function() end\n"
    "local messages = { 1, 'stop', { 'add', 3, 1.5, key = 0 },\n"
    "  { 1, { 2, { 3 } } }, { a = { b = 1 }, x = 2 }, {}, true, { 5, 5 }, { 'rest', 1, 2, 3 },\n"
    "  { ('x'):rep(9000), math.mininteger, -1, 0/0 } }\n"
    "local all = V.all:of(a._)\n"
    "local function shape(v, depth)\n"
    "  if type(v) == 'table' and depth < 20 then\n"
    "    local t = {}\n"
    "    for k, p in pairs(v) do\n"
    "      if type(k) ~= 'table' then t[k] = shape(p, depth + 1) end\n"
    "    end\n"
    "    local op = v[1]\n"
    "    if op == 'exact' then return a.exact(t) end\n"
    "    if op == 'oneof' then return a.oneof(table.unpack(t)) end\n"
    "    if op == 'of' then return V.y:of(t[2]) end\n"
    "    if op == 'request' then return a.request(t[2], t[3]) end\n"
    "    return t\n"
    "  end\n"
    "  if type(v) == 'string' and #v > 1 then\n"
    "    local var = V[v:sub(2, 2)]\n"
    "    if v:byte() == 36 then return #v > 2 and var(v:sub(3)) or var end\n"
    "    if v:byte() == 37 then return a.is(v:sub(2)) end\n"
    "  end\n"
    "  return v\n"
    "end\n"
    "return function(kind, text)\n"
    "  local p\n"
    "  if kind == 0 then p = a.match(text, { v = 5, w = V.w })\n"
    "  elseif kind == 1 then p = on({ V.x, V.y, V.rest '...' }, text, h)\n"
    "  elseif kind == 2 then p = on(all, text, h)\n"
    "  else p = shape(unpack('\\131' .. text), 0) end\n"
    "  for _, msg in ipairs(messages) do try(msg, p) end\n"
    "end\n";

static void add_lualib(lua_State *S) {
  const char *file = __FILE__;
  const char *end = strstr(file, "host/fuzz/");
  check(end != NULL);
  lua_getglobal(S, "package");
  lua_pushlstring(S, file, (size_t)(end - file));
  lua_pushliteral(S, "lualib/?.lua;");
  lua_getfield(S, -3, "path");
  lua_concat(S, 3);
  lua_setfield(S, -2, "path");
  lua_pop(S, 1);
}

static void open_state(void) {
  if (scratch == NULL) {
    scratch = la_scratch_new();
  }
  L = luaL_newstate();
  luaL_openlibs(L);
  la_ident_open(L);
  add_lualib(L);
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_newtable(L);
  la_match_open(L);
  lua_setfield(L, -2, "luactor");
  lua_settop(L, 0);
  check(luaL_loadstring(L, driver) == LUA_OK);
  lua_pushcfunction(L, try);
  lua_pushcfunction(L, unpack);
  check(lua_pcall(L, 2, 1, 0) == LUA_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) {
    return 0;
  }
  /* Variables are kept for the life of a state. */
  if (L != NULL && ++runs % 4000 == 0) {
    lua_close(L);
    L = NULL;
  }
  if (L == NULL) {
    open_state();
  }
  lua_pushvalue(L, 1);
  lua_pushinteger(L, data[0] % 4);
  lua_pushlstring(L, (const char *)data + 1, size - 1);
  if (lua_pcall(L, 2, 0, 0) != LUA_OK) {
    check(lua_type(L, -1) == LUA_TSTRING);
  }
  lua_settop(L, 1);
  la_scratch_reset(scratch);
  return 0;
}

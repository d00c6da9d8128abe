/* Basic functions which call metamethods: tostring, print, ipairs. */
#include "lib/lib_base.h"

#include "lib/lib_slow.h"

#include <stdio.h>

int la_base_return_k(lua_State *L, int status, lua_KContext nres) {
  (void)status;
  la_slow_done(L);
  return (int)nres;
}

void la_base_call_tostring(lua_State *L, int idx, lua_KContext ctx,
                          lua_KFunction k) {
  idx = lua_absindex(L, idx);
  luaL_getmetafield(L, idx, "__tostring");
  lua_pushvalue(L, idx);
  la_exec_enter(L);
  lua_callk(L, 1, 1, ctx, k);
}

void la_base_take_tostring(lua_State *L) {
  la_slow_done(L);
  if (!lua_isstring(L, -1)) {
    luaL_error(L, "'__tostring' must return a string");
  }
}

/* ---- tostring ---------------------------------------------------------- */

static int tostring_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  la_base_take_tostring(L);
  return 1;
}

static int base_tostring(lua_State *L) {
  luaL_checkany(L, 1);
  if (la_slow_has(L, 1, "__tostring")) {
    la_base_call_tostring(L, 1, 0, tostring_k);
    return tostring_k(L, LUA_OK, 0);
  }
  luaL_tolstring(L, 1, NULL);
  return 1;
}

/* ---- print ------------------------------------------------------------- */

enum { PRINT_UNITS = 500 }; /* a system call, in instructions */

/* All arguments are strings now. They go out under the lock of the stream, so
 * that lines of other threads do not get between; nothing raises here. */
static int write_line(lua_State *L) {
  int n = lua_gettop(L);
  size_t total = 0;
  flockfile(stdout);
  for (int i = 1; i <= n; i++) {
    size_t len;
    const char *s = lua_tolstring(L, i, &len);
    total += len;
    if (i > 1) {
      putc_unlocked('\t', stdout);
    }
    fwrite(s, 1, len, stdout);
  }
  putc_unlocked('\n', stdout);
  fflush(stdout);
  funlockfile(stdout);
  la_charge(L, PRINT_UNITS + (unsigned)(total / 16 % INT32_MAX));
  return 0;
}

static int print_k(lua_State *L, int status, lua_KContext arg);

/* The text of argument 'i' is on top. */
static void take_text(lua_State *L, int i) {
  la_base_take_tostring(L);
  lua_tolstring(L, -1, NULL); /* a number must not be converted later */
  lua_replace(L, i);
}

/* Turn the arguments from 'i' on into text. */
static int print_from(lua_State *L, int i) {
  int n = lua_gettop(L);
  for (; i <= n; i++) {
    if (lua_type(L, i) == LUA_TSTRING) {
      continue;
    }
    if (la_slow_has(L, i, "__tostring")) {
      la_base_call_tostring(L, i, i, print_k);
      take_text(L, i);
    } else {
      luaL_tolstring(L, i, NULL);
      lua_replace(L, i);
    }
  }
  return write_line(L);
}

static int print_k(lua_State *L, int status, lua_KContext arg) {
  (void)status;
  take_text(L, (int)arg);
  return print_from(L, (int)arg + 1);
}

static int base_print(lua_State *L) {
  luaL_checkstack(L, LUA_MINSTACK, "too many arguments");
  return print_from(L, 1);
}

/* ---- ipairs ------------------------------------------------------------ */

static int ipairs_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  la_slow_done(L);
  return lua_isnil(L, -1) ? 1 : 2;
}

static int ipairs_next(lua_State *L) {
  lua_Integer i = luaL_checkinteger(L, 2);
  lua_settop(L, 2);
  i = (lua_Integer)((lua_Unsigned)i + 1);
  bool table = lua_istable(L, 1);
  lua_pushinteger(L, i);
  if (table && lua_rawgeti(L, 1, i) != LUA_TNIL) {
    return 2;
  }
  if (!la_slow_has(L, 1, "__index")) {
    if (!table) {
      lua_geti(L, 1, i); /* raises */
    }
    return 1;
  }
  lua_settop(L, 3); /* the index stays: it is the first result */
  la_slow_push(L, "index");
  lua_pushvalue(L, 1);
  lua_pushinteger(L, i);
  return la_slow_call(L, 2, 1, 0, ipairs_k);
}

static int base_ipairs(lua_State *L) {
  luaL_checkany(L, 1);
  lua_pushcfunction(L, ipairs_next);
  lua_pushvalue(L, 1);
  lua_pushinteger(L, 0);
  return 3;
}

static const luaL_Reg functions[] = {{"tostring", base_tostring},
                                     {"print", base_print},
                                     {"ipairs", base_ipairs},
                                     {NULL, NULL}};
const la_std_part_t la_base_parts[] = {
    {LA_TABLE_GLOBALS, functions, false}, {0, NULL, false}};

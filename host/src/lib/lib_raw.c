/* Functions that look at tables behind their metamethods' backs. Stock's would see
 * what of a lazy table is not there yet, and its metatable. */
#include "lib/lib_raw.h"

#include "lib/lib_string.h"

/* ---- iteration ----------------------------------------------------------- */

/* Called for each step of a loop: it looks for a metatable, but is in other things
 * quicker than stock's. */
static int base_next(lua_State *L) {
  if (lua_type(L, 1) != LUA_TTABLE) {
    luaL_checktype(L, 1, LUA_TTABLE);
  }
  if (lua_gettop(L) != 2) {
    lua_settop(L, 2);
  }
  if (lua_getmetatable(L, 1)) {
    lua_settop(L, 2);
    la_lazy_settle(L, 1);
  }
  if (lua_next(L, 1)) {
    return 2;
  }
  lua_pushnil(L);
  return 1;
}

static int pairs_k(lua_State *L, int status, lua_KContext ctx) {
  (void)L;
  (void)status;
  (void)ctx;
  return 3;
}

static int base_pairs(lua_State *L) {
  luaL_checkany(L, 1);
  if (luaL_getmetafield(L, 1, "__pairs") != LUA_TNIL) {
    lua_pushvalue(L, 1);
    lua_callk(L, 1, 3, 0, pairs_k);
    return 3;
  }
  la_lazy_settle(L, 1);
  lua_pushcfunction(L, base_next);
  lua_pushvalue(L, 1);
  lua_pushnil(L);
  return 3;
}

/* ---- raw access ---------------------------------------------------------- */

static int base_rawget(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checkany(L, 2);
  lua_settop(L, 2);
  if (la_lazy_is(L, 1)) {
    lua_gettable(L, 1);
  } else {
    lua_rawget(L, 1);
  }
  return 1;
}

static int base_rawset(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checkany(L, 2);
  luaL_checkany(L, 3);
  lua_settop(L, 3);
  if (la_lazy_is(L, 1)) {
    lua_settable(L, 1);
  } else {
    lua_rawset(L, 1);
  }
  return 1;
}

/* ---- metatables ---------------------------------------------------------- */

/* Push the metatable of argument 1, or nil and return false. */
static bool push_metatable(lua_State *L) {
  luaL_checkany(L, 1);
  if (lua_type(L, 1) == LUA_TSTRING) {
    la_string_settle(L);
  }
  if (!lua_getmetatable(L, 1)) {
    lua_pushnil(L);
    return false;
  }
  if (lua_topointer(L, -1) == la_lazy_meta(L)) {
    lua_pushnil(L);
    return false;
  }
  return true;
}

static int base_getmetatable(lua_State *L) {
  if (push_metatable(L)) {
    luaL_getmetafield(L, 1, "__metatable"); /* instead of it, if there is one */
  }
  return 1;
}

static int db_getmetatable(lua_State *L) {
  push_metatable(L);
  return 1;
}

static int db_getregistry(lua_State *L) {
  la_lazy_settle_all(L);
  lua_pushvalue(L, LUA_REGISTRYINDEX);
  return 1;
}

static const luaL_Reg base[] = {
    {"next", base_next},     {"pairs", base_pairs},
    {"rawget", base_rawget}, {"rawset", base_rawset},
    {"getmetatable", base_getmetatable}, {NULL, NULL}};
static const luaL_Reg debug[] = {{"getmetatable", db_getmetatable},
                                 {"getregistry", db_getregistry},
                                 {NULL, NULL}};
const la_std_part_t la_raw_parts[] = {{LA_TABLE_GLOBALS, base, false},
                                      {LA_TABLE_DEBUG, debug, false},
                                      {0, NULL, false}};

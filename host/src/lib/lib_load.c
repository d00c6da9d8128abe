/* load with a reader function, and require.
 *
 * The parser asks for the next piece in the middle of its work and cannot be
 * suspended there. So the pieces are collected first. A reader may never end,
 * though, and one that feeds a terminal stops at the first error; therefore
 * what is there is tried from time to time: a parse which fails before it has
 * seen the end of the pieces has failed for good, one which ran out of them
 * tells nothing. Tries come after each of the first pieces, then when their
 * number has grown by a quarter, which keeps the work linear. A reader with
 * many pieces may thus be asked for a few more than stock would after an
 * error. */
#include "lib/lib_load.h"

#include "lib/lib_slow.h"

#include <lualib.h>
#include <stdint.h>
#include <string.h>

/* ---- load -------------------------------------------------------------- */

enum { READER = 1, NAME = 2, MODE = 3, ENV = 4, STATE = 5, TEXT = 6 };
enum { TRY_ALWAYS = 16 };

typedef struct {
  size_t len, size; /* of the text, in the userdata at TEXT */
  size_t pieces, next_try;
  bool has_env;
  bool ended; /* the reader has given its last piece */
  bool given; /* the parser has got the text */
  bool starved; /* the parser has asked for more */
} reader_t;

static const char *feed(lua_State *L, void *ud, size_t *size) {
  (void)L;
  reader_t *r = ((void **)ud)[0];
  if (r->given) {
    r->starved = true;
    *size = 0;
    return NULL;
  }
  r->given = true;
  *size = r->len;
  return r->len > 0 ? ((void **)ud)[1] : NULL;
}

static void append(lua_State *L, reader_t *r, const char *piece, size_t len) {
  if (r->size - r->len < len) {
    if (len > SIZE_MAX / 4 - r->len) {
      luaL_error(L, "chunk too large");
    }
    size_t size = r->size > 0 ? r->size : 256;
    while (size - r->len < len) {
      size *= 2;
    }
    void *text = lua_newuserdatauv(L, size, 0);
    if (r->len > 0) {
      memcpy(text, lua_touserdata(L, TEXT), r->len);
    }
    lua_replace(L, TEXT);
    r->size = size;
  }
  memcpy((char *)lua_touserdata(L, TEXT) + r->len, piece, len);
  r->len += len;
}

/* As stock: the error message, or the object, is on top. */
static int load_failed(lua_State *L) {
  luaL_pushfail(L);
  lua_insert(L, -2);
  return 2;
}

/* Parse what there is. 0: undecided; else the number of results. */
static int try_load(lua_State *L, reader_t *r) {
  void *ud[] = {r, lua_touserdata(L, TEXT)};
  r->given = r->starved = false;
  la_charge(L, (unsigned)(r->len / 4 % INT32_MAX));
  int status = lua_load(L, feed, ud, luaL_optstring(L, NAME, "=(load)"),
                        luaL_optstring(L, MODE, "bt"));
  if (r->starved && !r->ended) {
    lua_pop(L, 1);
    return 0;
  }
  if (status != LUA_OK) {
    return load_failed(L);
  }
  if (r->has_env) {
    lua_pushvalue(L, ENV);
    if (lua_setupvalue(L, -2, 1) == NULL) {
      lua_pop(L, 1);
    }
  }
  return 1;
}

/* The reader has returned: results of load, or 0 when it must be called again. */
static int take_piece(lua_State *L, int status, lua_KContext marks) {
  la_exec_t *x = la_exec_of(L);
  x->marks = (int)marks;
  if (x->stop) {
    return la_exec_halt(L);
  }
  if (status != LUA_OK && status != LUA_YIELD) {
    return load_failed(L);
  }
  reader_t *r = lua_touserdata(L, STATE);
  size_t len = 0;
  const char *piece = lua_tolstring(L, -1, &len);
  if (piece == NULL && !lua_isnil(L, -1)) {
    luaL_where(L, 1);
    lua_pushliteral(L, "reader function must return a string");
    lua_concat(L, 2);
    return load_failed(L);
  }
  if (len > 0) {
    append(L, r, piece, len);
    r->pieces++;
  } else {
    r->ended = true;
  }
  lua_settop(L, TEXT);
  if (r->ended || r->pieces >= r->next_try) {
    r->next_try = r->pieces < TRY_ALWAYS ? 0 : r->pieces + r->pieces / 4;
    return try_load(L, r);
  }
  return 0;
}

static int reader_k(lua_State *L, int status, lua_KContext marks);

static int call_reader(lua_State *L) {
  int results = 0;
  while (results == 0) {
    int marks = la_exec_of(L)->marks;
    la_exec_enter(L);
    lua_pushvalue(L, READER);
    int status = lua_pcallk(L, 0, 1, 0, marks, reader_k);
    results = take_piece(L, status, marks);
  }
  return results;
}

static int reader_k(lua_State *L, int status, lua_KContext marks) {
  int results = take_piece(L, status, marks);
  return results != 0 ? results : call_reader(L);
}

/* In a sandbox text only; who asks for bytecode alone gets nothing. */
static void force_text(lua_State *L) {
  const char *mode = luaL_optstring(L, MODE, "t");
  const bool text = strchr(mode, 't') != NULL;
  if (lua_gettop(L) < MODE) {
    lua_settop(L, MODE);
  }
  lua_pushstring(L, text ? "t" : "");
  lua_replace(L, MODE);
}

static int base_load(lua_State *L) {
  if (la_lazy_is_shut(L)) {
    force_text(L);
  }
  if (lua_isstring(L, 1)) {
    la_charge(L, (unsigned)(lua_rawlen(L, 1) / 4 % INT32_MAX));
    return la_slow_stock(L, LA_STOCK_LOAD);
  }
  luaL_optstring(L, MODE, "bt");
  luaL_optstring(L, NAME, "=(load)");
  luaL_checktype(L, READER, LUA_TFUNCTION);
  bool has_env = !lua_isnone(L, ENV);
  lua_settop(L, ENV);
  reader_t *r = lua_newuserdatauv(L, sizeof *r, 0);
  *r = (reader_t){.has_env = has_env};
  lua_pushnil(L);
  return call_reader(L);
}

/* ---- require ----------------------------------------------------------- */

enum { MODULE = 1, LOADED = 2, SEARCHERS = 3, TRIED = 4, LOADER = 5, DATA = 6 };

/* The module's chunk has returned; its result is on top. */
static int required_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  la_slow_done(L);
  const char *name = lua_tostring(L, MODULE);
  if (!lua_isnil(L, -1)) {
    lua_setfield(L, LOADED, name);
  } else {
    lua_pop(L, 1);
  }
  if (lua_getfield(L, LOADED, name) == LUA_TNIL) {
    lua_pop(L, 1);
    lua_pushboolean(L, 1);
    lua_pushvalue(L, -1);
    lua_setfield(L, LOADED, name);
  }
  lua_pushvalue(L, DATA);
  return 2;
}

static int search(lua_State *L, int i);

static int searched_k(lua_State *L, int status, lua_KContext i) {
  (void)status;
  la_slow_done(L);
  if (lua_isfunction(L, LOADER)) {
    lua_pushvalue(L, LOADER);
    lua_pushvalue(L, MODULE);
    lua_pushvalue(L, DATA);
    return la_slow_call(L, 2, 1, 0, required_k);
  }
  if (lua_isstring(L, LOADER)) {
    lua_pushvalue(L, TRIED);
    lua_pushliteral(L, "\n\t");
    lua_pushvalue(L, LOADER);
    lua_concat(L, 3);
    lua_replace(L, TRIED);
  }
  lua_settop(L, TRIED);
  return search(L, (int)i + 1);
}

static int search_c(lua_State *L);

/* Ask the searchers from the i-th on; in a sandbox not those of C libraries. */
static int search(lua_State *L, int i) {
  while (la_lazy_is_shut(L) &&
         (lua_rawgeti(L, SEARCHERS, i),
          lua_tocfunction(L, -1) == search_c)) {
    lua_pop(L, 1);
    i++;
  }
  lua_settop(L, TRIED);
  if (lua_rawgeti(L, SEARCHERS, i) == LUA_TNIL) {
    return luaL_error(L, "module '%s' not found:%s", lua_tostring(L, MODULE),
                      lua_tostring(L, TRIED));
  }
  lua_pushvalue(L, MODULE);
  return la_slow_call(L, 1, 2, i, searched_k);
}

static int pkg_require(lua_State *L) {
  size_t len;
  const char *name = luaL_checklstring(L, MODULE, &len);
  if (!la_lazy_may_have(L, name, len)) {
    return luaL_error(L, "module '%s' is not in the sandbox", name);
  }
  lua_settop(L, MODULE);
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_getfield(L, LOADED, name);
  if (lua_toboolean(L, -1)) {
    return 1;
  }
  lua_pop(L, 1);
  la_lazy_push(L, LA_TABLE_PACKAGE);
  if (lua_getfield(L, -1, "searchers") != LUA_TTABLE) {
    return luaL_error(L, "'package.searchers' must be a table");
  }
  lua_replace(L, SEARCHERS);
  lua_pushliteral(L, "");
  return search(L, 1);
}

/* ---- C modules --------------------------------------------------------- */

/* Modules of C functions whose objects own nothing but the state's memory. */
static bool is_harmless(const char *name) {
  return strcmp(name, "lpeg") == 0;
}

/* A C module can make objects with finalizers, and looks at tables as it likes. */
void la_load_expect_anything(lua_State *L) {
  la_exec_of(L)->has_finalizers = true;
  la_lazy_settle_all(L);
}

/* The searchers of C modules; upvalue: stock's. */
static int search_c(lua_State *L) {
  lua_settop(L, 1);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_pushvalue(L, 2);
  lua_insert(L, 1); /* the name stays below */
  lua_call(L, 1, LUA_MULTRET);
  if (lua_isfunction(L, 2) && !is_harmless(lua_tostring(L, 1))) {
    la_load_expect_anything(L);
  }
  return lua_gettop(L) - 1;
}

static int pkg_loadlib(lua_State *L) {
  la_load_expect_anything(L);
  return la_slow_stock(L, LA_STOCK_LOADLIB);
}

/* ---- the table of package ---------------------------------------------- */

/* Stock's opener puts its 'require' into the globals: it gets others. It looks for
 * package.loaded, which is made while they are right. */
int la_load_open_package(lua_State *L) {
  lua_settop(L, 0);
  la_lazy_push(L, LA_TABLE_LOADED);
  lua_pop(L, 1);
  lua_pushglobaltable(L);
  lua_newtable(L);
  lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
  lua_pushcfunction(L, luaopen_package);
  const int status = lua_pcall(L, 0, 1, 0);
  lua_pushvalue(L, 1);
  lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
  if (status != LUA_OK) {
    return lua_error(L);
  }
  lua_pushcfunction(L, pkg_loadlib);
  lua_setfield(L, 2, "loadlib");
  lua_getfield(L, 2, "searchers");
  for (int i = 3; i <= 4; i++) { /* C library, all-in-one C library */
    lua_rawgeti(L, 3, i);
    lua_pushcclosure(L, search_c, 1);
    lua_rawseti(L, 3, i);
  }
  lua_settop(L, 2);
  return 1;
}

static const luaL_Reg base[] = {
    {"load", base_load}, {"require", pkg_require}, {NULL, NULL}};
const la_std_part_t la_load_parts[] = {{LA_TABLE_GLOBALS, base, false},
                                       {0, NULL, false}};

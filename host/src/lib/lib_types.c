/* actor.atom, tuple, map and the others: Erlang's types (term/foreign.h). */
#include <string.h>

#include "lib/lib_core.h"
#include "term/foreign.h"
#include "term/wire.h"

static int l_atom(lua_State *L) {
  size_t n;
  const char *text = luaL_checklstring(L, 1, &n);
  luaL_argcheck(L, la_wire_atom_ok((const uint8_t *)text, n), 1,
                "an atom is UTF-8 text of at most 255 characters");
  la_foreign_push_atom(L, text, n);
  return 1;
}

/* Mark the table at 1, which becomes the value. */
static int marked(lua_State *L, la_foreign_t kind) {
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_argcheck(L, !lua_getmetatable(L, 1), 1,
                "a table without a metatable expected");
  lua_settop(L, 1);
  la_foreign_mark(L, kind);
  return 1;
}

static int l_tuple(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_pushliteral(L, "n");
  const int type = lua_rawget(L, 1);
  luaL_argcheck(L, type == LUA_TNIL ||
                       (lua_isinteger(L, -1) && lua_tointeger(L, -1) >= 0),
                1, "field n is no size");
  return marked(L, LA_FOREIGN_TUPLE);
}

static int l_map(lua_State *L) {
  return marked(L, LA_FOREIGN_MAP);
}

static int l_atomkeys(lua_State *L) {
  return marked(L, LA_FOREIGN_ATOMKEYS);
}

/* cons(items, tail): [items... | tail] */
static int l_cons(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_argcheck(L, lua_rawlen(L, 1) > 0, 1, "at least one element expected");
  luaL_checkany(L, 2);
  luaL_argcheck(L, !lua_istable(L, 2) || la_foreign_kind(L, 2) != 0, 2,
                "the tail of an improper list is no list");
  luaL_argcheck(L, !lua_getmetatable(L, 1), 1,
                "a table without a metatable expected");
  lua_pushliteral(L, "tail");
  lua_pushvalue(L, 2);
  lua_rawset(L, 1);
  return marked(L, LA_FOREIGN_CONS);
}

/* bin(text): in a pattern, a string and no atom; as a value, the string. */
static int l_bin(lua_State *L) {
  luaL_checkstring(L, 1);
  lua_createtable(L, 1, 0);
  lua_pushvalue(L, 1);
  lua_rawseti(L, -2, 1);
  la_foreign_mark(L, LA_FOREIGN_BIN);
  return 1;
}

static void check_atom(lua_State *L, int arg, la_buf_t *b) {
  size_t n;
  const char *text = lua_tolstring(L, arg, &n);
  la_wire_atom_write(b, text, n);
}

/* export(module, function, arity): fun module:function/arity */
static int l_export(lua_State *L) {
  size_t n;
  for (int i = 1; i <= 2; i++) {
    const char *text = luaL_checklstring(L, i, &n);
    luaL_argcheck(L, la_wire_atom_ok((const uint8_t *)text, n), i,
                  "an atom is UTF-8 text of at most 255 characters");
  }
  const lua_Integer arity = luaL_checkinteger(L, 3);
  luaL_argcheck(L, arity >= 0 && arity <= 255, 3, "0 to 255 expected");
  la_buf_t b = {0};
  la_buf_u8(&b, LA_TAG_OPAQUE);
  la_buf_u32(&b, 0);
  la_buf_u8(&b, 113);
  check_atom(L, 1, &b);
  check_atom(L, 2, &b);
  la_buf_u8(&b, LA_TAG_SMALL_INT);
  la_buf_u8(&b, (uint8_t)arity);
  uint8_t bytes[5 + 1 + 2 * (3 + 1020) + 2];
  const size_t size = b.len;
  if (b.failed || size > sizeof bytes) {
    la_buf_free(&b);
    return luaL_error(L, "not enough memory");
  }
  memcpy(bytes, b.data, size);
  la_put32(bytes + 1, (uint32_t)size - 5);
  la_buf_free(&b);
  la_foreign_push(L, bytes, size);
  return 1;
}

/* The atom nil inside lists and maps, which cannot hold nil. */
static int make_null(lua_State *L) {
  la_foreign_push_atom(L, "nil", 3);
  return 1;
}

static const luaL_Reg functions[] = {
    {"atom", l_atom},         {"tuple", l_tuple}, {"map", l_map},
    {"atomkeys", l_atomkeys}, {"cons", l_cons},   {"bin", l_bin},
    {"export", l_export},     {NULL, NULL}};
static const luaL_Reg values[] = {{"null", make_null}, {NULL, NULL}};

const la_std_part_t la_types_parts[] = {{LA_TABLE_LUACTOR, functions, false},
                                        {LA_TABLE_LUACTOR, values, true},
                                        {0, NULL, false}};

#include "term/foreign.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "term/wire.h"

/* Their addresses are keys: in the registry, of the list of metatables, in which
 * [0] is the table of the values; in a metatable, of its kind. */
static const char tables_key = 0, kind_key = 0;

la_foreign_t la_foreign_kind(lua_State *L, int idx) {
  const int type = lua_type(L, idx);
  if ((type != LUA_TUSERDATA && type != LUA_TTABLE) ||
      !lua_getmetatable(L, idx)) {
    return LA_FOREIGN_NONE;
  }
  lua_rawgetp(L, -1, &kind_key);
  const lua_Integer kind = lua_tointeger(L, -1);
  lua_pop(L, 2);
  return (la_foreign_t)kind;
}

const uint8_t *la_foreign_bytes(lua_State *L, int idx, size_t *n) {
  *n = lua_rawlen(L, idx);
  return lua_touserdata(L, idx);
}

/* ---- methods -------------------------------------------------------------------- */

static int atom_tostring(lua_State *L) {
  size_t n;
  const uint8_t *text;
  uint32_t len;
  const uint8_t *p = la_foreign_bytes(L, 1, &n);
  la_wire_atom_read(p, p + n, &text, &len);
  lua_pushlstring(L, (const char *)text, len);
  return 1;
}

/* <name@host.12>, #ref<name@host.1.2.3> */
static int identity_tostring(lua_State *L) {
  size_t n;
  la_wire_id_t id;
  const uint8_t *p = la_foreign_bytes(L, 1, &n);
  la_wire_id_read(p, p + n, &id);
  lua_pushlstring(L, (const char *)id.node, id.node_len);
  const char *node = lua_tostring(L, -1);
  if (id.kind == LA_WIRE_PID) {
    lua_pushfstring(L, "<%s.%I>", node,
                    (LUAI_UACINT)((uint64_t)id.words[1] << 28 |
                                  id.words[0]));
    return 1;
  }
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  luaL_addstring(&b, "#ref<");
  luaL_addlstring(&b, (const char *)id.node, id.node_len);
  for (uint32_t i = 0; i < id.nwords; i++) {
    char word[16];
    snprintf(word, sizeof word, ".%lu", (unsigned long)id.words[i]);
    luaL_addstring(&b, word);
  }
  luaL_addchar(&b, '>');
  luaL_pushresult(&b);
  return 1;
}

/* What an OPAQUE holds: the tag of Erlang behind its head. */
static int opaque_tostring(lua_State *L) {
  size_t n;
  const uint8_t *p = la_foreign_bytes(L, 1, &n);
  const char *what = "term";
  switch (n > 5 ? p[5] : 0) {
    case 77:
      what = "bit string";
      break;
    case 89: case 102: case 120:
      what = "port";
      break;
    case 110: case 111:
      what = "integer";
      break;
    case 112: case 113:
      what = "fun";
      break;
    case 116:
      what = "map";
      break;
    default:
      break;
  }
  lua_pushfstring(L, "opaque %s: %p", what, (const void *)p);
  return 1;
}

/* Of fun m:f/a, its parts. */
static int opaque_index(lua_State *L) {
  size_t n;
  const uint8_t *p = la_foreign_bytes(L, 1, &n);
  const uint8_t *end = p + n, *module, *function;
  uint32_t mlen, flen;
  const char *key = lua_tostring(L, 2);
  if (n < 6 || p[5] != 113 || key == NULL) {
    return 0;
  }
  p = la_wire_atom_read(p + 6, end, &module, &mlen);
  p = p != NULL ? la_wire_atom_read(p, end, &function, &flen) : NULL;
  if (p == NULL) {
    return 0;
  }
  if (strcmp(key, "module") == 0) {
    lua_pushlstring(L, (const char *)module, mlen);
  } else if (strcmp(key, "fn") == 0) {
    lua_pushlstring(L, (const char *)function, flen);
  } else if (strcmp(key, "arity") == 0 && end - p >= 2) {
    lua_pushinteger(L, p[1]);
  } else {
    return 0;
  }
  return 1;
}

lua_Integer la_foreign_size(lua_State *L, int idx) {
  idx = lua_absindex(L, idx);
  lua_pushliteral(L, "n");
  lua_rawget(L, idx);
  const lua_Integer n = lua_isinteger(L, -1) ? lua_tointeger(L, -1)
                                             : (lua_Integer)lua_rawlen(L, idx);
  lua_pop(L, 1);
  return n < 0 ? 0 : n;
}

static int tuple_len(lua_State *L) {
  lua_pushinteger(L, la_foreign_size(L, 1));
  return 1;
}

/* ---- metatables ------------------------------------------------------------------ */

static void method(lua_State *L, const char *name, lua_CFunction f) {
  lua_pushcfunction(L, f);
  lua_setfield(L, -2, name);
}

/* Push the metatable of a kind, new. */
static void make(lua_State *L, la_foreign_t kind) {
  static const char *const names[] = {
      NULL,
#define X(sym, text, is_table) text,
      LA_FOREIGNS(X)
#undef X
  };
  lua_createtable(L, 0, 4);
  lua_pushinteger(L, kind);
  lua_rawsetp(L, -2, &kind_key);
  lua_pushstring(L, names[kind]);
  lua_setfield(L, -2, "__name");
  switch (kind) {
    case LA_FOREIGN_ATOM:
      method(L, "__tostring", atom_tostring);
      break;
    case LA_FOREIGN_PID:
    case LA_FOREIGN_REFERENCE: {
      method(L, "__tostring", identity_tostring);
      /* The methods are those of local ones, which are made when one is first
       * asked for. */
      la_push_id(L, la_id_counted(LA_ID_PID, 1));
      const int type = luaL_getmetafield(L, -1, "__index");
      if (type == LUA_TFUNCTION) {
        lua_getfield(L, -2, "send");
        lua_pop(L, 1);
      }
      if (type != LUA_TNIL) {
        lua_pop(L, 1);
      }
      if (luaL_getmetafield(L, -1, "__index") != LUA_TNIL) {
        lua_setfield(L, -3, "__index");
      }
      lua_pop(L, 1);
      break;
    }
    case LA_FOREIGN_OPAQUE:
      method(L, "__tostring", opaque_tostring);
      method(L, "__index", opaque_index);
      break;
    case LA_FOREIGN_TUPLE:
      method(L, "__len", tuple_len);
      break;
    default:
      break;
  }
}

/* Push the list of metatables. */
static void push_tables(lua_State *L) {
  luaL_checkstack(L, 8, NULL);
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &tables_key) == LUA_TTABLE) {
    return;
  }
  lua_pop(L, 1);
  lua_createtable(L, 9, 1);
  lua_createtable(L, 0, 4);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "v");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_rawseti(L, -2, 0);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &tables_key);
}

/* Push the metatable of a kind. The list of metatables is on top. */
static void push_metatable(lua_State *L, la_foreign_t kind) {
  if (lua_rawgeti(L, -1, kind) != LUA_TTABLE) {
    lua_pop(L, 1);
    make(L, kind);
    lua_pushvalue(L, -1);
    lua_rawseti(L, -3, kind);
  }
}

void la_foreign_mark(lua_State *L, la_foreign_t kind) {
  push_tables(L);
  push_metatable(L, kind);
  lua_setmetatable(L, -3);
  lua_pop(L, 1);
}

static la_foreign_t kind_of(uint8_t tag) {
  switch (tag) {
    case LA_TAG_PID:
      return LA_FOREIGN_PID;
    case LA_TAG_REFERENCE:
      return LA_FOREIGN_REFERENCE;
    case LA_TAG_ATOM: case LA_TAG_SMALL_ATOM:
      return LA_FOREIGN_ATOM;
    default:
      return LA_FOREIGN_OPAQUE;
  }
}

void la_foreign_push(lua_State *L, const uint8_t *bytes, size_t n) {
  push_tables(L);
  lua_rawgeti(L, -1, 0);
  lua_pushlstring(L, (const char *)bytes, n);
  lua_pushvalue(L, -1);
  if (lua_rawget(L, -3) != LUA_TUSERDATA) { /* tables, values, key, nil */
    lua_pop(L, 1);
    memcpy(lua_newuserdatauv(L, n, 0), bytes, n);
    lua_pushvalue(L, -4);
    push_metatable(L, kind_of(*bytes));
    lua_setmetatable(L, -3);
    lua_pop(L, 1); /* tables, values, key, userdata */
    lua_pushvalue(L, -2);
    lua_pushvalue(L, -2);
    lua_rawset(L, -5);
  }
  lua_replace(L, -4);
  lua_pop(L, 2);
}

void la_foreign_push_atom(lua_State *L, const char *text, size_t len) {
  uint8_t bytes[3 + 4 * 255];
  size_t head = 2;
  if (len <= 255) {
    bytes[0] = LA_TAG_SMALL_ATOM;
    bytes[1] = (uint8_t)len;
  } else {
    bytes[0] = LA_TAG_ATOM;
    la_put16(bytes + 1, (uint16_t)len);
    head = 3;
  }
  memcpy(bytes + head, text, len);
  la_foreign_push(L, bytes, head + len);
}

/* Pattern objects for Lua: actor.var and its variables, _, is, exact, oneof,
 * match, request, on, after.
 *
 * Pattern objects are userdata that say what to match; they are compiled when a
 * clause or receiver is built. Those that combine others are compiled once for
 * trial, so that a mistake is reported where it was made. actor.var is a table
 * which makes its variables on first use and keeps them. */
#include <lauxlib.h>

#include "lib/lib_core.h"
#include "match/program.h"

/* ---- making objects ----------------------------------------------------- */

static la_pat_t *new_pat(lua_State *L, la_pat_kind_t kind, const char *name,
                         size_t len, int nuv) {
  la_pat_t *p = lua_newuserdatauv(L, sizeof *p + len + 1, nuv);
  memset(p, 0, sizeof *p);
  p->kind = (uint8_t)kind;
  p->len = (uint32_t)len;
  memcpy(p->name, name, len);
  p->name[len] = '\0';
  luaL_setmetatable(L, LA_PATTERN_MT);
  return p;
}

/* A pattern object over the values at stack slots 'a' and 'b' (0: none). */
static void wrap(lua_State *L, la_pat_kind_t kind, int a, int b) {
  new_pat(L, kind, "", 0, b != 0 ? 2 : 1);
  lua_pushvalue(L, a);
  lua_setiuservalue(L, -2, 1);
  if (b != 0) {
    lua_pushvalue(L, b);
    lua_setiuservalue(L, -2, 2);
  }
}

static la_type_t find_type(const char *name) {
#define X(sym, text)              \
  if (strcmp(name, text) == 0) {  \
    return LA_TYPE_##sym;         \
  }
  LA_TYPES(X)
#undef X
  return LA_TYPE_NONE;
}

static la_type_t check_type(lua_State *L, int arg) {
  const char *name = luaL_checkstring(L, arg);
  const la_type_t type = find_type(name);
  if (type == LA_TYPE_NONE) {
    luaL_error(L, "bad pattern: unknown type '%s'", name);
  }
  return type;
}

/* ---- variables ---------------------------------------------------------- */

/* V.name on first use: make the variable and keep it. */
static int vars_index(lua_State *L) {
  size_t len;
  const char *name = luaL_checklstring(L, 2, &len);
  luaL_argcheck(L, len > 0 && len < 256, 2, "bad name of a variable");
  new_pat(L, LA_PAT_VAR, name, len, 0);
  lua_pushvalue(L, 2);
  lua_pushvalue(L, -2);
  lua_rawset(L, 1);
  return 1;
}

static int vars_newindex(lua_State *L) {
  return luaL_error(L, "variables of patterns cannot be assigned");
}

static la_pat_t *check_var(lua_State *L, const char *what) {
  la_pat_t *p = luaL_checkudata(L, 1, LA_PATTERN_MT);
  const bool plain = p->kind == LA_PAT_VAR && p->of == 0 &&
                     p->type == LA_TYPE_NONE;
  if (!plain && p->kind != LA_PAT_ANY) {
    luaL_error(L, "only a plain variable takes %s", what);
  }
  return p;
}

/* V.name "type", V.name "..." */
static int pattern_call(lua_State *L) {
  const la_pat_t *p = check_var(L, "a type");
  if (strcmp(luaL_checkstring(L, 2), "...") == 0) {
    new_pat(L, LA_PAT_REST, p->name, p->len, 0);
    return 1;
  }
  const la_type_t type = check_type(L, 2);
  new_pat(L, p->kind == LA_PAT_ANY ? LA_PAT_IS : LA_PAT_VAR, p->name, p->len,
          0)->type = (uint8_t)type;
  return 1;
}

/* V.name:of(p); V._:of(p) is p as an object. */
static int pattern_of(lua_State *L) {
  const la_pat_t *p = check_var(L, ":of");
  luaL_checkany(L, 2);
  lua_settop(L, 2);
  if (p->kind == LA_PAT_ANY) {
    lua_createtable(L, 1, 0);
    lua_pushvalue(L, 2);
    lua_rawseti(L, 3, 1);
    wrap(L, LA_PAT_ONEOF, 3, 0);
  } else {
    new_pat(L, LA_PAT_VAR, p->name, p->len, 1)->of = 1;
    lua_pushvalue(L, 2);
    lua_setiuservalue(L, -2, 1);
  }
  la_pattern_check(L, -1);
  return 1;
}

static int is(lua_State *L) {
  const la_type_t type = check_type(L, 1);
  new_pat(L, LA_PAT_IS, "", 0, 0)->type = (uint8_t)type;
  return 1;
}

/* ---- combinations ------------------------------------------------------- */

static int exact(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  wrap(L, LA_PAT_EXACT, 1, 0);
  la_pattern_check(L, -1);
  return 1;
}

static int oneof(lua_State *L) {
  const int n = lua_gettop(L);
  luaL_argcheck(L, n >= 1, 1, "pattern expected");
  lua_createtable(L, n, 0);
  for (int i = 1; i <= n; i++) {
    luaL_argcheck(L, !lua_isnil(L, i), i, "pattern expected, got nil");
    lua_pushvalue(L, i);
    lua_rawseti(L, n + 1, i);
  }
  wrap(L, LA_PAT_ONEOF, n + 1, 0);
  la_pattern_check(L, -1);
  return 1;
}

/* Add the alternatives of the operand at 'arg' to the list. */
static void add_alternatives(lua_State *L, int arg, int list) {
  const la_pat_t *p = luaL_testudata(L, arg, LA_PATTERN_MT);
  if (p == NULL || p->kind != LA_PAT_ONEOF) {
    luaL_argcheck(L, !lua_isnil(L, arg), arg, "pattern expected, got nil");
    lua_pushvalue(L, arg);
    lua_rawseti(L, list, (lua_Integer)lua_rawlen(L, list) + 1);
    return;
  }
  lua_getiuservalue(L, arg, 1);
  const lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, -1, i);
    lua_rawseti(L, list, (lua_Integer)lua_rawlen(L, list) + 1);
  }
  lua_pop(L, 1);
}

/* p1 + p2; a choice on either side is joined, so a + b + c is flat. */
static int pattern_add(lua_State *L) {
  lua_settop(L, 2);
  lua_createtable(L, 4, 0);
  add_alternatives(L, 1, 3);
  add_alternatives(L, 2, 3);
  wrap(L, LA_PAT_ONEOF, 3, 0);
  la_pattern_check(L, -1);
  return 1;
}

/* request(from, p): what actor.call sends. */
static int request(lua_State *L) {
  luaL_checkany(L, 2);
  lua_settop(L, 2);
  lua_createtable(L, 3, 0);
  lua_pushliteral(L, "$gen_call");
  lua_rawseti(L, 3, 1);
  for (int i = 1; i <= 2; i++) {
    luaL_argcheck(L, !lua_isnil(L, i), i, "pattern expected, got nil");
    lua_pushvalue(L, i);
    lua_rawseti(L, 3, i + 1);
  }
  wrap(L, LA_PAT_TABLE, 3, 0);
  la_pattern_check(L, -1);
  return 1;
}

static const char *pat_name(la_pat_kind_t kind) {
  static const char *const names[] = {
      [LA_PAT_ANY] = "_",          [LA_PAT_VAR] = "variable",
      [LA_PAT_REST] = "rest",      [LA_PAT_IS] = "type",
      [LA_PAT_TABLE] = "table",    [LA_PAT_EXACT] = "exact table",
      [LA_PAT_ONEOF] = "choice",   [LA_PAT_WHEN] = "guarded pattern"};
  return names[kind];
}

static int pattern_tostring(lua_State *L) {
  const la_pat_t *p = luaL_checkudata(L, 1, LA_PATTERN_MT);
  if (p->len != 0) {
    lua_pushfstring(L, "pattern (%s %s)", pat_name((la_pat_kind_t)p->kind),
                    p->name);
  } else {
    lua_pushfstring(L, "pattern (%s)", pat_name((la_pat_kind_t)p->kind));
  }
  return 1;
}

/* ---- the textual form --------------------------------------------------- */

/* make.table(t, order) and make.when(p, text): what only texts can say. */
static int make_table(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checktype(L, 2, LUA_TTABLE);
  wrap(L, LA_PAT_TABLE, 1, 2);
  return 1;
}

static int make_when(lua_State *L) {
  luaL_checkany(L, 1);
  luaL_checkstring(L, 2);
  wrap(L, LA_PAT_WHEN, 1, 2);
  return 1;
}

/* match(text [, values]): the grammar is in luactor.match, which is loaded on
 * first use. */
static int match(lua_State *L) {
  luaL_checkstring(L, 1);
  if (!lua_isnoneornil(L, 2)) {
    luaL_checktype(L, 2, LUA_TTABLE);
  }
  lua_settop(L, 2);
  if (lua_getglobal(L, "require") != LUA_TFUNCTION) {
    return luaL_error(L, "textual patterns need 'require'");
  }
  lua_pushliteral(L, "luactor.match");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "parse");
  lua_replace(L, -2);
  lua_pushvalue(L, 1);
  lua_pushvalue(L, 2);
  lua_createtable(L, 0, 4);
  lua_pushcfunction(L, make_table);
  lua_setfield(L, -2, "table");
  lua_pushcfunction(L, make_when);
  lua_setfield(L, -2, "when");
  lua_call(L, 3, 2);
  if (lua_isnil(L, -2)) {
    luaL_where(L, 1);
    lua_rotate(L, -2, 1);
    lua_concat(L, 2);
    return lua_error(L);
  }
  lua_pop(L, 1);
  la_pattern_check(L, -1);
  return 1;
}

/* ---- clauses ------------------------------------------------------------ */

static int on(lua_State *L) {
  la_match_push_clause(L, LA_NO_ID, 1, lua_gettop(L));
  return 1;
}

static int after(lua_State *L) {
  const double ms = luaL_checknumber(L, 1);
  luaL_argcheck(L, ms >= 0, 1, "time must not be negative");
  luaL_checktype(L, 2, LUA_TFUNCTION);
  la_match_push_after(L, ms, 2);
  return 1;
}

/* ---- opening ------------------------------------------------------------ */

int la_match_open_type(lua_State *L) {
  static const struct {
    const char *name;
    la_obj_t kind;
  } types[] = {{LA_PATTERN_MT, LA_OBJ_PATTERN},
               {LA_CLAUSE_MT, LA_OBJ_CLAUSE},
               {LA_RECEIVER_MT, LA_OBJ_RECEIVER}};
  const char *name = luaL_checkstring(L, 1);
  la_object_open(L, name);
  for (int i = 0; i < 3; i++) {
    if (strcmp(types[i].name, name) == 0) {
      la_obj_mark(L, types[i].kind);
    }
  }
  lua_pushboolean(L, 0); /* scripts cannot see it */
  lua_setfield(L, -2, "__metatable");
  return 1;
}

static int open_pattern_type(lua_State *L) {
  static const luaL_Reg meta[] = {{"__call", pattern_call},
                                  {"__add", pattern_add},
                                  {"__tostring", pattern_tostring},
                                  {NULL, NULL}};
  la_match_open_type(L);
  luaL_setfuncs(L, meta, 0);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, pattern_of);
  lua_setfield(L, -2, "of");
  lua_setfield(L, -2, "__index");
  return 1;
}

void la_match_push_any(lua_State *L) {
  new_pat(L, LA_PAT_ANY, "", 0, 0);
}

/* Push actor.var; V._ is there from the start. */
static int push_vars(lua_State *L) {
  lua_newtable(L);
  la_match_push_any(L);
  lua_setfield(L, -2, "_");
  lua_createtable(L, 0, 4);
  la_object_named(L, "var");
  lua_pushcfunction(L, vars_index);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, vars_newindex);
  lua_setfield(L, -2, "__newindex");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_setmetatable(L, -2);
  return 1;
}

static const luaL_Reg functions[] = {
    {"is", is},           {"exact", exact}, {"oneof", oneof},
    {"match", match},     {"on", on},       {"after", after},
    {"request", request}, {NULL, NULL}};

void la_match_open(lua_State *L) {
  static const char *const types[] = {LA_CLAUSE_MT, LA_RECEIVER_MT,
                                      LA_PATTERN_MT};
  for (int i = 0; i < 3; i++) {
    lua_pushcfunction(L, i < 2 ? la_match_open_type : open_pattern_type);
    lua_pushstring(L, types[i]);
    lua_call(L, 1, 0);
  }
  luaL_setfuncs(L, functions, 0);
  push_vars(L);
  lua_getfield(L, -1, "_");
  lua_setfield(L, -3, "_");
  lua_setfield(L, -2, "var");
}

/* ---- opening when touched ----------------------------------------------- */

static int make_pattern_type(lua_State *L) {
  la_lazy_make(L, LA_TABLE_REGISTRY, open_pattern_type);
  return 1;
}

static const luaL_Reg types[] = {{LA_PATTERN_MT, make_pattern_type},
                                 {NULL, NULL}};

/* actor._ is actor.var._ */
static int make_any(lua_State *L) {
  la_lazy_push(L, LA_TABLE_LUACTOR);
  lua_getfield(L, -1, "var");
  lua_getfield(L, -1, "_");
  return 1;
}

static const luaL_Reg values[] = {
    {"var", push_vars}, {"_", make_any}, {NULL, NULL}};
const la_std_part_t la_match_parts[] = {{LA_TABLE_LUACTOR, functions, false},
                                        {LA_TABLE_LUACTOR, values, true},
                                        {LA_TABLE_REGISTRY, types, true},
                                        {0, NULL, false}};

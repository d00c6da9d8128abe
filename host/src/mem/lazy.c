/* See lazy.h. All lazy tables of a state have one metatable, which is also that
 * of the registry, where it stays; they are told apart by their addresses. A table
 * of the plan that exists is in the registry under the address of its entry in the
 * plan. */
#include "mem/lazy.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

/* After so many calls of the metamethods in vain the globals are settled: a
 * program that often asks for globals which are not there gets stock's speed. */
enum { PATIENCE = 200 };

static la_lazy_t *lazy_of(lua_State *L) {
  return **(la_lazy_t ***)lua_getextraspace(L);
}

/* ---- fields -------------------------------------------------------------- */

static int compare_names(const void *name, const void *field) {
  return strcmp(name, ((const la_lazy_field_t *)field)->name);
}

static const la_lazy_field_t *find(const la_lazy_table_t *t,
                                   const char *name) {
  return bsearch(name, t->fields, t->nfields, sizeof *t->fields,
                 compare_names);
}

static uint32_t number_of(const la_lazy_table_t *t, const la_lazy_field_t *f) {
  return t->first + (uint32_t)(f - t->fields);
}

static bool is_taken(const la_lazy_t *z, uint32_t bit) {
  return (z->taken[bit / 64] >> bit % 64 & 1) != 0;
}

static void set_taken(la_lazy_t *z, uint32_t bit, bool taken) {
  const uint64_t mask = UINT64_C(1) << bit % 64;
  z->taken[bit / 64] = taken ? z->taken[bit / 64] | mask
                             : z->taken[bit / 64] & ~mask;
}

static bool is_gone(const la_lazy_t *z, uint32_t bit) {
  return z->gone != NULL && (z->gone[bit / 64] >> bit % 64 & 1) != 0;
}

void la_lazy_shut(lua_State *L, const uint64_t *gone,
                  bool (*may_have)(lua_State *, const char *, size_t)) {
  la_lazy_t *z = lazy_of(L);
  z->gone = gone;
  z->may_have = may_have;
  for (int i = 0; i < LA_LAZY_FIELDS / 64; i++) {
    z->taken[i] |= gone[i];
  }
}

bool la_lazy_is_shut(lua_State *L) {
  return la_lazy_is(L, LUA_REGISTRYINDEX) && lazy_of(L)->gone != NULL;
}

bool la_lazy_may_have(lua_State *L, const char *name, size_t len) {
  return !la_lazy_is_shut(L) || lazy_of(L)->may_have(L, name, len);
}

int la_lazy_field_number(const la_lazy_plan_t *plan, unsigned n,
                         const char *name) {
  const la_lazy_table_t *t = &plan->tables[n];
  const la_lazy_field_t *f = find(t, name);
  return f != NULL ? (int)number_of(t, f) : -1;
}

/* Push the value of a field; its name is at 'name'. */
static void push_value(lua_State *L, const la_lazy_field_t *f, int name) {
  switch (f->kind) {
    case LA_LAZY_FUNCTION:
      lua_pushcfunction(L, f->as.function);
      break;
    case LA_LAZY_INTEGER:
      lua_pushinteger(L, f->as.integer);
      break;
    case LA_LAZY_NUMBER:
      lua_pushnumber(L, f->as.number);
      break;
    case LA_LAZY_STRING:
      lua_pushlstring(L, f->as.string.text, f->as.string.len);
      break;
    case LA_LAZY_TABLE:
      la_lazy_push(L, f->as.table);
      break;
    case LA_LAZY_MADE:
      name = lua_absindex(L, name);
      lua_pushcfunction(L, f->as.function);
      lua_pushvalue(L, name);
      lua_call(L, 1, 1);
      break;
  }
}

/* ---- metamethods ---------------------------------------------------------- */

/* Which table is at 'idx'? NULL: none of the plan. */
static const la_lazy_table_t *table_at(lua_State *L, int idx) {
  const la_lazy_t *z = lazy_of(L);
  const void *p = lua_topointer(L, idx);
  if (p == lua_topointer(L, LUA_REGISTRYINDEX)) {
    return &z->plan->tables[LA_LAZY_REGISTRY];
  }
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
  const void *g = lua_topointer(L, -1);
  lua_pop(L, 1);
  if (p == g) {
    return &z->plan->tables[LA_LAZY_GLOBALS];
  }
  /* From the end, where the host's own are. */
  for (unsigned n = z->plan->ntables; n-- > LA_LAZY_LOADED;) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &z->plan->tables[n]);
    const void *q = lua_topointer(L, -1);
    lua_pop(L, 1);
    if (p == q) {
      return &z->plan->tables[n];
    }
  }
  return NULL;
}

/* The field which the arguments table and key mean, if it is still to be had. */
static const la_lazy_field_t *pending_field(lua_State *L, const la_lazy_t *z,
                                            const la_lazy_table_t *t) {
  if (t == NULL || lua_type(L, 2) != LUA_TSTRING) {
    return NULL;
  }
  const char *name = lua_tostring(L, 2);
  const la_lazy_field_t *f = find(t, name);
  return f != NULL && !is_taken(z, number_of(t, f)) &&
                 strlen(name) == lua_rawlen(L, 2)
             ? f
             : NULL;
}

static void miss(lua_State *L, la_lazy_t *z, const la_lazy_table_t *t) {
  if (t == &z->plan->tables[LA_LAZY_GLOBALS] && ++z->misses == PATIENCE) {
    la_lazy_settle(L, 1);
  }
}

static int on_index(lua_State *L) {
  la_lazy_t *z = lazy_of(L);
  const la_lazy_table_t *t = table_at(L, 1);
  const la_lazy_field_t *f = pending_field(L, z, t);
  if (f == NULL) {
    miss(L, z, t);
    lua_pushnil(L);
    return 1;
  }
  push_value(L, f, 2);
  lua_pushvalue(L, 2);
  lua_pushvalue(L, -2);
  lua_rawset(L, 1);
  set_taken(z, number_of(t, f), true);
  return 1;
}

static int on_newindex(lua_State *L) {
  la_lazy_t *z = lazy_of(L);
  const la_lazy_table_t *t = table_at(L, 1);
  const la_lazy_field_t *f = pending_field(L, z, t);
  lua_settop(L, 3);
  lua_rawset(L, 1);
  if (f != NULL) {
    set_taken(z, number_of(t, f), true);
  } else {
    miss(L, z, t);
  }
  return 0;
}

/* ---- opening -------------------------------------------------------------- */

void la_lazy_open(lua_State *L, const la_lazy_plan_t *plan) {
  la_lazy_t *z = lazy_of(L);
  *z = (la_lazy_t){.plan = plan};
  lua_createtable(L, 0, 2);
  lua_pushcfunction(L, on_index);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, on_newindex);
  lua_setfield(L, -2, "__newindex");
  lua_pushglobaltable(L);
  lua_pushvalue(L, -2);
  lua_setmetatable(L, -2);
  lua_pop(L, 1);
  lua_setmetatable(L, LUA_REGISTRYINDEX);
}

bool la_lazy_exists(lua_State *L, unsigned n) {
  if (n <= LA_LAZY_GLOBALS) {
    return true;
  }
  const bool exists = lua_rawgetp(L, LUA_REGISTRYINDEX,
                                  &lazy_of(L)->plan->tables[n]) != LUA_TNIL;
  lua_pop(L, 1);
  return exists;
}

/* Put table 'n' at 'value' into package.loaded at 'loaded', unless the script has
 * its own there. */
static void put_loaded(lua_State *L, unsigned n, int loaded, int value) {
  la_lazy_t *z = lazy_of(L);
  const la_lazy_table_t *t = &z->plan->tables[LA_LAZY_LOADED];
  const char *name = z->plan->tables[n].name;
  const la_lazy_field_t *f = find(t, name);
  if (f != NULL && is_taken(z, number_of(t, f))) {
    return;
  }
  loaded = lua_absindex(L, loaded);
  value = lua_absindex(L, value);
  lua_pushstring(L, name);
  lua_pushvalue(L, value);
  lua_rawset(L, loaded);
  if (f != NULL) {
    set_taken(z, number_of(t, f), true);
  }
}

/* package.loaded, just made, is on top: put in all that exists. */
static void fill_loaded(lua_State *L) {
  const la_lazy_plan_t *plan = lazy_of(L)->plan;
  lua_pushglobaltable(L);
  put_loaded(L, LA_LAZY_GLOBALS, -2, -1);
  lua_pop(L, 1);
  for (unsigned n = LA_LAZY_LIBRARY; n < plan->ntables; n++) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &plan->tables[n]) != LUA_TNIL) {
      put_loaded(L, n, -2, -1);
    }
    lua_pop(L, 1);
  }
}

static void make(lua_State *L, unsigned n) {
  const la_lazy_plan_t *plan = lazy_of(L)->plan;
  const la_lazy_table_t *t = &plan->tables[n];
  if (t->open != NULL) {
    lua_pushcfunction(L, t->open);
    lua_call(L, 0, 1);
  } else {
    lua_newtable(L);
    lua_getmetatable(L, LUA_REGISTRYINDEX);
    lua_setmetatable(L, -2);
  }
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, t);
  if (n == LA_LAZY_LOADED) {
    fill_loaded(L);
    return;
  }
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &plan->tables[LA_LAZY_LOADED]) !=
      LUA_TNIL) {
    put_loaded(L, n, -1, -2);
  }
  lua_pop(L, 1);
}

void la_lazy_push(lua_State *L, unsigned n) {
  luaL_checkstack(L, 8, NULL);
  switch (n) {
    case LA_LAZY_REGISTRY:
      lua_pushvalue(L, LUA_REGISTRYINDEX);
      break;
    case LA_LAZY_GLOBALS:
      lua_pushglobaltable(L);
      break;
    default:
      if (lua_rawgetp(L, LUA_REGISTRYINDEX, &lazy_of(L)->plan->tables[n]) ==
          LUA_TNIL) {
        lua_pop(L, 1);
        make(L, n);
        if (lazy_of(L)->settled) {
          la_lazy_settle(L, -1);
        }
      }
  }
}

bool la_lazy_is_pending(lua_State *L, unsigned n, const char *name) {
  const la_lazy_t *z = lazy_of(L);
  const la_lazy_table_t *t = &z->plan->tables[n];
  const la_lazy_field_t *f = find(t, name);
  return f != NULL && !is_taken(z, number_of(t, f));
}

void la_lazy_make(lua_State *L, unsigned n, lua_CFunction f) {
  la_lazy_t *z = lazy_of(L);
  const la_lazy_table_t *t = &z->plan->tables[n];
  const uint32_t bit = number_of(t, find(t, lua_tostring(L, 1)));
  const bool was_taken = is_taken(z, bit);
  set_taken(z, bit, true);
  lua_pushcfunction(L, f);
  lua_pushvalue(L, 1);
  if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
    set_taken(z, bit, was_taken);
    if (!was_taken) { /* what is half made must not be found */
      la_lazy_push(L, n);
      lua_pushvalue(L, 1);
      lua_pushnil(L);
      lua_rawset(L, -3);
      lua_pop(L, 1);
    }
    lua_error(L);
  }
}

bool la_lazy_push_library(lua_State *L, const char *name, size_t len) {
  if (!la_lazy_is(L, LUA_REGISTRYINDEX)) {
    return false;
  }
  const la_lazy_plan_t *plan = lazy_of(L)->plan;
  if (la_lazy_exists(L, LA_LAZY_LOADED) || !la_lazy_may_have(L, name, len)) {
    return false;
  }
  for (unsigned n = LA_LAZY_LIBRARY; n < plan->ntables; n++) {
    if (strlen(plan->tables[n].name) == len &&
        memcmp(plan->tables[n].name, name, len) == 0) {
      la_lazy_push(L, n);
      return true;
    }
  }
  return false;
}

/* ---- settling ------------------------------------------------------------- */

const void *la_lazy_meta(lua_State *L) {
  la_lazy_t *z = lazy_of(L);
  if (z->meta == NULL) {
    lua_getmetatable(L, LUA_REGISTRYINDEX);
    z->meta = lua_topointer(L, -1);
    lua_pop(L, 1);
  }
  return z->meta;
}

bool la_lazy_is(lua_State *L, int idx) {
  if (!lua_getmetatable(L, idx)) {
    return false;
  }
  bool is = false;
  if (lua_getmetatable(L, LUA_REGISTRYINDEX)) {
    if (lua_topointer(L, -1) == lua_topointer(L, -2)) {
      lua_pushliteral(L, "__index");
      lua_rawget(L, -2);
      is = lua_tocfunction(L, -1) == on_index;
      lua_pop(L, 1);
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return is;
}

/* Put the fields that are left, or all of them, into the table at 'idx'. */
static void fill(lua_State *L, int idx, const la_lazy_table_t *t, bool all) {
  la_lazy_t *z = lazy_of(L);
  luaL_checkstack(L, 8, NULL);
  idx = lua_absindex(L, idx);
  for (uint32_t i = 0; i < t->nfields; i++) {
    const la_lazy_field_t *f = &t->fields[i];
    const uint32_t bit = number_of(t, f);
    if (all ? is_gone(z, bit) : is_taken(z, bit)) {
      continue;
    }
    lua_pushstring(L, f->name);
    push_value(L, f, -1);
    lua_rawset(L, idx);
    if (!all) {
      set_taken(z, bit, true);
    }
  }
}

void la_lazy_push_copy(lua_State *L, unsigned n) {
  luaL_checkstack(L, 8, NULL);
  lua_newtable(L);
  fill(L, -1, &lazy_of(L)->plan->tables[n], true);
}

bool la_lazy_settle(lua_State *L, int idx) {
  if (!la_lazy_is(L, idx)) {
    return false;
  }
  luaL_checkstack(L, 8, NULL);
  idx = lua_absindex(L, idx);
  const la_lazy_table_t *t = table_at(L, idx);
  fill(L, idx, t, false);
  if (t != &lazy_of(L)->plan->tables[LA_LAZY_REGISTRY]) {
    lua_pushnil(L);
    lua_setmetatable(L, idx);
  }
  return true;
}

void la_lazy_settle_all(lua_State *L) {
  lazy_of(L)->settled = true;
  /* The order matters: package.loaded and the globals bring forth the others. */
  static const unsigned first[] = {LA_LAZY_LOADED, LA_LAZY_GLOBALS};
  for (int i = 0; i < 2; i++) {
    la_lazy_push(L, first[i]);
    la_lazy_settle(L, -1);
    lua_pop(L, 1);
  }
  for (unsigned n = LA_LAZY_LIBRARY; n < lazy_of(L)->plan->ntables; n++) {
    if (la_lazy_exists(L, n)) {
      la_lazy_push(L, n);
      la_lazy_settle(L, -1);
      lua_pop(L, 1);
    }
  }
  la_lazy_settle(L, LUA_REGISTRYINDEX);
}

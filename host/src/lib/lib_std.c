/* The standard library: what there is is found out once for each host, from a
 * state with stock's libraries; our own functions come over it. */
#include "lib/lib_std.h"

#include <lualib.h>
#include <stdlib.h>
#include <string.h>

#include "base/env.h"
#include "lib/lib_base.h"
#include "lib/lib_co.h"
#include "lib/lib_debughook.h"
#include "lib/lib_gc.h"
#include "lib/lib_io.h"
#include "lib/lib_load.h"
#include "lib/lib_raw.h"
#include "lib/lib_string.h"
#include "lib/lib_table.h"

static const la_exec_lib_t exec_lib = {
    .inner = la_co_inner,
    .finalize = la_gc_finalize,
    .script_event = la_debughook_event,
};

static const char *const table_names[LA_NTABLES] = {
    [LA_TABLE_REGISTRY] = "registry",   [LA_TABLE_GLOBALS] = LUA_GNAME,
    [LA_TABLE_LOADED] = "loaded",       [LA_TABLE_COROUTINE] = LUA_COLIBNAME,
    [LA_TABLE_DEBUG] = LUA_DBLIBNAME,   [LA_TABLE_IO] = LUA_IOLIBNAME,
    [LA_TABLE_MATH] = LUA_MATHLIBNAME,  [LA_TABLE_OS] = LUA_OSLIBNAME,
    [LA_TABLE_PACKAGE] = LUA_LOADLIBNAME,
    [LA_TABLE_STRING] = LUA_STRLIBNAME, [LA_TABLE_TABLE] = LUA_TABLIBNAME,
    [LA_TABLE_UTF8] = LUA_UTF8LIBNAME,  [LA_TABLE_LUACTOR] = "luactor",
};

/* ---- math.random ---------------------------------------------------------- */

/* The functions share a userdata, which randomseed fills. In the registry under the
 * address of this. */
static const char random_key;

void *la_std_random(lua_State *L, size_t *size) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &random_key);
  void *state = lua_touserdata(L, -1);
  *size = lua_rawlen(L, -1);
  lua_pop(L, 1);
  return state;
}

void la_std_push_random(lua_State *L, const char *name,
                        const uint64_t seed[2]) {
  const la_std_t *std = la_std_of(L);
  luaL_checkstack(L, 8, NULL);
  lua_newuserdatauv(L, std->random_size, 0);
  const int random = lua_gettop(L), randomseed = random + 1;
  lua_pushvalue(L, random);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &random_key);
  lua_pushvalue(L, random);
  lua_pushcclosure(L, std->stock[LA_STOCK_RANDOMSEED], 1);
  lua_pushvalue(L, random);
  lua_pushcclosure(L, std->stock[LA_STOCK_RANDOM], 1);
  lua_replace(L, random);
  lua_pushvalue(L, randomseed);
  if (seed != NULL) {
    lua_pushinteger(L, (lua_Integer)seed[0]);
    lua_pushinteger(L, (lua_Integer)seed[1]);
  }
  lua_call(L, seed != NULL ? 2 : 0, 0);
  const bool is_random = strcmp(name, "random") == 0;
  const char *other = is_random ? "randomseed" : "random";
  if (la_lazy_is_pending(L, LA_TABLE_MATH, other)) {
    la_lazy_push(L, LA_TABLE_MATH);
    lua_pushvalue(L, is_random ? randomseed : random);
    lua_setfield(L, -2, other);
    lua_pop(L, 1);
  }
  if (is_random) {
    lua_pop(L, 1);
  } else {
    lua_replace(L, random);
  }
}

static int make_random(lua_State *L) {
  la_std_push_random(L, lua_tostring(L, 1), NULL);
  return 1;
}

static const la_std_part_t own_parts[] = {
    {LA_TABLE_MATH,
     (const luaL_Reg[]){{"random", make_random},
                        {"randomseed", make_random},
                        {NULL, NULL}},
     true},
    {0, NULL, false}};

static const la_std_part_t *const parts[] = {
    own_parts,        la_base_parts,      la_raw_parts, la_co_parts,
    la_tablelib_parts, la_string_parts,   la_load_parts, la_gc_parts,
    la_debughook_parts, la_iolib_parts,   NULL};

/* ---- the plan -------------------------------------------------------------- */

static const char *keep_text(la_std_t *s, const char *text, size_t len) {
  if (sizeof s->texts - s->ntexts <= len) {
    return NULL;
  }
  char *copy = s->texts + s->ntexts;
  memcpy(copy, text, len);
  copy[len] = '\0';
  s->ntexts += len + 1;
  return copy;
}

/* The field 'name' of the table that is being listed; added when it is not there.
 * NULL: no room. */
static la_lazy_field_t *field(la_std_t *s, const la_lazy_table_t *t,
                              const char *name) {
  for (uint32_t i = t->first; i < s->nfields; i++) {
    if (strcmp(s->fields[i].name, name) == 0) {
      return &s->fields[i];
    }
  }
  const char *copy = keep_text(s, name, strlen(name));
  if (copy == NULL || s->nfields == LA_LAZY_FIELDS) {
    return NULL;
  }
  la_lazy_field_t *f = &s->fields[s->nfields++];
  *f = (la_lazy_field_t){.name = copy};
  return f;
}

/* Push a table of stock's, or nil. */
static void push_stock(lua_State *R, unsigned n) {
  switch (n) {
    case LA_TABLE_GLOBALS:
      lua_pushglobaltable(R);
      break;
    case LA_TABLE_LOADED:
      lua_getfield(R, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
      break;
    case LA_TABLE_STRING_META:
      lua_pushliteral(R, "");
      lua_getmetatable(R, -1);
      lua_remove(R, -2);
      break;
    case LA_TABLE_FILE_METHODS:
      luaL_getmetatable(R, LUA_FILEHANDLE);
      lua_getfield(R, -1, "__index");
      lua_remove(R, -2);
      break;
    default:
      lua_getglobal(R, table_names[n]);
  }
}

/* The number of the table on top; 0: none of the plan. */
static unsigned table_of(lua_State *R) {
  for (unsigned n = LA_TABLE_GLOBALS; n < LA_NTABLES; n++) {
    push_stock(R, n);
    const bool same = lua_rawequal(R, -1, -2);
    lua_pop(R, 1);
    if (same) {
      return n;
    }
  }
  return 0;
}

/* The value on top as a field's. Functions with upvalues and userdata need a
 * maker of ours. */
static void set_value(lua_State *R, la_std_t *s, la_lazy_field_t *f) {
  switch (lua_type(R, -1)) {
    case LUA_TFUNCTION:
      f->kind = LA_LAZY_FUNCTION;
      f->as.function = lua_tocfunction(R, -1);
      break;
    case LUA_TNUMBER:
      if (lua_isinteger(R, -1)) {
        f->kind = LA_LAZY_INTEGER;
        f->as.integer = lua_tointeger(R, -1);
      } else {
        f->kind = LA_LAZY_NUMBER;
        f->as.number = lua_tonumber(R, -1);
      }
      break;
    case LUA_TSTRING: {
      const char *text = lua_tolstring(R, -1, &f->as.string.len);
      f->kind = LA_LAZY_STRING;
      f->as.string.text = keep_text(s, text, f->as.string.len);
      break;
    }
    case LUA_TTABLE:
      f->kind = LA_LAZY_TABLE;
      f->as.table = table_of(R);
      break;
    default:
      break;
  }
}

static bool list_stock(lua_State *R, la_std_t *s, la_lazy_table_t *t) {
  push_stock(R, (unsigned)(t - s->tables));
  if (lua_istable(R, -1) && t->open == NULL) {
    for (lua_pushnil(R); lua_next(R, -2) != 0; lua_pop(R, 1)) {
      la_lazy_field_t *f = field(s, t, lua_tostring(R, -2));
      if (f == NULL) {
        return false;
      }
      set_value(R, s, f);
    }
  }
  lua_pop(R, 1);
  return true;
}

static bool list_parts(la_std_t *s, const la_lazy_table_t *t,
                       const la_std_part_t *const *lists) {
  for (; *lists != NULL; lists++) {
    for (const la_std_part_t *p = *lists; p->functions != NULL; p++) {
      if (p->table != (unsigned)(t - s->tables)) {
        continue;
      }
      for (const luaL_Reg *r = p->functions; r->name != NULL; r++) {
        la_lazy_field_t *f = field(s, t, r->name);
        if (f == NULL) {
          return false;
        }
        f->kind = p->are_makers ? LA_LAZY_MADE : LA_LAZY_FUNCTION;
        f->as.function = r->func;
      }
    }
  }
  return true;
}

static int compare_fields(const void *a, const void *b) {
  return strcmp(((const la_lazy_field_t *)a)->name,
                ((const la_lazy_field_t *)b)->name);
}

static bool list_table(lua_State *R, la_std_t *s, unsigned n,
                       const la_std_part_t *const *more) {
  la_lazy_table_t *t = &s->tables[n];
  t->name = table_names[n];
  t->fields = &s->fields[s->nfields];
  t->first = s->nfields;
  if (n == LA_TABLE_REGISTRY) {
    la_lazy_field_t *f = field(s, t, LUA_LOADED_TABLE);
    f->kind = LA_LAZY_TABLE;
    f->as.table = LA_TABLE_LOADED;
  } else if (!list_stock(R, s, t)) {
    return false;
  }
  if (!list_parts(s, t, parts) || !list_parts(s, t, more)) {
    return false;
  }
  t->nfields = s->nfields - t->first;
  qsort(&s->fields[t->first], t->nfields, sizeof *t->fields, compare_fields);
  return true;
}

typedef struct {
  la_std_t *std;
  const la_std_part_t *const *more;
  bool ok;
} making_t;

/* The state's libraries are read into the structure. */
static int make_plan(lua_State *R) {
  static const struct {
    unsigned table;
    const char *name;
  } stock[LA_NSTOCK] = {
#define X(sym, table, name) {LA_TABLE_##table, name},
      LA_STOCK_FUNCTIONS(X)
#undef X
  };
  making_t *m = lua_touserdata(R, 1);
  la_std_t *s = m->std;
  luaL_openlibs(R);
  for (int i = 0; i < LA_NSTOCK; i++) {
    push_stock(R, stock[i].table);
    lua_getfield(R, -1, stock[i].name);
    s->stock[i] = lua_tocfunction(R, -1);
    if (i == LA_STOCK_RANDOM && lua_getupvalue(R, -1, 1) != NULL) {
      s->random_size = lua_rawlen(R, -1);
    }
    lua_settop(R, 1);
  }
  for (unsigned n = 0; n < LA_NTABLES; n++) {
    if (!list_table(R, s, n, m->more)) {
      return 0;
    }
  }
  s->plan = (la_lazy_plan_t){s->tables, LA_NTABLES};
  m->ok = true;
  return 0;
}

la_std_t *la_std_new(const la_std_part_t *const *more,
                     lua_CFunction open_package) {
  static const la_std_part_t *const none[] = {NULL};
  la_std_t *s = la_zalloc(sizeof *s);
  lua_State *R = s != NULL ? lua_newstate(la_alloc_lua, NULL) : NULL;
  if (R == NULL) {
    la_free(s);
    return NULL;
  }
  making_t m = {.std = s, .more = more != NULL ? more : none};
  s->tables[LA_TABLE_PACKAGE].open = open_package;
  lua_pushcfunction(R, make_plan);
  lua_pushlightuserdata(R, &m);
  lua_pcall(R, 1, 0, 0);
  lua_close(R);
  if (!m.ok) {
    la_free(s);
    s = NULL;
  }
  return s;
}

void la_std_free(la_std_t *std) {
  la_free(std);
}

/* ---- opening ---------------------------------------------------------------- */

const la_std_t *la_std_of(lua_State *L) {
  return (const la_std_t *)la_exec_of(L)->lazy->plan;
}

void la_std_open(lua_State *L, const la_std_t *std) {
  la_lazy_open(L, &std->plan);
  la_string_open(L);
  la_exec_of(L)->lib = &exec_lib;
}

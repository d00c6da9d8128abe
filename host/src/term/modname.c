/* What travels by name: the globals table, loaded modules, functions that are
 * fields of one.
 *
 * Every spawn of a closure comes through here, so the search must be cheap:
 * - package.loaded is walked once per la_encode, into a list of pointers; a
 *   table or function is compared with those.
 * - C functions: the thread remembers under which name a C function was last
 *   found; that hint is verified in the state at hand.
 * - Lua functions: the same memory serves those that were found, by where they
 *   were defined. Most are no field of a module. That takes a walk over the
 *   fields of all modules the first time; a record in the registry of the state
 *   notes where such functions were defined and is dropped when a module is
 *   loaded. A function that is added to a module later can so be overlooked and
 *   travel by value; when that fails, the search is repeated thoroughly.
 *
 * Of the libraries of Lua itself only C functions count: what a script adds to
 * them is not there on the other side. */
#include <lauxlib.h>
#include <lualib.h>

#include "mem/lazy.h"
#include "term/encoder.h"

#define OVERLOOK 6 /* places remembered per state */

/* The record of a state: functions defined at these places are no fields. */
typedef struct {
  uint64_t mods_sum;
  unsigned next;
  struct {
    const void *source;
    int line;
  } place[OVERLOOK];
} nofield_t;

/* Its address is the record's key in the registry. */
static const char nofield_key = 0;

static bool is_named(const la_modref_t *m, const char *name) {
  return strcmp(m->name, name) == 0;
}

static bool is_globals_name(const la_modref_t *m) {
  return is_named(m, LUA_GNAME);
}

static bool is_stock(const la_modref_t *m) {
  static const char *const names[] = {
      LUA_GNAME,      LUA_STRLIBNAME, LUA_TABLIBNAME,  LUA_MATHLIBNAME,
      LUA_IOLIBNAME,  LUA_OSLIBNAME,  LUA_COLIBNAME,   LUA_UTF8LIBNAME,
      LUA_DBLIBNAME,  LUA_LOADLIBNAME};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    if (is_named(m, names[i])) {
      return true;
    }
  }
  return false;
}

static bool is_luactor(const la_modref_t *m) {
  return strncmp(m->name, "luactor", 7) == 0;
}

static bool add_mod(la_encoder_t *e, const la_modref_t *m) {
  if (e->nmods == e->mods_cap) {
    const uint32_t cap = e->mods_cap == 0 ? 32 : e->mods_cap * 2;
    la_modref_t *mods = la_enc_realloc(e->scratch, e->mods, cap * sizeof *mods);
    if (mods == NULL) {
      return la_enc_fail_plain(e, LA_FAIL_MEMORY);
    }
    e->mods = mods;
    e->mods_cap = cap;
  }
  e->mods[e->nmods++] = *m;
  return true;
}

/* Walk package.loaded, once per la_encode. Only names without zeros count. */
static bool list_mods(la_encoder_t *e, lua_State *L) {
  if (e->mods_known) {
    return true;
  }
  e->nmods = 0;
  e->mods_sum = 0;
  if (lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE) != LUA_TTABLE) {
    lua_pop(L, 1);
    e->mods_known = true;
    return true;
  }
  lua_pushnil(L);
  while (lua_next(L, -2)) {
    const int type = lua_type(L, -1);
    if ((type == LUA_TTABLE || type == LUA_TFUNCTION) &&
        lua_type(L, -2) == LUA_TSTRING) {
      la_modref_t m = {.ptr = lua_topointer(L, -1),
                       .is_function = type == LUA_TFUNCTION};
      m.name = lua_tolstring(L, -2, &m.len);
      e->mods_sum += (uint64_t)(uintptr_t)m.ptr * 31 ^
                     (uint64_t)(uintptr_t)m.name;
      if (!add_mod(e, &m)) {
        lua_pop(L, 3);
        return false;
      }
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  e->mods_known = true;
  return true;
}

static const la_modref_t *find_mod(const la_encoder_t *e, const void *ptr) {
  const la_modref_t *best = NULL;
  for (uint32_t i = 0; i < e->nmods; i++) {
    const la_modref_t *m = &e->mods[i];
    /* One module under two names: the order of the walk must not decide. */
    if (m->ptr == ptr && (best == NULL || strcmp(m->name, best->name) < 0)) {
      best = m;
    }
  }
  return best;
}

static bool put_module(la_encoder_t *e, const la_modref_t *m) {
  uint8_t *p = la_enc_room(e, m->len + 6);
  if (p == NULL) {
    return false;
  }
  p[0] = LA_TAG_MODULE;
  p[1] = m->is_function ? LUA_TFUNCTION : LUA_TTABLE;
  la_put32(p + 2, (uint32_t)m->len);
  memcpy(p + 6, m->name, m->len);
  e->len += m->len + 6;
  return true;
}

static bool is_globals(lua_State *L, int idx) {
  idx = lua_absindex(L, idx);
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
  const bool same = lua_rawequal(L, -1, idx);
  lua_pop(L, 1);
  return same;
}

/* Is package.loaded[name] the value at 'idx'? */
static bool is_loaded_as(lua_State *L, int idx, const char *name) {
  bool same = false;
  idx = lua_absindex(L, idx);
  const int top = lua_gettop(L);
  if (lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE) == LUA_TTABLE) {
    lua_pushstring(L, name);
    lua_rawget(L, -2);
    same = lua_rawequal(L, -1, idx);
  }
  lua_settop(L, top);
  return same;
}

static void note_module(la_modname_t *hint, const la_modref_t *m) {
  if (!m->is_function && m->len < sizeof hint->name) {
    hint->ptr = m->ptr;
    memcpy(hint->name, m->name, m->len + 1);
  }
}

bool la_enc_module(la_encoder_t *e, lua_State *L, int idx, bool *done) {
  const void *ptr = lua_topointer(L, idx);
  *done = true;
  if (is_globals(L, idx)) {
    return la_enc_byte(e, LA_TAG_GLOBALS);
  }
  la_modname_t *hint =
      &e->scratch->modnames[((uintptr_t)ptr >> 4) % LA_MODNAMES];
  if (hint->ptr == ptr && is_loaded_as(L, idx, hint->name)) {
    const la_modref_t m = {
        .ptr = ptr, .name = hint->name, .len = strlen(hint->name)};
    return put_module(e, &m);
  }
  *done = false;
  if (!list_mods(e, L)) {
    return false;
  }
  const la_modref_t *m = find_mod(e, ptr);
  if (m == NULL) {
    return true;
  }
  *done = true;
  note_module(hint, m);
  return is_globals_name(m) ? la_enc_byte(e, LA_TAG_GLOBALS)
                            : put_module(e, m);
}

/* ---- fields ------------------------------------------------------------- */

bool la_enc_named_field(la_encoder_t *e, const char *mod, size_t mlen,
                        const char *field, size_t flen) {
  uint8_t *p = la_enc_room(e, mlen + flen + 9);
  if (p == NULL) {
    return false;
  }
  p[0] = LA_TAG_FIELD;
  la_put32(p + 1, (uint32_t)mlen);
  la_put32(p + 5, (uint32_t)flen);
  memcpy(p + 9, mod, mlen);
  memcpy(p + 9 + mlen, field, flen);
  e->len += mlen + flen + 9;
  return true;
}

/* Is package.loaded[mod][field] the function at 'idx'? */
static bool holds(lua_State *L, int idx, const char *mod, const char *field) {
  bool same = false;
  idx = lua_absindex(L, idx);
  const int top = lua_gettop(L);
  if (lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE) == LUA_TTABLE) {
    lua_pushstring(L, mod);
    if (lua_rawget(L, -2) == LUA_TTABLE) {
      lua_pushstring(L, field);
      lua_rawget(L, -2);
      same = lua_rawequal(L, -1, idx);
    }
  }
  lua_settop(L, top);
  return same;
}

/* Look for the function at 'idx' in the fields of module 'm'; of several
 * names the least, so that the order of the walk does not decide. The name
 * stays anchored by the module. */
static const char *find_field(lua_State *L, int idx, const la_modref_t *m,
                              size_t *len) {
  const char *best = NULL;
  const void *ptr = lua_topointer(L, idx);
  const int top = lua_gettop(L);
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_pushlstring(L, m->name, m->len);
  if (lua_rawget(L, -2) != LUA_TTABLE) {
    lua_settop(L, top);
    return NULL;
  }
  lua_pushnil(L);
  while (lua_next(L, -2)) {
    if (lua_type(L, -1) == LUA_TFUNCTION && lua_topointer(L, -1) == ptr &&
        lua_type(L, -2) == LUA_TSTRING) {
      size_t n;
      const char *name = lua_tolstring(L, -2, &n);
      if (best == NULL || strcmp(name, best) < 0) {
        best = name;
        *len = n;
      }
    }
    lua_pop(L, 1);
  }
  lua_settop(L, top);
  return best;
}

/* A light C function has no address of its own in 5.4 to compare (its pointer
 * is the code's), which is what we want: equal code without upvalues is the
 * same function. */
typedef bool (*choose_t)(const la_modref_t *m, bool is_c);

static bool choose_stock(const la_modref_t *m, bool is_c) {
  return is_c && is_stock(m) && !is_globals_name(m);
}

static bool choose_luactor(const la_modref_t *m, bool is_c) {
  (void)is_c;
  return is_luactor(m);
}

static bool choose_other(const la_modref_t *m, bool is_c) {
  (void)is_c;
  return !is_stock(m) && !is_luactor(m);
}

static bool choose_globals(const la_modref_t *m, bool is_c) {
  return is_c && is_globals_name(m);
}

/* Remember under which name a function was found. */
static void note_name(la_cname_t *c, lua_CFunction f, uint64_t place,
                      const char *mod, const char *field) {
  if (strlen(mod) >= sizeof c->mod || strlen(field) >= sizeof c->field) {
    return;
  }
  c->f = f;
  c->place = place;
  strcpy(c->mod, mod);
  strcpy(c->field, field);
}

static bool search(la_encoder_t *e, lua_State *L, int idx, bool is_c,
                   bool in_luactor, la_cname_t *hint, lua_CFunction f,
                   uint64_t place, bool *done) {
  static const choose_t order[] = {choose_stock, choose_luactor,
                                   choose_other, choose_globals};
  for (size_t o = 0; o < sizeof order / sizeof *order; o++) {
    if (order[o] == choose_luactor && !is_c && !in_luactor) {
      continue;
    }
    const la_modref_t *best = NULL;
    const char *field = NULL;
    size_t flen = 0;
    for (uint32_t i = 0; i < e->nmods; i++) {
      const la_modref_t *m = &e->mods[i];
      if (m->is_function || !order[o](m, is_c) ||
          (best != NULL && strcmp(best->name, m->name) <= 0)) {
        continue;
      }
      size_t n;
      const char *found = find_field(L, idx, m, &n);
      if (found != NULL) {
        best = m;
        field = found;
        flen = n;
      }
    }
    if (best != NULL) {
      *done = true;
      note_name(hint, f, place, best->name, field);
      return la_enc_named_field(e, best->name, best->len, field, flen);
    }
  }
  return true;
}

/* Where a Lua function was defined, as one number; never 0. */
static uint64_t place_of(const lua_Debug *ar) {
  uint64_t h = UINT64_C(0xcbf29ce484222325);
  const size_t n = ar->srclen < 80 ? ar->srclen : 80;
  const char *s = ar->source + (ar->srclen - n);
  for (size_t i = 0; i < n; i++) {
    h = (h ^ (uint8_t)s[i]) * UINT64_C(0x100000001b3);
  }
  h ^= (uint64_t)(unsigned)ar->linedefined * UINT64_C(0x9E3779B97F4A7C15);
  h ^= (uint64_t)(unsigned)ar->lastlinedefined << 40;
  return h | 1;
}

static la_cname_t *hint_slot(la_scratch_t *s, uint64_t key) {
  return &s->cnames[(key * UINT64_C(0x9E3779B97F4A7C15) >> 40) % LA_CNAMES];
}

static bool put_hint(la_encoder_t *e, const la_cname_t *c) {
  return la_enc_named_field(e, c->mod, strlen(c->mod), c->field,
                            strlen(c->field));
}

static bool c_field(la_encoder_t *e, lua_State *L, int idx, bool *done) {
  const lua_CFunction f = lua_tocfunction(L, idx);
  la_cname_t *hint = hint_slot(e->scratch, (uint64_t)(uintptr_t)f);
  if (hint->f == f && holds(L, idx, hint->mod, hint->field)) {
    *done = true;
    return put_hint(e, hint);
  }
  if (!list_mods(e, L) || !search(e, L, idx, true, true, hint, f, 0, done)) {
    return false;
  }
  if (*done || !la_lazy_is(L, LUA_REGISTRYINDEX)) {
    return true;
  }
  /* It may be had without touching its field, as 'next' from pairs. */
  la_lazy_settle_all(L);
  e->mods_known = false;
  return list_mods(e, L) && search(e, L, idx, true, true, hint, f, 0, done);
}

/* The record of this state, made when there is none. */
static nofield_t *record_of(la_encoder_t *e, lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &nofield_key);
  nofield_t *r = lua_touserdata(L, -1);
  if (r == NULL) {
    r = lua_newuserdatauv(L, sizeof *r, 0);
    memset(r, 0, sizeof *r);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &nofield_key);
  }
  lua_pop(L, 1);
  if (r->mods_sum != e->mods_sum) {
    memset(r, 0, sizeof *r);
    r->mods_sum = e->mods_sum;
  }
  return r;
}

static bool is_recorded(const nofield_t *r, const lua_Debug *ar) {
  for (size_t i = 0; i < OVERLOOK; i++) {
    if (r->place[i].source == ar->source &&
        r->place[i].line == ar->linedefined) {
      return true;
    }
  }
  return false;
}

bool la_enc_field(la_encoder_t *e, lua_State *L, int idx, bool thorough,
                  bool *done) {
  *done = false;
  if (lua_iscfunction(L, idx)) {
    return c_field(e, L, idx, done);
  }
  lua_Debug ar;
  lua_pushvalue(L, idx);
  lua_getinfo(L, ">S", &ar);
  const uint64_t place = place_of(&ar);
  la_cname_t *hint = hint_slot(e->scratch, place);
  if (hint->place == place && holds(L, idx, hint->mod, hint->field)) {
    *done = true;
    return put_hint(e, hint);
  }
  if (!list_mods(e, L)) {
    return false;
  }
  nofield_t *r = record_of(e, L);
  if (!thorough && is_recorded(r, &ar)) {
    return true;
  }
  const bool in_luactor = thorough || strstr(ar.source, "luactor") != NULL;
  if (!search(e, L, idx, false, in_luactor, hint, NULL, place, done)) {
    return false;
  }
  if (!*done) {
    r->place[r->next].source = ar.source;
    r->place[r->next].line = ar.linedefined;
    r->next = (r->next + 1) % OVERLOOK;
  }
  return true;
}

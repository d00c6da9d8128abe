/* Is Lua's memory laid out as layout.h says?
 *
 * Lua promises nothing about it, and the library is found when the program
 * starts. So each host asks: in a state of its own it makes one of everything,
 * through the API, and compares what stands in memory; then it writes as the
 * codec would, and asks the API what it sees. Any difference, and the host does
 * without: it is slower and nothing else. LUACTOR_DIRECT=0 says so for all.
 *
 * The state allocates from one region, which is cleared before and from which
 * nothing is given back, so any pointer that is followed can first be shown to
 * lead to a place there; the check itself cannot crash on a Lua of another
 * kind.
 *
 * What is relied on beyond sizes, offsets and type bytes:
 *
 * - The array of a table made by lua_createtable(L, n, 0) has just n slots, all
 *   empty; its field for the size says so.
 * - The hash part made for n pairs is the smallest power of two. A copy of all
 *   its nodes, with the pointer to the last free node moved along, is a copy
 *   of the pairs: places of keys depend on keys and size alone, links between
 *   nodes are relative.
 * - A table with an empty hash part has no free node (NULL).
 * - The frame of the function that runs begins with a pointer to the slot of
 *   the function, and its arguments follow.
 * - A new object is not black; the bit for black is set in what has grown old
 *   in generational mode. */
#include "term/layout.h"

#include <lauxlib.h>
#include <string.h>

#include "base/env.h"

enum { REGION = 48 << 10, KEYS = 20 };

typedef struct {
  char *base;
  size_t used;
} region_t;

static void *region_realloc(void *ud, void *ptr, size_t osize,
                            size_t nsize) {
  region_t *r = ud;
  if (nsize == 0 || (ptr != NULL && nsize <= osize)) {
    return nsize == 0 ? NULL : ptr;
  }
  const size_t size = (nsize + 15) & ~(size_t)15;
  if (size > REGION - r->used) {
    return NULL;
  }
  char *p = r->base + r->used;
  r->used += size;
  if (ptr != NULL) {
    memcpy(p, ptr, osize);
  }
  return p;
}

static bool is_inside(const region_t *r, const void *p, size_t size) {
  const uintptr_t at = (uintptr_t)p;
  const uintptr_t base = (uintptr_t)r->base;
  return at % 8 == 0 && at >= base && at - base < REGION &&
         size <= REGION - (at - base);
}

/* The table on top, with room for that much; NULL when it looks otherwise. */
static la_ltable_t *table_on_top(const region_t *r, lua_State *L,
                                 uint32_t narray, uint32_t nnodes) {
  la_ltable_t *t = la_ltable_at(L, -1);
  if (!is_inside(r, t, sizeof *t) || t->tt != LA_V_TABLE - 0x40 ||
      t->metatable != NULL || (t->flags & 0x80) != 0 ||
      t->array_hint != narray) {
    return NULL;
  }
  if (narray != 0 &&
      !is_inside(r, t->array, narray * sizeof t->array[0])) {
    return NULL;
  }
  if (nnodes == 0) {
    return t->log_nodes == 0 && t->last_free == NULL ? t : NULL;
  }
  return t->log_nodes < 16 && la_node_count(t) == nnodes &&
                 is_inside(r, t->node, nnodes * sizeof t->node[0]) &&
                 is_inside(r, t->last_free, 0)
             ? t
             : NULL;
}

static bool is_string(const region_t *r, const void *at, uint8_t tt,
                      const char *s, size_t len) {
  const la_lstring_t *str = at;
  return is_inside(r, str, sizeof *str + len + 1) && str->bytes == s &&
         str->tt == tt - 0x40 && la_lstring_len(str, tt) == len;
}

/* Push a string of 'len' bytes. */
static const char *push_string(lua_State *L, size_t len) {
  char text[100];
  memset(text, 'x', sizeof text);
  return lua_pushlstring(L, text, len);
}

/* One of everything in an array. */
static bool check_reading(const region_t *r, lua_State *L) {
  lua_createtable(L, 9, 0);
  la_ltable_t *t = table_on_top(r, L, 9, 0);
  if (t == NULL || (t->marked != 0x08 && t->marked != 0x10)) {
    return false;
  }
  const la_lslot_t *a = t->array;
  for (int i = 0; i < 9; i++) {
    if (a[i].tt != LA_V_EMPTY) {
      return false;
    }
  }
  const char *shorter = push_string(L, LA_SHORTSTR_MAX);
  lua_rawseti(L, -2, 1);
  const char *longer = push_string(L, LA_SHORTSTR_MAX + 1);
  lua_rawseti(L, -2, 2);
  lua_pushinteger(L, INT64_MIN + 7);
  lua_rawseti(L, -2, 3);
  lua_pushnumber(L, -0.375);
  lua_rawseti(L, -2, 4);
  lua_pushboolean(L, 1);
  lua_rawseti(L, -2, 5);
  lua_pushboolean(L, 0);
  lua_rawseti(L, -2, 6);
  lua_pushlightuserdata(L, t);
  lua_rawseti(L, -2, 7);
  lua_createtable(L, 0, 0);
  const la_ltable_t *inner = table_on_top(r, L, 0, 0);
  lua_rawseti(L, -2, 8);
  return inner != NULL && t->array == a && a[0].tt == LA_V_SHORTSTR &&
         is_string(r, a[0].v.p, a[0].tt, shorter, LA_SHORTSTR_MAX) &&
         a[1].tt == LA_V_LONGSTR &&
         is_string(r, a[1].v.p, a[1].tt, longer, LA_SHORTSTR_MAX + 1) &&
         a[2].tt == LA_V_INT && a[2].v.i == INT64_MIN + 7 &&
         a[3].tt == LA_V_FLOAT && a[3].v.d == -0.375 &&
         a[4].tt == LA_V_TRUE && a[5].tt == LA_V_FALSE &&
         a[6].tt == LA_V_LIGHT && a[6].v.p == t && a[7].tt == LA_V_TABLE &&
         a[7].v.p == inner && la_is_empty(a[8].tt);
}

/* A sequence of 8 slots whose border was looked for: the size is a hint. */
static bool check_hint(const region_t *r, lua_State *L) {
  lua_createtable(L, 8, 0);
  const la_ltable_t *t = table_on_top(r, L, 8, 0);
  for (int i = 1; i <= 7; i++) {
    lua_pushinteger(L, i);
    lua_rawseti(L, -2, i);
  }
  for (lua_Unsigned n = 7; n > 5; n--) {
    if (t == NULL || lua_rawlen(L, -1) != n || la_array_size(t) != 8) {
      return false;
    }
    lua_pushnil(L);
    lua_rawseti(L, -2, (lua_Integer)n);
  }
  return lua_rawlen(L, -1) == 5 && la_array_size(t) == 8;
}

static bool check_metatable(const region_t *r, lua_State *L) {
  lua_createtable(L, 0, 0);
  const la_ltable_t *t = table_on_top(r, L, 0, 0);
  lua_createtable(L, 0, 0);
  const la_ltable_t *m = table_on_top(r, L, 0, 0);
  lua_setmetatable(L, -2);
  return t != NULL && m != NULL && t->metatable == m;
}

/* Values of all kinds that are written in place. */
static bool check_writing(const region_t *r, lua_State *L) {
  lua_createtable(L, 5, 0);
  la_ltable_t *t = table_on_top(r, L, 5, 0);
  if (t == NULL) {
    return false;
  }
  la_lslot_t *a = t->array;
  const char *s = push_string(L, 5);
  a[0].v.i = -77;
  a[0].tt = LA_V_INT;
  a[1].v.d = 1e300;
  a[1].tt = LA_V_FLOAT;
  a[2].tt = LA_V_TRUE;
  a[3].tt = LA_V_FALSE;
  a[4].v.p = (void *)(uintptr_t)lua_topointer(L, -1);
  a[4].tt = LA_V_SHORTSTR;
  lua_pop(L, 1);
  if (!is_inside(r, a[4].v.p, sizeof(la_lstring_t) + 6)) {
    return false;
  }
  lua_gc(L, LUA_GCCOLLECT);
  lua_rawgeti(L, -1, 1);
  lua_rawgeti(L, -2, 2);
  lua_rawgeti(L, -3, 3);
  lua_rawgeti(L, -4, 4);
  lua_rawgeti(L, -5, 5);
  const bool ok = lua_isinteger(L, -5) && lua_tointeger(L, -5) == -77 &&
                  !lua_isinteger(L, -4) && lua_tonumber(L, -4) == 1e300 &&
                  lua_isboolean(L, -3) && lua_toboolean(L, -3) &&
                  lua_isboolean(L, -2) && !lua_toboolean(L, -2) &&
                  lua_type(L, -1) == LUA_TSTRING && lua_tostring(L, -1) == s &&
                  lua_rawlen(L, -6) == 5;
  lua_pop(L, 5);
  return ok;
}

/* Push key number 'i': strings, numbers, a boolean. */
static void push_key(lua_State *L, int i) {
  if (i == 0) {
    lua_pushboolean(L, 1);
  } else if (i == 1) {
    lua_pushinteger(L, 1000);
  } else if (i == 2) {
    lua_pushnumber(L, 0.5);
  } else {
    lua_pushfstring(L, "key%d", i);
  }
}

static bool has_keys(lua_State *L, int from, int to) {
  for (int i = from; i < to; i++) {
    push_key(L, i);
    lua_rawget(L, -2);
    const bool ok = lua_isinteger(L, -1) && lua_tointeger(L, -1) == i;
    lua_pop(L, 1);
    if (!ok) {
      return false;
    }
  }
  return true;
}

static void add_keys(lua_State *L, int from, int to) {
  for (int i = from; i < to; i++) {
    push_key(L, i);
    lua_pushinteger(L, i);
    lua_rawset(L, -3);
  }
}

static uint32_t count_pairs(lua_State *L) {
  uint32_t n = 0;
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
    n++;
  }
  return n;
}

/* Are the type bytes of the keys what the walk over a table expects? */
static bool check_nodes(const region_t *r, const la_ltable_t *t) {
  bool seen[KEYS] = {false};
  uint32_t n = 0;
  for (uint32_t i = 0; i < la_node_count(t); i++) {
    const la_lnode_t *node = &t->node[i];
    if (la_is_empty(node->tt)) {
      continue;
    }
    const int64_t k = node->v.i;
    if (node->tt != LA_V_INT || k < 0 || k >= KEYS || seen[k]) {
      return false;
    }
    seen[k] = true;
    n++;
    const uint8_t tt = node->key_tt;
    const bool ok =
        k == 0   ? tt == LA_V_TRUE
        : k == 1 ? tt == LA_V_INT && node->key.i == 1000
        : k == 2 ? tt == LA_V_FLOAT && node->key.d == 0.5
                 : tt == LA_V_SHORTSTR &&
                       is_inside(r, node->key.p, sizeof(la_lstring_t) + 8);
    if (!ok) {
      return false;
    }
  }
  return n == KEYS;
}

/* A copy of the hash part. */
static bool check_copying(const region_t *r, lua_State *L) {
  lua_createtable(L, 0, KEYS);
  const la_ltable_t *from = table_on_top(r, L, 0, 32);
  add_keys(L, 0, KEYS);
  if (from == NULL || table_on_top(r, L, 0, 32) != from ||
      !check_nodes(r, from)) {
    return false;
  }
  lua_createtable(L, 0, KEYS);
  la_ltable_t *to = table_on_top(r, L, 0, 32);
  if (to == NULL || la_is_black(to)) {
    return false;
  }
  memcpy(to->node, from->node, 32 * sizeof to->node[0]);
  to->last_free = to->node + (from->last_free - from->node);
  if (!has_keys(L, 0, KEYS) || count_pairs(L) != KEYS) {
    return false;
  }
  add_keys(L, KEYS, 2 * KEYS);
  lua_gc(L, LUA_GCCOLLECT);
  const bool ok = has_keys(L, 0, 2 * KEYS) && count_pairs(L) == 2 * KEYS;
  lua_pop(L, 1);
  return ok && has_keys(L, 0, KEYS) && count_pairs(L) == KEYS;
}

static bool check_black(const region_t *r, lua_State *L) {
  lua_gc(L, LUA_GCGEN, 0, 0);
  lua_createtable(L, 0, 0);
  const la_ltable_t *t = table_on_top(r, L, 0, 0);
  if (t == NULL || la_is_black(t)) {
    return false;
  }
  lua_gc(L, LUA_GCCOLLECT);
  lua_gc(L, LUA_GCCOLLECT);
  return la_is_black(t);
}

/* The frame of the C function that runs: its values, one more of each kind. */
static bool check_frame(const region_t *r, lua_State *L) {
  const la_lstate_t *s = (const la_lstate_t *)L;
  if (!is_inside(r, s, sizeof *s) || s->tt != LUA_TTHREAD ||
      !is_inside(r, s->frame, sizeof *s->frame) ||
      !is_inside(r, s->frame->func, 24 * sizeof(la_lslot_t)) ||
      !is_inside(r, s->top, 0)) {
    return false;
  }
  const int n = lua_gettop(L);
  const char *text = push_string(L, 7);
  lua_pushinteger(L, -5);
  lua_pushnumber(L, 2.5);
  lua_pushboolean(L, 0);
  lua_pushlightuserdata(L, L);
  lua_createtable(L, 0, 0);
  lua_newuserdatauv(L, 8, 0);
  lua_pushnil(L);
  const bool ok =
      la_ltop(L) == n + 8 && la_lslot_at(L, n + 1)->tt == LA_V_SHORTSTR &&
      is_string(r, la_lslot_at(L, n + 1)->v.p, LA_V_SHORTSTR, text, 7) &&
      la_lslot_at(L, n + 2)->tt == LA_V_INT &&
      la_lslot_at(L, n + 2)->v.i == -5 &&
      la_lslot_at(L, n + 3)->tt == LA_V_FLOAT &&
      la_lslot_at(L, n + 3)->v.d == 2.5 &&
      la_lslot_at(L, n + 4)->tt == LA_V_FALSE &&
      la_lslot_at(L, n + 5)->tt == LA_V_LIGHT &&
      la_lslot_at(L, n + 5)->v.p == L &&
      la_lslot_at(L, n + 6)->tt == LA_V_TABLE &&
      la_lslot_at(L, n + 6)->v.p == lua_topointer(L, n + 6) &&
      la_lslot_at(L, n + 7)->tt == LA_V_USERDATA &&
      la_is_empty(la_lslot_at(L, n + 8)->tt);
  lua_settop(L, n);
  return ok && la_ltop(L) == n;
}

/* Called with 'region' and some values; returns whether all is as it should. */
static int inner_frame(lua_State *L) {
  const region_t *r = lua_touserdata(L, 1);
  lua_pushboolean(L, la_ltop(L) == 3 && la_lslot_at(L, 2)->tt == LA_V_INT &&
                         la_lslot_at(L, 2)->v.i == 42 && check_frame(r, L));
  return 1;
}

static bool check_stack(const region_t *r, lua_State *L) {
  if (!check_frame(r, L)) {
    return false;
  }
  lua_pushcfunction(L, inner_frame);
  lua_pushlightuserdata(L, (void *)(uintptr_t)r);
  lua_pushinteger(L, 42);
  lua_pushnil(L);
  lua_call(L, 3, 1);
  const bool ok = lua_toboolean(L, -1);
  lua_pop(L, 1);
  lua_State *co = lua_newthread(L);
  lua_pushcfunction(co, inner_frame);
  lua_pushlightuserdata(co, (void *)(uintptr_t)r);
  lua_pushinteger(co, 42);
  lua_pushnil(co);
  lua_call(co, 3, 1);
  const bool co_ok = lua_toboolean(co, -1);
  lua_pop(L, 1);
  return ok && co_ok && check_frame(r, L);
}

static bool check_all(const region_t *r, lua_State *L) {
  return check_stack(r, L) && check_reading(r, L) && check_hint(r, L) &&
         check_metatable(r, L) &&
         check_writing(r, L) && check_copying(r, L) && check_black(r, L);
}

typedef struct {
  const region_t *region;
  bool ok;
} check_t;

static int run(lua_State *L) {
  check_t *c = lua_touserdata(L, 1);
  luaL_checkstack(L, 40, NULL);
  c->ok = check_all(c->region, L);
  return 0;
}

bool la_layout_check(void) {
  region_t r = {la_alloc(REGION), 0};
  if (r.base == NULL) {
    return false;
  }
  memset(r.base, 0, REGION);
  check_t c = {&r, false};
  lua_State *L = lua_newstate(region_realloc, &r);
  if (L != NULL) {
    lua_pushcfunction(L, run);
    lua_pushlightuserdata(L, &c);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
      c.ok = false;
    }
  }
  la_free(r.base); /* the state owns nothing else */
  return c.ok;
}

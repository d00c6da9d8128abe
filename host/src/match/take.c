/* The second stage: captures as Lua values, LPeg patterns, guards, handlers.
 *
 * An LPeg pattern sees the message only here. When one does not match, the
 * first stage runs again with that pattern known to fail, for another
 * alternative of a choice may still match; every round settles one pattern. */
#include <assert.h>
#include <lauxlib.h>

#include "match/program.h"

bool la_matcher_needs_lua(const la_matcher_t *m, int c) {
  const la_clause_t *k = la_matcher_clause(m, c);
  return k->lpeg != 0 || k->uv_guard != 0;
}

static int push_message(lua_State *L, const la_term_t *t) {
  if (!la_decode(L, t, LA_TERM_LOCAL)) {
    lua_error(L);
  }
  return 1;
}

/* Match the subject at 'idx' with the LPeg pattern of a slot. Pushes its
 * captures and returns their number, or -1. */
static int run_lpeg(lua_State *L, int ud, const la_clause_t *k, uint32_t slot,
                    int idx) {
  const int top = lua_gettop(L);
  const uint64_t before = k->lpeg & ((UINT64_C(1) << slot) - 1);
  luaL_checkstack(L, 8, NULL);
  lua_getiuservalue(L, ud, k->uv_lpeg + __builtin_popcountll(before));
  luaL_getmetafield(L, -1, "__index");
  lua_getfield(L, -1, "match");
  lua_replace(L, -2);
  lua_rotate(L, -2, 1);
  lua_pushvalue(L, idx);
  lua_call(L, 2, LUA_MULTRET);
  if (lua_isnil(L, top + 1)) {
    lua_settop(L, top);
    return -1;
  }
  lua_pop(L, 1); /* the mark of the end, see push_anchored */
  return lua_gettop(L) - top;
}

/* The values of the slots stand from 'first' on, those of unbound LPeg slots
 * left out. Push what the clause captures; -1 and the slot when an LPeg pattern
 * does not match. */
static int expand(lua_State *L, int ud, const la_clause_t *k,
                  const la_cap_t *cap, int first, uint32_t *failed) {
  int n = 0;
  int at = first;
  for (uint32_t s = 0; s < k->nslots; s++) {
    if (cap[s].at == LA_UNSET) {
      continue;
    }
    if ((k->lpeg >> s & 1) == 0) {
      luaL_checkstack(L, 4, NULL);
      lua_pushvalue(L, at++);
      n++;
      continue;
    }
    const int got = run_lpeg(L, ud, k, s, at++);
    if (got < 0) {
      *failed = s;
      return -1;
    }
    n += got;
  }
  return n;
}

/* Decode the bound slots; returns how many. */
static uint32_t decode(lua_State *L, const la_term_t *t, uint32_t nslots,
                       const la_cap_t *cap) {
  la_cap_t span[LA_MATCH_MAX_CAPS];
  uint32_t n = 0;
  for (uint32_t s = 0; s < nslots; s++) {
    if (cap[s].at != LA_UNSET) {
      span[n++] = cap[s];
    }
  }
  if (!la_decode_spans(L, t, span, n)) {
    lua_error(L);
  }
  return n;
}

static int push_with_lpeg(lua_State *L, int ud, const la_matcher_t *m, int c,
                          const la_term_t *t, const la_caps_t *caps) {
  const la_clause_t *k = la_matcher_clause(m, c);
  la_caps_t own = *caps;
  la_run_t r = {.t = t, .cap = own.cap};
  const int top = lua_gettop(L);
  for (;;) {
    decode(L, t, k->nslots, own.cap);
    uint32_t failed;
    const int n = expand(L, ud, k, own.cap, top + 1, &failed);
    if (n > 0) {
      /* Move the results down over the slots' values. */
      lua_rotate(L, top + 1, n);
      lua_settop(L, top + n);
      return n;
    }
    lua_settop(L, top);
    if (n == 0) {
      return push_message(L, t);
    }
    r.lpeg_failed |= UINT64_C(1) << failed;
    if (!la_run_clause(&r, m, c)) {
      return -1;
    }
  }
}

/* The usual captures: a few plain values, for which every C function's stack
 * has room. */
#define FEW 8

static bool push_few(lua_State *L, const la_term_t *t, const la_caps_t *caps) {
  for (uint32_t i = 0; i < caps->n; i++) {
    const la_cap_t *cap = &caps->cap[i];
    if (cap->is_rest || la_decode_scalar(L, t->bytes + cap->at) == NULL) {
      lua_settop(L, -(int)i - 1);
      return false;
    }
  }
  return true;
}

int la_matcher_push(lua_State *L, int ud, const la_matcher_t *m, int c,
                    const la_msgview_t *msg, const la_caps_t *caps) {
  const la_clause_t *k = la_matcher_clause(m, c);
  assert(caps->n == k->nslots);
  if (k->nslots == 0) {
    return push_message(L, &msg->term);
  }
  if (k->lpeg != 0) {
    return push_with_lpeg(L, lua_absindex(L, ud), m, c, &msg->term, caps);
  }
  if (caps->n <= FEW && push_few(L, &msg->term, caps)) {
    return (int)caps->n;
  }
  if (!la_decode_spans(L, &msg->term, caps->cap, caps->n)) {
    lua_error(L);
  }
  return (int)caps->n;
}

static bool push_user_value(lua_State *L, int ud, unsigned uv) {
  if (uv == 0) {
    return false;
  }
  lua_getiuservalue(L, ud, (int)uv);
  return true;
}

bool la_matcher_push_guard(lua_State *L, int ud, const la_matcher_t *m,
                           int c) {
  return push_user_value(L, ud, la_matcher_clause(m, c)->uv_guard);
}

bool la_matcher_push_handler(lua_State *L, int ud, const la_matcher_t *m,
                             int c) {
  return push_user_value(
      L, ud, c < 0 ? m->uv_after : la_matcher_clause(m, c)->uv_handler);
}

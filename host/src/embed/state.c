/* luactor.h: values to Lua and back. */
#include "embed/state.h"

#include <string.h>

#include "sched/sched.h"

/* Coroutines of one state have one registry. */
la_proc_t *la_process_here(lua_State *L) {
  const la_thread_t *t = la_thread_self();
  la_exec_t *x = t != NULL ? t->exec : NULL;
  if (L == NULL || x == NULL || x->L == NULL ||
      lua_topointer(L, LUA_REGISTRYINDEX) !=
          lua_topointer(x->L, LUA_REGISTRYINDEX)) {
    return NULL;
  }
  return (la_proc_t *)x;
}

/* A term of its own, since la_decode begins at the beginning. */
static int push_part(lua_State *L, const la_whole_t *w, const uint8_t *at) {
  const la_term_t *t = &w->term;
  if (!la_decode_at(L, t, (size_t)(at - t->bytes))) {
    lua_error(L);
  }
  return 0;
}

int luactor_push_view(lua_State *L, luactor_view view) {
  const la_proc_t *p = la_process_here(L);
  const uint8_t *at;
  if (p == NULL) {
    return LUACTOR_ECALLER;
  }
  const la_whole_t *w = la_view_whole(view, &at);
  if (w == NULL && view.whole == NULL) {
    return LUACTOR_EINVAL;
  }
  if (w == NULL) {
    lua_pushinteger(L, view.number);
    return 0;
  }
  return w->home == 0 || w->home == p->host->nonce ? push_part(L, w, at)
                                                   : LUACTOR_ETYPE;
}

int luactor_push_value(lua_State *L, const luactor_value *value) {
  return luactor_push_view(L, luactor_view_of(value));
}

/* The text of the failure is on top. */
static int refused(lua_State *L) {
  if (strcmp(lua_tostring(L, -1), "not enough memory") == 0) {
    lua_pop(L, 1);
    return LUACTOR_ENOMEM;
  }
  return LUACTOR_ETYPE;
}

static bool is_valid(lua_State *L, int idx) {
  const int top = lua_gettop(L);
  return (idx > 0 && idx <= top) || (idx < 0 && idx >= -top);
}

int luactor_to_value(lua_State *L, int idx, luactor_value **out) {
  const la_proc_t *p = la_process_here(L);
  if (p == NULL) {
    return LUACTOR_ECALLER;
  }
  if (out == NULL || !is_valid(L, idx)) {
    return LUACTOR_EINVAL;
  }
  la_encoder_t *e = la_encoder_begin(la_host_scratch(), LA_TERM_LOCAL);
  if (e == NULL) {
    return LUACTOR_ENOMEM;
  }
  if (!la_encode(e, L, lua_absindex(L, idx), "value")) {
    la_encoder_end(e);
    return refused(L);
  }
  la_term_t t;
  la_encoder_term(e, &t);
  luactor_value *v = la_value_new(&t, p->host->nonce);
  la_encoder_end(e);
  if (v == NULL) {
    return LUACTOR_ENOMEM;
  }
  *out = v;
  return 0;
}

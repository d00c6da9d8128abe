/* Hostile bytes for actor.unpack, and for everything that reads terms in
 * place once they were accepted: skip, print, compare, match. */
#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

#include "match/match.h"
#include "term/layout.h"
#include "term/term.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MEMORY_MAX ((size_t)64 << 20)

static la_scratch_t *scratch;
static lua_State *L;
static size_t used;

static void *limited(void *ud, void *ptr, size_t osize, size_t nsize) {
  (void)ud;
  if (ptr == NULL) {
    osize = 0;
  }
  if (nsize == 0) {
    used -= osize;
    free(ptr);
    return NULL;
  }
  if (used - osize + nsize > MEMORY_MAX && nsize > osize) {
    return NULL;
  }
  void *p = realloc(ptr, nsize);
  if (p != NULL) {
    used += nsize - osize;
  }
  return p;
}

static const char patterns[] =
    "local a, V = ...\n"
    "return { a.receiver(a.on({ V.x, V.x }, print),\n"
    "  a.on({ V.h, V.r '...' }, '#r > 1 or h == r', print),\n"
    "  a.on({ k = V.v, x = V.v }, print),\n"
    "  a.on(a.exact { V.x:of({}), V._ }, print),\n"
    "  a.on({ a.oneof('a', true, 1.5), V.x 'table' }, '#x > 0', print),\n"
    "  a.on(V.x, 'x < 5 and x + 1 > 2 and x ~= 3', print),\n"
    "  a.on(V._, print)) }\n";

static int receiver(lua_State *S) {
  la_matcher_make(S, 1, lua_gettop(S));
  luaL_setmetatable(S, LA_RECEIVER_MT);
  return 1;
}

static void check(bool ok) {
  if (!ok) {
    abort();
  }
}

static void open_state(void) {
  scratch = la_scratch_new();
  L = lua_newstate(limited, NULL);
  luaL_openlibs(L);
  la_ident_open(L);
  la_codec_open(L, la_layout_check());
  check(luaL_loadstring(L, patterns) == LUA_OK);
  lua_newtable(L);
  la_match_open(L);
  lua_pushcfunction(L, receiver);
  lua_setfield(L, -2, "receiver");
  lua_getfield(L, -1, "var");
  check(lua_pcall(L, 2, 1, 0) == LUA_OK);
  lua_rawgeti(L, -1, 1);
  lua_replace(L, 1);
  lua_settop(L, 1); /* the receiver stays at 1 */
}

/* The bytes were accepted: read them in place. */
static void read_in_place(const la_term_t *t) {
  char out[300];
  check(la_term_skip(t->bytes, t->bytes + t->size) == t->bytes + t->size);
  check(la_term_print(t, out, sizeof out) <= sizeof out);
  la_term_print(t, out, 5);
  static char json[LA_PRINT_SLACK + 256];
  const la_print_t how = {true, 8, la_print_secrets};
  check(la_term_print_as(t, &how, json, sizeof json) < sizeof json);
  la_term_equal(t, 0, t, 0);
  la_term_is_text(t, "kill");
  const la_msgview_t v = {*t, la_term_tag(t->bytes, t->size)};
  const la_matcher_t *m = lua_touserdata(L, 1);
  la_caps_t caps;
  for (int c = -1;;) {
    c = la_matcher_try(m, &v, LA_NO_ID, c + 1, &caps);
    if (c < 0) {
      break;
    }
    const int top = lua_gettop(L);
    const int n = la_matcher_push(L, 1, m, c, &v, &caps);
    check(n >= 0 && lua_gettop(L) == top + n);
    lua_settop(L, top);
  }
}

/* What was decoded must survive another round. */
static void round_trip(void) {
  la_encoder_t *e = la_encoder_begin(scratch, LA_TERM_PACKED);
  la_term_t t;
  if (!la_encode(e, L, -1, "value")) {
    check(strstr(lua_tostring(L, -1), "memory") != NULL);
    la_encoder_end(e);
    return;
  }
  la_encoder_term(e, &t);
  check(la_decode(L, &t, LA_TERM_PACKED));
  la_encoder_end(e);
}

static int one(lua_State *S) {
  const la_term_t *t = lua_touserdata(S, 2);
  if (!la_decode(S, t, LA_TERM_PACKED)) {
    check(lua_type(S, -1) == LUA_TSTRING);
    return 0;
  }
  round_trip();
  const la_term_t inner = {t->bytes + 1, t->size - 1, NULL, 0};
  read_in_place(&inner);
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (L == NULL) {
    open_state();
  }
  la_term_skip(data, data + size);
  /* A copy of the exact size, so that reads past the end are seen. */
  uint8_t *own = malloc(size + 1);
  own[0] = 131;
  memcpy(own + 1, data, size);
  la_term_t t = {own, size + 1, NULL, 0};
  lua_pushcfunction(L, one);
  lua_pushvalue(L, 1);
  lua_pushlightuserdata(L, &t);
  if (lua_pcall(L, 2, 0, 0) != LUA_OK) {
    const char *e = lua_tostring(L, -1);
    check(strstr(e, "memory") != NULL || strstr(e, "overflow") != NULL);
  }
  lua_settop(L, 1);
  la_scratch_reset(scratch);
  free(own);
  return 0;
}

/* What test-term.c and test-match.c share: a plain Lua state with functions
 * that send a value to itself, and a runner for pieces of Lua. */
#ifndef LA_TEST_CODEC_H
#define LA_TEST_CODEC_H

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "term/term.h"

static la_scratch_t *scratch;
static bool direct; /* states read and write tables in Lua's memory */

static la_encoder_t *encode_or_raise(lua_State *L, int idx,
                                     la_term_mode_t mode) {
  la_encoder_t *e = la_encoder_begin(scratch, mode);
  if (e == NULL) {
    luaL_error(L, "not enough memory");
  }
  if (!la_encode(e, L, idx, mode == LA_TERM_LOCAL ? "message" : "value")) {
    la_encoder_end(e);
    lua_error(L);
  }
  return e;
}

/* copy(v): what a receiver gets that is the sender itself */
static int l_copy(lua_State *L) {
  la_encoder_t *e = encode_or_raise(L, 1, LA_TERM_LOCAL);
  la_term_t t;
  la_encoder_term(e, &t);
  const bool ok = la_decode(L, &t, LA_TERM_LOCAL);
  la_encoder_end(e);
  return ok ? 1 : lua_error(L);
}

static int l_pack(lua_State *L) {
  la_encoder_t *e = encode_or_raise(L, 1, LA_TERM_PACKED);
  la_term_t t;
  la_encoder_term(e, &t);
  lua_pushlstring(L, (const char *)t.bytes, t.size);
  la_encoder_end(e);
  return 1;
}

static int l_unpack(lua_State *L) {
  size_t n;
  const char *s = luaL_checklstring(L, 1, &n);
  /* In a block of its own: a read past the end is then noticed. */
  uint8_t *own = malloc(n != 0 ? n : 1);
  memcpy(own, s, n);
  const la_term_t t = {own, n, NULL, 0};
  const bool ok = la_decode(L, &t, LA_TERM_PACKED);
  free(own);
  return ok ? 1 : lua_error(L);
}

/* bytes(v): the local form in hexadecimal */
static int l_bytes(lua_State *L) {
  la_encoder_t *e = encode_or_raise(L, 1, LA_TERM_LOCAL);
  la_term_t t;
  luaL_Buffer b;
  la_encoder_term(e, &t);
  luaL_buffinit(L, &b);
  for (size_t i = 0; i < t.size; i++) {
    char hex[4];
    snprintf(hex, sizeof hex, "%02x", t.bytes[i]);
    luaL_addstring(&b, hex);
  }
  luaL_pushresult(&b);
  la_encoder_end(e);
  return 1;
}

/* show(v [, max]): as a report prints it */
static int l_show(lua_State *L) {
  char out[600];
  const size_t max = (size_t)luaL_optinteger(L, 2, sizeof out);
  la_encoder_t *e = encode_or_raise(L, 1, LA_TERM_LOCAL);
  la_term_t t;
  la_encoder_term(e, &t);
  lua_pushlstring(L, out, la_term_print(&t, out, max));
  la_encoder_end(e);
  return 1;
}

/* fails(f, v, text): f(v) raises exactly text */
static const char prelude[] =
    "function fails(f, v, want)\n"
    "  local ok, e = pcall(f, v)\n"
    "  if ok or e ~= want then\n"
    "    error(('got %q, want %q'):format(tostring(e), want), 2)\n"
    "  end\n"
    "end\n"
    "function eq(a, b)\n"
    "  if math.type(a) ~= math.type(b) then return false end\n"
    "  if type(a) ~= 'table' or type(b) ~= 'table' then\n"
    "    return a == b\n"
    "  end\n"
    "  for k, v in pairs(a) do\n"
    "    if not eq(v, b[k]) then return false end\n"
    "  end\n"
    "  for k in pairs(b) do\n"
    "    if a[k] == nil then return false end\n"
    "  end\n"
    "  return true\n"
    "end\n";

static void run(lua_State *L, const char *code) {
  if (luaL_dostring(L, code) != LUA_OK) {
    fail_msg("%s", lua_tostring(L, -1));
  }
}

static void open_common(lua_State *L) {
  luaL_openlibs(L);
  la_ident_open(L);
  la_codec_open(L, direct);
  lua_register(L, "copy", l_copy);
  lua_register(L, "pack", l_pack);
  lua_register(L, "unpack", l_unpack);
  lua_register(L, "bytes", l_bytes);
  lua_register(L, "show", l_show);
  la_push_id(L, la_id_make(LA_ID_PID, 0, 12));
  lua_setglobal(L, "pid");
  la_push_id(L, la_id_counted(LA_ID_REF, 7));
  lua_setglobal(L, "ref");
  lua_pushlightuserdata(L, NULL);
  lua_setglobal(L, "null");
  run(L, prelude);
}

/* An allocator for Lua that fails from the end of its countdown on: Lua asks
 * again after collecting garbage. */
static inline void *failing_alloc(void *ud, void *ptr, size_t osize,
                                  size_t nsize) {
  long *countdown = ud;
  if (nsize == 0) {
    free(ptr);
    return NULL;
  }
  if (*countdown >= 0 && (ptr == NULL || nsize > osize)) {
    if (*countdown == 0) {
      return NULL;
    }
    --*countdown;
  }
  return realloc(ptr, nsize);
}

#endif

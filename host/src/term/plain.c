/* See plain.h. */
#include "term/plain.h"

#include <math.h>

#define HEAD 5 /* bytes of a list before its elements */
#define WIDEST 9 /* bytes of any plain value but a string */

static inline uint8_t *put_wide(uint8_t *out, uint8_t tag, uint64_t bits) {
  *out = tag;
  la_put64(out + 1, bits);
  return out + 9;
}

static inline uint8_t *put_int(uint8_t *out, lua_Integer n) {
  if (n >= 0 && n <= 255) {
    out[0] = LA_TAG_SMALL_INT;
    out[1] = (uint8_t)n;
    return out + 2;
  }
  if (n >= INT32_MIN && n <= INT32_MAX) {
    *out = LA_TAG_INT;
    la_put32(out + 1, (uint32_t)n);
    return out + 5;
  }
  return put_wide(out, LA_TAG_INT64, (uint64_t)n);
}

static inline uint8_t *put_float(uint8_t *out, lua_Number d) {
  uint64_t bits;
  memcpy(&bits, &d, sizeof bits);
  return put_wide(out, isfinite(d) ? LA_TAG_NEW_FLOAT : LA_TAG_RAW_FLOAT, bits);
}

static inline uint8_t *put_text(lua_State *L, int idx, uint8_t *out,
                                const uint8_t *end) {
  size_t len;
  const char *s = lua_tolstring(L, idx, &len);
  if (len + 5 > (size_t)(end - out)) {
    return NULL;
  }
  *out = LA_TAG_BINARY;
  la_put32(out + 1, (uint32_t)len);
  la_copy_text(out + 5, s, len);
  return out + 5 + len;
}

static inline uint8_t *put_scalar(lua_State *L, int idx, uint8_t *out,
                           const uint8_t *end) {
  const int type = lua_type(L, idx);
  if (type == LUA_TSTRING) {
    return put_text(L, idx, out, end);
  }
  if (end - out < WIDEST) {
    return NULL;
  }
  switch (type) {
    case LUA_TNUMBER:
      return lua_isinteger(L, idx)
                 ? put_int(out, lua_tointegerx(L, idx, NULL))
                 : put_float(out, lua_tonumberx(L, idx, NULL));
    case LUA_TLIGHTUSERDATA: {
      const la_id_t id = (la_id_t)(uintptr_t)lua_touserdata(L, idx);
      return la_id_kind(id) != LA_ID_NONE ? put_wide(out, LA_TAG_ID, id)
                                          : NULL;
    }
    case LUA_TBOOLEAN:
      *out = lua_toboolean(L, idx) ? LA_TAG_TRUE : LA_TAG_FALSE;
      return out + 1;
    default:
      return NULL;
  }
}

/* Elements 1..n in the order of lua_next, and nothing else. */
static uint8_t *put_table(lua_State *L, int idx, uint8_t *out,
                          const uint8_t *end) {
  uint8_t *const head = out;
  uint32_t n = 0;
  if (end - out < HEAD + 1) {
    return NULL;
  }
  if (lua_getmetatable(L, idx)) {
    lua_pop(L, 1);
    return NULL;
  }
  out += HEAD;
  end--; /* the end of the list */
  lua_pushnil(L);
  while (lua_next(L, idx)) {
    out = lua_isinteger(L, -2) && lua_tointeger(L, -2) == n + 1
              ? put_scalar(L, -1, out, end)
              : NULL;
    if (out == NULL) {
      lua_pop(L, 2);
      return NULL;
    }
    lua_pop(L, 1);
    n++;
  }
  if (n == 0) {
    *head = LA_TAG_EMPTY;
    return head + 1;
  }
  *head = LA_TAG_LIST;
  la_put32(head + 1, n);
  *out = LA_TAG_EMPTY;
  return out + 1;
}

uint8_t *la_plain_put(lua_State *L, int idx, uint8_t *out,
                      const uint8_t *end) {
  return lua_type(L, idx) == LUA_TTABLE ? put_table(L, idx, out, end)
                                        : put_scalar(L, idx, out, end);
}

uint8_t *la_plain_put_list(lua_State *L, int first, int last, uint8_t *out,
                           const uint8_t *end) {
  if (last < first) {
    *out = LA_TAG_EMPTY;
    return out + 1;
  }
  bool has_table = false;
  *out = LA_TAG_LIST;
  la_put32(out + 1, (uint32_t)(last - first + 1));
  out += HEAD;
  end--; /* the end of the list */
  for (int i = first; i <= last; i++) {
    uint8_t *next = put_scalar(L, i, out, end);
    if (next == NULL && !has_table && lua_type(L, i) == LUA_TTABLE) {
      has_table = true;
      next = put_table(L, i, out, end);
    }
    if (next == NULL) {
      return NULL;
    }
    out = next;
  }
  *out = LA_TAG_EMPTY;
  return out + 1;
}

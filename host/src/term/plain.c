/* See plain.h. */
#include "term/plain.h"

#include <math.h>

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

static inline uint8_t *put(lua_State *L, int idx, uint8_t *out,
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

uint8_t *la_plain_put(lua_State *L, int idx, uint8_t *out,
                      const uint8_t *end) {
  return put(L, idx, out, end);
}

uint8_t *la_plain_put_list(lua_State *L, int first, int last, uint8_t *out,
                           const uint8_t *end) {
  if (last < first) {
    *out = LA_TAG_EMPTY;
    return out + 1;
  }
  *out = LA_TAG_LIST;
  la_put32(out + 1, (uint32_t)(last - first + 1));
  out += 5;
  end--; /* the end of the list */
  for (int i = first; i <= last; i++) {
    out = put(L, i, out, end);
    if (out == NULL) {
      return NULL;
    }
  }
  *out = LA_TAG_EMPTY;
  return out + 1;
}

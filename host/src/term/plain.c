/* See plain.h. */
#include "term/plain.h"

#include <math.h>

#include "term/layout.h"

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

static inline uint8_t *put_bytes(const char *s, size_t len, uint8_t *out,
                                 const uint8_t *end) {
  if (len + 5 > (size_t)(end - out)) {
    return NULL;
  }
  *out = LA_TAG_BINARY;
  la_put32(out + 1, (uint32_t)len);
  la_copy_text(out + 5, s, len);
  return out + 5 + len;
}

/* The list of 'n' elements, behind 'head', ends at 'out'. */
static inline uint8_t *end_list(uint8_t *head, uint32_t n, uint8_t *out) {
  if (n == 0) {
    *head = LA_TAG_EMPTY;
    return head + 1;
  }
  *head = LA_TAG_LIST;
  la_put32(head + 1, n);
  *out = LA_TAG_EMPTY;
  return out + 1;
}

/* ---- through the API ------------------------------------------------------- */

static inline uint8_t *put_text(lua_State *L, int idx, uint8_t *out,
                                const uint8_t *end) {
  size_t len;
  const char *s = lua_tolstring(L, idx, &len);
  return put_bytes(s, len, out, end);
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
  return end_list(head, n, out);
}

/* ---- in Lua's memory ------------------------------------------------------- */

/* Small, and called for each argument of each message. */
__attribute__((always_inline)) static inline uint8_t *
put_slot(const la_lslot_t *s, uint8_t *out, const uint8_t *end) {
  if (s->tt == LA_V_SHORTSTR) {
    const la_lstring_t *str = s->v.p;
    return put_bytes(str->bytes, str->short_len, out, end);
  }
  if (end - out < WIDEST) {
    return NULL;
  }
  switch (s->tt) {
    case LA_V_INT:
      return put_int(out, s->v.i);
    case LA_V_LONGSTR: {
      const la_lstring_t *str = s->v.p;
      return put_bytes(str->bytes, str->long_len, out, end);
    }
    case LA_V_FLOAT:
      return put_float(out, s->v.d);
    case LA_V_LIGHT: {
      const la_id_t id = (la_id_t)(uintptr_t)s->v.p;
      return la_id_kind(id) != LA_ID_NONE ? put_wide(out, LA_TAG_ID, id)
                                          : NULL;
    }
    case LA_V_TRUE: case LA_V_FALSE:
      *out = s->tt == LA_V_TRUE ? LA_TAG_TRUE : LA_TAG_FALSE;
      return out + 1;
    default:
      return NULL;
  }
}

/* All of it in the array, and nothing behind the sequence. */
static uint8_t *put_ltable(const la_ltable_t *t, uint8_t *out,
                           const uint8_t *end) {
  uint8_t *const head = out;
  if (t->metatable != NULL || !la_has_no_pairs(t) || end - out < HEAD + 1) {
    return NULL;
  }
  const uint32_t size = la_array_size(t);
  uint32_t n = 0;
  out += HEAD;
  end--; /* the end of the list */
  for (; n < size && !la_is_empty(t->array[n].tt); n++) {
    out = put_slot(&t->array[n], out, end);
    if (out == NULL) {
      return NULL;
    }
  }
  for (uint32_t i = n; i < size; i++) {
    if (!la_is_empty(t->array[i].tt)) {
      return NULL;
    }
  }
  return end_list(head, n, out);
}

/* ---- any --------------------------------------------------------------------- */

uint8_t *la_plain_put(lua_State *L, int idx, uint8_t *out, const uint8_t *end,
                      bool direct) {
  if (direct) {
    const la_lslot_t *s = la_lslot_at(L, idx);
    return s->tt == LA_V_TABLE ? put_ltable(s->v.p, out, end)
                               : put_slot(s, out, end);
  }
  return lua_type(L, idx) == LUA_TTABLE ? put_table(L, idx, out, end)
                                        : put_scalar(L, idx, out, end);
}

/* The elements of a list with at most one table among them. */
static uint8_t *put_slots(const la_lslot_t *s, const la_lslot_t *stop,
                          uint8_t *out, const uint8_t *end) {
  bool has_table = false;
  for (; s < stop; s++) {
    if (s->tt != LA_V_TABLE) {
      out = put_slot(s, out, end);
    } else if (!has_table) {
      has_table = true;
      out = put_ltable(s->v.p, out, end);
    } else {
      return NULL;
    }
    if (out == NULL) {
      return NULL;
    }
  }
  return out;
}

static uint8_t *put_values(lua_State *L, int first, int last, uint8_t *out,
                           const uint8_t *end) {
  bool has_table = false;
  for (int i = first; i <= last; i++) {
    if (lua_type(L, i) != LUA_TTABLE) {
      out = put_scalar(L, i, out, end);
    } else if (!has_table) {
      has_table = true;
      out = put_table(L, i, out, end);
    } else {
      return NULL;
    }
    if (out == NULL) {
      return NULL;
    }
  }
  return out;
}

uint8_t *la_plain_put_list(lua_State *L, int first, int last, uint8_t *out,
                           const uint8_t *end, bool direct) {
  uint8_t *const head = out;
  out += HEAD;
  end--; /* the end of the list */
  out = direct ? put_slots(la_lslot_at(L, first), la_lslot_at(L, last + 1),
                           out, end)
               : put_values(L, first, last, out, end);
  return out == NULL ? NULL
                     : end_list(head, (uint32_t)(last - first + 1), out);
}

/* See flat.h. */
#include "term/flat.h"

#include <math.h>

static uint32_t add_int(la_flat_item_t *it, lua_Integer n) {
  it->bits = (uint64_t)n;
  if (n >= 0 && n <= 255) {
    it->tag = LA_TAG_SMALL_INT;
    return 2;
  }
  if (n >= INT32_MIN && n <= INT32_MAX) {
    it->tag = LA_TAG_INT;
    return 5;
  }
  it->tag = LA_TAG_INT64;
  return 9;
}

static uint32_t add_float(la_flat_item_t *it, lua_Number d) {
  memcpy(&it->bits, &d, sizeof d);
  it->tag = isfinite(d) ? LA_TAG_NEW_FLOAT : LA_TAG_RAW_FLOAT;
  return 9;
}

bool la_flat_add(la_flat_t *f, lua_State *L, int idx) {
  if (f->n == LA_FLAT_MAX) {
    return false;
  }
  la_flat_item_t *it = &f->item[f->n];
  switch (lua_type(L, idx)) {
    case LUA_TSTRING: {
      size_t len;
      it->s = lua_tolstring(L, idx, &len);
      if (len > LA_FLAT_TEXT) {
        return false;
      }
      it->tag = LA_TAG_BINARY;
      it->len = (uint32_t)len;
      f->size += (uint32_t)len + 5;
      break;
    }
    case LUA_TNUMBER:
      f->size += lua_isinteger(L, idx)
                     ? add_int(it, lua_tointegerx(L, idx, NULL))
                     : add_float(it, lua_tonumberx(L, idx, NULL));
      break;
    case LUA_TLIGHTUSERDATA:
      it->bits = (uint64_t)(uintptr_t)lua_touserdata(L, idx);
      if (la_id_kind(it->bits) == LA_ID_NONE) {
        return false;
      }
      it->tag = LA_TAG_ID;
      f->size += 9;
      break;
    case LUA_TBOOLEAN:
      it->tag = lua_toboolean(L, idx) ? LA_TAG_TRUE : LA_TAG_FALSE;
      f->size += 1;
      break;
    default:
      return false;
  }
  f->n++;
  return true;
}

uint8_t *la_flat_write_item(const la_flat_item_t *it, uint8_t *out) {
  *out = it->tag;
  switch (it->tag) {
    case LA_TAG_BINARY:
      la_put32(out + 1, it->len);
      la_copy_text(out + 5, it->s, it->len);
      return out + 5 + it->len;
    case LA_TAG_SMALL_INT:
      out[1] = (uint8_t)it->bits;
      return out + 2;
    case LA_TAG_INT:
      la_put32(out + 1, (uint32_t)it->bits);
      return out + 5;
    case LA_TAG_TRUE:
    case LA_TAG_FALSE:
      return out + 1;
    default:
      la_put64(out + 1, it->bits);
      return out + 9;
  }
}

void la_flat_write_list(const la_flat_t *f, uint8_t *out) {
  if (f->n != 0) {
    *out = LA_TAG_LIST;
    la_put32(out + 1, f->n);
    out += 5;
    for (uint32_t i = 0; i < f->n; i++) {
      out = la_flat_write_item(&f->item[i], out);
    }
  }
  *out = LA_TAG_EMPTY;
}

uint32_t la_flat_tag(const la_flat_t *f) {
  if (f->n == 0) {
    return 0;
  }
  const la_flat_item_t *it = &f->item[0];
  switch (it->tag) {
    case LA_TAG_BINARY:
      return la_tag_of_text((const uint8_t *)it->s, it->len);
    case LA_TAG_TRUE:
    case LA_TAG_FALSE:
      return la_tag_of_bool(it->tag == LA_TAG_TRUE);
    case LA_TAG_ID:
      return la_tag_of_id(it->bits);
    default:
      return 0;
  }
}

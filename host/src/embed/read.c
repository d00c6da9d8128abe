/* luactor.h: reading values in place. */
#include <math.h>
#include <string.h>

#include "embed/value.h"
#include "term/tag.h"

const la_whole_t *la_view_whole(luactor_view view, const uint8_t **at) {
  if (view.whole == NULL || view.part == NULL) {
    return NULL;
  }
  *at = la_deref(view.part);
  return view.whole;
}

/* The key of an element is in no term. */
static bool is_number_itself(luactor_view view) {
  return view.whole != NULL && view.part == NULL;
}

static bool look(luactor_view view, la_view_t *v) {
  const uint8_t *at;
  const la_whole_t *w = la_view_whole(view, &at);
  if (w != NULL) {
    la_view(&w->term, at, v);
    return true;
  }
  if (is_number_itself(view)) {
    *v = (la_view_t){.kind = LA_K_INT, .tag = LA_TAG_INT64, .i = view.number};
    return true;
  }
  return false;
}

static int type_of_id(la_id_t id) {
  switch (la_id_kind(id)) {
    case LA_ID_PID:
      return LUACTOR_TYPE_PID;
    case LA_ID_REF:
      return LUACTOR_TYPE_REF;
    case LA_ID_ALIAS:
    case LA_ID_MBOX:
    case LA_ID_POOL:
      return LUACTOR_TYPE_ADDRESS;
    default:
      return LUACTOR_TYPE_OTHER;
  }
}

static bool is_tuple(const la_view_t *v) {
  return v->tag == LA_TAG_TUPLE || v->tag == LA_TAG_BIG_TUPLE;
}

int luactor_type(luactor_view view) {
  la_view_t v;
  if (!look(view, &v)) {
    return LUACTOR_TYPE_NONE;
  }
  switch (v.kind) {
    case LA_K_NIL:
      return LUACTOR_TYPE_NIL;
    case LA_K_BOOL:
      return LUACTOR_TYPE_BOOLEAN;
    case LA_K_INT:
      return LUACTOR_TYPE_INTEGER;
    case LA_K_FLOAT:
      return LUACTOR_TYPE_NUMBER;
    case LA_K_TEXT:
      return v.is_atom ? LUACTOR_TYPE_ATOM : LUACTOR_TYPE_STRING;
    case LA_K_ID:
      return type_of_id(v.id);
    case LA_K_TABLE:
      return is_tuple(&v) ? LUACTOR_TYPE_TUPLE : LUACTOR_TYPE_TABLE;
    case LA_K_FUNC:
      return LUACTOR_TYPE_FUNCTION;
    case LA_K_NAMED_TABLE: case LA_K_RAW: case LA_K_OTHER:
      break;
  }
  return LUACTOR_TYPE_OTHER;
}

/* ---- scalars ------------------------------------------------------------------- */

int luactor_get_boolean(luactor_view view, int *out) {
  la_view_t v;
  if (!look(view, &v)) {
    return LUACTOR_EINVAL;
  }
  if (v.kind != LA_K_BOOL) {
    return LUACTOR_ETYPE;
  }
  if (out != NULL) {
    *out = (int)v.i;
  }
  return 0;
}

static bool is_integral(double d) {
  return d >= -0x1p63 && d < 0x1p63 && d == floor(d);
}

int luactor_get_integer(luactor_view view, int64_t *out) {
  la_view_t v;
  if (!look(view, &v)) {
    return LUACTOR_EINVAL;
  }
  if (v.kind != LA_K_INT && !(v.kind == LA_K_FLOAT && is_integral(v.d))) {
    return LUACTOR_ETYPE;
  }
  if (out != NULL) {
    *out = v.kind == LA_K_INT ? v.i : (int64_t)v.d;
  }
  return 0;
}

int luactor_get_number(luactor_view view, double *out) {
  la_view_t v;
  if (!look(view, &v)) {
    return LUACTOR_EINVAL;
  }
  if (v.kind != LA_K_INT && v.kind != LA_K_FLOAT) {
    return LUACTOR_ETYPE;
  }
  if (out != NULL) {
    *out = v.kind == LA_K_INT ? (double)v.i : v.d;
  }
  return 0;
}

int luactor_get_string(luactor_view view, const char **bytes, size_t *len) {
  la_view_t v;
  if (!look(view, &v)) {
    return LUACTOR_EINVAL;
  }
  if (v.kind != LA_K_TEXT) {
    return LUACTOR_ETYPE;
  }
  if (bytes != NULL) {
    *bytes = (const char *)v.at;
  }
  if (len != NULL) {
    *len = v.len;
  }
  return 0;
}

int luactor_is_text(luactor_view view, const char *text) {
  const char *bytes;
  size_t len;
  return text != NULL && luactor_get_string(view, &bytes, &len) == 0 &&
         len == strlen(text) && memcmp(bytes, text, len) == 0;
}

int luactor_get_pid(luactor_view view, luactor_pid *out) {
  la_view_t v;
  if (!look(view, &v)) {
    return LUACTOR_EINVAL;
  }
  if (v.kind != LA_K_ID || !la_id_has_slot(v.id)) {
    return LUACTOR_ETYPE;
  }
  if (out != NULL) {
    *out = v.id;
  }
  return 0;
}

int luactor_get_ref(luactor_view view, uint64_t *out) {
  la_view_t v;
  if (!look(view, &v)) {
    return LUACTOR_EINVAL;
  }
  if (v.kind != LA_K_ID || la_id_kind(v.id) != LA_ID_REF) {
    return LUACTOR_ETYPE;
  }
  if (out != NULL) {
    *out = v.id;
  }
  return 0;
}

/* ---- tables --------------------------------------------------------------------- */

static int look_table(luactor_view view, la_view_t *v) {
  return !look(view, v)           ? LUACTOR_EINVAL
         : v->kind != LA_K_TABLE ? LUACTOR_ETYPE
                                 : 0;
}

static luactor_view part(luactor_view of, const uint8_t *at) {
  return (luactor_view){of.whole, at, 0};
}

int luactor_get_length(luactor_view view, size_t *out) {
  la_view_t v;
  const int code = look_table(view, &v);
  if (code == 0 && out != NULL) {
    *out = v.nseq;
  }
  return code;
}

int luactor_get_index(luactor_view view, size_t i, luactor_view *out) {
  la_view_t v;
  const int code = look_table(view, &v);
  if (code != 0) {
    return code;
  }
  if (i == 0 || i > v.nseq) {
    return LUACTOR_ENOENT;
  }
  const uint8_t *p = v.at;
  while (--i > 0) {
    p = la_skip(p);
  }
  if (out != NULL) {
    *out = part(view, p);
  }
  return 0;
}

/* The pair whose key is the scalar 'want'. */
static int find_pair(luactor_view view, const la_view_t *table,
                     const la_view_t *want, luactor_view *out) {
  const la_term_t *t = &((const la_whole_t *)view.whole)->term;
  uint32_t n;
  const uint8_t *p = la_view_pairs(t, table, &n);
  for (; n > 0; n--) {
    const uint8_t *value = la_skip(p);
    la_view_t key;
    la_view(t, p, &key);
    if (key.kind < LA_K_TABLE && la_view_equal(t, &key, t, want)) {
      if (out != NULL) {
        *out = part(view, value);
      }
      return 0;
    }
    p = la_skip(value);
  }
  return LUACTOR_ENOENT;
}

int luactor_get_field(luactor_view view, const char *key, luactor_view *out) {
  la_view_t v;
  const int code = key != NULL ? look_table(view, &v) : LUACTOR_EINVAL;
  if (code != 0) {
    return code;
  }
  const la_view_t want = {.kind = LA_K_TEXT,
                          .tag = LA_TAG_BINARY,
                          .at = (const uint8_t *)key,
                          .len = strlen(key)};
  return find_pair(view, &v, &want, out);
}

int luactor_get_key(luactor_view view, luactor_view key, luactor_view *out) {
  la_view_t v, want;
  const int code = look_table(view, &v);
  int64_t i;
  if (code != 0) {
    return code;
  }
  if (!look(key, &want)) {
    return LUACTOR_EINVAL;
  }
  if (want.kind == LA_K_TABLE || want.kind >= LA_K_FUNC) {
    return LUACTOR_ENOENT; /* they equal nothing that came another way */
  }
  if (luactor_get_integer(key, &i) == 0 && i >= 1 && i <= v.nseq) {
    return luactor_get_index(view, (size_t)i, out);
  }
  return find_pair(view, &v, &want, out);
}

int luactor_iterate(luactor_view view, luactor_iter *iter) {
  la_view_t v;
  const int code = iter != NULL ? look_table(view, &v) : LUACTOR_EINVAL;
  if (code == 0) {
    uint32_t n;
    const uint8_t *pairs = la_view_pairs(NULL, &v, &n);
    *iter = (luactor_iter){view, v.nseq > 0 ? v.at : pairs, 0, v.nseq, n};
  }
  return code;
}

/* Where the pairs begin: behind the sequence, and the head of its map. */
static const uint8_t *first_pair(const luactor_iter *iter) {
  la_view_t v;
  uint32_t n;
  return look_table(iter->table, &v) == 0
             ? la_view_pairs(NULL, &v, &n)
             : NULL;
}

static void give(luactor_view *out, luactor_view v) {
  if (out != NULL) {
    *out = v;
  }
}

int luactor_next(luactor_iter *iter, luactor_view *key, luactor_view *value) {
  if (iter == NULL || iter->table.whole == NULL) {
    return LUACTOR_EINVAL;
  }
  const uint8_t *p = iter->at;
  if (iter->index < iter->nseq) {
    iter->index++;
    give(key, (luactor_view){iter->table.whole, NULL, iter->index});
    give(value, part(iter->table, p));
    iter->at = iter->index == iter->nseq && iter->npairs > 0 ? first_pair(iter)
                                                             : la_skip(p);
    return 1;
  }
  if (iter->npairs == 0) {
    return 0;
  }
  iter->npairs--;
  const uint8_t *v = la_skip(p);
  give(key, part(iter->table, p));
  give(value, part(iter->table, v));
  iter->at = la_skip(v);
  return 1;
}

/* ---- text --------------------------------------------------------------------------- */

size_t luactor_print(luactor_view view, char *out, size_t size) {
  const uint8_t *at;
  uint8_t number[9];
  la_term_t t = {0};
  if (out == NULL || size == 0) {
    return 0;
  }
  const la_whole_t *of = la_view_whole(view, &at);
  if (of != NULL) {
    t = of->term;
    t.size -= (size_t)(at - of->term.bytes);
    t.bytes = at;
  } else if (is_number_itself(view)) {
    number[0] = LA_TAG_INT64;
    la_put64(number + 1, (uint64_t)view.number);
    t.bytes = number;
    t.size = sizeof number;
  } else {
    *out = '\0';
    return 0;
  }
  const size_t n = la_term_print(&t, out, size - 1);
  out[n] = '\0';
  return n;
}

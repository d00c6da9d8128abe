/* Plain tables read in place (term/layout.h).
 *
 * Most messages are trees of tables, of strings, numbers, booleans and
 * identities. Those are written by walking over Lua's memory; what comes out is
 * byte for byte what encode.c would write. Whatever is not of that kind ends
 * the walk, and the value is written from the start through the API: a
 * function, a metatable that matters, a sequence that goes on in the hash part,
 * a limit or a failure (whose message needs a path). So there is one place that
 * knows how to do the rare things, and this one has no failures of its own.
 *
 * The state is asked for its registry and table of globals only, so nothing can
 * move or be collected meanwhile. */
#include <assert.h>

#include "term/encoder.h"
#include "term/layout.h"

/* So many scalars of an array are written after one look at the capacity. */
#define CHUNK 64

static bool put_table(la_encoder_t *e, lua_State *L, const la_ltable_t *t);

/* Write a short string at 'p', where there is room for 8 bytes more than it
 * takes; returns what is behind it. */
static inline uint8_t *short_at(uint8_t *p, const la_lstring_t *s) {
  const size_t len = s->short_len;
  const char *from = s->bytes;
  uint64_t w = LA_TAG_BINARY | (uint64_t)len << 32; /* tag and 32 bits */
  memcpy(p, &w, 8);
  p += 5;
  if (len < 8) {
    /* The last 8 bytes up to the end begin before the string, in its head. */
    memcpy(&w, from + len - 8, 8);
    w = w >> 8 >> (56 - 8 * len);
    memcpy(p, &w, 8);
    return p + len;
  }
  /* Blocks of eight from both ends meet or overlap. */
  for (size_t i = 0; i < len - 8; i += 8) {
    memcpy(p + i, from + i, 8);
  }
  memcpy(p + len - 8, from + len - 8, 8);
  return p + len;
}

#define SHORT_ROOM (5 + LA_SHORTSTR_MAX + 8)

static bool put_value(la_encoder_t *e, lua_State *L, uint8_t tt,
                      la_lval_t v) {
  switch (tt) {
    case LA_V_SHORTSTR: {
      uint8_t *p = la_enc_room(e, SHORT_ROOM);
      if (p == NULL) {
        return false;
      }
      e->len = (size_t)(short_at(p, v.p) - e->buf);
      return true;
    }
    case LA_V_LONGSTR: {
      const la_lstring_t *s = v.p;
      return la_encode_str(e, s->bytes, s->long_len);
    }
    case LA_V_INT:
      return la_encode_int(e, v.i);
    case LA_V_FLOAT:
      return la_enc_float(e, v.d);
    case LA_V_TRUE: case LA_V_FALSE:
      return la_enc_boolean(e, tt == LA_V_TRUE);
    case LA_V_LIGHT: {
      const la_id_t id = (la_id_t)(uintptr_t)v.p;
      return la_id_kind(id) != LA_ID_NONE && la_encode_id(e, id);
    }
    case LA_V_TABLE:
      return put_table(e, L, v.p);
    default:
      return false;
  }
}

/* Elements from 'a' on, up to 'n' or the first that is empty; returns how many
 * were written, or -1. */
static int64_t put_sequence(la_encoder_t *e, lua_State *L,
                            const la_lslot_t *a, uint32_t n) {
  if (n == 0) {
    return 0; /* there may be no array */
  }
  const bool local = e->mode == LA_TERM_LOCAL;
  const la_lslot_t *end = a + n;
  const la_lslot_t *s = a;
  for (; s < end; s++) {
    if (s->tt == LA_V_INT) {
      uint8_t *p = la_enc_room(e, CHUNK * LA_INT_ROOM);
      if (p == NULL) {
        return -1;
      }
      const la_lslot_t *stop = end - s < CHUNK ? end : s + CHUNK;
      do {
        const int64_t v = s++->v.i;
        if (v >= 256 && v <= INT32_MAX) { /* one comparison */
          p[0] = LA_TAG_INT;
          la_put32(p + 1, (uint32_t)v);
          p += 5;
        } else {
          p = la_enc_int_at(p, v, local);
        }
      } while (s < stop && s->tt == LA_V_INT);
      e->len = (size_t)(p - e->buf);
      if (s == end) {
        break;
      }
    }
    if (la_is_empty(s->tt)) {
      break;
    }
    if (!(s->tt == LA_V_TABLE ? put_table(e, L, s->v.p)
                              : put_value(e, L, s->tt, s->v))) {
      return -1;
    }
  }
  return s - a;
}

static bool put_pair(la_encoder_t *e, lua_State *L, uint8_t key_tt,
                     la_lval_t key, uint8_t tt, la_lval_t v) {
  return put_value(e, L, key_tt, key) && put_value(e, L, tt, v);
}

/* Pairs from 'node' on, as long as keys are short strings and values integers;
 * adds their number to *count. NULL: memory. */
static const la_lnode_t *put_usual(la_encoder_t *e, const la_lnode_t *node,
                                   const la_lnode_t *end, int64_t *count) {
  const bool local = e->mode == LA_TERM_LOCAL;
  uint8_t *p = e->buf + e->len;
  const uint8_t *full = e->buf + e->cap;
  int64_t n = 0;
  for (; node < end; node++) {
    if (node->tt != LA_V_INT || node->key_tt != LA_V_SHORTSTR) {
      if (la_is_empty(node->tt)) {
        continue;
      }
      break;
    }
    if (full - p < SHORT_ROOM + LA_INT_ROOM) {
      e->len = (size_t)(p - e->buf);
      p = la_enc_room(e, SHORT_ROOM + LA_INT_ROOM);
      if (p == NULL) {
        return NULL;
      }
      full = e->buf + e->cap;
    }
    p = la_enc_int_at(short_at(p, node->key.p), node->v.i, local);
    n++;
  }
  e->len = (size_t)(p - e->buf);
  *count += n;
  return node;
}

/* What is left of a table behind the sequence of 'n' elements; returns the
 * number of pairs, or -1. */
static int64_t put_pairs(la_encoder_t *e, lua_State *L, const la_ltable_t *t,
                         uint32_t n) {
  const uint32_t size = la_array_size(t);
  int64_t count = 0;
  for (uint32_t i = n; i < size; i++) {
    if (!la_is_empty(t->array[i].tt)) {
      const la_lval_t key = {.i = (int64_t)i + 1};
      if (!put_pair(e, L, LA_V_INT, key, t->array[i].tt, t->array[i].v)) {
        return -1;
      }
      count++;
    }
  }
  if (t->last_free == NULL) {
    return count;
  }
  const la_lnode_t *end = t->node + la_node_count(t);
  for (const la_lnode_t *node = t->node;; node++) {
    node = put_usual(e, node, end, &count);
    if (node == NULL) {
      return -1;
    }
    if (node == end) {
      return count;
    }
    if (node->key_tt == LA_V_INT && node->key.i == (int64_t)n + 1) {
      return -1; /* the sequence goes on here */
    }
    if (!put_pair(e, L, node->key_tt, node->key, node->tt, node->v)) {
      return -1;
    }
    count++;
  }
}

static inline bool has_pairs(const la_ltable_t *t, uint32_t n) {
  const uint32_t size = la_array_size(t);
  for (uint32_t i = n; i < size; i++) {
    if (!la_is_empty(t->array[i].tt)) {
      return true;
    }
  }
  if (t->last_free != NULL) {
    const la_lnode_t *end = t->node + la_node_count(t);
    for (const la_lnode_t *node = t->node; node < end; node++) {
      if (!la_is_empty(node->tt)) {
        return true;
      }
    }
  }
  return false;
}

/* The table, of which 'n' elements are written, has more than those: write
 * the rest. */
static bool put_rest(la_encoder_t *e, lua_State *L, const la_ltable_t *t,
                     size_t at, uint32_t n) {
  if (la_enc_is_globals(e, L, t)) {
    return false;
  }
  size_t map_at = at;
  if (n == 0) {
    e->buf[at] = LA_TAG_MAP;
  } else {
    e->buf[at] = e->buf[at] == LA_TAG_LIST_S ? LA_TAG_MIXED_S : LA_TAG_MIXED;
    la_put32(e->buf + at + 1, n);
    map_at = e->len;
    if (!la_enc_head(e, LA_TAG_MAP, 0)) {
      return false;
    }
  }
  const int64_t count = put_pairs(e, L, t, n);
  if (count < 0) {
    return false;
  }
  la_put32(e->buf + map_at + 1, (uint32_t)count);
  return true;
}

static bool put_content(la_encoder_t *e, lua_State *L, const la_ltable_t *t) {
  const size_t at = e->len;
  uint8_t *p = la_enc_room(e, 5);
  if (p == NULL) {
    return false;
  }
  *p = LA_TAG_LIST;
  e->len += 5;
  const int64_t n = put_sequence(e, L, t->array, la_array_size(t));
  if (n < 0) {
    return false;
  }
  if (has_pairs(t, (uint32_t)n)) {
    return put_rest(e, L, t, at, (uint32_t)n);
  }
  if (n == 0) {
    e->buf[at] = LA_TAG_EMPTY;
    e->len = at + 1;
    return true;
  }
  la_put32(e->buf + at + 1, (uint32_t)n);
  return la_enc_byte(e, LA_TAG_EMPTY);
}

/* Does the metatable say nothing about how its tables travel? What does is
 * the field __transfer, or under an address that only we know (carry.c,
 * foreign.c). Tables that are yet to be filled have the registry's metatable
 * (mem/lazy.h). Objects of one class mostly come together. */
static bool is_plain_meta(la_encoder_t *e, lua_State *L,
                          const la_ltable_t *m) {
  static const char transfer[] = "__transfer";
  if (m == e->plain_meta) {
    return true;
  }
  if (m == la_ltable_at(L, LUA_REGISTRYINDEX)->metatable) {
    return false;
  }
  const uint32_t n = m->last_free != NULL ? la_node_count(m) : 0;
  for (uint32_t i = 0; i < n; i++) {
    const la_lnode_t *node = &m->node[i];
    if (la_is_empty(node->tt)) {
      continue;
    }
    if (node->key_tt == LA_V_LIGHT) {
      return false;
    }
    const la_lstring_t *key = node->key.p;
    if (node->key_tt == LA_V_SHORTSTR &&
        key->short_len == sizeof transfer - 1 &&
        memcmp(key->bytes, transfer, sizeof transfer - 1) == 0) {
      return false;
    }
  }
  e->plain_meta = m;
  return true;
}

static bool put_table(la_encoder_t *e, lua_State *L, const la_ltable_t *t) {
  uint32_t h = 0;
  const la_seen_t *seen = la_enc_look(e, t, &h);
  if (seen != NULL) {
    return la_enc_ref(e, seen);
  }
  if ((t->metatable != NULL && !is_plain_meta(e, L, t->metatable)) ||
      e->depth >= LA_TERM_MAX_DEPTH || !la_enc_add_at(e, t, e->len, h)) {
    return false;
  }
  e->depth++;
  const bool ok = put_content(e, L, t);
  e->depth--;
  return ok;
}

bool la_enc_direct(la_encoder_t *e, lua_State *L, const la_ltable_t *t) {
  const size_t len = e->len;
  const uint32_t nseen = e->nseen;
  const uint32_t nblobs = e->nblobs;
  assert(e->depth == 0);
  e->plain_meta = NULL;
  if (put_table(e, L, t)) {
    return true;
  }
  e->len = len;
  e->depth = 0;
  e->fail = LA_FAIL_NONE;
  la_enc_forget(e, nseen);
  la_enc_drop_blobs(e, nblobs);
  return false;
}

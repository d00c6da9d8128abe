/* Bytes to Lua values.
 *
 * Hostile bytes (actor.unpack) are first checked from end to end: every length,
 * count and tag, keys, depth. The check holds one counter per level and
 * allocates nothing; each part of a term takes at least a byte, so a count that
 * survives is no larger than the bytes justify. After it, and for the terms of
 * this host, building trusts the bytes; only a REF can still lead nowhere.
 *
 * Where Lua's tables can be looked at directly (term/layout.h), numbers and
 * booleans are written into the slots of a new table, and maps with known keys
 * are copies of a shape (term/shape.h). Building a part may run Lua code (a
 * module's receive function, finalizers), which may reach the table by a back
 * reference and change its size: after each such part the slots are looked up
 * again.
 *
 * Shared tables are remembered in a Lua table from offset to table ("memo"),
 * which is made when the first is met. Decoding captures has one more case: a
 * REF that leads out of the captures. The table out there may hold the captured
 * ones without their being marked as shared. Then the whole message is built,
 * remembering every table of it, and the captures are taken from that. */
#include <lauxlib.h>
#include <math.h>
#include <stdio.h>

#include "mem/lazy.h"
#include "term/foreign.h"
#include "term/layout.h"
#include "term/shape.h"
#include "term/tag.h"
#include "term/wire.h"

typedef struct {
  lua_State *L;
  const la_term_t *t;
  la_codec_t *codec; /* asked for once; NULL: tables are filled by the API */
  bool has_codec;
  bool has_anchors;
  int memo;       /* stack slot: nil until there is something to remember; in
                   * the next one are the shapes' anchors, when needed */
  bool has_memo;
  bool remember_all;
  bool packed;    /* maps of Erlang have no marks yet */
  bool captures;  /* a REF may lead to what was not built */
  bool outside;   /* it did: build the whole message instead */
  const la_ready_t *ready; /* the function to come needs no loading */
  const char *error;
} dec_t;

#define SLOTS_MIN 4 /* elements from which the slots are worth looking up */

static const uint8_t *value(dec_t *d, const uint8_t *p);

/* ---- check -------------------------------------------------------------- */

typedef struct {
  uint64_t left; /* parts still to come */
  uint8_t tag;
} level_t;

typedef struct {
  const uint8_t *base, *end;
  int depth;
  level_t level[LA_TERM_MAX_DEPTH + 1];
  const char *error;
  bool no_ids; /* identities are refused */
} check_t;

static bool is_text(const uint8_t *p, const char *s) {
  const size_t n = strlen(s);
  return (*p == LA_TAG_SMALL_ATOM && p[1] == n && memcmp(p + 2, s, n) == 0) ||
         (*p == LA_TAG_ATOM && la_get16(p + 1) == n &&
          memcmp(p + 3, s, n) == 0);
}

static inline bool is_text_nil(const uint8_t *p) {
  return (*p == LA_TAG_SMALL_ATOM || *p == LA_TAG_ATOM) && is_text(p, "nil");
}

static const char *check_big(const uint8_t *p) {
  if (p[2] > 1) {
    return "bad sign of an integer";
  }
  for (unsigned i = 8; i < p[1]; i++) {
    if (p[3 + i] != 0) {
      return "integer beyond 64 bits";
    }
  }
  if (p[1] >= 8 && p[3 + 7] >= 0x80) {
    static const uint8_t least[8] = {0, 0, 0, 0, 0, 0, 0, 0x80};
    if (p[2] == 0 || memcmp(p + 3, least, 8) != 0) {
      return "integer beyond 64 bits";
    }
  }
  return NULL;
}

/* Is the head at 'p' allowed in packed bytes? */
static const char *check_head(const check_t *c, const uint8_t *p) {
  switch (*p) {
    case LA_TAG_NEW_FLOAT:
      return isfinite(la_get_double(p + 1)) ? NULL : "float is not finite";
    case LA_TAG_RAW_FLOAT:
      return isfinite(la_get_double(p + 1)) ? "float is finite" : NULL;
    case LA_TAG_SMALL_BIG:
      return check_big(p);
    case LA_TAG_PID: case LA_TAG_REFERENCE:
      return c->no_ids ? "identity in a sandbox" : NULL;
    case LA_TAG_ID:
      if (c->no_ids) { /* whoever writes bytes could make up any */
        return "identity in a sandbox";
      }
      switch (la_id_kind(la_get64(p + 1))) {
        case LA_ID_NONE: case LA_ID_PROXY:
          return "bad identity";
        default:
          return NULL;
      }
    case LA_TAG_REF: {
      const uint32_t distance = la_get32(p + 1);
      return distance == 0 || distance > (size_t)(p - c->base)
                 ? "reference to nothing"
                 : NULL;
    }
    default:
      return *p > LA_TAG_RAW_FLOAT ? "unknown tag" : NULL;
  }
}

/* The part at 'p' in its place: end of a list, key of a map. */
static const char *check_place(const level_t *l, const uint8_t *p) {
  switch (l->tag) {
    case LA_TAG_MIXED: case LA_TAG_MIXED_S:
      return l->left == 1 && *p != LA_TAG_MAP ? "bad end of a table" : NULL;
    case LA_TAG_LIST_S: /* what has another end is not shared */
      return l->left == 1 && *p != LA_TAG_EMPTY ? "bad end of a table" : NULL;
    case LA_TAG_MAP: case LA_TAG_MAP_S:
      if (l->left % 2 != 0) {
        return NULL;
      }
      if (is_text(p, "nil")) {
        return "nil as a key";
      }
      return *p == LA_TAG_RAW_FLOAT && isnan(la_get_double(p + 1))
                 ? "NaN as a key"
                 : NULL;
    default:
      return NULL;
  }
}

/* A table without parts is a level of its own; the end of a list is none. */
static bool is_level(const level_t *l, const uint8_t *p) {
  switch (*p) {
    case LA_TAG_EMPTY:
      return !(l->left == 1 &&
               (l->tag == LA_TAG_LIST || l->tag == LA_TAG_LIST_S));
    case LA_TAG_EMPTY_S: case LA_TAG_TUPLE: case LA_TAG_BIG_TUPLE:
    case LA_TAG_MAP: case LA_TAG_MAP_S: case LA_TAG_BYTE_LIST:
      return true;
    default:
      return false;
  }
}

static bool check_fail(check_t *c, const char *error) {
  c->error = error;
  return false;
}

/* One term with all its parts. Leaves *at behind it, or where it is bad. */
static bool check_term(check_t *c, const uint8_t **at) {
  c->depth = 0;
  c->level[0] = (level_t){1, 0};
  while (c->depth >= 0) {
    level_t *l = &c->level[c->depth];
    if (l->left == 0) {
      c->depth--;
      continue;
    }
    const uint8_t *p = *at;
    uint64_t parts;
    const uint8_t *next = la_head(p, c->end, &parts);
    if (next == NULL) {
      return check_fail(c, p == c->end ? "bytes end too early"
                                       : "bad term");
    }
    const char *error = check_head(c, p);
    if (error == NULL) {
      error = check_place(l, p);
    }
    if (error == NULL && parts > (uint64_t)(c->end - next)) {
      error = "more elements than bytes";
    }
    if (error == NULL && parts == 0 && c->depth == LA_TERM_MAX_DEPTH &&
        is_level(l, p)) {
      error = "nested deeper than 200 levels";
    }
    if (error != NULL) {
      return check_fail(c, error);
    }
    l->left--;
    *at = next;
    if (parts != 0) {
      /* The MAP at the end of a MIXED is no level of its own. */
      const bool same = (l->tag == LA_TAG_MIXED || l->tag == LA_TAG_MIXED_S) &&
                        l->left == 0;
      if (!same && ++c->depth > LA_TERM_MAX_DEPTH) {
        return check_fail(c, "nested deeper than 200 levels");
      }
      c->level[c->depth] = (level_t){parts, *p};
    }
  }
  return true;
}

/* Check packed bytes; on failure pushes the message. */
static bool check(lua_State *L, const la_term_t *t) {
  check_t c;
  c.base = t->bytes;
  c.end = t->bytes + t->size;
  c.error = NULL;
  c.no_ids = la_lazy_is_shut(L);
  if (t->size == 0 || *t->bytes != LA_TERM_VERSION) {
    lua_pushliteral(L, "bad bytes: not made by pack");
    return false;
  }
  if (t->size > LA_TERM_MAX_BYTES) {
    lua_pushliteral(L, "bad bytes: larger than 1 GiB");
    return false;
  }
  const uint8_t *p = t->bytes + 1;
  if (check_term(&c, &p) && p != c.end) {
    c.error = "bytes behind the end";
  }
  if (c.error != NULL) {
    lua_pushfstring(L, "bad bytes: %s at %d", c.error,
                    (int)(p - t->bytes) + 1);
    return false;
  }
  return true;
}

/* ---- shared tables ------------------------------------------------------ */

/* The value on top is what stands at 'p'. */
static void remember(dec_t *d, const uint8_t *p) {
  if (!d->has_memo) {
    lua_newtable(d->L);
    lua_replace(d->L, d->memo);
    d->has_memo = true;
  }
  lua_pushvalue(d->L, -1);
  lua_rawseti(d->L, d->memo, p - d->t->bytes);
}

static inline void made(dec_t *d, const uint8_t *p, bool shared) {
  if (shared || d->remember_all) {
    remember(d, p);
  }
}

/* Push what was built for the term at 'p', if it was. */
static bool recall(dec_t *d, const uint8_t *p) {
  if (!d->has_memo) {
    return false;
  }
  if (lua_rawgeti(d->L, d->memo, p - d->t->bytes) != LUA_TNIL) {
    return true;
  }
  lua_pop(d->L, 1);
  return false;
}

static const uint8_t *fail(dec_t *d, const char *error) {
  d->error = error;
  return NULL;
}

static const uint8_t *reference(dec_t *d, const uint8_t *p) {
  if (recall(d, p - la_get32(p + 1))) {
    return p + 5;
  }
  d->outside = d->captures;
  return fail(d, "reference to nothing");
}

/* ---- tables ------------------------------------------------------------- */

static la_codec_t *codec_of(dec_t *d) {
  if (!d->has_codec) {
    d->codec = la_codec_of(d->L);
    d->has_codec = true;
  }
  return d->codec;
}

/* Read a number, boolean or identity into the slot; NULL: it is something
 * else. */
static inline const uint8_t *plain(const uint8_t *p, la_lval_t *v,
                                   uint8_t *tt) {
  switch (*p) {
    case LA_TAG_SMALL_INT:
      v->i = p[1];
      *tt = LA_V_INT;
      return p + 2;
    case LA_TAG_INT:
      v->i = (int32_t)la_get32(p + 1);
      *tt = LA_V_INT;
      return p + 5;
    case LA_TAG_INT64:
      v->i = (int64_t)la_get64(p + 1);
      *tt = LA_V_INT;
      return p + 9;
    case LA_TAG_NEW_FLOAT: case LA_TAG_RAW_FLOAT:
      v->d = la_get_double(p + 1);
      *tt = LA_V_FLOAT;
      return p + 9;
    case LA_TAG_ID:
      v->p = (void *)(uintptr_t)la_get64(p + 1);
      *tt = LA_V_LIGHT;
      return p + 9;
    case LA_TAG_TRUE:
      *tt = LA_V_TRUE;
      return p + 1;
    case LA_TAG_FALSE:
      *tt = LA_V_FALSE;
      return p + 1;
    default:
      return NULL;
  }
}

static const uint8_t *elements(dec_t *d, const uint8_t *p, uint32_t from,
                               uint32_t n) {
  for (uint32_t i = from; i < n; i++) {
    p = value(d, p);
    if (p == NULL) {
      return NULL;
    }
    lua_rawseti(d->L, -2, (lua_Integer)i + 1);
  }
  return p;
}

/* Numbers, booleans and identities from element *at on into the slots. */
static inline const uint8_t *plain_run(const uint8_t *p, la_lslot_t *a,
                                       uint32_t *at, uint32_t n) {
  uint32_t i = *at;
  while (i < n) {
    for (; i < n && *p == LA_TAG_SMALL_INT; i++, p += 2) {
      a[i].v.i = p[1];
      a[i].tt = LA_V_INT;
    }
    for (; i < n && *p == LA_TAG_INT; i++, p += 5) {
      a[i].v.i = (int32_t)la_get32(p + 1);
      a[i].tt = LA_V_INT;
    }
    for (; i < n && *p == LA_TAG_NEW_FLOAT; i++, p += 9) {
      a[i].v.d = la_get_double(p + 1);
      a[i].tt = LA_V_FLOAT;
    }
    if (i == n) {
      break;
    }
    const uint8_t *next = plain(p, &a[i].v, &a[i].tt);
    if (next == NULL) {
      break;
    }
    p = next;
    i++;
  }
  *at = i;
  return p;
}

static const uint8_t *slots(dec_t *d, const uint8_t *p, uint32_t i,
                            uint32_t n);

/* The tail that is no end: { items..., tail = x }. */
static const uint8_t *improper(dec_t *d, const uint8_t *p) {
  la_foreign_mark(d->L, LA_FOREIGN_CONS);
  lua_pushliteral(d->L, "tail");
  p = value(d, p);
  if (p != NULL) {
    lua_rawset(d->L, -3);
  }
  return p;
}

/* A list as element 'i' + 1 of the table on top, 't'. It is put there while it
 * is empty, and need not be on the stack as long as its elements are plain. */
static const uint8_t *inner_list(dec_t *d, const uint8_t *p,
                                 const la_ltable_t *t, uint32_t i) {
  lua_State *L = d->L;
  const uint32_t n = la_get32(p + 1);
  lua_createtable(L, (int)n, 0);
  lua_rawseti(L, -2, (lua_Integer)i + 1);
  const la_ltable_t *inner = t->array[i].v.p;
  uint32_t k = 0;
  p = plain_run(p + 5, inner->array, &k, n);
  if (k < n) {
    luaL_checkstack(L, 8, NULL);
    lua_rawgeti(L, -1, (lua_Integer)i + 1);
    p = slots(d, p, k, n);
    if (p == NULL) {
      return NULL;
    }
    lua_pop(L, 1);
  }
  if (*p == LA_TAG_EMPTY) {
    return p + 1;
  }
  luaL_checkstack(L, 8, NULL);
  lua_rawgeti(L, -1, (lua_Integer)i + 1);
  p = improper(d, p);
  if (p != NULL) {
    lua_pop(L, 1);
  }
  return p;
}

/* Elements from 'i' on into the array of the table on top, which was made for
 * 'n'. */
static const uint8_t *slots(dec_t *d, const uint8_t *p, uint32_t i,
                            uint32_t n) {
  const la_ltable_t *t = la_ltable_at(d->L, -1);
  while (i < n) {
    if (t->array_hint != n) {
      return elements(d, p, i, n);
    }
    if (*p == LA_TAG_LIST && !d->remember_all) {
      p = inner_list(d, p, t, i++);
      if (p == NULL) {
        return NULL;
      }
      continue;
    }
    const uint32_t from = i;
    if (*p != LA_TAG_BINARY) {
      p = plain_run(p, t->array, &i, n);
    }
    if (i == from) {
      p = value(d, p);
      if (p == NULL) {
        return NULL;
      }
      lua_rawseti(d->L, -2, (lua_Integer)++i);
    }
  }
  return p;
}

/* Fill the table on top, which was made for 'n' elements. */
static const uint8_t *sequence(dec_t *d, const uint8_t *p, uint32_t n) {
  return n >= SLOTS_MIN && codec_of(d) != NULL ? slots(d, p, 0, n)
                                               : elements(d, p, 0, n);
}

static const uint8_t *pairs(dec_t *d, const uint8_t *p, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    p = value(d, p);
    if (p != NULL) {
      p = value(d, p);
    }
    if (p == NULL) {
      return NULL;
    }
    lua_rawset(d->L, -3);
  }
  return p;
}

/* ---- maps of a known shape ---------------------------------------------- */

/* Turn the new table on top, made for as many pairs, into a copy of the
 * shape's. */
static la_ltable_t *copy_shape(dec_t *d, const la_shape_t *s) {
  la_ltable_t *t = la_ltable_at(d->L, -1);
  if (t->log_nodes != s->log_nodes || t->last_free == NULL || la_is_black(t)) {
    return NULL;
  }
  memcpy(t->node, s->table->node, la_node_count(t) * sizeof t->node[0]);
  t->last_free = t->node + (s->table->last_free - s->table->node);
  return t;
}

/* The keys from 'i' on are not the shape's, or the table is not as it was:
 * take their values out. */
static void forget_shape(la_ltable_t *t, const la_shape_t *s, uint32_t i) {
  for (; i < s->n; i++) {
    t->node[s->node[i]].tt = LA_V_EMPTY;
  }
}

/* Is the key at 'p' the one whose term stands at 'key'? Returns what is behind
 * it, or NULL. */
static inline const uint8_t *same_key(const uint8_t *p, const uint8_t *end,
                                      const uint8_t *key) {
  const size_t len = (size_t)5 + la_get32(key + 1);
  if (len > (size_t)(end - p)) {
    return NULL;
  }
  if (len < 8 || len > 16) {
    return memcmp(p, key, len) == 0 ? p + len : NULL;
  }
  uint64_t a, b, c, d; /* two words that may overlap */
  memcpy(&a, p, 8);
  memcpy(&b, key, 8);
  memcpy(&c, p + len - 8, 8);
  memcpy(&d, key + len - 8, 8);
  return ((a ^ b) | (c ^ d)) == 0 ? p + len : NULL;
}
/* Push the block of the shape: it must not be collected while it is in use,
 * though parts may be read that replace it. */
static void pin(dec_t *d, la_shape_slot_t *slot) {
  if (!d->has_anchors) {
    la_codec_push_anchors(d->L);
    lua_replace(d->L, d->memo + 1);
    d->has_anchors = true;
  }
  lua_rawgeti(d->L, d->memo + 1, la_shape_anchor(d->codec, slot));
}

/* Pop the value on top into a pair of the table at 'idx', whose key's term is
 * 'key'. */
static void store(dec_t *d, int idx, la_lnode_t *node, const uint8_t *key) {
  lua_State *L = d->L;
  const la_ltable_t *t = la_ltable_at(L, idx);
  const int type = lua_type(L, -1);
  const bool moved = node < t->node || node >= t->node + la_node_count(t);
  if (moved || la_is_black(t) ||
      (type != LUA_TSTRING && type != LUA_TTABLE)) {
    lua_pushlstring(L, (const char *)key + 5, la_get32(key + 1));
    lua_insert(L, -2);
    lua_rawset(L, idx);
    return;
  }
  node->v.p = (void *)(uintptr_t)lua_topointer(L, -1);
  node->tt = type == LUA_TTABLE ? LA_V_TABLE
             : lua_rawlen(L, -1) <= LA_SHORTSTR_MAX ? LA_V_SHORTSTR
                                                    : LA_V_LONGSTR;
  lua_pop(L, 1);
}

/* Fill the new table on top with the pairs at 'p', which may have the keys of
 * the slot's shape. Lua code cannot get at the table meanwhile, so it keeps its
 * size. */
static const uint8_t *shaped(dec_t *d, const uint8_t *p,
                             la_shape_slot_t *slot) {
  const la_shape_t *s = slot->shape;
  const uint32_t n = s->n;
  const uint8_t *end = d->t->bytes + d->t->size;
  const uint8_t *key = s->keys;
  const int idx = lua_gettop(d->L);
  la_ltable_t *t = copy_shape(d, s);
  if (t == NULL) {
    return pairs(d, p, n);
  }
  la_lnode_t *nodes = t->node;
  bool pinned = false;
  for (uint32_t i = 0; i < n; i++) {
    const uint8_t *val = same_key(p, end, key);
    if (val == NULL) {
      forget_shape(t, s, i);
      lua_settop(d->L, idx);
      la_shape_failed(slot, s);
      return pairs(d, p, n - i);
    }
    la_lnode_t *node = &nodes[s->node[i]];
    const size_t len = (size_t)(val - p);
    if (*val == LA_TAG_INT) {
      node->v.i = (int32_t)la_get32(val + 1);
      node->tt = LA_V_INT;
      p = val + 5;
    } else {
      p = plain(val, &node->v, &node->tt);
    }
    if (p == NULL) {
      if (!pinned) {
        pin(d, slot);
        pinned = true;
      }
      p = value(d, val);
      if (p == NULL) {
        return NULL;
      }
      store(d, idx, node, key);
    }
    key += len;
  }
  if (pinned) {
    lua_settop(d->L, idx);
  }
  la_shape_fitted(slot);
  return p;
}

/* LIST or CONS. */
static const uint8_t *list(dec_t *d, const uint8_t *p, bool shared) {
  const uint32_t n = la_get32(p + 1);
  luaL_checkstack(d->L, 12, NULL);
  lua_createtable(d->L, (int)n, 0);
  made(d, p, shared);
  p = sequence(d, p + 5, n);
  return p == NULL              ? NULL
         : *p == LA_TAG_EMPTY ? p + 1
                              : improper(d, p);
}

static const uint8_t *map(dec_t *d, const uint8_t *p, bool shared) {
  const uint32_t n = la_get32(p + 1);
  luaL_checkstack(d->L, 8, NULL);
  lua_createtable(d->L, 0, (int)n);
  made(d, p, shared);
  p += 5;
  la_shape_slot_t *slot = NULL;
  if (n >= LA_SHAPE_MIN && !shared && !d->remember_all &&
      codec_of(d) != NULL) {
    slot = la_shape_slot(d->codec, p, d->t->bytes + d->t->size, n);
  }
  if (slot == NULL) {
    return pairs(d, p, n);
  }
  if (slot->shape != NULL) {
    return shaped(d, p, slot);
  }
  const uint64_t hash = slot->hash;
  const uint8_t *next = pairs(d, p, n);
  if (next != NULL && slot->hash == hash && slot->shape == NULL) {
    la_shape_learn(d->L, d->codec, slot, p, n);
  }
  return next;
}

/* The size of the hash part is known only behind the sequence. */
static const uint8_t *mixed(dec_t *d, const uint8_t *p, bool shared) {
  const uint32_t n = la_get32(p + 1);
  luaL_checkstack(d->L, 8, NULL);
  lua_createtable(d->L, (int)n, 4);
  made(d, p, shared);
  p = sequence(d, p + 5, n);
  return p == NULL ? NULL : pairs(d, p + 5, la_get32(p + 1));
}

static const uint8_t *byte_list(dec_t *d, const uint8_t *p) {
  const unsigned n = la_get16(p + 1);
  luaL_checkstack(d->L, 4, NULL);
  lua_createtable(d->L, (int)n, 0);
  for (unsigned i = 0; i < n; i++) {
    lua_pushinteger(d->L, p[3 + i]);
    lua_rawseti(d->L, -2, (lua_Integer)i + 1);
  }
  return p + 3 + n;
}

/* In a tuple nil is a value: then its size stands in the field n. */
static const uint8_t *tuple(dec_t *d, const uint8_t *p, uint32_t n,
                            size_t head) {
  lua_State *L = d->L;
  luaL_checkstack(L, 12, NULL);
  lua_createtable(L, (int)n, 0);
  made(d, p, false);
  la_foreign_mark(L, LA_FOREIGN_TUPLE);
  bool has_nil = false;
  p += head;
  for (uint32_t i = 0; i < n; i++) {
    if (is_text_nil(p)) {
      has_nil = true;
      p = la_skip(p);
      continue;
    }
    p = value(d, p);
    if (p == NULL) {
      return NULL;
    }
    has_nil = has_nil || lua_isnil(L, -1);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  if (has_nil) {
    lua_pushliteral(L, "n");
    lua_pushinteger(L, n);
    lua_rawset(L, -3);
  }
  return p;
}

/* The text of a key that is an atom becomes a string. */
static const uint8_t *atom_key(dec_t *d, const uint8_t *p) {
  const uint8_t *end = la_skip(p), *text;
  uint32_t len;
  if (la_wire_atom_read(p, end, &text, &len) == NULL) {
    return value(d, p);
  }
  lua_pushlstring(d->L, (const char *)text, len);
  return end;
}

/* What an unmarked map of Erlang is: as import.c would mark it. One that is shared was
 * a Lua table. */
static la_map_mark_t mark_of(const uint8_t *p) {
  uint32_t n = la_get32(p + 1);
  bool all_atoms = true, one = n == 0;
  for (p += 5; n > 0; n--) {
    all_atoms = all_atoms && *p == LA_TAG_SMALL_ATOM;
    one = one || (*p == LA_TAG_SMALL_INT && p[1] == 1);
    p = la_skip(la_skip(p));
  }
  return one ? LA_MAP_MARKED : all_atoms ? LA_MAP_ATOMKEYS : LA_MAP_PLAIN;
}

static const uint8_t *marked_map(dec_t *d, const uint8_t *p,
                                 la_map_mark_t mark) {
  lua_State *L = d->L;
  if (mark == LA_MAP_PLAIN) {
    return map(d, p, *p == LA_TAG_MAP_S);
  }
  const uint32_t n = la_get32(p + 1);
  luaL_checkstack(L, 12, NULL);
  lua_createtable(L, 0, (int)n);
  made(d, p, *p == LA_TAG_MAP_S);
  la_foreign_mark(L, mark == LA_MAP_MARKED ? LA_FOREIGN_MAP
                                           : LA_FOREIGN_ATOMKEYS);
  p += 5;
  for (uint32_t i = 0; i < n; i++) {
    p = mark == LA_MAP_ATOMKEYS ? atom_key(d, p) : value(d, p);
    if (p != NULL) {
      p = value(d, p);
    }
    if (p == NULL) {
      return NULL;
    }
    lua_rawset(L, -3);
  }
  return p;
}

/* ---- by name ------------------------------------------------------------ */

/* Push the loaded module, requiring it when it is not loaded yet. */
static void push_module(dec_t *d, const char *name, size_t len) {
  lua_State *L = d->L;
  luaL_checkstack(L, 6, NULL);
  if (la_lazy_push_library(L, name, len)) {
    return;
  }
  if (!la_lazy_may_have(L, name, len)) {
    lua_pushlstring(L, name, len);
    luaL_error(L, "module '%s' is not in the sandbox", lua_tostring(L, -1));
  }
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_pushlstring(L, name, len);
  if (lua_istable(L, -2)) {
    lua_pushvalue(L, -1);
    lua_gettable(L, -3);
    if (lua_toboolean(L, -1)) {
      lua_replace(L, -3);
      lua_pop(L, 1);
      return;
    }
    lua_pop(L, 1);
  }
  lua_replace(L, -2); /* the name stays */
  if (lua_getglobal(L, "require") == LUA_TNIL) {
    luaL_error(L, "cannot load module '%s' here", lua_tostring(L, -2));
  }
  lua_insert(L, -2);
  lua_call(L, 1, 1);
}

static const uint8_t *module(dec_t *d, const uint8_t *p) {
  const uint32_t n = la_get32(p + 2);
  push_module(d, (const char *)p + 6, n);
  return p + 6 + n;
}

static const uint8_t *field(dec_t *d, const uint8_t *p) {
  lua_State *L = d->L;
  const uint32_t m = la_get32(p + 1);
  const uint32_t n = la_get32(p + 5);
  const char *mod = (const char *)p + 9;
  push_module(d, mod, m);
  if (lua_istable(L, -1)) {
    lua_pushlstring(L, mod + m, n);
    lua_gettable(L, -2);
    lua_replace(L, -2);
  } else {
    lua_pop(L, 1);
    lua_pushnil(L);
  }
  if (lua_isnil(L, -1)) {
    lua_pushlstring(L, mod, m);
    lua_pushlstring(L, mod + m, n);
    luaL_error(L, "module '%s' has no field '%s' here", lua_tostring(L, -2),
               lua_tostring(L, -1));
  }
  return p + 9 + m + n;
}

/* ---- functions and objects ---------------------------------------------- */

/* Upvalue 'i' of the function on top. */
static const uint8_t *upvalue(dec_t *d, const uint8_t *p, int i) {
  lua_State *L = d->L;
  if (*p == LA_TAG_UPREF) {
    if (!recall(d, p - la_get32(p + 1))) {
      d->outside = d->captures;
      return fail(d, "reference to nothing");
    }
    lua_upvaluejoin(L, -2, i, -1, p[5]);
    lua_pop(L, 1);
    return p + 6;
  }
  p = value(d, p);
  if (p != NULL) {
    lua_setupvalue(L, -2, i);
  }
  return p;
}

/* Behind the upvalue at 'p' when the function that is ready has it already. */
static const uint8_t *is_preset(const la_ready_t *r, const uint8_t *p, int i) {
  const la_preset_t *up = &r->presets[i - 1];
  return up->size != 0 && memcmp(p, up->bytes, up->size) == 0 ? p + up->size
                                                              : NULL;
}

static const uint8_t *function(dec_t *d, const uint8_t *p, bool shared) {
  lua_State *L = d->L;
  const int nups = p[1];
  const la_code_t *code = la_func_code(p);
  const uint8_t *bytes = code != NULL ? code->bytes : p + 6;
  const size_t size = code != NULL ? code->size : la_get32(p + 2);
  const la_ready_t *ready = d->ready;
  d->ready = NULL; /* only the first */
  luaL_checkstack(L, 8, NULL);
  if (ready != NULL) {
    lua_pushvalue(L, ready->idx);
  } else if (luaL_loadbufferx(L, (const char *)bytes, size, "=function",
                              "b") != LUA_OK) {
    lua_error(L);
  }
  made(d, p, shared);
  p += la_func_head(p);
  for (int i = 1; i <= nups && p != NULL; i++) {
    const uint8_t *behind = ready != NULL ? is_preset(ready, p, i) : NULL;
    p = behind != NULL ? behind : upvalue(d, p, i);
  }
  return p;
}

static const uint8_t *object(dec_t *d, const uint8_t *p, bool shared) {
  lua_State *L = d->L;
  const int nuv = la_get16(p + 1);
  const size_t nlen = p[3];
  const uint32_t size = la_get32(p + 4);
  luaL_checkstack(L, 8, NULL);
  void *ud = lua_newuserdatauv(L, size, nuv);
  memcpy(ud, p + 8 + nlen, size);
  lua_pushlstring(L, (const char *)p + 8, nlen);
  if (lua_gettable(L, LUA_REGISTRYINDEX) != LUA_TTABLE) {
    luaL_error(L, "objects of luactor cannot be received here");
  }
  const lua_CFunction wrapper = la_object_wrapper(L, -1);
  lua_setmetatable(L, -2);
  const int at = lua_gettop(L);
  if (wrapper != NULL) {
    lua_pushvalue(L, at);
    lua_pushcclosure(L, wrapper, 1);
  }
  made(d, p, shared);
  p += 8 + nlen + size;
  for (int i = 1; i <= nuv; i++) {
    p = value(d, p);
    if (p == NULL) {
      return NULL;
    }
    lua_setiuservalue(L, at, i);
  }
  if (wrapper != NULL) {
    lua_remove(L, at);
  }
  return p;
}

static const uint8_t *transfer(dec_t *d, const uint8_t *p, bool shared) {
  lua_State *L = d->L;
  const uint8_t *start = p;
  luaL_checkstack(L, 8, NULL);
  const uint32_t len = la_get32(p + 2);
  const char *name = (const char *)p + 6;
  push_module(d, name, len);
  if (!lua_istable(L, -1) ||
      lua_getfield(L, -1, "receive") != LUA_TFUNCTION) {
    lua_pushlstring(L, name, len);
    luaL_error(L, "module '%s' has no function 'receive'",
               lua_tostring(L, -1));
  }
  lua_replace(L, -2);
  p = (const uint8_t *)name + len;
  const uint32_t n = la_get32(p + 1);
  luaL_checkstack(L, (int)n + 8, "too many values in a transfer");
  p += 5;
  for (uint32_t i = 0; i < n; i++) {
    p = value(d, p);
    if (p == NULL) {
      return NULL;
    }
  }
  lua_call(L, (int)n, 1);
  made(d, start, shared);
  return p + 1;
}

/* ---- any value ---------------------------------------------------------- */

static lua_Integer big_integer(const uint8_t *p) {
  uint64_t m = 0;
  const unsigned n = p[1] < 8 ? p[1] : 8;
  for (unsigned i = n; i > 0; i--) {
    m = m << 8 | p[2 + i];
  }
  return (lua_Integer)(p[2] != 0 ? 0 - m : m);
}

static const uint8_t *atom(dec_t *d, const uint8_t *p, size_t n,
                           size_t head) {
  if (is_text(p, "true") || is_text(p, "false")) {
    lua_pushboolean(d->L, n == 4);
  } else {
    la_foreign_push(d->L, p, head + n);
  }
  return p + head + n;
}

static const uint8_t *blob(dec_t *d, const uint8_t *p) {
  lua_State *L = d->L;
  const la_blob_t *b = d->t->blobs[la_get32(p + 1)];
  luaL_checkstack(L, 8, NULL);
  if (b->number == 0 || codec_of(d) == NULL) {
    lua_pushlstring(L, (const char *)b->bytes, b->size);
  } else if (!la_bigstr_push(L, d->codec, b->number)) {
    const char *s = lua_pushlstring(L, (const char *)b->bytes, b->size);
    la_bigstr_note(L, d->codec, s, b->number);
  }
  return p + 9;
}

/* A term with parts. */
static const uint8_t *compound(dec_t *d, const uint8_t *p) {
  if (d->remember_all && d->captures && recall(d, p)) {
    return la_skip(p);
  }
  switch (*p) {
    case LA_TAG_EMPTY: case LA_TAG_EMPTY_S:
      lua_createtable(d->L, 0, 0);
      made(d, p, *p == LA_TAG_EMPTY_S);
      return p + 1;
    case LA_TAG_LIST: case LA_TAG_LIST_S:
      return list(d, p, *p == LA_TAG_LIST_S);
    case LA_TAG_MAP: case LA_TAG_MAP_S:
      return d->packed && *p == LA_TAG_MAP ? marked_map(d, p, mark_of(p))
                       : map(d, p, *p == LA_TAG_MAP_S);
    case LA_TAG_MARKED_MAP:
      return marked_map(d, p + 2, (la_map_mark_t)p[1]);
    case LA_TAG_CONS:
      return list(d, p, false);
    case LA_TAG_PID: case LA_TAG_REFERENCE: case LA_TAG_OPAQUE: {
      const uint8_t *behind = la_skip(p);
      la_foreign_push(d->L, p, (size_t)(behind - p));
      return behind;
    }
    case LA_TAG_MIXED: case LA_TAG_MIXED_S:
      return mixed(d, p, *p == LA_TAG_MIXED_S);
    case LA_TAG_TUPLE:
      return tuple(d, p, p[1], 2);
    case LA_TAG_BIG_TUPLE:
      return tuple(d, p, la_get32(p + 1), 5);
    case LA_TAG_FUNC: case LA_TAG_FUNC_S:
      return function(d, p, *p == LA_TAG_FUNC_S);
    case LA_TAG_OBJECT: case LA_TAG_OBJECT_S:
      return object(d, p, *p == LA_TAG_OBJECT_S);
    case LA_TAG_TRANSFER: case LA_TAG_TRANSFER_S:
      return transfer(d, p, *p == LA_TAG_TRANSFER_S);
    default:
      return fail(d, "unknown tag");
  }
}

static inline const uint8_t *scalar(lua_State *L, const uint8_t *p) {
  switch (*p) {
    case LA_TAG_BINARY: {
      const uint32_t n = la_get32(p + 1);
      lua_pushlstring(L, (const char *)p + 5, n);
      return p + 5 + n;
    }
    case LA_TAG_SMALL_INT:
      lua_pushinteger(L, p[1]);
      return p + 2;
    case LA_TAG_INT:
      lua_pushinteger(L, (int32_t)la_get32(p + 1));
      return p + 5;
    case LA_TAG_INT64:
      lua_pushinteger(L, (lua_Integer)la_get64(p + 1));
      return p + 9;
    case LA_TAG_NEW_FLOAT: case LA_TAG_RAW_FLOAT:
      lua_pushnumber(L, la_get_double(p + 1));
      return p + 9;
    case LA_TAG_ID:
      la_push_id(L, la_get64(p + 1));
      return p + 9;
    case LA_TAG_TRUE: case LA_TAG_FALSE:
      lua_pushboolean(L, *p == LA_TAG_TRUE);
      return p + 1;
    case LA_TAG_NIL:
      lua_pushnil(L);
      return p + 1;
    default:
      return NULL;
  }
}

const uint8_t *la_decode_scalar(lua_State *L, const uint8_t *p) {
  return scalar(L, p);
}

/* Push the value at 'p'; returns what is behind it, or NULL. */
static const uint8_t *value(dec_t *d, const uint8_t *p) {
  const uint8_t *next = scalar(d->L, p);
  if (next != NULL) {
    return next;
  }
  switch (*p) {
    case LA_TAG_SMALL_BIG:
      lua_pushinteger(d->L, big_integer(p));
      return p + 3 + p[1];
    case LA_TAG_SMALL_ATOM:
      return atom(d, p, p[1], 2);
    case LA_TAG_ATOM:
      return atom(d, p, la_get16(p + 1), 3);
    case LA_TAG_BYTE_LIST:
      return byte_list(d, p);
    case LA_TAG_BLOB:
      return blob(d, p);
    case LA_TAG_REF:
      return reference(d, p);
    case LA_TAG_GLOBALS:
      lua_rawgeti(d->L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
      return p + 1;
    case LA_TAG_MODULE:
      return module(d, p);
    case LA_TAG_FIELD:
      return field(d, p);
    default:
      return compound(d, p);
  }
}

/* Reserve the memo's slot and that of the anchors. */
static void start(dec_t *d, lua_State *L, const la_term_t *t) {
  memset(d, 0, sizeof *d);
  d->L = L;
  d->t = t;
  luaL_checkstack(L, 8, NULL);
  lua_pushnil(L);
  lua_pushnil(L);
  d->memo = lua_gettop(L) - 1;
}

/* Take those slots out from under the results. */
static void finish(const dec_t *d) {
  lua_rotate(d->L, d->memo, -2);
  lua_pop(d->L, 2);
}

/* A whole value, or one that is captured: the atom nil is nil. */
static const uint8_t *whole(dec_t *d, const uint8_t *p) {
  if (is_text_nil(p)) {
    lua_pushnil(d->L);
    return la_skip(p);
  }
  return value(d, p);
}

bool la_decode(lua_State *L, const la_term_t *t, la_term_mode_t mode) {
  const uint8_t *p = t->bytes;
  if (mode == LA_TERM_PACKED) {
    if (!check(L, t)) {
      return false;
    }
    p++;
  }
  dec_t d;
  start(&d, L, t);
  d.packed = mode == LA_TERM_PACKED;
  if (whole(&d, p) == NULL) {
    lua_settop(L, d.memo - 1);
    lua_pushfstring(L, "bad bytes: %s", d.error);
    return false;
  }
  finish(&d);
  return true;
}

/* Push one capture. */
static bool span(dec_t *d, const la_span_t *s) {
  const uint8_t *p = d->t->bytes + s->at;
  if (!s->is_rest) {
    return value(d, p) != NULL;
  }
  luaL_checkstack(d->L, 8, NULL);
  lua_createtable(d->L, (int)s->count, 0);
  return sequence(d, p, s->count) != NULL;
}

static bool spans(dec_t *d, const la_span_t *s, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    if (!span(d, &s[i])) {
      return false;
    }
  }
  return true;
}

/* The usual captures need none of the machinery. */
static bool scalars(lua_State *L, const la_term_t *t, const la_span_t *s,
                    uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    if (s[i].is_rest || scalar(L, t->bytes + s[i].at) == NULL) {
      return false;
    }
  }
  return true;
}

bool la_decode_spans(lua_State *L, const la_term_t *t, const la_span_t *s,
                     uint32_t n) {
  luaL_checkstack(L, (int)n + 8, "too many captures");
  const int top = lua_gettop(L);
  if (scalars(L, t, s, n)) {
    return true;
  }
  lua_settop(L, top);
  dec_t d;
  start(&d, L, t);
  d.captures = true;
  bool ok = spans(&d, s, n);
  if (!ok && d.outside) {
    lua_settop(L, d.memo + 1);
    lua_pushnil(L);
    lua_replace(L, d.memo);
    d.has_memo = d.outside = d.captures = false;
    d.remember_all = true;
    ok = value(&d, t->bytes) != NULL;
    lua_settop(L, d.memo + 1);
    d.captures = true;
    ok = ok && spans(&d, s, n);
  }
  if (!ok) {
    lua_settop(L, d.memo - 1);
    lua_pushfstring(L, "bad bytes: %s", d.error);
    return false;
  }
  finish(&d);
  return true;
}

bool la_decode_at(lua_State *L, const la_term_t *t, size_t offset) {
  const la_span_t s = {(uint32_t)offset, 0, false};
  return la_decode_spans(L, t, &s, 1);
}

int la_decode_elements(lua_State *L, const la_term_t *t,
                       const la_ready_t *ready) {
  const uint32_t n = la_get32(t->bytes + 1);
  dec_t d;
  start(&d, L, t);
  d.ready = ready;
  luaL_checkstack(L, (int)n + 8, "too many arguments");
  const uint8_t *p = t->bytes + 5;
  for (uint32_t i = 0; i < n && p != NULL; i++) {
    p = value(&d, p);
  }
  if (p == NULL) {
    lua_settop(L, d.memo - 1);
    lua_pushfstring(L, "bad bytes: %s", d.error);
    return -1;
  }
  finish(&d);
  return (int)n;
}

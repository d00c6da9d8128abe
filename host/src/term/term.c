/* Terms read in place: views, skipping, equality, tags, text. No Lua here.
 *
 * Equality follows back references, so a term may be a graph with many more
 * paths than nodes, or a cycle. Pairs with a shared table that were compared,
 * or are being compared, are noted and taken for equal: a difference anywhere
 * ends the whole comparison, so a noted pair that is met again was either
 * equal or is still open, and then the answer lies elsewhere. Only the search
 * for a table used as a key tries several candidates; it takes back what it
 * noted. Graphs too tangled for the limits below count as different. */
#include "base/env.h"
#include "term/tag.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

/* ---- skipping ----------------------------------------------------------- */

const uint8_t *la_term_skip(const uint8_t *p, const uint8_t *end) {
  uint64_t todo = 1;
  while (todo != 0) {
    uint64_t parts = 0;
    p = la_head(p, end, &parts);
    if (p == NULL || parts > (uint64_t)(end - p)) {
      return NULL;
    }
    todo += parts - 1;
    if (todo > (uint64_t)(end - p)) {
      return NULL;
    }
  }
  return p;
}

const uint8_t *la_skip_slow(const uint8_t *p) {
  const uint8_t *end = p + LA_TERM_MAX_BYTES;
  uint64_t todo = 1;
  do {
    uint64_t parts = 0;
    p = la_head(p, end, &parts);
    todo += parts - 1;
  } while (todo != 0);
  return p;
}

/* ---- views -------------------------------------------------------------- */

static void view_text(la_view_t *v, const uint8_t *s, size_t len) {
  v->kind = LA_K_TEXT;
  v->at = s;
  v->len = len;
}

static void view_atom(la_view_t *v, const uint8_t *s, size_t len) {
  view_text(v, s, len);
  v->is_atom = true;
  if (len == 4 && memcmp(s, "true", 4) == 0) {
    v->kind = LA_K_BOOL;
    v->i = 1;
  } else if (len == 5 && memcmp(s, "false", 5) == 0) {
    v->kind = LA_K_BOOL;
    v->i = 0;
  } else if (len == 3 && memcmp(s, "nil", 3) == 0) {
    v->kind = LA_K_NIL;
  }
}

static void view_int(la_view_t *v, int64_t i) {
  v->kind = LA_K_INT;
  v->i = i;
}

/* Integers beyond 64 bits only come from other systems; nothing equals them. */
static void view_big(la_view_t *v, const uint8_t *p) {
  uint64_t m = 0;
  for (unsigned i = p[1]; i > 0; i--) {
    if (m >> 56 != 0) {
      return;
    }
    m = m << 8 | p[2 + i];
  }
  const bool negative = p[2] != 0;
  if (m <= (uint64_t)INT64_MAX + (negative ? 1 : 0)) {
    view_int(v, (int64_t)(negative ? 0 - m : m));
  }
}

static void view_table(la_view_t *v, uint32_t nseq, uint32_t nmap,
                       const uint8_t *at) {
  v->kind = LA_K_TABLE;
  v->nseq = nseq;
  v->nmap = nmap;
  v->at = at;
}

void la_view(const la_term_t *t, const uint8_t *p, la_view_t *v) {
  p = la_deref(p);
  if (*p == LA_TAG_MARKED_MAP) {
    p += 2;
  }
  v->kind = LA_K_OTHER;
  v->is_atom = false;
  v->tag = *p;
  v->start = p;
  switch (*p) {
    case LA_TAG_NIL:
      v->kind = LA_K_NIL;
      break;
    case LA_TAG_TRUE: case LA_TAG_FALSE:
      v->kind = LA_K_BOOL;
      v->i = *p == LA_TAG_TRUE;
      break;
    case LA_TAG_SMALL_INT:
      view_int(v, p[1]);
      break;
    case LA_TAG_INT:
      view_int(v, (int32_t)la_get32(p + 1));
      break;
    case LA_TAG_INT64:
      view_int(v, (int64_t)la_get64(p + 1));
      break;
    case LA_TAG_SMALL_BIG:
      view_big(v, p);
      break;
    case LA_TAG_NEW_FLOAT: case LA_TAG_RAW_FLOAT:
      v->kind = LA_K_FLOAT;
      v->d = la_get_double(p + 1);
      break;
    case LA_TAG_BINARY:
      view_text(v, p + 5, la_get32(p + 1));
      break;
    case LA_TAG_BLOB: {
      const la_blob_t *b = t->blobs[la_get32(p + 1)];
      view_text(v, b->bytes, b->size);
      break;
    }
    case LA_TAG_SMALL_ATOM:
      view_atom(v, p + 2, p[1]);
      break;
    case LA_TAG_ATOM:
      view_atom(v, p + 3, la_get16(p + 1));
      break;
    case LA_TAG_ID:
      v->kind = LA_K_ID;
      v->id = la_get64(p + 1);
      break;
    case LA_TAG_EMPTY: case LA_TAG_EMPTY_S:
      view_table(v, 0, 0, p + 1);
      break;
    case LA_TAG_LIST: case LA_TAG_LIST_S:
    case LA_TAG_MIXED: case LA_TAG_MIXED_S:
    case LA_TAG_BIG_TUPLE:
      view_table(v, la_get32(p + 1), 0, p + 5);
      break;
    case LA_TAG_TUPLE:
      view_table(v, p[1], 0, p + 2);
      break;
    case LA_TAG_MAP: case LA_TAG_MAP_S:
      view_table(v, 0, la_get32(p + 1), p + 5);
      break;
    case LA_TAG_FUNC: case LA_TAG_FUNC_S: case LA_TAG_FIELD:
      v->kind = LA_K_FUNC;
      break;
    case LA_TAG_MODULE:
      v->kind = p[1] == 5 /* LUA_TTABLE */ ? LA_K_NAMED_TABLE : LA_K_FUNC;
      break;
    case LA_TAG_GLOBALS:
      v->kind = LA_K_NAMED_TABLE;
      break;
    case LA_TAG_PID: case LA_TAG_REFERENCE:
    case LA_TAG_CONS: case LA_TAG_OPAQUE:
      v->kind = LA_K_RAW;
      break;
    default:
      break;
  }
}

const uint8_t *la_view_pairs(const la_term_t *t, const la_view_t *v,
                             uint32_t *n) {
  (void)t;
  if (v->tag != LA_TAG_MIXED && v->tag != LA_TAG_MIXED_S) {
    *n = v->nmap;
    return v->at;
  }
  const uint8_t *p = v->at;
  for (uint32_t i = 0; i < v->nseq; i++) {
    p = la_skip(p);
  }
  *n = la_get32(p + 1);
  return p + 5;
}

/* ---- equality ----------------------------------------------------------- */

#define NOTES_FIXED 16
#define NOTES_MAX 4096
#define DEPTH_MAX 1000
#define SCAN_PAIRS 16 /* larger maps get an index */

typedef struct {
  const la_term_t *a, *b;
  struct note {
    const uint8_t *a, *b;
  } fixed[NOTES_FIXED], *notes;
  size_t n, cap;
  int depth;
} eq_t;

static bool equal_at(eq_t *q, const uint8_t *pa, const uint8_t *pb);

static bool is_shared(uint8_t tag) {
  return tag == LA_TAG_LIST_S || tag == LA_TAG_MAP_S || tag == LA_TAG_MIXED_S;
}

/* Note a pair; *known when it was noted before. False when there is no room:
 * the terms then count as different. */
static bool note_pair(eq_t *q, const uint8_t *a, const uint8_t *b,
                      bool *known) {
  *known = false;
  for (size_t i = 0; i < q->n; i++) {
    if (q->notes[i].a == a && q->notes[i].b == b) {
      *known = true;
      return true;
    }
  }
  if (q->n == NOTES_MAX) {
    return false;
  }
  if (q->n == q->cap) {
    struct note *grown =
        q->notes == q->fixed
            ? la_alloc(q->cap * 2 * sizeof *grown)
            : la_realloc(q->notes, q->cap * 2 * sizeof *grown);
    if (grown == NULL) {
      return false;
    }
    if (q->notes == q->fixed) {
      memcpy(grown, q->fixed, sizeof q->fixed);
    }
    q->notes = grown;
    q->cap *= 2;
  }
  q->notes[q->n].a = a;
  q->notes[q->n++].b = b;
  return true;
}

static bool int_equals_float(int64_t i, double d) {
  /* Exact: a double in the range of int64 is converted without loss when it
   * is integral. */
  return d >= -0x1p63 && d < 0x1p63 && d == floor(d) && (int64_t)d == i;
}

static bool scalar_equal(const la_view_t *a, const la_view_t *b) {
  if (a->kind != b->kind) {
    return a->kind == LA_K_INT && b->kind == LA_K_FLOAT
               ? int_equals_float(a->i, b->d)
               : a->kind == LA_K_FLOAT && b->kind == LA_K_INT &&
                     int_equals_float(b->i, a->d);
  }
  switch (a->kind) {
    case LA_K_NIL:
      return true;
    case LA_K_BOOL: case LA_K_INT:
      return a->i == b->i;
    case LA_K_FLOAT:
      return a->d == b->d;
    case LA_K_ID:
      return a->id == b->id;
    case LA_K_TEXT:
      return a->len == b->len && memcmp(a->at, b->at, a->len) == 0;
    default:
      return false;
  }
}

/* Things by name: equal when they have the same name. Functions and objects
 * that travel by value are equal to themselves only. */
static bool named_equal(const la_view_t *a, const la_view_t *b) {
  if (a->start == b->start) {
    return true;
  }
  if (a->tag != b->tag ||
      (a->kind != LA_K_RAW && a->tag != LA_TAG_FIELD &&
       a->tag != LA_TAG_MODULE && a->tag != LA_TAG_GLOBALS)) {
    return false;
  }
  const size_t n = (size_t)(la_skip(a->start) - a->start);
  return n == (size_t)(la_skip(b->start) - b->start) &&
         memcmp(a->start, b->start, n) == 0;
}

static bool seq_equal(eq_t *q, const la_view_t *a, const la_view_t *b) {
  const uint8_t *pa = a->at;
  const uint8_t *pb = b->at;
  for (uint32_t i = 0; i < a->nseq; i++) {
    if (!equal_at(q, pa, pb)) {
      return false;
    }
    pa = la_skip(pa);
    pb = la_skip(pb);
  }
  return true;
}

/* Equal keys have equal hashes. */
static uint32_t key_hash(const la_term_t *t, const uint8_t *p) {
  la_view_t v;
  la_view(t, p, &v);
  uint64_t h = v.kind;
  switch (v.kind) {
    case LA_K_FLOAT:
      if (v.d >= -0x1p63 && v.d < 0x1p63 && v.d == floor(v.d)) {
        v.i = (int64_t)v.d;
      }
      h = LA_K_INT;
    /* fall through */
    case LA_K_BOOL: case LA_K_INT: case LA_K_ID:
      h ^= (uint64_t)v.i * UINT64_C(0x9E3779B97F4A7C15);
      break;
    case LA_K_TEXT:
      h = UINT64_C(0xcbf29ce484222325) ^ v.len;
      for (size_t i = 0; i < v.len; i++) {
        h = (h ^ v.at[i]) * UINT64_C(0x100000001b3);
      }
      break;
    default:
      break;
  }
  return (uint32_t)(h ^ h >> 32);
}

/* Is the value under 'key' (of a) in the pair at 'pb' equal to the one at
 * 'val'? *found: the keys are equal. */
static bool pair_equal(eq_t *q, const uint8_t *key, const uint8_t *val,
                       const uint8_t *pb, bool *found) {
  const size_t n = q->n;
  *found = equal_at(q, key, pb);
  if (!*found) {
    q->n = n;
    return false;
  }
  return equal_at(q, val, la_skip(pb));
}

/* The pairs of b, findable by the hash of the key. */
typedef struct {
  uint32_t mask;
  struct pair_slot {
    uint32_t hash;
    const uint8_t *at; /* NULL: free */
  } slot[];
} pair_index_t;

static pair_index_t *index_pairs(const la_term_t *t, const uint8_t *p,
                                 uint32_t n) {
  uint64_t size = 32;
  while (size < (uint64_t)n * 2) {
    size *= 2;
  }
  pair_index_t *x = la_zalloc(sizeof *x + size * sizeof x->slot[0]);
  if (x == NULL) {
    return NULL;
  }
  x->mask = (uint32_t)(size - 1);
  for (uint32_t i = 0; i < n; i++) {
    const uint32_t hash = key_hash(t, p);
    uint32_t h = hash & x->mask;
    while (x->slot[h].at != NULL) {
      h = (h + 1) & x->mask;
    }
    x->slot[h].hash = hash;
    x->slot[h].at = p;
    p = la_skip(la_skip(p));
  }
  return x;
}

static bool find_indexed(eq_t *q, const pair_index_t *x, const uint8_t *key,
                         const uint8_t *val) {
  const uint32_t hash = key_hash(q->a, key);
  for (uint32_t h = hash & x->mask; x->slot[h].at != NULL;
       h = (h + 1) & x->mask) {
    if (x->slot[h].hash != hash) {
      continue;
    }
    bool found;
    const bool same = pair_equal(q, key, val, x->slot[h].at, &found);
    if (found) {
      return same;
    }
  }
  return false;
}

static bool find_scanned(eq_t *q, const uint8_t *key, const uint8_t *val,
                         const uint8_t *pb, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    bool found;
    if (pair_equal(q, key, val, pb, &found)) {
      return true;
    }
    if (found) {
      return false;
    }
    pb = la_skip(la_skip(pb));
  }
  return false;
}

/* Tables made by the same code mostly have their keys in the same order: try
 * the pair in the same place first. */
static bool map_equal(eq_t *q, const uint8_t *pa, const uint8_t *pb,
                      uint32_t n) {
  pair_index_t *x = NULL;
  const uint8_t *first = pb;
  bool same = true;
  for (uint32_t i = 0; i < n && same; i++) {
    const uint8_t *val = la_skip(pa);
    bool found;
    same = pair_equal(q, pa, val, pb, &found);
    if (!found) {
      if (n > SCAN_PAIRS && x == NULL) {
        x = index_pairs(q->b, first, n);
      }
      same = x != NULL ? find_indexed(q, x, pa, val)
                       : find_scanned(q, pa, val, first, n);
    }
    pa = la_skip(val);
    pb = la_skip(la_skip(pb));
  }
  la_free(x);
  return same;
}

static bool table_equal(eq_t *q, const la_view_t *a, const la_view_t *b) {
  if (q->a == q->b && a->start == b->start) {
    return true;
  }
  if (a->nseq != b->nseq) {
    return false;
  }
  if (is_shared(a->tag) || is_shared(b->tag)) {
    bool known;
    if (!note_pair(q, a->start, b->start, &known)) {
      return false;
    }
    if (known) {
      return true;
    }
  }
  if (q->depth >= DEPTH_MAX) {
    return false;
  }
  uint32_t na, nb;
  const uint8_t *pa = la_view_pairs(q->a, a, &na);
  const uint8_t *pb = la_view_pairs(q->b, b, &nb);
  q->depth++;
  const bool same = na == nb && seq_equal(q, a, b) && map_equal(q, pa, pb, na);
  q->depth--;
  return same;
}

static bool view_equal(eq_t *q, const la_view_t *va, const la_view_t *vb) {
  if (va->kind == LA_K_TABLE && vb->kind == LA_K_TABLE) {
    return table_equal(q, va, vb);
  }
  if (va->kind >= LA_K_FUNC || vb->kind >= LA_K_FUNC) {
    return named_equal(va, vb);
  }
  return scalar_equal(va, vb);
}

static bool equal_at(eq_t *q, const uint8_t *pa, const uint8_t *pb) {
  la_view_t va, vb;
  la_view(q->a, pa, &va);
  la_view(q->b, pb, &vb);
  return view_equal(q, &va, &vb);
}

bool la_view_equal(const la_term_t *a, const la_view_t *va,
                   const la_term_t *b, const la_view_t *vb) {
  if (va->kind != LA_K_TABLE || vb->kind != LA_K_TABLE) {
    return va->kind >= LA_K_FUNC ? named_equal(va, vb) : scalar_equal(va, vb);
  }
  eq_t q = {.a = a, .b = b, .cap = NOTES_FIXED};
  q.notes = q.fixed;
  const bool same = table_equal(&q, va, vb);
  if (q.notes != q.fixed) {
    la_free(q.notes);
  }
  return same;
}

bool la_term_equal(const la_term_t *a, size_t a_at, const la_term_t *b,
                   size_t b_at) {
  la_view_t va, vb;
  la_view(a, a->bytes + a_at, &va);
  la_view(b, b->bytes + b_at, &vb);
  return la_view_equal(a, &va, b, &vb);
}

/* ---- tags --------------------------------------------------------------- */

/* Of a view that is no table. */
uint32_t la_view_tag(const la_view_t *v) {
  switch (v->kind) {
    case LA_K_TEXT:
      /* A blob's bytes are not at hand everywhere. */
      return v->len >= LA_TERM_BLOB_MIN ? 0 : la_tag_of_text(v->at, v->len);
    case LA_K_BOOL:
      return la_tag_of_bool(v->i != 0);
    case LA_K_ID:
      return la_tag_of_id(v->id);
    default:
      return 0;
  }
}

uint32_t la_term_tag(const uint8_t *bytes, size_t size) {
  const la_term_t t = {bytes, size, NULL, 0};
  if (size == 0 || *bytes == LA_TAG_BLOB) {
    return 0;
  }
  la_view_t v;
  la_view(&t, bytes, &v);
  if (v.kind == LA_K_TABLE) {
    if (v.nseq == 0 || *v.at == LA_TAG_BLOB) {
      return 0;
    }
    la_view(&t, v.at, &v);
  }
  return la_view_tag(&v);
}

la_id_t la_term_first_id(const la_term_t *t) {
  size_t head;
  if (t->size > 14 && t->bytes[0] == LA_TAG_LIST) {
    head = 5;
  } else if (t->size > 10 && t->bytes[0] == LA_TAG_TUPLE) {
    head = 2;
  } else {
    return LA_NO_ID;
  }
  return t->bytes[head] == LA_TAG_ID ? la_get64(t->bytes + head + 1) : LA_NO_ID;
}

bool la_term_is_text(const la_term_t *t, const char *text) {
  la_view_t v;
  if (t->size == 0) {
    return false;
  }
  la_view(t, t->bytes, &v);
  return v.kind == LA_K_TEXT && v.len == strlen(text) &&
         memcmp(v.at, text, v.len) == 0;
}

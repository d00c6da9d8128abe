/* The first stage: a pattern program over encoded bytes. No Lua, no memory.
 *
 * 'node' matches one node against one term and returns the word behind the
 * node, so a list of nodes is walked along a list of terms. A failure is final
 * for the clause, except inside a CHOICE: its first alternative that matches is
 * taken and not left again (ordered choice, as in LPeg). Depth is bounded by
 * the pattern, which the compiler limits; a cyclic message does not matter. */
#include "match/program.h"

#include <assert.h>

static const uint32_t *node(la_run_t *r, const uint32_t *c, const uint8_t *p);

static inline uint32_t padded(uint32_t len) {
  return (len + 3) / 4;
}

void la_run_view(const la_run_t *r, uint32_t slot, la_view_t *v) {
  const la_cap_t *cap = &r->cap[slot];
  const uint8_t *p = r->t->bytes + cap->at;
  if (!cap->is_rest) {
    la_view(r->t, p, v);
    return;
  }
  v->kind = LA_K_TABLE;
  v->is_atom = false;
  v->tag = LA_TAG_LIST;
  v->nseq = cap->count;
  v->nmap = 0;
  v->at = p;
  v->start = p - 1; /* no term begins there: the table is its own */
}

/* ---- scalars ------------------------------------------------------------ */

static bool is_text(const la_run_t *r, const uint32_t *c, const uint8_t *p) {
  const uint32_t len = c[1];
  if (*p == LA_TAG_BINARY) {
    return la_get32(p + 1) == len && la_same_text(p + 5, c + 2, len);
  }
  if (*p != LA_TAG_SMALL_ATOM && *p != LA_TAG_ATOM && *p != LA_TAG_BLOB) {
    return false;
  }
  la_view_t v;
  la_view(r->t, p, &v);
  return v.kind == LA_K_TEXT && v.len == len && memcmp(v.at, c + 2, len) == 0;
}

/* The literal as a view, to compare with what is encoded in another way. */
static void literal_view(const uint32_t *c, la_view_t *v) {
  const uint64_t bits = la_words64(c + 1);
  v->is_atom = false;
  if ((*c & 0xff) == LA_OP_INT) {
    v->kind = LA_K_INT;
    v->i = (int64_t)bits;
  } else {
    v->kind = LA_K_FLOAT;
    memcpy(&v->d, &bits, sizeof v->d);
  }
}

static bool is_number(const la_run_t *r, const uint32_t *c,
                      const uint8_t *p) {
  if (*p == LA_TAG_SMALL_INT && (*c & 0xff) == LA_OP_INT) {
    return c[2] == 0 && c[1] == p[1];
  }
  la_view_t v, lit;
  la_view(r->t, p, &v);
  literal_view(c, &lit);
  return (v.kind == LA_K_INT || v.kind == LA_K_FLOAT) &&
         la_view_equal(r->t, &v, r->t, &lit);
}

static bool is_bool(const la_run_t *r, uint32_t want, const uint8_t *p) {
  la_view_t v;
  la_view(r->t, p, &v);
  return v.kind == LA_K_BOOL && (uint32_t)v.i == want;
}

static bool is_nil_atom(const la_run_t *r, const uint8_t *p) {
  la_view_t v;
  la_view(r->t, p, &v);
  return v.kind == LA_K_NIL;
}

static inline bool is_nil(const la_run_t *r, const uint8_t *p) {
  return *p == LA_TAG_NIL ||
         ((*p == LA_TAG_SMALL_ATOM || *p == LA_TAG_ATOM) && is_nil_atom(r, p));
}

static bool is_id(const la_view_t *v, la_id_kind_t kind) {
  return v->kind == LA_K_ID && la_id_kind(v->id) == kind;
}

static bool is_type(const la_run_t *r, la_type_t type, const uint8_t *p) {
  la_view_t v;
  la_view(r->t, p, &v);
  switch (type) {
    case LA_TYPE_NIL:
      return v.kind == LA_K_NIL;
    case LA_TYPE_BOOLEAN:
      return v.kind == LA_K_BOOL;
    case LA_TYPE_INTEGER:
      return v.kind == LA_K_INT;
    case LA_TYPE_FLOAT:
      return v.kind == LA_K_FLOAT;
    case LA_TYPE_NUMBER:
      return v.kind == LA_K_INT || v.kind == LA_K_FLOAT;
    case LA_TYPE_STRING:
      return v.kind == LA_K_TEXT && !v.is_atom;
    case LA_TYPE_TABLE:
      return v.kind == LA_K_TABLE || v.kind == LA_K_NAMED_TABLE;
    case LA_TYPE_FUNCTION:
      return v.kind == LA_K_FUNC;
    case LA_TYPE_PID:
      return is_id(&v, LA_ID_PID) || v.tag == LA_TAG_PID;
    case LA_TYPE_REF:
      return is_id(&v, LA_ID_REF) || v.tag == LA_TAG_REFERENCE;
    case LA_TYPE_ALIAS:
      return is_id(&v, LA_ID_ALIAS);
    case LA_TYPE_MBOX:
      return is_id(&v, LA_ID_MBOX);
    case LA_TYPE_TIMER:
      return is_id(&v, LA_ID_TIMER);
    case LA_TYPE_POOL:
      return is_id(&v, LA_ID_POOL);
    case LA_TYPE_ATOM:
      return v.kind == LA_K_TEXT && v.is_atom;
    case LA_TYPE_TUPLE:
      return v.tag == LA_TAG_TUPLE || v.tag == LA_TAG_BIG_TUPLE;
    default:
      return false;
  }
}

/* A text that must be an atom, or must be none. */
static bool is_text_kind(const la_run_t *r, const uint32_t *c,
                         const uint8_t *p) {
  la_view_t v;
  la_view(r->t, p, &v);
  return v.kind == LA_K_TEXT && v.is_atom == ((*c & 0xff) == LA_OP_ATOM) &&
         v.len == c[1] && memcmp(v.at, c + 2, v.len) == 0;
}

static bool is_raw(const la_run_t *r, const uint32_t *c, const uint8_t *p) {
  la_view_t v;
  la_view(r->t, p, &v);
  return v.kind == LA_K_RAW && (size_t)(la_skip(p) - p) == c[1] &&
         memcmp(p, c + 2, c[1]) == 0;
}

/* A literal; sets *next. */
static bool literal(const la_run_t *r, const uint32_t *c, const uint8_t *p,
                    const uint32_t **next) {
  switch (*c & 0xff) {
    case LA_OP_TEXT:
      *next = c + 2 + padded(c[1]);
      return is_text(r, c, p);
    case LA_OP_INT: case LA_OP_FLOAT:
      *next = c + 3;
      return is_number(r, c, p);
    case LA_OP_ID:
      *next = c + 3;
      return *p == LA_TAG_ID && la_get64(p + 1) == la_words64(c + 1);
    default:
      *next = c + 1;
      return is_bool(r, *c >> 8, p);
  }
}

/* ---- tables ------------------------------------------------------------- */

/* The element of the sequence that an integer key names, or NULL. */
static const uint8_t *element(const la_view_t *v, const uint32_t *c) {
  if ((*c & 0xff) != LA_OP_INT) {
    return NULL;
  }
  const uint64_t k = la_words64(c + 1);
  if (k < 1 || k > v->nseq) {
    return NULL;
  }
  const uint8_t *p = v->at;
  for (uint64_t i = 1; i < k; i++) {
    p = la_skip(p);
  }
  return p;
}

/* The value under the key, or NULL. */
static const uint8_t *pair(const la_run_t *r, const uint32_t *c,
                           const uint8_t *p, uint32_t n) {
  const uint32_t *next;
  for (uint32_t i = 0; i < n; i++) {
    const uint8_t *val = la_skip(p);
    if (literal(r, c, p, &next)) {
      return val;
    }
    p = la_skip(val);
  }
  return NULL;
}

static const uint32_t *behind_literal(const uint32_t *c) {
  switch (*c & 0xff) {
    case LA_OP_TEXT:
      return c + 2 + padded(c[1]);
    case LA_OP_BOOL:
      return c + 1;
    default:
      return c + 3;
  }
}

static const uint32_t *keys(la_run_t *r, const uint32_t *c, uint32_t nkeys,
                            const la_view_t *v, uint32_t flags) {
  uint32_t npairs;
  uint32_t in_seq = 0, in_map = 0;
  const uint8_t *first = la_view_pairs(r->t, v, &npairs);
  for (uint32_t i = 0; i < nkeys; i++) {
    const uint8_t *val = element(v, c);
    const bool is_element = val != NULL;
    if (!is_element) {
      val = pair(r, c, first, npairs);
    }
    c = behind_literal(c);
    if ((*c & 0xff) == LA_OP_NIL) {
      if (val != NULL && !is_nil(r, val)) {
        return NULL;
      }
      c++;
      continue;
    }
    if (val == NULL) {
      return NULL;
    }
    in_seq += is_element;
    in_map += !is_element;
    c = node(r, c, val);
    if (c == NULL) {
      return NULL;
    }
  }
  if ((flags & LA_TABLE_EXACT) != 0 &&
      (in_map != npairs ||
       ((flags & LA_TABLE_SEQ) == 0 && in_seq != v->nseq))) {
    return NULL;
  }
  return c;
}

static void bind_rest(la_run_t *r, uint32_t slot, const uint8_t *p,
                      uint32_t count) {
  if (slot != LA_NO_SLOT) {
    r->cap[slot] =
        (la_cap_t){(uint32_t)(p - r->t->bytes), count, true};
  }
}

static inline void bind_term(la_run_t *r, uint32_t slot, const uint8_t *p) {
  r->cap[slot] = (la_cap_t){(uint32_t)(p - r->t->bytes), 0, false};
}

/* A node of the usual kinds without a call; the others by 'node'. */
static inline const uint32_t *quick(la_run_t *r, const uint32_t *c,
                                    const uint8_t *p) {
  const uint32_t *next;
  switch (*c & 0xff) {
    case LA_OP_NAME:
      if (is_nil(r, p)) {
        return NULL;
      }
      bind_term(r, *c >> 8, p);
      return c + 1;
    case LA_OP_TEXT: {
      const uint32_t len = c[1];
      if (*p != LA_TAG_BINARY) {
        return is_text(r, c, p) ? c + 2 + padded(len) : NULL;
      }
      return la_get32(p + 1) == len && la_same_text(p + 5, c + 2, len)
                 ? c + 2 + padded(len)
                 : NULL;
    }
    case LA_OP_ID:
      return *p == LA_TAG_ID && la_get64(p + 1) == la_words64(c + 1) ? c + 3
                                                                     : NULL;
    case LA_OP_INT:
      return literal(r, c, p, &next) ? next : NULL;
    case LA_OP_ANY:
      return c + 1;
    default:
      return node(r, c, p);
  }
}

/* The usual table: a sequence of so many elements, and a list. */
static const uint32_t *list(la_run_t *r, const uint32_t *c, const uint8_t *p) {
  uint32_t n = c[1];
  if (la_get32(p + 1) != n) {
    return NULL;
  }
  c += 3;
  p += 5;
  for (;;) {
    c = quick(r, c, p);
    if (c == NULL || --n == 0) {
      return c;
    }
    p = la_skip(p);
  }
}

static const uint32_t *table(la_run_t *r, const uint32_t *c,
                             const uint8_t *p) {
  const uint32_t flags = *c >> 8;
  if (flags == LA_TABLE_SEQ && c[2] == 0 &&
      (*p == LA_TAG_LIST || *p == LA_TAG_LIST_S)) {
    return list(r, c, p);
  }
  const uint32_t npos = c[1];
  const uint32_t nkeys = c[2];
  uint32_t rest = LA_NO_SLOT;
  la_view_t v;
  la_view(r->t, p, &v);
  c += 3;
  if ((flags & LA_TABLE_REST) != 0) {
    rest = *c++;
  }
  if (v.kind != LA_K_TABLE) {
    /* A module or the globals table: any table will do, a look into it not. */
    return v.kind == LA_K_NAMED_TABLE && flags == 0 && nkeys == 0 ? c : NULL;
  }
  if ((flags & LA_TABLE_SEQ) != 0) {
    if (v.nseq != npos &&
        (v.nseq < npos || (flags & LA_TABLE_REST) == 0)) {
      return NULL;
    }
    p = v.at;
    for (uint32_t i = 0; i < npos; i++) {
      c = node(r, c, p);
      if (c == NULL) {
        return NULL;
      }
      if (i + 1 < npos || (flags & LA_TABLE_REST) != 0) {
        p = la_skip(p);
      }
    }
    if ((flags & LA_TABLE_REST) != 0) {
      bind_rest(r, rest, p, v.nseq - npos);
    }
  }
  return nkeys == 0 && (flags & LA_TABLE_EXACT) == 0
             ? c
             : keys(r, c, nkeys, &v, flags);
}

/* ---- the rest ----------------------------------------------------------- */

static void unbind(la_run_t *r, uint32_t range) {
  for (uint32_t s = range & 0xffff; s < range >> 16; s++) {
    r->cap[s].at = LA_UNSET;
  }
}

static const uint32_t *choice(la_run_t *r, const uint32_t *c,
                              const uint8_t *p) {
  const uint32_t *end = c + c[1];
  const uint32_t n = *c >> 8;
  c += 2;
  for (uint32_t i = 0; i < n; i++) {
    if (node(r, c + 2, p) != NULL) {
      return end;
    }
    if (r->lpeg != 0) {
      unbind(r, c[1]);
    }
    c += 2 + c[0];
  }
  return NULL;
}

static bool is_same(const la_run_t *r, uint32_t slot, const uint8_t *p) {
  la_view_t a, b;
  la_run_view(r, slot, &a);
  la_view(r->t, p, &b);
  return la_view_equal(r->t, &a, r->t, &b);
}

static const uint32_t *when(la_run_t *r, const uint32_t *c,
                            const uint8_t *p) {
  c = node(r, c, p);
  return c != NULL && la_guard_run(r, c + 1, *c) ? c + 1 + *c : NULL;
}

static bool lpeg(la_run_t *r, uint32_t slot, const uint8_t *p) {
  la_view_t v;
  la_view(r->t, p, &v);
  if (v.kind != LA_K_TEXT || (r->lpeg_failed >> slot & 1) != 0) {
    return false;
  }
  r->cap[slot] = (la_cap_t){(uint32_t)(p - r->t->bytes), 0, false};
  return true;
}

static const uint32_t *node(la_run_t *r, const uint32_t *c,
                            const uint8_t *p) {
  const uint32_t a = *c >> 8;
  const uint32_t *next;
  switch (*c & 0xff) {
    case LA_OP_ANY:
      return c + 1;
    case LA_OP_VALUE:
      return is_nil(r, p) ? NULL : c + 1;
    case LA_OP_CAP:
      /* Bound before the node below: a guard inside it may use the name. */
      bind_term(r, a, p);
      return node(r, c + 1, p);
    case LA_OP_NAME:
      bind_term(r, a, p);
      return is_nil(r, p) ? NULL : c + 1;
    case LA_OP_SAME:
      return is_same(r, a, p) ? c + 1 : NULL;
    case LA_OP_BOTH:
      return is_same(r, a, p) ? node(r, c + 1, p) : NULL;
    case LA_OP_IS:
      return is_type(r, (la_type_t)a, p) ? c + 1 : NULL;
    case LA_OP_NIL:
      return is_nil(r, p) ? c + 1 : NULL;
    case LA_OP_BOOL: case LA_OP_INT: case LA_OP_FLOAT: case LA_OP_ID:
    case LA_OP_TEXT:
      return literal(r, c, p, &next) ? next : NULL;
    case LA_OP_ATOM: case LA_OP_BIN:
      return is_text_kind(r, c, p) ? c + 2 + padded(c[1]) : NULL;
    case LA_OP_RAW:
      return is_raw(r, c, p) ? c + 2 + padded(c[1]) : NULL;
    case LA_OP_TUPLE:
      return is_type(r, LA_TYPE_TUPLE, p) ? node(r, c + 1, p) : NULL;
    case LA_OP_TABLE:
      return table(r, c, p);
    case LA_OP_CHOICE:
      return choice(r, c, p);
    case LA_OP_WHEN:
      return when(r, c + 1, p);
    case LA_OP_LPEG:
      return lpeg(r, a, p) ? c + 1 : NULL;
    default:
      assert(!"op");
      return NULL;
  }
}

static inline bool run(la_run_t *r, const la_matcher_t *m,
                       const la_clause_t *k) {
  r->lpeg = k->lpeg;
  if (k->lpeg != 0) {
    unbind(r, (uint32_t)k->nslots << 16);
  }
  const uint32_t *code = la_matcher_words(m) + k->code;
  return ((*code & 0xff) == LA_OP_TABLE ? table(r, code, r->t->bytes)
                                        : node(r, code, r->t->bytes)) != NULL;
}

bool la_run_clause(la_run_t *r, const la_matcher_t *m, int c) {
  return run(r, m, la_matcher_clause(m, c));
}

int la_matcher_try(const la_matcher_t *m, const la_msgview_t *msg,
                   la_id_t box, int from, la_caps_t *caps) {
  const la_id_t *boxes = la_matcher_boxes(m);
  for (int c = from; c < m->nclauses; c++) {
    const la_clause_t *k = la_matcher_clause(m, c);
    if ((k->tag != 0 && k->tag != msg->tag) || boxes[k->box] != box) {
      continue;
    }
    la_run_t r = {.t = &msg->term, .cap = caps->cap};
    if (run(&r, m, k)) {
      caps->n = k->nslots;
      return c;
    }
  }
  return -1;
}

static bool is_among(const uint32_t *tags, uint32_t n, uint32_t tag) {
  for (uint32_t i = 0; i < n; i++) {
    if (tags[i] == tag) {
      return true;
    }
  }
  return false;
}

uint32_t la_matcher_tags(const la_matcher_t *m, la_id_t box, uint32_t *tags,
                         uint32_t most) {
  const la_id_t *boxes = la_matcher_boxes(m);
  uint32_t n = 0;
  for (int c = 0; c < m->nclauses; c++) {
    const la_clause_t *k = la_matcher_clause(m, c);
    if (boxes[k->box] != box || is_among(tags, n, k->tag)) {
      continue;
    }
    if (k->tag == 0 || n == most) {
      return 0;
    }
    tags[n++] = k->tag;
  }
  return n;
}

uint32_t la_matcher_clauses(const la_matcher_t *m) {
  return m->nclauses;
}

uint32_t la_matcher_mailboxes(const la_matcher_t *m) {
  return m->nboxes;
}

la_id_t la_matcher_mailbox(const la_matcher_t *m, uint32_t i) {
  assert(i < m->nboxes);
  return la_matcher_boxes(m)[i];
}

double la_matcher_after(const la_matcher_t *m) {
  return m->after_ms;
}

la_id_t la_matcher_fresh_ref(const la_matcher_t *m) {
  return m->fresh;
}

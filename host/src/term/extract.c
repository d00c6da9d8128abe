/* Parts of a term as terms of their own.
 *
 * Mostly a part refers to nothing outside of itself, and its bytes are copied as
 * they are: back references count from where they stand. Otherwise it is
 * copied head by head. The first back reference to a table outside is replaced by
 * the table; where each table has been copied to is noted, so that whatever
 * refers to it again, also the table that holds the part itself, becomes a back
 * reference within the copy. */
#include "term/extract.h"

#include "base/env.h"
#include "base/map.h"
#include "term/tag.h"

void la_parts_free(la_parts_t *parts) {
  for (uint32_t i = 0; i < parts->nblobs; i++) {
    la_blob_unref(parts->blobs[i]);
  }
  la_free(parts->blobs);
  la_buf_free(&parts->bytes);
  *parts = (la_parts_t){0};
}

bool la_parts_add_blob(la_parts_t *parts, la_blob_t *blob, uint32_t *index) {
  if (parts->nblobs == parts->blobs_cap) {
    const uint32_t cap = parts->blobs_cap != 0 ? 2 * parts->blobs_cap : 4;
    la_blob_t **blobs = la_realloc(parts->blobs, cap * sizeof *blobs);
    if (blobs == NULL) {
      return false;
    }
    parts->blobs = blobs;
    parts->blobs_cap = cap;
  }
  *index = parts->nblobs;
  parts->blobs[parts->nblobs++] = blob;
  return true;
}

/* ---- looking ----------------------------------------------------------------- */

static bool is_code(const uint8_t *p) {
  return (*p == LA_TAG_FUNC || *p == LA_TAG_FUNC_S) && la_func_code(p) != NULL;
}

typedef struct {
  bool leads_out; /* a table outside is meant */
  bool is_bound;  /* an upvalue of a function outside */
  bool has_blobs, has_code;
} scan_t;

static void scan(const uint8_t *at, const uint8_t *end, scan_t *s) {
  uint64_t parts;
  *s = (scan_t){0};
  for (const uint8_t *p = at; p < end; p = la_head(p, end, &parts)) {
    switch (*p) {
      case LA_TAG_REF:
        s->leads_out |= la_get32(p + 1) > (size_t)(p - at);
        break;
      case LA_TAG_UPREF:
        s->is_bound |= la_get32(p + 1) > (size_t)(p - at);
        break;
      case LA_TAG_BLOB:
        s->has_blobs = true;
        break;
      default:
        s->has_code |= is_code(p);
    }
  }
}

bool la_term_has_code(const la_term_t *t) {
  scan_t s;
  scan(t->bytes, t->bytes + t->size, &s);
  return s.has_code;
}

/* The map behind the sequence of a MIXED, or behind a mark, is no level. */
static bool is_level(uint8_t tag, uint8_t above, uint64_t left) {
  return tag != LA_TAG_MARKED_MAP && above != LA_TAG_MARKED_MAP &&
         !((above == LA_TAG_MIXED || above == LA_TAG_MIXED_S) && left == 0);
}

/* An empty table, and not the end of a list. */
static bool is_empty_table(uint8_t tag, uint8_t above, uint64_t left) {
  return (tag == LA_TAG_EMPTY || tag == LA_TAG_EMPTY_S) &&
         !((above == LA_TAG_LIST || above == LA_TAG_LIST_S) && left == 0);
}

typedef struct {
  uint64_t left; /* parts to come */
  uint8_t tag;
  bool level;
} open_t;

enum { MOST_OPEN = 2 * LA_TERM_MAX_DEPTH + 2 };

int la_term_depth(const la_term_t *t, const uint8_t *at) {
  const uint8_t *const end = t->bytes + t->size;
  open_t open[MOST_OPEN];
  int nopen = 0, depth = 0, most = 0;
  const uint8_t *p = at;
  do {
    uint64_t parts = 0;
    const uint8_t tag = *p;
    p = la_head(p, end, &parts);
    const uint8_t above = nopen > 0 ? open[nopen - 1].tag : 0;
    const uint64_t left = nopen > 0 ? --open[nopen - 1].left : 1;
    const bool level = is_level(tag, above, left);
    if (is_empty_table(tag, above, left)) {
      most = depth + 1 > most ? depth + 1 : most;
    }
    if (parts > 0) {
      depth += level;
      most = depth > most ? depth : most;
      if (nopen == MOST_OPEN || most > LA_TERM_MAX_DEPTH) {
        return LA_TERM_MAX_DEPTH + 1;
      }
      open[nopen++] = (open_t){parts, tag, level};
    }
    while (nopen > 0 && open[nopen - 1].left == 0) {
      depth -= open[--nopen].level;
    }
  } while (nopen > 0);
  return most;
}

/* ---- copying as it is -------------------------------------------------------- */

/* The BLOB at 'to', a copy of the one at 'from'. */
static bool copy_blob(const la_term_t *t, const uint8_t *from, uint8_t *to,
                      la_parts_t *out) {
  la_blob_t *b = t->blobs[la_get32(from + 1)];
  uint32_t index;
  if (!la_parts_add_blob(out, b, &index)) {
    return false;
  }
  la_blob_ref(b);
  la_put32(to + 1, index);
  return true;
}

static la_extract_t copy_whole(const la_term_t *t, const uint8_t *at,
                               const uint8_t *end, bool has_blobs,
                               la_parts_t *out) {
  uint8_t *to = la_buf_add(&out->bytes, (size_t)(end - at));
  if (to == NULL) {
    return LA_EXTRACT_NOMEM;
  }
  memcpy(to, at, (size_t)(end - at));
  uint64_t parts;
  for (const uint8_t *p = at; has_blobs && p < end;
       p = la_head(p, end, &parts)) {
    if (*p == LA_TAG_BLOB && !copy_blob(t, p, to + (p - at), out)) {
      return LA_EXTRACT_NOMEM;
    }
  }
  return LA_EXTRACT_OK;
}

/* ---- copying head by head ------------------------------------------------------ */

static bool is_shared(uint8_t tag) {
  return tag == LA_TAG_EMPTY_S || tag == LA_TAG_LIST_S || tag == LA_TAG_MAP_S ||
         tag == LA_TAG_MIXED_S || tag == LA_TAG_FUNC_S ||
         tag == LA_TAG_OBJECT_S || tag == LA_TAG_TRANSFER_S;
}

typedef struct {
  const la_term_t *t;
  la_parts_t *out;
  la_map_t copied; /* where each shared term went: address -> offset + 1 */
} copy_t;

static la_extract_t copy_ref(copy_t *c, size_t to) {
  la_buf_t *b = &c->out->bytes;
  const size_t here = b->len;
  uint8_t *p = la_buf_add(b, 5);
  if (p == NULL) {
    return LA_EXTRACT_NOMEM;
  }
  *p = LA_TAG_REF;
  la_put32(p + 1, (uint32_t)(here - to));
  b->data[to] = la_shared_twin(b->data[to]);
  return LA_EXTRACT_OK;
}

/* The head of the term at 'p', or a back reference to a copy made before. */
static la_extract_t copy_head(copy_t *c, const uint8_t *p,
                              const uint8_t **next, uint64_t *parts) {
  const uint8_t *const end = c->t->bytes + c->t->size;
  const uintptr_t before =
      is_shared(*p) ? (uintptr_t)la_map_get(&c->copied, (uintptr_t)p) : 0;
  *parts = 0;
  if (before != 0) {
    return copy_ref(c, before - 1);
  }
  if (*p == LA_TAG_UPREF) {
    return LA_EXTRACT_BOUND;
  }
  const size_t at = c->out->bytes.len;
  *next = la_head(p, end, parts);
  uint8_t *to = la_buf_add(&c->out->bytes, (size_t)(*next - p));
  if (to == NULL || (is_shared(*p) && !la_map_put(&c->copied, (uintptr_t)p,
                                                  (void *)(at + 1)))) {
    return LA_EXTRACT_NOMEM;
  }
  memcpy(to, p, (size_t)(*next - p));
  return *p != LA_TAG_BLOB || copy_blob(c->t, p, to, c->out)
             ? LA_EXTRACT_OK
             : LA_EXTRACT_NOMEM;
}

static la_extract_t copy_apart(copy_t *c, const uint8_t *at) {
  struct {
    const uint8_t *p;
    uint64_t left;
  } open[MOST_OPEN];
  int n = 1;
  open[0].p = at;
  open[0].left = 1;
  while (n > 0) {
    if (open[n - 1].left == 0) {
      n--;
      continue;
    }
    const uint8_t *p = open[n - 1].p, *next;
    uint64_t parts;
    open[n - 1].left--;
    if (open[n - 1].left > 0) {
      open[n - 1].p = la_skip(p);
    }
    const la_extract_t code = copy_head(c, la_deref(p), &next, &parts);
    if (code != LA_EXTRACT_OK) {
      return code;
    }
    if (parts > 0) {
      if (n == MOST_OPEN) {
        return LA_EXTRACT_DEEP;
      }
      open[n].p = next;
      open[n].left = parts;
      n++;
    }
  }
  return LA_EXTRACT_OK;
}

la_extract_t la_term_extract(const la_term_t *t, const uint8_t *at,
                             la_parts_t *out) {
  scan_t s;
  at = la_deref(at);
  const uint8_t *const end = la_skip(at);
  const size_t len = out->bytes.len;
  la_extract_t code = LA_EXTRACT_OK;
  scan(at, end, &s);
  if (s.is_bound) {
    return LA_EXTRACT_BOUND;
  }
  if (!s.leads_out) {
    code = copy_whole(t, at, end, s.has_blobs, out);
  } else {
    copy_t c = {.t = t, .out = out};
    code = copy_apart(&c, at);
    la_map_fini(&c.copied);
    if (code == LA_EXTRACT_OK) {
      const la_term_t copy = {out->bytes.data, out->bytes.len, out->blobs,
                              out->nblobs};
      scan(copy.bytes + len, copy.bytes + copy.size, &s);
      if (la_term_depth(&copy, copy.bytes + len) > LA_TERM_MAX_DEPTH) {
        code = LA_EXTRACT_DEEP;
      }
    }
  }
  out->has_code |= code == LA_EXTRACT_OK && s.has_code;
  if (code == LA_EXTRACT_NOMEM) {
    out->bytes.failed = false;
  }
  if (code != LA_EXTRACT_OK) {
    out->bytes.len = len;
  }
  return code;
}

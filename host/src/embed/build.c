/* luactor.h: building values.
 *
 * The bytes are written as the calls come. A table's head is left open until
 * luactor_build_end knows what it is: a sequence, pairs, or both. Its elements
 * are written first and its pairs behind them, with the head of a MAP in
 * between. A pair whose key is the next index is an element. What does not fit into
 * this order (an element after a pair, indices backwards) is written as a pair and
 * put into its place at the end; that is the one case where bytes move, and
 * they may, since everything in a table refers to nothing outside of it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "embed/value.h"
#include "term/tag.h"
#include "term/wire.h"

typedef struct {
  size_t at;       /* its head */
  size_t key_at;   /* the pair that is being written */
  uint32_t nseq, npairs;
  uint32_t later;  /* elements that came after a pair */
  bool is_tuple, scrambled;
  bool takes_nil;  /* a list that the host makes for itself */
  bool is_later;   /* the pair that is being written is such an element */
  enum { NO_KEY, WANTS_KEY, HAS_KEY } key;
} open_t;

struct luactor_builder {
  int error;
  la_parts_t parts;
  uint64_t home;      /* that of the value */
  bool is_whole;      /* the root value is there */
  int depth;
  open_t open[LA_TERM_MAX_DEPTH];
};

luactor_builder *luactor_builder_new(void) {
  luactor_builder *b = la_alloc(sizeof *b);
  if (b != NULL) {
    memset(b, 0, offsetof(luactor_builder, open));
  }
  return b;
}

static void reset(luactor_builder *b) {
  la_parts_free(&b->parts);
  b->error = 0;
  b->home = 0;
  b->is_whole = false;
  b->depth = 0;
}

void luactor_builder_free(luactor_builder *b) {
  if (b != NULL) {
    la_parts_free(&b->parts);
    la_free(b);
  }
}

static int fail(luactor_builder *b, int code) {
  if (b == NULL) {
    return LUACTOR_ENOMEM;
  }
  if (b->error == 0) {
    b->error = code;
  }
  return b->error;
}

static open_t *innermost(luactor_builder *b) {
  return b->depth > 0 ? &b->open[b->depth - 1] : NULL;
}

static void put32(luactor_builder *b, size_t at, uint32_t n) {
  la_put32(b->parts.bytes.data + at, n);
}

/* ---- where a value goes ------------------------------------------------------------ */

/* A MAP's head, before the first pair behind elements. */
static void begin_pairs(luactor_builder *b, const open_t *o) {
  if (o->nseq > 0 && o->npairs == 0) {
    static const uint8_t head[5] = {LA_TAG_MAP};
    la_buf_put(&b->parts.bytes, head, sizeof head);
  }
}

static void put_int(luactor_builder *b, int64_t n) {
  uint8_t bytes[9];
  if (n >= 0 && n <= 255) {
    bytes[0] = LA_TAG_SMALL_INT;
    bytes[1] = (uint8_t)n;
    la_buf_put(&b->parts.bytes, bytes, 2);
  } else if (n >= INT32_MIN && n <= INT32_MAX) {
    bytes[0] = LA_TAG_INT;
    la_put32(bytes + 1, (uint32_t)n);
    la_buf_put(&b->parts.bytes, bytes, 5);
  } else {
    bytes[0] = LA_TAG_INT64;
    la_put64(bytes + 1, (uint64_t)n);
    la_buf_put(&b->parts.bytes, bytes, 9);
  }
}

/* Before each value. False: not now. */
static bool begin(luactor_builder *b) {
  if (b == NULL || b->error != 0) {
    return false;
  }
  open_t *o = innermost(b);
  if (o == NULL) {
    return !b->is_whole || fail(b, LUACTOR_EINVAL) == 0;
  }
  if (o->key == NO_KEY && o->npairs > 0) {
    o->key_at = b->parts.bytes.len;
    put_int(b, (int64_t)o->nseq + ++o->later);
    o->key = HAS_KEY;
    o->scrambled = o->is_later = true;
  }
  return true;
}

/* The key from 'from' on has been written. */
static void end_key(luactor_builder *b, open_t *o, size_t from) {
  la_view_t v;
  const la_term_t t = {b->parts.bytes.data, b->parts.bytes.len,
                       b->parts.blobs, b->parts.nblobs};
  la_view(&t, t.bytes + from, &v);
  if (v.kind == LA_K_NIL || (v.kind == LA_K_FLOAT && isnan(v.d))) {
    fail(b, LUACTOR_EINVAL);
  }
  int64_t n = 0;
  if (v.kind == LA_K_INT) {
    n = v.i;
  } else if (v.kind == LA_K_FLOAT && v.d >= -0x1p63 && v.d < 0x1p63 &&
             v.d == floor(v.d)) { /* as Lua's tables do */
    n = (int64_t)v.d;
    b->parts.bytes.len = from;
    put_int(b, n);
  }
  o->scrambled |= n > 0;
  o->key = HAS_KEY;
}

/* A pair whose key is 'n' and which stands first is an element. */
static bool is_next_index(const luactor_builder *b, const open_t *o,
                          size_t from) {
  la_view_t v;
  const la_term_t t = {b->parts.bytes.data, b->parts.bytes.len, NULL, 0};
  if (o->npairs > 0 || *(t.bytes + o->key_at) == LA_TAG_BLOB) {
    return false;
  }
  la_view(&t, t.bytes + o->key_at, &v);
  return v.kind == LA_K_INT && v.i == (int64_t)o->nseq + 1 &&
         la_skip(t.bytes + o->key_at) == t.bytes + from;
}

static void end_pair(luactor_builder *b, open_t *o, size_t from, bool is_nil) {
  la_buf_t *bytes = &b->parts.bytes;
  const bool began = o->nseq > 0 && o->npairs == 0;
  o->key = NO_KEY;
  if (is_nil && o->is_later) {
    fail(b, LUACTOR_EINVAL);
    return;
  }
  o->is_later = false;
  if (is_nil) {
    bytes->len = o->key_at - (began ? 5 : 0);
  } else if (is_next_index(b, o, from)) {
    const size_t to = o->key_at - (began ? 5 : 0);
    memmove(bytes->data + to, bytes->data + from, bytes->len - from);
    bytes->len -= from - to;
    o->nseq++;
    o->scrambled = false;
  } else {
    o->npairs++;
  }
}

/* After each value, which begins at 'from'. */
static int end(luactor_builder *b, size_t from, bool is_nil) {
  if (b->parts.bytes.failed) {
    return fail(b, LUACTOR_ENOMEM);
  }
  if (b->parts.bytes.len > LA_TERM_MAX_BYTES - 16) {
    return fail(b, LUACTOR_ERANGE);
  }
  if (b->error != 0) {
    return b->error;
  }
  open_t *o = innermost(b);
  if (o == NULL) {
    b->is_whole = true;
  } else if (o->key == WANTS_KEY) {
    end_key(b, o, from);
  } else if (o->key == HAS_KEY) {
    end_pair(b, o, from, is_nil);
  } else if (is_nil && !o->is_tuple && !o->takes_nil) {
    fail(b, LUACTOR_EINVAL);
  } else {
    o->nseq++;
  }
  return b->error;
}

static int put(luactor_builder *b, const void *bytes, size_t n) {
  if (!begin(b)) {
    return fail(b, LUACTOR_ENOMEM);
  }
  const size_t from = b->parts.bytes.len;
  la_buf_put(&b->parts.bytes, bytes, n);
  return end(b, from, *(const uint8_t *)bytes == LA_TAG_NIL);
}

static int put_wide(luactor_builder *b, uint8_t tag, uint64_t bits) {
  uint8_t bytes[9] = {tag};
  la_put64(bytes + 1, bits);
  return put(b, bytes, sizeof bytes);
}

/* ---- scalars ------------------------------------------------------------------------ */

int luactor_build_nil(luactor_builder *b) {
  return put(b, &(uint8_t){LA_TAG_NIL}, 1);
}

int luactor_build_boolean(luactor_builder *b, int value) {
  return put(b, &(uint8_t){value ? LA_TAG_TRUE : LA_TAG_FALSE}, 1);
}

int luactor_build_integer(luactor_builder *b, int64_t value) {
  if (!begin(b)) {
    return fail(b, LUACTOR_ENOMEM);
  }
  const size_t from = b->parts.bytes.len;
  put_int(b, value);
  return end(b, from, false);
}

int luactor_build_number(luactor_builder *b, double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  return put_wide(b, isfinite(value) ? LA_TAG_NEW_FLOAT : LA_TAG_RAW_FLOAT,
                  bits);
}

/* Copied once, and then shared by all messages that carry it. */
static int put_blob(luactor_builder *b, const char *bytes, size_t len) {
  uint8_t term[9] = {LA_TAG_BLOB};
  uint32_t index;
  la_blob_t *blob =
      la_alloc_fails() ? NULL : la_blob_new(NULL, bytes, len);
  if (blob == NULL || !la_parts_add_blob(&b->parts, blob, &index)) {
    if (blob != NULL) {
      la_blob_unref(blob);
    }
    return fail(b, LUACTOR_ENOMEM);
  }
  la_put32(term + 1, index);
  la_put32(term + 5, (uint32_t)len);
  return put(b, term, sizeof term);
}

int luactor_build_string(luactor_builder *b, const char *bytes, size_t len) {
  if (bytes == NULL && len > 0) {
    return fail(b, LUACTOR_EINVAL);
  }
  if (len > LA_TERM_MAX_BYTES - 64) {
    return fail(b, LUACTOR_ERANGE);
  }
  if (!begin(b)) {
    return fail(b, LUACTOR_ENOMEM);
  }
  if (len >= LA_TERM_BLOB_MIN) {
    return put_blob(b, bytes, len);
  }
  uint8_t head[5] = {LA_TAG_BINARY};
  la_put32(head + 1, (uint32_t)len);
  const size_t from = b->parts.bytes.len;
  la_buf_put(&b->parts.bytes, head, sizeof head);
  la_buf_put(&b->parts.bytes, bytes, len);
  return end(b, from, false);
}

int luactor_build_text(luactor_builder *b, const char *text) {
  return text != NULL ? luactor_build_string(b, text, strlen(text))
                      : fail(b, LUACTOR_EINVAL);
}

int luactor_build_atom(luactor_builder *b, const char *text) {
  const size_t len = text != NULL ? strlen(text) : SIZE_MAX;
  if (len > 255 || !la_wire_atom_ok((const uint8_t *)text, len)) {
    return fail(b, LUACTOR_EINVAL);
  }
  if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0) {
    return luactor_build_boolean(b, text[0] == 't');
  }
  if (strcmp(text, "nil") == 0) {
    return luactor_build_nil(b);
  }
  uint8_t bytes[257] = {LA_TAG_SMALL_ATOM, (uint8_t)len};
  memcpy(bytes + 2, text, len);
  return put(b, bytes, len + 2);
}

int luactor_build_pid(luactor_builder *b, luactor_pid pid) {
  return la_id_has_slot(pid) ? put_wide(b, LA_TAG_ID, pid)
                             : fail(b, LUACTOR_EINVAL);
}

int luactor_build_ref(luactor_builder *b, uint64_t ref) {
  return la_id_kind(ref) == LA_ID_REF ? put_wide(b, LA_TAG_ID, ref)
                                      : fail(b, LUACTOR_EINVAL);
}

/* ---- parts of other values ------------------------------------------------------------ */

static int put_term(luactor_builder *b, const la_whole_t *whole,
                    const uint8_t *at) {
  const la_term_t *t = &whole->term;
  if (b->depth + la_term_depth(t, at) > LA_TERM_MAX_DEPTH) {
    return fail(b, LUACTOR_ERANGE);
  }
  const size_t from = b->parts.bytes.len;
  b->parts.has_code = false;
  const int code = la_extract_code(la_term_extract(t, at, &b->parts));
  if (code != 0) {
    return fail(b, code);
  }
  if (b->parts.has_code) {
    if (b->home != 0 && b->home != whole->home) {
      return fail(b, LUACTOR_ETYPE); /* of two hosts */
    }
    b->home = whole->home;
  }
  return end(b, from, b->parts.bytes.data[from] == LA_TAG_NIL);
}

int luactor_build_view(luactor_builder *b, luactor_view view) {
  const uint8_t *at;
  const la_whole_t *whole = la_view_whole(view, &at);
  if (whole == NULL) {
    return view.whole != NULL ? luactor_build_integer(b, view.number)
                              : fail(b, LUACTOR_EINVAL);
  }
  return begin(b) ? put_term(b, whole, at) : fail(b, LUACTOR_ENOMEM);
}

/* ---- tables --------------------------------------------------------------------------- */

static int open_one(luactor_builder *b, bool is_tuple) {
  static const uint8_t head[5] = {LA_TAG_LIST};
  if (!begin(b)) {
    return fail(b, LUACTOR_ENOMEM);
  }
  if (b->depth == LA_TERM_MAX_DEPTH) {
    return fail(b, LUACTOR_ERANGE);
  }
  b->open[b->depth++] =
      (open_t){.at = b->parts.bytes.len, .is_tuple = is_tuple};
  la_buf_put(&b->parts.bytes, head, sizeof head);
  return b->parts.bytes.failed ? fail(b, LUACTOR_ENOMEM) : 0;
}

int luactor_build_table(luactor_builder *b) {
  return open_one(b, false);
}

int la_build_list(luactor_builder *b) {
  const int code = open_one(b, false);
  if (code == 0) {
    innermost(b)->takes_nil = true;
  }
  return code;
}

int luactor_build_tuple(luactor_builder *b) {
  return open_one(b, true);
}

int luactor_build_key(luactor_builder *b) {
  if (b == NULL || b->error != 0) {
    return fail(b, LUACTOR_ENOMEM);
  }
  open_t *o = innermost(b);
  if (o == NULL || o->is_tuple || o->key != NO_KEY) {
    return fail(b, LUACTOR_EINVAL);
  }
  begin_pairs(b, o);
  o->key = WANTS_KEY;
  o->key_at = b->parts.bytes.len;
  return b->parts.bytes.failed ? fail(b, LUACTOR_ENOMEM) : 0;
}

int luactor_build_field(luactor_builder *b, const char *key) {
  luactor_build_key(b);
  return luactor_build_text(b, key);
}

/* ---- the end of a table --------------------------------------------------------------- */

/* A pair with an integer as its key, in a table that has to be put in order. */
typedef struct {
  int64_t index;
  uint32_t order;
  size_t key, value, end;
} item_t;

static int by_index(const void *a, const void *b) {
  const item_t *x = a, *y = b;
  return x->index != y->index ? (x->index < y->index ? -1 : 1)
                              : (x->order < y->order ? -1 : 1);
}

static size_t offset_of(const luactor_builder *b, const uint8_t *p) {
  return (size_t)(p - b->parts.bytes.data);
}

/* The pairs, which begin at 'at': those with indices first. */
static uint32_t list_items(const luactor_builder *b, const open_t *o, size_t at,
                           item_t *items) {
  const la_term_t t = {b->parts.bytes.data, b->parts.bytes.len,
                       b->parts.blobs, b->parts.nblobs};
  uint32_t n = 0, others = o->npairs;
  const uint8_t *p = t.bytes + at;
  for (uint32_t i = 0; i < o->npairs; i++) {
    const uint8_t *value = la_skip(p), *next = la_skip(value);
    la_view_t v;
    la_view(&t, p, &v);
    const bool is_index = v.kind == LA_K_INT && v.i > (int64_t)o->nseq;
    items[is_index ? n++ : --others] =
        (item_t){is_index ? v.i : 0, i, offset_of(b, p), offset_of(b, value),
                 offset_of(b, next)};
    p = next;
  }
  return n;
}

/* Behind the sequence. */
static size_t map_head(const luactor_builder *b, const open_t *o) {
  const uint8_t *p = b->parts.bytes.data + o->at + 5;
  for (uint32_t i = 0; i < o->nseq; i++) {
    p = la_skip(p);
  }
  return offset_of(b, p);
}

static uint8_t *add_piece(uint8_t *to, const luactor_builder *b, size_t from,
                          size_t until) {
  memcpy(to, b->parts.bytes.data + from, until - from);
  return to + (until - from);
}

/* Move pairs whose keys go on with the sequence into it. */
static void put_in_order(luactor_builder *b, open_t *o) {
  const size_t seq_end = map_head(b, o);
  const size_t at = seq_end + (o->nseq > 0 ? 5 : 0);
  item_t *items = la_alloc(o->npairs * sizeof *items);
  const size_t size = b->parts.bytes.len - seq_end + 5;
  uint8_t *copy = la_alloc(size), *to = copy;
  if (items == NULL || copy == NULL) {
    fail(b, LUACTOR_ENOMEM);
    goto out;
  }
  const uint32_t n = list_items(b, o, at, items);
  qsort(items, n, sizeof *items, by_index);
  uint32_t moved = 0;
  while (moved < n && items[moved].index == (int64_t)o->nseq + moved + 1) {
    to = add_piece(to, b, items[moved].value, items[moved].end);
    moved++;
  }
  const uint32_t left = o->npairs - moved;
  if (left > 0 && o->nseq + moved > 0) {
    static const uint8_t head[5] = {LA_TAG_MAP};
    memcpy(to, head, sizeof head);
    to += sizeof head;
  }
  for (uint32_t i = moved; i < o->npairs; i++) {
    to = add_piece(to, b, items[i].key, items[i].end);
  }
  b->parts.bytes.len = seq_end;
  la_buf_put(&b->parts.bytes, copy, (size_t)(to - copy));
  o->nseq += moved;
  o->npairs = left;
out:
  la_free(items);
  la_free(copy);
}

static void end_table(luactor_builder *b, open_t *o) {
  la_buf_t *bytes = &b->parts.bytes;
  if (o->scrambled && o->npairs > 0) {
    put_in_order(b, o);
  }
  if (b->error != 0) {
    return;
  }
  if (o->npairs == 0 && o->nseq == 0) {
    bytes->data[o->at] = LA_TAG_EMPTY;
    bytes->len = o->at + 1;
  } else if (o->npairs == 0) {
    put32(b, o->at + 1, o->nseq);
    la_buf_u8(bytes, LA_TAG_EMPTY);
  } else if (o->nseq == 0) {
    bytes->data[o->at] = LA_TAG_MAP;
    put32(b, o->at + 1, o->npairs);
  } else {
    bytes->data[o->at] = LA_TAG_MIXED;
    put32(b, o->at + 1, o->nseq);
    put32(b, map_head(b, o) + 1, o->npairs);
  }
}

static void end_tuple(luactor_builder *b, open_t *o) {
  la_buf_t *bytes = &b->parts.bytes;
  if (o->nseq > 255) {
    bytes->data[o->at] = LA_TAG_BIG_TUPLE;
    put32(b, o->at + 1, o->nseq);
    return;
  }
  uint8_t *head = bytes->data + o->at;
  head[0] = LA_TAG_TUPLE;
  head[1] = (uint8_t)o->nseq;
  memmove(head + 2, head + 5, bytes->len - o->at - 5);
  bytes->len -= 3;
}

int luactor_build_end(luactor_builder *b) {
  if (b == NULL || b->error != 0) {
    return fail(b, LUACTOR_ENOMEM);
  }
  open_t *o = innermost(b);
  if (o == NULL || o->key != NO_KEY) {
    return fail(b, LUACTOR_EINVAL);
  }
  (o->is_tuple ? end_tuple : end_table)(b, o);
  if (b->error != 0) {
    return b->error;
  }
  const size_t from = o->at;
  b->depth--;
  return end(b, from, false);
}

int luactor_build_finish(luactor_builder *b, luactor_value **out) {
  if (b == NULL) {
    return LUACTOR_ENOMEM;
  }
  int code = b->error;
  if (code == 0 && (!b->is_whole || b->depth > 0 || out == NULL)) {
    code = LUACTOR_EINVAL;
  }
  if (code == 0) {
    const la_term_t t = {b->parts.bytes.data, b->parts.bytes.len,
                         b->parts.blobs, b->parts.nblobs};
    luactor_value *v = la_value_new(&t, 0);
    if (v != NULL) {
      v->whole.home = b->home;
      *out = v;
    }
    code = v != NULL ? 0 : LUACTOR_ENOMEM;
  }
  reset(b);
  return code;
}

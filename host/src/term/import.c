/* Terms of other nodes, let in (border.h).
 *
 * One pass over the bytes, with a stack of open containers of at most
 * LA_TERM_MAX_DEPTH: a term that is nested deeper is refused, not
 * followed. Every count is compared with the bytes that are left before it is
 * believed, and nothing is allocated from a count alone.
 *
 * What changes on the way in:
 *
 *   pids and references of this incarnation -> identities of this host
 *   true, false; nil as a whole term or in a tuple -> Lua's
 *   lists of bytes (STRING) -> lists; old forms of floats, atoms, pids -> new
 *   integers -> the local integers; beyond 64 bits: OPAQUE
 *   long binaries -> blobs; improper lists -> CONS
 *   funs, ports, bit strings, and maps with keys that are one in Lua (1 and
 *   1.0) or none (nil) -> OPAQUE: kept byte for byte, to be sent on */
#include <stdlib.h>

#include "base/env.h"
#include "term/border.h"
#include "term/tag.h"
#include "term/wire.h"

enum {
  OLD_FLOAT = 99,
  PID_OLD = 103,
  LARGE_BIG = 111,
  NEW_FUN = 112,
  EXPORT = 113,
  REF_OLD = 114,
  BIT_BINARY = 77,
  PORT_NEW = 89,
  PORT_OLD = 102,
  PORT_V4 = 120,
  SMALL_ATOM_LATIN1 = 115,
  ATOM_LATIN1 = 100,
};

typedef enum { IN_TUPLE, IN_LIST, IN_MAP, IN_MIXED, IN_TRANSFER } inside_t;

typedef struct frame {
  inside_t inside;
  uint64_t left;      /* parts still to come */
  const uint8_t *from; /* the container's own tag */
  size_t at;          /* where it begins in the output */
  uint32_t nblobs;    /* before it */
  bool is_key;        /* maps: the next part is a key */
  bool int_keys, float_keys; /* maps: integers; floats that equal one */
  bool one, others;          /* maps: the key 1; keys that are no atoms */
} frame_t;

/* A table that a REF may lead to: where it was and where it is. */
typedef struct place {
  size_t in, out;
} place_t;

typedef struct importer {
  const uint8_t *start, *end;
  const la_peer_t *peer;
  la_imported_t *out;
  frame_t stack[LA_TERM_MAX_DEPTH];
  uint32_t depth;
  place_t *places;
  uint32_t nplaces, places_cap;
  la_import_t result;
  const char *why;
} importer_t;

/* ---- results ------------------------------------------------------------------- */

void la_imported_free(la_imported_t *in) {
  for (uint32_t i = 0; i < in->nblobs; i++) {
    la_blob_unref(in->blobs[i]);
  }
  la_free(in->blobs);
  la_buf_free(&in->bytes);
  memset(in, 0, sizeof *in);
}

void la_imported_term(const la_imported_t *in, la_term_t *out) {
  *out = (la_term_t){in->bytes.data, in->bytes.len,
                     in->nblobs > 0 ? in->blobs : NULL, in->nblobs};
}

static const uint8_t *stop(importer_t *i, la_import_t result,
                           const char *why) {
  i->result = result;
  i->why = why;
  return NULL;
}

static const uint8_t *malformed(importer_t *i) {
  return stop(i, LA_IMPORT_MALFORMED, "a malformed term");
}

static const uint8_t *no_memory(importer_t *i) {
  return stop(i, LA_IMPORT_NO_MEMORY, "not enough memory");
}

/* ---- simple parts ----------------------------------------------------------------- */

static void put_int(la_buf_t *b, int64_t v) {
  if (v >= 0 && v <= 255) {
    la_buf_u8(b, LA_TAG_SMALL_INT);
    la_buf_u8(b, (uint8_t)v);
  } else if (v >= INT32_MIN && v <= INT32_MAX) {
    la_buf_u8(b, LA_TAG_INT);
    la_buf_u32(b, (uint32_t)v);
  } else {
    la_buf_u8(b, LA_TAG_INT64);
    la_buf_u64(b, (uint64_t)v);
  }
}

/* Keep the bytes from 'p' to 'behind' as they are. */
static void put_opaque(la_buf_t *b, const uint8_t *p, const uint8_t *behind) {
  la_buf_u8(b, LA_TAG_OPAQUE);
  la_buf_u32(b, (uint32_t)(behind - p));
  la_buf_put(b, p, (size_t)(behind - p));
}

static const uint8_t *opaque(importer_t *i, const uint8_t *p) {
  bool unknown = false;
  const uint8_t *behind = la_wire_skip(p, i->end, &unknown);
  if (behind == NULL) {
    return unknown
               ? stop(i, LA_IMPORT_REFUSED, "a term of an unknown kind")
               : malformed(i);
  }
  put_opaque(&i->out->bytes, p, behind);
  return behind;
}

/* 'n' bytes of magnitude at 'm', lowest first. */
static const uint8_t *big(importer_t *i, const uint8_t *p, size_t head,
                          size_t n, bool negative) {
  const uint8_t *m = p + head;
  while (n > 0 && m[n - 1] == 0) {
    n--; /* leading zeros are legal */
  }
  uint64_t v = 0;
  for (size_t k = 0; k < n && k < 8; k++) {
    v |= (uint64_t)m[k] << (8 * k);
  }
  const uint64_t most = (uint64_t)INT64_MAX + (negative ? 1 : 0);
  if (n > 8 || v > most) {
    return opaque(i, p);
  }
  put_int(&i->out->bytes, negative ? (int64_t)(0 - v) : (int64_t)v);
  return m;
}

static const uint8_t *put_double(importer_t *i, double d,
                                 const uint8_t *behind) {
  uint64_t bits;
  if (!(d - d == 0)) { /* neither NaN nor infinite */
    return malformed(i);
  }
  memcpy(&bits, &d, sizeof bits);
  la_buf_u8(&i->out->bytes, LA_TAG_NEW_FLOAT);
  la_buf_u64(&i->out->bytes, bits);
  return behind;
}

static const uint8_t *old_float(importer_t *i, const uint8_t *p) {
  char text[32];
  char *rest;
  memcpy(text, p + 1, 31);
  text[31] = '\0';
  const double d = strtod(text, &rest);
  if (rest == text || strspn(text, "0123456789+-.eE") != strlen(text)) {
    return malformed(i);
  }
  return put_double(i, d, p + 32);
}

static bool put_blob(importer_t *i, const uint8_t *p, size_t n) {
  la_imported_t *out = i->out;
  if (out->nblobs == out->blobs_cap) {
    const uint32_t cap = out->blobs_cap != 0 ? 2 * out->blobs_cap : 4;
    la_blob_t **blobs = la_realloc(out->blobs, cap * sizeof *blobs);
    if (blobs == NULL) {
      return false;
    }
    out->blobs = blobs;
    out->blobs_cap = cap;
  }
  la_blob_t *blob = la_blob_new(i->peer->blobs_home, p, n);
  if (blob == NULL) {
    return false;
  }
  la_buf_u8(&out->bytes, LA_TAG_BLOB);
  la_buf_u32(&out->bytes, out->nblobs);
  la_buf_u32(&out->bytes, (uint32_t)n);
  out->blobs[out->nblobs++] = blob;
  return true;
}

static const uint8_t *binary(importer_t *i, const uint8_t *p) {
  const size_t n = la_get32(p + 1);
  if (n < LA_TERM_BLOB_MIN) {
    la_buf_put(&i->out->bytes, p, 5 + n);
  } else if (!put_blob(i, p + 5, n)) {
    return no_memory(i);
  }
  return p + 5 + n;
}

static bool is_text(const uint8_t *text, size_t n, const char *word) {
  return n == strlen(word) && memcmp(text, word, n) == 0;
}

/* Does nil here mean "no value", as Lua's nil does? In lists and maps, which
 * cannot hold nil in Lua, the atom stays one. */
static bool nil_is_nil(const importer_t *i) {
  return i->depth == 0 || i->stack[i->depth - 1].inside == IN_TUPLE;
}

static bool put_atom(importer_t *i, const uint8_t *text, size_t n) {
  la_buf_t *b = &i->out->bytes;
  if (is_text(text, n, "true")) {
    la_buf_u8(b, LA_TAG_TRUE);
  } else if (is_text(text, n, "false")) {
    la_buf_u8(b, LA_TAG_FALSE);
  } else if (nil_is_nil(i) && is_text(text, n, "nil")) {
    la_buf_u8(b, LA_TAG_NIL);
  } else if (la_wire_atom_ok(text, n)) {
    la_wire_atom_write(b, text, n);
  } else {
    return false;
  }
  return true;
}

static const uint8_t *atom(importer_t *i, const uint8_t *p) {
  const uint8_t tag = *p;
  const size_t left = (size_t)(i->end - p);
  const bool is_long = tag == LA_TAG_ATOM || tag == ATOM_LATIN1;
  const size_t head = is_long ? 3 : 2;
  if (left < head) {
    return malformed(i);
  }
  const size_t n = is_long ? la_get16(p + 1) : p[1];
  const uint8_t *text = p + head;
  if (left - head < n) {
    return malformed(i);
  }
  if (tag != ATOM_LATIN1 && tag != SMALL_ATOM_LATIN1) {
    return put_atom(i, text, n) ? text + n : malformed(i);
  }
  uint8_t utf8[2 * 255];
  size_t k = 0;
  if (n > 255) {
    return malformed(i);
  }
  for (size_t c = 0; c < n; c++) {
    if (text[c] < 0x80) {
      utf8[k++] = text[c];
    } else {
      utf8[k++] = (uint8_t)(0xC0 | text[c] >> 6);
      utf8[k++] = (uint8_t)(0x80 | (text[c] & 63));
    }
  }
  return put_atom(i, utf8, k) ? text + n : malformed(i);
}

static const uint8_t *identity(importer_t *i, const uint8_t *p) {
  la_wire_id_t id;
  const uint8_t *behind = la_wire_id_read(p, i->end, &id);
  if (behind == NULL) {
    return malformed(i);
  }
  la_id_t local = la_wire_id_is_of(&id, i->peer->node, i->peer->creation)
                      ? la_wire_id_local(&id)
                      : LA_NO_ID;
  if (id.kind == LA_WIRE_PID && local != LA_NO_ID && i->peer->own != NULL) {
    local = i->peer->own(i->peer->host, local);
  }
  if (local != LA_NO_ID) {
    la_buf_u8(&i->out->bytes, LA_TAG_ID);
    la_buf_u64(&i->out->bytes, local);
  } else if (id.kind == LA_WIRE_PORT) {
    put_opaque(&i->out->bytes, p, behind);
  } else {
    la_wire_id_write(&i->out->bytes, &id);
  }
  return behind;
}

/* A list of small integers in disguise. */
static const uint8_t *string(importer_t *i, const uint8_t *p) {
  la_buf_t *b = &i->out->bytes;
  const size_t n = la_get16(p + 1);
  if (n == 0) {
    la_buf_u8(b, LA_TAG_EMPTY);
    return p + 3;
  }
  la_buf_u8(b, LA_TAG_LIST);
  la_buf_u32(b, (uint32_t)n);
  uint8_t *to = la_buf_add(b, 2 * n + 1);
  if (to == NULL) {
    return no_memory(i);
  }
  for (size_t k = 0; k < n; k++) {
    to[2 * k] = LA_TAG_SMALL_INT;
    to[2 * k + 1] = p[3 + k];
  }
  to[2 * n] = LA_TAG_EMPTY;
  return p + 3 + n;
}

/* ---- containers --------------------------------------------------------------------- */

static const uint8_t *push(importer_t *i, inside_t inside, uint64_t parts,
                           const uint8_t *p, const uint8_t *first) {
  if (parts > (uint64_t)(i->end - first)) {
    return malformed(i);
  }
  if (i->depth == LA_TERM_MAX_DEPTH) {
    return stop(i, LA_IMPORT_REFUSED, "a term nested deeper than 200 levels");
  }
  i->stack[i->depth++] = (frame_t){
      .inside = inside,
      .left = parts,
      .from = p,
      .at = i->out->bytes.len,
      .nblobs = i->out->nblobs,
      .is_key = inside == IN_MAP,
  };
  return first;
}

/* Begin a container: its head is copied. */
static const uint8_t *open_copy(importer_t *i, inside_t inside,
                                uint64_t parts, const uint8_t *p,
                                size_t head) {
  const uint8_t *first = push(i, inside, parts, p, p + head);
  if (first != NULL) {
    la_buf_put(&i->out->bytes, p, head);
  }
  return first;
}

/* A map: what it is to Lua is known at its end. The MAP that ends a MIXED is
 * none of its own. */
static const uint8_t *open_map(importer_t *i, const uint8_t *p) {
  const bool is_end = i->depth > 0 &&
                      i->stack[i->depth - 1].inside == IN_MIXED &&
                      i->stack[i->depth - 1].left == 1;
  const uint64_t parts = 2 * (uint64_t)la_get32(p + 1);
  const uint8_t *first = push(i, IN_MAP, parts, p, p + 5);
  if (first != NULL) {
    if (!is_end) {
      la_buf_u8(&i->out->bytes, LA_TAG_MARKED_MAP);
      la_buf_u8(&i->out->bytes, parts == 0 ? LA_MAP_MARKED : LA_MAP_PLAIN);
    }
    la_buf_put(&i->out->bytes, p, 5);
  }
  return first;
}

static void mark_map(importer_t *i, const frame_t *f) {
  uint8_t *p = i->out->bytes.data + f->at;
  if (*p == LA_TAG_MARKED_MAP) {
    p[1] = f->one ? LA_MAP_MARKED : f->others ? LA_MAP_PLAIN
                                              : LA_MAP_ATOMKEYS;
  }
}

/* Remember a table that a REF may lead to. */
static bool remember(importer_t *i, const uint8_t *p) {
  if (i->nplaces == i->places_cap) {
    const uint32_t cap = i->places_cap != 0 ? 2 * i->places_cap : 16;
    place_t *places = la_realloc(i->places, cap * sizeof *places);
    if (places == NULL) {
      return false;
    }
    i->places = places;
    i->places_cap = cap;
  }
  i->places[i->nplaces++] =
      (place_t){(size_t)(p - i->start), i->out->bytes.len};
  return true;
}

static const uint8_t *back_reference(importer_t *i, const uint8_t *p) {
  const size_t here = (size_t)(p - i->start);
  const size_t distance = la_get32(p + 1);
  uint32_t lo = 0, hi = i->nplaces;
  while (lo < hi) {
    const uint32_t mid = lo + (hi - lo) / 2;
    if (i->places[mid].in + distance < here) {
      lo = mid + 1;
    } else {
      hi = mid;
    }
  }
  if (distance > here || lo == i->nplaces ||
      i->places[lo].in + distance != here) {
    return malformed(i);
  }
  const size_t out = i->out->bytes.len;
  la_buf_u8(&i->out->bytes, LA_TAG_REF);
  la_buf_u32(&i->out->bytes, (uint32_t)(out - i->places[lo].out));
  return p + 5;
}

/* What only another luactor sends. */
static const uint8_t *private_term(importer_t *i, const uint8_t *p) {
  const size_t left = (size_t)(i->end - p);
  if (!i->peer->is_luactor) {
    return malformed(i);
  }
  switch (*p) {
    case LA_TAG_RAW_FLOAT:
      if (left < 9) {
        return malformed(i);
      }
      la_buf_put(&i->out->bytes, p, 9);
      return p + 9;
    case LA_TAG_REF:
      return left < 5 ? malformed(i) : back_reference(i, p);
    case LA_TAG_EMPTY_S:
      if (!remember(i, p)) {
        return no_memory(i);
      }
      la_buf_u8(&i->out->bytes, *p);
      return p + 1;
    case LA_TAG_WIRE_TRANSFER: {
      const uint8_t *first = push(i, IN_TRANSFER, 2, p, p + 1);
      if (first != NULL) {
        la_buf_u8(&i->out->bytes, LA_TAG_TRANSFER);
      }
      return first;
    }
    case LA_TAG_LIST_S:
    case LA_TAG_MAP_S:
    case LA_TAG_MIXED:
    case LA_TAG_MIXED_S:
      break;
    default:
      return malformed(i);
  }
  if (left < 5 || (*p == LA_TAG_LIST_S && la_get32(p + 1) == 0)) {
    return malformed(i);
  }
  if (*p != LA_TAG_MIXED && !remember(i, p)) {
    return no_memory(i);
  }
  const uint64_t n = la_get32(p + 1);
  return *p == LA_TAG_MAP_S ? open_copy(i, IN_MAP, 2 * n, p, 5)
         : *p == LA_TAG_LIST_S ? open_copy(i, IN_LIST, n + 1, p, 5)
                               : open_copy(i, IN_MIXED, n + 1, p, 5);
}

/* ---- one term -------------------------------------------------------------------------- */

/* In a map that Lua can hold? The key at 'p' has come. */
static bool key_is_fine(frame_t *f, const uint8_t *key) {
  double d;
  f->others = f->others || *key != LA_TAG_SMALL_ATOM;
  switch (*key) {
    case LA_TAG_SMALL_INT:
      f->one = f->one || key[1] == 1;
      f->int_keys = true;
      break;
    case LA_TAG_INT:
    case LA_TAG_INT64:
      f->int_keys = true;
      break;
    case LA_TAG_NEW_FLOAT:
      d = la_get_double(key + 1);
      if (d >= -9223372036854775808.0 && d < 9223372036854775808.0 &&
          d == (double)(int64_t)d) {
        f->float_keys = true;
      }
      break;
    case LA_TAG_RAW_FLOAT:
      return false;
    case LA_TAG_SMALL_ATOM:
      return !is_text(key + 2, key[1], "nil");
    default:
      break;
  }
  return !(f->int_keys && f->float_keys);
}

/* Read the term at 'p': a simple one whole, of a container the head. */
static const uint8_t *read_one(importer_t *i, const uint8_t *p) {
  const size_t left = (size_t)(i->end - p);
  la_buf_t *b = &i->out->bytes;
  switch (*p) {
    case LA_TAG_SMALL_INT:
      if (left < 2) {
        return malformed(i);
      }
      la_buf_put(b, p, 2);
      return p + 2;
    case LA_TAG_INT:
      if (left < 5) {
        return malformed(i);
      }
      put_int(b, (int32_t)la_get32(p + 1));
      return p + 5;
    case LA_TAG_SMALL_BIG: {
      if (left < 3 || left < 3u + p[1]) {
        return malformed(i);
      }
      return big(i, p, 3, p[1], p[2] != 0) == NULL ? NULL : p + 3 + p[1];
    }
    case LARGE_BIG: {
      if (left < 6 || left - 6 < la_get32(p + 1)) {
        return malformed(i);
      }
      const size_t n = la_get32(p + 1);
      return big(i, p, 6, n, p[5] != 0) == NULL ? NULL : p + 6 + n;
    }
    case LA_TAG_NEW_FLOAT:
      return left < 9 ? malformed(i)
                      : put_double(i, la_get_double(p + 1), p + 9);
    case OLD_FLOAT:
      return left < 32 ? malformed(i) : old_float(i, p);
    case LA_TAG_BINARY:
      return left < 5 || left - 5 < la_get32(p + 1) ? malformed(i)
                                                    : binary(i, p);
    case LA_TAG_BYTE_LIST:
      return left < 3 || left - 3 < la_get16(p + 1) ? malformed(i)
                                                    : string(i, p);
    case LA_TAG_ATOM:
    case LA_TAG_SMALL_ATOM:
    case ATOM_LATIN1:
    case SMALL_ATOM_LATIN1:
      return atom(i, p);
    case LA_TAG_PID:
    case PID_OLD:
    case LA_TAG_REFERENCE:
    case REF_OLD:
    case PORT_NEW:
    case PORT_OLD:
    case PORT_V4:
      return identity(i, p);
    case LA_TAG_EMPTY:
      la_buf_u8(b, LA_TAG_EMPTY);
      return p + 1;
    case LA_TAG_TUPLE:
      return left < 2 ? malformed(i) : open_copy(i, IN_TUPLE, p[1], p, 2);
    case LA_TAG_BIG_TUPLE:
      return left < 5 ? malformed(i)
                      : open_copy(i, IN_TUPLE, la_get32(p + 1), p, 5);
    case LA_TAG_MAP:
      return left < 5 ? malformed(i) : open_map(i, p);
    case LA_TAG_LIST:
      return left < 5 || la_get32(p + 1) == 0
                 ? malformed(i)
                 : open_copy(i, IN_LIST, (uint64_t)la_get32(p + 1) + 1, p, 5);
    case BIT_BINARY:
    case NEW_FUN:
    case EXPORT:
      return opaque(i, p);
    default:
      return *p >= 200 && *p < 216 ? private_term(i, p) : opaque(i, p);
  }
}

/* The whole map is not for Lua: keep its bytes. Returns the byte behind it. */
static const uint8_t *map_as_opaque(importer_t *i, uint32_t depth) {
  const frame_t f = i->stack[depth];
  while (i->out->nblobs > f.nblobs) {
    la_blob_unref(i->out->blobs[--i->out->nblobs]);
  }
  while (i->nplaces > 0 && i->places[i->nplaces - 1].out >= f.at) {
    i->nplaces--;
  }
  i->out->bytes.len = f.at;
  i->depth = depth;
  return opaque(i, f.from);
}

/* A term is complete: it was a part of the innermost container, which may be
 * complete with it, and so on. 'at': where it begins in the output. */
static const uint8_t *completed(importer_t *i, size_t at, const uint8_t *p) {
  while (i->depth > 0) {
    frame_t *f = &i->stack[i->depth - 1];
    const uint8_t *written = i->out->bytes.data + at;
    f->left--;
    if (i->out->bytes.failed) {
      return no_memory(i);
    }
    if (f->inside == IN_MAP) {
      if (f->is_key && !key_is_fine(f, written)) {
        p = map_as_opaque(i, i->depth - 1);
        if (p == NULL) {
          return NULL;
        }
        at = f->at;
        continue;
      }
      f->is_key = !f->is_key;
      if (f->left == 0) {
        mark_map(i, f);
      }
    } else if (f->inside == IN_LIST && f->left == 0 &&
               *written != LA_TAG_EMPTY) {
      if (i->out->bytes.data[f->at] != LA_TAG_LIST) {
        return malformed(i);
      }
      i->out->bytes.data[f->at] = LA_TAG_CONS;
    } else if (f->inside == IN_MIXED && f->left == 0 &&
               *written != LA_TAG_MAP) {
      return malformed(i);
    } else if (f->inside == IN_TRANSFER &&
               *written != (f->left == 1 ? LA_TAG_BINARY : LA_TAG_LIST) &&
               !(f->left == 0 && *written == LA_TAG_EMPTY)) {
      return malformed(i);
    }
    if (f->left > 0) {
      return p;
    }
    at = f->at;
    i->depth--;
  }
  return p;
}

static const uint8_t *run(importer_t *i, const uint8_t *p) {
  for (;;) {
    if (p == i->end) {
      return malformed(i);
    }
    const uint32_t depth = i->depth;
    const size_t at = i->out->bytes.len;
    if (*p == LA_TAG_LIST && i->end - p > 5 && la_get32(p + 1) == 0) {
      p += 5; /* a list without elements is its tail */
      continue;
    }
    p = read_one(i, p);
    if (p == NULL) {
      return NULL;
    }
    if (i->depth > depth) {
      if (i->stack[depth].left > 0) {
        continue;
      }
      i->depth--; /* an empty tuple or map is complete */
    }
    p = completed(i, at, p);
    if (p == NULL || i->depth == 0) {
      return p;
    }
  }
}

/* ---- reasons ------------------------------------------------------------------------------ */

static const char *const reason_words[] = {
    "normal", "shutdown", "kill", "killed", "noproc", "noconnection"};

/* The atom at 'at' of the output becomes the string, where it is one of the words that
 * Lua knows as strings. */
static void word_at(la_buf_t *b, size_t at, const char *extra) {
  const uint8_t *p = b->data + at;
  if (b->len < at + 2 || *p != LA_TAG_SMALL_ATOM) {
    return;
  }
  const size_t n = p[1];
  bool known = extra != NULL && is_text(p + 2, n, extra);
  for (size_t k = 0; k < sizeof reason_words / sizeof *reason_words; k++) {
    known = known || is_text(p + 2, n, reason_words[k]);
  }
  if (!known || la_buf_add(b, 3) == NULL) {
    return;
  }
  uint8_t *q = b->data + at;
  memmove(q + 5, q + 2, b->len - at - 5);
  q[0] = LA_TAG_BINARY;
  la_put32(q + 1, (uint32_t)n);
}

/* {shutdown, X} and {error, Message, Traceback} become lists. */
static void tuple_at_start(la_buf_t *b) {
  const uint8_t *p = b->data;
  if (b->len < 4 || p[0] != LA_TAG_TUPLE || p[2] != LA_TAG_SMALL_ATOM) {
    return;
  }
  const uint8_t n = p[1];
  if (!(n == 2 && is_text(p + 4, p[3], "shutdown")) &&
      !(n == 3 && is_text(p + 4, p[3], "error"))) {
    return;
  }
  if (la_buf_add(b, 3) == NULL) {
    return;
  }
  uint8_t *q = b->data;
  memmove(q + 5, q + 2, b->len - 5);
  q[0] = LA_TAG_LIST;
  la_put32(q + 1, n);
  la_buf_u8(b, LA_TAG_EMPTY);
  word_at(b, 5, "error");
}

la_import_t la_import(const uint8_t *p, const uint8_t *end,
                      const la_peer_t *peer, bool as_reason,
                      la_imported_t *out, const uint8_t **behind,
                      const char **why) {
  importer_t i;
  i.start = p;
  i.end = end;
  i.peer = peer;
  i.out = out;
  i.depth = 0;
  i.places = NULL;
  i.nplaces = i.places_cap = 0;
  i.result = LA_IMPORT_OK;
  i.why = NULL;
  p = run(&i, p);
  if (p != NULL && as_reason) {
    word_at(&out->bytes, 0, NULL);
    tuple_at_start(&out->bytes);
  }
  if (p != NULL && out->bytes.failed) {
    no_memory(&i);
  }
  la_free(i.places);
  *behind = p;
  *why = i.why;
  return i.result;
}

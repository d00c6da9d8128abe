/* Tags of the term format, and the two readers everything else is built on:
 * la_head (where do this term's parts begin, and how many are there) and
 * la_view (what is this term). Layout of every tag: docs/wire.md.
 *
 * A term is a head followed by its parts, which are terms again. So a run of
 * terms is walked without a stack by counting the terms still to come, and
 * every head can be found by going from head to head.
 *
 * Tags below 200 are Erlang's. 200..215 are ours and may be stored or sent to
 * another luactor; from 216 on they hold for one host only.
 *
 * "Shared" twins (LIST_S for LIST and so on) mark a table that a REF further on
 * points back to: the encoder patches the tag in place when it meets the table
 * again, and the decoder remembers marked tables only. A REF counts its
 * distance backwards from itself, so encoded terms can be moved and spliced. */
#ifndef LA_TAG_H
#define LA_TAG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "term/code.h"
#include "term/term.h"

/* X(symbol, number) */
#define LA_TAGS(X)                                                    \
  X(NEW_FLOAT, 70)     /* 8 bytes, IEEE double */                     \
  X(SMALL_INT, 97)     /* u8 */                                       \
  X(INT, 98)           /* i32 */                                      \
  X(PID, 88)           /* atom, u32 id, u32 serial, u32 creation */   \
  X(REFERENCE, 90)     /* u16 n, atom, u32 creation, n times u32 */   \
  X(TUPLE, 104)        /* u8 n, n terms */                            \
  X(BIG_TUPLE, 105)    /* u32 n, n terms */                           \
  X(EMPTY, 106)        /* the empty list */                           \
  X(BYTE_LIST, 107)    /* u16 n, n bytes: a list of small integers */ \
  X(LIST, 108)         /* u32 n, n terms, EMPTY */                    \
  X(BINARY, 109)       /* u32 n, n bytes */                           \
  X(SMALL_BIG, 110)    /* u8 n, u8 sign, n bytes, lowest first */     \
  X(MAP, 116)          /* u32 n, n times key and value */             \
  X(ATOM, 118)         /* u16 n, n bytes */                           \
  X(SMALL_ATOM, 119)   /* u8 n, n bytes */                            \
  X(ID, 200)           /* u64: an identity of this host */            \
  X(REF, 201)          /* u32: the table that many bytes before */    \
  X(EMPTY_S, 202)                                                     \
  X(LIST_S, 203)                                                      \
  X(MAP_S, 204)                                                       \
  X(MIXED, 205)        /* u32 n, n terms, a MAP: sequence and keys */ \
  X(MIXED_S, 206)                                                     \
  X(RAW_FLOAT, 207)    /* 8 bytes: NaN or an infinity */              \
  X(WIRE_TRANSFER, 208) /* between nodes: module, arguments */        \
  X(NIL, 216)                                                         \
  X(TRUE, 217)                                                        \
  X(FALSE, 218)                                                       \
  X(INT64, 219)        /* i64 */                                      \
  X(BLOB, 220)         /* u32 index of the blob, u32 its size */      \
  X(GLOBALS, 221)      /* the receiver's globals */                   \
  X(MODULE, 222)       /* u8 Lua type, u32 n, name: a loaded module */ \
  X(FIELD, 223)        /* u32 m, u32 n, module, field: a function */  \
  X(FUNC, 224)         /* u8 nups, u32 n, bytecode, nups terms; with \
                          n = 0 the address of a la_code_t instead */ \
  X(FUNC_S, 225)                                                      \
  X(UPREF, 226)        /* u32 distance to a FUNC_S, u8 its upvalue */ \
  X(OBJECT, 227)       /* u16 nuv, u8 n, u32 m, name, bytes, nuv terms */ \
  X(OBJECT_S, 228)                                                    \
  X(TRANSFER, 229)     /* module (BINARY), arguments (LIST) */        \
  X(TRANSFER_S, 230)                                                  \
  X(CONS, 231)         /* u32 n, n terms, a tail that is no list */   \
  X(OPAQUE, 232)       /* u32 n, n bytes: a term of Erlang kept whole */ \
  X(MARKED_MAP, 233)   /* u8 la_map_mark_t, a MAP */

enum {
#define X(sym, num) LA_TAG_##sym = num,
  LA_TAGS(X)
#undef X
};

/* What a map of Erlang is in Lua. */
typedef enum {
  LA_MAP_PLAIN,    /* a table */
  LA_MAP_MARKED,   /* actor.map{}: as a table it could be taken for a list */
  LA_MAP_ATOMKEYS, /* actor.atomkeys{}: strings in Lua, atoms outside */
} la_map_mark_t;

#define LA_TERM_VERSION 131 /* first byte of what actor.pack makes */

/* The tag that says that a REF leads here; the same for what has no twin. */
static inline uint8_t la_shared_twin(uint8_t tag) {
  switch (tag) {
    case LA_TAG_EMPTY:
      return LA_TAG_EMPTY_S;
    case LA_TAG_LIST:
      return LA_TAG_LIST_S;
    case LA_TAG_MAP:
      return LA_TAG_MAP_S;
    case LA_TAG_MIXED:
      return LA_TAG_MIXED_S;
    case LA_TAG_FUNC:
      return LA_TAG_FUNC_S;
    case LA_TAG_OBJECT:
      return LA_TAG_OBJECT_S;
    case LA_TAG_TRANSFER:
      return LA_TAG_TRANSFER_S;
    default:
      return tag;
  }
}

/* ---- numbers ------------------------------------------------------------- */

static inline double la_get_double(const uint8_t *p) {
  const uint64_t bits = la_get64(p);
  double d;
  memcpy(&d, &bits, 8);
  return d;
}

/* ---- functions ---------------------------------------------------------- */

/* NULL: the bytecode itself stands there. */
static inline la_code_t *la_func_code(const uint8_t *p) {
  la_code_t *code;
  if (la_get32(p + 2) != 0) {
    return NULL;
  }
  memcpy(&code, p + 6, sizeof code);
  return code;
}

/* From the tag to the first upvalue. */
static inline size_t la_func_head(const uint8_t *p) {
  const uint32_t n = la_get32(p + 2);
  return 6 + (n != 0 ? n : sizeof(la_code_t *));
}

/* ---- readers ------------------------------------------------------------ */

/* Behind the PID or REFERENCE at 'p', or NULL. */
const uint8_t *la_head_identity(const uint8_t *p, const uint8_t *end);

/* The byte behind the head of the term at 'p', and how many parts follow it.
 * NULL for bytes that are no term or end too early; parts are not looked at. */
static inline const uint8_t *la_head(const uint8_t *p, const uint8_t *end,
                                     uint64_t *parts) {
  if (p >= end) {
    return NULL;
  }
  const size_t left = (size_t)(end - p);
  size_t size;
  *parts = 0;
  switch (*p) {
    case LA_TAG_EMPTY: case LA_TAG_EMPTY_S: case LA_TAG_NIL:
    case LA_TAG_TRUE: case LA_TAG_FALSE: case LA_TAG_GLOBALS:
      return p + 1;
    case LA_TAG_SMALL_INT:
      size = 2;
      break;
    case LA_TAG_INT: case LA_TAG_REF:
      size = 5;
      break;
    case LA_TAG_UPREF:
      size = 6;
      break;
    case LA_TAG_NEW_FLOAT: case LA_TAG_RAW_FLOAT: case LA_TAG_INT64:
    case LA_TAG_ID: case LA_TAG_BLOB:
      size = 9;
      break;
    case LA_TAG_BINARY:
      size = left < 5 ? SIZE_MAX : (size_t)5 + la_get32(p + 1);
      break;
    case LA_TAG_SMALL_ATOM:
      size = left < 2 ? SIZE_MAX : (size_t)2 + p[1];
      break;
    case LA_TAG_ATOM: case LA_TAG_BYTE_LIST:
      size = left < 3 ? SIZE_MAX : (size_t)3 + la_get16(p + 1);
      break;
    case LA_TAG_SMALL_BIG:
      size = left < 3 ? SIZE_MAX : (size_t)3 + p[1];
      break;
    case LA_TAG_LIST: case LA_TAG_LIST_S:
    case LA_TAG_MIXED: case LA_TAG_MIXED_S:
      size = left < 5 ? SIZE_MAX : 5;
      *parts = left < 5 ? 0 : (uint64_t)la_get32(p + 1) + 1;
      break;
    case LA_TAG_MAP: case LA_TAG_MAP_S:
      size = left < 5 ? SIZE_MAX : 5;
      *parts = left < 5 ? 0 : (uint64_t)la_get32(p + 1) * 2;
      break;
    case LA_TAG_TUPLE:
      size = 2;
      *parts = left < 2 ? 0 : p[1];
      break;
    case LA_TAG_BIG_TUPLE:
      size = left < 5 ? SIZE_MAX : 5;
      *parts = left < 5 ? 0 : la_get32(p + 1);
      break;
    case LA_TAG_MODULE:
      size = left < 6 ? SIZE_MAX : (size_t)6 + la_get32(p + 2);
      break;
    case LA_TAG_FIELD:
      size = left < 9 ? SIZE_MAX
                      : (size_t)9 + la_get32(p + 1) + la_get32(p + 5);
      break;
    case LA_TAG_FUNC: case LA_TAG_FUNC_S:
      size = left < 6 ? SIZE_MAX : la_func_head(p);
      *parts = left < 6 ? 0 : p[1];
      break;
    case LA_TAG_OBJECT: case LA_TAG_OBJECT_S:
      size = left < 8 ? SIZE_MAX : (size_t)8 + p[3] + la_get32(p + 4);
      *parts = left < 8 ? 0 : la_get16(p + 1);
      break;
    case LA_TAG_TRANSFER: case LA_TAG_TRANSFER_S:
      *parts = 2;
      return p + 1;
    case LA_TAG_PID:
    case LA_TAG_REFERENCE:
      return la_head_identity(p, end);
    case LA_TAG_CONS:
      size = left < 5 ? SIZE_MAX : 5;
      *parts = left < 5 ? 0 : (uint64_t)la_get32(p + 1) + 1;
      break;
    case LA_TAG_OPAQUE:
      size = left < 5 ? SIZE_MAX : (size_t)5 + la_get32(p + 1);
      break;
    case LA_TAG_MARKED_MAP:
      size = 2;
      *parts = 1;
      break;
    default:
      return NULL;
  }
  return size > left ? NULL : p + size;
}

/* Follow a back reference. The bytes must be a well-formed term. */
static inline const uint8_t *la_deref(const uint8_t *p) {
  return *p == LA_TAG_REF ? p - la_get32(p + 1) : p;
}

/* What a term is to matcher, equality and printer. */
typedef enum {
  LA_K_NIL,
  LA_K_BOOL,
  LA_K_INT,
  LA_K_FLOAT,
  LA_K_TEXT,  /* a string, or an atom other than true, false, nil */
  LA_K_ID,
  LA_K_TABLE, /* list, map, mixed, tuple, empty */
  LA_K_FUNC,
  LA_K_NAMED_TABLE, /* a module or the globals: a table by name only */
  LA_K_RAW,  /* an identity of another node, CONS, OPAQUE: equal bytes */
  LA_K_OTHER,
} la_kind_t;

typedef struct la_view {
  la_kind_t kind;
  bool is_atom;
  uint8_t tag;        /* as encoded */
  uint32_t nseq;      /* TABLE: elements of the sequence */
  uint32_t nmap;      /* TABLE: pairs, known at once only for a MAP */
  size_t len;         /* TEXT */
  const uint8_t *at;  /* TABLE: first part; TEXT: its bytes */
  const uint8_t *start; /* the term itself, behind a REF */
  union {
    int64_t i;  /* INT; BOOL: 0 or 1 */
    double d;   /* FLOAT */
    la_id_t id; /* ID */
  };
} la_view_t;

/* Look at the well-formed term at 'p' of 't'. [any] */
void la_view(const la_term_t *t, const uint8_t *p, la_view_t *v);

/* The pairs of a table: a pointer to the first key; sets *n. Walks over the
 * sequence of a MIXED. */
const uint8_t *la_view_pairs(const la_term_t *t, const la_view_t *v,
                             uint32_t *n);

/* Behind the well-formed term at 'p'; the inline part serves the common
 * ones. */
const uint8_t *la_skip_slow(const uint8_t *p);

static inline const uint8_t *la_skip(const uint8_t *p) {
  switch (*p) {
    case LA_TAG_SMALL_INT:
      return p + 2;
    case LA_TAG_BINARY:
      return p + 5 + la_get32(p + 1);
    case LA_TAG_INT:
      return p + 5;
    case LA_TAG_ID: case LA_TAG_INT64: case LA_TAG_NEW_FLOAT:
      return p + 9;
    default:
      return la_skip_slow(p);
  }
}

/* Copy a text that is usually short. */
static inline void la_copy_text(uint8_t *to, const void *from, size_t n) {
  if (n > 16) {
    memcpy(to, from, n);
  } else if (n >= 8) { /* two words that may overlap */
    uint64_t a, b;
    memcpy(&a, from, 8);
    memcpy(&b, (const uint8_t *)from + n - 8, 8);
    memcpy(to, &a, 8);
    memcpy(to + n - 8, &b, 8);
  } else if (n >= 4) {
    uint32_t a, b;
    memcpy(&a, from, 4);
    memcpy(&b, (const uint8_t *)from + n - 4, 4);
    memcpy(to, &a, 4);
    memcpy(to + n - 4, &b, 4);
  } else if (n != 0) {
    const uint8_t *p = from;
    const uint8_t middle = p[n / 2], last = p[n - 1];
    to[0] = p[0];
    to[n / 2] = middle;
    to[n - 1] = last;
  }
}

/* Are two texts of one length, usually short, the same? */
static inline bool la_same_text(const void *a, const void *b, size_t n) {
  const uint8_t *s = a, *t = b;
  if (n > 16) {
    return memcmp(s, t, n) == 0;
  }
  if (n >= 8) { /* two words that may overlap */
    uint64_t v[2], w[2];
    memcpy(&v[0], s, 8);
    memcpy(&v[1], s + n - 8, 8);
    memcpy(&w[0], t, 8);
    memcpy(&w[1], t + n - 8, 8);
    return ((v[0] ^ w[0]) | (v[1] ^ w[1])) == 0;
  }
  if (n >= 4) {
    uint32_t v[2], w[2];
    memcpy(&v[0], s, 4);
    memcpy(&v[1], s + n - 4, 4);
    memcpy(&w[0], t, 4);
    memcpy(&w[1], t + n - 4, 4);
    return ((v[0] ^ w[0]) | (v[1] ^ w[1])) == 0;
  }
  return n == 0 ||
         (s[0] == t[0] && s[n / 2] == t[n / 2] && s[n - 1] == t[n - 1]);
}

/* The parts of la_term_tag: of a text its length and first 32 bytes count. */
static inline uint32_t la_tag_of_text(const uint8_t *s, size_t len) {
  const uint64_t k = UINT64_C(0x9E3779B97F4A7C15);
  uint64_t h = k ^ len, w;
  size_t n = len < 32 ? len : 32;
  for (; n >= 8; n -= 8, s += 8) {
    memcpy(&w, s, 8);
    h = (h ^ w) * k;
    h ^= h >> 32;
  }
  if (n != 0) {
    if (n >= 4) {
      uint32_t a, b;
      memcpy(&a, s, 4);
      memcpy(&b, s + n - 4, 4);
      w = (uint64_t)a << 32 | b;
    } else {
      w = (uint64_t)s[0] << 16 | (uint64_t)s[n / 2] << 8 | s[n - 1];
    }
    h = (h ^ w) * k;
    h ^= h >> 32;
  }
  return (uint32_t)h | 1;
}

static inline uint32_t la_tag_of_bool(bool b) {
  return b ? 0xb001 : 0xb003;
}

static inline uint32_t la_tag_of_id(la_id_t id) {
  return (uint32_t)(id * UINT64_C(0x9E3779B97F4A7C15) >> 32) | 1;
}

/* The tag (see la_term_tag) of a view that is no table. */
uint32_t la_view_tag(const la_view_t *v);

/* Equality of two views; see la_term_equal. */
bool la_view_equal(const la_term_t *a, const la_view_t *va,
                   const la_term_t *b, const la_view_t *vb);

#endif

/* Inside of the encoder, shared by encode.c (plain values), carry.c (functions,
 * objects) and modname.c (what travels by name). Nobody else includes it. */
#ifndef LA_ENCODER_H
#define LA_ENCODER_H

#include "term/tag.h"
#include "term/term.h"

/* A table, function or upvalue that has been written. */
typedef struct la_seen {
  const void *ptr;
  uint32_t at; /* offset of its term; of an upvalue: of its function's */
  uint32_t up; /* upvalues: 1-based index */
} la_seen_t;

/* A loaded module. 'name' is anchored by package.loaded. */
typedef struct la_modref {
  const void *ptr;
  const char *name;
  size_t len;
  bool is_function;
} la_modref_t;

typedef enum {
  LA_FAIL_NONE,
  LA_FAIL_MEMORY,
  LA_FAIL_SIZE,
  LA_FAIL_DEPTH,
  LA_FAIL_KIND, /* a value that cannot travel; 'kind' says what it is */
} la_fail_t;

#define LA_PATH_MAX 240

struct la_encoder {
  uint8_t *buf;
  size_t len, cap;
  la_scratch_t *scratch;
  la_term_mode_t mode;
  int depth;

  /* What was written, and a hash index to find it again, twice as large:
   * generation << 32 | position. */
  la_seen_t *seen;
  uint32_t nseen, seen_cap;
  uint64_t *index;
  uint32_t generation;

  la_blob_t **blobs;
  const void **blob_src; /* the Lua strings they were made from */
  uint32_t nblobs, blobs_cap;
  size_t blob_bytes;

  /* Of the la_encode that runs. */
  lua_State *L;
  struct la_codec *codec; /* of L; NULL: to do with the API */
  const void *globals;
  const void *plain_meta; /* a metatable that is dropped, or NULL */
  la_modref_t *mods;
  uint32_t nmods, mods_cap;
  uint64_t mods_sum; /* changes when a module is loaded or replaced */
  bool mods_known;
  bool has_anchors; /* registry[e] holds what __transfer functions returned */

  la_fail_t fail;
  char kind[64];
  uint32_t path_at; /* the path is written backwards: path[path_at..] */
  bool path_full;
  bool has_code; /* a function was written since the encoding began */
  char path[LA_PATH_MAX];
};

/* A function and the name it was last found under; a hint that is verified in
 * the state at hand, so it may be shared by all states of the thread. */
typedef struct la_cname {
  lua_CFunction f; /* C functions */
  uint64_t place;  /* Lua functions: hash of where they were defined */
  char mod[24];
  char field[24];
} la_cname_t;

#define LA_CNAMES 128

/* A module table and its name, a hint of the same kind. */
typedef struct la_modname {
  const void *ptr;
  char name[32];
} la_modname_t;

#define LA_MODNAMES 32

struct la_scratch {
  la_encoder_t **enc;
  uint32_t nenc, used;
  la_blobs_t *blobs_home; /* NULL: each large string is copied */
  la_codes_t *codes; /* NULL: bytecode is always written out */
  long countdown; /* allocations until one fails; negative: never */
  la_cname_t cnames[LA_CNAMES];
  la_modname_t modnames[LA_MODNAMES];
};

/* ---- encode.c ----------------------------------------------------------- */

uint8_t *la_enc_grow(la_encoder_t *e, size_t n);

/* Room for 'n' bytes at the end; NULL with the failure noted. */
static inline uint8_t *la_enc_room(la_encoder_t *e, size_t n) {
  return e->cap - e->len >= n ? e->buf + e->len : la_enc_grow(e, n);
}

static inline bool la_enc_byte(la_encoder_t *e, uint8_t byte) {
  uint8_t *p = la_enc_room(e, 1);
  if (p == NULL) {
    return false;
  }
  *p = byte;
  e->len++;
  return true;
}

/* realloc that counts down; never shrinks to nothing. */
void *la_enc_realloc(la_scratch_t *s, void *ptr, size_t size);

bool la_enc_value(la_encoder_t *e, lua_State *L, int idx);
bool la_enc_binary(la_encoder_t *e, const char *s, size_t len);
bool la_enc_head(la_encoder_t *e, uint8_t tag, uint32_t n);
bool la_enc_float(la_encoder_t *e, lua_Number d);
bool la_enc_boolean(la_encoder_t *e, bool b);
void la_enc_drop_blobs(la_encoder_t *e, uint32_t n); /* but the first n */

#define LA_INT_ROOM 11 /* bytes of the longest integer */

/* Write an integer at 'p'; returns what is behind it. */
static inline uint8_t *la_enc_int_at(uint8_t *p, int64_t n, bool local) {
  if ((int32_t)n == n) {
    if ((uint64_t)n <= 255) {
      p[0] = LA_TAG_SMALL_INT;
      p[1] = (uint8_t)n;
      return p + 2;
    }
    p[0] = LA_TAG_INT;
    la_put32(p + 1, (uint32_t)n);
    return p + 5;
  }
  if (local) {
    p[0] = LA_TAG_INT64;
    la_put64(p + 1, (uint64_t)n);
    return p + 9;
  }
  uint64_t m = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
  uint8_t size = 0;
  p[0] = LA_TAG_SMALL_BIG;
  p[2] = n < 0;
  for (; m != 0; m >>= 8) {
    p[3 + size++] = (uint8_t)m;
  }
  p[1] = size;
  return p + 3 + size;
}

static inline uint32_t la_enc_hash(const void *ptr) {
  const uint64_t h = (uint64_t)(uintptr_t)ptr * UINT64_C(0x9E3779B97F4A7C15);
  return (uint32_t)(h >> 32);
}

/* What is noted for 'ptr', or NULL; *h is then where it belongs. */
static inline la_seen_t *la_enc_look(la_encoder_t *e, const void *ptr,
                                     uint32_t *h) {
  if (e->seen_cap == 0) {
    return NULL;
  }
  const uint32_t mask = 2 * e->seen_cap - 1;
  for (*h = la_enc_hash(ptr) & mask; e->index[*h] >> 32 == e->generation;
       *h = (*h + 1) & mask) {
    la_seen_t *s = &e->seen[(uint32_t)e->index[*h]];
    if (s->ptr == ptr) {
      return s;
    }
  }
  return NULL;
}

bool la_enc_add_slow(la_encoder_t *e, const void *ptr, size_t at, uint32_t up);

/* Note what la_enc_look has not found. */
static inline bool la_enc_add_at(la_encoder_t *e, const void *ptr, size_t at,
                                 uint32_t h) {
  if (e->nseen == e->seen_cap) {
    return la_enc_add_slow(e, ptr, at, 0);
  }
  e->index[h] = (uint64_t)e->generation << 32 | e->nseen;
  e->seen[e->nseen++] = (la_seen_t){ptr, (uint32_t)at, 0};
  return true;
}

static inline la_seen_t *la_enc_find(la_encoder_t *e, const void *ptr) {
  uint32_t h;
  return la_enc_look(e, ptr, &h);
}

static inline bool la_enc_add(la_encoder_t *e, const void *ptr, size_t at,
                              uint32_t up) {
  return la_enc_add_slow(e, ptr, at, up);
}

/* Forget what was seen from 'n' on: it is about to be written differently. */
void la_enc_forget(la_encoder_t *e, uint32_t n);
/* A REF to what was seen. */
bool la_enc_ref(la_encoder_t *e, const la_seen_t *s);

bool la_enc_fail(la_encoder_t *e, const char *kind);
bool la_enc_fail_plain(la_encoder_t *e, la_fail_t fail);
/* Put a step in front of the path of the failure. Returns false. */
bool la_enc_step(la_encoder_t *e, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Is it the table of globals, which travels as such? */
bool la_enc_is_globals(la_encoder_t *e, lua_State *L, const void *ptr);
/* Depth limit and stack room for one more level. */
bool la_enc_enter(la_encoder_t *e, lua_State *L);

/* ---- direct.c ----------------------------------------------------------- */

struct la_ltable;
/* Append the table if it can be read in place; else nothing is written, and it
 * has to be written through the API. */
bool la_enc_direct(la_encoder_t *e, lua_State *L, const struct la_ltable *t);

/* ---- carry.c ------------------------------------------------------------ */

bool la_enc_function(la_encoder_t *e, lua_State *L, int idx);
bool la_enc_userdata(la_encoder_t *e, lua_State *L, int idx);
/* A table with a metatable: writes what has __transfer, or is a part of the
 * module luactor; else *done is false. */
bool la_enc_special(la_encoder_t *e, lua_State *L, int idx, bool *done);

/* ---- modname.c ---------------------------------------------------------- */

/* Write the table or function at 'idx' by name when it is the globals table
 * or a loaded module: *done says so. False: out of memory. */
bool la_enc_module(la_encoder_t *e, lua_State *L, int idx, bool *done);
/* The same for a function that is a field of a loaded module. 'thorough':
 * do not trust what earlier searches of this state found out. */
bool la_enc_field(la_encoder_t *e, lua_State *L, int idx, bool thorough,
                  bool *done);

/* Write "field of module". */
bool la_enc_named_field(la_encoder_t *e, const char *mod, size_t mlen,
                        const char *field, size_t flen);

#endif

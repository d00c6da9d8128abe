/* Lua values to bytes: plain values, and the machinery for the rest.
 *
 * A table is written in one pass with lua_next. Keys 1, 2, 3... come first and
 * in order as long as they live in the table's array part; while that lasts a
 * LIST is written. The first other key decides: without a sequence so far the
 * head becomes a MAP; with one, it becomes a MIXED, after what is left of the
 * sequence (in the hash part, fetched by index). Nothing is written twice.
 *
 * Sharing: every table and function is noted with its offset, in a hash index.
 * Meeting it again patches the tag at that offset to the shared twin and
 * writes a REF. The index is not cleared from message to message: what is of
 * another generation counts as free.
 *
 * Failures unwind by returning false; each level puts its step in front of the
 * path. Lua errors (out of memory, a __transfer function that raises) jump past
 * us: all memory belongs to the scratch, which takes abandoned encoders
 * back. */
#include "base/env.h"
#include "mem/lazy.h"
#include "term/encoder.h"
#include "term/layout.h"
#include "term/shape.h"

#include <assert.h>
#include <lauxlib.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#define KEEP_BYTES ((size_t)1 << 20) /* buffers up to this size are kept */

/* ---- scratch ------------------------------------------------------------ */

la_scratch_t *la_scratch_new(void) {
  la_scratch_t *s = la_zalloc(sizeof *s);
  if (s != NULL) {
    s->countdown = -1;
  }
  return s;
}

void la_scratch_keep_codes(la_scratch_t *s, la_codes_t *codes) {
  s->codes = codes;
}

void la_scratch_keep_blobs(la_scratch_t *s, la_blobs_t *blobs) {
  s->blobs_home = blobs;
}

void la_scratch_fail_after(la_scratch_t *s, long n) {
  s->countdown = n;
}

void *la_enc_realloc(la_scratch_t *s, void *ptr, size_t size) {
  if (s->countdown >= 0 && s->countdown-- == 0) {
    return NULL;
  }
  return la_realloc(ptr, size);
}

void la_enc_drop_blobs(la_encoder_t *e, uint32_t n) {
  while (e->nblobs > n) {
    e->blob_bytes -= e->blobs[--e->nblobs]->size;
    la_blob_unref(e->blobs[e->nblobs]);
  }
}

static void encoder_free(la_encoder_t *e) {
  la_enc_drop_blobs(e, 0);
  la_free(e->buf);
  la_free(e->seen);
  la_free(e->index);
  la_free(e->blobs);
  la_free(e->blob_src);
  la_free(e->mods);
  la_free(e);
}

void la_scratch_free(la_scratch_t *s) {
  if (s == NULL) {
    return;
  }
  for (uint32_t i = 0; i < s->nenc; i++) {
    encoder_free(s->enc[i]);
  }
  la_free(s->enc);
  la_free(s);
}

void la_scratch_reset(la_scratch_t *s) {
  if (s->used != 0) {
    la_encoder_end(s->enc[0]);
  }
}

static la_encoder_t *encoder_new(la_scratch_t *s) {
  la_encoder_t **all =
      la_enc_realloc(s, s->enc, (s->nenc + 1) * sizeof *s->enc);
  if (all == NULL) {
    return NULL;
  }
  s->enc = all;
  la_encoder_t *e = la_enc_realloc(s, NULL, sizeof *e);
  if (e == NULL) {
    return NULL;
  }
  memset(e, 0, sizeof *e);
  e->scratch = s;
  s->enc[s->nenc++] = e;
  return e;
}

la_encoder_t *la_encoder_begin(la_scratch_t *s, la_term_mode_t mode) {
  la_encoder_t *e = s->used < s->nenc ? s->enc[s->used] : encoder_new(s);
  if (e == NULL) {
    return NULL;
  }
  s->used++;
  e->mode = mode;
  e->len = 0;
  e->depth = 0;
  la_enc_forget(e, 0);
  e->fail = LA_FAIL_NONE;
  e->has_code = false;
  e->codec = NULL;
  if (mode == LA_TERM_PACKED && !la_enc_byte(e, LA_TERM_VERSION)) {
    la_encoder_end(e);
    return NULL;
  }
  return e;
}

bool la_encoder_has_code(const la_encoder_t *e) {
  return e->has_code;
}

/* Give a buffer back that one unusual message made large. */
static void slim(la_encoder_t *e) {
  if (e->cap > KEEP_BYTES) {
    la_free(e->buf);
    e->buf = NULL;
    e->cap = 0;
  }
  if (e->seen_cap * sizeof *e->seen > KEEP_BYTES) {
    la_free(e->seen);
    la_free(e->index);
    e->seen = NULL;
    e->index = NULL;
    e->seen_cap = 0;
  }
}

void la_encoder_end(la_encoder_t *e) {
  la_scratch_t *s = e->scratch;
  la_encoder_t *last;
  /* Those above it were abandoned by an error. */
  do {
    assert(s->used > 0);
    last = s->enc[--s->used];
    la_enc_drop_blobs(last, 0);
    slim(last);
  } while (last != e);
}

void la_encoder_term(const la_encoder_t *e, la_term_t *out) {
  out->bytes = e->buf;
  out->size = e->len;
  out->blobs = e->nblobs != 0 ? e->blobs : NULL;
  out->nblobs = e->nblobs;
}

/* ---- failures ----------------------------------------------------------- */

bool la_enc_fail(la_encoder_t *e, const char *kind) {
  e->fail = LA_FAIL_KIND;
  e->path_at = LA_PATH_MAX;
  e->path_full = false;
  snprintf(e->kind, sizeof e->kind, "%s", kind);
  return false;
}

bool la_enc_fail_plain(la_encoder_t *e, la_fail_t fail) {
  e->fail = fail;
  e->path_at = LA_PATH_MAX;
  e->path_full = false;
  return false;
}

static void prepend(la_encoder_t *e, const char *s, size_t len) {
  if (e->path_full) {
    return;
  }
  if (len + 3 > e->path_at) {
    s = "...";
    len = 3;
    e->path_full = true;
  }
  e->path_at -= (uint32_t)len;
  memcpy(e->path + e->path_at, s, len);
}

bool la_enc_step(la_encoder_t *e, const char *fmt, ...) {
  char step[80];
  va_list ap;
  va_start(ap, fmt);
  const int n = vsnprintf(step, sizeof step, fmt, ap);
  va_end(ap);
  if (n >= (int)sizeof step) {
    memcpy(step + sizeof step - 4, "...", 4);
  }
  prepend(e, step, strlen(step));
  return false;
}

static bool is_word(const char *s, size_t len) {
  if (len == 0 || len > 64 || (*s >= '0' && *s <= '9')) {
    return false;
  }
  for (size_t i = 0; i < len; i++) {
    const char c = s[i];
    if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
          (c >= '0' && c <= '9') || c == '_')) {
      return false;
    }
  }
  return true;
}

/* The step into the value under the key at 'idx' (absolute). */
static bool step_key(la_encoder_t *e, lua_State *L, int idx) {
  switch (lua_type(L, idx)) {
    case LUA_TSTRING: {
      size_t len;
      const char *s = lua_tolstring(L, idx, &len);
      return is_word(s, len) ? la_enc_step(e, ".%s", s)
                             : la_enc_step(e, "[\"%.60s\"]", s);
    }
    case LUA_TNUMBER:
      if (lua_isinteger(L, idx)) {
        return la_enc_step(e, "[%lld]", (long long)lua_tointeger(L, idx));
      }
      return la_enc_step(e, "[%.14g]", lua_tonumber(L, idx));
    case LUA_TBOOLEAN:
      return la_enc_step(e, "[%s]", lua_toboolean(L, idx) ? "true" : "false");
    case LUA_TLIGHTUSERDATA: {
      const la_id_t id = la_to_id(L, idx);
      char buf[48];
      if (id != LA_NO_ID) {
        la_id_print(id, buf);
        return la_enc_step(e, "[%s]", buf);
      }
    } /* fall through */
    default:
      return la_enc_step(e, "[%s]", luaL_typename(L, idx));
  }
}

/* Push the text of the failure. */
static void push_failure(la_encoder_t *e, lua_State *L, const char *what,
                         bool root_is_function) {
  const bool local = e->mode == LA_TERM_LOCAL;
  switch (e->fail) {
    case LA_FAIL_SIZE:
      lua_pushfstring(L, "%s larger than 1 GiB", what);
      return;
    case LA_FAIL_DEPTH:
      lua_pushfstring(L, "%s nested deeper than %d levels", what,
                      LA_TERM_MAX_DEPTH);
      return;
    case LA_FAIL_KIND: {
      const char *path = e->path + e->path_at;
      size_t len = LA_PATH_MAX - e->path_at;
      /* An upvalue of the value itself needs no other name. */
      if (root_is_function && len > 0 && *path == ' ') {
        path++;
        len--;
        what = "";
      }
      lua_pushfstring(L, "cannot %s %s", local ? "send" : "pack", what);
      lua_pushlstring(L, path, len);
      lua_pushfstring(L, " (%s)", e->kind);
      lua_concat(L, 3);
      return;
    }
    default:
      lua_pushliteral(L, "not enough memory");
  }
}

/* ---- the buffer --------------------------------------------------------- */

uint8_t *la_enc_grow(la_encoder_t *e, size_t n) {
  if (n > LA_TERM_MAX_BYTES || e->len + n > LA_TERM_MAX_BYTES) {
    la_enc_fail_plain(e, LA_FAIL_SIZE);
    return NULL;
  }
  size_t cap = e->cap < 512 ? 512 : e->cap;
  while (cap - e->len < n) {
    cap *= 2;
  }
  uint8_t *buf = la_enc_realloc(e->scratch, e->buf, cap);
  if (buf == NULL) {
    la_enc_fail_plain(e, LA_FAIL_MEMORY);
    return NULL;
  }
  e->buf = buf;
  e->cap = cap;
  return buf + e->len;
}

bool la_enc_head(la_encoder_t *e, uint8_t tag, uint32_t n) {
  uint8_t *p = la_enc_room(e, 5);
  if (p == NULL) {
    return false;
  }
  *p = tag;
  la_put32(p + 1, n);
  e->len += 5;
  return true;
}

static bool put_wide(la_encoder_t *e, uint8_t tag, uint64_t bits) {
  uint8_t *p = la_enc_room(e, 9);
  if (p == NULL) {
    return false;
  }
  *p = tag;
  la_put64(p + 1, bits);
  e->len += 9;
  return true;
}

/* ---- scalars ------------------------------------------------------------ */

bool la_encode_int(la_encoder_t *e, lua_Integer n) {
  uint8_t *p = la_enc_room(e, LA_INT_ROOM);
  if (p == NULL) {
    return false;
  }
  p = la_enc_int_at(p, n, e->mode == LA_TERM_LOCAL);
  e->len = (size_t)(p - e->buf);
  return true;
}

bool la_enc_float(la_encoder_t *e, lua_Number d) {
  uint64_t bits;
  memcpy(&bits, &d, sizeof bits);
  return put_wide(e, isfinite(d) ? LA_TAG_NEW_FLOAT : LA_TAG_RAW_FLOAT, bits);
}

static bool put_atom(la_encoder_t *e, const char *s) {
  const size_t len = strlen(s);
  uint8_t *p = la_enc_room(e, len + 2);
  if (p == NULL) {
    return false;
  }
  p[0] = LA_TAG_SMALL_ATOM;
  p[1] = (uint8_t)len;
  memcpy(p + 2, s, len);
  e->len += len + 2;
  return true;
}

bool la_encode_nil(la_encoder_t *e) {
  return e->mode == LA_TERM_LOCAL ? la_enc_byte(e, LA_TAG_NIL)
                                  : put_atom(e, "nil");
}

bool la_enc_boolean(la_encoder_t *e, bool b) {
  return e->mode == LA_TERM_LOCAL
             ? la_enc_byte(e, b ? LA_TAG_TRUE : LA_TAG_FALSE)
             : put_atom(e, b ? "true" : "false");
}

bool la_encode_id(la_encoder_t *e, la_id_t id) {
  return put_wide(e, LA_TAG_ID, id);
}

bool la_enc_binary(la_encoder_t *e, const char *s, size_t len) {
  uint8_t *p = la_enc_room(e, len + 5);
  if (p == NULL) {
    return false;
  }
  *p = LA_TAG_BINARY;
  la_put32(p + 1, (uint32_t)len);
  memcpy(p + 5, s, len);
  e->len += len + 5;
  return true;
}

static bool reserve_blob(la_encoder_t *e, uint32_t n) {
  if (e->blobs_cap - e->nblobs >= n) {
    return true;
  }
  const size_t cap = ((size_t)e->nblobs + n) * 2;
  la_blob_t **blobs =
      la_enc_realloc(e->scratch, e->blobs, cap * sizeof *blobs);
  if (blobs == NULL) {
    return la_enc_fail_plain(e, LA_FAIL_MEMORY);
  }
  e->blobs = blobs;
  /* The sources are compared, never written through. */
  const void **src = la_enc_realloc(e->scratch, (void *)e->blob_src,
                                    cap * sizeof *src);
  if (src == NULL) {
    return la_enc_fail_plain(e, LA_FAIL_MEMORY);
  }
  e->blob_src = src;
  e->blobs_cap = (uint32_t)cap;
  return true;
}

static bool put_blob_ref(la_encoder_t *e, uint32_t i, size_t size) {
  return put_wide(e, LA_TAG_BLOB, (uint64_t)i << 32 | (uint32_t)size);
}

/* The same Lua string twice in a message is one blob; only the last few are
 * compared, a message of thousands of long strings need not be quadratic. */
static la_blob_t *new_blob(la_encoder_t *e, const char *s, size_t len) {
  la_scratch_t *scratch = e->scratch;
  if (scratch->countdown >= 0 && scratch->countdown-- == 0) {
    return NULL;
  }
  la_blob_t *b = NULL;
  if (e->codec != NULL && scratch->blobs_home != NULL) {
    const uint64_t number = la_bigstr_number(e->L, e->codec, s);
    b = number != 0 ? la_blobs_find(scratch->blobs_home, number) : NULL;
  }
  return b != NULL ? b : la_blob_new(scratch->blobs_home, s, len);
}

static bool put_blob(la_encoder_t *e, const char *s, size_t len) {
  for (uint32_t i = e->nblobs; i > 0 && e->nblobs - i < 8; i--) {
    if (e->blob_src[i - 1] == s && e->blobs[i - 1]->size == len &&
        memcmp(e->blobs[i - 1]->bytes, s, len) == 0) {
      return put_blob_ref(e, i - 1, len);
    }
  }
  if (e->blob_bytes + len > LA_TERM_MAX_BYTES) {
    return la_enc_fail_plain(e, LA_FAIL_SIZE);
  }
  if (!reserve_blob(e, 1)) {
    return false;
  }
  la_blob_t *b = new_blob(e, s, len);
  if (b == NULL) {
    return la_enc_fail_plain(e, LA_FAIL_MEMORY);
  }
  e->blob_src[e->nblobs] = s;
  e->blobs[e->nblobs++] = b;
  e->blob_bytes += len;
  return put_blob_ref(e, e->nblobs - 1, len);
}

bool la_encode_str(la_encoder_t *e, const char *s, size_t len) {
  return len >= LA_TERM_BLOB_MIN && e->mode == LA_TERM_LOCAL
             ? put_blob(e, s, len)
             : la_enc_binary(e, s, len);
}

/* ---- what was seen ------------------------------------------------------ */

static void index_insert(la_encoder_t *e, uint32_t i) {
  const uint32_t mask = 2 * e->seen_cap - 1;
  uint32_t h = la_enc_hash(e->seen[i].ptr) & mask;
  while (e->index[h] >> 32 == e->generation) {
    h = (h + 1) & mask;
  }
  e->index[h] = (uint64_t)e->generation << 32 | i;
}

/* Nothing that stands in the index counts any more. */
static void index_clear(la_encoder_t *e) {
  if (++e->generation == 0) {
    memset(e->index, 0, 2 * e->seen_cap * sizeof *e->index);
    e->generation = 1;
  }
}

bool la_enc_add_slow(la_encoder_t *e, const void *ptr, size_t at,
                     uint32_t up) {
  if (e->nseen == e->seen_cap) {
    const uint32_t cap = e->seen_cap == 0 ? 32 : e->seen_cap * 2;
    la_seen_t *seen = la_enc_realloc(e->scratch, e->seen, cap * sizeof *seen);
    if (seen == NULL) {
      return la_enc_fail_plain(e, LA_FAIL_MEMORY);
    }
    e->seen = seen;
    uint64_t *index =
        la_enc_realloc(e->scratch, e->index, 2 * cap * sizeof *index);
    if (index == NULL) {
      return la_enc_fail_plain(e, LA_FAIL_MEMORY);
    }
    e->index = index;
    e->seen_cap = cap;
    e->generation = 1;
    memset(index, 0, 2 * cap * sizeof *index);
    for (uint32_t i = 0; i < e->nseen; i++) {
      index_insert(e, i);
    }
  }
  e->seen[e->nseen] = (la_seen_t){ptr, (uint32_t)at, up};
  index_insert(e, e->nseen++);
  return true;
}

void la_enc_forget(la_encoder_t *e, uint32_t n) {
  if (e->nseen == n) {
    return;
  }
  e->nseen = n;
  index_clear(e);
  for (uint32_t i = 0; i < n; i++) {
    index_insert(e, i);
  }
}

bool la_enc_ref(la_encoder_t *e, const la_seen_t *s) {
  uint8_t *tag = e->buf + s->at;
  *tag = la_shared_twin(*tag);
  const uint32_t distance = (uint32_t)e->len - s->at;
  if (s->up == 0) {
    return la_enc_head(e, LA_TAG_REF, distance);
  }
  const uint8_t up = (uint8_t)s->up;
  return la_enc_head(e, LA_TAG_UPREF, distance) && la_enc_byte(e, up);
}

/* ---- tables ------------------------------------------------------------- */

bool la_enc_enter(la_encoder_t *e, lua_State *L) {
  if (e->depth >= LA_TERM_MAX_DEPTH) {
    return la_enc_fail_plain(e, LA_FAIL_DEPTH);
  }
  if (!lua_checkstack(L, 10)) {
    return la_enc_fail_plain(e, LA_FAIL_MEMORY);
  }
  e->depth++;
  return true;
}

/* A table being written from 'start' on. */
typedef struct {
  int idx;        /* where it is on the stack */
  size_t start;
  uint32_t nseen; /* what was seen before it */
  bool asked;     /* whether it is a module */
} table_t;

/* Write the table by name if it is a module; what was written of it is then
 * forgotten. Asked when a table turns out to hold a function, or something that
 * cannot travel: messages of plain data never pay for it. */
static bool ask_module(la_encoder_t *e, lua_State *L, table_t *t,
                       bool *done) {
  const size_t len = e->len;
  t->asked = true;
  e->len = t->start;
  if (!la_enc_module(e, L, t->idx, done)) {
    return false;
  }
  if (*done) {
    la_enc_forget(e, t->nseen);
  } else {
    e->len = len;
  }
  return true;
}

/* The value on top, under the key at 'key', cannot be written. */
static bool pair_failed(la_encoder_t *e, lua_State *L, table_t *t, int key,
                        bool *done) {
  *done = false;
  if (e->fail == LA_FAIL_KIND && !t->asked) {
    const uint32_t path_at = e->path_at;
    e->fail = LA_FAIL_NONE;
    lua_settop(L, key + 1);
    if (!ask_module(e, L, t, done)) {
      return false;
    }
    if (*done) {
      return true;
    }
    e->fail = LA_FAIL_KIND;
    e->path_at = path_at;
  }
  return step_key(e, L, key);
}

/* The pairs of the table, from the key and value now on the stack; integer
 * keys 1..nseq are skipped. The count goes into the head at 'at'. */
static bool put_pairs(la_encoder_t *e, lua_State *L, table_t *t, size_t at,
                      lua_Integer nseq) {
  uint32_t n = 0;
  const int key = lua_gettop(L) - 1; /* a failing value leaves its own above */
  bool done = false;
  do {
    if (nseq != 0 && lua_isinteger(L, -2)) {
      const lua_Integer k = lua_tointeger(L, -2);
      if (k >= 1 && k <= nseq) {
        lua_pop(L, 1);
        continue;
      }
    }
    if (!t->asked && lua_type(L, -1) == LUA_TFUNCTION) {
      if (!ask_module(e, L, t, &done)) {
        return false;
      }
    }
    if (!done && !la_enc_value(e, L, -2)) {
      return la_enc_step(e, " key");
    }
    if (!done && !la_enc_value(e, L, -1) &&
        !pair_failed(e, L, t, key, &done)) {
      return false;
    }
    if (done) {
      lua_settop(L, key - 1);
      return true;
    }
    lua_pop(L, 1);
    n++;
  } while (lua_next(L, t->idx));
  la_put32(e->buf + at + 1, n);
  return true;
}

bool la_enc_is_globals(la_encoder_t *e, lua_State *L, const void *ptr) {
  if (e->globals == NULL) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    e->globals = lua_topointer(L, -1);
    lua_pop(L, 1);
  }
  return e->mode == LA_TERM_LOCAL && ptr == e->globals;
}

/* The key now on the stack (under its value) is not the next of the sequence
 * of 'n' elements written so far. Finish the table. */
static bool put_rest(la_encoder_t *e, lua_State *L, table_t *t,
                     lua_Integer n) {
  const size_t at = t->start;
  lua_Integer border = n;
  /* It has keys, so it comes here. */
  if (la_enc_is_globals(e, L, lua_topointer(L, t->idx))) {
    lua_pop(L, 2);
    e->len = at;
    la_enc_forget(e, t->nseen);
    return la_enc_byte(e, LA_TAG_GLOBALS);
  }
  while (lua_rawgeti(L, t->idx, border + 1) != LUA_TNIL) {
    if (!la_enc_value(e, L, -1)) {
      return la_enc_step(e, "[%lld]", (long long)border + 1);
    }
    border++;
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  size_t map_at = at;
  if (border == 0) {
    e->buf[at] = LA_TAG_MAP;
  } else {
    e->buf[at] = e->buf[at] == LA_TAG_LIST_S ? LA_TAG_MIXED_S : LA_TAG_MIXED;
    la_put32(e->buf + at + 1, (uint32_t)border);
    map_at = e->len;
    if (!la_enc_head(e, LA_TAG_MAP, 0)) {
      return false;
    }
  }
  if (!put_pairs(e, L, t, map_at, border == n ? 0 : border)) {
    return false;
  }
  /* A sequence that ended in the hash part, and no other keys. */
  if (border != 0 && e->len == map_at + 5 && e->buf[at] != LA_TAG_MODULE) {
    e->buf[map_at] = LA_TAG_EMPTY;
    e->len = map_at + 1;
    e->buf[at] = e->buf[at] == LA_TAG_MIXED_S ? LA_TAG_LIST_S : LA_TAG_LIST;
  }
  return true;
}

static bool put_content(la_encoder_t *e, lua_State *L, table_t *t) {
  if (!la_enc_head(e, LA_TAG_LIST, 0)) {
    return false;
  }
  lua_Integer n = 0;
  lua_pushnil(L);
  while (lua_next(L, t->idx)) {
    if (!lua_isinteger(L, -2) || lua_tointeger(L, -2) != n + 1) {
      return put_rest(e, L, t, n);
    }
    const bool ok = lua_isinteger(L, -1)
                        ? la_encode_int(e, lua_tointeger(L, -1))
                        : la_enc_value(e, L, -1);
    if (!ok) {
      return la_enc_step(e, "[%lld]", (long long)n + 1);
    }
    lua_pop(L, 1);
    n++;
  }
  if (n == 0) {
    e->buf[t->start] = LA_TAG_EMPTY;
    e->len = t->start + 1;
    return true;
  }
  la_put32(e->buf + t->start + 1, (uint32_t)n);
  return la_enc_byte(e, LA_TAG_EMPTY);
}

static bool put_table(la_encoder_t *e, lua_State *L, int idx) {
  const void *ptr = lua_topointer(L, idx);
  const la_seen_t *seen = la_enc_find(e, ptr);
  if (seen != NULL) {
    return la_enc_ref(e, seen);
  }
  if (!la_enc_enter(e, L)) {
    return false;
  }
  idx = lua_absindex(L, idx);
  if (lua_getmetatable(L, idx)) {
    lua_pop(L, 1);
    bool done = false;
    const bool ok =
        la_lazy_settle(L, idx) || la_enc_special(e, L, idx, &done);
    if (!ok || done) {
      e->depth--;
      return ok;
    }
  }
  table_t t = {idx, e->len, e->nseen, e->mode != LA_TERM_LOCAL};
  const bool ok = la_enc_add(e, ptr, t.start, 0) && put_content(e, L, &t);
  e->depth--;
  return ok;
}

/* ---- any value ---------------------------------------------------------- */

bool la_enc_value(la_encoder_t *e, lua_State *L, int idx) {
  switch (lua_type(L, idx)) {
    case LUA_TSTRING: {
      size_t len;
      const char *s = lua_tolstring(L, idx, &len);
      return la_encode_str(e, s, len);
    }
    case LUA_TNUMBER:
      return lua_isinteger(L, idx) ? la_encode_int(e, lua_tointeger(L, idx))
                                   : la_enc_float(e, lua_tonumber(L, idx));
    case LUA_TTABLE:
      return put_table(e, L, idx);
    case LUA_TLIGHTUSERDATA: {
      const la_id_t id = la_to_id(L, idx);
      return id != LA_NO_ID ? la_encode_id(e, id)
                            : la_enc_fail(e, "light userdata");
    }
    case LUA_TBOOLEAN:
      return la_enc_boolean(e, lua_toboolean(L, idx));
    case LUA_TNIL:
      return la_encode_nil(e);
    case LUA_TFUNCTION:
      return la_enc_function(e, L, idx);
    case LUA_TUSERDATA:
      return la_enc_userdata(e, L, idx);
    default:
      return la_enc_fail(e, "coroutine");
  }
}

/* Is the value worth a look at the codec? */
static bool has_use_of_codec(lua_State *L, int idx) {
  const int type = lua_type(L, idx);
  return type == LUA_TTABLE || (type == LUA_TSTRING &&
                                lua_rawlen(L, idx) >= LA_TERM_BLOB_MIN);
}

/* Remember which blobs the value's large strings became. They are reachable
 * from the value, which went another way than by __transfer. */
static void note_blobs(la_encoder_t *e, lua_State *L, uint32_t from) {
  const uint32_t n = e->nblobs;
  for (uint32_t i = n - from > LA_BIGSTRS ? n - LA_BIGSTRS : from; i < n; i++) {
    const la_blob_t *b = e->blobs[i];
    if (b->number != 0 && la_bigstr_number(L, e->codec, e->blob_src[i]) == 0) {
      la_bigstr_note(L, e->codec, e->blob_src[i], b->number);
    }
  }
}

bool la_encode(la_encoder_t *e, lua_State *L, int idx, const char *what) {
  const int top = lua_gettop(L);
  e->fail = LA_FAIL_NONE;
  e->depth = 0;
  e->globals = NULL;
  e->L = L;
  e->codec = has_use_of_codec(L, idx) ? la_codec_of(L) : NULL;
  if (e->codec != NULL) {
    const uint32_t nblobs = e->nblobs;
    if (lua_type(L, idx) == LUA_TSTRING
            ? la_enc_value(e, L, idx)
            : la_enc_direct(e, L, la_ltable_at(L, idx))) {
      note_blobs(e, L, nblobs);
      e->codec = NULL;
      return true;
    }
    e->codec = NULL;
  }
  e->mods_known = false;
  e->has_anchors = false;
  const bool ok =
      la_enc_value(e, L, idx) &&
      (e->len <= LA_TERM_MAX_BYTES || la_enc_fail_plain(e, LA_FAIL_SIZE));
  if (e->has_anchors) {
    /* What __transfer returned may be collected now: its addresses may come
     * to stand for something else. */
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, e);
    la_enc_forget(e, 0);
  }
  if (ok) {
    return true;
  }
  const bool is_function = lua_type(L, idx) == LUA_TFUNCTION;
  lua_settop(L, top);
  push_failure(e, L, what, is_function);
  return false;
}

/* ---- pieces ------------------------------------------------------------- */

bool la_encode_list(la_encoder_t *e, uint32_t n) {
  return la_enc_head(e, LA_TAG_LIST, n);
}

bool la_encode_list_end(la_encoder_t *e) {
  return la_enc_byte(e, LA_TAG_EMPTY);
}

/* Take over the blobs of 't', whose indexes then begin at 'base'. */
static bool adopt_blobs(la_encoder_t *e, const la_term_t *t) {
  if (!reserve_blob(e, t->nblobs)) {
    return false;
  }
  for (uint32_t i = 0; i < t->nblobs; i++) {
    la_blob_ref(t->blobs[i]);
    e->blob_src[e->nblobs] = NULL;
    e->blob_bytes += t->blobs[i]->size;
    e->blobs[e->nblobs++] = t->blobs[i];
  }
  return e->blob_bytes <= LA_TERM_MAX_BYTES ||
         la_enc_fail_plain(e, LA_FAIL_SIZE);
}

static void shift_blobs(uint8_t *p, const uint8_t *end, uint32_t base) {
  while (p < end) {
    if (*p == LA_TAG_BLOB) {
      la_put32(p + 1, la_get32(p + 1) + base);
    }
    uint64_t parts;
    const uint8_t *next = la_head(p, end, &parts);
    assert(next != NULL);
    p += next - p;
  }
}

bool la_encode_term(la_encoder_t *e, const la_term_t *t) {
  uint8_t *p = la_enc_room(e, t->size);
  if (p == NULL) {
    return false;
  }
  memcpy(p, t->bytes, t->size);
  e->len += t->size;
  if (t->nblobs == 0) {
    return true;
  }
  const uint32_t base = e->nblobs;
  if (!adopt_blobs(e, t)) {
    return false;
  }
  if (base != 0) {
    shift_blobs(p, p + t->size, base);
  }
  return true;
}

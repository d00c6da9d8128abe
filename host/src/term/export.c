/* Terms of this host, on their way to another node (border.h).
 *
 * The bytes are our own, nested at most LA_TERM_MAX_DEPTH deep, so this goes
 * down by recursion. Towards another luactor, tables that are reached twice stay
 * one (REF); towards Erlang they are copied at each place, and a table
 * inside itself is an error. Blobs are not copied: the output has holes where they stand. */
#include <stdio.h>

#include "base/env.h"
#include "term/border.h"
#include "term/tag.h"
#include "term/wire.h"

typedef struct place {
  const uint8_t *in;
  size_t out; /* blobs counted */
} place_t;

typedef struct exporter {
  const la_term_t *t;
  const la_peer_t *peer;
  la_exported_t *out;
  const uint8_t *open[LA_TERM_MAX_DEPTH + 2]; /* containers we are inside of */
  uint32_t depth;
  place_t *places;
  uint32_t nplaces, places_cap;
  const char *cause; /* of a failure; NULL: memory */
  /* The path to it, written backwards. */
  char path[240];
  size_t path_at;
} exporter_t;

void la_exported_free(la_exported_t *out) {
  for (uint32_t i = 0; i < out->nholes; i++) {
    la_blob_unref(out->holes[i].blob);
  }
  la_free(out->holes);
  la_buf_free(&out->bytes);
  memset(out, 0, sizeof *out);
}

/* ---- failures ------------------------------------------------------------------ */

static bool fail(exporter_t *x, const char *cause) {
  x->cause = cause;
  return false;
}

static bool step(exporter_t *x, const char *text, size_t n) {
  if (n <= x->path_at) {
    x->path_at -= n;
    memcpy(x->path + x->path_at, text, n);
  }
  return false;
}

static bool step_index(exporter_t *x, uint32_t index) {
  char text[16];
  const int n = snprintf(text, sizeof text, "[%u]", index);
  return step(x, text, (size_t)n);
}

static bool step_key(exporter_t *x, const uint8_t *key) {
  char text[64];
  la_view_t v;
  la_view(x->t, key, &v);
  int n;
  if (v.kind == LA_K_TEXT) {
    n = snprintf(text, sizeof text, ".%.*s", v.len < 40 ? (int)v.len : 40,
                 (const char *)v.at);
  } else if (v.kind == LA_K_INT) {
    n = snprintf(text, sizeof text, "[%lld]", (long long)v.i);
  } else {
    n = snprintf(text, sizeof text, "[...]");
  }
  return step(x, text, (size_t)n);
}

/* ---- simple terms ---------------------------------------------------------------- */

static size_t position(const exporter_t *x) {
  return x->out->bytes.len + x->out->blob_bytes;
}

static void put_int64(la_buf_t *b, int64_t v) {
  const uint64_t m = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
  uint8_t n = 8;
  while (n > 1 && m >> (8 * (n - 1)) == 0) {
    n--;
  }
  la_buf_u8(b, LA_TAG_SMALL_BIG);
  la_buf_u8(b, n);
  la_buf_u8(b, v < 0);
  for (uint8_t k = 0; k < n; k++) {
    la_buf_u8(b, (uint8_t)(m >> (8 * k)));
  }
}

static void put_atom(la_buf_t *b, const char *text) {
  la_wire_atom_write(b, text, strlen(text));
}

static void put_id(exporter_t *x, la_id_t id) {
  la_wire_id_t w;
  la_wire_id_of(id, x->peer->node, x->peer->creation, &w);
  la_wire_id_write(&x->out->bytes, &w);
}

static bool put_blob(exporter_t *x, const uint8_t *p) {
  la_exported_t *out = x->out;
  la_blob_t *blob = x->t->blobs[la_get32(p + 1)];
  if (out->nholes == out->holes_cap) {
    const uint32_t cap = out->holes_cap != 0 ? 2 * out->holes_cap : 4;
    la_hole_t *holes = la_realloc(out->holes, cap * sizeof *holes);
    if (holes == NULL) {
      return fail(x, NULL);
    }
    out->holes = holes;
    out->holes_cap = cap;
  }
  la_buf_u8(&out->bytes, LA_TAG_BINARY);
  la_buf_u32(&out->bytes, (uint32_t)blob->size);
  la_blob_ref(blob);
  out->holes[out->nholes++] = (la_hole_t){out->bytes.len, blob};
  out->blob_bytes += blob->size;
  return true;
}

/* ---- tables ------------------------------------------------------------------------- */

static bool put(exporter_t *x, const uint8_t *p);

static bool enter(exporter_t *x, const uint8_t *p) {
  if (x->depth > LA_TERM_MAX_DEPTH) {
    return fail(x, "nested deeper than 200 levels");
  }
  x->open[x->depth++] = p;
  return true;
}

/* 'n' elements from '*p' on, which moves behind them. */
static bool put_elements(exporter_t *x, const uint8_t **p, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    if (!put(x, *p)) {
      return step_index(x, i + 1);
    }
    *p = la_skip(*p);
  }
  return true;
}

static bool put_pairs(exporter_t *x, const uint8_t *p, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    const uint8_t *key = p;
    if (!put(x, key)) {
      return step(x, "[key]", 5);
    }
    p = la_skip(p);
    if (!put(x, p)) {
      return step_key(x, key);
    }
    p = la_skip(p);
  }
  return true;
}

/* A table that is a sequence and has other keys: to Erlang, a map. */
static bool put_mixed(exporter_t *x, const uint8_t *p) {
  la_buf_t *b = &x->out->bytes;
  uint32_t n = la_get32(p + 1), npairs;
  la_view_t v;
  la_view(x->t, p, &v);
  const uint8_t *pairs = la_view_pairs(x->t, &v, &npairs);
  p += 5;
  if (x->peer->is_luactor) {
    la_buf_u8(b, LA_TAG_MIXED);
    la_buf_u32(b, n);
    if (!put_elements(x, &p, n)) {
      return false;
    }
    la_buf_u8(b, LA_TAG_MAP);
    la_buf_u32(b, npairs);
    return put_pairs(x, pairs, npairs);
  }
  la_buf_u8(b, LA_TAG_MAP);
  la_buf_u32(b, n + npairs);
  for (uint32_t i = 1; i <= n; i++) {
    if (i < 256) {
      la_buf_u8(b, LA_TAG_SMALL_INT);
      la_buf_u8(b, (uint8_t)i);
    } else {
      la_buf_u8(b, LA_TAG_INT);
      la_buf_u32(b, i);
    }
    if (!put(x, p)) {
      return step_index(x, i);
    }
    p = la_skip(p);
  }
  return put_pairs(x, pairs, npairs);
}

static bool put_container(exporter_t *x, const uint8_t *p) {
  la_buf_t *b = &x->out->bytes;
  uint32_t n;
  switch (*p) {
    case LA_TAG_LIST:
    case LA_TAG_LIST_S:
    case LA_TAG_CONS:
      n = la_get32(p + 1);
      la_buf_u8(b, *p == LA_TAG_LIST_S && x->peer->is_luactor ? *p
                                                              : LA_TAG_LIST);
      la_buf_u32(b, n);
      p += 5;
      return put_elements(x, &p, n) && put(x, p);
    case LA_TAG_MAP:
    case LA_TAG_MAP_S:
      n = la_get32(p + 1);
      la_buf_u8(b, x->peer->is_luactor ? *p : LA_TAG_MAP);
      la_buf_u32(b, n);
      return put_pairs(x, p + 5, n);
    case LA_TAG_TUPLE:
      la_buf_put(b, p, 2);
      n = p[1];
      p += 2;
      return put_elements(x, &p, n);
    case LA_TAG_BIG_TUPLE:
      la_buf_put(b, p, 5);
      n = la_get32(p + 1);
      p += 5;
      return put_elements(x, &p, n);
    default:
      return put_mixed(x, p);
  }
}

/* A shared table towards another luactor: where it stands is remembered. */
static bool remember(exporter_t *x, const uint8_t *p) {
  if (x->nplaces == x->places_cap) {
    const uint32_t cap = x->places_cap != 0 ? 2 * x->places_cap : 16;
    place_t *places = la_realloc(x->places, cap * sizeof *places);
    if (places == NULL) {
      return fail(x, NULL);
    }
    x->places = places;
    x->places_cap = cap;
  }
  x->places[x->nplaces++] = (place_t){p, position(x)};
  return true;
}

static bool put_ref(exporter_t *x, const uint8_t *p) {
  const uint8_t *target = la_deref(p);
  if (x->peer->is_luactor && *target != LA_TAG_TRANSFER_S) {
    for (uint32_t i = x->nplaces; i > 0; i--) {
      if (x->places[i - 1].in == target) {
        const size_t distance = position(x) - x->places[i - 1].out;
        if (distance > UINT32_MAX) {
          break;
        }
        la_buf_u8(&x->out->bytes, LA_TAG_REF);
        la_buf_u32(&x->out->bytes, (uint32_t)distance);
        return true;
      }
    }
  }
  for (uint32_t i = 0; i < x->depth; i++) {
    if (x->open[i] == target) {
      return fail(x, "a table inside itself");
    }
  }
  return put(x, target);
}

/* { module, arguments } whose receiver makes the value. */
static bool put_transfer(exporter_t *x, const uint8_t *p) {
  if (!x->peer->is_luactor) {
    return fail(x, "an object of Lua");
  }
  la_buf_u8(&x->out->bytes, LA_TAG_WIRE_TRANSFER);
  const uint8_t *arguments = la_skip(++p);
  return enter(x, p) && put(x, p) && put(x, arguments) && x->depth-- > 0;
}

static bool put_table(exporter_t *x, const uint8_t *p) {
  if (position(x) > LA_TERM_MAX_BYTES) {
    return fail(x, "larger than 1 GiB");
  }
  const bool shared = *p == LA_TAG_LIST_S || *p == LA_TAG_MAP_S ||
                      *p == LA_TAG_MIXED_S;
  if (shared && x->peer->is_luactor && !remember(x, p)) {
    return false;
  }
  const size_t at = x->out->bytes.len;
  if (!enter(x, p) || !put_container(x, p)) {
    return false;
  }
  x->depth--;
  if (*p == LA_TAG_MIXED_S && x->peer->is_luactor &&
      !x->out->bytes.failed) {
    x->out->bytes.data[at] = LA_TAG_MIXED_S;
  }
  return true;
}

/* ---- any term -------------------------------------------------------------------------- */

static bool put(exporter_t *x, const uint8_t *p) {
  la_buf_t *b = &x->out->bytes;
  switch (*p) {
    case LA_TAG_SMALL_INT:
      la_buf_put(b, p, 2);
      return true;
    case LA_TAG_INT:
      la_buf_put(b, p, 5);
      return true;
    case LA_TAG_INT64:
      put_int64(b, (int64_t)la_get64(p + 1));
      return true;
    case LA_TAG_NEW_FLOAT:
      la_buf_put(b, p, 9);
      return true;
    case LA_TAG_RAW_FLOAT:
      if (!x->peer->is_luactor) {
        return fail(x, "a number that is NaN or infinite");
      }
      la_buf_put(b, p, 9);
      return true;
    case LA_TAG_NIL:
      put_atom(b, "nil");
      return true;
    case LA_TAG_TRUE:
      put_atom(b, "true");
      return true;
    case LA_TAG_FALSE:
      put_atom(b, "false");
      return true;
    case LA_TAG_BINARY:
      la_buf_put(b, p, (size_t)5 + la_get32(p + 1));
      return true;
    case LA_TAG_BLOB:
      return put_blob(x, p);
    case LA_TAG_ID:
      put_id(x, la_get64(p + 1));
      return true;
    case LA_TAG_EMPTY:
      la_buf_u8(b, LA_TAG_EMPTY);
      return true;
    case LA_TAG_EMPTY_S:
      if (x->peer->is_luactor && !remember(x, p)) {
        return false;
      }
      la_buf_u8(b, x->peer->is_luactor ? LA_TAG_EMPTY_S : LA_TAG_EMPTY);
      return true;
    case LA_TAG_OPAQUE:
      la_buf_put(b, p + 5, la_get32(p + 1));
      return true;
    case LA_TAG_ATOM:
    case LA_TAG_SMALL_ATOM:
    case LA_TAG_PID:
    case LA_TAG_REFERENCE:
    case LA_TAG_SMALL_BIG:
    case LA_TAG_BYTE_LIST:
      la_buf_put(b, p, (size_t)(la_skip(p) - p));
      return true;
    case LA_TAG_REF:
      return put_ref(x, p);
    case LA_TAG_MARKED_MAP:
      return put(x, p + 2);
    case LA_TAG_TRANSFER:
    case LA_TAG_TRANSFER_S:
      return put_transfer(x, p);
    case LA_TAG_FUNC:
    case LA_TAG_FUNC_S:
    case LA_TAG_FIELD:
      return fail(x, "function");
    case LA_TAG_MODULE:
      return fail(x, "a loaded module");
    case LA_TAG_GLOBALS:
      return fail(x, "the table of globals");
    case LA_TAG_OBJECT:
    case LA_TAG_OBJECT_S:
      return fail(x, "an object of luactor");
    default:
      return put_table(x, p);
  }
}

/* ---- messages and reasons to Erlang ------------------------------------------------------ */

/* The elements of a list at 'p', when it has 'n' of them. */
static const uint8_t *list_of(const uint8_t *p, uint32_t n) {
  return (*p == LA_TAG_LIST || *p == LA_TAG_LIST_S) && la_get32(p + 1) == n
             ? p + 5
             : NULL;
}

static bool is_binary(const uint8_t *p, const char *text) {
  return *p == LA_TAG_BINARY && la_get32(p + 1) == strlen(text) &&
         memcmp(p + 5, text, strlen(text)) == 0;
}

static void tuple(exporter_t *x, uint8_t n) {
  la_buf_u8(&x->out->bytes, LA_TAG_TUPLE);
  la_buf_u8(&x->out->bytes, n);
}

/* { pid, tag } of a request. */
static bool put_from(exporter_t *x, const uint8_t *p) {
  const uint8_t *e = list_of(p, 2);
  if (e == NULL) {
    return put(x, p);
  }
  tuple(x, 2);
  return put_elements(x, &e, 2);
}

/* Is it what Erlang made as the tag of a call: a reference of its, [alias|Ref],
 * or {Ref, Node} of gen_server:multi_call? */
static bool is_foreign_tag(const uint8_t *p) {
  if (*p == LA_TAG_TUPLE && p[1] == 2) {
    p += 2;
    return *p == LA_TAG_REFERENCE;
  }
  return *p == LA_TAG_REFERENCE || *p == LA_TAG_CONS;
}

static bool put_message(exporter_t *x, const uint8_t *p) {
  const uint8_t *e = list_of(p, 3);
  if (e != NULL && is_binary(e, "$gen_call")) {
    tuple(x, 3);
    put_atom(&x->out->bytes, "$gen_call");
    e = la_skip(e);
    const uint8_t *request = la_skip(e);
    return (put_from(x, e) || step_index(x, 2)) &&
           (put(x, request) || step_index(x, 3));
  }
  e = list_of(p, 2);
  if (e != NULL && is_binary(e, "$gen_cast")) {
    tuple(x, 2);
    put_atom(&x->out->bytes, "$gen_cast");
    return put(x, la_skip(e)) || step_index(x, 2);
  }
  if (e != NULL && is_foreign_tag(e)) {
    tuple(x, 2);
    return put_elements(x, &e, 2);
  }
  return put(x, p);
}

static bool is_word(const uint8_t *p, const char **word) {
  static const char *const words[] = {"normal", "shutdown", "kill",
                                      "killed", "noproc",   "noconnection"};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    if (is_binary(p, words[i])) {
      *word = words[i];
      return true;
    }
  }
  return false;
}

static bool put_reason(exporter_t *x, const uint8_t *p) {
  const char *word;
  if (is_word(p, &word)) {
    put_atom(&x->out->bytes, word);
    return true;
  }
  const uint8_t *e = list_of(p, 2);
  const bool shutdown = e != NULL && is_binary(e, "shutdown");
  if (!shutdown) {
    e = list_of(p, 3);
    if (e == NULL || !is_binary(e, "error")) {
      return put(x, p);
    }
  }
  tuple(x, shutdown ? 2 : 3);
  put_atom(&x->out->bytes, shutdown ? "shutdown" : "error");
  e = la_skip(e);
  return put_elements(x, &e, shutdown ? 1 : 2);
}

bool la_export(const la_term_t *t, const la_peer_t *peer, la_export_t as,
               const char *what, la_exported_t *out, char *why, size_t max) {
  exporter_t x;
  x.t = t;
  x.peer = peer;
  x.out = out;
  x.depth = 0;
  x.places = NULL;
  x.nplaces = x.places_cap = 0;
  x.cause = NULL;
  x.path_at = sizeof x.path;
  bool ok;
  if (peer->is_luactor || as == LA_EXPORT_VALUE) {
    ok = put(&x, t->bytes);
  } else if (as == LA_EXPORT_MESSAGE) {
    ok = put_message(&x, t->bytes);
  } else {
    ok = put_reason(&x, t->bytes);
  }
  la_free(x.places);
  if (ok && !out->bytes.failed) {
    return true;
  }
  if (x.cause == NULL) {
    snprintf(why, max, "not enough memory");
  } else {
    snprintf(why, max, "cannot send %s%.*s (%s) to another node", what,
             (int)(sizeof x.path - x.path_at), x.path + x.path_at, x.cause);
  }
  return false;
}

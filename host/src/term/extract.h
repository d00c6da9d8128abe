/* Parts of a term as terms of their own. */
#ifndef LA_EXTRACT_H
#define LA_EXTRACT_H

#include "base/buf.h"
#include "term/term.h"

/* Terms put together outside any Lua state: bytes and the blobs they name, to
 * which it holds references. All zeroes: empty. */
typedef struct la_parts {
  la_buf_t bytes;
  la_blob_t **blobs;
  uint32_t nblobs, blobs_cap;
  bool has_code; /* a function whose bytecode one host keeps: la_code_t */
} la_parts_t;

typedef enum {
  LA_EXTRACT_OK,
  LA_EXTRACT_NOMEM,
  LA_EXTRACT_DEEP,
  LA_EXTRACT_BOUND, /* a function shares upvalues with one outside */
} la_extract_t;

void la_parts_free(la_parts_t *parts);
/* Take it over, with a reference that is the caller's. False: memory; the reference
 * stays the caller's. Sets *index. [any] */
bool la_parts_add_blob(la_parts_t *parts, la_blob_t *blob, uint32_t *index);

/* Append the subterm at 'at' of the well-formed term 't' of this host so that it
 * stands alone: back references that lead out of it are replaced by what they
 * mean. On failure the parts are as before, but for unused blobs. [any] */
la_extract_t la_term_extract(const la_term_t *t, const uint8_t *at,
                             la_parts_t *out);

/* How many levels of tables the subterm has; more than LA_TERM_MAX_DEPTH are
 * counted as one more. [any] */
int la_term_depth(const la_term_t *t, const uint8_t *at);

/* Does the term hold a function whose bytecode its host keeps? [any] */
bool la_term_has_code(const la_term_t *t);

#endif

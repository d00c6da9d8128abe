/* The border between this host and another node: terms that come in are
 * checked and turned into the local form, terms that go out into one that the
 * peer can read (docs/wire.md, "Between nodes").
 *
 * What has been let in is as trustworthy as what the host's own encoder made,
 * so matcher, decoder and printer never see a byte that was not looked at. */
#ifndef LA_BORDER_H
#define LA_BORDER_H

#include "base/buf.h"
#include "term/term.h"

typedef struct la_peer {
  const char *node;    /* our name */
  uint32_t creation;   /* our incarnation */
  bool is_luactor;     /* the peer is: private tags may be sent and come */
  la_blobs_t *blobs_home; /* of long strings that come in; may be NULL */
  /* What one of our pids that comes in stands for: itself, or a pool. May be
   * NULL. 'host' is for it. */
  la_id_t (*own)(void *host, la_id_t pid);
  void *host;
} la_peer_t;

/* ---- in ---------------------------------------------------------------------- */

typedef enum {
  LA_IMPORT_OK,
  LA_IMPORT_MALFORMED, /* the peer breaks the protocol */
  LA_IMPORT_REFUSED,   /* well-formed or too new, but not for us: drop it */
  LA_IMPORT_NO_MEMORY,
} la_import_t;

/* A term in local form. Starts as zeros; la_imported_free gives all back. */
typedef struct la_imported {
  la_buf_t bytes;
  la_blob_t **blobs;
  uint32_t nblobs, blobs_cap;
} la_imported_t;

void la_imported_free(la_imported_t *in);
void la_imported_term(const la_imported_t *in, la_term_t *out);

/* Let in the term at 'p' (no version byte in front); '*behind' is the byte
 * behind it. 'as_reason': an exit reason, in which the atoms that Lua knows as
 * strings become strings. On failure '*why' is a static text. [any] */
la_import_t la_import(const uint8_t *p, const uint8_t *end,
                      const la_peer_t *peer, bool as_reason,
                      la_imported_t *out, const uint8_t **behind,
                      const char **why);

/* ---- out --------------------------------------------------------------------- */

/* Bytes with holes: before byte 'at' of 'bytes' stand the bytes of a blob. */
typedef struct la_hole {
  size_t at;
  la_blob_t *blob; /* a reference */
} la_hole_t;

typedef struct la_exported {
  la_buf_t bytes;
  la_hole_t *holes;
  uint32_t nholes, holes_cap;
  size_t blob_bytes;
} la_exported_t;

void la_exported_free(la_exported_t *out);
static inline size_t la_exported_size(const la_exported_t *out) {
  return out->bytes.len + out->blob_bytes;
}

/* How a term is meant. */
typedef enum {
  LA_EXPORT_VALUE,
  LA_EXPORT_MESSAGE, /* to Erlang, requests, casts and replies become tuples */
  LA_EXPORT_REASON,  /* to Erlang, the known reasons become atoms */
} la_export_t;

/* Append the wire form of a local term, without version byte. False: it
 * cannot travel there; 'why' (at least 400 bytes) names the part and the cause:
 * "message.log (function)". [any] */
bool la_export(const la_term_t *t, const la_peer_t *peer, la_export_t as,
               const char *what, la_exported_t *out, char *why, size_t max);

#endif

/* A blob: a large string outside every Lua heap, immutable and refcounted.
 * Messages that carry it hold references; the bytes are copied once into it
 * and once out of it, however many mailboxes it passes through (rule 4).
 *
 * A host remembers its recent blobs, by number, even when nobody holds them any
 * more. Who is about to send a string that came out of a blob, or went into
 * one before, may find the blob again and need not copy (term/bigstr.c); and
 * the memory of an old one serves for a new one. */
#ifndef LA_BLOB_H
#define LA_BLOB_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/lock.h"

#define LA_BLOBS_RECENT 32 /* a power of two */
#define LA_BLOBS_LARGEST ((size_t)1 << 20) /* larger ones are not remembered */
#define LA_BLOBS_PARKED ((size_t)4 << 20) /* bytes that nobody holds */

typedef struct la_blobs la_blobs_t;

typedef struct la_blob {
  /* From 1 to 0, and upwards by la_blobs_find, only under home's lock. */
  _Atomic uint32_t refs;
  la_blobs_t *home; /* NULL: of no host */
  uint64_t number;  /* of its bytes, never given twice; 0: never remembered */
  size_t size, room;
  bool is_recent;   /* under home's lock: still at its place there */
  uint8_t bytes[];
} la_blob_t;

struct la_blobs {
  la_lock_t lock;
  uint64_t last;  /* number given */
  size_t parked;  /* bytes of the recent ones with no references */
  la_blob_t *recent[LA_BLOBS_RECENT]; /* at number % LA_BLOBS_RECENT */
};

void la_blobs_init(la_blobs_t *h);
/* Free what nobody holds; nothing else may be left. */
void la_blobs_fini(la_blobs_t *h);

/* NULL when memory is short. refs = 1. 'home' may be NULL. [any thread] */
la_blob_t *la_blob_new(la_blobs_t *home, const void *bytes, size_t size);
/* A reference to the blob of that number, or NULL. [any thread] */
la_blob_t *la_blobs_find(la_blobs_t *home, uint64_t number);
void la_blob_ref(la_blob_t *blob);
void la_blob_unref(la_blob_t *blob);

#endif

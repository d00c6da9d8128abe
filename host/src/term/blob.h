/* A blob: a large string outside every Lua heap, immutable and refcounted.
 * Messages that carry it hold references; the bytes are copied once into it
 * and once out of it, however many mailboxes it passes through (rule 4). */
#ifndef LA_BLOB_H
#define LA_BLOB_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

typedef struct la_blob {
  _Atomic uint32_t refs;
  size_t size;
  uint8_t bytes[];
} la_blob_t;

/* NULL when memory is short. refs = 1. [any thread] */
la_blob_t *la_blob_new(const void *bytes, size_t size);
void la_blob_ref(la_blob_t *blob);
void la_blob_unref(la_blob_t *blob);

#endif

/* Large strings shared by messages. */
#include "term/blob.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

la_blob_t *la_blob_new(const void *bytes, size_t size) {
  la_blob_t *b = malloc(sizeof *b + size);
  if (b == NULL) {
    return NULL;
  }
  atomic_init(&b->refs, 1);
  b->size = size;
  memcpy(b->bytes, bytes, size);
  return b;
}

void la_blob_ref(la_blob_t *blob) {
  /* Relaxed: who takes a reference already holds one. */
  atomic_fetch_add_explicit(&blob->refs, 1, memory_order_relaxed);
}

void la_blob_unref(la_blob_t *blob) {
  /* Release pairs with the acquire of whoever drops the last reference, so
   * that reads of the bytes are over before they are freed. */
  const uint32_t before =
      atomic_fetch_sub_explicit(&blob->refs, 1, memory_order_acq_rel);
  assert(before != 0);
  if (before == 1) {
    free(blob);
  }
}

/* Large strings shared by messages. */
#include "term/blob.h"

#include "base/env.h"

#include <assert.h>
#include <string.h>

/* A parked blob so many numbers old gives its memory to a new one. */
#define OLD 8

void la_blobs_init(la_blobs_t *h) {
  memset(h, 0, sizeof *h);
  la_lock_init(&h->lock, LA_RANK_BLOBS);
}

void la_blobs_fini(la_blobs_t *h) {
  for (uint32_t i = 0; i < LA_BLOBS_RECENT; i++) {
    la_free(h->recent[i]);
  }
  la_lock_fini(&h->lock);
}

static bool is_parked_locked(const la_blob_t *b) {
  return b != NULL &&
         atomic_load_explicit(&b->refs, memory_order_relaxed) == 0;
}

static la_blob_t **place_of(la_blobs_t *h, uint64_t number) {
  return &h->recent[number % LA_BLOBS_RECENT];
}

/* Take a parked blob out. */
static la_blob_t *unpark_locked(la_blobs_t *h, la_blob_t *b) {
  *place_of(h, b->number) = NULL;
  h->parked -= b->room;
  b->is_recent = false;
  return b;
}

/* Memory for 'size' bytes from an old parked blob, or NULL. */
static la_blob_t *old_room_locked(la_blobs_t *h, size_t size) {
  for (uint64_t i = LA_BLOBS_RECENT; i-- > OLD && h->parked >= size;) {
    la_blob_t *b = h->last > i ? *place_of(h, h->last - i) : NULL;
    if (is_parked_locked(b) && b->room >= size && b->room / 2 <= size) {
      return unpark_locked(h, b);
    }
  }
  return NULL;
}

/* Give the blob the next number and its place; returns what is to be freed. */
static la_blob_t *number_locked(la_blobs_t *h, la_blob_t *b) {
  const uint64_t number = ++h->last;
  la_blob_t **place = place_of(h, number);
  la_blob_t *before = *place;
  if (is_parked_locked(before)) {
    unpark_locked(h, before);
  } else if (before != NULL) {
    before->is_recent = false; /* whoever holds it last frees it */
    before = NULL;
  }
  b->number = number;
  b->is_recent = true;
  *place = b;
  return before;
}

static la_blob_t *blob_alloc(la_blobs_t *home, size_t size) {
  la_blob_t *b = la_alloc(sizeof *b + size);
  if (b != NULL) {
    b->home = home;
    b->room = size;
    b->number = 0;
    b->is_recent = false;
  }
  return b;
}

la_blob_t *la_blob_new(la_blobs_t *home, const void *bytes, size_t size) {
  la_blob_t *b = NULL;
  const bool is_recent = home != NULL && size <= LA_BLOBS_LARGEST;
  if (is_recent) {
    la_lock(&home->lock);
    b = old_room_locked(home, size);
    la_unlock(&home->lock);
  }
  if (b == NULL) {
    b = blob_alloc(home, size);
    if (b == NULL) {
      return NULL;
    }
  }
  atomic_init(&b->refs, 1);
  b->size = size;
  memcpy(b->bytes, bytes, size);
  if (is_recent) {
    la_lock(&home->lock);
    la_blob_t *gone = number_locked(home, b);
    la_unlock(&home->lock);
    la_free(gone);
  }
  return b;
}

la_blob_t *la_blobs_find(la_blobs_t *home, uint64_t number) {
  la_lock(&home->lock);
  la_blob_t *b = *place_of(home, number);
  if (b == NULL || b->number != number) {
    b = NULL;
  } else if (atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed) ==
             0) {
    home->parked -= b->room;
  }
  la_unlock(&home->lock);
  return b;
}

void la_blob_ref(la_blob_t *blob) {
  /* Relaxed: who takes a reference already holds one. */
  atomic_fetch_add_explicit(&blob->refs, 1, memory_order_relaxed);
}

/* Drop what may be the last reference. */
static void unref_last(la_blob_t *b) {
  la_blobs_t *h = b->home;
  la_lock(&h->lock);
  bool is_free = atomic_fetch_sub_explicit(&b->refs, 1,
                                           memory_order_acq_rel) == 1;
  if (is_free && b->is_recent) {
    h->parked += b->room;
    is_free = h->parked > LA_BLOBS_PARKED;
    if (is_free) {
      unpark_locked(h, b);
    }
  }
  la_unlock(&h->lock);
  if (is_free) {
    la_free(b);
  }
}

void la_blob_unref(la_blob_t *blob) {
  uint32_t refs = atomic_load_explicit(&blob->refs, memory_order_relaxed);
  assert(refs != 0);
  /* Release pairs with the acquire of whoever drops the last reference, so
   * that reads of the bytes are over before they are freed. */
  while (refs > 1) {
    if (atomic_compare_exchange_weak_explicit(&blob->refs, &refs, refs - 1,
                                              memory_order_release,
                                              memory_order_relaxed)) {
      return;
    }
  }
  if (blob->home != NULL) {
    unref_last(blob);
  } else if (atomic_fetch_sub_explicit(&blob->refs, 1,
                                       memory_order_acq_rel) == 1) {
    la_free(blob);
  }
}

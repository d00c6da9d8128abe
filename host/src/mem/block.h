/* Blocks of messages: small, short-lived, made by one thread and freed by another.
 *
 * Every block is one of the C library's, and a large one nothing more. Small
 * ones, in classes of 64 bytes, wait on lists of the thread that freed them
 * until it needs one of their class. A thread keeps two magazines of a class, one in
 * use and one full; when both are full one goes to the host's depot, where a
 * thread that has none finds it. So who only sends and who only receives
 * share a lock once in LA_BLOCK_BATCH messages, and a thread that does both never.
 * What a depot keeps is bounded; the rest goes back to the C library.
 *
 * A thread that is no scheduler's has no magazines and uses the C library
 * alone: who frees a block need not know who made it. */
#ifndef LA_BLOCK_H
#define LA_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "base/lock.h"

#define LA_BLOCK_STEP 64
#define LA_BLOCK_CLASSES 9 /* class i: up to i * LA_BLOCK_STEP bytes */
#define LA_BLOCK_BATCH 64
#define LA_BLOCK_DEPOT_BYTES ((size_t)256 << 10) /* of each class */

typedef struct la_block {
  struct la_block *next;
  struct la_block *next_batch; /* of the first of a batch in the depot */
} la_block_t;

typedef struct la_depot {
  la_lock_t lock;
  la_block_t *batch[LA_BLOCK_CLASSES];
  uint32_t nbatches[LA_BLOCK_CLASSES];
} la_depot_t;

typedef struct la_magazine {
  la_block_t *use;  /* 'n' blocks */
  la_block_t *full; /* LA_BLOCK_BATCH blocks, or NULL */
  uint32_t n;
} la_magazine_t;

typedef struct la_blocks {
  la_depot_t *depot;
  bool is_own; /* of an allocator of the embedder's */
  la_magazine_t of[LA_BLOCK_CLASSES];
} la_blocks_t;

/* The calling thread's, or NULL. */
extern _Thread_local la_blocks_t *la_blocks_here
    __attribute__((tls_model("initial-exec")));

void la_depot_init(la_depot_t *d);
/* No thread uses it any more. */
void la_depot_fini(la_depot_t *d);
void la_blocks_init(la_blocks_t *b, la_depot_t *d);
void la_blocks_fini(la_blocks_t *b);

void *la_block_refill(size_t size);
void la_block_spill(void *block, size_t size);

/* The address sanitizer must see every block end. */
#ifdef __SANITIZE_ADDRESS__
#define LA_BLOCK_KEEP 0
#else
#define LA_BLOCK_KEEP 1
#endif

/* At least 'size' bytes, not cleared; NULL when there is no memory. [any] */
static inline void *la_block_new(size_t size) {
  const size_t class = (size + LA_BLOCK_STEP - 1) / LA_BLOCK_STEP;
  la_blocks_t *b = la_blocks_here;
  if (LA_BLOCK_KEEP && class < LA_BLOCK_CLASSES && b != NULL &&
      b->of[class].n != 0 && !la_alloc_fails()) {
    la_magazine_t *m = &b->of[class];
    la_block_t *block = m->use;
    m->use = block->next;
    m->n--;
    return block;
  }
  return la_block_refill(size);
}

/* Values bring blocks that another host has made. */
static inline bool la_block_is_of(const la_blocks_t *b, const void *p) {
  return !b->is_own && ((uintptr_t)p & 8) == 0 ? true : la_alloc_is_ours(p);
}

/* 'size' as when it was made. [any] */
static inline void la_block_free(void *p, size_t size) {
  const size_t class = (size + LA_BLOCK_STEP - 1) / LA_BLOCK_STEP;
  la_blocks_t *b = la_blocks_here;
  if (LA_BLOCK_KEEP && class < LA_BLOCK_CLASSES && b != NULL &&
      b->of[class].n < LA_BLOCK_BATCH && la_block_is_of(b, p)) {
    la_block_t *block = p;
    la_magazine_t *m = &b->of[class];
    block->next = m->use;
    m->use = block;
    m->n++;
    return;
  }
  la_block_spill(p, size);
}

#endif

/* See block.h. */
#include "mem/block.h"

#include <string.h>

_Thread_local la_blocks_t *la_blocks_here
    __attribute__((tls_model("initial-exec")));

static size_t class_of(size_t size) {
  return (size + LA_BLOCK_STEP - 1) / LA_BLOCK_STEP;
}

static void free_list(la_block_t *block) {
  while (block != NULL) {
    la_block_t *next = block->next;
    la_free(block);
    block = next;
  }
}

void la_depot_init(la_depot_t *d) {
  memset(d, 0, sizeof *d);
  la_lock_init(&d->lock, LA_RANK_DEPOT);
}

void la_depot_fini(la_depot_t *d) {
  for (int i = 0; i < LA_BLOCK_CLASSES; i++) {
    while (d->batch[i] != NULL) {
      la_block_t *batch = d->batch[i];
      d->batch[i] = batch->next_batch;
      free_list(batch);
    }
  }
  la_lock_fini(&d->lock);
}

void la_blocks_init(la_blocks_t *b, la_depot_t *d) {
  memset(b, 0, sizeof *b);
  b->depot = d;
  b->is_own = la_alloc_is_own();
}

void la_blocks_fini(la_blocks_t *b) {
  for (int i = 0; i < LA_BLOCK_CLASSES; i++) {
    free_list(b->of[i].use);
    free_list(b->of[i].full);
  }
  memset(b->of, 0, sizeof b->of);
}

static la_block_t *fetch(la_depot_t *d, size_t class) {
  la_lock(&d->lock);
  la_block_t *batch = d->batch[class];
  if (batch != NULL) {
    d->batch[class] = batch->next_batch;
    d->nbatches[class]--;
  }
  la_unlock(&d->lock);
  return batch;
}

static void put_away(la_depot_t *d, size_t class, la_block_t *batch) {
  const uint32_t most = (uint32_t)(
      LA_BLOCK_DEPOT_BYTES / (class * LA_BLOCK_STEP * LA_BLOCK_BATCH));
  la_lock(&d->lock);
  if (d->nbatches[class] < most) {
    batch->next_batch = d->batch[class];
    d->batch[class] = batch;
    d->nbatches[class]++;
    batch = NULL;
  }
  la_unlock(&d->lock);
  free_list(batch);
}

/* The magazine in use is empty, or the block is not of a class. */
void *la_block_refill(size_t size) {
  const size_t class = class_of(size);
  la_blocks_t *b = la_blocks_here;
  if (class >= LA_BLOCK_CLASSES) {
    return la_alloc(size);
  }
  if (LA_BLOCK_KEEP && b != NULL && !la_alloc_fails()) {
    la_magazine_t *m = &b->of[class];
    if (m->n == 0) {
      m->use = m->full != NULL ? m->full : fetch(b->depot, class);
      m->full = NULL;
      m->n = m->use != NULL ? LA_BLOCK_BATCH : 0;
    }
    if (m->n != 0) {
      la_block_t *block = m->use;
      m->use = block->next;
      m->n--;
      return block;
    }
  }
  return la_alloc(class * LA_BLOCK_STEP);
}

/* The magazine in use is full, or the block is not of a class. */
void la_block_spill(void *p, size_t size) {
  const size_t class = class_of(size);
  la_blocks_t *b = la_blocks_here;
  if (!LA_BLOCK_KEEP || class >= LA_BLOCK_CLASSES || b == NULL ||
      !la_block_is_of(b, p)) {
    la_free(p);
    return;
  }
  la_magazine_t *m = &b->of[class];
  if (m->full != NULL) {
    put_away(b->depot, class, m->full);
  }
  la_block_t *block = p;
  m->full = m->use;
  block->next = NULL;
  m->use = block;
  m->n = 1;
}

/* The memory of one process (rule 7): what its lua_State allocates from.
 *
 * Small requests come from size classes inside chunks that belong to this heap
 * alone; larger ones are blocks of their own on a list. Freed small blocks wait in
 * their class for the next request of it. At the end of the process the chunks
 * and the large blocks go back in one go, whatever is still in use: no
 * lua_close, unless finalizers must run.
 *
 * The state of a process may begin as a copy of an image (mem/image.h). Its block is
 * then the first memory of the heap: the rest behind the image serves small
 * requests, and what the image holds is freed like all else, except that its large
 * blocks, which are no blocks of their own, are left alone until the end. The
 * block goes back to its pool with the rest.
 *
 * Owned by the scheduler that runs the process; no locks. */
#ifndef LA_HEAP_H
#define LA_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mem/pool.h"

#define LA_HEAP_SMALL 1024 /* requests above it get a block of their own */
#define LA_HEAP_CLASSES 20

typedef struct la_heap_chunk la_heap_chunk_t;
typedef struct la_heap_large la_heap_large_t;

typedef struct la_heap {
  char *bump, *end; /* unused rest of the newest chunk */
  char *image, *image_end; /* the image, at the start of its block, or NULL */
  la_pool_t *pool;         /* where the block came from */
  la_heap_chunk_t *chunks;
  la_heap_large_t *large;
  size_t used;   /* bytes that Lua holds */
  size_t others; /* bytes held for the process outside: queued messages */
  size_t limit;  /* of used + others; 0: none. What has been lent, when there is
                  * somebody who lends */
  size_t most;   /* with a lender: more than so much is not asked for; 0: any */
  size_t next_chunk;
  size_t chunk_bytes; /* of all chunks */
  size_t trim_bytes;  /* with less in chunks, trimming does not pay */
  size_t refused; /* a request the limit refused and that has not succeeded
                   * since; 0: none */
  void (*on_refusal)(struct la_heap *heap); /* the limit refused: look soon */
  void (*on_limit)(struct la_heap *heap); /* and it did so for good; may raise
                                  the limit by a reserve; called again when
                                  that is used up too */
  bool (*lend)(struct la_heap *heap, size_t want); /* raise the limit to 'want' or
                                  more; false: it cannot be had. NULL: the
                                  limit stands */
  void *owner;
  void *free[LA_HEAP_CLASSES];
} la_heap_t;

void la_heap_init(la_heap_t *h, size_t limit);
/* Begin with a block of 'pool', whose first 'taken' bytes are an image in which
 * Lua counts 'used' bytes. The heap owns the block from here on. */
void la_heap_adopt(la_heap_t *h, la_pool_t *pool, void *block, size_t taken,
                   size_t used);
/* The bytes that a block of 'size' bytes has in an image. */
size_t la_heap_round(size_t size);
/* Give everything back; the block of the image to 'cache', which may be NULL. */
void la_heap_fini(la_heap_t *h, la_pool_cache_t *cache);
/* A lua_Alloc; 'ud' is the heap. Refuses growth over the limit. */
void *la_heap_realloc(void *ud, void *ptr, size_t osize, size_t nsize);
/* Give chunks back in which nothing is used. Takes a time that goes with the number of
 * free blocks; to be called when la_heap_wants_trim: the chunks hold much more
 * than Lua does, and have grown since trimming was last in vain. */
void la_heap_trim(la_heap_t *h);
static inline bool la_heap_wants_trim(const la_heap_t *h) {
  return h->chunk_bytes > h->trim_bytes && h->chunk_bytes / 4 > h->used;
}
/* Does it hold more than its limit, and can no more be lent? */
static inline bool la_heap_is_over(la_heap_t *h) {
  return h->limit != 0 && h->used + h->others > h->limit &&
         (h->lend == NULL || !h->lend(h, h->used + h->others));
}

#endif

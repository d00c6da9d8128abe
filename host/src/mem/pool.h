/* Blocks of one size for the threads of a host: process structures and the
 * memory that holds their states.
 *
 * Every scheduler thread has a cache of its own, so that taking and giving a
 * block needs no lock most of the time and the block given back last, which is
 * warm, is taken first. pool.c explains where the memory comes from and when
 * it goes back. */
#ifndef LA_POOL_H
#define LA_POOL_H

#include <stdatomic.h>
#include <stddef.h>

#include "base/env.h"
#include "base/lock.h"

enum { LA_POOLS_MAX = 48 };

typedef struct la_pool la_pool_t;

/* All pools of a host. */
typedef struct la_pools {
  const la_env_t *env;
  la_lock_t lock; /* guards 'count' and the growth of 'pool' */
  uint32_t count;
  la_pool_t *pool[LA_POOLS_MAX];
  _Atomic uint32_t nwasteful; /* pools that keep more memory than they should */
} la_pools_t;

/* A thread's blocks: of each pool two lists of at most a batch each. */
typedef struct la_pool_mag {
  void *top, *spare;
  uint32_t n; /* in 'top'; 'spare' is empty or holds a whole batch */
} la_pool_mag_t;

typedef struct la_pool_cache {
  la_pool_mag_t of[LA_POOLS_MAX];
} la_pool_cache_t;

void la_pools_init(la_pools_t *ps, const la_env_t *env);
/* All blocks must have been given back, all caches flushed. */
void la_pools_fini(la_pools_t *ps);
/* The pool with blocks of 'size' bytes or a little more, aligned to 'align' (64 to
 * 1024, a power of two); it lives as long as the host. NULL: memory, or too many
 * sizes. [any · short lock] */
la_pool_t *la_pools_get(la_pools_t *ps, size_t size, size_t align);
/* Give some of the memory that has been unused for long back to the system. Returns
 * when to do it again; UINT64_MAX: there is no more. [any · short locks] */
uint64_t la_pools_trim(la_pools_t *ps, uint64_t now_ns);
static inline bool la_pools_want_trim(const la_pools_t *ps) {
  return atomic_load_explicit(&ps->nwasteful, memory_order_relaxed) != 0;
}

size_t la_pool_size(const la_pool_t *p);
/* A block, its content undefined; NULL: memory. 'cache' is the calling
 * thread's, or NULL when it has none. [any · rarely a short lock] */
void *la_pool_take(la_pool_t *p, la_pool_cache_t *cache);
void la_pool_give(la_pool_t *p, la_pool_cache_t *cache, void *block);
/* Empty a thread's cache. [owner of the cache] */
void la_pool_flush(la_pools_t *ps, la_pool_cache_t *cache);

#endif

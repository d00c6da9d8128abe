/* See pool.h.
 *
 * Problem: a process is a few kilobytes that live for a microsecond or for a
 * year. The first touch of fresh memory costs more than all that spawning does
 * besides, so blocks must be reused while they are warm; and a host that had a
 * hundred thousand processes once must not hold their memory for ever.
 *
 * Blocks are carved from slabs of 2 MB (less from an embedder's allocator), aligned to their size, so that a block
 * knows its slab by its address. A slab counts its blocks that are out, in use
 * or in some thread's cache. Between a slab and a thread they go in batches,
 * under the pool's lock; within the thread they go through two lists, its
 * *magazine*: while a thread neither takes nor gives two batches more than it
 * gives or takes, it meets no lock.
 *
 * A slab without a block out is *empty*. It is not given back at once: the end of
 * ten thousand processes should not wait for the system, and the next ten
 * thousand can use it, which costs a tenth of fresh memory. When a pool has had
 * more than KEPT_SLABS of them for REST_NS, threads that find nothing to do give
 * the surplus back (la_pools_trim), a few at a time.
 *
 * Huge pages. The memory of a large host is touched in every corner: with pages of
 * 4 KB each process costs two page faults when it is made and misses of
 * the address cache whenever it runs. So from the third slab of a pool on we ask for
 * huge pages. On a virtual machine whose memory is not backed yet that can be the
 * slower way (the whole 2 MB are fetched from below at the first touch); the first
 * touch is timed, and when it took longer than small pages would have, the next
 * slabs do without. Small programs never get that far.
 *
 * The heads of slabs would all fall into the same row of the cache if they stood
 * at the slabs' beginnings; they are spread over the first page. For the same
 * reason the size of a block is no multiple of 1 KB: the hot words of
 * a thousand processes then spread over the rows too. */
#include "mem/pool.h"

#include <assert.h>
#include <stdalign.h>
#include <stdint.h>
#include <string.h>

enum {
  SLAB_BYTES = 2 << 20,
  OWN_SLAB_BYTES = 64 << 10, /* or four blocks, where each is asked for twice */
  HEAD_ROOM = 4096, /* in front of the first block */
  HEAD_STEP = 64,
  BATCH_BYTES = 64 << 10,
  MIN_BATCH = 2,
  MAX_BATCH = 32,
  KEPT_SLABS = 4,
  TRIM_SLABS = 8,   /* given back at once */
  MAX_BLOCK = 256 << 10,
  SMALL_SLABS = 2,  /* the first slabs, without huge pages */
  SLOW_TOUCH_NS = 500000, /* a first touch of 2 MB that was not worth it */
  SLOW_PAUSE = 16   /* slabs without huge pages after one */
};

#define REST_NS UINT64_C(1000000000)
#define TRIM_PAUSE_NS UINT64_C(20000000) /* between one lot and the next */

typedef struct la_slab {
  struct la_slab *prev, *next; /* among those with free blocks */
  void *free;      /* given back, linked by their first word */
  uint32_t out;    /* blocks in use or in a cache */
  uint32_t carved; /* blocks ever handed out */
  char *base;
} la_slab_t;

struct la_pool {
  size_t size;
  size_t slab_bytes; /* a power of two */
  uint32_t index, batch;
  uint32_t per_slab;
  la_pools_t *all;
  alignas(64) la_lock_t lock; /* guards all below */
  la_slab_t *slabs;  /* those with free blocks */
  la_slab_t *empty;  /* those with no block out; not among 'slabs' */
  uint32_t nempty;
  uint64_t trim_ns;  /* when there are too many: not before this time */
  _Atomic uint32_t nslabs; /* not under the lock, nor is 'pause' */
  _Atomic int32_t pause;   /* slabs to come without huge pages */
};

/* ---- slabs --------------------------------------------------------------------- */

static la_slab_t *head_of(const la_pool_t *p, char *base) {
  const uintptr_t number = (uintptr_t)base / p->slab_bytes;
  return (la_slab_t *)(void *)(base + number % (HEAD_ROOM / HEAD_STEP) *
                                          HEAD_STEP);
}

static la_slab_t *slab_of(const la_pool_t *p, void *block) {
  return head_of(p, (char *)block - ((uintptr_t)block & (p->slab_bytes - 1)));
}

static void link_slab(la_pool_t *p, la_slab_t *s) {
  s->prev = NULL;
  s->next = p->slabs;
  if (s->next != NULL) {
    s->next->prev = s;
  }
  p->slabs = s;
}

static void unlink_slab(la_pool_t *p, la_slab_t *s) {
  *(s->prev != NULL ? &s->prev->next : &p->slabs) = s->next;
  if (s->next != NULL) {
    s->next->prev = s->prev;
  }
}

/* Huge pages from here on? Fetches the page, to see what it costs. */
static void try_huge(la_pool_t *p, char *base) {
  if (p->slab_bytes != SLAB_BYTES ||
      atomic_fetch_add(&p->nslabs, 1) < SMALL_SLABS) {
    return;
  }
  if (atomic_load(&p->pause) > 0) {
    atomic_fetch_sub(&p->pause, 1);
    return;
  }
  if (!la_pages_huge(base, p->slab_bytes)) {
    p->pause = INT32_MAX; /* not on this system */
    return;
  }
  const uint64_t from = la_cpu_ns();
  *(volatile char *)base = 0;
  if (la_cpu_ns() - from > SLOW_TOUCH_NS) {
    p->pause = SLOW_PAUSE;
  }
}

/* Not under the lock: the system may take its time. */
static la_slab_t *new_slab(la_pool_t *p) {
  char *base = la_pages_new(p->slab_bytes);
  if (base == NULL) {
    return NULL;
  }
  try_huge(p, base);
  la_slab_t *s = head_of(p, base);
  memset(s, 0, sizeof *s);
  s->base = base;
  return s;
}

/* ---- batches, under the lock ---------------------------------------------------- */

static bool is_full(const la_pool_t *p, const la_slab_t *s) {
  return s->free == NULL && s->carved == p->per_slab;
}

/* Are there more empty slabs than we want to keep? 'change' is what just
 * happened to their number. */
static void count_empty(la_pool_t *p, int change) {
  const bool was = p->nempty > KEPT_SLABS;
  p->nempty += (uint32_t)change;
  const bool is = p->nempty > KEPT_SLABS;
  if (is && change > 0) {
    p->trim_ns = la_now(p->all->env) + REST_NS;
  }
  if (was != is) {
    atomic_fetch_add_explicit(&p->all->nwasteful, is ? 1 : UINT32_MAX,
                              memory_order_relaxed);
  }
}

/* A slab with free blocks, unless a new one is needed. */
static la_slab_t *some_slab_locked(la_pool_t *p) LA_REQUIRES(p->lock) {
  if (p->slabs == NULL && p->empty != NULL) {
    la_slab_t *s = p->empty;
    p->empty = s->next;
    count_empty(p, -1);
    link_slab(p, s);
  }
  return p->slabs;
}

static void *take_locked(la_pool_t *p) LA_REQUIRES(p->lock) {
  la_slab_t *s = some_slab_locked(p);
  if (s == NULL) {
    return NULL;
  }
  void *block = s->free;
  if (block != NULL) {
    s->free = *(void **)block;
  } else {
    block = s->base + HEAD_ROOM + p->size * s->carved++;
  }
  s->out++;
  if (is_full(p, s)) {
    unlink_slab(p, s);
  }
  return block;
}

static void give_locked(la_pool_t *p, void *block) LA_REQUIRES(p->lock) {
  la_slab_t *s = slab_of(p, block);
  assert(s->out > 0);
  if (is_full(p, s)) {
    link_slab(p, s);
  }
  *(void **)block = s->free;
  s->free = block;
  if (--s->out == 0) {
    unlink_slab(p, s);
    /* From the start again: the pages in front are the warm ones, and the
     * order of the blocks is that of their addresses. */
    s->free = NULL;
    s->carved = 0;
    s->next = p->empty;
    p->empty = s;
    count_empty(p, 1);
  }
}

/* ---- the pools of a host ---------------------------------------------------------- */

void la_pools_init(la_pools_t *ps, const la_env_t *env) {
  memset(ps, 0, sizeof *ps);
  ps->env = env;
  la_lock_init(&ps->lock, LA_RANK_POOLS);
}

static void free_slabs(const la_pool_t *p, la_slab_t *s) {
  while (s != NULL) {
    la_slab_t *next = s->next;
    la_pages_free(s->base, p->slab_bytes);
    s = next;
  }
}

void la_pools_fini(la_pools_t *ps) {
  for (uint32_t i = 0; i < ps->count; i++) {
    la_pool_t *p = ps->pool[i];
    assert(p->slabs == NULL); /* nothing is in use */
    free_slabs(p, p->empty);
    la_lock_fini(&p->lock);
    la_free_aligned(p);
  }
  la_lock_fini(&ps->lock);
}

static size_t round_size(size_t size, size_t align) {
  const size_t whole = (size + align - 1) / align * align;
  return whole % 1024 == 0 ? whole + align : whole;
}

/* An embedder's allocator is asked for twice the size, for the alignment. */
static size_t slab_bytes_for(size_t size) {
  size_t bytes = SLAB_BYTES;
  if (la_alloc_is_own()) {
    bytes = OWN_SLAB_BYTES;
    while (bytes < 4 * size + HEAD_ROOM) {
      bytes *= 2;
    }
  }
  return bytes;
}

static la_pool_t *new_pool(la_pools_t *ps, size_t size) {
  la_pool_t *p = la_alloc_aligned(64, (sizeof *p + 63) / 64 * 64);
  if (p == NULL) {
    return NULL;
  }
  memset(p, 0, sizeof *p);
  p->size = size;
  p->all = ps;
  p->slab_bytes = slab_bytes_for(size);
  p->per_slab = (uint32_t)((p->slab_bytes - HEAD_ROOM) / size);
  p->batch = (uint32_t)(BATCH_BYTES / size);
  p->batch = p->batch < MIN_BATCH   ? MIN_BATCH
             : p->batch > MAX_BATCH ? MAX_BATCH
                                    : p->batch;
  la_lock_init(&p->lock, LA_RANK_POOL);
  return p;
}

la_pool_t *la_pools_get(la_pools_t *ps, size_t size, size_t align) {
  size = round_size(size, align);
  la_pool_t *p = NULL;
  la_lock(&ps->lock);
  for (uint32_t i = 0; i < ps->count && p == NULL; i++) {
    p = ps->pool[i]->size == size ? ps->pool[i] : NULL;
  }
  if (p == NULL && ps->count < LA_POOLS_MAX && size <= MAX_BLOCK) {
    p = new_pool(ps, size);
    if (p != NULL) {
      p->index = ps->count;
      ps->pool[ps->count++] = p;
    }
  }
  la_unlock(&ps->lock);
  return p;
}

/* Take some surplus slabs out; *next: when there may be more to do. */
static la_slab_t *take_surplus(la_pool_t *p, uint64_t now_ns, uint64_t *next) {
  la_slab_t *list = NULL;
  la_lock(&p->lock);
  for (int i = 0;
       i < TRIM_SLABS && p->nempty > KEPT_SLABS && p->trim_ns <= now_ns; i++) {
    la_slab_t *s = p->empty;
    p->empty = s->next;
    s->next = list;
    list = s;
    count_empty(p, -1);
  }
  if (p->nempty > KEPT_SLABS) {
    if (list != NULL) {
      p->trim_ns = now_ns + TRIM_PAUSE_NS;
    }
    *next = p->trim_ns < *next ? p->trim_ns : *next;
  }
  la_unlock(&p->lock);
  return list;
}

uint64_t la_pools_trim(la_pools_t *ps, uint64_t now_ns) {
  uint64_t next = UINT64_MAX;
  la_lock(&ps->lock);
  const uint32_t n = ps->count;
  la_unlock(&ps->lock);
  for (uint32_t i = 0; i < n; i++) {
    la_pool_t *p = ps->pool[i];
    free_slabs(p, take_surplus(p, now_ns, &next));
  }
  return next;
}

/* ---- taking and giving ------------------------------------------------------------- */

size_t la_pool_size(const la_pool_t *p) {
  return p->size;
}

/* Up to 'n' blocks as a list; *got says how many. */
static void *take_list(la_pool_t *p, uint32_t n, uint32_t *got) {
  void *list = NULL, **end = &list;
  uint32_t i = 0;
  la_slab_t *fresh = NULL;
  la_lock(&p->lock);
  if (some_slab_locked(p) == NULL) {
    la_unlock(&p->lock);
    fresh = new_slab(p);
    la_lock(&p->lock);
    if (fresh != NULL) {
      link_slab(p, fresh);
    }
  }
  for (; i < n && p->slabs != NULL; i++) {
    void **block = take_locked(p);
    *end = block;
    end = block;
  }
  la_unlock(&p->lock);
  *end = NULL;
  *got = i;
  return list;
}

static void give_list(la_pool_t *p, void *list) {
  la_lock(&p->lock);
  while (list != NULL) {
    void *next = *(void **)list;
    give_locked(p, list);
    list = next;
  }
  la_unlock(&p->lock);
}

static bool refill(la_pool_t *p, la_pool_mag_t *m) {
  if (m->spare != NULL) {
    m->top = m->spare;
    m->n = p->batch;
    m->spare = NULL;
  } else {
    m->top = take_list(p, p->batch, &m->n);
  }
  return m->top != NULL;
}

void *la_pool_take(la_pool_t *p, la_pool_cache_t *cache) {
  if (cache == NULL) {
    uint32_t got;
    return take_list(p, 1, &got);
  }
  la_pool_mag_t *m = &cache->of[p->index];
  if (m->top == NULL && !refill(p, m)) {
    return NULL;
  }
  void *block = m->top;
  m->top = *(void **)block;
  m->n--;
  return block;
}

void la_pool_give(la_pool_t *p, la_pool_cache_t *cache, void *block) {
  if (cache == NULL) {
    *(void **)block = NULL;
    give_list(p, block);
    return;
  }
  la_pool_mag_t *m = &cache->of[p->index];
  if (m->n == p->batch) {
    void *full = m->spare;
    m->spare = m->top;
    m->top = NULL;
    m->n = 0;
    give_list(p, full);
  }
  *(void **)block = m->top;
  m->top = block;
  m->n++;
}

void la_pool_flush(la_pools_t *ps, la_pool_cache_t *cache) {
  for (uint32_t i = 0; i < LA_POOLS_MAX; i++) {
    la_pool_mag_t *m = &cache->of[i];
    if (m->top != NULL || m->spare != NULL) {
      give_list(ps->pool[i], m->top);
      give_list(ps->pool[i], m->spare);
      *m = (la_pool_mag_t){.n = 0};
    }
  }
}

/* See heap.h. Size classes: steps of 16 bytes up to 256, then two to
 * each doubling. The collector's frees feed the class lists. A process that
 * once grew keeps its chunks until it waits with most of them unused
 * (la_heap_trim): only then they are looked for, chunk by chunk. */
#include "mem/heap.h"

#include <stdlib.h>
#include <string.h>

#include "base/env.h"

/* Sizes as malloc likes them, which adds a head of its own. */
#define FIRST_CHUNK 1008
#define LAST_CHUNK 65536

#define TRIM_FROM ((size_t)32 << 10) /* less in chunks is not worth a look */

struct la_heap_chunk {
  la_heap_chunk_t *next;
  uint32_t size;
  uint32_t free; /* while trimming: bytes in the class lists */
};

struct la_heap_large {
  la_heap_large_t *prev, *next;
};

static inline unsigned class_of(size_t n) {
  if (n <= 256) {
    return (unsigned)((n + 15) >> 4) - 1; /* 0..15 */
  }
  const unsigned lg = 63 - (unsigned)__builtin_clzll(n - 1);
  return 16 + (lg - 8) * 2 + (unsigned)(((n - 1) >> (lg - 1)) & 1);
}

static inline size_t class_size(unsigned c) {
  if (c < 16) {
    return (size_t)(c + 1) << 4;
  }
  const unsigned lg = 8 + ((c - 16) >> 1);
  return ((size_t)1 << lg) + ((size_t)(((c - 16) & 1) + 1) << (lg - 1));
}

void la_heap_init(la_heap_t *h, size_t limit) {
  memset(h, 0, sizeof *h);
  h->limit = limit;
  h->next_chunk = FIRST_CHUNK;
  h->trim_bytes = TRIM_FROM;
}

void la_heap_adopt(la_heap_t *h, la_pool_t *pool, void *block, size_t taken,
                   size_t used) {
  h->pool = pool;
  h->image = block;
  h->end = h->image + la_pool_size(pool);
  h->bump = h->image_end = h->image + taken;
  h->used = used;
}

/* Lua aligns nothing by more than a word. */
size_t la_heap_round(size_t size) {
  return (size + 7) & ~(size_t)7;
}

/* The largest class that fits into 'n' bytes, at least 16. */
static inline unsigned class_within(size_t n) {
  const unsigned c = class_of(n);
  return class_size(c) > n ? c - 1 : c;
}

/* Is this a block of the image? It may be large without being a block of its own,
 * and is as long as it must be, not as long as its class. */
static inline bool is_in_image(const la_heap_t *h, const void *p) {
  return (const char *)p >= h->image && (const char *)p < h->image_end;
}

void la_heap_fini(la_heap_t *h, la_pool_cache_t *cache) {
  while (h->chunks != NULL) {
    la_heap_chunk_t *c = h->chunks;
    h->chunks = c->next;
    la_free(c);
  }
  while (h->large != NULL) {
    la_heap_large_t *b = h->large;
    h->large = b->next;
    la_free(b);
  }
  if (h->image != NULL) {
    la_pool_give(h->pool, cache, h->image);
    h->image = h->image_end = NULL;
  }
  h->bump = h->end = NULL;
  h->used = 0;
}

/* Put the rest of the newest chunk into the class lists, largest fit first. */
static void give_rest(la_heap_t *h) {
  size_t left = (size_t)(h->end - h->bump);
  while (left >= 16) {
    size_t n = left < LA_HEAP_SMALL ? left : LA_HEAP_SMALL;
    const unsigned c = class_within(n);
    n = class_size(c);
    *(void **)h->bump = h->free[c];
    h->free[c] = h->bump;
    h->bump += n;
    left -= n;
  }
}

static void *from_new_chunk(la_heap_t *h, size_t n) {
  const size_t need = sizeof(la_heap_chunk_t) + n;
  const size_t size = h->next_chunk > need ? h->next_chunk : need;
  la_heap_chunk_t *c = la_alloc(size);
  if (c == NULL) {
    return NULL;
  }
  give_rest(h);
  c->next = h->chunks;
  c->size = (uint32_t)size;
  h->chunks = c;
  h->chunk_bytes += size;
  if (h->next_chunk < LAST_CHUNK) {
    h->next_chunk = 2 * h->next_chunk + 16;
  }
  h->bump = (char *)(c + 1) + n;
  h->end = (char *)c + size;
  return c + 1;
}

/* ---- trimming ------------------------------------------------------------------- */

static int compare_chunks(const void *a, const void *b) {
  const la_heap_chunk_t *x = *(la_heap_chunk_t *const *)a;
  const la_heap_chunk_t *y = *(la_heap_chunk_t *const *)b;
  return x < y ? -1 : x > y;
}

/* All chunks in the order of their addresses. */
typedef struct {
  la_heap_chunk_t **at;
  size_t n;
} chunks_t;

/* The chunk in which the block is; NULL: it is in the image's block. */
static la_heap_chunk_t *chunk_of(const chunks_t *list, const void *block) {
  size_t low = 0, high = list->n;
  while (low < high) {
    const size_t mid = (low + high) / 2;
    if ((const void *)list->at[mid] <= block) {
      low = mid + 1;
    } else {
      high = mid;
    }
  }
  if (low == 0) {
    return NULL;
  }
  la_heap_chunk_t *c = list->at[low - 1];
  return (const char *)block < (const char *)c + c->size ? c : NULL;
}

/* What carving left over at the end of a chunk is less than a block. */
static bool is_unused(const la_heap_chunk_t *c) {
  return c->free + sizeof *c + 16 > c->size;
}

static void count_free(la_heap_t *h, const chunks_t *list) {
  for (unsigned k = 0; k < LA_HEAP_CLASSES; k++) {
    for (void *p = h->free[k]; p != NULL; p = *(void **)p) {
      la_heap_chunk_t *c = chunk_of(list, p);
      if (c != NULL) {
        c->free += (uint32_t)class_size(k);
      }
    }
  }
}

static void drop_unused(la_heap_t *h, const chunks_t *list) {
  for (unsigned k = 0; k < LA_HEAP_CLASSES; k++) {
    void **at = &h->free[k];
    while (*at != NULL) {
      const la_heap_chunk_t *c = chunk_of(list, *at);
      if (c != NULL && is_unused(c)) {
        *at = *(void **)*at;
      } else {
        at = *at;
      }
    }
  }
  la_heap_chunk_t **at = &h->chunks;
  while (*at != NULL) {
    la_heap_chunk_t *c = *at;
    if (is_unused(c)) {
      *at = c->next;
      h->chunk_bytes -= c->size;
      la_free(c);
    } else {
      at = &c->next;
    }
  }
}

void la_heap_trim(la_heap_t *h) {
  chunks_t list = {NULL, 0};
  for (la_heap_chunk_t *c = h->chunks; c != NULL; c = c->next) {
    c->free = 0;
    list.n++;
  }
  list.at = list.n > 0 ? la_alloc(list.n * sizeof(la_heap_chunk_t *)) : NULL;
  if (list.at == NULL) {
    return;
  }
  give_rest(h);
  h->bump = h->end = NULL;
  size_t i = 0;
  for (la_heap_chunk_t *c = h->chunks; c != NULL; c = c->next) {
    list.at[i++] = c;
  }
  qsort(list.at, list.n, sizeof(la_heap_chunk_t *), compare_chunks);
  count_free(h, &list);
  drop_unused(h, &list);
  la_free(list.at);
  h->next_chunk = h->chunks == NULL ? FIRST_CHUNK : h->next_chunk;
  h->trim_bytes = 2 * h->chunk_bytes > TRIM_FROM ? 2 * h->chunk_bytes
                                                 : TRIM_FROM;
}

/* ---- blocks --------------------------------------------------------------------- */

static void *get_small(la_heap_t *h, size_t size) {
  const unsigned c = class_of(size);
  void *p = h->free[c];
  if (p != NULL) {
    h->free[c] = *(void **)p;
    return p;
  }
  const size_t n = class_size(c);
  if ((size_t)(h->end - h->bump) >= n) {
    p = h->bump;
    h->bump += n;
    return p;
  }
  return from_new_chunk(h, n);
}

static void link_large(la_heap_t *h, la_heap_large_t *b) {
  b->prev = NULL;
  b->next = h->large;
  if (h->large != NULL) {
    h->large->prev = b;
  }
  h->large = b;
}

static void *get(la_heap_t *h, size_t size) {
  if (size <= LA_HEAP_SMALL) {
    return get_small(h, size);
  }
  la_heap_large_t *b = la_alloc(sizeof *b + size);
  if (b == NULL) {
    return NULL;
  }
  link_large(h, b);
  return b + 1;
}

static void put(la_heap_t *h, void *p, size_t size) {
  const bool of_image = is_in_image(h, p);
  if (size <= LA_HEAP_SMALL && !(of_image && size <= 8)) {
    const unsigned c =
        of_image ? class_within(la_heap_round(size)) : class_of(size);
    *(void **)p = h->free[c];
    h->free[c] = p;
    return;
  }
  if (of_image) {
    return;
  }
  la_heap_large_t *b = (la_heap_large_t *)p - 1;
  if (b->prev != NULL) {
    b->prev->next = b->next;
  } else {
    h->large = b->next;
  }
  if (b->next != NULL) {
    b->next->prev = b->prev;
  }
  la_free(b);
}

static void *move(la_heap_t *h, void *ptr, size_t osize, size_t nsize) {
  if (osize > LA_HEAP_SMALL && nsize > LA_HEAP_SMALL && !is_in_image(h, ptr)) {
    la_heap_large_t *b = (la_heap_large_t *)ptr - 1;
    la_heap_large_t *nb = la_realloc(b, sizeof *b + nsize);
    if (nb == NULL) {
      return NULL;
    }
    if (nb->prev != NULL) {
      nb->prev->next = nb;
    } else {
      h->large = nb;
    }
    if (nb->next != NULL) {
      nb->next->prev = nb;
    }
    return nb + 1;
  }
  void *p = get(h, nsize);
  if (p != NULL) {
    memcpy(p, ptr, osize < nsize ? osize : nsize);
    put(h, ptr, osize);
  }
  return p;
}

static bool is_over_with(const la_heap_t *h, size_t osize, size_t nsize) {
  return h->limit != 0 && nsize > osize &&
         h->used - osize + nsize + h->others > h->limit;
}

/* A request over the limit. Lua mostly collects and asks again; some library
 * functions raise an error at once. So the first refusal is only noted: who runs the process
 * looks, at the next safe point, whether the same request has succeeded since. The second
 * is the end of the process, and the request is granted if the reserve allows: an
 * error would run the process's own code (pcall, __close) before it is stopped. */
static bool is_refused(la_heap_t *h, size_t osize, size_t nsize) {
  if (!is_over_with(h, osize, nsize)) {
    return false;
  }
  if (h->lend != NULL && h->lend(h, h->used - osize + nsize + h->others)) {
    return false;
  }
  if (h->refused != nsize) {
    h->refused = nsize;
    h->on_refusal(h);
    return true;
  }
  h->on_limit(h);
  return is_over_with(h, osize, nsize);
}

static __attribute__((noinline)) void *any_request(la_heap_t *h, void *ptr,
                                                   size_t osize,
                                                   size_t nsize) {
  if (nsize == 0) {
    if (ptr != NULL) {
      put(h, ptr, osize);
      h->used -= osize;
    }
    return NULL;
  }
  if (ptr == NULL) {
    osize = 0; /* Lua passes a type tag here */
  }
  if (is_refused(h, osize, nsize)) {
    return NULL;
  }
  void *p;
  if (ptr == NULL) {
    p = get(h, nsize);
  } else if (osize <= LA_HEAP_SMALL && nsize <= LA_HEAP_SMALL &&
             class_of(osize) == class_of(nsize) &&
             (nsize <= osize || !is_in_image(h, ptr))) {
    p = ptr;
  } else {
    p = move(h, ptr, osize, nsize);
    if (p == NULL && nsize <= osize) {
      p = ptr; /* shrinking never fails: the block keeps its place, and goes to
                * the smaller class when it is freed */
    }
  }
  if (p == NULL) {
    return NULL; /* the machine's memory, not the limit: as in stock Lua */
  }
  h->used += nsize - osize;
  if (nsize == h->refused) {
    h->refused = 0;
  }
  return p;
}

/* Most requests are for a small block that waits in its list, or give one
 * back. */
void *la_heap_realloc(void *ud, void *ptr, size_t osize, size_t nsize) {
  la_heap_t *h = ud;
  if (ptr == NULL) {
    void **p = nsize - 1 < 256 ? h->free[(nsize - 1) >> 4] : NULL;
    if (p != NULL && nsize != h->refused && !is_over_with(h, 0, nsize)) {
      h->free[(nsize - 1) >> 4] = *p;
      h->used += nsize;
      return p;
    }
  } else if (nsize == 0 && osize - 1 < 256 && !is_in_image(h, ptr)) {
    *(void **)ptr = h->free[(osize - 1) >> 4];
    h->free[(osize - 1) >> 4] = ptr;
    h->used -= osize;
    return NULL;
  }
  return any_request(h, ptr, osize, nsize);
}

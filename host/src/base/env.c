/* The system's own clock, random numbers and memory. */
#include "base/env.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S UINT64_C(1000000000)

uint64_t la_clock_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static uint64_t system_now_ns(void *ud) {
  (void)ud;
  return la_clock_ns();
}

static uint64_t system_wall_ns(void *ud) {
  struct timespec t;
  (void)ud;
  clock_gettime(CLOCK_REALTIME, &t);
  return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static void system_random(void *ud, void *bytes, size_t n) {
  char *p = bytes;
  (void)ud;
  while (n > 0) {
    const ssize_t got = getrandom(p, n, 0);
    if (got > 0) {
      p += got;
      n -= (size_t)got;
    }
  }
}

void la_env_init_system(la_env_t *env) {
  *env = (la_env_t){.now_ns = system_now_ns,
                    .wall_ns = system_wall_ns,
                    .random = system_random};
}

#define ASK_NS UINT64_C(1000000)

bool la_env_wait(const la_env_t *env, pthread_cond_t *c, la_lock_t *l,
                 uint64_t deadline_ns) {
  if (!env->is_own || deadline_ns == UINT64_MAX) {
    return la_cond_wait(c, l, deadline_ns);
  }
  const uint64_t now = la_now(env);
  if (now < deadline_ns) {
    const uint64_t left = deadline_ns - now;
    la_cond_wait(c, l, la_clock_ns() + (left < ASK_NS ? left : ASK_NS));
  }
  return la_now(env) < deadline_ns;
}

static _Thread_local la_here_t here
    __attribute__((tls_model("initial-exec")));

void la_here_enter(const la_env_t *env, la_here_t *saved) {
  *saved = here;
  here = (la_here_t){env, saved};
}

void la_here_leave(const la_here_t *saved) {
  here = *saved;
}

bool la_here_is_in(const la_env_t *env) {
  const la_here_t *h = &here;
  while (h != NULL && h->env != env) {
    h = h->outer;
  }
  return h != NULL;
}

la_os_thread_t la_os_thread_self(void) {
  la_os_thread_t t = {.id = pthread_self()};
#ifdef __linux__
  t.number = (int)syscall(SYS_gettid);
#endif
  return t;
}

uint64_t la_os_thread_cpu_ns(const la_os_thread_t *t) {
  clockid_t clock;
  struct timespec used;
  if (pthread_getcpuclockid(t->id, &clock) != 0 ||
      clock_gettime(clock, &used) != 0) {
    return 0;
  }
  return (uint64_t)used.tv_sec * NS_PER_S + (uint64_t)used.tv_nsec;
}

bool la_os_thread_is_runnable(const la_os_thread_t *t) {
  char text[256];
  snprintf(text, sizeof text, "/proc/self/task/%d/stat", t->number);
  FILE *f = fopen(text, "re");
  if (f == NULL) {
    return false;
  }
  const size_t n = fread(text, 1, sizeof text - 1, f);
  fclose(f);
  text[n] = '\0';
  /* number (name) state ...; the name may hold anything */
  const char *end = strrchr(text, ')');
  return end != NULL && end[1] == ' ' && end[2] == 'R';
}

uint64_t la_cpu_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

#if !defined(__x86_64__) && !defined(__i386__)
uint64_t la_cycles_fallback(void);
uint64_t la_cycles_fallback(void) {
  return la_clock_ns();
}
#endif

#ifdef LUACTOR_FAIL_ALLOC
#include <stdatomic.h>

static _Atomic long countdown = -1;
static _Atomic bool failed;

void la_alloc_countdown(long n) {
  atomic_store(&failed, false);
  atomic_store(&countdown, n);
}

bool la_alloc_has_failed(void) {
  return atomic_load(&failed);
}

bool la_alloc_fails(void) {
  long n = atomic_load_explicit(&countdown, memory_order_relaxed);
  if (n < 0) {
    return false;
  }
  while (n > 0 && !atomic_compare_exchange_weak(&countdown, &n, n - 1)) {
  }
  if (n <= 0) {
    atomic_store(&failed, true);
    return true;
  }
  return false;
}
#else
void la_alloc_countdown(long n) {
  (void)n;
}

bool la_alloc_has_failed(void) {
  return false;
}
#endif

/* ---- memory -------------------------------------------------------------------- */

/* The C library knows how long a block is and where it came from; an allocator in Lua's
 * form is to be told both. So its blocks have a head. Values outlive their host and go from
 * one to another, so a block must be known by itself: the C library's begin at a multiple
 * of 16, those with a head in between. 8 bytes are enough for all but what asks for an
 * alignment of its own, which always has a head. */
typedef struct head {
  void *(*alloc)(void *ud, void *ptr, size_t osize, size_t nsize);
  void *ud;
  size_t total; /* what was asked for */
} head_t;

typedef struct aligned_head {
  void *base;
  head_t of; /* alloc is NULL: the C library's */
} aligned_head_t;

_Static_assert(sizeof(head_t) % 16 == 8, "a head makes the difference");

static bool has_head(const void *p) {
  return ((uintptr_t)p & 8) != 0;
}

static const la_env_t *own(void) {
  return here.env != NULL && here.env->alloc != NULL ? here.env : NULL;
}

static void *put_head(head_t *h, const head_t *of) {
  if (h == NULL) {
    return NULL;
  }
  *h = *of;
  return h + 1;
}

static void *own_alloc(const la_env_t *env, size_t size) {
  const head_t of = {env->alloc, env->alloc_ud, size + sizeof of};
  return size > SIZE_MAX - sizeof of
             ? NULL
             : put_head(of.alloc(of.ud, NULL, 0, of.total), &of);
}

void *la_alloc(size_t size) {
  const la_env_t *env = own();
  return la_alloc_fails() ? NULL
         : env == NULL    ? malloc(size)
                          : own_alloc(env, size);
}

void *la_zalloc(size_t size) {
  if (own() == NULL) {
    return la_alloc_fails() ? NULL : calloc(1, size);
  }
  void *p = la_alloc(size);
  return p != NULL ? memset(p, 0, size) : NULL;
}

void *la_realloc(void *p, size_t size) {
  if (p == NULL) {
    return la_alloc(size);
  }
  if (la_alloc_fails()) {
    return NULL;
  }
  if (!has_head(p)) {
    return realloc(p, size);
  }
  head_t *h = (head_t *)p - 1;
  head_t of = *h;
  const size_t before = of.total;
  of.total = size + sizeof of;
  return size > SIZE_MAX - sizeof of
             ? NULL
             : put_head(of.alloc(of.ud, h, before, of.total), &of);
}

void la_free(void *p) {
  if (p == NULL || !has_head(p)) {
    free(p);
  } else {
    head_t *h = (head_t *)p - 1;
    h->alloc(h->ud, h, h->total, 0);
  }
}

bool la_alloc_is_ours(const void *p) {
  const la_env_t *env = own();
  const head_t *h = (const head_t *)p - 1;
  return has_head(p) ? env != NULL && h->alloc == env->alloc &&
                           h->ud == env->alloc_ud
                     : env == NULL;
}

bool la_alloc_is_own(void) {
  return own() != NULL;
}

void *la_alloc_aligned(size_t align, size_t size) {
  const la_env_t *env = own();
  const size_t more = sizeof(aligned_head_t) + align - 1;
  if (la_alloc_fails() || size > SIZE_MAX - more) {
    return NULL;
  }
  head_t of = {.total = size + more};
  char *base;
  if (env != NULL) {
    of.alloc = env->alloc;
    of.ud = env->alloc_ud;
    base = of.alloc(of.ud, NULL, 0, of.total);
  } else {
    base = malloc(of.total);
  }
  if (base == NULL) {
    return NULL;
  }
  const uintptr_t at = (uintptr_t)base + more;
  char *p = base + more - (at & (align - 1));
  *((aligned_head_t *)(void *)p - 1) = (aligned_head_t){base, of};
  return p;
}

void la_free_aligned(void *p) {
  if (p != NULL) {
    const aligned_head_t h = *((aligned_head_t *)p - 1);
    if (h.of.alloc != NULL) {
      h.of.alloc(h.of.ud, h.base, h.of.total, 0);
    } else {
      free(h.base);
    }
  }
}

void *la_alloc_lua(void *ud, void *ptr, size_t osize, size_t nsize) {
  (void)ud;
  (void)osize;
  if (nsize == 0) {
    la_free(ptr);
    return NULL;
  }
  return la_realloc(ptr, nsize);
}

void *la_pages_new(size_t size) {
  if (own() != NULL) {
    return la_alloc_aligned(size, size);
  }
  if (la_alloc_fails()) {
    return NULL;
  }
  char *p = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) {
    return NULL;
  }
  const size_t skip = (size - ((uintptr_t)p & (size - 1))) & (size - 1);
  if (skip > 0) {
    munmap(p, skip);
  }
  munmap(p + skip + size, size - skip);
  return p + skip;
}

void la_pages_free(void *p, size_t size) {
  if (own() != NULL) {
    la_free_aligned(p);
  } else {
    munmap(p, size);
  }
}

bool la_pages_huge(void *p, size_t size) {
#ifdef MADV_HUGEPAGE
  return own() == NULL && madvise(p, size, MADV_HUGEPAGE) == 0;
#else
  (void)p;
  (void)size;
  return false;
#endif
}

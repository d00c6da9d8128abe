/* The system's own clock, random numbers and memory. */
#include "base/env.h"

#include <assert.h>
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

/* The C library knows how long a block is; an allocator in Lua's form is to be told,
 * and knows nothing of alignment. So its blocks have a head in front. */
typedef struct head {
  size_t total;  /* what was asked for */
  uint32_t lead; /* where the block begins in it */
  uint32_t mark;
} head_t;

#define MARK 0x6C756163u

_Static_assert(sizeof(head_t) == 16, "blocks are aligned as malloc's are");

static head_t *head_of(void *p) {
  head_t *h = (head_t *)p - 1;
  assert(h->mark == MARK); /* it is of this kind */
  return h;
}

static const la_env_t *own(void) {
  return here.env != NULL && here.env->alloc != NULL ? here.env : NULL;
}

static void *put_head(char *base, size_t total, size_t align) {
  const size_t lead =
      sizeof(head_t) + (size_t)(-((uintptr_t)base + sizeof(head_t)) &
                                (align - 1));
  head_t *h = (head_t *)(void *)(base + lead) - 1;
  *h = (head_t){total, (uint32_t)lead, MARK};
  return h + 1;
}

static void *own_alloc(const la_env_t *env, size_t align, size_t size) {
  const size_t more = sizeof(head_t) + (align > 16 ? align - 16 : 0);
  if (size > SIZE_MAX - more) {
    return NULL;
  }
  char *base = env->alloc(env->alloc_ud, NULL, 0, size + more);
  return base != NULL ? put_head(base, size + more, align > 16 ? align : 16)
                      : NULL;
}

static void own_free(const la_env_t *env, void *p) {
  if (p != NULL) {
    head_t *h = head_of(p);
    h->mark = 0;
    env->alloc(env->alloc_ud, (char *)p - h->lead, h->total, 0);
  }
}

static void *own_realloc(const la_env_t *env, void *p, size_t size) {
  if (p == NULL || size == 0) {
    own_free(env, p);
    return size > 0 ? own_alloc(env, 16, size) : NULL;
  }
  const head_t *h = head_of(p);
  assert(h->lead == sizeof *h); /* not one that is aligned to more */
  if (size > SIZE_MAX - sizeof *h) {
    return NULL;
  }
  char *base = env->alloc(env->alloc_ud, (char *)p - h->lead, h->total,
                          size + sizeof *h);
  return base != NULL ? put_head(base, size + sizeof *h, 16) : NULL;
}

void *la_alloc(size_t size) {
  const la_env_t *env = own();
  return la_alloc_fails() ? NULL
         : env == NULL    ? malloc(size)
                          : own_alloc(env, 16, size);
}

void *la_zalloc(size_t size) {
  const la_env_t *env = own();
  if (env == NULL) {
    return la_alloc_fails() ? NULL : calloc(1, size);
  }
  void *p = la_alloc(size);
  return p != NULL ? memset(p, 0, size) : NULL;
}

void *la_realloc(void *p, size_t size) {
  const la_env_t *env = own();
  return la_alloc_fails() ? NULL
         : env == NULL    ? realloc(p, size)
                          : own_realloc(env, p, size);
}

void *la_alloc_aligned(size_t align, size_t size) {
  const la_env_t *env = own();
  return la_alloc_fails() ? NULL
         : env == NULL    ? aligned_alloc(align, size)
                          : own_alloc(env, align, size);
}

void la_free(void *p) {
  const la_env_t *env = own();
  if (env == NULL) {
    free(p);
  } else {
    own_free(env, p);
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

bool la_pages_are_cheap(void) {
  return own() == NULL;
}

void *la_pages_new(size_t size) {
  const la_env_t *env = own();
  if (la_alloc_fails()) {
    return NULL;
  }
  if (env != NULL) {
    return own_alloc(env, size, size);
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
  const la_env_t *env = own();
  if (env != NULL) {
    own_free(env, p);
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

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

void *la_alloc(size_t size) {
  return la_alloc_fails() ? NULL : malloc(size);
}

void *la_zalloc(size_t size) {
  return la_alloc_fails() ? NULL : calloc(1, size);
}

void *la_realloc(void *p, size_t size) {
  return la_alloc_fails() ? NULL : realloc(p, size);
}

void *la_alloc_aligned(size_t align, size_t size) {
  return la_alloc_fails() ? NULL : aligned_alloc(align, size);
}

void la_free(void *p) {
  free(p);
}

void *la_pages_new(size_t size) {
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
  munmap(p, size);
}

bool la_pages_huge(void *p, size_t size) {
#ifdef MADV_HUGEPAGE
  return madvise(p, size, MADV_HUGEPAGE) == 0;
#else
  (void)p;
  (void)size;
  return false;
#endif
}

/* The outside world of a host, behind one table of functions (rule 14).
 *
 * Clock, cycle counter, random bytes and memory come from here, so that a host can run on
 * virtual time or with failing memory. No other file calls clock_gettime,
 * getrandom or malloc for the host's own structures. */
#ifndef LA_ENV_H
#define LA_ENV_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/lock.h"

typedef struct la_env {
  uint64_t (*now_ns)(void *ud); /* monotonic; any thread */
  void *now_ud;
  bool is_own;                  /* not the system's clock: nobody can sleep by it */
  uint64_t (*wall_ns)(void *ud); /* since 1970, UTC: for people only; any thread */
  void *wall_ud;
  void (*random)(void *ud, void *bytes, size_t n);
  void *random_ud;
  /* Memory, as lua_Alloc; NULL: the C library's. */
  void *(*alloc)(void *ud, void *ptr, size_t osize, size_t nsize);
  void *alloc_ud;
} la_env_t;

/* The system's clock and random numbers. [any] */
void la_env_init_system(la_env_t *env);

static inline uint64_t la_now(const la_env_t *env) {
  return env->now_ns(env->now_ud);
}

static inline void la_random(const la_env_t *env, void *bytes, size_t n) {
  env->random(env->random_ud, bytes, n);
}

static inline uint64_t la_wall(const la_env_t *env) {
  return env->wall_ns(env->wall_ud);
}

/* The system's monotonic clock, for what threads of the system wait for. [any] */
uint64_t la_clock_ns(void);

/* la_cond_wait until a time of the host's clock. When that is not the system's it is
 * asked once a millisecond. False: it is that time. */
bool la_env_wait(const la_env_t *env, pthread_cond_t *c, la_lock_t *l,
                 uint64_t deadline_ns) LA_REQUIRES(l);

/* A span of time in nanoseconds. What is longer than LA_SPAN_MAX (285 years), so
 * that adding it to the clock could overflow, is for ever: UINT64_MAX. */
#define LA_SPAN_MAX UINT64_C(9000000000000000000)

static inline uint64_t la_span_of_ms(double ms) {
  return ms <= 0 ? 0 : ms * 1e6 >= 9e18 ? UINT64_MAX : (uint64_t)(ms * 1e6);
}

/* CPU cycles of the calling thread's processor, or nanoseconds where there is
 * no such counter: only for estimates of used time. [any] */
static inline uint64_t la_cycles(void) {
#if defined(__x86_64__) || defined(__i386__)
  return __builtin_ia32_rdtsc();
#else
  extern uint64_t la_cycles_fallback(void);
  return la_cycles_fallback();
#endif
}

/* For whom the calling thread works: the host whose thread it is, or whose callback or
 * C function it runs. What was so before is kept by whoever changes it, so a process of
 * one host may use another host. */
typedef struct la_here {
  const la_env_t *env;         /* NULL: nobody's thread */
  const struct la_here *outer; /* what it was before; NULL: nothing */
} la_here_t;

/* The thread works for the host with this environment, until la_here_leave with what
 * this has written to 'saved', which must stay where it is until then. [any] */
void la_here_enter(const la_env_t *env, la_here_t *saved);
void la_here_leave(const la_here_t *saved);
/* Does the thread work for it, now or further out? [any] */
bool la_here_is_in(const la_env_t *env);

/* A thread as the system sees it. */
typedef struct la_os_thread {
  pthread_t id;
  int number; /* what the system calls it; 0: not known */
} la_os_thread_t;

/* The calling thread. [any] */
la_os_thread_t la_os_thread_self(void);
/* Processor time that a living thread has used; 0: not known. [any] */
uint64_t la_os_thread_cpu_ns(const la_os_thread_t *t);
/* Does it want a processor (and not wait for something else)? False when it is
 * not known. [any] */
bool la_os_thread_is_runnable(const la_os_thread_t *t);

/* Processor time of the calling thread: only for estimates. [any] */
uint64_t la_cpu_ns(void);

/* Memory for the host's structures: from the allocator of the host for which the calling
 * thread works (la_here_enter), or from the C library. Given back by any thread. NULL when
 * there is none. [any] */
void *la_alloc(size_t size);
void *la_zalloc(size_t size);
void *la_realloc(void *p, size_t size);
void la_free(void *p);
/* Aligned to 'align', a power of two of at least 16, and given back by a function of its
 * own. [any] */
void *la_alloc_aligned(size_t align, size_t size);
void la_free_aligned(void *p);
/* Would the calling thread get its memory where this block comes from? [any] */
bool la_alloc_is_ours(const void *p);
/* Is that an allocator of an embedder's? [any] */
bool la_alloc_is_own(void);
/* The same for a lua_State. A lua_Alloc; 'ud' is not used. */
void *la_alloc_lua(void *ud, void *ptr, size_t osize, size_t nsize);

/* Memory of its own from the system, or from the host's allocator, to which the calling
 * thread must also give it back: aligned to 'size',
 * which is a power of two and at least a page. [any] */
void *la_pages_new(size_t size);
void la_pages_free(void *p, size_t size);
/* Ask for huge pages there; false when there are none. [any] */
bool la_pages_huge(void *p, size_t size);

/* Tests: let the n-th allocation from now on fail, and all after it until the
 * countdown is set again; negative: never. Process-wide, the one exception to
 * rule 1, and only built with LUACTOR_FAIL_ALLOC. */
void la_alloc_countdown(long n);
/* Has the countdown fired since it was set? */
bool la_alloc_has_failed(void);
/* For who keeps memory and hands it out again: is this request to fail? */
#ifdef LUACTOR_FAIL_ALLOC
bool la_alloc_fails(void);
#else
static inline bool la_alloc_fails(void) {
  return false;
}
#endif

#endif

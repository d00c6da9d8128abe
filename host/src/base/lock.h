/* Locks with ranks. A thread takes locks in rising rank only; debug builds
 * keep the ranks a thread holds and abort on an order that could deadlock. */
#ifndef LA_LOCK_H
#define LA_LOCK_H

#include <pthread.h>
#include <stdbool.h>

/* Outermost first. */
typedef enum {
  LA_RANK_GATE = 1, /* who holds it keeps a host from being freed */
  LA_RANK_HOST,     /* life of the host: start, stop, waiters, threads */
  LA_RANK_TEMPLATES, /* building the templates of processes */
  LA_RANK_NODE,     /* connections to other nodes */
  LA_RANK_NODE_WATCHES, /* who wants to hear of them */
  LA_RANK_POLICY,   /* what other nodes may do; nothing is called under it */
  LA_RANK_WHEEL,    /* one scheduler's timers; never two at once */
  LA_RANK_CREWS,    /* the list of pools that may be used again */
  LA_RANK_CREW,     /* one pool's queue and members; never two at once */
  LA_RANK_CBOXES,   /* the list of mailboxes of C threads */
  LA_RANK_CBOX,     /* one of these; outside of LA_RANK_CBOXES never two at once */
  LA_RANK_PIDTAB,   /* the free list of the pid table; nothing is called under it */
  LA_RANK_NAMES,    /* registered names */
  LA_RANK_GROUPS,   /* members of groups, and who of them is held back */
  LA_RANK_IDLE,     /* who sleeps; also decides that the host is stuck */
  LA_RANK_DOOR,     /* who writes to a connection's socket; see io/door.h */
  LA_RANK_RUNQ,     /* one scheduler's run queue; never two at once */
  LA_RANK_PARK,     /* one thread's sleep */
  LA_RANK_LOG,      /* settings of the log, and what it has held back */
  LA_RANK_DEPOT,    /* message blocks on their way between threads; likewise */
  LA_RANK_CODES,    /* bytecode that the host keeps */
  LA_RANK_BLOBS,    /* the recent large strings; nothing is called under it */
  LA_RANK_POOLS,    /* the list of the pools of blocks */
  LA_RANK_POOL,     /* free blocks of one pool; nothing is called under it */
} la_rank_t;

#if defined(__clang__)
#define LA_CAPABILITY __attribute__((capability("mutex")))
#define LA_REQUIRES(l) __attribute__((requires_capability(l)))
#define LA_ACQUIRE(l) __attribute__((acquire_capability(l)))
#define LA_RELEASE(l) __attribute__((release_capability(l)))
#define LA_UNCHECKED __attribute__((no_thread_safety_analysis))
#else
#define LA_CAPABILITY
#define LA_REQUIRES(l)
#define LA_ACQUIRE(l)
#define LA_RELEASE(l)
#define LA_UNCHECKED
#endif

typedef struct LA_CAPABILITY la_lock {
  pthread_mutex_t mutex;
  la_rank_t rank;
} la_lock_t;

void la_lock_init(la_lock_t *l, la_rank_t rank);
void la_lock_fini(la_lock_t *l);
void la_lock(la_lock_t *l) LA_ACQUIRE(l);
void la_unlock(la_lock_t *l) LA_RELEASE(l);
/* Is the lock's rank among those this thread holds? Always true in release
 * builds: only for assertions. */
bool la_lock_is_held(const la_lock_t *l);
/* A condition variable on the monotonic clock. */
void la_cond_init(pthread_cond_t *c);
/* Wait under 'l' until signalled or until 'deadline_ns' (UINT64_MAX: for
 * ever). False on timeout. */
bool la_cond_wait(pthread_cond_t *c, la_lock_t *l, unsigned long deadline_ns)
    LA_REQUIRES(l);

#endif

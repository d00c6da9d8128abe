/* Schedulers and threads are made, given to one another, and ended. */
#include <sched.h>
#include <string.h>

#include "sched/runq.h"
#include "sched/sched.h"
#include "sched/tick.h"

/* ---- schedulers ------------------------------------------------------------------ */

static void init_sched(la_sched_t *s, la_host_t *host, uint32_t index) {
  memset(s, 0, sizeof *s);
  s->index = index;
  s->host = host;
  la_runq_init(&s->q);
  la_wheel_init(&s->wheel, index == UINT32_MAX ? 0 : index,
                la_now(&host->env));
}

static la_sched_t *new_sched(la_host_t *host, uint32_t index) {
  la_sched_t *s = la_alloc_aligned(64, (sizeof *s + 63) / 64 * 64);
  if (s != NULL) {
    init_sched(s, host, index);
  }
  return s;
}

static void free_sched(la_sched_t *s) {
  la_wheel_fini(&s->wheel);
  la_lock_fini(&s->q.lock);
  la_free_aligned(s);
}

bool la_sched_init(la_host_t *host) {
  host->scheds = la_zalloc(host->nscheds * sizeof(la_sched_t *));
  if (host->scheds == NULL) {
    return false;
  }
  for (uint32_t i = 0; i < host->nscheds; i++) {
    host->scheds[i] = new_sched(host, i);
    if (host->scheds[i] == NULL) {
      return false;
    }
  }
  return true;
}

static la_sched_t *sched_of(la_thread_t *t) {
  return atomic_load_explicit(&t->assigned, memory_order_relaxed);
}

/* ---- a thread --------------------------------------------------------------------- */

/* Without a scheduler: wait for the next one. False: leave. */
static bool wait_assigned(la_thread_t *t) {
  la_lock(&t->park_lock);
  while (sched_of(t) == NULL && !t->leave) {
    la_cond_wait(&t->park_cond, &t->park_lock, UINT64_MAX);
  }
  const bool stay = sched_of(t) != NULL;
  t->token = false;
  la_unlock(&t->park_lock);
  return stay;
}

static void put_spare(la_host_t *host, la_thread_t *t) {
  la_lock(&host->lock);
  t->next_spare = host->spares;
  host->spares = t;
  la_unlock(&host->lock);
}

static void become_spare(la_thread_t *t) {
  la_host_t *host = t->host;
  la_sched_t *s = sched_of(t);
  atomic_store(&t->assigned, NULL);
  if (s->is_dead) {
    /* Its process has ended, only this thread still knew it; but the tick thread
     * may be looking at it, under the lock. */
    la_lock(&host->lock);
    free_sched(s);
    la_unlock(&host->lock);
  }
  la_lock(&host->idle_lock);
  const bool counted = !t->is_idle;
  t->is_idle = false;
  la_unlock(&host->idle_lock);
  if (counted) {
    la_host_idle(host);
  }
  put_spare(host, t);
}

static void *thread_main(void *arg) {
  la_thread_t *t = arg;
  la_visit_t nobody;
  la_thread_enter(t, &nobody);
  t->id = pthread_self();
  t->os = la_os_thread_self();
  while (wait_assigned(t)) {
    la_thread_serve(t, sched_of(t));
    if (atomic_load(&t->host->halting)) {
      break;
    }
    become_spare(t);
  }
  la_lock(&t->park_lock);
  t->gone = true;
  pthread_cond_signal(&t->park_cond);
  la_unlock(&t->park_lock);
  return NULL;
}

/* ---- making threads -------------------------------------------------------------------- */

void la_thread_free(la_thread_t *t) {
  la_blocks_fini(&t->blocks);
  la_pool_flush(&t->host->pools, &t->pooled);
  if (t->scratch != NULL) {
    la_scratch_free(t->scratch);
  }
  pthread_cond_destroy(&t->park_cond);
  la_lock_fini(&t->park_lock);
  la_free_aligned(t);
}

static la_scratch_t *new_scratch(la_host_t *host) {
  la_scratch_t *s = la_scratch_new();
  if (s != NULL) {
    la_scratch_keep_codes(s, &host->codes);
    la_scratch_keep_blobs(s, &host->blobs);
  }
  return s;
}

la_thread_t *la_thread_new(la_host_t *host) {
  la_thread_t *t = la_alloc_aligned(64, (sizeof *t + 63) / 64 * 64);
  if (t == NULL) {
    return NULL;
  }
  memset(t, 0, sizeof *t);
  t->host = host;
  t->alarm = -1;
  la_blocks_init(&t->blocks, &host->depot);
  t->steal_seed = (uint32_t)(uintptr_t)t;
  la_lock(&host->lock);
  t->number = ++host->nthreads;
  la_unlock(&host->lock);
  la_lock_init(&t->park_lock, LA_RANK_PARK);
  la_cond_init(&t->park_cond);
  t->scratch = new_scratch(host);
  if (t->scratch == NULL) {
    la_thread_free(t);
    return NULL;
  }
  return t;
}

/* One that runs, and waits for its first scheduler. */
static la_thread_t *start_thread(la_host_t *host) {
  la_thread_t *t = la_thread_new(host);
  if (t == NULL) {
    return NULL;
  }
  if (pthread_create(&t->id, NULL, thread_main, t) != 0) {
    la_thread_free(t);
    return NULL;
  }
  la_lock(&host->lock);
  t->next = host->threads;
  host->threads = t;
  la_unlock(&host->lock);
  return t;
}

/* False: the thread that serves it has lain down, and shall be woken. The bit and
 * who serves change under one lock: no thread takes another's bit for its own. */
static bool set_thread(la_host_t *host, la_sched_t *s, la_thread_t *t) {
  la_lock(&host->idle_lock);
  const bool is_down =
      s->index != UINT32_MAX &&
      (atomic_load(&host->idle) & UINT64_C(1) << s->index) != 0;
  if (!is_down) {
    atomic_store(&s->thread, t);
  }
  la_unlock(&host->idle_lock);
  return !is_down;
}

la_thread_t *la_thread_give(la_host_t *host, la_sched_t *s) {
  la_thread_t *before = atomic_load(&s->thread);
  la_lock(&host->lock);
  la_thread_t *t = host->spares;
  if (t != NULL) {
    host->spares = t->next_spare;
  }
  la_unlock(&host->lock);
  la_host_busy(host);
  if (t == NULL) {
    /* The new thread sees s->thread only when we have stored it: until then
     * it would leave at once, so it starts without a scheduler. */
    t = start_thread(host);
    if (t == NULL) {
      la_host_idle(host);
      return NULL;
    }
  }
  if (!set_thread(host, s, t)) {
    put_spare(host, t);
    la_host_idle(host);
    return NULL;
  }
  la_lock(&t->park_lock);
  atomic_store(&t->assigned, s);
  pthread_cond_signal(&t->park_cond);
  la_unlock(&t->park_lock);
  if (before != NULL) {
    la_thread_unpark(before); /* the token of who woke it may have gone to 't' */
  }
  return t;
}

la_sched_t *la_sched_new_own(la_host_t *host) {
  la_sched_t *s = new_sched(host, UINT32_MAX);
  if (s != NULL && la_thread_give(host, s) == NULL) {
    free_sched(s);
    return NULL;
  }
  return s;
}

void la_sched_free_own(la_sched_t *s) {
  la_thread_t *t = atomic_load(&s->thread);
  s->is_dead = true; /* before the thread may see that it must leave */
  atomic_store(&s->thread, NULL);
  la_thread_unpark(t);
}

int la_sched_start(la_host_t *host) {
  atomic_store(&host->nserved, host->nscheds);
  for (uint32_t i = 0; i < host->nscheds; i++) {
    if (la_thread_give(host, host->scheds[i]) == NULL) {
      return LUACTOR_ETHREAD;
    }
  }
  return la_tick_start(host) ? 0 : LUACTOR_ETHREAD;
}

/* How often a thread that is to leave is interrupted: its process may have been where it
 * cannot be suspended. */
#define INTERRUPT_NS UINT64_C(1000000)

/* There is no tick thread any more that ends the slice of what the thread runs. */
static bool wait_gone(la_host_t *host, la_thread_t *t, uint64_t deadline_ns) {
  uint64_t now = la_clock_ns();
  la_lock(&t->park_lock);
  while (!t->gone && now < deadline_ns) {
    la_tick_interrupt(host, t);
    la_cond_wait(&t->park_cond, &t->park_lock, now + INTERRUPT_NS);
    now = la_clock_ns();
  }
  const bool gone = t->gone;
  la_unlock(&t->park_lock);
  return gone;
}

/* One that has not been asked to leave; threads that still run may make more. */
static la_thread_t *next_to_join(la_host_t *host) {
  la_lock(&host->lock);
  la_thread_t *t = host->threads;
  while (t != NULL && t->join != LA_NOT_JOINED) {
    t = t->next;
  }
  la_unlock(&host->lock);
  return t;
}

static void free_threads(la_host_t *host) {
  la_lock(&host->lock);
  host->spares = NULL;
  while (host->threads != NULL) {
    la_thread_t *t = host->threads;
    host->threads = t->next;
    la_sched_t *s = sched_of(t);
    if (s != NULL && s->index == UINT32_MAX) {
      free_sched(s);
    }
    la_thread_free(t);
  }
  la_unlock(&host->lock);
}

/* Those that call from outside may be about to wake a thread. They see that the host
 * halts, or have seen that it did not, and are gone in a moment. */
static bool wait_guests(la_host_t *host, uint64_t deadline_ns) {
  while (atomic_load(&host->nguests) != 0 && la_clock_ns() < deadline_ns) {
    sched_yield();
  }
  return atomic_load(&host->nguests) == 0;
}

/* Freed only when all have ended: one that runs may be about to wake another. */
bool la_sched_join(la_host_t *host, uint64_t deadline_ns) {
  bool all = true;
  la_thread_t *t;
  la_tick_stop(host);
  while ((t = next_to_join(host)) != NULL) {
    la_lock(&t->park_lock);
    t->leave = true;
    t->token = true;
    pthread_cond_signal(&t->park_cond);
    la_unlock(&t->park_lock);
    if (wait_gone(host, t, deadline_ns)) {
      pthread_join(t->id, NULL);
      t->join = LA_JOINED;
    } else {
      t->join = LA_LATE;
      all = false;
    }
  }
  if (all && wait_guests(host, deadline_ns)) {
    la_tick_give_back(host);
    free_threads(host);
    return true;
  }
  for (t = host->threads; t != NULL; t = t->next) {
    if (t->join == LA_LATE) {
      t->join = LA_NOT_JOINED; /* the next call waits for it again */
    }
  }
  return false;
}

void la_sched_fini(la_host_t *host) {
  for (uint32_t i = 0; host->scheds != NULL && i < host->nscheds; i++) {
    if (host->scheds[i] != NULL) {
      free_sched(host->scheds[i]);
    }
  }
  la_free(host->scheds);
}

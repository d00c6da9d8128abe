/* The threads' loop: run, steal, sleep, wake.
 *
 * Problem: keep every processor busy while there is work, and none when there is not,
 * without a system call for each message.
 *
 * A process that becomes runnable goes to the scheduler of the thread that woke
 * it, as its *next* one: it runs when the present process waits or its slice
 * ends, with its message still in the cache (runq.c has the rules). Nobody is told
 * of it. When a second one comes, the first is queued, and one sleeping thread
 * (if any) is woken to steal. The tick thread sees to what is still left lying: a
 * process that is next behind one that goes on computing.
 *
 * Going to sleep: a thread sets its bit in host->idle, then looks once more at all
 * queues, then sleeps. Who queues a process looks at host->idle afterwards
 * (both seq_cst), so one of the two sees the other. Who takes a bit out of
 * host->idle owes that thread a wake-up.
 *
 * Stuck: nbusy counts the threads that are awake and the work outside that may
 * send (la_host_busy). It rises before a sleeper is woken and falls only when
 * a thread has found nothing after setting its bit. When it falls to zero
 * with all queues and wheels empty, nothing inside can ever happen again. */
#include "sched/sched.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alarm.h"
#include "sched/runq.h"
#include "sched/tick.h"

enum {
  BEHIND_MESSAGES = 1000, /* so many left at the end of a slice are many, */
  BEHIND_SENDS = 64,   /* and to such a process so many may be sent in a slice;
                        * to one with n times as many the n-th part */
  RUNS_PER_TURN = 64,  /* count mode; see runq.c */
  TIMER_CYCLES = 30000 /* some ten microseconds: so late may a timer be */
};

static _Thread_local la_thread_t *this_thread
    __attribute__((tls_model("initial-exec")));

la_thread_t *la_thread_self(void) {
  return this_thread;
}

#define NUMBERS 256 /* that a thread takes at a time */

uint64_t la_new_number(la_host_t *host) {
  la_thread_t *t = this_thread;
  if (t == NULL || t->host != host) {
    return atomic_fetch_add_explicit(&host->next_number, 1,
                                     memory_order_relaxed) + 1;
  }
  if (t->numbers_left == 0) {
    t->next_number = atomic_fetch_add_explicit(&host->next_number, NUMBERS,
                                               memory_order_relaxed) + 1;
    t->numbers_left = NUMBERS;
  }
  t->numbers_left--;
  return t->next_number++;
}

la_scratch_t *la_host_scratch(void) {
  return this_thread->scratch;
}

la_pool_cache_t *la_host_pool_cache(const la_host_t *host) {
  la_thread_t *t = this_thread;
  return t != NULL && t->host == host ? &t->pooled : NULL;
}

la_caps_t *la_host_caps(uint64_t *stamp) {
  la_thread_t *t = this_thread;
  *stamp = (uint64_t)t->number << 32 | atomic_load_explicit(
                                           &t->slice, memory_order_relaxed);
  return &t->caps;
}

la_wheel_t *la_sched_wheel(la_sched_t *s) {
  return &s->wheel;
}

static la_sched_t *sched_of(la_thread_t *t) {
  return atomic_load_explicit(&t->assigned, memory_order_relaxed);
}

/* The scheduler to queue on: that of the calling thread, unless it is another
 * host's or a process's own. */
static la_sched_t *local_sched(const la_host_t *host) {
  la_thread_t *t = this_thread;
  if (t == NULL || t->host != host) {
    return NULL;
  }
  la_sched_t *s = sched_of(t);
  /* One that was handed on is served by another thread, which may sleep. */
  return s != NULL && s->index != UINT32_MAX && atomic_load(&s->thread) == t
             ? s
             : NULL;
}

void la_thread_enter(la_thread_t *t, la_visit_t *before) {
  *before = (la_visit_t){.thread = this_thread, .blocks = la_blocks_here};
  la_here_enter(&t->host->env, &before->here);
  this_thread = t;
  la_blocks_here = &t->blocks;
}

void la_thread_leave(const la_visit_t *before) {
  this_thread = before->thread;
  la_blocks_here = before->blocks;
  la_here_leave(&before->here);
}

void la_sched_forget(void) {
  this_thread->exec = NULL;
}

/* For what comes from outside, one after the other. */
static la_sched_t *next_sched(la_host_t *host) {
  const uint32_t n = atomic_load(&host->nserved);
  return host->scheds[n > 1 ? atomic_fetch_add(&host->next_home, 1) % n : 0];
}

la_sched_t *la_sched_pick_home(la_host_t *host) {
  la_sched_t *s = local_sched(host);
  return s != NULL ? s
                   : next_sched(host);
}

/* ---- sleeping and waking ------------------------------------------------------- */

void la_host_busy(la_host_t *host) {
  la_lock(&host->idle_lock);
  host->nbusy++;
  host->stuck = false;
  la_unlock(&host->idle_lock);
  la_tick_wake(host);
}

static bool nothing_is_left(la_host_t *host) {
  for (uint32_t i = 0; i < host->nscheds; i++) {
    if (!la_runq_is_empty(host->scheds[i]) ||
        atomic_load(&host->scheds[i]->wheel.next_ns) != UINT64_MAX) {
      return false;
    }
  }
  return true;
}

/* Of the timers, some may be timeouts of waits that are over: see wait.c. Their locks
 * are not for under the idle lock. */
static void prune_wheels(la_host_t *host) {
  for (uint32_t i = 0; i < host->nscheds; i++) {
    la_wheel_t *w = &host->scheds[i]->wheel;
    if (atomic_load(&w->next_ns) != UINT64_MAX) {
      la_sched_prune(w);
    }
  }
}

void la_host_idle(la_host_t *host) {
  la_lock(&host->idle_lock);
  bool idle = --host->nbusy == 0;
  if (idle && !nothing_is_left(host)) {
    la_unlock(&host->idle_lock);
    prune_wheels(host);
    la_lock(&host->idle_lock);
    idle = host->nbusy == 0;
  }
  const bool stuck = idle && nothing_is_left(host);
  if (stuck) {
    host->stuck = true;
  }
  la_unlock(&host->idle_lock);
  if (stuck) {
    la_lock(&host->lock);
    pthread_cond_broadcast(&host->changed);
    la_unlock(&host->lock);
    la_sched_tell_loop(host);
  }
}

void la_thread_unpark(la_thread_t *t) {
  la_lock(&t->park_lock);
  t->token = true;
  pthread_cond_signal(&t->park_cond);
  if (t->alarm >= 0) {
    t->alarm_ns = 0;
    la_alarm_set(t->alarm, 0);
  }
  la_unlock(&t->park_lock);
}

/* The thread sleeps (its bit was set, and we cleared it): wake it. */
static void wake_idle(la_host_t *host, la_sched_t *s) {
  la_thread_t *t = atomic_load(&s->thread);
  la_host_busy(host);
  la_thread_unpark(t);
}

static bool claim_idle(la_host_t *host, uint64_t bit) {
  return (atomic_load(&host->idle) & bit) != 0 &&
         (atomic_fetch_and(&host->idle, ~bit) & bit) != 0;
}

void la_sched_wake_idle(la_host_t *host) {
  uint64_t idle;
  while ((idle = atomic_load(&host->idle)) != 0) {
    const unsigned i = (unsigned)__builtin_ctzll(idle);
    if (claim_idle(host, UINT64_C(1) << i)) {
      wake_idle(host, host->scheds[i]);
      return;
    }
  }
}

/* The thread of a process's own scheduler is always owed a wake-up. It may serve
 * another by now, or none: then it finds nothing. */
static void wake_own(la_host_t *host, la_thread_t *t) {
  bool was_idle;
  la_lock(&host->idle_lock);
  was_idle = t->is_idle;
  if (was_idle) {
    t->is_idle = false;
    host->nbusy++;
    host->stuck = false;
  }
  la_unlock(&host->idle_lock);
  if (was_idle) {
    la_tick_wake(host);
  }
  la_thread_unpark(t);
}

static void wake_sched(la_host_t *host, la_sched_t *s) {
  if (claim_idle(host, UINT64_C(1) << s->index)) {
    wake_idle(host, s);
  }
}

/* Once it is in the queue a process may run and end, and with it a scheduler of its
 * own; threads stay. */
static void place_pinned(la_host_t *host, la_sched_t *s, la_proc_t *p) {
  la_thread_t *own = s->index == UINT32_MAX ? atomic_load(&s->thread) : NULL;
  la_runq_put(s, p);
  if (own != NULL) {
    wake_own(host, own);
  } else {
    wake_sched(host, s);
  }
}

void la_sched_tell_loop(la_host_t *host) {
  la_thread_t *t = atomic_load(&host->inlined);
  if (t != NULL && t != this_thread) {
    wake_sched(host, host->scheds[0]);
  }
}

void la_sched_wheel_changed(la_host_t *host, la_wheel_t *w) {
  la_sched_t *s = local_sched(host);
  if (s != NULL && w == &s->wheel) {
    la_tick_wake(host);
    return; /* it looks before it sleeps */
  }
  wake_sched(host, host->scheds[w->index]);
}

/* By a thread that is no scheduler's: somebody sleeps, or the process is next
 * wherever its turn is. */
static void wake_from_outside(la_host_t *host, la_proc_t *p) {
  uint64_t idle;
  while ((idle = atomic_load(&host->idle)) != 0) {
    const unsigned i = (unsigned)__builtin_ctzll(idle);
    if (claim_idle(host, UINT64_C(1) << i)) {
      la_runq_put_next(host->scheds[i], p);
      wake_idle(host, host->scheds[i]);
      return;
    }
  }
  la_sched_t *s = next_sched(host);
  la_runq_put_next(s, p);
  if (claim_idle(host, UINT64_C(1) << s->index)) {
    wake_idle(host, s); /* it has gone to sleep meanwhile */
  }
}

/* A process that is woken runs soon. With thousands of them none of its memory is in
 * a cache, and it would be fetched one miss after the other: ask for what every
 * slice touches, all at once. A quarter of a hop in a ring of ten thousand. */
enum {
  HOT_SHELL = offsetof(la_proc_t, boxes),
  HOT_STATE = 448, /* the main thread and what collector and allocator use */
  HOT_STACK = 448,
  HOT_LAST = 1536, /* the end of an image: what was made last, its functions */
  HOT_REST = 256   /* and what the process has made first */
};

static void fetch(const char *from, size_t size) {
  for (size_t i = 0; i < size; i += 64) {
    __builtin_prefetch(from + i, 1);
  }
}

static void fetch_state(const la_host_t *host, const la_proc_t *p) {
  const char *block = p->heap.image;
  const uint32_t stack =
      atomic_load_explicit(&host->stack_at, memory_order_relaxed);
  if (block != NULL && stack != 0) {
    fetch(block, HOT_STATE);
    fetch(block + stack, HOT_STACK);
    fetch(p->heap.image_end - HOT_LAST, HOT_LAST + HOT_REST);
  }
}

static void place(la_host_t *host, la_proc_t *p) {
  fetch((const char *)p, HOT_SHELL);
  la_sched_t *s = p->pinned;
  if (s != NULL) {
    place_pinned(host, s, p);
    return;
  }
  s = local_sched(host);
  if (s != NULL) {
    fetch_state(host, p); /* as long as it is ours */
    const bool others = p->start != NULL ? la_runq_put(s, p) > 0
                                         : la_runq_put_next(s, p);
    if (atomic_load(&s->thread) != this_thread) {
      wake_sched(host, s); /* it has just been handed on */
    } else if (others && atomic_load(&host->idle) != 0) {
      la_sched_wake_idle(host);
    }
    return;
  }
  wake_from_outside(host, p);
}

void la_sched_wake(la_host_t *host, la_proc_t *p) {
  p->was_spared = false; /* it is the caller's until it is queued */
  place(host, p);
  la_tick_wake(host);
}

void la_sched_wake_all(la_host_t *host) {
  for (uint32_t i = 0; i < host->nscheds; i++) {
    if (claim_idle(host, UINT64_C(1) << i)) {
      wake_idle(host, host->scheds[i]);
    }
  }
  la_lock(&host->lock);
  for (la_thread_t *t = host->threads; t != NULL; t = t->next) {
    la_thread_unpark(t);
  }
  la_unlock(&host->lock);
  la_tick_wake(host);
}

/* Sleep until a token or the deadline. */
static void sleep_until(la_thread_t *t, uint64_t deadline_ns) {
  la_lock(&t->park_lock);
  while (!t->token && la_env_wait(&t->host->env, &t->park_cond, &t->park_lock,
                                  deadline_ns)) {
  }
  t->token = false;
  la_unlock(&t->park_lock);
}

/* ---- one thread -------------------------------------------------------------------- */

static la_proc_t *steal(la_thread_t *t, la_sched_t *s) {
  la_host_t *host = t->host;
  if (s->index == UINT32_MAX) {
    return NULL;
  }
  t->steal_seed = t->steal_seed * 1664525u + 1013904223u;
  const uint32_t n = atomic_load_explicit(&host->nserved, memory_order_relaxed);
  const uint32_t start = (t->steal_seed >> 16) % n;
  for (uint32_t i = 0; i < n; i++) {
    la_sched_t *from = host->scheds[(start + i) % n];
    la_proc_t *p = from != s ? la_runq_steal(from, s) : NULL;
    if (p != NULL) {
      return p;
    }
  }
  return NULL;
}

static bool is_counting(const la_host_t *host) {
  return host->config.preempt == LUACTOR_PREEMPT_COUNT;
}

/* The clock of la_runq_take. */
static uint32_t turn_clock(const la_thread_t *t) {
  return is_counting(t->host)
             ? t->nruns / RUNS_PER_TURN
             : atomic_load_explicit(&t->host->ticks, memory_order_relaxed);
}

/* Reading the clock costs as much as some twenty of these. In count mode each step
 * is to depend on the host's clock alone. */
static bool is_time_to_look(la_thread_t *t) {
  if (t->cycles - t->timers_cycles < TIMER_CYCLES &&
      !is_counting(t->host)) {
    return false;
  }
  t->timers_cycles = t->cycles;
  return true;
}

uint64_t la_sched_lap(void) {
  const uint64_t from = this_thread->cycles;
  this_thread->cycles = la_cycles();
  return this_thread->cycles - from;
}

static la_proc_t *find_work(la_thread_t *t, la_sched_t *s) {
  const bool shared = s->index != UINT32_MAX;
  const bool looked = shared && is_time_to_look(t);
  if (looked) {
    la_sched_expire(t->host, &s->wheel);
  }
  la_proc_t *p = la_runq_take(s, &t->turn, turn_clock(t));
  if (p == NULL && shared && !looked &&
      la_sched_expire(t->host, &s->wheel)) {
    p = la_runq_take(s, &t->turn, turn_clock(t));
  }
  return p != NULL ? p : steal(t, s);
}

/* Take the scheduler's bit back, and count the thread as busy 'count' times. False:
 * somebody has claimed the bit, and counts and wakes the thread, or its scheduler was
 * given away after that: then the bit is another thread's. */
static bool reclaim_idle(la_thread_t *t, la_sched_t *s, uint32_t count) {
  la_host_t *host = t->host;
  la_lock(&host->idle_lock);
  const bool is_ours = atomic_load(&s->thread) == t &&
                       claim_idle(host, UINT64_C(1) << s->index);
  if (is_ours && count > 0) {
    host->nbusy += count;
    host->stuck = false;
  }
  la_unlock(&host->idle_lock);
  return is_ours;
}

/* Nothing to do on a shared scheduler: from here on others wake the thread. False: there
 * is something, or the time *next has come at which it would rise by itself. */
static bool lie_down(la_thread_t *t, la_sched_t *s, uint64_t *next) {
  la_host_t *host = t->host;
  const uint64_t bit = UINT64_C(1) << s->index;
  la_lock(&host->idle_lock);
  const bool is_ours = atomic_load(&s->thread) == t;
  if (is_ours) {
    atomic_fetch_or(&host->idle, bit); /* nobody gives it away now */
  }
  la_unlock(&host->idle_lock);
  if (!is_ours) {
    return false;
  }
  bool work = atomic_load(&host->halting) || !la_runq_is_empty(s);
  for (uint32_t i = 0; !work && i < host->nscheds; i++) {
    work = la_runq_has_stealable(host->scheds[i]);
  }
  const uint64_t now = la_now(&host->env);
  *next = atomic_load(&s->wheel.next_ns);
  if (!work && *next > now && la_pools_want_trim(&host->pools)) {
    const uint64_t trim = la_pools_trim(&host->pools, now);
    *next = trim < *next ? trim : *next;
  }
  if (!work && *next > now) {
    la_host_idle(host);
    return true;
  }
  if (!reclaim_idle(t, s, 0)) {
    /* Somebody is about to wake this thread and has counted it twice. */
    sleep_until(t, UINT64_MAX);
    la_host_idle(host);
  }
  return false;
}

/* The thread has lain down; woke it by the clock, nobody has counted it. */
static void rise(la_thread_t *t, la_sched_t *s) {
  if (reclaim_idle(t, s, 1)) {
    la_tick_wake(t->host);
  }
}

static void rest_shared(la_thread_t *t, la_sched_t *s) {
  uint64_t next;
  if (lie_down(t, s, &next)) {
    sleep_until(t, next);
    rise(t, s);
  }
}

/* Nothing to do on a process's own scheduler. */
static void rest_own(la_thread_t *t, la_sched_t *s) {
  la_host_t *host = t->host;
  la_lock(&host->idle_lock);
  const bool idle = la_runq_is_empty(s) && !t->is_idle;
  t->is_idle = t->is_idle || idle;
  la_unlock(&host->idle_lock);
  if (idle) {
    la_host_idle(host);
  }
  sleep_until(t, UINT64_MAX);
  /* is_idle stays set when only the host's end woke us: then nothing counts. */
}

static void requeue(la_thread_t *t, la_sched_t *s, la_proc_t *p) {
  la_host_t *host = t->host;
  if (p->pinned != NULL) {
    s = p->pinned;
  }
  const uint32_t n = p->was_spared ? la_runq_put_first(s, p)
                                   : la_runq_put(s, p);
  if (atomic_load(&s->thread) != t) {
    wake_sched(host, s); /* it was handed on meanwhile */
  } else if (n > 1 && atomic_load(&host->idle) != 0) {
    la_sched_wake_idle(host);
  }
}

static void note_behind(la_proc_t *p) {
  const uint32_t n = p->mbox.count / BEHIND_MESSAGES;
  const uint8_t behind = (uint8_t)(n < BEHIND_SENDS ? n : BEHIND_SENDS);
  if (atomic_load_explicit(&p->slot->behind, memory_order_relaxed) != behind) {
    atomic_store_explicit(&p->slot->behind, behind, memory_order_relaxed);
  }
}

void la_sched_hurry(la_host_t *host) {
  la_tick_wake(host);
}

void la_sched_slow_down(uint8_t behind) {
  la_thread_t *t = this_thread;
  if (t == NULL || t->exec == NULL) {
    return;
  }
  t->behind += behind;
  if (t->behind >= BEHIND_SENDS) {
    t->behind = 0;
    la_exec_end_slice(t->exec);
  }
}

bool la_sched_owe(la_host_t *host) {
  const la_thread_t *t = this_thread;
  if (t == NULL || t->host != host || t->exec == NULL) {
    return false;
  }
  if (!atomic_load_explicit(&host->owes, memory_order_relaxed)) {
    atomic_store(&host->owes, true);
    la_tick_wake(host); /* should the process go on and on */
  }
  return true;
}

static void pay(la_host_t *host) {
  if (atomic_load_explicit(&host->owes, memory_order_relaxed) &&
      atomic_exchange(&host->owes, false)) {
    host->pay(host, false);
  }
}

/* Only this thread writes it. */
static void next_slice(la_thread_t *t) {
  const uint32_t n = atomic_load_explicit(&t->slice, memory_order_relaxed);
  atomic_store_explicit(&t->slice, n + 1, memory_order_release);
}

static void run(la_thread_t *t, la_sched_t *s, la_proc_t *p) {
  la_scratch_reset(t->scratch);
  atomic_store_explicit(&t->pid, p->pid, memory_order_relaxed);
  atomic_store_explicit(&t->slot, p->slot, memory_order_relaxed);
  atomic_store_explicit(&t->started, t->cycles, memory_order_relaxed);
  const bool capped = la_group_is_capped(p);
  if (capped != atomic_load_explicit(&t->capped, memory_order_relaxed)) {
    atomic_store_explicit(&t->capped, capped, memory_order_relaxed);
    la_tick_wake(t->host);
  }
  t->exec = &p->exec;
  t->nruns++;
  t->behind = 0;
  next_slice(t);
  const la_ran_t ran = la_proc_run(p);
  t->exec = NULL;
  next_slice(t);
  pay(t->host);
  if (ran == LA_RAN_ENDED || is_counting(t->host)) {
    la_sched_lap(); /* else the end of its slice has done it */
  }
  if (ran == LA_RAN_AGAIN) {
    const bool over = la_exec_is_over(&p->exec);
    /* One that was woken, and whose slice was ended nevertheless, perhaps since the
     * machine took the processor away from the thread, goes to the end of the queue
     * only when that happens again at once. */
    p->was_spared = over && !t->turn.is_queues && !p->was_spared;
    if (over) {
      la_turn_end(&t->turn, turn_clock(t));
      note_behind(p);
    }
    requeue(t, s, p);
  }
}

static void serve_sched(la_thread_t *t, la_sched_t *s) {
  la_host_t *host = t->host;
  la_sched_lap();
  while (!atomic_load_explicit(&host->halting, memory_order_acquire) &&
         atomic_load_explicit(&s->thread, memory_order_acquire) == t) {
    la_proc_t *p = find_work(t, s);
    if (p != NULL) {
      run(t, s, p);
      continue;
    }
    if (s->index != UINT32_MAX) {
      rest_shared(t, s);
    } else {
      rest_own(t, s);
    }
    la_sched_lap();
  }
}

/* ---- a thread that comes and goes ------------------------------------------------------ */

/* How much of its time a step has used up. Under a clock of the embedder's each slice is
 * at least a microsecond of it: the clock may stand still, and what a step runs is then a
 * matter of counting alone. */
static uint64_t used_ns(const la_host_t *host, uint64_t from_ns,
                        uint64_t slices) {
  const uint64_t used = la_now(&host->env) - from_ns;
  return host->env.is_own && used < slices * 1000 ? slices * 1000 : used;
}

/* Set the alarm for what is next, unless somebody has given a token. */
static void set_alarm(la_thread_t *t, uint64_t at_ns) {
  la_lock(&t->park_lock);
  if (!t->token && at_ns != t->alarm_ns) {
    t->alarm_ns = at_ns;
    la_alarm_set(t->alarm, at_ns);
  }
  la_unlock(&t->park_lock);
}

static void take_token(la_thread_t *t) {
  la_lock(&t->park_lock);
  t->token = false;
  la_unlock(&t->park_lock);
}

bool la_thread_step(la_thread_t *t, la_sched_t *s, uint64_t span_ns) {
  la_host_t *host = t->host;
  uint64_t slices = 0, next = UINT64_MAX;
  const uint64_t from_ns = la_now(&host->env);
  bool down = false, over = false;
  take_token(t);
  if (t->is_down) {
    t->is_down = false;
    rise(t, s);
  }
  la_sched_lap();
  while (!down && !over &&
         !atomic_load_explicit(&host->halting, memory_order_acquire)) {
    la_proc_t *p = find_work(t, s);
    if (p != NULL) {
      run(t, s, p);
      over = used_ns(host, from_ns, ++slices) >= span_ns;
    } else {
      down = lie_down(t, s, &next);
      la_sched_lap();
    }
  }
  t->is_down = down;
  /* Nobody knows when a clock of the embedder's will show some time. */
  set_alarm(t, over ? 0 : host->env.is_own ? UINT64_MAX : next);
  return over;
}

/* A processor takes a load for dependent on an earlier store when the two addresses
 * differ by a multiple of 4096. The stacks of threads begin at such multiples and so
 * do, nearly, the blocks with the Lua stacks of the first processes: the frame of
 * Lua's interpreter is kept away from where they mostly are. Measured: 12 % of a
 * recursive function's time, 5 % of a round trip. */
__attribute__((noinline)) void la_thread_serve(la_thread_t *t, la_sched_t *s) {
  char distance[2048];
  __asm__ volatile("" : : "r"(distance) : "memory");
  serve_sched(t, s);
  __asm__ volatile("" : : "r"(distance) : "memory");
}

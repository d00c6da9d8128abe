/* One thread for each host that looks at all scheduler threads once a millisecond
 * while any of them runs something, and sleeps when none does.
 *
 * For a process that has run for half of that or longer:
 * - when something else wants its scheduler, or a signal waits for it, the thread gets
 *   the tick signal (tick mode): the handler, on that very thread, arms the one-shot
 *   hook of the running coroutine (rule 9). A signal costs some 20 us here, so it is
 *   sent only then;
 * - what is more urgent, a timer that is due or a process of high priority, need not
 *   wait so long: while a process computes, the tick thread looks when the next timer of
 *   its scheduler is due, and interrupts one that has run for EARLY_NS;
 * - when it still has not let go after HAND_ON_TICKS, it is in a C call (or in Lua
 *   code that cannot yield): its scheduler goes to a spare thread (rule 12);
 * - after REPORT_TICKS the log says which process it is and in which function; the
 *   handler has looked that up, since only that thread may read the state.
 *
 * While all that run have run since the last look and nothing wants their place, the
 * looks become rarer, up to SLOW_TICKS: each costs the running thread more than one would
 * think, some 4 % of a computation here. Who queues a process or starts a timer then
 * wakes the tick thread (la_tick_wake), as whoever ends the host's idleness does.
 *
 * The handler is installed while any host of the program is in tick mode: the one piece of
 * process-wide state there is, as signals are process-wide. */
#include "sched/tick.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "sched/runq.h"

enum {
  TICK_NS = 1000000,
  EARLY_NS = 100000,
  BETWEEN_NS = 200000, /* between two looks, at least */
  IDLE_TICKS = 8,     /* quiet looks before the tick thread sleeps */
  SLOW_TICKS = 8,
  HAND_ON_TICKS = 10,
  ASK_TICKS = 90,
  PROBE_TICKS = 5,
  REPORT_TICKS = 100, /* from CLOSE_TICKS to this and PROBE_TICKS more each */
  CLOSE_TICKS = 80,   /* tick counts */
  PATIENCE_TICKS = 1000,
  MAX_HAND_ONS = 32   /* in one look */
};

/* ---- the handler -------------------------------------------------------------- */

static struct {
  pthread_mutex_t lock;
  int users;
  int number;
  struct sigaction old;
} handler = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Only names and lines, which need no allocation. */
static void look_where(la_thread_t *t, lua_State *L) {
  lua_Debug ar, caller;
  if (L == NULL || !lua_getstack(L, 0, &ar)) {
    return;
  }
  lua_getinfo(L, "nSl", &ar);
  if (ar.what[0] != 'C') {
    snprintf(t->where, sizeof t->where, "Lua code at %s:%d", ar.short_src,
             ar.currentline);
    return;
  }
  int level = 1;
  caller.currentline = 0;
  while (lua_getstack(L, level++, &caller)) {
    lua_getinfo(L, "Sl", &caller);
    if (caller.currentline > 0) {
      break;
    }
  }
  snprintf(t->where, sizeof t->where, "%s%s%s called at %s:%d",
           ar.name != NULL ? "C function '" : "a C function",
           ar.name != NULL ? ar.name : "", ar.name != NULL ? "'" : "",
           caller.currentline > 0 ? caller.short_src : "?",
           caller.currentline > 0 ? caller.currentline : 0);
}

static void on_tick(int number) {
  const int saved = errno;
  (void)number;
  la_thread_t *t = la_thread_self();
  if (t != NULL && t->exec != NULL) {
    la_exec_t *x = t->exec;
    if (!x->count_mode) {
      la_exec_arm(x);
    }
    atomic_store_explicit(&t->probed, true, memory_order_release);
    if (atomic_load_explicit(&t->ask, memory_order_acquire)) {
      look_where(t, x->running);
      atomic_store_explicit(&t->ask, false, memory_order_release);
    }
  }
  errno = saved;
}

static bool install(int number) {
  bool ok = true;
  pthread_mutex_lock(&handler.lock);
  if (handler.users == 0) {
    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_handler = on_tick;
    sa.sa_flags = SA_RESTART;
    sigemptyset(&sa.sa_mask);
    handler.number = number;
    ok = sigaction(number, &sa, &handler.old) == 0;
  } else {
    ok = handler.number == number;
  }
  handler.users += ok;
  pthread_mutex_unlock(&handler.lock);
  return ok;
}

static void uninstall(void) {
  pthread_mutex_lock(&handler.lock);
  if (--handler.users == 0) {
    sigaction(handler.number, &handler.old, NULL);
  }
  pthread_mutex_unlock(&handler.lock);
}

/* ---- looking at one thread -------------------------------------------------------- */

/* One look at all threads. */
typedef struct look {
  uint64_t now_ns;       /* by the system's clock */
  uint64_t host_ns;      /* by the host's, as timers are */
  uint64_t cycles;
  uint64_t slice_cycles; /* a slice of so many may be ended, */
  uint64_t early_cycles; /* of so many for what is urgent */
  uint64_t next_ns;      /* when a timer wants another look; UINT64_MAX: none */
  bool is_regular;       /* it is a tick, and no look in between */
  uint32_t ticks;        /* since the last regular one */
  bool is_calm;          /* nothing has changed, and nothing is wanted */
} look_t;

/* How long the present slice has lasted. The counters of two processors may differ a
 * little. */
static uint64_t age_of(const la_thread_t *t, const look_t *l) {
  const uint64_t from = atomic_load_explicit(&t->started, memory_order_relaxed);
  return from < l->cycles ? l->cycles - from : 0;
}

static bool is_wanted(const la_thread_t *t, const la_sched_t *s) {
  const la_slot_t *slot = atomic_load_explicit(&t->slot, memory_order_relaxed);
  if (slot != NULL && la_slot_has_signals(slot)) {
    return true;
  }
  return s != NULL &&
         (!la_runq_is_empty(s) || atomic_load(&s->thread) != t);
}

static bool is_wanted_soon(const la_sched_t *s, const look_t *l) {
  return s != NULL && (atomic_load(&s->nurgent) != 0 ||
                       atomic_load(&s->wheel.next_ns) <= l->host_ns);
}

/* Has the machine not let the thread run, rather than its process not let it go?
 * Then it wants to go on and has had less than 'ticks' of a processor. */
static bool is_starved(const la_thread_t *t, unsigned ticks) {
  const uint64_t used = la_os_thread_cpu_ns(&t->os) - t->seen_cpu_ns;
  return used < (uint64_t)ticks * TICK_NS * 3 / 4 &&
         la_os_thread_is_runnable(&t->os);
}

/* Is the process to blame? Not (for a second) when the handler has not run since it was
 * asked, or found Lua code that is about to be interrupted: then the machine has not let
 * the thread run. */
static bool is_to_blame(const la_host_t *host, const la_thread_t *t) {
  if (host->config.tick_signal == 0 || t->seen_ticks >= PATIENCE_TICKS) {
    return true;
  }
  return t->probed_tick != 0 && !atomic_load(&t->ask) &&
         t->where[0] != '\0' && strncmp(t->where, "Lua", 3) != 0;
}

static void report(la_host_t *host, la_thread_t *t) {
  char pid[48], name[128] = "";
  la_id_print(atomic_load(&t->pid), pid);
  la_names_of(&host->names, atomic_load(&t->pid), name, sizeof name);
  const bool known = t->where[0] != '\0' && !atomic_load(&t->ask);
  la_log(host, LUACTOR_LOG_WARN,
         "process %s%s%s%s has not let go of its thread for %d ms, in %s", pid,
         name[0] ? " (" : "", name, name[0] ? ")" : "", REPORT_TICKS,
         known ? t->where : "a C function");
}

/* First a signal that the handler only acknowledges: Lua code is interrupted by it and
 * is gone a moment later. Who is still there some looks after that is inside a C
 * function, and only then may the handler read the state: in the midst of Lua code it
 * could find the stack half moved. True: send the signal. */
static bool is_to_be_asked(la_thread_t *t) {
  if (t->seen_ticks == ASK_TICKS) {
    t->where[0] = '\0';
    t->probed_tick = 0;
    atomic_store(&t->probed, false);
    return true;
  }
  if (t->seen_ticks < ASK_TICKS || !atomic_load(&t->probed)) {
    return false;
  }
  if (t->probed_tick == 0) {
    t->probed_tick = t->seen_ticks;
  }
  if (t->seen_ticks != t->probed_tick + PROBE_TICKS) {
    return false;
  }
  atomic_store_explicit(&t->ask, true, memory_order_release);
  return true;
}

static void interrupt(const la_host_t *host, const la_thread_t *t) {
  if (host->config.tick_signal != 0) {
    pthread_kill(t->id, host->config.tick_signal);
  }
}

/* End the slice if something waits for its end. */
static void look_at_slice(la_host_t *host, la_thread_t *t, la_sched_t *s,
                          look_t *l) {
  const uint64_t age = age_of(t, l);
  const bool is_capped =
      atomic_load_explicit(&t->capped, memory_order_relaxed);
  if (is_wanted(t, s) || is_wanted_soon(s, l) || is_capped) {
    l->is_calm = false;
  }
  const bool is_long = age >= l->slice_cycles || t->seen_ticks > 0;
  const bool is_early = age >= l->early_cycles || t->seen_ticks > 0;
  if (s != NULL && s->index != UINT32_MAX) {
    const uint64_t next = atomic_load(&s->wheel.next_ns);
    if (next < l->next_ns && !host->env.is_own &&
        (is_early || next <= l->host_ns)) {
      l->next_ns = next;
    }
  }
  if (!is_early || (t->interrupted && !l->is_regular)) {
    return;
  }
  if (host->config.preempt == LUACTOR_PREEMPT_TICK &&
      (is_wanted_soon(s, l) || (is_long && (is_capped || is_wanted(t, s))))) {
    t->interrupted = true;
    interrupt(host, t);
  }
  if (s != NULL && atomic_load(&host->idle) != 0 && la_runq_release_next(s)) {
    la_sched_wake_idle(host);
  }
}

/* True: its scheduler should go to another thread. *late: it must be
 * reported. */
static bool look_at_thread(la_host_t *host, la_thread_t *t, look_t *l,
                           bool *late) {
  const uint32_t slice = atomic_load_explicit(&t->slice, memory_order_acquire);
  la_sched_t *s = atomic_load(&t->assigned);
  if (slice != t->seen_slice) {
    t->seen_slice = slice;
    t->seen_ticks = 0;
    t->interrupted = t->handed_on = t->reported = false;
    l->is_calm = false;
  } else if (l->is_regular && (slice & 1) != 0) {
    if (t->seen_ticks == 0) {
      t->seen_cpu_ns = la_os_thread_cpu_ns(&t->os);
    }
    t->seen_ticks += l->ticks;
    if (t->seen_ticks >= CLOSE_TICKS &&
        t->seen_ticks <= REPORT_TICKS + PROBE_TICKS) {
      l->is_calm = false;
    }
  }
  if ((slice & 1) == 0) {
    return false;
  }
  look_at_slice(host, t, s, l);
  if (!l->is_regular || t->seen_ticks == 0) {
    return false;
  }
  if (is_to_be_asked(t)) {
    interrupt(host, t);
  }
  if (s == NULL || s->index == UINT32_MAX) {
    return false; /* a thread of its own may be held as long as it likes */
  }
  if (t->seen_ticks >= REPORT_TICKS && !t->reported &&
      is_to_blame(host, t) && !is_starved(t, REPORT_TICKS)) {
    t->reported = true;
    *late = true;
  }
  return (is_wanted(t, s) || is_wanted_soon(s, l)) && !t->handed_on &&
         t->seen_ticks >= HAND_ON_TICKS && atomic_load(&s->thread) == t &&
         !is_starved(t, HAND_ON_TICKS);
}

/* ---- the thread --------------------------------------------------------------------- */

/* Look at all threads; true when any runs something. */
static bool look_round(la_host_t *host, look_t *l) {
  la_sched_t *hand_on[MAX_HAND_ONS];
  la_thread_t *late[MAX_HAND_ONS];
  unsigned n = 0, nlate = 0;
  bool busy = false;
  la_lock(&host->lock);
  for (la_thread_t *t = host->threads; t != NULL; t = t->next) {
    busy |= (atomic_load(&t->slice) & 1) != 0;
    bool is_late = false;
    if (look_at_thread(host, t, l, &is_late) && n < MAX_HAND_ONS) {
      t->handed_on = true;
      hand_on[n++] = atomic_load(&t->assigned);
    }
    if (is_late && nlate < MAX_HAND_ONS) {
      late[nlate++] = t; /* threads live until this one has ended */
    }
  }
  la_unlock(&host->lock);
  for (unsigned i = 0; i < nlate; i++) {
    report(host, late[i]);
  }
  if (atomic_exchange(&host->owes, false)) {
    l->is_calm = false;
    host->pay(host, true);
  }
  for (unsigned i = 0; i < n; i++) {
    la_thread_give(host, hand_on[i]); /* no thread: try again next time */
  }
  return busy;
}

/* Is somebody queued or owed, or a timer due before *until_ns? Then that is the time. */
static bool is_anything_wanted(la_host_t *host, uint64_t *until_ns) {
  if (atomic_load(&host->owes)) {
    return true;
  }
  for (uint32_t i = 0; i < host->nscheds; i++) {
    if (!la_runq_is_empty(host->scheds[i])) {
      return true;
    }
    const uint64_t next = atomic_load(&host->scheds[i]->wheel.next_ns);
    *until_ns = next < *until_ns && !host->env.is_own ? next : *until_ns;
  }
  return false;
}

/* Sleep until 'until_ns', which is far, or until la_tick_wake. */
static void wait_slowly_locked(la_host_t *host, uint64_t until_ns)
    LA_REQUIRES(host->tick_lock) {
  atomic_store(&host->tick_sleeps, true);
  /* Who queues a process looks at tick_sleeps afterwards: one of us sees the other. */
  if (!is_anything_wanted(host, &until_ns)) {
    while (atomic_load(&host->tick_sleeps) && !host->tick_leave &&
           la_cond_wait(&host->tick_cond, &host->tick_lock, until_ns)) {
    }
  }
  atomic_store(&host->tick_sleeps, false);
}

typedef enum { LA_PACE_TICK, LA_PACE_SLOW, LA_PACE_QUIET } la_pace_t;

/* Sleep until 'until_ns'; slowly, or when it is quiet until there is work and a
 * tick longer. False: leave. */
static bool wait_tick(la_host_t *host, la_pace_t pace, uint64_t until_ns) {
  la_lock(&host->tick_lock);
  if (pace == LA_PACE_SLOW && !host->tick_leave) {
    wait_slowly_locked(host, until_ns);
    until_ns = 0;
  }
  if (pace == LA_PACE_QUIET && !host->tick_leave) {
    atomic_store(&host->tick_sleeps, true);
    /* Busy is counted before tick_sleeps is read: one of the two sees the other. */
    la_unlock(&host->tick_lock);
    la_lock(&host->idle_lock);
    const bool idle = host->nbusy == 0;
    la_unlock(&host->idle_lock);
    la_lock(&host->tick_lock);
    while (idle && atomic_load(&host->tick_sleeps) && !host->tick_leave) {
      la_cond_wait(&host->tick_cond, &host->tick_lock, UINT64_MAX);
    }
    atomic_store(&host->tick_sleeps, false);
    until_ns = la_clock_ns() + TICK_NS;
  }
  if (!host->tick_leave && until_ns != 0) {
    la_cond_wait(&host->tick_cond, &host->tick_lock, until_ns);
  }
  const bool stay = !host->tick_leave;
  la_unlock(&host->tick_lock);
  return stay;
}

void la_tick_wake_now(la_host_t *host) {
  la_lock(&host->tick_lock);
  atomic_store(&host->tick_sleeps, false);
  pthread_cond_signal(&host->tick_cond);
  la_unlock(&host->tick_lock);
}

/* The tick thread's clocks. */
typedef struct clocks {
  uint64_t now_ns, cycles;   /* of the last look */
  uint64_t last_ns, tick_ns; /* of the last tick, and when the next one is due */
  uint32_t step;             /* ticks between the two */
  double cycles_per_ns;      /* 0: not known yet */
} clocks_t;

static void read_clocks(la_host_t *host, clocks_t *c, look_t *l) {
  *l = (look_t){.now_ns = la_clock_ns(),
                .cycles = la_cycles(),
                .slice_cycles = UINT64_MAX,
                .early_cycles = UINT64_MAX,
                .next_ns = UINT64_MAX};
  if (c->cycles != 0 && l->now_ns > c->now_ns) {
    c->cycles_per_ns =
        (double)(l->cycles - c->cycles) / (double)(l->now_ns - c->now_ns);
  }
  if (c->cycles_per_ns > 0) {
    l->slice_cycles = (uint64_t)(c->cycles_per_ns * TICK_NS / 2);
    l->early_cycles = (uint64_t)(c->cycles_per_ns * EARLY_NS);
  }
  l->host_ns = host->env.is_own ? la_now(&host->env) : l->now_ns;
  c->now_ns = l->now_ns;
  c->cycles = l->cycles;
  l->is_calm = true;
  if (c->step > 1 && l->now_ns < c->tick_ns) { /* woken: be quick again */
    const uint64_t passed = (l->now_ns - c->last_ns) / TICK_NS;
    c->step = passed > 1 ? (uint32_t)passed : 1;
    c->tick_ns = c->last_ns + c->step * TICK_NS;
  }
  l->is_regular = l->now_ns >= c->tick_ns;
}

/* When the next tick is due, after a look. */
static void set_step(clocks_t *c, const look_t *l, bool busy) {
  if (!l->is_regular) {
    return;
  }
  c->step = !busy || !l->is_calm ? 1
            : c->step < SLOW_TICKS ? 2 * c->step
                                   : SLOW_TICKS;
  c->last_ns = c->tick_ns;
  if (c->last_ns + c->step * TICK_NS <= l->now_ns) {
    c->last_ns = l->now_ns; /* one that was missed is left out */
  }
  c->tick_ns = c->last_ns + c->step * TICK_NS;
}

/* When to look again: at a timer, but not too often. */
static uint64_t next_look(const clocks_t *c, const look_t *l) {
  uint64_t at = l->next_ns;
  if (at < l->now_ns + BETWEEN_NS) {
    at = l->now_ns + BETWEEN_NS;
  }
  return at < c->tick_ns ? at : c->tick_ns;
}

static void *tick_main(void *arg) {
  la_host_t *host = arg;
  la_here_t nobody;
  la_here_enter(&host->env, &nobody);
  int quiet = 0;
  clocks_t clocks = {.step = 1};
  look_t l = {0};
  uint64_t until_ns = la_clock_ns();
  la_pace_t pace = LA_PACE_TICK;
  while (wait_tick(host, pace, until_ns)) {
    read_clocks(host, &clocks, &l);
    if (l.is_regular) {
      l.ticks = clocks.step;
      atomic_fetch_add_explicit(&host->ticks, 1, memory_order_relaxed);
    }
    const bool busy = look_round(host, &l);
    set_step(&clocks, &l, busy);
    quiet = busy ? 0 : quiet + 1;
    until_ns = next_look(&clocks, &l);
    pace = quiet >= IDLE_TICKS ? LA_PACE_QUIET
           : clocks.step > 1   ? LA_PACE_SLOW
                               : LA_PACE_TICK;
  }
  return NULL;
}

bool la_tick_start(la_host_t *host) {
  if (host->config.tick_signal != 0 && !install(host->config.tick_signal)) {
    return false;
  }
  if (pthread_create(&host->tick_thread, NULL, tick_main, host) != 0) {
    if (host->config.tick_signal != 0) {
      uninstall();
    }
    return false;
  }
  host->has_tick_thread = true;
  host->has_tick_handler = host->config.tick_signal != 0;
  return true;
}

void la_tick_stop(la_host_t *host) {
  if (!host->has_tick_thread) {
    return;
  }
  la_lock(&host->tick_lock);
  host->tick_leave = true;
  pthread_cond_signal(&host->tick_cond);
  la_unlock(&host->tick_lock);
  pthread_join(host->tick_thread, NULL);
  host->has_tick_thread = false;
}

void la_tick_interrupt(const la_host_t *host, const la_thread_t *t) {
  if (host->has_tick_handler &&
      host->config.preempt == LUACTOR_PREEMPT_TICK) {
    interrupt(host, t);
  }
}

void la_tick_give_back(la_host_t *host) {
  if (host->has_tick_handler) {
    host->has_tick_handler = false;
    uninstall();
  }
}

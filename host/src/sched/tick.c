/* One thread for each host that looks at all scheduler threads once a millisecond
 * while any of them runs something, and sleeps when none does.
 *
 * For a process that has run since the last look or longer:
 * - when something else wants its scheduler, or a signal waits for it, the thread gets
 *   the tick signal (tick mode): the handler, on that very thread, arms the one-shot
 *   hook of the running coroutine (rule 9). A signal costs some 20 us here, so it is
 *   sent only then;
 * - when it still has not let go after HAND_ON_TICKS, it is in a C call (or in Lua
 *   code that cannot yield): its scheduler goes to a spare thread (rule 12);
 * - after REPORT_TICKS the log says which process it is and in which function; the
 *   handler has looked that up, since only that thread may read the state.
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
  IDLE_TICKS = 8,     /* quiet looks before the tick thread sleeps */
  HAND_ON_TICKS = 10,
  ASK_TICKS = 90,
  PROBE_TICKS = 5,
  REPORT_TICKS = 100,
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

static bool is_wanted(const la_thread_t *t, la_sched_t *s, uint64_t now) {
  const la_slot_t *slot = atomic_load_explicit(&t->slot, memory_order_relaxed);
  if (slot != NULL && la_slot_has_signals(slot)) {
    return true;
  }
  return s != NULL && (atomic_load(&s->nqueued) != 0 ||
                       atomic_load(&s->wheel.next_ns) <= now);
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

/* True: its scheduler should go to another thread. *late: it must be
 * reported. */
static bool look(la_host_t *host, la_thread_t *t, uint64_t now, bool *late) {
  const uint32_t slice = atomic_load_explicit(&t->slice, memory_order_acquire);
  if (slice != t->seen_slice || (slice & 1) == 0) {
    t->seen_slice = slice;
    t->seen_ticks = 0;
    t->handed_on = t->reported = false;
    return false;
  }
  t->seen_ticks++;
  la_sched_t *s = atomic_load(&t->assigned);
  const bool wanted = is_wanted(t, s, now);
  const bool ask = is_to_be_asked(t);
  const bool ticking = host->config.preempt == LUACTOR_PREEMPT_TICK;
  if (host->config.tick_signal != 0 && ((wanted && ticking) || ask)) {
    pthread_kill(t->id, host->config.tick_signal);
  }
  if (s == NULL || s->index == UINT32_MAX) {
    return false; /* a thread of its own may be held as long as it likes */
  }
  if (t->seen_ticks >= REPORT_TICKS && !t->reported && is_to_blame(host, t)) {
    t->reported = true;
    *late = true;
  }
  if (atomic_load(&host->idle) != 0 && la_runq_release_next(s)) {
    la_sched_wake_idle(host);
  }
  return wanted && !t->handed_on && t->seen_ticks >= HAND_ON_TICKS &&
         atomic_load(&s->thread) == t;
}

/* ---- the thread --------------------------------------------------------------------- */

/* Look at all threads; true when any runs something. */
static bool look_round(la_host_t *host) {
  la_sched_t *hand_on[MAX_HAND_ONS];
  la_thread_t *late[MAX_HAND_ONS];
  unsigned n = 0, nlate = 0;
  bool busy = false;
  const uint64_t now = la_now(&host->env);
  la_lock(&host->lock);
  for (la_thread_t *t = host->threads; t != NULL; t = t->next) {
    busy |= (atomic_load(&t->slice) & 1) != 0;
    bool is_late = false;
    if (look(host, t, now, &is_late) && n < MAX_HAND_ONS) {
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
  for (unsigned i = 0; i < n; i++) {
    la_thread_give(host, hand_on[i]); /* no thread: try again next time */
  }
  return busy;
}

/* Sleep for a tick, or until there is work when 'quiet'. False: leave. */
static bool wait_tick(la_host_t *host, bool quiet) {
  la_lock(&host->tick_lock);
  if (quiet && !host->tick_leave) {
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
  }
  if (!host->tick_leave) {
    la_cond_wait(&host->tick_cond, &host->tick_lock,
                 la_now(&host->env) + TICK_NS);
  }
  const bool stay = !host->tick_leave;
  la_unlock(&host->tick_lock);
  return stay;
}

void la_tick_wake(la_host_t *host) {
  if (atomic_load(&host->tick_sleeps)) {
    la_lock(&host->tick_lock);
    atomic_store(&host->tick_sleeps, false);
    pthread_cond_signal(&host->tick_cond);
    la_unlock(&host->tick_lock);
  }
}

static void *tick_main(void *arg) {
  la_host_t *host = arg;
  int quiet = 0;
  while (wait_tick(host, quiet >= IDLE_TICKS)) {
    quiet = look_round(host) ? 0 : quiet + 1;
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
  if (host->config.tick_signal != 0) {
    uninstall();
  }
}

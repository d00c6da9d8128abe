/* luactor.h: a host that runs in the embedder's own loop.
 *
 * There is no second scheduler: a stepped host is a host with one la_thread_t that no
 * system thread belongs to. Whoever calls luactor_step is that thread for so long
 * (la_thread_enter), serves the first scheduler, and lies down as any other thread
 * does when there is nothing to run. What wakes a sleeping thread then rings the alarm
 * that the loop polls. All the rest (queues, wheels, who counts as busy) is as in a host
 * with threads.
 *
 * Before the first step or luactor_start nothing is decided: what is spawned and sent
 * until then waits at the first scheduler in both cases. */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/alarm.h"
#include "embed/step.h"
#include "luactor.h"
#include "sched/sched.h"

#define DRIVE_US 10000 /* a step of a waiting function */
#define ASK_MS 1       /* how often it looks at a clock that is not the system's */

/* ---- becoming a stepped host ------------------------------------------------------ */

static la_thread_t *new_inlined(la_host_t *host) {
  la_thread_t *t = la_thread_new(host);
  if (t == NULL) {
    return NULL;
  }
  t->alarm = la_alarm_open();
  if (t->alarm < 0) {
    la_thread_free(t);
    return NULL;
  }
  la_alarm_set(t->alarm, 0);
  return t;
}

static void free_inlined(la_thread_t *t) {
  la_alarm_close(t->alarm);
  la_thread_free(t);
}

/* Under no lock: two threads may try, one wins. */
static int become_stepped(la_host_t *host) {
  if (atomic_load(&host->inlined) != NULL) {
    return 0;
  }
  LA_WORK_FOR(host);
  la_thread_t *t = new_inlined(host);
  if (t == NULL) {
    return LUACTOR_ENOMEM;
  }
  int code = 0;
  la_lock(&host->lock);
  if (atomic_load(&host->inlined) != NULL) {
    code = 0;
  } else if (host->started) {
    code = LUACTOR_EBUSY;
  } else if (atomic_load(&host->halting)) {
    code = LUACTOR_ECLOSED;
  } else {
    host->started = true;
    /* There is nobody who would send a signal. */
    host->config.preempt = LUACTOR_PREEMPT_COUNT;
    la_sched_t *s = host->scheds[0];
    atomic_store(&t->assigned, s);
    atomic_store(&s->thread, t);
    atomic_store(&host->inlined, t);
    la_host_busy(host);
    t = NULL;
  }
  la_unlock(&host->lock);
  if (t != NULL) {
    free_inlined(t);
  }
  return code;
}

static bool is_stepper_locked(const la_host_t *host) {
  return host->bound && pthread_equal(host->stepper, pthread_self());
}

/* ---- stepping --------------------------------------------------------------------------- */

/* The first to come is the host's thread from then on. */
static int begin_step(la_host_t *host) {
  int code = 0;
  la_lock(&host->lock);
  if (!host->bound) {
    host->bound = true;
    host->stepper = pthread_self();
  }
  if (!is_stepper_locked(host)) {
    code = LUACTOR_ECALLER;
  } else {
    host->stepping = true;
  }
  la_unlock(&host->lock);
  return code;
}

static bool end_step(la_host_t *host) {
  la_lock(&host->lock);
  const bool done = host->done;
  host->stepping = false;
  if (atomic_load(&host->halting)) {
    pthread_cond_broadcast(&host->changed); /* la_step_join */
  }
  la_unlock(&host->lock);
  return done;
}

static int step(la_host_t *host, int64_t max_us) {
  int code = become_stepped(host);
  if (code == 0) {
    code = begin_step(host);
  }
  if (code != 0) {
    return code;
  }
  const uint64_t span_ns = max_us < 0 ? UINT64_MAX
                           : max_us > INT64_MAX / 1000
                               ? UINT64_MAX
                               : (uint64_t)max_us * 1000;
  la_thread_t *t = atomic_load(&host->inlined);
  la_visit_t before;
  la_thread_enter(t, &before);
  const bool more = la_thread_step(t, host->scheds[0], span_ns);
  la_thread_leave(&before);
  return end_step(host) ? LUACTOR_STEP_DONE
         : more         ? LUACTOR_STEP_READY
                        : LUACTOR_STEP_IDLE;
}

int luactor_step(luactor_host *host, int64_t max_us) {
  return host == NULL                   ? LUACTOR_EINVAL
         : la_here_is_in(&host->env) ? LUACTOR_ECALLER
                                     : step(host, max_us);
}

int luactor_fd(luactor_host *host) {
  if (host == NULL) {
    return LUACTOR_EINVAL;
  }
  const int code = become_stepped(host);
  return code == 0 ? atomic_load(&host->inlined)->alarm : code;
}

/* Is its bit set? Then whoever has something for it takes the bit. */
static bool has_lain_down(const la_host_t *host) {
  return (atomic_load(&host->idle) & 1) != 0;
}

int64_t luactor_next_deadline(luactor_host *host) {
  if (host == NULL) {
    return LUACTOR_EINVAL;
  }
  if (atomic_load(&host->halting)) {
    return -1;
  }
  if (atomic_load(&host->inlined) == NULL) {
    la_lock(&host->lock);
    const bool started = host->started && atomic_load(&host->inlined) == NULL;
    la_unlock(&host->lock);
    return started ? LUACTOR_EBUSY : 0;
  }
  if (!has_lain_down(host)) {
    return 0;
  }
  la_wheel_t *w = &host->scheds[0]->wheel;
  if (atomic_load(&w->next_ns) != UINT64_MAX) {
    la_sched_prune(w); /* of timeouts that are out */
  }
  const uint64_t next = atomic_load(&w->next_ns), now = la_now(&host->env);
  if (next == UINT64_MAX) {
    return -1;
  }
  return next <= now ? 0 : (int64_t)((next - now + 999) / 1000);
}

/* ---- waiting -------------------------------------------------------------------------------- */

static int wait_ms(const la_host_t *host, uint64_t deadline_ns) {
  const bool has_timer =
      atomic_load(&host->scheds[0]->wheel.next_ns) != UINT64_MAX;
  if (host->env.is_own && has_timer) {
    return ASK_MS;
  }
  if (deadline_ns == UINT64_MAX) {
    return -1;
  }
  const uint64_t now = la_clock_ns();
  const uint64_t ms =
      deadline_ns > now ? (deadline_ns - now + 999999) / 1000000 : 0;
  return ms < INT32_MAX ? (int)ms : INT32_MAX;
}

/* Sleep if there is nothing to do, then a step. */
static void drive(la_host_t *host, uint64_t deadline_ns) {
  if (has_lain_down(host) || atomic_load(&host->halting)) {
    struct pollfd p = {.fd = atomic_load(&host->inlined)->alarm,
                       .events = POLLIN};
    poll(&p, 1, wait_ms(host, deadline_ns));
  }
  step(host, DRIVE_US);
}

bool la_step_wait(la_host_t *host, uint64_t deadline_ns) {
  if (!is_stepper_locked(host)) {
    return la_cond_wait(&host->changed, &host->lock, deadline_ns);
  }
  const bool in_time = la_clock_ns() < deadline_ns;
  if (in_time) {
    la_unlock(&host->lock);
    drive(host, deadline_ns);
    la_lock(&host->lock);
  }
  return in_time;
}

bool la_step_is_here(la_host_t *host) {
  la_lock(&host->lock);
  const bool is_here = is_stepper_locked(host);
  la_unlock(&host->lock);
  return is_here;
}

void la_step_meanwhile(la_host_t *host) {
  drive(host, la_clock_ns() + ASK_MS * UINT64_C(1000000));
}

bool la_step_join(la_host_t *host, uint64_t deadline_ns) {
  bool in_time = true;
  la_lock(&host->lock);
  while (host->stepping && in_time) {
    in_time = la_cond_wait(&host->changed, &host->lock, deadline_ns);
  }
  const bool gone = !host->stepping;
  la_unlock(&host->lock);
  return gone;
}

void la_step_fini(la_host_t *host) {
  la_thread_t *t = atomic_exchange(&host->inlined, NULL);
  if (t != NULL) {
    free_inlined(t);
  }
}

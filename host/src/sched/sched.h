/* Schedulers and their threads.
 *
 * A scheduler (la_sched_t) is a run queue and a timer wheel; a thread
 * (la_thread_t) runs processes for one scheduler at a time. The two are apart so that a C
 * call that does not return holds a thread and not a scheduler: the tick
 * thread gives the scheduler to a spare thread (rule 12) and the old one, when it comes back,
 * finds that it has none and becomes a spare itself. All of a scheduler is under
 * locks or atomic, so that for a moment two threads may serve it.
 *
 * docs/internals/scheduler.md tells the whole story. */
#ifndef LA_SCHED_H
#define LA_SCHED_H

#include "proc/host.h"
#include "proc/timer.h"

typedef struct la_runq { /* under its lock */
  la_lock_t lock;
  la_proc_t *head[LA_NPRIO], *tail[LA_NPRIO];
  uint32_t low_passed;    /* how often low priority was passed over */
  la_proc_t *pinned_head, *pinned_tail; /* may not be stolen */
} la_runq_t;

/* Whose turn it is while both the queue and 'next' have somebody; see runq.c. */
typedef struct la_turn {
  bool is_queues;
  uint32_t since; /* by the turn's clock */
} la_turn_t;

struct la_sched {
  uint32_t index;      /* UINT32_MAX: a process's own */
  la_host_t *host;
  la_runq_t q;
  alignas(64) _Atomic(la_proc_t *) next; /* woken by who ran here: goes before
                                          * the queue; see runq.c */
  _Atomic uint32_t nqueued;    /* processes in q */
  _Atomic uint32_t nstealable; /* those that are not pinned */
  _Atomic uint32_t nurgent;    /* those of better than normal priority */
  _Atomic(la_thread_t *) thread;        /* who serves it now */
  bool is_dead;        /* a process's own: the process has ended */
  la_wheel_t wheel;
};

struct la_thread {
  la_host_t *host;
  la_thread_t *next;        /* all threads; host->lock */
  la_thread_t *next_spare;  /* host->lock */
  pthread_t id;
  la_os_thread_t os;        /* written before it first runs a process */
  la_scratch_t *scratch;
  la_blocks_t blocks;
  la_pool_cache_t pooled;   /* see la_host_pool_cache */
  uint32_t steal_seed;
  uint64_t next_number;     /* see la_new_number */
  uint32_t numbers_left;
  uint32_t number;          /* from 1, in the order of creation */
  la_turn_t turn;
  uint32_t behind;          /* see la_sched_slow_down: sum of this slice */
  uint32_t nruns;           /* count mode: the clock of 'turn' */
  uint64_t cycles;          /* la_cycles when the last slice ended, */
  uint64_t timers_cycles;   /* and when the wheel was last looked at */
  la_caps_t caps;           /* see la_host_caps */

  /* Written by this thread; read by the tick thread. */
  alignas(64) _Atomic uint32_t slice;  /* odd while a process runs */
  _Atomic uint64_t started;            /* la_cycles when the slice began */
  _Atomic la_pid_t pid;                /* that process */
  _Atomic(la_slot_t *) slot;
  _Atomic bool capped;                 /* its group may not run for ever, though
                                        * nobody waits */
  la_exec_t *volatile exec; /* for the signal handler on this thread */

  /* Sleeping and being woken. */
  la_lock_t park_lock;
  pthread_cond_t park_cond;
  bool token;               /* under park_lock */
  _Atomic(la_sched_t *) assigned; /* NULL: a spare; set by others only then,
                                   * under park_lock */
  bool is_down;             /* it has lain down, and gone (la_thread_step) */
  uint64_t alarm_ns;        /* under park_lock: what the alarm was last set to */
  int alarm;                /* of one that is stepped: rung with the token; else -1 */
  bool is_idle;             /* under host->idle_lock: serves a process's own
                             * scheduler and is not counted in nbusy */
  bool leave;               /* under park_lock */
  bool gone;                /* under park_lock: about to return */
  enum { LA_NOT_JOINED, LA_JOINED, LA_LATE } join; /* la_sched_join alone */

  /* The tick thread's own notes. */
  uint32_t seen_slice;
  uint32_t seen_ticks;
  uint32_t probed_tick; /* the look that saw 'probed'; 0: none */
  uint64_t seen_cpu_ns; /* the thread's, at the first tick of the slice */
  bool interrupted;     /* in this slice */
  bool handed_on;
  bool reported;

  /* Where the process is, written by the signal handler when 'ask' is set and
   * then cleared; read by the tick thread. */
  _Atomic bool probed; /* the handler has run since the probe */
  _Atomic bool ask;
  char where[192];
};

/* The scheduler thread that runs the caller, or NULL for other threads. */
la_thread_t *la_thread_self(void);

/* What the calling thread was before it became another. */
typedef struct la_visit {
  la_here_t here;
  la_thread_t *thread;
  la_blocks_t *blocks;
} la_visit_t;

/* The calling thread is 't' until la_thread_leave; it may have been another host's. */
void la_thread_enter(la_thread_t *t, la_visit_t *before);
void la_thread_leave(const la_visit_t *before);
/* A thread that is not started, for one that calls from outside. NULL: memory. */
la_thread_t *la_thread_new(la_host_t *host);
void la_thread_free(la_thread_t *t);
/* Run what there is until the host ends or the scheduler is given to another thread. */
void la_thread_serve(la_thread_t *t, la_sched_t *s);
/* Give the thread a token: it leaves its sleep, now or when it next lies down. */
void la_thread_unpark(la_thread_t *t);

/* The same for a thread that comes and goes (step.c): run what there is for 'span_ns'.
 * True: there may be more; false: it has lain down, and rises when it comes again. What
 * lies down is woken by its alarm. */
bool la_thread_step(la_thread_t *t, la_sched_t *s, uint64_t span_ns);

/* Make nscheds schedulers. False: memory. */
bool la_sched_init(la_host_t *host);
void la_sched_fini(la_host_t *host);
/* Start and end the threads. [host] */
int la_sched_start(la_host_t *host);
/* Give a scheduler to a spare or new thread; NULL: no thread could be had. */
la_thread_t *la_thread_give(la_host_t *host, la_sched_t *s);
/* Tell all threads to leave after their slices and wait for them, at most until
 * 'deadline_ns'. False when some C call did not return. */
bool la_sched_join(la_host_t *host, uint64_t deadline_ns);
/* Wake every thread, to look at host->halting. [any] */
void la_sched_wake_all(la_host_t *host);

/* Wake one sleeping thread, if any, to steal. [any] */
void la_sched_wake_idle(la_host_t *host);

/* The host is done or stuck, and its loop, if it has one, may not have seen it. [any] */
void la_sched_tell_loop(la_host_t *host);

/* Something outside may still wake a process: the host is not stuck. */
void la_host_busy(la_host_t *host);
void la_host_idle(la_host_t *host);

#endif

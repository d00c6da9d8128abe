/* The host: everything that its processes and schedulers share. Several hosts
 * live in one program; nothing is process-wide (rule 1). */
#ifndef LA_HOST_H
#define LA_HOST_H

#include <stdatomic.h>

#include "base/env.h"
#include "base/lock.h"
#include "luactor.h"
#include "mem/block.h"
#include "mem/image.h"
#include "proc/group.h"
#include "proc/log.h"
#include "proc/names.h"
#include "proc/pidtab.h"
#include "proc/proc.h"

typedef struct la_thread la_thread_t;
typedef struct la_watch la_watch_t;
typedef struct la_cbox la_cbox_t;
typedef struct la_gate la_gate_t;
typedef struct la_pure la_pure_t;
typedef struct la_dist la_dist_t;
typedef struct la_chunk la_chunk_t;

/* Who wants to hear of nodes that come and go (dist/nodewatch.c). */
typedef struct la_nodewatch la_nodewatch_t;
typedef struct la_nodewatches {
  la_lock_t lock;
  la_nodewatch_t *list;
} la_nodewatches_t;

/* The values of host->image_state, in this order. */
enum {
  LA_IMAGE_FIRST,  /* no process has needed a state yet */
  LA_IMAGE_WANTED, /* one has: the next makes the image */
  LA_IMAGE_MAKING, /* others meanwhile build their states without it */
  LA_IMAGE_MADE,
  LA_IMAGE_NONE,   /* refused or switched off */
};

/* All crews there have been, and those for new pools (proc/crew.h). */
typedef struct la_crews {
  la_lock_t lock;
  la_crew_t *all;
  la_crew_t *free;
} la_crews_t;

/* A C module of the embedder. */
typedef struct la_module {
  struct la_module *next;
  lua_CFunction open;
  char name[];
} la_module_t;

/* All C mailboxes there have been, and those for new ones (proc/cbox.h). */
typedef struct la_cboxes {
  la_lock_t lock;
  la_cbox_t *all;
  la_cbox_t *free;
} la_cboxes_t;

struct luactor_host {
  /* Fixed when the host is opened. */
  luactor_config config; /* strings are the host's own copies */
  la_env_t env;
  uint64_t nonce; /* no other host has it */
  bool direct; /* Lua's tables may be looked at in place (term/layout.h) */
  uint32_t nscheds; /* that there are; see nserved */
  la_sched_t **scheds;

  /* Any thread, atomically or by their own locks. */
  la_pools_t pools;
  la_pool_t *shells;         /* for process structures */
  la_blobs_t blobs;          /* recent large strings */
  la_codes_t codes;          /* functions that are spawned often */
  _Atomic(la_pure_t *) pure; /* modules declared to be so: lib_template.c */
  la_pidtab_t pids;
  la_names_t names;
  la_crews_t crews;          /* the queues of pools */
  la_groups_t groups;
  la_nodewatches_t node_watches;
  la_cboxes_t cboxes;
  la_gate_t *gate;           /* fixed */
  la_depot_t depot;          /* message blocks between the threads */
  la_log_t log;
  _Atomic(struct la_policy *) policy; /* what other nodes may do; or NULL */
  _Atomic(la_dist_t *) dist; /* NULL: no node. Stays when the node is left */
  alignas(64) _Atomic uint64_t next_number; /* see la_new_number */
  _Atomic bool halting;      /* schedulers leave after the running slice */
  _Atomic bool stopping;     /* an orderly stop has begun */
  _Atomic bool halted;       /* by actor.halt and the like, */
  _Atomic int status;        /* with this status, written before */
  _Atomic uint32_t nvisitors; /* threads reading a line: the host may not be
                               * freed under them */
  _Atomic uint32_t nguests;   /* see LA_ENTER */
  _Atomic uint32_t nroots;   /* live processes without a parent */
  _Atomic bool had_first;    /* the first process has been spawned */
  _Atomic uint64_t idle;     /* bit i: scheduler i sleeps or is about to */
  _Atomic uint32_t next_home;
  _Atomic uint32_t nserved;  /* schedulers that are served by threads: the first one
                              * alone before the host is started, and when it is
                              * stepped */
  /* Something is to be written to other nodes by who ends the slice of a
   * process next, through 'pay', or by the tick thread. */
  _Atomic bool owes;
  void (*pay)(la_host_t *host, bool by_tick);
  _Atomic bool tick_sleeps;  /* the tick thread waits to be told of work */
  _Atomic uint32_t ticks;    /* looks of the tick thread, about one a ms */

  /* Under 'idle_lock': how many threads may still make something happen. */
  alignas(64) la_lock_t idle_lock;
  uint32_t nbusy;
  bool stuck;

  /* Under 'lock'. */
  la_lock_t lock;
  pthread_cond_t changed;    /* an event, a process ended while stopping */
  bool started;              /* by luactor_start, or it is stepped */
  bool bound;                /* stepped: by the thread 'stepper' alone */
  bool stepping;             /* now */
  pthread_t stepper;
  bool done;                 /* no process is left or the host was halted */
  bool joining, joined;      /* the threads are being waited for; have ended */
  _Atomic(la_thread_t *) inlined; /* the one that is stepped, or NULL; set once */
  la_thread_t *threads;      /* all others, until the host stops */
  la_thread_t *spares;       /* those without a scheduler */
  uint32_t nthreads;
  la_map_t watches;          /* pid -> la_watch_t: embed/wait.c */
  pthread_t tick_thread;
  bool has_tick_thread;
  bool has_tick_handler;     /* the signal is ours */

  /* The tick thread's sleep. */
  la_lock_t tick_lock;
  pthread_cond_t tick_cond;
  bool tick_leave;           /* under tick_lock */

  /* What the libraries of all states are made of (lib/lib_start.c); fixed. */
  struct la_std *std;

  /* Lua's library, shown to C modules (lib/lib_clib.c): under 'lock'. */
  void *lua_library;
  _Atomic bool has_looked; /* whether that is needed */

  /* Bytecode of the embedded modules, compiled once (lib/lib_embed.c). */
  void *modules;
  /* Modules that the embedder has added (lib/lib_embed.c); only ever grows. */
  _Atomic(la_module_t *) added;

  /* The template of all processes (lib/lib_start.c): 'image' is written once, by
   * the thread that turned image_state to MAKING, before it says MADE. */
  /* Lua files, compiled (lib/lib_chunk.c). */
  la_lock_t chunks_lock;    /* guards the next three */
  la_chunk_t *chunks;
  uint32_t nchunks;
  size_t chunk_bytes;

  la_lock_t templates_lock; /* guards the next three while one is built */
  uint32_t ntemplates, ndenied;
  uintptr_t *denied;        /* C functions that no template may call, sorted */
  _Atomic int image_state;
  la_image_t *image;
  _Atomic uint32_t stack_at; /* offset of a clone's stack in its block, or 0 */
  la_exec_t template_exec; /* the template's; clones adopt it */
};

/* A function of luactor.h that neither waits nor is called by the host's own threads
 * alone works for the host, with its memory, to the end of the block it says this in. The
 * host's threads are not freed meanwhile: what it wakes is there. */
typedef struct la_guest {
  la_here_t before;
  la_host_t *host;
} la_guest_t;

static inline void la_guest_enter(la_guest_t *g, la_host_t *host) {
  g->host = host;
  la_here_enter(&host->env, &g->before);
  atomic_fetch_add(&host->nguests, 1);
}

static inline void la_guest_leave(const la_guest_t *g) {
  atomic_fetch_sub(&g->host->nguests, 1); /* the last touch of the host */
  la_here_leave(&g->before);
}

#define LA_ENTER(host)                                      \
  __attribute__((cleanup(la_guest_leave))) la_guest_t guest; \
  la_guest_enter(&guest, host)

/* The same without keeping the threads, for functions that wait. */
#define LA_WORK_FOR(host)                                     \
  __attribute__((cleanup(la_here_leave))) la_here_t workplace; \
  la_here_enter(&(host)->env, &workplace)

/* The calling scheduler thread's encoder scratch. [sched] */
la_scratch_t *la_host_scratch(void);
/* The calling thread's captures of the match it made last. *stamp changes with
 * each slice: captures of an older stamp may be another process's. [sched] */
la_caps_t *la_host_caps(uint64_t *stamp);
/* The calling thread's free blocks; NULL for a thread that is no scheduler of
 * this host. [any] */
la_pool_cache_t *la_host_pool_cache(const la_host_t *host);
/* Make host->std; false: memory. And free it. (lib/lib_start.c) */
bool la_state_prepare(la_host_t *host);
void la_state_forget(la_host_t *host);
/* Make the process's lua_State and push its main function on exec.L; false:
 * memory or limit. (lib/lib_start.c) [owner] */
bool la_state_open(la_proc_t *p);
/* The stack is empty: push what runs the last function on exec.L. [owner] */
void la_state_last(la_proc_t *p);
/* Free the state: by lua_close when finalizers must run, else with the heap. */
void la_state_close(la_proc_t *p);
/* Nobody finds the process or pool any more, by its identity or its name. */
void la_proc_leave_slot(la_names_t *names, la_slot_t *s, la_id_t id);
/* A watched process ended: keep its end for luactor_wait. Takes its error_text.
 * [owner] */
void la_watch_ended(la_host_t *host, la_proc_t *p);
/* The timer of a wheel became the earliest: its scheduler must know. [any] */
void la_sched_wheel_changed(la_host_t *host, la_wheel_t *w);
la_wheel_t *la_sched_wheel(la_sched_t *s);
la_sched_t *la_sched_pick_home(la_host_t *host);
/* The process that this thread runs is about to be freed: the tick must not
 * touch it any more. [sched] */
void la_sched_forget(void);
/* A scheduler with a thread for one process alone; NULL: memory, no thread. */
la_sched_t *la_sched_new_own(la_host_t *host);
void la_sched_free_own(la_sched_t *s);

/* Put a process that became runnable where it will be run. Called by whoever
 * turned its inbox from PARKED, and for new processes. [any] */
void la_sched_wake(la_host_t *host, la_proc_t *p);
/* The image of the plain state, made now when it is not there yet. NULL: there
 * is none. (lib/lib_start.c) [sched] */
const la_image_t *la_state_image(la_host_t *host);
/* Templates of processes (lib/lib_template.c). */
void la_template_note(la_proc_t *p);
void la_templates_init(la_host_t *host);
void la_templates_fini(la_host_t *host);
/* Compiled files (lib/lib_chunk.c). */
void la_chunks_init(la_host_t *host);
void la_chunks_fini(la_host_t *host);
/* A signal went to a process that runs: it shall not wait long. [any] */
void la_sched_hurry(la_host_t *host);
/* Have host->pay called when the running process waits or its slice ends, or in a
 * moment by the tick thread. False: the caller is no thread that runs a process of
 * the host. [any] */
bool la_sched_owe(la_host_t *host);
/* A message went to a process that does not keep up, by so many thousand messages.
 * Who sends many such in one slice, fewer the more there are, gives up the rest
 * of it, so that the receiver finds them in the cache and they do not pile up.
 * Nothing for other threads. [any] */
void la_sched_slow_down(uint8_t behind);
/* The cycles since the last lap of this thread, or since it began to run a
 * process: the counter is read once for each. [sched] */
uint64_t la_sched_lap(void);
/* Free the compiled modules (lib_embed.c). */
void la_embed_free(la_host_t *host);
/* End the host at once. [any] */
void la_host_halt(la_host_t *host, int status);
/* One process less: ends of hosts and stops wait for it. [any] */
void la_host_process_ended(la_host_t *host);

#endif

/* A process: its state, its signals, its life and its end.
 *
 * One scheduler thread at a time owns a process and touches this structure
 * (rule 2); everybody else reaches it through its slot's inbox. The spawner owns it
 * until it is first put in a run queue. docs/internals/process.md draws the states. */
#ifndef LA_PROC_H
#define LA_PROC_H

#include <lua.h>

#include "base/map.h"
#include "match/match.h"
#include "mem/heap.h"
#include "proc/mbox.h"
#include "proc/pidtab.h"
#include "proc/signal.h"
#include "proc/timer.h"
#include "sched/budget.h"

typedef struct luactor_host la_host_t;
typedef struct la_sched la_sched_t;
typedef struct la_crew la_crew_t;
typedef struct la_member la_member_t;
typedef struct luactor_group la_group_t;
typedef struct la_tenant la_tenant_t;

/* X(symbol, text), best served first */
#define LA_PRIORITIES(X) \
  X(MAX, "max")          \
  X(HIGH, "high")        \
  X(NORMAL, "normal")    \
  X(LOW, "low")

typedef enum {
#define X(sym, text) LA_PRIO_##sym,
  LA_PRIORITIES(X)
#undef X
  LA_NPRIO
} la_prio_t;

/* What a suspended process waits for. X(symbol, status for info) */
#define LA_WAITS(X)        \
  X(NONE, "runnable")      \
  X(RECEIVE, "waiting")    \
  X(SLEEP, "sleeping")     \
  X(CALL, "calling")       \
  X(ROOM, "blocked")       \
  X(SCOPE, "waiting")      \
  X(REPLY, "waiting")      \
  X(TOKEN, "suspended")

typedef enum {
#define X(sym, text) LA_WAIT_##sym,
  LA_WAITS(X)
#undef X
} la_wait_kind_t;

/* A message that the first stage of a receive accepted. */
typedef struct la_found {
  la_msg_t *msg; /* NULL: none */
  la_mbox_t *box; /* NULL: claimed in the queue of the process's pool */
  int clause;
  uint64_t stamp; /* of the captures in la_host_caps; 0: they are not there */
} la_found_t;

typedef struct la_wait {
  la_wait_kind_t kind;
  bool asleep;          /* suspended for it (la_suspend), and not since resumed;
                         * an error may leave 'kind' set in a process that runs */
  bool plain;           /* asleep, and no <close> variable waits in its stacks */
  bool timed_out;
  bool spares;          /* RECEIVE: only on mailboxes of tasks */
  bool done;            /* CALL, ROOM, REPLY, TOKEN: what was waited for came */
  uint64_t deadline_ns; /* UINT64_MAX: none */
  const la_matcher_t *matcher; /* RECEIVE; its userdata is on the Lua stack */
  la_id_t fresh;        /* RECEIVE: la_matcher_fresh_ref */
  la_found_t found;
  la_id_t ref;          /* CALL: alias; ROOM: mailbox; REPLY, TOKEN: reference */
  la_sig_t *answer;     /* CALL: message or CALL_END; REPLY: INFO_REPLY */
  la_msg_t *msg;        /* ROOM: the message to send */
} la_wait_t;

/* How a process starts. */
typedef enum {
  LA_START_CALL,   /* term { f or "module.function", args..., n } */
  LA_START_CHUNK,  /* text in 'chunk', name in 'chunkname' */
  LA_START_FILE,   /* path in 'chunk' */
} la_start_kind_t;

/* X(symbol, text) */
#define LA_GC_MODES(X)             \
  X(INCREMENTAL, "incremental")    \
  X(GENERATIONAL, "generational")  \
  X(OFF, "off")

typedef enum {
#define X(sym, text) LA_GC_##sym,
  LA_GC_MODES(X)
#undef X
} la_gc_mode_t;

/* Their texts, by number; those of la_overflow_t too. (info.c) */
enum {
#define X(sym, text) +1
  LA_NGC_MODES = LA_GC_MODES(X),
  LA_NOVERFLOWS = LA_OVERFLOWS(X)
#undef X
};
extern const char *const la_priority_names[LA_NPRIO];
extern const char *const la_gc_names[LA_NGC_MODES];
extern const char *const la_overflow_names[LA_NOVERFLOWS];

typedef struct la_start {
  la_start_kind_t kind;
  la_msg_t *term;    /* CALL: list of function, argument count and arguments */
  char *chunk;
  size_t chunk_size;
  char *chunkname;
  int argc;          /* CHUNK, FILE: command line */
  char **argv;
  int script;        /* argv[script] is arg[0] */
  la_msg_t *env;     /* extra globals: a table */
  uint8_t gc;        /* la_gc_mode_t */
  const struct la_template *tmpl; /* what the state began as; lib_template.h */
} la_start_t;

/* What runs in a process without a Lua state: C functions, called on the scheduler
 * that runs it, one at a time (embed/native.c). */
typedef struct la_native {
  void (*start)(la_proc_t *p);
  void (*message)(la_proc_t *p, la_msg_t *m); /* the message is its own */
  void (*end)(la_proc_t *p); /* its last call; p->reason is final. Frees this */
  bool started;
} la_native_t;

/* The members are in the order of how often they are touched: with many
 * processes each cache line of theirs is a miss. First what every slice needs, then
 * what mailboxes and waits of a special kind need, last what is looked at when
 * it begins or ends. All but what is said to be otherwise is the owner's. */
struct la_proc {
  la_exec_t exec; /* first: the extra space of the states points here */

  /* Fixed at spawn. */
  la_pid_t pid;
  la_slot_t *slot;
  la_host_t *host;
  la_sched_t *pinned;  /* where it must run, or NULL */
  la_tenant_t *tenant; /* of a group (group.h), or NULL */
  uint8_t priority;    /* la_prio_t */

  bool ending;         /* 'reason' is final; never resumed again */
  bool trap_exit;
  bool in_guard;       /* a guard function runs: it may not wait */

  struct la_proc *runq_next; /* in a run queue: under its lock */
  bool was_spared;     /* whoever runs it: when its last slice was ended it did not
                        * go to the end of the queue; see sched.c */
  la_start_t *start;   /* NULL once it runs */
  la_code_t *code;     /* what it runs, until it has been noted what that needs */
  la_sig_t *pending, *pending_tail; /* taken by la_proc_poll, to be served */
  la_sig_t *held;      /* see la_hold */
  la_note_t *scope_fault; /* a scope's child crashed: to be raised */
  la_id_t sender;      /* of the message last received */
  la_id_t far;         /* the proxy it looked up last, held; or LA_NO_ID */
  la_member_t *member; /* of a pool (crew.h), or NULL */
  uint8_t may_skip;    /* receives that need not look at the inbox first */
  la_native_t *native; /* or NULL */
  la_wait_t wait;
  la_mbox_t mbox;
  la_heap_t heap;

  /* Now and then. */
  la_mbox_t *boxes;    /* further mailboxes */
  la_crew_t *runs;     /* the pool whose process it is, or NULL */
  void *pattern;       /* the pattern last written inline; see lib_recv.c */
  size_t pattern_size;
  la_map_t links;      /* pid -> la_note_t, the future EXIT to it */
  la_map_t watches;    /* ref -> la_note_t, the future DOWN to the watcher */
  la_map_t monitors;   /* ref -> la_note_t, peer is the target */
  la_map_t aliases;    /* alias -> non-NULL */
  la_map_t scopes;     /* open scopes: their live children, as a number */
  la_call_t *calls_head, *calls_tail; /* taken and not yet answered */
  size_t side;         /* bytes of heap.others that are no messages, */
  uint32_t grown;      /* and what came to them since they were counted */
  uint32_t nboxes;
  _Atomic uint64_t timer_bytes; /* of its timers; see la_proc_weigh */
  la_id_t answered[4]; /* tags of the calls answered last, for who answers twice */
  uint64_t next_alias;
  uint32_t ndoomed;    /* entries in 'links' of a sparing link that broke */
  uint8_t next_answered;
  bool has_timers;     /* it has used its home's wheel, for whatever */

  /* Its life. */
  bool is_first;       /* the host's first process */
  bool is_watched;     /* luactor_wait will ask for its end */
  bool owns_sched;     /* thread = "own": 'pinned' ends with it */
  bool report;         /* the end deserves a crash report */
  la_reason_t *state;  /* what a behaviour shows of its state in it, or NULL */
  bool by_itself;      /* the end was decided by its own code */
  bool has_last;       /* then a last function runs: see la_proc_run */
  bool is_unwound;     /* no pending <close> variable is left on its stack */
  bool warn_on, warn_begun; /* warn() of the process: see lib_start.c */
  uint16_t warn_len;
  char *warn_text;     /* what warn() was told in pieces */
  la_reason_t *reason; /* why it ends */
  la_reason_t *last_reason; /* what the last function is about */
  la_id_t token;       /* of the C function that waits or will, or LA_NO_ID */
  la_sig_t *resumed;   /* its RESUME, come before the wait */
  char *error_text;    /* message and traceback of an uncaught error */
  char *error_trace;   /* the traceback alone */
  la_pid_t parent;
  la_reason_t *far_parent; /* on another node: its term */
  uint8_t *far_sender; /* 'sender' is LA_FAR_SENDER: its term */
  uint32_t far_size, far_cap;
  char *label;
  char *initial_call;
  uint64_t started_ns;

  /* Its timers. */
  la_sched_t *home;    /* its wheel holds them; fixed at spawn */
  la_timer_t *timers;  /* own timers; under the home wheel's lock */
  _Atomic uint64_t want_ns;  /* when the wait ends; written by the owner */
  _Atomic uint64_t armed_ns; /* when 'timeout' fires; see wait.c */
  la_timer_t timeout;  /* LA_TIMER_WAIT; under the home wheel's lock */
  la_sig_t timeout_sig;      /* the TIMEOUT signal, static */
  _Atomic bool timeout_sent; /* it is in the inbox */
};

static inline la_proc_t *la_proc_of(lua_State *L) {
  return (la_proc_t *)la_exec_of(L);
}

/* What ties a parent to a child that it spawned or took over.
 *
 * A sparing link, of a task and its owner: the end of the owner is an exit
 * signal to the task as with any link. A crash of the task marks the owner's entry
 * as doomed; the owner ends of it at its next wait, but not in a wait for mailboxes of
 * tasks alone, where it learns of the crash and may unlink the task first. So a crash
 * can be caught where the task is awaited, however the two are timed.
 *
 * A one-way link: the end of the parent ends the child whatever the reason, and
 * the child's end is nothing to the parent. */
typedef enum {
  LA_TIE_NONE,
  LA_TIE_LINK,
  LA_TIE_SPARING,
  LA_TIE_ONE_WAY,
} la_tie_t;

typedef struct la_spawn_opts {
  la_tie_t tie;
  bool monitor;
  la_id_t down_to; /* mailbox of the parent for the DOWN message, or LA_NO_ID */
  la_id_t scope; /* child of this scope of the parent, or LA_NO_ID */
  la_prio_t priority;
  size_t max_heap;
  uint32_t mbox_limit;
  la_overflow_t overflow;
  bool trap_exit;
  const char *name;   /* registered before the process runs */
  const char *label;
  const char *initial_call;
  int thread;         /* -1: any; -2: own; else the scheduler */
  la_group_t *group;  /* NULL: the parent's, if it has one */
  bool heads_group;   /* the end of the process is the end of the group */
  bool is_first, is_watched;
  la_native_t *native; /* no Lua state, but this; taken over on success */
} la_spawn_opts_t;

void la_spawn_opts_init(la_spawn_opts_t *o, const la_host_t *host);

typedef enum {
  LA_SPAWN_OK,
  LA_SPAWN_NOMEM,
  LA_SPAWN_LIMIT,
  LA_SPAWN_NAME_TAKEN,
  LA_SPAWN_NO_THREAD,
  LA_SPAWN_CLOSED,
} la_spawn_status_t;

/* Make a process and put it in a run queue. 'parent' may be NULL. Takes over 'start'
 * on success only. '*ref' gets the monitor's reference. [any] */
la_spawn_status_t la_proc_spawn(la_host_t *host, la_proc_t *parent,
                                const la_spawn_opts_t *o, la_start_t *start,
                                la_pid_t *pid, la_id_t *ref);
/* The same in two steps: nobody runs the process before la_proc_go, until when it
 * is the caller's. With its end decided (la_proc_end), it never runs. */
la_spawn_status_t la_proc_make(la_host_t *host, la_proc_t *parent,
                               const la_spawn_opts_t *o, la_start_t *start,
                               la_proc_t **out, la_id_t *ref);
void la_proc_go(la_proc_t *p);
void la_start_free(la_start_t *s);

/* What became of a slice. */
typedef enum {
  LA_RAN_AGAIN,  /* runnable: back into the queue */
  LA_RAN_PARKED, /* waits: somebody else may own it already, do not touch it */
  LA_RAN_ENDED   /* gone */
} la_ran_t;

/* Serve the signals, then run the process for one slice. [sched, owner]
 *
 * A process that ends by its own doing, an error or exit(reason), may have
 * asked for a last function: its stack is unwound, and it goes on as an
 * ordinary process that runs this function, once, and then ends with the reason
 * it had. Ends that others decide are not delayed by it. */
la_ran_t la_proc_run(la_proc_t *p);

/* Take and obey all waiting signals. False when the process must end now.
 * [owner] */
bool la_proc_serve_all(la_proc_t *p);
static inline bool la_proc_serve(la_proc_t *p) {
  return la_slot_has_signals(p->slot) || p->pending != NULL
             ? la_proc_serve_all(p)
             : !p->ending;
}
/* la_exec_t.poll: serve what can be served where the process cannot yield. */
void la_proc_poll(la_exec_t *x);
/* The call 'tag' is answered or given up: forget its record; false: there is none.
 * [owner] */
bool la_proc_forget_call(la_proc_t *p, la_id_t tag);
/* As la_proc_end; by an error or exit(reason) of the process itself. */
void la_proc_end_itself(la_proc_t *p, la_reason_t *reason);
/* Decide the end of the process; it is not resumed again. The first reason
 * stands. Takes over the reference. [owner] */
void la_proc_end(la_proc_t *p, la_reason_t *reason);
/* At the host's end, when no thread is left: nobody can be sent a signal any more. Of
 * all processes before the first is discarded. [host] */
void la_proc_seal(la_proc_t *p);
/* Free everything at the host's end; sealed. [host] */
void la_proc_discard(la_proc_t *p);

/* Count what the process holds in C beside messages: links, timers, names... Over
 * the limit it ends. [owner] */
void la_proc_weigh(la_proc_t *p);
/* The same, and nothing ends. [owner] */
void la_proc_count_side(la_proc_t *p);
/* One more such thing: they are counted now and then. */
static inline void la_proc_grew(la_proc_t *p) {
  if ((++p->grown & 63) == 0) {
    la_proc_weigh(p);
  }
}

/* ---- signals to others (any process, or p == NULL for a C thread) -------- */

typedef enum {
  LA_SENT,
  LA_SEND_NOPROC,
  LA_SEND_FULL,     /* refused */
  LA_SEND_WAIT,     /* "block": wait for room with la_wait_room */
  LA_SEND_UNFIT,    /* to another node: it cannot travel; see la_dist_unfit */
} la_sent_t;

/* Send a message to a pid, alias or mailbox; the message is taken over when the result is
 * LA_SENT or LA_SEND_NOPROC, and stays the caller's otherwise. [any] */
la_sent_t la_send(la_host_t *host, la_proc_t *from, la_msg_t *m);
/* The process, or C mailbox, that takes what is sent to 'dest'; LA_NO_ID for a pool
 * and for what is gone. [any] */
la_pid_t la_server_of(la_host_t *host, la_id_t dest);
/* Push any other signal to sig->to. When nobody lives there it is refused:
 * what must be answered is (LINK, MONITOR, CALL, INFO, WANT_ROOM). [any] */
void la_signal(la_host_t *host, la_sig_t *sig);
/* Push without the answer of refusal; false: the signal stays the caller's. */
bool la_signal_try(la_host_t *host, la_sig_t *sig);

/* ---- links and monitors of the running process ------------------------------- */

/* [owner; false: not enough memory] */
bool la_proc_link(la_proc_t *p, la_pid_t to);
void la_proc_unlink(la_proc_t *p, la_pid_t to);
/* Make the link with 'to' a sparing one; there is one. */
void la_proc_spare(la_proc_t *p, la_pid_t to);
/* End of a doomed link. */
void la_proc_obey_doom(la_proc_t *p);
/* 'name': how the DOWN message names the process, or NULL. LA_NO_ID: memory. */
la_id_t la_proc_monitor(la_proc_t *p, la_pid_t to, const char *name);
/* The DOWN message of the monitor 'ref' goes to mailbox 'box' of the process. */
void la_proc_monitor_into(la_proc_t *p, la_id_t ref, la_id_t box);
/* True when the monitor was still on. */
bool la_proc_demonitor(la_proc_t *p, la_id_t ref, bool flush);
/* Exit signal from p (or nobody) to 'to'. False: not enough memory. */
bool la_proc_exit_signal(la_host_t *host, la_proc_t *from, la_pid_t to,
                         la_reason_t *reason);

/* A number of this host that nobody else gets; by the thread, so that it costs no
 * contention. [any] */
uint64_t la_new_number(la_host_t *host);
static inline la_id_t la_new_ref(la_host_t *host) {
  return la_id_counted(LA_ID_REF, la_new_number(host));
}

/* ---- waiting ----------------------------------------------------------------- */

/* First stage over all mailboxes of the wait's matcher, and then the queue of the
 * process's pool: fills wait.found.
 * Passes what does not match. Drops calls whose caller has given up. [owner] */
bool la_wait_look(la_proc_t *p, la_caps_t *caps);
/* Is what the process waits for there (or its time over)? [owner] */
bool la_wait_is_over(la_proc_t *p);
/* Does the present wait put off the end by a doomed link? */
static inline bool la_wait_spares(const la_proc_t *p) {
  return p->wait.kind == LA_WAIT_RECEIVE && p->wait.spares;
}
/* See to it that the timeout of the present wait comes. */
void la_wait_rearm(la_proc_t *p);
/* What came for a wait and is not needed, perhaps because of an error. */
void la_wait_drop_leavings(la_proc_t *p);

/* Start to wait; arms the timeout. Follow with a system yield. [owner] */
static inline void la_wait_start(la_proc_t *p, la_wait_kind_t kind,
                                 uint64_t deadline_ns) {
  if (p->wait.answer != NULL || p->wait.msg != NULL) {
    la_wait_drop_leavings(p);
  }
  p->wait.kind = kind;
  p->wait.timed_out = false;
  p->wait.done = false;
  p->wait.deadline_ns = deadline_ns;
  if (deadline_ns != UINT64_MAX) {
    la_wait_rearm(p);
  }
}

/* What the wait has to do with the queue of a pool. */
void la_wait_leave_queue(la_proc_t *p);

/* The wait is over: forget it with all that it holds. */
static inline void la_wait_clear(la_proc_t *p) {
  if (p->wait.deadline_ns != UINT64_MAX) {
    /* Relaxed: who still sees the old time sends a TIMEOUT that is not due. */
    atomic_store_explicit(&p->want_ns, UINT64_MAX, memory_order_relaxed);
    p->wait.deadline_ns = UINT64_MAX;
  }
  if (p->wait.answer != NULL || p->wait.msg != NULL) {
    la_wait_drop_leavings(p);
  }
  if (p->member != NULL) {
    la_wait_leave_queue(p);
  }
  p->wait.kind = LA_WAIT_NONE;
  p->wait.matcher = NULL;
  p->wait.found.msg = NULL;
  p->wait.ref = LA_NO_ID;
}

la_mbox_t *la_proc_mbox(la_proc_t *p, la_id_t box);
/* Keep a signal (newest first, by 'next') while C code that may raise uses it;
 * what an error left here is freed before the next slice. [owner] */
static inline void la_hold(la_proc_t *p, la_sig_t *sig) {
  sig->next = p->held;
  p->held = sig;
}
/* Free those that were held after 'sig' (NULL: all). [owner] */
void la_drop_held(la_proc_t *p, const la_sig_t *sig);
/* The newest one held is no longer needed: it is the caller's again; those that
 * were held after 'sig' are freed. [owner] */
static inline void la_unhold(la_proc_t *p, la_sig_t *sig) {
  if (p->held != sig) {
    la_drop_held(p, sig);
  }
  if (sig != NULL) {
    p->held = sig->next;
    sig->next = NULL;
  }
}
/* The request was taken: its record is the server's now. */
void la_proc_took_call(la_proc_t *p, la_msg_t *m);
/* After messages left a mailbox: let senders that wait for room go on. */
void la_mbox_admit(la_proc_t *p, la_mbox_t *b);
/* Keep the pid of another node that sent the message. */
void la_proc_far_sender(la_proc_t *p, const la_msg_t *m);
static inline void la_proc_note_sender(la_proc_t *p, const la_msg_t *m) {
  p->sender = m->sig.from;
  if (m->sig.from == LA_FAR_SENDER) {
    la_proc_far_sender(p, m);
  }
}
/* A message was taken: bookkeeping of senders, calls and room. Owner keeps m. */
static inline void la_proc_took(la_proc_t *p, la_mbox_t *b, la_msg_t *m) {
  la_mbox_remove(b, m);
  p->heap.others -= la_msg_bytes(m);
  la_proc_note_sender(p, m);
  if (m->sig.flags & LA_SIG_IS_CALL) {
    la_proc_took_call(p, m);
  }
  if (b->nroom > 0) {
    la_mbox_admit(p, b);
  }
}
la_mbox_t *la_proc_open_mbox(la_proc_t *p, uint32_t limit,
                             la_overflow_t overflow);
bool la_proc_close_mbox(la_proc_t *p, la_id_t id);

/* ---- timers -------------------------------------------------------------------- */

/* Send 'm' to m->sig.to (or to 'name') after 'ms', every 'ms' when 'every'.
 * Takes m and name over on success. LA_NO_ID: memory. [owner] */
la_id_t la_proc_timer(la_proc_t *p, double ms, bool every, la_msg_t *m,
                      char *name);
/* Nanoseconds left, or -1 when there is no such timer. [any process] */
int64_t la_timer_cancel(la_host_t *host, la_id_t id);
/* Serve one scheduler's timers. Returns whether any was due. [sched] */
bool la_sched_expire(la_host_t *host, la_wheel_t *w);
/* Nothing runs: take out timeouts of waits that are over, up to the first timer that
 * may still fire. [any] */
void la_sched_prune(la_wheel_t *w);

/* End the process: its last Lua code, its last signals, its memory. Frees p.
 * [owner] */
void la_proc_finish(la_proc_t *p);
/* Answer a signal that reached nobody. */
void la_signal_refuse(la_host_t *host, la_sig_t *sig);
/* Append a message to a mailbox of the running process, which owns it then. */
void la_proc_deliver(la_proc_t *p, la_mbox_t *b, la_msg_t *m);
/* Answer an INFO request, and fill info for the process itself (info.c). */
bool la_info_encode(la_proc_t *p, la_encoder_t *e);
/* "file:line" of where the process is; returns its length. */
size_t la_proc_where(la_proc_t *p, char *out, size_t size);

#endif

/* Groups: limits and rights of a set of processes.
 *
 * A group is a subtree of processes: what a member spawns is a member. Groups nest;
 * what is used in a group counts in those around it, too, so a child group's limits
 * can only narrow its parent's. A process without a group has no tenant record, and
 * nothing below touches it. group.c tells how the counting is kept off the hot
 * paths. */
#ifndef LA_GROUP_H
#define LA_GROUP_H

#include <stdatomic.h>

#include "base/lock.h"
#include "mem/lazy.h"
#include "proc/proc.h"
#include "proc/timer.h"

/* X(symbol, text) */
#define LA_GROUP_LIMITS(X) \
  X(MEMORY, "memory")      \
  X(PROCESSES, "processes") \
  X(MESSAGES, "messages")  \
  X(HANDLES, "handles")

typedef enum {
#define X(sym, text) LA_LIMIT_##sym,
  LA_GROUP_LIMITS(X)
#undef X
  LA_NLIMITS
} la_limit_t;

extern const char *const la_limit_names[LA_NLIMITS];

enum {
  LA_GROUP_DEPTH = 16, /* groups within groups */
  LA_GROUP_SHELL = 2048, /* bytes that a process counts beside its heap */
  LA_GROUP_FIRST = 12288, /* bytes that its heap has to begin with */
};

typedef struct la_group_opts {
  uint64_t most[LA_NLIMITS]; /* 0: no limit of its own */
  double cpu; /* of one scheduler; 0: no limit */
  struct la_sandbox *sandbox; /* taken over on success; NULL: the parent's */
  /* A limit was met for the first time: on the thread that met it, without a lock. */
  void (*on_limit)(void *ud, la_group_t *g, la_limit_t what, uint64_t most);
  void *ud; /* a block of the host's memory or NULL, taken over on success */
} la_group_opts_t;

/* The rights that are left in a group (lib/lib_sandbox.c); immutable, counted. */
typedef struct la_sandbox {
  _Atomic uint32_t refs;
  uint64_t gone[LA_LAZY_FIELDS / 64]; /* fields of the plan that are not there */
  size_t max_heap;         /* of each process, at most, */
  uint32_t mbox_limit;     /* and of each mailbox */
  la_overflow_t overflow;  /* when a spawn does not say */
  size_t nnames;           /* bytes of 'names' */
  char names[];            /* what may be required: each ended by a zero */
} la_sandbox_t;

struct luactor_group {
  /* Fixed when it is made. */
  la_host_t *host;
  la_group_t *parent; /* holds a reference; NULL: the host's own */
  uint64_t number;
  uint32_t depth;
  la_sandbox_t *sandbox; /* its own or inherited; NULL: all rights */
  void (*on_limit)(void *ud, la_group_t *g, la_limit_t what, uint64_t most);
  void *ud;

  /* Any thread, atomically. */
  alignas(64) _Atomic uint32_t refs;
  _Atomic uint64_t used[LA_NLIMITS];
  _Atomic uint64_t most[LA_NLIMITS]; /* 0: none */
  _Atomic uint32_t met;       /* bit per limit that was met */
  _Atomic bool closed;        /* the embedder does not want to be told any more */
  _Atomic bool ended;         /* set once; 'reason' was written before */
  _Atomic bool capped;        /* it or one around it has a CPU share */
  la_reason_t *reason;

  /* Under host->groups.lock. */
  la_pid_t root;              /* its end is the group's; LA_NO_ID: none */
  la_group_t *children, *next, **back;
  la_tenant_t *tenants;
  la_tenant_t *held, **held_end; /* runnable, and the share is used up */
  double cpu;
  double credit_ns;           /* may run so long; below 0: a debt */
  uint64_t filled_ns;         /* when the credit was last filled up */
  uint64_t cpu_ns;            /* used so far */
  bool is_armed;              /* 'timer' will come; it holds a reference */
  la_timer_t timer;           /* under the first wheel's lock */
};

/* A process in a group. */
struct la_tenant {
  la_group_t *group; /* fixed; holds a reference */
  la_proc_t *proc;

  /* The owner of the process. */
  uint64_t lent;     /* bytes that its heap may use */
  bool has_given;    /* la_group_give_back */
  bool is_own_limit; /* the last loan was refused for the process's own limit */
  uint32_t counted;  /* messages, as last told to the group */
  uint32_t handles;  /* that it holds */

  /* Under host->groups.lock. */
  la_tenant_t *next, **back;
  la_tenant_t *next_held, **back_held; /* back NULL: it is not held */
  la_group_t *held_by;
  bool is_told;
  la_sig_t end_sig; /* GROUP, static: the group has ended */
};

typedef struct la_groups {
  la_lock_t lock;
  la_group_t *all; /* without a parent */
  _Atomic uint32_t knocks; /* messages to members that are held */
} la_groups_t;

void la_groups_init(la_groups_t *gs);
void la_groups_fini(la_groups_t *gs);

/* With a reference. NULL: memory, or nested too deep (*too_deep), or the parent
 * has ended. [any] */
la_group_t *la_group_new(la_host_t *host, la_group_t *parent,
                         const la_group_opts_t *o, bool *too_deep);
void la_group_ref(la_group_t *g);
void la_group_unref(la_group_t *g);
void la_sandbox_unref(la_sandbox_t *s);

static inline la_group_t *la_group_of(const la_proc_t *p) {
  return p->tenant != NULL ? p->tenant->group : NULL;
}
/* The rights of a process; NULL: all. */
static inline const la_sandbox_t *la_sandbox_of(const la_proc_t *p) {
  return p->tenant != NULL ? p->tenant->group->sandbox : NULL;
}
/* Is 'g' the group 'around' or in it? */
bool la_group_is_in(const la_group_t *g, const la_group_t *around);
/* Does the process with this identity live in 'around', or a group in it?
 * [any] */
bool la_group_has(la_group_t *around, la_pid_t pid);

/* Take a new process in, before anybody knows it. A C program that spawns it learns
 * from the result that it was refused, and is called back for that by nobody. OK, LIMIT or NOMEM. [any] */
la_spawn_status_t la_group_admit(la_group_t *g, la_proc_t *p,
                                 const la_spawn_opts_t *o);
/* The process ends, and nobody has been told yet: give back what it counted, so that
 * who learns of the end finds room. But for handles, which are closed last. [owner] */
void la_group_give_back(la_proc_t *p);
/* The process is gone, its inbox closed. [owner] */
void la_group_leave(la_proc_t *p);
/* Tell the groups what the process holds now. [owner] */
void la_group_settle(la_proc_t *p);
/* Was it the process's own max_heap that la_group_lend stopped at? */
static inline bool la_group_is_own_limit(const la_proc_t *p) {
  return p->tenant->is_own_limit;
}
/* la_heap_t.lend */
bool la_group_lend(la_heap_t *h, size_t want);
/* The heap asked for more than the group has: the group whose limit it is ends, and
 * with it the process. [owner] */
void la_group_heap_over(la_proc_t *p);
/* The process takes or gives back a handle; false: the limit. la_exec_t.handle.
 * [owner] */
bool la_group_handle(la_exec_t *x, bool take);

/* End a group and all in it, with this reason, which is taken over (NULL: not enough
 * memory). The first reason stands. [any] */
void la_group_end(la_group_t *g, la_reason_t *reason);
/* Why the group of the process has ended; a reference. */
la_reason_t *la_group_reason(const la_proc_t *p);

/* ---- the processor ---------------------------------------------------------- */

typedef enum { LA_HOLD_NO, LA_HOLD_YES, LA_HOLD_LOOK } la_hold_t;

static inline bool la_group_is_capped(const la_proc_t *p) {
  return p->tenant != NULL &&
         atomic_load_explicit(&p->tenant->group->capped, memory_order_relaxed);
}
/* The process, whose signals have been served, wants to run. YES: its group has
 * used up its share, and the process belongs to the group's queue from here on. LOOK:
 * signals have come. [owner] */
la_hold_t la_group_hold(la_proc_t *p);
/* A member has run for so long. [any] */
void la_group_charge(la_group_t *g, uint64_t ns);
/* The group's timer is due. [sched] */
void la_group_due(la_timer_t *t);
/* A signal went to a process that is held: it goes on to serve it; for messages now
 * and then. [any] */
void la_group_knock(la_host_t *host, la_slot_t *s, bool is_message);
/* Change limits and share. [any] */
void la_group_set(la_group_t *g, const uint64_t most[LA_NLIMITS], double cpu);

typedef struct la_group_use {
  uint64_t used[LA_NLIMITS], most[LA_NLIMITS];
  double cpu;
  uint64_t cpu_ns;
  uint32_t nheld;
} la_group_use_t;
void la_group_look(la_group_t *g, la_group_use_t *out);

#endif

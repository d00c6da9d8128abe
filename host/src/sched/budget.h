/* Preemption: what a running process may still use up, and how C functions
 * of the libraries take part in it.
 *
 * A process runs on the main thread of its own lua_State, resumed by its
 * scheduler. The scheduler gets it back by a *system yield*: lua_yieldk with no
 * values and 'sysyield' set. Our coroutine.resume and wrap pass such a yield
 * outward to the scheduler and continue the same coroutine later (facts: stock
 * resume would take it for the user's yield). A system yield carries no
 * values, so nothing is moved between the stacks; data goes through the
 * process structure.
 *
 * The extra space of every lua_State of a process holds the la_exec_t*. */
#ifndef LA_BUDGET_H
#define LA_BUDGET_H

#include <lua.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "mem/lazy.h"

/* How a slice ends (rule 9). */
typedef enum {
  LA_PREEMPT_TICK,  /* a one-shot hook, armed by the tick when the slice is over */
  LA_PREEMPT_COUNT, /* a count hook every 'period' instructions */
} la_preempt_t;

typedef struct la_exec la_exec_t;

/* Two words of a lua_State, as found by la_exec_learn_closing: they are equal as long
 * as no to-be-closed variable is pending. 0: not known. */
typedef struct la_closing {
  uint16_t list, base;
} la_closing_t;

/* What the libraries of a state do for this layer; lib/lib_std.c sets it. */
typedef struct la_exec_lib {
  /* The coroutine which L, suspended by a system yield, waits for in
   * coroutine.resume or a wrap function; NULL when it waits for none.
   * [owner; raises: -] */
  lua_State *(*inner)(lua_State *L);

  /* Go on with the queued finalizers on a coroutine of their own, resumed
   * from 'from' (NULL: from the scheduler). True: a system yield interrupted
   * them, call again later. [owner; raises: -] */
  bool (*finalize)(la_exec_t *x, lua_State *from);

  /* A hook event of a state in which a script has set a hook. True: the count
   * of a slice is used up, as far as this event can tell.
   * [owner; raises: e] */
  bool (*script_event)(lua_State *L, lua_Debug *ar);
} la_exec_lib_t;

/* The execution state of a process. First member of la_proc_t.
 * Written by the scheduler now running the process, and by the tick's signal
 * handler, which runs on that same thread. */
struct la_exec {
  la_lazy_t *lazy; /* first: mem/lazy.c finds it by the extra space */
  lua_State *L;                  /* the main thread: runs the process */
  lua_State *volatile running;   /* innermost coroutine now running Lua, or NULL */
  volatile sig_atomic_t tick;    /* set by the tick: the slice is over */
  volatile sig_atomic_t in_hook; /* > 0: hook settings are being changed */
  volatile sig_atomic_t stop;    /* the process must end: it is not resumed again
                                  * (rule 11); where it cannot yield, the hook
                                  * raises until it can. Set on this thread */
  bool count_mode;               /* LA_PREEMPT_COUNT */
  bool sysyield;  /* set just before a system yield, cleared by the scheduler */
  bool chain_ok;  /* every state below the innermost coroutine can yield */
  bool no_wait;   /* set while pending <close> variables run at the end */
  bool in_finalizer; /* a __gc finalizer of the process is running now */
  bool fin_pending;  /* finalizers are queued and none is being run */
  bool hooked;       /* a script has set a debug hook in this state */
  bool has_finalizers; /* ending this state needs la_gc_finish and lua_close */
  int period;     /* instructions per slice in count mode */
  int left;       /* what is left of them; C work is charged to it */
  int close_budget; /* instructions left for <close> at the end */
  int marks;      /* of the innermost coroutine: see la_exec_enter */
  lua_State *held; /* coroutine whose hook started the finalizers, while they
                    * are suspended: they go on before it does */
  lua_State *fin;   /* runs the finalizers; set when some are queued */
  lua_State *fin_of;  /* the coroutine they interrupted, */
  int fin_marks;      /* and its 'marks' */
  uint64_t reductions; /* used up so far: instructions in count mode and C work
                        * charged; the scheduler adds an estimate in tick mode */
  const la_exec_lib_t *lib; /* NULL until la_std_open */
  lua_Alloc alloc;  /* the state's own allocator, while the stop error is */
  void *alloc_ud;   /* being raised; see raise_stop */
  int refusals;
  la_closing_t closing; /* see la_exec_has_close */
  la_lazy_t tables; /* what 'lazy' points to */
  void (*poll)(struct la_exec *x); /* look whether the process must end, from a
                            * place that cannot yield; may set 'stop'. NULL:
                            * nobody looks */
  bool (*handle)(struct la_exec *x, bool take); /* a file is opened or closed;
                            * false: one more is too many. NULL: nobody counts */
};

static inline la_exec_t *la_exec_of(lua_State *L) {
  return *(la_exec_t **)lua_getextraspace(L);
}

/* Prepare a state for running processes: extra space, hook. In count mode the
 * hook is set here and inherited by every coroutine. To be called before
 * la_std_open. [owner; raises: -] */
void la_exec_init(la_exec_t *x, lua_State *L, la_preempt_t mode, int period);

/* Prepare 'x' for L, a copy of the suspended or unused state of 'from': the
 * same mode, and what the libraries noted about the heap that was copied.
 * The hook settings are part of the copy. [owner; raises: -] */
void la_exec_adopt(la_exec_t *x, lua_State *L, const la_exec_t *from);

/* Find out, with a state of its own, how to see that no to-be-closed variable is
 * pending in a state. Lua does not tell; what is found is the word that
 * changes when one becomes pending and changes back. 0, 0 when it is not found.
 * [any · - · -] */
la_closing_t la_exec_learn_closing(void);

/* May a to-be-closed variable be pending in L? False only when it is certain
 * that there is none. [owner; raises: -] */
static inline bool la_exec_has_close(const la_exec_t *x, lua_State *L) {
  const uintptr_t *word = (const uintptr_t *)(const void *)L;
  return x->closing.list == 0 ||
         word[x->closing.list] != word[x->closing.base];
}

/* Can the caller, a C function called from L, suspend the whole process?
 * False in a C call that Lua cannot leave (an xpcall handler, a __close run by
 * coroutine.close, a foreign C function's callback). [owner; raises: -] */
bool la_can_yield(lua_State *L);

/* Is the slice of the process used up? [owner; raises: -] */
bool la_exec_is_over(const la_exec_t *x);

/* Take what the VM or C code has used off the slice, in count mode. */
static inline void la_exec_use(la_exec_t *x, unsigned n) {
  if (x->count_mode) {
    x->left = x->left > 0 && n < (unsigned)x->left ? x->left - (int)n : 0;
  }
}

/* la_charge, where something waits for the end of the slice. */
bool la_charge_checked(lua_State *L, unsigned units);

/* Charge 'units' of C work (one unit is about one VM instruction) to the slice.
 * True when the slice is over: a caller that can yield (la_can_yield) should
 * do so with la_preempt; when it does not, the next Lua instruction yields.
 * When the process must end and the caller cannot yield, raises the stop
 * error. [owner; raises: e] */
static inline bool la_charge(lua_State *L, unsigned units) {
  la_exec_t *x = la_exec_of(L);
  if (x->count_mode || x->no_wait || x->stop || x->tick) {
    return la_charge_checked(L, units);
  }
  x->reductions += units;
  return false;
}

/* Give the scheduler back (the slice is over): continue later in 'k' with
 * 'ctx', stack unchanged. Only when la_can_yield(L).
 * Use as: return la_preempt(L, ctx, k). */
int la_preempt(lua_State *L, lua_KContext ctx, lua_KFunction k);

/* The process must end: leave the C function at once. Yields for ever where
 * that is possible, else raises the stop error, again and again, until the
 * place is left. Does not return. [owner; raises: e] */
int la_exec_halt(lua_State *L);

/* Calls that C functions of the library make to Lua code are noted in
 * x->marks, a sum of these. BARRIER: a user's yield may not cross the call
 * though a system yield may (sort, gsub, ...). DEPTH: Lua limits the nesting of
 * such calls, but only counts those that are on the C stack now; a system yield
 * takes all of them off it, and an endless recursion would fill the memory
 * instead. An error leaves the calls without notice, so whoever catches it
 * sets the marks back to what they were on entry. */
enum {
  LA_MARK_DEPTH = 1,
  LA_MARK_BARRIER = 1 << 10,
  LA_MARK_DEPTH_MASK = LA_MARK_BARRIER - 1,
  LA_MAX_DEPTH = 197 /* Lua's own limit is 200 */
};

static inline bool la_exec_is_deep(const la_exec_t *x) {
  return (x->marks & LA_MARK_DEPTH_MASK) >= LA_MAX_DEPTH;
}

static inline bool la_exec_is_barred(const la_exec_t *x) {
  return x->marks >= LA_MARK_BARRIER;
}

/* Note one more call of the kind that no user's yield may cross; raises stock's
 * error when they are nested too deep. Undone by la_exec_leave.
 * [owner; raises: e] */
void la_exec_enter(lua_State *L);

static inline void la_exec_leave(lua_State *L) {
  la_exec_of(L)->marks -= LA_MARK_BARRIER + LA_MARK_DEPTH;
}

/* The count hook of every state. Exposed for debug.sethook, which combines it
 * with the script's own hook. */
void la_exec_hook(lua_State *L, lua_Debug *ar);

/* Change L's hook settings safely against the tick. A mask of 0 removes the
 * hook. [owner; raises: -] */
void la_exec_sethook(lua_State *L, int mask, int count);

/* Note that L is now the innermost coroutine, and arm its hook when something
 * waits for a safe point. [owner; raises: -] */
void la_exec_switch(la_exec_t *x, lua_State *L);

/* Make the innermost coroutine call the hook soon. [owner; raises: -] */
void la_exec_poke(la_exec_t *x);

/* The slice is over: arm the one-shot hook on the innermost coroutine. Async-
 * signal-safe on the thread that runs the process; nobody else may call it. */
void la_exec_arm(la_exec_t *x);

/* End the slice of the process that runs on this thread at its next
 * instruction. [owner; raises: -] */
void la_exec_end_slice(la_exec_t *x);

/* Resume the process for one slice; returns lua_resume's status, *nres as
 * there. 'narg' values are on x->L. [owner; raises: -] */
int la_exec_resume(la_exec_t *x, int narg, int *nres);

/* Run the pending <close> variables of the process, innermost coroutine first,
 * under a bounded budget of instructions. Afterwards the process is not
 * resumed again, but x->L is an empty thread that can be used.
 * [owner; raises: -] */
void la_exec_close(la_exec_t *x);

/* Bracket other Lua code that runs at the end of a process, outside any slice
 * (la_gc_finish): nothing can suspend it, and after 'budget' instructions the
 * hook raises until it ends. [owner; raises: -] */
void la_exec_bounded_begin(la_exec_t *x, lua_State *L, int budget);
void la_exec_bounded_end(la_exec_t *x);

#endif

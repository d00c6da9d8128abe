/* The hook that ends a slice, and the entry to and exit from a process.
 *
 * Two modes share one hook function. In count mode a count hook fires every
 * 'period' instructions of every coroutine. In tick mode no hook is set until
 * the tick's signal handler sets one for the very next instruction; it takes
 * itself off again when it has done its work (an armed count hook takes the
 * VM off its fast path, so it must not stay).
 *
 * What the hook does at a *safe point*, a place where the whole chain of
 * coroutines can yield: first it lets queued finalizers run, on a coroutine of
 * their own, because in a hook Lua code runs with hooks off and could not be
 * preempted; then it yields. At any other place it tries again later, or, if
 * the process must end, raises an error at each instruction until the place is
 * left.
 *
 * Rules that are not obvious:
 * 1. A hook that yields is not called again for the same instruction: the VM
 *    marks the call frame and skips one event. The mark would swallow a later
 *    event if the hook were off when the process goes on, so in tick mode it
 *    is left armed over the yield and disarms at the instruction after.
 * 2. The tick may come at any point, also while settings are changed here.
 *    Then the handler only sets 'tick', and whoever changed them looks at it
 *    afterwards (settle). It can also come while 'running' is about to change;
 *    la_exec_switch looks at 'tick' after it has stored the new one.
 * 3. Only the coroutine that our resume entered (x->running) can yield. One
 *    that a foreign C function resumed by lua_resume cannot: the yield would
 *    end up in that function.
 * 4. Arming costs a walk over the call frames, so C work arms the hook once,
 *    when it crosses the end of the slice.
 * 5. In a state where a script has set hooks of its own, its settings decide
 *    how often the count event comes (lib/lib_debughook.c); a count hook that
 *    is on is never shortened there, since the script's count would be lost. */
#include "sched/budget.h"

#include <lauxlib.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>

#include "base/env.h"

enum {
  RETRY_INSTRUCTIONS = 1000, /* next try after a place that cannot yield */
  CLOSE_STEP = 1000,         /* instructions between looks at the budget */
  CLOSE_INSTRUCTIONS = 1000000,
  MAX_CHAIN = 256 /* Lua's own limit of nested C calls is 200 */
};

#define STOP_BYTES ((size_t)1 << 30) /* see raise_stop */

/* Does something wait for the next safe point? */
static bool wants_point(const la_exec_t *x) {
  return la_exec_is_over(x) || x->stop ||
         (x->fin_pending && !x->in_finalizer);
}

/* Rule 5; async-signal-safe. */
static void arm(const la_exec_t *x, lua_State *L) {
  int mask = lua_gethookmask(L);
  if (mask & LUA_MASKCOUNT) {
    if (x->hooked || !x->count_mode || lua_gethookcount(L) == 1) {
      return;
    }
  }
  lua_sethook(L, la_exec_hook, mask | LUA_MASKCOUNT, 1);
}

void la_exec_arm(la_exec_t *x) {
  x->tick = 1;
  lua_State *L = x->running;
  if (L != NULL && !x->in_hook) {
    arm(x, L);
  }
}

void la_exec_end_slice(la_exec_t *x) {
  if (x->count_mode) {
    x->left = 0;
    la_exec_poke(x);
  } else if (!x->tick) {
    la_exec_arm(x);
  }
}

/* Rule 2: the counterpart of la_exec_arm for a tick that came in between. */
static void settle(la_exec_t *x, lua_State *L) {
  x->in_hook--;
  if (x->tick && !x->in_hook && L == x->running) {
    x->in_hook++;
    arm(x, L);
    x->in_hook--;
  }
}

void la_exec_sethook(lua_State *L, int mask, int count) {
  la_exec_t *x = la_exec_of(L);
  x->in_hook++;
  lua_sethook(L, mask != 0 ? la_exec_hook : NULL, mask, count);
  settle(x, L);
}

void la_exec_poke(la_exec_t *x) {
  lua_State *L = x->running;
  if (L != NULL) {
    x->in_hook++;
    arm(x, L);
    x->in_hook--;
  }
}

void la_exec_switch(la_exec_t *x, lua_State *L) {
  x->running = L;
  if (wants_point(x)) {
    la_exec_poke(x);
  }
  if (x->no_wait && !(lua_gethookmask(L) & LUA_MASKCOUNT)) {
    la_exec_sethook(L, lua_gethookmask(L) | LUA_MASKCOUNT, CLOSE_STEP);
  }
}

void la_exec_init(la_exec_t *x, lua_State *L, la_preempt_t mode, int period) {
  *x = (la_exec_t){
    .lazy = &x->tables,
    .L = L,
    .count_mode = mode == LA_PREEMPT_COUNT,
    .period = period > 0 ? period : 1,
    .chain_ok = true,
  };
  x->left = x->period;
  *(la_exec_t **)lua_getextraspace(L) = x;
  if (x->count_mode) {
    lua_sethook(L, la_exec_hook, LUA_MASKCOUNT, x->period);
  }
}

void la_exec_adopt(la_exec_t *x, lua_State *L, const la_exec_t *from) {
  *x = (la_exec_t){
    .lazy = &x->tables,
    .tables = from->tables,
    .L = L,
    .count_mode = from->count_mode,
    .period = from->period,
    .left = from->period,
    .chain_ok = true,
    .hooked = from->hooked,
    .has_finalizers = from->has_finalizers,
    .lib = from->lib,
    .closing = from->closing,
  };
  x->tables.meta = NULL; /* another place */
  *(la_exec_t **)lua_getextraspace(L) = x;
}

/* ---- pending variables ------------------------------------------------------------ */

/* Words at the beginning of a main thread that are looked at; the state
 * continues behind them. */
#define LOOKED_AT 24
#define SLOT_BYTES 16 /* of the stack */

static int do_nothing(lua_State *L) {
  (void)L;
  return 0;
}

/* An object that can be closed, as the only value on the stack. */
static int push_closable(lua_State *L) {
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, do_nothing);
  lua_setfield(L, -2, "__close");
  lua_setmetatable(L, -2);
  return 1;
}

static int grow_stack(lua_State *L) {
  luaL_checkstack(L, 10000, NULL);
  return 0;
}

typedef struct {
  uintptr_t before[LOOKED_AT], pending[LOOKED_AT], after[LOOKED_AT],
      grown[LOOKED_AT];
} looks_t;

static void look(uintptr_t *words, const lua_State *L) {
  memcpy(words, L, LOOKED_AT * sizeof *words);
}

/* The list of pending variables is a pointer into the stack: to its first
 * slot, or to the variable. */
static la_closing_t compare_looks(const looks_t *k) {
  la_closing_t found = {0, 0};
  for (uint16_t i = 1; i < LOOKED_AT; i++) {
    if (k->pending[i] - k->before[i] != SLOT_BYTES ||
        k->after[i] != k->before[i]) {
      continue;
    }
    if (found.list != 0) {
      return (la_closing_t){0, 0}; /* two of them */
    }
    found.list = i;
  }
  for (uint16_t i = 1; i < LOOKED_AT && found.list != 0; i++) {
    if (i != found.list && k->before[i] == k->before[found.list] &&
        k->pending[i] == k->before[i] && k->after[i] == k->before[i] &&
        k->grown[i] == k->grown[found.list]) {
      found.base = i;
      return found;
    }
  }
  return (la_closing_t){0, 0};
}

la_closing_t la_exec_learn_closing(void) {
  la_closing_t found = {0, 0};
  lua_State *L = lua_newstate(la_alloc_lua, NULL);
  if (L == NULL) {
    return found;
  }
  lua_pushcfunction(L, push_closable);
  if (lua_pcall(L, 0, 1, 0) == LUA_OK) {
    looks_t k;
    look(k.before, L);
    lua_toclose(L, 1);
    look(k.pending, L);
    lua_settop(L, 0); /* closes it, by a function that cannot fail */
    lua_pushnil(L);   /* the top is where it was */
    look(k.after, L);
    lua_pushcfunction(L, grow_stack);
    if (lua_pcall(L, 0, 0, 0) == LUA_OK) {
      look(k.grown, L);
      found = compare_looks(&k);
    }
  }
  lua_close(L);
  return found;
}

/* ---- yielding ----------------------------------------------------------------------- */

bool la_exec_is_over(const la_exec_t *x) {
  return x->count_mode ? x->left <= 0 : x->tick != 0;
}

/* Rule 3. */
static bool can_yield(const la_exec_t *x, lua_State *L) {
  return x->chain_ok && L == x->running && !x->no_wait && lua_isyieldable(L);
}

bool la_can_yield(lua_State *L) {
  return can_yield(la_exec_of(L), L);
}

/* The allocator while the stop error is raised: refuses the one large request,
 * twice, since Lua collects after the first. */
static void *refusing_alloc(void *ud, void *ptr, size_t osize, size_t nsize) {
  la_exec_t *x = ud;
  if (nsize < STOP_BYTES) {
    return x->alloc(x->alloc_ud, ptr, osize, nsize);
  }
  if (--x->refusals == 0) {
    lua_setallocf(x->L, x->alloc, x->alloc_ud);
  }
  return NULL;
}

/* Raise the stop error; the hook stays armed for the next instruction, since
 * a pcall may catch this one. It is a memory error, made by an allocation that
 * must fail: the only kind for which Lua does not call the message handler,
 * which would run inside the hook, with hooks off, for as long as it likes. */
static int raise_stop(la_exec_t *x, lua_State *L) {
  x->in_hook++;
  lua_sethook(L, la_exec_hook, lua_gethookmask(L) | LUA_MASKCOUNT, 1);
  x->in_hook--;
  void *ud;
  const lua_Alloc f = lua_getallocf(L, &ud);
  if (f != refusing_alloc) {
    x->alloc = f;
    x->alloc_ud = ud;
  }
  x->refusals = 2;
  lua_setallocf(L, refusing_alloc, x);
  lua_newuserdatauv(L, STOP_BYTES, 0);
  return luaL_error(L, "process stopped"); /* not reached */
}

void la_exec_enter(lua_State *L) {
  la_exec_t *x = la_exec_of(L);
  if (la_exec_is_deep(x)) {
    lua_pushliteral(L, "C stack overflow");
    lua_error(L);
  }
  x->marks += LA_MARK_BARRIER + LA_MARK_DEPTH;
}

static int halt_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  return la_exec_halt(L);
}

int la_exec_halt(lua_State *L) {
  la_exec_t *x = la_exec_of(L);
  if (can_yield(x, L)) {
    return la_preempt(L, 0, halt_k);
  }
  return raise_stop(x, L);
}

int la_preempt(lua_State *L, lua_KContext ctx, lua_KFunction k) {
  la_exec_of(L)->sysyield = true;
  return lua_yieldk(L, 0, ctx, k);
}

/* Take 'units' off the budget of code that runs at the end. */
static void charge_close(la_exec_t *x, lua_State *L, unsigned units) {
  if (units > INT_MAX / 2) {
    units = INT_MAX / 2;
  }
  x->close_budget -= (int)units;
  if (x->close_budget <= 0) {
    x->close_budget = 0;
    x->stop = 1;
    raise_stop(x, L);
  }
}

bool la_charge_checked(lua_State *L, unsigned units) {
  la_exec_t *x = la_exec_of(L);
  x->reductions += units;
  if (x->no_wait) {
    charge_close(x, L, units);
    return false;
  }
  if (x->count_mode && x->left > 0) {
    la_exec_use(x, units);
    if (x->left == 0) {
      la_exec_poke(x);
    }
  }
  const bool over = la_exec_is_over(x);
  if ((x->stop || over) && !can_yield(x, L)) {
    if (!x->stop && x->poll != NULL) {
      x->poll(x);
    }
    if (x->stop) {
      raise_stop(x, L);
    }
  }
  return x->stop || over;
}

/* The hook's normal setting in a state without script hooks. */
static void rest(la_exec_t *x, lua_State *L) {
  if (x->hooked) {
    return; /* rule 5: the libraries keep the setting */
  }
  if (!x->count_mode) {
    lua_sethook(L, NULL, 0, 0);
  } else if (lua_gethookcount(L) != x->period) {
    lua_sethook(L, la_exec_hook, LUA_MASKCOUNT, x->period);
  }
}

/* Not a place to yield at: look again later. */
static void retry(la_exec_t *x, lua_State *L) {
  if (!x->stop && x->poll != NULL) {
    x->poll(x);
  }
  if (x->stop) {
    x->in_hook--;
    raise_stop(x, L);
  }
  if (x->hooked) {
    return;
  }
  int count = x->count_mode ? x->period : RETRY_INSTRUCTIONS;
  if (lua_gethookcount(L) != count) {
    lua_sethook(L, la_exec_hook, LUA_MASKCOUNT, count);
  }
}

/* L is innermost and can yield. */
static void safe_point(la_exec_t *x, lua_State *L) {
  bool suspended = false;
  if (x->fin_pending && !x->in_finalizer && !x->stop) {
    suspended = x->lib->finalize(x, L);
    if (suspended) {
      x->held = L;
    }
  }
  if (suspended || x->stop || la_exec_is_over(x)) {
    x->in_hook++;
    if (x->count_mode) {
      rest(x, L);
    } else if (!x->hooked && lua_gethookcount(L) != 1) {
      lua_sethook(L, la_exec_hook, LUA_MASKCOUNT, 1); /* rule 1 */
    }
    x->in_hook--;
    x->sysyield = true;
    lua_yield(L, 0);
    return;
  }
  x->in_hook++;
  rest(x, L);
  settle(x, L);
}

void la_exec_hook(lua_State *L, lua_Debug *ar) {
  la_exec_t *x = la_exec_of(L);
  bool counted = ar->event == LUA_HOOKCOUNT;
  bool point = counted;
  if (counted) {
    int done = lua_gethookcount(L);
    if (x->count_mode) {
      x->reductions += (unsigned)done;
    }
    if (x->no_wait) {
      charge_close(x, L, (unsigned)done);
    }
  }
  if (x->hooked) {
    point = x->lib->script_event(L, ar);
  } else if (!counted) {
    return;
  } else {
    la_exec_use(x, (unsigned)lua_gethookcount(L));
  }
  if (!point || x->no_wait) {
    return;
  }
  if (wants_point(x)) {
    if (can_yield(x, L)) {
      safe_point(x, L);
    } else {
      x->in_hook++;
      retry(x, L);
      settle(x, L);
    }
  } else {
    x->in_hook++;
    rest(x, L);
    settle(x, L);
  }
}

int la_exec_resume(la_exec_t *x, int narg, int *nres) {
  x->tick = 0;
  x->sysyield = false;
  x->chain_ok = true;
  x->left = x->period;
  for (;;) {
    if (x->held == x->L) {
      if (x->lib->finalize(x, NULL)) {
        *nres = 0;
        x->running = NULL;
        return LUA_YIELD;
      }
      x->held = NULL;
    }
    la_exec_switch(x, x->L);
    int status = lua_resume(x->L, NULL, narg, nres);
    x->running = NULL;
    if (status != LUA_YIELD || x->sysyield) {
      return status;
    }
    /* A foreign C function called lua_yield on the main thread, which stock
     * Lua refuses: nobody is there to take the values, so it goes on. */
    lua_pop(x->L, *nres);
    narg = 0;
  }
}

void la_exec_bounded_begin(la_exec_t *x, lua_State *L, int budget) {
  x->tick = 0;
  x->stop = 0;
  x->no_wait = true;
  x->close_budget = budget;
  x->running = L;
  x->in_hook++;
  lua_sethook(L, la_exec_hook, lua_gethookmask(L) | LUA_MASKCOUNT, CLOSE_STEP);
  x->in_hook--;
}

void la_exec_bounded_end(la_exec_t *x) {
  x->running = NULL;
  x->no_wait = false;
  x->stop = 0;
}

/* The coroutines that are active, outermost first. */
static int active_chain(la_exec_t *x, lua_State *chain[MAX_CHAIN]) {
  int n = 0;
  bool finalizing = x->in_finalizer;
  lua_State *L = x->L;
  while (n < MAX_CHAIN) {
    chain[n++] = L;
    if (x->lib == NULL || lua_status(L) != LUA_YIELD) {
      break;
    }
    L = x->lib->inner(L);
    if (L == NULL && finalizing) {
      L = x->fin;
      finalizing = false;
    }
    if (L == NULL) {
      break;
    }
  }
  return n;
}

void la_exec_close(la_exec_t *x) {
  lua_State *chain[MAX_CHAIN];
  int n = active_chain(x, chain);
  x->held = NULL;
  x->in_finalizer = false;
  x->marks = 0;
  int budget = CLOSE_INSTRUCTIONS;
  while (n > 0) {
    lua_State *L = chain[--n];
    la_exec_bounded_begin(x, L, budget > CLOSE_STEP ? budget : CLOSE_STEP);
    lua_resetthread(L);
    budget = x->close_budget;
    la_exec_bounded_end(x);
  }
  lua_settop(x->L, 0);
}

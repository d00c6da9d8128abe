/* coroutine.*, pcall and xpcall in which a process can be suspended.
 *
 * Stock coroutine.resume takes every yield of its coroutine for the user's.
 * Here a system yield (sched/budget.h) is passed on outward by lua_yieldk, and
 * when the process goes on, the continuation resumes the same coroutine again;
 * so it works through any number of coroutines. Such a yield carries no
 * values, and so nothing has to be kept but the coroutine itself: resume has
 * it in its first stack slot, a wrap function in its upvalue. That is also how
 * la_co_inner finds the chain of a suspended process.
 *
 * The main thread of a process is resumed by the scheduler and so could yield.
 * Scripts must not notice: to them it is what it is in stock Lua, no coroutine.
 *
 * Barriers. Stock Lua refuses coroutine.yield inside the callbacks of sort,
 * gsub and others, and programs see that (pcall, isyieldable). Our versions
 * can be suspended there by the scheduler, but the user's yield must stay
 * refused. They note themselves in x->marks (la_exec_enter); pcall, xpcall and
 * resume put the marks back to what they were on entry, which continuations
 * have as their context. */
#include "lib/lib_co.h"

#include <lauxlib.h>

static lua_State *check_co(lua_State *L) {
  lua_State *co = lua_tothread(L, 1);
  luaL_argexpected(L, co != NULL, 1, "thread");
  return co;
}

/* ---- resuming ---------------------------------------------------------- */

static int move_results(lua_State *L, lua_State *co, int n) {
  if (!lua_checkstack(L, n + 1)) {
    lua_pop(co, n);
    lua_pushliteral(L, "too many results to resume");
    return LA_CO_ERROR;
  }
  lua_xmove(co, L, n);
  return n;
}

int la_co_step(lua_State *L, lua_State *co, int narg, int marks) {
  la_exec_t *x = la_exec_of(L);
  bool chain_ok = x->chain_ok;
  x->chain_ok = chain_ok && L == x->running && lua_isyieldable(L);
  la_exec_switch(x, co);
  int nres;
  int status = lua_resume(co, L, narg, &nres);
  if (status == LUA_YIELD && x->sysyield) {
    return LA_CO_SYSYIELD;
  }
  x->chain_ok = chain_ok;
  x->marks = marks;
  la_exec_switch(x, L);
  if (x->stop) {
    return la_exec_halt(L);
  }
  if (status != LUA_OK && status != LUA_YIELD) {
    lua_xmove(co, L, 1);
    return LA_CO_ERROR;
  }
  return move_results(L, co, nres);
}

/* Continue 'co' after a system yield: finalizers which its hook had started
 * go first. */
static int step_again(lua_State *L, lua_State *co, int marks) {
  la_exec_t *x = la_exec_of(L);
  if (x->held == co) {
    x->running = L;
    if (x->lib->finalize(x, L)) {
      return LA_CO_SYSYIELD;
    }
    x->held = NULL;
  }
  x->running = L;
  return la_co_step(L, co, 0, marks);
}

/* Start or go on with 'co': the top 'narg' values of L are its arguments. */
static int step_first(lua_State *L, lua_State *co, int narg) {
  la_exec_t *x = la_exec_of(L);
  if (co == x->held) {
    lua_pop(L, narg);
    lua_pushliteral(L, "cannot resume non-suspended coroutine");
    return LA_CO_ERROR;
  }
  if (la_exec_is_deep(x)) {
    lua_pop(L, narg);
    lua_pushliteral(L, "C stack overflow");
    return LA_CO_ERROR;
  }
  if (!lua_checkstack(co, narg)) {
    lua_pushliteral(L, "too many arguments to resume");
    return LA_CO_ERROR;
  }
  lua_xmove(L, co, narg);
  int marks = x->marks;
  x->marks = (marks & LA_MARK_DEPTH_MASK) + LA_MARK_DEPTH;
  return la_co_step(L, co, narg, marks);
}

/* A coroutine starts with a count of its own, so a loop of short ones would
 * never see the end of its slice unless making and resuming is charged. */
enum { RESUME_UNITS = 10 };

static void charge_creation(lua_State *L) {
  unsigned half = (unsigned)la_exec_of(L)->period / 2;
  la_charge(L, half > 0 ? half : 1);
}

static int resume_result(lua_State *L, int n) {
  if (n == LA_CO_ERROR) {
    lua_pushboolean(L, 0);
    lua_insert(L, -2);
    return 2;
  }
  lua_pushboolean(L, 1);
  lua_insert(L, -(n + 1));
  return n + 1;
}

static int resume_k(lua_State *L, int status, lua_KContext marks) {
  (void)status;
  int n = step_again(L, lua_tothread(L, 1), (int)marks);
  if (n == LA_CO_SYSYIELD) {
    return la_preempt(L, marks, resume_k);
  }
  return resume_result(L, n);
}

static int co_resume(lua_State *L) {
  lua_State *co = check_co(L);
  la_charge(L, RESUME_UNITS);
  int marks = la_exec_of(L)->marks;
  int n = step_first(L, co, lua_gettop(L) - 1);
  if (n == LA_CO_SYSYIELD) {
    return la_preempt(L, marks, resume_k);
  }
  return resume_result(L, n);
}

/* ---- close and wrap ---------------------------------------------------- */

/* Close the pending variables of 'co', which is not active. Its __close
 * methods run on it and cannot be suspended. */
static int close_co(lua_State *L, lua_State *co) {
  la_exec_t *x = la_exec_of(L);
  bool chain_ok = x->chain_ok;
  int marks = x->marks;
  x->chain_ok = false;
  la_exec_switch(x, co);
  int status = lua_resetthread(co);
  x->chain_ok = chain_ok;
  x->marks = marks;
  la_exec_switch(x, L);
  if (x->stop) {
    la_exec_halt(L);
  }
  return status;
}

static int wrap_error(lua_State *L, lua_State *co) {
  int status = lua_status(co);
  if (status != LUA_OK && status != LUA_YIELD && co != la_exec_of(L)->held) {
    lua_xmove(L, co, 1); /* lua_resetthread expects the error on top */
    status = close_co(L, co);
    lua_xmove(co, L, 1);
  }
  if (status != LUA_ERRMEM && lua_type(L, -1) == LUA_TSTRING) {
    luaL_where(L, 1);
    lua_insert(L, -2);
    lua_concat(L, 2);
  }
  return lua_error(L);
}

static int wrap_k(lua_State *L, int status, lua_KContext marks) {
  (void)status;
  lua_State *co = lua_tothread(L, lua_upvalueindex(1));
  int n = step_again(L, co, (int)marks);
  if (n == LA_CO_SYSYIELD) {
    return la_preempt(L, marks, wrap_k);
  }
  return n == LA_CO_ERROR ? wrap_error(L, co) : n;
}

static int wrap_call(lua_State *L) {
  lua_State *co = lua_tothread(L, lua_upvalueindex(1));
  la_charge(L, RESUME_UNITS);
  int marks = la_exec_of(L)->marks;
  int n = step_first(L, co, lua_gettop(L));
  if (n == LA_CO_SYSYIELD) {
    return la_preempt(L, marks, wrap_k);
  }
  return n == LA_CO_ERROR ? wrap_error(L, co) : n;
}

static int co_create(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  charge_creation(L);
  lua_State *co = lua_newthread(L);
  lua_pushvalue(L, 1);
  lua_xmove(L, co, 1);
  return 1;
}

static int co_wrap(lua_State *L) {
  co_create(L);
  lua_pushcclosure(L, wrap_call, 1);
  return 1;
}

/* ---- state of coroutines ----------------------------------------------- */

/* A finalizer runs on a coroutine that scripts should not see: to them it runs
 * on the one it interrupted. */
static lua_State *visible(lua_State *L) {
  la_exec_t *x = la_exec_of(L);
  return x->in_finalizer && L == x->fin ? x->fin_of : L;
}

static const char *state_of(lua_State *L, lua_State *co) {
  if (co == L || co == visible(L)) {
    return "running";
  }
  if (co == la_exec_of(L)->held) {
    return "normal";
  }
  lua_Debug ar;
  switch (lua_status(co)) {
    case LUA_YIELD:
      return "suspended";
    case LUA_OK:
      if (lua_getstack(co, 0, &ar)) {
        return "normal";
      }
      return lua_gettop(co) == 0 ? "dead" : "suspended";
    default:
      return "dead";
  }
}

static int co_status(lua_State *L) {
  lua_State *co = check_co(L);
  lua_pushstring(L, state_of(L, co));
  return 1;
}

static int co_close(lua_State *L) {
  lua_State *co = check_co(L);
  const char *state = state_of(L, co);
  if (state[0] != 'd' && state[0] != 's') {
    return luaL_error(L, "cannot close a %s coroutine", state);
  }
  if (close_co(L, co) == LUA_OK) {
    lua_pushboolean(L, 1);
    return 1;
  }
  lua_pushboolean(L, 0);
  lua_xmove(co, L, 1);
  return 2;
}

static int co_isyieldable(lua_State *L) {
  lua_State *co = lua_isnone(L, 1) ? L : check_co(L);
  la_exec_t *x = la_exec_of(L);
  bool barred = co == x->L || (co == x->running && la_exec_is_barred(x));
  lua_pushboolean(L, !barred && lua_isyieldable(co));
  return 1;
}

static int co_running(lua_State *L) {
  lua_State *co = visible(L);
  bool main = lua_pushthread(co);
  if (co != L) {
    lua_xmove(co, L, 1);
  }
  lua_pushboolean(L, main);
  return 2;
}

static int co_yield(lua_State *L) {
  la_exec_t *x = la_exec_of(L);
  if (visible(L) == x->L) {
    lua_pushliteral(L, "attempt to yield from outside a coroutine");
    return lua_error(L);
  }
  if (L == x->running && la_exec_is_barred(x)) {
    lua_pushliteral(L, "attempt to yield across a C-call boundary");
    return lua_error(L);
  }
  return lua_yield(L, lua_gettop(L));
}

lua_State *la_co_inner(lua_State *L) {
  lua_Debug ar;
  if (!lua_getstack(L, 0, &ar) || !lua_getinfo(L, "S", &ar) ||
      ar.what[0] != 'C') {
    return NULL; /* the hook suspended a Lua function */
  }
  lua_getinfo(L, "f", &ar);
  lua_CFunction f = lua_tocfunction(L, -1);
  lua_State *co = NULL;
  if (f == wrap_call && lua_getupvalue(L, -1, 1) != NULL) {
    co = lua_tothread(L, -1);
    lua_pop(L, 1);
  } else if (f == co_resume && lua_getlocal(L, &ar, 1) != NULL) {
    co = lua_tothread(L, -1);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return co;
}

/* ---- pcall ------------------------------------------------------------- */

/* The context of both: the marks on entry, and whether an extra slot (the
 * handler) lies below the results. */
static int protected_end(lua_State *L, int status, lua_KContext ctx) {
  la_exec_t *x = la_exec_of(L);
  if (x->stop) {
    return la_exec_halt(L);
  }
  if (L == x->running) {
    x->marks = (int)(ctx >> 2);
  }
  if (status != LUA_OK && status != LUA_YIELD) {
    lua_pushboolean(L, 0);
    lua_pushvalue(L, -2);
    return 2;
  }
  return lua_gettop(L) - (int)(ctx & 3);
}

static int too_deep(lua_State *L) {
  lua_pushliteral(L, "C stack overflow");
  return lua_error(L);
}

/* The context for protected_end; 'f' is the slot of the function to be called,
 * which is not called when calls are nested too deep. */
static lua_KContext protected_start(lua_State *L, int f, int extra) {
  la_exec_t *x = la_exec_of(L);
  const lua_KContext ctx = (lua_KContext)x->marks * 4 + extra;
  if (la_exec_is_deep(x)) {
    lua_pushcfunction(L, too_deep);
    lua_replace(L, f);
  }
  if (L == x->running) {
    x->marks += LA_MARK_DEPTH;
  }
  return ctx;
}

static int base_pcall(lua_State *L) {
  luaL_checkany(L, 1);
  lua_pushboolean(L, 1); /* first result when there is no error */
  lua_insert(L, 1);
  const lua_KContext ctx = protected_start(L, 2, 0);
  int status =
      lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, ctx, protected_end);
  return protected_end(L, status, ctx);
}

static int base_xpcall(lua_State *L) {
  int n = lua_gettop(L);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_pushboolean(L, 1);
  lua_pushvalue(L, 1);
  lua_rotate(L, 3, 2); /* function, handler, true, function, arguments */
  const lua_KContext ctx = protected_start(L, 4, 2);
  int status = lua_pcallk(L, n - 2, LUA_MULTRET, 2, ctx, protected_end);
  return protected_end(L, status, ctx);
}

static const luaL_Reg base[] = {
    {"pcall", base_pcall}, {"xpcall", base_xpcall}, {NULL, NULL}};
static const luaL_Reg coroutine[] = {
    {"close", co_close},     {"create", co_create},
    {"resume", co_resume},   {"running", co_running},
    {"status", co_status},   {"isyieldable", co_isyieldable},
    {"wrap", co_wrap},       {"yield", co_yield},
    {NULL, NULL}};
const la_std_part_t la_co_parts[] = {{LA_TABLE_GLOBALS, base, false},
                                     {LA_TABLE_COROUTINE, coroutine, false},
                                     {0, NULL, false}};

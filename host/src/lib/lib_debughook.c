/* debug.sethook beside the preemption's hook.
 *
 * A coroutine has one hook, and it is always la_exec_hook; what a script sets
 * is kept in a record per coroutine, and the coroutine's mask is what the
 * script and the preemption need together. Once a script has set a hook in a
 * process (x->hooked), every event of the process comes here first.
 *
 * Counting. Stock counts the instructions of the hook function itself, too, so
 * the count hook must be left alone between its events. Up to EXACT_COUNT the
 * script's count therefore is the base of the count hook, and the process is
 * preempted at its events only (then the instructions of the hook function are
 * forgotten). A larger count is made up of shorter ones.
 * In both modes a count hook that is on is not shortened for preemption.
 *
 * Where to yield. A count event that yields must not be followed by a line
 * event of the same instruction: the script's function would run in a
 * coroutine that is about to be suspended. So with a line hook only line
 * events yield; code that runs for long comes to a new line, or back to the
 * same one by a jump, all the time. And not at the first instruction of a
 * function with a call hook: the VM would report the call again.
 *
 * A script's hook function runs with hooks off, as in stock, and cannot be
 * preempted. */
#include "lib/lib_debughook.h"

#include "lib/lib_gc.h"
#include "lib/lib_slow.h"

#include <string.h>

enum { EXACT_COUNT = 10000, LONG_STEP = 1000, CALL_UNITS = 5 };

/* A userdata; its user value is the script's function. */
typedef struct {
  int mask;  /* as the script gave it */
  int count; /* if LUA_MASKCOUNT */
  int left;  /* of 'count' */
  bool fresh; /* a call event was the last: the function has not started */
} record_t;

static const char key; /* its address: a weak table, coroutine to record */

/* ---- records ----------------------------------------------------------- */

static void push_records(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &key) != LUA_TNIL) {
    return;
  }
  lua_pop(L, 1);
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "k");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_pushvalue(L, -1);
  lua_setfield(L, LUA_REGISTRYINDEX, "_HOOKKEY"); /* where stock has its own */
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
}

/* Push the record of 'co' on L, or nil. */
static record_t *push_record(lua_State *L, lua_State *co) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &key) != LUA_TTABLE) {
    return NULL;
  }
  if (co == L) {
    lua_pushthread(L);
  } else {
    lua_pushthread(co);
    lua_xmove(co, L, 1);
  }
  lua_rawget(L, -2);
  lua_remove(L, -2);
  return lua_touserdata(L, -1);
}

/* ---- the settings of a coroutine --------------------------------------- */

/* The base of the count hook; 0: no count hook. */
static int base_count(const la_exec_t *x, const record_t *r) {
  if (!(r->mask & LUA_MASKCOUNT)) {
    return x->count_mode ? x->period : 0;
  }
  if (r->count <= EXACT_COUNT) {
    return r->count;
  }
  return r->left < LONG_STEP ? r->left : LONG_STEP;
}

static void apply(const la_exec_t *x, lua_State *co, const record_t *r) {
  int count = base_count(x, r);
  int mask = (r->mask & ~LUA_MASKCOUNT) | (count > 0 ? LUA_MASKCOUNT : 0);
  if (mask != lua_gethookmask(co) || count != lua_gethookcount(co)) {
    la_exec_sethook(co, mask, count);
  }
}

/* A coroutine without hooks of a script; it may have inherited some. */
static void apply_none(const la_exec_t *x, lua_State *co) {
  int mask = x->count_mode ? LUA_MASKCOUNT : 0;
  int count = x->count_mode ? x->period : 0;
  if (mask != lua_gethookmask(co) || count != lua_gethookcount(co)) {
    la_exec_sethook(co, mask, count);
  }
}

/* ---- events ------------------------------------------------------------ */

static bool waits(const la_exec_t *x) {
  return la_exec_is_over(x) || x->stop || x->fin_pending;
}

/* The script's function is the user value of the record on top. */
static void call_script(lua_State *L, const lua_Debug *ar) {
  static const char *const names[] = {"call", "return", "line", "count",
                                      "tail call"};
  lua_getiuservalue(L, -1, 1);
  lua_pushstring(L, names[ar->event]);
  if (ar->currentline >= 0) {
    lua_pushinteger(L, ar->currentline);
  } else {
    lua_pushnil(L);
  }
  lua_call(L, 2, 0);
}

/* Event of a coroutine in which no script has set a hook. */
static bool plain_event(la_exec_t *x, lua_State *L, const lua_Debug *ar) {
  bool counted = ar->event == LUA_HOOKCOUNT;
  if (counted) {
    la_exec_use(x, (unsigned)lua_gethookcount(L));
  }
  if (!counted || x->count_mode || !waits(x)) {
    apply_none(x, L);
  }
  return counted;
}

/* Take what has been counted off the script's count. True: it is over. */
static bool count_down(lua_State *L, record_t *r) {
  if (!(r->mask & LUA_MASKCOUNT)) {
    return false;
  }
  r->left -= lua_gethookcount(L);
  if (r->left > 0) {
    return false;
  }
  r->left = r->count;
  return true;
}

static bool count_event(la_exec_t *x, lua_State *L, record_t *r,
                        const lua_Debug *ar) {
  bool script = count_down(L, r);
  bool fresh = r->fresh;
  bool lines = (r->mask & LUA_MASKLINE) != 0;
  if (!lines) {
    r->fresh = false;
  }
  la_exec_use(x, (unsigned)lua_gethookcount(L));
  if (r->mask & LUA_MASKCOUNT) {
    apply(x, L, r);
  } else if (fresh && waits(x)) {
    la_exec_sethook(L, r->mask | LUA_MASKCOUNT, 1);
  } else if (x->count_mode || !waits(x)) {
    apply(x, L, r);
  }
  if (script) {
    call_script(L, ar);
  }
  return !lines && !fresh;
}

/* The script's function has run for an event other than a count. Instructions
 * of it take part in the count, and one that brings the count to its end there
 * gets no event; with bad luck all of them do. So these calls are charged, and
 * when the slice is over the next instruction is asked for. */
static void charge_call(la_exec_t *x, lua_State *L) {
  if (x->count_mode) {
    la_exec_use(x, CALL_UNITS);
    x->reductions += CALL_UNITS;
  }
  int mask = lua_gethookmask(L); /* the function may have changed it */
  if (waits(x) && !(mask & LUA_MASKLINE)) {
    la_exec_sethook(L, mask | LUA_MASKCOUNT, 1);
  }
}

bool la_debughook_event(lua_State *L, lua_Debug *ar) {
  la_exec_t *x = la_exec_of(L);
  int top = lua_gettop(L);
  record_t *r = push_record(L, L);
  bool point;
  if (r == NULL) {
    point = plain_event(x, L, ar);
  } else if (ar->event == LUA_HOOKCOUNT) {
    point = count_event(x, L, r, ar);
  } else {
    bool fresh = r->fresh;
    bool line = ar->event == LUA_HOOKLINE;
    r->fresh = ar->event == LUA_HOOKCALL || ar->event == LUA_HOOKTAILCALL;
    call_script(L, ar);
    point = line && !fresh;
    charge_call(x, L);
  }
  lua_settop(L, top);
  return point;
}

/* ---- the functions ----------------------------------------------------- */

static lua_State *thread_arg(lua_State *L, int *arg) {
  lua_State *co = lua_tothread(L, 1);
  *arg = co != NULL ? 1 : 0;
  return co != NULL ? co : L;
}

static int parse_mask(const char *letters, int count) {
  int mask = 0;
  mask |= strchr(letters, 'c') != NULL ? LUA_MASKCALL : 0;
  mask |= strchr(letters, 'r') != NULL ? LUA_MASKRET : 0;
  mask |= strchr(letters, 'l') != NULL ? LUA_MASKLINE : 0;
  mask |= count > 0 ? LUA_MASKCOUNT : 0;
  return mask;
}

/* Set or, with r == NULL, remove the record of 'co'; the new one is on top. */
static void store(lua_State *L, lua_State *co, const record_t *r) {
  la_exec_t *x = la_exec_of(L);
  push_records(L);
  luaL_checkstack(L, 3, NULL);
  if (co != L && !lua_checkstack(co, 1)) {
    luaL_error(L, "stack overflow");
  }
  lua_pushthread(co);
  lua_xmove(co, L, 1);
  if (r != NULL) {
    lua_pushvalue(L, -3);
  } else {
    lua_pushnil(L);
  }
  lua_rawset(L, -3);
  lua_pop(L, 1);
  x->hooked = true;
  if (r != NULL) {
    apply(x, co, r);
  } else {
    apply_none(x, co);
  }
  if (waits(x)) {
    la_exec_poke(x);
  }
}

static int db_sethook(lua_State *L) {
  int arg;
  lua_State *co = thread_arg(L, &arg);
  int mask = 0;
  int count = 0;
  if (!lua_isnoneornil(L, arg + 1)) {
    const char *letters = luaL_checkstring(L, arg + 2);
    luaL_checktype(L, arg + 1, LUA_TFUNCTION);
    count = (int)luaL_optinteger(L, arg + 3, 0);
    mask = parse_mask(letters, count);
  }
  if (mask == 0) {
    if (la_exec_of(L)->hooked) {
      store(L, co, NULL);
    }
    return 0;
  }
  la_lazy_settle_all(L); /* a hook would see calls that fill tables */
  record_t *r = lua_newuserdatauv(L, sizeof *r, 1);
  *r = (record_t){.mask = mask,
                  .count = count,
                  .left = count};
  lua_pushvalue(L, arg + 1);
  lua_setiuservalue(L, -2, 1);
  store(L, co, r);
  return 0;
}

static int db_gethook(lua_State *L) {
  int arg;
  lua_State *co = thread_arg(L, &arg);
  if (co != L && !lua_checkstack(co, 1)) {
    return luaL_error(L, "stack overflow");
  }
  const record_t *r = push_record(L, co);
  if (r == NULL) {
    luaL_pushfail(L);
    return 1;
  }
  lua_getiuservalue(L, -1, 1);
  char letters[4];
  int n = 0;
  if (r->mask & LUA_MASKCALL) {
    letters[n++] = 'c';
  }
  if (r->mask & LUA_MASKRET) {
    letters[n++] = 'r';
  }
  if (r->mask & LUA_MASKLINE) {
    letters[n++] = 'l';
  }
  lua_pushlstring(L, letters, (size_t)n);
  lua_pushinteger(L, r->count);
  return 3;
}

/* Stock names a finalizer's call "__gc"; here it is called from C code. */
static int db_getinfo(lua_State *L) {
  bool finalizer = la_exec_of(L)->in_finalizer && lua_isinteger(L, 1) &&
                   la_gc_is_finalizer(L, (int)lua_tointeger(L, 1));
  int n = la_slow_stock(L, LA_STOCK_GETINFO);
  if (finalizer && lua_istable(L, -1)) {
    if (lua_getfield(L, -1, "namewhat") != LUA_TNIL) {
      lua_pushliteral(L, "metamethod");
      lua_setfield(L, -3, "namewhat");
      lua_pushliteral(L, "__gc");
      lua_setfield(L, -3, "name");
    }
    lua_pop(L, 1);
  }
  return n;
}

static const luaL_Reg functions[] = {{"sethook", db_sethook},
                                     {"gethook", db_gethook},
                                     {"getinfo", db_getinfo},
                                     {NULL, NULL}};
const la_std_part_t la_debughook_parts[] = {
    {LA_TABLE_DEBUG, functions, false}, {0, NULL, false}};

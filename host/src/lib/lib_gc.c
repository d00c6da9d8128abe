/* Finalizers (__gc) as ordinary, preemptible code.
 *
 * Lua calls a finalizer in the middle of whatever allocates, with hooks off:
 * an endless loop in one could never be stopped. So Lua must not know of a
 * script's finalizers. For each object that a script marks (setmetatable with
 * a __gc field) there is a *sentinel*, a small userdata with a finalizer in C,
 * which holds the object. An ephemeron table maps the object to its sentinel,
 * so that both die in the same cycle, and the object is seen by weak tables as
 * one that is being finalized. The sentinel's finalizer puts it into a queue
 * and arms the hook; at the next safe point the hook runs the queue on a
 * coroutine of its own (la_gc_finalize), which can be preempted like any other
 * code. Order (newest mark first), resurrection, marking again, the moment when
 * __gc is looked up, warnings for errors: as stock.
 *
 * The metatable keeps its __gc as the script set it. It is taken out only
 * while lua_setmetatable looks at it.
 *
 * Scripts can notice: a finalizer runs some instructions later than in
 * stock (collectgarbage still runs all of them before it returns) and on a
 * coroutine of its own, so a traceback does not show what it interrupted. Not
 * covered: a metatable of a C module's userdata that a script gives a __gc,
 * and objects that a C module marks with a Lua __gc; Lua calls those itself.
 *
 * Memory: all that the queue needs is allocated when the object is marked. The
 * sentinels themselves are its links. */
#include "lib/lib_gc.h"

#include "lib/lib_slow.h"

#include <stdlib.h>

/* A userdata; its user values: the object, the next in the queue. */
typedef struct {
  uint64_t order; /* of marking */
} sentinel_t;

enum { OBJECT = 1, NEXT = 2 };

/* A userdata, in the registry under the address of 'key'. */
typedef struct {
  uint64_t marked; /* sentinels made so far */
  lua_State *co;   /* runs the finalizers */
  bool closing;    /* la_gc_finish runs: marks do nothing any more */
} queue_t;

/* Its user values. */
enum { FIRST = 1, LAST = 2, SENTINELS = 3, META = 4, COROUTINE = 5, VALUES = 5 };

enum { FINISH_INSTRUCTIONS = 1000000 };

static const char key;

static int sentinel_dies(lua_State *L);

/* Push the queue; NULL (and nil) when nothing was ever marked. */
static queue_t *push_queue(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &key);
  return lua_touserdata(L, -1);
}

static queue_t *need_queue(lua_State *L) {
  queue_t *q = push_queue(L);
  if (q != NULL) {
    return q;
  }
  lua_pop(L, 1);
  q = lua_newuserdatauv(L, sizeof *q, VALUES);
  *q = (queue_t){.marked = 0};
  lua_newtable(L); /* weak keys: an ephemeron table */
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "k");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_setiuservalue(L, -2, SENTINELS);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, sentinel_dies);
  lua_setfield(L, -2, "__gc");
  lua_setiuservalue(L, -2, META);
  q->co = lua_newthread(L);
  lua_setiuservalue(L, -2, COROUTINE);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
  return q;
}

/* ---- marking ----------------------------------------------------------- */

/* The value at 1 is to be finalized. */
static void mark(lua_State *L) {
  int top = lua_gettop(L);
  luaL_checkstack(L, 6, NULL);
  queue_t *q = need_queue(L);
  lua_getiuservalue(L, -1, SENTINELS);
  lua_pushvalue(L, 1);
  if (!q->closing && lua_rawget(L, -2) == LUA_TNIL) {
    lua_pop(L, 1);
    sentinel_t *s = lua_newuserdatauv(L, sizeof *s, 2);
    s->order = q->marked++;
    lua_getiuservalue(L, top + 1, META);
    lua_setmetatable(L, -2);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, -2);
    lua_rawset(L, top + 2);
    /* Not earlier: had that failed, the sentinel would die for nothing. */
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, OBJECT);
    la_exec_of(L)->has_finalizers = true;
  }
  lua_settop(L, top);
}

/* Set the metatable at 2 for the value at 1, hiding __gc from Lua. Nothing
 * here allocates once __gc is out. */
static void set_marked(lua_State *L) {
  mark(L);
  lua_pushliteral(L, "__gc");
  lua_pushvalue(L, 3);
  lua_rawget(L, 2);
  lua_pushvalue(L, 3);
  lua_pushnil(L);
  lua_rawset(L, 2);
  lua_pushvalue(L, 2);
  lua_setmetatable(L, 1);
  lua_rawset(L, 2);
}

static bool has_raw_gc(lua_State *L, int metatable) {
  metatable = lua_absindex(L, metatable);
  lua_pushliteral(L, "__gc");
  bool found = lua_rawget(L, metatable) != LUA_TNIL;
  lua_pop(L, 1);
  return found;
}

/* The arguments are checked: the value at 1, a table or nil at 2. */
static int set_metatable(lua_State *L, bool may_mark) {
  lua_settop(L, 2);
  if (may_mark && lua_istable(L, 2) && has_raw_gc(L, 2)) {
    set_marked(L);
  } else {
    lua_setmetatable(L, 1);
  }
  lua_settop(L, 1);
  return 1;
}

static void check_metatable(lua_State *L) {
  int type = lua_type(L, 2);
  luaL_argexpected(L, type == LUA_TNIL || type == LUA_TTABLE, 2,
                   "nil or table");
}

static int base_setmetatable(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  check_metatable(L);
  la_lazy_settle(L, 1);
  if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL) {
    return luaL_error(L, "cannot change a protected metatable");
  }
  return set_metatable(L, true);
}

static int db_setmetatable(lua_State *L) {
  check_metatable(L);
  la_lazy_settle(L, 1);
  bool may_mark = lua_istable(L, 1);
  if (lua_type(L, 1) == LUA_TUSERDATA) { /* a C module may have marked it */
    may_mark = !lua_getmetatable(L, 1) || !has_raw_gc(L, -1);
  }
  return set_metatable(L, may_mark);
}

/* ---- the queue --------------------------------------------------------- */

/* __gc of a sentinel: runs inside the collector and must not fail. */
static int sentinel_dies(lua_State *L) {
  la_exec_t *x = la_exec_of(L);
  queue_t *q = push_queue(L); /* slot 2 */
  if (q == NULL || q->closing ||
      lua_getiuservalue(L, 1, OBJECT) == LUA_TNIL) {
    return 0;
  }
  lua_getiuservalue(L, 2, SENTINELS);
  lua_insert(L, 3);
  lua_pushnil(L);
  lua_rawset(L, 3); /* may be marked again from now on */
  if (lua_getiuservalue(L, 2, LAST) == LUA_TNIL) {
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, 2, FIRST);
  } else {
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, NEXT);
  }
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, 2, LAST);
  x->fin = q->co;
  x->fin_pending = true;
  la_exec_poke(x);
  return 0;
}

/* Take the first sentinel out of the queue at 'queue' and push its object.
 * False: the queue is empty. */
static bool pop_object(lua_State *L, int queue) {
  if (lua_getiuservalue(L, queue, FIRST) == LUA_TNIL) {
    return false;
  }
  if (lua_getiuservalue(L, -1, NEXT) == LUA_TNIL) {
    lua_pushnil(L);
    lua_setiuservalue(L, queue, LAST);
  }
  lua_setiuservalue(L, queue, FIRST);
  lua_getiuservalue(L, -1, OBJECT);
  lua_remove(L, -2);
  return true;
}

/* ---- calling finalizers ------------------------------------------------ */

static void warn(lua_State *L, const char *text) {
  lua_warning(L, "error in __gc (", 1);
  lua_warning(L, text, 1);
  lua_warning(L, ")", 0);
}

/* The finalizer of the object on top has failed; the error is on top. */
static void warn_error(lua_State *L) {
  warn(L, lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1)
                                         : "error object is not a string");
}

/* Replace the object on top by its finalizer and itself. False: it has none,
 * or one that cannot be called. */
static bool push_finalizer(lua_State *L) {
  if (!lua_getmetatable(L, -1)) {
    return false;
  }
  lua_pushliteral(L, "__gc");
  int type = lua_rawget(L, -2);
  lua_remove(L, -2);
  if (type == LUA_TNIL) {
    return false;
  }
  if (type != LUA_TFUNCTION && !la_slow_has(L, -1, "__call")) {
    warn(L, lua_pushfstring(
                L, "attempt to call a %s value (metamethod '__gc')",
                luaL_typename(L, -1)));
    return false;
  }
  lua_insert(L, -2);
  return true;
}

static int finalizers_k(lua_State *L, int status, lua_KContext ctx) {
  la_exec_t *x = la_exec_of(L);
  (void)ctx;
  for (;;) {
    x->marks = (x->fin_marks & LA_MARK_DEPTH_MASK) + LA_MARK_BARRIER;
    if (x->stop) {
      return la_exec_halt(L);
    }
    if (status != LUA_OK && status != LUA_YIELD) {
      warn_error(L);
    }
    lua_settop(L, 1);
    if (!pop_object(L, 1)) {
      return 0;
    }
    status = LUA_OK;
    if (push_finalizer(L)) {
      status = lua_pcallk(L, 1, 0, 0, 0, finalizers_k);
    }
  }
}

/* The body of the coroutine. */
static int run_finalizers(lua_State *L) {
  lua_settop(L, 0);
  push_queue(L);
  return finalizers_k(L, LUA_OK, 0);
}

bool la_gc_finalize(la_exec_t *x, lua_State *from) {
  lua_State *co = x->fin;
  if (!x->in_finalizer) {
    x->fin_of = from;
    x->fin_marks = x->marks;
    x->in_finalizer = true;
    lua_settop(co, 0);
    lua_pushcfunction(co, run_finalizers);
  }
  bool chain_ok = x->chain_ok;
  x->chain_ok = from == NULL ||
                (chain_ok && from == x->running && lua_isyieldable(from));
  x->fin_pending = false;
  la_exec_switch(x, co);
  int nres;
  int status = lua_resume(co, from, 0, &nres);
  if (status == LUA_YIELD && x->sysyield) {
    return true;
  }
  if (status != LUA_OK) { /* out of memory; the rest of the queue waits */
    lua_resetthread(co);
  }
  lua_settop(co, 0);
  x->in_finalizer = false;
  x->marks = x->fin_marks;
  x->chain_ok = chain_ok;
  x->running = from;
  if (from != NULL) {
    la_exec_switch(x, from);
  }
  return false;
}

bool la_gc_is_finalizer(lua_State *L, int level) {
  lua_Debug ar;
  if (L != la_exec_of(L)->fin || !lua_getstack(L, level + 1, &ar) ||
      !lua_getinfo(L, "f", &ar)) {
    return false;
  }
  bool ours = lua_tocfunction(L, -1) == run_finalizers;
  lua_pop(L, 1);
  return ours;
}

/* ---- collectgarbage ---------------------------------------------------- */

/* The results are on top; let the finalizers run before they are returned. */
static int collected_k(lua_State *L, int status, lua_KContext nres) {
  (void)status;
  la_exec_t *x = la_exec_of(L);
  if ((x->fin_pending || x->in_finalizer) && la_gc_finalize(x, L)) {
    return la_preempt(L, nres, collected_k);
  }
  return (int)nres;
}

static int base_collectgarbage(lua_State *L) {
  static const char *const options[] = {
      "collect",     "step",       "count", "stop",         "restart",
      "setpause",    "setstepmul", "isrunning", "generational", "incremental",
      NULL};
  int option = luaL_checkoption(L, 1, "collect", options);
  if (la_exec_of(L)->in_finalizer) {
    luaL_pushfail(L);
    return 1;
  }
  int nres = la_slow_stock(L, LA_STOCK_COLLECTGARBAGE);
  return option <= 1 ? collected_k(L, LUA_OK, nres) : nres;
}

/* ---- the end of a process ---------------------------------------------- */

typedef struct {
  uint64_t order;
  int index; /* in the list of objects */
} last_t;

static int newest_first(const void *a, const void *b) {
  uint64_t left = ((const last_t *)a)->order;
  uint64_t right = ((const last_t *)b)->order;
  return left < right ? 1 : left > right ? -1 : 0;
}

/* Call the finalizer of the object on top, and pop it. False: the budget is
 * used up. */
static bool finish_object(lua_State *L) {
  int top = lua_gettop(L) - 1;
  if (push_finalizer(L) && lua_pcall(L, 1, 0, 0) != LUA_OK &&
      !la_exec_of(L)->stop) {
    warn_error(L);
  }
  lua_settop(L, top);
  return !la_exec_of(L)->stop;
}

/* Slots: 1 queue, 2 sentinels, 3 objects, 4 their order. */
static int finish(lua_State *L) {
  queue_t *q = push_queue(L);
  if (q == NULL) {
    return 0;
  }
  q->closing = true;
  while (pop_object(L, 1)) {
    if (!finish_object(L)) {
      return 0;
    }
  }
  lua_settop(L, 1);
  lua_getiuservalue(L, 1, SENTINELS);
  lua_newtable(L);
  int n = 0;
  for (lua_pushnil(L); lua_next(L, 2); n++) {
    lua_rawseti(L, 3, n + 1);
  }
  last_t *list = lua_newuserdatauv(L, sizeof *list * ((size_t)n + 1), 0);
  for (int i = 0; i < n; i++) {
    lua_rawgeti(L, 3, i + 1);
    list[i] = (last_t){((sentinel_t *)lua_touserdata(L, -1))->order, i + 1};
    lua_pop(L, 1);
  }
  qsort(list, (size_t)n, sizeof *list, newest_first);
  for (int i = 0; i < n; i++) {
    lua_rawgeti(L, 3, list[i].index);
    lua_getiuservalue(L, -1, OBJECT);
    lua_remove(L, -2);
    if (!finish_object(L)) {
      return 0;
    }
  }
  return 0;
}

void la_gc_finish(lua_State *L) {
  la_exec_t *x = la_exec_of(L);
  lua_gc(L, LUA_GCSTOP); /* no sentinel may die while they are listed */
  la_exec_bounded_begin(x, L, FINISH_INSTRUCTIONS);
  x->in_finalizer = true;
  lua_settop(L, 0);
  lua_pushcfunction(L, finish);
  lua_pcall(L, 0, 0, 0);
  lua_settop(L, 0);
  la_exec_bounded_end(x);
  x->in_finalizer = false;
}

static const luaL_Reg base[] = {{"collectgarbage", base_collectgarbage},
                                {"setmetatable", base_setmetatable},
                                {NULL, NULL}};
static const luaL_Reg debug[] = {{"setmetatable", db_setmetatable},
                                 {NULL, NULL}};
const la_std_part_t la_gc_parts[] = {{LA_TABLE_GLOBALS, base, false},
                                     {LA_TABLE_DEBUG, debug, false},
                                     {0, NULL, false}};

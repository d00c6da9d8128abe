/* table.*: as stock, but preemptible.
 *
 * On plain tables (la_slow_is_plain) nothing but a comparison of sort calls
 * Lua code. There insert, remove, concat and unpack are the stock functions
 * and only charged for the elements they touch; move and sort, which can
 * take long, are written here so that they can stop in the middle. Anything
 * with metamethods is left to the Lua helpers of lib_slow.c; arguments are
 * checked here, so that messages name the right function.
 *
 * Sort is stock Lua's quicksort, comparison for comparison, since programs
 * see its order (it is not stable) and the calls of their function. As a
 * state machine: 'phase' says which comparison's result comes next, ranges
 * that wait are on a stack of their own. The smaller part is sorted first, so
 * 32 ranges suffice for 2^32 elements. */
#include "lib/lib_table.h"

#include "lib/lib_slow.h"

#include <limits.h>

/* ---- arguments --------------------------------------------------------- */

/* A value that is no table must have these metamethods to be taken for one. */
static void check_table(lua_State *L, int arg, bool reads, bool writes,
                        bool length) {
  if (lua_istable(L, arg)) {
    return;
  }
  if (!lua_getmetatable(L, arg)) {
    luaL_checktype(L, arg, LUA_TTABLE);
  }
  const struct {
    bool wanted;
    const char *name;
  } needs[] = {
      {reads, "__index"}, {writes, "__newindex"}, {length, "__len"}};
  for (int i = 0; i < 3; i++) {
    if (needs[i].wanted) {
      lua_pushstring(L, needs[i].name);
      if (lua_rawget(L, -2) == LUA_TNIL) {
        luaL_checktype(L, arg, LUA_TTABLE);
      }
      lua_pop(L, 1);
    }
  }
  lua_pop(L, 1);
}

/* Go on in 'k' with the length of argument 1 on top of the stack. */
static int with_length(lua_State *L, lua_KFunction k) {
  if (!la_slow_has(L, 1, "__len")) {
    la_exec_enter(L);
    lua_pushinteger(L, luaL_len(L, 1));
    return k(L, LUA_OK, 0);
  }
  la_slow_push(L, "len");
  lua_pushvalue(L, 1);
  return la_slow_call(L, 1, 1, 0, k);
}

static lua_Integer take_length(lua_State *L) {
  int is_integer;
  lua_Integer n = lua_tointegerx(L, -1, &is_integer);
  if (!is_integer) {
    luaL_error(L, "object length is not an integer");
  }
  lua_pop(L, 1);
  return n;
}

static void charge_elements(lua_State *L, lua_Integer n) {
  n /= 4;
  if (n > 0) {
    la_charge(L, n < INT_MAX ? (unsigned)n : INT_MAX);
  }
}

/* The results of a helper are the function's. */
static int return_k(lua_State *L, int status, lua_KContext nres) {
  (void)status;
  la_slow_done(L);
  return (int)nres;
}

/* ---- insert and remove ------------------------------------------------- */

static int insert_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  la_slow_done(L);
  lua_Integer size = (lua_Integer)((lua_Unsigned)take_length(L) + 1);
  lua_Integer pos = size;
  int narg = lua_gettop(L);
  if (narg == 3) {
    pos = luaL_checkinteger(L, 2);
    luaL_argcheck(L, (lua_Unsigned)pos - 1u < (lua_Unsigned)size, 2,
                  "position out of bounds");
  } else if (narg != 2) {
    return luaL_error(L, "wrong number of arguments to 'insert'");
  }
  la_slow_push(L, "insert");
  lua_pushvalue(L, 1);
  lua_pushinteger(L, size);
  lua_pushinteger(L, pos);
  lua_pushvalue(L, narg);
  return la_slow_call(L, 4, 0, 0, return_k);
}

static int tab_insert(lua_State *L) {
  if (la_slow_is_plain(L, 1)) {
    if (lua_gettop(L) == 3) {
      charge_elements(L, (lua_Integer)lua_rawlen(L, 1) - lua_tointeger(L, 2));
    }
    return la_slow_stock(L, LA_STOCK_INSERT);
  }
  check_table(L, 1, true, true, true);
  return with_length(L, insert_k);
}

static int remove_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  la_slow_done(L);
  lua_Integer size = take_length(L);
  lua_Integer pos = luaL_optinteger(L, 2, size);
  if (pos != size) {
    luaL_argcheck(L, (lua_Unsigned)pos - 1u <= (lua_Unsigned)size, 1,
                  "position out of bounds"); /* stock blames 1 */
  }
  la_slow_push(L, "remove");
  lua_pushvalue(L, 1);
  lua_pushinteger(L, size);
  lua_pushinteger(L, pos);
  return la_slow_call(L, 3, 1, 1, return_k);
}

static int tab_remove(lua_State *L) {
  if (la_slow_is_plain(L, 1)) {
    if (lua_gettop(L) == 2) {
      charge_elements(L, (lua_Integer)lua_rawlen(L, 1) - lua_tointeger(L, 2));
    }
    return la_slow_stock(L, LA_STOCK_REMOVE);
  }
  check_table(L, 1, true, true, true);
  return with_length(L, remove_k);
}

/* ---- concat and unpack ------------------------------------------------- */

/* On top: the list of strings, its length; at a bad value also its index and
 * type. */
static int concat_strings_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  la_slow_done(L);
  if (!lua_isnil(L, -1)) {
    return luaL_error(L, "invalid value (%s) at index %I in table for 'concat'",
                      lua_tostring(L, -1), (LUAI_UACINT)lua_tointeger(L, -2));
  }
  lua_pop(L, 2);
  lua_pushcfunction(L, la_std_of(L)->stock[LA_STOCK_CONCAT]);
  lua_pushvalue(L, -3);
  lua_pushvalue(L, 2);
  lua_pushinteger(L, 1);
  lua_pushvalue(L, -5);
  lua_call(L, 4, 1);
  return 1;
}

static int concat_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  la_slow_done(L);
  lua_Integer last = take_length(L);
  luaL_optstring(L, 2, "");
  lua_Integer first = luaL_optinteger(L, 3, 1);
  last = luaL_optinteger(L, 4, last);
  lua_settop(L, 2);
  la_slow_push(L, "strings");
  lua_pushvalue(L, 1);
  lua_pushinteger(L, first);
  lua_pushinteger(L, last);
  lua_pushcfunction(L, la_std_of(L)->stock[LA_STOCK_MATH_TYPE]);
  lua_pushcfunction(L, la_std_of(L)->stock[LA_STOCK_TYPE]);
  return la_slow_call(L, 5, 4, 0, concat_strings_k);
}

static int tab_concat(lua_State *L) {
  if (la_slow_is_plain(L, 1)) {
    charge_elements(L, (lua_Integer)lua_rawlen(L, 1));
    return la_slow_stock(L, LA_STOCK_CONCAT);
  }
  check_table(L, 1, true, false, true);
  return with_length(L, concat_k);
}

static int unpack_list_k(lua_State *L, int status, lua_KContext n) {
  (void)status;
  la_slow_done(L);
  int list = lua_gettop(L);
  luaL_checkstack(L, (int)n, "too many results to unpack");
  for (lua_Integer i = 1; i <= (lua_Integer)n; i++) {
    lua_rawgeti(L, list, i);
  }
  return (int)n;
}

static int unpack_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  la_slow_done(L);
  lua_Integer last = lua_isnoneornil(L, 3) ? take_length(L)
                                           : luaL_checkinteger(L, 3);
  lua_Integer first = luaL_optinteger(L, 2, 1);
  if (first > last) {
    return 0;
  }
  lua_Unsigned n = (lua_Unsigned)last - (lua_Unsigned)first;
  if (n >= (unsigned)INT_MAX || !lua_checkstack(L, (int)++n)) {
    return luaL_error(L, "too many results to unpack");
  }
  la_slow_push(L, "copy");
  lua_pushvalue(L, 1);
  lua_pushinteger(L, first);
  lua_pushinteger(L, last);
  return la_slow_call(L, 3, 1, (lua_KContext)n, unpack_list_k);
}

static int tab_unpack(lua_State *L) {
  int type = lua_type(L, 1);
  if ((type != LUA_TTABLE && type != LUA_TUSERDATA) || la_slow_is_plain(L, 1)) {
    charge_elements(L, type == LUA_TTABLE ? (lua_Integer)lua_rawlen(L, 1) : 0);
    return la_slow_stock(L, LA_STOCK_UNPACK);
  }
  luaL_optinteger(L, 2, 1);
  lua_settop(L, 3);
  if (!lua_isnil(L, 3)) {
    la_exec_enter(L);
    return unpack_k(L, LUA_OK, 0);
  }
  return with_length(L, unpack_k);
}

/* ---- move -------------------------------------------------------------- */

enum { MOVE_STEP = 1000 };

static int move_return_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  la_slow_done(L);
  lua_pushvalue(L, (int)ctx);
  return 1;
}

/* Slots: the arguments, 6: elements moved so far. 'to' (ctx) is the slot of
 * the target; negative: move the last element first. */
static int move_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  int to = (int)(ctx < 0 ? -ctx : ctx);
  lua_Integer first = lua_tointeger(L, 2);
  lua_Integer n = lua_tointeger(L, 3) - first + 1;
  lua_Integer at = lua_tointeger(L, 4);
  lua_Integer done = lua_tointeger(L, 6);
  while (done < n) {
    lua_Integer stop = n - done > MOVE_STEP ? done + MOVE_STEP : n;
    for (; done < stop; done++) {
      lua_Integer i = ctx < 0 ? n - 1 - done : done;
      lua_geti(L, 1, first + i);
      lua_seti(L, to, at + i);
    }
    if (la_charge(L, MOVE_STEP / 4) && done < n && la_can_yield(L)) {
      lua_pushinteger(L, done);
      lua_replace(L, 6);
      return la_preempt(L, ctx, move_k);
    }
  }
  lua_pushvalue(L, to);
  return 1;
}

static int tab_move(lua_State *L) {
  lua_Integer first = luaL_checkinteger(L, 2);
  lua_Integer last = luaL_checkinteger(L, 3);
  lua_Integer at = luaL_checkinteger(L, 4);
  int to = lua_isnoneornil(L, 5) ? 1 : 5;
  check_table(L, 1, true, false, false);
  check_table(L, to, false, true, false);
  lua_settop(L, 5);
  if (last < first) {
    lua_pushvalue(L, to);
    return 1;
  }
  luaL_argcheck(L, first > 0 || last < LUA_MAXINTEGER + first, 3,
                "too many elements to move");
  lua_Integer n = last - first + 1;
  luaL_argcheck(L, at <= LUA_MAXINTEGER - n + 1, 4, "destination wrap around");
  if (la_slow_is_plain(L, 1) && la_slow_is_plain(L, to) &&
      !la_slow_has(L, 1, "__eq") && !la_slow_has(L, to, "__eq")) {
    bool forward =
        at > last || at <= first || (to != 1 && !lua_rawequal(L, 1, to));
    lua_pushinteger(L, 0);
    lua_pushinteger(L, first); /* arguments may be strings of digits */
    lua_replace(L, 2);
    lua_pushinteger(L, last);
    lua_replace(L, 3);
    lua_pushinteger(L, at);
    lua_replace(L, 4);
    return move_k(L, LUA_OK, forward ? to : -to);
  }
  la_slow_push(L, "move");
  lua_pushvalue(L, 1);
  lua_pushinteger(L, first);
  lua_pushinteger(L, last);
  lua_pushinteger(L, at);
  lua_pushvalue(L, to);
  lua_pushboolean(L, to == 1);
  return la_slow_call(L, 6, 0, to, move_return_k);
}

/* ---- sort -------------------------------------------------------------- */

enum {
  SMALL_RANGE = 100, /* up to here the pivot is the middle */
  IMBALANCE = 128,   /* a part this much smaller makes the next pivot random */
  SORT_STEP = 128    /* comparisons between looks at the slice */
};

typedef enum {
  RANGE,    /* a new range (lo, up) */
  ENDS,     /* result of a[up] < a[lo] */
  MIDDLE,   /* result of a[p] < a[lo] */
  UPPER,    /* result of a[up] < a[p] */
  FROM_LEFT,  /* result of a[i] < pivot */
  FROM_RIGHT, /* result of pivot < a[j] */
} phase_t;

typedef struct {
  unsigned lo, up, size, random;
} range_t;

/* Slots: 1 table, 2 function or nil, 3 this; above them what the phase
 * compares: see the pushes. */
typedef struct {
  phase_t phase;
  unsigned lo, up, p, i, j, random;
  unsigned steps;
  int depth;
  range_t waiting[32];
} sort_t;

enum { SORT_BASE = 3 };

static void set_both(lua_State *L, unsigned i, unsigned j) {
  lua_seti(L, 1, i);
  lua_seti(L, 1, j);
}

static int sort_run(lua_State *L, sort_t *s, bool result);

static int sort_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  la_slow_done(L);
  bool result = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return sort_run(L, lua_touserdata(L, SORT_BASE), result);
}

/* Is the value at 'a' less than that at 'b' (relative to the top)? The result
 * of a Lua function may come much later, through sort_k. */
static bool less(lua_State *L, int a, int b) {
  bool own = !lua_isnil(L, 2);
  if (!own) {
    int type = lua_type(L, a);
    if (type == lua_type(L, b) &&
        (type == LUA_TNUMBER || type == LUA_TSTRING)) {
      return lua_compare(L, a, b, LUA_OPLT);
    }
    if (!la_slow_has(L, a, "__lt") && !la_slow_has(L, b, "__lt")) {
      return lua_compare(L, a, b, LUA_OPLT); /* raises */
    }
    la_slow_push(L, "less");
  } else {
    lua_pushvalue(L, 2);
  }
  lua_pushvalue(L, a - 1);
  lua_pushvalue(L, b - 2);
  la_exec_enter(L);
  lua_callk(L, 2, 1, 0, sort_k);
  la_slow_done(L);
  bool result = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return result;
}

static unsigned choose_pivot(const sort_t *s) {
  if (s->up - s->lo < SMALL_RANGE || s->random == 0) {
    return (s->lo + s->up) / 2;
  }
  unsigned quarter = (s->up - s->lo) / 4;
  return s->random % (quarter * 2) + (s->lo + quarter);
}

/* Differs from one sort to the next, yet is the same in a repeated run. */
static unsigned random_pivot(lua_State *L, const sort_t *s) {
  uint64_t seed = la_exec_of(L)->reductions + ((uint64_t)s->lo << 32) + s->up;
  seed = (seed ^ (seed >> 31)) * UINT64_C(0x9E3779B97F4A7C15);
  return (unsigned)(seed >> 32) | 1;
}

/* The range is done: take up the next one. False: there is none. */
static bool next_range(lua_State *L, sort_t *s) {
  lua_settop(L, SORT_BASE);
  s->phase = RANGE;
  if (s->depth == 0) {
    return false;
  }
  const range_t *r = &s->waiting[--s->depth];
  s->lo = r->lo;
  s->up = r->up;
  s->random = r->random;
  if (s->lo < s->up && (s->up - s->lo) / IMBALANCE > r->size) {
    s->random = random_pivot(L, s);
  }
  return true;
}

/* a[p] is in place: go on with the smaller part, leave the other for later. */
static void split(sort_t *s, unsigned p) {
  range_t *r = &s->waiting[s->depth++];
  if (p - s->lo < s->up - p) {
    *r = (range_t){p + 1, s->up, p - s->lo, s->random};
    s->up = p - 1;
  } else {
    *r = (range_t){s->lo, p - 1, s->up - p, s->random};
    s->lo = p + 1;
  }
  s->phase = RANGE;
}

/* Pivot and bounds of a range are sorted: start moving inward from both ends.
 * Leaves the pivot on the stack. */
static void start_partition(lua_State *L, sort_t *s) {
  lua_geti(L, 1, s->p);
  lua_pushvalue(L, -1);
  lua_geti(L, 1, s->up - 1);
  set_both(L, s->p, s->up - 1);
  s->i = s->lo;
  s->j = s->up - 1;
}

static int invalid_order(lua_State *L) {
  return luaL_error(L, "invalid order function for sorting");
}

static int sort_again(lua_State *L, int status, lua_KContext result) {
  (void)status;
  return sort_run(L, lua_touserdata(L, SORT_BASE), result != 0);
}

/* Each case takes the result of the comparison its phase names and pushes the
 * values of the next one; 'result' means nothing in RANGE. */
static int sort_run(lua_State *L, sort_t *s, bool result) {
  for (;;) {
    if (++s->steps % SORT_STEP == 0 && la_charge(L, SORT_STEP) &&
        la_can_yield(L)) {
      return la_preempt(L, result, sort_again);
    }
    switch (s->phase) {
      case RANGE:
        if (s->lo >= s->up) {
          if (!next_range(L, s)) {
            return 0;
          }
          break;
        }
        lua_settop(L, SORT_BASE);
        lua_geti(L, 1, s->lo);
        lua_geti(L, 1, s->up);
        s->phase = ENDS;
        result = less(L, -1, -2);
        break;
      case ENDS:
        if (result) {
          set_both(L, s->lo, s->up);
        } else {
          lua_pop(L, 2);
        }
        if (s->up - s->lo == 1) {
          s->lo = s->up;
          s->phase = RANGE;
          break;
        }
        s->p = choose_pivot(s);
        lua_geti(L, 1, s->p);
        lua_geti(L, 1, s->lo);
        s->phase = MIDDLE;
        result = less(L, -2, -1);
        break;
      case MIDDLE:
        s->phase = UPPER;
        if (result) {
          set_both(L, s->p, s->lo);
          lua_pushnil(L); /* nothing left to compare */
          lua_pushnil(L);
          result = false;
        } else {
          lua_pop(L, 1);
          lua_geti(L, 1, s->up);
          result = less(L, -1, -2);
        }
        break;
      case UPPER:
        if (result) {
          set_both(L, s->p, s->up);
        } else {
          lua_pop(L, 2);
        }
        if (s->up - s->lo == 2) {
          s->lo = s->up;
          s->phase = RANGE;
          break;
        }
        start_partition(L, s);
        lua_geti(L, 1, ++s->i);
        s->phase = FROM_LEFT;
        result = less(L, -1, -2);
        break;
      case FROM_LEFT:
        if (result) {
          if (s->i == s->up - 1) {
            return invalid_order(L);
          }
          lua_pop(L, 1);
          lua_geti(L, 1, ++s->i);
          result = less(L, -1, -2);
          break;
        }
        lua_geti(L, 1, --s->j);
        s->phase = FROM_RIGHT;
        result = less(L, -3, -1);
        break;
      case FROM_RIGHT:
        if (result) {
          if (s->j < s->i) {
            return invalid_order(L);
          }
          lua_pop(L, 1);
          lua_geti(L, 1, --s->j);
          result = less(L, -3, -1);
          break;
        }
        if (s->j < s->i) {
          lua_pop(L, 1);
          set_both(L, s->up - 1, s->i); /* the pivot is in a[up - 1] */
          split(s, s->i);
          break;
        }
        set_both(L, s->i, s->j);
        lua_geti(L, 1, ++s->i);
        s->phase = FROM_LEFT;
        result = less(L, -1, -2);
        break;
    }
  }
}

/* The order of values when no function is given, for the helper. */
static int default_less(lua_State *L) {
  if (la_slow_has(L, 1, "__lt") || la_slow_has(L, 2, "__lt")) {
    la_slow_push(L, "less");
    lua_insert(L, 1);
    return la_slow_call(L, 2, 1, 1, return_k);
  }
  lua_pushboolean(L, lua_compare(L, 1, 2, LUA_OPLT)); /* or raises */
  return 1;
}

static int sort_slow_end_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  la_slow_done(L);
  return lua_toboolean(L, -1) ? 0 : invalid_order(L);
}

static int sort_length_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  la_slow_done(L);
  lua_Integer n = take_length(L);
  if (n <= 1) {
    return 0;
  }
  luaL_argcheck(L, n < INT_MAX, 1, "array too big");
  if (!lua_isnoneornil(L, 2)) {
    luaL_checktype(L, 2, LUA_TFUNCTION);
  }
  lua_settop(L, 2);
  if (!la_slow_is_plain(L, 1)) {
    la_slow_push(L, "sort");
    lua_pushvalue(L, 1);
    lua_pushinteger(L, n);
    if (lua_isnil(L, 2)) {
      lua_pushcfunction(L, default_less);
    } else {
      lua_pushvalue(L, 2);
    }
    return la_slow_call(L, 3, 1, 0, sort_slow_end_k);
  }
  sort_t *s = lua_newuserdatauv(L, sizeof *s, 0);
  s->phase = RANGE;
  s->lo = 1;
  s->up = (unsigned)n;
  s->random = 0;
  s->steps = 0;
  s->depth = 0;
  return sort_run(L, s, false);
}

static int tab_sort(lua_State *L) {
  check_table(L, 1, true, true, true);
  return with_length(L, sort_length_k);
}

static const luaL_Reg functions[] = {
    {"concat", tab_concat}, {"insert", tab_insert}, {"remove", tab_remove},
    {"unpack", tab_unpack}, {"move", tab_move},     {"sort", tab_sort},
    {NULL, NULL}};
const la_std_part_t la_tablelib_parts[] = {
    {LA_TABLE_TABLE, functions, false}, {0, NULL, false}};

/* What C functions of the standard library cannot do themselves and still be
 * suspended: run a metamethod in the middle of a loop. Small Lua functions do
 * that instead, in which the VM can be suspended at any instruction. They are
 * compiled at first use; plain values never need them. */
#ifndef LA_LIB_SLOW_H
#define LA_LIB_SLOW_H

#include "lib/lib_std.h"
#include "sched/budget.h"

/* Push the helper 'name' of lib_slow.c. [owner; raises: m] */
void la_slow_push(lua_State *L, const char *name);

/* Call the function under the top 'narg' values in such a way that the
 * scheduler may suspend the call but a user's yield may not cross it, as in
 * stock Lua; then 'k' goes on, which must first call la_slow_done. Use as:
 * return la_slow_call(L, narg, nres, ctx, k). [owner; raises: e] */
int la_slow_call(lua_State *L, int narg, int nres, lua_KContext ctx,
                 lua_KFunction k);

static inline void la_slow_done(lua_State *L) {
  la_exec_leave(L);
}

/* Run a stock function in the frame of the caller, so that its messages name the
 * caller. */
static inline int la_slow_stock(lua_State *L, la_stock_t which) {
  return la_std_of(L)->stock[which](L);
}

/* Has the value at 'idx' the metafield 'name'? [owner; raises: m] */
bool la_slow_has(lua_State *L, int idx, const char *name);

/* Is indexing the value at 'idx' with integers sure to call nothing? True
 * for tables without a metatable that matters. [owner; raises: m] */
bool la_slow_is_plain(lua_State *L, int idx);

#endif

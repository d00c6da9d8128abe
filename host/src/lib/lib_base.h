/* Basic functions which call metamethods: tostring, print, ipairs. */
#ifndef LA_LIB_BASE_H
#define LA_LIB_BASE_H

#include "lib/lib_std.h"
#include "sched/budget.h"

extern const la_std_part_t la_base_parts[];

/* Push the result of the __tostring of the value at 'idx', which has one; when
 * the call is suspended, 'k' goes on with 'ctx'. Either way
 * la_base_take_tostring comes next. [owner; raises: e] */
void la_base_call_tostring(lua_State *L, int idx, lua_KContext ctx,
                          lua_KFunction k);

/* The result of that call, on top of the stack, must be a string.
 * [owner; raises: e] */
void la_base_take_tostring(lua_State *L);

/* Continuation of la_slow_call: the results are the function's own; 'ctx' is
 * their number. */
int la_base_return_k(lua_State *L, int status, lua_KContext nres);

#endif

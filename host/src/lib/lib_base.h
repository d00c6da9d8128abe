/* Basic functions which call metamethods: tostring, print, ipairs. */
#ifndef LA_LIB_BASE_H
#define LA_LIB_BASE_H

#include "sched/budget.h"

/* Replace the functions in the globals of L. [owner; raises: e] */
void la_base_open(lua_State *L);

/* Call the __tostring of the value at 'idx', which has one; 'k' goes on with
 * 'ctx' and first calls la_base_take_tostring. Use as: return
 * la_base_call_tostring(...). [owner; raises: e] */
int la_base_call_tostring(lua_State *L, int idx, lua_KContext ctx,
                          lua_KFunction k);

/* The result of that call, on top of the stack, must be a string.
 * [owner; raises: e] */
void la_base_take_tostring(lua_State *L);

/* Continuation of la_slow_call: the results are the function's own; 'ctx' is
 * their number. */
int la_base_return_k(lua_State *L, int status, lua_KContext nres);

#endif

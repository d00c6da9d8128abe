/* coroutine.*, pcall and xpcall in which a process can be suspended. */
#ifndef LA_LIB_CO_H
#define LA_LIB_CO_H

#include "lib/lib_std.h"
#include "sched/budget.h"

extern const la_std_part_t la_co_parts[];

/* The coroutine which L waits for in resume or a wrap function while a system
 * yield suspends it, else NULL. [owner; raises: -] */
lua_State *la_co_inner(lua_State *L);

/* How la_co_step left the coroutine. */
enum {
  LA_CO_ERROR = -1,  /* the error object is on L */
  LA_CO_SYSYIELD = -2, /* pass the system yield on */
};

/* Resume 'co' from L with 'narg' values that are on 'co'. Gives the number of
 * results, which it moves to L, or one of the above. 'marks' are L's own (of
 * la_exec_t), to be set again when the coroutine gives L back.
 * [owner; raises: e when the process must end] */
int la_co_step(lua_State *L, lua_State *co, int narg, int marks);

#endif

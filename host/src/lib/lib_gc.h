/* Finalizers (__gc) as ordinary, preemptible code. */
#ifndef LA_LIB_GC_H
#define LA_LIB_GC_H

#include "lib/lib_std.h"
#include "sched/budget.h"

/* setmetatable, debug.setmetatable, collectgarbage */
extern const la_std_part_t la_gc_parts[];

/* For la_exec_lib_t. */
bool la_gc_finalize(la_exec_t *x, lua_State *from);

/* At the end of a process, after la_exec_close and before lua_close: call the
 * finalizers of all objects that scripts marked, newest first, under a bounded
 * budget. L is the main thread. [owner; raises: -] */
void la_gc_finish(lua_State *L);

/* Is the function at this level of L a finalizer called by us?
 * [owner; raises: -] */
bool la_gc_is_finalizer(lua_State *L, int level);

#endif

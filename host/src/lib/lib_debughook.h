/* debug.sethook beside the preemption's hook, and debug.getinfo in finalizers. */
#ifndef LA_LIB_DEBUGHOOK_H
#define LA_LIB_DEBUGHOOK_H

#include "lib/lib_std.h"
#include "sched/budget.h"

extern const la_std_part_t la_debughook_parts[];

/* For la_exec_lib_t. */
bool la_debughook_event(lua_State *L, lua_Debug *ar);

#endif

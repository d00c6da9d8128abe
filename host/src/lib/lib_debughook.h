/* debug.sethook beside the preemption's hook, and debug.getinfo in finalizers. */
#ifndef LA_LIB_DEBUGHOOK_H
#define LA_LIB_DEBUGHOOK_H

#include "sched/budget.h"

/* Replace the functions in the globals of L. [owner; raises: e] */
void la_debughook_open(lua_State *L);

/* For la_exec_lib_t. */
bool la_debughook_event(lua_State *L, lua_Debug *ar);

#endif

/* C functions that a process of a host has called. */
#ifndef LA_STATE_H
#define LA_STATE_H

#include "embed/value.h"

/* The process whose C function the caller is, as long as L is a state of it; NULL:
 * none. L is not looked into before that is certain. [any] */
la_proc_t *la_process_here(lua_State *L);

#endif

/* load with a reader function, and require: code which they call can be
 * preempted and may wait. */
#ifndef LA_LIB_LOAD_H
#define LA_LIB_LOAD_H

#include <lua.h>

/* Replace the functions in the globals of L. [owner; raises: e] */
void la_load_open(lua_State *L);

#endif

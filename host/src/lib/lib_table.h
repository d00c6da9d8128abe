/* table.*: as stock, but preemptible. */
#ifndef LA_LIB_TABLE_H
#define LA_LIB_TABLE_H

#include <lua.h>

/* Replace the functions in the globals of L. [owner; raises: e] */
void la_tablelib_open(lua_State *L);

#endif

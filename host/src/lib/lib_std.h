/* The standard library as processes see it: stock Lua's, with every function
 * replaced that could keep a scheduler from getting its thread back. */
#ifndef LA_LIB_STD_H
#define LA_LIB_STD_H

#include <lua.h>

/* Open all standard libraries in L, whose extra space is set (la_exec_init).
 * [owner; raises: e] */
void la_std_open(lua_State *L);

#endif

/* string.*: pattern functions that can be interrupted, and what else of the
 * library could run for ever or call Lua code. */
#ifndef LA_LIB_STRING_H
#define LA_LIB_STRING_H

#include <lua.h>

/* Replace the functions in the globals of L. [owner; raises: e] */
void la_string_open(lua_State *L);

#endif

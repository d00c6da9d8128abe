/* string.*: pattern functions that can be interrupted, and what else of the
 * library could run for ever or call Lua code. */
#ifndef LA_LIB_STRING_H
#define LA_LIB_STRING_H

#include "lib/lib_std.h"

extern const la_std_part_t la_string_parts[];

/* Give the strings of a new state their metatable. [owner; raises: m] */
void la_string_open(lua_State *L);
/* Its __index is the library, as in stock, before anybody looks at it.
 * [owner; raises: m] */
void la_string_settle(lua_State *L);

#endif

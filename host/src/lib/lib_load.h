/* load with a reader function, and require: code which they call can be
 * preempted and may wait. */
#ifndef LA_LIB_LOAD_H
#define LA_LIB_LOAD_H

#include "lib/lib_std.h"

extern const la_std_part_t la_load_parts[];

/* Returns the table of package (la_lazy_table_t.open). [owner; raises: e] */
int la_load_open_package(lua_State *L);

/* C functions that are not ours come into the state. [owner; raises: m] */
void la_load_expect_anything(lua_State *L);

#endif

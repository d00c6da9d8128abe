/* Functions that look at tables behind their metamethods' backs: lazy tables
 * (mem/lazy.h) are to them what they would be in stock Lua. */
#ifndef LA_LIB_RAW_H
#define LA_LIB_RAW_H

#include "lib/lib_std.h"

/* next, pairs, rawget, rawset, getmetatable; debug.getmetatable,
 * debug.getregistry */
extern const la_std_part_t la_raw_parts[];

#endif

/* table.*: as stock, but preemptible. */
#ifndef LA_LIB_TABLE_H
#define LA_LIB_TABLE_H

#include "lib/lib_std.h"

extern const la_std_part_t la_tablelib_parts[];

#endif

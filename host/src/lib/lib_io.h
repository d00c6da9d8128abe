/* io.write and file:write whole, open files noted; os.time preemptible. */
#ifndef LA_LIB_IO_H
#define LA_LIB_IO_H

#include "lib/lib_std.h"

extern const la_std_part_t la_iolib_parts[];

#endif

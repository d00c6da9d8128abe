/* io.write and file:write whole, open files noted; os.time preemptible. */
#ifndef LA_LIB_IO_H
#define LA_LIB_IO_H

#include <lua.h>

/* Replace the functions in the globals of L. [owner; raises: e] */
void la_iolib_open(lua_State *L);

#endif

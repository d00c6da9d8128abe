/* Lua's own library, for C modules. */
#ifndef LA_LIB_CLIB_H
#define LA_LIB_CLIB_H

#include "proc/host.h"

/* C modules that are loaded from here on find Lua's functions. [any] */
void la_clib_reveal_lua(la_host_t *host);
/* No state of the host is left. */
void la_clib_forget_lua(la_host_t *host);

#endif

/* Lua files that processes load by require, compiled once for the host. */
#ifndef LA_LIB_CHUNK_H
#define LA_LIB_CHUNK_H

#include <lua.h>

#include "proc/host.h"

/* As luaL_loadfile, but from the host's cache when the file has not changed.
 * [owner; raises: m] */
int la_chunk_load(lua_State *L, const char *path);
/* The searcher of Lua files (package.searchers), with package as its upvalue. */
int la_chunk_search(lua_State *L);

#endif

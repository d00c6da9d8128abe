/* From a spawned process to running Lua code: its state, its main function. */
#ifndef LA_LIB_START_H
#define LA_LIB_START_H

#include <lua.h>

/* Adds the searcher of embedded modules to package.searchers, and lpeg to
 * package.preload. [owner; raises: m] */
void la_embed_open(lua_State *L);
/* Methods of identities, in place on first use. [owner; raises: m] */
void la_methods_open(lua_State *L);
/* os.exit ends the host. [owner; raises: m] */
void la_os_open(lua_State *L);
/* require "luactor" (lib_core.c) and "luactor._core". [owner; raises: e] */
int la_luaopen_luactor(lua_State *L);
int la_luaopen_core(lua_State *L);

/* Make the module luactor now, for the first require to find. [owner; raises: e] */
void la_luactor_prepare(lua_State *L);

/* The function at 'idx' (nil: none) runs when the process has ended itself: see la_proc_run.
 * [owner; raises: m] */
void la_set_last(lua_State *L, int idx);

#endif

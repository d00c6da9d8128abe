/* From a spawned process to running Lua code: its state, its main function. */
#ifndef LA_LIB_START_H
#define LA_LIB_START_H

#include "lib/lib_std.h"
#include "proc/host.h"

/* A C function that returns the table of package, with a searcher of embedded
 * modules (la_lazy_table_t.open). [owner; raises: e] */
int la_embed_open_package(lua_State *L);
/* The module that the embedder has added under this name, or NULL. [any] */
const la_module_t *la_module_find(la_host_t *host, const char *name);
/* package.preload, with lpeg. */
extern const la_std_part_t la_embed_parts[];
/* The state of math.random in a template, if there is one; false: it is not what we
 * take it for. [owner; raises: -] */
bool la_state_random(lua_State *L, void **state);
/* Methods of identities, in place on first use. [owner; raises: m] */
void la_methods_open(lua_State *L);
/* require "luactor" (lib_core.c) and "luactor._core". [owner; raises: e] */
int la_luaopen_luactor(lua_State *L);
int la_luaopen_core(lua_State *L);
int la_luaopen_node(lua_State *L);

/* The function at 'idx' (nil: none) runs when the process has ended itself: see la_proc_run.
 * [owner; raises: m] */
void la_set_last(lua_State *L, int idx);

#endif

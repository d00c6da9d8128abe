/* Lua's own library, for C modules.
 *
 * A C module does not name the library that has lua_gettop and the rest: the loader finds
 * them among what the program shows to all. A program that was linked with Lua does. One
 * that has loaded us as a plugin, with RTLD_LOCAL, keeps us and Lua to itself, and no C
 * module could be loaded. So before the first one is looked for, Lua's library, which is
 * there already, is loaded once more for all. That is the one thing that a host changes for
 * its whole program, and only there. */
#define _GNU_SOURCE

#include "lib/lib_clib.h"

#include <dlfcn.h>
#include <lua.h>
#include <string.h>

/* Among what the program itself finds: we find our own libraries in any case. */
static bool is_revealed(void) {
  void *program = dlopen(NULL, RTLD_LAZY);
  const bool is = program != NULL && dlsym(program, "lua_newstate") != NULL;
  if (program != NULL) {
    dlclose(program);
  }
  return is;
}

static void *reveal(void) {
  lua_State *(*function)(lua_Alloc, void *) = lua_newstate;
  void *address;
  memcpy(&address, &function, sizeof address);
  Dl_info info;
  return dladdr(address, &info) != 0 && info.dli_fname != NULL
             ? dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_GLOBAL)
             : NULL;
}

void la_clib_reveal_lua(la_host_t *host) {
  if (atomic_load_explicit(&host->has_looked, memory_order_acquire)) {
    return;
  }
  la_lock(&host->lock);
  if (host->lua_library == NULL && !is_revealed()) {
    host->lua_library = reveal();
  }
  la_unlock(&host->lock);
  atomic_store_explicit(&host->has_looked, true, memory_order_release);
}

void la_clib_forget_lua(la_host_t *host) {
  if (host->lua_library != NULL) {
    dlclose(host->lua_library); /* our reference to it */
  }
}

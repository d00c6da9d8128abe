/* The modules of lualib: found by name before any file, compiled once for each
 * host, loaded as bytecode by each process. (Bytecode made by the running VM, never
 * one from a file.) */
#include <lauxlib.h>
#include <lua-lpeg.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/embedded.h"
#include "lib/lib_chunk.h"
#include "lib/lib_clib.h"
#include "lib/lib_load.h"
#include "lib/lib_start.h"
#include "proc/host.h"

typedef struct {
  char *bytes;
  size_t size, cap;
} compiled_t;

static int append_code(lua_State *L, const void *p, size_t n, void *ud) {
  compiled_t *c = ud;
  (void)L;
  if (c->size + n > c->cap) {
    const size_t cap = (c->size + n) * 2;
    char *bytes = la_realloc(c->bytes, cap);
    if (bytes == NULL) {
      return 1;
    }
    c->bytes = bytes;
    c->cap = cap;
  }
  memcpy(c->bytes + c->size, p, n);
  c->size += n;
  return 0;
}

static const struct la_embedded *find(const char *name, size_t *index) {
  for (size_t i = 0; i < la_embedded_count; i++) {
    if (strcmp(la_embedded_modules[i].name, name) == 0) {
      *index = i;
      return &la_embedded_modules[i];
    }
  }
  return NULL;
}

/* The host's cache of compiled modules: an array, filled under host->lock. */
static compiled_t cached(la_host_t *host, size_t index) {
  compiled_t c = {0};
  la_lock(&host->lock);
  if (host->modules != NULL) {
    c = ((compiled_t *)host->modules)[index];
  }
  la_unlock(&host->lock);
  return c;
}

static void keep(la_host_t *host, size_t index, compiled_t *c) {
  la_lock(&host->lock);
  if (host->modules == NULL) {
    host->modules = la_zalloc(la_embedded_count * sizeof *c);
  }
  compiled_t *at = host->modules;
  if (at != NULL && at[index].bytes == NULL) {
    at[index] = *c;
    c->bytes = NULL;
  }
  la_unlock(&host->lock);
  la_free(c->bytes);
}

static void free_added(la_host_t *host);

void la_embed_free(la_host_t *host) {
  compiled_t *at = host->modules;
  for (size_t i = 0; at != NULL && i < la_embedded_count; i++) {
    la_free(at[i].bytes);
  }
  la_free(at);
  free_added(host);
}

/* "luactor.match" in dir "lualib" is lualib/luactor/match.lua; false when there is no
 * such file. */
static bool load_from_dir(lua_State *L, const char *dir, const char *name) {
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  luaL_addstring(&b, dir);
  luaL_addchar(&b, '/');
  luaL_addgsub(&b, name, ".", "/");
  luaL_addstring(&b, ".lua");
  luaL_pushresult(&b);
  FILE *f = fopen(lua_tostring(L, -1), "r");
  if (f == NULL) {
    lua_pop(L, 1);
    return false;
  }
  fclose(f);
  if (la_chunk_load(L, lua_tostring(L, -1)) != LUA_OK) {
    lua_error(L);
  }
  lua_remove(L, -2);
  return true;
}

static void load_embedded(lua_State *L, size_t index) {
  la_host_t *host = la_proc_of(L)->host;
  const struct la_embedded *m = &la_embedded_modules[index];
  compiled_t c = cached(host, index);
  if (c.bytes != NULL) {
    if (luaL_loadbufferx(L, c.bytes, c.size, m->name, "b") != LUA_OK) {
      lua_error(L);
    }
    return;
  }
  lua_pushfstring(L, "=%s", m->name);
  if (luaL_loadbufferx(L, m->text, m->size, lua_tostring(L, -1), "t") !=
      LUA_OK) {
    lua_error(L);
  }
  lua_remove(L, -2);
  if (lua_dump(L, append_code, &c, 0) == 0 && c.bytes != NULL) {
    keep(host, index, &c);
  } else {
    la_free(c.bytes); /* no cache, no harm */
  }
}

/* package.searchers entry: loader and where it came from. */
static int searcher(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  const char *dir = getenv("LUACTOR_LUALIB");
  if (strncmp(name, "luactor", 7) != 0 ||
      (name[7] != '\0' && name[7] != '.')) {
    return 0;
  }
  if (strcmp(name, "luactor") == 0) {
    lua_pushcfunction(L, la_luaopen_luactor);
    lua_pushliteral(L, ":luactor:");
    return 2;
  }
  if (strcmp(name, "luactor._core") == 0) {
    lua_pushcfunction(L, la_luaopen_core);
    lua_pushliteral(L, ":luactor:");
    return 2;
  }
  if (strcmp(name, "luactor._node") == 0) {
    lua_pushcfunction(L, la_luaopen_node);
    lua_pushliteral(L, ":luactor:");
    return 2;
  }
  if (dir == NULL) {
    dir = la_embedded_dev_dir;
  }
  size_t index = 0;
  if ((dir != NULL && load_from_dir(L, dir, name))) {
    lua_pushstring(L, dir);
    return 2;
  }
  if (find(name, &index) == NULL) {
    return 0;
  }
  load_embedded(L, index);
  lua_pushliteral(L, ":luactor:");
  return 2;
}

/* ---- modules of the embedder -------------------------------------------------------- */

const la_module_t *la_module_find(la_host_t *host, const char *name) {
  const la_module_t *m = atomic_load(&host->added);
  while (m != NULL && strcmp(m->name, name) != 0) {
    m = m->next;
  }
  return m;
}

static void free_added(la_host_t *host) {
  la_module_t *m = atomic_load(&host->added);
  while (m != NULL) {
    la_module_t *next = m->next;
    la_free(m);
    m = next;
  }
}

/* The first searcher: these modules, then package.preload; upvalue: stock's. */
static int search_added(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  const la_module_t *m = la_module_find(la_proc_of(L)->host, name);
  if (m != NULL) {
    la_load_expect_anything(L);
    lua_pushcfunction(L, m->open);
    lua_pushliteral(L, ":host:");
    return 2;
  }
  lua_settop(L, 1);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, 1, LUA_MULTRET);
  return lua_gettop(L);
}

/* ---- package -------------------------------------------------------------------- */

/* package.path with the host's own templates in front. */
static void prepend(lua_State *L, const char *field, const char *more) {
  if (more == NULL || more[0] == '\0') {
    return;
  }
  lua_getfield(L, 1, field);
  lua_pushfstring(L, "%s;%s", more, lua_tostring(L, -1));
  lua_setfield(L, 1, field);
  lua_pop(L, 1);
}

/* Does the environment say where modules are? */
static bool has_path(const la_host_t *host) {
  return !host->config.ignore_env &&
         (getenv("LUA_PATH" LUA_VERSUFFIX) != NULL ||
          getenv("LUA_PATH") != NULL);
}

int la_embed_open_package(lua_State *L) {
  la_host_t *host = la_proc_of(L)->host;
  lua_settop(L, 0);
  la_clib_reveal_lua(host);
  lua_pushcfunction(L, la_load_open_package);
  lua_call(L, 0, 1);
  lua_getfield(L, 1, "searchers");
  /* Looking for files takes much longer than loading one of ours: they are looked
   * for first only where somebody may have put a module of the same name. */
  const lua_Integer ours = has_path(host) ? 3 : 2;
  for (lua_Integer i = luaL_len(L, 2); i >= ours; i--) {
    lua_rawgeti(L, 2, i);
    lua_rawseti(L, 2, i + 1);
  }
  lua_rawgeti(L, 2, 1);
  lua_pushcclosure(L, search_added, 1);
  lua_rawseti(L, 2, 1);
  lua_pushcfunction(L, searcher);
  lua_rawseti(L, 2, ours);
  lua_pushvalue(L, 1);
  lua_pushcclosure(L, la_chunk_search, 1);
  lua_rawseti(L, 2, ours == 2 ? 3 : 2);
  lua_pop(L, 1);
  prepend(L, "path", host->config.lua_path);
  prepend(L, "cpath", host->config.lua_cpath);
  return 1;
}

/* package.preload */
static int make_preload(lua_State *L) {
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, luaopen_lpeg);
  lua_setfield(L, -2, "lpeg");
  return 1;
}

/* Stock's opener of package looks whether the environment counts. */
static int make_noenv(lua_State *L) {
  lua_pushboolean(L, la_proc_of(L)->host->config.ignore_env != 0);
  return 1;
}

static const luaL_Reg registry[] = {{LUA_PRELOAD_TABLE, make_preload},
                                    {"LUA_NOENV", make_noenv},
                                    {NULL, NULL}};
const la_std_part_t la_embed_parts[] = {{LA_TABLE_REGISTRY, registry, true},
                                        {0, NULL, false}};

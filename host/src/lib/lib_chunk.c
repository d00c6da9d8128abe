/* See lib_chunk.h.
 *
 * Each process requires its modules for itself, and most of that is reading
 * and parsing. The bytecode of a file is kept under its name, with the size, the
 * times and the number that the file had; each use asks the system whether it still has
 * them. A file that changed while it was read is not kept.
 *
 * An entry is counted while somebody loads from it, since another thread
 * may replace it. */
#include "lib/lib_chunk.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/lib_template.h"

enum {
  MAX_CHUNKS = 1024,
  MAX_CHUNK_BYTES = 16 << 20 /* all together */
};

struct la_chunk {
  la_chunk_t *next;
  _Atomic uint32_t refs;
  struct stat was;
  char *bytes;
  size_t size, cap;
  char path[];
};

/* ---- the cache ------------------------------------------------------------------ */

static void unref(la_chunk_t *c) {
  if (atomic_fetch_sub(&c->refs, 1) == 1) {
    la_free(c->bytes);
    la_free(c);
  }
}

static bool is_same(const struct stat *a, const struct stat *b) {
  return a->st_size == b->st_size && a->st_ino == b->st_ino &&
         a->st_dev == b->st_dev &&
         a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
         a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
         a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
         a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static la_chunk_t **place_of_locked(la_host_t *host, const char *path)
    LA_REQUIRES(host->chunks_lock) {
  la_chunk_t **at = &host->chunks;
  while (*at != NULL && strcmp((*at)->path, path) != 0) {
    at = &(*at)->next;
  }
  return at;
}

static la_chunk_t *find(la_host_t *host, const char *path,
                        const struct stat *now) {
  la_lock(&host->chunks_lock);
  la_chunk_t *c = *place_of_locked(host, path);
  if (c != NULL && is_same(&c->was, now)) {
    atomic_fetch_add(&c->refs, 1);
  } else {
    c = NULL;
  }
  la_unlock(&host->chunks_lock);
  return c;
}

/* Takes over the reference. */
static void keep(la_host_t *host, la_chunk_t *c) {
  la_lock(&host->chunks_lock);
  la_chunk_t **at = place_of_locked(host, c->path);
  la_chunk_t *old = *at;
  if (old != NULL) {
    *at = old->next;
    host->nchunks--;
    host->chunk_bytes -= old->size;
  }
  if (host->nchunks < MAX_CHUNKS &&
      host->chunk_bytes + c->size <= MAX_CHUNK_BYTES) {
    c->next = host->chunks;
    host->chunks = c;
    host->nchunks++;
    host->chunk_bytes += c->size;
    c = NULL;
  }
  la_unlock(&host->chunks_lock);
  if (old != NULL) {
    unref(old);
  }
  if (c != NULL) {
    unref(c);
  }
}

void la_chunks_init(la_host_t *host) {
  la_lock_init(&host->chunks_lock, LA_RANK_CODES);
}

void la_chunks_fini(la_host_t *host) {
  while (host->chunks != NULL) {
    la_chunk_t *c = host->chunks;
    host->chunks = c->next;
    unref(c);
  }
  la_lock_fini(&host->chunks_lock);
}

/* ---- loading -------------------------------------------------------------------- */

static int append(lua_State *L, const void *p, size_t n, void *ud) {
  la_chunk_t *c = ud;
  (void)L;
  if (n > c->cap - c->size) {
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

static int load_kept(lua_State *L, const la_chunk_t *c) {
  return luaL_loadbufferx(L, c->bytes, c->size, c->path, "b");
}

/* The function on top of L is what the file has been compiled to: dump it. */
static la_chunk_t *dump(lua_State *L, const char *path,
                        const struct stat *was) {
  const size_t len = strlen(path);
  la_chunk_t *c = la_zalloc(sizeof *c + len + 1);
  struct stat now;
  if (c == NULL) {
    return NULL;
  }
  atomic_init(&c->refs, 1);
  c->was = *was;
  memcpy(c->path, path, len + 1);
  if (lua_dump(L, append, c, 0) != 0 || stat(path, &now) != 0 ||
      !is_same(&now, was)) {
    unref(c);
    return NULL;
  }
  return c;
}

/* A parser leaves traces in the state, which a template must not have: compile in another
 * one (mem/image.c, rule 4). */
static int load_elsewhere(lua_State *L, const char *path,
                          const struct stat *was) {
  lua_State *P = lua_newstate(la_alloc_lua, NULL);
  if (P == NULL) {
    lua_pushliteral(L, "not enough memory");
    return LUA_ERRMEM;
  }
  char error[256] = "not enough memory";
  la_chunk_t *c = NULL;
  int status = luaL_loadfile(P, path);
  if (status != LUA_OK) {
    snprintf(error, sizeof error, "%s", lua_tostring(P, -1));
  } else {
    c = dump(P, path, was);
    status = LUA_ERRMEM;
  }
  lua_close(P);
  if (c != NULL) {
    status = load_kept(L, c);
    unref(c);
  } else {
    lua_pushstring(L, error);
  }
  return status;
}

int la_chunk_load(lua_State *L, const char *path) {
  la_host_t *host = la_proc_of(L)->host;
  struct stat was;
  if (stat(path, &was) != 0 || !S_ISREG(was.st_mode)) {
    return luaL_loadfile(L, path);
  }
  la_chunk_t *c = find(host, path, &was);
  if (c != NULL) {
    const int status = load_kept(L, c);
    unref(c);
    return status;
  }
  if (la_template_is_building(L)) {
    return load_elsewhere(L, path, &was);
  }
  const int status = luaL_loadfile(L, path);
  if (status == LUA_OK) {
    c = dump(L, path, &was);
    if (c != NULL) {
      keep(host, c);
    }
  }
  return status;
}

/* ---- searching ------------------------------------------------------------------ */

/* Push what the stock searcher would: the name of the first file that can be
 * read (true), or where none was found. */
static bool find_file(lua_State *L, const char *name, const char *path) {
  luaL_Buffer tried;
  luaL_gsub(L, name, ".", LUA_DIRSEP);
  luaL_gsub(L, path, LUA_PATH_MARK, lua_tostring(L, -1));
  lua_remove(L, -2);
  const char *at = lua_tostring(L, -1); /* anchored by the stack */
  const int list = lua_gettop(L);
  luaL_buffinit(L, &tried);
  bool first = true;
  for (;;) {
    const char *end = strchr(at, *LUA_PATH_SEP);
    const size_t len = end != NULL ? (size_t)(end - at) : strlen(at);
    char file[1024];
    if (len > 0) {
      FILE *f = NULL;
      if (len < sizeof file) {
        memcpy(file, at, len);
        file[len] = '\0';
        f = fopen(file, "r");
      }
      if (f != NULL) {
        fclose(f);
        luaL_pushresult(&tried);
        lua_settop(L, list - 1);
        lua_pushstring(L, file);
        return true;
      }
      luaL_addstring(&tried, first ? "no file '" : "\n\tno file '");
      luaL_addlstring(&tried, at, len);
      luaL_addchar(&tried, '\'');
      first = false;
    }
    if (end == NULL) {
      break;
    }
    at = end + 1;
  }
  luaL_pushresult(&tried);
  lua_replace(L, list);
  return false;
}

int la_chunk_search(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  lua_getfield(L, lua_upvalueindex(1), "path");
  const char *path = lua_tostring(L, -1);
  if (path == NULL) {
    return luaL_error(L, "'package.path' must be a string");
  }
  if (!find_file(L, name, path)) {
    return 1;
  }
  const char *file = lua_tostring(L, -1);
  if (la_chunk_load(L, file) != LUA_OK) {
    return luaL_error(L, "error loading module '%s' from file '%s':\n\t%s",
                      name, file, lua_tostring(L, -1));
  }
  lua_insert(L, -2); /* the function, then the file */
  return 2;
}

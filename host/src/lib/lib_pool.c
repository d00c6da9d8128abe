/* Pools: the methods of their addresses, and what luactor.pool needs. */
#include "lib/lib_core.h"
#include "proc/crew.h"

static la_id_t check_pool(lua_State *L) {
  la_id_t id = la_to_id(L, 1);
  if (id == LA_NO_ID && lua_type(L, 1) == LUA_TSTRING) {
    id = la_names_find(&la_proc_of(L)->host->names, lua_tostring(L, 1));
  }
  luaL_argexpected(L, la_id_kind(id) == LA_ID_POOL, 1, "pool");
  return id;
}

int la_pool_resize(lua_State *L) {
  check_pool(L);
  return la_elsewhere(L, "luactor.pool", "resize");
}

int la_pool_stop(lua_State *L) {
  check_pool(L);
  return la_elsewhere(L, "luactor.pool", "stop");
}

static void set_count(lua_State *L, const char *key, uint64_t n) {
  lua_pushinteger(L, (lua_Integer)n);
  lua_setfield(L, -2, key);
}

/* info(pool): a table, or nil when it is gone. Asks nobody. */
int la_pool_info(lua_State *L) {
  la_crew_info_t info;
  if (!la_crew_info(la_proc_of(L)->host, check_pool(L), &info)) {
    lua_pushnil(L);
    return 1;
  }
  lua_createtable(L, 0, 7);
  set_count(L, "size", info.target);
  set_count(L, "members", info.members);
  set_count(L, "idle", info.idle);
  set_count(L, "busy", info.members - info.idle);
  set_count(L, "queue", info.queue);
  set_count(L, "taken", info.taken);
  set_count(L, "crashed", info.crashed);
  return 1;
}

/* pool_open(mailbox, name): the pool of this process. nil: the name is taken. */
static int pool_open(lua_State *L) {
  la_proc_t *p = la_proc_of(L);
  uint32_t limit;
  la_overflow_t overflow;
  la_check_mailbox_opts(L, 1, &limit, &overflow);
  const char *name = luaL_optstring(L, 2, NULL);
  const la_id_t id = la_crew_open(p, limit, overflow);
  if (id == LA_NO_ID) {
    return luaL_error(L, "not enough memory");
  }
  if (name != NULL) {
    const la_name_status_t status =
        la_names_add(&p->host->names, &p->host->pids, name, id);
    if (status != LA_NAME_OK) {
      la_crew_close(p);
      if (status == LA_NAME_NOMEM) {
        return luaL_error(L, "not enough memory");
      }
      lua_pushnil(L);
      return 1;
    }
  }
  la_push_id(L, id);
  return 1;
}

static int pool_close(lua_State *L) {
  la_crew_close(la_proc_of(L));
  return 0;
}

/* pool_target(n): how many members this process's pool should have. */
static int pool_target(lua_State *L) {
  la_crew_resize(la_proc_of(L), (uint32_t)luaL_checkinteger(L, 1));
  return 0;
}

static int pool_crashed(lua_State *L) {
  la_crew_note_crash(la_proc_of(L));
  return 0;
}

/* pool_join(pid, pool): the process is to be a member. */
static int pool_join(lua_State *L) {
  la_proc_t *p = la_proc_of(L);
  const la_pid_t pid = la_to_id(L, 1);
  la_note_t *n = la_note_new(LA_SIG_JOIN, pid, p->pid);
  if (n == NULL) {
    return luaL_error(L, "not enough memory");
  }
  n->ref = la_to_id(L, 2);
  la_signal(p->host, &n->sig);
  if (pid == p->pid) {
    la_serve_now(L, p);
  }
  return 0;
}

/* pool_quit(): this process is no member any more. */
static int pool_quit(lua_State *L) {
  la_proc_t *p = la_proc_of(L);
  la_serve_now(L, p);
  la_member_quit(p);
  return 0;
}

/* pool_process(id): the process of a pool; of anything else, the same. */
static int pool_process(lua_State *L) {
  const la_id_t id = la_to_id(L, 1);
  if (la_id_kind(id) == LA_ID_POOL) {
    la_push_id(L, la_crew_owner(la_proc_of(L)->host, id));
  }
  lua_settop(L, la_id_kind(id) == LA_ID_POOL ? 2 : 1);
  return 1;
}

void la_open_pool(lua_State *L) {
  static const luaL_Reg funcs[] = {
      {"pool_open", pool_open},       {"pool_close", pool_close},
      {"pool_target", pool_target},   {"pool_crashed", pool_crashed},
      {"pool_join", pool_join},       {"pool_quit", pool_quit},
      {"pool_process", pool_process}, {"pool_info", la_pool_info},
      {NULL, NULL},
  };
  luaL_setfuncs(L, funcs, 0);
}

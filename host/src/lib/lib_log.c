/* What luactor.log needs of the host's log (proc/log.h). */
#include <errno.h>
#include <string.h>

#include "lib/lib_core.h"
#include "proc/host.h"

/* log_level([name]) -> the least important level that the host looks at, as a
 * number, or false for an unknown name. */
static int log_level(lua_State *L) {
  la_log_t *log = &la_proc_of(L)->host->log;
  lua_settop(L, 1);
  lua_pushinteger(L, atomic_load(&log->level));
  if (!lua_isnoneornil(L, 1)) {
    const int level = la_log_level_of(luaL_checkstring(L, 1));
    if (level < 0) {
      lua_pushboolean(L, 0);
    } else {
      atomic_store(&log->level, level);
    }
  }
  return 1;
}

/* log_event(level, kind, message, fields or nil, cause or nil) -> true, or nil
 * and why the fields cannot be written. */
static int log_event(lua_State *L) {
  la_proc_t *p = la_proc_of(L);
  char name[256] = "";
  la_event_t event = {.level = (int)luaL_checkinteger(L, 1),
                      .kind = luaL_checkstring(L, 2),
                      .pid = p->pid,
                      .name = name,
                      .label = p->label};
  event.message = luaL_checklstring(L, 3, &event.len);
  event.cause = luaL_optlstring(L, 5, NULL, &event.cause_len);
  la_names_of(&p->host->names, p->pid, name, sizeof name);
  la_encoder_t *e = NULL;
  la_term_t fields;
  if (!lua_isnoneornil(L, 4)) {
    e = la_encoder_begin(la_host_scratch(), LA_TERM_LOCAL);
    if (e == NULL) {
      return luaL_error(L, "not enough memory");
    }
    if (!la_encode(e, L, 4, "fields")) {
      la_encoder_end(e);
      lua_pushnil(L);
      lua_insert(L, -2);
      return 2;
    }
    la_encoder_term(e, &fields);
    event.fields = &fields;
  }
  la_log_event(p->host, &event);
  if (e != NULL) {
    la_encoder_end(e);
  }
  lua_pushboolean(L, 1);
  return 1;
}

/* log_admit(level, kind, message, cause) -> may it be written, or was it counted? */
static int log_admit(lua_State *L) {
  la_event_t event = {.level = (int)luaL_checkinteger(L, 1),
                      .kind = luaL_checkstring(L, 2)};
  event.message = luaL_checklstring(L, 3, &event.len);
  event.cause = luaL_checklstring(L, 4, &event.cause_len);
  lua_pushboolean(L, la_log_admit(la_proc_of(L)->host, &event));
  return 1;
}

/* ---- settings ------------------------------------------------------------------ */

static void push_form(lua_State *L, const la_log_form_t *f) {
  lua_createtable(L, 0, 8);
  lua_pushstring(L, f->json ? "json" : "text");
  lua_setfield(L, -2, "format");
  lua_pushboolean(L, f->time);
  lua_setfield(L, -2, "time");
  lua_pushinteger(L, f->depth);
  lua_setfield(L, -2, "depth");
  lua_pushinteger(L, f->size);
  lua_setfield(L, -2, "size");
  lua_pushinteger(L, f->burst);
  lua_setfield(L, -2, "burst");
  lua_pushinteger(L, f->window_ms);
  lua_setfield(L, -2, "window");
  lua_pushstring(L, f->secrets);
  lua_setfield(L, -2, "redact");
}

static bool get_integer(lua_State *L, const char *key, lua_Integer *out) {
  const bool there = lua_getfield(L, 1, key) != LUA_TNIL;
  if (there) {
    *out = lua_tointeger(L, -1);
  }
  lua_pop(L, 1);
  return there;
}

static void change_form(lua_State *L, la_log_form_t *f) {
  lua_Integer n;
  if (get_integer(L, "depth", &n)) {
    f->depth = (int)n;
  }
  if (get_integer(L, "size", &n)) {
    f->size = (uint32_t)n;
  }
  if (get_integer(L, "burst", &n)) {
    f->burst = (uint32_t)n;
  }
  if (get_integer(L, "window", &n)) {
    f->window_ms = (uint32_t)n;
  }
  if (lua_getfield(L, 1, "time") != LUA_TNIL) {
    f->time = lua_toboolean(L, -1);
  }
  lua_pop(L, 1);
  if (lua_getfield(L, 1, "format") == LUA_TSTRING) {
    f->json = strcmp(lua_tostring(L, -1), "json") == 0;
  }
  lua_pop(L, 1);
}

/* log_set(changes): values that luactor.log has checked, keys as push_form. */
static int log_set(lua_State *L) {
  la_log_t *log = &la_proc_of(L)->host->log;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  size_t len = 0;
  lua_getfield(L, 1, "redact");
  const char *secrets = lua_tolstring(L, 2, &len); /* anchored: index 2 */
  la_log_form_t *f = la_log_form_edit(log);
  char *copy = secrets != NULL ? la_alloc(len + 1) : NULL;
  if (f == NULL || (secrets != NULL && copy == NULL)) {
    la_log_form_unref(f);
    la_free(copy);
    return luaL_error(L, "not enough memory");
  }
  if (copy != NULL) {
    la_free(f->secrets);
    f->secrets = memcpy(copy, secrets, len + 1);
  }
  change_form(L, f); /* a plain table: does not raise */
  la_log_form_set(log, f);
  return 0;
}

static int push_form_call(lua_State *L) {
  push_form(L, lua_touserdata(L, 1));
  return 1;
}

/* log_settings() -> the settings. */
static int log_settings(lua_State *L) {
  lua_pushcfunction(L, push_form_call); /* may raise for memory: protected */
  la_log_form_t *f = la_log_form_edit(&la_proc_of(L)->host->log);
  if (f == NULL) {
    return luaL_error(L, "not enough memory");
  }
  lua_pushlightuserdata(L, f);
  const int status = lua_pcall(L, 1, 1, 0);
  la_log_form_unref(f);
  return status == LUA_OK ? 1 : lua_error(L);
}

/* ---- handlers -------------------------------------------------------------------- */

/* log_add(name, level, path or pid or nil, owned) -> true, or nil and the
 * reason. */
static int log_add(lua_State *L) {
  la_log_t *log = &la_proc_of(L)->host->log;
  const char *name = luaL_checkstring(L, 1);
  const int level = (int)luaL_checkinteger(L, 2);
  const la_id_t to = la_to_id(L, 3);
  const char *path = to == LA_NO_ID ? lua_tostring(L, 3) : NULL;
  switch (la_log_add(log, name, level, path, to, lua_toboolean(L, 4))) {
    case LA_LOG_ADDED:
      lua_pushboolean(L, 1);
      return 1;
    case LA_LOG_NAME_TAKEN:
      lua_pushnil(L);
      lua_pushliteral(L, "already_exists");
      return 2;
    case LA_LOG_NO_ROOM:
      lua_pushnil(L);
      lua_pushliteral(L, "system_limit");
      return 2;
    case LA_LOG_NO_FILE:
      lua_pushnil(L);
      lua_pushfstring(L, "%s: %s", path, strerror(errno));
      return 2;
    default:
      return luaL_error(L, "not enough memory");
  }
}

/* log_remove(name) -> was it there; the process that was started for it. */
static int log_remove(lua_State *L) {
  la_log_t *log = &la_proc_of(L)->host->log;
  la_id_t owned;
  lua_pushboolean(L, la_log_remove(log, luaL_checkstring(L, 1), &owned));
  if (owned == LA_NO_ID) {
    return 1;
  }
  la_push_id(L, owned);
  return 2;
}

/* log_handlers() -> { { name =, kind =, level =, dropped =, pid = }, ... } */
static int log_handlers(lua_State *L) {
  static const char *const kinds[] = {"host", "file", "process"};
  la_log_t *log = &la_proc_of(L)->host->log;
  luaL_checkstack(L, 6, NULL);
  lua_newtable(L);
  lua_Integer n = 0;
  for (uint32_t i = 0; i < LA_LOG_HANDLERS; i++) {
    la_log_handler_t *h = la_log_handler_at(log, i);
    if (h == NULL) {
      continue;
    }
    const la_log_dest_t dest = h->dest;
    const int level = h->level;
    const la_id_t to = h->to;
    const uint64_t dropped = atomic_load(&h->dropped);
    char name[sizeof h->name];
    strcpy(name, h->name);
    la_log_handler_unref(h); /* before anything can raise */
    lua_createtable(L, 0, 5);
    lua_pushstring(L, name);
    lua_setfield(L, -2, "name");
    lua_pushstring(L, kinds[dest]);
    lua_setfield(L, -2, "kind");
    lua_pushstring(L, la_log_level_name(level));
    lua_setfield(L, -2, "level");
    lua_pushinteger(L, (lua_Integer)dropped);
    lua_setfield(L, -2, "dropped");
    if (to != LA_NO_ID) {
      la_push_id(L, to);
      lua_setfield(L, -2, "pid");
    }
    lua_rawseti(L, -2, ++n);
  }
  return 1;
}

void la_open_log(lua_State *L) {
  static const luaL_Reg funcs[] = {
      {"log_level", log_level},       {"log_event", log_event},
      {"log_admit", log_admit},       {"log_set", log_set},
      {"log_settings", log_settings}, {"log_add", log_add},
      {"log_remove", log_remove},     {"log_handlers", log_handlers},
      {NULL, NULL},
  };
  luaL_setfuncs(L, funcs, 0);
}

/* Limits and rights of groups as options of a spawn.
 *
 * Rights are what a state has: the functions and modules that code can reach. The
 * state of a sandboxed process is made like any other, but before its first
 * instruction all fields of the libraries that it may not have are marked as taken
 * (mem/lazy.h): they have not been put in any table yet, and never will be. There is no
 * list of checks that a clever script could slip through; what is not there cannot be
 * called. It is made from the plain image only, in which nothing has been taken.
 *
 * Functions that are there and could reach further than the sandbox ask
 * la_sandbox_of: require and what arrives by name in a message (only named
 * modules), load (text only), unpack (no identities), destinations (no names),
 * exit, link and info (only processes of the sandbox), spawn options; and sends to
 * processes outside, which may carry no function and be no system message, since the servers
 * of lualib run what comes so.
 *
 * A pid in a sandbox is a capability to send, call and monitor. It comes from a message, an
 * argument, an upvalue, or a spawn of its own; it cannot be made from text or bytes, and
 * there is no list of all. To end or look into a process it must be one of the sandbox.
 *
 * Children are in the group of their parent, whatever function spawned them, and the
 * rights belong to the group: there is nothing to pass on and nothing to forget. */
#include <math.h>
#include <string.h>

#include "lib/lib_core.h"
#include "proc/crew.h"
#include "proc/group.h"
#include "term/tag.h"

/* ---- limits ------------------------------------------------------------------ */

static int limit_of(const char *key) {
  for (int i = 0; i < LA_NLIMITS; i++) {
    if (strcmp(key, la_limit_names[i]) == 0) {
      return i;
    }
  }
  return -1;
}

/* The value of 'key' is on top. */
static void one_limit(lua_State *L, const char *key, la_group_opts_t *o) {
  const int i = limit_of(key);
  if (i >= 0) {
    int ok;
    const lua_Integer n = lua_tointegerx(L, -1, &ok);
    if (!ok || n <= 0) {
      luaL_error(L, "bad option 'limits.%s' (positive integer expected, got %s)",
                 key, luaL_tolstring(L, -1, NULL));
    }
    o->most[i] = (uint64_t)n;
  } else if (strcmp(key, "cpu") == 0) {
    int ok;
    const lua_Number n = lua_tonumberx(L, -1, &ok);
    if (!ok || !(n >= 0.001) || isinf(n)) {
      luaL_error(L,
                 "bad option 'limits.cpu' (share of a scheduler, 0.001 or "
                 "more, expected, got %s)",
                 luaL_tolstring(L, -1, NULL));
    }
    o->cpu = n;
  } else {
    luaL_error(L, "unknown option 'limits.%s'", key);
  }
}

void la_check_limits(lua_State *L, la_group_opts_t *o) {
  if (!lua_istable(L, -1)) {
    luaL_error(L, "bad option 'limits' (table expected, got %s)",
               luaL_typename(L, -1));
  }
  for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING) {
      luaL_error(L, "unknown option 'limits.%s'", luaL_tolstring(L, -2, NULL));
    }
    one_limit(L, lua_tostring(L, -2), o);
  }
}

/* ---- rights ------------------------------------------------------------------ */

/* What every sandbox has of the globals. */
static const char *const base[] = {
    "_G", "_VERSION", "assert", "collectgarbage", "error", "getmetatable",
    "ipairs", "load", "next", "pairs", "pcall", "print", "rawequal", "rawget",
    "rawlen", "rawset", "require", "select", "setmetatable", "tonumber",
    "tostring", "type", "xpcall", NULL};

/* Libraries that may be named, and what of them is not given away. */
static const struct {
  const char *name;
  unsigned table;
  const char *only[5]; /* nothing: all but 'without' */
  const char *without;
} libraries[] = {
    {"coroutine", LA_TABLE_COROUTINE, {NULL}, NULL},
    {"math", LA_TABLE_MATH, {NULL}, NULL},
    {"os", LA_TABLE_OS, {"clock", "date", "difftime", "time", NULL}, NULL},
    {"string", LA_TABLE_STRING, {NULL}, "dump"},
    {"table", LA_TABLE_TABLE, {NULL}, NULL},
    {"utf8", LA_TABLE_UTF8, {NULL}, NULL},
};
enum { NLIBRARIES = sizeof libraries / sizeof *libraries };

/* What of require "luactor" every sandbox has. Not there: the host (halt, preload), names,
 * pids from text, threads. */
static const char *const core_calls[] = {
    "_", "after", "alias", "atom", "atomkeys", "bin", "call", "cancel", "cast",
    "cons", "demonitor", "exact", "exit", "export", "flush", "info", "is",
    "is_alive", "label", "link", "mailbox", "map", "match", "monitor", "now",
    "null", "on", "oneof", "pack", "parent", "post", "processes", "receive",
    "receiver", "ref", "reply", "request", "scope", "self", "send",
    "send_after", "send_every", "sender", "sleep", "spawn", "spawn_link",
    "spawn_monitor", "spawn_opt", "trap_exit", "try_call", "try_send", "tuple",
    "unalias", "unlink", "unpack", "var", "yield", NULL};

/* Modules of luactor that give no rights; those with an underscore serve the
 * others. */
static const char *const own_modules[] = {
    "luactor", "luactor._behaviour", "luactor._children", "luactor._core",
    "luactor._index", "luactor._scope", "luactor._server", "luactor._start",
    "luactor._system", "luactor.agent", "luactor.dynamic_supervisor",
    "luactor.gen_event", "luactor.gen_server", "luactor.gen_statem",
    "luactor.match", "luactor.pool", "luactor.proxy", "luactor.supervisor",
    "luactor.sys", "luactor.task", "luactor.task_supervisor", NULL};

static bool is_in(const char *const *list, const char *name) {
  while (*list != NULL && strcmp(*list, name) != 0) {
    list++;
  }
  return *list != NULL;
}

static int library_of(const char *name) {
  for (int i = 0; i < NLIBRARIES; i++) {
    if (strcmp(libraries[i].name, name) == 0) {
      return i;
    }
  }
  return -1;
}

/* Is the name among those of the sandbox? */
static bool has_name(const la_sandbox_t *s, const char *name) {
  for (const char *at = s->names; at < s->names + s->nnames;
       at += strlen(at) + 1) {
    if (strcmp(at, name) == 0) {
      return true;
    }
  }
  return false;
}

static bool may_have(lua_State *L, const char *name, size_t len) {
  const la_sandbox_t *s = la_sandbox_of(la_proc_of(L));
  char text[256];
  if (len >= sizeof text || memchr(name, 0, len) != NULL) {
    return false;
  }
  memcpy(text, name, len);
  text[len] = '\0';
  return strcmp(text, "_G") == 0 || is_in(own_modules, text) ||
         has_name(s, text);
}

static void drop(uint64_t *gone, uint32_t bit) {
  gone[bit / 64] |= UINT64_C(1) << bit % 64;
}

static void drop_field(uint64_t *gone, const la_lazy_plan_t *plan, unsigned n,
                       const char *name) {
  const int bit = la_lazy_field_number(plan, n, name);
  if (bit >= 0) {
    drop(gone, (uint32_t)bit);
  }
}

/* Drop the fields of table 'n' that are not in 'keep'; NULL: all. */
static void drop_others(uint64_t *gone, const la_lazy_plan_t *plan, unsigned n,
                        const char *const *keep) {
  const la_lazy_table_t *t = &plan->tables[n];
  for (uint32_t i = 0; i < t->nfields; i++) {
    if (keep == NULL || !is_in(keep, t->fields[i].name)) {
      drop(gone, t->first + i);
    }
  }
}

/* The libraries in the set of bits 'named', and the base functions. */
static void choose_fields(uint64_t *gone, const la_lazy_plan_t *plan,
                          unsigned named) {
  const char *keep[NLIBRARIES + sizeof base / sizeof *base];
  const char *loaded[NLIBRARIES + 3] = {"_G", "luactor"};
  unsigned n = 0, m = 2;
  while (base[n] != NULL) {
    keep[n] = base[n];
    n++;
  }
  for (int i = 0; i < NLIBRARIES; i++) {
    if (named >> i & 1) {
      keep[n++] = loaded[m++] = libraries[i].name;
      if (libraries[i].only[0] != NULL) {
        drop_others(gone, plan, libraries[i].table, libraries[i].only);
      } else if (libraries[i].without != NULL) {
        drop_field(gone, plan, libraries[i].table, libraries[i].without);
      }
    } else {
      drop_others(gone, plan, libraries[i].table, NULL);
    }
  }
  keep[n] = NULL;
  loaded[m] = NULL;
  drop_others(gone, plan, LA_TABLE_GLOBALS, keep);
  drop_others(gone, plan, LA_TABLE_LOADED, loaded);
  drop_others(gone, plan, LA_TABLE_DEBUG, NULL);
  drop_others(gone, plan, LA_TABLE_IO, NULL);
  drop_others(gone, plan, LA_TABLE_LUACTOR, core_calls);
}

/* Can the spawner itself require the module by this name, as a Lua file? */
static bool is_lua_module(lua_State *L, const char *name) {
  bool found = false;
  const int top = lua_gettop(L);
  la_lazy_push(L, LA_TABLE_PACKAGE);
  if (lua_getfield(L, -1, "searchpath") == LUA_TFUNCTION) {
    lua_pushstring(L, name);
    lua_getfield(L, -3, "path");
    found = lua_pcall(L, 2, 1, 0) == LUA_OK && lua_isstring(L, -1);
  }
  lua_settop(L, top);
  return found;
}

static void check_right(lua_State *L, const char *name, unsigned *named) {
  const la_sandbox_t *mine = la_sandbox_of(la_proc_of(L));
  const int lib = library_of(name);
  if (strcmp(name, "io") == 0 || strcmp(name, "debug") == 0 ||
      strcmp(name, "package") == 0) {
    luaL_error(L, "bad option 'sandbox' ('%s' is not for a sandbox)", name);
  }
  if (strlen(name) > 255 ||
      (lib < 0 && mine == NULL && strcmp(name, "lpeg") != 0 &&
       !is_in(own_modules, name) &&
       (strncmp(name, "luactor", 7) == 0 || !is_lua_module(L, name)))) {
    luaL_error(L, "bad option 'sandbox' (unknown name '%s')", name);
  }
  if (mine != NULL && !is_in(own_modules, name) && !has_name(mine, name)) {
    luaL_error(L, "bad option 'sandbox' ('%s' is not in the sandbox of the "
               "parent)", name);
  }
  if (lib >= 0) {
    *named |= 1u << lib;
  }
}

void la_check_rights(lua_State *L, la_rights_t *out) {
  if (!lua_istable(L, -1)) {
    luaL_error(L, "bad option 'sandbox' (list of names expected, got %s)",
               luaL_typename(L, -1));
  }
  unsigned named = 0;
  const int list = lua_gettop(L);
  const lua_Integer n = (lua_Integer)lua_rawlen(L, list);
  for (lua_Integer i = 1; i <= n; i++) {
    if (lua_rawgeti(L, list, i) != LUA_TSTRING ||
        strlen(lua_tostring(L, -1)) != lua_rawlen(L, -1)) {
      luaL_error(L, "bad option 'sandbox' (name expected at %d, got %s)",
                 (int)i, luaL_tolstring(L, -1, NULL));
    }
    check_right(L, lua_tostring(L, -1), &named);
    lua_pop(L, 1);
  }
  const la_sandbox_t *mine = la_sandbox_of(la_proc_of(L));
  memset(out, 0, sizeof *out);
  choose_fields(out->gone, &la_std_of(L)->plan, named);
  for (int i = 0; mine != NULL && i < LA_LAZY_FIELDS / 64; i++) {
    out->gone[i] |= mine->gone[i];
  }
}

la_sandbox_t *la_sandbox_of_names(const la_std_t *std,
                                  const la_sandbox_t *parent,
                                  const char *const *names, bool *unknown) {
  size_t size = 0;
  unsigned named = 0;
  *unknown = false;
  for (const char *const *n = names; *n != NULL; n++) {
    const int lib = library_of(*n);
    *unknown = *unknown || strlen(*n) > 255 || strcmp(*n, "io") == 0 ||
               strcmp(*n, "debug") == 0 || strcmp(*n, "package") == 0 ||
               (strncmp(*n, "luactor", 7) == 0 && !is_in(own_modules, *n)) ||
               (parent != NULL && !is_in(own_modules, *n) &&
                !has_name(parent, *n));
    size += strlen(*n) + 1;
    named |= lib >= 0 ? 1u << lib : 0;
  }
  la_sandbox_t *s = *unknown ? NULL : la_zalloc(sizeof *s + size);
  if (s == NULL) {
    return NULL;
  }
  atomic_init(&s->refs, 1);
  choose_fields(s->gone, &std->plan, named);
  for (int i = 0; parent != NULL && i < LA_LAZY_FIELDS / 64; i++) {
    s->gone[i] |= parent->gone[i];
  }
  for (const char *const *n = names; *n != NULL; n++) {
    const size_t len = strlen(*n) + 1;
    memcpy(s->names + s->nnames, *n, len);
    s->nnames += len;
  }
  return s;
}

la_sandbox_t *la_make_sandbox(lua_State *L, int list, const la_rights_t *r,
                              const la_spawn_opts_t *o) {
  size_t size = 0;
  const lua_Integer n = (lua_Integer)lua_rawlen(L, list);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, list, i);
    size += lua_rawlen(L, -1) + 1;
    lua_pop(L, 1);
  }
  la_sandbox_t *s = la_zalloc(sizeof *s + size);
  if (s == NULL) {
    return NULL;
  }
  atomic_init(&s->refs, 1);
  memcpy(s->gone, r->gone, sizeof s->gone);
  s->max_heap = o->max_heap;
  s->mbox_limit = o->mbox_limit;
  s->overflow = o->overflow;
  for (lua_Integer i = 1; i <= n; i++) {
    size_t len;
    lua_rawgeti(L, list, i);
    const char *name = lua_tolstring(L, -1, &len);
    memcpy(s->names + s->nnames, name, len + 1);
    s->nnames += len + 1;
    lua_pop(L, 1);
  }
  return s;
}

void la_shut_state(la_proc_t *p) {
  const la_sandbox_t *s = la_sandbox_of(p);
  if (s == NULL) {
    return;
  }
  lua_State *L = p->exec.L;
  la_lazy_shut(L, s->gone, may_have);
  if (!has_name(s, "string")) { /* methods of strings */
    lua_pushliteral(L, "");
    if (lua_getmetatable(L, -1)) {
      lua_pushliteral(L, "__index"); /* of the image: nothing is allocated */
      lua_pushnil(L);
      lua_rawset(L, -3);
      lua_pop(L, 1);
    }
    lua_pop(L, 1);
  }
}

/* ---- what reaches further -------------------------------------------------------- */

void la_refuse_names(lua_State *L) {
  if (la_lazy_is_shut(L)) {
    luaL_error(L, "a name is no destination in a sandbox");
  }
}

/* The outermost group with the same rights: the sandbox itself. */
static la_group_t *sandbox_group(const la_proc_t *p) {
  la_group_t *g = la_group_of(p);
  while (g->parent != NULL && g->parent->sandbox == g->sandbox) {
    g = g->parent;
  }
  return g;
}

bool la_is_inside(lua_State *L, la_pid_t pid) {
  const la_proc_t *p = la_proc_of(L);
  return !la_lazy_is_shut(L) || pid == p->pid ||
         la_group_has(sandbox_group(p), pid);
}

/* The process that gets what is sent to 'to'; LA_NO_ID: none, or it is elsewhere. */
static la_pid_t receiver(la_host_t *host, la_id_t to) {
  const la_slot_t *s = la_pidtab_slot(&host->pids, to);
  switch (la_id_kind(to)) {
    case LA_ID_PID:
      return to;
    case LA_ID_ALIAS:
      return s != NULL ? atomic_load(&s->id) : LA_NO_ID;
    case LA_ID_MBOX:
      return s != NULL ? atomic_load(&s->owner) : LA_NO_ID;
    case LA_ID_POOL:
      return la_crew_owner(host, to);
    default:
      return LA_NO_ID;
  }
}

bool la_is_inside_dest(lua_State *L, la_id_t to) {
  return !la_lazy_is_shut(L) ||
         la_is_inside(L, receiver(la_proc_of(L)->host, to));
}

/* A system message ("luactor.sys") lets its sender suspend a server, put other code or
 * another state into it: who was given a pid to call is not given that. */
void la_check_out_now(lua_State *L, la_msg_t *m) {
  static const uint8_t head[] = {LA_TAG_LIST, 0, 0, 0, 1, LA_TAG_BINARY, 0, 0,
                                 0, 6, 's', 'y', 's', 't', 'e', 'm',
                                 LA_TAG_EMPTY};
  if (m->sig.tag == la_term_tag(head, sizeof head) &&
      !la_is_inside_dest(L, m->sig.to)) {
    la_sig_free(&m->sig);
    luaL_error(L, "cannot send a system message out of the sandbox");
  }
}

void la_check_inside(lua_State *L, int arg, la_pid_t pid) {
  if (la_is_inside(L, pid)) {
    return;
  }
  const la_slot_t *s = la_pidtab_slot(&la_proc_of(L)->host->pids, pid);
  if (la_id_kind(pid) != LA_ID_PID || (s != NULL && la_slot_is(s, pid))) {
    luaL_argerror(L, arg, "process is outside the sandbox");
  } /* one that is dead is no matter */
}

/* luactor._node: what luactor.node is made of. */
#include <lualib.h>
#include <stdlib.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dist/dist.h"
#include "dist/handshake.h"
#include "dist/policy.h"
#include "lib/lib_core.h"
#include "lib/lib_far.h"
#include "lib/lib_start.h"
#include "term/border.h"
#include "term/foreign.h"

/* ---- waiting for the network ------------------------------------------------------ */

/* The note that will wake the caller, who waits from now on. */
static la_note_t *wait_for(lua_State *L, const char *what) {
  la_proc_t *p = la_proc_of(L);
  la_check_wait(L, what);
  la_note_t *n = la_note_new(LA_SIG_RESUME, p->pid, LA_NO_ID);
  if (n == NULL) {
    luaL_error(L, "not enough memory");
  }
  n->ref = la_new_ref(p->host);
  la_wait_start(p, LA_WAIT_TOKEN, UINT64_MAX);
  p->wait.ref = n->ref;
  return n;
}

/* true, or nil and why not. */
static int done_k(lua_State *L, int status, lua_KContext ctx) {
  la_proc_t *p = la_proc_of(L);
  (void)status;
  (void)ctx;
  const la_note_t *n = (const la_note_t *)p->wait.answer;
  if (n != NULL && n->reason == NULL) {
    lua_pushboolean(L, 1);
    la_wait_clear(p);
    return 1;
  }
  lua_pushnil(L);
  lua_pushstring(L, n != NULL && n->name != NULL ? n->name
                                                 : "not enough memory");
  la_wait_clear(p);
  return 2;
}

static void give_up_wait(lua_State *L, la_note_t *n) {
  la_wait_clear(la_proc_of(L));
  la_sig_free(&n->sig);
}

/* ---- the node ------------------------------------------------------------------------ */

/* start(name, cookie, address, port, epmd, hidden, insecure, cert, key, ca,
 * ticktime_ms, max_message): true, or nil and why not. 'port' nil: do not listen. */
static int node_start(lua_State *L) {
  la_host_t *host = la_proc_of(L)->host;
  const la_dist_config_t config = {
      .name = luaL_checkstring(L, 1),
      .cookie = luaL_optstring(L, 2, NULL),
      .address = luaL_optstring(L, 3, NULL),
      .port = (int)luaL_optinteger(L, 4, -1),
      .epmd = lua_toboolean(L, 5),
      .hidden = lua_toboolean(L, 6),
      .insecure = lua_toboolean(L, 7),
      .cert = luaL_optstring(L, 8, NULL),
      .key = luaL_optstring(L, 9, NULL),
      .ca = luaL_optstring(L, 10, NULL),
      .ticktime_ms = (uint32_t)luaL_optinteger(L, 11, 0),
      .max_message = (size_t)luaL_optinteger(L, 12, 0),
  };
  char why[300];
  la_note_t *n = wait_for(L, "start");
  if (!la_dist_start(host, &config, n, why, sizeof why)) {
    give_up_wait(L, n);
    lua_pushnil(L);
    lua_pushstring(L, why);
    return 2;
  }
  return la_suspend(L, 0, done_k);
}

static int node_stop(lua_State *L) {
  la_dist_stop(la_proc_of(L)->host);
  return 0;
}

int la_node_name(lua_State *L) {
  lua_pushstring(L, la_dist_name(la_proc_of(L)->host));
  return 1;
}

static int node_port(lua_State *L) {
  const int port = la_dist_port(la_proc_of(L)->host);
  if (port > 0) {
    lua_pushinteger(L, port);
  } else {
    lua_pushnil(L);
  }
  return 1;
}

static const char *check_node(lua_State *L, int arg) {
  size_t n;
  const char *name = luaL_checklstring(L, arg, &n);
  luaL_argcheck(L, la_node_name_ok(name, n), arg,
                "a name of the form name@host expected");
  if (la_dist_name(la_proc_of(L)->host) == NULL) {
    luaL_error(L, "this host is no node; see node.start");
  }
  return name;
}

static int node_connect(lua_State *L) {
  const char *node = check_node(L, 1);
  la_note_t *n = wait_for(L, "connect");
  la_dist_connect(la_proc_of(L)->host, node, n);
  return la_suspend(L, 0, done_k);
}

static int node_disconnect(lua_State *L) {
  const char *node = check_node(L, 1);
  lua_pushboolean(L, la_dist_disconnect(la_proc_of(L)->host, node));
  return 1;
}

/* A list of 'count' texts, each ended by a NUL, which are freed. They outlive an error only
 * by a leak of their own size; tables of a few names do not fail in a state that has
 * just run. */
static int push_texts(lua_State *L, char *texts, size_t count) {
  lua_createtable(L, (int)count, 0);
  const char *s = texts;
  for (size_t i = 1; i <= count; i++, s += strlen(s) + 1) {
    lua_pushstring(L, s);
    lua_rawseti(L, -2, (lua_Integer)i);
  }
  la_free(texts);
  return 1;
}

static int node_list(lua_State *L) {
  size_t count;
  la_host_t *host = la_proc_of(L)->host;
  if (la_dist_name(host) == NULL) {
    lua_createtable(L, 0, 0);
    return 1;
  }
  char *names = la_dist_list(host, &count);
  if (names == NULL) {
    return luaL_error(L, "not enough memory");
  }
  return push_texts(L, names, count);
}

/* watch(name, on): nodeup and nodedown messages to the caller. "": of all nodes,
 * also when this host is none yet. */
static int node_watch(lua_State *L) {
  const char *node = luaL_checkstring(L, 1);
  if (node[0] != '\0') {
    node = check_node(L, 1);
  }
  la_proc_t *p = la_proc_of(L);
  if (!la_dist_watch(p->host, node, p->pid, lua_toboolean(L, 2))) {
    return luaL_error(L, "not enough memory");
  }
  return 0;
}

/* is_up(name): is there a connection, and to a luactor? Never makes one. */
static int node_is_up(lua_State *L) {
  bool is_luactor = false;
  lua_pushboolean(L, la_dist_is_up(la_proc_of(L)->host, luaL_checkstring(L, 1),
                                   &is_luactor));
  lua_pushboolean(L, is_luactor);
  return 2;
}

/* home(value): of a pid, true (this host) or the name of its node; nil: no pid. */
int la_node_home(lua_State *L) {
  if (la_foreign_kind(L, 1) == LA_FOREIGN_PID) {
    size_t n;
    la_wire_id_t id;
    const uint8_t *p = la_foreign_bytes(L, 1, &n);
    la_wire_id_read(p, p + n, &id);
    lua_pushlstring(L, (const char *)id.node, id.node_len);
  } else if (la_id_kind(la_to_id(L, 1)) == LA_ID_PID) {
    lua_pushboolean(L, 1);
  } else {
    lua_pushnil(L);
  }
  return 1;
}

/* place(name, address, port): where a node listens; without address: forget. */
static int node_place(lua_State *L) {
  const char *node = check_node(L, 1);
  const char *address = luaL_optstring(L, 2, NULL);
  const lua_Integer port = luaL_optinteger(L, 3, 0);
  luaL_argcheck(L, address == NULL || (port > 0 && port < 65536), 3,
                "a port from 1 to 65535 expected");
  if (!la_dist_place(la_proc_of(L)->host, node, address, (int)port)) {
    return luaL_error(L, "not enough memory");
  }
  return 0;
}

/* of(pid): the node of a pid, alias or reference. */
static int node_of(lua_State *L) {
  const la_foreign_t kind = la_foreign_kind(L, 1);
  if (kind == LA_FOREIGN_PID || kind == LA_FOREIGN_REFERENCE) {
    size_t n;
    la_wire_id_t id;
    const uint8_t *p = la_foreign_bytes(L, 1, &n);
    la_wire_id_read(p, p + n, &id);
    lua_pushlstring(L, (const char *)id.node, id.node_len);
    return 1;
  }
  luaL_argexpected(L, la_to_id(L, 1) != LA_NO_ID, 1, "pid");
  const char *name = la_dist_name(la_proc_of(L)->host);
  lua_pushstring(L, name != NULL ? name : "nonode@nohost");
  return 1;
}

/* The text of a mapper, or nil and why not. */
static int mapped_k(lua_State *L, int status, lua_KContext ctx) {
  la_proc_t *p = la_proc_of(L);
  (void)status;
  (void)ctx;
  const la_note_t *n = (const la_note_t *)p->wait.answer;
  const bool ok = n != NULL && n->reason == NULL && n->name != NULL;
  if (!ok) {
    lua_pushnil(L);
  }
  lua_pushstring(L, n != NULL && n->name != NULL ? n->name
                                                 : "not enough memory");
  la_wait_clear(p);
  return ok ? 1 : 2;
}

/* mapped(address): what the port mapper there says of the nodes it knows. */
static int node_mapped(lua_State *L) {
  const char *address = luaL_checkstring(L, 1);
  la_host_t *host = la_proc_of(L)->host;
  if (la_dist_name(host) == NULL) {
    return luaL_error(L, "this host is no node; see node.start");
  }
  la_note_t *n = wait_for(L, "names");
  if (!la_dist_names(host, address, n)) {
    give_up_wait(L, n);
    return luaL_error(L, "not enough memory");
  }
  return la_suspend(L, 0, mapped_k);
}

/* The addresses of a host name, with blanks between them; on a thread of its
 * own (actor.blocking). */
static int node_resolve(lua_State *L) {
  const char *host = luaL_checkstring(L, 1);
  const struct addrinfo hints = {.ai_family = AF_UNSPEC,
                                 .ai_socktype = SOCK_STREAM};
  struct addrinfo *list;
  const int r = getaddrinfo(host, NULL, &hints, &list);
  if (r != 0) {
    lua_pushnil(L);
    lua_pushstring(L, gai_strerror(r));
    return 2;
  }
  char text[2048] = "";
  size_t len = 0;
  for (const struct addrinfo *a = list; a != NULL; a = a->ai_next) {
    char one[64];
    if (getnameinfo(a->ai_addr, a->ai_addrlen, one, sizeof one, NULL, 0,
                    NI_NUMERICHOST) == 0 &&
        len + strlen(one) + 2 < sizeof text) {
      len += (size_t)snprintf(text + len, sizeof text - len, "%s ", one);
    }
  }
  freeaddrinfo(list);
  lua_pushstring(L, text);
  return 1;
}

/* read_secret(path): the text of a file that is its owner's alone, or nil and why
 * not. */
static int node_read_secret(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  char text[4096];
  struct stat st;
  const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  const char *why = NULL;
  ssize_t n = 0;
  if (fd < 0 || fstat(fd, &st) != 0) {
    why = strerror(errno);
  } else if (!S_ISREG(st.st_mode)) {
    why = "not a regular file";
  } else if (st.st_uid != geteuid()) {
    why = "belongs to another user";
  } else if ((st.st_mode & 077) == 0) {
    n = read(fd, text, sizeof text);
    why = n < 0 ? strerror(errno) : NULL;
  }
  if (fd >= 0) {
    close(fd);
  }
  if (why == NULL && (st.st_mode & 077) == 0) {
    lua_pushlstring(L, text, (size_t)n);
    return 1;
  }
  lua_pushnil(L);
  if (why != NULL) {
    lua_pushfstring(L, "%s: %s", path, why);
  } else {
    char mode[8];
    snprintf(mode, sizeof mode, "%03o", st.st_mode & 0777);
    lua_pushfstring(L, "%s: others may read or write it (mode %s); "
                    "chmod 400 makes it its owner's alone", path, mode);
  }
  return 2;
}

/* kept(): proxies that are in use; for tests. */
static int node_kept(lua_State *L) {
  lua_pushinteger(L, la_dist_kept(la_proc_of(L)->host));
  return 1;
}

/* ---- what others may do here ------------------------------------------------------ */

/* export([word]): "module" or "module.function" may be run for other nodes; without one
 * the list begins, empty. */
static int node_export(lua_State *L) {
  if (!la_policy_export(la_proc_of(L)->host, luaL_optstring(L, 1, NULL))) {
    return luaL_error(L, "not enough memory");
  }
  return 0;
}

static int node_forget_exports(lua_State *L) {
  la_policy_forget_exports(la_proc_of(L)->host);
  return 0;
}

/* exports(): what has been exported, or nil when there is no list. */
static int node_exports(lua_State *L) {
  size_t count;
  char *texts = la_policy_exports(la_proc_of(L)->host, &count);
  if (texts == NULL) {
    lua_pushnil(L);
    return 1;
  }
  return push_texts(L, texts, count);
}

/* trust(is_luactor, module, function): "exported", "source" or nil. */
static int node_trust(lua_State *L) {
  switch (la_policy_trust(la_proc_of(L)->host, lua_toboolean(L, 1),
                          luaL_checkstring(L, 2), luaL_checkstring(L, 3))) {
    case LA_TRUST_EXPORTED:
      lua_pushliteral(L, "exported");
      break;
    case LA_TRUST_SOURCE:
      lua_pushliteral(L, "source");
      break;
    default:
      lua_pushnil(L);
  }
  return 1;
}

/* refused(peer, text): one line in the log. */
static int node_refused(lua_State *L) {
  la_policy_log(la_proc_of(L)->host, luaL_checkstring(L, 1), "spawn", "%s",
                luaL_checkstring(L, 2));
  return 0;
}

/* app_path(): where the modules of the application are: in the directory of the
 * program and where the environment says. */
static int node_app_path(lua_State *L) {
  const luactor_config *config = &la_proc_of(L)->host->config;
  const char *env = NULL;
  if (!config->ignore_env) {
    env = getenv("LUA_PATH" LUA_VERSUFFIX);
    env = env != NULL ? env : getenv("LUA_PATH");
  }
  lua_pushfstring(L, "%s;%s",
                  config->lua_path != NULL ? config->lua_path
                                           : "./?.lua;./?/init.lua",
                  env != NULL ? env : "");
  return 1;
}

/* unfit(to_luactor, value): why it cannot travel to such a node, or nil. */
static int node_unfit(lua_State *L) {
  char why[512];
  const char *name = la_dist_name(la_proc_of(L)->host);
  const la_peer_t peer = {.node = name != NULL ? name : "",
                          .is_luactor = lua_toboolean(L, 1)};
  la_exported_t x = {0};
  la_term_t t;
  lua_settop(L, 2);
  la_encoder_t *e = la_begin_encode(L);
  if (!la_encode(e, L, 2, "result")) {
    la_encoder_end(e);
    return 1; /* the error is on top */
  }
  la_encoder_term(e, &t);
  const bool fits =
      la_export(&t, &peer, LA_EXPORT_VALUE, "result", &x, why, sizeof why);
  la_exported_free(&x);
  la_encoder_end(e);
  if (fits) {
    lua_pushnil(L);
  } else {
    lua_pushstring(L, why);
  }
  return 1;
}

/* names(): no rules; names(peer): there are rules; names(peer, name): 'peer' ("": all others)
 * reaches 'name', or true for all. */
static int node_names(lua_State *L) {
  la_host_t *host = la_proc_of(L)->host;
  if (lua_isnoneornil(L, 1)) {
    la_policy_forget_names(host);
    return 0;
  }
  const char *peer = luaL_checkstring(L, 1);
  const bool all = lua_type(L, 2) == LUA_TBOOLEAN;
  if (!la_policy_begin_names(host) ||
      (!lua_isnone(L, 2) &&
       !la_policy_name(host, peer, all ? NULL : luaL_checkstring(L, 2)))) {
    return luaL_error(L, "not enough memory");
  }
  return 0;
}

/* leader([pid]): who answers Erlang's requests for input and output. */
static int node_leader(lua_State *L) {
  la_host_t *host = la_proc_of(L)->host;
  if (!lua_isnoneornil(L, 1)) {
    la_dist_set_leader(host, la_check_pid(L, 1));
    return 0;
  }
  const la_pid_t pid = la_dist_leader(host);
  if (pid == LA_NO_ID) {
    lua_pushnil(L);
  } else {
    la_push_id(L, pid);
  }
  return 1;
}

static const luaL_Reg functions[] = {
    {"start", node_start},     {"stop", node_stop},
    {"name", la_node_name},       {"port", node_port},
    {"connect", node_connect}, {"disconnect", node_disconnect},
    {"list", node_list},       {"watch", node_watch},
    {"place", node_place},     {"of", node_of},
    {"kept", node_kept},       {"mapped", node_mapped},
    {"resolve", node_resolve}, {"read_secret", node_read_secret},
    {"is_up", node_is_up},
    {"spawn", la_far_quiet},
    {"export", node_export},   {"exports", node_exports},
    {"forget_exports", node_forget_exports},
    {"trust", node_trust},     {"refused", node_refused},
    {"app_path", node_app_path}, {"unfit", node_unfit},
    {"names", node_names},     {"leader", node_leader},
    {NULL, NULL}};

int la_luaopen_node(lua_State *L) {
  luaL_newlib(L, functions);
  return 1;
}

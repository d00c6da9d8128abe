/* require "luactor": opening the module, and what its parts share. */
#include "lib/lib_core.h"

#include "proc/crew.h"

#include <math.h>
#include <string.h>

#include "dist/dist.h"
#include "dist/handshake.h"
#include "lib/lib_start.h"
#include "match/match.h"
#include "term/foreign.h"
#include "term/plain.h"

/* ---- arguments ----------------------------------------------------------------- */

static la_id_t named(lua_State *L, int idx, const char **name) {
  la_refuse_names(L);
  *name = lua_tostring(L, idx);
  return la_names_find(&la_proc_of(L)->host->names, *name);
}

/* The node of a host that has not joined any. */
#define LOCAL_NODE "nonode@nohost"

static const char *own_node(la_host_t *host) {
  const char *name = la_dist_name(host);
  return name != NULL ? name : LOCAL_NODE;
}

/* A process holds the proxy that it looked up last, so that nothing is to be
 * given back when it raises, waits or is killed before the signal is on its
 * way. */
static la_id_t keep(la_proc_t *p, la_id_t proxy) {
  la_dist_release(p->host, p->far);
  p->far = proxy;
  return proxy;
}

/* The proxy of the remote process or alias at 'idx'; LA_NO_ID: it is none, or
 * its node cannot be reached from here. */
static la_id_t remote_dest(lua_State *L, int idx) {
  const la_foreign_t kind = la_foreign_kind(L, idx);
  if (kind != LA_FOREIGN_PID && kind != LA_FOREIGN_REFERENCE) {
    return LA_NO_ID;
  }
  size_t n;
  la_wire_id_t id;
  const uint8_t *bytes = la_foreign_bytes(L, idx, &n);
  la_wire_id_read(bytes, bytes + n, &id);
  la_proc_t *p = la_proc_of(L);
  return keep(p, la_dist_proxy(p->host, &id, NULL, NULL));
}

/* { name, node }, both at the top of the stack. */
static la_id_t name_on_node(lua_State *L, const char **name) {
  la_refuse_names(L);
  la_host_t *host = la_proc_of(L)->host;
  const char *node = lua_tostring(L, -1);
  *name = lua_tostring(L, -2); /* anchored by the table */
  if (strcmp(node, own_node(host)) == 0 || strcmp(node, LOCAL_NODE) == 0) {
    return la_names_find(&host->names, *name);
  }
  return la_node_name_ok(node, strlen(node))
             ? keep(la_proc_of(L), la_dist_proxy(host, NULL, node, *name))
             : LA_NO_ID;
}

static la_id_t table_dest(lua_State *L, int arg, const char **name) {
  la_id_t id = LA_NO_ID;
  lua_getfield(L, arg, "pid");
  id = la_to_id(L, -1);
  if (id == LA_NO_ID) {
    id = remote_dest(L, -1);
  }
  lua_pop(L, 1);
  if (id != LA_NO_ID) {
    return id;
  }
  /* A server object of luactor.gen_server may stand for a name. */
  const int type = lua_getfield(L, arg, "_to");
  if (type == LUA_TSTRING) {
    id = named(L, -1, name); /* the table keeps the text */
    lua_pop(L, 1);
    return id;
  }
  if (type == LUA_TTABLE) {
    lua_replace(L, arg);
  } else {
    lua_pop(L, 1);
  }
  lua_rawgeti(L, arg, 1);
  lua_rawgeti(L, arg, 2);
  if (lua_type(L, -2) == LUA_TSTRING && lua_type(L, -1) == LUA_TSTRING) {
    id = name_on_node(L, name);
    lua_pop(L, 2);
    return id;
  }
  lua_pop(L, 2);
  luaL_typeerror(L, arg, "pid, name or {name, node}");
  return LA_NO_ID;
}

la_id_t la_check_dest(lua_State *L, int arg, const char **name) {
  *name = NULL;
  const la_id_t id = la_to_id(L, arg);
  switch (la_id_kind(id)) {
    case LA_ID_PID:
    case LA_ID_ALIAS:
    case LA_ID_MBOX:
    case LA_ID_POOL:
      return id;
    default:
      break;
  }
  switch (lua_type(L, arg)) {
    case LUA_TSTRING:
      return named(L, arg, name);
    case LUA_TTABLE:
      return table_dest(L, arg, name);
    case LUA_TUSERDATA: {
      const la_foreign_t kind = la_foreign_kind(L, arg);
      if (kind == LA_FOREIGN_PID || kind == LA_FOREIGN_REFERENCE) {
        return remote_dest(L, arg);
      }
      break;
    }
    default:
      break;
  }
  luaL_typeerror(L, arg, "pid, name or {name, node}");
  return LA_NO_ID;
}

const char *la_no_dest(lua_State *L, int arg) {
  if (lua_type(L, arg) == LUA_TUSERDATA) {
    return "noconnection";
  }
  if (!lua_istable(L, arg)) {
    return "noproc";
  }
  lua_rawgeti(L, arg, 2);
  const char *node = lua_tostring(L, -1);
  lua_pop(L, 1); /* anchored by the table */
  return node != NULL && strcmp(node, LOCAL_NODE) != 0 &&
                 strcmp(node, own_node(la_proc_of(L)->host)) != 0
             ? "noconnection"
             : "noproc";
}

la_pid_t la_check_peer(lua_State *L, int arg) {
  if (la_foreign_kind(L, arg) != LA_FOREIGN_PID) {
    return la_check_pid(L, arg);
  }
  const la_id_t id = remote_dest(L, arg);
  return id != LA_NO_ID ? id : la_id_counted(LA_ID_PROXY, 0);
}

la_pid_t la_check_pid(lua_State *L, int arg) {
  la_id_t id = la_to_id(L, arg);
  if (id == LA_NO_ID && lua_istable(L, arg)) {
    lua_getfield(L, arg, "pid");
    id = la_to_id(L, -1);
    lua_pop(L, 1);
  }
  if (la_id_kind(id) == LA_ID_POOL) {
    return la_crew_owner(la_proc_of(L)->host, id);
  }
  if (la_id_kind(id) != LA_ID_PID) {
    luaL_typeerror(L, arg, "pid");
  }
  return id;
}

uint64_t la_check_ms(lua_State *L, int arg, bool optional) {
  if (optional && lua_isnoneornil(L, arg)) {
    return UINT64_MAX;
  }
  const lua_Number ms = luaL_checknumber(L, arg);
  luaL_argcheck(L, !isnan(ms), arg, "milliseconds expected, got NaN");
  return la_span_of_ms(ms);
}

/* ---- waiting ----------------------------------------------------------------------- */

void la_raise_fault_now(lua_State *L, la_proc_t *p) {
  if (p->ndoomed != 0 && !la_wait_spares(p)) {
    la_proc_obey_doom(p);
    la_exec_halt(L);
  }
  la_note_t *fault = p->scope_fault;
  if (fault == NULL || p->wait.kind == LA_WAIT_SCOPE) {
    return;
  }
  p->scope_fault = NULL;
  la_wait_clear(p);
  la_hold(p, &fault->sig);
  const la_term_t t = fault->reason->term;
  const bool ok = la_decode(L, &t, LA_TERM_LOCAL);
  la_unhold(p, &fault->sig);
  la_sig_free(&fault->sig);
  if (ok && lua_istable(L, -1)) { /* { "error", e, traceback }: raise e */
    lua_rawgeti(L, -1, 1);
    if (lua_type(L, -1) == LUA_TSTRING &&
        strcmp(lua_tostring(L, -1), "error") == 0) {
      lua_rawgeti(L, -2, 2);
      lua_error(L);
    }
    lua_pop(L, 1);
  }
  lua_error(L);
}

void la_refuse_wait(lua_State *L, const char *what) {
  if (la_proc_of(L)->in_guard) {
    luaL_error(L, "attempt to wait in '%s' inside a guard", what);
  }
  if (la_exec_of(L)->no_wait) {
    luaL_error(L, "attempt to wait in '%s' while the process ends", what);
  }
  /* Name the function in the way: the nearest C function on the stack below us. */
  lua_Debug ar;
  for (int level = 1; lua_getstack(L, level, &ar); level++) {
    lua_getinfo(L, "Sn", &ar);
    if (ar.what[0] == 'C' && ar.name != NULL) {
      luaL_error(L,
                 "attempt to wait in '%s' across a C-call boundary (in '%s')",
                 what, ar.name);
    }
  }
  luaL_error(L, "attempt to wait in '%s' across a C-call boundary", what);
}

int la_suspend(lua_State *L, lua_KContext ctx, lua_KFunction k) {
  la_proc_t *p = la_proc_of(L);
  const la_exec_t *x = &p->exec;
  p->exec.sysyield = true;
  p->wait.asleep = true;
  p->wait.plain = L == x->L && !x->in_finalizer && x->held == NULL &&
                  !x->has_finalizers && !la_exec_has_close(x, L);
  return lua_yieldk(L, 0, ctx, k);
}

/* ---- encoding ------------------------------------------------------------------------ */

la_encoder_t *la_begin_encode(lua_State *L) {
  la_encoder_t *e = la_encoder_begin(la_host_scratch(), LA_TERM_LOCAL);
  if (e == NULL) {
    luaL_error(L, "not enough memory");
  }
  return e;
}

void la_encode_or_raise(lua_State *L, la_encoder_t *e, int idx,
                        const char *what) {
  if (!la_encode(e, L, idx, what)) {
    la_encoder_end(e);
    luaL_where(L, 1);
    lua_insert(L, -2);
    lua_concat(L, 2);
    lua_error(L);
  }
}

void la_encoded_or_raise(lua_State *L, la_encoder_t *e, bool ok) {
  if (!ok) {
    la_encoder_end(e);
    luaL_error(L, "not enough memory");
  }
}

static la_msg_t *begin_small(lua_State *L, la_id_t to, const uint8_t *head,
                             size_t size) {
  la_msg_t *m = la_msg_begin(to, la_proc_of(L)->pid);
  if (m == NULL) {
    luaL_error(L, "not enough memory");
  }
  memcpy(m->bytes, head, size);
  return m;
}

static la_msg_t *end_small(la_msg_t *m, uint8_t *out) {
  if (out == NULL) {
    la_msg_cancel(m);
    return NULL;
  }
  *out = LA_TAG_EMPTY;
  la_msg_written(m, out + 1);
  return m;
}

la_msg_t *la_small_message(lua_State *L, la_id_t to, const uint8_t *head,
                           size_t size, int idx) {
  la_msg_t *m = begin_small(L, to, head, size);
  return end_small(m, la_plain_put(L, idx, m->bytes + size,
                                   m->bytes + LA_MSG_SMALL - 1,
                                   la_proc_of(L)->host->direct));
}

la_msg_t *la_small_list(lua_State *L, la_id_t to, const uint8_t *head,
                        size_t size, int first, int last) {
  la_msg_t *m = begin_small(L, to, head, size);
  return end_small(m, la_plain_put_list(L, first, last, m->bytes + size,
                                        m->bytes + LA_MSG_SMALL - 1,
                                        la_proc_of(L)->host->direct));
}

la_msg_t *la_finish_message(lua_State *L, la_encoder_t *e, la_id_t to) {
  la_term_t t;
  la_encoder_term(e, &t);
  if (la_encoder_has_code(e) && to != LA_NO_ID && !la_is_inside_dest(L, to)) {
    la_encoder_end(e);
    luaL_error(L, "cannot send a function out of the sandbox");
  }
  la_msg_t *m = la_msg_new(&t, to, la_proc_of(L)->pid);
  la_encoder_end(e);
  if (m == NULL) {
    luaL_error(L, "not enough memory");
  }
  return m;
}

/* ---- opening ------------------------------------------------------------------------- */

/* actor.scope and the like live in Lua modules that are loaded on first use. */
static int elsewhere_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  return lua_gettop(L) - (int)ctx;
}

/* Call the function whose name is the context in the module on top. */
static int elsewhere_loaded_k(lua_State *L, int status, lua_KContext name) {
  (void)status;
  lua_getfield(L, -1, (const char *)name);
  lua_remove(L, -2);
  lua_insert(L, 1);
  lua_callk(L, lua_gettop(L) - 1, LUA_MULTRET, 0, elsewhere_k);
  return elsewhere_k(L, LUA_OK, 0);
}

int la_elsewhere(lua_State *L, const char *module, const char *name) {
  lua_getglobal(L, "require");
  lua_pushstring(L, module);
  lua_callk(L, 1, 1, (lua_KContext)name, elsewhere_loaded_k);
  return elsewhere_loaded_k(L, LUA_OK, (lua_KContext)name);
}

static int l_scope(lua_State *L) {
  return la_elsewhere(L, "luactor._scope", "scope");
}

static int l_blocking(lua_State *L) {
  return la_elsewhere(L, "luactor._blocking", "blocking");
}

static const luaL_Reg functions[] = {
    {"scope", l_scope}, {"blocking", l_blocking}, {NULL, NULL}};
const la_std_part_t la_core_parts[] = {{LA_TABLE_LUACTOR, functions, false},
                                       {0, NULL, false}};

/* The first require gives the process's library, which may be in use already; one
 * after that (package.loaded.luactor = nil) makes a new one, as with any
 * module. */
int la_luaopen_luactor(lua_State *L) {
  if (la_lazy_exists(L, LA_TABLE_LUACTOR)) {
    la_lazy_push_copy(L, LA_TABLE_LUACTOR);
    lua_getfield(L, -1, "var");
    lua_getfield(L, -1, "_");
    lua_setfield(L, -3, "_");
    lua_pop(L, 1);
  } else {
    la_lazy_push(L, LA_TABLE_LUACTOR);
  }
  return 1;
}

int la_luaopen_core(lua_State *L) {
  lua_createtable(L, 0, 8);
  la_open_inner(L);
  return 1;
}

/* Processes as Lua sees them: spawn, links, monitors, names, information. */
#include <string.h>

#include "dist/dist.h"
#include "lib/lib_core.h"
#include "lib/lib_far.h"
#include "lib/lib_start.h"
#include "lib/lib_template.h"
#include "term/foreign.h"

/* ---- spawn options -------------------------------------------------------------- */

static int index_of(const char *const *list, int n, const char *text) {
  for (int i = 0; i < n; i++) {
    if (strcmp(list[i], text) == 0) {
      return i;
    }
  }
  return -1;
}

static int check_choice(lua_State *L, const char *key,
                        const char *const *list, int n) {
  const char *text = lua_tostring(L, -1);
  const int i = lua_type(L, -1) == LUA_TSTRING ? index_of(list, n, text) : -1;
  if (i < 0) {
    luaL_error(L, "bad option '%s' (%s)", key, luaL_tolstring(L, -1, NULL));
  }
  return i;
}

static lua_Integer check_positive(lua_State *L, const char *key) {
  int ok;
  const lua_Integer n = lua_tointegerx(L, -1, &ok);
  if (!ok || n <= 0) {
    luaL_error(L, "bad option '%s' (positive integer expected, got %s)", key,
               luaL_tolstring(L, -1, NULL));
  }
  return n;
}

static const char *check_text(lua_State *L, const char *key) {
  if (lua_type(L, -1) != LUA_TSTRING) {
    luaL_error(L, "bad option '%s' (string expected, got %s)", key,
               luaL_typename(L, -1));
  }
  return lua_tostring(L, -1); /* anchored by the option table */
}

#define COUNT(list) ((int)(sizeof(list) / sizeof(list)[0]))

/* { limit = n, overflow = "..." } on top of the stack. */
static void mailbox_opts(lua_State *L, uint32_t *limit,
                         la_overflow_t *overflow) {
  if (!lua_istable(L, -1)) {
    luaL_error(L, "bad option 'mailbox' (table expected, got %s)",
               luaL_typename(L, -1));
  }
  for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
    const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
    if (strcmp(key, "limit") == 0) {
      const lua_Integer n = check_positive(L, "mailbox.limit");
      if (n >= (lua_Integer)LA_MAX_MBOX_LIMIT) {
        luaL_error(L, "bad option 'mailbox.limit' (too large)");
      }
      *limit = (uint32_t)n;
    } else if (strcmp(key, "overflow") == 0) {
      *overflow = (la_overflow_t)check_choice(
          L, "mailbox.overflow", la_overflow_names, COUNT(la_overflow_names));
    } else {
      luaL_error(L, "unknown option 'mailbox.%s'",
                 luaL_tolstring(L, -2, NULL));
    }
  }
}

void la_check_mailbox_opts(lua_State *L, int arg, uint32_t *limit,
                           la_overflow_t *overflow) {
  const la_sandbox_t *s = la_sandbox_of(la_proc_of(L));
  *limit = s != NULL ? s->mbox_limit : 0;
  *overflow = s != NULL ? s->overflow : LA_OVERFLOW_BLOCK;
  if (!lua_isnoneornil(L, arg)) {
    lua_pushvalue(L, arg);
    mailbox_opts(L, limit, overflow);
    lua_pop(L, 1);
    if (s != NULL && *limit > s->mbox_limit) {
      luaL_error(L, "bad option 'mailbox.limit' (at most %d in this sandbox)",
                 (int)s->mbox_limit);
    }
  }
}

static int check_thread(lua_State *L) {
  if (lua_type(L, -1) == LUA_TSTRING &&
      strcmp(lua_tostring(L, -1), "own") == 0) {
    return -2;
  }
  int ok;
  const lua_Integer n = lua_tointegerx(L, -1, &ok);
  const uint32_t most = atomic_load(&la_proc_of(L)->host->nserved);
  if (!ok || n < 1 || n > most) {
    luaL_error(L, "bad option 'thread' (1 to %d or 'own' expected, got %s)",
               (int)most, luaL_tolstring(L, -1, NULL));
  }
  return (int)n - 1;
}

typedef struct la_spawn_request {
  la_spawn_opts_t o;
  la_gc_mode_t gc;
  int env; /* stack index of the table of extra globals, or 0 */
  bool is_root; /* no parent */
  bool heads_group; /* 'group' is for one of its own */
  la_group_opts_t group;
  bool is_sandbox;
  int opts; /* stack index of the options; the texts are anchored there */
  const char *node;
  const char *here; /* an option that is for processes of this host only, or NULL */
} la_spawn_request_t;

/* The value of 'key' is on top of the stack. */
static void one_option(lua_State *L, const char *key, la_spawn_request_t *r) {
  la_spawn_opts_t *o = &r->o;
  if (strcmp(key, "link") == 0) {
    o->tie = lua_toboolean(L, -1) ? LA_TIE_LINK : LA_TIE_NONE;
  } else if (strcmp(key, "monitor") == 0) {
    o->monitor = lua_toboolean(L, -1);
  } else if (strcmp(key, "trap_exit") == 0) {
    o->trap_exit = lua_toboolean(L, -1);
  } else if (strcmp(key, "name") == 0) {
    o->name = check_text(L, key);
  } else if (strcmp(key, "label") == 0) {
    o->label = check_text(L, key);
  } else if (strcmp(key, "priority") == 0) {
    o->priority = (la_prio_t)check_choice(L, key, la_priority_names,
                                          COUNT(la_priority_names));
  } else if (strcmp(key, "max_heap") == 0) {
    o->max_heap = (size_t)check_positive(L, key);
  } else if (strcmp(key, "mailbox") == 0) {
    mailbox_opts(L, &o->mbox_limit, &o->overflow);
  } else if (strcmp(key, "gc") == 0) {
    r->gc = (la_gc_mode_t)check_choice(L, key, la_gc_names, COUNT(la_gc_names));
  } else if (strcmp(key, "thread") == 0) {
    o->thread = check_thread(L);
    r->here = "thread";
  } else if (strcmp(key, "env") == 0) {
    if (!lua_istable(L, -1)) {
      luaL_error(L, "bad option 'env' (table expected, got %s)",
                 luaL_typename(L, -1));
    }
    r->here = "env";
  } else if (strcmp(key, "limits") == 0) {
    la_check_limits(L, &r->group);
    r->heads_group = true;
    r->here = "limits";
  } else if (strcmp(key, "sandbox") == 0) {
    r->heads_group = true;
    r->is_sandbox = true;
    r->here = "sandbox";
  } else if (strcmp(key, "node") == 0) {
    r->node = check_text(L, key);
  } else {
    luaL_error(L, "unknown option '%s'", key);
  }
}

/* The table at 'arg'; it stands at 'opts', too, where it stays. */
static void parse_opts(lua_State *L, int arg, int opts,
                       la_spawn_request_t *r) {
  luaL_checktype(L, arg, LUA_TTABLE);
  r->opts = opts;
  for (lua_pushnil(L); lua_next(L, arg) != 0; lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING) {
      luaL_error(L, "unknown option '%s'", luaL_tolstring(L, -2, NULL));
    }
    one_option(L, lua_tostring(L, -2), r);
  }
  if (lua_getfield(L, arg, "env") == LUA_TTABLE) {
    lua_replace(L, arg); /* the other texts are anchored by the caller's frame */
    r->env = arg;
  } else {
    lua_pop(L, 1);
  }
}

/* ---- spawn ---------------------------------------------------------------------- */

/* The function at 'f' and what follows it, as one message. */
static la_msg_t *encode_call(lua_State *L, int f) {
  const int n = lua_gettop(L) - f + 1;
  la_encoder_t *e = la_begin_encode(L);
  la_encoded_or_raise(L, e, la_encode_list(e, (uint32_t)n));
  la_encode_or_raise(L, e, f, "function");
  for (int i = 1; i < n; i++) {
    char what[24];
    lua_Integer at = i;
    lua_pushfstring(L, "argument %I", (LUAI_UACINT)at);
    strncpy(what, lua_tostring(L, -1), sizeof what - 1);
    what[sizeof what - 1] = '\0';
    lua_pop(L, 1);
    la_encode_or_raise(L, e, f + i, what);
  }
  la_encoded_or_raise(L, e, la_encode_list_end(e));
  return la_finish_message(L, e, LA_NO_ID);
}

static void raise_status(lua_State *L, la_spawn_status_t status,
                         const char *name) {
  switch (status) {
    case LA_SPAWN_LIMIT:
      la_serve_now(L, la_proc_of(L)); /* its group may have ended */
      lua_pushliteral(L, "system_limit");
      lua_error(L);
      break;
    case LA_SPAWN_NAME_TAKEN:
      luaL_error(L, "name '%s' is already registered", name);
      break;
    case LA_SPAWN_NO_THREAD:
      luaL_error(L, "cannot start a thread");
      break;
    case LA_SPAWN_CLOSED:
      la_exec_halt(L); /* the host ends */
      break;
    default:
      luaL_error(L, "not enough memory");
  }
}

/* What a sandbox has already: its children may not go beyond it. */
static void check_in_sandbox(lua_State *L, const la_spawn_opts_t *o) {
  const la_sandbox_t *s = la_sandbox_of(la_proc_of(L));
  if (s == NULL) {
    return;
  }
  if (o->name != NULL || o->thread != -1) {
    luaL_error(L, "option '%s' is not available in a sandbox",
               o->name != NULL ? "name" : "thread");
  }
  if (o->priority < LA_PRIO_NORMAL) {
    luaL_error(L, "bad option 'priority' (at most 'normal' in a sandbox)");
  }
  if (o->max_heap > s->max_heap) {
    luaL_error(L, "bad option 'max_heap' (at most %I in this sandbox)",
               (LUAI_UACINT)s->max_heap);
  }
  if (o->mbox_limit > s->mbox_limit) {
    luaL_error(L, "bad option 'mailbox.limit' (at most %d in this sandbox)",
               (int)s->mbox_limit);
  }
}

/* Limits of a sandbox that are not given: without them its children could do together what
 * one may not. */
enum { SANDBOX_PROCESSES = 100, SANDBOX_HEAPS = 16, SANDBOX_BOXES = 16 };

/* All that the new process runs has been encoded: no code of the spawner's comes
 * between what is checked here and what is kept. */
static void make_sandbox(lua_State *L, la_spawn_request_t *r) {
  const la_spawn_opts_t *o = &r->o;
  la_rights_t rights;
  if (o->max_heap == 0 || o->mbox_limit == 0) {
    luaL_error(L, "option '%s' is required with 'sandbox'",
               o->max_heap == 0 ? "max_heap" : "mailbox.limit");
  }
  lua_pushliteral(L, "sandbox");
  lua_rawget(L, r->opts);
  const int list = lua_gettop(L);
  la_check_rights(L, &rights);
  uint64_t *most = r->group.most;
  if (most[LA_LIMIT_MEMORY] == 0) {
    most[LA_LIMIT_MEMORY] = (uint64_t)SANDBOX_HEAPS * o->max_heap;
  }
  if (most[LA_LIMIT_PROCESSES] == 0) {
    most[LA_LIMIT_PROCESSES] = SANDBOX_PROCESSES;
  }
  if (most[LA_LIMIT_MESSAGES] == 0) {
    most[LA_LIMIT_MESSAGES] = (uint64_t)SANDBOX_BOXES * o->mbox_limit;
  }
  r->group.sandbox = la_make_sandbox(L, list, &rights, o);
  lua_settop(L, list - 1);
  if (r->group.sandbox == NULL) {
    luaL_error(L, "not enough memory");
  }
}

/* The group of the new process; with a reference when it is one of its own. */
static la_spawn_status_t choose_group(la_proc_t *p, la_spawn_request_t *r) {
  bool too_deep;
  r->o.group = la_group_of(p); /* also of one without a parent */
  if (!r->heads_group) {
    return LA_SPAWN_OK;
  }
  r->o.group = la_group_new(p->host, r->o.group, &r->group, &too_deep);
  r->o.heads_group = true;
  return r->o.group != NULL ? LA_SPAWN_OK
         : too_deep         ? LA_SPAWN_LIMIT
                            : LA_SPAWN_NOMEM;
}

/* On another node, unless it is this one. */
static int spawn_at(lua_State *L, int f, const la_spawn_request_t *r) {
  if (la_sandbox_of(la_proc_of(L)) != NULL) {
    return luaL_error(L, "option 'node' is not available in a sandbox");
  }
  if (r->here != NULL) {
    return luaL_error(L, "option '%s' cannot be used with 'node'", r->here);
  }
  const la_far_opts_t x = {.node = r->node,
                           .o = r->o,
                           .gc = r->gc,
                           .deadline_ns = UINT64_MAX};
  return la_far_spawn(L, f, &x);
}

static int spawn(lua_State *L, int f, la_spawn_request_t *r) {
  la_proc_t *p = la_proc_of(L);
  if (r->node != NULL && !la_far_is_here(p->host, r->node)) {
    return spawn_at(L, f, r);
  }
  if (r->node != NULL && lua_isfunction(L, f)) {
    return luaL_typeerror(L, f, "'module.function'");
  }
  if (!lua_isfunction(L, f) && lua_type(L, f) != LUA_TSTRING) {
    return luaL_typeerror(L, f, "function or 'module.function'");
  }
  const bool named = lua_type(L, f) == LUA_TSTRING;
  if (named) {
    const char *name = lua_tostring(L, f);
    const char *dot = strrchr(name, '.');
    luaL_argcheck(L, dot != NULL && dot != name && dot[1] != '\0', f,
                  "'module.function' expected");
    r->o.initial_call = name;
  }
  check_in_sandbox(L, &r->o);
  la_msg_t *term = encode_call(L, f);
  la_msg_t *env = NULL;
  if (r->env != 0) {
    la_hold(p, &term->sig); /* until nothing can raise any more */
    la_encoder_t *e = la_begin_encode(L);
    la_encode_or_raise(L, e, r->env, "env");
    env = la_finish_message(L, e, LA_NO_ID);
    la_unhold(p, &term->sig);
  }
  if (r->is_sandbox) {
    la_hold(p, &term->sig);
    if (env != NULL) {
      la_hold(p, &env->sig);
    }
    make_sandbox(L, r);
    if (env != NULL) {
      la_unhold(p, &env->sig);
    }
    la_unhold(p, &term->sig);
  }
  la_start_t *s = la_zalloc(sizeof *s);
  la_spawn_status_t status = LA_SPAWN_NOMEM;
  la_pid_t pid = LA_NO_ID;
  la_id_t ref = LA_NO_ID;
  if (s != NULL) {
    s->kind = LA_START_CALL;
    s->term = term;
    s->env = env;
    s->gc = (uint8_t)r->gc;
    status = choose_group(p, r);
    if (status == LA_SPAWN_OK) {
      status = la_proc_spawn(p->host, r->is_root ? NULL : p, &r->o, s, &pid,
                             &ref);
      if (r->heads_group) {
        la_group_unref(r->o.group);
      }
    } else {
      la_sandbox_unref(r->group.sandbox);
    }
    if (status != LA_SPAWN_OK) {
      la_start_free(s);
    }
  } else {
    la_sandbox_unref(r->group.sandbox);
    la_sig_free(&term->sig);
    if (env != NULL) {
      la_sig_free(&env->sig);
    }
  }
  if (status != LA_SPAWN_OK) {
    raise_status(L, status, r->o.name);
  }
  la_charge(L, 200);
  la_push_id(L, pid);
  if (ref == LA_NO_ID) {
    return 1;
  }
  la_push_id(L, ref);
  return 2;
}

static void init_request(lua_State *L, la_spawn_request_t *r) {
  *r = (la_spawn_request_t){.gc = LA_GC_INCREMENTAL};
  la_spawn_opts_init(&r->o, la_proc_of(L)->host);
  const la_sandbox_t *s = la_sandbox_of(la_proc_of(L));
  if (s != NULL) { /* what it has not more of than its parent */
    r->o.max_heap = s->max_heap;
    r->o.mbox_limit = s->mbox_limit;
    r->o.overflow = s->overflow;
  }
}

static int l_spawn(lua_State *L) {
  la_spawn_request_t r;
  init_request(L, &r);
  return spawn(L, 1, &r);
}

static int l_spawn_link(lua_State *L) {
  la_spawn_request_t r;
  init_request(L, &r);
  r.o.tie = LA_TIE_LINK;
  return spawn(L, 1, &r);
}

static int l_spawn_monitor(lua_State *L) {
  la_spawn_request_t r;
  init_request(L, &r);
  r.o.monitor = true;
  return spawn(L, 1, &r);
}

static int l_spawn_opt(lua_State *L) {
  la_spawn_request_t r;
  init_request(L, &r);
  lua_pushvalue(L, 1); /* keeps the options' texts alive */
  lua_insert(L, 1);
  parse_opts(L, 2, 1, &r);
  return spawn(L, 3, &r);
}

/* luactor._core.spawn_scoped(scope, f, ...): a child that the scope owns. */
int la_spawn_scoped(lua_State *L) {
  la_spawn_request_t r;
  init_request(L, &r);
  r.o.scope = la_to_id(L, 1);
  luaL_argexpected(L, la_id_kind(r.o.scope) == LA_ID_REF, 1, "ref");
  return spawn(L, 2, &r);
}

/* What is tied to its parent otherwise than by a link is of its host. */
static void check_here(lua_State *L, const la_spawn_request_t *r) {
  if (r->node != NULL && !la_far_is_here(la_proc_of(L)->host, r->node)) {
    luaL_error(L, "option 'node' cannot be used here");
  }
}

/* luactor._core.spawn_root(opts, f, ...): a process without a parent, which an orderly
 * stop of the host asks to end among the first. opts without link and monitor. */
int la_spawn_root(lua_State *L) {
  la_spawn_request_t r;
  init_request(L, &r);
  lua_pushvalue(L, 1);
  lua_insert(L, 1);
  parse_opts(L, 2, 1, &r);
  check_here(L, &r);
  r.is_root = true;
  return spawn(L, 3, &r);
}

/* luactor._core.spawn_tied(tie, mailbox, opts, f, ...): pid and reference of a monitor
 * whose DOWN goes to the mailbox. tie: "sparing", "one_way" or "none". opts: those of
 * spawn_opt, or nil. */
int la_spawn_tied(lua_State *L) {
  static const char *const names[] = {"none", "sparing", "one_way", NULL};
  static const la_tie_t ties[] = {LA_TIE_NONE, LA_TIE_SPARING, LA_TIE_ONE_WAY};
  la_spawn_request_t r;
  init_request(L, &r);
  const la_tie_t tie = ties[luaL_checkoption(L, 1, NULL, names)];
  if (!lua_isnil(L, 3)) {
    lua_pushvalue(L, 3); /* keeps the options' texts alive */
    lua_replace(L, 1);
    parse_opts(L, 3, 1, &r);
    check_here(L, &r);
  }
  r.o.tie = tie;
  r.o.monitor = true;
  r.o.down_to = la_to_id(L, 2);
  luaL_argexpected(L, la_proc_mbox(la_proc_of(L), r.o.down_to) != NULL, 2,
                   "mailbox of this process");
  return spawn(L, 4, &r);
}

/* luactor._core.tie(mailbox, pid, sparing): watch a process that runs, its DOWN to go to
 * the mailbox; with a sparing link too. Returns the reference. */
int la_tie_process(lua_State *L) {
  la_proc_t *p = la_proc_of(L);
  const la_id_t box = la_to_id(L, 1);
  luaL_argexpected(L, la_proc_mbox(p, box) != NULL, 1,
                   "mailbox of this process");
  const la_pid_t pid = la_check_pid(L, 2);
  if (lua_toboolean(L, 3)) {
    la_check_inside(L, 2, pid);
  }
  const la_id_t ref = la_proc_monitor(p, pid, NULL);
  if (ref == LA_NO_ID) {
    return luaL_error(L, "not enough memory");
  }
  la_proc_monitor_into(p, ref, box);
  if (lua_toboolean(L, 3)) {
    if (!la_proc_link(p, pid)) {
      return luaL_error(L, "not enough memory");
    }
    la_proc_spare(p, pid); /* nothing was served meanwhile: the entry is there */
  }
  la_push_id(L, ref);
  return 1;
}

/* ---- preload -------------------------------------------------------------------- */

/* The module at index 'at' has been required; its value is on top. On to the next,
 * or to the images. */
static int preload_k(lua_State *L, int status, lua_KContext at) {
  (void)status;
  const int n = (int)lua_tointeger(L, 1);
  for (int i = (int)at + 1; i <= n; i++) {
    lua_settop(L, n);
    lua_getglobal(L, "require");
    lua_pushvalue(L, i);
    lua_callk(L, 1, 1, i, preload_k);
  }
  for (int i = 2; i <= n; i++) {
    char why[LA_IMAGE_WHY];
    const char *name = lua_tostring(L, i);
    if (!la_template_preload(la_proc_of(L)->host, name, why)) {
      lua_pushboolean(L, 0);
      lua_pushfstring(L, "%s: %s", name, why);
      return 2;
    }
  }
  lua_pushboolean(L, 1);
  return 1;
}

static int l_preload(lua_State *L) {
  const int n = lua_gettop(L);
  luaL_checkstring(L, 1);
  for (int i = 1; i <= n; i++) {
    luaL_argexpected(L, lua_type(L, i) == LUA_TSTRING, i, "string");
  }
  lua_pushinteger(L, n + 1);
  lua_insert(L, 1);
  return preload_k(L, LUA_OK, 1);
}

/* ---- this process ------------------------------------------------------------------ */

static int l_self(lua_State *L) {
  la_push_id(L, la_proc_of(L)->pid);
  return 1;
}

static int l_parent(lua_State *L) {
  const la_proc_t *p = la_proc_of(L);
  const la_pid_t parent = p->parent;
  if (p->far_parent != NULL) {
    la_foreign_push(L, p->far_parent->term.bytes, p->far_parent->term.size);
  } else if (parent == LA_NO_ID) {
    lua_pushnil(L);
  } else {
    la_push_id(L, parent);
  }
  return 1;
}

static int l_label(lua_State *L) {
  la_proc_t *p = la_proc_of(L);
  if (lua_isnone(L, 1)) {
    lua_pushstring(L, p->label);
    return 1;
  }
  size_t len;
  const char *s = luaL_checklstring(L, 1, &len);
  char *copy = la_alloc(len + 1);
  if (copy == NULL) {
    return luaL_error(L, "not enough memory");
  }
  memcpy(copy, s, len + 1);
  la_free(p->label);
  p->label = copy;
  la_proc_weigh(p);
  return 0;
}

static la_reason_t *encode_reason(lua_State *L, int idx) {
  if (lua_type(L, idx) == LUA_TSTRING) {
    size_t len;
    const char *text = lua_tolstring(L, idx, &len);
    if (len < 32 && strlen(text) == len) {
      la_reason_t *r = la_reason_text(text);
      return r != NULL ? r : (luaL_error(L, "not enough memory"), NULL);
    }
  }
  la_encoder_t *e = la_begin_encode(L);
  la_encode_or_raise(L, e, idx, "reason");
  la_term_t t;
  la_encoder_term(e, &t);
  la_reason_t *r = la_reason_new(&t);
  la_encoder_end(e);
  if (r == NULL) {
    luaL_error(L, "not enough memory");
  }
  return r;
}

static int l_exit(lua_State *L) {
  la_proc_t *p = la_proc_of(L);
  if (lua_gettop(L) <= 1) {
    lua_settop(L, 1);
    if (lua_isnil(L, 1)) {
      lua_pushliteral(L, "normal");
      lua_replace(L, 1);
    }
    la_proc_end_itself(p, encode_reason(L, 1));
    return la_exec_halt(L);
  }
  const la_pid_t to = la_check_peer(L, 1);
  la_check_inside(L, 1, to);
  la_reason_t *r = encode_reason(L, 2);
  const bool ok = la_proc_exit_signal(p->host, p, to, r);
  la_reason_unref(r);
  if (!ok) {
    return luaL_error(L, "not enough memory");
  }
  if (to == p->pid) {
    la_serve_now(L, p);
  }
  lua_pushboolean(L, 1);
  return 1;
}

static int l_trap_exit(lua_State *L) {
  la_proc_t *p = la_proc_of(L);
  luaL_checktype(L, 1, LUA_TBOOLEAN);
  /* Signals that came before the change are served as it was. */
  la_serve_now(L, p);
  lua_pushboolean(L, p->trap_exit);
  p->trap_exit = lua_toboolean(L, 1);
  return 1;
}

/* luactor._core.traps_exit() */
int la_traps_exit(lua_State *L) {
  lua_pushboolean(L, la_proc_of(L)->trap_exit);
  return 1;
}

static int l_now(lua_State *L) {
  lua_pushnumber(L, (lua_Number)la_now(&la_proc_of(L)->host->env) / 1e6);
  return 1;
}

static int yield_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  la_raise_fault(L, la_proc_of(L));
  return 0;
}

static int l_yield(lua_State *L) {
  la_check_wait(L, "yield");
  return la_preempt(L, 0, yield_k);
}

static int sleep_k(lua_State *L, int status, lua_KContext ctx) {
  la_proc_t *p = la_proc_of(L);
  (void)status;
  (void)ctx;
  la_raise_fault(L, p);
  la_wait_clear(p);
  return 0;
}

static int l_sleep(lua_State *L) {
  la_proc_t *p = la_proc_of(L);
  luaL_checknumber(L, 1);
  const uint64_t span = la_check_ms(L, 1, false);
  la_check_wait(L, "sleep");
  la_raise_fault(L, p);
  la_wait_start(p, LA_WAIT_SLEEP, la_deadline(p, span));
  return la_suspend(L, 0, sleep_k);
}

static int l_halt(lua_State *L) {
  la_host_halt(la_proc_of(L)->host, (int)luaL_optinteger(L, 1, 0));
  return la_exec_halt(L);
}

/* os.exit([code [, close]]): as stock, but it is the host that ends. */
/* With a true second argument this process ends in order: to-be-closed variables
 * and finalizers run before the host leaves. */
static int os_exit(lua_State *L) {
  la_proc_t *p = la_proc_of(L);
  int status;
  if (lua_isboolean(L, 1)) {
    status = lua_toboolean(L, 1) ? 0 : 1;
  } else {
    status = (int)luaL_optinteger(L, 1, 0);
  }
  if (lua_toboolean(L, 2)) {
    la_proc_end(p, la_reason_text("normal"));
  }
  la_host_halt(p->host, status);
  return la_exec_halt(L);
}

/* ---- links and monitors --------------------------------------------------------------- */

static int l_link(lua_State *L) {
  la_proc_t *p = la_proc_of(L);
  const la_pid_t to = la_check_peer(L, 1);
  la_check_inside(L, 1, to);
  if (!la_proc_link(p, to)) {
    return luaL_error(L, "not enough memory");
  }
  la_serve_now(L, p); /* a process that is gone: the signal is here already */
  lua_pushboolean(L, 1);
  return 1;
}

static int l_unlink(lua_State *L) {
  la_proc_t *p = la_proc_of(L);
  la_proc_unlink(p, la_check_peer(L, 1));
  lua_pushboolean(L, 1);
  return 1;
}

static int l_monitor(lua_State *L) {
  la_proc_t *p = la_proc_of(L);
  const char *name;
  const la_id_t to = la_check_dest(L, 1, &name);
  const la_id_t ref = la_proc_monitor(p, to, name);
  if (ref == LA_NO_ID) {
    return luaL_error(L, "not enough memory");
  }
  la_push_id(L, ref);
  return 1;
}

static la_id_t check_ref(lua_State *L, int arg) {
  const la_id_t ref = la_to_id(L, arg);
  luaL_argexpected(L, la_id_kind(ref) == LA_ID_REF, arg, "ref");
  return ref;
}

static int l_demonitor(lua_State *L) {
  la_proc_t *p = la_proc_of(L);
  const la_id_t ref = check_ref(L, 1);
  bool flush = false;
  if (!lua_isnoneornil(L, 2)) {
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_getfield(L, 2, "flush");
    flush = lua_toboolean(L, -1);
  }
  if (flush) {
    la_serve_now(L, p); /* a DOWN on its way becomes a message to flush */
  }
  lua_pushboolean(L, la_proc_demonitor(p, ref, flush));
  return 1;
}

/* ---- names -------------------------------------------------------------------------------- */

static const char *check_name(lua_State *L, int arg) {
  size_t len;
  const char *name = luaL_checklstring(L, arg, &len);
  luaL_argcheck(L, len > 0 && len <= 255 && strlen(name) == len, arg,
                "name of 1 to 255 bytes without zeros expected");
  return name;
}

static int l_register(lua_State *L) {
  la_proc_t *p = la_proc_of(L);
  const char *name = check_name(L, 1);
  const la_id_t given = la_to_id(L, 2);
  const la_id_t pid = lua_isnoneornil(L, 2)              ? p->pid
                      : la_id_kind(given) == LA_ID_POOL ? given
                                                        : la_check_pid(L, 2);
  switch (la_names_add(&p->host->names, &p->host->pids, name, pid)) {
    case LA_NAME_OK:
      break;
    case LA_NAME_TAKEN:
      return luaL_error(L, "name '%s' is already registered", name);
    case LA_NAME_HAS_ONE:
      return luaL_error(L, "cannot register '%s': the process has a name",
                        name);
    case LA_NAME_NOPROC:
      return luaL_error(L, "cannot register '%s': no such process", name);
    case LA_NAME_NOMEM:
      return luaL_error(L, "not enough memory");
  }
  lua_pushboolean(L, 1);
  return 1;
}

static int l_unregister(lua_State *L) {
  const char *name = check_name(L, 1);
  if (!la_names_remove(&la_proc_of(L)->host->names, name)) {
    return luaL_error(L, "name '%s' is not registered", name);
  }
  lua_pushboolean(L, 1);
  return 1;
}

static int l_whereis(lua_State *L) {
  const la_pid_t pid = la_names_find(&la_proc_of(L)->host->names,
                                     luaL_checkstring(L, 1));
  if (pid == LA_NO_ID) {
    lua_pushnil(L);
  } else {
    la_push_id(L, pid);
  }
  return 1;
}

/* Arguments: the names one after another, their number. */
static int names_table(lua_State *L) {
  const char *name = lua_touserdata(L, 1);
  const lua_Integer n = lua_tointeger(L, 2);
  lua_createtable(L, (int)n, 0);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_pushstring(L, name);
    lua_rawseti(L, -2, i);
    name += strlen(name) + 1;
  }
  return 1;
}

static int l_registered(lua_State *L) {
  size_t n;
  char *names = la_names_list(&la_proc_of(L)->host->names, &n);
  if (names == NULL) {
    return luaL_error(L, "not enough memory");
  }
  lua_pushcfunction(L, names_table);
  lua_pushlightuserdata(L, names);
  lua_pushinteger(L, (lua_Integer)n);
  const int status = lua_pcall(L, 2, 1, 0);
  la_free(names);
  return status == LUA_OK ? 1 : lua_error(L);
}

/* ---- information ------------------------------------------------------------------------------ */

static int l_is_alive(lua_State *L) {
  const la_pid_t pid = la_check_pid(L, 1);
  const la_slot_t *s = la_pidtab_slot(&la_proc_of(L)->host->pids, pid);
  lua_pushboolean(L, s != NULL && la_slot_is(s, pid));
  return 1;
}

static int l_processes(lua_State *L) {
  la_pidtab_t *t = &la_proc_of(L)->host->pids;
  const uint32_t n = la_pidtab_size(t);
  lua_newtable(L);
  lua_Integer count = 0;
  for (uint32_t i = 0; i < n; i++) {
    const la_id_t id = atomic_load(&la_pidtab_at(t, i)->id);
    if (la_id_kind(id) == LA_ID_PID && la_is_inside(L, id)) {
      la_push_id(L, id);
      lua_rawseti(L, -2, ++count);
    }
  }
  return 1;
}

/* In a sandbox nobody learns of processes outside in this way. The list of identities
 * on top loses them. */
static void hide_outside(lua_State *L) {
  const lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
  lua_Integer kept = 0;
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, -1, i);
    const bool inside = la_is_inside(L, la_to_id(L, -1));
    if (inside) {
      lua_pushvalue(L, -1);
      lua_rawseti(L, -3, ++kept);
    }
    if (!inside || kept != i) {
      lua_pushnil(L);
      lua_rawseti(L, -3, i);
    }
    lua_pop(L, 1);
  }
}

/* The flat list of la_info_encode on top becomes a table. */
static void info_table(lua_State *L) {
  lua_createtable(L, 0, 16);
  for (lua_Integer i = 1; lua_rawgeti(L, -2, i) != LUA_TNIL; i += 2) {
    lua_rawgeti(L, -3, i + 1);
    if (strcmp(lua_tostring(L, -2), "trap_exit") == 0) {
      const bool on = lua_tointeger(L, -1) != 0;
      lua_pop(L, 1);
      lua_pushboolean(L, on);
    } else if (lua_istable(L, -1) && la_lazy_is_shut(L) &&
               strcmp(lua_tostring(L, -2), "group") != 0) {
      hide_outside(L);
    } else if (strcmp(lua_tostring(L, -2), "group") == 0) {
      info_table(L); /* of one level */
    } else if (strcmp(lua_tostring(L, -2), "cpu_limit") == 0) {
      const lua_Number thousandths = lua_tonumber(L, -1);
      lua_pop(L, 1);
      lua_pushnumber(L, thousandths / 1000);
    }
    lua_rawset(L, -3);
  }
  lua_pop(L, 1);
  lua_remove(L, -2);
}

/* Table on top; the key at index 2, or none. */
static int info_result(lua_State *L) {
  if (lua_istable(L, -1) && !lua_isnoneornil(L, 2)) {
    lua_pushvalue(L, 2);
    lua_rawget(L, -2);
  }
  return 1;
}

/* A process that does not come to a safe point (it is inside a C function):
 * what can be seen from outside. */
static void info_from_outside(lua_State *L, la_host_t *host, la_pid_t pid) {
  char name[256];
  lua_createtable(L, 0, 4);
  lua_pushliteral(L, "running");
  lua_setfield(L, -2, "status");
  if (la_names_of(&host->names, pid, name, sizeof name)) {
    lua_pushstring(L, name);
    lua_setfield(L, -2, "registered_name");
  }
}

static int info_k(lua_State *L, int status, lua_KContext ctx) {
  la_proc_t *p = la_proc_of(L);
  (void)status;
  (void)ctx;
  const la_note_t *n = (const la_note_t *)p->wait.answer;
  if (p->wait.done && n->reason != NULL) {
    const la_term_t t = n->reason->term;
    if (!la_decode(L, &t, LA_TERM_LOCAL)) {
      return lua_error(L);
    }
    la_wait_clear(p);
    info_table(L);
    return info_result(L);
  }
  const bool done = p->wait.done;
  la_wait_clear(p);
  const la_pid_t pid = la_check_pid(L, 1);
  const la_slot_t *s = la_pidtab_slot(&p->host->pids, pid);
  if (s == NULL || !la_slot_is(s, pid)) {
    lua_pushnil(L);
    return 1;
  }
  if (done) { /* it lives and has sent nothing */
    return luaL_error(L, "not enough memory");
  }
  info_from_outside(L, p->host, pid);
  return info_result(L);
}

static const char *const info_keys[] = {
    "status", "registered_name", "label", "initial_call", "current_line",
    "heap_bytes", "mailbox_length", "reductions", "links", "monitors",
    "monitored_by", "trap_exit", "priority", "parent", "uptime_ms",
    "message_bytes", "mailboxes", "group",
};

#define INFO_WAIT_NS (UINT64_C(500) * 1000000)

static int l_info(lua_State *L) {
  la_proc_t *p = la_proc_of(L);
  lua_settop(L, 2);
  const la_pid_t pid = la_check_pid(L, 1);
  la_check_inside(L, 1, pid);
  if (!lua_isnil(L, 2) &&
      index_of(info_keys, COUNT(info_keys), luaL_checkstring(L, 2)) < 0) {
    return luaL_argerror(
        L, 2, lua_pushfstring(L, "unknown key '%s'", lua_tostring(L, 2)));
  }
  if (pid == p->pid) {
    la_serve_now(L, p);
    la_encoder_t *e = la_begin_encode(L);
    la_encoded_or_raise(L, e, la_info_encode(p, e));
    la_term_t t;
    la_encoder_term(e, &t);
    const bool ok = la_decode(L, &t, LA_TERM_LOCAL);
    la_encoder_end(e);
    if (!ok) {
      return lua_error(L);
    }
    info_table(L);
    return info_result(L);
  }
  la_check_wait(L, "info");
  la_note_t *n = la_note_new(LA_SIG_INFO, pid, p->pid);
  if (n == NULL) {
    return luaL_error(L, "not enough memory");
  }
  n->ref = la_new_ref(p->host);
  la_wait_start(p, LA_WAIT_REPLY, la_deadline(p, INFO_WAIT_NS));
  p->wait.ref = n->ref;
  la_signal(p->host, &n->sig);
  return la_suspend(L, 0, info_k);
}

static const luaL_Reg functions[] = {
    {"spawn", l_spawn},
    {"spawn_link", l_spawn_link},
    {"spawn_monitor", l_spawn_monitor},
    {"spawn_opt", l_spawn_opt},
    {"preload", l_preload},
    {"self", l_self},
    {"parent", l_parent},
    {"label", l_label},
    {"exit", l_exit},
    {"trap_exit", l_trap_exit},
    {"now", l_now},
    {"yield", l_yield},
    {"sleep", l_sleep},
    {"halt", l_halt},
    {"link", l_link},
    {"unlink", l_unlink},
    {"monitor", l_monitor},
    {"demonitor", l_demonitor},
    {"register", l_register},
    {"unregister", l_unregister},
    {"whereis", l_whereis},
    {"registered", l_registered},
    {"is_alive", l_is_alive},
    {"processes", l_processes},
    {"info", l_info},
    {NULL, NULL},
};
static const luaL_Reg os[] = {{"exit", os_exit}, {NULL, NULL}};
const la_std_part_t la_spawn_parts[] = {{LA_TABLE_LUACTOR, functions, false},
                                        {LA_TABLE_OS, os, false},
                                        {0, NULL, false}};

/* See lib_far.h. The caller waits twice at most: for the connection when there is
 * none, and for the answer. Its stack keeps what is needed: function, arguments and,
 * on top, a userdata with the options. */
#include "lib/lib_far.h"

#include <stdio.h>
#include <string.h>

#include "dist/dist.h"
#include "dist/handshake.h"
#include "lib/lib_core.h"
#include "term/foreign.h"

typedef struct far {
  la_far_opts_t opts;
  int f, nargs;
  bool has_connected;
  la_id_t ref; /* of the request under way */
} far_t;

bool la_far_is_here(la_host_t *host, const char *node) {
  const char *own = la_dist_name(host);
  return strcmp(node, own != NULL ? own : "nonode@nohost") == 0;
}

static la_ctl_text_t text_of(const char *s) {
  return (la_ctl_text_t){(const uint8_t *)s, s != NULL ? (uint32_t)strlen(s) : 0};
}

/* What is as usual is not said: Erlang knows few of them. */
static la_ctl_options_t options_of(const far_t *x, const la_host_t *host) {
  const la_spawn_opts_t *o = &x->opts.o;
  la_ctl_options_t k = {.link = o->tie == LA_TIE_LINK,
                        .monitor = o->monitor,
                        .trap_exit = o->trap_exit,
                        .name = text_of(o->name),
                        .label = text_of(o->label),
                        .mailbox_limit = o->mbox_limit};
  if (o->priority != LA_PRIO_NORMAL) {
    k.priority = text_of(la_priority_names[o->priority]);
  }
  if (o->mbox_limit != 0 && o->overflow != LA_OVERFLOW_BLOCK) {
    k.overflow = text_of(la_overflow_names[o->overflow]);
  }
  if (x->opts.gc != LA_GC_INCREMENTAL) {
    k.gc = text_of(la_gc_names[x->opts.gc]);
  }
  if (o->max_heap != host->config.max_heap) {
    k.max_heap = o->max_heap;
  }
  return k;
}

/* ---- what comes of it ------------------------------------------------------- */

/* The monitor was made ready for the answer and will not be needed. */
static void drop_monitor(la_proc_t *p, const far_t *x) {
  la_note_t *mine = la_map_remove(&p->monitors, x->ref);
  if (mine != NULL) {
    la_sig_free(&mine->sig);
  }
}

/* It cannot be reached. As in Erlang, spawn gives a process all the same: one of
 * this host, which has ended with "noconnection". */
static int unreached(lua_State *L, far_t *x) {
  la_proc_t *p = la_proc_of(L);
  la_spawn_opts_t *o = &x->opts.o;
  la_proc_t *gone;
  la_id_t ref = LA_NO_ID;
  if (x->opts.is_quiet) {
    lua_pushnil(L);
    lua_pushliteral(L, "noconnection");
    return 2;
  }
  o->name = NULL;
  o->mbox_limit = 0;
  if (la_proc_make(p->host, p, o, NULL, &gone, &ref) != LA_SPAWN_OK) {
    return luaL_error(L, "noconnection");
  }
  const la_pid_t pid = gone->pid;
  la_proc_end(gone, la_reason_text("noconnection"));
  la_proc_go(gone);
  la_push_id(L, pid);
  if (ref == LA_NO_ID) {
    return 1;
  }
  la_push_id(L, ref);
  return 2;
}

static int failed(lua_State *L, far_t *x, const char *why) {
  if (strcmp(why, "noconnection") == 0) {
    return unreached(L, x);
  }
  lua_pushstring(L, why);
  if (x->opts.is_quiet) {
    lua_pushnil(L);
    lua_insert(L, -2);
    return 2;
  }
  return luaL_error(L, "cannot spawn on %s (%s)", x->opts.node,
                    lua_tostring(L, -1));
}

static int replied_k(lua_State *L, int status, lua_KContext ctx) {
  la_proc_t *p = la_proc_of(L);
  far_t *x = lua_touserdata(L, (int)ctx);
  (void)status;
  const la_note_t *n = (const la_note_t *)p->wait.answer;
  if (n != NULL && n->who != NULL) {
    const la_term_t *t = &n->who->term;
    la_foreign_push(L, t->bytes, t->size); /* an error leaves it to the wait */
    la_wait_clear(p);
    if (!x->opts.o.monitor) {
      return 1;
    }
    la_push_id(L, x->ref);
    return 2;
  }
  char why[256];
  snprintf(why, sizeof why, "%s",
           n == NULL         ? "timeout"
           : n->name != NULL ? n->name
                             : "noconnection");
  la_wait_clear(p);
  drop_monitor(p, x);
  return failed(L, x, why);
}

/* ---- asking ------------------------------------------------------------------ */

static la_msg_t *encode_arguments(lua_State *L, const far_t *x) {
  la_encoder_t *e = la_begin_encode(L);
  if (x->nargs > 0) {
    la_encoded_or_raise(L, e, la_encode_list(e, (uint32_t)x->nargs));
  }
  for (int i = 1; i <= x->nargs; i++) {
    char what[24];
    snprintf(what, sizeof what, "argument %d", i);
    la_encode_or_raise(L, e, x->f + i, what);
  }
  la_encoded_or_raise(L, e, la_encode_list_end(e));
  return la_finish_message(L, e, LA_NO_ID);
}

static bool ready_monitor(la_proc_t *p, const far_t *x) {
  la_note_t *mine = la_note_new(LA_SIG_DEMONITOR, LA_NO_ID, p->pid);
  if (mine == NULL) {
    return false;
  }
  mine->ref = x->ref;
  if (!la_map_put(&p->monitors, x->ref, mine)) {
    la_sig_free(&mine->sig);
    return false;
  }
  la_mbox_mark(&p->mbox, x->ref);
  return true;
}

static int begin(lua_State *L, int ud);

static int connected_k(lua_State *L, int status, lua_KContext ctx) {
  la_proc_t *p = la_proc_of(L);
  far_t *x = lua_touserdata(L, (int)ctx);
  (void)status;
  const la_note_t *n = (const la_note_t *)p->wait.answer;
  const bool timed_out = n == NULL;
  const bool ok = n != NULL && n->reason == NULL;
  la_wait_clear(p);
  if (ok) {
    x->has_connected = true;
    return begin(L, (int)ctx);
  }
  return failed(L, x, timed_out ? "timeout" : "noconnection");
}

static int connect(lua_State *L, far_t *x, int ud) {
  la_proc_t *p = la_proc_of(L);
  if (la_dist_name(p->host) == NULL || x->has_connected) {
    return failed(L, x, "noconnection");
  }
  la_note_t *n = la_note_new(LA_SIG_RESUME, p->pid, LA_NO_ID);
  if (n == NULL) {
    return luaL_error(L, "not enough memory");
  }
  n->ref = la_new_ref(p->host);
  la_wait_start(p, LA_WAIT_TOKEN, x->opts.deadline_ns);
  p->wait.ref = n->ref;
  la_dist_connect(p->host, x->opts.node, n);
  return la_suspend(L, ud, connected_k);
}

/* A part of the message that cannot travel is a part of the arguments. */
static int unfit(lua_State *L, far_t *x, const char *why) {
  static const char message[] = "cannot send message";
  if (strncmp(why, message, sizeof message - 1) != 0) {
    return failed(L, x, why);
  }
  return luaL_error(L, "cannot send arguments%s", why + sizeof message - 1);
}

/* The options are in the userdata at 'ud'. */
static int begin(lua_State *L, int ud) {
  la_proc_t *p = la_proc_of(L);
  far_t *x = lua_touserdata(L, ud);
  uint32_t creation;
  if (!la_dist_creation(p->host, x->opts.node, &creation)) {
    return connect(L, x, ud);
  }
  const char *call = lua_tostring(L, x->f);
  const char *dot = strrchr(call, '.');
  la_msg_t *arguments = encode_arguments(L, x);
  x->ref = la_new_ref(p->host);
  if (x->opts.o.monitor && !ready_monitor(p, x)) {
    la_sig_free(&arguments->sig);
    return luaL_error(L, "not enough memory");
  }
  const la_far_spawn_t s = {
      .node = x->opts.node,
      .from = p->pid,
      .ref = x->ref,
      .options = options_of(x, p->host),
      .module = {(const uint8_t *)call, (uint32_t)(dot - call)},
      .function = text_of(dot + 1),
      .arity = (uint32_t)x->nargs,
      .arguments = arguments};
  la_wait_start(p, LA_WAIT_TOKEN, x->opts.deadline_ns);
  p->wait.ref = x->ref;
  char why[512];
  const la_sent_t sent = la_dist_spawn(p->host, &s, why, sizeof why);
  la_sig_free(&arguments->sig);
  if (sent == LA_SENT) {
    return la_suspend(L, ud, replied_k);
  }
  la_wait_clear(p);
  drop_monitor(p, x);
  return sent == LA_SEND_NOPROC ? connect(L, x, ud) : unfit(L, x, why);
}

int la_far_spawn(lua_State *L, int f, const la_far_opts_t *opts) {
  size_t len;
  if (lua_type(L, f) != LUA_TSTRING) {
    return luaL_typeerror(L, f, "'module.function'");
  }
  const char *call = lua_tolstring(L, f, &len);
  const char *dot = strrchr(call, '.');
  luaL_argcheck(L, dot != NULL && dot != call && dot[1] != '\0' &&
                       strlen(call) == len && len <= 2 * LA_CTL_TEXT_MAX,
                f, "'module.function' expected");
  luaL_argcheck(L, la_node_name_ok(opts->node, strlen(opts->node)), 1,
                "a node of the form name@host expected");
  const int nargs = lua_gettop(L) - f;
  luaL_argcheck(L, nargs <= 255, f, "more than 255 arguments");
  la_check_wait(L, "spawn_opt");
  far_t *x = lua_newuserdatauv(L, sizeof *x, 0);
  *x = (far_t){.opts = *opts, .f = f, .nargs = nargs};
  return begin(L, lua_gettop(L));
}

int la_far_quiet(lua_State *L) {
  la_far_opts_t x = {.gc = LA_GC_INCREMENTAL, .is_quiet = true};
  la_spawn_opts_init(&x.o, la_proc_of(L)->host);
  x.node = luaL_checkstring(L, 1);
  x.o.monitor = true;
  x.deadline_ns = la_deadline(la_proc_of(L), la_check_ms(L, 2, true));
  return la_far_spawn(L, 3, &x);
}

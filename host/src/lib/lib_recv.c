/* Receiving.
 *
 * One state machine serves every form: look for a message (in C, on the bytes);
 * none: suspend and look again when woken; one: for a clause with a second stage decode its
 * captures and ask the LPeg patterns and the guard function, and go on looking when they say no;
 * then take it, push what the clause captures, and call its handler.
 *
 * The state lives in p->wait, so that the scheduler can look at new messages
 * without running Lua, and on the Lua stack of the call, which holds nothing but
 * perhaps the matcher's userdata: 'ud' says where that is. UD_NONE is for what has
 * neither handlers nor a second stage: any message, or a pattern written inline, whose
 * matcher stands in p->pattern, since a process waits in one place at a time.
 * A continuation's context packs what it needs.
 *
 * A message that was taken is held (la_hold) while its captures are decoded: an
 * error there must not leak it.
 *
 * The usual receive, with plain values as captures, makes no garbage and looks at a
 * message once: what the scheduler found when the message came, captures
 * included, is what the resumed receive takes. */
#include <math.h>
#include <string.h>

#include "lib/lib_core.h"
#include "term/layout.h"
#include "lib/lib_start.h"
#include "match/match.h"
#include "proc/crew.h"

enum { UD_NONE, UD_STACK, UD_UPVALUE }; /* UD_STACK: at 1 */

/* Where the matcher's userdata is (not UD_NONE). */
static inline int index_of(int ud) {
  return ud == UD_UPVALUE ? lua_upvalueindex(1) : 1;
}

/* Values on the stack before any result. */
static inline int base_of(int ud) {
  return ud == UD_STACK ? 1 : 0;
}

enum { MOST_SKIPPED = 31 }; /* see look_in_boxes */

static int look(lua_State *L, la_proc_t *p, int ud);

/* The clause in the context: bits 0-15 'ud', then the clause. */
static lua_KContext context(int ud, int clause) {
  return (lua_KContext)ud | (lua_KContext)clause << 16;
}

static int context_ud(lua_KContext ctx) {
  return (int)(ctx & 0xFFFF);
}

static int context_clause(lua_KContext ctx) {
  return (int)(ctx >> 16);
}

static int returned_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  return lua_gettop(L) - (int)ctx;
}

/* The handler stands above the base, and the n values above it. */
static int call_handler(lua_State *L, int ud, int n) {
  const int base = base_of(ud);
  lua_callk(L, n, LUA_MULTRET, base, returned_k);
  return lua_gettop(L) - base;
}

/* Push the handler of clause c (-1: after), if there is one. */
static bool push_handler(lua_State *L, int ud, const la_matcher_t *m, int c) {
  return ud != UD_NONE && la_matcher_push_handler(L, index_of(ud), m, c);
}

/* Call the handler of clause c with the n values on top, or return them when there
 * is none. */
static int handle(lua_State *L, int ud, const la_matcher_t *m, int c, int n) {
  if (!push_handler(L, ud, m, c)) {
    return n;
  }
  lua_insert(L, -n - 1);
  return call_handler(L, ud, n);
}

/* The found message leaves its mailbox and is the caller's. */
static inline la_msg_t *take(la_proc_t *p) {
  la_msg_t *msg = p->wait.found.msg;
  if (p->wait.found.box != NULL) {
    la_proc_took(p, p->wait.found.box, msg);
  } else {
    la_member_take(p, msg);
  }
  p->wait.found.msg = NULL;
  return msg;
}

/* A taken message is done with. */
static inline void drop_taken(la_proc_t *p, la_msg_t *msg) {
  if (msg->sig.flags & LA_SIG_OF_POOL) {
    la_member_keep(p, msg);
  } else {
    la_msg_free(msg);
  }
}

static inline void view_of(const la_msg_t *m, la_msgview_t *view) {
  view->tag = m->sig.tag;
  la_msg_term(m, &view->term);
}

/* The found message is taken; its values go to the handler. */
static int take_and_handle(lua_State *L, la_proc_t *p, int ud,
                           const la_caps_t *caps) {
  const la_matcher_t *m = p->wait.matcher;
  const int c = p->wait.found.clause;
  int n = 1;
  la_msg_t *msg = take(p);
  la_wait_clear(p);
  la_msgview_t view;
  view_of(msg, &view);
  const bool handled = push_handler(L, ud, m, c);
  la_hold(p, &msg->sig);
  if (m != NULL) {
    n = la_matcher_push(L, index_of(ud), m, c, &view, caps);
  } else if (!la_decode(L, &view.term, LA_TERM_LOCAL)) {
    return lua_error(L);
  }
  la_unhold(p, &msg->sig);
  drop_taken(p, msg);
  return handled ? call_handler(L, ud, n) : n;
}

/* Take the found message, whose values (n of them) are on the stack already. */
static int take_checked(lua_State *L, la_proc_t *p, int ud, int c, int n) {
  const la_matcher_t *m = p->wait.matcher;
  drop_taken(p, take(p));
  la_wait_clear(p);
  return handle(L, ud, m, c, n);
}

/* The second stage said no. */
enum { REJECTED = -1 };

static int reject(lua_State *L, la_proc_t *p, int top) {
  lua_settop(L, top);
  p->wait.found.clause++; /* the next clause may want the message */
  return REJECTED;
}

/* A guard function has returned (or raised: false). Stack: ..., n values, n, the
 * guard's result. */
static int after_guard(lua_State *L, int status, lua_KContext ctx) {
  la_proc_t *p = la_proc_of(L);
  p->in_guard = false;
  const bool ran = status == LUA_OK || status == LUA_YIELD;
  const bool yes = ran && lua_toboolean(L, -1);
  const int n = (int)lua_tointeger(L, -2);
  lua_pop(L, 2);
  if (!yes) {
    return reject(L, p, lua_gettop(L) - n);
  }
  return take_checked(L, p, context_ud(ctx), context_clause(ctx), n);
}

static int guard_k(lua_State *L, int status, lua_KContext ctx) {
  const int results = after_guard(L, status, ctx);
  return results != REJECTED ? results
                             : look(L, la_proc_of(L), context_ud(ctx));
}

/* Second stage of the found message: LPeg patterns, then the guard. The results
 * of the receive, or REJECTED. */
static int second_stage(lua_State *L, la_proc_t *p, int ud,
                        const la_caps_t *caps) {
  const la_matcher_t *m = p->wait.matcher;
  const int c = p->wait.found.clause;
  const int top = lua_gettop(L);
  la_msgview_t view;
  view_of(p->wait.found.msg, &view);
  luaL_checkstack(L, 2 * LA_MATCH_MAX_CAPS + 16, "not enough memory");
  const int n = la_matcher_push(L, index_of(ud), m, c, &view, caps);
  if (n < 0) {
    return reject(L, p, top);
  }
  lua_pushinteger(L, n);
  if (!la_matcher_push_guard(L, index_of(ud), m, c)) {
    lua_pop(L, 1);
    return take_checked(L, p, ud, c, n);
  }
  for (int i = 0; i < n; i++) {
    lua_pushvalue(L, top + 1 + i);
  }
  p->in_guard = true;
  p->wait.kind = LA_WAIT_NONE; /* it runs; the rest of the wait stays */
  const int status = lua_pcallk(L, n, 1, 0, context(ud, c), guard_k);
  return after_guard(L, status, context(ud, c));
}

static int time_is_up(lua_State *L, la_proc_t *p, int ud) {
  const la_matcher_t *m = p->wait.matcher;
  la_wait_clear(p);
  if (push_handler(L, ud, m, -1)) {
    return call_handler(L, ud, 0);
  }
  lua_pushnil(L);
  lua_pushliteral(L, "timeout");
  return 2;
}

static int look_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  return look(L, la_proc_of(L), context_ud(ctx));
}

/* Nothing (yet): suspend, or the time is up. */
static int wait_on(lua_State *L, la_proc_t *p, int ud) {
  if (p->wait.timed_out || (p->wait.deadline_ns != UINT64_MAX &&
                            p->wait.deadline_ns <= la_now(&p->host->env))) {
    return time_is_up(L, p, ud);
  }
  la_check_wait(L, "receive");
  if (p->wait.deadline_ns != UINT64_MAX) {
    la_wait_rearm(p);
  }
  return la_suspend(L, context(ud, 0), look_k);
}

/* The captures, if the scheduler has found the message before it resumed us and
 * nothing has come since; they are still in the thread's place. */
static const la_caps_t *was_found(la_proc_t *p) {
  if (p->wait.found.msg == NULL) {
    return NULL;
  }
  uint64_t stamp;
  const la_caps_t *caps = la_host_caps(&stamp);
  if (p->wait.found.stamp != stamp || la_slot_has_signals(p->slot) ||
      p->pending != NULL || p->scope_fault != NULL || p->ending) {
    return NULL;
  }
  p->wait.found.stamp = 0;
  return caps;
}

static inline bool needs_second_stage(const la_proc_t *p, int ud) {
  return ud != UD_NONE &&
         la_matcher_needs_lua(p->wait.matcher, p->wait.found.clause);
}

/* Take what has come. */
static void serve(lua_State *L, la_proc_t *p) {
  p->may_skip = MOST_SKIPPED;
  la_serve_now(L, p);
  la_raise_fault(L, p);
}

/* Look in the mailboxes, after the inbox, where there may be a message of priority.
 * While there are messages to be taken, not every receive looks at the inbox, since each
 * look takes its cache line away from the processors of the senders; what they send
 * meanwhile comes a little later, which nobody can tell. */
static bool look_in_boxes(lua_State *L, la_proc_t *p, la_caps_t *caps) {
  if (p->may_skip != 0 && p->mbox.count != 0 && p->pending == NULL &&
      !p->ending && p->member == NULL) {
    p->may_skip--;
    la_raise_fault(L, p);
    if (la_wait_look(p, caps)) {
      return true;
    }
  }
  serve(L, p);
  return la_wait_look(p, caps);
}

static int look(lua_State *L, la_proc_t *p, int ud) {
  const la_caps_t *found = was_found(p);
  if (found != NULL && !needs_second_stage(p, ud)) {
    return take_and_handle(L, p, ud, found);
  }
  la_caps_t caps;
  for (;;) {
    p->wait.kind = LA_WAIT_RECEIVE;
    if (!look_in_boxes(L, p, &caps)) {
      return wait_on(L, p, ud);
    }
    if (!needs_second_stage(p, ud)) {
      return take_and_handle(L, p, ud, &caps);
    }
    const int results = second_stage(L, p, ud, &caps);
    if (results != REJECTED) {
      return results;
    }
  }
}

/* All mailboxes of the matcher are looked at from the start. Are they all of
 * tasks? */
static bool rewind_boxes(lua_State *L, la_proc_t *p, const la_matcher_t *m) {
  const la_id_t fresh = la_matcher_fresh_ref(m);
  const uint32_t n = la_matcher_mailboxes(m);
  bool spares = n > 0;
  for (uint32_t i = 0; i < n; i++) {
    la_mbox_t *b = la_proc_mbox(p, la_matcher_mailbox(m, i));
    if (b == NULL) {
      luaL_error(L, "mailbox is closed or not of this process");
    }
    la_mbox_rewind(b, fresh);
    spares = spares && b->of_tasks;
  }
  return spares;
}

/* Is there nothing to serve and no message to look at? So it mostly is. */
static inline bool has_nothing(const la_proc_t *p) {
  return p->member == NULL && p->boxes == NULL &&
         la_mbox_peek(&p->mbox) == NULL &&
         !la_slot_has_signals(p->slot) && p->pending == NULL && !p->ending &&
         p->scope_fault == NULL && p->ndoomed == 0;
}

/* Start a wait with the matcher, whose userdata is where 'ud' says (NULL: any
 * message). */
static int receive(lua_State *L, int ud, const la_matcher_t *m,
                   uint64_t span_ns) {
  la_proc_t *p = la_proc_of(L);
  if (p->in_guard) {
    la_check_wait(L, "receive");
  }
  const bool spares = m != NULL && rewind_boxes(L, p, m);
  if (m == NULL) {
    la_mbox_rewind(&p->mbox, LA_NO_ID);
  }
  p->wait.matcher = m;
  p->wait.found = (la_found_t){0};
  la_wait_start(p, LA_WAIT_RECEIVE, UINT64_MAX);
  p->wait.spares = spares;
  p->wait.deadline_ns = la_deadline(p, span_ns);
  if (p->member != NULL) {
    la_member_rewind(p);
  }
  la_charge(L, 20);
  return has_nothing(p) ? wait_on(L, p, ud) : look(L, p, ud);
}

static uint64_t after_of(const la_matcher_t *m) {
  const double ms = la_matcher_after(m);
  return ms < 0 ? UINT64_MAX : la_span_of_ms(ms);
}

/* Patterns up to this size are kept in p->pattern. */
#define INLINE_MAX 4096

/* The matcher of the pattern at 1, in p->pattern; NULL when it needs a
 * userdata, or for clauses. */
static const la_matcher_t *write_inline(lua_State *L, la_proc_t *p) {
  const bool direct = p->host->direct;
  const size_t need =
      la_matcher_write(L, 1, p->pattern, p->pattern_size, direct);
  if (need == 0 || need > INLINE_MAX) {
    return NULL;
  }
  if (need > p->pattern_size) {
    const size_t size = (need + 63) / 64 * 64;
    void *pattern = la_block_new(size);
    if (pattern == NULL) {
      luaL_error(L, "not enough memory");
    }
    if (p->pattern != NULL) {
      la_block_free(p->pattern, p->pattern_size);
    }
    p->heap.others += size - p->pattern_size;
    p->pattern = pattern;
    p->pattern_size = size;
    la_matcher_write(L, 1, pattern, size, direct);
  }
  return p->pattern;
}

static int l_receive(lua_State *L) {
  int n = lua_gettop(L);
  uint64_t span = UINT64_MAX;
  if (n >= 2 && (lua_isnil(L, n) || lua_type(L, n) == LUA_TNUMBER)) {
    span = la_check_ms(L, n, true);
    lua_settop(L, --n);
  }
  if (n == 0 || (n == 1 && lua_isnil(L, 1))) {
    lua_settop(L, 0);
    return receive(L, UD_NONE, NULL, span);
  }
  const la_matcher_t *m = n == 1 ? write_inline(L, la_proc_of(L)) : NULL;
  if (m != NULL) {
    lua_settop(L, 0);
    return receive(L, UD_NONE, m, span);
  }
  m = la_matcher_make(L, 1, n);
  lua_replace(L, 1);
  lua_settop(L, 1);
  return receive(L, UD_STACK, m, span != UINT64_MAX ? span : after_of(m));
}

/* A receiver is a function whose upvalue is the matcher. */
static int receiver(lua_State *L) {
  const la_matcher_t *m = lua_touserdata(L, lua_upvalueindex(1));
  uint64_t span = UINT64_MAX;
  const bool alone = la_proc_of(L)->host->direct ? la_ltop(L) == 0
                                                 : lua_gettop(L) == 0;
  if (!alone) {
    span = la_check_ms(L, 1, true);
    lua_settop(L, 0);
  }
  return receive(L, UD_UPVALUE, m, span != UINT64_MAX ? span : after_of(m));
}

static int l_receiver(lua_State *L) {
  const int n = lua_gettop(L);
  luaL_checkany(L, 1);
  la_receiver_make(L, 1, n);
  lua_pushcclosure(L, receiver, 1);
  return 1;
}

/* The __call of clauses: each is a receiver of one clause. Its upvalue is their
 * metatable. */
static int clause_call(lua_State *L) {
  if (!lua_getmetatable(L, 1) ||
      !lua_rawequal(L, -1, lua_upvalueindex(1))) {
    luaL_typeerror(L, 1, "clause");
  }
  lua_pop(L, 1);
  const la_matcher_t *m = lua_touserdata(L, 1);
  const uint64_t span = la_check_ms(L, 2, true);
  lua_settop(L, 1);
  return receive(L, UD_STACK, m, span != UINT64_MAX ? span : after_of(m));
}

/* Drop all matching messages of the process's own mailbox. */
static int l_flush(lua_State *L) {
  la_proc_t *p = la_proc_of(L);
  luaL_checkany(L, 1);
  lua_settop(L, 1);
  if (p->in_guard) {
    la_check_wait(L, "flush");
  }
  const la_matcher_t *m = la_matcher_make(L, 1, 1);
  lua_Integer dropped = 0;
  la_serve_now(L, p);
  la_msg_t *next;
  for (la_msg_t *msg = la_mbox_first(&p->mbox); msg != NULL; msg = next) {
    next = la_mbox_after(&p->mbox, msg);
    la_caps_t caps;
    la_msgview_t view;
    view_of(msg, &view);
    const int c = la_matcher_try(m, &view, LA_NO_ID, 0, &caps);
    if (c < 0) {
      continue;
    }
    if (la_matcher_needs_lua(m, c)) {
      const int n = la_matcher_push(L, 2, m, c, &view, &caps);
      lua_settop(L, 2);
      if (n < 0) {
        continue;
      }
    }
    la_mbox_remove(&p->mbox, msg);
    p->heap.others -= la_msg_bytes(msg);
    la_signal_refuse(p->host, &msg->sig);
    la_mbox_admit(p, &p->mbox);
    dropped++;
  }
  lua_pushinteger(L, dropped);
  return 1;
}

/* ---- further mailboxes --------------------------------------------------------------- */

static la_id_t check_mbox(lua_State *L, int arg) {
  const la_id_t id = la_to_id(L, arg);
  luaL_argexpected(L, la_id_kind(id) == LA_ID_MBOX, arg, "mailbox");
  return id;
}

static int l_mailbox(lua_State *L) {
  la_proc_t *p = la_proc_of(L);
  uint32_t limit;
  la_overflow_t overflow;
  la_check_mailbox_opts(L, 1, &limit, &overflow);
  const la_mbox_t *b = la_proc_open_mbox(p, limit, overflow);
  if (b == NULL) {
    return luaL_error(L, "not enough memory");
  }
  la_push_id(L, b->id);
  return 1;
}

/* luactor._core.task_mailbox(): see la_tie_t. */
int la_task_mailbox(lua_State *L) {
  la_mbox_t *b = la_proc_open_mbox(la_proc_of(L), 0, LA_OVERFLOW_BLOCK);
  if (b == NULL) {
    return luaL_error(L, "not enough memory");
  }
  b->of_tasks = true;
  la_push_id(L, b->id);
  return 1;
}

/* The handler of mb:receive: the captures are the results. */
static int identity(lua_State *L) {
  return lua_gettop(L);
}

/* mb:receive([p [, ms]]) */
static int mbox_receive(lua_State *L) {
  const la_id_t box = check_mbox(L, 1);
  const uint64_t span = la_check_ms(L, 3, true);
  if (lua_isnoneornil(L, 2)) {
    lua_settop(L, 1);
    la_match_push_any(L);
  } else {
    lua_settop(L, 2);
  }
  lua_pushcfunction(L, identity);
  la_match_push_clause(L, box, 2, 3);
  lua_replace(L, 2);
  lua_settop(L, 2);
  const la_matcher_t *m = la_matcher_make(L, 2, 2);
  lua_replace(L, 1);
  lua_settop(L, 1);
  return receive(L, UD_STACK, m, span);
}

static int mbox_on(lua_State *L) {
  const la_id_t box = check_mbox(L, 1);
  la_match_push_clause(L, box, 2, lua_gettop(L));
  return 1;
}

static int mbox_close(lua_State *L) {
  lua_pushboolean(L, la_proc_close_mbox(la_proc_of(L), check_mbox(L, 1)));
  return 1;
}

/* pid:send(m), mb:receive(...), pool:info(): the first puts the methods in place. */
static int first_index(lua_State *L) {
  static const luaL_Reg methods[] = {{"send", la_lua_send},
                                     {"receive", mbox_receive},
                                     {"on", mbox_on},
                                     {"close", mbox_close},
                                     {"resize", la_pool_resize},
                                     {"info", la_pool_info},
                                     {"stop", la_pool_stop},
                                     {NULL, NULL}};
  luaL_checktype(L, 1, LUA_TLIGHTUSERDATA);
  lua_getmetatable(L, 1);
  luaL_newlib(L, methods);
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, "__index");
  lua_pushvalue(L, 2);
  lua_rawget(L, -2);
  return 1;
}

void la_methods_open(lua_State *L) {
  la_push_id(L, la_id_counted(LA_ID_PID, 1));
  lua_getmetatable(L, -1);
  lua_pushcfunction(L, first_index);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 2);
}

/* A clause is a receiver of one clause. */
static int open_clause_type(lua_State *L) {
  la_match_open_type(L);
  lua_pushvalue(L, -1);
  lua_pushcclosure(L, clause_call, 1);
  lua_setfield(L, -2, "__call");
  return 1;
}

static int make_clause_type(lua_State *L) {
  la_lazy_make(L, LA_TABLE_REGISTRY, open_clause_type);
  return 1;
}

static int open_receiver_type(lua_State *L) {
  la_match_open_type(L);
  la_object_wrap(L, receiver);
  return 1;
}

static int make_receiver_type(lua_State *L) {
  la_lazy_make(L, LA_TABLE_REGISTRY, open_receiver_type);
  return 1;
}

static const luaL_Reg functions[] = {
    {"receive", l_receive},
    {"receiver", l_receiver},
    {"flush", l_flush},
    {"mailbox", l_mailbox},
    {NULL, NULL},
};
static const luaL_Reg types[] = {{LA_CLAUSE_MT, make_clause_type},
                                 {LA_RECEIVER_MT, make_receiver_type},
                                 {NULL, NULL}};
const la_std_part_t la_receive_parts[] = {{LA_TABLE_LUACTOR, functions, false},
                                          {LA_TABLE_REGISTRY, types, true},
                                          {0, NULL, false}};

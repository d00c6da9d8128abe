/* Calls: request, reply, and what can go wrong between.
 *
 * A call is one message that carries a record (la_call_t): the caller, the alias its
 * answer goes to, the time it has, and the chain of callers that wait for it. The
 * server's process keeps the record from the moment its receive takes the request until the
 * answer; if the process ends first, whatever the cause, the record goes back as
 * CALL_END with the reason. So no monitor is set up and taken down for a call,
 * and no call hangs because its server was killed.
 *
 * Late replies are unseen: the alias of a call is good only while the caller waits for it. */
#include <math.h>
#include <string.h>

#include "lib/lib_core.h"
#include "term/foreign.h"
#include "term/tag.h"

#define CALL_ERROR_MT "luactor.call_error"
#define DEFAULT_MS 5000
#define MAX_RING 64
#define ANSWER_HEAD 14 /* bytes of { tag, value } before the value */

typedef struct la_ring {
  uint32_t n;
  la_pid_t pid[MAX_RING];
} la_ring_t;

/* ---- errors ------------------------------------------------------------------------- */

/* The text of a destination, left on the stack: { name, node } as "name on node". */
static const char *dest_text(lua_State *L, int idx) {
  if (!lua_istable(L, idx)) {
    return luaL_tolstring(L, idx, NULL);
  }
  lua_rawgeti(L, idx, 1);
  lua_rawgeti(L, idx, 2);
  const char *name = luaL_tolstring(L, -2, NULL);
  const char *node = luaL_tolstring(L, -2, NULL);
  return lua_pushfstring(L, "%s on %s", name, node);
}

static int error_tostring(lua_State *L) {
  lua_settop(L, 1);
  lua_getfield(L, 1, "dest");
  lua_getfield(L, 1, "reason");
  const char *dest = dest_text(L, 2);
  if (lua_istable(L, 3)) {
    /* { "error", e, traceback } and the like: the first two elements. */
    lua_rawgeti(L, 3, 1);
    lua_rawgeti(L, 3, 2);
    const char *tag = luaL_tolstring(L, -2, NULL);
    if (lua_isnil(L, -2)) {
      lua_pushfstring(L, "call to %s failed: %s", dest, tag);
    } else {
      lua_pushfstring(L, "call to %s failed: %s: %s", dest, tag,
                      luaL_tolstring(L, -2, NULL));
    }
    return 1;
  }
  lua_pushfstring(L, "call to %s failed: %s", dest,
                  luaL_tolstring(L, 3, NULL));
  return 1;
}

static void push_ring(lua_State *L, const la_ring_t *ring) {
  lua_createtable(L, (int)ring->n, 0);
  for (uint32_t i = 0; i < ring->n; i++) {
    la_push_id(L, ring->pid[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
}

/* The request of a method call of a server object, { name, ... }, is written from
 * the stack without making the table: 'method' stands for it at 2, the number of its
 * elements is at 3, and they begin at METHOD_AT. */
static const char method;
enum { METHOD_AT = 6 };

static bool is_method(lua_State *L) {
  return lua_touserdata(L, 2) == &method;
}

/* Push the request. A nil in it needs the number of elements. */
static void push_request_of(lua_State *L) {
  if (!is_method(L)) {
    lua_pushvalue(L, 2);
    return;
  }
  const int n = (int)lua_tointeger(L, 3);
  bool has_nil = false;
  lua_createtable(L, n, 0);
  for (int i = 1; i <= n; i++) {
    has_nil = has_nil || lua_isnil(L, METHOD_AT + i - 1);
    lua_pushvalue(L, METHOD_AT + i - 1);
    lua_rawseti(L, -2, i);
  }
  if (has_nil) {
    lua_pushinteger(L, n);
    lua_setfield(L, -2, "$n");
  }
}

/* The call failed; the reason is on top of the stack. dest is at 1, the request at 2,
 * whether to raise at 4. */
static int failed(lua_State *L, const la_ring_t *ring) {
  const int reason = lua_gettop(L);
  if (!lua_toboolean(L, 4)) {
    lua_pushboolean(L, 0);
    lua_pushvalue(L, reason);
    if (ring == NULL) {
      return 2;
    }
    push_ring(L, ring);
    return 3;
  }
  lua_createtable(L, 0, 4);
  lua_pushvalue(L, reason);
  lua_setfield(L, -2, "reason");
  lua_pushvalue(L, 1);
  lua_setfield(L, -2, "dest");
  push_request_of(L);
  lua_setfield(L, -2, "request");
  if (ring != NULL) {
    push_ring(L, ring);
    lua_setfield(L, -2, "ring");
  }
  luaL_setmetatable(L, CALL_ERROR_MT);
  return lua_error(L);
}

static int failed_text(lua_State *L, const char *why, const la_ring_t *ring) {
  lua_pushstring(L, why);
  return failed(L, ring);
}

/* ---- deadlocks ------------------------------------------------------------------------- */

/* The last call taken and not yet answered whose time is not over. */
static la_call_t *current_call(la_proc_t *p, uint64_t now) {
  la_call_t *c = p->calls_tail;
  while (c != NULL && c->deadline_ns <= now) {
    c = c->prev;
  }
  return c;
}

static void ring_add(la_ring_t *ring, la_pid_t pid) {
  if (ring->n < MAX_RING) {
    ring->pid[ring->n++] = pid;
  }
}

/* Does the chain of callers come back to 'to'? */
static bool is_in_chain(const la_proc_t *p, const la_call_t *cur, la_pid_t to,
                        la_ring_t *ring) {
  ring->n = 0;
  if (to == p->pid) {
    ring_add(ring, to);
    return true;
  }
  for (uint32_t i = 0; cur != NULL && i < cur->nchain; i++) {
    if (cur->chain[i] == to) {
      for (; i < cur->nchain; i++) {
        ring_add(ring, cur->chain[i]);
      }
      ring_add(ring, p->pid);
      return true;
    }
  }
  return false;
}

/* Do processes that wait in calls of their own lead back here? Each says whom
 * it waits for before it looks, so that of two that call each other at once
 * at least one sees it. */
static bool waits_lead_back(la_proc_t *p, la_pid_t to, la_ring_t *ring) {
  ring->n = 0;
  ring_add(ring, p->pid);
  la_pid_t at = to;
  while (ring->n < MAX_RING) {
    const la_slot_t *s = la_pidtab_slot(&p->host->pids, at);
    if (s == NULL || !la_slot_is(s, at)) {
      return false;
    }
    ring_add(ring, at);
    at = atomic_load(&s->waits);
    if (at == p->pid) {
      return true;
    }
    if (la_id_kind(at) != LA_ID_PID) {
      return false;
    }
  }
  return false;
}

/* ---- call ---------------------------------------------------------------------------------- */

/* { "$gen_call", { self, tag }, request } */
static la_msg_t *encode_request(lua_State *L, la_proc_t *p, la_id_t to,
                                la_id_t tag) {
  uint8_t head[] = {
      LA_TAG_LIST, 0, 0, 0, 3,
      LA_TAG_BINARY, 0, 0, 0, 9, '$', 'g', 'e', 'n', '_', 'c', 'a', 'l', 'l',
      LA_TAG_LIST, 0, 0, 0, 2,
      LA_TAG_ID, 0, 0, 0, 0, 0, 0, 0, 0,
      LA_TAG_ID, 0, 0, 0, 0, 0, 0, 0, 0,
      LA_TAG_EMPTY};
  la_put64(head + 25, p->pid);
  la_put64(head + 34, tag);
  la_msg_t *m =
      is_method(L)
          ? la_small_list(L, to, head, sizeof head, METHOD_AT,
                          METHOD_AT + (int)lua_tointeger(L, 3) - 1)
          : la_small_message(L, to, head, sizeof head, 2);
  if (m != NULL) {
    return m;
  }
  if (is_method(L)) {
    push_request_of(L);
    lua_replace(L, 2);
  }
  la_encoder_t *e = la_begin_encode(L);
  la_encoded_or_raise(L, e,
                      la_encode_list(e, 3) &&
                          la_encode_str(e, "$gen_call", 9) &&
                          la_encode_list(e, 2) && la_encode_id(e, p->pid) &&
                          la_encode_id(e, tag) && la_encode_list_end(e));
  la_encode_or_raise(L, e, 2, "request");
  la_encoded_or_raise(L, e, la_encode_list_end(e));
  return la_finish_message(L, e, to);
}

static la_call_t *make_record(la_proc_t *p, const la_call_t *cur, la_id_t tag,
                              uint64_t deadline_ns) {
  const uint32_t before = cur != NULL ? cur->nchain : 0;
  la_call_t *c = la_call_new(before + 1);
  if (c != NULL) {
    if (before > 0) {
      memcpy(c->chain, cur->chain, before * sizeof c->chain[0]);
    }
    c->chain[before] = p->pid;
    c->note.ref = tag;
    c->note.peer = p->pid;
    c->deadline_ns = deadline_ns;
  }
  return c;
}

/* The server has (or may have) a record that nobody will answer now. */
static void tell_done(la_proc_t *p, la_id_t dest, la_id_t tag) {
  la_note_t *n =
      la_note_new(LA_SIG_CALL_DONE,
                  la_id_kind(dest) == LA_ID_POOL
                      ? dest
                      : la_server_of(p->host, dest),
                  p->pid);
  if (n != NULL) {
    n->ref = tag;
    la_signal(p->host, &n->sig);
  }
}

/* Release: who hears of what p does next finds that it waits no longer. */
static inline void note_awake(la_slot_t *s) {
  atomic_store_explicit(&s->waits, LA_NO_ID, memory_order_release);
}

static void end_wait(la_proc_t *p) {
  note_awake(p->slot);
  la_wait_clear(p);
}

/* The answer is { tag, value }: push the value. What reply makes is read in
 * place; by hand the answer may have been made in another way. */
static bool push_answer(lua_State *L, const la_msg_t *m, la_id_t tag) {
  la_term_t t;
  la_msg_term(m, &t);
  if (t.size > ANSWER_HEAD && t.bytes[0] == LA_TAG_LIST &&
      la_get32(t.bytes + 1) == 2 && t.bytes[5] == LA_TAG_ID &&
      la_get64(t.bytes + 6) == tag) {
    return la_decode_at(L, &t, ANSWER_HEAD);
  }
  if (!la_decode(L, &t, LA_TERM_LOCAL)) {
    return false;
  }
  if (!lua_istable(L, -1) || (lua_rawgeti(L, -1, 1), la_to_id(L, -1)) != tag) {
    lua_pushliteral(L, "badreply");
    return false;
  }
  lua_rawgeti(L, -2, 2);
  return true;
}

static int answered(lua_State *L, la_proc_t *p, la_id_t dest) {
  la_sig_t *answer = p->wait.answer;
  const la_id_t tag = p->wait.ref;
  const la_pid_t from = answer->from;
  note_awake(p->slot); /* decoding may raise */
  if (answer->kind == LA_SIG_CALL_END) {
    la_reason_t *r = ((la_note_t *)answer)->reason;
    const bool ok = la_decode(L, &r->term, LA_TERM_LOCAL);
    end_wait(p);
    return ok ? failed(L, NULL) : lua_error(L);
  }
  if (la_id_kind(dest) == LA_ID_POOL
          ? !(answer->flags & LA_SIG_BY_TAKER)
          : from != la_server_of(p->host, dest)) {
    tell_done(p, dest, tag); /* somebody else has answered */
  }
  const bool ok = push_answer(L, (const la_msg_t *)answer, tag);
  end_wait(p);
  if (!ok) {
    return failed(L, NULL);
  }
  if (lua_toboolean(L, 4)) {
    return 1;
  }
  lua_pushboolean(L, 1);
  lua_insert(L, -2);
  return 2;
}

static int call_k(lua_State *L, int status, lua_KContext ctx);

static int await(lua_State *L, la_proc_t *p) {
  const la_id_t dest = la_to_id(L, 5);
  if (p->scope_fault != NULL) {
    tell_done(p, dest, p->wait.ref);
    end_wait(p);
    la_raise_fault(L, p);
  }
  if (p->wait.done) {
    return answered(L, p, dest);
  }
  if (p->wait.timed_out) {
    tell_done(p, dest, p->wait.ref);
    end_wait(p);
    return failed_text(L, "timeout", NULL);
  }
  return la_suspend(L, 0, call_k);
}

static int call_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  return await(L, la_proc_of(L));
}

/* The request is on its way; or the mailbox is full and we wait for room first. */
static int push_request(lua_State *L, la_proc_t *p, la_msg_t *m);

static int call_room_k(lua_State *L, int status, lua_KContext ctx) {
  la_proc_t *p = la_proc_of(L);
  (void)status;
  (void)ctx;
  la_msg_t *m = p->wait.msg;
  p->wait.msg = NULL;
  if (p->wait.timed_out) {
    la_sig_free(&m->sig);
    end_wait(p);
    return failed_text(L, "timeout", NULL);
  }
  if (p->wait.answer != NULL) {
    la_sig_free(p->wait.answer);
    p->wait.answer = NULL;
  }
  return push_request(L, p, m);
}

static int push_request(lua_State *L, la_proc_t *p, la_msg_t *m) {
  const la_id_t tag = m->call->note.ref;
  const la_id_t to = m->sig.to;
  const uint64_t deadline = p->wait.deadline_ns;
  /* Waiting before the push: the answer may come while it is made. */
  la_wait_start(p, LA_WAIT_CALL, deadline);
  p->wait.ref = tag;
  la_note_t *n;
  switch (la_send(p->host, p, m)) {
    case LA_SENT:
    case LA_SEND_NOPROC: /* the record comes back with "noproc" */
      la_serve_now(L, p);
      return await(L, p);
    case LA_SEND_WAIT:
      n = la_want_room(m, p->pid);
      if (n != NULL) {
        p->wait.kind = LA_WAIT_ROOM;
        p->wait.ref = to;
        p->wait.msg = m;
        la_signal(p->host, &n->sig);
        return la_suspend(L, 0, call_room_k);
      }
      la_sig_free(&m->sig);
      end_wait(p);
      return luaL_error(L, "not enough memory");
    case LA_SEND_UNFIT:
      end_wait(p);
      return la_raise_unfit(L, p, m);
    case LA_SEND_FULL:
      break;
  }
  la_sig_free(&m->sig);
  end_wait(p);
  return failed_text(L, "full", NULL);
}

/* On the stack: dest, the request, anything, whether to raise, room for the
 * identity of dest. */
static int begin_call(lua_State *L, la_proc_t *p, const char *what,
                      uint64_t span) {
  la_ring_t ring;
  const char *name;
  const la_id_t dest = la_check_dest(L, 1, &name);
  la_check_wait(L, what);
  la_raise_fault(L, p);
  if (dest == LA_NO_ID) {
    return failed_text(L, la_no_dest(L, 1), NULL);
  }
  la_push_id(L, dest);
  lua_replace(L, 5);
  la_serve_now(L, p); /* an answered call may have ended meanwhile */
  const uint64_t now = la_now(&p->host->env);
  const la_call_t *cur = current_call(p, now);
  const la_pid_t server = la_server_of(p->host, dest);
  if (is_in_chain(p, cur, server, &ring)) {
    return failed_text(L, "deadlock", &ring);
  }
  uint64_t deadline = span == UINT64_MAX ? UINT64_MAX : now + span;
  if (cur != NULL && cur->deadline_ns < deadline) {
    deadline = cur->deadline_ns;
  }
  const la_id_t tag =
      la_id_make(LA_ID_ALIAS, la_new_number(p->host) << 1 | 1,
                 la_id_slot(p->pid));
  la_msg_t *m = encode_request(L, p, dest, tag);
  m->call = make_record(p, cur, tag, deadline);
  if (m->call == NULL) {
    la_sig_free(&m->sig);
    return luaL_error(L, "not enough memory");
  }
  m->sig.flags |= LA_SIG_IS_CALL;
  atomic_store_explicit(&p->slot->owner, tag, memory_order_relaxed);
  atomic_store(&p->slot->waits, server); /* seq_cst: before we look at others' */
  if (waits_lead_back(p, server, &ring)) {
    note_awake(p->slot);
    la_sig_free(&m->sig);
    return failed_text(L, "deadlock", &ring);
  }
  p->wait.deadline_ns = deadline;
  return push_request(L, p, m);
}

/* Arguments dest, request [, ms]; 'raises': call or try_call. */
static int call(lua_State *L, const char *what, bool raises) {
  luaL_checkany(L, 2);
  uint64_t span = (uint64_t)DEFAULT_MS * 1000000;
  if (!lua_isnoneornil(L, 3)) {
    span = la_check_ms(L, 3, false);
  }
  lua_settop(L, 3);
  lua_pushboolean(L, raises);
  lua_pushnil(L);
  return begin_call(L, la_proc_of(L), what, span);
}

static int l_call(lua_State *L) {
  return call(L, "call", true);
}

static int l_try_call(lua_State *L) {
  return call(L, "try_call", false);
}

/* server:name(...), where name is the upvalue: see 'method' at the top. */
static int call_method(lua_State *L) {
  const int n = lua_gettop(L);
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checkstack(L, LUA_MINSTACK, "too many arguments");
  lua_pushliteral(L, "_to");
  lua_rawget(L, 1);
  lua_replace(L, 1);
  lua_pushlightuserdata(L, (void *)(uintptr_t)&method);
  lua_pushinteger(L, n);
  lua_pushboolean(L, 1);
  lua_pushnil(L);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_rotate(L, 2, METHOD_AT - 1);
  return begin_call(L, la_proc_of(L), "call",
                    (uint64_t)DEFAULT_MS * 1000000);
}

int la_method_caller(lua_State *L) {
  luaL_checkstring(L, 1);
  lua_settop(L, 1);
  lua_pushcclosure(L, call_method, 1);
  return 1;
}

/* ---- reply ------------------------------------------------------------------------------ */

/* The caller waits no longer, though it does not know yet: who answers it may call
 * it at once. */
static void end_waiting(la_host_t *host, la_pid_t caller, la_id_t tag) {
  la_slot_t *s = la_pidtab_slot(&host->pids, caller);
  if (s != NULL && atomic_load(&s->owner) == tag) {
    note_awake(s);
  }
}

static void check_once(lua_State *L, const la_proc_t *p, la_pid_t pid,
                       la_id_t tag) {
  const size_t n = sizeof p->answered / sizeof *p->answered;
  for (size_t i = 0; i < n; i++) {
    if (tag != LA_NO_ID && p->answered[i] == tag) {
      la_push_id(L, pid);
      const char *who = luaL_tolstring(L, -1, NULL);
      luaL_error(L, "the call of %s is answered already (second answer: %s)",
                 who, luaL_tolstring(L, 2, NULL));
    }
  }
}

/* { tag, value }: the tag is at 4, the value at 2. */
static la_msg_t *make_answer(lua_State *L, la_id_t to, la_id_t tag) {
  uint8_t head[ANSWER_HEAD] = {LA_TAG_LIST, 0, 0, 0, 2, LA_TAG_ID};
  la_put64(head + 6, tag);
  la_msg_t *m = tag != LA_NO_ID
                    ? la_small_message(L, to, head, sizeof head, 2)
                    : NULL;
  if (m != NULL) {
    return m;
  }
  la_encoder_t *e = la_begin_encode(L);
  la_encoded_or_raise(L, e, la_encode_list(e, 2));
  la_encode_or_raise(L, e, 4, "tag");
  la_encode_or_raise(L, e, 2, "reply");
  la_encoded_or_raise(L, e, la_encode_list_end(e));
  return la_finish_message(L, e, to);
}

/* To a process of another node: to the alias of [alias|Ref], else to the pid. */
static int answer_there(lua_State *L, la_proc_t *p) {
  if (la_foreign_kind(L, 4) == LA_FOREIGN_CONS) {
    lua_pushliteral(L, "tail");
    lua_rawget(L, 4);
    if (la_foreign_kind(L, -1) == LA_FOREIGN_REFERENCE) {
      lua_replace(L, 3);
    }
    lua_settop(L, 4);
  }
  const char *name;
  const la_id_t to = la_check_dest(L, 3, &name);
  if (to == LA_NO_ID) {
    lua_pushboolean(L, 1); /* as to a process that is gone */
    return 1;
  }
  la_msg_t *m = make_answer(L, to, LA_NO_ID);
  m->sig.flags |= LA_SIG_NO_LIMIT;
  if (la_send(p->host, p, m) == LA_SEND_UNFIT) {
    return la_raise_unfit(L, p, m);
  }
  la_charge(L, 10);
  lua_pushboolean(L, 1);
  return 1;
}

/* reply(from, value): from is { pid, tag } of a request. 'once': a second answer of
 * this process raises; else nobody sees it. */
static int answer(lua_State *L, bool once) {
  la_proc_t *p = la_proc_of(L);
  luaL_checktype(L, 1, LUA_TTABLE);
  if (lua_isnone(L, 2)) {
    lua_pushnil(L);
  }
  lua_settop(L, 2);
  lua_rawgeti(L, 1, 1);
  lua_rawgeti(L, 1, 2);
  if (la_foreign_kind(L, 3) == LA_FOREIGN_PID) {
    return answer_there(L, p);
  }
  const la_id_t pid = la_to_id(L, 3), tag = la_to_id(L, 4);
  luaL_argcheck(L, la_id_kind(pid) == LA_ID_PID ||
                       la_id_kind(pid) == LA_ID_MBOX, /* of a C thread */
                1, "the 'from' of a request expected");
  if (once) {
    check_once(L, p, pid, tag);
  }
  la_msg_t *m =
      make_answer(L, la_id_kind(tag) == LA_ID_ALIAS ? tag : pid, tag);
  m->sig.flags |= LA_SIG_NO_LIMIT;
  if (la_proc_forget_call(p, tag)) {
    m->sig.flags |= LA_SIG_BY_TAKER;
  }
  p->answered[p->next_answered++ % 4] = tag;
  end_waiting(p->host, pid, tag);
  la_send(p->host, p, m);
  la_charge(L, 10); /* may raise */
  lua_pushboolean(L, 1);
  return 1;
}

static int l_reply(lua_State *L) {
  return answer(L, false);
}

int la_reply_once(lua_State *L) {
  return answer(L, true);
}

static int open_type(lua_State *L) {
  luaL_newmetatable(L, CALL_ERROR_MT);
  lua_pushcfunction(L, error_tostring);
  lua_setfield(L, -2, "__tostring");
  return 1;
}

static int make_type(lua_State *L) {
  la_lazy_make(L, LA_TABLE_REGISTRY, open_type);
  return 1;
}

static const luaL_Reg functions[] = {
    {"call", l_call},
    {"try_call", l_try_call},
    {"reply", l_reply},
    {NULL, NULL},
};
static const luaL_Reg types[] = {{CALL_ERROR_MT, make_type}, {NULL, NULL}};
const la_std_part_t la_call_parts[] = {{LA_TABLE_LUACTOR, functions, false},
                                       {LA_TABLE_REGISTRY, types, true},
                                       {0, NULL, false}};

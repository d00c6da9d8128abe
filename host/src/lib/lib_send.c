/* Sending: messages, timers, references, aliases, packing. */
#include <math.h>
#include <string.h>

#include "dist/dist.h"
#include "lib/lib_core.h"
#include "proc/crew.h"
#include "term/foreign.h"
#include "term/layout.h"
#include "term/plain.h"

/* ---- send ------------------------------------------------------------------------ */

static int raise_full(lua_State *L) {
  lua_pushliteral(L, "full");
  return lua_error(L);
}

static int send_m(lua_State *L, la_proc_t *p, la_msg_t *m);

/* There may be room now. */
static int room_k(lua_State *L, int status, lua_KContext ctx) {
  la_proc_t *p = la_proc_of(L);
  (void)status;
  (void)ctx;
  la_msg_t *m = p->wait.msg;
  p->wait.msg = NULL;
  la_wait_clear(p);
  return send_m(L, p, m);
}

/* Wait for room in the full mailbox m is addressed to. */
static int wait_room(lua_State *L, la_proc_t *p, la_msg_t *m) {
  la_note_t *n;
  if (!la_can_yield(L) || p->in_guard ||
      la_server_of(p->host, m->sig.to) == p->pid ||
      la_member_is_of(p, m->sig.to)) {
    la_sig_free(&m->sig);
    return raise_full(L);
  }
  n = la_want_room(m, p->pid);
  if (n == NULL) {
    la_sig_free(&m->sig);
    return luaL_error(L, "not enough memory");
  }
  la_wait_start(p, LA_WAIT_ROOM, UINT64_MAX);
  p->wait.ref = n->ref;
  p->wait.msg = m;
  la_signal(p->host, &n->sig);
  return la_suspend(L, 0, room_k);
}

int la_raise_unfit(lua_State *L, la_proc_t *p, la_msg_t *m) {
  char why[512];
  la_dist_unfit(p->host, m, why, sizeof why);
  la_sig_free(&m->sig);
  return luaL_error(L, "%s", why);
}

/* Charged when it is gone, since a charge may raise. */
static int send_m(lua_State *L, la_proc_t *p, la_msg_t *m) {
  const unsigned cost = 10 + m->size / 64;
  la_check_out(L, m);
  switch (la_send(p->host, p, m)) {
    case LA_SEND_WAIT:
      return wait_room(L, p, m);
    case LA_SEND_FULL:
      la_sig_free(&m->sig);
      return raise_full(L);
    case LA_SEND_UNFIT:
      return la_raise_unfit(L, p, m);
    case LA_SENT:
    case LA_SEND_NOPROC:
      break;
  }
  la_charge(L, cost);
  lua_pushboolean(L, 1);
  return 1;
}

/* The usual message: plain values at 2..n as a list (or the one at 2 alone) to
 * a process given by its identity. NULL: it is none. */
static inline la_msg_t *plain_message(lua_State *L, int n, bool as_list) {
  const la_proc_t *p = la_proc_of(L);
  const bool direct = p->host->direct && n > 0;
  const la_id_t to = direct ? la_lid_at(L, 1) : la_to_id(L, 1);
  if (!la_id_has_slot(to)) {
    return NULL;
  }
  la_msg_t *m = la_msg_begin(to, p->pid);
  if (m == NULL) {
    luaL_error(L, "not enough memory");
  }
  const uint8_t *end = m->bytes + LA_MSG_SMALL;
  end = as_list ? la_plain_put_list(L, 2, n, m->bytes, end, direct)
                : la_plain_put(L, 2, m->bytes, end, direct);
  if (end == NULL) {
    la_msg_cancel(m);
    return NULL;
  }
  la_msg_written(m, end);
  return m;
}

/* 'to': whom the message is for. */
static uint8_t send_flags(lua_State *L, int arg, la_id_t to) {
  if (lua_isnoneornil(L, arg)) {
    return 0;
  }
  luaL_checktype(L, arg, LUA_TTABLE);
  uint8_t flags = 0;
  for (lua_pushnil(L); lua_next(L, arg) != 0; lua_pop(L, 1)) {
    const char *key =
        lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
    if (strcmp(key, "priority") == 0) {
      flags |= lua_toboolean(L, -1) ? LA_SIG_PRIORITY : 0;
    } else if (strcmp(key, "connect") == 0) {
      const bool off = !lua_toboolean(L, -1);
      flags |= off && la_id_kind(to) == LA_ID_PROXY ? LA_SIG_NO_CONNECT : 0;
    } else {
      luaL_error(L, "unknown option '%s'", luaL_tolstring(L, -2, NULL));
    }
  }
  return flags;
}

/* The value at 2 as a message. A second argument must be there: nil counts. */
static la_msg_t *make_message(lua_State *L, la_id_t to) {
  luaL_checkany(L, 2);
  const uint8_t flags = send_flags(L, 3, to);
  la_encoder_t *e = la_begin_encode(L);
  la_encode_or_raise(L, e, 2, "message");
  la_msg_t *m = la_finish_message(L, e, to);
  m->sig.flags |= flags;
  return m;
}

static int no_such_name(lua_State *L, const char *func, const char *name) {
  return luaL_error(L, "bad argument #1 to '%s' (no process is registered "
                    "as '%s')", func, name);
}

int la_lua_send(lua_State *L) {
  const char *name;
  la_msg_t *m = lua_gettop(L) == 2 ? plain_message(L, 2, false) : NULL;
  if (m != NULL) {
    return send_m(L, la_proc_of(L), m);
  }
  const la_id_t to = la_check_dest(L, 1, &name);
  if (to == LA_NO_ID) {
    return lua_type(L, 1) != LUA_TSTRING ? (lua_pushboolean(L, 1), 1)
                                         : no_such_name(L, "send", name);
  }
  la_proc_t *p = la_proc_of(L);
  return send_m(L, p, make_message(L, to));
}

static int fail(lua_State *L, const char *why) {
  lua_pushnil(L);
  lua_pushstring(L, why);
  return 2;
}

static int l_try_send(lua_State *L) {
  const char *name;
  const la_id_t to = la_check_dest(L, 1, &name);
  if (to == LA_NO_ID) {
    luaL_checkany(L, 2);
    return fail(L, la_no_dest(L, 1));
  }
  la_proc_t *p = la_proc_of(L);
  la_msg_t *m = make_message(L, to);
  la_check_out(L, m);
  switch (la_send(p->host, p, m)) {
    case LA_SEND_NOPROC:
      return fail(L, la_id_kind(to) == LA_ID_PROXY ? "noconnection"
                                                   : "noproc");
    case LA_SEND_FULL:
    case LA_SEND_WAIT:
      la_sig_free(&m->sig);
      return fail(L, "full");
    case LA_SEND_UNFIT:
      return la_raise_unfit(L, p, m);
    case LA_SENT:
      break;
  }
  lua_pushboolean(L, 1);
  return 1;
}

static int l_post(lua_State *L) {
  const char *name;
  const int n = la_proc_of(L)->host->direct ? la_ltop(L) : lua_gettop(L);
  la_msg_t *m = plain_message(L, n, true);
  if (m != NULL) {
    return send_m(L, la_proc_of(L), m);
  }
  const la_id_t to = la_check_dest(L, 1, &name);
  if (to == LA_NO_ID && lua_type(L, 1) == LUA_TSTRING) {
    return no_such_name(L, "post", name);
  }
  for (int i = 2; i <= n; i++) {
    luaL_argcheck(L, !lua_isnil(L, i), i, "value expected, got nil");
  }
  la_proc_t *p = la_proc_of(L);
  la_encoder_t *e = la_begin_encode(L);
  la_encoded_or_raise(L, e, la_encode_list(e, (uint32_t)(n - 1)));
  for (int i = 2; i <= n; i++) {
    if (!la_encode(e, L, i, "message")) { /* rare: name the element */
      la_encoder_end(e);
      return lua_error(L);
    }
  }
  la_encoded_or_raise(L, e, la_encode_list_end(e));
  return send_m(L, p, la_finish_message(L, e, to));
}

/* cast(dest, msg): { "$gen_cast", msg } */
static int l_cast(lua_State *L) {
  const char *name;
  luaL_checkany(L, 2);
  const la_id_t to = la_check_dest(L, 1, &name);
  la_proc_t *p = la_proc_of(L);
  static const uint8_t head[] = {
      LA_TAG_LIST, 0, 0, 0, 2,
      LA_TAG_BINARY, 0, 0, 0, 9, '$', 'g', 'e', 'n', '_', 'c', 'a', 's', 't'};
  la_msg_t *m = la_small_message(L, to, head, sizeof head, 2);
  if (m != NULL) {
    return send_m(L, p, m);
  }
  la_encoder_t *e = la_begin_encode(L);
  la_encoded_or_raise(L, e,
                      la_encode_list(e, 2) && la_encode_str(e, "$gen_cast", 9));
  la_encode_or_raise(L, e, 2, "message");
  la_encoded_or_raise(L, e, la_encode_list_end(e));
  /* Nobody there: dropped, as in Erlang. */
  return send_m(L, p, la_finish_message(L, e, to));
}

static int l_sender(lua_State *L) {
  const la_proc_t *p = la_proc_of(L);
  const la_id_t from = p->sender;
  if (from == LA_FAR_SENDER) {
    la_foreign_push(L, p->far_sender, p->far_size);
  } else if (from == LA_NO_ID) {
    lua_pushnil(L);
  } else {
    la_push_id(L, from);
  }
  return 1;
}

/* ---- timers -------------------------------------------------------------------------- */

static int start_timer(lua_State *L, bool every) {
  la_proc_t *p = la_proc_of(L);
  const lua_Number ms = luaL_checknumber(L, 1);
  luaL_argcheck(L, ms >= 0 && ms < 1e15, 1,
                "milliseconds from 0 to 1e15 expected");
  luaL_argcheck(L, !every || ms > 0, 1, "a period above 0 expected");
  la_id_t to = LA_NO_ID;
  char *late = NULL; /* a name: looked up when the timer is due */
  if (lua_type(L, 2) != LUA_TSTRING) {
    const char *name;
    to = la_check_dest(L, 2, &name);
  } else {
    la_refuse_names(L);
  }
  luaL_checkany(L, 3);
  la_encoder_t *e = la_begin_encode(L);
  la_encode_or_raise(L, e, 3, "message");
  la_msg_t *m = la_finish_message(L, e, to);
  la_check_out(L, m);
  if (lua_type(L, 2) == LUA_TSTRING) {
    size_t len;
    const char *name = lua_tolstring(L, 2, &len);
    late = la_alloc(len + 1);
    if (late == NULL) {
      la_sig_free(&m->sig);
      return luaL_error(L, "not enough memory");
    }
    memcpy(late, name, len + 1);
  }
  const la_id_t id = la_proc_timer(p, ms, every, m, late);
  if (id == LA_NO_ID) {
    la_sig_free(&m->sig);
    la_free(late);
    return luaL_error(L, "not enough memory");
  }
  la_push_id(L, id);
  return 1;
}

static int l_send_after(lua_State *L) {
  return start_timer(L, false);
}

static int l_send_every(lua_State *L) {
  return start_timer(L, true);
}

static int l_cancel(lua_State *L) {
  const la_id_t id = la_to_id(L, 1);
  luaL_argexpected(L, la_id_kind(id) == LA_ID_TIMER, 1, "timer");
  const int64_t left = la_timer_cancel(la_proc_of(L)->host, id);
  if (left < 0) {
    lua_pushboolean(L, 0);
  } else {
    lua_pushnumber(L, (lua_Number)left / 1e6);
  }
  return 1;
}

/* ---- references, aliases --------------------------------------------------------------- */

static int l_ref(lua_State *L) {
  la_proc_t *p = la_proc_of(L);
  const la_id_t ref = la_new_ref(p->host);
  la_mbox_mark(&p->mbox, ref);
  la_push_id(L, ref);
  return 1;
}

static int l_alias(lua_State *L) {
  la_proc_t *p = la_proc_of(L);
  const la_id_t alias =
      la_id_make(LA_ID_ALIAS, la_new_number(p->host) << 1,
                 la_id_slot(p->pid));
  if (!la_map_put(&p->aliases, alias, p)) {
    return luaL_error(L, "not enough memory");
  }
  la_mbox_mark(&p->mbox, alias);
  la_proc_grew(p);
  la_push_id(L, alias);
  return 1;
}

static int l_unalias(lua_State *L) {
  const la_id_t alias = la_to_id(L, 1);
  luaL_argexpected(L, la_id_kind(alias) == LA_ID_ALIAS, 1, "alias");
  la_proc_t *p = la_proc_of(L);
  la_serve_now(L, p); /* what has come stays */
  lua_pushboolean(L, la_map_remove(&p->aliases, alias) != NULL);
  return 1;
}

/* ---- packing ------------------------------------------------------------------------------ */

static int l_pack(lua_State *L) {
  luaL_checkany(L, 1);
  la_encoder_t *e = la_encoder_begin(la_host_scratch(), LA_TERM_PACKED);
  if (e == NULL) {
    return luaL_error(L, "not enough memory");
  }
  la_encode_or_raise(L, e, 1, "value");
  la_term_t t;
  la_encoder_term(e, &t);
  luaL_Buffer b; /* may raise: the scratch is taken back with the slice */
  char *out = luaL_buffinitsize(L, &b, t.size);
  memcpy(out, t.bytes, t.size);
  la_encoder_end(e);
  luaL_pushresultsize(&b, t.size);
  return 1;
}

static int l_unpack(lua_State *L) {
  la_term_t t = {0};
  t.bytes = (const uint8_t *)luaL_checklstring(L, 1, &t.size);
  la_charge(L, (unsigned)(t.size / 16));
  if (!la_decode(L, &t, LA_TERM_PACKED)) {
    return luaL_error(L, "bad argument #1 to 'unpack' (%s)",
                      lua_tostring(L, -1));
  }
  return 1;
}

static int l_pid(lua_State *L) {
  size_t len;
  const char *text = luaL_checklstring(L, 1, &len);
  const la_id_t id = la_id_parse(text, len);
  if (la_id_kind(id) != LA_ID_PID) {
    return luaL_argerror(
        L, 1, lua_pushfstring(L, "'%s' is not the text of a pid", text));
  }
  la_push_id(L, id);
  return 1;
}

static const luaL_Reg functions[] = {
    {"send", la_lua_send},
    {"try_send", l_try_send},
    {"post", l_post},
    {"cast", l_cast},
    {"sender", l_sender},
    {"send_after", l_send_after},
    {"send_every", l_send_every},
    {"cancel", l_cancel},
    {"ref", l_ref},
    {"alias", l_alias},
    {"unalias", l_unalias},
    {"pack", l_pack},
    {"unpack", l_unpack},
    {"pid", l_pid},
    {NULL, NULL},
};
const la_std_part_t la_send_parts[] = {{LA_TABLE_LUACTOR, functions, false},
                                       {0, NULL, false}};

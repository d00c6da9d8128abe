/* luactor.h: mailboxes of C threads, and calls from them. */
#include "embed/mailbox.h"

#include <string.h>

#include "embed/send.h"
#include "embed/step.h"
#include "term/tag.h"

static la_cbox_t *box_of(luactor_mailbox *mailbox) {
  return (la_cbox_t *)mailbox;
}

int luactor_mailbox_open(luactor_host *host, uint32_t limit, int overflow,
                         luactor_mailbox **mailbox) {
  _Static_assert((int)LUACTOR_OVERFLOW_KILL == (int)LA_OVERFLOW_KILL &&
                     (int)LUACTOR_OVERFLOW_ERROR == (int)LA_OVERFLOW_ERROR &&
                     (int)LUACTOR_OVERFLOW_BLOCK == (int)LA_OVERFLOW_BLOCK,
                 "the numbers are the same");
  if (host == NULL || mailbox == NULL || overflow < LUACTOR_OVERFLOW_BLOCK ||
      overflow >= LUACTOR_OVERFLOW_KILL || limit >= LA_MAX_MBOX_LIMIT) {
    return LUACTOR_EINVAL;
  }
  if (atomic_load(&host->halting)) {
    return LUACTOR_ECLOSED;
  }
  LA_ENTER(host);
  la_cbox_t *b = la_cbox_open(host, limit, (la_overflow_t)overflow);
  if (b == NULL) {
    return LUACTOR_ENOMEM;
  }
  *mailbox = (luactor_mailbox *)b;
  return 0;
}

void luactor_mailbox_close(luactor_mailbox *mailbox) {
  if (mailbox != NULL) {
    la_cbox_close(box_of(mailbox));
  }
}

luactor_pid luactor_mailbox_address(luactor_mailbox *mailbox) {
  return mailbox != NULL ? la_cbox_id(box_of(mailbox)) : LA_NO_ID;
}

int luactor_mailbox_fd(luactor_mailbox *mailbox) {
  if (mailbox == NULL) {
    return LUACTOR_EINVAL;
  }
  const int fd = la_cbox_fd(box_of(mailbox));
  return fd >= 0 ? fd : LUACTOR_ENOMEM;
}

/* ---- receiving ------------------------------------------------------------------- */

uint64_t la_deadline_in(const la_env_t *env, int ms) {
  return ms < 0 ? UINT64_MAX : la_now(env) + (uint64_t)ms * UINT64_C(1000000);
}

/* 'host': to be run meanwhile; nobody else closes it. NULL: others run it. */
typedef la_cbox_status_t wait_t(la_cbox_t *b, uint64_t deadline_ns,
                                la_sig_t **sig);

static la_cbox_status_t wait_with(wait_t *wait, la_cbox_t *b, la_host_t *host,
                                  uint64_t deadline_ns, la_sig_t **sig) {
  if (host == NULL) {
    return wait(b, deadline_ns, sig);
  }
  la_cbox_status_t status;
  while ((status = wait(b, 0, sig)) == LA_CBOX_TIMEOUT &&
         la_now(&b->env) < deadline_ns) {
    la_step_meanwhile(host);
  }
  return status;
}

/* The host, if the caller is the one who steps it. */
static la_host_t *stepped_here(la_cbox_t *b) {
  la_host_t *host = la_gate_enter(b->gate);
  const bool is_here = host != NULL && la_step_is_here(host);
  la_gate_leave(b->gate);
  return is_here ? host : NULL;
}

static int code_of(la_cbox_status_t status) {
  return status == LA_CBOX_CLOSED ? LUACTOR_ECLOSED : LUACTOR_ETIMEOUT;
}

/* { "DOWN", ref, "process", pid, reason } */
static int down_value(const la_note_t *n, uint64_t nonce, luactor_value **out) {
  const la_whole_t reason = {n->reason->term, nonce};
  return luactor_make(out, "{s r s p w}", "DOWN", n->ref, "process", n->peer,
                      la_view_all(&reason));
}

int luactor_mailbox_receive(luactor_mailbox *mailbox, int ms,
                            luactor_value **message) {
  if (mailbox == NULL || message == NULL) {
    return LUACTOR_EINVAL;
  }
  la_cbox_t *b = box_of(mailbox);
  la_sig_t *sig;
  const la_cbox_status_t status = wait_with(
      la_cbox_take, b, stepped_here(b), la_deadline_in(&b->env, ms), &sig);
  if (status != LA_CBOX_OK) {
    return code_of(status);
  }
  luactor_value *v = NULL;
  if (sig->kind == LA_SIG_MESSAGE) {
    v = la_value_of_msg((la_msg_t *)sig, b->nonce);
  } else if (down_value((la_note_t *)sig, b->nonce, &v) == 0) {
    la_sig_free(sig);
  }
  if (v == NULL) {
    la_cbox_untake(b, sig);
    return LUACTOR_ENOMEM;
  }
  *message = v;
  return 0;
}

/* ---- with the host ------------------------------------------------------------------- */

int luactor_mailbox_monitor(luactor_mailbox *mailbox, luactor_pid pid,
                            uint64_t *ref) {
  if (mailbox == NULL || la_id_kind(pid) != LA_ID_PID) {
    return LUACTOR_EINVAL;
  }
  la_cbox_t *b = box_of(mailbox);
  int code = LUACTOR_ECLOSED;
  la_host_t *host = la_gate_enter(b->gate);
  if (host != NULL && !atomic_load(&host->halting)) {
    LA_ENTER(host);
    const la_id_t id = la_cbox_monitor(b, host, pid);
    code = id != LA_NO_ID ? 0 : LUACTOR_ENOMEM;
    if (code == 0 && ref != NULL) {
      *ref = id;
    }
  }
  la_gate_leave(b->gate);
  return code;
}

int luactor_mailbox_demonitor(luactor_mailbox *mailbox, uint64_t ref) {
  if (mailbox == NULL || la_id_kind(ref) != LA_ID_REF) {
    return LUACTOR_EINVAL;
  }
  la_cbox_t *b = box_of(mailbox);
  int code = LUACTOR_ECLOSED;
  la_host_t *host = la_gate_enter(b->gate);
  if (host != NULL) {
    LA_ENTER(host);
    code = la_cbox_demonitor(b, host, ref) ? 0 : LUACTOR_ENOENT;
  }
  la_gate_leave(b->gate);
  return code;
}

int luactor_mailbox_reply(luactor_mailbox *mailbox, luactor_view from,
                          const luactor_value *value) {
  if (mailbox == NULL) {
    return LUACTOR_EINVAL;
  }
  la_cbox_t *b = box_of(mailbox);
  int code = LUACTOR_ECLOSED;
  la_host_t *host = la_gate_enter(b->gate);
  if (host != NULL) {
    LA_ENTER(host);
    la_msg_t *m = NULL;
    code = la_answer_new(host, from, value, la_cbox_id(b), &m);
    if (m != NULL) {
      la_cbox_forget_call(b, m->sig.to);
      code = la_send_msg(host, NULL, m);
    }
  }
  la_gate_leave(b->gate);
  return code;
}

/* ---- calls from C --------------------------------------------------------------------- */

typedef struct {
  la_host_t *host;
  la_host_t *stepped; /* by the caller; NULL: it is not */
  la_cbox_t *box;
  la_id_t dest, tag;
  uint64_t deadline_ns;
} call_t;

/* { "$gen_call", { mailbox, tag }, request } */
static int request_value(const call_t *c, la_id_t self,
                         const luactor_value *request, luactor_value **out) {
  luactor_builder *b = luactor_builder_new();
  la_build_list(b);
  luactor_build_text(b, "$gen_call");
  luactor_build_table(b);
  luactor_build_pid(b, self);
  luactor_build_pid(b, c->tag);
  luactor_build_end(b);
  luactor_build_view(b, luactor_view_of(request));
  luactor_build_end(b);
  const int code = luactor_build_finish(b, out);
  luactor_builder_free(b);
  return code;
}

/* With the record of the call. */
static int make_request(const call_t *c, const luactor_value *request,
                        la_msg_t **out) {
  luactor_value *v;
  const la_id_t self = la_cbox_id(c->box);
  const int code = request_value(c, self, request, &v);
  if (code != 0) {
    return code;
  }
  la_msg_t *m = la_msg_new(&v->whole.term, c->dest, self);
  la_call_t *record = la_call_new(1);
  luactor_value_free(v);
  if (m == NULL || record == NULL) {
    if (m != NULL) {
      la_sig_free(&m->sig);
    }
    if (record != NULL) {
      la_sig_free(&record->note.sig);
    }
    return LUACTOR_ENOMEM;
  }
  record->chain[0] = self;
  record->note.ref = c->tag;
  record->note.peer = self;
  record->deadline_ns = c->deadline_ns;
  m->call = record;
  m->sig.flags |= LA_SIG_IS_CALL;
  *out = m;
  return 0;
}

/* Ask to be told of room, and wait for that. */
static int await_room(const call_t *c) {
  la_sig_t *sig;
  la_note_t *n = la_note_new(LA_SIG_WANT_ROOM, c->dest, la_cbox_id(c->box));
  if (n == NULL) {
    return LUACTOR_ENOMEM;
  }
  n->ref = c->dest;
  la_signal(c->host, &n->sig);
  const la_cbox_status_t status =
      wait_with(la_cbox_answer, c->box, c->stepped, c->deadline_ns, &sig);
  return status == LA_CBOX_OK ? 0 : code_of(status);
}

static int send_request(const call_t *c, la_msg_t *m) {
  for (;;) {
    if (atomic_load(&c->host->halting)) {
      la_sig_free(&m->sig);
      return LUACTOR_ECLOSED;
    }
    int code = 0;
    switch (la_send(c->host, NULL, m)) {
      case LA_SENT:
      case LA_SEND_NOPROC: /* the record comes back */
        return 0;
      case LA_SEND_WAIT:
        code = await_room(c);
        break;
      case LA_SEND_FULL:
        code = LUACTOR_EFULL;
        break;
      case LA_SEND_UNFIT:
        code = LUACTOR_ETYPE;
        break;
    }
    if (code != 0) {
      la_sig_free(&m->sig);
      return code;
    }
  }
}

/* The server has a record that nobody will answer now. */
static void tell_done(const call_t *c) {
  la_note_t *n = la_note_new(LA_SIG_CALL_DONE,
                             la_id_kind(c->dest) == LA_ID_POOL
                                 ? c->dest
                                 : la_server_of(c->host, c->dest),
                             la_cbox_id(c->box));
  if (n != NULL) {
    n->ref = c->tag;
    la_signal(c->host, &n->sig);
  }
}

static bool is_of_another(const call_t *c, const la_sig_t *answer) {
  return la_id_kind(c->dest) == LA_ID_POOL
             ? !(answer->flags & LA_SIG_BY_TAKER)
             : answer->from != la_server_of(c->host, c->dest);
}

static int failed(const char *why, int code, luactor_value **reply) {
  *reply = la_value_text(why);
  return code;
}

static int ended(const call_t *c, const la_reason_t *r, luactor_value **reply) {
  *reply = la_value_new(&r->term, c->host->nonce);
  return la_reason_is(r, "noproc") ? LUACTOR_ENOPROC : LUACTOR_EEXIT;
}

/* The answer is { tag, value }. */
static int answered(const call_t *c, const la_sig_t *sig,
                    luactor_value **reply) {
  if (sig->kind == LA_SIG_CALL_END) {
    return ended(c, ((const la_note_t *)sig)->reason, reply);
  }
  if (is_of_another(c, sig)) {
    tell_done(c);
  }
  la_whole_t whole = {.home = c->host->nonce};
  luactor_view value;
  la_msg_term((const la_msg_t *)sig, &whole.term);
  if (luactor_get_index(la_view_all(&whole), 2, &value) != 0) {
    luactor_value *nil; /* { tag }, made by hand */
    const int code = luactor_make(&nil, "n");
    *reply = code == 0 ? nil : NULL;
    return code;
  }
  return luactor_value_copy(value, reply);
}

static int run_call(const call_t *c, la_msg_t *m, luactor_value **reply) {
  la_sig_t *sig = NULL;
  int code = send_request(c, m);
  if (code == LUACTOR_EFULL) {
    return failed("full", code, reply);
  }
  while (code == 0 && sig == NULL) {
    const la_cbox_status_t status =
        wait_with(la_cbox_answer, c->box, c->stepped, c->deadline_ns, &sig);
    code = status == LA_CBOX_OK ? 0 : code_of(status);
  }
  if (code == LUACTOR_ETIMEOUT) {
    tell_done(c);
    return failed("timeout", code, reply);
  }
  if (code == 0) {
    code = answered(c, sig, reply);
    la_sig_free(sig);
  }
  return code;
}

int luactor_call(luactor_host *host, luactor_pid dest,
                 const luactor_value *request, int ms, luactor_value **reply) {
  if (host == NULL || !la_id_has_slot(dest) || request == NULL ||
      reply == NULL) {
    return LUACTOR_EINVAL;
  }
  *reply = NULL;
  if (!la_value_fits(request, host)) {
    return LUACTOR_ETYPE;
  }
  if (atomic_load(&host->halting)) {
    return LUACTOR_ECLOSED;
  }
  call_t c = {.host = host,
              .stepped = la_step_is_here(host) && !la_here_is_in(&host->env)
                             ? host
                             : NULL,
              .dest = dest,
              .deadline_ns = la_deadline_in(&host->env, ms)};
  LA_WORK_FOR(host); /* from here on it looks as from inside */
  c.box = la_cbox_open(host, 0, LA_OVERFLOW_ERROR);
  if (c.box == NULL) {
    return LUACTOR_ENOMEM;
  }
  c.tag = la_id_make(LA_ID_ALIAS, la_new_number(host) << 1 | 1,
                     la_id_slot(la_cbox_id(c.box)));
  la_cbox_await(c.box, c.tag);
  la_msg_t *m;
  int code = make_request(&c, request, &m);
  if (code == 0) {
    code = run_call(&c, m, reply);
  }
  la_cbox_await(c.box, LA_NO_ID);
  la_cbox_close(c.box);
  return code;
}

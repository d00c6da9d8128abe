/* Signals of this host to proxies, as control messages. Called by whoever sends
 * them, on any thread. */
#define _GNU_SOURCE /* memmem */
#include <stdio.h>
#include <string.h>

#include "base/env.h"
#include "dist/inner.h"
#include "term/tag.h"

/* ---- whom it concerns --------------------------------------------------- */

/* The connection for a proxy; one is begun when there is none. */
static la_conn_t *conn_of(la_dist_t *d, const la_proxy_t *x) {
  return la_conn_to(d, x->node);
}

/* Only the one that stands or is being set up. */
static la_conn_t *conn_there(la_dist_t *d, const la_proxy_t *x) {
  return la_conn_find(d, x->node);
}

/* ---- links -------------------------------------------------------------- */

static void refuse_signal(la_dist_t *d, la_note_t *n, la_told_t *told);

/* Takes the signal over: the tie keeps it for its end. */
static void send_link(la_dist_t *d, la_proxy_t *x, la_note_t *n,
                      la_told_t *told) {
  la_conn_t *c = conn_of(d, x);
  la_control_t k = {.op = LA_CTL_LINK,
                    .from = la_bond_here(d, n->sig.from),
                    .to = la_bond_there(x)};
  if (c == NULL || x->is_name || !la_bond_tie(x, n->sig.from) ||
      !la_bond_emit(c, &k, NULL)) {
    la_tied_t **at = la_bond_tie_of(x, n->sig.from);
    if (*at != NULL) {
      la_bond_untie(d, x, at);
    }
    n->who = la_proxy_who(x);
    refuse_signal(d, n, told);
    return;
  }
  la_tied_t *t = *la_bond_tie_of(x, n->sig.from);
  if (t->note == NULL) {
    t->note = n;
  } else {
    la_sig_free(&n->sig);
  }
}

static void send_unlink(la_dist_t *d, la_proxy_t *x, la_note_t *n) {
  la_conn_t *c = conn_there(d, x);
  la_tied_t **at = la_bond_tie_of(x, n->sig.from);
  if (*at == NULL || (*at)->unlinking != 0) {
    return;
  }
  if (c == NULL) {
    la_bond_untie(d, x, at);
    return;
  }
  (*at)->unlinking = ++c->last_unlink;
  la_control_t k = {.op = LA_CTL_UNLINK_ID,
                    .from = la_bond_here(d, n->sig.from),
                    .to = la_bond_there(x),
                    .unlink_id = c->last_unlink};
  la_bond_emit(c, &k, NULL);
}

static void send_exit(la_dist_t *d, la_proxy_t *x, la_note_t *n) {
  la_conn_t *c;
  la_control_t k = {.from = la_bond_here(d, n->sig.from),
                    .to = la_bond_there(x)};
  if (n->sig.flags & LA_SIG_BY_LINK) {
    la_tied_t **at = la_bond_tie_of(x, n->sig.from);
    c = conn_there(d, x);
    k.op = LA_CTL_PAYLOAD_EXIT;
    if (c != NULL && (*at == NULL || (*at)->unlinking == 0)) {
      la_bond_emit(c, &k, n->reason);
    }
    if (*at != NULL) {
      la_bond_untie(d, x, at);
    }
    return;
  }
  c = conn_of(d, x);
  k.op = LA_CTL_PAYLOAD_EXIT2;
  if (c != NULL && n->sig.from != LA_NO_ID && !x->is_name) {
    la_bond_emit(c, &k, n->reason);
  }
}

/* ---- monitors ----------------------------------------------------------- */

/* Takes the signal over: it becomes the DOWN signal. */
static void send_monitor(la_dist_t *d, la_proxy_t *x, la_note_t *n,
                         la_told_t *told) {
  la_conn_t *c = conn_of(d, x);
  if (c == NULL || !la_bond_watch(d, c, x, n->sig.from, n->ref, n)) {
    refuse_signal(d, n, told);
  }
}

/* A process here has ended that is watched from there. */
static void send_down(la_dist_t *d, la_proxy_t *x, la_note_t *n) {
  la_conn_t *c = conn_there(d, x);
  la_watch_in_t **at = &x->watchers;
  while (*at != NULL && (*at)->ref != n->ref) {
    at = &(*at)->next;
  }
  la_watch_in_t *w = *at;
  if (w == NULL) {
    return;
  }
  *at = w->next;
  la_control_t k = {.op = LA_CTL_PAYLOAD_MONITOR_P_EXIT,
                    .to = la_bond_there(x),
                    .by = n->sig.from};
  const uint8_t *end = w->control.data + w->control.len;
  const uint8_t *p = w->control.data;
  if (*p == LA_TAG_PID) {
    p = la_wire_id_read(p, end, &k.from.id);
  } else {
    k.from.is_name = true;
    p = la_wire_atom_read(p, end, &k.from.name, &k.from.name_len);
  }
  la_wire_id_read(p, end, &k.ref);
  if (c != NULL) {
    la_bond_emit(c, &k, n->reason);
  }
  la_bond_watcher_free(w);
  la_proxy_let_go(d, x);
}

/* ---- pools, and calls that nobody answers ------------------------------- */

la_id_t la_dist_own(void *host, la_id_t pid) {
  const la_slot_t *s = la_pidtab_slot(&((la_host_t *)host)->pids, pid);
  const la_id_t pool = la_id_counted(LA_ID_POOL, la_id_body(pid));
  return s != NULL && la_slot_is(s, pool) ? pool : pid;
}

/* Bytes of a message in which the tag of a call is looked for: it stands before the
 * request. */
#define CALL_HEAD 1024

/* Does the reference of a monitor stand in the message's head? */
static bool has_reference(const la_msg_t *m, const la_watch_in_t *w) {
  const size_t most = m->size < CALL_HEAD ? m->size : CALL_HEAD;
  return memmem(m->bytes, most, w->control.data + w->who_len,
                w->control.len - w->who_len) != NULL;
}

/* Who calls from another node watches the server meanwhile, under the reference that
 * is the call's tag, or part of it. So the monitor of the caller is the one whose
 * reference stands in the message; it fires, as if the server had ended. A caller
 * that has its answer watches no longer. */
void la_dist_call_lost(la_host_t *host, la_id_t to, const la_msg_t *m,
                       la_reason_t *reason) {
  la_dist_t *d = host->dist;
  la_told_t told;
  if (d == NULL) {
    return;
  }
  la_told_init(&told);
  la_lock(&d->lock);
  for (uint32_t i = 0; i < d->nproxies; i++) {
    la_proxy_t *x = &d->proxies[i];
    const la_watch_in_t *w = x->holds > 0 ? x->watchers : NULL;
    while (w != NULL && !(w->target == to && has_reference(m, w))) {
      w = w->next;
    }
    if (w != NULL) {
      la_note_t down = {.ref = w->ref, .reason = reason};
      la_note_t *n = la_note_new(LA_SIG_DEMONITOR, to, x->id);
      if (n != NULL) {
        n->ref = w->ref;
        la_told_add(&told, &n->sig);
      }
      send_down(d, x, &down);
    }
  }
  la_unlock(&d->lock);
  la_told_send(host, &told);
}

/* ---- messages ----------------------------------------------------------- */

/* Messages with more bytes of their own than this are exported without the
 * lock. */
#define APART_BYTES 4096

static la_control_t message_control(const la_dist_t *d, const la_proxy_t *x,
                                    const la_msg_t *m) {
  const la_pid_t from = m->sig.from;
  la_control_t k = {.op = LA_CTL_SEND_SENDER, .to = la_bond_there(x)};
  if (from != LA_NO_ID) {
    k.from = la_bond_here(d, from);
  } else {
    k.from = la_bond_here(d, la_id_counted(LA_ID_PID, 0));
  }
  if (x->is_name) {
    k.op = LA_CTL_REG_SEND;
  } else if (x->wire.kind == LA_WIRE_REF) {
    k.op = LA_CTL_ALIAS_SEND;
  }
  return k;
}

/* Remember a call, and watch whom it is for. False: memory. */
static bool keep_call(la_dist_t *d, la_conn_t *c, la_proxy_t *x, la_msg_t *m) {
  if (!(m->sig.flags & LA_SIG_IS_CALL)) {
    return true;
  }
  const la_id_t tag = m->call->note.ref, ref = tag; /* see la_dist_call_lost */
  la_call_out_t *o = la_zalloc(sizeof *o);
  if (o == NULL || !la_map_put(&c->calls, tag, o) ||
      !la_bond_watch(d, c, x, m->sig.from, ref, NULL)) {
    la_map_remove(&c->calls, tag);
    la_free(o);
    return false;
  }
  *o = (la_call_out_t){tag, ref, x->id, m->call};
  return true;
}

/* The message was not sent after all: its record stays with it. */
static void drop_call(la_dist_t *d, la_conn_t *c, const la_msg_t *m) {
  la_call_out_t *o = (m->sig.flags & LA_SIG_IS_CALL)
                         ? la_map_remove(&c->calls, m->call->note.ref)
                         : NULL;
  if (o != NULL) {
    la_bond_unwatch(d, c, o->ref);
    la_free(o);
  }
}

/* Over a connection that stands. The lock is free while a message of some size
 * is exported: its sender waits, others need not. */
static la_sent_t send_up(la_dist_t *d, la_conn_t *c, la_proxy_t *x,
                         la_msg_t *m) {
  char why[512];
  la_buf_t control = {0};
  la_exported_t packet = {0};
  la_term_t t;
  la_control_t k = message_control(d, x, m);
  k.priority = (m->sig.flags & LA_SIG_PRIORITY) != 0 && c->peer.is_luactor;
  const la_peer_t border = c->border;
  const bool fragments = c->outq.fragments, apart = m->size > APART_BYTES;
  la_control_write(&control, &k);
  la_msg_term(m, &t);
  if (apart) {
    c->refs++;
    la_unlock(&d->lock);
  }
  const bool ok =
      !control.failed && la_outq_make(&border, fragments, &control, &t,
                                      LA_EXPORT_MESSAGE, &packet, why,
                                      sizeof why);
  la_buf_free(&control);
  if (apart) {
    la_lock(&d->lock);
    x = la_proxy_of(d, m->sig.to);
  }
  la_sent_t result = LA_SENT;
  if (!ok) {
    result = LA_SEND_UNFIT;
  } else if (c->state != CONN_UP || x == NULL || !keep_call(d, c, x, m)) {
    la_exported_free(&packet);
    result = LA_SEND_NOPROC;
  } else if (!la_conn_add(c, m->sig.from, &packet)) {
    drop_call(d, c, m);
    result = LA_SEND_UNFIT;
  }
  if (apart) {
    la_conn_unref(c);
  }
  return result;
}

/* Over one that is being set up: it waits there. */
static la_sent_t send_late(la_dist_t *d, la_conn_t *c, la_proxy_t *x,
                           la_msg_t *m) {
  char why[512];
  const la_control_t k = message_control(d, x, m);
  if (!keep_call(d, c, x, m)) {
    return LA_SEND_NOPROC;
  }
  if (!la_conn_emit(c, &k, m, NULL, why, sizeof why)) {
    drop_call(d, c, m);
    return LA_SEND_UNFIT;
  }
  return LA_SENT;
}

la_sent_t la_dist_send(la_host_t *host, la_msg_t *m) {
  la_dist_t *d = host->dist;
  la_told_t told;
  la_told_init(&told);
  if (d == NULL) {
    la_signal_refuse(host, &m->sig);
    return LA_SEND_NOPROC;
  }
  la_lock(&d->lock);
  la_proxy_t *x = la_proxy_of(d, m->sig.to);
  const bool may_connect = !(m->sig.flags & LA_SIG_NO_CONNECT);
  la_conn_t *c = x == NULL     ? NULL
                 : may_connect ? conn_of(d, x)
                               : conn_there(d, x);
  la_sent_t result;
  if (c == NULL) {
    result = LA_SEND_NOPROC;
  } else if (!(m->sig.flags & LA_SIG_NO_LIMIT) &&
             la_conn_is_full(c, m->sig.from, la_msg_bytes(m))) {
    result = LA_SEND_WAIT;
  } else {
    result = c->state == CONN_UP ? send_up(d, c, x, m) : send_late(d, c, x, m);
  }
  la_unlock(&d->lock);
  if (result == LA_SENT) {
    m->sig.flags &= (uint8_t)~LA_SIG_IS_CALL; /* the record is kept here */
    la_sig_free(&m->sig);
  } else if (result == LA_SEND_NOPROC) {
    if (m->sig.flags & LA_SIG_IS_CALL) {
      la_call_t *call = m->call;
      m->sig.flags &= (uint8_t)~LA_SIG_IS_CALL;
      call->note.sig.from = m->sig.to;
      call->note.sig.to = call->note.peer;
      call->note.reason = la_noconnection();
      la_told_add(&told, &call->note.sig);
    }
    la_sig_free(&m->sig);
  }
  la_told_send(host, &told);
  return result;
}

void la_dist_unfit(la_host_t *host, const la_msg_t *m, char *why, size_t max) {
  la_dist_t *d = host->dist;
  const la_peer_t peer = {.node = d->name, .creation = d->creation};
  la_exported_t x = {0};
  la_term_t t;
  la_msg_term(m, &t);
  if (la_export(&t, &peer, LA_EXPORT_MESSAGE, "message", &x, why, max)) {
    snprintf(why, max, "not enough memory");
  }
  la_exported_free(&x);
}

/* A process waits for room on the way to a proxy. */
static void want_room(la_dist_t *d, la_proxy_t *x, la_note_t *n,
                      la_told_t *told) {
  la_conn_t *c = x != NULL ? conn_there(d, x) : NULL;
  const la_id_t there = n->sig.to;
  n->sig.to = n->sig.from;
  n->sig.from = there;
  n->sig.kind = LA_SIG_ROOM;
  if (c == NULL || !la_conn_is_full(c, n->sig.to, n->sig.tag)) {
    la_told_add(told, &n->sig);
  } else {
    n->sig.next = NULL;
    *c->rooms_end = n;
    c->rooms_end = (la_note_t **)(void *)&n->sig.next;
  }
}

/* Back to its sender, as the same that a dead process gives. */
static void refuse_signal(la_dist_t *d, la_note_t *n, la_told_t *told) {
  (void)d;
  switch ((la_sig_kind_t)n->sig.kind) {
    case LA_SIG_LINK:
      n->sig.kind = LA_SIG_EXIT;
      n->sig.flags |= LA_SIG_BY_LINK;
      break;
    case LA_SIG_MONITOR:
      n->sig.kind = LA_SIG_DOWN;
      break;
    default:
      la_sig_free(&n->sig);
      return;
  }
  const la_id_t there = n->sig.to;
  n->sig.to = n->sig.from;
  n->sig.from = there;
  n->reason = la_noconnection();
  la_told_add(told, &n->sig);
}

void la_dist_signal(la_host_t *host, la_sig_t *sig) {
  la_dist_t *d = host->dist;
  la_note_t *n = (la_note_t *)sig;
  la_told_t told;
  if (sig->kind == LA_SIG_MESSAGE) {
    const la_sent_t r = la_dist_send(host, (la_msg_t *)sig);
    if (r == LA_SEND_WAIT || r == LA_SEND_UNFIT) {
      la_signal_refuse(host, sig);
    }
    return;
  }
  if (sig->to == LA_PARK_ID) {
    const la_id_t room = n->ref;
    la_sig_free(sig);
    la_park_room(host, room);
    return;
  }
  la_told_init(&told);
  if (d == NULL) {
    refuse_signal(d, n, &told);
    la_told_send(host, &told);
    return;
  }
  la_lock(&d->lock);
  la_proxy_t *x = la_proxy_of(d, sig->to);
  bool mine = true; /* free the signal */
  if (sig->kind == LA_SIG_WANT_ROOM) {
    want_room(d, x, n, &told);
    mine = false;
  } else if (x == NULL) {
    refuse_signal(d, n, &told);
    mine = false;
  } else {
    la_conn_t *c;
    switch ((la_sig_kind_t)sig->kind) {
      case LA_SIG_LINK:
        send_link(d, x, n, &told);
        mine = false;
        break;
      case LA_SIG_UNLINK:
        send_unlink(d, x, n);
        break;
      case LA_SIG_EXIT:
        send_exit(d, x, n);
        break;
      case LA_SIG_MONITOR:
        send_monitor(d, x, n, &told);
        mine = false;
        break;
      case LA_SIG_DEMONITOR:
        c = conn_there(d, x);
        if (c != NULL) {
          la_bond_unwatch(d, c, n->ref);
        }
        break;
      case LA_SIG_DOWN:
        send_down(d, x, n);
        break;
      case LA_SIG_CALL_DONE:
        c = conn_there(d, x);
        if (c != NULL) {
          la_bond_forget_call(d, c, n->ref, &told, NULL);
        }
        break;
      case LA_SIG_INFO:
        sig->kind = LA_SIG_INFO_REPLY;
        sig->to = sig->from;
        la_told_add(&told, sig);
        mine = false;
        break;
      default:
        break;
    }
  }
  la_unlock(&d->lock);
  if (mine) {
    la_sig_free(sig);
  }
  la_told_send(host, &told);
}

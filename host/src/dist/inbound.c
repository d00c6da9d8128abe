/* Control messages of a peer, as signals of this host. On the loop's thread. */
#include <stdio.h>
#include <string.h>

#include "base/env.h"
#include "dist/inner.h"
#include "dist/policy.h"
#include "term/tag.h"

la_id_t la_inbound_ours(const la_in_t *i, const la_wire_id_t *id) {
  const la_id_t local = la_wire_id_is_of(id, i->d->name, i->d->creation)
                            ? la_wire_id_local(id)
                            : LA_NO_ID;
  return id->kind == LA_WIRE_PID && local != LA_NO_ID
             ? la_dist_own(i->d->host, local)
             : local;
}

/* The process registered so, if the peer may know of it. */
static la_id_t named(const la_in_t *i, const la_ctl_who_t *w) {
  char name[1100];
  snprintf(name, sizeof name, "%.*s", (int)w->name_len, (const char *)w->name);
  if (!la_policy_may_reach(i->d->host, i->c->node, name)) {
    la_policy_log(i->d->host, i->c->node, "name", "not allowed to reach '%s'",
                  name);
    return LA_NO_ID;
  }
  return la_names_find(&i->d->host->names, name);
}

static bool wrong(la_in_t *i, const char *why) {
  i->why = why;
  return false;
}

/* From in links, monitors and exits must be of the peer. */
static bool is_from_peer(const la_in_t *i) {
  const la_wire_id_t *id = &i->k.from.id;
  return !i->k.from.is_name && id->node_len == strlen(i->c->node) &&
         memcmp(id->node, i->c->node, id->node_len) == 0;
}

bool la_inbound_payload(la_in_t *i, bool as_reason, la_imported_t *out,
                        bool *ok) {
  const uint8_t *behind;
  const char *why;
  *ok = true;
  if (i->payload == NULL) {
    *ok = wrong(i, "a message without a payload");
    return false;
  }
  switch (la_import(i->payload, i->end, &i->c->border, as_reason, out, &behind,
                    &why)) {
    case LA_IMPORT_OK:
      return true;
    case LA_IMPORT_MALFORMED:
      *ok = wrong(i, why);
      break;
    default:
      la_log(i->d->host, LUACTOR_LOG_WARN, "node %s: message dropped: %s",
             i->c->node, why);
      break;
  }
  la_imported_free(out);
  return false;
}

/* The pid that sent the message, as a term; false: not told, or of a third node. */
static bool sender_of(const la_in_t *i, la_buf_t *b) {
  const la_wire_id_t *id = &i->k.from.id;
  const bool is_nobody = id->words[0] == 0 && id->words[1] == 0;
  if (id->node == NULL || id->kind != LA_WIRE_PID || !is_from_peer(i) ||
      (is_nobody && i->c->peer.is_luactor)) {
    return false;
  }
  la_wire_id_write(b, id);
  return !b->failed;
}

static la_msg_t *new_message(const la_in_t *i, const la_term_t *t,
                             la_id_t to) {
  uint8_t space[64 + LA_NODE_NAME_MAX]; /* enough: the buffer never grows */
  la_buf_t b = {.data = space, .cap = sizeof space};
  la_msg_t *m = sender_of(i, &b)
                    ? la_msg_new_far(t, to, b.data, b.len)
                    : la_msg_new(t, to, LA_NO_ID);
  if (m != NULL && i->k.priority && i->c->peer.is_luactor) {
    m->sig.flags |= LA_SIG_PRIORITY;
  }
  return m;
}

static bool got_message(la_in_t *i, la_id_t to) {
  la_imported_t in = {0};
  la_term_t t;
  bool ok;
  if (!la_inbound_payload(i, false, &in, &ok)) {
    return ok;
  }
  la_imported_term(&in, &t);
  la_msg_t *m = to != LA_NO_ID ? new_message(i, &t, to) : NULL;
  if (m != NULL) {
    /* The answer of a call that was made from here? */
    const la_id_t tag = la_id_is_call_tag(to) ? to : la_term_first_id(&t);
    if (la_id_is_call_tag(tag)) {
      m->sig.to = tag;
      m->sig.flags |= LA_SIG_NO_LIMIT;
      la_lock(&i->d->lock);
      la_bond_forget_call(i->d, i->c, tag, &i->told, NULL);
      la_unlock(&i->d->lock);
    }
    la_park_send(i->d, i->c->node, m);
  }
  la_imported_free(&in);
  return true;
}

/* The reason of an exit or down: a payload, or in the control message. */
static bool reason_in(la_in_t *i, la_reason_t **out) {
  la_imported_t in = {0};
  la_term_t t;
  bool ok;
  if (i->k.reason != NULL) {
    i->payload = i->k.reason;
    i->end = i->k.reason + i->k.reason_len;
  }
  *out = NULL;
  if (!la_inbound_payload(i, true, &in, &ok)) {
    *out = ok ? la_reason_text("unknown") : NULL;
    return ok;
  }
  la_imported_term(&in, &t);
  *out = la_reason_new(&t);
  la_imported_free(&in);
  if (*out == NULL) {
    *out = la_reason_text("unknown");
  }
  return true;
}

static la_proxy_t *remote(la_in_t *i, const la_wire_id_t *id) {
  return la_proxy_get(i->d, id, i->c->node, NULL);
}

static void got_link(la_in_t *i) {
  const la_pid_t to = la_inbound_ours(i, &i->k.to.id);
  la_proxy_t *x = remote(i, &i->k.from.id);
  if (x == NULL) {
    return;
  }
  x->holds++;
  la_tied_t **at = la_bond_tie_of(x, to);
  la_note_t *n = *at == NULL ? la_note_new(LA_SIG_LINK, to, x->id) : NULL;
  if (n != NULL && to != LA_NO_ID && la_bond_tie(x, to)) {
    n->who = la_proxy_who(x);
    la_told_add(&i->told, &n->sig);
  } else if (n != NULL) {
    la_control_t k = {
        .op = LA_CTL_PAYLOAD_EXIT, .from = i->k.to, .to = i->k.from};
    la_bond_emit(i->c, &k, la_reason_text("noproc"));
    la_sig_free(&n->sig);
  }
  la_proxy_let_go(i->d, x);
}

static void got_unlink(la_in_t *i) {
  const la_pid_t to = la_inbound_ours(i, &i->k.to.id);
  la_proxy_t *x = remote(i, &i->k.from.id);
  if (x != NULL) {
    x->holds++;
    la_tied_t **at = la_bond_tie_of(x, to);
    if (*at != NULL && (*at)->unlinking == 0) {
      la_note_t *n = la_note_new(LA_SIG_UNLINK, to, x->id);
      la_told_add(&i->told, n != NULL ? &n->sig : NULL);
      la_bond_untie(i->d, x, at);
    }
    la_proxy_let_go(i->d, x);
  }
  la_control_t k = {.op = LA_CTL_UNLINK_ID_ACK,
                    .unlink_id = i->k.unlink_id,
                    .from = i->k.to,
                    .to = i->k.from};
  la_bond_emit(i->c, &k, NULL);
}

static void got_unlink_ack(la_in_t *i) {
  const la_pid_t to = la_inbound_ours(i, &i->k.to.id);
  la_proxy_t *x = remote(i, &i->k.from.id);
  if (x != NULL) {
    x->holds++;
    la_tied_t **at = la_bond_tie_of(x, to);
    if (*at != NULL && (*at)->unlinking == i->k.unlink_id) {
      la_bond_untie(i->d, x, at);
    }
    la_proxy_let_go(i->d, x);
  }
}

/* 'reason' is used up. */
static void got_exit(la_in_t *i, la_reason_t *reason) {
  const la_pid_t to = la_inbound_ours(i, &i->k.to.id);
  la_proxy_t *x = to != LA_NO_ID ? remote(i, &i->k.from.id) : NULL;
  const bool by_link = i->k.op == LA_CTL_EXIT || i->k.op == LA_CTL_PAYLOAD_EXIT;
  if (x == NULL) {
    la_reason_unref(reason);
    return;
  }
  x->holds++;
  if (!by_link) {
    la_note_t *n = la_note_new(LA_SIG_EXIT, to, x->id);
    if (n != NULL) {
      n->reason = reason;
      n->who = la_proxy_who(x);
      la_told_add(&i->told, &n->sig);
    } else {
      la_reason_unref(reason);
    }
  } else {
    la_tied_t **at = la_bond_tie_of(x, to);
    const bool active = *at != NULL && (*at)->unlinking == 0;
    la_sig_t *s = active ? la_bond_broken(x, *at, reason) : NULL;
    if (s == NULL) {
      la_reason_unref(reason);
    }
    la_told_add(&i->told, s);
    if (*at != NULL) {
      la_bond_untie(i->d, x, at);
    }
  }
  la_proxy_let_go(i->d, x);
}

static void got_monitor(la_in_t *i) {
  const la_id_t target = i->target;
  la_proxy_t *x = remote(i, &i->k.from.id);
  if (x == NULL) {
    return;
  }
  x->holds++;
  la_note_t *n = target != LA_NO_ID
                     ? la_note_new(LA_SIG_MONITOR, target, x->id)
                     : NULL;
  const la_watch_in_t *w =
      n != NULL ? la_bond_watcher(i->d, x, target, &i->k.to, &i->k.ref) : NULL;
  if (w != NULL) {
    n->ref = w->ref;
    n->who = la_proxy_who(x);
    la_told_add(&i->told, &n->sig);
  } else {
    la_control_t k = {.op = LA_CTL_PAYLOAD_MONITOR_P_EXIT,
                      .from = i->k.to,
                      .to = i->k.from,
                      .ref = i->k.ref};
    la_bond_emit(i->c, &k, la_reason_text("noproc"));
    if (n != NULL) {
      la_sig_free(&n->sig);
    }
  }
  la_proxy_let_go(i->d, x);
}

static void got_demonitor(la_in_t *i) {
  la_proxy_t *x = remote(i, &i->k.from.id);
  la_buf_t ref = {0};
  if (x == NULL) {
    return;
  }
  x->holds++;
  la_wire_id_write(&ref, &i->k.ref);
  for (la_watch_in_t **at = &x->watchers; *at != NULL && !ref.failed;
       at = &(*at)->next) {
    la_watch_in_t *w = *at;
    if (w->control.len - w->who_len == ref.len &&
        memcmp(w->control.data + w->who_len, ref.data, ref.len) == 0) {
      la_note_t *n = la_note_new(LA_SIG_DEMONITOR, w->target, x->id);
      if (n != NULL) {
        n->ref = w->ref;
        la_told_add(&i->told, &n->sig);
      }
      *at = w->next;
      la_bond_watcher_free(w);
      la_proxy_let_go(i->d, x);
      break;
    }
  }
  la_buf_free(&ref);
  la_proxy_let_go(i->d, x);
}

/* 'reason' is used up. */
static void got_down(la_in_t *i, la_reason_t *reason) {
  const la_id_t ref = la_inbound_ours(i, &i->k.ref);
  la_watch_out_t *w =
      ref != LA_NO_ID ? la_map_remove(&i->c->monitors, ref) : NULL;
  if (w == NULL) {
    la_reason_unref(reason);
    return;
  }
  la_proxy_t *x = la_proxy_of(i->d, w->proxy);
  la_call_out_t *call = NULL;
  for (la_map_cell_t *cell = NULL;
       (cell = la_map_next(&i->c->calls, cell)) != NULL;) {
    la_call_out_t *o = cell->value;
    if (o->ref == ref) {
      call = o;
      break;
    }
  }
  if (call != NULL) {
    la_map_remove(&i->c->calls, call->tag);
    la_told_add(&i->told, la_bond_call_end(call, reason));
    la_free(call);
    la_bond_watch_free(w);
  } else {
    la_told_add(&i->told, la_bond_down(w, reason));
  }
  if (x != NULL) {
    la_proxy_let_go(i->d, x);
  }
}

static bool dispatch(la_in_t *i) {
  la_reason_t *reason = NULL;
  switch (i->k.op) {
    case LA_CTL_SEND:
    case LA_CTL_SEND_SENDER:
      return got_message(i, la_inbound_ours(i, &i->k.to.id));
    case LA_CTL_ALIAS_SEND:
      return got_message(i, la_inbound_ours(i, &i->k.to.id));
    case LA_CTL_REG_SEND:
      return got_message(i, named(i, &i->k.to));
    case LA_CTL_GROUP_LEADER:
      return true;
    case LA_CTL_UNLINK:
      return true;
    case LA_CTL_SPAWN_REPLY:
      la_lock(&i->d->lock);
      la_spawn_replied(i);
      la_unlock(&i->d->lock);
      return true;
    case LA_CTL_MONITOR_P_EXIT:
    case LA_CTL_PAYLOAD_MONITOR_P_EXIT:
      if (!reason_in(i, &reason)) {
        return false;
      }
      la_lock(&i->d->lock);
      got_down(i, reason);
      la_unlock(&i->d->lock);
      return true;
    default:
      break;
  }
  if (!is_from_peer(i)) {
    return wrong(i, "a signal in the name of another node's process");
  }
  switch (i->k.op) {
    case LA_CTL_MONITOR_P: /* may log, so not under the lock */
      i->target = i->k.to.is_name ? named(i, &i->k.to)
                                  : la_inbound_ours(i, &i->k.to.id);
      break;
    case LA_CTL_SPAWN_REQUEST:
      return la_spawn_asked(i);
    case LA_CTL_EXIT:
    case LA_CTL_EXIT2:
    case LA_CTL_PAYLOAD_EXIT:
    case LA_CTL_PAYLOAD_EXIT2:
      if (!reason_in(i, &reason)) {
        return false;
      }
      break;
    default:
      break;
  }
  la_lock(&i->d->lock);
  switch (i->k.op) {
    case LA_CTL_LINK:
      got_link(i);
      break;
    case LA_CTL_UNLINK_ID:
      got_unlink(i);
      break;
    case LA_CTL_UNLINK_ID_ACK:
      got_unlink_ack(i);
      break;
    case LA_CTL_MONITOR_P:
      got_monitor(i);
      break;
    case LA_CTL_DEMONITOR_P:
      got_demonitor(i);
      break;
    default:
      got_exit(i, reason);
      break;
  }
  la_unlock(&i->d->lock);
  return true;
}

bool la_inbound_packet(la_conn_t *c, la_packet_t *packet, const char **why) {
  la_in_t i = {.d = c->dist, .c = c};
  la_told_init(&i.told);
  const uint8_t *p = packet->data + packet->at;
  const uint8_t *end = packet->data + packet->size;
  const size_t version = packet->has_versions ? 1 : 0;
  if (version > 0 && (p == end || *p != LA_TERM_VERSION)) {
    *why = "a term without its version";
    return false;
  }
  p = la_control_read(p + version, end, &i.k, why);
  if (p == NULL) {
    return false;
  }
  if (la_control_has_payload(i.k.op)) {
    if ((size_t)(end - p) <= version ||
        (version > 0 && *p != LA_TERM_VERSION)) {
      *why = "a message without a payload";
      return false;
    }
    i.payload = p + version;
    i.end = end;
  }
  const bool ok = dispatch(&i);
  la_told_send(c->dist->host, &i.told);
  *why = i.why;
  return ok;
}

/* Signals of this host as control messages, and the other way round.
 *
 * What is remembered of a proxy: *ties* (links with local processes, active or
 * being unlinked under a number until the peer has acknowledged it), *watchers*
 * (monitors that it has on processes here), and at its connection the monitors
 * and calls that processes here have there. Each counts the proxy. The loss of a
 * connection ends all of them, with "noconnection", exactly once: whoever takes
 * an entry out, under the lock, tells its process. */
#include <stdio.h>
#include <string.h>

#include "base/env.h"
#include "dist/inner.h"
#include "term/tag.h"

#define PROXY_SLOT_MASK LA_ID_SLOT_MASK
#define NOBODY UINT32_MAX

/* ---- proxies (all under the lock) -------------------------------------------------- */

static uint64_t hash_bytes(uint64_t h, const void *bytes, size_t n) {
  const uint8_t *p = bytes;
  for (size_t i = 0; i < n; i++) {
    h = (h ^ p[i]) * UINT64_C(0x100000001b3); /* FNV-1a */
  }
  return h;
}

static uint64_t hash_of(const la_wire_id_t *id, const char *node,
                        const char *name) {
  uint64_t h = UINT64_C(0xcbf29ce484222325);
  h = hash_bytes(h, node, strlen(node));
  if (name != NULL) {
    return hash_bytes(h, name, strlen(name)) | 1;
  }
  h = hash_bytes(h, &id->creation, sizeof id->creation);
  return hash_bytes(h, id->words, 4 * id->nwords) | 1;
}

static bool is_same(const la_proxy_t *x, const la_wire_id_t *id,
                    const char *node, const char *name) {
  if (x->holds == 0 || x->is_name != (name != NULL) ||
      strcmp(x->node, node) != 0) {
    return false;
  }
  return name != NULL ? strcmp(x->name, name) == 0
                      : la_wire_id_equal(&x->wire, id);
}

/* Entries of the table stay where they are only until it grows: do not keep
 * pointers over a call of this. */
static la_proxy_t *find_or_make(la_dist_t *d, const la_wire_id_t *id,
                                const char *node, const char *name) {
  const uint64_t hash = hash_of(id, node, name);
  uint32_t at = (uint32_t)(uintptr_t)la_map_get(&d->by_hash, hash);
  for (uint32_t i = at; i != 0; i = d->proxies[i - 1].next_same) {
    if (is_same(&d->proxies[i - 1], id, node, name)) {
      return &d->proxies[i - 1];
    }
  }
  if (d->free_proxy == 0) {
    const uint32_t cap = d->nproxies == 0 ? 64 : 2 * d->nproxies;
    if (cap > PROXY_SLOT_MASK) {
      return NULL;
    }
    la_proxy_t *all = la_realloc(d->proxies, cap * sizeof *all);
    if (all == NULL) {
      return NULL;
    }
    memset(all + d->nproxies, 0, (cap - d->nproxies) * sizeof *all);
    for (uint32_t i = cap; i > d->nproxies; i--) {
      all[i - 1].next_free = d->free_proxy;
      d->free_proxy = i;
    }
    for (uint32_t i = 0; i < d->nproxies; i++) {
      all[i].wire.node = (const uint8_t *)all[i].node;
    }
    d->proxies = all;
    d->nproxies = cap;
  }
  char *copy = la_alloc(strlen(node) + 1);
  char *name_copy = name != NULL ? la_alloc(strlen(name) + 1) : NULL;
  const uint32_t index = d->free_proxy;
  if (copy == NULL || (name != NULL && name_copy == NULL) ||
      !la_map_put(&d->by_hash, hash, (void *)(uintptr_t)index)) {
    la_free(copy);
    la_free(name_copy);
    return NULL;
  }
  la_proxy_t *x = &d->proxies[index - 1];
  const uint64_t serial = la_id_serial(x->id) + 1;
  d->free_proxy = x->next_free;
  memset(x, 0, sizeof *x);
  x->id = la_id_make(LA_ID_PROXY, serial, index - 1);
  x->node = strcpy(copy, node);
  x->name = name != NULL ? strcpy(name_copy, name) : NULL;
  x->is_name = name != NULL;
  if (name == NULL) {
    x->wire = *id;
    x->wire.node = (const uint8_t *)x->node;
  }
  x->hash = hash;
  x->next_same = at;
  return x;
}

static la_proxy_t *proxy_of(la_dist_t *d, la_id_t id) {
  const uint32_t i = la_id_slot(id);
  return la_id_kind(id) == LA_ID_PROXY && i < d->nproxies &&
                 d->proxies[i].id == id && d->proxies[i].holds > 0
             ? &d->proxies[i]
             : NULL;
}

static void let_go(la_dist_t *d, la_proxy_t *x) {
  if (--x->holds > 0) {
    return;
  }
  if (x->is_pinned) {
    x->holds = 1;
    return;
  }
  const uint32_t index = la_id_slot(x->id) + 1;
  uint32_t first = (uint32_t)(uintptr_t)la_map_get(&d->by_hash, x->hash);
  if (first == index) {
    if (x->next_same != 0) {
      la_map_put(&d->by_hash, x->hash, (void *)(uintptr_t)x->next_same);
    } else {
      la_map_remove(&d->by_hash, x->hash);
    }
  } else {
    while (d->proxies[first - 1].next_same != index) {
      first = d->proxies[first - 1].next_same;
    }
    d->proxies[first - 1].next_same = x->next_same;
  }
  la_free(x->node);
  la_free(x->name);
  x->node = x->name = NULL;
  x->next_free = d->free_proxy;
  d->free_proxy = index;
}

la_id_t la_dist_proxy(la_host_t *host, const la_wire_id_t *id,
                      const char *node, const char *name) {
  la_dist_t *d = host->dist;
  if (d == NULL) {
    return LA_NO_ID;
  }
  char copy[LA_NODE_NAME_MAX + 1];
  if (name == NULL) {
    snprintf(copy, sizeof copy, "%.*s", (int)id->node_len,
             (const char *)id->node);
    node = copy;
  }
  la_lock(&d->lock);
  la_proxy_t *x = find_or_make(d, id, node, name);
  if (x != NULL) {
    x->holds++;
  }
  const la_id_t proxy = x != NULL ? x->id : LA_NO_ID;
  la_unlock(&d->lock);
  return proxy;
}

void la_dist_release(la_host_t *host, la_id_t proxy) {
  la_dist_t *d = host->dist;
  if (d == NULL) {
    return;
  }
  la_lock(&d->lock);
  la_proxy_t *x = proxy_of(d, proxy);
  if (x != NULL) {
    let_go(d, x);
  }
  la_unlock(&d->lock);
}

void la_dist_pin(la_host_t *host, la_id_t proxy) {
  la_dist_t *d = host->dist;
  if (d == NULL) {
    return;
  }
  la_lock(&d->lock);
  la_proxy_t *x = proxy_of(d, proxy);
  if (x != NULL) {
    x->is_pinned = true;
  }
  la_unlock(&d->lock);
}

static void write_text(la_buf_t *b, const char *text) {
  la_buf_u8(b, LA_TAG_BINARY);
  la_buf_u32(b, (uint32_t)strlen(text));
  la_buf_put(b, text, strlen(text));
}

static la_reason_t *who_of(const la_proxy_t *x) {
  la_buf_t b = {0};
  if (x->is_name) {
    la_buf_u8(&b, LA_TAG_LIST);
    la_buf_u32(&b, 2);
    write_text(&b, x->name);
    write_text(&b, x->node);
    la_buf_u8(&b, LA_TAG_EMPTY);
  } else {
    la_wire_id_write(&b, &x->wire);
  }
  const la_term_t t = {.bytes = b.data, .size = b.len};
  la_reason_t *who = b.failed ? NULL : la_reason_new(&t);
  la_buf_free(&b);
  return who;
}

la_reason_t *la_dist_who(la_host_t *host, la_id_t proxy) {
  la_dist_t *d = host->dist;
  la_reason_t *who = NULL;
  if (d != NULL) {
    la_lock(&d->lock);
    const la_proxy_t *x = proxy_of(d, proxy);
    who = x != NULL ? who_of(x) : NULL;
    la_unlock(&d->lock);
  }
  return who;
}

/* ---- writing control messages (under the lock) ------------------------------------------ */

static la_ctl_who_t local_who(const la_dist_t *d, la_pid_t pid) {
  la_ctl_who_t w = {0};
  la_wire_id_of(pid, d->name, d->creation, &w.id);
  return w;
}

static la_ctl_who_t proxy_who(const la_proxy_t *x) {
  la_ctl_who_t w = {0};
  w.is_name = x->is_name;
  if (x->is_name) {
    w.name = (const uint8_t *)x->name;
    w.name_len = (uint32_t)strlen(x->name);
  } else {
    w.id = x->wire;
  }
  return w;
}

static void put_ref(const la_dist_t *d, la_id_t ref, la_wire_id_t *out) {
  la_wire_id_of(ref, d->name, d->creation, out);
}

/* Say it, whatever comes of it: what must not be lost is noticed by the loss of
 * the connection. */
static bool emit(la_conn_t *c, const la_control_t *k, la_reason_t *reason) {
  char why[512];
  if (la_conn_emit(c, k, NULL, reason, why, sizeof why)) {
    return true;
  }
  if (reason == NULL) {
    return false;
  }
  /* The reason cannot travel: then the bare fact does. */
  la_log(c->dist->host, LUACTOR_LOG_WARN, "node %s: reason: %s", c->node, why);
  return la_conn_emit(c, k, NULL, la_reason_text("unknown"), why, sizeof why);
}

/* The connection for a proxy; one is begun when there is none. */
static la_conn_t *conn_of(la_dist_t *d, const la_proxy_t *x) {
  return la_conn_to(d, x->node);
}

/* Only the one that stands or is being set up. */
static la_conn_t *conn_there(la_dist_t *d, const la_proxy_t *x) {
  return la_conn_find(d, x->node);
}

static la_reason_t *noconnection(void) {
  return la_reason_text("noconnection");
}

/* ---- links ------------------------------------------------------------------------------- */

static la_tied_t **tie_of(la_proxy_t *x, la_pid_t local) {
  la_tied_t **at = &x->ties;
  while (*at != NULL && (*at)->local != local) {
    at = &(*at)->next;
  }
  return at;
}

static void untie(la_dist_t *d, la_proxy_t *x, la_tied_t **at) {
  la_tied_t *t = *at;
  *at = t->next;
  la_free(t);
  let_go(d, x);
}

static bool tie(la_proxy_t *x, la_pid_t local) {
  la_tied_t **at = tie_of(x, local);
  if (*at != NULL) {
    (*at)->unlinking = 0;
    return true;
  }
  la_tied_t *t = la_zalloc(sizeof *t);
  if (t == NULL) {
    return false;
  }
  t->local = local;
  t->next = x->ties;
  x->ties = t;
  x->holds++;
  return true;
}

/* An exit signal of a broken link, from the proxy to a process here. */
static la_sig_t *broken(const la_proxy_t *x, la_pid_t local,
                        la_reason_t *reason) {
  la_note_t *n = la_note_new(LA_SIG_EXIT, local, x->id);
  if (n != NULL) {
    n->sig.flags |= LA_SIG_BY_LINK;
    n->reason = reason;
    n->who = who_of(x);
  }
  return n != NULL ? &n->sig : NULL;
}

static void send_link(la_dist_t *d, la_proxy_t *x, la_note_t *n,
                      la_told_t *told) {
  la_conn_t *c = conn_of(d, x);
  la_control_t k = {.op = LA_CTL_LINK,
                    .from = local_who(d, n->sig.from),
                    .to = proxy_who(x)};
  if (c == NULL || x->is_name || !tie(x, n->sig.from) || !emit(c, &k, NULL)) {
    la_tied_t **at = tie_of(x, n->sig.from);
    la_told_add(told, broken(x, n->sig.from, noconnection()));
    if (*at != NULL) {
      untie(d, x, at);
    }
  }
}

static void send_unlink(la_dist_t *d, la_proxy_t *x, la_note_t *n) {
  la_conn_t *c = conn_there(d, x);
  la_tied_t **at = tie_of(x, n->sig.from);
  if (*at == NULL || (*at)->unlinking != 0) {
    return;
  }
  if (c == NULL) {
    untie(d, x, at);
    return;
  }
  (*at)->unlinking = ++c->last_unlink;
  la_control_t k = {.op = LA_CTL_UNLINK_ID,
                    .from = local_who(d, n->sig.from),
                    .to = proxy_who(x),
                    .unlink_id = c->last_unlink};
  emit(c, &k, NULL);
}

static void send_exit(la_dist_t *d, la_proxy_t *x, la_note_t *n) {
  la_conn_t *c;
  la_control_t k = {.from = local_who(d, n->sig.from), .to = proxy_who(x)};
  if (n->sig.flags & LA_SIG_BY_LINK) {
    la_tied_t **at = tie_of(x, n->sig.from);
    c = conn_there(d, x);
    k.op = LA_CTL_PAYLOAD_EXIT;
    if (c != NULL && (*at == NULL || (*at)->unlinking == 0)) {
      emit(c, &k, n->reason);
    }
    if (*at != NULL) {
      untie(d, x, at);
    }
    return;
  }
  c = conn_of(d, x);
  k.op = LA_CTL_PAYLOAD_EXIT2;
  if (c != NULL && n->sig.from != LA_NO_ID && !x->is_name) {
    emit(c, &k, n->reason);
  }
  let_go(d, x);
}

/* ---- monitors ------------------------------------------------------------------------------ */

static la_sig_t *down(la_pid_t local, la_id_t ref, la_reason_t *reason) {
  la_note_t *n = la_note_new(LA_SIG_DOWN, local, LA_NO_ID);
  if (n != NULL) {
    n->ref = ref;
    n->reason = reason;
  }
  return n != NULL ? &n->sig : NULL;
}

static bool watch(la_dist_t *d, la_conn_t *c, la_proxy_t *x, la_pid_t local,
                  la_id_t ref) {
  la_watch_out_t *w = la_zalloc(sizeof *w);
  if (w == NULL || !la_map_put(&c->monitors, ref, w)) {
    la_free(w);
    return false;
  }
  *w = (la_watch_out_t){ref, x->id, local};
  x->holds++;
  la_control_t k = {.op = LA_CTL_MONITOR_P,
                    .from = local_who(d, local),
                    .to = proxy_who(x)};
  put_ref(d, ref, &k.ref);
  return emit(c, &k, NULL);
}

static void unwatch(la_dist_t *d, la_conn_t *c, la_id_t ref) {
  la_watch_out_t *w = la_map_remove(&c->monitors, ref);
  if (w == NULL) {
    return;
  }
  la_proxy_t *x = proxy_of(d, w->proxy);
  if (x != NULL) {
    la_control_t k = {.op = LA_CTL_DEMONITOR_P,
                      .from = local_who(d, w->local),
                      .to = proxy_who(x)};
    put_ref(d, ref, &k.ref);
    emit(c, &k, NULL);
    let_go(d, x);
  }
  la_free(w);
}

static void send_monitor(la_dist_t *d, la_proxy_t *x, la_note_t *n,
                         la_told_t *told) {
  la_conn_t *c = conn_of(d, x);
  if (c == NULL || !watch(d, c, x, n->sig.from, n->ref)) {
    la_told_add(told, down(n->sig.from, n->ref, noconnection()));
  }
  let_go(d, x);
}

static void watcher_free(la_watch_in_t *w) {
  la_buf_free(&w->control);
  la_free(w);
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
                    .to = proxy_who(x)};
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
    emit(c, &k, n->reason);
  }
  watcher_free(w);
  let_go(d, x);
}

/* ---- calls ----------------------------------------------------------------------------------- */

/* The record of a call that will get no answer goes back to its caller. */
static la_sig_t *call_end(la_call_out_t *o, la_reason_t *reason) {
  la_call_t *call = o->call;
  call->note.sig.from = o->proxy;
  call->note.sig.to = call->note.peer;
  call->note.reason = reason;
  return &call->note.sig;
}

static void forget_call(la_dist_t *d, la_conn_t *c, la_id_t tag,
                        la_told_t *told, la_reason_t *reason) {
  la_call_out_t *o = la_map_remove(&c->calls, tag);
  if (o == NULL) {
    return;
  }
  unwatch(d, c, o->ref);
  if (reason != NULL) {
    la_told_add(told, call_end(o, reason));
  } else {
    la_sig_free(&o->call->note.sig);
  }
  la_free(o);
}

/* ---- messages ----------------------------------------------------------------------------------- */

static bool send_message(la_dist_t *d, la_conn_t *c, la_proxy_t *x,
                         la_msg_t *m, char *why, size_t max) {
  const la_pid_t from = m->sig.from;
  la_control_t k = {.op = LA_CTL_SEND_SENDER, .to = proxy_who(x)};
  if (from != LA_NO_ID) {
    k.from = local_who(d, from);
  } else {
    k.from = local_who(d, la_id_counted(LA_ID_PID, 0));
  }
  if (x->is_name) {
    k.op = LA_CTL_REG_SEND;
  } else if (x->wire.kind == LA_WIRE_REF) {
    k.op = LA_CTL_ALIAS_SEND;
  }
  return la_conn_emit(c, &k, m, NULL, why, max);
}

la_sent_t la_dist_send(la_host_t *host, la_msg_t *m) {
  char why[512];
  la_dist_t *d = host->dist;
  la_told_t told;
  la_told_init(&told);
  if (d == NULL) {
    la_signal_refuse(host, &m->sig);
    return LA_SEND_NOPROC;
  }
  la_lock(&d->lock);
  la_proxy_t *x = proxy_of(d, m->sig.to);
  la_conn_t *c = x != NULL ? conn_of(d, x) : NULL;
  la_sent_t result = LA_SENT;
  if (c == NULL) {
    result = LA_SEND_NOPROC;
  } else if (c->out_bytes + c->late_bytes > OUT_HIGH &&
             !(m->sig.flags & LA_SIG_NO_LIMIT)) {
    result = LA_SEND_WAIT; /* the hold stays for the next try */
  } else {
    const la_id_t ref = (m->sig.flags & LA_SIG_IS_CALL) ? la_new_ref(host)
                                                        : LA_NO_ID;
    la_call_out_t *o = NULL;
    if (ref != LA_NO_ID) {
      o = la_zalloc(sizeof *o);
      const la_id_t tag = m->call->note.ref;
      if (o == NULL || !la_map_put(&c->calls, tag, o) ||
          !watch(d, c, x, m->sig.from, ref)) {
        la_map_remove(&c->calls, tag);
        la_free(o);
        o = NULL;
        result = LA_SEND_NOPROC;
      } else {
        *o = (la_call_out_t){tag, ref, x->id, m->call};
      }
    }
    if (result == LA_SENT && !send_message(d, c, x, m, why, sizeof why)) {
      result = LA_SEND_UNFIT;
      if (o != NULL) { /* the record stays with the message */
        la_map_remove(&c->calls, o->tag);
        unwatch(d, c, ref);
        la_free(o);
        o = NULL;
      }
    }
    if (result == LA_SENT && o != NULL) {
      m->sig.flags &= (uint8_t)~LA_SIG_IS_CALL; /* the record is kept here */
    }
    let_go(d, x);
  }
  la_unlock(&d->lock);
  if (result == LA_SENT) {
    la_sig_free(&m->sig);
  } else if (result == LA_SEND_NOPROC) {
    if (m->sig.flags & LA_SIG_IS_CALL) {
      la_call_t *call = m->call;
      m->sig.flags &= (uint8_t)~LA_SIG_IS_CALL;
      call->note.sig.from = m->sig.to;
      call->note.sig.to = call->note.peer;
      call->note.reason = noconnection();
      la_told_add(&told, &call->note.sig);
    }
    la_sig_free(&m->sig);
  }
  la_told_send(host, &told);
  return result;
}

void la_dist_unfit(la_host_t *host, const la_msg_t *m, char *why,
                   size_t max) {
  la_dist_t *d = host->dist;
  const la_peer_t peer = {d->name, d->creation, false, NULL};
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
  if (c == NULL || c->out_bytes + c->late_bytes <= OUT_HIGH) {
    la_told_add(told, &n->sig);
  } else {
    n->sig.next = (la_sig_t *)c->rooms;
    c->rooms = n;
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
  n->reason = noconnection();
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
  la_told_init(&told);
  if (d == NULL) {
    refuse_signal(d, n, &told);
    la_told_send(host, &told);
    return;
  }
  la_lock(&d->lock);
  la_proxy_t *x = proxy_of(d, sig->to);
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
        let_go(d, x);
        break;
      case LA_SIG_UNLINK:
        send_unlink(d, x, n);
        break;
      case LA_SIG_EXIT:
        send_exit(d, x, n);
        break;
      case LA_SIG_MONITOR:
        send_monitor(d, x, n, &told);
        break;
      case LA_SIG_DEMONITOR:
        c = conn_there(d, x);
        if (c != NULL) {
          unwatch(d, c, n->ref);
        }
        break;
      case LA_SIG_DOWN:
        send_down(d, x, n);
        break;
      case LA_SIG_CALL_DONE:
        c = conn_there(d, x);
        if (c != NULL) {
          forget_call(d, c, n->ref, &told, NULL);
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

/* ---- what comes in ---------------------------------------------------------------------------- */

typedef struct la_in {
  la_dist_t *d;
  la_conn_t *c;
  la_control_t k;
  const uint8_t *payload, *end;
  la_told_t told;
  const char *why;
} la_in_t;

/* The process here that is meant; LA_NO_ID: none, or of an earlier life. */
static la_id_t ours(const la_in_t *i, const la_wire_id_t *id) {
  return la_wire_id_is_of(id, i->d->name, i->d->creation)
             ? la_wire_id_local(id)
             : LA_NO_ID;
}

static la_id_t named(const la_in_t *i, const la_ctl_who_t *w) {
  char name[1100];
  snprintf(name, sizeof name, "%.*s", (int)w->name_len,
           (const char *)w->name);
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

/* Let the payload in. False: drop the message (*ok) or the connection. */
static bool let_in(la_in_t *i, bool as_reason, la_imported_t *out, bool *ok) {
  const uint8_t *behind;
  const char *why;
  *ok = true;
  if (i->payload == NULL) {
    *ok = wrong(i, "a message without a payload");
    return false;
  }
  switch (la_import(i->payload, i->end, &i->c->border, as_reason, out,
                    &behind, &why)) {
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

static bool got_message(la_in_t *i, la_id_t to) {
  la_imported_t in = {0};
  la_term_t t;
  bool ok;
  if (!let_in(i, false, &in, &ok)) {
    return ok;
  }
  la_imported_term(&in, &t);
  la_msg_t *m = to != LA_NO_ID ? la_msg_new(&t, to, LA_NO_ID) : NULL;
  if (m != NULL) {
    /* The answer of a call that was made from here? */
    const la_id_t tag = la_id_is_call_tag(to) ? to : la_term_first_id(&t);
    if (la_id_is_call_tag(tag)) {
      m->sig.to = tag;
      la_lock(&i->d->lock);
      forget_call(i->d, i->c, tag, &i->told, NULL);
      la_unlock(&i->d->lock);
    }
    const la_sent_t r = la_send(i->d->host, NULL, m);
    if (r == LA_SEND_WAIT || r == LA_SEND_FULL) {
      la_log(i->d->host, LUACTOR_LOG_WARN,
             "node %s: message dropped: a mailbox is full", i->c->node);
      la_signal_refuse(i->d->host, &m->sig);
    }
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
  if (!let_in(i, true, &in, &ok)) {
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
  return find_or_make(i->d, id, i->c->node, NULL);
}

static void got_link(la_in_t *i) {
  const la_pid_t to = ours(i, &i->k.to.id);
  la_proxy_t *x = remote(i, &i->k.from.id);
  if (x == NULL) {
    return;
  }
  x->holds++;
  la_tied_t **at = tie_of(x, to);
  la_note_t *n = *at == NULL ? la_note_new(LA_SIG_LINK, to, x->id) : NULL;
  if (n != NULL && to != LA_NO_ID && tie(x, to)) {
    n->who = who_of(x);
    la_told_add(&i->told, &n->sig);
  } else if (n != NULL) {
    la_control_t k = {.op = LA_CTL_PAYLOAD_EXIT,
                      .from = i->k.to,
                      .to = i->k.from};
    emit(i->c, &k, la_reason_text("noproc"));
    la_sig_free(&n->sig);
  }
  let_go(i->d, x);
}

static void got_unlink(la_in_t *i) {
  const la_pid_t to = ours(i, &i->k.to.id);
  la_proxy_t *x = remote(i, &i->k.from.id);
  if (x != NULL) {
    x->holds++;
    la_tied_t **at = tie_of(x, to);
    if (*at != NULL && (*at)->unlinking == 0) {
      la_note_t *n = la_note_new(LA_SIG_UNLINK, to, x->id);
      la_told_add(&i->told, n != NULL ? &n->sig : NULL);
      untie(i->d, x, at);
    }
    let_go(i->d, x);
  }
  la_control_t k = {.op = LA_CTL_UNLINK_ID_ACK,
                    .unlink_id = i->k.unlink_id,
                    .from = i->k.to,
                    .to = i->k.from};
  emit(i->c, &k, NULL);
}

static void got_unlink_ack(la_in_t *i) {
  const la_pid_t to = ours(i, &i->k.to.id);
  la_proxy_t *x = remote(i, &i->k.from.id);
  if (x != NULL) {
    x->holds++;
    la_tied_t **at = tie_of(x, to);
    if (*at != NULL && (*at)->unlinking == i->k.unlink_id) {
      untie(i->d, x, at);
    }
    let_go(i->d, x);
  }
}

/* 'reason' is used up. */
static void got_exit(la_in_t *i, la_reason_t *reason) {
  const la_pid_t to = ours(i, &i->k.to.id);
  la_proxy_t *x =
      to != LA_NO_ID ? remote(i, &i->k.from.id) : NULL;
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
      n->who = who_of(x);
      la_told_add(&i->told, &n->sig);
    } else {
      la_reason_unref(reason);
    }
  } else {
    la_tied_t **at = tie_of(x, to);
    const bool active = *at != NULL && (*at)->unlinking == 0;
    la_sig_t *s = active ? broken(x, to, reason) : NULL;
    if (s == NULL) {
      la_reason_unref(reason);
    }
    la_told_add(&i->told, s);
    if (*at != NULL) {
      untie(i->d, x, at);
    }
  }
  let_go(i->d, x);
}

static void got_monitor(la_in_t *i) {
  const la_id_t target = i->k.to.is_name ? named(i, &i->k.to)
                                         : ours(i, &i->k.to.id);
  la_proxy_t *x = remote(i, &i->k.from.id);
  if (x == NULL) {
    return;
  }
  x->holds++;
  la_watch_in_t *w = la_zalloc(sizeof *w);
  la_note_t *n = w != NULL && target != LA_NO_ID
                     ? la_note_new(LA_SIG_MONITOR, target, x->id)
                     : NULL;
  if (n == NULL) {
    la_control_t k = {.op = LA_CTL_PAYLOAD_MONITOR_P_EXIT,
                      .from = i->k.to,
                      .to = i->k.from,
                      .ref = i->k.ref};
    emit(i->c, &k, la_reason_text("noproc"));
    la_free(w);
    let_go(i->d, x);
    return;
  }
  if (i->k.to.is_name) {
    la_wire_atom_write(&w->control, i->k.to.name, i->k.to.name_len);
  } else {
    la_wire_id_write(&w->control, &i->k.to.id);
  }
  w->who_len = w->control.len;
  la_wire_id_write(&w->control, &i->k.ref);
  w->ref = la_new_ref(i->d->host);
  w->target = target;
  w->next = x->watchers;
  x->watchers = w; /* counted: the hold from above */
  n->ref = w->ref;
  n->who = who_of(x);
  la_told_add(&i->told, &n->sig);
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
      watcher_free(w);
      let_go(i->d, x);
      break;
    }
  }
  la_buf_free(&ref);
  let_go(i->d, x);
}

/* 'reason' is used up. */
static void got_down(la_in_t *i, la_reason_t *reason) {
  const la_id_t ref = ours(i, &i->k.ref);
  la_watch_out_t *w =
      ref != LA_NO_ID ? la_map_remove(&i->c->monitors, ref) : NULL;
  if (w == NULL) {
    la_reason_unref(reason);
    return;
  }
  la_proxy_t *x = proxy_of(i->d, w->proxy);
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
    la_told_add(&i->told, call_end(call, reason));
    la_free(call);
  } else {
    la_told_add(&i->told, down(w->local, ref, reason));
  }
  if (x != NULL) {
    let_go(i->d, x);
  }
  la_free(w);
}

/* Spawning for others is refused until a program exports something. */
static void got_spawn(la_in_t *i) {
  la_control_t k = {.op = LA_CTL_SPAWN_REPLY,
                    .ref = i->k.ref,
                    .to = i->k.from};
  k.from.is_name = true;
  k.from.name = (const uint8_t *)"notsup";
  k.from.name_len = 6;
  emit(i->c, &k, NULL);
}

static bool dispatch(la_in_t *i) {
  la_reason_t *reason = NULL;
  switch (i->k.op) {
    case LA_CTL_SEND:
    case LA_CTL_SEND_SENDER:
      return got_message(i, ours(i, &i->k.to.id));
    case LA_CTL_ALIAS_SEND:
      return got_message(i, ours(i, &i->k.to.id));
    case LA_CTL_REG_SEND:
      return got_message(i, named(i, &i->k.to));
    case LA_CTL_GROUP_LEADER:
      return true;
    case LA_CTL_UNLINK:
      return true;
    case LA_CTL_SPAWN_REPLY:
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
    case LA_CTL_SPAWN_REQUEST:
      got_spawn(i);
      break;
    default:
      got_exit(i, reason);
      break;
  }
  la_unlock(&i->d->lock);
  return true;
}

bool la_relay_packet(la_conn_t *c, la_packet_t *packet, const char **why) {
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

/* ---- the end of a connection --------------------------------------------------------------------- */

static void proxy_lost(la_dist_t *d, la_proxy_t *x, la_told_t *told) {
  x->holds++;
  while (x->ties != NULL) {
    if (x->ties->unlinking == 0) {
      la_told_add(told, broken(x, x->ties->local, noconnection()));
    }
    untie(d, x, &x->ties);
  }
  while (x->watchers != NULL) {
    la_watch_in_t *w = x->watchers;
    la_note_t *n = la_note_new(LA_SIG_DEMONITOR, w->target, x->id);
    if (n != NULL) {
      n->ref = w->ref;
      la_told_add(told, &n->sig);
    }
    x->watchers = w->next;
    watcher_free(w);
    let_go(d, x);
  }
  let_go(d, x);
}

void la_relay_lost(la_dist_t *d, la_conn_t *c, la_told_t *told) {
  for (;;) {
    la_map_cell_t *cell = la_map_next(&c->calls, NULL);
    if (cell == NULL) {
      break;
    }
    la_call_out_t *o = cell->value;
    la_watch_out_t *w = la_map_remove(&c->monitors, o->ref);
    la_proxy_t *x = proxy_of(d, o->proxy);
    la_map_remove(&c->calls, o->tag);
    la_told_add(told, call_end(o, noconnection()));
    if (w != NULL && x != NULL) {
      let_go(d, x);
    }
    la_free(w);
    la_free(o);
  }
  for (;;) {
    la_map_cell_t *cell = la_map_next(&c->monitors, NULL);
    if (cell == NULL) {
      break;
    }
    la_watch_out_t *w = cell->value;
    la_proxy_t *x = proxy_of(d, w->proxy);
    la_map_remove(&c->monitors, w->ref);
    la_told_add(told, down(w->local, w->ref, noconnection()));
    if (x != NULL) {
      let_go(d, x);
    }
    la_free(w);
  }
  for (uint32_t i = 0; i < d->nproxies; i++) {
    la_proxy_t *x = &d->proxies[i];
    if (x->holds > 0 && strcmp(x->node, c->node) == 0) {
      proxy_lost(d, x, told);
    }
  }
}

void la_relay_free(la_dist_t *d) {
  for (uint32_t i = 0; i < d->nproxies; i++) {
    la_proxy_t *x = &d->proxies[i];
    if (x->holds > 0) {
      la_free(x->node);
      la_free(x->name);
    }
  }
  la_free(d->proxies);
  la_map_fini(&d->by_hash);
}

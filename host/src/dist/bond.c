/* What is remembered between processes here and there, and its end. Under the
 * lock.
 *
 * Of a proxy: *ties* (links with local processes, active or being unlinked
 * under a number until the peer has acknowledged it) and *watchers* (monitors
 * that it has on processes here). Of a connection: the monitors and calls that
 * processes here have there. Each counts the proxy. The loss of a connection
 * ends all of them, with "noconnection", exactly once: whoever takes an entry
 * out tells its process. */
#include <stdio.h>
#include <string.h>

#include "base/env.h"
#include "dist/inner.h"

/* ---- control messages --------------------------------------------------- */

la_ctl_who_t la_bond_here(const la_dist_t *d, la_pid_t pid) {
  la_ctl_who_t w = {0};
  la_wire_id_of(pid, d->name, d->creation, &w.id);
  return w;
}

la_ctl_who_t la_bond_there(const la_proxy_t *x) {
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

void la_bond_ref(const la_dist_t *d, la_id_t ref, la_wire_id_t *out) {
  la_wire_id_of(ref, d->name, d->creation, out);
}

/* Say it, whatever comes of it: what must not be lost is noticed by the loss of
 * the connection. */
bool la_bond_emit(la_conn_t *c, const la_control_t *k, la_reason_t *reason) {
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

/* ---- links -------------------------------------------------------------- */

la_tied_t **la_bond_tie_of(la_proxy_t *x, la_pid_t local) {
  la_tied_t **at = &x->ties;
  while (*at != NULL && (*at)->local != local) {
    at = &(*at)->next;
  }
  return at;
}

void la_bond_untie(la_dist_t *d, la_proxy_t *x, la_tied_t **at) {
  la_tied_t *t = *at;
  *at = t->next;
  if (t->note != NULL) {
    la_sig_free(&t->note->sig);
  }
  la_free(t);
  la_proxy_let_go(d, x);
}

bool la_bond_tie(la_proxy_t *x, la_pid_t local) {
  la_tied_t **at = la_bond_tie_of(x, local);
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

/* From the proxy to a process here. */
la_sig_t *la_bond_broken(const la_proxy_t *x, la_tied_t *t,
                         la_reason_t *reason) {
  la_note_t *n = t->note != NULL
                     ? t->note
                     : la_note_new(LA_SIG_EXIT, t->local, x->id);
  t->note = NULL;
  if (n == NULL) {
    return NULL;
  }
  n->sig.kind = LA_SIG_EXIT;
  n->sig.to = t->local;
  n->sig.from = x->id;
  n->sig.flags |= LA_SIG_BY_LINK;
  n->reason = reason;
  la_reason_unref(n->who);
  n->who = la_proxy_who(x);
  return &n->sig;
}

/* ---- monitors ----------------------------------------------------------- */

void la_bond_watch_free(la_watch_out_t *w) {
  if (w != NULL && w->note != NULL) {
    la_sig_free(&w->note->sig);
  }
  la_free(w);
}

la_sig_t *la_bond_down(la_watch_out_t *w, la_reason_t *reason) {
  la_note_t *n = w->note != NULL
                     ? w->note
                     : la_note_new(LA_SIG_DOWN, w->local, LA_NO_ID);
  if (n != NULL) {
    n->sig.kind = LA_SIG_DOWN;
    n->sig.to = w->local;
    n->sig.from = LA_NO_ID;
    n->ref = w->ref;
    n->reason = reason;
  } else {
    la_reason_unref(reason);
  }
  la_free(w);
  return n != NULL ? &n->sig : NULL;
}

bool la_bond_watch(la_dist_t *d, la_conn_t *c, la_proxy_t *x, la_pid_t local,
                   la_id_t ref, la_note_t *note) {
  la_watch_out_t *w = la_zalloc(sizeof *w);
  if (w == NULL || !la_map_put(&c->monitors, ref, w)) {
    la_free(w);
    return false;
  }
  *w = (la_watch_out_t){ref, x->id, local, note};
  la_control_t k = {.op = LA_CTL_MONITOR_P,
                    .from = la_bond_here(d, local),
                    .to = la_bond_there(x)};
  la_bond_ref(d, ref, &k.ref);
  if (!la_bond_emit(c, &k, NULL)) {
    la_map_remove(&c->monitors, ref);
    la_free(w);
    return false;
  }
  x->holds++;
  return true;
}

void la_bond_unwatch(la_dist_t *d, la_conn_t *c, la_id_t ref) {
  la_watch_out_t *w = la_map_remove(&c->monitors, ref);
  if (w == NULL) {
    return;
  }
  la_proxy_t *x = la_proxy_of(d, w->proxy);
  if (x != NULL) {
    la_control_t k = {.op = LA_CTL_DEMONITOR_P,
                      .from = la_bond_here(d, w->local),
                      .to = la_bond_there(x)};
    la_bond_ref(d, ref, &k.ref);
    la_bond_emit(c, &k, NULL);
    la_proxy_let_go(d, x);
  }
  la_bond_watch_free(w);
}

la_watch_in_t *la_bond_watcher(la_dist_t *d, la_proxy_t *x, la_pid_t target,
                               const la_ctl_who_t *who,
                               const la_wire_id_t *ref) {
  la_watch_in_t *w = la_zalloc(sizeof *w);
  if (w == NULL) {
    return NULL;
  }
  if (who->is_name) {
    la_wire_atom_write(&w->control, who->name, who->name_len);
  } else {
    la_wire_id_write(&w->control, &who->id);
  }
  w->who_len = w->control.len;
  la_wire_id_write(&w->control, ref);
  if (w->control.failed) {
    la_bond_watcher_free(w);
    return NULL;
  }
  w->ref = la_new_ref(d->host);
  w->target = target;
  w->next = x->watchers;
  x->watchers = w;
  x->holds++;
  return w;
}

void la_bond_watcher_free(la_watch_in_t *w) {
  la_buf_free(&w->control);
  la_free(w);
}

/* ---- calls -------------------------------------------------------------- */

/* The record of a call that will get no answer goes back to its caller. */
la_sig_t *la_bond_call_end(la_call_out_t *o, la_reason_t *reason) {
  la_call_t *call = o->call;
  call->note.sig.from = o->proxy;
  call->note.sig.to = call->note.peer;
  call->note.reason = reason;
  return &call->note.sig;
}

void la_bond_forget_call(la_dist_t *d, la_conn_t *c, la_id_t tag,
                         la_told_t *told, la_reason_t *reason) {
  la_call_out_t *o = la_map_remove(&c->calls, tag);
  if (o == NULL) {
    return;
  }
  /* That the monitor is not needed any more need not be said at once: it goes out
   * with the next packet, such as the next call. */
  c->is_lazy = true;
  la_bond_unwatch(d, c, o->ref);
  c->is_lazy = false;
  if (reason != NULL) {
    la_told_add(told, la_bond_call_end(o, reason));
  } else {
    la_sig_free(&o->call->note.sig);
  }
  la_free(o);
}

/* ---- the end of a connection -------------------------------------------- */

static void proxy_lost(la_dist_t *d, la_proxy_t *x, la_told_t *told) {
  x->holds++;
  while (x->ties != NULL) {
    if (x->ties->unlinking == 0) {
      la_told_add(told, la_bond_broken(x, x->ties, la_noconnection()));
    }
    la_bond_untie(d, x, &x->ties);
  }
  while (x->watchers != NULL) {
    la_watch_in_t *w = x->watchers;
    la_note_t *n = la_note_new(LA_SIG_DEMONITOR, w->target, x->id);
    if (n != NULL) {
      n->ref = w->ref;
      la_told_add(told, &n->sig);
    }
    x->watchers = w->next;
    la_bond_watcher_free(w);
    la_proxy_let_go(d, x);
  }
  la_proxy_let_go(d, x);
}

void la_bond_lost(la_dist_t *d, la_conn_t *c, la_told_t *told) {
  la_spawn_lost(c, told);
  for (;;) {
    la_map_cell_t *cell = la_map_next(&c->calls, NULL);
    if (cell == NULL) {
      break;
    }
    la_call_out_t *o = cell->value;
    la_watch_out_t *w = la_map_remove(&c->monitors, o->ref);
    la_proxy_t *x = la_proxy_of(d, o->proxy);
    la_map_remove(&c->calls, o->tag);
    la_told_add(told, la_bond_call_end(o, la_noconnection()));
    if (w != NULL && x != NULL) {
      la_proxy_let_go(d, x);
    }
    la_bond_watch_free(w);
    la_free(o);
  }
  for (;;) {
    la_map_cell_t *cell = la_map_next(&c->monitors, NULL);
    if (cell == NULL) {
      break;
    }
    la_watch_out_t *w = cell->value;
    la_proxy_t *x = la_proxy_of(d, w->proxy);
    la_map_remove(&c->monitors, w->ref);
    la_told_add(told, la_bond_down(w, la_noconnection()));
    if (x != NULL) {
      la_proxy_let_go(d, x);
    }
  }
  for (uint32_t i = 0; i < d->nproxies; i++) {
    la_proxy_t *x = &d->proxies[i];
    if (x->holds > 0 && strcmp(x->node, c->node) == 0) {
      proxy_lost(d, x, told);
    }
  }
}

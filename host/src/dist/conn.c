/* Connections to other nodes: the table of them, what waits for one to stand,
 * and the end. Under the lock, but for what says otherwise.
 *
 * A connection is on record, in the table, from the moment somebody needs it
 * until it is lost; the next need makes a new one. It is counted by the table,
 * by the link that serves it and by the jobs of the loop that have it in hand,
 * so that none of them finds it gone. The end of a link is the end of its
 * connection, once: whoever was tied over it hears "noconnection". */
#include <stdio.h>
#include <string.h>

#include "base/env.h"
#include "dist/inner.h"

void la_told_send(la_host_t *host, la_told_t *t) {
  for (la_sig_t *s = t->first, *next; s != NULL; s = next) {
    next = s->next;
    s->next = NULL;
    la_signal(host, s);
  }
  la_told_init(t);
}

/* Tell who waits (a RESUME note) what came of it. */
void la_conn_answer(la_told_t *told, la_note_t *n, const char *why) {
  if (n == NULL) {
    return;
  }
  if (why != NULL) {
    n->name = la_alloc(strlen(why) + 1);
    if (n->name != NULL) {
      strcpy(n->name, why);
    }
  }
  n->reason = why != NULL ? la_reason_text("noconnection") : NULL;
  la_told_add(told, &n->sig);
}

/* ---- the table ---------------------------------------------------------- */

la_conn_t *la_conn_find(la_dist_t *d, const char *node) {
  la_conn_t *c = d->conns;
  while (c != NULL && strcmp(c->node, node) != 0) {
    c = c->next;
  }
  return c;
}

static void late_free(la_late_t *l) {
  la_buf_free(&l->control);
  if (l->msg != NULL) {
    la_sig_free(&l->msg->sig);
  }
  la_reason_unref(l->reason);
  la_free(l);
}

void la_conn_unref(la_conn_t *c) {
  if (--c->refs > 0) {
    return;
  }
  while (c->late != NULL) {
    la_late_t *l = c->late;
    c->late = l->next;
    late_free(l);
  }
  la_outq_fini(&c->outq);
  la_map_fini(&c->monitors);
  la_map_fini(&c->calls);
  la_map_fini(&c->spawns);
  la_free(c);
}

static void conn_job(la_job_t *job);

/* See to it that the loop looks at the connection. */
void la_conn_poke(la_conn_t *c) {
  if (!c->flushing && !c->dist->leaving) {
    c->flushing = true;
    c->refs++;
    la_loop_post(c->dist->loop, &c->flush);
  }
}

la_conn_t *la_conn_new(la_dist_t *d, const char *node) {
  la_conn_t *c = la_zalloc(sizeof *c);
  if (c == NULL) {
    return NULL;
  }
  c->dist = d;
  c->refs = 1;
  snprintf(c->node, sizeof c->node, "%s", node);
  c->late_end = &c->late;
  c->rooms_end = &c->rooms;
  la_outq_init(&c->outq);
  c->flush.run = conn_job;
  c->next = d->conns;
  d->conns = c;
  return c;
}

la_conn_t *la_conn_to(la_dist_t *d, const char *node) {
  if (d->leaving) {
    return NULL;
  }
  la_conn_t *c = la_conn_find(d, node);
  if (c == NULL) {
    c = la_conn_new(d, node);
    if (c != NULL) {
      la_conn_poke(c);
    }
  }
  return c;
}

/* The connection is no more. 'why' goes to who waited for it. */
void la_conn_down(la_conn_t *c, const char *why, la_told_t *told) {
  la_dist_t *d = c->dist;
  const bool was_up = c->state == CONN_UP;
  if (c->state == CONN_DOWN) {
    return;
  }
  c->state = CONN_DOWN;
  la_conn_t **at = &d->conns;
  while (*at != c) {
    at = &(*at)->next;
  }
  *at = c->next;
  la_bond_lost(d, c, told);
  while (c->waiters != NULL) {
    la_note_t *n = c->waiters;
    c->waiters = (la_note_t *)n->sig.next;
    la_conn_answer(told, n, why);
  }
  while (c->rooms != NULL) {
    la_note_t *n = c->rooms;
    c->rooms = (la_note_t *)n->sig.next;
    la_told_add(told, &n->sig);
  }
  if (was_up) {
    la_conn_tell(d, c->node, "nodedown", told);
  }
  la_conn_unref(c);
}

void la_conn_fail(la_conn_t *c, const char *why) {
  la_dist_t *d = c->dist;
  la_told_t told;
  la_told_init(&told);
  la_lock(&d->lock);
  if (c->link == NULL && c->state == CONN_SETUP) {
    la_conn_down(c, why, &told);
  }
  la_unlock(&d->lock);
  la_told_send(d->host, &told);
}

/* ---- what waits for it to stand ----------------------------------------- */

static bool no_memory(char *why, size_t max) {
  snprintf(why, max, "not enough memory");
  return false;
}

/* Whose signal it is, for the order. */
static la_id_t sender_of(const la_control_t *k) {
  return k->by != LA_NO_ID || k->from.is_name ? k->by
                                              : la_wire_id_local(&k->from.id);
}

/* Let those go on for whom there is room now, oldest first. */
static void admit(la_conn_t *c, la_told_t *told) {
  size_t granted = 0;
  for (la_note_t **at = &c->rooms, *n; (n = *at) != NULL;) {
    const size_t size = n->sig.tag;
    if (!la_outq_has_room(&c->outq, n->sig.to, size, granted)) {
      at = (la_note_t **)(void *)&n->sig.next;
      continue;
    }
    granted += size;
    *at = (la_note_t *)n->sig.next;
    if (*at == NULL) {
      c->rooms_end = at;
    }
    la_told_add(told, &n->sig);
  }
}

/* Who is to write it? On behalf of a process its own thread, when the process waits or
 * its slice ends: most that send then wait for an answer, and what one sends in a row
 * leaves at once. Of much, or when nobody knows who will, the loop. */
static void hurry(la_conn_t *c) {
  if (c->flushing || c->is_lazy) {
    return;
  }
  if (c->outq.bytes > SLICE_BYTES || c->outq.lanes != NULL ||
      !la_sched_owe(c->dist->host)) {
    la_conn_poke(c);
  } else if (!c->owed) {
    c->owed = true;
    c->refs++;
    c->next_owed = c->dist->owed;
    c->dist->owed = c;
  }
}

bool la_conn_add(la_conn_t *c, la_id_t by, la_exported_t *x) {
  const bool ok = la_outq_add(&c->outq, by, x);
  hurry(c);
  return ok;
}

/* Write what is there, or have it written. Lets go of the lock meanwhile. */
static void write_here(la_conn_t *c, la_told_t *told) {
  la_dist_t *d = c->dist;
  if (c->state != CONN_UP || c->link == NULL || c->flushing ||
      la_outq_is_empty(&c->outq)) {
    return;
  }
  la_link_t *k = c->link;
  if (k->door == NULL || !la_door_claim(k->door)) {
    la_conn_poke(c);
    return;
  }
  la_door_t *door = la_door_ref(k->door);
  la_out_t *list = la_outq_take(&c->outq, WINDOW);
  la_unlock(&d->lock);
  bool left;
  const size_t n = la_door_write(door, list, &left);
  la_door_unref(door);
  la_lock(&d->lock);
  if (c->link == k) {
    atomic_fetch_add_explicit(&k->wrote, n, memory_order_relaxed);
  }
  la_outq_wrote(&c->outq, n);
  admit(c, told);
  if (left || !la_outq_is_empty(&c->outq)) {
    la_conn_poke(c);
  }
}

void la_conn_forget_owed(la_dist_t *d) {
  while (d->owed != NULL) {
    la_conn_t *c = d->owed;
    d->owed = c->next_owed;
    la_conn_unref(c);
  }
}

void la_conn_pay(la_host_t *host, bool by_tick) {
  la_dist_t *d = host->dist;
  la_told_t told;
  if (d == NULL) {
    return;
  }
  la_told_init(&told);
  la_lock(&d->lock);
  while (d->owed != NULL) {
    la_conn_t *c = d->owed;
    d->owed = c->next_owed;
    c->owed = false;
    if (by_tick && c->state == CONN_UP) {
      la_conn_poke(c);
    } else if (!by_tick) {
      write_here(c, &told);
    }
    la_conn_unref(c);
  }
  la_unlock(&d->lock);
  la_told_send(host, &told);
}

bool la_conn_packet(la_conn_t *c, la_id_t by, const la_buf_t *control,
                    const la_term_t *payload, la_export_t as, char *why,
                    size_t max) {
  la_exported_t x;
  if (!la_outq_make(&c->border, c->outq.fragments, control, payload, as, &x,
                    why, max)) {
    return false;
  }
  return la_conn_add(c, by, &x) || no_memory(why, max);
}

/* The payload is a message, a reason, or none. */
static bool add_packet(la_conn_t *c, la_id_t by, const la_buf_t *control,
                       const la_msg_t *m, const la_reason_t *reason, char *why,
                       size_t max) {
  la_term_t t = {0};
  if (m != NULL) {
    la_msg_term(m, &t);
  } else if (reason != NULL) {
    t = reason->term;
  }
  return la_conn_packet(c, by, control, t.bytes != NULL ? &t : NULL,
                        m != NULL ? LA_EXPORT_MESSAGE : LA_EXPORT_REASON, why,
                        max);
}

bool la_conn_emit(la_conn_t *c, const la_control_t *control, const la_msg_t *m,
                  la_reason_t *reason, char *why, size_t max) {
  la_buf_t b = {0};
  la_control_write(&b, control);
  if (b.failed) {
    la_buf_free(&b);
    return no_memory(why, max);
  }
  const la_id_t by = sender_of(control);
  if (c->state == CONN_UP) {
    const bool ok = add_packet(c, by, &b, m, reason, why, max);
    la_buf_free(&b);
    return ok;
  }
  la_late_t *l = la_zalloc(sizeof *l);
  la_msg_t *copy = m != NULL && l != NULL ? la_msg_copy(m) : NULL;
  if (l == NULL || (m != NULL && copy == NULL)) {
    la_free(l);
    la_buf_free(&b);
    return no_memory(why, max);
  }
  l->by = by;
  l->control = b;
  l->msg = copy;
  l->reason = reason != NULL ? la_reason_ref(reason) : NULL;
  c->late_bytes += b.len + (m != NULL ? la_msg_bytes(m) : 0);
  *c->late_end = l;
  c->late_end = &l->next;
  return true;
}

/* What cannot be said there is lost, which nobody can be told any more. */
void la_conn_late(la_conn_t *c) {
  while (c->late != NULL) {
    la_late_t *l = c->late;
    char why[512];
    c->late = l->next;
    if (!add_packet(c, l->by, &l->control, l->msg, l->reason, why,
                    sizeof why)) {
      la_log(c->dist->host, LUACTOR_LOG_WARN, "node %s: %s", c->node, why);
    }
    late_free(l);
  }
  c->late_end = &c->late;
  c->late_bytes = 0;
}

/* ---- who waits ------------------------------------------------------------ */

bool la_conn_is_full(const la_conn_t *c, la_id_t by, size_t size) {
  return c->state == CONN_UP ? la_outq_is_full(&c->outq, by, size)
                             : c->late_bytes > LA_OUTQ_HIGH;
}

/* ---- the loop looks at it ----------------------------------------------- */

void la_conn_flush(la_conn_t *c, size_t wrote) {
  la_dist_t *d = c->dist;
  la_told_t told;
  la_out_t *list = NULL;
  la_stream_t *stream = NULL;
  bool is_over = false;
  la_told_init(&told);
  la_lock(&d->lock);
  if (c->state == CONN_UP && c->link != NULL) {
    stream = c->link->stream;
    la_outq_wrote(&c->outq, wrote);
    const size_t pending = la_stream_pending(stream);
    if (pending < WINDOW) {
      list = la_outq_take(&c->outq, WINDOW - pending);
    }
    if (list != NULL) {
      la_door_hold(c->link->door);
    }
    is_over = la_outq_is_over(&c->outq);
    admit(c, &told);
  }
  la_unlock(&d->lock);
  if (stream != NULL) {
    la_stream_write(stream, list); /* none: what the door has left */
  }
  if (is_over) {
    la_stream_fail(stream, "it reads too slowly: too much is waiting for it");
  }
  la_told_send(d->host, &told);
}

/* To begin it, or to write. */
static void conn_job(la_job_t *job) {
  la_conn_t *c =
      (la_conn_t *)(void *)((char *)job - offsetof(la_conn_t, flush));
  la_dist_t *d = c->dist;
  la_lock(&d->lock);
  c->flushing = false;
  if (c->state == CONN_SETUP && c->link == NULL && !c->nok) {
    la_mapper_begin(c);
  }
  la_unlock(&d->lock);
  la_conn_flush(c, 0);
  la_lock(&d->lock);
  la_conn_unref(c);
  la_unlock(&d->lock);
}

/* Nodes and their connections: setting up, writing, reading, the end. See
 * inner.h for who owns what.
 *
 * Who connects to whom. A connection is on record (la_conn_t, in the table) before the first
 * byte leaves, since the rules for two attempts at once need it there. An
 * attempt is a link; a connection outlives a failed attempt of ours only when the
 * peer said that its own wins (nok): then it waits for that one. An accepted link
 * belongs to no connection until the peer has said its name:
 *
 *   there is none             a new one, with this link
 *   one being set up by us    the greater name's attempt wins: nok, or the new
 *                             link takes the place of ours
 *   one that stands           "alive"; if the peer insists, and proves itself,
 *                             the old one ends first
 *
 * The end of a link is the end of its connection, once: whoever was tied over it
 * hears "noconnection". The next need makes a new one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/env.h"
#include "dist/inner.h"
#include "sched/sched.h"

#define TICK_TURNS 15 /* seconds: a quarter of OTP's net_ticktime */
#define OPENING_MAX 64

static void conn_unref(la_conn_t *c);

void la_told_send(la_host_t *host, la_told_t *t) {
  for (la_sig_t *s = t->first, *next; s != NULL; s = next) {
    next = s->next;
    s->next = NULL;
    la_signal(host, s);
  }
  la_told_init(t);
}

/* Tell who waits (a RESUME note) what came of it. */
static void answer(la_told_t *told, la_note_t *n, const char *why) {
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

/* ---- { "nodeup", name } and { "nodedown", name } ----------------------------------- */

static void tell_watchers(la_dist_t *d, const char *node, const char *event,
                          la_told_t *told) {
  for (la_nodewatch_t *w = d->watches; w != NULL; w = w->next) {
    if (strcmp(w->node, node) != 0) {
      continue;
    }
    uint8_t bytes[5 + 5 + 8 + 5 + LA_NODE_NAME_MAX + 1];
    const size_t n1 = strlen(event), n2 = strlen(node);
    uint8_t *p = bytes;
    *p = 108;
    la_put32(p + 1, 2);
    p += 5;
    *p = 109;
    la_put32(p + 1, (uint32_t)n1);
    memcpy(p + 5, event, n1);
    p += 5 + n1;
    *p = 109;
    la_put32(p + 1, (uint32_t)n2);
    memcpy(p + 5, node, n2);
    p += 5 + n2;
    *p++ = 106;
    const la_term_t t = {.bytes = bytes, .size = (size_t)(p - bytes)};
    la_msg_t *m = la_msg_new(&t, w->pid, LA_NO_ID);
    la_told_add(told, m != NULL ? &m->sig : NULL);
  }
}

/* ---- the table ------------------------------------------------------------------------ */

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

static void release_list(la_out_t *list) {
  while (list != NULL) {
    la_out_t *next = list->next;
    list->release(list);
    list = next;
  }
}

static void conn_unref(la_conn_t *c) {
  if (--c->refs > 0) {
    return;
  }
  while (c->late != NULL) {
    la_late_t *l = c->late;
    c->late = l->next;
    late_free(l);
  }
  release_list(c->list);
  la_buf_free(&c->out);
  la_map_fini(&c->monitors);
  la_map_fini(&c->calls);
  la_free(c);
}

static void conn_job(la_job_t *job);

/* See to it that the loop looks at the connection. */
static void poke(la_conn_t *c) {
  if (!c->flushing) {
    c->flushing = true;
    c->refs++;
    la_loop_post(c->dist->loop, &c->flush);
  }
}

static la_conn_t *conn_new(la_dist_t *d, const char *node) {
  la_conn_t *c = la_zalloc(sizeof *c);
  if (c == NULL) {
    return NULL;
  }
  c->dist = d;
  c->refs = 1;
  snprintf(c->node, sizeof c->node, "%s", node);
  c->late_end = &c->late;
  c->list_end = &c->list;
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
    c = conn_new(d, node);
    if (c != NULL) {
      poke(c);
    }
  }
  return c;
}

/* The connection is no more. 'why' goes to who waited for it. */
static void conn_down(la_conn_t *c, const char *why, la_told_t *told) {
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
  la_relay_lost(d, c, told);
  while (c->waiters != NULL) {
    la_note_t *n = c->waiters;
    c->waiters = (la_note_t *)n->sig.next;
    answer(told, n, why);
  }
  while (c->rooms != NULL) {
    la_note_t *n = c->rooms;
    c->rooms = (la_note_t *)n->sig.next;
    la_told_add(told, &n->sig);
  }
  if (was_up) {
    tell_watchers(d, c->node, "nodedown", told);
  }
  conn_unref(c);
}

/* ---- writing ------------------------------------------------------------------------------ */

static void outgoing_release(la_out_t *out) {
  la_outgoing_t *o = (la_outgoing_t *)out;
  la_outgoing_t *whole = o->whole;
  if (whole != o) {
    la_free(o);
  }
  if (--whole->refs == 0) {
    la_exported_free(&whole->x);
    la_free(whole);
  }
}

/* Chunks that are not queued yet. */
typedef struct parts {
  la_out_t *first, **last;
} parts_t;

/* Bytes from 'data' on, part of 'whole'. */
static bool add_part(parts_t *p, la_outgoing_t *whole, bool is_first,
                     const uint8_t *data, size_t n) {
  la_outgoing_t *o = is_first ? whole : la_zalloc(sizeof *o);
  if (o == NULL) {
    return false;
  }
  o->whole = whole;
  o->out = (la_out_t){NULL, data, n, outgoing_release};
  whole->refs++;
  *p->last = &o->out;
  p->last = &o->out.next;
  return true;
}

static void queue(la_conn_t *c, const parts_t *p) {
  *c->list_end = p->first;
  c->list_end = p->last;
}

/* What was written into c->out becomes a chunk of its own. */
static bool seal(la_conn_t *c) {
  if (c->out.len == 0) {
    return true;
  }
  la_outgoing_t *o = la_zalloc(sizeof *o);
  if (o == NULL) {
    return false;
  }
  o->x.bytes = c->out;
  memset(&c->out, 0, sizeof c->out);
  parts_t p = {NULL, &p.first};
  add_part(&p, o, true, o->x.bytes.data, o->x.bytes.len);
  queue(c, &p);
  return true;
}

/* A packet whose payload has blobs in it: head, control and payload are in x->bytes, the
 * blobs between. Takes 'x' over. All of it is queued, or nothing: half a packet would
 * cut the stream. */
static bool add_large(la_conn_t *c, la_exported_t *x) {
  la_outgoing_t *o = la_zalloc(sizeof *o);
  if (o == NULL || !seal(c)) {
    la_free(o);
    la_exported_free(x);
    return false;
  }
  o->x = *x;
  parts_t p = {NULL, &p.first};
  size_t at = 0;
  bool ok = true;
  for (uint32_t i = 0; i < x->nholes && ok; i++) {
    const la_hole_t *h = &o->x.holes[i];
    ok = add_part(&p, o, at == 0, o->x.bytes.data + at, h->at - at) &&
         add_part(&p, o, false, h->blob->bytes, h->blob->size);
    at = h->at;
  }
  if (ok && at < o->x.bytes.len) {
    ok = add_part(&p, o, false, o->x.bytes.data + at, o->x.bytes.len - at);
  }
  if (ok) {
    queue(c, &p);
  } else {
    release_list(p.first);
  }
  return ok;
}

static bool no_memory(char *why, size_t max) {
  snprintf(why, max, "not enough memory");
  return false;
}

/* Write a packet of the control message (no version byte) and the payload. */
static bool write_packet(la_conn_t *c, const la_buf_t *control,
                         const la_term_t *payload, la_export_t as, char *why,
                         size_t max) {
  const bool fragments = (c->peer.flags & LA_DF_FRAGMENTS) != 0;
  la_exported_t x = {0};
  /* The head's length is known at the end: 4 bytes of it and the form. */
  la_frame_head(&x.bytes, fragments, 0);
  if (!fragments) {
    la_buf_u8(&x.bytes, 131);
  }
  la_buf_put(&x.bytes, control->data, control->len);
  if (payload != NULL) {
    if (!fragments) {
      la_buf_u8(&x.bytes, 131);
    }
    if (!la_export(payload, &c->border, as, "message", &x, why, max)) {
      la_exported_free(&x);
      return false;
    }
  }
  const size_t size = la_exported_size(&x);
  if (x.bytes.failed || size > LA_PACKET_LIMIT) {
    la_exported_free(&x);
    return x.bytes.failed ? no_memory(why, max)
                          : (snprintf(why, max, "larger than 1 GiB"), false);
  }
  la_put32(x.bytes.data, (uint32_t)(size - 4));
  bool ok;
  if (x.nholes == 0) {
    la_buf_put(&c->out, x.bytes.data, x.bytes.len);
    ok = !c->out.failed;
    la_exported_free(&x);
  } else {
    ok = add_large(c, &x);
  }
  if (!ok) {
    return no_memory(why, max);
  }
  c->out_bytes += size;
  poke(c);
  return true;
}

bool la_conn_emit(la_conn_t *c, const la_control_t *control,
                  const la_msg_t *m, la_reason_t *reason, char *why,
                  size_t max) {
  la_buf_t b = {0};
  la_control_write(&b, control);
  if (b.failed) {
    la_buf_free(&b);
    return no_memory(why, max);
  }
  if (c->state == CONN_UP) {
    la_term_t t;
    if (m != NULL) {
      la_msg_term(m, &t);
    } else if (reason != NULL) {
      t = reason->term;
    }
    const bool ok = write_packet(
        c, &b, m != NULL || reason != NULL ? &t : NULL,
        m != NULL ? LA_EXPORT_MESSAGE : LA_EXPORT_REASON, why, max);
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
  l->control = b;
  l->msg = copy;
  l->reason = reason != NULL ? la_reason_ref(reason) : NULL;
  c->late_bytes += b.len + (m != NULL ? la_msg_bytes(m) : 0);
  *c->late_end = l;
  c->late_end = &l->next;
  return true;
}

/* It stands: write what has waited. What cannot be said there is lost, which
 * nobody can be told any more. */
static void write_late(la_conn_t *c) {
  while (c->late != NULL) {
    la_late_t *l = c->late;
    char why[512];
    la_term_t t = {0};
    c->late = l->next;
    if (l->msg != NULL) {
      la_msg_term(l->msg, &t);
    } else if (l->reason != NULL) {
      t = l->reason->term;
    }
    if (!write_packet(c, &l->control, t.bytes != NULL ? &t : NULL,
                      l->msg != NULL ? LA_EXPORT_MESSAGE : LA_EXPORT_REASON,
                      why, sizeof why)) {
      la_log(c->dist->host, LUACTOR_LOG_WARN, "node %s: %s", c->node, why);
    }
    late_free(l);
  }
  c->late_end = &c->late;
  c->late_bytes = 0;
}

/* ---- links -------------------------------------------------------------------------------- */

static void link_connect(la_conn_t *c);

/* The loop looks at a connection: to begin it, or to write. */
static void conn_job(la_job_t *job) {
  la_conn_t *c = (la_conn_t *)(void *)((char *)job - offsetof(la_conn_t, flush));
  la_dist_t *d = c->dist;
  la_lock(&d->lock);
  c->flushing = false;
  if (c->state == CONN_SETUP && c->link == NULL && !c->nok) {
    link_connect(c);
  }
  la_out_t *list = NULL;
  la_stream_t *stream = NULL;
  if (c->state == CONN_UP && c->link != NULL && seal(c)) {
    list = c->list;
    stream = c->link->stream;
    c->list = NULL;
    c->list_end = &c->list;
  }
  la_unlock(&d->lock);
  if (list != NULL) {
    la_stream_write(stream, list);
  }
  la_lock(&d->lock);
  conn_unref(c);
  la_unlock(&d->lock);
}

static void refuse(la_link_t *k, const char *why) {
  char at[64] = "";
  if (k->accepted && k->stream != NULL) {
    la_stream_peer(k->stream, at, sizeof at);
  }
  if (!k->refused) {
    k->refused = true;
    la_log(k->dist->host, LUACTOR_LOG_WARN, "node: connection %s %s refused: %s",
           k->accepted ? "from" : "to", k->accepted ? at : k->peer, why);
  }
}

static void link_lost(la_link_t *k, const char *why) {
  la_dist_t *d = k->dist;
  la_told_t told;
  la_told_init(&told);
  la_lock(&d->lock);
  la_conn_t *c = k->conn;
  k->conn = NULL;
  bool was_up = false;
  if (c != NULL) {
    if (c->link == k) {
      c->link = NULL;
      was_up = c->state == CONN_UP;
      if (!(c->state == CONN_SETUP && c->nok)) {
        conn_down(c, why, &told);
      }
    }
    conn_unref(c);
  }
  la_unlock(&d->lock);
  la_told_send(d->host, &told);
  if (was_up && strcmp(why, "disconnected") != 0) {
    la_log(d->host, LUACTOR_LOG_INFO, "node %s: connection lost: %s", k->peer,
           why);
  }
}

static void link_closed(void *ud, const char *why) {
  la_link_t *k = ud;
  la_dist_t *d = k->dist;
  la_link_t **at = &d->links;
  while (*at != k) {
    at = &(*at)->next_link;
  }
  *at = k->next_link;
  la_loop_timer_stop(&k->timer);
  if (k->accepted && k->hs != NULL) {
    d->nopening--;
  }
  link_lost(k, why != NULL ? why : "closed");
  la_hs_free(k->hs);
  la_frames_free(k->frames);
  la_buf_free(&k->in);
  la_free(k);
}

static uint8_t *link_space(void *ud, size_t *n) {
  la_link_t *k = ud;
  if (k->frames != NULL) {
    return la_frames_space(k->frames, n);
  }
  k->in.len = 0;
  uint8_t *to = la_buf_add(&k->in, LA_HANDSHAKE_MESSAGE_MAX);
  *n = LA_HANDSHAKE_MESSAGE_MAX;
  return to;
}

static bool frame_message(void *ud, la_packet_t *packet) {
  la_link_t *k = ud;
  const char *why = NULL;
  la_conn_t *c = k->conn; /* set once, by this thread */
  const bool ok = c == NULL || la_relay_packet(c, packet, &why);
  la_free(packet->data);
  if (!ok) {
    la_log(k->dist->host, LUACTOR_LOG_WARN, "node %s: %s: connection closed",
           k->peer, why);
    la_stream_fail(k->stream, why);
  }
  return ok;
}

static void frame_dropped(void *ud, const char *why) {
  const la_link_t *k = ud;
  la_log(k->dist->host, LUACTOR_LOG_WARN, "node %s: message dropped: %s",
         k->peer, why);
}

/* The handshake is through. */
static bool stands(la_link_t *k) {
  la_dist_t *d = k->dist;
  const la_hs_peer_t *peer = la_hs_peer(k->hs);
  const la_frames_hooks_t hooks = {k, frame_message, frame_dropped};
  k->frames =
      la_frames_new((peer->flags & LA_DF_FRAGMENTS) != 0, &hooks);
  if (k->frames == NULL) {
    return false;
  }
  la_told_t told;
  la_told_init(&told);
  la_lock(&d->lock);
  la_conn_t *c = k->conn;
  if (c == NULL || c->link != k || c->state != CONN_SETUP) {
    la_unlock(&d->lock);
    return false;
  }
  c->peer = *peer;
  c->state = CONN_UP;
  c->border = (la_peer_t){d->name, d->creation, peer->is_luactor,
                          &d->host->blobs};
  write_late(c);
  while (c->waiters != NULL) {
    la_note_t *n = c->waiters;
    c->waiters = (la_note_t *)n->sig.next;
    answer(&told, n, NULL);
  }
  tell_watchers(d, c->node, "nodeup", &told);
  poke(c);
  la_unlock(&d->lock);
  la_told_send(d->host, &told);
  if (k->accepted) {
    d->nopening--;
  }
  la_loop_timer_stop(&k->timer);
  la_hs_free(k->hs);
  k->hs = NULL;
  return true;
}

/* Write the handshake's answers. */
static void say(la_link_t *k, la_buf_t *b) {
  if (b->len == 0) {
    la_buf_free(b);
    return;
  }
  la_outgoing_t *o = la_zalloc(sizeof *o);
  if (o == NULL) {
    la_buf_free(b);
    la_stream_fail(k->stream, "not enough memory");
    return;
  }
  o->x.bytes = *b;
  o->whole = o;
  o->refs = 1;
  o->out = (la_out_t){NULL, b->data, b->len, outgoing_release};
  la_stream_write(k->stream, &o->out);
}

static bool link_got(void *ud, size_t n) {
  la_link_t *k = ud;
  k->read += n;
  if (k->frames != NULL) {
    const bool ok = la_frames_took(k->frames, n);
    if (!ok && la_frames_why(k->frames) != NULL) {
      la_log(k->dist->host, LUACTOR_LOG_WARN,
             "node %s: %s: connection closed", k->peer,
             la_frames_why(k->frames));
    }
    return ok;
  }
  la_buf_t out = {0};
  size_t used;
  const la_hs_verdict_t v = la_hs_feed(k->hs, k->in.data, n, &used, &out);
  if (k->peer[0] == '\0') {
    snprintf(k->peer, sizeof k->peer, "%s", la_hs_peer(k->hs)->name);
  }
  say(k, &out);
  switch (v) {
    case LA_HS_GOING:
      return true;
    case LA_HS_DONE:
      if (!stands(k)) {
        return false;
      }
      return la_frames_feed(k->frames, k->in.data + used, n - used);
    case LA_HS_YIELDED:
      la_lock(&k->dist->lock);
      if (k->conn != NULL && k->conn->link == k) {
        k->conn->nok = true;
      }
      la_unlock(&k->dist->lock);
      return false;
    case LA_HS_FAILED:
      refuse(k, la_hs_why(k->hs));
      la_stream_fail(k->stream, la_hs_why(k->hs));
      return true;
    case LA_HS_DECLINED:
      break;
  }
  /* What was said must go out before the end. */
  la_stream_finish(k->stream);
  return true;
}

static void link_wrote(void *ud, size_t n) {
  la_link_t *k = ud;
  la_dist_t *d = k->dist;
  la_told_t told;
  k->wrote += n;
  if (k->frames == NULL) {
    return;
  }
  la_told_init(&told);
  la_lock(&d->lock);
  la_conn_t *c = k->conn;
  if (c != NULL && c->link == k) {
    c->out_bytes -= n < c->out_bytes ? n : c->out_bytes;
    while (c->out_bytes < OUT_LOW && c->rooms != NULL) {
      la_note_t *r = c->rooms;
      c->rooms = (la_note_t *)r->sig.next;
      la_told_add(&told, &r->sig);
    }
  }
  la_unlock(&d->lock);
  la_told_send(d->host, &told);
}

/* ---- the handshake's questions --------------------------------------------------------------- */

static la_hs_status_t admit(void *ud, const char *peer) {
  la_link_t *k = ud;
  la_dist_t *d = k->dist;
  la_link_t *old = NULL;
  la_hs_status_t status = LA_STATUS_OK;
  const char *host = strchr(peer, '@') + 1;
  if (strcmp(peer, d->name) == 0 || !la_stream_peer_is(k->stream, host)) {
    refuse(k, strcmp(peer, d->name) == 0
                  ? "it has the name of this node"
                  : "its certificate is not for its host");
    return LA_STATUS_NOT_ALLOWED;
  }
  la_lock(&d->lock);
  la_conn_t *c = la_conn_find(d, peer);
  if (d->leaving) {
    status = LA_STATUS_NOT_ALLOWED;
  } else if (c == NULL) {
    c = conn_new(d, peer);
    status = c != NULL ? LA_STATUS_OK : LA_STATUS_NOT_ALLOWED;
  } else if (c->state == CONN_UP) {
    status = LA_STATUS_ALIVE;
  } else if (c->link != NULL && c->link->accepted) {
    status = LA_STATUS_NOK;
  } else if (c->link != NULL && strcmp(d->name, peer) > 0) {
    status = LA_STATUS_NOK;
  } else {
    old = c->link;
    status = LA_STATUS_OK_SIMULTANEOUS;
  }
  if (status == LA_STATUS_OK || status == LA_STATUS_OK_SIMULTANEOUS) {
    if (old != NULL) {
      old->conn = NULL;
      conn_unref(c);
    }
    c->refs++;
    c->link = k;
    k->conn = c;
  }
  la_unlock(&d->lock);
  if (old != NULL) {
    la_stream_close(old->stream);
  }
  return status;
}

/* The peer believes that we are connected: it may be right only about what
 * was lost. */
static bool replace(void *ud) {
  la_link_t *k = ud;
  la_lock(&k->dist->lock);
  const bool yes = k->conn != NULL && k->conn->link == k &&
                   k->conn->state == CONN_SETUP;
  la_unlock(&k->dist->lock);
  return yes;
}

/* It has proved itself. If it was told "alive", the old connection ends now. */
static void verified(void *ud) {
  la_link_t *k = ud;
  la_dist_t *d = k->dist;
  la_told_t told;
  la_told_init(&told);
  if (k->conn != NULL) {
    return;
  }
  la_lock(&d->lock);
  la_link_t *old = NULL;
  la_conn_t *c = la_conn_find(d, la_hs_peer(k->hs)->name);
  if (c != NULL) {
    old = c->link;
    conn_down(c, "replaced by a new connection", &told);
  }
  c = d->leaving ? NULL : conn_new(d, la_hs_peer(k->hs)->name);
  if (c != NULL) {
    c->refs++;
    c->link = k;
    k->conn = c;
  }
  la_unlock(&d->lock);
  if (old != NULL) {
    la_stream_close(old->stream);
  }
  la_told_send(d->host, &told);
}

static size_t cookie(void *ud, const char *peer, char *out) {
  const la_link_t *k = ud;
  (void)peer;
  memcpy(out, k->dist->cookie, k->dist->cookie_len);
  return k->dist->cookie_len;
}

static void random_bytes(void *ud, void *bytes, size_t n) {
  const la_link_t *k = ud;
  const la_env_t *env = &k->dist->host->env;
  env->random(env->ud, bytes, n);
}

/* ---- opening ------------------------------------------------------------------------------------ */

static void link_opened(void *ud) {
  la_link_t *k = ud;
  la_dist_t *d = k->dist;
  const char *at = strchr(k->peer, '@');
  if (!k->accepted && !la_stream_peer_is(k->stream, at + 1)) {
    refuse(k, "its certificate is not for its host");
    la_stream_fail(k->stream, "the certificate is not for the host");
    return;
  }
  k->config = (la_hs_config_t){
      !k->accepted, d->tls != NULL, d->name, k->accepted ? NULL : k->peer,
      LA_DF_OURS | (d->hidden ? 0 : LA_DF_PUBLISHED), d->creation,
      {k, admit, replace, verified, cookie, random_bytes}};
  k->hs = la_hs_new(&k->config);
  if (k->hs == NULL) {
    la_stream_fail(k->stream, "not enough memory");
    return;
  }
  if (k->accepted) {
    d->nopening++;
  }
  la_buf_t out = {0};
  la_hs_start(k->hs, &out);
  say(k, &out);
}

static void link_late(la_loop_timer_t *t) {
  la_link_t *k = (la_link_t *)(void *)((char *)t - offsetof(la_link_t, timer));
  refuse(k, "the handshake takes too long");
  la_stream_fail(k->stream, "the handshake takes too long");
}

static la_stream_hooks_t link_hooks(la_link_t *k) {
  return (la_stream_hooks_t){k,          link_opened, link_space,
                             link_got,   link_wrote,  link_closed};
}

static la_link_t *link_new(la_dist_t *d) {
  la_link_t *k = la_zalloc(sizeof *k);
  if (k != NULL) {
    k->dist = d;
    k->timer.fire = link_late;
    k->next_link = d->links;
    d->links = k;
  }
  return k;
}

static void link_drop(la_link_t *k) {
  k->dist->links = k->next_link; /* it was the newest */
  la_free(k);
}

static bool accept_link(void *ud, la_stream_t *s, la_stream_hooks_t *hooks) {
  la_dist_t *d = ud;
  if (d->nopening >= OPENING_MAX) {
    return false;
  }
  la_link_t *k = link_new(d);
  if (k == NULL) {
    return false;
  }
  k->accepted = true;
  k->stream = s;
  *hooks = link_hooks(k);
  la_loop_timer_start(d->loop, &k->timer, SETUP_MS, 0);
  return true;
}

/* ---- asking a port mapper ---------------------------------------------------------------------- */

typedef struct la_asker {
  la_dist_t *dist;
  la_conn_t *conn; /* whose port is asked for; NULL: we register. A reference */
  la_stream_t *stream;
  la_loop_timer_t timer;
  la_buf_t request, in;
  uint8_t buf[512];
  bool is_done;
} la_asker_t;

static void link_to(la_conn_t *c, const char *host, uint16_t port);
static void registered(la_dist_t *d, const char *why, uint32_t creation);

static void conn_fail(la_conn_t *c, const char *why) {
  la_dist_t *d = c->dist;
  la_told_t told;
  la_told_init(&told);
  la_lock(&d->lock);
  if (c->link == NULL && c->state == CONN_SETUP) {
    conn_down(c, why, &told);
  }
  la_unlock(&d->lock);
  la_told_send(d->host, &told);
}

static void asker_result(la_asker_t *a, const char *why, uint32_t number) {
  if (a->is_done) {
    return;
  }
  a->is_done = true;
  if (a->conn == NULL) {
    registered(a->dist, why, number);
  } else if (why != NULL) {
    conn_fail(a->conn, why);
  } else {
    link_to(a->conn, strchr(a->conn->node, '@') + 1, (uint16_t)number);
  }
}

static void asker_release(la_out_t *out) {
  la_free(out);
}

static void asker_opened(void *ud) {
  la_asker_t *a = ud;
  la_out_t *out = la_alloc(sizeof *out);
  if (out == NULL) {
    la_stream_fail(a->stream, "not enough memory");
    return;
  }
  *out = (la_out_t){NULL, a->request.data, a->request.len, asker_release};
  la_stream_write(a->stream, out);
}

static uint8_t *asker_space(void *ud, size_t *n) {
  la_asker_t *a = ud;
  *n = sizeof a->buf;
  return a->buf;
}

static bool asker_got(void *ud, size_t n) {
  la_asker_t *a = ud;
  la_epmd_port_t port = {0};
  uint32_t creation = 0;
  la_buf_put(&a->in, a->buf, n);
  const la_epmd_answer_t r =
      a->conn != NULL ? la_epmd_read_port(a->in.data, a->in.len, &port)
                      : la_epmd_read_registered(a->in.data, a->in.len,
                                                &creation);
  switch (r) {
    case LA_EPMD_MORE:
      return a->in.len < 1024;
    case LA_EPMD_OK:
      la_loop_timer_stop(&a->timer);
      asker_result(a, NULL, a->conn != NULL ? port.port : creation);
      return a->conn == NULL; /* the registration lasts as long as it */
    case LA_EPMD_REFUSED:
      asker_result(a, a->conn != NULL ? "no node of that name there"
                                      : "the name is taken",
                   0);
      return false;
    case LA_EPMD_BAD:
      asker_result(a, "the port mapper gives no sense", 0);
      return false;
  }
  return false;
}

static void asker_closed(void *ud, const char *why) {
  la_asker_t *a = ud;
  la_dist_t *d = a->dist;
  la_loop_timer_stop(&a->timer);
  asker_result(a, why != NULL ? why : "closed", 0);
  if (d->registration == a) {
    d->registration = NULL;
  }
  if (a->conn != NULL) {
    la_lock(&d->lock);
    conn_unref(a->conn);
    la_unlock(&d->lock);
  }
  la_buf_free(&a->request);
  la_buf_free(&a->in);
  la_free(a);
}

static void asker_late(la_loop_timer_t *t) {
  la_asker_t *a =
      (la_asker_t *)(void *)((char *)t - offsetof(la_asker_t, timer));
  la_stream_fail(a->stream, "the port mapper does not answer");
}

static uint16_t mapper_port(void) {
  const char *text = getenv("ERL_EPMD_PORT");
  const long n = text != NULL ? strtol(text, NULL, 10) : 0;
  return n > 0 && n < 65536 ? (uint16_t)n : LA_EPMD_PORT;
}

/* Ask the mapper of a host; the request is in 'a'. */
static bool ask(la_asker_t *a, const char *host) {
  const la_stream_hooks_t hooks = {a,         asker_opened, asker_space,
                                   asker_got, NULL,         asker_closed};
  a->timer.fire = asker_late;
  a->stream = a->request.failed
                  ? NULL
                  : la_stream_connect(a->dist->loop, host, mapper_port(), NULL,
                                      &hooks);
  if (a->stream == NULL) {
    la_buf_free(&a->request);
    la_free(a);
    return false;
  }
  la_loop_timer_start(a->dist->loop, &a->timer, SETUP_MS, 0);
  return true;
}

/* ---- connecting ---------------------------------------------------------------------------------- */

static void link_to(la_conn_t *c, const char *host, uint16_t port) {
  la_dist_t *d = c->dist;
  la_link_t *k = link_new(d);
  if (k == NULL) {
    conn_fail(c, "not enough memory");
    return;
  }
  snprintf(k->peer, sizeof k->peer, "%s", c->node);
  la_lock(&d->lock);
  const bool wanted = c->state == CONN_SETUP && c->link == NULL;
  if (wanted) {
    c->refs++;
    c->link = k;
    k->conn = c;
  }
  la_unlock(&d->lock);
  const la_stream_hooks_t hooks = link_hooks(k);
  if (wanted) {
    k->stream = la_stream_connect(d->loop, host, port, d->tls, &hooks);
  }
  if (k->stream == NULL) {
    if (wanted) {
      link_lost(k, "not enough memory");
    }
    link_drop(k);
    return;
  }
  la_loop_timer_start(d->loop, &k->timer, SETUP_MS, 0);
}

typedef struct la_begin {
  la_job_t job;
  la_conn_t *conn; /* a reference */
  char address[256];
  int port; /* 0: ask the mapper at the address */
} la_begin_t;

static void begin_job(la_job_t *job) {
  la_begin_t *b = (la_begin_t *)job;
  la_conn_t *c = b->conn;
  la_dist_t *d = c->dist;
  if (b->port > 0) {
    link_to(c, b->address, (uint16_t)b->port);
  } else {
    la_asker_t *a = la_zalloc(sizeof *a);
    char name[LA_NODE_NAME_MAX + 1];
    bool ok = a != NULL;
    if (ok) {
      snprintf(name, sizeof name, "%s", c->node);
      *strchr(name, '@') = '\0';
      a->dist = d;
      a->conn = c;
      la_epmd_lookup(&a->request, name);
      la_lock(&d->lock);
      c->refs++;
      la_unlock(&d->lock);
      ok = ask(a, b->address);
      if (!ok) {
        la_lock(&d->lock);
        conn_unref(c);
        la_unlock(&d->lock);
      }
    }
    if (!ok) {
      conn_fail(c, "not enough memory");
    }
  }
  la_lock(&d->lock);
  conn_unref(c);
  la_unlock(&d->lock);
  la_free(b);
}

/* Under the lock, on the loop: begin an attempt outside of the lock. */
static void link_connect(la_conn_t *c) {
  la_dist_t *d = c->dist;
  la_begin_t *b = la_zalloc(sizeof *b);
  c->nok = false;
  c->setup_ends = la_loop_now_ms(d->loop) + SETUP_MS;
  if (b == NULL) {
    return; /* the ticker ends it */
  }
  snprintf(b->address, sizeof b->address, "%s", strchr(c->node, '@') + 1);
  for (const la_place_t *p = d->places; p != NULL; p = p->next) {
    if (strcmp(p->node, c->node) == 0) {
      snprintf(b->address, sizeof b->address, "%s", p->address);
      b->port = p->port;
    }
  }
  b->job.run = begin_job;
  b->conn = c;
  c->refs++;
  la_loop_post(d->loop, &b->job);
}

/* ---- once a second -------------------------------------------------------------------------------- */

static void send_tick(la_link_t *k) {
  la_buf_t b = {0};
  la_frame_tick(&b);
  if (b.failed) {
    la_buf_free(&b);
  } else {
    say(k, &b);
  }
}

static void tick_links(la_dist_t *d) {
  for (la_link_t *k = d->links, *next; k != NULL; k = next) {
    next = k->next_link;
    if (k->frames == NULL) {
      continue;
    }
    k->silent = k->read == 0 ? k->silent + 1 : 0;
    if (k->silent >= 4) {
      la_stream_fail(k->stream, "net_tick_timeout");
      continue;
    }
    if (k->wrote == 0) {
      send_tick(k);
    }
    k->read = k->wrote = 0;
  }
}

/* Attempts that wait for the peer's own, or never began. */
static void end_overdue(la_dist_t *d) {
  la_told_t told;
  la_told_init(&told);
  const uint64_t now = la_loop_now_ms(d->loop);
  la_lock(&d->lock);
  for (la_conn_t *c = d->conns, *next; c != NULL; c = next) {
    next = c->next;
    if (c->state == CONN_SETUP && c->link == NULL && c->setup_ends != 0 &&
        now > c->setup_ends + 1000) {
      conn_down(c, "the connection takes too long", &told);
    }
  }
  la_unlock(&d->lock);
  la_told_send(d->host, &told);
}

static void on_tick(la_loop_timer_t *t) {
  la_dist_t *d = (la_dist_t *)(void *)((char *)t - offsetof(la_dist_t, ticker));
  end_overdue(d);
  if (++d->turn % TICK_TURNS == 0) {
    tick_links(d);
  }
}

/* ---- becoming a node --------------------------------------------------------------------------------- */

static void started(la_dist_t *d, const char *why) {
  la_told_t told;
  la_told_init(&told);
  la_note_t *n = d->starting;
  d->starting = NULL;
  if (why == NULL) {
    la_loop_timer_start(d->loop, &d->ticker, 1000, 1000);
  }
  answer(&told, n, why);
  la_told_send(d->host, &told);
}

static void registered(la_dist_t *d, const char *why, uint32_t creation) {
  if (why == NULL) {
    d->creation = creation;
    started(d, NULL);
    return;
  }
  if (d->starting == NULL) {
    la_log(d->host, LUACTOR_LOG_WARN, "node: port mapper: %s", why);
    return;
  }
  if (strstr(why, "connection refused") != NULL) {
    /* None runs here: others are found by their places only. */
    la_log(d->host, LUACTOR_LOG_INFO,
           "node: no port mapper runs; nodes are found by address only");
    started(d, NULL);
    return;
  }
  started(d, why);
}

typedef struct la_start_job {
  la_job_t job;
  la_dist_t *dist;
} la_start_job_t;

static void start_job(la_job_t *job) {
  la_dist_t *d = ((la_start_job_t *)job)->dist;
  la_free(job);
  char why[256];
  if (d->port >= 0) {
    d->listener = la_listen(d->loop, d->address, (uint16_t)d->port, d->tls,
                            accept_link, d, why, sizeof why);
    if (d->listener == NULL) {
      started(d, why);
      return;
    }
    d->port = la_listener_port(d->listener);
  }
  if (!d->use_epmd || d->port < 0) {
    started(d, NULL);
    return;
  }
  la_asker_t *a = la_zalloc(sizeof *a);
  char name[LA_NODE_NAME_MAX + 1];
  snprintf(name, sizeof name, "%s", d->name);
  *strchr(name, '@') = '\0';
  if (a != NULL) {
    a->dist = d;
    la_epmd_register(&a->request, name, (uint16_t)d->port, d->hidden);
    d->registration = a;
    if (!ask(a, "127.0.0.1")) {
      d->registration = NULL;
      a = NULL;
    }
  }
  if (a == NULL) {
    started(d, "not enough memory");
  }
}

static bool is_loopback(const char *address) {
  return strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0;
}

static void dist_free(la_dist_t *d) {
  la_relay_free(d);
  while (d->places != NULL) {
    la_place_t *p = d->places;
    d->places = p->next;
    la_free(p->address);
    la_free(p);
  }
  while (d->watches != NULL) {
    la_nodewatch_t *w = d->watches;
    d->watches = w->next;
    la_free(w);
  }
  la_tls_unref(d->tls);
  la_lock_fini(&d->lock);
  la_free(d);
}

static la_dist_t *configure(la_host_t *host, const la_dist_config_t *config,
                            char *why, size_t max) {
  const char *address =
      config->address != NULL ? config->address : "127.0.0.1";
  const bool tls = config->cert != NULL || config->key != NULL ||
                   config->ca != NULL;
  if (!la_node_name_ok(config->name, strlen(config->name))) {
    snprintf(why, max, "'%.64s' is not a name of the form name@host",
             config->name);
  } else if (config->cookie == NULL || config->cookie[0] == '\0') {
    snprintf(why, max, "a cookie is needed");
  } else if (strlen(config->cookie) > LA_COOKIE_MAX) {
    snprintf(why, max, "the cookie is longer than %d bytes", LA_COOKIE_MAX);
  } else if (tls && (config->cert == NULL || config->key == NULL ||
                     config->ca == NULL)) {
    snprintf(why, max, "TLS needs cert, key and ca");
  } else if (config->port >= 0 && !tls && !is_loopback(address) &&
             !config->insecure) {
    snprintf(why, max, "listening on %.60s without TLS lets everybody on the "
             "network read and forge messages; use tls, or insecure = true",
             address);
  } else {
    la_dist_t *d = la_zalloc(sizeof *d);
    if (d == NULL) {
      snprintf(why, max, "not enough memory");
      return NULL;
    }
    la_lock_init(&d->lock, LA_RANK_NODE);
    if (tls) {
      d->tls = la_tls_new(config->cert, config->key, config->ca, why, max);
      if (d->tls == NULL) {
        dist_free(d);
        return NULL;
      }
    }
    d->host = host;
    snprintf(d->name, sizeof d->name, "%s", config->name);
    snprintf(d->address, sizeof d->address, "%s", address);
    d->cookie_len = strlen(config->cookie);
    memcpy(d->cookie, config->cookie, d->cookie_len);
    d->port = config->port;
    d->use_epmd = config->epmd;
    d->hidden = config->hidden;
    d->ticker.fire = on_tick;
    do {
      host->env.random(host->env.ud, &d->creation, sizeof d->creation);
    } while (d->creation < 4);
    return d;
  }
  return NULL;
}

bool la_dist_start(la_host_t *host, const la_dist_config_t *config,
                   la_note_t *n, char *why, size_t max) {
  la_dist_t *before = host->dist;
  if (before != NULL && !before->leaving) {
    snprintf(why, max, "this host is a node already: %s", before->name);
    return false;
  }
  la_dist_t *d = configure(host, config, why, max);
  if (d == NULL) {
    return false;
  }
  la_start_job_t *job = la_zalloc(sizeof *job);
  d->loop = job != NULL ? la_loop_start() : NULL;
  if (d->loop == NULL) {
    la_free(job);
    dist_free(d);
    snprintf(why, max, "cannot start the thread of the network");
    return false;
  }
  d->starting = n;
  d->before = before;
  host->dist = d;
  la_host_busy(host); /* others may wake its processes */
  job->job.run = start_job;
  job->dist = d;
  la_loop_post(d->loop, &job->job);
  return true;
}

void la_dist_stop(la_host_t *host) {
  la_dist_t *d = host->dist;
  if (d == NULL) {
    return;
  }
  la_told_t told;
  la_told_init(&told);
  la_lock(&d->lock);
  const bool left = d->leaving;
  d->leaving = true;
  la_unlock(&d->lock);
  if (left) {
    return;
  }
  la_loop_stop(d->loop);
  la_lock(&d->lock);
  while (d->conns != NULL) {
    conn_down(d->conns, "this node is leaving", &told);
  }
  la_unlock(&d->lock);
  la_told_send(host, &told);
  la_host_idle(host);
}

void la_dist_close(la_host_t *host) {
  la_dist_stop(host);
  for (la_dist_t *d = host->dist, *before; d != NULL; d = before) {
    before = d->before;
    dist_free(d);
  }
  host->dist = NULL;
}

const char *la_dist_name(la_host_t *host) {
  const la_dist_t *d = host->dist;
  return d != NULL && !d->leaving ? d->name : NULL;
}

int la_dist_port(la_host_t *host) {
  const la_dist_t *d = host->dist;
  return d != NULL && !d->leaving && d->port > 0 ? d->port : 0;
}

/* ---- what scripts ask for --------------------------------------------------------------------------------- */

void la_dist_connect(la_host_t *host, const char *node, la_note_t *n) {
  la_dist_t *d = host->dist;
  la_told_t told;
  la_told_init(&told);
  la_lock(&d->lock);
  la_conn_t *c = la_conn_to(d, node);
  if (c == NULL) {
    answer(&told, n, "not enough memory");
  } else if (c->state == CONN_UP) {
    answer(&told, n, NULL);
  } else {
    n->sig.next = (la_sig_t *)c->waiters;
    c->waiters = n;
  }
  la_unlock(&d->lock);
  la_told_send(host, &told);
}

typedef struct la_close_job {
  la_job_t job;
  la_dist_t *dist;
  char node[LA_NODE_NAME_MAX + 1];
} la_close_job_t;

static void close_job(la_job_t *job) {
  la_close_job_t *j = (la_close_job_t *)job;
  la_dist_t *d = j->dist;
  la_lock(&d->lock);
  la_conn_t *c = la_conn_find(d, j->node);
  la_link_t *k = c != NULL ? c->link : NULL;
  la_unlock(&d->lock);
  if (k != NULL) {
    la_stream_fail(k->stream, "disconnected");
  }
  la_free(j);
}

bool la_dist_disconnect(la_host_t *host, const char *node) {
  la_dist_t *d = host->dist;
  la_close_job_t *j = la_zalloc(sizeof *j);
  if (j == NULL) {
    return false;
  }
  la_lock(&d->lock);
  const bool known = la_conn_find(d, node) != NULL;
  la_unlock(&d->lock);
  j->job.run = close_job;
  j->dist = d;
  snprintf(j->node, sizeof j->node, "%s", node);
  la_loop_post(d->loop, &j->job);
  return known;
}

char *la_dist_list(la_host_t *host, size_t *count) {
  la_dist_t *d = host->dist;
  la_buf_t b = {0};
  *count = 0;
  la_lock(&d->lock);
  for (const la_conn_t *c = d->conns; c != NULL; c = c->next) {
    if (c->state == CONN_UP) {
      la_buf_put(&b, c->node, strlen(c->node) + 1);
      (*count)++;
    }
  }
  la_unlock(&d->lock);
  la_buf_u8(&b, 0);
  if (b.failed) {
    la_buf_free(&b);
    return NULL;
  }
  return (char *)b.data;
}

bool la_dist_place(la_host_t *host, const char *node, const char *address,
                   int port) {
  la_dist_t *d = host->dist;
  la_place_t *p = NULL;
  if (address != NULL) {
    p = la_zalloc(sizeof *p + strlen(node) + 1);
    char *copy = la_alloc(strlen(address) + 1);
    if (p == NULL || copy == NULL) {
      la_free(p);
      la_free(copy);
      return false;
    }
    strcpy(p->node, node);
    strcpy(copy, address);
    p->address = copy;
    p->port = port;
  }
  la_lock(&d->lock);
  for (la_place_t **at = &d->places; *at != NULL;) {
    la_place_t *old = *at;
    if (strcmp(old->node, node) == 0) {
      *at = old->next;
      la_free(old->address);
      la_free(old);
    } else {
      at = &old->next;
    }
  }
  if (p != NULL) {
    p->next = d->places;
    d->places = p;
  }
  la_unlock(&d->lock);
  return true;
}

bool la_dist_watch(la_host_t *host, const char *node, la_pid_t pid, bool on) {
  la_dist_t *d = host->dist;
  la_nodewatch_t *w = on ? la_zalloc(sizeof *w + strlen(node) + 1) : NULL;
  if (on && w == NULL) {
    return false;
  }
  la_lock(&d->lock);
  if (on) {
    w->pid = pid;
    strcpy(w->node, node);
    w->next = d->watches;
    d->watches = w;
  } else {
    for (la_nodewatch_t **at = &d->watches; *at != NULL; at = &(*at)->next) {
      if ((*at)->pid == pid && strcmp((*at)->node, node) == 0) {
        w = *at;
        *at = w->next;
        la_free(w);
        break;
      }
    }
  }
  la_unlock(&d->lock);
  return true;
}

bool la_dist_creation(la_host_t *host, const char *node, uint32_t *creation) {
  la_dist_t *d = host->dist;
  bool up = false;
  if (d != NULL) {
    la_lock(&d->lock);
    const la_conn_t *c = la_conn_find(d, node);
    up = c != NULL && c->state == CONN_UP;
    if (up) {
      *creation = c->peer.creation;
    }
    la_unlock(&d->lock);
  }
  return up;
}

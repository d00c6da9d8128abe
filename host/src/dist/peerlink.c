/* Links: one TCP connection each, from the first byte to the last. All of it
 * runs on the loop's thread, which owns them; what a link and a connection know
 * of each other
 * ('conn' and 'link') is changed under the lock.
 *
 * Who connects to whom. A connection is on record before the first byte leaves,
 * since the rules for two attempts at once need it there. An attempt is a link;
 * a connection outlives a failed attempt of ours only when the peer said that
 * its own wins (nok): then it waits for that one. An accepted link belongs to
 * no connection until the peer has said its name:
 *
 *   there is none             a new one, with this link
 *   one being set up by us    the greater name's attempt wins: nok, or the new
 *                             link takes the place of ours
 *   one that stands           "alive"; if the peer insists, and proves itself,
 *                             the old one ends first */
#include <stdio.h>
#include <string.h>

#include "base/env.h"
#include "dist/inner.h"

#define OPENING_MAX 64

/* It has proved itself, or never will. */
static void end_opening(la_link_t *k) {
  if (k->opening) {
    k->opening = false;
    k->dist->nopening--;
  }
}

static void refuse(la_link_t *k, const char *why) {
  if (!k->refused) {
    k->refused = true;
    la_refusal(k->dist, k->accepted ? "from" : "to",
               k->accepted ? k->from : k->peer, why);
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
        la_conn_down(c, why, &told);
      }
    }
    la_conn_unref(c);
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
  end_opening(k);
  /* Whom we have called hears the cause; of others nobody else would. */
  if (k->frames == NULL && why != NULL && !d->leaving &&
      (k->accepted || strncmp(why, "TLS", 3) == 0)) {
    refuse(k, why);
  }
  link_lost(k, why != NULL ? why : "closed");
  la_door_unref(k->door);
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
  const bool ok = c == NULL || la_inbound_packet(c, packet, &why);
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
  k->frames = la_frames_new((peer->flags & LA_DF_FRAGMENTS) != 0,
                            d->max_message, &hooks);
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
  c->border =
      (la_peer_t){d->name,         d->creation, peer->is_luactor,
                  &d->host->blobs, la_dist_own, d->host};
  k->door = la_stream_door(k->stream);
  c->outq.fragments = (peer->flags & LA_DF_FRAGMENTS) != 0;
  la_conn_late(c);
  while (c->waiters != NULL) {
    la_note_t *n = c->waiters;
    c->waiters = (la_note_t *)n->sig.next;
    la_conn_answer(&told, n, NULL);
  }
  la_conn_tell(d, c->node, "nodeup", &told);
  la_conn_poke(c);
  la_unlock(&d->lock);
  la_told_send(d->host, &told);
  end_opening(k);
  la_loop_timer_stop(&k->timer);
  la_hs_free(k->hs);
  k->hs = NULL;
  return true;
}

/* Write something that is no packet of the connection: an answer of the
 * handshake, a tick. Takes the bytes over. */
void la_peerlink_say(la_link_t *k, la_buf_t *b) {
  if (b->len == 0) {
    la_buf_free(b);
    return;
  }
  const size_t n = b->len;
  la_out_t *chunk = la_outq_chunk(b);
  if (chunk == NULL) {
    la_stream_fail(k->stream, "not enough memory");
  } else {
    k->said += n;
    la_stream_write(k->stream, chunk);
  }
}

static bool link_got(void *ud, size_t n) {
  la_link_t *k = ud;
  k->read += n;
  if (k->frames != NULL) {
    const bool ok = la_frames_took(k->frames, n);
    if (!ok && la_frames_why(k->frames) != NULL) {
      la_log(k->dist->host, LUACTOR_LOG_WARN, "node %s: %s: connection closed",
             k->peer, la_frames_why(k->frames));
    }
    return ok;
  }
  la_buf_t out = {0};
  size_t used;
  const la_hs_verdict_t v = la_hs_feed(k->hs, k->in.data, n, &used, &out);
  if (k->peer[0] == '\0') {
    snprintf(k->peer, sizeof k->peer, "%s", la_hs_peer(k->hs)->name);
  }
  la_peerlink_say(k, &out);
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
      k->refused = true; /* by the rules for two attempts, or it is logged */
      break;
  }
  /* What was said must go out before the end. */
  la_stream_finish(k->stream);
  return true;
}

static void link_wrote(void *ud, size_t n) {
  la_link_t *k = ud;
  const size_t said = n < k->said ? n : k->said;
  atomic_fetch_add_explicit(&k->wrote, n, memory_order_relaxed);
  k->said -= said;
  if (k->frames != NULL && k->conn != NULL) {
    la_conn_flush(k->conn, n - said);
  }
}

/* ---- the handshake's questions ------------------------------------------ */

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
    c = la_conn_new(d, peer);
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
      la_conn_unref(c);
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
  const bool yes =
      k->conn != NULL && k->conn->link == k && k->conn->state == CONN_SETUP;
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
    la_conn_down(c, "replaced by a new connection", &told);
  }
  c = d->leaving ? NULL : la_conn_new(d, la_hs_peer(k->hs)->name);
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
  la_random(env, bytes, n);
}

/* ---- opening ------------------------------------------------------------ */

static void link_opened(void *ud) {
  la_link_t *k = ud;
  la_dist_t *d = k->dist;
  const char *at = strchr(k->peer, '@');
  if (!k->accepted && !la_stream_peer_is(k->stream, at + 1)) {
    refuse(k, "its certificate is not for its host");
    la_stream_fail(k->stream, "the certificate is not for the host");
    return;
  }
  k->config =
      (la_hs_config_t){!k->accepted,
                       d->tls != NULL,
                       d->name,
                       k->accepted ? NULL : k->peer,
                       LA_DF_OURS | (d->hidden ? 0 : LA_DF_PUBLISHED),
                       d->creation,
                       {k, admit, replace, verified, cookie, random_bytes}};
  k->hs = la_hs_new(&k->config);
  if (k->hs == NULL) {
    la_stream_fail(k->stream, "not enough memory");
    return;
  }
  la_buf_t out = {0};
  la_hs_start(k->hs, &out);
  la_peerlink_say(k, &out);
}

static void link_late(la_loop_timer_t *t) {
  la_link_t *k = (la_link_t *)(void *)((char *)t - offsetof(la_link_t, timer));
  refuse(k, "the handshake takes too long");
  la_stream_fail(k->stream, "the handshake takes too long");
}

static la_stream_hooks_t link_hooks(la_link_t *k) {
  return (la_stream_hooks_t){k,        link_opened, link_space,
                             link_got, link_wrote,  link_closed};
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

bool la_peerlink_accept(void *ud, la_stream_t *s, la_stream_hooks_t *hooks) {
  la_dist_t *d = ud;
  char from[64];
  la_stream_peer(s, from, sizeof from);
  la_link_t *k = d->nopening < OPENING_MAX ? link_new(d) : NULL;
  if (k == NULL) {
    la_refusal(d, "from", from,
               d->nopening < OPENING_MAX ? "not enough memory"
                                         : "too many are shaking hands");
    return false;
  }
  snprintf(k->from, sizeof k->from, "%s", from);
  k->accepted = k->opening = true;
  d->nopening++; /* from the first byte of TLS on */
  k->stream = s;
  *hooks = link_hooks(k);
  la_loop_timer_start(d->loop, &k->timer, SETUP_MS, 0);
  return true;
}

void la_peerlink_to(la_conn_t *c, const char *host, uint16_t port) {
  la_dist_t *d = c->dist;
  la_link_t *k = link_new(d);
  if (k == NULL) {
    la_conn_fail(c, "not enough memory");
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

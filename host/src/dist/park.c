/* Messages of other nodes for mailboxes that are full and whose policy is to make
 * the sender wait ("block").
 *
 * The sender is on another node, and not to read from its connection would hold up
 * everybody else who talks over it. So the messages wait here, those for one
 * address in the order they came, and are delivered as room comes free: the receiver is
 * asked for room as by any sender that waits, in the name of LA_PARK_ID. What comes
 * for an address for which messages wait, waits behind them, from whichever node.
 *
 * How much waits is bounded for each address and for the host. What is beyond it is
 * dropped, with a line in the log.
 *
 * From the first message that waits to the last an address has an entry, for which either
 * a request for room is under way or one thread delivers. */
#include <string.h>

#include "base/env.h"
#include "dist/inner.h"
#include "dist/policy.h"

#define MOST_MESSAGES 1024           /* for one address */
#define MOST_BYTES ((size_t)4 << 20) /* likewise, from the second on */
#define MOST_OF_ALL ((size_t)64 << 20)

typedef struct parked {
  la_id_t to;
  uint32_t n;
  size_t bytes;
  la_sig_t *first, **last;
} parked_t;

static la_note_t *ask_for_room(la_id_t to) {
  la_note_t *n = la_note_new(LA_SIG_WANT_ROOM, to, LA_PARK_ID);
  if (n != NULL) {
    n->ref = to;
  }
  return n;
}

static void dropped(la_dist_t *d, const char *peer, la_msg_t *m,
                    const char *why) {
  char who[64];
  const size_t n = la_id_print(m->sig.to, who);
  la_policy_log(d->host, peer, "mailbox", "message to %.*s dropped: %s", (int)n,
                who, why);
  la_reason_t *full = la_reason_text("full");
  if (full != NULL) { /* a caller learns of it */
    la_dist_call_lost(d->host, m->sig.to, m, full);
    la_reason_unref(full);
  }
  la_signal_refuse(d->host, &m->sig);
}

/* ---- under the lock ------------------------------------------------------- */

static void append(la_dist_t *d, parked_t *k, la_msg_t *m) {
  const size_t bytes = la_msg_bytes(m);
  m->sig.next = NULL;
  *k->last = &m->sig;
  k->last = &m->sig.next;
  k->n++;
  k->bytes += bytes;
  d->parked_bytes += bytes;
}

static la_msg_t *take_first(la_dist_t *d, parked_t *k) {
  la_msg_t *m = (la_msg_t *)k->first;
  const size_t bytes = la_msg_bytes(m);
  k->first = m->sig.next;
  if (k->first == NULL) {
    k->last = &k->first;
  }
  m->sig.next = NULL;
  k->n--;
  k->bytes -= bytes;
  d->parked_bytes -= bytes;
  return m;
}

static void put_back(la_dist_t *d, parked_t *k, la_msg_t *m) {
  const size_t bytes = la_msg_bytes(m);
  m->sig.next = k->first;
  if (k->first == NULL) {
    k->last = &m->sig.next;
  }
  k->first = &m->sig;
  k->n++;
  k->bytes += bytes;
  d->parked_bytes += bytes;
}

/* Behind those that wait; NULL, or why it cannot. */
static const char *wait_behind(la_dist_t *d, parked_t *k, la_msg_t *m) {
  const size_t bytes = la_msg_bytes(m);
  if (k->n >= MOST_MESSAGES || (k->n > 0 && k->bytes + bytes > MOST_BYTES)) {
    return "its mailbox is full, and as many wait for room as may";
  }
  if (d->parked_bytes + bytes > MOST_OF_ALL) {
    return "its mailbox is full, and too much waits for others already";
  }
  append(d, k, m);
  return NULL;
}

/* The first that waits for this address: '*ask' is to be sent. */
static const char *wait_first(la_dist_t *d, la_msg_t *m, la_note_t **ask) {
  parked_t *k = la_zalloc(sizeof *k);
  *ask = ask_for_room(m->sig.to);
  if (k == NULL || *ask == NULL || !la_map_put(&d->parked, m->sig.to, k)) {
    la_free(k);
    if (*ask != NULL) {
      la_sig_free(&(*ask)->sig);
      *ask = NULL;
    }
    return "not enough memory";
  }
  k->to = m->sig.to;
  k->last = &k->first;
  atomic_fetch_add(&d->nparked, 1);
  append(d, k, m);
  return NULL;
}

static void forget(la_dist_t *d, parked_t *k) {
  la_map_remove(&d->parked, k->to);
  atomic_fetch_sub(&d->nparked, 1);
  la_free(k);
}

/* ---- on the way ----------------------------------------------------------------- */

/* True: it waits, or has been dropped; false: nothing waits for the address. */
static bool joins_queue(la_dist_t *d, const char *peer, la_msg_t *m) {
  if (atomic_load(&d->nparked) == 0) {
    return false;
  }
  la_lock(&d->lock);
  parked_t *k = la_map_get(&d->parked, m->sig.to);
  const char *why = k != NULL ? wait_behind(d, k, m) : NULL;
  la_unlock(&d->lock);
  if (why != NULL) {
    dropped(d, peer, m, why);
  }
  return k != NULL;
}

void la_park_send(la_dist_t *d, const char *peer, la_msg_t *m) {
  if (joins_queue(d, peer, m)) {
    return;
  }
  const la_sent_t r = la_send(d->host, NULL, m);
  if (r == LA_SEND_FULL) {
    dropped(d, peer, m, "its mailbox is full");
  } else if (r == LA_SEND_WAIT) {
    la_note_t *ask;
    la_lock(&d->lock);
    const char *why = wait_first(d, m, &ask);
    la_unlock(&d->lock);
    if (why != NULL) {
      dropped(d, peer, m, why);
    } else {
      la_signal(d->host, &ask->sig);
    }
  }
}

void la_park_room(la_host_t *host, la_id_t to) {
  la_dist_t *d = host->dist;
  la_note_t *ask = NULL;
  if (d == NULL) {
    return;
  }
  la_lock(&d->lock);
  parked_t *k = la_map_get(&d->parked, to);
  while (k != NULL && k->first != NULL && ask == NULL) {
    la_msg_t *m = take_first(d, k);
    la_unlock(&d->lock);
    la_sent_t r = la_send(host, NULL, m);
    if (r == LA_SEND_WAIT) {
      ask = ask_for_room(to);
      if (ask == NULL) { /* rather too many than none */
        m->sig.flags |= LA_SIG_NO_LIMIT;
        r = la_send(host, NULL, m);
      }
    }
    la_lock(&d->lock);
    if (ask != NULL) {
      put_back(d, k, m);
    }
  }
  if (k != NULL && ask == NULL) {
    forget(d, k);
  }
  la_unlock(&d->lock);
  if (ask != NULL) {
    la_signal(host, &ask->sig);
  }
}

void la_park_end(la_dist_t *d, la_told_t *told) {
  la_map_cell_t *cell;
  while ((cell = la_map_next(&d->parked, NULL)) != NULL) {
    parked_t *k = cell->value;
    while (k->first != NULL) {
      la_msg_t *m = take_first(d, k);
      m->sig.flags |= LA_SIG_NO_LIMIT;
      la_told_add(told, &m->sig);
    }
    forget(d, k);
  }
}

void la_park_free(la_dist_t *d) {
  la_map_fini(&d->parked);
}

/* See outq.h. A parcel is the bytes of one packet, or of gathered ones, with the
 * blobs between them; chunks point into it and are counted by it. Cutting a
 * parcel into chunks either succeeds as a whole or leaves it as it was. */
#include "dist/outq.h"

#include <stdatomic.h>
#include <stdio.h>

#include "base/env.h"
#include "term/tag.h"

#define HEAD_BYTES 7 /* length and form of a whole packet, with fragments */

/* Where in a parcel: before byte 'at' of its bytes, behind 'in_hole' bytes of
 * the blob that stands there, if it is the next hole's. */
typedef struct place {
  size_t at, in_hole;
  uint32_t hole;
} place_t;

struct la_parcel {
  la_parcel_t *next;
  la_exported_t x;
  size_t size;
  _Atomic uint32_t refs; /* the queue, and each chunk */
  bool is_long;
  place_t cut;           /* long: up to where it has been cut */
  uint64_t sequence;
  uint64_t pieces;       /* long: those that are left */
  uint64_t after;        /* long: so many ready parcels go before it */
};

/* A chunk. 'head' is the bytes in front of a piece. */
typedef struct chunk {
  la_out_t out;
  la_parcel_t *parcel; /* NULL: the bytes are in 'own' */
  la_buf_t own;
  uint8_t head[LA_FRAME_FIRST_BYTES];
} chunk_t;

/* Chunks that are not handed out yet. */
typedef struct chain {
  la_out_t *first, **last;
  size_t bytes;
} chain_t;

/* ---- parcels and chunks --------------------------------------------------- */

static void parcel_unref(la_parcel_t *p) {
  if (atomic_fetch_sub(&p->refs, 1) == 1) {
    la_exported_free(&p->x);
    la_free(p);
  }
}

static void chunk_release(la_out_t *out) {
  chunk_t *k = (chunk_t *)out;
  if (k->parcel != NULL) {
    parcel_unref(k->parcel);
  }
  la_buf_free(&k->own);
  la_free(k);
}

static void chain_release(chain_t *c) {
  for (la_out_t *o = c->first, *next; o != NULL; o = next) {
    next = o->next;
    chunk_release(o);
  }
}

/* Takes 'x' over. NULL: memory. */
static la_parcel_t *parcel_new(la_exported_t *x) {
  la_parcel_t *p = la_zalloc(sizeof *p);
  if (p == NULL) {
    la_exported_free(x);
    return NULL;
  }
  p->x = *x;
  p->size = la_exported_size(x);
  atomic_init(&p->refs, 1);
  return p;
}

la_out_t *la_outq_chunk(la_buf_t *b) {
  chunk_t *k = la_zalloc(sizeof *k);
  if (k == NULL) {
    la_buf_free(b);
    return NULL;
  }
  k->own = *b;
  k->out = (la_out_t){NULL, b->data, b->len, chunk_release};
  return &k->out;
}

/* A chunk for bytes of a parcel, or (data NULL) for its own head, to be filled
 * in. NULL: memory. */
static chunk_t *add_chunk(chain_t *c, la_parcel_t *p, const uint8_t *data,
                          size_t n) {
  chunk_t *k = la_zalloc(sizeof *k);
  if (k == NULL) {
    return NULL;
  }
  k->parcel = p;
  atomic_fetch_add(&p->refs, 1);
  k->out = (la_out_t){NULL, data != NULL ? data : k->head, n, chunk_release};
  *c->last = &k->out;
  c->last = &k->out.next;
  c->bytes += n;
  return k;
}

/* At most 'max' bytes that stand together at 'at', which moves behind them. 0: the
 * end. */
static size_t next_run(const la_parcel_t *p, place_t *at, size_t max,
                       const uint8_t **data) {
  const la_exported_t *x = &p->x;
  for (;;) {
    const bool at_hole = at->hole < x->nholes && at->at == x->holes[at->hole].at;
    if (at_hole) {
      const la_blob_t *b = x->holes[at->hole].blob;
      const size_t left = b->size - at->in_hole;
      if (left == 0) {
        at->hole++;
        at->in_hole = 0;
        continue;
      }
      *data = (const uint8_t *)b->bytes + at->in_hole;
      const size_t n = left < max ? left : max;
      at->in_hole += n;
      return n;
    }
    const size_t stop =
        at->hole < x->nholes ? x->holes[at->hole].at : x->bytes.len;
    const size_t left = stop - at->at;
    *data = x->bytes.data + at->at;
    const size_t n = left < max ? left : max;
    at->at += n;
    return n;
  }
}

/* 'n' bytes of the parcel from 'at' on as chunks. False: memory. */
static bool add_runs(chain_t *c, la_parcel_t *p, place_t *at, size_t n) {
  while (n > 0) {
    const uint8_t *data;
    const size_t run = next_run(p, at, n, &data);
    if (run == 0) {
      return true;
    }
    if (add_chunk(c, p, data, run) == NULL) {
      return false;
    }
    n -= run;
  }
  return true;
}

/* ---- making packets -------------------------------------------------------- */

bool la_outq_make(const la_peer_t *border, bool fragments,
                  const la_buf_t *control, const la_term_t *payload,
                  la_export_t as, la_exported_t *out, char *why, size_t max) {
  la_exported_t x = {0};
  /* The length is known at the end. */
  la_frame_head(&x.bytes, fragments, 0);
  if (!fragments) {
    la_buf_u8(&x.bytes, LA_TERM_VERSION);
  }
  la_buf_put(&x.bytes, control->data, control->len);
  if (payload != NULL) {
    if (!fragments) {
      la_buf_u8(&x.bytes, LA_TERM_VERSION);
    }
    if (!la_export(payload, border, as, "message", &x, why, max)) {
      la_exported_free(&x);
      return false;
    }
  }
  const size_t size = la_exported_size(&x);
  if (x.bytes.failed || size > LA_PACKET_LIMIT) {
    snprintf(why, max, x.bytes.failed ? "not enough memory"
                                      : "larger than 1 GiB");
    la_exported_free(&x);
    return false;
  }
  la_put32(x.bytes.data, (uint32_t)(size - 4));
  *out = x;
  return true;
}

/* ---- the queue --------------------------------------------------------------- */

void la_outq_init(la_outq_t *q) {
  memset(q, 0, sizeof *q);
  q->ready_end = &q->ready;
  q->lanes_end = &q->lanes;
}

static void parcels_free(la_parcel_t *p) {
  for (la_parcel_t *next; p != NULL; p = next) {
    next = p->next;
    parcel_unref(p);
  }
}

void la_outq_fini(la_outq_t *q) {
  parcels_free(q->ready);
  while (q->lanes != NULL) {
    la_lane_t *l = q->lanes;
    q->lanes = l->next;
    parcels_free(l->first);
    la_free(l);
  }
  la_buf_free(&q->gather);
  la_outq_init(q);
}

bool la_outq_is_empty(const la_outq_t *q) {
  return q->gather.len == 0 && q->ready == NULL && q->lanes == NULL;
}

static void make_ready(la_outq_t *q, la_parcel_t *p) {
  p->next = NULL;
  *q->ready_end = p;
  q->ready_end = &p->next;
  q->bytes += p->size;
  q->made++;
}

/* What was gathered becomes a parcel, its bytes are counted already. */
static bool seal(la_outq_t *q) {
  if (q->gather.len == 0) {
    return true;
  }
  la_parcel_t *p = la_zalloc(sizeof *p);
  if (p == NULL) {
    return false;
  }
  p->x.bytes = q->gather;
  p->size = q->gather.len;
  atomic_init(&p->refs, 1);
  memset(&q->gather, 0, sizeof q->gather);
  q->bytes -= p->size;
  make_ready(q, p);
  return true;
}

static la_lane_t *lane_of(const la_outq_t *q, la_id_t by) {
  la_lane_t *l = q->lanes;
  while (l != NULL && l->by != by) {
    l = l->next;
  }
  return l;
}

/* A long message comes to the front of its lane: small ones that its sender has
 * said before may be in any of the parcels that are ready now. */
static void to_front(la_outq_t *q, la_parcel_t *p) {
  p->after = q->made + (q->gather.len > 0 ? 1 : 0);
}

/* A long message needs a lane; the others only when their sender has one. */
static bool add_to_lane(la_outq_t *q, la_lane_t *l, la_id_t by,
                        la_exported_t *x, bool is_long) {
  la_parcel_t *p = parcel_new(x);
  if (p != NULL && l == NULL) {
    l = la_zalloc(sizeof *l);
    if (l == NULL) {
      parcel_unref(p);
      return false;
    }
    l->by = by;
    l->last = &l->first;
    *q->lanes_end = l;
    q->lanes_end = &l->next;
  }
  if (p == NULL) {
    return false;
  }
  p->is_long = is_long;
  if (is_long) {
    p->sequence = ++q->sequence;
    p->cut.at = HEAD_BYTES; /* each piece has a head of its own */
    p->pieces = (p->size - HEAD_BYTES + LA_FRAGMENT_BYTES - 1) /
                LA_FRAGMENT_BYTES;
  }
  if (l->first == NULL) {
    to_front(q, p);
  }
  *l->last = p;
  l->last = &p->next;
  l->bytes += p->size;
  q->lane_bytes += p->size;
  return true;
}

bool la_outq_add(la_outq_t *q, la_id_t by, la_exported_t *x) {
  la_lane_t *l = lane_of(q, by);
  const size_t size = la_exported_size(x);
  const bool is_long = q->fragments && size > LA_FRAGMENT_BYTES + HEAD_BYTES;
  if (is_long || l != NULL) {
    return add_to_lane(q, l, by, x, is_long);
  }
  if (x->nholes == 0 && size <= LA_FRAGMENT_BYTES + HEAD_BYTES) {
    la_buf_put(&q->gather, x->bytes.data, size);
    la_exported_free(x);
    const bool ok = !q->gather.failed;
    q->gather.failed = false; /* it is as it was before */
    q->bytes += ok ? size : 0;
    return ok;
  }
  if (!seal(q)) {
    la_exported_free(x);
    return false;
  }
  la_parcel_t *p = parcel_new(x);
  if (p != NULL) {
    make_ready(q, p);
  }
  return p != NULL;
}

/* ---- taking ---------------------------------------------------------------------- */

/* The next ready parcel as chunks. */
static bool take_ready(la_outq_t *q, chain_t *out) {
  la_parcel_t *p = q->ready;
  chain_t c = {NULL, &c.first, 0};
  place_t at = {0, 0, 0};
  if (!add_runs(&c, p, &at, p->size)) {
    chain_release(&c);
    return false;
  }
  q->ready = p->next;
  if (q->ready == NULL) {
    q->ready_end = &q->ready;
  }
  q->taken++;
  parcel_unref(p);
  *out->last = c.first;
  out->last = c.last;
  out->bytes += c.bytes;
  return true;
}

/* The lane's first parcel is through: what is small behind it is ready, and at the next
 * long one the lane goes on; else it ends. */
static void lane_next(la_outq_t *q, la_lane_t *l) {
  la_parcel_t *p = l->first;
  l->first = p->next;
  parcel_unref(p);
  while (l->first != NULL && !l->first->is_long) {
    p = l->first;
    l->first = p->next;
    l->bytes -= p->size;
    q->lane_bytes -= p->size;
    make_ready(q, p);
  }
  if (l->first != NULL) {
    to_front(q, l->first);
    return;
  }
  /* It is the first of the lanes. */
  q->lanes = l->next;
  if (q->lanes == NULL) {
    q->lanes_end = &q->lanes;
  }
  la_free(l);
}

/* The first lane has had its turn. */
static void rotate(la_outq_t *q) {
  la_lane_t *l = q->lanes;
  if (l->next == NULL) {
    return;
  }
  q->lanes = l->next;
  l->next = NULL;
  *q->lanes_end = l;
  q->lanes_end = &l->next;
}

/* Bring a lane to the front that may be cut. False: there is none. */
static bool find_turn(la_outq_t *q) {
  const la_lane_t *begin = q->lanes;
  while (begin != NULL && q->lanes->first->after > q->taken) {
    rotate(q);
    if (q->lanes == begin) {
      return false;
    }
  }
  return begin != NULL;
}

/* A piece of the lane whose turn it is. What a head adds is counted too. */
static bool take_piece(la_outq_t *q, chain_t *out) {
  la_lane_t *l = q->lanes;
  la_parcel_t *p = l->first;
  chain_t c = {NULL, &c.first, 0};
  place_t at = p->cut;
  const bool is_first = at.at == HEAD_BYTES && at.hole == 0 && at.in_hole == 0;
  chunk_t *k = add_chunk(&c, p, NULL,
                         is_first ? LA_FRAME_FIRST_BYTES : LA_FRAME_NEXT_BYTES);
  if (k == NULL || !add_runs(&c, p, &at, LA_FRAGMENT_BYTES)) {
    chain_release(&c);
    return false;
  }
  const size_t body = c.bytes - k->out.len;
  la_frame_piece(k->head, is_first, p->sequence, p->pieces, body);
  p->cut = at;
  p->pieces--;
  /* The head of the packet is not sent: it is counted with the first piece. */
  const size_t used = body + (is_first ? HEAD_BYTES : 0);
  l->bytes -= used;
  q->lane_bytes -= used;
  q->bytes += c.bytes;
  *out->last = c.first;
  out->last = c.last;
  out->bytes += c.bytes;
  if (p->pieces == 0) {
    lane_next(q, l);
  } else {
    rotate(q);
  }
  return true;
}

la_out_t *la_outq_take(la_outq_t *q, size_t room) {
  chain_t out = {NULL, &out.first, 0};
  bool has_cut = false, ok = seal(q);
  while (ok) {
    if (q->ready != NULL && out.bytes < room) {
      ok = take_ready(q, &out);
    } else if ((out.bytes < room || !has_cut) && find_turn(q)) {
      ok = take_piece(q, &out);
      has_cut = true;
    } else {
      break;
    }
  }
  return out.first;
}

void la_outq_wrote(la_outq_t *q, size_t n) {
  q->bytes -= n < q->bytes ? n : q->bytes;
}

/* ---- who waits --------------------------------------------------------------------- */

bool la_outq_is_full(const la_outq_t *q, la_id_t by, size_t size) {
  const la_lane_t *l = lane_of(q, by);
  if (l != NULL) {
    return l->bytes > LA_OUTQ_HIGH;
  }
  return q->fragments && size > LA_FRAGMENT_BYTES
             ? q->lane_bytes > LA_OUTQ_LANES_HIGH
             : q->bytes > LA_OUTQ_HIGH;
}

bool la_outq_has_room(const la_outq_t *q, la_id_t by, size_t size,
                      size_t granted) {
  const la_lane_t *l = lane_of(q, by);
  if (l != NULL) {
    return l->bytes <= LA_OUTQ_LOW;
  }
  return q->fragments && size > LA_FRAGMENT_BYTES
             ? q->lane_bytes + granted <= LA_OUTQ_LANES_HIGH
             : q->bytes <= LA_OUTQ_LOW && granted <= LA_OUTQ_HIGH;
}

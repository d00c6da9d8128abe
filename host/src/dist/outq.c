/* What is to be written to a connection: packets, small ones gathered into one
 * buffer, those with blobs as chains of chunks that point into the blobs. Under
 * the lock; the loop takes the chunks away and owns them from then on (conn.c).
 */
#include <stdio.h>
#include <string.h>

#include "base/env.h"
#include "dist/inner.h"

void la_outq_release(la_out_t *list) {
  while (list != NULL) {
    la_out_t *next = list->next;
    list->release(list);
    list = next;
  }
}

static bool no_memory(char *why, size_t max) {
  snprintf(why, max, "not enough memory");
  return false;
}

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
bool la_outq_seal(la_conn_t *c) {
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

/* A packet whose payload has blobs in it: head, control and payload are in
 * x->bytes, the blobs between. Takes 'x' over. All of it is queued, or nothing:
 * half a packet would cut the stream. */
static bool add_large(la_conn_t *c, la_exported_t *x) {
  la_outgoing_t *o = la_zalloc(sizeof *o);
  if (o == NULL || !la_outq_seal(c)) {
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
    la_outq_release(p.first);
  }
  return ok;
}

/* Write a packet of the control message (no version byte) and the payload. */
bool la_outq_packet(la_conn_t *c, const la_buf_t *control,
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
  la_conn_poke(c);
  return true;
}

/* Bytes as a chunk: takes 'b' over. NULL: memory. */
la_out_t *la_outq_chunk(la_buf_t *b) {
  la_outgoing_t *o = la_zalloc(sizeof *o);
  if (o == NULL) {
    la_buf_free(b);
    return NULL;
  }
  o->x.bytes = *b;
  o->whole = o;
  o->refs = 1;
  o->out = (la_out_t){NULL, b->data, b->len, outgoing_release};
  return &o->out;
}

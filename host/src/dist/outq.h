/* What is to be written to a connection, in which order.
 *
 * Packets come in from senders and go out as chunks, a window's worth at a time.
 * Small ones are gathered into one buffer and leave in the order in which they
 * came. A long message (more than LA_FRAGMENT_BYTES, to a peer that takes pieces)
 * goes into a *lane* of its sender and is cut only when its turn comes: one
 * piece of each lane in turn, after the small packets that are ready. So a
 * message of a gigabyte holds up nobody but its own sender: whatever that one says
 * next waits in the same lane, which keeps the order of a pair of processes.
 *
 *   ready   [packet][packets gathered][packet] ...      everybody's small ones
 *   lanes   A: [#### long ####][small][small]           pieces of A and B alternate
 *           B: [######## long ########]
 *
 * Nothing is refused here: la_outq_is_full tells whether a sender should wait.
 * Bytes of long messages are counted apart from the others, so that those who
 * send small ones go on. A pure structure without lock or I/O; chunks are released on
 * another thread than the one that adds packets, under no lock. */
#ifndef LA_OUTQ_H
#define LA_OUTQ_H

#include "dist/frame.h"
#include "io/stream.h"
#include "term/border.h"

#define LA_OUTQ_HIGH ((size_t)1 << 20) /* above: senders wait */
#define LA_OUTQ_LOW ((size_t)256 << 10) /* below: they go on */
#define LA_OUTQ_LANES_HIGH ((size_t)64 << 20) /* likewise, of long messages */
/* What cannot wait (signals, replies) is taken up to here; beyond, the peer
 * counts as dead. */
#define LA_OUTQ_LIMIT ((size_t)256 << 20)

typedef struct la_parcel la_parcel_t;

/* Packets of one sender, from a long one on. */
typedef struct la_lane {
  struct la_lane *next;
  la_id_t by;
  la_parcel_t *first, **last; /* 'first' is being cut */
  size_t bytes;               /* that are left */
} la_lane_t;

typedef struct la_outq {
  bool fragments; /* the peer takes long messages in pieces */
  la_buf_t gather;            /* small packets, before the next of 'ready' */
  la_parcel_t *ready, **ready_end;
  la_lane_t *lanes, **lanes_end; /* whose turn it is comes first */
  size_t bytes;      /* ready, or taken and not yet written */
  size_t lane_bytes; /* in lanes */
  uint64_t sequence; /* of the last long message */
  uint64_t made, taken; /* ready parcels, ever: see la_parcel */
} la_outq_t;

void la_outq_init(la_outq_t *q);
void la_outq_fini(la_outq_t *q);

/* Make a packet of a control message (no version byte) and a payload, or NULL.
 * False: it cannot be said there ('why', at least 400 bytes), or memory. Needs
 * no lock. */
bool la_outq_make(const la_peer_t *border, bool fragments,
                  const la_buf_t *control, const la_term_t *payload,
                  la_export_t as, la_exported_t *out, char *why, size_t max);
/* Queue it; takes 'x' over, also when it returns false: memory. 'by': the
 * sender, whose packets keep their order. */
bool la_outq_add(la_outq_t *q, la_id_t by, la_exported_t *x);
/* Chunks of about 'room' bytes, at least one if there are any; they are still counted
 * in 'bytes' until la_outq_wrote. NULL: nothing to be written, or no memory: then
 * try later. */
la_out_t *la_outq_take(la_outq_t *q, size_t room);
void la_outq_wrote(la_outq_t *q, size_t n);
bool la_outq_is_empty(const la_outq_t *q);

/* Should 'by' wait with a message of so many bytes? */
bool la_outq_is_full(const la_outq_t *q, la_id_t by, size_t size);
/* May it go on, when others with 'granted' bytes have just been let go on? */
bool la_outq_has_room(const la_outq_t *q, la_id_t by, size_t size,
                      size_t granted);
/* More than may ever wait. */
static inline bool la_outq_is_over(const la_outq_t *q) {
  return q->bytes > LA_OUTQ_LIMIT || q->lane_bytes > 5 * LA_OUTQ_LIMIT;
}

/* Bytes as a chunk: takes 'b' over. NULL: memory. */
la_out_t *la_outq_chunk(la_buf_t *b);

#endif

/* Packets of an established connection: a length of 32 bits and that many
 * bytes; a length of 0 is a tick.
 *
 * Two forms, fixed by the flags of both sides:
 *   pass-through  112 | 131 control | 131 payload
 *   fragments     131 68 0 | control | payload          the whole message
 *                 131 69 sequence, number, 0 | ...      its first of several pieces
 *                 131 70 sequence, number | ...         the others, down to number 1
 *
 * The reader is a state machine without I/O that owns the buffer which is read
 * into, so that a large packet is not copied again: la_frames_space says where the next
 * bytes should go. Each message is handed over whole, control and payload.
 * Limits are the reader's own: a packet or message beyond them is swallowed
 * and counted, since its length still frames the stream; what cannot be framed is
 * an error. */
#ifndef LA_FRAME_H
#define LA_FRAME_H

#include "base/buf.h"

#define LA_MESSAGE_MAX ((size_t)64 << 20)  /* unless another limit is set */
#define LA_PACKET_LIMIT ((size_t)1 << 30)  /* beyond: an error */
#define LA_SEQUENCES_MAX 1024              /* unfinished at a time */
#define LA_FRAGMENT_BYTES ((size_t)64 << 10)    /* how we cut */

typedef struct la_frames la_frames_t;

/* A message: 'data' is one block of la_alloc that the taker frees; control begins at
 * 'data + at' and ends at 'data + size', payload included (the reader of
 * the control message finds where it ends). */
typedef struct la_packet {
  uint8_t *data;
  size_t at, size;
  bool has_versions; /* pass-through: each term has 131 in front */
} la_packet_t;

typedef struct la_frames_hooks {
  void *ud;
  /* Takes the block over. False: stop reading, the connection is closing. */
  bool (*message)(void *ud, la_packet_t *packet);
  /* A message beyond the limits was or is being dropped; why: static text. */
  void (*dropped)(void *ud, const char *why);
} la_frames_hooks_t;

/* Messages longer than 'max' are read and dropped; unfinished ones may take
 * twice that together. NULL: memory. */
la_frames_t *la_frames_new(bool fragments, size_t max,
                           const la_frames_hooks_t *hooks);
void la_frames_free(la_frames_t *r);
/* Where to read to; at least one byte. NULL: memory. */
uint8_t *la_frames_space(la_frames_t *r, size_t *n);
/* 'n' bytes were read there. False: a protocol error (or memory, or a hook said no);
 * la_frames_why tells, NULL when a hook said no. */
bool la_frames_took(la_frames_t *r, size_t n);
/* The same for bytes that are elsewhere (left over from the handshake). */
bool la_frames_feed(la_frames_t *r, const uint8_t *bytes, size_t n);
const char *la_frames_why(const la_frames_t *r);

/* Write the head of a packet whose control (and, when it is to follow, payload) takes
 * 'n' bytes: length and form. In the pass-through form the caller writes 131 in
 * front of each term and counts it in. */
void la_frame_head(la_buf_t *b, bool fragments, size_t n);
/* The head of a piece of a long message with 'n' bytes: of the first one, with
 * its control to follow, or of another. 'number' counts down to 1. */
#define LA_FRAME_FIRST_BYTES 23
#define LA_FRAME_NEXT_BYTES 22
void la_frame_piece(uint8_t *head, bool is_first, uint64_t sequence,
                    uint64_t number, size_t n);
void la_frame_tick(la_buf_t *b);

#endif

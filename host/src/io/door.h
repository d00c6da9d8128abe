/* The way for other threads to write to a stream's socket.
 *
 * A message that waits for the loop's thread costs a wake-up of that thread, which
 * on a quiet connection is a good part of the time it takes. So who has something to be
 * written may write it at once, as long as the loop has nothing under way for the
 * same socket:
 *
 *   claim    only when the loop is not 'busy'; from then on the loop only queues
 *   write    what the system takes without waiting; the 'rest' stays here, and
 *            the loop writes it before anything that it has queued meanwhile
 *
 * The lock covers the socket's number, which the stream takes away before it
 * closes it, and everything that is done with TLS while the stream is open: encrypted
 * bytes must leave in the order in which they were made. Nothing is called under it
 * but the system's send and OpenSSL. */
#ifndef LA_DOOR_H
#define LA_DOOR_H

#include "base/lock.h"
#include "io/stream.h"

struct la_door {
  la_lock_t lock;
  _Atomic uint32_t refs;
  /* under the lock */
  int fd;               /* -1: not open, or no more */
  bool busy;            /* the loop is writing */
  bool claimed;         /* another thread is, or is about to */
  bool wanted;          /* and the loop waits for it */
  la_tls_conn_t *tls;   /* NULL: plain */
  la_buf_t secret;      /* encrypted here, for the loop to write */
  la_out_t *rest;       /* likewise, behind that */
};

/* NULL: memory. One reference. */
la_door_t *la_door_new(void);
void la_door_open(la_door_t *d, int fd, la_tls_conn_t *tls, bool busy);
void la_door_close(la_door_t *d);

#endif

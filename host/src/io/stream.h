/* TCP connections and listeners, with or without TLS. All of it belongs to the
 * loop's thread. */
#ifndef LA_STREAM_H
#define LA_STREAM_H

#include <stddef.h>

#include "io/loop.h"
#include "io/tls.h"

/* Bytes to be written; 'release' is called once they are written or never will
 * be. Part of its owner's structure. */
typedef struct la_out {
  struct la_out *next;
  const uint8_t *data;
  size_t len;
  void (*release)(struct la_out *chunk);
} la_out_t;

/* Release a list of them. */
void la_out_release(la_out_t *list);

typedef struct la_stream la_stream_t;
typedef struct la_door la_door_t;

typedef struct la_stream_hooks {
  void *ud;
  /* The connection stands, TLS included. */
  void (*opened)(void *ud);
  /* Where to read to: at least one byte. NULL closes the stream. */
  uint8_t *(*space)(void *ud, size_t *n);
  /* 'n' bytes were read there. False closes the stream. */
  bool (*got)(void *ud, size_t n);
  /* So many bytes of chunks have left; may be NULL. */
  void (*wrote)(void *ud, size_t n);
  /* The last call, once, never from within another function of this header:
   * why is NULL when the owner closed it, "closed by the peer", or an
   * error. The stream is gone. */
  void (*closed)(void *ud, const char *why);
} la_stream_hooks_t;

/* Connect to a host (name or address) and port; all addresses of a name are tried in
 * order. 'tls' NULL: plain. What goes wrong comes as 'closed'. NULL: memory. */
la_stream_t *la_stream_connect(la_loop_t *l, const char *host, uint16_t port,
                               la_tls_t *tls, const la_stream_hooks_t *hooks);
/* Queue a list of chunks; several that wait go out in one system call. A stream that
 * is closing releases them. */
void la_stream_write(la_stream_t *s, la_out_t *chunks);
/* A way for other threads to write; a reference, which outlives the stream. [loop] */
la_door_t *la_stream_door(la_stream_t *s);
la_door_t *la_door_ref(la_door_t *d);
void la_door_unref(la_door_t *d);
/* May this thread write? Then it must do so, soon. Whoever takes chunks out of a queue
 * that others write from too does it between claim and write, so that their order is kept.
 * [any thread; never blocks] */
bool la_door_claim(la_door_t *d);
/* The loop has taken chunks out of that queue, and will give them to la_stream_write: nobody
 * may come between. [loop; under the queue's lock] */
void la_door_hold(la_door_t *d);
/* Write the chunks, or none, as far as that needs no waiting; the rest is taken over.
 * Returns the bytes that are written; for the others hooks.wrote comes. '*left': the loop must be
 * asked to go on, by la_stream_write with more or with NULL. [any thread; never blocks] */
size_t la_door_write(la_door_t *d, la_out_t *chunks, bool *left);
/* Bytes of chunks that were queued and have not left. */
size_t la_stream_pending(const la_stream_t *s);
void la_stream_pause(la_stream_t *s, bool paused);
/* Begin to close; what was queued and not written is dropped. */
void la_stream_close(la_stream_t *s);
/* The same, with a reason for 'closed'. */
void la_stream_fail(la_stream_t *s, const char *why);
/* Close when all that is queued has been written. */
void la_stream_finish(la_stream_t *s);
/* TLS: does the certificate stand for the host? Plain: true. */
bool la_stream_peer_is(const la_stream_t *s, const char *host);
/* Does the peer run on this machine (loopback)? */
bool la_stream_is_local(const la_stream_t *s);
/* The peer's address for a log line: at least 64 bytes. */
void la_stream_peer(const la_stream_t *s, char *out, size_t max);

typedef struct la_listener la_listener_t;

/* Somebody has connected. Fill 'hooks'; false refuses. With TLS its
 * handshake is still to come, then 'opened'. */
typedef bool la_accept_fn(void *ud, la_stream_t *s, la_stream_hooks_t *hooks);

/* Listen on an address ("127.0.0.1", "0.0.0.0", "::") and port (0: any). NULL with
 * 'why' (at least 128 bytes). */
la_listener_t *la_listen(la_loop_t *l, const char *address, uint16_t port,
                         la_tls_t *tls, la_accept_fn *accept, void *ud,
                         char *why, size_t max);
uint16_t la_listener_port(const la_listener_t *n);
/* No more connections; those that stand stay. */
void la_listener_close(la_listener_t *n);

#endif

/* TLS for streams: OpenSSL on memory buffers, so that it knows nothing of
 * sockets. Versions 1.2 and 1.3; both sides prove themselves by certificate. */
#ifndef LA_TLS_H
#define LA_TLS_H

#include "base/buf.h"

/* What a host uses for all its connections: certificate chain, key, and the
 * authorities it believes. Refcounted, any thread. */
typedef struct la_tls la_tls_t;

/* Load PEM files. 'why' (at least 256 bytes) gets the cause when NULL is
 * returned: which file, and what is wrong with it. Reads files. [any] */
la_tls_t *la_tls_new(const char *cert, const char *key, const char *ca,
                     char *why, size_t max);
la_tls_t *la_tls_ref(la_tls_t *t);
void la_tls_unref(la_tls_t *t);

/* One connection. */
typedef struct la_tls_conn la_tls_conn_t;

typedef enum {
  LA_TLS_OK,
  LA_TLS_CLOSED, /* the peer has closed in an orderly way */
  LA_TLS_FAILED,
} la_tls_result_t;

/* 'server_name': the connecting side's idea of whom it talks to (SNI); NULL on the accepting
 * side. NULL: memory. */
la_tls_conn_t *la_tls_conn_new(la_tls_t *t, const char *server_name);
void la_tls_conn_free(la_tls_conn_t *c);
/* Go on with the handshake; what is to be sent is appended to 'out'. '*done': it is
 * over. */
la_tls_result_t la_tls_handshake(la_tls_conn_t *c, la_buf_t *out, bool *done);
/* Bytes from the network. */
bool la_tls_feed(la_tls_conn_t *c, const uint8_t *bytes, size_t n);
/* Plain bytes for the reader: '*got' of at most 'n'; 0: no more for now. */
la_tls_result_t la_tls_read(la_tls_conn_t *c, uint8_t *to, size_t n,
                            size_t *got);
/* Encrypt; what is to be sent is appended to 'out'. */
la_tls_result_t la_tls_write(la_tls_conn_t *c, const uint8_t *bytes, size_t n,
                             la_buf_t *out);
/* What reading made necessary to send (key updates, tickets). */
void la_tls_flush(la_tls_conn_t *c, la_buf_t *out);
/* Say good-bye. */
void la_tls_shutdown(la_tls_conn_t *c, la_buf_t *out);
/* Does the peer's certificate stand for this host, a name or an address? */
bool la_tls_peer_is(const la_tls_conn_t *c, const char *host);
/* Why it failed: one line. */
const char *la_tls_why(const la_tls_conn_t *c);

#endif

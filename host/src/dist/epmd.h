/* The port mapper protocol of Erlang: which port a node listens on.
 *
 * Requests and answers as bytes, and the table of a mapper; no I/O. A request
 * is a length of 16 bits and that many bytes; answers have no length, their
 * kinds tell it. Source: "EPMD Protocol" in the ERTS User's Guide. */
#ifndef LA_EPMD_H
#define LA_EPMD_H

#include "base/buf.h"

#define LA_EPMD_PORT 4369
#define LA_EPMD_NAME_MAX 255

enum { LA_EPMD_NORMAL = 77, LA_EPMD_HIDDEN = 72 };

/* ---- requests (client) ------------------------------------------------------ */

/* Register 'name' (before the '@'). */
void la_epmd_register(la_buf_t *b, const char *name, uint16_t port,
                      bool hidden);
/* Ask for the port of 'name'. */
void la_epmd_lookup(la_buf_t *b, const char *name);
/* Ask for all names. */
void la_epmd_names(la_buf_t *b);

typedef enum {
  LA_EPMD_MORE, /* the answer is not whole yet */
  LA_EPMD_OK,
  LA_EPMD_REFUSED, /* the name is taken; there is no such name */
  LA_EPMD_BAD,     /* not an answer of a mapper */
} la_epmd_answer_t;

typedef struct la_epmd_port {
  uint16_t port;
  uint8_t type;          /* LA_EPMD_NORMAL, LA_EPMD_HIDDEN */
  uint16_t highest, lowest; /* protocol versions */
} la_epmd_port_t;

la_epmd_answer_t la_epmd_read_registered(const uint8_t *p, size_t n,
                                         uint32_t *creation);
la_epmd_answer_t la_epmd_read_port(const uint8_t *p, size_t n,
                                   la_epmd_port_t *out);

/* ---- the mapper (server) ----------------------------------------------------- */

typedef enum { LA_EPMD_REGISTER, LA_EPMD_LOOKUP, LA_EPMD_NAMES } la_epmd_op_t;

typedef struct la_epmd_request {
  la_epmd_op_t op;
  const uint8_t *name; /* points into the bytes */
  uint16_t name_len;
  la_epmd_port_t port; /* REGISTER */
} la_epmd_request_t;

/* Read one request: how many bytes it took; 0: not whole yet; -1: none of
 * ours. */
int la_epmd_read_request(const uint8_t *p, size_t n, la_epmd_request_t *out);

typedef struct la_epmd la_epmd_t;

la_epmd_t *la_epmd_new(uint16_t own_port); /* NULL: memory */
void la_epmd_free(la_epmd_t *m);
/* Answer a request of connection 'owner'; '*keep': the connection stays open (a
 * registration lives as long as it). 'creation': a random number. A request
 * to register that does not come from this machine is refused. */
void la_epmd_answer(la_epmd_t *m, const la_epmd_request_t *request,
                    const void *owner, bool from_here, uint32_t creation,
                    la_buf_t *out, bool *keep);
/* A connection has ended: its names are free. */
void la_epmd_gone(la_epmd_t *m, const void *owner);

#endif

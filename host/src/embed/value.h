/* Values of luactor.h: encoded terms that C programs own. */
#ifndef LA_VALUE_H
#define LA_VALUE_H

#include "luactor.h"
#include "proc/host.h"
#include "term/extract.h"

/* What a view looks at. */
typedef struct la_whole {
  la_term_t term;
  uint64_t home; /* the nonce of the only host that knows the bytecode of functions
                  * in it; 0: there are none */
} la_whole_t;

/* Immutable. It may outlive the host that it came from, and so holds no block of
 * its pools and no blob of its: those were copied. */
struct luactor_value {
  la_whole_t whole;
  la_msg_t *msg;  /* has the term; NULL: it is in 'store' */
  char *error;    /* luactor_reason_error */
  uint8_t store[];
};

/* NULL: memory. References to blobs without a home are taken, others are
 * copied. 'nonce': of the host it comes from; 0: of none. [any] */
luactor_value *la_value_new(const la_term_t *t, uint64_t nonce);
/* The message as a value, which owns it then; NULL: memory, it stays the caller's.
 * It must be in no mailbox and carry no call. [any] */
luactor_value *la_value_of_msg(la_msg_t *m, uint64_t nonce);
/* A text. [any] */
luactor_value *la_value_text(const char *text);

/* May the host have it? */
static inline bool la_value_fits(const luactor_value *v,
                                 const la_host_t *host) {
  return v->whole.home == 0 || v->whole.home == host->nonce;
}

static inline luactor_view la_view_all(const la_whole_t *w) {
  return (luactor_view){w, w->term.bytes, 0};
}

/* What a view looks at, and the part behind back references; NULL: it looks at nothing
 * or is a number of its own. */
const la_whole_t *la_view_whole(luactor_view view, const uint8_t **at);

/* As luactor_build_table; nil may be among the elements. */
int la_build_list(luactor_builder *b);

/* The code for what became of an extract. */
int la_extract_code(la_extract_t e);

#endif

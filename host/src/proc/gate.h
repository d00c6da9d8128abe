/* The way to a host for what may outlive it: mailboxes and tokens that C programs
 * hold. Refcounted; the host shuts it before it is freed. */
#ifndef LA_GATE_H
#define LA_GATE_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/lock.h"

typedef struct luactor_host la_host_t;

typedef struct la_gate {
  la_lock_t lock; /* guards 'host', and keeps the host from being freed */
  la_host_t *host; /* NULL: it has ended */
  _Atomic uint32_t refs;
} la_gate_t;

/* NULL: memory. One reference. */
la_gate_t *la_gate_new(la_host_t *host);
la_gate_t *la_gate_ref(la_gate_t *g);
void la_gate_unref(la_gate_t *g);
/* The host, which is not freed before la_gate_leave; NULL when it has ended (leave all
 * the same). [any] */
la_host_t *la_gate_enter(la_gate_t *g) LA_ACQUIRE(g->lock);
void la_gate_leave(la_gate_t *g) LA_RELEASE(g->lock);
/* From now on nobody gets the host. [host] */
void la_gate_shut(la_gate_t *g);

#endif

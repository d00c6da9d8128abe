/* A host that the embedder's own loop runs, inside this folder. */
#ifndef LA_STEP_H
#define LA_STEP_H

#include "proc/host.h"

/* Wait under host->lock until something has changed or 'deadline_ns' of the system's
 * clock; false: it is that time. Who steps the host runs it meanwhile. [any but the
 * host's own] */
bool la_step_wait(la_host_t *host, uint64_t deadline_ns)
    LA_REQUIRES(host->lock);
/* Is the caller the one who steps the host? */
bool la_step_is_here(la_host_t *host);
/* It is, and waits for something else than host->changed: run what there is, or sleep for a
 * moment, since what it waits for may come from a thread that knows nothing of the
 * alarm. */
void la_step_meanwhile(la_host_t *host);
/* The threads that the host has made are gone: wait for one that is in a step. False: it
 * did not come back before 'deadline_ns'. */
bool la_step_join(la_host_t *host, uint64_t deadline_ns);
/* Free what steps need. */
void la_step_fini(la_host_t *host);

#endif

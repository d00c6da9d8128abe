/* The tick: ends slices, and looks after threads that do not come back. */
#ifndef LA_TICK_H
#define LA_TICK_H

#include "sched/sched.h"

bool la_tick_start(la_host_t *host);
void la_tick_stop(la_host_t *host);
void la_tick_wake_now(la_host_t *host);
/* There is work again, or more of it: the tick thread, if it sleeps for long, looks at
 * once. [any] */
static inline void la_tick_wake(la_host_t *host) {
  if (atomic_load(&host->tick_sleeps)) {
    la_tick_wake_now(host);
  }
}

#endif

/* The tick: ends slices, and looks after threads that do not come back. */
#ifndef LA_TICK_H
#define LA_TICK_H

#include "sched/sched.h"

bool la_tick_start(la_host_t *host);
/* End the thread; the signal stays ours until la_tick_give_back. */
void la_tick_stop(la_host_t *host);
void la_tick_give_back(la_host_t *host);
/* End the slice of what the thread runs. [under its park_lock, not gone] */
void la_tick_interrupt(const la_host_t *host, const la_thread_t *t);
void la_tick_wake_now(la_host_t *host);
/* There is work again, or more of it: the tick thread, if it sleeps for long, looks at
 * once. [any] */
static inline void la_tick_wake(la_host_t *host) {
  if (atomic_load(&host->tick_sleeps)) {
    la_tick_wake_now(host);
  }
}

#endif

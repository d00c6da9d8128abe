/* The tick: ends slices, and looks after threads that do not come back. */
#ifndef LA_TICK_H
#define LA_TICK_H

#include "sched/sched.h"

bool la_tick_start(la_host_t *host);
void la_tick_stop(la_host_t *host);
/* There is work again. [any] */
void la_tick_wake(la_host_t *host);

#endif

/* The run queue of one scheduler. */
#ifndef LA_RUNQ_H
#define LA_RUNQ_H

#include "sched/sched.h"

void la_runq_init(la_runq_t *q);
/* Append by priority (or to the pinned ones). Returns how many are queued now. */
uint32_t la_runq_put(la_sched_t *s, la_proc_t *p);
/* Let p run next on this scheduler, before the others; who was next is queued.
 * Returns how many are queued besides. */
uint32_t la_runq_put_next(la_sched_t *s, la_proc_t *p);
/* Let others steal the process that was to run next. False: there is none. */
bool la_runq_release_next(la_sched_t *s);
la_proc_t *la_runq_take(la_sched_t *s);
/* Take up to half of another scheduler's processes: one is returned, the others
 * go to 'thief'. */
la_proc_t *la_runq_steal(la_sched_t *from, la_sched_t *thief);

#endif

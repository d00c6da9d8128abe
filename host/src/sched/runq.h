/* The run queue of one scheduler. */
#ifndef LA_RUNQ_H
#define LA_RUNQ_H

#include "sched/sched.h"

void la_runq_init(la_runq_t *q);
/* Append by priority (or to the pinned ones). Returns how many are queued now.
 * [any] */
uint32_t la_runq_put(la_sched_t *s, la_proc_t *p);
/* The same, but before the others of its priority. [any] */
uint32_t la_runq_put_first(la_sched_t *s, la_proc_t *p);
/* Let p, which was woken, run next on this scheduler, unless its priority says
 * otherwise; who was next is queued. Returns whether somebody is queued whom others
 * could take. [any] */
bool la_runq_put_next(la_sched_t *s, la_proc_t *p);
/* Let others steal the process that was to run next. False: there is none.
 * [any] */
bool la_runq_release_next(la_sched_t *s);
/* The process to run now, or NULL. 'now' is the time by a clock of some
 * milliseconds or turns, see runq.c. [who serves the scheduler] */
la_proc_t *la_runq_take(la_sched_t *s, la_turn_t *turn, uint32_t now);
/* The one that was taken from the queue has used up its slice: the queue's turn is
 * over. */
static inline void la_turn_end(la_turn_t *turn, uint32_t now) {
  if (turn->is_queues) {
    *turn = (la_turn_t){false, now};
  }
}
/* Is there anybody? [any] */
static inline bool la_runq_is_empty(const la_sched_t *s) {
  return atomic_load(&s->next) == NULL && atomic_load(&s->nqueued) == 0;
}
/* Is there anybody whom another scheduler could take? For who is about to sleep:
 * what was queued before is seen. [any] */
bool la_runq_has_stealable(la_sched_t *s);
/* Take up to half of another scheduler's processes: one is returned, the others
 * go to 'thief'. */
la_proc_t *la_runq_steal(la_sched_t *from, la_sched_t *thief);

#endif

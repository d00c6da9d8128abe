/* See runq.h.
 *
 * There is a queue, under a lock, and the process that is to run 'next', which
 * needs none: who takes it or puts it there exchanges the pointer. Who has
 * just been woken is next, so that it finds its message in the cache, and a pair
 * that wakes each other stays on one thread and never touches the lock.
 *
 * Such a chain must not starve the queue, nor the queue, which may be full of endless
 * loops, a process that only now and then has something to do. So they take
 * turns. A turn lasts until the clock 'now' moves on (a millisecond; in count mode
 * a number of runs); the queue's also ends when a process of it has used up its
 * slice. A process that sleeps among endless loops thus waits for the rest of one
 * slice.
 *
 * "max" and "high" go strictly first and never are next; "low" gets one turn in
 * eight against "normal", as in Erlang, and is next only when nobody is
 * queued. */
#include "sched/runq.h"

#include <string.h>

#define LOW_TURN 8
#define STEAL_MOST 32

void la_runq_init(la_runq_t *q) {
  memset(q, 0, sizeof *q);
  la_lock_init(&q->lock, LA_RANK_RUNQ);
}

static void append(la_proc_t **head, la_proc_t **tail, la_proc_t *p) {
  p->runq_next = NULL;
  if (*tail != NULL) {
    (*tail)->runq_next = p;
  } else {
    *head = p;
  }
  *tail = p;
}

static void prepend(la_proc_t **head, la_proc_t **tail, la_proc_t *p) {
  p->runq_next = *head;
  *head = p;
  if (*tail == NULL) {
    *tail = p;
  }
}

static la_proc_t *pop(la_proc_t **head, la_proc_t **tail) {
  la_proc_t *p = *head;
  if (p != NULL) {
    *head = p->runq_next;
    if (*head == NULL) {
      *tail = NULL;
    }
    p->runq_next = NULL;
  }
  return p;
}

static bool is_urgent(const la_proc_t *p) {
  return p->priority <= LA_PRIO_HIGH;
}

/* The counts change under the lock, and are read without it as hints; see
 * la_runq_put for the one time that more is asked of them. */
static uint32_t count(_Atomic uint32_t *n, uint32_t by) {
  const uint32_t sum = atomic_load_explicit(n, memory_order_relaxed) + by;
  atomic_store_explicit(n, sum, memory_order_relaxed);
  return sum;
}

static bool has_any(const _Atomic uint32_t *n) {
  return atomic_load_explicit(n, memory_order_relaxed) != 0;
}

static uint32_t put(la_sched_t *s, la_proc_t *p,
                    void (*add)(la_proc_t **, la_proc_t **, la_proc_t *)) {
  la_lock(&s->q.lock);
  if (p->pinned == s) {
    add(&s->q.pinned_head, &s->q.pinned_tail, p);
  } else {
    add(&s->q.head[p->priority], &s->q.tail[p->priority], p);
    count(&s->nstealable, 1);
    if (is_urgent(p)) {
      count(&s->nurgent, 1);
    }
  }
  const uint32_t n =
      atomic_load_explicit(&s->nqueued, memory_order_relaxed) + 1;
  /* seq_cst: who goes to sleep says so first and then looks at this; who is here
   * looks afterwards whether anybody sleeps. */
  atomic_store(&s->nqueued, n);
  la_unlock(&s->q.lock);
  return n;
}

uint32_t la_runq_put(la_sched_t *s, la_proc_t *p) {
  return put(s, p, append);
}

uint32_t la_runq_put_first(la_sched_t *s, la_proc_t *p) {
  return put(s, p, prepend);
}

bool la_runq_put_next(la_sched_t *s, la_proc_t *p) {
  if (is_urgent(p) || (p->priority == LA_PRIO_LOW &&
                       has_any(&s->nqueued))) {
    la_runq_put(s, p);
    return true;
  }
  la_proc_t *before = atomic_exchange(&s->next, p);
  if (before != NULL) {
    la_runq_put(s, before);
  }
  return has_any(&s->nstealable);
}

bool la_runq_release_next(la_sched_t *s) {
  la_proc_t *p = atomic_exchange(&s->next, NULL);
  if (p != NULL) {
    la_runq_put(s, p);
  }
  return p != NULL;
}

static la_proc_t *take_queued_locked(la_sched_t *s) LA_REQUIRES(s->q.lock) {
  la_runq_t *q = &s->q;
  la_proc_t *p = NULL;
  for (int prio = LA_PRIO_MAX; p == NULL && prio <= LA_PRIO_HIGH; prio++) {
    p = pop(&q->head[prio], &q->tail[prio]);
  }
  if (p == NULL) {
    const bool low_first =
        q->head[LA_PRIO_LOW] != NULL && q->low_passed >= LOW_TURN;
    const int first = low_first ? LA_PRIO_LOW : LA_PRIO_NORMAL;
    const int second = low_first ? LA_PRIO_NORMAL : LA_PRIO_LOW;
    p = pop(&q->head[first], &q->tail[first]);
    if (p == NULL) {
      p = pop(&q->head[second], &q->tail[second]);
    }
    if (p != NULL) {
      q->low_passed = p->priority == LA_PRIO_LOW ? 0 : q->low_passed + 1;
    }
  }
  if (p != NULL) {
    count(&s->nstealable, UINT32_MAX);
    if (is_urgent(p)) {
      count(&s->nurgent, UINT32_MAX);
    }
  }
  return p;
}

static la_proc_t *take_queued(la_sched_t *s) {
  la_runq_t *q = &s->q;
  la_proc_t *p = NULL;
  if (!has_any(&s->nqueued)) {
    return NULL;
  }
  la_lock(&s->q.lock);
  /* Pinned ones and the others take turns. */
  if (q->pinned_head != NULL && (q->low_passed & 1)) {
    q->low_passed++;
    p = pop(&q->pinned_head, &q->pinned_tail);
  } else {
    p = take_queued_locked(s);
    if (p == NULL) {
      p = pop(&q->pinned_head, &q->pinned_tail);
    }
  }
  if (p != NULL) {
    count(&s->nqueued, UINT32_MAX);
  }
  la_unlock(&s->q.lock);
  return p;
}

/* Who was to be next, unless somebody queued is to be preferred. It may be looked at
 * only by who has taken it: others may take it, and run it to its end. */
static la_proc_t *take_next(la_sched_t *s) {
  if (atomic_load_explicit(&s->next, memory_order_relaxed) == NULL) {
    return NULL;
  }
  la_proc_t *p = atomic_exchange(&s->next, NULL);
  if (p != NULL && (p->priority == LA_PRIO_LOW
                        ? has_any(&s->nqueued)
                        : has_any(&s->nurgent))) {
    la_runq_put(s, p);
    return NULL;
  }
  return p;
}

la_proc_t *la_runq_take(la_sched_t *s, la_turn_t *turn, uint32_t now) {
  const bool queued = has_any(&s->nqueued);
  if (turn->since != now && (queued || turn->is_queues)) {
    *turn = (la_turn_t){!turn->is_queues, now};
  }
  la_proc_t *p = NULL;
  if (!queued || !turn->is_queues) {
    p = take_next(s);
    if (p != NULL) {
      return p;
    }
  }
  p = take_queued(s);
  if (p == NULL) {
    return take_next(s);
  }
  if (!turn->is_queues) {
    *turn = (la_turn_t){true, now}; /* nobody was next */
  }
  return p;
}

bool la_runq_has_stealable(la_sched_t *s) {
  if (atomic_load(&s->nqueued) == 0) {
    return false;
  }
  la_lock(&s->q.lock);
  const bool has = has_any(&s->nstealable);
  la_unlock(&s->q.lock);
  return has;
}

la_proc_t *la_runq_steal(la_sched_t *from, la_sched_t *thief) {
  if (!has_any(&from->nstealable)) {
    return NULL;
  }
  la_proc_t *taken[STEAL_MOST];
  uint32_t n = 0;
  la_lock(&from->q.lock);
  uint32_t want =
      (atomic_load_explicit(&from->nstealable, memory_order_relaxed) + 1) / 2;
  if (want > STEAL_MOST) {
    want = STEAL_MOST;
  }
  while (n < want) {
    la_proc_t *p = take_queued_locked(from);
    if (p == NULL) {
      break;
    }
    taken[n++] = p;
  }
  count(&from->nqueued, 0u - n);
  la_unlock(&from->q.lock);
  for (uint32_t i = 1; i < n; i++) {
    la_runq_put(thief, taken[i]);
  }
  return n > 0 ? taken[0] : NULL;
}

/* See runq.h. "max" and "high" go strictly first; "low" gets one turn in eight
 * against "normal", as in Erlang. */
#include "sched/runq.h"

#include <string.h>

#define LOW_TURN 8
#define NEXT_IN_ROW 64 /* a pair that wakes each other must not starve the rest */
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

static void put_locked(la_sched_t *s, la_proc_t *p) LA_REQUIRES(s->q.lock) {
  if (p->pinned == s) {
    append(&s->q.pinned_head, &s->q.pinned_tail, p);
  } else {
    append(&s->q.head[p->priority], &s->q.tail[p->priority], p);
    atomic_fetch_add(&s->nstealable, 1); /* seq_cst, see la_runq_put */
  }
}

uint32_t la_runq_put(la_sched_t *s, la_proc_t *p) {
  la_lock(&s->q.lock);
  put_locked(s, p);
  /* seq_cst: who goes to sleep says so first and then looks at this. */
  const uint32_t n = atomic_fetch_add(&s->nqueued, 1) + 1;
  la_unlock(&s->q.lock);
  return n;
}

uint32_t la_runq_put_next(la_sched_t *s, la_proc_t *p) {
  la_lock(&s->q.lock);
  if (s->q.next != NULL) {
    put_locked(s, s->q.next);
  }
  s->q.next = p;
  const uint32_t n = atomic_fetch_add(&s->nqueued, 1);
  la_unlock(&s->q.lock);
  return n;
}

bool la_runq_release_next(la_sched_t *s) {
  la_lock(&s->q.lock);
  la_proc_t *p = s->q.next;
  if (p != NULL) {
    s->q.next = NULL;
    put_locked(s, p);
  }
  la_unlock(&s->q.lock);
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
    atomic_fetch_sub(&s->nstealable, 1);
  }
  return p;
}

/* 'next' goes first unless somebody of better priority waits, or it has done so
 * often enough. */
static bool next_goes_first(const la_runq_t *q) {
  if (q->next == NULL) {
    return false;
  }
  for (int prio = 0; prio < q->next->priority && prio <= LA_PRIO_HIGH; prio++) {
    if (q->head[prio] != NULL) {
      return false;
    }
  }
  return q->next_in_row < NEXT_IN_ROW;
}

la_proc_t *la_runq_take(la_sched_t *s) {
  if (atomic_load(&s->nqueued) == 0) {
    return NULL;
  }
  la_runq_t *q = &s->q;
  la_proc_t *p = NULL;
  la_lock(&s->q.lock);
  if (next_goes_first(q)) {
    p = q->next;
    q->next = NULL;
    q->next_in_row++;
  } else {
    q->next_in_row = 0;
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
    if (p == NULL) {
      p = q->next;
      q->next = NULL;
    }
  }
  if (p != NULL) {
    atomic_fetch_sub(&s->nqueued, 1);
  }
  la_unlock(&s->q.lock);
  return p;
}

la_proc_t *la_runq_steal(la_sched_t *from, la_sched_t *thief) {
  if (atomic_load(&from->nqueued) == 0) {
    return NULL;
  }
  la_proc_t *taken[STEAL_MOST];
  uint32_t n = 0;
  la_lock(&from->q.lock);
  uint32_t want = (atomic_load(&from->nstealable) + 1) / 2;
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
  atomic_fetch_sub(&from->nqueued, n);
  la_unlock(&from->q.lock);
  for (uint32_t i = 1; i < n; i++) {
    la_runq_put(thief, taken[i]);
  }
  return n > 0 ? taken[0] : NULL;
}

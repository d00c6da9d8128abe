/* See lock.h. */
#include "base/lock.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#ifndef NDEBUG
#define MAX_HELD 8
static _Thread_local la_rank_t held[MAX_HELD];
static _Thread_local int nheld;

static void note_taken(const la_lock_t *l) {
  if (nheld > 0 && held[nheld - 1] >= l->rank) {
    fprintf(stderr, "lock rank %d taken while %d is held\n", (int)l->rank,
            (int)held[nheld - 1]);
    abort();
  }
  held[nheld++] = l->rank;
}

static void note_freed(const la_lock_t *l) {
  for (int i = nheld - 1; i >= 0; i--) {
    if (held[i] == l->rank) {
      for (; i < nheld - 1; i++) {
        held[i] = held[i + 1];
      }
      nheld--;
      return;
    }
  }
  abort();
}

bool la_lock_is_held(const la_lock_t *l) {
  for (int i = 0; i < nheld; i++) {
    if (held[i] == l->rank) {
      return true;
    }
  }
  return false;
}
#else
static inline void note_taken(const la_lock_t *l) {
  (void)l;
}

static inline void note_freed(const la_lock_t *l) {
  (void)l;
}

bool la_lock_is_held(const la_lock_t *l) {
  (void)l;
  return true;
}
#endif

void la_lock_init(la_lock_t *l, la_rank_t rank) {
  pthread_mutex_init(&l->mutex, NULL);
  l->rank = rank;
}

void la_lock_fini(la_lock_t *l) {
  pthread_mutex_destroy(&l->mutex);
}

LA_UNCHECKED void la_lock(la_lock_t *l) {
  note_taken(l);
  pthread_mutex_lock(&l->mutex);
}

LA_UNCHECKED void la_unlock(la_lock_t *l) {
  note_freed(l); /* first: the next to have the lock may free it */
  pthread_mutex_unlock(&l->mutex);
}

void la_cond_init(pthread_cond_t *c) {
  pthread_condattr_t attr;
  pthread_condattr_init(&attr);
  pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
  pthread_cond_init(c, &attr);
  pthread_condattr_destroy(&attr);
}

bool la_cond_wait(pthread_cond_t *c, la_lock_t *l, unsigned long deadline_ns) {
  if (deadline_ns == UINT64_MAX) {
    pthread_cond_wait(c, &l->mutex);
    return true;
  }
  const struct timespec t = {.tv_sec = (time_t)(deadline_ns / 1000000000u),
                             .tv_nsec = (long)(deadline_ns % 1000000000u)};
  return pthread_cond_timedwait(c, &l->mutex, &t) == 0;
}

/* Timers: a hierarchical wheel for each scheduler.
 *
 * All timers of a process live in the wheel of its home scheduler, so one lock
 * guards them and the process's list of them. Adding and cancelling are O(1). Time is cut into ticks of
 * 2^16 ns; a timer never fires early and at most one tick late by the
 * wheel's doing. Levels of 64 slots each: a timer sits on the lowest level whose
 * span holds the distance to its tick and moves down as time goes on.
 * (Hashed hierarchical wheels: Varghese and Lauck, 1987.)
 *
 * The timeout of a receive is a timer inside the process that is left in the
 * wheel when the message comes first: the next wait only writes a new deadline,
 * and a timer that fires before it goes back in. So a wait with a timeout costs
 * neither an allocation nor, mostly, the wheel. */
#ifndef LA_TIMER_H
#define LA_TIMER_H

#include <stdatomic.h>

#include "base/lock.h"
#include "proc/signal.h"

#define LA_WHEEL_LEVELS 8
#define LA_WHEEL_SLOTS 64
#define LA_WHEEL_TICK_BITS 16

typedef struct la_timer {
  struct la_timer *next, **back; /* in a wheel slot; back NULL: not in one */
  uint64_t due_ns;
  uint64_t due_tick;
  /* A receive timeout (LA_TIMER_WAIT) is part of the process, LA_TIMER_LOG of
   * the host's log, LA_TIMER_GROUP of a group; others are blocks of the wheel's table. */
  enum { LA_TIMER_WAIT, LA_TIMER_ONCE, LA_TIMER_EVERY, LA_TIMER_LOG,
         LA_TIMER_GROUP } kind;
  struct la_timer *own_next, **own_back; /* the owner's timers */
  la_id_t id;
  la_msg_t *msg;          /* ONCE, EVERY: what to send, to msg->sig.to */
  char *name;             /* or to this registered name; malloced */
  uint64_t period_ns;
  _Atomic uint64_t *owed; /* or NULL: where the owner counts */
  uint32_t cost;          /* the bytes of this timer */
} la_timer_t;

typedef struct la_wheel {
  la_lock_t lock; /* guards all below and the timers in it */
  uint64_t tick;  /* all ticks before this one have been served */
  uint64_t busy[LA_WHEEL_LEVELS]; /* a bit per slot that is not empty */
  la_timer_t *slot[LA_WHEEL_LEVELS][LA_WHEEL_SLOTS];
  la_timer_t **table;     /* ONCE and EVERY by index of their id */
  uint32_t *stamps;       /* generation of each table entry */
  uint32_t *free;         /* free indices */
  uint32_t nfree, ntable;
  uint32_t count;         /* timers in the wheel */
  uint32_t index;         /* of the scheduler, part of the ids */
  _Atomic uint64_t next_ns; /* when to look again; UINT64_MAX: never */
} la_wheel_t;

void la_wheel_init(la_wheel_t *w, uint32_t index, uint64_t now_ns);
void la_wheel_fini(la_wheel_t *w);

/* Put a timer in (it must not be in). True when it is now the earliest, so that
 * the scheduler must be told. */
bool la_wheel_add_locked(la_wheel_t *w, la_timer_t *t, uint64_t due_ns)
    LA_REQUIRES(w->lock);
void la_wheel_remove_locked(la_wheel_t *w, la_timer_t *t)
    LA_REQUIRES(w->lock);
/* Take the timers that are due by 'now_ns' out; a list by 'next', 'back' NULL. */
la_timer_t *la_wheel_expire_locked(la_wheel_t *w, uint64_t now_ns)
    LA_REQUIRES(w->lock);

/* Walk over the timers until 'keep' says true of one; take the others out. */
void la_wheel_prune_locked(la_wheel_t *w, bool (*keep)(la_timer_t *))
    LA_REQUIRES(w->lock);

/* A timer block with an id of its own, on the list '*own' of its process. NULL
 * when memory is short. */
la_timer_t *la_timer_new_locked(la_wheel_t *w, la_timer_t **own)
    LA_REQUIRES(w->lock);
la_timer_t *la_timer_find_locked(la_wheel_t *w, la_id_t id)
    LA_REQUIRES(w->lock);
/* Not in the wheel. Frees the message too. */
void la_timer_free_locked(la_wheel_t *w, la_timer_t *t)
    LA_REQUIRES(w->lock);
/* Which scheduler's wheel an id belongs to. */
uint32_t la_timer_wheel_of(la_id_t id);

#endif

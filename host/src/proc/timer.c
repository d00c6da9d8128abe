/* See timer.h. */
#include "proc/timer.h"

#include <string.h>

#include "base/env.h"

/* A timer's id: stamp (24 bits), wheel (8), index (28). */
#define INDEX_BITS 28
#define WHEEL_BITS 8
#define STAMP_MASK 0xFFFFFFu

void la_wheel_init(la_wheel_t *w, uint32_t index, uint64_t now_ns) {
  memset(w, 0, sizeof *w);
  la_lock_init(&w->lock, LA_RANK_WHEEL);
  w->tick = now_ns >> LA_WHEEL_TICK_BITS;
  w->index = index;
  atomic_init(&w->next_ns, UINT64_MAX);
}

void la_wheel_fini(la_wheel_t *w) {
  la_lock(&w->lock);
  for (uint32_t i = 0; i < w->ntable; i++) {
    if (w->table[i] != NULL) {
      la_timer_free_locked(w, w->table[i]);
    }
  }
  la_unlock(&w->lock);
  la_free(w->table);
  la_free(w->stamps);
  la_free(w->free);
  la_lock_fini(&w->lock);
}

static void place(la_wheel_t *w, la_timer_t *t) {
  uint64_t tick = t->due_tick;
  if (tick < w->tick) {
    tick = w->tick;
  }
  /* The highest bit in which the due tick differs from now decides the level. */
  const uint64_t diff = tick ^ w->tick;
  unsigned level = diff == 0 ? 0 : (63u - (unsigned)__builtin_clzll(diff)) / 6;
  if (level >= LA_WHEEL_LEVELS) {
    level = LA_WHEEL_LEVELS - 1;
  }
  const unsigned slot = (unsigned)(tick >> (6 * level)) & 63;
  la_timer_t **head = &w->slot[level][slot];
  t->next = *head;
  t->back = head;
  if (*head != NULL) {
    (*head)->back = &t->next;
  }
  *head = t;
  w->busy[level] |= UINT64_C(1) << slot;
}

/* The tick at which something must be served or moved down; UINT64_MAX: none. */
static uint64_t next_tick(const la_wheel_t *w) {
  for (unsigned level = 0; level < LA_WHEEL_LEVELS; level++) {
    const unsigned at = (unsigned)(w->tick >> (6 * level)) & 63;
    /* Slots of this level at or after the present one; earlier ones belong to
     * the next turn, which a higher level's slot will bring. The top level
     * wraps round. */
    uint64_t later = w->busy[level] >> at;
    if (level == LA_WHEEL_LEVELS - 1 && later == 0 && w->busy[level] != 0) {
      return ((w->tick >> (6 * level)) + 1) << (6 * level);
    }
    if (later != 0) {
      const uint64_t slot =
          (w->tick >> (6 * level)) + (unsigned)__builtin_ctzll(later);
      const uint64_t tick = slot << (6 * level);
      return tick < w->tick ? w->tick : tick;
    }
  }
  return UINT64_MAX;
}

static void note_next(la_wheel_t *w) {
  const uint64_t tick = next_tick(w);
  /* seq_cst: its scheduler says that it sleeps and then looks at this. */
  atomic_store(&w->next_ns, tick == UINT64_MAX
                                ? UINT64_MAX
                                : tick << LA_WHEEL_TICK_BITS);
}

bool la_wheel_add_locked(la_wheel_t *w, la_timer_t *t, uint64_t due_ns) {
  t->due_ns = due_ns;
  t->due_tick = due_ns >> LA_WHEEL_TICK_BITS;
  if (t->due_tick << LA_WHEEL_TICK_BITS != due_ns &&
      t->due_tick < UINT64_MAX >> LA_WHEEL_TICK_BITS) {
    t->due_tick++; /* up: never early */
  }
  const uint64_t before = atomic_load(&w->next_ns);
  place(w, t);
  w->count++;
  note_next(w);
  return atomic_load(&w->next_ns) < before;
}

static void unplace(la_wheel_t *w, la_timer_t *t) {
  *t->back = t->next;
  if (t->next != NULL) {
    t->next->back = t->back;
  } else if ((char *)t->back >= (char *)w->slot &&
             (char *)t->back < (char *)w->slot + sizeof w->slot &&
             *t->back == NULL) {
    const size_t at = (size_t)(t->back - &w->slot[0][0]);
    w->busy[at / LA_WHEEL_SLOTS] &=
        ~(UINT64_C(1) << (at % LA_WHEEL_SLOTS));
  }
  t->next = NULL;
  t->back = NULL;
}

void la_wheel_remove_locked(la_wheel_t *w, la_timer_t *t) {
  unplace(w, t);
  w->count--;
}

void la_wheel_prune_locked(la_wheel_t *w, bool (*keep)(la_timer_t *)) {
  for (unsigned level = 0; level < LA_WHEEL_LEVELS; level++) {
    while (w->busy[level] != 0) {
      la_timer_t *t = w->slot[level][__builtin_ctzll(w->busy[level])];
      la_wheel_remove_locked(w, t);
      if (keep(t)) {
        place(w, t);
        w->count++;
        note_next(w);
        return;
      }
    }
  }
  note_next(w);
}

/* Empty one slot: what is due goes to 'out', the rest is placed anew. */
static void serve(la_wheel_t *w, unsigned level, unsigned slot,
                  la_timer_t ***out) {
  la_timer_t *t = w->slot[level][slot];
  w->slot[level][slot] = NULL;
  w->busy[level] &= ~(UINT64_C(1) << slot);
  while (t != NULL) {
    la_timer_t *next = t->next;
    t->next = NULL;
    t->back = NULL;
    if (t->due_tick <= w->tick) {
      w->count--;
      **out = t;
      *out = &t->next;
    } else {
      place(w, t);
    }
    t = next;
  }
}

la_timer_t *la_wheel_expire_locked(la_wheel_t *w, uint64_t now_ns) {
  const uint64_t now = now_ns >> LA_WHEEL_TICK_BITS;
  la_timer_t *due = NULL, **out = &due;
  for (;;) {
    const uint64_t tick = next_tick(w);
    if (tick > now) {
      if (w->tick < now) {
        w->tick = now;
      }
      break;
    }
    w->tick = tick;
    for (unsigned level = LA_WHEEL_LEVELS; level-- > 0;) {
      const unsigned slot = (unsigned)(tick >> (6 * level)) & 63;
      const uint64_t below = tick & ((UINT64_C(1) << (6 * level)) - 1);
      if (below == 0 && (w->busy[level] >> slot & 1)) {
        serve(w, level, slot, &out);
      }
    }
    /* Level 0's slot of this tick is empty now: go on behind it. */
    w->tick = tick + (tick < now);
    if (tick == now) {
      break;
    }
  }
  note_next(w);
  return due;
}

/* ---- timer blocks --------------------------------------------------------- */

static bool more_entries(la_wheel_t *w) {
  const uint32_t n = w->ntable ? w->ntable * 2 : 16;
  la_timer_t **table = la_realloc(w->table, n * sizeof *table);
  if (table == NULL) {
    return false;
  }
  w->table = table;
  uint32_t *stamps = la_realloc(w->stamps, n * sizeof *stamps);
  if (stamps == NULL) {
    return false;
  }
  w->stamps = stamps;
  uint32_t *free = la_realloc(w->free, n * sizeof *free);
  if (free == NULL) {
    return false;
  }
  w->free = free;
  for (uint32_t i = w->ntable; i < n; i++) {
    table[i] = NULL;
    stamps[i] = 0;
    free[w->nfree++] = n - 1 - (i - w->ntable);
  }
  w->ntable = n;
  return true;
}

la_timer_t *la_timer_new_locked(la_wheel_t *w, la_timer_t **own) {
  if (w->nfree == 0 && !more_entries(w)) {
    return NULL;
  }
  la_timer_t *t = la_zalloc(sizeof *t);
  if (t == NULL) {
    return NULL;
  }
  const uint32_t index = w->free[--w->nfree];
  w->table[index] = t;
  w->stamps[index] = (w->stamps[index] + 1) & STAMP_MASK;
  t->id = la_id_counted(
      LA_ID_TIMER, (uint64_t)w->stamps[index] << (INDEX_BITS + WHEEL_BITS) |
                       (uint64_t)w->index << INDEX_BITS | index);
  t->own_next = *own;
  t->own_back = own;
  if (*own != NULL) {
    (*own)->own_back = &t->own_next;
  }
  *own = t;
  return t;
}

uint32_t la_timer_wheel_of(la_id_t id) {
  return (uint32_t)(la_id_body(id) >> INDEX_BITS) & ((1u << WHEEL_BITS) - 1);
}

la_timer_t *la_timer_find_locked(la_wheel_t *w, la_id_t id) {
  const uint32_t index = (uint32_t)(id & ((1u << INDEX_BITS) - 1));
  if (index >= w->ntable || w->table[index] == NULL ||
      w->table[index]->id != id) {
    return NULL;
  }
  return w->table[index];
}

void la_timer_free_locked(la_wheel_t *w, la_timer_t *t) {
  const uint32_t index = (uint32_t)(t->id & ((1u << INDEX_BITS) - 1));
  w->table[index] = NULL;
  w->free[w->nfree++] = index;
  if (t->own_back != NULL) {
    *t->own_back = t->own_next;
    if (t->own_next != NULL) {
      t->own_next->own_back = t->own_back;
    }
  }
  if (t->owed != NULL) {
    atomic_fetch_sub_explicit(t->owed, t->cost, memory_order_relaxed);
  }
  if (t->msg != NULL) {
    la_sig_free(&t->msg->sig);
  }
  la_free(t->name);
  la_free(t);
}

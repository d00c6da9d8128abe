/* See pidtab.h. */
#include "proc/pidtab.h"

#include <string.h>

#include "base/env.h"

#define CHUNK_SLOTS (1u << LA_SLOT_CHUNK_BITS)
#define NO_SLOT UINT32_MAX
#define COUNT_BITS 28
#define COUNT_MASK ((UINT64_C(1) << COUNT_BITS) - 1)

bool la_pidtab_init(la_pidtab_t *t, uint32_t max_procs) {
  memset(t, 0, sizeof *t);
  la_lock_init(&t->lock, LA_RANK_PIDTAB);
  t->first_free = t->last_free = NO_SLOT;
  t->max_procs = max_procs;
  return true;
}

void la_pidtab_fini(la_pidtab_t *t) {
  for (uint32_t i = 0; i < LA_SLOT_CHUNKS; i++) {
    la_free_aligned(atomic_load(&t->chunks[i]));
  }
  la_free(t->serials);
  la_lock_fini(&t->lock);
}

la_slot_t *la_pidtab_at(la_pidtab_t *t, uint32_t index) {
  la_slot_t *chunk = atomic_load_explicit(
      &t->chunks[index >> LA_SLOT_CHUNK_BITS], memory_order_acquire);
  return chunk != NULL ? &chunk[index & (CHUNK_SLOTS - 1)] : NULL;
}

la_slot_t *la_pidtab_slot(la_pidtab_t *t, la_id_t id) {
  return la_id_has_slot(id) ? la_pidtab_at(t, la_id_slot(id)) : NULL;
}

uint32_t la_pidtab_size(la_pidtab_t *t) {
  la_lock(&t->lock);
  const uint32_t n = t->nslots;
  la_unlock(&t->lock);
  return n;
}

/* A chunk of never used slots at 'index', all closed. */
static bool add_chunk(la_pidtab_t *t, uint32_t index) {
  uint64_t *serials =
      la_realloc(t->serials, (size_t)(index + CHUNK_SLOTS) * sizeof *serials);
  if (serials == NULL) {
    return false;
  }
  t->serials = serials;
  la_slot_t *chunk = la_alloc_aligned(64, CHUNK_SLOTS * sizeof *chunk);
  if (chunk == NULL) {
    return false;
  }
  memset(chunk, 0, CHUNK_SLOTS * sizeof *chunk);
  for (uint32_t i = 0; i < CHUNK_SLOTS; i++) {
    atomic_init(&chunk[i].inbox, LA_INBOX_CLOSED);
    serials[index + i] = 0;
  }
  atomic_store_explicit(&t->chunks[index >> LA_SLOT_CHUNK_BITS], chunk,
                        memory_order_release);
  return true;
}

/* Unused slots are taken before freed ones until a floor is reached, so that a
 * freed slot rests: its old pid stays unused for a while and small numbers stay
 * readable. Slot 0 is never used: no pid prints as <0.0>. */
#define REST_SLOTS 1024u

static bool pick_index(la_pidtab_t *t, uint32_t *index) {
  if (t->first_free != NO_SLOT && t->nslots >= REST_SLOTS) {
    *index = t->first_free;
    t->first_free = la_pidtab_at(t, *index)->next_free;
    if (t->first_free == NO_SLOT) {
      t->last_free = NO_SLOT;
    }
    return true;
  }
  if (t->nslots == 0) {
    if (!add_chunk(t, 0)) {
      return false;
    }
    t->nslots = 1;
  }
  if (t->nslots > LA_ID_SLOT_MASK ||
      ((t->nslots & (CHUNK_SLOTS - 1)) == 0 && !add_chunk(t, t->nslots))) {
    return false;
  }
  *index = t->nslots++;
  return true;
}

la_id_t la_pidtab_take(la_pidtab_t *t, int kind, la_slot_t **slot,
                       bool *no_memory) {
  la_id_t id = LA_NO_ID;
  *no_memory = false;
  la_lock(&t->lock);
  uint32_t index = 0;
  if (kind == LA_SLOT_PROC && t->nprocs >= t->max_procs) {
    goto out;
  }
  if (!pick_index(t, &index)) {
    *no_memory = true;
    goto out;
  }
  la_slot_t *s = la_pidtab_at(t, index);
  id = la_id_make(kind == LA_SLOT_PROC   ? LA_ID_PID
                  : kind == LA_SLOT_POOL ? LA_ID_POOL
                                         : LA_ID_MBOX,
                  t->serials[index]++, index);
  if (kind == LA_SLOT_PROC) {
    t->nprocs++;
  }
  atomic_store(&s->kind, (uint8_t)kind);
  atomic_store(&s->room, la_id_serial(id) << COUNT_BITS);
  if (kind == LA_SLOT_CBOX) {
    s->next_free = index; /* it is never free again: its own index */
  }
  *slot = s;
out:
  la_unlock(&t->lock);
  return id;
}

void la_slot_publish(la_slot_t *s, la_id_t id) {
  atomic_store_explicit(&s->id, id, memory_order_release);
  if (atomic_load(&s->kind) == LA_SLOT_PROC) {
    /* Open. Release: pairs with the acquire of a push, which may then use
     * what the spawner wrote. */
    atomic_store_explicit(&s->inbox, NULL, memory_order_release);
  }
}

la_id_t la_slot_renew(la_pidtab_t *t, la_slot_t *s) {
  la_lock(&t->lock);
  const uint32_t index = s->next_free;
  const la_id_t id = la_id_make(LA_ID_MBOX, t->serials[index]++, index);
  la_unlock(&t->lock);
  atomic_store(&s->room, la_id_serial(id) << COUNT_BITS);
  return id;
}

void la_pidtab_give(la_pidtab_t *t, la_slot_t *s, uint32_t index) {
  la_lock(&t->lock);
  if (atomic_load(&s->kind) == LA_SLOT_PROC) {
    t->nprocs--;
  }
  atomic_store(&s->kind, LA_SLOT_FREE);
  atomic_store(&s->limit, 0);
  atomic_store(&s->flags, 0);
  atomic_store(&s->behind, 0);
  s->owner = LA_NO_ID;
  s->next_free = NO_SLOT;
  if (t->last_free == NO_SLOT) {
    t->first_free = index;
  } else {
    la_pidtab_at(t, t->last_free)->next_free = index;
  }
  t->last_free = index;
  la_unlock(&t->lock);
}

la_push_t la_slot_push(la_slot_t *s, la_sig_t *sig) {
  la_sig_t *old = atomic_load_explicit(&s->inbox, memory_order_relaxed);
  do {
    if (old == LA_INBOX_CLOSED) {
      return LA_PUSH_CLOSED;
    }
    sig->next = old == LA_INBOX_PARKED ? NULL : old;
    /* Release: the signal's content, for la_slot_take. Acquire: who wakes the process
     * reads s->proc, written before it parked. */
  } while (!atomic_compare_exchange_weak_explicit(
      &s->inbox, &old, sig, memory_order_acq_rel, memory_order_relaxed));
  return old == LA_INBOX_PARKED ? LA_PUSH_WAKE : LA_PUSH_OK;
}

static la_sig_t *reversed(la_sig_t *list) {
  la_sig_t *out = NULL;
  while (list != NULL) {
    la_sig_t *next = list->next;
    list->next = out;
    out = list;
    list = next;
  }
  return out;
}

la_sig_t *la_slot_take(la_slot_t *s) {
  if (atomic_load_explicit(&s->inbox, memory_order_relaxed) == NULL) {
    return NULL;
  }
  return reversed(
      atomic_exchange_explicit(&s->inbox, NULL, memory_order_acquire));
}

bool la_slot_park(la_slot_t *s) {
  la_sig_t *none = NULL;
  /* Release: pairs with the acquire of the push that wakes. */
  return atomic_compare_exchange_strong_explicit(
      &s->inbox, &none, LA_INBOX_PARKED, memory_order_acq_rel,
      memory_order_relaxed);
}

la_sig_t *la_slot_close(la_slot_t *s) {
  la_sig_t *rest = atomic_exchange_explicit(&s->inbox, LA_INBOX_CLOSED,
                                            memory_order_acq_rel);
  if (rest == LA_INBOX_PARKED || rest == LA_INBOX_CLOSED) {
    return NULL;
  }
  return reversed(rest);
}

bool la_room_take(la_slot_t *s, la_id_t id, bool *counted) {
  *counted = false;
  const uint32_t limit = atomic_load_explicit(&s->limit, memory_order_relaxed);
  if (limit == 0) {
    return true;
  }
  uint64_t room = atomic_load_explicit(&s->room, memory_order_relaxed);
  do {
    if (room >> COUNT_BITS != la_id_serial(id)) {
      return true; /* somebody else's slot by now: the owner will refuse it */
    }
    if ((room & COUNT_MASK) >= limit) {
      return false;
    }
  } while (!atomic_compare_exchange_weak_explicit(
      &s->room, &room, room + 1, memory_order_acq_rel, memory_order_relaxed));
  *counted = true;
  return true;
}

void la_room_give(la_slot_t *s) {
  atomic_fetch_sub_explicit(&s->room, 1, memory_order_acq_rel);
}

uint32_t la_room_count(const la_slot_t *s) {
  return (uint32_t)(atomic_load_explicit(&s->room, memory_order_relaxed) &
                    COUNT_MASK);
}

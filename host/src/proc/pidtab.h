/* The pid table: from an identity to the place where its signals go.
 *
 * A slot is one cache line that is never freed while the host lives, so that
 * anybody may push a signal to it without asking who lives there: the
 * signal carries the identity that it means, and the owner of the slot refuses what
 * is not for it (rule 16). Lookups are wait-free. Slots of processes and
 * of further mailboxes come from the same table; a mailbox's slot names the
 * process that owns it and holds its limit.
 *
 * The inbox word says three things at once: a list of signals (newest first),
 * PARKED (nothing there, and whoever pushes next must wake the process), or
 * CLOSED (nobody lives here). Taking the whole list is one exchange.
 *
 * The missed wake-up cannot happen: a process parks by changing an empty
 * inbox to PARKED in one compare-and-swap; a push either comes before it (the
 * swap fails and the process goes on) or after it (the push sees PARKED and wakes). */
#ifndef LA_PIDTAB_H
#define LA_PIDTAB_H

#include <stdalign.h>
#include <stdatomic.h>

#include "base/lock.h"
#include "proc/signal.h"

typedef struct la_proc la_proc_t;

#define LA_INBOX_PARKED ((la_sig_t *)1)
#define LA_INBOX_CLOSED ((la_sig_t *)2)

/* What a full mailbox does with one more message. X(symbol, text) */
#define LA_OVERFLOWS(X)  \
  X(BLOCK, "block")      \
  X(DROP_NEW, "drop_new") \
  X(DROP_OLD, "drop_old") \
  X(ERROR, "error")      \
  X(KILL, "kill")

typedef enum {
#define X(sym, text) LA_OVERFLOW_##sym,
  LA_OVERFLOWS(X)
#undef X
} la_overflow_t;

enum { LA_SLOT_FREE, LA_SLOT_PROC, LA_SLOT_MBOX, LA_SLOT_POOL,
       LA_SLOT_CBOX };
enum {
  LA_SLOT_ROOT = 1, /* a process without a parent */
  LA_SLOT_NAMED = 2, /* it has or had a name; see la_names_add */
  LA_SLOT_HELD = 4   /* a process held back by its group: see la_group_hold */
};

typedef struct la_slot {
  alignas(64) _Atomic(la_sig_t *) inbox;
  _Atomic la_id_t id;      /* who lives here; LA_NO_ID while free or ending */
  la_proc_t *proc;         /* for its owner, and for who turned PARKED */
  _Atomic uint64_t room;   /* serial << 28 | counted messages; see la_room_take */
  _Atomic la_pid_t waits;  /* whom this process calls now (deadlocks) */
  _Atomic la_id_t owner;   /* of a mailbox's slot: the process; fixed. Of a
                            * pool's: the address of its la_crew_t. Of a C
                            * mailbox's: that of its la_cbox_t, for ever. Of a
                            * process's: the tag of the call it waits in */
  _Atomic uint32_t limit;  /* of counted messages; 0: none */
  uint32_t next_free;
  _Atomic uint8_t kind;
  uint8_t overflow;        /* la_overflow_t; fixed while somebody lives here */
  _Atomic uint8_t flags;
  _Atomic uint8_t behind;  /* the process has used up its slice with so many
                            * thousand messages left; see la_sched_slow_down */
} la_slot_t;

_Static_assert(sizeof(la_slot_t) == 64, "a slot is one cache line");

#define LA_SLOT_CHUNK_BITS 12
#define LA_SLOT_CHUNKS (1u << (LA_ID_SLOT_BITS - LA_SLOT_CHUNK_BITS))

typedef struct la_pidtab {
  _Atomic(la_slot_t *) chunks[LA_SLOT_CHUNKS];
  la_lock_t lock;      /* guards all below */
  uint32_t first_free; /* oldest first, so that slots rest before reuse */
  uint32_t last_free;
  uint32_t nslots;     /* handed out so far */
  uint32_t max_procs;
  _Atomic uint32_t nprocs;
  uint64_t *serials;   /* next serial of each slot ever used */
  uint32_t nserials;
} la_pidtab_t;

#define LA_MAX_MBOX_LIMIT (1u << 28) /* limits are smaller */

typedef enum { LA_PUSH_OK, LA_PUSH_WAKE, LA_PUSH_CLOSED } la_push_t;

bool la_pidtab_init(la_pidtab_t *t, uint32_t max_procs);
void la_pidtab_fini(la_pidtab_t *t);

/* Take a free slot. Its inbox is open (running), its id is not set yet: the
 * caller fills the slot and publishes it with la_slot_publish. Returns
 * LA_NO_ID past the limit or when memory is short (*no_memory). */
la_id_t la_pidtab_take(la_pidtab_t *t, int kind, la_slot_t **slot,
                       bool *no_memory);
void la_slot_publish(la_slot_t *s, la_id_t id);
/* Another identity for the C mailbox whose slot it is, with nothing counted. It is
 * still to be published. */
la_id_t la_slot_renew(la_pidtab_t *t, la_slot_t *s);
/* The slot is empty and its inbox CLOSED: let somebody else live there. */
void la_pidtab_give(la_pidtab_t *t, la_slot_t *s, uint32_t index);

/* The slot an identity leads to, or NULL when no such slot was ever used. */
la_slot_t *la_pidtab_slot(la_pidtab_t *t, la_id_t id);
/* Does the process live (and is not ending)? */
static inline bool la_slot_is(const la_slot_t *s, la_id_t id) {
  return atomic_load(&s->id) == id; /* seq_cst: see la_names_add */
}
/* How many slots to walk over: la_pidtab_at(t, 0 .. n-1). */
uint32_t la_pidtab_size(la_pidtab_t *t);
la_slot_t *la_pidtab_at(la_pidtab_t *t, uint32_t index);

/* Push a signal. CLOSED: it stays the caller's. */
la_push_t la_slot_push(la_slot_t *s, la_sig_t *sig);
/* Owner: take all signals, oldest first; NULL when there are none. */
la_sig_t *la_slot_take(la_slot_t *s);
/* Owner: false when there are signals to take first. */
bool la_slot_park(la_slot_t *s);
/* Owner: refuse signals from now on; the rest, oldest first. */
la_sig_t *la_slot_close(la_slot_t *s);
static inline bool la_slot_has_signals(const la_slot_t *s) {
  la_sig_t *in = atomic_load_explicit(&s->inbox, memory_order_relaxed);
  return in != NULL && in != LA_INBOX_PARKED && in != LA_INBOX_CLOSED;
}

/* Count one more message for the mailbox 'id' that lives in the slot. False when
 * it is full. Void (true, *counted false) when there is no limit or 'id' is not
 * the one that lives there. */
bool la_room_take(la_slot_t *s, la_id_t id, bool *counted);
/* Owner: a counted message left the mailbox. */
void la_room_give(la_slot_t *s);
uint32_t la_room_count(const la_slot_t *s);

#endif

/* Identities: pids, references, aliases, mailboxes, timers, pools.
 *
 * An identity is one 64-bit word which Lua holds as a light userdata: equal by
 * value, usable as a table key, and never allocated. The top four bits name
 * the kind; no user-space pointer has them set, so a foreign light userdata
 * (cjson.null, a C module's handle) is told apart by la_id_kind() == 0.
 *
 *   63..60  kind
 *   59..24  serial    how often the slot was used, or a per-slot counter
 *   23..0   slot      index into the host's pid table
 *
 * A reference has no slot: its 60 bits are a host-wide counter. Rule 16: the
 * serial makes a stale identity miss the slot's next user. */
#ifndef LA_ID_H
#define LA_ID_H

#include <stdbool.h>
#include <stdint.h>

typedef uint64_t la_id_t;
typedef la_id_t la_pid_t;

#define LA_NO_ID ((la_id_t)0)

/* X(symbol, number, type name that scripts see) */
#define LA_ID_KINDS(X) \
  X(PID, 1, "pid")     \
  X(REF, 2, "ref")     \
  X(ALIAS, 3, "alias") \
  X(MBOX, 4, "mailbox") \
  X(TIMER, 5, "timer") \
  X(POOL, 6, "pool")

typedef enum {
  LA_ID_NONE = 0,
#define X(sym, num, text) LA_ID_##sym = num,
  LA_ID_KINDS(X)
#undef X
  LA_ID_PROXY = 7, /* stands for what lives on another node (dist/dist.h); no
                    * script ever sees one */
} la_id_kind_t;

#define LA_ID_SLOT_BITS 24
#define LA_ID_SERIAL_BITS 36
#define LA_ID_SLOT_MASK ((UINT64_C(1) << LA_ID_SLOT_BITS) - 1)
#define LA_ID_SERIAL_MASK ((UINT64_C(1) << LA_ID_SERIAL_BITS) - 1)
#define LA_ID_BODY_MASK ((UINT64_C(1) << 60) - 1)

static inline la_id_kind_t la_id_kind(la_id_t id) {
  const unsigned kind = (unsigned)(id >> 60);
  return kind <= LA_ID_PROXY ? (la_id_kind_t)kind : LA_ID_NONE;
}

static inline la_id_t la_id_make(la_id_kind_t kind, uint64_t serial,
                                 uint32_t slot) {
  return ((la_id_t)kind << 60) |
         ((serial & LA_ID_SERIAL_MASK) << LA_ID_SLOT_BITS) | slot;
}

static inline la_id_t la_id_counted(la_id_kind_t kind, uint64_t count) {
  return ((la_id_t)kind << 60) | (count & LA_ID_BODY_MASK);
}

static inline uint32_t la_id_slot(la_id_t id) {
  return (uint32_t)(id & LA_ID_SLOT_MASK);
}

static inline uint64_t la_id_serial(la_id_t id) {
  return (id >> LA_ID_SLOT_BITS) & LA_ID_SERIAL_MASK;
}

static inline uint64_t la_id_body(la_id_t id) {
  return id & LA_ID_BODY_MASK;
}

/* Two identities of no proxy. A message from LA_FAR_SENDER holds the pid that sent
 * it (proc/signal.h); LA_PARK_ID stands for messages of other nodes that wait for
 * room (dist/park.c). */
#define LA_FAR_SENDER ((la_id_t)LA_ID_PROXY << 60)
#define LA_PARK_ID (LA_FAR_SENDER | 1)

/* Aliases that a call makes for its answer have an odd serial, those of scripts
 * an even one: so a late answer is known for what it is. */
static inline bool la_id_is_call_tag(la_id_t id) {
  return la_id_kind(id) == LA_ID_ALIAS && (la_id_serial(id) & 1) != 0;
}

/* Does the identity lead to a process (and so to a slot)? */
static inline bool la_id_has_slot(la_id_t id) {
  const la_id_kind_t kind = la_id_kind(id);
  return kind == LA_ID_PID || kind == LA_ID_ALIAS || kind == LA_ID_MBOX ||
         kind == LA_ID_POOL;
}

#endif

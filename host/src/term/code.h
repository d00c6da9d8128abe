/* Byte strings that a host keeps once: the bytecode of functions that travel
 * often, the names of modules that processes are started from.
 *
 * A closure that is spawned again and again has the same bytecode each time. From the
 * fourth time on it is kept here, and messages carry its address; the process
 * that sends it does not dump it again either, as long as it is the same
 * function (carry.c). Who starts processes hangs what it has prepared for them on
 * 'user' (lib/lib_template.c).
 *
 * Entries live as long as the host, so readers need no lock and nobody counts
 * references; when there are too many, no more are kept. */
#ifndef LA_CODE_H
#define LA_CODE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/lock.h"

enum { LA_CODE_NOTES = 5 };

typedef struct la_code {
  struct la_code *next; /* in its row */
  uint64_t hash;
  _Atomic(void *) user;
  _Atomic uint32_t uses; /* this and the notes: for who uses 'user' */
  _Atomic uint64_t notes[LA_CODE_NOTES]; /* all ones at first */
  uint32_t size;
  uint8_t bytes[];
} la_code_t;

enum { LA_CODE_ROWS = 512, LA_CODE_SEEN = 2048 };

typedef struct la_codes {
  la_lock_t lock; /* guards adding */
  uint32_t count;
  size_t bytes;
  _Atomic(la_code_t *) rows[LA_CODE_ROWS];
  _Atomic uint8_t seen[LA_CODE_SEEN]; /* by hash: how often, to begin with */
} la_codes_t;

void la_codes_init(la_codes_t *c);
void la_codes_fini(la_codes_t *c);
/* The entry with these bytes: one that is there, or, when 'often' times were
 * asked for them, a new one. NULL: not yet, no room or no memory.
 * [any · rarely a short lock] */
la_code_t *la_codes_get(la_codes_t *c, const void *bytes, size_t size,
                        unsigned often);
/* Visit all entries, at the host's end. */
void la_codes_each(la_codes_t *c, void (*visit)(la_code_t *code));

#endif

/* An index of a long mailbox by the tag of its messages, for waits whose
 * clauses all demand a tag: they visit the messages of those tags and no
 * others, oldest first, priority messages before ordinary ones.
 *
 * Owned like its mailbox (mbox.h), which alone uses it. Its memory is counted
 * to the heap of the process. */
#ifndef LA_TAGINDEX_H
#define LA_TAGINDEX_H

#include "mem/heap.h"
#include "proc/signal.h"

#define LA_TAGINDEX_WANTED 32 /* tags of one wait */

typedef struct la_tagindex la_tagindex_t;

/* An empty index with room for 'count' messages. NULL: memory or limit. */
la_tagindex_t *la_tagindex_new(la_heap_t *heap, uint32_t count);
void la_tagindex_free(la_tagindex_t *x);

/* Add a message, newer than all of its lane. False: memory or limit, and then
 * the index lacks a message and must be freed. */
bool la_tagindex_add(la_tagindex_t *x, la_msg_t *m);
void la_tagindex_remove(la_tagindex_t *x, const la_msg_t *m);
/* Has it seen so many changes since a wait last used it that it does not earn
 * its keep? */
bool la_tagindex_is_idle(const la_tagindex_t *x);

/* A wait begins for messages of these tags (at most LA_TAGINDEX_WANTED, all
 * different) that are not older than from[lane]; NULL: for new ones only. */
void la_tagindex_want(la_tagindex_t *x, const uint32_t *tags, uint32_t n,
                      la_msg_t *const from[2]);
/* The wait no longer uses the index. */
void la_tagindex_want_all(la_tagindex_t *x);
/* Is there a wait that uses the index? */
bool la_tagindex_is_wanted(const la_tagindex_t *x);
/* The oldest wanted message of the lane that has not been passed, or NULL. */
la_msg_t *la_tagindex_next(const la_tagindex_t *x, int lane);
/* The wait does not want this one, which la_tagindex_next has given. */
void la_tagindex_pass(la_tagindex_t *x, const la_msg_t *m);

static inline int la_msg_lane(const la_msg_t *m) {
  return m->sig.flags & LA_SIG_PRIORITY ? 0 : 1;
}

#endif

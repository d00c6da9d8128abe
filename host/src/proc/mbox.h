/* A mailbox: the messages a process has but not taken, oldest first. Owned by
 * the scheduler that runs the process.
 *
 * Two lists, priority messages before ordinary ones. A wait keeps a cursor on
 * each: what it has passed does not match and is not looked at again by that
 * wait. A fresh reference remembers the newest message of its time: a wait for the
 * reference starts behind it (as Erlang's receive markers do).
 *
 * A wait that passes many messages and whose clauses all demand a tag gets an
 * index by tag (tagindex.h): from then on its cursors step over messages of
 * other tags. The index is kept up to date for the waits to come, until the mailbox
 * is short or nobody has used it for long. */
#ifndef LA_MBOX_H
#define LA_MBOX_H

#include "proc/pidtab.h"
#include "proc/tagindex.h"

typedef struct la_mbox {
  la_msg_t *head[2], *tail[2]; /* 0: priority, 1: ordinary */
  la_msg_t *cursor[2];         /* next to look at; NULL: all seen */
  uint32_t count;
  uint32_t limit;     /* 0: none */
  la_overflow_t overflow;
  bool of_tasks;      /* a wait for it alone spares its process: la_tie_t */
  la_id_t id;         /* MBOX identity, or the pid for the process's own */
  la_slot_t *slot;    /* whose room counts it */
  la_id_t mark_ref;   /* the fresh reference, or LA_NO_ID */
  la_msg_t *mark;     /* newest ordinary message when it was made, or NULL */
  la_tagindex_t *index; /* or NULL */
  la_note_t **room;   /* senders that wait for room, oldest first */
  uint32_t nroom, room_cap;
  struct la_mbox *next; /* further mailboxes of the process */
} la_mbox_t;

void la_mbox_init(la_mbox_t *b, la_id_t id, la_slot_t *slot);
/* Free what belongs to the mailbox but its messages. */
void la_mbox_fini(la_mbox_t *b);
/* Append; the mailbox owns the message from now on. */
void la_mbox_put(la_mbox_t *b, la_msg_t *m);
/* Take a message out of its list, which gives back its room. */
void la_mbox_remove(la_mbox_t *b, la_msg_t *m);
/* Start a wait: everything is still to be looked at, or only what came after
 * 'fresh' was made. */
void la_mbox_rewind(la_mbox_t *b, la_id_t fresh);
/* The next message that the wait has not seen, or NULL; does not advance. */
la_msg_t *la_mbox_peek(const la_mbox_t *b);
void la_mbox_pass(la_mbox_t *b, la_msg_t *m);
/* The present wait wants messages of these tags only (at most
 * LA_TAGINDEX_WANTED, all different): its cursors need not stop at others. Makes
 * the index if there is none; without the memory for it, which is counted to
 * 'heap', nothing changes. */
void la_mbox_select(la_mbox_t *b, la_heap_t *heap, const uint32_t *tags,
                    uint32_t n);
/* Has the mailbox an index which the present wait does not use yet? */
static inline bool la_mbox_may_select(const la_mbox_t *b) {
  return b->index != NULL && !la_tagindex_is_wanted(b->index);
}
void la_mbox_mark(la_mbox_t *b, la_id_t ref);
/* Oldest ordinary message, or NULL. */
la_msg_t *la_mbox_oldest(const la_mbox_t *b);
/* Iterate over all in order of receipt: priority first. */
la_msg_t *la_mbox_first(const la_mbox_t *b);
la_msg_t *la_mbox_after(const la_mbox_t *b, const la_msg_t *m);

#endif

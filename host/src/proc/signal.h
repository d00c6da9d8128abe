/* Signals: everything that passes between processes (rule 3).
 *
 * A signal is one block. It is pushed onto the receiver's inbox with one atomic
 * operation and owned by the receiver from then on; a push that is refused (the
 * process is gone) leaves it with the sender. Blocks that must not be missing
 * later are made early: the block of a LINK signal becomes the receiver's link entry and,
 * when it dies, the EXIT signal back; likewise MONITOR and DOWN, CALL and its
 * end. So a process can die without allocating. */
#ifndef LA_SIGNAL_H
#define LA_SIGNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/id.h"
#include "mem/block.h"
#include "term/term.h"

/* X(symbol, what it says) */
#define LA_SIGNALS(X)                                                     \
  X(MESSAGE, "a message; la_msg_t")                                       \
  X(LINK, "'from' links itself to the receiver")                          \
  X(UNLINK, "'from' takes its link away")                                 \
  X(EXIT, "exit signal of 'from': reason in 'reason'")                    \
  X(MONITOR, "'from' watches the receiver, under 'ref'")                  \
  X(DEMONITOR, "the watch 'ref' is off")                                  \
  X(DOWN, "the process watched under 'ref' ended")                        \
  X(CALL_END, "the call 'ref' will not be answered; reason in 'reason'")  \
  X(CALL_DONE, "'from' no longer waits for the answer of call 'ref'")     \
  X(INFO, "'from' asks for process information; la_note_t")           \
  X(INFO_REPLY, "the answer, under 'ref'")                                \
  X(WANT_ROOM, "'from' waits for room in mailbox 'to'")                   \
  X(ROOM, "there may be room in mailbox 'ref'")                           \
  X(TIMEOUT, "the wait of the receiver is over")                          \
  X(JOIN, "the receiver is a member of pool 'ref' from now on")          \
  X(WORK, "there may be work in the queue of the receiver's pool")        \
  X(RESUME, "the token 'ref' of a suspended C call is done")             \
  X(SPAWNED, "what became of the process asked for under 'ref'")         \
  X(GROUP, "the receiver's group has ended")

typedef enum {
#define X(sym, text) LA_SIG_##sym,
  LA_SIGNALS(X)
#undef X
} la_sig_kind_t;

/* Bits of la_sig_t.flags. */
enum {
  LA_SIG_PRIORITY = 1,  /* message: before all ordinary ones */
  LA_SIG_COUNTED = 2,   /* message: counted against the mailbox's limit */
  LA_SIG_BY_LINK = 4,   /* EXIT: of a broken link; void without the link */
  LA_SIG_STATIC = 8,    /* part of another block: never freed by itself */
  LA_SIG_IS_CALL = 16,  /* message: 'call' of la_msg_t is set */
  LA_SIG_IS_DOWN = 32,  /* message: a DOWN message; 'ref' of la_msg_t is set */
  LA_SIG_NO_LIMIT = 64, /* message: a reply; no limit holds it up */
  LA_SIG_FORCED = 64,   /* EXIT: cannot be trapped; the reason stands */
  LA_SIG_SCOPE = 128,   /* LINK, EXIT: between a scope and its child */
  LA_SIG_SPARING = 1,   /* link entry, EXIT: see la_tie_t */
  LA_SIG_CLAIMED = 128, /* message in a pool's queue: see crew.h */
  LA_SIG_OF_POOL = 4,   /* message: taken from a pool's queue */
  LA_SIG_NO_CONNECT = 4, /* message to another node: makes no connection */
  LA_SIG_BY_TAKER = 128, /* message, an answer: of the process that took the call */
  LA_SIG_ONE_WAY = 2,   /* link entry, EXIT: see la_tie_t */
  LA_SIG_AS_ERROR = 1,  /* RESUME: the value is raised */
  LA_SIG_WATCHED = 1,   /* SPAWNED: and it is monitored under 'ref' */
};

/* Bytes shared by many signals: exit reasons. Immutable, refcounted. */
typedef struct la_reason {
  _Atomic uint32_t refs;
  bool is_static;
  la_term_t term; /* holds its blobs */
  uint8_t bytes[];
} la_reason_t;

typedef struct la_sig {
  struct la_sig *next;
  la_id_t to;   /* the identity addressed: decides whether a slot's new user
                 * gets it (never) */
  la_id_t from; /* LA_NO_ID: not a process */
  uint8_t kind;
  uint8_t flags;
  uint16_t room_of; /* message, COUNTED: low bits of that mailbox's serial */
  uint32_t tag; /* message: la_term_tag of it; WANT_ROOM, ROOM: see la_want_room */
} la_sig_t;

/* All kinds but MESSAGE, CALL and INFO. Also the entry of a link or a monitor. */
typedef struct la_note {
  la_sig_t sig;
  la_id_t ref;
  la_id_t peer; /* entry: the other side */
  la_reason_t *reason;
  char *name;   /* entry of a monitor by name: malloced */
  la_reason_t *who; /* peer is a proxy: the term that scripts see for it */
} la_note_t;

/* A call under way: made by the caller, goes with the request, is kept by the server
 * until answered, and comes back as CALL_END when the server dies. */
typedef struct la_call {
  la_note_t note; /* ref: the call's alias; peer: the caller */
  struct la_call *prev, *next; /* the server's unanswered calls, as taken */
  uint64_t deadline_ns;        /* UINT64_MAX: none */
  uint32_t nchain;             /* callers that wait for this, oldest first; */
  la_pid_t chain[];            /* the last one is the caller */
} la_call_t;

typedef struct la_msg {
  la_sig_t sig;
  struct la_msg *prev; /* in a mailbox list; 'next' is sig.next */
  union {
    la_call_t *call;   /* LA_SIG_IS_CALL */
    la_id_t ref;       /* LA_SIG_IS_DOWN */
  };
  uint32_t trace;      /* 0: not traced */
  uint32_t entry;      /* in a mailbox: in its index, see tagindex.h */
  uint32_t size;       /* of the term, and of what la_msg_tail counts */
  uint32_t nblobs;
  uint8_t bytes[];     /* then, aligned to 8, the blob pointers */
} la_msg_t;

/* NULL when memory is short. */
la_note_t *la_note_new(la_sig_kind_t kind, la_id_t to, la_id_t from);
/* A message block with a copy of the term; takes references to its blobs. */
la_msg_t *la_msg_new(const la_term_t *t, la_id_t to, la_id_t from);
/* The same from a process of another node, whose pid is the term 'who'. */
la_msg_t *la_msg_new_far(const la_term_t *t, la_id_t to, const uint8_t *who,
                         size_t who_size);
/* A small message, to be written in place: 'bytes' has room for LA_MSG_SMALL, and
 * la_msg_written says up to where they are used. Until then it is given back
 * by la_msg_cancel. */
#define LA_MSG_SMALL 64
la_msg_t *la_msg_begin(la_id_t to, la_id_t from);
void la_msg_written(la_msg_t *m, const uint8_t *end);
void la_msg_cancel(la_msg_t *m);
/* Another block with the same content (one send to many). */
la_msg_t *la_msg_copy(const la_msg_t *m);
/* The blobs of a message that has some. */
la_blob_t **la_msg_blobs(const la_msg_t *m);
/* Bytes behind the term of a message from another node: the pid that sent it, as a
 * term, and a u16, the size of that. */
static inline uint32_t la_msg_tail(const la_msg_t *m) {
  return m->sig.from == LA_FAR_SENDER
             ? 2u + (uint32_t)(m->bytes[m->size - 2] << 8 | m->bytes[m->size - 1])
             : 0;
}
static inline void la_msg_term(const la_msg_t *m, la_term_t *out) {
  out->bytes = m->bytes;
  out->size = m->size - la_msg_tail(m);
  out->nblobs = m->nblobs;
  out->blobs = m->nblobs > 0 ? la_msg_blobs(m) : NULL;
}
size_t la_msg_blob_bytes(const la_msg_t *m);
/* Bytes that the message holds, blobs counted whole. */
static inline size_t la_msg_bytes(const la_msg_t *m) {
  const size_t n = sizeof *m + m->size;
  return m->nblobs == 0 ? n : n + la_msg_blob_bytes(m);
}
/* Asks for room in mailbox m->sig.to: 'ref' is that mailbox, 'tag' the bytes of
 * the message as far as they go into it. NULL: memory. */
la_note_t *la_want_room(const la_msg_t *m, la_pid_t from);
la_call_t *la_call_new(uint32_t nchain);

/* Free a signal of any kind with all that it holds. */
void la_sig_free(la_sig_t *s);

/* The same for a message. */
static inline void la_msg_free(la_msg_t *m) {
  if (m->nblobs == 0 && !(m->sig.flags & (LA_SIG_STATIC | LA_SIG_IS_CALL))) {
    la_block_free(m, sizeof *m + m->size);
  } else {
    la_sig_free(&m->sig);
  }
}

la_reason_t *la_reason_new(const la_term_t *t);
/* One of the reasons that are plain text. Static for the well-known ones, so
 * that it cannot fail for them; NULL when memory is short for others. */
la_reason_t *la_reason_text(const char *text);
la_reason_t *la_reason_ref(la_reason_t *r);
void la_reason_unref(la_reason_t *r);
static inline bool la_reason_is(const la_reason_t *r, const char *text) {
  return la_term_is_text(&r->term, text);
}
/* Did the process end as it should: "normal" or "shutdown"? */
bool la_reason_is_orderly(const la_reason_t *r);

#endif

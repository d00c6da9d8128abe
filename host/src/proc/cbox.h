/* A C mailbox: the address and the queue of a C thread.
 *
 * Its identity is of kind MBOX, like that of a further mailbox of a process, but no
 * process owns it: whoever sends a signal to it serves the signal, under the
 * mailbox's lock. So nothing runs on a scheduler for it, and its thread sleeps on
 * a condition variable, or in poll() on an eventfd that is readable as long as
 * the queue is not empty.
 *
 * A slot of the pid table that once led to a C mailbox leads to it as long as the host
 * lives; a closed one, with its slot, serves the next that is opened, under
 * another identity. So a sender that found it may take its lock at any time, and
 * sees there that the identity is gone.
 *
 * The thread may hold it longer than the host lives. When the host ends, it drops
 * what is in the mailbox and forgets it ('host' is NULL then); the thread's calls say so, and
 * its closing frees it. */
#ifndef LA_CBOX_H
#define LA_CBOX_H

#include "proc/gate.h"
#include "proc/host.h"

struct la_cbox {
  la_lock_t lock; /* guards all below but 'env', 'nonce', 'gate' and the two links */
  pthread_cond_t changed;
  la_env_t env;
  uint64_t nonce;      /* the host's */
  la_gate_t *gate;
  la_host_t *host;
  la_slot_t *slot;
  la_id_t id;          /* LA_NO_ID: closed */
  bool is_held;        /* by a C program */
  la_sig_t *head[2], *tail[2]; /* messages and DOWN notes; priority first */
  uint32_t count;
  uint32_t limit;
  la_overflow_t overflow;
  la_map_t monitors;   /* reference -> DEMONITOR note */
  la_call_t *calls;    /* taken and not yet answered */
  la_sig_t *room, *last_room; /* WANT_ROOM of senders, oldest first */
  la_id_t awaited;     /* alias of the call under way */
  la_sig_t *answer;    /* its answer or CALL_END */
  bool has_room;       /* a ROOM has come */
  int fd;              /* -1: nobody has asked for it */
  struct la_cbox *next;      /* all of the host; host->cboxes */
  struct la_cbox *next_free;
};

void la_cboxes_init(la_cboxes_t *cs);
/* Detach those that are held, free the others. The gate is shut. [host] */
void la_cboxes_fini(la_cboxes_t *cs);
/* The host is halted: who waits is to look. [any] */
void la_cboxes_wake(la_cboxes_t *cs);

/* NULL: memory. [any] */
la_cbox_t *la_cbox_open(la_host_t *host, uint32_t limit,
                        la_overflow_t overflow);
/* The holder's last word. [any] */
void la_cbox_close(la_cbox_t *b);
la_id_t la_cbox_id(la_cbox_t *b);
/* A signal to the mailbox at 's', or to an alias of it. False: it is not there, or
 * the signal is to be refused; it stays the caller's. [any] */
bool la_cbox_push(la_slot_t *s, la_sig_t *sig);

typedef enum {
  LA_CBOX_OK,
  LA_CBOX_TIMEOUT,
  LA_CBOX_CLOSED, /* by the host's end, and it is empty */
} la_cbox_status_t;

/* The oldest message or DOWN note, which is the caller's then. The record of a call
 * stays with the mailbox. [any · until deadline_ns] */
la_cbox_status_t la_cbox_take(la_cbox_t *b, uint64_t deadline_ns,
                              la_sig_t **sig);
/* Put it back to where it was. */
void la_cbox_untake(la_cbox_t *b, la_sig_t *sig);
/* Begin to wait for the answer to 'tag'; LA_NO_ID: no longer. */
void la_cbox_await(la_cbox_t *b, la_id_t tag);
/* Wait for the answer, or for room where the request goes ('sig' is NULL then).
 * [any · until deadline_ns] */
la_cbox_status_t la_cbox_answer(la_cbox_t *b, uint64_t deadline_ns,
                                la_sig_t **sig);
/* LA_NO_ID: memory. [any] */
la_id_t la_cbox_monitor(la_cbox_t *b, la_host_t *host, la_pid_t to);
bool la_cbox_demonitor(la_cbox_t *b, la_host_t *host, la_id_t ref);
/* Forget the call; false: it was none that was taken here. */
bool la_cbox_forget_call(la_cbox_t *b, la_id_t tag);
/* Readable while the queue is not empty; -1: the system has none. */
int la_cbox_fd(la_cbox_t *b);

#endif

/* A crew: the queue of a pool and the members who take from it.
 *
 * A pool is one address, an identity of kind POOL in a slot of the pid table. What is
 * sent to it stands in one queue, which belongs to nobody: senders and members
 * go to it under the crew's lock. A member is a process like any other; when its
 * receive has found nothing in its own mailboxes it looks in the queue, with the same
 * matcher, and takes what matches as if it had been sent to it. So no message is
 * given to a member before the member wants it, and a member that waits for something
 * else, an answer for instance, is given none.
 *
 * Claims. A clause may have a second stage, which runs Lua and may be preempted. The
 * message that the first stage accepts is therefore claimed: it stays where it is, others
 * step over it, and it leaves the queue when the member takes it, or is free again when
 * the member does not want it or ends. A message is tried once by each wait: 'tried' of a
 * member is the number of the last one in each lane, 'skipped' that of the first one
 * which it stepped over because of a claim; when any claim has been given back since, it
 * goes back to there.
 *
 * No lost wake-up. A member looks and, finding nothing, joins the idle list under
 * the same lock: a message is put either before, then the look sees it, or after, then the
 * sender sees the member. Who wakes a member takes it off the list and counts it as
 * woken until it has looked. At any time, free messages which some idle member has
 * not tried are no more than the woken members, or a wake-up is due; each event that
 * makes a difference (a put, a look that found nothing, a woken member whose wait ended
 * by something else, a claim given back) adds one at most and so wakes one at most. An idle
 * member knows the number of the last message at the time of its look, and the list is in that
 * order: when the first of them has seen all, everybody has. A woken member that wants
 * none of the messages passes the wake-up on in this way and ends it after the last.
 *
 * The wake-up is a signal that is part of the member's record. It is pushed under the lock,
 * where the member cannot end; the process is put in a run queue after that, which
 * is safe since it cannot run before.
 *
 * A crew that nobody refers to is kept for the next pool: a sender that has found it
 * just before may still take its lock, and sees that the identity is another. */
#ifndef LA_CREW_H
#define LA_CREW_H

#include "proc/host.h"

struct la_crew {
  la_lock_t lock;         /* guards all below but 'all' */
  la_id_t id;             /* LA_NO_ID: no pool, or one that has ended */
  la_pid_t owner;         /* the pool's process */
  la_slot_t *slot;
  la_msg_t *head[2], *tail[2]; /* 0: priority, 1: ordinary; numbered in sig.to */
  uint32_t count;         /* messages in the queue ... */
  uint32_t nclaimed;      /* ... and those of them that are claimed */
  uint32_t limit;         /* 0: none */
  la_overflow_t overflow;
  uint64_t seq;           /* number of the last message */
  uint64_t returns;       /* claims given back */
  uint64_t taken, crashed;
  uint32_t target;        /* members there should be; the others leave */
  uint32_t nmembers, nwoken;
  uint32_t nready;        /* idle or woken members that are done with their work */
  uint32_t refs;          /* the owner and the members */
  la_member_t *members;
  la_member_t *first_idle, *last_idle;
  la_sig_t *room, *last_room; /* WANT_ROOM of senders, oldest first */
  la_crew_t *all;         /* all crews of the host, for ever */
  la_crew_t *next_free;   /* under the lock of la_crews_t */
};

/* The part of a process that is a member. Made when it joins, kept until its end. */
struct la_member {
  /* The owner of the process. */
  la_proc_t *proc;
  la_crew_t *crew;        /* NULL: it has left */
  bool looks;             /* the present wait is one that looks in the queue */
  bool listed;            /* on the idle list, or woken ... */
  bool ready;             /* ... and its wait would take the last message again */
  la_msg_t *claim;        /* in the queue, or NULL */
  la_msg_t *last;         /* the message taken last */
  la_id_t pool;           /* joined last */
  uint64_t tried[2], skipped[2]; /* skipped: 0: none */
  uint64_t returns;       /* of the crew, when it looked */

  /* Under the crew's lock. */
  la_member_t *next, *prev;           /* of all members */
  la_member_t *next_idle, *prev_idle;
  uint64_t at;            /* the crew's 'seq' when it looked in vain */
  bool woken;

  la_sig_t work;          /* LA_SIG_WORK, static */
  _Atomic bool work_sent; /* it is in the inbox */
};

typedef struct la_crew_info {
  uint32_t target, members, idle, queue;
  uint64_t taken, crashed;
} la_crew_info_t;

void la_crews_init(la_crews_t *cs);
/* When no process is left. [host] */
void la_crews_fini(la_crews_t *cs);

/* The crew of a living pool, or NULL. It may end at any time, so that 'id' is to
 * be compared under the lock. [any] */
la_crew_t *la_crew_find(la_host_t *host, la_id_t id);
/* Open a pool, whose process 'p' is. LA_NO_ID: memory, or it has one. [owner] */
la_id_t la_crew_open(la_proc_t *p, uint32_t limit, la_overflow_t overflow);
/* End the pool of the process, if it has one: what waits is refused. [owner] */
void la_crew_close(la_proc_t *p);
/* The pool's process; for a pool that is gone a pid that nobody ever had. [any] */
la_pid_t la_crew_owner(la_host_t *host, la_id_t id);
bool la_crew_info(la_host_t *host, la_id_t id, la_crew_info_t *out);
/* How many members there should be. The others leave when they are idle: they get the exit
 * signal "shutdown" of their parent. [owner of the pool] */
void la_crew_resize(la_proc_t *p, uint32_t target);
void la_crew_note_crash(la_proc_t *p);

/* la_send, to a pool. [any] */
la_sent_t la_crew_send(la_host_t *host, la_msg_t *m);
/* Any other signal. False: the pool is gone, the signal is the caller's. [any] */
bool la_crew_signal(la_host_t *host, la_sig_t *sig);

/* ---- members [owner] ---- */

/* Is it a member of that pool? */
bool la_member_is_of(const la_proc_t *p, la_id_t pool);
/* False: not enough memory. Nothing when the pool is gone. */
bool la_member_join(la_proc_t *p, la_id_t pool);
/* The process is a member no longer: it ends, or wants to be none. */
void la_member_quit(la_proc_t *p);
void la_member_free(la_proc_t *p);
/* A wait begins. */
void la_member_rewind(la_proc_t *p);
/* After its mailboxes, the queue: fills wait.found with box == NULL; else the
 * process is idle from now on. 'before': what had been found. */
bool la_member_look(la_proc_t *p, const la_found_t *before, la_caps_t *caps);
/* The wait is over, or its message was found elsewhere. */
void la_member_withdraw(la_proc_t *p);
/* The claimed message leaves the queue and is the caller's. */
void la_member_take(la_proc_t *p, la_msg_t *m);
/* It has been used: kept, to know a wait for work when there is one. */
void la_member_keep(la_proc_t *p, la_msg_t *m);

#endif

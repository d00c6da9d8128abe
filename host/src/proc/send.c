/* Signals on their way: routing, refusal, room in mailboxes. */
#include <string.h>

#include "dist/dist.h"
#include "proc/cbox.h"
#include "proc/crew.h"
#include "proc/host.h"

/* Push to the inbox of the slot; false: nobody lives there. */
static inline bool push(la_host_t *host, la_slot_t *s, la_sig_t *sig) {
  const bool is_message = sig->kind == LA_SIG_MESSAGE;
  switch (la_slot_push(s, sig)) {
    case LA_PUSH_CLOSED:
      /* The inbox of a C mailbox is never open. */
      return atomic_load_explicit(&s->kind, memory_order_relaxed) ==
                 LA_SLOT_CBOX &&
             la_cbox_push(s, sig);
    case LA_PUSH_WAKE:
      la_sched_wake(host, s->proc);
      break;
    case LA_PUSH_OK: {
      const uint8_t behind =
          atomic_load_explicit(&s->behind, memory_order_relaxed);
      if (behind != 0) {
        la_sched_slow_down(behind);
      }
      if (!is_message) {
        la_sched_hurry(host);
      }
      /* Pairs with la_group_hold: the flag, then the inbox; here the inbox first. */
      if (atomic_load(&s->flags) & LA_SLOT_HELD) {
        la_group_knock(host, s, is_message);
      }
      break;
    }
  }
  return true;
}

/* Push to the inbox that takes what is sent to 'id', whose slot is 's': a further
 * mailbox is served by its process. */
static inline bool push_for(la_host_t *host, la_slot_t *s, la_sig_t *sig) {
  if (la_id_kind(sig->to) == LA_ID_MBOX) {
    if (!la_slot_is(s, sig->to)) {
      return false;
    }
    if (atomic_load(&s->kind) == LA_SLOT_CBOX) {
      return la_cbox_push(s, sig);
    }
    s = la_pidtab_slot(&host->pids, s->owner);
  } else if (la_id_kind(sig->to) == LA_ID_POOL) {
    return la_crew_signal(host, sig);
  }
  return s != NULL && push(host, s, sig);
}

bool la_signal_try(la_host_t *host, la_sig_t *sig) {
  if (la_id_kind(sig->to) == LA_ID_PROXY) {
    la_dist_signal(host, sig);
    return true;
  }
  la_slot_t *s = la_pidtab_slot(&host->pids, sig->to);
  return s != NULL && push_for(host, s, sig);
}

void la_signal(la_host_t *host, la_sig_t *sig) {
  if (!la_signal_try(host, sig)) {
    la_signal_refuse(host, sig);
  }
}

/* Turn a signal round: it goes back to its sender as another kind. */
static void bounce(la_host_t *host, la_note_t *n, la_sig_kind_t kind,
                   la_reason_t *reason) {
  const la_id_t there = n->sig.to;
  n->sig.to = n->sig.from;
  n->sig.from = there;
  n->sig.kind = (uint8_t)kind;
  n->reason = reason;
  la_signal(host, &n->sig);
}

void la_signal_refuse(la_host_t *host, la_sig_t *sig) {
  la_note_t *n = (la_note_t *)sig;
  switch ((la_sig_kind_t)sig->kind) {
    case LA_SIG_MESSAGE: {
      la_msg_t *m = (la_msg_t *)sig;
      if (sig->flags & LA_SIG_IS_CALL) {
        la_call_t *call = m->call;
        sig->flags &= (uint8_t)~LA_SIG_IS_CALL;
        call->note.sig.from = sig->to;
        call->note.sig.to = call->note.peer;
        call->note.reason = la_reason_text("noproc");
        la_signal(host, &call->note.sig);
      }
      la_sig_free(sig);
      return;
    }
    case LA_SIG_LINK:
      sig->flags |= LA_SIG_BY_LINK;
      bounce(host, n, LA_SIG_EXIT, la_reason_text("noproc"));
      return;
    case LA_SIG_MONITOR:
      bounce(host, n, LA_SIG_DOWN, la_reason_text("noproc"));
      return;
    case LA_SIG_INFO:
      bounce(host, n, LA_SIG_INFO_REPLY, NULL);
      return;
    case LA_SIG_WANT_ROOM:
      bounce(host, n, LA_SIG_ROOM, NULL);
      return;
    case LA_SIG_SPAWNED:
      if (sig->flags & LA_SIG_WATCHED) { /* nobody watches it after all */
        bounce(host, n, LA_SIG_DEMONITOR, NULL);
      } else {
        la_sig_free(sig);
      }
      return;
    default:
      la_sig_free(sig);
  }
}

/* ---- messages ------------------------------------------------------------- */

static void kill_for_overflow(la_host_t *host, la_slot_t *s) {
  const la_id_t id = atomic_load(&s->id);
  const la_pid_t victim = la_id_kind(id) == LA_ID_MBOX ? s->owner : id;
  la_note_t *n = la_note_new(LA_SIG_EXIT, victim, LA_NO_ID);
  if (n != NULL) {
    n->sig.flags = LA_SIG_FORCED;
    n->reason = la_reason_text("mailbox_limit");
    la_signal(host, &n->sig);
  }
}

/* The mailbox is full: what now? True: push it all the same. */
static bool overflow(la_host_t *host, la_slot_t *s, la_msg_t *m,
                     la_sent_t *out) {
  switch ((la_overflow_t)s->overflow) {
    case LA_OVERFLOW_DROP_OLD:
      return true; /* the owner drops its oldest when it takes this one */
    case LA_OVERFLOW_DROP_NEW:
      la_signal_refuse(host, &m->sig);
      *out = LA_SENT;
      return false;
    case LA_OVERFLOW_KILL:
      kill_for_overflow(host, s);
      la_signal_refuse(host, &m->sig);
      *out = LA_SENT;
      return false;
    case LA_OVERFLOW_BLOCK:
      *out = LA_SEND_WAIT;
      return false;
    case LA_OVERFLOW_ERROR:
      break;
  }
  *out = LA_SEND_FULL;
  return false;
}

/* Count the message against the limit of the mailbox at 's', if there is room.
 * False: *out says what became of it. */
static bool take_room(la_host_t *host, la_slot_t *s, la_msg_t *m,
                      la_sent_t *out) {
  bool counted;
  la_id_t lives = m->sig.to;
  if (la_id_kind(lives) == LA_ID_ALIAS) {
    lives = atomic_load(&s->id);
  }
  if (lives == LA_NO_ID || !la_slot_is(s, lives)) {
    return true; /* nobody: there is no room to wait for */
  }
  if (!la_room_take(s, lives, &counted) && !overflow(host, s, m, out)) {
    return false;
  }
  if (counted) {
    m->sig.flags |= LA_SIG_COUNTED;
    m->sig.room_of = (uint16_t)la_id_serial(lives);
  }
  return true;
}

la_pid_t la_server_of(la_host_t *host, la_id_t dest) {
  const la_slot_t *s = la_pidtab_slot(&host->pids, dest);
  switch (la_id_kind(dest)) {
    case LA_ID_PID:
    case LA_ID_PROXY:
      return dest;
    case LA_ID_MBOX:
      return s == NULL                                 ? LA_NO_ID
             : atomic_load(&s->kind) == LA_SLOT_CBOX ? dest
                                                       : s->owner;
    case LA_ID_ALIAS:
      return s != NULL ? atomic_load(&s->id) : LA_NO_ID;
    default:
      return LA_NO_ID;
  }
}

la_sent_t la_send(la_host_t *host, la_proc_t *from, la_msg_t *m) {
  if (la_id_kind(m->sig.to) == LA_ID_PROXY) {
    return la_dist_send(host, m);
  }
  if (la_id_kind(m->sig.to) == LA_ID_POOL) {
    return la_crew_send(host, m);
  }
  la_slot_t *s = la_pidtab_slot(&host->pids, m->sig.to);
  if (from != NULL && (s == from->slot ||
                       la_id_kind(m->sig.to) == LA_ID_MBOX)) {
    from->may_skip = 0; /* it may know what it has sent to itself */
  }
  la_sent_t out;
  if (s != NULL &&
      atomic_load_explicit(&s->limit, memory_order_relaxed) != 0 &&
      !(m->sig.flags & LA_SIG_NO_LIMIT) && !take_room(host, s, m, &out)) {
    return out;
  }
  if (s == NULL || !push_for(host, s, &m->sig)) {
    la_signal_refuse(host, &m->sig);
    return LA_SEND_NOPROC;
  }
  return LA_SENT;
}

bool la_proc_exit_signal(la_host_t *host, la_proc_t *from, la_pid_t to,
                         la_reason_t *reason) {
  la_note_t *n =
      la_note_new(LA_SIG_EXIT, to, from != NULL ? from->pid : LA_NO_ID);
  if (n == NULL) {
    return false;
  }
  n->reason = la_reason_ref(reason);
  la_signal(host, &n->sig);
  return true;
}

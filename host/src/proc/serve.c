/* Serving signals: what each kind does to the process that takes it. */
#include <string.h>

#include "proc/crew.h"
#include "proc/host.h"
#include "term/tag.h"

void la_proc_end(la_proc_t *p, la_reason_t *reason) {
  if (p->ending) {
    la_reason_unref(reason);
    return;
  }
  p->ending = true;
  p->exec.stop = true;
  p->reason = reason != NULL ? reason : la_reason_text("not enough memory");
}

void la_proc_end_itself(la_proc_t *p, la_reason_t *reason) {
  if (!p->ending) {
    p->by_itself = true;
    if (p->last_reason != NULL && reason != NULL) {
      p->report = !la_reason_is_orderly(reason); /* not the one it had */
    }
  }
  la_proc_end(p, reason);
}

/* Over its limit with messages that wait? Collect first: garbage counts in
 * 'used' until then. */
static void check_heap(la_proc_t *p) {
  if (!la_heap_is_over(&p->heap) || p->ending) {
    return;
  }
  if (p->exec.L != NULL && p->exec.running == NULL) {
    lua_gc(p->exec.L, LUA_GCCOLLECT);
  }
  if (la_heap_is_over(&p->heap)) {
    p->heap.on_limit(&p->heap);
  }
}

void la_proc_deliver(la_proc_t *p, la_mbox_t *b, la_msg_t *m) {
  if (b->limit != 0 && b->overflow == LA_OVERFLOW_DROP_OLD &&
      b->count >= b->limit) {
    la_msg_t *old = la_mbox_oldest(b);
    if (old != NULL) {
      la_mbox_remove(b, old);
      p->heap.others -= la_msg_bytes(old);
      la_signal_refuse(p->host, &old->sig);
    }
  }
  la_mbox_put(b, m);
  p->heap.others += la_msg_bytes(m);
}

void la_proc_far_sender(la_proc_t *p, const la_msg_t *m) {
  const uint32_t size = la_msg_tail(m) - 2;
  if (size > p->far_cap) {
    uint8_t *more = la_realloc(p->far_sender, size);
    if (more == NULL) {
      p->sender = LA_NO_ID;
      return;
    }
    p->far_sender = more;
    p->far_cap = size;
  }
  memcpy(p->far_sender, m->bytes + m->size - 2 - size, size);
  p->far_size = size;
}

/* ---- messages that the host makes itself ---------------------------------- */

/* From 'who', if that is a pid of another node, else from 'from'. */
static void deliver_term(la_proc_t *p, la_mbox_t *b, la_encoder_t *e,
                         la_id_t from, const la_reason_t *who,
                         la_id_t down_ref) {
  la_term_t t;
  la_encoder_term(e, &t);
  la_msg_t *m =
      who == NULL ? la_msg_new(&t, b->id, from)
      : who->bytes[0] != LA_TAG_PID
          ? la_msg_new(&t, b->id, LA_NO_ID)
          : la_msg_new_far(&t, b->id, who->bytes, who->term.size);
  if (m == NULL) {
    la_proc_end(p, NULL);
    return;
  }
  if (down_ref != LA_NO_ID) {
    m->sig.flags |= LA_SIG_IS_DOWN;
    m->ref = down_ref;
  }
  la_proc_deliver(p, b, m);
}

/* { "EXIT", pid, reason } */
static void deliver_exit(la_proc_t *p, const la_note_t *n) {
  const la_reason_t *r = n->reason;
  const la_id_t from = n->who != NULL ? LA_NO_ID : n->sig.from;
  la_encoder_t *e = la_encoder_begin(la_host_scratch(), LA_TERM_LOCAL);
  if (e != NULL && la_encode_list(e, 3) && la_encode_str(e, "EXIT", 4) &&
      (n->who != NULL      ? la_encode_term(e, &n->who->term)
       : from != LA_NO_ID ? la_encode_id(e, from)
                           : la_encode_str(e, "host", 4)) &&
      la_encode_term(e, &r->term) && la_encode_list_end(e)) {
    deliver_term(p, &p->mbox, e, from, n->who, LA_NO_ID);
  } else {
    la_proc_end(p, NULL);
  }
  if (e != NULL) {
    la_encoder_end(e);
  }
}

/* { "DOWN", ref, "process", pid or name, reason } */
static void deliver_down(la_proc_t *p, const la_note_t *mon,
                         const la_reason_t *r) {
  la_mbox_t *b = la_proc_mbox(p, mon->sig.from);
  if (b == NULL) {
    return; /* closed meanwhile */
  }
  la_encoder_t *e = la_encoder_begin(la_host_scratch(), LA_TERM_LOCAL);
  if (e != NULL && la_encode_list(e, 5) && la_encode_str(e, "DOWN", 4) &&
      la_encode_id(e, mon->ref) && la_encode_str(e, "process", 7) &&
      (mon->who != NULL    ? la_encode_term(e, &mon->who->term)
       : mon->name != NULL ? la_encode_str(e, mon->name, strlen(mon->name))
                           : la_encode_id(e, mon->peer)) &&
      la_encode_term(e, &r->term) && la_encode_list_end(e)) {
    deliver_term(p, b, e, mon->peer, mon->who, mon->ref);
  } else {
    la_proc_end(p, NULL);
  }
  if (e != NULL) {
    la_encoder_end(e);
  }
}

/* ---- exit signals ------------------------------------------------------------- */

static void scope_child_ended(la_proc_t *p, la_note_t *entry, la_note_t *n) {
  const uintptr_t left = (uintptr_t)la_map_get(&p->scopes, entry->ref);
  if (left > 1) {
    la_map_put(&p->scopes, entry->ref, (void *)(left - 1)); /* replaces */
  } else {
    la_map_remove(&p->scopes, entry->ref);
  }
  if (!la_reason_is_orderly(n->reason) && p->scope_fault == NULL &&
      !(entry->sig.flags & LA_SIG_FORCED)) {
    n->ref = entry->ref;
    p->scope_fault = n;
  } else {
    la_sig_free(&n->sig);
  }
  la_sig_free(&entry->sig);
}

static void die_of(la_proc_t *p, la_note_t *n, la_reason_t *r) {
  la_proc_end(p, la_reason_ref(r));
  la_sig_free(&n->sig);
}

/* The other side of a sparing link ended. The entry stays and holds the reason. */
static bool put_off(la_proc_t *p, la_note_t *entry, const la_note_t *n) {
  if (!(entry->sig.flags & LA_SIG_SPARING) || p->trap_exit ||
      la_reason_is(n->reason, "normal")) {
    return false;
  }
  entry->reason = la_reason_ref(n->reason);
  p->ndoomed++;
  return true;
}

static void serve_exit(la_proc_t *p, la_note_t *n) {
  const uint8_t flags = n->sig.flags;
  if (flags & LA_SIG_BY_LINK) {
    la_note_t *entry = la_map_get(&p->links, n->sig.from);
    if (entry == NULL || put_off(p, entry, n)) {
      la_sig_free(&n->sig); /* or unlinked meanwhile */
      return;
    }
    la_map_remove(&p->links, n->sig.from);
    if (entry->sig.flags & LA_SIG_SCOPE) {
      if (flags & LA_SIG_FORCED) { /* the scope's owner ended: so does p */
        la_sig_free(&entry->sig);
        die_of(p, n, la_reason_text("killed"));
      } else {
        scope_child_ended(p, entry, n);
      }
      return;
    }
    const bool from_child = entry->sig.flags & LA_SIG_ONE_WAY;
    la_sig_free(&entry->sig);
    if (flags & LA_SIG_ONE_WAY) {
      die_of(p, n, la_reason_text("killed"));
      return;
    }
    if (from_child) {
      la_sig_free(&n->sig);
      return;
    }
  } else if (la_reason_is(n->reason, "kill")) {
    die_of(p, n, la_reason_text("killed"));
    return;
  }
  if (flags & LA_SIG_FORCED) {
    p->report = true;
    die_of(p, n, n->reason);
  } else if (p->trap_exit) {
    deliver_exit(p, n);
    la_sig_free(&n->sig);
  } else if (!la_reason_is(n->reason, "normal") ||
             (n->sig.from == p->pid && !(flags & LA_SIG_BY_LINK))) {
    die_of(p, n, n->reason);
  } else {
    la_sig_free(&n->sig);
  }
}

/* ---- links and monitors ---------------------------------------------------------- */

/* The signal becomes the entry, and one day the signal back. */
static void keep_as_entry(la_note_t *n, la_sig_kind_t kind) {
  n->peer = n->sig.from;
  n->sig.to = n->peer;
  n->sig.kind = (uint8_t)kind;
}

static void serve_link(la_proc_t *p, la_note_t *n) {
  const la_pid_t from = n->sig.from;
  if (la_map_get(&p->links, from) != NULL) {
    la_sig_free(&n->sig); /* both linked at once */
    return;
  }
  keep_as_entry(n, LA_SIG_EXIT);
  n->sig.from = p->pid;
  if (!la_map_put(&p->links, from, n)) {
    /* No memory for the link: it breaks at once, towards both. */
    n->sig.flags |= LA_SIG_BY_LINK;
    n->reason = la_reason_text("not enough memory");
    la_signal(p->host, &n->sig);
  }
}

static void serve_unlink(la_proc_t *p, la_note_t *n) {
  la_note_t *entry = la_map_get(&p->links, n->sig.from);
  if (entry != NULL && !(entry->sig.flags & LA_SIG_SCOPE)) {
    la_map_remove(&p->links, n->sig.from);
    la_sig_free(&entry->sig);
  }
  la_sig_free(&n->sig);
}

static void serve_monitor(la_proc_t *p, la_note_t *n) {
  keep_as_entry(n, LA_SIG_DOWN);
  n->sig.from = p->pid;
  if (!la_map_put(&p->watches, n->ref, n)) {
    n->reason = la_reason_text("not enough memory");
    la_signal(p->host, &n->sig);
  }
}

static void serve_demonitor(la_proc_t *p, la_note_t *n) {
  la_note_t *entry = la_map_remove(&p->watches, n->ref);
  if (entry != NULL) {
    la_sig_free(&entry->sig);
  }
  la_sig_free(&n->sig);
}

static void serve_down(la_proc_t *p, la_note_t *n) {
  la_note_t *mon = la_map_remove(&p->monitors, n->ref);
  if (mon != NULL) { /* else: demonitored meanwhile */
    deliver_down(p, mon, n->reason);
    la_sig_free(&mon->sig);
  }
  la_sig_free(&n->sig);
}

/* ---- calls ------------------------------------------------------------------------- */

static bool is_awaited_call(const la_proc_t *p, la_id_t ref) {
  return p->wait.kind == LA_WAIT_CALL && p->wait.ref == ref && !p->wait.done;
}

static void serve_call_end(la_proc_t *p, la_note_t *n) {
  if (is_awaited_call(p, n->ref)) {
    p->wait.answer = &n->sig;
    p->wait.done = true;
  } else {
    la_sig_free(&n->sig);
  }
}

bool la_proc_forget_call(la_proc_t *p, la_id_t tag) {
  for (la_call_t *c = p->calls_tail; c != NULL; c = c->prev) {
    if (c->note.ref == tag) {
      *(c->prev != NULL ? &c->prev->next : &p->calls_head) = c->next;
      *(c->next != NULL ? &c->next->prev : &p->calls_tail) = c->prev;
      la_sig_free(&c->note.sig);
      return true;
    }
  }
  return false;
}

static void serve_call_done(la_proc_t *p, la_note_t *n) {
  la_proc_forget_call(p, n->ref);
  la_sig_free(&n->sig);
}

/* ---- messages ------------------------------------------------------------------------ */

/* The message is no part of a mailbox of this process: give back the room it was
 * counted for, unless that was somebody's who lived in this slot before. */
static void give_room(la_proc_t *p, la_msg_t *m) {
  if ((m->sig.flags & LA_SIG_COUNTED) &&
      la_id_kind(m->sig.to) != LA_ID_MBOX &&
      m->sig.room_of == (uint16_t)la_id_serial(p->pid)) {
    la_room_give(p->slot);
  }
  m->sig.flags &= (uint8_t)~LA_SIG_COUNTED;
}

/* An answer sent to the pid and not to the tag, { tag, value } made by hand, is
 * as good. One that comes too late is never seen either way. */
static inline bool serve_answer(la_proc_t *p, la_msg_t *m) {
  if (m->size <= 14 || (m->bytes[0] == LA_TAG_LIST && m->bytes[5] != LA_TAG_ID)) {
    return false; /* most are seen to be none at the first look */
  }
  la_term_t t;
  la_msg_term(m, &t);
  const la_id_t tag = la_term_first_id(&t);
  if (!la_id_is_call_tag(tag) || la_id_slot(tag) != la_id_slot(p->pid)) {
    return false;
  }
  give_room(p, m);
  if (is_awaited_call(p, tag)) {
    p->wait.answer = &m->sig;
    p->wait.done = true;
  } else {
    la_sig_free(&m->sig);
  }
  return true;
}

static void serve_message(la_proc_t *p, la_msg_t *m) {
  la_mbox_t *b = &p->mbox;
  switch (la_id_kind(m->sig.to)) {
    case LA_ID_ALIAS:
      if (is_awaited_call(p, m->sig.to)) {
        give_room(p, m);
        p->wait.answer = &m->sig;
        p->wait.done = true;
        return;
      }
      if (la_map_get(&p->aliases, m->sig.to) == NULL) {
        b = NULL;
      }
      break;
    case LA_ID_MBOX:
      b = la_proc_mbox(p, m->sig.to);
      break;
    default:
      if (m->sig.to != p->pid) {
        b = NULL; /* meant for who lived here before */
      } else if (serve_answer(p, m)) {
        return;
      }
  }
  if (b != NULL) {
    la_proc_deliver(p, b, m);
    return;
  }
  give_room(p, m);
  la_signal_refuse(p->host, &m->sig);
}

/* ---- room, information, tokens ----------------------------------------------------------- */

static void serve_want_room(la_proc_t *p, la_note_t *n) {
  la_mbox_t *b = la_id_kind(n->sig.to) != LA_ID_ALIAS
                     ? la_proc_mbox(p, n->sig.to)
                 : la_map_get(&p->aliases, n->sig.to) != NULL ? &p->mbox
                                                              : NULL;
  if (b == NULL || b->limit == 0 || la_room_count(b->slot) < b->limit) {
    la_signal_refuse(p->host, &n->sig);
    return;
  }
  if (b->nroom == b->room_cap) {
    const uint32_t cap = b->room_cap ? b->room_cap * 2 : 4;
    la_note_t **room = la_realloc(b->room, cap * sizeof *room);
    if (room == NULL) {
      la_signal_refuse(p->host, &n->sig); /* let it try again */
      return;
    }
    b->room = room;
    b->room_cap = cap;
  }
  b->room[b->nroom++] = n;
}

static void serve_info(la_proc_t *p, la_note_t *n) {
  la_encoder_t *e = la_encoder_begin(la_host_scratch(), LA_TERM_LOCAL);
  la_reason_t *r = NULL;
  if (e != NULL) {
    la_term_t t;
    if (la_info_encode(p, e)) {
      la_encoder_term(e, &t);
      r = la_reason_new(&t);
    }
    la_encoder_end(e);
  }
  n->sig.to = n->sig.from;
  n->sig.from = p->pid;
  n->sig.kind = LA_SIG_INFO_REPLY;
  n->reason = r;
  la_signal(p->host, &n->sig);
}

static void serve_awaited(la_proc_t *p, la_note_t *n, la_wait_kind_t kind) {
  if (p->wait.kind == kind && p->wait.ref == n->ref && !p->wait.done) {
    p->wait.done = true;
    p->wait.answer = &n->sig;
  } else {
    la_sig_free(&n->sig);
  }
}

static void serve_resume(la_proc_t *p, la_note_t *n) {
  if (n->ref == p->token && p->wait.kind != LA_WAIT_TOKEN &&
      p->resumed == NULL) {
    p->resumed = &n->sig; /* it does not wait yet */
  } else {
    serve_awaited(p, n, LA_WAIT_TOKEN);
  }
}

/* What was asked for runs on another node. The link, if any, came before this. */
static void serve_spawned(la_proc_t *p, la_note_t *n) {
  if (n->sig.flags & LA_SIG_WATCHED) {
    la_note_t *mon = la_map_get(&p->monitors, n->ref);
    if (mon == NULL) { /* no longer wanted */
      la_signal_refuse(p->host, &n->sig);
      return;
    }
    mon->sig.to = mon->peer = n->sig.from;
    mon->who = n->who != NULL ? la_reason_ref(n->who) : NULL;
  }
  serve_awaited(p, n, LA_WAIT_TOKEN);
}

static void serve_timeout(la_proc_t *p) {
  atomic_store(&p->timeout_sent, false);
  if (p->wait.kind != LA_WAIT_NONE &&
      p->wait.deadline_ns <= la_now(&p->host->env)) {
    p->wait.timed_out = true;
  } else if (p->wait.kind != LA_WAIT_NONE &&
             p->wait.deadline_ns != UINT64_MAX) {
    /* The signal was sent for an earlier wait: arm again for this one. */
    la_wait_rearm(p);
  }
}

static void serve_join(la_proc_t *p, la_note_t *n) {
  if (!la_member_join(p, n->ref)) {
    la_proc_end(p, NULL);
  }
  la_sig_free(&n->sig);
}

static void serve_one(la_proc_t *p, la_sig_t *sig) {
  la_note_t *n = (la_note_t *)sig;
  if (sig->kind == LA_SIG_MESSAGE) {
    serve_message(p, (la_msg_t *)sig);
    return;
  }
  if (sig->kind == LA_SIG_TIMEOUT) {
    serve_timeout(p);
    return;
  }
  if (sig->kind == LA_SIG_WORK) {
    /* Before the look that follows: who wakes the process sees it and pushes
     * again, or his message is seen by the look. */
    atomic_store(&p->member->work_sent, false);
    return;
  }
  if (sig->to != p->pid && sig->kind != LA_SIG_WANT_ROOM) {
    la_signal_refuse(p->host, sig); /* rule 16 */
    return;
  }
  switch ((la_sig_kind_t)sig->kind) {
    case LA_SIG_LINK:
      serve_link(p, n);
      break;
    case LA_SIG_UNLINK:
      serve_unlink(p, n);
      break;
    case LA_SIG_EXIT:
      serve_exit(p, n);
      break;
    case LA_SIG_MONITOR:
      serve_monitor(p, n);
      break;
    case LA_SIG_DEMONITOR:
      serve_demonitor(p, n);
      break;
    case LA_SIG_DOWN:
      serve_down(p, n);
      break;
    case LA_SIG_CALL_END:
      serve_call_end(p, n);
      break;
    case LA_SIG_CALL_DONE:
      serve_call_done(p, n);
      break;
    case LA_SIG_INFO:
      serve_info(p, n);
      break;
    case LA_SIG_INFO_REPLY:
      serve_awaited(p, n, LA_WAIT_REPLY);
      break;
    case LA_SIG_WANT_ROOM:
      serve_want_room(p, n);
      break;
    case LA_SIG_ROOM:
      serve_awaited(p, n, LA_WAIT_ROOM);
      break;
    case LA_SIG_RESUME:
      serve_resume(p, n);
      break;
    case LA_SIG_SPAWNED:
      serve_spawned(p, n);
      break;
    case LA_SIG_JOIN:
      serve_join(p, n);
      break;
    case LA_SIG_GROUP:
      la_proc_end(p, la_group_reason(p));
      break;
    case LA_SIG_MESSAGE:
    case LA_SIG_TIMEOUT:
    case LA_SIG_WORK:
      break;
  }
}

/* Does an exit signal end the process, whatever else waits? */
static bool is_fatal(const la_proc_t *p, const la_sig_t *sig) {
  const la_note_t *n = (const la_note_t *)sig;
  if (sig->kind == LA_SIG_GROUP) {
    return sig->to == p->pid;
  }
  if (sig->kind != LA_SIG_EXIT || sig->to != p->pid) {
    return false;
  }
  if (sig->flags & LA_SIG_BY_LINK) {
    return (sig->flags & LA_SIG_ONE_WAY) ||
           (!p->trap_exit && !la_reason_is(n->reason, "normal"));
  }
  return (sig->flags & LA_SIG_FORCED) || la_reason_is(n->reason, "kill") ||
         (!p->trap_exit && !la_reason_is(n->reason, "normal"));
}

/* Called where the process cannot yield, perhaps from inside a function that walks its
 * mailbox: only what ends it or only reads it is served, the rest waits its turn. */
void la_proc_poll(la_exec_t *x) {
  la_proc_t *p = (la_proc_t *)x;
  la_sig_t *sig = la_slot_take(p->slot);
  while (sig != NULL) {
    la_sig_t *next = sig->next;
    sig->next = NULL;
    if (!p->ending && (is_fatal(p, sig) ||
                       (sig->kind == LA_SIG_INFO && sig->to == p->pid))) {
      serve_one(p, sig);
    } else {
      *(p->pending_tail != NULL ? &p->pending_tail->next : &p->pending) = sig;
      p->pending_tail = sig;
    }
    sig = next;
  }
  if (p->heap.refused != 0) {
    p->heap.on_limit(&p->heap);
  }
}

/* All signals, oldest first. */
static la_sig_t *take_all(la_proc_t *p) {
  la_sig_t *sig = la_slot_take(p->slot);
  if (p->pending != NULL) {
    p->pending_tail->next = sig;
    sig = p->pending;
    p->pending = p->pending_tail = NULL;
  }
  return sig;
}

bool la_proc_serve_all(la_proc_t *p) {
  la_sig_t *sig = take_all(p);
  if (sig == NULL) {
    return !p->ending;
  }
  while (sig != NULL) {
    la_sig_t *next = sig->next;
    sig->next = NULL;
    if (p->ending) {
      /* Its end is decided: what comes later finds nobody. */
      if (sig->kind != LA_SIG_TIMEOUT) {
        la_signal_refuse(p->host, sig);
      }
    } else {
      serve_one(p, sig);
    }
    sig = next;
  }
  check_heap(p);
  return !p->ending;
}

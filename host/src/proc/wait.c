/* Waiting: what a suspended process waits for, and its timeout.
 *
 * The timeout's timer is left in the wheel when a wait ends early. 'want_ns' says
 * when the present wait ends (UINT64_MAX: it does not), 'armed_ns' when the timer fires
 * (UINT64_MAX: it is not in the wheel). The owner writes want and then reads armed;
 * who serves the wheel takes the timer out, writes armed and then reads want: one of the two sees
 * the other, so that no timeout is lost (all four accesses are seq_cst). */
#include <stddef.h>

#include "dist/dist.h"
#include "proc/crew.h"
#include "proc/host.h"

static void arm(la_proc_t *p, uint64_t deadline_ns) {
  la_wheel_t *w = la_sched_wheel(p->home);
  p->has_timers = true;
  la_lock(&w->lock);
  bool earliest = false;
  if (atomic_load(&p->armed_ns) > deadline_ns) {
    if (p->timeout.back != NULL) {
      la_wheel_remove_locked(w, &p->timeout);
    }
    earliest = la_wheel_add_locked(w, &p->timeout, deadline_ns);
    atomic_store(&p->armed_ns, deadline_ns);
  }
  la_unlock(&w->lock);
  if (earliest) {
    la_sched_wheel_changed(p->host, w);
  }
}

void la_wait_rearm(la_proc_t *p) {
  atomic_store(&p->want_ns, p->wait.deadline_ns);
  if (atomic_load(&p->armed_ns) > p->wait.deadline_ns) {
    arm(p, p->wait.deadline_ns);
  }
}

void la_wait_drop_leavings(la_proc_t *p) {
  if (p->wait.answer != NULL) {
    la_sig_free(p->wait.answer);
    p->wait.answer = NULL;
  }
  if (p->wait.msg != NULL) {
    la_sig_free(&p->wait.msg->sig);
    p->wait.msg = NULL;
  }
}

la_mbox_t *la_proc_mbox(la_proc_t *p, la_id_t box) {
  if (box == LA_NO_ID || box == p->pid) {
    return &p->mbox;
  }
  for (la_mbox_t *b = p->boxes; b != NULL; b = b->next) {
    if (b->id == box) {
      return b;
    }
  }
  return NULL;
}

/* A server does not start work whose caller has given up. */
static bool is_given_up(const la_proc_t *p, const la_msg_t *m) {
  return (m->sig.flags & LA_SIG_IS_CALL) &&
         m->call->deadline_ns != UINT64_MAX &&
         m->call->deadline_ns <= la_now(&p->host->env);
}

static void drop(la_proc_t *p, la_mbox_t *b, la_msg_t *m) {
  la_mbox_remove(b, m);
  p->heap.others -= la_msg_bytes(m);
  la_sig_free(&m->sig);
  la_mbox_admit(p, b);
}

/* Let the wait step over messages that its clauses cannot want. */
static void select_tags(la_proc_t *p, la_mbox_t *b, la_id_t box) {
  uint32_t tags[LA_TAGINDEX_WANTED];
  const uint32_t n =
      la_matcher_tags(p->wait.matcher, box, tags, LA_TAGINDEX_WANTED);
  if (n > 0) {
    la_mbox_select(b, &p->heap, tags, n);
  }
}

#define LONG_LOOK 64 /* messages passed until an index is worth while */

/* The first clause that accepts the message, or -1. */
static inline int try_one(la_proc_t *p, const la_msg_t *m, la_id_t box,
                          la_caps_t *caps) {
  la_msgview_t view;
  view.tag = m->sig.tag;
  la_msg_term(m, &view.term);
  return la_matcher_try(p->wait.matcher, &view, box,
                        m == p->wait.found.msg ? p->wait.found.clause : 0,
                        caps);
}

static bool look_in(la_proc_t *p, la_mbox_t *b, la_id_t box, la_caps_t *caps) {
  la_msg_t *m;
  uint32_t passed = 0;
  if (la_mbox_may_select(b)) {
    select_tags(p, b, box);
  }
  while ((m = la_mbox_peek(b)) != NULL) {
    const int clause = try_one(p, m, box, caps);
    if (clause >= 0) {
      if (is_given_up(p, m)) {
        drop(p, b, m);
        continue;
      }
      p->wait.found = (la_found_t){m, b, clause, 0};
      return true;
    }
    la_mbox_pass(b, m);
    if (++passed == LONG_LOOK) {
      select_tags(p, b, box);
    }
  }
  return false;
}

/* receive(): whatever is oldest. */
static bool look_for_any(la_proc_t *p) {
  la_msg_t *m;
  while ((m = la_mbox_peek(&p->mbox)) != NULL) {
    if (!is_given_up(p, m)) {
      p->wait.found = (la_found_t){m, &p->mbox, 0, 0};
      return true;
    }
    drop(p, &p->mbox, m);
  }
  p->wait.found.msg = NULL;
  return false;
}

static bool look_everywhere(la_proc_t *p, la_caps_t *caps) {
  if (p->wait.matcher == NULL) {
    return look_for_any(p);
  }
  const uint32_t n = la_matcher_mailboxes(p->wait.matcher);
  for (uint32_t i = 0; i < n; i++) {
    const la_id_t box = la_matcher_mailbox(p->wait.matcher, i);
    la_mbox_t *b = la_proc_mbox(p, box);
    if (b != NULL && look_in(p, b, box, caps)) {
      return true;
    }
  }
  p->wait.found.msg = NULL;
  return false;
}

/* The usual case is one mailbox whose next message, if there is one, is wanted. */
static inline bool look_in_own(la_proc_t *p, la_caps_t *caps) {
  if (p->boxes != NULL || p->wait.matcher == NULL) {
    return look_everywhere(p, caps);
  }
  la_msg_t *m = la_mbox_peek(&p->mbox);
  if (m == NULL) {
    p->wait.found.msg = NULL; /* the matcher does not matter */
    return false;
  }
  if ((m->sig.flags & LA_SIG_IS_CALL) || p->mbox.index != NULL) {
    return look_everywhere(p, caps);
  }
  const int clause = try_one(p, m, LA_NO_ID, caps);
  if (clause < 0) {
    return look_everywhere(p, caps);
  }
  p->wait.found = (la_found_t){m, &p->mbox, clause, 0};
  return true;
}

bool la_wait_look(la_proc_t *p, la_caps_t *caps) {
  if (p->member == NULL) {
    return look_in_own(p, caps);
  }
  const la_found_t before = p->wait.found;
  if (look_in_own(p, caps)) {
    la_member_withdraw(p);
    return true;
  }
  return la_member_look(p, &before, caps);
}

void la_wait_leave_queue(la_proc_t *p) {
  la_member_withdraw(p);
}

static bool scopes_are_done(const la_proc_t *p) {
  return la_map_get(&p->scopes, p->wait.ref) == NULL;
}

bool la_wait_is_over(la_proc_t *p) {
  if (p->wait.timed_out) {
    return true;
  }
  if (p->ndoomed != 0 && !la_wait_spares(p)) {
    la_proc_obey_doom(p);
    return true;
  }
  switch (p->wait.kind) {
    case LA_WAIT_NONE:
      return true;
    case LA_WAIT_RECEIVE: {
      uint64_t stamp;
      la_caps_t *caps = la_host_caps(&stamp);
      if (p->scope_fault != NULL || !la_wait_look(p, caps)) {
        return p->scope_fault != NULL;
      }
      p->wait.found.stamp = stamp; /* the receive need not look again */
      return true;
    }
    case LA_WAIT_SLEEP:
      return p->scope_fault != NULL;
    case LA_WAIT_SCOPE:
      return p->scope_fault != NULL || scopes_are_done(p);
    case LA_WAIT_CALL:
      return p->wait.done || p->scope_fault != NULL;
    case LA_WAIT_ROOM:
    case LA_WAIT_REPLY:
    case LA_WAIT_TOKEN:
      return p->wait.done;
  }
  return true;
}

/* ---- holding ---------------------------------------------------------------- */

void la_drop_held(la_proc_t *p, const la_sig_t *sig) {
  while (p->held != sig) {
    la_sig_t *above = p->held;
    p->held = above->next;
    la_sig_free(above);
  }
}

/* ---- taking ----------------------------------------------------------------- */

void la_proc_took_call(la_proc_t *p, la_msg_t *m) {
  la_call_t *c = m->call;
  m->sig.flags &= (uint8_t)~LA_SIG_IS_CALL;
  m->call = NULL;
  c->prev = p->calls_tail;
  c->next = NULL;
  if (p->calls_tail != NULL) {
    p->calls_tail->next = c;
  } else {
    p->calls_head = c;
  }
  p->calls_tail = c;
}

void la_mbox_admit(la_proc_t *p, la_mbox_t *b) {
  while (b->nroom > 0 &&
         (b->limit == 0 || la_room_count(b->slot) < b->limit)) {
    la_note_t *n = b->room[0];
    b->nroom--;
    for (uint32_t i = 0; i < b->nroom; i++) {
      b->room[i] = b->room[i + 1];
    }
    la_signal_refuse(p->host, &n->sig); /* WANT_ROOM goes back as ROOM */
    if (b->limit != 0) {
      return; /* one for the room that came free */
    }
  }
}

/* ---- further mailboxes ----------------------------------------------------- */

la_mbox_t *la_proc_open_mbox(la_proc_t *p, uint32_t limit,
                             la_overflow_t overflow) {
  la_mbox_t *b = la_alloc(sizeof *b);
  if (b == NULL) {
    return NULL;
  }
  la_slot_t *s;
  bool no_memory;
  const la_id_t id =
      la_pidtab_take(&p->host->pids, LA_SLOT_MBOX, &s, &no_memory);
  if (id == LA_NO_ID) {
    la_free(b);
    return NULL;
  }
  la_mbox_init(b, id, s);
  b->limit = limit;
  b->overflow = overflow;
  b->next = p->boxes;
  p->boxes = b;
  s->owner = p->pid;
  s->overflow = (uint8_t)overflow;
  atomic_store(&s->limit, limit);
  la_slot_publish(s, id);
  p->nboxes++;
  la_proc_grew(p);
  return b;
}

bool la_proc_close_mbox(la_proc_t *p, la_id_t id) {
  la_mbox_t **at = &p->boxes;
  while (*at != NULL && (*at)->id != id) {
    at = &(*at)->next;
  }
  la_mbox_t *b = *at;
  if (b == NULL) {
    return false;
  }
  *at = b->next;
  p->nboxes--;
  atomic_store(&b->slot->id, LA_NO_ID);
  la_msg_t *m;
  while ((m = la_mbox_first(b)) != NULL) {
    la_mbox_remove(b, m);
    p->heap.others -= la_msg_bytes(m);
    la_signal_refuse(p->host, &m->sig);
  }
  for (uint32_t i = 0; i < b->nroom; i++) {
    la_signal_refuse(p->host, &b->room[i]->sig);
  }
  la_pidtab_give(&p->host->pids, b->slot, la_id_slot(id));
  la_mbox_fini(b);
  la_free(b);
  return true;
}

/* ---- timers ------------------------------------------------------------------ */

/* The proxy that a timer sends to and holds, or LA_NO_ID. */
static la_id_t far_of(const la_timer_t *t) {
  return t->msg != NULL && la_id_kind(t->msg->sig.to) == LA_ID_PROXY
             ? t->msg->sig.to
             : LA_NO_ID;
}

la_id_t la_proc_timer(la_proc_t *p, double ms, bool every, la_msg_t *m,
                      char *name) {
  la_wheel_t *w = la_sched_wheel(p->home);
  uint64_t span = la_span_of_ms(ms);
  if (span > LA_SPAN_MAX) {
    span = LA_SPAN_MAX;
  }
  p->has_timers = true;
  la_dist_hold(p->host, m->sig.to);
  la_lock(&w->lock);
  la_timer_t *t = la_timer_new_locked(w, &p->timers);
  la_id_t id = LA_NO_ID;
  const uint32_t heavy = (uint32_t)(la_msg_bytes(m) >= 4096 ? 63 - p->grown % 64 : 0);
  bool earliest = false;
  if (t != NULL) {
    t->kind = every ? LA_TIMER_EVERY : LA_TIMER_ONCE;
    t->msg = m;
    t->name = name;
    t->period_ns = span > 0 ? span : 1000000;
    const size_t cost = sizeof *t + la_msg_bytes(m);
    t->cost = cost < UINT32_MAX ? (uint32_t)cost : UINT32_MAX;
    t->owed = &p->timer_bytes;
    atomic_fetch_add_explicit(t->owed, t->cost, memory_order_relaxed);
    id = t->id;
    earliest = la_wheel_add_locked(w, t, la_now(&p->host->env) + span);
  }
  la_unlock(&w->lock);
  if (id == LA_NO_ID) {
    la_dist_release(p->host, m->sig.to);
  }
  if (earliest) {
    la_sched_wheel_changed(p->host, w);
  }
  p->grown += heavy; /* a large message is counted at once */
  la_proc_grew(p);
  return id;
}

int64_t la_timer_cancel(la_host_t *host, la_id_t id) {
  const uint32_t index = la_timer_wheel_of(id);
  if (la_id_kind(id) != LA_ID_TIMER || index >= host->nscheds) {
    return -1;
  }
  la_wheel_t *w = la_sched_wheel(host->scheds[index]);
  int64_t left = -1;
  la_id_t to = LA_NO_ID;
  la_lock(&w->lock);
  la_timer_t *t = la_timer_find_locked(w, id);
  if (t != NULL) {
    const uint64_t now = la_now(&host->env);
    left = t->due_ns > now ? (int64_t)(t->due_ns - now) : 0;
    if (t->back != NULL) {
      la_wheel_remove_locked(w, t);
    }
    to = far_of(t);
    la_timer_free_locked(w, t);
  }
  la_unlock(&w->lock);
  la_dist_release(host, to);
  return left;
}

/* A process's timeout fired: tell it, or put the timer back for a later wait. */
static void fire_wait_locked(la_host_t *host, la_wheel_t *w, la_timer_t *t,
                             uint64_t now_ns) LA_REQUIRES(w->lock) {
  la_proc_t *p = (la_proc_t *)((char *)t - offsetof(la_proc_t, timeout));
  atomic_store(&p->armed_ns, UINT64_MAX);
  const uint64_t want = atomic_load(&p->want_ns);
  if (want == UINT64_MAX) {
    return;
  }
  if (want > now_ns) {
    la_wheel_add_locked(w, t, want);
    atomic_store(&p->armed_ns, want);
    return;
  }
  if (!atomic_exchange(&p->timeout_sent, true)) {
    /* Under the lock: the process takes it before it is freed. */
    la_signal_try(host, &p->timeout_sig);
  }
}

/* Is the timer one that somebody waits for? A timeout that is out says so first and
 * then reads what its process wants, as in fire_wait_locked. */
static bool may_fire(la_timer_t *t) {
  if (t->kind != LA_TIMER_WAIT) {
    return true;
  }
  la_proc_t *p = (la_proc_t *)((char *)t - offsetof(la_proc_t, timeout));
  const uint64_t armed = atomic_load(&p->armed_ns);
  atomic_store(&p->armed_ns, UINT64_MAX);
  if (atomic_load(&p->want_ns) == UINT64_MAX) {
    return false;
  }
  atomic_store(&p->armed_ns, armed); /* it goes back where it was */
  return true;
}

void la_sched_prune(la_wheel_t *w) {
  la_lock(&w->lock);
  la_wheel_prune_locked(w, may_fire);
  la_unlock(&w->lock);
}

/* What a due timer sends, addressed; NULL when there is nobody or no memory (that
 * beat of a repeated timer is left out). */
static la_msg_t *due_msg_locked(la_host_t *host, la_wheel_t *w, la_timer_t *t,
                                uint64_t now_ns) LA_REQUIRES(w->lock) {
  la_msg_t *m = t->msg;
  const la_id_t to =
      t->name != NULL ? la_names_find(&host->names, t->name) : m->sig.to;
  if (t->kind == LA_TIMER_ONCE) {
    t->msg = NULL;
    la_timer_free_locked(w, t);
  } else {
    m = la_msg_copy(m);
    uint64_t next = t->due_ns + t->period_ns;
    if (next <= now_ns) { /* beats that were missed are left out */
      next += ((now_ns - next) / t->period_ns + 1) * t->period_ns;
    }
    la_wheel_add_locked(w, t, next);
  }
  if (m != NULL) {
    m->sig.to = to;
  }
  return m;
}

static void send_due(la_host_t *host, la_msg_t *m) {
  const la_sent_t sent = la_send(host, NULL, m);
  if (sent != LA_SENT && sent != LA_SEND_NOPROC) {
    la_sig_free(&m->sig); /* a timer cannot wait */
  }
}

/* Two steps: collect under the lock, then send (a send may wake and log). The
 * messages of timers that have ended and held a proxy are on a list of their
 * own. */
bool la_sched_expire(la_host_t *host, la_wheel_t *w) {
  const uint64_t first = atomic_load_explicit(&w->next_ns, memory_order_acquire);
  if (first == UINT64_MAX) {
    return false; /* mostly: not even the clock is read */
  }
  const uint64_t now = la_now(&host->env);
  if (first > now) {
    return false;
  }
  la_sig_t *msgs = NULL, **tail = &msgs, *far = NULL;
  la_lock(&w->lock);
  la_timer_t *due = la_wheel_expire_locked(w, now);
  const bool any = due != NULL;
  bool log = false;
  la_timer_t *groups = NULL;
  while (due != NULL) {
    la_timer_t *t = due;
    due = t->next;
    t->next = NULL;
    if (t->kind == LA_TIMER_WAIT) {
      fire_wait_locked(host, w, t, now);
      continue;
    }
    if (t->kind == LA_TIMER_LOG) {
      log = true;
      continue;
    }
    if (t->kind == LA_TIMER_GROUP) {
      t->next = groups;
      groups = t;
      continue;
    }
    const bool holds = t->kind == LA_TIMER_ONCE && far_of(t) != LA_NO_ID;
    la_msg_t *m = due_msg_locked(host, w, t, now);
    if (holds) {
      m->sig.next = far;
      far = &m->sig;
    } else if (m != NULL) {
      m->sig.next = NULL;
      *tail = &m->sig;
      tail = &m->sig.next;
    }
  }
  la_unlock(&w->lock);
  while (msgs != NULL) {
    la_sig_t *next = msgs->next;
    send_due(host, (la_msg_t *)msgs);
    msgs = next;
  }
  while (far != NULL) {
    la_sig_t *next = far->next;
    const la_id_t to = far->to;
    send_due(host, (la_msg_t *)far);
    la_dist_release(host, to);
    far = next;
  }
  if (log) {
    la_log_window(host);
  }
  while (groups != NULL) {
    la_timer_t *next = groups->next;
    groups->next = NULL;
    la_group_due(groups);
    groups = next;
  }
  return any;
}

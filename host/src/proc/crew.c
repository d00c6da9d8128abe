/* See crew.h. */
#include "proc/crew.h"

#include <string.h>

void la_crews_init(la_crews_t *cs) {
  la_lock_init(&cs->lock, LA_RANK_CREWS);
  cs->all = cs->free = NULL;
}

static void free_list(la_sig_t *list) {
  while (list != NULL) {
    la_sig_t *next = list->next;
    la_sig_free(list);
    list = next;
  }
}

void la_crews_fini(la_crews_t *cs) {
  while (cs->all != NULL) {
    la_crew_t *c = cs->all;
    cs->all = c->all;
    free_list((la_sig_t *)c->head[0]);
    free_list((la_sig_t *)c->head[1]);
    free_list(c->room);
    la_lock_fini(&c->lock);
    la_free(c);
  }
  la_lock_fini(&cs->lock);
}

/* ---- the queue ------------------------------------------------------------------ */

/* A message in the queue is addressed by its place there; it gets its address back
 * when it leaves. */
static inline uint64_t number_of(const la_msg_t *m) {
  return m->sig.to;
}

static inline la_msg_t *next_of(const la_msg_t *m) {
  return (la_msg_t *)m->sig.next;
}

static inline bool is_claimed(const la_msg_t *m) {
  return (m->sig.flags & LA_SIG_CLAIMED) != 0;
}

static void put_locked(la_crew_t *c, la_msg_t *m) LA_REQUIRES(c->lock) {
  const int lane = la_msg_lane(m);
  m->sig.to = ++c->seq;
  m->sig.next = NULL;
  m->prev = c->tail[lane];
  if (m->prev != NULL) {
    m->prev->sig.next = &m->sig;
  } else {
    c->head[lane] = m;
  }
  c->tail[lane] = m;
  c->count++;
}

static void unlink_locked(la_crew_t *c, la_msg_t *m, la_id_t id)
    LA_REQUIRES(c->lock) {
  const int lane = la_msg_lane(m);
  la_msg_t *next = next_of(m);
  if (m->prev != NULL) {
    m->prev->sig.next = m->sig.next;
  } else {
    c->head[lane] = next;
  }
  if (next != NULL) {
    next->prev = m->prev;
  } else {
    c->tail[lane] = m->prev;
  }
  if (is_claimed(m)) {
    m->sig.flags &= (uint8_t)~LA_SIG_CLAIMED;
    c->nclaimed--;
  }
  m->sig.next = NULL;
  m->prev = NULL;
  m->sig.to = id;
  c->count--;
}

/* The senders that may try again, as a list. One that has given up meanwhile, or is
 * dead, does not use its room; so an empty queue lets all of them try. */
static la_sig_t *admit_locked(la_crew_t *c) LA_REQUIRES(c->lock) {
  la_sig_t *out = c->room;
  if (out == NULL || (c->limit != 0 && c->count >= c->limit)) {
    return NULL;
  }
  la_sig_t *last = c->last_room;
  if (c->limit != 0 && c->count > 0) {
    last = out;
    for (uint32_t n = c->limit - c->count; n > 1 && last->next != NULL; n--) {
      last = last->next;
    }
  }
  c->room = last->next;
  if (c->room == NULL) {
    c->last_room = NULL;
  }
  last->next = NULL;
  return out;
}

static void refuse_list(la_host_t *host, la_sig_t *list) {
  while (list != NULL) {
    la_sig_t *next = list->next;
    list->next = NULL;
    la_signal_refuse(host, list);
    list = next;
  }
}

/* ---- idle members --------------------------------------------------------------- */

static void list_locked(la_crew_t *c, la_member_t *b) LA_REQUIRES(c->lock) {
  b->at = c->seq;
  b->next_idle = NULL;
  b->prev_idle = c->last_idle;
  *(c->last_idle != NULL ? &c->last_idle->next_idle : &c->first_idle) = b;
  c->last_idle = b;
}

static void unlist_locked(la_crew_t *c, la_member_t *b) LA_REQUIRES(c->lock) {
  *(b->prev_idle != NULL ? &b->prev_idle->next_idle : &c->first_idle) =
      b->next_idle;
  *(b->next_idle != NULL ? &b->next_idle->prev_idle : &c->last_idle) =
      b->prev_idle;
}

/* Push the wake-up; the process, if it is to be put in a run queue. */
static la_proc_t *wake_locked(la_crew_t *c, la_member_t *b)
    LA_REQUIRES(c->lock) {
  unlist_locked(c, b);
  b->woken = true;
  c->nwoken++;
  if (!atomic_exchange(&b->work_sent, true) &&
      la_slot_push(b->proc->slot, &b->work) == LA_PUSH_WAKE) {
    return b->proc;
  }
  return NULL;
}

static inline bool is_wake_due(const la_crew_t *c) {
  return c->count - c->nclaimed > c->nwoken && c->first_idle != NULL &&
         c->first_idle->at < c->seq;
}

/* See the essay. */
static la_proc_t *pass_locked(la_crew_t *c) LA_REQUIRES(c->lock) {
  return is_wake_due(c) ? wake_locked(c, c->first_idle) : NULL;
}

static inline void wake(la_host_t *host, la_proc_t *p) {
  if (p != NULL) {
    la_sched_wake(host, p);
  }
}

/* The member is neither idle nor woken. */
static void forget_locked(la_crew_t *c, la_member_t *b) LA_REQUIRES(c->lock) {
  if (!b->listed) {
    return;
  }
  b->listed = false;
  if (b->ready) {
    c->nready--;
  }
  if (b->woken) {
    b->woken = false;
    c->nwoken--;
  } else {
    unlist_locked(c, b);
  }
}

/* The claim is given back: those who stepped over it look again. They go to the front of
 * the list, which keeps it in order. */
static void unclaim_locked(la_crew_t *c, la_member_t *b) LA_REQUIRES(c->lock) {
  b->claim->sig.flags &= (uint8_t)~LA_SIG_CLAIMED;
  b->claim = NULL;
  c->nclaimed--;
  c->returns++;
  for (la_member_t *i = c->first_idle, *next; i != NULL; i = next) {
    next = i->next_idle;
    if ((i->skipped[0] | i->skipped[1]) != 0) {
      unlist_locked(c, i);
      i->at = 0;
      i->prev_idle = NULL;
      i->next_idle = c->first_idle;
      *(c->first_idle != NULL ? &c->first_idle->prev_idle : &c->last_idle) = i;
      c->first_idle = i;
    }
  }
}

/* ---- pools ---------------------------------------------------------------------- */

la_crew_t *la_crew_find(la_host_t *host, la_id_t id) {
  la_slot_t *s = la_pidtab_slot(&host->pids, id);
  if (s == NULL || !la_slot_is(s, id)) {
    return NULL;
  }
  /* An identity never comes back: the same one before and after, and the
   * slot was the pool's in between. */
  la_crew_t *c = (la_crew_t *)(uintptr_t)atomic_load(&s->owner);
  return la_slot_is(s, id) ? c : NULL;
}

static la_crew_t *new_crew(la_crews_t *cs) {
  la_lock(&cs->lock);
  la_crew_t *c = cs->free;
  if (c != NULL) {
    cs->free = c->next_free;
  }
  la_unlock(&cs->lock);
  if (c != NULL) {
    return c;
  }
  c = la_zalloc(sizeof *c);
  if (c != NULL) {
    la_lock_init(&c->lock, LA_RANK_CREW);
    la_lock(&cs->lock);
    c->all = cs->all;
    cs->all = c;
    la_unlock(&cs->lock);
  }
  return c;
}

static void give_crew(la_crews_t *cs, la_crew_t *c) {
  la_lock(&cs->lock);
  c->next_free = cs->free;
  cs->free = c;
  la_unlock(&cs->lock);
}

la_id_t la_crew_open(la_proc_t *p, uint32_t limit, la_overflow_t overflow) {
  la_host_t *host = p->host;
  la_slot_t *s;
  bool no_memory;
  la_crew_t *c = p->runs == NULL ? new_crew(&host->crews) : NULL;
  if (c == NULL) {
    return LA_NO_ID;
  }
  const la_id_t id =
      la_pidtab_take(&host->pids, LA_SLOT_POOL, &s, &no_memory);
  if (id == LA_NO_ID) {
    give_crew(&host->crews, c);
    return LA_NO_ID;
  }
  la_lock(&c->lock);
  c->id = id;
  c->owner = p->pid;
  c->slot = s;
  c->limit = limit;
  c->overflow = overflow;
  c->seq = c->returns = c->taken = c->crashed = 0;
  c->target = 0;
  c->refs = 1;
  la_unlock(&c->lock);
  p->runs = c;
  atomic_store(&s->owner, (la_id_t)(uintptr_t)c);
  la_slot_publish(s, id);
  return id;
}

/* The messages that nobody has claimed, as a list. */
static la_sig_t *drain_locked(la_crew_t *c, la_id_t id) LA_REQUIRES(c->lock) {
  la_sig_t *out = NULL, **tail = &out;
  for (int lane = 0; lane < 2; lane++) {
    for (la_msg_t *m = c->head[lane], *next; m != NULL; m = next) {
      next = next_of(m);
      if (!is_claimed(m)) {
        unlink_locked(c, m, id);
        *tail = &m->sig;
        tail = &m->sig.next;
      }
    }
  }
  return out;
}

static bool unref_locked(la_crew_t *c) LA_REQUIRES(c->lock) {
  return --c->refs == 0;
}

void la_crew_close(la_proc_t *p) {
  la_host_t *host = p->host;
  la_crew_t *c = p->runs;
  if (c == NULL) {
    return;
  }
  p->runs = NULL;
  la_lock(&c->lock);
  const la_id_t id = c->id;
  la_slot_t *s = c->slot;
  la_proc_leave_slot(&host->names, s, id);
  c->id = LA_NO_ID;
  la_sig_t *rest = drain_locked(c, id);
  la_sig_t *room = c->room;
  c->room = c->last_room = NULL;
  const bool is_last = unref_locked(c);
  la_unlock(&c->lock);
  la_pidtab_give(&host->pids, s, la_id_slot(id));
  if (is_last) {
    give_crew(&host->crews, c);
  }
  refuse_list(host, rest);
  refuse_list(host, room);
}

la_pid_t la_crew_owner(la_host_t *host, la_id_t id) {
  la_crew_t *c = la_crew_find(host, id);
  la_pid_t pid = la_id_counted(LA_ID_PID, la_id_body(id));
  if (c != NULL) {
    la_lock(&c->lock);
    if (c->id == id) {
      pid = c->owner;
    }
    la_unlock(&c->lock);
  }
  return pid;
}

bool la_crew_info(la_host_t *host, la_id_t id, la_crew_info_t *out) {
  la_crew_t *c = la_crew_find(host, id);
  if (c == NULL) {
    return false;
  }
  la_lock(&c->lock);
  const bool is_it = c->id == id;
  *out = (la_crew_info_t){.target = c->target,
                          .members = c->nmembers,
                          .idle = c->nready,
                          .queue = c->count,
                          .taken = c->taken,
                          .crashed = c->crashed};
  la_unlock(&c->lock);
  return is_it;
}

/* Idle members that are too many are woken, to leave. */
void la_crew_resize(la_proc_t *p, uint32_t target) {
  la_crew_t *c = p->runs;
  la_lock(&c->lock);
  c->target = target;
  const uint32_t surplus = c->nmembers > target ? c->nmembers - target : 0;
  la_unlock(&c->lock);
  /* Those that were woken may leave meanwhile: they have been counted. */
  for (uint32_t n = 0; n < surplus; n++) {
    la_lock(&c->lock);
    la_proc_t *who =
        c->first_idle != NULL ? wake_locked(c, c->first_idle) : NULL;
    la_unlock(&c->lock);
    wake(p->host, who);
  }
}

void la_crew_note_crash(la_proc_t *p) {
  la_lock(&p->runs->lock);
  p->runs->crashed++;
  la_unlock(&p->runs->lock);
}

/* ---- senders -------------------------------------------------------------------- */

static la_msg_t *oldest_locked(la_crew_t *c) LA_REQUIRES(c->lock) {
  la_msg_t *m = c->head[1];
  while (m != NULL && is_claimed(m)) {
    m = next_of(m);
  }
  return m;
}

/* The queue is full. True: the message is put all the same, perhaps in the place of
 * *out. */
static bool overflow_locked(la_crew_t *c, la_sent_t *sent, la_msg_t **out)
    LA_REQUIRES(c->lock) {
  *sent = LA_SENT;
  switch (c->overflow) {
    case LA_OVERFLOW_DROP_OLD:
      *out = oldest_locked(c);
      if (*out != NULL) {
        unlink_locked(c, *out, c->id);
      }
      return true;
    case LA_OVERFLOW_DROP_NEW:
    case LA_OVERFLOW_KILL:
      return false;
    case LA_OVERFLOW_BLOCK:
      *sent = LA_SEND_WAIT;
      return false;
    case LA_OVERFLOW_ERROR:
      break;
  }
  *sent = LA_SEND_FULL;
  return false;
}

static void kill_for_overflow(la_host_t *host, la_pid_t victim) {
  la_note_t *n = la_note_new(LA_SIG_EXIT, victim, LA_NO_ID);
  if (n != NULL) {
    n->sig.flags = LA_SIG_FORCED;
    n->reason = la_reason_text("mailbox_limit");
    la_signal(host, &n->sig);
  }
}

la_sent_t la_crew_send(la_host_t *host, la_msg_t *m) {
  const la_id_t id = m->sig.to;
  la_crew_t *c = la_crew_find(host, id);
  la_sent_t sent = LA_SEND_NOPROC;
  la_msg_t *dropped = NULL;
  la_proc_t *who = NULL;
  la_pid_t victim = LA_NO_ID;
  if (c != NULL) {
    la_lock(&c->lock);
    bool fits = c->id == id;
    if (fits) {
      sent = LA_SENT;
      if (c->limit != 0 && c->count >= c->limit &&
          !(m->sig.flags & LA_SIG_NO_LIMIT)) {
        fits = overflow_locked(c, &sent, &dropped);
        victim = c->overflow == LA_OVERFLOW_KILL ? c->owner : LA_NO_ID;
      }
    }
    if (fits) {
      put_locked(c, m);
      m = NULL;
      if (is_wake_due(c)) { /* the last to be idle: it is warm */
        who = wake_locked(c, c->last_idle);
      }
    }
    la_unlock(&c->lock);
  }
  wake(host, who);
  if (dropped != NULL) {
    la_signal_refuse(host, &dropped->sig);
  }
  if (victim != LA_NO_ID) {
    kill_for_overflow(host, victim);
  }
  if (m != NULL && (sent == LA_SENT || sent == LA_SEND_NOPROC)) {
    la_signal_refuse(host, &m->sig);
  }
  return sent;
}

/* Whoever has taken the call: the caller waits no longer. The queue's calls are
 * known to be given up by their deadlines. */
static void tell_all_locked(la_crew_t *c, const la_note_t *n, la_sig_t **out)
    LA_REQUIRES(c->lock) {
  for (const la_member_t *b = c->members; b != NULL; b = b->next) {
    la_note_t *copy = la_note_new(LA_SIG_CALL_DONE, b->proc->pid, n->sig.from);
    if (copy != NULL) { /* else the record goes with the member */
      copy->ref = n->ref;
      copy->sig.next = *out;
      *out = &copy->sig;
    }
  }
}

/* Room is waited for in the queue; what else there is, is the pool's process's. */
bool la_crew_signal(la_host_t *host, la_sig_t *sig) {
  la_crew_t *c = la_crew_find(host, sig->to);
  if (c == NULL) {
    return false;
  }
  la_sig_t *many = NULL;
  bool has_it = false;
  la_lock(&c->lock);
  const bool is_it = c->id == sig->to;
  const la_pid_t owner = c->owner;
  if (is_it && sig->kind == LA_SIG_WANT_ROOM) {
    has_it = c->limit != 0 && c->count >= c->limit;
    if (has_it) {
      sig->next = NULL;
      *(c->last_room != NULL ? &c->last_room->next : &c->room) = sig;
      c->last_room = sig;
    }
  } else if (is_it && sig->kind == LA_SIG_CALL_DONE) {
    tell_all_locked(c, (const la_note_t *)sig, &many);
  }
  la_unlock(&c->lock);
  while (many != NULL) {
    la_sig_t *next = many->next;
    la_signal(host, many);
    many = next;
  }
  if (has_it) {
    return true;
  }
  if (!is_it || sig->kind == LA_SIG_WANT_ROOM ||
      sig->kind == LA_SIG_CALL_DONE) {
    return false; /* refused: there is room, or all is said */
  }
  sig->to = owner;
  return la_signal_try(host, sig);
}

/* ---- members -------------------------------------------------------------------- */

bool la_member_join(la_proc_t *p, la_id_t pool) {
  la_crew_t *c = la_crew_find(p->host, pool);
  la_member_t *b = p->member;
  if (c == NULL || (b != NULL && b->crew != NULL)) {
    return true;
  }
  if (b == NULL) {
    b = la_zalloc(sizeof *b);
    if (b == NULL) {
      return false;
    }
    b->proc = p;
    b->work = (la_sig_t){
        .to = p->pid, .kind = LA_SIG_WORK, .flags = LA_SIG_STATIC};
    p->member = b;
  }
  b->pool = pool;
  la_lock(&c->lock);
  if (c->id == pool) {
    b->crew = c;
    b->prev = NULL;
    b->next = c->members;
    if (b->next != NULL) {
      b->next->prev = b;
    }
    c->members = b;
    c->nmembers++;
    c->refs++;
  }
  la_unlock(&c->lock);
  if (b->crew != NULL && p->wait.kind == LA_WAIT_RECEIVE) {
    la_member_rewind(p);
  }
  return true;
}

bool la_member_is_of(const la_proc_t *p, la_id_t pool) {
  return p->member != NULL && p->member->crew != NULL &&
         la_crew_find(p->host, pool) == p->member->crew;
}

static bool part_locked(la_crew_t *c, la_member_t *b) LA_REQUIRES(c->lock) {
  *(b->prev != NULL ? &b->prev->next : &c->members) = b->next;
  if (b->next != NULL) {
    b->next->prev = b->prev;
  }
  b->crew = NULL;
  b->looks = false;
  c->nmembers--;
  return unref_locked(c);
}

/* What was claimed and is not wanted. When the pool has ended meanwhile, the message is
 * refused now: it is returned. */
static la_msg_t *let_go_locked(la_crew_t *c, la_member_t *b)
    LA_REQUIRES(c->lock) {
  la_msg_t *m = b->claim;
  if (m == NULL) {
    return NULL;
  }
  unclaim_locked(c, b);
  if (c->id != LA_NO_ID) {
    return NULL;
  }
  unlink_locked(c, m, LA_NO_ID);
  return m;
}

static void refuse_one(la_host_t *host, la_msg_t *m) {
  if (m != NULL) {
    la_signal_refuse(host, &m->sig);
  }
}

void la_member_quit(la_proc_t *p) {
  la_member_t *b = p->member;
  la_crew_t *c = b != NULL ? b->crew : NULL;
  if (c == NULL) {
    return;
  }
  la_lock(&c->lock);
  la_msg_t *orphan = let_go_locked(c, b);
  forget_locked(c, b);
  const bool is_last = part_locked(c, b);
  la_proc_t *who = pass_locked(c);
  la_unlock(&c->lock);
  wake(p->host, who);
  refuse_one(p->host, orphan);
  if (is_last) {
    give_crew(&p->host->crews, c);
  }
}

void la_member_free(la_proc_t *p) {
  if (p->member->last != NULL) {
    la_sig_free(&p->member->last->sig);
  }
  la_free(p->member);
  p->member = NULL;
}

/* A wait for the process's own mailbox, and not for what can only come there. */
static bool looks_in_queue(const la_proc_t *p) {
  const la_matcher_t *m = p->wait.matcher;
  if (m == NULL) {
    return true;
  }
  if (la_matcher_fresh_ref(m) != LA_NO_ID) {
    return false;
  }
  for (uint32_t i = 0; i < la_matcher_mailboxes(m); i++) {
    if (la_matcher_mailbox(m, i) == LA_NO_ID) {
      return true;
    }
  }
  return false;
}

void la_member_rewind(la_proc_t *p) {
  la_member_t *b = p->member;
  la_member_withdraw(p); /* an error may have left something */
  memset(b->tried, 0, sizeof b->tried);
  memset(b->skipped, 0, sizeof b->skipped);
  b->looks = b->crew != NULL && looks_in_queue(p);
}

void la_member_withdraw(la_proc_t *p) {
  la_member_t *b = p->member;
  la_crew_t *c = b->crew;
  if (c == NULL || (!b->listed && b->claim == NULL)) {
    return;
  }
  la_lock(&c->lock);
  la_msg_t *orphan = let_go_locked(c, b);
  forget_locked(c, b);
  la_proc_t *who = pass_locked(c);
  la_unlock(&c->lock);
  wake(p->host, who);
  refuse_one(p->host, orphan);
}

/* The first clause from 'from' on that accepts the message, or -1. */
static int try_one(const la_proc_t *p, const la_msg_t *m, int from,
                   la_caps_t *caps) {
  if (p->wait.matcher == NULL) {
    caps->n = 0;
    return 0;
  }
  la_msgview_t view;
  view.tag = m->sig.tag;
  la_msg_term(m, &view.term);
  return la_matcher_try(p->wait.matcher, &view, LA_NO_ID, from, caps);
}

static bool is_given_up(const la_msg_t *m, uint64_t now) {
  return (m->sig.flags & LA_SIG_IS_CALL) && m->call->deadline_ns <= now;
}

/* Oldest message of the lane that the wait has not tried. From the end: it has mostly
 * tried nothing, or all. */
static la_msg_t *untried_locked(la_crew_t *c, int lane, uint64_t tried)
    LA_REQUIRES(c->lock) {
  if (tried == 0) {
    return c->head[lane];
  }
  la_msg_t *m = NULL;
  for (la_msg_t *at = c->tail[lane]; at != NULL && number_of(at) > tried;
       at = at->prev) {
    m = at;
  }
  return m;
}

/* Claim the first message that the wait wants. Calls whose callers have given up go to
 * *stale. */
static bool scan_locked(la_crew_t *c, la_member_t *b, la_caps_t *caps,
                        la_sig_t **stale) LA_REQUIRES(c->lock) {
  la_proc_t *p = b->proc;
  uint64_t now = 0;
  for (int lane = 0; lane < 2; lane++) {
    if (b->skipped[lane] != 0 && b->returns != c->returns) {
      b->tried[lane] = b->skipped[lane] - 1;
      b->skipped[lane] = 0;
    }
  }
  b->returns = c->returns;
  for (int lane = 0; lane < 2; lane++) {
    la_msg_t *next;
    for (la_msg_t *m = untried_locked(c, lane, b->tried[lane]); m != NULL;
         m = next) {
      next = next_of(m);
      b->tried[lane] = number_of(m);
      if (is_claimed(m)) {
        if (b->skipped[lane] == 0) {
          b->skipped[lane] = number_of(m);
        }
        continue;
      }
      const int clause = try_one(p, m, 0, caps);
      if (clause < 0) {
        continue;
      }
      if ((m->sig.flags & LA_SIG_IS_CALL) && now == 0) {
        now = la_now(&p->host->env);
      }
      if (is_given_up(m, now)) {
        unlink_locked(c, m, c->id);
        m->sig.next = *stale;
        *stale = &m->sig;
        continue;
      }
      m->sig.flags |= LA_SIG_CLAIMED;
      c->nclaimed++;
      b->claim = m;
      p->wait.found = (la_found_t){m, NULL, clause, 0};
      return true;
    }
  }
  return false;
}

/* Is the member done with its work? Its wait is then one that would take the last message
 * again. */
static bool is_ready(const la_member_t *b, la_caps_t *caps) {
  return b->last == NULL || try_one(b->proc, b->last, 0, caps) >= 0;
}

/* There are more members than there should be, and this one is ready. It gets the exit
 * signal of its parent, which is in its inbox before it can park. */
static bool leaves_locked(la_crew_t *c, la_member_t *b, la_caps_t *caps,
                          la_note_t **out) LA_REQUIRES(c->lock) {
  la_proc_t *p = b->proc;
  if (c->id == LA_NO_ID || c->nmembers <= c->target || !is_ready(b, caps)) {
    return false;
  }
  la_note_t *n = la_note_new(LA_SIG_EXIT, p->pid, p->parent);
  if (n == NULL) {
    return false; /* the next time */
  }
  n->reason = la_reason_text("shutdown");
  *out = n;
  return true;
}

/* The claimed message, of which later clauses may want what the first stage or the second
 * stage of an earlier one did not. */
static bool look_on(la_proc_t *p, const la_found_t *before, la_caps_t *caps) {
  la_msg_t *m = p->member->claim;
  const int clause =
      try_one(p, m, m == before->msg ? before->clause : 0, caps);
  if (clause < 0 || (p->wait.matcher == NULL && clause < before->clause)) {
    return false;
  }
  p->wait.found = (la_found_t){m, NULL, clause, 0};
  return true;
}

bool la_member_look(la_proc_t *p, const la_found_t *before, la_caps_t *caps) {
  la_member_t *b = p->member;
  if (!b->looks) {
    return false;
  }
  if (b->claim != NULL && look_on(p, before, caps)) {
    return true;
  }
  la_crew_t *c = b->crew;
  la_sig_t *stale = NULL, *room = NULL;
  la_note_t *leave = NULL;
  bool is_last = false;
  la_lock(&c->lock);
  la_msg_t *orphan = let_go_locked(c, b);
  forget_locked(c, b);
  bool found = false;
  if (leaves_locked(c, b, caps, &leave)) {
    is_last = part_locked(c, b);
  } else {
    found = scan_locked(c, b, caps, &stale);
    if (!found) {
      list_locked(c, b);
      b->listed = true;
      b->ready = is_ready(b, caps);
      c->nready += b->ready;
    }
  }
  if (stale != NULL) {
    room = admit_locked(c);
  }
  la_proc_t *who = pass_locked(c);
  la_unlock(&c->lock);
  wake(p->host, who);
  refuse_one(p->host, orphan);
  free_list(stale);
  refuse_list(p->host, room);
  if (leave != NULL) {
    la_signal(p->host, &leave->sig);
  }
  if (is_last) {
    give_crew(&p->host->crews, c);
  }
  return found;
}

void la_member_take(la_proc_t *p, la_msg_t *m) {
  la_member_t *b = p->member;
  la_crew_t *c = b->crew;
  la_lock(&c->lock);
  unlink_locked(c, m, p->pid);
  b->claim = NULL;
  c->taken++;
  la_sig_t *room = admit_locked(c);
  la_unlock(&c->lock);
  refuse_list(p->host, room);
  la_proc_note_sender(p, m);
  if (m->sig.flags & LA_SIG_IS_CALL) {
    la_proc_took_call(p, m);
  }
  m->sig.flags |= LA_SIG_OF_POOL;
}

void la_member_keep(la_proc_t *p, la_msg_t *m) {
  la_member_t *b = p->member;
  if (b->last != NULL) {
    la_msg_free(b->last);
  }
  b->last = m;
}

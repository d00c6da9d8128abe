/* See cbox.h. */
#include "proc/cbox.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

void la_cboxes_init(la_cboxes_t *cs) {
  la_lock_init(&cs->lock, LA_RANK_CBOXES);
}

/* ---- the queue ------------------------------------------------------------------ */

/* The eventfd counts 1 while there is something. */
static void set_readable_locked(la_cbox_t *b) LA_REQUIRES(b->lock) {
  if (b->fd >= 0) {
    eventfd_write(b->fd, 1);
  }
}

static void set_unreadable_locked(la_cbox_t *b) LA_REQUIRES(b->lock) {
  eventfd_t count;
  if (b->fd >= 0) {
    eventfd_read(b->fd, &count);
  }
}

static int lane_of(const la_sig_t *sig) {
  return sig->kind == LA_SIG_MESSAGE && (sig->flags & LA_SIG_PRIORITY) ? 0 : 1;
}

static void put_locked(la_cbox_t *b, la_sig_t *sig) LA_REQUIRES(b->lock) {
  const int lane = lane_of(sig);
  sig->next = NULL;
  if (b->tail[lane] != NULL) {
    b->tail[lane]->next = sig;
  } else {
    b->head[lane] = sig;
  }
  b->tail[lane] = sig;
  if (b->count++ == 0) {
    set_readable_locked(b);
  }
  pthread_cond_broadcast(&b->changed);
}

static la_sig_t *pop_lane_locked(la_cbox_t *b, int lane)
    LA_REQUIRES(b->lock) {
  la_sig_t *sig = b->head[lane];
  if (sig == NULL) {
    return NULL;
  }
  b->head[lane] = sig->next;
  if (b->head[lane] == NULL) {
    b->tail[lane] = NULL;
  }
  sig->next = NULL;
  if (--b->count == 0) {
    set_unreadable_locked(b);
  }
  if (sig->flags & LA_SIG_COUNTED && sig->kind == LA_SIG_MESSAGE) {
    sig->flags &= (uint8_t)~LA_SIG_COUNTED;
    la_room_give(b->slot);
  }
  return sig;
}

static la_sig_t *pop_locked(la_cbox_t *b) LA_REQUIRES(b->lock) {
  la_sig_t *sig = pop_lane_locked(b, 0);
  return sig != NULL ? sig : pop_lane_locked(b, 1);
}

/* Who waits for room, if there is some: to be refused, which tells him. */
static la_sig_t *pop_room_locked(la_cbox_t *b) LA_REQUIRES(b->lock) {
  la_sig_t *sig = b->room;
  if (sig == NULL || la_room_count(b->slot) >= b->limit) {
    return NULL;
  }
  b->room = sig->next;
  if (b->room == NULL) {
    b->last_room = NULL;
  }
  sig->next = NULL;
  return sig;
}

/* ---- serving signals ---------------------------------------------------------------- */

static bool is_answer(const la_cbox_t *b, const la_msg_t *m) {
  if (b->awaited == LA_NO_ID || b->answer != NULL) {
    return false;
  }
  if (m->sig.to == b->awaited) {
    return true;
  }
  la_term_t t; /* made by hand and sent to the mailbox itself */
  la_msg_term(m, &t);
  return la_term_first_id(&t) == b->awaited;
}

static void set_answer_locked(la_cbox_t *b, la_sig_t *sig)
    LA_REQUIRES(b->lock) {
  b->answer = sig;
  pthread_cond_broadcast(&b->changed);
}

/* Returns what is to be refused instead: it, or an older one. */
static la_sig_t *serve_message_locked(la_cbox_t *b, la_msg_t *m)
    LA_REQUIRES(b->lock) {
  la_sig_t *old = NULL;
  if (is_answer(b, m)) {
    set_answer_locked(b, &m->sig);
    return NULL;
  }
  if (la_id_kind(m->sig.to) == LA_ID_ALIAS) {
    return &m->sig; /* too late */
  }
  if (b->limit != 0 && b->overflow == LA_OVERFLOW_DROP_OLD &&
      b->count >= b->limit) {
    old = pop_lane_locked(b, 1);
  }
  put_locked(b, &m->sig);
  return old;
}

static la_sig_t *serve_down_locked(la_cbox_t *b, la_note_t *n)
    LA_REQUIRES(b->lock) {
  la_note_t *mine = la_map_remove(&b->monitors, n->ref);
  if (mine == NULL) {
    return &n->sig; /* demonitored meanwhile */
  }
  n->peer = mine->peer;
  put_locked(b, &n->sig);
  return &mine->sig;
}

static la_call_t **find_call_locked(la_cbox_t *b, la_id_t tag)
    LA_REQUIRES(b->lock) {
  la_call_t **at = &b->calls;
  while (*at != NULL && (*at)->note.ref != tag) {
    at = &(*at)->next;
  }
  return at;
}

static la_call_t *remove_call_locked(la_cbox_t *b, la_id_t tag)
    LA_REQUIRES(b->lock) {
  la_call_t **at = find_call_locked(b, tag), *c = *at;
  if (c != NULL) {
    *at = c->next;
  }
  return c;
}

/* Returns a signal to be freed, or NULL. 'refuse': the signal is not for it. */
static la_sig_t *serve_locked(la_cbox_t *b, la_sig_t *sig, bool *refuse)
    LA_REQUIRES(b->lock) {
  la_note_t *n = (la_note_t *)sig;
  la_call_t *c;
  switch ((la_sig_kind_t)sig->kind) {
    case LA_SIG_DOWN:
      return serve_down_locked(b, n);
    case LA_SIG_CALL_END:
      if (b->awaited != n->ref || b->answer != NULL) {
        return sig;
      }
      set_answer_locked(b, sig);
      return NULL;
    case LA_SIG_CALL_DONE:
      c = remove_call_locked(b, n->ref);
      if (c != NULL) {
        la_sig_free(&c->note.sig);
      }
      return sig;
    case LA_SIG_ROOM:
      b->has_room = true;
      pthread_cond_broadcast(&b->changed);
      return sig;
    case LA_SIG_WANT_ROOM:
      if (b->limit == 0 || la_room_count(b->slot) < b->limit) {
        break;
      }
      sig->next = NULL;
      *(b->last_room != NULL ? &b->last_room->next : &b->room) = sig;
      b->last_room = sig;
      return NULL;
    default:
      break;
  }
  *refuse = true;
  return NULL;
}

bool la_cbox_push(la_slot_t *s, la_sig_t *sig) {
  la_cbox_t *b = (la_cbox_t *)(uintptr_t)atomic_load(&s->owner);
  const bool is_message = sig->kind == LA_SIG_MESSAGE;
  la_sig_t *rest = NULL;
  bool refuse = false;
  la_lock(&b->lock);
  la_host_t *host = b->host;
  if (b->id == LA_NO_ID || host == NULL ||
      (sig->to != b->id && (sig->to != b->awaited || !is_message))) {
    refuse = true;
  } else if (is_message) {
    rest = serve_message_locked(b, (la_msg_t *)sig);
  } else {
    rest = serve_locked(b, sig, &refuse);
  }
  la_unlock(&b->lock);
  if (rest != NULL && is_message) {
    la_signal_refuse(host, rest); /* the sender keeps the host alive */
  } else if (rest != NULL) {
    la_sig_free(rest);
  }
  return !refuse;
}

/* ---- taking -------------------------------------------------------------------------- */

static bool is_given_up(const la_cbox_t *b, const la_sig_t *sig) {
  const la_msg_t *m = (const la_msg_t *)sig;
  return sig->kind == LA_SIG_MESSAGE && (sig->flags & LA_SIG_IS_CALL) &&
         m->call->deadline_ns != UINT64_MAX &&
         m->call->deadline_ns <= la_now(&b->env);
}

static void keep_call_locked(la_cbox_t *b, la_sig_t *sig)
    LA_REQUIRES(b->lock) {
  la_msg_t *m = (la_msg_t *)sig;
  if (sig->kind == LA_SIG_MESSAGE && (sig->flags & LA_SIG_IS_CALL)) {
    sig->flags &= (uint8_t)~LA_SIG_IS_CALL;
    m->call->next = b->calls;
    b->calls = m->call;
    m->call = NULL;
  }
}

static bool is_over(const la_cbox_t *b) {
  return b->host == NULL || atomic_load(&b->host->halting);
}

/* NULL: there is none that is still wanted. */
static la_sig_t *next_locked(la_cbox_t *b) LA_REQUIRES(b->lock) {
  la_sig_t *sig;
  while ((sig = pop_locked(b)) != NULL && is_given_up(b, sig)) {
    la_sig_free(sig);
  }
  if (sig != NULL) {
    keep_call_locked(b, sig);
  }
  return sig;
}

la_cbox_status_t la_cbox_take(la_cbox_t *b, uint64_t deadline_ns,
                              la_sig_t **out) {
  la_cbox_status_t status = LA_CBOX_OK;
  la_sig_t *sig, *room = NULL;
  la_lock(&b->lock);
  while ((sig = next_locked(b)) == NULL) {
    if (is_over(b)) {
      status = LA_CBOX_CLOSED;
      break;
    }
    if (!la_env_wait(&b->env, &b->changed, &b->lock, deadline_ns)) {
      status = LA_CBOX_TIMEOUT;
      break;
    }
  }
  if (b->host != NULL) {
    room = pop_room_locked(b);
  }
  la_unlock(&b->lock);
  if (room != NULL) {
    la_host_t *host = la_gate_enter(b->gate);
    if (host != NULL) {
      la_signal_refuse(host, room);
    } else {
      la_sig_free(room);
    }
    la_gate_leave(b->gate);
  }
  *out = sig;
  return status;
}

void la_cbox_untake(la_cbox_t *b, la_sig_t *sig) {
  la_lock(&b->lock);
  const int lane = lane_of(sig);
  sig->next = b->head[lane];
  b->head[lane] = sig;
  if (sig->next == NULL) {
    b->tail[lane] = sig;
  }
  if (b->count++ == 0) {
    set_readable_locked(b);
  }
  la_unlock(&b->lock);
}

int la_cbox_fd(la_cbox_t *b) {
  la_lock(&b->lock);
  if (b->fd < 0) {
    b->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (b->count > 0) {
      set_readable_locked(b);
    }
  }
  const int fd = b->fd;
  la_unlock(&b->lock);
  return fd;
}

/* ---- calls ----------------------------------------------------------------------------- */

void la_cbox_await(la_cbox_t *b, la_id_t tag) {
  la_lock(&b->lock);
  la_sig_t *late = b->answer;
  b->answer = NULL;
  b->awaited = tag;
  b->has_room = false;
  la_unlock(&b->lock);
  if (late != NULL) {
    la_sig_free(late);
  }
}

la_cbox_status_t la_cbox_answer(la_cbox_t *b, uint64_t deadline_ns,
                                la_sig_t **sig) {
  la_cbox_status_t status = LA_CBOX_OK;
  la_lock(&b->lock);
  while (b->answer == NULL && !b->has_room) {
    if (is_over(b)) {
      status = LA_CBOX_CLOSED;
      break;
    }
    if (!la_env_wait(&b->env, &b->changed, &b->lock, deadline_ns)) {
      status = LA_CBOX_TIMEOUT;
      break;
    }
  }
  *sig = b->answer;
  b->answer = NULL;
  b->has_room = false;
  la_unlock(&b->lock);
  return *sig != NULL ? LA_CBOX_OK : status;
}

bool la_cbox_forget_call(la_cbox_t *b, la_id_t tag) {
  la_lock(&b->lock);
  la_call_t *c = remove_call_locked(b, tag);
  la_unlock(&b->lock);
  if (c != NULL) {
    la_sig_free(&c->note.sig);
  }
  return c != NULL;
}

/* ---- monitors ----------------------------------------------------------------------------- */

la_id_t la_cbox_monitor(la_cbox_t *b, la_host_t *host, la_pid_t to) {
  const la_id_t ref = la_new_ref(host);
  la_note_t *mine = la_note_new(LA_SIG_DEMONITOR, to, b->id);
  la_note_t *theirs = la_note_new(LA_SIG_MONITOR, to, b->id);
  bool ok = mine != NULL && theirs != NULL;
  if (ok) {
    mine->peer = to;
    mine->ref = theirs->ref = ref;
    la_lock(&b->lock);
    ok = la_map_put(&b->monitors, ref, mine);
    la_unlock(&b->lock);
  }
  if (ok) {
    la_signal(host, &theirs->sig);
    return ref;
  }
  if (mine != NULL) {
    la_sig_free(&mine->sig);
  }
  if (theirs != NULL) {
    la_sig_free(&theirs->sig);
  }
  return LA_NO_ID;
}

/* A DOWN note that is already in the queue. */
static la_sig_t *take_down_locked(la_cbox_t *b, la_id_t ref)
    LA_REQUIRES(b->lock) {
  la_sig_t *before = NULL, *sig = b->head[1];
  while (sig != NULL && (sig->kind != LA_SIG_DOWN ||
                         ((const la_note_t *)sig)->ref != ref)) {
    before = sig;
    sig = sig->next;
  }
  if (sig == NULL) {
    return NULL;
  }
  *(before != NULL ? &before->next : &b->head[1]) = sig->next;
  if (b->tail[1] == sig) {
    b->tail[1] = before;
  }
  if (--b->count == 0) {
    set_unreadable_locked(b);
  }
  return sig;
}

bool la_cbox_demonitor(la_cbox_t *b, la_host_t *host, la_id_t ref) {
  la_lock(&b->lock);
  la_note_t *mine = la_map_remove(&b->monitors, ref);
  la_sig_t *down = mine == NULL ? take_down_locked(b, ref) : NULL;
  la_unlock(&b->lock);
  if (mine != NULL) {
    la_signal(host, &mine->sig);
  } else if (down != NULL) {
    la_sig_free(down);
  }
  return mine != NULL;
}

/* ---- opening and closing -------------------------------------------------------------- */

static la_cbox_t *reused(la_cboxes_t *cs) {
  la_lock(&cs->lock);
  la_cbox_t *b = cs->free;
  if (b != NULL) {
    cs->free = b->next_free;
  }
  la_unlock(&cs->lock);
  return b;
}

static la_cbox_t *new_cbox(la_host_t *host) {
  la_cbox_t *b = la_zalloc(sizeof *b);
  bool no_memory;
  if (b == NULL) {
    return NULL;
  }
  const la_id_t id =
      la_pidtab_take(&host->pids, LA_SLOT_CBOX, &b->slot, &no_memory);
  if (id == LA_NO_ID) {
    la_free(b);
    return NULL;
  }
  la_lock_init(&b->lock, LA_RANK_CBOX);
  la_cond_init(&b->changed);
  b->env = host->env;
  b->nonce = host->nonce;
  b->gate = la_gate_ref(host->gate);
  b->host = host;
  b->fd = -1;
  atomic_store(&b->slot->owner, (la_id_t)(uintptr_t)b);
  la_slot_publish(b->slot, id); /* for la_slot_renew */
  la_lock(&host->cboxes.lock);
  b->next = host->cboxes.all;
  host->cboxes.all = b;
  la_unlock(&host->cboxes.lock);
  return b;
}

la_cbox_t *la_cbox_open(la_host_t *host, uint32_t limit,
                        la_overflow_t overflow) {
  la_cbox_t *b = reused(&host->cboxes);
  if (b == NULL) {
    b = new_cbox(host);
  }
  if (b == NULL) {
    return NULL;
  }
  const la_id_t id = la_slot_renew(&host->pids, b->slot);
  la_lock(&b->lock);
  b->limit = limit;
  b->overflow = overflow;
  b->is_held = true;
  b->slot->overflow = (uint8_t)overflow;
  b->id = id;
  atomic_store(&b->slot->limit, limit);
  la_slot_publish(b->slot, b->id);
  la_unlock(&b->lock);
  return b;
}

la_id_t la_cbox_id(la_cbox_t *b) {
  la_lock(&b->lock);
  const la_id_t id = b->id;
  la_unlock(&b->lock);
  return id;
}

/* What is in it, as two lists: signals to be refused, and entries to be sent. */
typedef struct {
  la_sig_t *refuse;
  la_map_t monitors;
  la_call_t *calls;
  la_sig_t *answer;
} contents_t;

static void empty_locked(la_cbox_t *b, contents_t *c) LA_REQUIRES(b->lock) {
  la_sig_t *sig, **tail = &c->refuse;
  *c = (contents_t){.monitors = b->monitors,
                    .calls = b->calls,
                    .answer = b->answer};
  while ((sig = pop_locked(b)) != NULL) {
    *tail = sig;
    tail = &sig->next;
  }
  *tail = b->room;
  b->room = b->last_room = NULL;
  b->monitors = (la_map_t){0};
  b->calls = NULL;
  b->answer = NULL;
  b->awaited = LA_NO_ID;
  b->id = LA_NO_ID;
  if (b->fd >= 0) {
    close(b->fd);
    b->fd = -1;
  }
}

/* To whom it concerns; without a host, to nobody. */
static void dispose(la_host_t *host, contents_t *c) {
  while (c->refuse != NULL) {
    la_sig_t *sig = c->refuse;
    c->refuse = sig->next;
    if (host != NULL) {
      la_signal_refuse(host, sig);
    } else {
      la_sig_free(sig);
    }
  }
  for (la_map_cell_t *m = NULL; (m = la_map_next(&c->monitors, m)) != NULL;) {
    la_note_t *n = m->value;
    if (host != NULL) {
      la_signal(host, &n->sig);
    } else {
      la_sig_free(&n->sig);
    }
  }
  la_map_fini(&c->monitors);
  while (c->calls != NULL) {
    la_call_t *call = c->calls;
    c->calls = call->next;
    if (host != NULL) {
      call->note.sig.to = call->note.peer;
      call->note.reason = la_reason_text("noproc");
      la_signal(host, &call->note.sig);
    } else {
      la_sig_free(&call->note.sig);
    }
  }
  if (c->answer != NULL) {
    la_sig_free(c->answer);
  }
}

static void free_cbox(la_cbox_t *b) {
  la_gate_unref(b->gate);
  pthread_cond_destroy(&b->changed);
  la_lock_fini(&b->lock);
  la_free(b);
}

void la_cbox_close(la_cbox_t *b) {
  contents_t c;
  la_gate_t *gate = la_gate_ref(b->gate);
  la_host_t *host = la_gate_enter(gate);
  la_lock(&b->lock);
  if (b->host != NULL) {
    atomic_store(&b->slot->id, LA_NO_ID);
  }
  empty_locked(b, &c);
  b->is_held = false;
  const bool is_last = b->host == NULL;
  la_unlock(&b->lock);
  dispose(host, &c);
  if (is_last) {
    free_cbox(b);
  } else if (host != NULL) {
    la_lock(&host->cboxes.lock);
    b->next_free = host->cboxes.free;
    host->cboxes.free = b;
    la_unlock(&host->cboxes.lock);
  } /* else the host, which is about to end, frees it */
  la_gate_leave(gate);
  la_gate_unref(gate);
}

void la_cboxes_wake(la_cboxes_t *cs) {
  la_lock(&cs->lock);
  for (la_cbox_t *b = cs->all; b != NULL; b = b->next) {
    la_lock(&b->lock);
    pthread_cond_broadcast(&b->changed);
    set_readable_locked(b); /* so that poll() finds out */
    la_unlock(&b->lock);
  }
  la_unlock(&cs->lock);
}

void la_cboxes_fini(la_cboxes_t *cs) {
  while (cs->all != NULL) {
    la_cbox_t *b = cs->all;
    contents_t c;
    cs->all = b->next;
    la_lock(&b->lock);
    const int fd = b->fd; /* the holder may be polling it */
    b->fd = b->is_held ? -1 : b->fd;
    empty_locked(b, &c);
    b->fd = b->is_held ? fd : -1;
    b->host = NULL;
    b->slot = NULL;
    const bool is_held = b->is_held;
    set_readable_locked(b);
    pthread_cond_broadcast(&b->changed);
    la_unlock(&b->lock);
    dispose(NULL, &c);
    if (!is_held) {
      free_cbox(b);
    }
  }
  la_lock_fini(&cs->lock);
}

/* The life of a process: spawn, slices, end. */
#include "proc/proc.h"

#include <string.h>

#include "dist/dist.h"
#include "proc/crew.h"
#include "proc/host.h"

/* ---- spawn ------------------------------------------------------------------ */

void la_spawn_opts_init(la_spawn_opts_t *o, const la_host_t *host) {
  *o = (la_spawn_opts_t){.priority = LA_PRIO_NORMAL,
                         .max_heap = host->config.max_heap,
                         .thread = -1};
}

void la_start_free(la_start_t *s) {
  if (s == NULL) {
    return;
  }
  if (s->term != NULL) {
    la_sig_free(&s->term->sig);
  }
  if (s->env != NULL) {
    la_sig_free(&s->env->sig);
  }
  for (int i = 0; i < s->argc; i++) {
    la_free(s->argv[i]);
  }
  la_free(s->argv);
  la_free(s->chunk);
  la_free(s->chunkname);
  la_free(s);
}

/* Memory that a process over its limit may use for its pending <close>. */
#define CLOSE_RESERVE ((size_t)64 << 10)
#define MAX_RESERVE ((size_t)16 << 20)

/* Called by the allocator, in the middle of a Lua operation: only take note,
 * and stop at the next instruction. */
static void on_heap_limit(la_heap_t *h) {
  la_proc_t *p = h->owner;
  if (!p->ending && h->lend != NULL && !la_group_is_own_limit(p)) {
    la_group_heap_over(p);
    la_proc_end(p, la_group_reason(p));
    p->report = true;
    h->limit = h->used + h->others + h->refused + CLOSE_RESERVE;
  } else if (!p->ending) {
    const uint64_t bytes = h->lend != NULL ? h->most : h->limit;
    h->lend = NULL;
    uint8_t t[] = {108, 0, 0, 0, 2, /* list of two */
                   109, 0, 0, 0, 10, 'h', 'e', 'a', 'p', '_', 'l', 'i', 'm',
                   'i', 't', 110, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 106};
    for (int i = 0; i < 8; i++) {
      t[23 + i] = (uint8_t)(bytes >> (8 * i));
    }
    _Static_assert(sizeof t == 32, "offset of the bytes below");
    la_proc_end(p, la_reason_new(&(la_term_t){.bytes = t, .size = sizeof t}));
    p->report = true;
    /* A reserve until the process is stopped, at the next instruction. */
    const size_t more = h->limit < MAX_RESERVE ? h->limit : MAX_RESERVE;
    h->limit += more > CLOSE_RESERVE ? more : CLOSE_RESERVE;
  }
  if (p->exec.running != NULL) {
    la_exec_arm(&p->exec);
  }
}

static void on_heap_refusal(la_heap_t *h) {
  la_proc_t *p = h->owner;
  if (p->exec.running != NULL) {
    la_exec_arm(&p->exec);
  }
}

static char *dup_text(const char *s, bool *ok) {
  if (s == NULL) {
    return NULL;
  }
  const size_t len = strlen(s) + 1;
  char *copy = la_alloc(len);
  if (copy == NULL) {
    *ok = false;
    return NULL;
  }
  return memcpy(copy, s, len);
}

enum {
  ENTRY_BYTES = 128, /* of a link, with its place in the map */
  WATCH_BYTES = 256, /* of a monitor, with the entry of who is watched */
  ALIAS_BYTES = 48,
  MBOX_BYTES = 256
};

/* What a process that has not begun yet was given. */
static size_t start_bytes(const la_proc_t *p) {
  const la_start_t *s = p->start;
  return s == NULL || p->exec.L != NULL
             ? 0
             : (s->term != NULL ? la_msg_bytes(s->term) : 0) +
                   (s->env != NULL ? la_msg_bytes(s->env) : 0);
}

/* What others make here, as entries of their monitors, is counted to them. */
static size_t side_bytes(const la_proc_t *p) {
  return (size_t)p->links.count * ENTRY_BYTES +
         (size_t)p->monitors.count * WATCH_BYTES +
         ((size_t)p->aliases.count + p->scopes.count) * ALIAS_BYTES +
         (size_t)p->nboxes * MBOX_BYTES + start_bytes(p) +
         (p->label != NULL ? strlen(p->label) : 0) +
         (size_t)atomic_load_explicit(&p->timer_bytes, memory_order_relaxed);
}

void la_proc_count_side(la_proc_t *p) {
  const size_t side = side_bytes(p);
  p->heap.others += side - p->side;
  p->side = side;
}

void la_proc_weigh(la_proc_t *p) {
  la_proc_count_side(p);
  if (p->ending || !la_heap_is_over(&p->heap)) {
    return;
  }
  if (p->exec.running != NULL) {
    lua_gc(p->exec.running, LUA_GCCOLLECT);
  }
  if (la_heap_is_over(&p->heap)) {
    p->heap.on_limit(&p->heap);
  }
}

/* Both ends of the link and the monitor at once: nobody runs the child yet. */
static bool tie(la_proc_t *parent, la_proc_t *p, const la_spawn_opts_t *o,
                la_id_t *ref) {
  la_note_t *down = NULL, *watch = NULL, *up = NULL, *mine = NULL;
  const bool link = o->tie != LA_TIE_NONE || o->scope != LA_NO_ID;
  if (o->monitor) {
    mine = la_note_new(LA_SIG_DEMONITOR, p->pid, parent->pid);
    watch = la_note_new(LA_SIG_DOWN, parent->pid, p->pid);
    if (mine == NULL || watch == NULL) {
      goto fail;
    }
    *ref = la_new_ref(p->host);
    mine->peer = p->pid;
    watch->peer = parent->pid;
    mine->ref = watch->ref = *ref;
    if (o->down_to != LA_NO_ID) {
      mine->sig.from = o->down_to;
    }
  }
  if (link) {
    up = la_note_new(LA_SIG_EXIT, parent->pid, p->pid);
    down = la_note_new(LA_SIG_EXIT, p->pid, parent->pid);
    if (up == NULL || down == NULL) {
      goto fail;
    }
    up->peer = parent->pid;
    down->peer = p->pid;
    if (o->scope != LA_NO_ID) {
      down->sig.flags = up->sig.flags = LA_SIG_SCOPE;
      down->ref = up->ref = o->scope;
    } else if (o->tie == LA_TIE_SPARING) {
      down->sig.flags = LA_SIG_SPARING;
    } else if (o->tie == LA_TIE_ONE_WAY) {
      down->sig.flags = LA_SIG_ONE_WAY;
    }
    if (!la_map_put(&p->links, parent->pid, up)) {
      goto fail;
    }
    up = NULL; /* the child's map owns it */
    if (!la_map_put(&parent->links, p->pid, down)) {
      goto fail;
    }
    down = NULL;
  }
  if (o->monitor) {
    if (!la_map_put(&p->watches, *ref, watch)) {
      goto fail_linked;
    }
    watch = NULL;
    if (!la_map_put(&parent->monitors, *ref, mine)) {
      goto fail_linked;
    }
    la_mbox_mark(&parent->mbox, *ref);
  }
  return true;
fail_linked:
  if (link) {
    down = la_map_remove(&parent->links, p->pid);
  }
fail:
  if (down != NULL) {
    la_sig_free(&down->sig);
  }
  if (watch != NULL) {
    la_sig_free(&watch->sig);
  }
  if (up != NULL) {
    la_sig_free(&up->sig);
  }
  if (mine != NULL) {
    la_sig_free(&mine->sig);
  }
  return false;
}

static void free_notes(la_map_t *m) {
  for (la_map_cell_t *c = NULL; (c = la_map_next(m, c)) != NULL;) {
    la_sig_free(&((la_note_t *)c->value)->sig);
  }
  la_map_fini(m);
}

static void free_shell(la_proc_t *p) {
  if (p->tenant != NULL) {
    la_group_leave(p);
  }
  free_notes(&p->links);
  free_notes(&p->watches);
  free_notes(&p->monitors);
  la_map_fini(&p->aliases);
  la_map_fini(&p->scopes);
  la_heap_fini(&p->heap, la_host_pool_cache(p->host));
  la_reason_unref(p->reason);
  la_reason_unref(p->last_reason);
  la_reason_unref(p->state);
  la_reason_unref(p->far_parent);
  la_free(p->far_sender);
  if (p->scope_fault != NULL) {
    la_sig_free(&p->scope_fault->sig);
  }
  la_mbox_fini(&p->mbox);
  if (p->member != NULL) {
    la_member_free(p);
  }
  if (p->pattern != NULL) {
    la_block_free(p->pattern, p->pattern_size);
  }
  la_free(p->label);
  la_free(p->initial_call);
  if (p->resumed != NULL) {
    la_sig_free(p->resumed);
  }
  la_free(p->error_text);
  la_free(p->error_trace);
  la_free(p->warn_text);
  la_unhold(p, NULL);
  la_pool_give(p->host->shells, la_host_pool_cache(p->host), p);
}

static la_proc_t *new_shell(la_host_t *host, la_proc_t *parent,
                            const la_spawn_opts_t *o) {
  bool ok = true;
  la_proc_t *p = la_pool_take(host->shells, la_host_pool_cache(host));
  if (p == NULL) {
    return NULL;
  }
  memset(p, 0, sizeof *p);
  p->host = host;
  p->parent = parent != NULL ? parent->pid : LA_NO_ID;
  p->priority = (uint8_t)o->priority;
  p->is_first = o->is_first;
  p->is_watched = o->is_watched;
  p->native = o->native;
  p->trap_exit = o->trap_exit;
  p->label = dup_text(o->label, &ok);
  p->initial_call = dup_text(o->initial_call, &ok);
  p->started_ns = la_now(&host->env);
  p->wait.deadline_ns = UINT64_MAX;
  atomic_init(&p->want_ns, UINT64_MAX);
  atomic_init(&p->armed_ns, UINT64_MAX);
  p->timeout.kind = LA_TIMER_WAIT;
  p->timeout_sig.kind = LA_SIG_TIMEOUT;
  p->timeout_sig.flags = LA_SIG_STATIC;
  la_heap_init(&p->heap, o->max_heap);
  p->heap.on_limit = on_heap_limit;
  p->heap.on_refusal = on_heap_refusal;
  p->heap.owner = p;
  if (!ok) {
    free_shell(p);
    return NULL;
  }
  return p;
}

/* Nobody finds the process any more, by its identity or its name. Whoever names a
 * process says so in its slot and then looks at the identity, both
 * seq_cst as here: if it was not too late, we see that there is a name. */
void la_proc_leave_slot(la_names_t *names, la_slot_t *s, la_id_t pid) {
  atomic_store(&s->id, LA_NO_ID);
  if (atomic_load(&s->flags) & LA_SLOT_NAMED) {
    la_names_forget(names, pid);
  }
}

static la_spawn_status_t place(la_host_t *host, la_proc_t *parent,
                               const la_spawn_opts_t *o, la_proc_t *p) {
  (void)parent;
  p->home = la_sched_pick_home(host);
  if (o->thread >= 0) {
    p->pinned = host->scheds[(uint32_t)o->thread % host->nscheds];
    p->home = p->pinned;
  } else if (o->thread == -2) { /* a thread counts as a handle, to the end */
    if (!la_group_handle(&p->exec, true)) {
      return LA_SPAWN_LIMIT;
    }
    p->pinned = la_sched_new_own(host);
    p->owns_sched = true;
    if (p->pinned == NULL) {
      p->owns_sched = false;
      return LA_SPAWN_NO_THREAD;
    }
  }
  return LA_SPAWN_OK;
}

la_spawn_status_t la_proc_make(la_host_t *host, la_proc_t *parent,
                               const la_spawn_opts_t *o, la_start_t *start,
                               la_proc_t **out, la_id_t *ref) {
  if (atomic_load(&host->halting) ||
      (parent == NULL && atomic_load(&host->stopping))) {
    return LA_SPAWN_CLOSED;
  }
  la_proc_t *p = new_shell(host, parent, o);
  if (p == NULL) {
    return LA_SPAWN_NOMEM;
  }
  la_spawn_status_t status;
  bool no_memory;
  la_slot_t *s;
  p->pid = la_pidtab_take(&host->pids, LA_SLOT_PROC, &s, &no_memory);
  if (p->pid == LA_NO_ID) {
    free_shell(p);
    return no_memory ? LA_SPAWN_NOMEM : LA_SPAWN_LIMIT;
  }
  p->slot = s;
  s->proc = p;
  s->overflow = (uint8_t)o->overflow;
  atomic_store(&s->limit, o->mbox_limit);
  atomic_store(&s->waits, LA_NO_ID);
  atomic_store(&s->flags, parent == NULL ? LA_SLOT_ROOT : 0);
  la_group_t *group = o->group != NULL   ? o->group
                      : parent != NULL ? la_group_of(parent)
                                       : NULL;
  if (group != NULL) {
    status = la_group_admit(group, p, o);
    if (status != LA_SPAWN_OK) {
      goto fail;
    }
  }
  la_mbox_init(&p->mbox, p->pid, s);
  p->mbox.limit = o->mbox_limit;
  p->mbox.overflow = o->overflow;
  p->timeout_sig.to = p->pid;
  p->start = start;
  la_proc_count_side(p);
  status = group != NULL && la_heap_is_over(&p->heap)
               ? LA_SPAWN_LIMIT /* arguments count, too */
               : place(host, parent, o, p);
  if (status != LA_SPAWN_OK) {
    goto fail;
  }
  la_slot_publish(s, p->pid);
  if (o->name != NULL) {
    const la_name_status_t named =
        la_names_add(&host->names, &host->pids, o->name, p->pid);
    if (named != LA_NAME_OK) {
      status = named == LA_NAME_NOMEM ? LA_SPAWN_NOMEM : LA_SPAWN_NAME_TAKEN;
      goto fail_published;
    }
  }
  if (parent != NULL && !tie(parent, p, o, ref)) {
    status = LA_SPAWN_NOMEM;
    goto fail_published;
  }
  if (o->scope != LA_NO_ID) {
    const uintptr_t n = (uintptr_t)la_map_get(&parent->scopes, o->scope);
    if (!la_map_put(&parent->scopes, o->scope, (void *)(n + 1))) {
      status = LA_SPAWN_NOMEM;
      la_note_t *mine = la_map_remove(&parent->links, p->pid);
      la_sig_free(&mine->sig);
      goto fail_published;
    }
  }
  if (parent == NULL) {
    atomic_fetch_add(&host->nroots, 1);
  }
  *out = p;
  return LA_SPAWN_OK;

fail_published: {
  la_proc_leave_slot(&host->names, s, p->pid);
  la_sig_t *sig = la_slot_close(s);
  while (sig != NULL) {
    la_sig_t *next = sig->next;
    la_signal_refuse(host, sig);
    sig = next;
  }
}
fail:
  if (p->owns_sched) {
    la_sched_free_own(p->pinned);
  }
  la_pidtab_give(&host->pids, s, la_id_slot(p->pid));
  free_shell(p);
  return status;
}

void la_proc_go(la_proc_t *p) {
  la_sched_wake(p->host, p);
}

la_spawn_status_t la_proc_spawn(la_host_t *host, la_proc_t *parent,
                                const la_spawn_opts_t *o, la_start_t *start,
                                la_pid_t *pid, la_id_t *ref) {
  la_proc_t *p;
  const la_spawn_status_t status =
      la_proc_make(host, parent, o, start, &p, ref);
  if (status == LA_SPAWN_OK) {
    *pid = p->pid;
    la_proc_go(p);
  }
  return status;
}

/* ---- slices -------------------------------------------------------------------- */

static la_ran_t finish(la_proc_t *p) {
  la_proc_finish(p);
  return LA_RAN_ENDED;
}

/* The process waits, and its wait was seen not to be over: leave it unless
 * something came meanwhile. */
static bool park(la_proc_t *p) {
  do {
    if (p->pending != NULL || p->ndoomed != 0 ||
        la_slot_has_signals(p->slot)) {
      if (!la_proc_serve_all(p) || la_wait_is_over(p)) {
        return false;
      }
    } else if (p->ending) {
      return false;
    }
    if (atomic_load_explicit(&p->slot->behind, memory_order_relaxed) != 0) {
      atomic_store_explicit(&p->slot->behind, 0, memory_order_relaxed);
    }
  } while (!la_slot_park(p->slot));
  return true; /* p belongs to whoever wakes it from here on */
}

/* Used time as reductions in tick mode: an instruction of Lua's VM takes about
 * this many cycles. In count mode the hook counts. */
#define CYCLES_PER_REDUCTION 16

static int run_slice(la_proc_t *p) {
  int nres;
  if (p->exec.count_mode) {
    p->exec.reductions++;
    return la_exec_resume(&p->exec, 0, &nres);
  }
  const int status = la_exec_resume(&p->exec, 0, &nres);
  p->exec.reductions += la_sched_lap() / CYCLES_PER_REDUCTION + 1;
  return status;
}

static void abandon_call(la_proc_t *p);

/* The process has ended itself and asked for a last function: unwind, and go on
 * there. */
static bool begin_last(la_proc_t *p) {
  if (!p->by_itself || !p->has_last) {
    return false;
  }
  abandon_call(p);
  la_wait_clear(p);
  la_member_quit(p);
  la_exec_close(&p->exec);
  if (p->scope_fault != NULL) { /* of a scope that is no more */
    la_sig_free(&p->scope_fault->sig);
    p->scope_fault = NULL;
  }
  p->has_last = p->by_itself = p->report = p->in_guard = false;
  p->ending = false;
  p->last_reason = p->reason;
  p->reason = NULL;
  la_state_last(p);
  return true;
}

/* Run until the process waits, is preempted or ends. */
static la_ran_t go_on(la_proc_t *p) {
  while (!p->ending) {
    p->wait.asleep = false;
    la_unhold(p, NULL);
    const int status = run_slice(p);
    if (p->heap.refused != 0) {
      on_heap_limit(&p->heap);
    }
    if (p->grown != 0) {
      p->grown = 0;
      la_proc_weigh(p);
    }
    if (p->tenant != NULL) {
      la_group_settle(p);
    }
    if (p->code != NULL && (p->ending || p->wait.asleep)) {
      la_template_note(p);
    }
    if (p->ending) {
      p->is_unwound = status == LUA_OK;
      break;
    }
    if (status != LUA_YIELD) {
      /* The main function ends itself (lib_start.c); an error that gets here is one
       * that it had no memory to handle. */
      la_proc_end(p, NULL);
      break;
    }
    if (!p->wait.asleep || p->exec.tick) {
      return LA_RAN_AGAIN; /* preempted */
    }
    if (la_heap_wants_trim(&p->heap)) {
      la_heap_trim(&p->heap);
    }
    if (park(p)) {
      return LA_RAN_PARKED;
    }
  }
  return LA_RAN_ENDED;
}

/* A member of a group comes to its turn. False: *out says what became of it. */
static bool is_admitted(la_proc_t *p, la_ran_t *out) {
  if (p->exec.L == NULL && atomic_load(&p->tenant->group->ended)) {
    la_proc_end(p, la_group_reason(p)); /* told before it could be */
  }
  while (!p->ending) {
    la_group_settle(p);
    const la_hold_t hold =
        la_group_is_capped(p) ? la_group_hold(p) : LA_HOLD_NO;
    if (hold == LA_HOLD_YES) {
      *out = LA_RAN_PARKED;
      return false;
    }
    if (hold == LA_HOLD_NO) {
      return true;
    }
    la_proc_serve_all(p);
  }
  *out = finish(p);
  return false;
}

/* Messages that a process without a Lua state may take in a slice. */
enum { NATIVE_MESSAGES = 64 };

/* Wait for a message; false when there is one, or the process is to end. */
static bool park_native(la_proc_t *p) {
  p->wait.kind = LA_WAIT_RECEIVE;
  p->wait.asleep = true;
  if (!la_wait_is_over(p) && park(p)) {
    return true;
  }
  p->wait.asleep = false;
  return false;
}

static la_ran_t run_native(la_proc_t *p) {
  la_native_t *n = p->native;
  p->exec.tick = 0;
  p->wait.asleep = false;
  if (!n->started) {
    n->started = true;
    p->exec.reductions++;
    n->start(p);
  }
  for (int i = 0; i < NATIVE_MESSAGES && !p->exec.tick; i++) {
    if (!la_proc_serve(p)) {
      return finish(p);
    }
    if (park_native(p)) {
      return LA_RAN_PARKED;
    }
    if (p->ending) {
      return finish(p);
    }
    la_msg_t *m = p->wait.found.msg;
    la_proc_took(p, &p->mbox, m);
    p->wait.found.msg = NULL;
    p->exec.reductions++;
    n->message(p, m);
  }
  return p->ending ? finish(p) : LA_RAN_AGAIN;
}

static la_ran_t run(la_proc_t *p) {
  la_ran_t out;
  if (!la_proc_serve(p)) {
    return finish(p);
  }
  if (p->tenant != NULL && !is_admitted(p, &out)) {
    return out;
  }
  if (p->native != NULL) {
    return run_native(p);
  }
  if (p->exec.L == NULL) {
    p->heap.others -= p->side; /* its arguments: they move into the heap */
    p->side = 0;
    if (!la_state_open(p)) {
      la_proc_end(p, NULL);
      return finish(p);
    }
  } else if (p->wait.asleep && !la_wait_is_over(p) && park(p)) {
    return LA_RAN_PARKED;
  }
  la_ran_t ran;
  do {
    ran = go_on(p);
  } while (ran == LA_RAN_ENDED && begin_last(p));
  return ran == LA_RAN_ENDED ? finish(p) : ran;
}

la_ran_t la_proc_run(la_proc_t *p) {
  if (!la_group_is_capped(p)) {
    return run(p);
  }
  la_host_t *host = p->host;
  la_group_t *g = p->tenant->group; /* p may be gone afterwards */
  la_group_ref(g);
  const uint64_t from = la_now(&host->env);
  const la_ran_t ran = run(p);
  la_group_charge(g, la_now(&host->env) - from);
  la_group_unref(g);
  return ran;
}

/* ---- end ------------------------------------------------------------------------- */

static void cancel_timers(la_proc_t *p) {
  if (!p->has_timers) {
    return;
  }
  la_wheel_t *w = la_sched_wheel(p->home);
  la_sig_t *far = NULL; /* messages of timers that hold a proxy */
  la_lock(&w->lock);
  if (p->timeout.back != NULL) {
    la_wheel_remove_locked(w, &p->timeout);
  }
  while (p->timers != NULL) {
    la_timer_t *t = p->timers;
    if (t->back != NULL) {
      la_wheel_remove_locked(w, t);
    }
    if (t->msg != NULL && la_id_kind(t->msg->sig.to) == LA_ID_PROXY) {
      t->msg->sig.next = far;
      far = &t->msg->sig;
      t->msg = NULL;
    }
    la_timer_free_locked(w, t);
  }
  la_unlock(&w->lock);
  while (far != NULL) {
    la_sig_t *next = far->next;
    la_dist_release(p->host, far->to);
    la_sig_free(far);
    far = next;
  }
}

static void break_links(la_proc_t *p) {
  for (la_map_cell_t *c = NULL; (c = la_map_next(&p->links, c)) != NULL;) {
    la_note_t *n = c->value;
    if (n->reason != NULL) { /* doomed: the other side is gone */
      la_sig_free(&n->sig);
      continue;
    }
    n->sig.flags |= LA_SIG_BY_LINK;
    if ((n->sig.flags & LA_SIG_SCOPE) && la_map_get(&p->scopes, n->ref)) {
      n->sig.flags |= LA_SIG_FORCED; /* a child of a scope of this process */
    }
    n->reason = la_reason_ref(p->reason);
    la_signal(p->host, &n->sig);
  }
  la_map_fini(&p->links);
}

static void tell_watchers(la_proc_t *p) {
  for (la_map_cell_t *c = NULL; (c = la_map_next(&p->watches, c)) != NULL;) {
    la_note_t *n = c->value;
    n->reason = la_reason_ref(p->reason);
    la_signal(p->host, &n->sig);
  }
  la_map_fini(&p->watches);
}

static void end_call(la_proc_t *p, la_call_t *c) {
  c->note.sig.kind = LA_SIG_CALL_END;
  c->note.sig.from = p->pid;
  c->note.sig.to = c->note.peer;
  c->note.reason = la_reason_ref(p->reason);
  la_signal(p->host, &c->note.sig);
}

static void end_calls(la_proc_t *p) {
  while (p->calls_head != NULL) {
    la_call_t *c = p->calls_head;
    p->calls_head = c->next;
    end_call(p, c);
  }
}

static void end_monitors(la_proc_t *p) {
  for (la_map_cell_t *c = NULL; (c = la_map_next(&p->monitors, c)) != NULL;) {
    la_signal(p->host, &((la_note_t *)c->value)->sig); /* DEMONITOR */
  }
  la_map_fini(&p->monitors);
}

/* Messages that were never taken; a call among them learns why. */
static void drop_messages(la_proc_t *p, la_mbox_t *b) {
  la_msg_t *m;
  while ((m = la_mbox_first(b)) != NULL) {
    la_mbox_remove(b, m);
    if (m->sig.flags & LA_SIG_IS_CALL) {
      m->sig.flags &= (uint8_t)~LA_SIG_IS_CALL;
      end_call(p, m->call);
    }
    la_sig_free(&m->sig);
  }
  for (uint32_t i = 0; i < b->nroom; i++) {
    la_signal_refuse(p->host, &b->room[i]->sig);
  }
  b->nroom = 0;
}

/* What came and was not served; the inbox is closed. */
static la_sig_t *close_inbox(la_proc_t *p) {
  la_sig_t *sig = la_slot_close(p->slot);
  if (p->pending != NULL) {
    p->pending_tail->next = sig;
    sig = p->pending;
    p->pending = p->pending_tail = NULL;
  }
  return sig;
}

static void refuse_rest(la_proc_t *p) {
  la_sig_t *sig = close_inbox(p);
  while (sig != NULL) {
    la_sig_t *next = sig->next;
    if (sig->kind == LA_SIG_MESSAGE && (sig->flags & LA_SIG_IS_CALL)) {
      la_msg_t *m = (la_msg_t *)sig;
      sig->flags &= (uint8_t)~LA_SIG_IS_CALL;
      end_call(p, m->call);
    } else if (sig->kind == LA_SIG_EXIT && (sig->flags & LA_SIG_SCOPE)) {
      la_note_t *entry = la_map_remove(&p->links, sig->from);
      if (entry != NULL) {
        la_sig_free(&entry->sig);
      }
    }
    la_signal_refuse(p->host, sig);
    sig = next;
  }
}

/* The server of a call under way keeps a record of it: it may forget it. */
static void abandon_call(la_proc_t *p) {
  if (p->wait.kind == LA_WAIT_CALL && !p->wait.done) {
    la_note_t *n = la_note_new(LA_SIG_CALL_DONE,
                               atomic_load(&p->slot->waits), p->pid);
    if (n != NULL) { /* else the record goes with the server */
      n->ref = p->wait.ref;
      la_signal(p->host, &n->sig);
    }
  }
}

void la_proc_finish(la_proc_t *p) {
  la_host_t *host = p->host;
  if (p->native != NULL) {
    p->native->end(p);
    p->native = NULL;
  }
  abandon_call(p);
  la_wait_clear(p);
  la_member_quit(p);
  if (p->exec.L != NULL) {
    p->heap.lend = NULL;
    if (p->heap.limit != 0) { /* the last code needs memory too, a little */
      p->heap.limit = p->heap.used + p->heap.others + CLOSE_RESERVE;
      p->heap.refused = 0;
    }
    if (!p->is_unwound && !(p->wait.asleep && p->wait.plain)) {
      la_exec_close(&p->exec);
    }
  }
  if (p->report && !p->is_watched) {
    la_report_crash(p);
  }
  la_proc_leave_slot(&host->names, p->slot, p->pid);
  la_crew_close(p);
  if (p->is_watched) {
    la_watch_ended(host, p);
  }
  while (p->boxes != NULL) {
    la_proc_close_mbox(p, p->boxes->id);
  }
  if (p->tenant != NULL) {
    la_group_give_back(p);
  }
  refuse_rest(p);
  cancel_timers(p);
  drop_messages(p, &p->mbox);
  end_calls(p);
  if (p->member != NULL && p->member->last != NULL) {
    la_dist_call_lost(host, p->member->pool, p->member->last, p->reason);
  }
  break_links(p);
  tell_watchers(p);
  end_monitors(p);
  la_dist_release(p->host, p->far);
  la_sched_forget();
  la_state_close(p);
  la_start_free(p->start);
  la_sched_t *own = p->owns_sched ? p->pinned : NULL;
  la_slot_t *s = p->slot;
  const uint32_t index = la_id_slot(p->pid);
  const bool root = p->parent == LA_NO_ID;
  free_shell(p);
  la_pidtab_give(&host->pids, s, index);
  if (root) {
    atomic_fetch_sub(&host->nroots, 1);
  }
  if (own != NULL) {
    la_sched_free_own(own);
  }
  la_host_process_ended(host);
}

void la_proc_seal(la_proc_t *p) {
  la_sig_t *sig = la_slot_close(p->slot);
  if (sig == NULL) {
    return;
  }
  *(p->pending_tail != NULL ? &p->pending_tail->next : &p->pending) = sig;
  while (sig->next != NULL) {
    sig = sig->next;
  }
  p->pending_tail = sig;
}

void la_proc_discard(la_proc_t *p) {
  p->heap.lend = NULL;
  if (p->reason == NULL) {
    p->reason = la_reason_text("killed");
  }
  if (p->native != NULL) {
    p->native->end(p);
    p->native = NULL;
  }
  if (p->member != NULL) { /* its crew goes as a whole */
    p->member->crew = NULL;
  }
  la_wait_clear(p);
  cancel_timers(p);
  while (p->boxes != NULL) {
    la_proc_close_mbox(p, p->boxes->id);
  }
  drop_messages(p, &p->mbox);
  while (p->calls_head != NULL) {
    la_call_t *c = p->calls_head;
    p->calls_head = c->next;
    la_sig_free(&c->note.sig);
  }
  la_state_close(p);
  la_start_free(p->start);
  la_sig_t *sig = close_inbox(p);
  while (sig != NULL) {
    la_sig_t *next = sig->next;
    la_sig_free(sig);
    sig = next;
  }
  free_shell(p);
}

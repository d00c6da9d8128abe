/* See group.h.
 *
 * Problem: the use of a thousand processes is to be known at any time, to the
 * process that wants the next kilobyte, and a shared counter for each allocation or
 * message would cost more than both.
 *
 * Memory is lent. The heap of a member has a limit like that of any process with
 * max_heap, and the allocator compares with that limit anyway; but when it is
 * reached the heap asks its group for more (la_heap_t.lend), a step that grows with
 * the heap, and only this touches the groups' counters: one atomic addition for each
 * group around the process. What has been lent counts as used. When a slice ends and
 * a good part of it is not needed any more, the rest goes back. So a group counts up
 * to a quarter more than its heaps hold, and never less.
 *
 * What a process holds outside its heap (queued messages, timers, monitors...) is in
 * heap.others and asks in the same way; and each process counts LA_GROUP_SHELL bytes.
 *
 * Messages are counted where they are taken from the inbox, by the process itself,
 * and told to the group in batches. Those that nobody has taken yet are in no count;
 * but a process that runs takes them every slice, and one that is held back is woken
 * to take them (la_group_knock).
 *
 * Over a limit: for processes and handles the request is refused. For memory and
 * messages the group ends, all of it, since nobody can say which member is to blame: each
 * gets a signal that is part of its tenant record, so no memory is needed for it. The
 * list of members is under one lock for all groups of the host. Under that lock the
 * signals are pushed, which is an exception to the rule that nothing is sent under a
 * lock: it keeps the record alive, and a push takes only locks of higher rank.
 *
 * The processor: a group has a credit in nanoseconds that grows with the time, by its
 * share of one scheduler, up to BURST_NS. A slice takes off what it used. With
 * nothing left, a member that comes to its turn is not run but put into the group's
 * own queue; a timer releases as many as there are schedulers when the credit is
 * above zero again, and each slice that ends with credit left releases one more. A
 * process that is held counts as runnable in every other respect. It must still
 * learn of a kill: its slot says that it is held, and who pushes a signal to such a slot
 * takes it out (the flag is set before the inbox is looked at, the signal pushed before
 * the flag is: one of the two sees the other).
 *
 * Rejected: walking over the members to sum up (a fork bomb makes the walk long);
 * counting each message at the sender (two more shared writes for each); weights
 * instead of shares (what a group may use would depend on who else runs). */
#include "proc/group.h"

#include <string.h>

#include "proc/host.h"

enum {
  LEND_STEP = 4096,
  SLACK = 16384, /* so much may stay lent in vain */
  MESSAGE_BATCH = 16,
  KNOCKS = 256 /* messages that may wait for a member that is held */
};

#define BURST_NS 5e6
#define DEBT_NS 100e6
#define LOOK_NS UINT64_C(1000000)

const char *const la_limit_names[LA_NLIMITS] = {
#define X(sym, text) text,
    LA_GROUP_LIMITS(X)
#undef X
};

void la_groups_init(la_groups_t *gs) {
  la_lock_init(&gs->lock, LA_RANK_GROUPS);
  gs->all = NULL;
  atomic_init(&gs->knocks, 0);
}

static void free_group(la_group_t *g) {
  la_reason_unref(g->reason);
  la_sandbox_unref(g->sandbox);
  la_free(g->ud);
  la_free_aligned(g);
}

/* What a timer or the embedder still held. */
static void free_all(la_group_t *g) {
  while (g != NULL) {
    la_group_t *next = g->next;
    free_all(g->children);
    free_group(g);
    g = next;
  }
}

void la_groups_fini(la_groups_t *gs) {
  free_all(gs->all);
  la_lock_fini(&gs->lock);
}

void la_sandbox_unref(la_sandbox_t *s) {
  if (s != NULL && atomic_fetch_sub(&s->refs, 1) == 1) {
    la_free(s);
  }
}

/* ---- life ------------------------------------------------------------------ */

static void link_group_locked(la_group_t *g) {
  la_group_t **head =
      g->parent != NULL ? &g->parent->children : &g->host->groups.all;
  g->next = *head;
  g->back = head;
  if (*head != NULL) {
    (*head)->back = &g->next;
  }
  *head = g;
}

la_group_t *la_group_new(la_host_t *host, la_group_t *parent,
                         const la_group_opts_t *o, bool *too_deep) {
  *too_deep = parent != NULL && parent->depth + 1 >= LA_GROUP_DEPTH;
  if (*too_deep) {
    return NULL;
  }
  la_group_t *g = la_alloc_aligned(64, (sizeof *g + 63) / 64 * 64);
  if (g == NULL) {
    return NULL;
  }
  memset(g, 0, sizeof *g);
  g->host = host;
  g->parent = parent;
  g->number = la_new_number(host);
  g->on_limit = o->on_limit;
  g->ud = o->ud;
  g->sandbox = o->sandbox;
  if (parent != NULL) {
    la_group_ref(parent);
    g->depth = parent->depth + 1;
    if (g->sandbox == NULL && parent->sandbox != NULL) {
      g->sandbox = parent->sandbox;
      atomic_fetch_add(&g->sandbox->refs, 1);
    }
  }
  atomic_init(&g->refs, 1);
  g->held_end = &g->held;
  g->timer.kind = LA_TIMER_GROUP;
  g->filled_ns = la_now(&host->env);
  g->credit_ns = BURST_NS;
  for (int i = 0; i < LA_NLIMITS; i++) {
    atomic_init(&g->most[i], o->most[i]);
  }
  g->cpu = o->cpu;
  la_lock(&host->groups.lock);
  atomic_init(&g->capped, g->cpu > 0 ||
                              (parent != NULL && atomic_load(&parent->capped)));
  if (parent != NULL && atomic_load(&parent->ended)) {
    g->reason = la_reason_ref(parent->reason);
    atomic_init(&g->ended, true);
  }
  link_group_locked(g);
  la_unlock(&host->groups.lock);
  return g;
}

void la_group_ref(la_group_t *g) {
  atomic_fetch_add_explicit(&g->refs, 1, memory_order_relaxed);
}

void la_group_unref(la_group_t *g) {
  while (g != NULL && atomic_fetch_sub(&g->refs, 1) == 1) {
    la_group_t *parent = g->parent;
    la_lock(&g->host->groups.lock);
    *g->back = g->next;
    if (g->next != NULL) {
      g->next->back = g->back;
    }
    la_unlock(&g->host->groups.lock);
    free_group(g);
    g = parent;
  }
}

bool la_group_is_in(const la_group_t *g, const la_group_t *around) {
  while (g != NULL && g != around) {
    g = g->parent;
  }
  return g != NULL;
}

/* Members under the lock, so that none of them goes meanwhile. */
static bool has_locked(const la_group_t *g, la_pid_t pid) {
  for (const la_tenant_t *t = g->tenants; t != NULL; t = t->next) {
    if (t->proc->pid == pid) {
      return true;
    }
  }
  for (const la_group_t *c = g->children; c != NULL; c = c->next) {
    if (has_locked(c, pid)) { /* as deep as LA_GROUP_DEPTH */
      return true;
    }
  }
  return false;
}

bool la_group_has(la_group_t *around, la_pid_t pid) {
  la_host_t *host = around->host;
  la_slot_t *s = la_pidtab_slot(&host->pids, pid);
  if (s == NULL || !la_slot_is(s, pid)) {
    return false;
  }
  la_lock(&host->groups.lock);
  const bool has = has_locked(around, pid);
  la_unlock(&host->groups.lock);
  return has;
}

/* ---- counting --------------------------------------------------------------- */

static void give(la_group_t *g, la_limit_t what, uint64_t n) {
  for (; g != NULL; g = g->parent) {
    /* Relaxed, as in take: counters say nothing of other memory. */
    atomic_fetch_sub_explicit(&g->used[what], n, memory_order_relaxed);
  }
}

/* Count n more in the group and those around it. The group which has no room for
 * that, with nothing counted anywhere; or NULL. */
static la_group_t *take(la_group_t *g, la_limit_t what, uint64_t n) {
  for (la_group_t *at = g; at != NULL; at = at->parent) {
    const uint64_t was =
        atomic_fetch_add_explicit(&at->used[what], n, memory_order_relaxed);
    const uint64_t most =
        atomic_load_explicit(&at->most[what], memory_order_relaxed);
    if (most != 0 && was + n > most) {
      for (la_group_t *undo = g;; undo = undo->parent) {
        atomic_fetch_sub_explicit(&undo->used[what], n, memory_order_relaxed);
        if (undo == at) {
          return at;
        }
      }
    }
  }
  return NULL;
}

/* The group has refused, or will end: tell the embedder, once for each limit. */
static void note_met(la_group_t *g, la_limit_t what) {
  const uint32_t bit = UINT32_C(1) << what;
  if ((atomic_fetch_or(&g->met, bit) & bit) == 0 && g->on_limit != NULL &&
      !atomic_load(&g->closed)) {
    g->on_limit(g->ud, g, what, atomic_load(&g->most[what]));
  }
}

/* { "group_limit", name, most } */
static la_reason_t *limit_reason(la_limit_t what, uint64_t most) {
  uint8_t t[64] = {108, 0, 0, 0, 3, 109, 0, 0, 0, 11, 'g', 'r', 'o', 'u', 'p',
                   '_', 'l', 'i', 'm', 'i', 't', 109, 0, 0, 0};
  const size_t len = strlen(la_limit_names[what]);
  size_t at = 25;
  t[at++] = (uint8_t)len;
  memcpy(t + at, la_limit_names[what], len);
  at += len;
  t[at++] = 110; /* a number of eight bytes */
  t[at++] = 8;
  t[at++] = 0;
  for (int i = 0; i < 8; i++) {
    t[at++] = (uint8_t)(most >> (8 * i));
  }
  t[at++] = 106;
  return la_reason_new(&(la_term_t){.bytes = t, .size = at});
}

static void end_by_limit(la_group_t *g, la_limit_t what) {
  const uint64_t most = atomic_load(&g->most[what]);
  note_met(g, what);
  la_group_end(g, limit_reason(what, most));
}

la_spawn_status_t la_group_admit(la_group_t *g, la_proc_t *p,
                                 const la_spawn_opts_t *o) {
  la_tenant_t *t = la_zalloc(sizeof *t);
  if (t == NULL) {
    return LA_SPAWN_NOMEM;
  }
  la_limit_t what = LA_LIMIT_PROCESSES;
  la_group_t *full = take(g, what, 1);
  if (full == NULL) {
    what = LA_LIMIT_MEMORY;
    full = take(g, what, LA_GROUP_SHELL + LA_GROUP_FIRST);
    if (full != NULL) {
      give(g, LA_LIMIT_PROCESSES, 1);
    }
  }
  if (full != NULL) {
    if (!o->is_watched) {
      note_met(full, what);
    }
    la_free(t);
    return LA_SPAWN_LIMIT;
  }
  t->group = g;
  t->proc = p;
  t->lent = LA_GROUP_FIRST;
  t->end_sig.kind = LA_SIG_GROUP;
  t->end_sig.flags = LA_SIG_STATIC;
  t->end_sig.to = p->pid;
  la_host_t *host = g->host;
  la_lock(&host->groups.lock);
  const bool ended = atomic_load(&g->ended);
  if (!ended) {
    t->next = g->tenants;
    t->back = &g->tenants;
    if (t->next != NULL) {
      t->next->back = &t->next;
    }
    g->tenants = t;
    if (o->heads_group) {
      g->root = p->pid;
    }
  }
  la_unlock(&host->groups.lock);
  if (ended) {
    give(g, LA_LIMIT_PROCESSES, 1);
    give(g, LA_LIMIT_MEMORY, LA_GROUP_SHELL + LA_GROUP_FIRST);
    la_free(t);
    return LA_SPAWN_LIMIT;
  }
  la_group_ref(g);
  p->tenant = t;
  p->heap.most = p->heap.limit;
  p->heap.limit = p->heap.most != 0 && p->heap.most < LA_GROUP_FIRST
                      ? p->heap.most
                      : LA_GROUP_FIRST;
  p->heap.lend = la_group_lend;
  return LA_SPAWN_OK;
}

static void unhold_locked(la_tenant_t *t) {
  *t->back_held = t->next_held;
  if (t->next_held != NULL) {
    t->next_held->back_held = t->back_held;
  } else {
    t->held_by->held_end = t->back_held;
  }
  t->back_held = NULL;
  atomic_fetch_and(&t->proc->slot->flags, (uint8_t)~LA_SLOT_HELD);
}

void la_group_give_back(la_proc_t *p) {
  la_tenant_t *t = p->tenant;
  if (t->has_given) {
    return;
  }
  t->has_given = true;
  p->heap.lend = NULL;
  give(t->group, LA_LIMIT_PROCESSES, 1);
  give(t->group, LA_LIMIT_MEMORY, LA_GROUP_SHELL + t->lent);
  give(t->group, LA_LIMIT_MESSAGES, t->counted);
}

void la_group_leave(la_proc_t *p) {
  la_tenant_t *t = p->tenant;
  la_group_t *g = t->group;
  la_lock(&g->host->groups.lock);
  if (t->back_held != NULL) { /* at the host's end */
    unhold_locked(t);
  }
  *t->back = t->next;
  if (t->next != NULL) {
    t->next->back = t->back;
  }
  const bool was_root = g->root == p->pid;
  la_unlock(&g->host->groups.lock);
  la_group_give_back(p);
  p->tenant = NULL;
  give(g, LA_LIMIT_HANDLES, t->handles);
  la_free(t);
  if (was_root) {
    la_group_end(g, la_reason_text("group_end"));
  }
  la_group_unref(g);
}

bool la_group_lend(la_heap_t *h, size_t want) {
  const la_proc_t *p = h->owner;
  la_tenant_t *t = p->tenant;
  t->is_own_limit = h->most != 0 && want > h->most;
  if (t->is_own_limit) {
    return false;
  }
  const size_t step = want / 8 > LEND_STEP ? want / 8 : LEND_STEP;
  size_t limit = want + step;
  if (h->most != 0 && limit > h->most) {
    limit = h->most;
  }
  if (limit > t->lent &&
      take(t->group, LA_LIMIT_MEMORY, limit - t->lent) != NULL) {
    limit = want;
    if (limit > t->lent &&
        take(t->group, LA_LIMIT_MEMORY, limit - t->lent) != NULL) {
      return false;
    }
  }
  if (limit > t->lent) {
    t->lent = limit;
  }
  h->limit = t->lent;
  return true;
}

void la_group_heap_over(la_proc_t *p) {
  la_group_t *g = p->tenant->group;
  p->heap.lend = NULL;
  const size_t holds = p->heap.used + p->heap.others;
  const uint64_t lent = p->tenant->lent;
  la_group_t *full =
      take(g, LA_LIMIT_MEMORY, (holds > lent ? holds - lent : 0) + LEND_STEP);
  if (full == NULL) { /* somebody has given back meanwhile, or it was a large piece */
    give(g, LA_LIMIT_MEMORY, (holds > lent ? holds - lent : 0) + LEND_STEP);
    for (full = g; full->parent != NULL && atomic_load(&full->most[0]) == 0;) {
      full = full->parent;
    }
  }
  end_by_limit(full, LA_LIMIT_MEMORY);
}

static uint32_t queued(const la_proc_t *p) {
  uint32_t n = p->mbox.count;
  for (const la_mbox_t *b = p->boxes; b != NULL; b = b->next) {
    n += b->count;
  }
  return n;
}

static void settle_memory(la_proc_t *p, la_tenant_t *t) {
  la_heap_t *h = &p->heap;
  const size_t holds = h->used + h->others;
  if (t->lent <= holds + holds / 4 + SLACK || h->lend == NULL) {
    return;
  }
  size_t keep = holds + holds / 8 + LEND_STEP;
  if (keep < LA_GROUP_FIRST) {
    keep = LA_GROUP_FIRST;
  }
  give(t->group, LA_LIMIT_MEMORY, t->lent - keep);
  t->lent = keep;
  h->limit = h->most != 0 && h->most < keep ? h->most : keep;
}

static void settle_messages(la_proc_t *p, la_tenant_t *t) {
  const uint32_t n = queued(p);
  if (n >= t->counted + MESSAGE_BATCH) {
    la_group_t *full = take(t->group, LA_LIMIT_MESSAGES, n - t->counted);
    if (full != NULL) {
      p->report = true;
      end_by_limit(full, LA_LIMIT_MESSAGES);
      return;
    }
    t->counted = n;
  } else if (n + MESSAGE_BATCH <= t->counted || (n == 0 && t->counted != 0)) {
    give(t->group, LA_LIMIT_MESSAGES, t->counted - n);
    t->counted = n;
  }
}

void la_group_settle(la_proc_t *p) {
  if (!p->ending) {
    settle_memory(p, p->tenant);
    settle_messages(p, p->tenant);
  }
}

bool la_group_handle(la_exec_t *x, bool one_more) {
  la_tenant_t *t = ((la_proc_t *)x)->tenant;
  if (t == NULL) {
    return true;
  }
  if (!one_more) {
    if (t->handles > 0) {
      t->handles--;
      give(t->group, LA_LIMIT_HANDLES, 1);
    }
    return true;
  }
  la_group_t *full = take(t->group, LA_LIMIT_HANDLES, 1);
  if (full != NULL) {
    note_met(full, LA_LIMIT_HANDLES);
    return false;
  }
  t->handles++;
  return true;
}

/* ---- the end ------------------------------------------------------------------ */

static void tell_locked(la_host_t *host, la_tenant_t *t) {
  if (t->is_told) {
    return;
  }
  t->is_told = true;
  const bool held =
      t->back_held != NULL && !atomic_load(&host->halting);
  if (held) {
    unhold_locked(t);
  }
  la_slot_t *s = t->proc->slot;
  const la_push_t pushed = la_slot_push(s, &t->end_sig);
  if (held || pushed == LA_PUSH_WAKE) {
    la_sched_wake(host, t->proc);
  } else if (pushed == LA_PUSH_OK) {
    la_sched_hurry(host);
  }
}

static void end_locked(la_group_t *g, la_reason_t *reason) {
  if (atomic_load(&g->ended)) {
    return;
  }
  g->reason = la_reason_ref(reason);
  atomic_store(&g->ended, true);
  for (la_tenant_t *t = g->tenants; t != NULL; t = t->next) {
    tell_locked(g->host, t);
  }
  for (la_group_t *c = g->children; c != NULL; c = c->next) {
    end_locked(c, reason); /* as deep as LA_GROUP_DEPTH */
  }
}

void la_group_end(la_group_t *g, la_reason_t *reason) {
  if (reason == NULL) {
    reason = la_reason_text("killed");
  }
  la_lock(&g->host->groups.lock);
  end_locked(g, reason);
  la_unlock(&g->host->groups.lock);
  la_reason_unref(reason);
}

la_reason_t *la_group_reason(const la_proc_t *p) {
  const la_group_t *g = p->tenant->group;
  return g->reason != NULL ? la_reason_ref(g->reason) : NULL;
}

/* ---- the processor ------------------------------------------------------------- */

static void fill_locked(la_group_t *g, uint64_t now) {
  if (now > g->filled_ns) {
    const double more = (double)(now - g->filled_ns) * g->cpu;
    g->credit_ns = g->credit_ns + more < BURST_NS ? g->credit_ns + more
                                                  : BURST_NS;
  }
  g->filled_ns = now;
}

/* The innermost group around that has used up its share; NULL: none. */
static la_group_t *used_up_locked(la_group_t *g, uint64_t now) {
  for (; g != NULL; g = g->parent) {
    if (g->cpu > 0 && !atomic_load(&g->ended)) {
      fill_locked(g, now);
      if (g->credit_ns <= 0) {
        return g;
      }
    }
  }
  return NULL;
}

/* When the group is to be looked at again. */
static uint64_t due_locked(const la_group_t *g, uint64_t now) {
  const double wait = g->credit_ns < 0 ? -g->credit_ns / g->cpu : 0;
  return now + (uint64_t)wait + LOOK_NS;
}

static void arm(la_group_t *g, uint64_t due) {
  la_wheel_t *w = la_sched_wheel(g->host->scheds[0]);
  la_lock(&w->lock);
  const bool earliest = la_wheel_add_locked(w, &g->timer, due);
  la_unlock(&w->lock);
  if (earliest) {
    la_sched_wheel_changed(g->host, w);
  }
}

la_hold_t la_group_hold(la_proc_t *p) {
  la_tenant_t *t = p->tenant;
  la_host_t *host = p->host;
  const uint64_t now = la_now(&host->env);
  la_lock(&host->groups.lock);
  la_group_t *g = used_up_locked(t->group, now);
  if (g == NULL) {
    la_unlock(&host->groups.lock);
    return LA_HOLD_NO;
  }
  atomic_fetch_or(&p->slot->flags, LA_SLOT_HELD);
  if (la_slot_has_signals(p->slot)) {
    atomic_fetch_and(&p->slot->flags, (uint8_t)~LA_SLOT_HELD);
    la_unlock(&host->groups.lock);
    return LA_HOLD_LOOK;
  }
  t->held_by = g;
  t->next_held = NULL;
  t->back_held = g->held_end;
  *g->held_end = t;
  g->held_end = &t->next_held;
  const bool to_arm = !g->is_armed;
  uint64_t due = 0;
  if (to_arm) {
    g->is_armed = true;
    la_group_ref(g);
    due = due_locked(g, now);
  }
  la_unlock(&host->groups.lock);
  if (to_arm) {
    arm(g, due);
  }
  return LA_HOLD_YES;
}

/* Take the first that is held out; NULL: none. */
static la_proc_t *release_locked(la_group_t *g) {
  la_tenant_t *t = g->held;
  if (t == NULL) {
    return NULL;
  }
  unhold_locked(t);
  return t->proc;
}

void la_group_charge(la_group_t *g, uint64_t ns) {
  la_host_t *host = g->host;
  la_proc_t *freed[LA_GROUP_DEPTH];
  unsigned n = 0;
  const uint64_t now = la_now(&host->env);
  la_lock(&host->groups.lock);
  for (; g != NULL; g = g->parent) {
    g->cpu_ns += ns;
    if (g->cpu > 0) {
      fill_locked(g, now);
      g->credit_ns -= (double)ns;
      if (g->credit_ns < -DEBT_NS * g->cpu) {
        g->credit_ns = -DEBT_NS * g->cpu;
      }
      if (g->credit_ns > 0 && (freed[n] = release_locked(g)) != NULL) {
        n++;
      }
    }
  }
  la_unlock(&host->groups.lock);
  while (n > 0) {
    la_sched_wake(host, freed[--n]);
  }
}

void la_group_due(la_timer_t *timer) {
  la_group_t *g = (la_group_t *)((char *)timer - offsetof(la_group_t, timer));
  la_host_t *host = g->host;
  la_proc_t *freed[64];
  unsigned n = 0;
  const uint64_t now = la_now(&host->env);
  la_lock(&host->groups.lock);
  fill_locked(g, now);
  while (n < host->nscheds && n < 64 && (g->credit_ns > 0 || g->cpu <= 0) &&
         (freed[n] = release_locked(g)) != NULL) {
    n++;
  }
  g->is_armed = g->held != NULL;
  const bool again = g->is_armed;
  const uint64_t due =
      again ? (g->cpu > 0 ? due_locked(g, now) : now + LOOK_NS) : 0;
  la_unlock(&host->groups.lock);
  while (n > 0) {
    la_sched_wake(host, freed[--n]);
  }
  if (again) {
    arm(g, due);
  } else {
    la_group_unref(g);
  }
}

void la_group_knock(la_host_t *host, la_slot_t *s, bool is_message) {
  la_proc_t *p = NULL;
  if (is_message && atomic_fetch_add(&host->groups.knocks, 1) % KNOCKS != 0) {
    return;
  }
  la_lock(&host->groups.lock);
  if (atomic_load(&s->flags) & LA_SLOT_HELD) { /* so it lives, and nobody runs it */
    p = s->proc;
    unhold_locked(p->tenant);
  }
  la_unlock(&host->groups.lock);
  if (p != NULL) {
    la_sched_wake(host, p);
  }
}

static void recap_locked(la_group_t *g) {
  atomic_store(&g->capped,
               g->cpu > 0 ||
                   (g->parent != NULL && atomic_load(&g->parent->capped)));
  for (la_group_t *c = g->children; c != NULL; c = c->next) {
    recap_locked(c); /* as deep as LA_GROUP_DEPTH */
  }
}

void la_group_set(la_group_t *g, const uint64_t most[LA_NLIMITS], double cpu) {
  for (int i = 0; i < LA_NLIMITS; i++) {
    atomic_store(&g->most[i], most[i]);
  }
  la_lock(&g->host->groups.lock);
  fill_locked(g, la_now(&g->host->env));
  g->cpu = cpu;
  recap_locked(g);
  la_unlock(&g->host->groups.lock);
}

void la_group_look(la_group_t *g, la_group_use_t *out) {
  for (int i = 0; i < LA_NLIMITS; i++) {
    out->used[i] = atomic_load(&g->used[i]);
    out->most[i] = atomic_load(&g->most[i]);
  }
  la_lock(&g->host->groups.lock);
  out->cpu = g->cpu;
  out->cpu_ns = g->cpu_ns;
  out->nheld = 0;
  for (const la_tenant_t *t = g->held; t != NULL; t = t->next_held) {
    out->nheld++;
  }
  la_unlock(&g->host->groups.lock);
}

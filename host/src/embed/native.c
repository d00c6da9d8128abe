/* luactor.h: actors whose code is C. */
#include <string.h>

#include "embed/send.h"
#include "embed/spawn.h"
#include "sched/sched.h"

typedef struct {
  la_native_t base; /* first: la_proc_t.native points to it */
  luactor_native on;
  void *userdata;
} native_t;

static native_t *native_of(const la_proc_t *p) {
  return (native_t *)p->native;
}

static luactor_actor *self_of(la_proc_t *p) {
  return (luactor_actor *)p;
}

/* ---- what the scheduler calls ------------------------------------------------------- */

static void start(la_proc_t *p) {
  const native_t *n = native_of(p);
  if (n->on.on_start != NULL) {
    n->on.on_start(self_of(p), n->userdata);
  }
}

static void message(la_proc_t *p, la_msg_t *m) {
  const native_t *n = native_of(p);
  if (n->on.on_message != NULL) {
    la_whole_t whole = {.home = p->host->nonce};
    la_msg_term(m, &whole.term);
    n->on.on_message(self_of(p), la_view_all(&whole), n->userdata);
  }
  la_msg_free(m);
}

static void end(la_proc_t *p) {
  native_t *n = native_of(p);
  if (n->on.on_exit != NULL) {
    const la_whole_t whole = {p->reason->term, p->host->nonce};
    n->on.on_exit(self_of(p), la_view_all(&whole), n->userdata);
  }
  la_free(n);
}

int luactor_spawn_native_opt(luactor_host *host,
                             const luactor_spawn_opts *opts,
                             const luactor_native *callbacks, void *userdata,
                             luactor_pid *pid) {
  if (host == NULL || callbacks == NULL ||
      callbacks->size != sizeof *callbacks) {
    return LUACTOR_EINVAL;
  }
  LA_ENTER(host);
  native_t *n = la_alloc(sizeof *n);
  if (n == NULL) {
    return LUACTOR_ENOMEM;
  }
  *n = (native_t){{start, message, end, false}, *callbacks, userdata};
  const int code =
      la_embed_spawn(host, opts, NULL, &n->base, "native actor", pid);
  if (code != 0) {
    la_free(n);
  }
  return code;
}

int luactor_spawn_native(luactor_host *host, const luactor_native *callbacks,
                         void *userdata, luactor_pid *pid) {
  return luactor_spawn_native_opt(host, NULL, callbacks, userdata, pid);
}

/* ---- what the callbacks call -------------------------------------------------------- */

/* The actor, if the caller is one of its callbacks; it is not looked into before that
 * is certain. */
static la_proc_t *running(luactor_actor *self) {
  const la_thread_t *t = la_thread_self();
  if (self == NULL || t == NULL || (void *)t->exec != (void *)self) {
    return NULL;
  }
  la_proc_t *p = (la_proc_t *)self;
  return p->native != NULL ? p : NULL;
}

/* For what an actor that ends can no longer do: *p, or a code. */
static int living(luactor_actor *self, la_proc_t **p) {
  *p = running(self);
  return *p == NULL       ? LUACTOR_ECALLER
         : (*p)->ending ? LUACTOR_ECLOSED
                        : 0;
}

luactor_pid luactor_actor_pid(luactor_actor *self) {
  const la_proc_t *p = running(self);
  return p != NULL ? p->pid : LA_NO_ID;
}

luactor_host *luactor_actor_host(luactor_actor *self) {
  const la_proc_t *p = running(self);
  return p != NULL ? p->host : NULL;
}

int luactor_actor_send(luactor_actor *self, luactor_pid to,
                       const luactor_value *value) {
  la_proc_t *p = running(self);
  return p != NULL ? la_send_value(p->host, p, to, value) : LUACTOR_ECALLER;
}

int luactor_actor_reply(luactor_actor *self, luactor_view from,
                        const luactor_value *value) {
  la_proc_t *p = running(self);
  la_msg_t *m = NULL;
  if (p == NULL) {
    return LUACTOR_ECALLER;
  }
  const int code = la_answer_new(p->host, from, value, p->pid, &m);
  if (m == NULL) {
    return code;
  }
  if (la_proc_forget_call(p, m->sig.to)) {
    m->sig.flags |= LA_SIG_BY_TAKER;
  }
  return la_send_msg(p->host, p, m);
}

/* ---- links and monitors --------------------------------------------------------------- */

int luactor_actor_link(luactor_actor *self, luactor_pid pid) {
  la_proc_t *p;
  const int code = living(self, &p);
  return code != 0                        ? code
         : la_id_kind(pid) != LA_ID_PID ? LUACTOR_EINVAL
         : la_proc_link(p, pid)          ? 0
                                         : LUACTOR_ENOMEM;
}

int luactor_actor_unlink(luactor_actor *self, luactor_pid pid) {
  la_proc_t *p;
  const int code = living(self, &p);
  if (code == 0 && la_id_kind(pid) != LA_ID_PID) {
    return LUACTOR_EINVAL;
  }
  if (code == 0) {
    la_proc_unlink(p, pid);
  }
  return code;
}

int luactor_actor_monitor(luactor_actor *self, luactor_pid pid,
                          uint64_t *ref) {
  la_proc_t *p;
  const int code = living(self, &p);
  if (code != 0 || la_id_kind(pid) != LA_ID_PID) {
    return code != 0 ? code : LUACTOR_EINVAL;
  }
  const la_id_t id = la_proc_monitor(p, pid, NULL);
  if (id == LA_NO_ID) {
    return LUACTOR_ENOMEM;
  }
  if (ref != NULL) {
    *ref = id;
  }
  return 0;
}

int luactor_actor_demonitor(luactor_actor *self, uint64_t ref) {
  la_proc_t *p;
  const int code = living(self, &p);
  if (code != 0 || la_id_kind(ref) != LA_ID_REF) {
    return code != 0 ? code : LUACTOR_EINVAL;
  }
  la_proc_serve(p); /* a DOWN that is under way is one that has come */
  la_proc_demonitor(p, ref, true);
  return 0;
}

int luactor_actor_trap_exit(luactor_actor *self, int on) {
  la_proc_t *p;
  int code = living(self, &p);
  if (code == 0) {
    code = p->trap_exit;
    p->trap_exit = on != 0;
  }
  return code;
}

/* ---- timers ---------------------------------------------------------------------------- */

static int start_timer(luactor_actor *self, double ms, bool every,
                       luactor_pid to, const luactor_value *value,
                       uint64_t *timer) {
  la_proc_t *p;
  const int code = living(self, &p);
  if (code != 0) {
    return code;
  }
  if (!(ms >= 0 && ms < 1e15) || (every && ms == 0) || !la_id_has_slot(to) ||
      value == NULL) {
    return LUACTOR_EINVAL;
  }
  if (!la_value_fits(value, p->host)) {
    return LUACTOR_ETYPE;
  }
  la_msg_t *m = la_msg_new(&value->whole.term, to, p->pid);
  const la_id_t id =
      m != NULL ? la_proc_timer(p, ms, every, m, NULL) : LA_NO_ID;
  if (id == LA_NO_ID) {
    if (m != NULL) {
      la_sig_free(&m->sig);
    }
    return LUACTOR_ENOMEM;
  }
  if (timer != NULL) {
    *timer = id;
  }
  return 0;
}

int luactor_actor_send_after(luactor_actor *self, double ms, luactor_pid to,
                             const luactor_value *value, uint64_t *timer) {
  return start_timer(self, ms, false, to, value, timer);
}

int luactor_actor_send_every(luactor_actor *self, double ms, luactor_pid to,
                             const luactor_value *value, uint64_t *timer) {
  return start_timer(self, ms, true, to, value, timer);
}

int luactor_actor_cancel(luactor_actor *self, uint64_t timer) {
  la_proc_t *p;
  const int code = living(self, &p);
  if (code != 0 || la_id_kind(timer) != LA_ID_TIMER) {
    return code != 0 ? code : LUACTOR_EINVAL;
  }
  return la_timer_cancel(p->host, timer) >= 0 ? 0 : LUACTOR_ENOENT;
}

/* ---- the end ----------------------------------------------------------------------------- */

int luactor_actor_exit(luactor_actor *self, const luactor_value *reason) {
  la_proc_t *p;
  la_reason_t *r;
  int code = living(self, &p);
  if (code == 0) {
    code = la_reason_of(p->host, reason, &r);
  }
  if (code == 0) {
    la_proc_end_itself(p, r);
  }
  return code;
}

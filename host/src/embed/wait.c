/* luactor.h: waiting for the end of processes.
 *
 * What is spawned to be waited for has a watch from before its first slice on. Its end
 * is kept there until somebody asks. Nothing is allocated when a process ends. */
#include <assert.h>

#include "embed/spawn.h"
#include "embed/step.h"
#include "embed/value.h"

/* Under host->lock once it is in host->watches. */
struct la_watch {
  bool ended;
  la_reason_t *reason;
  char *error;
};

static void free_watch(la_watch_t *w) {
  la_reason_unref(w->reason);
  la_free(w->error);
  la_free(w);
}

/* Until the pid is known the watch stands under its own address, which is no
 * identity: so its place in the map is there. */
static uint64_t own_key(const la_watch_t *w) {
  return (uint64_t)(uintptr_t)w;
}

la_watch_t *la_watch_new(la_host_t *host) {
  la_watch_t *w = la_zalloc(sizeof *w);
  if (w == NULL) {
    return NULL;
  }
  la_lock(&host->lock);
  const bool ok = la_map_put(&host->watches, own_key(w), w);
  la_unlock(&host->lock);
  if (!ok) {
    free_watch(w);
    return NULL;
  }
  return w;
}

void la_watch_begin(la_host_t *host, la_watch_t *w, la_pid_t pid) {
  la_lock(&host->lock);
  la_map_remove(&host->watches, own_key(w));
  const bool ok = la_map_put(&host->watches, pid, w);
  la_unlock(&host->lock);
  assert(ok);
  (void)ok;
}

void la_watch_cancel(la_host_t *host, la_watch_t *w) {
  if (w != NULL) {
    la_lock(&host->lock);
    la_map_remove(&host->watches, own_key(w));
    la_unlock(&host->lock);
    free_watch(w);
  }
}

void la_watch_ended(la_host_t *host, la_proc_t *p) {
  la_lock(&host->lock);
  la_watch_t *w = la_map_get(&host->watches, p->pid);
  if (w != NULL) {
    w->ended = true;
    w->reason = la_reason_ref(p->reason);
    if (p->report) {
      w->error = p->error_text;
      p->error_text = NULL;
    }
  }
  pthread_cond_broadcast(&host->changed);
  la_unlock(&host->lock);
}

void la_watches_fini(la_host_t *host) {
  for (la_map_cell_t *c = NULL;
       (c = la_map_next(&host->watches, c)) != NULL;) {
    free_watch(c->value);
  }
  la_map_fini(&host->watches);
}

/* The watch of a process that has ended. */
static la_watch_t *await_end_locked(la_host_t *host, luactor_pid pid,
                                    uint64_t deadline, int *code)
    LA_REQUIRES(host->lock) {
  for (;;) {
    la_watch_t *w = la_id_kind(pid) == LA_ID_PID
                        ? la_map_get(&host->watches, pid)
                        : NULL;
    *code = 0;
    if (w == NULL) {
      *code = LUACTOR_ENOPROC;
    } else if (w->ended) {
      return w;
    } else if (atomic_load(&host->halting)) {
      *code = LUACTOR_ECLOSED; /* a halted host runs nothing any more */
    } else if (!la_step_wait(host, deadline)) {
      *code = LUACTOR_ETIMEOUT;
    }
    if (*code != 0) {
      return NULL;
    }
  }
}

/* Take the end out of the watch; without memory for it, it can be asked for again. */
static int take_locked(la_host_t *host, luactor_pid pid, la_watch_t *w,
                       luactor_value **reason) LA_REQUIRES(host->lock) {
  if (reason != NULL) {
    luactor_value *v = la_value_new(&w->reason->term, host->nonce);
    if (v == NULL) {
      return LUACTOR_ENOMEM;
    }
    v->error = w->error;
    w->error = NULL;
    *reason = v;
  }
  la_map_remove(&host->watches, pid);
  return 0;
}

int luactor_wait(luactor_host *host, luactor_pid pid, int ms,
                 luactor_value **reason) {
  if (host == NULL) {
    return LUACTOR_EINVAL;
  }
  if (la_embed_is_inside(host)) {
    return LUACTOR_ECALLER;
  }
  LA_WORK_FOR(host);
  int code;
  const uint64_t deadline = la_deadline_of(ms);
  la_lock(&host->lock);
  la_watch_t *w = await_end_locked(host, pid, deadline, &code);
  if (w != NULL) {
    code = take_locked(host, pid, w, reason);
  }
  la_unlock(&host->lock);
  if (w != NULL && code == 0) {
    free_watch(w);
  }
  return code;
}

const char *luactor_reason_error(const luactor_value *reason) {
  return reason != NULL ? reason->error : NULL;
}

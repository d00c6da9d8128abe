/* luactor.h: waiting for the end of processes.
 *
 * What is spawned to be waited for has a watch from before its first slice on. Its end
 * is kept there until somebody asks. Nothing is allocated when a process ends. */
#include <string.h>

#include "embed/spawn.h"
#include "embed/step.h"
#include "embed/value.h"

/* Under host->lock once it is in host->watches. */
struct la_watch {
  bool ended;
  la_reason_t *reason;
  char *error;
};

la_watch_t *la_watch_new(void) {
  return la_zalloc(sizeof(la_watch_t));
}

void la_watch_free(la_watch_t *w) {
  if (w != NULL) {
    la_reason_unref(w->reason);
    la_free(w->error);
    la_free(w);
  }
}

bool la_watch_begin(la_host_t *host, la_pid_t pid, la_watch_t *w) {
  la_lock(&host->lock);
  const bool ok = la_map_put(&host->watches, pid, w);
  la_unlock(&host->lock);
  return ok;
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
    la_watch_free(c->value);
  }
  la_map_fini(&host->watches);
}

/* The watch of a process that has ended, taken out. */
static la_watch_t *await_end_locked(la_host_t *host, luactor_pid pid,
                                    uint64_t deadline, int *code)
    LA_REQUIRES(host->lock) {
  for (;;) {
    la_watch_t *w = pid != LA_NO_ID ? la_map_get(&host->watches, pid) : NULL;
    *code = 0;
    if (w == NULL) {
      *code = LUACTOR_ENOPROC;
    } else if (w->ended) {
      return la_map_remove(&host->watches, pid);
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

/* Nothing is lost for want of memory: the watch goes back. */
static int give(la_host_t *host, luactor_pid pid, la_watch_t *w,
                luactor_value **reason) {
  luactor_value *v = la_value_new(&w->reason->term, host->nonce);
  if (v == NULL) {
    if (!la_watch_begin(host, pid, w)) {
      la_watch_free(w);
    }
    return LUACTOR_ENOMEM;
  }
  v->error = w->error;
  w->error = NULL;
  *reason = v;
  la_watch_free(w);
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
  la_unlock(&host->lock);
  if (w == NULL) {
    return code;
  }
  if (reason != NULL) {
    return give(host, pid, w, reason);
  }
  la_watch_free(w);
  return 0;
}

const char *luactor_reason_error(const luactor_value *reason) {
  return reason != NULL ? reason->error : NULL;
}

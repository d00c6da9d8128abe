/* luactor.h: the life of a host, and its doors for C threads. */
#include "luactor.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dist/dist.h"
#include "embed/spawn.h"
#include "embed/step.h"
#include "lib/lib_clib.h"
#include "proc/cbox.h"
#include "proc/crew.h"
#include "proc/host.h"
#include "sched/sched.h"
#include "term/layout.h"

#define DEFAULT_REDUCTIONS 4000
#define DEFAULT_PROCESSES (1u << 18) /* as Erlang */

_Static_assert(LUACTOR_MAX_PROCESSES == LA_ID_SLOT_MASK,
               "a process needs a slot of its own");

/* ---- configuration --------------------------------------------------------------- */

void luactor_config_init(luactor_config *config) {
  if (config != NULL) {
    memset(config, 0, sizeof *config);
    config->size = sizeof *config;
  }
}

static char *copy_text(const char *s, bool *ok) {
  char *copy = NULL;
  if (s != NULL) {
    copy = la_alloc(strlen(s) + 1);
    if (copy == NULL) {
      *ok = false;
    } else {
      strcpy(copy, s);
    }
  }
  return copy;
}

static bool copy_config(luactor_config *to, const luactor_config *from) {
  bool ok = true;
  *to = *from;
  to->lua_path = copy_text(from->lua_path, &ok);
  to->lua_cpath = copy_text(from->lua_cpath, &ok);
  if (to->schedulers <= 0) {
    const long n = sysconf(_SC_NPROCESSORS_ONLN);
    to->schedulers = n > 0 ? (int)n : 1;
  }
  if (to->schedulers > LUACTOR_MAX_SCHEDULERS) { /* so many processors */
    to->schedulers = LUACTOR_MAX_SCHEDULERS;
  }
  if (to->reductions <= 0) {
    to->reductions = DEFAULT_REDUCTIONS;
  }
  if (to->preempt == LUACTOR_PREEMPT_TICK && to->tick_signal == 0) {
    to->tick_signal = SIGURG;
  }
  if (to->max_processes == 0) {
    to->max_processes = DEFAULT_PROCESSES;
  }
  const char *images = getenv("LUACTOR_IMAGES");
  if (images != NULL && strcmp(images, "0") == 0) {
    to->no_images = 1;
  }
  const char *direct = getenv("LUACTOR_DIRECT");
  if (direct != NULL && strcmp(direct, "0") == 0) {
    to->no_direct = 1;
  }
  return ok;
}

static bool is_valid(const luactor_config *c) {
  return c != NULL && c->size == sizeof *c && c->schedulers >= 0 &&
         c->schedulers <= LUACTOR_MAX_SCHEDULERS && c->reductions >= 0 &&
         c->max_processes <= LUACTOR_MAX_PROCESSES &&
         (c->preempt == LUACTOR_PREEMPT_COUNT ||
          c->preempt == LUACTOR_PREEMPT_TICK) &&
         c->tick_signal >= 0 && c->tick_signal <= SIGRTMAX;
}

static void init_env(la_env_t *env, const luactor_config *c) {
  la_env_init_system(env);
  if (c->clock != NULL) {
    env->now_ns = c->clock;
    env->now_ud = c->clock_userdata;
    env->is_own = true;
  }
  if (c->random != NULL) {
    env->random = c->random;
    env->random_ud = c->random_userdata;
  }
  env->alloc = c->alloc;
  env->alloc_ud = c->alloc_userdata;
}

/* The host stands in the memory that it says how to get. */
static la_host_t *new_host(const luactor_config *config) {
  la_env_t env;
  la_here_t before;
  init_env(&env, config);
  la_here_enter(&env, &before);
  la_host_t *host = la_alloc_aligned(64, (sizeof *host + 63) / 64 * 64);
  la_here_leave(&before);
  if (host != NULL) {
    memset(host, 0, sizeof *host);
    host->env = env;
    la_env_init_system(&env);
    la_random(&env, &host->nonce, sizeof host->nonce);
    host->nonce |= 1;
  }
  return host;
}

static void free_host(la_host_t *host) {
  const la_env_t env = host->env;
  la_here_t before;
  la_here_enter(&env, &before);
  la_free_aligned(host);
  la_here_leave(&before);
}

/* All of a new host. */
static int init_host(la_host_t *host, const luactor_config *config) {
  LA_WORK_FOR(host);
  la_lock_init(&host->lock, LA_RANK_HOST);
  la_lock_init(&host->idle_lock, LA_RANK_IDLE);
  la_lock_init(&host->tick_lock, LA_RANK_PARK);
  la_cond_init(&host->changed);
  la_cond_init(&host->tick_cond);
  la_names_init(&host->names);
  la_nodewatches_init(&host->node_watches);
  la_crews_init(&host->crews);
  la_groups_init(&host->groups);
  la_cboxes_init(&host->cboxes);
  host->gate = la_gate_new(host);
  la_depot_init(&host->depot);
  la_pools_init(&host->pools, &host->env);
  la_blobs_init(&host->blobs);
  la_codes_init(&host->codes);
  la_templates_init(host);
  la_chunks_init(host);
  host->shells = la_pools_get(&host->pools, sizeof(la_proc_t), 64);
  const bool copied = copy_config(&host->config, config);
  const int logs = la_log_init(host, config->log_options);
  host->config.log_options = NULL; /* the caller's */
  host->nscheds = (uint32_t)host->config.schedulers;
  atomic_init(&host->nserved, 1);
  host->direct = !host->config.no_direct && la_layout_check();
  atomic_init(&host->image_state,
              host->config.no_images ? LA_IMAGE_NONE : LA_IMAGE_FIRST);
  if (!la_pidtab_init(&host->pids, host->config.max_processes) || !copied ||
      logs != 0 || host->shells == NULL ||
      host->gate == NULL || !la_state_prepare(host) ||
      !la_sched_init(host)) {
    return logs == LUACTOR_EINVAL ? LUACTOR_EINVAL : LUACTOR_ENOMEM;
  }
  return 0;
}

int luactor_open(const luactor_config *config, luactor_host **out) {
  if (!is_valid(config) || out == NULL) {
    return LUACTOR_EINVAL;
  }
  la_host_t *host = new_host(config);
  if (host == NULL) {
    return LUACTOR_ENOMEM;
  }
  const int code = init_host(host, config);
  if (code != 0) {
    luactor_close(host);
    return code;
  }
  *out = host;
  return 0;
}

/* ---- events ----------------------------------------------------------------------- */

static void set_done(la_host_t *host) {
  la_lock(&host->lock);
  host->done = true;
  pthread_cond_broadcast(&host->changed);
  la_unlock(&host->lock);
}

/* The schedulers leave. 'halted': by somebody's wish, with this status. */
static void leave(la_host_t *host, bool halted, int status) {
  if (!atomic_exchange(&host->halting, true) && halted) {
    atomic_store(&host->status, status);
    atomic_store(&host->halted, true);
  }
  set_done(host);
  la_sched_wake_all(host);
  la_cboxes_wake(&host->cboxes);
}

void la_host_halt(la_host_t *host, int status) {
  leave(host, true, status);
}

void luactor_halt(luactor_host *host, int status) {
  if (host != NULL) {
    LA_ENTER(host);
    la_host_halt(host, status);
  }
}

void la_host_process_ended(la_host_t *host) {
  if (atomic_load(&host->pids.nprocs) == 0 || atomic_load(&host->stopping)) {
    la_lock(&host->lock);
    const bool done = atomic_load(&host->pids.nprocs) == 0;
    host->done = host->done || done;
    pthread_cond_broadcast(&host->changed);
    la_unlock(&host->lock);
    if (done) {
      la_sched_tell_loop(host);
    }
  }
}

/* Who is inside the host must not wait for it. */
bool la_embed_is_inside(const la_host_t *host) {
  return la_here_is_in(&host->env);
}

int luactor_start(luactor_host *host) {
  if (host == NULL) {
    return LUACTOR_EINVAL;
  }
  int code = 0;
  la_lock(&host->lock);
  if (host->started) {
    code = LUACTOR_EBUSY;
  } else if (atomic_load(&host->halting)) {
    code = LUACTOR_ECLOSED;
  } else {
    host->started = true;
  }
  la_unlock(&host->lock);
  if (code != 0) {
    return code;
  }
  LA_WORK_FOR(host);
  return la_sched_start(host);
}

/* By the system's clock: it is a thread of the system that waits. */
uint64_t la_deadline_of(int ms) {
  return ms < 0 ? UINT64_MAX
                : la_clock_ns() + (uint64_t)ms * UINT64_C(1000000);
}

/* Under idle_lock, which ranks after host->lock. */
static bool is_stuck(la_host_t *host) {
  la_lock(&host->idle_lock);
  const bool stuck = host->stuck;
  la_unlock(&host->idle_lock);
  return stuck;
}

int luactor_wait_event(luactor_host *host, int ms) {
  if (host == NULL) {
    return LUACTOR_EINVAL;
  }
  if (la_embed_is_inside(host)) {
    return LUACTOR_ECALLER;
  }
  const uint64_t deadline = la_deadline_of(ms);
  int event = LUACTOR_EVENT_TIMEOUT;
  la_lock(&host->lock);
  for (;;) {
    if (!host->started) {
      event = LUACTOR_EINVAL;
      break;
    }
    if (host->done) {
      event = atomic_load(&host->halted) ? LUACTOR_EVENT_HALTED
                                         : LUACTOR_EVENT_DONE;
      break;
    }
    if (is_stuck(host)) {
      event = LUACTOR_EVENT_STUCK;
      break;
    }
    if (!la_step_wait(host, deadline)) {
      break;
    }
  }
  la_unlock(&host->lock);
  return event;
}

int luactor_run(luactor_host *host) {
  if (host != NULL && la_embed_is_inside(host)) {
    return LUACTOR_ECALLER;
  }
  const int code = luactor_start(host);
  if (code == LUACTOR_EINVAL || code == LUACTOR_ETHREAD) {
    return code;
  }
  la_lock(&host->lock);
  while (!host->done) {
    la_step_wait(host, UINT64_MAX);
  }
  la_unlock(&host->lock);
  return atomic_load(&host->status);
}

/* ---- stop ---------------------------------------------------------------------------- */

static void signal_all(la_host_t *host, bool roots_only, const char *reason) {
  const uint32_t n = la_pidtab_size(&host->pids);
  for (uint32_t i = 0; i < n; i++) {
    la_slot_t *s = la_pidtab_at(&host->pids, i);
    const la_id_t id = atomic_load(&s->id);
    if (la_id_kind(id) == LA_ID_PID &&
        (!roots_only || (atomic_load(&s->flags) & LA_SLOT_ROOT))) {
      la_proc_exit_signal(host, NULL, id, la_reason_text(reason));
    }
  }
}

/* Wait until the count is zero; false at the deadline. */
static bool wait_zero(la_host_t *host, _Atomic uint32_t *count,
                      uint64_t deadline) {
  bool ok = true;
  la_lock(&host->lock);
  while (ok && atomic_load(count) != 0 && !atomic_load(&host->halting)) {
    ok = la_step_wait(host, deadline);
  }
  la_unlock(&host->lock);
  return ok;
}

/* Enough on a busy machine; only a C call that does not return takes longer. */
#define KILL_NS UINT64_C(1000000000)
#define JOIN_NS UINT64_C(500000000)

static void stop_orderly(la_host_t *host, uint64_t deadline) {
  LA_WORK_FOR(host);
  atomic_store(&host->stopping, true);
  signal_all(host, true, "shutdown");
  if (wait_zero(host, &host->nroots, deadline)) {
    signal_all(host, false, "shutdown");
    if (wait_zero(host, &host->pids.nprocs, deadline)) {
      return;
    }
  }
  signal_all(host, false, "kill");
  wait_zero(host, &host->pids.nprocs, la_clock_ns() + KILL_NS);
}

/* One caller after the other. */
static int join_threads(la_host_t *host) {
  la_lock(&host->lock);
  while (host->joining) {
    la_cond_wait(&host->changed, &host->lock, UINT64_MAX);
  }
  bool joined = host->joined;
  host->joining = !joined;
  la_unlock(&host->lock);
  if (joined) {
    return 0;
  }
  const uint64_t deadline = la_clock_ns() + JOIN_NS;
  joined = la_sched_join(host, deadline) && la_step_join(host, deadline);
  la_lock(&host->lock);
  host->joining = false;
  host->joined = joined;
  pthread_cond_broadcast(&host->changed);
  la_unlock(&host->lock);
  return joined ? 0 : LUACTOR_ETIMEOUT;
}

int luactor_stop(luactor_host *host, int ms) {
  if (host == NULL) {
    return LUACTOR_EINVAL;
  }
  if (la_embed_is_inside(host)) {
    return LUACTOR_ECALLER;
  }
  la_lock(&host->lock);
  const bool running = host->started && !host->joined;
  la_unlock(&host->lock);
  if (running && !atomic_load(&host->halting) && ms > 0) {
    stop_orderly(host, la_deadline_of(ms));
  }
  LA_WORK_FOR(host);
  leave(host, false, 0);
  la_log_flush(host);
  return running ? join_threads(host) : 0;
}

/* Finalizers of the processes that are left run here, on the closing thread;
 * without memory for that they are left out. */
static void discard_processes(la_host_t *host) {
  la_thread_t *t = la_thread_new(host);
  la_visit_t before;
  if (t != NULL) {
    la_thread_enter(t, &before);
  }
  for (uint32_t i = 0; i < host->pids.nslots; i++) {
    la_slot_t *s = la_pidtab_at(&host->pids, i);
    if (atomic_load(&s->kind) == LA_SLOT_PROC) {
      la_proc_seal(s->proc);
    }
  }
  for (uint32_t i = 0; i < host->pids.nslots; i++) {
    la_slot_t *s = la_pidtab_at(&host->pids, i);
    if (atomic_load(&s->kind) == LA_SLOT_PROC) {
      s->proc->exec.has_finalizers &= t != NULL;
      la_proc_discard(s->proc);
    }
  }
  if (t != NULL) {
    la_thread_leave(&before);
    la_thread_free(t);
  }
}

static bool has_visitors(la_host_t *host) {
  return atomic_load(&host->nvisitors) != 0 ||
         atomic_load(&host->nguests) != 0;
}

/* A reading thread that has told of its line is gone in a moment, as is who calls from
 * outside; a thread that still reads is not. */
static bool wait_visitors(la_host_t *host) {
  for (int i = 0; i < 50 && has_visitors(host); i++) {
    usleep(1000);
  }
  return !has_visitors(host);
}

/* Nobody works for it any more. */
static void fini_host(la_host_t *host) {
  LA_WORK_FOR(host);
  if (host->gate != NULL) {
    la_gate_shut(host->gate);
  }
  la_dist_close(host);
  la_step_fini(host);
  discard_processes(host);
  la_sched_fini(host);
  la_crews_fini(&host->crews);
  la_groups_fini(&host->groups);
  la_cboxes_fini(&host->cboxes);
  la_gate_unref(host->gate);
  la_names_fini(&host->names);
  la_nodewatches_fini(&host->node_watches);
  la_pidtab_fini(&host->pids);
  la_depot_fini(&host->depot);
  la_embed_free(host);
  la_image_free(host->image);
  la_chunks_fini(host);
  la_templates_fini(host);
  la_state_forget(host);
  la_clib_forget_lua(host);
  la_codes_fini(&host->codes);
  la_blobs_fini(&host->blobs);
  la_pools_fini(&host->pools);
  la_watches_fini(host);
  /* The configuration's strings are the host's own. */
  union {
    const char *in;
    void *out;
  } path = {host->config.lua_path}, cpath = {host->config.lua_cpath};
  la_free(path.out);
  la_free(cpath.out);
  pthread_cond_destroy(&host->changed);
  pthread_cond_destroy(&host->tick_cond);
  la_log_fini(host);
  la_lock_fini(&host->lock);
  la_lock_fini(&host->idle_lock);
  la_lock_fini(&host->tick_lock);
}

int luactor_close(luactor_host *host) {
  if (host == NULL) {
    return 0;
  }
  const int code = luactor_stop(host, 0);
  if (code != 0) {
    return code; /* a C call still runs on its memory: it cannot be freed */
  }
  if (!wait_visitors(host)) {
    return LUACTOR_ETIMEOUT; /* a thread waits for a line and will tell the host */
  }
  fini_host(host);
  free_host(host);
  return 0;
}

/* ---- reports -------------------------------------------------------------------------------------- */

/* Only called while the host is stuck: every process is parked and stays so as
 * long as nobody sends to it. */
char *luactor_waiting(luactor_host *host) {
  size_t len = 0, cap = 256;
  char *out = host != NULL ? malloc(cap) : NULL;
  if (out == NULL) {
    return NULL;
  }
  LA_ENTER(host);
  out[0] = '\0';
  const uint32_t n = la_pidtab_size(&host->pids);
  for (uint32_t i = 0; i < n; i++) {
    la_slot_t *s = la_pidtab_at(&host->pids, i);
    const la_id_t id = atomic_load(&s->id);
    if (la_id_kind(id) != LA_ID_PID ||
        atomic_load(&s->inbox) != LA_INBOX_PARKED) {
      continue;
    }
    char pid[48], name[256] = "", where[256], line[640];
    la_id_print(id, pid);
    la_names_of(&host->names, id, name, sizeof name);
    la_proc_where(s->proc, where, sizeof where);
    const int k = snprintf(line, sizeof line, "  %s%s%s at %s\n", pid,
                           name[0] ? " " : "", name, where[0] ? where : "?");
    if (len + (size_t)k + 1 > cap) {
      cap = (cap + (size_t)k) * 2;
      char *more = realloc(out, cap);
      if (more == NULL) {
        free(out);
        return NULL;
      }
      out = more;
    }
    memcpy(out + len, line, (size_t)k + 1);
    len += (size_t)k;
  }
  return out;
}

size_t luactor_process_count(luactor_host *host) {
  return host != NULL ? atomic_load(&host->pids.nprocs) : 0;
}

const char *luactor_strerror(int code) {
  switch (code) {
    case 0:
      return "no error";
#define X(sym, num, text) \
  case num:               \
    return text;
      LUACTOR_ERRORS(X)
#undef X
    default:
      return "unknown error";
  }
}

const char *luactor_version(void) {
  return LUACTOR_VERSION;
}

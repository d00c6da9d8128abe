/* luactor._core: what the Lua modules of lualib need beyond the public API. Not
 * for programs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/lib_core.h"
#include "lib/lib_start.h"
#include "lib/lib_template.h"
#include "sched/sched.h"

/* ---- scopes (luactor._scope) ------------------------------------------------- */

static int scope_new(lua_State *L) {
  la_push_id(L, la_new_ref(la_proc_of(L)->host));
  return 1;
}

/* scope_kill(scope): end its children; their ends are no fault of the scope's. */
static int scope_kill(lua_State *L) {
  la_proc_t *p = la_proc_of(L);
  const la_id_t scope = la_to_id(L, 1);
  la_reason_t *kill = la_reason_text("kill");
  for (la_map_cell_t *c = NULL; (c = la_map_next(&p->links, c)) != NULL;) {
    la_note_t *entry = c->value;
    if ((entry->sig.flags & LA_SIG_SCOPE) && entry->ref == scope &&
        !(entry->sig.flags & LA_SIG_FORCED)) {
      entry->sig.flags |= LA_SIG_FORCED;
      if (!la_proc_exit_signal(p->host, p, entry->peer, kill)) {
        entry->sig.flags &= (uint8_t)~LA_SIG_FORCED;
        return luaL_error(L, "not enough memory");
      }
    }
  }
  return 0;
}

static int scope_wait_k(lua_State *L, int status, lua_KContext ctx) {
  la_proc_t *p = la_proc_of(L);
  (void)status;
  (void)ctx;
  if (p->wait.kind == LA_WAIT_SCOPE) {
    la_wait_clear(p);
  }
  lua_pushboolean(L, p->scope_fault == NULL &&
                         la_map_get(&p->scopes, la_to_id(L, 1)) == NULL);
  return 1;
}

/* scope_wait(scope): true when all children have ended, false when one has
 * crashed meanwhile (ask scope_fault). */
static int scope_wait(lua_State *L) {
  la_proc_t *p = la_proc_of(L);
  const la_id_t scope = la_to_id(L, 1);
  la_serve_now(L, p);
  if (p->scope_fault != NULL || la_map_get(&p->scopes, scope) == NULL) {
    return scope_wait_k(L, LUA_OK, 0);
  }
  la_check_wait(L, "scope");
  la_wait_start(p, LA_WAIT_SCOPE, UINT64_MAX);
  p->wait.ref = scope;
  return la_suspend(L, 0, scope_wait_k);
}

static int raise_fault_call(lua_State *L) {
  la_raise_fault(L, la_proc_of(L));
  return 0;
}

/* scope_fault(): whether a child has crashed, and with what; forgets it. */
static int scope_fault(lua_State *L) {
  if (la_proc_of(L)->scope_fault == NULL) {
    lua_pushboolean(L, 0);
    return 1;
  }
  lua_pushcfunction(L, raise_fault_call);
  lua_pcall(L, 0, 0, 0);
  lua_pushboolean(L, 1);
  lua_insert(L, -2);
  return 2;
}

/* schedulers(): how many threads serve the host's schedulers. */
static int schedulers(lua_State *L) {
  lua_pushinteger(L, atomic_load(&la_proc_of(L)->host->nserved));
  return 1;
}

/* ---- waiting for a line ---------------------------------------------------------- */

typedef struct la_line {
  la_host_t *host;
  la_note_t *note; /* RESUME; its 'name' will be the line */
  char *prompt;
} la_line_t;

/* getline's memory is malloced; the note's text is la_alloc'ed. */
static char *read_line(const char *prompt) {
  char *line = NULL, *copy = NULL;
  size_t cap = 0;
  fputs(prompt, stdout);
  fflush(stdout);
  ssize_t n = getline(&line, &cap, stdin);
  if (n >= 0) {
    if (n > 0 && line[n - 1] == '\n') {
      n--;
    }
    copy = la_alloc((size_t)n + 1);
    if (copy != NULL) {
      memcpy(copy, line, (size_t)n);
      copy[n] = '\0';
    }
  }
  free(line);
  return copy;
}

static void *line_main(void *arg) {
  la_line_t *job = arg;
  la_here_t nobody;
  la_here_enter(&job->host->env, &nobody);
  job->note->name = read_line(job->prompt);
  la_signal(job->host, &job->note->sig);
  la_host_idle(job->host);
  atomic_fetch_sub(&job->host->nvisitors, 1); /* the last touch of the host */
  la_free(job->prompt);
  la_free(job);
  return NULL;
}

static int readline_k(lua_State *L, int status, lua_KContext ctx) {
  la_proc_t *p = la_proc_of(L);
  (void)status;
  (void)ctx;
  const la_note_t *n = (const la_note_t *)p->wait.answer;
  lua_pushstring(L, n != NULL ? n->name : NULL);
  la_wait_clear(p);
  return 1;
}

/* readline(prompt): a line of standard input without its end, or nil. Suspends
 * only the caller; the reading thread counts as work that may wake it. */
static int readline(lua_State *L) {
  la_proc_t *p = la_proc_of(L);
  size_t len;
  const char *prompt = luaL_checklstring(L, 1, &len);
  la_check_wait(L, "readline");
  la_line_t *job = la_zalloc(sizeof *job);
  la_note_t *n = la_note_new(LA_SIG_RESUME, p->pid, LA_NO_ID);
  char *copy = la_alloc(len + 1);
  if (job == NULL || n == NULL || copy == NULL) {
    la_free(job);
    if (n != NULL) {
      la_sig_free(&n->sig);
    }
    la_free(copy);
    return luaL_error(L, "not enough memory");
  }
  memcpy(copy, prompt, len + 1);
  n->ref = la_new_ref(p->host);
  *job = (la_line_t){p->host, n, copy};
  la_wait_start(p, LA_WAIT_TOKEN, UINT64_MAX);
  p->wait.ref = n->ref;
  la_host_busy(p->host);
  atomic_fetch_add(&p->host->nvisitors, 1);
  pthread_t id;
  if (pthread_create(&id, NULL, line_main, job) != 0) {
    la_wait_clear(p);
    la_host_idle(p->host);
    atomic_fetch_sub(&p->host->nvisitors, 1);
    la_free(job);
    la_free(copy);
    la_sig_free(&n->sig);
    return luaL_error(L, "cannot start a thread");
  }
  pthread_detach(id);
  return la_suspend(L, 0, readline_k);
}

/* ---- the last function of a process (luactor._behaviour) -------------------------- */

/* last(f): when the process ends by an error or by actor.exit(reason) of its own,
 * f(reason) runs before it is gone, as ordinary code of the process. last(nil): no. */
static int last(lua_State *L) {
  if (!lua_isnoneornil(L, 1)) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
  }
  lua_settop(L, 1);
  la_set_last(L, 1);
  return 0;
}

/* report([state]): the end of the process, which is near, deserves a crash report, which
 * shows this state. */
static int report(lua_State *L) {
  la_proc_t *p = la_proc_of(L);
  p->report = true;
  if (!lua_isnoneornil(L, 1) &&
      la_log_wants(&p->host->log, LUACTOR_LOG_ERROR)) {
    la_encoder_t *e = la_begin_encode(L);
    la_encode_or_raise(L, e, 1, "state");
    la_term_t t;
    la_encoder_term(e, &t);
    la_reason_unref(p->state);
    p->state = la_reason_new(&t); /* NULL: the report does without */
    la_encoder_end(e);
  }
  return 0;
}

/* has_image(name): would a process that is spawned by "name.function" begin with the
 * module loaded? */
static int has_image(lua_State *L) {
  lua_pushboolean(L, la_template_has_module(la_proc_of(L)->host,
                                            luaL_checkstring(L, 1)));
  return 1;
}

#ifdef LUACTOR_FAIL_ALLOC
/* fail_after(n): the n-th allocation from now on and all after it fail; -1:
 * none. Returns whether one had failed since the last call. */
static int fail_after(lua_State *L) {
  lua_pushboolean(L, la_alloc_has_failed());
  la_alloc_countdown((long)luaL_checkinteger(L, 1));
  return 1;
}
#endif

void la_open_inner(lua_State *L) {
  static const luaL_Reg funcs[] = {
      {"scope_new", scope_new},
      {"scope_spawn", la_spawn_scoped},
      {"scope_kill", scope_kill},
      {"scope_wait", scope_wait},
      {"scope_fault", scope_fault},
      {"spawn_root", la_spawn_root},
      {"spawn_tied", la_spawn_tied},
      {"tie", la_tie_process},
      {"task_mailbox", la_task_mailbox},
      {"home", la_node_home},
      {"node_name", la_node_name},
      {"traps_exit", la_traps_exit},
      {"schedulers", schedulers},
      {"last", last},
      {"report", report},
      {"has_image", has_image},
      {"reply_once", la_reply_once},
      {"caller", la_method_caller},
#ifdef LUACTOR_FAIL_ALLOC
      {"fail_after", fail_after},
#endif
      {NULL, NULL},
  };
  luaL_setfuncs(L, funcs, 0);
  if (!la_lazy_is_shut(L)) {
    lua_pushcfunction(L, readline);
    lua_setfield(L, -2, "readline");
    la_open_log(L);
  }
  la_open_pool(L);
}

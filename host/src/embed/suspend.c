/* luactor.h: C functions that wait without holding a scheduler.
 *
 * A token stands between a process and whoever will resume it, and may outlive both:
 * it reaches the host through its gate. It holds the RESUME signal that the process will
 * get, so that resuming allocates only the value. The process knows its token by a
 * reference; a signal for another one, an older token perhaps, is dropped. When the
 * signal comes before the process waits for it, it is kept (la_proc_t.resumed).
 *
 * As long as a token may still be resumed, the host is not stuck: la_host_busy. */
#include <lauxlib.h>

#include "embed/send.h"
#include "embed/state.h"
#include "lib/lib_core.h"
#include "proc/gate.h"
#include "sched/sched.h"

struct luactor_token {
  la_gate_t *gate; /* its lock guards the rest */
  la_note_t *note; /* NULL: resumed */
};

/* ---- the process ------------------------------------------------------------------ */

int luactor_suspend(lua_State *L, luactor_token **token) {
  la_proc_t *p = la_process_here(L);
  if (p == NULL) {
    return LUACTOR_ECALLER;
  }
  if (token == NULL) {
    return LUACTOR_EINVAL;
  }
  if (!la_can_yield(L) || p->in_guard) {
    return LUACTOR_ENOWAIT;
  }
  luactor_token *t = la_alloc(sizeof *t);
  la_note_t *n = la_note_new(LA_SIG_RESUME, p->pid, LA_NO_ID);
  if (t == NULL || n == NULL) {
    la_free(t);
    if (n != NULL) {
      la_sig_free(&n->sig);
    }
    return LUACTOR_ENOMEM;
  }
  if (p->resumed != NULL) { /* of a token that was not waited for */
    la_sig_free(p->resumed);
    p->resumed = NULL;
  }
  n->ref = p->token = la_new_ref(p->host);
  t->gate = la_gate_ref(p->host->gate);
  t->note = n;
  la_host_busy(p->host);
  *token = t;
  return 0;
}

/* Push what the process was resumed with, or raise it. */
static int resumed(lua_State *L, la_proc_t *p, la_sig_t *sig) {
  const la_reason_t *r = ((const la_note_t *)sig)->reason;
  const bool is_error = sig->flags & LA_SIG_AS_ERROR;
  la_hold(p, sig); /* decoding may raise */
  p->token = LA_NO_ID;
  if (r == NULL) {
    lua_pushnil(L);
  } else if (!la_decode(L, &r->term, LA_TERM_LOCAL)) {
    return lua_error(L);
  }
  la_unhold(p, sig);
  la_sig_free(sig);
  return is_error ? lua_error(L) : 1;
}

static int await_k(lua_State *L, int status, lua_KContext ctx) {
  la_proc_t *p = la_proc_of(L);
  (void)status;
  (void)ctx;
  la_sig_t *sig = p->wait.answer;
  p->wait.answer = NULL;
  la_wait_clear(p);
  return sig != NULL ? resumed(L, p, sig)
                     : luaL_error(L, "luactor_await: not resumed");
}

int luactor_await(lua_State *L) {
  if (L == NULL) {
    return LUACTOR_ECALLER; /* nowhere to raise an error */
  }
  la_proc_t *p = la_process_here(L);
  if (p == NULL || p->token == LA_NO_ID) {
    return luaL_error(L, "luactor_await without luactor_suspend");
  }
  la_check_wait(L, "luactor_await");
  lua_settop(L, 0);
  la_serve_now(L, p);
  la_sig_t *sig = p->resumed;
  if (sig != NULL) {
    p->resumed = NULL;
    return resumed(L, p, sig);
  }
  la_wait_start(p, LA_WAIT_TOKEN, UINT64_MAX);
  p->wait.ref = p->token;
  return la_suspend(L, 0, await_k);
}

/* ---- whoever has the token ------------------------------------------------------------ */

/* Under the gate. */
static int send_locked(la_host_t *host, luactor_token *t, la_reason_t *r,
                       bool is_error) {
  la_note_t *n = t->note;
  t->note = NULL;
  n->reason = r;
  n->sig.flags |= is_error ? LA_SIG_AS_ERROR : 0;
  const bool sent = luactor_is_alive(host, n->sig.to) &&
                    la_signal_try(host, &n->sig);
  if (!sent) {
    la_sig_free(&n->sig);
  }
  la_host_idle(host);
  return sent ? 0 : LUACTOR_ENOPROC;
}

static int resume(luactor_token *t, const luactor_value *value,
                  bool is_error) {
  if (t == NULL) {
    return LUACTOR_EINVAL;
  }
  int code = 0;
  la_host_t *host = la_gate_enter(t->gate);
  if (t->note == NULL) {
    code = LUACTOR_EDONE;
  } else if (host == NULL || atomic_load(&host->halting)) {
    code = LUACTOR_ECLOSED;
  } else {
    LA_ENTER(host);
    la_reason_t *r = NULL;
    code = value != NULL ? la_reason_of(host, value, &r) : 0;
    if (code == 0) {
      code = send_locked(host, t, r, is_error);
    }
  }
  la_gate_leave(t->gate);
  return code;
}

int luactor_resume(luactor_token *token, const luactor_value *value) {
  return resume(token, value, false);
}

int luactor_resume_error(luactor_token *token, const luactor_value *value) {
  return resume(token, value, true);
}

void luactor_token_free(luactor_token *t) {
  if (t == NULL) {
    return;
  }
  la_host_t *host = la_gate_enter(t->gate);
  if (t->note != NULL && host != NULL) {
    LA_ENTER(host);
    send_locked(host, t, la_reason_text("abandoned"), true);
  } else if (t->note != NULL) {
    la_sig_free(&t->note->sig);
  }
  la_gate_leave(t->gate);
  la_gate_unref(t->gate);
  la_free(t);
}

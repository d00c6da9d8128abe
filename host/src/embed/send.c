/* luactor.h: messages and signals from any thread. */
#include "embed/send.h"

#include <string.h>

#include "dist/dist.h"
#include "sched/sched.h"
#include "term/tag.h"
#include "term/wire.h"

/* The process of this host whose code the caller is, or NULL. */
static la_proc_t *here_in(const la_host_t *host) {
  const la_thread_t *t = la_thread_self();
  return t != NULL && t->host == host ? (la_proc_t *)t->exec : NULL;
}

int la_send_msg(la_host_t *host, la_proc_t *from, la_msg_t *m) {
  const la_id_t to = m->sig.to; /* a proxy: held until it is sent */
  int code = LUACTOR_EFULL;
  if (atomic_load(&host->halting)) {
    code = LUACTOR_ECLOSED;
  } else {
    switch (la_send(host, from, m)) {
      case LA_SENT:
      case LA_SEND_NOPROC:
        la_dist_release(host, to);
        return 0;
      case LA_SEND_UNFIT:
        code = LUACTOR_ETYPE;
        break;
      case LA_SEND_FULL:
      case LA_SEND_WAIT:
        break;
    }
  }
  la_dist_release(host, to);
  la_sig_free(&m->sig);
  return code;
}

int la_send_value(la_host_t *host, la_proc_t *from, luactor_pid to,
                  const luactor_value *value) {
  if (!la_id_has_slot(to) || value == NULL) {
    return LUACTOR_EINVAL;
  }
  if (!la_value_fits(value, host)) {
    return LUACTOR_ETYPE;
  }
  la_msg_t *m = la_msg_new(&value->whole.term, to,
                           from != NULL ? from->pid : LA_NO_ID);
  return m != NULL ? la_send_msg(host, from, m) : LUACTOR_ENOMEM;
}

int luactor_send(luactor_host *host, luactor_pid to,
                 const luactor_value *value) {
  if (host == NULL) {
    return LUACTOR_EINVAL;
  }
  LA_ENTER(host);
  return la_send_value(host, here_in(host), to, value);
}

int luactor_send_string(luactor_host *host, luactor_pid to, const char *bytes,
                        size_t len) {
  if (host == NULL || !la_id_has_slot(to) || (bytes == NULL && len > 0) ||
      len > LA_TERM_MAX_BYTES - 8) {
    return LUACTOR_EINVAL;
  }
  luactor_value *v;
  int code = luactor_make(&v, "S", bytes, len);
  if (code == 0) {
    code = luactor_send(host, to, v);
    luactor_value_free(v);
  }
  return code;
}

/* ---- names ----------------------------------------------------------------------- */

int luactor_whereis(luactor_host *host, const char *name, luactor_pid *pid) {
  if (host == NULL || name == NULL) {
    return LUACTOR_EINVAL;
  }
  const la_pid_t found = la_names_find(&host->names, name);
  if (found == LA_NO_ID) {
    return LUACTOR_ENOPROC;
  }
  if (pid != NULL) {
    *pid = found;
  }
  return 0;
}

int luactor_register(luactor_host *host, const char *name, luactor_pid pid) {
  if (host == NULL || name == NULL || name[0] == '\0' ||
      la_id_kind(pid) != LA_ID_PID) {
    return LUACTOR_EINVAL;
  }
  LA_ENTER(host);
  switch (la_names_add(&host->names, &host->pids, name, pid)) {
    case LA_NAME_OK:
      return 0;
    case LA_NAME_TAKEN:
    case LA_NAME_HAS_ONE:
      return LUACTOR_ENAME;
    case LA_NAME_NOPROC:
      return LUACTOR_ENOPROC;
    case LA_NAME_NOMEM:
      break;
  }
  return LUACTOR_ENOMEM;
}

int luactor_unregister(luactor_host *host, const char *name) {
  if (host == NULL || name == NULL) {
    return LUACTOR_EINVAL;
  }
  LA_ENTER(host);
  return la_names_remove(&host->names, name) ? 0 : LUACTOR_ENOPROC;
}

int luactor_is_alive(luactor_host *host, luactor_pid pid) {
  if (host == NULL || la_id_kind(pid) != LA_ID_PID) {
    return 0;
  }
  const la_slot_t *s = la_pidtab_slot(&host->pids, pid);
  return s != NULL && la_slot_is(s, pid);
}

size_t luactor_print_pid(luactor_pid pid, char *out, size_t size) {
  char text[48] = "";
  if (out == NULL || size == 0) {
    return 0;
  }
  size_t n = la_id_kind(pid) != LA_ID_NONE ? la_id_print(pid, text) : 0;
  n = n < size ? n : size - 1;
  memcpy(out, text, n);
  out[n] = '\0';
  return n;
}

/* ---- exit signals ------------------------------------------------------------------ */

int la_reason_of(const la_host_t *host, const luactor_value *value,
                 la_reason_t **out) {
  if (value == NULL) {
    *out = la_reason_text("normal");
    return 0;
  }
  if (!la_value_fits(value, host)) {
    return LUACTOR_ETYPE;
  }
  *out = la_reason_new(&value->whole.term);
  return *out != NULL ? 0 : LUACTOR_ENOMEM;
}

int luactor_exit(luactor_host *host, luactor_pid pid,
                 const luactor_value *reason) {
  if (host == NULL || la_id_kind(pid) != LA_ID_PID) {
    return LUACTOR_EINVAL;
  }
  LA_ENTER(host);
  la_reason_t *r;
  const int code = la_reason_of(host, reason, &r);
  if (code != 0) {
    return code;
  }
  const bool ok = la_proc_exit_signal(host, here_in(host), pid, r);
  la_reason_unref(r);
  return ok ? 0 : LUACTOR_ENOMEM;
}

/* ---- answers --------------------------------------------------------------------------- */

int luactor_is_call(luactor_view message, luactor_view *from,
                    luactor_view *request) {
  luactor_view tag, who, what;
  if (luactor_get_index(message, 1, &tag) != 0 ||
      !luactor_is_text(tag, "$gen_call") ||
      luactor_get_index(message, 2, &who) != 0 ||
      luactor_get_index(message, 3, &what) != 0) {
    return 0;
  }
  if (from != NULL) {
    *from = who;
  }
  if (request != NULL) {
    *request = what;
  }
  return 1;
}

/* The proxy of a process or alias of another node, with a hold, or LA_NO_ID. */
static la_id_t remote(la_host_t *host, luactor_view view) {
  const uint8_t *p;
  const la_whole_t *w = la_view_whole(view, &p);
  la_wire_id_t id;
  if (w == NULL || (*p != LA_TAG_PID && *p != LA_TAG_REFERENCE)) {
    return LA_NO_ID;
  }
  la_wire_id_read(p, la_skip(p), &id);
  return la_dist_proxy(host, &id, NULL, NULL);
}

/* To a process of another node: to the alias of [alias|Ref], else to the pid. */
static la_id_t remote_caller(la_host_t *host, luactor_view pid,
                             luactor_view tag) {
  const uint8_t *p;
  const la_whole_t *w = la_view_whole(tag, &p);
  if (w != NULL && *p == LA_TAG_CONS) {
    uint64_t n = la_get32(p + 1);
    for (p += 5; n > 0; n--) {
      p = la_skip(p);
    }
    const la_id_t to = remote(host, (luactor_view){w, p, 0});
    if (to != LA_NO_ID) {
      return to;
    }
  }
  return remote(host, pid);
}

/* { tag, value } */
static int answer_msg(luactor_view tag, const luactor_value *value,
                      la_id_t self, la_id_t to, la_msg_t **out) {
  luactor_builder *b = luactor_builder_new();
  luactor_value *v = NULL;
  la_build_list(b);
  luactor_build_view(b, tag);
  if (value != NULL) {
    luactor_build_view(b, luactor_view_of(value));
  } else {
    luactor_build_nil(b);
  }
  luactor_build_end(b);
  int code = luactor_build_finish(b, &v);
  luactor_builder_free(b);
  if (code == 0) {
    *out = la_msg_new(&v->whole.term, to, self);
    code = *out != NULL ? 0 : LUACTOR_ENOMEM;
  }
  luactor_value_free(v);
  return code;
}

int la_answer_new(la_host_t *host, luactor_view from,
                  const luactor_value *value, la_id_t self, la_msg_t **out) {
  luactor_view pid, tag;
  if (luactor_get_index(from, 1, &pid) != 0 ||
      luactor_get_index(from, 2, &tag) != 0) {
    return LUACTOR_EINVAL;
  }
  if (value != NULL && !la_value_fits(value, host)) {
    return LUACTOR_ETYPE;
  }
  la_id_t to = LA_NO_ID, alias = LA_NO_ID;
  const int type = luactor_type(pid);
  if (type == LUACTOR_TYPE_OTHER) {
    to = remote_caller(host, pid, tag);
  } else {
    luactor_get_pid(pid, &to);
    if (luactor_get_pid(tag, &alias) == 0 &&
        la_id_kind(alias) == LA_ID_ALIAS) {
      to = alias;
    }
    if (to == LA_NO_ID) {
      return LUACTOR_EINVAL;
    }
  }
  *out = NULL;
  if (to == LA_NO_ID) {
    return 0; /* nobody there */
  }
  int code = answer_msg(tag, value, self, to, out);
  if (code == 0) {
    (*out)->sig.flags |= LA_SIG_NO_LIMIT;
  } else if (la_id_kind(to) == LA_ID_PROXY) {
    la_dist_release(host, to);
  }
  return code;
}

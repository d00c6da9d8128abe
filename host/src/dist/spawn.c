/* Processes that one node starts on another: SPAWN_REQUEST and SPAWN_REPLY.
 *
 * Asking. A request is written only while the connection stands, so that it is
 * known at once whether it can travel; who has none connects first (lib_far.c). The
 * entry in c->spawns holds all signals that may become necessary, made before the
 * request leaves: a LINK as if the new process had linked itself, which comes
 * first, and SPAWNED, which completes the monitor that the asking process has
 * kept ready under the request's reference, and wakes it. Who has ended meanwhile
 * refuses both, so that the new process loses its link and its monitor. Nothing of
 * the new process can come before these: its node sends the reply first.
 *
 * Being asked. What may be started is said by dist/policy.h. The process is
 * made, tied to the asking one and answered for before anybody runs it. What is
 * refused gives a process as well, which ends at once with
 * {undef, [{Module, Function, Arguments, []}]}, as in Erlang: so who asked for a link or
 * a monitor hears of it, and spawn itself does not fail. */
#include <stdio.h>
#include <string.h>

#include "base/env.h"
#include "dist/inner.h"
#include "dist/policy.h"
#include "term/tag.h"

#define MOST_PENDING 65536 /* requests to one node without an answer */

/* ---- asking --------------------------------------------------------------- */

static void out_free(la_spawn_out_t *o) {
  if (o == NULL) {
    return;
  }
  if (o->note != NULL) {
    la_sig_free(&o->note->sig);
  }
  if (o->link != NULL) {
    la_sig_free(&o->link->sig);
  }
  la_free(o->watch);
  la_free(o);
}

static la_spawn_out_t *out_new(const la_far_spawn_t *s) {
  la_spawn_out_t *o = la_zalloc(sizeof *o);
  if (o == NULL) {
    return NULL;
  }
  o->ref = s->ref;
  o->local = s->from;
  o->note = la_note_new(LA_SIG_SPAWNED, s->from, LA_NO_ID);
  o->link = s->options.link ? la_note_new(LA_SIG_LINK, s->from, LA_NO_ID) : NULL;
  o->watch = s->options.monitor ? la_zalloc(sizeof *o->watch) : NULL;
  if (o->note == NULL || (s->options.link && o->link == NULL) ||
      (s->options.monitor && o->watch == NULL)) {
    out_free(o);
    return NULL;
  }
  o->note->ref = s->ref;
  return o;
}

static bool write_request(la_dist_t *d, la_conn_t *c, const la_far_spawn_t *s,
                          char *why, size_t max) {
  const la_pid_t leader = atomic_load(&d->leader);
  la_control_t k = {.op = LA_CTL_SPAWN_REQUEST,
                    .from = la_bond_here(d, s->from),
                    .options = s->options,
                    .module = s->module,
                    .function = s->function,
                    .arity = s->arity};
  la_bond_ref(d, s->ref, &k.ref);
  k.leader = la_bond_here(d, leader != LA_NO_ID ? leader : s->from).id;
  la_buf_t b = {0};
  la_term_t t;
  la_control_write(&b, &k);
  la_msg_term(s->arguments, &t);
  const bool ok = !b.failed && la_conn_packet(c, s->from, &b, &t,
                                              LA_EXPORT_VALUE, why, max);
  if (b.failed) {
    snprintf(why, max, "not enough memory");
  }
  la_buf_free(&b);
  return ok;
}

la_sent_t la_dist_spawn(la_host_t *host, const la_far_spawn_t *s, char *why,
                        size_t max) {
  la_dist_t *d = host->dist;
  if (d == NULL) {
    return LA_SEND_NOPROC;
  }
  la_sent_t result = LA_SEND_UNFIT;
  la_lock(&d->lock);
  la_conn_t *c = la_conn_find(d, s->node);
  if (c == NULL || c->state != CONN_UP) {
    result = LA_SEND_NOPROC;
  } else if (!(c->peer.flags & LA_DF_SPAWN)) {
    snprintf(why, max, "notsup");
  } else if (c->spawns.count >= MOST_PENDING) {
    snprintf(why, max, "system_limit");
  } else {
    la_spawn_out_t *o = out_new(s);
    if (o == NULL || !la_map_put(&c->spawns, s->ref, o)) {
      snprintf(why, max, "not enough memory");
      out_free(o);
    } else if (write_request(d, c, s, why, max)) {
      result = LA_SENT;
    } else {
      la_map_remove(&c->spawns, s->ref);
      out_free(o);
    }
  }
  la_unlock(&d->lock);
  return result;
}

/* The note tells what went wrong; takes 'o' over. */
static void fail_out(la_spawn_out_t *o, const void *why, size_t n,
                     la_told_t *told) {
  o->note->name = la_alloc(n + 1);
  if (o->note->name != NULL) {
    memcpy(o->note->name, why, n);
    o->note->name[n] = '\0';
  }
  la_told_add(told, &o->note->sig);
  o->note = NULL;
  out_free(o);
}

void la_spawn_lost(la_conn_t *c, la_told_t *told) {
  la_map_cell_t *cell;
  while ((cell = la_map_next(&c->spawns, NULL)) != NULL) {
    la_spawn_out_t *o = cell->value;
    la_map_remove(&c->spawns, o->ref);
    fail_out(o, "noconnection", 12, told);
  }
}

/* It runs there, as 'x'. False: memory. */
static bool bind(la_in_t *i, la_spawn_out_t *o, la_proxy_t *x) {
  if (o->watch != NULL) {
    *o->watch = (la_watch_out_t){o->ref, x->id, o->local, NULL};
    if (!la_map_put(&i->c->monitors, o->ref, o->watch)) {
      return false;
    }
    o->watch = NULL;
    x->holds++;
    o->note->sig.flags |= LA_SIG_WATCHED;
    o->note->sig.from = x->id;
  }
  if (o->link != NULL) {
    if (!la_bond_tie(x, o->local)) {
      return false;
    }
    o->link->sig.from = x->id;
    o->link->who = la_proxy_who(x);
    la_told_add(&i->told, &o->link->sig);
    o->link = NULL;
  }
  return true;
}

void la_spawn_replied(la_in_t *i) {
  const la_id_t ref = la_inbound_ours(i, &i->k.ref);
  la_spawn_out_t *o =
      ref != LA_NO_ID ? la_map_remove(&i->c->spawns, ref) : NULL;
  if (o == NULL) {
    return; /* not ours, or of an earlier connection */
  }
  if (i->k.from.is_name) {
    fail_out(o, i->k.from.name, i->k.from.name_len, &i->told);
    return;
  }
  la_proxy_t *x = la_proxy_get(i->d, &i->k.from.id, i->c->node, NULL);
  if (x == NULL) {
    fail_out(o, "not enough memory", 17, &i->told);
    return;
  }
  x->holds++;
  o->note->who = la_proxy_who(x);
  if (o->note->who != NULL && bind(i, o, x)) {
    la_told_add(&i->told, &o->note->sig);
    o->note = NULL;
    out_free(o);
  } else {
    /* Nobody will hear of it: it shall not stay. */
    const la_control_t k = {.op = LA_CTL_PAYLOAD_EXIT2,
                            .from = la_bond_here(i->d, o->local),
                            .to = la_bond_there(x)};
    la_bond_emit(i->c, &k, la_reason_text("kill"));
    la_bond_unwatch(i->d, i->c, ref);
    o->note->sig.flags = 0;
    fail_out(o, "not enough memory", 17, &i->told);
  }
  la_proxy_let_go(i->d, x);
}

/* ---- being asked ------------------------------------------------------------ */

typedef struct asked {
  la_imported_t in; /* the arguments: a list */
  la_term_t args;
  char module[1100], function[1100], call[2300]; /* texts of atoms, NUL-ended */
  char name[LA_CTL_TEXT_MAX + 1], label[LA_CTL_TEXT_MAX + 1];
  la_spawn_opts_t o;
  uint8_t gc;
  la_trust_t trust;
  const char *body; /* our function that does what was asked */
} asked_t;

static void copy_text(char *to, size_t max, const la_ctl_text_t *t) {
  snprintf(to, max, "%.*s", (int)t->len, (const char *)t->text);
}

/* Which of the names is it? -1: none. */
static int choice(const la_ctl_text_t *t, const char *const *names, int n) {
  for (int i = 0; i < n; i++) {
    if (strlen(names[i]) == t->len && memcmp(names[i], t->text, t->len) == 0) {
      return i;
    }
  }
  return -1;
}

#define COUNT(list) ((int)(sizeof(list) / sizeof(list)[0]))

/* One of the names, if it is given: false when it is none. */
static bool chosen(const la_ctl_text_t *t, const char *const *names, int n,
                   int *out) {
  *out = t->text != NULL ? choice(t, names, n) : *out;
  return *out >= 0;
}

/* What the options ask for; NULL, or what is wrong with them. */
static const char *obey_options(const la_in_t *i, asked_t *a) {
  const la_ctl_options_t *k = &i->k.options;
  la_spawn_opts_t *o = &a->o;
  int priority = LA_PRIO_NORMAL, overflow = LA_OVERFLOW_BLOCK;
  int gc = LA_GC_INCREMENTAL;
  la_spawn_opts_init(o, i->d->host);
  if (k->is_bad || k->mailbox_limit >= 1 << 28 ||
      !chosen(&k->priority, la_priority_names, COUNT(la_priority_names),
              &priority) ||
      !chosen(&k->overflow, la_overflow_names, COUNT(la_overflow_names),
              &overflow) ||
      !chosen(&k->gc, la_gc_names, COUNT(la_gc_names), &gc)) {
    return "badopt";
  }
  o->priority = (la_prio_t)priority;
  o->overflow = (la_overflow_t)overflow;
  a->gc = (uint8_t)gc;
  o->trap_exit = k->trap_exit;
  o->mbox_limit = (uint32_t)k->mailbox_limit;
  /* A peer may ask for less than what is usual here, not for more. */
  if (k->max_heap != 0 && (o->max_heap == 0 || k->max_heap < o->max_heap)) {
    o->max_heap = (size_t)k->max_heap;
  }
  if (k->label.text != NULL) {
    copy_text(a->label, sizeof a->label, &k->label);
    o->label = a->label;
  }
  if (k->name.text != NULL) {
    copy_text(a->name, sizeof a->name, &k->name);
    o->name = a->name;
    if (!la_policy_may_reach(i->d->host, i->c->node, a->name)) {
      la_policy_log(i->d->host, i->c->node, "name",
                    "not allowed to register '%s'", a->name);
      return "not_allowed";
    }
  }
  return NULL;
}

static bool is_call(const asked_t *a, const la_in_t *i, const char *function,
                    uint32_t arity) {
  return strcmp(a->module, "erpc") == 0 && strcmp(a->function, function) == 0 &&
         i->k.arity == arity;
}

/* What shall run for it. */
static void choose_body(const la_in_t *i, asked_t *a) {
  copy_text(a->module, sizeof a->module, &i->k.module);
  copy_text(a->function, sizeof a->function, &i->k.function);
  snprintf(a->call, sizeof a->call, "%s.%s", a->module, a->function);
  a->o.initial_call = a->call;
  a->trust = LA_TRUST_EXPORTED;
  if (is_call(a, i, "execute_call", 4)) {
    a->body = "luactor._remote.execute_call";
  } else if (is_call(a, i, "execute_cast", 3)) {
    a->body = "luactor._remote.execute_cast";
  } else {
    a->body = "luactor._remote.run";
    a->trust = la_policy_trust(i->d->host, i->c->peer.is_luactor, a->module,
                               a->function);
  }
}

static void put_text(la_buf_t *b, const char *text) {
  la_buf_u8(b, LA_TAG_BINARY);
  la_buf_u32(b, (uint32_t)strlen(text));
  la_buf_put(b, text, strlen(text));
}

/* The elements of the list of arguments, and its end. */
static void put_arguments(la_buf_t *b, const asked_t *a, uint32_t arity) {
  if (arity == 0) {
    la_buf_u8(b, LA_TAG_EMPTY);
  } else {
    la_buf_put(b, a->args.bytes + 5, a->args.size - 5);
  }
}

/* { body, node of the asking process, is it luactor, [trusted, module, function,]
 *   arguments... } */
static la_start_t *make_start(const la_in_t *i, const asked_t *a) {
  const bool named = strcmp(a->body, "luactor._remote.run") == 0;
  la_buf_t b = {0};
  la_buf_u8(&b, LA_TAG_LIST);
  la_buf_u32(&b, i->k.arity + 3 + (named ? 3 : 0));
  put_text(&b, a->body);
  put_text(&b, i->c->node);
  la_buf_u8(&b, i->c->peer.is_luactor ? LA_TAG_TRUE : LA_TAG_FALSE);
  if (named) {
    la_buf_u8(&b, a->trust == LA_TRUST_EXPORTED ? LA_TAG_TRUE : LA_TAG_FALSE);
    put_text(&b, a->module);
    put_text(&b, a->function);
  }
  put_arguments(&b, a, i->k.arity);
  la_term_t t = a->args;
  t.bytes = b.data;
  t.size = b.len;
  la_start_t *s = b.failed ? NULL : la_zalloc(sizeof *s);
  if (s != NULL) {
    s->kind = LA_START_CALL;
    s->gc = a->gc;
    s->term = la_msg_new(&t, LA_NO_ID, LA_NO_ID);
    if (s->term == NULL) {
      la_free(s);
      s = NULL;
    }
  }
  la_buf_free(&b);
  return s;
}

/* {undef, [{Module, Function, Arguments, []}]} */
static la_reason_t *undef(const la_in_t *i, const asked_t *a) {
  la_buf_t b = {0};
  la_buf_put(&b, (const uint8_t[]){LA_TAG_TUPLE, 2}, 2);
  la_wire_atom_write(&b, "undef", 5);
  la_buf_u8(&b, LA_TAG_LIST);
  la_buf_u32(&b, 1);
  la_buf_put(&b, (const uint8_t[]){LA_TAG_TUPLE, 4}, 2);
  la_wire_atom_write(&b, a->module, strlen(a->module));
  la_wire_atom_write(&b, a->function, strlen(a->function));
  if (i->k.arity > 0) {
    la_buf_u8(&b, LA_TAG_LIST);
    la_buf_u32(&b, i->k.arity);
  }
  put_arguments(&b, a, i->k.arity);
  la_buf_u8(&b, LA_TAG_EMPTY);
  la_buf_u8(&b, LA_TAG_EMPTY);
  la_term_t t = a->args;
  t.bytes = b.data;
  t.size = b.len;
  la_reason_t *r = b.failed ? NULL : la_reason_new(&t);
  la_buf_free(&b);
  return r != NULL ? r : la_reason_text("undef");
}

/* The process and its ends of what ties it to 'x'. Nobody runs it yet; its maps
 * are ours. False: memory. */
static bool tie_process(la_in_t *i, la_proc_t *p, la_proxy_t *x) {
  const la_ctl_who_t who = la_bond_here(i->d, p->pid);
  p->far_parent = la_proxy_who(x);
  if (p->far_parent == NULL) {
    return false;
  }
  if (i->k.options.link) {
    la_note_t *n = la_note_new(LA_SIG_EXIT, x->id, p->pid);
    if (n == NULL || !la_map_put(&p->links, x->id, n)) {
      if (n != NULL) {
        la_sig_free(&n->sig);
      }
      return false;
    }
    n->peer = x->id;
    n->who = la_reason_ref(p->far_parent);
    if (!la_bond_tie(x, p->pid)) {
      return false; /* the link breaks with its end, which nobody hears */
    }
  }
  if (i->k.options.monitor) {
    la_note_t *n = la_note_new(LA_SIG_DOWN, x->id, p->pid);
    la_watch_in_t *w = n != NULL ? la_bond_watcher(i->d, x, p->pid, &who,
                                                   &i->k.ref)
                                 : NULL;
    if (w == NULL || !la_map_put(&p->watches, w->ref, n)) {
      if (n != NULL) {
        la_sig_free(&n->sig);
      }
      return false;
    }
    n->peer = x->id;
    n->ref = w->ref;
    n->who = la_reason_ref(p->far_parent);
  }
  return true;
}

/* Say what became of it: a process, or what is wrong. */
static void reply(la_in_t *i, const la_proc_t *p, const char *error) {
  la_control_t k = {.op = LA_CTL_SPAWN_REPLY, .ref = i->k.ref, .to = i->k.from};
  if (p != NULL) {
    k.from = la_bond_here(i->d, p->pid);
    k.spawn_flags =
        (i->k.options.link ? 1u : 0) | (i->k.options.monitor ? 2u : 0);
  } else {
    k.from.is_name = true;
    k.from.name = (const uint8_t *)error;
    k.from.name_len = (uint32_t)strlen(error);
  }
  la_bond_emit(i->c, &k, NULL);
}

static void refuse(la_in_t *i, const char *error) {
  la_lock(&i->d->lock);
  reply(i, NULL, error);
  la_unlock(&i->d->lock);
}

static const char *error_of(la_spawn_status_t status) {
  switch (status) {
    case LA_SPAWN_NAME_TAKEN:
      return "already_registered";
    case LA_SPAWN_NOMEM:
      return "enomem";
    default:
      return "system_limit";
  }
}

static void start(la_in_t *i, asked_t *a) {
  la_start_t *s = a->trust != LA_TRUST_NONE ? make_start(i, a) : NULL;
  la_proc_t *p;
  la_id_t ref;
  if (s == NULL && a->trust != LA_TRUST_NONE) {
    refuse(i, "enomem");
    return;
  }
  const la_spawn_status_t status =
      la_proc_make(i->d->host, NULL, &a->o, s, &p, &ref);
  if (status != LA_SPAWN_OK) {
    la_start_free(s);
    refuse(i, error_of(status));
    return;
  }
  if (a->trust == LA_TRUST_NONE) {
    la_policy_log(i->d->host, i->c->node, "spawn",
                  "%s/%u is not exported to it", a->call, i->k.arity);
    la_proc_end(p, undef(i, a));
  }
  la_lock(&i->d->lock);
  la_proxy_t *x = la_proxy_get(i->d, &i->k.from.id, i->c->node, NULL);
  if (x != NULL) {
    x->holds++;
  }
  if (x != NULL && tie_process(i, p, x)) {
    reply(i, p, NULL);
  } else {
    reply(i, NULL, "enomem");
    la_proc_end(p, NULL);
  }
  if (x != NULL) {
    la_proxy_let_go(i->d, x);
  }
  la_unlock(&i->d->lock);
  la_proc_go(p);
}

bool la_spawn_asked(la_in_t *i) {
  asked_t a = {0};
  bool ok;
  if (!la_inbound_payload(i, false, &a.in, &ok)) {
    if (ok) {
      refuse(i, "badarg");
    }
    return ok;
  }
  la_imported_term(&a.in, &a.args);
  const uint8_t *p = a.args.bytes;
  const uint32_t n = *p == LA_TAG_LIST ? la_get32(p + 1) : 0;
  if ((*p != LA_TAG_LIST && *p != LA_TAG_EMPTY) || n != i->k.arity) {
    la_imported_free(&a.in);
    i->why = "arguments that are no list of their number";
    return false;
  }
  const char *error = obey_options(i, &a);
  if (error != NULL) {
    refuse(i, error);
  } else {
    choose_body(i, &a);
    start(i, &a);
  }
  la_imported_free(&a.in);
  return true;
}

/* Process information: the process describes itself, at a safe point, in
 * answer to an INFO signal or for its own actor.info. */
#include <stdio.h>
#include <string.h>

#include "proc/host.h"

const char *const la_priority_names[LA_NPRIO] = {
#define X(sym, text) text,
    LA_PRIORITIES(X)
#undef X
};

const char *const la_gc_names[LA_NGC_MODES] = {
#define X(sym, text) text,
    LA_GC_MODES(X)
#undef X
};

const char *const la_overflow_names[LA_NOVERFLOWS] = {
#define X(sym, text) text,
    LA_OVERFLOWS(X)
#undef X
};

static const char *const wait_names[] = {
#define X(sym, text) text,
    LA_WAITS(X)
#undef X
};

/* The coroutine that runs, or ran last. */
static lua_State *innermost(const la_exec_t *x) {
  lua_State *L = x->running != NULL ? x->running : x->L;
  while (L != NULL && x->lib != NULL && lua_status(L) == LUA_YIELD) {
    lua_State *inner = x->lib->inner(L);
    if (inner == NULL) {
      break;
    }
    L = inner;
  }
  return L;
}

size_t la_proc_where(la_proc_t *p, char *out, size_t size) {
  lua_State *L = innermost(&p->exec);
  lua_Debug ar;
  out[0] = '\0';
  if (L == NULL) {
    return 0;
  }
  for (int level = 0; lua_getstack(L, level, &ar); level++) {
    if (lua_getinfo(L, "Sl", &ar) && ar.currentline > 0) {
      return (size_t)snprintf(out, size, "%s:%d", ar.short_src,
                              ar.currentline);
    }
  }
  return 0;
}

/* Where the function that the process began with was defined: the outermost Lua
 * function of its main thread. */
static size_t initial_call(const la_proc_t *p, char *out, size_t size) {
  lua_Debug ar;
  out[0] = '\0';
  if (p->initial_call != NULL) {
    return (size_t)snprintf(out, size, "%s", p->initial_call);
  }
  for (int level = 0;
       p->exec.L != NULL && lua_getstack(p->exec.L, level, &ar); level++) {
    if (lua_getinfo(p->exec.L, "S", &ar) && ar.what[0] != 'C') {
      snprintf(out, size, "%s:%d", ar.short_src, ar.linedefined);
    }
  }
  return strlen(out);
}

static bool text(la_encoder_t *e, const char *s) {
  return la_encode_str(e, s, strlen(s));
}

static bool pair_text(la_encoder_t *e, const char *key, const char *s) {
  return s == NULL || s[0] == '\0' || (text(e, key) && text(e, s));
}

static bool pair_int(la_encoder_t *e, const char *key, uint64_t n) {
  return text(e, key) && la_encode_int(e, (lua_Integer)n);
}

/* The identities in a map of entries: their keys, or the peers. */
static bool pair_ids(la_encoder_t *e, const char *key, const la_map_t *m) {
  if (!text(e, key) || !la_encode_list(e, m->count)) {
    return false;
  }
  for (la_map_cell_t *c = NULL; (c = la_map_next(m, c)) != NULL;) {
    const la_note_t *n = c->value;
    if (!(n->who != NULL ? la_encode_term(e, &n->who->term)
                         : la_encode_id(e, n->peer))) {
      return false;
    }
  }
  return la_encode_list_end(e);
}

static bool pair_parent(const la_proc_t *p, la_encoder_t *e) {
  if (p->far_parent != NULL) {
    return text(e, "parent") && la_encode_term(e, &p->far_parent->term);
  }
  return p->parent == LA_NO_ID ||
         (text(e, "parent") && la_encode_id(e, p->parent));
}

static uint64_t count_boxes(const la_proc_t *p) {
  uint64_t n = 0;
  for (const la_mbox_t *b = p->boxes; b != NULL; b = b->next) {
    n++;
  }
  return n;
}

/* The group of the process as a flat list, too; its share in thousandths. */
static bool pair_group(la_encoder_t *e, la_group_t *g) {
  la_group_use_t use;
  la_group_look(g, &use);
  uint32_t pairs = 1 + LA_NLIMITS + (use.cpu > 0 ? 2 : 0);
  for (int i = 0; i < LA_NLIMITS; i++) {
    pairs += use.most[i] != 0;
  }
  bool ok = text(e, "group") && la_encode_list(e, pairs * 2) &&
            pair_int(e, "id", g->number);
  for (int i = 0; ok && i < LA_NLIMITS; i++) {
    char key[32];
    snprintf(key, sizeof key, "%s_limit", la_limit_names[i]);
    ok = pair_int(e, la_limit_names[i], use.used[i]) &&
         (use.most[i] == 0 || pair_int(e, key, use.most[i]));
  }
  return ok &&
         (use.cpu <= 0 ||
          (pair_int(e, "cpu_limit", (uint64_t)(use.cpu * 1000 + 0.5)) &&
           pair_int(e, "cpu_ms", use.cpu_ns / 1000000))) &&
         la_encode_list_end(e);
}

/* A flat list key, value, key, value, ...: lib_core makes the table of it. */
bool la_info_encode(la_proc_t *p, la_encoder_t *e) {
  char where[256], name[256], call[256];
  la_proc_count_side(p);
  const bool named =
      la_names_of(&p->host->names, p->pid, name, sizeof name);
  la_proc_where(p, where, sizeof where);
  initial_call(p, call, sizeof call);
  const size_t mbox_length = p->mbox.count;
  const char *status = p->exec.running != NULL ? "running"
                       : p->wait.asleep        ? wait_names[p->wait.kind]
                                               : wait_names[LA_WAIT_NONE];
  uint32_t pairs = 12; /* those that are always there */
  pairs += named + (p->label != NULL) + (where[0] != '\0') +
           (call[0] != '\0') + (p->parent != LA_NO_ID || p->far_parent != NULL);
  la_group_t *group = la_group_of(p);
  pairs += group != NULL;
  const uint64_t up = (la_now(&p->host->env) - p->started_ns) / 1000000;
  return la_encode_list(e, pairs * 2) &&
         pair_text(e, "status", status) &&
         (!named || pair_text(e, "registered_name", name)) &&
         (p->label == NULL || (text(e, "label") && text(e, p->label))) &&
         pair_text(e, "initial_call", call) &&
         pair_text(e, "current_line", where) &&
         pair_int(e, "heap_bytes", p->heap.used + p->heap.others) &&
         pair_int(e, "mailbox_length", mbox_length) &&
         pair_int(e, "reductions", p->exec.reductions) &&
         pair_ids(e, "links", &p->links) &&
         pair_ids(e, "monitors", &p->monitors) &&
         pair_ids(e, "monitored_by", &p->watches) &&
         pair_int(e, "trap_exit", p->trap_exit) &&
         pair_text(e, "priority", la_priority_names[p->priority]) &&
         pair_parent(p, e) &&
         pair_int(e, "uptime_ms", up) &&
         pair_int(e, "message_bytes", p->heap.others - p->side) &&
         pair_int(e, "mailboxes", count_boxes(p)) &&
         (group == NULL || pair_group(e, group)) && la_encode_list_end(e);
}

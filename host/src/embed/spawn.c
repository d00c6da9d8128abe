/* luactor.h: spawning processes. */
#include "embed/spawn.h"

#include <string.h>

#include "embed/value.h"
#include "proc/group.h"
#include "term/tag.h"

/* ---- options ---------------------------------------------------------------------- */

/* What a program that was compiled with the first form of the structure gives. */
#define LEAST_SIZE offsetof(luactor_spawn_opts, reserved)

void luactor_spawn_opts_init(luactor_spawn_opts *opts) {
  if (opts != NULL) {
    memset(opts, 0, sizeof *opts);
    opts->size = sizeof *opts;
  }
}

static bool is_priority(int priority) {
  return priority >= LUACTOR_PRIORITY_LOW && priority <= LUACTOR_PRIORITY_MAX;
}

static la_prio_t priority_of(int priority) {
  switch (priority) {
    case LUACTOR_PRIORITY_MAX:
      return LA_PRIO_MAX;
    case LUACTOR_PRIORITY_HIGH:
      return LA_PRIO_HIGH;
    case LUACTOR_PRIORITY_LOW:
      return LA_PRIO_LOW;
    default:
      return LA_PRIO_NORMAL;
  }
}

static bool are_valid(const la_host_t *host, const luactor_spawn_opts *o) {
  return o->size >= LEAST_SIZE && o->size <= sizeof *o &&
         is_priority(o->priority) && o->mailbox_limit < LA_MAX_MBOX_LIMIT &&
         o->mailbox_overflow >= LUACTOR_OVERFLOW_BLOCK &&
         o->mailbox_overflow <= LUACTOR_OVERFLOW_KILL &&
         (o->name == NULL || o->name[0] != '\0') &&
         (o->group == NULL || o->group->host == host);
}

/* Rights only shrink: what is not asked for is the group's. */
static bool obey_group(la_spawn_opts_t *to, const luactor_spawn_opts *from) {
  const la_group_t *g = from->group;
  to->group = from->group;
  if (g == NULL || g->sandbox == NULL) {
    return true;
  }
  if (from->max_heap > g->sandbox->max_heap ||
      from->mailbox_limit > g->sandbox->mbox_limit) {
    return false;
  }
  if (from->max_heap == 0) {
    to->max_heap = g->sandbox->max_heap;
  }
  if (from->mailbox_limit == 0) {
    to->mbox_limit = g->sandbox->mbox_limit;
    to->overflow = g->sandbox->overflow;
  }
  return true;
}

static bool set_options(la_spawn_opts_t *to, const la_host_t *host,
                        const luactor_spawn_opts *from) {
  if (!are_valid(host, from)) {
    return false;
  }
  to->name = from->name;
  to->label = from->label;
  to->priority = priority_of(from->priority);
  if (from->max_heap != 0) {
    to->max_heap = from->max_heap;
  }
  to->mbox_limit = from->mailbox_limit;
  to->overflow = (la_overflow_t)from->mailbox_overflow;
  to->trap_exit = from->trap_exit != 0;
  to->is_watched = !from->detached;
  return obey_group(to, from);
}

/* ---- spawning ----------------------------------------------------------------------- */

static char *copy_text(const char *s, bool *ok) {
  const size_t size = s != NULL ? strlen(s) + 1 : 0;
  char *copy = s != NULL ? la_alloc(size) : NULL;
  *ok = *ok && (copy != NULL || s == NULL);
  return copy != NULL ? memcpy(copy, s, size) : NULL;
}

la_start_t *la_embed_start(const char *chunk, size_t size,
                           const char *chunkname, int argc,
                           const char *const *args, int script) {
  bool ok = true;
  la_start_t *s = la_zalloc(sizeof *s);
  if (s == NULL) {
    return NULL;
  }
  s->kind = chunkname != NULL ? LA_START_CHUNK : LA_START_FILE;
  s->chunk = la_alloc(size + 1);
  s->chunk_size = size;
  s->chunkname = copy_text(chunkname, &ok);
  s->script = script;
  if (s->chunk != NULL) {
    memcpy(s->chunk, chunk, size);
    s->chunk[size] = '\0';
  }
  if (args != NULL && argc > 0) {
    s->argv = la_zalloc((size_t)argc * sizeof *s->argv);
    for (int i = 0; s->argv != NULL && i < argc; i++, s->argc++) {
      s->argv[i] = copy_text(args[i], &ok);
    }
    ok = ok && s->argv != NULL;
  }
  if (!ok || s->chunk == NULL) {
    la_start_free(s);
    return NULL;
  }
  return s;
}

static int code_of(la_spawn_status_t status) {
  switch (status) {
    case LA_SPAWN_LIMIT:
      return LUACTOR_ELIMIT;
    case LA_SPAWN_CLOSED:
      return LUACTOR_ECLOSED;
    case LA_SPAWN_NAME_TAKEN:
      return LUACTOR_ENAME;
    default:
      return LUACTOR_ENOMEM;
  }
}

/* Takes the start over on success. */
static int spawn(la_host_t *host, const la_spawn_opts_t *o, la_start_t *s,
                 luactor_pid *out) {
  la_watch_t *w = o->is_watched ? la_watch_new(host) : NULL;
  la_proc_t *p;
  la_id_t ref;
  if (o->is_watched && w == NULL) {
    return LUACTOR_ENOMEM;
  }
  const la_spawn_status_t status = la_proc_make(host, NULL, o, s, &p, &ref);
  if (status != LA_SPAWN_OK) {
    la_watch_cancel(host, w);
    return code_of(status);
  }
  la_lock(&host->lock);
  host->done = false; /* if it had been without processes */
  la_unlock(&host->lock);
  if (w != NULL) {
    la_watch_begin(host, w, p->pid);
  }
  if (out != NULL) {
    *out = p->pid;
  }
  la_proc_go(p);
  return 0;
}

int la_embed_spawn(la_host_t *host, const luactor_spawn_opts *opts,
                   la_start_t *s, la_native_t *native, const char *what,
                   luactor_pid *out) {
  if (s == NULL && native == NULL) {
    return LUACTOR_ENOMEM;
  }
  la_spawn_opts_t o;
  la_spawn_opts_init(&o, host);
  o.is_watched = true;
  if (opts != NULL && !set_options(&o, host, opts)) {
    la_start_free(s);
    return LUACTOR_EINVAL;
  }
  o.native = native;
  o.initial_call = what;
  o.is_first = !atomic_exchange(&host->had_first, true);
  const int code = spawn(host, &o, s, out);
  if (code != 0) {
    if (o.is_first) {
      atomic_store(&host->had_first, false);
    }
    la_start_free(s);
  }
  return code;
}

/* ---- files and text ------------------------------------------------------------------ */

static bool are_args_valid(int argc, const char *const *args, int script) {
  if (argc < 0 || script < 0 || (args == NULL && argc > 0)) {
    return false;
  }
  for (int i = 0; i < argc; i++) {
    if (args[i] == NULL) {
      return false;
    }
  }
  return true;
}

int luactor_spawn_file_opt(luactor_host *host, const luactor_spawn_opts *opts,
                           const char *path, int argc, const char *const *args,
                           int script, luactor_pid *pid) {
  if (host == NULL || path == NULL || !are_args_valid(argc, args, script)) {
    return LUACTOR_EINVAL;
  }
  LA_ENTER(host);
  return la_embed_spawn(
      host, opts, la_embed_start(path, strlen(path), NULL, argc, args, script),
      NULL, path, pid);
}

int luactor_spawn_file(luactor_host *host, const char *path, int argc,
                       const char *const *args, int script, luactor_pid *pid) {
  return luactor_spawn_file_opt(host, NULL, path, argc, args, script, pid);
}

int luactor_spawn_string_opt(luactor_host *host,
                             const luactor_spawn_opts *opts, const char *code,
                             size_t len, const char *chunkname, int argc,
                             const char *const *args, int script,
                             luactor_pid *pid) {
  const char *name = chunkname != NULL ? chunkname : "=?";
  if (host == NULL || code == NULL || !are_args_valid(argc, args, script)) {
    return LUACTOR_EINVAL;
  }
  LA_ENTER(host);
  return la_embed_spawn(host, opts,
                        la_embed_start(code, len, name, argc, args, script),
                        NULL, name, pid);
}

int luactor_spawn_string(luactor_host *host, const char *code, size_t len,
                         const char *chunkname, int argc,
                         const char *const *args, int script,
                         luactor_pid *pid) {
  return luactor_spawn_string_opt(host, NULL, code, len, chunkname, argc, args,
                                  script, pid);
}

/* ---- calls --------------------------------------------------------------------------- */

static bool is_function_name(const char *name) {
  const char *dot = name != NULL ? strrchr(name, '.') : NULL;
  return dot != NULL && dot != name && dot[1] != '\0';
}

/* The list of the name and the arguments. */
static int make_call(const char *name, const luactor_value *const *args, int n,
                     luactor_value **out) {
  luactor_builder *b = luactor_builder_new();
  la_build_list(b);
  luactor_build_text(b, name);
  for (int i = 0; i < n; i++) {
    luactor_build_view(b, luactor_view_of(args[i]));
  }
  luactor_build_end(b);
  const int code = luactor_build_finish(b, out);
  luactor_builder_free(b);
  return code;
}

int luactor_spawn_call_opt(luactor_host *host, const luactor_spawn_opts *opts,
                           const char *function,
                           const luactor_value *const *args, int n,
                           luactor_pid *pid) {
  if (host == NULL || !is_function_name(function) || n < 0 || n > 200 ||
      (args == NULL && n > 0)) {
    return LUACTOR_EINVAL;
  }
  LA_ENTER(host);
  luactor_value *v;
  int code = make_call(function, args, n, &v);
  if (code != 0) {
    return code;
  }
  if (!la_value_fits(v, host)) {
    code = LUACTOR_ETYPE;
  } else {
    la_start_t *s = la_zalloc(sizeof *s);
    if (s != NULL) {
      s->kind = LA_START_CALL;
      s->term = la_msg_new(&v->whole.term, LA_NO_ID, LA_NO_ID);
    }
    if (s != NULL && s->term == NULL) {
      la_free(s);
      s = NULL;
    }
    code = la_embed_spawn(host, opts, s, NULL, function, pid);
  }
  luactor_value_free(v);
  return code;
}

int luactor_spawn_call(luactor_host *host, const char *function,
                       const luactor_value *const *args, int n,
                       luactor_pid *pid) {
  return luactor_spawn_call_opt(host, NULL, function, args, n, pid);
}

/* luactor.h: groups of processes with limits and rights. */
#include <math.h>
#include <string.h>

#include "lib/lib_core.h"
#include "luactor.h"
#include "proc/group.h"

_Static_assert((int)LUACTOR_LIMIT_MEMORY == LA_LIMIT_MEMORY &&
                   (int)LUACTOR_LIMIT_PROCESSES == LA_LIMIT_PROCESSES &&
                   (int)LUACTOR_LIMIT_MESSAGES == LA_LIMIT_MESSAGES &&
                   (int)LUACTOR_LIMIT_HANDLES == LA_LIMIT_HANDLES &&
                   LUACTOR_NLIMITS == LA_NLIMITS,
               "the limits of the header are those of groups");

/* Limits of a sandbox that are not given; as spawn_opt has them. */
enum { SANDBOX_PROCESSES = 100, SANDBOX_HEAPS = 16, SANDBOX_BOXES = 16 };

void luactor_group_options_init(luactor_group_options *options) {
  if (options != NULL) {
    memset(options, 0, sizeof *options);
    options->size = sizeof *options;
  }
}

static bool is_valid(const luactor_group_options *o) {
  return o != NULL && o->size == sizeof *o &&
         (o->cpu == 0 || (o->cpu >= 0.001 && isfinite(o->cpu)));
}

/* The callback with the header's types. */
static void tell(void *ud, la_group_t *g, la_limit_t what, uint64_t most) {
  const luactor_group_options *o = ud;
  o->on_limit(o->userdata, g, (int)what, most);
}

/* The rights of the new group in 'to'. */
static int set_rights(la_host_t *host, const luactor_group_options *o,
                      la_group_opts_t *to) {
  if (o->sandbox == NULL) {
    return 0;
  }
  bool unknown;
  if (o->max_heap == 0 || o->mailbox_limit == 0 ||
      o->mailbox_limit >= 1 << 28) {
    return LUACTOR_EINVAL;
  }
  const la_sandbox_t *around = o->parent != NULL ? o->parent->sandbox : NULL;
  if (around != NULL && (o->max_heap > around->max_heap ||
                         o->mailbox_limit > around->mbox_limit)) {
    return LUACTOR_EINVAL;
  }
  la_sandbox_t *s =
      la_sandbox_of_names(host->std, around, o->sandbox, &unknown);
  if (s == NULL) {
    return unknown ? LUACTOR_EINVAL : LUACTOR_ENOMEM;
  }
  s->max_heap = o->max_heap;
  s->mbox_limit = o->mailbox_limit;
  s->overflow = LA_OVERFLOW_BLOCK;
  const uint64_t defaults[LA_NLIMITS] = {
      [LA_LIMIT_MEMORY] = (uint64_t)SANDBOX_HEAPS * o->max_heap,
      [LA_LIMIT_PROCESSES] = SANDBOX_PROCESSES,
      [LA_LIMIT_MESSAGES] = (uint64_t)SANDBOX_BOXES * o->mailbox_limit};
  for (int i = 0; i < LA_NLIMITS; i++) {
    to->most[i] = to->most[i] != 0 ? to->most[i] : defaults[i];
  }
  to->sandbox = s;
  return 0;
}

int luactor_group_new(luactor_host *host, const luactor_group_options *options,
                      luactor_group **group) {
  if (host == NULL || group == NULL || !is_valid(options) ||
      (options->parent != NULL && options->parent->host != host)) {
    return LUACTOR_EINVAL;
  }
  LA_ENTER(host);
  la_group_opts_t o = {.cpu = options->cpu};
  memcpy(o.most, options->limits, sizeof o.most);
  luactor_group_options *copy = NULL;
  if (options->on_limit != NULL) {
    copy = la_alloc(sizeof *copy);
    if (copy == NULL) {
      return LUACTOR_ENOMEM;
    }
    *copy = *options;
    o.on_limit = tell;
    o.ud = copy; /* the group's, and freed with it */
  }
  bool too_deep = false;
  int code = set_rights(host, options, &o);
  la_group_t *g =
      code == 0 ? la_group_new(host, options->parent, &o, &too_deep) : NULL;
  if (g == NULL) {
    la_sandbox_unref(o.sandbox);
    la_free(copy);
    return code != 0 ? code : too_deep ? LUACTOR_ELIMIT : LUACTOR_ENOMEM;
  }
  *group = g;
  return 0;
}

static luactor_spawn_opts into(luactor_group *group) {
  luactor_spawn_opts o;
  luactor_spawn_opts_init(&o);
  o.group = group;
  return o;
}

int luactor_group_spawn_file(luactor_group *group, const char *path, int argc,
                             const char *const *args, int script,
                             luactor_pid *pid) {
  const luactor_spawn_opts o = into(group);
  return group == NULL ? LUACTOR_EINVAL
                       : luactor_spawn_file_opt(group->host, &o, path, argc,
                                                args, script, pid);
}

int luactor_group_spawn_string(luactor_group *group, const char *code,
                               size_t len, const char *chunkname, int argc,
                               const char *const *args, int script,
                               luactor_pid *pid) {
  const luactor_spawn_opts o = into(group);
  return group == NULL
             ? LUACTOR_EINVAL
             : luactor_spawn_string_opt(group->host, &o, code, len, chunkname,
                                        argc, args, script, pid);
}

int luactor_group_limits(luactor_group *group,
                         const luactor_group_options *options) {
  if (group == NULL || !is_valid(options)) {
    return LUACTOR_EINVAL;
  }
  LA_ENTER(group->host);
  la_group_set(group, options->limits, options->cpu);
  return 0;
}

int luactor_group_get(luactor_group *group, luactor_group_info *info) {
  if (group == NULL || info == NULL) {
    return LUACTOR_EINVAL;
  }
  la_group_use_t use;
  la_group_look(group, &use);
  memcpy(info->used, use.used, sizeof info->used);
  memcpy(info->limits, use.most, sizeof info->limits);
  info->cpu = use.cpu;
  info->cpu_ns = use.cpu_ns;
  info->ended = atomic_load(&group->ended);
  return 0;
}

int luactor_group_kill(luactor_group *group, const char *reason) {
  if (group == NULL) {
    return LUACTOR_EINVAL;
  }
  LA_ENTER(group->host);
  la_group_end(group, la_reason_text(reason != NULL ? reason : "killed"));
  return 0;
}

void luactor_group_close(luactor_group *group) {
  if (group != NULL) {
    LA_ENTER(group->host);
    atomic_store(&group->closed, true);
    la_group_end(group, la_reason_text("killed"));
    la_group_unref(group);
  }
}

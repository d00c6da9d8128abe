/* Starting a process on another node. */
#ifndef LA_LIB_FAR_H
#define LA_LIB_FAR_H

#include <lua.h>

#include "proc/host.h"

/* spawn_opt{ node = } and what it is made of. */
typedef struct la_far_opts {
  const char *node;     /* anchored by the caller's frame, as texts in 'o' */
  la_spawn_opts_t o;
  la_gc_mode_t gc;
  uint64_t deadline_ns; /* UINT64_MAX: none */
  bool is_quiet;        /* what fails gives nil and why, instead of an error or an
                         * ended process */
} la_far_opts_t;

/* Is it this host's own name? */
bool la_far_is_here(la_host_t *host, const char *node);
/* "module.function" at 'f', and its arguments above it up to the top. Gives what
 * spawn gives. Suspends. [owner; raises: e] */
int la_far_spawn(lua_State *L, int f, const la_far_opts_t *opts);
/* luactor._node.spawn(node, ms, f, ...): pid and ref of a watched process, or nil and
 * why. */
int la_far_quiet(lua_State *L);

#endif

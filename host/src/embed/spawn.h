/* What the spawns of luactor.h have in common, and the waits. */
#ifndef LA_EMBED_SPAWN_H
#define LA_EMBED_SPAWN_H

#include "proc/host.h"

/* How a file (chunkname NULL) or a chunk starts; everything is copied. NULL:
 * memory. */
la_start_t *la_embed_start(const char *chunk, size_t size,
                           const char *chunkname, int argc,
                           const char *const *args, int script);
/* Spawn a process with these options (NULL: the defaults). 'what': its initial call.
 * Takes 's' over in any case, and 'native' on success; NULL as both: ENOMEM. [any] */
int la_embed_spawn(la_host_t *host, const luactor_spawn_opts *opts,
                   la_start_t *s, la_native_t *native, const char *what,
                   luactor_pid *out);

/* The end of a process that luactor_wait will ask for (wait.c). */
la_watch_t *la_watch_new(la_host_t *host);
/* From now on the end of 'pid', which has not yet run, is kept. */
void la_watch_begin(la_host_t *host, la_watch_t *w, la_pid_t pid);
/* It was not needed; NULL is allowed. */
void la_watch_cancel(la_host_t *host, la_watch_t *w);
void la_watches_fini(la_host_t *host);

/* Who is inside the host must not wait for it. (life.c) */
bool la_embed_is_inside(const la_host_t *host);
/* When 'ms' have passed on the system's clock; negative: never. */
uint64_t la_deadline_of(int ms);

#endif

/* What the spawns of luactor.h have in common. */
#ifndef LA_EMBED_SPAWN_H
#define LA_EMBED_SPAWN_H

#include "proc/host.h"

/* How a file (chunkname NULL) or a chunk starts; everything is copied. NULL:
 * memory. */
la_start_t *la_embed_start(const char *chunk, size_t size,
                           const char *chunkname, int argc,
                           const char *const *args, int script);
/* Spawn a process that luactor_wait can wait for, in a group or (NULL) none. Takes 's'
 * over; NULL: ENOMEM. [any] */
int la_embed_spawn(la_host_t *host, la_start_t *s, la_group_t *group,
                   luactor_pid *out);

#endif

/* A hash map from a 64-bit key (an identity) to a pointer, owned by one thread
 * at a time. Open addressing, linear probing, backward-shift deletion. Empty
 * maps own no memory: most processes have no links, monitors or aliases.
 * Its own code, and not a library's, because the entries' blocks must be the
 * signals of rule 3, reserved elsewhere. Key 0 is not allowed. */
#ifndef LA_MAP_H
#define LA_MAP_H

#include <stdbool.h>
#include <stdint.h>

typedef struct la_map_cell {
  uint64_t key;
  void *value;
} la_map_cell_t;

typedef struct la_map {
  la_map_cell_t *cells;
  uint32_t mask; /* capacity - 1, when cells is not NULL */
  uint32_t count;
} la_map_t;

void *la_map_get(const la_map_t *m, uint64_t key);
/* False when memory is short. Replaces an old value. */
bool la_map_put(la_map_t *m, uint64_t key, void *value);
/* The removed value, or NULL. */
void *la_map_remove(la_map_t *m, uint64_t key);
void la_map_fini(la_map_t *m);

/* for (la_map_cell_t *c = NULL; (c = la_map_next(m, c)) != NULL;) */
la_map_cell_t *la_map_next(const la_map_t *m, la_map_cell_t *c);

#endif

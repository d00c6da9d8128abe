/* Registered names of one host: text to pid, one name a process. */
#ifndef LA_NAMES_H
#define LA_NAMES_H

#include "base/lock.h"
#include "base/map.h"
#include "proc/pidtab.h"

typedef struct la_name la_name_t;

typedef struct la_names {
  la_lock_t lock;
  la_name_t *by_name; /* uthash */
  la_map_t by_pid;
} la_names_t;

typedef enum {
  LA_NAME_OK,
  LA_NAME_TAKEN,      /* by another process */
  LA_NAME_HAS_ONE,    /* the process has a name already */
  LA_NAME_NOPROC,
  LA_NAME_NOMEM
} la_name_status_t;

void la_names_init(la_names_t *n);
void la_names_fini(la_names_t *n);
/* [any] */
la_name_status_t la_names_add(la_names_t *n, la_pidtab_t *t, const char *name,
                              la_pid_t pid);
/* False when there is no such name. [any] */
bool la_names_remove(la_names_t *n, const char *name);
/* The process ends: its name goes. [owner of pid] */
void la_names_forget(la_names_t *n, la_pid_t pid);
la_pid_t la_names_find(la_names_t *n, const char *name);
/* The name of a process into 'out' (truncated to 'size'); false: none. */
bool la_names_of(la_names_t *n, la_pid_t pid, char *out, size_t size);
/* All names, each ended by a NUL, malloced; *count of them. NULL: memory. */
char *la_names_list(la_names_t *n, size_t *count);

#endif

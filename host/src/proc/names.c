/* See names.h. Two indices over the same entries: by name and by pid. */
#include "proc/names.h"

#include <string.h>

#include "base/env.h"

#define uthash_malloc(n) la_alloc(n)
#define uthash_free(p, n) la_free(p)
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct la_name {
  la_pid_t pid;
  UT_hash_handle hh;
  char text[];
};

void la_names_init(la_names_t *n) {
  la_lock_init(&n->lock, LA_RANK_NAMES);
  n->by_name = NULL;
  n->by_pid = (la_map_t){0};
}

void la_names_fini(la_names_t *n) {
  la_name_t *e, *next;
  HASH_ITER(hh, n->by_name, e, next) {
    HASH_DEL(n->by_name, e);
    la_free(e);
  }
  la_map_fini(&n->by_pid);
  la_lock_fini(&n->lock);
}

static la_name_t *find_locked(la_names_t *n, const char *name)
    LA_REQUIRES(n->lock) {
  la_name_t *e = NULL;
  HASH_FIND_STR(n->by_name, name, e);
  return e;
}

static la_name_status_t insert_locked(la_names_t *n, const char *name,
                                      la_pid_t pid) LA_REQUIRES(n->lock) {
  const size_t len = strlen(name);
  la_name_t *e = la_zalloc(sizeof *e + len + 1);
  if (e == NULL) {
    return LA_NAME_NOMEM;
  }
  memcpy(e->text, name, len + 1);
  e->pid = pid;
  if (!la_map_put(&n->by_pid, pid, e)) {
    la_free(e);
    return LA_NAME_NOMEM;
  }
  HASH_ADD_KEYPTR(hh, n->by_name, e->text, len, e);
  if (e->hh.tbl == NULL) { /* uthash could not grow */
    la_map_remove(&n->by_pid, pid);
    la_free(e);
    return LA_NAME_NOMEM;
  }
  return LA_NAME_OK;
}

la_name_status_t la_names_add(la_names_t *n, la_pidtab_t *t, const char *name,
                              la_pid_t pid) {
  la_name_status_t status;
  la_slot_t *s = la_pidtab_slot(t, pid);
  if (s != NULL) {
    /* Before the look at the id, and both seq_cst: an ending process clears the id
     * before it looks whether it has a name. Too late, it does no harm. */
    atomic_fetch_or(&s->flags, LA_SLOT_NAMED);
  }
  la_lock(&n->lock);
  /* Under the lock: an ending process clears its slot's id before it takes the lock
   * to forget its name, so that no name outlives its process. */
  if (s == NULL || !la_slot_is(s, pid)) {
    status = LA_NAME_NOPROC;
  } else if (find_locked(n, name) != NULL) {
    status = LA_NAME_TAKEN;
  } else if (la_map_get(&n->by_pid, pid) != NULL) {
    status = LA_NAME_HAS_ONE;
  } else {
    status = insert_locked(n, name, pid);
  }
  la_unlock(&n->lock);
  return status;
}

static void drop_locked(la_names_t *n, la_name_t *e) LA_REQUIRES(n->lock) {
  HASH_DEL(n->by_name, e);
  la_map_remove(&n->by_pid, e->pid);
  la_free(e);
}

bool la_names_remove(la_names_t *n, const char *name) {
  la_lock(&n->lock);
  la_name_t *e = find_locked(n, name);
  if (e != NULL) {
    drop_locked(n, e);
  }
  la_unlock(&n->lock);
  return e != NULL;
}

void la_names_forget(la_names_t *n, la_pid_t pid) {
  la_lock(&n->lock);
  la_name_t *e = la_map_get(&n->by_pid, pid);
  if (e != NULL) {
    drop_locked(n, e);
  }
  la_unlock(&n->lock);
}

la_pid_t la_names_find(la_names_t *n, const char *name) {
  la_lock(&n->lock);
  const la_name_t *e = find_locked(n, name);
  const la_pid_t pid = e != NULL ? e->pid : LA_NO_ID;
  la_unlock(&n->lock);
  return pid;
}

bool la_names_of(la_names_t *n, la_pid_t pid, char *out, size_t size) {
  la_lock(&n->lock);
  const la_name_t *e = la_map_get(&n->by_pid, pid);
  if (e != NULL) {
    const size_t len = strlen(e->text);
    const size_t fit = len < size ? len : size - 1;
    memcpy(out, e->text, fit);
    out[fit] = '\0';
  }
  la_unlock(&n->lock);
  return e != NULL;
}

char *la_names_list(la_names_t *n, size_t *count) {
  size_t bytes = 1;
  la_name_t *e, *next;
  la_lock(&n->lock);
  HASH_ITER(hh, n->by_name, e, next) {
    bytes += strlen(e->text) + 1;
  }
  char *out = la_alloc(bytes);
  *count = 0;
  if (out != NULL) {
    char *p = out;
    HASH_ITER(hh, n->by_name, e, next) {
      const size_t len = strlen(e->text) + 1;
      memcpy(p, e->text, len);
      p += len;
      ++*count;
    }
  }
  la_unlock(&n->lock);
  return out;
}

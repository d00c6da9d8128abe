/* luactor.h: C modules of the embedder. */
#include <string.h>

#include "embed/state.h"
#include "lib/lib_start.h"

int luactor_add_module(luactor_host *host, const char *name,
                       int (*open)(lua_State *L)) {
  if (host == NULL || name == NULL || name[0] == '\0' || open == NULL) {
    return LUACTOR_EINVAL;
  }
  LA_ENTER(host);
  const size_t len = strlen(name) + 1;
  la_module_t *m = la_alloc(sizeof *m + len);
  if (m == NULL) {
    return LUACTOR_ENOMEM;
  }
  m->open = open;
  memcpy(m->name, name, len);
  la_lock(&host->lock); /* one adds at a time; readers take no lock */
  const bool is_new = la_module_find(host, name) == NULL;
  if (is_new) {
    m->next = atomic_load(&host->added);
    atomic_store(&host->added, m);
  }
  la_unlock(&host->lock);
  if (!is_new) {
    la_free(m);
  }
  return is_new ? 0 : LUACTOR_ENAME;
}

int luactor_process_of(lua_State *L, luactor_host **host, luactor_pid *pid) {
  const la_proc_t *p = la_process_here(L);
  if (p == NULL) {
    return LUACTOR_ECALLER;
  }
  if (host != NULL) {
    *host = p->host;
  }
  if (pid != NULL) {
    *pid = p->pid;
  }
  return 0;
}

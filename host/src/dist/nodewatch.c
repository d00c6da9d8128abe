/* Who wants to hear of nodes that come and go. The list is the host's, not a
 * node's: who asked for all nodes hears of them whenever the host becomes one. */
#include <string.h>

#include "dist/inner.h"
#include "term/tag.h"

struct la_nodewatch {
  struct la_nodewatch *next;
  la_pid_t pid;
  char node[]; /* "": all */
};

void la_nodewatches_init(la_nodewatches_t *all) {
  la_lock_init(&all->lock, LA_RANK_NODE_WATCHES);
}

static void take_out(la_nodewatch_t **at) {
  la_nodewatch_t *w = *at;
  *at = w->next;
  la_free(w);
}

void la_nodewatches_fini(la_nodewatches_t *all) {
  while (all->list != NULL) {
    take_out(&all->list);
  }
  la_lock_fini(&all->lock);
}

void la_nodewatches_begin(la_nodewatches_t *all) {
  la_lock(&all->lock);
  for (la_nodewatch_t **at = &all->list; *at != NULL;) {
    if ((*at)->node[0] != '\0') {
      take_out(at);
    } else {
      at = &(*at)->next;
    }
  }
  la_unlock(&all->lock);
}

static bool is_gone(la_host_t *host, la_pid_t pid) {
  const la_slot_t *s = la_pidtab_slot(&host->pids, pid);
  return s == NULL || !la_slot_is(s, pid);
}

bool la_dist_watch(la_host_t *host, const char *node, la_pid_t pid, bool on) {
  la_nodewatches_t *all = &host->node_watches;
  la_nodewatch_t *w = on ? la_zalloc(sizeof *w + strlen(node) + 1) : NULL;
  if (on && w == NULL) {
    return false;
  }
  la_lock(&all->lock);
  bool done = on;
  for (la_nodewatch_t **at = &all->list; *at != NULL;) {
    if (is_gone(host, (*at)->pid)) {
      take_out(at);
    } else if (!done && (*at)->pid == pid && strcmp((*at)->node, node) == 0) {
      take_out(at);
      done = true;
    } else {
      at = &(*at)->next;
    }
  }
  if (on) {
    w->pid = pid;
    strcpy(w->node, node);
    w->next = all->list;
    all->list = w;
  }
  la_unlock(&all->lock);
  return true;
}

/* { event, node } */
static la_msg_t *message(const char *event, const char *node, la_pid_t to) {
  uint8_t bytes[5 + 5 + 8 + 5 + LA_NODE_NAME_MAX + 1];
  const char *const texts[2] = {event, node};
  uint8_t *p = bytes;
  *p = 108;
  la_put32(p + 1, 2);
  p += 5;
  for (int i = 0; i < 2; i++) {
    const size_t n = strlen(texts[i]);
    *p = 109;
    la_put32(p + 1, (uint32_t)n);
    memcpy(p + 5, texts[i], n);
    p += 5 + n;
  }
  *p++ = 106;
  const la_term_t t = {.bytes = bytes, .size = (size_t)(p - bytes)};
  return la_msg_new(&t, to, LA_NO_ID);
}

void la_conn_tell(la_dist_t *d, const char *node, const char *event,
                  la_told_t *told) {
  la_nodewatches_t *all = &d->host->node_watches;
  la_lock(&all->lock);
  for (const la_nodewatch_t *w = all->list; w != NULL; w = w->next) {
    if (w->node[0] == '\0' || strcmp(w->node, node) == 0) {
      la_msg_t *m = message(event, node, w->pid);
      la_told_add(told, m != NULL ? &m->sig : NULL);
    }
  }
  la_unlock(&all->lock);
}

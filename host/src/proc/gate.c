/* See gate.h. */
#include "proc/gate.h"

#include "base/env.h"
#include "proc/host.h"

la_gate_t *la_gate_new(la_host_t *host) {
  la_gate_t *g = la_alloc(sizeof *g);
  if (g != NULL) {
    la_lock_init(&g->lock, LA_RANK_GATE);
    g->host = host;
    atomic_init(&g->refs, 1);
  }
  return g;
}

la_gate_t *la_gate_ref(la_gate_t *g) {
  atomic_fetch_add_explicit(&g->refs, 1, memory_order_relaxed);
  return g;
}

void la_gate_unref(la_gate_t *g) {
  /* acq_rel: all use of it happens before it is freed. */
  if (g != NULL &&
      atomic_fetch_sub_explicit(&g->refs, 1, memory_order_acq_rel) == 1) {
    la_lock_fini(&g->lock);
    la_free(g);
  }
}

la_host_t *la_gate_enter(la_gate_t *g) {
  la_lock(&g->lock);
  if (g->host != NULL) {
    atomic_fetch_add(&g->host->nguests, 1);
  }
  return g->host;
}

void la_gate_leave(la_gate_t *g) {
  if (g->host != NULL) {
    atomic_fetch_sub(&g->host->nguests, 1);
  }
  la_unlock(&g->lock);
}

void la_gate_shut(la_gate_t *g) {
  la_lock(&g->lock);
  g->host = NULL;
  la_unlock(&g->lock);
}

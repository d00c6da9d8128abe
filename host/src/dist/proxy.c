/* Proxies: identities of this host for what lives on other nodes (dist.h).
 *
 * They stand in a table that grows and never shrinks, chained by a hash of what
 * they stand for; a slot is used again under a new serial, also by a later node
 * of this host, so that a stale identity finds nothing. */
#include <stdio.h>
#include <string.h>

#include "base/env.h"
#include "dist/inner.h"
#include "term/tag.h"

#define PROXY_SLOT_MASK LA_ID_SLOT_MASK

static uint64_t hash_bytes(uint64_t h, const void *bytes, size_t n) {
  const uint8_t *p = bytes;
  for (size_t i = 0; i < n; i++) {
    h = (h ^ p[i]) * UINT64_C(0x100000001b3); /* FNV-1a */
  }
  return h;
}

static uint64_t hash_of(const la_wire_id_t *id, const char *node,
                        const char *name) {
  uint64_t h = UINT64_C(0xcbf29ce484222325);
  h = hash_bytes(h, node, strlen(node));
  if (name != NULL) {
    return hash_bytes(h, name, strlen(name)) | 1;
  }
  h = hash_bytes(h, &id->creation, sizeof id->creation);
  return hash_bytes(h, id->words, 4 * id->nwords) | 1;
}

static bool is_same(const la_proxy_t *x, const la_wire_id_t *id,
                    const char *node, const char *name) {
  if (x->holds == 0 || x->is_name != (name != NULL) ||
      strcmp(x->node, node) != 0) {
    return false;
  }
  return name != NULL ? strcmp(x->name, name) == 0
                      : la_wire_id_equal(&x->wire, id);
}

/* Entries of the table stay where they are only until it grows: do not keep
 * pointers over a call of this. */
la_proxy_t *la_proxy_get(la_dist_t *d, const la_wire_id_t *id, const char *node,
                         const char *name) {
  const uint64_t hash = hash_of(id, node, name);
  uint32_t at = (uint32_t)(uintptr_t)la_map_get(&d->by_hash, hash);
  for (uint32_t i = at; i != 0; i = d->proxies[i - 1].next_same) {
    if (is_same(&d->proxies[i - 1], id, node, name)) {
      return &d->proxies[i - 1];
    }
  }
  if (d->free_proxy == 0) {
    const uint32_t cap = d->nproxies == 0 ? 64 : 2 * d->nproxies;
    if (cap > PROXY_SLOT_MASK) {
      return NULL;
    }
    la_proxy_t *all = la_realloc(d->proxies, cap * sizeof *all);
    if (all == NULL) {
      return NULL;
    }
    memset(all + d->nproxies, 0, (cap - d->nproxies) * sizeof *all);
    for (uint32_t i = cap; i > d->nproxies; i--) {
      all[i - 1].next_free = d->free_proxy;
      d->free_proxy = i;
    }
    for (uint32_t i = 0; i < d->nproxies; i++) {
      all[i].wire.node = (const uint8_t *)all[i].node;
    }
    d->proxies = all;
    d->nproxies = cap;
  }
  char *copy = la_alloc(strlen(node) + 1);
  char *name_copy = name != NULL ? la_alloc(strlen(name) + 1) : NULL;
  const uint32_t index = d->free_proxy;
  if (copy == NULL || (name != NULL && name_copy == NULL) ||
      !la_map_put(&d->by_hash, hash, (void *)(uintptr_t)index)) {
    la_free(copy);
    la_free(name_copy);
    return NULL;
  }
  la_proxy_t *x = &d->proxies[index - 1];
  d->free_proxy = x->next_free;
  memset(x, 0, sizeof *x);
  x->id = la_id_make(LA_ID_PROXY, ++d->last_serial, index - 1);
  x->node = strcpy(copy, node);
  x->name = name != NULL ? strcpy(name_copy, name) : NULL;
  x->is_name = name != NULL;
  if (name == NULL) {
    x->wire = *id;
    x->wire.node = (const uint8_t *)x->node;
  }
  x->hash = hash;
  x->next_same = at;
  return x;
}

la_proxy_t *la_proxy_of(la_dist_t *d, la_id_t id) {
  const uint32_t i = la_id_slot(id);
  return la_id_kind(id) == LA_ID_PROXY && i < d->nproxies &&
                 d->proxies[i].id == id && d->proxies[i].holds > 0
             ? &d->proxies[i]
             : NULL;
}

void la_proxy_let_go(la_dist_t *d, la_proxy_t *x) {
  if (--x->holds > 0) {
    return;
  }
  const uint32_t index = la_id_slot(x->id) + 1;
  uint32_t first = (uint32_t)(uintptr_t)la_map_get(&d->by_hash, x->hash);
  if (first == index) {
    if (x->next_same != 0) {
      la_map_put(&d->by_hash, x->hash, (void *)(uintptr_t)x->next_same);
    } else {
      la_map_remove(&d->by_hash, x->hash);
    }
  } else {
    while (d->proxies[first - 1].next_same != index) {
      first = d->proxies[first - 1].next_same;
    }
    d->proxies[first - 1].next_same = x->next_same;
  }
  la_free(x->node);
  la_free(x->name);
  x->node = x->name = NULL;
  x->next_free = d->free_proxy;
  d->free_proxy = index;
}

la_id_t la_dist_proxy(la_host_t *host, const la_wire_id_t *id, const char *node,
                      const char *name) {
  la_dist_t *d = host->dist;
  if (d == NULL) {
    return LA_NO_ID;
  }
  char copy[LA_NODE_NAME_MAX + 1];
  if (name == NULL) {
    snprintf(copy, sizeof copy, "%.*s", (int)id->node_len,
             (const char *)id->node);
    node = copy;
  }
  la_lock(&d->lock);
  la_proxy_t *x = la_proxy_get(d, id, node, name);
  if (x != NULL) {
    x->holds++;
  }
  const la_id_t proxy = x != NULL ? x->id : LA_NO_ID;
  la_unlock(&d->lock);
  return proxy;
}

/* Do something to a proxy, if it still is one. */
static void with_proxy(la_host_t *host, la_id_t proxy,
                       void (*act)(la_dist_t *d, la_proxy_t *x)) {
  la_dist_t *d = host->dist;
  if (d == NULL || la_id_kind(proxy) != LA_ID_PROXY) {
    return;
  }
  la_lock(&d->lock);
  la_proxy_t *x = la_proxy_of(d, proxy);
  if (x != NULL) {
    act(d, x);
  }
  la_unlock(&d->lock);
}

static void hold(la_dist_t *d, la_proxy_t *x) {
  (void)d;
  x->holds++;
}

void la_dist_release(la_host_t *host, la_id_t proxy) {
  with_proxy(host, proxy, la_proxy_let_go);
}

void la_dist_hold(la_host_t *host, la_id_t proxy) {
  with_proxy(host, proxy, hold);
}

uint32_t la_dist_kept(la_host_t *host) {
  la_dist_t *d = host->dist;
  uint32_t n = 0;
  if (d != NULL) {
    la_lock(&d->lock);
    for (uint32_t i = 0; i < d->nproxies; i++) {
      n += d->proxies[i].holds > 0;
    }
    la_unlock(&d->lock);
  }
  return n;
}

static void write_text(la_buf_t *b, const char *text) {
  la_buf_u8(b, LA_TAG_BINARY);
  la_buf_u32(b, (uint32_t)strlen(text));
  la_buf_put(b, text, strlen(text));
}

la_reason_t *la_proxy_who(const la_proxy_t *x) {
  la_buf_t b = {0};
  if (x->is_name) {
    la_buf_u8(&b, LA_TAG_LIST);
    la_buf_u32(&b, 2);
    write_text(&b, x->name);
    write_text(&b, x->node);
    la_buf_u8(&b, LA_TAG_EMPTY);
  } else {
    la_wire_id_write(&b, &x->wire);
  }
  const la_term_t t = {.bytes = b.data, .size = b.len};
  la_reason_t *who = b.failed ? NULL : la_reason_new(&t);
  la_buf_free(&b);
  return who;
}

la_reason_t *la_dist_who(la_host_t *host, la_id_t proxy) {
  la_dist_t *d = host->dist;
  la_reason_t *who = NULL;
  if (d != NULL) {
    la_lock(&d->lock);
    const la_proxy_t *x = la_proxy_of(d, proxy);
    who = x != NULL ? la_proxy_who(x) : NULL;
    la_unlock(&d->lock);
  }
  return who;
}

void la_proxy_free_all(la_dist_t *d) {
  for (uint32_t i = 0; i < d->nproxies; i++) {
    la_proxy_t *x = &d->proxies[i];
    if (x->holds > 0) {
      la_free(x->node);
      la_free(x->name);
    }
  }
  la_free(d->proxies);
  la_map_fini(&d->by_hash);
}

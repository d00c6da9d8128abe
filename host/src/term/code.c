/* See code.h. */
#include "term/code.h"

#include <string.h>

#include "base/env.h"

enum {
  MAX_CODES = 4096,
  MAX_BYTES = 8 << 20,
  MAX_SIZE = 64 << 10 /* of one */
};

static uint64_t hash_of(const uint8_t *p, size_t n) {
  uint64_t h = n * UINT64_C(0x9E3779B97F4A7C15);
  uint64_t w;
  for (; n >= 8; n -= 8, p += 8) {
    memcpy(&w, p, 8);
    h = (h ^ w) * UINT64_C(0xff51afd7ed558ccd);
    h ^= h >> 32;
  }
  w = 0;
  memcpy(&w, p, n);
  h = (h ^ w) * UINT64_C(0xc4ceb9fe1a85ec53);
  return h ^ h >> 29;
}

void la_codes_init(la_codes_t *c) {
  memset(c, 0, sizeof *c);
  la_lock_init(&c->lock, LA_RANK_CODES);
}

void la_codes_each(la_codes_t *c, void (*visit)(la_code_t *code)) {
  for (size_t i = 0; i < LA_CODE_ROWS; i++) {
    for (la_code_t *e = atomic_load(&c->rows[i]); e != NULL;) {
      la_code_t *next = e->next;
      visit(e);
      e = next;
    }
  }
}

static void free_code(la_code_t *code) {
  la_free(code);
}

void la_codes_fini(la_codes_t *c) {
  la_codes_each(c, free_code);
  la_lock_fini(&c->lock);
}

static la_code_t *find(la_codes_t *c, uint64_t hash, const void *bytes,
                       size_t size) {
  /* Acquire: pairs with the release in add; entries never change. */
  la_code_t *e = atomic_load_explicit(&c->rows[hash % LA_CODE_ROWS],
                                      memory_order_acquire);
  while (e != NULL && (e->hash != hash || e->size != size ||
                       memcmp(e->bytes, bytes, size) != 0)) {
    e = e->next;
  }
  return e;
}

/* Has the hash been asked for 'often' times? Lost counts do no harm. */
static bool is_frequent(la_codes_t *c, uint64_t hash, unsigned often) {
  _Atomic uint8_t *seen = &c->seen[hash / LA_CODE_ROWS % LA_CODE_SEEN];
  const uint8_t n = atomic_load_explicit(seen, memory_order_relaxed);
  if (n < UINT8_MAX) {
    atomic_store_explicit(seen, (uint8_t)(n + 1), memory_order_relaxed);
  }
  return n + 1u >= often;
}

static la_code_t *add(la_codes_t *c, uint64_t hash, const void *bytes,
                      size_t size) {
  la_lock(&c->lock);
  la_code_t *e = find(c, hash, bytes, size);
  if (e == NULL && c->count < MAX_CODES && c->bytes + size <= MAX_BYTES) {
    e = la_alloc(sizeof *e + size);
    if (e != NULL) {
      e->hash = hash;
      e->size = (uint32_t)size;
      atomic_init(&e->user, NULL);
      atomic_init(&e->uses, 0);
      for (int i = 0; i < LA_CODE_NOTES; i++) {
        atomic_init(&e->notes[i], UINT64_MAX);
      }
      memcpy(e->bytes, bytes, size);
      e->next = atomic_load(&c->rows[hash % LA_CODE_ROWS]);
      atomic_store_explicit(&c->rows[hash % LA_CODE_ROWS], e,
                            memory_order_release);
      c->count++;
      c->bytes += size;
    }
  }
  la_unlock(&c->lock);
  return e;
}

la_code_t *la_codes_get(la_codes_t *c, const void *bytes, size_t size,
                        unsigned often) {
  const uint64_t hash = hash_of(bytes, size);
  la_code_t *e = find(c, hash, bytes, size);
  if (e != NULL || size > MAX_SIZE || !is_frequent(c, hash, often)) {
    return e;
  }
  return add(c, hash, bytes, size);
}

/* See map.h. */
#include "base/map.h"

#include "base/env.h"

#define FIRST_CAPACITY 4u

static uint32_t home_of(const la_map_t *m, uint64_t key) {
  key ^= key >> 32;
  key *= UINT64_C(0x9E3779B97F4A7C15);
  return (uint32_t)(key >> 32) & m->mask;
}

static la_map_cell_t *find(const la_map_t *m, uint64_t key) {
  if (m->cells == NULL) {
    return NULL;
  }
  for (uint32_t i = home_of(m, key);; i = (i + 1) & m->mask) {
    if (m->cells[i].key == key) {
      return &m->cells[i];
    }
    if (m->cells[i].key == 0) {
      return NULL;
    }
  }
}

void *la_map_get(const la_map_t *m, uint64_t key) {
  const la_map_cell_t *c = find(m, key);
  return c != NULL ? c->value : NULL;
}

static void insert_new(la_map_t *m, uint64_t key, void *value) {
  uint32_t i = home_of(m, key);
  while (m->cells[i].key != 0) {
    i = (i + 1) & m->mask;
  }
  m->cells[i] = (la_map_cell_t){key, value};
  m->count++;
}

static bool grow(la_map_t *m) {
  const la_map_t old = *m;
  const uint32_t cap = old.cells ? (old.mask + 1) * 2 : FIRST_CAPACITY;
  la_map_cell_t *cells = la_zalloc(cap * sizeof *cells);
  if (cells == NULL) {
    return false;
  }
  *m = (la_map_t){cells, cap - 1, 0};
  for (uint32_t i = 0; old.cells != NULL && i <= old.mask; i++) {
    if (old.cells[i].key != 0) {
      insert_new(m, old.cells[i].key, old.cells[i].value);
    }
  }
  la_free(old.cells);
  return true;
}

bool la_map_put(la_map_t *m, uint64_t key, void *value) {
  la_map_cell_t *c = find(m, key);
  if (c != NULL) {
    c->value = value;
    return true;
  }
  if (m->cells == NULL || (m->count + 1) * 4 > (m->mask + 1) * 3) {
    if (!grow(m)) {
      return false;
    }
  }
  insert_new(m, key, value);
  return true;
}

/* Close the gap at 'i' so that every probe chain stays unbroken. */
static void close_gap(la_map_t *m, uint32_t i) {
  for (uint32_t j = (i + 1) & m->mask; m->cells[j].key != 0;
       j = (j + 1) & m->mask) {
    const uint32_t home = home_of(m, m->cells[j].key);
    if (((j - home) & m->mask) >= ((j - i) & m->mask)) {
      m->cells[i] = m->cells[j];
      i = j;
    }
  }
  m->cells[i] = (la_map_cell_t){0, NULL};
}

void *la_map_remove(la_map_t *m, uint64_t key) {
  la_map_cell_t *c = find(m, key);
  if (c == NULL) {
    return NULL;
  }
  void *value = c->value;
  close_gap(m, (uint32_t)(c - m->cells));
  m->count--;
  return value;
}

void la_map_fini(la_map_t *m) {
  la_free(m->cells);
  *m = (la_map_t){0};
}

la_map_cell_t *la_map_next(const la_map_t *m, la_map_cell_t *c) {
  if (m->cells == NULL) {
    return NULL;
  }
  for (c = c == NULL ? m->cells : c + 1; c <= m->cells + m->mask; c++) {
    if (c->key != 0) {
      return c;
    }
  }
  return NULL;
}

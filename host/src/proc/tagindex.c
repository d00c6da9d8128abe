/* See tagindex.h.
 *
 * Every message has an entry, in an array, and the entries of one tag form two
 * chains in order of arrival, one for each lane. The chains hang in a hash table
 * with open addressing. A message knows its entry by number, so that it is found
 * again without a search; entry 0 stands for none.
 *
 * A wait for several tags has a place in each of their chains and takes the
 * message with the lowest number of arrival among them. An entry that is removed
 * moves the places on which it stands; a new one becomes the place of a chain whose
 * end has been reached. So places stay right over any change, as the cursor
 * of a mailbox does. */
#include "proc/tagindex.h"

#include <assert.h>
#include <string.h>

#include "base/env.h"

enum {
  FIRST_CELLS = 64,
  IDLE_LEAST = 1024, /* changes, see la_tagindex_is_idle */
  IDLE_FACTOR = 4
};

typedef struct entry {
  la_msg_t *msg;
  uint64_t arrival;
  uint32_t next, prev; /* in the chain; 'next' of a free entry: the next one */
} entry_t;

/* A tag that some message has; first[0] == first[1] == 0: an empty cell. */
typedef struct chain {
  uint32_t tag;
  uint32_t first[2], last[2];
} chain_t;

struct la_tagindex {
  la_heap_t *heap;
  entry_t *entries;
  chain_t *chains;
  uint32_t nentries; /* in the array; entry 0 is not used */
  uint32_t fresh;    /* all from here on have never been used */
  uint32_t free;     /* list of those that were */
  uint32_t mask;     /* cells - 1 */
  uint32_t nchains;
  uint32_t count;    /* messages */
  uint64_t arrivals;
  uint64_t changes;  /* since la_tagindex_want */
  uint32_t nwanted;
  uint32_t wanted[LA_TAGINDEX_WANTED];
  uint32_t at[2][LA_TAGINDEX_WANTED]; /* the places */
};

/* ---- memory ---------------------------------------------------------------- */

/* Count 'bytes' to the heap, unless little would be left of what the process may
 * have: it must not end for an index. */
static bool charge(la_heap_t *h, size_t bytes) {
  const size_t limit = h->lend != NULL ? h->most : h->limit;
  if (limit != 0 && h->used + h->others + bytes > limit - limit / 8) {
    return false;
  }
  h->others += bytes;
  return true;
}

static void *take(la_heap_t *h, size_t bytes) {
  if (!charge(h, bytes)) {
    return NULL;
  }
  void *p = la_zalloc(bytes);
  if (p == NULL) {
    h->others -= bytes;
  }
  return p;
}

static void give(la_heap_t *h, void *p, size_t bytes) {
  if (p != NULL) {
    h->others -= bytes;
    la_free(p);
  }
}

static bool more_entries(la_tagindex_t *x) {
  const uint32_t n = x->nentries * 2;
  const size_t more = (n - x->nentries) * sizeof *x->entries;
  if (n < x->nentries || !charge(x->heap, more)) {
    return false;
  }
  entry_t *entries = la_realloc(x->entries, n * sizeof *entries);
  if (entries == NULL) {
    x->heap->others -= more;
    return false;
  }
  x->entries = entries;
  x->nentries = n;
  return true;
}

/* ---- chains ------------------------------------------------------------------ */

static bool is_empty(const chain_t *c) {
  return (c->first[0] | c->first[1]) == 0;
}

static uint32_t home_of(const la_tagindex_t *x, uint32_t tag) {
  return (tag * UINT32_C(0x9E3779B1)) >> 7 & x->mask;
}

/* The chain of the tag, or the empty cell where it would be. */
static chain_t *find(const la_tagindex_t *x, uint32_t tag) {
  uint32_t i = home_of(x, tag);
  while (!is_empty(&x->chains[i]) && x->chains[i].tag != tag) {
    i = (i + 1) & x->mask;
  }
  return &x->chains[i];
}

static bool more_chains(la_tagindex_t *x) {
  chain_t *old = x->chains;
  const uint32_t cells = x->mask + 1;
  chain_t *chains = take(x->heap, 2 * (size_t)cells * sizeof *chains);
  if (chains == NULL) {
    return false;
  }
  x->chains = chains;
  x->mask = 2 * cells - 1;
  for (uint32_t i = 0; i < cells; i++) {
    if (!is_empty(&old[i])) {
      *find(x, old[i].tag) = old[i];
    }
  }
  give(x->heap, old, cells * sizeof *old);
  return true;
}

/* Close the gap that the last message of a tag has left. */
static void close_gap(la_tagindex_t *x, chain_t *c) {
  uint32_t i = (uint32_t)(c - x->chains);
  x->nchains--;
  for (uint32_t j = (i + 1) & x->mask; !is_empty(&x->chains[j]);
       j = (j + 1) & x->mask) {
    const uint32_t home = home_of(x, x->chains[j].tag);
    if (((j - home) & x->mask) >= ((j - i) & x->mask)) {
      x->chains[i] = x->chains[j];
      i = j;
    }
  }
  memset(&x->chains[i], 0, sizeof x->chains[i]);
}

/* ---- life ---------------------------------------------------------------------- */

la_tagindex_t *la_tagindex_new(la_heap_t *heap, uint32_t count) {
  la_tagindex_t *x = take(heap, sizeof *x);
  if (x == NULL) {
    return NULL;
  }
  x->heap = heap;
  x->nentries = count + count / 4 + 16;
  x->fresh = 1;
  x->mask = FIRST_CELLS - 1;
  x->entries = take(heap, x->nentries * sizeof *x->entries);
  x->chains = take(heap, FIRST_CELLS * sizeof *x->chains);
  if (x->entries == NULL || x->chains == NULL) {
    la_tagindex_free(x);
    return NULL;
  }
  return x;
}

void la_tagindex_free(la_tagindex_t *x) {
  la_heap_t *h = x->heap;
  give(h, x->entries, x->nentries * sizeof *x->entries);
  give(h, x->chains, ((size_t)x->mask + 1) * sizeof *x->chains);
  give(h, x, sizeof *x);
}

bool la_tagindex_is_idle(const la_tagindex_t *x) {
  return x->changes > IDLE_LEAST + (uint64_t)IDLE_FACTOR * x->count;
}

/* ---- places ---------------------------------------------------------------------- */

/* Which of the wanted tags this is, or 'nwanted'. */
static uint32_t wanted_index(const la_tagindex_t *x, uint32_t tag) {
  uint32_t i = 0;
  while (i < x->nwanted && x->wanted[i] != tag) {
    i++;
  }
  return i;
}

/* The first entry of the chain that did not arrive before 'from'; from both ends,
 * since it mostly is near one of them. */
static uint32_t place_in(const la_tagindex_t *x, const chain_t *c, int lane,
                         const la_msg_t *from) {
  if (from == NULL) {
    return 0;
  }
  const uint64_t arrival = x->entries[from->entry].arrival;
  uint32_t i = c->first[lane], j = c->last[lane], behind = 0;
  while (i != 0) {
    if (x->entries[i].arrival >= arrival) {
      return i;
    }
    if (x->entries[j].arrival < arrival) {
      return behind;
    }
    i = x->entries[i].next;
    behind = j;
    j = x->entries[j].prev;
  }
  return 0;
}

void la_tagindex_want(la_tagindex_t *x, const uint32_t *tags, uint32_t n,
                      la_msg_t *const from[2]) {
  assert(n > 0 && n <= LA_TAGINDEX_WANTED);
  x->changes = 0;
  x->nwanted = n;
  for (uint32_t i = 0; i < n; i++) {
    const chain_t *c = find(x, tags[i]);
    x->wanted[i] = tags[i];
    x->at[0][i] = place_in(x, c, 0, from[0]);
    x->at[1][i] = place_in(x, c, 1, from[1]);
  }
}

void la_tagindex_want_all(la_tagindex_t *x) {
  x->nwanted = 0;
}

bool la_tagindex_is_wanted(const la_tagindex_t *x) {
  return x->nwanted != 0;
}

la_msg_t *la_tagindex_next(const la_tagindex_t *x, int lane) {
  const entry_t *oldest = NULL;
  for (uint32_t i = 0; i < x->nwanted; i++) {
    const entry_t *e = &x->entries[x->at[lane][i]];
    if (x->at[lane][i] != 0 &&
        (oldest == NULL || e->arrival < oldest->arrival)) {
      oldest = e;
    }
  }
  return oldest != NULL ? oldest->msg : NULL;
}

void la_tagindex_pass(la_tagindex_t *x, const la_msg_t *m) {
  const uint32_t i = wanted_index(x, m->sig.tag);
  assert(i < x->nwanted && x->at[la_msg_lane(m)][i] == m->entry);
  x->at[la_msg_lane(m)][i] = x->entries[m->entry].next;
}

/* ---- messages ---------------------------------------------------------------------- */

static uint32_t take_entry(la_tagindex_t *x) {
  if (x->free != 0) {
    const uint32_t e = x->free;
    x->free = x->entries[e].next;
    return e;
  }
  if (x->fresh == x->nentries && !more_entries(x)) {
    return 0;
  }
  return x->fresh++;
}

bool la_tagindex_add(la_tagindex_t *x, la_msg_t *m) {
  if ((x->nchains + 1) * 4 > (x->mask + 1) * 3 && !more_chains(x)) {
    return false;
  }
  const int lane = la_msg_lane(m);
  const uint32_t e = take_entry(x);
  if (e == 0) {
    return false;
  }
  chain_t *c = find(x, m->sig.tag);
  if (is_empty(c)) {
    c->tag = m->sig.tag;
    x->nchains++;
  }
  x->entries[e] = (entry_t){m, ++x->arrivals, 0, c->last[lane]};
  if (c->last[lane] != 0) {
    x->entries[c->last[lane]].next = e;
  } else {
    c->first[lane] = e;
  }
  c->last[lane] = e;
  m->entry = e;
  x->count++;
  x->changes++;
  const uint32_t i = wanted_index(x, m->sig.tag);
  if (i < x->nwanted && x->at[lane][i] == 0) {
    x->at[lane][i] = e;
  }
  return true;
}

void la_tagindex_remove(la_tagindex_t *x, const la_msg_t *m) {
  const int lane = la_msg_lane(m);
  entry_t *e = &x->entries[m->entry];
  assert(e->msg == m);
  const uint32_t i = wanted_index(x, m->sig.tag);
  if (i < x->nwanted && x->at[lane][i] == m->entry) {
    x->at[lane][i] = e->next;
  }
  if (e->prev != 0) {
    x->entries[e->prev].next = e->next;
  }
  if (e->next != 0) {
    x->entries[e->next].prev = e->prev;
  }
  if (e->prev == 0 || e->next == 0) { /* at an end: the chain must know */
    chain_t *c = find(x, m->sig.tag);
    if (e->prev == 0) {
      c->first[lane] = e->next;
    }
    if (e->next == 0) {
      c->last[lane] = e->prev;
    }
    if (is_empty(c)) {
      close_gap(x, c);
    }
  }
  e->msg = NULL;
  e->next = x->free;
  x->free = m->entry;
  x->count--;
  x->changes++;
}

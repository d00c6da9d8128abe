/* See image.h.
 *
 * A state in one piece of memory could be moved if one knew which of its words
 * are pointers into that piece. Lua does not tell. But it can be found out: build
 * the same state several times at different addresses and compare the pieces
 * word by word. A word that is the same everywhere is a constant (a number, text,
 * the address of a C function). A word that differs from place to place by just the
 * distance of the places, and points into the piece, is a pointer. If every word
 * is one of the two, a copy at any other address is right after the distance has been
 * added to the pointers, since it is what building it there would have given. If
 * any word is neither, there is no image and states are built one by one.
 *
 * For this the buildings must not differ in anything but the address:
 *
 * 1. Memory comes from a deterministic allocator: the n-th request gets the n-th
 *    place. A first building, the *recording*, finds out which requests are still alive
 *    at the end; in the later ones those are laid out without gaps in the image
 *    and all others in a scratch area behind it. The sequence of requests
 *    is hashed; the hashes must be equal.
 * 2. Lua mixes the address of the new state into its hash seed (with that of a
 *    local variable, of a function, and the time), and the seed decides the
 *    order within tables. The mixing is weak: of a thousand addresses some
 *    three have the same seed. So we make states at many addresses until three
 *    match, from one depth of the C stack, within the same second. The seed is
 *    read from the hash field of a new long string; should that be something
 *    else in some Lua, the comparison will refuse.
 * 3. Tables with keys hashed by address (tables, functions, coroutines) have another
 *    order at another address, and so in clones. The distances are chosen so that any
 *    such table of four nodes or more must look different in the three buildings
 *    (Lua takes the address modulo 2^k - 1: no distance is a multiple of
 *    one), so it is refused. Smaller ones are right anywhere.
 * 4. What is dead must be dead in all: the libraries are opened on a coroutine which is
 *    collected later, so that the main stack never held anything; what a
 *    call to the collector leaves there is overwritten; strings in the cache of API
 *    strings, which goes by the address of the C string, are driven out.
 *    Words that no longer mean anything may point to the scratch area, at the
 *    same offset in all buildings. They are cleared, but for their low byte: in a
 *    closed upvalue the byte with the type of its value lies over such a word.
 * 5. For the same reason a word that is taken for a pointer may hold, in its low byte,
 *    such a type. Blocks are aligned to 256 bytes: adding their distance then never
 *    changes a low byte.
 *
 * 6. An image can be the beginning of another one: its clones, at three places, get more
 *    added (a function, a module), and are compared again. They have one hash
 *    seed anyway, so this takes no search and is much quicker. What was there before and is
 *    freed meanwhile leaves a gap.
 *
 * That the code relies on things which Lua does not promise is safe because it is
 * checked each time; a Lua of another kind costs the speed, nothing else.
 *
 * What the comparison cannot see: values that were the same in all buildings by
 * accident but would not be now, such as the time in seconds, and pointers to
 * memory of others. The maker must not put them there.
 *
 * The hash seed is that of the template for all clones. As in any one Lua
 * program an attacker may find keys that collide in all processes of the host; it
 * is another one in each host.
 *
 * The collector of a clone begins with a pause: it first runs when the heap has
 * grown to several times the image; a short-lived process never pays for it.
 *
 * Copying is the price of a spawn, so it is one loop over the words without a
 * branch: the word of the image plus the distance, masked by what the word is.
 */
#include "mem/image.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/env.h"

enum {
  ALIGN = 256, /* rule 5 */
  VECTOR = 32, /* bytes that are copied at once */
  /* One building place: [ image | scratch ]. */
  PLACE = 2 << 20,
  IMAGE_CAP = 512 << 10,
  CANDIDATES = 4096, /* places that are tried for their seed; they overlap */
  STEP = 64 << 10,   /* from one to the next */
  REGION = CANDIDATES * STEP + PLACE,
  MAX_REQUESTS = 1 << 15,
  BUILDS = 3,
  ATTEMPTS = 4,
  STRING_CACHE = 256, /* at least as many as Lua's cache has rows */
  FIRST_CYCLE = 1000, /* the collector's first pause, in percent */
  PAUSE = 200,        /* and all later ones: Lua's own */
  SLACK = 256,        /* least room behind the image for the first requests */
};

typedef uint64_t __attribute__((may_alias)) word_t;

/* Copy 'n' words and add 'base' to those with a mask of all ones. */
typedef void (*copy_t)(word_t *to, const word_t *from, const word_t *mask,
                       size_t n, uint64_t base);

struct la_image {
  word_t *words; /* pointers in it are offsets */
  word_t *masks; /* of each word: all ones for a pointer, else 0 */
  size_t size, live;
  size_t state, spot; /* offsets; spot 0: none */
  copy_t copy;
  la_pool_t *pool;
};

/* ---- cloning ------------------------------------------------------------------- */

/* Vectors of four words: any alignment of 'from' and 'mask', n divisible. */
typedef uint64_t vec_t __attribute__((vector_size(32), aligned(16), may_alias));

#define COPY_BODY                                                      \
  for (size_t i = 0; i < n; i += 4) {                                  \
    *(vec_t *)(to + i) = *(const vec_t *)(from + i) +                  \
                         (*(const vec_t *)(mask + i) & base);          \
  }

static void copy_plain(word_t *to, const word_t *from, const word_t *mask,
                       size_t n, uint64_t base) {
  COPY_BODY
}

#if defined(__x86_64__)
static void __attribute__((target("avx2")))
copy_avx2(word_t *to, const word_t *from, const word_t *mask, size_t n,
          uint64_t base) {
  COPY_BODY
}

static copy_t choose_copy(void) {
  return __builtin_cpu_supports("avx2") ? copy_avx2 : copy_plain;
}
#else
static copy_t choose_copy(void) {
  return copy_plain;
}
#endif

lua_State *la_image_copy_to(const la_image_t *im, void *block) {
  word_t *to = block;
  for (size_t i = 0; i < im->size / sizeof(word_t); i++) {
    to[i] = im->words[i] + (im->masks[i] & (uintptr_t)block);
  }
  return (lua_State *)(void *)((char *)block + im->state);
}

lua_State *la_image_clone(const la_image_t *im, la_pool_cache_t *cache,
                          la_heap_t *h) {
  char *block = la_pool_take(im->pool, cache);
  if (block == NULL) {
    return NULL;
  }
  im->copy((word_t *)(void *)block, im->words, im->masks,
           im->size / sizeof(word_t), (uintptr_t)block);
  la_heap_adopt(h, im->pool, block, im->size, im->live);
  lua_State *L = (lua_State *)(void *)(block + im->state);
  lua_setallocf(L, la_heap_realloc, h);
  return L;
}

bool la_image_has_spot(const la_image_t *im) {
  return im->spot != 0;
}

void *la_image_spot(const la_image_t *im, lua_State *clone) {
  return im->spot != 0 ? (char *)clone - im->state + im->spot : NULL;
}

size_t la_image_points_to(const la_image_t *im, unsigned n) {
  const size_t w = im->state / sizeof(word_t) + n;
  return im->masks[w] != 0 ? im->words[w] : 0;
}

size_t la_image_size(const la_image_t *im) {
  return im->size;
}

size_t la_image_live(const la_image_t *im) {
  return im->live;
}

/* ---- building: memory ---------------------------------------------------------- */

typedef enum {
  PROBE,  /* the state itself in its place, all else in one scratch area */
  RECORD, /* the same, and note what stays alive */
  REPLAY  /* what stays alive goes to the image */
} pass_t;

typedef struct builder {
  pass_t pass;
  char *base;             /* of the place now used */
  size_t given;           /* bytes of the image it began as; 0: none */
  char *scratch_base;     /* that place, too, or when probing a common one */
  size_t image, scratch;  /* bytes used of each */
  size_t live;
  uint32_t nrequests;
  uint64_t hash;          /* of all requests and frees so far */
  uint8_t *stays;         /* by number of the request */
  bool failed;
} builder_t;

/* Before each block in the scratch area, while recording. */
typedef struct {
  uint64_t request, pad;
} head_t;

static void mix(builder_t *b, uint64_t v) {
  b->hash = (b->hash ^ v) * UINT64_C(0x9E3779B97F4A7C15);
  b->hash ^= b->hash >> 29;
}

static bool is_in_image_area(const builder_t *b, const void *p) {
  return (const char *)p - b->base < IMAGE_CAP;
}

static void *build_get(builder_t *b, size_t size) {
  const uint32_t n = b->nrequests++;
  const size_t room = la_heap_round(size);
  mix(b, size);
  if (n >= MAX_REQUESTS) {
    b->failed = true;
    return NULL;
  }
  if (n == 0 || (b->pass == REPLAY && b->stays[n])) {
    if (room > IMAGE_CAP - b->image) {
      b->failed = true;
      return NULL;
    }
    b->image += room;
    return b->base + b->image - room;
  }
  if (room + sizeof(head_t) > PLACE - b->scratch) {
    b->failed = true;
    return NULL;
  }
  head_t *head = (head_t *)(void *)(b->scratch_base + b->scratch);
  b->scratch += sizeof *head + room;
  if (b->pass == RECORD) {
    head->request = n;
    b->stays[n] = 1;
  }
  return head + 1;
}

static void build_put(builder_t *b, void *p, size_t size) {
  mix(b, ~(uint64_t)size);
  if ((size_t)((char *)p - b->base) < b->given) {
    return; /* a gap from now on */
  }
  if (b->pass == RECORD && !is_in_image_area(b, p)) {
    b->stays[((head_t *)p - 1)->request] = 0;
  } else if (b->pass == REPLAY && is_in_image_area(b, p)) {
    b->failed = true; /* it was to stay */
  }
}

/* A lua_Alloc. Nothing is used twice. */
static void *build_realloc(void *ud, void *ptr, size_t osize, size_t nsize) {
  builder_t *b = ud;
  if (ptr == NULL) {
    if (nsize == 0) {
      return NULL;
    }
    void *p = build_get(b, nsize);
    b->live += p != NULL ? nsize : 0;
    return p;
  }
  if (nsize == 0) {
    build_put(b, ptr, osize);
    b->live -= osize;
    return NULL;
  }
  void *p = build_get(b, nsize);
  if (p == NULL) {
    return NULL;
  }
  memcpy(p, ptr, osize < nsize ? osize : nsize);
  build_put(b, ptr, osize);
  b->live += nsize - osize;
  return p;
}

static void begin_pass(builder_t *b, pass_t pass, char *base,
                       char *scratch_base) {
  b->pass = pass;
  b->base = base;
  b->scratch_base = scratch_base;
  b->given = b->image = 0;
  b->scratch = IMAGE_CAP;
  b->live = 0;
  b->nrequests = 0;
  b->hash = 1;
  b->failed = false;
}

/* All states are made here, at one depth of the stack (rule 2). */
static lua_State *__attribute__((noinline))
new_state(builder_t *b, pass_t pass, char *base, char *scratch_base) {
  begin_pass(b, pass, base, scratch_base);
  return lua_newstate(build_realloc, b);
}

/* A copy of 'from', to which more is added (rule 6). */
static lua_State *copied_state(builder_t *b, pass_t pass, char *base,
                               const la_image_t *from) {
  begin_pass(b, pass, base, base);
  b->given = b->image = from->size;
  b->live = from->live;
  b->nrequests = 1; /* the state itself is there */
  lua_State *L = la_image_copy_to(from, base);
  lua_setallocf(L, build_realloc, b);
  return L;
}

/* ---- building: three places of one seed ---------------------------------------- */

/* Rule 2. Offsets of Lua 5.4 on 64-bit machines. */
static unsigned seed_of(lua_State *L) {
  enum { TEXT = 24, HASH = 12 };
  static const char text[] =
      "a text that is longer than those which Lua keeps only once, for sure";
  unsigned seed;
  const char *s = lua_pushlstring(L, text, sizeof text - 1);
  memcpy(&seed, s - TEXT + HASH, sizeof seed);
  lua_pop(L, 1);
  return seed;
}

/* Rule 3. */
static bool is_good_distance(const char *a, const char *b) {
  const uint64_t d = a > b ? (uint64_t)(a - b) : (uint64_t)(b - a);
  if (d <= PLACE) {
    return false;
  }
  for (unsigned k = 2; k <= 20; k++) {
    if (d % ((UINT64_C(1) << k) - 1) == 0) {
      return false;
    }
  }
  return true;
}

/* The candidates in an order in which matching ones come soon. */
static char *candidate(char *region, unsigned i) {
  return region + (size_t)(i * 257u % CANDIDATES) * STEP;
}

/* Do two earlier candidates of the same seed go with the n-th? */
static bool match_seeds(char *region, const unsigned *seeds, unsigned n,
                        char *bases[BUILDS]) {
  unsigned found = 1;
  bases[0] = candidate(region, n);
  for (unsigned i = 0; i < n && found < BUILDS; i++) {
    if (seeds[i] != seeds[n]) {
      continue;
    }
    char *base = candidate(region, i);
    if (is_good_distance(base, bases[0]) &&
        (found == 1 || is_good_distance(base, bases[1]))) {
      bases[found++] = base;
    }
  }
  return found == BUILDS;
}

/* ---- building: the states ------------------------------------------------------ */

/* Rule 4: two strings that nobody else has, from addresses in every row of the
 * cache of API strings, drive all others out; the next collection
 * drives out these two. */
static void drive_out_strings(lua_State *L) {
  char text[2 * STRING_CACHE];
  for (char c = 1; c <= 2; c++) {
    for (size_t i = 0; i < sizeof text; i++) {
      text[i] = i % 2 == 0 ? c : '\0';
    }
    for (size_t i = 0; i < sizeof text; i += 2) {
      lua_pushstring(L, text + i);
      lua_pop(L, 1);
    }
  }
}

/* Rule 4. */
static void wipe_stack(lua_State *L) {
  const int n = LUA_MINSTACK;
  for (int i = 0; i < n; i++) {
    lua_pushinteger(L, 0);
  }
  lua_pop(L, n);
}

static void collect(lua_State *L) {
  drive_out_strings(L);
  wipe_stack(L);
  lua_gc(L, LUA_GCRESTART);
  lua_gc(L, LUA_GCCOLLECT);
  lua_gc(L, LUA_GCSETPAUSE, FIRST_CYCLE);
  lua_gc(L, LUA_GCCOLLECT);
  lua_gc(L, LUA_GCSETPAUSE, PAUSE);
}

/* What the comparison needs to know of a building. */
typedef struct {
  char *base;
  size_t image, live, state, spot;
  uint64_t hash;
} built_t;

/* Open the libraries in L. */
static bool fill(lua_State *L, const la_image_maker_t *m, void **spot,
                 char *why) {
  m->begin(L, m->ud);
  lua_gc(L, LUA_GCSTOP);
  lua_State *co = lua_newthread(L);
  lua_pushcfunction(co, m->open);
  lua_pushlightuserdata(co, m->ud);
  int nres;
  if (lua_resume(co, NULL, 1, &nres) != LUA_OK) {
    const char *text = lua_tostring(co, -1);
    snprintf(why, LA_IMAGE_WHY, "%s",
             text != NULL ? text : "an error without a text");
    return false;
  }
  lua_settop(co, 0);
  *spot = m->spot != NULL ? m->spot(co, m->ud) : NULL;
  lua_settop(L, 0);
  collect(L);
  return true;
}

static bool note(const builder_t *b, const lua_State *L, const void *spot,
                 built_t *at, char *why) {
  if (b->failed) {
    snprintf(why, LA_IMAGE_WHY, "the template is too large, or its making "
                                "does not repeat itself");
    return false;
  }
  *at = (built_t){
      .base = b->base,
      .image = b->image,
      .live = b->live,
      .state = (size_t)((const char *)(const void *)L - b->base),
      .spot = spot != NULL ? (size_t)((const char *)spot - b->base) : 0,
      .hash = b->hash,
  };
  return true;
}

static bool are_alike(const built_t *b, uint64_t recorded, char *why) {
  for (int i = 0; i < BUILDS; i++) {
    if (b[i].hash != recorded || b[i].image != b[0].image ||
        b[i].live != b[0].live || b[i].spot != b[0].spot ||
        b[i].spot >= b[0].image) {
      snprintf(why, LA_IMAGE_WHY, "the sequence of allocations differs");
      return false;
    }
  }
  return true;
}

/* ---- comparing ----------------------------------------------------------------- */

typedef enum { CONSTANT, POINTER, DEAD, BAD } word_kind_t;

/* Where the places are. */
typedef struct {
  char *at;
  size_t size;
} region_t;

static word_kind_t kind_of(const built_t *b, const region_t *region,
                           size_t w) {
  uint64_t v[BUILDS];
  for (int i = 0; i < BUILDS; i++) {
    v[i] = ((const word_t *)(const void *)b[i].base)[w];
  }
  if (v[0] == v[1] && v[0] == v[2]) {
    return v[0] - (uintptr_t)region->at < region->size ? BAD : CONSTANT;
  }
  const uint64_t at = v[0] - (uintptr_t)b[0].base;
  if (v[1] - (uintptr_t)b[1].base != at || v[2] - (uintptr_t)b[2].base != at) {
    return BAD;
  }
  if (at >= IMAGE_CAP && at < PLACE) {
    return DEAD;
  }
  /* The low byte may be something else (rule 5). */
  return at < b[0].image + ALIGN ? POINTER : BAD;
}

/* Fills words and masks. */
static bool compare(la_image_t *im, const built_t *b,
                    const region_t *region, char *why) {
  const size_t nwords = b[0].image / sizeof(word_t);
  memcpy(im->words, b[0].base, b[0].image);
  for (size_t w = 0; w < nwords; w++) {
    switch (kind_of(b, region, w)) {
      case CONSTANT:
        break;
      case POINTER:
        im->words[w] -= (uintptr_t)b[0].base;
        im->masks[w] = UINT64_MAX;
        break;
      case DEAD:
        im->words[w] &= 0xFF;
        break;
      case BAD:
        snprintf(why, LA_IMAGE_WHY,
                 "word %zu of %zu is neither a constant nor a pointer into "
                 "the state (%llx)",
                 w, nwords, (unsigned long long)im->words[w]);
        return false;
    }
  }
  return true;
}

static la_image_t *image_of(la_pools_t *pools, const built_t *b,
                            const region_t *region, char *why) {
  la_image_t *im = la_zalloc(sizeof *im);
  if (im == NULL) {
    return NULL;
  }
  im->size = (b[0].image + VECTOR - 1) / VECTOR * VECTOR;
  im->live = b[0].live;
  im->state = b[0].state;
  im->spot = b[0].spot;
  im->copy = choose_copy();
  im->pool = la_pools_get(pools, im->size + SLACK, ALIGN);
  im->words = la_alloc_aligned(VECTOR, im->size);
  im->masks = la_alloc_aligned(VECTOR, im->size);
  if (im->pool == NULL || im->words == NULL || im->masks == NULL) {
    la_image_free(im);
    return NULL;
  }
  memset(im->words, 0, im->size);
  memset(im->masks, 0, im->size);
  if (!compare(im, b, region, why)) {
    la_image_free(im);
    return NULL;
  }
  return im;
}

void la_image_free(la_image_t *im) {
  if (im != NULL) {
    la_free_aligned(im->words);
    la_free_aligned(im->masks);
    la_free(im);
  }
}

/* ---- making -------------------------------------------------------------------- */

/* Zeroes everywhere: what Lua leaves unset must be the same in all. */
static void blank(char *base) {
  const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  const uintptr_t down = (uintptr_t)base & (page - 1);
  madvise(base - down, (PLACE + down + page - 1) / page * page,
          MADV_DONTNEED);
}

/* One building after another. */
typedef struct {
  builder_t b;
  region_t region;
  const la_image_maker_t *maker;
  const la_image_t *from; /* what to begin with, or NULL */
  unsigned seed;          /* of a state without that */
  char *why;
} job_t;

/* Look for three places of one seed. Inlined into build_all, so that
 * the states are made at one depth of the stack there (rule 2). */
static inline __attribute__((always_inline)) bool
find_places(job_t *j, unsigned *seeds, char *bases[BUILDS]) {
  char *region = j->region.at;
  for (unsigned n = 0; n < CANDIDATES; n++) {
    lua_State *L = new_state(&j->b, PROBE, candidate(region, n), region);
    if (L == NULL) {
      return false;
    }
    seeds[n] = seed_of(L);
    if (match_seeds(region, seeds, n, bases)) {
      j->seed = seeds[n];
      return true;
    }
  }
  return false;
}

/* Places for copies: any that go together. */
static void choose_places(const job_t *j, char *bases[BUILDS]) {
  bases[0] = j->region.at;
  for (int i = 1; i < BUILDS; i++) {
    char *at = bases[i - 1] + PLACE;
    do {
      at += ALIGN;
    } while (!is_good_distance(at, bases[0]) ||
             !is_good_distance(at, bases[i - 1]));
    bases[i] = at;
  }
}

/* The recording and the three buildings. *again: it failed for a reason that may be
 * gone the next time. The states are not closed: all that they have is in the
 * region. */
static bool build_all(job_t *j, unsigned *seeds, built_t built[BUILDS],
                      bool *again) {
  char *bases[BUILDS];
  uint64_t recorded = 0;
  *again = true;
  if (j->from != NULL) {
    choose_places(j, bases);
  } else if (!find_places(j, seeds, bases)) {
    snprintf(j->why, LA_IMAGE_WHY, "no three places with the same hash seed");
    return false;
  }
  memset(j->b.stays, 0, MAX_REQUESTS);
  for (int i = -1; i < BUILDS; i++) {
    const pass_t pass = i < 0 ? RECORD : REPLAY;
    char *base = bases[i < 0 ? 0 : i];
    void *spot = NULL;
    built_t now;
    blank(base);
    lua_State *L = j->from != NULL ? copied_state(&j->b, pass, base, j->from)
                                   : new_state(&j->b, pass, base, base);
    if (L == NULL) {
      snprintf(j->why, LA_IMAGE_WHY, "no state");
      return false;
    }
    if (j->from == NULL && seed_of(L) != j->seed) {
      snprintf(j->why, LA_IMAGE_WHY, "the hash seed does not repeat itself");
      return false;
    }
    *again = false;
    if (!fill(L, j->maker, &spot, j->why) ||
        !note(&j->b, L, spot, &now, j->why)) {
      return false;
    }
    if (j->from != NULL && spot == NULL) {
      now.spot = j->from->spot;
    }
    if (i < 0) {
      recorded = j->b.hash;
    } else {
      built[i] = now;
    }
    *again = true;
  }
  *again = false;
  return are_alike(built, recorded, j->why);
}

/* One attempt in a fresh region. */
static la_image_t *attempt(la_pools_t *pools, job_t *j, unsigned *seeds,
                           bool *again) {
  built_t built[BUILDS];
  return build_all(j, seeds, built, again)
             ? image_of(pools, built, &j->region, j->why)
             : NULL;
}

static bool open_region(job_t *j, size_t size) {
  void *at = mmap(NULL, size, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  j->region = (region_t){at, size};
  return at != MAP_FAILED;
}

static bool begin_job(job_t *j, const la_image_maker_t *m,
                      const la_image_t *from, char *why) {
  *j = (job_t){.maker = m, .from = from, .why = why};
  snprintf(why, LA_IMAGE_WHY, "not enough memory");
  if (sizeof(void *) != sizeof(word_t)) {
    snprintf(why, LA_IMAGE_WHY, "not a 64-bit machine");
    return false;
  }
  j->b.stays = la_alloc(MAX_REQUESTS);
  return j->b.stays != NULL;
}

la_image_t *la_image_new(la_pools_t *pools, const la_image_maker_t *m,
                         char why[LA_IMAGE_WHY]) {
  la_image_t *im = NULL;
  job_t j;
  unsigned *seeds = la_alloc(CANDIDATES * sizeof *seeds);
  bool again = begin_job(&j, m, NULL, why) && seeds != NULL;
  for (int i = 0; i < ATTEMPTS && again && im == NULL; i++) {
    again = false;
    if (open_region(&j, REGION)) {
      im = attempt(pools, &j, seeds, &again);
      munmap(j.region.at, j.region.size);
    }
  }
  la_free(seeds);
  la_free(j.b.stays);
  return im;
}

la_image_t *la_image_derive(la_pools_t *pools, const la_image_t *from,
                            const la_image_maker_t *m,
                            char why[LA_IMAGE_WHY]) {
  la_image_t *im = NULL;
  job_t j;
  bool again;
  if (begin_job(&j, m, from, why) && open_region(&j, BUILDS * 2 * PLACE)) {
    im = attempt(pools, &j, NULL, &again);
    munmap(j.region.at, j.region.size);
  }
  la_free(j.b.stays);
  return im;
}

/* The allocator of a process. The sanitizers see what is not given back. */
#include "mem/heap.h"

#include "base/env.h"
#include "unit.h"

#define TYPE_TAG 5 /* Lua passes the kind of object as size of a new block */

static la_heap_t heap;
static int refusals, limits;
static size_t reserve; /* what the first call of on_limit adds */

static void on_refusal(la_heap_t *h) {
  assert_ptr_equal(h, &heap);
  refusals++;
}

static void on_limit(la_heap_t *h) {
  assert_ptr_equal(h, &heap);
  limits++;
  h->limit += reserve;
  reserve = 0;
}

static void start(size_t limit) {
  la_heap_init(&heap, limit);
  heap.on_refusal = on_refusal;
  heap.on_limit = on_limit;
  refusals = limits = 0;
  reserve = 0;
}

static void *get(size_t n) {
  return la_heap_realloc(&heap, NULL, TYPE_TAG, n);
}

static void put(void *p, size_t n) {
  assert_null(la_heap_realloc(&heap, p, n, 0));
}

static void fill(void *p, size_t n, uint8_t byte) {
  memset(p, byte, n);
}

static bool is_filled(const void *p, size_t n, uint8_t byte) {
  const uint8_t *b = p;
  for (size_t i = 0; i < n; i++) {
    if (b[i] != byte) {
      return false;
    }
  }
  return true;
}

static void serves_every_size_aligned(void **state) {
  (void)state;
  enum { MOST = 2100 };
  static void *blocks[MOST + 1];
  start(0);
  size_t total = 0;
  for (size_t n = 1; n <= MOST; n++) {
    blocks[n] = get(n);
    assert_non_null(blocks[n]);
    assert_int_equal((uintptr_t)blocks[n] % 16, 0);
    fill(blocks[n], n, (uint8_t)n);
    total += n;
    assert_int_equal(heap.used, total);
  }
  for (size_t n = 1; n <= MOST; n++) {
    assert_true(is_filled(blocks[n], n, (uint8_t)n));
    put(blocks[n], n);
  }
  assert_int_equal(heap.used, 0);
  la_heap_fini(&heap, NULL);
}

static void gives_a_freed_block_to_the_next_of_its_class(void **state) {
  (void)state;
  static const size_t sizes[] = {1, 16, 17, 200, 256, 257, 1000, 1024};
  start(0);
  for (size_t i = 0; i < COUNT(sizes); i++) {
    void *p = get(sizes[i]);
    put(p, sizes[i]);
    assert_ptr_equal(get(sizes[i]), p);
    put(p, sizes[i]);
  }
  la_heap_fini(&heap, NULL);
}

/* A table that grows and shrinks needs no more chunks the second time. */
static void needs_no_more_memory_for_the_same_again(void **state) {
  (void)state;
  enum { N = 1000 };
  static void *blocks[N];
  start(0);
  la_heap_chunk_t *after_first = NULL;
  for (int round = 0; round < 5; round++) {
    for (int i = 0; i < N; i++) {
      blocks[i] = get((size_t)(i % 40) * 25 + 1);
    }
    for (int i = 0; i < N; i++) {
      put(blocks[i], (size_t)(i % 40) * 25 + 1);
    }
    if (round == 0) {
      after_first = heap.chunks;
    }
    assert_ptr_equal(heap.chunks, after_first);
  }
  la_heap_fini(&heap, NULL);
}

static void keeps_the_content_of_what_grows_and_shrinks(void **state) {
  (void)state;
  enum { N = 64, STEPS = 50000 };
  static struct {
    void *p;
    size_t n;
    uint8_t byte;
  } b[N];
  memset(b, 0, sizeof b);
  seed_random("heap");
  start(0);
  size_t used = 0;
  for (int step = 0; step < STEPS; step++) {
    const size_t i = random_below(N);
    const size_t n = random_below(random_below(4) == 0 ? 20000 : 1200);
    void *p = la_heap_realloc(&heap, b[i].p, b[i].p != NULL ? b[i].n : TYPE_TAG,
                              n);
    assert_true((p == NULL) == (n == 0));
    const size_t kept = b[i].p == NULL ? 0 : n < b[i].n ? n : b[i].n;
    assert_true(kept == 0 || is_filled(p, kept, b[i].byte));
    used += n - (b[i].p != NULL ? b[i].n : 0);
    assert_int_equal(heap.used, used);
    b[i].p = p;
    b[i].n = n;
    b[i].byte = (uint8_t)random_bits();
    if (p != NULL) {
      fill(p, n, b[i].byte);
    }
  }
  la_heap_fini(&heap, NULL); /* with all that is still in use */
  assert_null(heap.chunks);
  assert_null(heap.large);
  assert_int_equal(heap.used, 0);
}

static void notes_the_first_refusal_and_reports_the_second(void **state) {
  (void)state;
  start(10000);
  void *p = get(9000);
  assert_null(get(2000));
  assert_int_equal(refusals, 1);
  assert_int_equal(limits, 0);
  assert_int_equal(heap.refused, 2000);
  assert_null(get(2000)); /* Lua has collected and asks again */
  assert_int_equal(refusals, 1);
  assert_int_equal(limits, 1);
  assert_int_equal(heap.used, 9000);
  put(p, 9000);
  la_heap_fini(&heap, NULL);
}

static void forgets_a_refusal_when_the_same_request_succeeds(void **state) {
  (void)state;
  start(10000);
  void *p = get(9000);
  assert_null(get(2000));
  put(p, 9000);
  p = get(500);
  assert_int_equal(heap.refused, 2000); /* another request says nothing */
  assert_non_null(get(2000));
  assert_int_equal(heap.refused, 0);
  assert_int_equal(limits, 0);
  la_heap_fini(&heap, NULL);
}

static void grants_the_second_request_from_a_reserve(void **state) {
  (void)state;
  start(10000);
  assert_non_null(get(9000));
  assert_null(get(2000));
  reserve = 5000;
  assert_non_null(get(2000));
  assert_int_equal(limits, 1);
  assert_int_equal(heap.used, 11000);
  assert_null(get(8000));
  assert_int_equal(limits, 1); /* another request: noted first */
  assert_null(get(8000));
  assert_int_equal(limits, 2);
  la_heap_fini(&heap, NULL);
}

static void counts_what_is_held_outside(void **state) {
  (void)state;
  start(10000);
  heap.others = 9500;
  assert_false(la_heap_is_over(&heap));
  assert_null(get(501));
  assert_non_null(get(500));
  assert_false(la_heap_is_over(&heap));
  heap.others++;
  assert_true(la_heap_is_over(&heap));
  la_heap_fini(&heap, NULL);
}

static void shrinks_whatever_the_limit(void **state) {
  (void)state;
  start(10000);
  void *p = get(8000);
  fill(p, 8000, 9);
  heap.limit = 100;
  assert_true(la_heap_is_over(&heap));
  p = la_heap_realloc(&heap, p, 8000, 3000);
  assert_non_null(p);
  p = la_heap_realloc(&heap, p, 3000, 50);
  assert_non_null(p);
  assert_true(is_filled(p, 50, 9));
  assert_int_equal(refusals + limits, 0);
  la_heap_fini(&heap, NULL);
}

#ifdef LUACTOR_FAIL_ALLOC
static void stays_whole_when_the_machine_has_no_memory(void **state) {
  (void)state;
  start(0);
  void *small = get(100), *large = get(5000);
  fill(small, 100, 1);
  fill(large, 5000, 2);
  la_alloc_countdown(0);
  assert_null(get(4000));
  assert_null(la_heap_realloc(&heap, large, 5000, 6000));
  assert_null(la_heap_realloc(&heap, small, 100, 5000));
  assert_int_equal(heap.used, 5100);
  /* Shrinking must not fail: the block stays, and is of another class now. */
  large = la_heap_realloc(&heap, large, 5000, 1024);
  assert_non_null(large);
  la_alloc_countdown(-1);
  assert_true(is_filled(small, 100, 1) && is_filled(large, 1024, 2));
  put(large, 1024);
  assert_ptr_equal(get(1024), large);
  fill(large, 1024, 3);
  assert_int_equal(heap.used, 1124);
  assert_int_equal(heap.refused, 0); /* no limit was in the way */
  la_heap_fini(&heap, NULL);
}
#endif

/* Many blocks, then few: what was in use stays as it was, the rest goes. */
static void trimming_gives_unused_chunks_back(void **state) {
  (void)state;
  enum { N = 5000, LEFT = 50 };
  static unsigned char *b[N];
  static size_t size[N];
  start(0);
  unsigned r = 7;
  for (int i = 0; i < N; i++) {
    r = r * 1103515245 + 12345;
    size[i] = 1 + (r >> 8) % 600;
    b[i] = get(size[i]);
    memset(b[i], i, size[i]);
  }
  const size_t most = heap.chunk_bytes;
  assert_false(la_heap_wants_trim(&heap));
  for (int i = LEFT; i < N; i++) {
    put(b[i], size[i]);
  }
  assert_true(la_heap_wants_trim(&heap));
  la_heap_trim(&heap);
  assert_true(heap.chunk_bytes < most / 8);
  assert_false(la_heap_wants_trim(&heap));
  for (int i = LEFT; i < N; i++) {
    b[i] = get(size[i]);
    memset(b[i], i, size[i]);
  }
  for (int i = 0; i < N; i++) {
    for (size_t k = 0; k < size[i]; k++) {
      assert_int_equal(b[i][k], (unsigned char)i);
    }
    put(b[i], size[i]);
  }
  assert_int_equal(heap.used, 0);
  la_heap_trim(&heap);
  assert_int_equal(heap.chunk_bytes, 0);
  void *p = get(100);
  put(p, 100);
  la_heap_fini(&heap, NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(trimming_gives_unused_chunks_back),
      cmocka_unit_test(serves_every_size_aligned),
      cmocka_unit_test(gives_a_freed_block_to_the_next_of_its_class),
      cmocka_unit_test(needs_no_more_memory_for_the_same_again),
      cmocka_unit_test(keeps_the_content_of_what_grows_and_shrinks),
      cmocka_unit_test(notes_the_first_refusal_and_reports_the_second),
      cmocka_unit_test(forgets_a_refusal_when_the_same_request_succeeds),
      cmocka_unit_test(grants_the_second_request_from_a_reserve),
      cmocka_unit_test(counts_what_is_held_outside),
      cmocka_unit_test(shrinks_whatever_the_limit),
#ifdef LUACTOR_FAIL_ALLOC
      cmocka_unit_test(stays_whole_when_the_machine_has_no_memory),
#endif
  };
  return cmocka_run_group_tests_name("heap", tests, NULL, NULL);
}

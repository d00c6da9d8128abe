/* Pools: blocks are apart, come back, and their memory goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <string.h>

#include "mem/pool.h"

static la_env_t env;
static la_pools_t pools;

static int begin(void **state) {
  (void)state;
  la_env_init_system(&env);
  la_pools_init(&pools, &env);
  return 0;
}

static int end(void **state) {
  (void)state;
  la_pools_fini(&pools);
  return 0;
}

static void sizes_have_pools_of_their_own(void **state) {
  (void)state;
  la_pool_t *a = la_pools_get(&pools, 1000, 64);
  assert_non_null(a);
  assert_true(la_pool_size(a) >= 1000 && la_pool_size(a) % 64 == 0);
  assert_ptr_equal(la_pools_get(&pools, la_pool_size(a), 64), a);
  assert_ptr_not_equal(la_pools_get(&pools, la_pool_size(a) + 1, 64), a);
  assert_null(la_pools_get(&pools, 64 << 20, 64));
}

/* Every block is used from end to end: two that overlap would show. */
static void blocks_do_not_overlap(void **state) {
  (void)state;
  enum { N = 3000 };
  static unsigned char *block[N];
  static la_pool_cache_t cache;
  la_pool_t *p = la_pools_get(&pools, 2000, 256);
  const size_t size = la_pool_size(p);
  unsigned r = 1;
  for (int round = 0; round < 4 * N; round++) {
    r = r * 1103515245 + 12345;
    const int i = (int)(r >> 8) % N;
    la_pool_cache_t *c = r & 64 ? &cache : NULL;
    if (block[i] != NULL) {
      assert_int_equal(block[i][0], (unsigned char)i);
      assert_memory_equal(block[i], block[i] + 1, size - 1);
      la_pool_give(p, c, block[i]);
      block[i] = NULL;
    } else {
      block[i] = la_pool_take(p, c);
      assert_int_equal((uintptr_t)block[i] % 256, 0);
      memset(block[i], i, size);
    }
  }
  for (int i = 0; i < N; i++) {
    if (block[i] != NULL) {
      la_pool_give(p, &cache, block[i]);
    }
  }
  la_pool_flush(&pools, &cache);
}

static void the_last_block_given_is_taken_first(void **state) {
  (void)state;
  la_pool_cache_t cache = {0};
  la_pool_t *p = la_pools_get(&pools, 2000, 256);
  void *a = la_pool_take(p, &cache), *b = la_pool_take(p, &cache);
  la_pool_give(p, &cache, a);
  la_pool_give(p, &cache, b);
  assert_ptr_equal(la_pool_take(p, &cache), b);
  assert_ptr_equal(la_pool_take(p, &cache), a);
  la_pool_give(p, &cache, a);
  la_pool_give(p, &cache, b);
  la_pool_flush(&pools, &cache);
}

/* 64 MB in blocks, given back: the pool first keeps the memory, trimming lets all
 * but a little of it go, and it can be had again. */
static void memory_goes_back(void **state) {
  (void)state;
  enum { N = 1000 };
  static void *block[N];
  la_pool_cache_t cache = {0};
  la_pool_t *p = la_pools_get(&pools, 64 << 10, 256);
  for (int round = 0; round < 2; round++) {
    for (int i = 0; i < N; i++) {
      block[i] = la_pool_take(p, &cache);
      assert_non_null(block[i]);
      memset(block[i], 1, 100);
    }
    assert_false(la_pools_want_trim(&pools));
    for (int i = 0; i < N; i++) {
      la_pool_give(p, &cache, block[i]);
    }
    la_pool_flush(&pools, &cache);
    assert_true(la_pools_want_trim(&pools));
    uint64_t now = la_now(&env);
    uint64_t next = la_pools_trim(&pools, now);
    assert_true(next > now); /* not yet */
    assert_true(la_pools_want_trim(&pools));
    while (next != UINT64_MAX) {
      assert_true(next > now);
      now = next;
      next = la_pools_trim(&pools, now);
    }
    assert_false(la_pools_want_trim(&pools));
  }
}

static la_pool_t *shared;
static void *_Atomic handed[64];

/* Takes blocks and hands them on; frees what others handed. */
static void *trade(void *arg) {
  la_pool_cache_t cache = {0};
  unsigned r = (unsigned)(uintptr_t)arg;
  for (int i = 0; i < 20000; i++) {
    r = r * 1103515245 + 12345;
    void *b = la_pool_take(shared, &cache);
    assert_non_null(b);
    memset(b, (int)r, 64);
    b = atomic_exchange(&handed[(r >> 8) % 64], b);
    if (b != NULL) {
      la_pool_give(shared, &cache, b);
    }
  }
  la_pool_flush(&pools, &cache);
  return NULL;
}

static void threads_share_a_pool(void **state) {
  (void)state;
  pthread_t t[4];
  shared = la_pools_get(&pools, 3000, 256);
  for (uintptr_t i = 0; i < 4; i++) {
    pthread_create(&t[i], NULL, trade, (void *)(i + 1));
  }
  for (int i = 0; i < 4; i++) {
    pthread_join(t[i], NULL);
  }
  for (int i = 0; i < 64; i++) {
    void *b = atomic_load(&handed[i]);
    if (b != NULL) {
      la_pool_give(shared, NULL, b);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(sizes_have_pools_of_their_own, begin,
                                      end),
      cmocka_unit_test_setup_teardown(blocks_do_not_overlap, begin, end),
      cmocka_unit_test_setup_teardown(the_last_block_given_is_taken_first,
                                      begin, end),
      cmocka_unit_test_setup_teardown(memory_goes_back, begin, end),
      cmocka_unit_test_setup_teardown(threads_share_a_pool, begin, end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

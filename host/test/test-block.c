/* Message blocks: classes, magazines, the depot between threads. */
#include <pthread.h>

#include "mem/block.h"
#include "unit.h"

static la_depot_t depot;
static la_blocks_t mine;

static int setup(void **state) {
  (void)state;
  la_depot_init(&depot);
  la_blocks_init(&mine, &depot);
  la_blocks_here = &mine;
  return 0;
}

static int teardown(void **state) {
  (void)state;
  la_blocks_here = NULL;
  la_blocks_fini(&mine);
  la_depot_fini(&depot);
  return 0;
}

static uint32_t in_depot(void) {
  uint32_t n = 0;
  for (int i = 0; i < LA_BLOCK_CLASSES; i++) {
    n += depot.nbatches[i];
  }
  return n;
}

static void reuses_blocks_of_a_class(void **state) {
  (void)state;
  char *a = la_block_new(70);
  memset(a, 1, 70);
  la_block_free(a, 70);
  char *b = la_block_new(96);
  if (LA_BLOCK_KEEP) {
    assert_ptr_equal(a, b);
  }
  memset(b, 2, 96); /* the whole class belongs to it */
  char *c = la_block_new(97);
  assert_ptr_not_equal(b, c);
  memset(c, 3, 128);
  la_block_free(b, 96);
  la_block_free(c, 97);
}

static void leaves_large_ones_alone(void **state) {
  (void)state;
  for (size_t size = 480; size < 10000; size += 31) {
    char *p = la_block_new(size);
    memset(p, 7, size);
    la_block_free(p, size);
  }
  assert_int_equal(in_depot(), 0);
}

/* Blocks never overlap while they are in use, whatever the order. */
static void keeps_contents_apart(void **state) {
  (void)state;
  seed_random("keeps_contents_apart");
  static struct {
    unsigned char *p, mark;
    size_t size;
  } held[1000];
  memset(held, 0, sizeof held);
  for (int i = 0; i < 200000; i++) {
    const size_t k = random_below(COUNT(held));
    if (held[k].p != NULL) {
      for (size_t b = 0; b < held[k].size; b++) {
        assert_int_equal(held[k].p[b], held[k].mark);
      }
      la_block_free(held[k].p, held[k].size);
      held[k].p = NULL;
    } else {
      held[k].size = 16 + random_below(700);
      held[k].mark = (unsigned char)random_bits();
      held[k].p = la_block_new(held[k].size);
      assert_non_null(held[k].p);
      memset(held[k].p, held[k].mark, held[k].size);
    }
  }
  for (size_t k = 0; k < COUNT(held); k++) {
    if (held[k].p != NULL) {
      la_block_free(held[k].p, held[k].size);
    }
  }
}

enum { MANY = 20 * LA_BLOCK_BATCH };

static void *free_all(void *arg) {
  void **blocks = arg;
  la_blocks_t own;
  la_blocks_init(&own, &depot);
  la_blocks_here = &own;
  for (int i = 0; i < MANY; i++) {
    la_block_free(blocks[i], 100);
  }
  la_blocks_fini(&own);
  la_blocks_here = NULL;
  return NULL;
}

static void *free_plain(void *arg) {
  void **blocks = arg;
  for (int i = 0; i < MANY; i++) {
    la_block_free(blocks[i], 100);
  }
  return NULL;
}

static void make_many(void **blocks) {
  for (int i = 0; i < MANY; i++) {
    blocks[i] = la_block_new(100);
    assert_non_null(blocks[i]);
  }
}

static void brings_blocks_back(void **state) {
  (void)state;
  static void *blocks[MANY];
  pthread_t id;
  make_many(blocks);
  assert_int_equal(pthread_create(&id, NULL, free_all, blocks), 0);
  pthread_join(id, NULL);
  if (LA_BLOCK_KEEP) {
    assert_true(in_depot() >= MANY / LA_BLOCK_BATCH - 2);
  }
  const uint32_t before = in_depot();
  make_many(blocks);
  assert_true(in_depot() < before || before == 0);
  free_all(blocks);
  la_blocks_here = &mine;
}

static void serves_threads_without_magazines(void **state) {
  (void)state;
  static void *blocks[MANY];
  pthread_t id;
  make_many(blocks);
  assert_int_equal(pthread_create(&id, NULL, free_plain, blocks), 0);
  pthread_join(id, NULL);
  assert_int_equal(in_depot(), 0);
}

static void bounds_the_depot(void **state) {
  (void)state;
  enum { N = 3 * (int)(LA_BLOCK_DEPOT_BYTES / 512) };
  static void *blocks[N];
  for (int i = 0; i < N; i++) {
    blocks[i] = la_block_new(512);
  }
  for (int i = 0; i < N; i++) {
    la_block_free(blocks[i], 512);
  }
  assert_true(in_depot() * LA_BLOCK_BATCH * 512 <= LA_BLOCK_DEPOT_BYTES);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(reuses_blocks_of_a_class), TEST(leaves_large_ones_alone),
      TEST(keeps_contents_apart),     TEST(brings_blocks_back),
      TEST(serves_threads_without_magazines), TEST(bounds_the_depot)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

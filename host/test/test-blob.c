/* Blobs and what a host remembers of them. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "term/blob.h"

static la_blobs_t home;
static uint8_t bytes[LA_BLOBS_LARGEST + 1];

static int setup(void **state) {
  (void)state;
  la_blobs_init(&home);
  for (size_t i = 0; i < sizeof bytes; i++) {
    bytes[i] = (uint8_t)(i * 7);
  }
  return 0;
}

static int teardown(void **state) {
  (void)state;
  la_blobs_fini(&home);
  return 0;
}

/* A blob that nobody holds; returns its number. */
static uint64_t parked(size_t size) {
  la_blob_t *b = la_blob_new(&home, bytes, size);
  const uint64_t number = b->number;
  la_blob_unref(b);
  return number;
}

static bool is_found(uint64_t number, size_t size) {
  la_blob_t *b = la_blobs_find(&home, number);
  if (b == NULL) {
    return false;
  }
  assert_int_equal(b->size, size);
  assert_memory_equal(b->bytes, bytes, size);
  la_blob_unref(b);
  return true;
}

static void lives_without_a_home(void **state) {
  (void)state;
  la_blob_t *b = la_blob_new(NULL, bytes, 10000);
  assert_int_equal(b->number, 0);
  la_blob_ref(b);
  la_blob_unref(b);
  assert_memory_equal(b->bytes, bytes, 10000);
  la_blob_unref(b);
}

static void is_found_while_held_and_after(void **state) {
  (void)state;
  la_blob_t *b = la_blob_new(&home, bytes, 9000);
  const uint64_t number = b->number;
  assert_true(number != 0 && is_found(number, 9000));
  la_blob_unref(b);
  assert_int_equal(home.parked, 9000);
  assert_true(is_found(number, 9000) && is_found(number, 9000));
  assert_null(la_blobs_find(&home, number + 1));
  assert_null(la_blobs_find(&home, number + LA_BLOBS_RECENT));
}

static void is_forgotten_in_time(void **state) {
  (void)state;
  la_blob_t *held = la_blob_new(&home, bytes, 9000);
  const uint64_t number = held->number;
  const uint64_t loose = parked(9001);
  for (int i = 0; i < LA_BLOBS_RECENT; i++) {
    parked((size_t)20000 + 30000 * (size_t)(i % 2));
  }
  assert_false(is_found(number, 9000) || is_found(loose, 9001));
  assert_memory_equal(held->bytes, bytes, 9000);
  la_blob_unref(held);
  assert_null(la_blobs_find(&home, number));
}

static void gives_its_memory_to_later_ones(void **state) {
  (void)state;
  la_blob_t *b = la_blob_new(&home, bytes, 50000);
  const void *at = b;
  la_blob_unref(b);
  bool reused = false;
  for (int i = 0; i < LA_BLOBS_RECENT && !reused; i++) {
    b = la_blob_new(&home, bytes + i, 40000);
    assert_memory_equal(b->bytes, bytes + i, 40000);
    reused = b == at;
    la_blob_unref(b);
  }
  assert_true(reused);
  /* Not the one that is held, nor one that is too small or far too large. */
  la_blob_t *held = la_blob_new(&home, bytes, 30000);
  for (int i = 0; i < 3 * LA_BLOBS_RECENT; i++) {
    parked((size_t)29000 + (size_t)i * 10);
    assert_memory_equal(held->bytes, bytes, 30000);
  }
  la_blob_unref(held);
}

static void keeps_within_its_bounds(void **state) {
  (void)state;
  la_blob_t *b = la_blob_new(&home, bytes, LA_BLOBS_LARGEST + 1);
  assert_int_equal(b->number, 0);
  la_blob_unref(b);
  assert_int_equal(home.parked, 0);
  la_blob_t *all[8];
  for (int i = 0; i < 8; i++) {
    all[i] = la_blob_new(&home, bytes, LA_BLOBS_LARGEST);
  }
  for (int i = 0; i < 8; i++) {
    la_blob_unref(all[i]);
    assert_true(home.parked <= LA_BLOBS_PARKED);
  }
  assert_int_equal(home.parked, LA_BLOBS_PARKED);
}

static _Atomic uint64_t latest;

static void *churn(void *arg) {
  const int seed = *(int *)arg;
  for (int i = 0; i < 3000; i++) {
    const size_t size = 8192 + (size_t)(i * seed % 5) * 3000;
    la_blob_t *b =
        i % 3 == 0 ? la_blob_new(&home, bytes, size)
                   : la_blobs_find(&home, atomic_load(&latest) - i % 4);
    if (b == NULL) {
      continue;
    }
    if (i % 3 == 0) {
      atomic_store(&latest, b->number);
    }
    la_blob_ref(b);
    la_blob_unref(b);
    if (memcmp(b->bytes, bytes, b->size) != 0) {
      abort();
    }
    la_blob_unref(b);
  }
  return NULL;
}

static void serves_many_threads(void **state) {
  (void)state;
  pthread_t threads[3];
  int seeds[3] = {1, 2, 3};
  for (int i = 0; i < 3; i++) {
    assert_int_equal(pthread_create(&threads[i], NULL, churn, &seeds[i]), 0);
  }
  for (int i = 0; i < 3; i++) {
    pthread_join(threads[i], NULL);
  }
  size_t total = 0;
  for (int i = 0; i < LA_BLOBS_RECENT; i++) {
    if (home.recent[i] != NULL) {
      assert_int_equal(home.recent[i]->refs, 0);
      total += home.recent[i]->room;
    }
  }
  assert_int_equal(total, home.parked);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(lives_without_a_home),
      TEST(is_found_while_held_and_after),
      TEST(is_forgotten_in_time),
      TEST(gives_its_memory_to_later_ones),
      TEST(keeps_within_its_bounds),
      TEST(serves_many_threads),
  };
  return cmocka_run_group_tests_name("blob", tests, NULL, NULL);
}

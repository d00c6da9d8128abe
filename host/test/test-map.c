/* The hash map of identities, against an array that is searched. */
#include "base/map.h"

#include "base/env.h"
#include "unit.h"

static int values[1000];

static void is_empty_without_memory(void **state) {
  (void)state;
  la_map_t m = {0};
  assert_null(la_map_get(&m, 1));
  assert_null(la_map_remove(&m, 1));
  assert_null(la_map_next(&m, NULL));
  la_map_fini(&m);
  assert_null(m.cells);
}

static void keeps_and_replaces(void **state) {
  (void)state;
  la_map_t m = {0};
  assert_true(la_map_put(&m, 7, &values[0]));
  assert_ptr_equal(la_map_get(&m, 7), &values[0]);
  assert_true(la_map_put(&m, 7, &values[1]));
  assert_ptr_equal(la_map_get(&m, 7), &values[1]);
  assert_int_equal(m.count, 1);
  assert_null(la_map_get(&m, 8));
  assert_ptr_equal(la_map_remove(&m, 7), &values[1]);
  assert_null(la_map_get(&m, 7));
  assert_int_equal(m.count, 0);
  la_map_fini(&m);
}

static void visits_each_entry_once(void **state) {
  (void)state;
  la_map_t m = {0};
  for (uint64_t k = 1; k <= 1000; k++) {
    assert_true(la_map_put(&m, k << 32, &values[k - 1]));
  }
  bool seen[1000] = {false};
  uint32_t n = 0;
  for (la_map_cell_t *c = NULL; (c = la_map_next(&m, c)) != NULL; n++) {
    const size_t i = (size_t)((int *)c->value - values);
    assert_true(c->key == (uint64_t)(i + 1) << 32);
    assert_false(seen[i]);
    seen[i] = true;
  }
  assert_int_equal(n, 1000);
  la_map_fini(&m);
}

/* Few keys, so that chains of probes grow, wrap round and are broken up. */
static void agrees_with_an_array(void **state) {
  (void)state;
  enum { KEYS = 200, STEPS = 200000 };
  static uint64_t keys[KEYS];
  static void *model[KEYS];
  seed_random("map");
  for (int i = 0; i < KEYS; i++) {
    keys[i] = random_bits() | 1;
    model[i] = NULL;
  }
  la_map_t m = {0};
  uint32_t count = 0;
  for (int step = 0; step < STEPS; step++) {
    const size_t i = random_below(KEYS);
    switch (random_below(3)) {
      case 0:
        assert_true(la_map_put(&m, keys[i], &values[i]));
        count += model[i] == NULL;
        model[i] = &values[i];
        break;
      case 1:
        assert_ptr_equal(la_map_remove(&m, keys[i]), model[i]);
        count -= model[i] != NULL;
        model[i] = NULL;
        break;
      default:
        assert_ptr_equal(la_map_get(&m, keys[i]), model[i]);
    }
    assert_int_equal(m.count, count);
  }
  for (int i = 0; i < KEYS; i++) {
    assert_ptr_equal(la_map_get(&m, keys[i]), model[i]);
  }
  la_map_fini(&m);
}

#ifdef LUACTOR_FAIL_ALLOC
static void stays_whole_without_memory(void **state) {
  (void)state;
  la_map_t m = {0};
  la_alloc_countdown(0);
  assert_false(la_map_put(&m, 1, &values[0]));
  la_alloc_countdown(-1);
  uint64_t n = 0;
  while (n < 100) {
    la_alloc_countdown(0);
    if (!la_map_put(&m, n + 1, &values[n])) {
      assert_null(la_map_get(&m, n + 1));
      la_alloc_countdown(-1);
      assert_true(la_map_put(&m, n + 1, &values[n]));
    }
    n++;
    for (uint64_t k = 0; k < n; k++) {
      assert_ptr_equal(la_map_get(&m, k + 1), &values[k]);
    }
  }
  la_alloc_countdown(-1);
  la_map_fini(&m);
}
#endif

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(is_empty_without_memory),
      cmocka_unit_test(keeps_and_replaces),
      cmocka_unit_test(visits_each_entry_once),
      cmocka_unit_test(agrees_with_an_array),
#ifdef LUACTOR_FAIL_ALLOC
      cmocka_unit_test(stays_whole_without_memory),
#endif
  };
  return cmocka_run_group_tests_name("map", tests, NULL, NULL);
}

/* Registered names: one a process, gone with it. */
#include "proc/names.h"

#include <pthread.h>

#include "base/env.h"
#include "unit.h"

static la_pidtab_t *table;
static la_names_t names;
static la_slot_t *slots[100];
static la_pid_t pids[100];

static int setup(void **state) {
  (void)state;
  bool no_memory;
  table = malloc(sizeof *table);
  la_pidtab_init(table, 1000);
  la_names_init(&names);
  for (size_t i = 0; i < COUNT(pids); i++) {
    pids[i] = la_pidtab_take(table, LA_SLOT_PROC, &slots[i], &no_memory);
    la_slot_publish(slots[i], pids[i]);
  }
  return 0;
}

static int teardown(void **state) {
  (void)state;
  la_names_fini(&names); /* frees what is still registered */
  la_pidtab_fini(table);
  free(table);
  return 0;
}

static la_name_status_t add(const char *name, la_pid_t pid) {
  return la_names_add(&names, table, name, pid);
}

static void finds_a_process_by_its_name(void **state) {
  (void)state;
  char text[16];
  assert_int_equal(add("db", pids[0]), LA_NAME_OK);
  assert_int_equal(add("web", pids[1]), LA_NAME_OK);
  assert_true(la_names_find(&names, "db") == pids[0]);
  assert_true(la_names_find(&names, "web") == pids[1]);
  assert_true(la_names_find(&names, "d") == LA_NO_ID);
  assert_true(la_names_of(&names, pids[1], text, sizeof text));
  assert_string_equal(text, "web");
  assert_false(la_names_of(&names, pids[2], text, sizeof text));
}

static void refuses_a_second_use(void **state) {
  (void)state;
  add("db", pids[0]);
  assert_int_equal(add("db", pids[1]), LA_NAME_TAKEN);
  assert_int_equal(add("db", pids[0]), LA_NAME_TAKEN);
  assert_int_equal(add("other", pids[0]), LA_NAME_HAS_ONE);
  assert_true(la_names_find(&names, "other") == LA_NO_ID);
}

static void refuses_a_dead_process(void **state) {
  (void)state;
  atomic_store(&slots[0]->id, LA_NO_ID);
  assert_int_equal(add("db", pids[0]), LA_NAME_NOPROC);
  assert_int_equal(add("db", la_id_make(LA_ID_PID, 0, 1 << 20)),
                   LA_NAME_NOPROC);
  assert_int_equal(add("db", pids[1]), LA_NAME_OK);
}

static void forgets_by_name_and_by_process(void **state) {
  (void)state;
  add("db", pids[0]);
  add("web", pids[1]);
  assert_true(la_names_remove(&names, "db"));
  assert_false(la_names_remove(&names, "db"));
  la_names_forget(&names, pids[1]);
  la_names_forget(&names, pids[1]);
  assert_true(la_names_find(&names, "web") == LA_NO_ID);
  assert_int_equal(add("web", pids[0]), LA_NAME_OK);
  assert_int_equal(add("db", pids[1]), LA_NAME_OK);
}

static void cuts_a_name_to_fit(void **state) {
  (void)state;
  char text[5];
  add("abcdefgh", pids[0]);
  assert_true(la_names_of(&names, pids[0], text, sizeof text));
  assert_string_equal(text, "abcd");
}

static void lists_all(void **state) {
  (void)state;
  size_t count = 99;
  char *list = la_names_list(&names, &count);
  assert_non_null(list);
  assert_int_equal(count, 0);
  la_free(list);
  for (size_t i = 0; i < COUNT(pids); i++) {
    char name[16];
    snprintf(name, sizeof name, "n%zu", i);
    assert_int_equal(add(name, pids[i]), LA_NAME_OK);
  }
  list = la_names_list(&names, &count);
  assert_int_equal(count, COUNT(pids));
  const char *at = list;
  bool seen[COUNT(pids)] = {false};
  for (size_t i = 0; i < count; i++) {
    const unsigned long k = strtoul(at + 1, NULL, 10);
    assert_false(seen[k]);
    seen[k] = true;
    at += strlen(at) + 1;
  }
  la_free(list);
}

#ifdef LUACTOR_FAIL_ALLOC
/* With the n-th allocation failing, for all n, names are added or not at all. */
static void stays_whole_without_memory(void **state) {
  (void)state;
  for (size_t i = 0; i < COUNT(pids); i++) {
    char name[16], text[16];
    snprintf(name, sizeof name, "n%zu", i);
    for (long n = 0;; n++) {
      la_alloc_countdown(n);
      const la_name_status_t status = add(name, pids[i]);
      la_alloc_countdown(-1);
      if (status == LA_NAME_OK) {
        break;
      }
      assert_int_equal(status, LA_NAME_NOMEM);
      assert_true(la_names_find(&names, name) == LA_NO_ID);
      assert_false(la_names_of(&names, pids[i], text, sizeof text));
    }
    for (size_t k = 0; k <= i; k++) {
      snprintf(name, sizeof name, "n%zu", k);
      assert_true(la_names_find(&names, name) == pids[k]);
    }
  }
  size_t count;
  la_alloc_countdown(0);
  assert_null(la_names_list(&names, &count));
  la_alloc_countdown(-1);
}
#endif

/* Several register the same names: one has each at a time. */
static void *race_main(void *arg) {
  const size_t own = (size_t)(uintptr_t)arg;
  for (int i = 0; i < 5000; i++) {
    if (add(i % 2 ? "x" : "y", pids[own]) == LA_NAME_OK) {
      if (la_names_find(&names, i % 2 ? "x" : "y") != pids[own]) {
        abort();
      }
      la_names_forget(&names, pids[own]);
    }
  }
  return NULL;
}

static void gives_a_name_to_one_at_a_time(void **state) {
  (void)state;
  pthread_t threads[3];
  for (uintptr_t i = 0; i < 3; i++) {
    pthread_create(&threads[i], NULL, race_main, (void *)i);
  }
  for (int i = 0; i < 3; i++) {
    pthread_join(threads[i], NULL);
  }
  assert_true(la_names_find(&names, "x") == LA_NO_ID);
  assert_true(la_names_find(&names, "y") == LA_NO_ID);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(finds_a_process_by_its_name),
      TEST(refuses_a_second_use),
      TEST(refuses_a_dead_process),
      TEST(forgets_by_name_and_by_process),
      TEST(cuts_a_name_to_fit),
      TEST(lists_all),
#ifdef LUACTOR_FAIL_ALLOC
      TEST(stays_whole_without_memory),
#endif
      TEST(gives_a_name_to_one_at_a_time),
  };
#undef TEST
  return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}

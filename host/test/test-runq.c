/* The run queue of a scheduler; processes are only things with a priority
 * here, and nobody runs them. */
#include "sched/runq.h"

#include <pthread.h>

#include "base/env.h"
#include "unit.h"

enum { MOST = 200 };

static la_sched_t *a, *b;
static la_proc_t *procs;
static la_turn_t turn; /* whose turn it is on a, */
static uint32_t now;   /* and the clock of it */

static la_sched_t *new_sched(void) {
  la_sched_t *s = la_alloc_aligned(64, (sizeof *s + 63) / 64 * 64);
  memset(s, 0, sizeof *s);
  la_runq_init(&s->q);
  return s;
}

static void free_sched(la_sched_t *s) {
  la_lock_fini(&s->q.lock);
  la_free_aligned(s);
}

/* Index of the next process, or -1. */
static int take(la_sched_t *s) {
  const la_proc_t *p = la_runq_take(s, &turn, now);
  return p != NULL ? (int)(p - procs) : -1;
}

static int setup(void **state) {
  (void)state;
  a = new_sched();
  b = new_sched();
  turn = (la_turn_t){0};
  now = 0;
  procs = la_alloc_aligned(64, (MOST * sizeof *procs + 63) / 64 * 64);
  memset(procs, 0, MOST * sizeof *procs);
  for (int i = 0; i < MOST; i++) {
    procs[i].priority = LA_PRIO_NORMAL;
  }
  return 0;
}

static int teardown(void **state) {
  (void)state;
  assert_int_equal(take(a), -1);
  assert_int_equal(take(b), -1);
  assert_int_equal(atomic_load(&a->nurgent), 0);
  assert_int_equal(atomic_load(&a->nqueued), 0);
  assert_int_equal(atomic_load(&a->nstealable), 0);
  assert_int_equal(atomic_load(&b->nqueued), 0);
  assert_int_equal(atomic_load(&b->nstealable), 0);
  free_sched(a);
  free_sched(b);
  la_free_aligned(procs);
  return 0;
}

static void serves_first_come_first(void **state) {
  (void)state;
  for (uint32_t i = 0; i < 5; i++) {
    assert_int_equal(la_runq_put(a, &procs[i]), i + 1);
  }
  for (int i = 0; i < 5; i++) {
    assert_int_equal(take(a), i);
  }
  assert_int_equal(take(a), -1);
}

static void serves_better_priorities_first(void **state) {
  (void)state;
  static const la_prio_t given[] = {LA_PRIO_LOW,  LA_PRIO_NORMAL, LA_PRIO_HIGH,
                                    LA_PRIO_MAX,  LA_PRIO_HIGH,   LA_PRIO_MAX,
                                    LA_PRIO_NORMAL};
  static const int order[] = {3, 5, 2, 4, 1, 6, 0};
  for (size_t i = 0; i < COUNT(given); i++) {
    procs[i].priority = (uint8_t)given[i];
    la_runq_put(a, &procs[i]);
  }
  for (size_t i = 0; i < COUNT(order); i++) {
    assert_int_equal(take(a), order[i]);
  }
}

/* Processes 0 and 1 are always runnable: how often does each run? */
static void share(la_prio_t first, la_prio_t second, int *one, int *two) {
  procs[0].priority = (uint8_t)first;
  procs[1].priority = (uint8_t)second;
  la_runq_put(a, &procs[0]);
  la_runq_put(a, &procs[1]);
  *one = *two = 0;
  for (int i = 0; i < 900; i++) {
    const int at = take(a);
    ++*(at == 0 ? one : two);
    la_runq_put(a, &procs[at]);
  }
  take(a);
  take(a);
}

static void gives_low_a_turn_now_and_then(void **state) {
  (void)state;
  int normal, low;
  share(LA_PRIO_NORMAL, LA_PRIO_LOW, &normal, &low);
  assert_int_equal(low, 100);
  assert_int_equal(normal, 800);
}

static void gives_high_all_turns(void **state) {
  (void)state;
  int high, normal;
  share(LA_PRIO_HIGH, LA_PRIO_NORMAL, &high, &normal);
  assert_int_equal(normal, 0);
  assert_int_equal(high, 900);
}

static void runs_the_next_one_first(void **state) {
  (void)state;
  assert_false(la_runq_put_next(a, &procs[4])); /* nobody else is there */
  assert_int_equal(take(a), 4);
  la_runq_put(a, &procs[0]);
  assert_true(la_runq_put_next(a, &procs[1]));
  assert_int_equal(take(a), 1);
  assert_true(la_runq_put_next(a, &procs[2]));
  assert_true(la_runq_put_next(a, &procs[3])); /* 2 is queued now */
  assert_int_equal(take(a), 3);
  assert_int_equal(take(a), 0);
  assert_int_equal(take(a), 2);
}

static void lets_better_priority_pass_the_next_one(void **state) {
  (void)state;
  procs[0].priority = LA_PRIO_MAX;
  procs[2].priority = LA_PRIO_HIGH;
  la_runq_put_next(a, &procs[1]);
  la_runq_put(a, &procs[0]);
  la_runq_put_next(a, &procs[2]);
  assert_int_equal(take(a), 0);
  assert_int_equal(take(a), 2);
  assert_int_equal(take(a), 1);
}

static void lets_low_priority_be_next_only_when_alone(void **state) {
  (void)state;
  procs[0].priority = procs[2].priority = LA_PRIO_LOW;
  la_runq_put_next(a, &procs[0]);
  assert_int_equal(take(a), 0);
  la_runq_put_next(a, &procs[0]);
  la_runq_put(a, &procs[1]); /* comes later and is better */
  assert_int_equal(take(a), 1);
  la_runq_put(a, &procs[1]);
  la_runq_put_next(a, &procs[2]);
  assert_int_equal(take(a), 1);
  assert_int_equal(take(a), 0);
  assert_int_equal(take(a), 2);
}

/* A pair that wakes each other, and who is queued: the clock says when their
 * turns end. */
static void gives_pair_and_queue_turns(void **state) {
  (void)state;
  la_runq_put(a, &procs[8]);
  la_runq_put(a, &procs[9]);
  la_runq_put_next(a, &procs[0]);
  for (int i = 0; i < 500; i++) {
    const int at = take(a);
    assert_int_equal(at, i & 1);
    la_runq_put_next(a, &procs[at ^ 1]);
  }
  now++;
  for (int i = 0; i < 500; i++) {
    const int at = take(a);
    assert_int_equal(at, 8 + (i & 1));
    la_runq_put(a, &procs[at]);
  }
  now++;
  assert_int_equal(take(a), 0);
  la_runq_put_next(a, &procs[0]);
  now++;
  assert_int_equal(take(a), 8);
  assert_int_equal(take(a), 9);
  assert_int_equal(take(a), 0); /* nobody else */
}

static void ends_the_queues_turn_with_a_full_slice(void **state) {
  (void)state;
  la_runq_put(a, &procs[8]);
  la_runq_put(a, &procs[9]);
  assert_int_equal(take(a), 8);
  la_runq_put_next(a, &procs[0]);
  assert_int_equal(take(a), 9); /* still the queue's turn */
  la_turn_end(&turn, now);
  la_runq_put(a, &procs[9]);
  assert_int_equal(take(a), 0);
  assert_int_equal(take(a), 9);
}

/* One that sleeps and wakes among endless loops waits for one of them only. */
static void serves_a_sleeper_after_one_slice(void **state) {
  (void)state;
  for (int i = 1; i < 6; i++) {
    la_runq_put(a, &procs[i]);
  }
  for (int i = 0; i < 20; i++) {
    const int at = take(a);
    assert_in_range(at, 1, 5);
    now += i & 1; /* the slice is over with a tick, or before */
    la_turn_end(&turn, now);
    la_runq_put(a, &procs[at]);
    la_runq_put_next(a, &procs[0]);
    assert_int_equal(take(a), 0);
  }
  while (take(a) >= 0) {
  }
}

static void releases_the_next_one_to_thieves(void **state) {
  (void)state;
  assert_false(la_runq_release_next(a));
  la_runq_put_next(a, &procs[0]);
  assert_null(la_runq_steal(a, b)); /* it belongs to whoever runs on a */
  assert_true(la_runq_release_next(a));
  assert_ptr_equal(la_runq_steal(a, b), &procs[0]);
}

static void steals_half(void **state) {
  (void)state;
  for (int i = 0; i < 10; i++) {
    la_runq_put(a, &procs[i]);
  }
  assert_ptr_equal(la_runq_steal(a, b), &procs[0]); /* one to run at once */
  assert_int_equal(atomic_load(&a->nqueued), 5);
  assert_int_equal(atomic_load(&b->nqueued), 4);
  for (int i = 1; i < 5; i++) {
    assert_int_equal(take(b), i);
  }
  for (int i = 5; i < 10; i++) {
    assert_int_equal(take(a), i);
  }
  assert_null(la_runq_steal(a, b));
}

static void puts_a_spared_one_first(void **state) {
  (void)state;
  la_runq_put_first(a, &procs[0]);
  la_runq_put(a, &procs[1]);
  assert_int_equal(la_runq_put_first(a, &procs[2]), 3);
  assert_int_equal(take(a), 2);
  assert_int_equal(take(a), 0);
  assert_int_equal(take(a), 1);
}

static void steals_a_single_one(void **state) {
  (void)state;
  la_runq_put(a, &procs[0]);
  assert_ptr_equal(la_runq_steal(a, b), &procs[0]);
}

static void does_not_steal_what_is_pinned(void **state) {
  (void)state;
  procs[0].pinned = a;
  procs[1].pinned = a;
  la_runq_put(a, &procs[0]);
  la_runq_put(a, &procs[1]);
  assert_null(la_runq_steal(a, b));
  la_runq_put(a, &procs[2]);
  assert_ptr_equal(la_runq_steal(a, b), &procs[2]);
  assert_null(la_runq_steal(a, b));
  assert_int_equal(take(a), 0);
  assert_int_equal(take(a), 1);
}

static void takes_turns_between_pinned_and_others(void **state) {
  (void)state;
  procs[0].pinned = a;
  int pinned = 0;
  la_runq_put(a, &procs[0]);
  la_runq_put(a, &procs[1]);
  for (int i = 0; i < 100; i++) {
    const int at = take(a);
    pinned += at == 0;
    la_runq_put(a, &procs[at]);
  }
  assert_in_range(pinned, 30, 70);
  take(a);
  take(a);
}

/* Two threads put, take and steal for a while: each process is in one place. */
static _Atomic int holders[MOST];

static void *worker_main(void *arg) {
  la_sched_t *own = arg, *other = own == a ? b : a;
  la_turn_t mine = {0};
  for (int i = 0; i < 50000; i++) {
    la_proc_t *p = la_runq_take(own, &mine, (uint32_t)i / 50);
    if (p == NULL) {
      p = la_runq_steal(other, own);
    }
    if (p == NULL) {
      continue;
    }
    if (atomic_fetch_add(&holders[p - procs], 1) != 0) {
      abort();
    }
    atomic_fetch_sub(&holders[p - procs], 1);
    if (i % 3 == 0) {
      la_runq_put_next(own, p);
    } else {
      la_runq_put(own, p);
    }
    if (i % 64 == 0) {
      la_runq_release_next(own);
    }
  }
  return NULL;
}

static void keeps_each_process_in_one_place(void **state) {
  (void)state;
  pthread_t other;
  for (int i = 0; i < 40; i++) {
    procs[i].priority = (uint8_t)(i % LA_NPRIO);
    procs[i].pinned = i % 10 == 0 ? a : NULL;
    la_runq_put(a, &procs[i]);
  }
  pthread_create(&other, NULL, worker_main, b);
  worker_main(a);
  pthread_join(other, NULL);
  bool seen[40] = {false};
  int n = 0, at;
  while ((at = take(a)) >= 0 || (at = take(b)) >= 0) {
    assert_false(seen[at]);
    seen[at] = true;
    n++;
  }
  assert_int_equal(n, 40);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(serves_first_come_first),
      TEST(serves_better_priorities_first),
      TEST(gives_low_a_turn_now_and_then),
      TEST(gives_high_all_turns),
      TEST(runs_the_next_one_first),
      TEST(lets_better_priority_pass_the_next_one),
      TEST(lets_low_priority_be_next_only_when_alone),
      TEST(gives_pair_and_queue_turns),
      TEST(ends_the_queues_turn_with_a_full_slice),
      TEST(serves_a_sleeper_after_one_slice),
      TEST(releases_the_next_one_to_thieves),
      TEST(steals_half),
      TEST(puts_a_spared_one_first),
      TEST(steals_a_single_one),
      TEST(does_not_steal_what_is_pinned),
      TEST(takes_turns_between_pinned_and_others),
      TEST(keeps_each_process_in_one_place),
  };
#undef TEST
  return cmocka_run_group_tests_name("runq", tests, NULL, NULL);
}

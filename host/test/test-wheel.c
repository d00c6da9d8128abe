/* The timer wheel, against a list that is searched. */
#include "base/env.h"
#include "proc/timer.h"
#include "unit.h"

#define TICK_NS (UINT64_C(1) << LA_WHEEL_TICK_BITS)

static la_wheel_t wheel;

static void start(uint64_t now) {
  la_wheel_init(&wheel, 3, now);
  assert_true(atomic_load(&wheel.next_ns) == UINT64_MAX);
}

static bool add(la_timer_t *t, uint64_t due) {
  la_lock(&wheel.lock);
  const bool earliest = la_wheel_add_locked(&wheel, t, due);
  la_unlock(&wheel.lock);
  return earliest;
}

static void cancel(la_timer_t *t) {
  la_lock(&wheel.lock);
  la_wheel_remove_locked(&wheel, t);
  la_unlock(&wheel.lock);
  assert_null(t->back);
}

static la_timer_t *expire(uint64_t now) {
  la_lock(&wheel.lock);
  la_timer_t *due = la_wheel_expire_locked(&wheel, now);
  la_unlock(&wheel.lock);
  return due;
}

static uint64_t next(void) {
  return atomic_load(&wheel.next_ns);
}

static void fires_between_its_time_and_the_next_tick(void **state) {
  (void)state;
  static const uint64_t spans[] = {0,       1,           TICK_NS - 1,
                                   TICK_NS, TICK_NS + 1, 100 * TICK_NS + 7};
  for (size_t i = 0; i < COUNT(spans); i++) {
    const uint64_t now = UINT64_C(123456789012);
    const uint64_t due = now + spans[i];
    la_timer_t t = {0};
    start(now);
    add(&t, due);
    assert_int_equal(wheel.count, 1);
    if (due > now) {
      assert_null(expire(due - 1));
    }
    assert_ptr_equal(expire(due + TICK_NS), &t);
    assert_null(t.next);
    assert_null(t.back);
    assert_int_equal(wheel.count, 0);
    assert_true(next() == UINT64_MAX);
    la_wheel_fini(&wheel);
  }
}

static void says_which_is_the_earliest(void **state) {
  (void)state;
  la_timer_t t[4] = {{0}};
  start(0);
  assert_true(add(&t[0], 100 * TICK_NS));
  assert_false(add(&t[1], 200 * TICK_NS));
  assert_true(add(&t[2], 50 * TICK_NS));
  assert_true(next() <= 50 * TICK_NS);
  assert_false(add(&t[3], 50 * TICK_NS));
  for (int i = 0; i < 4; i++) {
    cancel(&t[i]);
  }
  la_wheel_fini(&wheel);
}

static void gives_earlier_ticks_first(void **state) {
  (void)state;
  enum { N = 500 };
  static la_timer_t t[N];
  memset(t, 0, sizeof t);
  seed_random("wheel order");
  start(UINT64_C(987654321));
  for (int i = 0; i < N; i++) {
    add(&t[i], UINT64_C(987654321) + random_below(UINT64_C(1) << 45));
  }
  int n = 0;
  uint64_t last = 0;
  for (la_timer_t *due = expire(UINT64_C(1) << 46); due != NULL;
       due = due->next, n++) {
    assert_true(due->due_tick >= last);
    last = due->due_tick;
  }
  assert_int_equal(n, N);
  la_wheel_fini(&wheel);
}

/* One timer on each level and at each edge of one, served tick by tick. */
static void reaches_across_all_levels(void **state) {
  (void)state;
  for (unsigned level = 0; level < LA_WHEEL_LEVELS; level++) {
    for (int edge = -1; edge <= 1; edge++) {
      const uint64_t ticks = (UINT64_C(1) << (6 * level)) + (uint64_t)edge;
      const uint64_t now = 40 * TICK_NS;
      const uint64_t due = now + ticks * TICK_NS;
      la_timer_t t = {0};
      start(now);
      add(&t, due);
      int looks = 0;
      uint64_t at = now;
      la_timer_t *got = NULL;
      while (got == NULL) {
        assert_true(next() > at || looks == 0);
        assert_true(next() <= due);
        at = next() > at ? next() : at;
        got = expire(at);
        looks++;
        assert_true(looks <= 2 * LA_WHEEL_LEVELS);
      }
      assert_ptr_equal(got, &t);
      assert_true(at == due);
      la_wheel_fini(&wheel);
    }
  }
}

static void bears_the_end_of_time(void **state) {
  (void)state;
  la_timer_t far = {0}, last = {0}, near = {0};
  start(UINT64_C(1) << 50);
  add(&far, UINT64_MAX - TICK_NS);
  add(&last, UINT64_MAX);
  add(&near, (UINT64_C(1) << 50) + TICK_NS);
  assert_ptr_equal(expire((UINT64_C(1) << 50) + 2 * TICK_NS), &near);
  assert_null(near.next);
  assert_null(expire(UINT64_C(1) << 60));
  assert_int_equal(wheel.count, 2);
  cancel(&far);
  cancel(&last);
  la_wheel_fini(&wheel);
}

static void takes_a_time_that_is_over(void **state) {
  (void)state;
  la_timer_t t = {0};
  start(1000 * TICK_NS);
  add(&t, 3);
  assert_ptr_equal(expire(1000 * TICK_NS), &t);
  la_wheel_fini(&wheel);
}

static void forgets_what_is_cancelled(void **state) {
  (void)state;
  la_timer_t t[3] = {{0}};
  start(0);
  for (int i = 0; i < 3; i++) {
    add(&t[i], 77 * TICK_NS); /* all in one slot */
  }
  cancel(&t[1]);
  cancel(&t[0]);
  assert_ptr_equal(expire(100 * TICK_NS), &t[2]);
  assert_null(t[2].next);
  add(&t[0], 200 * TICK_NS);
  cancel(&t[0]);
  assert_null(expire(300 * TICK_NS));
  assert_int_equal(wheel.count, 0);
  la_wheel_fini(&wheel);
}

/* Adds, cancels, and steps of all lengths; what must fire does, at the first
 * look after its tick, and nothing else. */
static void agrees_with_a_list(void **state) {
  (void)state;
  enum { N = 300, STEPS = 20000 };
  static la_timer_t t[N];
  static bool in[N];
  memset(t, 0, sizeof t);
  memset(in, 0, sizeof in);
  seed_random("wheel");
  uint64_t now = random_below(UINT64_C(1) << 48);
  start(now);
  for (int step = 0; step < STEPS; step++) {
    const size_t i = random_below(N);
    if (in[i] && random_below(2) == 0) {
      cancel(&t[i]);
      in[i] = false;
    } else if (!in[i]) {
      add(&t[i], now + random_below(UINT64_C(1) << (10 + random_below(44))));
      in[i] = true;
    }
    uint64_t earliest = UINT64_MAX;
    for (size_t k = 0; k < N; k++) {
      if (in[k] && t[k].due_tick < earliest) {
        earliest = t[k].due_tick;
      }
    }
    /* It may look too early, never too late. */
    assert_true(earliest == UINT64_MAX || next() <= earliest * TICK_NS);
    if (random_below(3) == 0) {
      now += random_below(UINT64_C(1) << (8 + random_below(40)));
    } else if (random_below(3) == 0 && next() != UINT64_MAX && next() > now) {
      now = next();
    }
    for (la_timer_t *due = expire(now); due != NULL; due = due->next) {
      const size_t k = (size_t)(due - t);
      assert_true(in[k]);
      assert_true(due->due_ns <= now);
      assert_null(due->back);
      in[k] = false;
    }
    uint32_t left = 0;
    for (size_t k = 0; k < N; k++) {
      left += in[k];
      assert_true(!in[k] || t[k].due_tick > now / TICK_NS);
    }
    assert_int_equal(wheel.count, left);
  }
  for (size_t k = 0; k < N; k++) {
    if (in[k]) {
      cancel(&t[k]);
    }
  }
  la_wheel_fini(&wheel);
}

/* ---- timer blocks -------------------------------------------------------------- */

static void finds_a_timer_by_its_id_and_no_other(void **state) {
  (void)state;
  enum { N = 100 };
  la_timer_t *own = NULL, *t[N];
  la_id_t ids[N];
  start(0);
  la_lock(&wheel.lock);
  for (int i = 0; i < N; i++) {
    t[i] = la_timer_new_locked(&wheel, &own);
    ids[i] = t[i]->id;
    assert_int_equal(la_id_kind(ids[i]), LA_ID_TIMER);
    assert_int_equal(la_timer_wheel_of(ids[i]), 3);
    assert_ptr_equal(own, t[i]);
  }
  for (int i = 0; i < N; i += 2) {
    la_timer_free_locked(&wheel, t[i]);
  }
  for (int i = 0; i < N; i++) {
    assert_ptr_equal(la_timer_find_locked(&wheel, ids[i]),
                     i % 2 ? t[i] : NULL);
  }
  /* New timers take the free entries; old ids must not find them. */
  for (int i = 0; i < N; i += 2) {
    t[i] = la_timer_new_locked(&wheel, &own);
    assert_ptr_equal(la_timer_find_locked(&wheel, t[i]->id), t[i]);
    assert_null(la_timer_find_locked(&wheel, ids[i]));
  }
  assert_null(la_timer_find_locked(&wheel,
                                   la_id_counted(LA_ID_TIMER, 0xFFFFFFF)));
  int n = 0;
  for (la_timer_t *o = own; o != NULL; o = o->own_next) {
    n++;
  }
  assert_int_equal(n, N);
  la_unlock(&wheel.lock);
  la_wheel_fini(&wheel); /* frees those that are left */
}

static bool is_once(la_timer_t *t) {
  return t->kind == LA_TIMER_ONCE;
}

static void prune(void) {
  la_lock(&wheel.lock);
  la_wheel_prune_locked(&wheel, is_once);
  la_unlock(&wheel.lock);
}

static void prunes_up_to_the_first_that_is_kept(void **state) {
  (void)state;
  la_timer_t waits[3] = {{.kind = LA_TIMER_WAIT},
                         {.kind = LA_TIMER_WAIT},
                         {.kind = LA_TIMER_WAIT}};
  la_timer_t once = {.kind = LA_TIMER_ONCE};
  start(0);
  add(&waits[0], TICK_NS);
  add(&waits[1], 1000 * TICK_NS);
  add(&once, 100000 * TICK_NS);
  add(&waits[2], UINT64_C(10000000000) * TICK_NS);
  prune();
  assert_int_equal(wheel.count, 2);
  assert_ptr_equal(expire(100000 * TICK_NS), &once);
  prune();
  assert_int_equal(wheel.count, 0);
  assert_true(next() == UINT64_MAX);
  la_wheel_fini(&wheel);
}

#ifdef LUACTOR_FAIL_ALLOC
static void makes_no_timer_without_memory(void **state) {
  (void)state;
  la_timer_t *own = NULL;
  start(0);
  la_lock(&wheel.lock);
  int made = 0;
  for (long n = 0; made < 100; n++) {
    la_alloc_countdown(n % 5);
    const la_timer_t *t = la_timer_new_locked(&wheel, &own);
    la_alloc_countdown(-1);
    if (t != NULL) {
      made++;
      assert_ptr_equal(own, t);
    }
  }
  la_unlock(&wheel.lock);
  la_wheel_fini(&wheel);
}
#endif

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(fires_between_its_time_and_the_next_tick),
      cmocka_unit_test(says_which_is_the_earliest),
      cmocka_unit_test(gives_earlier_ticks_first),
      cmocka_unit_test(reaches_across_all_levels),
      cmocka_unit_test(bears_the_end_of_time),
      cmocka_unit_test(takes_a_time_that_is_over),
      cmocka_unit_test(forgets_what_is_cancelled),
      cmocka_unit_test(agrees_with_a_list),
      cmocka_unit_test(finds_a_timer_by_its_id_and_no_other),
      cmocka_unit_test(prunes_up_to_the_first_that_is_kept),
#ifdef LUACTOR_FAIL_ALLOC
      cmocka_unit_test(makes_no_timer_without_memory),
#endif
  };
  return cmocka_run_group_tests_name("wheel", tests, NULL, NULL);
}

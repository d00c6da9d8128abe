/* The mailbox: order, cursor, mark and room, as a receive uses them. */
#include "proc/mbox.h"

#include "unit.h"

static la_mbox_t box;
static la_slot_t slot;

static const la_id_t owner = (la_id_t)LA_ID_PID << 60 | 5;

/* A message that consists of one small integer. */
static la_msg_t *message(uint8_t n, uint8_t flags) {
  const uint8_t bytes[2] = {97, n};
  la_msg_t *m =
      la_msg_new(&(la_term_t){.bytes = bytes, .size = 2}, owner, LA_NO_ID);
  m->sig.flags |= flags;
  return m;
}

static la_msg_t *put(uint8_t n, uint8_t flags) {
  la_msg_t *m = message(n, flags);
  la_mbox_put(&box, m);
  return m;
}

static void drop(la_msg_t *m) {
  la_mbox_remove(&box, m);
  la_sig_free(&m->sig);
}

static int number_of(const la_msg_t *m) {
  return m != NULL ? m->bytes[1] : -1;
}

static int setup(void **state) {
  (void)state;
  memset(&slot, 0, sizeof slot);
  la_mbox_init(&box, owner, &slot);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  la_msg_t *m;
  while ((m = la_mbox_first(&box)) != NULL) {
    drop(m);
  }
  assert_int_equal(box.count, 0);
  assert_null(box.tail[0]);
  assert_null(box.tail[1]);
  assert_null(box.cursor[0]);
  assert_null(box.cursor[1]);
  return 0;
}

/* All numbers, oldest first, as text: "1 2 3". */
static const char *listed(void) {
  static char text[256];
  size_t len = 0;
  text[0] = '\0';
  uint32_t n = 0;
  for (la_msg_t *m = la_mbox_first(&box); m != NULL;
       m = la_mbox_after(&box, m), n++) {
    len += (size_t)snprintf(text + len, sizeof text - len, "%s%d",
                            len > 0 ? " " : "", number_of(m));
  }
  assert_int_equal(n, box.count);
  return text;
}

static void keeps_the_order_of_arrival(void **state) {
  (void)state;
  assert_null(la_mbox_first(&box));
  assert_null(la_mbox_oldest(&box));
  put(1, 0);
  put(2, 0);
  put(3, 0);
  assert_string_equal(listed(), "1 2 3");
  assert_int_equal(number_of(la_mbox_oldest(&box)), 1);
}

static void puts_priority_before_the_others(void **state) {
  (void)state;
  put(1, 0);
  put(2, LA_SIG_PRIORITY);
  put(3, 0);
  put(4, LA_SIG_PRIORITY);
  assert_string_equal(listed(), "2 4 1 3");
  assert_int_equal(number_of(la_mbox_oldest(&box)), 1); /* ordinary */
}

static void removes_anywhere(void **state) {
  (void)state;
  la_msg_t *m[6];
  for (int i = 0; i < 6; i++) {
    m[i] = put((uint8_t)i, i == 4 ? LA_SIG_PRIORITY : 0);
  }
  drop(m[2]);
  assert_string_equal(listed(), "4 0 1 3 5");
  drop(m[5]);
  assert_string_equal(listed(), "4 0 1 3");
  drop(m[4]);
  drop(m[0]);
  assert_string_equal(listed(), "1 3");
  put(7, 0);
  assert_string_equal(listed(), "1 3 7");
}

static void shows_each_message_once_per_wait(void **state) {
  (void)state;
  put(1, 0);
  put(2, 0);
  la_mbox_rewind(&box, LA_NO_ID);
  assert_int_equal(number_of(la_mbox_peek(&box)), 1);
  la_mbox_pass(&box, la_mbox_peek(&box));
  assert_int_equal(number_of(la_mbox_peek(&box)), 2);
  assert_int_equal(number_of(la_mbox_peek(&box)), 2); /* does not advance */
  la_mbox_pass(&box, la_mbox_peek(&box));
  assert_null(la_mbox_peek(&box));
  put(3, 0);
  assert_int_equal(number_of(la_mbox_peek(&box)), 3);
  put(4, LA_SIG_PRIORITY); /* comes later and is looked at first */
  assert_int_equal(number_of(la_mbox_peek(&box)), 4);
  la_mbox_pass(&box, la_mbox_peek(&box));
  assert_int_equal(number_of(la_mbox_peek(&box)), 3);
  la_mbox_rewind(&box, LA_NO_ID);
  assert_int_equal(number_of(la_mbox_peek(&box)), 4);
}

static void goes_on_behind_a_message_that_is_removed(void **state) {
  (void)state;
  la_msg_t *m[4];
  for (int i = 0; i < 4; i++) {
    m[i] = put((uint8_t)i, 0);
  }
  la_mbox_rewind(&box, LA_NO_ID);
  la_mbox_pass(&box, m[0]);
  drop(m[1]); /* the one under the cursor */
  assert_int_equal(number_of(la_mbox_peek(&box)), 2);
  drop(m[0]); /* one that was passed */
  assert_int_equal(number_of(la_mbox_peek(&box)), 2);
  la_mbox_pass(&box, m[2]);
  drop(m[3]); /* the last, under the cursor */
  assert_null(la_mbox_peek(&box));
  put(9, 0);
  assert_int_equal(number_of(la_mbox_peek(&box)), 9);
}

static void starts_behind_the_mark_of_a_fresh_reference(void **state) {
  (void)state;
  const la_id_t ref = la_id_counted(LA_ID_REF, 1);
  const la_id_t other = la_id_counted(LA_ID_REF, 2);
  put(1, 0);
  put(2, LA_SIG_PRIORITY);
  la_mbox_mark(&box, ref);
  put(3, 0);
  la_mbox_rewind(&box, ref);
  assert_int_equal(number_of(la_mbox_peek(&box)), 2); /* priority: all */
  la_mbox_pass(&box, la_mbox_peek(&box));
  assert_int_equal(number_of(la_mbox_peek(&box)), 3);
  la_mbox_rewind(&box, other); /* not the one that was marked */
  la_mbox_pass(&box, la_mbox_peek(&box));
  assert_int_equal(number_of(la_mbox_peek(&box)), 1);
}

static void keeps_the_mark_when_its_message_goes(void **state) {
  (void)state;
  const la_id_t ref = la_id_counted(LA_ID_REF, 1);
  la_msg_t *a = put(1, 0), *b = put(2, 0);
  la_mbox_mark(&box, ref);
  la_msg_t *c = put(3, 0);
  drop(b);
  la_mbox_rewind(&box, ref);
  assert_int_equal(number_of(la_mbox_peek(&box)), 3);
  drop(a);
  la_mbox_rewind(&box, ref);
  assert_int_equal(number_of(la_mbox_peek(&box)), 3);
  drop(c);
  la_mbox_rewind(&box, ref);
  assert_null(la_mbox_peek(&box));
  put(4, 0);
  la_mbox_rewind(&box, ref);
  assert_int_equal(number_of(la_mbox_peek(&box)), 4);
}

static void marks_an_empty_mailbox(void **state) {
  (void)state;
  const la_id_t ref = la_id_counted(LA_ID_REF, 1);
  la_mbox_mark(&box, ref);
  put(1, 0);
  la_mbox_rewind(&box, ref);
  assert_int_equal(number_of(la_mbox_peek(&box)), 1);
}

static void gives_room_back_once(void **state) {
  (void)state;
  bool counted;
  atomic_store(&slot.id, owner);
  atomic_store(&slot.limit, 2);
  assert_true(la_room_take(&slot, owner, &counted) && counted);
  la_msg_t *m = put(1, LA_SIG_COUNTED);
  la_msg_t *free = put(2, 0);
  la_mbox_remove(&box, m);
  assert_int_equal(la_room_count(&slot), 0);
  assert_int_equal(m->sig.flags & LA_SIG_COUNTED, 0);
  la_sig_free(&m->sig);
  drop(free);
  assert_int_equal(la_room_count(&slot), 0);
}

/* Against two arrays, with a cursor that must never skip or repeat. */
static void agrees_with_arrays(void **state) {
  (void)state;
  enum { MOST = 40, STEPS = 100000 };
  la_msg_t *list[2][MOST];
  int count[2] = {0}, cursor[2] = {0};
  seed_random("mbox");
  for (int step = 0; step < STEPS; step++) {
    const int lane = random_below(4) == 0 ? 0 : 1;
    switch (random_below(4)) {
      case 0:
      case 1:
        if (count[lane] < MOST) {
          list[lane][count[lane]++] =
              put((uint8_t)step, lane == 0 ? LA_SIG_PRIORITY : 0);
        }
        break;
      case 2:
        if (count[lane] > 0) {
          const int i = (int)random_below((uint64_t)count[lane]);
          drop(list[lane][i]);
          memmove(&list[lane][i], &list[lane][i + 1],
                  (size_t)(count[lane] - i - 1) * sizeof(la_msg_t *));
          count[lane]--;
          cursor[lane] -= i < cursor[lane];
        }
        break;
      default:
        if (random_below(20) == 0) {
          la_mbox_rewind(&box, LA_NO_ID);
          cursor[0] = cursor[1] = 0;
        }
    }
    const int at = cursor[0] < count[0] ? 0 : 1;
    la_msg_t *want = cursor[at] < count[at] ? list[at][cursor[at]] : NULL;
    assert_ptr_equal(la_mbox_peek(&box), want);
    if (want != NULL && random_below(2) == 0) {
      la_mbox_pass(&box, want);
      cursor[at]++;
    }
    assert_int_equal(box.count, (uint32_t)(count[0] + count[1]));
  }
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(keeps_the_order_of_arrival),
      TEST(puts_priority_before_the_others),
      TEST(removes_anywhere),
      TEST(shows_each_message_once_per_wait),
      TEST(goes_on_behind_a_message_that_is_removed),
      TEST(starts_behind_the_mark_of_a_fresh_reference),
      TEST(keeps_the_mark_when_its_message_goes),
      TEST(marks_an_empty_mailbox),
      TEST(gives_room_back_once),
      TEST(agrees_with_arrays),
  };
#undef TEST
  return cmocka_run_group_tests_name("mbox", tests, NULL, NULL);
}

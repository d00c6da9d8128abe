/* The mailbox: order, cursor, mark and room, as a receive uses them. */
#include "proc/mbox.h"

#include "unit.h"

static la_mbox_t box;
static la_slot_t slot;
static la_heap_t heap; /* counts the index */

static const la_id_t owner = (la_id_t)LA_ID_PID << 60 | 5;

/* The string of one byte 'n': unlike a number it has a tag. */
typedef struct text {
  uint8_t bytes[6];
} text_t;

static text_t text_of(uint8_t n) {
  return (text_t){{109, 0, 0, 0, 1, n}};
}

static la_msg_t *message(uint8_t n, uint8_t flags) {
  const text_t t = text_of(n);
  la_msg_t *m = la_msg_new(
      &(la_term_t){.bytes = t.bytes, .size = sizeof t.bytes}, owner, LA_NO_ID);
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
  return m != NULL ? m->bytes[5] : -1;
}

static int setup(void **state) {
  (void)state;
  memset(&slot, 0, sizeof slot);
  memset(&heap, 0, sizeof heap);
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
  assert_null(box.index);
  assert_int_equal(heap.others, 0);
  la_mbox_fini(&box);
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

/* ---- the index ------------------------------------------------------------- */

static uint32_t tag_of(uint8_t n) {
  const text_t t = text_of(n);
  return la_term_tag(t.bytes, sizeof t.bytes);
}

static void select_numbers(const uint8_t *numbers, uint32_t n) {
  uint32_t tags[LA_TAGINDEX_WANTED];
  for (uint32_t i = 0; i < n; i++) {
    tags[i] = tag_of(numbers[i]);
  }
  la_mbox_select(&box, &heap, tags, n);
}

/* What the present wait sees from here on, as text; it has seen it then. */
static const char *rest(void) {
  static char text[256];
  size_t len = 0;
  text[0] = '\0';
  la_msg_t *m;
  while ((m = la_mbox_peek(&box)) != NULL) {
    len += (size_t)snprintf(text + len, sizeof text - len, "%s%d",
                            len > 0 ? " " : "", number_of(m));
    la_mbox_pass(&box, m);
  }
  return text;
}

static void put_junk(int n) {
  for (int i = 0; i < n; i++) {
    put(200, 0);
  }
}

static void visits_only_messages_of_the_selected_tags(void **state) {
  (void)state;
  put(1, 0);
  put_junk(100);
  put(2, 0);
  put(1, 0);
  put(3, 0);
  put_junk(100);
  put(2, LA_SIG_PRIORITY);
  put(2, 0);
  la_mbox_rewind(&box, LA_NO_ID);
  select_numbers((const uint8_t[]){2, 1, 9}, 3);
  assert_string_equal(rest(), "2 1 2 1 2");
  put(3, 0); /* comes while the wait lasts */
  assert_string_equal(rest(), "");
  put(9, 0);
  put(2, 0);
  assert_string_equal(rest(), "9 2");
}

static void selects_in_the_midst_of_a_wait(void **state) {
  (void)state;
  put(1, 0);
  put(2, 0);
  put_junk(100);
  put(1, 0);
  la_mbox_rewind(&box, LA_NO_ID);
  la_mbox_pass(&box, la_mbox_peek(&box));
  select_numbers((const uint8_t[]){1, 2}, 2);
  assert_string_equal(rest(), "2 1");
  la_mbox_rewind(&box, LA_NO_ID); /* the index is there, the wait is new */
  assert_true(la_mbox_may_select(&box));
  for (int i = 0; i < 103; i++) {
    la_mbox_pass(&box, la_mbox_peek(&box));
  }
  select_numbers((const uint8_t[]){1, 2}, 2);
  assert_string_equal(rest(), "");
  put(2, 0);
  assert_string_equal(rest(), "2");
}

static void selects_behind_the_mark(void **state) {
  (void)state;
  const la_id_t ref = la_id_counted(LA_ID_REF, 1);
  put(1, 0);
  put_junk(50);
  la_mbox_mark(&box, ref);
  put_junk(50);
  put(1, 0);
  la_mbox_rewind(&box, ref);
  select_numbers((const uint8_t[]){1}, 1);
  la_msg_t *m = la_mbox_peek(&box);
  assert_ptr_equal(m, la_mbox_after(&box, m->prev));
  assert_string_equal(rest(), "1");
  la_mbox_rewind(&box, LA_NO_ID);
  select_numbers((const uint8_t[]){1}, 1);
  assert_string_equal(rest(), "1 1");
}

static void forgets_the_index_of_a_short_mailbox(void **state) {
  (void)state;
  put(1, 0);
  put_junk(100);
  put(1, 0);
  la_mbox_rewind(&box, LA_NO_ID);
  select_numbers((const uint8_t[]){1}, 1);
  assert_non_null(box.index);
  assert_true(heap.others > 0);
  while (box.count > 5) {
    drop(la_mbox_after(&box, la_mbox_oldest(&box)));
  }
  assert_null(box.index);
  assert_int_equal(heap.others, 0);
  assert_int_equal(number_of(la_mbox_peek(&box)), 1);
  la_mbox_pass(&box, la_mbox_peek(&box));
  assert_string_equal(rest(), "200 200 200 1");
}

static void forgets_an_index_that_nobody_uses(void **state) {
  (void)state;
  put_junk(100);
  la_mbox_rewind(&box, LA_NO_ID);
  select_numbers((const uint8_t[]){1}, 1);
  for (int i = 0; box.index != NULL; i++) {
    assert_true(i < 10000);
    put(3, 0);
    drop(la_mbox_oldest(&box));
  }
}

static void does_without_an_index_for_lack_of_memory(void **state) {
  (void)state;
  put_junk(100);
  put(1, 0);
  la_mbox_rewind(&box, LA_NO_ID);
  heap.limit = 1000;
  select_numbers((const uint8_t[]){1}, 1);
  assert_null(box.index);
  assert_int_equal(heap.others, 0);
  heap.limit = 8000; /* enough for these, but not for many more */
  select_numbers((const uint8_t[]){1}, 1);
  assert_non_null(box.index);
  assert_true(heap.others <= heap.limit);
  put_junk(400);
  assert_null(box.index);
  put(1, 0);
  assert_int_equal(number_of(la_mbox_peek(&box)), 1);
}

/* Waits for some tags against a plain walk over two arrays. */
static la_msg_t *list[2][400];
static int count[2], cursor[2];
static uint8_t wanted[LA_TAGINDEX_WANTED];
static uint32_t nwanted;

static bool is_wanted(const la_msg_t *m) {
  return memchr(wanted, m->bytes[5], nwanted) != NULL;
}

/* Both find the same message, or none, and stop there. */
static la_msg_t *look(void) {
  la_msg_t *want = NULL, *m;
  for (int lane = 0; lane < 2 && want == NULL; lane++) {
    while (cursor[lane] < count[lane] && !is_wanted(list[lane][cursor[lane]])) {
      cursor[lane]++;
    }
    want = cursor[lane] < count[lane] ? list[lane][cursor[lane]] : NULL;
  }
  while ((m = la_mbox_peek(&box)) != NULL && !is_wanted(m)) {
    la_mbox_pass(&box, m);
  }
  assert_ptr_equal(m, want);
  return m;
}

static void new_wait(int kinds) {
  la_mbox_rewind(&box, LA_NO_ID);
  cursor[0] = cursor[1] = 0;
  const int step = (int)random_below((uint64_t)kinds);
  nwanted = 1 + (uint32_t)random_below(
                    kinds < LA_TAGINDEX_WANTED ? (uint64_t)kinds / 2 : 8);
  for (uint32_t i = 0; i < nwanted; i++) {
    wanted[i] = (uint8_t)((step + (int)i) % kinds);
  }
}

static void take_one(int lane, int i) {
  drop(list[lane][i]);
  memmove(&list[lane][i], &list[lane][i + 1],
          (size_t)(count[lane] - i - 1) * sizeof(la_msg_t *));
  count[lane]--;
  cursor[lane] -= i < cursor[lane];
}

static void indexed_waits_agree(int kinds, int steps) {
  memset(count, 0, sizeof count);
  int fill = 300; /* long and short mailboxes in turn */
  int with_index = 0;
  new_wait(kinds);
  for (int step = 0; step < steps; step++) {
    const int lane = random_below(4) == 0 ? 0 : 1;
    if (random_below(500) == 0) {
      fill = (int)random_below(400);
    }
    switch (random_below(8)) {
      case 0: case 1: case 2:
        if (count[lane] < fill) {
          list[lane][count[lane]++] =
              put((uint8_t)random_below((uint64_t)kinds),
                  lane == 0 ? LA_SIG_PRIORITY : 0);
        }
        break;
      case 3: case 4:
        if (count[lane] > 0) {
          take_one(lane, (int)random_below((uint64_t)count[lane]));
        }
        break;
      case 5:
        if (random_below(10) == 0) {
          new_wait(kinds);
        }
        if (random_below(3) == 0) {
          select_numbers(wanted, nwanted);
        }
        break;
      default: {
        la_msg_t *m = look();
        const int found = m != NULL ? la_msg_lane(m) : 0;
        if (m != NULL && random_below(3) == 0) {
          take_one(found, cursor[found]);
          new_wait(kinds);
        } else if (m != NULL) {
          la_mbox_pass(&box, m);
          cursor[found]++;
        }
      }
    }
    with_index += box.index != NULL;
    assert_int_equal(box.count, (uint32_t)(count[0] + count[1]));
  }
  assert_in_range(with_index, steps / 10, steps);
}

static void finds_by_tag_what_a_walk_finds(void **state) {
  (void)state;
  seed_random("tags");
  indexed_waits_agree(6, 200000);
}

static void finds_among_many_tags(void **state) {
  (void)state;
  seed_random("many tags");
  indexed_waits_agree(250, 200000);
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
      TEST(visits_only_messages_of_the_selected_tags),
      TEST(selects_in_the_midst_of_a_wait),
      TEST(selects_behind_the_mark),
      TEST(forgets_the_index_of_a_short_mailbox),
      TEST(forgets_an_index_that_nobody_uses),
      TEST(does_without_an_index_for_lack_of_memory),
      TEST(finds_by_tag_what_a_walk_finds),
      TEST(finds_among_many_tags),
  };
#undef TEST
  return cmocka_run_group_tests_name("mbox", tests, NULL, NULL);
}

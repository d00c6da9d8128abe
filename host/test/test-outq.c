/* What waits for a connection: nothing lost, the order of each sender kept, long
 * messages cut fairly, the counts right, and no harm when memory is short. */
#include "dist/outq.h"

#include "base/env.h"
#include "term/blob.h"
#include "unit.h"

#define SENDERS 5

/* The reading end: each message is its sender, its number, its length and
 * bytes made of these. */
typedef struct sink {
  uint32_t next[SENDERS + 1]; /* number that is expected */
  size_t messages, lost;
} sink_t;

static uint8_t byte_of(uint32_t by, uint32_t number, size_t i) {
  return (uint8_t)(by * 31 + number * 7 + i);
}

static bool message(void *ud, la_packet_t *p) {
  sink_t *s = ud;
  const uint8_t *at = p->data + p->at;
  const size_t n = p->size - p->at;
  assert_true(n >= 12);
  const uint32_t by = la_get32(at), number = la_get32(at + 4);
  assert_int_equal(la_get32(at + 8), n);
  assert_true(by <= SENDERS);
  assert_true(number >= s->next[by]);
  s->lost += number - s->next[by];
  s->next[by] = number + 1;
  for (size_t i = 12; i < n; i += 1 + i / 50) {
    assert_int_equal(at[i], byte_of(by, number, i));
  }
  la_free(p->data);
  s->messages++;
  return true;
}

static void dropped(void *ud, const char *why) {
  (void)ud;
  fail_msg("dropped: %s", why);
}

static la_frames_t *reader(sink_t *s, bool fragments) {
  memset(s, 0, sizeof *s);
  const la_frames_hooks_t hooks = {s, message, dropped};
  la_frames_t *r = la_frames_new(fragments, (size_t)128 << 20, &hooks);
  assert_non_null(r);
  return r;
}

/* A packet of 'n' bytes, some of them in blobs. False: memory. */
static bool packet(bool fragments, uint32_t by, uint32_t number, size_t n,
                   la_exported_t *x) {
  memset(x, 0, sizeof *x);
  la_buf_t all = {0};
  la_buf_u32(&all, by);
  la_buf_u32(&all, number);
  la_buf_u32(&all, (uint32_t)n);
  uint8_t *rest = la_buf_add(&all, n - 12);
  if (rest == NULL) {
    la_buf_free(&all);
    return false;
  }
  for (size_t i = 12; i < n; i++) {
    all.data[i] = byte_of(by, number, i);
  }
  la_frame_head(&x->bytes, fragments, n);
  size_t at = 12;
  la_buf_put(&x->bytes, all.data, 12);
  const uint32_t holes = n > 20000 ? (uint32_t)random_below(4) : 0;
  x->holes = holes > 0 ? la_zalloc(holes * sizeof *x->holes) : NULL;
  bool ok = holes == 0 || x->holes != NULL;
  for (uint32_t i = 0; i < holes && ok; i++) {
    const size_t plain = random_below(3) * 100;
    const size_t size = random_below((n - at - plain) / 2) + 1;
    la_buf_put(&x->bytes, all.data + at, plain);
    la_blob_t *b = la_blob_new(NULL, all.data + at + plain, size);
    ok = b != NULL;
    if (ok) {
      x->holes[x->nholes++] = (la_hole_t){x->bytes.len, b};
      x->blob_bytes += size;
      at += plain + size;
    }
  }
  la_buf_put(&x->bytes, all.data + at, n - at);
  la_buf_free(&all);
  ok = ok && !x->bytes.failed;
  if (!ok) {
    la_exported_free(x);
  }
  return ok;
}

static size_t odd_size(void) {
  switch (random_below(10)) {
    case 0:
      return 65536 + random_below(400000);
    case 1:
      return LA_FRAGMENT_BYTES - 3 + random_below(6);
    case 2:
      return 8192 + random_below(60000);
    default:
      return 12 + random_below(400);
  }
}

/* Write what was taken. */
static size_t write_out(la_out_t *list, la_frames_t *r) {
  size_t n = 0;
  while (list != NULL) {
    la_out_t *next = list->next;
    n += list->len;
    assert_true(la_frames_feed(r, list->data, list->len));
    list->release(list);
    list = next;
  }
  return n;
}

static void keeps_the_order_of_each_sender(void **state) {
  (void)state;
  seed_random("keeps_the_order_of_each_sender");
  for (int round = 0; round < 40; round++) {
    const bool fragments = round % 4 != 0;
    la_outq_t q;
    sink_t s;
    la_frames_t *r = reader(&s, fragments);
    la_outq_init(&q);
    q.fragments = fragments;
    uint32_t numbers[SENDERS + 1] = {0};
    size_t sent = 0;
    for (int step = 0; step < 200; step++) {
      if (random_below(3) > 0) {
        const uint32_t by = (uint32_t)random_below(SENDERS);
        la_exported_t x;
        assert_true(packet(fragments, by, numbers[by]++, odd_size(), &x));
        assert_true(la_outq_add(&q, by + 1, &x));
        sent++;
      } else {
        la_out_t *list = la_outq_take(&q, 1 + random_below(300000));
        la_outq_wrote(&q, write_out(list, r));
      }
    }
    for (la_out_t *list; (list = la_outq_take(&q, 1)) != NULL;) {
      la_outq_wrote(&q, write_out(list, r));
    }
    assert_true(la_outq_is_empty(&q));
    assert_int_equal(q.bytes, 0);
    assert_int_equal(q.lane_bytes, 0);
    assert_int_equal(s.messages, sent);
    assert_int_equal(s.lost, 0);
    la_outq_fini(&q);
    la_frames_free(r);
  }
}

static void add(la_outq_t *q, uint32_t by, uint32_t number, size_t n) {
  la_exported_t x;
  assert_true(packet(true, by, number, n, &x));
  assert_true(la_outq_add(q, by + 1, &x));
}

static void small_ones_pass_long_ones(void **state) {
  (void)state;
  la_outq_t q;
  sink_t s;
  la_frames_t *r = reader(&s, true);
  la_outq_init(&q);
  q.fragments = true;
  for (uint32_t by = 0; by < 3; by++) {
    add(&q, by, 0, 10 << 20);
  }
  write_out(la_outq_take(&q, 256 << 10), r);
  /* One of others passes; one of the same sender does not. */
  add(&q, 3, 0, 100);
  add(&q, 0, 1, 100);
  write_out(la_outq_take(&q, 256 << 10), r);
  assert_int_equal(s.next[3], 1);
  assert_int_equal(s.messages, 1);
  /* The three end within a turn of each other: none of them waits. */
  while (s.messages < 2) {
    write_out(la_outq_take(&q, 1), r);
  }
  for (int i = 0; i < 4 && !la_outq_is_empty(&q); i++) {
    write_out(la_outq_take(&q, 1), r);
  }
  assert_true(la_outq_is_empty(&q));
  assert_int_equal(s.next[0], 2);
  assert_int_equal(s.messages, 5);
  la_outq_fini(&q);
  la_frames_free(r);
}

static void a_flood_of_small_ones_lets_pieces_through(void **state) {
  (void)state;
  la_outq_t q;
  sink_t s;
  la_frames_t *r = reader(&s, true);
  la_outq_init(&q);
  q.fragments = true;
  add(&q, 0, 0, 20 * LA_FRAGMENT_BYTES);
  uint32_t number = 0;
  int takes = 0;
  for (; s.next[0] == 0; takes++) {
    while (q.gather.len < 300000) {
      add(&q, 1, number++, 300);
    }
    write_out(la_outq_take(&q, 256 << 10), r);
    assert_true(takes < 40);
  }
  la_outq_fini(&q);
  la_frames_free(r);
}

static void says_who_waits(void **state) {
  (void)state;
  la_outq_t q;
  sink_t s;
  la_frames_t *r = reader(&s, true);
  la_outq_init(&q);
  q.fragments = true;
  add(&q, 0, 0, 80 << 20);
  assert_true(la_outq_is_full(&q, 1, 10));         /* its own lane */
  assert_false(la_outq_is_full(&q, 2, 10));        /* a small one */
  assert_true(la_outq_is_full(&q, 2, 100000));     /* a long one */
  assert_false(la_outq_has_room(&q, 1, 10, 0));
  assert_false(la_outq_has_room(&q, 2, 100000, 0));
  assert_true(la_outq_has_room(&q, 2, 10, 0));
  for (uint32_t i = 0; q.bytes <= LA_OUTQ_HIGH; i++) {
    assert_false(la_outq_is_full(&q, 2, 10));
    add(&q, 1, i, 1000);
  }
  assert_true(la_outq_is_full(&q, 2, 10));
  assert_false(la_outq_has_room(&q, 2, 10, 0));
  /* Taken is not written. */
  la_out_t *list = la_outq_take(&q, LA_OUTQ_HIGH);
  assert_true(la_outq_is_full(&q, 2, 10));
  la_outq_wrote(&q, write_out(list, r));
  assert_true(la_outq_has_room(&q, 2, 10, 0));
  assert_false(la_outq_has_room(&q, 2, 10, LA_OUTQ_HIGH + 1));
  while (q.lane_bytes > LA_OUTQ_LOW) {
    la_outq_wrote(&q, write_out(la_outq_take(&q, 1 << 20), r));
  }
  assert_true(la_outq_has_room(&q, 1, 10, 0));
  assert_true(la_outq_has_room(&q, 2, 100000, 0));
  la_outq_fini(&q);
  la_frames_free(r);
}

#ifdef LUACTOR_FAIL_ALLOC
/* With every n-th allocation failing, packets may be refused, but those that were
 * taken arrive, and nothing leaks. */
static void survives_short_memory(void **state) {
  (void)state;
  seed_random("survives_short_memory");
  for (long n = 0; n < 60; n++) {
    la_outq_t q;
    sink_t s;
    la_frames_t *r = reader(&s, true);
    la_outq_init(&q);
    q.fragments = true;
    size_t added = 0;
    la_alloc_countdown(n);
    for (uint32_t i = 0; i < 6; i++) {
      la_exported_t x;
      const uint32_t by = i % 2;
      if (packet(true, by, i / 2, i % 3 == 0 ? 150000 : 30000, &x) &&
          la_outq_add(&q, by + 1, &x)) {
        added++;
      }
      la_out_t *list = la_outq_take(&q, 70000);
      if (n % 2 == 0) {
        la_alloc_countdown(-1);
        la_outq_wrote(&q, write_out(list, r));
        la_alloc_countdown(n / 2);
      } else {
        while (list != NULL) { /* the connection ends */
          la_out_t *next = list->next;
          list->release(list);
          list = next;
        }
        break;
      }
    }
    la_alloc_countdown(-1);
    if (n % 2 == 0) {
      for (la_out_t *list; (list = la_outq_take(&q, 1)) != NULL;) {
        la_outq_wrote(&q, write_out(list, r));
      }
      assert_int_equal(s.messages, added);
      assert_int_equal(q.bytes, 0);
    }
    la_outq_fini(&q);
    la_frames_free(r);
  }
}
#endif

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(keeps_the_order_of_each_sender),
      cmocka_unit_test(small_ones_pass_long_ones),
      cmocka_unit_test(a_flood_of_small_ones_lets_pieces_through),
      cmocka_unit_test(says_who_waits),
#ifdef LUACTOR_FAIL_ALLOC
      cmocka_unit_test(survives_short_memory),
#endif
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Packets: cut anywhere, in pieces, too long, malformed. */
#include "dist/frame.h"

#include "base/env.h"
#include "unit.h"

typedef struct sink {
  la_buf_t got;   /* what arrived: lengths and bytes */
  size_t messages, dropped, stop_after;
  char why[80];
} sink_t;

static bool message(void *ud, la_packet_t *p) {
  sink_t *s = ud;
  la_buf_u32(&s->got, (uint32_t)(p->size - p->at));
  la_buf_put(&s->got, p->data + p->at, p->size - p->at);
  la_free(p->data);
  return ++s->messages != s->stop_after;
}

static void dropped(void *ud, const char *why) {
  sink_t *s = ud;
  s->dropped++;
  snprintf(s->why, sizeof s->why, "%s", why);
}

static la_frames_t *reader(sink_t *s, bool fragments) {
  memset(s, 0, sizeof *s);
  const la_frames_hooks_t hooks = {s, message, dropped};
  la_frames_t *r = la_frames_new(fragments, LA_MESSAGE_MAX, &hooks);
  assert_non_null(r);
  return r;
}

static void finish(sink_t *s, la_frames_t *r) {
  la_buf_free(&s->got);
  la_frames_free(r);
}

static void first_piece(la_buf_t *b, uint64_t sequence, uint64_t number,
                        size_t n) {
  la_frame_piece(la_buf_add(b, LA_FRAME_FIRST_BYTES), true, sequence, number,
                 n);
}

static void next_piece(la_buf_t *b, uint64_t sequence, uint64_t number,
                       size_t n) {
  la_frame_piece(la_buf_add(b, LA_FRAME_NEXT_BYTES), false, sequence, number,
                 n);
}

/* Random messages, whole, in pieces and between ticks; what should arrive goes
 * to 'expected' in the order of the last pieces. */
typedef struct script {
  la_buf_t wire, expected;
} script_t;

static void fill(uint8_t *p, size_t n) {
  for (size_t i = 0; i < n; i++) {
    p[i] = (uint8_t)random_bits();
  }
}

static void whole(script_t *s, bool fragments, size_t n) {
  la_frame_head(&s->wire, fragments, n);
  uint8_t *p = la_buf_add(&s->wire, n);
  fill(p, n);
  la_buf_u32(&s->expected, (uint32_t)n);
  la_buf_put(&s->expected, p, n);
}

/* Two messages whose pieces alternate. */
static void interleaved(script_t *s) {
  la_buf_t all[2] = {{0}, {0}};
  const uint64_t pieces = 1 + random_below(5);
  for (uint64_t k = pieces; k > 0; k--) {
    for (uint64_t m = 0; m < 2; m++) {
      const size_t n = random_below(3000);
      if (k == pieces) {
        first_piece(&s->wire, m, k, n);
      } else {
        next_piece(&s->wire, m, k, n);
      }
      uint8_t *p = la_buf_add(&s->wire, n);
      fill(p, n);
      la_buf_put(&all[m], p, n);
    }
  }
  for (int m = 0; m < 2; m++) {
    la_buf_u32(&s->expected, (uint32_t)all[m].len);
    la_buf_put(&s->expected, all[m].data, all[m].len);
    la_buf_free(&all[m]);
  }
}

static size_t odd_size(void) {
  switch (random_below(8)) {
    case 0:
      return 65536 + random_below(200000);
    case 1:
      return 65520 + random_below(30);
    default:
      return 1 + random_below(400);
  }
}

static void cut_anywhere(void **state) {
  (void)state;
  seed_random("cut_anywhere");
  for (int round = 0; round < 60; round++) {
    const bool fragments = round % 2 == 0;
    sink_t sink;
    la_frames_t *r = reader(&sink, fragments);
    script_t s = {{0}, {0}};
    for (int i = 0; i < 12; i++) {
      if (random_below(4) == 0) {
        la_frame_tick(&s.wire);
      }
      if (fragments && random_below(3) == 0) {
        interleaved(&s);
      } else {
        whole(&s, fragments, odd_size());
      }
    }
    for (size_t at = 0; at < s.wire.len;) {
      size_t n = 1 + random_below(random_below(2) ? 20 : 70000);
      n = n < s.wire.len - at ? n : s.wire.len - at;
      assert_true(la_frames_feed(r, s.wire.data + at, n));
      at += n;
    }
    assert_int_equal(sink.got.len, s.expected.len);
    assert_memory_equal(sink.got.data, s.expected.data, s.expected.len);
    assert_int_equal(sink.dropped, 0);
    la_buf_free(&s.wire);
    la_buf_free(&s.expected);
    finish(&sink, r);
  }
}

static void drops_what_is_too_long(void **state) {
  (void)state;
  sink_t sink;
  la_frames_t *r = reader(&sink, true);
  la_buf_t b = {0};
  const size_t huge = LA_MESSAGE_MAX + 1;
  la_buf_u32(&b, (uint32_t)huge);
  assert_true(la_frames_feed(r, b.data, b.len));
  static uint8_t zeros[1 << 20];
  for (size_t left = huge; left > 0;) {
    const size_t n = left < sizeof zeros ? left : sizeof zeros;
    assert_true(la_frames_feed(r, zeros, n));
    left -= n;
  }
  b.len = 0;
  la_frame_head(&b, true, 2);
  la_buf_put(&b, "ok", 2);
  assert_true(la_frames_feed(r, b.data, b.len));
  assert_int_equal(sink.dropped, 1);
  assert_string_equal(sink.why, "a packet that is too long");
  assert_int_equal(sink.messages, 1);
  assert_memory_equal(sink.got.data + 4, "ok", 2);
  la_buf_free(&b);
  finish(&sink, r);
}

static void drops_pieces_that_are_too_long(void **state) {
  (void)state;
  sink_t sink;
  la_frames_t *r = reader(&sink, true);
  static uint8_t zeros[16 << 20];
  la_buf_t b = {0};
  for (uint64_t k = 6; k > 0; k--) {
    b.len = 0;
    if (k == 6) {
      first_piece(&b, 7, k, sizeof zeros);
    } else {
      next_piece(&b, 7, k, sizeof zeros);
    }
    assert_true(la_frames_feed(r, b.data, b.len));
    assert_true(la_frames_feed(r, zeros, sizeof zeros));
  }
  assert_int_equal(sink.dropped, 1);
  assert_int_equal(sink.messages, 0);
  /* The sequence is over: its number may be used again. */
  b.len = 0;
  first_piece(&b, 7, 1, 2);
  la_buf_put(&b, "ok", 2);
  assert_true(la_frames_feed(r, b.data, b.len));
  assert_int_equal(sink.messages, 1);
  la_buf_free(&b);
  finish(&sink, r);
}

typedef struct bad {
  bool fragments;
  size_t n;
  const char *bytes, *why;
} bad_t;

#define SEQ7 "\0\0\0\0\0\0\0\7"

static void refuses_the_malformed(void **state) {
  (void)state;
  static const bad_t cases[] = {
      {true, 4, "\xff\xff\xff\xff", "a packet longer than 1 GiB"},
      {true, 6, "\0\0\0\2\x70\x83", "a packet with a wrong header"},
      {true, 7, "\0\0\0\3\x83\x44\1", "a packet with a wrong header"},
      {true, 7, "\0\0\0\3\x83\x47\0", "a packet with a wrong header"},
      {false, 7, "\0\0\0\3\x83\x44\0", "a packet with a wrong header"},
      {false, 5, "\0\0\0\1\x70", "a packet with a wrong header"},
      {true, 7, "\0\0\0\3\x83\x45\0", "a malformed first fragment"},
      {true, 7, "\0\0\0\3\x83\x46\0", "a malformed fragment"},
      {true, 23, "\0\0\0\x13\x83\x45" SEQ7 "\0\0\0\0\0\0\0\0\0",
       "a first fragment out of order"},
      {true, 22, "\0\0\0\x12\x83\x46" SEQ7 "\0\0\0\0\0\0\0\1",
       "a fragment out of order"},
      {true, 45,
       "\0\0\0\x13\x83\x45" SEQ7 "\0\0\0\0\0\0\0\3\0"
       "\0\0\0\x12\x83\x46" SEQ7 "\0\0\0\0\0\0\0\1",
       "a fragment out of order"},
      {true, 46,
       "\0\0\0\x13\x83\x45" SEQ7 "\0\0\0\0\0\0\0\3\0"
       "\0\0\0\x13\x83\x45" SEQ7 "\0\0\0\0\0\0\0\3\0",
       "a first fragment out of order"},
  };
  for (size_t i = 0; i < COUNT(cases); i++) {
    sink_t sink;
    la_frames_t *r = reader(&sink, cases[i].fragments);
    assert_false(la_frames_feed(r, (const uint8_t *)cases[i].bytes,
                                cases[i].n));
    assert_string_equal(la_frames_why(r), cases[i].why);
    assert_int_equal(sink.messages, 0);
    finish(&sink, r);
  }
}

static void bounds_the_unfinished(void **state) {
  (void)state;
  sink_t sink;
  la_frames_t *r = reader(&sink, true);
  la_buf_t b = {0};
  for (uint64_t i = 0; i <= LA_SEQUENCES_MAX; i++) {
    b.len = 0;
    first_piece(&b, i, 2, 0);
    assert_int_equal(la_frames_feed(r, b.data, b.len), i < LA_SEQUENCES_MAX);
  }
  assert_string_equal(la_frames_why(r), "too many unfinished messages");
  la_buf_free(&b);
  finish(&sink, r);
}

static void stops_when_told(void **state) {
  (void)state;
  sink_t sink;
  la_frames_t *r = reader(&sink, true);
  sink.stop_after = 2;
  la_buf_t b = {0};
  for (int i = 0; i < 5; i++) {
    la_frame_head(&b, true, 1);
    la_buf_u8(&b, 1);
  }
  assert_false(la_frames_feed(r, b.data, b.len));
  assert_null(la_frames_why(r));
  assert_int_equal(sink.messages, 2);
  la_buf_free(&b);
  finish(&sink, r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(cut_anywhere),
      cmocka_unit_test(drops_what_is_too_long),
      cmocka_unit_test(drops_pieces_that_are_too_long),
      cmocka_unit_test(refuses_the_malformed),
      cmocka_unit_test(bounds_the_unfinished),
      cmocka_unit_test(stops_when_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

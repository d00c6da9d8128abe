/* The handshake: the bytes of a real one, and two machines that talk. */
#include "dist/handshake.h"

#include "unit.h"

static const char *cookie_text = "c";

typedef struct side {
  la_hs_status_t status;
  bool replace;
  int verified;
  uint32_t challenge;
  const char *cookie;
} side_t;

static la_hs_status_t admit(void *ud, const char *peer) {
  (void)peer;
  return ((side_t *)ud)->status;
}
static bool replace(void *ud) {
  return ((side_t *)ud)->replace;
}
static void verified(void *ud) {
  ((side_t *)ud)->verified++;
}
static size_t cookie(void *ud, const char *peer, char *out) {
  (void)peer;
  const char *c = ((side_t *)ud)->cookie;
  c = c != NULL ? c : cookie_text;
  memcpy(out, c, strlen(c));
  return strlen(c);
}
static void fixed_random(void *ud, void *bytes, size_t n) {
  memcpy(bytes, &((side_t *)ud)->challenge, n);
}

static la_hs_t *machine(side_t *s, bool connecting, bool wide,
                        const char *name, const char *peer) {
  const la_hs_config_t config = {
      connecting, wide, name, peer, LA_DF_OURS, 0x6b00f7c9,
      {s, admit, replace, verified, cookie, fixed_random}};
  la_hs_t *hs = la_hs_new(&config);
  assert_non_null(hs);
  return hs;
}

static la_hs_verdict_t feed(la_hs_t *hs, const void *bytes, size_t n,
                            la_buf_t *out) {
  size_t used;
  const la_hs_verdict_t v = la_hs_feed(hs, bytes, n, &used, out);
  return v;
}

/* Flags: those that OTP 25 asks for are among ours, the atom cache is not. */
static void test_flags(void **state) {
  (void)state;
  uint64_t all = 0;
#define X(sym, bit) all |= LA_DF_##sym;
  LA_DIST_FLAGS(X)
#undef X
  assert_true((LA_DF_OURS & ~all) == 0);
  assert_true((all & ~LA_DF_OURS) ==
              (LA_DF_PUBLISHED | LA_DF_DIST_HDR_ATOM_CACHE));
  assert_true((LA_DF_OURS & LA_DF_REQUIRED) == LA_DF_REQUIRED);
}

static void test_names(void **state) {
  (void)state;
  static const char *good[] = {"a@b", "x_1@127.0.0.1", "\xc3\xa5@h"};
  static const char *bad[] = {"", "a", "@b", "a@", "a@b@c", "a b@c", "a\n@c"};
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    assert_true(la_node_name_ok(good[i], strlen(good[i])));
  }
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    assert_false(la_node_name_ok(bad[i], strlen(bad[i])));
  }
  char longer[300];
  memset(longer, 'a', sizeof longer);
  longer[10] = '@';
  assert_true(la_node_name_ok(longer, 255));
  assert_false(la_node_name_ok(longer, 256));
}

/* What OTP 25 sent, and how it is answered. */
static void test_vector_accepting(void **state) {
  (void)state;
  static const uint8_t name[] = {
      0x00, 0x1a, 0x4e, 0x00, 0x00, 0x00, 0x0d, 0x07, 0xdf, 0x7f,
      0xbd, 0x6b, 0x00, 0xf7, 0xc9, 0x00, 0x0b, 0x65, 0x40, 0x31,
      0x32, 0x37, 0x2e, 0x30, 0x2e, 0x30, 0x2e, 0x31};
  static const uint8_t reply[] = {
      0x00, 0x15, 0x72, 0xd7, 0xf7, 0xc6, 0xec, 0xb8, 0x0c, 0x11, 0xcd, 0x22,
      0xb3, 0x8e, 0xdf, 0x56, 0xbe, 0x1a, 0x66, 0x32, 0x8a, 0x40, 0xc0};
  static const uint8_t ack[] = {
      0x00, 0x11, 0x61, 0xd8, 0x1a, 0x68, 0xff, 0x0b, 0x20, 0xcb,
      0x86, 0x99, 0x45, 0x36, 0xe3, 0xc9, 0x24, 0x20, 0x14};
  side_t s = {LA_STATUS_OK, false, 0, 0x461a0b77, NULL};
  la_hs_t *hs = machine(&s, false, false, "py@127.0.0.1", NULL);
  la_buf_t out = {0};
  assert_int_equal(feed(hs, name, sizeof name, &out), LA_HS_GOING);
  assert_memory_equal(out.data, "\x00\x03sok", 5);
  out.len = 0;
  /* In single bytes: a message is waited for. */
  for (size_t i = 0; i < sizeof reply - 1; i++) {
    assert_int_equal(feed(hs, reply + i, 1, &out), LA_HS_GOING);
  }
  assert_int_equal(s.verified, 0);
  assert_int_equal(feed(hs, reply + sizeof reply - 1, 1, &out), LA_HS_DONE);
  assert_int_equal(s.verified, 1);
  assert_int_equal(out.len, sizeof ack);
  assert_memory_equal(out.data, ack, sizeof ack);
  assert_string_equal(la_hs_peer(hs)->name, "e@127.0.0.1");
  assert_int_equal(la_hs_peer(hs)->creation, 0x6b00f7c9);
  assert_false(la_hs_peer(hs)->is_luactor);
  la_buf_free(&out);
  la_hs_free(hs);
}

typedef struct pair {
  la_hs_verdict_t a, b;
} pair_t;

/* Let both talk until neither has anything to say. */
static pair_t talk(la_hs_t *a, la_hs_t *b) {
  la_buf_t to_a = {0}, to_b = {0};
  pair_t v = {la_hs_start(a, &to_b), LA_HS_GOING};
  while (to_a.len + to_b.len > 0) {
    size_t used;
    la_buf_t in = to_b;
    to_b = (la_buf_t){0};
    v.b = la_hs_feed(b, in.data, in.len, &used, &to_a);
    la_buf_free(&in);
    in = to_a;
    to_a = (la_buf_t){0};
    v.a = la_hs_feed(a, in.data, in.len, &used, &to_b);
    la_buf_free(&in);
  }
  la_buf_free(&to_a);
  la_buf_free(&to_b);
  return v;
}

static pair_t meet(side_t *sa, side_t *sb, bool wide, const char *expected,
                   char *why, bool *luactor) {
  la_hs_t *a = machine(sa, true, wide, "a@h", expected);
  la_hs_t *b = machine(sb, false, wide, "b@h", NULL);
  const pair_t v = talk(a, b);
  strcpy(why, v.a == LA_HS_FAILED ? la_hs_why(a) : la_hs_why(b));
  *luactor = la_hs_peer(a)->is_luactor && la_hs_peer(b)->is_luactor;
  la_hs_free(a);
  la_hs_free(b);
  return v;
}

typedef struct meeting {
  la_hs_status_t status;
  bool replace;
  const char *expected, *cookie;
  la_hs_verdict_t a, b;
  int verified;
  const char *why;
} meeting_t;

static const meeting_t meetings[] = {
    {LA_STATUS_OK, false, "b@h", "c", LA_HS_DONE, LA_HS_DONE, 1, ""},
    {LA_STATUS_OK_SIMULTANEOUS, false, "b@h", "c", LA_HS_DONE, LA_HS_DONE, 1,
     ""},
    {LA_STATUS_NOK, false, "b@h", "c", LA_HS_YIELDED, LA_HS_DECLINED, 0, ""},
    {LA_STATUS_NOT_ALLOWED, false, "b@h", "c", LA_HS_FAILED, LA_HS_DECLINED,
     0, "b@h does not allow the connection"},
    {LA_STATUS_ALIVE, true, "b@h", "c", LA_HS_DONE, LA_HS_DONE, 1, ""},
    {LA_STATUS_ALIVE, false, "b@h", "c", LA_HS_DECLINED, LA_HS_DECLINED, 0,
     ""},
    {LA_STATUS_OK, false, "other@h", "c", LA_HS_FAILED, LA_HS_GOING, 0,
     "another node answered: b@h"},
    {LA_STATUS_OK, false, "b@h", "wrong", LA_HS_GOING, LA_HS_FAILED, 0,
     "wrong cookie of a@h"},
    {LA_STATUS_OK, false, "b@h", "", LA_HS_GOING, LA_HS_FAILED, 0,
     "wrong cookie of a@h"},
};

static void test_meetings(void **state) {
  (void)state;
  for (int wide = 0; wide < 2; wide++) {
    for (size_t i = 0; i < sizeof meetings / sizeof *meetings; i++) {
      const meeting_t *m = &meetings[i];
      side_t a = {LA_STATUS_OK, m->replace, 0, 17, "c"};
      side_t b = {m->status, false, 0, 4000000000u, m->cookie};
      char why[400];
      bool luactor;
      const pair_t v = meet(&a, &b, wide, m->expected, why, &luactor);
      assert_int_equal(v.a, m->a);
      assert_int_equal(v.b, m->b);
      assert_int_equal(b.verified, m->verified);
      assert_string_equal(why, m->why);
      assert_true(luactor || v.a != LA_HS_DONE);
    }
  }
}

/* The one who connects must be proved to as well. */
static void test_liar(void **state) {
  (void)state;
  side_t s = {LA_STATUS_OK, false, 0, 1, NULL};
  la_hs_t *hs = machine(&s, true, false, "a@h", "b@h");
  la_buf_t out = {0}, in = {0};
  la_hs_start(hs, &out);
  la_buf_put(&in, "\x00\x03sok", 5);
  la_buf_u16(&in, 22);
  la_buf_u8(&in, 'N');
  la_buf_u64(&in, LA_DF_OURS);
  la_buf_u32(&in, 99);
  la_buf_u32(&in, 5);
  la_buf_u16(&in, 3);
  la_buf_put(&in, "b@h", 3);
  la_buf_u16(&in, 17);
  la_buf_u8(&in, 'a');
  la_buf_put(&in, "0123456789abcdef", 16);
  assert_int_equal(feed(hs, in.data, in.len, &out), LA_HS_FAILED);
  assert_string_equal(la_hs_why(hs), "wrong cookie of b@h");
  la_buf_free(&in);
  la_buf_free(&out);
  la_hs_free(hs);
}

typedef struct garbage {
  size_t n;
  const char *bytes, *why;
} garbage_t;

static void test_garbage(void **state) {
  (void)state;
  static const garbage_t cases[] = {
      {2, "\xff\xff", "a handshake message that is too long"},
      {2, "\x00\x00", "the first message is not a name"},
      {7, "\x00\x05GET /", "the first message is not a name"},
      {17, "\x00\x0fN\0\0\0\x0d\x07\xdf\x7f\xbd\0\0\0\1\xff\xff",
       "a name longer than its message"},
      {18, "\x00\x10N\0\0\0\x0d\x07\xdf\x7f\xbd\0\0\0\1\0\1\x1b",
       "'?' is not the name of a node"},
      {20, "\x00\x12N\0\0\0\0\0\0\0\0\0\0\0\1\0\3x@y",
       "x@y lacks abilities that every node needs"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    side_t s = {LA_STATUS_OK, false, 0, 1, NULL};
    la_hs_t *hs = machine(&s, false, false, "b@h", NULL);
    la_buf_t out = {0};
    assert_int_equal(feed(hs, cases[i].bytes, cases[i].n, &out),
                     LA_HS_FAILED);
    assert_string_equal(la_hs_why(hs), cases[i].why);
    /* It stays failed. */
    assert_int_equal(feed(hs, "\0\0", 2, &out), LA_HS_FAILED);
    la_buf_free(&out);
    la_hs_free(hs);
  }
}

/* Bytes behind the handshake are not touched. */
static void test_rest(void **state) {
  (void)state;
  side_t sa = {LA_STATUS_OK, false, 0, 17, NULL};
  side_t sb = {LA_STATUS_OK, false, 0, 18, NULL};
  la_hs_t *a = machine(&sa, true, false, "a@h", "b@h");
  la_hs_t *b = machine(&sb, false, false, "b@h", NULL);
  la_buf_t x = {0}, y = {0};
  size_t used;
  la_hs_start(a, &x);
  la_hs_feed(b, x.data, x.len, &used, &y);
  x.len = 0;
  la_hs_feed(a, y.data, y.len, &used, &x);
  y.len = 0;
  la_buf_put(&x, "\0\0\0\0", 4);
  assert_int_equal(la_hs_feed(b, x.data, x.len, &used, &y), LA_HS_DONE);
  assert_int_equal(used, x.len - 4);
  la_buf_free(&x);
  la_buf_free(&y);
  la_hs_free(a);
  la_hs_free(b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_flags),    cmocka_unit_test(test_names),
      cmocka_unit_test(test_vector_accepting),
      cmocka_unit_test(test_meetings), cmocka_unit_test(test_liar),
      cmocka_unit_test(test_garbage),  cmocka_unit_test(test_rest),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

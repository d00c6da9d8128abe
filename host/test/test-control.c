/* Control messages and the terms in them: real bytes, and there and back. */
#include "dist/control.h"

#include "unit.h"

/* {22, Pid of py, Pid of e}: SEND_SENDER as OTP 25 wrote it. */
static const uint8_t send_sender[] = {
    0x68, 0x03, 0x61, 0x16, 0x58, 0x77, 0x0c, 0x70, 0x79, 0x40, 0x31,
    0x32, 0x37, 0x2e, 0x30, 0x2e, 0x30, 0x2e, 0x31, 0x00, 0x00, 0x00,
    0x06, 0x00, 0x00, 0x00, 0x00, 0x6b, 0x00, 0xf7, 0xc9, 0x58, 0x77,
    0x0b, 0x65, 0x40, 0x31, 0x32, 0x37, 0x2e, 0x30, 0x2e, 0x30, 0x2e,
    0x31, 0x00, 0x00, 0x00, 0x09, 0x00, 0x00, 0x00, 0x00, 0x6b, 0x00,
    0xf7, 0xc9};
/* {6, Pid of e, '', reg}: REG_SEND. */
static const uint8_t reg_send[] = {
    0x68, 0x04, 0x61, 0x06, 0x58, 0x77, 0x0b, 0x65, 0x40, 0x31, 0x32,
    0x37, 0x2e, 0x30, 0x2e, 0x30, 0x2e, 0x31, 0x00, 0x00, 0x00, 0x09,
    0x00, 0x00, 0x00, 0x00, 0x6b, 0x00, 0xf7, 0xc9, 0x77, 0x00, 0x77,
    0x03, 0x72, 0x65, 0x67};

static void reads_what_otp_wrote(void **state) {
  (void)state;
  la_control_t c;
  const char *why;
  const uint8_t *end = send_sender + sizeof send_sender;
  assert_ptr_equal(la_control_read(send_sender, end, &c, &why), end);
  assert_int_equal(c.op, LA_CTL_SEND_SENDER);
  assert_true(la_control_has_payload(c.op));
  assert_true(la_wire_id_is_of(&c.from.id, "py@127.0.0.1", 0x6b00f7c9));
  assert_int_equal(c.from.id.words[0], 6);
  assert_true(la_wire_id_is_of(&c.to.id, "e@127.0.0.1", 0x6b00f7c9));
  assert_int_equal(c.to.id.words[0], 9);

  end = reg_send + sizeof reg_send;
  assert_ptr_equal(la_control_read(reg_send, end, &c, &why), end);
  assert_int_equal(c.op, LA_CTL_REG_SEND);
  assert_true(c.to.is_name);
  assert_int_equal(c.to.name_len, 3);
  assert_memory_equal(c.to.name, "reg", 3);
}

static void writes_the_same(void **state) {
  (void)state;
  static const struct {
    const uint8_t *bytes;
    size_t n;
  } cases[] = {{send_sender, sizeof send_sender}, {reg_send, sizeof reg_send}};
  for (size_t i = 0; i < COUNT(cases); i++) {
    la_control_t c;
    const char *why;
    la_buf_t b = {0};
    assert_non_null(
        la_control_read(cases[i].bytes, cases[i].bytes + cases[i].n, &c, &why));
    la_control_write(&b, &c);
    assert_int_equal(b.len, cases[i].n);
    assert_memory_equal(b.data, cases[i].bytes, b.len);
    la_buf_free(&b);
  }
}

static la_wire_id_t remote(la_wire_kind_t kind, uint32_t nwords) {
  la_wire_id_t id = {kind, (const uint8_t *)"n@host", 6,
                     (uint32_t)random_bits(), nwords, {0}};
  for (uint32_t i = 0; i < nwords; i++) {
    id.words[i] = (uint32_t)random_bits();
  }
  return id;
}

/* Every operation, written, read and compared; and every shorter prefix of it
 * is refused. */
static void there_and_back(void **state) {
  (void)state;
  seed_random("there_and_back");
  static const la_ctl_op_t ops[] = {
#define X(sym, number) LA_CTL_##sym,
      LA_CONTROLS(X)
#undef X
  };
  for (size_t i = 0; i < COUNT(ops); i++) {
    la_control_t c;
    memset(&c, 0, sizeof c);
    c.op = ops[i];
    c.from.id = remote(LA_WIRE_PID, 2);
    c.to.id = c.op == LA_CTL_ALIAS_SEND ? remote(LA_WIRE_REF, 3)
                                        : remote(LA_WIRE_PID, 2);
    if (c.op == LA_CTL_REG_SEND || c.op == LA_CTL_DEMONITOR_P) {
      c.to.is_name = true;
      c.to.name = (const uint8_t *)"somebody";
      c.to.name_len = 8;
    }
    c.ref = remote(LA_WIRE_REF, 1 + (uint32_t)random_below(5));
    c.priority = c.op == LA_CTL_REG_SEND;
    c.unlink_id = UINT64_MAX >> random_below(64);
    c.spawn_flags = 3;
    c.leader = remote(LA_WIRE_PID, 2);
    c.module = (la_ctl_text_t){(const uint8_t *)"mod", 3};
    c.function = (la_ctl_text_t){(const uint8_t *)"fn", 2};
    c.options.link = random_below(2);
    c.options.trap_exit = random_below(2);
    c.options.name = c.function;
    c.options.priority = c.module;
    c.options.max_heap = random_bits() | 1;
    c.arity = 2;
    c.reason = (const uint8_t *)"\x77\x04" "boom";
    c.reason_len = 6;
    la_buf_t b = {0};
    la_control_write(&b, &c);
    la_control_t d;
    const char *why;
    assert_ptr_equal(la_control_read(b.data, b.data + b.len, &d, &why),
                     b.data + b.len);
    la_buf_t again = {0};
    la_control_write(&again, &d);
    assert_int_equal(b.len, again.len);
    assert_memory_equal(b.data, again.data, b.len);
    for (size_t n = 0; n < b.len; n++) {
      uint8_t *exact = malloc(n + 1); /* so that an overrun is seen */
      memcpy(exact, b.data, n);
      assert_null(la_control_read(exact, exact + n, &d, &why));
      free(exact);
    }
    la_buf_free(&b);
    la_buf_free(&again);
  }
}

static void accepts_trace_tokens(void **state) {
  (void)state;
  la_buf_t b = {0};
  la_buf_put(&b, send_sender, sizeof send_sender);
  b.data[1] = 4;
  b.data[3] = 23;
  la_buf_put(&b, "\x6a", 1);
  la_control_t c;
  const char *why;
  assert_ptr_equal(la_control_read(b.data, b.data + b.len, &c, &why),
                   b.data + b.len);
  assert_int_equal(c.op, LA_CTL_SEND_SENDER);
  la_buf_free(&b);
}

static void says_what_is_wrong(void **state) {
  (void)state;
  static const struct {
    size_t n;
    const char *bytes, *why;
  } cases[] = {
      {1, "\x6a", "a control message is not a tuple"},
      {4, "\x68\x02\x61\x63", "an unknown control message"},
      {6, "\x68\x02\x61\x01\x61\x01", "a control message of a wrong size"},
      {8, "\x68\x03\x61\x01\x61\x01\x61\x01",
       "a malformed field of a control message"},
  };
  for (size_t i = 0; i < COUNT(cases); i++) {
    la_control_t c;
    const char *why = NULL;
    const uint8_t *p = (const uint8_t *)cases[i].bytes;
    assert_null(la_control_read(p, p + cases[i].n, &c, &why));
    assert_string_equal(why, cases[i].why);
  }
}

/* Identities of ours go out and come back as what they were. */
static void identities_come_back(void **state) {
  (void)state;
  seed_random("identities_come_back");
  static const la_id_kind_t kinds[] = {LA_ID_PID,  LA_ID_REF,   LA_ID_ALIAS,
                                       LA_ID_MBOX, LA_ID_TIMER, LA_ID_POOL};
  for (int i = 0; i < 2000; i++) {
    const la_id_t id = la_id_counted(kinds[random_below(COUNT(kinds))],
                                     random_bits() >> random_below(64));
    la_wire_id_t w, r;
    la_wire_id_of(id, "me@here", 77, &w);
    la_buf_t b = {0};
    la_wire_id_write(&b, &w);
    assert_ptr_equal(la_wire_id_read(b.data, b.data + b.len, &r),
                     b.data + b.len);
    assert_true(la_wire_id_equal(&w, &r));
    assert_true(la_wire_id_is_of(&r, "me@here", 77));
    assert_false(la_wire_id_is_of(&r, "me@here", 78));
    /* A pool looks like a process from outside. */
    const la_id_t back = la_id_kind(id) == LA_ID_POOL
                             ? la_id_counted(LA_ID_PID, la_id_body(id))
                             : id;
    assert_true(la_wire_id_local(&r) == back);
    la_buf_free(&b);
  }
  la_wire_id_t foreign = remote(LA_WIRE_REF, 3);
  foreign.words[0] = 99;
  assert_true(la_wire_id_local(&foreign) == LA_NO_ID);
  /* No peer can name what only this host knows. */
  foreign.words[0] = LA_ID_PROXY;
  foreign.words[2] = 0;
  assert_true(la_wire_id_local(&foreign) == LA_NO_ID);
  foreign.words[0] = LA_ID_ALIAS;
  assert_true(la_wire_id_local(&foreign) != LA_NO_ID);
}

static void checks_atoms(void **state) {
  (void)state;
  static const struct {
    const char *text;
    bool ok;
  } cases[] = {
      {"", true}, {"ok", true}, {"h\xc3\xa5", true}, {"\xe2\x82\xac", true},
      {"\xf0\x9f\x98\x80", true}, {"\xff", false}, {"\xc3", false},
      {"\xc0\x80", false}, {"\xe0\x80\x80", false}, {"\xed\xa0\x80", false},
      {"\xf4\x90\x80\x80", false}, {"a\x80", false},
  };
  for (size_t i = 0; i < COUNT(cases); i++) {
    assert_int_equal(la_wire_atom_ok((const uint8_t *)cases[i].text,
                                     strlen(cases[i].text)),
                     cases[i].ok);
  }
  uint8_t longest[256];
  memset(longest, 'a', sizeof longest);
  assert_true(la_wire_atom_ok(longest, 255));
  assert_false(la_wire_atom_ok(longest, 256));
}

typedef struct term {
  size_t n;
  const char *bytes;
} term_t;

static const term_t terms[] = {
    {2, "\x61\x07"}, {5, "\x62\xff\xff\xff\xff"}, {1, "\x6a"},
    {10, "\x6e\x07\1\1\2\3\4\5\6\7"}, {9, "\x46\x3f\xf8\0\0\0\0\0\0"},
    {7, "\x6f\0\0\0\1\0\5"}, {6, "\x6b\0\3" "abc"}, {2, "\x68\0"},
    {5, "\x69\0\0\0\0"}, {9, "\x6c\0\0\0\1\x77\1a\x6a"},
    {7, "\x6d\0\0\0\2ab"}, {7, "\x4d\0\0\0\1\3\xa0"},
    {10, "\x74\0\0\0\1\x77\1a\x61\1"}, {15, "\x71\x77\5lists\x77\3map\x61\2"},
};

static void skips_terms(void **state) {
  (void)state;
  for (size_t i = 0; i < COUNT(terms); i++) {
    const size_t n = terms[i].n;
    const uint8_t *p = (const uint8_t *)terms[i].bytes;
    assert_ptr_equal(la_wire_skip(p, p + n, NULL), p + n);
    for (size_t k = 0; k < n; k++) {
      uint8_t *exact = malloc(k + 1);
      memcpy(exact, p, k);
      assert_null(la_wire_skip(exact, exact + k, NULL));
      free(exact);
    }
  }
  static const uint8_t later[] = {67, 0, 0};
  bool unknown = false;
  assert_null(la_wire_skip(later, later + sizeof later, &unknown));
  assert_true(unknown);
}

/* A million levels need no stack; a count that is a lie is seen at once. */
static void skips_deep_and_lying_terms(void **state) {
  (void)state;
  la_buf_t b = {0};
  for (int i = 0; i < 1000000; i++) {
    la_buf_put(&b, "\x68\1", 2);
  }
  la_buf_put(&b, "\x6a", 1);
  assert_ptr_equal(la_wire_skip(b.data, b.data + b.len, NULL),
                   b.data + b.len);
  la_buf_free(&b);
  const uint8_t *lie = (const uint8_t *)"\x6c\xff\xff\xff\xff\x6a";
  assert_null(la_wire_skip(lie, lie + 6, NULL));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(reads_what_otp_wrote),
      cmocka_unit_test(writes_the_same),
      cmocka_unit_test(there_and_back),
      cmocka_unit_test(accepts_trace_tokens),
      cmocka_unit_test(says_what_is_wrong),
      cmocka_unit_test(identities_come_back),
      cmocka_unit_test(checks_atoms),
      cmocka_unit_test(skips_terms),
      cmocka_unit_test(skips_deep_and_lying_terms),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

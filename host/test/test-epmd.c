/* The port mapper: real bytes, and a mapper that is asked. */
#include "dist/epmd.h"

#include "unit.h"

static const uint8_t register_py[] = {0x00, 0x0f, 0x78, 0x8c, 0x03, 0x48,
                                      0x00, 0x00, 0x06, 0x00, 0x06, 0x00,
                                      0x02, 0x70, 0x79, 0x00, 0x00};

static void writes_the_known_bytes(void **state) {
  (void)state;
  la_buf_t b = {0};
  la_epmd_register(&b, "py", 35843, true);
  assert_int_equal(b.len, sizeof register_py);
  assert_memory_equal(b.data, register_py, b.len);
  b.len = 0;
  la_epmd_lookup(&b, "e");
  assert_int_equal(b.len, 4);
  assert_memory_equal(b.data, "\0\2\x7a\x65", 4);
  b.len = 0;
  la_epmd_names(&b);
  assert_int_equal(b.len, 3);
  assert_memory_equal(b.data, "\0\1\x6e", 3);
  la_buf_free(&b);
}

static void ask(la_epmd_t *m, const la_buf_t *request, const void *owner,
                bool here, la_buf_t *answer, bool *keep) {
  la_epmd_request_t r;
  assert_int_equal(la_epmd_read_request(request->data, request->len, &r),
                   request->len);
  answer->len = 0;
  la_epmd_answer(m, &r, owner, here, 1234, answer, keep);
}

static void keeps_names_while_their_owner_is_there(void **state) {
  (void)state;
  la_epmd_t *m = la_epmd_new(4369);
  la_buf_t q = {0}, a = {0};
  int one, two;
  bool keep;
  uint32_t creation;
  la_epmd_port_t port;

  la_epmd_register(&q, "x", 5001, false);
  ask(m, &q, &one, true, &a, &keep);
  assert_true(keep);
  assert_int_equal(la_epmd_read_registered(a.data, a.len, &creation),
                   LA_EPMD_OK);
  assert_int_equal(creation, 1234);
  ask(m, &q, &two, true, &a, &keep);
  assert_false(keep);
  assert_int_equal(la_epmd_read_registered(a.data, a.len, &creation),
                   LA_EPMD_REFUSED);

  q.len = 0;
  la_epmd_lookup(&q, "x");
  ask(m, &q, &two, false, &a, &keep);
  assert_false(keep);
  for (size_t n = 0; n < 10; n++) {
    assert_int_equal(la_epmd_read_port(a.data, n, &port), LA_EPMD_MORE);
  }
  assert_int_equal(la_epmd_read_port(a.data, a.len, &port), LA_EPMD_OK);
  assert_int_equal(port.port, 5001);
  assert_int_equal(port.type, LA_EPMD_NORMAL);

  q.len = 0;
  la_epmd_names(&q);
  ask(m, &q, &two, false, &a, &keep);
  assert_int_equal(la_get32(a.data), 4369);
  assert_int_equal(a.len - 4, strlen("name x at port 5001\n"));
  assert_memory_equal(a.data + 4, "name x at port 5001\n", a.len - 4);

  la_epmd_gone(m, &one);
  q.len = 0;
  la_epmd_lookup(&q, "x");
  ask(m, &q, &two, false, &a, &keep);
  assert_int_equal(la_epmd_read_port(a.data, a.len, &port), LA_EPMD_REFUSED);
  la_buf_free(&q);
  la_buf_free(&a);
  la_epmd_free(m);
}

static void registers_only_from_this_machine(void **state) {
  (void)state;
  la_epmd_t *m = la_epmd_new(4369);
  la_buf_t q = {0}, a = {0};
  bool keep;
  la_epmd_register(&q, "x", 5001, true);
  ask(m, &q, m, false, &a, &keep);
  assert_false(keep);
  la_buf_free(&q);
  la_buf_free(&a);
  la_epmd_free(m);
}

static void refuses_other_bytes(void **state) {
  (void)state;
  static const struct {
    size_t n;
    const char *bytes;
    int used;
  } cases[] = {
      {0, "", 0}, {3, "\0\2\x7a", 0}, {3, "\0\1\x7a", -1},
      {3, "\0\0\x7a", -1}, {3, "\xff\xff\x7a", -1}, {3, "\0\1G", -1},
      {5, "\0\3\x78\1\1", -1},
      {17, "\0\x0f\x78\x8c\3\x48\0\0\6\0\6\xff\xff\x70\x79\0\0", -1},
  };
  for (size_t i = 0; i < COUNT(cases); i++) {
    la_epmd_request_t r;
    assert_int_equal(la_epmd_read_request((const uint8_t *)cases[i].bytes,
                                          cases[i].n, &r),
                     cases[i].used);
  }
  la_epmd_port_t port;
  uint32_t creation;
  assert_int_equal(la_epmd_read_port((const uint8_t *)"HT", 2, &port),
                   LA_EPMD_BAD);
  assert_int_equal(la_epmd_read_registered((const uint8_t *)"HT", 2, &creation),
                   LA_EPMD_BAD);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(writes_the_known_bytes),
      cmocka_unit_test(keeps_names_while_their_owner_is_there),
      cmocka_unit_test(registers_only_from_this_machine),
      cmocka_unit_test(refuses_other_bytes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

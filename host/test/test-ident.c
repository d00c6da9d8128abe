/* Identities as text and as Lua values. */
#include "codec.h"

static void parses_back_what_it_prints(void **state) {
  (void)state;
  static const la_id_kind_t kinds[] = {LA_ID_PID,  LA_ID_REF,   LA_ID_ALIAS,
                                       LA_ID_MBOX, LA_ID_TIMER, LA_ID_POOL};
  static const uint64_t bodies[] = {0, 1, 9, 12, LA_ID_SLOT_MASK,
                                    LA_ID_BODY_MASK};
  for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
    for (size_t b = 0; b < sizeof bodies / sizeof *bodies; b++) {
      const la_id_t id = la_id_counted(kinds[k], bodies[b]);
      char buf[48];
      const size_t n = la_id_print(id, buf);
      assert_int_equal(n, strlen(buf));
      assert_true(la_id_parse(buf, n) == id);
    }
  }
}

static void prints_a_pid_as_erlang_does(void **state) {
  (void)state;
  char buf[48];
  la_id_print(la_id_make(LA_ID_PID, 0, 12), buf);
  assert_string_equal(buf, "<0.12>");
  la_id_print(la_id_counted(LA_ID_REF, 7), buf);
  assert_string_equal(buf, "#ref<0.7>");
}

static void gives_a_reused_slot_another_text(void **state) {
  (void)state;
  char a[48], b[48];
  la_id_print(la_id_make(LA_ID_PID, 0, 12), a);
  la_id_print(la_id_make(LA_ID_PID, 1, 12), b);
  assert_string_not_equal(a, b);
}

static void refuses_other_text(void **state) {
  (void)state;
  static const char *const bad[] = {
      "",        "<",         "<0.>",      "<0.1",     "<1.1>",
      "<0.01>",  "<0.1>x",    "<0.-1>",    "<0.1.2>",  "#ref<0.>",
      "#foo<0.1>", "#pid<0.1>", "#ref",    "ref<0.1>", "<0.+1>",
      "<0.1152921504606846976>", "<0.99999999999999999999999>"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    assert_true(la_id_parse(bad[i], strlen(bad[i])) == LA_NO_ID);
  }
  assert_true(la_id_parse("<0.1\0>", 6) == LA_NO_ID);
}

static void is_a_plain_value_in_lua(void **state) {
  (void)state;
  lua_State *L = luaL_newstate();
  open_common(L);
  run(L, "assert(tostring(pid) == '<0.12>' and tostring(ref) == '#ref<0.7>')\n"
         "local t = { [pid] = 1 }\n"
         "assert(t[copy(pid)] == 1 and rawequal(copy(ref), ref))\n"
         "assert(tostring(null):match '^userdata')\n");
  assert_true(la_to_id(L, LUA_REGISTRYINDEX) == LA_NO_ID);
  lua_getglobal(L, "null");
  assert_true(la_to_id(L, -1) == LA_NO_ID);
  lua_pushlightuserdata(L, L);
  assert_true(la_to_id(L, -1) == LA_NO_ID);
  lua_close(L);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(parses_back_what_it_prints),
      cmocka_unit_test(prints_a_pid_as_erlang_does),
      cmocka_unit_test(gives_a_reused_slot_another_text),
      cmocka_unit_test(refuses_other_text),
      cmocka_unit_test(is_a_plain_value_in_lua),
  };
  scratch = la_scratch_new();
  const int failed = cmocka_run_group_tests_name("ident", tests, NULL, NULL);
  la_scratch_free(scratch);
  return failed;
}

/* What C programs do with values, mailboxes and processes, with the first, second, third
 * ... allocation failing, and all after it: each says ENOMEM, nothing leaks (run under
 * the address sanitizer), and the same works afterwards. The host is not started, so
 * that nobody else feels the countdown. */
#include "base/env.h"
#include "host.h"

#ifdef LUACTOR_FAIL_ALLOC

static luactor_host *host;
static bool recovered; /* the operation has ended the countdown itself */
static char big[20000];

static int luaopen_none(struct lua_State *L) {
  (void)L;
  return 0;
}

static int build(void) {
  luactor_value *v = NULL, *copy = NULL;
  luactor_view part;
  int code = luactor_make(&v, "{s i {d S} x={y=(a)}}", "a", 1, 0.5, big,
                          sizeof big, "ok");
  if (code == 0) {
    assert_int_equal(luactor_get_index(luactor_view_of(v), 3, &part), 0);
    code = luactor_value_copy(part, &copy);
  }
  luactor_value_free(v);
  luactor_value_free(copy);
  return code;
}

/* Indices backwards: the table is put in order at its end. */
static int put_in_order(void) {
  luactor_builder *b = luactor_builder_new();
  luactor_value *v = NULL;
  luactor_build_table(b);
  for (int i = 40; i > 0; i--) {
    luactor_build_key(b);
    luactor_build_integer(b, i);
    luactor_build_text(b, "x");
  }
  luactor_build_end(b);
  const int code = luactor_build_finish(b, &v);
  luactor_builder_free(b);
  luactor_value_free(v);
  return code;
}

static int use_mailbox(void) {
  luactor_mailbox *mb = NULL;
  luactor_value *v = NULL, *got = NULL;
  int code = luactor_mailbox_open(host, 0, 0, &mb);
  if (code == 0) {
    code = luactor_make(&v, "{s S}", "m", big, sizeof big);
  }
  if (code == 0) {
    code = luactor_send(host, luactor_mailbox_address(mb), v);
  }
  if (code == 0) {
    code = luactor_mailbox_receive(mb, 0, &got);
    if (code == LUACTOR_ENOMEM) { /* nothing is lost */
      recovered = true;
      la_alloc_countdown(-1);
      assert_int_equal(luactor_mailbox_receive(mb, 0, &got), 0);
    }
  }
  luactor_value_free(got);
  luactor_value_free(v);
  luactor_mailbox_close(mb);
  return code;
}

static int watch_nobody(void) {
  luactor_mailbox *mb = NULL;
  luactor_value *v = NULL;
  int code = luactor_mailbox_open(host, 0, 0, &mb);
  if (code == 0) {
    code = luactor_mailbox_monitor(mb, (luactor_pid)1 << 60 | 4000, NULL);
  }
  if (code == 0) {
    code = luactor_mailbox_receive(mb, 0, &v);
    if (code == LUACTOR_ENOMEM) {
      recovered = true;
      la_alloc_countdown(-1);
      assert_int_equal(luactor_mailbox_receive(mb, 0, &v), 0);
    }
  }
  luactor_value_free(v);
  luactor_mailbox_close(mb);
  return code;
}

static int call_nobody(void) {
  luactor_value *v = NULL, *reply = NULL;
  int code = luactor_make(&v, "{s}", "x");
  if (code == 0) {
    code = luactor_call(host, (luactor_pid)1 << 60 | 4000, v, 1000, &reply);
  }
  luactor_value_free(v);
  const bool told = luactor_is_text(luactor_view_of(reply), "noproc");
  luactor_value_free(reply);
  return code == LUACTOR_ENOPROC && told ? 0 : LUACTOR_ENOMEM;
}

static int spawn_by_name(void) {
  luactor_value *v = NULL;
  luactor_spawn_opts o;
  luactor_spawn_opts_init(&o);
  o.label = "label";
  int code = luactor_make(&v, "{s}", "x");
  const luactor_value *args[] = {v};
  if (code == 0) {
    code = luactor_spawn_call_opt(host, &o, "a.b", args, 1, NULL);
  }
  luactor_value_free(v);
  return code;
}

static int ended;

static void on_exit_(luactor_actor *self, luactor_view reason, void *ud) {
  (void)self;
  (void)reason;
  (void)ud;
  ended++;
}

static int spawn_native(void) {
  const luactor_native callbacks = {sizeof callbacks, NULL, NULL, on_exit_};
  return luactor_spawn_native(host, &callbacks, NULL, NULL);
}

static int add_module(void) {
  static int number;
  char name[20];
  snprintf(name, sizeof name, "m%d", number++);
  return luactor_add_module(host, name, luaopen_none);
}

typedef int op_t(void);

static void run(void **state) {
  op_t *op = *(op_t **)*state;
  host = open_host(1);
  memset(big, 'x', sizeof big);
  long n = 0;
  for (bool failed = true; failed; n++) {
    la_alloc_countdown(n);
    recovered = false;
    const int code = op();
    failed = la_alloc_has_failed() || recovered;
    la_alloc_countdown(-1);
    assert_true(code == 0 || (failed && code == LUACTOR_ENOMEM));
    assert_true(n < 1000);
  }
  assert_int_equal(op(), 0);
  const int alive = (int)luactor_process_count(host);
  ended = 0;
  luactor_close(host);
  print_message("  %ld allocations\n", n - 1);
  if (op == spawn_native) {
    assert_int_equal(ended, alive);
  }
}

int main(void) {
  static op_t *ops[] = {build,       put_in_order,  use_mailbox,
                        watch_nobody, call_nobody,  spawn_by_name,
                        spawn_native, add_module};
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_prestate(run, &ops[0]),
      cmocka_unit_test_prestate(run, &ops[1]),
      cmocka_unit_test_prestate(run, &ops[2]),
      cmocka_unit_test_prestate(run, &ops[3]),
      cmocka_unit_test_prestate(run, &ops[4]),
      cmocka_unit_test_prestate(run, &ops[5]),
      cmocka_unit_test_prestate(run, &ops[6]),
      cmocka_unit_test_prestate(run, &ops[7]),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void) {
  puts("failembed: needs a build with LUACTOR_FAIL_ALLOC");
  return 0;
}

#endif

/* luactor_spawn_call, the options of spawns, luactor_wait. */
#include <unistd.h>

#include "host.h"

static luactor_value *end_of(luactor_host *host, luactor_pid pid) {
  luactor_value *why = NULL;
  assert_int_equal(luactor_wait(host, pid, PATIENCE, &why), 0);
  assert_non_null(why);
  return why;
}

static void expect_end(luactor_host *host, luactor_pid pid, const char *want) {
  luactor_value *why = end_of(host, pid);
  expect_print(luactor_view_of(why), want);
  luactor_value_free(why);
}

static luactor_pid spawn_opt(luactor_host *host, const luactor_spawn_opts *o,
                             const char *code) {
  char text[2000];
  luactor_pid pid = 0;
  snprintf(text, sizeof text, PRELUDE "%s", code);
  assert_int_equal(luactor_spawn_string_opt(host, o, text, strlen(text), "=opt",
                                            0, NULL, 0, &pid),
                   0);
  return pid;
}

static void calls_a_function_with_values(void **state) {
  (void)state;
  luactor_host *host = started_host(1);
  luactor_value *v[2];
  luactor_pid pid;
  assert_int_equal(luactor_make(&v[0], "{s x=i}", "bye", 1), 0);
  assert_int_equal(luactor_make(&v[1], "n"), 0);
  const luactor_value *args[] = {v[0], v[1]};
  assert_int_equal(
      luactor_spawn_call(host, "luactor.exit", args, 1, &pid), 0);
  expect_end(host, pid, "{'bye', x = 1}");
  assert_int_equal(luactor_spawn_call(host, "_G.error", args, 2, &pid), 0);
  luactor_value *why = end_of(host, pid);
  luactor_view part;
  assert_int_equal(luactor_get_index(luactor_view_of(why), 2, &part), 0);
  expect_print(part, "{'bye', x = 1}");
  luactor_value_free(why);
  assert_int_equal(luactor_spawn_call(host, "no.module", NULL, 0, &pid), 0);
  why = end_of(host, pid);
  assert_non_null(
      strstr(luactor_reason_error(why), "module 'no' not found"));
  luactor_value_free(why);
  static const char *const bad[] = {"", "x", ".x", "x.", NULL};
  for (size_t i = 0; i < COUNT(bad); i++) {
    assert_int_equal(luactor_spawn_call(host, bad[i], NULL, 0, &pid),
                     LUACTOR_EINVAL);
  }
  assert_int_equal(luactor_spawn_call(host, "a.b", NULL, 1, &pid),
                   LUACTOR_EINVAL);
  assert_int_equal(luactor_spawn_call(host, "a.b", args, -1, &pid),
                   LUACTOR_EINVAL);
  assert_int_equal(luactor_spawn_call(NULL, "a.b", args, 0, &pid),
                   LUACTOR_EINVAL);
  const luactor_value *hole[] = {NULL};
  assert_int_equal(luactor_spawn_call(host, "a.b", hole, 1, &pid),
                   LUACTOR_EINVAL);
  luactor_value_free(v[0]);
  luactor_value_free(v[1]);
  luactor_close(host);
}

static void obeys_options(void **state) {
  (void)state;
  luactor_host *host = open_host(1);
  luactor_spawn_opts o;
  luactor_spawn_opts_init(&o);
  o.name = "named";
  o.label = "a label";
  o.priority = LUACTOR_PRIORITY_HIGH;
  o.trap_exit = 1;
  o.mailbox_limit = 1;
  o.mailbox_overflow = LUACTOR_OVERFLOW_ERROR;
  const luactor_pid pid = spawn_opt(
      host, &o,
      "local i = actor.info(actor.self())"
      "assert(i.registered_name == 'named' and i.label == 'a label')"
      "assert(i.priority == 'high' and i.trap_exit == true)"
      "assert(actor.receive() == 1)"
      "local m = actor.receive() assert(m[1] == 'EXIT' and m[3] == 'why')");
  luactor_value *v = value_of_int(1), *why;
  assert_int_equal(luactor_send(host, pid, v), 0);
  assert_int_equal(luactor_send(host, pid, v), LUACTOR_EFULL);
  luactor_value_free(v);
  assert_int_equal(luactor_spawn_file_opt(host, &o, "x", 0, NULL, 0, NULL),
                   LUACTOR_ENAME);
  assert_int_equal(luactor_start(host), 0);
  assert_int_equal(luactor_make(&why, "s", "why"), 0);
  assert_int_equal(luactor_exit(host, pid, why), 0);
  luactor_value_free(why);
  expect_end(host, pid, "'normal'");
  luactor_spawn_opts_init(&o);
  o.max_heap = 200000;
  luactor_value *end = end_of(
      host, spawn_opt(host, &o, "local t = {} while true do t[#t + 1] = {} end"));
  luactor_view part;
  assert_int_equal(luactor_get_index(luactor_view_of(end), 1, &part), 0);
  assert_true(luactor_is_text(part, "heap_limit"));
  luactor_value_free(end);
  luactor_close(host);
}

static void refuses_bad_options(void **state) {
  (void)state;
  luactor_host *host = open_host(1);
  luactor_spawn_opts o;
  for (int i = 0; i < 6; i++) {
    luactor_spawn_opts_init(&o);
    switch (i) {
      case 0: o.size = 0; break;
      case 1: o.size = sizeof o + 8; break;
      case 2: o.priority = 3; break;
      case 3: o.mailbox_overflow = 5; break;
      case 4: o.mailbox_limit = 1u << 28; break;
      default: o.name = ""; break;
    }
    assert_int_equal(
        luactor_spawn_string_opt(host, &o, "", 0, NULL, 0, NULL, 0, NULL),
        LUACTOR_EINVAL);
  }
  luactor_close(host);
}

static void forgets_detached_processes(void **state) {
  (void)state;
  luactor_host *host = started_host(1);
  luactor_spawn_opts o;
  luactor_spawn_opts_init(&o);
  o.detached = 1;
  const luactor_pid pid = spawn_opt(host, &o, "error('nobody waits')");
  luactor_value *why = NULL;
  assert_int_equal(luactor_wait(host, pid, PATIENCE, &why), LUACTOR_ENOPROC);
  assert_null(why);
  luactor_close(host);
}

static void gives_each_end_once(void **state) {
  (void)state;
  luactor_host *host = started_host(2);
  luactor_pid pid[100];
  luactor_value *why;
  for (size_t i = 0; i < COUNT(pid); i++) {
    pid[i] = spawn(host, "actor.exit({ 'done', 1 })");
  }
  for (size_t i = COUNT(pid); i-- > 0;) {
    expect_end(host, pid[i], "{'done', 1}");
    assert_int_equal(luactor_wait(host, pid[i], 0, &why), LUACTOR_ENOPROC);
  }
  const luactor_pid crash = spawn(host, "error('oops', 0)");
  why = end_of(host, crash);
  assert_non_null(strstr(luactor_reason_error(why), "oops\nstack traceback:"));
  luactor_value_free(why);
  assert_null(luactor_reason_error(NULL));
  assert_int_equal(luactor_wait(host, 0, 0, &why), LUACTOR_ENOPROC);
  luactor_close(host);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(calls_a_function_with_values),
      cmocka_unit_test(obeys_options),
      cmocka_unit_test(refuses_bad_options),
      cmocka_unit_test(forgets_detached_processes),
      cmocka_unit_test(gives_each_end_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

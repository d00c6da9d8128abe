/* Native actors: processes whose code is C. */
#include <stdatomic.h>
#include <unistd.h>

#include "host.h"

/* A server in C: answers, counts, and does what it is told. */
typedef struct {
  luactor_pid out; /* where it tells of what it does; 0: nowhere */
  int64_t sum;
  _Atomic int started, ended;
  uint64_t timer;
  luactor_actor *self;
  luactor_value *from; /* of a call to be answered later */
} server_t;

static void tell(luactor_actor *self, luactor_pid to, const char *what) {
  luactor_value *v;
  assert_int_equal(luactor_make(&v, "s", what), 0);
  luactor_actor_send(self, to, v);
  luactor_value_free(v);
}

static void on_start(luactor_actor *self, void *ud) {
  server_t *s = ud;
  s->started++;
  s->self = self;
  assert_true(luactor_actor_pid(self) != 0);
  assert_non_null(luactor_actor_host(self));
}

static void answer(luactor_actor *self, server_t *s, luactor_view from,
                   luactor_view request) {
  luactor_view n;
  int64_t i = 0;
  if (luactor_is_text(request, "later")) {
    assert_int_equal(luactor_value_copy(from, &s->from), 0);
    return;
  }
  if (luactor_is_text(request, "nil")) {
    assert_int_equal(luactor_actor_reply(self, from, NULL), 0);
    return;
  }
  if (luactor_get_index(request, 2, &n) == 0) {
    luactor_get_integer(n, &i);
  }
  s->sum += i;
  luactor_value *v;
  assert_int_equal(luactor_make(&v, "I", s->sum), 0);
  assert_int_equal(luactor_actor_reply(self, from, v), 0);
  luactor_value_free(v);
}

static void obey(luactor_actor *self, server_t *s, luactor_view m) {
  luactor_view what, arg;
  luactor_pid pid = 0;
  luactor_value *v;
  if (luactor_get_index(m, 1, &what) != 0 ||
      luactor_get_index(m, 2, &arg) != 0) {
    what = m;
    arg = (luactor_view){0};
  }
  luactor_get_pid(arg, &pid);
  if (luactor_is_text(what, "out")) {
    s->out = pid;
    tell(self, pid, "here");
  } else if (luactor_is_text(what, "link")) {
    assert_int_equal(luactor_actor_link(self, pid), 0);
    tell(self, s->out, "linked");
  } else if (luactor_is_text(what, "unlink")) {
    assert_int_equal(luactor_actor_unlink(self, pid), 0);
    tell(self, s->out, "unlinked");
  } else if (luactor_is_text(what, "monitor")) {
    assert_int_equal(luactor_actor_monitor(self, pid, &s->timer), 0);
    tell(self, s->out, "monitored");
  } else if (luactor_is_text(what, "demonitor")) {
    assert_int_equal(luactor_actor_demonitor(self, s->timer), 0);
    tell(self, s->out, "demonitored");
  } else if (luactor_is_text(what, "trap")) {
    assert_int_equal(luactor_actor_trap_exit(self, 1), 0);
    assert_int_equal(luactor_actor_trap_exit(self, 1), 1);
    tell(self, s->out, "traps");
  } else if (luactor_is_text(what, "name")) {
    assert_int_equal(luactor_register(luactor_actor_host(self), "native",
                                      luactor_actor_pid(self)),
                     0);
    tell(self, s->out, "named");
  } else if (luactor_is_text(what, "timers")) {
    uint64_t never;
    assert_int_equal(luactor_make(&v, "s", "tick"), 0);
    assert_int_equal(luactor_actor_send_every(self, 1, luactor_actor_pid(self),
                                              v, &s->timer),
                     0);
    assert_int_equal(luactor_actor_send_after(
                         self, 1e9, luactor_actor_pid(self), v, &never),
                     0);
    assert_int_equal(luactor_actor_cancel(self, never), 0);
    assert_int_equal(luactor_actor_cancel(self, never), LUACTOR_ENOENT);
    luactor_value_free(v);
  } else if (luactor_is_text(what, "tick")) {
    if (++s->sum == 3) {
      assert_int_equal(luactor_actor_cancel(self, s->timer), 0);
      tell(self, s->out, "three ticks");
    }
  } else if (luactor_is_text(what, "exit")) {
    assert_int_equal(luactor_make(&v, "{s i}", "on purpose", 1), 0);
    assert_int_equal(luactor_actor_exit(self, v), 0);
    assert_int_equal(luactor_actor_exit(self, v), LUACTOR_ECLOSED);
    assert_int_equal(luactor_actor_link(self, s->out), LUACTOR_ECLOSED);
    luactor_value_free(v);
  } else if (luactor_is_text(what, "answer now")) {
    assert_int_equal(luactor_make(&v, "s", "late"), 0);
    assert_int_equal(luactor_actor_reply(self, luactor_view_of(s->from), v),
                     0);
    luactor_value_free(v);
    luactor_value_free(s->from);
    s->from = NULL;
  } else if (s->out != 0) { /* EXIT, DOWN and all else: passed on */
    assert_int_equal(luactor_value_copy(m, &v), 0);
    assert_int_equal(luactor_actor_send(self, s->out, v), 0);
    luactor_value_free(v);
  }
}

static void on_message(luactor_actor *self, luactor_view m, void *ud) {
  luactor_view from, request;
  if (luactor_is_call(m, &from, &request)) {
    answer(self, ud, from, request);
  } else {
    obey(self, ud, m);
  }
}

static void on_exit_(luactor_actor *self, luactor_view reason, void *ud) {
  server_t *s = ud;
  luactor_value *v;
  if (s->out != 0 && luactor_actor_pid(self) != 0) {
    assert_int_equal(luactor_value_copy(reason, &v), 0);
    assert_int_equal(luactor_actor_send(self, s->out, v), 0);
    luactor_value_free(v);
  }
  luactor_value_free(s->from);
  s->ended++;
}

static const luactor_native callbacks = {sizeof(luactor_native), on_start,
                                         on_message, on_exit_};

static luactor_pid spawn_native(luactor_host *host, server_t *s) {
  luactor_pid pid = 0;
  memset(s, 0, sizeof *s);
  assert_int_equal(luactor_spawn_native(host, &callbacks, s, &pid), 0);
  return pid;
}

static void order(luactor_host *host, luactor_pid to, const char *what,
                  luactor_pid arg) {
  luactor_value *v;
  assert_int_equal(arg != 0 ? luactor_make(&v, "{s p}", what, arg)
                            : luactor_make(&v, "s", what),
                   0);
  send_made(host, to, v);
}

static luactor_pid spawn_told(luactor_host *host, luactor_mailbox *mb,
                              server_t *s) {
  const luactor_pid pid = spawn_native(host, s);
  order(host, pid, "out", luactor_mailbox_address(mb));
  expect_message(mb, "'here'");
  return pid;
}

static void await_end(server_t *s) {
  for (int i = 0; i < PATIENCE && s->ended == 0; i++) {
    usleep(1000);
  }
  assert_int_equal(s->ended, 1);
}

static void kill_it(luactor_host *host, luactor_pid pid) {
  luactor_value *v;
  assert_int_equal(luactor_make(&v, "s", "kill"), 0);
  assert_int_equal(luactor_exit(host, pid, v), 0);
  luactor_value_free(v);
}

/* ---- tests ------------------------------------------------------------------------ */

static void serves_calls_of_processes_and_of_c(void **state) {
  (void)state;
  luactor_host *host = started_host(2);
  luactor_mailbox *mb = mailbox(host);
  server_t s;
  const luactor_pid pid = spawn_native(host, &s);
  const luactor_pid client = spawn_with(
      host, mb,
      "local s = actor.receive()"
      "for i = 1, 100 do assert(actor.call(s, { 'add', 1 }) == i) end "
      "assert(actor.call(s, 'nil') == nil)"
      "actor.send_after(5, s, 'answer now')"
      "actor.send(mb, actor.call(s, 'later'))");
  luactor_value *v, *reply;
  assert_int_equal(luactor_make(&v, "p", pid), 0);
  send_made(host, client, v);
  expect_message(mb, "'late'");
  assert_int_equal(luactor_make(&v, "{s i}", "add", 5), 0);
  assert_int_equal(luactor_call(host, pid, v, PATIENCE, &reply), 0);
  expect_print(luactor_view_of(reply), "105");
  luactor_value_free(v);
  luactor_value_free(reply);
  assert_int_equal(s.started, 1);
  luactor_mailbox_close(mb);
  luactor_close(host);
  assert_int_equal(s.ended, 1); /* by the host's end */
}

static void is_a_process_to_others(void **state) {
  (void)state;
  luactor_host *host = started_host(2);
  luactor_mailbox *mb = mailbox(host);
  server_t s;
  const luactor_pid pid = spawn_told(host, mb, &s);
  order(host, pid, "name", 0);
  expect_message(mb, "'named'");
  spawn_with(host, mb,
             "local p = actor.whereis('native')"
             "local found = false "
             "for _, q in ipairs(actor.processes()) do"
             "  found = found or q == p end "
             "assert(found)"
             "local i = actor.info(p)"
             "assert(i.status == 'waiting' and i.registered_name == 'native')"
             "assert(i.initial_call == 'native actor' and i.reductions > 0)"
             "assert(i.mailbox_length == 0 and i.priority == 'normal')"
             "assert(actor.is_alive(p))"
             "local _, ref = p, actor.monitor(p)"
             "actor.exit(p, 'enough')"
             "local r = actor.receive({ 'DOWN', ref, 'process', p, V.r })"
             "assert(r == 'enough', r)"
             "assert(actor.whereis('native') == nil)"
             "actor.send(mb, 'seen')");
  expect_message(mb, "'enough'"); /* its on_exit */
  expect_message(mb, "'seen'");
  luactor_mailbox_close(mb);
  luactor_close(host);
  assert_int_equal(s.ended, 1);
}

static void obeys_links_and_traps_exits(void **state) {
  (void)state;
  luactor_host *host = started_host(2);
  luactor_mailbox *mb = mailbox(host);
  server_t s;
  luactor_pid pid = spawn_told(host, mb, &s);
  luactor_pid other = spawn(host, "actor.receive('never')");
  order(host, pid, "link", other);
  expect_message(mb, "'linked'");
  kill_it(host, other);
  expect_message(mb, "'killed'");
  await_end(&s);
  pid = spawn_told(host, mb, &s);
  other = spawn(host, "actor.receive('never')");
  order(host, pid, "link", other);
  expect_message(mb, "'linked'");
  order(host, pid, "unlink", other);
  expect_message(mb, "'unlinked'");
  order(host, pid, "trap", 0);
  expect_message(mb, "'traps'");
  kill_it(host, other);
  other = spawn(host, "actor.receive() actor.exit('bye')");
  order(host, pid, "link", other);
  expect_message(mb, "'linked'");
  order(host, other, "x", 0);
  luactor_value *v;
  luactor_view part;
  assert_int_equal(luactor_mailbox_receive(mb, PATIENCE, &v), 0);
  assert_int_equal(luactor_get_index(luactor_view_of(v), 1, &part), 0);
  assert_true(luactor_is_text(part, "EXIT"));
  assert_int_equal(luactor_get_index(luactor_view_of(v), 3, &part), 0);
  assert_true(luactor_is_text(part, "bye"));
  luactor_value_free(v);
  kill_it(host, pid); /* not to be trapped */
  expect_message(mb, "'killed'");
  await_end(&s);
  luactor_mailbox_close(mb);
  luactor_close(host);
}

static void takes_a_linked_process_with_it(void **state) {
  (void)state;
  luactor_host *host = started_host(2);
  luactor_mailbox *mb = mailbox(host);
  server_t s;
  const luactor_pid pid = spawn_told(host, mb, &s);
  order(host, pid, "name", 0);
  expect_message(mb, "'named'");
  const luactor_pid other =
      spawn_with(host, mb, "actor.link(actor.whereis('native'))"
                           "actor.send(mb, 'linked') actor.receive()");
  expect_message(mb, "'linked'");
  order(host, pid, "exit", 0);
  expect_message(mb, "{'on purpose', 1}");
  luactor_value *why;
  assert_int_equal(luactor_wait(host, other, PATIENCE, &why), 0);
  expect_print(luactor_view_of(why), "{'on purpose', 1}");
  luactor_value_free(why);
  assert_int_equal(luactor_wait(host, pid, PATIENCE, &why), 0);
  expect_print(luactor_view_of(why), "{'on purpose', 1}");
  assert_null(luactor_reason_error(why));
  luactor_value_free(why);
  luactor_mailbox_close(mb);
  luactor_close(host);
}

static void monitors_and_demonitors(void **state) {
  (void)state;
  luactor_host *host = started_host(2);
  luactor_mailbox *mb = mailbox(host);
  server_t s;
  const luactor_pid pid = spawn_told(host, mb, &s);
  luactor_pid other = spawn(host, "actor.receive()");
  order(host, pid, "monitor", other);
  expect_message(mb, "'monitored'");
  order(host, pid, "demonitor", 0);
  expect_message(mb, "'demonitored'");
  kill_it(host, other);
  other = spawn(host, "actor.receive()");
  order(host, pid, "monitor", other);
  expect_message(mb, "'monitored'");
  kill_it(host, other);
  luactor_value *v;
  luactor_view part;
  assert_int_equal(luactor_mailbox_receive(mb, PATIENCE, &v), 0);
  assert_int_equal(luactor_get_index(luactor_view_of(v), 5, &part), 0);
  assert_true(luactor_is_text(part, "killed"));
  luactor_value_free(v);
  luactor_mailbox_close(mb);
  luactor_close(host);
}

static void has_timers(void **state) {
  (void)state;
  luactor_host *host = started_host(1);
  luactor_mailbox *mb = mailbox(host);
  server_t s;
  const luactor_pid pid = spawn_told(host, mb, &s);
  order(host, pid, "timers", 0);
  expect_message(mb, "'three ticks'");
  luactor_mailbox_close(mb);
  luactor_close(host);
}

static void sees_messages_in_order_of_all_senders(void **state) {
  (void)state;
  luactor_host *host = started_host(2);
  luactor_mailbox *mb = mailbox(host);
  server_t s;
  const luactor_pid pid = spawn_told(host, mb, &s);
  order(host, pid, "name", 0);
  expect_message(mb, "'named'");
  for (int i = 0; i < 3; i++) {
    spawn(host, "local p = actor.whereis('native')"
                "for i = 1, 1000 do actor.send(p, i) end");
  }
  int64_t sum = 0, n;
  for (int i = 0; i < 3000; i++) {
    luactor_value *v;
    assert_int_equal(luactor_mailbox_receive(mb, PATIENCE, &v), 0);
    assert_int_equal(luactor_get_integer(luactor_view_of(v), &n), 0);
    sum += n;
    luactor_value_free(v);
  }
  assert_int_equal(sum, 3 * 500500);
  luactor_mailbox_close(mb);
  luactor_close(host);
}

static void keeps_to_its_options(void **state) {
  (void)state;
  luactor_host *host = open_host(1); /* nothing runs yet */
  server_t s;
  memset(&s, 0, sizeof s);
  luactor_spawn_opts o;
  luactor_spawn_opts_init(&o);
  o.name = "native";
  o.mailbox_limit = 2;
  o.mailbox_overflow = LUACTOR_OVERFLOW_ERROR;
  o.trap_exit = 1;
  luactor_pid pid, found;
  assert_int_equal(
      luactor_spawn_native_opt(host, &o, &callbacks, &s, &pid), 0);
  assert_int_equal(luactor_whereis(host, "native", &found), 0);
  assert_true(found == pid);
  assert_int_equal(
      luactor_spawn_native_opt(host, &o, &callbacks, &s, NULL), LUACTOR_ENAME);
  luactor_value *v = value_of_int(1);
  assert_int_equal(luactor_send(host, pid, v), 0);
  assert_int_equal(luactor_send(host, pid, v), 0);
  assert_int_equal(luactor_send(host, pid, v), LUACTOR_EFULL);
  luactor_value_free(v);
  luactor_close(host); /* it has never run */
  assert_int_equal(s.started, 0);
  assert_int_equal(s.ended, 1);
}

static void works_without_callbacks(void **state) {
  (void)state;
  luactor_host *host = started_host(1);
  const luactor_native none = {.size = sizeof none};
  luactor_pid pid;
  luactor_value *why;
  assert_int_equal(luactor_spawn_native(host, &none, NULL, &pid), 0);
  order(host, pid, "x", 0);
  kill_it(host, pid);
  assert_int_equal(luactor_wait(host, pid, PATIENCE, &why), 0);
  expect_print(luactor_view_of(why), "'killed'");
  luactor_value_free(why);
  luactor_close(host);
}

static void refuses_misuse(void **state) {
  (void)state;
  luactor_host *host = started_host(1);
  luactor_mailbox *mb = mailbox(host);
  luactor_native bad = callbacks;
  luactor_pid pid;
  server_t s;
  bad.size = 1;
  assert_int_equal(luactor_spawn_native(host, &bad, NULL, &pid),
                   LUACTOR_EINVAL);
  assert_int_equal(luactor_spawn_native(host, NULL, NULL, &pid),
                   LUACTOR_EINVAL);
  assert_int_equal(luactor_spawn_native(NULL, &callbacks, NULL, &pid),
                   LUACTOR_EINVAL);
  pid = spawn_told(host, mb, &s);
  /* Outside of its callbacks. */
  luactor_value *v = value_of_int(1);
  luactor_actor *self = s.self;
  for (int i = 0; i < 2; i++, self = NULL) {
    assert_int_equal(luactor_actor_pid(self), 0);
    assert_null(luactor_actor_host(self));
    assert_int_equal(luactor_actor_send(self, pid, v), LUACTOR_ECALLER);
    assert_int_equal(luactor_actor_reply(self, luactor_view_of(v), v),
                     LUACTOR_ECALLER);
    assert_int_equal(luactor_actor_link(self, pid), LUACTOR_ECALLER);
    assert_int_equal(luactor_actor_unlink(self, pid), LUACTOR_ECALLER);
    assert_int_equal(luactor_actor_monitor(self, pid, NULL), LUACTOR_ECALLER);
    assert_int_equal(luactor_actor_demonitor(self, 1), LUACTOR_ECALLER);
    assert_int_equal(luactor_actor_trap_exit(self, 1), LUACTOR_ECALLER);
    assert_int_equal(luactor_actor_send_after(self, 1, pid, v, NULL),
                     LUACTOR_ECALLER);
    assert_int_equal(luactor_actor_cancel(self, 1), LUACTOR_ECALLER);
    assert_int_equal(luactor_actor_exit(self, v), LUACTOR_ECALLER);
  }
  luactor_value_free(v);
  luactor_mailbox_close(mb);
  luactor_close(host);
}

static void many_of_them_are_small(void **state) {
  (void)state;
  enum { N = 2000 };
  luactor_host *host = started_host(1);
  const luactor_native none = {.size = sizeof none};
  luactor_spawn_opts o;
  luactor_spawn_opts_init(&o);
  o.detached = 1;
  for (int i = 0; i < N; i++) {
    assert_int_equal(
        luactor_spawn_native_opt(host, &o, &none, NULL, NULL), 0);
  }
  assert_int_equal(luactor_process_count(host), N);
  assert_int_equal(luactor_stop(host, PATIENCE), 0);
  assert_int_equal(luactor_process_count(host), 0);
  luactor_close(host);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(serves_calls_of_processes_and_of_c),
      cmocka_unit_test(is_a_process_to_others),
      cmocka_unit_test(obeys_links_and_traps_exits),
      cmocka_unit_test(takes_a_linked_process_with_it),
      cmocka_unit_test(monitors_and_demonitors),
      cmocka_unit_test(has_timers),
      cmocka_unit_test(sees_messages_in_order_of_all_senders),
      cmocka_unit_test(keeps_to_its_options),
      cmocka_unit_test(works_without_callbacks),
      cmocka_unit_test(refuses_misuse),
      cmocka_unit_test(many_of_them_are_small),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

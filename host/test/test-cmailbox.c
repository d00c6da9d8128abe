/* Mailboxes of C threads, messages from them and calls. */
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include "host.h"

static bool is_readable(int fd, int ms) {
  struct pollfd p = {.fd = fd, .events = POLLIN};
  return poll(&p, 1, ms) == 1 && (p.revents & POLLIN);
}

/* ---- messages ------------------------------------------------------------------- */

static void takes_what_processes_send(void **state) {
  (void)state;
  luactor_host *host = started_host(2);
  luactor_mailbox *mb = mailbox(host);
  spawn_with(host, mb,
             "actor.send(mb, { 'hello', n = 1.5, { true, 'x' } })"
             "actor.post(mb, 1, 2, 3)"
             "mb:send('by method')"
             "assert(actor.try_send(mb, 'tried'))"
             "actor.send_after(1, mb, 'later') actor.receive()");
  expect_message(mb, "{'hello', {true, 'x'}, n = 1.5}");
  expect_message(mb, "{1, 2, 3}");
  expect_message(mb, "'by method'");
  expect_message(mb, "'tried'");
  expect_message(mb, "'later'");
  luactor_value *v = NULL;
  assert_int_equal(luactor_mailbox_receive(mb, 0, &v), LUACTOR_ETIMEOUT);
  assert_int_equal(luactor_mailbox_receive(mb, 1, &v), LUACTOR_ETIMEOUT);
  assert_null(v);
  luactor_mailbox_close(mb);
  assert_int_equal(luactor_close(host), 0);
}

static void gives_priority_messages_first(void **state) {
  (void)state;
  luactor_host *host = started_host(1);
  luactor_mailbox *mb = mailbox(host);
  spawn_with(host, mb,
             "actor.send(mb, 1) actor.send(mb, 2, { priority = true })"
             "actor.send(mb, 3)");
  while (luactor_process_count(host) > 0) {
    usleep(100);
  }
  expect_message(mb, "2");
  expect_message(mb, "1");
  expect_message(mb, "3");
  luactor_mailbox_close(mb);
  luactor_close(host);
}

static void carries_values_of_every_kind(void **state) {
  (void)state;
  luactor_host *host = started_host(2);
  luactor_mailbox *mb = mailbox(host);
  /* An echo in Lua compares what it got with what it knows to be equal. */
  const luactor_pid pid = spawn_with(
      host, mb,
      "local want = { 'a', 2^53, -1, 0.5, true, false, ('x'):rep(9000),"
      "  { k = { 1 } }, actor.atom 'ok', actor.tuple { 1, 2 }, [true] = 9 }"
      "local function same(a, b)"
      "  if type(a) ~= 'table' or type(b) ~= 'table' then return a == b end"
      "  for k, v in pairs(a) do if not same(v, b[k]) then return false end end"
      "  for k in pairs(b) do if a[k] == nil then return false end end"
      "  return true end "
      "local got = actor.receive()"
      "assert(same(want, got), 'not the same')"
      "actor.send(mb, got)");
  luactor_builder *b = luactor_builder_new();
  char big[9000];
  memset(big, 'x', sizeof big);
  luactor_build_table(b);
  luactor_build_text(b, "a");
  luactor_build_integer(b, (int64_t)1 << 53);
  luactor_build_integer(b, -1);
  luactor_build_number(b, 0.5);
  luactor_build_boolean(b, 1);
  luactor_build_boolean(b, 0);
  luactor_build_string(b, big, sizeof big);
  luactor_build_table(b);
  luactor_build_field(b, "k");
  luactor_build_table(b);
  luactor_build_integer(b, 1);
  luactor_build_end(b);
  luactor_build_end(b);
  luactor_build_atom(b, "ok");
  luactor_build_tuple(b);
  luactor_build_integer(b, 1);
  luactor_build_integer(b, 2);
  luactor_build_end(b);
  luactor_build_key(b);
  luactor_build_boolean(b, 1);
  luactor_build_integer(b, 9);
  luactor_build_end(b);
  luactor_value *v = NULL, *echo = NULL;
  assert_int_equal(luactor_build_finish(b, &v), 0);
  luactor_builder_free(b);
  send_made(host, pid, v);
  assert_int_equal(luactor_mailbox_receive(mb, PATIENCE, &echo), 0);
  luactor_mailbox_close(mb);
  luactor_close(host);
  /* It outlives the host. */
  luactor_view s;
  const char *bytes;
  size_t n;
  assert_int_equal(luactor_get_index(luactor_view_of(echo), 7, &s), 0);
  assert_int_equal(luactor_get_string(s, &bytes, &n), 0);
  assert_int_equal(n, 9000);
  assert_memory_equal(bytes, big, 9000);
  luactor_value_free(echo);
}

/* t = { inner = { up = t } }: a part that refers to what it is a part of. */
static void copies_parts_of_cyclic_tables(void **state) {
  (void)state;
  luactor_host *host = started_host(1);
  luactor_mailbox *mb = mailbox(host);
  const luactor_pid pid = spawn_with(
      host, mb,
      "local t = { name = 'outer', inner = { 1 } } t.inner.up = t "
      "t.inner.again = t.inner "
      "actor.send(mb, t)"
      "local inner = actor.receive()"
      "assert(inner[1] == 1 and inner.again == inner)"
      "assert(inner.up.name == 'outer' and inner.up.inner == inner)"
      "actor.send(mb, 'right')");
  luactor_value *v = NULL, *copy = NULL;
  luactor_view inner, up;
  assert_int_equal(luactor_mailbox_receive(mb, PATIENCE, &v), 0);
  assert_int_equal(luactor_get_field(luactor_view_of(v), "inner", &inner), 0);
  assert_int_equal(luactor_get_field(inner, "up", &up), 0);
  assert_int_equal(luactor_get_field(up, "name", &up), 0);
  assert_true(luactor_is_text(up, "outer"));
  assert_int_equal(luactor_value_copy(inner, &copy), 0);
  luactor_value_free(v);
  send_made(host, pid, copy);
  expect_message(mb, "'right'");
  luactor_mailbox_close(mb);
  luactor_close(host);
}

static void sends_functions_back_but_to_no_other_host(void **state) {
  (void)state;
  luactor_host *host = started_host(1), *other = started_host(1);
  luactor_mailbox *mb = mailbox(host);
  const luactor_pid pid = spawn_with(
      host, mb,
      "for i = 1, 10 do actor.send(mb, { function() return 42 end }) end "
      "local f = actor.receive()"
      "actor.send(mb, f[1]())");
  luactor_value *v = NULL;
  for (int i = 0; i < 10; i++) { /* code that is sent often is kept */
    luactor_value_free(v);
    assert_int_equal(luactor_mailbox_receive(mb, PATIENCE, &v), 0);
  }
  luactor_view f;
  assert_int_equal(luactor_get_index(luactor_view_of(v), 1, &f), 0);
  assert_int_equal(luactor_type(f), LUACTOR_TYPE_FUNCTION);
  assert_int_equal(luactor_send(other, spawn(other, "actor.receive()"), v),
                   LUACTOR_ETYPE);
  luactor_value *copy;
  assert_int_equal(luactor_make(&copy, "{w}", f), 0);
  luactor_value_free(v);
  assert_int_equal(luactor_send(other, spawn(other, "actor.receive()"), copy),
                   LUACTOR_ETYPE);
  send_made(host, pid, copy);
  expect_message(mb, "42");
  luactor_mailbox_close(mb);
  luactor_close(other);
  luactor_close(host);
}

static void refuses_misuse(void **state) {
  (void)state;
  luactor_host *host = started_host(1);
  luactor_mailbox *mb = NULL;
  luactor_value *v = value_of_int(1), *out;
  luactor_pid pid;
  assert_int_equal(luactor_mailbox_open(NULL, 0, 0, &mb), LUACTOR_EINVAL);
  assert_int_equal(luactor_mailbox_open(host, 0, 0, NULL), LUACTOR_EINVAL);
  assert_int_equal(luactor_mailbox_open(host, 0, LUACTOR_OVERFLOW_KILL, &mb),
                   LUACTOR_EINVAL);
  assert_int_equal(luactor_mailbox_open(host, 0, -1, &mb), LUACTOR_EINVAL);
  assert_int_equal(luactor_mailbox_open(host, 1u << 28, 0, &mb),
                   LUACTOR_EINVAL);
  assert_int_equal(luactor_mailbox_receive(NULL, 0, &out), LUACTOR_EINVAL);
  assert_int_equal(luactor_mailbox_fd(NULL), LUACTOR_EINVAL);
  assert_int_equal(luactor_mailbox_address(NULL), 0);
  assert_int_equal(luactor_mailbox_monitor(NULL, 1, NULL), LUACTOR_EINVAL);
  assert_int_equal(luactor_mailbox_demonitor(NULL, 1), LUACTOR_EINVAL);
  assert_int_equal(luactor_mailbox_reply(NULL, luactor_view_of(v), v),
                   LUACTOR_EINVAL);
  mb = mailbox(host);
  assert_int_equal(luactor_mailbox_monitor(mb, 1, NULL), LUACTOR_EINVAL);
  assert_int_equal(luactor_mailbox_monitor(mb, luactor_mailbox_address(mb),
                                           NULL),
                   LUACTOR_EINVAL);
  assert_int_equal(luactor_mailbox_demonitor(mb, 1), LUACTOR_EINVAL);
  assert_int_equal(luactor_mailbox_reply(mb, luactor_view_of(v), v),
                   LUACTOR_EINVAL);
  assert_int_equal(luactor_mailbox_receive(mb, 0, NULL), LUACTOR_EINVAL);
  assert_int_equal(luactor_send(NULL, 1, v), LUACTOR_EINVAL);
  assert_int_equal(luactor_send(host, 1, v), LUACTOR_EINVAL);
  assert_int_equal(luactor_send(host, luactor_mailbox_address(mb), NULL),
                   LUACTOR_EINVAL);
  assert_int_equal(luactor_whereis(host, "nobody", &pid), LUACTOR_ENOPROC);
  assert_int_equal(luactor_whereis(host, NULL, &pid), LUACTOR_EINVAL);
  assert_int_equal(luactor_register(host, "x", 1), LUACTOR_EINVAL);
  assert_int_equal(luactor_unregister(host, "nobody"), LUACTOR_ENOPROC);
  assert_int_equal(luactor_exit(host, 1, v), LUACTOR_EINVAL);
  assert_int_equal(luactor_is_alive(host, 1), 0);
  assert_int_equal(luactor_is_alive(NULL, 1), 0);
  assert_int_equal(luactor_call(NULL, 1, v, 0, &out), LUACTOR_EINVAL);
  assert_int_equal(luactor_call(host, 1, v, 0, &out), LUACTOR_EINVAL);
  assert_int_equal(luactor_is_call(luactor_view_of(v), NULL, NULL), 0);
  luactor_mailbox_close(NULL);
  luactor_mailbox_close(mb);
  luactor_value_free(v);
  luactor_close(host);
}

/* ---- limits ----------------------------------------------------------------------- */

static void refuses_messages_of_c_when_full(void **state) {
  (void)state;
  luactor_host *host = started_host(1);
  luactor_mailbox *mb;
  luactor_value *v = value_of_int(1), *out;
  assert_int_equal(luactor_mailbox_open(host, 2, 0, &mb), 0);
  const luactor_pid at = luactor_mailbox_address(mb);
  for (int round = 0; round < 3; round++) {
    assert_int_equal(luactor_send(host, at, v), 0);
    assert_int_equal(luactor_send(host, at, v), 0);
    assert_int_equal(luactor_send(host, at, v), LUACTOR_EFULL);
    assert_int_equal(luactor_mailbox_receive(mb, 0, &out), 0);
    luactor_value_free(out);
    assert_int_equal(luactor_mailbox_receive(mb, 0, &out), 0);
    luactor_value_free(out);
  }
  luactor_value_free(v);
  luactor_mailbox_close(mb);
  luactor_close(host);
}

static void lets_processes_wait_for_room(void **state) {
  (void)state;
  luactor_host *host = started_host(2);
  luactor_mailbox *mb;
  assert_int_equal(luactor_mailbox_open(host, 1, LUACTOR_OVERFLOW_BLOCK, &mb),
                   0);
  for (int i = 0; i < 3; i++) {
    spawn_with(host, mb, "for i = 1, 100 do actor.send(mb, i) end");
  }
  int64_t sum = 0;
  for (int i = 0; i < 300; i++) {
    luactor_value *v;
    int64_t n;
    assert_int_equal(luactor_mailbox_receive(mb, PATIENCE, &v), 0);
    assert_int_equal(luactor_get_integer(luactor_view_of(v), &n), 0);
    sum += n;
    luactor_value_free(v);
  }
  assert_int_equal(sum, 3 * 5050);
  luactor_mailbox_close(mb);
  luactor_close(host);
}

static void frees_who_waits_for_room_when_closed(void **state) {
  (void)state;
  luactor_host *host = started_host(1);
  luactor_mailbox *mb, *out = mailbox(host);
  assert_int_equal(luactor_mailbox_open(host, 1, LUACTOR_OVERFLOW_BLOCK, &mb),
                   0);
  const luactor_pid pid = spawn_with(
      host, mb, "local out = actor.receive() actor.send(mb, 1)"
                "actor.send(out, 'one') actor.send(mb, 2) actor.send(out, 'two')");
  luactor_value *v;
  assert_int_equal(luactor_make(&v, "p", luactor_mailbox_address(out)), 0);
  send_made(host, pid, v);
  expect_message(out, "'one'");
  luactor_mailbox_close(mb);
  expect_message(out, "'two'");
  luactor_mailbox_close(out);
  luactor_close(host);
}

static void drops_and_refuses_as_told(void **state) {
  (void)state;
  luactor_host *host = started_host(1);
  luactor_mailbox *mb;
  luactor_value *v[3];
  for (int i = 0; i < 3; i++) {
    v[i] = value_of_int(i);
  }
  assert_int_equal(
      luactor_mailbox_open(host, 2, LUACTOR_OVERFLOW_DROP_OLD, &mb), 0);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(luactor_send(host, luactor_mailbox_address(mb), v[i]), 0);
  }
  expect_message(mb, "1");
  expect_message(mb, "2");
  luactor_mailbox_close(mb);
  assert_int_equal(
      luactor_mailbox_open(host, 2, LUACTOR_OVERFLOW_DROP_NEW, &mb), 0);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(luactor_send(host, luactor_mailbox_address(mb), v[i]), 0);
  }
  expect_message(mb, "0");
  expect_message(mb, "1");
  luactor_value *none;
  assert_int_equal(luactor_mailbox_receive(mb, 0, &none), LUACTOR_ETIMEOUT);
  luactor_mailbox_close(mb);
  assert_int_equal(luactor_mailbox_open(host, 1, LUACTOR_OVERFLOW_ERROR, &mb),
                   0);
  spawn_with(host, mb,
             "actor.send(mb, 1)"
             "local ok, why = actor.try_send(mb, 2)"
             "assert(not ok and why == 'full')"
             "assert(select(2, pcall(actor.send, mb, 3)) == 'full')"
             "mb = nil");
  while (luactor_process_count(host) > 0) {
    usleep(100);
  }
  expect_message(mb, "1");
  luactor_mailbox_close(mb);
  for (int i = 0; i < 3; i++) {
    luactor_value_free(v[i]);
  }
  luactor_close(host);
}

/* ---- the descriptor ------------------------------------------------------------------ */

static void is_readable_while_not_empty(void **state) {
  (void)state;
  luactor_host *host = started_host(1);
  luactor_mailbox *mb = mailbox(host);
  const luactor_pid at = luactor_mailbox_address(mb);
  send_made(host, at, value_of_int(1));
  const int fd = luactor_mailbox_fd(mb);
  assert_true(fd >= 0);
  assert_int_equal(luactor_mailbox_fd(mb), fd);
  assert_true(is_readable(fd, 0));
  send_made(host, at, value_of_int(2));
  expect_message(mb, "1");
  assert_true(is_readable(fd, 0));
  expect_message(mb, "2");
  assert_false(is_readable(fd, 0));
  spawn_with(host, mb, "actor.send(mb, 3)");
  assert_true(is_readable(fd, PATIENCE));
  expect_message(mb, "3");
  assert_false(is_readable(fd, 0));
  luactor_halt(host, 0);
  assert_true(is_readable(fd, 0));
  luactor_value *v;
  assert_int_equal(luactor_mailbox_receive(mb, -1, &v), LUACTOR_ECLOSED);
  luactor_close(host);
  assert_true(is_readable(fd, 0));
  luactor_mailbox_close(mb);
}

/* ---- the end of the host ------------------------------------------------------------- */

static void *receive_for_ever(void *arg) {
  luactor_value *v = NULL;
  const int code = luactor_mailbox_receive(arg, -1, &v);
  luactor_value_free(v);
  return (void *)(intptr_t)code;
}

static void wakes_who_receives_when_the_host_ends(void **state) {
  (void)state;
  luactor_host *host = started_host(1);
  luactor_mailbox *mb = mailbox(host);
  pthread_t id;
  void *code;
  assert_int_equal(pthread_create(&id, NULL, receive_for_ever, mb), 0);
  usleep(1000);
  luactor_close(host);
  pthread_join(id, &code);
  assert_int_equal((intptr_t)code, LUACTOR_ECLOSED);
  luactor_value *v;
  uint64_t ref;
  assert_int_equal(luactor_mailbox_receive(mb, -1, &v), LUACTOR_ECLOSED);
  assert_int_equal(luactor_mailbox_monitor(mb, (luactor_pid)1 << 60 | 1, &ref),
                   LUACTOR_ECLOSED);
  luactor_mailbox_close(mb);
}

static void does_not_keep_the_host_running(void **state) {
  (void)state;
  luactor_host *host = open_host(1);
  luactor_mailbox *mb = mailbox(host);
  spawn_with(host, mb, "actor.send(mb, 'done')");
  assert_int_equal(luactor_run(host), 0);
  assert_int_equal(luactor_process_count(host), 0);
  expect_message(mb, "'done'");
  luactor_close(host);
  luactor_mailbox_close(mb);
}

static void is_another_address_when_opened_again(void **state) {
  (void)state;
  luactor_host *host = started_host(1);
  luactor_mailbox *mb = mailbox(host), *keep = mailbox(host);
  const luactor_pid old = luactor_mailbox_address(mb);
  send_made(host, old, value_of_int(1));
  luactor_mailbox_close(mb);
  send_made(host, old, value_of_int(2)); /* to nobody */
  mb = mailbox(host);
  assert_true(luactor_mailbox_address(mb) != old);
  send_made(host, old, value_of_int(3));
  send_made(host, luactor_mailbox_address(mb), value_of_int(4));
  expect_message(mb, "4");
  luactor_mailbox_close(mb);
  luactor_mailbox_close(keep);
  luactor_close(host);
}

/* ---- monitors, names, exits ------------------------------------------------------------ */

static void hears_of_the_end_of_processes(void **state) {
  (void)state;
  luactor_host *host = started_host(2);
  luactor_mailbox *mb = mailbox(host);
  const luactor_pid pid = spawn(host, "actor.receive()");
  uint64_t ref, other;
  assert_int_equal(luactor_mailbox_monitor(mb, pid, &ref), 0);
  assert_int_equal(luactor_mailbox_monitor(mb, pid, &other), 0);
  assert_int_equal(luactor_mailbox_demonitor(mb, other), 0);
  assert_int_equal(luactor_mailbox_demonitor(mb, other), LUACTOR_ENOENT);
  luactor_value *why, *v;
  assert_int_equal(luactor_make(&why, "{s i}", "enough", 7), 0);
  assert_int_equal(luactor_exit(host, pid, why), 0);
  luactor_value_free(why);
  assert_int_equal(luactor_mailbox_receive(mb, PATIENCE, &v), 0);
  luactor_view part;
  uint64_t got;
  luactor_pid who;
  const luactor_view m = luactor_view_of(v);
  assert_int_equal(luactor_get_index(m, 1, &part), 0);
  assert_true(luactor_is_text(part, "DOWN"));
  assert_int_equal(luactor_get_index(m, 2, &part), 0);
  assert_int_equal(luactor_get_ref(part, &got), 0);
  assert_true(got == ref);
  assert_int_equal(luactor_get_index(m, 4, &part), 0);
  assert_int_equal(luactor_get_pid(part, &who), 0);
  assert_true(who == pid);
  assert_int_equal(luactor_get_index(m, 5, &part), 0);
  expect_print(part, "{'enough', 7}");
  luactor_value_free(v);
  assert_int_equal(luactor_is_alive(host, pid), 0);
  assert_int_equal(luactor_mailbox_monitor(mb, pid, &ref), 0);
  assert_int_equal(luactor_mailbox_receive(mb, PATIENCE, &v), 0);
  assert_int_equal(luactor_get_index(luactor_view_of(v), 5, &part), 0);
  assert_true(luactor_is_text(part, "noproc"));
  luactor_value_free(v);
  assert_int_equal(luactor_mailbox_receive(mb, 0, &v), LUACTOR_ETIMEOUT);
  /* One that is on when the mailbox is closed. */
  assert_int_equal(
      luactor_mailbox_monitor(mb, spawn(host, "actor.receive()"), &ref), 0);
  luactor_mailbox_close(mb);
  luactor_close(host);
}

static void finds_and_gives_names(void **state) {
  (void)state;
  luactor_host *host = started_host(1);
  luactor_mailbox *mb = mailbox(host);
  const luactor_pid pid = spawn_with(
      host, mb, "actor.register('echo') actor.send(mb, 'ready') while true do "
                "actor.send(mb, actor.receive()) end");
  luactor_pid found = 0;
  expect_message(mb, "'ready'");
  assert_int_equal(luactor_whereis(host, "echo", &found), 0);
  assert_true(found == pid);
  assert_int_equal(luactor_register(host, "other", pid), LUACTOR_ENAME);
  assert_int_equal(luactor_unregister(host, "echo"), 0);
  assert_int_equal(luactor_register(host, "other", pid), 0);
  assert_int_equal(luactor_register(host, "other", spawn(host, "")),
                   LUACTOR_ENAME);
  assert_int_equal(luactor_whereis(host, "other", &found), 0);
  send_made(host, found, value_of_int(5));
  expect_message(mb, "5");
  assert_int_equal(luactor_is_alive(host, pid), 1);
  luactor_value *kill;
  assert_int_equal(luactor_make(&kill, "s", "kill"), 0);
  assert_int_equal(luactor_mailbox_monitor(mb, pid, NULL), 0);
  assert_int_equal(luactor_exit(host, pid, NULL), 0); /* normal: nothing */
  assert_int_equal(luactor_exit(host, pid, kill), 0);
  luactor_value_free(kill);
  luactor_value *v;
  luactor_view why;
  assert_int_equal(luactor_mailbox_receive(mb, PATIENCE, &v), 0);
  assert_int_equal(luactor_get_index(luactor_view_of(v), 5, &why), 0);
  assert_true(luactor_is_text(why, "killed"));
  luactor_value_free(v);
  assert_int_equal(luactor_whereis(host, "other", &found), LUACTOR_ENOPROC);
  luactor_mailbox_close(mb);
  luactor_close(host);
}

/* ---- calls ------------------------------------------------------------------------------ */

static luactor_pid spawn_server(luactor_host *host, luactor_mailbox *mb) {
  const luactor_pid pid = spawn_with(
      host, mb,
      "local gen_server = require 'luactor.gen_server'"
      "local S = gen_server.define 'counter'"
      "function S:init() self.n = 0 end "
      "function S.call:add(k) self.n = self.n + k return self.n end "
      "function S.call:crash() error('on purpose', 0) end "
      "function S.call:silent() return gen_server.noreply end "
      "function S.call:nothing() end "
      "local s = S:start()"
      "actor.send(mb, s.pid)");
  (void)pid;
  luactor_value *v;
  luactor_pid server = 0;
  assert_int_equal(luactor_mailbox_receive(mb, PATIENCE, &v), 0);
  assert_int_equal(luactor_get_pid(luactor_view_of(v), &server), 0);
  luactor_value_free(v);
  return server;
}

static int call(luactor_host *host, luactor_pid to, int ms, const char *what,
                int n, luactor_value **reply) {
  luactor_value *request;
  assert_int_equal(luactor_make(&request, "{s i}", what, n), 0);
  const int code = luactor_call(host, to, request, ms, reply);
  luactor_value_free(request);
  return code;
}

static void calls_servers(void **state) {
  (void)state;
  luactor_host *host = started_host(2);
  luactor_mailbox *mb = mailbox(host);
  const luactor_pid server = spawn_server(host, mb);
  luactor_value *reply = NULL;
  for (int i = 1; i <= 100; i++) {
    int64_t n;
    assert_int_equal(call(host, server, PATIENCE, "add", 2, &reply), 0);
    assert_int_equal(luactor_get_integer(luactor_view_of(reply), &n), 0);
    assert_int_equal(n, 2 * i);
    luactor_value_free(reply);
  }
  assert_int_equal(call(host, server, -1, "nothing", 0, &reply), 0);
  assert_int_equal(luactor_type(luactor_view_of(reply)), LUACTOR_TYPE_NIL);
  luactor_value_free(reply);
  assert_int_equal(call(host, server, 10, "silent", 0, &reply),
                   LUACTOR_ETIMEOUT);
  assert_true(luactor_is_text(luactor_view_of(reply), "timeout"));
  luactor_value_free(reply);
  assert_int_equal(call(host, server, PATIENCE, "crash", 0, &reply),
                   LUACTOR_EEXIT);
  luactor_view why;
  assert_int_equal(luactor_get_index(luactor_view_of(reply), 2, &why), 0);
  assert_true(luactor_is_text(why, "on purpose"));
  luactor_value_free(reply);
  assert_int_equal(call(host, server, PATIENCE, "add", 1, &reply),
                   LUACTOR_ENOPROC);
  assert_true(luactor_is_text(luactor_view_of(reply), "noproc"));
  luactor_value_free(reply);
  luactor_mailbox_close(mb);
  luactor_close(host);
}

static void *call_often(void *arg) {
  void **args = arg;
  const luactor_pid server = *(luactor_pid *)args[1];
  int64_t last = 0, n = 0;
  intptr_t bad = 0;
  for (int i = 0; i < 200; i++) {
    luactor_value *reply = NULL;
    bad += call(args[0], server, PATIENCE, "add", 1, &reply) != 0;
    bad += luactor_get_integer(luactor_view_of(reply), &n) != 0 || n <= last;
    last = n;
    luactor_value_free(reply);
  }
  return (void *)bad;
}

static void calls_from_several_threads(void **state) {
  (void)state;
  luactor_host *host = started_host(2);
  luactor_mailbox *mb = mailbox(host);
  luactor_pid server = spawn_server(host, mb);
  void *args[] = {host, &server};
  pthread_t id[3];
  for (size_t i = 0; i < COUNT(id); i++) {
    assert_int_equal(pthread_create(&id[i], NULL, call_often, args), 0);
  }
  for (size_t i = 0; i < COUNT(id); i++) {
    void *bad;
    pthread_join(id[i], &bad);
    assert_null(bad);
  }
  luactor_value *reply;
  assert_int_equal(call(host, server, PATIENCE, "add", 0, &reply), 0);
  expect_print(luactor_view_of(reply), "600");
  luactor_value_free(reply);
  luactor_mailbox_close(mb);
  luactor_close(host);
}

/* The server's mailbox has room for one; calls wait for it as in Lua. */
static void waits_for_room_in_a_call(void **state) {
  (void)state;
  luactor_host *host = started_host(1);
  luactor_mailbox *mb = mailbox(host);
  spawn_with(host, mb,
             "local s = actor.spawn_opt({ mailbox = { limit = 1 } }, function()"
             "  actor.receive('go')"
             "  while true do actor.receive(on(actor.request(V.from, V.x),"
             "    actor.reply)) end end)"
             "actor.send(s, 'x')"
             "actor.send(mb, s) actor.receive('go') actor.exit(s, 'kill')");
  luactor_value *v, *reply;
  luactor_pid server = 0;
  assert_int_equal(luactor_mailbox_receive(mb, PATIENCE, &v), 0);
  assert_int_equal(luactor_get_pid(luactor_view_of(v), &server), 0);
  luactor_value_free(v);
  assert_int_equal(call(host, server, 5, "x", 1, &reply), LUACTOR_ETIMEOUT);
  luactor_value_free(reply);
  luactor_mailbox_close(mb);
  luactor_close(host);
}

static void answers_calls_of_processes(void **state) {
  (void)state;
  luactor_host *host = started_host(2);
  luactor_mailbox *mb = mailbox(host);
  spawn_with(host, mb,
             "for i = 1, 10 do assert(actor.call(mb, { 'double', i }) == 2 * i)"
             " end "
             "assert(actor.call(mb, 'nil') == nil)"
             "local ok, why = actor.try_call(mb, 'silence', 10)"
             "assert(not ok and why == 'timeout', why)"
             "actor.send(mb, 'answered')"
             "ok, why = actor.try_call(mb, 'last')"
             "assert(not ok and why == 'noproc', why)"
             "actor.register('fine') actor.receive()");
  bool over = false;
  while (!over) {
    luactor_value *m, *v = NULL;
    luactor_view from, what = {0}, n;
    int64_t i;
    assert_int_equal(luactor_mailbox_receive(mb, PATIENCE, &m), 0);
    if (!luactor_is_call(luactor_view_of(m), &from, &what)) {
      expect_print(luactor_view_of(m), "'answered'");
    } else if (luactor_get_index(what, 2, &n) == 0) {
      assert_int_equal(luactor_get_integer(n, &i), 0);
      v = value_of_int(2 * (int)i);
      assert_int_equal(luactor_mailbox_reply(mb, from, v), 0);
      luactor_value_free(v);
    } else if (luactor_is_text(what, "nil")) {
      assert_int_equal(luactor_mailbox_reply(mb, from, NULL), 0);
    }
    over = luactor_is_text(what, "last");
    luactor_value_free(m);
  }
  luactor_mailbox_close(mb);
  luactor_pid pid;
  while (luactor_whereis(host, "fine", &pid) != 0 &&
         luactor_process_count(host) > 0) {
    usleep(100);
  }
  assert_int_equal(luactor_whereis(host, "fine", &pid), 0);
  luactor_close(host);
}

static void ends_a_call_with_the_host(void **state) {
  (void)state;
  luactor_host *host = started_host(1);
  luactor_value *v = value_of_int(1), *reply;
  const luactor_pid pid = spawn(host, "actor.receive() actor.halt(0)");
  assert_int_equal(luactor_call(host, pid, v, -1, &reply), LUACTOR_ECLOSED);
  assert_null(reply);
  assert_int_equal(luactor_call(host, pid, v, -1, &reply), LUACTOR_ECLOSED);
  assert_int_equal(luactor_send(host, pid, v), LUACTOR_ECLOSED);
  luactor_mailbox *mb;
  assert_int_equal(luactor_mailbox_open(host, 0, 0, &mb), LUACTOR_ECLOSED);
  luactor_value_free(v);
  luactor_close(host);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(takes_what_processes_send),
      cmocka_unit_test(gives_priority_messages_first),
      cmocka_unit_test(carries_values_of_every_kind),
      cmocka_unit_test(copies_parts_of_cyclic_tables),
      cmocka_unit_test(sends_functions_back_but_to_no_other_host),
      cmocka_unit_test(refuses_misuse),
      cmocka_unit_test(refuses_messages_of_c_when_full),
      cmocka_unit_test(lets_processes_wait_for_room),
      cmocka_unit_test(frees_who_waits_for_room_when_closed),
      cmocka_unit_test(drops_and_refuses_as_told),
      cmocka_unit_test(is_readable_while_not_empty),
      cmocka_unit_test(wakes_who_receives_when_the_host_ends),
      cmocka_unit_test(does_not_keep_the_host_running),
      cmocka_unit_test(is_another_address_when_opened_again),
      cmocka_unit_test(hears_of_the_end_of_processes),
      cmocka_unit_test(finds_and_gives_names),
      cmocka_unit_test(calls_servers),
      cmocka_unit_test(calls_from_several_threads),
      cmocka_unit_test(waits_for_room_in_a_call),
      cmocka_unit_test(answers_calls_of_processes),
      cmocka_unit_test(ends_a_call_with_the_host),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

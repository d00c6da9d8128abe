/* A host that is run by somebody else's loop, and one whose clock is the test's. */
#include "luactor.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ends.h"
#include "unit.h"

#define PATIENCE 30000 /* ms; only a failing test waits that long */

/* What the processes told by warn(), a line each. */
typedef struct {
  pthread_mutex_t lock;
  size_t len;
  char text[1 << 16];
} events_t;

static events_t events = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void note(void *ud, int level, const char *text, size_t len) {
  static const char warning[] = "Lua warning: ";
  events_t *e = ud;
  (void)level;
  pthread_mutex_lock(&e->lock);
  const char *from = text;
  if (len >= sizeof warning - 1 &&
      memcmp(text, warning, sizeof warning - 1) == 0) {
    from += sizeof warning - 1;
    len -= sizeof warning - 1;
  }
  assert_true(e->len + len + 2 < sizeof e->text);
  memcpy(e->text + e->len, from, len);
  e->len += len;
  e->text[e->len++] = '\n';
  e->text[e->len] = '\0';
  pthread_mutex_unlock(&e->lock);
}

static luactor_config config(void) {
  luactor_config c;
  luactor_config_init(&c);
  c.ignore_env = 1;
  c.lua_warnings = 1;
  c.log = note;
  c.log_userdata = &events;
  events.len = 0;
  events.text[0] = '\0';
  return c;
}

static luactor_host *open_with(const luactor_config *c) {
  luactor_host *host = NULL;
  assert_int_equal(luactor_open(c, &host), 0);
  return host;
}

static luactor_host *open_host(void) {
  const luactor_config c = config();
  return open_with(&c);
}

static luactor_pid spawn(luactor_host *host, const char *code) {
  luactor_pid pid = 0;
  assert_int_equal(luactor_spawn_string(host, code, strlen(code), "=test", 0,
                                        NULL, 0, &pid),
                   0);
  return pid;
}

static bool is_readable(int fd, int ms) {
  struct pollfd p = {.fd = fd, .events = POLLIN};
  return poll(&p, 1, ms) == 1;
}

/* Only by the descriptor, as a loop would. */
static void step_to_end(luactor_host *host) {
  const int fd = luactor_fd(host);
  assert_true(fd >= 0);
  do {
    assert_true(is_readable(fd, PATIENCE));
  } while (luactor_step(host, 1000) != LUACTOR_STEP_DONE);
}

static void step_to_rest(luactor_host *host) {
  int left;
  while ((left = luactor_step(host, 1000)) == LUACTOR_STEP_READY) {
  }
  assert_int_equal(left, LUACTOR_STEP_IDLE);
}

static void expect_end(luactor_host *host, luactor_pid pid, const char *want) {
  char *reason = NULL, *error = NULL;
  assert_int_equal(wait_text(host, pid, PATIENCE, &reason, &error), 0);
  if (error != NULL) {
    print_message("%s\n", error);
  }
  assert_string_equal(reason, want);
  free(reason);
  free(error);
}

/* ---- stepping ----------------------------------------------------------------- */

static void runs_processes_in_the_calling_thread(void **state) {
  (void)state;
  luactor_host *host = open_host();
  const luactor_pid pid = spawn(host,
      "local actor = require 'luactor'\n"
      "local me = actor.self()\n"
      "for i = 1, 10 do actor.spawn(function() actor.send(me, i) end) end\n"
      "local sum = 0\n"
      "for i = 1, 10 do sum = sum + actor.receive(actor.var.n) end\n"
      "warn(tostring(sum))");
  assert_int_equal(luactor_next_deadline(host), 0);
  step_to_end(host);
  assert_string_equal(events.text, "55\n");
  expect_end(host, pid, "normal");
  assert_int_equal(luactor_step(host, 1000), LUACTOR_STEP_DONE);
  assert_int_equal(luactor_next_deadline(host), -1);
  spawn(host, "warn 'once more'");
  assert_true(is_readable(luactor_fd(host), PATIENCE));
  assert_int_equal(luactor_next_deadline(host), 0);
  step_to_end(host);
  assert_string_equal(events.text, "55\nonce more\n");
  luactor_close(host);
}

static void leaves_a_loop_when_the_time_is_up(void **state) {
  (void)state;
  luactor_config c = config();
  c.preempt = LUACTOR_PREEMPT_TICK; /* there is nobody who would tick */
  luactor_host *host = open_with(&c);
  spawn(host, "while true do end");
  spawn(host, "for i = 1, 3 do warn(tostring(i)) require 'luactor'.yield() end");
  assert_int_equal(luactor_step(host, 0), LUACTOR_STEP_READY);
  assert_int_equal(luactor_next_deadline(host), 0);
  assert_true(is_readable(luactor_fd(host), PATIENCE));
  for (int i = 0; i < 300; i++) {
    assert_int_equal(luactor_step(host, 100), LUACTOR_STEP_READY);
  }
  assert_string_equal(events.text, "1\n2\n3\n");
  assert_int_equal(luactor_process_count(host), 1);
  luactor_close(host);
}

static void *send_from_outside(void *arg) {
  luactor_host *host = ((void **)arg)[0];
  const luactor_pid pid = *(luactor_pid *)((void **)arg)[1];
  assert_int_equal(luactor_send_string(host, pid, "hello", 5), 0);
  return NULL;
}

static void wakes_the_loop_for_a_message(void **state) {
  (void)state;
  luactor_host *host = open_host();
  luactor_pid pid = spawn(host, "warn(require 'luactor'.receive())");
  step_to_rest(host);
  const int fd = luactor_fd(host);
  assert_false(is_readable(fd, 0));
  assert_int_equal(luactor_next_deadline(host), -1);
  assert_int_equal(luactor_wait_event(host, 0), LUACTOR_EVENT_STUCK);
  void *arg[] = {host, &pid};
  pthread_t thread;
  pthread_create(&thread, NULL, send_from_outside, arg);
  assert_true(is_readable(fd, PATIENCE));
  assert_int_equal(luactor_next_deadline(host), 0);
  pthread_join(thread, NULL);
  assert_int_equal(luactor_step(host, 1000), LUACTOR_STEP_DONE);
  assert_string_equal(events.text, "hello\n");
  assert_false(is_readable(fd, 0));
  luactor_close(host);
}

static void wakes_the_loop_for_a_timer(void **state) {
  (void)state;
  luactor_host *host = open_host();
  spawn(host,
        "local actor = require 'luactor'\n"
        "actor.sleep(5)\n"
        "assert(select(2, actor.receive('x', 5)) == 'timeout')\n"
        "local beat = actor.send_every(1, actor.self(), 'beat')\n"
        "for i = 1, 5 do actor.receive 'beat' end\n"
        "actor.cancel(beat)\n"
        "actor.sleep(3600e3)");
  const int fd = luactor_fd(host);
  luactor_step(host, 1000);
  while (luactor_next_deadline(host) < INT64_C(1000000000)) {
    assert_true(is_readable(fd, PATIENCE));
    luactor_step(host, 1000);
  }
  assert_true(luactor_next_deadline(host) <= INT64_C(3600100000));
  luactor_close(host);
}

static void forgets_the_timeouts_of_waits_that_are_over(void **state) {
  (void)state;
  luactor_host *host = open_host();
  spawn(host, "local actor = require 'luactor'\n"
              "actor.send(actor.self(), 1)\n"
              "actor.receive(2, 1) actor.receive(1, 3600e3) actor.receive()");
  luactor_step(host, 1000);
  while (luactor_next_deadline(host) >= 0) {
    luactor_step(host, 1000);
  }
  assert_int_equal(luactor_wait_event(host, 0), LUACTOR_EVENT_STUCK);
  luactor_close(host);
}

static void runs_what_blocks_elsewhere(void **state) {
  (void)state;
  luactor_host *host = open_host();
  spawn(host,
        "local actor = require 'luactor'\n"
        "local a, b = actor.blocking(function(x) return x, 'b' end, 1)\n"
        "assert(a == 1 and b == 'b')\n"
        "local me = actor.self()\n"
        "actor.spawn_opt({ thread = 'own' }, function()\n"
        "  actor.send(me, actor.receive('never', 1) or 'own')\n"
        "end)\n"
        "assert(actor.receive() == 'own')\n"
        "assert(not pcall(actor.spawn_opt, { thread = 2 }, print))\n"
        "local _, ref = actor.spawn_opt({ thread = 1, monitor = true },\n"
        "  function() end)\n"
        "actor.receive { 'DOWN', ref, actor._, actor._, actor._ }\n"
        "warn 'done'");
  step_to_end(host);
  assert_string_equal(events.text, "done\n");
  luactor_close(host);
}

/* Two nodes in one loop. */
static void talks_to_a_node(void **state) {
  (void)state;
  luactor_host *server = open_host();
  luactor_host *client = open_host();
  spawn(server,
        "local actor, node = require 'luactor', require 'luactor.node'\n"
        "local V = actor.var\n"
        "node.start{ name = 'a@127.0.0.1', cookie = 'c', epmd = false,\n"
        "  listen = 0 }\n"
        "actor.register 'echo'\n"
        "warn(tostring(node.port()))\n"
        "actor.receive(actor.on(actor.request(V.from, V.n), function(from, n)\n"
        "  actor.reply(from, n + 1)\n"
        "end))\n"
        "actor.receive()");
  while (events.len == 0) {
    assert_true(is_readable(luactor_fd(server), PATIENCE));
    luactor_step(server, 1000);
  }
  char code[512];
  snprintf(code, sizeof code,
           "local actor, node = require 'luactor', require 'luactor.node'\n"
           "node.start{ name = 'b@127.0.0.1', cookie = 'c', epmd = false,\n"
           "  nodes = { ['a@127.0.0.1'] = '127.0.0.1:%d' } }\n"
           "warn(tostring(actor.call({ 'echo', 'a@127.0.0.1' }, 1)))\n"
           "node.stop()",
           atoi(events.text));
  events.len = 0;
  spawn(client, code);
  struct pollfd p[] = {{.fd = luactor_fd(server), .events = POLLIN},
                       {.fd = luactor_fd(client), .events = POLLIN}};
  do {
    assert_true(poll(p, 2, PATIENCE) > 0);
    luactor_step(server, 1000);
  } while (luactor_step(client, 1000) != LUACTOR_STEP_DONE);
  assert_non_null(strstr(events.text, "2\n"));
  luactor_close(client);
  luactor_close(server);
}

/* ---- whose thread ------------------------------------------------------------------ */

static void is_not_to_be_started(void **state) {
  (void)state;
  luactor_host *host = open_host();
  luactor_step(host, 0);
  assert_int_equal(luactor_start(host), LUACTOR_EBUSY);
  luactor_close(host);
  host = open_host();
  assert_true(luactor_fd(host) >= 0);
  assert_int_equal(luactor_start(host), LUACTOR_EBUSY);
  luactor_close(host);
  host = open_host();
  assert_int_equal(luactor_start(host), 0);
  assert_int_equal(luactor_step(host, 0), LUACTOR_EBUSY);
  assert_int_equal(luactor_fd(host), LUACTOR_EBUSY);
  assert_int_equal(luactor_next_deadline(host), LUACTOR_EBUSY);
  luactor_close(host);
  host = open_host();
  assert_int_equal(luactor_stop(host, 0), 0);
  assert_int_equal(luactor_step(host, 0), LUACTOR_ECLOSED);
  assert_int_equal(luactor_fd(host), LUACTOR_ECLOSED);
  assert_int_equal(luactor_next_deadline(host), -1);
  luactor_close(host);
  assert_int_equal(luactor_step(NULL, 0), LUACTOR_EINVAL);
  assert_int_equal(luactor_fd(NULL), LUACTOR_EINVAL);
  assert_int_equal(luactor_next_deadline(NULL), LUACTOR_EINVAL);
}

static void *step_elsewhere(void *host) {
  return (void *)(intptr_t)luactor_step(host, 0);
}

static void has_one_thread(void **state) {
  (void)state;
  luactor_host *host = open_host();
  spawn(host, "require 'luactor'.receive()");
  step_to_rest(host);
  pthread_t thread;
  void *code;
  pthread_create(&thread, NULL, step_elsewhere, host);
  pthread_join(thread, &code);
  assert_int_equal((intptr_t)code, LUACTOR_ECALLER);
  luactor_close(host);
}

typedef struct {
  luactor_host *host;
  luactor_pid pid;
  int step, start, run, wait, event, stop, close, calls;
} inside_t;

static void call_from_inside(void *ud, int level, const char *text,
                             size_t len) {
  inside_t *in = ud;
  (void)level;
  (void)text;
  (void)len;
  in->step = luactor_step(in->host, 0);
  in->start = luactor_start(in->host);
  in->run = luactor_run(in->host);
  in->wait = luactor_wait(in->host, in->pid, -1, NULL);
  in->event = luactor_wait_event(in->host, -1);
  in->stop = luactor_stop(in->host, 1000);
  in->close = luactor_close(in->host);
  in->calls++;
}

static void is_not_entered_twice(void **state) {
  (void)state;
  inside_t in = {0};
  luactor_config c = config();
  c.log = call_from_inside;
  c.log_userdata = &in;
  for (int started = 0; started <= 1; started++) {
    in.host = open_with(&c);
    in.pid = spawn(in.host, "warn 'x' require 'luactor'.receive()");
    if (started) {
      assert_int_equal(luactor_start(in.host), 0);
      assert_int_equal(luactor_wait_event(in.host, PATIENCE),
                       LUACTOR_EVENT_STUCK);
    } else {
      step_to_rest(in.host);
    }
    assert_int_equal(in.calls, started + 1);
    assert_int_equal(in.step, LUACTOR_ECALLER);
    assert_int_equal(in.start, LUACTOR_EBUSY);
    assert_int_equal(in.run, LUACTOR_ECALLER);
    assert_int_equal(in.wait, LUACTOR_ECALLER);
    assert_int_equal(in.event, LUACTOR_ECALLER);
    assert_int_equal(in.stop, LUACTOR_ECALLER);
    assert_int_equal(in.close, LUACTOR_ECALLER);
    assert_int_equal(luactor_close(in.host), 0);
  }
}

/* A callback of one host runs another to its end. */
static void run_another(void *ud, int level, const char *text, size_t len) {
  int *status = ud;
  (void)level;
  (void)text;
  (void)len;
  luactor_host *inner = open_host();
  spawn(inner, "require 'luactor'.sleep(1) require 'luactor'.halt(7)");
  assert_true(luactor_fd(inner) >= 0);
  luactor_step(inner, 0);
  *status = luactor_run(inner);
  luactor_close(inner);
}

static void may_run_inside_another(void **state) {
  (void)state;
  int status = 0;
  luactor_config c = config();
  c.log = run_another;
  c.log_userdata = &status;
  luactor_host *host = open_with(&c);
  spawn(host, "local t = {} warn 'x' for i = 1, 100 do t[i] = { i } end\n"
              "local actor = require 'luactor'\n"
              "actor.send(actor.self(), t)\n"
              "assert(#actor.receive() == 100) actor.halt(3)");
  while (luactor_step(host, 1000) != LUACTOR_STEP_DONE) {
  }
  assert_int_equal(status, 7);
  assert_int_equal(luactor_run(host), 3);
  luactor_close(host);
}

/* ---- waiting functions run the host ---------------------------------------------------- */

static void is_run_by_who_waits(void **state) {
  (void)state;
  luactor_host *host = open_host();
  luactor_step(host, 0);
  const luactor_pid pid = spawn(host, "require 'luactor'.sleep(5)");
  assert_int_equal(luactor_wait(host, pid, 0, NULL), LUACTOR_ETIMEOUT);
  expect_end(host, pid, "normal");
  assert_int_equal(luactor_wait_event(host, PATIENCE), LUACTOR_EVENT_DONE);
  spawn(host, "require 'luactor'.sleep(5) require 'luactor'.halt(4)");
  assert_int_equal(luactor_run(host), 4);
  luactor_close(host);
}

/* Calls and mailboxes of C, too. */
static void answers_its_own_loop(void **state) {
  (void)state;
  luactor_host *host = open_host();
  const luactor_pid server = spawn(host,
      "local actor = require 'luactor'\n"
      "local V = actor.var\n"
      "actor.receive(actor.on(actor.request(V.from, V.n), function(from, n)\n"
      "  actor.sleep(5) actor.reply(from, n + 1)\n"
      "end))\n"
      "local to = actor.receive(V.to)\n"
      "actor.spawn_opt({ thread = 'own' }, function() actor.send(to, 'x') end)");
  step_to_rest(host);
  luactor_value *v = NULL;
  int64_t n = 0;
  assert_int_equal(luactor_make(&v, "i", INT64_C(1)), 0);
  luactor_value *reply = NULL;
  assert_int_equal(luactor_call(host, server, v, PATIENCE, &reply), 0);
  assert_int_equal(luactor_get_integer(luactor_view_of(reply), &n), 0);
  assert_int_equal(n, 2);
  luactor_value_free(v);
  luactor_value_free(reply);
  luactor_mailbox *box = NULL;
  assert_int_equal(luactor_mailbox_open(host, 0, 0, &box), 0);
  assert_int_equal(luactor_make(&v, "p", luactor_mailbox_address(box)), 0);
  assert_int_equal(luactor_send(host, server, v), 0);
  luactor_value_free(v);
  assert_int_equal(luactor_mailbox_receive(box, PATIENCE, &v), 0);
  assert_true(luactor_is_text(luactor_view_of(v), "x"));
  luactor_value_free(v);
  assert_int_equal(luactor_mailbox_receive(box, 3, &v), LUACTOR_ETIMEOUT);
  luactor_mailbox_close(box);
  luactor_close(host);
}

static void stops_in_order(void **state) {
  (void)state;
  luactor_host *host = open_host();
  spawn(host, "local actor = require 'luactor'\n"
              "actor.trap_exit(true)\n"
              "local m = actor.receive()\n"
              "actor.sleep(5)\n"
              "warn(m[1] .. ' ' .. m[3])");
  spawn(host, "while true do end");
  luactor_step(host, 1000);
  assert_int_equal(luactor_stop(host, PATIENCE), 0);
  assert_string_equal(events.text, "EXIT shutdown\n");
  assert_int_equal(luactor_step(host, 1000), LUACTOR_STEP_DONE);
  assert_int_equal(luactor_stop(host, PATIENCE), 0);
  luactor_close(host);
}

static void *stop_elsewhere(void *host) {
  return (void *)(intptr_t)luactor_stop(host, PATIENCE);
}

static void is_stopped_by_another_thread(void **state) {
  (void)state;
  luactor_host *host = open_host();
  spawn(host, "require 'luactor'.receive()");
  step_to_rest(host);
  pthread_t thread;
  void *code;
  pthread_create(&thread, NULL, stop_elsewhere, host);
  step_to_end(host);
  pthread_join(thread, &code);
  assert_int_equal((intptr_t)code, 0);
  luactor_close(host);
}

/* ---- clock and random numbers of one's own ------------------------------------------------ */

static _Atomic uint64_t virtual_ns;

static uint64_t virtual_clock(void *ud) {
  (void)ud;
  return atomic_load(&virtual_ns);
}

/* Run to the end, and let time pass only when nothing else can happen. */
static void simulate(luactor_host *host) {
  for (;;) {
    const int left = luactor_step(host, 1000);
    if (left == LUACTOR_STEP_DONE) {
      return;
    }
    if (left == LUACTOR_STEP_IDLE) {
      const int64_t us = luactor_next_deadline(host);
      assert_true(us >= 0);
      atomic_fetch_add(&virtual_ns, (uint64_t)us * 1000);
    }
  }
}

static void lets_hours_pass_at_once(void **state) {
  (void)state;
  for (uint64_t from = 0; from < 2; from++) {
    luactor_config c = config();
    c.clock = virtual_clock;
    atomic_store(&virtual_ns, from * UINT64_C(1234567890123456789));
    luactor_host *host = open_with(&c);
    spawn(host,
          "local actor = require 'luactor'\n"
          "local from = actor.now()\n"
          "local function passed()\n"
          "  warn(('%.0f'):format((actor.now() - from) // 1000))\n"
          "end\n"
          "actor.sleep(3600e3) passed()\n"
          "actor.send_every(60e3, actor.self(), 'beat')\n"
          "for i = 1, 60 do actor.receive 'beat' end\n"
          "passed()\n"
          "actor.receive('never', 24 * 3600e3) passed()");
    simulate(host);
    assert_string_equal(events.text, "3600\n7200\n93600\n");
    luactor_close(host);
  }
}

static void ends_a_step_though_the_clock_stands_still(void **state) {
  (void)state;
  luactor_config c = config();
  c.clock = virtual_clock;
  luactor_host *host = open_with(&c);
  spawn(host, "while true do end");
  assert_int_equal(luactor_step(host, 20), LUACTOR_STEP_READY);
  luactor_close(host);
}

static void drives_timers_of_threads_too(void **state) {
  (void)state;
  luactor_config c = config();
  c.clock = virtual_clock;
  c.schedulers = 2;
  c.preempt = LUACTOR_PREEMPT_TICK;
  luactor_host *host = open_with(&c);
  const luactor_pid pid = spawn(host, "require 'luactor'.sleep(3600e3)");
  const luactor_pid spinner = spawn(host, "while true do end");
  assert_int_equal(luactor_start(host), 0);
  assert_int_equal(luactor_wait(host, pid, 20, NULL), LUACTOR_ETIMEOUT);
  char *reason = NULL;
  int code;
  do { /* it may not have begun to sleep */
    atomic_fetch_add(&virtual_ns, UINT64_C(3601000000000));
    code = wait_text(host, pid, 20, &reason, NULL);
  } while (code == LUACTOR_ETIMEOUT);
  assert_int_equal(code, 0);
  assert_string_equal(reason, "normal");
  free(reason);
  assert_int_equal(luactor_wait(host, spinner, 0, NULL),
                   LUACTOR_ETIMEOUT);
  luactor_close(host);
}

static const char simulation[] =
    "local actor = require 'luactor'\n"
    "local V = actor.var\n"
    "local function say(...)\n"
    "  local t = { ... }\n"
    "  for i = 1, #t do t[i] = tostring(t[i]) end\n"
    "  warn(tostring(actor.self()) .. ' ' .. actor.now() .. ' ' ..\n"
    "    table.concat(t, ' '))\n"
    "end\n"
    "local me = actor.self()\n"
    "for i = 1, 20 do\n"
    "  actor.spawn(function()\n"
    "    local n = 0\n"
    "    for k = 1, math.random(20000) do n = n + math.random(k) end\n"
    "    say('computed', n, actor.ref())\n"
    "    actor.sleep(math.random(1000))\n"
    "    if i % 5 == 0 then error { i } end\n"
    "    actor.send(me, { 'done', i, math.random() })\n"
    "  end)\n"
    "end\n"
    "local server = actor.spawn_link(function()\n"
    "  while true do\n"
    "    actor.receive(actor.on(actor.request(V.from, { 'add', V.a, V.b }),\n"
    "      function(from, a, b)\n"
    "        actor.sleep(math.random(50)) actor.reply(from, a + b)\n"
    "      end))\n"
    "  end\n"
    "end)\n"
    "for i = 1, 16 do\n"
    "  actor.receive(actor.on({ 'done', V.i, V.r }, function(i, r)\n"
    "    say('got', i, r, actor.call(server, { 'add', i, r }))\n"
    "  end))\n"
    "end\n"
    "actor.exit 'shutdown'";

static void same_bytes(void *ud, void *bytes, size_t n) {
  uint8_t *next = ud, *to = bytes;
  for (size_t i = 0; i < n; i++) {
    to[i] = (*next)++;
  }
}

static void simulated(uint64_t seed, uint64_t span, int images, char *out) {
  uint8_t next = 0;
  luactor_config c = config();
  c.clock = virtual_clock;
  c.seed = seed;
  c.random = same_bytes;
  c.random_userdata = &next;
  c.no_images = !images;
  c.schedulers = (int)span % 3 + 1;
  atomic_store(&virtual_ns, 0);
  luactor_host *host = open_with(&c);
  spawn(host, simulation);
  simulate(host);
  luactor_close(host);
  strcpy(out, events.text);
}

static void repeats_a_run_exactly(void **state) {
  (void)state;
  static char first[sizeof events.text], again[sizeof events.text];
  simulated(42, 1000, 1, first);
  assert_non_null(strstr(first, "computed"));
  assert_non_null(strstr(first, "got"));
  simulated(42, 1001, 1, again);
  assert_string_equal(first, again);
  simulated(42, 1000, 0, again); /* nor does it matter how states are made */
  assert_string_equal(first, again);
  simulated(43, 1000, 1, again);
  assert_string_not_equal(first, again);
  simulated(0, 1000, 1, first); /* random bytes instead of a seed */
  simulated(0, 1000, 1, again);
  assert_string_equal(first, again);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(runs_processes_in_the_calling_thread),
      cmocka_unit_test(leaves_a_loop_when_the_time_is_up),
      cmocka_unit_test(wakes_the_loop_for_a_message),
      cmocka_unit_test(wakes_the_loop_for_a_timer),
      cmocka_unit_test(forgets_the_timeouts_of_waits_that_are_over),
      cmocka_unit_test(runs_what_blocks_elsewhere),
      cmocka_unit_test(talks_to_a_node),
      cmocka_unit_test(is_not_to_be_started),
      cmocka_unit_test(has_one_thread),
      cmocka_unit_test(is_not_entered_twice),
      cmocka_unit_test(may_run_inside_another),
      cmocka_unit_test(is_run_by_who_waits),
      cmocka_unit_test(answers_its_own_loop),
      cmocka_unit_test(stops_in_order),
      cmocka_unit_test(is_stopped_by_another_thread),
      cmocka_unit_test(lets_hours_pass_at_once),
      cmocka_unit_test(ends_a_step_though_the_clock_stands_still),
      cmocka_unit_test(drives_timers_of_threads_too),
      cmocka_unit_test(repeats_a_run_exactly),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

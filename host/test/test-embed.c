/* luactor.h as a C program uses it. */
#include "luactor.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "ends.h"
#include "unit.h"

#define PATIENCE 30000 /* ms; only a failing test waits that long */

static char logged[65536];
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;

static void keep_log(void *ud, int level, const char *text, size_t len) {
  (void)ud;
  pthread_mutex_lock(&log_lock);
  const size_t at = strlen(logged);
  snprintf(logged + at, sizeof logged - at, "%d: %.*s\n", level, (int)len,
           text);
  pthread_mutex_unlock(&log_lock);
}

static bool has_logged(const char *text) {
  pthread_mutex_lock(&log_lock);
  const bool found = strstr(logged, text) != NULL;
  pthread_mutex_unlock(&log_lock);
  return found;
}

static void await_log(const char *text) {
  for (int i = 0; i < PATIENCE && !has_logged(text); i++) {
    usleep(1000);
  }
  assert_true(has_logged(text));
}

static luactor_config config_of(int schedulers) {
  luactor_config c;
  luactor_config_init(&c);
  c.schedulers = schedulers;
  c.ignore_env = 1;
  c.log = keep_log;
  pthread_mutex_lock(&log_lock);
  logged[0] = '\0';
  pthread_mutex_unlock(&log_lock);
  return c;
}

static luactor_host *open_host(int schedulers) {
  const luactor_config c = config_of(schedulers);
  luactor_host *host = NULL;
  assert_int_equal(luactor_open(&c, &host), 0);
  assert_non_null(host);
  return host;
}

static luactor_host *started_host(int schedulers) {
  luactor_host *host = open_host(schedulers);
  assert_int_equal(luactor_start(host), 0);
  return host;
}

static luactor_pid spawn(luactor_host *host, const char *code) {
  luactor_pid pid = 0;
  assert_int_equal(luactor_spawn_string(host, code, strlen(code), "=test", 0,
                                        NULL, 0, &pid),
                   0);
  assert_true(pid != 0);
  return pid;
}

/* Wait for the end of a process and compare its reason. */
static void expect_end(luactor_host *host, luactor_pid pid, const char *want) {
  char *reason = NULL, *error = NULL;
  assert_int_equal(wait_text(host, pid, PATIENCE, &reason, &error), 0);
  assert_non_null(reason);
  if (error != NULL && strcmp(reason, want) != 0) {
    print_message("%s\n", error);
  }
  assert_string_equal(reason, want);
  free(reason);
  free(error);
}

/* ---- running ------------------------------------------------------------------ */

static void runs_a_chunk_to_its_end(void **state) {
  (void)state;
  luactor_host *host = open_host(2);
  const luactor_pid pid = spawn(host, "return 1");
  assert_int_equal(luactor_process_count(host), 1);
  assert_int_equal(luactor_run(host), 0);
  assert_int_equal(luactor_process_count(host), 0);
  expect_end(host, pid, "normal");
  assert_int_equal(luactor_wait(host, pid, 0, NULL), LUACTOR_ENOPROC);
  luactor_close(host);
}

static void gives_the_status_of_a_halt(void **state) {
  (void)state;
  luactor_host *host = open_host(1);
  spawn(host, "require 'luactor'.halt(7)");
  spawn(host, "while true do end");
  assert_int_equal(luactor_run(host), 7);
  luactor_close(host);
  host = open_host(1);
  spawn(host, "while true do end");
  assert_int_equal(luactor_start(host), 0);
  luactor_halt(host, 9);
  assert_int_equal(luactor_run(host), 9);
  luactor_close(host);
}

static void tells_a_halt_from_an_end(void **state) {
  (void)state;
  luactor_host *host = started_host(1);
  spawn(host, "require 'luactor'.receive()");
  spawn(host, "require 'luactor'.halt(0)");
  assert_int_equal(luactor_wait_event(host, PATIENCE), LUACTOR_EVENT_HALTED);
  assert_int_equal(luactor_run(host), 0);
  luactor_close(host);
  host = started_host(1);
  spawn(host, "require 'luactor'.receive()");
  assert_int_equal(luactor_stop(host, PATIENCE), 0);
  assert_int_equal(luactor_wait_event(host, PATIENCE), LUACTOR_EVENT_DONE);
  luactor_close(host);
  host = open_host(1);
  luactor_halt(host, 3);
  assert_int_equal(luactor_start(host), LUACTOR_ECLOSED);
  assert_int_equal(luactor_run(host), 3);
  luactor_close(host);
}

static void passes_arguments_as_lua_does(void **state) {
  (void)state;
  static const char *const args[] = {"lua", "-x", "script", "one", "two"};
  static const char code[] =
      "assert(arg[0] == 'script' and arg[-1] == '-x' and arg[-2] == 'lua')\n"
      "assert(arg[1] == 'one' and arg[2] == 'two' and #arg == 2)\n"
      "assert(select('#', ...) == 2 and (...) == 'one')\n";
  luactor_host *host = started_host(1);
  luactor_pid pid;
  assert_int_equal(luactor_spawn_string(host, code, sizeof code - 1, "=args",
                                        5, args, 2, &pid),
                   0);
  expect_end(host, pid, "normal");
  luactor_close(host);
}

static void runs_a_file(void **state) {
  (void)state;
  char path[] = "/tmp/luactor-test-XXXXXX";
  static const char code[] = "error('from a file')\n";
  const int fd = mkstemp(path);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, code, sizeof code - 1), sizeof code - 1);
  close(fd);
  luactor_host *host = started_host(1);
  luactor_pid pid;
  char *reason = NULL, *error = NULL;
  assert_int_equal(luactor_spawn_file(host, path, 0, NULL, 0, &pid), 0);
  assert_int_equal(wait_text(host, pid, PATIENCE, &reason, &error), 0);
  assert_non_null(strstr(reason, "from a file"));
  assert_non_null(strstr(error, ":1: from a file\nstack traceback:"));
  free(reason);
  free(error);
  unlink(path);
  assert_int_equal(luactor_spawn_file(host, path, 0, NULL, 0, &pid), 0);
  assert_int_equal(wait_text(host, pid, PATIENCE, NULL, &error), 0);
  assert_non_null(strstr(error, "cannot open"));
  free(error);
  luactor_close(host);
}

static void tells_errors_of_a_chunk(void **state) {
  (void)state;
  luactor_host *host = started_host(1);
  char *error = NULL;
  luactor_pid pid = spawn(host, "local x = = 1");
  assert_int_equal(wait_text(host, pid, PATIENCE, NULL, &error), 0);
  assert_non_null(strstr(error, "unexpected symbol near '='"));
  free(error);
  pid = spawn(host, "require 'luactor'.exit { code = 3 }");
  expect_end(host, pid, "{code = 3}");
  luactor_close(host);
}

static void reports_crashes_to_the_log(void **state) {
  (void)state;
  luactor_host *host = started_host(1);
  const luactor_pid pid = spawn(
      host,
      "local actor = require 'luactor'\n"
      "local _, ref = actor.spawn_opt({ monitor = true, name = 'worker' },\n"
      "                               function() error('went wrong') end)\n"
      "actor.receive()\n");
  expect_end(host, pid, "normal");
  assert_true(has_logged("1: error process "));
  assert_true(has_logged("worker"));
  assert_true(has_logged("went wrong"));
  luactor_close(host);
}

/* ---- messages ------------------------------------------------------------------- */

static void sends_strings_of_any_bytes(void **state) {
  (void)state;
  luactor_host *host = started_host(2);
  const luactor_pid pid =
      spawn(host,
            "local actor = require 'luactor'\n"
            "assert(actor.receive() == '')\n"
            "assert(actor.receive() == 'a\\0b')\n"
            "assert(actor.receive() == ('x'):rep(100000))\n"
            "assert(actor.sender() == nil)\n");
  static char large[100000];
  memset(large, 'x', sizeof large);
  assert_int_equal(luactor_send_string(host, pid, NULL, 0), 0);
  assert_int_equal(luactor_send_string(host, pid, "a\0b", 3), 0);
  assert_int_equal(luactor_send_string(host, pid, large, sizeof large), 0);
  expect_end(host, pid, "normal");
  assert_int_equal(luactor_send_string(host, pid, "late", 4), 0);
  luactor_close(host);
}

static void says_when_a_mailbox_is_full(void **state) {
  (void)state;
  luactor_host *host = started_host(1);
  char *reason = NULL;
  const luactor_pid pid = spawn(
      host,
      "local actor = require 'luactor'\n"
      "local child = actor.spawn_opt({ mailbox = { limit = 2 } }, function()\n"
      "  actor.receive 'never'\n"
      "end)\n"
      "actor.exit(tostring(child))\n");
  assert_int_equal(wait_text(host, pid, PATIENCE, &reason, NULL), 0);
  unsigned long slot = strtoul(reason + 3, NULL, 10); /* <0.7> */
  free(reason);
  const luactor_pid child = (luactor_pid)1 << 60 | slot;
  assert_int_equal(luactor_send_string(host, child, "1", 1), 0);
  assert_int_equal(luactor_send_string(host, child, "2", 1), 0);
  assert_int_equal(luactor_send_string(host, child, "3", 1), LUACTOR_EFULL);
  luactor_close(host);
}

typedef struct {
  luactor_host *host;
  luactor_pid to;
} sender_t;

enum { SENDERS = 4, EACH = 2000 };

static void *sender_main(void *arg) {
  const sender_t *s = arg;
  for (int i = 0; i < EACH; i++) {
    if (luactor_send_string(s->host, s->to, "m", 1) != 0) {
      abort();
    }
  }
  return NULL;
}

static void takes_messages_of_many_threads(void **state) {
  (void)state;
  luactor_host *host = started_host(2);
  sender_t s = {host, spawn(host,
                            "local actor = require 'luactor'\n"
                            "for _ = 1, 8000 do\n"
                            "  assert(actor.receive() == 'm')\n"
                            "end\n")};
  pthread_t threads[SENDERS];
  for (int i = 0; i < SENDERS; i++) {
    pthread_create(&threads[i], NULL, sender_main, &s);
  }
  for (int i = 0; i < SENDERS; i++) {
    pthread_join(threads[i], NULL);
  }
  expect_end(host, s.to, "normal");
  luactor_close(host);
}

/* ---- events ------------------------------------------------------------------------ */

static void tells_done_stuck_and_timeout(void **state) {
  (void)state;
  luactor_host *host = started_host(2);
  const luactor_pid pid =
      spawn(host,
            "local actor = require 'luactor'\n"
            "actor.register 'waiter'\n"
            "assert(actor.receive() == 'go')\n"
            "local till = actor.now() + 300\n"
            "while actor.now() < till do actor.sleep(5) end\n");
  assert_int_equal(luactor_wait_event(host, PATIENCE), LUACTOR_EVENT_STUCK);
  char *text = luactor_waiting(host);
  assert_non_null(strstr(text, " waiter at "));
  assert_non_null(strstr(text, "test:3\n"));
  assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1); /* one line */
  free(text);
  assert_int_equal(luactor_send_string(host, pid, "go", 2), 0);
  assert_int_equal(luactor_wait_event(host, 20), LUACTOR_EVENT_TIMEOUT);
  assert_int_equal(luactor_wait_event(host, PATIENCE), LUACTOR_EVENT_DONE);
  luactor_close(host);
}

static void is_not_done_when_it_gets_more_to_do(void **state) {
  (void)state;
  luactor_host *host = open_host(1);
  spawn(host, "return 1");
  assert_int_equal(luactor_run(host), 0);
  const luactor_pid pid = spawn(host, "require 'luactor'.receive()");
  assert_int_equal(luactor_wait_event(host, PATIENCE), LUACTOR_EVENT_STUCK);
  luactor_send_string(host, pid, "", 0);
  assert_int_equal(luactor_run(host), 0);
  expect_end(host, pid, "normal");
  luactor_close(host);
}

static void waits_no_longer_than_asked(void **state) {
  (void)state;
  luactor_host *host = started_host(1);
  const luactor_pid pid = spawn(host, "require 'luactor'.receive()");
  char *reason = (char *)state; /* results are left alone on failure */
  assert_int_equal(wait_text(host, pid, 0, &reason, NULL),
                   LUACTOR_ETIMEOUT);
  assert_int_equal(wait_text(host, pid, 10, &reason, NULL),
                   LUACTOR_ETIMEOUT);
  assert_ptr_equal(reason, state);
  luactor_halt(host, 0);
  assert_int_equal(wait_text(host, pid, PATIENCE, &reason, NULL),
                   LUACTOR_ECLOSED);
  luactor_close(host);
}

/* ---- stop -------------------------------------------------------------------------- */

static void stops_orderly(void **state) {
  (void)state;
  luactor_host *host = started_host(2);
  const luactor_pid pid =
      spawn(host,
            "local actor = require 'luactor'\n"
            "local closed <close> = setmetatable({}, { __close = function()\n"
            "  require 'luactor.log'.info('closed its things')\n"
            "end })\n"
            "actor.spawn(function()\n"
            "  actor.trap_exit(true)\n"
            "  local _, _, reason = table.unpack(actor.receive())\n"
            "  require 'luactor.log'.info('child got ' .. reason)\n"
            "end)\n"
            "actor.receive()\n");
  assert_int_equal(luactor_wait_event(host, PATIENCE), LUACTOR_EVENT_STUCK);
  assert_int_equal(luactor_stop(host, PATIENCE), 0);
  expect_end(host, pid, "shutdown");
  assert_true(has_logged("closed its things"));
  assert_true(has_logged("child got shutdown"));
  assert_int_equal(luactor_process_count(host), 0);
  assert_int_equal(luactor_stop(host, 100), 0); /* once more: nothing to do */
  luactor_pid late;
  assert_int_equal(luactor_spawn_string(host, "", 0, NULL, 0, NULL, 0, &late),
                   LUACTOR_ECLOSED);
  assert_int_equal(luactor_send_string(host, pid, "", 0), LUACTOR_ECLOSED);
  luactor_close(host);
}

static void kills_what_ignores_the_stop(void **state) {
  (void)state;
  luactor_host *host = started_host(2);
  const luactor_pid stubborn =
      spawn(host,
            "local actor = require 'luactor'\n"
            "actor.trap_exit(true)\n"
            "require 'luactor.log'.info('one is ready')\n"
            "while true do actor.receive() end\n");
  const luactor_pid busy =
      spawn(host,
            "require 'luactor'.trap_exit(true)\n"
            "require 'luactor.log'.info('two is ready')\n"
            "while true do pcall(string.rep, 'x') end\n");
  await_log("one is ready");
  await_log("two is ready");
  const uint64_t from = (uint64_t)time(NULL);
  int code = luactor_stop(host, 200);
  while (code == LUACTOR_ETIMEOUT) { /* a busy machine: may be asked again */
    code = luactor_stop(host, 200);
  }
  assert_int_equal(code, 0);
  assert_true((uint64_t)time(NULL) - from < 20);
  expect_end(host, stubborn, "killed");
  expect_end(host, busy, "killed");
  luactor_close(host);
}

/* Everything that a process can own when its host goes. */
static const char full_life[] =
    "local actor = require 'luactor'\n"
    "actor.register('boss' .. tostring(actor.self()))\n"
    "local box = actor.mailbox { limit = 2 }\n"
    "actor.send(box, { 'kept' })\n"
    "actor.send(actor.self(), ('big'):rep(10000))\n"
    "actor.send_every(5, actor.self(), 'tick')\n"
    "actor.send_after(100000, actor.self(), 'never')\n"
    "local server = actor.spawn_link(function() actor.receive 'never' end)\n"
    "actor.monitor(server)\n"
    "actor.spawn_link(function() actor.call(server, 'hang', 1e9) end)\n"
    "actor.spawn_opt({ thread = 'own' },\n"
    "                function() actor.call(server, 'hang', 1e9) end)\n"
    "actor.spawn(function() actor.info(server) actor.sleep(1e9) end)\n"
    "local full = actor.spawn_opt({ mailbox = { limit = 1 } },\n"
    "                             function() actor.receive 'never' end)\n"
    "for _ = 1, 2 do\n"
    "  actor.spawn(function() for _ = 1, 9 do actor.send(full, 'x') end end)\n"
    "end\n"
    "actor.spawn(function() while true do end end)\n"
    "actor.spawn(setmetatable, {}, {})\n"
    "actor.scope(function(s)\n"
    "  s:spawn(function() actor.sleep(1e9) end)\n"
    "  actor.receive 'never'\n"
    "end)\n";

static void frees_everything_wherever_it_is_closed(void **state) {
  (void)state;
  for (int ms = 0; ms < 40; ms += 4) {
    luactor_host *host = started_host(2);
    spawn(host, full_life);
    luactor_wait_event(host, ms);
    luactor_close(host);
  }
  luactor_host *host = open_host(2); /* never started */
  spawn(host, full_life);
  luactor_close(host);
}

static void opens_and_closes_often(void **state) {
  (void)state;
  for (int i = 0; i < 100; i++) {
    luactor_host *host = open_host(1 + i % 3);
    if (i % 2) {
      assert_int_equal(luactor_start(host), 0);
    }
    if (i % 5) {
      spawn(host, "local actor = require 'luactor'\n"
                  "actor.spawn(function() actor.receive() end)\n");
    }
    if (i % 7 == 0) {
      assert_int_equal(luactor_stop(host, 1000), 0);
    }
    luactor_close(host);
  }
}

/* ---- several hosts ---------------------------------------------------------------------- */

static void lives_beside_another_host(void **state) {
  (void)state;
  luactor_host *one = started_host(2), *two = started_host(2);
  static const char code[] =
      "local actor = require 'luactor'\n"
      "actor.register 'same'\n"
      "shared = (shared or 0) + 1\n"
      "assert(shared == 1)\n"
      "local peers = {}\n"
      "for i = 1, 50 do\n"
      "  peers[i] = actor.spawn(function(boss)\n"
      "    for n = 1, 20 do actor.send(boss, n) end\n"
      "  end, actor.self())\n"
      "end\n"
      "for _ = 1, 50 * 20 do assert(math.type(actor.receive())) end\n"
      "actor.receive 'end'\n";
  const luactor_pid p = spawn(one, code), q = spawn(two, code);
  assert_int_equal(luactor_wait_event(one, PATIENCE), LUACTOR_EVENT_STUCK);
  assert_int_equal(luactor_wait_event(two, PATIENCE), LUACTOR_EVENT_STUCK);
  luactor_send_string(one, p, "end", 3);
  expect_end(one, p, "normal");
  assert_int_equal(luactor_process_count(two), 1);
  luactor_close(one);
  luactor_send_string(two, q, "end", 3);
  expect_end(two, q, "normal");
  luactor_close(two);
}

/* ---- signals ------------------------------------------------------------------------------ */

static void my_handler(int number) {
  (void)number;
}

static void touches_no_signal_in_count_mode(void **state) {
  (void)state;
  struct sigaction mine, before, during, after;
  memset(&mine, 0, sizeof mine);
  mine.sa_handler = my_handler;
  sigaction(SIGURG, &mine, &before);
  luactor_host *host = started_host(2);
  const luactor_pid a = spawn(host, "for i = 1, 3e6 do end");
  const luactor_pid b = spawn(host, "for i = 1, 3e6 do end");
  sigaction(SIGURG, NULL, &during);
  assert_true(during.sa_handler == my_handler);
  for (int number = 1; number < SIGRTMIN; number++) {
    struct sigaction sa;
    if (number != SIGURG && sigaction(number, NULL, &sa) == 0) {
      assert_true(sa.sa_handler == SIG_DFL || sa.sa_handler == SIG_IGN ||
                  number == SIGSEGV || number == SIGBUS || number == SIGFPE ||
                  number == SIGABRT || number == SIGILL ||
                  number == SIGSYS); /* those are the test's or a sanitizer's */
    }
  }
  expect_end(host, a, "normal");
  expect_end(host, b, "normal");
  luactor_close(host);
  sigaction(SIGURG, &before, &after);
  assert_true(after.sa_handler == my_handler);
}

static void gives_the_signal_back_in_tick_mode(void **state) {
  (void)state;
#if defined(__SANITIZE_THREAD__)
  skip(); /* it holds signals back while uninstrumented code runs: Lua's loop */
#endif
  struct sigaction mine, before, during, after;
  memset(&mine, 0, sizeof mine);
  mine.sa_handler = my_handler;
  sigaction(SIGUSR2, &mine, &before);
  luactor_config c = config_of(1);
  c.preempt = LUACTOR_PREEMPT_TICK;
  c.tick_signal = SIGUSR2;
  luactor_host *host;
  assert_int_equal(luactor_open(&c, &host), 0);
  assert_int_equal(luactor_start(host), 0);
  sigaction(SIGUSR2, NULL, &during);
  assert_true(during.sa_handler != my_handler);
  /* One thread: the second process runs only if the first is interrupted. */
  const luactor_pid busy = spawn(host, "while not arg[1] do end");
  const luactor_pid other = spawn(host, "return 1");
  expect_end(host, other, "normal");
  assert_int_equal(luactor_wait(host, busy, 0, NULL), LUACTOR_ETIMEOUT);
  luactor_close(host);
  sigaction(SIGUSR2, &before, &after);
  assert_true(after.sa_handler == my_handler);
}

/* ---- limits and misuse ---------------------------------------------------------------------- */

static void keeps_to_its_limits(void **state) {
  (void)state;
  luactor_config c = config_of(1);
  c.max_processes = 2;
  c.max_heap = 1 << 20;
  luactor_host *host;
  luactor_pid pid;
  assert_int_equal(luactor_open(&c, &host), 0);
  assert_int_equal(luactor_start(host), 0);
  const luactor_pid waits = spawn(host, "require 'luactor'.receive()");
  const luactor_pid hungry =
      spawn(host,
            "assert(require 'luactor'.receive() == 'go')\n"
            "local t = {} for i = 1, 1e7 do t[i] = i end\n");
  assert_int_equal(luactor_spawn_string(host, "", 0, NULL, 0, NULL, 0, &pid),
                   LUACTOR_ELIMIT);
  luactor_send_string(host, hungry, "go", 2);
  char *reason = NULL;
  assert_int_equal(wait_text(host, hungry, PATIENCE, &reason, NULL), 0);
  assert_non_null(strstr(reason, "heap_limit"));
  free(reason);
  luactor_send_string(host, waits, "", 0);
  expect_end(host, waits, "normal");
  luactor_close(host);
}

static void refuses_misuse(void **state) {
  (void)state;
  luactor_host *host = NULL;
  luactor_pid pid;
  luactor_config c = config_of(1);
  assert_int_equal(luactor_open(NULL, &host), LUACTOR_EINVAL);
  assert_int_equal(luactor_open(&c, NULL), LUACTOR_EINVAL);
  c.size = 4;
  assert_int_equal(luactor_open(&c, &host), LUACTOR_EINVAL);
  c = config_of(-1);
  assert_int_equal(luactor_open(&c, &host), LUACTOR_EINVAL);
  c = config_of(1);
  c.preempt = 7;
  assert_int_equal(luactor_open(&c, &host), LUACTOR_EINVAL);
  c = config_of(1);
  c.reductions = -5;
  assert_int_equal(luactor_open(&c, &host), LUACTOR_EINVAL);
  c = config_of(1);
  c.tick_signal = 4000;
  assert_int_equal(luactor_open(&c, &host), LUACTOR_EINVAL);
  c = config_of(LUACTOR_MAX_SCHEDULERS + 1);
  assert_int_equal(luactor_open(&c, &host), LUACTOR_EINVAL);
  c = config_of(1);
  c.max_processes = LUACTOR_MAX_PROCESSES + 1;
  assert_int_equal(luactor_open(&c, &host), LUACTOR_EINVAL);
  assert_null(host);
  assert_int_equal(luactor_start(NULL), LUACTOR_EINVAL);
  assert_int_equal(luactor_run(NULL), LUACTOR_EINVAL);
  assert_int_equal(luactor_wait_event(NULL, 0), LUACTOR_EINVAL);
  assert_int_equal(luactor_stop(NULL, 0), LUACTOR_EINVAL);
  luactor_halt(NULL, 0);
  assert_int_equal(luactor_close(NULL), 0);
  assert_int_equal(luactor_spawn_file(NULL, "x", 0, NULL, 0, &pid),
                   LUACTOR_EINVAL);
  assert_int_equal(luactor_send_string(NULL, 1, "", 0), LUACTOR_EINVAL);
  assert_int_equal(luactor_wait(NULL, 1, 0, NULL), LUACTOR_EINVAL);
  assert_null(luactor_waiting(NULL));
  assert_int_equal(luactor_process_count(NULL), 0);

  host = open_host(1);
  assert_int_equal(luactor_wait_event(host, -1), LUACTOR_EINVAL);
  assert_int_equal(luactor_spawn_file(host, NULL, 0, NULL, 0, &pid),
                   LUACTOR_EINVAL);
  assert_int_equal(luactor_spawn_file(host, "x", -1, NULL, 0, &pid),
                   LUACTOR_EINVAL);
  assert_int_equal(luactor_spawn_file(host, "x", 0, NULL, -1, &pid),
                   LUACTOR_EINVAL);
  assert_int_equal(luactor_spawn_file(host, "x", 2, NULL, 0, &pid),
                   LUACTOR_EINVAL);
  assert_int_equal(
      luactor_spawn_string(host, NULL, 0, NULL, 0, NULL, 0, &pid),
      LUACTOR_EINVAL);
  assert_int_equal(luactor_send_string(host, 1, NULL, 5), LUACTOR_EINVAL);
  assert_int_equal(luactor_send_string(host, 0, "x", 1), LUACTOR_EINVAL);
  assert_int_equal(luactor_send_string(host, 12345, "x", 1), LUACTOR_EINVAL);
  assert_int_equal(luactor_wait(host, 12345, 0, NULL), LUACTOR_ENOPROC);
  assert_int_equal(luactor_start(host), 0);
  assert_int_equal(luactor_start(host), LUACTOR_EBUSY);
  luactor_close(host);
}

static void names_its_errors(void **state) {
  (void)state;
  assert_string_equal(luactor_strerror(0), "no error");
  assert_string_equal(luactor_strerror(LUACTOR_EFULL), "mailbox is full");
  assert_string_equal(luactor_strerror(LUACTOR_ENOMEM), "not enough memory");
  assert_string_equal(luactor_strerror(-99), "unknown error");
  assert_string_equal(luactor_version(), LUACTOR_VERSION);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(runs_a_chunk_to_its_end),
      cmocka_unit_test(gives_the_status_of_a_halt),
      cmocka_unit_test(tells_a_halt_from_an_end),
      cmocka_unit_test(passes_arguments_as_lua_does),
      cmocka_unit_test(runs_a_file),
      cmocka_unit_test(tells_errors_of_a_chunk),
      cmocka_unit_test(reports_crashes_to_the_log),
      cmocka_unit_test(sends_strings_of_any_bytes),
      cmocka_unit_test(says_when_a_mailbox_is_full),
      cmocka_unit_test(takes_messages_of_many_threads),
      cmocka_unit_test(tells_done_stuck_and_timeout),
      cmocka_unit_test(is_not_done_when_it_gets_more_to_do),
      cmocka_unit_test(waits_no_longer_than_asked),
      cmocka_unit_test(stops_orderly),
      cmocka_unit_test(kills_what_ignores_the_stop),
      cmocka_unit_test(frees_everything_wherever_it_is_closed),
      cmocka_unit_test(opens_and_closes_often),
      cmocka_unit_test(lives_beside_another_host),
      cmocka_unit_test(touches_no_signal_in_count_mode),
      cmocka_unit_test(gives_the_signal_back_in_tick_mode),
      cmocka_unit_test(keeps_to_its_limits),
      cmocka_unit_test(refuses_misuse),
      cmocka_unit_test(names_its_errors),
  };
  return cmocka_run_group_tests_name("embed", tests, NULL, NULL);
}

/* Many hosts in one program, and what they leave alone. */
#include "luactor.h"

#include <dirent.h>
#include <locale.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ends.h"
#include "unit.h"

#define PATIENCE 30000 /* ms; only a failing test waits that long */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#else
#define IS_SANITIZED 0
#endif

static int scaled(int n) {
  const char *hosts = getenv("LUACTOR_TEST_HOSTS"); /* in percent */
  const int percent = hosts != NULL ? atoi(hosts) : IS_SANITIZED ? 10 : 100;
  return n * percent / 100 > 4 ? n * percent / 100 : 4;
}

/* A bit of everything: processes, messages, timers, a crash, a call, a module, strings
 * large enough to be shared, a job that blocks when 'job' says so. */
static const char life[] =
    "local actor = require 'luactor'\n"
    "local V, me = actor.var, actor.self()\n"
    "local big = ('x'):rep(100000)\n"
    "for i = 1, 10 do\n"
    "  actor.spawn(function()\n"
    "    actor.sleep(i / 10)\n"
    "    actor.send(me, { 'done', i, big, { deep = { i } } })\n"
    "  end)\n"
    "end\n"
    "for i = 1, 10 do actor.receive({ 'done', i, V.s, V.t }) end\n"
    "local _, ref = actor.spawn_monitor(function() error { 'crash' } end)\n"
    "actor.receive({ 'DOWN', ref, V._, V._, V._ })\n"
    "local server = require 'luactor.gen_server'.define 'server'\n"
    "function server.call:add(n) return n + 1 end\n"
    "assert(server:start_link():add(1) == 2)\n"
    "actor.send_every(1, me, 'beat') actor.receive 'beat'\n"
    "local p = require 'lpeg'.P 'a'\n"
    "actor.send(me, 'a') assert(actor.receive(p) == 'a')\n"
    "assert(#actor.pack(setmetatable({ big, {} }, { __gc = function() end })) > 1e5)\n"
    "if ... then assert(actor.blocking(function() return 7 end) == 7) end\n"
    "actor.spawn(function() actor.receive() end)\n"
    "actor.spawn(function() while true do end end)\n"
    "if ... == 'crash' then error 'on purpose' end\n";

static void ignore(void *ud, int level, const char *text, size_t len) {
  (void)ud;
  (void)level;
  (void)text;
  (void)len;
}

static luactor_config config_of(int schedulers) {
  luactor_config c;
  luactor_config_init(&c);
  c.schedulers = schedulers;
  c.ignore_env = 1;
  c.log = ignore;
  return c;
}

/* Every kind of a host's life in turn. */
static void live(int i, luactor_config c) {
  luactor_host *host = NULL;
  assert_int_equal(luactor_open(&c, &host), 0);
  if (i % 50 == 0) { /* never started */
    assert_int_equal(luactor_close(host), 0);
    return;
  }
  luactor_pid pid;
  char *reason = NULL, *error = NULL;
  const char *const args[] = {"life", i % 7 == 0 ? "crash" : "job"};
  assert_int_equal(luactor_spawn_string(host, life, sizeof life - 1, "=life",
                                        i % 3 == 0 ? 2 : 1, args, 0, &pid),
                   0);
  if (i % 4 == 0) {
    assert_true(luactor_fd(host) >= 0);
    luactor_step(host, 100);
  } else {
    assert_int_equal(luactor_start(host), 0);
  }
  if (i % 10 != 0) { /* else it is closed in the midst of it */
    assert_int_equal(wait_text(host, pid, PATIENCE, &reason, &error), 0);
    if (i % 21 != 0 && error != NULL) {
      print_message("%s\n", error);
    }
    assert_int_equal(error != NULL, i % 21 == 0);
    free(reason);
    free(error);
  }
  if (i % 5 == 0) {
    assert_int_equal(luactor_stop(host, 1), 0);
  }
  assert_int_equal(luactor_close(host), 0);
}

static size_t resident_bytes(void) {
  unsigned long pages = 0;
  FILE *f = fopen("/proc/self/statm", "re");
  assert_non_null(f);
  assert_int_equal(fscanf(f, "%*u %lu", &pages), 1);
  fclose(f);
  return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static int count_descriptors(void) {
  int n = 0;
  DIR *d = opendir("/proc/self/fd");
  assert_non_null(d);
  while (readdir(d) != NULL) {
    n++;
  }
  closedir(d);
  return n;
}

static int count_threads(void) {
  int n = -2; /* "." and ".." */
  DIR *d = opendir("/proc/self/task");
  assert_non_null(d);
  while (readdir(d) != NULL) {
    n++;
  }
  closedir(d);
  return n;
}

/* The thread sanitizer has one of its own. */
#if defined(__SANITIZE_THREAD__)
enum { OWN_THREADS = 2 };
#else
enum { OWN_THREADS = 1 };
#endif

/* One that was joined is listed for a moment longer. */
static void await_threads(int n) {
  for (int i = 0; i < PATIENCE && count_threads() != n; i++) {
    usleep(1000);
  }
  assert_int_equal(count_threads(), n);
}

/* ---- a thousand hosts --------------------------------------------------------- */

enum { AT_ONCE = 4 };

static void *live_in_thread(void *arg) {
  const int from = (int)(intptr_t)arg, n = scaled(1000) / 2 / AT_ONCE;
  for (int i = 0; i < n; i++) {
    live(from + i, config_of(1 + i % 2));
  }
  return NULL;
}

/* Half of them one after the other, half in four threads. */
static void live_often(void) {
  const int n = scaled(1000) / 2;
  for (int i = 0; i < n; i++) {
    live(i, config_of(1 + i % 2));
  }
  pthread_t threads[AT_ONCE];
  for (int i = 0; i < AT_ONCE; i++) {
    pthread_create(&threads[i], NULL, live_in_thread,
                   (void *)(intptr_t)(i * 1000));
  }
  for (int i = 0; i < AT_ONCE; i++) {
    pthread_join(threads[i], NULL);
  }
}

/* What the C library keeps for itself, in arenas of the threads, is there after the first
 * round. */
static void a_thousand_leave_nothing_behind(void **state) {
  (void)state;
  live_often();
  malloc_trim(0);
  const size_t resident = resident_bytes();
  const int descriptors = count_descriptors();
  live_often();
  malloc_trim(0);
  assert_int_equal(count_descriptors(), descriptors);
  await_threads(OWN_THREADS);
  if (!IS_SANITIZED) {
    const size_t now = resident_bytes();
    print_message("resident: %zu KB, then %zu KB\n", resident >> 10,
                  now >> 10);
    /* 1,000 hosts: a leak of 4 KB each would show. */
    assert_true(now < resident + (4u << 20));
  }
}

/* ---- memory of the embedder's --------------------------------------------------- */

typedef struct {
  _Atomic size_t live, peak;
  _Atomic long left; /* requests until all fail; negative: never */
  size_t limit;      /* 0: none */
} meter_t;

/* Each block has a head with its size, to be compared. */
static void *metered(void *ud, void *ptr, size_t osize, size_t nsize) {
  meter_t *m = ud;
  enum { HEAD = 16 };
  size_t *block = ptr != NULL ? (size_t *)(void *)((char *)ptr - HEAD) : NULL;
  const size_t before = block != NULL ? *block : 0;
  if (block != NULL && *block != osize) {
    print_error("a block of %zu bytes was said to have %zu\n", *block, osize);
    abort();
  }
  if (nsize == 0) {
    atomic_fetch_sub(&m->live, before);
    free(block);
    return NULL;
  }
  long left = atomic_load(&m->left);
  while (left > 0 && !atomic_compare_exchange_weak(&m->left, &left, left - 1)) {
  }
  if (nsize > before &&
      (left == 0 || (m->limit != 0 &&
                     atomic_load(&m->live) + nsize - before > m->limit))) {
    return NULL;
  }
  block = realloc(block, nsize + HEAD);
  if (block == NULL) {
    return NULL;
  }
  *block = nsize;
  const size_t live = atomic_fetch_add(&m->live, nsize - before) + nsize;
  size_t peak = atomic_load(&m->peak);
  while (live > peak && !atomic_compare_exchange_weak(&m->peak, &peak, live)) {
  }
  return (char *)block + HEAD;
}

static void all_memory_is_the_embedders(void **state) {
  (void)state;
  for (int i = 1; i < 31; i++) {
    meter_t m = {.left = -1};
    luactor_config c = config_of(1 + i % 2);
    c.alloc = metered;
    c.alloc_userdata = &m;
    c.no_images = i % 6 == 5;
    live(i, c);
    assert_int_equal(m.live, 0);
    assert_true(m.peak > 100000);
  }
}

/* Two hosts with allocators of their own, and a third one, used by each other. */
static void memory_of_hosts_is_not_mixed_up(void **state) {
  (void)state;
  meter_t m[2] = {{.left = -1}, {.left = -1}};
  luactor_host *host[3];
  luactor_pid pid[3];
  for (int i = 0; i < 3; i++) {
    luactor_config c = config_of(1);
    c.alloc = i < 2 ? metered : NULL;
    c.alloc_userdata = &m[i % 2];
    assert_int_equal(luactor_open(&c, &host[i]), 0);
    assert_int_equal(
        luactor_spawn_string(
            host[i],
            "local actor = require 'luactor'\n"
            "local t = {}\n"
            "for i = 1, 200 do t[i] = actor.receive() end",
            strlen("local actor = require 'luactor'\n"
                   "local t = {}\n"
                   "for i = 1, 200 do t[i] = actor.receive() end"),
            "=x", 0, NULL, 0, &pid[i]),
        0);
    assert_int_equal(luactor_start(host[i]), 0);
  }
  static char text[100000];
  memset(text, 'x', sizeof text);
  for (int i = 0; i < 600; i++) {
    assert_int_equal(luactor_send_string(host[i % 3], pid[i % 3], text,
                                         i % 2 == 0 ? 10 : sizeof text),
                     0);
  }
  for (int i = 0; i < 3; i++) {
    assert_int_equal(luactor_wait(host[i], pid[i], PATIENCE, NULL), 0);
    assert_int_equal(luactor_close(host[i]), 0);
  }
  assert_int_equal(m[0].live, 0);
  assert_int_equal(m[1].live, 0);
}

/* The C library is asked for next to nothing. */
static void processes_live_in_the_embedders_memory(void **state) {
  (void)state;
  if (IS_SANITIZED) {
    skip(); /* it counts in its own way */
  }
  static const char code[] =
      "local actor = require 'luactor'\n"
      "for i = 1, 2000 do\n"
      "  actor.spawn(function() local t = { ('x'):rep(5000) .. i }\n"
      "    actor.receive() end)\n"
      "end\n"
      "for i = 1, 2000 do actor.send(actor.self(), { i, ('y'):rep(1000) }) end\n"
      "actor.yield() actor.receive 'never'";
  /* A heap of its own for the blocks, so that malloc's count is not theirs. */
  meter_t m = {.left = -1};
  luactor_config c = config_of(1);
  c.alloc = metered;
  c.alloc_userdata = &m;
  luactor_host *host;
  assert_int_equal(luactor_open(&c, &host), 0);
  assert_int_equal(luactor_spawn_string(host, code, sizeof code - 1, "=x", 0,
                                        NULL, 0, NULL),
                   0);
  const size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
  const size_t mine = m.live;
  luactor_step(host, -1);
  const size_t after = mallinfo2().uordblks + mallinfo2().hblkhd;
  assert_int_equal(luactor_process_count(host), 2001);
  assert_true(m.live - mine > (size_t)2000 * 10000);
  /* What malloc gave went through our hands, but for a head each. */
  assert_true(after - before < (m.live - mine) + (m.live - mine) / 8);
  luactor_close(host);
  assert_int_equal(m.live, 0);
}

static void memory_may_end_at_any_request(void **state) {
  (void)state;
  int opened = 0;
  for (long n = 0; opened < 3; n += n < 100 ? 1 : 1 + n / 10) {
    meter_t m = {.left = n};
    luactor_config c = config_of(1);
    c.alloc = metered;
    c.alloc_userdata = &m;
    luactor_host *host = NULL;
    const int code = luactor_open(&c, &host);
    assert_true(code == 0 || code == LUACTOR_ENOMEM);
    if (code == 0) {
      opened++;
      luactor_spawn_string(host, life, sizeof life - 1, "=life", 0, NULL, 0,
                           NULL);
      luactor_step(host, 20000);
      m.left = 0;
      luactor_step(host, 20000);
      assert_int_equal(luactor_close(host), 0);
    }
    assert_int_equal(m.live, 0);
  }
}

static void a_host_lives_within_a_limit(void **state) {
  (void)state;
  meter_t m = {.left = -1, .limit = 8 << 20};
  luactor_config c = config_of(1);
  c.alloc = metered;
  c.alloc_userdata = &m;
  luactor_host *host;
  luactor_pid pid;
  assert_int_equal(luactor_open(&c, &host), 0);
  static const char hungry[] =
      "local t = {} for i = 1, math.huge do t[i] = ('x'):rep(100000) .. i end";
  assert_int_equal(luactor_spawn_string(host, hungry, sizeof hungry - 1, "=x",
                                        0, NULL, 0, &pid),
                   0);
  char *reason = NULL;
  assert_int_equal(luactor_start(host), 0);
  assert_int_equal(wait_text(host, pid, PATIENCE, &reason, NULL), 0);
  assert_non_null(strstr(reason, "not enough memory"));
  free(reason);
  static const char modest[] = "return ('x'):rep(10)";
  assert_int_equal(luactor_spawn_string(host, modest, sizeof modest - 1, "=x",
                                        0, NULL, 0, &pid),
                   0);
  assert_int_equal(wait_text(host, pid, PATIENCE, &reason, NULL), 0);
  assert_string_equal(reason, "normal");
  free(reason);
  luactor_close(host);
  assert_int_equal(m.live, 0);
}

/* ---- what a host leaves alone ------------------------------------------------------ */

typedef struct {
  void (*handler)(int);
  long flags;
} action_t;

typedef struct {
  action_t action[65];
  sigset_t mask;
  char locale[256];
  int descriptors;
} program_t;

static void look_at_program(program_t *p) {
  memset(p, 0, sizeof *p);
  for (int i = 1; i < 65; i++) {
    struct sigaction a; /* of the mask only the first word is filled in */
    memset(&a, 0, sizeof a);
    if (sigaction(i, NULL, &a) == 0) {
      p->action[i] = (action_t){a.sa_handler, a.sa_flags};
    }
  }
  pthread_sigmask(SIG_SETMASK, NULL, &p->mask);
  snprintf(p->locale, sizeof p->locale, "%s", setlocale(LC_ALL, NULL));
  p->descriptors = count_descriptors();
}

static void signals_streams_and_locale_stay_as_they_are(void **state) {
  (void)state;
  char path[] = "/tmp/luactor-test-XXXXXX";
  const int fd = mkstemp(path);
  assert_true(fd >= 0);
  fflush(stdout);
  const int saved = dup(STDOUT_FILENO);
  assert_int_equal(dup2(fd, STDOUT_FILENO), STDOUT_FILENO);
  fputs("not yet ", stdout); /* a file: it stays in the buffer */
  program_t before, during, after;
  look_at_program(&before);
  for (int i = 1; i < 5; i++) {
    luactor_config c = config_of(2);
    luactor_host *host;
    assert_int_equal(luactor_open(&c, &host), 0);
    assert_int_equal(luactor_spawn_string(host, life, sizeof life - 1,
                                          "=life", 0, NULL, 0, NULL),
                     0);
    if (i % 2 == 0) {
      luactor_start(host);
      luactor_wait_event(host, 10);
    } else {
      luactor_step(host, 10000);
    }
    look_at_program(&during);
    assert_memory_equal(before.action, during.action, sizeof before.action);
    luactor_close(host);
  }
  look_at_program(&after);
  char written[16];
  const ssize_t n = pread(fd, written, sizeof written, 0);
  fflush(stdout);
  dup2(saved, STDOUT_FILENO);
  close(saved);
  close(fd);
  unlink(path);
  assert_int_equal(n, 0);
  assert_memory_equal(before.action, after.action, sizeof before.action);
  assert_memory_equal(&before.mask, &after.mask, sizeof before.mask);
  assert_string_equal(before.locale, after.locale);
  assert_int_equal(before.descriptors, after.descriptors);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_thousand_leave_nothing_behind),
      cmocka_unit_test(all_memory_is_the_embedders),
      cmocka_unit_test(memory_of_hosts_is_not_mixed_up),
      cmocka_unit_test(processes_live_in_the_embedders_memory),
      cmocka_unit_test(memory_may_end_at_any_request),
      cmocka_unit_test(a_host_lives_within_a_limit),
      cmocka_unit_test(signals_streams_and_locale_stay_as_they_are),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Groups as a C program uses them. */
#include <stdlib.h>
#include <unistd.h>

#include "luactor.h"
#include "ends.h"
#include "unit.h"

#define PATIENCE 30000 /* ms; only a failing test waits that long */

static luactor_host *started(int schedulers) {
  luactor_config c;
  luactor_config_init(&c);
  c.schedulers = schedulers;
  c.ignore_env = 1;
  luactor_host *host = NULL;
  assert_int_equal(luactor_open(&c, &host), 0);
  assert_int_equal(luactor_start(host), 0);
  return host;
}

typedef struct {
  _Atomic int calls;
  _Atomic int limit;
  _Atomic uint64_t most;
} met_t;

static void note(void *ud, luactor_group *group, int limit, uint64_t most) {
  met_t *m = ud;
  (void)group;
  m->limit = limit;
  m->most = most;
  m->calls++;
}

static luactor_pid spawn(luactor_group *g, const char *code) {
  luactor_pid pid = 0;
  assert_int_equal(luactor_group_spawn_string(g, code, strlen(code), "=code",
                                              0, NULL, 0, &pid),
                   0);
  return pid;
}

static void assert_reason(luactor_host *host, luactor_pid pid,
                          const char *expected) {
  char *reason = NULL;
  assert_int_equal(wait_text(host, pid, PATIENCE, &reason, NULL), 0);
  assert_string_equal(reason, expected);
  free(reason);
}

static const char eater[] = "local t = {} while true do t[#t + 1] = {} end";
static const char forker[] =
    "local actor = require 'luactor'\n"
    "local function idle() actor.receive('never') end\n"
    "while pcall(actor.spawn, idle) do end\n"
    "idle()";
static const char waiter[] = "require('luactor').receive('never')";

static void ends_at_its_memory(void **state) {
  (void)state;
  luactor_host *host = started(2);
  met_t met = {0};
  luactor_group_options o;
  luactor_group_options_init(&o);
  o.limits[LUACTOR_LIMIT_MEMORY] = 1000000;
  o.on_limit = note;
  o.userdata = &met;
  luactor_group *g;
  assert_int_equal(luactor_group_new(host, &o, &g), 0);
  const luactor_pid idle = spawn(g, waiter);
  const luactor_pid pid = spawn(g, eater);
  assert_reason(host, pid, "{'group_limit', 'memory', 1000000}");
  assert_reason(host, idle, "{'group_limit', 'memory', 1000000}");
  assert_int_equal(met.calls, 1);
  assert_int_equal(met.limit, LUACTOR_LIMIT_MEMORY);
  assert_int_equal(met.most, 1000000);
  luactor_group_info info;
  assert_int_equal(luactor_group_get(g, &info), 0);
  assert_true(info.ended);
  assert_int_equal(luactor_group_spawn_string(g, "", 0, NULL, 0, NULL, 0, NULL),
                   LUACTOR_ELIMIT);
  luactor_group_close(g);
  luactor_close(host);
}

static void counts_to_zero(void **state) {
  (void)state;
  luactor_host *host = started(2);
  luactor_group_options o;
  luactor_group_options_init(&o);
  luactor_group *g;
  assert_int_equal(luactor_group_new(host, &o, &g), 0);
  luactor_group_info info;
  for (int i = 0; i < 100; i++) {
    const luactor_pid pid =
        spawn(g, "local actor = require 'luactor'\n"
                 "for i = 1, 20 do actor.send(actor.self(), i) end\n"
                 "actor.spawn(function() return ('x'):rep(100000) end)\n"
                 "local s = ('x'):rep(1000000)\n"
                 "actor.yield()");
    assert_reason(host, pid, "normal");
  }
  for (int i = 0; i < PATIENCE && luactor_process_count(host) != 0; i++) {
    usleep(1000);
  }
  assert_int_equal(luactor_group_get(g, &info), 0);
  for (int i = 0; i < LUACTOR_NLIMITS; i++) {
    assert_int_equal(info.used[i], 0);
  }
  luactor_group_close(g);
  luactor_close(host);
}

static void refuses_processes(void **state) {
  (void)state;
  luactor_host *host = started(1);
  met_t met = {0};
  luactor_group_options o;
  luactor_group_options_init(&o);
  o.limits[LUACTOR_LIMIT_PROCESSES] = 5;
  o.on_limit = note;
  o.userdata = &met;
  luactor_group *g;
  assert_int_equal(luactor_group_new(host, &o, &g), 0);
  const luactor_pid pid = spawn(g, forker);
  luactor_group_info info;
  for (int i = 0; i < PATIENCE && met.calls == 0; i++) {
    usleep(1000);
  }
  assert_int_equal(met.limit, LUACTOR_LIMIT_PROCESSES);
  assert_int_equal(luactor_group_spawn_string(g, "", 0, NULL, 0, NULL, 0, NULL),
                   LUACTOR_ELIMIT);
  luactor_group_get(g, &info);
  assert_int_equal(info.used[LUACTOR_LIMIT_PROCESSES], 5);
  assert_int_equal(met.calls, 1);
  /* Room at run time. */
  o.limits[LUACTOR_LIMIT_PROCESSES] = 6;
  assert_int_equal(luactor_group_limits(g, &o), 0);
  const luactor_pid sixth = spawn(g, waiter);
  assert_int_equal(luactor_group_kill(g, "enough"), 0);
  assert_reason(host, pid, "enough");
  assert_reason(host, sixth, "enough");
  luactor_group_close(g);
  luactor_close(host);
}

static void counts_in_the_groups_around(void **state) {
  (void)state;
  luactor_host *host = started(2);
  luactor_group_options o;
  luactor_group_options_init(&o);
  o.limits[LUACTOR_LIMIT_MEMORY] = 2000000;
  luactor_group *outer, *inner;
  assert_int_equal(luactor_group_new(host, &o, &outer), 0);
  luactor_group_options_init(&o);
  o.parent = outer;
  assert_int_equal(luactor_group_new(host, &o, &inner), 0);
  const luactor_pid idle = spawn(outer, waiter);
  const luactor_pid pid = spawn(inner, eater);
  assert_reason(host, pid, "{'group_limit', 'memory', 2000000}");
  assert_reason(host, idle, "{'group_limit', 'memory', 2000000}");
  luactor_group_close(inner);
  luactor_group_close(outer);
  luactor_close(host);
}

static void takes_rights_away(void **state) {
  (void)state;
  luactor_host *host = started(2);
  static const char *const names[] = {"string", NULL};
  static const char *const more[] = {"string", "os", NULL};
  static const char *const never[] = {"io", NULL};
  luactor_group_options o;
  luactor_group_options_init(&o);
  luactor_group *g, *within;
  o.sandbox = names;
  assert_int_equal(luactor_group_new(host, &o, &g), LUACTOR_EINVAL);
  o.max_heap = 1000000;
  o.mailbox_limit = 10;
  o.sandbox = never;
  assert_int_equal(luactor_group_new(host, &o, &g), LUACTOR_EINVAL);
  o.sandbox = names;
  assert_int_equal(luactor_group_new(host, &o, &g), 0);
  const luactor_pid pid =
      spawn(g, "require('luactor').exit(tostring(io) .. tostring(table) ..\n"
               "type(string) .. tostring(string.dump))");
  assert_reason(host, pid, "nilniltablenil");
  assert_reason(host, spawn(g, eater), "{'heap_limit', 1000000}");
  o.parent = g;
  o.sandbox = more;
  assert_int_equal(luactor_group_new(host, &o, &within), LUACTOR_EINVAL);
  o.sandbox = names;
  o.max_heap = 2000000;
  assert_int_equal(luactor_group_new(host, &o, &within), LUACTOR_EINVAL);
  o.max_heap = 500000;
  assert_int_equal(luactor_group_new(host, &o, &within), 0);
  assert_reason(host, spawn(within, eater), "{'heap_limit', 500000}");
  luactor_group_close(within);
  luactor_group_close(g);
  luactor_close(host);
}

static void throttles(void **state) {
  (void)state;
  luactor_host *host = started(2);
  luactor_group_options o;
  luactor_group_options_init(&o);
  o.cpu = 0.05;
  luactor_group *g;
  assert_int_equal(luactor_group_new(host, &o, &g), 0);
  luactor_pid pids[10];
  for (int i = 0; i < 10; i++) {
    pids[i] = spawn(g, "while true do end");
  }
  luactor_group_info info;
  do {
    usleep(1000);
    assert_int_equal(luactor_group_get(g, &info), 0);
  } while (info.cpu_ns < 20000000);
  luactor_group_close(g);
  for (int i = 0; i < 10; i++) {
    assert_reason(host, pids[i], "killed");
  }
  luactor_close(host);
}

/* A host that is closed under its groups, held processes and all. */
static void goes_with_its_host(void **state) {
  (void)state;
  for (int i = 0; i < 20; i++) {
    luactor_host *host = started(2);
    luactor_group_options o;
    luactor_group_options_init(&o);
    o.cpu = 0.001;
    luactor_group *g, *within;
    assert_int_equal(luactor_group_new(host, &o, &g), 0);
    o.parent = g;
    assert_int_equal(luactor_group_new(host, &o, &within), 0);
    for (int k = 0; k < 10; k++) {
      spawn(k % 2 == 0 ? g : within, "while true do end");
    }
    usleep(5000);
    luactor_close(host);
  }
}

static void refuses_nonsense(void **state) {
  (void)state;
  luactor_host *host = started(1), *other = started(1);
  luactor_group_options o;
  luactor_group_options_init(&o);
  luactor_group *g = NULL, *at = NULL;
  assert_int_equal(luactor_group_new(NULL, &o, &g), LUACTOR_EINVAL);
  assert_int_equal(luactor_group_new(host, NULL, &g), LUACTOR_EINVAL);
  assert_int_equal(luactor_group_new(host, &o, NULL), LUACTOR_EINVAL);
  o.cpu = -1;
  assert_int_equal(luactor_group_new(host, &o, &g), LUACTOR_EINVAL);
  o.cpu = 0;
  o.size--;
  assert_int_equal(luactor_group_new(host, &o, &g), LUACTOR_EINVAL);
  o.size++;
  assert_int_equal(luactor_group_new(host, &o, &g), 0);
  o.parent = g;
  assert_int_equal(luactor_group_new(other, &o, &at), LUACTOR_EINVAL);
  assert_int_equal(luactor_group_kill(NULL, NULL), LUACTOR_EINVAL);
  assert_int_equal(luactor_group_get(g, NULL), LUACTOR_EINVAL);
  assert_int_equal(luactor_group_limits(NULL, &o), LUACTOR_EINVAL);
  assert_int_equal(luactor_group_spawn_file(g, NULL, 0, NULL, 0, NULL),
                   LUACTOR_EINVAL);
  luactor_group_close(NULL);
  for (int depth = 1; depth < 16; depth++) { /* handles that the host frees */
    o.parent = g;
    assert_int_equal(luactor_group_new(host, &o, &g), 0);
  }
  o.parent = g;
  assert_int_equal(luactor_group_new(host, &o, &at), LUACTOR_ELIMIT);
  luactor_close(other);
  luactor_close(host);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(ends_at_its_memory),
      cmocka_unit_test(counts_to_zero),
      cmocka_unit_test(refuses_processes),
      cmocka_unit_test(counts_in_the_groups_around),
      cmocka_unit_test(takes_rights_away),
      cmocka_unit_test(throttles),
      cmocka_unit_test(goes_with_its_host),
      cmocka_unit_test(refuses_nonsense),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Every function of luactor.h, called as it must not be: an error of the header, or
 * nothing happens; never a crash, never a hang. One row per call: what it gives, and the
 * call. The last test reads the header and misses functions without a row. */
#include <lauxlib.h>
#include <lualib.h>
#include <unistd.h>

#include "misuse-values.h"

enum { SECONDS = 200 };

static luactor_pid dead_pid(luactor_host *host) {
  const luactor_pid pid = spawn(host, "");
  assert_int_equal(luactor_wait(host, pid, PATIENCE, NULL), 0);
  return pid;
}

static uint64_t some_ref(luactor_mailbox *mb) {
  uint64_t ref = 0;
  assert_int_equal(luactor_mailbox_monitor(mb, NOBODY, &ref), 0);
  luactor_value *down = NULL;
  assert_int_equal(luactor_mailbox_receive(mb, PATIENCE, &down), 0);
  luactor_value_free(down);
  return ref;
}

/* ---- inside the host -------------------------------------------------------------- */

/* Functions that wait, from where the host's own code runs. */
static void wait_inside(luactor_host *host, luactor_pid self) {
  luactor_value *out = NULL, *v = value_of_int(1);
  luactor_mailbox *mb = NULL;
  FAILS(ECALLER, luactor_run(host));
  FAILS(ECALLER, luactor_wait_event(host, -1));
  FAILS(ECALLER, luactor_stop(host, -1));
  FAILS(ECALLER, luactor_close(host));
  FAILS(ECALLER, luactor_wait(host, self, -1, &out));
  FAILS(ECALLER, luactor_step(host, -1));
  FAILS(EBUSY, luactor_start(host));
  FAILS(ETIMEOUT, luactor_call(host, self, v, 1, &out));
  luactor_value_free(out);
  out = NULL;
  GIVES(0, luactor_mailbox_open(host, 0, 0, &mb));
  FAILS(ETIMEOUT, luactor_mailbox_receive(mb, 1, &out));
  luactor_mailbox_close(mb);
  luactor_value_free(v);
}

/* ---- native actors ---------------------------------------------------------------- */

typedef struct {
  luactor_actor *self;
  luactor_pid dead;
  uint64_t ref;
} native_t;

/* Called where the actor does not run. */
static void not_running(luactor_actor *self, luactor_pid pid,
                        const luactor_value *v) {
  GIVES(0, luactor_actor_pid(self));
  NULLS(luactor_actor_host(self));
  FAILS(ECALLER, luactor_actor_send(self, pid, v));
  FAILS(ECALLER, luactor_actor_reply(self, nothing, v));
  FAILS(ECALLER, luactor_actor_link(self, pid));
  FAILS(ECALLER, luactor_actor_unlink(self, pid));
  FAILS(ECALLER, luactor_actor_monitor(self, pid, NULL));
  FAILS(ECALLER, luactor_actor_demonitor(self, 0));
  FAILS(ECALLER, luactor_actor_trap_exit(self, 1));
  FAILS(ECALLER, luactor_actor_send_after(self, 1, pid, v, NULL));
  FAILS(ECALLER, luactor_actor_send_every(self, 1, pid, v, NULL));
  FAILS(ECALLER, luactor_actor_cancel(self, 0));
  FAILS(ECALLER, luactor_actor_exit(self, v));
}

static void bad_ids(luactor_actor *self, luactor_pid id,
                    const luactor_value *v) {
  FAILS(EINVAL, luactor_actor_send(self, id, v));
  FAILS(EINVAL, luactor_actor_link(self, id));
  FAILS(EINVAL, luactor_actor_unlink(self, id));
  FAILS(EINVAL, luactor_actor_monitor(self, id, NULL));
  FAILS(EINVAL, luactor_actor_cancel(self, id));
  FAILS(EINVAL, luactor_actor_send_after(self, 1, id, v, NULL));
  FAILS(EINVAL, luactor_actor_send_every(self, 1, id, v, NULL));
}

static void on_start(luactor_actor *self, void *ud) {
  native_t *n = ud;
  const luactor_pid pid = luactor_actor_pid(self);
  luactor_value *v = value_of_int(1);
  n->self = self;
  not_running(NULL, pid, v);
  bad_ids(self, 0, v);
  bad_ids(self, n->ref, v);
  FAILS(EINVAL, luactor_actor_demonitor(self, 0));
  FAILS(EINVAL, luactor_actor_demonitor(self, pid));
  FAILS(EINVAL, luactor_actor_cancel(self, pid));
  GIVES(0, luactor_actor_demonitor(self, n->ref)); /* another's */
  FAILS(EINVAL, luactor_actor_send(self, pid, NULL));
  FAILS(EINVAL, luactor_actor_reply(self, nothing, v));
  FAILS(EINVAL, luactor_actor_reply(self, luactor_view_of(v), NULL));
  static const double times[] = {-1, NAN, INFINITY, -INFINITY, 1e300};
  for (size_t i = 0; i < COUNT(times); i++) {
    FAILS(EINVAL, luactor_actor_send_after(self, times[i], pid, v, NULL));
    FAILS(EINVAL, luactor_actor_send_every(self, times[i], pid, v, NULL));
  }
  FAILS(EINVAL, luactor_actor_send_every(self, 0, pid, v, NULL));
  FAILS(EINVAL, luactor_actor_send_after(self, 1, pid, NULL, NULL));
  FAILS(EINVAL, luactor_actor_send_every(self, 1, pid, NULL, NULL));
  GIVES(0, luactor_actor_send(self, n->dead, v));
  GIVES(0, luactor_actor_unlink(self, n->dead));
  GIVES(0, luactor_actor_monitor(self, n->dead, NULL));
  GIVES(0, luactor_actor_trap_exit(self, 7));
  GIVES(1, luactor_actor_trap_exit(self, 1));
  GIVES(0, luactor_actor_link(self, n->dead)); /* EXIT comes as a message */
  wait_inside(luactor_actor_host(self), pid);
  luactor_value_free(v);
}

static void on_message(luactor_actor *self, luactor_view message, void *ud) {
  const native_t *n = ud;
  if (luactor_is_text(message, "end")) {
    GIVES(0, luactor_actor_exit(self, NULL));
    FAILS(ECLOSED, luactor_actor_exit(self, NULL));
    FAILS(ECLOSED, luactor_actor_link(self, n->dead));
    FAILS(ECLOSED, luactor_actor_unlink(self, n->dead));
    FAILS(ECLOSED, luactor_actor_monitor(self, n->dead, NULL));
    FAILS(ECLOSED, luactor_actor_demonitor(self, n->ref));
    FAILS(ECLOSED, luactor_actor_trap_exit(self, 1));
    FAILS(ECLOSED, luactor_actor_send_after(self, 1, n->dead, NULL, NULL));
    FAILS(ECLOSED, luactor_actor_send_every(self, 1, n->dead, NULL, NULL));
    FAILS(ECLOSED, luactor_actor_cancel(self, 0));
  }
}

/* ---- hosts ------------------------------------------------------------------------ */

static void no_host(void **state) {
  (void)state;
  luactor_value *v = value_of_int(1), *out = NULL;
  luactor_pid pid = 0;
  luactor_group *group = NULL;
  luactor_mailbox *mb = NULL;
  luactor_group_options go;
  luactor_group_options_init(&go);
  const luactor_native native = {.size = sizeof native};
  FAILS(EINVAL, luactor_start(NULL));
  FAILS(EINVAL, luactor_run(NULL));
  FAILS(EINVAL, luactor_step(NULL, 0));
  FAILS(EINVAL, luactor_fd(NULL));
  FAILS(EINVAL, luactor_next_deadline(NULL));
  FAILS(EINVAL, luactor_wait_event(NULL, -1));
  FAILS(EINVAL, luactor_stop(NULL, -1));
  HARMLESS(luactor_halt(NULL, 1));
  GIVES(0, luactor_close(NULL));
  FAILS(EINVAL, luactor_spawn_file(NULL, "x", 0, NULL, 0, &pid));
  FAILS(EINVAL, luactor_spawn_file_opt(NULL, NULL, "x", 0, NULL, 0, &pid));
  FAILS(EINVAL, luactor_spawn_string(NULL, "", 0, "=x", 0, NULL, 0, &pid));
  FAILS(EINVAL,
        luactor_spawn_string_opt(NULL, NULL, "", 0, "=x", 0, NULL, 0, &pid));
  FAILS(EINVAL, luactor_spawn_call(NULL, "a.b", NULL, 0, &pid));
  FAILS(EINVAL, luactor_spawn_call_opt(NULL, NULL, "a.b", NULL, 0, &pid));
  FAILS(EINVAL, luactor_spawn_native(NULL, &native, NULL, &pid));
  FAILS(EINVAL, luactor_spawn_native_opt(NULL, NULL, &native, NULL, &pid));
  FAILS(EINVAL, luactor_wait(NULL, NOBODY, -1, &out));
  FAILS(EINVAL, luactor_group_new(NULL, &go, &group));
  FAILS(EINVAL, luactor_send(NULL, NOBODY, v));
  FAILS(EINVAL, luactor_send_string(NULL, NOBODY, "x", 1));
  FAILS(EINVAL, luactor_whereis(NULL, "x", &pid));
  FAILS(EINVAL, luactor_register(NULL, "x", NOBODY));
  FAILS(EINVAL, luactor_unregister(NULL, "x"));
  GIVES(0, luactor_is_alive(NULL, NOBODY));
  FAILS(EINVAL, luactor_exit(NULL, NOBODY, v));
  FAILS(EINVAL, luactor_call(NULL, NOBODY, v, -1, &out));
  FAILS(EINVAL, luactor_mailbox_open(NULL, 0, 0, &mb));
  FAILS(EINVAL, luactor_add_module(NULL, "x", luaopen_base));
  NULLS(luactor_waiting(NULL));
  GIVES(0, luactor_process_count(NULL));
  luactor_value_free(v);
}

static void configurations(void **state) {
  (void)state;
  luactor_config c;
  luactor_host *host = NULL;
  HARMLESS(luactor_config_init(NULL));
  HARMLESS(luactor_spawn_opts_init(NULL));
  HARMLESS(luactor_group_options_init(NULL));
  HARMLESS(luactor_log_stderr(NULL, 0, NULL, 0));
  HARMLESS(luactor_log_stderr(NULL, -7, NULL, 5));
  luactor_config_init(&c);
  FAILS(EINVAL, luactor_open(NULL, &host));
  FAILS(EINVAL, luactor_open(&c, NULL));
#define BAD(field, value)  \
  luactor_config_init(&c); \
  c.field = (value);       \
  FAILS(EINVAL, luactor_open(&c, &host))
  BAD(size, 0);
  BAD(size, SIZE_MAX);
  BAD(schedulers, -1);
  BAD(schedulers, LUACTOR_MAX_SCHEDULERS + 1);
  BAD(preempt, 7);
  BAD(preempt, -1);
  BAD(reductions, -1);
  BAD(tick_signal, -1);
  BAD(tick_signal, 10000);
  BAD(max_processes, UINT32_MAX);
  BAD(log_options, "loud");
#undef BAD
  assert_null(host);
}

/* What every kind of host refuses. */
static void bad_arguments(luactor_host *host, luactor_pid dead, uint64_t ref) {
  luactor_value *v = value_of_int(1), *out = NULL;
  const luactor_value *const holes[1] = {NULL};
  const char *const no_text[2] = {NULL, NULL};
  luactor_mailbox *mb = NULL;
  luactor_native native = {.size = 0};
  luactor_pid pid = 0;
  const luactor_pid wrong[] = {0, ref, UINT64_MAX, 5};
  for (size_t i = 0; i < COUNT(wrong); i++) {
    const luactor_pid w = wrong[i];
    FAILS(EINVAL, luactor_send(host, w, v));
    FAILS(EINVAL, luactor_send_string(host, w, "x", 1));
    FAILS(EINVAL, luactor_register(host, "x", w));
    GIVES(0, luactor_is_alive(host, w));
    FAILS(EINVAL, luactor_exit(host, w, v));
    FAILS(EINVAL, luactor_call(host, w, v, -1, &out));
    FAILS(ENOPROC, luactor_wait(host, w, -1, &out));
  }
  FAILS(ENOPROC, luactor_wait(host, dead, -1, &out));
  FAILS(ENOPROC, luactor_wait(host, NOBODY, -1, &out));
  FAILS(ENOPROC, luactor_register(host, "x", dead));
  FAILS(ENOPROC, luactor_register(host, "x", NOBODY));
  GIVES(0, luactor_is_alive(host, dead));
  GIVES(0, luactor_exit(host, dead, NULL));
  GIVES(0, luactor_exit(host, NOBODY, v));
  FAILS(EINVAL, luactor_send(host, NOBODY, NULL));
  FAILS(EINVAL, luactor_send_string(host, NOBODY, NULL, 1));
  FAILS(EINVAL, luactor_send_string(host, NOBODY, "", SIZE_MAX));
  FAILS(EINVAL, luactor_whereis(host, NULL, &pid));
  FAILS(ENOPROC, luactor_whereis(host, "", &pid));
  FAILS(ENOPROC, luactor_whereis(host, "nobody", NULL));
  FAILS(EINVAL, luactor_register(host, NULL, NOBODY));
  FAILS(EINVAL, luactor_register(host, "", NOBODY));
  FAILS(EINVAL, luactor_unregister(host, NULL));
  FAILS(ENOPROC, luactor_unregister(host, "nobody"));
  FAILS(EINVAL, luactor_call(host, NOBODY, NULL, -1, &out));
  FAILS(EINVAL, luactor_call(host, NOBODY, v, -1, NULL));
  FAILS(EINVAL, luactor_mailbox_open(host, 0, 0, NULL));
  FAILS(EINVAL, luactor_mailbox_open(host, 0, -1, &mb));
  FAILS(EINVAL, luactor_mailbox_open(host, 0, LUACTOR_OVERFLOW_KILL, &mb));
  FAILS(EINVAL, luactor_mailbox_open(host, UINT32_MAX, 0, &mb));
  FAILS(EINVAL, luactor_add_module(host, NULL, NULL));
  FAILS(EINVAL, luactor_add_module(host, "x", NULL));
  FAILS(EINVAL, luactor_spawn_file(host, NULL, 0, NULL, 0, &pid));
  FAILS(EINVAL, luactor_spawn_file(host, "x", -1, NULL, 0, &pid));
  FAILS(EINVAL, luactor_spawn_file(host, "x", 1, NULL, 0, &pid));
  FAILS(EINVAL, luactor_spawn_file(host, "x", 1, no_text, 0, &pid));
  FAILS(EINVAL, luactor_spawn_file_opt(host, NULL, NULL, 0, NULL, 0, NULL));
  FAILS(EINVAL, luactor_spawn_string(host, NULL, 0, NULL, 0, NULL, 0, &pid));
  FAILS(EINVAL, luactor_spawn_string(host, "", 0, NULL, 2, no_text, 0, &pid));
  FAILS(EINVAL,
        luactor_spawn_string_opt(host, NULL, "", 0, NULL, 0, NULL, -1, NULL));
  FAILS(EINVAL, luactor_spawn_call(host, NULL, NULL, 0, &pid));
  FAILS(EINVAL, luactor_spawn_call(host, "nodot", NULL, 0, &pid));
  FAILS(EINVAL, luactor_spawn_call(host, "a.b", NULL, 1, &pid));
  FAILS(EINVAL, luactor_spawn_call(host, "a.b", NULL, -1, &pid));
  FAILS(EINVAL, luactor_spawn_call(host, "a.b", holes, 201, &pid));
  FAILS(EINVAL, luactor_spawn_call(host, "a.b", holes, 1, &pid));
  FAILS(EINVAL, luactor_spawn_call_opt(host, NULL, "a.b", holes, 1, NULL));
  FAILS(EINVAL, luactor_spawn_native(host, NULL, NULL, &pid));
  FAILS(EINVAL, luactor_spawn_native(host, &native, NULL, &pid));
  FAILS(EINVAL, luactor_spawn_native_opt(host, NULL, &native, NULL, NULL));
  assert_true(out == NULL && mb == NULL && pid == 0);
  luactor_value_free(v);
}

static void bad_options(luactor_host *host, luactor_host *other) {
  luactor_spawn_opts o;
  luactor_group_options go;
  luactor_group *group = NULL;
  const luactor_native native = {.size = sizeof native};
#define BAD(field, value)                                                  \
  luactor_spawn_opts_init(&o);                                             \
  o.field = (value);                                                       \
  FAILS(EINVAL, luactor_spawn_file_opt(host, &o, "x", 0, NULL, 0, NULL));  \
  FAILS(EINVAL,                                                            \
        luactor_spawn_string_opt(host, &o, "", 0, "=", 0, NULL, 0, NULL)); \
  FAILS(EINVAL, luactor_spawn_call_opt(host, &o, "a.b", NULL, 0, NULL));   \
  FAILS(EINVAL, luactor_spawn_native_opt(host, &o, &native, NULL, NULL))
  BAD(size, 0);
  BAD(size, SIZE_MAX);
  BAD(name, "");
  BAD(priority, 9);
  BAD(priority, -9);
  BAD(mailbox_limit, UINT32_MAX);
  BAD(mailbox_overflow, 9);
  BAD(mailbox_overflow, -1);
  luactor_group_options_init(&go);
  assert_int_equal(luactor_group_new(other, &go, &group), 0);
  BAD(group, group);
#undef BAD
  go.parent = group; /* of another host */
  luactor_group *none = NULL;
  FAILS(EINVAL, luactor_group_new(host, &go, &none));
  assert_null(none);
  luactor_group_close(group);
}

static void threaded_host(void **state) {
  (void)state;
  luactor_host *host = started_host(1), *other = open_host(1);
  luactor_mailbox *mb = mailbox(host);
  bad_arguments(host, dead_pid(host), some_ref(mb));
  bad_options(host, other);
  FAILS(EBUSY, luactor_start(host));
  FAILS(EBUSY, luactor_step(host, -1));
  FAILS(EBUSY, luactor_fd(host));
  FAILS(EBUSY, luactor_next_deadline(host));
  const luactor_pid pid = spawn(host, "actor.receive()");
  FAILS(ETIMEOUT, luactor_wait(host, pid, 0, NULL));
  GIVES(0, luactor_exit(host, pid, NULL));
  GIVES(0, luactor_register(host, "mine", pid));
  FAILS(ENAME, luactor_register(host, "mine", pid));
  FAILS(ENAME, luactor_register(host, "second", pid));
  luactor_mailbox_close(mb);
  GIVES(0, luactor_close(other));
  GIVES(0, luactor_close(host));
}

/* What a host that runs nothing any more says. */
static void closed_to_all(luactor_host *host, luactor_mailbox *mb) {
  luactor_value *v = value_of_int(1), *out = NULL;
  luactor_mailbox *more = NULL;
  luactor_pid pid = 0;
  const luactor_native native = {.size = sizeof native};
  FAILS(ECLOSED, luactor_send(host, NOBODY, v));
  FAILS(ECLOSED, luactor_send_string(host, NOBODY, "x", 1));
  FAILS(ECLOSED, luactor_call(host, NOBODY, v, -1, &out));
  FAILS(ECLOSED, luactor_mailbox_open(host, 0, 0, &more));
  FAILS(ECLOSED, luactor_mailbox_monitor(mb, NOBODY, NULL));
  FAILS(ECLOSED, luactor_mailbox_receive(mb, -1, &out));
  FAILS(ECLOSED, luactor_spawn_file(host, "x", 0, NULL, 0, &pid));
  FAILS(ECLOSED, luactor_spawn_string(host, "", 0, "=", 0, NULL, 0, &pid));
  FAILS(ECLOSED, luactor_spawn_call(host, "a.b", NULL, 0, &pid));
  FAILS(ECLOSED, luactor_spawn_native(host, &native, NULL, &pid));
  FAILS(ENOPROC, luactor_wait(host, NOBODY, -1, &out));
  FAILS(ENOPROC, luactor_whereis(host, "x", &pid));
  GIVES(-1, luactor_next_deadline(host));
  HARMLESS(luactor_halt(host, 9));
  GIVES(0, luactor_stop(host, -1));
  GIVES(0, luactor_stop(host, 0));
  assert_true(out == NULL && more == NULL && pid == 0);
  luactor_value_free(v);
}

static void a_host_that_was_never_started(void **state) {
  (void)state;
  luactor_host *host = open_host(1), *other = open_host(1);
  luactor_mailbox *mb = mailbox(host);
  const uint64_t ref = some_ref(mb);
  luactor_value *v = value_of_int(1), *out = NULL;
  bad_arguments(host, NOBODY, ref);
  bad_options(host, other);
  FAILS(EINVAL, luactor_wait_event(host, -1));
  const luactor_pid pid = spawn(host, "");
  FAILS(ETIMEOUT, luactor_wait(host, pid, 1, &out));
  FAILS(ETIMEOUT, luactor_call(host, pid, v, 1, &out));
  luactor_value_free(out);
  luactor_value_free(v);
  char *text = luactor_waiting(host);
  assert_non_null(text);
  free(text);
  GIVES(0, luactor_stop(host, -1));
  FAILS(ECLOSED, luactor_start(host));
  FAILS(ECLOSED, luactor_step(host, 0));
  FAILS(ECLOSED, luactor_fd(host));
  GIVES(0, luactor_run(host));
  closed_to_all(host, mb);
  luactor_mailbox_close(mb);
  GIVES(0, luactor_close(other));
  GIVES(0, luactor_close(host));
}

static void a_halted_host(void **state) {
  (void)state;
  luactor_host *host = started_host(1);
  luactor_mailbox *mb = mailbox(host);
  HARMLESS(luactor_halt(host, 3));
  HARMLESS(luactor_halt(host, 4));
  GIVES(LUACTOR_EVENT_HALTED, luactor_wait_event(host, -1));
  GIVES(3, luactor_run(host));
  FAILS(EBUSY, luactor_start(host));
  closed_to_all(host, mb);
  luactor_mailbox_close(mb);
  GIVES(0, luactor_close(host));
}

static void a_stopped_host(void **state) {
  (void)state;
  luactor_host *host = started_host(1);
  luactor_mailbox *mb = mailbox(host);
  GIVES(0, luactor_stop(host, PATIENCE));
  GIVES(LUACTOR_EVENT_DONE, luactor_wait_event(host, -1));
  GIVES(0, luactor_run(host));
  FAILS(EBUSY, luactor_start(host));
  closed_to_all(host, mb);
  luactor_mailbox_close(mb);
  GIVES(0, luactor_close(host));
}

static void *step_elsewhere(void *host) {
  FAILS(ECALLER, luactor_step(host, 0));
  return NULL;
}

static void a_stepped_host(void **state) {
  (void)state;
  luactor_host *host = open_host(1);
  luactor_mailbox *mb = mailbox(host);
  const luactor_pid pid = spawn(host, "");
  assert_true(luactor_step(host, -1) >= 0);
  bad_arguments(host, dead_pid(host), some_ref(mb));
  FAILS(EBUSY, luactor_start(host));
  GIVES(0, luactor_wait(host, pid, -1, NULL));
  const luactor_native on = {sizeof on, on_start, on_message, NULL};
  native_t n = {NULL, pid, some_ref(mb)};
  assert_int_equal(luactor_spawn_native(host, &on, &n, NULL), 0);
  assert_true(luactor_step(host, -1) >= 0);
  assert_non_null(n.self);
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, step_elsewhere, host), 0);
  pthread_join(thread, NULL);
  HARMLESS(luactor_halt(host, 3));
  GIVES(LUACTOR_STEP_DONE, luactor_step(host, -1));
  GIVES(3, luactor_run(host));
  closed_to_all(host, mb);
  luactor_mailbox_close(mb);
  GIVES(0, luactor_close(host));
}

static void groups(void **state) {
  (void)state;
  luactor_host *host = started_host(1);
  luactor_group_options o;
  luactor_group_info info;
  luactor_group *g = NULL;
  luactor_pid pid = 0;
  static const char *const none[] = {"no-such-right!", NULL};
  luactor_group_options_init(&o);
  FAILS(EINVAL, luactor_group_new(host, NULL, &g));
  FAILS(EINVAL, luactor_group_new(host, &o, NULL));
  FAILS(EINVAL, luactor_group_spawn_file(NULL, "x", 0, NULL, 0, &pid));
  FAILS(EINVAL, luactor_group_spawn_string(NULL, "", 0, "=", 0, NULL, 0, &pid));
  FAILS(EINVAL, luactor_group_limits(NULL, &o));
  FAILS(EINVAL, luactor_group_get(NULL, &info));
  FAILS(EINVAL, luactor_group_kill(NULL, NULL));
  HARMLESS(luactor_group_close(NULL));
#define BAD(field, value)         \
  luactor_group_options_init(&o); \
  o.field = (value);              \
  FAILS(EINVAL, luactor_group_new(host, &o, &g))
  BAD(size, 0);
  BAD(cpu, -1);
  BAD(cpu, NAN);
  BAD(cpu, INFINITY);
  BAD(cpu, 1e-9);
  BAD(sandbox, none); /* without max_heap and mailbox_limit */
#undef BAD
  assert_null(g);
  luactor_group_options_init(&o);
  assert_int_equal(luactor_group_new(host, &o, &g), 0);
  FAILS(EINVAL, luactor_group_spawn_file(g, NULL, 0, NULL, 0, &pid));
  FAILS(EINVAL, luactor_group_spawn_file(g, "x", 1, NULL, 0, &pid));
  FAILS(EINVAL, luactor_group_spawn_string(g, NULL, 0, "=", 0, NULL, 0, &pid));
  FAILS(EINVAL, luactor_group_limits(g, NULL));
  FAILS(EINVAL, luactor_group_get(g, NULL));
  GIVES(0, luactor_group_kill(g, NULL));
  GIVES(0, luactor_group_kill(g, "twice"));
  FAILS(ELIMIT, luactor_group_spawn_string(g, "", 0, "=", 0, NULL, 0, &pid));
  FAILS(ELIMIT, luactor_group_spawn_file(g, "x", 0, NULL, 0, &pid));
  GIVES(0, luactor_stop(host, 0));
  GIVES(0, luactor_group_get(g, &info));
  GIVES(0, luactor_group_kill(g, NULL));
  HARMLESS(luactor_group_close(g));
  GIVES(0, luactor_close(host));
}

/* ---- mailboxes -------------------------------------------------------------------- */

static void mailboxes(void **state) {
  (void)state;
  luactor_host *host = started_host(1);
  luactor_mailbox *mb = mailbox(host);
  luactor_value *v = value_of_int(1), *out = NULL;
  const luactor_view view = luactor_view_of(v);
  const luactor_pid dead = dead_pid(host);
  const uint64_t ref = some_ref(mb);
  HARMLESS(luactor_mailbox_close(NULL));
  GIVES(0, luactor_mailbox_address(NULL));
  FAILS(EINVAL, luactor_mailbox_receive(NULL, -1, &out));
  FAILS(EINVAL, luactor_mailbox_fd(NULL));
  FAILS(EINVAL, luactor_mailbox_monitor(NULL, dead, NULL));
  FAILS(EINVAL, luactor_mailbox_demonitor(NULL, ref));
  FAILS(EINVAL, luactor_mailbox_reply(NULL, view, v));
  FAILS(EINVAL, luactor_mailbox_receive(mb, -1, NULL));
  FAILS(ETIMEOUT, luactor_mailbox_receive(mb, 0, &out));
  FAILS(EINVAL, luactor_mailbox_monitor(mb, 0, NULL));
  FAILS(EINVAL, luactor_mailbox_monitor(mb, ref, NULL));
  FAILS(EINVAL, luactor_mailbox_monitor(mb, luactor_mailbox_address(mb), NULL));
  FAILS(EINVAL, luactor_mailbox_demonitor(mb, 0));
  FAILS(EINVAL, luactor_mailbox_demonitor(mb, dead));
  FAILS(ENOENT, luactor_mailbox_demonitor(mb, ref));
  FAILS(EINVAL, luactor_mailbox_reply(mb, nothing, v));
  FAILS(EINVAL, luactor_mailbox_reply(mb, view, NULL));
  luactor_value *from = NULL;
  assert_int_equal(luactor_make(&from, "{r r}", ref, ref), 0);
  FAILS(EINVAL, luactor_mailbox_reply(mb, luactor_view_of(from), v));
  GIVES(0, luactor_mailbox_monitor(mb, dead, NULL));
  assert_int_equal(luactor_mailbox_receive(mb, PATIENCE, &out), 0);
  luactor_value_free(out);
  GIVES(0, luactor_close(host));
  out = NULL;
  GIVES(0, luactor_mailbox_address(mb));
  FAILS(ECLOSED, luactor_mailbox_receive(mb, -1, &out));
  FAILS(ECLOSED, luactor_mailbox_monitor(mb, dead, NULL));
  FAILS(ECLOSED, luactor_mailbox_demonitor(mb, ref));
  FAILS(ECLOSED, luactor_mailbox_reply(mb, luactor_view_of(from), v));
  GIVES(1, luactor_mailbox_fd(mb) >= 0);
  HARMLESS(luactor_mailbox_close(mb));
  luactor_value_free(from);
  luactor_value_free(v);
}

/* ---- functions of C modules ------------------------------------------------------- */

static luactor_token *first, *second, *left;

static int l_misuse(lua_State *L) {
  luactor_host *host = NULL;
  luactor_pid pid = 0;
  luactor_value *out = NULL;
  GIVES(0, luactor_process_of(L, NULL, NULL));
  GIVES(0, luactor_process_of(L, &host, &pid));
  FAILS(ECALLER, luactor_process_of(NULL, &host, &pid));
  FAILS(EINVAL, luactor_push_value(L, NULL));
  FAILS(EINVAL, luactor_push_view(L, nothing));
  FAILS(EINVAL, luactor_to_value(L, 1, NULL));
  FAILS(EINVAL, luactor_to_value(L, 0, &out));
  FAILS(EINVAL, luactor_to_value(L, 99, &out));
  FAILS(EINVAL, luactor_to_value(L, -99, &out));
  FAILS(EINVAL, luactor_to_value(L, LUA_REGISTRYINDEX, &out));
  FAILS(EINVAL, luactor_suspend(L, NULL));
  lua_pushcfunction(L, luactor_await); /* without a token */
  GIVES(LUA_ERRRUN, lua_pcall(L, 0, 0, 0));
  lua_pop(L, 1);
  wait_inside(host, pid);
  return 0;
}

static int l_wait(lua_State *L) {
  luactor_value *v = value_of_int(1);
  GIVES(0, luactor_suspend(L, &first));
  GIVES(0, luactor_suspend(L, &second)); /* the last one counts */
  GIVES(0, luactor_resume(first, v));
  GIVES(0, luactor_resume(second, v));
  FAILS(EDONE, luactor_resume(second, v));
  FAILS(EDONE, luactor_resume_error(second, NULL));
  luactor_value_free(v);
  return luactor_await(L);
}

static int l_leave(lua_State *L) {
  return luactor_suspend(L, &left);
}

static int open_misuse(lua_State *L) {
  static const luaL_Reg list[] = {
      {"misuse", l_misuse}, {"wait", l_wait}, {"leave", l_leave}, {NULL, NULL}};
  luaL_newlib(L, list);
  return 1;
}

static void functions_of_modules(void **state) {
  (void)state;
  luactor_host *host = started_host(1);
  luactor_value *v = value_of_int(1), *out = NULL;
  GIVES(0, luactor_add_module(host, "misuse", open_misuse));
  FAILS(ENAME, luactor_add_module(host, "misuse", open_misuse));
  luactor_pid pid = spawn(host,
                          "local m = require 'misuse' m.misuse()"
                          "assert(m.wait() == 1) m.leave()");
  assert_int_equal(luactor_wait(host, pid, PATIENCE, &out), 0);
  expect_print(luactor_view_of(out), "'normal'");
  luactor_value_free(out);
  HARMLESS(luactor_token_free(first));
  HARMLESS(luactor_token_free(second));
  FAILS(ENOPROC, luactor_resume(left, v)); /* it has ended */
  FAILS(EDONE, luactor_resume(left, v));
  HARMLESS(luactor_token_free(left));
  pid = spawn(host, "require 'misuse'.leave()");
  assert_int_equal(luactor_wait(host, pid, PATIENCE, NULL), 0);
  GIVES(0, luactor_close(host));
  FAILS(ECLOSED, luactor_resume(left, v));
  FAILS(ECLOSED, luactor_resume_error(left, NULL));
  HARMLESS(luactor_token_free(left));
  luactor_value_free(v);
}

/* A state that no process has. */
static void states_of_others(void **state) {
  (void)state;
  lua_State *L = luaL_newstate();
  luactor_value *v = value_of_int(1), *out = NULL;
  luactor_token *t = NULL;
  lua_State *const states[] = {NULL, L};
  for (size_t i = 0; i < COUNT(states); i++) {
    FAILS(ECALLER, luactor_push_value(states[i], v));
    FAILS(ECALLER, luactor_push_view(states[i], luactor_view_of(v)));
    FAILS(ECALLER, luactor_to_value(states[i], 1, &out));
    FAILS(ECALLER, luactor_process_of(states[i], NULL, NULL));
    FAILS(ECALLER, luactor_suspend(states[i], &t));
  }
  FAILS(ECALLER, luactor_await(NULL));
  lua_pushcfunction(L, luactor_await);
  assert_int_equal(lua_pcall(L, 0, 0, 0), LUA_ERRRUN);
  FAILS(EINVAL, luactor_resume(NULL, v));
  FAILS(EINVAL, luactor_resume_error(NULL, v));
  HARMLESS(luactor_token_free(NULL));
  assert_true(out == NULL && t == NULL);
  lua_close(L);
  luactor_value_free(v);
}

static void native_actors(void **state) {
  (void)state;
  luactor_host *host = started_host(1);
  luactor_mailbox *mb = mailbox(host);
  native_t n = {NULL, dead_pid(host), some_ref(mb)};
  const luactor_native on = {sizeof on, on_start, on_message, NULL};
  luactor_pid pid = 0;
  assert_int_equal(luactor_spawn_native(host, &on, &n, &pid), 0);
  luactor_value *v = text_value("end"), *out = NULL;
  assert_int_equal(luactor_send(host, pid, v), 0);
  assert_int_equal(luactor_wait(host, pid, PATIENCE, &out), 0);
  expect_print(luactor_view_of(out), "'normal'");
  not_running(n.self, pid, v);
  not_running(NULL, pid, v);
  luactor_value_free(out);
  luactor_value_free(v);
  luactor_mailbox_close(mb);
  GIVES(0, luactor_close(host));
}

/* ---- nothing is left out ---------------------------------------------------------- */

static void every_function_of_the_header_has_a_row(void **state) {
  (void)state;
  FILE *f = fopen(LUACTOR_HEADER, "r");
  char line[512];
  int missing = 0, n = 0;
  assert_non_null(f);
  while (fgets(line, sizeof line, f) != NULL) {
    const char *at = strncmp(line, "LUACTOR_API ", 12) == 0
                         ? strstr(line, "luactor_")
                         : NULL;
    for (; at != NULL; at = strstr(at + 1, "luactor_")) {
      const size_t len = strspn(at, "abcdefghijklmnopqrstuvwxyz_");
      if (at[len] == '(') {
        n++;
        if (!was_called(at, len)) {
          print_error("no row for %.*s\n", (int)len, at);
          missing++;
        }
      }
    }
  }
  fclose(f);
  assert_true(n > 100);
  assert_int_equal(missing, 0);
}

int main(void) {
#define ROWS(test) cmocka_unit_test_teardown(test, end_rows)
  const struct CMUnitTest tests[] = {
      ROWS(no_host),
      ROWS(configurations),
      ROWS(threaded_host),
      ROWS(a_host_that_was_never_started),
      ROWS(a_halted_host),
      ROWS(a_stopped_host),
      ROWS(a_stepped_host),
      ROWS(groups),
      ROWS(views),
      ROWS(builders),
      ROWS(formats),
      ROWS(mailboxes),
      ROWS(functions_of_modules),
      ROWS(states_of_others),
      ROWS(native_actors),
      cmocka_unit_test(every_function_of_the_header_has_a_row),
  };
  alarm(SECONDS); /* what hangs ends */
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What the tests of luactor.h share: a host, processes from text, their ends. */
#ifndef LA_TEST_HOST_H
#define LA_TEST_HOST_H

#include "luactor.h"
#include "unit.h"

#define PATIENCE 30000 /* ms; only a failing test waits that long */

static void no_log(void *ud, int level, const char *text, size_t len) {
  (void)ud;
  (void)level;
  (void)text;
  (void)len;
}

static inline luactor_host *open_host(int schedulers) {
  luactor_config c;
  luactor_host *host = NULL;
  luactor_config_init(&c);
  c.schedulers = schedulers;
  c.ignore_env = 1;
  c.log = no_log;
  assert_int_equal(luactor_open(&c, &host), 0);
  return host;
}

static inline luactor_host *started_host(int schedulers) {
  luactor_host *host = open_host(schedulers);
  assert_int_equal(luactor_start(host), 0);
  return host;
}

#define PRELUDE \
  "local actor = require 'luactor' local V, on = actor.var, actor.on "

static inline luactor_pid spawn(luactor_host *host, const char *code) {
  char text[4096];
  luactor_pid pid = 0;
  const int n = snprintf(text, sizeof text, PRELUDE "%s", code);
  assert_true(n > 0 && n < (int)sizeof text);
  assert_int_equal(luactor_spawn_string(host, text, (size_t)n, "=test", 0,
                                        NULL, 0, &pid),
                   0);
  return pid;
}

static inline luactor_value *value_of_int(int n) {
  luactor_value *v = NULL;
  assert_int_equal(luactor_make(&v, "i", n), 0);
  return v;
}

/* Send and free. */
static inline void send_made(luactor_host *host, luactor_pid to,
                             luactor_value *v) {
  assert_non_null(v);
  assert_int_equal(luactor_send(host, to, v), 0);
  luactor_value_free(v);
}

static inline void expect_print(luactor_view v, const char *want) {
  char text[2048];
  luactor_print(v, text, sizeof text);
  assert_string_equal(text, want);
}

/* The next message prints so. */
static inline void expect_message(luactor_mailbox *mb, const char *want) {
  luactor_value *v = NULL;
  assert_int_equal(luactor_mailbox_receive(mb, PATIENCE, &v), 0);
  expect_print(luactor_view_of(v), want);
  luactor_value_free(v);
}

static inline luactor_mailbox *mailbox(luactor_host *host) {
  luactor_mailbox *mb = NULL;
  assert_int_equal(luactor_mailbox_open(host, 0, 0, &mb), 0);
  assert_non_null(mb);
  return mb;
}

/* { name = mailbox } becomes the message that a process of 'code' gets first. */
static inline luactor_pid spawn_with(luactor_host *host, luactor_mailbox *mb,
                                     const char *code) {
  char text[4096];
  snprintf(text, sizeof text, "local mb = actor.receive() %s", code);
  const luactor_pid pid = spawn(host, text);
  luactor_value *v;
  assert_int_equal(luactor_make(&v, "p", luactor_mailbox_address(mb)), 0);
  send_made(host, pid, v);
  return pid;
}

#endif

/* A native actor: a process whose code is C. A Lua script finds it by its name,
 * calls it and monitors it as it would any other. */
#include <luactor.h>
#include <stdio.h>
#include <string.h>

typedef struct {
  int64_t sum;
} counter_t;

static void on_start(luactor_actor *self, void *userdata) {
  (void)userdata;
  luactor_register(luactor_actor_host(self), "counter",
                   luactor_actor_pid(self));
}

static void on_message(luactor_actor *self, luactor_view message,
                       void *userdata) {
  counter_t *counter = userdata;
  luactor_view from, request, amount;
  luactor_value *answer;
  int64_t n;
  if (luactor_is_call(message, &from, &request) &&
      luactor_get_index(request, 2, &amount) == 0 &&
      luactor_get_integer(amount, &n) == 0) {
    counter->sum += n;
    if (luactor_make(&answer, "I", counter->sum) == 0) {
      luactor_actor_reply(self, from, answer);
      luactor_value_free(answer);
    }
  } else if (luactor_is_text(message, "stop")) {
    luactor_actor_exit(self, NULL);
  }
}

static void on_exit_(luactor_actor *self, luactor_view reason,
                     void *userdata) {
  char text[100];
  (void)self;
  luactor_print(reason, text, sizeof text);
  printf("the counter ends with %s at %d\n", text,
         (int)((counter_t *)userdata)->sum);
}

static const char script[] =
    "local actor = require 'luactor'\n"
    "local V = actor.var\n"
    "local counter = actor.whereis 'counter'\n"
    "print(actor.call(counter, { 'add', 40 }))\n"
    "print(actor.call('counter', { 'add', 2 }))\n"
    "local ref = actor.monitor(counter)\n"
    "actor.send(counter, 'stop')\n"
    "local why = actor.receive { 'DOWN', ref, 'process', counter, V.why }\n"
    "print('Lua saw it end: ' .. why)\n";

int main(void) {
  const luactor_native callbacks = {sizeof callbacks, on_start, on_message,
                                    on_exit_};
  luactor_spawn_opts options;
  luactor_config config;
  luactor_host *host;
  luactor_pid pid;
  counter_t counter = {0};

  luactor_config_init(&config);
  config.schedulers = 1; /* so that the counter starts before the script */
  config.log = luactor_log_stderr;
  config.flush_stdio = 1;
  luactor_spawn_opts_init(&options);
  options.label = "a counter in C";
  if (luactor_open(&config, &host) != 0 ||
      luactor_spawn_native_opt(host, &options, &callbacks, &counter, &pid) !=
          0) {
    return 1;
  }
  luactor_start(host);
  while (luactor_whereis(host, "counter", &pid) != 0) {
  }
  luactor_spawn_string(host, script, strlen(script), "=script", 0, NULL, 0,
                       &pid);
  luactor_wait(host, pid, -1, NULL);
  fflush(stdout);
  luactor_close(host);
  return 0;
}

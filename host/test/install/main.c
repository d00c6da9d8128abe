/* A program outside this project that uses the installed library: two hosts,
 * one after the other in creation and side by side in time. */
#include <luactor.h>
#include <stdio.h>
#include <string.h>

static const char code[] =
    "local actor = require 'luactor'\n"
    "local me = actor.self()\n"
    "actor.spawn(function() actor.send(me, 'ready') end)\n"
    "assert(actor.receive() == 'ready')\n"
    "actor.halt(...)\n";

static luactor_host *begin(const char *status) {
  const char *args[] = {"embedded", status};
  luactor_config config;
  luactor_host *host = NULL;
  luactor_config_init(&config);
  config.schedulers = 1;
  if (luactor_open(&config, &host) != 0 ||
      luactor_spawn_string(host, code, strlen(code), "=embedded", 2, args, 0,
                           NULL) != 0 ||
      luactor_start(host) != 0) {
    return NULL;
  }
  return host;
}

int main(void) {
  luactor_host *a = begin("3");
  luactor_host *b = begin("4");
  if (a == NULL || b == NULL) {
    return 1;
  }
  const int status_a = luactor_run(a);
  const int status_b = luactor_run(b);
  luactor_close(a);
  luactor_close(b);
  printf("%s: %d %d\n", luactor_version(), status_a, status_b);
  return status_a == 3 && status_b == 4 ? 0 : 1;
}

/* A host in a loop of libuv: one uv_poll_t runs it, timers of the program go on beside it.
 *
 *   cc libuv.c $(pkg-config --cflags --libs luactor libuv) -o libuv && ./libuv */
#include <luactor.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

static const char clock_code[] =
    "local actor = require 'luactor'\n"
    "for i = 1, 3 do\n"
    "  actor.sleep(10)\n"
    "  print('the actor: ' .. i)\n"
    "end\n"
    "local sum = actor.blocking(function()\n" /* in a thread of its own */
    "  local sum = 0\n"
    "  for i = 1, 1e6 do sum = sum + i end\n"
    "  return sum\n"
    "end)\n"
    "print(('the actor: %d'):format(sum))\n";

typedef struct program {
  luactor_host *host;
  uv_poll_t poll;
  uv_timer_t timer;
  int beats;
} program_t;

static void on_host(uv_poll_t *poll, int status, int events) {
  program_t *p = poll->data;
  (void)status;
  (void)events;
  const int left = luactor_step(p->host, 1000);
  if (left < 0) {
    fprintf(stderr, "luactor_step: %s\n", luactor_strerror(left));
  }
  if (left <= LUACTOR_STEP_DONE) {
    uv_close((uv_handle_t *)&p->poll, NULL);
    uv_close((uv_handle_t *)&p->timer, NULL);
  }
}

static void on_beat(uv_timer_t *timer) {
  ((program_t *)timer->data)->beats++;
}

int main(void) {
  program_t p = {0};
  luactor_config config;
  luactor_config_init(&config);
  config.log = luactor_log_stderr;
  int code = luactor_open(&config, &p.host);
  if (code == 0) {
    code = luactor_spawn_string(p.host, clock_code, strlen(clock_code),
                                "=clock", 0, NULL, 0, NULL);
  }
  if (code != 0) {
    fprintf(stderr, "%s\n", luactor_strerror(code));
    return 1;
  }
  uv_loop_t *loop = uv_default_loop();
  uv_poll_init(loop, &p.poll, luactor_fd(p.host));
  uv_timer_init(loop, &p.timer);
  p.poll.data = p.timer.data = &p;
  uv_poll_start(&p.poll, UV_READABLE, on_host);
  uv_timer_start(&p.timer, on_beat, 1, 1);
  uv_run(loop, UV_RUN_DEFAULT);
  printf("the program went on meanwhile: %s\n", p.beats > 0 ? "yes" : "no");
  uv_loop_close(loop);
  return luactor_close(p.host) == 0 ? 0 : 1;
}

/* A program that does something every frame, such as a game, and gives the actors what is
 * left of its time. No descriptor is needed, only luactor_step.
 *
 *   cc plain.c $(pkg-config --cflags --libs luactor) -o plain && ./plain */
#include <luactor.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#define FRAME_US 2000

static const char monsters[] =
    "local actor = require 'luactor'\n"
    "local me = actor.self()\n"
    "for i = 1, 3 do\n"
    "  actor.spawn(function()\n"
    "    local steps = 0\n"
    "    for k = 1, 200000 * i do steps = steps + k % 2 end\n" /* thinks */
    "    actor.sleep(5)\n"
    "    actor.send(me, { i, steps })\n"
    "  end)\n"
    "end\n"
    "for i = 1, 3 do\n"
    "  local steps = actor.receive { i, actor.var.steps }\n"
    "  print(('monster %d has made %d steps'):format(i, steps))\n"
    "end\n";

int main(void) {
  luactor_config config;
  luactor_host *host;
  luactor_config_init(&config);
  config.log = luactor_log_stderr;
  int left = luactor_open(&config, &host);
  if (left == 0) {
    left = luactor_spawn_string(host, monsters, strlen(monsters), "=monsters",
                                0, NULL, 0, NULL);
  }
  int frames = 0;
  for (;;) {
    left = luactor_step(host, FRAME_US);
    if (left < 0) {
      fprintf(stderr, "%s\n", luactor_strerror(left));
      return 1;
    }
    frames++; /* here the program would draw */
    if (left == LUACTOR_STEP_IDLE) {
      poll(NULL, 0, 1); /* the rest of the frame */
    } else if (left == LUACTOR_STEP_DONE) {
      break;
    }
  }
  printf("it took %s frame\n", frames > 1 ? "more than one" : "one");
  return luactor_close(host) == 0 ? 0 : 1;
}

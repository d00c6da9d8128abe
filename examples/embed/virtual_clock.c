/* A day in no time, and the same day twice: the host runs on a clock of the program's, which
 * moves only when no actor has anything left to do, and on a seed. So timers
 * of hours pass at once, and both runs print the same.
 *
 *   cc virtual_clock.c $(pkg-config --cflags --libs luactor) -o virtual_clock */
#include <luactor.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char day[] =
    "local actor = require 'luactor'\n"
    "local start = actor.now()\n"
    "local function say(...)\n"
    "  local h = (actor.now() - start) / 3600e3\n"
    "  print(('%05.2f'):format(h), ...)\n"
    "end\n"
    "local shop = actor.spawn(function()\n"
    "  local sold = 0\n"
    "  while actor.receive('sold', 8 * 3600e3) do sold = sold + 1 end\n"
    "  say('shop', 'nobody has come for 8 hours; sold: ' .. sold)\n"
    "end)\n"
    "for i = 1, 3 do\n"
    "  actor.spawn(function()\n"
    "    for _ = 1, math.random(3) do\n"
    "      actor.sleep(math.random(4 * 3600) * 1000)\n"
    "      say('customer ' .. i, 'buys')\n"
    "      actor.send(shop, 'sold')\n"
    "    end\n"
    "  end)\n"
    "end\n";

static uint64_t clock_of(void *now) {
  return *(uint64_t *)now;
}

static int run(uint64_t seed) {
  uint64_t now = 0;
  luactor_config config;
  luactor_host *host;
  luactor_config_init(&config);
  config.clock = clock_of;
  config.clock_userdata = &now;
  config.seed = seed;
  int left = luactor_open(&config, &host);
  if (left == 0) {
    left = luactor_spawn_string(host, day, strlen(day), "=day", 0, NULL, 0,
                                NULL);
  }
  if (left != 0) {
    fprintf(stderr, "%s\n", luactor_strerror(left));
    return 1;
  }
  while ((left = luactor_step(host, 1000)) > LUACTOR_STEP_DONE) {
    if (left == LUACTOR_STEP_IDLE) {
      const int64_t us = luactor_next_deadline(host);
      if (us < 0) {
        puts("nothing will ever happen again");
        break;
      }
      now += (uint64_t)us * 1000;
    }
  }
  return luactor_close(host);
}

int main(void) {
  puts("one day");
  if (run(1) != 0) {
    return 1;
  }
  puts("the same day");
  return run(1) != 0;
}

/* std-run [--count N | --tick USEC] file.lua args...
 * Runs a Lua file in a state of its own as a process would run it: on the main
 * thread, resumed slice by slice, with the replaced standard library. No
 * scheduler, so that the libraries are tested alone. In tick mode a timer signal
 * ends the slices, at whatever instruction it finds; without options nothing
 * does. */
#include "lib/lib_gc.h"
#include "lib/lib_load.h"
#include "lib/lib_std.h"
#include "sched/budget.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

static la_exec_t exec;

static void on_tick(int sig) {
  (void)sig;
  la_exec_arm(&exec);
}

static void start_ticking(long usec) {
  struct sigaction action = {.sa_handler = on_tick, .sa_flags = SA_RESTART};
  sigaction(SIGALRM, &action, NULL);
  struct itimerval every = {{0, usec}, {0, usec}};
  setitimer(ITIMER_REAL, &every, NULL);
}

static void set_arg(lua_State *L, int argc, char **argv, int script) {
  lua_createtable(L, argc - script, script + 1);
  for (int i = 0; i < argc; i++) {
    lua_pushstring(L, argv[i]);
    lua_rawseti(L, -2, i - script);
  }
  lua_setglobal(L, "arg");
}

static int usage(void) {
  fprintf(stderr, "usage: std-run [--count N | --tick USEC] file.lua args...\n");
  return 2;
}

int main(int argc, char **argv) {
  la_preempt_t mode = LA_PREEMPT_TICK;
  int period = 1000;
  long usec = 0;
  int script = 1;
  if (argc > 2 && strcmp(argv[1], "--count") == 0) {
    mode = LA_PREEMPT_COUNT;
    period = atoi(argv[2]);
    script = 3;
  } else if (argc > 2 && strcmp(argv[1], "--tick") == 0) {
    usec = atol(argv[2]);
    script = 3;
  }
  if (script >= argc) {
    return usage();
  }
  lua_State *L = luaL_newstate();
  if (L == NULL) {
    return 2;
  }
  la_std_t *std = la_std_new(NULL, la_load_open_package);
  if (std == NULL) {
    return 2;
  }
  la_exec_init(&exec, L, mode, period);
  la_std_open(L, std);
  set_arg(L, argc, argv, script);
  int status = luaL_loadfile(L, argv[script]);
  int narg = 0;
  if (status == LUA_OK) {
    for (int i = script + 1; i < argc; i++, narg++) {
      lua_pushstring(L, argv[i]);
    }
    if (usec > 0) {
      start_ticking(usec);
    }
    unsigned long slices = 0;
    int nres;
    while ((status = la_exec_resume(&exec, narg, &nres)) == LUA_YIELD) {
      narg = 0;
      slices++;
    }
    if (getenv("STD_RUN_STATS") != NULL) {
      fprintf(stderr, "%lu slices\n", slices);
    }
  }
  if (status != LUA_OK) {
    const char *text = luaL_tolstring(L, -1, NULL);
    luaL_traceback(L, L, text, 0);
    fprintf(stderr, "std-run: %s\n", lua_tostring(L, -1));
  }
  la_exec_close(&exec);
  if (exec.has_finalizers) {
    la_gc_finish(L);
  }
  lua_close(L);
  la_std_free(std);
  return status == LUA_OK ? 0 : 1;
}

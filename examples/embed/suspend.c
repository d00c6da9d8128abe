/* A C module for every process, whose function waits for a thread of its own: the
 * process is suspended, and its scheduler runs others. */
#include <lauxlib.h>
#include <luactor.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  luactor_token *token;
  int64_t n;
} job_t;

/* Some slow work, on a thread that luactor knows nothing of. */
static void *work(void *arg) {
  job_t *job = arg;
  luactor_value *result;
  int64_t factorial = 1;
  for (int64_t i = 2; i <= job->n; i++) {
    factorial *= i;
  }
  if (luactor_make(&result, "I", factorial) == 0) {
    luactor_resume(job->token, result);
    luactor_value_free(result);
  }
  luactor_token_free(job->token);
  free(job);
  return NULL;
}

/* slow.factorial(n) */
static int slow_factorial(lua_State *L) {
  const lua_Integer n = luaL_checkinteger(L, 1);
  job_t *job = malloc(sizeof *job);
  pthread_t thread;
  const int code =
      job != NULL ? luactor_suspend(L, &job->token) : LUACTOR_ENOMEM;
  if (code != 0) {
    free(job);
    return luaL_error(L, "%s", luactor_strerror(code));
  }
  job->n = n;
  if (pthread_create(&thread, NULL, work, job) != 0) {
    luactor_token_free(job->token);
    free(job);
    return luaL_error(L, "no thread");
  }
  pthread_detach(thread);
  return luactor_await(L);
}

static int luaopen_slow(lua_State *L) {
  static const luaL_Reg functions[] = {{"factorial", slow_factorial},
                                       {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}

static const char script[] =
    "local actor = require 'luactor'\n"
    "local task = require 'luactor.task'\n"
    "local tasks = {}\n"
    "for n = 1, 5 do\n"
    "  tasks[n] = task.async(function()\n"
    "    return require('slow').factorial(4 * n)\n"
    "  end)\n"
    "end\n"
    "for n = 1, 5 do print(4 * n, task.await(tasks[n])) end\n"
    "print(pcall(require('slow').factorial, 'x'))\n";

int main(void) {
  luactor_config config;
  luactor_host *host;
  luactor_config_init(&config);
  config.schedulers = 1;
  config.log = luactor_log_stderr;
  config.flush_stdio = 1;
  if (luactor_open(&config, &host) != 0 ||
      luactor_add_module(host, "slow", luaopen_slow) != 0 ||
      luactor_spawn_string(host, script, strlen(script), "=script", 0, NULL, 0,
                           NULL) != 0) {
    return 1;
  }
  luactor_run(host);
  fflush(stdout);
  luactor_close(host);
  return 0;
}

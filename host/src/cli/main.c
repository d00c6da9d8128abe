/* The `luactor` command: a host with one first process, on the terminal.
 *
 * Three threads beside the schedulers' own:
 *   main    a libuv loop: signals, and the news of the other two
 *   first   waits for the first process, prints its error when it ends
 *   events  waits until the host is done, or stuck
 * and from the first signal on 'stopper', which is inside luactor_stop while
 * the main thread is free for the second signal. Signals are caught, not
 * blocked: programs that a script starts inherit a mask, but no handler.
 *
 * Fields of la_cli_t that two threads use are atomic or written before
 * uv_async_send and read by the main thread behind it. */
#include <lua.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "args.h"
#include "boot.h"
#include "luactor.h"

enum {
  STOP_MS = 5000, /* for an orderly stop */
  STUCK_MS = 100, /* a deadlock lasts so long before it is reported */
};

enum { FIRST_RUNS, FIRST_ENDED_WELL, FIRST_FAILED };

typedef struct la_cli {
  la_args_t args;
  la_boot_t boot;
  luactor_host *host;
  luactor_pid first_pid;

  uv_loop_t loop;
  uv_async_t news;
  uv_signal_t on_int;
  uv_signal_t on_term;
  uv_thread_t first;
  uv_thread_t events;
  uv_thread_t stopper;

  atomic_int first_state;
  atomic_bool is_done;    /* the host has nothing left to run */
  atomic_bool gave_up;    /* it was ended as nothing could happen any more */
  atomic_bool is_halted;  /* a process has ended it, with a status */
  atomic_bool is_stopped; /* luactor_stop has returned, with 'stop_code' */
  int stop_code;
  unsigned log_dropped; /* lines; luactor_log_stderr's own */
  atomic_int signum; /* the signal that began the stop, or 0 */
} la_cli_t;

/* ---- what the user reads ------------------------------------------------- */

/* One whole text in one write, whatever other threads print. */
static void complain(const char *prefix, const char *text) {
  const size_t len = strlen(text);
  flockfile(stderr);
  fputs(prefix, stderr);
  fputs(text, stderr);
  if (len == 0 || text[len - 1] != '\n') {
    fputc('\n', stderr);
  }
  funlockfile(stderr);
}

static void show_version(void) {
  printf("luactor %s (%s)\n", luactor_version(), LUA_RELEASE);
}

/* ---- the first process --------------------------------------------------- */

static bool is_good_end(luactor_view reason) {
  return luactor_is_text(reason, "normal") ||
         luactor_is_text(reason, "shutdown");
}

/* The text of a string, or what another value looks like. */
static void complain_of(luactor_view reason) {
  char text[1024];
  const char *bytes;
  size_t len;
  if (luactor_get_string(reason, &bytes, &len) == 0) {
    snprintf(text, sizeof text, "%.*s", len < 1000 ? (int)len : 1000, bytes);
  } else {
    luactor_print(reason, text, sizeof text);
  }
  char line[1100];
  snprintf(line, sizeof line, "exit reason: %s", text);
  complain("luactor: ", line);
}

/* Called by whoever got the end of the first process; takes the reason. */
static void first_has_ended(la_cli_t *cli, luactor_value *reason) {
  const luactor_view view = luactor_view_of(reason);
  const char *error = luactor_reason_error(reason);
  const bool good = is_good_end(view);
  if (!good && error != NULL) {
    char *text = strdup(error);
    if (text != NULL) {
      la_boot_trim(&cli->boot, text);
    }
    complain("luactor: ", text != NULL ? text : "not enough memory");
    free(text);
  } else if (!good && cli->signum == 0) { /* a stop may have to kill it */
    complain_of(view);
  }
  luactor_value_free(reason);
  atomic_store(&cli->first_state, good ? FIRST_ENDED_WELL : FIRST_FAILED);
}

static void wait_for_first(void *ud) {
  la_cli_t *cli = ud;
  luactor_value *reason;
  if (luactor_wait(cli->host, cli->first_pid, -1, &reason) == 0) {
    first_has_ended(cli, reason);
    uv_async_send(&cli->news);
  }
}

/* ---- the host ------------------------------------------------------------ */

static void report_deadlock(la_cli_t *cli) {
  char *waiting = luactor_waiting(cli->host);
  flockfile(stderr);
  complain("luactor: ", "deadlock: every process is waiting");
  if (waiting != NULL && waiting[0] != '\0') {
    complain("", waiting);
  }
  funlockfile(stderr);
  free(waiting);
}

/* Every process waits for ever. That is a mistake to be shown while the first
 * process is one of them, and an ordinary end otherwise. */
static void end_stuck_host(la_cli_t *cli) {
  luactor_value *reason;
  const int code = luactor_wait(cli->host, cli->first_pid, 0, &reason);
  if (code == 0) {
    first_has_ended(cli, reason);
  }
  if (code != LUACTOR_ETIMEOUT) {
    cli->gave_up = true;
    luactor_halt(cli->host, 0);
    return;
  }
  /* A signal that was sent before may be on its way to the main thread. */
  uv_sleep(STUCK_MS);
  if (cli->signum == 0 &&
      luactor_wait_event(cli->host, 0) == LUACTOR_EVENT_STUCK) {
    report_deadlock(cli);
    cli->gave_up = true;
    luactor_halt(cli->host, 1);
  }
}

/* After a signal it is the stopper that ends the host. */
static void wait_for_events(void *ud) {
  la_cli_t *cli = ud;
  int event;
  while ((event = luactor_wait_event(cli->host, -1)) == LUACTOR_EVENT_STUCK &&
         cli->signum == 0) {
    end_stuck_host(cli);
  }
  cli->is_halted = event == LUACTOR_EVENT_HALTED && !cli->gave_up;
  atomic_store(&cli->is_done, true);
  uv_async_send(&cli->news);
}

static void stop_host(void *ud) {
  la_cli_t *cli = ud;
  cli->stop_code = luactor_stop(cli->host, STOP_MS);
  atomic_store(&cli->is_stopped, true);
  uv_async_send(&cli->news);
}

/* ---- the main thread ----------------------------------------------------- */

static void die_by_signal(int signum) {
  signal(signum, SIG_DFL);
  raise(signum);
}

static void on_signal(uv_signal_t *handle, int signum) {
  la_cli_t *cli = handle->data;
  if (cli->signum != 0) {
    die_by_signal(signum);
  }
  cli->signum = signum;
  if (uv_thread_create(&cli->stopper, stop_host, cli) != 0) {
    die_by_signal(signum);
  }
}

static void on_news(uv_async_t *handle) {
  la_cli_t *cli = handle->data;
  if (cli->signum != 0 ? atomic_load(&cli->is_stopped)
                       : atomic_load(&cli->is_done)) {
    uv_stop(&cli->loop);
  }
}

static void close_handles(la_cli_t *cli) {
  uv_close((uv_handle_t *)&cli->news, NULL);
  uv_close((uv_handle_t *)&cli->on_int, NULL);
  uv_close((uv_handle_t *)&cli->on_term, NULL);
  uv_run(&cli->loop, UV_RUN_DEFAULT);
  uv_loop_close(&cli->loop);
}

/* The loop and its handles. From here on no signal is missed: what comes
 * before uv_run is served there. */
static int open_loop(la_cli_t *cli) {
  int code = uv_loop_init(&cli->loop);
  if (code == 0) {
    code = uv_async_init(&cli->loop, &cli->news, on_news);
  }
  if (code != 0) {
    return code;
  }
  uv_signal_init(&cli->loop, &cli->on_int);
  uv_signal_init(&cli->loop, &cli->on_term);
  cli->news.data = cli->on_int.data = cli->on_term.data = cli;
  code = uv_signal_start(&cli->on_int, on_signal, SIGINT);
  if (code == 0) {
    code = uv_signal_start(&cli->on_term, on_signal, SIGTERM);
  }
  return code;
}

static int start_waiters(la_cli_t *cli) {
  const int code = uv_thread_create(&cli->first, wait_for_first, cli);
  if (code != 0) {
    return code;
  }
  return uv_thread_create(&cli->events, wait_for_events, cli);
}

/* Leave although threads run, such as a C function of some process that does
 * not return: nothing may be freed, nor a lock be waited for that one holds. */
static void leave_at_once(int status) {
  if (ftrylockfile(stdout) == 0) {
    fflush(stdout);
  }
  _exit(status);
}

/* The host is done or stopped: free it and find the exit status. */
static int finish(la_cli_t *cli) {
  int status = cli->signum != 0 ? 0 : luactor_run(cli->host);
  int code = cli->stop_code;
  if (cli->signum != 0) {
    uv_thread_join(&cli->stopper);
  } else {
    code = luactor_stop(cli->host, 0);
  }
  if (code == LUACTOR_ETIMEOUT) {
    if (cli->signum == SIGINT) {
      die_by_signal(SIGINT);
    }
    leave_at_once(status);
  }
  uv_thread_join(&cli->events);
  uv_thread_join(&cli->first);
  if (cli->signum == 0 && status == 0 && !cli->is_halted &&
      atomic_load(&cli->first_state) == FIRST_FAILED) {
    status = 1;
  }
  luactor_close(cli->host);
  close_handles(cli);
  if (cli->signum == SIGINT) {
    fflush(stdout);
    die_by_signal(SIGINT);
  }
  return status;
}

static int spawn_first(la_cli_t *cli) {
  const la_args_t *args = &cli->args;
  const char *const *argv = (const char *const *)args->argv;
  const bool has_script = args->script < args->argc;
  const int script = has_script ? args->script : 0;
  const la_boot_t *boot = &cli->boot;
  if (boot->kind == LA_BOOT_FILE) {
    return luactor_spawn_file(cli->host, argv[script], args->argc, argv, script,
                              &cli->first_pid);
  }
  return luactor_spawn_string(
      cli->host, boot->text, boot->len,
      boot->kind == LA_BOOT_STDIN ? "=stdin" : LA_BOOT_CHUNK, args->argc, argv,
      script, &cli->first_pid);
}

static int open_host(la_cli_t *cli) {
  static const char *const lua[] = {"/?.lua", "/?/init.lua", NULL};
  static const char *const c[] = {"/?.so", NULL};
  const la_args_t *args = &cli->args;
  char *lua_path = la_boot_path(args, lua);
  char *lua_cpath = la_boot_path(args, c);
  luactor_config config;
  luactor_config_init(&config);
  config.schedulers = args->schedulers;
  config.preempt = args->preempt;
  config.tick_signal = SIGURG; /* in count mode: to say where a process hangs */
  config.reductions = args->reductions;
  config.max_heap = args->max_heap;
  config.max_processes = args->max_processes;
  config.lua_path = lua_path;
  config.lua_cpath = lua_cpath;
  config.ignore_env = args->ignore_env;
  config.lua_warnings = args->warnings;
  config.log = luactor_log_stderr;
  config.log_userdata = &cli->log_dropped;
  config.log_options = "time";
  config.flush_stdio = 1;
  const int code = luactor_open(&config, &cli->host);
  free(lua_path);
  free(lua_cpath);
  return code;
}

static int run(la_cli_t *cli) {
  int code = open_loop(cli);
  if (code != 0) {
    complain("luactor: ", uv_strerror(code));
    return EXIT_FAILURE;
  }
  code = open_host(cli);
  if (code == 0) {
    code = spawn_first(cli);
  }
  if (code == 0) {
    code = luactor_start(cli->host);
  }
  if (code != 0) {
    complain("luactor: ", luactor_strerror(code));
    leave_at_once(EXIT_FAILURE);
  }
  code = start_waiters(cli);
  if (code != 0) {
    complain("luactor: ", uv_strerror(code));
    leave_at_once(EXIT_FAILURE);
  }
  uv_run(&cli->loop, UV_RUN_DEFAULT);
  return finish(cli);
}

static int run_first_chunk(la_cli_t *cli) {
  if (cli->args.show_version) {
    show_version();
    fflush(stdout);
  }
  int status = EXIT_SUCCESS;
  la_boot_init(&cli->boot, &cli->args);
  if (cli->boot.kind == LA_BOOT_NOMEM) {
    complain("luactor: ", "not enough memory");
    status = EXIT_FAILURE;
  } else if (cli->boot.kind != LA_BOOT_NONE) {
    status = run(cli);
  }
  la_boot_fini(&cli->boot);
  return status;
}

int main(int argc, char **argv) {
  la_cli_t cli = {0};
  int status = EXIT_SUCCESS;
  switch (la_args_parse(&cli.args, argc, argv)) {
    case LA_ARGS_HELP:
      fputs(la_args_help, stdout);
      break;
    case LA_ARGS_VERSION:
      show_version();
      break;
    case LA_ARGS_BAD:
      complain("luactor: ", cli.args.problem);
      status = EXIT_FAILURE;
      break;
    case LA_ARGS_RUN:
      status = run_first_chunk(&cli);
      break;
  }
  la_args_free(&cli.args);
  return status;
}

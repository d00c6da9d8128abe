/* A program with a loop of its own, on epoll: the host is one more descriptor in it.
 *
 * A timer of the program's asks an actor a question every few milliseconds; the answers
 * arrive in a mailbox of the program's, which is a descriptor too. All of it runs in
 * the main thread.
 *
 *   cc epoll.c $(pkg-config --cflags --libs luactor) -o epoll && ./epoll */
#include <luactor.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

static const char squares[] =
    "local actor = require 'luactor'\n"
    "local V = actor.var\n"
    "local serve = actor.receiver(\n"
    "  actor.on({ 'square', V.n 'integer', V.to }, function(n, to)\n"
    "    actor.send(to, n * n)\n"
    "    return true\n"
    "  end),\n"
    "  actor.on('stop', function() end))\n"
    "while serve() do end\n";

enum { HOST, MAILBOX, TIMER };

static void check(int code, const char *what) {
  if (code < 0) {
    fprintf(stderr, "%s: %s\n", what, luactor_strerror(code));
    exit(1);
  }
}

static void add(int loop, int fd, uint32_t what) {
  struct epoll_event e = {.events = EPOLLIN, .data.u32 = what};
  check(fd, "descriptor");
  epoll_ctl(loop, EPOLL_CTL_ADD, fd, &e);
}

static void ask(luactor_host *host, luactor_pid pid, luactor_mailbox *box,
                int n) {
  luactor_value *v;
  if (n <= 5) {
    check(luactor_make(&v, "{s i p}", "square", (int64_t)n,
                       luactor_mailbox_address(box)),
          "luactor_make");
  } else {
    check(luactor_make(&v, "s", "stop"), "luactor_make");
  }
  check(luactor_send(host, pid, v), "luactor_send");
  luactor_value_free(v);
}

static void show_answers(luactor_mailbox *box) {
  luactor_value *v;
  while (luactor_mailbox_receive(box, 0, &v) == 0) {
    int64_t n = 0;
    luactor_get_integer(luactor_view_of(v), &n);
    printf("the answer is %lld\n", (long long)n);
    luactor_value_free(v);
  }
}

int main(void) {
  luactor_config config;
  luactor_host *host;
  luactor_mailbox *box;
  luactor_pid pid;
  luactor_config_init(&config);
  config.log = luactor_log_stderr;
  check(luactor_open(&config, &host), "luactor_open");
  check(luactor_mailbox_open(host, 0, LUACTOR_OVERFLOW_BLOCK, &box),
        "luactor_mailbox_open");
  check(luactor_spawn_string(host, squares, strlen(squares), "=squares", 0,
                             NULL, 0, &pid),
        "luactor_spawn_string");

  const int loop = epoll_create1(EPOLL_CLOEXEC);
  const int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
  const struct itimerspec every = {{0, 2000000}, {0, 2000000}};
  timerfd_settime(timer, 0, &every, NULL);
  add(loop, luactor_fd(host), HOST);
  add(loop, luactor_mailbox_fd(box), MAILBOX);
  add(loop, timer, TIMER);

  int asked = 0, left = LUACTOR_STEP_IDLE;
  while (left != LUACTOR_STEP_DONE) {
    struct epoll_event e;
    uint64_t times;
    if (epoll_wait(loop, &e, 1, -1) < 1) {
      continue;
    }
    switch (e.data.u32) {
      case HOST: /* a millisecond at most: the others want their turn */
        left = luactor_step(host, 1000);
        check(left, "luactor_step");
        break;
      case MAILBOX:
        show_answers(box);
        break;
      default:
        if (read(timer, &times, sizeof times) > 0 && asked <= 5) {
          ask(host, pid, box, ++asked);
        }
    }
  }
  show_answers(box);
  puts("no process is left");
  luactor_mailbox_close(box);
  close(timer);
  close(loop);
  return luactor_close(host) == 0 ? 0 : 1;
}

/* A C thread with a mailbox: it is sent to, waits in poll(), calls a server and hears of
 * its end. */
#include <luactor.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

static const char code[] =
    "local actor = require 'luactor'\n"
    "local V, on = actor.var, actor.on\n"
    "local to = actor.receive()\n" /* the mailbox: an address like a pid */
    "actor.send(to, { 'ready', actor.self() })\n"
    "local count = 0\n"
    "while true do\n"
    "  actor.receive(\n"
    "    on(actor.request(V.from, { 'add', V.n }), function(from, n)\n"
    "      count = count + n\n"
    "      actor.reply(from, count)\n"
    "    end),\n"
    "    on('stop', function() actor.exit { 'stopped at', count } end))\n"
    "end\n";

/* The next message, awaited as an event loop would do it. */
static luactor_value *next_message(luactor_mailbox *mailbox) {
  struct pollfd fd = {luactor_mailbox_fd(mailbox), POLLIN, 0};
  luactor_value *message = NULL;
  while (luactor_mailbox_receive(mailbox, 0, &message) == LUACTOR_ETIMEOUT) {
    poll(&fd, 1, -1);
  }
  return message;
}

static void show(const char *what, luactor_view view) {
  char text[200];
  luactor_print(view, text, sizeof text);
  printf("%s %s\n", what, text);
}

int main(void) {
  luactor_config config;
  luactor_host *host;
  luactor_mailbox *mailbox;
  luactor_pid server;
  luactor_value *v, *reply;
  luactor_view reason;

  luactor_config_init(&config);
  config.log = luactor_log_stderr;
  if (luactor_open(&config, &host) != 0 ||
      luactor_mailbox_open(host, 0, LUACTOR_OVERFLOW_BLOCK, &mailbox) != 0 ||
      luactor_spawn_string(host, code, strlen(code), "=server", 0, NULL, 0,
                           &server) != 0 ||
      luactor_start(host) != 0) {
    return 1;
  }
  luactor_mailbox_monitor(mailbox, server, NULL);
  luactor_make(&v, "p", luactor_mailbox_address(mailbox));
  luactor_send(host, server, v);
  luactor_value_free(v);

  v = next_message(mailbox);
  luactor_get_index(luactor_view_of(v), 1, &reason);
  show("the server says", reason);
  luactor_value_free(v);

  for (int i = 1; i <= 3; i++) {
    luactor_make(&v, "{s i}", "add", i);
    if (luactor_call(host, server, v, 5000, &reply) == 0) {
      show("the answer is", luactor_view_of(reply));
    }
    luactor_value_free(reply);
    luactor_value_free(v);
  }

  luactor_send_string(host, server, "stop", 4);
  v = next_message(mailbox); /* { "DOWN", ref, "process", pid, reason } */
  luactor_get_index(luactor_view_of(v), 5, &reason);
  show("it ended:", reason);
  luactor_value_free(v);

  luactor_make(&v, "{s i}", "add", 4);
  const int failed = luactor_call(host, server, v, 5000, &reply);
  show(luactor_strerror(failed), luactor_view_of(reply));
  luactor_value_free(reply);
  luactor_value_free(v);

  luactor_mailbox_close(mailbox);
  luactor_close(host);
  return 0;
}

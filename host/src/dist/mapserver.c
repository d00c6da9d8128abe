/* A port mapper of our own, for this machine: served by the first node that
 * finds none, as long as it lives. The others notice that it is gone, since their
 * registrations end with it, and one of them takes its place.
 *
 * Clients are connections with one request each; one that has registered stays.
 * The table is a la_epmd_t, which knows no I/O. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/env.h"
#include "dist/inner.h"

#define CLIENTS_MAX 1024
#define REQUEST_MS 5000
#define REQUEST_BYTES 2048
#define ADDRESSES_MAX 8

typedef struct la_mapserver {
  la_dist_t *dist;
  la_epmd_t *table;
  uint32_t nclients;
} la_mapserver_t;

typedef struct client {
  la_mapserver_t *server;
  la_stream_t *stream;
  la_loop_timer_t timer;
  bool is_kept; /* registered: nothing more is read */
  size_t len;
  uint8_t in[REQUEST_BYTES];
} client_t;

static void client_opened(void *ud) {
  (void)ud;
}

static uint8_t *client_space(void *ud, size_t *n) {
  client_t *c = ud;
  if (c->is_kept) {
    c->len = 0;
  }
  *n = sizeof c->in - c->len;
  return *n > 0 ? c->in + c->len : NULL;
}

static bool client_got(void *ud, size_t n) {
  client_t *c = ud;
  la_mapserver_t *s = c->server;
  la_epmd_request_t request;
  c->len += n;
  if (c->is_kept) {
    return true;
  }
  const int used = la_epmd_read_request(c->in, c->len, &request);
  if (used <= 0) {
    return used == 0 && c->len < sizeof c->in;
  }
  la_buf_t out = {0};
  uint32_t creation;
  la_random(&s->dist->host->env, &creation, sizeof creation);
  la_epmd_answer(s->table, &request, c, la_stream_is_local(c->stream),
                 creation, &out, &c->is_kept);
  la_loop_timer_stop(&c->timer);
  la_out_t *chunk = out.failed ? NULL : la_outq_chunk(&out);
  if (chunk == NULL) {
    la_buf_free(&out);
    return false;
  }
  la_stream_write(c->stream, chunk);
  if (!c->is_kept) {
    la_stream_finish(c->stream);
  }
  return true;
}

static void client_closed(void *ud, const char *why) {
  client_t *c = ud;
  (void)why;
  la_loop_timer_stop(&c->timer);
  la_epmd_gone(c->server->table, c);
  c->server->nclients--;
  la_free(c);
}

static void client_late(la_loop_timer_t *t) {
  client_t *c = (client_t *)(void *)((char *)t - offsetof(client_t, timer));
  la_stream_fail(c->stream, "no request");
}

static bool client_accept(void *ud, la_stream_t *stream,
                          la_stream_hooks_t *hooks) {
  la_mapserver_t *s = ud;
  client_t *c = s->nclients < CLIENTS_MAX ? la_zalloc(sizeof *c) : NULL;
  if (c == NULL) {
    return false;
  }
  s->nclients++;
  c->server = s;
  c->stream = stream;
  c->timer.fire = client_late;
  *hooks = (la_stream_hooks_t){c,          client_opened, client_space,
                               client_got, NULL,          client_closed};
  la_loop_timer_start(s->dist->loop, &c->timer, REQUEST_MS, 0);
  return true;
}

/* Loopback must do; of the other addresses what cannot be is said. */
static void listen_more(la_mapserver_t *s, uint16_t port) {
  const char *text = getenv("ERL_EPMD_ADDRESS");
  char list[512], why[256], *rest = list;
  snprintf(list, sizeof list, "%s", text != NULL ? text : "");
  for (int i = 0; i < ADDRESSES_MAX; i++) {
    const char *address = strtok_r(rest, ", ", &rest);
    if (address == NULL) {
      return;
    }
    if (strcmp(address, "127.0.0.1") != 0 &&
        la_listen(s->dist->loop, address, port, NULL, client_accept, s, why,
                  sizeof why) == NULL) {
      la_log(s->dist->host, LUACTOR_LOG_WARN, "node: port mapper: %s", why);
    }
  }
}

bool la_mapserver_start(la_dist_t *d, char *why, size_t max) {
  const uint16_t port = la_mapper_port();
  la_mapserver_t *s = d->server;
  if (s == NULL) {
    s = la_zalloc(sizeof *s);
    if (s == NULL || (s->table = la_epmd_new(port)) == NULL) {
      la_free(s);
      snprintf(why, max, "not enough memory");
      return false;
    }
    s->dist = d;
  }
  d->server = s;
  if (la_listen(d->loop, "127.0.0.1", port, NULL, client_accept, s, why,
                max) == NULL) {
    return false;
  }
  listen_more(s, port);
  la_log(d->host, LUACTOR_LOG_INFO, "node: serves as the port mapper at %u",
         port);
  return true;
}

void la_mapserver_free(la_dist_t *d) {
  if (d->server != NULL) {
    la_epmd_free(d->server->table);
    la_free(d->server);
    d->server = NULL;
  }
}

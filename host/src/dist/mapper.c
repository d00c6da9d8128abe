/* Where a node listens: its place if we were told one, else the port mapper of
 * its host is asked; and the registration of this node at the mapper of this
 * machine. On the loop's thread, but for la_mapper_begin. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/env.h"
#include "dist/inner.h"

typedef struct la_asker {
  la_dist_t *dist;
  la_conn_t *conn; /* whose port is asked for; NULL: we register. A reference */
  la_stream_t *stream;
  la_loop_timer_t timer;
  la_buf_t request, in;
  uint8_t buf[512];
  bool is_done;
} la_asker_t;

static void asker_result(la_asker_t *a, const char *why, uint32_t number) {
  if (a->is_done) {
    return;
  }
  a->is_done = true;
  if (a->conn == NULL) {
    la_node_registered(a->dist, why, number);
  } else if (why != NULL) {
    la_conn_fail(a->conn, why);
  } else {
    la_peerlink_to(a->conn, strchr(a->conn->node, '@') + 1, (uint16_t)number);
  }
}

static void asker_release(la_out_t *out) {
  la_free(out);
}

static void asker_opened(void *ud) {
  la_asker_t *a = ud;
  la_out_t *out = la_alloc(sizeof *out);
  if (out == NULL) {
    la_stream_fail(a->stream, "not enough memory");
    return;
  }
  *out = (la_out_t){NULL, a->request.data, a->request.len, asker_release};
  la_stream_write(a->stream, out);
}

static uint8_t *asker_space(void *ud, size_t *n) {
  la_asker_t *a = ud;
  *n = sizeof a->buf;
  return a->buf;
}

static bool asker_got(void *ud, size_t n) {
  la_asker_t *a = ud;
  la_epmd_port_t port = {0};
  uint32_t creation = 0;
  la_buf_put(&a->in, a->buf, n);
  const la_epmd_answer_t r =
      a->conn != NULL
          ? la_epmd_read_port(a->in.data, a->in.len, &port)
          : la_epmd_read_registered(a->in.data, a->in.len, &creation);
  switch (r) {
    case LA_EPMD_MORE:
      return a->in.len < 1024;
    case LA_EPMD_OK:
      la_loop_timer_stop(&a->timer);
      asker_result(a, NULL, a->conn != NULL ? port.port : creation);
      return a->conn == NULL; /* the registration lasts as long as it */
    case LA_EPMD_REFUSED:
      asker_result(
          a,
          a->conn != NULL ? "no node of that name there" : "the name is taken",
          0);
      return false;
    case LA_EPMD_BAD:
      asker_result(a, "the port mapper gives no sense", 0);
      return false;
  }
  return false;
}

static void asker_closed(void *ud, const char *why) {
  la_asker_t *a = ud;
  la_dist_t *d = a->dist;
  la_loop_timer_stop(&a->timer);
  asker_result(a, why != NULL ? why : "closed", 0);
  if (d->registration == a) {
    d->registration = NULL;
  }
  if (a->conn != NULL) {
    la_lock(&d->lock);
    la_conn_unref(a->conn);
    la_unlock(&d->lock);
  }
  la_buf_free(&a->request);
  la_buf_free(&a->in);
  la_free(a);
}

static void asker_late(la_loop_timer_t *t) {
  la_asker_t *a =
      (la_asker_t *)(void *)((char *)t - offsetof(la_asker_t, timer));
  la_stream_fail(a->stream, "the port mapper does not answer");
}

static uint16_t mapper_port(void) {
  const char *text = getenv("ERL_EPMD_PORT");
  const long n = text != NULL ? strtol(text, NULL, 10) : 0;
  return n > 0 && n < 65536 ? (uint16_t)n : LA_EPMD_PORT;
}

/* Ask the mapper of a host; the request is in 'a'. */
static bool ask(la_asker_t *a, const char *host) {
  const la_stream_hooks_t hooks = {a,         asker_opened, asker_space,
                                   asker_got, NULL,         asker_closed};
  a->timer.fire = asker_late;
  a->stream =
      a->request.failed
          ? NULL
          : la_stream_connect(a->dist->loop, host, mapper_port(), NULL, &hooks);
  if (a->stream == NULL) {
    la_buf_free(&a->request);
    la_free(a);
    return false;
  }
  la_loop_timer_start(a->dist->loop, &a->timer, SETUP_MS, 0);
  return true;
}

bool la_mapper_register(la_dist_t *d) {
  la_asker_t *a = la_zalloc(sizeof *a);
  char name[LA_NODE_NAME_MAX + 1];
  if (a == NULL) {
    return false;
  }
  snprintf(name, sizeof name, "%s", d->name);
  *strchr(name, '@') = '\0';
  a->dist = d;
  la_epmd_register(&a->request, name, (uint16_t)d->port, d->hidden);
  d->registration = a;
  if (!ask(a, "127.0.0.1")) {
    d->registration = NULL;
    return false;
  }
  return true;
}

/* ---- connecting --------------------------------------------------------- */

typedef struct la_begin {
  la_job_t job;
  la_conn_t *conn; /* a reference */
  char address[256];
  int port; /* 0: ask the mapper at the address */
} la_begin_t;

static void begin_job(la_job_t *job) {
  la_begin_t *b = (la_begin_t *)job;
  la_conn_t *c = b->conn;
  la_dist_t *d = c->dist;
  if (b->port > 0) {
    la_peerlink_to(c, b->address, (uint16_t)b->port);
  } else {
    la_asker_t *a = la_zalloc(sizeof *a);
    char name[LA_NODE_NAME_MAX + 1];
    bool ok = a != NULL;
    if (ok) {
      snprintf(name, sizeof name, "%s", c->node);
      *strchr(name, '@') = '\0';
      a->dist = d;
      a->conn = c;
      la_epmd_lookup(&a->request, name);
      la_lock(&d->lock);
      c->refs++;
      la_unlock(&d->lock);
      ok = ask(a, b->address);
      if (!ok) {
        la_lock(&d->lock);
        la_conn_unref(c);
        la_unlock(&d->lock);
      }
    }
    if (!ok) {
      la_conn_fail(c, "not enough memory");
    }
  }
  la_lock(&d->lock);
  la_conn_unref(c);
  la_unlock(&d->lock);
  la_free(b);
}

/* Under the lock, on the loop: begin an attempt outside of the lock. */
void la_mapper_begin(la_conn_t *c) {
  la_dist_t *d = c->dist;
  la_begin_t *b = la_zalloc(sizeof *b);
  c->nok = false;
  c->setup_ends = la_loop_now_ms(d->loop) + SETUP_MS;
  if (b == NULL) {
    return; /* the ticker ends it */
  }
  snprintf(b->address, sizeof b->address, "%s", strchr(c->node, '@') + 1);
  for (const la_place_t *p = d->places; p != NULL; p = p->next) {
    if (strcmp(p->node, c->node) == 0) {
      snprintf(b->address, sizeof b->address, "%s", p->address);
      b->port = p->port;
    }
  }
  b->job.run = begin_job;
  b->conn = c;
  c->refs++;
  la_loop_post(d->loop, &b->job);
}

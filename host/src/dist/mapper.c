/* Where a node listens: its place if we were told one, else the port mapper of
 * its host is asked; and the registration of this node at the mapper of this
 * machine. On the loop's thread, but for la_mapper_begin. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/env.h"
#include "dist/inner.h"

#define NAMES_MAX ((size_t)64 << 10)
#define AGAIN_MS 1000 /* until the mapper of this machine is asked anew */

typedef enum { LOOKUP, REGISTER, NAMES } question_t;

/* A question to a mapper, and the connection for it. */
typedef struct la_asker {
  la_dist_t *dist;
  question_t question;
  la_conn_t *conn;  /* LOOKUP: whose port is asked for; a reference */
  la_note_t *note;  /* NAMES: who is to be told */
  la_stream_t *stream;
  la_loop_timer_t timer;
  la_buf_t request, in;
  uint8_t buf[512];
  bool is_done;
} la_asker_t;

/* The names go to who asked as text of the mapper; or why there are none. */
static void tell_names(la_asker_t *a, const char *why) {
  la_told_t told;
  la_note_t *n = a->note;
  la_told_init(&told);
  a->note = NULL;
  if (why == NULL) {
    const size_t len = a->in.len > 4 ? a->in.len - 4 : 0;
    n->name = la_alloc(len + 1);
    if (n->name != NULL) {
      memcpy(n->name, a->in.data + 4, len);
      n->name[len] = '\0';
      la_told_add(&told, &n->sig);
    } else {
      why = "not enough memory";
    }
  }
  if (why != NULL) {
    la_conn_answer(&told, n, why);
  }
  la_told_send(a->dist->host, &told);
}

static void asker_result(la_asker_t *a, const char *why, uint32_t number) {
  if (a->is_done) {
    return;
  }
  a->is_done = true;
  switch (a->question) {
    case REGISTER:
      la_node_registered(a->dist, why, number);
      break;
    case NAMES:
      tell_names(a, why);
      break;
    case LOOKUP:
      if (why != NULL) {
        la_conn_fail(a->conn, why);
      } else {
        la_peerlink_to(a->conn, strchr(a->conn->node, '@') + 1,
                       (uint16_t)number);
      }
      break;
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
  uint32_t number = 0;
  la_epmd_answer_t r;
  if (a->is_done) {
    return true; /* registered: there is nothing more to be said */
  }
  la_buf_put(&a->in, a->buf, n);
  if (a->question == NAMES) {
    return a->in.len < NAMES_MAX && !a->in.failed; /* up to the end */
  }
  if (a->question == LOOKUP) {
    r = la_epmd_read_port(a->in.data, a->in.len, &port);
    number = port.port;
  } else {
    r = la_epmd_read_registered(a->in.data, a->in.len, &number);
  }
  switch (r) {
    case LA_EPMD_MORE:
      return a->in.len < 1024;
    case LA_EPMD_OK:
      la_loop_timer_stop(&a->timer);
      asker_result(a, NULL, number);
      return a->question == REGISTER; /* lasts as long as the connection */
    case LA_EPMD_REFUSED:
      asker_result(a,
                   a->question == LOOKUP ? "no node of that name there"
                                         : "the name is taken",
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
  const bool was_done = a->is_done;
  if (a->question == NAMES && !a->in.failed && a->in.len >= 4 &&
      a->in.len < NAMES_MAX) {
    why = NULL; /* the mapper says nothing at the end */
  } else if (why == NULL) {
    why = "closed";
  }
  if (d->registration == a) {
    d->registration = NULL;
  }
  asker_result(a, why, 0);
  if (a->question == REGISTER && was_done) {
    la_mapper_lost(d);
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

uint16_t la_mapper_port(void) {
  const char *text = getenv("ERL_EPMD_PORT");
  const long n = text != NULL ? strtol(text, NULL, 10) : 0;
  return n > 0 && n < 65536 ? (uint16_t)n : LA_EPMD_PORT;
}

/* Ask the mapper of a host; the request is in 'a'. */
static bool ask(la_asker_t *a, const char *host) {
  const la_stream_hooks_t hooks = {a,         asker_opened, asker_space,
                                   asker_got, NULL,         asker_closed};
  a->timer.fire = asker_late;
  a->stream = a->request.failed
                  ? NULL
                  : la_stream_connect(a->dist->loop, host, la_mapper_port(),
                                      NULL, &hooks);
  if (a->stream == NULL) {
    la_buf_free(&a->request);
    la_free(a);
    return false;
  }
  la_loop_timer_start(a->dist->loop, &a->timer, SETUP_MS, 0);
  return true;
}

/* ---- names ------------------------------------------------------------------ */

typedef struct la_names_job {
  la_job_t job;
  la_dist_t *dist;
  la_note_t *note;
  char address[256];
} la_names_job_t;

static void names_job(la_job_t *job) {
  la_names_job_t *j = (la_names_job_t *)job;
  la_asker_t *a = la_zalloc(sizeof *a);
  bool ok = a != NULL;
  if (ok) {
    a->dist = j->dist;
    a->question = NAMES;
    a->note = j->note;
    la_epmd_names(&a->request);
    ok = ask(a, j->address);
  }
  if (!ok) {
    la_told_t told;
    la_told_init(&told);
    la_conn_answer(&told, j->note, "not enough memory");
    la_told_send(j->dist->host, &told);
  }
  la_free(j);
}

bool la_dist_names(la_host_t *host, const char *address, la_note_t *n) {
  la_dist_t *d = host->dist;
  la_names_job_t *j = la_zalloc(sizeof *j);
  if (j == NULL) {
    return false;
  }
  j->job.run = names_job;
  j->dist = d;
  j->note = n;
  snprintf(j->address, sizeof j->address, "%s", address);
  la_loop_post(d->loop, &j->job);
  return true;
}

/* ---- registering -------------------------------------------------------------- */

static void again(la_loop_timer_t *t) {
  la_dist_t *d = (la_dist_t *)(void *)((char *)t - offsetof(la_dist_t, again));
  la_mapper_register(d);
}

/* The mapper of this machine has gone: somebody will take its place. Not all at
 * once. */
void la_mapper_lost(la_dist_t *d) {
  uint32_t r = 0;
  la_random(&d->host->env, &r, sizeof r);
  d->again.fire = again;
  la_loop_timer_start(d->loop, &d->again, 50 + r % AGAIN_MS, 0);
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
  a->question = REGISTER;
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

/* A host becomes a node, ticks, and leaves; and what scripts ask of it. */
#include <stdio.h>
#include <string.h>

#include "base/env.h"
#include "dist/inner.h"
#include "dist/policy.h"
#include "sched/sched.h"

#define TICKTIME_MS 60000 /* OTP's net_ticktime */
#define TURN_MS 1000

/* ---- once a second ------------------------------------------------------ */

/* Ticks are due each quarter of the tick time; four without a byte are the end. */
static uint64_t quarter(const la_dist_t *d) {
  return d->ticktime_ms / 4;
}

static void send_tick(la_link_t *k) {
  la_buf_t b = {0};
  la_frame_tick(&b);
  if (b.failed) {
    la_buf_free(&b);
  } else {
    la_peerlink_say(k, &b);
  }
}

static void tick_links(la_dist_t *d) {
  for (la_link_t *k = d->links, *next; k != NULL; k = next) {
    next = k->next_link;
    if (k->frames == NULL) {
      continue;
    }
    k->silent = k->read == 0 ? k->silent + 1 : 0;
    if (k->silent >= 4) {
      la_stream_fail(k->stream, "net_tick_timeout");
      continue;
    }
    if (atomic_exchange(&k->wrote, 0) == 0) {
      send_tick(k);
    }
    k->read = 0;
  }
}

/* Attempts that wait for the peer's own, or never began. */
static void end_overdue(la_dist_t *d) {
  la_told_t told;
  la_told_init(&told);
  const uint64_t now = la_loop_now_ms(d->loop);
  la_lock(&d->lock);
  for (la_conn_t *c = d->conns, *next; c != NULL; c = next) {
    next = c->next;
    if (c->state == CONN_UP && !la_outq_is_empty(&c->outq)) {
      la_conn_poke(c); /* memory may have been short */
    }
    if (c->state == CONN_SETUP && c->link == NULL && c->setup_ends != 0 &&
        now > c->setup_ends + 1000) {
      la_conn_down(c, "the connection takes too long", &told);
    }
  }
  la_unlock(&d->lock);
  la_told_send(d->host, &told);
}

static void on_tick(la_loop_timer_t *t) {
  la_dist_t *d = (la_dist_t *)(void *)((char *)t - offsetof(la_dist_t, ticker));
  const uint64_t now = la_loop_now_ms(d->loop);
  end_overdue(d);
  la_refusal_tick(d);
  if (now - d->last_ticks >= quarter(d)) {
    d->last_ticks = now;
    tick_links(d);
  }
}

/* ---- becoming a node ---------------------------------------------------- */

static void started(la_dist_t *d, const char *why) {
  la_told_t told;
  la_told_init(&told);
  la_note_t *n = d->starting;
  d->starting = NULL;
  if (why == NULL) {
    const uint64_t turn = quarter(d) < TURN_MS ? quarter(d) : TURN_MS;
    d->last_ticks = la_loop_now_ms(d->loop);
    la_loop_timer_start(d->loop, &d->ticker, turn, turn);
  }
  la_conn_answer(&told, n, why);
  la_told_send(d->host, &told);
}

/* No mapper runs here: then this node is one, unless another was faster. */
static bool serve(la_dist_t *d) {
  char why[256];
  if (la_mapserver_start(d, why, sizeof why)) {
    return true;
  }
  if (d->starting != NULL) {
    la_log(d->host, LUACTOR_LOG_INFO, "node: port mapper: %s", why);
  }
  return false;
}

void la_node_registered(la_dist_t *d, const char *why, uint32_t creation) {
  if (why == NULL) {
    d->is_unknown = false;
    if (d->starting != NULL) {
      d->creation = creation;
      started(d, NULL);
    } else {
      la_log(d->host, LUACTOR_LOG_INFO, "node: registered again");
    }
    return;
  }
  if (d->starting != NULL && strcmp(why, "the name is taken") == 0) {
    started(d, why);
    return;
  }
  if (d->leaving) {
    if (d->starting != NULL) {
      started(d, "this node is leaving");
    }
    return;
  }
  const bool none = strstr(why, "connection refused") != NULL;
  if (none && serve(d) && la_mapper_register(d)) {
    return;
  }
  /* It stays a node that is found by address, and tries on. */
  if (!none && !d->is_unknown) {
    la_log(d->host, LUACTOR_LOG_WARN, "node: port mapper: %s", why);
  }
  d->is_unknown = true;
  la_mapper_lost(d);
  if (d->starting != NULL) {
    started(d, NULL);
  }
}

typedef struct la_start_job {
  la_job_t job;
  la_dist_t *dist;
} la_start_job_t;

static void start_job(la_job_t *job) {
  la_dist_t *d = ((la_start_job_t *)job)->dist;
  la_free(job);
  char why[256];
  if (d->port >= 0) {
    d->listener = la_listen(d->loop, d->address, (uint16_t)d->port, d->tls,
                            la_peerlink_accept, d, why, sizeof why);
    if (d->listener == NULL) {
      started(d, why);
      return;
    }
    d->port = la_listener_port(d->listener);
  }
  if (!d->use_epmd || d->port < 0) {
    started(d, NULL);
    return;
  }
  if (!la_mapper_register(d)) {
    started(d, "not enough memory");
  }
}

static bool is_loopback(const char *address) {
  return strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0;
}

static void dist_free(la_dist_t *d) {
  la_conn_forget_owed(d);
  la_proxy_free_all(d);
  while (d->places != NULL) {
    la_place_t *p = d->places;
    d->places = p->next;
    la_free(p->address);
    la_free(p);
  }
  la_mapserver_free(d);
  la_park_free(d);
  la_tls_unref(d->tls);
  la_lock_fini(&d->lock);
  la_free(d);
}

static la_dist_t *configure(la_host_t *host, const la_dist_config_t *config,
                            char *why, size_t max) {
  const char *address = config->address != NULL ? config->address : "127.0.0.1";
  const bool tls =
      config->cert != NULL || config->key != NULL || config->ca != NULL;
  if (!la_node_name_ok(config->name, strlen(config->name))) {
    snprintf(why, max, "'%.64s' is not a name of the form name@host",
             config->name);
  } else if (config->cookie == NULL || config->cookie[0] == '\0') {
    snprintf(why, max, "a cookie is needed");
  } else if (strlen(config->cookie) > LA_COOKIE_MAX) {
    snprintf(why, max, "the cookie is longer than %d bytes", LA_COOKIE_MAX);
  } else if (tls && (config->cert == NULL || config->key == NULL ||
                     config->ca == NULL)) {
    snprintf(why, max, "TLS needs cert, key and ca");
  } else if (config->port >= 0 && !tls && !is_loopback(address) &&
             !config->insecure) {
    snprintf(why, max,
             "listening on %.60s without TLS lets everybody on the "
             "network read and forge messages; use tls, or insecure = true",
             address);
  } else {
    la_dist_t *d = la_zalloc(sizeof *d);
    if (d == NULL) {
      snprintf(why, max, "not enough memory");
      return NULL;
    }
    la_lock_init(&d->lock, LA_RANK_NODE);
    if (tls) {
      d->tls = la_tls_new(config->cert, config->key, config->ca, why, max);
      if (d->tls == NULL) {
        dist_free(d);
        return NULL;
      }
    }
    d->host = host;
    snprintf(d->name, sizeof d->name, "%s", config->name);
    snprintf(d->address, sizeof d->address, "%s", address);
    d->cookie_len = strlen(config->cookie);
    memcpy(d->cookie, config->cookie, d->cookie_len);
    d->port = config->port;
    d->use_epmd = config->epmd;
    d->hidden = config->hidden;
    d->ticktime_ms =
        config->ticktime_ms != 0 ? config->ticktime_ms : TICKTIME_MS;
    d->max_message =
        config->max_message != 0 ? config->max_message : LA_MESSAGE_MAX;
    d->ticker.fire = on_tick;
    do {
      la_random(&host->env, &d->creation, sizeof d->creation);
    } while (d->creation < 4);
    return d;
  }
  return NULL;
}

bool la_dist_start(la_host_t *host, const la_dist_config_t *config,
                   la_note_t *n, char *why, size_t max) {
  la_dist_t *before = host->dist;
  if (before != NULL && !before->leaving) {
    snprintf(why, max, "this host is a node already: %s", before->name);
    return false;
  }
  la_dist_t *d = configure(host, config, why, max);
  if (d == NULL) {
    return false;
  }
  la_start_job_t *job = la_zalloc(sizeof *job);
  d->loop = job != NULL ? la_loop_start(&d->host->env) : NULL;
  if (d->loop == NULL) {
    la_free(job);
    dist_free(d);
    snprintf(why, max, "not enough memory or threads for the network");
    return false;
  }
  d->starting = n;
  d->before = before;
  d->last_serial = before != NULL ? before->last_serial : 0;
  la_nodewatches_begin(&host->node_watches);
  host->pay = la_conn_pay;
  host->dist = d;
  la_host_busy(host); /* others may wake its processes */
  job->job.run = start_job;
  job->dist = d;
  la_loop_post(d->loop, &job->job);
  return true;
}

void la_dist_stop(la_host_t *host) {
  la_dist_t *d = host->dist;
  if (d == NULL) {
    return;
  }
  la_told_t told;
  la_told_init(&told);
  la_lock(&d->lock);
  const bool left = d->leaving;
  d->leaving = true;
  la_unlock(&d->lock);
  if (left) {
    return;
  }
  la_loop_stop(d->loop);
  la_lock(&d->lock);
  while (d->conns != NULL) {
    la_conn_down(d->conns, "this node is leaving", &told);
  }
  la_park_end(d, &told);
  la_unlock(&d->lock);
  la_told_send(host, &told);
  la_host_idle(host);
}

void la_dist_close(la_host_t *host) {
  la_dist_stop(host);
  la_policy_free(host);
  for (la_dist_t *d = host->dist, *before; d != NULL; d = before) {
    before = d->before;
    dist_free(d);
  }
  host->dist = NULL;
}

const char *la_dist_name(la_host_t *host) {
  const la_dist_t *d = host->dist;
  return d != NULL && !d->leaving ? d->name : NULL;
}

la_pid_t la_dist_leader(la_host_t *host) {
  la_dist_t *d = host->dist;
  return d != NULL && !d->leaving ? atomic_load(&d->leader) : LA_NO_ID;
}

void la_dist_set_leader(la_host_t *host, la_pid_t pid) {
  la_dist_t *d = host->dist;
  if (d != NULL) {
    atomic_store(&d->leader, pid);
  }
}

int la_dist_port(la_host_t *host) {
  const la_dist_t *d = host->dist;
  return d != NULL && !d->leaving && d->port > 0 ? d->port : 0;
}

/* ---- what scripts ask for ----------------------------------------------- */

void la_dist_connect(la_host_t *host, const char *node, la_note_t *n) {
  la_dist_t *d = host->dist;
  la_told_t told;
  la_told_init(&told);
  la_lock(&d->lock);
  la_conn_t *c = la_conn_to(d, node);
  if (c == NULL) {
    la_conn_answer(&told, n, "not enough memory");
  } else if (c->state == CONN_UP) {
    la_conn_answer(&told, n, NULL);
  } else {
    n->sig.next = (la_sig_t *)c->waiters;
    c->waiters = n;
  }
  la_unlock(&d->lock);
  la_told_send(host, &told);
}

typedef struct la_close_job {
  la_job_t job;
  la_dist_t *dist;
  char node[LA_NODE_NAME_MAX + 1];
} la_close_job_t;

static void close_job(la_job_t *job) {
  la_close_job_t *j = (la_close_job_t *)job;
  la_dist_t *d = j->dist;
  la_lock(&d->lock);
  la_conn_t *c = la_conn_find(d, j->node);
  la_link_t *k = c != NULL ? c->link : NULL;
  la_unlock(&d->lock);
  if (k != NULL) {
    la_stream_fail(k->stream, "disconnected");
  }
  la_free(j);
}

bool la_dist_disconnect(la_host_t *host, const char *node) {
  la_dist_t *d = host->dist;
  la_close_job_t *j = la_zalloc(sizeof *j);
  if (j == NULL) {
    return false;
  }
  la_lock(&d->lock);
  const bool known = la_conn_find(d, node) != NULL;
  la_unlock(&d->lock);
  j->job.run = close_job;
  j->dist = d;
  snprintf(j->node, sizeof j->node, "%s", node);
  la_loop_post(d->loop, &j->job);
  return known;
}

char *la_dist_list(la_host_t *host, size_t *count) {
  la_dist_t *d = host->dist;
  la_buf_t b = {0};
  *count = 0;
  la_lock(&d->lock);
  for (const la_conn_t *c = d->conns; c != NULL; c = c->next) {
    if (c->state == CONN_UP) {
      la_buf_put(&b, c->node, strlen(c->node) + 1);
      (*count)++;
    }
  }
  la_unlock(&d->lock);
  la_buf_u8(&b, 0);
  if (b.failed) {
    la_buf_free(&b);
    return NULL;
  }
  return (char *)b.data;
}

bool la_dist_place(la_host_t *host, const char *node, const char *address,
                   int port) {
  la_dist_t *d = host->dist;
  la_place_t *p = NULL;
  if (address != NULL) {
    p = la_zalloc(sizeof *p + strlen(node) + 1);
    char *copy = la_alloc(strlen(address) + 1);
    if (p == NULL || copy == NULL) {
      la_free(p);
      la_free(copy);
      return false;
    }
    strcpy(p->node, node);
    strcpy(copy, address);
    p->address = copy;
    p->port = port;
  }
  la_lock(&d->lock);
  for (la_place_t **at = &d->places; *at != NULL;) {
    la_place_t *old = *at;
    if (strcmp(old->node, node) == 0) {
      *at = old->next;
      la_free(old->address);
      la_free(old);
    } else {
      at = &old->next;
    }
  }
  if (p != NULL) {
    p->next = d->places;
    d->places = p;
  }
  la_unlock(&d->lock);
  return true;
}

bool la_dist_creation(la_host_t *host, const char *node, uint32_t *creation) {
  la_dist_t *d = host->dist;
  bool up = false;
  if (d != NULL) {
    la_lock(&d->lock);
    const la_conn_t *c = la_conn_find(d, node);
    up = c != NULL && c->state == CONN_UP;
    if (up) {
      *creation = c->peer.creation;
    }
    la_unlock(&d->lock);
  }
  return up;
}

bool la_dist_is_up(la_host_t *host, const char *node, bool *is_luactor) {
  la_dist_t *d = host->dist;
  bool up = false;
  if (d != NULL) {
    la_lock(&d->lock);
    const la_conn_t *c = la_conn_find(d, node);
    up = c != NULL && c->state == CONN_UP;
    *is_luactor = up && c->peer.is_luactor;
    la_unlock(&d->lock);
  }
  return up;
}

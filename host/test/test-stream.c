/* Streams on loopback, plain and under TLS: everything arrives in order, in the
 * face of pauses, and every stream says good-bye exactly once. */
#include "io/stream.h"

#include <pthread.h>
#include <semaphore.h>

#include "base/env.h"
#include "certs.h"
#include "unit.h"

static la_loop_t *loop;
static la_env_t env;

/* Run a function in the loop's thread and wait for it. */
typedef struct call {
  la_job_t job;
  void (*f)(void *arg);
  void *arg;
  sem_t done;
} call_t;

static void call_run(la_job_t *job) {
  call_t *c = (call_t *)job;
  assert_true(la_loop_is_here(loop));
  c->f(c->arg);
  sem_post(&c->done);
}

static void in_loop(void (*f)(void *), void *arg) {
  call_t c = {.job = {NULL, call_run}, .f = f, .arg = arg};
  sem_init(&c.done, 0, 0);
  la_loop_post(loop, &c.job);
  sem_wait(&c.done);
  sem_destroy(&c.done);
}

/* One end of a connection. Lives until both its 'closed' and the test are
 * through with it. */
typedef struct end {
  la_stream_t *s;
  la_buf_t got;
  size_t want;        /* tell the test when so much has come */
  bool echo, small;   /* read in small pieces */
  int opened, closed;
  char why[256];
  uint8_t buf[65536];
  sem_t ready, full, gone;
} end_t;

typedef struct text_chunk {
  la_out_t chunk;
  uint8_t bytes[];
} text_chunk_t;

static void chunk_release(la_out_t *c) {
  la_free(c);
}

static la_out_t *chunk_of(const void *bytes, size_t n) {
  text_chunk_t *c = la_alloc(sizeof *c + n);
  memcpy(c->bytes, bytes, n);
  c->chunk = (la_out_t){NULL, c->bytes, n, chunk_release};
  return &c->chunk;
}

static void opened(void *ud) {
  end_t *e = ud;
  e->opened++;
  sem_post(&e->ready);
}

static uint8_t *space(void *ud, size_t *n) {
  end_t *e = ud;
  *n = e->small ? 7 : sizeof e->buf;
  return e->buf;
}

static bool got(void *ud, size_t n) {
  end_t *e = ud;
  if (e->echo) {
    la_stream_write(e->s, chunk_of(e->buf, n));
    return true;
  }
  la_buf_put(&e->got, e->buf, n);
  if (e->got.len >= e->want && e->want > 0) {
    e->want = 0;
    sem_post(&e->full);
  }
  return true;
}

static void closed(void *ud, const char *why) {
  end_t *e = ud;
  e->closed++;
  snprintf(e->why, sizeof e->why, "%s", why != NULL ? why : "");
  sem_post(&e->gone);
}

static la_stream_hooks_t hooks_of(end_t *e) {
  return (la_stream_hooks_t){e, opened, space, got, NULL, closed};
}

static void end_init(end_t *e) {
  memset(e, 0, offsetof(end_t, buf));
  sem_init(&e->ready, 0, 0);
  sem_init(&e->full, 0, 0);
  sem_init(&e->gone, 0, 0);
}

static void end_fini(end_t *e) {
  la_buf_free(&e->got);
  sem_destroy(&e->ready);
  sem_destroy(&e->full);
  sem_destroy(&e->gone);
}

static bool accept_end(void *ud, la_stream_t *s, la_stream_hooks_t *hooks) {
  end_t *e = ud;
  assert_true(la_stream_is_local(s));
  e->s = s;
  *hooks = hooks_of(e);
  return true;
}

/* A listener, whoever connects to it, and a client. */
typedef struct scene {
  la_tls_t *server_tls, *client_tls;
  la_listener_t *listener;
  uint16_t port;
  char why[256];
  end_t server, client;
  const char *host;
} scene_t;

static void open_scene(void *arg) {
  scene_t *x = arg;
  x->listener = la_listen(loop, "127.0.0.1", 0, x->server_tls, accept_end,
                          &x->server, x->why, sizeof x->why);
  assert_non_null(x->listener);
  x->port = la_listener_port(x->listener);
  const la_stream_hooks_t h = hooks_of(&x->client);
  x->client.s = la_stream_connect(loop, x->host, x->port, x->client_tls, &h);
  assert_non_null(x->client.s);
}

static void scene_init(scene_t *x, la_tls_t *server, la_tls_t *client) {
  memset(x, 0, offsetof(scene_t, server));
  end_init(&x->server);
  end_init(&x->client);
  x->server_tls = server;
  x->client_tls = client;
  x->host = "localhost";
}

static void close_client(void *arg) {
  la_stream_close(((scene_t *)arg)->client.s);
}

static void close_listener(void *arg) {
  la_listener_close(((scene_t *)arg)->listener);
}

static void scene_fini(scene_t *x) {
  in_loop(close_listener, x);
  end_fini(&x->server);
  end_fini(&x->client);
}

static la_buf_t payload;

/* All of 'payload', in chunks of odd sizes. */
static void send_payload(void *arg) {
  scene_t *x = arg;
  la_out_t *list = NULL, **last = &list;
  for (size_t at = 0; at < payload.len;) {
    size_t n = 1 + random_below(random_below(3) == 0 ? 200000 : 300);
    n = n < payload.len - at ? n : payload.len - at;
    *last = chunk_of(payload.data + at, n);
    last = &(*last)->next;
    at += n;
  }
  la_stream_write(x->client.s, list);
  assert_true(la_stream_pending(x->client.s) > 0);
}

static void pause_client(void *arg) {
  la_stream_pause(((scene_t *)arg)->client.s, true);
}
static void resume_client(void *arg) {
  la_stream_pause(((scene_t *)arg)->client.s, false);
}

static void echoes(la_tls_t *tls, bool small) {
  scene_t x;
  scene_init(&x, tls, tls);
  x.server.echo = true;
  x.client.small = small;
  x.client.want = payload.len;
  in_loop(open_scene, &x);
  sem_wait(&x.client.ready);
  assert_int_equal(x.client.opened, 1);
  in_loop(pause_client, &x);
  in_loop(send_payload, &x);
  in_loop(resume_client, &x);
  sem_wait(&x.client.full);
  assert_int_equal(x.client.got.len, payload.len);
  assert_memory_equal(x.client.got.data, payload.data, payload.len);
  in_loop(close_client, &x);
  sem_wait(&x.client.gone);
  assert_string_equal(x.client.why, "");
  sem_wait(&x.server.gone);
  assert_string_equal(x.server.why, "closed by the peer");
  assert_int_equal(x.client.closed + x.server.closed, 2);
  scene_fini(&x);
}

/* ---- certificates ----------------------------------------------------------------- */

static certs_t certs;

static la_tls_t *tls_of(const char *name, const char *ca) {
  char cert[160], key[160], authority[160], file[64], why[256];
  snprintf(file, sizeof file, "%s.pem", name);
  certs_path(&certs, file, cert);
  snprintf(file, sizeof file, "%s-key.pem", name);
  certs_path(&certs, file, key);
  snprintf(file, sizeof file, "%s-ca.pem", ca);
  certs_path(&certs, file, authority);
  la_tls_t *t = la_tls_new(cert, key, authority, why, sizeof why);
  assert_non_null(t);
  return t;
}

static int open_all(void **state) {
  (void)state;
  la_env_init_system(&env);
  loop = la_loop_start(&env);
  certs_t other = {0};
  certs_open(&certs, "good");
  certs_add(&certs, "node", "DNS:localhost,IP:127.0.0.1");
  strcpy(other.dir, certs.dir);
  certs_open(&other, "evil");
  certs_add(&other, "stranger", "DNS:localhost");
  certs_close(&other);
  seed_random("streams");
  uint8_t *p = la_buf_add(&payload, 3000000);
  for (size_t i = 0; i < payload.len; i++) {
    p[i] = (uint8_t)random_bits();
  }
  return loop == NULL;
}

static int close_all(void **state) {
  (void)state;
  static const char *const files[] = {
      "good-ca.pem", "node.pem",     "node-key.pem",
      "evil-ca.pem", "stranger.pem", "stranger-key.pem"};
  la_loop_stop(loop);
  certs_close(&certs);
  certs_remove(&certs, files, COUNT(files));
  la_buf_free(&payload);
  return 0;
}

/* ---- tests -------------------------------------------------------------------------- */

static void echoes_plain(void **state) {
  (void)state;
  echoes(NULL, false);
}

static void echoes_under_tls(void **state) {
  (void)state;
  la_tls_t *t = tls_of("node", "good");
  echoes(t, false);
  echoes(t, true);
  la_tls_unref(t);
}

static void check_host(void *arg) {
  scene_t *x = arg;
  assert_true(la_stream_peer_is(x->client.s, "localhost"));
  assert_true(la_stream_peer_is(x->client.s, "127.0.0.1"));
  assert_false(la_stream_peer_is(x->client.s, "example.org"));
  char peer[64];
  la_stream_peer(x->client.s, peer, sizeof peer);
  assert_memory_equal(peer, "127.0.0.1:", 10);
}

static void knows_whom_a_certificate_stands_for(void **state) {
  (void)state;
  la_tls_t *t = tls_of("node", "good");
  scene_t x;
  scene_init(&x, t, t);
  x.host = "127.0.0.1";
  in_loop(open_scene, &x);
  sem_wait(&x.client.ready);
  assert_int_equal(x.client.opened, 1);
  in_loop(check_host, &x);
  in_loop(close_client, &x);
  sem_wait(&x.client.gone);
  sem_wait(&x.server.gone);
  scene_fini(&x);
  la_tls_unref(t);
}

/* Either side refuses a certificate that its authority has not signed. */
static void refuses_strangers(void **state) {
  (void)state;
  la_tls_t *good = tls_of("node", "good");
  la_tls_t *evil = tls_of("stranger", "evil");
  for (int swap = 0; swap < 2; swap++) {
    scene_t x;
    scene_init(&x, swap ? evil : good, swap ? good : evil);
    in_loop(open_scene, &x);
    sem_wait(&x.client.gone);
    sem_wait(&x.server.gone);
    assert_int_equal(x.server.opened, 0);
    assert_non_null(strstr(x.client.why, "TLS handshake: "));
    scene_fini(&x);
  }
  la_tls_unref(good);
  la_tls_unref(evil);
}

static void connect_only(void *arg) {
  scene_t *x = arg;
  const la_stream_hooks_t h = hooks_of(&x->client);
  x->client.s = la_stream_connect(loop, x->host, x->port, NULL, &h);
}

static void says_why_a_connection_fails(void **state) {
  (void)state;
  scene_t x;
  scene_init(&x, NULL, NULL);
  in_loop(open_scene, &x);
  sem_wait(&x.client.ready);
  in_loop(close_client, &x);
  sem_wait(&x.client.gone);
  sem_wait(&x.server.gone);
  in_loop(close_listener, &x);
  x.client.closed = x.client.opened = 0;
  in_loop(connect_only, &x);
  sem_wait(&x.client.gone);
  assert_int_equal(x.client.closed, 1);
  assert_int_equal(x.client.opened, 0);
  assert_non_null(strstr(x.client.why, "connection refused"));
  x.host = "no.such.host.invalid";
  in_loop(connect_only, &x);
  sem_wait(&x.client.gone);
  assert_int_equal(x.client.closed, 2);
  assert_memory_equal(x.client.why, "no.such.host.invalid: ", 22);
  end_fini(&x.server);
  end_fini(&x.client);
}

static void connect_and_close(void *arg) {
  connect_only(arg);
  close_client(arg);
}

static void closes_while_it_opens(void **state) {
  (void)state;
  scene_t x;
  scene_init(&x, NULL, NULL);
  x.port = 1;
  in_loop(connect_and_close, &x);
  sem_wait(&x.client.gone);
  assert_int_equal(x.client.closed, 1);
  assert_string_equal(x.client.why, "");
  end_fini(&x.server);
  end_fini(&x.client);
}

static void listen_twice(void *arg) {
  scene_t *x = arg;
  assert_null(la_listen(loop, "127.0.0.1", x->port, NULL, accept_end, NULL,
                        x->why, sizeof x->why));
  assert_non_null(strstr(x->why, "address already in use"));
  assert_null(la_listen(loop, "nonsense", 0, NULL, accept_end, NULL, x->why,
                        sizeof x->why));
  assert_string_equal(x->why, "nonsense:0: not an address");
}

static void says_why_it_cannot_listen(void **state) {
  (void)state;
  scene_t x;
  scene_init(&x, NULL, NULL);
  in_loop(open_scene, &x);
  sem_wait(&x.client.ready);
  in_loop(listen_twice, &x);
  in_loop(close_client, &x);
  sem_wait(&x.server.gone);
  scene_fini(&x);
}

static void says_which_file_is_wrong(void **state) {
  (void)state;
  char why[256], cert[160], key[160], wrong[160];
  certs_path(&certs, "node.pem", cert);
  certs_path(&certs, "node-key.pem", key);
  certs_path(&certs, "stranger-key.pem", wrong);
  assert_null(la_tls_new("/no/cert", key, cert, why, sizeof why));
  assert_memory_equal(why, "certificate /no/cert: ", 22);
  assert_null(la_tls_new(cert, wrong, cert, why, sizeof why));
  assert_memory_equal(why, "key ", 4);
  assert_null(la_tls_new(cert, key, "/no/ca", why, sizeof why));
  assert_memory_equal(why, "authorities /no/ca: ", 20);
}

/* ---- timers and jobs ------------------------------------------------------------------ */

typedef struct ticks {
  la_loop_timer_t timer;
  int count;
  sem_t done;
} ticks_t;

static void tick(la_loop_timer_t *t) {
  ticks_t *x = (ticks_t *)t;
  if (++x->count == 3) {
    la_loop_timer_stop(t);
    sem_post(&x->done);
  }
}

static void start_ticks(void *arg) {
  ticks_t *x = arg;
  x->timer.fire = tick;
  x->count = 0;
  assert_true(la_loop_timer_start(loop, &x->timer, 1, 1));
}

static void ticks_until_stopped(void **state) {
  (void)state;
  ticks_t x = {0};
  sem_init(&x.done, 0, 0);
  in_loop(start_ticks, &x);
  sem_wait(&x.done);
  in_loop(start_ticks, &x); /* may be started again */
  sem_wait(&x.done);
  sem_destroy(&x.done);
}

typedef struct counted {
  la_job_t job;
  int *count;
} counted_t;

static void count_one(la_job_t *job) {
  (*((counted_t *)job)->count)++;
  la_free(job);
}

static void *post_many(void *count) {
  for (int i = 0; i < 1000; i++) {
    counted_t *c = la_zalloc(sizeof *c);
    c->job.run = count_one;
    c->count = count;
    la_loop_post(loop, &c->job);
  }
  return NULL;
}

static void nothing(void *arg) {
  (void)arg;
}

static void runs_every_job_once(void **state) {
  (void)state;
  int count = 0;
  pthread_t threads[4];
  for (size_t i = 0; i < COUNT(threads); i++) {
    pthread_create(&threads[i], NULL, post_many, &count);
  }
  for (size_t i = 0; i < COUNT(threads); i++) {
    pthread_join(threads[i], NULL);
  }
  in_loop(nothing, NULL);
  assert_int_equal(count, 4000);
}

/* A loop that is stopped closes what is open and says so. */
static void stops_with_everything_open(void **state) {
  (void)state;
  la_loop_t *old = loop;
  loop = la_loop_start(&env);
  scene_t x;
  scene_init(&x, NULL, NULL);
  ticks_t t = {0};
  in_loop(open_scene, &x);
  sem_wait(&x.client.ready);
  sem_wait(&x.server.ready);
  in_loop(start_ticks, &t);
  la_loop_stop(loop);
  assert_int_equal(x.client.closed + x.server.closed, 2);
  loop = old;
  end_fini(&x.server);
  end_fini(&x.client);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(echoes_plain),
      cmocka_unit_test(echoes_under_tls),
      cmocka_unit_test(knows_whom_a_certificate_stands_for),
      cmocka_unit_test(refuses_strangers),
      cmocka_unit_test(says_why_a_connection_fails),
      cmocka_unit_test(closes_while_it_opens),
      cmocka_unit_test(says_why_it_cannot_listen),
      cmocka_unit_test(says_which_file_is_wrong),
      cmocka_unit_test(ticks_until_stopped),
      cmocka_unit_test(runs_every_job_once),
      cmocka_unit_test(stops_with_everything_open),
  };
  return cmocka_run_group_tests(tests, open_all, close_all);
}

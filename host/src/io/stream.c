/* See stream.h. A stream is in one of three states: opening (addresses are
 * looked up and tried, TLS shakes hands), open, closing. The socket is a block
 * of its own, since a failed attempt's socket is still being closed while the next address
 * is tried. A stream is freed when its last socket is closed. */
#include "io/stream.h"

#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

#include "base/env.h"
#include "io/door.h"
#include "io/uvloop.h"

#define READ_BYTES ((size_t)64 << 10)
#define BUFS_MAX 64

typedef enum { OPENING, SHAKING, OPEN, CLOSING } state_t;

typedef struct sock {
  uv_tcp_t uv;
  la_stream_t *stream;
  bool is_last; /* the stream goes with it */
} sock_t;

struct la_stream {
  la_loop_t *loop;
  la_open_t open;
  la_stream_hooks_t hooks;
  state_t state;
  sock_t *sock;

  struct addrinfo *addresses, *address; /* connecting: all, and the one tried */
  uv_getaddrinfo_t lookup;
  uv_connect_t connect;
  bool looking;
  uint16_t port;
  char host[256];

  la_door_t *door;       /* for other threads, while it is open */
  la_tls_conn_t *tls;    /* open: under the door's lock */
  uint8_t *raw;          /* TLS: what is read from the network */
  la_buf_t secret;       /* TLS: what is being written */
  la_buf_t next_secret;  /* TLS: what waits for that */

  la_out_t *first, **last; /* to be written */
  la_out_t *flying;        /* being written, 'flying_bytes' in all */
  size_t flying_bytes, pending;
  bool writing, paused, has_why, finishing;
  uv_write_t write;
  char why[256];
};

struct la_listener {
  la_loop_t *loop;
  la_open_t open;
  uv_tcp_t uv;
  la_tls_t *tls;
  la_accept_fn *accept;
  void *ud;
  bool closing;
};

static void flush(la_stream_t *s);

/* ---- the end --------------------------------------------------------------------- */

void la_out_release(la_out_t *c) {
  while (c != NULL) {
    la_out_t *next = c->next;
    c->release(c);
    c = next;
  }
}

static void finish(la_stream_t *s) {
  la_out_t *rest = s->first;
  s->first = NULL;
  s->last = &s->first;
  la_out_release(s->flying);
  la_out_release(rest);
  if (s->hooks.closed != NULL) {
    s->hooks.closed(s->hooks.ud, s->has_why ? s->why : NULL);
  }
  uv_freeaddrinfo(s->addresses);
  la_door_unref(s->door);
  la_tls_conn_free(s->tls);
  la_buf_free(&s->secret);
  la_buf_free(&s->next_secret);
  la_free(s->raw);
  la_free(s);
}

static void sock_closed(uv_handle_t *h) {
  sock_t *k = h->data;
  if (k->is_last) {
    finish(k->stream);
  }
  la_free(k);
}

static void close_sock(la_stream_t *s, bool is_last) {
  s->sock->is_last = is_last;
  uv_close((uv_handle_t *)&s->sock->uv, sock_closed);
  s->sock = NULL;
}

void la_stream_fail(la_stream_t *s, const char *why) {
  if (s->state == CLOSING) {
    return;
  }
  la_door_close(s->door); /* the socket and TLS are this thread's alone again */
  if (why != NULL) {
    snprintf(s->why, sizeof s->why, "%s", why);
    s->has_why = true;
  }
  if (s->tls != NULL && s->state == OPEN && !s->writing) {
    /* A good-bye, as far as the socket takes it at once. */
    la_buf_t out = {0};
    la_tls_shutdown(s->tls, &out);
    uv_buf_t b = uv_buf_init((char *)out.data, (unsigned)out.len);
    if (out.len > 0) {
      uv_try_write((uv_stream_t *)&s->sock->uv, &b, 1);
    }
    la_buf_free(&out);
  }
  s->state = CLOSING;
  la_loop_closing(s->loop, &s->open);
  if (s->looking) {
    uv_cancel((uv_req_t *)&s->lookup); /* looked_up() goes on */
  } else {
    close_sock(s, true);
  }
}

void la_stream_close(la_stream_t *s) {
  la_stream_fail(s, NULL);
}

static void fail_uv(la_stream_t *s, const char *what, int status) {
  char why[256];
  if (status == UV_EOF || status == UV_ECONNRESET || status == UV_EPIPE) {
    snprintf(why, sizeof why, "closed by the peer");
  } else {
    snprintf(why, sizeof why, "%.40s: %.200s", what, uv_strerror(status));
  }
  la_stream_fail(s, why);
}

static void closed_by_loop(la_open_t *o) {
  la_stream_fail((la_stream_t *)(void *)((char *)o -
                                         offsetof(la_stream_t, open)),
                 "the host is closing");
}

/* ---- reading ---------------------------------------------------------------------- */

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf) {
  (void)hint;
  la_stream_t *s = ((sock_t *)h->data)->stream;
  size_t n = 0;
  uint8_t *to = NULL;
  if (s->tls != NULL) {
    to = s->raw;
    n = READ_BYTES;
  } else {
    to = s->hooks.space(s->hooks.ud, &n);
  }
  *buf = uv_buf_init((char *)to, to != NULL ? (unsigned)n : 0);
}

static void shake(la_stream_t *s);

/* Hand out what TLS has decrypted. */
static void read_plain(la_stream_t *s) {
  while (s->state == OPEN && !s->paused) {
    size_t n, got;
    uint8_t *to = s->hooks.space(s->hooks.ud, &n);
    if (to == NULL) {
      la_stream_fail(s, "not enough memory");
      return;
    }
    la_lock(&s->door->lock);
    const la_tls_result_t r = la_tls_read(s->tls, to, n, &got);
    la_unlock(&s->door->lock);
    if (r != LA_TLS_OK) {
      la_stream_fail(s, r == LA_TLS_CLOSED ? "closed by the peer"
                                           : la_tls_why(s->tls));
      return;
    }
    if (got == 0) {
      break;
    }
    if (!s->hooks.got(s->hooks.ud, got)) {
      la_stream_close(s);
      return;
    }
  }
  if (s->state == OPEN) {
    la_lock(&s->door->lock);
    la_tls_flush(s->tls,
                 s->door->claimed || s->door->secret.len > 0
                     ? &s->door->secret
                     : &s->next_secret);
    la_unlock(&s->door->lock);
    flush(s);
  }
}

static void on_read(uv_stream_t *h, ssize_t n, const uv_buf_t *buf) {
  la_stream_t *s = ((sock_t *)h->data)->stream;
  if (n == UV_ENOBUFS) {
    la_stream_fail(s, "not enough memory");
  } else if (n < 0) {
    fail_uv(s, "read", (int)n);
  } else if (n > 0 && s->tls != NULL) {
    la_lock(&s->door->lock);
    const bool fed =
        la_tls_feed(s->tls, (const uint8_t *)buf->base, (size_t)n);
    la_unlock(&s->door->lock);
    if (!fed) {
      la_stream_fail(s, "not enough memory");
    } else if (s->state == SHAKING) {
      shake(s);
    } else {
      read_plain(s);
    }
  } else if (n > 0 && !s->hooks.got(s->hooks.ud, (size_t)n)) {
    la_stream_close(s);
  }
}

static void start_reading(la_stream_t *s) {
  const int r =
      uv_read_start((uv_stream_t *)&s->sock->uv, on_alloc, on_read);
  if (r != 0) {
    fail_uv(s, "read", r);
  }
}

void la_stream_pause(la_stream_t *s, bool paused) {
  if (s->paused == paused || s->state == CLOSING) {
    return;
  }
  s->paused = paused;
  if (s->state != OPEN) {
    return;
  }
  if (paused) {
    uv_read_stop((uv_stream_t *)&s->sock->uv);
  } else {
    start_reading(s);
    if (s->tls != NULL) {
      read_plain(s);
    }
  }
}

/* ---- writing ----------------------------------------------------------------------- */

static void on_write(uv_write_t *w, int status) {
  la_stream_t *s = w->data;
  const size_t n = s->flying_bytes;
  la_out_t *done = s->flying;
  s->writing = false;
  s->flying = NULL;
  s->flying_bytes = 0;
  s->secret.len = 0;
  s->pending -= n;
  la_out_release(done);
  if (s->state == CLOSING) {
    return;
  }
  if (status != 0) {
    fail_uv(s, "write", status);
    return;
  }
  if (n > 0 && s->state == OPEN && s->hooks.wrote != NULL) {
    s->hooks.wrote(s->hooks.ud, n);
  }
  if (s->state != CLOSING) {
    flush(s);
  }
  if (s->finishing && s->state != CLOSING) {
    la_stream_finish(s);
  }
}

static void start_write(la_stream_t *s, const uv_buf_t *bufs, unsigned n) {
  s->writing = true;
  s->write.data = s;
  const int r = uv_write(&s->write, (uv_stream_t *)&s->sock->uv, bufs, n,
                         on_write);
  if (r != 0) {
    s->writing = false;
    fail_uv(s, "write", r);
  }
}

/* Move chunks from the queue to the flying ones. */
static unsigned take(la_stream_t *s, uv_buf_t *bufs) {
  unsigned n = 0;
  la_out_t **end = &s->flying;
  while (s->first != NULL && n < BUFS_MAX) {
    la_out_t *c = s->first;
    s->first = c->next;
    bufs[n++] = uv_buf_init((char *)(uintptr_t)c->data, (unsigned)c->len);
    s->flying_bytes += c->len;
    *end = c;
    end = &c->next;
  }
  *end = NULL;
  if (s->first == NULL) {
    s->last = &s->first;
  }
  return n;
}

void la_stream_finish(la_stream_t *s) {
  s->finishing = true;
  if (!s->writing && s->first == NULL && s->next_secret.len == 0) {
    la_stream_close(s);
  }
}

/* The socket is ours; what other threads have left comes first. False: one of them
 * has it, and will have us called. [door's lock] */
static bool take_door_locked(la_stream_t *s) {
  la_door_t *d = s->door;
  if (d->claimed) {
    d->wanted = true;
    return false;
  }
  if (d->rest != NULL) {
    la_out_t *last = d->rest;
    s->pending += last->len;
    while (last->next != NULL) {
      last = last->next;
      s->pending += last->len;
    }
    last->next = s->first;
    if (s->first == NULL) {
      s->last = &last->next;
    }
    s->first = d->rest;
    d->rest = NULL;
  }
  return true;
}

/* Encrypt what is to be written, behind what other threads have encrypted and not
 * got rid of. [door's lock] */
static bool encrypt_locked(la_stream_t *s, const uv_buf_t *bufs, unsigned n) {
  la_door_t *d = s->door;
  bool ok = !d->secret.failed;
  la_buf_put(&s->next_secret, d->secret.data, d->secret.len);
  d->secret.len = 0;
  for (unsigned i = 0; i < n && ok; i++) {
    ok = la_tls_write(s->tls, (const uint8_t *)bufs[i].base, bufs[i].len,
                      &s->next_secret) == LA_TLS_OK;
  }
  return ok;
}

static void flush(la_stream_t *s) {
  uv_buf_t bufs[BUFS_MAX];
  unsigned n = 0;
  bool ok = true;
  if (s->writing || s->state == OPENING || s->state == CLOSING) {
    return;
  }
  la_lock(&s->door->lock);
  const bool mine = take_door_locked(s);
  if (mine && (s->tls == NULL || s->state == OPEN)) {
    n = take(s, bufs);
  }
  if (mine && s->tls != NULL && s->state == OPEN) {
    ok = encrypt_locked(s, bufs, n);
  }
  if (mine && s->state == OPEN) {
    s->door->busy = n > 0 || s->next_secret.len > 0;
  }
  la_unlock(&s->door->lock);
  if (!mine) {
    return;
  }
  if (!ok || s->next_secret.failed) {
    la_stream_fail(s, ok ? "not enough memory" : la_tls_why(s->tls));
  } else if (s->tls == NULL && n > 0) {
    start_write(s, bufs, n);
  } else if (s->next_secret.len > 0) {
    const la_buf_t old = s->secret;
    s->secret = s->next_secret;
    s->next_secret = old;
    s->next_secret.len = 0;
    bufs[0] = uv_buf_init((char *)s->secret.data, (unsigned)s->secret.len);
    start_write(s, bufs, 1);
  }
}

void la_stream_write(la_stream_t *s, la_out_t *chunks) {
  if (s->state == CLOSING) {
    la_out_release(chunks);
    return;
  }
  *s->last = chunks;
  for (la_out_t *c = chunks; c != NULL; c = c->next) {
    s->pending += c->len;
    s->last = &c->next;
  }
  if (s->state == OPEN) {
    flush(s);
  }
}

la_door_t *la_stream_door(la_stream_t *s) {
  return la_door_ref(s->door);
}

size_t la_stream_pending(const la_stream_t *s) {
  return s->pending;
}

/* ---- opening ------------------------------------------------------------------------ */

static void opened(la_stream_t *s) {
  uv_os_fd_t fd;
  s->state = OPEN;
  if (uv_fileno((uv_handle_t *)&s->sock->uv, &fd) == 0) {
    la_door_open(s->door, fd, s->tls, s->writing);
  }
  s->hooks.opened(s->hooks.ud);
  if (s->state == OPEN) {
    flush(s);
  }
}

static void shake(la_stream_t *s) {
  bool done;
  const la_tls_result_t r = la_tls_handshake(s->tls, &s->next_secret, &done);
  flush(s);
  if (r != LA_TLS_OK) {
    la_stream_fail(s, la_tls_why(s->tls));
  } else if (done && s->state == SHAKING) {
    opened(s);
    if (s->state == OPEN) {
      read_plain(s);
    }
  }
}

/* What the system takes but has not sent is behind nobody's control any more:
 * little of it, so that what is urgent need not wait behind megabytes. */
static void keep_short(la_stream_t *s) {
#ifdef TCP_NOTSENT_LOWAT
  uv_os_fd_t fd;
  const int bytes = 256 << 10;
  if (uv_fileno((uv_handle_t *)&s->sock->uv, &fd) == 0) {
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof bytes);
  }
#else
  (void)s;
#endif
}

static void begin(la_stream_t *s) {
  uv_tcp_nodelay(&s->sock->uv, 1);
  keep_short(s);
  if (s->tls == NULL) {
    opened(s);
    if (s->state == OPEN && !s->paused) {
      start_reading(s);
    }
    return;
  }
  s->state = SHAKING;
  start_reading(s);
  if (s->state == SHAKING) {
    shake(s);
  }
}

static void free_unopened(la_stream_t *s) {
  la_door_unref(s->door);
  la_tls_conn_free(s->tls);
  la_free(s->raw);
  la_free(s);
}

static la_stream_t *stream_new(la_loop_t *l, la_tls_t *tls,
                               const char *server_name) {
  la_stream_t *s = la_zalloc(sizeof *s);
  if (s == NULL) {
    return NULL;
  }
  s->loop = l;
  s->door = la_door_new();
  if (s->door == NULL) {
    la_free(s);
    return NULL;
  }
  s->last = &s->first;
  s->open.close = closed_by_loop;
  if (tls != NULL) {
    s->tls = la_tls_conn_new(tls, server_name);
    s->raw = la_alloc(READ_BYTES);
    if (s->tls == NULL || s->raw == NULL) {
      free_unopened(s);
      return NULL;
    }
  }
  return s;
}

static bool new_sock(la_stream_t *s) {
  sock_t *k = la_zalloc(sizeof *k);
  if (k == NULL || uv_tcp_init(la_loop_uv(s->loop), &k->uv) != 0) {
    la_free(k);
    return false;
  }
  k->uv.data = k;
  k->stream = s;
  s->sock = k;
  return true;
}

static void try_next(la_stream_t *s, int status);

static void on_connect(uv_connect_t *c, int status) {
  la_stream_t *s = c->data;
  if (s->state == CLOSING || status == UV_ECANCELED) {
    return;
  }
  if (status == 0) {
    begin(s);
    return;
  }
  s->address = s->address->ai_next;
  try_next(s, status);
}

/* Try the address at hand; 'status' is what became of the one before. */
static void try_next(la_stream_t *s, int status) {
  while (s->address != NULL) {
    if (status != 0) {
      close_sock(s, false);
      if (!new_sock(s)) {
        s->state = CLOSING;
        la_loop_closing(s->loop, &s->open);
        snprintf(s->why, sizeof s->why, "not enough memory");
        s->has_why = true;
        finish(s);
        return;
      }
    }
    s->connect.data = s;
    status = uv_tcp_connect(&s->connect, &s->sock->uv, s->address->ai_addr,
                            on_connect);
    if (status == 0) {
      return;
    }
    s->address = s->address->ai_next;
  }
  char what[300];
  snprintf(what, sizeof what, "%.200s:%u", s->host, s->port);
  fail_uv(s, what, status != 0 ? status : UV_EAI_NODATA);
}

static void looked_up(uv_getaddrinfo_t *r, int status,
                      struct addrinfo *list) {
  la_stream_t *s = r->data;
  s->looking = false;
  s->addresses = s->address = list;
  if (s->state == CLOSING) {
    close_sock(s, true);
  } else if (status != 0) {
    char what[300];
    snprintf(what, sizeof what, "%.200s", s->host);
    fail_uv(s, what, status);
  } else {
    try_next(s, 0);
  }
}

la_stream_t *la_stream_connect(la_loop_t *l, const char *host, uint16_t port,
                               la_tls_t *tls,
                               const la_stream_hooks_t *hooks) {
  la_stream_t *s = stream_new(l, tls, host);
  if (s == NULL || !new_sock(s)) {
    if (s != NULL) {
      free_unopened(s);
    }
    return NULL;
  }
  s->hooks = *hooks;
  s->port = port;
  snprintf(s->host, sizeof s->host, "%s", host);
  la_loop_opened(l, &s->open);
  char service[8];
  snprintf(service, sizeof service, "%u", port);
  const struct addrinfo hints = {.ai_family = AF_UNSPEC,
                                 .ai_socktype = SOCK_STREAM};
  s->lookup.data = s;
  s->looking = true;
  const int r = uv_getaddrinfo(la_loop_uv(l), &s->lookup, looked_up, host,
                               service, &hints);
  if (r != 0) {
    s->looking = false;
    fail_uv(s, host, r);
  }
  return s;
}

/* ---- listening ------------------------------------------------------------------------ */

static void listener_closed(uv_handle_t *h) {
  la_listener_t *n = h->data;
  la_tls_unref(n->tls);
  la_free(n);
}

void la_listener_close(la_listener_t *n) {
  if (!n->closing) {
    n->closing = true;
    la_loop_closing(n->loop, &n->open);
    uv_close((uv_handle_t *)&n->uv, listener_closed);
  }
}

static void listener_closed_by_loop(la_open_t *o) {
  la_listener_close((la_listener_t *)(void *)((char *)o -
                                              offsetof(la_listener_t, open)));
}

static void on_connection(uv_stream_t *h, int status) {
  la_listener_t *n = h->data;
  la_stream_t *s = status == 0 ? stream_new(n->loop, n->tls, NULL) : NULL;
  if (s == NULL || !new_sock(s)) {
    if (s != NULL) {
      free_unopened(s);
    }
    return;
  }
  la_loop_opened(n->loop, &s->open);
  if (uv_accept(h, (uv_stream_t *)&s->sock->uv) != 0 ||
      !n->accept(n->ud, s, &s->hooks)) {
    s->hooks.closed = NULL;
    la_stream_close(s);
    return;
  }
  if (s->state == OPENING) {
    begin(s);
  }
}

la_listener_t *la_listen(la_loop_t *l, const char *address, uint16_t port,
                         la_tls_t *tls, la_accept_fn *accept, void *ud,
                         char *why, size_t max) {
  struct sockaddr_storage at;
  int r = uv_ip4_addr(address, port, (struct sockaddr_in *)&at);
  if (r != 0) {
    r = uv_ip6_addr(address, port, (struct sockaddr_in6 *)&at);
  }
  la_listener_t *n = r == 0 ? la_zalloc(sizeof *n) : NULL;
  if (n == NULL) {
    snprintf(why, max, "%.60s:%u: %s", address, port,
             r != 0 ? "not an address" : "not enough memory");
    return NULL;
  }
  n->loop = l;
  n->accept = accept;
  n->ud = ud;
  n->open.close = listener_closed_by_loop;
  n->tls = tls != NULL ? la_tls_ref(tls) : NULL;
  r = uv_tcp_init(la_loop_uv(l), &n->uv);
  if (r != 0) {
    la_tls_unref(n->tls);
    la_free(n);
    snprintf(why, max, "%.60s:%u: %s", address, port, uv_strerror(r));
    return NULL;
  }
  n->uv.data = n;
  la_loop_opened(l, &n->open);
  r = uv_tcp_bind(&n->uv, (const struct sockaddr *)&at, 0);
  if (r == 0) {
    r = uv_listen((uv_stream_t *)&n->uv, 128, on_connection);
  }
  if (r != 0) {
    snprintf(why, max, "%.60s:%u: %s", address, port, uv_strerror(r));
    la_listener_close(n);
    return NULL;
  }
  return n;
}

uint16_t la_listener_port(const la_listener_t *n) {
  struct sockaddr_storage at;
  int size = sizeof at;
  if (uv_tcp_getsockname(&n->uv, (struct sockaddr *)&at, &size) != 0) {
    return 0;
  }
  return ntohs(at.ss_family == AF_INET6
                   ? ((struct sockaddr_in6 *)&at)->sin6_port
                   : ((struct sockaddr_in *)&at)->sin_port);
}

/* ---- the peer -------------------------------------------------------------------------- */

bool la_stream_peer_is(const la_stream_t *s, const char *host) {
  return s->tls == NULL || la_tls_peer_is(s->tls, host);
}

static bool peer_address(const la_stream_t *s, struct sockaddr_storage *at) {
  int size = sizeof *at;
  return s->sock != NULL && uv_tcp_getpeername(&s->sock->uv,
                                               (struct sockaddr *)at,
                                               &size) == 0;
}

bool la_stream_is_local(const la_stream_t *s) {
  struct sockaddr_storage at;
  if (!peer_address(s, &at)) {
    return false;
  }
  if (at.ss_family == AF_INET) {
    const uint32_t ip =
        ntohl(((struct sockaddr_in *)&at)->sin_addr.s_addr);
    return ip >> 24 == 127;
  }
  const struct in6_addr *a = &((struct sockaddr_in6 *)&at)->sin6_addr;
  return IN6_IS_ADDR_LOOPBACK(a) ||
         (IN6_IS_ADDR_V4MAPPED(a) && a->s6_addr[12] == 127);
}

void la_stream_peer(const la_stream_t *s, char *out, size_t max) {
  struct sockaddr_storage at;
  char ip[48] = "?";
  unsigned port = 0;
  if (peer_address(s, &at) && at.ss_family == AF_INET) {
    const struct sockaddr_in *a = (struct sockaddr_in *)&at;
    uv_ip4_name(a, ip, sizeof ip);
    port = ntohs(a->sin_port);
  } else if (peer_address(s, &at)) {
    const struct sockaddr_in6 *a = (struct sockaddr_in6 *)&at;
    uv_ip6_name(a, ip, sizeof ip);
    port = ntohs(a->sin6_port);
  }
  snprintf(out, max, "%s:%u", ip, port);
}

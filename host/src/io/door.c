#include "io/door.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/env.h"

#define PARTS_MAX 64

la_door_t *la_door_new(void) {
  la_door_t *d = la_zalloc(sizeof *d);
  if (d != NULL) {
    la_lock_init(&d->lock, LA_RANK_DOOR);
    atomic_init(&d->refs, 1);
    d->fd = -1;
  }
  return d;
}

la_door_t *la_door_ref(la_door_t *d) {
  atomic_fetch_add_explicit(&d->refs, 1, memory_order_relaxed);
  return d;
}

void la_door_unref(la_door_t *d) {
  if (d != NULL && atomic_fetch_sub(&d->refs, 1) == 1) {
    la_out_release(d->rest);
    la_buf_free(&d->secret);
    la_lock_fini(&d->lock);
    la_free(d);
  }
}

void la_door_open(la_door_t *d, int fd, la_tls_conn_t *tls, bool busy) {
  la_lock(&d->lock);
  d->fd = fd;
  d->tls = tls;
  d->busy = busy;
  la_unlock(&d->lock);
}

void la_door_close(la_door_t *d) {
  la_door_open(d, -1, NULL, true);
}

/* ---- writing ----------------------------------------------------------------- */

/* 'n' bytes of the chunks have left: move the whole ones to '*done'. */
static void cross_off(la_out_t **chunks, size_t n, la_out_t ***done) {
  while (n > 0) {
    la_out_t *c = *chunks;
    if (n < c->len) {
      c->data += n;
      c->len -= n;
      return;
    }
    n -= c->len;
    *chunks = c->next;
    c->next = NULL;
    **done = c;
    *done = &c->next;
  }
}

static size_t write_plain(la_door_t *d, la_out_t **chunks, la_out_t ***done) {
  size_t all = 0;
  while (*chunks != NULL) {
    struct iovec parts[PARTS_MAX];
    struct msghdr m = {.msg_iov = parts};
    size_t wanted = 0;
    for (la_out_t *c = *chunks; c != NULL && m.msg_iovlen < PARTS_MAX;
         c = c->next) {
      parts[m.msg_iovlen++] =
          (struct iovec){(void *)(uintptr_t)c->data, c->len};
      wanted += c->len;
    }
    const ssize_t n = sendmsg(d->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n <= 0) {
      break; /* full, or broken, which the loop will find */
    }
    cross_off(chunks, (size_t)n, done);
    all += (size_t)n;
    if ((size_t)n < wanted) {
      break;
    }
  }
  return all;
}

static size_t write_secret(la_door_t *d, la_out_t **chunks,
                           la_out_t ***done) {
  size_t all = 0;
  while (*chunks != NULL &&
         la_tls_write(d->tls, (*chunks)->data, (*chunks)->len, &d->secret) ==
             LA_TLS_OK) {
    const size_t n = (*chunks)->len;
    all += n;
    cross_off(chunks, n, done);
  }
  if (d->secret.failed) {
    return all; /* the loop ends the stream */
  }
  const ssize_t n = send(d->fd, d->secret.data, d->secret.len,
                         MSG_DONTWAIT | MSG_NOSIGNAL);
  if (n > 0) {
    d->secret.len -= (size_t)n;
    memmove(d->secret.data, d->secret.data + n, d->secret.len);
  }
  return all;
}

void la_door_hold(la_door_t *d) {
  la_lock(&d->lock);
  if (d->claimed) {
    d->wanted = true; /* ours when it is let go of */
  } else {
    d->busy = true;
  }
  la_unlock(&d->lock);
}

bool la_door_claim(la_door_t *d) {
  la_lock(&d->lock);
  const bool ok = d->fd >= 0 && !d->busy && !d->claimed && d->rest == NULL &&
                  d->secret.len == 0 && !d->secret.failed;
  d->claimed |= ok;
  la_unlock(&d->lock);
  return ok;
}

size_t la_door_write(la_door_t *d, la_out_t *chunks, bool *left) {
  la_out_t *done = NULL, **end = &done;
  size_t n = 0;
  la_lock(&d->lock);
  if (d->fd < 0) {
    *end = chunks;
    chunks = NULL;
  } else if (chunks != NULL) {
    n = d->tls != NULL ? write_secret(d, &chunks, &end)
                       : write_plain(d, &chunks, &end);
  }
  d->rest = chunks;
  *left = chunks != NULL || d->secret.len > 0 || d->secret.failed || d->wanted;
  d->busy |= d->wanted; /* nobody may overtake what the loop has queued */
  d->claimed = d->wanted = false;
  la_unlock(&d->lock);
  la_out_release(done);
  return n;
}

/* See out.h. */
#include "base/out.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <unistd.h>

static bool has_room(int fd, int wait_ms) {
  struct pollfd p = {.fd = fd, .events = POLLOUT};
  int n;
  do {
    n = poll(&p, 1, wait_ms);
  } while (n < 0 && errno == EINTR);
  return n > 0; /* an error shows in write */
}

bool la_out_write(int fd, const char *text, size_t len, int wait_ms) {
  const bool blocks = (fcntl(fd, F_GETFL) & O_NONBLOCK) == 0;
  while (len > 0) {
    if (blocks && !has_room(fd, wait_ms)) {
      return false;
    }
    const ssize_t n =
        write(fd, text, blocks && len > PIPE_BUF ? PIPE_BUF : len);
    if (n > 0) {
      text += n;
      len -= (size_t)n;
    } else if (n < 0 && errno != EINTR &&
               (errno != EAGAIN || !has_room(fd, wait_ms))) {
      return false;
    }
  }
  return true;
}

/* luactor.h: a ready-made end for the log. */
#include <stdio.h>
#include <unistd.h>

#include "base/out.h"
#include "luactor.h"

enum { PATIENCE_MS = 1000 };

/* stderr's own lock keeps lines of other threads apart and guards the count,
 * which hosts may share. */
void luactor_log_stderr(void *userdata, int level, const char *text,
                        size_t len) {
  unsigned own = 0;
  unsigned *dropped = userdata != NULL ? userdata : &own;
  (void)level;
  if (text == NULL) {
    return;
  }
  flockfile(stderr);
  const int wait_ms = *dropped > 0 ? 0 : PATIENCE_MS;
  bool ok = true;
  if (*dropped > 0) {
    char note[64];
    const int n =
        snprintf(note, sizeof note, "%u log lines dropped\n", *dropped);
    ok = la_out_write(STDERR_FILENO, note, (size_t)n, 0);
    *dropped = ok ? 0 : *dropped;
  }
  if (!ok || !la_out_write(STDERR_FILENO, text, len, wait_ms) ||
      !la_out_write(STDERR_FILENO, "\n", 1, wait_ms)) {
    ++*dropped;
  }
  funlockfile(stderr);
}

/* luactor_log_stderr, on a pipe in the place of standard error. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "luactor.h"
#include "unit.h"

static int kept, reader;

static int begin(void **state) {
  int ends[2];
  (void)state;
  if (pipe(ends) != 0) {
    return -1;
  }
  kept = dup(STDERR_FILENO);
  dup2(ends[1], STDERR_FILENO);
  close(ends[1]);
  reader = ends[0];
  return fcntl(reader, F_SETFL, O_NONBLOCK);
}

static int end(void **state) {
  (void)state;
  dup2(kept, STDERR_FILENO);
  close(kept);
  close(reader);
  return 0;
}

/* All that stands in the pipe; the last bytes of it. */
static size_t drain(char *last, size_t room) {
  char block[4096];
  size_t total = 0;
  ssize_t n;
  last[0] = '\0';
  while ((n = read(reader, block, sizeof block)) > 0) {
    const size_t len = (size_t)n < room - 1 ? (size_t)n : room - 1;
    memcpy(last, block + n - len, len);
    last[len] = '\0';
    total += (size_t)n;
  }
  return total;
}

static void log_text(unsigned *dropped, const char *text) {
  luactor_log_stderr(dropped, LUACTOR_LOG_INFO, text, strlen(text));
}

static void writes_lines(void **state) {
  (void)state;
  char got[64];
  unsigned dropped = 0;
  log_text(&dropped, "one");
  log_text(NULL, "two");
  drain(got, sizeof got);
  assert_string_equal(got, "one\ntwo\n");
  assert_int_equal(dropped, 0);
}

static void fill_pipe(void) {
  const int flags = fcntl(STDERR_FILENO, F_GETFL);
  char block[512] = {0};
  fcntl(STDERR_FILENO, F_SETFL, flags | O_NONBLOCK);
  while (write(STDERR_FILENO, block, sizeof block) > 0) {
  }
  fcntl(STDERR_FILENO, F_SETFL, flags);
}

static void drops_and_counts(void **state) {
  (void)state;
  char got[64];
  unsigned dropped = 0;
  fill_pipe();
  log_text(&dropped, "lost");
  log_text(&dropped, "lost");
  assert_int_equal(dropped, 2);
  drain(got, sizeof got);
  log_text(&dropped, "kept");
  drain(got, sizeof got);
  assert_string_equal(got, "2 log lines dropped\nkept\n");
  assert_int_equal(dropped, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(writes_lines, begin, end),
      cmocka_unit_test_setup_teardown(drops_and_counts, begin, end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

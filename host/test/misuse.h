/* The rows of test-misuse: what a call gives, and the call. */
#ifndef LA_TEST_MISUSE_H
#define LA_TEST_MISUSE_H

#include <pthread.h>

#include "host.h"

/* Rows also stand in callbacks, on threads that cmocka cannot leave: they count. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *calls[2000];
static size_t ncalls;
static int nwrong;

static void note(const char *call, int line, int64_t want, int64_t got) {
  pthread_mutex_lock(&lock);
  if (ncalls < COUNT(calls)) {
    calls[ncalls++] = call;
  }
  if (want != got) {
    nwrong++;
    fprintf(stderr, "line %d: %s: wanted %lld, got %lld\n", line, call,
            (long long)want, (long long)got);
  }
  pthread_mutex_unlock(&lock);
}

#define GIVES(want, call) note(#call, __LINE__, (want), (int64_t)(call))
#define FAILS(code, call) GIVES(LUACTOR_##code, call)
#define NULLS(call)       note(#call, __LINE__, 1, (call) == NULL)
#define HARMLESS(call)    ((call), note(#call, __LINE__, 0, 0))

static int end_rows(void **state) {
  (void)state;
  const int n = nwrong;
  nwrong = 0;
  return n;
}

static const luactor_view nothing = {0};
#define NOBODY ((luactor_pid)1 << 60 | 4000) /* a pid that was never given */

static luactor_value *text_value(const char *text) {
  luactor_value *v = NULL;
  assert_int_equal(luactor_make(&v, "s", text), 0);
  return v;
}

static bool was_called(const char *name, size_t len) {
  for (size_t i = 0; i < ncalls; i++) {
    const char *at = strstr(calls[i], "luactor_");
    for (; at != NULL; at = strstr(at + 1, "luactor_")) {
      if (strncmp(at, name, len) == 0 && at[len] == '(') {
        return true;
      }
    }
  }
  return false;
}

#endif

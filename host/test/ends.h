/* The ends of processes as texts. */
#ifndef LA_TEST_ENDS_H
#define LA_TEST_ENDS_H

#include "luactor.h"
#include "unit.h"

/* luactor_wait; '*reason' gets a string as it is, and what another value looks like;
 * '*error' what luactor_reason_error says, or NULL. Malloced; each may be NULL. */
static inline int wait_text(luactor_host *host, luactor_pid pid, int ms,
                            char **reason, char **error) {
  luactor_value *v = NULL;
  const int code = luactor_wait(host, pid, ms, &v);
  if (code != 0) {
    return code;
  }
  const char *bytes, *text = luactor_reason_error(v);
  size_t len;
  if (reason != NULL) {
    *reason = calloc(1, 1024);
    assert_non_null(*reason);
    if (luactor_get_string(luactor_view_of(v), &bytes, &len) == 0) {
      memcpy(*reason, bytes, len < 1023 ? len : 1023);
    } else {
      luactor_print(luactor_view_of(v), *reason, 1024);
    }
  }
  if (error != NULL) {
    *error = text != NULL ? strdup(text) : NULL;
  }
  luactor_value_free(v);
  return 0;
}

#endif

/* What is said of refused connections: one line each, up to SHOWN in a second;
 * the others are counted and told at the end of it. */
#include <stdio.h>
#include <string.h>

#include "dist/inner.h"

#define SHOWN 20
#define WINDOW_MS 1000

void la_refusal_tick(la_dist_t *d) {
  la_refusals_t *r = &d->refusals;
  const uint64_t now = la_loop_now_ms(d->loop);
  if (now - r->since < WINDOW_MS) {
    return;
  }
  if (r->hidden > 0) {
    la_log(d->host, LUACTOR_LOG_WARN,
           "node: %u more connections refused; the last: %s", r->hidden,
           r->last);
  }
  r->shown = r->hidden = 0;
  r->since = now;
}

void la_refusal(la_dist_t *d, const char *direction, const char *who,
                const char *why) {
  la_refusals_t *r = &d->refusals;
  la_refusal_tick(d);
  if (r->shown == SHOWN) {
    r->hidden++;
    snprintf(r->last, sizeof r->last, "%s %s: %s", direction, who, why);
    return;
  }
  r->shown++;
  la_log(d->host, LUACTOR_LOG_WARN, "node: connection %s %s refused: %s",
         direction, who, why);
}

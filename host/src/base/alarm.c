/* A timer of Linux: one system call arms, rings or silences it. */
#include "base/alarm.h"

#include <sys/timerfd.h>
#include <unistd.h>

#define NS_PER_S UINT64_C(1000000000)

int la_alarm_open(void) {
  return timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
}

void la_alarm_close(int alarm) {
  close(alarm);
}

void la_alarm_set(int alarm, uint64_t at_ns) {
  struct itimerspec t = {{0, 0}, {0, 0}}; /* all zero: never */
  if (at_ns != UINT64_MAX) {
    const uint64_t at = at_ns > 0 ? at_ns : 1;
    t.it_value.tv_sec = (time_t)(at / NS_PER_S);
    t.it_value.tv_nsec = (long)(at % NS_PER_S);
  }
  timerfd_settime(alarm, TFD_TIMER_ABSTIME, &t, NULL);
}

/* A descriptor for poll and its kin that becomes readable at once or at a time. It
 * stays so until it is set anew; nobody reads from it. */
#ifndef LA_ALARM_H
#define LA_ALARM_H

#include <stdbool.h>
#include <stdint.h>

/* A new one, not set; negative: the system has no more descriptors. [any] */
int la_alarm_open(void);
void la_alarm_close(int alarm);
/* Readable at 'at_ns' of the monotonic clock: 0: now; UINT64_MAX: never. [any] */
void la_alarm_set(int alarm, uint64_t at_ns);

#endif

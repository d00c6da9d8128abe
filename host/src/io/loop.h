/* The thread that does all input and output of a host (rule 13), on libuv.
 *
 * io/ is the only place that knows libuv (rule 14). Everything but la_loop_post
 * belongs to the loop's thread: other threads post a job, which runs there. */
#ifndef LA_LOOP_H
#define LA_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/env.h"

typedef struct la_loop la_loop_t;

/* A piece of work for the loop's thread: part of the poster's own structure, so
 * posting cannot fail. It may be freed or posted again by 'run'. */
typedef struct la_job {
  struct la_job *next;
  void (*run)(struct la_job *job);
} la_job_t;

/* Make the loop of a host and start its thread. NULL: memory, no thread, no
 * descriptors. [any] */
la_loop_t *la_loop_start(const la_env_t *env);
/* Run the jobs that are posted, close everything that is still open (their closing
 * hooks run), join the thread, free. [any but the loop's thread] */
void la_loop_stop(la_loop_t *l);
/* [any] */
void la_loop_post(la_loop_t *l, la_job_t *job);
bool la_loop_is_here(const la_loop_t *l);
/* Monotonic milliseconds of the loop's present turn. */
uint64_t la_loop_now_ms(const la_loop_t *l);

/* A timer of the loop: part of its owner's structure, zeroed before first use. 'fire' runs
 * after 'ms', then every 'repeat' ms unless that is 0. Starting a
 * running one sets it anew. False: memory. */
typedef struct la_loop_timer {
  void *handle;
  void (*fire)(struct la_loop_timer *t);
} la_loop_timer_t;

bool la_loop_timer_start(la_loop_t *l, la_loop_timer_t *t, uint64_t ms,
                         uint64_t repeat);
/* The owner may be freed at once after this. */
void la_loop_timer_stop(la_loop_timer_t *t);

#endif

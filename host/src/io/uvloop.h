/* Inside of io/: the libuv loop behind a la_loop_t. */
#ifndef LA_UVLOOP_H
#define LA_UVLOOP_H

#include <uv.h>

#include "io/loop.h"

uv_loop_t *la_loop_uv(la_loop_t *l);

/* Everything that must be closed when the loop stops is in a list of these;
 * 'close' begins to close it, which takes it out of the list. */
typedef struct la_open {
  struct la_open *prev, *next;
  void (*close)(struct la_open *o);
} la_open_t;

void la_loop_opened(la_loop_t *l, la_open_t *o);
void la_loop_closing(la_loop_t *l, la_open_t *o);

#endif

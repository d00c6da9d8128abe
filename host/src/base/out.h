/* Writing a text to a file descriptor without waiting for ever. */
#ifndef LA_OUT_H
#define LA_OUT_H

#include <stdbool.h>
#include <stddef.h>

/* Write all of the text, waiting 'wait_ms' at most for each piece that the other
 * side must make room for. False: it was not written, or not to its end. A descriptor
 * that blocks is written in pieces that fit where poll says that there is room;
 * that holds as long as nobody else writes to it at the same moment. [any] */
bool la_out_write(int fd, const char *text, size_t len, int wait_ms);

#endif

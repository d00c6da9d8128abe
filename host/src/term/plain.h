/* Terms as most messages are: booleans, numbers, short strings, identities, and
 * lists of these. They are written to where they will stay, without the
 * encoder. The bytes are those that la_encode would make. */
#ifndef LA_PLAIN_H
#define LA_PLAIN_H

#include "term/tag.h"
#include "term/term.h"

/* 'direct': Lua's memory may be looked at (term/layout.h). */

/* Write the value at 'idx' if it is a plain one, or a table which is a sequence of
 * such, and there is room for it before 'end', with a few bytes to spare.
 * Returns the byte behind it, or NULL. Uses four stack slots. [owner; raises: -] */
uint8_t *la_plain_put(lua_State *L, int idx, uint8_t *out, const uint8_t *end,
                      bool direct);

/* The list of the values at first..last, likewise; one table may be among them
 * (two might be the same, or hold the same). */
uint8_t *la_plain_put_list(lua_State *L, int first, int last, uint8_t *out,
                           const uint8_t *end, bool direct);

#endif

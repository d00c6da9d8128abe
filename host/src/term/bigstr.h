/* Which large strings of a state are which blobs (term/blob.h).
 *
 * A string that was received in a blob, or sent as one, is remembered with the
 * number of the blob, the last few of each state. When it is sent, the host
 * may still have the blob, and nothing is copied; when the same blob comes
 * back, the string is still there. */
#ifndef LA_BIGSTR_H
#define LA_BIGSTR_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LA_BIGSTRS 4

typedef struct la_bigstr {
  uint64_t number; /* of the blob; 0: free */
  const char *s;   /* where its bytes were; true as long as the box is there */
} la_bigstr_t;

struct la_codec;

/* The number of the blob that the string at 's' is; 0: not known. Needs five
 * places on the stack. [owner; raises: -] */
uint64_t la_bigstr_number(lua_State *L, struct la_codec *c, const char *s);
/* Push the string that is the blob of this number; false: not known. Needs five
 * places on the stack. [owner; raises: -] */
bool la_bigstr_push(lua_State *L, struct la_codec *c, uint64_t number);
/* The string at 's', which is reachable from the stack, is the blob of this
 * number. Needs five places on the stack. [owner; raises: m] */
void la_bigstr_note(lua_State *L, struct la_codec *c, const char *s,
                    uint64_t number);

#endif

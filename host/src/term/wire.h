/* Terms as other nodes write them: bounds-checked readers that take hostile
 * bytes, without recursion, and writers for atoms and identities.
 *
 * In bytes of this host a local identity is tag 200 (base/id.h); one of another
 * node stands in Erlang's own form, NEW_PID or NEWER_REF with a UTF-8 atom for
 * the node, so that equal identities are equal bytes. Here both are read, written
 * and turned into one another.
 *
 *   local identity          on the wire
 *   pid, body of 60 bits    NEW_PID: id = low 28 bits, serial = the others
 *   pool                    the same: elsewhere it is a process like any other
 *   any other kind          NEWER_REF of 3 words: kind, low 32 bits, the others
 */
#ifndef LA_WIRE_H
#define LA_WIRE_H

#include "base/buf.h"
#include "base/id.h"

typedef enum { LA_WIRE_PID, LA_WIRE_REF, LA_WIRE_PORT } la_wire_kind_t;

typedef struct la_wire_id {
  la_wire_kind_t kind;
  const uint8_t *node; /* its name, UTF-8; points into the bytes read */
  uint32_t node_len;
  uint32_t creation;
  uint32_t nwords;     /* pid: 2 (id, serial); port: 2 (high, low); ref: 1..5 */
  uint32_t words[5];
} la_wire_id_t;

/* Read a pid, reference or port, of any age, at 'p'. Returns the byte behind
 * it, or NULL when it is malformed. Latin-1 atoms are accepted only when they are
 * ASCII. */
const uint8_t *la_wire_id_read(const uint8_t *p, const uint8_t *end,
                               la_wire_id_t *out);
/* Write the canonical form. */
void la_wire_id_write(la_buf_t *b, const la_wire_id_t *id);
/* How a local identity looks from outside. 'node' must stay. */
void la_wire_id_of(la_id_t id, const char *node, uint32_t creation,
                   la_wire_id_t *out);
/* The local identity that was sent out as this one; LA_NO_ID when no identity
 * of ours looks so. That of a pool comes back as that of a process: only the
 * host can tell. Node and creation are the caller's to compare. */
la_id_t la_wire_id_local(const la_wire_id_t *id);
bool la_wire_id_is_of(const la_wire_id_t *id, const char *node,
                      uint32_t creation);
/* Equal ones are equal in everything but where 'node' points. */
bool la_wire_id_equal(const la_wire_id_t *a, const la_wire_id_t *b);

/* An atom of any of the four tags at 'p': text and length. Returns the byte
 * behind it or NULL. */
const uint8_t *la_wire_atom_read(const uint8_t *p, const uint8_t *end,
                                 const uint8_t **text, uint32_t *len);
/* At most 65,535 bytes; the shortest tag. */
void la_wire_atom_write(la_buf_t *b, const void *text, size_t len);
/* Is it UTF-8 of at most 255 characters? */
bool la_wire_atom_ok(const uint8_t *text, size_t len);

/* The byte behind the term at 'p' (no version byte in front), or NULL when it is
 * malformed or has a tag that no node may send. '*unknown' (may be NULL) is set
 * when the cause is a tag that a later OTP may have made up. */
const uint8_t *la_wire_skip(const uint8_t *p, const uint8_t *end,
                            bool *unknown);

#endif

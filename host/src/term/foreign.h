/* Erlang's values in Lua.
 *
 * An atom, an identity of another node, and what Lua has no value for (ports,
 * funs, bit strings, integers beyond 64 bits) is a full userdata whose memory
 * holds its term in local form. Equal terms are one userdata in each state: a
 * table with weak values finds it by its bytes. So such values are
 * equal by == and rawequal, serve as keys, and go when nobody holds them; no
 * peer can make a host keep something.
 *
 * Tuples, improper lists and marked maps are tables with a metatable of their
 * kind. A state that never meets such a value has none of this. */
#ifndef LA_FOREIGN_H
#define LA_FOREIGN_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "term/tag.h"

/* X(symbol, name, is it a table): kinds of values; names are their __name. */
#define LA_FOREIGNS(X)            \
  X(ATOM, "atom", false)          \
  X(PID, "pid", false)            \
  X(REFERENCE, "ref", false)      \
  X(OPAQUE, "opaque", false)      \
  X(TUPLE, "tuple", true)         \
  X(CONS, "cons", true)           \
  X(MAP, "map", true)             \
  X(ATOMKEYS, "atomkeys", true)   \
  X(BIN, "bin", true)

typedef enum {
  LA_FOREIGN_NONE,
#define X(sym, text, is_table) LA_FOREIGN_##sym,
  LA_FOREIGNS(X)
#undef X
} la_foreign_t;

/* What the value at 'idx' is. Uses two stack slots. [owner; raises: -] */
la_foreign_t la_foreign_kind(lua_State *L, int idx);
/* The term of the userdata at 'idx', which is of one of the first four
 * kinds. [owner; raises: -] */
const uint8_t *la_foreign_bytes(lua_State *L, int idx, size_t *n);
/* Push the value of the term: an atom, PID, REFERENCE or OPAQUE in local form.
 * [owner; raises: m] */
void la_foreign_push(lua_State *L, const uint8_t *bytes, size_t n);
void la_foreign_push_atom(lua_State *L, const char *text, size_t len);
/* Set the metatable of that kind on the table on top. [owner; raises: m] */
void la_foreign_mark(lua_State *L, la_foreign_t kind);
/* Elements of the tuple at 'idx'. [owner; raises: -] */
lua_Integer la_foreign_size(lua_State *L, int idx);

#endif

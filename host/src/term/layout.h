/* How Lua keeps tables, strings and its stack in memory. See layout.c.
 *
 * The stock API costs some twenty to fifty instructions for each element of a
 * table; reading and writing it in place costs five. So the codec looks at
 * tables directly where la_layout_check has found that the Lua library at hand
 * keeps them as declared here, and goes through the API where it has not.
 *
 * The rules for who uses this:
 *
 * 1. Nothing here is used before la_layout_check has returned true in this
 *    program (la_codec_open keeps the answer in each state).
 * 2. Reading: between taking a pointer and the last use of it, nothing runs
 *    that could allocate from the state: not one call of the API that may.
 * 3. Writing a value that is not collectable into an existing slot needs no
 *    care. One that is collectable goes only into a table that is not black
 *    (la_is_black): the collector would not look at it again.
 * 4. Slots are filled, never added: sizes are Lua's business. */
#ifndef LA_LAYOUT_H
#define LA_LAYOUT_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/id.h"

/* Type bytes of values. */
enum {
  LA_V_NIL = 0x00,      /* the low half of every kind of nil */
  LA_V_EMPTY = 0x10,    /* a slot without a value */
  LA_V_FALSE = 0x01,
  LA_V_TRUE = 0x11,
  LA_V_LIGHT = 0x02,    /* light userdata */
  LA_V_INT = 0x03,
  LA_V_FLOAT = 0x13,
  LA_V_SHORTSTR = 0x44,
  LA_V_LONGSTR = 0x54,
  LA_V_TABLE = 0x45,
  LA_V_USERDATA = 0x47, /* full userdata */
};

#define LA_SHORTSTR_MAX 40 /* longer strings are LA_V_LONGSTR */

typedef union la_lval {
  void *p;
  int64_t i;
  double d;
} la_lval_t;

/* An element of a table's array. */
typedef struct la_lslot {
  la_lval_t v;
  uint8_t tt;
} la_lslot_t;

/* A pair of a table's hash part. */
typedef struct la_lnode {
  la_lval_t v;
  uint8_t tt;
  uint8_t key_tt;
  int32_t next;
  la_lval_t key;
} la_lnode_t;

typedef struct la_ltable {
  void *next;
  uint8_t tt, marked, flags, log_nodes;
  uint32_t array_hint; /* see la_array_size */
  la_lslot_t *array;
  la_lnode_t *node;
  la_lnode_t *last_free;
  struct la_ltable *metatable;
  void *gclist;
} la_ltable_t;

typedef struct la_lstring {
  void *next;
  uint8_t tt, marked, extra;
  uint8_t short_len;
  uint32_t hash;
  size_t long_len;
  char bytes[];
} la_lstring_t;

/* The beginning of a running function's frame, and of a state. */
typedef struct la_lframe {
  la_lslot_t *func; /* behind it: what stands at index 1, 2, 3 ... */
} la_lframe_t;

typedef struct la_lstate {
  void *next;
  uint8_t tt, marked, status, allow_hook;
  uint16_t nframes;
  la_lslot_t *top; /* behind what stands at the highest index */
  void *global;
  la_lframe_t *frame;
} la_lstate_t;

_Static_assert(sizeof(la_lslot_t) == 16 && sizeof(la_lnode_t) == 24 &&
                   sizeof(la_ltable_t) == 56 && sizeof(la_lstring_t) == 24,
               "the layout is that of 64 bits");

/* Does the Lua library keep all that so? Takes some microseconds, in
 * a state of its own. False also when memory is short. [any] */
bool la_layout_check(void);

/* The table at 'idx', which must be one. */
static inline la_ltable_t *la_ltable_at(lua_State *L, int idx) {
  return (la_ltable_t *)(uintptr_t)lua_topointer(L, idx);
}

/* What stands at index 'idx' (positive, and not above the top) in the function
 * that runs. */
static inline const la_lslot_t *la_lslot_at(lua_State *L, int idx) {
  return ((const la_lstate_t *)L)->frame->func + idx;
}

/* The identity there, or LA_NO_ID. */
static inline la_id_t la_lid_at(lua_State *L, int idx) {
  const la_lslot_t *s = la_lslot_at(L, idx);
  return s->tt == LA_V_LIGHT ? (la_id_t)(uintptr_t)s->v.p : LA_NO_ID;
}

static inline int la_ltop(lua_State *L) {
  const la_lstate_t *s = (const la_lstate_t *)L;
  return (int)(s->top - s->frame->func) - 1;
}

static inline bool la_is_empty(uint8_t tt) {
  return (tt & 0x0f) == 0;
}

static inline bool la_is_black(const la_ltable_t *t) {
  return (t->marked & 0x20) != 0;
}

/* Slots of the array. The field may hold less, as a hint where the sequence
 * ends; the size is then the next power of two. */
static inline uint32_t la_array_size(const la_ltable_t *t) {
  const uint32_t n = t->array_hint;
  return (t->flags & 0x80) == 0 || (n & (n - 1)) == 0
             ? n
             : (uint32_t)1 << (32 - __builtin_clz(n));
}

static inline uint32_t la_node_count(const la_ltable_t *t) {
  return (uint32_t)1 << t->log_nodes;
}

/* No pairs? Says no to a large hash part without looking it through. */
static inline bool la_has_no_pairs(const la_ltable_t *t) {
  if (t->log_nodes == 0 && t->last_free == NULL) {
    return true;
  }
  const uint32_t n = la_node_count(t);
  for (uint32_t i = 0; i < n; i++) {
    if (n > 8 || !la_is_empty(t->node[i].tt)) {
      return false;
    }
  }
  return true;
}

static inline size_t la_lstring_len(const la_lstring_t *s, uint8_t tt) {
  return tt == LA_V_SHORTSTR ? s->short_len : s->long_len;
}

#endif

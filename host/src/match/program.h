/* Inside of the matcher: pattern objects, compiled programs, what compiles
 * and what runs them. For match/ and lib_match.c.
 *
 * A program is the pattern tree written in prefix order, as 32-bit words. The
 * first word of a node is op | a << 8; operands follow, then the nodes below
 * it. Programs hold no pointers and no absolute offsets: a matcher may be
 * copied and sent to another process as bytes. */
#ifndef LA_PROGRAM_H
#define LA_PROGRAM_H

#include <lua.h>

#include "match/match.h"
#include "term/tag.h"

typedef enum {
  LA_OP_ANY,    /* anything, nil too */
  LA_OP_VALUE,  /* anything but nil */
  LA_OP_CAP,    /* a: slot; node: bind what matches */
  LA_OP_NAME,   /* a: slot; CAP and VALUE in one: anything but nil, bound */
  LA_OP_SAME,   /* a: slot; equal to what is bound there */
  LA_OP_BOTH,   /* a: slot; node: SAME, and the node matches */
  LA_OP_IS,     /* a: la_type_t */
  LA_OP_NIL,    /* only as the pattern of a key: it is absent, or nil */
  LA_OP_BOOL,   /* a: 0 or 1 */
  LA_OP_INT,    /* 2 words */
  LA_OP_FLOAT,  /* 2 words */
  LA_OP_ID,     /* 2 words */
  LA_OP_TEXT,   /* word: length; bytes, padded to words */
  LA_OP_ATOM,   /* as TEXT: an atom only */
  LA_OP_BIN,    /* as TEXT: a string only */
  LA_OP_RAW,    /* word: length; bytes of a term, padded: an equal one */
  LA_OP_TUPLE,  /* node: it is a tuple, and the node matches */
  LA_OP_TABLE,  /* a: flags; word: npos; word: nkeys; REST: word: slot or
                 * none; npos nodes; nkeys times literal and node */
  LA_OP_CHOICE, /* a: alternatives; word: words up to the end; each: word: words
                 * of the node; word: first slot | end slot << 16; node */
  LA_OP_WHEN,   /* node; word: words of the guard; guard */
  LA_OP_LPEG,   /* a: slot; a string, the rest is decided in stage two */
} la_op_t;

/* Flags of LA_OP_TABLE */
enum {
  LA_TABLE_SEQ = 1,  /* the sequence is looked at */
  LA_TABLE_EXACT = 2, /* no other keys */
  LA_TABLE_REST = 4, /* the sequence may be longer */
};

#define LA_MATCH_MAX_BOXES 64
#define LA_MATCH_MAX_CLAUSES 4096

#define LA_NO_SLOT UINT32_MAX /* a rest that is not captured */
#define LA_UNSET UINT32_MAX   /* la_cap_t.at of a slot that is not bound */

/* X(symbol, name): what V.name "type" and actor.is take */
#define LA_TYPES(X)      \
  X(NIL, "nil")          \
  X(BOOLEAN, "boolean")  \
  X(INTEGER, "integer")  \
  X(FLOAT, "float")      \
  X(NUMBER, "number")    \
  X(STRING, "string")    \
  X(TABLE, "table")      \
  X(FUNCTION, "function") \
  X(PID, "pid")          \
  X(REF, "ref")          \
  X(ALIAS, "alias")      \
  X(MBOX, "mailbox")     \
  X(TIMER, "timer")      \
  X(POOL, "pool")        \
  X(ATOM, "atom")        \
  X(TUPLE, "tuple")

typedef enum {
  LA_TYPE_NONE,
#define X(sym, text) LA_TYPE_##sym,
  LA_TYPES(X)
#undef X
} la_type_t;

/* ---- pattern objects (userdata, LA_PATTERN_MT) -------------------------- */

#define LA_PATTERN_MT "luactor.pattern"

/* Which of the matcher's objects a userdata is: their metatables say so under a
 * key of our own, which is found faster than a metatable by its name. */
typedef enum {
  LA_OBJ_NONE,
  LA_OBJ_PATTERN,
  LA_OBJ_CLAUSE,
  LA_OBJ_RECEIVER,
} la_obj_t;

/* Note the kind in the metatable on top. [owner; raises: m] */
void la_obj_mark(lua_State *L, la_obj_t kind);
/* The kind of the value at 'idx'. Uses two stack slots. [owner; raises: -] */
la_obj_t la_obj_kind(lua_State *L, int idx);

typedef enum {
  LA_PAT_ANY,   /* V._ */
  LA_PAT_VAR,   /* V.name; 'type' set: V.name "type"; 'of': user value 1 */
  LA_PAT_REST,  /* V.name "..."; no name: not captured */
  LA_PAT_IS,    /* actor.is "type" */
  LA_PAT_TABLE, /* user value 1: table; 2: its keys in order, or nil */
  LA_PAT_EXACT, /* the same, no other keys */
  LA_PAT_ONEOF, /* user value 1: list of patterns */
  LA_PAT_WHEN,  /* user value 1: pattern, 2: text of the guard */
} la_pat_kind_t;

typedef struct la_pat {
  uint8_t kind; /* la_pat_kind_t */
  uint8_t type; /* la_type_t */
  uint8_t of;   /* VAR: a pattern stands in user value 1 */
  uint8_t pad;
  uint32_t len;
  char name[];
} la_pat_t;

/* ---- matchers ----------------------------------------------------------- */

typedef struct la_clause {
  uint64_t lpeg;  /* slots that LPeg patterns decide in stage two */
  la_id_t fresh;  /* a reference it demands first, or LA_NO_ID */
  uint32_t code;  /* first word of its program */
  uint32_t words;
  uint32_t tag;   /* la_term_tag that a message must have, or 0 */
  uint16_t box;   /* index of its mailbox */
  uint16_t nslots;
  /* User values of the matcher, 0: none. */
  uint16_t uv_handler;
  uint16_t uv_guard; /* a Lua function */
  uint16_t uv_lpeg;  /* of the first LPeg pattern, others follow */
  uint16_t pad;
} la_clause_t;

/* A full userdata: this struct, clauses, mailboxes, words. */
struct la_matcher {
  double after_ms; /* negative: none */
  la_id_t fresh;
  uint16_t nclauses, nboxes;
  uint16_t nuv;
  uint16_t uv_after; /* handler of 'after', 0: none */
  uint32_t nwords;
  uint32_t pad;
};

static inline la_clause_t *la_matcher_clause_at(la_matcher_t *m) {
  return (la_clause_t *)(m + 1);
}

static inline const la_clause_t *la_matcher_clause(const la_matcher_t *m,
                                                   int c) {
  return (const la_clause_t *)(m + 1) + c;
}

static inline const la_id_t *la_matcher_boxes(const la_matcher_t *m) {
  return (const la_id_t *)la_matcher_clause(m, m->nclauses);
}

static inline const uint32_t *la_matcher_words(const la_matcher_t *m) {
  return (const uint32_t *)(la_matcher_boxes(m) + m->nboxes);
}

/* ---- compile.c ---------------------------------------------------------- */

/* A name that the pattern binds. */
typedef struct la_name {
  const char *s;
  size_t len;
  uint32_t slot;
  bool is_rest;
} la_name_t;

#define LA_COMP_FIXED 192

typedef struct la_step la_step_t;

typedef struct la_comp {
  lua_State *L;
  uint32_t *words;
  uint32_t n, cap;
  int spill; /* stack slot of the buffer that replaced 'fixed', else nil */
  int extra; /* stack slot: LPeg patterns (a table), else nil */
  uint32_t nlpeg;
  bool direct; /* Lua's memory may be looked at (term/layout.h) */
  uint64_t lpeg;
  la_name_t name[LA_MATCH_MAX_CAPS];
  uint32_t nnames, nslots;
  uint64_t bound; /* names bound at this point, by index */
  const la_step_t *path;
  int depth;
  uint32_t fixed[LA_COMP_FIXED];
} la_comp_t;

/* Make room for n words; raises when memory is short. */
void la_comp_grow(la_comp_t *c, uint32_t n);

/* Room for n words. */
static inline uint32_t *la_comp_room(la_comp_t *c, uint32_t n) {
  if (c->cap - c->n < n) {
    la_comp_grow(c, n);
  }
  return c->words + c->n;
}

static inline void la_comp_word(la_comp_t *c, uint32_t word) {
  *la_comp_room(c, 1) = word;
  c->n++;
}

static inline void la_comp_wide(la_comp_t *c, uint64_t bits) {
  uint32_t *w = la_comp_room(c, 2);
  w[0] = (uint32_t)bits;
  w[1] = (uint32_t)(bits >> 32);
  c->n += 2;
}

void la_comp_text(la_comp_t *c, const char *s, size_t len);

/* Compile a guard; 'label' is what its positions are prefixed with.
 * [owner; raises: e] */
void la_guard_compile(la_comp_t *c, const char *text, size_t len,
                      const char *label);

/* Check that the value at 'idx' is a good pattern. [owner; raises: e] */
void la_pattern_check(lua_State *L, int idx);

/* Push an 'after' clause. [owner; raises: m] */
void la_match_push_after(lua_State *L, double ms, int handler);

/* ---- run.c, guard.c ----------------------------------------------------- */

typedef struct la_run {
  const la_term_t *t;
  la_cap_t *cap;
  uint64_t lpeg;
  uint64_t lpeg_failed; /* slots whose LPeg pattern is known not to match */
} la_run_t;

/* Run one clause; true when the message matches. */
bool la_run_clause(la_run_t *r, const la_matcher_t *m, int c);

/* What a slot holds. */
void la_run_view(const la_run_t *r, uint32_t slot, la_view_t *v);

bool la_guard_run(const la_run_t *r, const uint32_t *code, uint32_t words);

static inline uint64_t la_words64(const uint32_t *w) {
  return (uint64_t)w[1] << 32 | w[0];
}

#endif

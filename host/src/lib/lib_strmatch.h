/* Lua's string patterns, matched with an explicit stack of choices so that the
 * work can be counted, interrupted and taken up again. */
#ifndef LA_LIB_STRMATCH_H
#define LA_LIB_STRMATCH_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

enum {
  LA_MATCH_CAPTURES = 32, /* stock's limit */
  LA_MATCH_CHOICES = 199, /* stock's limit of nested calls, less the first */
  LA_MATCH_FUEL = 1000    /* steps between looks at the slice */
};

/* Lengths of captures that are no substrings. */
enum { LA_CAPTURE_OPEN = -1, LA_CAPTURE_POSITION = -2 };

/* A place to return to when the rest of the pattern fails; see lib_strmatch.c
 * for the kinds. */
typedef struct {
  int kind;
  const char *s, *p, *after;
  ptrdiff_t count;
} la_choice_t;

typedef struct {
  lua_State *L;
  const char *src, *src_end;
  const char *pat, *pat_end; /* without the anchor */
  const char *s, *p;         /* where an interrupted match goes on */
  int fuel;     /* steps until la_match_run returns LA_MATCH_PAUSE */
  int depth;    /* choices in use */
  int level;    /* captures in use */
  bool paused;  /* interrupted: la_match_run goes on */
  struct {
    const char *start;
    ptrdiff_t len;
  } capture[LA_MATCH_CAPTURES];
} la_match_t;

/* Subject and pattern must stay where they are, on the stack of L. */
void la_match_init(la_match_t *m, lua_State *L, const char *src,
                   size_t src_len, const char *pat, size_t pat_len);

typedef enum { LA_MATCH_FAIL, LA_MATCH_OK, LA_MATCH_PAUSE } la_verdict_t;

/* Match the pattern at 's', or go on when the last call paused. On success
 * *end is the end of the match. [owner; raises: e for a bad pattern] */
la_verdict_t la_match_run(la_match_t *m, la_choice_t *choices, const char *s,
                          const char **end);

/* Start, or position, and length of capture 'i', the whole match [s, e) when
 * the pattern has none. [owner; raises: e] */
ptrdiff_t la_match_capture(la_match_t *m, int i, const char *s, const char *e,
                           const char **start);

/* Push one capture, or all (the whole match when there are none and 's' is
 * not NULL); gives their number. [owner; raises: e] */
void la_match_push_one(la_match_t *m, int i, const char *s, const char *e);
int la_match_push(la_match_t *m, const char *s, const char *e);

#endif

/* Lua's string patterns.
 *
 * Stock Lua matches by recursion in C, which can neither stop in the middle
 * nor be stopped: ("a"):rep(30000) against ".-.-.-b" runs for minutes. Here
 * the places to return to are kept on a stack, each step takes fuel, and a
 * match that has used it up returns with its place stored, to go on later.
 *
 * Results, messages and limits are stock's, also the odd ones. Stock refuses a
 * pattern that needs more than 200 nested calls ("pattern too complex"); each
 * of its nested calls is one choice here, undo records of captures included,
 * so the limit falls at the same place. */
#include "lib/lib_strmatch.h"

#include <ctype.h>
#include <lauxlib.h>
#include <string.h>

enum { ESCAPE = '%' };

/* What to do when the rest of the pattern does not match. */
typedef enum {
  OPTIONAL, /* go on after the item without the character */
  GREEDY,   /* give back one of 'count' characters after 's' */
  LAZY,     /* take one more character at 's', item 'p' to 'after' */
  OPENED,   /* forget the last capture */
  CLOSED,   /* open capture 'count' again */
} kind_t;

static unsigned char byte_of(const char *s) {
  return (unsigned char)*s;
}

void la_match_init(la_match_t *m, lua_State *L, const char *src,
                   size_t src_len, const char *pat, size_t pat_len) {
  m->L = L;
  m->src = src;
  m->src_end = src + src_len;
  m->pat = pat;
  m->pat_end = pat + pat_len;
  m->fuel = LA_MATCH_FUEL;
  m->depth = 0;
  m->level = 0;
  m->paused = false;
}

/* ---- single characters ------------------------------------------------- */

/* The end of the item at 'p': a character, %x or a set. */
static const char *item_end(la_match_t *m, const char *p) {
  char c = *p++;
  if (c == ESCAPE) {
    if (p == m->pat_end) {
      luaL_error(m->L, "malformed pattern (ends with '%%')");
    }
    return p + 1;
  }
  if (c != '[') {
    return p;
  }
  if (*p == '^') {
    p++;
  }
  do { /* the first character may be a ']' */
    if (p == m->pat_end) {
      luaL_error(m->L, "malformed pattern (missing ']')");
    }
    if (*p++ == ESCAPE && p < m->pat_end) {
      p++;
    }
  } while (*p != ']');
  return p + 1;
}

static bool in_class(int c, int class) {
  bool in;
  switch (tolower(class)) {
    case 'a': in = isalpha(c) != 0; break;
    case 'c': in = iscntrl(c) != 0; break;
    case 'd': in = isdigit(c) != 0; break;
    case 'g': in = isgraph(c) != 0; break;
    case 'l': in = islower(c) != 0; break;
    case 'p': in = ispunct(c) != 0; break;
    case 's': in = isspace(c) != 0; break;
    case 'u': in = isupper(c) != 0; break;
    case 'w': in = isalnum(c) != 0; break;
    case 'x': in = isxdigit(c) != 0; break;
    case 'z': in = c == 0; break; /* no longer documented */
    default: return class == c;
  }
  return isupper(class) ? !in : in;
}

/* 'p' is at the '[', 'last' at the closing ']'. */
static bool in_set(int c, const char *p, const char *last) {
  bool found = true;
  if (p[1] == '^') {
    found = false;
    p++;
  }
  while (++p < last) {
    if (*p == ESCAPE) {
      p++;
      if (in_class(c, byte_of(p))) {
        return found;
      }
    } else if (p[1] == '-' && p + 2 < last) {
      p += 2;
      if (byte_of(p - 2) <= c && c <= byte_of(p)) {
        return found;
      }
    } else if (byte_of(p) == c) {
      return found;
    }
  }
  return !found;
}

static bool fits(const la_match_t *m, const char *s, const char *p,
                 const char *after) {
  if (s >= m->src_end) {
    return false;
  }
  int c = byte_of(s);
  switch (*p) {
    case '.': return true;
    case ESCAPE: return in_class(c, byte_of(p + 1));
    case '[': return in_set(c, p, after - 1);
    default: return byte_of(p) == c;
  }
}

/* ---- choices ----------------------------------------------------------- */

static la_choice_t *add_choice(la_match_t *m, la_choice_t *choices,
                               kind_t kind) {
  if (m->depth == LA_MATCH_CHOICES) {
    luaL_error(m->L, "pattern too complex");
  }
  la_choice_t *c = &choices[m->depth++];
  c->kind = kind;
  return c;
}

/* The rest failed: find the next way, setting *s and *p. */
static bool backtrack(la_match_t *m, la_choice_t *choices, const char **s,
                      const char **p) {
  while (m->depth > 0) {
    la_choice_t *c = &choices[m->depth - 1];
    switch ((kind_t)c->kind) {
      case OPTIONAL:
        m->depth--;
        *s = c->s;
        *p = c->after + 1;
        return true;
      case GREEDY:
        if (c->count > 0) {
          c->count--;
          *s = c->s + c->count;
          *p = c->after + 1;
          return true;
        }
        break;
      case LAZY:
        if (fits(m, c->s, c->p, c->after)) {
          *s = ++c->s;
          *p = c->after + 1;
          return true;
        }
        break;
      case OPENED:
        m->level--;
        break;
      case CLOSED:
        m->capture[c->count].len = LA_CAPTURE_OPEN;
        break;
    }
    m->depth--;
  }
  return false;
}

/* ---- captures ---------------------------------------------------------- */

static void open_capture(la_match_t *m, la_choice_t *choices, const char *s,
                         ptrdiff_t what) {
  if (m->level >= LA_MATCH_CAPTURES) {
    luaL_error(m->L, "too many captures");
  }
  m->capture[m->level].start = s;
  m->capture[m->level].len = what;
  m->level++;
  add_choice(m, choices, OPENED);
}

static void close_capture(la_match_t *m, la_choice_t *choices, const char *s) {
  int i = m->level - 1;
  while (i >= 0 && m->capture[i].len != LA_CAPTURE_OPEN) {
    i--;
  }
  if (i < 0) {
    luaL_error(m->L, "invalid pattern capture");
  }
  m->capture[i].len = s - m->capture[i].start;
  add_choice(m, choices, CLOSED)->count = i;
}

/* %1 to %9: the end of the repeated text, NULL when it is not there. */
static const char *repeat(la_match_t *m, const char *s, int digit) {
  int i = digit - '1';
  if (i < 0 || i >= m->level || m->capture[i].len == LA_CAPTURE_OPEN) {
    luaL_error(m->L, "invalid capture index %%%d", i + 1);
  }
  size_t len = (size_t)m->capture[i].len;
  if ((size_t)(m->src_end - s) < len ||
      memcmp(m->capture[i].start, s, len) != 0) {
    return NULL;
  }
  return s + len;
}

/* %bxy: the end of the balanced text, NULL when there is none. */
static const char *balance(la_match_t *m, const char *s, const char *p) {
  if (p >= m->pat_end - 1) {
    luaL_error(m->L, "malformed pattern (missing arguments to '%%b')");
  }
  if (s >= m->src_end || *s != *p) {
    return NULL;
  }
  const char *start = s;
  int open = 1;
  while (++s < m->src_end) {
    if (*s == p[1]) {
      if (--open == 0) {
        m->fuel -= (int)((s - start) / 8);
        return s + 1;
      }
    } else if (*s == *p) {
      open++;
    }
  }
  m->fuel -= (int)((s - start) / 8);
  return NULL;
}

/* %f[set] between the characters before and at 's'. */
static bool is_frontier(const la_match_t *m, const char *s, const char *set,
                        const char *after) {
  int before = s == m->src ? '\0' : byte_of(s - 1);
  return !in_set(before, set, after - 1) &&
         in_set(byte_of(s), set, after - 1); /* a string ends with a zero */
}

/* ---- the machine ------------------------------------------------------- */

/* The item at *p with what follows it; false when it does not match. */
static bool step_item(la_match_t *m, la_choice_t *choices, const char **s,
                      const char **p) {
  const char *after = item_end(m, *p);
  char suffix = after < m->pat_end ? *after : '\0';
  if (!fits(m, *s, *p, after)) {
    if (suffix == '*' || suffix == '?' || suffix == '-') {
      *p = after + 1;
      return true;
    }
    return false;
  }
  la_choice_t *c;
  switch (suffix) {
    case '?':
      c = add_choice(m, choices, OPTIONAL);
      c->s = *s;
      c->after = after;
      ++*s;
      *p = after + 1;
      return true;
    case '+':
    case '*': {
      const char *start = suffix == '+' ? *s + 1 : *s;
      const char *end = start;
      while (fits(m, end, *p, after)) {
        end++;
      }
      m->fuel -= (int)((end - start) / 8);
      c = add_choice(m, choices, GREEDY);
      c->s = start;
      c->count = end - start;
      c->after = after;
      *s = end;
      *p = after + 1;
      return true;
    }
    case '-':
      c = add_choice(m, choices, LAZY);
      c->s = *s;
      c->p = *p;
      c->after = after;
      *p = after + 1;
      return true;
    default:
      ++*s;
      *p = after;
      return true;
  }
}

static bool step_escape(la_match_t *m, la_choice_t *choices, const char **s,
                        const char **p) {
  const char *kind = *p + 1;
  if (kind < m->pat_end && *kind == 'b') {
    *s = balance(m, *s, *p + 2);
    *p += 4;
    return *s != NULL;
  }
  if (kind < m->pat_end && *kind == 'f') {
    const char *set = *p + 2;
    if (*set != '[') {
      luaL_error(m->L, "missing '[' after '%%f' in pattern");
    }
    *p = item_end(m, set);
    return is_frontier(m, *s, set, *p);
  }
  if (kind < m->pat_end && isdigit(byte_of(kind))) {
    *s = repeat(m, *s, byte_of(kind));
    *p += 2;
    return *s != NULL;
  }
  return step_item(m, choices, s, p);
}

static bool step(la_match_t *m, la_choice_t *choices, const char **s,
                 const char **p) {
  switch (**p) {
    case '(':
      if ((*p)[1] == ')') {
        open_capture(m, choices, *s, LA_CAPTURE_POSITION);
        *p += 2;
      } else {
        open_capture(m, choices, *s, LA_CAPTURE_OPEN);
        ++*p;
      }
      return true;
    case ')':
      close_capture(m, choices, *s);
      ++*p;
      return true;
    case '$':
      if (*p + 1 == m->pat_end) {
        ++*p;
        return *s == m->src_end;
      }
      return step_item(m, choices, s, p);
    case ESCAPE:
      return step_escape(m, choices, s, p);
    default:
      return step_item(m, choices, s, p);
  }
}

la_verdict_t la_match_run(la_match_t *m, la_choice_t *choices, const char *s,
                          const char **end) {
  const char *p = m->pat;
  if (m->paused) {
    m->paused = false;
    s = m->s;
    p = m->p;
  } else {
    m->level = 0;
    m->depth = 0;
  }
  for (;;) {
    if (p == m->pat_end) {
      m->depth = 0;
      m->fuel--;
      *end = s;
      return LA_MATCH_OK;
    }
    if (--m->fuel < 0) {
      m->paused = true;
      m->s = s;
      m->p = p;
      return LA_MATCH_PAUSE;
    }
    if (!step(m, choices, &s, &p) && !backtrack(m, choices, &s, &p)) {
      return LA_MATCH_FAIL;
    }
  }
}

/* ---- results ----------------------------------------------------------- */

ptrdiff_t la_match_capture(la_match_t *m, int i, const char *s, const char *e,
                           const char **start) {
  if (i >= m->level) {
    if (i != 0) {
      luaL_error(m->L, "invalid capture index %%%d", i + 1);
    }
    *start = s;
    return e - s;
  }
  *start = m->capture[i].start;
  if (m->capture[i].len == LA_CAPTURE_OPEN) {
    luaL_error(m->L, "unfinished capture");
  }
  return m->capture[i].len;
}

void la_match_push_one(la_match_t *m, int i, const char *s, const char *e) {
  const char *start;
  ptrdiff_t len = la_match_capture(m, i, s, e, &start);
  if (len == LA_CAPTURE_POSITION) {
    lua_pushinteger(m->L, start - m->src + 1);
  } else {
    lua_pushlstring(m->L, start, (size_t)len);
  }
}

int la_match_push(la_match_t *m, const char *s, const char *e) {
  int n = m->level == 0 && s != NULL ? 1 : m->level;
  luaL_checkstack(m->L, n, "too many captures");
  for (int i = 0; i < n; i++) {
    la_match_push_one(m, i, s, e);
  }
  return n;
}

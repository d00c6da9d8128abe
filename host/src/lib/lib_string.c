/* string.*: pattern functions that can be interrupted, and what else of the
 * library could run for ever or call Lua code.
 *
 * find, match, gmatch and gsub keep all they need over an interruption in a
 * search_t. It lives on the C stack while the function runs; when the slice is
 * over, or a callback is about to be called, it is copied to a userdata in a
 * stack slot of the function (save), and the continuation takes it from there
 * (load). Subject and pattern are pinned in slots 1 and 2, so the pointers
 * into them stay good. */
#define _GNU_SOURCE /* memmem */
#include "lib/lib_string.h"

#include "lib/lib_base.h"
#include "lib/lib_slow.h"
#include "lib/lib_strmatch.h"

#include <limits.h>
#include <stdint.h>
#include <string.h>

typedef struct {
  la_match_t m;
  const char *at;   /* where the next match is tried */
  const char *last; /* end of the last match, which an empty one may not repeat */
  bool anchored;
  bool find; /* find, not match */
  /* gsub */
  bool changed;
  int repl_type;
  lua_Integer count, max;
  const char *found; /* end of the match whose replacement is awaited */
  char *out; /* NULL, or memory of the userdata in slot OUT */
  size_t out_len, out_size;
} search_t;

/* Stack slots of all four functions; gmatch's iterator uses SAVED only. */
enum { SUBJECT = 1, PATTERN = 2, REPL = 3, SAVED = 4, OUT = 5 };

typedef struct {
  search_t search;
  la_choice_t choices[]; /* search.m.depth of them */
} saved_t;

static void save(lua_State *L, const search_t *f, const la_choice_t *choices) {
  size_t choice_bytes = (size_t)f->m.depth * sizeof *choices;
  size_t size = sizeof(saved_t) + choice_bytes;
  if (!lua_isuserdata(L, SAVED) || lua_rawlen(L, SAVED) < size) {
    lua_newuserdatauv(L, size, 0);
    lua_replace(L, SAVED);
  }
  saved_t *to = lua_touserdata(L, SAVED);
  to->search = *f;
  if (choice_bytes > 0) {
    memcpy(to->choices, choices, choice_bytes);
  }
}

static void load(lua_State *L, search_t *f, la_choice_t *choices) {
  const saved_t *from = lua_touserdata(L, SAVED);
  *f = from->search;
  f->m.L = L;
  if (choices != NULL && f->m.depth > 0) {
    memcpy(choices, from->choices, (size_t)f->m.depth * sizeof *choices);
  }
}

/* Charge the steps taken since the last time. True: the slice is over and the
 * function should be suspended. */
static bool charge_steps(lua_State *L, search_t *f) {
  unsigned steps = (unsigned)(LA_MATCH_FUEL - f->m.fuel);
  f->m.fuel = LA_MATCH_FUEL;
  return la_charge(L, steps) && la_can_yield(L);
}

/* One match at f->at. LA_MATCH_PAUSE: the slice is over. */
static la_verdict_t try_match(lua_State *L, search_t *f, la_choice_t *choices,
                              const char **end) {
  for (;;) {
    la_verdict_t verdict = la_match_run(&f->m, choices, f->at, end);
    if (verdict != LA_MATCH_PAUSE || charge_steps(L, f)) {
      return verdict;
    }
  }
}

static int suspend(lua_State *L, const search_t *f, const la_choice_t *choices,
                   lua_KFunction k) {
  save(L, f, choices);
  return la_preempt(L, 0, k);
}

static void start_search(lua_State *L, search_t *f, size_t skip) {
  size_t src_len, pat_len;
  const char *src = lua_tolstring(L, SUBJECT, &src_len);
  const char *pat = lua_tolstring(L, PATTERN, &pat_len);
  f->anchored = *pat == '^';
  if (f->anchored) {
    pat++;
    pat_len--;
  }
  la_match_init(&f->m, L, src, src_len, pat, pat_len);
  f->at = src + skip;
  f->last = NULL;
}

/* A start position given by the user, from 1 or from the end, as an offset. */
static size_t start_offset(lua_Integer pos, size_t len) {
  if (pos > 0) {
    return (size_t)pos - 1;
  }
  if (pos == 0 || pos < -(lua_Integer)len) {
    return 0;
  }
  return len + (size_t)pos;
}

/* ---- find and match ---------------------------------------------------- */

static bool is_literal(const char *pat, size_t len) {
  for (size_t i = 0; i < len; i++) {
    if (pat[i] != '\0' && strchr("^$*+?.([%-", pat[i]) != NULL) {
      return false;
    }
  }
  return true;
}

static int find_run(lua_State *L, search_t *f, la_choice_t *choices);

static int find_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  search_t f;
  la_choice_t choices[LA_MATCH_CHOICES];
  load(L, &f, choices);
  return find_run(L, &f, choices);
}

static int find_run(lua_State *L, search_t *f, la_choice_t *choices) {
  const char *end;
  do {
    la_verdict_t verdict = try_match(L, f, choices, &end);
    if (verdict == LA_MATCH_PAUSE) {
      return suspend(L, f, choices, find_k);
    }
    if (verdict == LA_MATCH_OK) {
      charge_steps(L, f);
      if (!f->find) {
        return la_match_push(&f->m, f->at, end);
      }
      lua_pushinteger(L, f->at - f->m.src + 1);
      lua_pushinteger(L, end - f->m.src);
      return la_match_push(&f->m, NULL, NULL) + 2;
    }
  } while (f->at++ < f->m.src_end && !f->anchored);
  charge_steps(L, f);
  luaL_pushfail(L);
  return 1;
}

static int find_plain(lua_State *L, size_t offset) {
  size_t len, wanted_len;
  const char *s = lua_tolstring(L, SUBJECT, &len);
  const char *wanted = lua_tolstring(L, PATTERN, &wanted_len);
  const char *at = memmem(s + offset, len - offset, wanted, wanted_len);
  la_charge(L, (unsigned)((at != NULL ? (size_t)(at - s) - offset
                                      : len - offset) / 64 % INT_MAX) + 1);
  if (at == NULL) {
    luaL_pushfail(L);
    return 1;
  }
  lua_pushinteger(L, at - s + 1);
  lua_pushinteger(L, at - s + (lua_Integer)wanted_len);
  return 2;
}

static int find_or_match(lua_State *L, bool find) {
  size_t len, pat_len;
  luaL_checklstring(L, SUBJECT, &len);
  const char *pat = luaL_checklstring(L, PATTERN, &pat_len);
  size_t offset = start_offset(luaL_optinteger(L, 3, 1), len);
  if (offset > len) {
    luaL_pushfail(L);
    return 1;
  }
  if (find && (lua_toboolean(L, 4) || is_literal(pat, pat_len))) {
    return find_plain(L, offset);
  }
  lua_settop(L, SAVED);
  search_t f;
  la_choice_t choices[LA_MATCH_CHOICES];
  start_search(L, &f, offset);
  f.find = find;
  return find_run(L, &f, choices);
}

static int str_find(lua_State *L) {
  return find_or_match(L, true);
}

static int str_match(lua_State *L) {
  return find_or_match(L, false);
}

/* ---- gmatch ------------------------------------------------------------ */

typedef struct {
  const char *at, *last;
} gmatch_t; /* upvalue 3 of the iterator; 1 and 2 are subject and pattern */

static int gmatch_run(lua_State *L, search_t *f, la_choice_t *choices);

static int gmatch_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  search_t f;
  la_choice_t choices[LA_MATCH_CHOICES];
  load(L, &f, choices);
  return gmatch_run(L, &f, choices);
}

static int gmatch_run(lua_State *L, search_t *f, la_choice_t *choices) {
  for (; f->at <= f->m.src_end; f->at++) {
    const char *end;
    la_verdict_t verdict = try_match(L, f, choices, &end);
    if (verdict == LA_MATCH_PAUSE) {
      return suspend(L, f, choices, gmatch_k);
    }
    if (verdict == LA_MATCH_OK && end != f->last) {
      gmatch_t *g = lua_touserdata(L, lua_upvalueindex(3));
      g->at = g->last = end;
      charge_steps(L, f);
      return la_match_push(&f->m, f->at, end);
    }
  }
  charge_steps(L, f);
  return 0;
}

static int gmatch_next(lua_State *L) {
  const gmatch_t *g = lua_touserdata(L, lua_upvalueindex(3));
  size_t src_len, pat_len;
  const char *src = lua_tolstring(L, lua_upvalueindex(1), &src_len);
  const char *pat = lua_tolstring(L, lua_upvalueindex(2), &pat_len);
  search_t f;
  la_choice_t choices[LA_MATCH_CHOICES];
  la_match_init(&f.m, L, src, src_len, pat, pat_len);
  f.at = g->at;
  f.last = g->last;
  lua_settop(L, SAVED);
  return gmatch_run(L, &f, choices);
}

static int str_gmatch(lua_State *L) {
  size_t len;
  const char *s = luaL_checklstring(L, SUBJECT, &len);
  luaL_checkstring(L, PATTERN);
  size_t offset = start_offset(luaL_optinteger(L, 3, 1), len);
  lua_settop(L, PATTERN);
  gmatch_t *g = lua_newuserdatauv(L, sizeof *g, 0);
  g->at = s + (offset > len ? len + 1 : offset);
  g->last = NULL;
  lua_pushcclosure(L, gmatch_next, 3);
  return 1;
}

/* ---- gsub: the result so far ------------------------------------------- */

static void out_reserve(lua_State *L, search_t *f, size_t more) {
  if (f->out_size - f->out_len >= more) {
    return;
  }
  if (more > SIZE_MAX / 4 - f->out_len) {
    luaL_error(L, "resulting string too large");
  }
  size_t size = f->out_size > 0 ? f->out_size : 128;
  while (size - f->out_len < more) {
    size *= 2;
  }
  char *to = lua_newuserdatauv(L, size, 0);
  if (f->out_len > 0) {
    memcpy(to, f->out, f->out_len);
  }
  lua_replace(L, OUT);
  f->out = to;
  f->out_size = size;
}

static void out_add(lua_State *L, search_t *f, const char *s, size_t len) {
  if (len > 0) {
    out_reserve(L, f, len);
    memcpy(f->out + f->out_len, s, len);
    f->out_len += len;
  }
}

/* Append the string or number on top of the stack, and pop it. */
static void out_add_value(lua_State *L, search_t *f) {
  size_t len;
  const char *s = lua_tolstring(L, -1, &len);
  out_add(L, f, s, len);
  lua_pop(L, 1);
}

/* ---- gsub -------------------------------------------------------------- */

/* The replacement string with its captures. */
static void add_template(lua_State *L, search_t *f, const char *end) {
  size_t len;
  const char *repl = lua_tolstring(L, REPL, &len);
  const char *repl_end = repl + len;
  const char *escape;
  while ((escape = memchr(repl, '%', (size_t)(repl_end - repl))) != NULL) {
    out_add(L, f, repl, (size_t)(escape - repl));
    char c = escape[1]; /* at the end: the terminator */
    repl = escape + 2;
    if (c == '%') {
      out_add(L, f, &c, 1);
    } else if (c == '0') {
      out_add(L, f, f->at, (size_t)(end - f->at));
    } else if (c >= '1' && c <= '9') {
      const char *start;
      ptrdiff_t n = la_match_capture(&f->m, c - '1', f->at, end, &start);
      if (n == LA_CAPTURE_POSITION) {
        lua_pushinteger(L, start - f->m.src + 1);
        out_add_value(L, f);
      } else {
        out_add(L, f, start, (size_t)n);
      }
    } else {
      luaL_error(L, "invalid use of '%%' in replacement string");
    }
  }
  out_add(L, f, repl, (size_t)(repl_end - repl));
}

/* What a function or table gave for the match [f->at, end) is on top. */
static void add_result(lua_State *L, search_t *f, const char *end) {
  if (!lua_toboolean(L, -1)) {
    lua_pop(L, 1);
    out_add(L, f, f->at, (size_t)(end - f->at));
  } else if (!lua_isstring(L, -1)) {
    luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
  } else {
    out_add_value(L, f);
    f->changed = true;
  }
}

static int gsub_run(lua_State *L, search_t *f, la_choice_t *choices);

static int gsub_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  search_t f;
  la_choice_t choices[LA_MATCH_CHOICES];
  load(L, &f, choices);
  return gsub_run(L, &f, choices);
}

static int gsub_result_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  la_slow_done(L);
  search_t f;
  la_choice_t choices[LA_MATCH_CHOICES];
  load(L, &f, choices);
  add_result(L, &f, f.found);
  f.at = f.last = f.found;
  if (f.anchored) {
    f.max = f.count;
  }
  return gsub_run(L, &f, choices);
}

/* Call what is on the stack for one result. */
static void call_back(lua_State *L, search_t *f, int narg, const char *end) {
  f->found = end;
  save(L, f, NULL);
  la_exec_enter(L);
  lua_callk(L, narg, 1, 0, gsub_result_k);
  la_slow_done(L);
}

static void replace(lua_State *L, search_t *f, const char *end) {
  switch (f->repl_type) {
    case LUA_TFUNCTION:
      lua_pushvalue(L, REPL);
      call_back(L, f, la_match_push(&f->m, f->at, end), end);
      add_result(L, f, end);
      break;
    case LUA_TTABLE:
      la_match_push_one(&f->m, 0, f->at, end);
      lua_pushvalue(L, -1);
      if (lua_rawget(L, REPL) == LUA_TNIL && la_slow_has(L, REPL, "__index")) {
        lua_pop(L, 1);
        la_slow_push(L, "index");
        lua_insert(L, -2);
        lua_pushvalue(L, REPL);
        lua_insert(L, -2);
        call_back(L, f, 2, end);
      } else {
        lua_remove(L, -2);
      }
      add_result(L, f, end);
      break;
    default:
      add_template(L, f, end);
      f->changed = true;
      break;
  }
}

static int gsub_end(lua_State *L, search_t *f) {
  charge_steps(L, f);
  if (!f->changed) {
    lua_pushvalue(L, SUBJECT);
  } else {
    out_add(L, f, f->at, (size_t)(f->m.src_end - f->at));
    lua_pushlstring(L, f->out_len > 0 ? f->out : "", f->out_len);
  }
  lua_pushinteger(L, f->count);
  return 2;
}

static int gsub_run(lua_State *L, search_t *f, la_choice_t *choices) {
  while (f->count < f->max) {
    const char *end;
    la_verdict_t verdict = try_match(L, f, choices, &end);
    if (verdict == LA_MATCH_PAUSE) {
      return suspend(L, f, choices, gsub_k);
    }
    if (verdict == LA_MATCH_OK && end != f->last) {
      f->count++;
      replace(L, f, end);
      f->at = f->last = end;
    } else if (f->at < f->m.src_end) {
      out_add(L, f, f->at++, 1);
    } else {
      break;
    }
    if (f->anchored) {
      break;
    }
  }
  return gsub_end(L, f);
}

static int str_gsub(lua_State *L) {
  size_t len;
  luaL_checklstring(L, SUBJECT, &len);
  luaL_checkstring(L, PATTERN);
  int type = lua_type(L, REPL);
  lua_Integer max = luaL_optinteger(L, 4, (lua_Integer)len + 1);
  luaL_argexpected(L,
                   type == LUA_TNUMBER || type == LUA_TSTRING ||
                       type == LUA_TFUNCTION || type == LUA_TTABLE,
                   REPL, "string/function/table");
  lua_settop(L, REPL);
  lua_settop(L, OUT);
  search_t f;
  la_choice_t choices[LA_MATCH_CHOICES];
  start_search(L, &f, 0);
  f.changed = false;
  f.repl_type = type;
  f.count = 0;
  f.max = max;
  f.out = NULL;
  f.out_len = f.out_size = 0;
  return gsub_run(L, &f, choices);
}

/* ---- rep, format, arithmetic ------------------------------------------- */

static int str_rep(lua_State *L) {
  size_t len, sep_len;
  luaL_checklstring(L, 1, &len);
  lua_Integer n = luaL_checkinteger(L, 2);
  luaL_optlstring(L, 3, "", &sep_len);
  if (len + sep_len == 0) { /* stock would still count to n */
    lua_pushliteral(L, "");
    return 1;
  }
  if (n > 0) {
    lua_Unsigned total = (lua_Unsigned)n / 64 * (len + sep_len);
    la_charge(L, total < INT_MAX ? (unsigned)total : INT_MAX);
  }
  return la_slow_stock(L, LA_STOCK_REP);
}

/* The argument which the next %s at or after *format takes, from 'arg' on; 0
 * when there is none. Moves *format and *arg behind it. */
static int next_text(const char **format, const char *end, int *arg) {
  while (*format < end) {
    if (*(*format)++ != '%') {
      continue;
    }
    if (**format == '%') {
      ++*format;
      continue;
    }
    *format += strspn(*format, "-+ #.0123456789");
    int taken = (*arg)++;
    if (*format < end && *(*format)++ == 's') {
      return taken;
    }
  }
  return 0;
}

static int format_k(lua_State *L, int status, lua_KContext arg);

/* The text of argument 'arg' is on top, below it the place in the format. */
static size_t take_text(lua_State *L, int arg) {
  la_base_take_tostring(L);
  lua_replace(L, arg);
  size_t place = (size_t)lua_tointeger(L, -1);
  lua_pop(L, 1);
  return place;
}

/* Replace the arguments of %s from 'arg' on by their text, then leave the rest
 * to stock. The slot above the arguments holds the place in the format. */
static int format_texts(lua_State *L, int arg, size_t place) {
  size_t len;
  const char *format = lua_tolstring(L, 1, &len);
  const char *at = format + place;
  int top = lua_gettop(L);
  int text;
  while ((text = next_text(&at, format + len, &arg)) != 0 && text <= top) {
    if (la_slow_has(L, text, "__tostring")) {
      lua_pushinteger(L, at - format);
      la_base_call_tostring(L, text, text, format_k);
      take_text(L, text);
    }
  }
  return la_slow_stock(L, LA_STOCK_FORMAT);
}

static int format_k(lua_State *L, int status, lua_KContext arg) {
  (void)status;
  size_t place = take_text(L, (int)arg);
  return format_texts(L, (int)arg + 1, place);
}

static int str_format(lua_State *L) {
  int top = lua_gettop(L);
  for (int i = 2; i <= top; i++) {
    if (lua_type(L, i) != LUA_TSTRING && la_slow_has(L, i, "__tostring")) {
      luaL_checkstring(L, 1);
      return format_texts(L, 2, 0);
    }
  }
  return la_slow_stock(L, LA_STOCK_FORMAT);
}

/* ---- the metatable of strings ------------------------------------------ */

/* Arithmetic: 'event' of the other operand is called when that is no string. */
static int string_arith(lua_State *L, const char *event, la_stock_t stock) {
  int type = lua_type(L, 2);
  if (type != LUA_TSTRING && type != LUA_TNUMBER &&
      luaL_getmetafield(L, 2, event) != LUA_TNIL) {
    lua_insert(L, 1);
    lua_settop(L, 3);
    return la_slow_call(L, 2, 1, 1, la_base_return_k);
  }
  return la_slow_stock(L, stock);
}

/* X(function, metamethod, stock) */
#define ARITHMETIC(X)          \
  X(arith_add, "__add", ADD)   \
  X(arith_sub, "__sub", SUB)   \
  X(arith_mul, "__mul", MUL)   \
  X(arith_mod, "__mod", MOD)   \
  X(arith_pow, "__pow", POW)   \
  X(arith_div, "__div", DIV)   \
  X(arith_idiv, "__idiv", IDIV) \
  X(arith_unm, "__unm", UNM)

#define X(function, event, stock)                        \
  static int function(lua_State *L) {                    \
    return string_arith(L, event, LA_STOCK_##stock);     \
  }
ARITHMETIC(X)
#undef X

/* The first access to a string's field finds the library. */
static int first_index(lua_State *L) {
  la_string_settle(L);
  la_lazy_push(L, LA_TABLE_STRING);
  lua_pushvalue(L, 2);
  lua_gettable(L, -2);
  return 1;
}

void la_string_open(lua_State *L) {
  static const luaL_Reg meta[] = {
#define X(function, event, stock) {event, function},
      ARITHMETIC(X)
#undef X
      {"__index", first_index},
      {NULL, NULL}};
  lua_pushliteral(L, "");
  luaL_newlib(L, meta);
  lua_setmetatable(L, -2);
  lua_pop(L, 1);
}

void la_string_settle(lua_State *L) {
  lua_pushliteral(L, "");
  if (lua_getmetatable(L, -1)) {
    lua_pushliteral(L, "__index");
    lua_pushvalue(L, -1);
    lua_rawget(L, -3);
    if (lua_tocfunction(L, -1) == first_index) {
      lua_pop(L, 1);
      la_lazy_push(L, LA_TABLE_STRING);
      lua_rawset(L, -3);
    } else {
      lua_pop(L, 2);
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

static const luaL_Reg functions[] = {
    {"find", str_find}, {"format", str_format}, {"gmatch", str_gmatch},
    {"gsub", str_gsub}, {"match", str_match},   {"rep", str_rep},
    {NULL, NULL}};
const la_std_part_t la_string_parts[] = {{LA_TABLE_STRING, functions, false},
                                         {0, NULL, false}};

/* Guards: an expression over captured names, compiled to a small stack code and
 * run on the encoded message.
 *
 *   expr  = names, numbers, strings, true, false, nil, (expr), type(expr)
 *           or  and  < > <= >= ~= ==  + -  * / // %  not # -  ^   (as in Lua)
 *
 * Values mean what they mean in Lua: integers and floats, arithmetic on strings
 * that hold numbers, strings compared by their bytes. What raises in Lua (or
 * would need a metamethod) makes the guard false. Tables are compared by
 * structure.
 *
 * The code is a run of words, op | a << 8 with operands behind it, in the order
 * of evaluation; the compiler knows how deep the stack gets and refuses more
 * than STACK_MAX. */
#include <ctype.h>
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>

#include "match/program.h"

#define STACK_MAX 24
#define NESTING_MAX 60

typedef enum {
  G_NAME,  /* a: slot */
  G_NIL,
  G_BOOL,  /* a: 0 or 1 */
  G_INT,   /* 2 words */
  G_FLOAT, /* 2 words */
  G_TEXT,  /* word: length; bytes, padded */
  G_TYPE,
  G_NOT,
  G_LEN,
  G_NEG,
  G_ADD, G_SUB, G_MUL, G_DIV, G_IDIV, G_MOD, G_POW,
  G_EQ, G_NE, G_LT, G_LE, G_GT, G_GE,
  G_AND,   /* word: words to skip when the top is false, else drop it */
  G_OR,
} op_t;

/* ---- compiler ----------------------------------------------------------- */

typedef enum {
  T_END, T_NAME, T_NUMBER, T_STRING, T_OP,
} token_t;

typedef struct {
  la_comp_t *c;
  const char *label;
  const char *text, *at, *end; /* 'at': behind the token */
  token_t token;
  const char *from; /* the token itself */
  size_t len;
  int depth;   /* of the value stack */
  int nesting; /* of the expression */
} guard_t;

static int fail_at(guard_t *g, const char *at, const char *what) {
  int line = 1;
  const char *start = g->text;
  for (const char *s = g->text; s < at; s++) {
    if (*s == '\n') {
      line++;
      start = s + 1;
    }
  }
  return luaL_error(g->c->L, "%s:%d:%d: %s", g->label, line,
                    (int)(at - start) + 1, what);
}

static int fail_token(guard_t *g, const char *what) {
  if (g->token == T_END) {
    lua_pushfstring(g->c->L, "%s expected at the end", what);
  } else {
    lua_pushlstring(g->c->L, g->from, g->len);
    lua_pushfstring(g->c->L, "%s expected near '%s'", what,
                    lua_tostring(g->c->L, -1));
  }
  return fail_at(g, g->from, lua_tostring(g->c->L, -1));
}

static bool is_digit(char ch) {
  return isdigit((unsigned char)ch) != 0;
}

static bool is_word_char(char ch) {
  return isalnum((unsigned char)ch) != 0 || ch == '_';
}

static const char *scan_number(const char *s, const char *end) {
  const bool hex = end - s > 1 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X');
  while (s < end) {
    const char lower = (char)tolower((unsigned char)*s);
    if (lower == (hex ? 'p' : 'e') && s + 1 < end &&
        (s[1] == '+' || s[1] == '-')) {
      s += 2;
    } else if (is_word_char(*s) || *s == '.') {
      s++;
    } else {
      break;
    }
  }
  return s;
}

static const char *scan_string(guard_t *g, const char *s) {
  const char quote = *s;
  const char *open = s;
  for (s++; s < g->end && *s != quote; s++) {
    if (*s == '\\') {
      s++;
    }
    if (s >= g->end || *s == '\n') {
      break;
    }
  }
  if (s >= g->end || *s != quote) {
    fail_at(g, open, "unfinished string");
  }
  return s + 1;
}

static void next_token(guard_t *g) {
  const char *s = g->at;
  while (s < g->end && isspace((unsigned char)*s)) {
    s++;
  }
  g->from = s;
  if (s == g->end) {
    g->token = T_END;
  } else if (is_digit(*s) || (*s == '.' && s + 1 < g->end && is_digit(s[1]))) {
    g->token = T_NUMBER;
    s = scan_number(s, g->end);
  } else if (is_word_char(*s)) {
    g->token = T_NAME;
    while (s < g->end && is_word_char(*s)) {
      s++;
    }
  } else if (*s == '\'' || *s == '"') {
    g->token = T_STRING;
    s = scan_string(g, s);
  } else {
    static const char *const two[] = {"==", "~=", "<=", ">=", "//"};
    g->token = T_OP;
    s++;
    for (size_t i = 0; i < sizeof two / sizeof *two && s < g->end; i++) {
      if (memcmp(g->from, two[i], 2) == 0) {
        s++;
        break;
      }
    }
  }
  g->at = s;
  g->len = (size_t)(s - g->from);
}

static bool is(const guard_t *g, const char *text) {
  return (g->token == T_OP || g->token == T_NAME) && strlen(text) == g->len &&
         memcmp(g->from, text, g->len) == 0;
}

static void emit(guard_t *g, op_t op, uint32_t a) {
  la_comp_word(g->c, (uint32_t)op | a << 8);
}

static void push_depth(guard_t *g) {
  if (++g->depth > STACK_MAX) {
    fail_at(g, g->from, "guard is too complicated");
  }
}

static void expr(guard_t *g, int limit);

static void name(guard_t *g) {
  la_comp_t *c = g->c;
  for (uint32_t i = 0; i < c->nnames; i++) {
    if ((c->bound >> i & 1) != 0 && c->name[i].len == g->len &&
        memcmp(c->name[i].s, g->from, g->len) == 0) {
      emit(g, G_NAME, c->name[i].slot);
      push_depth(g);
      return;
    }
  }
  lua_pushlstring(c->L, g->from, g->len);
  lua_pushfstring(c->L, "unknown name '%s'", lua_tostring(c->L, -1));
  fail_at(g, g->from, lua_tostring(c->L, -1));
}

static void number(guard_t *g) {
  lua_State *L = g->c->L;
  lua_pushlstring(L, g->from, g->len);
  if (lua_stringtonumber(L, lua_tostring(L, -1)) == 0) {
    fail_at(g, g->from, "malformed number");
  }
  if (lua_isinteger(L, -1)) {
    emit(g, G_INT, 0);
    la_comp_wide(g->c, (uint64_t)lua_tointeger(L, -1));
  } else {
    const double d = lua_tonumber(L, -1);
    uint64_t bits;
    memcpy(&bits, &d, sizeof bits);
    emit(g, G_FLOAT, 0);
    la_comp_wide(g->c, bits);
  }
  lua_pop(L, 2);
  push_depth(g);
}

static int hex_digit(char ch) {
  return is_digit(ch) ? ch - '0' : tolower((unsigned char)ch) - 'a' + 10;
}

/* One escape; 's' is behind the backslash. Returns what is behind it. */
static const char *escape(guard_t *g, const char *s, const char *end,
                          luaL_Buffer *b) {
  static const char from[] = "abfnrtv\\'\"";
  static const char to[] = "\a\b\f\n\r\t\v\\'\"";
  const char *found = strchr(from, *s);
  if (*s != '\0' && found != NULL) {
    luaL_addchar(b, to[found - from]);
    return s + 1;
  }
  if (*s == 'x' && end - s > 2 && isxdigit((unsigned char)s[1]) &&
      isxdigit((unsigned char)s[2])) {
    luaL_addchar(b, (char)(hex_digit(s[1]) * 16 + hex_digit(s[2])));
    return s + 3;
  }
  int v = 0, n = 0;
  while (n < 3 && s + n < end && is_digit(s[n])) {
    v = v * 10 + (s[n] - '0');
    n++;
  }
  if (n == 0 || v > 255) {
    fail_at(g, s - 1, "bad escape in a string");
  }
  luaL_addchar(b, (char)v);
  return s + n;
}

static void string(guard_t *g) {
  lua_State *L = g->c->L;
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  const char *end = g->from + g->len - 1;
  for (const char *s = g->from + 1; s < end;) {
    if (*s == '\\') {
      s = escape(g, s + 1, end, &b);
    } else {
      luaL_addchar(&b, *s);
      s++;
    }
  }
  luaL_pushresult(&b);
  size_t len;
  const char *text = lua_tolstring(L, -1, &len);
  emit(g, G_TEXT, 0);
  la_comp_text(g->c, text, len);
  lua_pop(L, 1);
  push_depth(g);
}

static void expect(guard_t *g, const char *text) {
  if (!is(g, text)) {
    lua_pushfstring(g->c->L, "'%s'", text);
    fail_token(g, lua_tostring(g->c->L, -1));
  }
  next_token(g);
}

static void call(guard_t *g) {
  const char *from = g->from;
  const bool known = is(g, "type");
  next_token(g);
  if (!known) {
    fail_at(g, from, "only type() can be called");
  }
  expect(g, "(");
  expr(g, 0);
  expect(g, ")");
  emit(g, G_TYPE, 0);
}

static bool is_keyword(const guard_t *g) {
  return is(g, "and") || is(g, "or") || is(g, "not");
}

static bool before_paren(const guard_t *g) {
  const char *s = g->at;
  while (s < g->end && isspace((unsigned char)*s)) {
    s++;
  }
  return s < g->end && *s == '(';
}

static void primary(guard_t *g) {
  if (g->token == T_NUMBER) {
    number(g);
  } else if (g->token == T_STRING) {
    string(g);
  } else if (is(g, "(")) {
    next_token(g);
    expr(g, 0);
    expect(g, ")");
    return;
  } else if (is(g, "true") || is(g, "false")) {
    emit(g, G_BOOL, is(g, "true"));
    push_depth(g);
  } else if (is(g, "nil")) {
    emit(g, G_NIL, 0);
    push_depth(g);
  } else if (g->token == T_NAME && !is_keyword(g)) {
    if (before_paren(g)) {
      call(g);
      return;
    }
    name(g);
  } else {
    fail_token(g, "name or value");
  }
  next_token(g);
}

/* Binding power to the left and to the right, as in Lua. */
typedef struct {
  const char *text;
  op_t op;
  int left, right;
} binary_t;

#define UNARY_POWER 12

static const binary_t *binary(const guard_t *g) {
  static const binary_t ops[] = {
      {"or", G_OR, 1, 1},     {"and", G_AND, 2, 2},  {"<", G_LT, 3, 3},
      {">", G_GT, 3, 3},      {"<=", G_LE, 3, 3},    {">=", G_GE, 3, 3},
      {"~=", G_NE, 3, 3},     {"==", G_EQ, 3, 3},    {"+", G_ADD, 10, 10},
      {"-", G_SUB, 10, 10},   {"*", G_MUL, 11, 11},  {"/", G_DIV, 11, 11},
      {"//", G_IDIV, 11, 11}, {"%", G_MOD, 11, 11},  {"^", G_POW, 14, 13}};
  for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
    if (is(g, ops[i].text)) {
      return &ops[i];
    }
  }
  return NULL;
}

static void unary(guard_t *g) {
  op_t op;
  if (is(g, "not")) {
    op = G_NOT;
  } else if (is(g, "-")) {
    op = G_NEG;
  } else if (is(g, "#")) {
    op = G_LEN;
  } else {
    primary(g);
    return;
  }
  next_token(g);
  expr(g, UNARY_POWER);
  emit(g, op, 0);
}

/* An expression of operators that bind stronger than 'limit'. */
static void expr(guard_t *g, int limit) {
  if (++g->nesting > NESTING_MAX) {
    fail_at(g, g->from, "guard is too complicated");
  }
  unary(g);
  const binary_t *b = binary(g);
  while (b != NULL && b->left > limit) {
    next_token(g);
    if (b->op == G_AND || b->op == G_OR) {
      emit(g, b->op, 0);
      const uint32_t at = g->c->n;
      la_comp_word(g->c, 0);
      g->depth--;
      expr(g, b->right);
      g->c->words[at] = g->c->n - at - 1;
    } else {
      expr(g, b->right);
      emit(g, b->op, 0);
      g->depth--;
    }
    b = binary(g);
  }
  g->nesting--;
}

void la_guard_compile(la_comp_t *c, const char *text, size_t len,
                      const char *label) {
  guard_t g = {.c = c, .label = label, .text = text, .at = text,
               .end = text + len};
  luaL_checkstack(c->L, 20, NULL);
  next_token(&g);
  expr(&g, 0);
  if (g.token != T_END) {
    fail_token(&g, "operator");
  }
}

/* ---- runner ------------------------------------------------------------- */

static void set_int(la_view_t *v, int64_t i) {
  v->kind = LA_K_INT;
  v->i = i;
}

static void set_float(la_view_t *v, double d) {
  v->kind = LA_K_FLOAT;
  v->d = d;
}

static void set_bool(la_view_t *v, bool b) {
  v->kind = LA_K_BOOL;
  v->i = b;
}

static void set_text(la_view_t *v, const void *s, size_t len) {
  v->kind = LA_K_TEXT;
  v->at = s;
  v->len = len;
}

static bool is_true(const la_view_t *v) {
  return v->kind != LA_K_NIL && (v->kind != LA_K_BOOL || v->i != 0);
}

static const char *type_name(const la_view_t *v) {
  switch (v->kind) {
    case LA_K_NIL:
      return "nil";
    case LA_K_BOOL:
      return "boolean";
    case LA_K_INT: case LA_K_FLOAT:
      return "number";
    case LA_K_TEXT:
      return "string";
    case LA_K_TABLE: case LA_K_NAMED_TABLE:
      return "table";
    case LA_K_FUNC:
      return "function";
    default:
      return "userdata";
  }
}

/* The number that a short string holds, as Lua reads it. */
static bool text_to_number(la_view_t *v) {
  char buf[64];
  const char *s = (const char *)v->at;
  const char *last = s + v->len;
  while (s < last && isspace((unsigned char)*s)) {
    s++;
  }
  while (s < last && isspace((unsigned char)last[-1])) {
    last--;
  }
  const size_t n = (size_t)(last - s);
  if (n == 0 || n >= sizeof buf || memchr(s, '\0', n) != NULL ||
      memchr(s, 'n', n) != NULL || memchr(s, 'N', n) != NULL) {
    return false; /* strtod would take "nan" and "inf" */
  }
  memcpy(buf, s, n);
  buf[n] = '\0';
  if (strspn(buf, "+-0123456789") == n && n < 19) {
    char *stop;
    const long long i = strtoll(buf, &stop, 10);
    if (*stop != '\0') {
      return false;
    }
    set_int(v, i);
    return true;
  }
  char *stop;
  const double d = strtod(buf, &stop);
  if (*stop != '\0') {
    return false;
  }
  /* Hexadecimal integers stay integers. */
  if (strpbrk(buf, "xX") != NULL && strpbrk(buf, ".pP") == NULL) {
    const bool negative = *buf == '-';
    const uint64_t u = strtoull(buf + (negative || *buf == '+'), NULL, 16);
    set_int(v, (int64_t)(negative ? 0 - u : u));
    return true;
  }
  set_float(v, d);
  return true;
}

static bool is_number(const la_view_t *v) {
  return v->kind == LA_K_INT || v->kind == LA_K_FLOAT;
}

static bool to_number(la_view_t *v) {
  return is_number(v) || (v->kind == LA_K_TEXT && text_to_number(v));
}

static double as_float(const la_view_t *v) {
  return v->kind == LA_K_INT ? (double)v->i : v->d;
}

static bool int_divide(op_t op, la_view_t *a, int64_t n) {
  const int64_t m = a->i;
  if (n == 0) {
    return false;
  }
  if (n == -1) { /* the least integer has no opposite */
    a->i = op == G_IDIV ? (int64_t)(0 - (uint64_t)m) : 0;
    return true;
  }
  const bool down = m % n != 0 && (m % n < 0) != (n < 0);
  a->i = op == G_IDIV ? m / n - down : m % n + (down ? n : 0);
  return true;
}

static double float_mod(double a, double b) {
  double m = fmod(a, b);
  if (m != 0 && (m < 0) != (b < 0)) {
    m += b;
  }
  return m;
}

static bool arith(op_t op, la_view_t *a, la_view_t *b) {
  if (!to_number(a) || !to_number(b)) {
    return false;
  }
  if (a->kind == LA_K_INT && b->kind == LA_K_INT) {
    const uint64_t x = (uint64_t)a->i, y = (uint64_t)b->i;
    switch (op) {
      case G_ADD:
        a->i = (int64_t)(x + y);
        return true;
      case G_SUB:
        a->i = (int64_t)(x - y);
        return true;
      case G_MUL:
        a->i = (int64_t)(x * y);
        return true;
      case G_IDIV: case G_MOD:
        return int_divide(op, a, b->i);
      default:
        break;
    }
  }
  const double x = as_float(a), y = as_float(b);
  switch (op) {
    case G_ADD:
      set_float(a, x + y);
      break;
    case G_SUB:
      set_float(a, x - y);
      break;
    case G_MUL:
      set_float(a, x * y);
      break;
    case G_DIV:
      set_float(a, x / y);
      break;
    case G_IDIV:
      set_float(a, floor(x / y));
      break;
    case G_MOD:
      set_float(a, float_mod(x, y));
      break;
    default:
      set_float(a, y == 2 ? x * x : pow(x, y));
      break;
  }
  return true;
}

/* i < d, or i <= d; exact for all values. */
static bool int_below_float(int64_t i, double d, bool or_equal) {
  if (isnan(d)) {
    return false;
  }
  if (d >= 0x1p63) {
    return true;
  }
  if (d < -0x1p63) {
    return false;
  }
  const double f = floor(d);
  const int64_t k = (int64_t)f;
  return i < k || (i == k && (or_equal || d > f));
}

static bool float_below_int(double d, int64_t i, bool or_equal) {
  return !isnan(d) && !int_below_float(i, d, !or_equal);
}

static bool number_below(const la_view_t *a, const la_view_t *b,
                         bool or_equal) {
  if (a->kind == LA_K_INT && b->kind == LA_K_INT) {
    return or_equal ? a->i <= b->i : a->i < b->i;
  }
  if (a->kind == LA_K_INT) {
    return int_below_float(a->i, b->d, or_equal);
  }
  if (b->kind == LA_K_INT) {
    return float_below_int(a->d, b->i, or_equal);
  }
  return or_equal ? a->d <= b->d : a->d < b->d;
}

/* Sets *a to a < b or a <= b. */
static bool below(la_view_t *a, const la_view_t *b, bool or_equal) {
  if (is_number(a) && is_number(b)) {
    set_bool(a, number_below(a, b, or_equal));
    return true;
  }
  if (a->kind != LA_K_TEXT || b->kind != LA_K_TEXT) {
    return false;
  }
  const size_t n = a->len < b->len ? a->len : b->len;
  int order = memcmp(a->at, b->at, n);
  if (order == 0) {
    order = a->len < b->len ? -1 : a->len > b->len;
  }
  set_bool(a, or_equal ? order <= 0 : order < 0);
  return true;
}

static bool compare(const la_run_t *r, op_t op, la_view_t *a, la_view_t *b) {
  switch (op) {
    case G_EQ: case G_NE:
      set_bool(a, la_view_equal(r->t, a, r->t, b) == (op == G_EQ));
      return true;
    case G_LT: case G_LE:
      return below(a, b, op == G_LE);
    default:
      if (!below(b, a, op == G_GE)) {
        return false;
      }
      *a = *b;
      return true;
  }
}

static bool length(la_view_t *v) {
  if (v->kind == LA_K_TEXT) {
    set_int(v, (int64_t)v->len);
    return true;
  }
  if (v->kind == LA_K_TABLE) {
    set_int(v, v->nseq);
    return true;
  }
  return false;
}

static bool negate(la_view_t *v) {
  if (!to_number(v)) {
    return false;
  }
  if (v->kind == LA_K_INT) {
    v->i = (int64_t)(0 - (uint64_t)v->i);
  } else {
    v->d = -v->d;
  }
  return true;
}

/* Push a constant or a name; returns what is behind it. */
static const uint32_t *load(const la_run_t *r, const uint32_t *c,
                            la_view_t *v) {
  const uint32_t a = *c >> 8;
  v->is_atom = false;
  v->start = NULL;
  v->tag = 0;
  switch (*c++ & 0xff) {
    case G_NAME:
      la_run_view(r, a, v);
      return c;
    case G_NIL:
      v->kind = LA_K_NIL;
      return c;
    case G_BOOL:
      set_bool(v, a != 0);
      return c;
    case G_INT:
      set_int(v, (int64_t)la_words64(c));
      return c + 2;
    case G_FLOAT: {
      const uint64_t bits = la_words64(c);
      double d;
      memcpy(&d, &bits, sizeof d);
      set_float(v, d);
      return c + 2;
    }
    default:
      set_text(v, c + 1, *c);
      return c + 1 + (*c + 3) / 4;
  }
}

static bool apply_unary(op_t op, la_view_t *v) {
  switch (op) {
    case G_TYPE: {
      const char *name_of = type_name(v);
      set_text(v, name_of, strlen(name_of));
      return true;
    }
    case G_NOT:
      set_bool(v, !is_true(v));
      return true;
    case G_LEN:
      return length(v);
    default:
      return negate(v);
  }
}

bool la_guard_run(const la_run_t *r, const uint32_t *c, uint32_t words) {
  la_view_t stack[STACK_MAX];
  unsigned n = 0;
  const uint32_t *end = c + words;
  while (c < end) {
    const op_t op = (op_t)(*c & 0xff);
    la_view_t *top = n == 0 ? stack : &stack[n - 1];
    if (op <= G_TEXT) {
      c = load(r, c, &stack[n++]);
    } else if (op <= G_NEG) {
      if (!apply_unary(op, top)) {
        return false;
      }
      c++;
    } else if (op >= G_AND) {
      if (is_true(top) == (op == G_OR)) {
        c += 2 + c[1];
      } else {
        n--;
        c += 2;
      }
    } else {
      n--;
      if (op <= G_POW ? !arith(op, top - 1, top)
                      : !compare(r, op, top - 1, top)) {
        return false;
      }
      c++;
    }
  }
  return is_true(&stack[0]);
}

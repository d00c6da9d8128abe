/* Pattern values to programs, and clauses to matchers.
 *
 * A pattern is a plain Lua value or a pattern object (lib_match.c). It is
 * walked once; words go to a buffer inside la_comp_t, on the C stack, which
 * moves to a userdata when it gets full: a pattern written inline in a receive
 * costs one userdata, that of the matcher.
 *
 * Names: the first place where a name appears binds its slot, a later one
 * compares. In a choice each alternative starts from the names bound before it
 * and must bind the same ones; it reuses their slots.
 *
 * Keys of a table constructor have no order, so captures in them are ordered by
 * their keys: numbers, then strings, each ascending, then the others. The
 * textual form keeps the order of the text. */
#include <assert.h>
#include <lauxlib.h>
#include <stdio.h>

#include "match/program.h"
#include "term/foreign.h"
#include "term/layout.h"

#define DEPTH_MAX 200
#define KEYS_MAX 200

/* A step of the path to the pattern now compiled, for error messages. */
struct la_step {
  const la_step_t *up;
  const char *key; /* NULL: an index */
  lua_Integer index;
};

static void pattern(la_comp_t *c, int idx);

/* Stack slots: for each level, and for begin and the first. Every C function has
 * the latter beside a few arguments. */
#define LEVEL_SLOTS 12
#define BEGIN_SLOTS (LUA_MINSTACK - 4)

static inline void room_for_level(const la_comp_t *c) {
  if (c->depth > 1) {
    luaL_checkstack(c->L, LEVEL_SLOTS, NULL);
  }
}

/* ---- objects ------------------------------------------------------------ */

static const char kind_key; /* its address is the key */

void la_obj_mark(lua_State *L, la_obj_t kind) {
  lua_pushinteger(L, kind);
  lua_rawsetp(L, -2, &kind_key);
}

la_obj_t la_obj_kind(lua_State *L, int idx) {
  if (!lua_getmetatable(L, idx)) {
    return LA_OBJ_NONE;
  }
  const la_obj_t kind = lua_rawgetp(L, -1, &kind_key) == LUA_TNUMBER
                            ? (la_obj_t)lua_tointeger(L, -1)
                            : LA_OBJ_NONE;
  lua_pop(L, 2);
  return kind;
}

/* The pattern object at 'idx', or NULL. */
static const la_pat_t *to_pat(lua_State *L, int idx) {
  return lua_type(L, idx) == LUA_TUSERDATA &&
                 la_obj_kind(L, idx) == LA_OBJ_PATTERN
             ? lua_touserdata(L, idx)
             : NULL;
}

/* ---- errors ------------------------------------------------------------- */

static bool is_word(const char *s) {
  if (*s == '\0' || (*s >= '0' && *s <= '9')) {
    return false;
  }
  const char *end = s + strspn(s, "abcdefghijklmnopqrstuvwxyz"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
  return *end == '\0';
}

static void add_path(luaL_Buffer *b, const la_step_t *s) {
  char text[80];
  if (s->up != NULL) {
    add_path(b, s->up);
  }
  if (s->key == NULL) {
    snprintf(text, sizeof text, "[%lld]", (long long)s->index);
  } else if (is_word(s->key) && strlen(s->key) < sizeof text - 1) {
    snprintf(text, sizeof text, ".%s", s->key);
  } else {
    snprintf(text, sizeof text, "[\"%.60s\"]", s->key);
  }
  luaL_addstring(b, text);
}

/* Raise "bad pattern at [2].cfg: <message>"; the message is on top. */
static int fail(la_comp_t *c) {
  lua_State *L = c->L;
  const char *what = lua_tostring(L, -1);
  if (c->path == NULL) {
    return luaL_error(L, "bad pattern: %s", what);
  }
  luaL_checkstack(L, 10, NULL);
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  add_path(&b, c->path);
  luaL_pushresult(&b);
  return luaL_error(L, "bad pattern at %s: %s", lua_tostring(L, -1), what);
}

static int fail_text(la_comp_t *c, const char *what) {
  luaL_checkstack(c->L, 4, NULL);
  lua_pushstring(c->L, what);
  return fail(c);
}

/* ---- the buffer --------------------------------------------------------- */

void la_comp_grow(la_comp_t *c, uint32_t n) {
  if (n > (1u << 26) || c->n > (1u << 26)) {
    fail_text(c, "it is too large");
  }
  const uint32_t cap = (c->n + n) * 2;
  luaL_checkstack(c->L, 4, NULL);
  uint32_t *words = lua_newuserdatauv(c->L, cap * sizeof *words, 0);
  memcpy(words, c->words, c->n * sizeof *words);
  lua_replace(c->L, c->spill);
  c->words = words;
  c->cap = cap;
}

void la_comp_text(la_comp_t *c, const char *s, size_t len) {
  if (len > LA_TERM_MAX_BYTES / 8) {
    fail_text(c, "string is too long");
  }
  const uint32_t n = (uint32_t)(len + 3) / 4;
  uint32_t *w = la_comp_room(c, n + 1);
  *w = (uint32_t)len;
  if (n != 0) {
    w[n] = 0; /* matchers travel as bytes: no stale ones */
    la_copy_text((uint8_t *)(w + 1), s, len);
  }
  c->n += n + 1;
}

static inline void op(la_comp_t *c, la_op_t o, uint32_t a) {
  la_comp_word(c, (uint32_t)o | a << 8);
}

/* ---- names -------------------------------------------------------------- */

static uint32_t new_slot(la_comp_t *c) {
  if (c->nslots == LA_MATCH_MAX_CAPS) {
    lua_pushfstring(c->L, "more than %d captures", LA_MATCH_MAX_CAPS);
    fail(c);
  }
  return c->nslots++;
}

/* The index of a name, known or new. */
static uint32_t find_name(la_comp_t *c, const char *s, size_t len,
                          bool is_rest) {
  for (uint32_t i = 0; i < c->nnames; i++) {
    if (c->name[i].len == len && memcmp(c->name[i].s, s, len) == 0) {
      return i;
    }
  }
  const uint32_t slot = new_slot(c); /* no more names than slots */
  c->name[c->nnames] = (la_name_t){s, len, slot, is_rest};
  return c->nnames++;
}

/* Bind a name at this place. False: it is bound already, to *slot. */
static bool bind(la_comp_t *c, const la_pat_t *p, bool is_rest,
                 uint32_t *slot) {
  const uint32_t i = find_name(c, p->name, p->len, is_rest);
  const bool fresh = (c->bound >> i & 1) == 0;
  *slot = c->name[i].slot;
  if (is_rest != c->name[i].is_rest || (is_rest && !fresh)) {
    lua_pushfstring(c->L, "'%s' names a rest and something else", p->name);
    fail(c);
  }
  c->bound |= UINT64_C(1) << i;
  return fresh;
}

/* ---- tables ------------------------------------------------------------- */

static const la_pat_t *rest_at(lua_State *L, int idx) {
  const la_pat_t *p = to_pat(L, idx);
  return p != NULL && p->kind == LA_PAT_REST ? p : NULL;
}

/* The pattern on top stands under a key or index. Pops it. */
static void part(la_comp_t *c, const char *key, lua_Integer index) {
  const la_step_t step = {c->path, key, index};
  c->path = &step;
  pattern(c, lua_gettop(c->L));
  c->path = step.up;
  lua_pop(c->L, 1);
}

static void number_literal(la_comp_t *c, int idx) {
  if (lua_isinteger(c->L, idx)) {
    op(c, LA_OP_INT, 0);
    la_comp_wide(c, (uint64_t)lua_tointeger(c->L, idx));
    return;
  }
  const double d = lua_tonumber(c->L, idx);
  uint64_t bits;
  memcpy(&bits, &d, sizeof bits);
  op(c, LA_OP_FLOAT, 0);
  la_comp_wide(c, bits);
}

/* A value that is compared; false when it is not one. */
static bool literal(la_comp_t *c, int idx) {
  lua_State *L = c->L;
  switch (lua_type(L, idx)) {
    case LUA_TSTRING: {
      size_t len;
      const char *s = lua_tolstring(L, idx, &len);
      op(c, LA_OP_TEXT, 0);
      la_comp_text(c, s, len);
      return true;
    }
    case LUA_TNUMBER:
      number_literal(c, idx);
      return true;
    case LUA_TBOOLEAN:
      op(c, LA_OP_BOOL, (uint32_t)lua_toboolean(L, idx));
      return true;
    case LUA_TLIGHTUSERDATA: {
      const la_id_t id = la_to_id(L, idx);
      if (id == LA_NO_ID) {
        return false;
      }
      op(c, LA_OP_ID, 0);
      la_comp_wide(c, id);
      return true;
    }
    default:
      return false;
  }
}

/* The key at 'key' with the pattern on top, which is popped. */
static void keyed(la_comp_t *c, int key) {
  char text[64];
  const char *name = text;
  lua_State *L = c->L;
  if (lua_type(L, key) == LUA_TSTRING) {
    name = lua_tostring(L, key);
  } else if (lua_isinteger(L, key)) {
    name = NULL;
  } else {
    snprintf(text, sizeof text, "%s", luaL_typename(L, key));
  }
  if (!literal(c, key)) {
    lua_pushfstring(L, "key is a %s", luaL_typename(L, key));
    fail(c);
  }
  part(c, name, name == NULL ? lua_tointeger(L, key) : 0);
}

static int key_rank(lua_State *L, int idx) {
  switch (lua_type(L, idx)) {
    case LUA_TNUMBER:
      return 0;
    case LUA_TSTRING:
      return 1;
    default:
      return 2;
  }
}

static bool key_before(lua_State *L, int a, int b) {
  const int ra = key_rank(L, a), rb = key_rank(L, b);
  if (ra != rb || ra == 2) {
    return ra != rb ? ra < rb
                    : lua_topointer(L, a) < lua_topointer(L, b);
  }
  return lua_compare(L, a, b, LUA_OPLT);
}

/* The 'n' keys from stack slot 'first' on, in order. */
static void sort_keys(lua_State *L, int first, int n) {
  for (int i = first + 1; i < first + n; i++) {
    for (int k = i; k > first && key_before(L, k, k - 1); k--) {
      lua_pushvalue(L, k);
      lua_copy(L, k - 1, k);
      lua_replace(L, k - 1);
    }
  }
}

/* Push the keys of the table at 'idx' that are not in its sequence 1..npos;
 * returns how many. */
static int push_keys(la_comp_t *c, int idx, lua_Integer npos) {
  lua_State *L = c->L;
  int n = 0;
  lua_pushnil(L);
  while (lua_next(L, idx)) {
    lua_pop(L, 1);
    if (lua_isinteger(L, -1)) {
      const lua_Integer k = lua_tointeger(L, -1);
      if (k >= 1 && k <= npos) {
        continue;
      }
      if (npos > 0 && k > npos) {
        lua_pushfstring(L, "element %I comes after a hole", (LUAI_UACINT)k);
        fail(c);
      }
    }
    if (++n > KEYS_MAX) {
      lua_pushfstring(L, "more than %d keys", KEYS_MAX);
      fail(c);
    }
    luaL_checkstack(L, 8, NULL);
    lua_pushvalue(L, -1); /* one to keep, one for lua_next */
  }
  return n;
}

static void sorted_keys(la_comp_t *c, int idx, lua_Integer npos,
                        uint32_t head) {
  lua_State *L = c->L;
  const int first = lua_gettop(L) + 1;
  const int n = push_keys(c, idx, npos);
  sort_keys(L, first, n);
  for (int i = 0; i < n; i++) {
    lua_pushvalue(L, first + i);
    lua_rawget(L, idx);
    keyed(c, first + i);
  }
  lua_settop(L, first - 1);
  c->words[head + 2] = (uint32_t)n;
}

/* The keys in the order that the textual form gave them in. */
static void ordered_keys(la_comp_t *c, int idx, int order, uint32_t head) {
  lua_State *L = c->L;
  const lua_Integer n = (lua_Integer)lua_rawlen(L, order);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, order, i);
    lua_pushvalue(L, -1);
    lua_rawget(L, idx);
    keyed(c, lua_gettop(L) - 1);
    lua_pop(L, 1);
  }
  c->words[head + 2] = (uint32_t)n;
}

/* Is there a key besides 1..npos? Cheap for the usual array. */
static bool has_more_keys(lua_State *L, int idx, lua_Integer npos) {
  lua_Integer n = 0;
  lua_pushnil(L);
  while (lua_next(L, idx)) {
    lua_pop(L, 1);
    if (++n > npos) {
      lua_pop(L, 1);
      return true;
    }
  }
  return false;
}

/* The rest pattern on top ends the sequence. */
static void rest(la_comp_t *c, int idx, lua_Integer i, const la_pat_t *p,
                 uint32_t *slot) {
  if (lua_rawgeti(c->L, idx, i + 1) != LUA_TNIL) {
    lua_pushfstring(c->L, "'...' must be the last of the sequence");
    fail(c);
  }
  lua_pop(c->L, 1);
  *slot = LA_NO_SLOT;
  if (p->len != 0) {
    bind(c, p, true, slot);
  }
}

/* The positions. A rest is bound after them, as it stands behind them, but
 * its slot is in front of their nodes: the word is reserved when the last
 * element turns out to be one. Returns the length of the sequence in 'idx'. */
static lua_Integer positions(la_comp_t *c, int idx, uint32_t head) {
  lua_State *L = c->L;
  const lua_Integer len = (lua_Integer)lua_rawlen(L, idx);
  bool has_rest = false;
  if (len > 0) {
    lua_rawgeti(L, idx, len);
    has_rest = rest_at(L, -1) != NULL;
    lua_pop(L, 1);
  }
  if (has_rest) {
    la_comp_word(c, LA_NO_SLOT);
  }
  lua_Integer i = 0;
  while (lua_rawgeti(L, idx, i + 1) != LUA_TNIL) {
    const la_pat_t *p = has_rest ? rest_at(L, -1) : NULL;
    i++;
    if (p != NULL) {
      uint32_t slot;
      rest(c, idx, i, p, &slot);
      lua_pop(L, 1);
      c->words[head] |= LA_TABLE_REST << 8;
      c->words[head + 3] = slot;
      c->words[head + 1] = (uint32_t)(i - 1);
      break;
    }
    part(c, NULL, i);
    c->words[head + 1] = (uint32_t)i;
  }
  if (i == 0 || (c->words[head] >> 8 & LA_TABLE_REST) == 0) {
    lua_pop(L, 1);
  }
  if (i > 0) {
    c->words[head] |= LA_TABLE_SEQ << 8;
  }
  return i;
}

static void variable(la_comp_t *c, int idx, const la_pat_t *p);

/* An element of the usual kind, a literal or a plain name, is on top. */
static bool plain_element(la_comp_t *c, lua_Integer index) {
  const int at = lua_gettop(c->L);
  if (literal(c, at)) {
    return true;
  }
  const la_pat_t *p = to_pat(c->L, at);
  if (p == NULL || p->of != 0 ||
      (p->kind != LA_PAT_VAR && p->kind != LA_PAT_ANY)) {
    return false;
  }
  if (p->kind == LA_PAT_ANY) {
    op(c, LA_OP_ANY, 0);
    return true;
  }
  const la_step_t step = {c->path, NULL, index};
  c->path = &step;
  variable(c, at, p);
  c->path = step.up;
  return true;
}

static void wide_literal(la_comp_t *c, la_op_t o, uint64_t bits) {
  op(c, o, 0);
  la_comp_wide(c, bits);
}

/* The same for element 'index' of the table at 'idx', which is in its array. */
static bool plain_slot(la_comp_t *c, int idx, const la_lslot_t *s,
                       lua_Integer index) {
  switch (s->tt) {
    case LA_V_SHORTSTR: case LA_V_LONGSTR: {
      const la_lstring_t *str = s->v.p; /* anchored by the table */
      op(c, LA_OP_TEXT, 0);
      la_comp_text(c, str->bytes, la_lstring_len(str, s->tt));
      return true;
    }
    case LA_V_INT:
      wide_literal(c, LA_OP_INT, (uint64_t)s->v.i);
      return true;
    case LA_V_LIGHT: {
      const la_id_t id = (la_id_t)(uintptr_t)s->v.p;
      if (la_id_kind(id) == LA_ID_NONE) {
        return false;
      }
      wide_literal(c, LA_OP_ID, id);
      return true;
    }
    default: {
      lua_rawgeti(c->L, idx, index);
      const bool ok = plain_element(c, index);
      lua_pop(c->L, 1);
      return ok;
    }
  }
}

/* Elements of the table at 'idx', which holds nothing else; 0: it does, or they
 * are of another kind. */
static lua_Integer plain_array(la_comp_t *c, int idx) {
  const la_ltable_t *t = la_lslot_at(c->L, idx)->v.p;
  if (!la_has_no_pairs(t)) {
    return 0;
  }
  const uint32_t size = la_array_size(t);
  uint32_t n = 0;
  for (; n < size && !la_is_empty(t->array[n].tt); n++) {
    if (!plain_slot(c, idx, &t->array[n], (lua_Integer)n + 1)) {
      return 0;
    }
  }
  for (uint32_t i = n; i < size; i++) {
    if (!la_is_empty(t->array[i].tt)) {
      return 0;
    }
  }
  return n;
}

static lua_Integer plain_pairs(la_comp_t *c, int idx) {
  lua_State *L = c->L;
  lua_Integer n = 0;
  lua_pushnil(L);
  while (lua_next(L, idx)) {
    if (!lua_isinteger(L, -2) || lua_tointeger(L, -2) != n + 1 ||
        !plain_element(c, n + 1)) {
      lua_pop(L, 2);
      return 0;
    }
    lua_pop(L, 1);
    n++;
  }
  return n;
}

/* The usual pattern, written inline and so compiled for each receive: a sequence
 * in order, of plain elements, and no other key. One walk; when it turns out to be
 * another, nothing has happened and the general way is taken. */
static bool plain_list(la_comp_t *c, int idx, uint32_t flags) {
  const uint32_t head = c->n, nnames = c->nnames, nslots = c->nslots;
  const uint64_t bound = c->bound;
  op(c, LA_OP_TABLE, flags | LA_TABLE_SEQ);
  la_comp_word(c, 0);
  la_comp_word(c, 0);
  const lua_Integer n = c->direct ? plain_array(c, idx) : plain_pairs(c, idx);
  if (n == 0) {
    c->n = head;
    c->nnames = nnames;
    c->nslots = nslots;
    c->bound = bound;
    return false;
  }
  c->words[head + 1] = (uint32_t)n;
  return true;
}

/* The table at 'idx'; 'order': where a list of its keys is, or 0. */
static void table(la_comp_t *c, int idx, int order, uint32_t flags) {
  room_for_level(c);
  if (order == 0 && plain_list(c, idx, flags)) {
    return;
  }
  const uint32_t head = c->n;
  op(c, LA_OP_TABLE, flags);
  la_comp_word(c, 0);
  la_comp_word(c, 0);
  const lua_Integer n = positions(c, idx, head);
  if (order != 0) {
    ordered_keys(c, idx, order, head);
  } else if (has_more_keys(c->L, idx, n)) {
    sorted_keys(c, idx, n, head);
  }
}

/* ---- pattern objects ---------------------------------------------------- */

static void fail_names(la_comp_t *c, uint64_t differ) {
  const unsigned i = (unsigned)__builtin_ctzll(differ);
  lua_pushlstring(c->L, c->name[i].s, c->name[i].len);
  lua_pushfstring(c->L, "only some alternatives bind '%s'",
                  lua_tostring(c->L, -1));
  fail(c);
}

/* The list of alternatives is at 'list'. */
static void choice(la_comp_t *c, int list) {
  lua_State *L = c->L;
  const uint32_t n = (uint32_t)lua_rawlen(L, list);
  const uint32_t head = c->n;
  const uint64_t before = c->bound;
  uint64_t after = 0;
  op(c, LA_OP_CHOICE, n);
  la_comp_word(c, 0);
  for (uint32_t i = 0; i < n; i++) {
    const uint32_t at = c->n;
    la_comp_word(c, 0);
    la_comp_word(c, c->nslots);
    c->bound = before;
    lua_rawgeti(L, list, i + 1);
    pattern(c, lua_gettop(L));
    lua_pop(L, 1);
    if (i == 0) {
      after = c->bound;
    } else if (c->bound != after) {
      fail_names(c, c->bound ^ after);
    }
    c->words[at] = c->n - at - 2;
    c->words[at + 1] |= c->nslots << 16;
  }
  c->words[head + 1] = c->n - head;
}

static void variable(la_comp_t *c, int idx, const la_pat_t *p) {
  uint32_t slot;
  const bool fresh = bind(c, p, false, &slot);
  const bool plain = p->of == 0 && p->type == LA_TYPE_NONE;
  op(c, !fresh ? LA_OP_SAME : plain ? LA_OP_NAME : LA_OP_CAP, slot);
  if (!fresh && !plain) {
    /* The later place has a condition of its own: both must hold. A value
     * equal to the bound one may still differ in type (1 and 1.0). */
    c->words[c->n - 1] = (uint32_t)LA_OP_BOTH | slot << 8;
  }
  if (p->of != 0) {
    lua_getiuservalue(c->L, idx, 1);
    pattern(c, lua_gettop(c->L));
    lua_pop(c->L, 1);
  } else if (p->type != LA_TYPE_NONE) {
    op(c, LA_OP_IS, p->type);
  }
}

static void guarded(la_comp_t *c, int idx) {
  lua_State *L = c->L;
  op(c, LA_OP_WHEN, 0);
  lua_getiuservalue(L, idx, 1);
  pattern(c, lua_gettop(L));
  lua_pop(L, 1);
  const uint32_t at = c->n;
  la_comp_word(c, 0);
  lua_getiuservalue(L, idx, 2);
  size_t len;
  const char *text = lua_tolstring(L, -1, &len);
  la_guard_compile(c, text, len, "pattern");
  lua_pop(L, 1);
  c->words[at] = c->n - at - 1;
}

static void table_object(la_comp_t *c, int idx, uint32_t flags) {
  lua_State *L = c->L;
  lua_getiuservalue(L, idx, 1);
  const int at = lua_gettop(L);
  const int order =
      lua_getiuservalue(L, idx, 2) == LUA_TTABLE ? at + 1 : 0;
  table(c, at, order, flags);
  lua_pop(L, 2);
}

static void object(la_comp_t *c, int idx, const la_pat_t *p) {
  switch ((la_pat_kind_t)p->kind) {
    case LA_PAT_ANY:
      op(c, LA_OP_ANY, 0);
      break;
    case LA_PAT_VAR:
      variable(c, idx, p);
      break;
    case LA_PAT_REST:
      fail_text(c, "'...' must be the last of a sequence");
      break;
    case LA_PAT_IS:
      op(c, p->type == LA_TYPE_NIL ? LA_OP_NIL : LA_OP_IS, p->type);
      break;
    case LA_PAT_TABLE:
      table_object(c, idx, 0);
      break;
    case LA_PAT_EXACT:
      table_object(c, idx, LA_TABLE_EXACT);
      break;
    case LA_PAT_ONEOF:
      lua_getiuservalue(c->L, idx, 1);
      choice(c, lua_gettop(c->L));
      lua_pop(c->L, 1);
      break;
    case LA_PAT_WHEN:
      guarded(c, idx);
      break;
  }
}

/* ---- LPeg --------------------------------------------------------------- */

static bool is_lpeg(lua_State *L, int idx) {
  if (!lua_getmetatable(L, idx)) {
    return false;
  }
  luaL_getmetatable(L, "lpeg-pattern");
  const bool same = lua_rawequal(L, -1, -2) && lua_istable(L, -1);
  lua_pop(L, 2);
  return same;
}

/* LPeg compiles a pattern at its first match, and takes one whose compilation
 * failed for want of memory for compiled at the next: that would be the end of the
 * host. So it compiles here, which it does before it finds the subject wrong.
 * Stack: LPeg's methods, the pattern. */
static void compile_now(lua_State *L) {
  lua_getfield(L, -2, "match");
  lua_pushvalue(L, -2);
  lua_pushboolean(L, 0);
  const int status = lua_pcall(L, 2, 0, 0);
  if (status == LUA_OK) {
    return;
  }
  const char *text = lua_tostring(L, -1);
  if (status == LUA_ERRMEM || text == NULL ||
      strstr(text, "not enough memory") != NULL) {
    lua_error(L);
  }
  lua_pop(L, 1);
}

/* Push 'pattern * -1 * Cc(true)': it matches to the end only, and its last
 * capture is true, so that a pattern without captures adds none. */
static void push_anchored(lua_State *L, int idx) {
  luaL_getmetafield(L, idx, "__index");
  lua_getfield(L, -1, "Cc");
  lua_pushboolean(L, 1);
  lua_call(L, 1, 1); /* table, Cc */
  lua_pushvalue(L, idx);
  lua_pushinteger(L, -1);
  lua_arith(L, LUA_OPMUL); /* table, Cc, p * -1 */
  lua_rotate(L, -2, 1);
  lua_arith(L, LUA_OPMUL); /* table, result */
  compile_now(L);
  lua_remove(L, -2);
}

static void lpeg(la_comp_t *c, int idx) {
  lua_State *L = c->L;
  const uint32_t slot = new_slot(c);
  if (lua_isnil(L, c->extra)) {
    lua_newtable(L);
    lua_replace(L, c->extra);
  }
  push_anchored(L, idx);
  lua_rawseti(L, c->extra, (lua_Integer)++c->nlpeg);
  c->lpeg |= UINT64_C(1) << slot;
  op(c, LA_OP_LPEG, slot);
}

/* ---- any pattern -------------------------------------------------------- */

static int fail_type(la_comp_t *c, int idx) {
  lua_State *L = c->L;
  const char *name = luaL_typename(L, idx);
  if (lua_type(L, idx) == LUA_TTHREAD) {
    name = "coroutine";
  } else if (lua_type(L, idx) == LUA_TLIGHTUSERDATA) {
    name = "light userdata";
  } else if (luaL_getmetafield(L, idx, "__name") == LUA_TSTRING) {
    name = lua_pushfstring(L, "userdata %s", lua_tostring(L, -1));
  }
  lua_pushfstring(L, "%s cannot be matched", name);
  return fail(c);
}

/* A value of Erlang. */
static void foreign(la_comp_t *c, int idx, la_foreign_t kind) {
  lua_State *L = c->L;
  size_t n;
  switch (kind) {
    case LA_FOREIGN_TUPLE:
      op(c, LA_OP_TUPLE, 0);
      table(c, idx, 0, 0);
      break;
    case LA_FOREIGN_BIN: {
      lua_rawgeti(L, idx, 1);
      const char *s = lua_tolstring(L, -1, &n);
      op(c, LA_OP_BIN, 0);
      la_comp_text(c, s, n);
      lua_pop(L, 1);
      break;
    }
    case LA_FOREIGN_ATOM: {
      const char *s = (const char *)la_foreign_bytes(L, idx, &n);
      const size_t head = *(const uint8_t *)s == LA_TAG_SMALL_ATOM ? 2 : 3;
      op(c, LA_OP_ATOM, 0);
      la_comp_text(c, s + head, n - head);
      break;
    }
    case LA_FOREIGN_MAP:
    case LA_FOREIGN_ATOMKEYS:
      table(c, idx, 0, 0);
      break;
    case LA_FOREIGN_CONS:
      fail_text(c, "an improper list cannot be matched");
      break;
    default: {
      const char *s = (const char *)la_foreign_bytes(L, idx, &n);
      op(c, LA_OP_RAW, 0);
      la_comp_text(c, s, n);
      break;
    }
  }
}

static void userdata(la_comp_t *c, int idx) {
  const la_pat_t *p = to_pat(c->L, idx);
  const la_foreign_t kind =
      p == NULL ? la_foreign_kind(c->L, idx) : LA_FOREIGN_NONE;
  if (p != NULL) {
    object(c, idx, p);
  } else if (kind != LA_FOREIGN_NONE) {
    foreign(c, idx, kind);
  } else if (is_lpeg(c->L, idx)) {
    lpeg(c, idx);
  } else {
    fail_type(c, idx);
  }
}

/* The pattern at 'idx' (absolute). */
static void pattern(la_comp_t *c, int idx) {
  lua_State *L = c->L;
  if (++c->depth > DEPTH_MAX) {
    c->path = NULL;
    lua_pushfstring(L, "nested deeper than %d levels", DEPTH_MAX);
    fail(c);
  }
  switch (lua_type(L, idx)) {
    case LUA_TTABLE: {
      const la_foreign_t kind = la_foreign_kind(L, idx);
      if (kind != LA_FOREIGN_NONE) {
        room_for_level(c);
        foreign(c, idx, kind);
      } else {
        table(c, idx, 0, 0);
      }
      break;
    }
    case LUA_TUSERDATA:
      room_for_level(c);
      userdata(c, idx);
      break;
    case LUA_TNIL:
      fail_text(c, "nil cannot be matched (actor.is 'nil' can)");
      break;
    default:
      if (!literal(c, idx)) {
        fail_type(c, idx);
      }
  }
  c->depth--;
}

/* Prepare for compiling; takes two of the BEGIN_SLOTS free stack slots that the
 * caller has seen to. */
static void begin(la_comp_t *c, lua_State *L) {
  c->L = L;
  c->words = c->fixed;
  c->n = 0;
  c->cap = LA_COMP_FIXED;
  lua_pushnil(L);
  lua_pushnil(L);
  c->extra = lua_gettop(L);
  c->spill = c->extra - 1;
  c->nlpeg = 0;
  c->direct = false;
  c->lpeg = 0;
  c->nnames = c->nslots = 0;
  c->bound = 0;
  c->path = NULL;
  c->depth = 0;
}

static void end(la_comp_t *c) {
  lua_settop(c->L, c->spill - 1);
}

void la_pattern_check(lua_State *L, int idx) {
  la_comp_t c;
  idx = lua_absindex(L, idx);
  luaL_checkstack(L, BEGIN_SLOTS, NULL);
  begin(&c, L);
  pattern(&c, idx);
  end(&c);
}

/* ---- what every match must begin with ----------------------------------- */

/* Skip to the node that decides: through bindings, guards, the first element
 * of a sequence. NULL when that is no literal. */
static const uint32_t *leading(const uint32_t *w) {
  bool inside = false;
  for (;;) {
    switch (*w & 0xff) {
      case LA_OP_CAP: case LA_OP_WHEN: case LA_OP_BOTH: case LA_OP_TUPLE:
        w++;
        break;
      case LA_OP_TABLE:
        if (inside || w[1] == 0) {
          return NULL;
        }
        inside = true;
        w += (*w >> 8 & LA_TABLE_REST) != 0 ? 4 : 3;
        break;
      case LA_OP_TEXT: case LA_OP_ID: case LA_OP_BOOL:
        return w;
      default:
        return NULL;
    }
  }
}

static uint32_t leading_tag(const uint32_t *w) {
  la_view_t v;
  switch (*w & 0xff) {
    case LA_OP_TEXT:
      if (w[1] < LA_TERM_BLOB_MIN) {
        return la_tag_of_text((const uint8_t *)(w + 2), w[1]);
      }
      return 0;
    case LA_OP_ID:
      v.kind = LA_K_ID;
      v.id = la_words64(w + 1);
      break;
    default:
      v.kind = LA_K_BOOL;
      v.i = *w >> 8;
  }
  return la_view_tag(&v);
}

/* The tag that all alternatives of a choice have, or 0. */
static uint32_t common_tag(const uint32_t *w) {
  uint32_t tag = 0;
  const uint32_t *alt = w + 2;
  for (uint32_t i = 0; i < *w >> 8; i++) {
    const uint32_t *lead = leading(alt + 2);
    const uint32_t one = lead == NULL ? 0 : leading_tag(lead);
    if (one == 0 || (i > 0 && one != tag)) {
      return 0;
    }
    tag = one;
    alt += 2 + alt[0];
  }
  return tag;
}

/* The tag that all matches have, and the reference that they begin with. */
static void note_demands(la_clause_t *k, const uint32_t *w) {
  if ((*w & 0xff) == LA_OP_CHOICE) {
    k->tag = common_tag(w);
    return;
  }
  const uint32_t *lead = leading(w);
  if (lead == NULL) {
    return;
  }
  k->tag = leading_tag(lead);
  if ((*lead & 0xff) == LA_OP_ID) {
    const la_id_t id = la_words64(lead + 1);
    k->fresh = la_id_kind(id) == LA_ID_REF ? id : LA_NO_ID;
  }
}

/* ---- matchers ----------------------------------------------------------- */

static size_t matcher_size(uint32_t nclauses, uint32_t nboxes,
                           uint32_t nwords) {
  return sizeof(la_matcher_t) + nclauses * sizeof(la_clause_t) +
         nboxes * sizeof(la_id_t) + nwords * sizeof(uint32_t);
}

static void init_matcher(la_matcher_t *m, uint32_t nclauses, uint32_t nboxes,
                         uint32_t nwords, uint32_t nuv) {
  memset(m, 0, sizeof *m);
  m->after_ms = -1;
  m->nclauses = (uint16_t)nclauses;
  m->nboxes = (uint16_t)nboxes;
  m->nuv = (uint16_t)nuv;
  m->nwords = nwords;
}

static la_matcher_t *new_matcher(lua_State *L, uint32_t nclauses,
                                 uint32_t nboxes, uint32_t nwords,
                                 uint32_t nuv) {
  la_matcher_t *m = lua_newuserdatauv(
      L, matcher_size(nclauses, nboxes, nwords), (int)nuv);
  init_matcher(m, nclauses, nboxes, nwords, nuv);
  return m;
}

/* The clause of one compiled pattern, and its mailbox and words behind it. */
static void fill_clause(la_matcher_t *m, const la_comp_t *c, la_id_t box) {
  la_clause_t *k = la_matcher_clause_at(m);
  memset(k, 0, sizeof *k);
  k->lpeg = c->lpeg;
  k->words = c->n;
  k->nslots = (uint16_t)c->nslots;
  note_demands(k, c->words);
  m->fresh = box == LA_NO_ID ? k->fresh : LA_NO_ID;
  la_id_t *boxes = (la_id_t *)(k + 1);
  boxes[0] = box;
  memcpy(boxes + 1, c->words, c->n * sizeof *c->words);
}

/* The matcher of one compiled pattern; the LPeg patterns are in c->extra. */
static la_matcher_t *one_clause(la_comp_t *c, la_id_t box, uint32_t nuv) {
  lua_State *L = c->L;
  la_matcher_t *m = new_matcher(L, 1, 1, c->n, nuv + c->nlpeg);
  fill_clause(m, c, box);
  la_matcher_clause_at(m)->uv_lpeg =
      (uint16_t)(c->nlpeg != 0 ? nuv + 1 : 0);
  for (uint32_t i = 1; i <= c->nlpeg; i++) {
    lua_rawgeti(L, c->extra, i);
    lua_setiuservalue(L, -2, (int)(nuv + i));
  }
  return m;
}

size_t la_matcher_write(lua_State *L, int idx, void *buf, size_t size,
                        bool direct) {
  const int type = lua_type(L, idx);
  if (type == LUA_TFUNCTION ||
      (type == LUA_TUSERDATA && to_pat(L, idx) == NULL)) {
    return 0;
  }
  la_comp_t c;
  begin(&c, L);
  c.direct = direct;
  pattern(&c, idx);
  const size_t need = c.nlpeg == 0 ? matcher_size(1, 1, c.n) : 0;
  if (need != 0 && need <= size) {
    init_matcher(buf, 1, 1, c.n, 0);
    fill_clause(buf, &c, LA_NO_ID);
  }
  end(&c);
  return need;
}

/* A pattern alone. */
static la_matcher_t *plain(lua_State *L, int idx) {
  la_comp_t c;
  luaL_checkstack(L, BEGIN_SLOTS, NULL);
  begin(&c, L);
  pattern(&c, idx);
  la_matcher_t *m = one_clause(&c, LA_NO_ID, 0);
  lua_replace(L, c.spill);
  lua_settop(L, c.spill);
  return m;
}

/* receive(): any message. */
static la_matcher_t *anything(lua_State *L) {
  la_comp_t c;
  luaL_checkstack(L, BEGIN_SLOTS, NULL);
  begin(&c, L);
  op(&c, LA_OP_ANY, 0);
  la_matcher_t *m = one_clause(&c, LA_NO_ID, 0);
  lua_replace(L, c.spill);
  lua_settop(L, c.spill);
  return m;
}

static const char *clause_owner(la_id_t box) {
  return box == LA_NO_ID ? "on" : "mailbox:on";
}

void la_match_push_clause(lua_State *L, la_id_t box, int first, int last) {
  const int n = last - first + 1;
  const char *who = clause_owner(box);
  if (n < 2 || n > 3) {
    luaL_error(L, "%s expects a pattern, an optional guard and a handler",
               who);
  }
  if (lua_type(L, last) != LUA_TFUNCTION) {
    luaL_error(L, "bad argument #%d to '%s' (handler must be a function, "
               "got %s)", last, who, luaL_typename(L, last));
  }
  const int guard = n == 3 ? first + 1 : 0;
  const int type = guard != 0 ? lua_type(L, guard) : LUA_TNIL;
  if (type != LUA_TNIL && type != LUA_TSTRING && type != LUA_TFUNCTION) {
    luaL_error(L, "bad argument #%d to '%s' (guard must be a string or a "
               "function, got %s)", guard, who, luaL_typename(L, guard));
  }
  la_comp_t c;
  luaL_checkstack(L, BEGIN_SLOTS, NULL);
  begin(&c, L);
  if (type == LUA_TSTRING) {
    op(&c, LA_OP_WHEN, 0);
  }
  pattern(&c, first);
  if (type == LUA_TSTRING) {
    const uint32_t at = c.n;
    size_t len;
    const char *text = lua_tolstring(L, guard, &len);
    la_comp_word(&c, 0);
    la_guard_compile(&c, text, len, "guard");
    c.words[at] = c.n - at - 1;
  }
  const bool lua_guard = type == LUA_TFUNCTION;
  la_matcher_t *m = one_clause(&c, box, lua_guard ? 2 : 1);
  la_clause_t *k = la_matcher_clause_at(m);
  k->uv_handler = 1;
  lua_pushvalue(L, last);
  lua_setiuservalue(L, -2, 1);
  if (lua_guard) {
    k->uv_guard = 2;
    lua_pushvalue(L, guard);
    lua_setiuservalue(L, -2, 2);
  }
  luaL_setmetatable(L, LA_CLAUSE_MT);
  lua_replace(L, c.spill);
  lua_settop(L, c.spill);
}

void la_match_push_after(lua_State *L, double ms, int handler) {
  la_matcher_t *m = new_matcher(L, 0, 0, 0, 1);
  m->after_ms = ms;
  m->uv_after = 1;
  lua_pushvalue(L, handler);
  lua_setiuservalue(L, -2, 1);
  luaL_setmetatable(L, LA_CLAUSE_MT);
}

/* A clause or receiver at 'idx', or NULL. */
static const la_matcher_t *to_matcher(lua_State *L, int idx) {
  if (lua_type(L, idx) != LUA_TUSERDATA) {
    return NULL;
  }
  const la_obj_t kind = la_obj_kind(L, idx);
  return kind == LA_OBJ_CLAUSE || kind == LA_OBJ_RECEIVER
             ? lua_touserdata(L, idx)
             : NULL;
}

/* What the joined matcher of several needs. */
typedef struct {
  uint32_t nclauses, nwords, nuv, nboxes;
  la_id_t box[LA_MATCH_MAX_BOXES];
} sum_t;

static uint16_t box_index(lua_State *L, sum_t *s, la_id_t box) {
  for (uint32_t i = 0; i < s->nboxes; i++) {
    if (s->box[i] == box) {
      return (uint16_t)i;
    }
  }
  if (s->nboxes == LA_MATCH_MAX_BOXES) {
    luaL_error(L, "more than %d mailboxes in one receive",
               LA_MATCH_MAX_BOXES);
  }
  s->box[s->nboxes] = box;
  return (uint16_t)s->nboxes++;
}

static void measure(lua_State *L, int first, int last, sum_t *s) {
  bool has_after = false;
  memset(s, 0, sizeof *s);
  for (int i = first; i <= last; i++) {
    const la_matcher_t *m = to_matcher(L, i);
    if (m == NULL) {
      luaL_error(L, "bad argument #%d (clause made by 'on' or 'after' "
                 "expected, got %s)", i, luaL_typename(L, i));
    }
    if (m->uv_after != 0) {
      if (has_after) {
        luaL_error(L, "bad argument #%d (only one 'after' is allowed)", i);
      }
      has_after = true;
    }
    s->nclauses += m->nclauses;
    s->nwords += m->nwords;
    s->nuv += m->nuv;
    for (uint32_t b = 0; b < m->nboxes; b++) {
      box_index(L, s, la_matcher_boxes(m)[b]);
    }
  }
  if (s->nclauses > LA_MATCH_MAX_CLAUSES || s->nuv > UINT16_MAX) {
    luaL_error(L, "more than %d clauses in one receive",
               LA_MATCH_MAX_CLAUSES);
  }
}

static uint16_t moved(uint16_t uv, uint32_t by) {
  return uv == 0 ? 0 : (uint16_t)(uv + by);
}

static la_matcher_t *join(lua_State *L, int first, int last) {
  sum_t s;
  measure(L, first, last, &s);
  la_matcher_t *m = new_matcher(L, s.nclauses, s.nboxes, s.nwords, s.nuv);
  la_clause_t *k = la_matcher_clause_at(m);
  la_id_t *boxes = (la_id_t *)(k + s.nclauses);
  uint32_t *words = (uint32_t *)(boxes + s.nboxes);
  memcpy(boxes, s.box, s.nboxes * sizeof *boxes);
  uint32_t nwords = 0, nuv = 0;
  bool has_own = false;
  for (int i = first; i <= last; i++) {
    const la_matcher_t *from = to_matcher(L, i);
    for (int c = 0; c < from->nclauses; c++, k++) {
      *k = *la_matcher_clause(from, c);
      k->code += nwords;
      k->uv_handler = moved(k->uv_handler, nuv);
      k->uv_guard = moved(k->uv_guard, nuv);
      k->uv_lpeg = moved(k->uv_lpeg, nuv);
      const la_id_t box = la_matcher_boxes(from)[k->box];
      k->box = box_index(L, &s, box);
      if (box == LA_NO_ID) {
        m->fresh = !has_own || m->fresh == k->fresh ? k->fresh : LA_NO_ID;
        has_own = true;
      }
    }
    if (from->uv_after != 0) {
      m->after_ms = from->after_ms;
      m->uv_after = moved(from->uv_after, nuv);
    }
    memcpy(words + nwords, la_matcher_words(from),
           from->nwords * sizeof *words);
    nwords += from->nwords;
    for (uint32_t u = 1; u <= from->nuv; u++) {
      lua_getiuservalue(L, i, (int)u);
      lua_setiuservalue(L, -2, (int)(nuv + u));
    }
    nuv += from->nuv;
  }
  return m;
}

la_matcher_t *la_matcher_make(lua_State *L, int first, int last) {
  if (last < first) {
    return anything(L);
  }
  for (int i = first; i <= last; i++) { /* receivers: what they stand for */
    if (lua_type(L, i) == LUA_TFUNCTION && la_object_unwrap(L, i)) {
      lua_replace(L, i);
    }
  }
  const la_matcher_t *m = to_matcher(L, first);
  if (m == NULL) {
    if (last > first) {
      luaL_error(L, "bad argument #%d (%s expected, got %s)", first + 1,
                 "one pattern, or clauses made by 'on' and 'after'",
                 luaL_typename(L, first + 1));
    }
    return plain(L, first);
  }
  if (first == last) {
    lua_pushvalue(L, first);
    return lua_touserdata(L, -1);
  }
  return join(L, first, last);
}

void la_receiver_make(lua_State *L, int first, int last) {
  la_matcher_make(L, first, last);
  if (la_obj_kind(L, -1) == LA_OBJ_CLAUSE) {
    join(L, first, first);
  }
  luaL_setmetatable(L, LA_RECEIVER_MT);
}

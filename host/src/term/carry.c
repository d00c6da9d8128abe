/* What is not plain data: functions, objects of luactor, objects with
 * __transfer. All of it is for messages of this host only. */
#include <lauxlib.h>
#include <stdio.h>

#include "mem/lazy.h"
#include "term/encoder.h"
#include "term/foreign.h"
#include "term/wire.h"

/* ---- objects ------------------------------------------------------------ */

/* In a metatable, under this address as the key: the name under which the
 * metatable is registered, or for an object that the module luactor holds,
 * "=field". A script can make no such key. */
static const char object_key = 0;

void la_object_open(lua_State *L, const char *name) {
  luaL_newmetatable(L, name);
  lua_pushstring(L, name);
  lua_rawsetp(L, -2, &object_key);
}

void la_object_named(lua_State *L, const char *field) {
  lua_pushfstring(L, "=%s", field);
  lua_rawsetp(L, -2, &object_key);
}

/* Under this address a metatable holds the C function that stands before its
 * userdata. */
static const char wrap_key = 0;

void la_object_wrap(lua_State *L, lua_CFunction f) {
  lua_pushcfunction(L, f);
  lua_rawsetp(L, -2, &wrap_key);
}

lua_CFunction la_object_wrapper(lua_State *L, int idx) {
  lua_rawgetp(L, idx, &wrap_key);
  const lua_CFunction f = lua_tocfunction(L, -1);
  lua_pop(L, 1);
  return f;
}

bool la_object_unwrap(lua_State *L, int idx) {
  const lua_CFunction f = lua_tocfunction(L, idx);
  if (f == NULL || lua_getupvalue(L, idx, 1) == NULL) {
    return false;
  }
  if (lua_type(L, -1) == LUA_TUSERDATA && lua_getmetatable(L, -1)) {
    const lua_CFunction wrapper = la_object_wrapper(L, -1);
    lua_pop(L, 1);
    if (wrapper == f) {
      return true;
    }
  }
  lua_pop(L, 1);
  return false;
}

static bool put_user_values(la_encoder_t *e, lua_State *L, int idx,
                            size_t at) {
  unsigned n = 0;
  while (n < UINT16_MAX &&
         lua_getiuservalue(L, idx, (int)n + 1) != LUA_TNONE) {
    if (!la_enc_value(e, L, -1)) {
      return false;
    }
    lua_pop(L, 1);
    n++;
  }
  lua_pop(L, 1);
  la_put16(e->buf + at + 1, (uint16_t)n);
  return true;
}

/* The bytes of the userdata and its user values make the object again. It is
 * noted before its user values: a handler may refer to the receiver it is
 * part of. */
static bool put_object(la_encoder_t *e, lua_State *L, int idx,
                       const char *name, size_t nlen) {
  const size_t size = lua_rawlen(L, idx);
  const size_t at = e->len;
  uint8_t *p = la_enc_room(e, 8 + nlen + size);
  if (p == NULL || !la_enc_add(e, lua_topointer(L, idx), at, 0)) {
    return false;
  }
  p[0] = LA_TAG_OBJECT;
  la_put16(p + 1, 0);
  p[3] = (uint8_t)nlen;
  la_put32(p + 4, (uint32_t)size);
  memcpy(p + 8, name, nlen);
  memcpy(p + 8 + nlen, lua_touserdata(L, idx), size);
  e->len += 8 + nlen + size;
  return put_user_values(e, L, idx, at);
}

/* ---- __transfer --------------------------------------------------------- */

/* Keep the 'n' values on top alive until the encoding is over, in a table at
 * registry[e]: what is dropped could be collected, and another table at its
 * address would be taken for it. */
static void anchor(la_encoder_t *e, lua_State *L, int n) {
  if (!e->has_anchors) {
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, e);
    e->has_anchors = true;
  }
  lua_rawgetp(L, LUA_REGISTRYINDEX, e);
  for (int i = 1; i <= n; i++) {
    lua_pushvalue(L, -1 - i);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
  }
  lua_pop(L, 1);
}

static bool put_arguments(la_encoder_t *e, lua_State *L, int first, int last) {
  if (!la_encode_list(e, (uint32_t)(last - first + 1))) {
    return false;
  }
  for (int i = first; i <= last; i++) {
    if (!la_enc_value(e, L, i)) {
      return la_enc_step(e, " transfer argument %d", i - first + 1);
    }
  }
  return la_encode_list_end(e);
}

/* The __transfer function is on top, the object at 'idx'. */
static bool put_transfer(la_encoder_t *e, lua_State *L, int idx) {
  if (e->mode != LA_TERM_LOCAL) {
    return la_enc_fail(e, "object with __transfer");
  }
  const int top = lua_gettop(L) - 1;
  lua_pushvalue(L, idx);
  lua_call(L, 1, LUA_MULTRET);
  e->mods_known = false; /* the call may have unloaded a module */
  const int last = lua_gettop(L);
  if (last == top || lua_type(L, top + 1) != LUA_TSTRING ||
      lua_rawlen(L, top + 1) >= LA_TERM_BLOB_MIN) {
    return la_enc_fail(e, "object whose __transfer gave no module name");
  }
  if (!lua_checkstack(L, 10)) {
    return la_enc_fail_plain(e, LA_FAIL_MEMORY);
  }
  size_t len;
  const char *name = lua_tolstring(L, top + 1, &len);
  if (!la_lazy_may_have(L, name, len)) { /* the receiver would load it */
    return la_enc_fail(e, "object of a module outside the sandbox");
  }
  anchor(e, L, last - top);
  const size_t at = e->len;
  if (!la_enc_add(e, lua_topointer(L, idx), at, 0) ||
      !la_enc_byte(e, LA_TAG_TRANSFER) || !la_enc_binary(e, name, len) ||
      !put_arguments(e, L, top + 2, last)) {
    return false;
  }
  if (e->buf[at] == LA_TAG_TRANSFER_S) {
    return la_enc_fail(e, "object that transfers itself");
  }
  lua_settop(L, top);
  return true;
}

/* ---- values of Erlang ------------------------------------------------------ */

static bool put_bytes(la_encoder_t *e, const void *bytes, size_t n) {
  uint8_t *to = la_enc_room(e, n);
  if (to == NULL) {
    return false;
  }
  memcpy(to, bytes, n);
  e->len += n;
  return true;
}

static bool put_head(la_encoder_t *e, uint8_t tag, uint32_t n) {
  uint8_t bytes[5] = {tag};
  la_put32(bytes + 1, n);
  return put_bytes(e, bytes, 5);
}

static bool put_foreign(la_encoder_t *e, lua_State *L, int idx,
                        la_foreign_t kind) {
  size_t n;
  const uint8_t *bytes = la_foreign_bytes(L, idx, &n);
  if (kind == LA_FOREIGN_OPAQUE && e->mode == LA_TERM_PACKED) {
    return la_enc_fail(e, "opaque term");
  }
  return put_bytes(e, bytes, n);
}

/* The value on top, which is popped, as element 'i'. */
static bool put_element(la_encoder_t *e, lua_State *L, lua_Integer i) {
  const bool ok = la_enc_value(e, L, -1);
  lua_pop(L, 1);
  return ok || la_enc_step(e, "[%lld]", (long long)i);
}

static bool put_tuple(la_encoder_t *e, lua_State *L, int idx) {
  const lua_Integer n = la_foreign_size(L, idx);
  if (n > INT32_MAX) {
    return la_enc_fail_plain(e, LA_FAIL_SIZE);
  }
  const uint8_t small[2] = {LA_TAG_TUPLE, (uint8_t)n};
  bool ok = n <= 255 ? put_bytes(e, small, 2)
                     : put_head(e, LA_TAG_BIG_TUPLE, (uint32_t)n);
  for (lua_Integer i = 1; i <= n && ok; i++) {
    lua_rawgeti(L, idx, i);
    ok = put_element(e, L, i);
  }
  return ok;
}

static bool put_cons(la_encoder_t *e, lua_State *L, int idx) {
  const lua_Integer n = (lua_Integer)lua_rawlen(L, idx);
  bool ok = put_head(e, e->mode == LA_TERM_PACKED ? LA_TAG_LIST : LA_TAG_CONS,
                     (uint32_t)n);
  for (lua_Integer i = 1; i <= n && ok; i++) {
    lua_rawgeti(L, idx, i);
    ok = put_element(e, L, i);
  }
  if (ok) {
    lua_pushliteral(L, "tail");
    lua_rawget(L, idx);
    ok = la_enc_value(e, L, -1) || la_enc_step(e, ".tail");
    lua_pop(L, 1);
  }
  return ok;
}

static bool put_key(la_encoder_t *e, lua_State *L, bool as_atom) {
  size_t n;
  const char *s = as_atom && lua_type(L, -1) == LUA_TSTRING
                      ? lua_tolstring(L, -1, &n)
                      : NULL;
  if (s == NULL) {
    return la_enc_value(e, L, -1);
  }
  if (!la_wire_atom_ok((const uint8_t *)s, n)) {
    return la_enc_fail(e, "key that is no atom");
  }
  const uint8_t small[2] = {LA_TAG_SMALL_ATOM, (uint8_t)n};
  uint8_t large[3] = {LA_TAG_ATOM};
  la_put16(large + 1, (uint16_t)n);
  return (n <= 255 ? put_bytes(e, small, 2) : put_bytes(e, large, 3)) &&
         put_bytes(e, s, n);
}

static bool put_map(la_encoder_t *e, lua_State *L, int idx, bool atomkeys) {
  uint32_t n = 0;
  for (lua_pushnil(L); lua_next(L, idx) != 0; lua_pop(L, 1)) {
    n++;
  }
  const uint8_t mark[2] = {LA_TAG_MARKED_MAP,
                           atomkeys ? LA_MAP_ATOMKEYS : LA_MAP_MARKED};
  if ((e->mode != LA_TERM_PACKED && !put_bytes(e, mark, 2)) ||
      !put_head(e, LA_TAG_MAP, n)) {
    return false;
  }
  for (lua_pushnil(L); lua_next(L, idx) != 0; lua_pop(L, 1)) {
    lua_pushvalue(L, -2);
    const bool ok = put_key(e, L, atomkeys);
    lua_pop(L, 1);
    if (!ok || !la_enc_value(e, L, -1)) {
      return la_enc_step(e, "%s", lua_type(L, -2) == LUA_TSTRING
                                      ? lua_pushfstring(L, ".%s",
                                                        lua_tostring(L, -2))
                                      : "[...]");
    }
  }
  return true;
}

/* The caller has counted the table as a level. */
static bool put_foreign_table(la_encoder_t *e, lua_State *L, int idx,
                              la_foreign_t kind) {
  switch (kind) {
    case LA_FOREIGN_TUPLE:
      return put_tuple(e, L, idx);
    case LA_FOREIGN_CONS:
      return put_cons(e, L, idx);
    case LA_FOREIGN_BIN: {
      lua_rawgeti(L, idx, 1);
      const bool ok = la_enc_value(e, L, -1);
      lua_pop(L, 1);
      return ok;
    }
    default:
      return put_map(e, L, idx, kind == LA_FOREIGN_ATOMKEYS);
  }
}

/* ---- userdata, tables with metatables ------------------------------------ */

static bool fail_userdata(la_encoder_t *e, lua_State *L, int idx) {
  char kind[sizeof e->kind] = "userdata";
  if (luaL_getmetafield(L, idx, "__name") == LUA_TSTRING) {
    snprintf(kind, sizeof kind, "userdata %s", lua_tostring(L, -1));
  }
  return la_enc_fail(e, kind);
}

static bool put_userdata(la_encoder_t *e, lua_State *L, int idx) {
  if (luaL_getmetafield(L, idx, "__transfer") != LUA_TNIL) {
    return put_transfer(e, L, idx);
  }
  if (e->mode != LA_TERM_LOCAL || !lua_getmetatable(L, idx)) {
    return fail_userdata(e, L, idx);
  }
  if (lua_rawgetp(L, -1, &object_key) != LUA_TSTRING) {
    lua_pop(L, 2);
    return fail_userdata(e, L, idx);
  }
  size_t len;
  const char *name = lua_tolstring(L, -1, &len); /* anchored by the metatable */
  lua_pop(L, 2);
  return *name == '='
             ? la_enc_named_field(e, "luactor", 7, name + 1, len - 1)
             : put_object(e, L, idx, name, len);
}

bool la_enc_userdata(la_encoder_t *e, lua_State *L, int idx) {
  const la_foreign_t foreign = la_foreign_kind(L, idx);
  if (foreign != LA_FOREIGN_NONE) {
    return put_foreign(e, L, idx, foreign);
  }
  const la_seen_t *seen = la_enc_find(e, lua_topointer(L, idx));
  if (seen != NULL) {
    return la_enc_ref(e, seen);
  }
  if (!la_enc_enter(e, L)) {
    return false;
  }
  const bool ok = put_userdata(e, L, lua_absindex(L, idx));
  e->depth--;
  return ok;
}

bool la_enc_special(la_encoder_t *e, lua_State *L, int idx, bool *done) {
  *done = true;
  const la_foreign_t foreign = la_foreign_kind(L, idx);
  if (foreign != LA_FOREIGN_NONE) {
    return put_foreign_table(e, L, lua_absindex(L, idx), foreign);
  }
  if (luaL_getmetafield(L, idx, "__transfer") != LUA_TNIL) {
    return put_transfer(e, L, idx);
  }
  lua_getmetatable(L, idx);
  *done = e->mode == LA_TERM_LOCAL &&
          lua_rawgetp(L, -1, &object_key) == LUA_TSTRING;
  bool ok = true;
  if (*done) {
    const char *field = lua_tostring(L, -1) + 1; /* behind the '=' */
    ok = la_enc_named_field(e, "luactor", 7, field, strlen(field));
  }
  lua_pop(L, e->mode == LA_TERM_LOCAL ? 2 : 1);
  return ok;
}

/* ---- functions ---------------------------------------------------------- */

static int write_code(lua_State *L, const void *p, size_t size, void *ud) {
  la_encoder_t *e = ud;
  (void)L;
  uint8_t *to = la_enc_room(e, size);
  if (to == NULL) {
    return 1;
  }
  memcpy(to, p, size);
  e->len += size;
  return 0;
}

/* The upvalue's value is on top. A table may be a module or the globals even
 * when no function in it would give it away. */
static bool put_upvalue_value(la_encoder_t *e, lua_State *L) {
  if (lua_type(L, -1) == LUA_TTABLE) {
    bool done;
    if (!la_enc_module(e, L, -1, &done)) {
      return false;
    }
    if (done) {
      return true;
    }
  }
  return la_enc_value(e, L, -1);
}

static bool put_upvalue(la_encoder_t *e, lua_State *L, int idx, int i,
                        size_t at, bool *end) {
  const char *name = lua_getupvalue(L, idx, i);
  *end = name == NULL;
  if (*end) {
    return true;
  }
  void *id = lua_upvalueid(L, idx, i);
  const la_seen_t *seen = la_enc_find(e, id);
  if (seen != NULL) {
    lua_pop(L, 1);
    return la_enc_ref(e, seen);
  }
  if (!la_enc_add(e, id, at, (uint32_t)i)) {
    return false;
  }
  if (!put_upvalue_value(e, L)) {
    return *name == '(' || *name == '\0'
               ? la_enc_step(e, " upvalue %d", i)
               : la_enc_step(e, " upvalue '%s'", name);
  }
  lua_pop(L, 1);
  return true;
}

/* Its address is the key, in the registry, of a table from functions that were
 * sent to their la_code_t. The functions are weak keys. */
static const char codes_key = 0;

/* How often a function must have been sent for its code to be kept. */
#define OFTEN 4

static const la_code_t *known_code(lua_State *L, int idx) {
  const la_code_t *code = NULL;
  const int top = lua_gettop(L);
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &codes_key) == LUA_TTABLE) {
    lua_pushvalue(L, idx);
    lua_rawget(L, -2);
    code = lua_touserdata(L, -1);
  }
  lua_settop(L, top);
  return code;
}

static void note_code(lua_State *L, int idx, la_code_t *code) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &codes_key) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_createtable(L, 0, 1);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &codes_key);
  }
  lua_pushvalue(L, idx);
  lua_pushlightuserdata(L, code);
  lua_rawset(L, -3);
  lua_pop(L, 1);
}

static bool put_code_ref(la_encoder_t *e, const la_code_t *code, size_t at) {
  uint8_t *p = la_enc_room(e, sizeof code);
  if (p == NULL) {
    return false;
  }
  la_put32(e->buf + at + 2, 0);
  memcpy(p, &code, sizeof code);
  e->len += sizeof code;
  return true;
}

/* The bytecode, or the address where the host keeps it, behind the head of a FUNC
 * at 'at'. A function whose code is noted need not be dumped again. */
static bool put_code(la_encoder_t *e, lua_State *L, int idx, size_t at,
                     const la_code_t *known) {
  if (known != NULL) {
    return put_code_ref(e, known, at);
  }
  lua_pushvalue(L, idx);
  if (lua_dump(L, write_code, e, 0) != 0) {
    return false;
  }
  lua_pop(L, 1);
  const size_t start = at + 6;
  la_put32(e->buf + at + 2, (uint32_t)(e->len - start));
  /* The host's room for code is not a stranger's to fill. */
  la_code_t *code =
      e->scratch->codes != NULL && !la_lazy_is_shut(L)
          ? la_codes_get(e->scratch->codes, e->buf + start, e->len - start,
                         OFTEN)
          : NULL;
  if (code == NULL) {
    return true;
  }
  e->len = start;
  note_code(L, idx, code);
  return put_code_ref(e, code, at);
}

static bool put_by_value(la_encoder_t *e, lua_State *L, int idx,
                         const la_code_t *known) {
  const size_t at = e->len;
  uint8_t *p = la_enc_room(e, 6);
  if (p == NULL || !la_enc_add(e, lua_topointer(L, idx), at, 0)) {
    return false;
  }
  p[0] = LA_TAG_FUNC;
  e->len += 6;
  if (!put_code(e, L, idx, at, known)) {
    return false;
  }
  int n = 0;
  bool end = false;
  while (n < UINT8_MAX) {
    if (!put_upvalue(e, L, idx, n + 1, at, &end)) {
      return false;
    }
    if (end) {
      break;
    }
    n++;
  }
  e->buf[at + 1] = (uint8_t)n;
  return true;
}

static bool put_function(la_encoder_t *e, lua_State *L, int idx) {
  bool done;
  const bool is_c = lua_iscfunction(L, idx);
  if (is_c && la_object_unwrap(L, idx)) {
    const bool ok = la_enc_userdata(e, L, -1);
    if (ok) {
      lua_pop(L, 1);
    }
    return ok;
  }
  const la_code_t *known = is_c ? NULL : known_code(L, idx);
  if (known == NULL) { /* else: once sent by value */
    if (!la_enc_field(e, L, idx, false, &done) || done) {
      return done && e->fail == LA_FAIL_NONE;
    }
    if (!la_enc_module(e, L, idx, &done) || done) {
      return done && e->fail == LA_FAIL_NONE;
    }
  }
  if (is_c) {
    return la_enc_fail(e, "C function");
  }
  const size_t at = e->len;
  const uint32_t nseen = e->nseen;
  const int top = lua_gettop(L);
  if (put_by_value(e, L, idx, known)) {
    return true;
  }
  if (e->fail != LA_FAIL_KIND) {
    return false;
  }
  /* By value it cannot go; was it added to a module lately? */
  const uint32_t path_at = e->path_at;
  const size_t len = e->len;
  e->len = at;
  e->fail = LA_FAIL_NONE;
  lua_settop(L, top);
  if (!la_enc_field(e, L, idx, true, &done)) {
    return false;
  }
  if (done) {
    la_enc_forget(e, nseen);
    return true;
  }
  e->len = len;
  e->fail = LA_FAIL_KIND;
  e->path_at = path_at;
  return false;
}

bool la_enc_function(la_encoder_t *e, lua_State *L, int idx) {
  if (e->mode != LA_TERM_LOCAL) {
    return la_enc_fail(e, lua_iscfunction(L, idx) ? "C function" : "function");
  }
  e->has_code = true;
  const la_seen_t *seen = la_enc_find(e, lua_topointer(L, idx));
  if (seen != NULL) {
    return la_enc_ref(e, seen);
  }
  if (!la_enc_enter(e, L)) {
    return false;
  }
  const bool ok = put_function(e, L, lua_absindex(L, idx));
  e->depth--;
  return ok;
}

/* Identities as Lua values (light userdata) and as text.
 *
 * A pid is written <0.N>; the other kinds carry their name: #ref<0.N>. N is
 * the whole body of the identity, slot and serial in one number, so text and
 * identity lead to one another and a reused slot has another text. */
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "term/term.h"

_Static_assert(sizeof(void *) == sizeof(la_id_t),
               "an identity is held in a light userdata");

void la_push_id(lua_State *L, la_id_t id) {
  lua_pushlightuserdata(L, (void *)(uintptr_t)id);
}

la_id_t la_to_id(lua_State *L, int idx) {
  if (lua_type(L, idx) != LUA_TLIGHTUSERDATA) {
    return LA_NO_ID;
  }
  const la_id_t id = (la_id_t)(uintptr_t)lua_touserdata(L, idx);
  return la_id_kind(id) == LA_ID_NONE ? LA_NO_ID : id;
}

static const char *kind_name(la_id_kind_t kind) {
  switch (kind) {
#define X(sym, num, text) \
  case LA_ID_##sym:       \
    return text;
    LA_ID_KINDS(X)
#undef X
    default:
      return "id";
  }
}

size_t la_id_print(la_id_t id, char *buf) {
  const unsigned long long n = (unsigned long long)la_id_body(id);
  const la_id_kind_t kind = la_id_kind(id);
  if (kind == LA_ID_PID) {
    return (size_t)snprintf(buf, 48, "<0.%llu>", n);
  }
  return (size_t)snprintf(buf, 48, "#%s<0.%llu>", kind_name(kind), n);
}

/* The kind that a text begins with; *at moves behind it. */
static la_id_kind_t parse_kind(const char **at, const char *end) {
  const char *s = *at;
  if (s == end || *s != '#') {
    return LA_ID_PID;
  }
  s++;
#define X(sym, num, text)                                      \
  if ((size_t)(end - s) > sizeof text - 1 &&                   \
      memcmp(s, text, sizeof text - 1) == 0 &&                 \
      s[sizeof text - 1] == '<') {                             \
    *at = s + sizeof text - 1;                                 \
    return LA_ID_##sym == LA_ID_PID ? LA_ID_NONE : LA_ID_##sym; \
  }
  LA_ID_KINDS(X)
#undef X
  return LA_ID_NONE;
}

la_id_t la_id_parse(const char *text, size_t len) {
  const char *s = text;
  const char *end = text + len;
  const la_id_kind_t kind = parse_kind(&s, end);
  if (kind == LA_ID_NONE || end - s < 5 || memcmp(s, "<0.", 3) != 0 ||
      end[-1] != '>') {
    return LA_NO_ID;
  }
  s += 3;
  end--;
  if (*s == '0' && end - s > 1) {
    return LA_NO_ID; /* one text per identity: no leading zeros */
  }
  uint64_t n = 0;
  for (; s < end; s++) {
    if (*s < '0' || *s > '9' || n > LA_ID_BODY_MASK / 10) {
      return LA_NO_ID;
    }
    n = n * 10 + (uint64_t)(*s - '0');
  }
  return n > LA_ID_BODY_MASK ? LA_NO_ID : la_id_counted(kind, n);
}

/* tostring of any light userdata; foreign ones look as in stock Lua. */
static int ident_tostring(lua_State *L) {
  const la_id_t id = la_to_id(L, 1);
  if (id == LA_NO_ID) {
    lua_pushfstring(L, "%s: %p", luaL_typename(L, 1), lua_topointer(L, 1));
    return 1;
  }
  char buf[48];
  lua_pushlstring(L, buf, la_id_print(id, buf));
  return 1;
}

void la_ident_open(lua_State *L) {
  la_push_id(L, LA_NO_ID);
  lua_createtable(L, 0, 2);
  lua_pushcfunction(L, ident_tostring);
  lua_setfield(L, -2, "__tostring");
  lua_setmetatable(L, -2);
  lua_pop(L, 1);
}

/* Limits and rights of groups as options of a spawn. */
#include <math.h>
#include <string.h>

#include "lib/lib_core.h"
#include "proc/group.h"

/* ---- limits ------------------------------------------------------------------ */

static int limit_of(const char *key) {
  for (int i = 0; i < LA_NLIMITS; i++) {
    if (strcmp(key, la_limit_names[i]) == 0) {
      return i;
    }
  }
  return -1;
}

/* The value of 'key' is on top. */
static void one_limit(lua_State *L, const char *key, la_group_opts_t *o) {
  const int i = limit_of(key);
  if (i >= 0) {
    int ok;
    const lua_Integer n = lua_tointegerx(L, -1, &ok);
    if (!ok || n <= 0) {
      luaL_error(L, "bad option 'limits.%s' (positive integer expected, got %s)",
                 key, luaL_tolstring(L, -1, NULL));
    }
    o->most[i] = (uint64_t)n;
  } else if (strcmp(key, "cpu") == 0) {
    int ok;
    const lua_Number n = lua_tonumberx(L, -1, &ok);
    if (!ok || !(n >= 0.001) || isinf(n)) {
      luaL_error(L,
                 "bad option 'limits.cpu' (share of a scheduler, 0.001 or "
                 "more, expected, got %s)",
                 luaL_tolstring(L, -1, NULL));
    }
    o->cpu = n;
  } else {
    luaL_error(L, "unknown option 'limits.%s'", key);
  }
}

void la_check_limits(lua_State *L, la_group_opts_t *o) {
  if (!lua_istable(L, -1)) {
    luaL_error(L, "bad option 'limits' (table expected, got %s)",
               luaL_typename(L, -1));
  }
  for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING) {
      luaL_error(L, "unknown option 'limits.%s'", luaL_tolstring(L, -2, NULL));
    }
    one_limit(L, lua_tostring(L, -2), o);
  }
}

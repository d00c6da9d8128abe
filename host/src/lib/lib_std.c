/* Opens the standard library: stock first, then the replacements over it. */
#include "lib/lib_std.h"

#include "lib/lib_base.h"
#include "lib/lib_co.h"
#include "lib/lib_string.h"
#include "lib/lib_table.h"
#include "sched/budget.h"

#include <lauxlib.h>
#include <lualib.h>

static bool no_finalizers(la_exec_t *x, lua_State *from) {
  (void)x;
  (void)from;
  return false;
}

static const la_exec_lib_t exec_lib = {
    .inner = la_co_inner,
    .finalize = no_finalizers,
};

void la_std_open(lua_State *L) {
  luaL_openlibs(L);
  la_co_open(L);
  la_base_open(L);
  la_tablelib_open(L);
  la_string_open(L);
  la_exec_of(L)->lib = &exec_lib;
}

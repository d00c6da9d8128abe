/* Opens the standard library: stock first, then the replacements over it. */
#include "lib/lib_std.h"

#include "lib/lib_base.h"
#include "lib/lib_co.h"
#include "lib/lib_debughook.h"
#include "lib/lib_gc.h"
#include "lib/lib_io.h"
#include "lib/lib_load.h"
#include "lib/lib_string.h"
#include "lib/lib_table.h"

#include <lualib.h>

static const la_exec_lib_t exec_lib = {
    .inner = la_co_inner,
    .finalize = la_gc_finalize,
    .script_event = la_debughook_event,
};

void la_std_open(lua_State *L) {
  luaL_openlibs(L);
  la_co_open(L);
  la_base_open(L);
  la_tablelib_open(L);
  la_string_open(L);
  la_load_open(L);
  la_gc_open(L);
  la_debughook_open(L);
  la_iolib_open(L);
  la_exec_of(L)->lib = &exec_lib;
}

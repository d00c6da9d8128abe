/* The replaced standard library and preemption, in states without a scheduler:
 * nothing keeps the thread, an end is an end, memory may run out anywhere.
 * What scripts see is compared with stock Lua by conformance.sh. */
#include "lib/lib_gc.h"
#include "lib/lib_load.h"
#include "lib/lib_std.h"
#include "sched/budget.h"

#include <lauxlib.h>
#include <lualib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <cmocka.h>

typedef struct {
  la_exec_t x; /* first: la_exec_of finds this */
  size_t bytes;
  long countdown; /* allocations until one fails; negative: none does */
  bool failing;   /* all fail from then on */
  bool stop_when_asked;
  char log[512];
} guest_t;

static la_std_t *std;

static void *guest_alloc(void *ud, void *ptr, size_t osize, size_t nsize) {
  guest_t *g = ud;
  size_t had = ptr != NULL ? osize : 0;
  if (nsize > had && g->countdown >= 0 && g->countdown-- == 0) {
    g->countdown = g->failing ? 0 : -1;
    return NULL;
  }
  void *to = NULL;
  if (nsize == 0) {
    free(ptr);
  } else if ((to = realloc(ptr, nsize)) == NULL) {
    return NULL;
  }
  g->bytes = g->bytes - had + nsize;
  return to;
}

static guest_t *guest_of(lua_State *L) {
  return (guest_t *)la_exec_of(L);
}

/* note(text): append to the log. */
static int l_note(lua_State *L) {
  guest_t *g = guest_of(L);
  size_t n = strlen(g->log);
  snprintf(g->log + n, sizeof g->log - n, "%s ", luaL_checkstring(L, 1));
  return 0;
}

/* arm(): what the tick's signal handler does. */
static int l_arm(lua_State *L) {
  la_exec_arm(la_exec_of(L));
  return 0;
}

/* wait(): a wait that nothing ends. */
static int wait_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  if (!la_can_yield(L)) {
    return luaL_error(L, "cannot wait here");
  }
  la_exec_of(L)->sysyield = true;
  return lua_yieldk(L, 0, 0, wait_k);
}

static int l_wait(lua_State *L) {
  return wait_k(L, LUA_OK, 0);
}

/* foreign(f): a C function that calls back and cannot be left. */
static int l_foreign(lua_State *L) {
  lua_settop(L, 1);
  lua_call(L, 0, 0);
  return 0;
}

static void poll_guest(la_exec_t *x) {
  guest_t *g = (guest_t *)x;
  if (g->stop_when_asked) {
    x->stop = 1;
  }
}

static int open_guest(lua_State *L) {
  la_std_open(L, std);
  lua_register(L, "note", l_note);
  lua_register(L, "arm", l_arm);
  lua_register(L, "wait", l_wait);
  lua_register(L, "foreign", l_foreign);
  return 0;
}

/* A state with the library open; NULL when memory did not suffice. */
static lua_State *guest_new(guest_t *g, la_preempt_t mode, int period,
                            long countdown) {
  memset(g, 0, sizeof *g);
  g->countdown = -1;
  lua_State *L = lua_newstate(guest_alloc, g);
  assert_non_null(L);
  la_exec_init(&g->x, L, mode, period);
  g->x.poll = poll_guest;
  g->countdown = countdown;
  lua_pushcfunction(L, open_guest);
  if (lua_pcall(L, 0, 0, 0) != LUA_OK) {
    g->countdown = -1;
    lua_close(L);
    return NULL;
  }
  return L;
}

static void guest_load(lua_State *L, const char *code) {
  if (luaL_loadbufferx(L, code, strlen(code), "=guest", "t") != LUA_OK) {
    fail_msg("%s", lua_tostring(L, -1));
  }
}

/* End as a process ends. */
static void guest_end(guest_t *g, lua_State *L) {
  la_exec_close(&g->x);
  if (g->x.has_finalizers) {
    la_gc_finish(L);
  }
  lua_close(L);
  assert_int_equal(g->bytes, 0);
}

/* Run up to 'slices' slices; the last status. */
static int guest_run(guest_t *g, int slices) {
  int status = LUA_YIELD;
  for (int i = 0; i < slices && status == LUA_YIELD; i++) {
    int nres;
    status = la_exec_resume(&g->x, 0, &nres);
  }
  return status;
}

/* ---- nothing keeps the thread ------------------------------------------ */

#define FOREVER "while true do end"
#define OBJECT(event, args) \
  "setmetatable({}, {" event " = function(" args ") " FOREVER " end})"

/* Each would run for ever, or close to it, in a place where a stock function
 * cannot be interrupted. */
static const char *const hogs[] = {
    FOREVER,
    "while true do pcall(error) end",
    "while true do pcall(function() " FOREVER " end) end",
    "xpcall(function() " FOREVER " end, print)",
    "local function f() return f() end f()",
    "coroutine.wrap(function() " FOREVER " end)()",
    "coroutine.wrap(function() coroutine.wrap(function() " FOREVER
    " end)() end)()",
    "while true do coroutine.wrap(function() end)() end",
    "while true do coroutine.create(print) end",
    "local co = coroutine.wrap(function() while true do coroutine.yield() end "
    "end) while true do co() end",
    "table.sort({3, 2, 1}, function() " FOREVER " end)",
    "local m = {__lt = function() " FOREVER " end} table.sort({"
    "setmetatable({}, m), setmetatable({}, m)})",
    "table.sort(" OBJECT("__len", "") ")",
    "table.sort(setmetatable({}, {__len = function() return 1 << 30 end, "
    "__index = function(_, i) return -i end}))",
    "table.insert(" OBJECT("__len", "") ", 1)",
    "table.insert(" OBJECT("__newindex", "") ", 1)",
    "table.insert(setmetatable({}, {__len = function() return 1 << 60 end}), "
    "1, 1)",
    "table.remove(" OBJECT("__index", "") ", 0)",
    "table.concat(" OBJECT("__index", "") ", '', 1, 2)",
    "table.concat(setmetatable({}, {__index = function() return '' end}), '', "
    "1, 1 << 60)",
    "table.unpack(" OBJECT("__index", "") ", 1, 3)",
    "table.move(" OBJECT("__index", "") ", 1, 3, 2)",
    "table.move({}, 1, 1 << 60, 2)",
    "table.move({}, 1, 1 << 60, 2, setmetatable({}, {}))",
    "for _ in ipairs(" OBJECT("__index", "") ") do end",
    "for _ in pairs(" OBJECT("__pairs", "") ") do end",
    "string.gsub('abc', '.', function() " FOREVER " end)",
    "string.gsub('abc', '.', " OBJECT("__index", "") ")",
    "string.find(('a'):rep(30000), '.-.-.-b')",
    "string.match(('a'):rep(30000), '.*.*.*b')",
    "string.gsub(('a'):rep(30000), '.-.-.-b', '')",
    "for _ in string.gmatch(('a'):rep(30000), 'a*a*a*b') do end",
    "string.find(('a'):rep(100), ('a-'):rep(90) .. 'b')",
    "string.format('%s', " OBJECT("__tostring", "") ")",
    "tostring(" OBJECT("__tostring", "") ")",
    "print(" OBJECT("__tostring", "") ")",
    "local _ = 'x' + " OBJECT("__add", ""),
    "local _ = -" OBJECT("__unm", ""),
    "local _ = '1' // " OBJECT("__idiv", ""),
    "load(function() " FOREVER " end)",
    "load(function() return ' ' end)",
    "load(function() return '--\\n' end)",
    "package.preload.x = function() " FOREVER " end require 'x'",
    "table.insert(package.searchers, 1, function() " FOREVER
    " end) require 'x'",
    "os.time(" OBJECT("__index", "") ")",
    OBJECT("__gc", "") " collectgarbage() note 'never'",
    OBJECT("__gc", "") " while true do local _ = {} end",
    OBJECT("__gc", "") " collectgarbage 'step'" FOREVER,
    "debug.setmetatable({}, {__gc = function() " FOREVER
    " end}) collectgarbage()",
    "local x <close> = " OBJECT("__close", ""),
    "debug.sethook(function() end, 'crl') " FOREVER,
    "debug.sethook(function() end, '', 1) " FOREVER,
    "debug.sethook(function() end, '', 1 << 30) " FOREVER,
    "debug.sethook(function() end, 'l', 7) coroutine.wrap(function() " FOREVER
    " end)()",
    "for _ in coroutine.wrap(function() " FOREVER " end) do end",
    "dofile = load 'while true do end' dofile()",
};

static void test_hogs_in_count_mode(void **unused) {
  (void)unused;
  static const int periods[] = {1, 100, 2000};
  for (size_t i = 0; i < sizeof hogs / sizeof *hogs; i++) {
    for (size_t j = 0; j < sizeof periods / sizeof *periods; j++) {
      guest_t g;
      lua_State *L = guest_new(&g, LA_PREEMPT_COUNT, periods[j], -1);
      guest_load(L, hogs[i]);
      for (int slice = 0; slice < 50; slice++) {
        uint64_t before = g.x.reductions;
        if (guest_run(&g, 1) != LUA_YIELD) {
          fail_msg("%s: %s", hogs[i], lua_tostring(L, -1));
        }
        uint64_t used = g.x.reductions - before;
        /* A place that cannot be left for a moment, hooks of the script, one
         * step of C work. */
        if (used > 4 * (uint64_t)periods[j] + 25000) {
          fail_msg("%s: a slice of %lu", hogs[i], (unsigned long)used);
        }
      }
      assert_string_equal(g.log, "");
      guest_end(&g, L);
    }
  }
}

static guest_t *ticking; /* for the signal handler of this test only */

static void on_tick(int sig) {
  (void)sig;
  la_exec_arm(&ticking->x);
}

static void set_timer(long usec) {
  struct sigaction action = {.sa_handler = on_tick, .sa_flags = SA_RESTART};
  sigaction(SIGALRM, &action, NULL);
  struct itimerval every = {{0, usec}, {0, usec}};
  setitimer(ITIMER_REAL, &every, NULL);
}

static void test_hogs_in_tick_mode(void **unused) {
  (void)unused;
  for (size_t i = 0; i < sizeof hogs / sizeof *hogs; i++) {
    guest_t g;
    lua_State *L = guest_new(&g, LA_PREEMPT_TICK, 0, -1);
    guest_load(L, hogs[i]);
    ticking = &g;
    set_timer(300);
    int status = guest_run(&g, 20);
    set_timer(0);
    if (status != LUA_YIELD) {
      fail_msg("%s: %s", hogs[i], lua_tostring(L, -1));
    }
    guest_end(&g, L);
  }
}

/* ---- slices ------------------------------------------------------------ */

static void test_count_mode_is_exact(void **unused) {
  (void)unused;
  int slices[2];
  for (int i = 0; i < 2; i++) {
    guest_t g;
    lua_State *L = guest_new(&g, LA_PREEMPT_COUNT, 100, -1);
    guest_load(L, "for i = 1, 9990 do end");
    slices[i] = 0;
    while (guest_run(&g, 1) == LUA_YIELD) {
      slices[i]++;
    }
    guest_end(&g, L);
  }
  assert_int_equal(slices[0], 99);
  assert_int_equal(slices[1], slices[0]);
}

static void test_short_coroutines_use_up_the_slice(void **unused) {
  (void)unused;
  guest_t g;
  lua_State *L = guest_new(&g, LA_PREEMPT_COUNT, 1000, -1);
  guest_load(L, "n = 0 while true do coroutine.wrap(function() n = n + 1 end)() "
                "end");
  assert_int_equal(guest_run(&g, 100), LUA_YIELD);
  lua_getglobal(L, "n");
  assert_in_range(lua_tointeger(L, -1), 100, 1000);
  lua_pop(L, 1);
  guest_end(&g, L);
}

static void test_tick_arms_once(void **unused) {
  (void)unused;
  guest_t g;
  lua_State *L = guest_new(&g, LA_PREEMPT_TICK, 0, -1);
  guest_load(L, "arm() note 'a' coroutine.wrap(function() arm() note 'b' "
                "coroutine.yield() end)() note 'c' for i = 1, 1000 do end");
  assert_int_equal(guest_run(&g, 1), LUA_YIELD);
  assert_string_equal(g.log, "");
  assert_int_equal(guest_run(&g, 1), LUA_YIELD);
  assert_string_equal(g.log, "a ");
  assert_int_equal(guest_run(&g, 1), LUA_OK);
  assert_string_equal(g.log, "a b c ");
  assert_int_equal(lua_gethookmask(L), 0);
  guest_end(&g, L);
}

static void test_wait_inside_everything(void **unused) {
  (void)unused;
  static const char *const places[] = {
      "wait()",
      "pcall(wait)",
      "coroutine.wrap(function() coroutine.wrap(wait)() end)()",
      "table.sort({1, 2, 3}, wait)",
      "string.gsub('a', '.', wait)",
      "load(wait)",
      "tostring(setmetatable({}, {__tostring = wait}))",
      "package.preload.x = wait require 'x'",
      "setmetatable({}, {__gc = wait}) collectgarbage()",
      "for _ in ipairs(setmetatable({}, {__index = wait})) do end",
      "table.concat(setmetatable({}, {__len = wait}))",
  };
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    guest_t g;
    lua_State *L = guest_new(&g, LA_PREEMPT_COUNT, 1000000, -1);
    guest_load(L, places[i]);
    if (guest_run(&g, 3) != LUA_YIELD) {
      fail_msg("%s: %s", places[i], lua_tostring(L, -1));
    }
    guest_end(&g, L);
  }
}

static void test_a_foreign_callback_cannot_wait(void **unused) {
  (void)unused;
  guest_t g;
  lua_State *L = guest_new(&g, LA_PREEMPT_COUNT, 10, -1);
  guest_load(L, "foreign(function() for i = 1, 1000 do end "
                "note(select(2, pcall(wait))) end) "
                "foreign(function() coroutine.wrap(function() "
                "note(select(2, pcall(wait))) end)() end)");
  while (guest_run(&g, 1) == LUA_YIELD) {
  }
  assert_string_equal(g.log, "cannot wait here cannot wait here ");
  guest_end(&g, L);
}

/* ---- the end of a process ---------------------------------------------- */

#define CLOSING(name) \
  "setmetatable({}, {__close = function(_, e) note('" name "') end})"

static void test_close_runs_from_the_inside(void **unused) {
  (void)unused;
  guest_t g;
  lua_State *L = guest_new(&g, LA_PREEMPT_COUNT, 100, -1);
  guest_load(L,
             "local a <close> = " CLOSING("main")
             "local idle = coroutine.wrap(function()"
             "  local i <close> = " CLOSING("idle") "coroutine.yield() end)"
             "idle()"
             "pcall(function()"
             "  local b <close> = " CLOSING("pcall")
             "  coroutine.wrap(function()"
             "    local c <close> = " CLOSING("wrap")
             "    coroutine.resume(coroutine.create(function()"
             "      local d <close> = " CLOSING("resume")
             "      table.sort({2, 1}, function()"
             "        local e <close> = " CLOSING("sort") FOREVER
             "      end) end)) end)() end)");
  assert_int_equal(guest_run(&g, 20), LUA_YIELD);
  la_exec_close(&g.x);
  assert_string_equal(g.log, "sort resume wrap pcall main ");
  guest_end(&g, L);
}

/* Each __close runs for ever; the budget must end all of them. */
static void test_close_is_bounded(void **unused) {
  (void)unused;
  static const char *const bodies[] = {
      FOREVER,
      "while true do pcall(function() " FOREVER " end) end",
      "coroutine.wrap(function() " FOREVER " end)()",
      "old()",
      "string.find(('a'):rep(30000), '.-.-.-b')",
      "table.sort({3, 2, 1}, function() " FOREVER " end)",
      "xpcall(error, function() " FOREVER " end)",
      "table.move({}, 1, 1 << 60, 2)",
      "local c <close> = setmetatable({}, {__close = function() " FOREVER
      " end}) error 'x'",
      "setmetatable({}, {__gc = function() " FOREVER " end}) collectgarbage()",
      "while true do coroutine.wrap(function() end)() end",
  };
  static const la_preempt_t modes[] = {LA_PREEMPT_COUNT, LA_PREEMPT_TICK};
  for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
    for (int j = 0; j < 2; j++) {
      guest_t g;
      lua_State *L = guest_new(&g, modes[j], 100, -1);
      char code[600];
      snprintf(code, sizeof code,
               "old = coroutine.wrap(function() coroutine.yield() " FOREVER
               " end) old()"
               "local a <close> = " CLOSING("last")
               "local b <close> = setmetatable({}, {__close = function() %s "
               "end}) wait()",
               bodies[i]);
      guest_load(L, code);
      assert_int_equal(guest_run(&g, 5), LUA_YIELD);
      guest_end(&g, L);
      /* What is closed after it has but a moment left. */
      if (g.log[0] != '\0') {
        assert_string_equal(g.log, "last ");
      }
    }
  }
}

/* A stop reaches places that cannot yield, and nothing catches it. */
static void test_stop_where_nothing_can_yield(void **unused) {
  (void)unused;
  static const char *const places[] = {
      "xpcall(error, function() " FOREVER " end)",
      "xpcall(error, function() while true do pcall(error) end end)",
      "xpcall(error, function() while true do pcall(function() " FOREVER
      " end) end end)",
      "foreign(function() " FOREVER " end)",
      "pcall(foreign, function() while true do pcall(string.rep) end end)",
      "foreign(function() string.find(('a'):rep(30000), '.-.-.-b') end)",
      "foreign(function() coroutine.wrap(function() " FOREVER " end)() end)",
      "foreign(function() table.sort({1, 2}, function() " FOREVER " end) end)",
      "local co = coroutine.create(function() local x <close> = "
      "setmetatable({}, {__close = function() " FOREVER
      " end}) coroutine.yield() end) coroutine.resume(co) "
      "coroutine.close(co)",
      "foreign(function() setmetatable({}, {__gc = function() " FOREVER
      " end}) collectgarbage() end)",
  };
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    guest_t g;
    lua_State *L = guest_new(&g, LA_PREEMPT_COUNT, 100, -1);
    char code[512];
    snprintf(code, sizeof code, "%s note 'went on'", places[i]);
    guest_load(L, code);
    g.stop_when_asked = true;
    int status = guest_run(&g, 1);
    if (status == LUA_YIELD) {
      assert_true(g.x.stop);
    }
    assert_string_equal(g.log, "");
    guest_end(&g, L);
  }
}

static void test_finish_runs_finalizers_newest_first(void **unused) {
  (void)unused;
  guest_t g;
  lua_State *L = guest_new(&g, LA_PREEMPT_TICK, 0, -1);
  guest_load(L, "for i = 1, 4 do _G['x' .. i] = setmetatable({}, {__gc = "
                "function() note(tostring(i)) setmetatable({}, {__gc = "
                "function() note 'late' end}) end}) end "
                "setmetatable({}, {__gc = function() note 'error' error() end})");
  assert_int_equal(guest_run(&g, 1), LUA_OK);
  assert_true(g.x.has_finalizers);
  guest_end(&g, L);
  assert_string_equal(g.log, "error 4 3 2 1 ");
}

static void test_finish_is_bounded(void **unused) {
  (void)unused;
  guest_t g;
  lua_State *L = guest_new(&g, LA_PREEMPT_TICK, 0, -1);
  guest_load(L, "for i = 1, 100 do _G['x' .. i] = setmetatable({}, {__gc = "
                "function() note 'x' while true do pcall(function() " FOREVER
                " end) end end}) end");
  assert_int_equal(guest_run(&g, 1), LUA_OK);
  guest_end(&g, L);
  assert_string_equal(g.log, "x ");
}

static void test_a_plain_state_needs_no_finish(void **unused) {
  (void)unused;
  static const struct {
    const char *code;
    bool owns;
  } cases[] = {
      {"setmetatable({}, {__index = {}}) string.gsub('a', 'a', 'b')", false},
      {"setmetatable({}, {__gc = print})", true},
      {"io.write ''", false},
      {"io.open '/no/such'", true},
      {"debug.setmetatable({}, {__gc = print})", true},
      {"package.preload.x = function() end require 'x'", false},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    guest_t g;
    lua_State *L = guest_new(&g, LA_PREEMPT_TICK, 0, -1);
    guest_load(L, cases[i].code);
    assert_int_equal(guest_run(&g, 1), LUA_OK);
    assert_int_equal(g.x.has_finalizers, cases[i].owns);
    lua_close(L);
    assert_int_equal(g.bytes, 0);
  }
}

/* ---- memory ------------------------------------------------------------ */

/* Something of everything that allocates. */
static const char workload[] =
    "local t = {} for i = 1, 20 do t[i] = (i * 7) % 11 end "
    "table.sort(t) table.sort(t, function(a, b) return a > b end) "
    "local p = setmetatable({}, {__index = t, __newindex = t, __len = "
    "function() return #t end}) "
    "table.insert(p, 1) table.remove(p) table.concat(p, ',') table.unpack(p) "
    "table.move(p, 1, 3, 2) table.sort(p) "
    "for _ in ipairs(p) do end "
    "local s = ('key = value '):rep(40) "
    "s:gsub('%w+', string.upper) s:gsub('%w', {k = 'K'}) s:gsub('%w+', '%0%0') "
    "for k, v in s:gmatch('(%w+) = (%w+)') do t[k] = v end "
    "s:find('(a)(l)()') s:match('.-e$') s:find('val', 1, true) "
    "_ = ('a'):rep(300):find('.-.-b') "
    "local o = setmetatable({}, {__tostring = function() return 'o' end, "
    "__add = function() return 1 end}) "
    "local _ = ('%s %s'):format(o, o) .. tostring(o) .. ('x' + o) "
    "local parts = {'return ', '1', ' + 2'} "
    "load(function() return table.remove(parts, 1) end)() "
    "package.preload.m = function() return {} end require 'm' "
    "pcall(require, 'none') "
    "local co = coroutine.wrap(function(...) "
    "  for i = 1, 3 do coroutine.yield(i) end error 'end' end) "
    "co() co() co() pcall(co) "
    "for i = 1, 3 do setmetatable({}, {__gc = function(x) x.y = {i} end}) end "
    "collectgarbage() "
    "debug.sethook(function() local _ = {} end, 'cl', 3) "
    "for i = 1, 5 do local _ = {i} end debug.gethook() debug.sethook() "
    "os.time(setmetatable({}, {__index = {year = 2020, month = 1, day = 1}})) "
    "local c <close> = setmetatable({}, {__close = function() local _ = {} end})"
    "xpcall(function() error({}) end, debug.traceback) ";

static void run_out(la_preempt_t mode, int period, bool failing) {
  bool done = false;
  for (long n = 0; !done; n += 1 + n / 50) {
    guest_t g;
    lua_State *L = guest_new(&g, mode, period, -1);
    guest_load(L, workload);
    g.countdown = n;
    g.failing = failing;
    int status = guest_run(&g, INT32_MAX);
    assert_int_not_equal(status, LUA_YIELD);
    done = g.countdown > 0;
    if (done && status != LUA_OK) {
      fail_msg("%s", lua_tostring(L, -1));
    }
    la_exec_close(&g.x);
    la_gc_finish(L);
    g.countdown = -1;
    lua_close(L);
    assert_int_equal(g.bytes, 0);
  }
}

static void test_memory_runs_out_once(void **unused) {
  (void)unused;
  run_out(LA_PREEMPT_TICK, 0, false);
  run_out(LA_PREEMPT_COUNT, 1, false);
  run_out(LA_PREEMPT_COUNT, 7, false);
}

static void test_memory_runs_out_for_good(void **unused) {
  (void)unused;
  run_out(LA_PREEMPT_TICK, 0, true);
  run_out(LA_PREEMPT_COUNT, 7, true);
}

static void test_memory_runs_out_while_opening(void **unused) {
  (void)unused;
  for (long n = 0;; n++) {
    guest_t g;
    lua_State *L = guest_new(&g, LA_PREEMPT_COUNT, 100, n);
    if (L != NULL) {
      lua_close(L);
      assert_int_equal(g.bytes, 0);
      break;
    }
    assert_int_equal(g.bytes, 0);
  }
}

/* ---- limits ------------------------------------------------------------ */

static void test_many_arguments(void **unused) {
  (void)unused;
  guest_t g;
  lua_State *L = guest_new(&g, LA_PREEMPT_TICK, 0, -1);
  guest_load(L,
             "local o = setmetatable({}, {__tostring = function() return 'o' "
             "end}) local t = {} for i = 1, 50000 do t[i] = o end "
             "local s = ('%s'):rep(50000):format(table.unpack(t)) "
             "note(tostring(#s)) "
             "local n = 0 load(function() n = n + 1 if n < 20000 then return "
             "'--\\n' end end) note(tostring(n)) note('[' .. "
             "(''):rep(1 << 60) .. ']')");
  assert_int_equal(guest_run(&g, 1), LUA_OK);
  assert_string_equal(g.log, "50000 20000 [] ");
  guest_end(&g, L);
}

/* All that is made when it is touched, in every way of touching it. */
static const char touch_all[] =
    "local _ = ('x'):upper(), string.rep, math.random, io.stdout, package.path "
    "_ = type(io.open) table.insert(utf8, 'x') utf8[1] = nil "
    "for _ in pairs(string) do end for _ in pairs(package.loaded) do end "
    "_ = getmetatable('').__index, rawget(os, 'time'), debug.getregistry() "
    "setmetatable(_G, nil)";

static const char list_all[] =
    "local list = {} "
    "for name, lib in pairs(package.loaded) do "
    "  for k, v in pairs(lib) do "
    "    list[#list + 1] = name .. '.' .. k .. type(v) .. math.type(1) "
    "  end "
    "end "
    "table.sort(list) "
    "return table.concat(list, ' ') .. tostring(getmetatable('').__index == "
    "string) .. io.type(io.stdout) .. #tostring(math.random()) // 100 .. "
    "tostring(getmetatable(io.stderr).__index.write ~= nil) .. "
    "tostring(package.loaded._G == _G) .. ('x'):rep(2)";

static const char *list_of(lua_State *L) {
  guest_load(L, list_all);
  if (lua_pcall(L, 0, 1, 0) != LUA_OK) {
    fail_msg("%s", lua_tostring(L, -1));
  }
  return lua_tostring(L, -1);
}

/* Whatever allocation fails in the middle of making a library, afterwards it can be
 * had as if nothing had been. */
static void test_libraries_are_whole_after_failures(void **state) {
  (void)state;
  guest_t good, g;
  lua_State *P = guest_new(&good, LA_PREEMPT_TICK, 0, -1);
  const char *expected = list_of(P);
  int status = LUA_ERRMEM;
  for (long n = 0; status != LUA_OK; n++) {
    lua_State *L = guest_new(&g, LA_PREEMPT_TICK, 0, -1);
    guest_load(L, touch_all);
    g.failing = true;
    g.countdown = n;
    status = lua_pcall(L, 0, 0, 0);
    g.failing = false;
    g.countdown = -1;
    lua_settop(L, 0);
    assert_string_equal(list_of(L), expected);
    lua_settop(L, 0);
    guest_end(&g, L);
  }
  guest_end(&good, P);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_libraries_are_whole_after_failures),
      cmocka_unit_test(test_hogs_in_count_mode),
      cmocka_unit_test(test_hogs_in_tick_mode),
      cmocka_unit_test(test_count_mode_is_exact),
      cmocka_unit_test(test_short_coroutines_use_up_the_slice),
      cmocka_unit_test(test_tick_arms_once),
      cmocka_unit_test(test_wait_inside_everything),
      cmocka_unit_test(test_a_foreign_callback_cannot_wait),
      cmocka_unit_test(test_close_runs_from_the_inside),
      cmocka_unit_test(test_close_is_bounded),
      cmocka_unit_test(test_stop_where_nothing_can_yield),
      cmocka_unit_test(test_finish_runs_finalizers_newest_first),
      cmocka_unit_test(test_finish_is_bounded),
      cmocka_unit_test(test_a_plain_state_needs_no_finish),
      cmocka_unit_test(test_memory_runs_out_once),
      cmocka_unit_test(test_memory_runs_out_for_good),
      cmocka_unit_test(test_memory_runs_out_while_opening),
      cmocka_unit_test(test_many_arguments),
  };
  std = la_std_new(NULL, la_load_open_package);
  assert_non_null(std);
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  la_std_free(std);
  return failed;
}

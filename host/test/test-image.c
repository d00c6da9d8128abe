/* Images: clones behave as states that were built, or there is no image. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <lauxlib.h>
#include <lua-lpeg.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

#include "lib/lib_load.h"
#include "lib/lib_std.h"
#include "mem/image.h"
#include "sched/budget.h"

/* ---- templates ----------------------------------------------------------- */

static la_exec_t template_exec;
static la_env_t env;
static la_pools_t pools;
static la_std_t *std;

static void begin(lua_State *L, void *ud) {
  (void)ud;
  la_exec_init(&template_exec, L, LA_PREEMPT_TICK, 1000);
}

/* Compiled elsewhere: a parser leaves junk in what it makes. */
typedef struct {
  char bytes[1 << 16];
  size_t size;
} code_t;

static int append(lua_State *L, const void *p, size_t n, void *ud) {
  code_t *c = ud;
  (void)L;
  assert_true(c->size + n <= sizeof c->bytes);
  memcpy(c->bytes + c->size, p, n);
  c->size += n;
  return 0;
}

static code_t compiled(const char *text) {
  code_t c = {.size = 0};
  lua_State *L = luaL_newstate();
  assert_int_equal(luaL_loadstring(L, text), LUA_OK);
  lua_dump(L, append, &c, 0);
  lua_close(L);
  return c;
}

static void open_all(lua_State *L) {
  la_std_open(L, std);
  luaL_requiref(L, "lpeg", luaopen_lpeg, 0);
  lua_pop(L, 1);
  lua_getglobal(L, "math");
  lua_getfield(L, -1, "randomseed");
  lua_pushinteger(L, 1);
  lua_pushinteger(L, 2);
  lua_call(L, 2, 0);
  lua_pop(L, 1);
}

static int open_with_code(lua_State *L) {
  const code_t *c = lua_touserdata(L, 1);
  open_all(L);
  if (c != NULL) {
    if (luaL_loadbufferx(L, c->bytes, c->size, "=template", "b") != LUA_OK) {
      lua_error(L);
    }
    lua_call(L, 0, 0);
  }
  return 0;
}

static la_image_t *image_with(const char *text, char why[LA_IMAGE_WHY]) {
  code_t c = {.size = 0};
  if (text != NULL) {
    c = compiled(text);
  }
  const la_image_maker_t m = {
      .begin = begin, .open = open_with_code, .ud = text != NULL ? &c : NULL};
  return la_image_new(&pools, &m, why);
}

static la_image_t *need_image(const char *text) {
  char why[LA_IMAGE_WHY];
  la_image_t *im = image_with(text, why);
  if (im == NULL) {
    fail_msg("no image: %s", why);
  }
  return im;
}

/* ---- states -------------------------------------------------------------- */

typedef struct {
  la_exec_t exec;
  la_heap_t heap;
  la_image_t *im;
} state_t;

static lua_State *clone(la_image_t *im, state_t *s) {
  la_heap_init(&s->heap, 0);
  s->im = im;
  lua_State *L = la_image_clone(im, NULL, &s->heap);
  assert_non_null(L);
  la_exec_adopt(&s->exec, L, &template_exec);
  return L;
}

static lua_State *build(const char *text, state_t *s) {
  la_heap_init(&s->heap, 0);
  s->im = NULL;
  lua_State *L = lua_newstate(la_heap_realloc, &s->heap);
  la_exec_init(&s->exec, L, LA_PREEMPT_TICK, 1000);
  open_all(L);
  if (text != NULL) {
    assert_int_equal(luaL_dostring(L, text), LUA_OK);
  }
  return L;
}

static void drop(state_t *s) {
  la_heap_fini(&s->heap, NULL);
}

static size_t lua_bytes(lua_State *L) {
  return (size_t)lua_gc(L, LUA_GCCOUNT) * 1024 +
         (size_t)lua_gc(L, LUA_GCCOUNTB);
}

static void run(lua_State *L, const char *text) {
  if (luaL_dostring(L, text) != LUA_OK) {
    fail_msg("%s", lua_tostring(L, -1));
  }
}

/* ---- what is run --------------------------------------------------------- */

static const char template_text[] =
    "local lpeg = package.loaded.lpeg\n"
    "word = lpeg.C(lpeg.R('az')^1)\n"
    "words = lpeg.Ct(word * (' ' * word)^0)\n"
    "local n = 0\n"
    "function count() n = n + 1 return n end\n"
    "co = coroutine.create(function(a)\n"
    "  local x = 'held'\n"
    "  do local up = 'closed' g = function() return up end end\n"
    "  f = function() return x end\n"
    "  while true do a = coroutine.yield(a .. x) end\n"
    "end)\n"
    "coroutine.resume(co, 'first ')\n"
    "point = setmetatable({}, { __index = { x = 1 },\n"
    "  __add = function(a, b) return 'sum' end })\n"
    "weak = setmetatable({}, { __mode = 'v' })\n"
    "mixed = { [1] = 1, [2.5] = 2, [true] = 3, [print] = 4, s = 5 }\n"
    "big = {} for i = 1, 2000 do big[i] = i end\n"
    "long = ('long'):rep(1000)\n";

static const char workload[] =
    "local mode = ...\n"
    "collectgarbage(mode)\n"
    "local out = {}\n"
    "local function say(...)\n"
    "  out[#out + 1] = table.concat(table.pack(...), ' ')\n"
    "end\n"
    "for i = 1, 300 do\n"
    "  local t = {}\n"
    "  for j = 1, 20 do t['k' .. j] = { j, tostring(j) } end\n"
    "  if i % 100 == 0 then collectgarbage() end\n"
    "  weak[i] = t\n"
    "end\n"
    "say(g(), f(), count(), count(), point.x, point + 1)\n"
    "say(select(2, coroutine.resume(co, 'a ')), coroutine.status(co))\n"
    "say(mixed[1], mixed[2.5], mixed[true], mixed[print], mixed.s)\n"
    "say(#big, big[1999], #long, long:sub(-4))\n"
    "big, long = nil, nil\n"
    "collectgarbage()\n"
    "say(table.concat(words:match 'the quick brown fox', ','))\n"
    "say(#package.loaded.lpeg.match(\n"
    "  package.loaded.lpeg.P(1)^0 / '%0', ('x'):rep(5000)))\n"
    "say(tostring(pcall(error, { 1 })), select(2, pcall(error, 'no', 0)))\n"
    "say(select(2, pcall(function() local x = nil; x.y = 1 end)))\n"
    "local function deep(n) return n == 0 and 0 or 1 + deep(n - 1) end\n"
    "say(deep(5000), tostring(pcall(function()\n"
    "  local function r() return 1 + r() end return r() end)))\n"
    "local s = string.dump(function(a) return a * 2 end)\n"
    "say(load(s, 's', 'b')(21), load('return ...')(7))\n"
    "local closed = {}\n"
    "do local c <close> = setmetatable({}, { __close = function()\n"
    "  closed[1] = 'closed' end }) end\n"
    "say(closed[1])\n"
    "local fns = {}\n"
    "for i = 1, 50 do fns[i] = function() i = i + 1 return i end end\n"
    "local sum = 0\n"
    "for r = 1, 3 do for i = 1, 50 do sum = sum + fns[i]() end end\n"
    "say(sum, ('%5.2f|%q'):format(1.5, 'a\\nb'), ('x,y,z'):gsub(',', ';'))\n"
    "local w = coroutine.wrap(function()\n"
    "  for i = 1, 3 do coroutine.yield(i) end end)\n"
    "say(w(), w(), w(), utf8.char(228, 8364), math.type(1), 7 // 2, '10' + 5)\n"
    "local keys = {}\n"
    "for i = 1, 100 do keys[{}] = i keys[print] = i keys[coroutine.create(g)] = i end\n"
    "local n = 0 for _ in pairs(keys) do n = n + 1 end\n"
    "table.sort(out, function(a, b) return #a < #b end)\n"
    "local names = {} for k in pairs(_G) do names[#names + 1] = k end\n"
    "table.sort(names)\n"
    "collectgarbage()\n"
    "local left = 0 for _ in pairs(weak) do left = left + 1 end\n"
    "say(n, left, table.concat(names, ','), type(io.stdout), #os.date())\n"
    "say(math.random(1000), math.random(1000))\n"
    "return table.concat(out, '\\n')\n";

static const char *digest(lua_State *L, const char *mode) {
  assert_int_equal(luaL_loadbuffer(L, workload, sizeof workload - 1, "=w"),
                   LUA_OK);
  lua_pushstring(L, mode);
  if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
    fail_msg("%s", lua_tostring(L, -1));
  }
  return lua_tostring(L, -1);
}

/* ---- tests --------------------------------------------------------------- */

enum { ROUNDS = 6, AT_ONCE = 8 };

static void clones_do_what_built_states_do(void **state) {
  (void)state;
  la_image_t *im = need_image(template_text);
  static const char *const modes[] = {"incremental", "generational"};
  for (int mode = 0; mode < 2; mode++) {
    state_t plain, s[AT_ONCE];
    lua_State *P = build(template_text, &plain);
    const char *expected = digest(P, modes[mode]);
    /* LPeg allocates behind Lua's back. */
    const size_t lpeg = plain.heap.used - lua_bytes(P);
    for (int round = 0; round < ROUNDS; round++) {
      lua_State *L[AT_ONCE];
      for (int i = 0; i < AT_ONCE; i++) {
        L[i] = clone(im, &s[i]);
      }
      for (int i = 0; i < AT_ONCE; i++) {
        assert_string_equal(digest(L[i], modes[mode]), expected);
        assert_int_equal(s[i].heap.used, lua_bytes(L[i]) + lpeg);
      }
      for (int i = 0; i < AT_ONCE; i++) {
        if ((i + round) % 2 == 0) {
          lua_close(L[i]);
        }
        drop(&s[i]);
      }
    }
    drop(&plain);
  }
  la_image_free(im);
}

static void a_clone_counts_what_it_holds(void **state) {
  (void)state;
  la_image_t *im = need_image(template_text);
  state_t s;
  lua_State *L = clone(im, &s);
  assert_int_equal(s.heap.used, la_image_live(im));
  assert_int_equal(s.heap.used, lua_bytes(L));
  run(L, "for i = 2001, 5000 do big[i] = i end "
         "long = long .. long big = nil long = nil collectgarbage()");
  assert_int_equal(s.heap.used, lua_bytes(L));
  assert_true(s.heap.used < la_image_live(im));
  lua_close(L);
  assert_int_equal(s.heap.used, 0);
  drop(&s);
  la_image_free(im);
}

static void the_first_collection_comes_late(void **state) {
  (void)state;
  la_image_t *im = need_image(NULL);
  state_t s;
  lua_State *L = clone(im, &s);
  run(L, "local w = setmetatable({ {} }, { __mode = 'v' })"
         "while collectgarbage 'count' < 50 do local _ = {} end "
         "assert(w[1]) for i = 1, 10000 do local _ = {} end assert(not w[1])");
  drop(&s);
  la_image_free(im);
}

static void *find_random(lua_State *L, void *ud) {
  (void)ud;
  lua_getglobal(L, "math");
  lua_getfield(L, -1, "random");
  lua_getupvalue(L, -1, 1);
  return lua_touserdata(L, -1);
}

static void the_spot_is_found_in_every_clone(void **state) {
  (void)state;
  char why[LA_IMAGE_WHY];
  const la_image_maker_t m = {
      .begin = begin, .open = open_with_code, .spot = find_random};
  la_image_t *im = la_image_new(&pools, &m, why);
  assert_non_null(im);
  assert_true(la_image_has_spot(im));
  for (int i = 0; i < 10; i++) {
    state_t s;
    lua_State *L = clone(im, &s);
    assert_ptr_equal(la_image_spot(im, L), find_random(L, NULL));
    drop(&s);
  }
  la_image_free(im);
}

static void many_blocks_come_and_go(void **state) {
  (void)state;
  enum { N = 1500 };
  la_image_t *im = need_image(NULL);
  static state_t s[N];
  static lua_State *L[N];
  static bool alive[N];
  unsigned r = 1;
  for (int round = 0; round < 4 * N; round++) {
    r = r * 1103515245 + 12345;
    const int i = (int)(r >> 8) % N;
    if (alive[i]) {
      lua_getglobal(L[i], "mine");
      assert_int_equal(lua_tointeger(L[i], -1), i);
      drop(&s[i]);
    } else {
      L[i] = clone(im, &s[i]);
      assert_int_equal((uintptr_t)s[i].heap.image % 256, 0);
      lua_pushinteger(L[i], i);
      lua_setglobal(L[i], "mine");
    }
    alive[i] = !alive[i];
  }
  for (int i = 0; i < N; i++) {
    if (alive[i]) {
      drop(&s[i]);
    }
  }
  la_image_free(im);
}

/* Why blocks are aligned as they are: elsewhere the upvalue of g, closed in a
 * coroutine that is still there, changes its type. */
static void only_aligned_copies_are_right(void **state) {
  (void)state;
  la_image_t *im = need_image(template_text);
  const size_t size = (la_image_size(im) + 1024) / 256 * 256;
  int wrong = 0;
  for (size_t shift = 0; shift <= 256; shift += 16) {
    char *block = aligned_alloc(256, size);
    lua_State *L = la_image_copy_to(im, block + shift);
    lua_getglobal(L, "g");
    const char *name = lua_getupvalue(L, -1, 1);
    assert_non_null(name);
    lua_pushliteral(L, "closed");
    const bool right = lua_rawequal(L, -1, -2);
    wrong += !right;
    if (shift % 256 == 0) {
      assert_true(right);
    }
    free(block);
  }
  assert_true(wrong > 0);
  la_image_free(im);
}

static void refuses(const char *text, const char *reason) {
  char why[LA_IMAGE_WHY];
  la_image_t *im = image_with(text, why);
  assert_null(im);
  if (strstr(why, reason) == NULL) {
    fail_msg("refused because of '%s'", why);
  }
}

static void refuses_what_has_no_image(void **state) {
  (void)state;
  refuses("t = {} for i = 1, 4 do t[{}] = i end", "neither");
  refuses("t = {} for i = 1, 40 do t[function() return t end] = i end",
          "neither");
  refuses("t = setmetatable({}, { __mode = 'k' })"
          "for i = 1, 40 do t[{}] = i end",
          "");
  refuses("t = {} for i = 1, 40 do t[{}] = i end keep = next(t)", "");
  refuses("t = {} for i = 1, 8 do t[coroutine.create(print)] = i end",
          "neither");
  refuses("t = tostring({})", "neither");
  refuses("t = io.open '/dev/null'", "neither");
  refuses("error 'not today'", "not today");
  refuses("t = ('x'):rep(1 << 20)", "not");
}

static int calls;

static int open_counting(lua_State *L) {
  open_all(L);
  lua_pushinteger(L, calls++);
  lua_setglobal(L, "calls");
  return 0;
}

static int open_growing(lua_State *L) {
  open_all(L);
  lua_createtable(L, calls++, 0);
  lua_setglobal(L, "calls");
  return 0;
}

static int open_pointing(lua_State *L) {
  open_all(L);
  lua_pushlightuserdata(L, lua_newuserdatauv(L, 8, 0));
  lua_setglobal(L, "p");
  return 0;
}

static void refuses_what_differs_from_time_to_time(void **state) {
  (void)state;
  char why[LA_IMAGE_WHY];
  la_image_maker_t m = {.begin = begin, .open = open_counting};
  assert_null(la_image_new(&pools, &m, why));
  assert_non_null(strstr(why, "neither"));
  m.open = open_growing;
  assert_null(la_image_new(&pools, &m, why));
  assert_non_null(strstr(why, "allocations"));
}

/* A light userdata that points into the state moves with it; it dangles in the
 * state that was built as well once its target is collected. */
static void pointers_to_the_dead_are_cleared(void **state) {
  (void)state;
  char why[LA_IMAGE_WHY];
  la_image_maker_t m = {.begin = begin, .open = open_pointing};
  la_image_t *im = la_image_new(&pools, &m, why);
  assert_non_null(im);
  state_t s;
  lua_State *L = clone(im, &s);
  lua_getglobal(L, "p");
  assert_true((uintptr_t)lua_touserdata(L, -1) < 256);
  drop(&s);
  la_image_free(im);
}

static void small_tables_with_any_keys_are_right(void **state) {
  (void)state;
  la_image_t *im = need_image("k1, k2 = {}, print t = { [k1] = 1 } "
                              "u = { [k2] = 2, [k1] = 3 }");
  for (int i = 0; i < 10; i++) {
    state_t s;
    lua_State *L = clone(im, &s);
    run(L, "assert(t[k1] == 1 and u[k1] == 3 and u[k2] == 2) t[u] = 4 "
           "collectgarbage() assert(t[k1] == 1 and t[u] == 4)");
    drop(&s);
  }
  la_image_free(im);
}

/* An image that begins as another one. */
static int open_more(lua_State *L) {
  const code_t *c = lua_touserdata(L, 1);
  if (luaL_loadbufferx(L, c->bytes, c->size, "=more", "b") != LUA_OK) {
    lua_error(L);
  }
  lua_call(L, 0, 0);
  return 0;
}

static void begin_copy(lua_State *L, void *ud) {
  (void)ud;
  static la_exec_t exec;
  la_exec_adopt(&exec, L, &template_exec);
}

static la_image_t *derived(const la_image_t *from, const char *text,
                           char why[LA_IMAGE_WHY]) {
  code_t c = compiled(text);
  const la_image_maker_t m = {
      .begin = begin_copy, .open = open_more, .ud = &c};
  return la_image_derive(&pools, from, &m, why);
}

static void an_image_can_begin_as_another(void **state) {
  (void)state;
  char why[LA_IMAGE_WHY];
  la_image_t *im = need_image(template_text);
  /* Adds, changes, frees what was there. */
  la_image_t *more = derived(im,
                             "more = { count(), count() } big = nil "
                             "string.more = function() return more[2] end "
                             "collectgarbage() for i = 1, 100 do "
                             "more['k' .. i] = { i } end",
                             why);
  if (more == NULL) {
    fail_msg("no image: %s", why);
  }
  la_image_free(im); /* what was made of it does not need it */
  for (int i = 0; i < 20; i++) {
    state_t s;
    lua_State *L = clone(more, &s);
    run(L, "assert(more[1] == 1 and ('x').more() == 2 and count() == 3) "
           "assert(big == nil and more.k77[1] == 77 and long) "
           "collectgarbage() for i = 1, 5000 do more[i] = { tostring(i) } end "
           "collectgarbage() assert(more[4000][1] == '4000')");
    lua_gc(L, LUA_GCCOLLECT);
    assert_int_equal(s.heap.used, lua_bytes(L));
    drop(&s);
  }
  la_image_free(more);
}

static void what_has_no_image_cannot_be_added(void **state) {
  (void)state;
  char why[LA_IMAGE_WHY];
  la_image_t *im = need_image(NULL);
  assert_null(derived(im, "t = {} for i = 1, 20 do t[{}] = i end", why));
  assert_non_null(strstr(why, "neither"));
  assert_null(derived(im, "error 'not today'", why));
  assert_non_null(strstr(why, "not today"));
  la_image_t *ok = derived(im, "fine = true", why);
  assert_non_null(ok);
  la_image_free(ok);
  la_image_free(im);
}

/* How a state tells that no variable is to be closed. */
static int look_while_closing(lua_State *L) {
  const la_exec_t *x = la_exec_of(L);
  lua_pushboolean(L, la_exec_has_close(x, L));
  return 1;
}

static void pending_variables_are_seen(void **state) {
  (void)state;
  la_image_t *im = need_image(NULL);
  state_t s;
  lua_State *L = clone(im, &s);
  s.exec.closing = la_exec_learn_closing();
  assert_true(s.exec.closing.list != 0); /* of the Lua that we are built with */
  lua_register(L, "pending", look_while_closing);
  run(L, "assert(not pending()) "
         "local function deep(n) return n > 0 and not deep(n - 1) end "
         "deep(5000) assert(not pending()) " /* another stack */
         "do local x <close> = setmetatable({}, { __close = function() "
         "assert(not pending()) end }) assert(pending()) "
         "local y <close> = nil assert(pending()) end "
         "assert(not pending()) "
         "for _ in next, { 1 }, nil, setmetatable({}, { __close = print }) do "
         "assert(pending()) break end assert(not pending()) "
         "for _ in pairs { 1 } do assert(not pending()) end");
  s.exec.closing = (la_closing_t){0, 0};
  assert_true(la_exec_has_close(&s.exec, L)); /* not known: perhaps */
  drop(&s);
  la_image_free(im);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(clones_do_what_built_states_do),
      cmocka_unit_test(a_clone_counts_what_it_holds),
      cmocka_unit_test(the_first_collection_comes_late),
      cmocka_unit_test(the_spot_is_found_in_every_clone),
      cmocka_unit_test(pending_variables_are_seen),
      cmocka_unit_test(an_image_can_begin_as_another),
      cmocka_unit_test(what_has_no_image_cannot_be_added),
      cmocka_unit_test(many_blocks_come_and_go),
      cmocka_unit_test(only_aligned_copies_are_right),
      cmocka_unit_test(refuses_what_has_no_image),
      cmocka_unit_test(refuses_what_differs_from_time_to_time),
      cmocka_unit_test(pointers_to_the_dead_are_cleared),
      cmocka_unit_test(small_tables_with_any_keys_are_right),
  };
  la_env_init_system(&env);
  la_pools_init(&pools, &env);
  std = la_std_new(NULL, la_load_open_package);
  assert_non_null(std);
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  la_std_free(std);
  la_pools_fini(&pools);
  return failed;
}

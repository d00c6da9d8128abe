/* Patterns, guards, clauses: what matches, what is captured, what is
 * refused. */
#include <time.h>

#include "codec.h"
#include "match/match.h"

static lua_State *L;

/* Encode the value at 'idx' as a sender does. */
static la_encoder_t *view_of(lua_State *S, int idx, la_msgview_t *v) {
  la_encoder_t *e = encode_or_raise(S, idx, LA_TERM_LOCAL);
  la_encoder_term(e, &v->term);
  v->tag = la_term_tag(v->term.bytes, v->term.size);
  return e;
}

static bool guard_holds(lua_State *S, int ud, const la_matcher_t *m, int c,
                        int first, int n) {
  if (!la_matcher_push_guard(S, ud, m, c)) {
    return true;
  }
  luaL_checkstack(S, n + 4, NULL);
  for (int i = 0; i < n; i++) {
    lua_pushvalue(S, first + i);
  }
  const bool holds =
      lua_pcall(S, n, 1, 0) == LUA_OK && lua_toboolean(S, -1);
  lua_pop(S, 1);
  return holds;
}

/* try(msg, pattern or clauses...): what receive would return, or nothing */
static int l_try(lua_State *S) {
  const la_matcher_t *m = la_matcher_make(S, 2, lua_gettop(S));
  const int ud = lua_gettop(S);
  la_msgview_t v;
  la_encoder_t *e = view_of(S, 1, &v);
  la_caps_t caps;
  int c = -1;
  int n;
  for (;;) {
    c = la_matcher_try(m, &v, LA_NO_ID, c + 1, &caps);
    if (c < 0) {
      la_encoder_end(e);
      return 0;
    }
    n = la_matcher_push(S, ud, m, c, &v, &caps);
    assert_int_equal(lua_gettop(S), ud + (n < 0 ? 0 : n));
    if (n >= 0 && guard_holds(S, ud, m, c, ud + 1, n)) {
      break;
    }
    assert_true(la_matcher_needs_lua(m, c));
    lua_settop(S, ud);
  }
  la_encoder_end(e);
  if (!la_matcher_push_handler(S, ud, m, c)) {
    return n;
  }
  lua_insert(S, ud + 1);
  lua_call(S, n, LUA_MULTRET);
  return lua_gettop(S) - ud;
}

static int l_receiver(lua_State *S) {
  la_matcher_make(S, 1, lua_gettop(S));
  luaL_setmetatable(S, LA_RECEIVER_MT);
  return 1;
}

/* info(...): clauses, after, fresh ref or nil, mailboxes... */
static int l_info(lua_State *S) {
  const la_matcher_t *m = la_matcher_make(S, 1, lua_gettop(S));
  lua_pushinteger(S, la_matcher_clauses(m));
  lua_pushnumber(S, la_matcher_after(m));
  if (la_matcher_fresh_ref(m) != LA_NO_ID) {
    la_push_id(S, la_matcher_fresh_ref(m));
  } else {
    lua_pushnil(S);
  }
  for (uint32_t i = 0; i < la_matcher_mailboxes(m); i++) {
    la_push_id(S, la_matcher_mailbox(m, i));
  }
  return 3 + (int)la_matcher_mailboxes(m);
}

/* mb_on(box, ...): what mb:on does */
static int l_mb_on(lua_State *S) {
  la_match_push_clause(S, la_to_id(S, 1), 2, lua_gettop(S));
  return 1;
}

/* Where the Lua modules are, seen from this file. */
static void add_lualib(lua_State *S) {
  const char *file = __FILE__;
  const char *end = strstr(file, "host/test/");
  assert_non_null(end);
  lua_getglobal(S, "package");
  lua_pushlstring(S, file, (size_t)(end - file));
  lua_pushliteral(S, "lualib/?.lua;");
  lua_getfield(S, -3, "path");
  lua_concat(S, 3);
  lua_setfield(S, -2, "path");
  lua_pop(S, 1);
}

static void open_match(lua_State *S) {
  open_common(S);
  add_lualib(S);
  lua_getfield(S, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_newtable(S);
  la_match_open(S);
  lua_pushcfunction(S, l_receiver);
  lua_setfield(S, -2, "receiver");
  lua_setfield(S, -2, "luactor");
  lua_pop(S, 1);
  lua_register(S, "try", l_try);
  lua_register(S, "info", l_info);
  lua_register(S, "mb_on", l_mb_on);
  la_push_id(S, la_id_make(LA_ID_MBOX, 1, 5));
  lua_setglobal(S, "box");
  run(S,
      "actor = require 'luactor'\n"
      "on, after, V, m = actor.on, actor.after, actor.var, actor.match\n"
      "lpeg = require 'lpeg'\n"
      "function yes(msg, p, ...)\n"
      "  local got, want = table.pack(try(msg, p)), table.pack(...)\n"
      "  if want.n == 0 then want = table.pack(msg) end\n"
      "  if not eq(got, want) then\n"
      "    error(('got %d: %s, %s'):format(got.n, tostring(got[1]),\n"
      "      tostring(got[2])), 2)\n"
      "  end\n"
      "end\n"
      "function no(msg, p)\n"
      "  if select('#', try(msg, p)) ~= 0 then error('it matched', 2) end\n"
      "end\n"
      "function bad(want, f, ...)\n"
      "  local ok, e = pcall(f, ...)\n"
      "  if ok or not e:find(want, 1, true) then\n"
      "    error(tostring(e), 2)\n"
      "  end\n"
      "end\n"
      "function h(...) return 'h', ... end\n");
}

static int setup(void **state) {
  (void)state;
  L = luaL_newstate();
  open_match(L);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  lua_close(L);
  la_scratch_reset(scratch);
  return 0;
}

/* ---- patterns ----------------------------------------------------------- */

static void matches_literals(void **state) {
  (void)state;
  run(L,
      "yes(1, 1) yes(1.0, 1) yes(1, 1.0) no(2, 1) no('1', 1) no(1, '1')\n"
      "yes('a', 'a') no('ab', 'a') no('a', 'ab') yes('', '')\n"
      "yes(true, true) no(false, true) yes(false, false) no(nil, false)\n"
      "yes(pid, pid) no(ref, pid) no(1, pid)\n"
      "yes(300, 300) yes(-1, -1) yes(2^40|0, 2^40) no(0/0, 0/0)\n"
      "yes(math.mininteger, math.mininteger) no(2^63, math.maxinteger)\n"
      "local long = ('x'):rep(10000) yes(long, long) no(long .. 'y', long)\n"
      "yes({ long }, { long }) no({ long .. 'y' }, { long })\n"
      "no({}, 1) no(print, 'print')\n");
}

static void matches_tables(void **state) {
  (void)state;
  run(L,
      "yes({ 1, 2 }, { 1, 2 }) no({ 1, 2, 3 }, { 1, 2 }) no({ 1 }, { 1, 2 })\n"
      "yes({ 1, 2, x = 1 }, { 1, 2 }) yes({ 1, 2 }, {}) yes({}, {})\n"
      "no(3, {}) no('', {}) yes({ x = 1 }, {})\n"
      "assert(try(string, {}) == string and try(_G, {}) == _G)\n"
      "no(string, { len = V.f })\n"
      "yes({ 1, x = 2 }, { x = 2 }) no({ 1 }, { x = 2 }) no({ x = 3 }, { x = "
      "2 })\n"
      "yes({ 1, 2, x = 3 }, { 1, V._, x = V.q }, 3)\n"
      "yes({ { { 'deep' } } }, { { { V.x } } }, 'deep')\n"
      "yes({ [1.5] = 1, [true] = 2, [pid] = 3, [0] = 4 },\n"
      "  { [1.5] = V.a, [true] = V.b, [pid] = V.c, [0] = V.d }, 4, 1, 2, 3)\n"
      "yes({ 'a', 'b', 'c' }, { [3] = 'c' }) no({ 'a', 'b' }, { [3] = 'c' })\n"
      "yes({ b = 2, a = 1, [7] = 0 }, { b = V.b, a = V.a, [7] = V.z }, 0, 1, "
      "2)\n"
      "yes({ n = 1 }, { x = actor.is 'nil', n = 1 })\n"
      "no({ x = 1 }, { x = actor.is 'nil' }) no({}, { x = V._ })\n");
}

static void matches_exact_tables(void **state) {
  (void)state;
  run(L,
      "local exact = actor.exact\n"
      "yes({ a = 1 }, exact { a = 1 }) no({ a = 1, b = 2 }, exact { a = 1 })\n"
      "no({ 1, a = 1 }, exact { a = 1 }) yes({ 1, a = 1 }, exact { 1, a = 1 "
      "})\n"
      "no({ 1 }, exact {}) yes({}, exact {}) no({ x = 1 }, exact {})\n"
      "yes({ 1, 2 }, exact { 1, V.a '...' }, { 2 })\n"
      "no({ 1, 2, k = 1 }, exact { 1, V.a '...' })\n"
      "yes({ 'p', 'q' }, exact { [1] = 'p', [2] = V.q }, 'q')\n"
      "yes({ a = 1 }, exact { a = 1, b = actor.is 'nil' })\n");
}

static void binds_names(void **state) {
  (void)state;
  run(L,
      "yes({ 'ping', pid, 3 }, { 'ping', V.from, V.n 'integer' }, pid, 3)\n"
      "no({ 'ping', pid, 3.5 }, { 'ping', V.from, V.n 'integer' })\n"
      "yes(false, V.x, false) no(nil, V.x) yes(nil, V._) yes(nil, actor._)\n"
      "yes({ 5, 5 }, { V.x, V.x }, 5) no({ 5, 6 }, { V.x, V.x })\n"
      "yes({ 5, 5.0 }, { V.x, V.x }, 5)\n"
      "no({ 5, 5.0 }, { V.x, V.x 'integer' })\n"
      "yes({ { 1, a = { 2 } }, { 1, a = { 2 } } }, { V.x, V.x },\n"
      "  { 1, a = { 2 } })\n"
      "no({ { 1, a = { 2 } }, { 1, a = { 3 } } }, { V.x, V.x })\n"
      "yes({ 'a', { 1, 2 } }, { 'a', V.w:of { V.x, V._ } }, { 1, 2 }, 1)\n"
      "yes({ 1, 2, 3 }, { V.c, V.b, V.a }, 1, 2, 3)\n"
      "assert(V.x == V.x and V._ == actor._)\n"
      "local many, msg = {}, {}\n"
      "for i = 1, 64 do many[i] = V['v' .. i] msg[i] = i end\n"
      "assert(select('#', try(msg, many)) == 64)\n"
      "many[65] = V.v65 msg[65] = 65\n"
      "bad('more than 64 captures', try, msg, many)\n");
}

static void knows_types(void **state) {
  (void)state;
  run(L,
      "local samples = { boolean = { true, false }, integer = { 1, -5, 2^50|0 "
      "},\n"
      "  float = { 1.0, 1/0 }, number = { 1, 1.5 }, table = { {}, { 1 }, _G "
      "},\n"
      "  string = { 'a', ('x'):rep(9000) },\n"
      "  ['function'] = { print, function() end }, pid = { pid },\n"
      "  ref = { ref }, mailbox = { box } }\n"
      "for t, values in pairs(samples) do\n"
      "  for _, v in ipairs(values) do\n"
      "    assert(select('#', try(v, actor.is(t))) == 1)\n"
      "    assert(select('#', try({ v }, { V.x(t) })) == 1)\n"
      "    for other in pairs(samples) do\n"
      "      local both = t == other or t == 'number' and math.type(v) == "
      "other\n"
      "        or other == 'number' and type(v) == 'number'\n"
      "      assert((select('#', try(v, actor.is(other))) == 1) == both)\n"
      "    end\n"
      "  end\n"
      "  no(nil, actor.is(t))\n"
      "end\n"
      "yes(nil, actor.is 'nil')\n");
}

static void takes_the_rest(void **state) {
  (void)state;
  run(L,
      "yes({ 'r', 1, 2, 3 }, { 'r', V.a '...' }, { 1, 2, 3 })\n"
      "yes({ 'r' }, { 'r', V.a '...' }, {}) no({ 'q' }, { 'r', V.a '...' })\n"
      "yes({ 'r', 1 }, { 'r', V._ '...' }) no({}, { 'r', V._ '...' })\n"
      "yes({ 'r', 1, 2, k = 5 }, { 'r', V.a '...', k = V.k }, { 1, 2 }, 5)\n"
      "yes({ 1, 2 }, { V.a '...' }, { 1, 2 })\n"
      "bad('must be the last', try, 1, { V.a '...', 2 })\n"
      "bad('must be the last', try, 1, V.a '...')\n"
      "bad('names a rest', try, 1, { V.a, V.a '...' })\n");
}

static void chooses_in_order(void **state) {
  (void)state;
  run(L,
      "local oneof = actor.oneof\n"
      "yes('stop', oneof('stop', 'quit')) yes('quit', oneof('stop', 'quit'))\n"
      "no('go', oneof('stop', 'quit'))\n"
      "yes('q', V.x:of(oneof('s', 'q')), 'q')\n"
      "yes({ 'b', 2 }, V._:of { 'a', V.x } + { 'b', V.x }, 2)\n"
      "yes({ 'a', 1 }, oneof({ 'a', V.x }, { 'b', V.x }), 1)\n"
      "yes({ 1, { 2 } }, { V.a, V._:of { V.b } + V._:of { 3, V.b } }, 1, 2)\n"
      "yes({ 1, { 3, 2 } }, { V.a, V._:of { V.b } + V._:of { 3, V.b } }, 1, "
      "2)\n"
      "yes({ 7, 7 }, { V.a, V.a 'string' + V.a 'integer' }, 7)\n"
      "no({ 7, 8 }, { V.a, V.a 'string' + V.a 'integer' })\n"
      "yes({ x = 1 }, oneof(oneof('a', 'b'), V._:of { x = V._ }))\n"
      "bad(\"only some alternatives bind 'y'\", oneof, { V.x }, { V.x, V.y })\n"
      "bad(\"only some alternatives bind 'x'\", oneof, V.x, 1)\n");
}

static void matches_with_lpeg(void **state) {
  (void)state;
  run(L,
      "local P, C, Cp, Ct = lpeg.P, lpeg.C, lpeg.Cp, lpeg.Ct\n"
      "local digits = C(lpeg.R '09' ^ 1)\n"
      "yes('x=42', 'x=' * digits, '42') no('x=42 ', 'x=' * digits)\n"
      "yes('abc', P 'abc') no(5, P 'abc') yes('ab', P 'ab' * Cp(), 3)\n"
      "yes({ 'a', 'k=v', 7 }, { V.t, C 'k' * '=' * C(1), V.z },\n"
      "  'a', 'k', 'v', 7)\n"
      "yes('ab', V.s:of(C 'a' * 'b'), 'ab', 'a')\n"
      "yes({ 'a', 'kv' }, { 'a', actor.oneof(C 'x', C 'k' * C 'v') }, 'k', "
      "'v')\n"
      "yes({ 'zz', 3 }, actor.oneof({ P 'a', V.x }, { 'zz', V.x }), 3)\n"
      "no({ 'zz', 3 }, actor.oneof({ P 'a', V.x }, { P 'b', V.x }))\n"
      "yes({ 'q', 'r' }, { P 'q', P 'r' })\n"
      "assert(try('12', on(digits / tonumber, function(n) return n > 10 end,\n"
      "  h)) == 'h')\n");
}

static void matches_calls(void **state) {
  (void)state;
  run(L,
      "local call = { '$gen_call', { pid, 4 }, { 'add', 5 } }\n"
      "yes(call, actor.request(V.from, { 'add', V.n }), { pid, 4 }, 5)\n"
      "no({ '$gen_cast', { pid, 4 }, { 'add', 5 } },\n"
      "  actor.request(V.from, { 'add', V.n }))\n");
}

static void follows_shared_tables(void **state) {
  (void)state;
  run(L,
      "local x = { 1 }\n"
      "local a, b = try({ x, x }, { V.a, V.b }) assert(a == b and a[1] == 1)\n"
      "yes({ x, { x } }, { { 1 }, { { 1 } } }) yes({ x, x }, { V.a, V.a }, x)\n"
      "local y = { 1 } y.me = y\n"
      "a = try(y, V.a) assert(a.me == a)\n"
      "a, b = try({ y, y.me }, { V.a, V.b }) assert(a == b and a.me == a)\n"
      "local o = {} o[1] = { o } a = try(o, { V.a }) assert(a[1][1] == a)\n"
      "a, b = try({ k = x, { x, 7 } }, { V.p, k = V.q })\n"
      "assert(a[1] == b and a[2] == 7)\n"
      "a = try({ 'r', x, x }, { 'r', V.a '...' }) assert(a[1] == a[2])\n"
      "local p = { 1 } local q = { 1 } p[2] = p q[2] = q\n"
      "assert(select('#', try({ p, q }, { V.x, V.x })) == 1)\n"
      "q[3] = 1 no({ p, q }, { V.x, V.x })\n"
      "local f, g = try({ function() return x end, x }, { V.f, V.x })\n"
      "assert(f() == g)\n");
}

/* An atom and a tuple as a peer sends them: {ok, 5}. */
static void matches_erlang_terms(void **state) {
  (void)state;
  static const uint8_t bytes[] = {104, 2, 119, 2, 'o', 'k', 97, 5};
  const la_msgview_t v = {{bytes, sizeof bytes, NULL, 0},
                          la_term_tag(bytes, sizeof bytes)};
  run(L, "return { 'ok', V.n 'integer' }");
  la_caps_t caps;
  const la_matcher_t *mt = la_matcher_make(L, lua_gettop(L), lua_gettop(L));
  assert_int_equal(la_matcher_try(mt, &v, LA_NO_ID, 0, &caps), 0);
  assert_int_equal(caps.n, 1);
  assert_int_equal(caps.cap[0].at, 6);
  static const uint8_t truth[] = {119, 4, 't', 'r', 'u', 'e'};
  const la_msgview_t w = {{truth, sizeof truth, NULL, 0},
                          la_term_tag(truth, sizeof truth)};
  run(L, "return true");
  mt = la_matcher_make(L, lua_gettop(L), lua_gettop(L));
  assert_int_equal(la_matcher_try(mt, &w, LA_NO_ID, 0, &caps), 0);
}

static void says_what_cannot_be_matched(void **state) {
  (void)state;
  run(L,
      "local co = coroutine.create(print)\n"
      "bad('bad pattern at [2].cfg: coroutine cannot be matched',\n"
      "  try, 1, { 1, { cfg = co } })\n"
      "bad('bad pattern: function cannot be matched', try, 1, print)\n"
      "bad('bad pattern: userdata FILE* cannot be matched', try, 1, "
      "io.stdout)\n"
      "bad('bad pattern: light userdata cannot', try, 1, null)\n"
      "bad('bad pattern: element 3 comes after a hole', try, 1, { 1, nil, 3 "
      "})\n"
      "bad('bad pattern: key is a table', try, 1, { [{}] = 1 })\n"
      "bad('bad pattern at [\"a b\"]: userdata luactor.clause cannot', try, "
      "1,\n"
      "  { ['a b'] = on(1, h) })\n"
      "bad('bad pattern: nil cannot be matched', try, 1, nil)\n"
      "local cyclic = {} cyclic[1] = cyclic\n"
      "bad('bad pattern: nested deeper than 200 levels', try, 1, cyclic)\n"
      "bad(\"unknown type 'foo'\", V.x, 'foo') bad(\"unknown type\", "
      "actor.is, 'x')\n"
      "bad('only a plain variable', V.x 'integer', 'float')\n"
      "bad('cannot be assigned', function() V.fresh = 1 end)\n");
}

/* ---- guards ------------------------------------------------------------- */

static void guards_mean_what_lua_means(void **state) {
  (void)state;
  run(L,
      "local t = { a = 7, b = 2, c = 2.5, s = 'abc', t = { 1, 2, 3 }, z = 0,\n"
      "  n = '10', big = math.maxinteger, f = 2.0^53, no = false }\n"
      "local names, p, msg = {}, {}, {}\n"
      "for k in pairs(t) do names[#names + 1] = k end\n"
      "for i, k in ipairs(names) do p[i] = V[k] msg[i] = t[k] end\n"
      "local env = setmetatable({ type = type }, { __index = t })\n"
      "for _, g in ipairs {\n"
      "  'a>b', 'a//b==3', 'a%b==1', '-a%b==1', '-a//b==-4', 'a/b==3.5',\n"
      "  '2^3^2==512.0', '-2^2==-4.0', 'not (a<b)', 'a>b and b<c or false',\n"
      "  '#s==3', '#t==3', \"s=='abc'\", \"s<'abd'\", \"s<='abc'\", "
      "\"'ab'<s\",\n"
      "  \"type(a)=='number'\", \"type(s)=='string' and type(t)=='table'\",\n"
      "  'a~=b', 'a-b*2==3', '(a-b)*2==10', '0x10==16', '1e2==100',\n"
      "  'n+1==11', \"n*'2'==20\", \"'0x10'+0==16\", \"' 5 '+1==6\",\n"
      "  'a//0.0==1/0', 'nil==false or true', 'b<=2 and b>=2', 'a==7.0',\n"
      "  \"'\\\\65'=='A'\", \"'\\\\x41\\\\n'=='A\\\\n'\", 'a- -a==14', 'not "
      "nil',\n"
      "  'a>b==true', 'big+1<0', 'big<2.0^63', 'big>=2.0^53', 'f<=big',\n"
      "  'f+1==f', '5.5%2==1.5', '-5.5%2==0.5', '5//-2==-3', '5%-2==-1',\n"
      "  '1<1.5', '2>1.5', '-c==-2.5', '#n==2', 'no==false', 'not no',\n"
      "  \"type(nil)=='nil' and type(type(1))=='string'\", 'b^-1==0.5',\n"
      "  'a<b', 'a//z==0', 'a%z==0', 's>1', 'a and nil', '#a==1', 't<t',\n"
      "  's+1==1', '-s==1', 'nil', 'false', \"a<'x'\", 'no and no', 'a>nil',\n"
      "  \"'inf'+0>1\", \"'nan'+0>1\", \"''+0==0\", '#nil==0', 'z/z==z/z',\n"
      "  '1//z', \"'1e'+0==1\", 'a==nil', 'math' } do\n"
      "  if g == 'math' then break end\n"
      "  local ok, want = pcall(load('return ' .. g, g, 't', env))\n"
      "  want = ok and want and true or false\n"
      "  local got = try(msg, on(p, g, h)) == 'h'\n"
      "  if got ~= want then error(g .. ': ' .. tostring(got)) end\n"
      "end\n"
      "assert(try({ { 1 }, { 1 } }, on({ V.a, V.b }, 'a == b', h)) == 'h')\n"
      "assert(try({ 'x', 1, 2 }, on({ 'x', V.r '...' }, '#r == 2', h)) == "
      "'h')\n"
      "assert(try({ pid }, on({ V.p }, \"type(p) == 'userdata'\", h)) == 'h')\n"
      "assert(try({ 1 }, on({ V.p }, 'p == 1', h)) == 'h')\n");
}

static void guards_report_mistakes(void **state) {
  (void)state;
  run(L,
      "local function g(text, want) bad(want, on, { V.x, V.y }, text, h) end\n"
      "g('x > z', \"guard:1:5: unknown name 'z'\")\n"
      "g('x > ', 'guard:1:5: name or value expected at the end')\n"
      "g('', 'guard:1:1: name or value expected at the end')\n"
      "g('x y', \"guard:1:3: operator expected near 'y'\")\n"
      "g('(x', \"guard:1:3: ')' expected at the end\")\n"
      "g('x >\\n  > y', \"guard:2:3: name or value expected near '>'\")\n"
      "g('x .. y', \"operator expected near '.'\") g('x | y', 'operator')\n"
      "g(\"x == 'a\", 'guard:1:6: unfinished string')\n"
      "g(\"x == 'a\\\\q'\", 'bad escape') g('x == 1x', 'malformed number')\n"
      "g('len(x)', 'guard:1:1: only type() can be called')\n"
      "g('and', 'name or value expected') g('x == @', 'near')\n"
      "g(('('):rep(100) .. 'x', 'too complicated')\n"
      "g(('x+('):rep(30) .. 'x' .. (')'):rep(30), 'too complicated')\n"
      "g(('-'):rep(100) .. ' x', 'too complicated')\n"
      "g('x > 1 and x == 5 and z', \"unknown name 'z'\")\n");
}

static void guards_may_be_lua(void **state) {
  (void)state;
  run(L,
      "local big = on(V.x, function(x) return x > 3 end, h)\n"
      "assert(try(5, big) == 'h') no(2, big) no('a', big)\n"
      "assert(try(2, big, on(V.x, function() return 'other' end)) == "
      "'other')\n");
}

/* ---- texts -------------------------------------------------------------- */

static void parses_texts(void **state) {
  (void)state;
  run(L,
      "local add = m \"{ 'add', x: integer, y: number, key = _ }\"\n"
      "  and m \"{ 'add', x: integer, y: number, key = _ } when x > y and x < "
      "10\"\n"
      "yes({ 'add', 3, 1.5, key = 0 }, add, 3, 1.5)\n"
      "no({ 'add', 3, 3.5, key = 0 }, add) no({ 'add', 3, 1.5 }, add)\n"
      "no({ 'add', 13, 1.5, key = 0 }, add)\n"
      "yes('stop', m \"'stop' | 'quit'\") yes('quit', m \"'stop' | 'quit'\")\n"
      "yes({ 'rest', 1, 2 }, m \"{ 'rest', ...args }\", { 1, 2 })\n"
      "yes({ 1, 2, 3 }, m '{ _, ... }')\n"
      "yes({ 5, 6 }, m('{ ^a, x }', { a = 5 }), 6)\n"
      "yes({ 5, 6 }, m('{ ^a, ^b }', { a = V.q, b = 6 }), 5)\n"
      "yes({ a = { b = { 7 } } }, m '{ a = { b = { x } } }', 7)\n"
      "yes({ b = 1, a = 2 }, m '{ b = b, a = a }', 1, 2)\n"
      "yes({ ['odd key'] = 1, [-1] = 2, [true] = 3 },\n"
      "  m \"{ ['odd key'] = x, [-1] = y, [true] = z }\", 1, 2, 3)\n"
      "yes({ 'x', \"it's\\n\\65\" }, m [[{ 'x', \"it's\\n\\65\", }]])\n"
      "yes({ 1, 'p' }, m \"{ 1 | 2, x: 'p' | 'q' }\", 'p')\n"
      "yes({ 5 }, m '{ x: integer | string }', 5) no({ 5.5 }, m '{ x: integer "
      "| string }')\n"
      "yes({ 5 }, m '{ (x: integer) | (x: string) }', 5)\n"
      "yes({ -1.5, true, false, 0x10 }, m '{-1.5,true,false,0x10}')\n"
      "yes(nil, m 'nil') yes({ n = 1 }, m '{ x = nil, n = 1 }')\n"
      "no({ x = 1 }, m '{ x = nil }') yes({}, m '{}') yes(7, m 'x', 7)\n"
      "yes({ { 1, 2 } }, m '{ p: { x, _ } }', { 1, 2 }, 1)\n"
      "yes({ { 2, 1 } }, { m '{ x, y } when x > y' }, 2, 1)\n"
      "no({ { 1, 2 } }, { m '{ x, y } when x > y' })\n"
      "yes({ 'b', 2 }, m \"{ 'a', x } | { 'b', x }\", 2)\n"
      "yes({ [1] = 'p', k = 1 }, m ' {\\n \\'p\\' , k = _ } ')\n"
      "yes({ whenever = 1 }, m '{ whenever = trueish }', 1)\n");
}

static void reports_mistakes_in_texts(void **state) {
  (void)state;
  run(L,
      "local function t(text, want) bad(want, m, text) end\n"
      "t(\"{ 'a', \", 'pattern:1:8: pattern expected at the end')\n"
      "t('{ x: foo }', \"pattern:1:6: unknown type 'foo'\")\n"
      "t(\"'abc\", 'pattern:1:') t('^z', \"pattern:1:2: no value 'z' was "
      "given\")\n"
      "t('{1,2', \"pattern:1:5: ',' or '}' expected at the end\")\n"
      "t('x y', \"pattern:1:3: end of the pattern expected near 'y'\")\n"
      "t('{...a, 1}', \"'...' must be the last of the sequence\")\n"
      "t('{a=1,a=2}', \"pattern:1:6: key 'a' is given twice\")\n"
      "t('x when y > 1', \"pattern:1:8: unknown name 'y'\")\n"
      "t('x when x >', 'pattern:1:11: name or value expected at the end')\n"
      "t('x\\n  when z', \"pattern:2:8: unknown name 'z'\")\n"
      "t('{\\n x,\\n y z}', \"pattern:3:4: ',' or '}' expected near 'z'\")\n"
      "t('', 'pattern:1:1: pattern expected at the end')\n"
      "t('when', \"pattern:1:1: pattern expected near 'when'\")\n"
      "t('{ x: }', \"pattern:1:6: type or pattern expected near '}'\")\n"
      "t('{ k = }', \"pattern:1:7: pattern expected near '}'\")\n"
      "t('{ [k] = 1 }', 'constant expected near')\n"
      "t(\"'\\\\q'\", 'bad escape') t('{ x | y }', 'only some alternatives')\n"
      "bad('string expected', m) bad('table expected', m, 'x', 5)\n"
      "local ok, e = pcall(load(\"actor.match '{'\", '=here'))\n"
      "assert(e:match '^here:1: pattern:1:2:')\n");
}

/* ---- clauses ------------------------------------------------------------ */

static void runs_clauses_in_order(void **state) {
  (void)state;
  run(L,
      "local c = { on({ 'add', V.x 'number', V.y 'number' }, 'x > y', h),\n"
      "  on('stop', function(msg) return 'stopped', msg end),\n"
      "  on({ 'add', V.x, V.y }, nil, function() return 'second' end),\n"
      "  after(500, print) }\n"
      "assert(try({ 'add', 2, 1 }, table.unpack(c)) == 'h')\n"
      "assert(try({ 'add', 1, 2 }, table.unpack(c)) == 'second')\n"
      "assert(select(2, try('stop', table.unpack(c))) == 'stop')\n"
      "assert(select('#', try('go', table.unpack(c))) == 0)\n"
      "local r = actor.receiver(table.unpack(c))\n"
      "assert(try({ 'add', 1, 2 }, r) == 'second')\n"
      "local n, ms, fresh, box1, box2 = info(r)\n"
      "assert(n == 3 and ms == 500 and fresh == nil and box2 == nil)\n"
      "n, ms = info(after(0.5, print)) assert(n == 0 and ms == 0.5)\n"
      "assert(select(2, info(c[1])) < 0)\n"
      /* Receivers join with further clauses. */
      "assert(try('x', actor.receiver(c[2]), on('x', h)) == 'h')\n"
      "bad('only one', info, after(1, h), after(2, h))\n"
      "bad(\"clause made by 'on'\", info, c[1], 'stop')\n"
      "bad('one pattern', info, 'a', 'b')\n"
      "bad('handler must be a function', on, 1, 2)\n"
      "bad('guard must be', on, 1, {}, h) bad('expects a pattern', on, 1)\n"
      "bad('negative', after, -1, h) bad('function expected', after, 1)\n");
}

static void knows_fresh_references(void **state) {
  (void)state;
  run(L,
      "local function fresh(...) return (select(3, info(...))) end\n"
      "assert(fresh { ref, V.x } == ref and fresh(ref) == ref)\n"
      "assert(fresh(on({ ref, V.x }, 'x > 1', h), on(ref, h)) == ref)\n"
      "assert(fresh(on({ ref }, h), on(3, h)) == nil)\n"
      "assert(fresh(on(3, h), on({ ref }, h)) == nil)\n"
      "assert(fresh { 'DOWN', ref } == nil and fresh { pid } == nil)\n"
      "assert(fresh(on({ ref }, h), mb_on(box, 'x', h)) == ref)\n"
      "assert(fresh(mb_on(box, { ref }, h)) == nil)\n");
}

static void knows_mailboxes(void **state) {
  (void)state;
  run(L,
      "local n, ms, _, a, b, c = info(mb_on(box, 'x', h), on('y', h),\n"
      "  mb_on(box, V.z, 'z > 1', h))\n"
      "assert(n == 3 and a == box and b ~= box and b and c == nil)\n"
      "assert(select('#', try('x', mb_on(box, 'x', h))) == 0)\n"
      "bad('mailbox:on', mb_on, box, 'x')\n");
}

static void travels(void **state) {
  (void)state;
  run(L,
      "assert(copy(V) == V and copy(on) == on and copy(actor) == actor)\n"
      "local p = copy(m \"{ 'add', x: integer, y: number, k = _ } when x > "
      "y\")\n"
      "yes({ 'add', 3, 1, k = 1 }, p, 3, 1) no({ 'add', 0, 1, k = 1 }, p)\n"
      "p = copy(actor.oneof({ 'a', V.q }, V._:of { V.q:of(actor.exact { 1 }) "
      "}))\n"
      "yes({ { 1 } }, p, { 1 }) yes({ 'a', 2 }, p, 2)\n"
      "local r = copy(actor.receiver(on({ 'k', V.v }, 'v > 1', h), after(5, "
      "h)))\n"
      "assert(try({ 'k', 2 }, r) == 'h') no({ 'k', 1 }, r)\n"
      "assert(select(2, info(r)) == 5)\n"
      "local serve\n"
      "serve = actor.receiver(on('x', function() return serve end))\n"
      "local s = copy(serve) assert(try('x', s) == s and s ~= serve)\n"
      "local many = {} for i = 1, 400 do\n"
      "  many[i] = on(i, function() return i end) end\n"
      "r = copy(actor.receiver(table.unpack(many))) assert(try(399, r) == "
      "399)\n"
      "local f = copy(function(msg)\n"
      "  return try(msg, on({ 'k', V.v }, function(v) return v end)) end)\n"
      "assert(f { 'k', 9 } == 9)\n"
      "fails(copy, { q = { on(lpeg.P 'a', h) } },\n"
      "  'cannot send message.q[1] (userdata lpeg-pattern)')\n"
      "bad('userdata luactor.pattern', pack, { V.x })\n"
      /* A script cannot pass its own userdata off as an object. */
      "getmetatable(io.stdout).__name = 'luactor.pattern'\n"
      "bad('cannot send', copy, io.stdout)\n"
      "getmetatable(io.stdout).__name = 'FILE*'\n"
      "assert(getmetatable(V.x) == false and getmetatable(V) == false)\n");
}

/* ---- memory ------------------------------------------------------------- */

static const char work[] =
    "local p = { 'add', V.x 'integer', { k = V.y:of({ V.z }) }, V.r '...' }\n"
    "local c = on(p, 'x > 1 and #r == 2', h)\n"
    "local r = actor.receiver(c, on('a', h), after(1, h))\n"
    "assert(try('b', on(lpeg.C 'b', h)) == 'h')\n"
    "local big = {} for i = 1, 60 do big[i] = V['n' .. i] end\n"
    "local guard = 'n1 > 0' .. (' and n1 > 0'):rep(50)\n"
    "local b = on(big, guard, h)\n"
    "assert(try({ 'add', 2, { k = { 5 } }, 1, 2 }, r) == 'h')\n"
    "assert(try('a', copy(r)) == 'h')\n";

static int do_work(lua_State *S) {
  if (luaL_dostring(S, work) != LUA_OK) {
    lua_error(S);
  }
  return 0;
}

static void survives_failing_states(void **state) {
  (void)state;
  long countdown = -1;
  lua_State *S = lua_newstate(failing_alloc, &countdown);
  open_match(S);
  run(S, work);
  int status = LUA_ERRMEM;
  long n;
  for (n = 0; status != LUA_OK; n++) {
    lua_settop(S, 0);
    lua_gc(S, LUA_GCCOLLECT);
    lua_pushcfunction(S, do_work);
    countdown = n;
    status = lua_pcall(S, 0, 0, 0);
    countdown = -1;
    la_scratch_reset(scratch);
    if (status == LUA_ERRRUN && strstr(lua_tostring(S, -1), "memory") == NULL &&
        strstr(lua_tostring(S, -1), "overflow") == NULL) {
      fail_msg("%s", lua_tostring(S, -1)); /* a stack that cannot grow */
    }
  }
  assert_true(n > 50);
  lua_close(S);
}

/* ---- speed (printed, not asserted) -------------------------------------- */

static double now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* 'code' returns the message and the pattern. */
static void measure(const char *name, const char *code) {
  const int builds = 20000, tries = 500000;
  lua_settop(L, 0);
  run(L, code);
  const double start = now_ns();
  for (int i = 0; i < builds; i++) {
    la_matcher_make(L, 2, 2);
    lua_settop(L, 2);
  }
  const double built = now_ns();
  const la_matcher_t *mt = la_matcher_make(L, 2, 2);
  la_msgview_t v;
  la_encoder_t *e = view_of(L, 1, &v);
  la_caps_t caps;
  const double before = now_ns();
  int hits = 0;
  for (int i = 0; i < tries; i++) {
    hits += la_matcher_try(mt, &v, LA_NO_ID, 0, &caps) >= 0;
  }
  const double after = now_ns();
  la_encoder_end(e);
  print_message("  %-34s build %6.0f ns  %s %6.1f ns\n", name,
                (built - start) / builds, hits != 0 ? "take  " : "reject",
                (after - before) / tries);
}

static void is_fast(void **state) {
  (void)state;
  measure("{ref, V.x}, taken", "return { ref, 5 }, { ref, V.x }");
  measure("{ref, V.x}, other tag", "return { 'no', 5 }, { ref, V.x }");
  measure("{V.t, 'x', V.r...}, other bytes",
          "return { 'aaa', 'y', { 1, 2 }, 'more' },"
          " { V.t, 'x', V.r '...' }");
  measure("{'add', number, number}",
          "return { 'add', 1, 2 }, { 'add', V.x 'number', V.y 'number' }");
  measure("the same, a guard is false",
          "return { 'add', 1, 2 },"
          " on({ 'add', V.x 'number', V.y 'number' }, 'x > y', h)");
  measure("{op = 'add', x = V.x, y = V.y}",
          "return { op = 'add', x = 1, y = 2 },"
          " { op = 'add', x = V.x, y = V.y }");
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(matches_literals),
      TEST(matches_tables),
      TEST(matches_exact_tables),
      TEST(binds_names),
      TEST(knows_types),
      TEST(takes_the_rest),
      TEST(chooses_in_order),
      TEST(matches_with_lpeg),
      TEST(matches_calls),
      TEST(follows_shared_tables),
      TEST(matches_erlang_terms),
      TEST(says_what_cannot_be_matched),
      TEST(guards_mean_what_lua_means),
      TEST(guards_report_mistakes),
      TEST(guards_may_be_lua),
      TEST(parses_texts),
      TEST(reports_mistakes_in_texts),
      TEST(runs_clauses_in_order),
      TEST(knows_fresh_references),
      TEST(knows_mailboxes),
      TEST(travels),
      TEST(survives_failing_states),
      TEST(is_fast),
  };
  scratch = la_scratch_new();
  const int failed = cmocka_run_group_tests_name("match", tests, NULL, NULL);
  la_scratch_free(scratch);
  return failed;
}

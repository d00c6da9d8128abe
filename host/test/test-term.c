/* The term codec: what travels, what comes out, what is refused. */
#include <math.h>
#include <time.h>

#include "codec.h"
#include "term/layout.h"
#include "term/plain.h"
#include "term/tag.h"

static lua_State *L;

static int setup(void **state) {
  (void)state;
  L = luaL_newstate();
  open_common(L);
  run(L,
      "package.loaded.mymod = { h = io.stdout, t = { 1 } }\n"
      "local hidden = io.stdout\n"
      "package.loaded.mymod.f = function() return hidden end\n"
      "package.loaded.pure = { f = function(x) return x end }\n"
      "package.loaded.single = function() return hidden end\n"
      "package.loaded.fetch = { receive = function(...)\n"
      "  return { n = select('#', ...), ... } end }\n");
  return 0;
}

static int teardown(void **state) {
  (void)state;
  lua_close(L);
  la_scratch_reset(scratch);
  return 0;
}

/* ---- values ------------------------------------------------------------- */

static void keeps_scalars(void **state) {
  (void)state;
  run(L,
      "for _, v in ipairs { 0, 1, 255, 256, -1, 2^31|0, -(2^31)|0,\n"
      "    2^31-1|0, -(2^31)-1|0, math.maxinteger, math.mininteger, 0.0,\n"
      "    1e308, 5e-324, 1/0, -1/0, '', 'a\\0b', ('x'):rep(8191),\n"
      "    ('y'):rep(8192), ('z'):rep(100000), true, false, pid, ref } do\n"
      "  local a, b = copy(v), unpack(pack(v))\n"
      "  assert(a == v and math.type(a) == math.type(v))\n"
      "  assert(b == v and math.type(b) == math.type(v))\n"
      "end\n"
      "assert(copy(nil) == nil and unpack(pack(nil)) == nil)\n"
      "assert(1 / copy(-0.0) == -1/0)\n");
}

static void keeps_the_bits_of_nan(void **state) {
  (void)state;
  static const uint64_t bits[] = {UINT64_C(0x7ff8000000000001),
                                  UINT64_C(0xfff8dead0000beef)};
  for (size_t i = 0; i < 2; i++) {
    double d;
    uint64_t back;
    memcpy(&d, &bits[i], sizeof d);
    lua_getglobal(L, "copy");
    lua_pushnumber(L, d);
    lua_call(L, 1, 1);
    d = lua_tonumber(L, -1);
    memcpy(&back, &d, sizeof back);
    assert_true(back == bits[i]);
  }
}

static void keeps_tables(void **state) {
  (void)state;
  run(L,
      "local function same(t)\n"
      "  assert(eq(copy(t), t) and eq(unpack(pack(t)), t))\n"
      "end\n"
      "same {} same { 1, 2, 3 } same { x = 1 } same { 1, 2, x = 3 }\n"
      "same { 1, 2, nil, 4 } same { nil, 2 } same { [0] = 0, 1, [-1] = 2 }\n"
      "same { [1.5] = 1, [true] = 2, [false] = 3, [pid] = 4 }\n"
      "same { {}, { {} }, { a = {} } }\n"
      "local u = {} u[3] = 3 u[2] = 2 u[1] = 1 same(u)\n"
      "u.k = 'v' same(u)\n"
      "local w = { n = 1 } w[2] = 2 w[1] = 1 same(w)\n"
      "local big = {} for i = 1, 1000 do big[i] = { i, k = i } end same(big)\n"
      "assert(getmetatable(copy(setmetatable({}, {}))) == nil)\n");
}

static void keeps_identity(void **state) {
  (void)state;
  run(L,
      "for _, via in ipairs { copy, function(v) return unpack(pack(v)) end } "
      "do\n"
      "  local a = { 1 }\n"
      "  local c = via { a, a, { a }, k = a }\n"
      "  assert(c[1] == c[2] and c[3][1] == c[1] and c.k == c[1])\n"
      "  local e = {} c = via { e, e } assert(c[1] == c[2])\n"
      "  local r = { x = 1 } r.me = r r[1] = r c = via(r)\n"
      "  assert(c.me == c and c[1] == c and c.x == 1)\n"
      "  local k = {} c = via { k, map = { [k] = 1 } }\n"
      "  assert(c.map[c[1]] == 1)\n"
      "  local big = {} for i = 1, 500 do big[i] = { i } end\n"
      "  for i = 1, 500 do big[i + 500] = big[i] end c = via(big)\n"
      "  for i = 1, 500 do assert(c[i] == c[i + 500] and c[i][1] == i) end\n"
      "end\n");
}

static void has_the_documented_bytes(void **state) {
  (void)state;
  run(L,
      "assert(bytes { 'ping', 300 } ==\n"
      "  '6c00000002' .. '6d0000000470696e67' .. '620000012c' .. '6a')\n"
      "assert(bytes(nil) == 'd8' and bytes(true) == 'd9')\n"
      "assert(bytes(1.5) == '463ff8000000000000')\n"
      "assert(bytes { 1, k = 2 } ==\n"
      "  'cd00000001' .. '6101' .. '7400000001' .. '6d000000016b' .. '6102')\n"
      "local a = {} assert(bytes { a, a } ==\n"
      "  '6c00000002' .. 'ca' .. 'c900000001' .. '6a')\n"
      "assert(bytes(pid) == 'c8100000000000000c')\n"
      "local function hex(s)\n"
      "  return (s:gsub('.', function(c) return ('%02x'):format(c:byte()) "
      "end))\n"
      "end\n"
      "assert(hex(pack(true)) == '83' .. '770474727565')\n"
      "assert(hex(pack(2^40|0)) == '83' .. '6e0600' .. '000000000001')\n"
      "assert(hex(pack(-1)) == '83' .. '62ffffffff')\n");
}

/* ---- functions and names ------------------------------------------------ */

static void sends_functions(void **state) {
  (void)state;
  run(L,
      "local n = 0\n"
      "local function inc() n = n + 1 return n end\n"
      "local function get() return n end\n"
      "local f = copy { inc, get }\n"
      "f[1]() f[1]() assert(f[2]() == 2 and n == 0)\n"
      "local function fact(k) return k == 0 and 1 or k * fact(k - 1) end\n"
      "assert(copy(fact)(5) == 120)\n"
      "local even, odd\n"
      "function even(k) return k == 0 or odd(k - 1) end\n"
      "function odd(k) return k ~= 0 and even(k - 1) end\n"
      "assert(copy(even)(10) and copy { odd, even }[1](3))\n"
      "local g = { fact } g[2] = g[1] local c = copy(g)\n"
      "assert(c[1] == c[2])\n"
      "local t = {} local function self() return t end t.f = self\n"
      "c = copy(self) assert(c().f == c)\n"
      "assert(copy(function(...) return ... end)(7) == 7)\n"
      "local ok, e = pcall(copy(function() error 'x' end))\n"
      "assert(e:match ':%d+: x$')\n");
}

static void sends_modules_by_name(void **state) {
  (void)state;
  run(L,
      "local mod = package.loaded.mymod\n"
      "assert(copy(print) == print and copy(string.format) == string.format)\n"
      "assert(copy(string) == string and copy { s = string }.s == string)\n"
      "assert(copy(mod) == mod and copy(mod.f) == mod.f)\n"
      "assert(copy { mod.f }[1] == mod.f)\n"
      "assert(copy(mod.t) ~= mod.t and copy(mod.t)[1] == 1)\n"
      "assert(copy(package.loaded.single) == package.loaded.single)\n"
      "local up = mod.t package.loaded.data = { x = 1 }\n"
      "local data = package.loaded.data\n"
      "assert(copy(function() return data end)() == data)\n"
      "assert(copy(function() return up end)() ~= up)\n");
}

static void gives_the_receiver_its_globals(void **state) {
  (void)state;
  run(L,
      "assert(copy(_G) == _G and copy { g = _G }.g == _G)\n"
      "local env = _ENV\n"
      "assert(copy(function() return env end)() == _G)\n"
      "function global() return 1 end\n"
      "local c = copy(global) assert(c ~= global and c() == 1)\n");
}

static void finds_functions_added_later(void **state) {
  (void)state;
  run(L,
      "local out = io.stdout\n"
      "local function probe() return out end\n"
      "pcall(copy, probe)\n"
      "local m = {} package.loaded.late = m\n"
      "function m.f() return out end\n"
      "assert(copy(m.f) == m.f)\n"
      "function m.g() return out end\n"
      "assert(copy(m.g) == m.g)\n"
      /* What a script adds to a stock library is not there elsewhere. */
      "function string.shout(s) return s:upper() .. '!' end\n"
      "local c = copy(string.shout)\n"
      "assert(c ~= string.shout and c 'a' == 'A!')\n");
}

static void says_what_cannot_travel(void **state) {
  (void)state;
  run(L,
      "local log = io.stdout\n"
      "fails(copy, function() return log end,\n"
      "  \"cannot send upvalue 'log' (userdata FILE*)\")\n"
      "local function f() return log end\n"
      "fails(copy, function() return f end,\n"
      "  \"cannot send upvalue 'f' upvalue 'log' (userdata FILE*)\")\n"
      "fails(copy, { a = { f } },\n"
      "  \"cannot send message.a[1] upvalue 'log' (userdata FILE*)\")\n"
      "local it = string.gmatch('a', 'a')\n"
      "fails(copy, { cfg = { handler = it } },\n"
      "  'cannot send message.cfg.handler (C function)')\n"
      "fails(copy, { 1, 2, coroutine.create(print) },\n"
      "  'cannot send message[3] (coroutine)')\n"
      "fails(copy, { ['odd key'] = null },\n"
      "  'cannot send message[\"odd key\"] (light userdata)')\n"
      "fails(copy, { [true] = { [1.5] = log } },\n"
      "  'cannot send message[true][1.5] (userdata FILE*)')\n"
      "fails(copy, { [log] = 1 },\n"
      "  'cannot send message key (userdata FILE*)')\n"
      "fails(copy, { 1, 2, x = { [7] = log } },\n"
      "  'cannot send message.x[7] (userdata FILE*)')\n"
      "fails(copy, log, 'cannot send message (userdata FILE*)')\n"
      "fails(pack, { print }, 'cannot pack value[1] (C function)')\n"
      "fails(pack, function() end, 'cannot pack value (function)')\n"
      "local deep = {} local d = deep\n"
      "for i = 1, 90 do d.level = {} d = d.level end d.x = log\n"
      "local ok, e = pcall(copy, deep)\n"
      "assert(e:match '^cannot send message%.%.%.' and e:match '%.x "
      "%(userd')\n");
}

static void limits_the_depth(void **state) {
  (void)state;
  run(L,
      "local root = {} local t = root\n"
      "for i = 1, 199 do t[1] = {} t = t[1] end\n"
      "copy(root) unpack(pack(root))\n"
      "t[1] = {}\n"
      "fails(copy, root, 'message nested deeper than 200 levels')\n"
      "fails(pack, root, 'value nested deeper than 200 levels')\n");
}

static void limits_the_size(void **state) {
  (void)state;
  /* One string of 64 MiB, many times: a blob is stored once, a packed string
   * every time. */
  run(L,
      "local s = ('x'):rep(1 << 26) local t = {}\n"
      "for i = 1, 17 do t[i] = s end\n"
      "assert(#copy(t) == 17)\n"
      "fails(pack, t, 'value larger than 1 GiB')\n");
}

static void transfers_objects(void **state) {
  (void)state;
  run(L,
      "local mt = {} local o = setmetatable({ 7 }, mt)\n"
      "mt.__transfer = function(self) return 'fetch', self[1], nil, { 2 } end\n"
      "local c = copy { o, o, x = { o } }\n"
      "assert(c[1] == c[2] and c.x[1] == c[1])\n"
      "assert(c[1].n == 3 and c[1][1] == 7 and c[1][2] == nil)\n"
      "assert(c[1][3][1] == 2)\n"
      "fails(pack, { o = o }, 'cannot pack value.o (object with __transfer)')\n"
      "mt.__transfer = function(self) return 'fetch', self end\n"
      "local ok, e = pcall(copy, o)\n"
      "assert(not ok and e:match 'deeper' or e:match 'itself', e)\n"
      "mt.__transfer = function() return 5 end\n"
      "ok, e = pcall(copy, o) assert(not ok and e:match 'no module name')\n"
      "mt.__transfer = function() return 'fetch', io.stdout end\n"
      "fails(copy, { o },\n"
      "  'cannot send message[1] transfer argument 1 (userdata FILE*)')\n"
      /* Nested use of the encoder, and an error that leaves it. */
      "mt.__transfer = function() return 'fetch', copy { 1, { 2 } } end\n"
      "assert(copy { o }[1][1][2][1] == 2)\n"
      "mt.__transfer = function() error 'no' end\n"
      "assert(not pcall(copy, { o }))\n"
      /* Tables that only __transfer saw are not confused with later ones. */
      "mt.__transfer = function() return 'fetch', { {} } end\n"
      "local list = {}\n"
      "for i = 1, 200 do list[i] = setmetatable({}, mt) end\n"
      "collectgarbage('generational') c = copy(list)\n"
      "for i = 1, 200 do for k = 1, i - 1 do\n"
      "  assert(c[i][1] ~= c[k][1]) end end\n");
}

/* ---- hostile bytes ------------------------------------------------------ */

static void refuses_bad_bytes(void **state) {
  (void)state;
  run(L,
      "local function bad(s, want)\n"
      "  local ok, e = pcall(unpack, s)\n"
      "  if ok or not e:find(want, 1, true) then\n"
      "    error(('%q: %s'):format(s, tostring(e)), 2)\n"
      "  end\n"
      "end\n"
      "bad('', 'not made by pack') bad('\\130', 'not made by pack')\n"
      "bad('\\131', 'end too early at 2')\n"
      "bad('\\131\\108\\255\\255\\255\\255', 'more elements than bytes')\n"
      "bad('\\131\\116\\255\\255\\255\\255', 'more elements than bytes')\n"
      "bad('\\131\\109\\255\\255\\255\\255', 'bad term at 2')\n"
      "bad('\\131\\200\\0\\0\\0\\0\\0\\0\\0\\0', 'bad identity')\n"
      "bad('\\131\\200\\112\\0\\0\\0\\0\\0\\0\\0', 'bad identity')\n"
      "for tag = 216, 230 do\n"
      "  bad('\\131' .. string.char(tag) .. ('\\0'):rep(20), '')\n"
      "end\n"
      "bad('\\131\\216', 'unknown tag at 2')\n"
      "bad('\\131\\201\\0\\0\\0\\1', 'reference to nothing')\n"
      "bad('\\131\\201\\0\\0\\0\\0', 'reference to nothing')\n"
      "bad('\\131\\201\\255\\0\\0\\0', 'reference to nothing')\n"
      "bad('\\131\\106\\106', 'bytes behind the end at 3')\n"
      "bad('\\131\\205\\0\\0\\0\\1\\97\\1\\106', 'bad end of a table')\n"
      "bad('\\131\\116\\0\\0\\0\\1\\119\\3nil\\97\\1', 'nil as a key')\n"
      "bad('\\131\\116\\0\\0\\0\\1\\207\\127\\248\\0\\0\\0\\0\\0\\0\\97\\1',\n"
      "  'NaN as a key')\n"
      "bad('\\131\\70\\127\\248\\0\\0\\0\\0\\0\\0', 'not finite')\n"
      "bad('\\131\\110\\9\\0\\0\\0\\0\\0\\0\\0\\0\\0\\1', 'beyond 64 bits')\n"
      "bad('\\131\\110\\8\\0\\255\\255\\255\\255\\255\\255\\255\\255', "
      "'beyond')\n"
      "bad('\\131\\110\\1\\2\\1', 'bad sign')\n"
      "bad('\\131' .. ('\\108\\0\\0\\0\\1'):rep(300), 'deeper than 200 "
      "levels')\n"
      "bad('\\131' .. ('\\104\\1'):rep(200) .. '\\106', 'deeper than 200')\n"
      "unpack('\\131' .. ('\\104\\1'):rep(199) .. '\\106')\n"
      /* Every prefix and every changed byte of a good one. */
      "local good = pack { 1, 'two', { k = 3.5, [pid] = {} }, 2^40|0, -1/0 }\n"
      "for i = 0, #good - 1 do\n"
      "  assert(not pcall(unpack, good:sub(1, i)))\n"
      "end\n"
      "for i = 1, #good do for b = 0, 255 do\n"
      "  pcall(unpack, good:sub(1, i - 1) .. string.char(b) .. good:sub(i + "
      "1))\n"
      "end end\n");
}

static void reads_what_erlang_writes(void **state) {
  (void)state;
  run(L,
      "assert(unpack '\\131\\119\\4true' == true)\n"
      "assert(unpack '\\131\\118\\0\\5false' == false)\n"
      "assert(tostring(unpack '\\131\\119\\2ok') == 'ok')\n"
      "assert(eq(unpack '\\131\\104\\2\\97\\1\\97\\2', { 1, 2 }))\n"
      "assert(eq(unpack '\\131\\107\\0\\2\\1\\2', { 1, 2 }))\n"
      "assert(unpack '\\131\\110\\8\\1\\0\\0\\0\\0\\0\\0\\0\\128' ==\n"
      "  math.mininteger)\n"
      "assert(unpack '\\131\\110\\10\\0\\5\\0\\0\\0\\0\\0\\0\\0\\0\\0' == "
      "5)\n");
}

/* ---- terms read in place ------------------------------------------------ */

/* equal(a, b): la_term_equal of two encoded values */
static int l_equal(lua_State *S) {
  la_encoder_t *a = encode_or_raise(S, 1, LA_TERM_LOCAL);
  la_encoder_t *b = encode_or_raise(S, 2, LA_TERM_LOCAL);
  la_term_t ta, tb;
  la_encoder_term(a, &ta);
  la_encoder_term(b, &tb);
  const bool same = la_term_equal(&ta, 0, &tb, 0);
  assert_true(same == la_term_equal(&tb, 0, &ta, 0));
  const uint32_t tag_a = la_term_tag(ta.bytes, ta.size);
  const uint32_t tag_b = la_term_tag(tb.bytes, tb.size);
  assert_true(!same || tag_a == tag_b);
  assert_ptr_equal(la_term_skip(ta.bytes, ta.bytes + ta.size),
                   ta.bytes + ta.size);
  la_encoder_end(b);
  la_encoder_end(a);
  lua_pushboolean(S, same);
  return 1;
}

static void compares_by_structure(void **state) {
  (void)state;
  lua_register(L, "equal", l_equal);
  run(L,
      "local function yes(a, b) assert(equal(a, b)) end\n"
      "local function no(a, b) assert(not equal(a, b)) end\n"
      "yes(1, 1.0) no(1, 1.5) no(1, '1') yes('a', 'a') no(true, 'true')\n"
      "no(math.maxinteger, 2.0^63) yes(math.mininteger, -2.0^63)\n"
      "no(0/0, 0/0) yes(nil, nil) no(nil, false) yes(pid, pid) no(pid, ref)\n"
      "yes({ 1, a = { 2 } }, { 1.0, a = { 2 } }) no({ 1 }, { 1, 2 })\n"
      "no({ a = 1 }, { b = 1 }) no({ a = 1 }, { a = 2 }) no({}, { a = 1 })\n"
      "yes(('x'):rep(9000), ('x'):rep(9000))\n"
      "no(('x'):rep(9000), ('x'):rep(8999) .. 'y')\n"
      "local a, b = {}, {}\n"
      "for i = 1, 300 do a['k' .. i] = { i } b['k' .. 301 - i] = { 301 - i } "
      "end\n"
      "yes(a, b) b.k7[1] = 8 no(a, b)\n"
      "yes({ [{ 1 }] = 1, [{ 2 }] = 2 }, { [{ 2 }] = 2, [{ 1 }] = 1 })\n"
      "yes(print, print) no(print, type) yes(string, string)\n"
      "no(function() end, function() end)\n"
      "local s = { 1 } yes({ s, s }, { { 1 }, { 1 } })\n"
      "local c, d = {}, {} c[1] = c d[1] = { d }\n"
      "yes(c, d) d[1][2] = 1 no(c, d)\n"
      /* A graph of 2^60 paths. */
      "local p, q = {}, {}\n"
      "for i = 1, 60 do p, q = { p, p }, { q, q } end yes(p, q)\n");
}

static void prints_for_reports(void **state) {
  (void)state;
  run(L,
      "assert(show { 'error', 'x', 3, pid, 2.0, { k = true } } ==\n"
      "  \"{'error', 'x', 3, <0.12>, 2.0, {k = true}}\")\n"
      "assert(show { ['odd key'] = 1 } == \"{['odd key'] = 1}\")\n"
      "assert(show \"it's\\n\" == [['it\\'s\\n']])\n"
      "assert(show { 1, k = 0/0 } == '{1, k = nan}')\n"
      "assert(show(print) == 'function' and show(_G) == '_G')\n"
      "local t = {} for i = 1, 100 do t[i] = i end\n"
      "assert(show(t):match ', %.%.%.}$')\n"
      "t = {} t[1] = t assert(#show(t) < 60)\n"
      "assert(show(('x'):rep(500), 20) == \"'\" .. ('x'):rep(16) .. '...')\n"
      "assert(show('abc', 0) == '')\n");
}

static void builds_lists_from_pieces(void **state) {
  (void)state;
  la_encoder_t *in = la_encoder_begin(scratch, LA_TERM_LOCAL);
  lua_pushlstring(L, "", 0);
  run(L, "return { ('b'):rep(10000), 5 }");
  assert_true(la_encode(in, L, -1, "message"));
  la_term_t t;
  la_encoder_term(in, &t);
  assert_int_equal(t.nblobs, 1);
  la_encoder_t *e = la_encoder_begin(scratch, LA_TERM_LOCAL);
  run(L, "return ('a'):rep(10000)");
  assert_true(la_encode_list(e, 6) && la_encode(e, L, -1, "x") &&
              la_encode_term(e, &t) && la_encode_nil(e) &&
              la_encode_id(e, la_id_counted(LA_ID_REF, 7)) &&
              la_encode_int(e, -3) && la_encode_str(e, "s", 1) &&
              la_encode_list_end(e));
  la_term_t out;
  la_encoder_term(e, &out);
  assert_int_equal(out.nblobs, 2);
  assert_true(la_decode(L, &out, LA_TERM_LOCAL));
  lua_setglobal(L, "t");
  run(L,
      "assert(t[1] == ('a'):rep(10000) and t[2][1] == ('b'):rep(10000))\n"
      "assert(t[2][2] == 5 and t[3] == nil and t[4] == ref)\n"
      "assert(t[5] == -3 and t[6] == 's')\n");
  /* Ending the lower one takes the abandoned one along. */
  la_encoder_end(in);
}

/* One value, and the list of it and 'x', both ways; then with a byte too few. */
static void check_plain(lua_State *S, int idx, bool inside) {
  uint8_t out[2048];
  la_encoder_t *e = encode_or_raise(S, idx, LA_TERM_LOCAL);
  la_term_t t;
  la_encoder_term(e, &t);
  assert_ptr_equal(la_plain_put(S, idx, out, out + t.size + 8, inside),
                   out + t.size);
  assert_memory_equal(out, t.bytes, t.size);
  assert_null(la_plain_put(S, idx, out, out + t.size - 1, inside));
  la_encoder_end(e);

  lua_settop(S, idx);
  lua_pushliteral(S, "x");
  lua_createtable(S, 2, 0);
  for (int i = 1; i <= 2; i++) {
    lua_pushvalue(S, idx + i - 1);
    lua_rawseti(S, -2, i);
  }
  e = encode_or_raise(S, -1, LA_TERM_LOCAL);
  la_encoder_term(e, &t);
  assert_ptr_equal(
      la_plain_put_list(S, idx, idx + 1, out, out + t.size + 8, inside),
      out + t.size);
  assert_memory_equal(out, t.bytes, t.size);
  assert_null(
      la_plain_put_list(S, idx, idx + 1, out, out + t.size - 1, inside));
  la_encoder_end(e);
}

static void writes_plain_values(bool inside) {
  run(L, "t = { true, false, 0, 1, -1, 255, 256, 2^31, -2^31 - 1, 2^31 // 1,"
         " math.mininteger, math.maxinteger, 2147483647, -2147483648,"
         " 2147483648, 1.5, -0.0, 1/0, -1/0, 'x', '' }"
         "for i = 1, 70 do t[#t + 1] = ('abcdefg'):rep(i):sub(1, i) end "
         "t[#t + 1] = ('y'):rep(1024)"
         "t[#t + 1] = {} t[#t + 1] = { 'add', 1, 2.5, true }"
         "t[#t + 1] = table.pack(table.unpack({ 1, 2, 3, 4, 5 }))"
         "t[#t].n = nil");
  lua_getglobal(L, "t");
  const lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
  assert_true(n > 80);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, 1, i);
    check_plain(L, 2, inside);
    lua_settop(L, 1);
  }
  for (int kind = LA_ID_PID; kind <= LA_ID_POOL; kind++) {
    la_push_id(L, la_id_make((la_id_kind_t)kind, 77, 5));
    check_plain(L, 2, inside);
    lua_settop(L, 1);
  }
  lua_settop(L, 0);
}

static void leaves_other_values(bool inside) {
  uint8_t out[64];
  run(L, "t = { print, coroutine.create(print), io.stdout, { {} },"
         " { 1, nil, 3 }, { 1, x = 1 }, { [2] = 1 }, { print },"
         " setmetatable({ 1 }, {}), ('x'):rep(100), { 1, ('x'):rep(90) } }");
  lua_getglobal(L, "t");
  const lua_Integer n = (lua_Integer)lua_rawlen(L, 1);
  assert_int_equal(n, 11);
  for (lua_Integer i = 1; i <= n + 1; i++) { /* the last is nil */
    lua_rawgeti(L, 1, i);
    assert_null(la_plain_put(L, 2, out, out + sizeof out, inside));
    assert_null(la_plain_put_list(L, 2, 2, out, out + sizeof out, inside));
    lua_settop(L, 1);
  }
  lua_pushlightuserdata(L, NULL);
  assert_null(la_plain_put(L, 2, out, out + sizeof out, inside));
  lua_createtable(L, 0, 0);
  lua_pushvalue(L, -1);
  assert_non_null(la_plain_put_list(L, 3, 3, out, out + sizeof out, inside));
  assert_null(la_plain_put_list(L, 3, 4, out, out + sizeof out, inside));
  lua_settop(L, 0);
}

static void writes_plain_values_alike(void **state) {
  (void)state;
  writes_plain_values(false);
  if (la_layout_check()) {
    writes_plain_values(true);
  }
}

static void leaves_other_values_to_the_encoder(void **state) {
  (void)state;
  leaves_other_values(false);
  if (la_layout_check()) {
    leaves_other_values(true);
  }
}

static void shares_over_one_encoder(void **state) {
  (void)state;
  run(L, "t = { 1 } return t");
  la_encoder_t *e = la_encoder_begin(scratch, LA_TERM_LOCAL);
  assert_true(la_encode_list(e, 2) && la_encode(e, L, -1, "m") &&
              la_encode(e, L, -1, "m") && la_encode_list_end(e));
  la_term_t out;
  la_encoder_term(e, &out);
  assert_true(la_decode(L, &out, LA_TERM_LOCAL));
  la_encoder_end(e);
  lua_setglobal(L, "t");
  run(L, "assert(t[1] == t[2])");
}

static void knows_texts(void **state) {
  (void)state;
  static const uint8_t atom[] = {119, 4, 'k', 'i', 'l', 'l'};
  static const uint8_t string[] = {109, 0, 0, 0, 4, 'k', 'i', 'l', 'l'};
  const la_term_t a = {atom, sizeof atom, NULL, 0};
  const la_term_t s = {string, sizeof string, NULL, 0};
  assert_true(la_term_is_text(&a, "kill") && la_term_is_text(&s, "kill"));
  assert_false(la_term_is_text(&s, "killed") || la_term_is_text(&s, "kil"));
  assert_true(la_term_equal(&a, 0, &s, 0));
  assert_int_equal(la_term_tag(atom, sizeof atom),
                   la_term_tag(string, sizeof string));
}

static void skips_nothing_malformed(void **state) {
  (void)state;
  static const uint8_t list[] = {108, 0, 0, 0, 2, 97, 1, 97, 2, 106};
  for (size_t n = 0; n < sizeof list; n++) {
    assert_null(la_term_skip(list, list + n));
  }
  assert_ptr_equal(la_term_skip(list, list + sizeof list),
                   list + sizeof list);
}

/* ---- captures ----------------------------------------------------------- */

static void decodes_captures_with_identity(void **state) {
  (void)state;
  /* { o, { o } } with o.up leading to the second element. */
  run(L, "local o = { 1 } local w = { o } o.up = w return { o, w, 'end' }");
  la_encoder_t *e = la_encoder_begin(scratch, LA_TERM_LOCAL);
  assert_true(la_encode(e, L, -1, "m"));
  la_term_t t;
  la_encoder_term(e, &t);
  const uint32_t first = 5;
  const uint32_t second =
      (uint32_t)(la_term_skip(t.bytes + first, t.bytes + t.size) - t.bytes);
  const la_span_t spans[] = {{second, 0, false}, {first, 0, false},
                             {first, 3, true}};
  const int top = lua_gettop(L);
  assert_true(la_decode_spans(L, &t, spans, 3));
  assert_int_equal(lua_gettop(L), top + 3);
  lua_setglobal(L, "rest");
  lua_setglobal(L, "o");
  lua_setglobal(L, "w");
  run(L, "assert(w[1] == o and o.up == w and rest[1] == o)\n"
         "assert(rest[2] == w and rest[3] == 'end' and o[1] == 1)");
  la_encoder_end(e);
}

/* ---- memory ------------------------------------------------------------- */

static const char rich[] =
    "local a = { 1, 'x', k = 2.5 }\n"
    "local big = ('x'):rep(9000)\n"
    "local n = 0\n"
    "local t = { a, a, big, big .. 'y', { [a] = pid }, print, string,\n"
    "  function() n = n + 1 return n, a end, function() return n end }\n"
    "for i = 1, 40 do t[#t + 1] = { i } end\n"
    "return t";

static void survives_failing_encoders(void **state) {
  (void)state;
  run(L, rich);
  long n = 0;
  for (bool done = false; !done; n++) {
    la_scratch_t *s = la_scratch_new();
    la_scratch_fail_after(s, n);
    la_encoder_t *e = la_encoder_begin(s, LA_TERM_LOCAL);
    if (e != NULL) {
      const int top = lua_gettop(L);
      done = la_encode(e, L, -1, "message");
      if (!done) {
        assert_int_equal(lua_gettop(L), top + 1);
        assert_string_equal(lua_tostring(L, -1), "not enough memory");
        lua_pop(L, 1);
      }
      la_encoder_end(e);
    }
    la_scratch_free(s);
  }
  assert_true(n > (direct ? 2 : 10)); /* the API stands in for memory */
}

static int roundtrip(lua_State *S) {
  if (luaL_dostring(S, rich) != LUA_OK) {
    lua_error(S);
  }
  lua_replace(S, 1);
  lua_settop(S, 1);
  lua_pushcfunction(S, l_copy);
  lua_pushvalue(S, 1);
  lua_call(S, 1, 1);
  return 1;
}

static void survives_failing_states(void **state) {
  (void)state;
  long countdown = -1;
  lua_State *S = lua_newstate(failing_alloc, &countdown);
  assert_non_null(S);
  open_common(S);
  /* Stock Lua keeps a half-made metatable when its first string buffer runs
   * out of memory; make it before. */
  run(S, "return ('x'):rep(9000)");
  int status = LUA_ERRMEM;
  long n;
  for (n = 0; status != LUA_OK; n++) {
    lua_settop(S, 0);
    lua_gc(S, LUA_GCCOLLECT);
    lua_pushcfunction(S, roundtrip);
    lua_pushnil(S);
    countdown = n;
    status = lua_pcall(S, 1, 1, 0);
    countdown = -1;
    la_scratch_reset(scratch);
    if (status == LUA_ERRRUN && strstr(lua_tostring(S, -1), "memory") == NULL &&
        strstr(lua_tostring(S, -1), "overflow") == NULL) {
      fail_msg("%s", lua_tostring(S, -1)); /* a stack that cannot grow */
    }
  }
  assert_true(n > 20);
  lua_close(S);
}

/* ---- speed (printed, not asserted) -------------------------------------- */

static double now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void measure(const char *name, const char *code, int n) {
  run(L, code);
  const double start = now_ns();
  for (int i = 0; i < n; i++) {
    la_encoder_end(encode_or_raise(L, -1, LA_TERM_LOCAL));
  }
  const double encoded = now_ns();
  la_encoder_t *e = encode_or_raise(L, -1, LA_TERM_LOCAL);
  la_term_t t;
  la_encoder_term(e, &t);
  const double before = now_ns();
  for (int i = 0; i < n; i++) {
    la_decode(L, &t, LA_TERM_LOCAL);
    lua_pop(L, 1);
  }
  const double after = now_ns();
  la_encoder_end(e);
  print_message("  %-20s encode %8.1f ns  decode %8.1f ns\n", name,
                (encoded - start) / n, (after - before) / n);
}

static void is_fast(void **state) {
  (void)state;
  measure("{'ping', 12345}", "return { 'ping', 12345 }", 200000);
  measure("{'add', pid, 1, 2}", "return { 'add', pid, 1, 2 }", 200000);
  measure("100 fields",
          "local t = {} for i = 1, 100 do t['field' .. i] = i end return t",
          5000);
  measure("1000 integers",
          "local t = {} for i = 1, 1000 do t[i] = i end return t", 1000);
  measure("64 KB string", "return ('x'):rep(65536)", 1000);
  measure("closure",
          "local y, s = 1, string return function() return y, s end", 20000);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(keeps_scalars),
      TEST(keeps_the_bits_of_nan),
      TEST(keeps_tables),
      TEST(keeps_identity),
      TEST(has_the_documented_bytes),
      TEST(sends_functions),
      TEST(sends_modules_by_name),
      TEST(gives_the_receiver_its_globals),
      TEST(finds_functions_added_later),
      TEST(says_what_cannot_travel),
      TEST(limits_the_depth),
      TEST(limits_the_size),
      TEST(transfers_objects),
      TEST(refuses_bad_bytes),
      TEST(reads_what_erlang_writes),
      TEST(compares_by_structure),
      TEST(prints_for_reports),
      TEST(builds_lists_from_pieces),
      TEST(writes_plain_values_alike),
      TEST(leaves_other_values_to_the_encoder),
      TEST(shares_over_one_encoder),
      TEST(knows_texts),
      TEST(skips_nothing_malformed),
      TEST(decodes_captures_with_identity),
      TEST(survives_failing_encoders),
      TEST(survives_failing_states),
      TEST(is_fast),
  };
  scratch = la_scratch_new();
  int failed = cmocka_run_group_tests_name("term", tests, NULL, NULL);
  direct = true;
  failed += cmocka_run_group_tests_name("term, direct", tests, NULL, NULL);
  la_scratch_free(scratch);
  return failed;
}

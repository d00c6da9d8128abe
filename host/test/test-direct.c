/* Tables read and written in Lua's memory: the same bytes and the same values
 * as through the API, whatever the tables look like. */
#include "codec.h"
#include "term/encoder.h"
#include "term/layout.h"
#include "term/shape.h"

static lua_State *L;

/* api_bytes(v [, packed]), direct_bytes(v [, packed]): what is written. */
static int push_bytes(lua_State *S, la_encoder_t *e) {
  la_term_t t;
  la_encoder_term(e, &t);
  lua_pushlstring(S, (const char *)t.bytes, t.size);
  la_encoder_end(e);
  return 1;
}

static la_term_mode_t mode_at(lua_State *S, int idx) {
  return lua_toboolean(S, idx) ? LA_TERM_PACKED : LA_TERM_LOCAL;
}

static int l_api_bytes(lua_State *S) {
  la_encoder_t *e = la_encoder_begin(scratch, mode_at(S, 2));
  if (!la_enc_value(e, S, 1)) {
    la_encoder_end(e);
    return luaL_error(S, "not encoded");
  }
  return push_bytes(S, e);
}

/* nil for what has to go through the API. */
static int l_direct_bytes(lua_State *S) {
  la_encoder_t *e = la_encoder_begin(scratch, mode_at(S, 2));
  if (!la_enc_direct(e, S, la_ltable_at(S, 1))) {
    la_encoder_end(e);
    return 0;
  }
  return push_bytes(S, e);
}

/* blobs(v): the numbers of the blobs that v is sent with. */
static int l_blobs(lua_State *S) {
  la_encoder_t *e = encode_or_raise(S, 1, LA_TERM_LOCAL);
  la_term_t t;
  la_encoder_term(e, &t);
  const uint32_t n = t.nblobs;
  luaL_checkstack(S, (int)n, NULL);
  for (uint32_t i = 0; i < n; i++) {
    lua_pushinteger(S, (lua_Integer)t.blobs[i]->number);
  }
  la_encoder_end(e);
  return (int)n;
}

/* Does the codec have a shape of so many pairs? */
static int l_has_shape(lua_State *S) {
  const la_codec_t *c = la_codec_of(S);
  bool found = false;
  for (int i = 0; i < LA_SHAPES; i++) {
    const la_shape_t *s = c->slot[i].shape;
    found = found || (s != NULL && s->n == lua_tointeger(S, 1));
  }
  lua_pushboolean(S, found);
  return 1;
}

static const char helpers[] =
    "function both(t)\n"
    "  for _, packed in ipairs { false, true } do\n"
    "    local d = direct_bytes(t, packed)\n"
    "    assert(d == nil or d == api_bytes(t, packed))\n"
    "  end\n"
    "  return direct_bytes(t) ~= nil\n"
    "end\n"
    "function same(t)\n"
    "  assert(eq(copy(t), t) and eq(unpack(pack(t)), t))\n"
    "end\n"
    "local scalars = { 0, 1, 255, 256, -1, 2^31|0, 2^31-1|0, -(2^31)|0,\n"
    "  math.maxinteger, math.mininteger, 0.5, -0.0, 1/0, 2^53, true, false,\n"
    "  '', 'x', 'seven77', 'eight888', 'nine99999', ('s'):rep(16),\n"
    "  ('s'):rep(17), ('s'):rep(40), ('l'):rep(41), ('l'):rep(300),\n"
    "  ('b'):rep(8191), ('b'):rep(8192), pid, ref }\n"
    "function scalar() return scalars[math.random(#scalars)] end\n"
    "function tree(depth)\n"
    "  local t = {}\n"
    "  for i = 1, math.random(0, 12) do\n"
    "    t[i] = depth > 0 and math.random(4) == 1 and tree(depth - 1)\n"
    "      or scalar()\n"
    "  end\n"
    "  for _ = 1, math.random(0, 3) - 1 do t[math.random(20)] = nil end\n"
    "  if math.random(2) == 1 then\n"
    "    for _ = 1, math.random(0, 12) do\n"
    "      t['k' .. math.random(20)] = math.random(4) == 1 and depth > 0\n"
    "        and tree(depth - 1) or scalar()\n"
    "    end\n"
    "    for _ = 1, math.random(0, 3) do t[scalar()] = scalar() end\n"
    "    for _ = 1, math.random(0, 2) do t[math.random(-2, 40)] = 1 end\n"
    "  end\n"
    "  if math.random(5) == 1 then t.me = t end\n"
    "  return t\n"
    "end\n";

static int setup(void **state) {
  (void)state;
  L = luaL_newstate();
  direct = true;
  open_common(L);
  lua_register(L, "api_bytes", l_api_bytes);
  lua_register(L, "direct_bytes", l_direct_bytes);
  lua_register(L, "has_shape", l_has_shape);
  lua_register(L, "blobs", l_blobs);
  run(L, helpers);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  lua_close(L);
  la_scratch_reset(scratch);
  return 0;
}

/* If this fails, the Lua library is one that la_layout_check does not know:
 * all works, but slower. */
static void knows_this_lua(void **state) {
  (void)state;
  assert_true(la_layout_check());
}

static void writes_the_same_bytes(void **state) {
  (void)state;
  run(L,
      "assert(both {} and both { 1, 2, 3 } and both { x = 1 })\n"
      "assert(both { 1, 2, x = 3 } and both { 1, 2, nil, 4 })\n"
      "assert(both { nil, 2 } and both { { { 1 } }, { a = { 2 } } })\n"
      "local t = { 1, 2, 3 } t[3] = nil assert(both(t) and both { t, t })\n"
      "t = {} for i = 1, 9 do t[i] = i end\n"
      "for i = 9, 1, -1 do t[i] = nil assert(#t == i - 1 and both(t)) end\n"
      "t.me = t both(t) t[1] = t both(t)\n"
      "t = { [1] = 'hash' } both(t) t[2] = 'x' both(t) same(t)\n"
      "t = {} for i = 70000, 1, -1 do t[i] = i end both(t) same(t)\n"
      "local keys = { 1 } both { [keys] = keys, [1.5] = 2, [true] = 3 }\n"
      "math.randomseed(7, 7)\n"
      "local n = 0\n"
      "for _ = 1, 3000 do if both(tree(3)) then n = n + 1 end end\n"
      "assert(n > 2000)\n");
}

static void leaves_the_rest_to_the_api(void **state) {
  (void)state;
  run(L,
      "local mt = { __transfer = function() return 'fetch', 1 end }\n"
      "assert(not direct_bytes { setmetatable({}, mt) })\n"
      "mt.__transfer = nil assert(both { setmetatable({}, mt) })\n"
      "local class = { __transfers = 1, __index = 2, ['a b'] = print }\n"
      "for i = 1, 40 do class['m' .. i] = print end\n"
      "local list = {}\n"
      "for i = 1, 30 do list[i] = setmetatable({ i, x = i }, class) end\n"
      "assert(both(list) and both(setmetatable({}, { 1, 2, 3 })))\n"
      "assert(getmetatable(copy(list)[3]) == nil)\n"
      "class.__transfer = mt.__index assert(both(list))\n"
      "class.__transfer = print assert(not direct_bytes(list))\n"
      "assert(not direct_bytes { setmetatable({}, { [pid] = 1 }) })\n"
      "same { [pid] = { pid } }\n"
      "assert(not direct_bytes { print } and not direct_bytes { io.stdout })\n"
      "assert(not direct_bytes { null } and not direct_bytes(_G))\n"
      "local nest = {} for _ = 1, 199 do nest = { nest } end\n"
      "assert(both(nest)) assert(not direct_bytes { nest })\n"
      "fails(copy, { a = { nest } },\n"
      "  'message nested deeper than 200 levels')\n"
      "fails(copy, { 1, { k = null } },\n"
      "  'cannot send message[2].k (light userdata)')\n"
      "local big = ('x'):rep(9000)\n"
      "local c = copy { big, big, copy, { big } }\n"
      "assert(c[1] == big and c[2] == big and c[3] == copy)\n");
}

/* Arguments that share a table, one of which needs the API. */
static void keeps_identity_over_both_ways(void **state) {
  (void)state;
  run(L,
      "local a = { 1 }\n"
      "for _, t in ipairs { { a, { a, print } }, { print, a, a },\n"
      "    { a, { k = a }, string } } do\n"
      "  local c = copy(t)\n"
      "  assert(type(c) == 'table')\n"
      "end\n"
      "local c = copy { a, { a, print }, k = a }\n"
      "assert(c[1] == c[2][1] and c.k == c[1] and c[2][2] == print)\n");
}

static void builds_the_same_values(void **state) {
  (void)state;
  run(L,
      "math.randomseed(3, 5)\n"
      "local function show(v, seen)\n"
      "  if type(v) ~= 'table' then return (math.type(v) or '') .. "
      "tostring(v) end\n"
      "  if seen[v] then return '#' .. seen[v] end\n"
      "  seen.n = seen.n + 1 seen[v] = seen.n\n"
      "  local keys, out = {}, {}\n"
      "  for k in pairs(v) do keys[#keys + 1] = k end\n"
      "  table.sort(keys, function(a, b)\n"
      "    return type(a) .. tostring(a) < type(b) .. tostring(b) end)\n"
      "  for i, k in ipairs(keys) do\n"
      "    out[i] = show(k, seen) .. '=' .. show(v[k], seen)\n"
      "  end\n"
      "  return '{' .. table.concat(out, ',') .. '}'\n"
      "end\n"
      "for _ = 1, 1500 do\n"
      "  local t = tree(3)\n"
      "  local want = show(t, { n = 0 })\n"
      "  assert(show(copy(t), { n = 0 }) == want)\n"
      "  assert(show(unpack(pack(t)), { n = 0 }) == want)\n"
      "end\n");
}

/* ---- shapes ------------------------------------------------------------- */

static const char records[] =
    "function record(i)\n"
    "  return { id = i, name = 'n' .. i, ok = i % 2 == 0, ratio = i / 4,\n"
    "    from = pid, ['a longer key, of thirty bytes'] = { i, { i } },\n"
    "    text = ('x'):rep(i % 60), big = ('y'):rep(8192 + i % 3) }\n"
    "end\n";

static void learns_shapes(void **state) {
  (void)state;
  run(L, records);
  run(L,
      "assert(not has_shape(8))\n"
      "for i = 1, 200 do local r = record(i) same(r) end\n"
      "assert(has_shape(8))\n"
      "local list = {} for i = 1, 100 do list[i] = record(i) end same(list)\n"
      /* What is made from a shape is a table like any other. */
      "local c = copy(record(7))\n"
      "for k in pairs(c) do c[k] = nil end assert(next(c) == nil)\n"
      "for i = 1, 50 do c[i] = i c['k' .. i] = i end\n"
      "assert(#c == 50 and c.k50 == 50 and c.id == nil)\n"
      "assert(copy(record(8)).id == 8)\n");
}

/* As many pairs and the same first key, then others. */
static void notices_other_keys(void **state) {
  (void)state;
  run(L,
      "local function text(keys)\n"
      "  local s = {}\n"
      "  for i, k in ipairs(keys) do\n"
      "    s[i] = 'm' .. ('>I4'):pack(#k) .. k .. 'a' .. string.char(i)\n"
      "  end\n"
      "  return '\\x83t' .. ('>I4'):pack(#keys) .. table.concat(s)\n"
      "end\n"
      "local function try(keys)\n"
      "  local want = {}\n"
      "  for i, k in ipairs(keys) do want[k] = i end\n"
      "  assert(eq(unpack(text(keys)), want))\n"
      "end\n"
      "for _ = 1, 5 do try { 'a', 'b', 'c', 'dddddddd' } end\n"
      "assert(has_shape(4))\n"
      "try { 'a', 'b', 'c', 'ddddddde' } try { 'a', 'b', 'c', 'ddddddd' }\n"
      "try { 'a', 'x', 'c', 'dddddddd' } try { 'a', 'b', 'c', '' }\n"
      "try { 'a', 'b', 'c', ('d'):rep(60) } try { 'a', 'a', 'a', 'a' }\n"
      "try { 'a', 'b', 'a', 'dddddddd' }\n"
      "for i = 1, 500 do try { 'a', 'b', 'c', 'd' .. i } end\n"
      "try { 'a', 'b', 'c', 'dddddddd' }\n"
      /* One key twice has no shape. */
      "for _ = 1, 50 do try { 'twice', 'y', 'y', 'z', 'q' } end\n"
      "assert(not has_shape(5))\n"
      /* Cut off in the middle, the bytes do not end in a key. */
      "local whole = text { 'a', 'b', 'c', 'dddddddd' }\n"
      "for i = 1, #whole - 1 do assert(not pcall(unpack, whole:sub(1, i))) "
      "end\n");
}

/* A map within a map of the same hash, which takes the shape's place while it
 * is in use. */
static void survives_nested_shapes(void **state) {
  (void)state;
  run(L, records);
  run(L,
      "local function nest(i, depth)\n"
      "  return { first = depth > 0 and nest(i, depth - 1) or i,\n"
      "    second = depth > 0 and nest(i + 1, depth - 1) or tostring(i) }\n"
      "end\n"
      "local function other(i, k)\n"
      "  return { first = i, [k] = i > 0 and other(i - 1, k .. i) or 'x' }\n"
      "end\n"
      "for i = 1, 300 do\n"
      "  same(nest(i, 4)) same(other(i % 7, 'k' .. i % 5))\n"
      "  same { record(i), nest(i, 2), other(3, 'q') }\n"
      "end\n");
}

static void survives_any_collector(void **state) {
  (void)state;
  run(L, records);
  run(L,
      "local kept = {}\n"
      "for _, mode in ipairs { 'incremental', 'generational' } do\n"
      "  collectgarbage(mode)\n"
      "  for i = 1, 3000 do\n"
      "    if i % 3 == 0 then collectgarbage('step', 1) end\n"
      "    local r = record(i)\n"
      "    local c = copy { r, { r.name, i } }\n"
      "    kept[i % 100] = { c, r }\n"
      "    local k = kept[math.random(0, 99)]\n"
      "    assert(not k or eq(k[1][1], k[2]) and k[1][2][1] == k[2].name)\n"
      "  end\n"
      "end\n"
      "collectgarbage 'incremental'\n"
      "for i = 1, 300 do\n"
      "  collectgarbage()\n"
      "  same(record(i)) same { [tostring(i)] = i, x = i }\n"
      "end\n");
}

/* A module's receive function runs while the maps around are unfinished. */
static void survives_code_in_between(void **state) {
  (void)state;
  run(L,
      "package.loaded.busy = { receive = function(i)\n"
      "  for k = 1, 4 do\n"
      "    same { first = k, ['x' .. i * k % 11] = k }\n"
      "    collectgarbage()\n"
      "  end\n"
      "  return i\n"
      "end }\n"
      "local mt = { __transfer = function(o) return 'busy', o.i end }\n"
      "local obj = setmetatable({ i = 1 }, mt)\n"
      "for i = 1, 60 do\n"
      "  obj.i = i\n"
      "  local c = copy { first = obj, second = 'two', third = { obj } }\n"
      "  assert(c.first == i and c.second == 'two' and c.third[1] == i)\n"
      "  local me = { 1, 2, 3, 4, obj, 6, 7 } me[8] = me\n"
      "  c = copy(me) assert(c[5] == i and c[7] == 7 and c[8] == c)\n"
      "end\n");
}

static int l_record_copies(lua_State *S) {
  run(S, records);
  run(S, "for i = 1, 6 do same { record(i), { x = i, y = 'y' .. i } } end");
  return 0;
}

static void survives_failing_states(void **state) {
  (void)state;
  long countdown = -1;
  lua_State *S = lua_newstate(failing_alloc, &countdown);
  assert_non_null(S);
  open_common(S);
  run(S, helpers);
  run(S, records);
  run(S,
      "function go()\n"
      "  local big = ('b'):rep(9000)\n"
      "  for i = 1, 6 do\n"
      "    local c = copy { { id = i, name = big, x = { i } },\n"
      "      { y = i, z = 'z' } }\n"
      "    assert(c[1].name == big and c[1].id == i and c[2].z == 'z')\n"
      "  end\n"
      "end\n");
  int status = LUA_ERRMEM;
  long n;
  for (n = 0; status != LUA_OK; n++) {
    lua_settop(S, 0);
    lua_gc(S, LUA_GCCOLLECT);
    lua_getglobal(S, "go");
    countdown = n;
    status = lua_pcall(S, 0, 0, 0);
    countdown = -1;
    la_scratch_reset(scratch);
  }
  assert_true(n > 3);
  lua_settop(S, 0);
  lua_pushcfunction(S, l_record_copies);
  assert_int_equal(lua_pcall(S, 0, 0, 0), LUA_OK);
  lua_close(S);
}

/* ---- large strings ------------------------------------------------------ */

static void sends_a_string_again(void **state) {
  (void)state;
  run(L,
      "collectgarbage 'stop'\n" /* a collection makes it forget */
      "local s = ('s'):rep(10000)\n"
      "local n = blobs(s)\n"
      "assert(n ~= 0 and blobs(s) == n and blobs { 1, { s } } == n)\n"
      "assert(blobs(('s'):rep(10000)) ~= n and blobs(s) == n)\n"
      "local t = { ('t'):rep(9000), k = { ('u'):rep(9000) } }\n"
      "local a, b = blobs(t) assert(a ~= b)\n"
      "local c, d = blobs(t) assert(a == c and b == d)\n"
      "assert(blobs(t[1]) == a and blobs(t.k[1]) == b and blobs(s) == n)\n"
      /* Through the API, which finds it but does not note it. */
      "assert(blobs { print, s } ~= nil and copy { print, s }[2] == s)\n");
}

static void sends_on_what_it_received(void **state) {
  (void)state;
  run(L,
      "collectgarbage 'stop'\n" /* a collection makes it forget */
      "local s = ('s'):rep(10000)\n"
      "local n = blobs { s }\n"
      "local r = copy { s }\n"
      "assert(r[1] == s and blobs(r) == n and blobs(r[1]) == n)\n"
      "local u = copy(s .. 'x') assert(u == s .. 'x')\n"
      "local m = blobs(u) assert(m ~= n and blobs(u) == m)\n");
}

/* Other strings come to stand where collected ones were. */
static void takes_no_string_for_another(void **state) {
  (void)state;
  run(L,
      "local seen = {}\n"
      "for i = 1, 600 do\n"
      "  local s = string.char(33 + i % 90):rep(8192 + i % 3 * 16)\n"
      "  local c = copy { s, i }\n"
      "  assert(c[1] == s and c[2] == i and copy(c[1]) == s)\n"
      "  seen[i % 5] = { copy(s), s }\n"
      "  local old = seen[math.random(0, 4)]\n"
      "  assert(not old or old[1] == old[2] and copy(old[1]) == old[2])\n"
      "  s, c, old = nil, nil, nil\n"
      "  if i % 2 == 0 then collectgarbage() else collectgarbage 'step' end\n"
      "end\n");
}

/* Neither the state nor its collector keeps a string that is not used. */
static void keeps_no_strings(void **state) {
  (void)state;
  run(L,
      "collectgarbage() collectgarbage()\n"
      "local before = collectgarbage 'count'\n"
      "for i = 1, 50 do copy(('x'):rep(200000 + i)) end\n"
      "collectgarbage() collectgarbage()\n"
      "assert(collectgarbage 'count' - before < 20)\n");
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(knows_this_lua),
      TEST(writes_the_same_bytes),
      TEST(leaves_the_rest_to_the_api),
      TEST(keeps_identity_over_both_ways),
      TEST(builds_the_same_values),
      TEST(learns_shapes),
      TEST(notices_other_keys),
      TEST(survives_nested_shapes),
      TEST(survives_any_collector),
      TEST(survives_code_in_between),
      TEST(survives_failing_states),
      TEST(sends_a_string_again),
      TEST(sends_on_what_it_received),
      TEST(takes_no_string_for_another),
      TEST(keeps_no_strings),
  };
  static la_blobs_t recent;
  scratch = la_scratch_new();
  la_blobs_init(&recent);
  la_scratch_keep_blobs(scratch, &recent);
  const int failed = cmocka_run_group_tests_name("direct", tests, NULL, NULL);
  la_scratch_free(scratch);
  la_blobs_fini(&recent);
  return failed;
}

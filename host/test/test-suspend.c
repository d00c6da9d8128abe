/* C modules of the embedder, values in C functions, suspended C functions. */
#include <lauxlib.h>
#include <pthread.h>
#include <unistd.h>

#include "host.h"

/* ---- a module ------------------------------------------------------------------- */

static luactor_token *held; /* by the test that runs */
static int suspend_code;

static int check(lua_State *L, int code) {
  return code != 0 ? luaL_error(L, "%s", luactor_strerror(code)) : 0;
}

/* echo(v): through a value */
static int l_echo(lua_State *L) {
  luactor_value *v;
  const int code = luactor_to_value(L, 1, &v);
  if (code == LUACTOR_ETYPE) {
    return lua_error(L); /* the text is on top */
  }
  check(L, code);
  check(L, luactor_push_value(L, v));
  luactor_value_free(v);
  return 1;
}

static int l_second(lua_State *L) {
  luactor_value *v;
  luactor_view part;
  check(L, luactor_to_value(L, -1, &v));
  const int code = luactor_get_index(luactor_view_of(v), 2, &part);
  if (code == 0) {
    luactor_push_view(L, part);
  } else {
    lua_pushinteger(L, code);
  }
  luactor_value_free(v);
  return 1;
}

static int l_whoami(lua_State *L) {
  luactor_host *host;
  luactor_pid pid;
  luactor_value *v;
  check(L, luactor_process_of(L, &host, &pid));
  check(L, luactor_make(&v, "p", pid));
  check(L, luactor_send(host, pid, v));
  check(L, luactor_push_value(L, v));
  luactor_value_free(v);
  lua_pushinteger(L, luactor_wait(host, pid, 0, NULL));
  return 2;
}

static void *resume_soon(void *arg) {
  luactor_value *v;
  if (luactor_make(&v, "{s i}", "done", 42) == 0) {
    luactor_resume(arg, v);
    luactor_value_free(v);
  }
  luactor_token_free(arg);
  return NULL;
}

/* job(): a thread resumes it */
static int l_job(lua_State *L) {
  luactor_token *token;
  pthread_t id;
  check(L, luactor_suspend(L, &token));
  if (pthread_create(&id, NULL, resume_soon, token) != 0) {
    return luaL_error(L, "no thread");
  }
  pthread_detach(id);
  return luactor_await(L);
}

/* early(): resumed before it waits */
static int l_early(lua_State *L) {
  luactor_token *token;
  check(L, luactor_suspend(L, &token));
  resume_soon(token);
  return luactor_await(L);
}

/* hold(): the test resumes it */
static int l_hold(lua_State *L) {
  suspend_code = luactor_suspend(L, &held);
  return suspend_code != 0 ? check(L, suspend_code) : luactor_await(L);
}

/* abandon(error) */
static int l_abandon(lua_State *L) {
  luactor_token *token;
  check(L, luactor_suspend(L, &token));
  if (lua_toboolean(L, 1)) {
    luactor_value *v;
    check(L, luactor_make(&v, "{s}", "as an error"));
    luactor_resume_error(token, v);
    luactor_value_free(v);
  }
  luactor_token_free(token);
  return luactor_await(L);
}

/* replace(): the first token counts no longer */
static int l_replace(lua_State *L) {
  luactor_token *one, *two;
  luactor_value *v;
  check(L, luactor_suspend(L, &one));
  check(L, luactor_suspend(L, &two));
  check(L, luactor_make(&v, "s", "one"));
  luactor_resume(one, v);
  luactor_value_free(v);
  check(L, luactor_make(&v, "s", "two"));
  luactor_resume(two, v);
  luactor_value_free(v);
  luactor_token_free(one);
  luactor_token_free(two);
  return luactor_await(L);
}

static int l_await(lua_State *L) {
  return luactor_await(L);
}

/* try(): whether it could be suspended */
static int l_try(lua_State *L) {
  luactor_token *token = NULL;
  const int code = luactor_suspend(L, &token);
  luactor_token_free(token);
  lua_pushstring(L, luactor_strerror(code));
  return 1;
}

static int l_finalized(lua_State *L) {
  const int *at = lua_touserdata(L, 1);
  (void)at;
  luactor_token *token;
  suspend_code = luactor_suspend(L, &token);
  return 0;
}

/* trap(): an object whose finalizer wants to wait */
static int l_trap(lua_State *L) {
  lua_newuserdatauv(L, 8, 0);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, l_finalized);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  return 1;
}

static int luaopen_probe(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"echo", l_echo},       {"second", l_second}, {"whoami", l_whoami},
      {"job", l_job},         {"early", l_early},   {"hold", l_hold},
      {"abandon", l_abandon}, {"try", l_try},       {"replace", l_replace},
      {"await", l_await},     {"trap", l_trap},     {NULL, NULL}};
  luaL_newlib(L, functions);
  lua_pushvalue(L, 1);
  lua_setfield(L, -2, "name");
  return 1;
}

static luactor_host *probe_host(int schedulers) {
  luactor_host *host = started_host(schedulers);
  assert_int_equal(luactor_add_module(host, "probe", luaopen_probe), 0);
  held = NULL;
  return host;
}

/* The chunk ends well. */
static void run(luactor_host *host, const char *code) {
  luactor_value *why;
  char text[4000];
  snprintf(text, sizeof text, "local probe = require 'probe' %s", code);
  const luactor_pid pid = spawn(host, text);
  assert_int_equal(luactor_wait(host, pid, PATIENCE, &why), 0);
  if (luactor_reason_error(why) != NULL) {
    print_message("%s\n", luactor_reason_error(why));
  }
  expect_print(luactor_view_of(why), "'normal'");
  luactor_value_free(why);
}

static luactor_pid start(luactor_host *host, const char *code) {
  char text[4000];
  snprintf(text, sizeof text, "local probe = require 'probe' %s", code);
  const luactor_pid pid = spawn(host, text);
  return pid;
}

static void await_held(luactor_host *host) {
  assert_int_equal(luactor_wait_event(host, 20), LUACTOR_EVENT_TIMEOUT);
  for (int i = 0; i < PATIENCE && held == NULL; i++) {
    usleep(1000);
  }
  assert_non_null(held);
}

/* ---- modules ------------------------------------------------------------------------ */

static void loads_added_modules_in_every_process(void **state) {
  (void)state;
  luactor_host *host = probe_host(2);
  run(host, "assert(probe.name == 'probe')"
            "assert(select(2, require 'probe') == nil or true)"
            "for i = 1, 20 do"
            "  local _, ref = actor.spawn_monitor(function()"
            "    assert(require('probe').echo(1) == 1) end)"
            "  assert(actor.receive({ 'DOWN', ref, V._, V._, V.r }) =="
            "    'normal') end");
  assert_int_equal(luactor_add_module(host, "probe", luaopen_probe),
                   LUACTOR_ENAME);
  assert_int_equal(luactor_add_module(host, "late", luaopen_probe), 0);
  run(host, "assert(require('late').name == 'late')"
            "assert(not pcall(require, 'later'))");
  assert_int_equal(luactor_add_module(NULL, "x", luaopen_probe),
                   LUACTOR_EINVAL);
  assert_int_equal(luactor_add_module(host, NULL, luaopen_probe),
                   LUACTOR_EINVAL);
  assert_int_equal(luactor_add_module(host, "", luaopen_probe),
                   LUACTOR_EINVAL);
  assert_int_equal(luactor_add_module(host, "x", NULL), LUACTOR_EINVAL);
  luactor_close(host);
}

static void is_called_by_name(void **state) {
  (void)state;
  luactor_host *host = probe_host(1);
  luactor_value *arg, *why;
  luactor_pid pid;
  assert_int_equal(luactor_make(&arg, "{i}", 7), 0);
  const luactor_value *args[] = {arg};
  assert_int_equal(luactor_spawn_call(host, "probe.echo", args, 1, &pid), 0);
  assert_int_equal(luactor_wait(host, pid, PATIENCE, &why), 0);
  expect_print(luactor_view_of(why), "'normal'");
  luactor_value_free(why);
  assert_int_equal(luactor_spawn_call(host, "probe.none", args, 1, &pid), 0);
  assert_int_equal(luactor_wait(host, pid, PATIENCE, &why), 0);
  assert_non_null(
      strstr(luactor_reason_error(why), "no function 'probe.none'"));
  luactor_value_free(why);
  luactor_value_free(arg);
  luactor_close(host);
}

/* ---- values --------------------------------------------------------------------------- */

static void takes_values_from_lua_and_back(void **state) {
  (void)state;
  luactor_host *host = probe_host(1);
  run(host,
      "local echo = probe.echo "
      "for _, v in ipairs { 1, -2^40, 0.5, true, 'x', ('y'):rep(20000) } do"
      "  assert(echo(v) == v) end "
      "assert(echo(nil) == nil)"
      "local t = echo { 1, { 2 }, k = { z = 3 } }"
      "assert(t[1] == 1 and t[2][1] == 2 and t.k.z == 3)"
      "local c = {} c.c = c local d = echo(c) assert(d.c == d)"
      "assert(echo(function() return 5 end)() == 5)"
      "assert(echo(actor.self()) == actor.self())"
      "assert(probe.second { 1, 'two' } == 'two')"
      "local shared = { 9 }"
      "assert(probe.second { shared, { shared, shared } }[1][1] == 9)"
      "local ok, why = pcall(echo, { io.stdout })"
      "assert(not ok and why:find 'cannot send value%[1%]', why)"
      "local deep = {} for i = 1, 300 do deep = { deep } end "
      "assert(select(2, pcall(echo, deep)):find 'nested deeper')");
  luactor_close(host);
}

static void knows_its_process(void **state) {
  (void)state;
  luactor_host *host = probe_host(1);
  run(host, "local me, code = probe.whoami()"
            "assert(me == actor.self() and code == -10)"
            "assert(actor.receive() == me and actor.sender() == me)");
  luactor_close(host);
  lua_State *L = luaL_newstate();
  luactor_value *v;
  luactor_token *t;
  assert_int_equal(luactor_process_of(L, NULL, NULL), LUACTOR_ECALLER);
  assert_int_equal(luactor_to_value(L, 1, &v), LUACTOR_ECALLER);
  assert_int_equal(luactor_push_value(L, NULL), LUACTOR_ECALLER);
  assert_int_equal(luactor_suspend(L, &t), LUACTOR_ECALLER);
  lua_pushcfunction(L, l_await);
  assert_int_equal(lua_pcall(L, 0, 0, 0), LUA_ERRRUN);
  assert_non_null(strstr(lua_tostring(L, -1), "without luactor_suspend"));
  lua_close(L);
}

/* ---- suspending ------------------------------------------------------------------------- */

static void gives_the_value_as_the_result(void **state) {
  (void)state;
  luactor_host *host = probe_host(2);
  run(host, "local function check(r) assert(r[1] == 'done' and r[2] == 42) end "
            "for i = 1, 50 do check(probe.job()) end "
            "check(probe.early())"
            "check(select(2, pcall(probe.job)))"
            "check(coroutine.wrap(probe.job)())"
            "assert(probe.replace() == 'two')"
            "actor.send(actor.self(), 'waits')"
            "check(probe.job())"
            "assert(actor.receive() == 'waits')");
  luactor_close(host);
}

static void lets_others_run_meanwhile(void **state) {
  (void)state;
  luactor_host *host = probe_host(1); /* one scheduler */
  luactor_value *v = NULL, *why;
  const luactor_pid pid = start(
      host, "assert(probe.hold() == 'in time')"
            "assert(actor.receive() == 1 and actor.receive() == 2)");
  await_held(host);
  run(host, "for _, p in ipairs(actor.processes()) do"
            "  if p ~= actor.self() then"
            "    assert(actor.info(p, 'status') == 'suspended') end end");
  send_made(host, pid, value_of_int(1));
  send_made(host, pid, value_of_int(2));
  assert_int_equal(luactor_make(&v, "s", "in time"), 0);
  assert_int_equal(luactor_resume(held, v), 0);
  assert_int_equal(luactor_resume(held, v), LUACTOR_EDONE);
  assert_int_equal(luactor_resume(NULL, v), LUACTOR_EINVAL);
  luactor_value_free(v);
  luactor_token_free(held);
  luactor_token_free(NULL);
  assert_int_equal(luactor_wait(host, pid, PATIENCE, &why), 0);
  expect_print(luactor_view_of(why), "'normal'");
  luactor_value_free(why);
  luactor_close(host);
}

static void raises_what_is_an_error(void **state) {
  (void)state;
  luactor_host *host = probe_host(1);
  run(host, "local ok, why = pcall(probe.abandon, true)"
            "assert(not ok and why[1] == 'as an error')"
            "ok, why = pcall(probe.abandon, false)"
            "assert(not ok and why == 'abandoned')"
            "ok, why = pcall(probe.await)"
            "assert(not ok and why:find 'without luactor_suspend')");
  luactor_close(host);
}

static void refuses_where_it_cannot_wait(void **state) {
  (void)state;
  luactor_host *host = probe_host(1);
  run(host,
      "local no = 'the process cannot wait here'"
      "local got "
      "xpcall(error, function() got = probe.try() end)"
      "assert(got == no, got)"
      "assert(select('#', pcall(probe.try)) == 2)"
      "actor.send(actor.self(), 1)"
      "actor.receive(on(V.x, function() got = probe.try() return true end,"
      "  function() end))"
      "assert(got == no, got)"
      "probe.trap() collectgarbage()");
  assert_int_equal(suspend_code, LUACTOR_ENOWAIT);
  luactor_close(host);
}

static void can_be_killed_while_suspended(void **state) {
  (void)state;
  luactor_host *host = probe_host(1);
  luactor_value *kill, *why;
  const luactor_pid pid = start(host, "probe.hold()");
  await_held(host);
  assert_int_equal(luactor_make(&kill, "s", "kill"), 0);
  assert_int_equal(luactor_exit(host, pid, kill), 0);
  assert_int_equal(luactor_wait(host, pid, PATIENCE, &why), 0);
  expect_print(luactor_view_of(why), "'killed'");
  luactor_value_free(why);
  assert_int_equal(luactor_resume(held, kill), LUACTOR_ENOPROC);
  assert_int_equal(luactor_resume(held, kill), LUACTOR_EDONE);
  luactor_value_free(kill);
  luactor_token_free(held);
  luactor_close(host);
}

static void outlives_the_host(void **state) {
  (void)state;
  for (int resumed = 0; resumed < 2; resumed++) {
    luactor_host *host = probe_host(1);
    luactor_value *v = value_of_int(1);
    start(host, "probe.hold()");
    await_held(host);
    luactor_halt(host, 0);
    assert_int_equal(luactor_resume(held, v), LUACTOR_ECLOSED);
    luactor_close(host);
    if (resumed) {
      assert_int_equal(luactor_resume(held, v), LUACTOR_ECLOSED);
    }
    luactor_token_free(held);
    luactor_value_free(v);
  }
}

static void is_not_stuck_while_a_token_is_out(void **state) {
  (void)state;
  luactor_host *host = probe_host(1);
  start(host, "probe.hold() actor.receive()");
  await_held(host); /* sees that it is not */
  assert_int_equal(luactor_resume(held, NULL), 0);
  assert_int_equal(luactor_wait_event(host, PATIENCE), LUACTOR_EVENT_STUCK);
  luactor_token_free(held);
  luactor_close(host);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(loads_added_modules_in_every_process),
      cmocka_unit_test(is_called_by_name),
      cmocka_unit_test(takes_values_from_lua_and_back),
      cmocka_unit_test(knows_its_process),
      cmocka_unit_test(gives_the_value_as_the_result),
      cmocka_unit_test(lets_others_run_meanwhile),
      cmocka_unit_test(raises_what_is_an_error),
      cmocka_unit_test(refuses_where_it_cannot_wait),
      cmocka_unit_test(can_be_killed_while_suspended),
      cmocka_unit_test(outlives_the_host),
      cmocka_unit_test(is_not_stuck_while_a_token_is_out),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

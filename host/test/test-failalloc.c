/* Every operation of a process with the first, second, third ... allocation
 * failing, and all after it, until there are enough: the host stays up, the
 * operation says "not enough memory" or its process ends alone with that
 * reason, nothing leaks (run under the address sanitizer), and the same
 * operation works afterwards.
 *
 * The countdown is process-wide: helpers of the operation feel it too, and may
 * be those who die. So each try has a process of its own, and its helpers are
 * linked to it. */
#include "base/env.h"
#include "luactor.h"
#include "ends.h"
#include "unit.h"

#ifdef LUACTOR_FAIL_ALLOC

#define PATIENCE 60000 /* ms; only a failing test waits that long */

static luactor_host *host;

static void no_log(void *ud, int level, const char *text, size_t len) {
  (void)ud;
  (void)level;
  (void)text;
  (void)len;
}

static int setup(void **state) {
  (void)state;
  luactor_config c;
  luactor_config_init(&c);
  c.schedulers = 1;
  c.ignore_env = 1;
  c.log = no_log;
  assert_int_equal(luactor_open(&c, &host), 0);
  assert_int_equal(luactor_start(host), 0);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  luactor_close(host);
  return 0;
}

/* Before each operation; it ends the try with "failed" or "done". */
static const char prelude[] =
    "local actor, core = require 'luactor', require 'luactor._core'\n"
    "local V, on, lpeg = actor.var, actor.on, require 'lpeg'\n"
    "local tries = tonumber((...))\n"
    "local function down(ref)\n"
    "  local _, reason = actor.receive(\n"
    "    { 'DOWN', ref, 'process', V.who, V.reason }, 20000)\n"
    "  if reason == 'timeout' then error('no DOWN message') end\n"
    "  if type(reason) == 'table' then reason = tostring(reason[2]) end\n"
    "  return reason\n"
    "end\n"
    "local function normal(ref)\n"
    "  local reason = down(ref)\n"
    "  if reason ~= 'normal' then error(reason, 0) end\n"
    "end\n"
    "local function echo()\n"
    "  return actor.spawn_link(function()\n"
    "    actor.trap_exit(false)\n"
    "    while true do\n"
    "      actor.receive(\n"
    "        on(actor.request(V.from, V.x), actor.reply),\n"
    "        on({ V.to 'pid', V.x }, actor.send))\n"
    "    end\n"
    "  end)\n"
    "end\n";

static const char epilogue[] =
    "core.fail_after(tries)\n"
    "local ok, err = pcall(op)\n"
    "local failed = core.fail_after(-1)\n"
    "if not ok then\n"
    "  assert(failed, err)\n"
    "  err = tostring(err)\n"
    /* The second: Lua cannot tell why its stack does not grow. */
    "  assert(err:find('not enough memory', 1, true)\n"
    "    or err:find('stack overflow', 1, true), err)\n"
    "end\n"
    "if clean then clean() end\n"
    "op()\n" /* there is memory again */
    "actor.exit(failed and 'failed' or 'done')\n";

static luactor_pid spawn(const char *op, int n) {
  char code[8192], count[16];
  const int len = snprintf(code, sizeof code, "%s%s\n%s", prelude, op,
                           epilogue);
  assert_true(len < (int)sizeof code);
  snprintf(count, sizeof count, "%d", n);
  const char *const args[] = {"op", count};
  luactor_pid pid;
  assert_int_equal(luactor_spawn_string(host, code, (size_t)len, "=op", 2,
                                        args, 0, &pid),
                   0);
  return pid;
}

/* One try; true when no allocation failed any more. */
static bool try_with(const char *op, int n) {
  char *reason = NULL, *error = NULL;
  const luactor_pid pid = spawn(op, n);
  int code = wait_text(host, pid, PATIENCE, &reason, &error);
  la_alloc_countdown(-1);
  if (code == LUACTOR_ENOMEM) { /* for the reason as a value */
    code = wait_text(host, pid, PATIENCE, &reason, &error);
  }
  if (code != 0) {
    char *waiting = luactor_waiting(host);
    fail_msg("try %d does not end:\n%s", n, waiting);
  }
  const bool done = strcmp(reason, "done") == 0;
  if (!done && strcmp(reason, "failed") != 0 &&
      strstr(reason, "not enough memory") == NULL) {
    fail_msg("try %d ended with %s\n%s", n, reason, error ? error : "");
  }
  free(reason);
  free(error);
  return done;
}

/* Until nothing is left of the last try. */
static void await_rest(void) {
  for (int ms = 0; luactor_process_count(host) > 0 && ms < PATIENCE; ms++) {
    luactor_wait_event(host, 1);
  }
  if (luactor_process_count(host) > 0) {
    char *waiting = luactor_waiting(host);
    fail_msg("left behind:\n%s", waiting);
  }
}

static void run(void **state) {
  const char *op = *state;
  int n = 0;
  while (!try_with(op, n)) {
    n++;
    assert_true(n < 20000);
  }
  print_message("  %d allocations\n", n);
  assert_true(n > 0);
  await_rest();
}

/* ---- operations ------------------------------------------------------------- */

static const char spawning[] =
    "local function op()\n"
    "  local _, ref = actor.spawn_monitor(function() end)\n"
    "  normal(ref)\n"
    "end\n";

static const char spawning_with_everything[] =
    "local data = { text = ('d'):rep(20000) }\n"
    "local function op()\n"
    "  local _, ref = actor.spawn_opt({ link = true, monitor = true,\n"
    "      name = 'worker', label = 'a label', env = { extra = { 1, 2 } },\n"
    "      mailbox = { limit = 5 }, trap_exit = true, gc = 'generational',\n"
    "      priority = 'high' },\n"
    "    function(a, b) assert(#data.text == 20000 and extra[2] == b) end,\n"
    "    1, 2)\n"
    "  normal(ref)\n"
    "end\n"
    "actor.trap_exit(true)\n"
    "local function clean()\n"
    "  while actor.whereis 'worker' do actor.sleep(1) end\n"
    "  actor.flush(actor._)\n"
    "end\n";

static const char spawning_on_a_thread_of_its_own[] =
    "local function op()\n"
    "  local ok, pid, ref = pcall(actor.spawn_opt,\n"
    "    { thread = 'own', monitor = true }, function() end)\n"
    "  if not ok and tostring(pid):find 'cannot start a thread' then\n"
    "    error('not enough memory')\n"
    "  end\n"
    "  if not ok then error(pid, 0) end\n"
    "  normal(ref)\n"
    "end\n";

static const char crashing[] =
    "local function op()\n"
    "  local _, ref = actor.spawn_monitor(function() error { 1 } end)\n"
    "  local reason = down(ref)\n"
    "  if reason:find 'memory' then error(reason, 0) end\n"
    "end\n";

static const char trapping_an_exit[] =
    "actor.trap_exit(true)\n"
    "local function op()\n"
    "  local pid = actor.spawn_link(function() actor.exit { 'over' } end)\n"
    "  local reason = actor.receive({ 'EXIT', pid, V.r }, 20000)\n"
    "  if type(reason) == 'table' and reason[1] == 'over' then return end\n"
    "  error(type(reason) == 'table' and tostring(reason[2]) or reason, 0)\n"
    "end\n"
    "local clean = function() actor.flush(actor._) end\n";

static const char sending[] =
    "local function op()\n"
    "  local me = actor.self()\n"
    "  actor.send(me, { 1, { x = 2 } }, { priority = true })\n"
    "  actor.post(me, 'a', 1)\n"
    "  actor.cast(me, 3)\n"
    "  assert(actor.try_send(me, 'last'))\n"
    "  for i = 1, 4 do assert(actor.receive(actor._, 0) ~= nil) end\n"
    "end\n"
    "local clean = function() actor.flush(actor._) end\n";

static const char sending_a_large_string[] =
    "local large = ('x'):rep(100000)\n"
    "local function op()\n"
    "  actor.send(actor.self(), { large, large, n = #large })\n"
    "  local got = actor.receive()\n"
    "  assert(got[1] == large and got[2] == large and got.n == #large)\n"
    "end\n"
    "local clean = function() actor.flush(actor._) end\n";

static const char sending_a_function[] =
    "local count, large = 1, ('x'):rep(9000)\n"
    "local function op()\n"
    "  actor.send(actor.self(), function() return count + 1, #large end)\n"
    "  assert(actor.receive()() == 2)\n"
    "end\n"
    "local clean = function() actor.flush(actor._) end\n";

static const char waiting_for_room[] =
    "local function op()\n"
    "  local pid, ref = actor.spawn_opt(\n"
    "    { link = true, monitor = true, mailbox = { limit = 1 } }, function()\n"
    "      for i = 1, 5 do assert(actor.receive() == i) end\n"
    "    end)\n"
    "  for i = 1, 5 do actor.send(pid, i) end\n"
    "  normal(ref)\n"
    "end\n"
    "local clean = function() actor.flush(actor._) end\n";

static const char receiving[] =
    /* Compiled before: LPeg takes a pattern whose compilation has failed for
     * one that is compiled. */
    "local word = lpeg.C(lpeg.R 'az' ^ 1) * '=' * lpeg.C(lpeg.P(1) ^ 0)\n"
    "assert(word:match 'a=b')\n"
    "local function op()\n"
    "  local me = actor.self()\n"
    "  actor.send(me, { 'p', 'key=value', { 1, 2, 3 } })\n"
    "  local serve = actor.receiver(\n"
    "    on({ 'q', V.x }, function() error 'q' end),\n"
    "    on({ 'p', word, { V.first, V.rest '...' } }, 'first > 5', error),\n"
    "    on({ 'p', word, { V.first, V.rest '...' } },\n"
    "      function(k, v, first) return first == 1 end,\n"
    "      function(k, v, first, rest)\n"
    "        assert(k == 'key' and v == 'value' and rest[2] == 3)\n"
    "        return 'yes'\n"
    "      end))\n"
    "  if serve(100) ~= 'yes' then\n"
    /* A guard that raises is false, also for want of memory. */
    "    error('not enough memory in a guard')\n"
    "  end\n"
    "  actor.send(me, { 'add', 1, 2 })\n"
    "  local a, b = actor.receive(\n"
    "    actor.match \"{ 'add', a: integer, b: integer } when a < b\", 0)\n"
    "  assert(a == 1 and b == 2)\n"
    "end\n"
    "local clean = function() actor.flush(actor._) end\n";

static const char linking[] =
    "local function follow(boss)\n"
    "  actor.monitor(boss)\n"
    "  actor.receive { 'DOWN' , V._, V._, boss, V._ }\n"
    "end\n"
    "local peer = actor.spawn(follow, actor.self())\n"
    "local function op()\n"
    "  actor.link(peer)\n"
    "  actor.unlink(peer)\n"
    "  if not actor.is_alive(peer) then error('not enough memory there') end\n"
    "end\n"
    "local function clean()\n"
    "  actor.unlink(peer)\n"
    "  actor.exit(peer, 'kill')\n"
    "  peer = actor.spawn(follow, actor.self())\n"
    "end\n";

static const char monitoring[] =
    "actor.register 'boss'\n"
    "local function op()\n"
    "  local peer = actor.spawn_link(function() actor.receive 'end' end)\n"
    "  actor.demonitor(actor.monitor(peer), { flush = true })\n"
    "  local ref = actor.monitor(peer)\n"
    "  actor.monitor 'nobody'\n"
    "  actor.demonitor(actor.monitor 'boss')\n"
    "  actor.send(peer, 'end')\n"
    "  normal(ref)\n"
    "end\n"
    "actor.trap_exit(true)\n"
    "local clean = function() actor.flush(actor._) end\n";

static const char naming[] =
    "local function op()\n"
    "  actor.register 'a-name'\n"
    "  assert(actor.whereis 'a-name' == actor.self())\n"
    "  local names = actor.registered()\n"
    "  assert(#names >= 1)\n"
    "  actor.unregister 'a-name'\n"
    "end\n"
    "local clean = function() pcall(actor.unregister, 'a-name') end\n";

static const char timing[] =
    "local function op()\n"
    "  local me = actor.self()\n"
    "  actor.register 'timed'\n"
    "  for i = 1, 20 do actor.send_after(i / 10, me, { 'after', i }) end\n"
    "  actor.send_after(1, 'timed', 'by name')\n"
    "  local every = actor.send_every(1000000, me, 'every')\n"
    "  for i = 1, 20 do actor.receive { 'after', i } end\n"
    "  actor.receive 'by name'\n"
    "  assert(actor.cancel(every))\n"
    "  actor.unregister 'timed'\n"
    "end\n"
    "local function clean()\n"
    "  pcall(actor.unregister, 'timed')\n"
    "  actor.sleep(5)\n"
    "  actor.flush(actor._)\n"
    "end\n";

static const char calling[] =
    "actor.trap_exit(true)\n"
    "local function op()\n"
    "  local server = echo()\n"
    "  local got = actor.call(server, { 'x', ('y'):rep(9000) })\n"
    "  assert(#got[2] == 9000)\n"
    "  actor.exit(server, 'kill')\n"
    "  local fine, why = actor.try_call(server, 1)\n"
    "  assert(not fine and (why == 'noproc' or why == 'killed'), why)\n"
    "end\n"
    "local clean = function() actor.flush(actor._) end\n";

static const char using_a_mailbox[] =
    "local function op()\n"
    "  local mb <close> = setmetatable({ actor.mailbox { limit = 2 } },\n"
    "    { __close = function(t) t[1]:close() end })\n"
    "  local box = mb[1]\n"
    "  actor.send(box, 'one')\n"
    "  actor.send(box, { 'two', ('z'):rep(9000) })\n"
    "  assert(box:receive() == 'one')\n"
    "  local serve = actor.receiver(box:on({ 'two', V.z }, function(z)\n"
    "    return #z\n"
    "  end), on('other', error))\n"
    "  assert(serve(0) == 9000)\n"
    "end\n";

static const char using_an_alias[] =
    "local function op()\n"
    "  local aliases = {}\n"
    "  for i = 1, 20 do\n"
    "    aliases[i] = actor.alias()\n"
    "    actor.send(aliases[i], i)\n"
    "    assert(actor.receive() == i)\n"
    "  end\n"
    "  for i = 1, 20 do assert(actor.unalias(aliases[i])) end\n"
    "end\n"
    "local clean = function() actor.flush(actor._) end\n";

static const char using_a_scope[] =
    "local function op()\n"
    "  local sum = actor.scope(function(s)\n"
    "    local a = s:async(function() return 1 end)\n"
    "    local b = s:async(function() return 2 end)\n"
    "    s:spawn(function() end)\n"
    "    return a:await(20000) + b:await(20000)\n"
    "  end)\n"
    "  assert(sum == 3)\n"
    "end\n";

static const char asking_for_information[] =
    "local peer = echo()\n"
    "actor.register 'asker'\n"
    "local function op()\n"
    "  assert(actor.info(actor.self(), 'registered_name') == 'asker')\n"
    "  assert(actor.info(actor.self()).status == 'running')\n"
    "  local info = actor.info(peer)\n"
    "  if info == nil then error('not enough memory there') end\n"
    "  assert(#info.links == 1)\n"
    "  assert(#actor.processes() >= 2)\n"
    "  actor.label 'new'\n"
    "end\n";

static const char packing[] =
    "local value = { 1, 2.5, 'three', { x = ('y'):rep(9000) },\n"
    "                actor.self() }\n"
    "value[4].back = value[4]\n"
    "local function op()\n"
    "  local copy = actor.unpack(actor.pack(value))\n"
    "  assert(#copy[4].x == 9000 and copy[4].back == copy[4])\n"
    "  assert(actor.pid(tostring(actor.self())) == actor.self())\n"
    "end\n";

static const char blocking[] =
    "local function op()\n"
    "  local ok, got = pcall(actor.blocking, function(x) return x + 1 end, 1)\n"
    "  if not ok and tostring(got):find 'cannot start a thread' then\n"
    "    error('not enough memory')\n"
    "  end\n"
    "  if not ok then error(got, 0) end\n"
    "  assert(got == 2)\n"
    "end\n";

static const char ending[] = /* with a last function */
    "local function op()\n"
    "  local _, ref = actor.spawn_monitor(function()\n"
    "    core.last(function(reason)\n"
    "      core.report { reason }\n"
    "      actor.sleep(0)\n"
    "      actor.exit 'normal'\n"
    "    end)\n"
    "    error { ('x'):rep(100) }\n"
    "  end)\n"
    "  local reason = down(ref)\n"
    "  if reason ~= 'normal' then error('not enough memory') end\n"
    "end\n";

static const char serving[] = /* methods of a server object */
    "local gen_server = require 'luactor.gen_server'\n"
    "local Server = gen_server.define 'server'\n"
    "function Server.call:echo(...) return { ... } end\n"
    "actor.trap_exit(true)\n"
    "local s = Server:start_link()\n"
    "local function op()\n"
    "  assert(s:echo(1)[1] == 1)\n"
    "  assert(#s:echo(1, { 2 }, ('y'):rep(9000))[3] == 9000)\n"
    "  assert(s:echo(nil, 2)[2] == 2)\n"
    "end\n"
    "local function clean()\n"
    "  if not actor.is_alive(s.pid) then s = Server:start_link() end\n"
    "end\n";

static const char working[] = /* the libraries, without a message */
    "local function op()\n"
    "  local co = coroutine.wrap(function(a)\n"
    "    for i = 1, 3 do a = coroutine.yield(a .. ('q'):rep(2000)) end\n"
    "  end)\n"
    "  for i = 1, 3 do co 'x' end\n"
    "  local t = {}\n"
    "  for i = 1, 300 do t[i] = { ('k'):rep(i % 50) } end\n"
    "  table.sort(t, function(x, y) return #x[1] < #y[1] end)\n"
    "  local s = ('abc'):rep(500):gsub('b', function(c) return c .. c end)\n"
    "  assert(#s == 2000 and load('return ...')(1) == 1)\n"
    "  setmetatable({}, { __gc = function() end })\n"
    "  collectgarbage()\n"
    "end\n";

static const char preloading[] =
    "local function op()\n"
    "  local ok, why = actor.preload('luactor.task', 'luactor.agent')\n"
    "  if not ok then error(why, 0) end\n"
    "  local pid = actor.spawn('luactor.task.nothing')\n"
    "  actor.exit(pid, 'kill')\n"
    "end\n";

static const char logging[] = /* what has no memory to be written is dropped */
    "local log = require 'luactor.log'\n"
    "local fields = { n = 1, s = ('s'):rep(300), t = { { 1 }, password = 2 } }\n"
    "local function clean()\n"
    "  log.remove_handler 'me'\n"
    "  log.remove_handler 'file'\n"
    "  log.configure{ format = 'text' }\n"
    "end\n"
    "local function op()\n"
    "  clean()\n"
    "  log.add_handler('me', actor.self())\n"
    "  log.add_handler('file', '/dev/null', 'warn')\n"
    "  log.configure{ format = 'json', redact = { 'pin' }, level = 'info' }\n"
    "  log.event('error', ('text'):rep(500), fields)\n"
    "  log.report('warn', 'kind', 'text', fields, 'cause')\n"
    "  log.info('%d', 17)\n"
    "  assert(#log.handlers() == 3 and log.settings().format == 'json')\n"
    "  clean()\n"
    "  actor.flush { 'log', actor._ }\n"
    "end\n";

/* ---- the host ----------------------------------------------------------------- */

/* Until it opens, starts and runs a process. */
static void opens_when_there_is_memory(void **state) {
  (void)state;
  luactor_config c;
  luactor_config_init(&c);
  c.schedulers = 3;
  c.lua_path = "/somewhere/?.lua";
  c.lua_cpath = "/somewhere/?.so";
  c.log = no_log;
  static const char *const args[] = {"a", "b"};
  bool done = false;
  for (long n = 0; !done; n++) {
    luactor_host *h = NULL;
    luactor_pid pid;
    char *reason = NULL;
    la_alloc_countdown(n);
    int code = luactor_open(&c, &h);
    if (code == 0) {
      code = luactor_spawn_string(h, "return 1", 8, "=x", 2, args, 0, &pid);
    }
    if (code == 0) {
      code = luactor_send_string(h, pid, "m", 1);
    }
    if (code == 0) {
      code = luactor_start(h);
    }
    if (code == 0) {
      code = wait_text(h, pid, PATIENCE, &reason, NULL);
      done = !la_alloc_has_failed();
      const bool asked_again = code == LUACTOR_ENOMEM;
      if (asked_again) { /* the reason is still there */
        la_alloc_countdown(-1);
        code = wait_text(h, pid, PATIENCE, &reason, NULL);
      }
      assert_int_equal(code, 0);
      if (!asked_again || strcmp(reason, "normal") != 0) {
        assert_string_equal(reason, done ? "normal" : "not enough memory");
      }
    } else {
      assert_true(code == LUACTOR_ENOMEM || code == LUACTOR_ETHREAD);
    }
    la_alloc_countdown(-1);
    free(reason);
    luactor_close(h);
    assert_true(n < 20000);
  }
}

int main(void) {
#define ROW(text) {#text, run, NULL, NULL, (void *)(uintptr_t)(text)}
  const struct CMUnitTest tests[] = {
      ROW(spawning),
      ROW(spawning_with_everything),
      ROW(spawning_on_a_thread_of_its_own),
      ROW(crashing),
      ROW(trapping_an_exit),
      ROW(sending),
      ROW(sending_a_large_string),
      ROW(sending_a_function),
      ROW(waiting_for_room),
      ROW(receiving),
      ROW(linking),
      ROW(monitoring),
      ROW(naming),
      ROW(timing),
      ROW(calling),
      ROW(using_a_mailbox),
      ROW(using_an_alias),
      ROW(preloading),
      ROW(using_a_scope),
      ROW(asking_for_information),
      ROW(packing),
      ROW(blocking),
      ROW(ending),
      ROW(serving),
      ROW(working),
      ROW(logging),
      cmocka_unit_test(opens_when_there_is_memory),
  };
  return cmocka_run_group_tests_name("failalloc", tests, setup, teardown);
}

#else

int main(void) {
  print_message("failalloc: needs a build with LUACTOR_FAIL_ALLOC\n");
  return 0;
}

#endif

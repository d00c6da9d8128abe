-- This process as a node, with real Erlang nodes: everything goes through once
-- over plain TCP and once under TLS.
local actor = require "luactor"
local node = require "luactor.node"
local helper = require "spec.helper"
local peers = require "spec.peers"
local describe, it, assert, pending = describe, it, assert, pending
local before_each, after_each = before_each, after_each
local setup, teardown = setup, teardown
local _ENV = _G

local V, on = actor.var, actor.on
local atom, tuple = actor.atom, actor.tuple
local ME, E <const> = "spec@127.0.0.1", "e@127.0.0.1"
local COOKIE <const> = "the-cookie"

if not (peers.has "erl" and peers.has "erlc") then
  describe("Erlang nodes", function()
    it("are tested", function() pending "no erl here: apt-get install erlang-base erlang-ssl" end)
  end)
  return
end

local HAS_TLS <const> = peers.has "openssl" and
  (peers.sh "erl -noshell -eval 'halt(case code:lib_dir(ssl) of {error, _} -> 1; _ -> 0 end).'")

local e, how, tls, tls_file

local function start_me(more)
  local opts = { name = ME, cookie = COOKIE, listen = 0, epmd = false, tls = tls }
  for k, v in pairs(more or {}) do opts[k] = v end
  node.start(opts)
end

-- An Erlang node that this one can find.
local function start_erl(more)
  local opts = { name = E, cookie = COOKIE, tls = tls_file }
  for k, v in pairs(more or {}) do opts[k] = v end
  local peer = peers.erl(opts)
  local port = peer:eval("{ok, P} = erl_epmd:names({127,0,0,1}), {_, N} = lists:keyfind(%q, 1, P), N",
    opts.name:match "^[^@]+")
  node.place(opts.name, "127.0.0.1:" .. port)
  return peer
end

-- Erlang finds this node through the mapper.
local function tell_mapper(peer)
  assert.equal("0", peer:eval("driver:register(%q, %d)", ME:match "^[^@]+", node.port()))
end

local function meet()
  start_me()
  e = start_erl()
  tell_mapper(e)
  e:eval "register(echo, spawn(fun driver:echo/0)), {ok, _} = driver:serve(server), ok"
end

local function leave()
  node.stop()
  if e then e:kill() end
  e = nil
  actor.trap_exit(false)
  actor.flush(actor._)
end

-- Evaluate there, after what was sent from here has arrived: code travels another way.
local function then_there(code, ...)
  local tag = actor.ref()
  actor.send({ "echo", E }, tuple { actor.self(), tag, true })
  helper.receive { tag, true }
  return e:eval(code, ...)
end

-- A fresh process there.
local function victim()
  e:eval("{spec, '%s'} ! {victim, driver:victim()}", ME)
  return (helper.receive { "victim", V.pid "pid" })
end

-- Its text in Erlang.
local function pid_there(pid)
  return ("list_to_pid(\"<0.%s>\")"):format(tostring(pid):match "%.(%d+)>$" .. ".0")
end

local function echo(x)
  local tag = actor.ref()
  actor.send({ "echo", E }, tuple { actor.self(), tag, x })
  return (helper.receive { tag, V.x })
end

local function signals()
  describe("signals " .. how, function()
    setup(function()
      meet()
      actor.register "spec"
    end)
    teardown(function()
      actor.unregister "spec"
      leave()
    end)
    before_each(helper.mark)
    after_each(helper.check)

    it("ping both ways", function()
      assert.equal("pong", node.ping(E))
      assert.equal("pong", e:eval("net_adm:ping('%s')", ME))
      assert.equal("[]", e:eval "nodes()")
      assert.equal(("['%s']"):format(ME), e:eval "nodes(hidden)")
      assert.same({ E }, node.list())
      assert.equal("pang", e:eval "net_adm:ping('nobody@127.0.0.1')")
    end)

    it("send by pid, name and alias", function()
      assert.equal("hi", echo "hi")
      local pid = victim()
      assert.equal(E, node.of(pid))
      e:eval("register(sink, spawn(fun() -> receive {M, P} -> P ! {got, M, self()} end end))")
      actor.send({ "sink", E }, tuple { atom "there", actor.self() })
      local what, who = helper.receive { "got", V.what, V.who "pid" }
      assert.equal(atom "there", what)
      assert.equal(E, node.of(who))
      local alias = actor.alias()
      actor.send({ "echo", E }, tuple { alias, 1, "by alias" })
      assert.equal("by alias", (helper.receive { 1, V.x }))
      actor.unalias(alias)
      actor.send({ "echo", E }, tuple { alias, 2, "too late" })
      assert.equal("after it", echo "after it")
      assert.equal(0, actor.flush { 2, V._ })
      pid:send(tuple { atom "exit", atom "normal" })
    end)

    it("send to an alias of Erlang", function()
      e:eval("{spec, '%s'} ! {alias, spawn(fun() -> A = alias(), {spec, '%s'} ! {at, A}, "
        .. "receive M -> {spec, '%s'} ! {came, M} end end)}", ME, ME, ME)
      helper.receive { "alias", V.pid }
      local alias = helper.receive { "at", V.a }
      actor.send(alias, "over the alias")
      assert.equal("over the alias", (helper.receive { "came", V.x }))
    end)

    it("keep the order", function()
      e:eval("lists:foreach(fun(I) -> {spec, '%s'} ! {n, I} end, lists:seq(1, 3000))", ME)
      for i = 1, 3000 do assert.equal(i, (helper.receive { "n", V.i })) end
      for i = 1, 3000 do actor.send({ "echo", E }, tuple { actor.self(), 0, i }) end
      for i = 1, 3000 do assert.equal(i, (helper.receive { 0, V.x })) end
    end)

    it("call and cast a gen_server there", function()
      assert.equal(5, actor.call({ "server", E }, tuple { atom "add", 2, 3 }))
      actor.cast({ "server", E }, "one")
      actor.cast({ "server", E }, tuple { atom "two", 2 })
      local casts = actor.call({ "server", E }, atom "casts")
      assert.equal("one", casts[1])
      assert.equal(atom "two", casts[2][1])
      assert.equal("later", actor.call({ "server", E }, tuple { atom "later", 20, "later" }))
      assert.same({ false, "timeout" }, { actor.try_call({ "server", E }, atom "hang", 50) })
      assert.same({ false, "timeout" },
        { actor.try_call({ "server", E }, tuple { atom "later", 100, "late" }, 20) })
      assert.same({ false, "noproc" }, { actor.try_call({ "no_server", E }, "x") })
    end)

    it("get the reason of a server that ends in a call", function()
      for _, pair in ipairs { { "stopped", "stopped" }, { "normal", "normal" },
        { "shutdown", "shutdown" } } do
        e:eval "driver:serve(brief)"
        local ok, why = actor.try_call({ "brief", E },
          tuple { atom "stop", atom(pair[1]) })
        assert.is_false(ok)
        assert.equal(pair[2], tostring(why))
      end
    end)

    it("answer gen_server calls and remember casts", function()
      local server = actor.spawn_opt({ name = "counter", link = true }, function()
        local n = 0
        local serve = actor.receiver(
          on(actor.request(V.from, { "add", V.k "number" }), function(from, k)
            n = n + k
            actor.reply(from, n)
          end),
          on(actor.request(V.from, "nothing"), function() end),
          on(actor.request(V.from, "die"), function() actor.exit "died" end),
          on({ "$gen_cast", V.k "number" }, function(k) n = n + k end))
        while true do serve() end
      end)
      local function called(request, more)
        return e:eval("try gen_server:call({counter, '%s'}, %s%s) catch exit:{R, _} -> {exit, R} end",
          ME, request, more or "")
      end
      assert.equal("5", called "{add, 5}")
      e:eval("gen_server:cast({counter, '%s'}, 10)", ME)
      assert.equal("16", called "{add, 1}")
      assert.equal("{exit,timeout}", called("nothing", ", 50"))
      assert.equal("17", called "{add, 1}")
      assert.equal("{exit,noproc}", e:eval(
        "try gen_server:call({nobody, '%s'}, x) catch exit:{R, _} -> {exit, R} end", ME))
      actor.unlink(server)
      assert.equal("{exit,<<\"died\">>}", called "die")
    end)

    it("multi_call and reply from elsewhere", function()
      actor.spawn_opt({ name = "multi", link = true }, function()
        local from = actor.receive(actor.request(V.from, "x"))
        actor.spawn(function() actor.reply(from, "answered elsewhere") end)
        from = actor.receive(actor.request(V.from, "y"))
        actor.reply(from, "y")
      end)
      assert.equal("<<\"answered elsewhere\">>", e:eval("gen_server:call({multi, '%s'}, x)", ME))
      assert.equal(("{[{'%s',<<\"y\">>}],[]}"):format(ME),
        e:eval("gen_server:multi_call(['%s'], multi, y)", ME))
    end)

    -- reason there, as we see it
    local REASONS <const> = {
      { "normal", "normal" }, { "shutdown", "shutdown" }, { "kill", "kill" },
      { "killed", "killed" }, { "noproc", "noproc" },
      { "boom", "boom" }, { "<<\"text\">>", "text" }, { "42", 42 },
    }

    it("monitor what is there, with its reason", function()
      for _, pair in ipairs(REASONS) do
        local pid = victim()
        local ref = actor.monitor(pid)
        assert.equal(1, #actor.info(actor.self(), "monitors"))
        then_there("%s ! {exit, %s}", pid_there(pid), pair[1])
        local who, reason = helper.receive { "DOWN", ref, "process", V.who, V.reason }
        assert.equal(pid, who)
        if type(pair[2]) == "string" then reason = tostring(reason) end
        assert.equal(pair[2], reason)
      end
      local pid = victim()
      local ref = actor.monitor(pid)
      then_there("%s ! crash", pid_there(pid))
      local reason = select(2, helper.receive { "DOWN", ref, "process", V.who, V.reason })
      assert.equal(atom "oops", reason[1])
      ref = actor.monitor(pid)
      assert.equal("noproc", (helper.receive { "DOWN", ref, "process", pid, V.reason }))
      ref = actor.monitor { "nobody", E }
      local who
      who, reason = helper.receive { "DOWN", ref, "process", V.who, V.reason }
      assert.same({ "nobody", E }, who)
      assert.equal("noproc", reason)
    end)

    it("monitor by name, and stop to", function()
      e:eval "register(named, driver:victim())"
      local ref = actor.monitor { "named", E }
      actor.send({ "named", E }, tuple { atom "exit", atom "bye" })
      local who, reason = helper.receive { "DOWN", ref, "process", V.who, V.reason }
      assert.same({ "named", E }, who)
      assert.equal("bye", tostring(reason))
      local pid = victim()
      ref = actor.monitor(pid)
      actor.demonitor(ref)
      then_there("M = monitor(process, %s), exit(%s, kill), receive {'DOWN', M, _, _, _} -> ok end",
        pid_there(pid), pid_there(pid))
      assert.equal("still", echo "still")
      assert.equal(0, actor.flush { "DOWN", V._, V._, V._, V._ })
    end)

    -- Reason here, as Erlang prints it.
    local OURS <const> = {
      { "normal", "normal" }, { "shutdown", "shutdown" }, { "boom", "<<\"boom\">>" },
      { 42, "42" }, { atom "boom", "boom" }, { { "shutdown", "x" }, "{shutdown,<<\"x\">>}" },
    }

    it("are monitored from there, with their reason", function()
      for _, pair in ipairs(OURS) do
        local pid = actor.spawn_opt({ name = "watched" }, function()
          local reason = actor.receive { "end", V.reason }
          actor.exit(reason)
        end)
        local id = e:tell(("M = monitor(process, {watched, '%s'}), {watched, '%s'} ! {watching, self()},"
          .. " receive {'DOWN', M, process, W, R} -> {W, R} end"):format(ME, ME))
        helper.wait(function() return #actor.info(pid, "monitored_by") == 1 end)
        pid:send { "end", pair[1] }
        assert.equal(("{{watched,'%s'},%s}"):format(ME, pair[2]), e:result(id))
      end
      assert.equal("noproc", e:eval("M = monitor(process, {nobody, '%s'}),"
        .. "receive {'DOWN', M, process, _, R} -> R end", ME))
    end)

    it("are killed and fail with reasons that Erlang understands", function()
      local pid = actor.spawn_opt({ name = "watched", label = "quiet" }, function()
        actor.receive "never"
      end)
      local watch = ("M = monitor(process, {watched, '%s'}), receive {'DOWN', M, process, _, R} -> R end")
        :format(ME)
      local id = e:tell(watch)
      helper.wait(function() return #actor.info(pid, "monitored_by") == 1 end)
      actor.exit(pid, "kill")
      assert.equal("killed", e:result(id))
      pid = actor.spawn_opt({ name = "watched" }, function()
        actor.receive "go"
        local x = nil
        return x.field
      end)
      id = e:tell(watch)
      helper.wait(function() return #actor.info(pid, "monitored_by") == 1 end)
      pid:send "go"
      assert.matches("^{error,<<\".*attempt to index a nil value", e:result(id))
    end)

    it("stop to monitor from there", function()
      local pid = actor.spawn_opt({ name = "watched" }, function() actor.receive "end" end)
      e:eval("M = monitor(process, {watched, '%s'}), true = demonitor(M, [flush]), ok", ME)
      helper.wait(function() return #actor.info(pid, "monitored_by") == 0 end)
      pid:send "end"
    end)

    it("link from here: the end there", function()
      actor.trap_exit(true)
      for _, pair in ipairs(REASONS) do
        local pid = victim()
        actor.link(pid)
        then_there("%s ! {exit, %s}", pid_there(pid), pair[1])
        local reason = helper.receive { "EXIT", pid, V.reason }
        if type(pair[2]) == "string" then reason = tostring(reason) end
        assert.equal(pair[2], reason)
      end
      local pid = victim()
      actor.exit(pid, "kill")
      local ref = actor.monitor(pid)
      helper.down(ref)
      actor.link(pid)
      assert.equal("noproc", (helper.receive { "EXIT", pid, V.reason }))
      actor.trap_exit(false)
    end)

    it("link from here: the end here", function()
      for _, pair in ipairs(OURS) do
        local pid = victim()
        local me = actor.self()
        local mine = actor.spawn(function()
          actor.link(pid)
          me:send "linked"
          actor.exit((actor.receive { "end", V.reason }))
        end)
        helper.receive "linked"
        local id = e:tell(("M = monitor(process, %s), {spec, '%s'} ! watching,"
          .. "receive {'DOWN', M, process, _, R} -> R after 100 -> alive end"):format(pid_there(pid), ME))
        helper.receive "watching"
        mine:send { "end", pair[1] }
        assert.equal(pair[2] == "normal" and "alive" or pair[2], e:result(id))
        if pair[2] == "normal" then actor.exit(pid, "kill") end
      end
    end)

    it("link from there", function()
      for _, pair in ipairs(REASONS) do
        local pid = victim()
        local me = actor.self()
        local mine = actor.spawn(function()
          actor.trap_exit(true)
          local who, reason = actor.receive { "EXIT", V.who, V.reason }
          me:send { "ended", who, reason }
        end)
        pid:send(tuple { atom "link", mine })
        helper.wait(function() return #actor.info(mine, "links") == 1 end)
        then_there("%s ! {exit, %s}", pid_there(pid), pair[1])
        local who, reason = helper.receive { "ended", V.who, V.reason }
        assert.equal(pid, who)
        if type(pair[2]) == "string" then reason = tostring(reason) end
        assert.equal(pair[2], reason)
      end
      -- to a process that is no more
      local pid = victim()
      local id = e:tell(("M = monitor(process, %s), {spec, '%s'} ! watching,"
        .. " receive {'DOWN', M, _, _, R} -> R end"):format(pid_there(pid), ME))
      helper.receive "watching"
      pid:send(tuple { atom "link", helper.dead_pid() })
      assert.equal("noproc", e:result(id))
    end)

    it("unlink from either side", function()
      actor.trap_exit(true)
      for _ = 1, 20 do
        local pid = victim()
        actor.link(pid)
        actor.unlink(pid)
        actor.link(pid)
        actor.unlink(pid)
        actor.exit(pid, "kill")
      end
      assert.equal("done", echo "done")
      assert.equal(0, actor.flush { "EXIT", V._, V._ })
      local id = e:tell(("{spec, '%s'} ! {give, self()}, receive P ->"
        .. " [begin link(P), unlink(P) end || _ <- lists:seq(1, 20)], ok end"):format(ME))
      helper.receive { "give", V.who }:send(actor.self())
      assert.equal("ok", e:result(id))
      helper.wait(function() return #actor.info(actor.self(), "links") == 0 end)
      assert.equal("done", echo "done")
      actor.trap_exit(false)
    end)

    it("exit there by actor.exit", function()
      for _, pair in ipairs { { "kill", "killed" }, { "boom", "<<\"boom\">>" }, { atom "boom", "boom" },
        { "shutdown", "shutdown" } } do
        local pid = victim()
        local id = e:tell(("M = monitor(process, %s), {spec, '%s'} ! watching,"
          .. " receive {'DOWN', M, _, _, R} -> R end"):format(pid_there(pid), ME))
        helper.receive "watching"
        actor.exit(pid, pair[1])
        assert.equal(pair[2], e:result(id))
      end
    end)

    it("exit here by exit/2", function()
      for _, pair in ipairs { { "kill", "killed" }, { "boom", "boom" }, { "shutdown", "shutdown" } } do
        local pid, ref = actor.spawn_monitor(function() actor.receive "never" end)
        local id = e:tell(("{spec, '%s'} ! {give, self()}, receive P -> exit(P, %s) end")
          :format(ME, pair[1]))
        helper.receive { "give", V.who }:send(pid)
        assert.equal("true", e:result(id))
        assert.equal(pair[2], tostring(helper.down(ref)))
      end
    end)

    it("fetch the names of both sides", function()
      assert.equal("undefined", e:eval "whereis(nobody)")
      assert.equal("{badrpc,", e:eval("rpc:call('%s', erlang, node, [])", ME):sub(1, 8))
    end)

    it("refuse what an observer asks for, and stay up", function()
      for _, code in ipairs {
        "try erpc:call('%s', erlang, system_info, [process_count]) catch _:_ -> refused end",
        "case rpc:call('%s', observer_backend, sys_info, []) of {badrpc, _} -> refused end",
        "try spawn_monitor('%s', erlang, node, []) of {P, M} -> receive {'DOWN', M, _, P, _} -> refused end catch _:_ -> refused end",
        "case rpc:call('%s', os, cmd, [\"echo\"]) of {badrpc, _} -> refused end",
      } do
        assert.equal("refused", e:eval(code, ME))
      end
      assert.equal("pong", e:eval("net_adm:ping('%s')", ME))
    end)

    it("carry small and big", function()
      local big = ("0123456789abcdef"):rep(3 * 1024 * 1024 + 1)
      assert.is_true(big == echo(big))
      assert.equal(#big, tonumber(e:eval("{spec, '%s'} ! {big, binary:copy(<<\"x\">>, %d)}, %d",
        ME, #big, #big)))
      local got = helper.receive { "big", V.x }
      assert.equal(#big, #got)
      assert.is_true(got == ("x"):rep(#big))
      local list = {}
      for i = 1, 100000 do list[i] = { i, tostring(i) } end
      local back = echo(list)
      assert.equal(#list, #back)
      assert.same(list[77777], back[77777])
    end)
  end)
end

local function connections()
  describe("a connection " .. how, function()
    after_each(leave)

    it("that is lost by kill -9 there is noticed once by everybody", function()
      meet()
      actor.register "spec"
      local pid = victim()
      actor.trap_exit(true)
      node.monitor(E, true)
      actor.link(pid)
      local ref = actor.monitor(pid)
      local by_name = actor.monitor { "server", E }
      local me = actor.self()
      actor.spawn(function()
        me:send { "called", actor.try_call({ "server", E }, atom "hang", 60000) }
      end)
      helper.wait(function() return e:eval "sys:get_state(server)" end)
      -- In the middle of something large.
      actor.send({ "echo", E }, tuple { atom "no_pid", 1, ("x"):rep(20000000) })
      e:signal "KILL"
      assert.equal("noconnection", (helper.receive { "EXIT", pid, V.reason }))
      assert.equal("noconnection", (helper.receive { "DOWN", ref, V._, pid, V.reason }))
      assert.equal("noconnection", (helper.receive { "DOWN", by_name, V._, V._, V.reason }))
      assert.equal("noconnection", (helper.receive { "called", false, V.reason }))
      assert.equal(E, (helper.receive { "nodedown", V.name }))
      assert.same({}, node.list())
      assert.equal(0, actor.flush(actor._))
      actor.unregister "spec"
    end)

    it("that is lost by kill -9 here is noticed once by Erlang", function()
      local l = peers.luactor {}
      l:eval(("node.start{ name = %q, cookie = %q, listen = 0, tls = %s }"):format(ME, COOKIE,
        tls and ("{ cert = %q, key = %q, ca = %q }"):format(tls.cert, tls.key, tls.ca) or "nil"))
      l:eval [[
        actor.spawn_opt({ name = "server" }, function()
          local serve = actor.receiver(
            on(actor.request(V.from, "pid"), function(from) actor.reply(from, actor.self()) end),
            on(actor.request(V.from, "hang"), function() end))
          while true do serve() end
        end)]]
      e = peers.erl { name = E, cookie = COOKIE, tls = tls_file }
      local ready = peers.dir() .. "/linked"
      local id = e:tell(([[
        process_flag(trap_exit, true),
        P = gen_server:call({server, '%s'}, pid),
        link(P), M1 = monitor(process, P), M2 = monitor(process, {server, '%s'}),
        monitor_node('%s', true),
        Self = self(),
        spawn(fun() -> Self ! {called, catch gen_server:call(P, hang, 60000)} end),
        P = gen_server:call({server, '%s'}, pid),
        file:write_file("%s", "x"),
        R = [receive {'EXIT', P, R1} -> R1 end,
             receive {'DOWN', M1, _, _, R2} -> R2 end,
             receive {'DOWN', M2, _, _, R3} -> R3 end,
             receive {nodedown, R4} -> R4 end,
             receive {called, {'EXIT', {{R5, _}, _}}} -> R5; {called, R5} -> R5 end],
        {R, receive X -> X after 50 -> none end}]]):format(ME, ME, ME, ME, ready))
      helper.wait(function() return peers.slurp(ready) end)
      os.remove(ready)
      l:signal "KILL"
      assert.equal(("{[noconnection,noconnection,noconnection,'%s',nodedown],none}"):format(ME),
        e:result(id))
      l:kill()
    end)

    it("needs the same cookie, whoever begins", function()
      start_me { cookie = "another" }
      e = start_erl()
      tell_mapper(e)
      local ok, why = node.connect(E)
      assert.is_nil(ok)
      assert.is_string(why)
      assert.equal("pang", node.ping(E))
      assert.equal("pang", e:eval("net_adm:ping('%s')", ME))
      assert.equal("[]", e:eval "nodes(connected)")
      assert.equal("true", e:eval("erlang:set_cookie('%s', another)", ME))
      assert.equal("pong", e:eval("net_adm:ping('%s')", ME))
    end)

    it("is made a hundred times, by both", function()
      meet()
      assert.is_true(node.connect(E))
      for i = 1, 100 do
        if i % 2 == 0 then
          node.disconnect(E)
        else
          -- Erlang knows of it a little later than who connected.
          helper.wait(function() return e:eval("erlang:disconnect_node('%s')", ME) == "true" end)
        end
        helper.wait(function() return #node.list() == 0 end)
        -- A ping over what is just ending is a pang.
        helper.wait(function() return e:eval "nodes(connected)" == "[]" end)
        if i % 4 < 2 then
          assert.equal("pong", e:eval("net_adm:ping('%s')", ME))
        else
          assert.is_true(node.connect(E))
        end
      end
      assert.equal("hi", echo "hi")
      assert.same({ E }, node.list())
    end)

    it("comes of simultaneous attempts", function()
      meet()
      for _ = 1, 30 do
        node.disconnect(E)
        helper.wait(function() return #node.list() == 0 end)
        helper.wait(function() return e:eval "nodes(connected)" == "[]" end)
        local id = e:tell(("net_adm:ping('%s')"):format(ME))
        local pong = node.ping(E)
        assert.equal("pong", e:result(id))
        assert.equal("pong", pong)
        assert.same({ E }, node.list())
        assert.equal(("['%s']"):format(ME), e:eval "nodes(connected)")
      end
    end)

    it("to a node that came back is another one", function()
      meet()
      actor.register "spec"
      local old = victim()
      local ref = actor.monitor(old)
      e:kill()
      assert.equal("noconnection", (helper.receive { "DOWN", ref, V._, V._, V.reason }))
      e = start_erl()
      assert.is_true(node.connect(E))
      actor.send(old, "vanishes")
      ref = actor.monitor(old)
      assert.equal("noproc", (helper.receive { "DOWN", ref, V._, V._, V.reason }))
      actor.unregister "spec"
    end)

    it("may be to a hidden node", function()
      start_me()
      e = start_erl { hidden = true }
      tell_mapper(e)
      assert.equal("pong", node.ping(E))
      assert.equal("pong", e:eval("net_adm:ping('%s')", ME))
    end)

    it("may be visible", function()
      start_me { hidden = false }
      e = start_erl()
      tell_mapper(e)
      assert.equal("pong", node.ping(E))
      assert.equal(("['%s']"):format(ME), e:eval "nodes()")
      assert.equal("yes", e:eval "global:register_name(somebody, self())")
      assert.equal("pong", e:eval("net_adm:ping('%s')", ME))
    end)
  end)
end

describe("Erlang nodes", function()
  setup(function() peers.open { epmd = true } end)
  teardown(peers.close)

  how = "over TCP"
  signals()
  connections()
end)

describe("Erlang nodes", function()
  if not HAS_TLS then
    it("use TLS", function() pending "no openssl, or no ssl in erl: apt-get install erlang-ssl" end)
    return
  end
  setup(function()
    peers.open { epmd = true }
    how = "under TLS"
    tls = peers.certificate("node", { "127.0.0.1" })
    tls_file = peers.erl_tls(tls)
  end)
  teardown(function()
    peers.close()
    tls, tls_file = nil, nil
  end)

  how = "under TLS"
  signals()
  connections()

  describe("with a certificate", function()
    after_each(leave)

    it("of another authority are refused, whoever begins", function()
      start_me()
      local foreign = peers.certificate("foreign", { "127.0.0.1" }, "other_ca")
      e = start_erl { tls = peers.erl_tls(foreign, "foreign.conf") }
      tell_mapper(e)
      assert.is_nil((node.connect(E)))
      assert.equal("pang", e:eval("net_adm:ping('%s')", ME))
      assert.same({}, node.list())
    end)

    it("for another host are refused, whoever begins", function()
      start_me()
      local elsewhere = peers.certificate("elsewhere", { "elsewhere.example" })
      e = start_erl { tls = peers.erl_tls(elsewhere, "elsewhere.conf") }
      tell_mapper(e)
      assert.is_nil((node.connect(E)))
      assert.equal("pang", e:eval("net_adm:ping('%s')", ME))
      assert.same({}, node.list())
    end)

    it("do not talk to one without TLS", function()
      start_me()
      local file = tls_file
      tls_file = nil
      e = start_erl()
      tls_file = file
      tell_mapper(e)
      assert.is_nil((node.connect(E)))
      assert.equal("pang", e:eval("net_adm:ping('%s')", ME))
    end)
  end)
end)

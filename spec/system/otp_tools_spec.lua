-- What Erlang's gen_server, sys, supervisor and gen_event functions see of
-- behaviours here, and what actor.call sees of Erlang's.
local helper = require "spec.helper"
local peers = require "spec.peers"

local describe, it, assert, pending = describe, it, assert, pending
local setup, teardown = setup, teardown
local _ENV = _G

describe("Erlang's tools", function()
  if not peers.has "erl" then return pending "needs erl" end
  local l, e
  local D <const> = "{counter, 'l@127.0.0.1'}"

  local function start_counter()
    l:eval [[
      local actor = require "luactor"
      local gen_server = require "luactor.gen_server"
      local atom, tuple = actor.atom, actor.tuple
      local S = gen_server.define "counter"
      function S:init() self.n = 0 end
      function S.call:add(k) self.n = self.n + k return self.n end
      function S:handle_call(request)
        local what = tostring(type(request) == "userdata" and request or request[1])
        if what == "crash" then error "oops" end
        if what == "hang" then return gen_server.noreply end
        if what == "leave" then return gen_server.stop_with { "shutdown", "bored" } end
        return tuple { atom "got", request }
      end
      function S:handle_cast() self.n = 100 end
      if not actor.whereis "counter" then S:start_opt { name = "counter" } end]]
  end

  setup(function()
    peers.open { epmd = true }
    l = peers.luactor { name = "l@127.0.0.1" }
    l:eval "node.start{ name = 'l@127.0.0.1', cookie = 'c', listen = 0 } return 1"
    e = peers.erl { name = "e@127.0.0.1", cookie = "c" }
    assert.equal("pong", e:eval "net_adm:ping('l@127.0.0.1')")
    start_counter()
  end)
  teardown(peers.close)

  -- The value of an Erlang expression, or {'EXIT', ...}, `%s` being the counter.
  local function ask(code)
    return e:eval(("catch (%s)"):format((code:gsub("DEST", D))))
  end

  it("call and cast", function()
    assert.equal("{got,what}", ask "gen_server:call(DEST, what)")
    assert.equal("{got,{add,1}}", ask "gen_server:call(DEST, {add, 1})")
    assert.equal("5", ask "gen_server:call(DEST, {<<\"add\">>, 5})")
    assert.equal("ok", ask "gen_server:cast(DEST, {reset, 1})")
    assert.equal("101", ask "gen_server:call(DEST, [<<\"add\">>, 1])")
    assert.equal("{reply,{got,x}}", ask "gen_server:wait_response(gen_server:send_request(DEST, x), 5000)")
    assert.equal("{[{'l@127.0.0.1',{got,x}}],[]}", ask "gen_server:multi_call(['l@127.0.0.1'], counter, x)")
  end)

  it("get reasons", function()
    local function reason(code) return ask(("element(1, element(2, catch %s))"):format(code)) end
    assert.equal("timeout", reason "gen_server:call(DEST, hang, 50)")
    assert.equal("noproc", reason "gen_server:call({nobody, 'l@127.0.0.1'}, x)")
    assert.equal("{nodedown,'no@127.0.0.1'}", reason "gen_server:call({x, 'no@127.0.0.1'}, x)")
    assert.equal("error", ask "element(1, element(1, element(2, catch gen_server:call(DEST, crash))))")
    start_counter()
    assert.equal("0", ask "maps:get(<<\"n\">>, sys:get_state(DEST))")
  end)

  it("of sys look into a server", function()
    assert.equal("#{<<\"n\">> => 0}", ask "sys:get_state(DEST)")
    assert.equal("{status,{module,gen_server},running,{\"State\",#{<<\"n\">> => 0}}}", ask [[
      begin {status, P, Module, [_, How, P, _, Misc]} = sys:get_status(DEST),
        {data, [State]} = lists:last(Misc), {status, Module, How, State} end]])
    assert.equal("{ok,suspended,ok}", ask [[begin R = sys:suspend(DEST),
      {status, _, _, [_, How | _]} = sys:get_status(DEST), {R, How, sys:resume(DEST)} end]])
    assert.equal("{ok,[reductions,messages_in,messages_out]}", ask [[begin
      ok = sys:statistics(DEST, true), {ok, [{start_time, {{_,_,_},{_,_,_}}}, {current_time, _} | L]} =
      sys:statistics(DEST, get), {sys:statistics(DEST, false), [K || {K, _} <- L]} end]])
    assert.equal("{ok,no_statistics}", ask "sys:statistics(DEST, get)")
    assert.equal("{ok,[]}", ask "begin ok = sys:log(DEST, true), R = sys:log(DEST, get), ok = sys:log(DEST, false), R end")
    assert.matches("{callback_failed,{gen_server,system_replace_state},{error,badfun}}", ask
      "sys:replace_state(DEST, fun(S) -> S end)", 1, true)
    assert.matches("unknown_system_msg", ask [[begin R = make_ref(), DEST ! {system, {self(), R}, what},
      receive {R, X} -> X after 5000 -> none end end]])
    assert.equal("{error,not_allowed}", ask [[begin sys:suspend(DEST),
      R = sys:change_code(DEST, os, undefined, []), sys:resume(DEST), R end]])
  end)

  it("end a server, and see its reason", function()
    assert.equal("ok", ask "gen_server:stop(DEST)")
    assert.equal("noproc", ask "element(2, catch gen_server:stop(DEST))")
    start_counter()
    assert.matches("{shutdown,bored}", ask [[begin P = element(2, sys:get_status(DEST)),
      M = monitor(process, P), catch gen_server:stop(P, {shutdown, bored}, 5000),
      receive {'DOWN', M, _, _, R} -> R after 5000 -> none end end]], 1, true)
    start_counter()
  end)

  it("see a state machine as a pair", function()
    l:eval [[local statem = require "luactor.gen_statem"
      local M = statem.define "door"
      function M:init() self.n = 7 return "closed" end
      M.state = { closed = function() end }
      statem.start_opt(M, { name = "door" })]]
    assert.equal("{<<\"closed\">>,#{<<\"n\">> => 7}}", ask "sys:get_state({door, 'l@127.0.0.1'})")
  end)

  it("see and handle a supervisor's children", function()
    l:eval [[local supervisor = require "luactor.supervisor"
      local function idle() return require "luactor".spawn(function() require "luactor".receive "never" end) end
      local s = supervisor.start_link { name = "sup", children = {
        { id = "one", start = { idle } }, { id = "two", start = { idle }, restart = "transient" } } }
      require "luactor".unlink(s.pid)]]
    local S = "{sup, 'l@127.0.0.1'}"
    assert.equal("[{two,true,worker,[]},{one,true,worker,[]}]",
      ask("[{I, is_pid(P), T, M} || {I, P, T, M} <- supervisor:which_children(" .. S .. ")]"))
    assert.equal("[{specs,2},{active,2},{supervisors,0},{workers,2}]", ask("supervisor:count_children(" .. S .. ")"))
    assert.equal("ok", ask("supervisor:terminate_child(" .. S .. ", one)"))
    assert.equal("{error,not_found}", ask("supervisor:terminate_child(" .. S .. ", three)"))
    assert.equal("{error,running}", ask("supervisor:restart_child(" .. S .. ", <<\"two\">>)"))
    assert.equal("undefined", ask("element(2, lists:keyfind(one, 1, supervisor:which_children(" .. S .. ")))"))
    assert.equal("{ok,true}", ask("begin {ok, P} = supervisor:restart_child(" .. S .. ", one), {ok, is_pid(P)} end"))
    assert.equal("{ok,transient,worker,5000}", ask("begin {ok, M} = supervisor:get_childspec(" .. S
      .. ", two), {ok, maps:get(restart, M), maps:get(type, M), maps:get(shutdown, M)} end"))
    assert.equal("ok", ask("begin supervisor:terminate_child(" .. S .. ", two), supervisor:delete_child(" .. S .. ", two) end"))
    assert.equal("{error,not_allowed}", ask("supervisor:start_child(" .. S
      .. ", {x, {os, cmd, [\"true\"]}, permanent, 5000, worker, []})"))
  end)

  it("start children of one spec, with arguments", function()
    l:eval [[local dynamic = require "luactor.dynamic_supervisor"
      local function tell(to, x)
        return require "luactor".spawn(function() require "luactor".send(to, x) require "luactor".receive "never" end)
      end
      local s = dynamic.start_link { name = "dyn", child = { start = { tell }, restart = "temporary" } }
      require "luactor".unlink(s.pid)]]
    assert.equal("{hello,ok,[]}", ask [[begin {ok, P} = supervisor:start_child({dyn, 'l@127.0.0.1'}, [self(), hello]),
      X = receive hello -> hello after 5000 -> none end,
      {X, supervisor:terminate_child({dyn, 'l@127.0.0.1'}, P), supervisor:which_children({dyn, 'l@127.0.0.1'})} end]])
  end)

  it("reach the handlers of an event manager", function()
    l:eval [[local gen_event = require "luactor.gen_event"
      local H = gen_event.define "tally"
      function H:init() self.n = 0 end
      function H:handle_event(k) self.n = self.n + k end
      function H:handle_call(request) return require "luactor".tuple { request, self.n } end
      local m = gen_event.start { name = "events" }
      gen_event.add_handler(m, H)]]
    local M = "{events, 'l@127.0.0.1'}"
    assert.equal("[tally]", ask("gen_event:which_handlers(" .. M .. ")"))
    assert.equal("ok", ask("gen_event:notify(" .. M .. ", 1)"))
    assert.equal("ok", ask("gen_event:sync_notify(" .. M .. ", 2)"))
    assert.equal("{how_many,3}", ask("gen_event:call(" .. M .. ", tally, how_many)"))
    assert.equal("{error,bad_module}", ask("gen_event:call(" .. M .. ", other, x)"))
    assert.equal("{error,not_allowed}", ask("gen_event:add_handler(" .. M .. ", os, [])"))
    assert.equal("ok", ask("gen_event:stop(" .. M .. ")"))
  end)

  describe("and a luactor that calls Erlang", function()
    -- { ok, reason or reply } as text, and whether it took less than `most` ms.
    local function call(dest, request, ms)
      return l:eval([[local t0 = actor.now()
        local ok, value = actor.try_call(%s, %s, %s)
        return tostring(ok) .. " " .. tostring(value)]], dest, request, ms or "5000")
    end

    setup(function()
      e:eval [[register(srv, spawn(fun() -> (fun F() -> receive
          {'$gen_call', From, <<"pid">>} -> gen_server:reply(From, self()), F();
          {'$gen_call', _, <<"crash">>} -> exit(oops);
          {'$gen_call', _, <<"hang">>} -> F() end end)() end))]]
    end)

    it("gets replies and reasons", function()
      assert.matches("true <e@127.0.0.1.", call("{ 'srv', 'e@127.0.0.1' }", "'pid'"), 1, true)
      assert.equal("false timeout", call("{ 'srv', 'e@127.0.0.1' }", "'hang'", 50))
      assert.equal("false oops", call("{ 'srv', 'e@127.0.0.1' }", "'crash'"))
      assert.equal("false noproc", call("{ 'srv', 'e@127.0.0.1' }", "'pid'"))
      assert.equal("false noconnection", call("{ 'srv', 'nobody@127.0.0.1' }", "'pid'"))
      assert.equal("call to srv on e@127.0.0.1 failed: noproc", l:eval [[
        return tostring(select(2, pcall(actor.call, { "srv", "e@127.0.0.1" }, 1)))]])
    end)

    it("gets a timeout from a node that hangs, connected or not", function()
      e:signal "STOP"
      local connected = call("{ 'net_kernel', 'e@127.0.0.1' }", "'x'", 100)
      l:eval "node.disconnect 'e@127.0.0.1'"
      local opening = call("{ 'net_kernel', 'e@127.0.0.1' }", "'x'", 100)
      e:signal "CONT"
      assert.equal("false timeout", connected)
      assert.equal("false timeout", opening)
      helper.wait(function() return l:eval "return node.ping 'e@127.0.0.1'" == "pong" end)
    end)

    it("gets \"noconnection\" when the node dies", function()
      e:eval "register(hangs, spawn(fun() -> receive never -> 1 end end))"
      local hung = l:tell [[actor.register "caller"
        return tostring(select(2, actor.try_call({ "hangs", "e@127.0.0.1" }, "x", 30000)))]]
      helper.wait(function() return l:eval "return actor.whereis 'caller'" ~= "nil" end)
      e:kill()
      assert.equal("noconnection", l:result(hung))
    end)
  end)
end)

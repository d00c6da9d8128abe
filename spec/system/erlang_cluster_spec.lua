-- luactor nodes, as programs of their own, among real Erlang and Elixir nodes that find
-- each other through a port mapper: what such nodes do to each other unasked.
local helper = require "spec.helper"
local peers = require "spec.peers"
local describe, it, assert, pending = describe, it, assert, pending
local setup, teardown = setup, teardown
local _ENV = _G

local A, B, L <const> = "a@127.0.0.1", "b@127.0.0.1", "l@127.0.0.1"

if not (peers.has "erl" and peers.has "erlc") then
  describe("a luactor in an Erlang cluster", function()
    it("is tested", function() pending "no erl here: apt-get install erlang-base" end)
  end)
  return
end

local a, b, l

local function start_luactor(hidden)
  local peer = peers.luactor { name = "l" }
  peer:eval(([[
    node.start{ name = %q, cookie = "c", listen = 0, hidden = %s, ticktime = 4 }
    actor.spawn_opt({ name = "counter" }, function()
      local n = 0
      local serve = actor.receiver(
        on(actor.request(V.from, { "add", V.k "number" }), function(from, k)
          n = n + k
          actor.reply(from, n)
        end))
      while true do serve() end
    end)]]):format(L, hidden))
  return peer
end

-- Erlang that counts the nodes it loses, and says so when global disconnects one.
local function start_erl(name)
  return peers.erl { name = name, cookie = "c",
    more = "-kernel net_ticktime 4 -kernel prevent_overlapping_partitions true" }
end

local WATCH <const> = [[register(watch, spawn(fun() ->
    net_kernel:monitor_nodes(true, [{node_type, all}, nodedown_reason]),
    (fun F(Lost) -> receive {nodedown, N, _} -> F([N | Lost]); {get, P} -> P ! {lost, Lost}, F(Lost);
      _ -> F(Lost) end end)([]) end)), ok]]
local LOST <const> = "watch ! {get, self()}, receive {lost, Lost} -> lists:sort(Lost) end"

local function meet(hidden)
  a, b = start_erl(A), start_erl(B)
  l = start_luactor(hidden)
  a:eval(WATCH)
  b:eval(WATCH)
  assert.equal("pong", a:eval("net_adm:ping('%s')", B))
  -- Both ways of finding one another.
  assert.equal("pong", l:eval("return node.ping %q", A))
  assert.equal("pong", b:eval("net_adm:ping('%s')", L))
end

for _, hidden in ipairs { "true", "false" } do
  describe("a luactor that is " .. (hidden == "true" and "hidden" or "visible")
    .. " between two Erlang nodes", function()
    setup(function()
      peers.open { epmd = true }
      meet(hidden)
    end)
    teardown(peers.close)

    it("lets them keep each other through many tick times and locks of global", function()
      -- 15 tick times would be a quarter of an hour of a usual cluster; meanwhile names come
      -- and go under global's locks.
      local id = a:tell [[lists:foreach(fun(I) ->
          yes = global:register_name({name, I}, self()),
          true = global:trans({lock, self()}, fun() -> true end, [node() | nodes()] -- ['l@127.0.0.1'], 3) =/= aborted,
          global:unregister_name({name, I}), timer:sleep(100) end, lists:seq(1, 60)), done]]
      for i = 1, 60 do
        assert.equal(tostring(i), b:eval("gen_server:call({counter, '%s'}, {add, 1})", L))
      end
      assert.equal("done", a:result(id, 60000))
      assert.equal("[]", a:eval(LOST))
      assert.equal("[]", b:eval(LOST))
      assert.equal("pong", l:eval("return node.ping %q", B))
    end)

    it("may die, come back and be cut off, and they lose nobody else", function()
      l:signal "KILL"
      helper.wait(function()
        return a:eval(LOST):find(L, 1, true) and b:eval(LOST):find(L, 1, true)
      end)
      l = start_luactor(hidden)
      assert.equal("pong", l:eval("return node.ping %q", A))
      assert.equal("pong", l:eval("return node.ping %q", B))
      for _ = 1, 5 do
        assert.equal("true", l:eval("return node.disconnect %q", A))
        helper.wait(function()
          return not a:eval("nodes(connected)"):find(L, 1, true)
        end)
        assert.equal("pong", a:eval("net_adm:ping('%s')", L))
      end
      for _, e in ipairs { a, b } do
        assert.equal(("['%s']"):format(L), e:eval("watch ! {get, self()}, "
          .. "receive {lost, Lost} -> lists:usort(Lost) end"))
      end
      assert.matches(B, a:eval "nodes()", 1, true)
      assert.matches(A, b:eval "nodes()", 1, true)
      for _, e in ipairs { a, b } do
        local log = e:log()
        assert.is_nil(log:find("overlapping", 1, true), log)
        assert.is_nil(log:find("ERROR", 1, true), log)
      end
    end)
  end)
end

describe("Elixir", function()
  local lib = peers.has "elixir" and
    select(2, peers.sh "elixir -e 'IO.write(:code.lib_dir(:elixir))'")
  if not lib then
    it("is tested", function() pending "no elixir here: apt-get install elixir" end)
    return
  end
  setup(function()
    peers.open { epmd = true }
    a = peers.erl { name = A, cookie = "c", more = ("-pa %s/ebin -pa %s/../logger/ebin"):format(lib, lib) }
    a:eval "{ok, _} = application:ensure_all_started(elixir), ok"
    l = start_luactor "true"
  end)
  teardown(peers.close)

  local function elixir(code)
    return a:eval("{V, _} = 'Elixir.Code':eval_string(<<%q/utf8>>), V", code)
  end

  it("calls a process by name, and monitors it", function()
    assert.equal("7", elixir "GenServer.call({:counter, :'l@127.0.0.1'}, {:add, 7})")
    assert.equal("8", elixir "GenServer.call({:counter, :'l@127.0.0.1'}, {:add, 1}, 1000)")
    assert.equal("noproc", elixir(
      "ref = Process.monitor({:nobody, :'l@127.0.0.1'}); receive do {:DOWN, ^ref, _, _, why} -> why end"))
    assert.equal("true", elixir "Node.list(:hidden) == [:'l@127.0.0.1']")
  end)

  it("is called: a GenServer and an Agent", function()
    elixir [[{:ok, pid} = Agent.start(fn -> %{n: 1} end, name: :an_agent)
      defmodule Adder do
        use GenServer
        def init(n), do: {:ok, n}
        def handle_call({:add, k}, _from, n), do: {:reply, {:ok, n + k}, n + k}
        def handle_call(%{"text" => s}, _from, n), do: {:reply, String.upcase(s), n}
      end
      {:ok, _} = GenServer.start(Adder, 10, name: :adder)]]
    assert.equal("ok 15", l:eval [[
      local reply = actor.call({ "adder", "a@127.0.0.1" }, actor.tuple { actor.atom "add", 5 })
      return tostring(reply[1]) .. " " .. reply[2] ]])
    assert.equal("LÉGER", l:eval [[
      return actor.call({ "adder", "a@127.0.0.1" }, { text = "léger" })]])
  end)
end)

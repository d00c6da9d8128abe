%% The workloads of bench/dist.lua, between two Erlang nodes. The other node is
%% an erl that this one starts, with the same arguments and another name.
%%
%%   erl -noshell -name bench_a@127.0.0.1 -s distance main dist_pingpong
-module(distance).
-export([main/1, other/0]).

-define(OTHER, 'bench_b@127.0.0.1').

main([Case]) ->
    logger:set_primary_config(level, none),
    Me = self(),
    register(main, Me),
    Command = os:getenv("BENCH_ERL") ++ " -name bench_b@127.0.0.1 -s distance other",
    Port = open_port({spawn, Command}, [exit_status]),
    receive up -> ok after 20000 -> io:format("no other node~n"), halt(1) end,
    Name = list_to_atom(hd(string:split(atom_to_list(Case), "_tls"))),
    {Ops, Run} = bench(Name),
    {Pid, Ref} = spawn_monitor(fun() ->
        Run(Ops div 10),
        erlang:garbage_collect(),
        T0 = erlang:monotonic_time(nanosecond),
        Run(Ops),
        Ns = erlang:monotonic_time(nanosecond) - T0,
        io:format("{\"peer\":\"erlang\",\"case\":\"~s\",\"ops\":~b,\"seconds\":~.6f,"
                  "\"ns_per_op\":~.2f,\"hwm_kb\":~b}~n",
                  [Case, Ops, Ns / 1.0e9, Ns / Ops, peak_kb()])
    end),
    receive {'DOWN', Ref, process, Pid, Why} -> Why =:= normal orelse halt(1) end,
    {ender, ?OTHER} ! stop,
    receive {Port, {exit_status, _}} -> ok after 5000 -> ok end,
    halt(0).

peak_kb() ->
    {ok, Text} = file:read_file("/proc/self/status"),
    {match, [Kb]} = re:run(Text, "VmHWM:\\s*(\\d+)", [{capture, [1], list}]),
    list_to_integer(Kb).

other() ->
    [register(list_to_atom("sink" ++ integer_to_list(I)), spawn(fun sink/0))
     || I <- lists:seq(1, 10)],
    register(pong, spawn(fun pong/0)),
    register(server, spawn(fun server/0)),
    register(ender, spawn(fun() -> receive stop -> halt(0) end end)),
    pong = net_adm:ping('bench_a@127.0.0.1'),
    monitor_node('bench_a@127.0.0.1', true),
    {main, 'bench_a@127.0.0.1'} ! up,
    receive {nodedown, _} -> halt(0) end.

sink() ->
    receive
        {n, _} -> ok;
        {blob, B} -> 1048576 = byte_size(B);
        {last, From} -> From ! done
    end,
    sink().

pong() -> receive {ping, From, I} -> From ! {pong, I} end, pong().
server() -> receive {'$gen_call', From, {add, K}} -> gen:reply(From, K + 1) end, server().

done() -> receive done -> ok end.

one_way(Name, N) ->
    To = {Name, ?OTHER},
    [To ! {n, I} || I <- lists:seq(1, N)],
    To ! {last, self()},
    done().

bench(dist_pingpong) ->
    {30_000, fun(N) ->
        [begin {pong, ?OTHER} ! {ping, self(), I}, receive {pong, I} -> ok end end
         || I <- lists:seq(1, N)]
    end};
bench(dist_small) ->
    {500_000, fun(N) -> one_way(sink1, N) end};
bench(dist_fan) ->
    {500_000, fun(N) ->
        Refs = [element(2, spawn_monitor(fun() ->
                    one_way(list_to_atom("sink" ++ integer_to_list(I)), N div 10)
                end)) || I <- lists:seq(1, 10)],
        [receive {'DOWN', R, _, _, normal} -> ok end || R <- Refs]
    end};
bench(dist_1mb) ->
    {500, fun(N) ->
        B = binary:copy(<<"x">>, 1048576),
        [{sink1, ?OTHER} ! {blob, B} || _ <- lists:seq(1, N)],
        {sink1, ?OTHER} ! {last, self()},
        done()
    end};
bench(dist_call) ->
    {20_000, fun(N) ->
        [true = gen_server:call({server, ?OTHER}, {add, I}) =:= I + 1 || I <- lists:seq(1, N)]
    end}.

%% The workloads of the Lua programs in bench/, on Erlang/OTP, as a yardstick.
%%
%%   erlc yardstick.erl && erl -noshell -s yardstick main ring
%%
%% The comments in the Lua programs define the cases; here only what differs
%% is said. A case runs in a process of its own, checks its answer, and prints
%% the same line of JSON as bench/harness.lua does. The clock starts after a
%% warm-up of about a tenth of the size.
-module(yardstick).
-behaviour(gen_server).
-export([main/1, init/1, handle_call/3, handle_cast/2, handle_info/2]).
-export([start_crasher/1]).

main(Names) ->
    logger:set_primary_config(level, none),
    [run_case(Name) || Name <- Names],
    halt(0).

run_case(Name) ->
    {Pid, Ref} = spawn_monitor(fun() -> bench(Name) end),
    receive
        {'DOWN', Ref, process, Pid, normal} -> ok;
        {'DOWN', Ref, process, Pid, Reason} ->
            io:format(standard_error, "~s failed: ~p~n", [Name, Reason]),
            halt(1)
    end.

%% ------------------------------------------------------------ round trips

bench(pingpong) ->
    measure(pingpong, 1_000_000, fun(N) ->
        Ponger = start_ponger(),
        countdown(N, fun(I) -> trip(Ponger, I) end),
        Ponger ! stop
    end);

bench(pp_spin4) ->
    Spinners = start_spinners(4),
    Ponger = start_ponger(),
    countdown(100, fun(I) -> trip(Ponger, -I) end),
    Start = clock(),
    Done = trips_until(Ponger, Start + 3_000_000_000, 0),
    report(pp_spin4, Done, clock() - Start, []),
    kill_all(Spinners);

bench(ring)     -> ring(ring, 1000);
bench(ring10k)  -> ring(ring10k, 10_000);
bench(ring100k) -> ring(ring100k, 100_000);

%% --------------------------------------------------------------- processes

%% The parent's unread messages are walked by each of its minor collections
%% unless they are kept off its heap; spawn_exit shows that, spawn_exit_wave
%% does not suffer from it.
bench(spawn_exit) ->
    measure(spawn_exit, 100_000, fun spawn_and_collect/1);
bench(spawn_exit_wave) ->
    measure(spawn_exit_wave, 100_000, fun(N) ->
        countdown(N div 1000, fun(_) -> spawn_and_collect(1000) end)
    end);

bench(spawn_idle) ->
    process_flag(message_queue_data, off_heap),
    N = 100_000,
    Base = erlang:system_info(process_count),
    stop_idle(start_idle(100), Base),
    garbage_collect(),
    Rss0 = resident(),
    Vm0 = erlang:memory(processes),
    T0 = clock(),
    Pids = start_idle(N),
    T1 = clock(),
    garbage_collect(),
    Rss1 = resident(),
    Vm1 = erlang:memory(processes),
    T2 = clock(),
    stop_idle(Pids, Base),
    T3 = clock(),
    report(spawn_idle, N, T1 - T0, [{rss_bytes_each, (Rss1 - Rss0) / N},
                                    {vm_bytes_each, (Vm1 - Vm0) / N}]),
    report(idle_kill, N, T3 - T2, []);

bench(idle_cpu) ->
    process_flag(message_queue_data, off_heap),
    Base = erlang:system_info(process_count),
    Pids = start_idle(100_000),
    timer:sleep(500),
    Cpu0 = cpu_ms(),
    T0 = clock(),
    timer:sleep(3000),
    Cpu = cpu_ms() - Cpu0,
    Ns = clock() - T0,
    report(idle_cpu, 3, Cpu * 1_000_000,
           [{cpu_ms, Cpu}, {cpu_percent, 100 * Cpu * 1.0e6 / Ns}]),
    stop_idle(Pids, Base);

%% ---------------------------------------------------------------- messages

bench(fan_in) ->
    measure(fan_in, 1_000_000, fun(N) ->
        Counter = start_counter(N),
        countdown(10, fun(_) ->
            spawn(fun() -> produce([Counter], N div 10) end)
        end),
        await(done)
    end);
bench(fan_out) ->
    measure(fan_out, 1_000_000, fun(N) ->
        Counters = [start_counter(N div 10) || _ <- lists:seq(1, 10)],
        spawn(fun() -> produce(Counters, N div 10) end),
        countdown(10, fun(_) -> await(done) end)
    end);

bench(big) ->
    measure(big, 400_000, fun(N) -> big(200, N div 200) end);

bench(selective_ref) ->
    selective(selective_ref, 10_000, 100_000, fun(Server) ->
        Ref = make_ref(),
        Server ! {request, self(), Ref},
        receive {Ref, Reply} -> Reply end
    end);
bench(selective_tag)   -> selective(selective_tag, 10_000, 1000, fun ask_by_tag/1);
bench(selective_empty) -> selective(selective_empty, 0, 100_000, fun ask_by_tag/1);

%% The payloads are built at run time: a literal would be shared, not copied.
bench(payload_map100) ->
    Map = maps:from_list([{list_to_atom("field" ++ integer_to_list(I)), I * 1000}
                          || I <- lists:seq(1, 100)]),
    payload(payload_map100, 50_000, Map,
            fun(M) -> 50_000 = maps:get(field50, M) end);
bench(payload_list1000) ->
    List = [[I * 10 + J || J <- lists:seq(1, 10)] || I <- lists:seq(1, 100)],
    payload(payload_list1000, 20_000, List, fun(L) -> 11 = hd(hd(L)) end);
bench(payload_bin64k) ->
    Bytes = binary:copy(<<"0123456789abcdef">>, 4096),
    payload(payload_bin64k, 100_000, Bytes, fun(B) -> $f = binary:last(B) end);
bench(payload_new64k) ->
    Bytes = binary:copy(<<"0123456789abcdef">>, 4096),
    Check = fun(B) -> $f = binary:last(B) end,
    Parent = self(),
    Echo = spawn(fun() -> echo_loop(Parent, Check) end),
    measure(payload_new64k, 50_000, fun(N) ->
        countdown(N, fun(I) ->
            Echo ! {ping, iolist_to_binary([integer_to_binary(I), Bytes])},
            receive {pong, X} -> Check(X) end
        end)
    end);
bench(payload_copy64k) ->
    Bytes = binary:copy(<<"0123456789abcdef">>, 4096),
    measure(payload_copy64k, 50_000, fun(N) ->
        countdown(N, fun(I) ->
            New = iolist_to_binary([integer_to_binary(I), Bytes]),
            $f = binary:last(New)
        end)
    end);

bench(gen_call) ->
    {ok, Server} = gen_server:start_link(?MODULE, [], []),
    measure(gen_call, 500_000, fun(N) ->
        countdown(N, fun(_) -> ok = gen_server:call(Server, hello) end)
    end);

bench(sup_restart) ->
    process_flag(trap_exit, true),
    measure(sup_restart, 20_000, fun(N) ->
        countdown(N div 500, fun(_) -> lives(500) end)
    end);

bench(gen_call_add) ->
    Pid = spawn(fun add_loop/0),
    measure(gen_call_add, 500_000, fun(N) ->
        countdown(N, fun(I) -> true = gen:call(Pid, '$gen_call', {add, I}, 5000) =:= {ok, I + 1} end)
    end),
    exit(Pid, kill);

bench(gen_server_call) ->
    {ok, Server} = gen_server:start_link(?MODULE, [], []),
    measure(gen_server_call, 500_000, fun(N) ->
        countdown(N, fun(I) -> true = gen_server:call(Server, {add, I}) =:= I + 1 end)
    end);

bench(gen_server_start) ->
    measure(gen_server_start, 20_000, fun(N) ->
        countdown(N, fun(I) ->
            {ok, Server} = gen_server:start_link(?MODULE, [], []),
            true = gen_server:call(Server, {add, I}) =:= I + 1,
            ok = gen_server:stop(Server)
        end)
    end);

%% ---------------------------------------------------------------- fairness

bench(tick_idle)  -> ticks(tick_idle, 0);
bench(tick_spin)  -> ticks(tick_spin, erlang:system_info(schedulers_online));
bench(tick_spin8) -> ticks(tick_spin8, 8);

bench(spinners) ->
    Ponger = start_ponger(),
    countdown(10, fun(I) -> trip(Ponger, -I) end),
    Spinners = start_spinners(1000),
    timer:sleep(200),
    Start = clock(),
    Late = timed_trips(Ponger, Start + 3_000_000_000, 0, []),
    report(spinners, length(Late), clock() - Start, quantiles(Late)),
    kill_all(Spinners);

bench(timers) ->
    timers(1000),
    Cpu0 = cpu_ms(),
    T0 = clock(),
    {StartNs, Late} = timers(100_000),
    Ns = clock() - T0,
    report(timers, 100_000, Ns, [{start_ns_each, StartNs / 100_000},
                                 {cpu_ms, cpu_ms() - Cpu0} | quantiles(Late)]);

%% ------------------------------------------------------------- computation

bench(fib30) -> fib_case(fib30, 30, 832_040, 2_692_537);
bench(fib32) -> fib_case(fib32, 32, 2_178_309, 7_049_155);
bench(loop1e7) -> loop_case(loop1e7, 10_000_000);
bench(loop1e8) -> loop_case(loop1e8, 100_000_000).

%% ------------------------------------------------------------------- parts

start_ponger() ->
    Parent = self(),
    spawn(fun() -> ponger(Parent) end).

ponger(Parent) ->
    receive
        {ping, I} -> Parent ! {pong, I}, ponger(Parent);
        stop -> ok
    end.

trip(Ponger, I) ->
    Ponger ! {ping, I},
    receive {pong, I} -> ok end.

trips_until(Ponger, Stop, I) ->
    trip(Ponger, I),
    case (I + 1) band 15 =:= 0 andalso clock() >= Stop of
        true -> I + 1;
        false -> trips_until(Ponger, Stop, I + 1)
    end.

timed_trips(Ponger, Stop, I, Late) ->
    T0 = clock(),
    trip(Ponger, I),
    T1 = clock(),
    All = [(T1 - T0) / 1000 | Late],
    case T1 >= Stop of
        true -> All;
        false -> timed_trips(Ponger, Stop, I + 1, All)
    end.

ring(Name, Size) ->
    First = spawn(fun() -> receive {next, To} -> ring_node(To) end end),
    Last = lists:foldl(fun(_, To) -> spawn(fun() -> ring_node(To) end) end,
                       First, lists:seq(2, Size)),
    First ! {next, Last},
    measure(Name, 1_000_000, fun(N) ->
        First ! {token, N, self()},
        await(ring_done)
    end).

ring_node(To) ->
    receive
        {token, 0, Main} -> Main ! ring_done;
        {token, K, Main} -> To ! {token, K - 1, Main}
    end,
    ring_node(To).

spawn_and_collect(N) ->
    Parent = self(),
    countdown(N, fun(_) -> spawn(fun() -> Parent ! done end) end),
    countdown(N, fun(_) -> await(done) end).

start_idle(N) ->
    Parent = self(),
    Body = fun() -> Parent ! up, await(never) end,
    Pids = [spawn(Body) || _ <- lists:seq(1, N)],
    countdown(N, fun(_) -> await(up) end),
    Pids.

stop_idle(Pids, Base) ->
    kill_all(Pids),
    wait_for_count(Base).

wait_for_count(Base) ->
    case erlang:system_info(process_count) > Base of
        true -> erlang:yield(), wait_for_count(Base);
        false -> ok
    end.

start_counter(N) ->
    Parent = self(),
    spawn(fun() ->
        countdown(N, fun(_) -> receive {msg, _} -> ok end end),
        Parent ! done
    end).

produce(Counters, N) ->
    countdown(N, fun(I) -> [C ! {msg, I} || C <- Counters] end).

%% Big: Me is the number of the process, All the tuple of all of them.
big(Actors, Pings) ->
    Sink = self(),
    Pids = [spawn(fun() -> big_start(Me, Pings, Sink) end)
            || Me <- lists:seq(1, Actors)],
    All = list_to_tuple(Pids),
    [P ! {go, All} || P <- Pids],
    countdown(Actors, fun(_) -> await(finished) end),
    [P ! stop || P <- Pids].

big_start(Me, Pings, Sink) ->
    receive {go, All} -> big_ping(Me, All, Sink, Pings, Me) end.

big_ping(Me, All, Sink, 0, State) ->
    Sink ! finished,
    big_serve(Me, All, Sink, 0, State);
big_ping(Me, All, Sink, Left, State0) ->
    State = (State0 * 1664525 + 1013904223) band 16#ffffffff,
    K = (State bsr 16) rem (tuple_size(All) - 1) + 1,
    To = case K >= Me of true -> K + 1; false -> K end,
    element(To, All) ! {ping, self()},
    big_serve(Me, All, Sink, Left, State).

big_serve(Me, All, Sink, Left, State) ->
    receive
        {ping, From} ->
            From ! pong,
            big_serve(Me, All, Sink, Left, State);
        pong ->
            big_ping(Me, All, Sink, Left - 1, State);
        stop ->
            0 = Left
    end.

selective(Name, Junk, Ops, Ask) ->
    Server = spawn(fun reply_loop/0),
    countdown(Junk, fun(I) -> self() ! {junk, I} end),
    measure(Name, Ops, fun(N) -> countdown(N, fun(_) -> ok = Ask(Server) end) end).

ask_by_tag(Server) ->
    Server ! {request, self(), answer},
    receive {answer, Reply} -> Reply end.

reply_loop() ->
    receive {request, From, Tag} -> From ! {Tag, ok} end,
    reply_loop().

payload(Name, Ops, Value, Check) ->
    Parent = self(),
    Echo = spawn(fun() -> echo_loop(Parent, Check) end),
    measure(Name, Ops, fun(N) ->
        countdown(N, fun(_) ->
            Echo ! {ping, Value},
            receive {pong, X} -> Check(X) end
        end)
    end).

echo_loop(Parent, Check) ->
    receive {ping, X} -> Check(X), Parent ! {pong, X} end,
    echo_loop(Parent, Check).

ticks(Name, Spinners) ->
    Pids = start_spinners(Spinners),
    ticks_until(clock() + 200_000_000, []),
    Start = clock(),
    Late = ticks_until(Start + 5_000_000_000, []),
    report(Name, length(Late), clock() - Start, quantiles(Late)),
    kill_all(Pids).

ticks_until(Stop, Late) ->
    T0 = clock(),
    receive after 1 -> ok end,
    T1 = clock(),
    All = [(T1 - T0) div 1000 - 1000 | Late],
    case T1 >= Stop of
        true -> All;
        false -> ticks_until(Stop, All)
    end.

timers(N) ->
    Parent = self(),
    Taker = spawn(fun() ->
        Parent ! {late, [late_by() || _ <- lists:seq(1, N)]}
    end),
    T0 = clock(),
    countup(1, N, fun(I) ->
        Ms = 1 + (I * 7919) rem 1000,
        erlang:send_after(Ms, Taker, {due, clock() + Ms * 1_000_000})
    end),
    T1 = clock(),
    receive {late, Late} -> {T1 - T0, Late} end.

late_by() -> receive {due, At} -> (clock() - At) div 1000 end.

fib_case(Name, N, Result, Calls) ->
    fib(20),
    T0 = clock(),
    Result = fib(N),
    report(Name, Calls, clock() - T0, []).

fib(N) when N < 2 -> N;
fib(N) -> fib(N - 1) + fib(N - 2).

loop_case(Name, Iterations) ->
    measure(Name, Iterations, fun(N) ->
        Expected = N * (N + 1) div 2,
        Expected = sum(1, N, 0)
    end).

sum(I, N, Acc) when I > N -> Acc;
sum(I, N, Acc) -> sum(I + 1, N, Acc + I).

%% ------------------------------------------------------------------- tools

init([]) -> {ok, none};
init({crasher, Main}) -> Main ! {up, self()}, {ok, none};
init({boss, Main}) ->
    Start = {?MODULE, start_crasher, [Main]},
    {ok, {#{intensity => 1_000_000, period => 1},
          [#{id => crasher, start => Start}]}}.
handle_call({add, I}, _From, State) -> {reply, I + 1, State};
handle_call(hello, _From, State) -> {reply, ok, State}.
handle_cast(_, State) -> {noreply, State}.
handle_info(crash, State) -> {stop, crash, State}.

start_crasher(Main) -> gen_server:start_link(?MODULE, {crasher, Main}, []).

lives(N) ->
    {ok, Boss} = supervisor:start_link(?MODULE, {boss, self()}),
    First = receive {up, Pid} -> Pid end,
    next_life(First, N),
    exit(Boss, shutdown),
    receive {'EXIT', Boss, Reason} -> shutdown = Reason end.

next_life(_, 0) -> ok;
next_life(Pid, N) ->
    Pid ! crash,
    receive {up, Next} -> next_life(Next, N - 1) end.

add_loop() ->
    receive {'$gen_call', From, {add, I}} -> gen:reply(From, I + 1), add_loop() end.

await(Word) -> receive Word -> ok end.

start_spinners(N) -> [spawn(fun() -> spin(0) end) || _ <- lists:seq(1, N)].
spin(I) -> spin(I + 1).
kill_all(Pids) -> [exit(P, kill) || P <- Pids].

%% Call F with N, N - 1, ..., 1.
countdown(0, _) -> ok;
countdown(N, F) -> F(N), countdown(N - 1, F).

countup(I, N, _) when I > N -> ok;
countup(I, N, F) -> F(I), countup(I + 1, N, F).

measure(Name, Ops, Run) ->
    Run(Ops div 10),
    garbage_collect(),
    T0 = clock(),
    Run(Ops),
    report(Name, Ops, clock() - T0, []).

clock() -> erlang:monotonic_time(nanosecond).

resident() ->
    {ok, Text} = file:read_file("/proc/self/statm"),
    [_, Pages | _] = string:lexemes(Text, " "),
    binary_to_integer(Pages) * 4096.

peak_kb() ->
    {ok, Text} = file:read_file("/proc/self/status"),
    {match, [Kb]} = re:run(Text, "VmHWM:\\s*(\\d+)", [{capture, [1], binary}]),
    binary_to_integer(Kb).

%% User and system time of the whole emulator, to 10 ms.
cpu_ms() ->
    {ok, Text} = file:read_file("/proc/self/stat"),
    [_, Rest] = string:split(Text, ")", trailing),
    Words = string:lexemes(Rest, " "),
    10 * (binary_to_integer(lists:nth(12, Words))
          + binary_to_integer(lists:nth(13, Words))).

quantiles(List) ->
    Sorted = list_to_tuple(lists:sort(List)),
    At = fun(Q) ->
        element(max(1, ceil(Q * tuple_size(Sorted))), Sorted)
    end,
    [{late_p50_us, At(0.5)}, {late_p99_us, At(0.99)}, {late_max_us, At(1.0)}].

report(Name, Ops, Ns, Extra) ->
    io:format("{\"peer\":\"erlang\",\"case\":\"~s\",\"ops\":~b,\"seconds\":~.6f,"
              "\"ns_per_op\":~.2f~s,\"hwm_kb\":~b}~n",
              [Name, Ops, Ns / 1.0e9, Ns / Ops,
               [io_lib:format(",\"~s\":~s", [Key, number(Value)])
                || {Key, Value} <- Extra],
               peak_kb()]).

number(X) when is_integer(X) -> integer_to_list(X);
number(X) -> io_lib:format("~.2f", [X]).

%% What OTP does in the scenarios of scenarios.lua, event by event.
%%
%%   erlc scenarios.erl && erl -noshell -s scenarios main
%%
%% Every scenario is a function of the same name in both files. It runs in a
%% process of its own, which traps exits, and says what happens through log/1;
%% servers and children say it by sending to that process, so that the order
%% of the lines is the order of the events. The two outputs must be equal.
%%
%% A server of this file keeps a log of its callbacks; what it does is told by
%% the request: {do, Fun} runs Fun(State) as the body of the callback.
-module(scenarios).
-export([main/0, start_worker/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2,
         handle_continue/2, terminate/2]).

main() ->
    logger:set_primary_config(level, none),
    [run(Name) || Name <- names()],
    halt(0).

names() ->
    [server_calls, server_init_exits, server_init_ignores, server_call_crashes,
     server_cast_crashes, server_stop_with_reply, server_stopped,
     server_parent_dies_trapping, server_parent_dies, server_link_trapped,
     server_replies_later, server_timeout, server_timeout_cancelled,
     server_continue, server_terminate_crashes, server_state_by_sys,
     server_suspended, server_call_to_none, server_name_taken,
     one_for_one, one_for_all, rest_for_one, restart_kinds, intensity,
     intensity_all, stop_order, brutal_kill, late_child, failed_start,
     failed_restart, child_calls, children_listed, nested, any_significant,
     all_significant, temporary_in_one_for_all, supervisor_parent_dies,
     statem_states, statem_postpone, statem_next_event, statem_state_timeout,
     statem_event_timeout, statem_named_timeout, statem_enter,
     statem_repeat_state, statem_stop_and_reply, statem_keep_state_timeout,
     statem_crash, statem_postpone_order, statem_zero_timeout].

run(Name) ->
    {Pid, Ref} = spawn_monitor(fun() ->
        process_flag(trap_exit, true),
        put(top, self()),
        io:format("== ~s~n", [Name]),
        scenario(Name)
    end),
    receive {'DOWN', Ref, process, Pid, Reason} ->
        io:format("end ~s~n", [show(Reason)])
    end.

%% ------------------------------------------------------------ what is said

say(Format, Args) -> io:format(Format ++ "~n", [show(A) || A <- Args]).

%% Print what the others have said, up to the one that is waited for.
heard(Last) ->
    receive
        {said, Last} -> say("~s", [Last]);
        {said, Text} -> say("~s", [Text]), heard(Last)
    after 5000 -> say("nothing said: ~s", [Last])
    end.

%% Print what is there now.
heard() ->
    receive {said, Text} -> say("~s", [Text]), heard() after 0 -> ok end.

tell(Top, Format, Args) ->
    Top ! {said, lists:flatten(io_lib:format(Format, [show(A) || A <- Args]))}.

ended(Pid) ->
    receive {'EXIT', Pid, Reason} -> say("exit ~s", [Reason])
    after 5000 -> say("no exit", [])
    end.

show(X) when is_atom(X) -> atom_to_list(X);
show(X) when is_integer(X) -> integer_to_list(X);
show(X) when is_pid(X) ->
    case process_info(X, registered_name) of
        {registered_name, Name} -> atom_to_list(Name);
        _ -> "pid"
    end;
show({error, E, S}) when is_list(S) -> ["error ", show(E)];
show({E, [{M, _, _, _} | _]}) when is_atom(M) -> ["error ", show(E)];
show(X) when is_tuple(X) -> ["{", commas(tuple_to_list(X)), "}"];
show([]) -> "{}";
show(X) when is_list(X) ->
    case io_lib:printable_list(X) of
        true -> X;
        false -> ["{", commas(X), "}"]
    end.

commas(List) -> lists:join(",", [show(X) || X <- List]).

attempt(Fun) ->
    try Fun() of Value -> {value, Value}
    catch
        exit:{Reason, {_, call, _}} -> {exit, Reason};
        exit:{Reason, {sys, _, _}} -> {exit, Reason};
        exit:Reason -> {exit, Reason}
    end.

%% ------------------------------------------------------------ the worker

%% A gen_server {Top, Name} that tells what happens to it. Options: trap,
%% init (a function), quiet.
start_worker(Arg, Options) -> gen_server:start_link(?MODULE, Arg, Options).

init({fn, Fun}) -> Fun();
init({Top, Name}) -> init({Top, Name, []});
init({Top, Name, Options}) ->
    process_flag(trap_exit, proplists:get_bool(trap, Options)),
    case proplists:get_bool(named, Options) of
        true -> register(Name, self());
        false -> ok
    end,
    case proplists:get_value(init, Options) of
        undefined -> ok;
        Fun -> Fun()
    end,
    tell(Top, "~s starts", [Name]),
    put(terminate, proplists:get_value(terminate, Options)),
    {ok, {Top, Name, 0}}.

handle_call({do, Fun}, From, State) -> Fun(From, State);
handle_call(Request, _, {Top, Name, N}) ->
    tell(Top, "~s call ~s", [Name, Request]),
    {reply, {Request, N}, {Top, Name, N + 1}}.

handle_cast({do, Fun}, State) -> Fun(State);
handle_cast(Request, {Top, Name, N}) ->
    tell(Top, "~s cast ~s", [Name, Request]),
    {noreply, {Top, Name, N + 1}}.

handle_info({do, Fun}, State) -> Fun(State);
handle_info(Message, {Top, Name, N}) ->
    tell(Top, "~s info ~s", [Name, Message]),
    {noreply, {Top, Name, N + 1}}.

handle_continue(Term, {Top, Name, N}) ->
    tell(Top, "~s continue ~s", [Name, Term]),
    {noreply, {Top, Name, N + 1}}.

terminate(Reason, {Top, Name, _}) ->
    tell(Top, "~s terminate ~s", [Name, Reason]),
    case get(terminate) of
        undefined -> ok;
        Fun -> Fun()
    end.

server(Name) -> server(Name, []).
server(Name, Options) ->
    {ok, Pid} = start_worker({self(), Name, Options}, []),
    heard("" ++ atom_to_list(Name) ++ " starts"),
    Pid.

%% ------------------------------------------------------------ gen_server

scenario(server_calls) ->
    S = server(a),
    gen_server:cast(S, one),
    S ! two,
    say("reply ~s", [gen_server:call(S, three)]),
    heard("a call three"),
    say("state ~s", [element(3, sys:get_state(S))]);

scenario(server_init_exits) ->
    {error, Reason} = start_worker({fn, fun() -> exit(boom) end}, []),
    say("start ~s", [Reason]),
    {error, Stop} = start_worker({fn, fun() -> {stop, bad_config} end}, []),
    say("start ~s", [Stop]);

scenario(server_init_ignores) ->
    say("start ~s", [start_worker({fn, fun() -> ignore end}, [])]);

scenario(server_call_crashes) ->
    S = server(a),
    say("call ~s", [attempt(fun() ->
        gen_server:call(S, {do, fun(_, _) -> exit(boom) end}) end)]),
    heard("a terminate boom"),
    ended(S);

scenario(server_cast_crashes) ->
    S = server(a),
    gen_server:cast(S, {do, fun(_) -> exit(boom) end}),
    heard("a terminate boom"),
    ended(S);

scenario(server_stop_with_reply) ->
    S = server(a),
    say("call ~s", [attempt(fun() ->
        gen_server:call(S, {do, fun(_, St) -> {stop, normal, bye, St} end})
        end)]),
    heard("a terminate normal"),
    ended(S);

scenario(server_stopped) ->
    S = server(a),
    say("stop ~s", [gen_server:stop(S, shutdown, 1000)]),
    heard("a terminate shutdown"),
    ended(S),
    say("stop ~s", [attempt(fun() -> gen_server:stop(S) end)]);

scenario(server_parent_dies_trapping) ->
    parent_dies([trap]);

scenario(server_parent_dies) ->
    parent_dies([]);

scenario(server_link_trapped) ->
    S = server(a, [trap]),
    P = spawn(fun() -> link(S), exit(boom) end),
    M = monitor(process, P),
    receive {'DOWN', M, _, _, _} -> ok end,
    heard("a info {EXIT,pid,boom}");

scenario(server_replies_later) ->
    S = server(a),
    say("call ~s", [attempt(fun() -> gen_server:call(S, {do, fun(From, St) ->
        spawn(fun() -> gen_server:reply(From, later) end),
        {noreply, St}
    end}) end)]);

scenario(server_timeout) ->
    S = server(a),
    gen_server:cast(S, {do, fun(St) -> {noreply, St, 0} end}),
    heard("a info timeout"),
    say("call ~s", [gen_server:call(S, still)]);

scenario(server_timeout_cancelled) ->
    S = server(a),
    gen_server:cast(S, {do, fun(St) -> {noreply, St, 100} end}),
    gen_server:cast(S, other),
    receive after 150 -> ok end,
    gen_server:call(S, last),
    heard("a call last");

scenario(server_continue) ->
    S = server(a),
    gen_server:cast(S, {do, fun(St) ->
        self() ! info,
        {noreply, St, {continue, more}}
    end}),
    heard("a info info");

scenario(server_terminate_crashes) ->
    S = server(a, [{terminate, fun() -> exit(worse) end}]),
    gen_server:cast(S, {do, fun(_) -> exit(boom) end}),
    heard("a terminate boom"),
    ended(S);

scenario(server_state_by_sys) ->
    S = server(a),
    sys:replace_state(S, fun({Top, Name, _}) -> {Top, Name, 41} end),
    say("call ~s", [gen_server:call(S, now)]),
    say("state ~s", [element(3, sys:get_state(S))]);

scenario(server_suspended) ->
    S = server(a),
    ok = sys:suspend(S),
    gen_server:cast(S, early),
    say("state ~s", [element(3, sys:get_state(S))]),
    heard(),
    ok = sys:resume(S),
    say("call ~s", [gen_server:call(S, late)]),
    heard("a call late");

scenario(server_call_to_none) ->
    S = server(a),
    gen_server:stop(S),
    say("call ~s", [attempt(fun() -> gen_server:call(S, x) end)]),
    say("call ~s", [attempt(fun() -> gen_server:call(nobody, x) end)]),
    say("cast ~s", [gen_server:cast(S, x)]);

scenario(server_name_taken) ->
    {ok, S} = gen_server:start_link({local, taken}, ?MODULE, {self(), a}, []),
    {error, {already_started, T}} =
        gen_server:start_link({local, taken}, ?MODULE, {self(), b}, []),
    say("same ~s", [S =:= T]),
    heard(),
    gen_server:stop(S);

%% ------------------------------------------------------------ supervisor

scenario(one_for_one) ->
    Sup = sup(one_for_one, [child(a), child(b), child(c)]),
    crash(b), heard("b starts"),
    crash(a), heard("a starts"),
    stop(Sup);

scenario(one_for_all) ->
    Sup = sup(one_for_all, [child(a), child(b), child(c)]),
    crash(b), heard("c starts"),
    stop(Sup);

scenario(rest_for_one) ->
    Sup = sup(rest_for_one, [child(a), child(b), child(c)]),
    crash(b), heard("c starts"),
    crash(c), heard("c starts"),
    stop(Sup);

scenario(restart_kinds) ->
    Sup = sup(one_for_one,
        [child(p, permanent), child(t, transient), child(m, temporary)]),
    finish(p), heard("p starts"),
    crash(t), heard("t starts"),
    finish(t), heard("t terminate normal"),
    crash(m), heard("m terminate boom"),
    settle(Sup),
    listed(Sup),
    stop(Sup);

scenario(intensity) ->
    Sup = sup(#{strategy => one_for_one, intensity => 2, period => 60},
        [child(a), child(b)]),
    crash(a), heard("a starts"),
    crash(a), heard("a starts"),
    crash(a), heard("b terminate shutdown"),
    ended(Sup);

scenario(intensity_all) ->
    Sup = sup(#{strategy => one_for_all, intensity => 1, period => 60},
        [child(a), child(b), child(c)]),
    crash(b), heard("c starts"),
    crash(a), heard("b terminate shutdown"),
    ended(Sup);

scenario(stop_order) ->
    stop(sup(one_for_one, [child(a), child(b), child(c)]));

scenario(brutal_kill) ->
    Sup = sup(one_for_one,
        [child(a), (child(b))#{shutdown => brutal_kill}, child(c)]),
    stop(Sup);

scenario(late_child) ->
    Sup = sup(one_for_one,
        [child(a), (child(b, permanent,
            [{terminate, fun() -> timer:sleep(60000) end}]))#{shutdown => 20}]),
    stop(Sup);

scenario(failed_start) ->
    {error, Reason} = start_sup(flags(one_for_one),
        [child(a), child(b), child(c, permanent,
            [{init, fun() -> exit(no_disk) end}]), child(d)]),
    heard("a terminate shutdown"),
    {shutdown, {failed_to_start_child, Id, Why}} = Reason,
    say("failed ~s ~s", [Id, Why]),
    receive {'EXIT', _, R} -> say("exit ~s", [element(1, R)]) after 100 -> ok end;

scenario(failed_restart) ->
    T = ets:new(t, [public]),
    ets:insert(T, {n, 0}),
    Top = self(),
    Init = fun() ->
        case ets:update_counter(T, n, 1) of
            1 -> ok;
            _ -> tell(Top, "b fails", []), exit(no_disk)
        end
    end,
    Sup = sup(#{strategy => one_for_one, intensity => 2, period => 60},
        [child(a), child(b, permanent, [{init, Init}])]),
    crash(b),
    heard("a terminate shutdown"),
    ended(Sup);

scenario(child_calls) ->
    Sup = sup(one_for_one, [child(a)]),
    say("start ~s", [tag(supervisor:start_child(Sup, child(b)))]),
    heard("b starts"),
    say("again ~s", [tag(supervisor:start_child(Sup, child(b)))]),
    say("delete ~s", [supervisor:delete_child(Sup, b)]),
    say("restart ~s", [supervisor:restart_child(Sup, b)]),
    say("terminate ~s", [supervisor:terminate_child(Sup, b)]),
    heard("b terminate shutdown"),
    say("terminate ~s", [supervisor:terminate_child(Sup, b)]),
    listed(Sup),
    say("present ~s", [supervisor:start_child(Sup, child(b))]),
    say("restart ~s", [tag(supervisor:restart_child(Sup, b))]),
    heard("b starts"),
    say("terminate ~s", [supervisor:terminate_child(Sup, b)]),
    say("delete ~s", [supervisor:delete_child(Sup, b)]),
    say("delete ~s", [supervisor:delete_child(Sup, b)]),
    say("terminate ~s", [supervisor:terminate_child(Sup, none)]),
    say("restart ~s", [supervisor:restart_child(Sup, none)]),
    heard(),
    stop(Sup);

scenario(children_listed) ->
    Sup = sup(one_for_one, [child(a), (child(b))#{type => supervisor},
        child(c, temporary)]),
    listed(Sup),
    crash(c), heard("c terminate boom"),
    settle(Sup),
    listed(Sup),
    stop(Sup);

scenario(nested) ->
    Top = self(),
    Inner = #{id => inner, type => supervisor, shutdown => infinity, start =>
        {supervisor, start_link, [?MODULE, {fn, fun() ->
            put(top, Top),
            {ok, {flags(one_for_all), [child(x, Top), child(y, Top)]}}
        end}]}},
    Sup = sup(one_for_one, [child(a), Inner, child(b)]),
    crash(y), heard("y starts"),
    stop(Sup);

scenario(any_significant) ->
    Sup = sup(#{strategy => one_for_one, auto_shutdown => any_significant},
        [child(a), significant(b), significant(c)]),
    finish(b), heard("a terminate shutdown"),
    ended(Sup);

scenario(all_significant) ->
    Sup = sup(#{strategy => one_for_one, auto_shutdown => all_significant},
        [child(a), significant(b), significant(c)]),
    finish(c), heard("c terminate normal"),
    settle(Sup),
    finish(b), heard("a terminate shutdown"),
    ended(Sup);

scenario(temporary_in_one_for_all) ->
    Sup = sup(one_for_all, [child(a), child(m, temporary), child(b)]),
    crash(b), heard("b starts"),
    listed(Sup),
    stop(Sup);

scenario(supervisor_parent_dies) ->
    Top = self(),
    P = spawn(fun() ->
        put(top, Top),
        {ok, _} = start_sup(flags(one_for_one),
            [child(a, Top), child(b, Top)]),
        receive die -> exit(gone) end
    end),
    heard("b starts"),
    P ! die,
    heard("a terminate shutdown");

%% ------------------------------------------------------------ gen_statem

scenario(statem_states) ->
    S = statem(state_functions, #{
        off => fun(cast, push, D) -> {next_state, on, D + 1};
                  ({call, F}, get, D) -> {keep_state_and_data, [{reply, F, D}]}
               end,
        on => fun(cast, push, D) -> {next_state, off, D};
                 ({call, F}, get, D) -> {keep_state, D + 10, [{reply, F, D}]}
              end}, off, 0),
    gen_statem:cast(S, push),
    say("get ~s", [gen_statem:call(S, get)]),
    gen_statem:cast(S, push),
    say("get ~s", [gen_statem:call(S, get)]);

scenario(statem_postpone) ->
    S = statem(state_functions, #{
        busy => fun(cast, done, _) -> {next_state, idle, []};
                   (_, E, D) -> told("busy postpones ~s", [E]),
                       {keep_state, D, [postpone]}
                end,
        idle => fun(_, E, D) -> told("idle ~s", [E]), {keep_state, D} end},
        busy, []),
    [gen_statem:cast(S, E) || E <- [one, two, done, three]],
    heard("idle three");

scenario(statem_postpone_order) ->
    S = statem(state_functions, #{
        a => fun(_, next, _) -> {next_state, b, []};
                (_, E, _) -> told("a ~s", [E]), {keep_state_and_data, [postpone]}
             end,
        b => fun(_, next, _) -> {next_state, c, []};
                (_, one, _) -> told("b one", []), {next_state, c, []};
                (_, E, _) -> told("b ~s", [E]), {keep_state_and_data, [postpone]}
             end,
        c => fun(_, E, _) -> told("c ~s", [E]), keep_state_and_data end}, a, []),
    [gen_statem:cast(S, E) || E <- [one, two, next, three, last]],
    heard("c last");

scenario(statem_next_event) ->
    S = statem(state_functions, #{
        a => fun(cast, go, D) ->
                    told("go", []),
                    {next_state, b, D,
                     [{next_event, internal, first},
                      {next_event, internal, second}]};
                (_, E, _) -> told("a ~s", [E]), keep_state_and_data
             end,
        b => fun(T, E, _) -> told("b ~s ~s", [T, E]), keep_state_and_data end},
        a, []),
    gen_statem:cast(S, go),
    gen_statem:cast(S, third),
    heard("b cast third");

scenario(statem_state_timeout) ->
    S = statem(state_functions, #{
        a => fun(cast, go, D) -> {next_state, b, D,
                     [{state_timeout, 20, in_b}]};
                (T, E, _) -> told("a ~s ~s", [T, E]), keep_state_and_data
             end,
        b => fun(cast, back, D) -> {next_state, a, D};
                (state_timeout, E, D) -> told("b timeout ~s", [E]),
                    {next_state, a, D}
             end}, a, []),
    gen_statem:cast(S, go),
    heard("b timeout in_b"),
    gen_statem:cast(S, go),
    gen_statem:cast(S, back),
    receive after 60 -> ok end,
    gen_statem:cast(S, last),
    heard("a cast last");

scenario(statem_keep_state_timeout) ->
    S = statem(state_functions, #{
        a => fun(cast, go, _) -> {keep_state_and_data,
                     [{state_timeout, 30, late}]};
                (T, E, _) -> told("a ~s ~s", [T, E]), keep_state_and_data
             end}, a, []),
    gen_statem:cast(S, go),
    gen_statem:cast(S, other),
    heard("a state_timeout late");

scenario(statem_event_timeout) ->
    S = statem(state_functions, #{
        a => fun(cast, wait, _) -> {keep_state_and_data, [{timeout, 20, idle}]};
                (cast, wait_long, _) ->
                    {keep_state_and_data, [{timeout, 60, never}]};
                (T, E, _) -> told("a ~s ~s", [T, E]), keep_state_and_data
             end}, a, []),
    gen_statem:cast(S, wait),
    heard("a timeout idle"),
    gen_statem:cast(S, wait_long),
    gen_statem:cast(S, other),
    receive after 120 -> ok end,
    gen_statem:cast(S, last),
    heard("a cast last");

scenario(statem_named_timeout) ->
    S = statem(state_functions, #{
        a => fun(cast, start, D) -> {next_state, b, D,
                     [{{timeout, tick}, 20, x}, {{timeout, tock}, 5000, y}]};
                (T, E, _) -> told("a ~s ~s", [T, E]), keep_state_and_data
             end,
        b => fun(cast, change, D) -> {next_state, a, D};
                (T, E, _) -> told("b ~s ~s", [T, E]), keep_state_and_data
             end}, a, []),
    gen_statem:cast(S, start),
    gen_statem:cast(S, change),
    heard("a {timeout,tick} x");

scenario(statem_enter) ->
    S = statem([state_functions, state_enter], #{
        a => fun(enter, Old, _) -> told("enter a from ~s", [Old]),
                    keep_state_and_data;
                (cast, go, D) -> told("go", []), {next_state, b, D,
                    [{next_event, internal, inserted}]};
                (cast, stay, D) -> told("stay", []), {next_state, a, D}
             end,
        b => fun(enter, Old, D) -> told("enter b from ~s", [Old]),
                    {keep_state, D, [{state_timeout, 20, up}]};
                (state_timeout, up, D) -> told("up", []), {next_state, a, D};
                (T, E, _) -> told("b ~s ~s", [T, E]), keep_state_and_data
             end}, a, []),
    heard("enter a from a"),
    gen_statem:cast(S, stay),
    gen_statem:cast(S, go),
    heard("enter a from b");

scenario(statem_repeat_state) ->
    S = statem([state_functions, state_enter], #{
        a => fun(enter, Old, _) -> told("enter a from ~s", [Old]),
                    keep_state_and_data;
                (cast, again, D) -> {repeat_state, D};
                (cast, E, D) -> told("a ~s", [E]),
                    {keep_state, D}
             end}, a, []),
    heard("enter a from a"),
    gen_statem:cast(S, again),
    gen_statem:cast(S, x),
    heard("a x");

scenario(statem_stop_and_reply) ->
    S = statem(state_functions, #{
        a => fun({call, F}, bye, _) ->
                 {stop_and_reply, normal, [{reply, F, farewell}]} end}, a, []),
    say("call ~s", [gen_statem:call(S, bye)]),
    heard("terminate normal a"),
    ended(S);

scenario(statem_crash) ->
    S = statem(state_functions, #{
        a => fun(cast, crash, _) -> exit(boom) end}, a, []),
    gen_statem:cast(S, crash),
    heard("terminate boom a"),
    ended(S);

scenario(statem_zero_timeout) ->
    S = statem(state_functions, #{
        a => fun(cast, go, D) ->
                    self() ! external,
                    {next_state, b, D, [{state_timeout, 0, zero},
                                        {next_event, internal, inner}]} end,
        b => fun(T, E, _) -> told("b ~s ~s", [T, E]), keep_state_and_data end},
        a, []),
    gen_statem:cast(S, go),
    gen_statem:cast(S, last),
    heard("b cast last").

parent_dies(Options) ->
    Top = self(),
    P = spawn(fun() ->
        {ok, S} = start_worker({Top, a, Options}, []),
        Top ! {server, S},
        receive die -> exit(gone) end
    end),
    S = receive {server, Pid} -> Pid end,
    M = monitor(process, S),
    heard("a starts"),
    P ! die,
    receive {'DOWN', M, _, _, Reason} -> ok end,
    heard(),
    say("down ~s", [Reason]).

%% ------------------------------------------------------------ supervisors

child(Id) -> child(Id, permanent).
child(Id, Top) when is_pid(Top) -> child(Id, permanent, [], Top);
child(Id, Restart) -> child(Id, Restart, []).
child(Id, Restart, Options) -> child(Id, Restart, Options, get(top)).
child(Id, Restart, Options, Top) ->
    #{id => Id, restart => Restart, start =>
        {?MODULE, start_worker, [{Top, Id, [trap, named | Options]}, []]}}.

significant(Id) -> (child(Id, transient))#{significant => true}.

flags(Strategy) -> #{strategy => Strategy, intensity => 10, period => 60}.

start_sup(Flags, Children) ->
    supervisor:start_link(?MODULE, {fn, fun() -> {ok, {Flags, Children}} end}).

sup(Strategy, Children) when is_atom(Strategy) ->
    sup(flags(Strategy), Children);
sup(Flags, Children) ->
    {ok, Sup} = start_sup(Flags, Children),
    heard(),
    Sup.

crash(Name) -> gen_server:cast(Name, {do, fun(_) -> exit(boom) end}).
finish(Name) -> gen_server:cast(Name, {do, fun(S) -> {stop, normal, S} end}).

%% The supervisor has dealt with every signal before this. The exit of a child
%% that has just said its last word may still be on its way.
settle(Sup) ->
    receive after 50 -> ok end,
    supervisor:which_children(Sup).

stop(Sup) ->
    M = monitor(process, Sup),
    exit(Sup, shutdown),
    receive {'DOWN', M, _, _, Reason} -> ok end,
    heard(),
    receive {'EXIT', Sup, _} -> ok end,
    say("supervisor ~s", [Reason]).

listed(Sup) ->
    [say("child ~s ~s ~s", [Id, if is_pid(P) -> alive; true -> P end, Type])
     || {Id, P, Type, _} <- lists:reverse(supervisor:which_children(Sup))],
    C = supervisor:count_children(Sup),
    say("specs ~s active ~s supervisors ~s workers ~s",
        [proplists:get_value(K, C) || K <- [specs, active, supervisors, workers]]).

tag({ok, Pid}) when is_pid(Pid) -> ok;
tag({error, {Tag, Pid}}) when is_pid(Pid) -> Tag;
tag({error, Tag}) -> Tag.

%% ------------------------------------------------------------ gen_statem

told(Format, Args) -> tell(get(top), Format, Args).

statem(Mode, States, First, Data) ->
    {ok, Pid} = gen_statem:start_link(scenario_statem,
        {self(), Mode, States, First, Data}, []),
    Pid.

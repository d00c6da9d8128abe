%% The state machine of the scenarios: its state functions are funs in a map.
-module(scenario_statem).
-behaviour(gen_statem).
-export([init/1, callback_mode/0, handle_event/4, terminate/3]).

init({Top, Mode, States, First, Data}) ->
    put(top, Top),
    put(mode, Mode),
    {ok, First, {States, Data}}.

%% The functions are called through handle_event, since a map holds them.
callback_mode() ->
    case get(mode) of
        [_, state_enter] -> [handle_event_function, state_enter];
        _ -> handle_event_function
    end.

handle_event(Type, Event, State, {States, Data}) ->
    case (maps:get(State, States))(Type, Event, Data) of
        {next_state, S, D} -> {next_state, S, {States, D}};
        {next_state, S, D, A} -> {next_state, S, {States, D}, A};
        {keep_state, D} -> {keep_state, {States, D}};
        {keep_state, D, A} -> {keep_state, {States, D}, A};
        {repeat_state, D} -> {repeat_state, {States, D}};
        Other -> Other
    end.

terminate(Reason, State, _) ->
    get(top) ! {said, lists:flatten(
        ["terminate ", reason(Reason), " ", atom_to_list(State)])}.

reason(R) when is_atom(R) -> atom_to_list(R);
reason({R, _}) -> ["error ", atom_to_list(R)].

#!/usr/bin/env escript
%% An endpoint on Erlang/OTP's `ssl`, which has a TLS of its own in Erlang.
%%
%% Settings are key=value arguments; each connection gives one line of JSON, as endpoint.h describes. Erlang names the
%% sender of every alert in its error. A FIN without close_notify and a reset are both `closed` to it.
-mode(compile).

main(Arguments) ->
    Settings = maps:from_list([{Name, Value} || A <- Arguments, [Name, Value] <- [string:split(A, "=")], Value =/= ""]),
    ok = logger:set_primary_config(level, none),
    {ok, _} = application:ensure_all_started(ssl),
    put(settings, Settings),
    case setting("role") of
        "client" -> be_client(list_to_integer(setting("local")), turns());
        "server" -> be_server()
    end.

setting(Name) -> setting(Name, undefined).
setting(Name, Otherwise) -> maps:get(Name, get(settings), Otherwise).

is_set(Name) -> setting(Name) =:= "1".

turns() -> case is_set("again") of true -> 2; false -> 1 end.

patience() -> 1000 * list_to_integer(setting("wait", "8")).

be_client(_, 0) -> ok;
be_client(Local, Turns) ->
    Socket = [{ip, {127, 0, 0, 1}}, {port, Local}, {reuseaddr, true}],
    Name = [{server_name_indication, setting("sni")} || setting("sni") =/= undefined],
    Again = case get(session) of undefined -> []; Session -> [{reuse_session, Session}] end,
    Options = Socket ++ Name ++ Again ++ options(),
    Connected = ssl:connect({127, 0, 0, 1}, list_to_integer(setting("port")), Options, patience()),
    report(Local, conversation(Connected)),
    be_client(Local + 1, Turns - 1).

be_server() ->
    Socket = [{ip, {127, 0, 0, 1}}, {reuseaddr, true}, {backlog, 16}],
    {ok, Listener} = ssl:listen(list_to_integer(setting("port")), Socket ++ options()),
    take(Listener).

take(Listener) ->
    {ok, Accepted} = ssl:transport_accept(Listener),
    Peer = ssl:peername(Accepted),
    Account = conversation(handshake(Accepted)),
    case Peer of
        {ok, {_, Port}} -> report(Port, Account);
        _ -> ok
    end,
    take(Listener).

%% A server can stop at the hello, look at it, and call the handshake off; one whose own code crashes takes the
%% connection's process with it.
handshake(Accepted) ->
    try ssl:handshake(Accepted, patience()) of
        {ok, Socket, _Hello} ->
            ssl:handshake_cancel(Socket),
            {error, called_off};
        Other -> Other
    catch
        exit:{{Crash, _Stack}, _Call} -> {error, {crash, Crash}}
    end.

options() ->
    Files = [{Option, setting(Name)} || {Name, Option} <- [{"ca", cacertfile}, {"cert", certfile}, {"key", keyfile}],
                                        setting(Name) =/= undefined],
    Common = [binary, {active, false}, {nodelay, true}, {keep_secrets, true}, {log_level, none}, {versions, versions()}],
    Common ++ Files ++ ciphers(setting("ciphers")) ++ groups(setting("groups")) ++ alpn(setting("alpn"))
        ++ trust(setting("role")) ++ resumption(setting("role"), lists:member('tlsv1.3', versions()))
        ++ refusal(setting("alert")).

versions() ->
    All = [{"1.3", 'tlsv1.3'}, {"1.2", 'tlsv1.2'}, {"1.1", 'tlsv1.1'}, {"1.0", tlsv1}],
    [Version || {Name, Version} <- All, Name >= setting("min", "1.2"), Name =< setting("max", "1.3")].

ciphers(undefined) -> [];
ciphers(Kind) ->
    Names = case Kind of
        "aes128" -> ["AES128-GCM-SHA256"];
        "aes256" -> ["AES256-GCM-SHA384"];
        "chacha" -> ["CHACHA20-POLY1305"];
        "cbc" -> ["AES128-SHA"];
        "ccm8" -> ["AES128-CCM8"]
    end,
    Families = case Kind of "ccm8" -> ["ECDHE-ECDSA-"]; _ -> ["ECDHE-ECDSA-", "ECDHE-RSA-"] end,
    Older = [ssl:str_to_suite(Family ++ Name) || Family <- Families, Name <- Names],
    Newer = [Suite || lists:member('tlsv1.3', versions()), Suite <- ssl:cipher_suites(exclusive, 'tlsv1.3')],
    [{ciphers, Newer ++ Older}].

%% TLS 1.3 and what was before it have an option each.
groups(undefined) -> [];
groups(Name) ->
    Group = case Name of "P-256" -> secp256r1; "P-384" -> secp384r1; "X25519" -> x25519 end,
    [{eccs, [Group]} || hd(lists:reverse(versions())) =/= 'tlsv1.3']
        ++ [{supported_groups, [Group]} || lists:member('tlsv1.3', versions())].

alpn(undefined) -> [];
alpn(Protocol) ->
    Option = case setting("role") of
        "client" -> alpn_advertised_protocols;
        "server" -> alpn_preferred_protocols
    end,
    [{Option, [list_to_binary(Protocol)]}].

trust("client") -> [{verify, case is_set("verify") of true -> verify_peer; false -> verify_none end}];
trust("server") ->
    case setting("auth", "none") of
        "none" -> [{verify, verify_none}];
        Asked -> [{verify, verify_peer}, {fail_if_no_peer_cert, Asked =:= "require"}]
    end.

%% Up to TLS 1.2 there are sessions by id only; tickets of TLS 1.3 are off unless asked for.
resumption("client", WithTickets) ->
    Older = hd(lists:reverse(versions())) =/= 'tlsv1.3',
    [{session_tickets, auto} || WithTickets, is_set("again")] ++ [{reuse_sessions, save} || Older, is_set("again")];
resumption("server", WithTickets) -> [{session_tickets, stateless} || WithTickets, setting("tickets") =/= "0"].

refusal("internal_error") -> [{sni_fun, fun(_) -> erlang:error(no_such_host) end}];
refusal("user_canceled") -> [{handshake, hello}];
refusal(_) -> [].

%% The short conversation of endpoint.h.
conversation({error, Reason}) -> ended(Reason, #{done => false, got => 0});
conversation({ok, Socket}) ->
    Known = ssl:connection_information(Socket, [protocol, session_resumption, session_id, session_data, keylog]),
    Talked = talk(setting("role"), Socket, about(Known)),
    ssl:close(Socket),
    Talked.

about({ok, Known}) ->
    [Version, Resumed, Id, Data, Keys] =
        [proplists:get_value(Name, Known) || Name <- [protocol, session_resumption, session_id, session_data, keylog]],
    keep_keys(Keys),
    Account = #{done => true, got => 0, version => version_name(Version)},
    case {Version, setting("role")} of
        {'tlsv1.3', _} -> Account#{resumed => Resumed};
        {_, "server"} -> Account; % it does not tell of sessions by id
        {_, "client"} ->
            Before = get(session),
            put(session, {Id, Data}),
            Account#{resumed => Before =/= undefined andalso element(1, Before) =:= Id}
    end;
about({error, _}) -> #{done => true, got => 0}. % it ended at once; reading will say why

version_name(Version) -> "TLSv" ++ case atom_to_list(Version) of "tlsv1" -> "1.0"; "tlsv" ++ Number -> Number end.

%% Erlang tells the keys only when the handshake is complete, with large letters, which others write small.
keep_keys(undefined) -> ok;
keep_keys(Lines) ->
    Texts = [[Label, " ", string:lowercase(Random), " ", string:lowercase(Secret), "\n"]
             || Line <- Lines, [Label, Random, Secret] <- [string:lexemes(Line, " ")]],
    file:write_file(setting("keylog"), Texts, [append]).

talk("client", Socket, Account) ->
    case is_set("leave") of
        true -> Account;
        false ->
            case first(Socket, Account) of
                #{reason := _} = Ended -> Ended;
                Greeted -> request(Socket, Greeted)
            end
    end;
talk("server", Socket, Account) ->
    [ssl:send(Socket, "220 lab ready\r\n") || is_set("first")],
    case ssl:recv(Socket, 0, patience()) of
        {ok, Data} ->
            Got = Account#{got => byte_size(Data)},
            case ssl:send(Socket, "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nok\n") of
                ok -> Got;
                {error, Reason} -> ended(Reason, Got)
            end;
        {error, Reason} -> ended(Reason, Account)
    end.

first(Socket, Account) ->
    case is_set("first") andalso ssl:recv(Socket, 0, patience()) of
        false -> Account;
        {ok, Data} -> Account#{got => byte_size(Data)};
        {error, Reason} -> ended(Reason, Account)
    end.

request(Socket, Account) ->
    case ssl:send(Socket, "GET / HTTP/1.0\r\nHost: lab\r\n\r\n") of
        ok -> read_all(Socket, Account);
        {error, Reason} -> ended(Reason, Account)
    end.

read_all(Socket, #{got := Got} = Account) ->
    case ssl:recv(Socket, 0, patience()) of
        {ok, Data} -> read_all(Socket, Account#{got => Got + byte_size(Data)});
        {error, closed} when Got > 0 -> Account;
        {error, Reason} -> ended(Reason, Account)
    end.

ended({tls_alert, {Name, Text}} = Reason, Account) ->
    Said = lists:flatten(Text),
    Way = case string:find(Said, " received ") of nomatch -> alert_sent; _ -> alert_received end,
    Account#{reason => Reason, Way => atom_to_list(Name), error => Said};
ended(called_off = Reason, Account) ->
    Account#{reason => Reason, alert_sent => "user_canceled", error => "called off by ssl:handshake_cancel"};
ended(Reason, Account) -> Account#{reason => Reason, error => lists:flatten(io_lib:format("~0p", [Reason]))}.

report(Peer, Account) ->
    Parts = [[", \"", atom_to_list(Name), "\": ", json(Value)] || {Name, Value} <- maps:to_list(maps:remove(reason, Account))],
    io:put_chars(["{\"peer\": ", integer_to_list(Peer), Parts, "}\n"]).

json(Value) when is_boolean(Value) -> atom_to_list(Value);
json(Value) when is_integer(Value) -> integer_to_list(Value);
json(Text) -> [$", [plain(Character) || Character <- Text], $"].

plain(Character) when Character =:= $"; Character =:= $\\ -> [$\\, Character];
plain(Character) when Character < 32; Character > 126 -> $\s;
plain(Character) -> Character.

"""How a handshake is judged: an ordered table of small rules. The first that fits names the outcome and explains it.

House rule: no verdict outside this file. Each rule is a function of the `Evidence` that returns a `Verdict`, or None
where it does not fit; its docstring says what it rests on. docs/outcomes.md tells the same in prose.

Two things hold throughout. What the capture lacks makes *unknown*, never *failed*, unless an alert that was seen says
otherwise. What was inferred from sealed records is *probable*, and the reason says from what.
"""

from collections.abc import Callable

from tlspcap.tls import flights, names
from tlspcap.tls.account import CLIENT, SERVER, Account
from tlspcap.tls.evidence import BENIGN, CLOSE_NOTIFY, Evidence
from tlspcap.tls.phases import phase_of, step_words
from tlspcap.tls.verdict import (
    Certainty,
    Completeness,
    Mechanism,
    Party,
    Phase,
    Verdict,
    established,
    failed,
    unknown,
)
from tlspcap.transport import Closed, Data

Rule = Callable[[Evidence], Verdict | None]

MAX_QUOTE = 48


def judge(seen: Evidence) -> Verdict:
    """Judge one handshake by what was seen of it."""
    for rule in RULES:
        verdict = rule(seen)
        if verdict is not None:
            return verdict
    return _cut_off(seen)


# -- any version ------------------------------------------------------------------------------------------------


def not_tls(seen: Evidence) -> Verdict | None:
    """The answer to the ClientHello is no TLS record at all."""
    account = seen.account
    if account.stray is None or account.server_hello is not None or account.stray_sender != SERVER:
        return None
    reason = f"the server answered the ClientHello with something that is not TLS: {_quote(account.stray.content)}"
    return failed("not_tls", SERVER, Mechanism.NOT_TLS, Phase.CLIENT_HELLO, reason, account.stray.data)


def alert_in_clear(seen: Evidence) -> Verdict | None:
    """A fatal alert in clear ends the handshake (RFC 5246 7.2, RFC 8446 6): its sender refused."""
    alert = next((a for a in seen.account.alerts if seen.is_decisive(a)), None)
    if alert is None or alert.code is None:
        return None
    phase = phase_of(seen, alert.sender, alert.code)
    reason = f"the {alert.sender} sent {_name(alert.code)} {step_words(alert.sender, phase)}"
    return failed("alert_in_clear", alert.sender, Mechanism.ALERT, phase, reason, alert.data, alert=alert.code)


# -- up to TLS 1.2 ----------------------------------------------------------------------------------------------


def last_finished_refused(seen: Evidence) -> Verdict | None:
    """The receiver of the last Finished answers it with a sealed alert and the connection ends without data.

    Only the server's counts as a refusal: a client that sends an alert first of all behind the server's Finished is
    closing a session that both sides completed.
    """
    account = seen.account
    if not seen.complete12 or account.client.application or account.server.application or seen.closed is None:
        return None
    client, server = account.client.finished, account.server.finished
    server_was_last = server is not None and client is not None and server.end and _later(server.last, client.last)
    alert = next(iter(account.server.sealed_alerts), None)
    client_spoke = account.client.sealed_alerts and alert and account.client.sealed_alerts[0].position < alert.position
    if server_was_last or alert is None or client_spoke or (seen.closer == CLIENT and _before(seen.closed, alert.data)):
        return None
    reason = "the server answered the client's Finished with a sealed alert and the connection ended without data"
    return failed(
        "last_finished_refused",
        SERVER,
        Mechanism.HIDDEN_ALERT,
        phase_of(seen, SERVER, None),
        reason,
        alert.data,
        probable=True,
    )


def both_finished(seen: Evidence) -> Verdict | None:
    """Both sides sent ChangeCipherSpec and Finished, in either order (RFC 5246 7.3): established."""
    account = seen.account
    client, server = account.client.finished, account.server.finished
    if client is None or server is None:
        return None
    last = server.last if _later(server.last, client.last) else client.last
    answered = account.client.application is not None or account.server.application is not None
    only_alerts = (account.client.sealed_alerts or account.server.sealed_alerts) and not answered
    if only_alerts:
        reason = (
            "both sides sent ChangeCipherSpec and Finished; only a sealed alert followed, taken for the closing one"
        )
        return established("both_finished", reason, last, Certainty.PROBABLE)
    return established("both_finished", "both sides sent ChangeCipherSpec and Finished", last, Certainty.CERTAIN)


def sealed_alert_before_finished(seen: Evidence) -> Verdict | None:
    """A sealed alert before both sides have sent their Finished: its sender gave up, its name is hidden."""
    if seen.tls13 or seen.account.server_hello is None or seen.gap:
        return None
    alerts = [*seen.account.client.sealed_alerts, *seen.account.server.sealed_alerts]
    if not alerts:
        return None
    alert = min(alerts, key=lambda a: a.position)
    phase = phase_of(seen, alert.sender, None)
    reason = f"the {alert.sender} sent a sealed alert before both sides had sent Finished"
    return failed("sealed_alert_before_finished", alert.sender, Mechanism.HIDDEN_ALERT, phase, reason, alert.data)


def data_both_ways(seen: Evidence) -> Verdict | None:
    """Application data of both sides behind a Finished that the capture lacks: they would not speak otherwise."""
    account = seen.account
    client, server = account.client.application, account.server.application
    if seen.tls13 or client is None or server is None or not (seen.gap or account.server_hello is None):
        return None
    reason = "a Finished is missing from the capture, but both sides went on to send application data"
    return established("data_both_ways", reason, None, Certainty.PROBABLE)


# -- TLS 1.3, without keys --------------------------------------------------------------------------------------


def sealed_refusal_by_client(seen: Evidence) -> Verdict | None:
    """The client's whole answer to the server's flight is one record as short as an alert (RFC 8446 6)."""
    if seen.flight.kind != "alert" or seen.account.client.gaps or seen.flight.end is None:
        return None
    reason = (
        "the client answered the server's flight with one sealed record as short as an alert instead of its Finished, "
        "so it most likely refused the server's certificate or parameters (inferred from the record's size)"
    )
    phase = phase_of(seen, CLIENT, None)
    data = seen.flight.end.first
    return failed("sealed_refusal_by_client", CLIENT, Mechanism.HIDDEN_ALERT, phase, reason, data, probable=True)


def sealed_refusal_by_server(seen: Evidence) -> Verdict | None:
    """Behind the client's certificate flight the server sends one alert-sized record, and the connection ends."""
    if not _lone_alert_after(seen) or not seen.client_auth or _client_left_first(seen):
        return None
    sent, wish = "a certificate", "refused it"
    if seen.flight.auth == "empty":
        sent, wish = "an empty certificate", "wanted one (certificate_required)"
    reason = (
        f"the client's flight is as long as one with {sent}; the server answered with one sealed record as short as an "
        f"alert and the connection ended, so it most likely {wish} (inferred from record sizes; the client may believe "
        "that it succeeded)"
    )
    data = seen.after[0].first
    return failed(
        "sealed_refusal_by_server", SERVER, Mechanism.HIDDEN_ALERT, Phase.CLIENT_AUTH, reason, data, probable=True
    )


def refusal_or_close(seen: Evidence) -> Verdict | None:
    """One alert-sized record from the server and nothing else: a refusal and an immediate close look alike."""
    if not _lone_alert_after(seen) or seen.client_auth or _client_left_first(seen):
        return None
    return unknown(
        "refusal_or_close",
        "behind the client's Finished the server sent one sealed record as short as an alert and the connection ended: "
        "a refusal and an immediate peaceful close look alike",
    )


def server_spoke_after(seen: Evidence) -> Verdict | None:
    """Behind the client's Finished the server sent more than an alert: it accepted (RFC 8446 4.4.4, 4.6.1)."""
    padded = flights.server_pads(seen.account)
    expect = flights.sizes(seen.account)
    spoken = [record for record in seen.after if not expect.is_alert(record, padded)]
    if not spoken or seen.flight.end is None:
        return None
    certainty = Certainty.CERTAIN if seen.flight.exact else Certainty.PROBABLE
    how = "" if seen.flight.exact else " (its place inferred from record sizes)"
    reason = f"the server went on with sealed records other than an alert behind the client's Finished{how}"
    return established("server_spoke_after", reason, seen.flight.end.last, certainty)


def client_left_in_peace(seen: Evidence) -> Verdict | None:
    """The client sent its Finished and closed first, in peace; the server had nothing to say against it."""
    if seen.flight.kind != "finished" or seen.client_auth or seen.gap or seen.flight.end is None:
        return None
    if seen.closed is None or seen.closed.how != "fin" or not _client_left_first(seen):
        return None
    reason = (
        "the client sent its Finished and closed in peace; the server acknowledged it and raised no alert before that"
    )
    return established("client_left_in_peace", reason, seen.flight.end.last, Certainty.PROBABLE)


def server_left_after_certificate(seen: Evidence) -> Verdict | None:
    """Behind a flight with client authentication the server just closes or resets: some stacks refuse so."""
    if seen.flight.kind != "finished" or not seen.client_auth or seen.after or seen.gap or seen.closed is None:
        return None
    if seen.closer != SERVER:
        return None
    mechanism = Mechanism.RESET if seen.closed.how == "reset" else Mechanism.CLOSE
    verb = "reset" if seen.closed.how == "reset" else "closed"
    reason = (
        f"the client's flight is as long as one with client authentication, and the server {verb} the connection "
        "without another record (inferred from record sizes)"
    )
    return failed(
        "server_left_after_certificate", SERVER, mechanism, Phase.CLIENT_AUTH, reason, seen.closed, probable=True
    )


def ended_behind_finished(seen: Evidence) -> Verdict | None:
    """The client's Finished was seen and the end tells nothing of whether the server accepted it."""
    if seen.flight.kind != "finished" or seen.closed is None or seen.gap:
        return None
    verb = "reset" if seen.closed.how == "reset" else "closed"
    reason = (
        f"the {seen.closer} {verb} the connection behind the client's Finished, before the server showed whether it "
        "accepted it"
    )
    return unknown("ended_behind_finished", reason)


def sealed_refusal_before_flight(seen: Evidence) -> Verdict | None:
    """Before any answer of the client the server's last record is as short as an alert, and the server closes."""
    sealed = seen.account.server.sealed
    if not seen.tls13 or seen.flight.kind != "none" or not sealed or seen.closer != SERVER or seen.gap:
        return None
    if not flights.sizes(seen.account).is_alert(sealed[-1], flights.server_pads(seen.account)):
        return None
    reason = (
        "the server ended its flight with one sealed record as short as an alert and closed "
        "(inferred from the record's size)"
    )
    return failed(
        "sealed_refusal_before_flight",
        SERVER,
        Mechanism.HIDDEN_ALERT,
        Phase.SERVER_HELLO,
        reason,
        sealed[-1].first,
        probable=True,
    )


# -- the connection ended before the handshake did ----------------------------------------------------------------


def gave_up_by_alert(seen: Evidence) -> Verdict | None:
    """A close_notify, or a warning behind which no message came before the end: its sender gave up."""
    if seen.gap:
        return None
    for alert in seen.account.alerts:
        if alert.code is None or seen.went_on(alert) or (alert.code in BENIGN and alert.code != CLOSE_NOTIFY):
            continue
        phase = phase_of(seen, alert.sender, alert.code)
        where = step_words(alert.sender, phase)
        if alert.code == CLOSE_NOTIFY:
            reason = f"the {alert.sender} closed with close_notify {where}, before the handshake was complete"
            return failed("gave_up_by_alert", alert.sender, Mechanism.CLOSE, phase, reason, alert.data)
        if seen.closed is not None:
            what = f"{_name(alert.code)} as a warning {where}"
            reason = f"the {alert.sender} sent {what} and the connection ended without another message"
            return failed(
                "gave_up_by_alert", alert.sender, Mechanism.ALERT, phase, reason, alert.data, alert=alert.code
            )
    return None


def waited_in_vain(seen: Evidence) -> Verdict | None:
    """The client ended a wait as long as the time-out: it is the silence that failed, not the client."""
    account = seen.account
    if seen.closed is None or seen.closer != CLIENT or account.server_hello is not None or account.answer or seen.gap:
        return None
    waited = seen.closed.time - seen.account.hello_first.time
    if waited < seen.timeout or seen.one_sided:
        return None
    return _no_answer(seen, waited)


def ended_early(seen: Evidence) -> Verdict | None:
    """A FIN or RST before the handshake was complete, with every byte before it seen."""
    closed = seen.closed
    if closed is None or seen.gap or seen.one_sided:
        return None
    mechanism = Mechanism.RESET if closed.how == "reset" else Mechanism.CLOSE
    phase = phase_of(seen, seen.closer, None)
    verb = "reset" if closed.how == "reset" else "closed"
    reason = f"the {seen.closer} {verb} the connection {step_words(seen.closer, phase)}, without an alert"
    if seen.closer == CLIENT and seen.account.server_hello is None and seen.account.answer is None:
        waited = (closed.time - seen.account.hello_first.time) / 1e9
        reason = (
            f"the client {verb} the connection {waited:.1f} s after its ClientHello, which the server had not answered"
        )
    return failed("ended_early", seen.closer, mechanism, phase, reason, closed, probable=seen.tls13)


def silence(seen: Evidence) -> Verdict | None:
    """Nobody closed and nothing came for as long as the time-out, by the capture's clock."""
    if not seen.silent or seen.gap or seen.one_sided or seen.flight.kind == "finished":
        return None
    if seen.account.server_hello is None and seen.account.answer is None:
        return _no_answer(seen, seen.idle)
    last = seen.account.records[-1].sender if seen.account.records else CLIENT
    waiting_for = SERVER if last == CLIENT else CLIENT
    if not seen.all_acknowledged(last):
        return _timeout(seen, Party.NETWORK, f"what the {last} sent last was never acknowledged")
    return _timeout(seen, Party(waiting_for), f"the {waiting_for} fell silent")


# -- what the capture lacks ---------------------------------------------------------------------------------------


def bytes_missing(seen: Evidence) -> Verdict | None:
    """A gap, or packets of one side only, hide the rest."""
    if seen.one_sided:
        here = CLIENT if seen.account.conversation.side(seen.account.client.number).packets else SERVER
        return unknown("bytes_missing", f"only packets of the {here} are in the capture")
    if seen.gap:
        first = min([*seen.account.client.gaps, *seen.account.server.gaps], key=lambda gap: gap.frame)
        role = seen.account.role(first.side)
        why = "were cut off by the snapshot length" if first.cause == "snaplen" else "are missing from the capture"
        return unknown("bytes_missing", f"{first.length} bytes of the {role} {why} before frame {first.frame}")
    return None


RULES: tuple[Rule, ...] = (
    not_tls,
    alert_in_clear,
    last_finished_refused,
    both_finished,
    sealed_alert_before_finished,
    data_both_ways,
    sealed_refusal_by_client,
    server_spoke_after,
    sealed_refusal_by_server,
    refusal_or_close,
    client_left_in_peace,
    server_left_after_certificate,
    ended_behind_finished,
    sealed_refusal_before_flight,
    gave_up_by_alert,
    waited_in_vain,
    ended_early,
    silence,
    bytes_missing,
)


def completeness(account: Account, verdict: Verdict) -> Completeness:
    """What the capture lacks for a handshake."""
    gaps = [*account.client.gaps, *account.server.gaps]
    conversation = account.conversation
    if not (conversation.opener.packets and conversation.other.packets):
        return Completeness.ONE_SIDED
    if account.hello is None:
        return Completeness.MID_STREAM
    if any(gap.cause == "snaplen" for gap in gaps):
        return Completeness.SNAPLEN
    if gaps:
        return Completeness.GAP
    return Completeness.CUT_OFF if verdict.rule == "cut_off" else Completeness.COMPLETE


# -- the parts of a verdict ---------------------------------------------------------------------------------------


def _cut_off(seen: Evidence) -> Verdict:
    return unknown("cut_off", "the capture ends before the handshake does")


def _timeout(seen: Evidence, side: Party, what: str) -> Verdict:
    reason = f"{what}: nothing more for {seen.idle / 1e9:.1f} s of capture time"
    return failed("silence", side, Mechanism.TIMEOUT, phase_of(seen, side, None), reason, None, probable=True)


def _no_answer(seen: Evidence, waited: int) -> Verdict:
    """No answer to the ClientHello: the server's doing where its TCP acknowledged it, else the network's."""
    last = seen.account.hello_last or seen.account.hello_first
    acknowledged = seen.acknowledged(CLIENT) >= last.offset + len(last.payload)
    side = Party.SERVER if acknowledged else Party.NETWORK
    heard = (
        "acknowledged the ClientHello but never answered it" if acknowledged else "never acknowledged the ClientHello"
    )
    reason = f"the server {heard}, in {waited / 1e9:.1f} s of capture time"
    return failed("no_answer", side, Mechanism.TIMEOUT, Phase.CLIENT_HELLO, reason, None)


def _lone_alert_after(seen: Evidence) -> bool:
    """Behind the client's flight the server sent alert-sized records only (Java sends two), and somebody closed."""
    expect, padded = flights.sizes(seen.account), flights.server_pads(seen.account)
    lone = 0 < len(seen.after) <= 2 and all(expect.is_alert(record, padded) for record in seen.after)
    return lone and seen.closed is not None and not seen.gap


def _client_left_first(seen: Evidence) -> bool:
    """The client closed before the server had said anything behind its flight."""
    if seen.closer != CLIENT or seen.closed is None:
        return False
    return not seen.after or seen.closed.frame < seen.after[0].first.frame


def _name(code: int) -> str:
    return f"{names.alert_name(code)} ({code})"


def _later(one: Data, other: Data) -> bool:
    return one.frame >= other.frame


def _before(closed: Closed, data: Data) -> bool:
    return closed.frame < data.frame


def _quote(content: bytes) -> str:
    """The first line of some bytes, escaped: they come from the wire."""
    line = content.split(b"\r\n")[0].split(b"\n")[0][:MAX_QUOTE]
    return '"' + line.decode("latin-1").encode("unicode_escape").decode("ascii").replace('"', '\\"') + '"'

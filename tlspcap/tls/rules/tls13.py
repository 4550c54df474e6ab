"""Rules for TLS 1.3 without keys: behind the ServerHello only sizes, order and TCP's ACKs tell (see `flights`)."""

from tlspcap.tls import flights
from tlspcap.tls.account import CLIENT, SERVER
from tlspcap.tls.evidence import Evidence
from tlspcap.tls.phases import phase_of
from tlspcap.tls.verdict import Certainty, Mechanism, Phase, Verdict, established, failed, unknown

EMPTY_CERTIFICATE = "an empty certificate"  # in reasons: what the size of the client's flight tells


def sealed_refusal_by_client(seen: Evidence) -> Verdict | None:
    """The client's whole answer to the server's flight is one record as short as an alert (RFC 8446 6)."""
    if seen.flight.kind != "alert" or seen.answer_broken or seen.flight.end is None:
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
    if not _lone_alert_after(seen) or not seen.client_auth or _client_left_first(seen) or _client_took_leave(seen):
        return None
    sent, wish = "a certificate", "refused it"
    if seen.flight.auth == "empty":
        sent, wish = EMPTY_CERTIFICATE, "wanted one (certificate_required)"
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
    if not _lone_alert_after(seen) or _client_left_first(seen):
        return None
    if seen.client_auth and not _client_took_leave(seen):
        return None
    return unknown(
        "refusal_or_close",
        "behind the client's Finished the server sent one sealed record as short as an alert and the connection ended: "
        "a refusal and an immediate peaceful close look alike",
    )


def server_spoke_after(seen: Evidence) -> Verdict | None:
    """Behind the client's Finished the server sent more than an alert: it accepted (RFC 8446 4.4.4, 4.6.1)."""
    padded = flights.server_may_pad(seen.account)
    expect = flights.sizes(seen.account)
    unread = [record for record in seen.after if seen.opened(SERVER, record) is None]
    spoken = [record for record in unread if not expect.is_alert(record, padded)]
    if not spoken or seen.flight.end is None:
        return None
    certainty = Certainty.CERTAIN if seen.flight.exact else Certainty.PROBABLE
    how = "" if seen.flight.exact else " (its place inferred from record sizes)"
    reason = f"the server went on with sealed records other than an alert behind the client's Finished{how}"
    return established("server_spoke_after", reason, seen.flight.end.last, certainty)


def client_left_in_peace(seen: Evidence) -> Verdict | None:
    """The client sent its Finished and closed first, in peace; the server had nothing to say against it."""
    if seen.flight.kind != "finished" or seen.client_auth or seen.answer_broken or seen.flight.end is None:
        return None
    if seen.closed is None or seen.closed.how != "fin" or not _client_left_first(seen):
        return None
    reason = (
        "the client sent its Finished and closed in peace; the server acknowledged it and raised no alert before that"
    )
    certain = seen.flight.opened and seen.account.server.finished is not None  # and it asked for no certificate
    if certain:
        return established("client_left_in_peace", reason, seen.flight.end.last, Certainty.CERTAIN)
    reason += " (inferred from the order of what was sent)"
    return established("client_left_in_peace", reason, seen.flight.end.last, Certainty.PROBABLE)


def server_left_after_certificate(seen: Evidence) -> Verdict | None:
    """Behind a flight with client authentication the server just closes or resets: some stacks refuse so."""
    if seen.flight.kind != "finished" or not seen.client_auth or seen.after or seen.answer_broken:
        return None
    if seen.closed is None or seen.closer != SERVER:
        return None
    mechanism = Mechanism.RESET if seen.closed.how == "reset" else Mechanism.CLOSE
    verb = "reset" if seen.closed.how == "reset" else "closed"
    reason = (
        f"the client's flight is as long as one with client authentication, and the server {verb} the connection "
        "without another record (inferred from record sizes)"
    )
    if seen.flight.opened:
        reason = (
            f"the client answered the certificate request, and the server {verb} the connection without an alert, so "
            "it most likely refused the answer (inferred from the order)"
        )
    return failed(
        "server_left_after_certificate", SERVER, mechanism, Phase.CLIENT_AUTH, reason, seen.closed, probable=True
    )


def ended_behind_finished(seen: Evidence) -> Verdict | None:
    """The client's Finished was seen and the end tells nothing of whether the server accepted it."""
    if seen.flight.kind != "finished" or seen.closed is None or seen.answer_broken:
        return None
    verb = "reset" if seen.closed.how == "reset" else "closed"
    reason = (
        f"the {seen.closer} {verb} the connection behind the client's Finished, before the server showed whether it "
        "accepted it"
    )
    return unknown("ended_behind_finished", reason)


def sealed_refusal_before_flight(seen: Evidence) -> Verdict | None:
    """Before any answer of the client the server's last record is as short as an alert, and the server closes.

    Where it is the only one, it does not matter who closes: no EncryptedExtensions is that short (RFC 8446 4.3.1).
    """
    sealed = seen.account.server.sealed
    if not seen.tls13 or not sealed or seen.closed is None or seen.gap:
        return None
    if len(sealed) > 1 and (seen.flight.kind != "none" or seen.closer != SERVER):
        return None
    if not flights.sizes(seen.account).is_alert(sealed[-1], flights.server_pads(seen.account)):
        return None
    if seen.opened(SERVER, sealed[-1]) is not None:
        return None
    what = "ended its flight with" if len(sealed) > 1 else "sent instead of its flight"
    reason = (
        f"the server {what} one sealed record as short as an alert, and the connection ended "
        "(inferred from the record's size)"
    )
    return failed(
        "sealed_refusal_before_flight",
        SERVER,
        Mechanism.HIDDEN_ALERT,
        Phase.CLIENT_HELLO,
        reason,
        sealed[-1].first,
        probable=True,
    )


def sealed_refusal_within_flight(seen: Evidence) -> Verdict | None:
    """The server answers the client's first record, its certificate, with one as short as an alert, and closes."""
    if not seen.tls13 or seen.flight.kind != "unclear" or seen.flight.end is None or seen.closer != SERVER:
        return None
    expect, padded = flights.sizes(seen.account), flights.server_pads(seen.account)
    behind = flights.server_records_after(seen.account, seen.flight)
    if len(behind) != 1 or not expect.is_alert(behind[0], padded) or seen.answer_broken:
        return None
    reason = (
        "the server answered the first record of the client's flight, in which its certificate must be, with one "
        "sealed record as short as an alert and closed, before the client's Finished (inferred from record sizes)"
    )
    return failed(
        "sealed_refusal_within_flight",
        SERVER,
        Mechanism.HIDDEN_ALERT,
        Phase.CLIENT_AUTH,
        reason,
        behind[0].first,
        probable=True,
    )


def _lone_alert_after(seen: Evidence) -> bool:
    """Behind the client's flight the server sent alert-sized records only (Java sends two), and somebody closed."""
    expect, padded = flights.sizes(seen.account), flights.server_pads(seen.account)
    unread = all(seen.opened(SERVER, record) is None for record in seen.after)
    lone = 0 < len(seen.after) <= 2 and unread and all(expect.is_alert(record, padded) for record in seen.after)
    return lone and seen.closed is not None and not seen.answer_broken


def _client_took_leave(seen: Evidence) -> bool:
    """Behind its Finished the client sent a record as short as a close_notify, and the server's alert may answer it.

    Not so where it asked for something first: a server that had accepted it would have answered that.
    """
    behind = seen.account.client.sealed[seen.flight.index + 1 :]
    farewell = bool(behind) and flights.sizes(seen.account).is_alert(behind[0], padded=True)
    return farewell and behind[0].end <= seen.after[0].first.acked


def _client_left_first(seen: Evidence) -> bool:
    """The client closed before the server had said anything behind its flight; ACK numbers tell more than frames."""
    if seen.closer != CLIENT or seen.closed is None:
        return False
    if not seen.after or seen.covers_end(seen.after[0].first.acked, CLIENT):
        return True
    return seen.closed.frame < seen.after[0].first.frame and seen.closed.acked < seen.after[0].end

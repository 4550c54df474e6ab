"""Rules for SSL 3.0 to TLS 1.2, where Finished and alerts show by their record types even when sealed."""

from tlspcap.tls.account import CLIENT, SERVER, SeenAlert
from tlspcap.tls.evidence import Evidence
from tlspcap.tls.phases import phase_of
from tlspcap.tls.records import Record
from tlspcap.tls.verdict import Certainty, Mechanism, Verdict, established, failed
from tlspcap.transport import UNKNOWN, Data


def last_finished_refused(seen: Evidence) -> Verdict | None:
    """The receiver of the last Finished answers it with a sealed alert and the connection ends without data.

    Only the server's counts as a refusal: a client that sends an alert first of all behind the server's Finished is
    closing a session that both sides completed.
    """
    alert = _answer_to_last_finished(seen)
    if alert is None or seen.gap:
        return None  # what is missing may be data, which only a client that saw the handshake through sends
    reason = (
        "the server answered the client's Finished with a sealed alert and the connection ended without data, so it "
        "most likely refused it (inferred from the order)"
    )
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
    if client is None or server is None or seen.tls13:
        return None
    last = max(client.last, server.last, key=lambda data: data.frame)
    answered = account.client.application is not None or account.server.application is not None
    only_alerts = (account.client.sealed_alerts or account.server.sealed_alerts) and not answered
    if only_alerts:
        if seen.gap and _answer_to_last_finished(seen) is not None:
            return None  # a refusal, or what closed a session of which the rest is missing
        reason = (
            "both sides sent ChangeCipherSpec and Finished; only a sealed alert followed, inferred to be the closing "
            "one"
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
    if client is None or server is None or not (seen.broken or account.server_hello is None):
        return None
    if seen.tls13 or not _is_before_tls13(seen):
        return None
    reason = (
        "a Finished is missing from the capture, but both sides went on to send application data (inferred from that)"
    )
    return established("data_both_ways", reason, None, Certainty.PROBABLE)


def _is_before_tls13(seen: Evidence) -> bool:
    """The version was seen, or without a ServerHello a message that TLS 1.3 does not have, or seals as type 23."""
    account, clear = seen.account, {"certificate", "server_key_exchange", "server_hello_done", "client_key_exchange"}
    if account.server_hello is not None or account.client.finished or account.server.finished:
        return not seen.tls13
    return not clear.isdisjoint([*account.client.steps, *account.server.steps])


def _answer_to_last_finished(seen: Evidence) -> SeenAlert | None:
    """The server's sealed alert behind the client's Finished, the last of both, where nothing else was sent."""
    account = seen.account
    if not seen.complete12 or account.client.application or account.server.application or seen.closed is None:
        return None
    client, server = account.client.finished, account.server.finished
    server_was_last = server is not None and client is not None and _answers(server, client)
    alert = next(iter(account.server.sealed_alerts), None)
    client_spoke = account.client.sealed_alerts and alert and account.client.sealed_alerts[0].position < alert.position
    if server_was_last or alert is None or client_spoke or _left_before(seen, alert.data):
        return None
    return alert


def _answers(server: Record, client: Record) -> bool:
    """Whether the server sent its Finished when it had the client's; ACK numbers tell more than frames."""
    acked = server.first.acked
    return server.last.frame >= client.last.frame if acked == UNKNOWN else acked >= client.end


def _left_before(seen: Evidence, alert: Data) -> bool:
    """Whether the client closed first, before it had the server's alert."""
    return seen.closed is not None and seen.closer == CLIENT and seen.closed.acked <= alert.offset

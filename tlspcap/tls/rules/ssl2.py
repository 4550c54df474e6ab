"""Rules for SSL 2.0, which has neither ChangeCipherSpec nor alerts: only order and size of its sealed messages tell."""

from tlspcap.tls import ssl2
from tlspcap.tls.evidence import Evidence
from tlspcap.tls.phases import phase_of, step_words
from tlspcap.tls.verdict import Certainty, Mechanism, Verdict, established, failed


def ssl2_error(seen: Evidence) -> Verdict | None:
    """An ERROR of SSL 2.0 in clear: its sender refused."""
    alert = next(iter(seen.account.alerts), None) if seen.account.is_ssl2 else None
    if alert is None or alert.code is None:
        return None
    phase = phase_of(seen, alert.sender, None)
    where = step_words(alert.sender, phase)
    reason = f"the {alert.sender} sent the SSL 2.0 error {ssl2.error_name(alert.code)} ({alert.code}) {where}"
    return failed("ssl2_error", alert.sender, Mechanism.ALERT, phase, reason, alert.data, alert=alert.code)


def ssl2_finished(seen: Evidence) -> Verdict | None:
    """Both sides of SSL 2.0 sent what by order and length is their last message: SERVER-VERIFY and both Finished."""
    account = seen.account
    client, server = account.client.finished, account.server.finished
    if not account.is_ssl2 or client is None or server is None:
        return None
    reason = (
        "the server answered with sealed records that by order and length are SERVER-VERIFY and SERVER-FINISHED, the "
        "client with its CLIENT-FINISHED (inferred: SSL 2.0 seals them without naming them)"
    )
    last = max(client.last, server.last, key=lambda data: data.frame)
    return established("ssl2_finished", reason, last, Certainty.PROBABLE)


def ssl2_sealed_error(seen: Evidence) -> Verdict | None:
    """A sealed record of SSL 2.0 as long as an ERROR, and the connection ended before both sides had sent Finished."""
    account = seen.account
    alerts = [*account.client.sealed_alerts, *account.server.sealed_alerts]
    if not account.is_ssl2 or not alerts or seen.closed is None:
        return None
    alert = min(alerts, key=lambda alert: alert.position)
    phase = phase_of(seen, alert.sender, None)
    reason = (
        f"the {alert.sender} sent a sealed record as long as an ERROR {step_words(alert.sender, phase)}, and the "
        "connection ended before both sides had sent their Finished (inferred from the record's length)"
    )
    return failed(
        "ssl2_sealed_error", alert.sender, Mechanism.HIDDEN_ALERT, phase, reason, alert.data, probable=True
    )

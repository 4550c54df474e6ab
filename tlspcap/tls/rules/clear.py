"""Rules on what is seen in clear, in any version: alerts, and answers that are no TLS."""

from tlspcap.tls import names
from tlspcap.tls.account import SERVER, SeenAlert
from tlspcap.tls.evidence import BENIGN, CLOSE_NOTIFY, Evidence
from tlspcap.tls.phases import phase_of, phase_of_alert, step_words
from tlspcap.tls.quoting import quote
from tlspcap.tls.verdict import Mechanism, Phase, Verdict, failed


def not_tls(seen: Evidence) -> Verdict | None:
    """The answer to the ClientHello is no TLS record at all."""
    account = seen.account
    if account.stray is None or account.server_hello is not None or account.stray_sender != SERVER:
        return None
    reason = f"the server answered the ClientHello with something that is not TLS: {quote(account.stray.content)}"
    return failed("not_tls", SERVER, Mechanism.NOT_TLS, Phase.CLIENT_HELLO, reason, account.stray.data)


def greeted_in_clear(seen: Evidence) -> Verdict | None:
    """The server spoke first, in something else than TLS, and the connection ended without an answer to the hello."""
    account = seen.account
    over = seen.closed is not None or account.alerts or seen.silent
    lacking = seen.gap or seen.one_sided  # an answer may be among it
    if account.greeting is None or account.server_hello is not None or account.answer or not over or lacking:
        return None
    said = quote(account.greeting.payload)
    reason = (
        "the server spoke first, in something that is not TLS, and never answered the ClientHello "
        f"(inferred to speak no TLS): {said}"
    )
    return failed(
        "greeted_in_clear", SERVER, Mechanism.NOT_TLS, Phase.CLIENT_HELLO, reason, account.greeting, probable=True
    )


def alert_in_clear(seen: Evidence) -> Verdict | None:
    """A fatal alert in clear ends the handshake (RFC 5246 7.2, RFC 8446 6): its sender refused."""
    alert = next((a for a in seen.account.alerts if not a.decrypted and seen.is_decisive(a)), None)
    return None if alert is None else refusal("alert_in_clear", seen, alert)


def refusal(rule: str, seen: Evidence, alert: SeenAlert, how: str = "") -> Verdict | None:
    """What is said of an alert that ends the handshake; `how` ends the sentence."""
    if alert.code is None:
        return None
    if seen.broken:  # the steps before it may be among what is missing: only the alert's own name tells
        phase, where = phase_of_alert(alert.sender, alert.code), "at a step that the capture does not show"
    else:
        phase = phase_of(seen, alert.sender, alert.code)
        where = step_words(alert.sender, phase)
    reason = f"the {alert.sender} sent {_name(alert.code)} {where}{how}"
    return failed(rule, alert.sender, Mechanism.ALERT, phase, reason, alert.data, alert=alert.code)


def gave_up_by_alert(seen: Evidence) -> Verdict | None:
    """A close_notify, or a warning behind which no message came before the end: its sender gave up."""
    if seen.gap:
        return None
    for alert in seen.account.alerts:
        if alert.code is None or seen.went_on(alert) or (alert.code in BENIGN and alert.code != CLOSE_NOTIFY):
            continue
        if seen.answers_close(alert) or (alert.decrypted and seen.is_late(alert)):
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


def _name(code: int) -> str:
    return f"{names.alert_name(code)} ({code})"

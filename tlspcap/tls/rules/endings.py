"""Rules for connections that ended, fell silent or were lost before the handshake was complete, in any version."""

from tlspcap.tls.account import CLIENT, SERVER
from tlspcap.tls.evidence import Evidence
from tlspcap.tls.phases import phase_of, step_words
from tlspcap.tls.quoting import quote
from tlspcap.tls.verdict import Mechanism, Party, Phase, Verdict, failed, unknown
from tlspcap.transport import Closed, Data

_BY_SILENCE = " (inferred from the silence)"


def waited_in_vain(seen: Evidence) -> Verdict | None:
    """The client ended a wait as long as the time-out: it is the silence that failed, not the client."""
    account = seen.account
    if account.server_hello is not None or account.answer or seen.broken or seen.one_sided:
        return None
    ends = [alert.data.time for alert in account.alerts if alert.sender == CLIENT]
    if seen.closed is not None and seen.closer == CLIENT:
        ends.append(seen.closed.time)
    waited = min(ends, default=account.hello_first.time) - account.hello_first.time
    return _no_answer("waited_in_vain", seen, waited) if waited >= seen.timeout else None


def closed_before_alert(seen: Evidence) -> Verdict | None:
    """One side closed before it had done its part, and the other's alert only answers that.

    A side that sends no more cannot complete a handshake (RFC 9293 3.6), whatever its peer says of it: OpenSSL answers
    with decode_error, GnuTLS with unexpected_message, Java with handshake_failure.
    """
    closed, other = seen.closed, CLIENT if seen.closer == SERVER else SERVER
    if closed is None or closed.how != "fin" or seen.has_finished(seen.closer):
        return None
    alerts = [*seen.account.alerts, *seen.account.client.sealed_alerts, *seen.account.server.sealed_alerts]
    answers = all(alert.sender == other and _is_before(closed, alert.data) for alert in alerts)
    return _closed("closed_before_alert", seen, closed) if alerts and answers and seen.whole else None


def no_tls_within(seen: Evidence) -> Verdict | None:
    """In mid-handshake a side sent bytes that are no TLS record, and the connection ended: it broke the protocol.

    Not one byte before them is missing, and what takes them for a record must end the connection (RFC 8446 5, 5.1), so
    it does not matter who closes.
    """
    account, stray = seen.account, seen.account.stray
    over = seen.closed is not None or seen.silent
    if stray is None or account.hello is None or seen.gap or seen.one_sided or not over:
        return None
    sender = Party(account.stray_sender)
    phase = phase_of(seen, sender, None)
    reason = f"the {sender} sent bytes that are no TLS record {step_words(sender, phase)}: {quote(stray.content)}"
    return failed("no_tls_within", sender, Mechanism.VIOLATION, phase, reason, stray.data)


def ended_early(seen: Evidence) -> Verdict | None:
    """A FIN or RST before the handshake was complete, with every byte before it seen."""
    return _closed("ended_early", seen, seen.closed) if seen.closed is not None and seen.whole else None


def _is_before(closed: Closed, data: Data) -> bool:
    """Whether a FIN was seen before bytes of the other side, and does not acknowledge them (they were only late)."""
    return closed.frame < data.frame and closed.acked <= data.offset


def _closed(rule: str, seen: Evidence, closed: Closed) -> Verdict:
    """The side that closed first ended it."""
    mechanism = Mechanism.RESET if closed.how == "reset" else Mechanism.CLOSE
    phase = phase_of(seen, seen.closer, None)
    verb = "reset" if closed.how == "reset" else "closed"
    reason = f"the {seen.closer} {verb} the connection {step_words(seen.closer, phase)}, without an alert"
    if seen.closer == CLIENT and seen.account.server_hello is None and seen.account.answer is None:
        waited = (closed.time - seen.account.hello_first.time) / 1e9
        reason = (
            f"the client {verb} the connection {waited:.1f} s after its ClientHello, which the server had not answered"
        )
    probable = seen.tls13 and not seen.all_opened
    if probable:
        reason += " (inferred: what was sent behind the ServerHello is encrypted)"
    return failed(rule, seen.closer, mechanism, phase, reason, closed, probable=probable)


def silence(seen: Evidence) -> Verdict | None:
    """Nobody closed and nothing came for as long as the time-out, by the capture's clock."""
    if not seen.silent or seen.broken or seen.one_sided or seen.flight.kind == "finished":
        return None
    if seen.account.server_hello is None and seen.account.answer is None:
        return _no_answer("silence", seen, seen.idle)
    last = seen.account.records[-1].sender if seen.account.records else CLIENT
    waiting_for = SERVER if last == CLIENT else CLIENT
    if not seen.all_acknowledged(last):
        return _unacknowledged("silence", seen, last, f"what the {last} sent last", seen.idle)
    return _timeout(seen, Party(waiting_for), f"the {waiting_for} fell silent")


def bytes_missing(seen: Evidence) -> Verdict | None:
    """A gap, or packets of one side only, hide the rest."""
    if seen.one_sided:
        here = CLIENT if seen.account.conversation.side(seen.account.client.number).packets else SERVER
        return unknown("bytes_missing", f"only packets of the {here} are in the capture")
    if seen.gap:
        first = min([*seen.account.client.gaps, *seen.account.server.gaps], key=lambda gap: gap.frame)
        role = seen.account.role(first.side)
        why = "were cut off by the snapshot length" if first.cause == "snaplen" else "are missing from the capture"
        return unknown("bytes_missing", f"bytes of the {role} {why}")
    if seen.account.stray is not None:
        return unknown("bytes_missing", f"bytes of the {seen.account.stray_sender} are no TLS, in mid-handshake")
    return None


def _timeout(seen: Evidence, side: Party, what: str) -> Verdict:
    reason = f"{what}: nothing more for {seen.idle / 1e9:.1f} s of capture time{_BY_SILENCE}"
    return failed("silence", side, Mechanism.TIMEOUT, phase_of(seen, side, None), reason, None, probable=True)


def _no_answer(rule: str, seen: Evidence, waited: int) -> Verdict:
    """No answer to the ClientHello: the server's doing where its TCP acknowledged it, else perhaps the network's."""
    last = seen.account.hello_last or seen.account.hello_first
    if seen.acknowledged(CLIENT) < last.offset + len(last.payload):
        return _unacknowledged(rule, seen, CLIENT, "the ClientHello", waited)
    told = f"the server acknowledged the ClientHello but never answered it, in {waited / 1e9:.1f} s of capture time"
    reason = told + _BY_SILENCE
    return failed(rule, Party.SERVER, Mechanism.TIMEOUT, Phase.CLIENT_HELLO, reason, None, probable=True)


def _unacknowledged(rule: str, seen: Evidence, sender: str, what: str, waited: int) -> Verdict:
    """Bytes that were never acknowledged: lost on the network where TCP sent them again in vain (RFC 6298 5).

    Without that the capture lacks packets, more likely than not: TCP would have repeated them within a second.
    """
    told = f"{what} was never acknowledged, in {waited / 1e9:.1f} s of capture time"
    if not seen.account.conversation.side(seen.account.side(sender).number).repeated:
        return unknown("bytes_missing", f"{told}, nor sent again: the capture may lack packets")
    phase = phase_of(seen, Party.NETWORK, None)
    reason = f"{told}, though it was sent again{_BY_SILENCE}"
    return failed(rule, Party.NETWORK, Mechanism.TIMEOUT, phase, reason, None, probable=True)

"""How a handshake is judged: an ordered table of small rules. The first that fits names the outcome and explains it.

House rule: no verdict outside this file and the rules it puts in order. Each rule is a function of the `Evidence`
that returns a `Verdict`, or None where it does not fit; its docstring says what it rests on. docs/outcomes.md tells
the same in prose.

Two things hold throughout. What the capture lacks makes *unknown*, never *failed*, unless an alert that was seen says
otherwise. What was inferred from sealed records is *probable*, and the reason says from what.
"""

from collections.abc import Callable

from tlspcap.tls.account import Account
from tlspcap.tls.evidence import Evidence
from tlspcap.tls.rules import clear, endings, opened, ssl2, tls12, tls13
from tlspcap.tls.verdict import Completeness, Verdict, unknown

Rule = Callable[[Evidence], Verdict | None]

RULES: tuple[Rule, ...] = (
    clear.not_tls,
    ssl2.ssl2_error,
    ssl2.ssl2_finished,
    ssl2.ssl2_sealed_error,
    clear.greeted_in_clear,
    endings.closed_before_alert,
    endings.waited_in_vain,
    clear.alert_in_clear,
    opened.alert_opened,
    opened.accepted,
    tls12.last_finished_refused,
    tls12.both_finished,
    tls12.sealed_alert_before_finished,
    tls12.data_both_ways,
    tls13.sealed_refusal_before_flight,
    tls13.sealed_refusal_by_client,
    tls13.server_spoke_after,
    tls13.sealed_refusal_by_server,
    tls13.refusal_or_close,
    tls13.client_left_in_peace,
    tls13.server_left_after_certificate,
    tls13.ended_behind_finished,
    tls13.sealed_refusal_within_flight,
    clear.gave_up_by_alert,
    endings.no_tls_within,
    endings.ended_early,
    endings.silence,
    endings.bytes_missing,
)


# By whether it is TLS 1.3: the rules without those that say nothing of such a handshake, SSL 2.0 apart
_RULES_FOR = {
    is_tls13: tuple(rule for rule in RULES if rule.__module__ not in (other.__name__, ssl2.__name__))
    for is_tls13, other in ((True, tls12), (False, tls13))
}


def judge(seen: Evidence) -> Verdict:
    """Judge one handshake by what was seen of it."""
    for rule in RULES if seen.account.is_ssl2 else _RULES_FOR[seen.tls13]:
        verdict = rule(seen)
        if verdict is not None:
            return verdict
    return unknown("cut_off", "the capture ends before the handshake does")


def completeness(account: Account, verdict: Verdict) -> Completeness:
    """What the capture lacks for a handshake."""
    end, gaps = verdict.end, account.client.gaps + account.server.gaps
    if gaps and end is not None:
        gaps = [gap for gap in gaps if gap.frame <= end.frame]
    conversation = account.conversation
    if not (conversation.opener.packets and conversation.other.packets):
        return Completeness.ONE_SIDED
    if gaps and any(gap.cause == "snaplen" for gap in gaps):
        return Completeness.SNAPLEN
    if account.hello is None and not conversation.side(account.client.number).opened:
        return Completeness.MID_STREAM
    if gaps:
        return Completeness.GAP
    return Completeness.CUT_OFF if verdict.rule == "cut_off" else Completeness.COMPLETE

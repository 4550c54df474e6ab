"""Rules on what keys opened: what was sealed is known, and what follows from it is certain."""

from tlspcap.tls.account import SERVER
from tlspcap.tls.evidence import Evidence
from tlspcap.tls.rules.clear import refusal
from tlspcap.tls.verdict import Certainty, Verdict, established

SHOWN = " (encrypted; the key log shows it)"


def alert_opened(seen: Evidence) -> Verdict | None:
    """A fatal alert that keys opened ends the handshake, unless the handshake was over for its sender."""
    alert = next((a for a in seen.account.alerts if a.decrypted and seen.is_decisive(a)), None)
    return None if alert is None else refusal("alert_opened", seen, alert, SHOWN)


def accepted(seen: Evidence) -> Verdict | None:
    """Behind the client's Finished the server went on, or closed with close_notify: it accepted (RFC 8446 4.4.4)."""
    end = seen.flight.end
    if seen.flight.kind != "finished" or end is None:
        return None
    record = next((record for record in seen.after if seen.accepts(record)), None)
    if record is None:
        return None
    opened = seen.opened(SERVER, record)
    what = {"alert": "close_notify", "": "records of its own"}
    name = opened.names[0] if opened and opened.names else ""
    reason = f"the server sent {what.get(name, name)} behind the client's Finished{SHOWN}"
    if seen.flight.opened or seen.flight.exact:
        return established("accepted", reason, end.last, Certainty.CERTAIN)
    return established("accepted", f"{reason} (its place inferred from record sizes)", end.last, Certainty.PROBABLE)

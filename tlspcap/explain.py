"""One handshake in words: the verdict, who and when, every message, where the time went, what the capture lacks."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, TypeAlias

import pandas as pd

from tlspcap import words
from tlspcap.offers import CertificateRequest, hello_of, request_of, row_of
from tlspcap.report import causes
from tlspcap.tls.dialogue import NOTHING
from tlspcap.tls.names import AlertDescription
from tlspcap.tls.verdict import Certainty, Completeness, Mechanism, Party, Phase

WIDTH = 80
LABEL = 11  # width of the labels on the left
MOST_PACKETS = 40  # of the step by step account
MOST_LISTED = 8  # of a list of offers
# Alerts that say themselves what was not agreed on, which is shown anyway: the version, the name, the protocol
SAY_WHY = (
    AlertDescription.PROTOCOL_VERSION, AlertDescription.UNRECOGNIZED_NAME, AlertDescription.NO_APPLICATION_PROTOCOL,
)  # fmt: skip
OFFERS = (("Suites", "cipher_suites"), ("Groups", "groups"), ("Shares", "key_shares"), ("Schemes", "signature_schemes"))

Row: TypeAlias = "pd.Series[Any]"

CLIENT_AUTH = {
    "not_requested": "the server asked for no client certificate",
    "requested": "the server asked for a client certificate; no answer was seen",
    "no_certificate": "the server asked for a client certificate; the client had none",
    "certificate": "the client presented a certificate",
    "hidden": "whether the server asked for a client certificate is encrypted",
    "unknown": "client authentication is not known",
}
RESUMPTION = {
    "none": "a full handshake, no earlier session was offered",
    "declined": "a full handshake: the server declined the earlier session that the client offered",
    "session_id": "an earlier session was resumed by its id",
    "ticket": "an earlier session was resumed by ticket",
    "psk": "an earlier session (or an external key) was resumed by PSK",
}


def explain(handshake: int, tables: Mapping[str, pd.DataFrame]) -> str:
    """Tell one handshake step by step.

    Args:
        handshake: its number, the row label in the handshakes table.
        tables: DataFrames by name; `handshakes` is needed; `messages`, `alerts` and `notes` add the steps, `hellos` and
            `certificate_requests` what was offered and asked for where the handshake failed by that.

    Returns:
        Lines of at most 80 columns where words allow it, free of control characters; the first is the verdict.

    Raises:
        ArgumentError: there is no such handshake.

    >>> from tlspcap.schema import TABLES
    >>> table = pd.DataFrame({c.name: pd.Series(dtype=c.pandas_dtype) for c in TABLES["handshakes"].columns})
    >>> explain(17, {"handshakes": table})
    Traceback (most recent call last):
    tlspcap.errors.ArgumentError: there is no handshake 17: the table is empty
    """
    row = row_of(handshake, tables["handshakes"])
    messages, alerts, notes = (_own(tables.get(name), row) for name in ("messages", "alerts", "notes"))
    parts = [
        *textwrap.wrap(_verdict(row), WIDTH),
        "",
        *(line for name, text in [*_facts(row), *_offers(row, tables)] for line in _labelled(name, text)),
        *_steps(messages, alerts),
        *_labelled("Time", _time(row)),
        *_labelled("Lacks", _lacks(row)),
        *(line for note in notes.itertuples() for line in _labelled("Note", _note(note))),
    ]
    return "\n".join(parts) + "\n"


def _note(note: Any) -> str:
    return f"{note.kind}: {words.wire(note.detail, 300)}"


def _own(table: pd.DataFrame | None, row: Row) -> pd.DataFrame:
    """Return the rows of another table that belong to this handshake."""
    return pd.DataFrame() if table is None else table[(table["id"] == row["id"]).fillna(False)]


# What one side did to the other; a FIN or RST shows that its sender went, not that it refused
_DEEDS = {
    Mechanism.ALERT: "refused",
    Mechanism.HIDDEN_ALERT: "refused",
    Mechanism.RESET: "hung up on",
    Mechanism.CLOSE: "hung up on",
    Mechanism.TIMEOUT: "gave no answer to",
    Mechanism.NOT_TLS: "spoke no TLS to",
    Mechanism.VIOLATION: "broke the protocol towards",
}


def _verdict(row: Row) -> str:
    """Say the outcome and why in one sentence; of a failure, who did what to whom, at which step, and what was seen."""
    reason = "the capture gives no reason" if words.missing(row["reason"]) else words.wire(row["reason"], 400)
    reason = reason.rstrip(".")
    if words.missing(row["failure_side"]) or words.missing(row["failure_mechanism"]):
        return f"{str(row['outcome']).capitalize()}: {reason}."
    step, side = words.step(row["failure_phase"]), str(row["failure_side"])
    if reason.startswith(f"the {side} "):
        reason = reason.replace(f"the {side}", "it", 1).removesuffix(f" {step}")
    return f"Failed {step}: {_who_did_what_to_whom(row)}; {reason}."


def _who_did_what_to_whom(row: Row) -> str:
    """Say as a clause who ended it, and with whom."""
    if row["failure_side"] == Party.NETWORK:
        return "what the client and the server sent was lost between them"
    side, mechanism = row["failure_side"], Mechanism(str(row["failure_mechanism"]))
    deed = _DEEDS[mechanism]
    if side == Party.CLIENT and row["failure_phase"] == Phase.CLIENT_HELLO:
        deed = "gave up on"  # there was nothing yet that it could refuse
    if mechanism is Mechanism.HIDDEN_ALERT and row["certainty"] == Certainty.PROBABLE:
        deed = f"most likely {deed}"
    return f"the {side} {deed} the {Party.SERVER if side == Party.CLIENT else Party.CLIENT}"


_CERTAINTY = {
    "certain": "certain: seen in clear or with keys, or the only reading that the protocol allows",
    "probable": "probable: inferred from sizes, order and timing of encrypted records",
}


def _facts(row: Row) -> Iterator[tuple[str, str]]:
    client, server = (words.address(row[f"{side}_ip"], row[f"{side}_port"]) for side in ("client", "server"))
    yield "Certainty", "none" if words.missing(row["certainty"]) else _CERTAINTY[str(row["certainty"])]
    sni = "no name asked for" if words.missing(row["sni"]) else f"asking for {words.wire(row['sni'])}"
    yield "Who", f"client {client}, server {server}, {sni}"
    if not words.missing(row["starttls"]) and str(row["starttls"]) != NOTHING:
        yield "Before", f"{row['starttls']} led to TLS"
    yield "When", f"{row['time'].isoformat(sep=' ').replace('+00:00', 'Z')}"
    shown = causes.filters(row.to_frame().T)[0].expression
    yield "Where", f"{causes.place(row)} of {words.wire(row['capture'], 200)}"
    yield "Filter", shown
    yield "Offered", _joined(
        ("", row["offered_versions"] if not words.missing(row["offered_versions"]) else row["offered_version_max"]),
        ("ALPN ", row["alpn_offered"]), ("JA4 ", row["ja4"]),
    ) or "not seen"  # fmt: skip
    yield "Chosen", _chosen(row)
    if row["outcome"] != "failed" or not words.missing(row["negotiated_version"]):
        known = [(RESUMPTION, row["resumption"]), (CLIENT_AUTH, row["client_auth"])]
        said = [texts[str(value)] for texts, value in known if not words.missing(value)]
        if said:
            yield "Session", "; ".join(said)


def _offers(row: Row, tables: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, str]]:
    """List what the sides could not agree on: offers where they failed at the hellos, a request at client auth."""
    phase, alert = (None if words.missing(row[name]) else row[name] for name in ("failure_phase", "alert_code"))
    if phase in (Phase.CLIENT_HELLO, Phase.SERVER_HELLO) and alert not in SAY_WHY and "hellos" in tables:
        offered = hello_of(row, tables["hellos"]).offered
        for label, name in OFFERS:
            listed: tuple[str, ...] = getattr(offered, name, ())
            if listed:
                yield label, _listed(listed)
    if phase == Phase.CLIENT_AUTH and "certificate_requests" in tables:
        asked = request_of(row, tables["certificate_requests"])
        if asked is not None:
            yield "Asked for", _asked(asked)
            yield "From", _listed(asked.authorities, "; ") or "any CA: the server named none"


def _asked(asked: CertificateRequest) -> str:
    signed = f"; signed with {_listed(asked.signature_schemes)}" if asked.signature_schemes else ""
    return f"a certificate for {_listed(asked.certificate_types) or 'any kind of signature'}{signed}"


def _listed(listed: Sequence[str], separator: str = ", ") -> str:
    more = len(listed) - MOST_LISTED
    shown = separator.join(words.wire(name, 200) for name in listed[:MOST_LISTED])
    return f"{shown}{separator}and {more} more" if more > 0 else shown


def _chosen(row: Row) -> str:
    if words.missing(row["negotiated_version"]):
        return "nothing: no ServerHello was seen"
    return _joined(
        ("", row["negotiated_version"]), ("", row["cipher"]), ("group ", row["group"]),
        ("signed with ", row["signature_scheme"]), ("ALPN ", row["alpn"]),
    )  # fmt: skip


def _joined(*parts: tuple[str, object]) -> str:
    return ", ".join(f"{label}{words.wire(value, 200)}" for label, value in parts if not words.missing(value))


def _labelled(name: str, text: str) -> list[str]:
    """Write a label and its text, wrapped beside it."""
    return textwrap.wrap(
        f"{name:<{LABEL}}{text}", WIDTH, subsequent_indent=" " * LABEL, break_long_words=False, break_on_hyphens=False
    )


def _steps(messages: pd.DataFrame, alerts: pd.DataFrame) -> list[str]:
    """List the messages, one line for what a side sent in one packet."""
    if messages.empty:
        return ["", "No messages are at hand to tell it step by step.", ""]
    lines = ["", "     ms     frame  from    message (bytes)"]
    packets = [list(rows) for _, rows in groupby(messages.itertuples(), key=lambda m: (m.frame, m.sender))]
    for rows in packets[:MOST_PACKETS]:
        first = rows[0]
        head = f"{_offset(first.offset_ms):>7}  {first.frame:>8}  {first.sender:<6}  "
        said = ", ".join(_said(rows, alerts))
        lines += textwrap.wrap(head + said, WIDTH, subsequent_indent=" " * len(head), drop_whitespace=True)
    left = len(packets) - MOST_PACKETS
    return [*lines, *([f"         and {words.count(left, 'more packet')}"] if left > 0 else []), ""]


def _offset(ms: Any) -> str:
    return words.UNKNOWN if pd.isna(ms) else f"{ms:,.2f}"


def _said(packet: list[Any], alerts: pd.DataFrame) -> Iterator[str]:
    """Name the messages of one packet; sealed ones, which are all called so, by their lengths alone."""
    for is_sealed, rows in groupby(packet, key=lambda message: message.message == "sealed"):
        if is_sealed:
            messages = list(rows)
            lengths = ", ".join(str(message.length) for message in messages)
            hint = ", by size and place an alert" if _inferred_alert(messages[-1], alerts) else ""
            yield f"sealed ({lengths}){hint}"
        else:
            yield from (_message(row, alerts) for row in rows)


def _inferred_alert(message: Any, alerts: pd.DataFrame) -> bool:
    return not alerts.empty and bool(_here(message, alerts)["inferred"].any())


def _here(message: Any, alerts: pd.DataFrame) -> pd.DataFrame:
    """Return the alerts in this message's packet."""
    here: pd.DataFrame = alerts[(alerts["frame"] == message.frame) & (alerts["sender"] == message.sender)]
    return here


def _message(message: Any, alerts: pd.DataFrame) -> str:
    """Name a message; an alert by its description."""
    name = words.wire(message.message)
    if name == "alert" and not alerts.empty and len(here := _here(message, alerts)):
        return _alert(here.iloc[0])
    return f"{name} ({message.length})"


def _alert(alert: Row) -> str:
    if words.missing(alert["description"]):
        return "encrypted alert"
    level = "" if words.missing(alert["level"]) else f"{alert['level']} "
    return f"{level}alert {words.wire(alert['description'])} ({alert['code']})"


def _time(row: Row) -> str:
    """Say how long it took and whose turn it was."""
    round_trip = words.milliseconds(row["tcp_rtt_ms"])
    tcp = "" if round_trip == words.UNKNOWN else f"; the TCP round trip before it {round_trip} ms"
    whole = row["handshake_ms"]
    if pd.isna(whole):
        return f"the end of the handshake is not known{tcp}"
    shares = [f"{side} {words.milliseconds(row[f'{side}_ms'])}" for side in ("client", "server", "transfer")]
    repeats = "" if not row["retransmissions"] else f"; {words.count(row['retransmissions'], 'repeated segment')}"
    return f"{words.milliseconds(whole)} ms ({', '.join(shares)}){tcp}{repeats}"


def _lacks(row: Row) -> str:
    lacking = words.missing(row["completeness"])
    return "not known" if lacking else words.LACKS[Completeness(str(row["completeness"]))]

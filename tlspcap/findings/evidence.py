"""Rows to evidence: a finding about some handshakes, and the words in which rules name who they are."""

from collections import Counter
from collections.abc import Iterator

import pandas as pd

from tlspcap import display_filter, words
from tlspcap.findings.causes import Cause
from tlspcap.findings.model import Finding, Severity
from tlspcap.grouping import server

MOST_STREAMS = 500  # conversations in a display filter; Wireshark takes no filter of any length
OWN_SHARE = 0.2  # of the failures of a kind, from which on a server has a finding of its own; the others share one
MOST_SERVERS = 20  # names (or the like) with a finding of their own, where there is no share to go by


def finding(
    rule: str, severity: Severity, rows: pd.DataFrame, title: str, detail: tuple[str, ...], advice: str,
    causes: tuple[Cause, ...] = (),
) -> Finding:  # fmt: skip
    """Make a finding of rows that say where to look: rows of handshakes, or of another table with id and stream.

    Args:
        rule: name of the rule.
        severity: of an error, `rows` are the handshakes that failed by it.
        rows: with the columns id, capture, transport, stream and frame; id may be NA.
        title: one sentence without a full stop; `detail` and `advice` are sentences.
        detail: what was seen, line by line.
        advice: what to change, on which side.
        causes: of a failure, likeliest first.
    """
    return Finding(
        rule, severity, title[:1].upper() + title[1:], (*detail, example(rows)), advice, causes,
        handshakes=tuple(rows["id"].dropna()),
        frames=tuple(rows["frame"].dropna().astype(int)),
        streams=tuple(rows["stream"].dropna().astype(int)),
        filters=tuple(display_filter.by_file(rows.dropna(subset="stream"), MOST_STREAMS)),
    )  # fmt: skip


def example(rows: pd.DataFrame) -> str:
    """Say where to look first, e.g. "e.g. stream 4, frame 37 of night.pcap"."""
    stream, frame, capture = (rows[name].iloc[0] for name in ("stream", "frame", "capture"))
    return f"E.g. stream {stream}, frame {frame} of {words.wire(capture)}."


def by_server(rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Give the rows of each server with a good share of them, most first; then those of all others together.

    A trouble that many servers have is one finding, and one that a single server has is its own.
    """
    counts = Counter(rows["server"]).most_common()  # of equal counts: the server seen first
    own = [name for name, n in counts if n >= OWN_SHARE * len(rows)]
    for name in own:
        yield rows if len(counts) == 1 else rows[rows["server"] == name]
    if len(own) < len(counts):
        yield rows[~rows["server"].isin(own)]


def servers(rows: pd.DataFrame) -> str:
    """Name the server of the rows, or count them: "server 203.0.113.10:443", "3 servers"."""
    return _named(rows["server"] if "server" in rows else server(rows), "server")


def servers_do(rows: pd.DataFrame, verb: str) -> str:
    """Say what the server, or the servers, of the rows do: "server 203.0.113.10:443 sends", "3 servers send"."""
    who = servers(rows)
    return f"{who} {verb}s" if who.startswith("server ") else f"{who} {verb}"


def clients(rows: pd.DataFrame) -> str:
    """Name the client of the rows, or count them: "client 10.0.0.5", "3 clients"."""
    return _named(rows["client_ip"], "client")


def _named(names: "pd.Series[str]", noun: str) -> str:
    distinct = names.dropna().unique()
    return f"{noun} {words.wire(distinct[0])}" if len(distinct) == 1 else words.count(len(distinct), noun)


def upper(text: str) -> str:
    """Begin a sentence: the first letter as a capital, the rest as it is."""
    return text[:1].upper() + text[1:]


def phrase(rows: pd.DataFrame) -> str:
    """Say what ended these failed handshakes, who did it and at which step; they share all of that.

    E.g. "internal_error (80), sent by the server 203.0.113.10:443 after the ClientHello".
    """
    first = rows.iloc[0]
    what = words.what_happened(first.failure_mechanism, first.alert, first.alert_code, first.certainty)
    who = words.who_did_it(first.failure_mechanism, first.failure_side, clients(rows), servers(rows))
    return f"{what}, {who} {words.step(first.failure_phase)}"


def most_frequent(values: "pd.Series[str]", limit: int = 3) -> str:
    """Name the most frequent values with their counts: "TLS 1.2 (3), TLS 1.3 (1)"; missing ones are left out."""
    counts = Counter(values.dropna())
    named = [f"{words.wire(name, 60)} ({n:,})" for name, n in counts.most_common(limit)]
    return words.listed([*named, *[""] * (len(counts) - len(named))], limit)

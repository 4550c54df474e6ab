"""Who failed whom, and with what: failed handshakes put together by how they ended, with evidence for each."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, TypeAlias

import pandas as pd

from tlspcap import display_filter, words
from tlspcap.failures import failure_ratio
from tlspcap.findings.evidence import phrase
from tlspcap.report.model import Filter, Mood, Sentence

Row: TypeAlias = "pd.Series[Any]"

# What makes two failures the same. Neither addresses nor version: one trouble of ten servers is one sentence.
CAUSE = ["failure_side", "failure_phase", "failure_mechanism", "alert", "alert_code", "certainty"]
COLUMNS = [
    *CAUSE, "id", "capture", "transport", "stream", "frame", "client_ip", "client_port", "server_ip", "server_port",
    "sni", "version", "outcome", "reason",
]  # fmt: skip
MOST_REASONS = 3


def failures_of(handshakes: pd.DataFrame) -> pd.DataFrame:
    """Return the failed handshakes, with only the columns that are told of here."""
    return handshakes.loc[handshakes["outcome"] == "failed", COLUMNS]


def causes(failed: pd.DataFrame) -> list[pd.DataFrame]:
    """Put failed handshakes together by cause, the most frequent first; each is its rows, in order, never empty."""
    groups = failed.groupby(CAUSE, dropna=False, observed=True, sort=False)
    return sorted((rows for _, rows in groups), key=lambda rows: (-len(rows), rows.index[0]))


def sentence(rows: pd.DataFrame, alerts: pd.DataFrame | None = None, name_file: bool = False) -> Sentence:
    """Say one cause, with an example to look at and the display filter that shows all of its handshakes."""
    return Sentence(
        f"{len(rows):,} {words.TIMES} {phrase(rows)}, {_versions(rows)}",
        Mood.DOUBT if rows.iloc[0].certainty == "probable" else Mood.BAD,
        details=tuple(_details(rows, alerts, name_file)),
        filters=filters(rows),
        data=_data(rows),
    )


def place(row: Row, name_file: bool = False) -> str:
    """Say where in Wireshark to look, e.g. "stream 4, frame 37"; with several files, in which."""
    where = f"stream {row.stream}, frame {row.frame}"
    return f"{where} of {words.wire(row.capture)}" if name_file else where


def filters(rows: pd.DataFrame) -> tuple[Filter, ...]:
    """Give a Wireshark display filter for each file that holds some of the handshakes."""
    return tuple(Filter(capture, expression) for capture, expression in display_filter.by_file(rows))


def _versions(rows: pd.DataFrame) -> str:
    """Name the versions in their order, with counts where there are several."""
    counts = failure_ratio(rows, by="version")["n"]
    names = ["no version" if words.missing(name) else words.wire(name) for name in counts.index]
    if len(names) == 1:
        return names[0]
    return words.listed([f"{name} ({n:,})" for name, n in zip(names, counts, strict=True)], 6)


def _details(rows: pd.DataFrame, alerts: pd.DataFrame | None, name_file: bool) -> list[str]:
    """Write the lines under a cause: an example, why it is believed, and who was concerned."""
    row = rows.iloc[0]
    where = place(row, name_file) + _alert_frame(row, alerts)
    lines = [f"e.g. {where}: {words.address(row.client_ip, row.client_port)} to {_asked_for(row)}"]
    if row.failure_mechanism != "alert" or row.certainty == "probable":
        lines += _reasons(rows)
    concerned = _concerned(rows)
    return [*lines, concerned] if concerned else lines


def _reasons(rows: pd.DataFrame) -> list[str]:
    """Say why each is believed to have failed so; equal causes may have been told from different evidence."""
    counts = rows["reason"].value_counts()
    if len(counts) == 1:
        return [words.wire(counts.index[0], 300)]
    said = [f"{n:,} {words.TIMES} {words.wire(reason, 300)}" for reason, n in counts.head(MOST_REASONS).items()]
    left = int(counts.iloc[MOST_REASONS:].sum())
    return [*said, f"{left:,} {words.TIMES} other reasons"] if left else said


def _alert_frame(row: Row, alerts: pd.DataFrame | None) -> str:
    """Name the frame of the alert that ended the handshake, where one was seen."""
    if alerts is None or alerts.empty or row.failure_mechanism not in ("alert", "hidden_alert"):
        return ""
    sent = alerts[(alerts["id"] == row.id) & (alerts["sender"] == row.failure_side) & (alerts["phase"] == "during")]
    if not words.missing(row.alert_code):
        sent = sent[sent["code"] == row.alert_code]
    return "" if sent.empty else f", alert in frame {sent['frame'].iloc[0]}"


def _asked_for(row: Row) -> str:
    server = words.address(row.server_ip, row.server_port)
    return server if words.missing(row.sni) else f"{words.wire(row.sni)} at {server}"


def _concerned(rows: pd.DataFrame) -> str:
    """Count clients, servers and names where there is more than one of them."""
    servers = [words.address(ip, port) for ip, port in _frequent(rows, ["server_ip", "server_port"])]
    clients = [words.wire(ip) for (ip,) in _frequent(rows, ["client_ip"])]
    names = [words.wire(name, 40) for (name,) in _frequent(rows, ["sni"])]
    parts = [("servers", servers), ("clients", clients), ("names", names)]
    return "; ".join(f"{len(found):,} {noun}: {words.listed(found, 2)}" for noun, found in parts if len(found) > 1)


def _frequent(rows: pd.DataFrame, columns: list[str]) -> list[tuple[object, ...]]:
    """Return the distinct values, most frequent first, missing ones left out."""
    known = rows[columns].dropna()
    return [values for values, _ in Counter(zip(*(known[name] for name in columns), strict=True)).most_common()]


def _data(rows: pd.DataFrame) -> Mapping[str, object]:
    """Give the numbers behind the sentence, for programs."""
    row = rows.iloc[0]
    code = row["alert_code"]
    return {
        "count": len(rows),
        **{name: _text(row[name]) for name in CAUSE if name != "alert_code"},
        "alert_code": None if words.missing(code) else int(code),
        "versions": {str(version): int(n) for version, n in rows["version"].value_counts().items()},
        "servers": [words.address(ip, port) for ip, port in _frequent(rows, ["server_ip", "server_port"])],
        "clients": [words.wire(ip) for (ip,) in _frequent(rows, ["client_ip"])],
        "example": {"capture": str(row.capture), "stream": int(row.stream), "frame": int(row.frame)},
        "reason": _text(row["reason"]),
    }


def _text(value: object) -> str | None:
    return None if words.missing(value) else str(value)

"""The content of a report, made from the tables alone: what matters first, and nothing about how it is shown."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from tlspcap import findings, words
from tlspcap.failures import failure_ratio, unknowns
from tlspcap.latency import latency, split
from tlspcap.report import causes, contrast, diagnosis
from tlspcap.report.headline import NOTHING_FOUND, headline
from tlspcap.report.model import Cell, Column, Grid, Kind, Mood, Report, Section, Sentence
from tlspcap.tls.verdict import Completeness

CAPTIONS = {
    "version": "version", "server_ip": "server", "client_ip": "client", "sni": "name asked for", "cipher": "cipher",
    "server_port": "port", "group": "group", "alert": "alert", "ja4": "JA4", "capture": "file",
}  # fmt: skip
MEASURES = {
    "tcp_rtt_ms": "TCP round trip",
    "server_hello_ms": "wait for the ServerHello",
    "first_data_ms": "wait for first data after it",
    "connect_ms": "TCP and TLS together",
}
PARTIAL = ("truncated_file", "unreadable_packets", "cut_packets", "cap_reached")  # notes: more may have been there
FEW = f"{words.UNKNOWN}: too few for that quantile. Left out: failed, unknown or not measured."


def build(
    tables: Mapping[str, pd.DataFrame], by: str | Sequence[str] = "version", sources: Sequence[str] = (),
    ca: str | Path | None = None,
) -> Report:  # fmt: skip
    """Make the report of a capture's tables.

    Args:
        tables: DataFrames by name; `handshakes` is needed, `alerts` and `notes` add what they know.
        by: column or columns of `handshakes` that failures and latency are grouped by.
        sources: names of the inputs, as given; default: the files that the handshakes name.
        ca: trusted roots, a file or "system", to verify chains against; without them nothing is said about trust.

    Raises:
        ArgumentError: `by` names no column of the handshakes table, or the roots cannot be read.

    >>> from tlspcap.schema import TABLES
    >>> empty = pd.DataFrame({c.name: pd.Series(dtype=c.pandas_dtype) for c in TABLES["handshakes"].columns})
    >>> build({"handshakes": empty}, sources=["night.pcap"]).headline.text
    'No TLS handshake was found in this capture.'
    """
    keys = [by] if isinstance(by, str) else list(by)
    handshakes, notes = tables["handshakes"], tables.get("notes")
    found = findings.find(tables, ca)
    if handshakes.empty:
        others = None if notes is None else notes[~notes["kind"].isin(NOTHING_FOUND)]
        sections = [diagnosis.section(found), _lacking(handshakes, others)]
    else:
        sections = [
            diagnosis.section(found),
            _failures(handshakes, keys),
            _causes(handshakes, tables.get("alerts")),
            contrast.section(handshakes),
            _latency(handshakes, keys),
            _lacking(handshakes, notes),
        ]
    return Report(
        headline=diagnosis.first_sentence(found, headline(handshakes, keys, notes)),
        sources=tuple(sources) or tuple(handshakes["capture"].dropna().astype(str).unique()),
        facts=facts(handshakes),
        sections=tuple(section for section in sections if section.sentences or section.grids),
        by=tuple(keys),
    )


def facts(handshakes: pd.DataFrame) -> dict[str, Cell]:
    """Count what the whole input holds; `first` and `last` are the times of the hellos, `seconds` between them."""
    outcomes = handshakes["outcome"].value_counts()
    known = {name: int(outcomes.get(name, 0)) for name in ("established", "failed", "unknown")}
    times = handshakes["time"].dropna()
    return {
        "handshakes": len(handshakes),
        **known,
        "probable": int((handshakes["certainty"] == "probable").sum()),
        "clients": int(handshakes["client_ip"].nunique()),
        "servers": len(handshakes[["server_ip", "server_port"]].drop_duplicates()),
        "first": times.min().isoformat() if len(times) else None,
        "last": times.max().isoformat() if len(times) else None,
        "seconds": (times.max() - times.min()).total_seconds() if len(times) else None,
    }


def _failures(handshakes: pd.DataFrame, by: list[str]) -> Section:
    """Failure ratio by group, each with base, interval, unknown ones and distinct clients."""
    rows = tuple((*_labels(key), *_ratio(row)) for key, row in failure_ratio(handshakes, by=by).iterrows())
    columns = (
        *_by_columns(by),
        Column("failed", "failed", Kind.OF),
        Column("failure_ratio", "ratio", Kind.RATIO),
        Column("interval", "95 % interval", Kind.INTERVAL),
        Column("unknown", "unknown", Kind.COUNT),
        Column("clients", "clients", Kind.COUNT),
    )
    title = f"Failures by {_spoken(by)}"
    caption = "Failed of those whose outcome is known, with Wilson's interval."
    return Section("failures", title, grids=(Grid("failures", caption, columns, rows),))


def _ratio(row: causes.Row) -> tuple[Cell, ...]:
    low, high, ratio = (_number(row[name]) for name in ("ci_low", "ci_high", "failure_ratio"))
    bounds = None if low is None or high is None else (low, high)
    base = int(row["failed"] + row["established"])
    return (int(row["failed"]), base), ratio, bounds, int(row["unknown"]), int(row["clients"])


def _causes(handshakes: pd.DataFrame, alerts: pd.DataFrame | None) -> Section:
    failed = causes.failures_of(handshakes)
    name_file = handshakes["capture"].nunique() > 1
    said = tuple(causes.sentence(rows, alerts, name_file) for rows in causes.causes(failed))
    return Section("causes", "Who failed whom, and with what", said or (Sentence("No handshake failed.", Mood.GOOD),))


def _latency(handshakes: pd.DataFrame, by: list[str]) -> Section:
    """How long established handshakes took by group and by side, then the waits around them."""
    established = int((handshakes["outcome"] == "established").sum())
    if not established:
        return Section("latency", "Latency", (Sentence("No handshake was established, so there is nothing to time."),))
    title = f"Latency of the {words.count(established, 'established handshake')}, in ms"
    return Section("latency", title, grids=(_times_by_group(handshakes, by), _waits(handshakes)))


def _times_by_group(handshakes: pd.DataFrame, by: list[str]) -> Grid:
    whole = latency(handshakes, by=by, measures=["handshake_ms"]).xs("handshake_ms", level=-1)
    shares = split(handshakes, by=by)["share_mean"]
    parts = [shares.xs(part, level=-1).to_numpy() for part in ("client", "server", "transfer")]
    rows = tuple(
        (*_labels(key), *_quantiles(row), *(_number(part[i]) for part in parts))
        for i, (key, row) in enumerate(whole.iterrows())
    )
    columns = (
        *_by_columns(by),
        *_QUANTILES,
        Column("client_share", "client", Kind.RATIO),
        Column("server_share", "server", Kind.RATIO),
        Column("transfer_share", "transfer", Kind.RATIO),
    )
    caption = "Handshake time, and on average whose turn it was (client, server, transfer)."
    return Grid("handshake_time", caption, columns, rows, FEW)


def _waits(handshakes: pd.DataFrame) -> Grid:
    table = latency(handshakes, measures=list(MEASURES))
    rows = [(MEASURES[str(name)], *_quantiles(row)) for name, row in table.iterrows()]
    columns = (Column("measure", "measure"), *_QUANTILES)
    return Grid("waits", "What surrounds the handshake.", columns, tuple(rows))


_QUANTILES = (
    Column("n", "n", Kind.COUNT),
    Column("excluded", "left out", Kind.COUNT),
    *(Column(name, name, Kind.MS, "ms") for name in ("p50", "p90", "p99", "max")),
)


def _quantiles(row: causes.Row) -> tuple[Cell, ...]:
    return (int(row["n"]), int(row["excluded"]), *(_number(row[name]) for name in ("p50", "p90", "p99", "max")))


def _lacking(handshakes: pd.DataFrame, notes: pd.DataFrame | None) -> Section:
    """Say what the capture lacks: incomplete and unknown handshakes with reasons, then the notes by kind."""
    grids = [_unknown_grid(handshakes), _notes_grid(notes)]
    kept = tuple(grid for grid in grids if grid.rows)
    return Section("lacking", "What the capture lacks", _completeness(handshakes, notes), kept)


def _completeness(handshakes: pd.DataFrame, notes: pd.DataFrame | None) -> tuple[Sentence, ...]:
    counts = handshakes["completeness"].value_counts()
    lacking = {str(k): int(n) for k, n in counts.items() if k != "complete" and n}
    total = words.count(len(handshakes), "handshake")
    if handshakes.empty:
        return ()
    if not lacking:
        part = notes is not None and notes["kind"].isin(PARTIAL).any()
        said = f"Nothing of the {total} that were found" if part else f"Nothing: all packets of the {total} are there"
        return (Sentence(f"{said}.", Mood.DOUBT if part else Mood.GOOD),)
    said = "; ".join(f"{n:,} {words.TIMES} {words.LACKS[Completeness(k)]}" for k, n in lacking.items())
    return (Sentence(f"Of {total}: {said}.", Mood.DOUBT, data=lacking),)


def _unknown_grid(handshakes: pd.DataFrame) -> Grid:
    name_file = handshakes["capture"].nunique() > 1
    rows = tuple(
        (int(row.n), words.wire(row.reason, 200), causes.place(row, name_file))
        for _, row in unknowns(handshakes).iterrows()
    )
    columns = (
        Column("count", "n", Kind.COUNT),
        Column("reason", "why the outcome is unknown"),
        Column("example", "e.g."),
    )
    return Grid("unknown", "Outcomes that the capture does not tell.", columns, rows)


def _notes_grid(notes: pd.DataFrame | None) -> Grid:
    columns = (Column("count", "n", Kind.COUNT), Column("kind", "note"), Column("detail", "the first of them"))
    rows: list[tuple[Cell, ...]] = []
    if notes is not None:
        for kind, part in notes.groupby("kind", observed=True, sort=True):
            rows.append((len(part), str(kind), _first_note(part.iloc[0])))
    return Grid("notes", "What was odd in the capture.", columns, tuple(rows))


def _first_note(note: causes.Row) -> str:
    where = "" if words.missing(note.frame) else f"frame {note.frame}: "
    return where + words.wire(note.detail, 200)


def _by_columns(by: list[str]) -> tuple[Column, ...]:
    return tuple(Column(name, CAPTIONS.get(name, name)) for name in by)


def _spoken(by: list[str]) -> str:
    return " and ".join(CAPTIONS.get(name, name) for name in by)


def _labels(key: object) -> tuple[str, ...]:
    values = key if isinstance(key, tuple) else (key,)
    return tuple(words.NOT_SEEN if words.missing(value) else words.wire(value, 60) for value in values)


def _number(value: object) -> float | None:
    return None if words.missing(value) else float(str(value))

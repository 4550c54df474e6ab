"""Two sides of one path, in words: what was lost, altered and reset in between, and how far the points are apart."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import pandas as pd

from tlspcap import both_ends, words
from tlspcap.report.model import Cell, Column, Grid, Kind, Mood, Report, Section, Sentence, Telling

Row: TypeAlias = "pd.Series[Any]"


@dataclass(frozen=True)
class Paths(Telling):
    """Handshakes of one path at two points: sentences, and the table that they are made from."""

    names: tuple[str, str]
    said: tuple[Sentence, ...]
    table: pd.DataFrame

    def __repr__(self) -> str:
        """Say it in words, as a notebook shows it."""
        return "\n".join(self.sentences)


def told(first: pd.DataFrame, second: pd.DataFrame, names: tuple[str, str]) -> Paths:
    """Join the handshakes of two points, and say what became of them in between.

    Raises:
        ArgumentError: a column that this needs is missing.
    """
    table = both_ends.joined(first, second)
    unknown = [int(side["client_random"].isna().sum()) for side in (first, second)]
    if not (table["seen"] == "both").any():
        return Paths(names, (_nothing_joined(table, unknown),), table)
    parts = (_ended_between, _altered, _answers_lost, _packets_lost, _readdressed, _times)
    said = [_seen(table, unknown), *(sentence for part in parts if (sentence := part(table)) is not None)]
    return Paths(names, tuple(said), table)


def _nothing_joined(table: pd.DataFrame, unknown: list[int]) -> Sentence:
    counts = [int((table["seen"] == point).sum()) + left for point, left in zip(both_ends.POINTS, unknown, strict=True)]
    return Sentence(
        f"No handshake of one is in the other ({counts[0]:,} and {counts[1]:,}): either they are not of one path and "
        "time, or a device in between ends TLS and makes handshakes of its own.", Mood.DOUBT,
    )  # fmt: skip


def _seen(table: pd.DataFrame, unknown: list[int]) -> Sentence:
    """Say how many were seen at both points, and how many at one only."""
    counts = {point: int((table["seen"] == point).sum()) for point in ("both", *both_ends.POINTS)}
    text = f"{words.count(counts['both'], 'handshake')} seen at both points"
    lost = [f"{counts[point]:,} only at the {point}" for point in both_ends.POINTS if counts[point]]
    left = f"without ClientHello, left out: {unknown[0]:,} and {unknown[1]:,}" if any(unknown) else ""
    overlap = "one seen at a single point was lost or refused on the way, or the other capture did not run or missed it"
    details = [line for line in (overlap if lost else "", _endings(table), left) if line]
    examples = [_example(rows) for point in both_ends.POINTS if len(rows := table[table["seen"] == point])]
    text = f"{text}, {' and '.join(lost)}." if lost else f"{text}, none at one only."
    return Sentence(text, Mood.DOUBT if lost else Mood.PLAIN, (*details, *examples))


def _endings(table: pd.DataFrame) -> str:
    """Say how those ended that were seen at one point only."""
    said = []
    for point in both_ends.POINTS:
        rows = table[(table["seen"] == point) & (table[f"{point}_outcome"] == "failed").fillna(False)]
        names = (f"{point}_failure_mechanism", f"{point}_failure_side")
        for (how, side), group in rows.groupby(list(names), observed=True, sort=False):
            said.append(f"{len(group):,} by a {str(how).replace('_', ' ')} from the direction of the {side}")
    return f"failed there: {words.listed(said, 3)}" if said else ""


def _ended_between(table: pd.DataFrame) -> Sentence | None:
    """Say how many were ended by something between the points."""
    rows = table[table["ended_by"] == both_ends.BETWEEN]
    if rows.empty:
        return None
    text = (
        f"{words.count(len(rows), 'handshake')} ended by something between the two points: each side saw it come from "
        "the direction of the other, or one side did not see it end."
    )
    ends = [
        f"at the {point}: " + ", ".join(f"{how} ({n:,})" for how, n in counts.items() if n)
        for point in both_ends.POINTS
        if (counts := rows[f"{point}_failure_mechanism"].astype("string").value_counts()).any()
    ]
    return Sentence(text, Mood.BAD, (*ends, _example(rows)))


def _altered(table: pd.DataFrame) -> Sentence | None:
    rows = table[table["altered"].notna()]
    if rows.empty:
        return None
    names = ", ".join(dict.fromkeys(name for cell in rows["altered"] for name in cell.split(",")))
    return Sentence(f"{words.count(len(rows), 'handshake')} altered on the way: {names}.", Mood.BAD, (_example(rows),))


def _answers_lost(table: pd.DataFrame) -> Sentence | None:
    rows = table[table["answer_lost"]]
    if rows.empty:
        return None
    text = f"Of {words.count(len(rows), 'handshake')} the ServerHello was seen at one point only."
    return Sentence(text, Mood.BAD, (_example(rows),))


def _packets_lost(table: pd.DataFrame) -> Sentence | None:
    """Say where packets were sent again at one point, and did not come to the other as often."""
    rows = table[(table["lost_between"] > 0).fillna(False)]
    if rows.empty:
        return None
    text = (
        f"{words.count(len(rows), 'handshake')} lost packets between the points, at least "
        f"{words.count(int(rows['lost_between'].sum()), 'packet')}: sent again at one point, and seen less often at "
        "the other."
    )
    why = "where a device in between ends TCP (a proxy), they were lost on one of its own sides"
    return Sentence(text, Mood.BAD, (why, _example(rows)))


def _readdressed(table: pd.DataFrame) -> Sentence | None:
    """Say how many have other addresses or ports behind: NAT, or a load balancer that passes TLS through."""
    rows = table[table["readdressed"].notna()]
    if rows.empty:
        return None
    names = ", ".join(dict.fromkeys(name for cell in rows["readdressed"] for name in cell.split(",")))
    row = rows.iloc[0]
    ends = [
        f"{words.address(row[f'{point}_client_ip'], row[f'{point}_client_port'])} to "
        f"{words.address(row[f'{point}_server_ip'], row[f'{point}_server_port'])}"
        for point in both_ends.POINTS
    ]
    text = f"{words.count(len(rows), 'handshake')} with other addresses behind (NAT or a load balancer): {names}."
    return Sentence(text, details=(f"e.g. {ends[0]} is {ends[1]}",))


def _times(table: pd.DataFrame) -> Sentence | None:
    """Say how far the points are apart: the round trip, which needs no common clock, and what does."""
    calm = table[~((table["first_retransmissions"] > 0) | (table["second_retransmissions"] > 0)).fillna(False)]
    between, apart = (calm[name].dropna() for name in ("between_ms", "hello_apart_ms"))
    if apart.empty:
        return None
    clocks = (
        f"the ClientHello's times are {words.milliseconds(float(apart.median()))} ms apart in the median "
        f"({words.milliseconds(float(apart.min()))} to {words.milliseconds(float(apart.max()))} ms), which is the "
        "one-way time and the difference of the two clocks together: captures cannot tell these apart"
    )
    if between.empty:
        return Sentence(f"{clocks[0].upper()}{clocks[1:]}.")
    median = float(between.median())
    nearer = f", with the {'first' if median > 0 else 'second'} nearer to the clients" if median else ""
    trip = f"Round trip between the points: {words.milliseconds(abs(median))} ms in the median (n = {len(between):,})"
    return Sentence(
        f"{trip}{nearer}; it needs no common clock.", details=(clocks, _one_way(calm)),
        data={"between_ms": median, "hello_apart_ms": float(apart.median())},
    )  # fmt: skip


def _one_way(calm: pd.DataFrame) -> str:
    """Say what is known of the clocks, and what the one-way times are if there was but one."""
    bounds = both_ends.clocks_apart(calm)
    if bounds is None:
        return "no difference of the clocks fits all handshakes: a clock was set or drifts, or the way changed"
    low, high = (words.milliseconds(end) for end in bounds)
    said = f"the second clock is ahead of the first by {low} to {high} ms, since nothing arrives before it was sent"
    if not bounds[0] <= 0 <= bounds[1]:
        return f"{said}: these are two clocks, or the captures are not of one time"
    timed = calm[calm["between_ms"].notna()]
    there = timed["hello_apart_ms"].median()
    back = (timed["between_ms"] - timed["hello_apart_ms"]).median()
    ways = [words.milliseconds(abs(float(way))) for way in (there, back)]
    return f"{said}; if one clock stamped both, the ClientHello took {ways[0]} ms, and the answer {ways[1]} ms"


def _example(rows: pd.DataFrame) -> str:
    """Say where in Wireshark to look, at each point that saw it."""
    row = rows.iloc[0]
    places = [f"{point}: stream {row[f'{point}_stream']}, frame {row[f'{point}_frame']}"
              for point in both_ends.POINTS if not words.missing(row[f"{point}_frame"])]  # fmt: skip
    return f"e.g. {'; '.join(places)}"


# -- as a report ------------------------------------------------------------------------------------------------


def report_of(paths: Paths) -> Report:
    """Make the report of a path: the sentences, and the handshakes that did not come through as they were sent."""
    table = paths.table
    between = (table["ended_by"] == both_ends.BETWEEN).fillna(False)
    lost = (table["lost_between"] > 0).fillna(False)
    odd = (table["seen"] != "both") | table["altered"].notna() | table["answer_lost"] | between | lost
    columns = (
        Column("seen", "seen"), Column("first", "at the first"), Column("second", "at the second"),
        Column("ended_by", "ended by"), Column("altered", "altered"), Column("lost", "lost", Kind.COUNT),
        Column("between_ms", "between", Kind.MS, "ms"),
    )  # fmt: skip
    rows = tuple(_cells(row) for _, row in table[odd].iterrows()) if (table["seen"] == "both").any() else ()
    grid = Grid("handshakes", "Handshakes lost, altered or ended on the way.", columns, rows)
    sections = (Section("path", "Between the two points", paths.said[1:], (grid,) if rows else ()),)
    return Report(paths.said[0], paths.names, {}, tuple(part for part in sections if part.sentences or part.grids))


def _cells(row: Row) -> tuple[Cell, ...]:
    cell: Callable[[str], str] = lambda name: "" if words.missing(row[name]) else words.wire(row[name], 60)  # noqa: E731
    between = None if words.missing(row["between_ms"]) else float(row["between_ms"])
    ends = (f"{cell(f'{point}_outcome')} {cell(f'{point}_failure_mechanism')}".strip() for point in both_ends.POINTS)
    lost = None if words.missing(row["lost_between"]) else int(row["lost_between"])
    return (cell("seen"), *ends, cell("ended_by"), cell("altered"), lost, between)

"""Two captures compared, in words: what changed in failures and durations, and what is new or gone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd

from tlspcap import differences, words
from tlspcap.errors import ArgumentError
from tlspcap.report import figures, html, json, markdown
from tlspcap.report.model import Cell, Column, Grid, Kind, Mood, Report, Section, Sentence, Telling

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row: TypeAlias = "pd.Series[Any]"

LEVEL = 0.05
MOST_TOLD = 5  # groups of which a change is told in words
MOST_NAMED = 3  # of a kind that are new or gone


@dataclass(frozen=True)
class Comparison(Telling):
    """Two captures compared: sentences, the tables that they are made from, and a plot."""

    names: tuple[str, str]
    said: tuple[Sentence, ...]
    tables: dict[str, pd.DataFrame]  # failures, latency, changes

    def plot(self, what: str = "failures", ax: "Axes | None" = None) -> "Axes":
        """Draw failures or latency, before and after, by group (see `tlspcap.plots.change`)."""
        from tlspcap import plots

        if what not in ("failures", "latency"):
            raise ArgumentError(f"cannot plot {what!r}; what can be is failures and latency")
        return plots.change(self.tables[what], ax=ax)

    def report(self, path: str | Path) -> None:
        """Write it to a file: .html (one self-contained page), .md or .json, by its suffix."""
        suffix = Path(path).suffix.lower()
        if suffix not in (".html", ".htm", ".md", ".json"):
            raise ArgumentError(f"cannot write a comparison as {suffix!r}: use .html, .md or .json")
        Path(path).write_text(render(self, "html" if suffix == ".htm" else suffix[1:]), encoding="utf-8")

    def __repr__(self) -> str:
        """Say it in words, as a notebook shows it."""
        return "\n".join(self.sentences)


def compared(before: pd.DataFrame, after: pd.DataFrame, names: tuple[str, str] = ("before", "after")) -> Comparison:
    """Compare two handshakes tables.

    Raises:
        ArgumentError: a column that this needs is missing.

    Example:
        >>> import tlspcap
        >>> before, after = (tlspcap.read(f"sample_captures/{name}.pcap").handshakes
        ...                  for name in ("intermittent-alert", "intermittent-alert-after"))
        >>> print(compared(before, after).sentences[0])
        Before, 3 of 20 handshakes failed (15 %), after, 0 of 20 (0 %): fewer, but p = 0.23 (95 % interval of the
        difference -36 to +4 points): this may be chance; about 60 handshakes of each would tell, at 80 % power.
    """
    tables = {
        "failures": differences.failure_differences(before, after),
        "latency": differences.latency_differences(before, after),
        "changes": differences.changes(before, after),
    }
    said = [_failures(tables["failures"].iloc[0]), *_firm_groups(tables["failures"])]
    said += [*_latency(tables["latency"]), *_new_and_gone(tables["changes"])]
    return Comparison(names, tuple(said), tables)


# -- in words ---------------------------------------------------------------------------------------------------


def _failures(row: Row) -> Sentence:
    """Say the change of the failure ratio of all handshakes, and whether it may be chance."""
    counts = [_of_base(row, side) for side in differences.BOTH]
    text = f"Before, {counts[0]} failed {_percent(row, 'before')}, after, {counts[1]} {_percent(row, 'after')}"
    text = text.replace(f" of {row['before_base']:,}", f" of {words.count(int(row['before_base']), 'handshake')}", 1)
    left_out = int(row["before_unknown"]), int(row["after_unknown"])
    details = (f"outcome unknown, left out: {left_out[0]:,} and {left_out[1]:,}",) if any(left_out) else ()
    if np.isnan(row["difference"]):
        return Sentence(f"{text}: of one there is none whose outcome is known, so they cannot be compared.", Mood.DOUBT)
    return Sentence(f"{text}: {_verdict(row)}.", _mood(row), details, data=_data(row))


def _of_base(row: Row, side: str) -> str:
    return f"{row[f'{side}_failed']:,} of {row[f'{side}_base']:,}"


def _percent(row: Row, side: str) -> str:
    return f"({words.percent(row[f'{side}_ratio'])})"


def _verdict(row: Row) -> str:
    """Say which way it changed, with its interval, or that it may be chance, and what would tell."""
    bounds = f"95 % interval of the difference {words.points(row['ci_low'], row['ci_high'])}"
    if not row["difference"]:
        return f"no difference ({bounds})"
    way = "fewer" if row["difference"] < 0 else "more"
    if row["p"] <= LEVEL:
        return f"{way}, which chance does not explain ({words.chance(row['p'])}, {bounds})"
    return f"{way}, but {words.chance(row['p'])} ({bounds}): this may be chance{_would_tell(row['needed'])}"


def _would_tell(needed: float) -> str:
    return f"; about {needed:,.0f} handshakes of each would tell, at 80 % power" if np.isfinite(needed) else ""


def _mood(row: Row) -> Mood:
    if row["p"] > LEVEL:
        return Mood.DOUBT
    return Mood.GOOD if row["difference"] < 0 else Mood.BAD


def _firm_groups(table: pd.DataFrame) -> list[Sentence]:
    """Say the groups that changed beyond chance, corrected for all that were compared."""
    firm = table[(table["p_holm"] <= LEVEL) & (table["by"] != "all")].sort_values("p", kind="stable")
    return [_group(row) for _, row in firm.head(MOST_TOLD).iterrows()]


def _group(row: Row) -> Sentence:
    counts = [f"{_of_base(row, side)} {_percent(row, side)}" for side in differences.BOTH]
    way = "fewer" if row["difference"] < 0 else "more"
    corrected = f"{words.chance(row['p_holm'])} after correction for all groups compared"
    text = (
        f"{_label(row)}: failed {counts[0]} before, {counts[1]} after: {way}, by "
        f"{words.points(row['ci_low'], row['ci_high'])} (95 % interval; {corrected})."
    )
    return Sentence(text, _mood(row), data=_data(row))


def _label(row: Row) -> str:
    value = words.wire(row["value"], 60)
    return {"all": "all handshakes", "server": f"server {value}"}.get(row["by"], value)


def _latency(table: pd.DataFrame) -> list[Sentence]:
    """Say the change of the median duration of all, and beneath it that of each version that both have."""
    if table.empty:
        return []
    rows = [row for _, row in table[table["by"] != "server"].iterrows()]
    details = [f"{_label(row)}: {_medians(row)}" for row in rows[1:]]
    return [Sentence(f"Median duration of established handshakes: {_medians(rows[0])}.", details=tuple(details))]


def _medians(row: Row) -> str:
    before, after = (words.milliseconds(row[f"{side}_p50"]) for side in differences.BOTH)
    said = f"{before} ms before (n = {row['before_n']:,}), {after} ms after (n = {row['after_n']:,})"
    if np.isnan(row["ci_low"]):
        return f"{said}, too few for an interval"
    bounds = f"{words.milliseconds(row['ci_low'])} to {words.milliseconds(row['ci_high'])} ms"
    if row["ci_low"] <= 0 <= row["ci_high"]:
        return f"{said}; the difference may be chance (95 % interval {bounds})"
    return f"{said}; {'shorter' if row['difference'] < 0 else 'longer'} (95 % interval of the difference {bounds})"


def _new_and_gone(table: pd.DataFrame) -> list[Sentence]:
    """Name what is new, and what is gone, kind by kind."""
    said = []
    for change in ("new", "gone"):
        parts = []
        for kind, rows in table[table["change"] == change].groupby("kind", sort=False):
            names = words.listed([_named(row) for _, row in rows.iterrows()], MOST_NAMED)
            parts.append(f"{kind} {names}")
        if parts:
            said.append(Sentence(f"{change.capitalize()}: {'; '.join(parts)}."))
    return said


def _named(row: Row) -> str:
    value = words.wire(row["value"][:16] if row["kind"] == "certificate" else row["value"], 60)
    return f"{value} ({row['failed']:,} of {row['handshakes']:,} failed)" if row["failed"] else value


def _data(row: Row) -> Mapping[str, object]:
    """Give the numbers for programs; JSON has neither NaN nor infinity."""
    plain = {str(name): value.item() if isinstance(value, np.generic) else value for name, value in row.items()}
    return {name: None if words.missing(value) or value == np.inf else value for name, value in plain.items()}


# -- as a report ------------------------------------------------------------------------------------------------


def report_of(comparison: Comparison) -> Report:
    """Make the report of a comparison: the first sentence, then failures, latency, what is new and gone."""
    tables = comparison.tables
    sections = (
        Section("compared", "What changed", comparison.said[1:]),
        Section("failures", "Failures", grids=(_failure_grid(tables["failures"]),)),
        Section("latency", "Latency", grids=(_latency_grid(tables["latency"]),)),
        Section("changes", "New and gone", grids=(_change_grid(tables["changes"]),)),
    )
    kept = tuple(part for part in sections if part.sentences or any(grid.rows for grid in part.grids))
    return Report(comparison.said[0], comparison.names, {}, kept)


def render(comparison: Comparison, kind: str) -> str:
    """Render a comparison as html, md or json."""
    drawn = []
    if kind == "html":
        drawn.append(figures.figure("change_failures", "failures", comparison.plot))
        if len(comparison.tables["latency"]):
            drawn.append(figures.figure("change_latency", "latency", lambda: comparison.plot("latency")))
    return rendered(report_of(comparison), kind, "tlspcap.comparison", drawn)


def rendered(report: Report, kind: str, schema: str, drawn: Sequence[figures.Figure] = ()) -> str:
    """Render a report about two captures as html, md or json."""
    if kind == "json":
        return json.render(report, schema)
    return markdown.render(report) if kind == "md" else html.render(report, drawn)


def _failure_grid(table: pd.DataFrame) -> Grid:
    columns = (
        Column("group", "group"), Column("before", "before", Kind.OF, base="before_base"),
        Column("after", "after", Kind.OF, base="after_base"), Column("difference", "difference", Kind.POINTS),
        Column("p", "p", Kind.CHANCE), Column("p_holm", "corrected", Kind.CHANCE),
    )  # fmt: skip
    rows = tuple(
        (_label(row), *(_pair(row, side) for side in differences.BOTH), _bounds(row), row["p"], row["p_holm"])
        for _, row in table.iterrows()
    )
    return Grid("failures", "Failed of those whose outcome is known; difference with 95 % interval.", columns, rows)


def _pair(row: Row, side: str) -> tuple[float, float]:
    return int(row[f"{side}_failed"]), int(row[f"{side}_base"])


def _bounds(row: Row) -> Cell:
    return None if words.missing(row["ci_low"]) else (float(row["ci_low"]), float(row["ci_high"]))


def _latency_grid(table: pd.DataFrame) -> Grid:
    columns = (
        Column("group", "group"), Column("before_n", "n", Kind.COUNT), Column("before_p50", "before", Kind.MS, "ms"),
        Column("after_n", "n", Kind.COUNT), Column("after_p50", "after", Kind.MS, "ms"),
        Column("difference", "difference", Kind.MS, "ms"), Column("ci_low", "from", Kind.MS, "ms"),
        Column("ci_high", "to", Kind.MS, "ms"),
    )  # fmt: skip
    names = [column.key for column in columns[1:]]
    rows = tuple(
        (_label(row), *(None if words.missing(row[name]) else row[name] for name in names))
        for _, row in table.iterrows()
    )
    caption = "Median duration of established handshakes, the difference, and its 95 % interval."
    return Grid("latency", caption, columns, rows, f"{words.UNKNOWN}: too few for an interval.")


def _change_grid(table: pd.DataFrame) -> Grid:
    columns = (
        Column("change", "change"), Column("kind", "what"), Column("value", "value"),
        Column("handshakes", "handshakes", Kind.COUNT), Column("failed", "failed", Kind.COUNT),
    )  # fmt: skip
    rows = tuple(
        (row["change"], row["kind"], words.wire(row["value"], 80), int(row["handshakes"]), int(row["failed"]))
        for _, row in table.iterrows()
    )
    return Grid("changes", "Seen after and not before, or before and not after.", columns, rows)

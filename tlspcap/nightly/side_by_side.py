"""The trend in words, tables and plots: what changed in the last night, and each night beside the others."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tlspcap import words
from tlspcap.errors import ArgumentError
from tlspcap.nightly.check import regressions
from tlspcap.nightly.nights import BY, last_nights
from tlspcap.nightly.store import Store
from tlspcap.nightly.trend import tables
from tlspcap.report import figures
from tlspcap.report.comparison import rendered
from tlspcap.report.model import Cell, Column, Grid, Kind, Mood, Report, Section, Sentence
from tlspcap.statistics import wilson

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SCHEMA = "tlspcap.trend"
SUFFIXES = {".html": "html", ".htm": "html", ".md": "md", ".json": "json"}
MOST_NIGHTS = 1_000  # rows of the table of nights in a report; the DataFrame has all
SOON_DAYS = 14.0  # certificates that end earlier are told in a sentence
PLOTS = ("failure_ratio", "duration", "version", "cipher")


@dataclass(frozen=True)
class Trend:
    """The nights of a store side by side: DataFrames, sentences, plots, and a report of them."""

    name: str
    by: str
    tables: dict[str, pd.DataFrame]  # nights, versions, ciphers, alerts, old_clients, certificates

    @property
    def sentences(self) -> list[str]:
        """What changed in the last night, as plain text, the most important first."""
        return [sentence.text for sentence in _said(self)]

    def plot(self, what: str = "failure_ratio", ax: "Axes | None" = None) -> "Axes":
        """Draw failure_ratio or duration of each server, or the shares of each version or cipher, night by night."""
        from tlspcap.plots import nights, shares

        if what not in PLOTS:
            raise ArgumentError(f"cannot plot {what!r}; what can be is {', '.join(PLOTS)}")
        if what in ("version", "cipher"):
            return shares(self.tables[f"{what}s"], what, ax)
        return nights(self.tables["nights"], what, ax)

    def render(self, kind: str) -> str:
        """Give the report as html, md or json."""
        drawn = [*_figures(self)] if kind == "html" else []
        return rendered(report_of(self), kind, SCHEMA, drawn)

    def report(self, path: str | Path) -> None:
        """Write it to a file: .html (one self-contained page), .md or .json, by its suffix."""
        kind = SUFFIXES.get(Path(path).suffix.lower())
        if kind is None:
            raise ArgumentError(f"cannot write a trend as {Path(path).suffix!r}: use .html, .md or .json")
        Path(path).write_text(self.render(kind), encoding="utf-8")

    def __repr__(self) -> str:
        """Say it in words, as a notebook shows it."""
        return "\n".join(self.sentences)


def trend(store: Store, days: int | None = None, by: str = BY) -> Trend:
    """Put the nights of a store side by side.

    Args:
        store: what `tlspcap.open_store` gave, or a slice of it: `store.select(server="192.0.2.1:443")`.
        days: only so many last nights; all without.
        by: a column of handshakes whose values are told apart, or "server" for address and port.

    Returns:
        A Trend. Its `tables` are DataFrames: `nights`, a row per date and server with counts, failure ratio, its 95 %
        interval and quantiles of handshake_ms (ms); `versions` and `ciphers`; `alerts` that ended handshakes;
        `old_clients`, which offer at most TLS 1.1; `certificates` of the last night by days left.

    Raises:
        ArgumentError: `days` is below 1, or there is no column `by`.

    Example:
        >>> import tempfile, tlspcap
        >>> from tlspcap.nightly.runner import batch
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     done = batch(["sample_captures/old-app.pcap"], folder, jobs=1)
        ...     print(trend(tlspcap.open_store(folder)).tables["old_clients"][["client_ip", "n", "failed"]].head(1))
            client_ip  n  failed
        0  10.40.7.21  6       3
    """
    kept = store if days is None else last_nights(store, days)
    return Trend(store.path.name, by, tables(kept, by))


# -- in words ---------------------------------------------------------------------------------------------------


def _said(trend: Trend) -> list[Sentence]:
    nights = trend.tables["nights"]
    if nights.empty:
        return [Sentence("The store has no nights.", Mood.DOUBT)]
    last = str(nights["date"].max())
    told = [*_changed(trend, last)]
    mood = Mood.BAD if any(sentence.mood is Mood.BAD for sentence in told) else Mood.PLAIN
    return [Sentence(_headline(nights, last), mood), *told]


def _headline(nights: pd.DataFrame, last: str) -> str:
    present, before = nights[nights["date"] == last], nights[nights["date"] < last]
    text = f"In the night of {last}, {_share(present)}"
    count = before["date"].nunique()
    return f"{text}; in the {words.count(count, 'night')} before, {_share(before)}." if count else f"{text}."


def _share(rows: pd.DataFrame) -> str:
    failed, base = int(rows["failed"].sum()), int((rows["failed"] + rows["established"]).sum())
    if not base:
        return "no handshake's outcome is known"
    low, high = wilson(np.array([failed / base]), np.array([float(base)]))
    return (f"{failed:,} of {words.count(base, 'handshake')} failed ({words.percent(failed / base)}, 95 % interval "
            f"{words.interval(float(low[0]), float(high[0]))})")  # fmt: skip


def _changed(trend: Trend, last: str) -> Iterator[Sentence]:
    """Say what is out of line with the nights before, what is new, and what ends soon."""
    nights = trend.tables["nights"]
    if trend.by == BY:
        for breach in regressions(nights):
            yield Sentence(f"{breach.sentence}.", Mood.BAD)
    if nights["date"].nunique() > 1:
        for name, noun in (("versions", "version"), ("ciphers", "cipher")):
            yield from _new(trend.tables[name], noun, last)
        yield from _new_clients(trend.tables["old_clients"], last)
    soon = trend.tables["certificates"].query("days_left < @SOON_DAYS", local_dict={"SOON_DAYS": SOON_DAYS})
    for row in soon.to_dict("records"):
        state = "had expired" if row["days_left"] < 0 else f"has {row['days_left']:.0f} days left"
        text = f"The certificate {words.wire(row['subject'])} of {row['servers']} {state} at the end of {last}."
        yield Sentence(text, Mood.BAD if row["days_left"] < 0 else Mood.DOUBT)


def _new(table: pd.DataFrame, noun: str, last: str) -> Iterator[Sentence]:
    known = set(table.loc[table["date"] < last, noun].dropna())
    new = table[(table["date"] == last) & table[noun].notna() & ~table[noun].isin(known)].groupby(noun)["n"].sum()
    if len(new):
        names = [f"{words.wire(name)} ({words.count(int(n), 'handshake')})" for name, n in new.items()]
        yield Sentence(
            f"{noun.capitalize()} in use that the nights before do not show: {words.listed(names)}.", Mood.DOUBT
        )


def _new_clients(clients: pd.DataFrame, last: str) -> Iterator[Sentence]:
    for version, rows in clients[clients["first"] == last].groupby("offered_version_max", sort=True):
        names = words.listed([words.wire(name) for name in rows["client_ip"]])
        count = words.count(len(rows), "client offers", "clients offer")
        yield Sentence(f"{count} at most {version} and did not in the nights before: {names}.", Mood.DOUBT)


# -- as a report ------------------------------------------------------------------------------------------------


def report_of(trend: Trend) -> Report:
    """Make the report: the first sentence, what changed, then table by table."""
    said, told = _said(trend), trend.tables
    nights, by = told["nights"], trend.by
    sections = (
        Section("changed", "What changed", tuple(said[1:])),
        Section("failures", f"Failures by {by}", grids=(_servers(nights, by), _totals(nights), _nights(nights, by))),
        Section("latency", "Latency", grids=(_durations(nights, by),)),
        Section("versions", "Versions", grids=(_in_use(told["versions"], "version"),)),
        Section("ciphers", "Ciphers", grids=(_in_use(told["ciphers"], "cipher"),)),
        Section("old_clients", "Clients that offer at most TLS 1.1", grids=(_old_clients(told["old_clients"]),)),
        Section("certificates", "Certificates by days left", grids=(_certificates(told["certificates"]),)),
        Section("alerts", "Alerts that ended handshakes", grids=(_alerts(told["alerts"]),)),
    )
    kept = tuple(part for part in sections if part.sentences or any(grid.rows for grid in part.grids))
    return Report(said[0], (trend.name,), {}, kept)


def _figures(trend: Trend) -> Iterator[figures.Figure]:
    if trend.tables["nights"].empty:
        return
    for what, section in zip(PLOTS, ("failures", "latency", "versions", "ciphers"), strict=True):
        yield figures.figure(f"nights_{what}", section, _plotted(trend, what))


def _plotted(trend: Trend, what: str) -> "Callable[[], Axes]":
    return lambda: trend.plot(what)


def _servers(nights: pd.DataFrame, by: str) -> Grid:
    """The last night beside those before, a row for each server."""
    columns = (
        Column(by, by), Column("failed", "last night", Kind.OF, base="base"), Column("ratio", "ratio", Kind.RATIO),
        Column("interval", "95 % interval", Kind.INTERVAL),
        Column("before_failed", "before", Kind.OF, base="before_base"),
        Column("before_ratio", "ratio before", Kind.RATIO), Column("clients", "clients", Kind.COUNT),
    )  # fmt: skip
    last = nights["date"].max() if len(nights) else ""
    sums = nights.assign(base=nights["failed"] + nights["established"])
    before = sums[sums["date"] < last].groupby(by, dropna=False)[["failed", "base"]].sum()
    rows = []
    for row in sums[sums["date"] == last].to_dict("records"):
        was = before.loc[row[by]] if row[by] in before.index else pd.Series({"failed": 0, "base": 0})
        rows.append((
            words.wire(row[by]), (int(row["failed"]), int(row["base"])), _number(row["failure_ratio"]),
            _pair(row["ci_low"], row["ci_high"]), (int(was["failed"]), int(was["base"])),
            was["failed"] / was["base"] if was["base"] else None, int(row["clients"]),
        ))  # fmt: skip
    caption = f"Failed of those whose outcome is known, on {last} and in the nights before."
    return Grid("servers", caption, columns, tuple(rows))


def _totals(nights: pd.DataFrame) -> Grid:
    """All values of `by` together, a row for each night."""
    columns = (
        Column("date", "night"), Column("n", "handshakes", Kind.COUNT),
        Column("failed", "failed", Kind.OF, base="base"),
        Column("ratio", "ratio", Kind.RATIO), Column("interval", "95 % interval", Kind.INTERVAL),
        Column("unknown", "unknown", Kind.COUNT),
    )  # fmt: skip
    sums = nights.groupby("date")[["n", "failed", "established", "unknown"]].sum().sort_index(ascending=False)
    base = (sums["failed"] + sums["established"]).to_numpy(np.float64)
    ratio = np.divide(sums["failed"].to_numpy(np.float64), base, out=np.full(len(base), np.nan), where=base > 0)
    low, high = wilson(ratio, base)
    rows = tuple(
        (str(date), int(row["n"]), (int(row["failed"]), int(row["failed"] + row["established"])), _number(ratio[place]),
         _pair(low[place], high[place]), int(row["unknown"]))
        for place, (date, row) in enumerate(sums.iterrows())
    )  # fmt: skip
    return Grid("totals", "Every night, the last one first; unknown outcomes are in no ratio.", columns, rows)


def _nights(nights: pd.DataFrame, by: str) -> Grid:
    """Every night of every value of `by`."""
    columns = (
        Column("date", "night"), Column(by, by), Column("n", "handshakes", Kind.COUNT),
        Column("failed", "failed", Kind.OF, base="base"), Column("ratio", "ratio", Kind.RATIO),
        Column("interval", "95 % interval", Kind.INTERVAL), Column("p50", "median", Kind.MS, "ms"),
        Column("p95", "95 %", Kind.MS, "ms"),
    )  # fmt: skip
    ordered = nights.sort_values("date", ascending=False, kind="stable").head(MOST_NIGHTS)
    rows = tuple(
        (row["date"], words.wire(row[by]), int(row["n"]), (int(row["failed"]), int(row["failed"] + row["established"])),
         _number(row["failure_ratio"]), _pair(row["ci_low"], row["ci_high"]), _number(row["p50"]), _number(row["p95"]))
        for row in ordered.to_dict("records")
    )  # fmt: skip
    left = f"; the last {MOST_NIGHTS:,} rows of {len(nights):,}" if len(nights) > MOST_NIGHTS else ""
    return Grid("nights", f"Every night by {by}{left}.", columns, rows, f"{words.UNKNOWN}: too few to tell.")


def _durations(nights: pd.DataFrame, by: str) -> Grid:
    columns = (
        Column(by, by), Column("timed", "n", Kind.COUNT), Column("p50", "median", Kind.MS, "ms"),
        Column("p95", "95 %", Kind.MS, "ms"), Column("p99", "99 %", Kind.MS, "ms"),
        Column("before_p50", "median before", Kind.MS, "ms"), Column("before_p95", "95 % before", Kind.MS, "ms"),
    )  # fmt: skip
    last = nights["date"].max() if len(nights) else ""
    before = nights[nights["date"] < last].groupby(by, dropna=False)[["p50", "p95"]].median()
    rows = []
    for row in nights[(nights["date"] == last) & (nights["timed"] > 0)].to_dict("records"):
        was = [_number(before.at[row[by], name]) if row[by] in before.index else None for name in ("p50", "p95")]
        rows.append((words.wire(row[by]), int(row["timed"]), *(_number(row[n]) for n in ("p50", "p95", "p99")), *was))
    caption = f"Durations of established handshakes on {last}; before: the nights' median of the same."
    return Grid("durations", caption, columns, tuple(rows), f"{words.UNKNOWN}: too few to tell.")


def _in_use(table: pd.DataFrame, noun: str) -> Grid:
    """What is in use: the last night's handshakes beside the nights before, and when it was first and last seen."""
    columns = (
        Column(noun, noun), Column("n", "last night", Kind.COUNT), Column("share", "share", Kind.RATIO),
        Column("before_share", "share before", Kind.RATIO),
        Column("failed", "failed, all nights", Kind.OF, base="base"), Column("first", "first"), Column("last", "last"),
    )  # fmt: skip
    last = table["date"].max() if len(table) else ""
    named = table.assign(**{noun: table[noun].astype("string").fillna(words.NOT_SEEN)})
    present, before = named[named["date"] == last], named[named["date"] < last]
    now, was = present.groupby(noun)["n"].sum(), before.groupby(noun)["n"].sum()
    told = {"failed": ("failed", "sum"), "established": ("established", "sum"), "first": ("date", "min"),
            "last": ("date", "max"), "n": ("n", "sum")}  # fmt: skip
    groups: Any = named.groupby(noun)
    found = groups.agg(**told).sort_values("n", ascending=False, kind="stable") if len(named) else named
    rows = tuple(
        (words.wire(name), int(now.get(name, 0)), int(now.get(name, 0)) / int(now.sum()),
         int(was.get(name, 0)) / int(was.sum()) if was.sum() else None,
         (int(row["failed"]), int(row["failed"] + row["established"])), row["first"], row["last"])
        for name, row in (found.iterrows() if len(named) else ())
    )  # fmt: skip
    return Grid(f"{noun}s", f"Handshakes by {noun} on {last} and in the nights before.", columns, rows)


def _old_clients(table: pd.DataFrame) -> Grid:
    columns = (
        Column("client", "client"), Column("offered", "offers at most"), Column("first", "first"),
        Column("last", "last"), Column("n", "handshakes", Kind.COUNT), Column("failed", "failed", Kind.OF, base="base"),
        Column("server", "server"), Column("servers", "servers", Kind.COUNT),
    )  # fmt: skip
    rows = tuple(
        (words.wire(row["client_ip"]), row["offered_version_max"], row["first"], row["last"], int(row["n"]),
         (int(row["failed"]), int(row["failed"] + row["established"])), row["server"], int(row["servers"]))
        for row in table.head(MOST_NIGHTS).to_dict("records")
    )  # fmt: skip
    return Grid("old_clients", "Those that came last stand first; dates are of the nights shown.", columns, rows)


def _certificates(table: pd.DataFrame) -> Grid:
    columns = (Column("days_left", "days left", Kind.COUNT), Column("subject", "subject"), Column("not_after", "ends"),
               Column("servers", "servers"), Column("sha256", "SHA-256"))  # fmt: skip
    rows = tuple(
        (int(np.floor(row["days_left"])), words.wire(row["subject"]), f"{row['not_after']:%Y-%m-%d}", row["servers"],
         row["sha256"][:16])
        for row in table.to_dict("records")
    )  # fmt: skip
    return Grid(
        "certificates", "Server leaves of the last night; days from its end, negative ones are over.", columns, rows
    )


def _alerts(table: pd.DataFrame) -> Grid:
    columns = (Column("server", "server"), Column("sender", "sent by"), Column("alert", "alert"),
               Column("n", "last night", Kind.COUNT), Column("before", "before", Kind.COUNT))  # fmt: skip
    last = table["date"].max() if len(table) else ""
    split = table.assign(now=table["n"].where(table["date"] == last, 0)) if len(table) else table.assign(now=0)
    found = split.groupby([BY, "sender", "description"], sort=True, dropna=False)[["now", "n"]].sum().reset_index()
    ordered = found.sort_values(["now", "n"], ascending=False, kind="stable")
    rows = tuple(
        (
            row[BY],
            words.wire(row["sender"]),
            words.wire(row["description"]),
            int(row["now"]),
            int(row["n"] - row["now"]),
        )
        for row in ordered.to_dict("records")
    )
    return Grid("alerts", f"Handshakes ended by an alert, on {last} and in the nights before.", columns, rows)


def _pair(low: float, high: float) -> Cell:
    return None if words.missing(low) else (float(low), float(high))


def _number(value: Any) -> Cell:
    return None if words.missing(value) else float(value)

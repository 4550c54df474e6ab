"""Plots with one lane per group: failure ratios, latencies, and handshakes over time."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tlspcap.failures import failure_ratio as ratio_table
from tlspcap.grouping import By, Groups, group, is_outcome, require
from tlspcap.latency import latency as latency_table
from tlspcap.plots.style import COLOURS, canvas, counted, duration, headline, label, nothing, percent, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Note = tuple[str, str, str]  # on the right of a lane: what stands out, the base, what was left out

MOST_LANES = 20  # beyond, labels get too small to read; the first lanes are those with the most failures
MOST_POINTS = 300  # per lane of the latency plot, picked evenly from the sorted values
FLOOR_MS = 0.001  # a microsecond, the finest that most captures tell; a logarithmic axis has no zero
# What a tick and the corner of a time axis say for ticks of years, months, days, hours, minutes and seconds.
TICKS = ["%Y", "%Y-%m", "%m-%d", "%H:%M", "%H:%M", "%H:%M:%S.%f"]
OFFSETS = ["", "", "%Y", "%Y-%m-%d", "%Y-%m-%d", "%Y-%m-%d"]
GOLDEN = 0.6180339887498949
MARKS = {"established": ("o", 3.5, 0.55), "unknown": ("s", 4.5, 0.9), "failed": ("X", 7.0, 1.0)}  # marker, size, alpha


@styled
def failure_ratio(
    handshakes: pd.DataFrame, by: By = "version", by_client: bool = False, ax: "Axes | None" = None
) -> "Axes":
    """Draw the failure ratio of each group as a bar with its 95 % interval, the counts beside it.

    Args:
        handshakes: a handshakes table, or any rows of it.
        by: a column, several, or None, as in `tlspcap.failure_ratio`.
        by_client: intervals clustered by client.
        ax: where to draw; None for a figure of its own.

    Raises:
        ArgumentError: a column of `by` does not exist.

    Example:
        >>> import pandas as pd
        >>> night = pd.DataFrame({"version": "TLS 1.2", "outcome": ["failed", "established"], "client_ip": "::1"})
        >>> [text.get_text() for text in failure_ratio(night).texts][:2]
        ['50 %', '1 of 2']
    """
    table = ratio_table(handshakes, by, by_client)
    shown = table.head(MOST_LANES)
    ax = canvas(ax, 7.5, _height(len(shown)))
    if table.empty:
        return nothing(ax)
    y = np.arange(len(shown))
    ax.barh(y, shown["failure_ratio"].fillna(0), height=0.44, color=COLOURS["failed"])
    _whiskers(ax, y, shown["ci_low"].to_numpy(), shown["ci_high"].to_numpy())
    highest = shown["ci_high"].fillna(shown["failure_ratio"]).fillna(1.0).max()
    ax.set_xlim(0, 1.0 if highest > 0.6 else max(highest * 1.15, 1e-4))
    ax.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g} %")
    ax.set_xlabel(f"share that failed, with 95 % {'interval clustered by client' if by_client else 'Wilson interval'}")
    _lanes(ax, shown.index, [_ratio_note(row) for _, row in shown.iterrows()])
    totals = table[["failed", "established", "unknown"]].sum()
    base = f"{totals['failed']:,} of {totals['failed'] + totals['established']:,} failed"
    headline(ax, f"Failed handshakes{_by(by)}", f"{base}, {totals['unknown']:,} unknown left out{_more(len(table))}")
    return ax


@styled
def latency(
    handshakes: pd.DataFrame,
    by: By = "version",
    measure: str = "handshake_ms",
    outcome: str | None = "established",
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw how one duration is distributed in each group, on a logarithmic axis.

    A dot is a handshake (of more than 300 in a group, 300 picked evenly from the sorted values, ends included), the
    band is the middle half, the line the median.

    Args:
        handshakes: a handshakes table, or any rows of it.
        by: a column, several, or None.
        measure: a duration, one of `tlspcap.latency.MEASURES`.
        outcome: only handshakes of this outcome; None takes all.
        ax: where to draw; None for a figure of its own.

    Raises:
        ArgumentError: a column, measure or outcome does not exist.

    Example:
        >>> import pandas as pd
        >>> night = pd.DataFrame({"version": "TLS 1.2", "outcome": "established", "handshake_ms": [20.0, 22.0, 90.0]})
        >>> [text.get_text() for text in latency(night).texts][0]
        '22 ms'
    """
    table = latency_table(handshakes, by, outcome, [measure])
    groups = group(handshakes, by)
    wanted = np.ones(len(handshakes), bool) if outcome is None else is_outcome(handshakes, outcome)
    values = np.where(wanted, handshakes[measure].to_numpy(np.float64, na_value=np.nan), np.nan)
    lanes = min(len(groups.index), MOST_LANES)
    ax = canvas(ax, 7.5, _height(lanes))
    measured = values[~np.isnan(values) & (groups.codes < lanes)]
    if not len(measured):
        return nothing(ax, f"no {outcome or ''} handshakes with {measure}".replace("  ", " "))
    colour = COLOURS.get(outcome or "ink", COLOURS["ink"])
    for lane in range(lanes):
        inside = values[groups.codes == lane]
        _distribution(ax, lane, np.sort(inside[~np.isnan(inside)]), colour)
    _logarithmic(ax, np.maximum(measured, FLOOR_MS))
    ax.set_xlabel("line: median, band: middle half, dot: one handshake")
    notes = [("", f"n = {n:,}", f"{excluded:,} excluded" if excluded else "")
             for n, excluded in zip(table["n"], table["excluded"], strict=True)]  # fmt: skip
    _lanes(ax, groups.index[:lanes], notes[:lanes])
    headline(
        ax, f"{_MEASURE_TITLES.get(measure, measure)}{_by(by)}",
        f"{counted(int(table['n'].sum()), f'{outcome} handshake' if outcome else 'handshake')}, "
        f"{table['excluded'].sum():,} excluded{_more(len(groups.index))}",
    )  # fmt: skip
    return ax


@styled
def timeline(handshakes: pd.DataFrame, by: By = "version", ax: "Axes | None" = None) -> "Axes":
    """Draw every handshake at its time, in one lane per group, failures marked.

    Args:
        handshakes: a handshakes table, or any rows of it; uses `time`, `outcome` and the columns of `by`.
        by: a column, several, or None for a single lane.
        ax: where to draw; None for a figure of its own.

    Raises:
        ArgumentError: a column of `by` does not exist.

    Example:
        >>> import pandas as pd
        >>> night = pd.DataFrame({
        ...     "version": "TLS 1.2", "outcome": ["failed", "established"],
        ...     "time": pd.to_datetime(["2026-11-03 02:00", "2026-11-03 03:00"], utc=True),
        ... })
        >>> "1 of 2 failed" in [text.get_text() for text in timeline(night).texts]
        True
    """
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num

    require(handshakes, "time", "outcome")
    groups = group(handshakes, by)
    lanes = min(len(groups.index), MOST_LANES)
    ax = canvas(ax, 9.0, _height(lanes, 0.55))
    if not len(handshakes):
        return nothing(ax)
    when = handshakes["time"].dt.tz_convert("UTC").dt.tz_localize(None).to_numpy("datetime64[us]")
    # A fixed, even scatter across the lane: coinciding handshakes stay apart, and the same table gives the same plot.
    y = groups.codes + 0.6 * (np.arange(len(handshakes)) * GOLDEN % 1 - 0.5)
    for outcome, (marker, size, alpha) in MARKS.items():
        rows = is_outcome(handshakes, outcome) & ~np.isnat(when) & (groups.codes < lanes)
        ax.plot(
            date2num(when[rows]), y[rows],  # type: ignore[no-untyped-call]  # as matplotlib leaves its dates module
            linestyle="none", marker=marker, markersize=size, alpha=alpha,
            color=COLOURS[outcome], markeredgewidth=0, label=f"{rows.sum():,} {outcome}", rasterized=True,
        )  # fmt: skip
    _time_limits(ax, when[~np.isnat(when)])
    locator = AutoDateLocator(minticks=3, maxticks=9)  # type: ignore[no-untyped-call]
    ax.xaxis.set_major_locator(locator)
    formats = {"formats": TICKS, "zero_formats": TICKS, "offset_formats": OFFSETS}
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator, **formats))  # type: ignore[no-untyped-call]
    _lanes(ax, groups.index[:lanes], _outcome_notes(handshakes, groups)[:lanes])
    headline(ax, f"Handshakes over time{_by(by)}", _span(handshakes["time"]) + _more(len(groups.index)))
    ax.legend(
        loc="upper left", bbox_to_anchor=(0, 0), ncols=3, frameon=False, handletextpad=0.1, columnspacing=1.2,
        borderaxespad=2.2, borderpad=0, reverse=True,
    )  # fmt: skip
    return ax


_MEASURE_TITLES = {
    "tcp_rtt_ms": "TCP round trip",
    "client_rtt_ms": "Round trip to the client",
    "server_rtt_ms": "Round trip to the server",
    "server_hello_ms": "ClientHello to the server's answer",
    "handshake_ms": "Duration of the handshake",
    "connect_ms": "First SYN to the end of the handshake",
    "client_ms": "Client's part of the handshake",
    "server_ms": "Server's part of the handshake",
    "transfer_ms": "Transfer within flights",
    "first_data_ms": "Handshake to first data from the server",
}


def _height(lanes: int, each: float = 0.45) -> float:
    """Return the height in inches that keeps lanes equally tall however many there are."""
    return 1.45 + each * max(lanes, 2)


def _by(by: By) -> str:
    names = [] if by is None else [by] if isinstance(by, str) else list(by)
    return f" by {label(', '.join(names), 36)}" if names else ""


def _more(lanes: int) -> str:
    """Say when there are more lanes than are shown."""
    return f"; the first {MOST_LANES} of {lanes:,} groups shown" if lanes > MOST_LANES else ""


def _lanes(ax: "Axes", index: pd.Index, notes: list[Note]) -> None:
    """Name each lane on the left and put its numbers on the right."""
    ax.set_yticks(range(len(index)), [label(value, 36) for value in index])
    ax.set_ylim(len(index) - 0.5, -0.5)
    ax.spines["left"].set_visible(False)
    ax.grid(axis="x", color=COLOURS["faint"], linewidth=0.8)
    place: dict[str, Any] = {"textcoords": "offset points", "va": "center", "annotation_clip": False}
    right = {**place, "xycoords": ("axes fraction", "data")}
    start = 58 if any(lead for lead, _, _ in notes) else 10
    for lane, (lead, note, aside) in enumerate(notes):
        ax.annotate(lead, (1, lane), (start - 8, 0), ha="right", fontweight="bold", **right)
        text = ax.annotate(note, (1, lane), (start, 0), **right)
        ax.annotate(aside, (1, 0.5), (8, 0), xycoords=text, color=COLOURS["muted"], fontsize=8.5, **place)


def _ratio_note(row: "pd.Series[float]") -> Note:
    """Write the base on a bar: how many of how many, and how many are unknown."""
    failed, base, unknown = int(row["failed"]), int(row["failed"] + row["established"]), int(row["unknown"])
    aside = f"+ {unknown:,} unknown" if unknown else ""
    return (percent(row["failure_ratio"]), f"{failed:,} of {base:,}", aside) if base else ("", "none decided", aside)


def _outcome_notes(handshakes: pd.DataFrame, groups: Groups) -> list[Note]:
    n, failed, established = (
        groups.count(),
        groups.count(is_outcome(handshakes, "failed")),
        groups.count(is_outcome(handshakes, "established")),
    )
    unknown = n - failed - established
    return [
        ("", f"{f:,} of {f + e:,} failed" if f + e else "none decided", f"+ {u:,} unknown" if u else "")
        for f, e, u in zip(failed, established, unknown, strict=True)
    ]


def _whiskers(ax: "Axes", y: NDArray[np.int64], low: NDArray[np.float64], high: NDArray[np.float64]) -> None:
    ax.hlines(y, low, high, color=COLOURS["ink"], linewidth=1.3)
    ax.vlines(np.concatenate([low, high]), np.tile(y - 0.12, 2), np.tile(y + 0.12, 2), color=COLOURS["ink"], lw=1.3)


def _distribution(ax: "Axes", lane: int, values: NDArray[np.float64], colour: str) -> None:
    """Draw the sorted durations of one lane: dots, the middle half, the median with its value."""
    if not len(values):
        return
    values = np.maximum(values, FLOOR_MS)
    picked = values[np.unique(np.linspace(0, len(values) - 1, min(len(values), MOST_POINTS)).round().astype(int))]
    scatter = lane + 0.5 * (np.arange(len(picked)) * GOLDEN % 1 - 0.5)
    ax.plot(picked, scatter, "o", color=colour, markersize=3.5, markeredgewidth=0, alpha=0.45, rasterized=True)
    lower, median, upper = np.quantile(values, [0.25, 0.5, 0.75])
    if len(values) >= 4:  # as in the table, a quantile is told only where enough handshakes carry it
        ax.fill_betweenx([lane - 0.27, lane + 0.27], lower, upper, color=colour, alpha=0.22, linewidth=0)
    if len(values) < 2:
        return
    ax.vlines(median, lane - 0.3, lane + 0.3, color=COLOURS["ink"], linewidth=1.6)
    ax.annotate(
        duration(median), (median, lane - 0.3), (0, 1), textcoords="offset points", ha="center", va="bottom",
        fontsize=8, fontweight="bold",
    )  # fmt: skip


def _logarithmic(ax: "Axes", values: NDArray[np.float64]) -> None:
    """Make the x axis logarithmic, at least a decade wide so that it always has ticks to read."""
    from matplotlib.ticker import LogLocator, NullLocator

    low, high = np.log10(values.min()), np.log10(values.max())
    room = max(0.04 * (high - low), (1 - (high - low)) / 2)
    ax.set_xscale("log")
    ax.set_xlim(10 ** (low - room), 10 ** (high + room))
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high - low + 2 * room < 3 else (1,)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(lambda value, _: duration(value))


def _time_limits(ax: "Axes", when: "NDArray[np.datetime64]") -> None:
    """Leave some room at both ends: half a second where all happened at once, for matplotlib would show years."""
    if len(when):
        first, last = when.min(), when.max()
        room = (last - first) * 0.03 if last > first else np.timedelta64(500, "ms")
        ax.set_xlim(first - room, last + room)


def _span(time: "pd.Series[pd.Timestamp]") -> str:
    first, last = time.min(), time.max()
    if pd.isna(first):
        return "no handshake has a time"
    return f"{counted(len(time), 'handshake')} from {first:%Y-%m-%d %H:%M:%S} to {last:%Y-%m-%d %H:%M:%S} UTC"

"""Nights side by side: a lane of failure ratios or durations for each server, and who has what share of a night."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tlspcap.errors import ArgumentError
from tlspcap.plots.style import COLOURS, canvas, duration, headline, label, nothing, percent, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LANES = 12  # servers that are drawn, those with the most failures
LANE = 0.8  # of the height that a lane has is drawn on
SHARES = ("#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7", "#8C8C8C")  # Okabe and Ito's, grey at last
MEASURES = ("failure_ratio", "duration")


@styled
def nights(table: pd.DataFrame, measure: str = "failure_ratio", ax: "Axes | None" = None) -> "Axes":
    """Draw one measure of every night, a lane for each server, all lanes to one scale.

    Args:
        table: `nights` of a Trend's tables.
        measure: "failure_ratio", with its 95 % interval, or "duration": the median, and the 95 % quantile as a dot.
        ax: where to draw; None for a figure of its own.

    Raises:
        ArgumentError: there is no such measure.

    Example:
        >>> import pandas as pd
        >>> two = pd.DataFrame({"date": ["2026-11-02", "2026-11-03"], "server": "192.0.2.1:443", "n": 100, "failed": 2,
        ...                     "established": 98, "failure_ratio": 0.02, "ci_low": 0.006, "ci_high": 0.07})
        >>> [text.get_text() for text in nights(two).texts][0]
        '2 of 100'
    """
    if measure not in MEASURES:
        raise ArgumentError(f"cannot plot {measure!r}; what can be is {' and '.join(MEASURES)}")
    by = str(table.columns[1]) if len(table.columns) > 1 else ""
    ratios = measure == "failure_ratio"
    lanes = _lanes(table, by)
    ax = canvas(ax, 9.0, 1.6 + 0.62 * max(len(lanes), 2))
    high = table["ci_high" if ratios else "p95"].where(
        lambda values: values.notna(), table["failure_ratio" if ratios else "p50"]
    )
    if not lanes or not high.notna().any():
        return nothing(ax, "no nights" if not lanes else f"no night has a {measure.replace('_', ' ')}")
    dates = sorted(table["date"].unique())
    top = float(high[table[by].isin(lanes)].max()) or 1.0
    for lane, name in enumerate(lanes):
        rows = table[table[by] == name].set_index("date").reindex(dates)
        _lane(ax, lane, rows, top, ratios)
    ax.set_yticks(range(len(lanes)), [label(name, 36) for name in lanes])
    ax.set_ylim(len(lanes) - 0.4, -0.6)
    _dates(ax, dates)
    shown = percent(top) if ratios else duration(top)
    what = (
        "95 % interval shaded; beside, the last night"
        if ratios
        else "line: median, dots: 95 % quantile; beside, the last night's median"
    )
    more = f"; the first {MOST_LANES} of {table[by].nunique():,}" if table[by].nunique() > MOST_LANES else ""
    title = f"{'Failed handshakes' if ratios else 'Duration of the handshake'}, night by night"
    headline(ax, title, f"each lane reaches up to {shown}; {what}{more}")
    return ax


def _lanes(table: pd.DataFrame, by: str) -> list[Any]:
    if table.empty:
        return []
    sums = (
        table.groupby(by, sort=True)[["failed", "n"]].sum().sort_values(["failed", "n"], ascending=False, kind="stable")
    )
    return list(sums.index[:MOST_LANES])


def _lane(ax: "Axes", lane: int, rows: pd.DataFrame, top: float, ratios: bool) -> None:
    x, floor = np.arange(len(rows)), lane + LANE / 2

    def height(column: str) -> Any:
        return floor - LANE * rows[column].to_numpy(np.float64) / top

    colour = COLOURS["failed" if ratios else "established"]
    ax.hlines(floor, -0.4, len(rows) - 0.6, color=COLOURS["faint"], linewidth=0.8)
    marker = "o" if len(rows) <= 60 else ""
    if ratios:
        ax.fill_between(x, height("ci_low"), height("ci_high"), color=colour, alpha=0.2, linewidth=0)
    else:
        ax.plot(x, height("p95"), ".", color=colour, alpha=0.5, markersize=4)
    ax.plot(x, height("failure_ratio" if ratios else "p50"), color=colour, marker=marker, markersize=3, linewidth=1.4)
    last = rows.iloc[-1]
    if pd.isna(last["n"]):
        note = "not seen"
    elif ratios:
        note = f"{last['failed']:,.0f} of {last['failed'] + last['established']:,.0f}"
    else:
        note = duration(float(last["p50"])) if pd.notna(last["p50"]) else "too few"
    ax.annotate(note, (1, lane), (10, 0), xycoords=("axes fraction", "data"), textcoords="offset points", va="center",
                annotation_clip=False, fontsize=8.5)  # fmt: skip


@styled
def shares(table: pd.DataFrame, of: str = "version", ax: "Axes | None" = None) -> "Axes":
    """Draw which share of each night's handshakes had which version, or which cipher.

    Args:
        table: `versions` or `ciphers` of a Trend's tables.
        of: the column whose values are told apart.
        ax: where to draw; None for a figure of its own.

    Raises:
        ArgumentError: the table has no such column.

    Example:
        >>> import pandas as pd
        >>> one = pd.DataFrame({"date": "2026-11-03", "version": ["TLS 1.2", "TLS 1.3"], "n": [1, 3]})
        >>> [text.get_text() for text in shares(one).get_legend().get_texts()]
        ['TLS 1.3', 'TLS 1.2']
    """
    if of not in table:
        raise ArgumentError(f"the table has no column {of!r}")
    ax = canvas(ax, 9.0, 3.2)
    if table.empty:
        return nothing(ax, "no nights")
    named = table[of].astype("string").fillna("none chosen")
    sums = table.groupby(["date", named])["n"].sum().unstack(fill_value=0)
    order = sums.sum().sort_values(ascending=False, kind="stable").index
    kept = sorted(order[: len(SHARES) - 1]) if len(order) > len(SHARES) else sorted(order)
    parts = sums[kept].assign(**({"others": sums.drop(columns=kept).sum(axis=1)} if len(order) > len(kept) else {}))
    parts = parts.div(parts.sum(axis=1), axis=0)
    bottom, x = np.zeros(len(parts)), np.arange(len(parts))
    for (name, values), colour in zip(parts.items(), SHARES, strict=False):
        ax.bar(x, values, 0.9, bottom, color=colour, label=label(name, 44))
        bottom = bottom + values.to_numpy(np.float64)
    ax.set_ylim(0, 1)
    ax.yaxis.set_major_formatter(lambda value, _: percent(value) if value else "0")
    _dates(ax, list(parts.index), 4)
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, reverse=True, fontsize=8.5)
    headline(ax, f"Handshakes by {of}, night by night", f"{table['n'].sum():,} handshakes in {len(parts):,} nights")
    return ax


def _dates(ax: "Axes", dates: list[str], most: int = 8) -> None:
    """Name some nights below the axis: the last, and others at even distances before it."""
    step = max(1, -(-len(dates) // most))
    places = list(range(len(dates) - 1, -1, -step))[::-1]
    ax.set_xticks(places, [dates[place] for place in places], fontsize=8)
    ax.set_xlim(-0.6, len(dates) - 0.4)

"""The plot of a comparison: what it was before and after, a lane per group."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tlspcap.errors import ArgumentError
from tlspcap.plots.style import COLOURS, canvas, duration, headline, label, nothing, percent, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LANES = 20
SIDES = {"before": (COLOURS["unknown"], "o"), "after": (COLOURS["established"], "D")}


@styled
def change(table: pd.DataFrame, ax: "Axes | None" = None) -> "Axes":
    """Draw each group of a comparison as two marks, before and after, with the difference and its interval beside.

    Args:
        table: `failures` or `latency` of a Comparison's tables.
        ax: where to draw; None for a figure of its own.

    Raises:
        ArgumentError: it is neither of these tables.

    Example:
        >>> import tlspcap
        >>> folder = "sample_captures/intermittent-alert"
        >>> found = tlspcap.compare(f"{folder}.pcap", f"{folder}-after.pcap")
        >>> [text.get_text() for text in change(found.tables["failures"]).texts][0]
        '3 of 20 → 0 of 20: -36 to +4 points'
    """
    if "before_ratio" in table:
        columns, note = ("before_ratio", "after_ratio"), _ratio_note
    elif "before_p50" in table:
        columns, note = ("before_p50", "after_p50"), _latency_note
    else:
        raise ArgumentError("the table of failures or of latency of a comparison is needed")
    shown = table.head(MOST_LANES)
    ax = canvas(ax, 9.0, 1.45 + 0.45 * max(len(shown), 2))
    if shown.empty:
        return nothing(ax, "nothing that both have")
    y = np.arange(len(shown))
    ends = shown[list(columns)].to_numpy(np.float64)
    ax.hlines(y, ends.min(axis=1), ends.max(axis=1), color=COLOURS["faint"], linewidth=5)
    for (side, (colour, marker)), values in zip(SIDES.items(), ends.T, strict=True):
        ax.plot(values, y, marker, color=colour, markersize=7, label=side, clip_on=False)
    ax.set_yticks(y, [label(value if by == "all" else f"{by} {value}", 36)
                      for by, value in zip(shown["by"], shown["value"], strict=True)])  # fmt: skip
    ax.tick_params(axis="y", pad=8)
    ax.set_ylim(len(shown) - 0.5, -0.5)
    ax.set_xlim(left=0)
    place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "va": "center"}
    for lane, (_, row) in enumerate(shown.iterrows()):
        ax.annotate(note(row), (1, lane), (10, 0), annotation_clip=False, fontsize=8.5, **place)
    ratios = "before_ratio" in table
    ax.xaxis.set_major_formatter(lambda value, _: percent(value) if ratios else duration(value) if value else "0")
    ax.locator_params(axis="x", nbins=5)
    more = f"; the first {MOST_LANES} of {len(table):,}" if len(table) > MOST_LANES else ""
    title = "Failed handshakes, before and after" if ratios else "Median duration, before and after"
    headline(ax, title, f"grey circle: before, blue diamond: after; beside, the 95 % interval of the difference{more}")
    return ax


def _ratio_note(row: "pd.Series[Any]") -> str:
    bounds = "" if pd.isna(row["ci_low"]) else f": {100 * row['ci_low']:+.0f} to {100 * row['ci_high']:+.0f} points"
    counts = [f"{row[f'{side}_failed']:,} of {row[f'{side}_base']:,}" for side in SIDES]
    return f"{counts[0]} → {counts[1]}{bounds}"


def _latency_note(row: "pd.Series[Any]") -> str:
    bounds = "too few" if pd.isna(row["ci_low"]) else f"{row['ci_low']:+.3g} to {row['ci_high']:+.3g} ms"
    return f"{duration(row['before_p50'])} → {duration(row['after_p50'])}: {bounds}"

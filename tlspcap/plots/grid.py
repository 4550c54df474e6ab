"""The matrix of outcomes: which combinations succeed, which fail, and with which alert."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tlspcap.grouping import group, is_outcome, require
from tlspcap.plots.style import COLOURS, canvas, counted, headline, label, nothing, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_ROWS, MOST_COLUMNS = 30, 10
# Tints of the outcome colours, light enough to write on: all established, half and half, all failed.
TINTS = ("#CBE1F0", "#F3E9D8", "#F4B183")
HATCH = "////"
NOT_CHOSEN = {"cipher": "no cipher chosen", "negotiated_version": "no version chosen", "group": "no group"}


@styled
def matrix(
    handshakes: pd.DataFrame, rows: str = "cipher", columns: str = "version", ax: "Axes | None" = None
) -> "Axes":
    """Draw what became of every combination of two columns, by default of cipher and version.

    A cell is tinted by its failure ratio and tells how many were established and failed, and the most frequent alert.
    The part of a cell that is hatched is the part whose outcome is unknown.

    Args:
        handshakes: a handshakes table, or any rows of it; uses `outcome`, `alert` and the two columns.
        rows: the column whose values are the rows.
        columns: the column whose values are the columns.
        ax: where to draw; None for a figure of its own.

    Raises:
        ArgumentError: a column does not exist.

    Example:
        >>> import pandas as pd
        >>> night = pd.DataFrame({
        ...     "version": "TLS 1.2", "cipher": "TLS_RSA_WITH_AES_128_CBC_SHA",
        ...     "outcome": ["failed", "established"], "alert": ["internal_error", None],
        ... })
        >>> print(matrix(night).texts[0].get_text())
        1 ok, 1 failed
        internal_error
    """
    require(handshakes, rows, columns, "outcome", "alert")
    down, across = group(handshakes, rows), group(handshakes, columns)
    shown = (down.codes < MOST_ROWS) & (across.codes < MOST_COLUMNS)
    height, width = min(len(down.index), MOST_ROWS), min(len(across.index), MOST_COLUMNS)
    names = [_name(rows, value, 48) for value in down.index[:height]]
    gutter = 0.5 + 0.08 * max(map(len, names), default=0)
    ax = canvas(ax, gutter + 1.7 * max(width, 2), 1.6 + 0.55 * max(height, 2))
    if not len(handshakes):
        return nothing(ax)
    table = handshakes[["outcome", "alert"]].assign(row=down.codes, column=across.codes)[shown]
    for _, cell in table.groupby(["row", "column"]):
        _cell(ax, int(cell["row"].iloc[0]), int(cell["column"].iloc[0]), cell)
    _axes(ax, names, [_name(columns, value, 18) for value in across.index[:width]])
    hidden = len(handshakes) - int(shown.sum())
    headline(
        ax, f"Outcome by {label(rows)} and {label(columns)}",
        counted(len(handshakes), "handshake") + (f", {hidden:,} in rows or columns not shown" if hidden else ""),
        above=14,
    )  # fmt: skip
    _legend(ax)
    return ax


def _name(column: str, value: object, limit: int) -> str:
    return NOT_CHOSEN.get(column, "NA") if pd.isna(value) else label(value, limit)  # type: ignore[call-overload]


def _cell(ax: "Axes", row: int, column: int, cell: pd.DataFrame) -> None:
    """Draw one cell: the tint of its ratio, a hatched part as large as its share of unknown, the counts."""
    from matplotlib.patches import Rectangle

    failed, established = int(is_outcome(cell, "failed").sum()), int(is_outcome(cell, "established").sum())
    unknown = len(cell) - failed - established
    left, top, width, height = column - 0.48, row - 0.46, 0.96, 0.92
    if failed + established:
        ax.add_patch(Rectangle((left, top), width, height, facecolor=_tint(failed / (failed + established)), lw=0))
    if unknown:
        part = width * unknown / len(cell)
        ax.add_patch(Rectangle(
            (left + width - part, top), part, height, facecolor="#F4F4F4", edgecolor="#D2D2D2", hatch=HATCH, lw=0,
        ))  # fmt: skip
    ax.text(column, row, _words(established, failed, unknown, cell), ha="center", va="center", fontsize=8,
            linespacing=1.25)  # fmt: skip


def _words(established: int, failed: int, unknown: int, cell: pd.DataFrame) -> str:
    """Write a cell's counts, and between them its most frequent alert."""
    lines = [", ".join(f"{count:,} {word}" for count, word in ((established, "ok"), (failed, "failed")) if count)]
    alerts = cell.loc[is_outcome(cell, "failed"), "alert"].dropna().value_counts()
    if len(alerts):
        more = f", {len(alerts) - 1} other" if len(alerts) > 1 else ""
        lines.append(label(sorted(alerts[alerts == alerts.max()].index)[0], 22) + more)
    lines.append(f"{unknown:,} unknown" if unknown else "")
    return "\n".join(filter(None, lines))


def _tint(ratio: float) -> tuple[float, float, float, float]:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("outcome", TINTS)(ratio)


def _axes(ax: "Axes", rows: list[str], columns: list[str]) -> None:
    ax.set_yticks(range(len(rows)), rows)
    ax.set_xticks(range(len(columns)), columns, color=COLOURS["ink"])
    ax.xaxis.tick_top()
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlim(-0.5, len(columns) - 0.5)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    ax.hlines(np.arange(len(rows) - 1) + 0.5, -0.5, len(columns) - 0.5, color=COLOURS["faint"], linewidth=0.8)


def _legend(ax: "Axes") -> None:
    from matplotlib.patches import Patch

    keys = [Patch(facecolor=TINTS[0], label="established"), Patch(facecolor=TINTS[2], label="failed"),
            Patch(facecolor="#F4F4F4", edgecolor="#D2D2D2", hatch=HATCH, lw=0, label="unknown")]  # fmt: skip
    ax.legend(handles=keys, loc="upper right", bbox_to_anchor=(1, 0), ncols=3, frameon=False, fontsize=8.5,
              handlelength=1.4, columnspacing=1.6, borderaxespad=0.4)  # fmt: skip

"""The matrix of outcomes: which combinations succeed, which fail, and with which alert."""

from dataclasses import dataclass
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
UNKNOWN, STROKE, HATCH = "#F4F4F4", "#D2D2D2", "////"
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
    row_names = [_name(rows, value, 48) for value in down.index[:MOST_ROWS]]
    column_names = [_name(columns, value, 18) for value in across.index[:MOST_COLUMNS]]
    shown = (down.codes < MOST_ROWS) & (across.codes < MOST_COLUMNS)
    cells = _cells(
        handshakes.loc[shown, ["outcome", "alert"]].assign(row=down.codes[shown], column=across.codes[shown])
    )
    tallest = max((len(cell.words) for cell in cells), default=1)
    gutter = 0.5 + 0.08 * max(map(len, row_names), default=0)
    ax = canvas(ax, gutter + 1.7 * max(len(column_names), 2), 1.6 + (0.2 + 0.12 * tallest) * max(len(row_names), 2))
    if not cells:
        return nothing(ax)
    for cell in cells:
        _draw(ax, cell)
    _axes(ax, row_names, column_names)
    hidden = len(handshakes) - int(shown.sum())
    headline(
        ax, f"Outcome by {label(rows)} and {label(columns)}",
        counted(len(handshakes), "handshake") + (f", {hidden:,} in rows or columns not shown" if hidden else ""),
        above=14,
    )  # fmt: skip
    _legend(ax)
    return ax


@dataclass(frozen=True)
class Cell:
    """One combination: where it stands, what became of its handshakes, and the lines that say so."""

    row: int
    column: int
    established: int
    failed: int
    unknown: int
    words: list[str]


def _cells(table: pd.DataFrame) -> list[Cell]:
    """Make a cell of each (row, column) that has handshakes."""
    return [_cell(rows) for _, rows in table.groupby(["row", "column"])]


def _cell(rows: pd.DataFrame) -> Cell:
    failed, established = (int(is_outcome(rows, outcome).sum()) for outcome in ("failed", "established"))
    unknown = len(rows) - failed - established
    counts = ", ".join(f"{count:,} {word}" for count, word in ((established, "ok"), (failed, "failed")) if count)
    lines = [counts, _alert(rows), f"{unknown:,} unknown" if unknown else ""]
    place = rows[["row", "column"]].iloc[0]
    return Cell(int(place["row"]), int(place["column"]), established, failed, unknown, [line for line in lines if line])


def _alert(rows: pd.DataFrame) -> str:
    """Name the most frequent alert of the failed handshakes, and say how many other kinds there are."""
    alerts = rows.loc[is_outcome(rows, "failed"), "alert"].dropna().value_counts()
    if not len(alerts):
        return ""
    first = label(sorted(alerts[alerts == alerts.max()].index)[0], 22)
    others = len(alerts) - 1
    return f"{first}, {others} other{'s' if others > 1 else ''}" if others else first


def _name(column: str, value: object, limit: int) -> str:
    return NOT_CHOSEN.get(column, "NA") if pd.isna(value) else label(value, limit)  # type: ignore[call-overload]


def _draw(ax: "Axes", cell: Cell) -> None:
    """Draw the tint of a cell's ratio, a hatched part as large as its share of unknown, and its words."""
    from matplotlib.patches import Rectangle

    left, top, width, height = cell.column - 0.48, cell.row - 0.46, 0.96, 0.92
    decided = cell.failed + cell.established
    if decided:
        ax.add_patch(Rectangle((left, top), width, height, facecolor=_tint(cell.failed / decided), lw=0))
    if cell.unknown:
        part = width * cell.unknown / (decided + cell.unknown)
        place = (left + width - part, top)
        ax.add_patch(Rectangle(place, part, height, facecolor=UNKNOWN, edgecolor=STROKE, hatch=HATCH, lw=0))
    ax.text(
        cell.column, cell.row, "\n".join(cell.words), ha="center", va="center", fontsize=8, linespacing=1.25,
    )  # fmt: skip


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
            Patch(facecolor=UNKNOWN, edgecolor=STROKE, hatch=HATCH, lw=0, label="unknown")]  # fmt: skip
    ax.legend(handles=keys, loc="upper right", bbox_to_anchor=(1, 0), ncols=3, frameon=False, fontsize=8.5,
              handlelength=1.4, columnspacing=1.6, borderaxespad=0.4)  # fmt: skip

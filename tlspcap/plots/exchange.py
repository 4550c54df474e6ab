"""The ladder: the messages of one handshake as arrows between client and server."""

import textwrap
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tlspcap.errors import ArgumentError
from tlspcap.grouping import require
from tlspcap.plots.style import COLOURS, canvas, counted, duration, headline, label, nothing, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_ARROWS = 60
SIDES = {"client": 0.0, "server": 1.0}
STRETCH = 0.25  # of the height is shared out in proportion to time; the rest goes evenly to the arrows


@dataclass(frozen=True)
class Arrow:
    """What one side sent in one packet: the messages in it, and whether an alert is among them."""

    sender: str
    frame: int
    offset_ms: float
    text: str
    kind: str  # message, sealed, alert


@styled
def ladder(
    messages: pd.DataFrame,
    handshake: "pd.Series[Any] | None" = None,
    alerts: pd.DataFrame | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw the messages of one handshake as arrows between two lifelines, time running down.

    Messages of one packet share an arrow. Times on the left are since the ClientHello, frames on the right are
    Wireshark's numbers. A bar on a lifeline says how long the other side waited for that side. Alerts are red; what is
    sealed is dashed. Distances grow with time but are not to scale, so that neither a fast flight nor a slow answer
    becomes unreadable.

    Args:
        messages: rows of the messages table; with `handshake`, only those with its `id` are drawn.
        handshake: its row of the handshakes table, for the title, the addresses and the reason.
        alerts: rows of the alerts table, to name the alerts.
        ax: where to draw; None for a figure of its own.

    Raises:
        ArgumentError: a column is missing, or the messages are of more than one handshake.

    Example:
        >>> import pandas as pd
        >>> sent = pd.DataFrame({
        ...     "id": "a", "frame": [4, 6], "offset_ms": [0.0, 9.5], "sender": ["client", "server"],
        ...     "message": ["client_hello", "server_hello"], "length": [508, 118],
        ... })
        >>> [text.get_text() for text in ladder(sent).texts if "hello" in text.get_text()]
        ['client_hello (508)', 'server_hello (118)']
    """
    arrows = _arrows(_own(messages, handshake), alerts)
    shown = arrows[:MOST_ARROWS]
    ax = canvas(ax, 8.5, 1.7 + 0.36 * max(len(shown), 3) / (1 - STRETCH))
    title, detail = _title(handshake, len(shown), len(arrows))
    if not shown:
        headline(ax, title, detail)
        return nothing(ax, "no messages")
    depths = _depths(shown)
    _lifelines(ax, handshake, float(depths[-1]))
    _waits(ax, shown, depths)
    for arrow, depth in zip(shown, depths, strict=True):
        _draw(ax, arrow, float(depth))
    headline(ax, title, detail, above=28)
    return ax


def _own(messages: pd.DataFrame, handshake: "pd.Series[Any] | None") -> pd.DataFrame:
    """Pick the messages of the one handshake to draw, in order of time."""
    require(messages, "id", "frame", "offset_ms", "sender", "message", "length")
    if handshake is not None and "id" in handshake:
        messages = messages[(messages["id"] == handshake["id"]).to_numpy(bool, na_value=False)]
    if messages["id"].nunique() > 1:
        raise ArgumentError(f"messages of {messages['id'].nunique()} handshakes; pass those of one, or its row")
    return messages.sort_values("offset_ms", kind="stable")


def _arrows(messages: pd.DataFrame, alerts: pd.DataFrame | None) -> list[Arrow]:
    """Join what a side sent in one packet into one arrow."""
    named = _alert_names(alerts)
    columns = messages[["sender", "frame", "offset_ms", "message", "length"]]
    rows = columns.itertuples(index=False, name=None)
    return [
        _arrow(str(sender), int(frame), list(sent), named.get((frame, sender)))
        for (sender, frame), sent in groupby(rows, key=lambda row: (row[0], row[1]))
    ]


def _arrow(sender: str, frame: int, sent: list[tuple[Any, ...]], alert: str | None) -> Arrow:
    """Describe one packet; `alert` names the alert that is known to be in it."""
    names = {message for *_, message, _ in sent}
    words = [_word(str(message), list(same), alert) for message, same in groupby(sent, key=lambda row: row[3])]
    text = ", ".join(words)
    if alert and "alert" not in names:  # found by its size and place among sealed records
        text += f": {alert}"
    kind = "message" if names - {"sealed", "application_data"} else "sealed"
    if alert or "alert" in names:
        kind = "alert"
    return Arrow(sender, frame, float(sent[0][2]), text, kind)


def _word(message: str, same: list[tuple[Any, ...]], alert: str | None) -> str:
    """Write a message, or several of one name in a row, with their lengths."""
    if message == "alert" and alert:
        return alert
    name = f"{len(same)} {label(message)}" if len(same) > 1 else label(message)
    lengths = ", ".join(f"{length}" for *_, length in same if not pd.isna(length))
    return f"{name} ({lengths})" if lengths and message != "alert" else name


def _alert_names(alerts: pd.DataFrame | None) -> dict[tuple[int, str], str]:
    """Name the alerts by frame and sender."""
    if alerts is None or not len(alerts):
        return {}
    require(alerts, "frame", "sender", "level", "description", "code", "inferred")
    keys = zip(alerts["frame"], alerts["sender"], strict=True)
    return dict(zip(keys, map(_alert_name, alerts.itertuples()), strict=True))


def _alert_name(alert: Any) -> str:
    if pd.isna(alert.description):
        return "probably an alert" if alert.inferred else "sealed alert"
    level = "" if pd.isna(alert.level) else f"{alert.level} "
    code = "" if pd.isna(alert.code) else f" ({alert.code})"
    return f"{level}alert {label(alert.description)}{code}"


def _depths(arrows: list[Arrow]) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """Place the arrows: one step each, and a share of the rest for the time that passed since the one before."""
    offsets = np.nan_to_num([arrow.offset_ms for arrow in arrows])
    passed = np.diff(offsets, prepend=offsets[0]).clip(min=0)
    extra = len(arrows) * STRETCH / (1 - STRETCH)
    steps = 1 + (extra * passed / passed.sum() if passed.sum() > 0 else 0 * passed)
    return np.cumsum(steps)


def _draw(ax: "Axes", arrow: Arrow, depth: float) -> None:
    """Draw one arrow with its messages above, its time on the left and its frame on the right."""
    start = SIDES.get(arrow.sender, 0.0)
    colour = {"alert": COLOURS["failed"], "sealed": COLOURS["unknown"]}.get(arrow.kind, COLOURS["ink"])
    ax.annotate("", (1 - start, depth), (start, depth), arrowprops={
        "arrowstyle": "-|>,head_width=0.22,head_length=0.45", "color": colour, "shrinkA": 0, "shrinkB": 0,
        "linewidth": 1.8 if arrow.kind == "alert" else 1.2, "linestyle": "--" if arrow.kind == "sealed" else "-",
    })  # fmt: skip
    text = textwrap.shorten(arrow.text, 95, placeholder=" …")
    ax.annotate(
        text, (0.5, depth), (0, 2), textcoords="offset points", ha="center", va="bottom", fontsize=8,
        color=COLOURS["muted"] if arrow.kind == "sealed" else colour,
        fontweight="bold" if arrow.kind == "alert" else "normal",
    )  # fmt: skip
    small: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 8, "color": COLOURS["muted"]}
    if not np.isnan(arrow.offset_ms):
        ax.annotate(f"{arrow.offset_ms:,.2f}", (0, depth), (-12, 0), ha="right", **small)
    ax.annotate(f"{arrow.frame}", (1, depth), (12, 0), ha="left", **small)


def _waits(ax: "Axes", arrows: list[Arrow], depths: "np.ndarray[Any, np.dtype[np.float64]]") -> None:
    """Draw on a side's lifeline how long it took to answer the other."""
    total = max(arrows[-1].offset_ms - arrows[0].offset_ms, 0)
    for before, after, top, bottom in zip(arrows, arrows[1:], depths, depths[1:], strict=False):
        took = after.offset_ms - before.offset_ms
        if before.sender == after.sender or not took > 0.02 * total:
            continue
        x = SIDES.get(after.sender, 0.0)
        ax.plot([x, x], [top, bottom], color=COLOURS["established"], linewidth=6, alpha=0.35, solid_capstyle="butt")
        if took > 0.1 * total:
            ax.annotate(
                duration(took), (x, (top + bottom) / 2), (7 if x == 0 else -7, 0), textcoords="offset points",
                ha="left" if x == 0 else "right", va="center", fontsize=8, color=COLOURS["established"],
            )  # fmt: skip


def _lifelines(ax: "Axes", handshake: "pd.Series[Any] | None", deepest: float) -> None:
    """Draw the two lines and who they are."""
    ax.set_xlim(-0.02, 1.02)
    ax.set_ylim(deepest + 0.5, 0)
    names = ["\n".join(filter(None, (side, _endpoint(handshake, side)))) for side in SIDES]
    ax.set_xticks(list(SIDES.values()), names, color=COLOURS["ink"], fontweight="bold")
    ax.xaxis.tick_top()
    ax.set_yticks([])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.vlines(list(SIDES.values()), 0, deepest + 0.5, color=COLOURS["muted"], linewidth=1.2)
    small: dict[str, Any] = {"textcoords": "offset points", "fontsize": 8, "va": "top", "color": COLOURS["muted"]}
    ax.annotate("ms", (0, 0), (-12, 0), ha="right", **small)
    ax.annotate("frame", (1, 0), (12, 0), ha="left", **small)


def _endpoint(handshake: "pd.Series[Any] | None", side: str) -> str:
    """Name a side by address and port; nothing where they are not known."""
    if handshake is None or pd.isna(handshake.get(f"{side}_ip")):
        return ""
    address, port = handshake[f"{side}_ip"], handshake[f"{side}_port"]
    return label(f"[{address}]:{port}" if ":" in address else f"{address}:{port}", 48)


def _title(handshake: "pd.Series[Any] | None", shown: int, of: int) -> tuple[str, str]:
    """Say which handshake this is, how it ended and why."""
    count = counted(of, "packet") + " with messages" + (f", the first {shown} shown" if shown < of else "")
    if handshake is None:
        return "One handshake, message by message", count
    known = {name: value for name, value in handshake.items() if not pd.isna(value)}
    name = label(known.get("sni", known.get("server_ip", "?")))
    title = f"{label(known.get('version', 'TLS'), 20)} handshake with {name}: {label(known.get('outcome', 'unknown'))}"
    where = f"stream {known['stream']}, frame {known['frame']}: " if {"stream", "frame"} <= known.keys() else ""
    return title, _wrapped(where + str(known.get("reason", count)))


def _wrapped(sentence: str) -> str:
    """Break a sentence into three lines at most; escaped afterwards, so that no escape is broken."""
    lines = textwrap.wrap(sentence, 105, max_lines=3, placeholder=" …")
    return "\n".join(label(line, 110) for line in lines)

"""The figures of a report: drawn by `tlspcap.plots`, returned as text that stands inside an HTML page."""

import base64
import io
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LARGEST_SVG = 300_000  # bytes; a figure of tens of thousands of marks is smaller, and scrolls better, as a picture


@dataclass(frozen=True)
class Figure:
    """A figure ready for a page: `markup` is an svg or img element that loads nothing."""

    key: str
    section: str  # key of the section it belongs to
    caption: str
    markup: str


def draw(tables: Mapping[str, pd.DataFrame], by: Sequence[str] = ("version",)) -> tuple[Figure, ...]:
    """Draw what the tables can show: failure ratios, timeline, matrix and a ladder; then latency."""
    from tlspcap import plots

    handshakes = tables["handshakes"]
    if handshakes.empty:
        return ()
    keys = by[0] if len(by) == 1 else list(by)
    made = [
        figure("failure_ratio", "failures", lambda: plots.failure_ratio(handshakes, by=keys)),
        figure("timeline", "failures", lambda: plots.timeline(handshakes)),
    ]
    if (handshakes["outcome"] == "failed").any():
        made.append(figure("matrix", "causes", lambda: plots.matrix(handshakes)))
        made += _ladder_of_first_failure(tables)
    if (handshakes["outcome"] == "established").any():
        made.append(figure("latency", "latency", lambda: plots.latency(handshakes, by=keys)))
    return tuple(made)


CAPTIONS = {
    "failure_ratio": "Failure ratio of each group with its 95 % interval and base.",
    "timeline": "Every handshake in time, failed ones marked.",
    "matrix": "Version and cipher: what succeeded, what failed and with which alert.",
    "ladder": "The first handshake that failed, message by message.",
    "latency": "How long established handshakes took.",
    "change_failures": "Failure ratio of each group, before and after.",
    "change_latency": "Median duration of each group, before and after.",
    "nights_failure_ratio": "Failure ratio of each server, night by night, with its 95 % interval.",
    "nights_duration": "Median and 95 % quantile of the duration at each server, night by night.",
    "nights_version": "Share of each version in every night.",
    "nights_cipher": "Share of each cipher in every night.",
}


def _ladder_of_first_failure(tables: Mapping[str, pd.DataFrame]) -> list[Figure]:
    from tlspcap import plots

    messages, alerts = tables.get("messages"), tables.get("alerts")
    handshakes = tables["handshakes"]
    first = handshakes[handshakes["outcome"] == "failed"].iloc[0]
    if messages is None:
        return []
    own = messages[messages["id"] == first["id"]]
    if own.empty:
        return []
    sent = None if alerts is None else alerts[alerts["id"] == first["id"]]
    return [figure("ladder", "causes", lambda: plots.ladder(own, handshake=first, alerts=sent))]


def figure(key: str, section: str, plot: Callable[[], "Axes"]) -> Figure:
    """Draw in the style of a page: text stays text, so that it can be found and read aloud."""
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": key}):
        axes = plot()
        markup = _svg(axes, key)
        if len(markup) > LARGEST_SVG:
            markup = _png(axes)
    _forget(axes)
    return Figure(key, section, CAPTIONS[key], markup)


def _svg(axes: "Axes", key: str) -> str:
    """Draw as an svg element. Its ids get the figure's key, for all figures share one page."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    _figure_of(axes).savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{key}-", text)
    # The element scales with the page; its own size in points would not.
    end = text.index(">")
    return re.sub(r' (width|height)="[^"]*"', "", text[:end]) + text[end:]


def _png(axes: "Axes") -> str:
    buffer = io.BytesIO()
    _figure_of(axes).savefig(buffer, format="png", dpi=160)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img alt="" src="data:image/png;base64,{data}">'


def _forget(axes: "Axes") -> None:
    """Close the figure where pyplot holds on to it, as in Jupyter, which would show it under the cell."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close(_figure_of(axes))


def _figure_of(axes: "Axes") -> Any:
    return axes.get_figure(root=True)

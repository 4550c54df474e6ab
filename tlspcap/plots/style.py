"""What all plots share: colours, type, titles, the figure to draw on, and how text from the wire becomes a label."""

import functools
import itertools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

P = ParamSpec("P")

# Blue and vermilion of Okabe and Ito's palette, apart for every kind of colour vision; marks and counts tell them apart
# in grey print.
COLOURS = {
    "established": "#0072B2",
    "failed": "#D55E00",
    "unknown": "#8C8C8C",
    "ink": "#222222",
    "muted": "#6B6B6B",
    "faint": "#E3E3E3",
}
RC: dict[Any, Any] = {
    "font.size": 9.0,
    "axes.titlesize": 11.0,
    "axes.labelsize": 9.0,
    "axes.labelcolor": COLOURS["muted"],
    "axes.edgecolor": COLOURS["muted"],
    "text.color": COLOURS["ink"],
    "xtick.color": COLOURS["muted"],
    "ytick.color": COLOURS["muted"],
    "ytick.labelcolor": COLOURS["ink"],
    "hatch.linewidth": 0.6,
    "text.usetex": False,  # a name from the wire must never reach TeX
}
MARGIN = 0.12  # inches around everything


def styled(draw: Callable[P, "Axes"]) -> Callable[P, "Axes"]:
    """Make a plot function draw in this module's style, whatever the caller's matplotlib settings."""

    @functools.wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> "Axes":
        from matplotlib import interactive, is_interactive, rc_context

        with rc_context(RC):
            ax = draw(*args, **kwargs)
            wakened = is_interactive()  # the first figure in Jupyter switches this on, for the figures after it as well
        interactive(wakened)
        return ax

    return wrapper


def canvas(ax: "Axes | None", width: float, height: float) -> "Axes":
    """Return `ax`, or new axes of that size in inches; see the package's docstring for where they live."""
    if ax is None:
        ax = _new_figure((width, height)).add_subplot()
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(length=0)
    ax.set_axisbelow(True)
    return ax


def _new_figure(size: tuple[float, float]) -> "Figure":
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    if _in_ipython():
        from matplotlib import pyplot

        return pyplot.figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=MARGIN, h_pad=MARGIN))
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=MARGIN, h_pad=MARGIN))
    FigureCanvasAgg(figure)
    return figure


def _in_ipython() -> bool:
    """Tell whether this runs in an IPython session, which Jupyter's kernels are."""
    ipython: Any = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None


def headline(ax: "Axes", title: str, detail: str, above: float = 0) -> None:
    """Say over the axes what is shown, and below that, smaller, on what base; `above` points over what is on top."""
    pad = 10 + 12 * (detail.count("\n") + 1) + above
    # Neither claims width: a long line may run over the edge, but never squeezes the axes.
    heading = ax.set_title(title, loc="left", fontweight="bold", pad=pad, color=COLOURS["ink"])
    ax.annotate(
        detail, (0, 0), (0, -3), xycoords=heading, textcoords="offset points", va="top", fontsize=8.5,
        color=COLOURS["muted"], annotation_clip=False, linespacing=1.25,
        in_layout=False,
    )  # fmt: skip


def nothing(ax: "Axes", what: str = "no handshakes") -> "Axes":
    """Draw axes that say in words that there is nothing to show."""
    ax.set_axis_off()
    ax.text(0.5, 0.5, what, ha="center", va="center", transform=ax.transAxes, color=COLOURS["muted"], fontsize=11)
    return ax


def label(value: object, limit: int = 40) -> str:
    r"""Turn a value of a table, which may be text from the wire, into a label that is shown as it stands.

    Dollar signs are kept from meaning mathematics, characters that do not print or that the font lacks are written as
    escapes, and what is too long loses its middle, since both ends of a host name tell something.

    Example:
        >>> label("$x$\n"), label("a" * 30 + ".example.com", 20)
        ('\\$x\\$\\n', 'aaaaaaaaa…xample.com')
    """
    text = " · ".join(
        "NA" if pd.isna(part) else str(part) for part in (value if isinstance(value, tuple) else (value,))
    )
    shown = [_shown(character) for character in text[: limit + 1]]
    if len(text) <= limit and sum(map(len, shown)) <= limit:
        return "".join(shown)
    tail = [_shown(character) for character in text[: -limit - 1 : -1]]
    return "".join([*_fitting(shown, (limit - 1) // 2), "…", *_fitting(tail, limit // 2)[::-1]])


def _fitting(pieces: list[str], room: int) -> list[str]:
    """Return as many of the first pieces as fit into `room` characters; an escape is kept or dropped as a whole."""
    ends = itertools.accumulate(map(len, pieces))
    return [piece for piece, end in zip(pieces, ends, strict=True) if end <= room]


def _shown(character: str) -> str:
    if character == "$":
        return r"\$"
    if character.isprintable() and ord(character) in _font_characters():
        return character
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")


@functools.cache
def _font_characters() -> frozenset[int]:
    """List the code points that the default font can draw; matplotlib warns for each one that it cannot."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return frozenset(get_font(findfont(FontProperties())).get_charmap())


def duration(ms: float) -> str:
    """Write a duration with three digits, in seconds from a second on.

    Example:
        >>> duration(0.25), duration(24.04), duration(1500)
        ('0.25 ms', '24 ms', '1.5 s')
    """
    return f"{ms / 1000:.3g} s" if ms >= 999.5 else f"{ms:.3g} ms"


def percent(ratio: float) -> str:
    """Write a ratio with two or three digits, never rounded to all.

    Example:
        >>> percent(0.3), percent(0.00996), percent(0.9999), percent(1.0)
        ('30 %', '1 %', '> 99.9 %', '100 %')
    """
    if 0.9995 <= ratio < 1:
        return "> 99.9 %"
    return f"{100 * ratio:.2g} %" if ratio < 0.0995 else f"{100 * ratio:.3g} %"


def counted(n: int, what: str) -> str:
    """Write a count with its noun.

    Example:
        >>> counted(1, "handshake"), counted(2000, "handshake")
        ('1 handshake', '2,000 handshakes')
    """
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"

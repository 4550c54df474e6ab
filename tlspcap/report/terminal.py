"""The report as text for a terminal or a pipe: about one screen, 80 columns, colour only where a terminal wants it."""

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from tlspcap import words
from tlspcap.escape import encodable
from tlspcap.report import cells
from tlspcap.report.model import Cell, Grid, Kind, Mood, Report, Section, Sentence

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

MOST_ROWS = 8  # of a grid
MOST_SENTENCES = 5  # of a section
MOST_FINDINGS_IN_FULL = 1  # the others are there without details
MOST_FILTER = 240  # characters; a longer one is in the HTML and JSON reports
WHISKERS = 20  # width of the drawn interval
STYLES = {Mood.PLAIN: "", Mood.GOOD: "green", Mood.BAD: "bold red", Mood.DOUBT: "yellow"}


def render(report: Report, width: int = 80, colour: bool = False, encoding: str = "utf-8") -> str:
    r"""Lay the report out as text.

    Args:
        report: what `sections.build` made.
        width: columns of the terminal; below 40 counts as 40.
        colour: write ANSI colours. Without, the text holds no escape sequence at all.
        encoding: of the output; characters it cannot carry get an ASCII cousin.

    >>> from tlspcap.report.model import Report, Sentence
    >>> print(render(Report(Sentence("All 3 succeeded."), ("a\x1b[2J.pcap",), {}, ())), end="")
    a\x1b[2J.pcap
    <BLANKLINE>
    All 3 succeeded.
    """
    from rich.console import Console

    buffer = io.StringIO()
    console = Console(
        file=buffer, width=max(width, 40), force_terminal=colour, color_system="standard" if colour else None,
        no_color=not colour, markup=False, highlight=False, emoji=False, legacy_windows=False,
    )  # fmt: skip
    _print(console, _source_line(report), "dim")
    console.print()
    _sentence(console, report.headline, indent=0)
    for section in _without_repeats(report.sections):
        _section(console, section)
    lines = [line.rstrip() for line in buffer.getvalue().splitlines()]
    return encodable("\n".join(lines) + "\n", encoding)


def _without_repeats(sections: tuple[Section, ...]) -> Iterator[Section]:
    """Shorten what the findings have told in full: every failure is in one of them, with example and filter."""
    told = any(section.key == "findings" for section in sections)
    for section in sections:
        if told and section.key == "causes":
            yield replace(section, sentences=tuple(replace(s, details=(), filters=()) for s in section.sentences))
        else:
            yield section


def _source_line(report: Report) -> str:
    """Say in a line what was read: the files, how many of what, and from when to when."""
    facts = report.facts
    parts = [words.listed(list(report.sources), 2)]
    for key, noun in (("handshakes", "handshake"), ("clients", "client"), ("servers", "server")):
        if facts.get(key):
            parts.append(words.count(int(str(facts[key])), noun))
    if facts.get("first"):
        parts.append(f"{words.moment(str(facts['first']))} + {words.span(float(str(facts['seconds'])))}")
    return " · ".join(parts)


def _section(console: "Console", section: Section) -> None:
    console.print()
    _print(console, section.title, "bold")
    for place, sentence in enumerate(section.sentences[:MOST_SENTENCES]):
        if section.key == "findings" and place >= MOST_FINDINGS_IN_FULL:
            sentence = replace(sentence, details=())
        _sentence(console, sentence, indent=2)
    left = len(section.sentences) - MOST_SENTENCES
    if left > 0:
        _print(console, f"and {left:,} more", "dim", indent=2)
    if section.key == "findings" and len(section.sentences) > MOST_FINDINGS_IN_FULL:
        _print(console, "`tlspcap explain` tells all findings in full.", "dim", indent=2)
    for grid in section.grids:
        _grid(console, grid)


def _sentence(console: "Console", sentence: Sentence, indent: int) -> None:
    _print(console, sentence.text, STYLES[sentence.mood], indent)
    for line in sentence.details:
        _print(console, line, "", indent + 2)
    for i, shown in enumerate(sentence.filters[:2]):
        prefix = f"in {shown.capture}: " if len(sentence.filters) > 1 else ""
        if i == 1 and len(sentence.filters) > 2:
            _print(console, f"and {words.count(len(sentence.filters) - 1, 'more file')}", "dim", indent + 2)
        else:
            _filter(console, prefix, shown.expression, indent + 2)


def _filter(console: "Console", prefix: str, expression: str, indent: int) -> None:
    """Write a display filter on one line however long, so that it can be copied whole."""
    from rich.text import Text

    if len(expression) > MOST_FILTER:
        expression = "(the display filter is long: see the HTML or JSON report)"
    line = Text(" " * indent + prefix + expression, style="cyan")
    console.print(line, soft_wrap=True)


def _print(console: "Console", text: str, style: str = "", indent: int = 0) -> None:
    from rich.padding import Padding
    from rich.text import Text

    console.print(Padding(Text(text, style=style), (0, 0, 0, indent)))


def _grid(console: "Console", grid: Grid) -> None:
    from rich.padding import Padding

    shown = grid.rows[:MOST_ROWS]
    _print(console, grid.caption, "dim", indent=2)
    console.print(Padding(_table(grid, shown, console.width - 2), (0, 0, 0, 2)))
    left = len(grid.rows) - len(shown)
    if left:
        _print(console, f"and {left:,} more", "dim", indent=2)
    if any(cell is None for row in shown for cell in row) and grid.footnote:
        _print(console, grid.footnote, "dim", indent=2)


def _table(grid: Grid, rows: tuple[tuple[Cell, ...], ...], width: int) -> "Table":
    """Lay out captions and rows; an interval is drawn too where there is room for it."""
    from rich.table import Table
    from rich.text import Text

    kinds = [column.kind for column in grid.columns]
    texts = [[cells.show(value, kind) for value, kind in zip(row, kinds, strict=True)] for row in rows]
    captions = [column.caption for column in grid.columns]
    needed = sum(max(len(text) for text in column) + 2 for column in zip(captions, *texts, strict=True))
    draw = Kind.INTERVAL in kinds and needed + WHISKERS <= width
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in grid.columns:
        number = column.kind is not Kind.TEXT
        wraps = not number and needed > width
        table.add_column(
            Text(column.caption), justify="right" if number else "left", no_wrap=not wraps, overflow="fold"
        )
    if draw:
        table.add_column(Text("0 %" + "100 %".rjust(WHISKERS - 3)), no_wrap=True)
    for row, shown in zip(rows, texts, strict=True):
        drawn = [whiskers(row[kinds.index(Kind.RATIO)], row[kinds.index(Kind.INTERVAL)])] if draw else []
        table.add_row(*(Text(text) for text in [*shown, *drawn]))
    return table


def whiskers(ratio: Cell, bounds: Cell, width: int = WHISKERS) -> str:
    """Draw a ratio and its interval on a line from 0 to 100 %.

    >>> whiskers(0.3, (0.11, 0.60), 21)
    '  ├───●─────┤        '
    """
    if not isinstance(bounds, tuple) or not isinstance(ratio, float):
        return ""
    low, point, high = (round(float(value) * (width - 1)) for value in (bounds[0], ratio, bounds[1]))
    line = [" "] * width
    line[low : high + 1] = "─" * (high + 1 - low)
    line[low], line[high] = "├", "┤"
    line[point] = "●"
    return "".join(line)

"""What a report is made of, whatever it is rendered to: frozen nouns that hold text and numbers, no layout.

No text in here holds a control character: each noun passes its text through `printable` when it is made, so that no
renderer can forget to.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tlspcap.escape import printable

Cell = str | int | float | tuple[float, float] | None  # a pair: an interval, or a count and its base


class Kind(StrEnum):
    """How the values of a column are shown."""

    TEXT = "text"
    COUNT = "count"
    OF = "of"  # a pair, a count and its base: "3 of 10"
    RATIO = "ratio"  # 0 to 1, shown in percent
    INTERVAL = "interval"  # a pair, both ends of a 95 % interval of a ratio
    MS = "ms"
    POINTS = "points"  # a pair, both ends of a 95 % interval of a difference of ratios
    CHANCE = "chance"  # a p-value


class Mood(StrEnum):
    """What a sentence means to its reader: a renderer may colour by it, never only by it."""

    PLAIN = "plain"
    GOOD = "good"
    BAD = "bad"
    DOUBT = "doubt"


@dataclass(frozen=True)
class Filter:
    """A Wireshark display filter that shows the evidence, and the file in which its numbers hold."""

    capture: str
    expression: str

    def __post_init__(self) -> None:
        """Keep control characters out."""
        object.__setattr__(self, "capture", printable(self.capture))


@dataclass(frozen=True)
class Sentence:
    """One statement in words, with the lines that support it and the numbers it was made from."""

    text: str
    mood: Mood = Mood.PLAIN
    details: tuple[str, ...] = ()
    filters: tuple[Filter, ...] = ()
    data: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Keep control characters out."""
        object.__setattr__(self, "text", printable(self.text))
        object.__setattr__(self, "details", tuple(printable(line) for line in self.details))


class Telling:
    """What is said in sentences: a contrast, a comparison, two sides of a path."""

    said: tuple[Sentence, ...]

    @property
    def sentences(self) -> list[str]:
        """The sentences as plain text, the most important first."""
        return [sentence.text for sentence in self.said]


@dataclass(frozen=True)
class Column:
    """One column of a grid: its key in data, its caption for people, how its values are shown, and its unit."""

    key: str
    caption: str
    kind: Kind = Kind.TEXT
    unit: str = ""
    base: str = "base"  # of a count and its base: the key of that


@dataclass(frozen=True)
class Grid:
    """A table of values, most important row first; with little room the rest is counted."""

    key: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    footnote: str = ""

    def __post_init__(self) -> None:
        """Keep control characters out."""
        clean = tuple(tuple(printable(c) if isinstance(c, str) else c for c in row) for row in self.rows)
        object.__setattr__(self, "rows", clean)
        object.__setattr__(self, "footnote", printable(self.footnote))


@dataclass(frozen=True)
class Section:
    """One part of the report, in the order in which it matters."""

    key: str
    title: str
    sentences: tuple[Sentence, ...] = ()
    grids: tuple[Grid, ...] = ()


@dataclass(frozen=True)
class Report:
    """All of it: the first sentence, what was read, and the sections."""

    headline: Sentence
    sources: tuple[str, ...]
    facts: Mapping[str, Cell]  # counts and times of the whole input, see sections.FACTS
    sections: tuple[Section, ...]
    by: tuple[str, ...] = ("version",)  # columns that failures and latency are grouped by

    def __post_init__(self) -> None:
        """Keep control characters out."""
        object.__setattr__(self, "sources", tuple(printable(source) for source in self.sources))

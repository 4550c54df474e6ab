"""One table as lines of CSV, gathered without a DataFrame, by the process that reads the handshakes.

What `Builder` keeps as cells `LineBuilder` keeps as text, but for what tells the order of rows and what joins them. So
a process that reads a share of a capture hands over lines that need only be numbered. `export` writes the same of
DataFrames, and tests demand that it is the same, byte for byte.
"""

from collections.abc import Iterable, Iterator
from operator import itemgetter

from tlspcap.csv_cells import frames, texts_of
from tlspcap.schema import TABLES, Table
from tlspcap.tables import Builder, Columns

IN_ORDER = ("time", "frame", "id")  # columns of handshakes that say which comes first, and what belongs to it
NUMBER = "handshake"  # the column that is not known before all rows of a piece are


def header(name: str) -> str:
    """The first line of a table, its index included."""
    table = TABLES[name]
    return ",".join([table.index, *table.names] if table.index else table.names) + "\n"


class Lines(Columns):
    """The rows of one table as text: what stands before the number of the handshake, and what stands behind it."""

    def __init__(self, table: Table) -> None:
        names = [name for name in table.names if name != NUMBER]
        self._place = table.names.index(NUMBER) if NUMBER in table.names else 0
        self._names, self._is_numbered = names, NUMBER in (table.index, *table.names)
        self._texts = [texts_of(table[name]) for name in names]
        if self._is_numbered and "frame" in names:
            self._texts[names.index("frame")] = frames
        super().__init__(table, IN_ORDER if table.index else table.key or ("id",))
        self._ordered = itemgetter(*names)
        self.cells["before"], self.cells["behind"] = [], []

    def turn(self) -> None:
        """Turn the rows that wait into lines."""
        if not self._waiting:
            return
        columns = list(zip(*self._waiting, strict=True))
        shown = [texts(cells) for texts, cells in zip(self._texts, columns, strict=True)]
        for name in self.cells.keys() & self._names:
            self.cells[name].extend(columns[self._names.index(name)])
        if self._place:
            self.cells["before"] += map(",".join, zip(*shown[: self._place], strict=True))
        self.cells["behind"] += map(",".join, zip(*shown[self._place :], strict=True))
        self._waiting.clear()

    def numbered(self, order: Iterable[tuple[int, int | None]]) -> Iterator[str]:
        """Give lines by their places among the rows, each with the number of its handshake, if there is one."""
        before, behind = self.cells["before"], self.cells["behind"]
        for at, number in order:
            cell = "" if number is None else number
            yield f"{before[at]},{cell},{behind[at]}\n" if self._place else f"{cell},{behind[at]}\n"

    def plain(self) -> Iterator[str]:
        """Give all lines of a table whose rows belong to no one handshake."""
        self.turn()
        for line in self.cells["behind"]:
            yield line + "\n"


class LineBuilder(Builder):
    """Gathers finished handshakes; `lines` gives a table as text. It has no DataFrames to give."""

    def _gathered(self, name: str) -> Columns:
        return Lines(TABLES[name]) if name in self.names else Columns(TABLES[name], IN_ORDER)

    def lines(self, name: str, first: int = 0) -> Iterator[str]:
        """Write the rows of a table, handshakes numbered from `first`, in the order that `frames` gives them."""
        if name in self._distinct:
            yield from self._distinct_lines(name)
            return
        for columns in self._columns.values():
            columns.turn()
        handshakes, rows = self._columns["handshakes"], self._columns[name]
        assert isinstance(rows, Lines)
        times, frames, ids = (handshakes.cells[column] for column in IN_ORDER)
        order = sorted(range(handshakes.count), key=lambda at: (times[at], frames[at]))
        if rows is handshakes:
            yield from rows.numbered(zip(order, range(first, first + len(order)), strict=True))
            return
        numbers = {ids[at]: number for number, at in enumerate(order, first)}
        found = [numbers.get(key) for key in rows.cells["id"]]
        last = first + len(order)  # rows that belong to no handshake stand behind all others
        places = sorted(range(rows.count), key=lambda at: last if (number := found[at]) is None else number)
        yield from rows.numbered((at, found[at]) for at in places)

    def _distinct_lines(self, name: str) -> Iterator[str]:
        lines = Lines(TABLES[name])
        for row in self._distinct[name].rows():
            lines.add(row)
        yield from lines.plain()

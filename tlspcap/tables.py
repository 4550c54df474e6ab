"""Results to DataFrames: rows gathered as columns, then built with the dtypes that `schema` declares."""

from array import array
from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from tlspcap import rows, schema
from tlspcap.distinct import MAX_SNIS, Certificates, Hellos, Requests
from tlspcap.errors import ArgumentError
from tlspcap.rows import Finished, Row
from tlspcap.schema import TABLES, Column, Table
from tlspcap.selection import Selection
from tlspcap.transport import FRAME_MASK

if TYPE_CHECKING:
    import pandas as pd  # takes long to import: whoever builds a DataFrame does so; who gathers rows need not

BATCH = 256  # rows that are turned into columns at once
MAX_SERVERS = 100_000  # servers remembered, to tell plain HTTP on their ports

_PACKED = {"float64": "d", "int64": "q", "int32": "l", schema.TIME: "q"}  # columns that need no Python object a cell


class Columns:
    """The cells of one table, a column at a time: what `add` takes as rows, `frame` gives as a DataFrame."""

    def __init__(self, table: Table, names: Iterable[str] | None = None) -> None:
        """Gather rows of a table; of `names`, where they are given, only those columns."""
        wanted = [name for name in table.names if name != "handshake"] if names is None else names
        self.table = table
        self.cells: dict[str, Any] = {name: _cells(table[name]) for name in wanted}
        self.count = 0
        self._ordered: Callable[[Row], Any] = itemgetter(*self.cells)
        self._waiting: list[tuple[Any, ...]] = []  # rows that are not yet in the cells

    def add(self, row: Row) -> None:
        """Take one row; it names every column of the table but `handshake`."""
        self._waiting.append(self._ordered(row))
        self.count += 1
        if len(self._waiting) == BATCH:
            self.turn()

    def turn(self) -> None:
        """Turn the rows that wait into columns, all at once: `zip` does it without a step of Python a cell."""
        columns = zip(*self._waiting, strict=True)
        for cells, column in zip(self.cells.values(), columns, strict=False):  # without rows there are no columns
            cells.extend(column)
        self._waiting.clear()

    def extend(self, other: "Columns") -> None:
        """Take over the rows of the same table."""
        self.turn()
        other.turn()
        for name, cells in other.cells.items():
            self.cells[name].extend(cells)
        self.count += other.count

    def frame(self) -> "pd.DataFrame":
        """Build the DataFrame."""
        import pandas as pd

        self.turn()
        data = {c.name: series(c, self.cells[c.name]) for c in self.table.columns if c.name in self.cells}
        return pd.DataFrame(data, index=pd.RangeIndex(self.count), copy=False)


def _cells(column: Column) -> Any:
    code = _PACKED.get(column.dtype)
    nullable_time = column.dtype == schema.TIME and column not in (schema.WHEN,)
    return array(code) if code and not nullable_time else []


def series(column: Column, cells: Any) -> Any:
    """One column's cells as an array of the dtype that the schema declares."""
    import pandas as pd

    if column.dtype == schema.TIME:
        return _times(cells)
    if column.dtype == schema.DATE:
        return pd.DatetimeIndex(cells, dtype=schema.DATE)
    if isinstance(cells, array):
        return np.asarray(cells).astype(column.dtype)
    if column.values:
        return pd.Categorical(cells, categories=list(column.values))
    return pd.array(cells, dtype=column.dtype)


def _times(cells: Any) -> "pd.DatetimeIndex":
    import pandas as pd

    values = np.array([np.iinfo(np.int64).min if cell is None else cell for cell in cells], dtype=np.int64)
    return pd.DatetimeIndex(values.view("datetime64[ns]")).tz_localize("UTC")


def empty(name: str) -> "pd.DataFrame":
    """An empty table with the contract's columns and dtypes.

    >>> empty("alerts").columns[:3].tolist()
    ['id', 'handshake', 'capture']
    """
    return _numbered(TABLES[name], Columns(TABLES[name]).frame(), {})


class Builder:
    """Gathers finished handshakes and notes; `frames` gives the tables that were asked for."""

    def __init__(self, names: Iterable[str] | None = None) -> None:
        wanted = list(TABLES) if names is None else list(names)
        for name in wanted:
            if name not in TABLES:
                raise ArgumentError(f"tables: no table {name!r}; there are {', '.join(TABLES)}")
        self.names = wanted
        self._columns = {name: self._gathered(name) for name in {*wanted, "handshakes"} - _DISTINCT.keys()}
        self._parts = [(parts, self._columns[name]) for name, parts in _PARTS.items() if name in self._columns]
        self._distinct = {name: make() for name, make in _DISTINCT.items() if name in wanted}
        self.servers: set[tuple[str, int]] = set()  # address and port of servers, selected or not

    def _gathered(self, name: str) -> Columns:
        """What gathers the rows of one table."""
        return Columns(TABLES[name])

    def __len__(self) -> int:
        """Handshakes gathered."""
        return self._columns["handshakes"].count

    @property
    def rows(self) -> int:
        """Rows gathered, of all tables together."""
        return sum([columns.count for columns in self._columns.values()])

    def successor(self) -> "Builder":
        """An empty builder of the same tables, which knows the same servers."""
        new = type(self)(self.names)
        new.servers = self.servers
        return new

    def add(self, done: Finished, select: Selection | None = None) -> None:
        """Take one handshake, if it is selected."""
        row = rows.handshake_row(done)
        if len(self.servers) < MAX_SERVERS:
            self.servers.add((row["server_ip"], row["server_port"]))
        if select is not None and not select.keeps(row):
            return
        self._columns["handshakes"].add(row)
        for parts, columns in self._parts:
            for part in parts(done):
                columns.add(part)
        for kind in self._distinct.values():
            kind.add(done, row)

    def note(self, kind: str, detail: str, capture: str | None = None, **where: Any) -> None:
        """Take one note; `where` holds stream, frame, time, and the id of the handshake it belongs to."""
        if "notes" in self._columns:
            blank: Row = dict.fromkeys(schema.NOTES.names)
            del blank["handshake"]
            told = {"transport": "tcp", "kind": kind, "detail": detail, "capture": capture}
            self._columns["notes"].add(blank | told | where)

    def merge(self, other: "Builder") -> None:
        """Take over what another builder of the same tables gathered."""
        for name, columns in self._columns.items():
            columns.extend(other._columns[name])
        for name, distinct in self._distinct.items():
            distinct.merge(other._distinct[name])  # type: ignore[arg-type]  # of one name they are of one kind
        if len(self.servers) < MAX_SERVERS:
            self.servers |= other.servers

    def frames(self, first: int = 0) -> "dict[str, pd.DataFrame]":
        """Build the tables, handshakes numbered from `first` in order of time, then frame."""
        import pandas as pd

        handshakes = self._columns["handshakes"].frame()
        handshakes = handshakes.sort_values(["time", "frame"], kind="stable", ignore_index=True)
        handshakes["frame"] &= FRAME_MASK  # only now: the order is by file, then packet
        handshakes.index = pd.RangeIndex(first, first + len(handshakes), name="handshake")
        numbers = dict(zip(handshakes["id"], handshakes.index, strict=True))
        frames = {"handshakes": handshakes}
        for name, distinct in self._distinct.items():
            frames[name] = self._distinct_frame(name, distinct)
        for name in self.names:
            if name not in frames:
                frames[name] = _numbered(TABLES[name], self._columns[name].frame(), numbers)
        return frames

    def _distinct_frame(self, name: str, distinct: Certificates | Hellos | Requests) -> "pd.DataFrame":
        """Build a table of what handshakes share; note what was odd about certificates."""
        columns = Columns(TABLES[name])
        for row in distinct.rows():
            columns.add(row)
        for trouble in distinct.troubles if isinstance(distinct, Certificates) else ():
            self.note(**trouble)
        return columns.frame()


def _numbered(table: Table, frame: "pd.DataFrame", numbers: Mapping[str, int]) -> "pd.DataFrame":
    """Fill in `handshake` where a table has it, and put its rows in the order of the handshakes."""
    import pandas as pd

    if "handshake" not in table.names:
        return frame.rename_axis(table.index) if table.index else frame
    if "frame" in frame:
        frame["frame"] &= FRAME_MASK
    found = pd.Series([numbers.get(key) for key in frame["id"].tolist()], dtype="Int64")
    frame.insert(table.names.index("handshake"), "handshake", found)
    frame = frame.sort_values("handshake", kind="stable", ignore_index=True)
    return frame.astype({"handshake": table["handshake"].dtype})


def together(table: Table, frames: "Iterable[pd.DataFrame]") -> "pd.DataFrame":
    """Join the parts of a table of what handshakes share (one with a `key`) into one that has each row once.

    >>> import pandas as pd
    >>> seen = {"digest": "ab", "handshakes": 2, "first_seen": 5, "last_seen": 6}
    >>> parts = [pd.DataFrame([seen]), pd.DataFrame([{**seen, "last_seen": 9}])]
    >>> together(schema.HELLOS, parts).to_dict("records")
    [{'digest': 'ab', 'handshakes': 4, 'first_seen': 5, 'last_seen': 9}]
    """
    import pandas as pd

    joined = pd.concat(list(frames), ignore_index=True)
    groups = joined.groupby(list(table.key), sort=False, observed=True)
    kept = joined.drop_duplicates(list(table.key), ignore_index=True)
    for column, how in _TOGETHER.items():
        if column in kept and len(kept):
            kept[column] = groups[column].agg(how).to_numpy()
    kept = kept.astype(dict(joined.dtypes))
    return kept.sort_values("first_seen", kind="stable", ignore_index=True)


def _names_together(cells: "pd.Series[Any]") -> str | None:
    names = {name for cell in cells.dropna() for name in cell.split(",")}
    return ",".join(sorted(names)[:MAX_SNIS]) or None


_TOGETHER: dict[str, Any] = {
    "first_seen": "min", "last_seen": "max", "handshakes": "sum", "snis": _names_together,
}  # fmt: skip
_PARTS = {
    "records": rows.record_rows,
    "messages": rows.message_rows,
    "alerts": rows.alert_rows,
    "notes": rows.note_rows,
}
_DISTINCT: dict[str, type[Certificates | Hellos | Requests]] = {
    "certificates": Certificates,
    "hellos": Hellos,
    "certificate_requests": Requests,
}

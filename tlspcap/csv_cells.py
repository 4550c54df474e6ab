"""Cells of tables as CSV, a column at a time, without pandas: byte for byte what `export` writes of a DataFrame.

Text stands in quotes, all else does not; what is unknown is empty. Of cells that are alike one is written and the
others are looked up: most columns hold few distinct values.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from itertools import repeat
from math import isfinite
from typing import Any

from tlspcap import schema
from tlspcap.escape import FORMULA, csv_cell
from tlspcap.schema import Column
from tlspcap.transport import FRAME_MASK

SECOND = 1_000_000_000
LEAST, MOST = 1e-6, 1e10  # between them a number is written without an exponent

Cells = Sequence[Any]
Texts = Callable[[Cells], Iterable[str]]


def texts_of(column: Column) -> Texts:
    """How the cells of a column are written.

    >>> list(texts_of(schema.HANDSHAKES["sni"])(("a.example", None, 'a"b')))
    ['"a.example"', '', '"a""b"']
    """
    if column.values:
        return partial(_listed, {value: f'"{value}"' for value in column.values})
    return _WRITERS[column.dtype]


def frames(cells: Cells) -> Iterable[str]:
    """Write packet numbers that may have their file's in the bits above."""
    return ["" if cell is None else str(cell & FRAME_MASK) for cell in cells]


def _listed(shown: dict[Any, str], cells: Cells) -> Iterable[str]:
    """Cells of a closed list; any other is unknown."""
    return map(shown.get, cells, repeat(""))


def _distinct(written: Callable[[Any], str], cells: Cells) -> Iterable[str]:
    shown = {cell: written(cell) for cell in set(cells)}
    if None in shown:
        shown[None] = ""
    return map(shown.__getitem__, cells)


def _strings(cells: Cells) -> Iterable[str]:
    distinct = set(cells)
    distinct.discard(None)
    shown: dict[str | None, str]
    if _are_plain(distinct):
        shown = {cell: f'"{cell}"' for cell in distinct}
    else:
        shown = {cell: quoted(cell) for cell in distinct}
    shown[None] = ""
    return map(shown.__getitem__, cells)


def _are_plain(texts: set[str]) -> bool:
    """Whether all of the texts are written as they are: nearly always, and soon told of many at once."""
    together = "".join(texts)
    return together.isprintable() and '"' not in together and FORMULA.isdisjoint([text[:1] for text in texts])


def quoted(text: str) -> str:
    """Any text as a cell."""
    return '"' + csv_cell(text).replace('"', '""') + '"'


def _integers(cells: Cells) -> Iterable[str]:
    return map(str, cells)


def number(value: float) -> str:
    """A number, as short as it can be told from all others.

    >>> number(11.0), number(0.25), number(1e-05), number(2e10), number(float("nan"))
    ('11', '0.25', '0.00001', '2e+10', '')
    """
    if 1e-4 <= value < MOST:
        text = float.__repr__(value)
        return text[:-2] if text[-2:] == ".0" else text
    return "" if value != value else _rare_number(value)


def _rare_number(value: float) -> str:
    """Numbers as `repr` writes them, small and large ones with an exponent from other bounds on."""
    if value == 0 or not isfinite(value):
        return float.__repr__(value).removesuffix(".0")
    exact = Decimal(float.__repr__(value)).normalize()
    if LEAST <= abs(value) < MOST:
        return format(exact, "f")
    sign, digits, _ = exact.as_tuple()
    first, *rest = map(str, digits)
    return f"{'-' * sign}{first}{'.' if rest else ''}{''.join(rest)}e{exact.adjusted():+d}"


def _times(cells: Cells) -> Iterable[str]:
    seconds = {cell // SECOND for cell in cells if cell is not None}
    shown = {second: datetime.fromtimestamp(second, UTC).isoformat(" ")[:19] for second in seconds}
    return ["" if cell is None else f"{shown[cell // SECOND]}.{cell % SECOND:09d}Z" for cell in cells]


def _dates(cells: Cells) -> Iterable[str]:
    return ["" if cell is None else cell.isoformat(" ", "microseconds")[:26] + "Z" for cell in cells]


_WRITERS: dict[str, Texts] = {
    schema.STRING: _strings,
    schema.TIME: _times,
    schema.DATE: _dates,
    "float64": partial(_distinct, number),
    "bool": partial(_listed, {True: "true", False: "false", None: "false"}),
    "boolean": partial(_listed, {True: "true", False: "false"}),
    "int64": _integers,
    "int32": _integers,
    "Int64": partial(_distinct, str),
    "Int32": partial(_distinct, str),
    "Int16": partial(_distinct, str),
}

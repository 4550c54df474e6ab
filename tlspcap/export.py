"""A table to a file or a pipe, in pieces: CSV for spreadsheets, JSON lines for programs, Parquet for pandas.

CSV and JSON lines hold no control character, and no CSV cell can start a spreadsheet's formula (OWASP's rule): such a
cell gets a leading apostrophe. Parquet holds the table as it is, with its dtypes.
"""

import io
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import IO, TYPE_CHECKING

import pandas as pd

from tlspcap.errors import ArgumentError
from tlspcap.escape import FORMULA, csv_cell

if TYPE_CHECKING:
    import pyarrow as pa

_SLICE = 8192  # rows of CSV written by one thread at a time

Write = Callable[[pd.DataFrame], None]


def write(frames: Iterable[pd.DataFrame], kind: str, out: IO[bytes]) -> None:
    """Write a table that comes in pieces to an open binary file.

    Args:
        frames: the pieces, alike in their columns; at least one, which may be empty. An index that has a name (as that
            of handshakes) becomes the first column, or stays the index in Parquet.
        kind: csv, jsonl or parquet.
        out: need not be seekable; stays open.

    Raises:
        ArgumentError: the kind is none of these.

    >>> import io
    >>> out = io.BytesIO()
    >>> names = pd.Series(["a.example", "=1+1", None], dtype="string")
    >>> write([pd.DataFrame({"sni": names, "frame": [4, 9, 12]})], "csv", out)
    >>> print(out.getvalue().decode(), end="")
    sni,frame
    "a.example",4
    "'=1+1",9
    ,12
    """
    if kind not in WRITERS:
        raise ArgumentError(f"no such format: {kind!r}; formats are {', '.join(WRITERS)}")
    pieces = iter(frames)
    first = next(pieces)
    with WRITERS[kind](out, first) as put:
        put(first)
        for frame in pieces:
            put(frame)


@contextmanager
def _csv(out: IO[bytes], first: pd.DataFrame) -> Iterator[Write]:
    from pyarrow import csv

    names = [str(name) for name in _flat(first).columns]
    out.write((",".join(names) + "\n").encode())
    options = csv.WriteOptions(include_header=False, quoting_style="needed", batch_size=_SLICE)

    def written(rows: "pa.Table") -> memoryview:
        buffer = io.BytesIO()
        csv.write_csv(rows, buffer, options)
        return buffer.getbuffer()

    def put(frame: pd.DataFrame) -> None:
        table = _harmless(_flat(frame))
        slices = [table.slice(start, _SLICE) for start in range(0, len(table), _SLICE)]
        for text in threads.map(written, slices):  # Arrow lets go of the interpreter's lock while it writes
            out.write(text)

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        yield put


@contextmanager
def _jsonl(out: IO[bytes], first: pd.DataFrame) -> Iterator[Write]:
    def put(frame: pd.DataFrame) -> None:
        text = _flat(frame).to_json(orient="records", lines=True, date_format="iso", date_unit="ns", double_precision=6)
        out.write(text.strip("\n").encode("ascii"))
        out.write(b"\n" if len(frame) else b"")

    yield put


@contextmanager
def _parquet(out: IO[bytes], first: pd.DataFrame) -> Iterator[Write]:
    import pyarrow as pa
    from pyarrow import parquet

    def table(frame: pd.DataFrame) -> "pa.Table":
        return pa.Table.from_pandas(frame, preserve_index=frame.index.name is not None)

    schema = table(first).schema
    with parquet.ParquetWriter(out, schema, compression="zstd") as writer:
        yield lambda frame: writer.write_table(table(frame).cast(schema))


WRITERS: dict[str, Callable[[IO[bytes], pd.DataFrame], AbstractContextManager[Write]]] = {
    "csv": _csv,
    "jsonl": _jsonl,
    "parquet": _parquet,
}


def _flat(frame: pd.DataFrame) -> pd.DataFrame:
    """Give a named index its place as the first column."""
    return frame if frame.index.name is None else frame.reset_index()


def _harmless(frame: pd.DataFrame) -> "pa.Table":
    """Turn a frame into an Arrow table with harmless text; only columns that may do harm are gone through in Python."""
    import pyarrow as pa

    table = pa.Table.from_pandas(frame, preserve_index=False)
    for i, column in enumerate(table.columns):
        if pa.types.is_dictionary(column.type):
            table = table.set_column(i, table.field(i).name, column.cast(pa.string()))
        elif (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)) and _may_harm(column):
            cells = [None if cell is None else csv_cell(cell) for cell in column.to_pylist()]
            table = table.set_column(i, table.field(i).name, pa.array(cells, pa.large_string()))
    return table


def _may_harm(column: "pa.ChunkedArray") -> bool:
    """Tell whether any cell holds more than printable ASCII, or starts like a formula."""
    from pyarrow import compute

    if compute.all(compute.ascii_is_printable(column)).as_py() is False:
        return True
    return any(compute.any(compute.starts_with(column, sign)).as_py() for sign in FORMULA)

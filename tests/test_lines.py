"""Lines of CSV made without a DataFrame are, byte for byte, what the DataFrame gives."""

import csv
import io
import math
import os
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tlspcap
from tlspcap import capture, export, lines
from tlspcap.csv_cells import number, texts_of
from tlspcap.errors import CaptureError
from tlspcap.schema import DATE, TABLES, TIME, Column
from tlspcap.tables import series, together

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "sample_captures"
CAPTURES = sorted([*SAMPLES.glob("*.pcap*"), *(ROOT / "tests" / "captures").glob("*.pcap*")])
MANY = SAMPLES / "mutual-tls.pcapng"
LARGEST = (1 << 63) - 1


def of_frames(frames: Iterable[pd.DataFrame]) -> bytes:
    """What `export` writes of DataFrames: the slow and obvious way."""
    out = io.BytesIO()
    export.write(frames, "csv", out)
    return out.getvalue()


def through_frames(path: Path, name: str, rows: int = 10_000, **how: Any) -> bytes:
    """A table of a capture, by way of DataFrames."""
    frames = [piece.tables[name] for piece in tlspcap.scan(path, rows, tables=[name], **how)]
    return of_frames([together(TABLES[name], frames)] if TABLES[name].key else frames)


def as_lines(path: Path | io.BytesIO, name: str, rows: int = 10_000, **how: Any) -> bytes:
    """The same table, without them."""
    pieces = capture.scan_csv(path, name, rows, **how)
    return (lines.header(name) + "".join(line for piece in pieces for line in piece.lines)).encode()


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: str(path.name))
def test_every_table_is_what_its_dataframe_gives(path: Path) -> None:
    """Every table of every capture of the project comes out the same, byte for byte, with and without DataFrames."""
    for table in TABLES:
        assert as_lines(path, table) == through_frames(path, table), table


@pytest.mark.parametrize("table", TABLES)
def test_pieces_are_numbered_and_ordered_as_dataframes_are(table: str) -> None:
    """In pieces of few handshakes too, each line has its place and the number of its handshake."""
    assert as_lines(MANY, table, rows=5, chunk_bytes=20_000) == through_frames_in_chunks(table)


def through_frames_in_chunks(table: str) -> bytes:
    """A table of many pieces; of what handshakes share each thing once, in the order of a reading at once."""
    if TABLES[table].key:
        return through_frames(MANY, table)
    from tlspcap.spread import scan_tables

    return of_frames(piece.frames[table] for piece in scan_tables(MANY, rows=5, chunk_bytes=20_000, tables=[table]))


@pytest.mark.parametrize("table", TABLES)
def test_processes_write_the_lines_of_one(table: str) -> None:
    """A capture spread over processes gives the lines of one, whole tables with their order and numbers."""
    assert as_lines(MANY, table, jobs=3) == as_lines(MANY, table, jobs=1)


@pytest.mark.parametrize("table", TABLES)
def test_a_capture_without_handshakes_has_its_header(table: str) -> None:
    """An empty capture gives the header that its empty DataFrame gives."""
    empty = io.BytesIO((SAMPLES / "old-app.pcap").read_bytes()[:24])
    written = as_lines(empty, table)
    frame = tlspcap.read(io.BytesIO(empty.getvalue()), tables=[table]).tables[table]
    assert written == of_frames([frame])


@pytest.mark.parametrize("table", TABLES)
def test_every_kind_of_cell_has_a_way_to_be_written(table: str) -> None:
    """There is a writer for the dtype of each column, and it writes an empty cell where NA can stand."""
    for column in TABLES[table].columns:
        if column.dtype in ("int64", "int32", "bool"):
            continue
        missing = math.nan if column.dtype == "float64" else None
        assert list(texts_of(column)([missing])) == [""]


CELLS: dict[str, st.SearchStrategy[Any]] = {
    "string": st.none() | st.text() | st.text("=+-@\t\r\n\"',;|a\x1b\u202e", max_size=4),
    # no duration is a negative zero, which adding zero makes one of
    "float64": st.floats(allow_infinity=False).map(lambda x: x + 0.0) | st.integers(0, LARGEST).map(lambda n: n / 1e6),
    "bool": st.booleans(),
    "boolean": st.none() | st.booleans(),
    "int64": st.integers(-LARGEST, LARGEST),
    "int32": st.integers(-(1 << 31), (1 << 31) - 1),
    "Int64": st.none() | st.integers(-LARGEST, LARGEST),
    "Int16": st.none() | st.integers(-(1 << 15), (1 << 15) - 1),
    TIME: st.none() | st.integers(-LARGEST, LARGEST),
    DATE: st.none() | st.datetimes(timezones=st.just(UTC)),
}


@pytest.mark.parametrize("dtype", CELLS)
@settings(max_examples=60, deadline=None)  # the slow way starts threads; no test decides by timing
@given(data=st.data())
def test_any_cell_is_written_as_arrow_writes_it(dtype: str, data: st.DataObject) -> None:
    """Whatever a column holds, its cells are those that the DataFrame's writer gives, hostile text included."""
    cells = data.draw(st.lists(CELLS[dtype], min_size=1, max_size=12))
    column = Column("x", dtype, "")
    told = [cell.encode("utf-8", "replace").decode() if isinstance(cell, str) else cell for cell in cells]
    frame = pd.DataFrame({"x": series(column, told), "end": range(len(told))})
    written = "".join(f"{cell},{end}\n" for end, cell in enumerate(texts_of(column)(told)))
    assert f"x,end\n{written}" == of_frames([frame]).decode()


@settings(max_examples=300)
@given(st.floats(allow_infinity=False, allow_nan=False) | st.integers(0, LARGEST).map(lambda n: n / 1e6))
def test_a_number_reads_back_as_itself(value: float) -> None:
    """However a number is written, it is told from all others; one of whole nanoseconds has its digits."""
    assert float(number(value)) == value
    if 1e-4 <= value < 1e10:
        assert number(value) == repr(value).removesuffix(".0")


@given(st.lists(st.none() | st.text(st.characters()), min_size=1))
def test_any_text_makes_one_harmless_cell(names: list[str | None]) -> None:
    """Text that no DataFrame takes (lone surrogates) is written as well, one cell each, printable, no formula."""
    written = list(texts_of(TABLES["handshakes"]["sni"])(names))
    text = "\n".join(f"{cell},1" for cell in written)
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert len(rows) == len(names)
    for [cell, _] in rows:
        assert cell.isprintable()
        assert len(cell) < 2 or cell[0] not in "=+-@"


def test_a_word_outside_of_a_closed_list_is_unknown() -> None:
    """A category's cell holds a word of its list, or nothing, as in the DataFrame."""
    column = TABLES["handshakes"]["outcome"]
    assert list(texts_of(column)(["failed", "=1+1", None])) == ['"failed"', "", ""]


def test_dates_run_through_all_years() -> None:
    """The first and the last moment of a certificate's validity are written as they are."""
    first, last = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    shown = list(texts_of(TABLES["certificates"]["not_after"])([first, last]))
    assert shown == ["0001-01-01 00:00:00.000000Z", "9999-12-31 23:59:59.000000Z"]


def test_what_cannot_be_read_at_all_raises_before_a_line(tmp_path: Path) -> None:
    """A file that is no capture raises when the first piece is asked for, as with `scan`."""
    path = tmp_path / "text.pcap"
    path.write_text("no capture")
    for table in ("handshakes", "certificates"):
        with pytest.raises(CaptureError):
            next(capture.scan_csv([path], table, 10))


@pytest.mark.parametrize("table", ["handshakes", "notes", "certificates"])
def test_a_table_as_csv_is_written_without_what_takes_long_to_load(table: str) -> None:
    """`table --format csv` imports neither pandas, pyarrow nor numpy.ma, and starts no thread for algebra."""
    code = "import sys; from tlspcap.cli import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    code += "; import os; print('threads:', len(os.listdir('/proc/self/task')), file=sys.stderr)"
    command = [sys.executable, "-c", code, "table", str(MANY), "--table", table, "--jobs", "2", "-o", os.devnull]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=True)
    loaded = set(done.stderr.split())
    assert "tlspcap.lines" in loaded
    assert not {"pandas", "pyarrow", "matplotlib", "numpy.ma"} & loaded
    assert "threads: 1" in done.stderr

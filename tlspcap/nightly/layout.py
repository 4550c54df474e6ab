"""How a store lies on disk, and which columns its tables have.

A store is a folder::

    captures.parquet                    one row per capture file that was worked through; the commit point
    handshakes/date=2026-11-03/RUN-0.parquet
    alerts/…  certificates/…  notes/…  loose_ends/…   the same: a folder per UTC date, files named by their run
    .staging/                           what is being written; worth nothing until it is committed
    .lock                               held by the batch that is at work

A *run* is some captures of one series that were read as one stream. Its rows count if `captures.parquet` names it, and
not otherwise; that file is only ever replaced as a whole, by a rename. So a crash at any moment leaves the store as
before or as after. Files of runs that it does not name are leftovers: readers pass over them, the next batch sweeps
them. Whoever reads the files with another tool is exact with `… where run in (select run from captures)`.
"""

import functools
from collections.abc import Collection
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from tlspcap.errors import StoreError
from tlspcap.schema import DATE, STRING, TABLES, TIME, Column, Table

if TYPE_CHECKING:
    import pyarrow as pa

READ = ("handshakes", "alerts", "certificates", "notes")  # as `tlspcap.read` gives them
STORED = (*READ, "loose_ends")
CAPTURES = "captures.parquet"
STAGING = ".staging"
LOCK = ".lock"
NO_TIME = "1970-01-01"  # the date of rows of captures in which no packet has a time
SCHEMA_KEY = b"tlspcap.schema"
VERSION_KEY = b"tlspcap.version"
OLDER = ("7b8c97f27aa2",)  # versions of the columns that `migration` brings up to date
ARROW = {"category": "string", "boolean": "bool", DATE: "timestamp us", TIME: "timestamp ns"}

CAPTURE_FILES = Table("captures", "one capture file that was worked through", (
    Column("digest", STRING, "BLAKE2b-256 of the file's bytes: what tells captures apart, whatever their names"),
    Column("name", STRING, "the file, as it was given"),
    Column("moved_to", STRING, "where it was moved when it was done; NA where it stayed"),
    Column("size", "int64", "size of the file", unit="bytes"),
    Column("stamp", STRING, "size, time of change and inode, or what remote storage tells of it: a file whose stamp is "
           "the same is not read again to be told apart; NA where it was too fresh to trust that"),
    Column("series", STRING, "its folder and name without digits: files of one series may go on with one another"),
    Column("run", STRING, "names the files that hold its rows; NA where it could not be read"),
    Column("trouble", STRING, "why it could not be read at all; NA where it could"),
    Column("tlspcap_version", STRING, "version of tlspcap that read it"),
    Column("schema_version", STRING, "digest of the tables' columns at that time"),
    Column("start", TIME, "first packet of the file; NaT where there is none"),
    Column("first_time", TIME, "smallest time of a packet"),
    Column("last_time", TIME, "largest time of a packet"),
    Column("packets", "int64", "packets in it"),
    Column("unread_packets", "int64", "packets that could not be read; `notes` tells why"),
    Column("stopped", STRING, "where and why reading ended before the file did; NA where it did not"),
))  # fmt: skip

LOOSE_ENDS = Table("loose_ends", "one handshake that an edge of its run cut: it waits for the file that goes on", (
    Column("id", STRING, "identity of the handshake"),
    Column("capture", STRING, "file that holds the hello's first byte"),
    Column("time", TIME, "when that was captured"),
    Column("edge", "category", "end: the file that comes after is missing (completeness cut_off); beginning: the one "
           "before (mid_stream)", values=("end", "beginning")),
    Column("series", STRING, "series of the file that is missing"),
    Column("edge_time", TIME, "last packet before what is missing, or first behind it"),
))  # fmt: skip
OWN = {table.name: table for table in (CAPTURE_FILES, LOOSE_ENDS)}  # tables that only a store has


def stored(name: str) -> Table:
    """One of the store's tables: its columns as in a capture, but for row numbers, which mean nothing here."""
    table = OWN.get(name) or TABLES[name]
    columns = tuple(column for column in table.columns if column.name != "handshake")
    return Table(table.name, table.row, columns, table.index, table.key)


@functools.cache
def schema_version() -> str:
    """Digest of all columns and their types: equal where stores can be read by one another's version.

    >>> len(schema_version())
    12
    """
    columns = [(name, c.name, c.dtype) for name in (*STORED, "captures") for c in stored(name).columns]
    return blake2b(repr(columns).encode(), digest_size=6).hexdigest()


def arrow_schema(name: str, coded: Collection[str] = ()) -> "pa.Schema":
    """The Arrow schema of a table's files: plain types that every reader of Parquet knows, and the run.

    Columns of text that are `coded` are to be read as dictionaries.
    """
    import pyarrow as pa

    types = {column.name: _arrow_type(column) for column in stored(name).columns}
    types |= dict.fromkeys(coded, pa.dictionary(pa.int32(), pa.string()))
    fields = [pa.field(column, kind) for column, kind in types.items()]
    if name != "captures":
        fields.append(pa.field("run", pa.string()))
    return pa.schema(fields)


def text(name: str) -> set[str]:
    """The columns of a table that hold text."""
    import pyarrow as pa

    return {column.name for column in stored(name).columns if _arrow_type(column) == pa.string()}


def _arrow_type(column: Column) -> "pa.DataType":
    import pyarrow as pa

    kind = ARROW.get(column.dtype, column.dtype)
    if kind.startswith("timestamp"):
        return pa.timestamp(kind.split()[1], "UTC")
    types = {"string": pa.string(), "bool": pa.bool_(), "float64": pa.float64()}
    return types.get(kind) or getattr(pa, kind.lower())()


def version_in(folder: Path) -> str:
    """The version of the columns that a store was written with; "" where it does not say."""
    from pyarrow import ArrowException, parquet

    try:
        metadata = parquet.read_schema(folder / CAPTURES).metadata or {}
    except (OSError, ArrowException):  # who reads it will say what is wrong with it
        return ""
    return _said(metadata, SCHEMA_KEY)


def _said(metadata: dict[bytes, bytes], key: bytes) -> str:
    return metadata.get(key, b"").decode("utf-8", "replace")


def check_version(path: Path, found: dict[bytes, bytes] | None) -> None:
    """Raise StoreError where a store was written with other columns than this version has."""
    wrote, by = (_said(found or {}, key) for key in (SCHEMA_KEY, VERSION_KEY))
    if wrote == schema_version():
        return
    told = f"{path}: this store has other columns (schema {wrote or 'unknown'}, written by tlspcap {by or 'unknown'}"
    if wrote in OLDER:
        raise StoreError(f"{told}); the next `tlspcap batch` into it brings it up to date")
    ours = f"this version writes schema {schema_version()}"
    raise StoreError(f"{told}; {ours}); read it with that version, or run batch into a new folder")

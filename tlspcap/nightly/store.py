"""Reading a store: `open_store` gives its tables, all of them or a slice by date, server, version.

What is asked for is pushed down to Parquet: other dates' folders are not opened, and of the rest only row groups and
columns that matter are read. Nothing here writes.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from ipaddress import ip_address
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from tlspcap.errors import ArgumentError, StoreError
from tlspcap.nightly import layout
from tlspcap.nightly.layout import CAPTURES, STORED, check_version, stored
from tlspcap.tables import together

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import dataset

PIECE = 64 << 20  # bytes of files, all their columns, that are read at once to sum them up
FEW = 8  # times as many bytes where one server is asked for, of which most are never read
SERVER = "server_ip"
CHAINS = ("chain_sha256", "client_certificate_sha256")
KEYS = ("id", *CHAINS, "time", "frame")


def open_store(path: str | Path) -> "Store":
    """Open a store that `tlspcap batch` wrote, to read it.

    Args:
        path: its folder.

    Returns:
        A Store: its tables are DataFrames like those of a Capture, of all nights; `select` narrows it first.

    Raises:
        StoreError: there is no store, or it was written with other columns than this version has.

    >>> open_store("sample_captures")
    Traceback (most recent call last):
    tlspcap.errors.StoreError: sample_captures: no store (captures.parquet is missing); `tlspcap batch` makes one
    """
    folder = Path(path)
    read_captures(folder)
    return Store(folder)


def read_captures(folder: Path, must_exist: bool = True) -> pd.DataFrame:
    """Read the table of captures, the store's commit point."""
    from pyarrow import ArrowException, parquet

    file = folder / CAPTURES
    if not file.exists() and not must_exist:
        return pd.DataFrame({c.name: pd.Series(dtype=c.dtype) for c in stored("captures").columns})
    try:
        table = parquet.read_table(file)
    except FileNotFoundError:
        raise StoreError(f"{folder}: no store ({CAPTURES} is missing); `tlspcap batch` makes one") from None
    except (OSError, ArrowException) as error:
        raise StoreError(f"{file}: cannot be read: {error}; bring it back from a backup, or make a new store") from None
    check_version(folder, table.schema.metadata)
    return typed("captures", table.to_pandas())


def typed(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Give the columns of a stored table the dtypes that the schema declares."""
    types = {c.name: c.pandas_dtype for c in stored(name).columns if c.name in frame}
    return frame.astype(types)  # type: ignore[arg-type]  # a mapping of names to dtypes


@dataclass(frozen=True)
class Store:
    """A store, or the slice of it that `select` left."""

    path: Path
    since: str | None = None  # first UTC date
    until: str | None = None  # last UTC date
    rows: dict[str, Any] = field(default_factory=dict)  # column of handshakes -> the value wanted

    @cached_property
    def captures(self) -> pd.DataFrame:
        """One row per capture file in the store, also those that could not be read."""
        return read_captures(self.path)

    @cached_property
    def dates(self) -> list[str]:
        """UTC dates that have handshakes, in order, within what is selected.

        They come from the names of folders; nothing is read for it.
        """
        return sorted({Path(path).parent.name.removeprefix("date=") for path in self._files("handshakes")})

    @property
    def handshakes(self) -> pd.DataFrame:
        """One row per TLS handshake, in order of time."""
        return self.table("handshakes")

    @property
    def alerts(self) -> pd.DataFrame:
        """One row per alert of the selected handshakes."""
        return self.table("alerts")

    @property
    def certificates(self) -> pd.DataFrame:
        """One row per distinct certificate; counts are of all runs that begin within the dates selected."""
        return self.table("certificates")

    @property
    def notes(self) -> pd.DataFrame:
        """One row per oddity."""
        return self.table("notes")

    @property
    def loose_ends(self) -> pd.DataFrame:
        """One row per handshake that waits for the capture that goes on with it (see docs/nightly.md)."""
        return self.table("loose_ends")

    def select(
        self,
        since: str | None = None,
        until: str | None = None,
        server: str | None = None,
        version: str | None = None,
        sni: str | None = None,
    ) -> "Store":
        """Narrow the store; what is None does not narrow, and what was narrowed before stays so.

        Args:
            since: first date (UTC), e.g. "2026-11-03".
            until: last date.
            server: address of the server, or address and port: "192.0.2.1:443", "[2001:db8::1]:443".
            version: as in the column `version`, e.g. "TLS 1.2".
            sni: name asked for.

        Raises:
            ArgumentError: a value makes no sense.
        """
        rows = {**self.rows, **_server(server), "version": version, "sni": sni}
        rows = {name: self.rows.get(name) if value is None else value for name, value in rows.items()}
        kept = {name: value for name, value in rows.items() if value is not None}
        return replace(self, since=_date(since) or self.since, until=_date(until) or self.until, rows=kept)

    def table(self, name: str, columns: Iterable[str] | None = None) -> pd.DataFrame:
        """Read one table, or some of its columns, in order of time.

        Raises:
            ArgumentError: there is no such table or column.
        """
        wanted = self._columns(name, columns)
        if name == "handshakes":
            order = ["time", "frame"]
            frame = self._read(name, [*wanted, *(c for c in order if c not in wanted)], self._rows())
            frame = frame.sort_values(order, kind="stable", ignore_index=True)[wanted]
            return frame.rename_axis("handshake")
        if name == "certificates":
            return self._certificates()[wanted]
        return self._of_handshakes(name, wanted)

    def pieces(self, columns: Iterable[str], table: str = "handshakes") -> Iterator["pa.Table"]:
        """Read some columns of handshakes or alerts, whole dates at a time, in no order, for what sums them up.

        Returns:
            Arrow tables with these columns and `date`, of as many dates as take PIECE bytes on disk, at least one.
            Text is given as dictionaries, as it lies on disk: a text that comes often is read, and looked at, once.
            What narrows handshakes narrows no alerts here: the caller joins them by `id`.
        """
        from pyarrow import dataset, schema, string

        wanted, narrowed = self._columns(table, columns), self._rows() if table == "handshakes" else None
        dates = dataset.partitioning(schema([("date", string())]), flavor="hive")
        text = {*wanted} & layout.text(table) - self.rows.keys()
        types = layout.arrow_schema(table, text).append(dates.schema.field("date"))
        form = dataset.ParquetFileFormat(read_options=dataset.ParquetReadOptions(dictionary_columns=text))
        portions = _portions(self._files(table), PIECE * (FEW if SERVER in self.rows else 1))

        def read(files: list[str]) -> "pa.Table":
            found = dataset.dataset(files, schema=types, format=form, partitioning=dates)
            return found.to_table(columns=["date", *wanted], filter=narrowed).unify_dictionaries()

        yield from _one_ahead(read, portions)

    def _columns(self, name: str, columns: Iterable[str] | None) -> list[str]:
        if name not in STORED:
            raise ArgumentError(f"the store has no table {name!r}; there are {', '.join(STORED)}")
        known = stored(name).names
        for column in columns or ():
            if column not in known:
                raise ArgumentError(f"{name} has no column {column!r}")
        return known if columns is None else list(columns)

    def _of_handshakes(self, name: str, wanted: list[str]) -> pd.DataFrame:
        """Rows that belong to handshakes: where those are narrowed, theirs alone."""
        from pyarrow import compute

        narrowed = None
        if self.rows:
            ids = self._read("handshakes", ["id"], self._rows())["id"]
            narrowed = compute.field("id").isin(ids.tolist())
        order = [column for column in ("time", "frame") if column in stored(name).names]
        frame = self._read(name, [*wanted, *(c for c in order if c not in wanted)], narrowed)
        return frame.sort_values(order, kind="stable", ignore_index=True)[wanted]

    def _certificates(self) -> pd.DataFrame:
        """Distinct certificates of all runs together; where handshakes are narrowed, those in their chains."""
        frame = self._read("certificates", stored("certificates").names)
        if self.rows:
            chains = self._read("handshakes", list(CHAINS), self._rows())
            shown = {sha for column in CHAINS for chain in chains[column].dropna().unique() for sha in chain.split(",")}
            frame = frame[frame["sha256"].isin(shown)]
        return together(stored("certificates"), [frame])

    def _rows(self) -> Any:
        from pyarrow import compute

        narrowed = None
        for name, value in self.rows.items():
            one = compute.field(name) == value
            narrowed = one if narrowed is None else narrowed & one
        return narrowed

    def _read(self, name: str, columns: list[str], narrowed: Any = None) -> pd.DataFrame:
        table = _opened(name, self._files(name)).to_table(columns=columns, filter=narrowed)
        return typed(name, table.to_pandas())

    def _files(self, name: str) -> list[str]:
        """The table's files that count: those of runs in `captures`, of the dates selected."""
        runs = set(self.captures["run"].dropna())
        return sorted(
            str(file)
            for folder in (self.path / name).glob("date=*")
            if (self.since or "") <= folder.name.removeprefix("date=") <= (self.until or "9999")
            for file in folder.glob("*.parquet")
            if run_of(file) in runs
        )


def loose_ends_of(folder: Path, run: str) -> pd.DataFrame:
    """The loose ends of one run."""
    files = sorted(str(file) for file in (folder / "loose_ends").glob(f"date=*/{run}-*.parquet"))
    return typed("loose_ends", _opened("loose_ends", files).to_table(columns=stored("loose_ends").names).to_pandas())


def _opened(name: str, files: list[str]) -> "dataset.Dataset":
    from pyarrow import dataset

    columns = layout.arrow_schema(name)
    if not files:
        return dataset.dataset(columns.empty_table())
    return dataset.dataset(files, schema=columns, format="parquet")


def _portions(files: list[str], most: int) -> Iterator[list[str]]:
    """Put files of neighbouring dates together; those of one date stay together."""
    portion: list[str] = []
    size = 0
    for _, group in groupby(files, lambda file: Path(file).parent.name):
        night = list(group)
        more = sum(Path(file).stat().st_size for file in night)
        if portion and size + more > most:
            yield portion
            portion, size = [], 0
        portion, size = portion + night, size + more
    if portion:
        yield portion


def _one_ahead(read: "Callable[[list[str]], pa.Table]", portions: Iterable[list[str]]) -> Iterator["pa.Table"]:
    """Read each portion while the one before it is summed up: Arrow lets go of the interpreter while it reads."""
    with ThreadPoolExecutor(1) as reader:
        coming: Future[pa.Table] | None = None
        for files in portions:
            done, coming = coming, reader.submit(read, files)
            if done is not None:
                yield done.result()
        if coming is not None:
            yield coming.result()


def decoded(table: "pa.Table") -> "pa.Table":
    """Turn dictionaries back into text."""
    import pyarrow as pa

    columns = [column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column for column in table.columns]
    return pa.table(columns, table.column_names)


def run_of(file: Path) -> str:
    """The run that wrote a file."""
    return file.stem.partition("-")[0]


def _date(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return str(pd.Timestamp(text).date())
    except (ValueError, TypeError):
        raise ArgumentError(f"{text!r} is no date; try 2026-11-03") from None


def _server(text: str | None) -> dict[str, Any]:
    """Take an address, or an address and a port, apart."""
    if text is None:
        return {}
    try:
        return {"server_ip": str(ip_address(text.strip("[]")))}
    except ValueError:
        address, _, port = text.rpartition(":")
    try:
        return {"server_ip": str(ip_address(address.strip("[]"))), "server_port": int(port)}
    except ValueError:
        raise ArgumentError(f"server: {text!r} is no address; try 192.0.2.1 or [2001:db8::1]:443") from None

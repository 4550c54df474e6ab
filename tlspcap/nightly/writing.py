"""Writing a store: rows are staged, moved into place, and count from the moment `captures.parquet` names their run.

Only the holder of the lock writes. The order of steps is what keeps the store whole: (1) a run's files are written
under `.staging` and synced; (2) they are renamed into place, where no reader counts them yet; (3) a new
`captures.parquet` is written beside the old one, synced, and renamed over it: the commit; (4) files of runs that it
names no more are removed. A crash between any two leaves files that `sweep` removes, and nothing else.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pandas as pd

from tlspcap.errors import StoreError
from tlspcap.nightly import layout
from tlspcap.nightly.layout import CAPTURES, LOCK, SCHEMA_KEY, STAGING, STORED, VERSION_KEY, arrow_schema, stored
from tlspcap.nightly.store import read_captures, run_of, typed
from tlspcap.schema import TIME
from tlspcap.version import __version__

if TYPE_CHECKING:
    import pyarrow as pa

SWEPT = ".swept-"  # how what was staged is named while it is removed
MOST_ROWS = 16_384  # of a row group
# Within a file, rows are in order of server. A group ends where a server does, once it has so many rows: so a reader of
# one server skips nearly all that is of others. Of smaller groups, what is told of each would take longer to read.
ENOUGH_ROWS = 4_096
TIMES = {"certificates": "first_seen"}  # the column that tells a row's date, where it is not `time`


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a store alone.

    The lock is the kernel's: it goes with the process that holds it, whatever ends that.

    Raises StoreError where another batch holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK, "wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StoreError(f"{folder}: another batch is at work on this store; wait until it is done") from None
        try:
            yield
        finally:
            _clear_staging(folder)


def _clear_staging(folder: Path) -> None:
    """Remove what is staged.

    It gets another name first: a process that outlives its batch for a moment finds its folder no more, and cannot put
    anything where it was.
    """
    with suppress(FileNotFoundError):
        os.rename(folder / STAGING, folder / f"{SWEPT}{uuid4().hex}")
    for swept in folder.glob(f"{SWEPT}*"):
        shutil.rmtree(swept, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what no commit names: leftovers of batches that were killed.

    Raises StoreError where the store has other columns.
    """
    runs = set(read_captures(folder, must_exist=False)["run"].dropna())
    _clear_staging(folder)
    (folder / f"{CAPTURES}.new").unlink(missing_ok=True)
    for name in STORED:
        for file in (folder / name).glob("date=*/*.parquet"):
            if run_of(file) not in runs:
                file.unlink()


def staging(folder: Path) -> Path:
    """Make a place for what one batch stages; processes that outlive a killed batch for a moment have another."""
    place = folder / STAGING / uuid4().hex
    place.mkdir(parents=True)
    return place


class Stage:
    """The files of one run, while they are written, below a staging folder that is there."""

    def __init__(self, staging: Path, run: str) -> None:
        self.root = staging / run
        self._run = run
        self._count = 0
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir()

    def write(self, name: str, frame: pd.DataFrame, day: Callable[[pd.DataFrame], "pd.Series[str]"]) -> None:
        """Write rows of one table, a file for each date; `day` tells the date of rows that have no time."""
        self._count += 1
        if frame.empty:
            return
        days = frame[TIMES.get(name, "time")].dt.strftime("%Y-%m-%d")
        if days.isna().any():
            days = days.fillna(day(frame))
        if name == "handshakes":
            frame = frame.sort_values(["server_ip", "server_port", "time", "frame"], kind="stable")
        for date, rows in frame.groupby(days, sort=True):
            file = self.root / name / f"date={date}" / f"{self._run}-{self._count}.parquet"
            file.parent.parent.mkdir(exist_ok=True)  # without parents: a root that was swept away stays away
            file.parent.mkdir(exist_ok=True)
            write_synced(file, _arrow(name, rows.assign(run=self._run)))


def _arrow(name: str, frame: pd.DataFrame) -> "pa.Table":
    import pyarrow as pa

    columns = {c.name: "string" for c in stored(name).columns if c.values}
    plain = frame.drop(columns="handshake", errors="ignore").astype(columns)
    metadata = {SCHEMA_KEY: layout.schema_version().encode(), VERSION_KEY: __version__.encode()}
    schema = arrow_schema(name)
    return pa.Table.from_pandas(plain[schema.names], schema, preserve_index=False).replace_schema_metadata(metadata)


def write_synced(file: Path, table: "pa.Table") -> None:
    """Write a Parquet file and have it on disk when this returns."""
    from pyarrow import parquet

    with open(file, "wb") as out:
        with parquet.ParquetWriter(out, table.schema, compression="zstd") as groups:
            for low, high in pairwise(_edges(table)):
                groups.write_table(table.slice(low, high - low), row_group_size=MOST_ROWS)
        out.flush()
        os.fsync(out.fileno())


def _edges(table: "pa.Table") -> list[int]:
    """Return where row groups begin, and where the last one ends; there are more where one would be too large."""
    from pyarrow import compute

    edges, count = [0], len(table)
    if "server_ip" in table.column_names:
        for end in compute.run_end_encode(table["server_ip"].combine_chunks()).run_ends.to_pylist():
            if end - edges[-1] >= ENOUGH_ROWS and count - end >= ENOUGH_ROWS:
                edges.append(end)
    return [*edges, count]


def unpack(stage: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write the files of a run that were staged elsewhere, each with its place below the run's folder."""
    stage.mkdir(parents=True, exist_ok=True)
    for place, content in files:
        (stage / place).parent.mkdir(parents=True, exist_ok=True)
        with open(stage / place, "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())


def commit(folder: Path, rows: list[dict[str, Any]], gone: set[str], stages: list[Path]) -> None:
    """Have the staged runs count, with the rows of their captures.

    Args:
        folder: of the store.
        rows: of the table of captures; they replace those with the same digest.
        gone: digests of captures that no longer count: their files grew.
        stages: folders of what is staged. Runs whose captures are all in others now count no more.
    """
    before = read_captures(folder, must_exist=False)
    for stage in stages:
        move_into_place(folder, stage)
    new = typed("captures", _in_utc(pd.DataFrame(rows, columns=stored("captures").names)))
    kept = before[~before["digest"].isin({*new["digest"], *gone})]
    joined = typed("captures", pd.concat([frame for frame in (kept, new) if len(frame)], ignore_index=True))
    replace_captures(folder, joined)
    for run in set(before["run"].dropna()) - set(joined["run"].dropna()):
        _remove(folder, run)


def replace_captures(folder: Path, captures: pd.DataFrame) -> None:
    """Put a new table of captures in place of the old one, whole: from then on it counts."""
    file = folder / f"{CAPTURES}.new"
    write_synced(file, _arrow("captures", captures))
    os.replace(file, folder / CAPTURES)
    _sync_folder(folder)


def _in_utc(frame: pd.DataFrame) -> pd.DataFrame:
    """Give times their zone, also in columns where there is none, which pandas cannot know to be times in UTC."""
    times = [column.name for column in stored("captures").columns if column.dtype == TIME]
    return frame.assign(**{name: pd.to_datetime(frame[name], utc=True) for name in times})


def move_into_place(folder: Path, stage: Path) -> None:
    """Move the files of a run to where they belong."""
    touched = set()
    for file in sorted(stage.glob("*/date=*/*.parquet")):
        place = folder / file.relative_to(stage)
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, place)
        touched |= {place.parent, place.parent.parent}
    for changed in touched:
        _sync_folder(changed)
    shutil.rmtree(stage, ignore_errors=True)


def _remove(folder: Path, run: str) -> None:
    for name in STORED:
        for file in (folder / name).glob(f"date=*/{run}-*.parquet"):
            file.unlink()


def _sync_folder(folder: Path) -> None:
    """Have renames within a folder on disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

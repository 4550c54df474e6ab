"""The work of one process of a batch: read the captures of a unit, stage their rows, say what is known of each file."""

import errno
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tlspcap.errors import CaptureError
from tlspcap.nightly.found import Found
from tlspcap.nightly.layout import NO_TIME, READ, schema_version, stored
from tlspcap.nightly.loose_ends import bounded, cut, loose_ends
from tlspcap.nightly.places import Unreachable, at_hand
from tlspcap.nightly.runs import Unit
from tlspcap.nightly.seams import Mend, Seams
from tlspcap.nightly.writing import Stage
from tlspcap.selection import Selection
from tlspcap.spread import Reading, scan_tables
from tlspcap.tables import together
from tlspcap.version import __version__
from tlspcap.wire.columns import FileFacts

ROWS = 10_000  # handshakes after which a file is written; 20,000 take 500 MB
Row = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """How captures are read."""

    staging: Path = Path()  # where this batch stages rows
    timeout: float = 10.0
    keylog: str | None = None
    embedded_secrets: bool = True
    shares: int = 1  # processes for one unit


@dataclass(frozen=True)
class Read:
    """So many bytes more were read."""

    count: int


@dataclass(frozen=True)
class Done:
    """A unit is staged; the rows of its captures, and how many handshakes they hold."""

    unit: Unit
    rows: list[Row]
    handshakes: int = 0
    waiting: int = 0  # of those, cut by an edge
    mends: tuple[Mend, ...] = ()  # to runs of its neighbours


@dataclass(frozen=True)
class Failed:
    """A unit could not be worked through, through no fault of its captures."""

    unit: Unit
    why: str
    code: int = 0  # errno where the store could not be written


Message = Read | Done | Failed


def attempt(unit: Unit, settings: Settings, progress: Callable[[str, int], None]) -> Done | Failed:
    """Work through a unit; whatever goes wrong is told, so that it does not stop the night."""
    try:
        return stage(unit, settings, progress)
    except Unreachable as error:
        return Failed(unit, str(error))
    except OSError as error:
        return Failed(unit, str(error.strerror or error), error.errno or errno.EIO)
    except Exception as error:  # a defect of ours: the other captures are still worth reading
        return Failed(unit, f"{type(error).__name__}: {error}")


def stage(unit: Unit, settings: Settings, progress: Callable[[str, int], None]) -> Done:
    """Read the captures of a unit as one stream and write their rows to the staging folder."""
    files = unit.in_order
    with at_hand(found.path for found in files) as paths:
        try:
            return _Staging(unit, dict(zip(paths, files, strict=True)), settings).read(settings, progress)
        except CaptureError as error:  # none of them could be read at all
            by_digest = {found.digest: path for path, found in zip(paths, files, strict=True)}
            return Done(unit, [bad_row(file, _trouble(file, by_digest[file.digest], [error])) for file in unit.files])


@dataclass(frozen=True)
class _Wanted(Selection):
    """Handshakes whose hello lies in some captures, and others by their id."""

    captures: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()

    def keeps(self, row: dict[str, Any]) -> bool:
        return row["capture"] in self.captures or row["id"] in self.ids


class _Staging:
    """The rows of a unit, while it is read."""

    def __init__(self, unit: Unit, files: dict[str, Found], settings: Settings) -> None:
        self._unit, self._files = unit, files
        self._out = Stage(settings.staging, unit.run)
        self._days = {found.name: _day(found.start) for found in unit.files}
        self._certificates: list[pd.DataFrame] = []
        self._ends: list[pd.DataFrame] = []
        self._count = 0
        self._own = {path for path, found in files.items() if found in unit.files}
        self._seams = Seams(unit, self._own, self._named)

    def read(self, settings: Settings, progress: Callable[[str, int], None]) -> Done:
        """Read all, and stage it."""
        for piece in _pieces(list(self._files), self._select(), settings, progress):
            self._take(piece.frames)
        rows = self._rows(piece)
        self._write_certificates()
        ours = {found.digest for found in self._unit.files}
        waiting = loose_ends(self._ends[0], pd.DataFrame(rows), settings.timeout)
        self._out.write("loose_ends", waiting, lambda rows: rows["capture"].map(self._days))
        own = [row for row in rows if row["digest"] in ours]
        return Done(self._unit, own, self._count, len(waiting), self._seams.mends())

    def _select(self) -> Selection | None:
        if not self._unit.context:
            return None
        edges = [edge for edge in (self._unit.before, self._unit.after) if edge is not None]
        return _Wanted(captures=frozenset(self._own), ids=frozenset[str]().union(*(edge.waiting for edge in edges)))

    def _take(self, frames: dict[str, pd.DataFrame]) -> None:
        frames = self._seams.own(frames)
        self._certificates.append(frames.pop("certificates"))
        self._count += len(frames["handshakes"])
        self._ends = [bounded(pd.concat([*self._ends, cut(frames["handshakes"])]))]
        for name, frame in frames.items():
            self._out.write(name, frame, lambda rows: rows["capture"].map(self._days).fillna(NO_TIME))

    def _named(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Give rows the names of captures, in place of the paths where they lie now."""
        if "capture" not in frame:
            return frame
        names = frame["capture"].map({path: found.name for path, found in self._files.items()})
        return frame.assign(capture=names.astype(frame["capture"].dtype))

    def _write_certificates(self) -> None:
        frame = together(stored("certificates"), self._certificates)
        self._out.write("certificates", frame, lambda rows: pd.Series(NO_TIME, rows.index))

    def _rows(self, last: Reading) -> list[Row]:
        """The rows of all captures that were read."""
        facts = {file.name: file for file in last.files}
        return [
            _good_row(found, self._unit.run, facts[path])
            if path in facts
            else bad_row(found, _trouble(found, path, last.unreadable))
            for path, found in self._files.items()
        ]


def _pieces(
    paths: list[str], select: Selection | None, settings: Settings, progress: Callable[[str, int], None]
) -> Iterator[Reading]:
    return scan_tables(
        paths, rows=ROWS, timeout=settings.timeout, tables=READ, select=select,
        jobs=settings.shares, skip_unreadable=True, progress=progress, keylog=settings.keylog,
        embedded_secrets=settings.embedded_secrets,
    )  # fmt: skip


def _day(start: int | None) -> str:
    return NO_TIME if start is None else str(pd.Timestamp(start).date())


def _trouble(found: Found, path: str, errors: list[CaptureError]) -> str:
    """Say why a file could not be read: the error that begins with its path, else all there are."""
    told = [str(error) for error in errors]
    why = next((text for text in told if text.startswith(path)), "; ".join(told) or "it could not be read")
    return why.replace(path, found.path)


def _row(found: Found) -> Row:
    row: Row = dict.fromkeys(stored("captures").names)
    start = pd.Timestamp(found.start, tz="UTC") if found.start is not None else pd.NaT
    return row | {
        "digest": found.digest, "name": found.name, "size": found.size, "stamp": found.stamp,
        "series": found.series, "start": start,
        "tlspcap_version": __version__, "schema_version": schema_version(), "packets": 0, "unread_packets": 0,
        "first_time": pd.NaT, "last_time": pd.NaT,
    }  # fmt: skip


def bad_row(found: Found, trouble: str) -> Row:
    """The row of a capture that could not be read at all."""
    return _row(found) | {"trouble": trouble}


def _good_row(found: Found, run: str, facts: FileFacts) -> Row:
    stopped = None if facts.stopped_at is None else f"byte {facts.stopped_at}: {facts.stopped_why}"
    return _row(found) | {
        "run": run, "packets": facts.packets, "unread_packets": sum(facts.unread.values()), "stopped": stopped,
        "first_time": pd.Timestamp(facts.first_time, tz="UTC") if facts.first_time is not None else pd.NaT,
        "last_time": pd.Timestamp(facts.last_time, tz="UTC") if facts.last_time is not None else pd.NaT,
    }  # fmt: skip


def main() -> None:
    """Work through the units that come through standard input; tell of each through standard output."""
    pipe, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")

    def say(message: Message) -> None:
        pickle.dump(message, answers, protocol=pickle.HIGHEST_PROTOCOL)
        answers.flush()

    settings: Settings = pickle.load(pipe)
    while True:
        try:
            unit: Unit = pickle.load(pipe)
        except EOFError:
            return
        say(attempt(unit, settings, lambda _, count: say(Read(count))))

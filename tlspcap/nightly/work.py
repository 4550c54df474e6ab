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
from tlspcap.nightly.layout import STORED, schema_version, stored
from tlspcap.nightly.survey import Found, Unit
from tlspcap.nightly.writing import Stage
from tlspcap.spread import Reading, scan_tables
from tlspcap.tables import together
from tlspcap.version import __version__
from tlspcap.wire.columns import FileFacts

ROWS = 50_000  # handshakes after which a file is written
NO_TIME = "1970-01-01"  # the folder of rows of captures in which no packet has a time
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
    except CaptureError as error:  # none of them could be read at all
        return Done(unit, [bad_row(found, _trouble(found, [error])) for found in unit.files])
    except OSError as error:
        return Failed(unit, str(error.strerror or error), error.errno or errno.EIO)
    except Exception as error:  # a defect of ours: the other captures are still worth reading
        return Failed(unit, f"{type(error).__name__}: {error}")


def stage(unit: Unit, settings: Settings, progress: Callable[[str, int], None]) -> Done:
    """Read the captures of a unit as one stream and write their rows to the staging folder."""
    out, names = Stage(settings.staging, unit.run), {found.path: found.name for found in unit.files}
    days = {found.name: _day(found.start) for found in unit.files}
    certificates: list[pd.DataFrame] = []
    count = 0
    for piece in _pieces(unit, settings, progress):
        for name, frame in piece.frames.items():
            if "capture" in frame:
                frame["capture"] = frame["capture"].map(names).astype(frame["capture"].dtype)
            if name == "certificates":
                certificates.append(frame)
            else:
                out.write(name, frame, lambda rows: rows["capture"].map(days).fillna(NO_TIME))
        count += len(piece.frames["handshakes"])
    if certificates:
        frame = together(stored("certificates"), certificates)
        out.write("certificates", frame, lambda rows: pd.Series(NO_TIME, rows.index))
    facts = {file.name: file for file in piece.files}
    rows = [
        _good_row(found, unit.run, facts[found.path])
        if found.path in facts
        else bad_row(found, _trouble(found, piece.unreadable))
        for found in unit.files
    ]
    return Done(unit, rows, count)


def _pieces(unit: Unit, settings: Settings, progress: Callable[[str, int], None]) -> Iterator[Reading]:
    return scan_tables(
        [found.path for found in unit.files], rows=ROWS, timeout=settings.timeout, tables=STORED,
        jobs=settings.shares, skip_unreadable=True, progress=progress, keylog=settings.keylog,
        embedded_secrets=settings.embedded_secrets,
    )  # fmt: skip


def _day(start: int | None) -> str:
    return NO_TIME if start is None else str(pd.Timestamp(start).date())


def _trouble(found: Found, errors: list[CaptureError]) -> str:
    """Say why a file could not be read: the error that begins with its name, else all there are."""
    told = [str(error) for error in errors]
    return next((text for text in told if text.startswith(found.path)), "; ".join(told) or "it could not be read")


def _row(found: Found) -> Row:
    row: Row = dict.fromkeys(stored("captures").names)
    start = pd.Timestamp(found.start, tz="UTC") if found.start is not None else pd.NaT
    return row | {
        "digest": found.digest, "name": found.name, "size": found.size, "series": found.series, "start": start,
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

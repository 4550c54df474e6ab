"""The batch: every new capture into the store, by several processes, each unit committed when it is done.

Units are worked through by processes of their own, on this machine or on a cluster; this one commits what they staged
and moves what is done. A unit that fails, or a process that dies, costs that unit alone: it is not committed, and the
next batch does it again.
"""

import os
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from tlspcap.errors import ArgumentError
from tlspcap.nightly.cluster import Cluster
from tlspcap.nightly.found import Found
from tlspcap.nightly.migration import migrate
from tlspcap.nightly.places import captures_in, is_remote
from tlspcap.nightly.processes import Processes
from tlspcap.nightly.seams import Mend, mended
from tlspcap.nightly.store import loose_ends_of, read_captures
from tlspcap.nightly.survey import Plan, plan
from tlspcap.nightly.work import Done, Failed, Message, Read, Row, Settings, bad_row
from tlspcap.nightly.writing import commit, locked, staging, sweep
from tlspcap.reading import read_keys

SECOND = 1_000_000_000  # ns
REACH = 2  # times the time-out: so much is read beside a run; who did not answer by then did not answer
Tell = Callable[["Summary", int], None]  # what was done so far, and how many bytes more were read


@dataclass
class Summary:
    """What a batch did."""

    captures: int = 0  # new ones, now in the store
    known: int = 0  # found again, left alone
    bytes: int = 0
    handshakes: int = 0  # of the new captures, and of those that were read again with them
    waiting: int = 0  # of these, cut by the edge of a recording: they wait for the capture that goes on
    unreadable: dict[str, str] = field(default_factory=dict)  # new captures that could not be read at all, and why
    failed: dict[str, str] = field(default_factory=dict)  # captures that the next batch will try again, and why
    moved: int = 0
    seconds: float = 0.0
    total: int = 0  # bytes there were to read

    @property
    def is_whole(self) -> bool:
        """Whether every new capture was read."""
        return not self.unreadable and not self.failed

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def batch(
    places: list[str | Path],
    store: str | Path,
    *,
    jobs: int | None = None,
    since: int | None = None,
    move_done: str | Path | None = None,
    settings: Settings | None = None,
    tell: Tell | None = None,
    scheduler: str | None = None,
) -> Summary:
    """Read every new capture into a store.

    Args:
        places: folders, gone through to the bottom, or files; remote ones where fsspec reaches them.
        store: its folder; made where it is not there.
        jobs: processes; None: as many as there are cores. With a scheduler, those of one worker for one unit of work;
            None: one.
        since: ns; captures that begin before are left alone.
        move_done: folder to move captures to once their rows are in the store.
        settings: how captures are read.
        tell: called as work goes on.
        scheduler: address of a Dask scheduler, whose workers do the work: "tcp://10.0.0.1:8786".

    Raises:
        ArgumentError: a setting makes no sense.
        StoreError: another batch is at work, or the store has other columns.
        CaptureError: a folder is not there.
        MissingExtra: Dask, or a package for remote storage, is not installed.
        OSError: the store cannot be written; what was committed before stays.
    """
    if jobs is not None and jobs < 1:
        raise ArgumentError(f"jobs: {jobs!r} processes make no sense; give 1 or more, or None")
    folder, began = Path(store), time.monotonic()
    if settings is not None:
        _check(settings)
    if move_done is not None and any(map(is_remote, places)):
        raise ArgumentError("move_done: remote captures are not moved; give folders of this machine, or leave it out")
    with locked(folder), _crew(jobs, scheduler) as crew:
        migrate(folder)
        sweep(folder)
        apart = [folder] if move_done is None else [folder, Path(move_done)]
        stored = read_captures(folder, must_exist=False)
        how = settings or Settings()
        waiting, reach = partial(loose_ends_of, folder), round(REACH * how.timeout * SECOND)
        todo = plan(captures_in(places, apart), stored, since, crew.look_at, waiting, reach)
        one = _Batch(folder, Path(move_done) if move_done else None, todo)
        one.keep_bad(todo)
        for message in crew.work(todo.units, replace(how, staging=one.staging)):
            one.take(message)
            if tell is not None:
                tell(one.summary, message.count if isinstance(message, Read) else 0)
        one.move_read()
        one.keep_known(todo.known)
    one.summary.seconds = round(time.monotonic() - began, 3)
    return one.summary


def _crew(jobs: int | None, scheduler: str | None) -> AbstractContextManager[Processes | Cluster]:
    """Who does the work."""
    if scheduler is None:
        return nullcontext(Processes(jobs or len(os.sched_getaffinity(0))))
    return Cluster(scheduler, jobs or 1)


def _check(settings: Settings) -> None:
    """Raise ArgumentError for what would else fail with every capture anew."""
    if not settings.timeout > 0:
        raise ArgumentError(f"timeout: {settings.timeout!r} seconds make no sense; give a number above 0")
    if settings.keylog is not None:
        read_keys(settings.keylog)


class _Batch:
    """Commits what comes in."""

    def __init__(self, folder: Path, done: Path | None, todo: Plan) -> None:
        self.folder, self.done = folder, done
        self.summary = Summary(known=len(todo.known), total=todo.size)
        self.staging = staging(folder)
        self._expected = Counter(unit.bundle for unit in todo.units)
        self._ended: defaultdict[str, list[Done | Failed]] = defaultdict(list)  # by bundle, until all of it is there
        self._read: list[tuple[list[Found], dict[str, str]]] = []  # captures to be moved, and where to
        self._taken = set[str]()  # places of captures that are to be moved
        self._mended: dict[str, str] = {}  # run of the store -> how it is named since it was mended

    def keep_bad(self, todo: Plan) -> None:
        """Have captures that cannot be read at all in the store, with the reason."""
        if todo.bad:
            commit(self.folder, [bad_row(found, found.trouble) for found in todo.bad], set(), [])
            self.summary.unreadable |= {found.name: found.trouble for found in todo.bad}

    def take(self, message: Message) -> None:
        """Take what a process tells."""
        if isinstance(message, Read):
            return
        if isinstance(message, Failed) and message.code:
            raise OSError(message.code, message.why, str(self.folder))
        ended = self._ended[message.unit.bundle]
        ended.append(message)
        if len(ended) == self._expected[message.unit.bundle]:
            self._end(self._ended.pop(message.unit.bundle))

    def _end(self, bundle: list[Done | Failed]) -> None:
        """Commit a bundle, or give it up where one of its units failed."""
        done = [message for message in bundle if isinstance(message, Done)]
        if len(done) == len(bundle):
            self._commit(done)
            return
        why = next(message.why for message in bundle if isinstance(message, Failed))
        for message in bundle:
            told = message.why if isinstance(message, Failed) else why
            self.summary.failed |= {found.name: told for found in message.unit.files if found.is_new}
            shutil.rmtree(self.staging / message.unit.run, ignore_errors=True)

    def _commit(self, bundle: list[Done]) -> None:
        rows, gone, stages = list[Row](), set[str](), list[Path]()
        for done in bundle:
            moves = self._moves(list(done.unit.files))
            rows += [{**row, "moved_to": moves.get(row["digest"], _elsewhere(found))} for row, found in _pairs(done)]
            gone |= {found.grown_from for found in done.unit.files if found.grown_from}
            stages.append(self.staging / done.unit.run)
            self._read.append(([found for row, found in _pairs(done) if row["run"]], moves))
        mends = {mend.run: mend for done in bundle for mend in done.mends}  # of two of one run, the last
        stages += [self._mend(mend, rows) for mend in mends.values()]
        commit(self.folder, rows, gone, stages)
        for done in bundle:
            self._sum_up(done)

    def _sum_up(self, done: Done) -> None:
        self.summary.unreadable |= {row["name"]: row["trouble"] for row in done.rows if row["run"] is None}
        self.summary.captures += sum(found.is_new for found in done.unit.files)
        self.summary.bytes += done.unit.size
        self.summary.handshakes += done.handshakes
        self.summary.waiting += done.waiting

    def move_read(self) -> None:
        """Move captures that were read, now that no unit needs them as its neighbours any more."""
        for files, moves in self._read:
            self._move(files, moves)

    def _mend(self, mend: Mend, rows: list[Row]) -> Path:
        """Stage a mended run of the store; its captures are to name it from now on."""
        run = self._mended.get(mend.run, mend.run)
        stage = mended(self.folder, self.staging, replace(mend, run=run))
        captures = read_captures(self.folder)
        rows += [{**row, "run": stage.root.name} for row in _records(captures[captures["run"] == run])]
        self._mended[mend.run] = stage.root.name
        return stage.root

    def keep_known(self, known: list[Found]) -> None:
        """Move captures that were in the store already, such as those that a killed batch did not come to move.

        Those that were touched without a change are known by their new stamp from now on.
        """
        stored = read_captures(self.folder, must_exist=False)
        rows = {row["digest"]: row for row in _records(stored)}
        found_again = {found.digest: found for found in known if found.digest in rows}
        readable = [found for found in found_again.values() if isinstance(rows[found.digest]["run"], str)]
        moves = self._moves(readable)
        changed = {digest: {**rows[digest], "moved_to": place} for digest, place in moves.items()}
        for found in known:
            row = rows.get(found.digest, {})
            if found.stamp and row.get("name") == found.path and row["stamp"] != found.stamp:
                changed.setdefault(found.digest, row)["stamp"] = found.stamp
        if changed:
            commit(self.folder, list(changed.values()), set(), [])
        self._move(readable, moves)

    def _moves(self, files: list[Found]) -> dict[str, str]:
        """Choose a place for each file that is to be moved, by digest."""
        if self.done is None:
            return {}
        done = Path(os.path.abspath(self.done))
        places: dict[str, str] = {}
        for found in files:
            if Path(found.path).parent != done:
                place = done / Path(found.name).name
                taken = place.exists() or str(place) in self._taken
                self._taken.add(str(place))
                places[found.digest] = str(done / f"{found.digest[:8]}-{place.name}" if taken else place)
        return places

    def _move(self, files: list[Found], moves: dict[str, str]) -> None:
        for found in files:
            if found.digest in moves:
                Path(moves[found.digest]).parent.mkdir(parents=True, exist_ok=True)
                shutil.move(found.path, moves[found.digest])
                self.summary.moved += 1


def _records(captures: pd.DataFrame) -> list[Row]:
    return [{str(name): cell for name, cell in row.items()} for row in captures.to_dict("records")]


def _pairs(done: Done) -> Iterator[tuple[Row, Found]]:
    yield from zip(done.rows, done.unit.files, strict=True)


def _elsewhere(found: Found) -> str | None:
    """Where a capture lies that was moved in an earlier batch."""
    return found.path if found.path != found.name else None

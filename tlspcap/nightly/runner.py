"""The batch: every new capture into the store, by several processes, each unit committed when it is done.

Units are worked through by processes of their own; this one commits what they staged and moves what is done. A unit
that fails, or a process that dies, costs that unit alone: it is not committed, and the next batch does it again.
"""

import os
import pickle
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tlspcap.errors import ArgumentError
from tlspcap.nightly.store import read_captures
from tlspcap.nightly.survey import Found, Plan, Unit, captures_in, plan
from tlspcap.nightly.work import Done, Failed, Message, Read, Row, Settings, attempt, bad_row
from tlspcap.nightly.writing import commit, locked, staging
from tlspcap.reading import read_keys

Tell = Callable[["Summary", int], None]  # what was done so far, and how many bytes more were read


@dataclass
class Summary:
    """What a batch did."""

    captures: int = 0  # new ones, now in the store
    known: int = 0  # found again, left alone
    bytes: int = 0
    handshakes: int = 0  # of the new captures, and of those that were read again with them
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
) -> Summary:
    """Read every new capture into a store.

    Args:
        places: folders, gone through to the bottom, or files.
        store: its folder; made where it is not there.
        jobs: processes; None: as many as there are cores.
        since: ns; captures that begin before are left alone.
        move_done: folder to move captures to once their rows are in the store.
        settings: how captures are read.
        tell: called as work goes on.

    Raises:
        ArgumentError: a setting makes no sense.
        StoreError: another batch is at work, or the store has other columns.
        CaptureError: a folder is not there.
        OSError: the store cannot be written; what was committed before stays.
    """
    if jobs is not None and jobs < 1:
        raise ArgumentError(f"jobs: {jobs!r} processes make no sense; give 1 or more, or None")
    folder, began = Path(store), time.monotonic()
    if settings is not None:
        _check(settings)
    with locked(folder):
        apart = [folder] if move_done is None else [folder, Path(move_done)]
        todo = plan(captures_in(places, apart), read_captures(folder, must_exist=False), since)
        one = _Batch(folder, Path(move_done) if move_done else None, Summary(known=len(todo.known), total=todo.size))
        one.keep_bad(todo)
        count = jobs or len(os.sched_getaffinity(0))
        shares = max(1, count // max(1, len(todo.units)))
        how = replace(settings or Settings(), staging=one.staging, shares=shares)
        for message in _work(todo.units, min(count, len(todo.units)), how):
            one.take(message)
            if tell is not None:
                tell(one.summary, message.count if isinstance(message, Read) else 0)
        one.move_known(todo.known)
    one.summary.seconds = round(time.monotonic() - began, 3)
    return one.summary


def _check(settings: Settings) -> None:
    """Raise ArgumentError for what would else fail with every capture anew."""
    if not settings.timeout > 0:
        raise ArgumentError(f"timeout: {settings.timeout!r} seconds make no sense; give a number above 0")
    if settings.keylog is not None:
        read_keys(settings.keylog)


class _Batch:
    """Commits what comes in."""

    def __init__(self, folder: Path, done: Path | None, summary: Summary) -> None:
        self.folder, self.done, self.summary = folder, done, summary
        self.staging = staging(folder)

    def keep_bad(self, todo: Plan) -> None:
        """Have captures that cannot be read at all in the store, with the reason."""
        if todo.bad:
            commit(self.folder, [bad_row(found, found.trouble) for found in todo.bad], set(), [])
            self.summary.unreadable |= {found.name: found.trouble for found in todo.bad}

    def take(self, message: Message) -> None:
        """Take what a process tells."""
        if isinstance(message, Done):
            self._commit(message)
        elif isinstance(message, Failed):
            if message.code:
                raise OSError(message.code, message.why, str(self.folder))
            self.summary.failed |= {found.name: message.why for found in message.unit.files}
            shutil.rmtree(self.staging / message.unit.run, ignore_errors=True)

    def _commit(self, done: Done) -> None:
        moves = self._moves(list(done.unit.files))
        rows = [{**row, "moved_to": moves.get(row["digest"], _elsewhere(found))} for row, found in _pairs(done)]
        gone = {found.grown_from for found in done.unit.files if found.grown_from}
        commit(self.folder, rows, gone, [self.staging / done.unit.run])
        self.summary.unreadable |= {row["name"]: row["trouble"] for row in rows if row["run"] is None}
        self.summary.captures += sum(found.is_new for found in done.unit.files)
        self.summary.bytes += done.unit.size
        self.summary.handshakes += done.handshakes
        self._move([found for row, found in _pairs(done) if row["run"]], moves)

    def move_known(self, known: list[Found]) -> None:
        """Move captures that were in the store already, such as those that a killed batch did not come to move."""
        stored = read_captures(self.folder, must_exist=False).set_index("digest", drop=False)
        good = [found for found in known if self.done and found.digest in stored.index]
        good = [found for found in good if isinstance(stored.at[found.digest, "run"], str)]
        if good:
            moves = self._moves(good)
            rows: list[Row] = [
                {**{str(name): cell for name, cell in stored.loc[found.digest].items()}, "moved_to": place}
                for found in good
                if (place := moves.get(found.digest))
            ]
            commit(self.folder, rows, set(), [])
            self._move(good, moves)

    def _moves(self, files: list[Found]) -> dict[str, str]:
        """Choose a place for each file that is to be moved, by digest."""
        if self.done is None:
            return {}
        done = Path(os.path.abspath(self.done))
        places: dict[str, str] = {}
        for found in files:
            if Path(found.path).parent != done:
                place = done / Path(found.name).name
                taken = place.exists() or str(place) in places.values()
                places[found.digest] = str(done / f"{found.digest[:8]}-{place.name}" if taken else place)
        return places

    def _move(self, files: list[Found], moves: dict[str, str]) -> None:
        for found in files:
            if found.digest in moves:
                Path(moves[found.digest]).parent.mkdir(parents=True, exist_ok=True)
                shutil.move(found.path, moves[found.digest])
                self.summary.moved += 1


def _pairs(done: Done) -> Iterator[tuple[Row, Found]]:
    yield from zip(done.rows, done.unit.files, strict=True)


def _elsewhere(found: Found) -> str | None:
    """Where a capture lies that was moved in an earlier batch."""
    return found.path if found.path != found.name else None


def _work(units: list[Unit], count: int, settings: Settings) -> Iterator[Message]:
    """Have units worked through, the largest first; give what is told of them as it comes."""
    waiting = sorted(units, key=lambda unit: -unit.size)
    if count < 2 or not sys.executable:
        for unit in waiting:
            reads: list[int] = []
            done = attempt(unit, settings, lambda _, count, reads=reads: reads.append(count))  # type: ignore[misc]
            yield Read(sum(reads))
            yield done
        return
    todo, told_by = queue.SimpleQueue[Unit](), queue.SimpleQueue[Message | None]()
    for unit in waiting:
        todo.put(unit)
    workers = [_Worker(settings, todo, told_by) for _ in range(count)]
    try:
        running = len(workers)
        while running:
            message = told_by.get()
            if message is None:
                running -= 1
            else:
                yield message
    finally:
        for worker in workers:
            worker.stop()


class _Worker:
    """A process, and the thread that hands it one unit after the other."""

    def __init__(self, settings: Settings, todo: "queue.SimpleQueue[Unit]", told: Any) -> None:
        self._settings, self._todo, self._told = settings, todo, told
        self._process = self._start()
        self._thread = threading.Thread(target=self._drive, daemon=True)
        self._thread.start()

    def _start(self) -> "subprocess.Popen[bytes]":
        # The packages that the caller has, and no other: not those that lie in the current folder (-P)
        path = [str(Path(__file__).parents[2]), *(folder for folder in sys.path if folder)]
        program = f"import sys; sys.path[:] = {path!r}; from tlspcap.nightly.work import main; main()"
        command = [sys.executable, "-P", "-c", program]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin is not None
        pickle.dump(self._settings, process.stdin)
        return process

    def _drive(self) -> None:
        while True:
            try:
                unit = self._todo.get_nowait()
            except queue.Empty:
                break
            if not self._do(unit):
                self._process = self._start()
        self._told.put(None)

    def _do(self, unit: Unit) -> bool:
        """Have the process do a unit; tell whether it lived to the end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            pickle.dump(unit, self._process.stdin)
            self._process.stdin.flush()
            message: Message = Read(0)
            while isinstance(message, Read):
                message = pickle.load(self._process.stdout)
                self._told.put(message)
        except (EOFError, OSError, pickle.UnpicklingError):
            code = self._process.wait()
            self._told.put(Failed(unit, f"its process ended early (exit {code}); perhaps memory ran out"))
            return False
        return True

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

"""One reading over several processes: they scan the capture together, and each looks at its share of conversations.

Each finds the columns of its pieces of the file, for all of them (`wire.team`). Conversations know nothing of each
other, so nothing has to be cut or stitched, and the tables are equal however many processes there are: every process
numbers all conversations, in the same order, and takes the segments of those that are its own (`wire.shares`).

Workers are Python processes that run `main` (see `workers`) and are spoken to in pickles of our own making: unlike
`multiprocessing`, that asks nothing of the caller's script and copies nothing of its memory.
"""

import os
import pickle
import select as selecting
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from tlspcap.errors import ArgumentError, CaptureError, TlspcapError
from tlspcap.reading import Job, Partial, Progress, read_keys, work
from tlspcap.selection import Selection
from tlspcap.tables import Builder
from tlspcap.wire.columns import FileFacts
from tlspcap.wire.files import CHUNK_BYTES, CaptureInput, sources
from tlspcap.wire.rotation import in_order
from tlspcap.wire.team import ROOMS, Seat, Team, seats
from tlspcap.workers import ordered, process, processes

if TYPE_CHECKING:
    import pandas as pd

B = TypeVar("B", bound=Builder)
SECOND = 1_000_000_000
SHARED = 4  # chunks of capture in the memory that all processes share


@dataclass(slots=True)
class Reading:
    """Tables of some captures, and, when they are read to the end, what is known of each file."""

    frames: "dict[str, pd.DataFrame]"
    files: list[FileFacts] = field(default_factory=list)
    unreadable: list[CaptureError] = field(default_factory=list)  # captures left out, where that was wanted


def read_tables(
    source: CaptureInput | Iterable[CaptureInput],
    *,
    timeout: float = 10.0,
    select: Selection | None = None,
    tables: Iterable[str] | None = None,
    jobs: int | None = None,
    skip_unreadable: bool = False,
    chunk_bytes: int = CHUNK_BYTES,
    progress: Progress | None = None,
    keylog: str | Path | None = None,
    embedded_secrets: bool = True,
) -> Reading:
    """Read captures into tables (see `tlspcap.read`)."""
    job, missing = _job(source, timeout, select, tables, chunk_bytes, skip_unreadable)
    job = _with_keys(job, keylog, embedded_secrets)
    pieces = _pieces(job, processes(job.captures, jobs), None, progress)
    whole = next(pieces)
    for piece in pieces:
        whole.merge(piece)
    unreadable = _finished(whole, missing)
    return Reading(whole.builder.frames(), [file.facts for file in whole.files], unreadable)


def scan_tables(source: CaptureInput | Iterable[CaptureInput], *, rows: int = 50_000, **how: Any) -> Iterator[Reading]:
    """Read captures into tables in pieces of some `rows` handshakes (see `tlspcap.scan`)."""
    for piece in gathered(source, Builder, rows=rows, **how):
        yield Reading(piece.builder.frames(piece.first), piece.files, piece.unreadable)


@dataclass(slots=True)
class Gathered(Generic[B]):
    """A piece of what was read, before any table is made of it."""

    builder: B
    first: int  # number of its first handshake
    files: list[FileFacts]  # with the last piece, what is known of each file
    unreadable: list[CaptureError]  # with the last piece, captures that were left out


def gathered(
    source: CaptureInput | Iterable[CaptureInput],
    gather: type[B],
    *,
    rows: int,
    timeout: float = 10.0,
    select: Selection | None = None,
    tables: Iterable[str] | None = None,
    jobs: int | None = None,
    skip_unreadable: bool = False,
    chunk_bytes: int = CHUNK_BYTES,
    progress: Progress | None = None,
    keylog: str | Path | None = None,
    embedded_secrets: bool = True,
) -> Iterator[Gathered[B]]:
    """Read captures in pieces of some `rows` handshakes, which builders of the given kind take."""
    if rows < 1:
        raise ArgumentError(f"rows: {rows!r} make no sense; give 1 or more")
    job, missing = _job(source, timeout, select, tables, chunk_bytes, skip_unreadable)
    job = replace(_with_keys(job, keylog, embedded_secrets), gather=gather)
    first = 0
    for piece in _pieces(job, processes(job.captures, jobs), rows, progress):
        unreadable = _finished(piece, missing)
        assert isinstance(piece.builder, gather)
        yield Gathered(piece.builder, first, [file.facts for file in piece.files], unreadable)
        first += len(piece.builder)


def _job(
    source: CaptureInput | Iterable[CaptureInput],
    timeout: float,
    select: Selection | None,
    tables: Iterable[str] | None,
    chunk_bytes: int,
    tolerant: bool,
) -> tuple[Job, list[CaptureError]]:
    """Make the job, and the list of captures that are not even there, where that is tolerated."""
    if not timeout > 0:
        raise ArgumentError(f"timeout: {timeout!r} seconds make no sense; give a number above 0")
    names = None if tables is None else tuple(tables)
    ordered, missing = ordered_captures(source, tolerant)
    starts = tuple(start for _, start in ordered)
    captures = tuple(capture for capture, _ in ordered)
    return Job(captures, starts, round(timeout * SECOND), select, names, chunk_bytes, tolerant), missing


def ordered_captures(
    source: CaptureInput | Iterable[CaptureInput], tolerant: bool
) -> tuple[list[tuple[CaptureInput, int | None]], list[CaptureError]]:
    """List the captures behind what a caller gave, in order, each with the time of its first packet where it is known.

    Give with them what is wrong with those that are not even there, where that is tolerated.
    """
    captures, missing = _found(source) if tolerant else (sources(source), [])
    captures = list({_identity(capture): capture for capture in captures}.values())  # a file given twice is read once
    return in_order(captures, tolerant), missing


def _with_keys(job: Job, keylog: str | Path | None, embedded_secrets: bool) -> Job:
    keys = None if keylog is None else read_keys(keylog)
    return replace(job, keys=keys, embedded_secrets=embedded_secrets)


def _identity(capture: CaptureInput) -> object:
    return os.path.realpath(capture) if isinstance(capture, str | Path) and str(capture) != "-" else id(capture)


def _found(source: CaptureInput | Iterable[CaptureInput]) -> tuple[list[CaptureInput], list[CaptureError]]:
    single = isinstance(source, str | Path) or hasattr(source, "read") or not isinstance(source, Iterable)
    items = [cast(CaptureInput, source)] if single else list(cast(Iterable[CaptureInput], source))
    captures: list[CaptureInput] = []
    missing: list[CaptureError] = []
    for item in items:
        try:
            captures += sources(item)
        except CaptureError as error:
            missing.append(error)
    return captures, missing


def _finished(piece: Partial, missing: list[CaptureError]) -> list[CaptureError]:
    """Add to a piece what is known of whole files; give the captures that were left out.

    Raises CaptureError with the last piece where no capture at all could be read.
    """
    unreadable = [*missing, *piece.unreadable] if piece.last else []
    if unreadable and not piece.files:
        told = "; ".join(str(error) for error in unreadable)
        raise unreadable[0] if len(unreadable) == 1 else CaptureError(f"none of the inputs could be read: {told}")
    piece.write_notes()
    return unreadable


def _pieces(job: Job, count: int, rows: int | None, progress: Progress | None) -> Iterator[Partial]:
    """Do one share here and the others in workers; give the pieces as they come, the files with the last one.

    A worker whose piece is not fetched yet waits, unless this process waits for it: no more than a piece or two of
    each process are ever in memory.
    """
    if count == 1:
        yield from filter(None, work(job, rows, progress))
        return
    shares = [replace(job, share=(index, count)) for index in range(count)]
    own_seat, *others = seats(count, _piece_bytes(count, job.chunk_bytes))
    workers = [_Worker(share, rows, seat) for share, seat in zip(shares[1:], others, strict=True)]
    team = Team(own_seat)
    team.meanwhile = partial(_wait, workers)
    try:
        last = None
        for own in work(shares[0], rows, progress, team):
            yield from _ready(workers)
            if own is not None and own.last:
                last = own
            elif own is not None:
                yield own
        assert last is not None, "work ends with the piece that holds the files"
        for worker in workers:
            for piece in worker.pieces():
                if piece.last:
                    last.merge(piece)
                else:
                    yield piece
        yield last
    finally:
        for worker in workers:
            worker.stop()
        team.close()


def _piece_bytes(count: int, chunk_bytes: int) -> int:
    """How large pieces are: as a chunk, or less, so that what all processes hold at once is SHARED chunks at most.

    Every piece costs each process some thousand calls of numpy, however small it is.
    """
    return max(min(chunk_bytes, SHARED * chunk_bytes // (count * ROOMS)), 1)


def _wait(workers: "list[_Worker]", sockets: list[Any]) -> list[Any]:
    """Wait until some of the sockets can be read; take the pieces of workers that wait to hand one over."""
    while True:
        pipes = {worker.pipe: worker for worker in workers if worker.last is None}
        ready = selecting.select([*sockets, *pipes], [], [])[0]
        for pipe in pipes.keys() & ready:
            pipes[pipe].take()
        if found := [socket for socket in ready if socket in sockets]:
            return found


def _ready(workers: "list[_Worker]") -> Iterator[Partial]:
    """The pieces that workers wait to hand over, but for their last ones."""
    for worker in workers:
        while worker.last is None and selecting.select([worker.pipe], [], [], 0)[0]:
            worker.take()
        yield from worker.taken()


class _Worker:
    """A process that does one share."""

    def __init__(self, job: Job, rows: int | None, seat: Seat) -> None:
        self._process = process()
        self.pipe = self._process.answers
        self.last: Partial | None = None  # the piece that holds the files, once it came
        self._taken = deque[Partial]()  # the others that came and are not handed on
        self._process.order(pickle.dumps((job, rows, seat)), seat.files())

    def pieces(self) -> Iterator[Partial]:
        """The pieces that were not handed on yet, the last one included."""
        yield from self.taken()
        while self.last is None:
            self.take()
            yield from self.taken()
        yield self.last

    def taken(self) -> Iterator[Partial]:
        """Hand on the pieces that came, but for the last one."""
        while self._taken:
            yield self._taken.popleft()

    def take(self) -> None:
        """Wait for the next piece. Raises the error that ended the worker."""
        try:
            piece = pickle.load(self.pipe)
        except EOFError:
            code = self._process.wait()
            raise TlspcapError(f"a worker process ended early (exit {code}); try jobs=1") from None
        if isinstance(piece, TlspcapError):
            raise piece
        assert isinstance(piece, Partial)
        if piece.last:
            self.last = piece
        else:
            self._taken.append(piece)

    def stop(self) -> None:
        """End the process, if it has not ended by itself."""
        self._process.stop()


def main() -> None:
    """Do the share that is ordered, if one is, and write what it gathers, piece by piece, to standard output."""
    order, files = ordered()
    if not order:
        return
    job, rows, seat = pickle.loads(order)
    try:
        for piece in filter(None, work(job, rows, team=Team(seat.with_files(files)))):
            _hand_over(piece)
    except TlspcapError as error:
        _hand_over(error)


def _hand_over(answer: Partial | TlspcapError) -> None:
    pickle.dump(answer, sys.stdout.buffer, protocol=pickle.HIGHEST_PROTOCOL)
    sys.stdout.buffer.flush()

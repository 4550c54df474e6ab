"""One reading over several processes: each scans the whole capture, but follows only its share of the conversations.

Scanning is columnar and cheap; following handshakes in Python is what takes the time, and conversations know nothing
of each other. So nothing has to be cut or stitched, and the tables are equal however many processes there are: every
process numbers all conversations alike and takes those whose number is its own modulo the number of processes.

Workers are started as `python -m tlspcap.spread` and spoken to through their pipes, in pickles of our own making:
unlike `multiprocessing`, that asks nothing of the caller's script and copies nothing of its memory.
"""

import os
import pickle
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from tlspcap.errors import ArgumentError, TlspcapError
from tlspcap.reading import Job, Partial, Progress, Reading, work
from tlspcap.selection import Selection
from tlspcap.wire.files import CHUNK_BYTES, CaptureInput, sources

SECOND = 1_000_000_000
WORTH_SPREADING = 64 << 20  # bytes of capture; starting a process takes as long as reading some 20 MB
MOST = 8  # processes that are started unasked; each scans the whole capture


def read_tables(
    source: CaptureInput | Iterable[CaptureInput],
    *,
    timeout: float = 10.0,
    select: Selection | None = None,
    tables: Iterable[str] | None = None,
    jobs: int | None = None,
    chunk_bytes: int = CHUNK_BYTES,
    progress: Progress | None = None,
) -> Reading:
    """Read captures, one after the other, into tables (see `tlspcap.read`)."""
    if not timeout > 0:
        raise ArgumentError(f"timeout: {timeout!r} seconds make no sense; give a number above 0")
    if jobs is not None and jobs < 1:
        raise ArgumentError(f"jobs: {jobs!r} processes make no sense; give 1 or more, or None")
    captures, names = tuple(sources(source)), None if tables is None else tuple(tables)
    job = Job(captures, round(timeout * SECOND), select, names, chunk_bytes)
    count = processes(captures, jobs)
    return work(job, progress).finish() if count == 1 else _spread(job, count, progress).finish()


def processes(captures: Iterable[CaptureInput], jobs: int | None) -> int:
    """How many processes to use: what was asked for, where every capture can be opened more than once."""
    sizes = [_size(capture) for capture in captures]
    if any(size is None for size in sizes) or not sys.executable:
        return 1
    if jobs is not None:
        return jobs
    enough = sum(size or 0 for size in sizes) >= WORTH_SPREADING
    return min(MOST, len(os.sched_getaffinity(0))) if enough else 1


def _size(capture: CaptureInput) -> int | None:
    """Size of a regular file that is given by name; None for pipes, standard input and open files."""
    if not isinstance(capture, str | Path) or str(capture) == "-":
        return None
    path = Path(capture)
    return path.stat().st_size if path.is_file() else None


def _spread(job: Job, count: int, progress: Progress | None) -> Partial:
    """Do one share here and the others in workers, and merge what they gathered."""
    workers = [_Worker(replace(job, share=(index, count))) for index in range(1, count)]
    try:
        partial = work(replace(job, share=(0, count)), progress)
        for worker in workers:
            partial.merge(worker.result())
    finally:
        for worker in workers:
            worker.stop()
    return partial


class _Worker:
    """A process that does one share."""

    def __init__(self, job: Job) -> None:
        command = [sys.executable, "-m", "tlspcap.spread"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin is not None
        with self._process.stdin as pipe:
            pickle.dump(job, pipe, protocol=pickle.HIGHEST_PROTOCOL)

    def result(self) -> Partial:
        """Wait for what the share gathered. Raises the error that ended it."""
        assert self._process.stdout is not None
        try:
            answer = pickle.load(self._process.stdout)
        except EOFError:
            code = self._process.wait()
            raise TlspcapError(f"a worker process ended early (exit {code}); try jobs=1") from None
        if isinstance(answer, TlspcapError):
            raise answer
        assert isinstance(answer, Partial)
        return answer

    def stop(self) -> None:
        """End the process, if it has not ended by itself."""
        if self._process.poll() is None:
            self._process.kill()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process.wait()


def main() -> None:
    """Do the share that standard input describes and write what it gathered to standard output."""
    job = pickle.load(sys.stdin.buffer)
    try:
        answer: Partial | TlspcapError = work(job)
    except TlspcapError as error:
        answer = error
    pickle.dump(answer, sys.stdout.buffer, protocol=pickle.HIGHEST_PROTOCOL)


if __name__ == "__main__":
    main()

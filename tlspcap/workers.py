"""Python processes that share the work of this one, started before it is known what they will do.

Such a process takes a while to import what reading needs, and so does this one: started first, it does that at the
same time. So this module is loaded before all others, and imports nothing that takes long itself.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from tlspcap.errors import ArgumentError

WORTH_SPREADING = 64 << 20  # bytes of capture; starting a process takes as long as reading some 20 MB
MOST = 8  # processes that are started unasked
MOST_FILES = 253  # that Linux sends at once (SCM_MAX_FD)

# A thread for each core, which numpy's OpenBLAS starts when it is loaded, takes up to 0.1 s; nothing here needs them.
FEW_THREADS = {"OPENBLAS_NUM_THREADS": "1"}

_ahead: "list[Process]" = []  # started, and not taken yet


def processes(captures: Iterable[object], jobs: int | None) -> int:
    """How many processes to use: what was asked for, where every capture can be opened more than once."""
    if jobs is not None and jobs < 1:
        raise ArgumentError(f"jobs: {jobs!r} processes make no sense; give 1 or more, or None")
    sizes = [_size(capture) for capture in captures]
    if any(size is None for size in sizes) or not sys.executable:
        return 1
    if jobs is not None:
        return jobs
    enough = sum(size or 0 for size in sizes) >= WORTH_SPREADING
    return min(MOST, len(os.sched_getaffinity(0))) if enough else 1


def _size(capture: object) -> int | None:
    """Size of a regular file that is given by name; None for pipes, standard input and open files."""
    if not isinstance(capture, str | Path) or str(capture) == "-":
        return None
    path = Path(capture)
    return path.stat().st_size if path.is_file() else None


def command(module: str) -> list[str]:
    """The command that runs `main` of a module of this package in a process of its own."""
    # The packages that the caller has, and no other: not those that lie in the current folder (-P)
    path = [str(Path(__file__).parents[1]), *(folder for folder in sys.path if folder)]
    return [
        sys.executable,
        "-P",
        "-c",
        f"import sys; sys.path[:] = {path!r}; from tlspcap.{module} import main; main()",
    ]


class Process:
    """A process that runs `tlspcap.spread.main`, which waits for an order and answers through a pipe."""

    def __init__(self) -> None:
        self._orders, its_end = socket.socketpair()
        with its_end:
            self._process = subprocess.Popen(
                command("spread"), stdin=its_end.fileno(), stdout=subprocess.PIPE, env={**FEW_THREADS, **os.environ}
            )
        assert self._process.stdout is not None
        self.answers: IO[bytes] = self._process.stdout

    def order(self, order: bytes, files: list[int]) -> None:
        """Say what to do, and hand over open files, which are closed here. One that has ended gives no answer."""
        with suppress(OSError), self._orders as orders:
            socket.send_fds(orders, [b"!"], files)
            orders.sendall(order)
        for file in files:
            os.close(file)

    def wait(self) -> int:
        """Return the exit code, once it has ended."""
        return self._process.wait()

    def stop(self) -> None:
        """End the process, if it has not ended by itself."""
        if self._process.poll() is None:
            self._process.kill()
        self._orders.close()
        self.answers.close()
        self._process.wait()


def ordered() -> tuple[bytes, list[int]]:
    """Wait, in the process, for its order and the open files; both are empty where the caller needs it no more."""
    with socket.fromfd(0, socket.AF_UNIX, socket.SOCK_STREAM) as orders:
        _, files, _, _ = socket.recv_fds(orders, 1, MOST_FILES)
        with orders.makefile("rb") as order:
            return order.read(), files


@contextmanager
def started_ahead(count: int) -> Iterator[None]:
    """Have processes started for `process` to give; those that nobody took are ended."""
    _ahead.extend(Process() for _ in range(count))
    try:
        yield
    finally:
        while _ahead:
            _ahead.pop().stop()


def process() -> Process:
    """Give a process that waits for its order."""
    return _ahead.pop() if _ahead else Process()

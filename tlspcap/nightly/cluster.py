"""The units of a batch over the workers of a Dask cluster: what `processes` does on one machine.

Workers need tlspcap, the captures (on storage that all see, or remote), and nothing of the store: what they stage comes
back as the bytes of its files, and only the batch itself writes. So a unit may be done twice, by a worker that was
given up and by another, and counts once. Whatever goes wrong with a worker is tried again by another.
"""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tlspcap.errors import ArgumentError, MissingExtra
from tlspcap.nightly.found import Found, look, untouched
from tlspcap.nightly.layout import schema_version
from tlspcap.nightly.places import size_of
from tlspcap.nightly.runs import Unit
from tlspcap.nightly.survey import Ask
from tlspcap.nightly.work import Done, Failed, Message, Read, Settings, attempt
from tlspcap.nightly.writing import unpack
from tlspcap.version import __version__

RETRIES = 3  # of a unit that failed for what may be the worker's fault
PATIENCE = 30  # seconds to wait for the scheduler


@dataclass(frozen=True)
class Staged:
    """What a worker made of a unit: the files it staged, each with its place below the unit's folder."""

    done: Done
    files: tuple[tuple[str, bytes], ...]


class Cluster(AbstractContextManager["Cluster"]):
    """The workers of a Dask cluster.

    Raises MissingExtra where Dask is not installed, ArgumentError where the scheduler cannot be reached.
    """

    def __init__(self, address: str, jobs: int = 1) -> None:
        try:
            from distributed import Client
        except ImportError:
            raise MissingExtra("a scheduler needs Dask: pip install 'tlspcap[dask]'") from None
        self._jobs, self._closing = jobs, ExitStack()
        try:
            self._client = self._closing.enter_context(Client(address, timeout=PATIENCE))
        except (OSError, ValueError) as error:
            raise ArgumentError(f"scheduler: {address}: cannot be reached ({error}); try tcp://HOST:8786") from None

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def look_at(self, asked: Iterable[Ask]) -> Iterator[Found | None]:
        """Look at files, as many at a time as there are workers; give what was found in the same order.

        Those that nobody touched are known from here, where they can be seen.
        """
        looked = [(ask, _known(ask)) for ask in asked]
        futures = iter(
            self._client.map(_look, [ask for ask, known in looked if not known], pure=False, retries=RETRIES)
        )
        for ask, known in looked:
            yield known or _seen(next(futures), ask[0])

    def work(self, units: list[Unit], settings: Settings) -> Iterator[Message]:
        """Have units worked through, the largest first; give what is told of them as it comes."""
        from distributed import as_completed

        how = replace(settings, shares=self._jobs)
        largest_first = sorted(units, key=lambda unit: -unit.size)
        futures = {
            self._client.submit(do, unit, how, (__version__, schema_version()), pure=False, retries=RETRIES): unit
            for unit in largest_first
        }
        for future in as_completed(futures):
            yield from _told(future, futures[future], settings.staging)
            future.release()


def _told(future: Any, unit: Unit, staging: Path) -> Iterator[Message]:
    """Unpack what became of a unit."""
    try:
        staged: Staged = future.result()
    except (Exception, CancelledError) as error:  # the last of several attempts
        yield Failed(unit, f"no worker could do it: {error or type(error).__name__}")
        return
    yield Read(unit.size)
    unpack(staging / unit.run, staged.files)
    yield staged.done


def _known(ask: Ask) -> Found | None:
    try:
        return untouched(*ask)
    except OSError:
        return None


def _seen(future: Any, path: str) -> Found | None:
    """What workers saw of a file; None where it went away. Raises ArgumentError where none of them can look at it."""
    try:
        found: Found = future.result()
        return found
    except (Exception, CancelledError) as error:  # the last of several attempts
        if size_of(path) is None:
            return None
        raise ArgumentError(f"scheduler: no worker could look at {path}: {error or type(error).__name__}") from None


def _look(ask: Ask) -> Found | None:
    """Look at a file. One that is not seen from here at all may be seen by another worker."""
    path, earlier = ask
    found = look(path, earlier)
    if found is None:
        raise FileNotFoundError(f"{path}: cannot be seen by this worker; captures must lie on storage that all see")
    return found


def do(unit: Unit, settings: Settings, version: tuple[str, str]) -> Staged:
    """Do a unit, in a worker. Raises what another worker, or another moment, may cure."""
    if version != (ours := (__version__, schema_version())):
        raise RuntimeError(f"this worker has tlspcap {ours[0]} (schema {ours[1]}), not {version[0]} ({version[1]})")
    with TemporaryDirectory(prefix="tlspcap-") as folder:
        message = attempt(unit, replace(settings, staging=Path(folder)), lambda _name, _count: None)
        if isinstance(message, Failed):
            raise OSError(message.code, message.why) if message.code else RuntimeError(message.why)
        return Staged(message, tuple(_packed(Path(folder) / unit.run)))


def _packed(stage: Path) -> Iterator[tuple[str, bytes]]:
    for file in sorted(stage.rglob("*.parquet")):
        yield os.fspath(file.relative_to(stage)), file.read_bytes()

"""The units of a batch over several processes of this machine; `cluster` is the same beyond it.

A unit whose process dies costs that unit alone: it is told as failed, and the next batch does it again.
"""

import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from tlspcap.nightly.found import Found, look
from tlspcap.nightly.runs import Unit
from tlspcap.nightly.survey import Ask
from tlspcap.nightly.work import Failed, Message, Read, Settings, attempt
from tlspcap.workers import command


class Processes:
    """So many processes of this machine."""

    def __init__(self, count: int) -> None:
        self._count = count

    def look_at(self, asked: Iterable[Ask]) -> Iterator[Found | None]:
        """Look at files, several at a time; give what was found in the same order."""
        with ThreadPoolExecutor(self._count) as threads:  # hashing lets other threads go on
            yield from threads.map(lambda ask: look(*ask), asked)

    def work(self, units: list[Unit], settings: Settings) -> Iterator[Message]:
        """Have units worked through; give what is told of them as it comes."""
        shares = max(1, self._count // max(1, len(units)))
        yield from _work(units, min(self._count, len(units)), replace(settings, shares=shares))


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
        process = subprocess.Popen(command("nightly.work"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
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

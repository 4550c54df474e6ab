"""Measures work without a clock: function calls made, lines executed, bytes of memory taken."""

import gc
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, SimpleNamespace


def calls(work: Callable[[], object]) -> int:
    """Count the function calls, of Python and C, that `work` makes."""
    count = 0

    def profile(*_: object) -> None:
        nonlocal count
        count += 1

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def lines(work: Callable[[], object]) -> int:
    """Count the lines of Python that `work` executes, each round of a loop anew."""
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> object:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


@contextmanager
def memory() -> Iterator[SimpleNamespace]:
    """Measure the memory that the block takes: `peak` at most within, `left` behind it, in bytes."""
    found = SimpleNamespace(peak=0, left=0)
    gc.collect()
    tracemalloc.start()
    try:
        yield found
        found.peak = tracemalloc.get_traced_memory()[1]
        gc.collect()
        found.left = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()

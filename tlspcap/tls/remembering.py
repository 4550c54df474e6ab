"""Results remembered for inputs that real traffic repeats: bounded in number and, since inputs are hostile, in size."""

from collections.abc import Callable, Hashable, Sized
from functools import lru_cache, wraps
from typing import Protocol, TypeVar


class SizedKey(Sized, Hashable, Protocol):
    """What results can be remembered for: it has a length and a hash."""


A = TypeVar("A", bound=SizedKey)
T = TypeVar("T")

ENTRIES = 512  # results kept of each function
LONGEST = 512  # items of the longest input kept; a list of suites in real hellos has 200 bytes, a hostile one 64 KB


def remembered(function: Callable[[A], T]) -> Callable[[A], T]:
    """Remember the results of a pure function of one hashable input, long inputs excepted.

    >>> double = remembered(lambda word: word * 2)
    >>> double("ab"), len(double("x" * 1000))
    ('abab', 2000)
    """
    cached = lru_cache(maxsize=ENTRIES)(function)

    @wraps(function)
    def recall(value: A) -> T:
        return cached(value) if len(value) <= LONGEST else function(value)

    return recall

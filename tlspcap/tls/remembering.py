"""Results remembered for inputs that real traffic repeats: bounded in number and, since inputs are hostile, in size."""

from collections.abc import Callable, Hashable, Sized
from functools import lru_cache, wraps
from typing import ParamSpec, Protocol, TypeVar


class SizedKey(Sized, Hashable, Protocol):
    """What results can be remembered for: it has a length and a hash."""


A = TypeVar("A", bound=SizedKey)
P = ParamSpec("P")
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


def remembered_up_to(
    longest: int, entries: int, size: Callable[..., int]
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Remember `entries` results of a pure function of hashable inputs, of which `size` makes `longest` at most.

    >>> longer = remembered_up_to(3, entries=8, size=lambda *words: len(words))(max)
    >>> longer("a", "b"), longer("a", "b", "c", "d")
    ('b', 'd')
    """

    def remember(function: Callable[P, T]) -> Callable[P, T]:
        cached = lru_cache(maxsize=entries)(function)

        @wraps(function)
        def recall(*inputs: P.args, **named: P.kwargs) -> T:
            chosen = cached if size(*inputs, **named) <= longest else function
            return chosen(*inputs, **named)  # type: ignore[arg-type]  # lru_cache asks for Hashable

        return recall

    return remember

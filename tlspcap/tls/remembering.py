"""Results remembered for inputs that real traffic repeats: bounded in number and, since inputs are hostile, in size."""

from collections.abc import Callable, Hashable, Sized
from typing import Any, Protocol, TypeVar


class SizedKey(Sized, Hashable, Protocol):
    """What results can be remembered for: it has a length and a hash."""


A = TypeVar("A", bound=Hashable)
S = TypeVar("S", bound=SizedKey)
T = TypeVar("T")

ENTRIES = 512  # results kept of each function
LONGEST = 512  # items of the longest input kept; a list of suites in real hellos has 200 bytes, a hostile one 64 KB


class Memory(dict[A, T]):
    """A pure function of one input, as the dict of its results so far.

    It is called as the function it stands for. A result that is known is found by the dict itself, without a step of
    Python; only a miss calls the function, and looks whether the result may be kept. When it is full, it is emptied:
    what traffic repeats is back at once.
    """

    def __init__(self, function: Callable[[A], T], entries: int, longest: int, size: Callable[[A], int]) -> None:
        super().__init__()
        self._function, self._entries, self._longest, self._size = function, entries, longest, size
        self.__doc__ = function.__doc__

    __call__ = dict.__getitem__

    def __missing__(self, value: A) -> T:
        result = self._function(value)
        if self._size(value) <= self._longest:
            if len(self) >= self._entries:
                self.clear()
            self[value] = result
        return result


def remembered(function: Callable[[S], T]) -> Callable[[S], T]:
    """Remember the results of a pure function of one hashable input, long inputs excepted.

    >>> double = remembered(lambda word: word * 2)
    >>> double("ab"), len(double("x" * 1000))
    ('abab', 2000)
    """
    return Memory(function, ENTRIES, LONGEST, len)


def remembered_up_to(
    longest: int, entries: int, size: Callable[[Any], int]
) -> Callable[[Callable[[A], T]], Callable[[A], T]]:
    """Remember `entries` results of a pure function of one hashable input, of which `size` makes `longest` at most.

    >>> longer = remembered_up_to(3, entries=8, size=len)(max)
    >>> longer("ab"), longer("abcd")
    ('b', 'd')
    """
    return lambda function: Memory(function, entries, longest, size)

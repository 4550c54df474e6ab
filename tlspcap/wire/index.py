"""What is remembered for a whole capture, packed in columns: a conversation or an address takes some tens of bytes.

Python objects in a dict would take several hundred each, and captures have millions.
"""

import os
from typing import Any

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]
Column = npt.NDArray[Any]
_Hashes = npt.NDArray[np.uint64]

FIRST_ROWS = 1024  # of a table, for which there is room from the start
KEPT_BYTES = 16 << 20  # of a block that is kept when it is freed
_FULL = 3 / 4  # share of an index's places that may be taken; more, and looking takes long
_MULTIPLIERS = (0xBF58_476D_1CE4_E5B9, 0x94D0_49BB_1331_11EB)  # of the splitmix64 mixer


def keep_freed_memory() -> None:
    """Let columns of a chunk lie where those of the chunk before lay.

    The C library (glibc) gives larger blocks that are freed back to the kernel, which clears memory and maps it anew,
    page by page, at the next use: that takes longer than what is done with a column. Once it has seen a block of some
    size freed, it keeps all that are smaller.
    """
    np.empty(KEPT_BYTES, dtype=np.uint8)


class Table:
    """Growing columns with names."""

    def __init__(self, **dtypes: npt.DTypeLike) -> None:
        self.rows = 0
        self._columns = {name: np.zeros(FIRST_ROWS, dtype=dtype) for name, dtype in dtypes.items()}

    def __getitem__(self, name: str) -> Column:
        return self._columns[name][: self.rows]

    def append(self, count: int, **values: npt.ArrayLike) -> None:
        """Add rows; columns without values get zeros."""
        before, self.rows = self.rows, self.rows + count
        for name, column in self._columns.items():
            if self.rows > len(column):
                column = np.zeros(max(self.rows, len(column) * 3 // 2), dtype=column.dtype)
                column[:before] = self._columns[name][:before]  # what is not written takes no memory
                self._columns[name] = column
            if name in values:
                column[before : self.rows] = values[name]

    def keep(self, chosen: npt.NDArray[np.bool_]) -> None:
        """Leave out the rows that are not chosen; give back the room of many."""
        self.rows = int(np.count_nonzero(chosen))
        for name, column in self._columns.items():
            kept = column[: len(chosen)][chosen]
            self._columns[name] = np.zeros(max(FIRST_ROWS, self.rows * 3 // 2), dtype=column.dtype)
            self._columns[name][: self.rows] = kept


class Index:
    """Numbers for pairs of integers, from 0, in order of first appearance.

    A hash table with open addressing, worked on by column: 16 bytes a pair for the key, 5 to 11 for its place. Keys
    come from the wire, so the hash has a secret: nobody can send keys that all fall on one place.

    >>> index = Index()
    >>> index.add(np.array([7, 8]), np.array([0, -1])).tolist()
    [0, 1]
    >>> index.find(np.array([8, 9]), np.array([-1, 0])).tolist()
    [1, -1]
    """

    def __init__(self) -> None:
        self.keys = Table(first=np.int64, second=np.int64)
        self._places = np.zeros(FIRST_ROWS, dtype=np.uint32)  # number of the key that lies there, plus 1; 0: free
        self._secret = np.frombuffer(os.urandom(16), dtype=np.uint64)

    def __len__(self) -> int:
        return self.keys.rows

    def find(self, first: Int64, second: Int64) -> Int64:
        """Return the number of each pair, -1 where it has none."""
        found = np.full(len(first), -1, dtype=np.int64)
        rows, place, step = np.arange(len(first)), self._hash(first, second), 0
        while len(rows):
            number = self._places[place].astype(np.int64) - 1
            taken = number >= 0
            rows, place, number = rows[taken], place[taken], number[taken]
            same = (self.keys["first"][number] == first[rows]) & (self.keys["second"][number] == second[rows])
            found[rows[same]] = number[same]
            step += 1
            rows, place = rows[~same], self._beyond(place[~same], step)
        return found

    def add(self, first: Int64, second: Int64) -> Int64:
        """Return the number of each pair, a new one where it had none. The pairs are distinct."""
        numbers = self.find(first, second)
        new = np.flatnonzero(numbers < 0)
        if not len(new):
            return numbers
        before = len(self)
        numbers[new] = before + np.arange(len(new))
        self.keys.append(len(new), first=first[new], second=second[new])
        if len(self) > _FULL * len(self._places):
            self._places = np.zeros(1 << (2 * len(self) - 1).bit_length(), dtype=np.uint32)
            before = 0
        self._put(np.arange(before, len(self)))
        return numbers

    def _put(self, number: Int64) -> None:
        """Put keys in their places; of several that come to one free place, one gets it and the others go on."""
        place, step = self._hash(self.keys["first"][number], self.keys["second"][number]), 0
        while len(number):
            free = self._places[place] == 0
            self._places[place[free]] = number[free] + 1
            left = self._places[place] != number + 1
            step += 1
            number, place = number[left], self._beyond(place[left], step)

    def _hash(self, first: Int64, second: Int64) -> Int64:
        """Return the place where to look for each pair first."""
        mixed = self._mix(first.astype(np.uint64) ^ self._secret[0])
        mixed = self._mix(mixed ^ second.astype(np.uint64) ^ self._secret[1])
        return (mixed & np.uint64(len(self._places) - 1)).astype(np.int64)

    def _mix(self, value: _Hashes) -> _Hashes:
        for multiplier in _MULTIPLIERS:
            value = (value ^ value >> np.uint64(30)) * np.uint64(multiplier)
        mixed: _Hashes = value ^ value >> np.uint64(31)
        return mixed

    def _beyond(self, place: Int64, step: int) -> Int64:
        """Return where to look next: steps that grow by one come to every place of a power of two."""
        beyond: Int64 = (place + step) & (len(self._places) - 1)
        return beyond

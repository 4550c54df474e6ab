"""A chunk's segments, shared out: each process takes those of its own conversations, and what numbers all others.

A pair of endpoints belongs to one process, told by its ports: whatever conversations it has, they are there. But they
are numbered over the whole capture, as Wireshark does, and for that every process needs a few rows of all: the tellers.
The rows of a pair up to its next SYN, in one chunk, are a run, and certainly of one conversation. What `numbering` asks
of a run is which number each side's first packets tell; so its first row of each kind tells all, beside what opens.
The others have the number of the first teller of their run. A test demands that this is what numbering all rows gives.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tlspcap.wire.blocks import ACK, SYN
from tlspcap.wire.columns import COUNTED, MUTE, Int32, Int64, Segments
from tlspcap.wire.numbering import PORT_BITS, runs

_KINDS = 8  # of rows in a run: from which end, with an ACK or not, mute or not
_GOLDEN = 0x9E37_79B1  # 2**32 over the golden ratio: its multiples are spread evenly

Mask = npt.NDArray[np.bool_]


class Totals(NamedTuple):
    """What is known of all segments of a chunk."""

    segments: int  # real ones
    payload: int  # bytes of them on the wire
    earliest: int  # ns, the smallest time of any row
    latest: int
    stepped_back: int  # ns, the most that a row's time lies before the largest one so far in the chunk


@dataclass(slots=True, eq=False)
class Part:
    """What one process takes of a chunk."""

    own: Segments  # of its conversations
    clock: Int64  # of each of them: the largest time in the chunk so far
    leader: Int32  # of each of them: index of the first teller of its run
    same_way: Mask  # of each of them: whether that one's sender sent it
    tellers: Segments  # of all conversations, in file order
    teller_clock: Int64
    totals: Totals

    def __len__(self) -> int:
        return self.totals.segments


class Split:
    """The segments of a chunk, looked at as a whole."""

    def __init__(self, segments: Segments) -> None:
        self._segments = segments
        source = segments.source.astype(np.int64) << PORT_BITS | segments.source_port
        target = segments.target.astype(np.int64) << PORT_BITS | segments.target_port
        self._from_low = source <= target
        self._clock = np.maximum.accumulate(segments.time)
        self._run = runs(np.minimum(source, target), np.maximum(source, target), segments.flags)
        first, self._tellers = self._telling()
        self._leader = np.searchsorted(self._tellers, first).astype(np.int32)[self._run]
        self._same_way = self._from_low == self._from_low[first][self._run]

    def _telling(self) -> tuple[Int64, Int64]:
        """Return the first row of each run, and all rows that tell something."""
        flags, rows = self._segments.flags, np.arange(len(self._segments))
        kind = self._run * _KINDS + (self._from_low * 4 + (flags & ACK != 0) * 2 + (flags & MUTE != 0))
        count = int(self._run.max(initial=-1)) + 1
        first = np.full(count * _KINDS, len(rows), dtype=np.int64)
        first[kind[::-1]] = rows[::-1]  # the last value assigned stays: backwards, that is the first row
        telling = np.zeros(len(rows) + 1, dtype=np.bool_)
        telling[first] = True
        telling[:-1] |= flags & SYN != 0
        return first.reshape(count, _KINDS).min(axis=1, initial=len(rows)), np.flatnonzero(telling[:-1])

    def totals(self) -> Totals:
        """Sum up all rows."""
        time, length = self._segments.time, self._segments.length
        if not len(time):
            return Totals(0, 0, 0, 0, 0)
        real = self._segments.flags < COUNTED
        span = int(time.min()), int(self._clock[-1]), int((self._clock - time).max())
        return Totals(int(np.count_nonzero(real)), int(length[real].sum()), *span)

    def tellers(self) -> tuple[Segments, Int64]:
        """Return the rows that number all others, and the clock at each."""
        return self._segments.of(self._tellers), self._clock[self._tellers]

    def of(self, index: int, count: int) -> tuple[Segments, Int64, Int32, Mask]:
        """Return what share `index` of `count` takes as its own: segments, clock, leaders, directions."""
        chosen = self._segments.flags < COUNTED  # others count for numbering alone: of no more use behind it
        if count > 1:
            chosen &= share_of(self._segments, count) == index
        rows = slice(None) if chosen.all() else np.flatnonzero(chosen)
        own = self._segments if isinstance(rows, slice) else self._segments.of(rows)
        return own, self._clock[rows], self._leader[rows], self._same_way[rows]


def share_of(segments: Segments, count: int) -> Int64:
    """Return whose segments these are: the same for both directions of all conversations of a pair of endpoints."""
    mixed = (segments.source_port.astype(np.int64) + segments.target_port) * _GOLDEN & 0xFFFF_FFFF
    share: Int64 = mixed * count >> 32
    return share


def part_of(segments: Segments, index: int, count: int) -> Part:
    """Take one share of a chunk's segments."""
    split = Split(segments)
    return Part(*split.of(index, count), *split.tellers(), split.totals())

"""The orderly beginning of conversations, by column: SYN, SYN-ACK, ACK, then segments that are each next in line.

Most handshakes are no more than that. `streams` would make the same of these rows one by one, and takes what comes
behind them: nothing here is a rule of its own, and a test demands that both agree.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import pairwise, repeat
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from tlspcap.transport import Closed, Data, Event
from tlspcap.wire.blocks import (
    ACK,
    ACKED,
    CAPTURED,
    CLOCK,
    FIN,
    FLAGS,
    FRAME,
    IDLE,
    LENGTH,
    LINGER,
    RST,
    SEQ,
    SIDE,
    START,
    SYN,
    TIME,
    ranges,
)
from tlspcap.wire.columns import Bytes, Int64
from tlspcap.wire.direction import MASK
from tlspcap.wire.hello import Mask

LONGEST = 64  # rows of a beginning; what is longer is a transfer, of which most rows are not wanted
OPENING = 3  # rows: SYN, SYN-ACK, ACK
T = TypeVar("T")
SIDES = np.array([[0], [1]])


class End(NamedTuple):
    """One side after the beginning, in the words of `Endpoint` and `Direction`."""

    origin: int
    packets: int
    sent: int
    acknowledged: int
    last_time: int
    fin: int


class Beginning(NamedTuple):
    """What the first rows of a conversation come to."""

    rows: int
    events: list[Event]  # that they make, in order, each behind what it acknowledges
    opener: End
    other: End
    syn_time: int
    syn_ack_time: int
    ack_time: int
    last_time: int  # the largest
    frame: int  # of the last row
    time: int  # of the last row
    closing: bool  # both sides sent a FIN
    deadline: int


def _maker(kind: type[T]) -> Callable[[Iterable[Any]], T]:
    """Return what makes a NamedTuple of its fields without a step of Python."""
    return partial(tuple.__new__, kind)  # type: ignore[type-var]  # a tuple, though no more is said of the kind


_data, _closed, _end, _beginning = _maker(Data), _maker(Closed), _maker(End), _maker(Beginning)


def beginnings(block: Int64, buffer: Bytes, lows: Int64, counts: Int64) -> Iterator[Beginning]:
    """Yield the beginning of each conversation, given which rows of a block are its own; one of 0 rows is not orderly.

    The rows of a conversation begin with its first packet.
    """
    counts = np.minimum(counts, LONGEST)
    return _Columns(block[:, ranges(lows, counts)], counts).beginnings(buffer)


class _Columns:
    """Rows of several conversations, one behind the other, and what TCP's numbers say of each row.

    Behind the first row of a conversation that is not in order, they say nothing. A pair of columns has one for each
    side. SYN and FIN take a sequence number each (RFC 9293 3.4).
    """

    def __init__(self, block: Int64, counts: Int64) -> None:
        self.block = block
        self.counts = counts  # rows of each conversation
        self.first = np.cumsum(counts) - counts  # first row of each
        self.at = np.arange(block.shape[1]) - self._each(self.first)  # place of each row in its conversation
        self.sender = block[SIDE] == SIDES  # pair: whether the side sent the row
        self.fin = block[FLAGS] & FIN != 0
        self.taken = block[LENGTH] + self.fin + (block[FLAGS] & SYN != 0)  # sequence numbers
        self.used = self._before(self.taken)  # pair: sequence numbers that the side took before each row
        self.fins = self._before(self.fin)  # pair: FINs that it sent before
        opening = np.minimum(self.first + SIDES, block.shape[1] - 1)  # pair: row of the side's SYN
        self.initial = self._each(block[SEQ, opening])  # pair: sequence number of it
        self.acknowledged = (block[ACKED] - self._of(~self.sender, self.initial)) & MASK  # sequence numbers
        self.lengths = self._lengths()  # rows of each conversation's beginning
        self.kept = self.at < self._each(self.lengths)  # whether each row is of one
        self.last = np.maximum(self.first + self.lengths - 1, 0)  # last row of each

    def beginnings(self, buffer: Bytes) -> Iterator[Beginning]:
        """Yield the beginning of each conversation."""
        # An ACK of a FIN acknowledges no byte.
        acked = np.minimum(self.acknowledged - 1, self._of(~self.sender, self.used - 1 - self.fins))
        events = self._events(acked, buffer)
        frame, time, clock = self.block[FRAME], self.block[TIME], self.block[CLOCK]
        closing = (self._through(self.fins, self.fin) > 0).all(axis=0)
        deadline = np.where(closing, self._largest(clock, self.fin) + LINGER, clock[self.last] + IDLE)
        opening = [time[np.minimum(self.first + place, self.last)] for place in range(OPENING)]
        facts = [*opening, self._largest(time, np.True_), frame[self.last], time[self.last], closing, deadline]
        ends = self._ends(0, acked), self._ends(1, acked)
        columns = [self.lengths.tolist(), events, *ends, *(fact.tolist() for fact in facts)]
        return map(_beginning, zip(*columns, strict=True))

    def _lengths(self) -> Int64:
        """Count the rows of each conversation before the first that is not in order; 0 without an orderly opening."""
        block, flags = self.block, self.block[FLAGS] & (SYN | RST | ACK)
        expected = np.array([SYN, SYN | ACK, ACK])[np.minimum(self.at, OPENING - 1)]
        opening = (self.taken == 1) & (block[SIDE] == self.at)  # of the first two rows: nothing but a SYN
        third = (self.at != OPENING - 1) | self.sender[0]
        ahead = (block[SEQ] - self._of(self.sender, self.initial)) & MASK
        in_line = ahead == self._of(self.sender, self.used)
        acks = (self.acknowledged >= 1) & (self.acknowledged <= self._of(~self.sender, self.used))
        in_peace = (self.taken == 0) | (self._of(self.sender, self.fins) == 0)  # nothing behind a FIN
        whole = block[CAPTURED] == block[LENGTH]
        in_time = block[CLOCK] <= self._each(block[CLOCK, self.first] + LINGER)  # whatever closes before
        orderly = (flags == expected) & (opening | (self.at > 1)) & third & in_line & (acks | (self.at == 0))
        odd = np.where(orderly & in_peace & whole & in_time, LONGEST, self.at)
        lengths = np.minimum(np.minimum.reduceat(odd, self.first), self.counts)
        return np.where(lengths < OPENING, 0, lengths)

    def _events(self, acked: Int64, buffer: Bytes) -> list[list[Event]]:
        """Make the events of each conversation: of each row what payload it has, then what FIN."""
        given, fins = (np.flatnonzero(self.kept & tells) for tells in (self.block[LENGTH] > 0, self.fin))
        made: list[Event] = [*self._data(given, acked, buffer), *self._closed(fins, acked)]
        rows = np.concatenate([given, fins])
        order = np.argsort(rows, kind="stable")  # of one row, the payload stands before the FIN
        events = list(map(made.__getitem__, order.tolist()))
        edges = np.searchsorted(rows[order], np.append(self.first, len(self.at))).tolist()
        return [events[low:high] for low, high in pairwise(edges)]

    def _data(self, rows: Int64, acked: Int64, buffer: Bytes) -> Iterator[Data]:
        """Make the event of each row's payload."""
        start, stop = self.block[START, rows], self.block[START, rows] + self.block[LENGTH, rows]
        payloads = map(memoryview.tobytes, map(buffer.data.__getitem__, map(slice, start.tolist(), stop.tolist())))
        offset = self._of(self.sender, self.used)[rows] - 1
        said = (*self._sent(rows), offset.tolist(), payloads, acked[rows].tolist(), (self.at[rows] + 1).tolist())
        return map(_data, zip(*said, repeat(0), strict=False))

    def _closed(self, rows: Int64, acked: Int64) -> Iterator[Closed]:
        """Make the event of each row's FIN."""
        facts = (*self._sent(rows), repeat("fin"), acked[rows].tolist(), (self.at[rows] + 1).tolist(), repeat(0))
        return map(_closed, zip(*facts, strict=False))

    def _sent(self, rows: Int64) -> list[list[int]]:
        """Return by whom, in which frame, and when rows were sent."""
        return [self.block[field, rows].tolist() for field in (SIDE, FRAME, TIME)]

    def _ends(self, side: int, acked: Int64) -> Iterator[End]:
        """Yield one side of each conversation."""
        mine = self.sender[side]
        origin = (self.initial[side, self.last] + 1) & MASK
        packets = np.add.reduceat(mine & self.kept, self.first, dtype=np.int64)
        fins = self._through(self.fins, self.fin)[side]
        sent = self._through(self.used, self.taken)[side] - 1 - fins
        acknowledged = self._largest(acked, ~mine & (self.at > 0))
        last_time = self.block[TIME, self._largest(np.arange(len(mine)), mine)]
        columns = (origin, packets, sent, acknowledged, last_time, np.where(fins > 0, sent, -1))
        return map(_end, zip(*(column.tolist() for column in columns), strict=True))

    def _each(self, values: Int64) -> Int64:
        """Give each row the value of its conversation."""
        return np.repeat(values, self.counts, axis=-1)

    def _before(self, amounts: npt.NDArray[Any]) -> Int64:
        """Sum up for each side what its rows before each row, of the same conversation, amount to."""
        mine = self.sender * amounts
        sums = np.cumsum(mine, axis=1) - mine
        before: Int64 = sums - self._each(sums[:, self.first])
        return before

    def _through(self, before: Int64, amounts: npt.NDArray[Any]) -> Int64:
        """Sum up the same for each conversation: what its rows before the last, and the last, amount to."""
        through: Int64 = before[:, self.last] + self.sender[:, self.last] * amounts[self.last]
        return through

    def _of(self, sides: Mask, pair: Int64) -> Int64:
        """Return that one of two columns that is of each row's sender, or its receiver, as `sides` says."""
        chosen: Int64 = np.where(sides[0], pair[0], pair[1])
        return chosen

    def _largest(self, values: Int64, rows: Mask | np.bool_) -> Int64:
        """Return the largest value of each beginning's chosen rows, -1 without one."""
        return np.maximum.reduceat(np.where(self.kept & rows, values, -1), self.first)

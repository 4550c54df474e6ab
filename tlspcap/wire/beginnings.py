"""The orderly beginning of conversations, by column: SYN, SYN-ACK, ACK, then segments that are each next in line.

Most handshakes are no more than that. `streams` would make the same of these rows one by one, and takes what comes
behind them: nothing here is a rule of its own, and a test demands that both agree.
"""

from collections.abc import Iterator
from itertools import islice, repeat
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

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
)
from tlspcap.wire.columns import Bytes, Int64
from tlspcap.wire.direction import MASK
from tlspcap.wire.hello import Mask, alert_segments

LONGEST = 64  # rows of a beginning; what is longer is a transfer, of which most rows are not wanted
OPENING = 3  # rows: SYN, SYN-ACK, ACK
SIDES = np.array([[0], [1]])

# What a row with payload or FIN tells: side, frame, time, offset, start and stop in the buffer, acked, packets so far,
# whether it has a FIN, whether it is an alert.
Line = tuple[int, int, int, int, int, int, int, int, bool, bool]


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
    lines: Iterator[Line]  # to be taken up before the next beginning is
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
    buffer: memoryview  # that the payloads lie in


def beginnings(block: Int64, buffer: Bytes, lows: Int64, counts: Int64) -> Iterator[Beginning | None]:
    """Yield the beginning of each conversation, given which rows of a block are its own; None without an orderly one.

    The rows of a conversation begin with its first packet.
    """
    counts = np.minimum(counts, LONGEST)
    before = np.cumsum(counts) - counts
    rows = np.repeat(lows - before, counts) + np.arange(counts.sum())
    candidates = _Columns(block[:, rows], counts)
    lengths = candidates.orderly()
    if not lengths.any():
        return (None for _ in lengths)
    rows = rows[candidates.at < lengths[candidates.of]]
    found = _Columns(block[:, rows], lengths[lengths > 0]).beginnings(buffer)
    return (next(found) if length else None for length in lengths.tolist())


class _Columns:
    """Rows of several conversations, one behind the other, and what TCP's numbers say of each row.

    A pair of columns has one for each side. SYN and FIN take a sequence number each (RFC 9293 3.4).
    """

    def __init__(self, block: Int64, counts: Int64) -> None:
        self.block = block
        self.counts = counts
        self.first = np.cumsum(counts) - counts  # first row of each conversation
        self.of = np.repeat(np.arange(len(counts)), counts)  # conversation of each row
        self.at = np.arange(len(self.of)) - self.first[self.of]  # place of each row in its conversation
        self.sender = block[SIDE] == SIDES  # pair: whether the side sent the row
        self.fin = block[FLAGS] & FIN != 0
        self.taken = block[LENGTH] + self.fin + (block[FLAGS] & SYN != 0)  # sequence numbers
        self.used = self._before(self.taken)  # pair: sequence numbers that the side took before each row
        self.fins = self._before(self.fin)  # pair: FINs that it sent before
        opening = np.minimum(self.first + SIDES, len(self.of) - 1)  # pair: row of the side's SYN
        self.initial = block[SEQ, opening][:, self.of]  # pair: sequence number of it

    def orderly(self) -> Int64:
        """Count the rows of each conversation before the first that is not in order; 0 without an orderly opening."""
        block, flags = self.block, self.block[FLAGS] & (SYN | RST | ACK)
        expected = np.array([SYN, SYN | ACK, ACK])[np.minimum(self.at, OPENING - 1)]
        opening = (self.taken == 1) & (block[SIDE] == self.at)  # of the first two rows: nothing but a SYN
        third = (self.at != OPENING - 1) | self.sender[0]
        in_line = self._ahead(SEQ, self.sender) == self._of(self.sender, self.used)
        acknowledged = self._ahead(ACKED, ~self.sender)
        acks = (self.at == 0) | ((acknowledged >= 1) & (acknowledged <= self._of(~self.sender, self.used)))
        in_peace = (self.taken == 0) | (self._of(self.sender, self.fins) == 0)  # nothing behind a FIN
        whole = block[CAPTURED] == block[LENGTH]
        in_time = block[CLOCK] <= block[CLOCK, self.first][self.of] + LINGER  # whatever closes before
        orderly = (flags == expected) & (opening | (self.at > 1)) & third & in_line & acks & in_peace & whole & in_time
        lengths = self.counts.copy()
        odd = np.flatnonzero(~orderly)[::-1]
        lengths[self.of[odd]] = self.at[odd]  # the last value assigned stays: the first row
        return np.where(lengths < OPENING, 0, lengths)

    def beginnings(self, buffer: Bytes) -> Iterator[Beginning]:
        """Yield the beginning of each conversation, where all rows are in order."""
        acked = self._acked()
        lines, counts = self._lines(acked, buffer)
        last = self.first + self.counts - 1
        frame, time, clock = self.block[[FRAME, TIME, CLOCK]]
        closing = (self.fins[:, last] + (self.fin & self.sender)[:, last] > 0).all(axis=0)
        deadline = np.where(closing, self._largest(clock, self.fin) + LINGER, clock[last] + IDLE)
        opening = [time[self.first + place] for place in range(OPENING)]
        facts = [*opening, self._largest(time, np.True_), frame[last], time[last], closing, deadline]
        columns = [self.counts.tolist(), map(islice, repeat(lines), counts), self._ends(0, acked), self._ends(1, acked)]
        return map(Beginning._make, zip(*columns, *(fact.tolist() for fact in facts), repeat(buffer.data)))

    def _acked(self) -> Int64:
        """Return how many bytes of the other side each row acknowledges; the ACK of a FIN is one of no byte."""
        sent = self._of(~self.sender, self.used - 1 - self.fins)
        return np.minimum(self._ahead(ACKED, ~self.sender) - 1, sent)

    def _lines(self, acked: Int64, buffer: Bytes) -> tuple[Iterator[Line], list[int]]:
        """Return what the rows with payload or FIN tell, and how many of them each conversation has."""
        rows = np.flatnonzero((self.block[LENGTH] > 0) | self.fin)
        side, frame, time, start, length = self.block[[SIDE, FRAME, TIME, START, LENGTH]][:, rows]
        offset = self._of(self.sender, self.used)[rows] - 1
        alert = alert_segments(buffer, start, length)
        packets = self.at[rows] + 1
        columns = (side, frame, time, offset, start, start + length, acked[rows], packets, self.fin[rows], alert)
        counts = np.bincount(self.of[rows], minlength=len(self.counts))
        return zip(*(column.tolist() for column in columns), strict=True), counts.tolist()

    def _ends(self, side: int, acked: Int64) -> Iterator[End]:
        """Yield one side of each conversation."""
        last, mine = self.first + self.counts - 1, self.sender[side]
        origin = (self.initial[side, last] + 1) & MASK
        packets = np.add.reduceat(mine, self.first, dtype=np.int64)
        fins = self.fins[side, last] + (self.fin & mine)[last]
        sent = self.used[side, last] + np.where(mine, self.taken, 0)[last] - 1 - fins
        acknowledged = self._largest(acked, ~mine & (self.at > 0))
        last_time = self.block[TIME, self._largest(np.arange(len(mine)), mine)]
        columns = (origin, packets, sent, acknowledged, last_time, np.where(fins > 0, sent, -1))
        return map(End._make, zip(*(column.tolist() for column in columns), strict=True))

    def _before(self, amounts: npt.NDArray[Any]) -> Int64:
        """Sum up for each side what its rows before each row, of the same conversation, amount to."""
        mine = np.where(self.sender, amounts, 0)
        sums = np.cumsum(mine, axis=1) - mine
        before: Int64 = sums - sums[:, self.first][:, self.of]
        return before

    def _of(self, sides: Mask, pair: Int64) -> Int64:
        """Return that one of two columns that is of each row's sender, or its receiver, as `sides` says."""
        chosen: Int64 = np.where(sides[0], pair[0], pair[1])
        return chosen

    def _ahead(self, field: int, sides: Mask) -> Int64:
        """Return how far each row's sequence or ACK number lies ahead of the initial one of its sender or receiver."""
        ahead: Int64 = (self.block[field] - self._of(sides, self.initial)) & MASK
        return ahead

    def _largest(self, values: Int64, rows: Mask | np.bool_) -> Int64:
        """Return the largest value of each conversation's chosen rows, -1 without one."""
        return np.maximum.reduceat(np.where(rows, values, -1), self.first)

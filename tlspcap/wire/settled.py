"""Conversations whose consumer is done: what their further rows add up to, by column.

Of such a conversation only FIN, SYN, RST and alerts are still of interest one by one; all other rows are counted. A
download has thousands of them, and of many conversations at once, so they are summed up together: nothing here is a
rule of its own, `streams` comes to the same row by row, and a test demands that both agree.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tlspcap.wire.blocks import ACK, ACKED, CAPTURED, CLOCK, FIN, FLAGS, FRAME, LENGTH, RST, SEQ, SIDE, START, SYN, TIME
from tlspcap.wire.columns import Bytes, Int64
from tlspcap.wire.direction import MASK, Direction
from tlspcap.wire.hello import Mask, alert_segments

UNUSUAL = FIN | SYN | RST
REGULAR = 1 << 28  # bytes around the highest byte seen within which it does not matter in which order rows are counted
_HALF = 0x8000_0000

Sides = tuple[Direction, ...]  # both of a conversation
Pair = tuple[int, int]  # of the opener, and of the other side


class Tally(NamedTuple):
    """What rows of one conversation add up to."""

    packets: Pair  # that each side sent
    beyond: Pair  # payload bytes that it sent beyond the highest one before
    last_time: Pair  # ns, of its last packet
    acked: Pair  # the highest ACK number that the other side sent it, -1 without one
    latest: int  # ns, the largest time
    frame: int  # of the last row, as the next two
    time: int
    clock: int


def telling_rows(block: Int64, buffer: Bytes) -> Mask:
    """Whether each row must be looked at: it opens, closes or resets, or is one whole alert record."""
    telling: Mask = (block[FLAGS] & UNUSUAL != 0) | alert_segments(buffer, block[START], block[CAPTURED])
    return telling


def tallies(block: Int64, counts: Int64, telling: Mask, sides: Sequence[Sides]) -> list[Tally | None]:
    """Sum up the rows of each conversation, given how many are its own, one conversation behind the other.

    None where they have to be taken one by one: where some are telling, or lie far from the bytes seen last.
    """
    known = _Known(block, counts, sides)
    first, last = np.cumsum(counts) - counts, np.cumsum(counts) - 1
    regular = ~np.logical_or.reduceat(telling | known.odd, first)
    at, time = np.arange(block.shape[1]), block[TIME]
    payload = np.where(block[LENGTH] > 0, known.ahead + block[LENGTH], 0)

    def largest(values: Int64, rows: tuple[Mask, Mask], least: int) -> list[Int64]:
        return [np.maximum.reduceat(np.where(mine, values, least), first) for mine in rows]

    sent = block[SIDE] == 0, block[SIDE] == 1
    packets = [np.add.reduceat(mine, first, dtype=np.int64) for mine in sent]
    beyond = largest(payload, sent, 0)
    last_time = [time[rows] for rows in largest(at, sent, 0)]
    acked = known.ack_numbers(largest(known.acked_ahead, (known.acks & sent[1], known.acks & sent[0]), -_HALF))
    ends = np.maximum.reduceat(time, first), *(block[field, last] for field in (FRAME, TIME, CLOCK))
    pairs = (zip(*(side.tolist() for side in pair), strict=True) for pair in (packets, beyond, last_time, acked))
    found = map(Tally._make, zip(*pairs, *(end.tolist() for end in ends), strict=True))
    return [tally if fits else None for tally, fits in zip(found, regular.tolist(), strict=True)]


class _Known:
    """What was known of each row's conversation before, and how far the row's numbers lie ahead of that."""

    def __init__(self, block: Int64, counts: Int64, sides: Sequence[Sides]) -> None:
        facts = [(me.origin, me.end.sent, max(me.end.acknowledged, 0), me.end.packets) for pair in sides for me in pair]
        origin, sent, acknowledged, packets = np.array(facts, dtype=np.int64).T
        sender = np.repeat(np.arange(0, 2 * len(sides), 2), counts) + block[SIDE]  # place among the facts
        receiver = sender ^ 1
        self._acknowledged = origin + acknowledged
        self.acks = block[FLAGS] & ACK != 0
        self.ahead = _signed(block[SEQ] - (origin + sent)[sender])
        self.acked_ahead = _signed(block[ACKED] - self._acknowledged[receiver])
        far = np.abs(self.ahead) > REGULAR
        far_ack = (np.abs(self.acked_ahead) > REGULAR) | (origin < 0)[receiver]
        self.odd: Mask = far | (packets == 0)[sender] | (self.acks & far_ack)

    def ack_numbers(self, ahead: list[Int64]) -> list[Int64]:
        """Turn distances back into ACK numbers; -1 where there was none."""
        return [np.where(side > -_HALF, side + self._acknowledged[at::2] & MASK, -1) for at, side in enumerate(ahead)]


def _signed(differences: Int64) -> Int64:
    """Read differences of sequence numbers as the nearest signed numbers: `direction.signed32` for a column."""
    signed: Int64 = (differences + _HALF & MASK) - _HALF
    return signed

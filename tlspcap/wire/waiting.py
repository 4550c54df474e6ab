"""Packets that wait, copied out of the chunk they came in, until their conversation is decided."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tlspcap.wire.blocks import CAPTURED, START, Blocks
from tlspcap.wire.columns import Bytes, Int64

MAX_WAITING_PACKETS = 2_000_000  # of all undecided conversations; beyond, the oldest conversations are let go
MAX_WAITING_BYTES = 1 << 28  # payload of them, the same
MAX_POOLS = 16  # chunks whose waiting packets lie apart


class _Pool(NamedTuple):
    """Waiting packets by conversation, then row."""

    number: Int64
    block: Int64
    buffer: Bytes


class WaitingRoom:
    """Keeps the packets of undecided conversations, some 90 bytes each beside their payload."""

    def __init__(self) -> None:
        self._pools: list[_Pool] = []

    def keep(self, number: Int64, block: Int64, buffer: Bytes) -> None:
        """Copy rows of a chunk, each of a conversation."""
        if len(number):
            order = np.argsort(number, kind="stable")
            self._pools.append(_packed(number[order], block[:, order], buffer))

    def of(self, number: int) -> Blocks:
        """Return the packets of a conversation, in capture order."""
        parts = []
        for pool in self._pools:
            low, high = np.searchsorted(pool.number, (number, number + 1))
            if low < high:
                parts.append((pool.block[:, low:high], pool.buffer))
        return parts

    @property
    def crowded(self) -> bool:
        """Whether it is time to tidy."""
        return len(self._pools) > MAX_POOLS or self._too_much()

    def tidy(self, undecided: npt.NDArray[np.bool_]) -> Int64:
        """Drop what waits for conversations that are decided; return those whose packets no longer fit the bounds.

        `undecided` says it of every conversation number.
        """
        parts = [(pool, np.flatnonzero(undecided[pool.number])) for pool in self._pools]
        packed = [_packed(pool.number[rows], pool.block[:, rows], pool.buffer) for pool, rows in parts]
        bases = np.cumsum([0, *(len(pool.buffer) for pool in packed[:-1])])
        for pool, base in zip(packed, bases.tolist(), strict=True):
            pool.block[START] += base
        self._pools = []
        number = np.concatenate([pool.number for pool in packed])
        self.keep(number, np.concatenate([pool.block for pool in packed], axis=1), _joined(packed))
        driven_out = [number[:0]]
        while self._too_much():
            driven_out.append(self._oldest())
        return np.concatenate(driven_out)

    def _too_much(self) -> bool:
        packets = sum(len(pool.number) for pool in self._pools)
        return packets > MAX_WAITING_PACKETS or sum(len(pool.buffer) for pool in self._pools) > MAX_WAITING_BYTES

    def _oldest(self) -> Int64:
        """Let go of the older half of what waits; return its conversations."""
        (pool,) = self._pools
        half = len(pool.number) // 2
        half = int(np.searchsorted(pool.number, pool.number[half], side="right"))
        self._pools = [_packed(pool.number[half:], pool.block[:, half:], pool.buffer)]
        return np.unique(pool.number[:half])


def _joined(pools: list[_Pool]) -> Bytes:
    return np.concatenate([pool.buffer for pool in pools])


def _packed(number: Int64, block: Int64, buffer: Bytes) -> _Pool:
    """Copy rows with just the payload they refer to."""
    block = block.copy()
    captured = block[CAPTURED]
    before = np.cumsum(captured) - captured
    source = np.repeat(block[START] - before, captured) + np.arange(captured.sum())
    block[START] = before
    return _Pool(number, block, buffer[source])

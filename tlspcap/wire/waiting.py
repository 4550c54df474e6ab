"""Packets that wait, copied out of the chunk they came in, until their conversation is decided."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tlspcap.wire.blocks import FIELDS, Blocks
from tlspcap.wire.columns import Bytes, Int64
from tlspcap.wire.distinct import distinct

MAX_WAITING_PACKETS = 1_000_000  # of all undecided conversations; beyond, the oldest packets are let go
MAX_WAITING_BYTES = 64 << 20  # payload of them, the same
MAX_SMALL = 16  # pools of fewer than SMALL packets that lie apart
SMALL = 1 << 14

_FORMATS = ("i8", "i8", "i8", "u1", "u4", "u4", "u2", "u4", "u4", "u4", "u4")  # of FIELDS
_ROW = np.dtype(list(zip(FIELDS, _FORMATS, strict=True)))

_Rows = npt.NDArray[np.void]
_Numbers = npt.NDArray[np.uint32]
_Mask = npt.NDArray[np.bool_]


class _Pool(NamedTuple):
    """Waiting packets by conversation number, in capture order for each."""

    number: _Numbers
    rows: _Rows
    buffer: Bytes  # their payloads, one behind the other

    def only(self, chosen: _Mask) -> "_Pool":
        """Copy some of the packets."""
        return _packed(self.number[chosen], self.rows[chosen], self.buffer)


class WaitingRoom:
    """Keeps the packets of undecided conversations, some 50 bytes each beside their payload."""

    def __init__(self, shares: int = 1) -> None:
        """`shares`: how many processes have a room like this; together they keep no more than one."""
        self._shares = shares
        self._pools: list[_Pool] = []  # the oldest first

    def keep(self, number: Int64, block: Int64, buffer: Bytes) -> None:
        """Copy rows of a chunk, each of a conversation."""
        if not len(number):
            return
        order = np.argsort(number, kind="stable")
        rows = np.empty(len(number), dtype=_ROW)
        for name, line in zip(FIELDS, block, strict=True):
            rows[name] = line[order]
        self._pools.append(_packed(number[order].astype(np.uint32), rows, buffer))

    def of(self, number: int) -> Blocks:
        """Return the packets of a conversation, in capture order."""
        parts, edges = [], np.array((number, number + 1), dtype=np.uint32)
        for pool in self._pools:
            low, high = np.searchsorted(pool.number, edges)
            if low < high:
                rows = pool.rows[low:high]
                parts.append((np.array([rows[name] for name in FIELDS], dtype=np.int64), pool.buffer))
        return parts

    def tidy(self, undecided: _Mask) -> Int64:
        """Drop what waits for conversations that are decided; return those that lose packets for lack of room.

        `undecided` says it of every conversation number.
        """
        self._pools = [pool for pool in (_without_most(pool, undecided) for pool in self._pools) if len(pool.number)]
        small = [pool for pool in self._pools if len(pool.number) < SMALL]
        if len(small) > MAX_SMALL:
            large = [pool for pool in self._pools if len(pool.number) >= SMALL]
            self._pools = [_joined(small), *large]
        let_go = [np.empty(0, dtype=np.int64)]
        while self._too_much():
            numbers = self._let_go()
            let_go.append(numbers[undecided[numbers]].astype(np.int64))
        every = np.concatenate(let_go)
        return every[distinct(every)[1]]

    def _too_much(self) -> bool:
        packets = sum(len(pool.number) for pool in self._pools)
        size = sum(len(pool.buffer) for pool in self._pools)
        return packets * self._shares > MAX_WAITING_PACKETS or size * self._shares > MAX_WAITING_BYTES

    def _let_go(self) -> _Numbers:
        """Let go of the older half of what waits longest; return the conversation of each packet."""
        oldest = self._pools.pop(0)
        older = oldest.number <= oldest.number[len(oldest.number) // 2]
        if not older.all():
            self._pools.insert(0, oldest.only(~older))
        numbers: _Numbers = oldest.number[older]
        return numbers


def _without_most(pool: _Pool, undecided: _Mask) -> _Pool:
    """Drop the packets of decided conversations where they are half or more."""
    waits = undecided[pool.number]
    return pool.only(waits) if 2 * np.count_nonzero(waits) <= len(waits) else pool


def _joined(pools: list[_Pool]) -> _Pool:
    """Join pools, the oldest first."""
    bases = np.cumsum([0, *(len(pool.buffer) for pool in pools[:-1])]).tolist()
    number = np.concatenate([pool.number for pool in pools])
    rows = np.concatenate([pool.rows for pool in pools])
    rows["start"] += np.repeat(np.array(bases, dtype=np.uint32), [len(pool.number) for pool in pools])
    order = np.argsort(number, kind="stable")
    return _packed(number[order], rows[order], np.concatenate([pool.buffer for pool in pools]))


def _packed(number: _Numbers, rows: _Rows, buffer: Bytes) -> _Pool:
    """Copy the payloads that rows refer to, and let the rows refer to the copy."""
    full = np.flatnonzero(rows["captured"])
    start, size = rows["start"][full].astype(np.int64), rows["captured"][full].astype(np.int64)
    view = buffer.data
    pieces = [view[low:high] for low, high in zip(start.tolist(), (start + size).tolist(), strict=True)]
    rows["start"] = 0
    rows["start"][full] = np.cumsum(size) - size
    return _Pool(number, rows, np.frombuffer(b"".join(pieces), dtype=np.uint8))

"""Numbers conversations as Wireshark does: a SYN with a new initial number starts one, all else joins the newest.

Wireshark's tcp.stream counts, per capture file and from 0, each pair of endpoints on its first packet. A SYN without
ACK whose sequence number is not the initial one known of its sender starts a new conversation of the same endpoints;
a SYN-ACK never does. The initial number known of a side is that of its newest SYN-ACK; else that of its SYN; else that
of its first packet, less one, or the first ACK number that the other side sent before, less one. A header that an ICMP
message quotes, or whose data would begin beyond its packet, counts as a packet, but tells no initial number: only a
SYN-ACK changes one that is known. (Wireshark 4.0.17, checked by its output.)
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tlspcap.wire.columns import MUTE, Int64, Segments
from tlspcap.wire.distinct import among, distinct
from tlspcap.wire.index import Column, Index, Table

SYN, ACK = 2, 16
PORT_BITS = 16
PORT_MASK = 0xFFFF

Mask = npt.NDArray[np.bool_]


class Numbered(NamedTuple):
    """The conversation of each segment of a chunk, and the conversations that began in it."""

    number: Int64  # conversation number of each segment
    stream: Int64  # Wireshark's tcp.stream of each; another one only in files that go on with the one before
    side: Int64  # 0 where the opener sent it: the SYN's sender, else a SYN-ACK's receiver, else who was seen first
    begun: Int64  # row of the first segment of each conversation that began here, in order of their numbers
    replaced: dict[int, int]  # conversations that a newer one of the same endpoints ended, and the row that began it

    def led(self, leader: npt.NDArray[np.int32], same_way: Mask) -> "Numbered":
        """Number rows that are each of the conversation of one of these rows, sent by its sender or to it."""
        side = self.side[leader] ^ ~same_way
        return self._replace(number=self.number[leader], stream=self.stream[leader], side=side)


class _Units(NamedTuple):
    """The rows between two SYNs of one pair of endpoints share a unit, and so a conversation number."""

    unit: Int64  # of each row: the pair's code before the first of `syns`, a code of its own from each of them on
    pair: Int64  # of each unit
    syns: Int64  # row of the SYN that begins each unit from `pairs` on, by pair, then row
    pairs: int


class _Told(NamedTuple):
    """What each unit's rows tell of the initial numbers of the low and the high end, -1 where nothing (units x 2)."""

    firsts: Int64  # by its first packet, or the first ACK of the other side
    synacks: Int64  # by its last SYN-ACK, where the number was not known before
    changes: Int64  # by its last SYN-ACK, where the number was known before

    def after(self, unit: int, before: list[int]) -> list[int]:
        """Return the initial numbers known after a unit, given those before it."""
        told = zip(before, *(numbers[unit].tolist() for numbers in self), strict=True)
        return [_known(*numbers) for numbers in told]


def _known(before: int, first: int, synack: int, change: int) -> int:
    numbers = (change, before) if before >= 0 else (synack, first)
    return next((number for number in numbers if number >= 0), -1)


class Numbering:
    """Gives each TCP segment of a capture file its conversation number, chunk after chunk."""

    def __init__(self) -> None:
        # An endpoint is an address number and a port, packed; low and high order them.
        self._pairs = Index()
        self._newest = Table(number=np.int32)  # of each pair, its newest conversation's number
        # Of each conversation; initial numbers that are not known are -1.
        self.table = Table(pair=np.int32, opener_low=np.bool_, low_first=np.int64, high_first=np.int64)

    def number(self, segments: Segments) -> Numbered:
        """Number the segments of a chunk that follows the ones before."""
        source = segments.source.astype(np.int64) << PORT_BITS | segments.source_port
        target = segments.target.astype(np.int64) << PORT_BITS | segments.target_port
        from_low = source <= target
        low, high = np.minimum(source, target), np.maximum(source, target)
        code, first_row = distinct(low, high)
        pairs = self._pairs.add(low[first_row], high[first_row])
        self._newest.append(len(self._pairs) - self._newest.rows, number=-1)
        known = self._newest["number"][pairs].astype(np.int64)

        units = _units(code, _syns_to_judge(segments.flags, code, known, first_row))
        firsts, first_told = self._firsts(segments, from_low, units, known)
        told = _Told(firsts, *_synacks(segments, from_low, units, first_told))
        joins = dict(self._joins(segments, from_low, units, known, told))
        number, begun = self._numbers(units, known, first_row, joins)
        unit_of_begun = units.unit[begun]
        pair = pairs[units.pair[unit_of_begun]]
        synack = segments.flags[begun] & (SYN | ACK) == SYN | ACK
        opener_low = from_low[begun] ^ synack
        self.table.append(len(begun), pair=pair, opener_low=opener_low, low_first=-1, high_first=-1)
        self._remember(number, told, list(joins))
        replaced = self._register(pair, begun)
        numbers = number[units.unit]
        side = (from_low != self.table["opener_low"][numbers]).astype(np.int64)
        return Numbered(numbers, numbers, side, begun, replaced)

    def endpoints(self, numbers: Int64) -> tuple[Int64, Int64]:
        """Return the openers and the other ends of conversations: address number << PORT_BITS | port."""
        pair = self.table["pair"][numbers]
        low, high = self._pairs.keys["first"][pair], self._pairs.keys["second"][pair]
        opener_low = self.table["opener_low"][numbers]
        return np.where(opener_low, low, high), np.where(opener_low, high, low)

    def _firsts(self, segments: Segments, from_low: Mask, units: _Units, known: Int64) -> tuple[Int64, Int64]:
        """Return what the first rows of each unit tell of the initial numbers of both ends, and which rows those are.

        Where nothing tells, the row is behind all.
        """
        firsts = np.full((len(units.pair), 2), -1, dtype=np.int64)
        first_told = np.full((len(units.pair), 2), len(segments), dtype=np.int64)
        rows = np.flatnonzero(self._untold(units, known)[units.unit] & (segments.flags & MUTE == 0))
        flags, unit, low_sent = segments.flags[rows], units.unit[rows], from_low[rows]
        own = segments.seq[rows] - (flags & SYN == 0)
        told = segments.ack[rows] - 1
        for side in (0, 1):
            mine = low_sent if side == 0 else ~low_sent
            tells = np.flatnonzero(mine | (flags & ACK != 0))[::-1]
            # The last value assigned to an index stays: backwards, that is the first row of each unit.
            firsts[unit[tells], side] = np.where(mine[tells], own[tells], told[tells]) & 0xFFFF_FFFF
            first_told[unit[tells], side] = rows[tells]
        return firsts, first_told

    def _untold(self, units: _Units, known: Int64) -> Mask:
        """Whether the first rows of a unit may tell an initial number that is not known."""
        table, at = self.table, known[units.pair]
        told = np.zeros(len(at), dtype=np.bool_)
        seen = at >= 0
        told[seen] = (table["low_first"][at[seen]] >= 0) & (table["high_first"][at[seen]] >= 0)
        told[units.pairs :] = False
        return ~told

    def _numbers(self, units: _Units, known: Int64, first_row: Int64, joins: dict[int, int]) -> tuple[Int64, Int64]:
        """Return the number of each unit, and the first rows of those that begin a conversation."""
        number = np.concatenate([known, np.full(len(units.syns), -1, dtype=np.int64)])
        fresh = [unit for unit in range(units.pairs, len(number)) if unit not in joins]
        new = np.concatenate([np.flatnonzero(known < 0), np.array(fresh, dtype=np.int64)])
        rows = np.concatenate([first_row, units.syns])[new]
        order = np.argsort(rows)
        number[new[order]] = self.table.rows + np.arange(len(new))
        for unit, before in joins.items():
            number[unit] = number[before]
        return number, rows[order]

    def _joins(
        self, segments: Segments, from_low: Mask, units: _Units, known: Int64, told: _Told
    ) -> Iterator[tuple[int, int]]:
        """Yield (unit, unit before) for the SYNs that only repeat what their conversation's sender began with."""
        pair, initial = -1, [-1, -1]
        for at, row in enumerate(units.syns.tolist(), start=units.pairs):
            before = at - 1
            if units.pair[at] != pair:
                pair = before = int(units.pair[at])
                initial = told.after(pair, self._initial(int(known[pair])))
            side = 0 if from_low[row] else 1
            if initial[side] in (-1, int(segments.seq[row])):
                initial = told.after(at, initial)
                yield at, before
            else:
                initial = told.after(at, [-1, -1])

    def _initial(self, number: int) -> list[int]:
        """Return the initial numbers known of a conversation's low and high endpoint."""
        return [-1, -1] if number < 0 else [int(self.table[name][number]) for name in ("low_first", "high_first")]

    def _remember(self, number: Int64, told: _Told, joining: list[int]) -> None:
        """Take over the initial numbers told: by the first unit of each conversation, then by those that join it."""
        begins = np.ones(len(number), dtype=np.bool_)
        begins[joining] = False
        units = np.flatnonzero(begins)
        for side, name in enumerate(("low_first", "high_first")):
            before = self.table[name][number[units]]
            first, synack, change = (numbers[units, side] for numbers in told)
            fresh = np.where(synack >= 0, synack, first)
            self.table[name][number[units]] = np.where(before < 0, fresh, np.where(change >= 0, change, before))
        for unit, at in zip(joining, number[joining].tolist(), strict=True):
            self.table["low_first"][at], self.table["high_first"][at] = told.after(unit, self._initial(at))

    def _register(self, pair: Int64, row: Int64) -> dict[int, int]:
        """Make the conversations begun last the newest of their endpoints; return those they replace, by row."""
        order = np.argsort(pair, kind="stable")
        pair, row, number = pair[order], row[order], self.table.rows - len(pair) + order
        before = self._newest["number"][pair].astype(np.int64)
        again = np.flatnonzero(np.diff(pair, prepend=-1) == 0)  # the one before began in this chunk too
        before[again] = number[again - 1]
        self._newest["number"][pair] = number  # the last value assigned stays
        replacing = before >= 0
        return dict(zip(before[replacing].tolist(), row[replacing].tolist(), strict=True))


def runs(low: Int64, high: Int64, flags: Column) -> Int64:
    """Number the runs of a chunk's rows, each of one conversation: those of a pair of endpoints up to its next SYN."""
    code, first_row = distinct(low, high)
    syns = np.flatnonzero(flags & (SYN | ACK) == SYN)
    return _units(code, syns[first_row[code[syns]] != syns]).unit


def _syns_to_judge(flags: Column, code: Int64, known: Int64, first_row: Int64) -> Int64:
    """Return the rows of SYNs that may begin a conversation of endpoints seen before."""
    syns: Int64 = np.flatnonzero(flags & (SYN | ACK) == SYN)
    opening: Mask = (known[code[syns]] < 0) & (first_row[code[syns]] == syns)
    judged: Int64 = syns[~opening]
    return judged


def _units(code: Int64, syns: Int64) -> _Units:
    """Split the rows of each pair of endpoints at its SYNs."""
    pairs = int(code.max(initial=-1)) + 1
    every = np.arange(pairs, dtype=np.int64)
    if not len(syns):
        return _Units(code, every, syns, pairs)
    split = np.zeros(pairs, dtype=np.bool_)
    split[code[syns]] = True
    rows = np.flatnonzero(split[code])
    rows = rows[np.argsort(code[rows], kind="stable")]
    judged = among(rows, syns)
    count = np.cumsum(judged)
    # SYNs of the pairs before are none of this pair's: the count at each pair's first row is where it starts.
    starts = np.flatnonzero(np.diff(code[rows], prepend=-1))
    before: Int64 = np.repeat(count[starts] - judged[starts], np.diff(starts, append=len(rows)))
    unit = code.copy()
    unit[rows] = np.where(count == before, code[rows], pairs + count - 1)
    ordered = rows[judged]
    return _Units(unit, np.concatenate([every, code[ordered]]), ordered, pairs)


def _synacks(segments: Segments, from_low: Mask, units: _Units, first_told: Int64) -> tuple[Int64, Int64]:
    """Return for each unit the sequence numbers of its last SYN-ACK from the low and from the high end, else -1.

    The first are of those that count where nothing was known before: a mute one only behind what tells a number.
    """
    synacks, changes = (np.full((len(units.pair), 2), -1, dtype=np.int64) for _ in range(2))
    rows = np.flatnonzero(segments.flags & (SYN | ACK) == SYN | ACK)
    ends = units.unit[rows], np.where(from_low[rows], 0, 1)
    changes[ends] = segments.seq[rows]
    counts = (segments.flags[rows] & MUTE == 0) | (rows > first_told[ends])
    rows, (unit, side) = rows[counts], (end[counts] for end in ends)
    synacks[unit, side] = segments.seq[rows]
    return synacks, changes

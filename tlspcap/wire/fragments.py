"""IP fragments wait here for one another (RFC 791 3.2, RFC 8200 4.5).

A datagram is whole when all its bytes were on the wire, captured or not; what comes after the first byte that was not
captured is not used. Where fragments overlap, the first that came wins. What is given up on is counted: datagrams
that wait too long, and the oldest where too much waits. The clock is the largest time of a fragment so far.
"""

from bisect import insort
from collections import Counter
from typing import NamedTuple

from tlspcap.wire.columns import IP_FRAGMENT, FileFacts
from tlspcap.wire.single import Packet

MOST_DATAGRAMS = 1_000  # that wait at once
MOST_BYTES = 16 << 20  # captured bytes that wait at once
MOST_FRAGMENTS = 200  # of one datagram: as many as 64 KB in packets of 576 bytes need, and some to spare
LARGEST_DATAGRAM = 65_535  # bytes, without the IP header
CROWDED_OUT = "IP packets in fragments were given up: too many waited at once for the rest of theirs"
TOO_MANY_PARTS = "IP packets in fragments were given up: they came in too many"
PATIENCE = 30_000_000_000  # ns; what Linux waits (ipfrag_time)


class Fragment(NamedTuple):
    """One fragment: which datagram it belongs to, and which part of it it is."""

    key: tuple[bytes, bytes, int, int]  # addresses, identification, protocol
    offset: int
    size: int  # bytes on the wire
    captured: bytes
    last: bool
    hides: bool  # TCP may be in the datagram


class _Datagram:
    """The parts of one datagram that are there: no two overlap."""

    def __init__(self, time: int, hides: bool) -> None:
        self.time, self.hides = time, hides
        self.packets = 0
        self.captured = 0
        self.conflicts = False
        self.frames: list[int] = []  # packets that carried it, where somebody asks for them
        self._total: int | None = None
        self._parts: list[tuple[int, int, bytes]] = []  # offset, size on the wire, captured bytes; in order

    def add(self, fragment: Fragment) -> None:
        """Add what is new in a fragment."""
        self.packets += 1
        if fragment.last and self._total is None:
            self._total = fragment.offset + fragment.size
        new, at = [], fragment.offset
        end = at + fragment.size
        for offset, size, captured in self._parts:
            if offset < end and offset + size > at:
                self.conflicts |= _differs(fragment, offset, captured)
                new.append((at, offset))
                at = max(at, offset + size)
        for low, high in [*new, (at, end)]:
            if low < high:
                part = fragment.captured[low - fragment.offset : high - fragment.offset]
                insort(self._parts, (low, high - low, part))
                self.captured += len(part)

    def whole(self) -> Packet | None:
        """Return the datagram's content where all of it was on the wire."""
        if self._total is None or self._total != sum(size for _, size, _ in self._parts):
            return None
        content = b""
        for offset, _, captured in self._parts:
            if offset != len(content):
                break
            content += captured
        return Packet(content, self._total)


def _differs(fragment: Fragment, offset: int, captured: bytes) -> bool:
    """Whether a fragment has other bytes than a part that came before."""
    low = max(offset, fragment.offset)
    high = min(offset + len(captured), fragment.offset + len(fragment.captured))
    return low < high and (
        captured[low - offset : high - offset] != fragment.captured[low - fragment.offset : high - fragment.offset]
    )


class Fragments:
    """The fragments of a capture, one file or several that go on, that wait to be put together."""

    def __init__(self, joined: dict[int, list[int]] | None = None) -> None:
        """`joined`: filled with the frames of each whole datagram, by the frame that completed it, if it is given."""
        self._waiting: dict[tuple[bytes, bytes, int, int], _Datagram] = {}  # oldest first
        self._bytes = 0
        self._clock = 0
        self._conflicts = 0  # datagrams with fragments that overlap in different bytes
        self._lost = 0  # packets given up on in which TCP may have been
        self._caps: Counter[str] = Counter()
        self.joined = joined
        self.base = self.frame = 0  # number of the packet at hand, in two parts, told before it is read

    def add(self, fragment: Fragment, time: int) -> Packet | None:
        """Take a fragment; return the content of its datagram if that is whole now."""
        self._clock = max(self._clock, time)
        self._give_up()
        datagram = self._waiting.setdefault(fragment.key, _Datagram(self._clock, fragment.hides))
        before = datagram.captured, datagram.conflicts
        datagram.add(fragment)
        self._bytes += datagram.captured - before[0]
        self._conflicts += datagram.conflicts and not before[1]
        whole = datagram.whole()
        frame = self.base + self.frame
        if self.joined is not None:
            datagram.frames += self.joined.get(frame, [frame])  # a fragment may itself have come in several
        if whole is not None:
            self._forget(fragment.key)
            if self.joined is not None:
                self.joined[frame] = datagram.frames
        elif datagram.packets >= MOST_FRAGMENTS or fragment.offset + fragment.size > LARGEST_DATAGRAM:
            self._caps[TOO_MANY_PARTS] += datagram.packets >= MOST_FRAGMENTS
            self._lose(fragment.key)
        return whole

    def finish(self, facts: FileFacts) -> None:
        """Give up on all that waits, at the end of the file, and say in the facts what went wrong."""
        for key in list(self._waiting):
            self._lose(key)
        if self._lost:
            facts.unread[IP_FRAGMENT] += self._lost
        facts.conflicting_fragments = self._conflicts
        facts.caps.update(+self._caps)

    def _give_up(self) -> None:
        """Let go of datagrams from the oldest on, while they are too old or too many."""
        while self._waiting:
            key, oldest = next(iter(self._waiting.items()))
            too_old = self._clock - oldest.time > PATIENCE
            too_much = len(self._waiting) >= MOST_DATAGRAMS or self._bytes >= MOST_BYTES
            if not too_old and not too_much:
                return
            self._caps[CROWDED_OUT] += not too_old
            self._lose(key)

    def _forget(self, key: tuple[bytes, bytes, int, int]) -> _Datagram:
        datagram = self._waiting.pop(key)
        self._bytes -= datagram.captured
        return datagram

    def _lose(self, key: tuple[bytes, bytes, int, int]) -> None:
        datagram = self._forget(key)
        self._lost += datagram.packets * datagram.hides

"""What stands in place of the bytes that one side of a conversation sent: pieces by stream offset, zeros elsewhere.

Plans wait in a temporary file until packets are written, so that memory is bounded by the conversations that are open.
"""

import pickle
from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass, field
from tempfile import TemporaryFile
from types import TracebackType
from typing import Self

from tlspcap.transport import UNKNOWN, Endpoint
from tlspcap.wire.direction import MASK, signed32

MOST_AT_HAND = 1_000  # conversations whose plans are in memory while packets are written


@dataclass(slots=True)
class Plan:
    """One side: where its stream begins, and what is said in it."""

    origin: int = UNKNOWN  # sequence number of offset 0
    end: int = 0  # offset behind the highest byte asked for so far
    starts: list[int] = field(default_factory=list)
    pieces: list[bytes] = field(default_factory=list)  # in order, none over another

    def say(self, offset: int, content: bytes) -> None:
        """Add a piece, behind all others."""
        if self.starts and self.starts[-1] + len(self.pieces[-1]) == offset:
            self.pieces[-1] += content
        elif content:
            self.starts.append(offset)
            self.pieces.append(content)

    def payload(self, seq: int, count: int) -> bytes:
        """Return what stands in place of some bytes from a sequence number on."""
        if self.origin == UNKNOWN or not count:
            return bytes(count)
        offset = self.end + signed32((seq - self.origin - self.end) & MASK)
        self.end = max(self.end, offset + count)
        out = bytearray(count)
        at = max(0, bisect_right(self.starts, offset) - 1)
        while at < len(self.starts) and self.starts[at] < offset + count:
            low = max(self.starts[at], offset)
            high = min(self.starts[at] + len(self.pieces[at]), offset + count)
            if low < high:
                out[low - offset : high - offset] = self.pieces[at][low - self.starts[at] : high - self.starts[at]]
            at += 1
        return bytes(out)


@dataclass(slots=True)
class Sides:
    """Both sides of one conversation, each by its address and port."""

    ends: tuple[tuple[bytes, int], tuple[bytes, int]]
    plans: tuple[Plan, Plan] = field(default_factory=lambda: (Plan(), Plan()))

    @classmethod
    def of(cls, opener: Endpoint, other: Endpoint) -> "Sides":
        """Begin the plans of a conversation."""
        return cls(((opener.address, opener.port), (other.address, other.port)))

    def plan(self, address: bytes, port: int) -> Plan:
        """The plan of the side that sends from an address."""
        return self.plans[0 if (address, port) == self.ends[0] else 1]


class Spool:
    """The plans of all conversations, in a temporary file that nobody else can open by name."""

    def __init__(self) -> None:
        self._file = TemporaryFile()  # noqa: SIM115 - closed with the spool
        self._places: dict[tuple[int, int], tuple[int, int]] = {}
        self._at_hand: OrderedDict[tuple[int, int], Sides] = OrderedDict()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def put(self, key: tuple[int, int], sides: Sides) -> None:
        """Lay down the plans of a conversation."""
        content = pickle.dumps(sides, protocol=pickle.HIGHEST_PROTOCOL)
        self._places[key] = self._file.seek(0, 2), len(content)
        self._file.write(content)

    def get(self, key: tuple[int, int]) -> Sides | None:
        """Return the plans of a conversation; None where there are none: all its bytes are zeros."""
        if key not in self._places:
            return None
        if key not in self._at_hand:
            place, size = self._places[key]
            self._file.seek(place)
            self._at_hand[key] = pickle.loads(self._file.read(size))
            if len(self._at_hand) > MOST_AT_HAND:
                self._at_hand.popitem(last=False)
        self._at_hand.move_to_end(key)
        return self._at_hand[key]

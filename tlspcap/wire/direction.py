"""One side of a TCP conversation: its bytes in sequence order, what is missing, what the other side acknowledged.

Offsets count from the byte behind the SYN and never wrap (RFC 9293 3.4 counts modulo 2**32). Where the SYN was not
captured, the origin is a guess: the first ACK number the other side sent, or the first sequence number seen here.
"""

from bisect import insort
from typing import NamedTuple

from tlspcap.transport import UNKNOWN, Closed, Data, Endpoint, Event, Gap

MAX_HELD_SEGMENTS = 64  # segments that wait behind a hole, a side; more, and the hole is given up
MAX_HELD_BYTES = 262_144  # the same, captured payload bytes
PATIENCE = 3  # segments that come after the other side acknowledged a hole's bytes, before the hole is given up
STEP_BACK = 65_536  # a guessed origin yields to earlier bytes this near, while nothing was delivered
FAR = 1 << 30  # the largest window (RFC 7323 2.3): bytes or ACKs further ahead belong to something else
RESET_BEHIND = 65_536  # how far a RST may lie before the highest byte seen ...
RESET_AHEAD = 1 << 20  # ... and behind it, to count
RECENT = 16  # delivered segments kept to compare retransmitted bytes with
MASK = 0xFFFF_FFFF


def signed32(difference: int) -> int:
    """Read a difference of sequence numbers as the nearest signed number (RFC 9293 3.4).

    >>> signed32(5 - 0xFFFF_FFFE), signed32(0xFFFF_FFFE - 5)
    (7, -7)
    """
    return ((difference + 0x8000_0000) & MASK) - 0x8000_0000


class Piece(NamedTuple):
    """New bytes of one segment, on their way to a `Data`: `length` on the wire, of which `payload` was captured."""

    offset: int
    length: int
    payload: bytes
    frame: int
    time: int
    acked: int
    packets: int
    repeats: int

    @property
    def end(self) -> int:
        """Offset of the byte behind."""
        return self.offset + self.length

    def part(self, start: int, end: int) -> "Piece":
        """Return the part of it between two offsets of the stream."""
        payload = self.payload[start - self.offset : end - self.offset]
        return self._replace(offset=start, length=end - start, payload=payload)


class Direction:
    """Puts the segments of one side in order; holds back what lies behind a hole, within fixed bounds."""

    __slots__ = (
        "ack_number",
        "ack_offset",
        "anchored",
        "conflict",
        "crowded",
        "end",
        "fin",
        "fin_event",
        "held",
        "late",
        "next",
        "origin",
        "recent",
        "reset",
        "side",
    )

    def __init__(self, side: int, end: Endpoint) -> None:
        self.side = side
        self.end = end
        self.origin = -1  # sequence number of offset 0, -1 while unknown
        self.anchored = False  # the origin is certain: the SYN was seen
        self.next = 0  # offset up to which all was delivered or given up
        self.held: list[Piece] = []  # behind a hole: disjoint, by offset
        self.late = 0  # segments since the other side acknowledged the bytes of the hole
        self.fin = -1  # offset of the FIN
        self.fin_event: Closed | None = None  # waits for the bytes before it
        self.recent: list[Data] = []
        self.reset = 0  # offset of the RST that counted: it lies behind all bytes that were sent
        self.conflict = 0  # frame that first sent other bytes for the same offsets
        self.crowded = False  # more came behind a hole than may wait
        self.ack_number = -1  # the ACK number last translated, and its offset
        self.ack_offset = UNKNOWN

    def offset_of(self, seq: int, near: int) -> int:
        """Translate a sequence number to the stream offset that lies nearest to another one."""
        return near + signed32(seq - self.origin - near)

    def anchor(self, origin: int) -> None:
        """Take the byte behind a SYN as the origin, a later SYN's too while nothing is delivered."""
        movable = not self.next and (not self.held or (not self.anchored and self._reaches(origin)))
        if self.origin < 0 or movable:
            self._move_origin(origin)
        self.anchored = True
        self.end.opened = True

    def begin(self, seq: int, length: int) -> None:
        """Take note of the side's first packet, where that is no SYN: its bytes may lie before the guessed origin."""
        if self.origin < 0:
            self._move_origin(seq)
            return
        ahead = signed32(seq - self.origin)
        keep_alive = ahead == -1 and length <= 1
        if not self.anchored and not keep_alive and (ahead < 0 or ahead > FAR):
            self._move_origin(seq)

    def acknowledge(self, ack: int) -> int:
        """Translate an ACK number of the other side to an offset here and remember the highest."""
        if self.origin < 0:
            self._move_origin(ack)
        end = self.end
        highest = end.acknowledged if end.acknowledged > 0 else 0
        acked = highest + ((ack - self.origin - highest + 0x8000_0000) & MASK) - 0x8000_0000  # signed32
        if acked - highest > FAR:
            return UNKNOWN
        acked = 0 if acked < 0 else self.fin if 0 <= self.fin < acked else acked
        if acked > end.acknowledged:
            end.acknowledged = acked
        self.ack_number, self.ack_offset = ack, acked
        return acked

    def receive(self, piece: Piece) -> list[Event]:
        """Take a segment with payload, whatever its place; return what can be delivered now."""
        if piece.offset < 0 and not self.next and not self.anchored and piece.offset >= -STEP_BACK:
            back = piece.offset
            self._move_origin((self.origin + back) & MASK)
            piece = piece._replace(offset=0)
        if not self._plausible(piece):
            return []
        self.end.sent = max(self.end.sent, piece.end)
        new = self._uncovered(piece)
        if sum(part.length for part in new) < piece.length:
            self.end.repeated += 1
            new = [part._replace(repeats=part.repeats + 1) for part in new]
        if not new:
            return []
        for part in new:
            insort(self.held, part)
        return self._deliver() or self._wait()

    def close(self, offset: int, event: Closed) -> list[Event]:
        """Take a FIN: it is delivered behind all bytes before it, once."""
        if self.fin < 0 and self.next <= offset <= self.next + FAR:
            self.fin, self.fin_event = offset, event
            self.ack_number = -1
        return self._closed()

    def settle(self) -> list[Event]:
        """Let go of everything held: no more bytes are wanted. A FIN that waits for bytes is delivered."""
        self.held, self.recent = [], []
        self.next = max(self.next, self.fin)
        return self._closed()

    def finish(self, frame: int, time: int) -> list[Event]:
        """Deliver what is held with the gaps before it, then name the bytes that only ACKs, a FIN or a RST prove."""
        events: list[Event] = []
        while self.held:
            events += self._give_up()
        if self.fin_event and self.fin > self.next:
            frame, time = self.fin_event.frame, self.fin_event.time
        # One acknowledged byte behind the last one seen is a FIN that was not captured, more likely than data.
        proven, tolerated = (self.fin, 0) if self.fin >= 0 else (max(self.end.acknowledged, self.reset), 1)
        missing = proven - self.next
        if missing > tolerated:
            events.append(Gap(self.side, frame, time, self.next, missing, "lost"))
            self.next += missing
        return events + self._closed()

    def _reaches(self, origin: int) -> bool:
        """Whether a SYN's origin lies so near before the bytes that are held that they belong to it."""
        return 0 <= signed32(self.origin - origin) <= FAR

    def _move_origin(self, origin: int) -> None:
        """Set the origin; everything known so far keeps its sequence number and changes its offset."""
        shift = signed32(self.origin - origin) if self.origin >= 0 else 0
        self.origin = origin & MASK
        self.ack_number = -1
        self.held = [piece._replace(offset=piece.offset + shift) for piece in self.held]
        self.end.sent = max(0, self.end.sent + shift) if self.end.sent else 0
        if self.end.acknowledged >= 0:
            self.end.acknowledged = max(0, self.end.acknowledged + shift)
        if self.fin >= 0:
            self.fin = max(0, self.fin + shift)

    def _plausible(self, piece: Piece) -> bool:
        """Whether a segment is data of this stream: no keep-alive (RFC 9293 3.8.4), not beyond a window or FIN."""
        if piece.length == 1 and piece.offset == self.end.sent - 1:
            return False
        return piece.offset - self.next <= FAR and not 0 <= self.fin <= piece.offset

    def _uncovered(self, piece: Piece) -> list[Piece]:
        """Return the parts of a segment that nobody sent before: the bytes first seen win."""
        if piece.offset < self.next:
            for event in self.recent[-RECENT:]:
                self._compare(piece, event.offset, event.payload)
            if piece.end <= self.next:
                return []
            piece = piece.part(self.next, piece.end)
        parts = []
        for held in self.held:
            if held.end <= piece.offset:
                continue
            if held.offset >= piece.end:
                break
            self._compare(piece, held.offset, held.payload)
            if held.offset > piece.offset:
                parts.append(piece.part(piece.offset, held.offset))
            if held.end >= piece.end:
                return parts
            piece = piece.part(held.end, piece.end)
        return [*parts, piece]

    def _compare(self, piece: Piece, offset: int, seen: bytes) -> None:
        """Remember the frame that first sends other bytes than were seen for the same offsets."""
        start = max(piece.offset, offset)
        end = min(piece.offset + len(piece.payload), offset + len(seen))
        mine = piece.payload[start - piece.offset : end - piece.offset]
        if start < end and not self.conflict and mine != seen[start - offset : end - offset]:
            self.conflict = piece.frame

    def _deliver(self) -> list[Event]:
        """Deliver the held pieces that are next in line, and the FIN if its turn has come."""
        events: list[Event] = []
        count = 0
        for piece in self.held:
            if piece.offset != self.next:
                break
            count += 1
            events += self._events_of(piece)
            self.next = piece.end
        if count:
            del self.held[:count]
            self.late = 0
        return events + self._closed()

    def _events_of(self, piece: Piece) -> list[Event]:
        """Return the captured bytes of a piece, then the gap that the snapshot length cut."""
        offset, length, payload, frame, time, *facts = piece
        events: list[Event] = []
        if payload:
            data = Data(self.side, frame, time, offset, payload, *facts)
            events.append(data)
            self.recent.append(data)
        if len(payload) < length:
            events.append(Gap(self.side, frame, time, offset + len(payload), length - len(payload), "snaplen"))
        return events

    def _wait(self) -> list[Event]:
        """Judge a hole once more, now that another segment is held: a loss, or mere reordering."""
        if self.end.acknowledged >= self.held[0].offset:
            self.late += 1
        events: list[Event] = []
        while self.held and (self._too_much() or self.late >= PATIENCE):
            events += self._give_up()
        return events

    def _too_much(self) -> bool:
        segments, captured = len(self.held), sum(len(piece.payload) for piece in self.held)
        too_much = segments > MAX_HELD_SEGMENTS or captured > MAX_HELD_BYTES
        self.crowded |= too_much
        return too_much

    def _give_up(self) -> list[Event]:
        """Give up the first hole and deliver what lies behind it."""
        first = self.held[0]
        gap = Gap(self.side, first.frame, first.time, self.next, first.offset - self.next, "lost")
        self.next = first.offset
        return [gap, *self._deliver()]

    def _closed(self) -> list[Event]:
        """Return the waiting FIN if all bytes before it were delivered."""
        event = self.fin_event
        if event is None or self.next < self.fin:
            return []
        self.fin_event = None
        if self.end.closed:
            return []
        self.end.closed = "fin"
        return [event]

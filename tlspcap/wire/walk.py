"""Walks the chain of packet headers of a classic pcap: each header says how far off the next one is.

Walking one by one costs a quarter of a microsecond a packet in Python. So a large window is cut into pieces, a header
is guessed in each, and all pieces are walked at once, a column of offsets a step. A guess decides nothing: its piece
counts only where the walk through the pieces before it ends exactly there; any other piece is walked again, singly.
"""

from itertools import pairwise
from struct import Struct

import numpy as np

from tlspcap.wire.columns import MAX_PACKET, Int64

HEADER = 16  # seconds, fraction, captured length, length on the wire: 32 bits each (draft-ietf-opsawg-pcap 5)
PIECE = 1 << 16  # bytes
_TRIES = 16  # places tried for a guess
_FEWEST_PIECES = 16  # below that, walking singly is as fast


class Walker:
    """Walks the packet headers of one file; `order` is its byte order for struct, `header` the size of each."""

    def __init__(self, order: str, piece: int = PIECE, header: int = HEADER) -> None:
        self._order, self._piece, self._header = order, piece, header
        self._number = Struct(order + "I").unpack_from
        # The upper half of the seconds is the same for 18 hours: headers are looked for by those two bytes.
        self._mark_at = 2 if order == "<" else 0

    def walk(self, raw: bytearray, position: int, end: int) -> tuple[Int64, int]:
        """Return the offsets of the headers from `position` on that lie in `raw[:end]` whole, and where the next is.

        Lengths are trusted, whatever they are: the caller looks for the first that is impossible.
        """
        stop = end - self._header + 1  # of the places where a header can begin
        if stop - position < _FEWEST_PIECES * self._piece:
            found, position = self._singly(raw, position, stop)
            return np.array(found, dtype=np.int64), position
        return self._in_pieces(raw, position, stop)

    def _singly(self, raw: bytearray, position: int, stop: int) -> tuple[list[int], int]:
        number, header, found = self._number, self._header, list[int]()
        append = found.append
        while position < stop:
            append(position)
            position += header + number(raw, position + 8)[0]
        return found, position

    def _in_pieces(self, raw: bytearray, position: int, stop: int) -> tuple[Int64, int]:
        bounds = [*range(position, stop, self._piece), stop]
        mark = bytes(raw[position + self._mark_at : position + self._mark_at + 2])
        starts = [position, *(self._guess(raw, mark, *piece) for piece in pairwise(bounds[1:]))]
        offsets, landings = self._together(raw, np.array(starts), np.array(bounds[1:]))
        good, again = np.zeros(len(starts), dtype=np.bool_), list[int]()
        for piece, (start, until, landing) in enumerate(zip(starts, bounds[1:], landings.tolist(), strict=True)):
            if position == start:  # the guess was right
                good[piece], position = True, landing
            elif position < until:
                found, position = self._singly(raw, position, until)
                again += found
        offsets = offsets[good[(offsets - bounds[0]) // self._piece]]
        return np.sort(np.concatenate([offsets, np.array(again, dtype=np.int64)])), position

    def _guess(self, raw: bytearray, mark: bytes, start: int, stop: int) -> int:
        """Find what looks like a header at or behind `start`; `stop` where nothing does."""
        for _ in range(_TRIES):
            at = raw.find(mark, start + self._mark_at, stop + self._mark_at) - self._mark_at
            if at < start or at >= stop:
                break
            if self._leads_on(raw, mark, at):
                return at
            start = at + 1
        return stop

    def _leads_on(self, raw: bytearray, mark: bytes, at: int) -> bool:
        """Tell whether two further headers follow a possible one, as far as `raw` reaches."""
        for _ in range(2):
            captured = self._number(raw, at + 8)[0]
            at += self._header + captured
            if captured > MAX_PACKET or at + self._header > len(raw):
                return bool(captured <= MAX_PACKET)
            if not raw.startswith(mark, at + self._mark_at):
                return False
        return True

    def _together(self, raw: bytearray, starts: Int64, stops: Int64) -> tuple[Int64, Int64]:
        """Walk from every start up to its stop at once: return all offsets, and where each walk ended."""
        captured = np.ndarray(len(raw) - 3, self._order + "u4", raw, 0, (1,))
        ends, walking = starts.copy(), np.flatnonzero(starts < stops)
        at, until = starts[walking], stops[walking]
        steps = [np.empty(0, dtype=np.int64)]
        while len(walking):
            steps.append(at)
            at = at + self._header + captured[at + 8]
            on = at < until
            if not on.all():
                ends[walking[~on]] = at[~on]
                walking, at, until = walking[on], at[on], until[on]
        return np.concatenate(steps), ends

"""Walks the chain of packet headers of a classic pcap: each header says how far off the next one is.

Walking one by one costs a quarter of a microsecond a packet in Python. So a large window is cut into pieces, a header
is guessed in each, and all pieces are walked at once, a column of offsets a step. A guess decides nothing: its piece
counts only where the walk through the pieces before it ends exactly there; any other piece is walked again, singly.
"""

from itertools import pairwise
from struct import Struct

import numpy as np
import numpy.typing as npt

from tlspcap.wire.columns import MAX_PACKET, Bytes, Int64
from tlspcap.wire.files import Memory, PcapFormat

HEADER = 16  # seconds, fraction, captured length, length on the wire: 32 bits each (draft-ietf-opsawg-pcap 5)
PIECE = 1 << 18  # bytes: a guess in each takes as long as some 60 packets walked singly
_TRIES = 16  # places tried for a guess
_FEWEST_PIECES = 16  # below that, walking singly is as fast

_CHAIN = 4  # headers that have to follow a guessed one
_MOST_GUESSES = 1_000
_ENHANCED = 6  # the type of pcapng's usual block of a packet (draft-ietf-opsawg-pcapng 4.3)
_AROUND = 32  # its bytes around what was captured
_MOST_OPTIONS = 1 << 16  # bytes behind that, in a guess
_SMALLEST_BLOCK = 12
_APART = 7 * 86_400  # seconds that packets which follow one another may lie apart


class Walker:
    """Walks the packet headers of one file; `order` is its byte order for struct, `header` the size of each."""

    def __init__(self, order: str, piece: int = PIECE, header: int = HEADER) -> None:
        self._order, self._piece, self._header = order, piece, header
        self._number = Struct(order + "I").unpack_from
        # The upper half of the seconds is the same for 18 hours: headers are looked for by those two bytes.
        self._mark_at = 2 if order == "<" else 0

    def walk(self, raw: Memory, position: int, end: int) -> tuple[Int64, int]:
        """Return the offsets of the headers from `position` on that lie in `raw[:end]` whole, and where the next is.

        Lengths are trusted, whatever they are: the caller looks for the first that is impossible.
        """
        stop = end - self._header + 1  # of the places where a header can begin
        if stop - position < _FEWEST_PIECES * self._piece:
            found, position = self._singly(raw, position, stop)
            return np.array(found, dtype=np.int64), position
        return self._in_pieces(raw, position, stop)

    def _singly(self, raw: Memory, position: int, stop: int) -> tuple[list[int], int]:
        number, header, found = self._number, self._header, list[int]()
        append = found.append
        while position < stop:
            append(position)
            position += header + number(raw, position + 8)[0]
        return found, position

    def _in_pieces(self, raw: Memory, position: int, stop: int) -> tuple[Int64, int]:
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

    def _guess(self, raw: Memory, mark: bytes, start: int, stop: int) -> int:
        """Find what looks like a header at or behind `start`; `stop` where nothing does."""
        for _ in range(_TRIES):
            at = raw.find(mark, start + self._mark_at, stop + self._mark_at) - self._mark_at
            if at < start or at >= stop:
                break
            if self._leads_on(raw, mark, at):
                return at
            start = at + 1
        return stop

    def _leads_on(self, raw: Memory, mark: bytes, at: int) -> bool:
        """Tell whether two further headers follow a possible one, as far as `raw` reaches."""
        for _ in range(2):
            captured = self._number(raw, at + 8)[0]
            at += self._header + captured
            if captured > MAX_PACKET or at + self._header > len(raw):
                return bool(captured <= MAX_PACKET)
            if raw[at + self._mark_at : at + self._mark_at + 2] != mark:
                return False
        return True

    def _together(self, raw: Memory, starts: Int64, stops: Int64) -> tuple[Int64, Int64]:
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


def find_header(data: Bytes, form: PcapFormat) -> int | None:
    """Guess where the first packet header begins in some bytes of a file: where sane ones follow one another."""
    for reach in (1 << 13, len(data)):  # nearly always, it is near
        reach = min(reach, len(data) - form.header + 1)
        if reach > 0:
            sane = _sane_headers(data, reach, form)
            for at in np.flatnonzero(sane)[:_MOST_GUESSES].tolist():
                if _is_chain(data.data, at, form):
                    return int(at)
    return None


def find_block(data: Bytes, order: str) -> int | None:
    """Guess where the first block of a packet begins in some bytes of a pcapng file: where sane ones follow."""
    count = len(data) - 24 + 1  # of places where the fields that are looked at can begin
    if count <= 0:
        return None
    kind, length, captured = (np.ndarray(count, order + "u4", data, field, (1,)) for field in (0, 4, 20))
    for reach in (1 << 13, count):  # nearly always, it is near
        at = np.flatnonzero(kind[:reach] == _ENHANCED)
        spare = length[at].astype(np.int64) - captured[at] - _AROUND
        sane = (length[at] % 4 == 0) & (captured[at] <= MAX_PACKET) & (spare >= 0) & (spare <= _MOST_OPTIONS)
        for start in at[sane][:_MOST_GUESSES].tolist():
            if _blocks_follow(data.data, start, Struct(order + "I")):
                return int(start)
    return None


def _blocks_follow(data: memoryview, at: int, number: Struct) -> bool:
    """Whether a possible block, and some behind it, have the same length at both ends, as far as the data reaches."""
    for _ in range(_CHAIN):
        if at + 8 > len(data):
            break
        (length,) = number.unpack_from(data, at + 4)
        if length < _SMALLEST_BLOCK or length % 4:
            return False
        at += length
        if at <= len(data) and number.unpack_from(data, at - 4)[0] != length:
            return False
    return True


def _sane_headers(data: Bytes | memoryview, count: int, form: PcapFormat, first: int = 0) -> npt.NDArray[np.bool_]:
    """Whether each of the first places may be one of a header."""
    fraction, captured, wire = (np.ndarray(count, form.order + "u4", data, first + field, (1,)) for field in (4, 8, 12))
    sizes = (captured > 0) & (captured <= MAX_PACKET) & (captured <= wire) & (wire <= 16 * MAX_PACKET)
    sane: npt.NDArray[np.bool_] = sizes & (fraction < 1_000_000_000 // form.fraction)
    return sane


def _is_chain(data: memoryview, at: int, form: PcapFormat) -> bool:
    """Whether sane headers, of times that are near, follow a possible one, as far as the data reaches."""
    number = Struct(form.order + "I").unpack_from
    seconds = number(data, at)[0]
    for _ in range(_CHAIN):
        at += form.header + number(data, at + 8)[0]
        if at + form.header > len(data):
            break
        if not _sane_headers(data, 1, form, at)[0] or abs(number(data, at)[0] - seconds) > _APART:
            return False
    return True

"""Pieces of one capture file, each read by itself, so that several processes can share the work of one.

A piece is some MB of the file, from the first packet header in them to the first in the next ones. Such a header is
guessed: a chain of sane headers must follow. A guess decides nothing: a piece counts only where the walk through the
one before it ended exactly at its start, and the first begins with the file's first packet.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from mmap import mmap
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tlspcap.wire import headers
from tlspcap.wire.columns import COLUMNS, MAX_PACKET, AddressBook, Bytes, FileFacts, Packets, Segments
from tlspcap.wire.fragments import Fragments
from tlspcap.wire.openings import Loaded, Opening
from tlspcap.wire.pcapng import OtherBlocks
from tlspcap.wire.shares import Part, Split, Totals, part_of

LOOK = MAX_PACKET + (1 << 16)  # bytes behind a piece's edge in which a header must begin
LEAD = 64  # bytes of a room before those of the file; the file header of a classic pcap finds room there
# It is no 24: memory that lies up to 32 bytes further into its page than what is copied to it is written half as fast.
MOST_ROWS = 1 << 18  # packets of a piece; one that has more is not shared
ROW_BYTES = 192  # at most, of the columns of a packet
_OF_PART = len(COLUMNS) + 3  # columns of what one process takes of a piece as its own
_PACKET_COLUMNS = ("start", "captured", "wire", "time", "link")

Column = npt.NDArray[Any]
Laid = tuple[str, int, int]  # a column in a room: dtype, offset, entries


class Room:
    """Memory for one piece: the bytes of the file, and behind them the columns that were made of them."""

    def __init__(self, raw: mmap, size: int) -> None:
        self.raw, self.size = raw, size
        self._whole = np.frombuffer(raw, dtype=np.uint8)
        self.buffer: Bytes = self._whole[: _of_file(size)]

    @staticmethod
    def needed(size: int) -> int:
        """Return the bytes of a room for pieces of a size; what is never written takes no memory."""
        return _of_file(size) + MOST_ROWS * ROW_BYTES

    def load(self, file: int, offset: int) -> int:
        """Read a piece and what lies behind its edge; return how many bytes there were."""
        filled, room = 0, memoryview(self.raw)[LEAD : _of_file(self.size) - 64]
        while filled < len(room) and (count := os.preadv(file, [room[filled:]], offset + filled)):
            filled += count
        return filled

    def lay(self, columns: list[Column]) -> list[Laid] | None:
        """Put columns down; None where they do not fit."""
        laid, at = list[Laid](), _of_file(self.size)
        for column in columns:
            if at + column.nbytes > len(self._whole):
                return None
            self._whole[at : at + column.nbytes].view(column.dtype)[:] = column
            laid.append((column.dtype.str, at, len(column)))
            at += column.nbytes + 7 & ~7
        return laid

    def columns(self, laid: list[Laid]) -> Iterator[Column]:
        """Find columns again."""
        for dtype, at, count in laid:
            yield np.frombuffer(self.raw, dtype, count, at)


def _of_file(size: int) -> int:
    """Return the bytes of a room that lie before its columns."""
    return LEAD + size + LOOK + 64 + 4095 & ~4095


class Piece(NamedTuple):
    """What is told of a piece to those who did not read it; its columns lie in the room that it was read into."""

    start: int  # offset in the file of its first packet
    stop: int  # of the next one's
    whole: bool  # whether the walk ended there
    last: bool  # the file ends with it
    facts: FileFacts  # of its packets, numbered from 1
    laid: list[Laid]
    totals: Totals | None = None  # None where it is not shared out: some of it is yet to be read packet by packet


def read_piece(file: int, opening: Opening, name: str, index: int, room: Room, shares: int) -> Piece:
    """Read one piece of an open file into a room, and share it out."""
    low, facts = index * room.size, FileFacts(name)
    try:
        got = room.load(file, low)
    except OSError:  # told by whoever reads the file alone then
        return Piece(low, low, False, False, facts, [])
    start, stop = (_first_packet(room, opening, edge, got) for edge in (0, room.size))
    last = got <= room.size or (stop is None and got < room.size + LOOK)
    start = LEAD + opening.begin if not index else start or LEAD
    stop = LEAD + got if last else stop or LEAD + room.size
    window = Loaded(room.raw, room.buffer, start, stop, low - LEAD)
    columns, totals = _columns(opening.packets(window, facts), facts, shares) if start < stop else ([], None)
    laid = None if columns is None else room.lay(columns)
    whole = laid is not None and (last or (start <= stop and facts.stopped_at is None))
    return Piece(low + start - LEAD, low + stop - LEAD, whole, last, facts, laid or [], totals)


def _first_packet(room: Room, opening: Opening, edge: int, got: int) -> int | None:
    """Find the first packet header at or behind a piece's edge, as the room counts, where the file begins later."""
    at = LEAD + edge
    found = opening.find(room.buffer[at : LEAD + min(edge + LOOK, got)])
    return None if found is None else at + found


def _packets(read: Iterable[Packets]) -> list[Packets] | None:
    """Read the packets of a piece; None where they are too many, or other blocks lie among them."""
    parts = list[Packets]()
    with suppress(OtherBlocks):
        for part in read:
            parts.append(part)
            if part.first_frame + len(part) > MOST_ROWS:
                return None
        return parts
    return None


def _columns(read: Iterable[Packets], facts: FileFacts, shares: int) -> tuple[list[Column] | None, Totals | None]:
    """Make the columns of a piece, and say what they sum up to where they are shared out; None where that cannot be.

    Packets that are left to `rare` go with all columns: how they are read rests on packets of other pieces.
    """
    parts = _packets(read)
    if not parts:
        return (None, None) if parts is None else ([], None)
    packets, book = Packets.together(parts), AddressBook()
    facts.count(packets)
    found, rest = headers.columns(packets, book, facts)
    if len(rest):
        left = [rest, *(getattr(packets, name)[rest] for name in _PACKET_COLUMNS)]
        return [*book.columns(), *_of(found), *left], None
    split = Split(found)
    tellers, clock = split.tellers()
    shared = list[Column]()
    for index in range(shares):
        own, clocks, leader, same_way = split.of(index, shares)
        shared += [*_of(own), clocks, leader, same_way]
    return [*book.columns(), *_of(tellers), clock, *shared], split.totals()


def _of(segments: Segments) -> Iterator[Column]:
    return (getattr(segments, name) for name in COLUMNS)


def part_of_piece(
    piece: Piece,
    room: Room,
    before: int,
    book: AddressBook,
    facts: FileFacts,
    fragments: Fragments,
    share: tuple[int, int],
) -> Part | None:
    """Return one share of a piece, and take over its facts, given how many packets come before it in the file."""
    facts.add(piece.facts)
    if not piece.laid:
        return None
    columns = room.columns(piece.laid)
    numbers = book.numbers_of(*islice(columns, AddressBook.COLUMNS))

    def following() -> Segments:
        found = Segments(room.buffer, *islice(columns, len(COLUMNS)))
        found.source, found.target = numbers[found.source], numbers[found.target]
        found.frame = found.frame + before
        return found

    if piece.totals is None:
        return part_of(_with_rest(following(), list(columns), before, book, facts, fragments), *share)
    tellers, clock = following(), next(columns)
    for _ in range(share[0] * _OF_PART):
        next(columns)
    own = following()
    return Part(own, next(columns), next(columns), next(columns), tellers, clock, piece.totals)


def _with_rest(
    found: Segments, left: list[Column], before: int, book: AddressBook, facts: FileFacts, fragments: Fragments
) -> Segments:
    """Read the packets of a piece that the columns left, and put them between the others."""
    from tlspcap.wire import rare  # with dpkt, which takes long to import: most captures do without

    row, *packets = left  # they are numbered by their places among those left
    rest = rare.segments(Packets(found.buffer, 0, *packets), range(len(row)), book, facts, fragments)
    rest.frame = row[rest.frame] + before + 1
    return found.merged(rest)

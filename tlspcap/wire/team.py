"""Processes that read one capture together: each finds the columns of every n-th piece, all use the columns of all.

Every process sees its segments, and those that number all, in the same order as if it had read the file alone, so
nothing has to be cut or stitched. A piece lies in memory that all share, with its columns; what goes through the
sockets between two processes is short: a piece is read, a piece is used. Where a piece does not begin where the one
before it ended, or cannot be shared, every process reads on alone from there.
"""

import mmap
import os
import pickle
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from select import select
from struct import Struct
from typing import Any, NamedTuple

from tlspcap.errors import TlspcapError
from tlspcap.wire.columns import AddressBook, FileFacts
from tlspcap.wire.fragments import Fragments
from tlspcap.wire.openings import Opening, opening_of
from tlspcap.wire.pcap import Place
from tlspcap.wire.pieces import Piece, Room, part_of_piece, read_piece
from tlspcap.wire.shares import Part

ROOMS = 2  # of each process: one piece is used, while the next is read
_LENGTH = Struct("<I")


class Seat(NamedTuple):
    """What makes a process one of a team: open files of its own, which can be sent to it."""

    number: int
    peers: dict[int, int]  # number of each other process, and the socket to it
    memory: int  # a file that all rooms lie in
    size: int  # bytes of a piece

    def files(self) -> list[int]:
        """Return the open files of the seat."""
        return [*self.peers.values(), self.memory]

    def with_files(self, files: list[int]) -> "Seat":
        """Return the same seat in another process, to which its open files were sent: there they have other numbers."""
        *peers, memory = files
        return self._replace(peers=dict(zip(self.peers, peers, strict=True)), memory=memory)


def seats(count: int, size: int) -> list[Seat]:
    """Make the seats of a team."""
    memory = _memory(count * ROOMS * _room_bytes(size))
    memories = [memory, *(os.dup(memory) for _ in range(1, count))]
    peers: list[dict[int, int]] = [{} for _ in range(count)]
    for one in range(count):
        for other in range(one):
            ends = socket.socketpair()
            peers[one][other], peers[other][one] = (end.detach() for end in ends)
    return [Seat(index, peers[index], memories[index], size) for index in range(count)]


def _memory(size: int) -> int:
    """Open a file that has no name, in memory where that can be had."""
    if hasattr(os, "memfd_create"):
        memory = os.memfd_create("tlspcap")
    else:
        with tempfile.TemporaryFile() as file:
            memory = os.dup(file.fileno())
    os.truncate(memory, size)
    return memory


def _room_bytes(size: int) -> int:
    whole = mmap.ALLOCATIONGRANULARITY
    return (Room.needed(size) + whole - 1) // whole * whole


class _Lent(NamedTuple):
    """A piece that was read here, and the others who have not said yet that they are done with it."""

    at: tuple[int, int]  # number of the file, and of the piece in it
    users: set[int]


class Team:
    """One process' seat among those that read together."""

    def __init__(self, seat: Seat) -> None:
        self._seat, self._count = seat, len(seat.peers) + 1
        self._sockets = {index: socket.socket(fileno=descriptor) for index, descriptor in seat.peers.items()}
        self._rooms = [self._room(number) for number in range(self._count * ROOMS)]
        self._lent: dict[int, _Lent] = {}  # by number of the room
        self._pieces: dict[tuple[int, int], tuple[int, Piece]] = {}  # that are read: number of the room, and piece
        self._file = -1  # number of the file that is read
        self._next = 0  # number of the piece that is to be read here next
        self.meanwhile: Callable[[list[Any]], list[Any]] = lambda sockets: select(sockets, [], [])[0]

    def _room(self, number: int) -> Room:
        size = _room_bytes(self._seat.size)
        return Room(mmap.mmap(self._seat.memory, size, offset=number * size), self._seat.size)

    def close(self) -> None:
        """Leave the team."""
        for each in self._sockets.values():
            each.close()
        os.close(self._seat.memory)

    def parts(
        self, name: str, facts: FileFacts, book: AddressBook, fragments: Fragments, place: Place
    ) -> Iterator[Part]:
        """Read this seat's part of a file, if that can be read in pieces, and say in `place` how far that went."""
        with open(name, "rb", buffering=0) as file:
            opening = opening_of(file.fileno())
            if opening is None:
                return
            self._file, self._next, index, place.offset = self._file + 1, self._seat.number, 0, opening.begin
            while not place.at_end:
                self._read_on(file.fileno(), opening, name, index)
                room, piece = self._piece(index)
                if not piece.whole or piece.start != place.offset:
                    break
                share = self._seat.number, self._count
                found = part_of_piece(piece, self._rooms[room], place.packets, book, facts, fragments, share)
                if found is not None:
                    yield found
                place.offset, place.packets, place.at_end = piece.stop, facts.packets, piece.last
                self._give_back(index)
                index += 1
            self._forget(index)

    def _read_on(self, file: int, opening: Opening, name: str, index: int) -> None:
        """Read the next piece of this process, so that the others have it when they come to it; at least the present.

        What comes next waits until a room is free.
        """
        while self._next < index + self._count:
            self._listen(wait=False)
            while (room := self._free_room()) is None and self._next == index:
                self._listen()
            if room is None:
                return
            at, self._next = (self._file, self._next), self._next + self._count
            piece = read_piece(file, opening, name, at[1], self._rooms[room], self._count)
            self._pieces[at], self._lent[room] = (room, piece), _Lent(at, {self._seat.number, *self._sockets})
            for peer in list(self._sockets):
                self._tell(peer, (at, (room, piece)))

    def _free_room(self) -> int | None:
        """Return a room of this process that nobody uses."""
        first = self._seat.number * ROOMS
        return next((room for room in range(first, first + ROOMS) if room not in self._lent), None)

    def _piece(self, index: int) -> tuple[int, Piece]:
        """Wait for a piece of the present file."""
        at, owner = (self._file, index), index % self._count
        while at not in self._pieces:
            if owner not in self._sockets:
                raise TlspcapError("a process that reads the capture too ended early; try jobs=1")
            self._listen()
        return self._pieces.pop(at)

    def _give_back(self, index: int) -> None:
        """Say that a piece was used here."""
        owner, at = index % self._count, (self._file, index)
        if owner == self._seat.number:
            self._returned(at, owner)
        elif owner in self._sockets:
            self._tell(owner, (at, None))

    def _returned(self, at: tuple[int, int], user: int) -> None:
        """Take note that a process is done with a piece that was read here."""
        for room, lent in list(self._lent.items()):
            if lent.at == at:
                lent.users.discard(user)
                if not lent.users:
                    del self._lent[room]

    def _forget(self, end: int) -> None:
        """Forget the pieces of the present file that nobody will use: those from one on."""
        self._lent = {room: lent for room, lent in self._lent.items() if lent.at < (self._file, end)}
        self._pieces = {at: piece for at, piece in self._pieces.items() if at[0] > self._file}

    def _tell(self, peer: int, message: object) -> None:
        """Send a message; a process that has ended needs none."""
        content = pickle.dumps(message)
        with suppress(BrokenPipeError, ConnectionResetError):
            self._sockets[peer].sendall(_LENGTH.pack(len(content)) + content)

    def _listen(self, wait: bool = True) -> None:
        """Take the messages that have come; wait for some."""
        sockets = {each: peer for peer, each in self._sockets.items()}
        ready = self.meanwhile(list(sockets)) if wait else select(list(sockets), [], [], 0)[0]
        for each in ready:
            peer = sockets[each]
            message = _message(each)
            if message is None:
                self._gone(peer)
                continue
            at, piece = message
            if piece is None:
                self._returned(at, peer)
            elif at[0] >= self._file:
                self._pieces[at] = piece

    def _gone(self, peer: int) -> None:
        """Go on without a process that has ended: it needs no piece any more."""
        self._sockets.pop(peer).close()
        for lent in list(self._lent.values()):
            self._returned(lent.at, peer)


def _message(each: socket.socket) -> Any:
    """Take a message from a socket; None where its process has ended, perhaps in the middle of one."""
    length = _received(each, _LENGTH.size)
    if len(length) < _LENGTH.size:
        return None
    (size,) = _LENGTH.unpack(length)
    content = _received(each, size)
    return pickle.loads(content) if len(content) == size else None


def _received(each: socket.socket, size: int) -> bytes:
    """Take so many bytes from a socket; fewer where its process has ended, also with something left unread."""
    try:
        return each.recv(size, socket.MSG_WAITALL)
    except ConnectionResetError:
        return b""

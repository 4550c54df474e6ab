"""Packed files: gzip, bzip2, xz, zstd and lz4, told by their first bytes, unpacked piece by piece as they are read.

A stream may be of several members, one behind the other, as `cat` makes them. What was unpacked before a break is
given out before the break is told. Python's own file classes will not do: they lose what the step that fails unpacked.
"""

import bz2
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

_READ_BYTES = 1 << 18  # read from the file at once
STEP = 256  # packed bytes of gzip taken at once where it is damaged
_MOST = 1 << 20  # bytes unpacked at once: bzip2 packs 46 MB of zeros into 40 bytes
_ZSTD_FRAME = b"\x28\xb5\x2f\xfd"  # RFC 8878 3.1.1
_ZSTD_HEADER = 18  # bytes of a frame's header, at most (RFC 8878 3.1.1.1)
_ZSTD_BLOCK = 3  # bytes of a block's header (RFC 8878 3.1.1.2)
_REPEATED = 1  # the kind of a block that holds one byte, however long it is
_SKIPPED_HEADER = 8  # bytes of the header of a frame to skip (RFC 8878 3.1.2)
_XZ_MEMORY = 1 << 28  # bytes; `xz -9` needs a quarter of it, and a crafted header could ask for 4 GB


class BrokenPacking(Exception):
    """Packed data that ends too early or makes no sense; never leaves `wire`."""


class Unpacking(NamedTuple):
    """How one format is unpacked."""

    start: Callable[[], Any]  # makes an object as `bz2.BZ2Decompressor` is, for one member
    errors: tuple[type[Exception], ...]


class Packing(NamedTuple):
    """One format. A damaged stream loses what `piece` packed bytes hold, or less; of gzip STEP, of zstd a block."""

    name: str
    magic: bytes
    piece: int  # packed bytes given at once
    load: Callable[[], Unpacking]  # imports what is needed


class _Gzip:
    """One member, by the interface that Python's other decompressors share."""

    def __init__(self) -> None:
        self._inner = self._before = zlib.decompressobj(wbits=31)
        self._given = b""
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, piece: bytes | memoryview, most: int) -> bytes:
        self._before, self._given = self._inner.copy(), self._inner.unconsumed_tail + piece
        unpacked = self._inner.decompress(self._given, most)
        self.needs_input = len(unpacked) < most
        return unpacked

    def before_damage(self) -> Iterator[bytes]:
        """Unpack once more what was given last, in small steps, up to the error."""
        with suppress(zlib.error):
            for at in range(0, len(self._given), STEP):
                yield self._before.decompress(self._given[at : at + STEP])


class _Zstd:
    """One frame of zstd, which takes no limit: it is given one block at a time, which is 128 KB at most unpacked.

    Blocks tell their packed size (RFC 8878 3.1.1.2). What is given can be a part of one: zstd waits for the rest.
    """

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._due = 0  # bytes to come of what was begun: a header, a block, the checksum
        self._in_blocks = False  # behind the frame's header
        self._checksum = 0  # bytes of it
        self._rest = b""  # given, and not yet taken
        self._unpacked: list[bytes] = []
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._inner.unused_data) + self._rest

    def decompress(self, piece: bytes | memoryview, most: int) -> bytes:
        given, at, size = memoryview(self._rest + piece), 0, 0
        self._unpacked, unpack = [], self._inner.decompress
        while at < len(given) and size < most and not self._inner.eof:
            self._due = self._due or self._next_step(given[at : at + _ZSTD_HEADER])
            if not self._due:
                break
            taken = min(self._due, len(given) - at)
            self._unpacked.append(unpack(given[at : at + taken]))
            self._due, at, size = self._due - taken, at + taken, size + len(self._unpacked[-1])
        self._rest = bytes(given[at:])
        self.needs_input = size < most
        return b"".join(self._unpacked)

    def _next_step(self, head: memoryview) -> int:
        """Return how many bytes belong together that begin so; 0 where that takes more bytes to tell."""
        if self._in_blocks:
            return self._block(head)
        if head[:4] != _ZSTD_FRAME:  # a frame to skip, or none: the error is zstd's to tell
            return _SKIPPED_HEADER + int.from_bytes(head[4:8], "little") if len(head) >= _SKIPPED_HEADER else 0
        if len(head) < 5:
            return 0
        self._in_blocks, self._checksum = True, head[4] & 4
        sizes = (head[4] >> 5 & 1, 2, 4, 8)  # of the content size, which a frame of a single segment always has
        return 5 + (not head[4] & 0x20) + (0, 1, 2, 4)[head[4] & 3] + sizes[head[4] >> 6]

    def _block(self, head: memoryview) -> int:
        """Return the size of a block, its header included, and behind the last one of the checksum."""
        if len(head) < _ZSTD_BLOCK:
            return 0
        fields = int.from_bytes(head[:_ZSTD_BLOCK], "little")
        last, kind, size = fields & 1, fields >> 1 & 3, fields >> 3
        return _ZSTD_BLOCK + (1 if kind == _REPEATED else size) + (self._checksum if last else 0)

    def before_damage(self) -> list[bytes]:
        """Return what was unpacked of what was given last, up to the error."""
        return self._unpacked


def _gzip() -> Unpacking:
    return Unpacking(_Gzip, (zlib.error,))


def _bzip2() -> Unpacking:
    return Unpacking(bz2.BZ2Decompressor, (OSError,))


def _xz() -> Unpacking:
    return Unpacking(lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY), (lzma.LZMAError,))


def _zstd() -> Unpacking:
    import zstandard

    return Unpacking(lambda: _Zstd(zstandard.ZstdDecompressor().decompressobj()), (zstandard.ZstdError,))


def _lz4() -> Unpacking:
    import lz4.frame

    return Unpacking(lz4.frame.LZ4FrameDecompressor, (RuntimeError,))


PACKINGS = (
    Packing("gzip", b"\x1f\x8b", 1 << 16, _gzip),  # RFC 1952 2.3.1
    Packing("bzip2", b"BZh", 4096, _bzip2),
    Packing("xz", b"\xfd7zXZ\x00", 4096, _xz),
    Packing("zstd", _ZSTD_FRAME, _READ_BYTES, _zstd),
    Packing("zstd", b"\x50\x2a\x4d\x18", _READ_BYTES, _zstd),  # pzstd begins with a skippable frame (RFC 8878 3.1.2)
    Packing("lz4", b"\x04\x22\x4d\x18", 4096, _lz4),
)


def packing_of(head: bytes) -> Packing | None:
    r"""Tell the format of packed data by its first bytes; None where it is not packed.

    >>> packing_of(b"\x1f\x8b\x08").name, packing_of(b"\xd4\xc3\xb2\xa1")
    ('gzip', None)
    """
    return next((packing for packing in PACKINGS if head.startswith(packing.magic)), None)


class Unpacked:
    """The unpacked bytes of a packed stream."""

    def __init__(self, packing: Packing, stream: io.RawIOBase) -> None:
        self._packing, self._stream = packing, stream
        self._unpacking = packing.load()
        self._member: Any = self._unpacking.start()
        self._fresh = False  # at the beginning of a member that need not follow
        self._room = memoryview(bytearray(_READ_BYTES))
        self._packed, self._at = self._room[:0], 0  # read from the stream, and what of it was used
        self._ready = memoryview(b"")  # unpacked, and not yet given out
        self._more = False  # what was given to the member makes more than was taken
        self._broken: BrokenPacking | None = None  # to be told when what was unpacked before is given out

    def readinto(self, view: memoryview) -> int:
        """Fill some of a buffer and return how many bytes; 0 at the end.

        Raises BrokenPacking where the packed data ends too early or is damaged.
        """
        while not self._ready and self._is_sound() and (self._more or self._packed_follows()):
            self._ready = memoryview(self._unpack())
        count = min(len(view), len(self._ready))
        view[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _is_sound(self) -> bool:
        if self._broken is not None:
            raise self._broken
        return True

    def _packed_follows(self) -> bool:
        """Have packed bytes at hand; False where the data ends as it should."""
        if self._at == len(self._packed):
            self._packed, self._at = self._room[: self._stream.readinto(self._room) or 0], 0
        if not self._packed and not self._fresh:
            raise BrokenPacking("it ends before its end mark")
        return len(self._packed) > 0

    def _unpack(self) -> bytes:
        """Unpack the next piece; begin the next member where one ends."""
        piece = self._packed[self._at : self._at + (0 if self._more else self._packing.piece)]
        self._at += len(piece)
        if self._fresh and not (piece := _without_padding(piece)):
            return b""
        self._fresh = False
        try:
            unpacked: bytes = self._member.decompress(piece, _MOST)
        except self._unpacking.errors as error:
            self._broken = BrokenPacking(str(error))
            return b"".join(self._member.before_damage()) if hasattr(self._member, "before_damage") else b""
        self._more = not self._member.needs_input and not self._member.eof
        if self._member.eof:
            self._at -= len(self._member.unused_data or b"")
            self._member, self._fresh = self._unpacking.start(), True
        return unpacked


def _without_padding(piece: memoryview) -> memoryview:
    """Pass over zeros between and behind members, as tapes and xz leave them."""
    return piece[len(piece) - len(bytes(piece).lstrip(b"\0")) :]

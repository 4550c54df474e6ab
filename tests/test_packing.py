"""Unpacking zstd block by block gives what zstd gives, whatever the frames are like and wherever they break."""

import io
import random

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tlspcap.wire.packing import BrokenPacking, Unpacked, packing_of

LENGTHS = [0, 1, 255, 256, 70_000, 300_000]  # the size field of a frame's header has 0, 1, 2, 4 or 8 bytes


class Slices(io.BytesIO):
    """A stream that gives a few bytes at a time, as a pipe may."""

    def __init__(self, data: bytes, size: int) -> None:
        super().__init__(data)
        self._size = size

    def readinto(self, view) -> int:
        """Give some bytes."""
        return super().readinto(memoryview(view)[: self._size])


def unpacked(packed: bytes, size: int = 1 << 20) -> tuple[bytes, str]:
    """Unpack, given so many packed bytes at a time; return what came out, and what is said of the end."""
    packing = packing_of(packed)
    assert packing is not None
    unpacking, view, got = Unpacked(packing, Slices(packed, size)), memoryview(bytearray(50_000)), b""
    try:
        while count := unpacking.readinto(view):
            got += view[:count]
    except BrokenPacking as error:
        return got, str(error)
    return got, ""


def frame(data: bytes, *, level: int = 3, flushes: int = 0, **options: bool) -> bytes:
    """Pack a frame of zstd, cut into blocks in so many places."""
    packer = zstandard.ZstdCompressor(level=level, **options).compressobj(size=len(data))
    packed, step = b"", len(data) // (flushes + 1) + 1
    for at in range(0, len(data), step):
        packed += packer.compress(data[at : at + step]) + packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    return packed + packer.flush()


def content(length: int, kind: str) -> bytes:
    """Make bytes of which zstd makes blocks of one kind or another."""
    made = {"raw": random.Random(7).randbytes(length), "repeated": b"x" * length, "text": b"a word, a line\n" * length}
    return made[kind][:length]


@settings(max_examples=150, deadline=None)
@given(
    parts=st.lists(st.tuples(st.sampled_from(LENGTHS), st.sampled_from(["raw", "repeated", "text"])), max_size=4),
    level=st.sampled_from([-5, 1, 3, 12]),
    flushes=st.sampled_from([0, 1, 40]),
    options=st.fixed_dictionaries({"write_checksum": st.booleans(), "write_content_size": st.booleans()}),
    size=st.sampled_from([1, 2, 3, 17, 1_000, 1 << 20]),
)
def test_frames_of_any_kind_unpack_whole(parts, level: int, flushes: int, options: dict, size: int) -> None:
    """Several frames, with every kind of block, header and end, give what was packed, however they are handed in."""
    contents = [content(length, kind)[: 2_000 if size < 4 else None] for length, kind in [(1, "text"), *parts]]
    packed = b"".join(frame(each, level=level, flushes=flushes, **options) for each in contents)
    assert unpacked(packed, size) == (b"".join(contents), "")


@settings(max_examples=80, deadline=None)
@given(end=st.integers(4, 1 << 30), size=st.sampled_from([1, 100, 1 << 20]), kind=st.sampled_from(["raw", "text"]))
def test_a_frame_cut_anywhere_gives_what_zstd_gives(end: int, size: int, kind: str) -> None:
    """Of a frame that is cut short, all is unpacked that zstd itself unpacks of these bytes."""
    packed = frame(content(20_000, kind), flushes=9, write_checksum=True)
    cut = packed[: 4 + end % (len(packed) - 4)]
    told = zstandard.ZstdDecompressor().decompressobj().decompress(cut)
    assert unpacked(cut, size) == (told, "it ends before its end mark")


def block_starts(packed: bytes) -> list[int]:
    """Return where the blocks of a frame begin, of which none is a repeated byte."""
    at, starts = zstandard.frame_header_size(packed), list[int]()
    while at < len(packed):
        starts.append(at)
        at += 3 + (int.from_bytes(packed[at : at + 3], "little") >> 3)
    return starts


@pytest.mark.parametrize("size", [1, 1_000, 1 << 20])
def test_damage_costs_no_block_before_it(size: int) -> None:
    """Where a block is damaged, all blocks before it are given out, and the damage is told."""
    data = content(9_000, "text")
    whole = frame(data, flushes=8)
    for count, start in enumerate(block_starts(whole)[:9]):
        damaged = bytearray(whole)
        damaged[start] |= 6  # a kind of block that there is not
        got, told = unpacked(bytes(damaged), size)
        assert got == data[: 1_001 * count]
        assert told != ""

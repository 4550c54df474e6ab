"""What the beginning of a capture file tells, by which any piece from its middle can be read.

Of a classic pcap that is the file header; of pcapng the section's byte order and its interfaces, where no block behind
the first packet changes them. A piece that holds such a block says so, and is read in order, with all that follows it.
"""

import os
from collections.abc import Iterable
from typing import Protocol

import numpy as np

from tlspcap.errors import CaptureError
from tlspcap.wire.columns import Bytes, FileFacts, Packets
from tlspcap.wire.files import PADDING, PCAP_MAGICS, PCAPNG_MAGIC, Memory, Window
from tlspcap.wire.pcap import FILE_HEADER, PcapReader
from tlspcap.wire.pcapng import PcapngReader
from tlspcap.wire.walk import find_block, find_header

LARGEST = 1 << 16  # bytes that a file may have before its first packet


class Opening(Protocol):
    """The beginning of one file."""

    begin: int  # offset of the first packet

    def find(self, data: Bytes) -> int | None:
        """Guess where the first packet begins in some bytes of the file."""

    def packets(self, window: Window, facts: FileFacts) -> Iterable[Packets]:
        """Read the packets of a piece, numbered from 1; 64 bytes before the window's position can be overwritten.

        Raises OtherBlocks where something lies among them that they cannot be read without.
        """


class Loaded(Window):
    """A window over what is in memory already."""

    def __init__(self, raw: Memory, buffer: Bytes, position: int, end: int, before: int) -> None:
        self.raw, self.buffer, self.position, self.end = raw, buffer, position, end
        self._before, self._size, self._finished = before, 0, True

    @property
    def trouble(self) -> str:
        """None: all that there is was read."""
        return ""


class _Classic:
    """The beginning of a classic pcap."""

    begin = FILE_HEADER

    def __init__(self, head: bytes) -> None:
        self._head = head[:FILE_HEADER]

    def find(self, data: Bytes) -> int | None:
        return find_header(data, PCAP_MAGICS[self._head[:4]])

    def packets(self, window: Window, facts: FileFacts) -> Iterable[Packets]:
        start = window.position
        window.position -= FILE_HEADER
        window.raw[window.position : start] = self._head  # a piece is a small capture of its own
        return PcapReader(window, facts)


class _Blocks:
    """The beginning of a pcapng file: a reader that stands before the first packet."""

    def __init__(self, reader: PcapngReader, begin: int) -> None:
        self._reader, self.begin = reader, begin

    def find(self, data: Bytes) -> int | None:
        return find_block(data, self._reader.order)

    def packets(self, window: Window, facts: FileFacts) -> Iterable[Packets]:
        return self._reader.part(window, facts)


def opening_of(file: int) -> Opening | None:
    """Read the beginning of an open file; None where it cannot be read in pieces, as what is packed cannot."""
    try:
        head = os.pread(file, LARGEST, 0)
    except OSError:  # told by whoever reads the file alone then
        return None
    if head[:4] in PCAP_MAGICS:
        return _Classic(head) if len(head) >= FILE_HEADER else None
    return _blocks(head) if head[:4] == PCAPNG_MAGIC else None


def _blocks(head: bytes) -> Opening | None:
    raw, facts = bytearray(head + bytes(PADDING)), FileFacts("")
    window = Loaded(raw, np.frombuffer(raw, dtype=np.uint8), 0, len(head), 0)
    try:
        reader = PcapngReader(window, facts)
    except CaptureError:
        return None
    sound = reader.to_first_packet() and not facts.secrets and not facts.caps
    return _Blocks(reader, window.position) if sound else None

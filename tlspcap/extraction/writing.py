"""Captures written: classic pcap where that can say all there is to say, else pcapng.

draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng; little-endian, whatever machine writes.
"""

from collections.abc import Iterable
from struct import Struct
from typing import IO, Literal, NamedTuple

from tlspcap.wire.columns import MAX_PACKET
from tlspcap.wire.pcapng import ENHANCED, INTERFACE, SECTION

_SECOND = 1_000_000_000
_MAGIC, _FINE_MAGIC = 0xA1B2C3D4, 0xA1B23C4D  # microseconds, nanoseconds
_FILE = Struct("<IHHiIII")  # magic, version, two unused, snapshot length, link type
_PACKET = Struct("<IIII")  # seconds, fraction, captured length, length on the wire
_BYTE_ORDER = 0x1A2B3C4D
_SECTION = Struct("<IHHq")  # byte-order magic, version, length of the section: -1 is unknown
_INTERFACE = Struct("<HHIHHB3xI")  # link type, unused, snapshot length; if_tsresol, 1 byte of it, end of options
_ENHANCED = Struct("<IIIII")  # interface, time in two halves, captured length, length on the wire
_IF_TSRESOL, _NANOSECONDS = 9, 9  # in units of 10**-9 seconds


class Packet(NamedTuple):
    """One packet to write."""

    time: int  # ns since 1970
    link: int  # LINKTYPE_ number
    captured: bytes
    wire: int  # bytes on the wire


class Container(NamedTuple):
    """The kind of file to write."""

    links: tuple[int, ...]  # link types of the packets
    fine: bool = False  # some time is no whole number of microseconds
    beyond: bool = False  # some time does not fit into a classic pcap

    @property
    def format(self) -> Literal["pcap", "pcapng"]:
        """A classic pcap holds one link type, and times since 1970 for as long as 32 bits of seconds last."""
        return "pcap" if len(self.links) == 1 and not self.beyond else "pcapng"


def write(file: IO[bytes], packets: Iterable[Packet], container: Container) -> int:
    """Write a capture; return how many packets were written.

    >>> import io
    >>> file = io.BytesIO()
    >>> write(file, [Packet(1_000, 101, b"E", 40)], Container((101,))), len(file.getvalue())
    (1, 41)
    """
    writer = (_Pcap if container.format == "pcap" else _Pcapng)(container)
    file.write(writer.header())
    count = 0
    for packet in packets:
        file.write(writer.encode(packet))
        count += 1
    return count


class _Pcap:
    def __init__(self, container: Container) -> None:
        self._fine, self._link = container.fine, container.links[0]

    def header(self) -> bytes:
        return _FILE.pack(_FINE_MAGIC if self._fine else _MAGIC, 2, 4, 0, 0, MAX_PACKET, self._link)

    def encode(self, packet: Packet) -> bytes:
        seconds, fraction = divmod(packet.time, _SECOND)
        fraction = fraction if self._fine else fraction // 1_000
        return _PACKET.pack(seconds, fraction, len(packet.captured), packet.wire) + packet.captured


class _Pcapng:
    """One section, one interface for each link type, nanoseconds throughout."""

    def __init__(self, container: Container) -> None:
        self._interfaces = {link: number for number, link in enumerate(container.links)}

    def header(self) -> bytes:
        blocks = [_block(SECTION, _SECTION.pack(_BYTE_ORDER, 1, 0, -1))]
        for link in self._interfaces:
            fields = _INTERFACE.pack(link, 0, MAX_PACKET, _IF_TSRESOL, 1, _NANOSECONDS, 0)
            blocks.append(_block(INTERFACE, fields))
        return b"".join(blocks)

    def encode(self, packet: Packet) -> bytes:
        ticks = packet.time & 0xFFFF_FFFF_FFFF_FFFF
        counts = len(packet.captured), packet.wire
        head = _ENHANCED.pack(self._interfaces[packet.link], ticks >> 32, ticks & 0xFFFF_FFFF, *counts)
        return _block(ENHANCED, head + packet.captured)


def _block(kind: int, body: bytes) -> bytes:
    length = 12 + len(body) + -len(body) % 4
    around = length.to_bytes(4, "little")
    return kind.to_bytes(4, "little") + around + body + bytes(-len(body) % 4) + around

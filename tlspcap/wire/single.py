"""One packet while it is read by itself: its bytes, the headers in them, and what is found out about it."""

from typing import Any, NamedTuple

from tlspcap.wire.columns import CUT_HEADERS


class Segment(NamedTuple):
    """The fields of one TCP segment, as in `columns.Segments`; `start` counts from the packet's first byte."""

    source: bytes
    target: bytes
    source_port: int
    target_port: int
    seq: int
    ack: int
    flags: int
    start: int
    captured: int
    length: int


class Reading(NamedTuple):
    """What one packet is: its kind as far as its headers tell, and the segment in it or why there is none to read."""

    kind: str = ""
    unread: str = ""
    segment: Segment | None = None
    reassembled: bytes = b""  # what `segment.start` counts in, where it is not the packet itself


class Stopped(Exception):
    """A packet need not, or cannot, be read on; caught by whoever reads it, never leaves `wire`."""

    def __init__(self, kind: str = "", unread: str = "") -> None:
        self.reading = Reading(kind, unread)


class Packet(NamedTuple):
    """A packet's captured bytes, and how many bytes it had on the wire."""

    captured: bytes
    wire: int

    def fields(self, header: Any, at: int, kind: str = "") -> Any:
        """Read the own fields of one of dpkt's headers, without its options and what it carries."""
        import dpkt  # takes long, and most captures need nothing of it

        fields = header.__new__(header)
        dpkt.dpkt.Packet.unpack(fields, self.bytes(at, header.__hdr_len__, kind))
        return fields

    def bytes(self, at: int, size: int, kind: str = "") -> bytes:
        """Return some bytes of a header. Raises Stopped where they were not captured."""
        if at + size > len(self.captured):
            raise Stopped(kind, CUT_HEADERS)
        return self.captured[at : at + size]


class Layer(NamedTuple):
    """A place in a packet, and by ethertype what begins there."""

    ethertype: int
    at: int

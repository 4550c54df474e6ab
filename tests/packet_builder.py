"""Builds packets and capture files byte by byte, so that tests say exactly what is in them."""

import io
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tlspcap.wire import packets, rare
from tlspcap.wire.columns import COUNTED, AddressBook, FileFacts, Segments
from tlspcap.wire.files import open_capture
from tlspcap.wire.fragments import Fragments

CLIENT, SERVER = bytes([192, 0, 2, 1]), bytes([198, 51, 100, 2])
CLIENT6, SERVER6 = bytes.fromhex("20010db8" + "00" * 11 + "01"), bytes.fromhex("20010db8" + "00" * 11 + "02")
MACS = bytes.fromhex("020000000002020000000001")


@dataclass(frozen=True)
class Row:
    """One TCP segment as the scan found it, free of buffers and address numbers."""

    frame: int
    time: int
    source: bytes
    target: bytes
    source_port: int
    target_port: int
    seq: int
    ack: int
    flags: int
    length: int
    payload: bytes


def tcp(payload: bytes = b"", *, seq: int = 1, ack: int = 0, flags: int = 16, options: bytes = b"", ports=(49152, 443)):
    """Build a TCP header and payload."""
    size = (20 + len(options)) // 4
    return struct.pack(">HHIIHHHH", *ports, seq, ack, size << 12 | flags, 512, 0, 0) + options + payload


def ipv4(body: bytes, *, protocol=6, options=b"", total: int | None = None, fragment=0x4000, ends=(CLIENT, SERVER)):
    """Build an IPv4 header and what it carries."""
    size = 20 + len(options)
    total = size + len(body) if total is None else total
    start = struct.pack(">BBHHHBBH", 0x40 | size // 4, 0, total, 7, fragment, 64, protocol, 0)
    return start + ends[0] + ends[1] + options + body


def ipv6(body: bytes, *, following: int = 6, size: int | None = None) -> bytes:
    """Build an IPv6 header and what it carries, extension headers included."""
    size = len(body) if size is None else size
    return struct.pack(">IHBB", 0x60000000, size, following, 64) + CLIENT6 + SERVER6 + body


def ethernet(body: bytes, *tags: int, ethertype: int = 0x0800) -> bytes:
    """Build an Ethernet frame, with VLAN tags of the given types outermost first."""
    types = [*tags, ethertype]
    stack = b"".join(struct.pack(">HH", 7, kind) for kind in types[1:])
    return MACS + struct.pack(">H", types[0]) + stack + body


def pcap(
    frames: Iterable[bytes],
    *,
    link: int = 1,
    order: str = "<",
    nanoseconds: bool = False,
    wires: Iterable[int] | None = None,
    start: int = 1_700_000_000,
    kuznetzov: bool = False,
) -> bytes:
    """Build a classic pcap file: packets a millisecond apart; Kuznetzov's has 8 more bytes before each."""
    frames = list(frames)
    magic = 0xA1B2CD34 if kuznetzov else 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
    more = struct.pack(order + "IHBB", 2, 0x0800, 4, 0) if kuznetzov else b""
    out = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262144, link)]
    unit = 1_000_000 if nanoseconds else 1000
    for at, (frame, wire) in enumerate(zip(frames, wires or map(len, frames), strict=True)):
        out.append(struct.pack(order + "IIII", start + at // 1000, at % 1000 * unit, len(frame), wire) + more + frame)
    return b"".join(out)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """Build one pcapng block."""
    body += bytes(-len(body) % 4)
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + length + body + length


def section(order: str = "<") -> bytes:
    """Build a Section Header Block."""
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(link: int = 1, order: str = "<", snapshot: int = 0, options: Iterable[tuple[int, bytes]] = ()) -> bytes:
    """Build an Interface Description Block."""
    body = struct.pack(order + "HHI", link, 0, snapshot)
    for code, value in options:
        body += struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)
    return block(1, body, order)


def enhanced(frame: bytes, ticks: int = 0, number: int = 0, order: str = "<", wire: int | None = None) -> bytes:
    """Build an Enhanced Packet Block."""
    head = struct.pack(
        order + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame) if wire is None else wire
    )
    return block(6, head + frame, order)


def pcapng(frames: Iterable[bytes], *, link: int = 1, order: str = "<") -> bytes:
    """Build a pcapng file of one section and one interface: packets a millisecond apart, in microseconds."""
    packets = (
        enhanced(frame, 1_700_000_000_000_000 + at * 1000, order=order) for at, frame in enumerate(frames)
    )
    return section(order) + interface(link, order) + b"".join(packets)


def scan(
    capture: bytes | Path, *, chunk_bytes: int = 1 << 20
) -> tuple[list[Row], FileFacts]:
    """Read a capture with the library; the rows are copied out of each chunk before the next is asked for."""
    source = io.BytesIO(capture) if isinstance(capture, bytes) else capture
    facts, book, rows = FileFacts("test"), AddressBook(), []
    with open_capture(source) as opened:
        for segments in packets.segments(opened, facts, book, chunk_bytes=chunk_bytes):
            rows += rows_of(segments, book)
    return rows, facts


def scan_slowly(capture: bytes | Path, *, chunk_bytes: int = 1 << 20) -> tuple[list[Row], FileFacts]:
    """Read a capture packet by packet with `rare` alone: what the columnar scan must agree with."""
    source = io.BytesIO(capture) if isinstance(capture, bytes) else capture
    facts, book, fragments, rows = FileFacts("test"), AddressBook(), Fragments(), []
    with open_capture(source) as opened:
        for chunk in packets.reader(opened, facts, chunk_bytes):
            rows += rows_of(rare.segments(chunk, range(len(chunk)), book, facts, fragments), book)
    fragments.finish(facts)
    return rows, facts


def rows_of(segments: Segments, book: AddressBook) -> list[Row]:
    """Copy the segments of a chunk out of its buffer, without those that ICMP errors quote."""
    segments = segments.of(segments.flags < COUNTED)
    assert np.all((segments.captured >= 0) & (segments.captured <= segments.length))
    names = ("frame", "time", "source", "target", "source_port", "target_port", "seq", "ack", "flags", "length")
    columns = [getattr(segments, name).tolist() for name in names]
    return [
        Row(frame, time, book.bytes(source), book.bytes(target), *rest, segments.payload(at))
        for at, (frame, time, source, target, *rest) in enumerate(zip(*columns, strict=True))
    ]


def reference_captures() -> list[Path]:
    """List captures that nobody here made and the project's own, where they exist, smaller ones first."""
    root = Path(__file__).parent.parent
    reference = Path(os.environ.get("TLSPCAP_REFERENCE", root.parent / "shared" / "reference")) / "captures"
    found = [*(root / "sample_captures").glob("*.pcap*"), *reference.rglob("*.pcap*")]
    return sorted((path for path in found if path.is_file()), key=lambda path: path.stat().st_size)
